#!/usr/bin/env bats
# TLS by stunnel, with the files in contrib/stunnel as they stand, and real
# clients that check the certificate.
# shellcheck disable=SC2030,SC2031 # each test has variables of its own

load helper
load front

setup_file() {
	local ca

	cd "$BATS_FILE_TMPDIR" || return
	chmod a+x .
	for ca in ca other; do
		openssl req -x509 -newkey ec \
		    -pkeyopt ec_paramgen_curve:P-256 -nodes \
		    -keyout $ca.key -out $ca.pem -days 2 -subj /CN=$ca \
		    -addext keyUsage=keyCertSign 2>/dev/null
	done
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
	    -keyout key.pem -out request.pem -subj /CN=mail.example.org \
	    -addext subjectAltName=DNS:mail.example.org 2>/dev/null
	openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key \
	    -CAcreateserial -days 2 -copy_extensions copy -out cert.pem \
	    2>/dev/null
}

setup() {
	front_setup
	CA=$BATS_FILE_TMPDIR/ca.pem
}

teardown() {
	front_teardown
}

# stunnel FILE [SED-OPTION ...]: with contrib/stunnel/FILE.  The superserver
# that it connects to has ADDRESS, too, and port 10110.
stunnel() {
	local config=$BATS_TEST_TMPDIR/stunnel.conf

	contrib "stunnel/$1" | sed -e "s/^accept = /&$ADDRESS:1/" \
	    -e "s|^cert = .*|cert = $BATS_FILE_TMPDIR/cert.pem|" \
	    -e "s|^key = .*|key = $BATS_FILE_TMPDIR/key.pem|" \
	    -e "s/127\.0\.0\.1:10110/$ADDRESS:10110/" "${@:2}" >"$config"
	# As it stands, but above the ports that are root's.
	PORT=$(sed -n 's/^accept = .*://p' "$config")
	BY=$ADDRESS:$PORT
	background stunnel4 "$config"
	wait_for listening
}

# superserver: the one that connect.conf names.
superserver() {
	local command

	read -ra command <<<"$(contrib stunnel/connect.conf |
	    sed -n "s/^; *\(tcpserver .*\)/\1/p" |
	    sed "s/127\.0\.0\.1/$ADDRESS/")"
	[ "${command[0]}" = tcpserver ]
	PORT=10110
	background "${command[@]}"
	wait_for listening
}

behind_superserver() {
	need_root "stunnel has a user of its own"
	superserver
	stunnel connect.conf "$@"
}

# by_curl URL [OPTION ...]
by_curl() {
	curl -sS --max-time 60 --interface 127.0.0.2 --user joe:secret \
	    --resolve "mail.example.org:$PORT:$ADDRESS" --cacert "$CA" \
	    "$1://mail.example.org:$PORT/1" "${@:2}"
}

# by_fetchmail [OPTION ...]: keeps; prints the message.
by_fetchmail() {
	(umask 077 && cat >"$RECORD/rc") <<R
set invisible
set no bouncemail
poll mail.example.org via $ADDRESS protocol POP3 port $PORT
	user joe password secret sslcertck sslcertfile "$CA"
	sslcommonname mail.example.org $*
	no rewrite keep fetchall mda "cat >$RECORD/fetched"
R
	FETCHMAILHOME=$RECORD fetchmail -f "$RECORD/rc" -i "$RECORD/ids" \
	    --pidfile "$RECORD/pid" --nosyslog --nodetach 2>&1
}

# by_openssl [OPTION ...]: a session that deletes the message.
by_openssl() {
	lines 'USER joe' 'PASS secret' 'RETR 1' 'DELE 1' QUIT >"$RECORD/script"
	timeout 60 openssl s_client -connect "$ADDRESS:$PORT" -quiet \
	    -CAfile "$CA" -verify_return_error \
	    -verify_hostname mail.example.org -servername mail.example.org \
	    "$@" <"$RECORD/script" 2>"$RECORD/openssl" | tr -d '\r'
}

# all_clients SCHEME CURL-OPTIONS FETCHMAIL-OPTIONS OPENSSL-OPTIONS IP
all_clients() {
	# shellcheck disable=SC2086 # options
	by_curl "$1" $2 | tr -d '\r' | expect 'Subject: one

body'
	by_fetchmail "$3"
	grep -qx body "$RECORD/fetched"
	# shellcheck disable=SC2086
	by_openssl $4 >"$RECORD/answers"
	# With -starttls s_client prints the rest of a greeting.
	sed -e '1s/.*+OK now/+OK now/' -e '/ POP3 ready/d' "$RECORD/answers" |
	    expect '+OK now the password
+OK 1 messages
+OK 22 octets
Subject: one

body
.
+OK message 1 deleted
+OK good bye'
	wait_for test -z "$(mail_files)"
	wait_for grep -q 'event=end .*deleted=1' "$LOG"
	# One by each client, and nobody without TLS.
	logged "event=login user=joe ip=${5:-127\.0\.0\.2} mechanism=PLAIN tls=yes messages=1 "
	[ "$(grep -c "event=login user=joe ip=${5:-127\.0\.0\.[12]} .* tls=yes" \
	    "$LOG")" = 3 ]
	not grep 'tls=no' "$LOG"
}

