#!/usr/bin/env bats
# What is a message, in which order, and which unique-id it has.

load helper

setup() {
	pop3d_setup
}

teardown() {
	pop3d_teardown
}

# add PATH ...: messages whose text is of no matter.
add() {
	local path

	for path; do
		printf 'A: b\n\n%s\n' "$path" >"$MAIL/$path"
	done
	own
}

# uids [OPTION ...]: the unique-ids, one a line, in the messages' order.
uids() {
	printf 'UIDL\nQUIT\n' | session "$@" |
	    sed -n '/^+OK unique/,/^\.$/p' | sed '1d;$d;s/^[0-9]* //'
}

# refused: login is refused as permanent trouble, and the log names the path.
refused() {
	printf 'STAT\n' | session "$@" | brief | expect '-ERR [SYS/PERM]'
	logged "event=error .*path=${LOGGED:-Maildir}"
}

@test "DESIGN 6: order is by delivery time, then by name" {
	add new/1700000010.M2.host new/1700000010.M1.host \
	    cur/1700000009.M9.host:2,S cur/999999999.M3.host:2, \
	    new/1700000010.M10.host new/17000000100.M0.host new/2.a \
	    cur/10.a:2,F
	uids | expect '2.a
10.a
999999999.M3.host
1700000009.M9.host
1700000010.M1.host
1700000010.M10.host
1700000010.M2.host
17000000100.M0.host'
}

@test "DESIGN 6: order of names without a time, with zeros, of huge times" {
	add new/a new/b cur/0000000005.x:2, new/5.y new/4.z \
	    new/99999999999999999999999.a new/99999999999999999999998.b
	uids | expect 'a
b
4.z
0000000005.x
5.y
99999999999999999999998.b
99999999999999999999999.a'
}

@test "DESIGN 6: flags and directory have no part in the order" {
	add cur/1.b:2,S new/1.c cur/1.a:2,T cur/1.d:2,
	uids | expect '1.a
1.b
1.c
1.d'
}

@test "DESIGN 6: the order of 3 000 messages is the same each time" {
	local i

	for ((i = 0; i < 3000; i++)); do
		: >"$MAIL/new/$((1700000000 + (i * 7919) % 1000)).M$i.host"
	done
	own
	uids >"$BATS_TEST_TMPDIR/first"
	LC_ALL=C sort "$BATS_TEST_TMPDIR/first" >"$BATS_TEST_TMPDIR/sorted"
	same "$BATS_TEST_TMPDIR/sorted" "$BATS_TEST_TMPDIR/first"
}

@test "DESIGN 6: names that start with a dot are no messages" {
	add new/1.a new/.hidden cur/.2.b:2,S
	mkdir "$MAIL/cur/.folder"
	uids | expect 1.a
}

@test "DESIGN 6: links, directories, FIFOs and sockets are no messages" {
	add new/1.a
	ln -s 1.a "$MAIL/new/2.link"
	ln -s /etc/passwd "$MAIL/cur/3.link:2,S"
	ln -s nowhere "$MAIL/new/4.dangling"
	mkdir "$MAIL/new/5.directory" "$MAIL/cur/6.directory:2,"
	mkfifo "$MAIL/new/7.fifo" "$MAIL/cur/8.fifo:2,S"
	python3 -c 'import os, socket, sys
os.chdir(sys.argv[1])
socket.socket(socket.AF_UNIX).bind("9.socket")' "$MAIL/new"
	own
	[ -S "$MAIL/new/9.socket" ]
	uids | expect 1.a
}

@test "DESIGN 6: devices are no messages" {
	need_root "to make a device"
	add new/1.a
	mknod "$MAIL/new/2.null" c 1 3 || skip "no devices can be made here"
	own
	uids | expect 1.a
}

@test "DESIGN 6: a message that turns into a link is not followed" {
	add new/1.a
	printf 'secret\n' >"$HOME_DIR/secret"
	own
	open_session
	rm "$MAIL/new/1.a"
	ln -s "$HOME_DIR/secret" "$MAIL/new/1.a"
	ask 'RETR 1'
	[[ $REPLY == -ERR* ]]
	ask 'TOP 1 9'
	[[ $REPLY == -ERR* ]]
	ask NOOP
	[[ $REPLY == +OK* ]]
	end_session
}

@test "DESIGN 6: a message that turns into a FIFO does not stop the session" {
	add new/1.a
	open_session
	rm "$MAIL/new/1.a"
	mkfifo "$MAIL/new/1.a"
	own
	ask 'LIST 1'
	ask 'RETR 1'
	[[ $REPLY == -ERR* ]]
	ask NOOP
	[[ $REPLY == +OK* ]]
	end_session
}

