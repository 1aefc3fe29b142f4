#!/usr/bin/env bats
# The checkpassword interface (DESIGN section 4): what the program is given,
# and what becomes of its answer.

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# login OPTION ...: joe with "secret", STAT and QUIT, by USER.
login() {
	lines 'USER joe' 'PASS secret' STAT QUIT | talk "$@" | forms
}

# answered CODE BODY: a program in sh answers the login with CODE, and the
# connection lives on.
answered() {
	program <<<"$2"
	lines 'USER joe' 'PASS secret' QUIT | talk -c | forms |
	    expect "+OK
+OK
-ERR [$1]
+OK"
}

# silent BODY: after such a program the connection is closed without a word.
silent() {
	program <<<"$1"
	lines 'USER joe' 'PASS secret' QUIT | talk -c | forms | expect '+OK
+OK'
}

# A program that keeps its arguments, environment and open descriptors.
witness() {
	program <<'P'
for a; do printf '%s\n' "$a"; done >"$RECORD/arguments"
tr '\0' '\n' </proc/self/environ >"$RECORD/environment"
exit 1
P
}

# A program that keeps its open descriptors; `ls` itself has one for /proc.
descriptors() {
	program <<'P'
exec ls -l /proc/self/fd >"$RECORD/list"
P
}

# What it kept: "number file" each.
descriptors_found() {
	sed -n 's/.* \([0-9]*\) -> /\1 /p' "$RECORD/list" | grep -v ' /proc/'
}

# The arguments as getopt sees them: "letter value", sorted.
options() {
	local arguments letter

	mapfile -t arguments <"$RECORD/arguments"
	[ "${arguments[0]}" = "$POP3D_BIN/pop3d" ]
	while getopts ':acd:e:h:k:lm:n:oPr:sST:tu:vx' letter \
	    "${arguments[@]:1}"; do
		echo "$letter${OPTARG:+ $OPTARG}"
	done | LC_ALL=C sort
}

has() {
	grep -Fxq -- "$1" "$RECORD/environment" || {
		echo "not in the environment: $1" >&2
		return 1
	}
}

# Descriptor 3

@test "DESIGN 4: descriptor 3 of USER: user, password, empty challenge" {
	recorder
	login -c
	handed 'joe\0secret\0\0'
}

@test "DESIGN 4: descriptor 3 of APOP: user, lower-case digest, time stamp" {
	recorder
	lines 'APOP joe Q 0123456789ABCDEFabcdef0123456789' | talk -a \
	    >"$RECORD/out"
	sed -n '1s/.* //p' "$RECORD/out" >"$RECORD/stamp"
	grep '^<.*>$' "$RECORD/stamp"
	handed "joe Q\\0000123456789abcdefabcdef0123456789\\0$(cat "$RECORD/stamp")\\0"
}

@test "DESIGN 4: descriptor 3 of AUTH PLAIN: user, password, empty challenge" {
	recorder
	lines "AUTH PLAIN $(printf '\0joe\0 s\344\n\r' | base64 -w 0)" | talk -c
	handed 'joe\0 s\344\n\r\0\0'
}

@test "DESIGN 4: descriptor 3 of AUTH LOGIN: user, password, empty challenge" {
	recorder
	lines 'AUTH LOGIN' "$(printf 'joe q' | base64)" \
	    "$(printf ' s\344 ' | base64)" | talk -c
	handed 'joe q\0 s\344 \0\0'
}

@test "DESIGN 4: a password of 9000 octets arrives whole" {
	local secret

	secret=$(printf '%9000s' '' | tr ' ' x)
	recorder
	lines "AUTH PLAIN $(printf '\0joe\0%s' "$secret" | base64 -w 0)" |
	    talk -c
	handed "joe\\0$secret\\0\\0"
}

@test "DESIGN 4: a program that reads slowly, octet by octet, gets all of it" {
	program <<'P'
dd bs=1 <&3 >"$RECORD/credentials" 2>/dev/null
exit 1
P
	lines "AUTH PLAIN $(printf '\0joe\0%2000s' x | base64 -w 0)" | talk -c
	handed "joe\\0$(printf '%2000s' x)\\0\\0"
}

