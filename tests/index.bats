#!/usr/bin/env bats
# pop3d.index: what it saves, and that nothing depends on it.

load helper

setup() {
	pop3d_setup
}

teardown() {
	pop3d_teardown
}

# fill COUNT [MAILDIR]: so many messages, each of 12 octets on the wire, every
# second in new.
fill() {
	python3 - "$1" "${2:-$MAIL}" <<'P'
import os, sys
for folder in "new", "cur", "tmp":
    os.makedirs(sys.argv[2] + "/" + folder, exist_ok=True)
for i in range(1000, 1000 + int(sys.argv[1])):
    path = "new/%d.M" % i if i % 2 else "cur/%d.M:2," % i
    with open(sys.argv[2] + "/" + path, "w") as f:
        f.write("A: b\n\nxx\n")
P
	own
}

# arrive PATH: like deliver, but touches no directory that it need not: `own`
# changes the time of every one, and then no index is fresh.
arrive() {
	cat >"$MAIL/$1"
}

# give PATH ...: to the mailbox's owner; links themselves.
give() {
	if [ "$(id -u)" = 0 ]; then
		chown -h "$TEST_UID:$TEST_GID" "$@"
	fi
}

oracle() {
	as_user python3 -B "$BATS_TEST_DIRNAME/oracle.py" "$@" 2>>"$LOG"
}

# right [MAILDIR ...]: a session's answers are what the files say.
right() {
	oracle check "${@:-$MAIL}"
}

# settle [MAILDIR ...]: the last change of new and cur is two seconds old.
settle() {
	oracle settle "${@:-$MAIL}"
}

# indexed [MAILDIR ...]: the index is there, and is to be believed.
indexed() {
	settle "$@"
	right "$@"
}

need_strace() {
	TRACE=$HOME_DIR/trace
	as_user strace -qq -o /dev/null -e inject=sync:retval=0 true \
	    2>/dev/null || skip "needs strace and the right to trace"
}

# traced: like session -P, its system calls in $TRACE.
traced() {
	sed 's/$/\r/' | (cd "$HOME_DIR" && exec strace -qq -s 99 -o "$TRACE" \
	    setpriv --reuid "$TEST_UID" --regid "$TEST_GID" --clear-groups \
	    env USER=joe HOME="$HOME_DIR" "$POP3D_BIN/pop3d" -t -P) 2>>"$LOG" |
	    tr -d '\r'
}

# A session is not dumpable: only root sees what is behind its pointers.
need_traced() {
	need_root "to look into a session"
	need_strace
}

# Filters: system calls that open a directory; that open a message.
listings() {
	grep -E 'openat\(.*"(new|cur)"' "$TRACE"
}

openings() {
	grep -E 'openat\(.*"(new|cur)/' "$TRACE"
}

# index_state: what changes when the index is written.
index_state() {
	stat -c '%i %s %y %z' "$MAIL/pop3d.index"
}

@test "DESIGN 6: an unchanged Maildir is opened unlisted, no message opened" {
	need_traced
	fill 50
	indexed
	printf 'STAT\nQUIT\n' | traced | expect '+OK 50 messages
+OK 50 600
+OK good bye'
	not listings
	not openings
	not grep getdents "$TRACE"
}

@test "DESIGN 6: nor is it listed for LIST, UIDL, LAST, DELE and RSET" {
	need_traced
	fill 50
	indexed
	printf 'LIST\nUIDL\nLAST\nDELE 2\nRSET\nSTAT\nQUIT\n' | traced |
	    tail -n 2 | expect '+OK 50 600
+OK good bye'
	not listings
	not openings
	not grep getdents "$TRACE"
}

