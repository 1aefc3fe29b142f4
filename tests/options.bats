#!/usr/bin/env bats
# The command line (DESIGN section 3).

bats_require_minimum_version 1.5.0
load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# refused PATTERN ARGUMENT ...: usage on standard error, exit 100, and
# nothing on standard output.
refused() {
	local code=0 pattern=$1

	shift
	"$POP3D_BIN/pop3d" "$@" </dev/null >"$RECORD/out" 2>"$RECORD/error" ||
	    code=$?
	[ "$code" = 100 ] && same /dev/null "$RECORD/out" &&
	    grep -q '^usage: pop3d ' "$RECORD/error" &&
	    grep -Eq -- "$pattern" "$RECORD/error" && return
	echo "of: $*; exit $code" >&2
	cat "$RECORD/out" "$RECORD/error" >&2
	return 1
}

# accepted ARGUMENT ...: there is a greeting.
accepted() {
	"$POP3D_BIN/pop3d" -r "$EMPTY" "$@" </dev/null 2>>"$LOG" |
	    grep -q '^+OK ' && return
	echo "of: $*" >&2
	return 1
}

@test "DESIGN 3: every option of this version is accepted" {
	accepted
	for letter in a c l P s v; do
		accepted "-$letter"
	done
	accepted -h mail.example.org
	accepted -m /var/mail/joe
	accepted -T 600
	accepted -u 65533:65532
	accepted -n 3
}

@test "DESIGN 3: options may be bundled, and their arguments attached" {
	accepted -acPsv -n5 -T30 -hmail.example.org
	accepted -aPn5
}

@test "DESIGN 3: what stands behind the program is the program's, even with a hyphen" {
	accepted -c true -x -Z -n 0
	accepted -c -- true -x
}

@test "DESIGN 3: numbers at their limits are accepted" {
	accepted -n 1 -T 1
	accepted -n 10
	accepted -u 1:1
	accepted -u 2147483647:2147483647
	accepted -T 0600
}

@test "DESIGN 3: the program has 256 words at most, or exit 100" {
	local i words=()

	for i in {1..256}; do
		words+=("$i")
	done
	"$POP3D_BIN/pop3d" -r "$EMPTY" checkpw "${words[@]:1}" </dev/null \
	    2>>"$LOG" | grep '^+OK '
	run -100 --separate-stderr "$POP3D_BIN/pop3d" -r "$EMPTY" checkpw \
	    "${words[@]}" </dev/null
	[ -z "$output" ]
	# shellcheck disable=SC2154 # run sets it
	[[ $stderr == *"too many arguments"* ]]
}

@test "DESIGN 3: unknown options exit 100 with the usage" {
	refused '-Z' -Z
	refused '-Z' -cZ
	refused '-- ' --help
	refused '' '-?'
	refused '-1' -1
}

@test "DESIGN 3: an option without its argument exits 100" {
	for letter in h m n r T u; do
		refused "-$letter" "-$letter"
	done
}

@test "DESIGN 3: -n wants a number from 1" {
	for n in 0 -1 +1 ' 1' '1 ' 3x x 1.5 0x3 11 18446744073709551617 ''; do
		refused '-n' -n "$n"
	done
}

@test "DESIGN 3: -T wants a number of seconds from 1" {
	for n in 0 -1 +5 ' 5' 600s x '' 99999999999999999999 86401; do
		refused '-T' -T "$n"
		refused '-T' -t -T "$n"
	done
}

@test "DESIGN 3: -u wants two numbers, neither of them root's" {
	for ids in 0:0 0:1 1:0 root root:root 65534 65534: :65534 1:2:3 -1:-1 \
	    1:-1 nobody:nogroup 4294967296:1 1:4294967296 4294967295:1 \
	    1:4294967295 '1: 1' '' 00:1 1.1; do
		refused '-u' -u "$ids"
	done
}

@test "DESIGN 3: -h and -m want something, -r an absolute path" {
	refused '-h' -h ''
	refused '-m' -m ''
	refused '-r' -r ''
	refused '-r' -r empty
	refused '-r' -r ./empty
}

@test "DESIGN 3: -d wants seconds from 1 to a day, -e days from 0" {
	for n in 0 -1 +5 '' x 86401 60s; do
		refused '-d' -d "$n"
		refused '-d' -t -d "$n"
	done
	for n in -1 +5 '' x 10000 NEVER; do
		refused '-e' -e "$n"
		refused '-e' -t -e "$n"
	done
}

