#!/usr/bin/env bats
# pop3d-checkpassword: what it accepts, what it becomes, what it refuses.
# SC2016: hashes hold dollar signs. SC2030, SC2031: each test is a subshell.
# SC2034: accounts.bash has a use for it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034

bats_require_minimum_version 1.5.0

load helper
load accounts

setup() {
	gcov_setup
	CP=${POP3D_BIN:-$BATS_TEST_DIRNAME/..}/pop3d-checkpassword
	unset AUTH_MECH CHECKPASSWORD
	out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err
	users=$BATS_TEST_TMPDIR/users
	uid=$(id -u) gid=$(id -g)
	[ "$uid" -ne 0 ] || uid=65534 gid=65534
	opts=(-f "$users" -u "$uid:$gid" -h /usr)
	program=(true)
}

# the passwd-file, one line for each argument
entries() {
	rm -f "$users"
	(umask 077 && printf '%s\n' "$@" >"$users")
}

hash_of() { # a method's hash of "tanstaaf"
	case $1 in
	yescrypt) echo '$y$j75$CWozDI/6hj4T5mAU9K0oO.$gagGOmd3BeXqnAXIDcFb5B8iebP2MgYRNw8/DH7BVd4' ;;
	gost-yescrypt) echo '$gy$j75$aFs8fwCncXEQhJx/m9aqY1$zUpGpRJEwP7sxCoTUpxrvmwFdV93W6/NiXnSZzxlZ20' ;;
	scrypt) echo '$7$BU..../....ozvpJA0eouv9YZGCIwehc1$ujMg.uQRUc.Fjjv9gbXmYam8pLMH5/w9yhTxjk7.ls9' ;;
	bcrypt) echo '$2b$04$mK/Krejuu8eExMFcjm8rjepipeckDuejt.lY9yYjRoyUvXhlyQs0W' ;;
	bcrypt-a) echo '$2a$04$Py.vNMUVnOJ5u15ijnibV.1Cxg3.xSiDDI0cv.3d331MG7mr6LUdG' ;;
	bcrypt-y) echo '$2y$04$fAA2.2LTJZVbFq8wi2IQc.SKoYFQtCVSgLTM/WrCBnqne3thfseWW' ;;
	sha512) echo '$6$rounds=1000$sE0tnoLXkEwI8Znb$zX4USrdej/4yRX3u/IAVeG5jWEgIMf2qnKH8uwsCAp1DuuIysYt/Q3Gt0Usj2uEe1fiBbY.pbgqAyeUOXySLO0' ;;
	sha256) echo '$5$rounds=1000$w6QXr559ICBJpVAW$yt5a/MfArS9exgw/DixGQ0svkn3SSCoAq51XSfmmj2/' ;;
	md5) echo '$1$E1D66Nqu$rXjPAu3T9NMAyHq8HTcEV/' ;;
	sunmd5) echo '$md5,rounds=72512$vvK5NQ0E$$dXgkxZhfTqEyVdTDrt6Vi1' ;;
	sha1) echo '$sha1$255397$MVSgZzYqPapQgJHepYrZ$IwLlHQp7pYwltwNczzn1hUFl39y/' ;;
	bsdicrypt) echo '_J9..bR7JvLSR.pJBGqY' ;;
	des) echo '/uWqJgij97wOo' ;;
	esac
}

# whether its hash fits "tanstaaf" and nothing else
hash_serves() {
	local hash
	hash=$(hash_of "$1")
	[ -n "$hash" ]
	entries "mrose:$hash"
	accepts mrose tanstaaf
	refuses mrose Tanstaaf
	refuses mrose "$hash"
	refuses mrose ""
}

# makes CP run as an ordinary user (in the place where the suite copied it)
as_ordinary() {
	[ "$(id -u)" -eq 0 ] || return 0
	command -v setpriv >/dev/null || skip "no setpriv"
	printf '#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups %s "$@"\n' \
		"$CP" >"$BATS_TEST_TMPDIR/ordinary"
	chmod 755 "$BATS_TEST_TMPDIR/ordinary"
	[ ! -e "$users" ] || chmod 644 "$users"
	CP=$BATS_TEST_TMPDIR/ordinary
}