@test "DESIGN 4: where no pipe takes the credentials the failure is temporary" {
	recorder
	greeter_command -c
	failing write:error=EAGAIN:when=1 true
	# The first that the monitor writes are they.
	lines 'USER joe' 'PASS secret' QUIT | failing write:error=EAGAIN:when=1 \
	    "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | grep '^-ERR \[SYS/TEMP\]'
	not_asked
	logged 'event=error what="cannot run the checkpassword program"'
}

@test "DESIGN 4: of two attempts, each program gets its own credentials only" {
	program <<'P'
cat <&3 >>"$RECORD/credentials"
exit 1
P
	lines 'USER somebody' 'PASS a long password' 'USER joe' 'PASS x' |
	    talk -c
	handed 'somebody\0a long password\0\0joe\0x\0\0'
}

# Arguments

@test "DESIGN 2: the program's arguments are its own, then pop3d -t and its options" {
	witness
	PROGRAM_ARGUMENTS=(-f 'a file' '' -x)
	greeter_command -c
	lines 'USER joe' 'PASS x' |
	    "${POP3D[@]}" "${PROGRAM_ARGUMENTS[@]}" >/dev/null 2>>"$LOG"
	head -n 5 "$RECORD/arguments" | expect "-f
a file

-x
$POP3D_BIN/pop3d"
	sed -n 6p "$RECORD/arguments" | grep -x -- '-t[a-zA-Z]*'
}

@test "DESIGN 3: the session's options are handed on as arguments" {
	witness
	login -acPsv -T 1200 -m 'Mail box/in' -n 2 -u 65533:65533
	options | expect 'P
T 1200
a
c
m Mail box/in
s
t
v'
}

@test "DESIGN 3: options that are not given are not handed on" {
	witness
	login -c
	# But for the time-out, whose default both know.
	options | grep -vx 'T 600' | expect 'c
t'
}

@test "DESIGN 3: pop3d is named by its path, even if started by a relative one" {
	witness
	greeter_command -c
	cd "$POP3D_BIN"
	lines 'USER joe' 'PASS x' | ./pop3d "${POP3D[@]:1}" >/dev/null 2>>"$LOG"
	head -n 1 "$RECORD/arguments" | expect "$POP3D_BIN/pop3d"
}

@test "DESIGN 3: pop3d replaced in mid-connection: the session is the new one" {
	not_under valgrind "the copy is another program"
	mkdir "$BATS_TEST_TMPDIR/bin"
	cp "$POP3D_BIN/pop3d" "$BATS_TEST_TMPDIR/bin/pop3d"
	cp "$POP3D_BIN/pop3d" "$BATS_TEST_TMPDIR/bin/new"
	greeter_command -m "$MAIL" -c
	start_server "$BATS_TEST_TMPDIR/bin/pop3d" "${POP3D[@]:1}"
	dial
	hear '^\+OK .* POP3'
	mv "$BATS_TEST_TMPDIR/bin/new" "$BATS_TEST_TMPDIR/bin/pop3d"
	say 'USER joe' 'PASS secret' QUIT
	hear '^\+OK'
	hear '^\+OK 0 messages'
	hear '^\+OK'
	closed
}

@test "DESIGN 3: where pop3d does not know its path, PATH is searched" {
	local call='?readlink,?readlinkat:error=ENOENT'

	not_under valgrind "it reads that link, too"
	program <<'P'
echo "$1" >"$RECORD/name"
become "$@"
P
	greeter_command -c
	failing "$call" true
	cd "$POP3D_BIN"
	lines 'USER joe' 'PASS secret' QUIT | PATH=$POP3D_BIN:$PATH \
	    failing "$call" ./pop3d "${POP3D[@]:1}" 2>>"$LOG" | tr -d '\r' |
	    grep -x '+OK 0 messages'
	expect pop3d <"$RECORD/name"
}

@test "DESIGN 3: the program is searched in PATH" {
	recorder
	greeter_command -c
	unset 'POP3D[-1]'
	lines 'USER joe' 'PASS x' | PATH=$BATS_TEST_TMPDIR:$PATH \
	    "${POP3D[@]}" program >/dev/null 2>>"$LOG"
	handed 'joe\0x\0\0'
}

