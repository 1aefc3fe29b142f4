#!/usr/bin/env bats
# What a greeter that was taken over can do to its monitor (DESIGN section 2).

load helper

setup_file() {
	build_inject
}

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# speak FORMAT: the greeter sends that message, as printf writes it, to the
# monitor: two octets for the mechanism, then user, secret and challenge, each
# ended by a NUL (see monitor.h).
speak() {
	local octets fd

	# shellcheck disable=SC2059 # it is one
	printf "$1" >"$RECORD/message"
	octets=$(wc -c <"$RECORD/message")
	for fd in "/proc/$GREETER/fd"/*; do
		[ "${fd##*/}" -le 2 ] || break
	done
	"$INJECT" "$GREETER" sendto "${fd##*/}" "@$RECORD/message" "$octets" \
	    0x4000 | grep -Ex "$octets|killed SIGKILL"
}

JOE='\0\0joe\0secret\0\0'

# refused: the monitor ends it all, with one line in the log and no more.
refused() {
	closed && hang_up && wait_for gone "$MONITOR" && gone "$GREETER" &&
	    not_asked && expect \
	    'pop3d: event=end user=- ip=127.0.0.1 reason=greeter signal=9' <"$LOG"
}

@test "DESIGN 2: what is no request ends it all, and no program is run" {
	need_inject
	recorder
	listen
	wrong=0
	name=$(printf %0255d 0 | tr 0 n)
	secret=$(printf %09216d 0 | tr 0 s)
	# Each of these has one fault.
	for message in '' '\0' '\0\0' '\0\0\0' '\0\0joe' '\0\0joe\0secret' \
	    '\0\0joe\0secret\0' '\0\0joe\0secret\0x' '\11\0joe\0secret\0\0' \
	    '\7\0' '\7\0x' '\10\0' '\10\0joe\0secret\0\0' \
	    "\\10\\0$(printf '%040d' 0)" \
	    '\0\1joe\0secret\0\0' '\377\377joe\0secret\0\0' \
	    '\0\0\0secret\0\0' '\0\0joe\0secret\0\0\0' \
	    '\0\0j\0oe\0secret\0\0' '\0\0joe\0secret\0\0x' \
	    "\\0\\0x$name\\0secret\\0\\0" "\\0\\0joe\\0x$secret\\0\\0" \
	    "\\0\\0joe\\0secret\\0x$name\\0" \
	    "\\0\\0$name\\0$secret\\0$name\\0x" \
	    "\\0\\0joe\\0$secret$secret\\0\\0"; do
		: >"$LOG"
		connect
		speak "$message"
		refused || {
			echo "not refused: ${message:0:60}" >&2
			wrong=1
			kill -KILL "$GREETER" || :
			hang_up
		}
	done
	[ "$wrong" = 0 ]
}

@test "DESIGN 2: the longest request that there can be is one" {
	need_inject
	recorder
	serve
	name=$(printf %0255d 0 | tr 0 n)
	secret=$(printf %09216d 0 | tr 0 s)
	speak "\\0\\0$name\\0$secret\\0$name\\0"
	wait_for grep -q event=failure "$LOG"
	handed "$name\\0$secret\\0$name\\0"
}

@test "DESIGN 2: a second request before the first one's verdict ends it all" {
	need_inject
	program <<<'exit 1'
	serve
	kill -STOP "$MONITOR"
	speak "$JOE"
	speak "$JOE"
	kill -CONT "$MONITOR"
	closed
	wait_for gone "$MONITOR"
	gone "$GREETER"
	grep event=end "$LOG" | expect \
	    'pop3d: event=end user=- ip=127.0.0.1 reason=greeter signal=9'
}

@test "DESIGN 2: after the take-over the greeter is killed, even one that was stopped" {
	program <<'P'
: >"$RECORD/begun"
until [ -e "$RECORD/go" ]; do sleep 0.02; done
become "$@"
P
	serve
	say 'USER joe' 'PASS secret'
	wait_for test -e "$RECORD/begun"
	kill -STOP "$GREETER"
	: >"$RECORD/go"
	hear '^\+OK'
	hear '^\+OK 0 messages'
	wait_for gone "$GREETER"
	say STAT
	hear '^\+OK 0 0'
}

@test "DESIGN 2: and so is one that would rather go on with the client" {
	need_inject
	serve
	speak "$JOE"
	hear '^\+OK 0 messages'
	wait_for gone "$GREETER"
	say STAT
	hear '^\+OK 0 0'
}