# no_session: nobody has got as far as to a password, mail is as it was, and
# of pop3d no process is left.
no_session() {
	not grep 'event=login\|event=failure' "$LOG"
	[ "$(mail_files)" = new/1700000001.M1.host ]
	wait_for none_left
}

none_left() {
	not pgrep -f "pop3d .*-r $EMPTY" >/dev/null
}

@test "INSTALL: stunnel exec: curl, fetchmail and openssl over TLS, and the client's address" {
	stunnel exec.conf
	all_clients pop3s '' ssl ''
}

@test "INSTALL: stunnel exec as the mail user, for virtual users" {
	need_root "to become the mail user"
	chown "$TEST_UID" "$BATS_TEST_TMPDIR/users"
	sed -i "2i id -u >$RECORD/id" "$BIN/pop3d"
	stunnel exec.conf -e 's/^;set/set/' -e "s/= vmail/= $TEST_UID/"
	by_curl pop3s | grep -q '^body'
	logged 'event=login user=joe ip=127\.0\.0\.2 mechanism=PLAIN tls=yes '
	expect "$TEST_UID" <"$RECORD/id"
}

@test "INSTALL: stunnel connect: the same, and stunnel's address" {
	behind_superserver
	all_clients pop3s '' ssl '' '127\.0\.0\.1'
}

@test "INSTALL: stunnel protocol = pop3: the same with STLS, and the client's address" {
	stunnel stls.conf
	all_clients pop3 --ssl-reqd "sslproto 'TLS1.2+'" '-starttls pop3'
}

@test "INSTALL: stunnel connect: the UNIX socket of contrib/s6-ipcserver" {
	need_root "stunnel has a user of its own"
	contrib s6-ipcserver/run >"$BATS_TEST_TMPDIR/service"
	background sh "$BATS_TEST_TMPDIR/service"
	wait_for test -S "$BATS_TEST_TMPDIR/run/socket"
	stunnel connect.conf \
	    -e "s|^connect = .*|connect = $BATS_TEST_TMPDIR/run/socket|"
	by_curl pop3s | grep -q '^body'
	logged 'event=login user=joe ip=- mechanism=PLAIN tls=yes '
	# Others cannot.
	not setpriv --reuid nobody --clear-groups \
	    python3 "$BATS_TEST_DIRNAME/pop.py" \
	    --by "$BATS_TEST_TMPDIR/run/socket" </dev/null
}

@test "INSTALL: stunnel: clients that check find out who has the wrong certificate" {
	local code=0

	stunnel exec.conf
	CA=$BATS_FILE_TMPDIR/other.pem
	by_curl pop3s 2>/dev/null || code=$?
	[ "$code" = 60 ]
	not by_fetchmail ssl
	by_openssl >"$RECORD/answers" || :
	not grep OK "$RECORD/answers"
	grep 'verify error' "$RECORD/openssl"
	no_session
}

@test "INSTALL: stunnel connect without -s: loopback, so passwords go, and the log says tls=no" {
	need_root "stunnel has a user of its own"
	PORT=10110
	background tcpserver -HRl mail.example.org "$ADDRESS" 10110 \
	    "$BIN/pop3d"
	wait_for listening
	stunnel connect.conf
	by_curl pop3s | grep -q '^body'
	logged 'event=login user=joe ip=127\.0\.0\.1 mechanism=PLAIN tls=no '
}

@test "INSTALL: stunnel connect with protocol = proxy and -x: the client's address" {
	need_root "stunnel has a user of its own"
	PORT=10110
	background tcpserver -HRl mail.example.org "$ADDRESS" 10110 \
	    "$BIN/pop3d" -s -x
	wait_for listening
	stunnel connect.conf -e 's/^;\(protocol\)/\1/'
	by_curl pop3s | grep -q '^body'
	logged 'event=connect ip=127\.0\.0\.2 via=127\.0\.0\.1'
	logged 'event=login user=joe ip=127\.0\.0\.2 mechanism=PLAIN tls=yes '
}

@test "INSTALL: stunnel protocol = pop3 with connect: stunnel's address, and no clear text either" {
	PORT=10110
	background tcpserver -HRl mail.example.org "$ADDRESS" 10110 \
	    "$BIN/pop3d" -s
	wait_for listening
	stunnel stls.conf -e "s/^exec = .*/connect = $ADDRESS:10110/" \
	    -e '/^execArgs/d'
	by_curl pop3 --ssl-reqd | grep -q '^body'
	logged 'event=login user=joe ip=127\.0\.0\.1 mechanism=PLAIN tls=yes '
	plain_text 'USER joe' 'PASS secret' 'DELE 1' QUIT >"$RECORD/answers"
	not grep 'password\|messages' "$RECORD/answers"
	wait_for grep -q 'Client does not want TLS' "$LOG"
}

