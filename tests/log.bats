#!/usr/bin/env bats
# The log (DESIGN section 7).

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
	[ -z "${LISTENER:-}" ] || kill "$LISTENER" 2>/dev/null || :
}

# plain USER SECRET: AUTH PLAIN of two printf formats.
plain() {
	# shellcheck disable=SC2059 # they are formats
	lines "AUTH PLAIN $(printf "\\0$1\\0$2" | base64 -w 0)"
}

# line_of EVENT: the log's one line of that event, whole.
line_of() {
	grep -a "event=$1" "$LOG" >"$RECORD/lines"
	[ "$(wc -l <"$RECORD/lines")" = 1 ]
	cat "$RECORD/lines"
}

# user_logged USER TEXT: a failed login of that user (a printf format) is one
# line in the log, with `user=TEXT`, and printable throughout.
user_logged() {
	local line

	program <<<'exit 1'
	: >"$LOG"
	plain "$1" x | talk -c
	[ "$(wc -l <"$LOG")" = 2 ] # the failure, and the end
	not env LC_ALL=C grep -a '[^ -~]' "$LOG"
	line=$(line_of failure)
	[ "$line" = "pop3d: event=failure user=$2 ip=- mechanism=PLAIN reason=password code=1" ] || {
		echo "got: $line" >&2
		return 1
	}
}

# Forms

@test "DESIGN 7: the form of event=failure" {
	program <<<'exit 1'
	lines 'USER joe' 'PASS x' | TCPREMOTEIP=192.0.2.1 talk -c
	line_of failure | expect \
	    'pop3d: event=failure user=joe ip=192.0.2.1 mechanism=USER reason=password code=1'
}

@test "DESIGN 7: the form of event=login" {
	echo hello | deliver new/1
	lines 'USER joe' 'PASS secret' QUIT | TCPREMOTEIP=2001:db8::1 talk -s
	line_of login | sed 's/msec=[0-9]*$/msec=N/' | expect \
	    'pop3d: event=login user=joe ip=2001:db8::1 mechanism=USER tls=yes messages=1 octets=- msec=N'
}

@test "DESIGN 7: a login tells the octets, where nothing need be read for that" {
	echo hello | deliver cur/1:2,S
	echo hello | deliver cur/2:2,S
	# Nothing changed too lately to be trusted.
	as_user python3 -B "$BATS_TEST_DIRNAME/oracle.py" settle "$MAIL"
	echo STAT | session
	echo STAT | session
	sed -n 's/.*\(messages=.*\) msec=[0-9]*$/\1/p' "$LOG" |
	    expect 'messages=2 octets=-
messages=2 octets=14'
}

@test "DESIGN 7: the forms of -v: who has deleted my mail?" {
	local uid

	echo hello | deliver new/1700000001.M1.host
	echo hello | deliver new/1700000002.M2.host
	for ip in 192.0.2.1 2001:db8::2; do
		lines 'USER joe' 'PASS secret' 'UIDL 1' 'RETR 1' 'DELE 1' QUIT |
		    TCPREMOTEIP=$ip talk -c -v
	done >"$RECORD/answers"
	echo hello | deliver new/1700000003.M3.host
	lines 'USER joe' 'PASS secret' 'RETR 1' QUIT |
	    TCPREMOTEIP=192.0.2.4 talk -c -v
	# The client's own name of what it misses.
	uid=$(sed -n 's/^+OK 1 \(.*M2.host\)$/\1/p' "$RECORD/answers")
	grep -a event=deleted "$LOG" | grep -aF "uid=$uid " | expect \
	    'pop3d: event=deleted user=joe msgno=1 uid=1700000002.M2.host octets=7 ip=2001:db8::2'
	line_of moved | expect \
	    'pop3d: event=moved user=joe msgno=1 uid=1700000003.M3.host octets=7 ip=192.0.2.4'
	grep -a event=retrieved "$LOG" | head -n 1 | expect \
	    'pop3d: event=retrieved user=joe msgno=1 uid=1700000001.M1.host octets=7 ip=192.0.2.1'
	# And all that was written has the page's form.
	python3 "$BATS_TEST_DIRNAME/logdoc.py" \
	    "$BATS_TEST_DIRNAME/../man/pop3d.8" log <"$LOG"
}

