#!/usr/bin/env bats
# What an administrator decides: EXPIRE, LOGIN-DELAY, the folder for deleted
# messages, and all of these for one user.
# shellcheck disable=SC2030,SC2031 # each test has an environment of its own

load helper

setup() {
	greeter_setup
	printf 'A: b\n\none\n' | deliver new/1.a
	printf 'A: b\n\ntwo\n' | deliver cur/2.b:2,FS
	printf 'A: b\n\nthree\n' | deliver new/3.c
}

teardown() {
	pop3d_teardown
}

# capa STATE-OPTIONS ...: EXPIRE and LOGIN-DELAY of a session by itself.
capa() {
	printf 'CAPA\nQUIT\n' | session "$@" | grep -E '^(EXPIRE|LOGIN-DELAY)'
}

# EXPIRE

@test "RFC 2449 6.7: EXPIRE is NEVER without -e, else its days; before login with USER" {
	capa | expect 'EXPIRE NEVER'
	capa -e 30 | expect 'EXPIRE 30'
	capa -e 0 | expect 'EXPIRE 0'
	capa -e never | expect 'EXPIRE NEVER'
	lines CAPA | talk -e 30 | grep EXPIRE | expect 'EXPIRE 30 USER'
	lines CAPA | talk | grep EXPIRE | expect 'EXPIRE NEVER'
}

@test "RFC 2449 6.7: with EXPIRE 0 what was retrieved is deleted on QUIT" {
	printf 'RETR 1\nRETR 2\nTOP 3 9\nQUIT\n' | session -e 0 | forms |
	    grep -c '^+OK' | expect 5
	mail_files | expect 'new/3.c'
	logged 'event=end .*retrieved=2 .*deleted=2 left=1 '
}

@test "RFC 2449 6.7: with EXPIRE 0 nothing is deleted without QUIT, nor what was only asked about" {
	printf 'RETR 1\n' | session -e 0 >/dev/null
	printf 'LIST\nUIDL\nTOP 1 0\nQUIT\n' | session -e 0 >/dev/null
	mail_files | expect 'cur/2.b:2,FS
new/1.a
new/3.c'
}

@test "RFC 2449 6.7: with more days pop3d deletes nothing" {
	printf 'RETR 1\nRETR 2\nQUIT\n' | session -e 1 >/dev/null
	mail_files | expect 'cur/1.a:2,S
cur/2.b:2,FS
new/3.c'
}

# LOGIN-DELAY

@test "RFC 2449 6.5: LOGIN-DELAY is announced with -d; before login with USER" {
	capa -d 300 | grep LOGIN | expect 'LOGIN-DELAY 300'
	lines CAPA | talk -d 300 | grep LOGIN-DELAY |
	    expect 'LOGIN-DELAY 300 USER'
	printf 'CAPA\nQUIT\n' | session | not_with LOGIN-DELAY
}

not_with() {
	! grep "$1"
}

@test "RFC 2449 8.1.1: a login too soon is -ERR [LOGIN-DELAY], and logged" {
	touch "$BATS_TEST_TMPDIR/before"
	printf 'QUIT\n' | session -d 300 | forms | expect '+OK
+OK'
	printf 'QUIT\n' | session -d 300 >"$RECORD/answers"
	grep -E '^-ERR \[LOGIN-DELAY\] .*; come back in (300|2[0-9][0-9]) s' \
	    "$RECORD/answers"
	[ "$(wc -l <"$RECORD/answers")" = 1 ]
	logged 'event=failure user=joe ip=- mechanism=- reason=login-delay'
}

@test "DESIGN 3: a refusal does not extend the delay, and the first login has none" {
	printf 'QUIT\n' | session -d 300 | forms | expect '+OK
+OK'
	touch -d '200 seconds ago' "$MAIL/pop3d.lock"
	stat -c %y "$MAIL/pop3d.lock" >"$RECORD/before"
	printf 'QUIT\n' | session -d 300 | forms | expect '-ERR [LOGIN-DELAY]'
	stat -c %y "$MAIL/pop3d.lock" >"$RECORD/after"
	same "$RECORD/before" "$RECORD/after"
	touch -d '301 seconds ago' "$MAIL/pop3d.lock"
	printf 'QUIT\n' | session -d 300 | forms | expect '+OK
+OK'
}

@test "DESIGN 3: a last login in the future keeps nobody out" {
	printf 'QUIT\n' | session >/dev/null
	touch -d '1 hour' "$MAIL/pop3d.lock"
	printf 'QUIT\n' | session -d 300 | forms | expect '+OK
+OK'
}

@test "RFC 2449 8.1.1: the delay is checked after the password" {
	greeter_command -c -d 300 -n 1
	printf '%s\r\n' 'USER joe' 'PASS secret' QUIT | "${POP3D[@]}" \
	    >/dev/null 2>>"$LOG"
	printf '%s\r\n' 'USER joe' 'PASS wrong' | "${POP3D[@]}" 2>>"$LOG" |
	    tr -d '\r' | forms | expect '+OK
+OK
-ERR [AUTH]'
	printf '%s\r\n' 'USER joe' 'PASS secret' QUIT | "${POP3D[@]}" \
	    2>>"$LOG" | tr -d '\r' | forms | expect '+OK
+OK
-ERR [LOGIN-DELAY]'
}