@test "hash: yescrypt" { hash_serves yescrypt; }
@test "hash: gost-yescrypt" { hash_serves gost-yescrypt; }
@test "hash: scrypt" { hash_serves scrypt; }
@test "hash: bcrypt, \$2b\$" { hash_serves bcrypt; }
@test "hash: bcrypt, \$2a\$" { hash_serves bcrypt-a; }
@test "hash: bcrypt, \$2y\$" { hash_serves bcrypt-y; }
@test "hash: SHA-512" { hash_serves sha512; }
@test "hash: SHA-256" { hash_serves sha256; }
@test "hash: MD5" { hash_serves md5; }
@test "hash: SunMD5" { hash_serves sunmd5; }
@test "hash: SHA-1" { hash_serves sha1; }
@test "hash: BSDi's DES" { hash_serves bsdicrypt; }
@test "hash: DES" { hash_serves des; }

@test "hash: what crypt does not know fits nothing" {
	entries 'a:$99$salt$abcdefghijklmnop' 'b:short' 'c:x' 'd:{SSHA}abcdefghijklmnop'
	for user in a b c d; do
		refuses $user tanstaaf
		refuses $user short
		refuses $user x
		refuses $user abcdefghijklmnop
	done
}

@test "scheme: each {…CRYPT}, in any case, means crypt" {
	for scheme in '{CRYPT}' '{BLF-CRYPT}' '{SHA512-CRYPT}' '{SHA256-CRYPT}' \
		'{MD5-CRYPT}' '{crypt}' '{Sha512-Crypt}'; do
		entries "mrose:$scheme$(hash_of sha512)"
		accepts mrose tanstaaf
		refuses mrose tanstaa
	done
}

@test "scheme: {PLAIN} and {CLEARTEXT} are compared as they stand" {
	for scheme in '{PLAIN}' '{CLEARTEXT}' '{plain}'; do
		entries "mrose:${scheme}tan staaf{x}"
		accepts mrose 'tan staaf{x}'
		refuses mrose 'tan staaf{x'
		refuses mrose 'tan staaf{x}}'
		refuses mrose "${scheme}tan staaf{x}"
	done
}

@test "an empty stored secret, or an empty password, never fits" {
	empty=$(perl -e 'print crypt("", q($1$salt))')
	entries 'a:' 'b:{PLAIN}' 'c:{CRYPT}' "d:$empty" 'e::1:1::/usr:'
	for user in a b c d e; do
		refuses $user ""
		refuses $user x
	done
}

@test "a locked secret, after ! or *, never fits" {
	entries "a:!$(hash_of sha512)" "b:*$(hash_of sha512)" 'c:*' 'd:!!'
	for user in a b c d; do
		refuses $user tanstaaf
		refuses $user "*"
	done
}

@test "APOP: RFC 1939's example, with {PLAIN}" {
	entries 'mrose:{PLAIN}tanstaaf'
	export AUTH_MECH=APOP
	stamp='<1896.697170952@dbc.mtview.ca.us>'
	accepts mrose c4c9334bac560ecc979e58001b3e22fb "$stamp"
	refuses mrose c4c9334bac560ecc979e58001b3e22fc "$stamp"
	refuses mrose c4c9334bac560ecc979e58001b3e22fb "<x$stamp"
	refuses mrose tanstaaf "$stamp"
	refuses nobody c4c9334bac560ecc979e58001b3e22fb "$stamp"
}

@test "APOP: without a stamp no digest fits" {
	entries 'mrose:{PLAIN}tanstaaf'
	digest=$(printf tanstaaf | md5sum | cut -d' ' -f1)
	export AUTH_MECH=APOP
	refuses mrose "$digest" ""
	unset AUTH_MECH
	refuses mrose "$digest" ""
}

@test "APOP: a hashed secret fits no digest, and the password neither" {
	entries "mrose:$(hash_of md5)"
	export AUTH_MECH=APOP
	refuses mrose c4c9334bac560ecc979e58001b3e22fb '<1896.697170952@dbc.mtview.ca.us>'
	refuses mrose tanstaaf '<1896.697170952@dbc.mtview.ca.us>'
}

