#!/usr/bin/env bats
# The UPDATE state: what QUIT does, what nothing else does, and what other
# programs may do to the maildrop meanwhile.

load helper

setup() {
	pop3d_setup
}

teardown() {
	pop3d_teardown
}

# add PATH ...: messages of 8 octets ("A: b", an empty line, "xx").
add() {
	local path

	for path; do
		printf 'A: b\n\nxx' >"$MAIL/$path"
	done
	own
}

# files [PATH ...]: these are all that is in new and cur.
files() {
	local path

	for path; do
		echo "$path"
	done | LC_ALL=C sort >"$BATS_TEST_TMPDIR/want"
	mail_files >"$BATS_TEST_TMPDIR/have"
	same "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have"
}

# retrieve PATH PATH-AFTER: RETR and QUIT turn the one into the other.
retrieve() {
	add "$1"
	printf 'RETR 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	files "$2"
	[ "$(cat "$MAIL/$2")" = "$(printf 'A: b\n\nxx')" ]
	rm "$MAIL/$2"
}

@test "RFC 1939 6: QUIT removes what was deleted, and nothing else" {
	add new/1.a cur/2.b:2,S new/3.c
	printf 'DELE 1\nDELE 2\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	files new/3.c
	logged 'event=end user=joe .*deleted=2 left=1 .*reason=quit'
}

@test "RFC 1939 6: a client that goes away without QUIT deletes nothing" {
	add new/1.a cur/2.b:2,S
	printf 'RETR 1\nDELE 1\nDELE 2\n' | session >/dev/null
	files new/1.a cur/2.b:2,S
	logged 'event=end user=joe .*deleted=0 left=2 .*reason=disconnect'
}

@test "RFC 1939 6: one that goes away in mid-session deletes nothing" {
	add new/1.a
	open_session
	ask 'DELE 1'
	end_session
	files new/1.a
	logged 'event=end .*reason=disconnect'
}

@test "RFC 1939 3: a time-out deletes nothing, and no word is said" {
	add new/1.a cur/2.b:2,S
	open_session -T 1
	ask 'RETR 2'
	rest >/dev/null
	ask 'DELE 1'
	[ "$REPLY" = '+OK message 1 deleted' ]
	[ -z "$(timeout 30 cat <&"$FROM")" ]
	end_session
	files new/1.a cur/2.b:2,S
	logged 'event=end .*deleted=0 left=2 .*reason=timeout'
}

@test "RFC 1939 3: without -T a session waits ten minutes for a command" {
	need_strace
	printf 'NOOP\r\n' | as_user strace -qq -e trace=poll -o .polls \
	    "$POP3D_BIN/pop3d" -t >/dev/null 2>>"$LOG"
	# For two lines and two answers; where it may not look, strace does not
	# say which.
	grep -cE '^poll\(.*, 1, (59[0-9]{4}|600000)\)' "$HOME_DIR/.polls" |
	    expect 4
}

@test "DESIGN 3: half a line does not put the time-out off" {
	add new/1.a
	open_session -T 1
	ask 'DELE 1'
	# An octet now and then, for longer than the time-out.
	while printf Q >&"$TO" && kill -0 "$SESSION" 2>/dev/null &&
	    ((SECONDS < 15)); do
		sleep 0.1
	done
	((SECONDS < 15))
	end_session
	files new/1.a
	logged 'event=end .*reason=timeout'
}

@test "issue 2: kill -9 deletes nothing" {
	add new/1.a cur/2.b:2,S
	open_session
	ask 'RETR 1'
	rest >/dev/null
	ask 'DELE 1'
	ask 'DELE 2'
	[ "$REPLY" = '+OK message 2 deleted' ]
	kill -9 "$SESSION"
	end_session
	files new/1.a cur/2.b:2,S
}

@test "RFC 1939 5: RSET before QUIT deletes nothing" {
	add new/1.a cur/2.b:2,S
	printf 'DELE 1\nDELE 2\nRSET\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	files new/1.a cur/2.b:2,S
}