@test "pop3d(8), DIAGNOSTICS: has every event and key that the sources have" {
	python3 "$BATS_TEST_DIRNAME/logdoc.py" \
	    "$BATS_TEST_DIRNAME/../man/pop3d.8" sources \
	    "$BATS_TEST_DIRNAME"/../*.c
}

@test "DESIGN 7: the form of event=end of a session" {
	echo hello | deliver new/1
	echo hello | deliver new/2
	lines 'USER joe' 'PASS secret' 'RETR 1' 'DELE 1' QUIT |
	    TCPREMOTEIP=192.0.2.1 talk -c
	line_of end | sed 's/seconds=[0-9]*/seconds=N/' | expect \
	    'pop3d: event=end user=joe ip=192.0.2.1 retrieved=1 octets=7 deleted=1 left=1 seconds=N reason=quit'
}

@test "DESIGN 7: the form of event=end where nobody logged in" {
	lines QUIT | TCPREMOTEIP=192.0.2.1 talk -c
	line_of end | expect \
	    'pop3d: event=end user=- ip=192.0.2.1 reason=quit signal=0'
}

@test "DESIGN 7: an address that nobody knows is -" {
	lines QUIT | talk -c
	line_of end | expect \
	    'pop3d: event=end user=- ip=- reason=quit signal=0'
}

@test "DESIGN 7: an address that is none is -, whatever it says" {
	lines QUIT | TCPREMOTEIP=$'192.0.2.1\nevent=login user=root' talk -c
	line_of end | expect \
	    'pop3d: event=end user=- ip=- reason=quit signal=0'
}

@test "DESIGN 7: a session without QUIT ends by disconnect, and nothing is deleted" {
	echo hello | deliver new/1
	lines 'USER joe' 'PASS secret' 'DELE 1' | talk -c
	logged 'event=end user=joe .*deleted=0 left=1 .*reason=disconnect$'
}

@test "DESIGN 7: too many bad commands end by error" {
	yes $'BAD\r' | head -n 20 | talk -c
	line_of end | expect \
	    'pop3d: event=end user=- ip=- reason=error signal=0'
}

@test "DESIGN 7: a login that is right is not logged as a failure" {
	lines 'USER joe' 'PASS secret' QUIT | talk -c
	[ "$(wc -l <"$LOG")" = 2 ]
	line_of login
	line_of end
}

@test "DESIGN 7: -t by hand has no mechanism" {
	echo QUIT | session
	logged '^pop3d: event=login user=joe ip=- mechanism=- tls=no messages=0 '
}

# Hostile names

@test "DESIGN 7: a line end in a user name begins no line" {
	user_logged 'joe\nevent=login user=root' \
	    '"joe\x0aevent=login user=root"'
	user_logged 'joe\r\n' '"joe\x0d\x0a"'
}

@test "DESIGN 7: blanks and = in a user name make no key" {
	user_logged 'joe ip=192.0.2.1' '"joe ip=192.0.2.1"'
	user_logged 'user=root' '"user=root"'
	user_logged ' ' '" "'
}

@test "DESIGN 7: quotes and backslashes in a user name end no quotes" {
	user_logged 'joe" ip="x' '"joe\x22 ip=\x22x"'
	user_logged 'joe\134' '"joe\x5c"'
	user_logged 'joe\\x22' '"joe\x5cx22"'
}

@test "DESIGN 7: 8-bit and control octets in a user name are escaped" {
	user_logged 'j\303\266e' '"j\xc3\xb6e"'
	user_logged '\001\033[2J\177\200\377' '"\x01\x1b[2J\x7f\x80\xff"'
	user_logged '%%s%%n%%100000d' '%s%n%100000d'
}

