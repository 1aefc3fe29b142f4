#!/usr/bin/env bats
# What a client may do, and for how long.

load helper

# pop3d in which one of the time limits is another, so that nobody has to
# wait: short, whose AUTHORIZATION may take 2 seconds in all; long, which
# would wait for a command longer than for all of them.
setup_file() {
	local name edit

	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/file" \
	    "$BATS_FILE_TMPDIR"
	for name in short long; do
		case $name in
		short) edit='s/AUTH_TOTAL_SEC = 180,/AUTH_TOTAL_SEC = 2,/' ;;
		long) edit='s/AUTH_IDLE_SEC = 60,/AUTH_IDLE_SEC = 500,/' ;;
		esac
		mkdir "$BATS_FILE_TMPDIR/$name"
		cp "$BATS_TEST_DIRNAME"/../{Makefile,*.[ch]} \
		    "$BATS_FILE_TMPDIR/$name"
		(
			cd "$BATS_FILE_TMPDIR/$name" || exit
			sed -i "$edit" pop3d.h
			not cmp -s pop3d.h "$BATS_TEST_DIRNAME/../pop3d.h"
			unset MAKEFLAGS
			make -s CC=cc CFLAGS=-O0 HARDENING=-fPIE pop3d
		)
	done
}

setup() {
	greeter_setup
	# Each process's own memory may not grow by more, in KiB, however much
	# a client sends; the address sanitizer takes some for itself.
	LIMIT=100
	! grep -q __asan_init "$POP3D_BIN/pop3d" || LIMIT=2000
	export LIMIT
}

teardown() {
	pop3d_teardown
}

# serve [OPTION ...]; WRAPPER is a command in front of pop3d.
serve() {
	greeter_command "$@"
	start_server "${WRAPPER[@]}" "${POP3D[@]}"
	TCPSERVER=${SERVERS[0]}
	export TCPSERVER
}

# Clients are faster than any pop3d in the next `serve`: whenever it looks,
# there is input.
slow_server() {
	need_strace
	WRAPPER=(strace -f -qq -o /dev/null -e "trace=poll,recvfrom")
}

# goes_to ACTION [login]: see limits.py; then all is over.
goes_to() {
	timeout 100 python3 "$BATS_TEST_DIRNAME/limits.py" "$1" "$PORT" "${@:2}"
	wait_for all_gone
}

all_gone() {
	not pgrep -P "${SERVERS[0]}"
}

# waits [OPTION ...]: how long the greeter of POP3D means to wait for each
# line of a client that speaks standard input's lines, in milliseconds.  Over
# pipes: the first wait for a line on a socket may be the socket's own.
waits() {
	need_strace
	mkdir -p "$RECORD/polls"
	python3 "$BATS_TEST_DIRNAME/pop.py" --by pipe -- strace -ff -qq \
	    -e trace=execve,poll -o "$RECORD/polls/of" "${POP3D[@]}" \
	    >/dev/null 2>>"$LOG"
	# The monitor, and what it runs, was executed; the greeter was not.
	grep -L 'execve(' "$RECORD/polls"/of.* | xargs \
	    sed -n -E 's/^poll\(\[\{fd=0, .*, 1, ([0-9]+)\).*/\1/p'
}

# between LEAST MOST: standard input is a number from the one to the other.
between() {
	local number

	read -r number
	[ "$number" -ge "$1" ] && [ "$number" -le "$2" ] && return
	echo "$number is not from $1 to $2" >&2
	return 1
}

# Time in AUTHORIZATION

