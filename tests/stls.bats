#!/usr/bin/env bats
# STLS, by a UCSPI-TLS wrapper around pop3d (see ucspi-tls.py) under tcpserver.

load helper

setup_file() {
	CERTIFICATE=$BATS_FILE_TMPDIR/certificate
	KEY=$BATS_FILE_TMPDIR/key
	self_signed "$KEY" "$CERTIFICATE"
	export CERTIFICATE KEY
}

setup() {
	greeter_setup
	printf 'A: b\n\none\n' | deliver new/1.a
}

teardown() {
	pop3d_teardown
}

# tls_listen [WRAPPER-OPTION ... --] [OPTION ...]: tcpserver, the wrapper,
# pop3d.
tls_listen() {
	split "$@"
	wrap "${POLICY[@]}" python3 "$BATS_TEST_DIRNAME/ucspi-tls.py" \
	    "${BEFORE[@]}" "$CERTIFICATE" "$KEY"
	listen "${BEHIND[@]}"
}

# Standard input, line by line, and from an STLS on in TLS; the answers.
tls_talk() {
	sed 's/$/\r/' | python3 "$BATS_TEST_DIRNAME/pop.py" --by "$PORT" \
	    --stls "$@" | tr -d '\r'
}

# The whole mailbox, before and after.
one_message() {
	tls_talk <<'S'
STLS
USER joe
PASS secret
RETR 1
QUIT
S
}

@test "RFC 2595 4: STLS is announced until it is done, and then refused" {
	tls_listen -c
	tls_talk >"$RECORD/answers" <<'S'
CAPA
STLS
CAPA
STLS
QUIT
S
	sed -n '/^+OK begin TLS/q;p' "$RECORD/answers" | grep -x STLS
	sed '1,/^+OK begin TLS/d' "$RECORD/answers" >"$RECORD/after"
	grep -x 'SASL PLAIN LOGIN' "$RECORD/after"
	not grep -x STLS "$RECORD/after"
	tail -n 2 "$RECORD/after" | forms | expect '-ERR
+OK'
}

@test "RFC 2595 4: STLS takes no argument, and is no command of TRANSACTION" {
	tls_listen -c
	printf '%s\n' 'STLS now' 'USER joe' 'PASS secret' STLS QUIT | tls_talk |
	    forms | expect '+OK
-ERR
+OK
+OK
-ERR
+OK'
}

@test "DESIGN 5: after STLS a whole session runs over the wrapper's descriptors: pipes" {
	tls_listen
	one_message | grep -x one
	wait_for logged 'event=login user=joe ip=127\.0\.0\.1 mechanism=USER tls=yes'
	wait_for logged 'event=end user=joe .* reason=quit'
	mail_files | expect 'cur/1.a:2,S'
}

@test "DESIGN 5: after STLS a whole session runs over the wrapper's descriptors: sockets" {
	tls_listen --by socket --
	one_message | grep -x one
	wait_for logged 'event=login user=joe .*tls=yes'
}

@test "DESIGN 5: what is pipelined in TLS is answered, by greeter and session" {
	tls_listen
	printf '%s\n' STLS 'USER joe' 'PASS secret' 'RETR 1' STAT QUIT |
	    tls_talk --how whole | tail -n 7 | expect '+OK 13 octets
A: b

one
.
+OK 1 13
+OK good bye'
	wait_for logged 'event=login user=joe .*tls=yes'
}

@test "DESIGN 4: after STLS the checkpassword program gets TLS=1 and the SSL_ names" {
	program <<'P'
env >"$RECORD/environment"
ls /proc/$$/fd >"$RECORD/descriptors"
exit 1
P
	tls_listen
	printf '%s\n' STLS 'USER joe' 'PASS secret' QUIT | tls_talk | forms |
	    tail -n 2 | expect '-ERR [AUTH]
+OK'
	grep -x 'TLS=1' "$RECORD/environment"
	grep -x 'SSL_PROTOCOL=TLSv1\.[23]' "$RECORD/environment"
	grep '^SSL_CIPHER=.' "$RECORD/environment"
	not grep -E '^(SSLCTLFD|SSLREADFD|SSLWRITEFD|UCSPITLS)=' \
	    "$RECORD/environment"
	# 3 are the credentials, 4 the take-over.
	grep -Ex '[0-9]' "$RECORD/descriptors" | head -n 5 | expect '0
1
2
3
4'
}

