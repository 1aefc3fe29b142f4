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

# le16 NUMBER ...: two octets each, as this machine has them.
le16() {
	local n

	for n; do
		# shellcheck disable=SC2059 # it is one
		printf "\\x$(printf %02x $((n & 255)))\\x$(printf %02x $((n >> 8)))"
	done
}

# control: sets FD, the greeter's descriptor of its socket to the monitor.
control() {
	for FD in "/proc/$GREETER/fd"/*; do
		FD=${FD##*/}
		[ "$FD" -le 2 ] || return 0
	done
}

# speak MECHANISM USER SECRET CHALLENGE TEXT: the greeter sends that message
# to the monitor: lengths, and a printf format.
speak() {
	# shellcheck disable=SC2059 # it is one
	{ le16 "$1" "$2" "$3" "$4"; printf "$5"; } >"$RECORD/message"
	speak_file
}

speak_file() {
	local octets

	octets=$(wc -c <"$RECORD/message")
	control
	"$INJECT" "$GREETER" sendto "$FD" "@$RECORD/message" "$octets" 0x4000 |
	    grep -Ex "$octets|killed SIGKILL"
}

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
	fill=$(printf '%09216d%0255d' 0 0)
	# It is read as 4 lengths and a text; each of these has one fault.
	for message in '' '0' '0 3 6 0' '0 3 6 0 joesecre' '0 3 6 0 joesecret!' \
	    '4 3 6 0 joesecret' '65535 3 6 0 joesecret' '0 0 6 0 secret' \
	    '0 256 1 0 '"$(printf %0257d 0)" "0 1 9217 0 x0$fill" \
	    "0 3 6 256 joesecret$(printf %0256d 0)" '0 3 6 0 j\0esecret' \
	    '0 3 6 0 joesec\0et' '1 3 6 1 joesecret\0' '0 65535 10 0 joesecret' \
	    "0 255 9216 255 $(printf %0255d 0)${fill}!"; do
		: >"$LOG"
		connect
		# shellcheck disable=SC2086 # a word each
		set -- $message
		case $# in
		0) : >"$RECORD/message" ;;
		1) printf 0000000 >"$RECORD/message" ;;
		*) speak "$1" "$2" "$3" "$4" "${5:-}" ;;
		esac
		[ $# -gt 1 ] || speak_file
		refused || {
			echo "not refused: ${message:0:60}" >&2
			wrong=1
			kill -KILL "$GREETER" || :
			hang_up
		}
	done
	[ "$wrong" = 0 ]
}

@test "DESIGN 2: a second request before the first one's verdict ends it all" {
	need_inject
	program <<<'exit 1'
	serve
	kill -STOP "$MONITOR"
	speak 0 3 6 0 joesecret
	speak 0 3 6 0 joesecret
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
	speak 0 3 6 0 joesecret
	hear '^\+OK 0 messages'
	wait_for gone "$GREETER"
	say STAT
	hear '^\+OK 0 0'
}
