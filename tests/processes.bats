#!/usr/bin/env bats
# The processes (DESIGN section 2): who they are, what they hold, how they end.

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# Who they are

@test "DESIGN 2: the process that reads the socket before login is not user 0" {
	need_root "the greeter gives up root only if there is root"
	serve
	field Uid "$GREETER" | expect '65534 65534 65534 65534'
	field Gid "$GREETER" | expect '65534 65534 65534 65534'
}

@test "DESIGN 3: -u says which user and group the greeter has" {
	need_root "the greeter gives up root only if there is root"
	serve -u 65501:65502
	field Uid "$GREETER" | expect '65501 65501 65501 65501'
	field Gid "$GREETER" | expect '65502 65502 65502 65502'
}

@test "DESIGN 2: the greeter has no groups and no capabilities" {
	need_root "the greeter gives up root only if there is root"
	wrap setpriv "--groups=4,5,6"
	serve
	field Groups "$MONITOR" | expect '4 5 6'
	field Groups "$GREETER" | expect ''
	field CapEff "$GREETER" | expect 0000000000000000
	field CapPrm "$GREETER" | expect 0000000000000000
}

@test "DESIGN 2: the greeter's root and working directory are the empty one" {
	need_root "the greeter changes its root only as root"
	serve
	readlink "/proc/$GREETER/root" | expect "$EMPTY"
	readlink "/proc/$GREETER/cwd" | expect "$EMPTY"
}

@test "DESIGN 2: started without privilege, the greeter is who started it" {
	greeter_command -c
	lines QUIT | as_user "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | forms |
	    expect '+OK
+OK'
}

@test "DESIGN 2: the greeter holds no more where the kernel cannot close all at once" {
	local pid

	not_under valgrind "it has descriptors of its own"
	failing close_range:error=ENOSYS true
	greeter_command -m "$MAIL"
	start_server strace -qq -f -o /dev/null \
	    -e inject=close_range:error=ENOSYS \
	    sh -c 'exec "$@" 7</dev/null 8</dev/null' sh "${POP3D[@]}"
	dial
	hear '^\+OK '
	pid=$(pgrep -n -f "pop3d -r $EMPTY")
	[ "$(find "/proc/$pid/fd" -type l | wc -l)" = 4 ]
}

@test "DESIGN 2: where no process can be started nobody is greeted: exit 111, a log line" {
	local code=0

	greeter_command
	failing socketpair:error=EMFILE "${POP3D[@]}" </dev/null \
	    >"$BATS_TEST_TMPDIR/answer" 2>>"$LOG" || code=$?
	[ "$code" = 111 ]
	[ ! -s "$BATS_TEST_TMPDIR/answer" ]
	logged 'event=error what="cannot start a process"'
}

@test "DESIGN 2: the session is the user, in every id, with no other group" {
	need_root "the user is another one only under root"
	wrap setpriv "--groups=4,5,6"
	serve
	login
	ids="$TEST_UID $TEST_UID $TEST_UID $TEST_UID"
	field Uid "$SESSION" | expect "$ids"
	ids="$TEST_GID $TEST_GID $TEST_GID $TEST_GID"
	field Gid "$SESSION" | expect "$ids"
	field Groups "$SESSION" | expect ''
	field CapEff "$SESSION" | expect 0000000000000000
}

@test "DESIGN 2: the session is the monitor's child, and pop3d -t" {
	serve
	login
	field PPid "$SESSION" | expect "$MONITOR"
	tr '\0' '\n' <"/proc/$SESSION/cmdline" | head -n 2 |
	    expect "$POP3D_BIN/pop3d
-t"
}

@test "DESIGN 2: the greeter is gone during the session" {
	serve
	login
	wait_for gone "$GREETER"
	say STAT
	hear '^\+OK 0 0$'
}

@test "DESIGN 2: the monitor neither reads from the client nor writes to it" {
	need_strace
	greeter_command -c
	lines CAPA 'USER joe' 'PASS no' 'USER joe' 'PASS secret' STAT QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" -- strace -ff -qq -y -s 300 \
	    -o "$RECORD/calls" \
	    -e trace=execve,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg \
	    "${POP3D[@]}" 2>>"$LOG" | tail -n 1 | grep '^+OK'
	# Each process has a file of its own; the monitor is the one that
	# runs pop3d, but not the session.
	file=$(grep -l "execve(\"[^\"]*/pop3d\", \[\"[^\"]*\", \"-r\"" \
	    "$RECORD"/calls.*)
	[ -f "$file" ]
	grep -E '^(sendto|recvfrom)' "$file"
	not grep -E '^[a-z]+\([01][<,]' "$file"
	# But the others do: the pattern is right.
	cat "$RECORD"/calls.* | grep -E '^recvfrom\(0[<,]'
	cat "$RECORD"/calls.* | grep -E '^sendto\(1[<,]'
}

