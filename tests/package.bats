#!/usr/bin/env bats
# What is made of the sources: a release.

load helper

setup() {
	pop3d_setup
	# A checkout may be somebody else's than root's.
	export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global safe.directory '*'
	unset MAKEFLAGS MFLAGS
}

teardown() {
	pop3d_teardown
}

# once: of the builds that CI tests, with the default one only, since it is
# not what the test is about.
once() {
	plain_build "not what it tests"
	[ "${POP3D_TOOL:-}" = "" ] || skip "not under $POP3D_TOOL"
	if command -v musl-gcc >/dev/null &&
	    readelf -Wl "$POP3D_BIN/pop3d" | grep -q INTERP; then
		skip "with the static build only"
	fi
}

# clone NAME: of what is committed.
clone() {
	local top=$BATS_TEST_DIRNAME/..

	git -C "$top" rev-parse -q --verify HEAD >/dev/null 2>&1 ||
	    skip "no git repository"
	git clone -q "$top" "$1" 2>/dev/null
}

# release: a clone's, unpacked in one/ and another/place/, each with the one
# folder $RELEASE in it.
release() {
	clone clone
	make -s -C clone dist
	RELEASE=$(basename clone/build/pop3d-*.tar.gz .tar.gz)
	mkdir -p one another/place
	tar -xzf clone/build/*.tar.gz -C one
	tar -xzf clone/build/*.tar.gz -C another/place
}

# alone COMMAND ...: in a place without a network.
alone() {
	if unshare -n true 2>/dev/null; then
		unshare -n "$@"
	else
		unshare -rn "$@"
	fi
}

@test "make dist makes the same octets of any clone" {
	cd "$BATS_TEST_TMPDIR"
	clone one
	(umask 077 && clone "another place")
	find "another place" -type f -exec touch -d 2001-02-03 {} +
	(cd one && make -s dist)
	(cd "another place" && umask 077 && TZ=Asia/Tokyo make -s dist)
	cmp one/build/pop3d-*.tar.gz "another place"/build/pop3d-*.tar.gz
	# What is committed, and only that; nobody's.
	tar -tzf one/build/pop3d-*.tar.gz | grep -v '/$' | sed 's|^[^/]*/||' |
	    LC_ALL=C sort >listed
	git -C one ls-files | LC_ALL=C sort >committed
	same committed listed
	tar -tvzf one/build/pop3d-*.tar.gz | not grep -v '^[^ ]* root/root '
	[ -z "$(git -C one status --porcelain)" ]
}

@test "a release is built without network, git and pkg-config, to the same octets in any folder" {
	local cc

	once
	unshare -n true 2>/dev/null || unshare -rn true 2>/dev/null ||
	    skip "needs a network namespace"
	cd "$BATS_TEST_TMPDIR"
	release
	mkdir traps
	for name in git pkg-config pkgconf curl wget; do
		printf '#!/bin/sh\necho %s >>%s/called\nexit 127\n' \
		    "$name" "$BATS_TEST_TMPDIR" >traps/$name
		chmod 755 traps/$name
	done
	export PATH=$BATS_TEST_TMPDIR/traps:$PATH
	for cc in ./static-cc cc; do
		for place in one another/place; do
			(cd "$place/$RELEASE" && make -s clean &&
			    alone make -s -j2 CC="$cc" &&
			    alone make -s CC="$cc" DESTDIR="$PWD/root" install)
		done
		[ -x "one/$RELEASE/root/usr/local/sbin/pop3d" ]
		diff -r "one/$RELEASE" "another/place/$RELEASE"
	done
	[ ! -e called ]
}