@test "issue 3: as many system calls for 1, 100 and 5000 messages" {
	local count first=

	need_strace
	for count in 1 100 5000; do
		fill "$count" "$HOME_DIR/$count"
	done
	settle "$HOME_DIR"/{1,100,5000}
	for count in 1 100 5000; do
		printf 'STAT\nQUIT\n' | session -m "$count" >/dev/null
		printf 'STAT\r\nQUIT\r\n' | as_user strace -qq -o "$TRACE" \
		    "$POP3D_BIN/pop3d" -t -m "$count" 2>>"$LOG" |
		    grep "^+OK $count $((count * 12))"
		: "${first:=$(wc -l <"$TRACE")}"
		echo "$count messages: $(wc -l <"$TRACE") system calls"
		[ "$(wc -l <"$TRACE")" = "$first" ]
	done
}

# answers: of all kinds of commands, and what is left of the files.
answers() {
	printf '%s\n' STAT LIST UIDL LAST 'LIST 2' 'UIDL 3' 'TOP 4 1' \
	    'RETR 5' 'RETR 6' LAST 'DELE 1' 'DELE 7' STAT LIST QUIT |
	    session
	mail_files
}

@test "DESIGN 6: the same answers with the index, without, with a stale one" {
	local state

	for state in without with stale; do
		fill 12
		if [ "$state" = stale ]; then
			printf '1\n' | arrive new/2.gone
			printf 'STAT\nRETR 1\n' | session >/dev/null
			rm "$MAIL/new/2.gone"
		fi
		mv "$MAIL/cur/1000.M:2," "$MAIL/cur/1000.M:2,FS"
		[ "$state" != with ] || indexed
		answers >"$BATS_TEST_TMPDIR/$state"
		rm -r "$MAIL"
	done
	same "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/with"
	same "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/stale"
}

@test "DESIGN 6: one bit changed, at each octet of the index, is noticed" {
	oracle damage "$MAIL" bits
}

@test "DESIGN 6: each octet of the index made 0 is noticed" {
	oracle damage "$MAIL" zeros
}

@test "DESIGN 6: each octet of the index made 255 is noticed" {
	oracle damage "$MAIL" ones
}

@test "DESIGN 6: an index cut short, at each length, is noticed" {
	oracle damage "$MAIL" lengths
}

@test "DESIGN 6: garbage, swapped parts, foreign byte order are noticed" {
	oracle damage "$MAIL" other
}

@test "DESIGN 6: forged contents deceive their owner only, and not for long" {
	mkdir "$HOME_DIR/forged"
	own
	oracle forged "$HOME_DIR/forged"
}

@test "DESIGN 6: an index of 4 GiB that is a hole takes no memory" {
	oracle sparse "$MAIL"
}

@test "DESIGN 6: records older than the header, on the same place, are noticed" {
	oracle torn "$MAIL"
}

@test "DESIGN 6: memory too short for the index refuses nobody" {
	[ -z "${ASAN_OPTIONS-}" ] || skip "the sanitizers need all memory"
	oracle short "$MAIL"
}

@test "DESIGN 6: an index that is a link, a FIFO, a directory does no harm" {
	local what

	fill 6
	indexed
	for what in link dangling fifo directory unreadable unwritable; do
		rm -rf "$MAIL/pop3d.index"
		case $what in
		link)
			: >"$HOME_DIR/target"
			ln -s ../target "$MAIL/pop3d.index"
			;;
		dangling) ln -s ../nowhere "$MAIL/pop3d.index" ;;
		fifo) mkfifo "$MAIL/pop3d.index" ;;
		directory) mkdir "$MAIL/pop3d.index" ;;
		*) right ;;
		esac
		give "$MAIL/pop3d.index"
		[ "$what" != unreadable ] || chmod 000 "$MAIL/pop3d.index"
		[ "$what" != unwritable ] || chmod 400 "$MAIL/pop3d.index"
		right
		right
		ln "$MAIL/new/1001.M" "$MAIL/new/7.$what"
		right
		rm "$MAIL/new/7.$what"
		right
		[ "$what" = directory ] || [ -f "$MAIL/pop3d.index" ]
		[ ! -e "$MAIL/pop3d.index.new" ]
	done
	[ ! -s "$HOME_DIR/target" ]
	[ ! -e "$HOME_DIR/nowhere" ]
}

