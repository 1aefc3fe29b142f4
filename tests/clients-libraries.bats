#!/usr/bin/env bats
# The libraries of programming languages that speak POP3 as clients.

load helper
load clients

# node_pop3: node-pop3 of the npm registry, in $HOME/node_modules, by a lock
# file that says which octets it must be.
node_pop3() {
	need npm
	cat >"$HOME/package.json" <<'J'
{"name": "client", "dependencies": {"node-pop3": "0.11.0"}}
J
	cat >"$HOME/package-lock.json" <<'J'
{
  "name": "client", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {"name": "client", "dependencies": {"node-pop3": "0.11.0"}},
    "node_modules/node-pop3": {
      "version": "0.11.0",
      "integrity": "sha512-M5qRCamSTxu5lIVBW9q6XyC6nH30fZxTdTQDzfHRSaLl8CCiZMSh80rDnIysB6ECvh9j8sf8+KveEQpLDRmMYg=="
    }
  }
}
J
	(cd "$HOME" && timeout 30 npm ci --ignore-scripts --no-audit \
	    --no-fund --fetch-retries 0 >npm.log 2>&1) ||
	    skip "node-pop3 cannot be installed: $(grep -m 1 . "$HOME/npm.log")"
}

@test "Python's poplib: every method" {
	odd_messages
	offer_quickly -a
	python3 - <<'P'
import os, poplib, re
poplib._MAXLINE = 1 << 20
port, got = int(os.environ["PORT"]), os.environ["GOT"]
want = os.environ["WANT"] + "/"

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
response, lines, octets = pop.list()
assert lines == [b"%d %d" % (i + 1, s) for i, s in enumerate(sizes)]
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
# What it has kept is nothing new to it.
assert pop.uidl()[1] == listing[:9]
pop.close()
P
	all_same 10
	[ "$(mail_files | wc -l)" = 9 ]
}

@test "poplib as it comes refuses a line over 2048 octets, and nothing else is lost" {
	odd_messages
	offer
	python3 - <<'P'
import os, poplib
port, want = int(os.environ["PORT"]), os.environ["WANT"]

def login():
    pop = poplib.POP3("127.0.0.1", port, timeout=30)
    pop.user("joe")
    pop.pass_("secret")
    return pop

pop = login()
for i in range(1, 10):
    lines = pop.retr(i)[1]
    assert b"".join(line + b"\r\n" for line in lines) == open(
        "%s/%d" % (want, i), "rb").read(), i
try:
    pop.retr(10)
except poplib.error_proto as e:
    assert "too long" in str(e), e
else:
    raise AssertionError("a line of 100000 octets")
pop.close()
pop = login()
# Our own lines are none of these.
assert len(pop.list()[1]) == len(pop.uidl()[1]) == 10
pop.dele(10)
pop.quit()
P
	wait_for test "$(mail_files | wc -l)" = 9
}

@test "poplib asks for STLS and fetches in TLS" {
	with_stls
	offer
	CERTIFICATE=$CERTIFICATE python3 - <<'P'
import os, poplib, ssl
pop = poplib.POP3("127.0.0.1", int(os.environ["PORT"]), timeout=30)
assert "STLS" in pop.capa()
pop.stls(ssl.create_default_context(cafile=os.environ["CERTIFICATE"]))
assert "STLS" not in pop.capa()
pop.user("joe")
pop.pass_("secret")
lines = pop.retr(4)[1]
assert b"".join(line + b"\r\n" for line in lines) == open(
    os.environ["WANT"] + "/4", "rb").read()
pop.quit()
P
	logged 'event=login .*tls=yes'
}

@test "Perl's Net::POP3 gets every message, octet for octet, and deletes" {
	perl -MNet::POP3 -e 1 2>/dev/null || skip "needs Net::POP3"
	odd_messages
	offer_quickly -a
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
# What it has kept is nothing new to it.
$pop->uidl->{1} eq $uidl->{10} && $pop->last == 1 or die "new";
$pop->delete(1) or die;
$pop->quit or die;
P
	all_same 10
	wait_for test -z "$(mail_files)"
}

@test "Ruby's net/pop gets every message, octet for octet, keeps and deletes" {
	need ruby
	ruby -r net/pop -e 1 2>/dev/null || skip "needs net/pop"
	odd_messages
	offer_quickly -a
	ruby - <<'R'
require 'net/pop'
port = ENV['PORT'].to_i
want = (1..10).map { |i| File.binread("#{ENV['WANT']}/#{i}") }

[Net::POP3, Net::APOP].each do |way|
  begin
    way.start('127.0.0.1', port, 'joe', 'wrong') { raise 'wrong' }
  rescue Net::POPAuthenticationError => e
    e.message =~ /\A-ERR \[AUTH\] / or raise
  end
end

uids = nil
Net::POP3.start('127.0.0.1', port, 'joe', 'secret') do |pop|
  pop.n_mails == 10 && pop.n_bytes == want.sum(&:size) or raise 'stat'
  uids = pop.mails.map(&:unique_id)
  pop.mails.each_with_index do |mail, i|
    mail.size == want[i].size or raise "size of #{i + 1}"
    File.binwrite("#{ENV['GOT']}/#{i + 1}", mail.pop)
  end
  pop.mails[3].top(1).b == want[3].lines.first(4).join or raise 'top'
  pop.mails[0].delete
  pop.reset
end
Net::APOP.start('127.0.0.1', port, 'joe', 'secret') do |pop|
  # What it has kept is nothing new to it.
  pop.mails.map(&:unique_id) == uids or raise 'uidl'
  pop.delete_all
end
Net::POP3.start('127.0.0.1', port, 'joe', 'secret') do |pop|
  pop.mails.empty? or raise 'deleted'
end
R
	all_same 10
	all_deleted
}

# It neither undoes the doubling of dots nor keeps the last line's end, nor
# sees the end of an answer that two reads bring (so no big message).
@test "node-pop3 of npm gets every message, keeps, deletes, is told a wrong password" {
	node_pop3
	rm "$MAIL/cur/1700000004.M4.host:2,"
	offer_quickly
	(cd "$HOME" && node --input-type=module -) <<'J'
import fs from 'fs';
import assert from 'assert';
import Pop3Command from 'node-pop3';

const as = password => new Pop3Command({
	user: 'joe', password, host: '127.0.0.1', port: Number(process.env.PORT),
	timeout: 30000});

let pop = as('wrong');
await assert.rejects(pop.STAT(), error =>
	error.eventName === 'error' && error.command === 'PASS ***' &&
	error.message.startsWith('[AUTH] '));
await pop.QUIT();

pop = as('secret');
const uids = await pop.UIDL();
const sizes = await pop.LIST();
assert.equal(await pop.STAT(),
	`4 ${sizes.reduce((sum, [, size]) => sum + Number(size), 0)}`);
for (const [number] of uids) {
	const [, stream] = await pop.command('RETR', number);
	const octets = [];
	for await (const part of stream)
		octets.push(part);
	const text = Buffer.concat(octets).toString('latin1') + '\r\n';
	fs.writeFileSync(`${process.env.GOT}/${number}`,
		text.replace(/^\.\./gm, '.'), 'latin1');
}
assert.equal(await pop.TOP(1, 0), 'From: a@example.org\r\nSubject: one\r\n');
await pop.DELE(1);
await pop.RSET();
await pop.QUIT();

pop = as('secret');
// What it has kept is nothing new to it.
assert.deepEqual(await pop.UIDL(), uids);
for (const [number] of uids)
	await pop.DELE(number);
await pop.QUIT();
J
	all_same 4
	all_deleted
}