@test "RFC 1939 6: half a QUIT, without its LF, deletes nothing" {
	local half

	add new/1.a
	for half in Q QUI QUIT 'QUIT ' 'QUIT\r'; do
		printf %b "DELE 1\\r\\n$half" | raw_session >/dev/null
		files new/1.a
	done
}

@test "RFC 1939 6: a mis-stated QUIT deletes nothing" {
	add new/1.a
	printf 'DELE 1\nQUIT 1\nQUITS\nQ\n' | session >/dev/null
	files new/1.a
}

@test "RFC 1939 6: QUIT removes though the client waits for no answer" {
	add new/1.a
	open_session
	ask 'DELE 1'
	printf 'QUIT\r\n' >&"$TO"
	end_session
	files
	logged 'event=end .*deleted=1 .*reason=quit'
}

@test "DESIGN 6: what could not be sent is not removed by a QUIT behind it" {
	add new/1.a
	open_session
	exec {FROM}<&-
	# All at once: bash would write line by line.
	printf 'RETR 1\r\nDELE 1\r\nQUIT\r\n' >"$BATS_TEST_TMPDIR/script"
	cat "$BATS_TEST_TMPDIR/script" >&"$TO"
	exec {TO}>&-
	wait "$PARENT" || :
	files new/1.a
	logged 'event=end .*deleted=0 .*reason=disconnect'
}

@test "RFC 1939 6: what follows QUIT is not run" {
	add new/1.a new/2.b
	printf 'DELE 1\nQUIT\nDELE 2\nQUIT\n' | session >"$BATS_TEST_TMPDIR/out"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 3 ]
	files new/2.b
}

@test "DESIGN 6: messages retrieved move to cur with the S flag" {
	retrieve new/1.a cur/1.a:2,S
	retrieve cur/1.a cur/1.a:2,S
	retrieve cur/1.a:2, cur/1.a:2,S
	retrieve new/1.a:2, cur/1.a:2,S
}

@test "DESIGN 6: the S flag stands in its order among the others" {
	local before after

	while read -r before after; do
		retrieve "cur/1.a:2,$before" "cur/1.a:2,$after"
		retrieve "new/1.a:2,$before" "cur/1.a:2,$after"
	done <<'FLAGS'
P PS
R RS
F FS
D DS
T ST
PR PRS
FT FST
DFPRT DFPRST
RT RST
a Sa
Fab FSab
FLAGS
}

@test "DESIGN 6: a message that has the S flag stays as it is" {
	retrieve cur/1.a:2,S cur/1.a:2,S
	retrieve cur/1.a:2,FRS cur/1.a:2,FRS
	retrieve new/1.a:2,S cur/1.a:2,S
	retrieve cur/1.a:2,SR cur/1.a:2,SR
}

@test "DESIGN 6: a name with other information than flags is only moved" {
	retrieve new/1.a:1,x cur/1.a:1,x
	retrieve cur/1.a:1,x cur/1.a:1,x
	retrieve new/1.a: cur/1.a:
	retrieve new/1.a:3,S cur/1.a:3,S
}

@test "DESIGN 6: messages not retrieved stay where they are" {
	add new/1.a new/2.b new/3.c
	printf 'LIST\nUIDL\nSTAT\nTOP 1 99\nRETR 2\nQUIT\n' | session >/dev/null
	files new/1.a cur/2.b:2,S new/3.c
}

@test "DESIGN 6: a message retrieved is marked after RSET, too" {
	add new/1.a
	printf 'RETR 1\nDELE 1\nRSET\nQUIT\n' | session >/dev/null
	files cur/1.a:2,S
}

@test "DESIGN 6: nothing is marked but by QUIT" {
	add new/1.a
	printf 'RETR 1\n' | session >/dev/null
	files new/1.a
	open_session
	ask 'RETR 1'
	rest >/dev/null
	kill -9 "$SESSION"
	end_session
	files new/1.a
}

