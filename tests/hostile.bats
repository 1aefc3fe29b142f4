#!/usr/bin/env bats
# Hostile surroundings: the environment, descriptors, limits and signals that
# a superserver may leave, and what may lie about in a Maildir.

load helper

setup() {
	greeter_setup
	printf 'A: b\n\nhello\n' | deliver new/1700000001.M1.host
}

teardown() {
	pop3d_teardown
}

# repeated COUNT TEXT
repeated() {
	yes "$2" | head -n "$1" | tr -d '\n'
}

# Not what the address sanitizer can live with.
need_ordinary() {
	! grep -q __asan_init "$POP3D_BIN/pop3d" || skip "not with sanitizers"
}

script() {
	lines CAPA 'USER joe' 'PASS no' 'USER joe' 'PASS secret' 'RETR 1' QUIT
}

# served [COMMAND ...]: with that command in front of POP3D (else that of
# greeter_command -c) it goes as ever; put back what it changed.
served() {
	[ "${#POP3D[@]}" -gt 0 ] || greeter_command -c
	# strace would take signals that are for pop3d.
	[ "$1" = python3 ] || quick || :
	script | timeout 60 "$@" "${POP3D[@]}" 2>>"$LOG" >"$RECORD/out"
	POP3D=()
	tr -d '\r' <"$RECORD/out" | sed '/^+OK cap/,/^\.$/d' |
	    sed -E 's/^(\+OK [0-9]+ octets)$/\1/; t
	    s/^(\+OK|-ERR( \[[A-Z/-]+\])?)( .*)?$/\1/' | expect '+OK
+OK
-ERR [AUTH]
+OK
+OK
+OK 15 octets
A: b

hello
.
+OK' || return 1
	[ ! -e "$MAIL/cur/1700000001.M1.host:2,S" ] ||
	    mv "$MAIL/cur/1700000001.M1.host:2,S" "$MAIL/new/1700000001.M1.host"
}

# The log has no line but pop3d's own, of printable ASCII.
clean_log() {
	not env LC_ALL=C grep -a '[^ -~]' "$LOG" &&
	    not grep -v '^pop3d: event=[a-z]* ' "$LOG"
}

# policy: "clear" or "no clear", as USER is answered.
policy() {
	lines 'USER joe' | talk | sed -n '2s/^+OK.*/clear/p;
	    2s/^-ERR clear-text.*/no clear/p'
}

# The environment

@test "DESIGN 3: nothing but a numeric address is loopback, or gets into the log" {
	local ip x digits

	x=$(repeated 100000 x)
	digits=$(repeated 24000 127.)
	for ip in $'127.0.0.1\n' $'\n127.0.0.1' ' 127.0.0.1' $'127.0.0.1\t' \
	    $'127.0.0.1\r\n' 127 127.1 127.0.1 2130706433 017700000001 \
	    0177.0.0.1 127.0.0.01 127.000.000.001 0x7f.0.0.1 0x7f000001 \
	    127.0.0.1. 127..0.1 .127.0.0.1 127.0.0.256 127.0.0.-1 +127.0.0.1 \
	    127.0.0.1/8 127.0.0.1:110 127.0.0.1,::1 127.0.0.1%lo '127.0.0.1%' \
	    $'127.0.0.1%\n' '[::1]' '::1 ' $'::1\n' :1 ::01111 ::ffff:127.1 \
	    ::ffff:0177.0.0.1 ::g 0::0::1 '%s%s%n' $'\e[2J\e]0;x\a' \
	    $'127.0.0.1\nevent=login user=root' "127.0.0.1$x" \
	    "127.0.0.1%$x" "$x" "$digits" $'\377\376'; do
		: >"$LOG"
		TCPREMOTEIP=$ip policy | expect 'no clear' && clean_log &&
		    logged 'event=end user=- ip=- ' && continue
		printf 'of %q\n' "${ip::60}" >&2
		return 1
	done
}