@test "DESIGN 7: the longest user name, all of it escaped, is one whole line" {
	user_logged "$(printf '\\377%.0s' {1..255})" \
	    "\"$(printf '\\xff%.0s' {1..255})\""
}

@test "DESIGN 7: a USER of 248 octets is one whole line" {
	program <<<'exit 1'
	lines "USER $(printf '"%.0s' {1..248})" 'PASS x' | talk -c
	line_of failure | grep -E \
	    '^pop3d: event=failure user="(\\x22){248}" ip=- mechanism=USER reason=password code=1$'
}

@test "DESIGN 7: what a program puts into USER is escaped, too" {
	program <<'P'
cd "$HOME_DIR"
export USER='joe
event=login user=root'
[ "$(id -u)" != 0 ] || exec setpriv --reuid "$TEST_UID" --regid "$TEST_GID" \
    --clear-groups "$@"
exec "$@"
P
	lines 'USER joe' 'PASS x' QUIT | talk -c
	[ "$(wc -l <"$LOG")" = 2 ]
	logged '^pop3d: event=login user="joe\\x0aevent=login user=root" '
}

@test "DESIGN 7: a line that is too long ends with the value that did not fit" {
	local user path

	user=$(printf '=%.0s' {1..1500})
	path=$(printf '"%.0s' {1..1500})
	as_user env USER="$user" "$POP3D_BIN/pop3d" -t -m "$path" 2>>"$LOG" \
	    </dev/null | grep '^-ERR'
	[ "$(wc -l <"$LOG")" = 1 ]
	grep -E "^pop3d: event=error user=\"$user\" ip=- what=\"[a-z ]+\" path=\"(\\\\x22)+\"\$" "$LOG"
}

# Secrets

# secrets_out TEXT ...: none of them is anywhere in the log.
secrets_out() {
	local text

	[ -s "$LOG" ]
	for text; do
		not grep -aiF -- "$text" "$LOG"
	done
}

@test "DESIGN 7: no secret in the log: USER and PASS, right and wrong" {
	lines 'USER joe' 'PASS xyzzy1' 'USER joe' 'PASS secret' 'PASS xyzzy2' \
	    'xyzzy3' QUIT | talk -c -v
	secrets_out secret xyzzy
}

@test "DESIGN 7: no secret in the log: refused, over-long and mis-stated commands" {
	{
		lines 'PASS xyzzy1' 'USER joe' "PASS xyzzy2$(printf '%300s' x)" \
		    'PAS xyzzy3' 'xyzzy4' 'APOP joe xyzzy5' 'AUTH xyzzy6'
		printf 'USER joe\r\nPASS xyzzy7\0\r\n'
		lines 'USER joe' PASS
		printf 'USER joe\r\nPASS xyzzy8'
	} | talk -c -v
	lines 'USER joe' 'PASS xyzzy9' | talk -v
	secrets_out xyzzy
}

@test "DESIGN 7: no secret in the log: APOP" {
	lines 'APOP joe 0123456789abcdef0123456789abcdef' | talk -a -v
	secrets_out 0123456789abcdef '@mail.example.org>'
}

@test "DESIGN 7: no secret in the log: AUTH PLAIN and LOGIN, in base64 or not" {
	{
		plain joe xyzzy
		lines 'AUTH PLAIN' "$(printf '\0joe\0xyzzy' | base64)" \
		    "AUTH LOGIN $(printf joe | base64)" \
		    "$(printf xyzzy | base64)"
	} | talk -c -v -n 5
	plain joe secret | talk -c -v
	[ "$(grep -c event=failure "$LOG")" = 3 ]
	secrets_out xyzzy secret "$(printf '\0joe\0xyzzy' | base64)" \
	    "$(printf xyzzy | base64)" "$(printf '\0joe\0secret' | base64)"
}

@test "DESIGN 7: no secret in the log: a program that fails in any way" {
	for body in 'exit 2' 'exit 111' 'exit 0' 'kill -9 $$'; do
		program <<<"$body"
		lines 'USER joe' 'PASS xyzzy' | talk -c -v
	done
	chmod 600 "$PROGRAM"
	sed -i 1d "$PROGRAM"
	lines 'USER joe' 'PASS xyzzy' | talk -c -v
	[ "$(grep -c event=failure "$LOG")" = 5 ]
	secrets_out xyzzy
}

