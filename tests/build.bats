#!/usr/bin/env bats
# The build: what make install installs, and how the programs are hardened.

load helper

setup() {
	pop3d_setup
}

@test "make install and uninstall keep to DESTDIR and PREFIX" {
	local tree=$BATS_TEST_TMPDIR/tree root=$BATS_TEST_TMPDIR/root
	local top=$BATS_TEST_DIRNAME/..

	mkdir "$tree"
	cp -R "$top"/*.[ch] "$top/Makefile" "$top/static-cc" "$top/man" "$tree"
	cd "$tree"
	make -s PREFIX=/opt/pop3d DESTDIR="$root" install
	(cd "$root" && find . -type f) | sort >"$BATS_TEST_TMPDIR/files"
	expect "$(printf '%s\n' ./opt/pop3d/libexec/pop3d-checkpassword \
	    ./opt/pop3d/libexec/pop3d-checkpassword-nss \
	    ./opt/pop3d/sbin/pop3d ./opt/pop3d/sbin/pop3d-passwd \
	    ./opt/pop3d/share/man/man8/pop3d-checkpassword.8 \
	    ./opt/pop3d/share/man/man8/pop3d-passwd.8 \
	    ./opt/pop3d/share/man/man8/pop3d.8)" <"$BATS_TEST_TMPDIR/files"
	[ "$(stat -c %a "$root/var/empty")" = 555 ]
	# The path of the bundled checkpassword program goes with PREFIX.
	grep -q /opt/pop3d/libexec "$root/opt/pop3d/sbin/pop3d"
	make -s PREFIX=/opt/pop3d DESTDIR="$root" uninstall
	[ -z "$(find "$root" -type f)" ]
}

@test "the programs are position-independent, with full RELRO and no executable stack" {
	local program

	for program in pop3d pop3d-checkpassword pop3d-passwd; do
		readelf -Wh "$POP3D_BIN/$program" | grep -q 'Type: *DYN'
		readelf -Wl "$POP3D_BIN/$program" >"$BATS_TEST_TMPDIR/segments"
		grep -q GNU_RELRO "$BATS_TEST_TMPDIR/segments"
		grep 'GNU_STACK' "$BATS_TEST_TMPDIR/segments" | grep -q 'RW '
		readelf -Wd "$POP3D_BIN/$program" | grep -q 'BIND_NOW\|FLAGS.*NOW'
	done
}

@test "every option of the usage is in the manual, and the other way round" {
	local letter

	for letter in a c h l m n P r S s T t u v; do
		grep -q "^\.It Fl $letter" "$BATS_TEST_DIRNAME/../man/pop3d.8"
	done
	[ "$(grep -c '^\.It Fl' "$BATS_TEST_DIRNAME/../man/pop3d.8")" = 14 ]
}

@test "with musl the programs are static, but for the one that asks NSS" {
	local program tree=$BATS_TEST_TMPDIR/tree top=$BATS_TEST_DIRNAME/..

	command -v musl-gcc >/dev/null || skip "musl is not installed"
	mkdir "$tree"
	cp -R "$top"/*.[ch] "$top/Makefile" "$top/static-cc" "$top/man" "$tree"
	cd "$tree"
	make -s
	for program in pop3d pop3d-checkpassword pop3d-passwd; do
		file "$program" | grep 'pie executable.*static-pie linked'
	done
	file pop3d-checkpassword-nss | grep 'pie executable.*dynamically linked, interpreter'
	NO_MUSL=1 make -s -B pop3d
	file pop3d | grep 'dynamically linked, interpreter'
}