@test "DESIGN 5: without STLS the checkpassword program hears nothing of TLS" {
	program <<'P'
env >"$RECORD/environment"
exit 1
P
	tls_listen -c
	printf '%s\n' 'USER joe' 'PASS secret' QUIT | tls_talk >/dev/null
	grep -x 'AUTH_MECH=USER' "$RECORD/environment"
	not grep -E '^(TLS|SSL_PROTOCOL|SSL_CIPHER|SSL.*FD|UCSPITLS)=' "$RECORD/environment"
}

# What is said in clear

@test "DESIGN 5: what is sent in clear behind STLS stays where it is" {
	recorder
	tls_listen --rest "$RECORD/rest" --
	dial
	hear '^\+OK'
	say STLS 'USER joe' 'PASS secret'
	hear '^\+OK begin TLS'
	closed
	printf 'USER joe\r\nPASS secret\r\n' >"$RECORD/expected"
	same "$RECORD/expected" "$RECORD/rest"
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=tls'
	not_asked
}

@test "DESIGN 5: what is sent in clear behind STLS reaches no session: the handshake fails" {
	recorder
	tls_listen -c
	lines STLS 'USER joe' 'PASS secret' QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --by "$PORT" --how whole |
	    head -n 2 | forms | expect '+OK
+OK'
	wait_for logged 'event=end user=- .*reason=tls'
	not_asked
}

@test "RFC 2595 4: a name given in clear does not survive STLS" {
	tls_listen -c
	printf '%s\n' 'USER joe' STLS 'PASS secret' QUIT | tls_talk | forms |
	    expect '+OK
+OK
+OK
-ERR
+OK'
}

@test "RFC 2595 4: what a client was denied in clear it may do after STLS, and its tries count on" {
	tls_listen -c -n 2
	printf '%s\n' 'USER joe' 'PASS no' STLS 'USER joe' 'PASS no' |
	    tls_talk >"$RECORD/answers"
	forms <"$RECORD/answers" | expect '+OK
+OK
-ERR [AUTH]
+OK
+OK
-ERR [AUTH]'
	[ "$(grep -c 'event=failure' "$LOG")" = 2 ]
}

# Policies

@test "DESIGN 5: UCSPITLS=! makes TLS a condition of every login" {
	POLICY=(env UCSPITLS=!)
	tls_listen -a -c
	printf '%s\n' CAPA 'USER joe' "APOP joe 0123456789abcdef0123456789abcdef" \
	    'AUTH PLAIN =' STLS 'USER joe' 'PASS secret' QUIT | tls_talk |
	    grep -E '^(\+OK|-ERR|STLS|USER|SASL)' | forms | expect '+OK
+OK
STLS
-ERR
-ERR
-ERR
+OK
+OK
+OK
+OK'
}

@test "DESIGN 5: UCSPITLS=- switches STLS off" {
	POLICY=(env UCSPITLS=-)
	tls_listen -c
	printf '%s\n' CAPA STLS QUIT | tls_talk >"$RECORD/answers"
	not grep -x STLS "$RECORD/answers"
	tail -n 2 "$RECORD/answers" | forms | expect '-ERR
+OK'
}

@test "DESIGN 5: without -c a client from elsewhere logs in by STLS alone" {
	POLICY=(env TCPREMOTEIP=192.0.2.1)
	tls_listen
	printf '%s\n' CAPA 'USER joe' STLS 'USER joe' 'PASS secret' QUIT |
	    tls_talk | grep -E '^(\+OK|-ERR|STLS|USER|SASL)' | forms |
	    expect '+OK
+OK
STLS
-ERR
+OK
+OK
+OK
+OK'
	logged 'event=login user=joe ip=192\.0\.2\.1 .*tls=yes'
}

