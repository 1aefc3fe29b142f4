#!/usr/bin/env bats
# Mail readers: mutt, neomutt, s-nail.  They keep mail with LF.

load helper
load clients

# keeps PROGRAM: by pop_last it fetches nothing the second time.  Left to itself
# it takes PLAIN.
keeps() {
	need "$1"
	offer
	lf
	run_mutt "$1" '<fetch-mail><quit>' 'set pop_last=yes'
	wait_for logged 'event=end .* retrieved=5 .* reason=quit'
	run_mutt "$1" '<fetch-mail><quit>' 'set pop_last=yes'
	wait_for logged 'event=end .* retrieved=0 .* reason=quit'
	all_in_box
	nothing_lost
	logged 'event=login .*mechanism=PLAIN'
}

# deletes PROGRAM: what it has fetched, with USER and APOP.
deletes() {
	need "$1"
	offer -a
	lf
	run_mutt "$1" '<fetch-mail><quit>' 'set pop_authenticators=user'
	rm "$BOX"/*/*
	run_mutt "$1" '<fetch-mail><quit>' 'set pop_authenticators=apop' \
	    'set pop_delete=yes'
	all_in_box
	all_deleted
	logged 'event=login .*mechanism=USER'
	logged 'event=login .*mechanism=APOP'
}

# opens PROGRAM: the mailbox as a folder, copies all, deletes all.  To what it
# copies it adds two lines.
opens() {
	need "$1"
	offer
	lf
	FOLDER=pop://joe@127.0.0.1:$PORT run_mutt "$1" \
	    "<tag-pattern>~A<enter><tag-prefix><copy-message>$BOX<enter><quit>"
	sed -i '/^\(Content-Length\|Lines\): [0-9]*$/d' "$BOX"/*/*
	all_in_box
	nothing_lost
	FOLDER=pop://joe@127.0.0.1:$PORT run_mutt "$1" \
	    '<delete-pattern>~A<enter><quit>'
	all_deleted
}

# is_refused PROGRAM: with a wrong password, by several ways to log in.  It shows
# why for two seconds.
is_refused() {
	local how pid

	need "$1"
	offer_quickly -a
	for how in user apop plain; do
		rm -f "$HOME/said"
		SECRET=wrong run_mutt "$1" '<fetch-mail>' \
		    "set pop_authenticators=$how" 3>&- &
		pid=$!
		wait_for grep -aqsE \
		    '(Login|APOP authentication|SASL authentication) failed' \
		    "$HOME/said"
		kill "$(cat "$HOME/pid")"
		wait "$pid" || :
	done
	[ "$(count "$BOX")" = 0 ]
	nothing_lost
}

@test "mutt keeps with PLAIN, and by pop_last fetches nothing the second time" {
	keeps mutt
}

@test "mutt fetches and deletes, with USER and APOP" {
	deletes mutt
}

@test "mutt opens the mailbox as a folder, copies it and deletes from it" {
	opens mutt
}

@test "mutt with a wrong password says so" {
	is_refused mutt
}

@test "neomutt keeps with PLAIN, and by pop_last fetches nothing the second time" {
	keeps neomutt
}

@test "neomutt fetches and deletes, with USER and APOP" {
	deletes neomutt
}

@test "neomutt opens the mailbox as a folder, copies it and deletes from it" {
	opens neomutt
}

@test "neomutt with a wrong password says so" {
	is_refused neomutt
}

# In a Maildir, too, it quotes what looks like the start of a message in an mbox,
# and has an empty line at a message's end.
@test "s-nail copies every message, keeps and deletes, with USER and APOP" {
	need s-nail
	offer -a
	lf
	sed -i -e 's/^From />&/' -e '${/./s/$/\n/}' "$WANT"/*
	run_nail "copy * maildir://$BOX" xit
	all_in_box
	nothing_lost
	run_nail -S pop3-no-apop -- 'delete 2 3' quit
	wait_for test "$(mail_files | wc -l)" = 3
	logged 'event=login .*mechanism=APOP'
	logged 'event=login .*mechanism=USER'
	# It leaves without QUIT where it has changed nothing.
	logged 'event=end .* retrieved=5 .* reason=disconnect'
	logged 'event=end .* deleted=2 .* reason=quit'
}

@test "s-nail with a wrong password says so" {
	need s-nail
	offer_quickly
	SECRET=wrong run_nail quit || :
	grep -F 'POP3 error: -ERR [AUTH] wrong user name or password' \
	    "$HOME/said"
	nothing_lost
}
