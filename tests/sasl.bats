#!/usr/bin/env bats
# CRAM-MD5, OAUTHBEARER and XOAUTH2, as the greeter speaks them.

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

# The base64 of a printf format, in one line.
base64_of() {
	# shellcheck disable=SC2059 # it is a format
	printf "$1" | base64 -w 0
}

# CRAM-MD5

# cram NAME SECRET [OPTION ...]: goes through the exchange; the greeting is in
# $RECORD/greeting, what came behind the digest in $RECORD/answers.
cram() {
	greeter_command "${@:3}"
	start_server "${POP3D[@]}"
	python3 - "$PORT" "$1" "$2" "$RECORD" <<'P'
import base64, hashlib, hmac, socket, sys
port, name, secret, record = sys.argv[1:]
s = socket.create_connection(("127.0.0.1", int(port)))
f = s.makefile("rb")
greeting = f.readline()
with open(record + "/greeting", "wb") as file:
    file.write(greeting)
s.sendall(b"auth cram-md5\r\n")
line = f.readline()
assert line.startswith(b"+ "), line
challenge = base64.b64decode(line[2:].strip(), validate=True)
with open(record + "/challenge", "wb") as file:
    file.write(challenge)
digest = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()
s.sendall(base64.b64encode(b"%s %s" % (name.encode(), digest.encode())) + b"\r\n")
with open(record + "/answers", "wb") as file:
    file.write(f.readline())
P
}

@test "RFC 2195 2: CRAM-MD5 hands name, digest and challenge to the program" {
	recorder
	cram 'joe doe' secret -a
	forms <"$RECORD/answers" | tr -d '\r' | expect '-ERR [AUTH]'
	{
		printf 'joe doe\0'
		openssl md5 -hex -hmac secret <"$RECORD/challenge" |
		    sed 's/.* //' | tr -d '\n'
		printf '\0'
		cat "$RECORD/challenge"
		printf '\0'
	} >"$RECORD/expected"
	same "$RECORD/expected" "$RECORD/credentials"
	logged 'event=failure user="joe doe" .*mechanism=CRAM-MD5 reason=password'
}

@test "RFC 2195 2: the challenge is a message-id of this moment and host" {
	recorder
	cram joe secret -a
	grep -E '^<[0-9]+\.[0-9]+\.[0-9a-f]+@mail\.example\.org>$' \
	    "$RECORD/challenge"
}

@test "RFC 2195 2: the bundled program verifies CRAM-MD5 for a {PLAIN} entry" {
	printf 'joe:{PLAIN}secret:%s:%s::%s\n' "$TEST_UID" "$TEST_GID" \
	    "$HOME_DIR" >"$BATS_TEST_TMPDIR/users"
	chmod 600 "$BATS_TEST_TMPDIR/users"
	PROGRAM=$POP3D_BIN/pop3d-checkpassword
	bundled=(-f "$BATS_TEST_TMPDIR/users")
	greeter_command() {
		POP3D=("$POP3D_BIN/pop3d" -r "$EMPTY" -h mail.example.org "$@"
		    "$PROGRAM" "${bundled[@]}")
	}
	cram joe secret -a
	grep '^+OK 0 messages' "$RECORD/answers"
	cram joe Secret -a
	grep '^-ERR \[AUTH\]' "$RECORD/answers"
	logged 'event=login user=joe .*mechanism=CRAM-MD5'
}

@test "RFC 2195: without -a there is no CRAM-MD5" {
	lines CAPA 'AUTH CRAM-MD5' QUIT | talk -c >"$RECORD/answers"
	not grep CRAM "$RECORD/answers"
	tail -n 2 "$RECORD/answers" | forms | expect '-ERR
+OK'
}