@test "DESIGN 3: -P never changes flags, and deletes all the same" {
	add new/1.a cur/2.b:2,F new/3.c
	printf 'RETR 1\nRETR 2\nRETR 3\nDELE 3\nQUIT\n' | session -P |
	    tail -n 1 | expect '+OK good bye'
	files new/1.a cur/2.b:2,F
}

@test "DESIGN 6: a message of 255 octets' name is not lost when it is marked" {
	local name

	name=$(printf 'n%.0s' {1..255})
	add "new/$name"
	printf 'RETR 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	files "new/$name"
	logged 'event=error'
}

@test "DESIGN 6: a message that another program deleted is no error at QUIT" {
	add new/1.a new/2.b
	open_session
	ask 'DELE 1'
	rm "$MAIL/new/1.a"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files new/2.b
}

@test "DESIGN 6: one retrieved and then deleted by others is no error, either" {
	add new/1.a new/2.b
	open_session
	ask 'RETR 1'
	rest >/dev/null
	rm "$MAIL/new/1.a"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files new/2.b
}

@test "RFC 1939 6: a deletion that fails is -ERR, the others are done" {
	add new/1.a cur/2.b:2,S new/3.c cur/4.d:2,
	chmod a-w "$MAIL/new"
	printf 'DELE 1\nDELE 2\nDELE 3\nDELE 4\nQUIT\n' | session | brief |
	    tail -n 1 >"$BATS_TEST_TMPDIR/last"
	chmod u+w "$MAIL/new"
	grep -q '^-ERR \[SYS/' "$BATS_TEST_TMPDIR/last"
	files new/1.a new/3.c
	logged 'event=error .*path=1.a'
	logged 'event=error .*path=3.c'
	logged 'event=end .*deleted=2 left=2 .*reason=quit'
}

@test "RFC 1939 6: a QUIT that is -ERR frees the maildrop and closes the connection, too" {
	add new/1.a
	open_session
	ask 'DELE 1'
	chmod a-w "$MAIL/new"
	ask QUIT
	chmod u+w "$MAIL/new"
	[[ $REPLY == '-ERR [SYS/'* ]]
	printf 'QUIT\n' | session | head -n 1 | expect '+OK 1 messages'
	[ -z "$(timeout 30 cat <&"$FROM")" ]
	end_session
}

@test "RFC 1939 6: an immutable message is -ERR, the others are removed" {
	need_root "for chattr"
	add new/1.a new/2.b
	chattr +i "$MAIL/new/1.a" 2>/dev/null ||
	    skip "no immutable files on this file system"
	printf 'DELE 1\nDELE 2\nQUIT\n' | session | brief | tail -n 1 \
	    >"$BATS_TEST_TMPDIR/last"
	chattr -i "$MAIL/new/1.a"
	grep -q '^-ERR \[SYS/' "$BATS_TEST_TMPDIR/last"
	files new/1.a
}

@test "DESIGN 6: a flag change that fails is only logged" {
	add new/1.a
	chmod a-w "$MAIL/cur"
	printf 'RETR 1\nQUIT\n' | session | tail -n 1 >"$BATS_TEST_TMPDIR/last"
	chmod u+w "$MAIL/cur"
	grep -q '^+OK' "$BATS_TEST_TMPDIR/last"
	files new/1.a
	logged 'event=error .*path=1.a'
}

@test "DESIGN 6: marking a message never overwrites another file" {
	add new/1.a
	open_session
	ask 'RETR 1'
	rest >/dev/null
	echo other >"$MAIL/cur/1.a:2,S"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files new/1.a cur/1.a:2,S
	[ "$(cat "$MAIL/cur/1.a:2,S")" = other ]
}

@test "DESIGN 6: nor does it where the kernel has no such rename" {
	need_tracer inject=renameat2:error=ENOSYS
	add new/1.a new/2.b
	open_session
	ask 'RETR 1'
	rest >/dev/null
	ask 'RETR 2'
	rest >/dev/null
	echo other >"$MAIL/cur/2.b:2,S"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files cur/1.a:2,S new/2.b cur/2.b:2,S
	[ "$(cat "$MAIL/cur/2.b:2,S")" = other ]
}