@test "DESIGN 3: -k wants a Maildir++ folder" {
	for folder in '' . .. ..x Deleted .a/b ./a "$(printf '.%0200d' 1)"; do
		refused '-k' -k "$folder"
		refused '-k' -t -k "$folder"
	done
}

@test "DESIGN 3: -n, -r and -u have no meaning with -t" {
	refused '-t' -t -n 3
	refused '-t' -n 3 -t
	refused '-t' -t -r /var/empty
	refused '-t' -t -u 65534:65534
}

@test "DESIGN 3: at most one maildir may be given with -t" {
	refused maildir -t one two
	refused maildir -t -c one two three
}

@test "DESIGN 3: a wrong option is no word to the client, under inetd either" {
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c '"$@" 2>&0; echo $? >"$RECORD/code"' sh \
	    "$POP3D_BIN/pop3d" -Z
	dial
	closed
	wait_for test -s "$RECORD/code"
	expect 100 <"$RECORD/code"
}

@test "DESIGN 3: a wrong option of the session is [SYS/TEMP] to the client" {
	program <<'P'
shift
become "$POP3D_BIN/pop3d" -t -Z
P
	lines 'USER joe' 'PASS secret' QUIT | talk -c | forms | expect '+OK
+OK
-ERR [SYS/TEMP]
+OK'
	logged '^pop3d: .*-Z'
}

# The maildir

@test "DESIGN 3: -t alone serves Maildir in the current directory" {
	echo hello | deliver new/1
	printf 'STAT\nQUIT\n' | session | expect '+OK 1 messages
+OK 1 7
+OK good bye'
}


@test "DESIGN 3: -t takes the maildir as its one argument, relative or absolute" {
	mkdir -p "$HOME_DIR/other/new" "$HOME_DIR/other/cur"
	echo hello >"$HOME_DIR/other/new/1"
	own
	echo STAT | session other | sed -n 2p | expect '+OK 1 7'
	echo STAT | session "$HOME_DIR/other" | sed -n 2p | expect '+OK 1 7'
	echo STAT | session -m other | sed -n 2p | expect '+OK 1 7'
	echo STAT | session -m "$HOME_DIR/other" | sed -n 2p |
	    expect '+OK 1 7'
	echo STAT | MAILDIR=other session | sed -n 2p | expect '+OK 1 7'
}

@test "DESIGN 3: -m and the argument win over MAILDIR" {
	echo hello | deliver new/1
	echo STAT | MAILDIR=other session -m Maildir | sed -n 2p |
	    expect '+OK 1 7'
	echo STAT | MAILDIR=other session Maildir | sed -n 2p |
	    expect '+OK 1 7'
}

@test "DESIGN 3: an empty MAILDIR is none" {
	echo hello | deliver new/1
	echo STAT | MAILDIR='' session | sed -n 2p | expect '+OK 1 7'
}

@test "DESIGN 3: -m reaches the session" {
	mkdir -p "$HOME_DIR/a box/new" "$HOME_DIR/a box/cur"
	echo hello >"$HOME_DIR/a box/new/1"
	own
	lines 'USER joe' 'PASS secret' STAT QUIT | talk -c -m 'a box' |
	    sed -n 4p | expect '+OK 1 7'
}

# What options do

@test "DESIGN 3: -h is the name in the greeting, and wins over TCPLOCALHOST" {
	TCPLOCALHOST=local.example.org talk -c </dev/null |
	    expect '+OK mail.example.org POP3 ready'
}

@test "DESIGN 3: without -h the greeting has TCPLOCALHOST" {
	TCPLOCALHOST=local.example.org "$POP3D_BIN/pop3d" -r "$EMPTY" \
	    </dev/null 2>>"$LOG" | tr -d '\r' |
	    expect '+OK local.example.org POP3 ready'
}

@test "DESIGN 3: without both, the greeting has the host's name" {
	TCPLOCALHOST='' "$POP3D_BIN/pop3d" -r "$EMPTY" </dev/null 2>>"$LOG" |
	    tr -d '\r' | expect "+OK $(uname -n) POP3 ready"
}

@test "DESIGN 3: a host that has no name is localhost" {
	failing uname:error=EPERM true
	failing uname:error=EPERM "$POP3D_BIN/pop3d" -r "$EMPTY" "$PROGRAM" \
	    </dev/null 2>>"$LOG" | tr -d '\r' |
	    expect '+OK localhost POP3 ready'
}

