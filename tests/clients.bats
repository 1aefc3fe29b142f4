#!/usr/bin/env bats
# curl and fetchmail, under tcpserver, with the bundled checkpassword program.
# The other clients are in clients-*.bats.

load helper
load clients

@test "curl lists and fetches every message, octet for octet" {
	local i

	odd_messages
	# curl itself makes an empty line of an empty message.
	echo A: b >"$MAIL/new/1700000006.M6.host"
	offer
	pop_curl "pop3://127.0.0.1:$PORT/" | tr -d '\r' >"$BATS_TEST_TMPDIR/list"
	for i in {1..10}; do
		echo "$i $(wc -c <"$WANT/$i")"
	done | same - "$BATS_TEST_TMPDIR/list"
	for i in {1..10}; do
		pop_curl "pop3://127.0.0.1:$PORT/$i" -o "$GOT/$i"
	done
	all_same 10
	[ -z "$(ls "$MAIL/new")" ]
}

@test "curl fetches with AUTH=PLAIN, AUTH=LOGIN and AUTH=+APOP" {
	local how

	offer -a
	for how in AUTH=PLAIN AUTH=LOGIN AUTH=+APOP; do
		pop_curl --login-options "$how" "pop3://127.0.0.1:$PORT/1" \
		    -o "$GOT/1"
		cmp "$WANT/1" "$GOT/1"
		rm "$GOT/1"
	done
	pop_curl --login-options AUTH=PLAIN --sasl-ir --sasl-authzid joe \
	    "pop3://127.0.0.1:$PORT/1" | cmp "$WANT/1" -
	sed -n 's/.*event=login .*mechanism=\([A-Z]*\).*/\1/p' "$LOG" | expect \
	    'PLAIN
LOGIN
APOP
PLAIN'
}

@test "curl gets TOP, UIDL and STAT" {
	offer
	pop_curl -X 'TOP 4 1' "pop3://127.0.0.1:$PORT/" -o "$GOT/4"
	head -n 4 "$WANT/4" | cmp - "$GOT/4"
	pop_curl -X UIDL "pop3://127.0.0.1:$PORT/" | tr -d '\r' |
	    expect '1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
4 1700000004.M4.host
5 1700000005.M5.host'
	[ "$(count "$MAIL/new")" = 3 ]
}

@test "curl deletes" {
	offer
	pop_curl -I -X 'DELE 2' "pop3://127.0.0.1:$PORT/"
	wait_for test ! -e "$MAIL/new/1700000002.M2.host"
	# The third has become the second.
	pop_curl -I -X DELE "pop3://127.0.0.1:$PORT/2"
	wait_for test ! -e "$MAIL/cur/1700000003.M3.host:2,F"
	[ "$(mail_files | wc -l)" = 3 ]
}

@test "curl with a wrong password is refused (exit code 67), by every way" {
	local how code

	offer_quickly -a
	for how in AUTH=PLAIN AUTH=LOGIN AUTH=+APOP; do
		code=0
		SECRET=wrong pop_curl --login-options "$how" \
		    "pop3://127.0.0.1:$PORT/" || code=$?
		[ "$code" = 67 ]
	done
	[ "$(grep -c 'event=failure user=joe' "$LOG")" = 3 ]
	SECRET=secret pop_curl --login-options AUTH=PLAIN \
	    "pop3://127.0.0.1:$PORT/" >/dev/null
}

@test "curl asks for STLS, and fetches in TLS" {
	with_stls
	offer
	pop_curl --ssl-reqd --cacert "$CERTIFICATE" "pop3://127.0.0.1:$PORT/4" \
	    -o "$GOT/4"
	cmp "$WANT/4" "$GOT/4"
	logged 'event=login .*tls=yes'
}

# sessions FIELD: its value in each session's last line of the log, as
# "2 2 1".
sessions() {
	sed -n "s/.*event=end user=joe .* $1=\([0-9]*\) .*/\1/p" "$LOG" |
	    paste -s -d ' '
}