@test "CRAM-MD5: RFC 2195's example, with {PLAIN}" {
	entries 'tim:{PLAIN}tanstaaftanstaaf' "hashed:$(hash_of md5)"
	export AUTH_MECH=CRAM-MD5
	challenge='<1896.697170952@postoffice.reston.mci.net>'
	accepts tim b913a602c7eda7a495b4e6e7334d3890 "$challenge"
	refuses tim b913a602c7eda7a495b4e6e7334d3891 "$challenge"
	refuses tim b913a602c7eda7a495b4e6e7334d3890 "<x$challenge"
	refuses tim tanstaaftanstaaf "$challenge"
	refuses nobody b913a602c7eda7a495b4e6e7334d3890 "$challenge"
	refuses hashed tanstaaf "$challenge"
}

@test "CRAM-MD5: a secret longer than MD5's block is hashed first" {
	long=$(printf '%0100d' 7)
	entries "tim:{PLAIN}$long"
	export AUTH_MECH=CRAM-MD5
	accepts tim "$(printf '<1.2@x>' | openssl md5 -hex -hmac "$long" |
	    sed 's/.* //')" '<1.2@x>'
	digest=$(printf '' | openssl md5 -hex -hmac "$long" | sed 's/.* //')
	refuses tim "$digest" ''
}

# bearer: the program of -b; sh on standard input, which has $OUT.
bearer() {
	{
		echo '#!/bin/sh'
		cat
	} >"$BATS_TEST_TMPDIR/bearer"
	chmod 755 "$BATS_TEST_TMPDIR/bearer"
	opts+=(-b "$BATS_TEST_TMPDIR/bearer" -s mail)
	export OUT=$BATS_TEST_TMPDIR/seen
}

@test "bearer tokens: the program of -b gets token, user and scope, and not the client" {
	bearer <<'P'
client=$(readlink /proc/$$/fd/0 /proc/$$/fd/1)
printf '%s|%s|%s\n%s\n' "$(cat <&3)" "$USER" "$SCOPE" "$client" >"$OUT"
P
	entries 'joe:!'
	for mech in OAUTHBEARER XOAUTH2; do
		export AUTH_MECH=$mech
		accepts joe 'ya29.to ken'
		printf 'ya29.to ken|joe|mail\n/dev/null\n/dev/null\n' |
		    cmp - "$OUT"
	done
}

@test "bearer tokens: the program of -b cannot say that a session has begun" {
	bearer <<'P'
[ ! -e /proc/$$/fd/4 ]
P
	entries 'joe:!'
	export AUTH_MECH=XOAUTH2
	exec 4>/dev/null
	accepts joe token
	exec 4>&-
	accepts joe token
}

@test "bearer tokens: exit codes of the program of -b" {
	bearer <<'P'
exit "$CODE"
P
	entries 'joe:!'
	export AUTH_MECH=XOAUTH2 CODE
	for CODE in 1 3 99; do
		attempt joe token
		expect 1
	done
	for CODE in 2 100 111; do
		attempt joe token
		expect 111
		[ ! -s "$out" ]
	done
	bearer <<'P'
kill -9 $$
P
	attempt joe token
	expect 111
	rm "$BATS_TEST_TMPDIR/bearer"
	attempt joe token
	expect 111
}

@test "bearer tokens: who has no account is refused, whatever the program of -b says" {
	bearer <<'P'
exit 0
P
	entries 'joe:!'
	export AUTH_MECH=OAUTHBEARER
	accepts joe token
	refuses ann token
	refuses ../joe token
}

@test "bearer tokens: a stand-in for an introspection end point (RFC 7662)" {
	python3 - "$BATS_TEST_TMPDIR/port" <<'P' 3>&- &
import base64, http.server, json, sys, urllib.parse
secret = "Basic " + base64.b64encode(b"client:a\"b\\nc d").decode()
class Introspection(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        good = urllib.parse.parse_qs(text).get("token") == ["good+/="]
        good &= self.headers["Authorization"] == secret
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"active": good, "username": "joe",
            "scope": "mail openid"} if good else {"active": False}).encode())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Introspection)
