# shellcheck shell=bash
# What the tests share.  Each test has a home directory of its own, $HOME_DIR,
# with a Maildir in it, and a log, $LOG.  bats owns descriptor 3, and
# checkpassword speaks on it: background processes close it.

# The user that sessions run as; pop3d refuses mailboxes of root.
if [ "$(id -u)" = 0 ]; then
	TEST_UID=7110
	TEST_GID=7110
else
	TEST_UID=$(id -u)
	TEST_GID=$(id -g)
fi
export TEST_UID TEST_GID

# Call this first in setup().
pop3d_setup() {
	HOME_DIR=$BATS_TEST_TMPDIR/home
	MAIL=$HOME_DIR/Maildir
	LOG=$BATS_TEST_TMPDIR/log
	EMPTY=$BATS_TEST_TMPDIR/empty
	SERVERS=()
	TRACER=()
	export HOME_DIR MAIL LOG EMPTY
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" \
	    "$BATS_TEST_TMPDIR"
	mkdir -m 755 "$EMPTY"
	mkdir -p "$MAIL/new" "$MAIL/cur" "$MAIL/tmp"
	: >"$LOG"
	own
	gcov_setup
	# Where the program named pop3d, a script then, has reports written.
	VALGRIND_LOGS=$BATS_TEST_TMPDIR/valgrind
	export VALGRIND_LOGS
	mkdir -m 1777 "$VALGRIND_LOGS"
}

