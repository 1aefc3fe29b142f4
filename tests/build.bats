#!/usr/bin/env bats
# The build: what make install installs, and how the programs are hardened.

load helper

setup() {
	once
	pop3d_setup
}

# tree [MAKE-ARGUMENT ...]: enters a copy of the sources and makes there.
tree() {
	local top=$BATS_TEST_DIRNAME/..

	mkdir "$BATS_TEST_TMPDIR/tree"
	cp -R "$top"/*.[ch] "$top/Makefile" "$top/static-cc" "$top/man" \
	    "$BATS_TEST_TMPDIR/tree"
	cd "$BATS_TEST_TMPDIR/tree" || return
	"${MAKE:-make}" -s "$@"
}

need_libpam() {
	[ -e /usr/include/security/pam_appl.h ] || skip "needs libpam0g-dev"
}

# hardened PROGRAM: what the kernel and the dynamic linker make of it.  Full
# RELRO is both: what is relocated is read-only, and all of it at the start.
hardened() {
	readelf -Wlhd "$1" >elf
	grep -q 'Type: *DYN' elf
	grep -q 'FLAGS_1.* PIE' elf
	grep -q '^ *GNU_RELRO ' elf
	grep -q 'FLAGS.* BIND_NOW' elf
	grep -q '^ *GNU_STACK .* RW  ' elf
	grep -q '^ *LOAD .* R E ' elf
	not grep '^ *[A-Z_]* .* RWE ' elf
	not grep 'RPATH\|RUNPATH\|TEXTREL' elf
}

# refers OBJECT PATTERN: to a symbol that is elsewhere.
refers() {
	readelf -Ws "$1" | grep -q " UND $2\$"
}

programs="pop3d pop3d-checkpassword pop3d-passwd pop3d-doctor"
# Some with arrays on the stack.  A program says nothing: what is linked into
# it has guards as well.
guarded="auth.o checkpassword.o log.o passwd.o pop3d.o stream.o"

@test "make install and uninstall keep to DESTDIR and PREFIX" {
	local root=$BATS_TEST_TMPDIR/root

	tree LIBPAM= PREFIX=/opt/pop3d DESTDIR="$root" install
	(cd "$root" && find . -type f) | sort >"$BATS_TEST_TMPDIR/files"
	expect "$(printf '%s\n' ./opt/pop3d/libexec/pop3d-checkpassword \
	    ./opt/pop3d/libexec/pop3d-checkpassword-nss \
	    ./opt/pop3d/sbin/pop3d ./opt/pop3d/sbin/pop3d-doctor \
	    ./opt/pop3d/sbin/pop3d-passwd \
	    ./opt/pop3d/share/man/man8/pop3d-checkpassword.8 \
	    ./opt/pop3d/share/man/man8/pop3d-doctor.8 \
	    ./opt/pop3d/share/man/man8/pop3d-passwd.8 \
	    ./opt/pop3d/share/man/man8/pop3d.8)" <"$BATS_TEST_TMPDIR/files"
	[ "$(stat -c %a "$root/var/empty")" = 555 ]
	# The path of the bundled checkpassword program goes with PREFIX.
	grep -q /opt/pop3d/libexec "$root/opt/pop3d/sbin/pop3d"
	make -s PREFIX=/opt/pop3d DESTDIR="$root" uninstall
	[ -z "$(find "$root" -type f)" ]
	# With PAM there is one more.
	need_libpam
	make -s PREFIX=/opt/pop3d DESTDIR="$root" install
	[ -x "$root/opt/pop3d/libexec/pop3d-checkpassword-pam" ]
	[ "$(find "$root" -type f | wc -l)" = 10 ]
	make -s PREFIX=/opt/pop3d DESTDIR="$root" uninstall
	[ -z "$(find "$root" -type f)" ]
}

@test "pop3d-checkpassword-pam is made where libpam's header is, by either make, hardened, and alone needs libpam" {
	local make

	need_libpam
	for make in make bmake; do
		command -v $make >/dev/null || continue
		rm -rf "$BATS_TEST_TMPDIR/tree"
		MAKE=$make tree pop3d-checkpassword-pam pop3d-checkpassword-nss
		hardened pop3d-checkpassword-pam
		grep -q 'NEEDED.*libpam\.' elf
		hardened pop3d-checkpassword-nss
		not grep 'NEEDED.*libpam\.' elf
	done
	need_root "the header is hidden in a mount namespace"
	unshare -m true || skip "no mount namespaces here"
	for make in make bmake; do
		command -v $make >/dev/null || continue
		rm pop3d-checkpassword-pam
		unshare -m sh -c 'mount -t tmpfs none /usr/include/security &&
		    exec "$@"' sh $make -s pop3d-checkpassword-pam
		[ ! -e pop3d-checkpassword-pam ]
		$make -s pop3d-checkpassword-pam
	done
}

@test "static programs are PIE, with full RELRO, nothing both writable and executable, no interpreter" {
	local program

	command -v musl-gcc >/dev/null || skip "musl is not installed"
	tree
	for program in $programs; do
		hardened "$program"
		not grep 'INTERP\|(NEEDED)' elf
	done
}

@test "dynamic programs are PIE, with full RELRO, nothing both writable and executable, no search path of their own" {
	local program

	tree CC=cc
	for program in $programs pop3d-checkpassword-nss; do
		hardened "$program"
		grep -q INTERP elf
	done
}

@test "functions with arrays have stack guards, and glibc's checked forms are used" {
	local object

	tree CC=cc
	for object in $guarded; do
		refers "$object" __stack_chk_fail
	done
	for object in $guarded; do
		refers "$object" '__[a-z_]*_chk'
	done
	readelf -Ws pop3d-checkpassword-nss | grep -q ' UND __stack_chk_fail@'
	# The other way to build it, whose libc has no checked forms.
	command -v musl-gcc >/dev/null || return 0
	make -s clean
	make -s
	for object in $guarded; do
		refers "$object" __stack_chk_fail
	done
}

@test "every option of the usage is in the manual, and the other way round" {
	local letter

	for letter in a c d e h k l m n o P r S s T t u v x; do
		grep -q "^\.It Fl $letter" "$BATS_TEST_DIRNAME/../man/pop3d.8"
	done
	[ "$(grep -c '^\.It Fl' "$BATS_TEST_DIRNAME/../man/pop3d.8")" = 19 ]
}

@test "with musl the programs are static, but for the one that asks NSS" {
	local program

	command -v musl-gcc >/dev/null || skip "musl is not installed"
	tree
	for program in pop3d pop3d-checkpassword pop3d-passwd; do
		file "$program" | grep 'pie executable.*static-pie linked'
	done
	file pop3d-checkpassword-nss | grep 'pie executable.*dynamically linked, interpreter'
	NO_MUSL=1 make -s -B pop3d
	file pop3d | grep 'dynamically linked, interpreter'
}