with open(sys.argv[1], "w") as file:
    print(server.server_address[1], file=file)
server.serve_forever()
P
	server=$!
	for _ in {1..500}; do
		[ ! -s "$BATS_TEST_TMPDIR/port" ] || break
		sleep 0.02
	done
	export PORT AUTH_MECH=OAUTHBEARER
	PORT=$(cat "$BATS_TEST_TMPDIR/port")
	cp "$BATS_TEST_DIRNAME/../contrib/introspect" "$BATS_TEST_TMPDIR"
	sed -i -e "s|^url=.*|url=http://127.0.0.1:$PORT/introspect|" \
	    -e "s|^credentials=.*|credentials=$BATS_TEST_TMPDIR/client|" \
	    "$BATS_TEST_TMPDIR/introspect"
	printf '%s\n' 'client:a"b\nc d' >"$BATS_TEST_TMPDIR/client"
	chmod 755 "$BATS_TEST_TMPDIR/introspect"
	entries 'joe:!' 'ann:!'
	opts+=(-b "$BATS_TEST_TMPDIR/introspect" -s mail)
	accepts joe 'good+/='
	refuses joe bad
	# It is joe's.
	refuses ann 'good+/='
	opts+=(-s calendar)
	refuses joe 'good+/='
	kill $server
	wait $server || :
	# Nobody is there to ask.
	attempt joe 'good+/='
	expect 111
}

@test "passwd-file: what the extra field says of the session" {
	program=(sh -c 'printf "%s|%s\n" "${POP3D_SESSION-none}" "${MAILDIR-none}"')
	entries 'joe:{PLAIN}a:::::/bin/sh:userdb_x=1 pop3d_session=-d300,-k.Deleted,-P pop3d_maildir=Mail:s y' \
	    'ann:{PLAIN}a::::::xpop3d_session=-P' 'ben:{PLAIN}a' \
	    'kim:{PLAIN}a::::::pop3d_session='
	feed < <(printf 'joe\0a\0\0')
	[ "$(cat "$out")" = '-d300 -k.Deleted -P|Mail:s' ]
	feed < <(printf 'ann\0a\0\0')
	[ "$(cat "$out")" = 'none|none' ]
	feed < <(printf 'ben\0a\0\0')
	[ "$(cat "$out")" = 'none|none' ]
	feed < <(printf 'kim\0a\0\0')
	[ "$(cat "$out")" = '|none' ]
}

@test "AUTH_MECH: USER, PLAIN and LOGIN take the password alone" {
	for mech in USER PLAIN LOGIN; do
		export AUTH_MECH=$mech
		entries 'mrose:{PLAIN}tanstaaf' "hashed:$(hash_of md5)"
		accepts mrose tanstaaf
		accepts hashed tanstaaf
		refuses mrose c4c9334bac560ecc979e58001b3e22fb '<1896.697170952@dbc.mtview.ca.us>'
	done
}

@test "AUTH_MECH: not set, or empty, means password or digest" {
	entries 'mrose:{PLAIN}tanstaaf'
	for mech in unset empty; do
		[ $mech = unset ] || export AUTH_MECH=
		accepts mrose tanstaaf '<1896.697170952@dbc.mtview.ca.us>'
		accepts mrose c4c9334bac560ecc979e58001b3e22fb '<1896.697170952@dbc.mtview.ca.us>'
	done
}

@test "AUTH_MECH: one not served here is misuse, never a password" {
	entries 'mrose:{PLAIN}tanstaaf'
	for mech in OAUTHBEARER XOAUTH2 apop cram-md5 SCRAM-SHA-1 X; do
		export AUTH_MECH=$mech
		attempt mrose tanstaaf
		expect 2
		[ ! -s "$out" ]
	done
}

@test "unknown users are refused like wrong passwords, without a word" {
	entries "mrose:$(hash_of md5)"
	refuses nobody tanstaaf
	[ ! -s "$err" ]
	refuses mrose wrong
	[ ! -s "$err" ]
}