@test "DESIGN 6: tmp is not needed, and never touched" {
	add new/1.a tmp/2.b
	touch -d '2001-01-01' "$MAIL/tmp/2.b" "$MAIL/tmp"
	chmod 000 "$MAIL/tmp"
	printf 'RETR 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	chmod 700 "$MAIL/tmp"
	[ "$(stat -c %y "$MAIL/tmp" | cut -d ' ' -f 1)" = 2001-01-01 ]
	[ -e "$MAIL/tmp/2.b" ]
	rm -r "$MAIL/tmp"
	uids | expect 1.a
	[ ! -e "$MAIL/tmp" ]
}

@test "RFC 1939 7: the unique-id is the name up to the colon" {
	add new/1.a cur/2.b:2,S cur/3.c:1,x cur/4.d: cur/5.e:2,a:b
	uids | expect '1.a
2.b
3.c
4.d
5.e'
}

# FNV-1a of 128 bits of each line of input, computed in Python.
fnv() {
	python3 -c 'import sys
for name in sys.stdin.buffer.read().split(b"\n")[:-1]:
    value = 0x6c62272e07bb014262b821756295c58d
    for octet in name:
        value = (value ^ octet) * 0x1000000000000000000013b % 2**128
    print("%032x" % value)'
}

@test "RFC 1939 7: a name of 70 octets is its unique-id, one of 71 its hash" {
	local name

	name=1700000001.$(printf 'x%.0s' {1..59})
	[ ${#name} = 70 ]
	add "new/$name" "new/${name}y" "cur/${name}yz:2,S"
	{
		echo "$name"
		printf '%s\n' "${name}y" "${name}yz" | fnv
	} >"$BATS_TEST_TMPDIR/expected"
	uids >"$BATS_TEST_TMPDIR/got"
	same "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
}

@test "RFC 1939 7: a name of odd octets has 32 hexadecimal digits" {
	local name names=('1.a b' $'2.\303\244' $'3.\001' $'4.\177' $'5.\377'
	    $'6.\n7' $'8.\t')

	for name in "${names[@]}"; do
		add "new/$name"
	done
	for name in "${names[@]}"; do
		printf %s "$name" | python3 -c 'import sys
value = 0x6c62272e07bb014262b821756295c58d
for octet in sys.stdin.buffer.read():
    value = (value ^ octet) * 0x1000000000000000000013b % 2**128
print("%032x" % value)'
	done >"$BATS_TEST_TMPDIR/expected"
	uids >"$BATS_TEST_TMPDIR/got"
	same "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
	[ "$(sort -u "$BATS_TEST_TMPDIR/got" | grep -cxE '[0-9a-f]{32}')" = 7 ]
}

@test "RFC 1939 7: the octets 0x21 and 0x7e are good, and so is all between" {
	local all

	all=$(printf '%b' "$(printf '\\0%o' {33..46} {48..57} {59..90})")
	add "new/1$all" 'new/2[\]^_`abcxyz{|}~'
	uids | expect "1$all
"'2[\]^_`abcxyz{|}~'
}

@test "RFC 1939 7: names of 255 octets are served" {
	local name

	name=$(printf 'n%.0s' {1..255})
	add "new/$name"
	uids >"$BATS_TEST_TMPDIR/got"
	echo "$name" | fnv >"$BATS_TEST_TMPDIR/expected"
	same "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
	printf 'RETR 1\nDELE 1\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	[ -z "$(mail_files)" ]
}

@test "RFC 1939 7: unique-ids stay when flags change, or new becomes cur" {
	local odd

	odd=$(printf '2.x%.0s' {1..40})
	add new/1.a "new/$odd"
	uids >"$BATS_TEST_TMPDIR/first"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/first")" = 2 ]
	mv "$MAIL/new/1.a" "$MAIL/cur/1.a:2,"
	mv "$MAIL/new/$odd" "$MAIL/cur/$odd:2,RS"
	uids >"$BATS_TEST_TMPDIR/second"
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
	mv "$MAIL/cur/1.a:2," "$MAIL/cur/1.a:2,FST"
	mv "$MAIL/cur/$odd:2,RS" "$MAIL/cur/$odd"
	uids >"$BATS_TEST_TMPDIR/third"
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/third"
}

@test "RFC 1939 7: unique-ids stay when the session itself marks them seen" {
	add new/1.a new/2.b
	uids >"$BATS_TEST_TMPDIR/first"
	printf 'RETR 1\nRETR 2\nQUIT\n' | session >/dev/null
	[ "$(mail_files)" = "cur/1.a:2,S
cur/2.b:2,S" ]
	uids >"$BATS_TEST_TMPDIR/second"
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
}

@test "RFC 1939 7: unique-ids stay after a session that does not reach UPDATE" {
	local long

	long=$(printf '2.x%.0s' {1..40})
	add new/1.a "new/$long"
	printf 'UIDL\nRETR 1\nDELE 2\n' | session | sed -n 's/^[12] //p' \
	    >"$BATS_TEST_TMPDIR/first"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/first")" = 2 ]
	uids >"$BATS_TEST_TMPDIR/second"
	same "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
}

# uidl_file: standard input becomes pop3d.uidl.
uidl_file() {
	cat >"$MAIL/pop3d.uidl"
	own
}

@test "DESIGN 6: pop3d.uidl wins over the name" {
	add new/1.a cur/2.b:2,S new/3.c 'new/4.d e'
	uidl_file <<'U'
3.c UID-3
1.a 0000000142e1d7aa
4.d e with-a-blank
2.b:2,RS old:2
gone never
U
	uids | expect '0000000142e1d7aa
old:2
UID-3
with-a-blank'
	printf 'UIDL 3\n' | session | tail -n 1 | expect '+OK 3 UID-3'
	not grep event=error "$LOG"
}

@test "DESIGN 6: invalid lines of pop3d.uidl are ignored and logged" {
	local long

	add new/1.a new/2.b new/3.c new/4.d new/5.e new/6.f new/7.g
	long=$(printf 'x%.0s' {1..71})
	uidl_file <<U
1.a
2.b $long
3.c $(printf 'u\303\274')
 leading
4.d $(printf 'tab\tbed')
5.e crlf$(printf '\r')

6.f ${long:1}
7.g good
U
	uids | expect "1.a
2.b
3.c
4.d
5.e
${long:1}
good"
	[ "$(grep -c 'event=error .*path=pop3d.uidl' "$LOG")" = 6 ]
	not grep -qP '[^ -~]' "$LOG"
}

@test "DESIGN 6: of names given twice in pop3d.uidl the first counts, logged" {
	add new/1.a new/2.b
	printf '%s\n' '1.a first' '2.b other' '1.a second' | uidl_file
	uids | expect 'first
other'
	logged 'what="given twice" path=pop3d.uidl entry=1.a'
}

@test "DESIGN 6: no two messages get one unique-id from pop3d.uidl, logged" {
	add new/1.a new/2.b
	printf '%s\n' '2.b one' '1.a one' | uidl_file
	uids | expect '1.a
one'
	logged 'what="given twice" path=pop3d.uidl entry=one'
}

@test "DESIGN 6: a unique-id that another message's name is, is not taken" {
	add new/1.a new/2.b
	printf '%s\n' '1.a 2.b' | uidl_file
	uids | expect '1.a
2.b'
	logged 'what="the unique-id of another message" path=pop3d.uidl'
}

@test "DESIGN 6: a unique-id that another message's hash is, is not taken" {
	local hash

	add new/1.a 'new/2.b c'
	hash=$(echo '2.b c' | fnv)
	echo "1.a $hash" | uidl_file
	uids | expect "1.a
$hash"
}

@test "DESIGN 6: a unique-id that no other message has may have a colon" {
	add new/1.a new/2.b
	echo '1.a 2.b:x' | uidl_file
	uids | expect '2.b:x
2.b'
}

@test "DESIGN 6: a NUL in pop3d.uidl hides no line behind it" {
	add new/1.a new/2.b new/3.c
	printf '1.a one\n2.b t\0wo\n3.c three\n' | uidl_file
	uids | expect 'one
2.b
three'
	logged 'path=pop3d.uidl'
}

@test "DESIGN 6: a pop3d.uidl without a last newline, empty, or a link" {
	add new/1.a
	printf '1.a one' | uidl_file
	uids | expect one
	: | uidl_file
	uids | expect 1.a
	not grep event=error "$LOG"
	echo '1.a linked' >"$MAIL/elsewhere"
	ln -sf elsewhere "$MAIL/pop3d.uidl"
	own
	uids | expect 1.a
	logged 'path=pop3d.uidl'
}

@test "DESIGN 6: a pop3d.uidl that is a directory, a FIFO, or unreadable" {
	add new/1.a
	mkdir "$MAIL/pop3d.uidl"
	own
	uids | expect 1.a
	rmdir "$MAIL/pop3d.uidl"
	mkfifo "$MAIL/pop3d.uidl"
	own
	uids | expect 1.a
	rm "$MAIL/pop3d.uidl"
	echo '1.a one' | uidl_file
	chmod 000 "$MAIL/pop3d.uidl"
	uids | expect 1.a
	[ "$(grep -c 'event=error .*path=pop3d.uidl' "$LOG")" = 3 ]
}

@test "DESIGN 6: duplicates of one name are one message" {
	add new/1.a cur/2.b:2,S
	ln "$MAIL/new/1.a" "$MAIL/cur/1.a:2,S"
	ln "$MAIL/cur/2.b:2,S" "$MAIL/cur/2.b:2,RS"
	uids | expect '1.a
2.b'
}

@test "DESIGN 6: deleting it removes the other names of the same file" {
	add new/1.a cur/2.b:2,S
	ln "$MAIL/new/1.a" "$MAIL/cur/1.a:2,S"
	ln "$MAIL/new/1.a" "$MAIL/cur/1.a:2,"
	printf 'DELE 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	[ "$(mail_files)" = cur/2.b:2,S ]
}

@test "DESIGN 6: another file of that name comes up in the next session" {
	add new/1.a cur/1.a:2,S
	printf 'LIST\nRETR 1\nDELE 1\nQUIT\n' | session |
	    tail -n 1 | expect '+OK good bye'
	[ "$(mail_files | wc -l)" = 1 ]
	printf 'UIDL\nDELE 1\nQUIT\n' | session | expect '+OK 1 messages
+OK unique-ids follow
1 1.a
.
+OK message 1 deleted
+OK good bye'
	[ -z "$(mail_files)" ]
}

@test "DESIGN 6: a link made to a message in mid-session goes with it" {
	add new/1.a
	open_session
	ln "$MAIL/new/1.a" "$MAIL/cur/1.a:2,S"
	rm "$MAIL/new/1.a"
	ln "$MAIL/cur/1.a:2,S" "$MAIL/cur/1.a:2,"
	ask 'DELE 1'
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	[ -z "$(mail_files)" ]
}

@test "DESIGN 6: a message with the T flag is listed like any other" {
	add cur/1.a:2,T cur/2.b:2,ST new/3.c
	uids | expect '1.a
2.b
3.c'
}

@test "DESIGN 6: a missing Maildir is SYS/PERM and the log names it" {
	rm -r "$MAIL"
	refused
	LOGGED="$HOME_DIR/none" refused "$HOME_DIR/none"
	LOGGED=other refused -m other
}

@test "DESIGN 6: a missing new is SYS/PERM and the log names the path" {
	rm -r "$MAIL/new"
	refused
}

@test "DESIGN 6: a missing cur is SYS/PERM and the log names the path" {
	rm -r "$MAIL/cur"
	refused
}

@test "DESIGN 6: a Maildir, or new, that is a file is SYS/PERM" {
	rm -r "$MAIL/new"
	: >"$MAIL/new"
	own
	refused
	rm -r "$MAIL"
	: >"$MAIL"
	own
	refused
}

@test "DESIGN 6: a new that is a link is SYS/PERM" {
	mkdir "$HOME_DIR/elsewhere"
	rmdir "$MAIL/new"
	ln -s ../elsewhere "$MAIL/new"
	own
	refused
}

@test "issue 2: an unreadable Maildir, new or cur is SYS/PERM" {
	local path

	add new/1.a
	for path in "$MAIL" "$MAIL/new" "$MAIL/cur"; do
		chmod 000 "$path"
		refused
		chmod 700 "$path"
		: >"$LOG"
	done
	uids | expect 1.a
}

@test "issue 2: over a whole pop3d the missing Maildir answers PASS" {
	rm -r "$MAIL"
	printf 'USER joe\nPASS secret\nSTAT\n' | whole | brief | tail -n 1 |
	    expect '-ERR [SYS/PERM]'
	logged 'event=error user=joe .*path=Maildir'
}

@test "DESIGN 3: a Maildir that is a link to a directory works" {
	add new/1.a new/2.b
	mv "$MAIL" "$HOME_DIR/real"
	ln -s real "$MAIL"
	own
	printf 'RETR 1\nDELE 2\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	[ "$(ls "$HOME_DIR/real/cur")" = 1.a:2,S ]
	[ -z "$(ls "$HOME_DIR/real/new")" ]
}

@test "DESIGN 3: the argument, -m, and MAILDIR say which Maildir it is" {
	local name

	for name in one two three; do
		mkdir -p "$HOME_DIR/$name/new" "$HOME_DIR/$name/cur"
		: >"$HOME_DIR/$name/new/$name"
	done
	own
	uids one | expect one
	uids -m two | expect two
	uids -m "$HOME_DIR/two" | expect two
	MAILDIR=three uids | expect three
	MAILDIR=three uids -m two | expect two
	[ -z "$(MAILDIR='' uids)" ]
}

@test "DESIGN 2: a mailbox of root is refused" {
	need_root "to run a session as root"
	add new/1.a
	(cd "$HOME_DIR" && printf 'UIDL\nQUIT\n' |
	    HOME=$HOME_DIR "$POP3D_BIN/pop3d" -t 2>>"$LOG" | tr -d '\r') |
	    brief | expect '-ERR [SYS/PERM]'
	logged 'event=error'
	[ "$(mail_files)" = new/1.a ]
}