# Environment

@test "DESIGN 4: AUTH_MECH, SERVICE, PROTO and no TLS" {
	witness
	login -c
	has AUTH_MECH=USER
	has SERVICE=pop3
	has PROTO=TCP
	not grep '^TLS=' "$RECORD/environment"
	not grep '^TCPREMOTEIP=' "$RECORD/environment"
}

@test "DESIGN 4: AUTH_MECH names each mechanism" {
	witness
	lines 'APOP joe 0123456789abcdef0123456789abcdef' | talk -a
	has AUTH_MECH=APOP
	lines "AUTH PLAIN $(printf '\0joe\0x' | base64)" | talk -c
	has AUTH_MECH=PLAIN
	lines 'auth login' am9l am9l | talk -c
	has AUTH_MECH=LOGIN
}

@test "DESIGN 4: TLS=1 with -s, and where SSL_PROTOCOL is set" {
	witness
	login -s
	has TLS=1
	SSL_PROTOCOL=TLSv1.3 login
	has TLS=1
	has SSL_PROTOCOL=TLSv1.3
}

@test "DESIGN 4: inherited TLS, AUTH_MECH and SERVICE are removed" {
	witness
	TLS=1 AUTH_MECH=APOP SERVICE=imap login -c
	not grep -E '^TLS=' "$RECORD/environment"
	grep -E '^(AUTH_MECH|SERVICE)=' "$RECORD/environment" | sort |
	    expect 'AUTH_MECH=USER
SERVICE=pop3'
}

@test "DESIGN 3: MAILDIR and POP3D_SESSION are removed before the program runs" {
	witness
	MAILDIR=/etc POP3D_SESSION='-m /etc' login -c
	not grep -E '^(MAILDIR|POP3D_SESSION)=' "$RECORD/environment"
}

@test "DESIGN 4: what the superserver set carries over as it is" {
	witness
	TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=4711 TCPREMOTEHOST=a.example.org \
	    TCPLOCALIP=192.0.2.1 PROTO=TCP6 HELLO='a  b' login -c
	has TCPREMOTEIP=192.0.2.7
	has TCPREMOTEPORT=4711
	has TCPREMOTEHOST=a.example.org
	has TCPLOCALIP=192.0.2.1
	has PROTO=TCP6
	has 'HELLO=a  b'
}

@test "DESIGN 4: TCPREMOTEIP is there too where the socket told the address" {
	witness
	greeter_command
	start_server env -u TCPREMOTEIP "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^-ERR \[AUTH\]'
	has TCPREMOTEIP=127.0.0.1
}

# Descriptors

@test "DESIGN 2: the program has descriptors 0 to 4, and no other" {
	not_under valgrind "it has descriptors of its own"
	descriptors
	greeter_command -c
	# One that the superserver left open.
	lines 'USER joe' 'PASS x' | "${POP3D[@]}" 2>>"$LOG" 7</dev/null \
	    19>&2 | cat
	descriptors_found | cut -d ' ' -f 1 | sort -n | expect '0
1
2
3
4'
}

@test "DESIGN 2: the program's standard error is the log, if that is not the client's" {
	program <<'P'
echo complaint >&2
exit 1
P
	login -c
	logged '^complaint$'
}

# As inetd starts it: 0, 1 and 2 are one socket.
inetd() {
	greeter_command -c
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c 'exec "$@" 2>&0' sh "${POP3D[@]}"
	dial
	hear '^\+OK'
}

@test "DESIGN 2: under inetd the program's standard error is /dev/null" {
	descriptors
	inetd
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	closed
	descriptors_found >"$RECORD/descriptors"
	grep -Fx '2 /dev/null' "$RECORD/descriptors"
	grep '^0 socket:' "$RECORD/descriptors"
}

