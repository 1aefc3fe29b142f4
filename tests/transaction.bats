#!/usr/bin/env bats
# The commands of the TRANSACTION state, one by one, and what bad input gets.

load helper

setup() {
	pop3d_setup
	{
		printf 'Subject: one\n\n'
		printf 'a%.0s' {1..104}
		printf '\n'
	} | deliver new/1700000001.M1P1.host
	{
		printf 'Subject: two\r\n\r\n'
		printf 'b%.0s' {1..180}
		printf '\r\n'
	} | deliver cur/1700000002.M2P1.host:2,
}

teardown() {
	pop3d_teardown
}

# bad COMMAND: exactly one -ERR, and the command after it is understood.
bad() {
	printf '%b\nSTAT\nQUIT\n' "$1" | session | brief | expect "+OK 2 messages
-ERR
+OK 2 320
+OK good bye"
}

@test "RFC 1939 5: STAT gives number and octets, then the message's of LIST" {
	session <<'C' | expect '+OK 2 messages
+OK 2 320
+OK 2 messages (320 octets)
1 122
2 198
.
+OK 2 198
+OK good bye'
STAT
LIST
LIST 2
QUIT
C
}

@test "RFC 1939 5: LIST of a message that does not exist is -ERR" {
	bad "LIST 3"
}