# make coverage (see coverage.sh): processes of several users write their
# counts to the same files, which must be there already, and the greeter finds
# them in its root by the same path.
gcov_setup() {
	local object file

	[ -n "${POP3D_GCOV:-}" ] || return 0
	GCOV_PREFIX=$(mktemp -d "$POP3D_GCOV/XXXXXX")
	export GCOV_PREFIX
	chmod 777 "$GCOV_PREFIX"
	for object in "$POP3D_BUILD"/*.o; do
		file=$GCOV_PREFIX/$(basename "$object" .o).gcda
		: >"$file"
		chmod 666 "$file"
	done
	if [ -n "${EMPTY:-}" ]; then
		mkdir -p "$EMPTY$GCOV_PREFIX"
		ln "$GCOV_PREFIX"/* "$EMPTY$GCOV_PREFIX"
	fi
}

# Call this in teardown(): ends what start_server began, and fails if a
# sanitizer or valgrind has found something, whatever the test thought of it.
pop3d_teardown() {
	local pid

	for pid in "${SERVERS[@]}"; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	# Lines of other kinds tell of system calls that valgrind does not know.
	find "$VALGRIND_LOGS" -type f -size +0 -exec grep -h '^==' {} + \
	    >"$BATS_TEST_TMPDIR/reports" || :
	grep -a -A 30 'Sanitizer: \|: runtime error: ' "$LOG" \
	    >>"$BATS_TEST_TMPDIR/reports" || :
	if [ -s "$BATS_TEST_TMPDIR/reports" ]; then
		cat "$BATS_TEST_TMPDIR/reports" >&2
		return 1
	fi
}

# Gives the home directory to the test user.
own() {
	if [ "$(id -u)" = 0 ]; then
		chown -R "$TEST_UID:$TEST_GID" "$HOME_DIR"
	fi
}

# not_under TOOL REASON: what is not to be had under a tool of make msan or
# make valgrind.
not_under() {
	[ "${POP3D_TOOL:-}" != "$1" ] || skip "not under $1: $2"
}

need_strace() {
	strace -qq -o /dev/null true 2>/dev/null || skip "needs strace"
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root: $1"
}

# Whether the programs under test carry a tool's code (sanitizers, coverage):
# then they are allowed more, and have no limits but that of core files.
instrumented() {
	grep -Eq '__asan_init|__ubsan_|__sanitizer_cov|__gcov_|__llvm_profile' \
	    "$POP3D_BIN/pop3d"
}

plain_build() {
	if instrumented; then
		skip "instrumented build: $1"
	fi
}

# once: of the builds that CI tests, with the default one only, since it is
# not what the test is about.
once() {
	plain_build "not what it tests"
	[ "${POP3D_TOOL:-}" = "" ] || skip "not under $POP3D_TOOL"
	if command -v musl-gcc >/dev/null &&
	    readelf -Wl "$POP3D_BIN/pop3d" | grep -q INTERP; then
		skip "with the static build only"
	fi
}

# deliver PATH: standard input becomes the message $MAIL/PATH (new/..., cur/...).
deliver() {
	cat >"$MAIL/$1"
	own
}

# as_user COMMAND ...: as the mailbox's owner, in its home directory.
as_user() {
	if [ "$(id -u)" = 0 ]; then
		(cd "$HOME_DIR" && exec setpriv --reuid "$TEST_UID" \
		    --regid "$TEST_GID" --clear-groups \
		    env USER=joe HOME="$HOME_DIR" "$@")
	else
		(cd "$HOME_DIR" && exec env USER=joe HOME="$HOME_DIR" "$@")
	fi
}

# lines LINE ...: as a client sends them.
lines() {
	printf '%s\r\n' "$@"
}

# session [OPTION ...]: a session alone (pop3d -t), speaking standard input,
# its lines ended by CRLF; the log goes to $LOG.  Octets of the answer come
# out, CRs removed for easy comparison.
session() {
	sed 's/$/\r/' | raw_session "$@" | tr -d '\r'
}

# The same without any conversion.
raw_session() {
	as_user "$POP3D_BIN/pop3d" -t "$@" 2>>"$LOG"
}

# The arguments of a whole pop3d, greeter and all, in the array POP3D: a
# checkpassword program of the tests' that accepts joe with "secret"
# (see tests/checkpw).  pop3d_command [OPTION ...]
pop3d_command() {
	POP3D=("$POP3D_BIN/pop3d" -r "$EMPTY" -h mail.example.org "$@"
	    "$BATS_TEST_DIRNAME/checkpw")
}

# whole [OPTION ...]: a whole pop3d in clear text (-c) over a socket, step by
# step; WHOLE_BY and WHOLE_HOW say otherwise (see pop.py).
whole() {
	pop3d_command -c "$@"
	sed 's/$/\r/' | python3 "$BATS_TEST_DIRNAME/pop.py" \
	    --by "${WHOLE_BY:-socket}" --how "${WHOLE_HOW:-lines}" -- \
	    "${POP3D[@]}" 2>>"$LOG" | tr -d '\r'
}

# split [ARGUMENT ... --] ARGUMENT ...: BEFORE is what stands before a --, if
# there is one, and BEHIND the rest.
split() {
	BEFORE=()
	if [[ " $* " == *" -- "* ]]; then
		while [ "$1" != -- ]; do
			BEFORE+=("$1")
			shift
		done
		shift
	fi
	BEHIND=("$@")
}

# self_signed KEY CERTIFICATE: makes both, for localhost.
self_signed() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
	    -nodes -days 2 -subj /CN=localhost \
	    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
	    -keyout "$1" -out "$2" 2>/dev/null
}

# free_port: one that nobody has now.
free_port() {
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# start_server [TCPSERVER-OPTION ... --] COMMAND ...: tcpserver on a free port
# of 127.0.0.1; sets PORT.
start_server() {
	split "$@"
	# That of a server before would be taken for this one's.
	rm -f "$BATS_TEST_TMPDIR/port"
	tcpserver -1 -HRl mail.example.org "${BEFORE[@]}" 127.0.0.1 0 "${BEHIND[@]}" \
	    >"$BATS_TEST_TMPDIR/port" 2>>"$LOG" 3>&- &
	SERVERS+=($!)
	wait_for test -s "$BATS_TEST_TMPDIR/port"
	PORT=$(cat "$BATS_TEST_TMPDIR/port")
}

# wait_for COMMAND ...: until it succeeds; fails after 20 seconds.
wait_for() {
	local i

	for ((i = 0; i < 1000; i++)); do
		if "$@"; then
			return 0
		fi
		sleep 0.02
	done
	echo "waited in vain for: $*" >&2
	return 1
}

# same EXPECTED-FILE FILE: octet for octet; shows the difference.
same() {
	cmp -s "$1" "$2" && return 0
	diff <(cat -A "$1") <(cat -A "$2") >&2
	return 1
}

# expect TEXT: standard input is TEXT (and a final newline), octet for octet.
expect() {
	cat >"$BATS_TEST_TMPDIR/got"
	printf '%s\n' "$1" >"$BATS_TEST_TMPDIR/expected"
	same "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
}

# logged PATTERN: some line of the log matches it.
logged() {
	grep -Eq -- "$1" "$LOG" || {
		echo "not logged: $1; the log:" >&2
		cat "$LOG" >&2
		return 1
	}
}

# The AUTHORIZATION side.

# Like pop3d_setup, and nothing in the environment speaks for a client.
greeter_setup() {
	pop3d_setup
	# Not a version manager's shim, which takes longer than most tests.
	[ ! -x /usr/bin/python3 ] || PATH=/usr/bin:$PATH
	unset TCPREMOTEIP SSLREMOTEIP REMOTE_ADDR REMOTE_HOST TCPREMOTEHOST \
	    TCPLOCALHOST SSL_PROTOCOL TLS PROTO SERVICE AUTH_MECH MAILDIR \
	    POP3D_SESSION POP3D_TAKEOVER
	RECORD=$BATS_TEST_TMPDIR/record
	PROGRAM=$BATS_TEST_DIRNAME/checkpw
	WRAPPER=()
	export RECORD
	mkdir -m 777 "$RECORD"
}

# program: standard input becomes the checkpassword program $PROGRAM, in sh;
# `become "$@"` there executes its arguments as the mailbox's owner.
program() {
	PROGRAM=$BATS_TEST_TMPDIR/program
	{
		cat <<'P'
#!/bin/sh
become() {
	cd "$HOME_DIR" || exit 111
	export USER=joe HOME="$HOME_DIR" SHELL=/bin/sh
	[ "$(id -u)" != 0 ] || exec setpriv --reuid "$TEST_UID" \
	    --regid "$TEST_GID" --clear-groups "$@"
	exec "$@"
}
P
		cat
	} >"$PROGRAM"
	chmod 755 "$PROGRAM"
}

# A program that records what it is given and says that it was wrong.
recorder() {
	program <<'P'
cat <&3 >"$RECORD/credentials"
exit 1
P
}

# handed FORMAT: what `recorder` got on descriptor 3, as printf writes it.
handed() {
	# shellcheck disable=SC2059 # it is a format
	printf "$1" >"$BATS_TEST_TMPDIR/handed"
	same "$BATS_TEST_TMPDIR/handed" "$RECORD/credentials"
}

not_asked() {
	[ ! -e "$RECORD/credentials" ]
}

# greeter_command [OPTION ...]: into POP3D, with $PROGRAM.
greeter_command() {
	POP3D=("$POP3D_BIN/pop3d" -r "$EMPTY" -h mail.example.org "$@"
	    "$PROGRAM")
}

# The monitor of POP3D does not wait after a failed login: strace lets its
# poll() return at once, and notes the times in $RECORD/delays.  Fails where
# strace cannot; then the tests wait.
quick() {
	local inject=(strace -qq -o "$RECORD/delays" -e trace=poll
	    -e inject=poll:retval=1)

	"${inject[@]}" true 2>/dev/null || return 1
	POP3D=("${inject[@]}" "${POP3D[@]}")
}

# failing CALLS=WHAT COMMAND ...: the command, for whose own system calls, by
# strace's --inject, it is WHAT that happens.  Skips where strace cannot; in a
# pipeline a test cannot skip, so try it with `true` before.
failing() {
	local inject=(strace -qq -o /dev/null -e "inject=$1")

	"${inject[@]}" true 2>/dev/null || skip "needs strace, to fail $1"
	"${inject[@]}" "${@:2}"
}

# talk [OPTION ...]: standard input goes to a pop3d with $PROGRAM as it is,
# over pipes; its answers without CRs.
talk() {
	greeter_command "$@"
	quick || :
	"${POP3D[@]}" 2>>"$LOG" | tr -d '\r'
}

# dial: connects to $PORT; say LINE ... sends lines, hear PATTERN reads one
# into $HEARD (without its CR) and matches it, closed: the connection is.
dial() {
	exec {CLIENT}<>"/dev/tcp/127.0.0.1/$PORT"
}

say() {
	printf '%s\r\n' "$@" >&"$CLIENT"
}

hear() {
	HEARD=
	IFS= read -r -t 20 -u "$CLIENT" HEARD || :
	HEARD=${HEARD%$'\r'}
	[[ $HEARD =~ $1 ]] || {
		printf 'heard "%s", not "%s"\n' "$HEARD" "$1" >&2
		return 1
	}
}

closed() {
	local code=0

	IFS= read -r -t 20 -u "$CLIENT" HEARD || code=$?
	# More than 128: it was the time that was over.
	[ "$code" = 1 ] && [ -z "$HEARD" ]
}

hang_up() {
	exec {CLIENT}>&-
}

# A whole pop3d behind tcpserver, and its processes.

# The child of process $1 whose command line matches $2.
child() {
	pgrep -P "$1" -f -- "$2"
}

# wrap COMMAND ...: in front of each pop3d that listen starts.
wrap() {
	WRAPPER=("$@")
}

# listen [OPTION ...]: tcpserver.
listen() {
	greeter_command -m "$MAIL" "$@"
	start_server "${WRAPPER[@]}" "${POP3D[@]}"
}

# serve [OPTION ...]: and a connection whose greeting was heard; sets MONITOR
# and GREETER.
serve() {
	listen "$@"
	connect
}

connect() {
	dial
	hear '^\+OK '
	MONITOR=$(child "${SERVERS[0]}" "pop3d -r $EMPTY")
	GREETER=$(child "$MONITOR" "pop3d -r $EMPTY")
	export MONITOR GREETER
}

# Logs joe in; sets SESSION.
login() {
	say 'USER joe' 'PASS secret'
	hear '^\+OK'
	hear '^\+OK [0-9]+ messages'
	SESSION=$(child "$MONITOR" 'pop3d -t')
}

# field NAME PID: of /proc/PID/status.
field() {
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$2/status" | tr -s '\t ' ' ' |
	    sed 's/ $//'
}

# No process of the test but tcpserver.
all_gone() {
	[ "$(pgrep -f "pop3d .*$BATS_TEST_TMPDIR")" = "${SERVERS[0]}" ]
}

# has_descriptors PID COUNT
has_descriptors() {
	[ "$(find "/proc/$1/fd" -type l | wc -l)" = "$2" ]
}

# gone PID: it does not run (its parent may not have noticed yet).
gone() {
	local stat

	IFS= read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	[[ ${stat##*) } == [ZX]* ]]
}

# build_inject: compiles inject.c; call it in setup_file().
build_inject() {
	INJECT=$BATS_FILE_TMPDIR/inject
	echo '#include <sys/syscall.h>' | cc -E -dM - |
	    sed -n 's/^#define SYS_\([a-z0-9_]*\) .*/{"\1", SYS_\1},/p' \
	    >"$BATS_FILE_TMPDIR/calls.h"
	cc -std=c11 -D_GNU_SOURCE -O -I"$BATS_FILE_TMPDIR" -o "$INJECT" \
	    "$BATS_TEST_DIRNAME/inject.c"
	chmod a+x "$BATS_FILE_TMPDIR"
	export INJECT
}

