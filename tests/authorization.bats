#!/usr/bin/env bats
# The AUTHORIZATION state: what the greeter says and hands on.

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# lines LINE ...: in CRLF.
# octets COUNT: that many of the letter A.
octets() {
	printf '%*s' "$1" '' | tr ' ' A
}

# The base64 of a printf format, in one line.
base64_of() {
	# shellcheck disable=SC2059 # it is a format
	printf "$1" | base64 -w 0
}

# How often each line comes.
tally() {
	LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

# policy OPTION ...: "clear" or "no clear", by the answer to USER.
policy() {
	lines 'USER joe' | talk "$@" | sed -n '2s/^+OK.*/clear/p;
	    2s/^-ERR clear-text.*/no clear/p'
}

# The greeting

@test "RFC 1939 4: the greeting is +OK with the name of -h, in CRLF" {
	greeter_command -c
	"${POP3D[@]}" </dev/null >"$RECORD/greeting" 2>>"$LOG"
	printf '+OK mail.example.org POP3 ready\r\n' >"$RECORD/expected"
	same "$RECORD/expected" "$RECORD/greeting"
}

@test "RFC 1939 7: no time stamp without -a" {
	[[ $(talk -c </dev/null) != *[\<\>]* ]]
}

@test "RFC 1939 7: with -a the greeting ends in a time stamp" {
	talk -a </dev/null |
	    grep -E '^\+OK [^<>]* <[^<>@ ]+@mail\.example\.org>$'
}

@test "RFC 1939 7: where no time stamp can be made, nobody is greeted: exit 111" {
	greeter_command -a
	failing getrandom:error=ENOSYS true
	run strace -f -qq -o /dev/null -e inject=getrandom:error=ENOSYS \
	    "${POP3D[@]}" </dev/null
	[ "$status" = 111 ]
	not grep -F '+OK' <<<"$output"
}

@test "DESIGN 5: a time stamp has only letters, digits and .@- in its brackets" {
	talk -a -h $'m\xc3\xa4il_\\host <a>"%s' </dev/null >"$RECORD/greeting"
	grep -aE ' <[A-Za-z0-9.@-]+>$' "$RECORD/greeting"
}

@test "RFC 1939 7: no two time stamps are the same" {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		talk -a </dev/null
	done >"$RECORD/greetings"
	[ "$(grep -c '>$' "$RECORD/greetings")" = 10 ]
	[ "$(sort -u "$RECORD/greetings" | wc -l)" = 10 ]
}

@test "RFC 1939 7: a time stamp cannot be told from the process and the time" {
	[ "$(talk -a </dev/null | sed 's/.*<[0-9]*\.[0-9]*\.\(.*\)@.*/\1/' |
	    tr -d '\n' | wc -c)" -ge 8 ]
}

@test "RFC 2449 4: a long -h does not make the greeting longer than 512 octets" {
	greeter_command -a -h "$(octets 2000)"
	"${POP3D[@]}" </dev/null >"$RECORD/greeting" 2>>"$LOG"
	[ "$(wc -l <"$RECORD/greeting")" = 1 ]
	[ "$(wc -c <"$RECORD/greeting")" -le 512 ]
	tail -c 3 "$RECORD/greeting" | cmp - <(printf '>\r\n')
}

# CAPA

@test "RFC 2449 5: CAPA before login, where clear text is allowed" {
	lines CAPA | talk -c | sed -n '3,$p' |
	    sed 's/^\(IMPLEMENTATION pop3d\).*/\1/' | LC_ALL=C sort |
	    expect '.
AUTH-RESP-CODE
EXPIRE NEVER
IMPLEMENTATION pop3d
PIPELINING
RESP-CODES
SASL PLAIN LOGIN
TOP
UIDL
USER
UTF8'
}

@test "RFC 2449 5: CAPA's last line is the dot, and each ends in CRLF" {
	greeter_command -c
	lines CAPA | "${POP3D[@]}" >"$RECORD/capa" 2>>"$LOG"
	[ "$(tail -n 1 "$RECORD/capa")" = $'.\r' ]
	not grep -v $'\r$' "$RECORD/capa"
	[ "$(grep -c '^+OK' "$RECORD/capa")" = 2 ]
}

@test "RFC 2449 6.2: neither USER nor SASL is announced where clear text is not allowed" {
	lines CAPA | talk >"$RECORD/capa"
	grep -x UIDL "$RECORD/capa"
	not grep -E '^(USER|SASL|PLAIN|LOGIN)' "$RECORD/capa"
}

@test "RFC 2595 4: STLS is not announced without a wrapper, and answered -ERR" {
	lines CAPA | talk -c >"$RECORD/capa"
	not grep -i stls "$RECORD/capa"
	lines STLS 'STLS now' QUIT | talk -c | forms | expect '+OK
-ERR
-ERR
+OK'
}

@test "RFC 2449 5: CAPA takes no argument" {
	lines 'CAPA all' QUIT | talk -c | forms | expect '+OK
-ERR
+OK'
}

@test "RFC 2449 3: a line of CAPA is a tag without a dot and words behind it, and no tag comes twice" {
	lines CAPA QUIT | talk -a -c -o -d 300 -e 30 | sed '1,2d;/^\.$/,$d' \
	    >"$RECORD/capa"
	[ "$(wc -l <"$RECORD/capa")" = 11 ]
	not env LC_ALL=C grep -vE '^[!-,/-~-]+( [!-~]+)*$' "$RECORD/capa"
	not grep -E '^.{511}' "$RECORD/capa"
	cut -d ' ' -f 1 "$RECORD/capa" | sort >"$RECORD/tags"
	[ -z "$(uniq -d "$RECORD/tags")" ]
	not grep -i '^X' "$RECORD/tags"
	grep -Ex 'IMPLEMENTATION [^ ]+' "$RECORD/capa"
}

@test "RFC 2449 3: a reply before login has a bracket only where a response code begins" {
	lines CAPA STAT XYZZY USER 'USER joe' 'PASS no' PASS 'APOP joe 0' \
	    "APOP joe $(octets 32)" AUTH 'AUTH PLAIN' '*' 'AUTH PLAIN x' \
	    'AUTH X' 'AUTH PLAIN =' "AUTH PLAIN $(base64_of 'a\0b\0c')" STLS \
	    UTF8 "$(octets 300)" "$(octets 20000)" QUIT >"$RECORD/script"
	for options in '-a -c' -a -c; do
		# shellcheck disable=SC2086 # words
		talk $options <"$RECORD/script" >"$RECORD/answers"
		well_formed <"$RECORD/answers"
		[ "$(grep -c '^-ERR' "$RECORD/answers")" -ge 12 ]
	done
}

# USER and PASS

@test "RFC 1939 7: USER and the right PASS give the session's answer" {
	lines 'USER joe' 'PASS secret' QUIT | talk -c | forms | expect '+OK
+OK
+OK
+OK'
	logged 'event=login user=joe .*mechanism=USER'
}

@test "RFC 3206 6: a wrong password is -ERR [AUTH], and so is an unknown user" {
	lines 'USER joe' 'PASS Secret' 'USER jo' 'PASS secret' QUIT |
	    talk -c | forms | expect '+OK
+OK
-ERR [AUTH]
+OK
-ERR [AUTH]
+OK'
}

@test "RFC 1939 7: after a failure the right USER and PASS log in" {
	lines 'USER joe' 'PASS no' 'USER joe' 'PASS secret' STAT QUIT |
	    talk -c | forms | tail -n 3 | expect '+OK
+OK
+OK'
}

@test "DESIGN 5: PASS takes everything behind its one blank, blanks included" {
	recorder
	lines 'USER joe' $'PASS  a b\t ' | talk -c | forms | expect '+OK
+OK
-ERR [AUTH]'
	handed 'joe\0 a b\t \0\0'
}

@test "DESIGN 5: blanks at the end of USER are ignored, those within are not" {
	recorder
	lines $'USER joe  q.  public \t ' 'PASS x' | talk -c
	handed 'joe  q.  public\0x\0\0'
}

@test "DESIGN 5: 8-bit octets are handed on as they came" {
	recorder
	printf 'USER j\303\266e\377\001\r\nPASS \200\343\377\r\n' | talk -c
	handed 'j\303\266e\377\001\0\200\343\377\0\0'
}

@test "DESIGN 5: NUL in a user name is refused, and the next command understood" {
	recorder
	printf 'USER joe\0root\r\nPASS x\r\nQUIT\r\n' | talk -c | forms |
	    expect '+OK
-ERR
-ERR
+OK'
	not_asked
}

@test "DESIGN 5: NUL in a password is refused, and the next command understood" {
	recorder
	printf 'USER joe\r\nPASS sec\0ret\r\nUSER joe\r\nPASS \0\r\nQUIT\r\n' |
	    talk -c | forms | expect '+OK
+OK
-ERR
+OK
-ERR
+OK'
	not_asked
}

@test "DESIGN 2: an empty password is a wrong one, and no program is asked" {
	recorder
	lines 'USER joe' PASS 'USER joe' 'PASS ' QUIT | talk -c | forms |
	    expect '+OK
+OK
-ERR [AUTH]
+OK
-ERR [AUTH]
+OK'
	not_asked
	logged 'event=failure user=joe ip=- mechanism=USER reason=empty'
}

@test "DESIGN 2: no program is asked for a client that takes no answers any more" {
	recorder
	greeter_command -c
	python3 - "${POP3D[@]}" 2>>"$LOG" <<'P'
import socket, subprocess, sys
client, link = socket.socketpair()
pop3d = subprocess.Popen(sys.argv[1:], stdin=link, stdout=link)
link.close()
client.recv(4096)
client.shutdown(socket.SHUT_RD)
client.sendall(b"USER joe\r\nPASS secret\r\n")
pop3d.wait()
P
	not_asked
	logged 'event=end user=- .*reason=disconnect'
}

@test "RFC 1939 7: PASS without USER is -ERR, and no program is asked" {
	recorder
	lines 'PASS secret' QUIT | talk -c | forms | expect '+OK
-ERR
+OK'
	not_asked
}

@test "RFC 1939 7: after a failed PASS there must be a USER again" {
	lines 'USER joe' 'PASS no' 'PASS secret' QUIT | talk -c | forms |
	    expect '+OK
+OK
-ERR [AUTH]
-ERR
+OK'
}

@test "RFC 1939 7: the last USER counts, and one refused forgets the one before" {
	recorder
	printf 'USER joe\r\nUSER a\0b\r\nPASS x\r\n' | talk -c | forms |
	    expect '+OK
+OK
-ERR
-ERR'
	not_asked
	lines 'USER ann' 'USER joe' 'PASS x' | talk -c
	handed 'joe\0x\0\0'
}

@test "RFC 1939 7: USER without a name is -ERR" {
	lines USER 'USER ' 'USER   ' QUIT | talk -c | forms | expect '+OK
-ERR
-ERR
-ERR
+OK'
}

@test "RFC 1939 7: another command between USER and PASS does no harm, but AUTH forgets the name" {
	lines 'USER joe' XYZZY CAPA 'PASS secret' QUIT | talk -c | forms |
	    grep -v '^[A-Z.]' | expect '+OK
+OK
-ERR
+OK
+OK
+OK'
	lines 'USER joe' 'AUTH PLAIN' '*' 'PASS secret' QUIT | talk -c | forms |
	    expect '+OK
+OK
+ 
-ERR
-ERR
+OK'
}

# APOP

# apop SECRET [upper]: a digest for the greeting just heard.
apop() {
	local stamp=${HEARD##* } digest

	digest=$(printf '%s%s' "$stamp" "$1" | md5sum | cut -c 1-32)
	[ -z "${2:-}" ] || digest=${digest^^}
	say "APOP joe $digest"
}

@test "RFC 1939 7: APOP with the right digest logs in, clear text allowed or not" {
	greeter_command -a
	start_server env TCPREMOTEIP=192.0.2.1 "${POP3D[@]}"
	dial
	hear '^\+OK '
	apop secret
	hear '^\+OK '
	say QUIT
	hear '^\+OK '
	logged 'event=login user=joe ip=192\.0\.2\.1 mechanism=APOP'
}

@test "DESIGN 4: an upper-case digest is handed on in lower case" {
	greeter_command -a
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK '
	apop secret upper
	hear '^\+OK '
}

@test "RFC 1939 7: a wrong APOP digest is -ERR [AUTH]" {
	lines "APOP joe $(octets 32)" QUIT | talk -a | forms | expect '+OK
-ERR [AUTH]
+OK'
	logged 'event=failure user=joe ip=- mechanism=APOP reason=password'
}

@test "RFC 1939 7: a mis-stated APOP is -ERR, and no program is asked" {
	recorder
	lines APOP 'APOP joe' "APOP joe $(octets 31)" "APOP joe $(octets 33)" \
	    "APOP joe $(octets 31)g" "APOP  $(octets 32)" "APOP $(octets 32)" \
	    "APOP joe$(octets 32)" QUIT | talk -a | forms | expect '+OK
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 1939 7: NUL in an APOP name is refused" {
	recorder
	printf 'APOP j\0e %s\r\nQUIT\r\n' "$(octets 32)" | talk -a | forms |
	    expect '+OK
-ERR
+OK'
	not_asked
}

@test "RFC 1939 7: without -a, APOP is -ERR, and no program is asked" {
	recorder
	lines "APOP joe $(octets 32)" QUIT | talk -c | forms | expect '+OK
-ERR
+OK'
	not_asked
}

# AUTH

@test "RFC 5034 4: bare AUTH lists the mechanisms" {
	lines AUTH | talk -c | forms | tail -n +2 | expect '+OK
PLAIN
LOGIN
.'
}

@test "RFC 5034 4: bare AUTH lists no mechanism that the policy forbids" {
	lines AUTH | talk | forms | tail -n +2 | expect '+OK
.'
}

@test "RFC 5034 4: a mechanism that is not offered is -ERR, by any name" {
	lines 'AUTH CRAM-MD5' 'AUTH XOAUTH2 =' 'AUTH PLAI' 'AUTH PLAIN2' \
	    'AUTH *' 'AUTH =' QUIT | talk -c | forms | expect '+OK
-ERR
-ERR
-ERR
-ERR
-ERR
-ERR
+OK'
}

@test "RFC 4616 2: AUTH PLAIN with an initial response logs in" {
	lines "AUTH PLAIN $(base64_of '\0joe\0secret')" QUIT | talk -c |
	    forms | expect '+OK
+OK
+OK'
	logged 'event=login user=joe ip=- mechanism=PLAIN'
}

@test "RFC 5034 4: AUTH PLAIN without one is asked by '+ ' and logs in" {
	greeter_command -c
	lines 'AUTH PLAIN' "$(base64_of '\0joe\0secret')" QUIT |
	    "${POP3D[@]}" 2>>"$LOG" | sed -n '2,3p' >"$RECORD/got"
	printf '+ \r\n+OK 0 messages\r\n' >"$RECORD/expected"
	same "$RECORD/expected" "$RECORD/got"
}

@test "RFC 5034 4: AUTH LOGIN asks for user and password" {
	lines 'AUTH LOGIN' "$(base64_of joe)" "$(base64_of secret)" QUIT |
	    talk -c | forms | expect '+OK
+ VXNlcm5hbWU6
+ UGFzc3dvcmQ6
+OK
+OK'
	logged 'event=login user=joe ip=- mechanism=LOGIN'
}

@test "RFC 5034 4: AUTH LOGIN takes the user as an initial response" {
	lines "AUTH LOGIN $(base64_of joe)" "$(base64_of secret)" QUIT |
	    talk -c | forms | expect '+OK
+ UGFzc3dvcmQ6
+OK
+OK'
}

@test "RFC 5034 4: mechanisms are understood in any case" {
	lines "aUtH pLaIn $(base64_of '\0joe\0no')" 'auth login' '*' |
	    talk -c | forms | expect '+OK
-ERR [AUTH]
+ VXNlcm5hbWU6
-ERR'
}

@test "RFC 5034 4: '*' cancels, at every step, and the next command is understood" {
	recorder
	lines 'AUTH PLAIN' '*' 'AUTH LOGIN' '*' 'AUTH LOGIN' "$(base64_of joe)" \
	    '*' QUIT | talk -c | forms | expect '+OK
+ 
-ERR
+ VXNlcm5hbWU6
-ERR
+ VXNlcm5hbWU6
+ UGFzc3dvcmQ6
-ERR
+OK'
	not_asked
}

@test "RFC 5034 4: '=' is an empty initial response" {
	recorder
	lines 'AUTH PLAIN =' 'AUTH LOGIN =' QUIT | talk -c | forms |
	    expect '+OK
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 5034 4: bad base64 is -ERR without a code, and no program is asked" {
	recorder
	lines 'AUTH PLAIN AGpvZQBzZWNyZX' 'AUTH PLAIN AGpv!QBz' \
	    'AUTH PLAIN AGpvZQBz====' 'AUTH PLAIN ====' 'AUTH PLAIN A===' \
	    'AUTH PLAIN AG=vZQBz' 'AUTH PLAIN AGpvZQB=' 'AUTH PLAIN AGpvZ===' \
	    'AUTH PLAIN AGpv ZQBz' 'AUTH PLAIN -_-_' QUIT | talk -c | forms |
	    tally | expect '2 +OK
10 -ERR'
	not_asked
}

@test "RFC 4648 3.5: base64 with pad bits that are not zero is refused" {
	recorder
	# "AGpvZQBz" "eQ==" would be \0joe\0sy; "eR==" has a bit too many.
	lines 'AUTH PLAIN AGpvZQBzeR==' 'AUTH PLAIN AGpvZQBzeXl=' QUIT |
	    talk -c | forms | expect '+OK
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 4648 4: NUL in base64 is refused" {
	recorder
	printf 'AUTH PLAIN AGp\0ZQBz\r\nAUTH PLAIN\r\nAGp\0\r\nQUIT\r\n' |
	    talk -c | forms | expect '+OK
-ERR
+ 
-ERR
+OK'
	not_asked
}

@test "RFC 4616 2: an authorization identity equal to the user is accepted" {
	recorder
	lines "AUTH PLAIN $(base64_of 'joe\0joe\0secret')" | talk -c | forms |
	    expect '+OK
-ERR [AUTH]'
	handed 'joe\0secret\0\0'
}

@test "DESIGN 5: another authorization identity is -ERR without a code" {
	recorder
	lines "AUTH PLAIN $(base64_of 'root\0joe\0secret')" \
	    "AUTH PLAIN $(base64_of 'jo\0joe\0secret')" \
	    "AUTH PLAIN $(base64_of 'joey\0joe\0secret')" QUIT | talk -c |
	    forms | expect '+OK
-ERR
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 4616 2: a PLAIN response with other than two NULs is -ERR" {
	recorder
	lines "AUTH PLAIN $(base64_of '\0joe\0sec\0ret')" \
	    "AUTH PLAIN $(base64_of '\0joe\0secret\0')" \
	    "AUTH PLAIN $(base64_of 'joe\0secret')" \
	    "AUTH PLAIN $(base64_of 'joe')" \
	    "AUTH PLAIN $(base64_of '\0\0\0')" QUIT | talk -c | forms |
	    expect '+OK
-ERR
-ERR
-ERR
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 4616 2: a PLAIN response without a user is -ERR" {
	recorder
	lines "AUTH PLAIN $(base64_of '\0\0secret')" \
	    "AUTH PLAIN $(base64_of 'joe\0\0secret')" QUIT | talk -c | forms |
	    expect '+OK
-ERR
-ERR
+OK'
	not_asked
}

@test "RFC 4616 2: user names of 255 octets pass, of 256 do not" {
	recorder
	lines "AUTH PLAIN $(base64_of "\\0$(octets 256)\\0x")" QUIT | talk -c |
	    forms | expect '+OK
-ERR
+OK'
	not_asked
	lines "AUTH PLAIN $(base64_of "\\0$(octets 255)\\0x")" | talk -c
	handed "$(octets 255)\\0x\\0\\0"
}

@test "DESIGN 2: an empty password in PLAIN and LOGIN is a wrong one, not asked about" {
	recorder
	lines "AUTH PLAIN $(base64_of '\0joe\0')" \
	    "AUTH LOGIN $(base64_of joe)" '' QUIT | talk -c | forms |
	    expect '+OK
-ERR [AUTH]
+ UGFzc3dvcmQ6
-ERR [AUTH]
+OK'
	not_asked
}

@test "DESIGN 5: NUL in the user or the password of LOGIN is refused" {
	recorder
	lines "AUTH LOGIN $(base64_of 'j\0e')" "AUTH LOGIN $(base64_of joe)" \
	    "$(base64_of 's\0t')" QUIT | talk -c | forms | expect '+OK
-ERR
+ UGFzc3dvcmQ6
-ERR
+OK'
	not_asked
}

@test "RFC 5034 3: after an AUTH that succeeded SASL is still in CAPA, and AUTH is -ERR" {
	lines "AUTH PLAIN $(base64_of '\0joe\0secret')" CAPA AUTH \
	    "AUTH PLAIN $(base64_of '\0joe\0secret')" STAT QUIT | talk -c |
	    grep -E '^(SASL|\+OK|-ERR)' | forms | expect '+OK
+OK
+OK
SASL PLAIN LOGIN
-ERR
-ERR
+OK
+OK'
}

@test "RFC 5034 4: after an AUTH that failed another one, or PASS, logs in" {
	for last in "AUTH PLAIN $(base64_of '\0joe\0secret')" \
	    $'USER joe\r\nPASS secret'; do
		lines "AUTH LOGIN $(base64_of joe)" "$(base64_of no)" \
		    'AUTH LOGIN' '*' 'AUTH PLAIN ?' "$last" STAT |
		    talk -c | forms | tail -n 2 | expect '+OK
+OK'
	done
}

# boundary FIRST REST LAST: FIRST and then so many A that the line has 12288
# octets, and 12289; what the two are answered.
boundary() {
	local room=$((12288 - ${#1} - 2))

	printf '%s%s\r\n' "$1" "$(octets "$room")" QUIT '' | talk -c |
	    sed -n 2p
	printf '%s%s\r\n' "$1" "$(octets "$((room + 1))")" QUIT '' | talk -c |
	    sed -n 2,3p
}

@test "RFC 5034 4: an AUTH line of 12288 octets is read, one of 12289 is not" {
	boundary 'AUTH PLAIN ' >"$RECORD/got"
	# Not base64, by its length; but it was looked at.
	sed -n 1p "$RECORD/got" | grep -i base64
	sed -n 2p "$RECORD/got" | grep -i 'too long'
	sed -n 3p "$RECORD/got" | grep '^+OK'
}

@test "RFC 5034 4: a response of 12288 octets is read, one of 12289 is not" {
	boundary $'AUTH PLAIN\r\n' >"$RECORD/prompts"
	greeter_command -c
	lines 'AUTH PLAIN' "$(octets 12286)" 'AUTH PLAIN' "$(octets 12287)" \
	    QUIT | "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' >"$RECORD/got"
	sed -n 3p "$RECORD/got" | grep -i base64
	sed -n 5p "$RECORD/got" | grep -i 'too long'
	sed -n 6p "$RECORD/got" | grep '^+OK'
}

@test "RFC 5034 4: the responses of LOGIN are bounded in the same way" {
	recorder
	lines 'AUTH LOGIN' "$(octets 12287)" "AUTH LOGIN $(base64_of joe)" \
	    "$(octets 100000)" QUIT | talk -c | forms | expect '+OK
+ VXNlcm5hbWU6
-ERR
+ UGFzc3dvcmQ6
-ERR
+OK'
	not_asked
}

@test "RFC 5034 4: the connection's end in the middle of AUTH logs nobody in" {
	recorder
	printf 'AUTH PLAIN\r\nAGpvZQBz' | talk -c | forms | expect '+OK
+ '
	not_asked
	logged 'event=end user=- .*reason=disconnect'
}

# QUIT

@test "RFC 1939 4: QUIT before login is answered and closes the connection" {
	lines QUIT CAPA | talk -c | forms | expect '+OK
+OK'
	logged 'event=end user=- ip=- reason=quit'
}

@test "RFC 1939 3: QUIT takes no argument" {
	lines 'QUIT now' 'QUIT' | talk -c | forms | expect '+OK
-ERR
+OK'
}

# Clear text

@test "DESIGN 5: an unknown address gets no clear text: -ERR without a code, at once" {
	recorder
	lines 'USER joe' 'PASS secret' 'AUTH PLAIN' \
	    "AUTH PLAIN $(base64_of '\0joe\0secret')" 'AUTH LOGIN' QUIT |
	    talk | forms | expect '+OK
-ERR
-ERR
-ERR
-ERR
-ERR
+OK'
	not_asked
}

@test "DESIGN 5: the answer where clear text is not allowed gives the reason" {
	lines 'USER joe' 'PASS secret' 'AUTH PLAIN' 'AUTH LOGIN' | talk |
	    grep -c '^-ERR [^[].*TLS' | expect 4
}

@test "DESIGN 3: -c allows clear text from anywhere" {
	policy -c | expect clear
	TCPREMOTEIP=192.0.2.1 policy -c | expect clear
}

@test "DESIGN 3: -s declares TLS and so allows clear text" {
	TCPREMOTEIP=192.0.2.1 policy -s | expect clear
}

@test "DESIGN 3: SSL_PROTOCOL in the environment declares TLS" {
	SSL_PROTOCOL=TLSv1.3 TCPREMOTEIP=192.0.2.1 policy | expect clear
}

@test "DESIGN 3: an address elsewhere gets no clear text without -c" {
	for ip in 192.0.2.1 128.0.0.1 126.255.255.255 0.0.0.0 10.0.0.1 \
	    ::ffff:192.0.2.1 2001:db8::1 ::2 ::127.0.0.1 fe80::1%eth0; do
		TCPREMOTEIP=$ip policy | expect 'no clear' || {
			echo "of $ip" >&2
			return 1
		}
	done
}

@test "DESIGN 3: the loopback addresses of IPv4 and IPv6 get clear text" {
	for ip in 127.0.0.1 127.255.255.254 ::1 0:0:0:0:0:0:0:1 \
	    ::ffff:127.0.0.1 ::ffff:7f00:1; do
		TCPREMOTEIP=$ip policy | expect clear || {
			echo "of $ip" >&2
			return 1
		}
	done
}

@test "DESIGN 7: an IPv4 address in the form of IPv6 is logged as IPv4" {
	TCPREMOTEIP=::ffff:192.0.2.1 talk </dev/null >/dev/null
	logged 'event=end user=- ip=192\.0\.2\.1 '
}

@test "DESIGN 3: what is no numeric address is unknown, and not loopback" {
	for ip in localhost 127.1 '127.0.0.1 ' 127.0.0.1.example.org \
	    '127.0.0.1,192.0.2.1' 0x7f.0.0.1 unknown '' \
	    "$(printf '127.0.0.1.%.0s' {1..30})"; do
		TCPREMOTEIP=$ip policy | expect 'no clear' || {
			echo "of '$ip'" >&2
			return 1
		}
	done
}

@test "DESIGN 3: the address is TCPREMOTEIP, else SSLREMOTEIP, REMOTE_ADDR, REMOTE_HOST" {
	TCPREMOTEIP=192.0.2.1 SSLREMOTEIP=127.0.0.1 policy | expect 'no clear'
	SSLREMOTEIP=192.0.2.1 REMOTE_ADDR=127.0.0.1 policy | expect 'no clear'
	REMOTE_ADDR=192.0.2.1 REMOTE_HOST=127.0.0.1 policy | expect 'no clear'
	for name in TCPREMOTEIP SSLREMOTEIP REMOTE_ADDR REMOTE_HOST; do
		(
			export "$name=127.0.0.1"
			policy | expect clear
		)
	done
}

@test "DESIGN 3: where the environment is silent, the socket tells the address" {
	greeter_command
	start_server env -u TCPREMOTEIP "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS no' QUIT
	hear '^\+OK'
	hear '^-ERR \[AUTH\]'
	logged 'event=failure user=joe ip=127\.0\.0\.1 '
}

@test "DESIGN 3: so it does where it is one of IPv6" {
	python3 -c 'import socket; socket.socket(10).bind(("::1", 0))' \
	    2>/dev/null || skip "no IPv6 here"
	greeter_command
	python3 - "${POP3D[@]}" 2>>"$LOG" <<'P'
import socket, subprocess, sys
server = socket.create_server(("::1", 0), family=socket.AF_INET6)
client = socket.create_connection(server.getsockname()[:2])
link = server.accept()[0]
pop3d = subprocess.Popen(sys.argv[1:], stdin=link, stdout=link)
link.close()
client.sendall(b"USER joe\r\nPASS no\r\nQUIT\r\n")
while client.recv(4096):
    pass
pop3d.wait()
P
	logged 'event=failure user=joe ip=::1 '
}

@test "DESIGN 3: a socket that is not TCP tells no address, and unknown is not loopback" {
	greeter_command
	lines 'USER joe' QUIT | python3 "$BATS_TEST_DIRNAME/pop.py" -- \
	    "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | forms | expect '+OK
-ERR
+OK'
}

# Failures

# login_twice COUNT: that many wrong logins, each with its reply "+OK -ERR".
wrong_logins() {
	local i

	for ((i = 0; i < $1; i++)); do
		lines 'USER joe' 'PASS wrong'
	done
}

@test "DESIGN 3: after three wrong passwords the connection is closed" {
	{
		wrong_logins 4
		lines QUIT
	} | talk -c | forms | expect '+OK
+OK
-ERR [AUTH]
+OK
-ERR [AUTH]
+OK
-ERR [AUTH]'
	logged 'event=end user=- ip=- reason=error'
}

@test "DESIGN 3: -n says how many wrong passwords there may be" {
	{
		wrong_logins 2
		lines QUIT
	} | talk -c -n 1 | forms | expect '+OK
+OK
-ERR [AUTH]'
	[ "$(wrong_logins 6 | talk -c -n 5 | grep -c '^-ERR')" = 5 ]
}

@test "DESIGN 3: an empty password, a wrong digest and AUTH count against -n, too" {
	lines 'USER joe' PASS "APOP joe $(octets 32)" \
	    "AUTH PLAIN $(base64_of '\0joe\0x')" QUIT | talk -c -a -n 3 |
	    forms | tail -n 2 | expect '-ERR [AUTH]
-ERR [AUTH]'
}

@test "DESIGN 3: other failures do not count against -n" {
	program <<<'exit 111'
	{
		wrong_logins 2
		lines 'USER joe' "PASS a"$'\t' QUIT
	} | talk -c -n 1 | forms | tail -n 2 | expect '-ERR [SYS/TEMP]
+OK'
	program <<<'exit 2'
	{
		wrong_logins 2
		lines QUIT
	} | talk -c -n 1 | forms | tail -n 2 | expect '-ERR [SYS/PERM]
+OK'
}

@test "DESIGN 2: ten attempts of any kind close the connection" {
	greeter_command
	quick || skip "strace cannot spare us 55 seconds"
	program <<<'exit 111'
	{
		wrong_logins 11
		lines QUIT
	} | talk -c | forms | tail -n +2 >"$RECORD/got"
	[ "$(grep -c '^-ERR \[SYS/TEMP\]' "$RECORD/got")" = 10 ]
	tail -n 1 "$RECORD/got" | expect '-ERR [SYS/TEMP]'
}

@test "DESIGN 2: each failure is answered later than the one before" {
	greeter_command -c -n 4
	quick || skip "strace cannot show it"
	wrong_logins 4 | "${POP3D[@]}" >/dev/null 2>>"$LOG"
	# The delays are the waits for nothing but a hang-up.
	sed -n 's/.*events=0}.*, \([0-9]*\)).*/\1/p' "$RECORD/delays" \
	    >"$RECORD/got"
	[ "$(wc -l <"$RECORD/got")" = 4 ]
	sort -nu "$RECORD/got" | same - "$RECORD/got"
	[ "$(head -n 1 "$RECORD/got")" -gt 500 ]
}

@test "DESIGN 2: the answer to a failure is not sent before the delay is over" {
	greeter_command -c
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	say 'USER joe' 'PASS no'
	hear '^\+OK'
	wait_for logged 'event=failure' 2>/dev/null
	# The monitor has its second to wait yet.
	not read -r -t 0.2 -u "$CLIENT" HEARD
	hear '^-ERR \[AUTH\]'
}

# Lines

@test "RFC 2449 4: a command line of 255 octets is read, one of 256 is not: CRLF" {
	recorder
	printf 'USER %s\r\nPASS x\r\n' "$(octets 249)" | talk -c | forms |
	    expect '+OK
-ERR
-ERR'
	not_asked
	printf 'USER %s\r\nPASS x\r\n' "$(octets 248)" | talk -c
	handed "$(octets 248)\\0x\\0\\0"
}

@test "RFC 2449 4: a command line of 255 octets is read, one of 256 is not: LF" {
	recorder
	printf 'USER %s\nPASS x\n' "$(octets 250)" | talk -c | forms |
	    expect '+OK
-ERR
-ERR'
	not_asked
	printf 'USER %s\nPASS x\n' "$(octets 249)" | talk -c
	handed "$(octets 249)\\0x\\0\\0"
}

@test "RFC 2449 4: PASS is bounded in the same way, and not cut" {
	recorder
	printf 'USER joe\r\nPASS %s\r\n' "$(octets 249)" | talk -c | forms |
	    expect '+OK
+OK
-ERR'
	not_asked
	printf 'USER joe\r\nPASS %s\r\n' "$(octets 248)" | talk -c
	handed "joe\\0$(octets 248)\\0\\0"
}

@test "DESIGN 5: a longer line is discarded to its end, with one -ERR: pipes" {
	for n in 256 4095 4096 4097 12286 12287 100000; do
		{
			lines "USER $(octets "$n")" "$(octets "$n")" QUIT
		} | talk -c | forms | expect '+OK
-ERR
-ERR
+OK'
	done
}

@test "DESIGN 5: a longer line is discarded to its end, with one -ERR: a socket" {
	greeter_command -c
	for n in 256 4095 4096 4097 12287 100000; do
		lines "USER $(octets "$n")" "$(octets "$n")" QUIT |
		    python3 "$BATS_TEST_DIRNAME/pop.py" --how whole -- \
		    "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' | forms |
		    expect '+OK
-ERR
-ERR
+OK'
	done
}

@test "DESIGN 5: lines may end in LF alone" {
	printf 'USER joe\nPASS secret\nSTAT\nQUIT\n' | talk -c | forms |
	    tail -n 3 | expect '+OK
+OK
+OK'
}

@test "DESIGN 5: a CR alone ends no line" {
	recorder
	printf 'USER j\roe\r\r\nPASS x\ry\r\n' | talk -c
	handed 'j\roe\r\0x\ry\0\0'
}

@test "DESIGN 5: NUL and 8-bit octets end neither a line nor a keyword" {
	printf 'QUIT\0\r\nQU\0IT\r\nQUIT\377\r\n\0\r\n\303\266\r\nQUIT\r\n' |
	    talk -c | forms | expect '+OK
-ERR
-ERR
-ERR
-ERR
-ERR
+OK'
}

@test "RFC 1939 3: a line that the connection's end cuts off is not obeyed" {
	printf 'QUIT' | talk -c | forms | expect '+OK'
	recorder
	printf 'USER joe\r\nPASS secret' | talk -c | forms | expect '+OK
+OK'
	not_asked
	logged 'event=end user=- ip=- reason=disconnect'
}

@test "RFC 1939 3: keywords are understood in any case" {
	lines capa uSeR quit | talk -c | forms | grep -v '^[A-Z.]' |
	    expect '+OK
+OK
-ERR
+OK'
}

@test "DESIGN 5: blanks behind a command are ignored, those before it are not" {
	lines 'CAPA  ' $'STLS \t' 'QUIT   ' | talk -c | forms |
	    grep -v '^[A-Z.]' | expect '+OK
+OK
-ERR
+OK'
	lines ' CAPA' ' ' '' 'QUIT' | talk -c | forms | expect '+OK
-ERR
-ERR
-ERR
+OK'
}

@test "RFC 1939 3: unknown commands are -ERR, and the next one is understood" {
	lines XYZZY 'USERjoe' QUI QUITT TLS QUIT | talk -c | forms |
	    tally | expect '2 +OK
5 -ERR'
}

@test "RFC 1939 4: the commands of TRANSACTION are refused before login" {
	lines STAT LIST 'LIST 1' 'RETR 1' 'DELE 1' NOOP RSET 'TOP 1 1' UIDL \
	    LAST QUIT | talk -c | forms | tally | expect '2 +OK
10 -ERR'
}

@test "DESIGN 5: twenty bad commands in a row close the connection" {
	{
		yes $'BAD\r' | head -n 21
		lines QUIT
	} | talk -c | forms >"$RECORD/got"
	tally <"$RECORD/got" | expect '1 +OK
20 -ERR'
	logged 'event=end user=- ip=- reason=error'
}

@test "DESIGN 5: bad commands that are not in a row do not" {
	{
		yes $'BAD\r' | head -n 19
		lines CAPA
		yes $'BAD\r' | head -n 19
		lines QUIT
	} | talk -c | forms | sed '/^[A-Z.]/d' | tally | expect '3 +OK
38 -ERR'
}

# Answered once: whatever the rest is.
foreign() {
	printf '%s\r\n' "$@" 'Host: x' '' QUIT | talk -c | forms |
	    expect '+OK
-ERR' || {
		echo "to: ${1::40}" >&2
		return 1
	}
}

@test "DESIGN 5: a first line that is HTTP is answered once, and closed" {
	foreign 'GET / HTTP/1.1'
	foreign 'POST /x HTTP/1.0'
	foreign 'get / HTTP/1.0'
	foreign 'PRI * HTTP/2.0'
	foreign 'OPTIONS * RTSP/1.0'
	foreign 'CONNECT mail.example.org:25 HTTP/1.1'
}

@test "DESIGN 5: a first line that is SMTP is answered once, and closed" {
	foreign 'EHLO client.example.org'
	foreign 'helo client.example.org'
}

@test "DESIGN 5: a TLS hello is answered once, without its line end, and closed" {
	greeter_command -c
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	printf '\026\003\001\002\000\001\000\001\374\003\003' >&"$CLIENT"
	hear '^-ERR'
	closed
}

@test "DESIGN 5: an HTTP line that is too long is answered once, and closed" {
	foreign "GET /$(octets 20000) HTTP/1.1"
}

@test "DESIGN 5: later on, such a line is but an unknown command" {
	lines CAPA 'EHLO x' 'GET / HTTP/1.1' $'\026\003\001' QUIT | talk -c |
	    forms | sed '/^[A-Z.]/d' | expect '+OK
+OK
-ERR
-ERR
-ERR
+OK'
}

@test "RFC 2449 6.6: commands in one segment are answered like those one by one" {
	greeter_command -c
	lines CAPA 'USER joe' AUTH XYZZY 'AUTH PLAIN' '*' QUIT >"$RECORD/script"
	for by in socket pipe; do
		for how in lines whole octets; do
			python3 "$BATS_TEST_DIRNAME/pop.py" --by "$by" \
			    --how "$how" -- "${POP3D[@]}" <"$RECORD/script" \
			    >"$RECORD/$by-$how" 2>>"$LOG"
			same "$RECORD/socket-lines" "$RECORD/$by-$how"
		done
	done
	[ "$(tr -d '\r' <"$RECORD/socket-lines" | forms | tail -n 1)" = +OK ]
}

@test "RFC 2449 6.6: replies to pipelined commands leave in one write" {
	greeter_command -c
	command -v strace >/dev/null || skip "needs strace"
	lines XYZZY XYZZY XYZZY QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --how whole -- strace -f -qq \
	    -s 512 -o "$RECORD/calls" -e trace=sendto,write "${POP3D[@]}" \
	    >/dev/null 2>>"$LOG"
	grep -c 'sendto(1, "-ERR.*-ERR.*-ERR' "$RECORD/calls" | expect 1
}

# UTF8

@test "RFC 6856 2: UTF8 is announced without USER, in both states" {
	lines CAPA | talk -c | grep UTF8 | expect UTF8
	printf 'CAPA\nQUIT\n' | session | grep UTF8 | expect UTF8
}

@test "RFC 6856 2.1: UTF8 is +OK in AUTHORIZATION, has no argument, and is none of TRANSACTION's" {
	lines UTF8 'UTF8 USER' utf8 'USER joe' 'PASS secret' UTF8 QUIT >"$RECORD/in"
	greeter_command -c
	"${POP3D[@]}" <"$RECORD/in" 2>>"$LOG" | tr -d '\r' | forms | expect '+OK
+OK
-ERR
+OK
+OK
+OK
-ERR
+OK'
}

@test "RFC 6856 2.1: messages go as they are stored, with UTF8 and without" {
	printf 'Subject: \303\244\n\n\303\266\n' | deliver new/1.a
	greeter_command -c
	for first in UTF8 NOOP; do
		lines "$first" 'USER joe' 'PASS secret' 'RETR 1' QUIT |
		    "${POP3D[@]}" 2>>"$LOG" >"$RECORD/answers"
		grep -qx $'Subject: \303\244\r' "$RECORD/answers"
		grep -qx $'\303\266\r' "$RECORD/answers"
	done
}

@test "RFC 6856 3: LANG is not announced, and -ERR in both states" {
	lines CAPA LANG 'LANG en' 'LANG *' 'USER joe' 'PASS secret' LANG \
	    'LANG de' CAPA QUIT | talk -c >"$RECORD/answers"
	not grep -i '^LANG' "$RECORD/answers"
	grep -c '^-ERR' "$RECORD/answers" | expect 5
	grep -c '^+OK' "$RECORD/answers" | expect 6
}

@test "RFC 1939 7: no name of the host makes the greeting look like a time stamp or a response code" {
	for host in '[AUTH]' '<1.2@x>' 'a<b@c>' ' [x'; do
		TCPLOCALHOST=$host talk -c </dev/null |
		    grep -E '^\+OK [A-Za-z0-9._:-]+ POP3 ready$'
	done
}
