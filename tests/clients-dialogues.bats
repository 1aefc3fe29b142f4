#!/usr/bin/env bats
# What clients were seen to say, line by line, or are known to: theirs is the
# order of the commands, and they must find what they look for in the answers.

load helper

setup() {
	greeter_setup
	printf 'A: one\n\n.\nbody\n' | deliver new/1700000001.M1.host
	printf 'A: two\r\n\r\nbody' | deliver new/1700000002.M2.host
	printf 'A: three\n\n' | deliver new/1700000003.M3.host
}

teardown() {
	pop3d_teardown
}

# gist: status lines without what is said to people in them.
gist() {
	sed -E '/^\+OK [0-9]+( [0-9][!-~]*)?$/!s/^(\+OK|-ERR( \[[A-Z/-]+\])?)( .*)?$/\1/'
}

# play: the lines of standard input, as a client sends them, to a whole pop3d,
# and its answers, without the greeting.
play() {
	sed 's/$/\r/' | talk -c | gist | tail -n +2
}

all_new() {
	mail_files | expect 'new/1700000001.M1.host
new/1700000002.M2.host
new/1700000003.M3.host'
}

@test "fetchmail with UIDL keeps mail by TOP n 99999999, which is not retrieval" {
	play <<'C' >"$RECORD/answers"
CAPA
USER joe
PASS secret
STAT
UIDL
LIST 1
TOP 1 99999999
LIST 2
TOP 2 99999999
LIST 3
TOP 3 99999999
QUIT
C
	sed '1,/^\.$/d' "$RECORD/answers" | expect '+OK
+OK
+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK 1 19
+OK
A: one

..
body
.
+OK 2 16
+OK
A: two

body
.
+OK 3 12
+OK
A: three

.
+OK'
	all_new
	logged 'event=end user=joe .* retrieved=0 octets=47 deleted=0 left=3 .*reason=quit'
}

@test "fetchmail without UIDL looks for what is new behind LAST" {
	printf '%s\n' CAPA 'USER joe' 'PASS secret' STAT LAST 'LIST 1' \
	    'RETR 1' 'LIST 2' 'RETR 2' QUIT | play >/dev/null
	printf '%s\n' CAPA 'USER joe' 'PASS secret' STAT LAST 'LIST 3' \
	    'RETR 3' QUIT | play | sed '1,/^\.$/d' | expect '+OK
+OK
+OK 3 47
+OK 2
+OK 3 12
+OK
A: three

.
+OK'
	printf '%s\n' 'USER joe' 'PASS secret' STAT LAST QUIT | play |
	    expect '+OK
+OK
+OK 3 47
+OK 3
+OK'
}

@test "getmail sends no CAPA, asks twice for both lists, deletes after each message" {
	play <<'C' | expect '+OK
+OK
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
1 19
2 16
3 12
.
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
1 19
2 16
3 12
.
+OK
A: one

..
body
.
+OK
+OK
A: two

body
.
+OK
+OK'
USER joe
PASS secret
UIDL
LIST
UIDL
LIST
RETR 1
DELE 1
RETR 2
DELE 2
QUIT
C
	mail_files | expect 'new/1700000003.M3.host'
}

@test "Emacs sends no CAPA, and streams up to a hundred RETR, then DELE" {
	local i

	for i in {004..100}; do
		printf 'A: b\n\n%s\n' "$i" >"$MAIL/new/1700000$i.M1.host"
	done
	own
	{
		printf '%s\n' 'USER joe' 'PASS secret' STAT
		printf 'RETR %s\n' {1..100}
		printf 'DELE %s\n' {1..100}
		echo QUIT
	} | play >"$RECORD/answers"
	head -n 3 "$RECORD/answers" | expect '+OK
+OK
+OK 100 1308'
	[ "$(grep -cx '+OK' "$RECORD/answers")" = 203 ]
	[ "$(grep -cxF . "$RECORD/answers")" = 100 ]
	[ -z "$(mail_files)" ]
}