@test "RFC 2449 8.1.2: a maildrop in use is [IN-USE] also within the delay" {
	open_session
	printf 'QUIT\n' | session -d 300 | forms | expect '-ERR [IN-USE]'
	end_session
}

@test "RFC 2449 8.1: [IN-USE] and [LOGIN-DELAY] answer PASS, APOP and AUTH, and never USER" {
	local digest=0123456789abcdef0123456789abcdef login

	program <<'P'
become "$@"
P
	printf 'QUIT\n' | session >/dev/null
	for code in LOGIN-DELAY IN-USE; do
		[ "$code" = LOGIN-DELAY ] || open_session
		lines 'USER joe' 'PASS x' | talk -c -d 300 | forms | expect "+OK
+OK
-ERR [$code]"
		for login in "APOP joe $digest" 'AUTH PLAIN AGpvZQB4'; do
			lines "$login" | talk -a -c -d 300 | forms | expect "+OK
-ERR [$code]"
		done
	done
	end_session
}

@test "RFC 1939 4: the lock is free before a login is refused by [SYS/PERM]" {
	rmdir "$MAIL/tmp"
	mv "$MAIL/new" "$MAIL/tmp"
	program <<'P'
become "$@"
P
	listen -c
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS x'
	hear '^\+OK'
	hear '^-ERR \[SYS/PERM\] '
	# The session is still there, until the client goes.
	flock -n "$MAIL" true
}

@test "RFC 1939 4: the lock is free before a login is refused by [LOGIN-DELAY]" {
	printf 'QUIT\n' | session >/dev/null
	program <<'P'
become "$@"
P
	listen -c -d 300
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS x'
	hear '^\+OK'
	hear '^-ERR \[LOGIN-DELAY\] '
	# The session is still there, until the client goes.
	flock -n "$MAIL" true
}

# -k

@test "DESIGN 3: with -k deleted messages go to the folder, with their flags, on QUIT" {
	printf 'DELE 1\nDELE 2\nRETR 3\nQUIT\n' | session -k .Deleted | forms |
	    grep -c '^+OK' | expect 5
	mail_files | expect 'cur/3.c:2,S'
	(cd "$MAIL/.Deleted" && find . -type f | sort) | expect './cur/1.a:2,
./cur/2.b:2,FS
./maildirfolder'
	grep -x one "$MAIL/.Deleted/cur/1.a:2,"
	logged 'event=end .*deleted=2 left=1 '
	printf 'UIDL\nQUIT\n' | session -k .Deleted | grep -c '^1 3\.c$'
}

@test "DESIGN 3: -k moves nothing without QUIT, and what EXPIRE 0 deletes on it" {
	printf 'DELE 1\n' | session -k .Deleted >/dev/null
	mail_files | wc -l | expect 3
	printf 'RETR 1\nQUIT\n' | session -k .Deleted -e 0 >/dev/null
	[ -e "$MAIL/.Deleted/cur/1.a:2," ]
}

@test "DESIGN 3: the folder of -k is a Maildir++ folder of its owner" {
	printf 'QUIT\n' | session -k .Trash >/dev/null
	stat -c '%F %a %u' "$MAIL"/.Trash "$MAIL"/.Trash/{cur,new,tmp} |
	    sort -u | expect "directory 700 $TEST_UID"
	[ -f "$MAIL/.Trash/maildirfolder" ]
}

@test "DESIGN 3: -k never replaces what is in the folder" {
	mkdir -p "$MAIL/.Deleted/cur"
	echo old >"$MAIL/.Deleted/cur/1.a:2,"
	echo older >"$MAIL/.Deleted/cur/1.a.1:2,"
	own
	printf 'DELE 1\nQUIT\n' | session -k .Deleted | forms | expect '+OK
+OK
+OK'
	cat "$MAIL/.Deleted/cur/1.a:2,"{,} | sort -u | expect old
	grep -x one "$MAIL/.Deleted/cur/1.a.2:2,"
}

@test "RFC 1939 6: where the folder of -k is not to be had QUIT is -ERR, and nothing is lost" {
	: >"$MAIL/.Deleted"
	own
	printf 'DELE 1\nQUIT\n' | session -k .Deleted | forms | expect '+OK
+OK
-ERR [SYS/TEMP]'
	mail_files | wc -l | expect 3
	logged 'event=error what="cannot make the folder of -k" path=\.Deleted'
	logged 'event=error user=joe what="cannot delete message" path=1\.a'
}

@test "DESIGN 3: -k holds messages with names as long as there can be, too" {
	local name

	for name in "$(printf '%0252d' 1)" "$(printf '%0255d' 2)"; do
		printf 'A: b\n\nlong\n' | deliver "new/$name"
	done
	printf 'DELE 1\nDELE 3\nQUIT\n' | session -k .Deleted | forms |
	    expect '+OK
+OK
+OK
+OK'
	mail_files | wc -l | expect 3
	[ -e "$MAIL/.Deleted/cur/$(printf '%0252d' 1):2," ]
	[ -e "$MAIL/.Deleted/cur/$(printf '%0255d' 2)" ]
}

