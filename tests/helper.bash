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
	export HOME_DIR MAIL LOG EMPTY
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" \
	    "$BATS_TEST_TMPDIR"
	mkdir -m 755 "$EMPTY"
	mkdir -p "$MAIL/new" "$MAIL/cur" "$MAIL/tmp"
	: >"$LOG"
	own
}

# Call this in teardown(): ends what start_server began.
pop3d_teardown() {
	local pid

	for pid in "${SERVERS[@]}"; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
}

# Gives the home directory to the test user.
own() {
	if [ "$(id -u)" = 0 ]; then
		chown -R "$TEST_UID:$TEST_GID" "$HOME_DIR"
	fi
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root: $1"
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

# start_server [TCPSERVER-OPTION ... --] COMMAND ...: tcpserver on a free port
# of 127.0.0.1; sets PORT.
start_server() {
	local options=()

	if [[ " $* " == *" -- "* ]]; then
		while [ "$1" != -- ]; do
			options+=("$1")
			shift
		done
		shift
	fi
	tcpserver -1 -HRl mail.example.org "${options[@]}" 127.0.0.1 0 "$@" \
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