@test "DESIGN 3: with -s, or SSL_PROTOCOL set, TLS is on already and STLS is not offered" {
	POLICY=(env SSL_PROTOCOL=TLSv1.3)
	tls_listen
	printf '%s\n' CAPA STLS 'USER joe' QUIT | tls_talk >"$RECORD/answers"
	not grep -x STLS "$RECORD/answers"
	tail -n 3 "$RECORD/answers" | forms | expect '-ERR
+OK
+OK'
	POLICY=()
	tls_listen -s
	printf '%s\n' STLS QUIT | tls_talk | forms | expect '+OK
-ERR
+OK'
}

# Real clients

@test "STLS: curl fetches over it" {
	tls_listen
	curl -sS --cacert "$CERTIFICATE" --ssl-reqd -u joe:secret \
	    "pop3://localhost:$PORT/1" --resolve "localhost:$PORT:127.0.0.1" |
	    tr -d '\r' | expect 'A: b

one'
	logged 'event=login user=joe .*tls=yes'
}

@test "STLS: fetchmail fetches over it, with the certificate checked" {
	tls_listen
	cat >"$BATS_TEST_TMPDIR/fetchmailrc" <<F
poll localhost protocol POP3 service $PORT
  user joe password secret sslproto TLS1.2+ sslcertck
  sslcertfile $CERTIFICATE keep mda "cat >$BATS_TEST_TMPDIR/got"
F
	chmod 600 "$BATS_TEST_TMPDIR/fetchmailrc"
	chmod a+rx "$BATS_FILE_TMPDIR"
	HOME=$BATS_TEST_TMPDIR fetchmail -f "$BATS_TEST_TMPDIR/fetchmailrc" \
	    --pidfile "$BATS_TEST_TMPDIR/pid" -i "$BATS_TEST_TMPDIR/ids"
	grep -x one "$BATS_TEST_TMPDIR/got"
	logged 'event=login user=joe .*tls=yes'
}

@test "STLS: openssl s_client starts it" {
	tls_listen
	{
		printf 'USER joe\nPASS secret\n'
		wait_for grep -q event=login "$LOG"
		printf 'STAT\nQUIT\n'
	} | openssl s_client -quiet -verify_return_error -crlf \
	    -CAfile "$CERTIFICATE" -verify_hostname localhost -starttls pop3 \
	    -connect "127.0.0.1:$PORT" 2>/dev/null | tr -d '\r' >"$RECORD/answers"
	grep -x '+OK 1 13' "$RECORD/answers"
}

# What goes wrong

@test "STLS: a handshake that stalls ends by the idle time-out" {
	tls_listen -T 1
	dial
	hear '^\+OK'
	say STLS
	hear '^\+OK begin TLS'
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=tls'
}

@test "STLS: a wrapper that does not answer ends by the idle time-out" {
	tls_listen --stall -- -T 1
	dial
	hear '^\+OK'
	say STLS
	hear '^\+OK begin TLS'
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=tls'
	closed
}

@test "STLS: a wrapper that vanishes ends the connection" {
	tls_listen --vanish --
	dial
	hear '^\+OK'
	say STLS
	hear '^\+OK begin TLS'
	closed
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=tls'
}