@test "fetchmail keeps, and with UIDL fetches nothing the second time" {
	local code=0

	offer
	FETCH=uidl fetch keep
	[ "$(count "$GOT")" = 5 ]
	FETCH=uidl fetch keep || code=$?
	[ "$code" = 1 ]
	lf
	all_same 5
	nothing_lost
	printf 'A: b\n\nnew\n' | deliver new/1700000011.M11.host
	rm "$GOT"/*
	FETCH=uidl fetch keep
	[ "$(ls "$GOT")" = 1 ]
	grep -qx new "$GOT/1"
}

@test "fetchmail fetches everything and deletes it" {
	local code=0

	offer
	fetch fetchall no keep
	lf
	all_same 5
	all_deleted
	fetch fetchall no keep || code=$?
	[ "$code" = 1 ]
}

@test "fetchmail finds what is new by LAST, where it keeps without UIDL" {
	offer
	fetch keep
	[ "$(count "$GOT")" = 5 ]
	lf
	all_same 5
	nothing_lost
}

@test "fetchmail fetches with APOP" {
	offer -a
	PROTOCOL=APOP fetch fetchall no keep
	lf
	all_same 5
	all_deleted
	logged 'event=login .*mechanism=APOP'
}

@test "fetchmail with a wrong password says so (exit code 3), with APOP as well" {
	local code protocol

	offer_quickly -a
	for protocol in POP3 APOP; do
		code=0
		PROTOCOL=$protocol SECRET=wrong fetch keep \
		    >"$BATS_TEST_TMPDIR/said" || code=$?
		[ "$code" = 3 ]
		grep -F 'Authorization failure on joe@' "$BATS_TEST_TMPDIR/said"
	done
	nothing_lost
}

@test "fetchmail --expunge 2: a session for each two deletions" {
	offer
	fetch fetchall no keep expunge 2
	lf
	all_same 5
	all_deleted
	wait_for test "$(sessions deleted)" = '2 2 1'
}

@test "fetchmail --fetchlimit 2: two at a time, the rest is left for later" {
	local left

	offer
	for left in 3 1; do
		fetch fetchall no keep fetchlimit 2 || :
		wait_for test "$(mail_files | wc -l)" = "$left"
	done
	fetch fetchall no keep fetchlimit 2
	all_deleted
	lf
	all_same 5
}

@test "fetchmail asks for STLS, checks the certificate, and fetches in TLS" {
	with_stls
	offer
	SSLPROTO=TLS1.2+ fetch fetchall no keep sslcertck \
	    sslcommonname localhost sslcertfile "$CERTIFICATE"
	lf
	all_same 5
	all_deleted
	logged 'event=login .*tls=yes'
}

@test "fetchmail --ssl: fetches through stunnel" {
	need stunnel
	certificate
	expected
	pop3d_command -s
	private "$BATS_TEST_TMPDIR/stunnel.conf" <<C
foreground = yes
syslog = no
debug = err
cert = $CERTIFICATE
key = $KEY
exec = ${POP3D[0]}
execArgs = ${POP3D[*]}
C
	start_server stunnel "$BATS_TEST_TMPDIR/stunnel.conf"
	SSLPROTO=TLS1.2+ fetch ssl fetchall no keep sslcertck \
	    sslcommonname localhost sslcertfile "$CERTIFICATE"
	lf
	all_same 5
	all_deleted
	logged 'event=login .*tls=yes'
}

@test "the client's address is in the log and in another one's IN-USE" {
	offer
	python3 - <<'P'
import os, poplib
port = int(os.environ["PORT"])
one = poplib.POP3("127.0.0.1", port, timeout=30)
one.user("joe")
one.pass_("secret")
two = poplib.POP3("127.0.0.1", port, timeout=30)
two.user("joe")
try:
    two.pass_("secret")
except poplib.error_proto as e:
    assert e.args[0].startswith(b"-ERR [IN-USE] "), e
    assert b"127.0.0.1" in e.args[0], e
else:
    raise AssertionError("both are in")
one.quit()
three = poplib.POP3("127.0.0.1", port, timeout=30)
three.user("joe")
three.pass_("secret")
three.quit()
P
	logged 'event=failure user=joe ip=127\.0\.0\.1 .*reason=in-use'
}