@test "names are compared octet for octet" {
	entries "mrose:$(hash_of md5)" $'j\xf6rg:{PLAIN}a' 'größe@example.org:{PLAIN}b'
	refuses Mrose tanstaaf
	refuses mros tanstaaf
	refuses mrose1 tanstaaf
	refuses 'mrose ' tanstaaf
	accepts $'j\xf6rg' a
	refuses $'j\xf6r' a
	accepts 'größe@example.org' b
}

@test "passwords of 8-bit octets and blanks are compared as they stand" {
	entries $'a:{PLAIN} \xff\xfe\t '
	accepts a $' \xff\xfe\t '
	refuses a $'\xff\xfe\t'
}

@test "comments and blank lines are nobody's" {
	entries '# a comment:' '' '  ' '#x:{PLAIN}a' 'mrose:{PLAIN}b'
	refuses '#x' a
	refuses '' ''
	accepts mrose b
	[ ! -s "$err" ]
}

@test "malformed lines are skipped and their numbers told" {
	entries '# one' 'nocolon' 'mrose:{PLAIN}a:abc:1::/usr:' ':{PLAIN}x:::::' \
		'mrose:{PLAIN}b:-1:1::/usr:' 'mrose:{PLAIN}c:4294967295:1::/usr:' \
		'mrose:{PLAIN}d:18446744073709551617:1::/usr:' 'mrose:{PLAIN}e'
	for secret in a b c d; do
		refuses mrose $secret
	done
	accepts mrose e
	for number in 2 3 4 5 6 7; do
		grep -q "users: line $number is malformed" "$err"
	done
	[ "$(wc -l <"$err")" -eq 6 ]
}

@test "messages never hold a secret of the file or of the client" {
	entries 'nocolonSECRET' 'mrose:{PLAIN}SECRET:abc:SECRET'
	refuses mrose SECRET
	[ -s "$err" ]
	run ! grep -q SECRET "$err"
}

@test "the first line of a user counts" {
	entries 'mrose:{PLAIN}a' 'mrose:{PLAIN}b'
	accepts mrose a
	refuses mrose b
}

@test "long lines and many users are read whole" {
	rm -f "$users"
	(
		umask 077
		{
			printf 'long:{PLAIN}a:::%0100000d:/usr::%0100000d\n' 0 0
			seq 20000 | sed 's/.*/u&:{PLAIN}p&/'
			printf 'last:{PLAIN}z'
		} >"$users"
	)
	accepts long a
	accepts u19999 p19999
	accepts last z
	refuses u19999 p19998
}

@test "a file with a NUL is a temporary error" {
	entries 'mrose:{PLAIN}a'
	printf 'x\0mrose:{PLAIN}a\n' >>"$users"
	attempt mrose a
	expect 111
}

@test "a file that group or others may write is a temporary error" {
	entries 'mrose:{PLAIN}a'
	for mode in 620 602 666; do
		chmod $mode "$users"
		attempt mrose a
		expect 111
		grep -q 'its owner alone' "$err"
	done
	chmod 644 "$users"
	accepts mrose a
}

@test "a missing file, a directory and a FIFO are temporary errors" {
	attempt mrose a
	expect 111
	mkdir "$users"
	attempt mrose a
	expect 111
	rmdir "$users"
	(umask 077 && mkfifo "$users")
	opts=(-f "$users")
	status=0
	timeout 10 "$CP" -f "$users" true 3< <(printf 'a\0b\0') 2>"$err" || status=$?
	expect 111
}

@test "a symbolic link to the file is followed" {
	entries 'mrose:{PLAIN}a'
	ln -s users "$BATS_TEST_TMPDIR/link"
	opts[1]=$BATS_TEST_TMPDIR/link
	accepts mrose a
}

@test "success sets USER, HOME, SHELL and the directory, and keeps the rest" {
	entries "mrose:{PLAIN}a:$uid:$gid:Rose:/usr/bin:/bin/ksh:extra=1:2"
	export TCPREMOTEIP=192.0.2.1
	program=(sh -c 'echo "$USER|$HOME|$SHELL|$(pwd -P)|$TCPREMOTEIP|$*"' x 'one arg' two)
	accepts mrose a
	[ "$(cat "$out")" = "mrose|/usr/bin|/bin/ksh|$(cd /usr/bin && pwd -P)|192.0.2.1|one arg two" ]
}