@test "DESIGN 6: a link in place of the index is neither read nor written" {
	fill 6
	indexed
	# It would be believed if it were followed.
	mv "$MAIL/pop3d.index" "$HOME_DIR/kept"
	cp "$HOME_DIR/kept" "$HOME_DIR/copy"
	ln -s ../kept "$MAIL/pop3d.index"
	give "$MAIL/pop3d.index"
	right
	cmp "$HOME_DIR/kept" "$HOME_DIR/copy"
	[ ! -L "$MAIL/pop3d.index" ]
}

@test "DESIGN 6: an index that is another user's is not believed" {
	need_root "to give a file away"
	fill 6
	oracle lying "$MAIL"
	# The lie is believed, as long as it is the owner's.
	printf 'STAT\n' | session | tail -n 1 | expect '+OK 6 123456'
	chown 12345:12345 "$MAIL/pop3d.index"
	chmod 666 "$MAIL/pop3d.index"
	right
	[ "$(stat -c %u "$MAIL/pop3d.index")" = "$TEST_UID" ]
	right
}

@test "DESIGN 6: a read-only Maildir is served with an index and without" {
	fill 6
	chmod 500 "$MAIL"
	right
	[ ! -e "$MAIL/pop3d.index" ]
	chmod 700 "$MAIL"
	indexed
	chmod 500 "$MAIL"
	right
	: | arrive new/7.x
	right
	chmod 400 "$MAIL/pop3d.index"
	chmod 000 "$MAIL/pop3d.lock"
	: | arrive new/8.x
	right
	chmod 700 "$MAIL"
}

@test "DESIGN 6: on a full disk the session goes without an index" {
	need_root "to mount a file system"
	unshare -m true || skip "needs the right to mount"
	fill 6
	cat >"$BATS_TEST_TMPDIR/script" <<'P'
set -e
cp -a "$MAIL" "$HOME_DIR/kept"
mount -t tmpfs -o size=1m,mode=755 tmpfs "$MAIL"
chown "$TEST_UID:$TEST_GID" "$MAIL"
cp -a "$HOME_DIR/kept/." "$MAIL"
right() {
	(cd "$HOME_DIR" && setpriv --reuid "$TEST_UID" --regid "$TEST_GID" \
	    --clear-groups python3 -B "$ORACLE" check "$MAIL")
}
full() {
	! dd if=/dev/zero of="$MAIL/full" bs=4k 2>/dev/null
}
full
right
right
[ ! -s "$MAIL/pop3d.index" ]
[ ! -e "$MAIL/pop3d.index.new" ]
rm "$MAIL/full"
right
[ -s "$MAIL/pop3d.index" ]
full
ln "$MAIL/new/1001.M" "$MAIL/new/7.x"
right
rm "$MAIL/new/1003.M"
right
[ ! -e "$MAIL/pop3d.index.new" ]
P
	ORACLE=$BATS_TEST_DIRNAME/oracle.py HOME=$HOME_DIR unshare -m \
	    bash "$BATS_TEST_TMPDIR/script" 2>>"$LOG"
}

@test "DESIGN 6: where no file may grow the session goes without an index" {
	fill 6
	for _ in 1 2; do
		# shellcheck disable=SC2016
		printf 'STAT\r\nDELE 1\r\nQUIT\r\n' | as_user sh -c \
		    'ulimit -f 0 && exec "$0" -t 2>/dev/null' \
		    "$POP3D_BIN/pop3d" | tail -n 1 | grep '^+OK good bye'
	done
	[ "$(mail_files | wc -l)" = 4 ]
	[ ! -e "$MAIL/pop3d.index.new" ]
	right
}

@test "DESIGN 6: an index cut short in mid-session is done without" {
	fill 40
	indexed
	open_session
	truncate -s 200 "$MAIL/pop3d.index"
	ask LIST
	[[ $REPLY == '+OK 40 messages (480 octets)' ]]
	rest | grep -c ' 12$' | expect 40
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	right
}

