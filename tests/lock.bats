#!/usr/bin/env bats
# One session a maildrop, and a maildrop that cannot be written to.

load helper

setup() {
	pop3d_setup
	printf 'A: b\n\none\n' | deliver new/1.a
	printf 'A: b\n\ntwo\n' | deliver cur/2.b:2,S
}

teardown() {
	pop3d_teardown
}

readonly SINCE='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z'

# answer: the first line that a session says now.
answer() {
	printf 'QUIT\n' | session | head -n 1
}

gets_in() {
	[ "$(answer)" = '+OK 2 messages' ]
}

kept_out() {
	[[ $(answer) == '-ERR [IN-USE] '* ]]
}

@test "RFC 1939 4: of two sessions one wins, RFC 2449 8: the other is IN-USE" {
	open_session
	[ "$REPLY" = '+OK 2 messages' ]
	kept_out
	ask 'RETR 1'
	[ "$REPLY" = '+OK 13 octets' ]
	rest >/dev/null
	kept_out
	ask STAT
	[ "$REPLY" = '+OK 2 26' ]
	ask QUIT
	end_session
	logged 'event=failure user=joe .*reason=in-use'
}

@test "DESIGN 2: IN-USE says since when and from which address" {
	local said

	TCPREMOTEIP=192.0.2.7 open_session
	said=$(TCPREMOTEIP=192.0.2.8 answer)
	[[ $said =~ ^'-ERR [IN-USE] '.*$SINCE.*'192.0.2.7' ]]
	[[ $said != *192.0.2.8* ]]
	# One that was refused has signed nothing.
	said=$(answer)
	[[ $said == *192.0.2.7* ]]
	end_session
	TCPREMOTEIP=2001:db8::7 open_session
	[[ $(answer) =~ ^'-ERR [IN-USE] '.*$SINCE.*'2001:db8::7'$ ]]
	end_session
	open_session
	said=$(answer)
	[[ $said =~ ^'-ERR [IN-USE] '.*$SINCE && $said != *2001* ]]
	end_session
}

@test "DESIGN 2: over a whole pop3d IN-USE answers PASS and the session ends" {
	open_session
	printf 'USER joe\nPASS secret\nSTAT\n' | whole | tail -n 1 |
	    grep -q '^-ERR \[IN-USE\] '
	end_session
	gets_in
}