@test "s-nail sends no CAPA, TOP n 0 of each message, and may leave without QUIT" {
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK 1 19
+OK 2 16
+OK 3 12
+OK
A: one

.
+OK
A: two

.
+OK
A: three

.
+OK
A: one

..
body
.'
USER joe
PASS secret
STAT
LIST 1
LIST 2
LIST 3
TOP 1 0
TOP 2 0
TOP 3 0
RETR 1
C
	all_new
	logged 'event=end user=joe .* retrieved=1 .*reason=disconnect'
	# And the mailbox is free again.
	printf '%s\n' 'USER joe' 'PASS secret' QUIT | play | expect '+OK
+OK
+OK'
}

@test "fdm sends no CAPA, and deletes while it fetches the next" {
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK 1 19
+OK
A: one

..
body
.
+OK 2 16
+OK
A: two

body
.
+OK
+OK 3 12
+OK
A: three

.
+OK
+OK
+OK'
USER joe
PASS secret
STAT
UIDL
LIST 1
RETR 1
LIST 2
RETR 2
DELE 1
LIST 3
RETR 3
DELE 2
DELE 3
QUIT
C
	[ -z "$(mail_files)" ]
}

@test "Sylpheed and Claws send no CAPA, and take all of UIDL and LIST first" {
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
1 19
2 16
3 12
.
+OK
A: three

.
+OK
+OK'
USER joe
PASS secret
STAT
UIDL
LIST
RETR 3
DELE 3
QUIT
C
	mail_files | expect 'new/1700000001.M1.host
new/1700000002.M2.host'
}

@test "mutt sends PLAIN with the user as authorization identity, too, and CAPA twice" {
	{
		printf '%s\n' CAPA 'AUTH PLAIN'
		printf 'joe\0joe\0secret' | base64
		printf '%s\n' CAPA STAT UIDL 'LIST 1' 'TOP 1 0' QUIT
	} | play >"$RECORD/answers"
	sed -n '/^\.$/,/^+OK$/p' "$RECORD/answers" | head -n 3 | expect '.
+ 
+OK'
	tail -n 12 "$RECORD/answers" | expect '+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK 1 19
+OK
A: one

.
+OK'
	logged 'event=login user=joe .*mechanism=PLAIN'
}

@test "mutt's pop_last fetches only what follows LAST" {
	local auth

	auth=$(printf 'joe\0joe\0secret' | base64)
	printf '%s\n' 'AUTH PLAIN' "$auth" STAT STAT LAST 'RETR 1' 'RETR 2' \
	    QUIT | play >/dev/null
	printf '%s\n' 'AUTH PLAIN' "$auth" STAT STAT LAST 'RETR 3' QUIT | play |
	    expect '+ 
+OK
+OK 3 47
+OK 3 47
+OK 2
+OK
A: three

.
+OK'
}

@test "mpop takes an APOP stamp of letters, digits and .@_+/- alone, whatever -h is" {
	local host stamp

	for host in mail.example.org 'mail_1!$%&=?^~*#|' "$(hostname)"; do
		greeter_command -a -h "$host"
		stamp=$("${POP3D[@]}" </dev/null 2>>"$LOG" |
		    sed -n 's/.*<\(.*\)>.*/\1/p')
		[[ $stamp =~ ^[A-Za-z0-9._+/-]+@[A-Za-z0-9._+/-]+$ ]]
	done
}