# quota CONTENT: the maildirsize file.
quota() {
	printf '10000S,100C\n%s' "$1" >"$MAIL/maildirsize"
	own
}

@test "DESIGN 6: maildirsize gets one line for all that was removed" {
	add new/1.a cur/2.b:2,S new/3.c
	printf 'some more\n' >>"$MAIL/new/3.c"
	quota $'34 3\n'
	printf 'DELE 1\nDELE 3\nQUIT\n' | session | tail -n 1 |
	    expect '+OK good bye'
	expect '10000S,100C
34 3
-26 -2' <"$MAIL/maildirsize"
}

@test "DESIGN 6: maildirsize does not count messages with the T flag" {
	add cur/1.a:2,T cur/2.b:2,ST cur/3.c:2,S
	quota $'8 1\n'
	printf 'DELE 1\nDELE 2\nDELE 3\nQUIT\n' | session >/dev/null
	expect '10000S,100C
8 1
-8 -1' <"$MAIL/maildirsize"
	add cur/1.a:2,T
	quota ''
	printf 'DELE 1\nQUIT\n' | session >/dev/null
	expect 10000S,100C <"$MAIL/maildirsize"
}

@test "DESIGN 6: maildirsize counts no message that others removed" {
	add new/1.a new/2.b
	quota $'16 2\n'
	open_session
	ask 'DELE 1'
	ask 'DELE 2'
	rm "$MAIL/new/1.a"
	ask QUIT
	end_session
	expect '10000S,100C
16 2
-8 -1' <"$MAIL/maildirsize"
}

@test "DESIGN 6: maildirsize stays as it is where nothing was removed" {
	add new/1.a
	quota $'8 1\n'
	printf 'RETR 1\nQUIT\n' | session >/dev/null
	printf 'DELE 1\n' | session >/dev/null
	expect '10000S,100C
8 1' <"$MAIL/maildirsize"
}

@test "DESIGN 6: a maildirsize that is absent is not made" {
	add new/1.a
	printf 'DELE 1\nQUIT\n' | session >/dev/null
	[ ! -e "$MAIL/maildirsize" ]
	not grep event=error "$LOG"
}

@test "DESIGN 6: a maildirsize that is a link or a FIFO is left alone" {
	add new/1.a new/2.b
	echo mine >"$HOME_DIR/other"
	ln -s ../other "$MAIL/maildirsize"
	own
	printf 'DELE 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	expect mine <"$HOME_DIR/other"
	logged 'event=error .*path=maildirsize'
	rm "$MAIL/maildirsize"
	mkfifo "$MAIL/maildirsize"
	own
	printf 'DELE 1\nQUIT\n' | session | tail -n 1 | expect '+OK good bye'
	files
}

@test "DESIGN 6: mail that is delivered in mid-session waits for the next" {
	add new/2.b
	open_session
	ask STAT
	[[ $REPLY == '+OK 1 '* ]]
	add new/1.a new/3.c
	ask STAT
	[[ $REPLY == '+OK 1 '* ]]
	ask UIDL
	rest | expect '1 2.b'
	ask 'RETR 2'
	[[ $REPLY == -ERR* ]]
	ask RSET
	ask 'UIDL 1'
	[ "$REPLY" = '+OK 1 2.b' ]
	ask 'DELE 1'
	ask QUIT
	end_session
	files new/1.a new/3.c
	printf 'UIDL\n' | session | sed -n '3,4p' | expect '1 1.a
2 3.c'
}

