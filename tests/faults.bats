#!/usr/bin/env bats
# System calls that fail, or a process killed at them, by strace: see
# faults.py.  Here a few of each kind by chance, always the same (FAULT_SAMPLE
# says how many, FAULT_SEED which); `make faults` tries them all.

load helper

setup() {
	greeter_setup
	strace -qq -o /dev/null -e inject=getppid:error=EIO true 2>"$LOG" ||
		skip "strace cannot trace here: $(head -n 1 "$LOG")"
}

teardown() {
	pop3d_teardown
}

# faults KIND [SCENARIO [FAULT [LINE]]]: see faults.py.
faults() {
	local code=0

	rm -rf "$BATS_TEST_TMPDIR/faults"
	python3 -B "$BATS_TEST_DIRNAME/faults.py" "$1" \
	    "$BATS_TEST_TMPDIR/faults" "${@:2}" || code=$?
	[ "$code" != 77 ] || skip "not with these accounts, or this build"
	return "$code"
}

@test "a call that does nothing and says that it did is found out" {
	not faults session fresh unlinkat:retval=0:when=1 >"$LOG"
	logged 'was not deleted'
	not faults passwd plain write:retval=5:when=1 >"$LOG"
	logged 'neither old nor new'
}

@test "DESIGN 2: a monitor that cannot hear or answer its greeter ends it" {
	faults monitor thrice recvfrom:error=EIO
	faults monitor thrice sendto:error=EIO
}

@test "DESIGN 2: a monitor that cannot wait for its children ends all the same" {
	faults monitor thrice wait4:error=EIO
}

@test "DESIGN 6: a name of a deleted message that stays makes QUIT -ERR" {
	faults session twins unlinkat:error=EIO
}

@test "DESIGN 6: a move to cur that fails halfway leaves one name" {
	faults session links unlinkat:error=EIO
}

@test "DESIGN 6: UIDL is -ERR where pop3d.uidl cannot be read now" {
	faults session former "" pop3d.uidl
}

@test "DESIGN 4: a password that cannot be checked now is exit 111" {
	faults checkpassword plain read:error=EINTR
	faults checkpassword yescrypt mmap
	faults checkpassword yescrypt munmap
}

@test "DESIGN 4: a shadow file that cannot be read now is exit 111" {
	need_root "private copies of /etc/passwd and /etc/shadow"
	faults checkpassword system "" shadow
}

@test "DESIGN 4: pop3d-passwd ends where its file cannot be looked at" {
	faults passwd plain "" '^(lstat|newfstatat).*users"'
}

# sample KIND COUNT
sample() {
	# The sanitizers are slow.
	[ -z "${ASAN_OPTIONS:-}" ] || set -- "$1" "$(($2 / 4))"
	FAULT_SAMPLE=${FAULT_SAMPLE:-$2} faults "$1"
}

@test "no fault in a session loses, damages, doubles or renames a message" {
	sample session 80
}

@test "no fault in the monitor lets anybody in, or leaves a process" {
	sample monitor 30
}

@test "no fault in pop3d-passwd tears its file" {
	sample passwd 60
}

@test "no fault in pop3d-checkpassword makes a wrong password right" {
	sample checkpassword 100
}
