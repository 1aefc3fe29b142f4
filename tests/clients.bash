# shellcheck shell=bash
# What the tests of real clients share.  Load it after helper.

# Of all these files.
setup() {
	pop3d_setup
	GOT=$BATS_TEST_TMPDIR/mails
	WANT=$BATS_TEST_TMPDIR/want
	# Nothing of whoever runs the tests, and all that a client may leave.
	HOME=$BATS_TEST_TMPDIR/client
	unset MAILRC MAILCAPS MBOX XDG_CONFIG_HOME XDG_DATA_HOME
	# Of the client: a Maildir, and where it keeps what it must remember.
	BOX=$HOME/box
	mkdir "$GOT" "$WANT" "$HOME" "$HOME/state"
	mkdir -m 700 "$BOX" "$BOX/new" "$BOX/cur" "$BOX/tmp"
	export GOT WANT HOME
	if [ "$(id -u)" = 0 ]; then
		chown -R daemon:daemon "$GOT" "$HOME"
	fi
	messages
}

teardown() {
	pop3d_teardown
}

# as_client COMMAND ...: where the tests are root's, as somebody else, whom the
# system knows; there are clients that do not work for root or for a mere
# number.
as_client() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid daemon --regid daemon --clear-groups "$@"
	else
		"$@"
	fi
}

# need COMMAND
need() {
	command -v "$1" >/dev/null || skip "needs $1"
}

# private FILE: standard input becomes that configuration file, which holds a
# password.
private() {
	(umask 077 && cat >"$1")
	if [ "$(id -u)" = 0 ]; then
		chown daemon:daemon "$1"
	fi
}

# What any client can take: 1 LF, 2 CRLF, dots and no last line end, 3 octets
# that are no UTF-8 and what looks like the start of a message in an mbox, 4 an
# attachment of a megabyte, 5 no body.
messages() {
	printf 'From: a@example.org\nSubject: one\n\nbody\n' |
	    deliver new/1700000001.M1.host
	printf 'From: b@example.org\r\nSubject: two\r\n\r\n.\r\n..a\r\n.b' |
	    deliver new/1700000002.M2.host
	printf 'From: c@example.org\nSubject: drei\n\n%b' \
	    '\303\244\n\377\n\nFrom here\n>From there\n\n\n' |
	    deliver cur/1700000003.M3.host:2,F
	{
		printf 'From: d@example.org\nSubject: four\n\n'
		head -c 1000000 /dev/zero | openssl enc -aes-128-ctr \
		    -K "$(printf %032d 4)" -iv "$(printf %032d 0)" | base64
		echo
	} | deliver cur/1700000004.M4.host:2,
	printf 'From: e@example.org\nSubject: five\n\n' |
	    deliver new/1700000005.M5.host
}

# And what only exact ones can.
odd_messages() {
	: | deliver new/1700000006.M6.host
	printf . | deliver new/1700000007.M7.host
	printf 'A: b\n\na\0b\0\n\0' | deliver new/1700000008.M8.host
	printf 'A: b\n\na\rb\r\r\n\r' | deliver new/1700000009.M9.host
	{
		printf 'A: b\n\n'
		head -c 100000 /dev/zero | tr '\0' x
		printf '\n.\n..\n'
	} | deliver new/1700000010.M10.host
}

# expected: writes each message as it must arrive to $WANT/1 and so on; keeps
# them while clients delete.
expected() {
	python3 - <<'P'
import os, re
mail, want = os.environ["MAIL"], os.environ["WANT"]
paths = sorted((name, folder) for folder in ("new", "cur")
               for name in os.listdir(os.path.join(mail, folder)))
for i, (name, folder) in enumerate(paths, 1):
    data = open(os.path.join(mail, folder, name), "rb").read()
    data = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    if data and not data.endswith(b"\n"):
        data += b"\r\n"
    open("%s/%d" % (want, i), "wb").write(data)
P
}

# offer [OPTION ...]: the mailbox under tcpserver, by pop3d and
# pop3d-checkpassword where there is one (else the tests' own); sets PORT.
# What stands in the array WRAPPER comes before pop3d.
offer() {
	local users=$BATS_TEST_TMPDIR/users

	expected
	if [ -s "$POP3D_BIN/pop3d-checkpassword" ]; then
		(umask 077 && printf 'joe:{PLAIN}secret:%s:%s::%s:\n' \
		    "$TEST_UID" "$TEST_GID" "$HOME_DIR" >"$users")
		POP3D=("$POP3D_BIN/pop3d" -r "$EMPTY" "$@"
		    "$POP3D_BIN/pop3d-checkpassword" -f "$users")
	else
		pop3d_command "$@"
	fi
	rm -f "$BATS_TEST_TMPDIR/port"
	start_server "${WRAPPER[@]}" "${POP3D[@]}"
	export PORT
}

# offer_quickly [OPTION ...]: the same, and a wrong password is answered at
# once, where strace can see to that.
offer_quickly() {
	RECORD=$BATS_TEST_TMPDIR/record
	mkdir -m 777 "$RECORD"
	WRAPPER=("$BATS_TEST_TMPDIR/at-once")
	POP3D=('"$@"')
	quick || :
	printf '#!/bin/sh\nexec %s\n' "${POP3D[*]}" >"${WRAPPER[0]}"
	chmod 755 "${WRAPPER[0]}"
	offer "$@"
}

# certificate: one for localhost and 127.0.0.1, and its key.
certificate() {
	CERTIFICATE=$BATS_TEST_TMPDIR/certificate
	KEY=$BATS_TEST_TMPDIR/key
	self_signed "$KEY" "$CERTIFICATE"
}