@test "DESIGN 6: a refused session touches nothing" {
	open_session
	printf 'RETR 1\nDELE 1\nDELE 2\nQUIT\n' | session >/dev/null
	[ "$(mail_files)" = "cur/2.b:2,S
new/1.a" ]
	end_session
}

@test "DESIGN 6: after QUIT the next one gets in" {
	open_session
	kept_out
	ask QUIT
	[[ $REPLY == +OK* ]]
	gets_in
	end_session
}

@test "DESIGN 6: after a client that went away the next one gets in" {
	open_session
	kept_out
	end_session
	gets_in
}

@test "DESIGN 6: after a time-out the next one gets in" {
	not_under valgrind "a session takes as long to begin as this one lasts"
	open_session -T 1
	kept_out
	wait_for gets_in
	end_session
}

@test "DESIGN 6: after kill -9 the next one gets in" {
	open_session
	kept_out
	kill -9 "$SESSION"
	end_session
	gets_in
}

# sessions SCRIPT: Python with `start()`, a session on a socket, and
# `line(session)`, the next line that it says.
sessions() {
	{
		cat <<'P'
import os, socket, subprocess, sys
def start():
    mine, other = socket.socketpair()
    mine.settimeout(30)
    who = {}
    if os.getuid() == 0:
        who = dict(user=int(os.environ["TEST_UID"]), extra_groups=[],
                   group=int(os.environ["TEST_GID"]))
    child = subprocess.Popen([os.environ["POP3D_BIN"] + "/pop3d", "-t"],
                             stdin=other, stdout=other,
                             cwd=os.environ["HOME_DIR"], **who)
    other.close()
    return child, mine, mine.makefile("rb")
def line(session):
    return session[2].readline().decode()
P
		cat
	} | python3 - 2>>"$LOG"
}

@test "DESIGN 6: the lock is free before QUIT is answered: 100 sessions" {
	sessions <<'P'
old = []
for i in range(100):
    session = start()
    greeting = line(session)
    if not greeting.startswith("+OK"):
        sys.exit("session %d: %s" % (i, greeting))
    session[1].sendall(b"QUIT\r\n")
    if not line(session).startswith("+OK"):
        sys.exit("session %d: QUIT" % i)
    # The old session is still there, waiting for its client to go.
    old.append(session)
for child, mine, reader in old:
    reader.close()
    mine.close()
    child.wait()
P
}

@test "RFC 1939 4: of eight sessions that begin at once exactly one wins" {
	sessions <<'P'
for i in range(10):
    all = [start() for _ in range(8)]
    said = [line(session) for session in all]
    won = [s for s in said if s.startswith("+OK")]
    lost = [s for s in said if s.startswith("-ERR [IN-USE]")]
    if len(won) != 1 or len(lost) != 7:
        sys.exit(repr(said))
    for child, mine, reader in all:
        reader.close()
        mine.close()
        child.wait()
P
}

@test "DESIGN 6: pop3d.lock is permanent, its time is the last login" {
	local inode

	gets_in
	inode=$(stat -c %i "$MAIL/pop3d.lock")
	[ "$(stat -c %a "$MAIL/pop3d.lock")" = 600 ]
	touch -d 2001-01-01 "$MAIL/pop3d.lock"
	open_session
	[ "$(stat -c %Y "$MAIL/pop3d.lock")" -ge "$(($(date +%s) - 30))" ]
	touch -d 2001-01-01 "$MAIL/pop3d.lock"
	kept_out
	kill -9 "$SESSION"
	end_session
	[ "$(stat -c %Y "$MAIL/pop3d.lock")" = "$(date -d 2001-01-01 +%s)" ]
	gets_in
	[ "$(stat -c %i "$MAIL/pop3d.lock")" = "$inode" ]
	[ "$(stat -c %h "$MAIL/pop3d.lock")" = 1 ]
}

# reads: all can be read, and a second session is kept out meanwhile.
reads() {
	open_session
	[ "$REPLY" = '+OK 2 messages' ]
	[[ $(answer) == '-ERR [IN-USE] '* ]]
	ask STAT
	[ "$REPLY" = '+OK 2 26' ]
	ask 'RETR 1'
	rest | expect 'A: b

one'
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
}

@test "DESIGN 6: a Maildir without write permission can be read" {
	chmod -R a-w "$MAIL"
	reads
	chmod -R u+w "$MAIL"
	[ "$(mail_files)" = "cur/2.b:2,S
new/1.a" ]
	[ ! -e "$MAIL/pop3d.lock" ]
}

@test "DESIGN 6: a pop3d.lock without any permission keeps nobody out" {
	gets_in
	chmod 000 "$MAIL/pop3d.lock"
	reads
}

# mounted OPTIONS FUNCTION: runs it where $MAIL is a tmpfs of its own.
mounted() {
	need_root "to mount a file system"
	unshare -m mount -t tmpfs tmpfs "$MAIL" 2>/dev/null ||
	    skip "nothing can be mounted here"
	declare -f >"$BATS_TEST_TMPDIR/functions"
	export BATS_TEST_TMPDIR SINCE
	# shellcheck disable=SC2016
	unshare -m bash -euc 'mount -t tmpfs -o "$2" tmpfs "$MAIL"
		. "$1"
		mkdir "$MAIL/new" "$MAIL/cur"
		printf "A: b\n\none\n" | deliver new/1.a
		printf "A: b\n\ntwo\n" | deliver cur/2.b:2,S
		"$3"' bash "$BATS_TEST_TMPDIR/functions" "$1" "$2"
}

read_only() {
	mount -o remount,ro "$MAIL"
	reads
	printf 'DELE 1\nDELE 2\nQUIT\n' | session | tail -n 1 |
	    grep -q '^-ERR \[SYS/'
	[ "$(mail_files | wc -l)" = 2 ]
}

@test "DESIGN 6: a read-only file system can be read, DELE fails at QUIT" {
	mounted size=1m read_only
}

read_only_with_lock() {
	gets_in
	mount -o remount,ro "$MAIL"
	reads
}

@test "DESIGN 6: a read-only file system that has a pop3d.lock, too" {
	mounted size=1m read_only_with_lock
}

full() {
	dd if=/dev/zero of="$MAIL/fill" bs=4096 2>/dev/null || :
	not dd if=/dev/zero of="$MAIL/more" bs=4096 count=1 2>/dev/null
	reads
	[ "$(mail_files)" = "cur/1.a:2,S
cur/2.b:2,S" ]
	printf 'DELE 1\nDELE 2\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	[ -z "$(mail_files)" ]
}

@test "DESIGN 6: on a full disk mail can be read and deleted" {
	mounted size=1m full
}

# No room for one more file, so none for pop3d.lock.
no_inodes() {
	local i

	for ((i = 0; i < 1000; i++)); do
		(: >"$MAIL/fill$i") 2>/dev/null || break
	done
	((i < 1000))
	reads
	[ ! -e "$MAIL/pop3d.lock" ]
	printf 'DELE 1\nDELE 2\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	[ -z "$(mail_files)" ]
}

@test "DESIGN 6: nor does a disk without room for pop3d.lock keep anyone out" {
	mounted size=1m,nr_inodes=20 no_inodes
}

@test "DESIGN 6: a full disk does not lose the other sessions' lock" {
	mounted size=1m full_lock
}

full_lock() {
	dd if=/dev/zero of="$MAIL/fill" bs=4096 2>/dev/null || :
	: >"$MAIL/pop3d.lock"
	own
	open_session
	kept_out
	end_session
	gets_in
}

# refused: as permanent trouble.
refused() {
	printf 'STAT\n' | session | brief | expect '-ERR [SYS/PERM]'
	logged "event=error .*path="
}

@test "DESIGN 6: a pop3d.lock that is a link is neither followed nor replaced" {
	echo keep >"$HOME_DIR/other"
	ln -s ../other "$MAIL/pop3d.lock"
	own
	refused
	expect keep <"$HOME_DIR/other"
	[ -L "$MAIL/pop3d.lock" ]
	ln -sf nowhere "$MAIL/pop3d.lock"
	refused
	[ ! -e "$MAIL/nowhere" ]
}

@test "DESIGN 6: a pop3d.lock that is a FIFO is refused, without waiting" {
	mkfifo "$MAIL/pop3d.lock"
	own
	refused
}

@test "DESIGN 6: a pop3d.lock that is a directory is SYS/PERM" {
	mkdir "$MAIL/pop3d.lock"
	own
	refused
}

@test "DESIGN 6: a maildrop that cannot be opened is not kept while its client is told so" {
	rm -r "$MAIL/cur"
	as_user python3 - "$POP3D_BIN/pop3d" >"$BATS_TEST_TMPDIR/answers" \
	    2>>"$LOG" <<'P'
import socket, subprocess, sys
kept = []
for _ in range(2):
    here, there = socket.socketpair()
    subprocess.Popen([sys.argv[1], "-t"], stdin=there, stdout=there)
    there.close()
    print(here.recv(512).decode(), end="")
    kept.append(here)
P
	forms <"$BATS_TEST_TMPDIR/answers" | tr -d '\r' | expect '-ERR [SYS/PERM]
-ERR [SYS/PERM]'
}

@test "DESIGN 7: a stale lock file's content is of no matter" {
	head -c 100000 /dev/urandom >"$MAIL/pop3d.lock"
	own
	gets_in
	open_session
	[[ $(answer) =~ ^'-ERR [IN-USE] '.*$SINCE ]]
	end_session
}

@test "DESIGN 2: what others wrote into pop3d.lock never reaches the client" {
	local text

	open_session
	for text in 'since=\r\n+OK 5 messages\r\n' \
	    'since=2026-01-01T00:00:00Z ip=\r\n+OK evil\r\n' \
	    'since=\0033[2J ip=\0033[31m' '%s%s%n' 'since=%n%n ip=%s' \
	    'since=2026\0200\0377 ip=\0evil' '\0' ''; do
		printf %b "$text" >"$MAIL/pop3d.lock"
		answer >"$BATS_TEST_TMPDIR/said"
		grep -q '^-ERR \[IN-USE\] ' "$BATS_TEST_TMPDIR/said"
		[ "$(wc -l <"$BATS_TEST_TMPDIR/said")" = 1 ]
		not grep -qP '[^ -~]|evil|%' "$BATS_TEST_TMPDIR/said"
	done
	end_session
}

# hold HOW: some other program, as on another host, has one of the locks.
hold() {
	python3 - "$1" >"$BATS_TEST_TMPDIR/held" 3>&- <<'P' &
import fcntl, os, signal, struct, sys
mail = os.environ["MAIL"]
if sys.argv[1] == "flock":
    fcntl.flock(os.open(mail, os.O_RDONLY), fcntl.LOCK_EX)
else:
    fd = os.open(mail + "/pop3d.lock", os.O_RDWR | os.O_CREAT, 0o666)
    how = fcntl.F_OFD_SETLK if sys.argv[1] == "ofd" else fcntl.F_SETLK
    fcntl.fcntl(fd, how, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
print("held", flush=True)
signal.pause()
P
	SERVERS+=($!)
	wait_for grep -q held "$BATS_TEST_TMPDIR/held"
	own
}

let_go() {
	kill "${SERVERS[0]}"
	wait "${SERVERS[0]}" || :
}

@test "DESIGN 6: the lock on pop3d.lock alone keeps others out" {
	hold ofd
	kept_out
	let_go
	gets_in
}

@test "DESIGN 6: a process's lock on pop3d.lock (NFS has it so) does, too" {
	hold posix
	kept_out
	let_go
	gets_in
}

@test "DESIGN 6: the lock on the directory alone keeps others out" {
	hold flock
	kept_out
	let_go
	gets_in
}

@test "DESIGN 6: a session holds both locks" {
	gets_in
	open_session
	python3 - <<'P'
import fcntl, os, struct, sys
mail = os.environ["MAIL"]
try:
    fcntl.flock(os.open(mail, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    sys.exit("no flock")
except BlockingIOError:
    pass
fd = os.open(mail + "/pop3d.lock", os.O_RDWR)
try:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK,
                struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    sys.exit("no lock on pop3d.lock")
except (BlockingIOError, PermissionError):
    pass
P
	end_session
}
