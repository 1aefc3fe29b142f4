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

# letters NUMBER: no digits, which could belong to a \0 before them.
letters() {
	printf "%0$1d" 0 | tr 0 x
}

# control: sets FD, the greeter's descriptor of its socket to the monitor.
control() {
	for FD in "/proc/$GREETER/fd"/*; do
		FD=${FD##*/}
		[ "$FD" -le 2 ] || return 0
	done
}

# speak MECHANISM TEXT: the greeter sends that message to the monitor: a number
# and, in a printf format, what follows it.
speak() {
	# shellcheck disable=SC2059 # it is one
	{ le16 "$1"; printf "$2"; } >"$RECORD/message"
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
	# A user, a secret and a challenge with a NUL behind each, and no more;
	# each of these has one fault.
	for message in '' 0 '0 ' '0 joe\0secret\0' '0 joe\0secret\0x' \
	    '0 joe\0secret\0\0x' '0 joe\0secret\0\0\0' '0 joesecret' \
	    '4 joe\0secret\0\0' '65535 joe\0secret\0\0' \
	    '0 \0secret\0\0' "0 $(letters 256)\0x\0\0" \
	    "0 x\0$(letters 9217)\0\0" "0 joe\0secret\0$(letters 256)\0" \
	    "0 $(letters 255)\0$(letters 9216)\0$(letters 255)\0!"; do
		: >"$LOG"
		connect
		case $message in
		'') : >"$RECORD/message" ;;
		0) printf 0 >"$RECORD/message" ;;
		*) speak "${message%% *}" "${message#* }" ;;
		esac
		[ "${message#* }" != "$message" ] || speak_file
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
	speak 0 'joe\0secret\0\0'
	speak 0 'joe\0secret\0\0'
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
	# Only root may stop what has another user id.
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
	speak 0 'joe\0secret\0\0'
	hear '^\+OK 0 messages'
	wait_for gone "$GREETER"
	say STAT
	hear '^\+OK 0 0'
}