@test "mpop sends initial responses of 1.5 KB" {
	local secret

	recorder
	printf -v secret '%1100s' ''
	secret=${secret// /x}
	printf 'AUTH PLAIN %s\nQUIT\n' \
	    "$(printf '\0joe\0%s' "$secret" | base64 -w 0)" | play | expect \
	    '-ERR [AUTH]
+OK'
	handed "joe\0$secret\0\0"
}

@test "mpop pipelines each kind of command, over a socket" {
	{
		printf 'USER joe\nPASS secret\nSTAT\nLIST\nUIDL\n'
		printf 'RETR %s\n' 1 2 3
		printf 'DELE %s\n' 1 2 3
		echo QUIT
	} | WHOLE_HOW=whole whole | gist | expect '+OK
+OK
+OK
+OK 3 47
+OK
1 19
2 16
3 12
.
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
A: one

..
body
.
+OK
A: two

body
.
+OK
A: three

.
+OK
+OK
+OK
+OK'
	[ -z "$(mail_files)" ]
}

@test "poplib takes no line over 2048 octets: ours have at most 512" {
	local name

	# As long as a name can be, and as a unique-id can be.
	printf -v name '%200s' ''
	printf x | deliver "new/1700000004.${name// /a}"
	printf x | deliver "new/1700000005.${name:0:59}"
	mv "$MAIL/new/1700000005.${name:0:59}" \
	    "$MAIL/new/1700000005.$(printf '%059d' 0)"
	printf '%s\r\n' CAPA AUTH 'USER joe' 'PASS wrong' 'USER joe' \
	    'PASS secret' CAPA STAT LIST UIDL LAST 'LIST 9' 'TOP 9 9' \
	    "$(printf '%0600d' 0)" NOOP QUIT |
	    talk -a -c -h "$(printf 'mail.example.org%0400d' 0)" \
	    >"$RECORD/answers"
	grep -q '^5 1700000005\.0*$' "$RECORD/answers"
	not grep -E '^.{511}' "$RECORD/answers"
}

# Those of old.

@test "Netscape and old Thunderbird begin with a bare AUTH, and would use XTND" {
	play <<'C' >"$RECORD/answers"
AUTH
CAPA
USER joe
PASS secret
STAT
LIST
UIDL
XTND XLST Message-Id
RETR 1
DELE 1
QUIT
C
	sed '/^\.$/q' "$RECORD/answers" | expect '+OK
PLAIN
LOGIN
.'
	grep -qx '+OK 3 47' "$RECORD/answers"
	tail -n 9 "$RECORD/answers" | expect '-ERR
+OK
A: one

..
body
.
+OK
+OK'
	mail_files | expect 'new/1700000002.M2.host
new/1700000003.M3.host'
}

@test "Outlook tries what is not offered, and goes on with USER and PASS" {
	play <<'C' | expect '-ERR
+OK
+OK
+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
1 19
2 16
3 12
.
+OK
A: one

..
body
.
+OK
+OK
+OK'
AUTH NTLM
USER joe
PASS secret
STAT
UIDL
LIST
RETR 1
DELE 1
DELE 2
QUIT
C
}

@test "Eudora asks LAST, and TOP for what it has no room for" {
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK 0
+OK
1 19
2 16
3 12
.
+OK
A: one

..
.
+OK
A: two

body
.
+OK 2
+OK'
USER joe
PASS secret
STAT
LAST
LIST
TOP 1 1
RETR 2
LAST
QUIT
C
	mail_files | expect 'cur/1700000002.M2.host:2,S
new/1700000001.M1.host
new/1700000003.M3.host'
}

@test "old clients say it in lower case" {
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK 1 19
+OK 1 1700000001.M1.host
+OK
A: one

.
+OK 0
+OK
A: three

.
+OK
+OK
+OK
+OK
+OK'
user joe
pass secret
stat
list 1
uidl 1
top 1 0
last
retr 3
dele 3
rset
noop
Dele 3
quit
C
}

@test "old clients have blanks before the line end, also where no argument is: UIDL" {
	# But in PASS, where they would belong to the password.
	play <<'C' | expect '+OK
+OK
+OK 3 47
+OK
1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
.
+OK
1 19
2 16
3 12
.
+OK 0
+OK
A: one

..
body
.
+OK
+OK
+OK
+OK'
USER joe 
PASS secret
STAT 
UIDL 
LIST  
LAST 
RETR 1 
DELE 1  
NOOP 
RSET 
QUIT 
C
}