@test "DESIGN 6: with a damaged index in a Maildir that cannot be listed, -ERR and the end" {
	local command octets

	fill 40
	for command in LIST UIDL LAST 'RETR 1' 'DELE 40'; do
		indexed
		octets=$(stat -c %s "$MAIL/pop3d.index")
		printf '\377' | dd of="$MAIL/pop3d.index" bs=1 conv=notrunc \
		    seek=$((octets - 1)) 2>/dev/null
		open_session
		[[ $REPLY == '+OK 40 messages' ]]
		chmod 0 "$MAIL/cur"
		ask "$command"
		chmod 700 "$MAIL/cur"
		[[ $REPLY == '-ERR [SYS/TEMP] '* ]]
		not read_reply
		end_session
		[ "$(mail_files | wc -l)" = 40 ]
	done
	logged 'event=error what="cannot list the maildrop any more"'
	right
}

# holds PATH: the session has it open.
holds() {
	find "/proc/$(cat "$HOME_DIR/.session")/fd" -lname "$1" | grep -q .
}

@test "DESIGN 6: mail in cur that comes while only new is listed is shown" {
	# The first look at new takes its time.
	need_tracer inject=getdents64:delay_exit=3000000:when=1
	fill 40
	indexed
	rm -f "$HOME_DIR/.session"
	printf 'N: n\n\nn\n' | arrive new/2000.N
	# shellcheck disable=SC2016,SC2153 # a program; need_tracer sets it
	printf 'STAT\r\nQUIT\r\n' | as_user "${TRACER[@]}" sh -c \
	    'echo $$ >.session && exec "$0" -t' "$POP3D_BIN/pop3d" \
	    >"$BATS_TEST_TMPDIR/answers" 2>>"$LOG" 3>&- &
	wait_for test -s "$HOME_DIR/.session"
	wait_for holds "$MAIL/new"
	printf 'N: n\n\nn\n' | arrive cur/2001.N:2,S
	wait $!
	tr -d '\r' <"$BATS_TEST_TMPDIR/answers" | expect '+OK 42 messages
+OK 42 502
+OK good bye'
	right
}

@test "DESIGN 6: new mail in new does not list cur, and reads only itself" {
	need_traced
	fill 40
	indexed
	printf 'N: n\n\nn\n' | arrive new/2000.N
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 41 491'
	listings | grep '"new"'
	not grep -E 'openat\(.*"cur"' "$TRACE"
	openings >"$BATS_TEST_TMPDIR/opened"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/opened")" = 1 ]
	grep '"new/2000.N"' "$BATS_TEST_TMPDIR/opened"
	right
}

@test "DESIGN 6: new mail in cur does not list new, and reads only itself" {
	need_traced
	fill 40
	indexed
	printf 'N: n\n\nn\n' | arrive cur/2000.N:2,S
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 41 491'
	listings | grep '"cur"'
	not grep -E 'openat\(.*"new"' "$TRACE"
	[ "$(openings | wc -l)" = 1 ]
	right
}

@test "DESIGN 6: a flag change, a deletion, a move reads no message again" {
	local change

	need_traced
	fill 40
	for change in flag delete move; do
		indexed
		case $change in
		flag) mv "$MAIL/cur/1000.M:2," "$MAIL/cur/1000.M:2,RS" ;;
		delete) rm "$MAIL/cur/1002.M:2," ;;
		move) mv "$MAIL/new/1001.M" "$MAIL/cur/1001.M:2,S" ;;
		esac
		printf 'STAT\nLIST\nQUIT\n' | traced |
		    grep -E '^\+OK (40 480|39 468)$'
		not openings
		listings
		right
	done
}

@test "DESIGN 6: after its own DELE and RETR a session reads no message again" {
	need_traced
	fill 40
	indexed
	printf 'RETR 2\nRETR 4\nDELE 6\nQUIT\n' | session >/dev/null
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 39 468'
	not openings
	right
	indexed
	printf 'LIST\nQUIT\n' | traced | grep -c ' 12$' | expect 39
	not listings
}