@test "DESIGN 7: no secret in arguments or environment of any process" {
	program <<'P'
ps -eo args= | grep -v grep | grep -c xyzzy >"$RECORD/arguments"
tr '\0' '\n' </proc/self/environ | grep -c xyzzy >"$RECORD/environment"
exit 1
P
	greeter_command -c
	printf 'USER joe\r\nPASS xy%s\r\n' zzy | "${POP3D[@]}" >/dev/null \
	    2>>"$LOG"
	expect 0 <"$RECORD/environment"
	expect 0 <"$RECORD/arguments"
}

# A log that nobody reads

# served: a session over a log that does not take lines; $LOGGER is its
# descriptor.
served() {
	greeter_command -c
	lines 'USER joe' 'PASS no' 'USER joe' 'PASS secret' STAT QUIT \
	    >"$RECORD/script"
	[ -z "${QUICK:-}" ] || quick
	# In the background, lest a session that hangs hold up the test.
	"${POP3D[@]}" <"$RECORD/script" >"$RECORD/answers" 2>&"$LOGGER" 3>&- &
	wait_for grep -q 'good bye' "$RECORD/answers"
	answered_well
}

# A pipe in $LOGGER, without a reader or (full) without room.
log_pipe() {
	mkfifo "$RECORD/pipe"
	exec {READER}<>"$RECORD/pipe"
	exec {LOGGER}>"$RECORD/pipe"
	if [ "${1:-}" = full ]; then
		dd if=/dev/zero of="$RECORD/pipe" bs=4096 oflag=nonblock \
		    2>"$RECORD/dd" || :
		grep -i 'temporarily unavailable' "$RECORD/dd"
	else
		exec {READER}>&-
	fi
}

@test "DESIGN 7: a log pipe that is closed does not hurt a session" {
	log_pipe
	served
}

@test "DESIGN 7: a log pipe that is full does not hurt a session" {
	log_pipe full
	served
}

@test "DESIGN 7: nor does one that fills up just before it is written" {
	log_pipe full
	# The monitor is told that there is room.
	need_strace
	QUICK=1 served
	grep -q 'POLLOUT' "$RECORD/delays"
}

@test "DESIGN 7: a full log pipe holds up one line of a session, not every one" {
	echo hello | deliver new/1
	log_pipe full
	greeter_command -c -v
	{
		lines 'USER joe' 'PASS secret'
		yes $'RETR 1\r' | head -n 200
		lines QUIT
	} >"$RECORD/script"
	# 100 s if each waited half a second.
	timeout 30 "${POP3D[@]}" <"$RECORD/script" >"$RECORD/answers" \
	    2>&"$LOGGER" 3>&-
	grep -c '^hello' "$RECORD/answers" | expect 200
}

# A checkpassword program that complains of each bad line.
complaining() {
	{
		yes bad | head -n 100
		echo 'joe:{PLAIN}secret'
	} >"$RECORD/users"
	program <<'P'
exec "$POP3D_BIN/pop3d-checkpassword" -f "$RECORD/users" \
    -u "$TEST_UID:$TEST_GID" -h "$HOME_DIR" "$@"
P
	greeter_command -c
}

@test "DESIGN 7: a log pipe that is closed ends no checkpassword program" {
	log_pipe
	complaining
	lines 'USER joe' 'PASS secret' QUIT | "${POP3D[@]}" \
	    2>&"$LOGGER" 3>&- | tr -d '\r' | forms | grep -c '^+OK' | expect 4
}

@test "DESIGN 7: a log file at its limit ends no checkpassword program" {
	plain_build "its tool handles the signal"
	complaining
	lines 'USER joe' 'PASS secret' QUIT | (
		ulimit -f 0
		"${POP3D[@]}" 2>>"$RECORD/full" 3>&-
	) | tr -d '\r' | forms | grep -c '^+OK' | expect 4
}

