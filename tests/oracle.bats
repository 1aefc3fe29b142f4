#!/usr/bin/env bats
# Two hundred rounds of changes between and during sessions, seeded; the
# oracle works out from the files alone what must be shown.  A failure prints
# ORACLE_SEED, which repeats it.

load helper

setup() {
	pop3d_setup
}

teardown() {
	pop3d_teardown
}

rounds() {
	as_user python3 -B "$BATS_TEST_DIRNAME/oracle.py" rounds "$MAIL" 200 \
	    2>>"$LOG" || {
		tail -n 5 "$LOG"
		return 1
	}
}

@test "DESIGN 6: 200 rounds show exactly the files that are there" {
	rounds
	[ -f "$MAIL/pop3d.index" ]
}

@test "DESIGN 6: 200 rounds without an index show exactly the same" {
	# It cannot be replaced.
	mkdir -p "$MAIL/pop3d.index/x"
	own
	rounds
	[ -d "$MAIL/pop3d.index" ]
	[ ! -e "$MAIL/pop3d.index.new" ]
}