@test "INSTALL: stunnel exec: a session whose stunnel is killed deletes nothing" {
	stunnel exec.conf
	ADDRESS=$ADDRESS PORT=$PORT CA=$CA PID=${SERVERS[-1]} python3 - <<'P'
import os
import poplib
import signal
import ssl

# The address is not the certificate's.
context = ssl.create_default_context(cafile=os.environ["CA"])
context.check_hostname = False
pop = poplib.POP3_SSL(os.environ["ADDRESS"], int(os.environ["PORT"]),
                      context=context, timeout=60)
pop.user("joe")
pop.pass_("secret")
pop.dele(1)
os.kill(int(os.environ["PID"]), signal.SIGKILL)
P
	wait_for grep -q 'event=end user=joe ip=127\.0\.0\.1 .*deleted=0 left=1 .*reason=disconnect$' \
	    "$LOG"
	[ "$(mail_files)" = new/1700000001.M1.host ]
	wait_for none_left
}

# plain_text [LINE ...]: all at once; prints what comes back, if anything.
plain_text() {
	lines "$@" | python3 "$BATS_TEST_DIRNAME/pop.py" --by "$BY" \
	    --from 127.0.0.2 --how whole -k 2>/dev/null | cat -v
}

@test "INSTALL: stunnel exec: plain POP3 on the TLS port starts no pop3d" {
	stunnel exec.conf
	plain_text 'USER joe' 'PASS secret' 'DELE 1' QUIT >"$RECORD/answers"
	not grep OK "$RECORD/answers"
	wait_for grep -q 'SSL_accept: .*wrong version number' "$LOG"
	wait_for grep -q 'Connection reset: 0 byte(s) sent to TLS' "$LOG"
	not grep '^pop3d:' "$LOG"
	no_session
}

@test "INSTALL: stunnel exec: a handshake that stalls ends, and starts no pop3d" {
	# So that nobody has to wait.
	stunnel exec.conf -e 's/^TIMEOUTbusy = .*/TIMEOUTbusy = 1/'
	reach
	cut_off
	wait_for grep -q 'Connection reset: 0 byte(s) sent to TLS' "$LOG"
	not grep '^pop3d:' "$LOG"
	no_session
}

@test "INSTALL: stunnel connect: a handshake that stalls ends, and starts no pop3d" {
	behind_superserver -e 's/^TIMEOUTbusy = .*/TIMEOUTbusy = 1/'
	reach
	printf '\026\003\001' >&"$CLIENT"
	cut_off
	wait_for grep -q 'Connection reset: 0 byte(s) sent to TLS' "$LOG"
	not grep '^pop3d:' "$LOG"
	no_session
}

@test "INSTALL: stunnel protocol = pop3: a handshake that stalls leaves no pop3d" {
	stunnel stls.conf -e 's/^TIMEOUTbusy = .*/TIMEOUTbusy = 1/'
	reach
	hear '^\+OK .* POP3 ready \+ stunnel$'
	say STLS
	hear '^\+OK Stunnel starts TLS negotiation$'
	cut_off
	wait_for grep -q 'event=end user=- ip=127\.0\.0\.1 reason=disconnect signal=0' \
	    "$LOG"
	no_session
}

@test "INSTALL: stunnel protocol = pop3: so does a client that says nothing" {
	stunnel stls.conf -e 's/^TIMEOUTbusy = .*/TIMEOUTbusy = 1/'
	reach
	hear '^\+OK .* POP3 ready \+ stunnel$'
	cut_off
	no_session
}

@test "INSTALL: stunnel protocol = pop3: passwords in clear text reach nobody" {
	stunnel stls.conf
	reach
	hear '^\+OK '
	say CAPA
	hear '^\+OK '
	hear '^STLS$'
	hear '^\.$'
	say 'USER joe'
	cut_off
	wait_for grep -q 'Client does not want TLS' "$LOG"
	# Sent all the same.
	plain_text 'USER joe' 'PASS secret' 'DELE 1' QUIT |
	    not grep 'password\|messages'
	plain_text CAPA 'AUTH PLAIN AGpvZQBzZWNyZXQ=' 'DELE 1' QUIT |
	    not grep messages
	no_session
	[ "$(grep -c 'Client does not want TLS' "$LOG")" = 3 ]
}

@test "INSTALL: stunnel protocol = pop3: what is sent in clear behind STLS never reaches the session" {
	stunnel stls.conf
	ADDRESS=$ADDRESS PORT=$PORT CA=$CA python3 - <<'P'
import os
import socket
import ssl

plain = socket.create_connection(
    (os.environ["ADDRESS"], int(os.environ["PORT"])), 20)
lines = plain.makefile("rb", buffering=0)
assert lines.readline().startswith(b"+OK ")
plain.sendall(b"STLS\r\nUSER mallory\r\nPASS guess\r\n")
assert lines.readline().startswith(b"+OK ")
context = ssl.create_default_context(cafile=os.environ["CA"])
try:
    tls = context.wrap_socket(plain, server_hostname="mail.example.org")
except OSError:
    pass
else:
    tls.sendall(b"CAPA\r\n")
    raise SystemExit("there is a session: %r" % tls.recv(1000))
P
	wait_for grep -q 'event=end user=-' "$LOG"
	no_session
}