@test "DESIGN 3: the greeter waits 60 seconds for a command, or -T if that is less" {
	greeter_command -c
	lines QUIT | waits | head -n 1 | between 59000 60000
	rm "$RECORD/polls"/*
	greeter_command -c -T 86400
	lines QUIT | waits | head -n 1 | between 59000 60000
	rm "$RECORD/polls"/*
	greeter_command -c -T 7
	lines QUIT | waits | head -n 1 | between 6000 7000
}

@test "DESIGN 3: it waits 180 seconds in all, those of a password's check not counted" {
	program <<'P'
sleep 1
exit 1
P
	POP3D_BIN=$BATS_FILE_TMPDIR/long greeter_command -c
	lines 'USER joe' 'PASS no' QUIT | waits >"$RECORD/waits"
	head -n 1 "$RECORD/waits" | between 179000 180000
	# The check, and the delay behind it, took two seconds.
	tail -n 1 "$RECORD/waits" | between 178500 180000
}

@test "DESIGN 3: a client that sends one command after the other has 180 seconds, too" {
	POP3D_BIN=$BATS_FILE_TMPDIR/short serve
	goes_to steady
	wait_for grep -Eq 'event=end user=- .*reason=timeout' "$LOG"
}

@test "DESIGN 3: so has one that sends them without a pause" {
	POP3D_BIN=$BATS_FILE_TMPDIR/short serve
	goes_to flooded
	wait_for grep -Eq 'event=end user=- .*reason=timeout' "$LOG"
}

@test "DESIGN 3: a line without an end, however fast, is no command: the greeter" {
	slow_server
	serve -T 1
	goes_to unended
	wait_for grep -Eq 'event=end user=- .*reason=timeout' "$LOG"
}

@test "DESIGN 3: a line without an end, however fast, is no command: the session" {
	slow_server
	serve -T 1
	goes_to unended login
	wait_for grep -Eq 'event=end user=joe .*reason=timeout' "$LOG"
}

@test "DESIGN 2: half a line that comes octet by octet costs no CPU: the greeter" {
	serve
	goes_to trickle
}

@test "DESIGN 2: half a line that comes octet by octet costs no CPU: the session" {
	serve
	goes_to trickle login
}

# Time for writes

@test "DESIGN 2: a client that never reads is let go after -T: the greeter" {
	serve -T 1
	goes_to unread
	wait_for grep -Eq 'event=end user=- .*reason=timeout' "$LOG"
}

@test "DESIGN 2: a client that never reads is let go after -T: the session" {
	serve -T 1
	goes_to unread login
	wait_for grep -Eq 'event=end user=joe .*reason=timeout' "$LOG"
}

@test "DESIGN 2: input behind QUIT is drained for a moment only: the greeter" {
	slow_server
	serve
	goes_to behind_quit
	wait_for grep -Eq 'event=end user=- .*reason=quit' "$LOG"
}

@test "DESIGN 2: input behind QUIT is drained for a moment only: the session" {
	slow_server
	serve
	goes_to behind_quit login
	logged 'event=end user=joe .*reason=quit'
}

@test "DESIGN 2: TCP looks after a client that vanished where there is no greeter, too" {
	need_strace
	program <<<'become "$@"'
	start_server strace -qq -o "$RECORD/calls" \
	    -e trace=setsockopt,sendto,write "$PROGRAM" "$POP3D_BIN/pop3d" -t
	dial
	hear '^\+OK'
	say QUIT
	hear '^\+OK'
	closed
	for option in TCP_NODELAY SO_KEEPALIVE TCP_KEEPIDLE TCP_USER_TIMEOUT; do
		sed '/+OK/q' "$RECORD/calls" | grep "setsockopt(0, .*$option"
	done
}

# Commands

# tally: how often each line comes.
tally() {
	LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

@test "DESIGN 5: refused, mis-stated and over-long commands are bad ones: the greeter" {
	local command long

	long=$(printf '%300s' x)
	for command in 'USER joe' 'PASS x' 'APOP joe x' 'AUTH PLAIN =' STLS \
	    'AUTH X' 'QUIT now' 'CAPA x' "$long" '' ' ' 'STAT'; do
		for ((i = 0; i < 21; i++)); do
			lines "$command"
		done | talk | forms | tally | expect '1 +OK
20 -ERR' || {
			echo "of $command" >&2
			return 1
		}
	done
}

@test "DESIGN 5: SASL exchanges that come to nothing are bad commands" {
	for ((i = 0; i < 21; i++)); do
		case $((i % 3)) in
		0) lines 'AUTH PLAIN' '*' ;;
		1) lines 'AUTH LOGIN' '!' ;;
		2) lines 'AUTH PLAIN' "$(printf '%13000s' x)" ;;
		esac
	done | talk -c | forms | grep -c '^-ERR' | expect 20
}

@test "DESIGN 5: a first line that is SSH, or any other way to speak HTTP, is closed" {
	local line

	for line in 'SSH-2.0-OpenSSH_9.2p1' 'HEAD / HTTP/1.0' 'PUT /x HTTP/1.1' \
	    'get /' 'EHLO [192.0.2.1]'; do
		for how in lines octets; do
			greeter_command -c
			lines "$line" CAPA CAPA QUIT |
			    python3 "$BATS_TEST_DIRNAME/pop.py" --how "$how" \
			    -- "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | forms |
			    expect '+OK
-ERR' || {
				echo "of $line, $how" >&2
				return 1
			}
		done
	done
}

# Memory

@test "DESIGN 2: a line of 50 MB takes no memory: the greeter" {
	serve
	goes_to long_line
}

@test "DESIGN 2: a line of 50 MB takes no memory: the session" {
	serve
	goes_to long_line login
}

@test "DESIGN 2: 100 000 commands sent ahead take no memory: the greeter" {
	serve
	goes_to pipelined
}

@test "DESIGN 2: 100 000 commands sent ahead take no memory: the session" {
	serve
	goes_to pipelined login
}

@test "RFC 5034 4: a response of a megabyte takes no memory" {
	serve
	goes_to responses
}