@test "RFC 2195: CRAM-MD5 is offered in clear, where passwords are not" {
	TCPREMOTEIP=192.0.2.1 talk -a < <(lines CAPA AUTH QUIT) \
	    >"$RECORD/answers"
	grep -x 'SASL CRAM-MD5' "$RECORD/answers"
	grep -x CRAM-MD5 "$RECORD/answers"
	not grep -x 'USER\|PLAIN\|LOGIN' "$RECORD/answers"
}

@test "RFC 5034 4: no SASL line in CAPA where no mechanism is on offer" {
	TCPREMOTEIP=192.0.2.1 talk < <(lines CAPA QUIT) >"$RECORD/answers"
	not grep SASL "$RECORD/answers"
}

@test "RFC 5034 4: an initial response to CRAM-MD5 is -ERR" {
	recorder
	lines "AUTH CRAM-MD5 $(base64_of 'joe 0123456789abcdef0123456789abcdef')" \
	    QUIT | talk -a | forms | expect '+OK
-ERR
+OK'
	not_asked
}

@test "RFC 2195 2: a response that is none is -ERR, and asks nobody" {
	recorder
	for response in 'joe' 'joe ' 'joe 0123456789abcdef0123456789abcde' \
	    'joe 0123456789abcdef0123456789abcdefg' \
	    'joe 0123456789abcdef0123456789abcdez' \
	    ' 0123456789abcdef0123456789abcdef' \
	    'joe\0x 0123456789abcdef0123456789abcdef' \
	    'joe 0123456789abcdef\00123456789abcdef'; do
		lines 'AUTH CRAM-MD5' "$(base64_of "$response")" QUIT |
		    talk -a | sed 's/^+ .*/+/' | forms | expect '+OK
+
-ERR
+OK'
	done
	lines 'AUTH CRAM-MD5' '*' QUIT | talk -a | sed 's/^+ .*/+/' | forms |
	    expect '+OK
+
-ERR
+OK'
	not_asked
}

# Bearer tokens

@test "RFC 7628 3.1: OAUTHBEARER hands the token to the program" {
	recorder
	lines "AUTH OAUTHBEARER $(base64_of \
	    'n,a=joe@example.org,\1host=mail.example.org\1port=110\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1')" |
	    talk -c -o >/dev/null
	handed 'joe@example.org\0vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\0\0'
	logged 'mechanism=OAUTHBEARER'
}

@test "XOAUTH2: hands the token to the program" {
	recorder
	lines 'AUTH XOAUTH2' \
	    "$(base64_of 'user=joe@example.org\1auth=Bearer ya29.vF9\1\1')" |
	    talk -c -o >/dev/null
	handed 'joe@example.org\0ya29.vF9\0\0'
	logged 'mechanism=XOAUTH2'
}

@test "RFC 7628 3.1: the order of fields, unknown ones and the scheme's case do not matter" {
	recorder
	for response in 'n,a=joe,\1auth=bearer t\1port=1\1x=\1\1' \
	    'y,a=joe,\1auth=BEARER   t\1\1' 'n,a=joe,\1mthd=POST\1auth=Bearer t\1\1'; do
		lines "AUTH OAUTHBEARER $(base64_of "$response")" |
		    talk -c -o >/dev/null
		handed 'joe\0t\0\0'
	done
}

@test "RFC 5801 4: =2C and =3D in a name are a comma and an equals sign" {
	recorder
	lines "AUTH OAUTHBEARER $(base64_of 'n,a=a=2Cb=3Dc,\1auth=Bearer t\1\1')" |
	    talk -c -o >/dev/null
	handed 'a,b=c\0t\0\0'
}

