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
	    "$POP3D_BIN"
}