@test "DESIGN 2: what the program writes to standard error never reaches the client" {
	program <<'P'
echo complaint >&2
[ -e "$RECORD/once" ] || { : >"$RECORD/once"; exit 1; }
become "$@"
P
	inetd
	say 'USER joe' 'PASS no'
	hear '^\+OK'
	hear '^-ERR \[AUTH\]'
	say 'USER joe' 'PASS secret' STAT QUIT
	hear '^\+OK'
	hear '^\+OK 0 messages$'
	hear '^\+OK 0 0$'
	hear '^\+OK'
	closed
}

# Exit codes

@test "DESIGN 2: exit 1 is a wrong password" {
	answered AUTH 'exit 1'
	logged 'event=failure user=joe ip=- mechanism=USER reason=password code=1$'
}

@test "DESIGN 2: exit 2 is misuse" {
	answered SYS/PERM 'exit 2'
	logged 'event=failure user=joe ip=- mechanism=USER reason=misuse code=2$'
}

@test "DESIGN 2: exit 3 to 99 is a wrong password" {
	answered AUTH 'exit 3'
	answered AUTH 'exit 50'
	answered AUTH 'exit 99'
}

@test "DESIGN 2: exit 100 and above is a temporary failure" {
	answered SYS/TEMP 'exit 100'
	answered SYS/TEMP 'exit 111'
	answered SYS/TEMP 'exit 255'
	logged 'event=failure user=joe ip=- mechanism=USER reason=temporary code=111$'
}

@test "RFC 3206 4, 5: [AUTH], [SYS/PERM] and [SYS/TEMP] answer PASS, APOP and AUTH, and never USER" {
	local code expected

	for code in 1 2 111; do
		case $code in
		1) expected=AUTH ;;
		2) expected=SYS/PERM ;;
		*) expected=SYS/TEMP ;;
		esac
		program <<P
exit $code
P
		lines 'USER joe' 'PASS x' 'APOP joe 0123456789abcdef0123456789abcdef' \
		    'AUTH PLAIN AGpvZQB4' 'AUTH LOGIN am9l' eA== QUIT |
		    talk -a -c -n 9 | forms | expect "+OK
+OK
-ERR [$expected]
-ERR [$expected]
-ERR [$expected]
+ UGFzc3dvcmQ6
-ERR [$expected]
+OK"
	done
}

@test "DESIGN 2: exit 0 without a session closes without a word, with a log line" {
	silent 'exit 0'
	logged 'event=failure user=joe ip=- mechanism=USER reason=no-session'
}

@test "DESIGN 2: a program that dies by a signal closes without a word, with a log line" {
	silent 'kill -SEGV $$'
	logged 'event=failure user=joe ip=- mechanism=USER reason=signal code=11$'
	silent 'kill -KILL $$'
}

@test "DESIGN 2: a failure by one program does not speak for the next" {
	program <<'P'
[ -e "$RECORD/once" ] || { : >"$RECORD/once"; exit 111; }
become "$@"
P
	{
		lines 'USER joe' 'PASS secret'
		lines 'USER joe' 'PASS secret' STAT QUIT
	} | talk -c | forms | expect '+OK
+OK
-ERR [SYS/TEMP]
+OK
+OK
+OK
+OK'
}

# not_run PROGRAM ERROR: [SYS/TEMP], and a log line with that path and error.
not_run() {
	PROGRAM=$1
	login -c | sed -n 3p | expect '-ERR [SYS/TEMP]'
	logged "event=error .*path=$1 error=\"$2\""
}

@test "DESIGN 2: a missing program is [SYS/TEMP], with a log line that names it" {
	not_under valgrind "its posix_spawn hears of no failure"
	not_run /no/such/program 'No such file or directory'
	not_run no-such-program-anywhere 'No such file or directory'
}

@test "DESIGN 2: a program that may not be executed is [SYS/TEMP], with a log line" {
	not_under valgrind "its posix_spawn hears of no failure"
	recorder
	chmod 644 "$PROGRAM"
	not_run "$PROGRAM" 'Permission denied'
}

@test "DESIGN 2: what the program leaves in the background does not hold up its answer" {
	program <<'P'
sleep 20 3<&- 4>&- >/dev/null 2>&1 </dev/null &
echo $! >"$RECORD/pid"
exit 1
P
	login -c | sed -n 3p | expect '-ERR [AUTH]'
	kill "$(cat "$RECORD/pid")"
}