# Processes that are not dumpable are root's to look into.
need_inject() {
	need_root "to look into processes"
	sleep 60 3>&- &
	"$INJECT" $! getpid >/dev/null 2>&1 || skip "needs ptrace"
	kill $!
}

# Syslog

# private_dev: writes $RECORD/private-dev, which gives a mount namespace a /dev
# of its own, with room for another log.
private_dev() {
	cat >"$RECORD/private-dev" <<'S'
mkdir "$RECORD/dev"
mount -t tmpfs none "$RECORD/dev"
for file in null zero urandom random full; do
	: >"$RECORD/dev/$file"
	mount --bind "/dev/$file" "$RECORD/dev/$file"
done
ln -s /proc/self/fd "$RECORD/dev/fd"
mount --rbind "$RECORD/dev" /dev
S
}

# with_syslog COMMAND ...: in a mount namespace of its own whose /dev/log
# writes each datagram as a line to $RECORD/syslog; "none": there is no
# /dev/log, "unread": one that is never read.  SYSLOG_NETWORK=-n: and in a
# network namespace.
with_syslog() {
	local new=(unshare -m ${SYSLOG_NETWORK:+"$SYSLOG_NETWORK"}
	    --propagation private)

	"${new[@]}" true 2>/dev/null ||
	    skip "no mount namespace of our own for /dev/log"
	cat >"$RECORD/listen" <<'P'
import os, socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
os.chmod("/dev/log", 0o666)
if sys.argv[2] == "unread":
    open(sys.argv[1] + "/syslog", "w").close()
    sys.stdin.read()
with open(sys.argv[1] + "/syslog", "wb", buffering=0) as f:
    while True:
        data = log.recv(65536)
        if data == b"end":
            break
        f.write(data + b"\n")
P
	private_dev
	cat >"$RECORD/inside" <<'S'
set -e
. "$RECORD/private-dev"
kind=$1
shift
if [ "$kind" = none ]; then
	: >"$RECORD/syslog"
	exec "$@"
fi
mkfifo "$RECORD/hold"
python3 "$RECORD/listen" "$RECORD" "$kind" <>"$RECORD/hold" >&2 &
until [ -e "$RECORD/syslog" ]; do sleep 0.02; done
"$@" || :
if [ "$kind" = unread ]; then
	kill $!
else
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"end", "/dev/log")'
	wait $!
