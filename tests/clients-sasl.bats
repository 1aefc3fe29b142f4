#!/usr/bin/env bats
# Real clients by CRAM-MD5 (-a), OAUTHBEARER and XOAUTH2 (-o).

load helper
load clients

# offer_bearer [LENGTH]: the mailbox for joe with the token $TOKEN, of so many
# octets, 1.5 KB by default.
offer_bearer() {
	printf -v TOKEN "%$((${1:-1536} - 5))s" ''
	TOKEN=ya29.${TOKEN// /x}
	export TOKEN
	private "$HOME/token" <<<"$TOKEN"
	program <<'P'
case $AUTH_MECH in
OAUTHBEARER | XOAUTH2) ;;
*) exit 1 ;;
esac
credentials=$(tr '\0' '\n' <&3)
exec 3<&-
[ "$credentials" = "joe
$TOKEN" ] || exit 1
become "$@"
P
	RECORD=$BATS_TEST_TMPDIR/record
	mkdir -m 777 "$RECORD"
	expected
	greeter_command -o
	quick || :
	start_server "${WRAPPER[@]}" "${POP3D[@]}"
	export PORT
}

# mechanisms: those of each login, in their order.
mechanisms() {
	sed -n 's/.*event=login .*mechanism=\([A-Z0-9-]*\).*/\1/p' "$LOG"
}

# refused MECHANISM: it was.
refused() {
	logged "event=failure user=joe .*mechanism=$1 reason=password"
	nothing_lost
}

@test "curl with CRAM-MD5, also by its own choice, and with a wrong password (exit code 67)" {
	local code=0 how

	offer_quickly -a
	for how in AUTH=CRAM-MD5 'AUTH=*'; do
		pop_curl --login-options "$how" "pop3://127.0.0.1:$PORT/4" \
		    -o "$GOT/4"
		cmp "$WANT/4" "$GOT/4"
	done
	mechanisms | expect 'CRAM-MD5
CRAM-MD5'
	SECRET=wrong pop_curl --login-options AUTH=CRAM-MD5 \
	    "pop3://127.0.0.1:$PORT/4" || code=$?
	[ "$code" = 67 ]
	refused CRAM-MD5
}

# Of the two it takes no other where both are offered, whatever it is told.
@test "curl with OAUTHBEARER, also with a wrong token (exit code 67)" {
	local code=0

	offer_bearer
	pop_curl --oauth2-bearer "$TOKEN" "pop3://127.0.0.1:$PORT/4" \
	    -o "$GOT/4"
	cmp "$WANT/4" "$GOT/4"
	pop_curl --oauth2-bearer "$TOKEN" --login-options AUTH=OAUTHBEARER \
	    --sasl-ir "pop3://127.0.0.1:$PORT/1" -o "$GOT/1"
	cmp "$WANT/1" "$GOT/1"
	pop_curl --oauth2-bearer wrong "pop3://127.0.0.1:$PORT/4" || code=$?
	[ "$code" = 67 ]
	refused OAUTHBEARER
	mechanisms | expect 'OAUTHBEARER
OAUTHBEARER'
}

@test "fetchmail with CRAM-MD5, also with a wrong password (exit code 3)" {
	local code=0

	offer_quickly -a
	FETCH='auth cram-md5' SECRET=wrong fetch fetchall no keep || code=$?
	[ "$code" = 3 ]
	refused CRAM-MD5
	FETCH='auth cram-md5' fetch fetchall no keep
	lf
	all_same 5
	all_deleted
	mechanisms | expect CRAM-MD5
}

@test "mpop with CRAM-MD5, also with a wrong password (exit code 77)" {
	local code=0

	need mpop
	offer_quickly -a
	lf
	SECRET=wrong run_mpop cram-md5 auto 'keep on' || code=$?
	[ "$code" = 77 ]
	refused CRAM-MD5
	run_mpop cram-md5 auto 'keep on'
	all_in_box
	run_mpop cram-md5 auto 'keep on'
	grep -F 'new: no messages' "$HOME/said"
	mechanisms | expect 'CRAM-MD5
CRAM-MD5'
}

@test "mpop with OAUTHBEARER and XOAUTH2, tokens of 1.5 KB, also with a wrong one (exit code 77)" {
	local code how

	need mpop
	offer_bearer
	lf
	for how in oauthbearer xoauth2; do
		code=0
		SECRET=wrong run_mpop "$how" auto 'keep on' || code=$?
		[ "$code" = 77 ]
		refused "${how^^}"
		PASSWORD="passwordeval cat $HOME/token" \
		    run_mpop "$how" auto 'keep on'
		all_in_box
		rm "$GOT"/* "$HOME/state/uidls"
	done
	mechanisms | expect 'OAUTHBEARER
XOAUTH2'
}

# mutt_by PROGRAM HOW
mutt_by() {
	run_mutt "$1" '<fetch-mail><quit>' "set pop_authenticators=$2" \
	    "set pop_oauth_refresh_command='cat $HOME/token'"
	all_in_box
	rm "$GOT"/*
	[ "$(mechanisms | tail -n 1)" = "${2^^}" ]
}

@test "mutt with CRAM-MD5" {
	need mutt
	offer -a
	lf
	mutt_by mutt cram-md5
}

@test "mutt with OAUTHBEARER and XOAUTH2" {
	need mutt
	offer_bearer
	lf
	mutt_by mutt oauthbearer
	mutt_by mutt xoauth2
}

@test "neomutt with CRAM-MD5" {
	need neomutt
	offer -a
	lf
	mutt_by neomutt cram-md5
}

# It takes no longer one.
@test "neomutt with OAUTHBEARER, a token of 500 octets" {
	need neomutt
	offer_bearer 500
	lf
	mutt_by neomutt oauthbearer
}

# It calls it oauthbearer, and sends it in TLS alone.
@test "s-nail with XOAUTH2, also with a wrong token" {
	local options=(-S pop3-auth=oauthbearer -S pop3-use-starttls)

	need s-nail
	with_stls
	offer_bearer
	options+=(-S "tls-ca-file=$CERTIFICATE")
	sed -i -e 's/\r$//' "$WANT"/*
	sed -i -e 's/^From />&/' -e '${/./s/$/\n/}' "$WANT"/*
	SECRET=wrong run_nail "${options[@]}" -- xit || :
	grep -F 'POP3 error: -ERR [AUTH] ' "$HOME/said"
	refused XOAUTH2
	SECRET=$TOKEN run_nail "${options[@]}" -- "copy * maildir://$BOX" xit
	all_in_box
	mechanisms | expect XOAUTH2
}