@test "DESIGN 2: a child that holds descriptor 4 does not hold up the answer, either" {
	program <<'P'
sleep 20 >/dev/null 2>&1 </dev/null &
echo $! >"$RECORD/pid"
exit 1
P
	login -c | sed -n 3p | expect '-ERR [AUTH]'
	kill "$(cat "$RECORD/pid")"
}

@test "DESIGN 2: a program without an end is killed after 60 s, and all of its group" {
	program <<'P'
sleep 300 &
echo $! >"$RECORD/child"
trap '' TERM
wait
P
	greeter_command -c
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK .* POP3'
	SECONDS=0
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	IFS= read -r -t 90 -u "$CLIENT" HEARD
	[[ $HEARD == "-ERR [SYS/TEMP] "* ]]
	[ "$SECONDS" -ge 60 ]
	logged 'event=failure user=joe .*reason=timeout'
	wait_for not kill -0 "$(cat "$RECORD/child")" 2>/dev/null
	# It is no wrong password: the client may go on.
	say QUIT
	hear '^\+OK'
	closed
}

@test "DESIGN 2: the program has a process group of its own" {
	program <<'P'
ps -o pgid= -p $$ | tr -d ' ' >"$RECORD/group"
echo $$ >"$RECORD/pid"
exit 1
P
	login -c
	same "$RECORD/pid" "$RECORD/group"
}

# The session

@test "DESIGN 2: the session's answer is the only one to PASS" {
	program <<<'become "$@"'
	login -c | expect '+OK
+OK
+OK
+OK
+OK'
	logged 'event=login user=joe ip=- mechanism=USER tls=no messages=0'
}

@test "DESIGN 2: after the session has taken over, no exit code means anything" {
	program <<'P'
become sh -c '"$@"; exit 1' sh "$@"
P
	login -c | tail -n 2 | expect '+OK
+OK'
	not grep 'event=failure' "$LOG"
}

@test "DESIGN 2: a program that leaves descriptor 3 open does not hand it to the session" {
	not_under valgrind "the session has another name"
	program <<'P'
become sh -c 'exec 6</dev/null 9>&1; exec "$@"' sh "$@"
P
	greeter_command -m "$MAIL"
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^\+OK'
	# Other tests have sessions, too, but not of this maildir.
	session=$(pgrep -f "^$POP3D_BIN/pop3d -t.*$MAIL")
	for fd in "/proc/$session/fd"/*; do
		[ "${fd##*/}" -le 2 ] || readlink "$fd"
	done >"$RECORD/others"
	not grep -v /Maildir "$RECORD/others"
	say QUIT
	hear '^\+OK'
}

@test "DESIGN 2: a program that closes descriptor 4 still gives a session" {
	program <<<'become "$@" 4>&-'
	login -c | expect '+OK
+OK
+OK
+OK
+OK'
}

@test "DESIGN 2: the session of such a program is not taken for a failed login" {
	# It ends with 0 and no message: nobody may answer the client twice.
	program <<<'become "$@" 4>&-'
	lines 'USER joe' 'PASS secret' QUIT 'USER joe' | talk -c | forms |
	    expect '+OK
+OK
+OK
+OK'
}

@test "DESIGN 3: MAILDIR set by the program is the maildrop" {
	mkdir -p "$HOME_DIR/other/new" "$HOME_DIR/other/cur"
	echo x >"$HOME_DIR/other/new/1"
	own
	program <<<'export MAILDIR=other; become "$@"'
	lines 'USER joe' 'PASS secret' STAT QUIT | talk -c | sed -n 4p |
	    expect '+OK 1 3'
}

@test "DESIGN 3: -m wins over MAILDIR" {
	echo hello | deliver new/1
	program <<<'export MAILDIR=other; become "$@"'
	lines 'USER joe' 'PASS secret' STAT QUIT | talk -c -m Maildir |
	    sed -n 4p | expect '+OK 1 7'
}