@test "RFC 1939 4: no TCPLOCALHOST makes the greeting more than one line of 512 octets" {
	local host
	for host in $'a\r\n-ERR b\r\n' $'\n' $'\e[2J' $'\377\200' '%s%n' \
	    '<a>' ' ' "$(repeated 50000 ' x')" "$(repeated 100000 x)" \
	    "$(repeated 100000 '<')" $'a\tb'; do
		TCPLOCALHOST=$host "$POP3D_BIN/pop3d" -a -r "$EMPTY" \
		    </dev/null >"$RECORD/greeting" 2>>"$LOG"
		[ "$(wc -l <"$RECORD/greeting")" = 1 ]
		[ "$(wc -c <"$RECORD/greeting")" -le 512 ]
		LC_ALL=C grep -E \
		    $'^\\+OK [!-~]+ POP3 ready <[A-Za-z0-9.@-]+>\r$' \
		    "$RECORD/greeting"
	done
	clean_log
}

@test "DESIGN 4: a megabyte of variables hurts nobody" {
	local i value

	value=$(printf '%1000s' x)
	for ((i = 0; i < 1000; i++)); do
		export "VARIABLE_$i=$value"
	done
	served
}

@test "DESIGN 3: nothing that the superserver says of the user is believed" {
	export POP3D_TAKEOVER=1 POP3D_SESSION='-m /etc' AUTH_MECH=APOP TLS=1 \
	    SERVICE=imap USER=root LOGNAME=root HOME=/root SHELL=/bin/false \
	    MAILDIR=/etc PROTO=UDP
	served
	logged 'event=login user=joe ip=- mechanism=USER tls=no messages=1 '
	TCPREMOTEIP=192.0.2.1 policy | expect 'no clear'
	export SSL_PROTOCOL=''
	served
	TCPREMOTEIP=192.0.2.1 policy | expect 'no clear'
}

@test "DESIGN 5: nonsense about a TLS wrapper's descriptors is no TLS" {
	local fd

	for fd in '' x -1 0 1 2 3 7 99999999999999999999 '3 ' 0x3; do
		export SSLCTLFD=$fd SSLREADFD=$fd SSLWRITEFD=$fd UCSPITLS=$fd
		served
		TCPREMOTEIP=192.0.2.1 policy | expect 'no clear'
	done
	not grep -v ' tls=no ' <(grep event=login "$LOG")
}

@test "DESIGN 2: POP3D_TAKEOVER that names no pipe of a monitor's is ignored" {
	local fd

	mkfifo "$RECORD/fifo"
	: >"$RECORD/file"
	for fd in '' x -1 0 1 2 3 4 5 9 10 04 4x 99999999999 4.0; do
		# 5 is a FIFO without room for a writer's word, by being read only.
		lines STAT QUIT | POP3D_TAKEOVER=$fd raw_session -P \
		    4>>"$RECORD/file" 5<>"$RECORD/fifo" 2>>"$LOG" |
		    forms | tr -d '\r' | head -n 3 | expect '+OK
+OK
+OK' || {
			echo "of $fd" >&2
			return 1
		}
	done
	[ ! -s "$RECORD/file" ]
}

@test "DESIGN 2: variables that change a libc change nothing here" {
	local zone

	for zone in '' :/etc/shadow ../../../../../../etc/passwd :/dev \
	    "$(repeated 5000 x)" $'\n' 'x%n%s' '<+>-999999:99'; do
		served env MALLOC_PERTURB_=165 MALLOC_CHECK_=3 \
		    MALLOC_ARENA_MAX=1 LC_ALL=tr_TR.UTF-8 LANG=../../etc \
		    GLIBC_TUNABLES=glibc.malloc.tcache_count=0:x=y \
		    LANGUAGE=xx LOCPATH=/tmp NLSPATH=/tmp/%N ENV=/etc/passwd \
		    POSIXLY_CORRECT=1 IFS=x TMPDIR=/nowhere TZ="$zone"
	done
}

