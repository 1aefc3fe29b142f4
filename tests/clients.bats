#!/usr/bin/env bats
# Real clients under tcpserver, with the bundled checkpassword program: each
# gets every message octet for octet.

load helper

setup() {
	pop3d_setup
	GOT=$BATS_TEST_TMPDIR/mails
	mkdir "$GOT"
	export GOT
	messages
}

teardown() {
	pop3d_teardown
}

# What any client can take: 1 LF, 2 CRLF, dots and no last line end, 3 UTF-8,
# 4 an attachment of a megabyte, 5 no body.
messages() {
	printf 'From: a@example.org\nSubject: one\n\nbody\n' |
	    deliver new/1700000001.M1.host
	printf 'From: b@example.org\r\nSubject: two\r\n\r\n.\r\n..a\r\n.b' |
	    deliver new/1700000002.M2.host
	printf 'From: c@example.org\nSubject: drei\n\n\303\244\n\377\n\n\n' |
	    deliver cur/1700000003.M3.host:2,F
	{
		printf 'From: d@example.org\nSubject: four\n\n'
		python3 -c 'import base64, random
random.seed(4)
print(base64.encodebytes(random.randbytes(1000000)).decode())'
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

# expected: writes each message as it must arrive to $BATS_TEST_TMPDIR/want/1
# and so on; keeps them while clients delete.
expected() {
	mkdir "$BATS_TEST_TMPDIR/want"
	WANT=$BATS_TEST_TMPDIR/want python3 - <<'P'
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

# serve [OPTION ...]: tcpserver, pop3d, and pop3d-checkpassword where there is
# one (else the tests' own).
serve() {
	local users=$BATS_TEST_TMPDIR/users

	expected
	if [ -s "$POP3D_BIN/pop3d-checkpassword" ]; then
		(umask 077 && printf 'joe:{PLAIN}secret:%s:%s::%s:\n' \
		    "$TEST_UID" "$TEST_GID" "$HOME_DIR" >"$users")
		start_server "$POP3D_BIN/pop3d" -r "$EMPTY" "$@" \
		    "$POP3D_BIN/pop3d-checkpassword" -f "$users"
	else
		pop3d_command "$@"
		start_server "${POP3D[@]}"
	fi
	export PORT
}

# count FOLDER: the files in it.
count() {
	find "$1" -type f | wc -l
}

# all_same COUNT: $GOT has so many messages, each as it must arrive.
all_same() {
	local file

	[ "$(count "$GOT")" = "$1" ]
	[ "$(count "$BATS_TEST_TMPDIR/want")" = "$1" ]
	for file in "$GOT"/*; do
		cmp "$BATS_TEST_TMPDIR/want/${file##*/}" "$file"
	done
}

pop_curl() {
	curl -sS --max-time 60 --user "joe:${SECRET:-secret}" "$@"
}

@test "curl lists and fetches every message, octet for octet" {
	local i

	odd_messages
	# curl itself makes an empty line of an empty message.
	echo A: b >"$MAIL/new/1700000006.M6.host"
	serve
	pop_curl "pop3://127.0.0.1:$PORT/" | tr -d '\r' >"$BATS_TEST_TMPDIR/list"
	for i in {1..10}; do
		echo "$i $(wc -c <"$BATS_TEST_TMPDIR/want/$i")"
	done | same - "$BATS_TEST_TMPDIR/list"
	for i in {1..10}; do
		pop_curl "pop3://127.0.0.1:$PORT/$i" -o "$GOT/$i"
	done
	all_same 10
	[ -z "$(ls "$MAIL/new")" ]
}

@test "curl fetches with SASL PLAIN, LOGIN, and APOP" {
	local how

	serve -a
	for how in AUTH=PLAIN AUTH=LOGIN AUTH=+APOP; do
		pop_curl --login-options "$how" "pop3://127.0.0.1:$PORT/1" \
		    -o "$GOT/1"
		cmp "$BATS_TEST_TMPDIR/want/1" "$GOT/1"
		rm "$GOT/1"
	done
	logged 'event=login .*mechanism=PLAIN'
	logged 'event=login .*mechanism=LOGIN'
	logged 'event=login .*mechanism=APOP'
}

@test "curl gets TOP, UIDL and STAT" {
	serve
	pop_curl -X 'TOP 4 1' "pop3://127.0.0.1:$PORT/" -o "$GOT/4"
	head -n 4 "$BATS_TEST_TMPDIR/want/4" | cmp - "$GOT/4"
	pop_curl -X UIDL "pop3://127.0.0.1:$PORT/" | tr -d '\r' |
	    expect '1 1700000001.M1.host
2 1700000002.M2.host
3 1700000003.M3.host
4 1700000004.M4.host
5 1700000005.M5.host'
	[ "$(count "$MAIL/new")" = 3 ]
}

@test "curl deletes" {
	serve
	pop_curl -I -X 'DELE 2' "pop3://127.0.0.1:$PORT/"
	wait_for test ! -e "$MAIL/new/1700000002.M2.host"
	# The third has become the second.
	pop_curl -I -X DELE "pop3://127.0.0.1:$PORT/2"
	wait_for test ! -e "$MAIL/cur/1700000003.M3.host:2,F"
	[ "$(mail_files | wc -l)" = 3 ]
}

@test "curl with a wrong password is refused (exit code 67)" {
	local code=0

	serve
	SECRET=wrong pop_curl "pop3://127.0.0.1:$PORT/" || code=$?
	[ "$code" = 67 ]
	logged 'event=failure user=joe'
	pop_curl "pop3://127.0.0.1:$PORT/" >/dev/null
}

# fetch [OPTION ...]: fetchmail, each message to $GOT/1 and so on.
fetch() {
	local home=$BATS_TEST_TMPDIR/fetchmail

	mkdir -p "$home"
	cat >"$home/mda" <<'M'
#!/bin/sh
set -- "$GOT"/*
[ -e "$1" ] || shift
cat >"$GOT/$(($# + 1))"
M
	chmod 700 "$home/mda"
	(umask 077 && cat >"$home/rc") <<R
set invisible
set no bouncemail
poll 127.0.0.1 protocol ${FETCH_PROTOCOL:-POP3} port $PORT ${FETCH_UIDL:-}
	user joe password secret sslproto '' no rewrite mda "$home/mda" $*
R
	FETCHMAILHOME=$home fetchmail -f "$home/rc" -i "$home/ids" \
	    --pidfile "$home/pid" --nosyslog --nodetach 2>&1
}

# fetchmail hands messages to an mda with LF, and a last line end.
all_fetched() {
	local file

	for file in "$BATS_TEST_TMPDIR/want"/*; do
		tr -d '\r' <"$file" >"$file.lf"
		mv "$file.lf" "$file"
	done
	all_same "$1"
}

@test "fetchmail keeps, and with UIDL fetches nothing the second time" {
	local code=0

	serve
	FETCH_UIDL=uidl fetch keep
	[ "$(count "$GOT")" = 5 ]
	FETCH_UIDL=uidl fetch keep || code=$?
	[ "$code" = 1 ]
	all_fetched 5
	[ "$(mail_files | wc -l)" = 5 ]
	printf 'A: b\n\nnew\n' | deliver new/1700000011.M11.host
	rm "$GOT"/*
	FETCH_UIDL=uidl fetch keep
	[ "$(ls "$GOT")" = 1 ]
	grep -qx new "$GOT/1"
}

@test "fetchmail fetches everything and deletes it" {
	local code=0

	serve
	fetch fetchall no keep
	all_fetched 5
	[ -z "$(mail_files)" ]
	fetch fetchall no keep || code=$?
	[ "$code" = 1 ]
}

@test "fetchmail finds what is new by LAST, where it keeps without UIDL" {
	serve
	fetch keep
	[ "$(count "$GOT")" = 5 ]
	all_fetched 5
	[ "$(mail_files | wc -l)" = 5 ]
}

@test "fetchmail fetches with APOP" {
	serve -a
	FETCH_PROTOCOL=APOP fetch fetchall no keep
	all_fetched 5
	[ -z "$(mail_files)" ]
	logged 'event=login .*mechanism=APOP'
}

@test "Python's poplib: every method" {
	odd_messages
	serve -a
	python3 - <<'P'
import os, poplib, re
poplib._MAXLINE = 1 << 20
port, got = int(os.environ["PORT"]), os.environ["GOT"]
want = os.path.dirname(got) + "/want/"

def refused(call, *args):
    try:
        call(*args)
    except poplib.error_proto as e:
        assert re.match("b?'?-ERR ", str(e.args[0])), e
    else:
        raise AssertionError(call)

pop = poplib.POP3("127.0.0.1", port, timeout=30)
assert pop.getwelcome().startswith(b"+OK ")
pop.set_debuglevel(0)
capabilities = pop.capa()
for name in ("TOP", "UIDL", "USER", "SASL", "PIPELINING", "RESP-CODES",
             "AUTH-RESP-CODE", "EXPIRE", "IMPLEMENTATION"):
    assert name in capabilities, name
refused(pop.rpop, "joe")
refused(pop.stls)
pop.user("joe")
refused(pop.pass_, "wrong")
pop.user("joe")
assert pop.pass_("secret").startswith(b"+OK")
sizes = [os.path.getsize(want + str(i)) for i in range(1, 11)]
assert pop.stat() == (10, sum(sizes))
response, listing, octets = pop.list()
assert listing == [b"%d %d" % (i + 1, s) for i, s in enumerate(sizes)]
assert pop.list(4) == b"+OK 4 %d" % sizes[3]
response, listing, octets = pop.uidl()
assert listing[9] == b"10 1700000010.M10.host" and len(listing) == 10
assert pop.uidl(1) == b"+OK 1 1700000001.M1.host"
for i in range(1, 11):
    response, lines, octets = pop.retr(i)
    with open("%s/%d" % (got, i), "wb") as f:
        f.write(b"".join(line + b"\r\n" for line in lines))
response, lines, octets = pop.top(4, 1)
assert lines == open(want + "4", "rb").read().split(b"\r\n")[:4]
refused(pop.retr, 11)
refused(pop.dele, 11)
assert pop.noop().startswith(b"+OK")
assert pop.dele(1).startswith(b"+OK")
assert pop.stat() == (9, sum(sizes[1:]))
assert pop.rset().startswith(b"+OK")
assert pop.stat() == (10, sum(sizes))
assert pop.dele(10).startswith(b"+OK")
assert pop.quit().startswith(b"+OK")

pop = poplib.POP3("127.0.0.1", port, timeout=30)
pop.apop("joe", "secret")
assert pop.stat() == (9, sum(sizes[:9]))
pop.close()
P
	all_same 10
	[ "$(mail_files | wc -l)" = 9 ]
}

@test "Perl's Net::POP3 gets every message, octet for octet, and deletes" {
	perl -MNet::POP3 -e 1 2>/dev/null || skip "needs Net::POP3"
	odd_messages
	serve -a
	perl - <<'P'
use strict;
use warnings;
use Net::POP3;

my $pop = Net::POP3->new("127.0.0.1", Port => $ENV{PORT}, Timeout => 30)
    or die "new: $@";
$pop->banner =~ /POP3/ or die "banner";
defined $pop->login("joe", "wrong") and die "wrong password";
$pop->login("joe", "secret") == 10 or die "login: " . $pop->message;
my ($count, $size) = $pop->popstat;
my $list = $pop->list;
my $sum = 0;
$sum += $_ for values %$list;
$count == 10 && $size == $sum or die "popstat $count $size $sum";
$pop->last == 0 or die "last";
my $uidl = $pop->uidl;
$uidl->{10} eq "1700000010.M10.host" or die "uidl";
$pop->uidl(1) eq "1700000001.M1.host" or die "uidl 1";
for my $i (1 .. 10) {
	my $lines = $pop->get($i) or die "get $i: " . $pop->message;
	my $text = join "", @$lines;
	$text =~ s/\n/\r\n/g;
	length $text == $list->{$i} or die "octets of $i";
	open my $f, ">:raw", "$ENV{GOT}/$i" or die;
	print $f $text;
	close $f or die;
}
@{$pop->top(4, 1)} == 4 or die "top";
$pop->last == 10 or die "last afterwards";
$pop->delete($_) or die "delete $_" for 1 .. 10;
$pop->reset;
($pop->popstat)[0] == 10 or die "reset";
$pop->delete($_) or die "delete $_" for 1 .. 9;
$pop->quit or die "quit";

$pop = Net::POP3->new("127.0.0.1", Port => $ENV{PORT}, Timeout => 30) or die;
$pop->apop("joe", "secret") == 1 or die "apop: " . $pop->message;
$pop->delete(1) or die;
$pop->quit or die;
P
	all_same 10
	wait_for test -z "$(mail_files)"
}

@test "the client's address is in the log and in another one's IN-USE" {
	serve
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