# with_stls: what is offered has STLS, by a wrapper.
with_stls() {
	certificate
	WRAPPER=(python3 "$BATS_TEST_DIRNAME/ucspi-tls.py" "$CERTIFICATE" "$KEY")
}

# count FOLDER: the files in it.
count() {
	find "$1" -type f | wc -l
}

# all_same COUNT: $GOT has so many messages, each as it must arrive.
all_same() {
	local file

	[ "$(count "$GOT")" = "$1" ]
	[ "$(count "$WANT")" = "$1" ]
	for file in "$GOT"/*; do
		cmp "$WANT/${file##*/}" "$file"
	done
}

# lf: from here on messages are wanted with LF, as clients keep them on disk.
lf() {
	local file

	for file in "$WANT"/*; do
		sed 's/\r$//' "$file" >"$file.lf"
		mv "$file.lf" "$file"
	done
}

# all_in_box: all five messages have come into the Maildir $BOX, each as it must
# arrive; takes them away.
all_in_box() {
	local file

	[ "$(count "$BOX")" = 5 ]
	for file in "$BOX"/new/* "$BOX"/cur/*; do
		[ ! -e "$file" ] || mv "$file" "$GOT/$(number_of "$file")"
	done
	all_same 5
}

# from_mbox FILE: the messages in an mbox go to $GOT/1 and so on, without the >
# of quoted lines and the empty line behind each.
from_mbox() {
	python3 - "$1" <<'P'
import os, re, sys
parts = re.split(rb"(?m)^From .*\n", open(sys.argv[1], "rb").read())
assert parts.pop(0) == b""
for i, part in enumerate(parts, 1):
    assert part.endswith(b"\n\n"), part[-20:]
    with open("%s/%d" % (os.environ["GOT"], i), "wb") as file:
        file.write(re.sub(rb"(?m)^>(>*From )", rb"\1", part[:-1]))
P
}

# number_of FILE: of the message in it.
number_of() {
	sed -n '/^From: \(.\)@example.org.*/{s//\1/p;q;}' "$1" |
	    tr abcdef 123456
}

# nothing_lost: all five are in the mailbox still.
nothing_lost() {
	[ "$(mail_files | wc -l)" = 5 ]
}

# all_deleted: none is; QUIT may be at work still when the client has gone.
all_deleted() {
	wait_for no_mail
}

no_mail() {
	[ -z "$(mail_files)" ]
}

# Clients

# pop_curl ARGUMENT ...: with joe and $SECRET.
pop_curl() {
	curl -sS --max-time 60 --user "joe:${SECRET:-secret}" "$@"
}

# fetch [OPTION ...]: fetchmail, with these options of its user, and those of
# the server in FETCH; each message goes to $GOT/1 and so on.
fetch() {
	cat >"$HOME/mda" <<'M'
#!/bin/sh
set -- "$GOT"/*
[ -e "$1" ] || shift
cat >"$GOT/$(($# + 1))"
M
	chmod 755 "$HOME/mda"
	private "$HOME/rc" <<R
set no bouncemail
poll 127.0.0.1 protocol ${PROTOCOL:-POP3} port $PORT ${FETCH:-}
	user joe password ${SECRET:-secret} sslproto '${SSLPROTO:-}' no rewrite
	mda "$HOME/mda" $*
R
	FETCHMAILHOME=$HOME as_client fetchmail -f "$HOME/rc" -i "$HOME/ids" \
	    --invisible --pidfile "$HOME/pid" --nosyslog --nodetach 2>&1
}

# run_mpop AUTH PIPELINING [LINE ...]: with these lines in its configuration; what
# it says goes to $HOME/said.
run_mpop() {
	private "$HOME/rc" <<R
account default
host 127.0.0.1
port $PORT
user joe
${PASSWORD:-password ${SECRET:-secret}}
auth $1
pipelining $2
uidls_file $HOME/state/uidls
delivery maildir $BOX
received_header off
$(printf '%s\n' "${@:3}")
R
	as_client mpop -C "$HOME/rc" >"$HOME/said" 2>&1
}

# run_mutt PROGRAM KEYS [LINE ...]: on a terminal of its own, with these lines in
# its configuration; $BOX is its spool.  What it shows goes to $HOME/said, its
# process to $HOME/pid.  FOLDER is the folder it begins with.
run_mutt() {
	private "$HOME/rc" <<R
set mbox_type=Maildir spoolfile="$BOX" folder="$HOME" record="" move=no
set pop_host="pop://joe@127.0.0.1:$PORT" pop_pass="${SECRET:-secret}"
set pop_checkinterval=0 pop_last=no pop_delete=no ssl_force_tls=no
set quit=yes delete=yes confirmappend=no confirmcreate=no wait_key=no
set header_cache="" message_cachedir="" sleep_time=0
$(printf '%s\n' "${@:3}")
push "$2"
R
	(cd "$HOME" && TERM=xterm as_client timeout 60 script -qefc \
	    "echo \$\$ >pid && exec $1 -n -F rc ${FOLDER:+-f $FOLDER}" said) \
	    </dev/null >/dev/null
}

# run_nail [OPTION ... --] COMMAND ...: s-nail with the mailbox as its folder;
# what it says goes to $HOME/said.
run_nail() {
	split "$@"
	printf '%s\n' "${BEHIND[@]}" | as_client s-nail -:/ -# -S v15-compat \
	    "${BEFORE[@]}" -S "password=${SECRET:-secret}" \
	    -f "pop3://joe@localhost:$PORT" >"$HOME/said" 2>&1
}