@test "DESIGN 3: whatever MAILDIR the program sets, it is one directory or none" {
	local maildir

	program <<'P'
export MAILDIR="$ODD"
IFS= read -r line <&3
case $line in *secret*) ;; *) exit 1 ;; esac
become "$@"
P
	mkdir "$HOME_DIR/"$'new\nline'
	mv "$MAIL"/* "$HOME_DIR/"$'new\nline'
	rmdir "$MAIL"
	ln -s $'new\nline' "$HOME_DIR/link"
	own
	for maildir in $'new\nline' $'./new\nline/' link link/ \
	    $'../home/new\nline' $'new\nline/../link' \
	    "$HOME_DIR/"$'new\nline' "//$HOME_DIR//link"; do
		ODD=$maildir session_of_program | expect '+OK
+OK
+OK' || {
			printf 'of %q\n' "$maildir" >&2
			return 1
		}
	done
	: >"$LOG"
	ln -s loop "$HOME_DIR/loop"
	mkfifo "$HOME_DIR/fifo"
	: >"$HOME_DIR/file"
	own
	for maildir in '' missing / . .. /dev/null file fifo loop '%s%n' -m \
	    $'a\nevent=login user=root' "$(repeated 5000 x)" \
	    "$(repeated 5000 /)" "$(repeated 2500 ../)" $'\e[2J' $'new\nline/new'; do
		ODD=$maildir session_of_program | expect '+OK
+OK
-ERR [SYS/PERM]' || {
			printf 'of %q\n' "${maildir::60}" >&2
			return 1
		}
	done
	clean_log
}

# session_of_program: USER, PASS and a QUIT that only a session would see.
session_of_program() {
	export ODD
	greeter_command -c
	lines 'USER joe' 'PASS secret' | timeout 20 "${POP3D[@]}" \
	    2>>"$LOG" | tr -d '\r' | forms
}

# Descriptors

@test "DESIGN 2: any mix of descriptors 0, 1 and 2 ends soon, by exit 0 or 111" {
	greeter_command -c -T 1
	python3 - "${POP3D[@]}" <<'P'
import itertools, os, subprocess, sys
def opened(kind):
    if kind == "closed":
        return None
    flags = {"read": os.O_RDONLY, "write": os.O_WRONLY, "path": os.O_PATH}
    path = {"directory": "/", "full": "/dev/full"}.get(kind, "/dev/null")
    return os.open(path, flags.get(kind, os.O_RDONLY if kind == "directory"
                                   else os.O_RDWR))
kinds = ["closed", "read", "write", "path", "directory", "full"]
def run(command, mix):
    fds = [opened(kind) for kind in mix]
    def prepare():
        high = [fd if fd is None else os.dup2(fd, 50 + i)
                for i, fd in enumerate(fds)]
        for i, fd in enumerate(high):
            os.close(i) if fd is None else os.dup2(fd, i)
        os.closerange(3, 100)
    child = os.fork()
    if child == 0:
        prepare()
        os.execv(command[0], command)
    for fd in fds:
        if fd is not None:
            os.close(fd)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), (command, mix, status)
    code = os.WEXITSTATUS(status)
    want = (111,) if "closed" in mix[:2] else (0, 111)
    assert code in want, (command, mix, code)
if os.getuid() == 0:
    os.environ["USER"] = "joe"
# Of /dev/full a line without an end would be read, until -T is over.
mixes = [mix for mix in itertools.product(kinds, repeat=3)
         if mix[0] != "full"] + [("full", "full", "full")]
for mix in mixes:
    run(sys.argv[1:], mix)
os.chdir(os.environ["HOME_DIR"])
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(int(os.environ["TEST_GID"]))
    os.setuid(int(os.environ["TEST_UID"]))
for mix in mixes:
    run([sys.argv[1], "-t", "-T1"], mix)
P
}

@test "DESIGN 1: descriptors 0 and 1 may be files" {
	greeter_command -c
	script >"$RECORD/script"
	"${POP3D[@]}" <"$RECORD/script" >"$RECORD/answers" 2>>"$LOG"
	tr -d '\r' <"$RECORD/answers" | grep -x hello
	tail -n 1 "$RECORD/answers" | grep '^+OK good bye'
	"${POP3D[@]}" <"$RECORD/script" >"$RECORD/answers" 2>&1
	tail -n 1 "$RECORD/answers" | grep '^+OK good bye'
	not grep -a event= "$RECORD/answers"
}

@test "DESIGN 2: descriptors that the superserver left open stay with the monitor alone" {
	need_root "to look at a session's descriptors"
	program <<'P'
ls -l /proc/self/fd >"$RECORD/descriptors"
become "$@"
P
	mkfifo "$RECORD/leaked-fifo"
	cat >"$RECORD/leaky" <<'L'
#!/usr/bin/env bash
for fd in {3..20}; do
	eval "exec $fd<>\"\$RECORD/leaked-fifo\""
done
export POP3D_TAKEOVER=5
exec "$@"
L
	chmod 755 "$RECORD/leaky"
	greeter_command
	start_server "$RECORD/leaky" "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^\+OK 1 messages'
	[ -s "$RECORD/descriptors" ]
	not grep leaked "$RECORD/descriptors"
	for pid in $(pgrep -f "pop3d( -t|.*$BATS_TEST_TMPDIR)"); do
		if [ "$(readlink "/proc/$pid/exe")" = "$POP3D_BIN/pop3d" ]; then
			echo "$pid"
			find "/proc/$pid/fd" -printf '%l\n'
		fi
	done >"$RECORD/found"
	[ "$(grep -c '^[0-9]*$' "$RECORD/found")" -ge 2 ]
	not grep leaked "$RECORD/found"
}

@test "DESIGN 7: a log whose reader goes away in mid-session hurts nobody" {
	mkfifo "$RECORD/pipe"
	exec {READER}<>"$RECORD/pipe"
	greeter_command -v
	# shellcheck disable=SC2016 # the inner shell's
	start_server sh -c 'exec "$@" 2>"$RECORD/pipe"' sh "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^\+OK'
	IFS= read -r -t 20 -u "$READER" line
	[[ $line == *event=login* ]]
	exec {READER}>&-
	say 'RETR 1' 'DELE 1' QUIT
	for want in '15 octets' 'A: b' '^$' hello '\.' deleted 'good bye'; do
		hear "$want"
	done
	closed
	[ -z "$(mail_files)" ]
}

# Limits

@test "issue 2: where no file may grow, a whole pop3d serves, and its log is lost" {
	greeter_command -c
	: >"$LOG"
	script | (
		ulimit -f 0
		exec "${POP3D[@]}" 2>>"$LOG"
	) | tr -d '\r' >"$RECORD/answers"
	grep -x hello "$RECORD/answers"
	tail -n 1 "$RECORD/answers" | grep '^+OK good bye'
	[ ! -s "$LOG" ]
}

# limited ULIMIT-OPTION LIMIT: pop3d with that limit answers in its own
# words or not at all, and ends by itself; what came is in $RECORD/answers.
limited() {
	local code=0

	greeter_command -c -n 1
	lines CAPA 'USER joe' 'PASS secret' 'RETR 1' QUIT >"$RECORD/script"
	(
		exec 2>>"$LOG"
		exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
		ulimit "$1" "$2"
		exec "${POP3D[@]}"
	) <"$RECORD/script" >"$RECORD/out" || code=$?
	tr -d '\r' <"$RECORD/out" >"$RECORD/answers"
	# 127 is the dynamic linker's.
	if [[ $code != @(0|111|127) ]] ||
	    { [ -s "$RECORD/answers" ] &&
		[[ $(head -n 1 "$RECORD/answers") != '+OK mail.example.org '* ]]; }
	then
		echo "with $*: exit $code" >&2
		cat "$RECORD/answers" "$LOG" >&2
		return 1
	fi
	[ ! -e "$MAIL/cur/1700000001.M1.host:2,S" ] ||
	    mv "$MAIL/cur/1700000001.M1.host:2,S" "$MAIL/new/1700000001.M1.host"
}

@test "DESIGN 2: with too few descriptors there is an answer, or none, and an end" {
	need_ordinary
	program <<<'become "$@"'
	for limit in 3 4 5 6 7 8 9 10 11 12 16; do
		limited -n "$limit"
	done
	# These are enough.
	grep -x hello "$RECORD/answers"
	limited -n 4
	logged 'event=error what="cannot start a process"'
}

@test "DESIGN 2: with too little stack or memory there is an answer, or none, and an end" {
	need_ordinary
	program <<<'become "$@"'
	for limit in 256 512 1024; do
		limited -s "$limit"
		grep -x hello "$RECORD/answers"
	done
	# Where pop3d itself cannot be loaded nobody can say anything.
	for limit in 8000 16000 32000 64000; do
		limited -v "$limit"
	done
	limited -c unlimited
	grep -x hello "$RECORD/answers"
}

@test "DESIGN 2: without a process to spare: no greeting, a log line, exit 111" {
	local code=0 RUN_AS

	# Root has no such limit.
	if [ "$(id -u)" = 0 ]; then
		RUN_AS=(setpriv --reuid 7111 --regid 7111 --clear-groups)
	else
		RUN_AS=()
	fi
	greeter_command -c
	(
		ulimit -u 1
		exec "${RUN_AS[@]}" "${POP3D[@]}"
	) </dev/null >"$RECORD/out" 2>>"$LOG" || code=$?
	[ "$code" = 111 ]
	same /dev/null "$RECORD/out"
	logged 'event=error what="cannot start a process"'
}

# Signals, and what else a process inherits

@test "DESIGN 2: signals ignored, blocked or pending at the start change nothing" {
	served env --ignore-signal=CHLD
	served env --ignore-signal=CHLD --block-signal=CHLD
	served env --ignore-signal --block-signal
	served env --block-signal=PIPE,XFSZ,ALRM,CHLD
	served python3 -c 'import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in (signal.SIGALRM, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM):
    os.kill(os.getpid(), number)
os.execv(sys.argv[1], sys.argv[1:])'
}

@test "DESIGN 2: with SIGCHLD ignored a greeter that cannot begin is noticed, too" {
	need_root "only root changes its root"
	need_strace
	# The greeter has ended before the monitor does anything.
	for inject in rt_sigprocmask rt_sigaction; do
		code=0
		POP3D_BIN=$POP3D_BIN EMPTY=/no/such/directory greeter_command -c
		env --ignore-signal=CHLD strace -qq -o /dev/null \
		    -e "trace=$inject" -e "inject=$inject:delay_enter=100000" \
		    "${POP3D[@]}" </dev/null >"$RECORD/out" 2>>"$LOG" || code=$?
		[ "$code" = 111 ]
		same /dev/null "$RECORD/out"
	done
}

@test "DESIGN 2: with any umask the files of a session are its owner's alone" {
	for mask in 0 777 077 027; do
		rm -f "$MAIL"/pop3d.*
		# shellcheck disable=SC2016 # the inner shell's
		served sh -c 'umask "$0" && exec "$@"' "$mask"
		# The index wants a Maildir that nobody changed just now.
		find "$MAIL" -name 'pop3d.*' -printf '%m\n' | sort -u |
		    expect 600
	done
}

@test "DESIGN 2: a working directory that is gone, or that nobody may enter, is no matter" {
	mkdir -m 0 "$RECORD/closed" "$RECORD/gone"
	# shellcheck disable=SC2016 # the inner shell's
	served sh -c 'mkdir "$RECORD/gone2" && cd "$RECORD/gone2" &&
	    rmdir "$RECORD/gone2" && exec "$@"' sh
	if [ "$(id -u)" = 0 ]; then
		# shellcheck disable=SC2016
		served sh -c 'cd "$RECORD/closed" && exec "$@"' sh
	fi
	# A session alone has no Maildir there.
	# shellcheck disable=SC2016
	as_user sh -c 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -t' \
	    "$POP3D_BIN/pop3d" </dev/null 2>>"$LOG" | tr -d '\r' | forms |
	    expect '-ERR [SYS/PERM]'
}

@test "DESIGN 3: whatever pop3d is called, the session is the same program" {
	local name

	for name in '' -pop3d /no/such/pop3d '%s%n' $'a\nb' -t \
	    "$(repeated 5000 x)"; do
		# shellcheck disable=SC2016
		NAME=$name served bash -c 'exec -a "$NAME" "$@"' bash
	done
}

@test "DESIGN 3: without any argument, not even a name, there is a greeting" {
	need_root "without -r the greeter needs the installed directory"
	[ -d /var/empty ] || skip "there is no /var/empty"
	python3 -c 'import ctypes, os, sys
libc = ctypes.CDLL(None)
path = os.fsencode(sys.argv[1])
libc.execve(path, (ctypes.c_char_p * 1)(None),
            (ctypes.c_char_p * 3)(b"TCPREMOTEIP=192.0.2.1",
                                  b"ASAN_OPTIONS=detect_leaks=0", None))' \
	    "$POP3D_BIN/pop3d" </dev/null 2>>"$LOG" | tr -d '\r' | forms |
	    expect '+OK'
	logged 'event=end user=- ip=192\.0\.2\.1 reason=disconnect'
}

# Maildirs

@test "DESIGN 6: names of any octets are served, and forge neither a reply nor the log" {
	local name names=0

	rm "$MAIL/new"/*
	for name in $'1\nevent=login user=root' $'2\r\n.\r\n+OK' $'3\e[2J' '4%s%n' \
	    '5 a b' $'6\001\177' $'7\377\376' $'8"=\\' '9:2,ST' '10,S=99999' \
	    "11$(printf '%253s' x)" "12$(printf '%253s' x | tr ' ' '\n')" \
	    '13*?[' '14:' '15:2,' '16::::' '17-rf' $'18\t'; do
		printf 'A: b\n\nhello\n' >"$MAIL/cur/$name"
		names=$((names + 1))
	done
	own
	{
		echo UIDL
		for ((i = 1; i <= names; i++)); do
			printf 'LIST %d\nRETR %d\n' "$i" "$i"
			[ $((i % 2)) = 0 ] || echo "DELE $i"
		done
		echo QUIT
	} | session -v >"$RECORD/out"
	[ "$(grep -cx hello "$RECORD/out")" = "$names" ]
	sed -n '/^+OK unique/,/^\.$/p' "$RECORD/out" >"$RECORD/uidl"
	[ "$(wc -l <"$RECORD/uidl")" = $((names + 2)) ]
	[ "$(LC_ALL=C grep -cxE '[0-9]+ [!-~]{1,70}' "$RECORD/uidl")" = \
	    "$names" ]
	tail -n 1 "$RECORD/out" | grep -x '+OK good bye'
	[ "$(find "$MAIL/cur" "$MAIL/new" -type f -printf x | wc -c)" = \
	    $((names / 2)) ]
	clean_log
	[ "$(grep -c event=deleted "$LOG")" = $((names - names / 2)) ]
}

# put KIND PATH: something that is no regular file comes there.
put() {
	rm -rf "$2"
	case $1 in
	fifo) mkfifo "$2" ;;
	directory) mkdir "$2" ;;
	full) mkdir "$2" && : >"$2/file" ;;
	link) ln -s "$RECORD/target" "$2" ;;
	dangling) ln -s "$RECORD/nowhere" "$2" ;;
	loop) ln -s "${2##*/}" "$2" ;;
	roots) ln -s /usr/bin/env "$2" ;;
	to-fifo) ln -s "$RECORD/fifo" "$2" ;;
	to-directory) ln -s "$RECORD" "$2" ;;
	socket) python3 -c 'import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