fi
S
	"${new[@]}" sh "$RECORD/inside" "$@"
}

# forgotten PID TEXT ...: no eight octets of a text are left in that process.
forgotten() {
	python3 - "$@" <<'P'
import sys
pid, texts = sys.argv[1], [t.encode() for t in sys.argv[2:]]
data = b""
with open("/proc/%s/mem" % pid, "rb", buffering=0) as mem:
    for line in open("/proc/%s/maps" % pid):
        where, rights = line.split()[:2]
        if rights.startswith("rw"):
            begin, end = (int(n, 16) for n in where.split("-"))
            mem.seek(begin)
            data += mem.read(end - begin)
# What must be there: the memory was read.
assert b"pop3d" in data
left = {t[i:i + 8] for t in texts for i in range(len(t) - 7)}
left = sorted(part.decode() for part in left if part in data)
sys.exit("process %s has: %s" % (pid, left) if left else 0)
P
}

# What the tests of TRANSACTION and UPDATE share.

# brief: a filter that hides the words behind -ERR, which are for people, and
# keeps its response code.
brief() {
	sed -E 's/^(-ERR( \[[A-Z/-]+\])?) .*/\1/'
}

# need_tracer EXPRESSION [OPTION ...]: what open_session opens runs under
# strace with that -e and these options, or the test is skipped.
need_tracer() {
	TRACER=(strace -qq -o /dev/null -e "$@")
	as_user "${TRACER[@]}" true 2>/dev/null || skip "needs strace, to $1"
}