@test "DESIGN 6: a message read and deleted in one session costs no size" {
	need_traced
	fill 40
	indexed
	printf 'N: n\n\nn\n' | arrive new/2000.N
	# The index has the message then, and not its size.
	printf 'QUIT\n' | session >/dev/null
	printf 'RETR 41\nDELE 41\nQUIT\n' | session >/dev/null
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 40 480'
	not openings
	right
}

# written: octets that the traced session wrote to its index.
written() {
	sed -n 's/^pwrite64([0-9]*, \(.*\)) *= \([0-9]*\)$/\2 \1/p' "$TRACE" |
	    awk '! /"since=/ { sum += $1 } END { print sum + 0 }'
}

@test "DESIGN 6: 10 new messages in 5000 write little to the index" {
	local i octets

	need_traced
	fill 5000
	indexed
	for i in {1..10}; do
		printf 'N: n\n\nn\n' >"$MAIL/new/$((9000 + i)).N"
	done
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 5010 60110'
	octets=$(written)
	echo "$octets octets"
	[ "$octets" -gt 0 ]
	[ "$octets" -lt 10000 ]
	rm "$MAIL"/new/900[1-5].N
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 5005 60055'
	octets=$(written)
	echo "$octets octets"
	[ "$octets" -gt 0 ]
	[ "$octets" -lt 10000 ]
	right
}

@test "DESIGN 6: a session that changed nothing writes nothing to the index" {
	local before

	need_traced
	fill 40
	indexed
	before=$(index_state)
	printf '%s\n' STAT LIST UIDL 'RETR 3' 'TOP 2 1' 'DELE 1' RSET QUIT |
	    traced | tail -n 1 | expect '+OK good bye'
	[ "$(written)" = 0 ]
	printf 'DELE 1\n' | traced >/dev/null
	[ "$(index_state)" = "$before" ]
	not grep -F 'pop3d.index.new' "$TRACE"
}

@test "DESIGN 6: many small changes one after another leave the index right" {
	local i

	fill 60
	right
	for i in {1..40}; do
		case $((i % 4)) in
		0) mv "$MAIL/new/$((1000 + i + 1)).M" \
		    "$MAIL/cur/$((1000 + i + 1)).M:2,S" ;;
		1) rm -f "$MAIL/new/$((1002 + i)).M" ;;
		*) printf '%d\n\n' "$i" | arrive "new/$((2000 - i)).N" ;;
		esac
		right
	done
	indexed
	right
}

@test "DESIGN 6: what is left of pop3d.index.new is replaced" {
	local what

	fill 6
	for what in file link fifo unwritable foreign; do
		rm -f "$MAIL/pop3d.index" "$MAIL/pop3d.index.new"
		case $what in
		link) ln -s ../elsewhere "$MAIL/pop3d.index.new" ;;
		fifo) mkfifo "$MAIL/pop3d.index.new" ;;
		*) head -c 70000 /dev/zero >"$MAIL/pop3d.index.new" ;;
		esac
		give "$MAIL/pop3d.index.new"
		[ "$what" != unwritable ] || chmod 000 "$MAIL/pop3d.index.new"
		[ "$what" != foreign ] || [ "$(id -u)" != 0 ] ||
		    chown 12345 "$MAIL/pop3d.index.new"
		right
		# Where it could only be removed, by the session after it.
		right
		echo "$what"
		[ -f "$MAIL/pop3d.index" ]
		[ ! -L "$MAIL/pop3d.index.new" ]
		[ ! -e "$MAIL/pop3d.index.new" ]
		[ "$(stat -c %s "$MAIL/pop3d.index")" -lt 1000 ]
	done
	[ ! -e "$HOME_DIR/elsewhere" ]
}