# A session of root, and the greeter's root

@test "DESIGN 2: the session refuses to run as root: -ERR [SYS/PERM], exit 0" {
	need_root "a session of root"
	mkdir -p "$RECORD/Maildir/new" "$RECORD/Maildir/cur"
	cd "$RECORD"
	lines STAT QUIT | "$POP3D_BIN/pop3d" -t >"$RECORD/got" 2>>"$LOG"
	tr -d '\r' <"$RECORD/got" | forms | expect '-ERR [SYS/PERM]'
	logged 'event=error .*root'
}

@test "DESIGN 2: so does one that could become root again" {
	need_root "a session that was root"
	cd "$HOME_DIR"
	code=0
	lines STAT QUIT | python3 -c 'import os, sys
os.setresgid(7110, 7110, 7110)
os.setresuid(0, 7110, 7110)
os.execv(sys.argv[1], sys.argv[1:])' "$POP3D_BIN/pop3d" -t \
	    >"$RECORD/got" 2>>"$LOG" || code=$?
	tr -d '\r' <"$RECORD/got" | forms | expect '-ERR [SYS/PERM]'
	[ "$code" = 0 ]
}

# unserved ROOT: with -r ROOT there is no greeting, a log line that names it,
# and exit 111.
unserved() {
	local code=0

	: >"$LOG"
	"$POP3D_BIN/pop3d" -c -r "$1" </dev/null >"$RECORD/out" 2>>"$LOG" ||
	    code=$?
	[ "$code" = 111 ] && same /dev/null "$RECORD/out" &&
	    logged "event=error .*path=$1 error=" && return
	echo "with $1: exit $code" >&2
	return 1
}

@test "DESIGN 3: a missing -r directory: no greeting, a log line, exit 111" {
	need_root "only root changes its root"
	unserved "$BATS_TEST_TMPDIR/missing"
	: >"$RECORD/file"
	unserved "$RECORD/file"
	logged 'error="Not a directory"'
}

@test "DESIGN 2: a -r directory that others may write to is refused in the same way" {
	need_root "only root changes its root"
	for mode in 775 757 777 1777; do
		chmod "$mode" "$EMPTY"
		unserved "$EMPTY"
	done
	chmod 755 "$EMPTY"
	"$POP3D_BIN/pop3d" -r "$EMPTY" </dev/null 2>>"$LOG" | grep '^+OK'
}

@test "DESIGN 2: a -r directory of somebody else is refused in the same way" {
	need_root "only root changes its root"
	chown "$TEST_UID" "$EMPTY"
	unserved "$EMPTY"
}

# Descriptors that are closed, or all the same

@test "DESIGN 2: with descriptor 0 or 1 closed nobody is served: exit 111, a log line" {
	greeter_command -c
	for closed in 0 1; do
		: >"$LOG"
		code=0
		if [ "$closed" = 0 ]; then
			"${POP3D[@]}" <&- >"$RECORD/out" 2>>"$LOG" || code=$?
		else
			: >"$RECORD/out"
			lines QUIT | "${POP3D[@]}" >&- 2>>"$LOG" || code=$?
		fi
		[ "$code" = 111 ]
		same /dev/null "$RECORD/out"
		logged 'event=error .*closed'
	done
	code=0
	"${POP3D[@]}" <&- >&- 2>&- || code=$?
	[ "$code" = 111 ]
}

@test "DESIGN 2: with descriptor 2 closed the client gets POP3 and nothing else" {
	greeter_command -c
	lines 'USER joe' 'PASS no' 'USER joe' 'PASS secret' STAT QUIT |
	    "${POP3D[@]}" 2>&- | tr -d '\r' | forms | expect '+OK
+OK
-ERR [AUTH]
+OK
+OK
+OK
+OK'
}

@test "DESIGN 3: started like inetd (0, 1 and 2 one socket): nothing but POP3 to the client" {
	greeter_command -v
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c 'exec "$@" 2>&0' sh "${POP3D[@]}"
	echo hello | deliver new/1
	lines 'USER joe' 'PASS no' 'USER joe' 'PASS secret' 'RETR 1' 'DELE 1' \
	    QUIT | python3 "$BATS_TEST_DIRNAME/pop.py" --by "$PORT" |
	    tr -d '\r' | forms | expect '+OK
+OK
-ERR [AUTH]
+OK
+OK
+OK
hello
.
+OK
+OK'
	same /dev/null "$LOG"
}

@test "DESIGN 3: so it is where the maildrop cannot be opened" {
	greeter_command -v -m /no/such/maildir
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c 'exec "$@" 2>&0' sh "${POP3D[@]}"
	lines 'USER joe' 'PASS secret' |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --by "$PORT" | tr -d '\r' |
	    forms | expect '+OK
+OK
-ERR [SYS/PERM]'
}

