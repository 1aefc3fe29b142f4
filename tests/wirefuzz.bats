#!/usr/bin/env bats
# Odd conversations with whole servers, seeded; wirefuzz.py knows what must
# come of each.  A failure prints WIREFUZZ_SEED and WIREFUZZ_ROUND, which repeat
# it; WIREFUZZ_ROUNDS says how many.

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

@test "DESIGN 5, 6: whatever is sent, each line is answered, and QUIT alone changes mail" {
	not_under coverage "its processes do not know where counts go"
	mkdir -m 755 "$BATS_TEST_TMPDIR/rounds"
	python3 -B "$BATS_TEST_DIRNAME/wirefuzz.py" "$BATS_TEST_TMPDIR/rounds"
}