@test "RFC 1939 6: where the folder of -k goes away in the middle QUIT is -ERR, too" {
	open_session -k .Deleted
	ask 'DELE 1'
	rm -r "$MAIL/.Deleted"
	ask QUIT
	[[ $REPLY == '-ERR [SYS/TEMP]'* ]]
	end_session
	mail_files | wc -l | expect 3
	logged 'event=error user=joe what="cannot delete message" path=1\.a'
}

@test "DESIGN 6: a folder of -k that leads elsewhere takes no mail there" {
	plain_build "it may write elsewhere"
	mkdir -p "$HOME_DIR/elsewhere/cur"
	ln -s ../elsewhere "$MAIL/.Deleted"
	own
	printf 'DELE 1\nQUIT\n' | session -k .Deleted >"$RECORD/answers"
	tail -n 1 "$RECORD/answers" | forms | expect '-ERR [SYS/TEMP]'
	[ -z "$(ls "$HOME_DIR/elsewhere/cur")" ]
	[ -e "$MAIL/new/1.a" ]
}

@test "DESIGN 6: with -k maildirsize stays as it is, but for .Trash" {
	printf '1000000S\n39 3\n' >"$MAIL/maildirsize"
	own
	printf 'DELE 1\nQUIT\n' | session -k .Deleted >/dev/null
	tail -n 1 "$MAIL/maildirsize" | expect '39 3'
	printf 'DELE 1\nQUIT\n' | session -k .Trash >/dev/null
	tail -n 1 "$MAIL/maildirsize" | grep -Ex -- '-[0-9]+ -1'
}

# One user

@test "DESIGN 3: POP3D_SESSION says more for one user: hold, read-only, maildir, -v" {
	mkdir -p "$HOME_DIR/Other/new" "$HOME_DIR/Other/cur"
	printf 'A: b\n\nother\n' >"$HOME_DIR/Other/new/9.z"
	own
	export POP3D_SESSION=' -m  Other -k .Held -v'
	printf 'RETR 1\nDELE 1\nQUIT\n' | session -m Maildir | grep -x other
	[ -e "$HOME_DIR/Other/.Held/cur/9.z:2," ]
	logged 'event=retrieved .*uid=9\.z'
	POP3D_SESSION=-P
	printf 'RETR 1\nQUIT\n' | session >/dev/null
	[ -e "$MAIL/new/1.a" ]
}

@test "RFC 2449 6.5: POP3D_SESSION may shorten LOGIN-DELAY, and not lengthen it" {
	export POP3D_SESSION='-d 60'
	capa -d 300 | grep LOGIN | expect 'LOGIN-DELAY 60'
	touch -d '100 seconds ago' "$MAIL/pop3d.lock"
	POP3D_SESSION='-d 900' capa -d 90 | grep LOGIN | expect 'LOGIN-DELAY 90'
	touch -d '100 seconds ago' "$MAIL/pop3d.lock"
	capa | not_with LOGIN
}

@test "RFC 2449 6.7: POP3D_SESSION may lengthen EXPIRE, and not shorten it" {
	export POP3D_SESSION='-e 90'
	capa -e 30 | expect 'EXPIRE 90'
	capa | expect 'EXPIRE NEVER'
	POP3D_SESSION='-e 7' capa -e 30 | expect 'EXPIRE 30'
	POP3D_SESSION='-e never' capa -e 30 | expect 'EXPIRE NEVER'
	POP3D_SESSION='-e 0' capa -e 30 | expect 'EXPIRE 30'
}

@test "DESIGN 3: a wrong POP3D_SESSION is no session: [SYS/TEMP], and a line that says so" {
	for policy in -x '-c' '-t' '-d' '-d x' 'joe' '-P joe' '-m' '-T 0' \
	    "$(printf -- '-v %.0s' {1..40})" "$(printf -- '-m %02000d' 1)"; do
		: >"$LOG"
		program <<'P'
export POP3D_SESSION="$POLICY"
become "$@"
P
		POLICY=$policy talk -c < <(lines 'USER joe' 'PASS secret' QUIT) |
		    forms | expect '+OK
+OK
-ERR [SYS/TEMP]
+OK'
		logged '^pop3d: POP3D_SESSION'
		logged 'event=failure user=joe .*reason=temporary code=100'
	done
}

@test "DESIGN 3: the checkpassword program says what one user's policy is" {
	program <<'P'
export POP3D_SESSION="-k .Deleted -e 90"
become "$@"
P
	talk -c -e 30 < <(lines CAPA 'USER joe' 'PASS secret' CAPA 'DELE 1' QUIT) |
	    grep EXPIRE | expect 'EXPIRE 30 USER
EXPIRE 90'
	[ -e "$MAIL/.Deleted/cur/1.a:2," ]
}