@test "without a shell in the file SHELL is /bin/sh" {
	entries 'mrose:{PLAIN}a'
	program=(sh -c 'echo "$SHELL $HOME"')
	accepts mrose a
	[ "$(cat "$out")" = "/bin/sh /usr" ]
}

@test "options behind the program are the program's" {
	entries 'mrose:{PLAIN}a'
	program=(echo -f -u -h)
	accepts mrose a
	[ "$(cat "$out")" = "-f -u -h" ]
}

@test "-h: %u, %n, %d and %% are expanded" {
	entries 'joe@example.org:{PLAIN}a' 'joe:{PLAIN}a' 'a@b@c:{PLAIN}a'
	opts[5]='/nowhere/%d/%n/%u/%%'
	attempt joe@example.org a
	expect 111
	grep -qF ': /nowhere/example.org/joe/joe@example.org/%: ' "$err"
	attempt a@b@c a
	expect 111
	grep -qF ': /nowhere/b@c/a/a@b@c/%: ' "$err"
	opts[5]='/nowhere/%n'
	attempt joe a
	expect 111
	grep -qF ': /nowhere/joe: ' "$err"
}

@test "-h: a %d without a domain, other %, and relative paths are temporary errors" {
	entries 'joe:{PLAIN}a'
	for pattern in '/usr/%d' '/usr/%x' '/usr/%' 'usr' ''; do
		opts[5]=$pattern
		attempt joe a
		expect 111
		grep -q 'absolute home' "$err"
	done
}

@test "the file's own home is literal and wins over -h" {
	entries "joe:{PLAIN}a:::joe:/nowhere/%u:"
	attempt joe a
	expect 111
	grep -qF ': /nowhere/%u: ' "$err"
}

@test "no home at all, and one that cannot be entered, are temporary errors" {
	entries 'joe:{PLAIN}a' 'ann:{PLAIN}a::::/nonexistent:'
	opts=(-f "$users" -u "$uid:$gid")
	attempt joe a
	expect 111
	attempt ann a
	expect 111
	grep -q nonexistent "$err"
}

@test "a program that cannot be executed is a temporary error" {
	entries 'mrose:{PLAIN}a'
	program=(/nonexistent)
	attempt mrose a
	expect 111
	[ ! -s "$out" ]
}

@test "names that could leave a directory or a field never match" {
	entries '..:{PLAIN}a' '.hidden:{PLAIN}a' 'x/y:{PLAIN}a' '..@..:{PLAIN}a' \
		'x@..:{PLAIN}a' 'x@:{PLAIN}a' '@x:{PLAIN}a' 'ok:{PLAIN}a:::::' \
		'../../etc:{PLAIN}a' 'a@b/c:{PLAIN}a'
	for name in '..' '.hidden' 'x/y' '..@..' 'x@..' 'x@' '@x' 'ok:' \
		'ok:{PLAIN}a' '../../etc' 'a@b/c' $'ok\n' $'\nok' '@' ''; do
		refuses "$name" a
	done
	accepts ok a
}

@test "descriptor 3: the challenge may lack its NUL or be absent" {
	entries 'mrose:{PLAIN}tanstaaf'
	feed < <(printf 'mrose\0tanstaaf\0')
	expect 0
	feed < <(printf 'mrose\0tanstaaf\0<1@x>')
	expect 0
	feed < <(printf 'mrose\0c4c9334bac560ecc979e58001b3e22fb\0<1896.697170952@dbc.mtview.ca.us>')
	expect 0
	feed < <(printf 'mrose\0tanstaaf\0<1@x>\0more\0')
	expect 0
}

@test "descriptor 3: not open, empty, or without its NULs is misuse" {
	entries 'mrose:{PLAIN}a'
	status=0
	"$CP" "${opts[@]}" true 3<&- >"$out" 2>"$err" || status=$?
	expect 2
	for octets in '' 'mrose' 'mrose\0' 'mrose\0a' '\0'; do
		# shellcheck disable=SC2059
		feed < <(printf "$octets")
		expect 2
		[ ! -s "$out" ]
	done
}