@test "DESIGN 6: a session killed while it writes the index does no harm" {
	local case dirs=() killed=0

	need_strace
	for case in {put,anew}.pwrite64.{2,3,4,5,6} anew.renameat.1; do
		fill 20 "$HOME_DIR/$case"
		dirs+=("$HOME_DIR/$case")
	done
	right "${dirs[@]}"
	for case in "${dirs[@]}"; do
		ln "$case/new/1001.M" "$case/new/2.new"
		[[ $case != */put* ]] || rm "$case/new/1005.M"
		# So large a change is written as a whole.
		[[ $case != */anew* ]] || rm "$case"/cur/100*
	done
	settle "${dirs[@]}"
	for case in "${dirs[@]}"; do
		IFS=. read -r _ call when <<<"${case##*/}"
		printf 'STAT\r\nQUIT\r\n' | as_user strace -qq -o "$TRACE" \
		    -e "trace=$call" -e "inject=$call:signal=KILL:when=$when" \
		    "$POP3D_BIN/pop3d" -t -m "$case" 2>>"$LOG" \
		    >"$BATS_TEST_TMPDIR/out" || :
		grep 'good bye' "$BATS_TEST_TMPDIR/out" ||
		    killed=$((killed + 1))
	done
	echo "$killed killed"
	[ "$killed" -ge 4 ]
	right "${dirs[@]}"
	right "${dirs[@]}"
	for case in "${dirs[@]}"; do
		mv "$case/new/1003.M" "$case/cur/1003.M:2,F"
	done
	right "${dirs[@]}"
}

@test "DESIGN 6: sizes that were counted are kept when the client goes away" {
	need_traced
	fill 40
	printf 'STAT\n' | session | tail -n 1 | expect '+OK 40 480'
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 40 480'
	not openings
	# Only some of them, too.
	printf 'a\n' | arrive new/2000.a
	printf 'b\n' | arrive new/2001.b
	printf 'LIST 41\n' | session | tail -n 1 | expect '+OK 41 3'
	printf 'LIST\nQUIT\n' | traced >/dev/null
	openings | grep -c '"new/' | expect 1
}

@test "DESIGN 6: sizes are kept every 10 s of counting, though the session be killed" {
	local second

	need_traced
	fill 3
	# They are counted in the order of inodes.
	second=$(cd "$MAIL" && find new cur -type f -printf '%i %p\n' |
	    sort -n | sed -n '2s/.* //p')
	open_session
	strace -qq -o /dev/null -e inject=openat:delay_enter=10500000 \
	    -P "$second" -p "$SESSION" 3>&- &
	wait_for grep -q '^TracerPid:.[1-9]' "/proc/$SESSION/status"
	printf 'STAT\r\n' >&"$TO"
	wait_for test -s "$MAIL/pop3d.index"
	kill -9 "$SESSION"
	end_session
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 3 36'
	[ "$(openings | wc -l)" -le 1 ]
}

@test "DESIGN 6: a size is known from RETR, which counts it as well" {
	need_traced
	fill 2
	printf 'RETR 1\nRETR 2\n' | session >/dev/null
	printf 'STAT\nQUIT\n' | traced | grep -x '+OK 2 24'
	not openings
}

@test "DESIGN 6: pop3d.uidl wins over the name with an index, too" {
	fill 4
	indexed
	echo '1002.M former' >"$MAIL/pop3d.uidl"
	give "$MAIL/pop3d.uidl"
	for _ in 1 2; do
		printf 'UIDL\n' | session | tail -n 3 | expect '3 former
4 1003.M
.'
		settle
	done
	rm "$MAIL/pop3d.uidl"
	right
}

@test "DESIGN 6: unique-ids are the same when the index is lost" {
	fill 10
	: | arrive "new/8.odd name"
	: | arrive "new/9.$(printf 'x%.0s' {1..90})"
	settle
	printf 'UIDL\n' | session >"$BATS_TEST_TMPDIR/first"
	printf 'UIDL\n' | session >"$BATS_TEST_TMPDIR/second"
	rm "$MAIL/pop3d.index"
	printf 'UIDL\n' | session >"$BATS_TEST_TMPDIR/third"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/first")" = 15 ]
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/third"
}