@test "DESIGN 2: of what a wrapper reports only SSL_ names enter the environment" {
	program <<'P'
env -0 >"$RECORD/environment"
exit 1
P
	# By the wrapper's own doing there is one to be unset.
	POLICY=(env SSL_CLIENT_DN=old)
	printf '%s\0' 'LD_PRELOAD=/tmp/x.so' 'PATH=/tmp' 'SSL_lower=1' \
	    'ssl_X=1' 'SSL_X-Y=1' SSL_CERT_FILE=/tmp/x 'TLS=no' 'MAILDIR=/etc' '=empty' \
	    SSL_CLIENT_DN 'SSL_SERVER_NAME=a=b
c' 'SSL_PROTOCOL=TLSv1.3' '' >"$RECORD/report"
	tls_listen --report "$RECORD/report" --
	printf '%s\n' STLS 'USER joe' 'PASS secret' QUIT | tls_talk >/dev/null
	tr '\n\0' '|\n' <"$RECORD/environment" >"$RECORD/lines"
	grep -x 'SSL_SERVER_NAME=a=b|c' "$RECORD/lines"
	grep -x TLS=1 "$RECORD/lines"
	not grep -E '^(LD_PRELOAD|SSL_lower|ssl_X|SSL_X-Y|MAILDIR|SSL_CLIENT_DN|)=' \
	    "$RECORD/lines"
	not grep -x 'PATH=/tmp\|SSL_CERT_FILE=/tmp/x' "$RECORD/lines"
	for name in LD_PRELOAD PATH SSL_lower ssl_X SSL_X-Y SSL_CERT_FILE TLS \
	    MAILDIR; do
		logged "event=error what=\"the TLS wrapper .*\" entry=$name\$"
	done
	logged 'event=error what="the TLS wrapper .*" entry=-$'
}

@test "DESIGN 2: a report without an end is a handshake that failed" {
	head -c 100000 /dev/zero | tr '\0' x >"$RECORD/report"
	tls_listen --report "$RECORD/report" --
	printf '%s\n' STLS 'USER joe' 'PASS secret' QUIT | tls_talk || :
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=tls'
	not grep event=login "$LOG"
}

@test "DESIGN 5: descriptors that are not there are no wrapper" {
	for names in 'SSLCTLFD=9 SSLREADFD=9 SSLWRITEFD=9' 'SSLCTLFD=x' \
	    'SSLCTLFD=2 SSLREADFD=1 SSLWRITEFD=0' \
	    'SSLCTLFD=99999999999 SSLREADFD=-1 SSLWRITEFD='; do
		: >"$LOG"
		# shellcheck disable=SC2086 # several
		{
			greeter_command -c
			printf '%s\r\n' CAPA STLS QUIT |
			    env $names "${POP3D[@]}" 2>>"$LOG"
		} | tr -d '\r' >"$RECORD/answers"
		not grep -x STLS "$RECORD/answers"
		tail -n 2 "$RECORD/answers" | forms | expect '-ERR
+OK'
		logged 'event=error what="SSLCTLFD, SSLREADFD or SSLWRITEFD names'
	done
}

@test "DESIGN 2: of other descriptors only the wrapper's stay open, and the greeter lacks the control" {
	local monitor greeter

	need_root "to look into processes"
	tls_listen
	dial
	hear '^\+OK'
	monitor=$(pgrep -f "^$POP3D_BIN/pop3d .*$EMPTY" | head -n 1)
	greeter=$(child "$monitor" "pop3d -r $EMPTY")
	tr '\0' '\n' <"/proc/$monitor/environ" | grep '^SSL.*FD=' |
	    sort >"$RECORD/names"
	control=$(sed -n 's/^SSLCTLFD=//p' "$RECORD/names")
	in=$(sed -n 's/^SSLREADFD=//p' "$RECORD/names")
	out=$(sed -n 's/^SSLWRITEFD=//p' "$RECORD/names")
	wait_for has_descriptors "$monitor" 7
	for fd in "$control" "$in" "$out"; do
		[ -e "/proc/$monitor/fd/$fd" ]
	done
	wait_for has_descriptors "$greeter" 6
	[ -e "/proc/$greeter/fd/$in" ]
	[ -e "/proc/$greeter/fd/$out" ]
	[ ! "/proc/$greeter/fd/$control" -ef "/proc/$monitor/fd/$control" ] ||
	    [ ! -e "/proc/$greeter/fd/$control" ]
}

@test "DESIGN 5: a session over TLS has the wrapper's descriptors for 0 and 1, and no other" {
	need_root "to look into processes"
	program <<'P'
become sh -c '
ls /proc/$$/fd >"$RECORD/descriptors"
exec "$@"' sh "$@"
P
	chmod 777 "$RECORD"
	tls_listen
	one_message | grep -x one
	grep -cx '[0-4]' "$RECORD/descriptors" | expect 5
	wait_for logged 'event=end user=joe'
}