@test "RFC 2449 4: a name with a line end in it adds no line to the greeting" {
	greeter_command -a -h $'a\r\n-ERR b'
	"${POP3D[@]}" </dev/null >"$RECORD/greeting" 2>>"$LOG"
	[ "$(wc -l <"$RECORD/greeting")" = 1 ]
}

@test "RFC 2449 5: with -t, -a, -c and -s change what CAPA says, as before login" {
	echo CAPA | session >"$RECORD/plain"
	echo CAPA | session -c >"$RECORD/clear"
	echo CAPA | session -s >"$RECORD/tls"
	not grep -Ex 'USER|SASL .*' "$RECORD/plain"
	grep -x USER "$RECORD/clear"
	grep -x 'SASL PLAIN LOGIN' "$RECORD/clear"
	same "$RECORD/clear" "$RECORD/tls"
}

@test "RFC 2449 5: CAPA says the same before and after login" {
	lines CAPA 'USER joe' 'PASS secret' CAPA QUIT | talk -c \
	    >"$RECORD/got"
	sed -n '2,/^\.$/p' "$RECORD/got" >"$RECORD/before"
	sed '1,/^\.$/d' "$RECORD/got" | sed -n '/^+OK cap/,/^\.$/p' \
	    >"$RECORD/after"
	grep -x USER "$RECORD/after"
	same "$RECORD/before" "$RECORD/after"
}

@test "DESIGN 3: -P reaches the session: nothing is moved from new/" {
	echo hello | deliver new/1
	lines 'USER joe' 'PASS secret' 'RETR 1' QUIT | talk -c -P
	[ -e "$MAIL/new/1" ]
	lines 'USER joe' 'PASS secret' 'RETR 1' QUIT | talk -c
	[ -e "$MAIL/cur/1:2,S" ]
}

@test "DESIGN 3: -v reaches the session: every message retrieved is logged" {
	echo hello | deliver new/1
	lines 'USER joe' 'PASS secret' 'RETR 1' QUIT | talk -c
	not grep event=retrieved "$LOG"
	lines 'USER joe' 'PASS secret' 'RETR 1' QUIT | talk -c -v
	logged 'event=retrieved user=joe msgno=1 .*octets=7'
}

@test "DESIGN 3: -T is the session's idle time-out: closed without a word" {
	greeter_command -T 1
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^\+OK'
	closed
	wait_for grep -q 'event=end user=joe .*reason=timeout' "$LOG"
}

@test "DESIGN 3: -T is the greeter's idle time-out, too, if it is the smaller" {
	greeter_command -T 1
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	closed
	wait_for grep -q 'event=end user=- ip=127.0.0.1 reason=timeout' "$LOG"
}

@test "DESIGN 3: only a whole command resets the idle time-out" {
	greeter_command -T 1
	start_server "${POP3D[@]}"
	python3 - "$PORT" <<'P'
import select, socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.recv(1000)
begin = time.monotonic()
# Half a line, octet by octet, is no sign of life.
try:
    while not select.select([s], [], [], 0.1)[0]:
        s.send(b"x")
        assert time.monotonic() - begin < 10
    assert s.recv(1000) == b""
except (BrokenPipeError, ConnectionResetError):
    pass # An octet came when it was closed already.
P
}

# The bundled program

@test "DESIGN 3: without a program it is the bundled one in libexecdir" {
	not_under valgrind "it looks for the program in the child itself"
	command -v strace >/dev/null || skip "needs strace"
	[ ! -e /usr/local/libexec/pop3d-checkpassword ] ||
	    skip "a bundled program is installed"
	lines 'USER joe' 'PASS secret' QUIT | strace -f -qq -o "$RECORD/calls" \
	    -e trace=execve -s 200 "$POP3D_BIN/pop3d" -c -r "$EMPTY" \
	    2>>"$LOG" | tr -d '\r' | forms | sed -n 3p |
	    expect '-ERR [SYS/TEMP]'
	grep '"/usr/local/libexec/pop3d-checkpassword", \["pop3d-checkpassword", "[^"]*pop3d", "-t' \
	    "$RECORD/calls"
}

@test "DESIGN 3: of an option that comes again the session has the last" {
	program <<'P'
printf '%s\n' "$@" >"$RECORD/arguments"
exit 1
P
	# shellcheck disable=SC2046 # many
	lines 'USER joe' 'PASS no' |
	    talk -c $(printf -- '-T %d ' {1..20}) -m a -m b -d 9 -d 8 >/dev/null
	sed 1,2d "$RECORD/arguments" | expect '-T
20
-m
b
-d
8'
}