@test "RFC 7628 3.1: a response that is none is -ERR, and asks nobody" {
	recorder
	for response in '' '\1' 'n,a=joe,' 'n,a=joe,\1\1' 'n,,\1auth=Bearer t\1\1' \
	    'n,a=,\1auth=Bearer t\1\1' 'p=tls-unique,a=joe,\1auth=Bearer t\1\1' \
	    'n,a=joe\1auth=Bearer t\1\1' 'n,a=joe,\1auth=Bearer t\1' \
	    'n,a=joe,\1auth=Basic t\1\1' 'n,a=joe,\1auth=Bearer t\1\1x' \
	    'n,a=jo=e,\1auth=Bearer t\1\1' 'n,a=joe=2,\1auth=Bearer t\1\1' \
	    'n,a=joe,\1auth=Bearer a\0b\1\1' 'n,a=jo\0e,\1auth=Bearer t\1\1' \
	    'user=joe\1auth=Bearer t\1\1'; do
		lines 'AUTH OAUTHBEARER' "$(base64_of "$response")" QUIT |
		    talk -c -o | forms | expect '+OK
+ 
-ERR
+OK'
	done
	for response in '\1\1' 'user=\1auth=Bearer t\1\1' 'joe\1auth=Bearer t\1\1' \
	    'user=joe\1\1' 'n,a=joe,\1auth=Bearer t\1\1'; do
		lines 'AUTH XOAUTH2' "$(base64_of "$response")" QUIT |
		    talk -c -o | forms | expect '+OK
+ 
-ERR
+OK'
	done
	not_asked
}

@test "RFC 7628 3.2.2: a refused token is told in JSON, and -ERR follows the client's answer" {
	recorder
	for answer in AQ== '*' ''; do
		lines "AUTH OAUTHBEARER $(base64_of 'n,a=joe,\1auth=Bearer t\1\1')" \
		    "$answer" QUIT | talk -c -o >"$RECORD/answers"
		sed -n 's/^+ //p' "$RECORD/answers" | base64 -d |
		    python3 -c 'import json, sys
assert json.load(sys.stdin) == {"status": "invalid_token"}'
		sed 's/^+ .*/+/' "$RECORD/answers" | forms | expect '+OK
+
-ERR [AUTH]
+OK'
	done
}

@test "XOAUTH2: a refused token is told in JSON, and -ERR follows the client's answer" {
	recorder
	lines 'AUTH XOAUTH2' "$(base64_of 'user=joe\1auth=Bearer t\1\1')" '' QUIT |
	    talk -c -o >"$RECORD/answers"
	sed -n 's/^+ //p' "$RECORD/answers" | tail -n 1 | base64 -d |
	    python3 -c 'import json, sys
assert json.load(sys.stdin)["status"] == "401"'
	sed 's/^+ .*/+/' "$RECORD/answers" | forms | expect '+OK
+
+
-ERR [AUTH]
+OK'
}

@test "RFC 3206: a program that fails is no wrong token: [SYS/TEMP], and no JSON" {
	program <<'P'
exit 111
P
	lines "AUTH OAUTHBEARER $(base64_of 'n,a=joe,\1auth=Bearer t\1\1')" QUIT |
	    talk -c -o | forms | expect '+OK
-ERR [SYS/TEMP]
+OK'
}

@test "DESIGN 3: without -o there are no bearer tokens; with it, where passwords may cross" {
	lines CAPA AUTH 'AUTH OAUTHBEARER =' 'AUTH XOAUTH2 =' QUIT |
	    talk -c >"$RECORD/answers"
	not grep OAUTH "$RECORD/answers"
	TCPREMOTEIP=192.0.2.1 talk -o < <(lines CAPA 'AUTH XOAUTH2 =' QUIT) \
	    >"$RECORD/answers"
	not grep OAUTH "$RECORD/answers"
	grep -x -- '-ERR clear-text passwords are not allowed without TLS' \
	    "$RECORD/answers"
	lines CAPA | talk -s -o | grep -x 'SASL PLAIN LOGIN OAUTHBEARER XOAUTH2'
}

@test "DESIGN 5: a token of 8 KB arrives" {
	recorder
	token=$(head -c 8192 /dev/zero | tr '\0' t)
	lines "AUTH XOAUTH2 $(base64_of "user=joe\\1auth=Bearer $token\\1\\1")" |
	    talk -c -o >/dev/null
	handed "joe\\0$token\\0\\0"
}