# open_session [OPTION ...]: a session that goes on while the test does other
# things, its login answered; TCPREMOTEIP is its client.  Sets SESSION (its
# process), REPLY, and the descriptors TO and FROM.
open_session() {
	local pipes=$BATS_TEST_TMPDIR/pipes

	rm -rf "$pipes" && mkdir "$pipes" && mkfifo "$pipes/in" "$pipes/out"
	# shellcheck disable=SC2016
	as_user "${TRACER[@]}" sh -c 'echo $$ >.session && exec "$@"' sh \
	    "$POP3D_BIN/pop3d" -t "$@" <"$pipes/in" >"$pipes/out" \
	    2>>"$LOG" 3>&- &
	PARENT=$!
	# Of both kinds, so that writing to a session that has ended is safe.
	exec {TO}<>"$pipes/in" {FROM}<"$pipes/out"
	read_reply
	SESSION=$(cat "$HOME_DIR/.session")
	export SESSION
}

read_reply() {
	IFS= read -r -t 30 REPLY <&"$FROM" && REPLY=${REPLY%$'\r'}
}

# ask COMMAND: sends it; REPLY is the first line of the answer.
ask() {
	printf '%s\r\n' "$1" >&"$TO"
	read_reply
}

# rest: prints the other lines of a multi-line answer.
rest() {
	while read_reply && [ "$REPLY" != . ]; do
		printf '%s\n' "$REPLY"
	done
}

# end_session: the client goes away; returns when the session has ended.
end_session() {
	exec {TO}>&- {FROM}<&-
	wait "$PARENT" || :
}

# mail_files: the messages' paths below the Maildir, sorted.
mail_files() {
	(cd "$MAIL" && find new cur ! -type d | LC_ALL=C sort)
}

# Status lines without their text: "+OK", "-ERR", "-ERR [CODE]".
forms() {
	sed -E 's/^(\+OK|-ERR( \[[A-Z/-]+\])?)( .*)?$/\1/'
}

# well_formed: the status lines of standard input, CRs removed, are what RFC
# 2449 section 3 lets them be: an opening bracket begins a response code that
# some RFC has, or there is none.
well_formed() {
	local codes='AUTH|IN-USE|LOGIN-DELAY|SYS/PERM|SYS/TEMP'

	LC_ALL=C grep -aiE '^ *[+-]? *(OK|ERR)' >"$BATS_TEST_TMPDIR/status"
	not env LC_ALL=C grep -avE \
	    "^(\+OK|-ERR) (\[($codes)\] [ -~]{,490}|[] -Z\^-~]{,505})\$" \
	    "$BATS_TEST_TMPDIR/status"
}

# not COMMAND ...: fails the test if it succeeds, as ! would not.
not() {
	! "$@"
}