# swapped: the Maildir's place is taken by $HOME_DIR/copy, less a message, and
# taken back.
swapped() {
	rm "$HOME_DIR/copy/new/1003.M"
	touch -r "$MAIL/new" "$HOME_DIR/copy/new"
	mv "$MAIL" "$HOME_DIR/aside"
	mv "$HOME_DIR/copy" "$MAIL"
	right
	right
	mv "$MAIL" "$HOME_DIR/copy"
	mv "$HOME_DIR/aside" "$MAIL"
	right
	right
	rm -r "$HOME_DIR/copy"
}

@test "DESIGN 6: a Maildir replaced by a copy, and back, is shown as it is" {
	fill 12
	indexed
	cp -a "$MAIL" "$HOME_DIR/copy"
	settle "$HOME_DIR/copy"
	swapped
	# An older index, put back over the newer one.
	indexed
	cp -a "$MAIL/pop3d.index" "$HOME_DIR/old"
	rm "$MAIL/new/1005.M"
	indexed
	cp -a "$HOME_DIR/old" "$MAIL/pop3d.index"
	right
}

@test "DESIGN 6: a Maildir replaced by rsync -a is shown as it is" {
	type rsync || skip "needs rsync"
	fill 12
	indexed
	rsync -a "$MAIL/" "$HOME_DIR/copy/"
	swapped
}

@test "DESIGN 6: new or cur alone replaced by a copy is shown as it is" {
	local folder

	fill 12
	for folder in new cur; do
		indexed
		cp -a "$MAIL/$folder" "$HOME_DIR/copy"
		rm -f "$HOME_DIR/copy/"*5.M* "$HOME_DIR/copy/"*8.M*
		touch -r "$MAIL/$folder" "$HOME_DIR/copy"
		mv "$MAIL/$folder" "$HOME_DIR/aside"
		mv "$HOME_DIR/copy" "$MAIL/$folder"
		right
		rm -r "${MAIL:?}/$folder"
		mv "$HOME_DIR/aside" "$MAIL/$folder"
		right
	done
}

@test "DESIGN 6: directory times that were set back hide no change" {
	local folder

	fill 12
	for folder in new cur; do
		touch -d '2001-01-01' "$MAIL/$folder"
		indexed
		: | arrive "$folder/7.x"
		touch -d '2001-01-01' "$MAIL/$folder"
		right
		indexed
		rm "$MAIL/$folder/7.x"
		touch -d '2001-01-01' "$MAIL/$folder"
		right
	done
}

@test "DESIGN 6: times in the future hide no change" {
	local folder

	fill 12
	touch -d '+1 hour' "$MAIL/new/1001.M" "$MAIL/cur/1002.M:2,"
	indexed
	for folder in new cur; do
		touch -d '2037-01-01' "$MAIL/$folder"
		right
		right
		: | arrive "$folder/7.x"
		right
		touch -d '2037-01-01' "$MAIL/$folder"
		indexed
		rm "$MAIL/$folder/7.x"
		touch -d '2037-01-01' "$MAIL/$folder"
		right
		right
		touch -d '1969-01-01' "$MAIL/$folder"
		right
	done
}

@test "DESIGN 6: an index listed in the future is not believed" {
	fill 6
	oracle lying "$MAIL" future
	right
}

@test "DESIGN 6: where a directory time lies in the future, gone is gone" {
	fill 12
	touch -d '+1 hour' "$MAIL/new" "$MAIL/cur"
	open_session
	rm "$MAIL/new/1001.M" "$MAIL/new/1003.M"
	touch -d '+1 hour' "$MAIL/new"
	ask 'RETR 2'
	echo "$REPLY"
	[[ $REPLY == '-ERR message is gone'* ]]
	ask 'DELE 4'
	ask QUIT
	echo "$REPLY"
	[[ $REPLY == '+OK'* ]]
	end_session
}