@test "DESIGN 7: a full log pipe holds up no checkpassword program" {
	log_pipe full
	complaining
	# Which would be ended after a minute.
	lines 'USER joe' 'PASS secret' QUIT | "${POP3D[@]}" \
	    2>&"$LOGGER" 3>&- | tr -d '\r' | forms | expect '+OK
+OK
+OK
+OK'
}

@test "DESIGN 7: the flags of a log pipe stay as they are for others" {
	need_root "to look into a session"
	mkfifo "$RECORD/pipe"
	exec {READER}<>"$RECORD/pipe"
	greeter_command -c -m "$MAIL"
	LOG=$RECORD/pipe start_server "${POP3D[@]}"
	connect
	login
	# O_NONBLOCK is 04000.
	grep -E '^flags:.*[4-7][0-7]{3}$' "/proc/$MONITOR/fdinfo/2"
	grep -E '^flags:.*[4-7][0-7]{3}$' "/proc/$SESSION/fdinfo/2"
	grep -E '^flags:.*[0-3][0-7]{3}$' "/proc/${SERVERS[0]}/fdinfo/2"
}

@test "DESIGN 7: a log on a full disk does not hurt a session" {
	[ -c /dev/full ] || skip "needs /dev/full"
	log_full
	served
}

@test "DESIGN 7: a closed log does not change what a missing program is" {
	log_pipe
	PROGRAM=/no/such/program
	greeter_command -c
	lines 'USER joe' 'PASS secret' QUIT | "${POP3D[@]}" 2>&"$LOGGER" |
	    tr -d '\r' | forms | expect '+OK
+OK
-ERR [SYS/TEMP]
+OK'
}

log_full() {
	exec {LOGGER}>/dev/full
}

# Syslog

# In a network of its own a socket queues no more than ten datagrams.
export SYSLOG_NETWORK=-n

one_login() {
	need_root "a /dev/log of our own"
	greeter_command -c "$@"
	lines 'USER joe' 'PASS no' 'USER joe' 'PASS secret' STAT QUIT \
	    >"$RECORD/script"
	# Speaks the script over a socket.
	cat >"$RECORD/speak" <<S
#!/bin/sh
exec python3 "$BATS_TEST_DIRNAME/pop.py" -- "\$@" <"$RECORD/script" \
    >"$RECORD/answers" 2>"$RECORD/stderr"
S
	chmod 755 "$RECORD/speak"
}

answered_well() {
	tr -d '\r' <"$RECORD/answers" | forms | expect '+OK
+OK
-ERR [AUTH]
+OK
+OK
+OK
+OK'
}

@test "DESIGN 3: -l sends every line to syslog, facility mail, and none to stderr" {
	one_login -l
	with_syslog read "$RECORD/speak" "${POP3D[@]}"
	answered_well
	same /dev/null "$RECORD/stderr"
	# 22: mail, information
	grep -cE '^<22>pop3d\[[0-9]+\]: event=' "$RECORD/syslog" | expect 3
	sed 's/.*event=\([a-z]*\) user=joe .*/\1/' "$RECORD/syslog" |
	    expect 'failure
login
end'
}

@test "DESIGN 3: under inetd the log goes to syslog by itself, from the session, too" {
	one_login
	# shellcheck disable=SC2016 # the inner shells'
	with_syslog read "$RECORD/speak" sh -c 'exec "$@" 2>&0' sh \
	    "${POP3D[@]}"
	answered_well
	grep -c '^<22>pop3d' "$RECORD/syslog" | expect 3
}

@test "DESIGN 3: a complaint about the command line goes there under inetd" {
	one_login -Z
	# shellcheck disable=SC2016 # the inner shells'
	with_syslog read "$RECORD/speak" sh -c 'exec "$@" 2>&0' sh \
	    "${POP3D[@]}"
	same /dev/null "$RECORD/answers"
	grep '^<22>pop3d.* event=error .*-Z' "$RECORD/syslog"
}