@test "DESIGN 3: so it is where the -r directory is missing: closed without a word" {
	need_root "only root changes its root"
	greeter_command -r /no/such/directory
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c 'exec "$@" 2>&0' sh "${POP3D[@]}"
	dial
	closed
}

# The end

@test "DESIGN 2: a greeter that is killed ends all, with a log line" {
	serve
	kill -KILL "$GREETER"
	closed
	wait_for all_gone
	logged 'event=end .*ip=127\.0\.0\.1 .*signal=9|event=end .*signal=9'
}

@test "DESIGN 2: a greeter killed while a password is checked: all ends with the program" {
	program <<'P'
: >"$RECORD/begun"
until [ -e "$RECORD/go" ]; do sleep 0.02; done
exit 1
P
	serve
	say 'USER joe' 'PASS no'
	wait_for test -e "$RECORD/begun"
	kill -KILL "$GREETER"
	: >"$RECORD/go"
	wait_for all_gone
	logged 'event=failure user=joe'
}

@test "DESIGN 2: without its monitor the greeter logs nobody in, and ends" {
	serve
	kill -KILL "$MONITOR"
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	closed
	wait_for gone "$GREETER"
	not grep event=login "$LOG"
}

@test "DESIGN 2: without its monitor a session goes on to its end" {
	serve
	login
	kill -KILL "$MONITOR"
	say STAT QUIT
	hear '^\+OK 0 0'
	hear '^\+OK'
	wait_for gone "$SESSION"
	logged 'event=end user=joe .*reason=quit'
}

@test "DESIGN 2: a session that is killed closes the connection, and nothing is left" {
	serve
	login
	kill -KILL "$SESSION"
	closed
	wait_for all_gone
}

@test "DESIGN 2: no process is left after QUIT, before login and after" {
	serve
	say QUIT
	hear '^\+OK'
	closed
	hang_up
	wait_for all_gone
	connect
	login
	say QUIT
	hear '^\+OK'
	closed
	hang_up
	wait_for all_gone
}

@test "DESIGN 2: no process is left after a disconnection, before login and after" {
	serve
	hang_up
	wait_for all_gone
	connect
	printf 'USER jo' >&"$CLIENT"
	hang_up
	wait_for all_gone
	connect
	login
	printf 'STA' >&"$CLIENT"
	hang_up
	wait_for all_gone
	logged 'event=end user=joe .*reason=disconnect'
}

@test "DESIGN 2: no process is left after a reset before login" {
	serve
	python3 - "$PORT" <<'P'
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.recv(4096)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.sendall(b"half a line")
s.close()
P
	say QUIT
	hear '^\+OK'
	wait_for all_gone
	logged 'event=end user=- .*reason=disconnect signal=0'
}

@test "DESIGN 2: no process is left after a client that vanished while it waited" {
	program <<'P'
: >"$RECORD/begun"
until [ -e "$RECORD/go" ]; do sleep 0.02; done
become "$@"
P
	serve
	say 'USER joe' 'PASS secret'
	wait_for test -e "$RECORD/begun"
	hang_up
	: >"$RECORD/go"
	wait_for all_gone
}

@test "DESIGN 2: no process is left after too many wrong passwords" {
	serve -n 1
	say 'USER joe' 'PASS no'
	hear '^\+OK'
	hear '^-ERR \[AUTH\]'
	closed
	wait_for all_gone
}

@test "DESIGN 2: no process is left after a program without a session" {
	program <<<'exit 0'
	serve
	say 'USER joe' 'PASS no'
	hear '^\+OK'
	closed
	wait_for all_gone
}

@test "DESIGN 2: no process is left after an idle time-out" {
	serve -T 1
	login
	closed
	wait_for all_gone
}

@test "DESIGN 2: a client that half-closes gets every answer: the greeter" {
	greeter_command
	start_server "${POP3D[@]}"
	python3 - "$PORT" <<'P'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"CAPA\r\nUSER joe\r\nXYZZY\r\n")
s.shutdown(socket.SHUT_WR)
s.settimeout(20)
data = b""
while True:
    part = s.recv(4096)
    if not part:
        break
    data += part
assert data.count(b"+OK") == 3 and b"\r\n-ERR" in data, data
P
}

@test "DESIGN 2: a client that half-closes gets every answer: the session" {
	echo hello | deliver new/1
	greeter_command
	start_server "${POP3D[@]}"
	python3 - "$PORT" <<'P'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"USER joe\r\nPASS secret\r\nRETR 1\r\nDELE 1\r\nSTAT\r\n")
s.shutdown(socket.SHUT_WR)
s.settimeout(20)
data = b""
while True:
    part = s.recv(4096)
    if not part:
        break
    data += part