@test "descriptor 3: NULs alone are a user without a name" {
	entries 'mrose:{PLAIN}a' ':{PLAIN}'
	feed < <(printf '\0\0\0\0')
	expect 1
	feed < <(head -c 16384 /dev/zero)
	expect 1
}

@test "descriptor 3: 16384 octets are read, more are misuse" {
	rm -f "$users"
	long=$(printf '%016376d' 0)
	entries "mrose:{PLAIN}$long"
	feed < <(printf 'mrose\0%s\0\0' "$long")
	expect 0
	feed < <(printf 'mrose\0%s\0\0\0' "$long")
	expect 2
	feed < <(head -c 1048576 /dev/zero | tr '\0' a)
	expect 2
	feed < <(head -c 1048576 /dev/zero)
	expect 2
}

@test "descriptor 3: octets that trickle in are put together" {
	entries 'mrose:{PLAIN}a'
	feed < <(
		for octet in m r o s e '\0' a '\0'; do
			# shellcheck disable=SC2059
			printf "$octet"
			sleep 0.02
		done
	)
	expect 0
}

@test "descriptor 3 is closed and no other is left behind for the program" {
	entries 'mrose:{PLAIN}a'
	program=(sh -c 'test -d /proc/$$/fd || exit 77; ls -l /proc/$$/fd')
	accepts mrose a
	run ! grep -qE ' 3 ->|users' "$out"
}

@test "no secret is left in the program's environment or arguments" {
	entries 'mrose:{PLAIN}tanstaaf'
	export AUTH_MECH=USER
	program=(sh -c 'tr "\0" "\n" </proc/$$/environ; tr "\0" "\n" </proc/$$/cmdline')
	accepts mrose tanstaaf
	grep -q '^USER=mrose$' "$out"
	run ! grep -q tanstaaf "$out"
}

@test "usage: wrong options and a missing program exit 100" {
	for line in '' '-f' '-x true' '-u 1 true' '-u a:b true' '-u 1:-2 true' \
		'-u :1:2 true' '-u 4294967295:1 true'; do
		status=0
		# shellcheck disable=SC2086
		"$CP" $line >"$out" 2>"$err" 3< <(printf 'a\0b\0') || status=$?
		expect 100
		grep -q '^usage: ' "$err"
		[ ! -s "$out" ]
	done
}

@test "uid 0 is refused like a wrong password, with a message" {
	entries 'mrose:{PLAIN}a:0:0::/usr:'
	refuses mrose a
	grep -q 'mrose: uid 0' "$err"
	refuses mrose b
	[ ! -s "$err" ]
}

@test "an ordinary user keeps its identity, and can become no other" {
	entries 'mrose:{PLAIN}a' 'other:{PLAIN}a:12345:12345::/usr:'
	opts=(-f "$users" -h /usr)
	program=(id -u)
	as_ordinary
	attempt mrose a
	expect 0
	[ "$(cat "$out")" = "$uid" ]
	attempt other a
	expect 111
	grep -q 'only root' "$err"
}

@test "as root: no uid or gid from file or -u is a temporary error" {
	need_root "an ordinary user has them"
	entries 'a:{PLAIN}a' 'b:{PLAIN}a:1000' 'c:{PLAIN}a::1000'
	opts=(-f "$users" -h /usr)
	for user in a b c; do
		attempt $user a
		expect 111
	done
}

