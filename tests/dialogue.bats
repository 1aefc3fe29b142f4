#!/usr/bin/env bats
# The dialogues of RFC 1939, over every kind of descriptor.

load helper

setup() {
	pop3d_setup
	printf '%s\n' 'From: a@example.org' 'Subject: one' '' \
	    '.a line with a dot' 'the end' | deliver new/1700000001.M1P1.host
	printf 'From: b@example.org\r\n\r\nbody\r\n' |
	    deliver new/1700000002.M1P1.host
}

teardown() {
	pop3d_teardown
}

# RFC 1939 section 10, with our sizes and texts.
example() {
	cat <<'E'
STAT
LIST
RETR 1
DELE 1
RETR 2
DELE 2
QUIT
E
}

answer() {
	cat <<'E'
+OK mail.example.org POP3 ready
+OK now the password
+OK 2 messages
+OK 2 95
+OK 2 messages (95 octets)
1 66
2 29
.
+OK 66 octets
From: a@example.org
Subject: one

..a line with a dot
the end
.
+OK message 1 deleted
+OK 29 octets
From: b@example.org

body
.
+OK message 2 deleted
+OK good bye
E
}

# $1: socket, pipe or a port; $2: how
speak() {
	{
		printf 'USER joe\r\nPASS secret\r\n'
		example | sed 's/$/\r/'
	} | python3 "$BATS_TEST_DIRNAME/pop.py" --by "$1" --how "$2" -- \
	    "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | expect "$(answer)"
	[ -z "$(find "$MAIL" -name '*M1P1*')" ]
}

@test "RFC 1939 10: the example session over a socket, step by step" {
	pop3d_command -c
	speak socket lines
}

@test "RFC 1939 10: the example session over a socket, in one segment" {
	pop3d_command -c
	speak socket whole
}

@test "RFC 1939 10: the example session over a socket, octet by octet" {
	pop3d_command -c
	speak socket octets
}

@test "RFC 1939 10: the example session over pipes, step by step" {
	pop3d_command -c
	speak pipe lines
}

@test "RFC 1939 10: the example session over pipes, all at once" {
	pop3d_command -c
	speak pipe whole
}

@test "RFC 1939 10: the example session over pipes, octet by octet" {
	pop3d_command -c
	speak pipe octets
}

@test "RFC 1939 10: the example session under tcpserver" {
	pop3d_command
	start_server "${POP3D[@]}"
	POP3D=()
	speak "$PORT" lines
	logged 'event=login user=joe ip=127\.0\.0\.1 mechanism=USER tls=no messages=2'
	wait_for logged 'event=end user=joe ip=127\.0\.0\.1 retrieved=2 octets=95 deleted=2 left=0 seconds=[0-9]+ reason=quit'
}