assert data.endswith(b"+OK 0 0\r\n") and b"\r\nhello\r\n.\r\n" in data, data
P
	# It was no QUIT.
	[ -e "$MAIL/new/1" ]
}

# Input

# busy PID: the CPU time it has used, in ticks.
busy() {
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# idle_over PID: it uses no CPU while another connection has a wrong password
# checked, which takes a second.
idle_over() {
	local before

	before=$(busy "$1")
	lines 'USER joe' 'PASS no' QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --by "$PORT" |
	    grep '^-ERR \[AUTH\]'
	[ $(($(busy "$1") - before)) -le 1 ]
}

@test "DESIGN 2: half a line costs no CPU: the greeter" {
	serve
	printf 'USER jo' >&"$CLIENT"
	idle_over "$GREETER"
	say e QUIT
	hear '^\+OK'
	hear '^\+OK'
}

@test "DESIGN 2: half a line costs no CPU: the session" {
	serve
	login
	printf 'STA' >&"$CLIENT"
	idle_over "$SESSION"
	say T QUIT
	hear '^\+OK 0 0'
	hear '^\+OK'
}

@test "DESIGN 2: a session costs the monitor no CPU" {
	serve
	login
	idle_over "$MONITOR"
}

@test "DESIGN 2: a program that closes descriptor 4 costs the monitor no CPU" {
	program <<'P'
exec 3<&- 4<&-
: >"$RECORD/begun"
until [ -e "$RECORD/go" ]; do sleep 0.1; done
exit 1
P
	serve
	say 'USER joe' "PASS $(printf '%200s' x)"
	wait_for test -e "$RECORD/begun"
	before=$(busy "$MONITOR")
	hear '^\+OK'
	not read -r -t 0.5 -u "$CLIENT" HEARD
	[ $(($(busy "$MONITOR") - before)) -le 1 ]
	: >"$RECORD/go"
	hear '^-ERR \[AUTH\]'
}

@test "DESIGN 2: TCP_NODELAY and keep-alive are set before the first byte" {
	need_strace
	greeter_command -c
	start_server strace -f -qq -o "$RECORD/calls" \
	    -e trace=setsockopt,sendto,write "${POP3D[@]}"
	dial
	hear '^\+OK'
	say QUIT
	hear '^\+OK'
	closed
	sed -E -n 's/.*setsockopt\(0, [A-Z_]+, ([A-Z_]+), \[([0-9]+)\].*/\1 \2/p
	    s/.*(sendto|write)\(1, .*/first/p' "$RECORD/calls" |
	    sed -n '1,/first/p' >"$RECORD/order"
	sort "$RECORD/order" | expect 'SO_KEEPALIVE 1
TCP_KEEPCNT 4
TCP_KEEPIDLE 60
TCP_KEEPINTVL 15
TCP_NODELAY 1
TCP_USER_TIMEOUT 120000
first'
}

# last_reply SCRIPT REPLY: in each of 40 connections that send SCRIPT (with
# escapes as Python has them), REPLY is the last line, and then comes an
# orderly end: no reset.
last_reply() {
	python3 - "$PORT" "$1" "$2" <<'P'
import select, socket, sys
port, script, reply = sys.argv[1:]
script = eval('b"' + script + '"')
for i in range(40):
    s = socket.create_connection(("127.0.0.1", int(port)))
    s.settimeout(20)
    s.sendall(script)
    # Late enough that a reset would have come.
    p = select.poll()
    p.register(s, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    p.poll(20000)
    data = b""
    while True:
        part = s.recv(65536)
        if not part:
            break
        data += part
    # A peer that drains our input waits for us to close, in CLOSE_WAIT (8);
    # after a reset we would be in CLOSE.
    state = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    assert state == 8, (i, "reset", state)
    last = data.decode().split("\r\n")[-2]
    assert last.startswith(reply), (i, data)
    s.close()
P
}

@test "DESIGN 2: the last reply survives input pipelined behind QUIT: the greeter" {
	greeter_command
	start_server "${POP3D[@]}"
	last_reply 'CAPA\r\nQUIT\r\n" + b"NOOP\r\n" * 2000 + b"' '+OK'
}

@test "DESIGN 2: the last reply survives input pipelined behind QUIT: the session" {
	program <<<'become "$@"'
	greeter_command -m Maildir
	start_server "${POP3D[@]}"
	# One after the other: the maildrop is locked.
	last_reply 'USER joe\r\nPASS secret\r\nQUIT\r\n" + b"NOOP\r\n" * 2000 + b"' '+OK'
}

@test "DESIGN 2: the last reply survives the rest of what is not POP3" {
	greeter_command
	start_server "${POP3D[@]}"
	last_reply 'GET / HTTP/1.0\r\n" + b"X: y\r\n" * 2000 + b"' '-ERR'
	last_reply '\x16\x03\x01" + b"\n\0x" * 3000 + b"' '-ERR'
}