@test "as root: user, group and groups are given up, and do not come back" {
	need_root "there is nothing to give up"
	entries 'mrose:{PLAIN}a:4242:4243::/usr:'
	program=(python3 -c '
import os
for line in open("/proc/self/status"):
    if line.startswith(("Uid", "Gid", "Groups", "CapEff", "CapPrm")):
        print(*line.split())
for name in ("setuid", "seteuid", "setgid", "setegid"):
    try:
        getattr(os, name)(0)
        print(name, "came back")
    except PermissionError:
        pass
try:
    os.setgroups([0])
    print("setgroups came back")
except PermissionError:
    pass
')
	program[0]=$(python3 -c 'import sys; print(sys.executable)')
	[ -x /usr/bin/python3 ] && program[0]=/usr/bin/python3
	accepts mrose a
	cat "$out"
	diff "$out" - <<-'END'
		Uid: 4242 4242 4242 4242
		Gid: 4243 4243 4243 4243
		Groups: 4243
		CapPrm: 0000000000000000
		CapEff: 0000000000000000
	END
}

# Whether an attempt takes as much processor time as one with the name in
# $known and a wrong password: the least of five, taken in turns.
costs_alike() {
	local TIMEFORMAT=%U a b
	a=$(mktemp "$BATS_TEST_TMPDIR/times.XXXXXX")
	b=$(mktemp "$BATS_TEST_TMPDIR/times.XXXXXX")
	for _ in 1 2 3 4 5; do
		{ time attempt "$known" wrong; } 2>>"$a"
		{ time attempt "$@"; } 2>>"$b"
	done
	a=$(sort -n "$a" | head -n 1) b=$(sort -n "$b" | head -n 1)
	awk -v a="$a" -v b="$b" 'BEGIN { exit !(a > 0.02 && a < 1.8 * b && b < 1.8 * a) }' ||
		{ echo "$known $a s, $1 $b s"; return 1; }
}

@test "an unknown, locked, plain or ill-named user costs as much as a known one" {
	slow=$(perl -e 'print crypt("tanstaaf", q($6$rounds=500000$salt))')
	entries "locked:!$slow" 'plain:{PLAIN}a' "mrose:$slow"
	known=mrose
	costs_alike nobody wrong
	costs_alike locked wrong
	costs_alike plain wrong
	costs_alike ../x wrong
	costs_alike mrose ''
	export AUTH_MECH=APOP
	costs_alike mrose wrong '<1@x>'
	costs_alike nobody wrong '<1@x>'
}

@test "system accounts: the right password gets the user's groups and home" {
	account "$(hash_of sha512)"
	program=(sh -c 'id -u; id -g; id -G; echo "$USER $HOME $SHELL"; pwd')
	accepts probe tanstaaf
	cat "$out"
	diff "$out" - <<-'END'
		4242
		4243
		4243 4244
		probe /usr /bin/probe
		/usr
	END
	refuses probe wrong
	refuses prob tanstaaf
}

@test "system accounts: locked ones, and an empty secret, are refused" {
	for secret in "!$(hash_of sha512)" "*$(hash_of sha512)" '*' '!' '!!' '' x; do
		account "$secret"
		refuses probe tanstaaf
		refuses probe ""
		refuses probe x
	done
}

@test "system accounts: an account past its date is refused" {
	today=$(($(date +%s) / 86400))
	account "$(hash_of sha512)" "19000:0:99999:7::$today"
	refuses probe tanstaaf
	grep -q 'probe: account has expired' "$err"
	account "$(hash_of sha512)" "19000:0:99999:7::$((today + 2))"
	accepts probe tanstaaf
	account "$(hash_of sha512)" "19000:0:99999:7::0"
	refuses probe tanstaaf
}

@test "system accounts: a password is refused once expired and inactive, not before" {
	today=$(($(date +%s) / 86400))
	account "$(hash_of sha512)" "$((today - 100)):0:50:7:40:"
	refuses probe tanstaaf
	for dates in "$((today - 100)):0:50:7:60:" "$((today - 100)):0:50:7::" \
		"$((today - 100)):0::7:1:" "0:0:50:7:40:"; do
		account "$(hash_of sha512)" "$dates"
		accepts probe tanstaaf
	done
}

@test "system accounts: root is refused, whatever its password" {
	account '*'
	echo "root:$(hash_of sha512):19000:0:99999:7:::" >>"$ACCOUNTS/shadow"
	refuses root tanstaaf
	refuses root wrong
}

@test "system accounts: an unknown user costs as much as a known one" {
	account "$(perl -e 'print crypt("tanstaaf", q($6$rounds=150000$salt))')"
	known=probe
	costs_alike nobody-here wrong
	costs_alike daemon wrong
}

@test "system accounts: a shadow file out of reach is a temporary error for all" {
	account "$(hash_of sha512)"
	CP=$CHECKPASSWORD
	as_ordinary
	for user in probe nobody-here; do
		attempt $user tanstaaf
		expect 111
	done
	grep -q /etc/shadow "$err"
}