@test "DESIGN 2: the session refuses root, with [SYS/PERM]" {
	need_root "a mailbox of root"
	program <<'P'
cd "$HOME_DIR" && exec "$@"
P
	login -c | tail -n 1 | expect '-ERR [SYS/PERM]'
}

@test "DESIGN 2: what is pipelined behind PASS reaches the session: pipes" {
	printf 'a\r\n' | deliver new/1
	program <<<'become "$@"'
	lines 'USER joe' 'PASS secret' STAT 'DELE 1' RSET 'UIDL 1' QUIT |
	    talk -c | sed 's/ messages$//' | tail -n +4 | expect '+OK 1 3
+OK message 1 deleted
+OK 1
+OK 1 1
+OK good bye'
}

@test "DESIGN 2: what is pipelined behind PASS reaches the session: a socket" {
	printf 'a\r\n' | deliver new/1
	program <<<'become "$@"'
	lines 'USER joe' 'PASS secret' STAT 'DELE 1' RSET 'UIDL 1' QUIT |
	    pop_of -c | sed 's/ messages$//' | tail -n +4 |
	    expect '+OK 1 3
+OK message 1 deleted
+OK 1
+OK 1 1
+OK good bye'
}

# pop_of OPTION ...: `talk` over a socket, all in one segment.
pop_of() {
	greeter_command "$@"
	python3 "$BATS_TEST_DIRNAME/pop.py" --how whole -- "${POP3D[@]}" \
	    2>>"$LOG" | tr -d '\r'
}

@test "DESIGN 2: what is pipelined behind AUTH's last response reaches the session" {
	program <<<'become "$@"'
	lines 'AUTH PLAIN' "$(printf '\0joe\0secret' | base64)" STAT QUIT |
	    pop_of -c | forms | expect '+OK
+ 
+OK
+OK
+OK'
	lines "AUTH PLAIN $(printf '\0joe\0secret' | base64)" STAT QUIT |
	    pop_of -c | forms | expect '+OK
+OK
+OK
+OK'
}

@test "DESIGN 2: a failed login leaves the pipelined commands to the greeter" {
	program <<<'exit 1'
	lines 'USER joe' 'PASS no' STLS 'USER joe' QUIT | pop_of -c | forms |
	    expect '+OK
+OK
-ERR [AUTH]
-ERR
+OK
+OK'
}

@test "DESIGN 2: many pipelined commands, more than one read takes, reach the session" {
	program <<<'become "$@"'
	{
		lines 'USER joe' 'PASS secret'
		yes NOOP | head -n 3000
		lines QUIT
	} | pop_of -c | grep -c '^+OK' | expect 3004
}

@test "DESIGN 2: what the client sends while the password is checked reaches the session" {
	program <<'P'
until [ -e "$RECORD/go" ]; do sleep 0.02; done
become "$@"
P
	greeter_command
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret' STAT
	hear '^\+OK'
	say QUIT
	: >"$RECORD/go"
	hear '^\+OK 0 messages'
	hear '^\+OK 0 0'
	hear '^\+OK'
	closed
}

# Wrapped programs

@test "DESIGN 3: whatever stands between composes in the usual way" {
	program <<<'become "$@"'
	greeter_command -c
	lines 'USER joe' 'PASS secret' STAT QUIT |
	    "${POP3D[@]:0:${#POP3D[@]}-1}" env A=1 "$PROGRAM" env B=2 \
	    2>>"$LOG" | tr -d '\r' | forms | tail -n 2 | expect '+OK
+OK'
}

@test "DESIGN 2: the program gets SIGPIPE and SIGCHLD as they were, and no blocked signal" {
	program <<'P'
exec grep -E '^Sig(Blk|Ign)' /proc/self/status >"$RECORD/signals"
P
	greeter_command -c
	lines 'USER joe' 'PASS x' | env --default-signal "${POP3D[@]}" \
	    >/dev/null 2>>"$LOG"
	# Of the real-time signals a libc may have taken some for itself.
	while read -r _ mask; do
		[ $((0x$mask & 0x7fffffff)) = 0 ]
	done <"$RECORD/signals"
	[ "$(wc -l <"$RECORD/signals")" = 2 ]
}