@test "DESIGN 6: a listing of a directory changed 2 s ago or less is not kept" {
	local begin

	need_traced
	fill 10
	# Again, should the machine have stood still for so long.
	for _ in {1..10}; do
		begin=$EPOCHREALTIME
		: | arrive new/7.x
		touch "$MAIL/cur"
		printf 'STAT\nQUIT\n' | session >/dev/null
		printf 'STAT\nQUIT\n' | traced >/dev/null
		((${EPOCHREALTIME/[.,]/} - ${begin/[.,]/} > 1900000)) || break
	done
	listings | grep '"new"'
	listings | grep '"cur"'
	# Nor once the two seconds are over, if it was made before that.
	settle
	printf 'STAT\nQUIT\n' | traced >/dev/null
	listings | grep '"new"'
	printf 'STAT\nQUIT\n' | traced >/dev/null
	not listings
}

@test "DESIGN 6: changes in the same tick as an index write are all shown" {
	oracle ticks "$MAIL"
}

@test "DESIGN 6: a name in new and in cur is the same one, indexed or not" {
	local state

	for state in without with; do
		fill 6
		printf 'cur: c\n\nlonger, and seen\n' | arrive cur/7.x:2,S
		[ "$state" = without ] || indexed
		printf 'new: n\n\nn\n' | arrive new/7.x
		printf 'LIST 1\nUIDL 1\nLAST\nRETR 1\n' | session -P \
		    >"$BATS_TEST_TMPDIR/$state"
		right
		settle
		right
		right
		rm -r "$MAIL"
	done
	same "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/with"
}

@test "DESIGN 6: of two files of one name, each has its own size" {
	fill 6
	printf 'cur: c\n\nlonger, and seen\n' | arrive cur/7.x:2,S
	printf 'new: n\n\nn\n' | arrive new/7.x
	indexed
	rm "$MAIL/cur/7.x:2,S"
	right
	printf 'cur: c\n\nlonger, and seen\n' | arrive cur/7.x:2,S
	indexed
	rm "$MAIL/new/7.x"
	right
	# The session's own deletion brings the other up.
	printf 'new: n\n\nn\n' | arrive new/7.x
	right
	printf 'DELE 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	right
	[ -e "$MAIL/new/7.x" ]
}

@test "DESIGN 6: links of one message go with it, with a fresh index" {
	fill 6
	ln "$MAIL/new/1001.M" "$MAIL/cur/1001.M:2,S"
	ln "$MAIL/cur/1002.M:2," "$MAIL/cur/1002.M:2,F"
	indexed
	printf 'DELE 2\nDELE 3\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	not grep -E '100[12]\.M' <(mail_files)
	right
	# One that came after the index was made.
	indexed
	ln "$MAIL/new/1003.M" "$MAIL/cur/1003.M:2,S"
	printf 'DELE 2\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	not grep 1003 <(mail_files)
	right
}

@test "DESIGN 6: the size of a message that could not be read is not kept" {
	fill 3
	chmod 000 "$MAIL/new/1001.M"
	settle
	printf 'STAT\nLIST 2\n' | session | tail -n 1 | expect '+OK 2 9'
	chmod 600 "$MAIL/new/1001.M"
	right
}

@test "DESIGN 6: a message edited in place is counted anew at RETR, for good" {
	fill 3
	indexed
	printf 'A: b\n\nedited in place, which is against the rules\n' |
	    arrive new/1001.M
	printf 'RETR 2\nQUIT\n' | session -P >/dev/null
	right
	logged 'what="message has changed"'
	printf 'A: b\n\nedited once more\n' | arrive new/1001.M
	printf 'TOP 2 0\nRETR 2\nQUIT\n' | session -P >/dev/null
	right
}

@test "DESIGN 6: an index that has another link elsewhere is left alone there" {
	fill 40
	indexed
	cp -al "$MAIL" "$HOME_DIR/copy"
	cp "$MAIL/pop3d.index" "$BATS_TEST_TMPDIR/index"
	ln "$MAIL/new/1001.M" "$MAIL/new/7.x"
	right
	cmp "$BATS_TEST_TMPDIR/index" "$HOME_DIR/copy/pop3d.index"
	right "$HOME_DIR/copy" "$MAIL"
	indexed "$HOME_DIR/copy" "$MAIL"
}