# renamed COMMAND: COMMAND finds message 1 that another program has moved and
# flagged since; and so once more.
renamed() {
	add new/1.a new/2.b
	open_session
	mv "$MAIL/new/1.a" "$MAIL/cur/1.a:2,"
	ask "$1"
	[[ $REPLY == +OK* ]]
	[[ $1 == DELE* ]] || rest | expect 'A: b

xx'
	ask RSET
	mv "$MAIL/cur/1.a:2," "$MAIL/cur/1.a:2,FR"
	ask "$1"
	[[ $REPLY == +OK* ]]
}

@test "DESIGN 6: RETR of a message that was renamed finds it" {
	renamed 'RETR 1'
	rest >/dev/null
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files cur/1.a:2,FRS new/2.b
}

@test "DESIGN 6: TOP of a message that was renamed finds it" {
	renamed 'TOP 1 5'
	end_session
	files cur/1.a:2,FR new/2.b
}

@test "DESIGN 6: DELE and QUIT find a message that was renamed" {
	renamed 'DELE 1'
	mv "$MAIL/cur/1.a:2,FR" "$MAIL/cur/1.a:2,FRS"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files new/2.b
}

@test "DESIGN 6: LIST counts a message that was renamed" {
	add new/1.a
	open_session
	mv "$MAIL/new/1.a" "$MAIL/cur/1.a:2,F"
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 12' ]
	end_session
}

@test "DESIGN 6: QUIT marks a message that was renamed after its RETR" {
	add new/1.a
	open_session
	ask 'RETR 1'
	rest >/dev/null
	mv "$MAIL/new/1.a" "$MAIL/cur/1.a:2,R"
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files cur/1.a:2,RS
}

@test "DESIGN 6: RETR of a message that is gone is -ERR, the session goes on" {
	add new/1.a new/2.b
	open_session
	rm "$MAIL/new/1.a"
	ask 'RETR 1'
	[[ $REPLY == -ERR* ]]
	ask 'TOP 1 0'
	[[ $REPLY == -ERR* ]]
	ask 'RETR 2'
	[[ $REPLY == +OK* ]]
	rest | expect 'A: b

xx'
	ask 'DELE 1'
	[[ $REPLY == +OK* ]]
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	files cur/2.b:2,S
}

@test "DESIGN 6: a whole directory that goes away in mid-session" {
	add new/1.a cur/2.b:2,
	open_session
	rm -r "$MAIL/new"
	ask 'RETR 1'
	[[ $REPLY == -ERR* ]]
	ask 'RETR 2'
	[[ $REPLY == +OK* ]]
	rest >/dev/null
	ask 'DELE 2'
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	[ -z "$(ls "$MAIL/cur")" ]
}

@test "DESIGN 3: -v logs what was retrieved, deleted and moved" {
	add new/1.a new/2.b cur/3.c:2,S
	printf 'RETR 1\nRETR 2\nRETR 3\nDELE 2\nQUIT\n' | session -v >/dev/null
	grep -E 'event=(retrieved|deleted|moved)' "$LOG" |
	    sed 's/^.*event=/event=/' | expect \
'event=retrieved user=joe msgno=1 uid=1.a octets=12 ip=-
event=retrieved user=joe msgno=2 uid=2.b octets=12 ip=-
event=retrieved user=joe msgno=3 uid=3.c octets=12 ip=-
event=moved user=joe msgno=1 uid=1.a octets=12 ip=-
event=deleted user=joe msgno=2 uid=2.b octets=12 ip=-'
}

@test "DESIGN 3: without -v no message is logged" {
	add new/1.a new/2.b
	printf 'RETR 1\nDELE 2\nQUIT\n' | session >/dev/null
	[ "$(grep -cE 'event=(login|end)' "$LOG")" = 2 ]
	[ "$(wc -l <"$LOG")" = 2 ]
}

@test "DESIGN 7: what a message is called cannot forge a line of the log" {
	add $'new/1.a\npop3d: event=login user=root' $'new/2.\033[2J"='
	printf 'RETR 1\nDELE 2\nQUIT\n' | session -v >/dev/null
	not grep -q '^pop3d: event=login user=root' "$LOG"
	not grep -qP '[^ -~]' "$LOG"
}
