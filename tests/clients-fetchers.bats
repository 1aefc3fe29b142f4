#!/usr/bin/env bats
# Programs that fetch mail and put it somewhere: getmail, mpop, fdm, movemail.
# They keep it with LF.

load helper
load clients

# run_getmail [OPTION ...]: what it says goes to $HOME/said.  It does not notice
# that a delivery has ended before it waits for that; so ours waits for it.
run_getmail() {
	cat >"$HOME/mda" <<'M'
#!/bin/sh
until grep -q '^State:.S' /proc/$PPID/status; do :; done
cat >"$(mktemp "$1/new/XXXXXX")"
M
	chmod 755 "$HOME/mda"
	private "$HOME/rc" <<R
[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = $PORT
username = joe
password = ${SECRET:-secret}
use_apop = ${APOP:-False}

[destination]
type = MDA_external
path = $HOME/mda
arguments = ("$BOX",)

[options]
read_all = false
delivered_to = false
received = false
R
	as_client getmail --getmaildir "$HOME/state" --rcfile "$HOME/rc" "$@" \
	    >"$HOME/said" 2>&1
}

# getmail puts a line before each message.
with_return_path() {
	lf
	sed -i '1i Return-Path: <unknown>' "$WANT"/*
}

@test "getmail keeps, fetches nothing the second time, and deletes later" {
	need getmail
	offer
	with_return_path
	run_getmail --dont-delete
	grep -F '5 messages (' "$HOME/said"
	run_getmail --dont-delete
	grep -F '0 messages (0 bytes) retrieved, 5 skipped' "$HOME/said"
	all_in_box
	nothing_lost
	run_getmail --delete --all
	all_deleted
}

@test "getmail with APOP" {
	need getmail
	offer -a
	with_return_path
	APOP=True run_getmail --delete
	all_in_box
	all_deleted
	logged 'event=login .*mechanism=APOP'
}

@test "getmail with a wrong password says so, and what the server said" {
	need getmail
	offer_quickly
	SECRET=wrong run_getmail --delete || :
	grep -F -- '-ERR [AUTH] wrong user name or password' "$HOME/said"
	nothing_lost
}

@test "mpop keeps, finds nothing new, and deletes, by each way to log in" {
	local auth pipelining=off

	need mpop
	offer -a
	lf
	for auth in user plain login apop; do
		[ "$pipelining" = on ] && pipelining=off || pipelining=on
		run_mpop "$auth" "$pipelining" 'keep on'
		grep -F 'new: 5 messages' "$HOME/said"
		run_mpop "$auth" "$pipelining" 'keep on'
		grep -F 'new: no messages' "$HOME/said"
		all_in_box
		nothing_lost
		rm "$GOT"/* "$HOME/state/uidls"
	done
	run_mpop plain on 'keep off'
	all_in_box
	all_deleted
	run_mpop apop off 'keep off'
	grep -F 'no messages' "$HOME/said"
}

@test "mpop deletes what it fetches one by one, too, without pipelining" {
	need mpop
	offer
	lf
	run_mpop user off 'keep off'
	all_in_box
	all_deleted
}

@test "mpop chooses a way itself, asks for STLS, and fetches in TLS" {
	need mpop
	with_stls
	offer
	lf
	run_mpop on auto 'keep off' 'tls on' 'tls_starttls on' \
	    "tls_trust_file $CERTIFICATE"
	all_in_box
	all_deleted
	logged 'event=login .*tls=yes'
}

@test "mpop with a wrong password says so (exit code 77), each way to log in" {
	local auth code

	need mpop
	offer_quickly -a
	for auth in user plain login apop; do
		code=0
		SECRET=wrong run_mpop "$auth" auto 'keep off' || code=$?
		[ "$code" = 77 ]
		grep -F 'authentication failed' "$HOME/said"
	done
	nothing_lost
}

# run_fdm [OPTION ...]: it takes APOP where that is offered.
run_fdm() {
	private "$HOME/rc" <<R
set no-received
set lock-file "$HOME/state/lock"
action "box" maildir "$BOX"
account "joe" pop3 server "127.0.0.1" port $PORT user "joe"
	pass "${SECRET:-secret}" new-only cache "$HOME/state/cache"
match all action "box"
R
	as_client fdm -f "$HOME/rc" "$@" fetch >"$HOME/said" 2>&1
}

@test "fdm keeps with APOP, and fetches nothing the second time" {
	need fdm
	offer -a
	lf
	run_fdm -k
	[ "$(count "$BOX")" = 5 ]
	run_fdm -k
	all_in_box
	nothing_lost
	logged 'event=login .*mechanism=APOP'
}

@test "fdm fetches everything and deletes it, with USER" {
	need fdm
	offer
	lf
	run_fdm
	all_in_box
	all_deleted
	logged 'event=login .*mechanism=USER'
}

@test "fdm with a wrong password says so" {
	need fdm
	offer_quickly
	SECRET=wrong run_fdm
	grep -Fx 'joe: unexpected data: -ERR [AUTH] wrong user name or password' \
	    "$HOME/said"
	nothing_lost
}

# Of a message of more than 8 KB movemail 3.15 loses octets, whatever the server.
offer_small() {
	head -c 7000 "$MAIL/cur/1700000004.M4.host:2," >"$HOME/small"
	deliver cur/1700000004.M4.host:2, <"$HOME/small"
	offer
	lf
	# And it gives a message without a body one line.
	echo >>"$WANT/5"
}

# run_movemail [OPTION ...]
run_movemail() {
	as_client movemail --no-config "$@" \
	    "pop://joe:${SECRET:-secret}@127.0.0.1:$PORT" "$HOME/state/mbox" \
	    >"$HOME/said" 2>&1
}

@test "movemail keeps, and with --uidl fetches nothing the second time" {
	need movemail
	offer_small
	run_movemail --preserve --uidl
	run_movemail --preserve --uidl
	from_mbox "$HOME/state/mbox"
	# It has lines of its own in the header.
	sed -i '/^X-\(UIDL\|UID\|IMAPbase\): /d' "$GOT"/*
	all_same 5
	nothing_lost
}

@test "movemail fetches everything and deletes it" {
	need movemail
	offer_small
	run_movemail
	from_mbox "$HOME/state/mbox"
	sed -i '/^X-\(UID\|IMAPbase\): /d' "$GOT"/*
	all_same 5
	all_deleted
}

@test "movemail with a wrong password says so" {
	need movemail
	offer_quickly
	SECRET=wrong
	not run_movemail
	grep -F 'Authentication failed' "$HOME/said"
	nothing_lost
}