@test "DESIGN 2: a part of the sandbox that is missing is one line a process, at debug level" {
	build_inject
	one_login -l
	with_syslog read "$RECORD/speak" "$INJECT" -d EINVAL seccomp \
	    "${POP3D[@]}"
	answered_well
	# 23: mail, debug
	grep -cE '^<23>pop3d\[[0-9]+\]: event=debug what="a part of the sandbox is missing" part=seccomp error="Invalid argument"$' \
	    "$RECORD/syslog" | expect 2
	grep -c debug "$RECORD/syslog" | expect 2
}

@test "DESIGN 7: a user name forges no syslog line" {
	one_login -l
	plain 'joe\n<22>pop3d[1]: event=login user=root' x >"$RECORD/script"
	with_syslog read "$RECORD/speak" "${POP3D[@]}"
	grep -c '^<22>' "$RECORD/syslog" | expect 2
	grep 'user="joe\\x0a<22>pop3d\[1\]: event' "$RECORD/syslog"
}

@test "DESIGN 7: a missing syslog does not hurt a session" {
	one_login -l
	with_syslog none "$RECORD/speak" "${POP3D[@]}"
	answered_well
	same /dev/null "$RECORD/stderr"
}

@test "DESIGN 7: a syslog that nobody reads does not hurt a session" {
	one_login -l -v
	echo hello | deliver new/1
	# More lines than the socket queues.
	{
		lines 'USER joe' 'PASS secret'
		yes $'RETR 1\r' | head -n 600
		lines QUIT
	} >"$RECORD/script"
	with_syslog unread "$RECORD/speak" "${POP3D[@]}"
	grep -c '^hello' "$RECORD/answers" | expect 600
	tail -n 1 "$RECORD/answers" | grep '^+OK'
}

@test "DESIGN 7: no line of a burst is lost to a syslog that reads" {
	one_login -l -v
	for i in {1..300}; do
		echo hello >"$MAIL/cur/$i:2,S"
	done
	own
	{
		lines 'USER joe' 'PASS secret'
		printf 'DELE %d\r\n' {1..300}
		lines QUIT
	} >"$RECORD/script"
	with_syslog read "$RECORD/speak" "${POP3D[@]}"
	grep -c 'event=deleted user=joe ' "$RECORD/syslog" | expect 300
}

@test "DESIGN 7: a syslog that is restarted loses a session's lines, hurts none, and has those of the next" {
	one_login -l
	# Like a daemon: a new socket, the old one gone with its process.
	cat >"$RECORD/restart" <<'S'
#!/bin/bash
set -e
coproc SESSION { exec "$@"; }
# Of its own bash forgets them when it ends.
exec {in}>&"${SESSION[1]}" {out}<&"${SESSION[0]}"
printf 'USER joe\r\nPASS secret\r\n' >&"$in"
for _ in 1 2 3; do read -r -t 20 -u "$out" line; done
[[ $line == +OK* ]]
python3 -c 'import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"end", "/dev/log")'
rm /dev/log
printf 'NOOP\r\n' >&"$in"
read -r -t 20 -u "$out" line
[[ $line == +OK* ]]
until [ -e "$RECORD/first" ]; do
	mv "$RECORD/syslog" "$RECORD/first" && break
done
python3 "$RECORD/listen" "$RECORD" read <>"$RECORD/hold" >&2 &
until [ -e "$RECORD/syslog" ]; do sleep 0.02; done
printf 'QUIT\r\n' >&"$in"
read -r -t 20 -u "$out" line
[[ $line == +OK* ]]
printf '%s' "$line" >"$RECORD/answer"
exec "$RECORD/speak" "$@"
S
	chmod 755 "$RECORD/restart"
	with_syslog read "$RECORD/restart" "${POP3D[@]}"
	answered_well
	grep '^+OK good bye' "$RECORD/answer"
	grep -c 'event=' "$RECORD/first" | expect 1
	grep -c 'event=' "$RECORD/syslog" | expect 3
}
