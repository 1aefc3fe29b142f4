# shellcheck shell=bash
# Once before all tests: the programs under test go where every user may run
# them, since sessions run as the mailbox's owner.

setup_suite() {
	local build=${POP3D_BUILD:-$BATS_TEST_DIRNAME/..}

	POP3D_BIN=$BATS_SUITE_TMPDIR/bin
	# python3 may be a wrapper that takes its time to find the real one.
	PATH=$(dirname "$(python3 -c 'import sys; print(sys.executable)')"):$PATH
	export POP3D_BIN PATH
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_SUITE_TMPDIR"
	mkdir -p "$POP3D_BIN"
	cp "$build/pop3d" "$build/pop3d-checkpassword" "$build/pop3d-passwd" \
	    "$build/pop3d-doctor" \
	    "$POP3D_BIN"
	# Where there is no libpam it is not made.
	[ ! -e "$build/pop3d-checkpassword-pam" ] ||
	    cp "$build/pop3d-checkpassword-pam" "$POP3D_BIN"
	[ "${POP3D_TOOL:-}" != valgrind ] || put_valgrind_before
}

# The program named pop3d becomes a script.  valgrind tells a program that
# /proc/self/exe is the program's own file, not the script; but one whose name
# ends in " (deleted)" is taken for one that has been replaced, and what has
# replaced it, that is the script, is started for the session.  A report's name
# has the parent, too: what the monitor forks is another user with the same
# number later.
put_valgrind_before() {
	mv "$POP3D_BIN/pop3d" "$POP3D_BIN/pop3d (deleted)"
	cat >"$POP3D_BIN/pop3d" <<S
#!/bin/sh
exec valgrind -q --vgdb=no --log-file="\$VALGRIND_LOGS/%p.\$PPID" \
    --track-origins=yes "$POP3D_BIN/pop3d (deleted)" "\$@"
S
	chmod 755 "$POP3D_BIN/pop3d"
}