@test "RFC 1939 5: LIST and STAT of an empty maildrop" {
	rm "$MAIL"/*/*
	session <<'C' | expect '+OK 0 messages
+OK 0 0
+OK 0 messages (0 octets)
.
+OK unique-ids follow
.
+OK good bye'
STAT
LIST
UIDL
QUIT
C
}

@test "RFC 1939 5: RETR sends the whole message and the final dot" {
	session <<'C' | expect "+OK 2 messages
+OK 122 octets
Subject: one

$(printf 'a%.0s' {1..104})
.
+OK good bye"
RETR 1
QUIT
C
}

@test "RFC 1939 5: DELE of a message, and -ERR for the same one again" {
	session <<'C' | brief | expect '+OK 2 messages
+OK message 1 deleted
-ERR
+OK 1 198
+OK good bye'
DELE 1
DELE 1
STAT
QUIT
C
}

@test "RFC 1939 5: a deleted message is -ERR to every command that names it" {
	session <<'C' | brief | expect '+OK 2 messages
+OK message 2 deleted
-ERR
-ERR
-ERR
-ERR
-ERR
+OK nothing done
+OK 2 messages'
DELE 2
LIST 2
RETR 2
DELE 2
TOP 2 0
UIDL 2
NOOP
RSET
C
}

@test "RFC 1939 5: numbers of the others stay when a message is deleted" {
	session <<'C' | expect '+OK 2 messages
+OK message 1 deleted
+OK 1 198
+OK 1 messages (198 octets)
2 198
.
+OK unique-ids follow
2 1700000002.M2P1.host
.
+OK 2 messages'
DELE 1
STAT
LIST
UIDL
RSET
C
}

@test "RFC 1939 5: NOOP does nothing and answers +OK" {
	session <<'C' | brief | expect '+OK 2 messages
+OK nothing done
+OK 2 320
+OK good bye'
NOOP
STAT
QUIT
C
}

@test "RFC 1939 5: RSET unmarks what was deleted" {
	session <<'C' | expect '+OK 2 messages
+OK message 1 deleted
+OK message 2 deleted
+OK 0 0
+OK 2 messages
+OK 2 320
+OK good bye'
DELE 1
DELE 2
STAT
RSET
STAT
QUIT
C
	[ "$(mail_files | wc -l)" = 2 ]
}

@test "RFC 1939 7: TOP sends header, empty line and so many lines" {
	printf 'A: b\nC: d\n\none\n\nthree\n' | deliver new/1700000003.M3P1.host
	session <<'C' | brief | expect '+OK 3 messages
+OK 28 octets
A: b
C: d

one

.
-ERR
+OK good bye'
TOP 3 2
TOP 100 3
QUIT
C
}

@test "RFC 1939 7: UIDL of all, of one, and of none" {
	session <<'C' | brief | expect '+OK 2 messages
+OK unique-ids follow
1 1700000001.M1P1.host
2 1700000002.M2P1.host
.
+OK 2 1700000002.M2P1.host
-ERR
+OK good bye'
UIDL
UIDL 2
UIDL 3
QUIT
C
}

@test "RFC 1460: LAST is 0 at first, then the highest message retrieved" {
	session <<'C' | expect "+OK 2 messages
+OK 0
+OK 198 octets
Subject: two

$(printf 'b%.0s' {1..180})
.
+OK 2
+OK 122 octets
Subject: one

$(printf 'a%.0s' {1..104})
.
+OK 2
+OK 2 messages
+OK 0
+OK good bye"
LAST
RETR 2
LAST
RETR 1
LAST
RSET
LAST
QUIT
C
}

@test "DESIGN 5: LAST begins at the highest S-flagged message, RSET goes back" {
	mv "$MAIL/new/1700000001.M1P1.host" "$MAIL/cur/1700000001.M1P1.host:2,RS"
	session <<'C' | brief | expect '+OK 2 messages
+OK 1
+OK message 2 deleted
+OK 2
+OK 2 messages
+OK 1
+OK good bye'
LAST
DELE 2
LAST
RSET
LAST
QUIT
C
}

@test "RFC 1460: neither LIST nor UIDL nor TOP moves LAST" {
	printf 'LIST 2\nUIDL 2\nTOP 2 0\nLAST\n' | session | tail -n 1 |
	    expect '+OK 0'
}

@test "RFC 2449 5: CAPA after login lists the same as before, but for STLS" {
	printf 'CAPA\nQUIT\n' | whole >"$BATS_TEST_TMPDIR/before"
	printf 'USER joe\nPASS secret\nCAPA\nQUIT\n' | whole \
	    >"$BATS_TEST_TMPDIR/after"
	sed -n '/capabilities/,/^\.$/p' "$BATS_TEST_TMPDIR/before" |
	    grep -v '^STLS' >"$BATS_TEST_TMPDIR/expected"
	sed -n '/capabilities/,/^\.$/p' "$BATS_TEST_TMPDIR/after" \
	    >"$BATS_TEST_TMPDIR/got"
	same "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/got"
	grep -qx TOP "$BATS_TEST_TMPDIR/got"
	grep -qx UIDL "$BATS_TEST_TMPDIR/got"
	grep -qx PIPELINING "$BATS_TEST_TMPDIR/got"
	grep -qx RESP-CODES "$BATS_TEST_TMPDIR/got"
	grep -qx 'EXPIRE NEVER' "$BATS_TEST_TMPDIR/got"
}

@test "RFC 1939 4: commands of AUTHORIZATION are -ERR after login" {
	printf '%s\n' 'USER joe' 'PASS secret' 'APOP joe 0' 'AUTH PLAIN' STLS \
	    STAT | session | brief | expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
-ERR
+OK 2 320'
}

@test "DESIGN 5: message numbers that are none are -ERR, for each command" {
	local command number script=() expected="+OK 2 messages"

	for command in LIST RETR DELE UIDL TOP; do
		for number in 0 -1 +1 1x x1 1.0 0x1 1e0 '' 3 \
		    99999999999999999999 18446744073709551616 \
		    18446744073709551617 18446744073709551615 4294967297 \
		    '1 1' '1 1 1' ' 1' '  1' $'1\t' "1,2" '*'; do
			case $command:$number in
			# Everything, or right as it stands.
			LIST: | UIDL: | TOP:"1 1" | *$'\t') continue ;;
			TOP:"1 1 1") script+=("TOP $number") ;;
			TOP:*) script+=("TOP $number 1") ;;
			*) script+=("$command $number") ;;
			esac
			script+=(NOOP)
			expected+=$'\n-ERR\n+OK nothing done'
		done
	done
	printf '%s\n' "${script[@]}" | session | brief | expect "$expected"
}

@test "DESIGN 5: a message number with zeros before it is decimal" {
	printf 'LIST 01\nLIST 0000000000000000000000000002\n' | session |
	    expect '+OK 2 messages
+OK 1 122
+OK 2 198'
}

@test "DESIGN 5: numbers of lines that are none are -ERR" {
	local script=() expected="+OK 2 messages" lines

	for lines in -1 +1 1x '' 18446744073709551616 99999999999999999999 \
	    '1 1' ' 1'; do
		script+=("TOP 1 $lines" NOOP)
		expected+=$'\n-ERR\n+OK nothing done'
	done
	printf '%s\n' "${script[@]}" | session | brief | expect "$expected"
}

@test "RFC 1939 5: commands with too few arguments are -ERR" {
	printf '%s\n' RETR DELE TOP 'TOP 1' 'RETR ' NOOP | session | brief |
	    expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
-ERR
+OK nothing done'
}

@test "RFC 1939 5: commands with too many arguments are -ERR" {
	printf '%s\n' 'STAT 1' 'NOOP 1' 'RSET 1' 'LAST 1' 'CAPA x' 'QUIT now' \
	    'LIST 1 2' 'RETR 1 2' 'DELE 1 2' 'UIDL 1 2' 'TOP 1 2 3' STAT |
	    session | brief | expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
+OK 2 320'
}

@test "RFC 1939 3: an unknown command is -ERR, and so is an empty line" {
	printf '%s\n' XYZZY '' ' ' ' STAT' STATS STA 'STAT,' $'STAT\t1' \
	    'RETR1' STAT | session | brief | expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
+OK 2 320'
}

@test "DESIGN 5: keywords in any case" {
	printf '%s\n' stat 'lIsT 1' 'uidl 2' 'dele 1' rset noop last Quit |
	    session | expect '+OK 2 messages
+OK 2 320
+OK 1 122
+OK 2 1700000002.M2P1.host
+OK message 1 deleted
+OK 2 messages
+OK nothing done
+OK 0
+OK good bye'
}

@test "DESIGN 5: blanks behind the last argument are ignored" {
	printf '%s\n' 'STAT ' 'NOOP   ' 'LIST 1 ' $'LIST 1 \t ' 'LIST ' \
	    'UIDL 2  ' 'DELE 1 ' 'TOP 2 0 ' 'RSET ' 'QUIT ' | session |
	    expect '+OK 2 messages
+OK 2 320
+OK nothing done
+OK 1 122
+OK 1 122
+OK 2 messages (320 octets)
1 122
2 198
.
+OK 2 1700000002.M2P1.host
+OK message 1 deleted
+OK 198 octets
Subject: two

.
+OK 2 messages
+OK good bye'
}

@test "DESIGN 5: a bare LF ends a line" {
	printf 'STAT\nLIST 1\nQUIT\n' | raw_session | tr -d '\r' |
	    expect '+OK 2 messages
+OK 2 320
+OK 1 122
+OK good bye'
}

@test "DESIGN 5: a CR alone does not end a line" {
	printf 'NOOP\rSTAT\r\nSTAT\r\n' | raw_session | tr -d '\r' | brief |
	    expect '+OK 2 messages
-ERR
+OK 2 320'
}

@test "RFC 1939 3: every reply line ends in CRLF" {
	printf 'STAT\nLIST\nUIDL\nTOP 1 0\nCAPA\nXYZZY\nQUIT\n' | raw_session \
	    >"$BATS_TEST_TMPDIR/raw"
	[ "$(grep -c '' "$BATS_TEST_TMPDIR/raw")" -gt 20 ]
	[ "$(grep -vc $'\r$' "$BATS_TEST_TMPDIR/raw")" = 0 ]
}

@test "DESIGN 5: a NUL never ends a line or a number early" {
	printf '%b' 'STAT\0\r\n' 'LIST 1\0\r\n' '\0STAT\r\n' 'LIST\0 1\r\n' \
	    'LIST 1\0002\r\n' 'QUIT\0\r\n' 'QUIT \0\r\n' '\0\r\n' 'STAT\r\n' |
	    raw_session | tr -d '\r' | brief | expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
+OK 2 320'
}

@test "DESIGN 5: 8-bit octets are -ERR and not repeated to the client" {
	printf 'ST\303\204T\nLIST \261\n\377\376\nLIST 1\240\nSTAT\n' |
	    session >"$BATS_TEST_TMPDIR/raw"
	brief <"$BATS_TEST_TMPDIR/raw" | expect '+OK 2 messages
-ERR
-ERR
-ERR
-ERR
+OK 2 320'
	not grep -qP '[^ -~]' "$BATS_TEST_TMPDIR/raw"
}

@test "RFC 2449 3: a reply after login has a bracket only where a response code begins" {
	chmod 0 "$MAIL/new/1700000001.M1P1.host"
	printf '%s\n' STAT LIST UIDL CAPA NOOP 'LIST 2' 'UIDL 2' LAST 'TOP 2 1' \
	    'RETR 1' 'RETR 2' 'RETR 3' 'RETR x' 'TOP 1' 'DELE 2' 'DELE 2' RSET \
	    XYZZY "$(printf '%0300d' 0)" 'QUIT 1' QUIT | session \
	    >"$BATS_TEST_TMPDIR/answers"
	well_formed <"$BATS_TEST_TMPDIR/answers"
	grep -q '^-ERR \[SYS/PERM\] ' "$BATS_TEST_TMPDIR/answers"
	[ "$(grep -c '^-ERR ' "$BATS_TEST_TMPDIR/answers")" = 8 ]
}

# line LENGTH END: a good LIST 1 of so many octets, END included.
line() {
	printf '%-*s%b' "$(($1 - $(printf %b "$2" | wc -c)))" 'LIST 1' "$2"
}

@test "RFC 2449 4: a line of 255 octets, its end included, is understood" {
	{
		line 255 '\r\n'
		line 255 '\n'
		printf 'STAT\r\n'
	} | raw_session | tr -d '\r' | expect '+OK 2 messages
+OK 1 122
+OK 1 122
+OK 2 320'
}

@test "RFC 2449 4: a longer line is one -ERR, the next one is understood" {
	local octets

	for octets in 256 257 511 512 4095 4096 4097 8192 12288 12289 65536 \
	    1000000; do
		line "$octets" '\r\n'
		printf 'LIST 2\r\n'
		line "$octets" '\n'
		printf 'LIST 1\r\n'
	done >"$BATS_TEST_TMPDIR/script"
	raw_session <"$BATS_TEST_TMPDIR/script" | tr -d '\r' | brief |
	    expect "+OK 2 messages
$(for octets in {1..12}; do
		printf '%s\n' -ERR '+OK 2 198' -ERR '+OK 1 122'
	done)"
}

@test "RFC 2449 4: a command behind a long line's start is not run" {
	printf '%-255sDELE 1\r\nSTAT\r\n' x | raw_session | tr -d '\r' | brief |
	    expect '+OK 2 messages
-ERR
+OK 2 320'
}

@test "DESIGN 5: over-long lines split between segments change nothing" {
	{
		printf 'USER joe\nPASS secret\n'
		printf '%-300s\nLIST 2\n%-254s\nQUIT\n' 'LIST 1' 'LIST 1'
	} | WHOLE_HOW=octets whole | brief | tail -n 4 | expect '-ERR
+OK 2 198
-ERR
+OK good bye'
}

@test "DESIGN 5: the connection is closed after 20 bad commands in a row" {
	{
		printf 'XYZZY\n%.0s' {1..18}
		printf 'RETR\nNOOP 1\nSTAT\n'
	} | session >"$BATS_TEST_TMPDIR/out"
	[ "$(grep -c '^-ERR' "$BATS_TEST_TMPDIR/out")" = 20 ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 21 ]
	logged 'event=end .* reason=error'
}

@test "DESIGN 5: over-long lines are counted as bad commands, too" {
	{
		for _ in {1..20}; do line 300 '\r\n'; done
		printf 'STAT\r\n'
	} | raw_session | grep -c '^-ERR\|^+OK' | expect 21
}

@test "DESIGN 5: 19 bad, one good and 19 bad commands leave it open" {
	{
		printf 'XYZZY\n%.0s' {1..19}
		printf 'NOOP\n'
		printf 'XYZZY\n%.0s' {1..19}
		printf 'STAT\nQUIT\n'
	} | session >"$BATS_TEST_TMPDIR/out"
	tail -n 2 "$BATS_TEST_TMPDIR/out" | expect '+OK 2 320
+OK good bye'
}

@test "DESIGN 5: messages that do not exist are no mis-stated commands" {
	{
		printf 'RETR 3\n%.0s' {1..40}
		printf 'STAT\n'
	} | session | tail -n 1 | expect '+OK 2 320'
}

@test "DESIGN 5: a QUIT after 20 bad commands deletes nothing" {
	{
		printf 'DELE 1\n'
		printf 'XYZZY\n%.0s' {1..20}
		printf 'QUIT\n'
	} | session >/dev/null
	[ "$(mail_files | wc -l)" = 2 ]
}

# The writes to the client that a session does for the script on input.
count_writes() {
	local count

	as_user true || return 1
	raw_session_traced >"$BATS_TEST_TMPDIR/out"
	count=$(grep -cE '^(write|sendto|sendmsg|writev)\(1,' "$HOME_DIR/trace")
	echo "$count"
}

raw_session_traced() {
	as_user strace -o "$HOME_DIR/trace" \
	    -e trace=write,writev,sendto,sendmsg "$POP3D_BIN/pop3d" -t \
	    2>>"$LOG"
}

@test "RFC 2449 6.6: replies to pipelined commands leave in few writes" {
	command -v strace >/dev/null || skip "needs strace"
	as_user strace -o /dev/null true 2>/dev/null ||
	    skip "needs the right to trace"
	# 500 answers of 14 octets, from 4 000 octets of input.
	printf 'STAT\r\n%.0s' {1..500} >"$BATS_TEST_TMPDIR/script"
	count_writes <"$BATS_TEST_TMPDIR/script" >"$BATS_TEST_TMPDIR/count"
	[ "$(grep -c '^+OK 2 320' "$BATS_TEST_TMPDIR/out")" = 500 ]
	[ "$(cat "$BATS_TEST_TMPDIR/count")" -le 5 ]
}

@test "RFC 2449 6.6: more replies than are gathered at once all arrive, in order" {
	local capa

	capa=$(printf 'CAPA\n' | session | tail -n +2)
	{
		yes CAPA | head -n 1500
		echo QUIT
	} | session | tail -n +2 >"$BATS_TEST_TMPDIR/answers"
	{
		yes "$capa" | head -n "$((1500 * $(wc -l <<<"$capa")))"
		echo '+OK good bye'
	} >"$BATS_TEST_TMPDIR/right"
	same "$BATS_TEST_TMPDIR/right" "$BATS_TEST_TMPDIR/answers"
}

@test "RFC 2449 6.6: a session in one segment equals one step by step" {
	local how by

	{
		printf 'USER joe\nPASS secret\n'
		printf 'STAT\nLIST\nLIST 3\nUIDL\nRETR 1\nTOP 2 1\nXYZZY\n'
		printf 'DELE 1\nDELE 1\nRSET\nLAST\nNOOP\nCAPA\nRETR 2\nQUIT\n'
	} >"$BATS_TEST_TMPDIR/script"
	for by in socket pipe; do
		for how in lines whole octets; do
			WHOLE_BY=$by WHOLE_HOW=$how whole -P \
			    <"$BATS_TEST_TMPDIR/script" \
			    >"$BATS_TEST_TMPDIR/$by.$how"
			same "$BATS_TEST_TMPDIR/socket.lines" \
			    "$BATS_TEST_TMPDIR/$by.$how"
		done
	done
	[ "$(tail -n 1 "$BATS_TEST_TMPDIR/socket.lines")" = '+OK good bye' ]
}

@test "DESIGN 2: a socket that does not block is waited for like another" {
	printf 'USER joe\nPASS secret\nSTAT\nNOOP\nRSET\nSTAT\nQUIT\n' |
	    WHOLE_BY=nonblock whole | tail -n 2 | expect '+OK 2 320
+OK good bye'
}

@test "issue 2: nothing that a client sends makes a session end oddly" {
	python3 - >"$BATS_TEST_TMPDIR/script" <<'P'
import random, sys
random.seed(1939)
words = [b"STAT", b"LIST", b"RETR", b"TOP", b"UIDL", b"NOOP", b"RSET", b"LAST",
         b"CAPA", b"DELE", b" ", b"1", b"2", b"3", b"\0", b"\xff", b"\r", b"-",
         b"999999999999999999999", b"x" * 250]
for i in range(5000):
    line = b"".join(random.choice(words) for _ in range(random.randrange(6)))
    sys.stdout.buffer.write(line + random.choice([b"\r\n", b"\n"]) + b"NOOP\n")
P
	raw_session <"$BATS_TEST_TMPDIR/script" >"$BATS_TEST_TMPDIR/out"
	[ "$(grep -c '^+OK nothing done' "$BATS_TEST_TMPDIR/out")" -ge 5000 ]
	logged 'event=end .* reason=disconnect'
	[ "$(mail_files | wc -l)" = 2 ]
}