socket.socket(socket.AF_UNIX).bind(os.path.basename(sys.argv[1]))' "$2" ;;
	zero) mknod "$2" c 1 5 ;;
	esac
	if [ "$(id -u)" = 0 ]; then
		chown -h "$TEST_UID:$TEST_GID" "$2"
	fi
}

kinds() {
	echo fifo directory full link dangling loop roots to-fifo \
	    to-directory socket
	[ "$(id -u)" != 0 ] || echo zero
}

# What links point to, as it is now.
targets() {
	find "$RECORD/target" "$RECORD/fifo" /usr/bin/env \
	    -printf '%i %m %s %U %T@\n'
}

# in_place_of FILE EXPECTED: with each kind of thing there a session answers
# EXPECTED, and what links point to stays as it was.
in_place_of() {
	local kind

	printf 'A: b\n\nnot yours\n' >"$RECORD/target"
	mkfifo -m 666 "$RECORD/fifo"
	chmod 666 "$RECORD/target"
	targets >"$RECORD/before"
	for kind in $(kinds); do
		rm -rf "$MAIL"/pop3d.* "$MAIL/maildirsize" "$MAIL"/???/*
		printf 'A: b\n\n1\n' | deliver new/1700000001.M1.host
		printf 'A: b\n\n2\n' | deliver new/1700000002.M1.host
		put "$kind" "$MAIL/$1"
		printf 'STAT\r\nUIDL 1\r\nRETR 1\r\nDELE 2\r\nQUIT\r\n' |
		    as_user timeout 20 "$POP3D_BIN/pop3d" -t 2>>"$LOG" |
		    tr -d '\r' | brief | expect "$2" &&
		    targets | same "$RECORD/before" - &&
		    [ ! -e "$RECORD/nowhere" ] && continue
		echo "$1 is of kind $kind" >&2
		return 1
	done
}

as_ever='+OK 2 messages
+OK 2 22
+OK 1 1700000001.M1.host
+OK 11 octets
A: b

1
.
+OK message 2 deleted
+OK good bye'

@test "DESIGN 6: whatever is in place of pop3d.lock, nobody gets in by it" {
	in_place_of pop3d.lock '-ERR [SYS/PERM]'
}

@test "DESIGN 6: whatever is in place of pop3d.index, the session is as ever" {
	in_place_of pop3d.index "$as_ever"
}

@test "DESIGN 6: whatever is in place of pop3d.index.new, the session is as ever" {
	in_place_of pop3d.index.new "$as_ever"
}

@test "DESIGN 6: whatever is in place of pop3d.uidl, the session is as ever" {
	in_place_of pop3d.uidl "$as_ever"
}

@test "DESIGN 6: whatever is in place of maildirsize, the session is as ever" {
	in_place_of maildirsize "$as_ever"
}

@test "DESIGN 6: whatever lies in new and cur that is no file is no message" {
	in_place_of new/1700000003.M3.host "$as_ever"
	rm "$RECORD/fifo"
	in_place_of cur/1700000000.M0.host:2,S "$as_ever"
}

@test "DESIGN 6: whatever is in place of new or cur, the maildrop is not opened" {
	rm -r "$MAIL/cur"
	for kind in $(kinds); do
		[[ $kind != *directory && $kind != full ]] || continue
		put "$kind" "$MAIL/cur"
		as_user timeout 20 "$POP3D_BIN/pop3d" -t </dev/null 2>>"$LOG" |
		    tr -d '\r' | forms | expect '-ERR [SYS/PERM]' || {
			echo "cur is of kind $kind" >&2
			return 1
		}
	done
	put to-directory "$MAIL/cur"
	as_user timeout 20 "$POP3D_BIN/pop3d" -t </dev/null 2>>"$LOG" |
	    tr -d '\r' | forms | expect '-ERR [SYS/PERM]'
}
