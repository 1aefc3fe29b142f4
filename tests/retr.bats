#!/usr/bin/env bats
# The octets of LIST, RETR and TOP, against an oracle that shares no code with
# pop3d, and messages that cannot be sent whole.

load helper

setup() {
	pop3d_setup
}

teardown() {
	pop3d_teardown
}

# message TEXT: the next message, its text as printf's %b has it.
message() {
	COUNT=$((${COUNT:-0} + 1))
	printf %b "$1" | deliver "new/$((1700000000 + COUNT)).M$COUNT.host"
}

# generate: messages made by the Python on standard input, which calls
# message(octets) for each.
generate() {
	{
		cat <<'P'
import itertools, os, sys
count = 0
def message(data):
    global count
    count += 1
    with open("%s/new/%d.M1.host" % (os.environ["MAIL"],
                                     1700000000 + count), "wb") as f:
        f.write(data)
P
		cat
	} | python3 -
	own
}

# check_all [LINES ...]: a session that does STAT, LIST, then RETR, and TOP
# with each of LINES, of each message, gives what the files ask for.
check_all() {
	local out=$BATS_TEST_TMPDIR/out

	MODE=script oracle "$@" >"$BATS_TEST_TMPDIR/script"
	raw_session -P <"$BATS_TEST_TMPDIR/script" >"$out"
	MODE=check oracle "$@" <"$out"
}

oracle() {
	python3 /dev/fd/9 "$@" 9<<'P'
import os, re, sys
mail, mode, tops = os.environ["MAIL"], os.environ["MODE"], sys.argv[1:]
paths = [os.path.join(mail, d, n) for d in ("new", "cur")
         for n in os.listdir(os.path.join(mail, d))]
paths.sort(key=lambda p: os.path.basename(p))

def wire(data):
    """RFC 1939 section 11, DESIGN section 5: lines end in CRLF."""
    data = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return data if data.endswith(b"\n") or not data else data + b"\r\n"

def stuff(data):
    return re.sub(rb"(?m)^\.", b"..", data) + b".\r\n"

def top(data, lines):
    pieces = data.split(b"\n")[:-1]
    for i, piece in enumerate(pieces):
        if piece == b"\r":
            pieces = pieces[:i + 1 + lines]
            break
    return b"".join(piece + b"\n" for piece in pieces)

messages = [wire(open(p, "rb").read()) for p in paths]
if mode == "script":
    script = ["STAT", "LIST"]
    for i in range(1, len(messages) + 1):
        script += ["RETR %d" % i] + ["TOP %d %s" % (i, n) for n in tops]
    sys.stdout.write("".join(s + "\r\n" for s in script + ["QUIT"]))
    sys.exit()

got, at = sys.stdin.buffer.read(), 0

def line(pattern):
    global at
    end = got.find(b"\r\n", at) + 2
    text, at = got[at:end], end
    if not re.fullmatch(pattern, text):
        sys.exit("%r does not match %r" % (text, pattern))

def octets(want, what):
    global at
    have, at = got[at:at + len(want)], at + len(want)
    if have != want:
        i = len(os.path.commonprefix([have, want]))
        sys.exit("%s: octet %d: %r instead of %r"
                 % (what, i, have[i - 9:i + 9], want[i - 9:i + 9]))

total = sum(map(len, messages))
line(rb"\+OK .*\r\n")
line(rb"\+OK %d %d\r\n" % (len(messages), total))
line(rb"\+OK .*\r\n")
octets(b"".join(b"%d %d\r\n" % (i + 1, len(m))
                for i, m in enumerate(messages)) + b".\r\n", "LIST")
for path, data in zip(paths, messages):
    line(rb"\+OK %d octets\r\n" % len(data))
    octets(stuff(data), "RETR " + path)
    for n in tops:
        line(rb"\+OK .*\r\n")
        octets(stuff(top(data, int(n))), "TOP %s %s" % (path, n))
line(rb"\+OK .*\r\n")
if at != len(got):
    sys.exit("more came: %r" % got[at:at + 80])
P
}

@test "RFC 1939 11: lines in LF, in CRLF and mixed" {
	message 'A: b\n\none\ntwo\n'
	message 'A: b\r\n\r\none\r\ntwo\r\n'
	message 'A: b\n\r\none\r\ntwo\n\r\n\n'
	check_all 0 1 2
}

@test "DESIGN 5: a last line without end, or ending in a bare CR, gets CRLF" {
	message 'A: b\n\nend'
	message 'A: b\r\n\r\nend\r'
	message 'A: b\n\n\r'
	message 'A: b\n\nend\r\r'
	message 'A: b'
	message '\r'
	check_all 0 1 2
}

@test "DESIGN 5: a CR in mid-line stays" {
	message 'A: b\rC: d\n\n\r\ra\rb\r\r\n\rc\n'
	check_all 0 1 2
}

@test "DESIGN 5: an empty file is +OK and the final dot" {
	message ''
	printf 'LIST 1\nRETR 1\nTOP 1 0\nTOP 1 5\nQUIT\n' | session |
	    expect '+OK 1 messages
+OK 1 0
+OK 0 octets
.
+OK 0 octets
.
+OK 0 octets
.
+OK good bye'
	[ "$(mail_files)" = cur/1700000001.M1.host:2,S ]
}

@test "RFC 1939 3: dots at line starts are doubled, others are not" {
	message '.'
	message '.\n'
	message '.\r\n'
	message '..\n.\n...\n'
	message 'A: b\n\n.\n\n.a.\na.\n.\r.\n..'
	message '.A: b\n\n'
	check_all 0 1 2
}

@test "DESIGN 5: lines of 100 kB, NULs and 8-bit octets" {
	generate <<'P'
message(b"A: b\n\n" + b"x" * 100000 + b"\n" + b"." * 100000 + b"\nend\n")
message(b"x" * 200000)
message(b"\0\n\0\n\n\0.\0\n.\0\n")
message(b"A: b\n\n" + bytes(range(256)) * 300)
message(b"\n" * 70000)
message(b".\n" * 70000)
message(b"\r" * 70000)
P
	check_all 0 1 2 99999999
}

@test "RFC 1939 11: all files of up to 5 octets of CR, LF, dot and letter" {
	generate <<'P'
for n in range(6):
    for octets in itertools.product(b"\r\n.a", repeat=n):
        message(bytes(octets))
P
	check_all 0 1 2
}

# around BLOCK: messages in which every mix of three dots, CRs and LFs lies
# across a multiple of BLOCK octets, -3 to +3.
around() {
	BLOCK=$1 generate <<'P'
block = int(os.environ["BLOCK"])
mixes = [bytes(m) for m in itertools.product(b"\r\n.a", repeat=3)]
for k in (1, 2):
    for shift in range(-3, 2):
        # One message holds all mixes, each at a boundary of its own.
        data = bytearray(b"A: b\n\n")
        for i, mix in enumerate(mixes if k == 1 else mixes[::7]):
            at = (i + 1) * k * block + shift
            data += b"x" * (at - len(data)) + mix + b"y\n."
        message(bytes(data))
P
}

@test "RFC 1939 11: dots and line ends across every boundary of the reads" {
	around 65536
	check_all 0 2
}

@test "RFC 1939 11: the same, with line ends that move the writes' boundary" {
	generate <<'P'
# Output grows by one octet a line: pad so that the mixes fall on a multiple
# of 65536 octets of output, whatever came before in its buffer.
for pad in list(range(65536 - 40, 65536 + 8)):
    message(b"x" * pad + b"\n.\n..\r\n\r\r\n\n." + b"y" * 10)
P
	check_all
}

@test "RFC 1939 11: files of k * 65536 octets, -3 to +3, in several ends" {
	generate <<'P'
for k in (1, 2, 3):
    for more in range(-3, 4):
        for end in (b"", b"\n", b"\r\n", b"\r", b".", b"\n.", b"\r\n."):
            size = k * 65536 + more - len(end)
            message((b"0123456789\n" * (size // 11 + 1))[:size] + end)
P
	check_all 3
}

@test "RFC 1939 7: TOP of 0, 1, 2, all, more, and 99999999 lines" {
	message 'A: b\n\n1\n2\n3\n'
	message 'A: b\r\n\r\n1\r\n2\r\n3\r\n'
	message 'A: b\n\n1\n2\n3'
	message 'A: b\n\n\n\n\n'
	message '\n1\n2\n3\n'
	message 'A: b\n\n'
	message 'A: b\n'
	check_all 0 1 2 3 4 99999999 18446744073709551615
}

@test "DESIGN 5: TOP of a message without an empty line gives all of it" {
	message 'A: b\nC: d\n'
	message 'A: b\n \n\t\nC: d\n.\nend'
	message 'A: b\n\r\r\nC: d\n'
	generate <<'P'
count = 9
message(b"A: b\n" * 40000)
P
	check_all 0 1
}

@test "RFC 1939 7: TOP finds the empty line across a boundary of the reads" {
	generate <<'P'
for end in (b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\n\r\r\n\n"):
    for size in range(65536 - len(end) - 1, 65536 + 2):
        message(b"A" * size + end + b"1\n.2\n3\n")
P
	check_all 0 1 2
}

@test "RFC 1939 7: TOP ends at a boundary of the reads" {
	generate <<'P'
for size in range(65536 - 8, 65536 + 3):
    message(b"A: b\n\n" + b"x" * (size - 6) + b"\n2\n3\n")
P
	check_all 0 1 2
}

@test "DESIGN 5: TOP, even of all lines, is no retrieval" {
	message 'A: b\n\n1\n2\n'
	printf 'TOP 1 0\nTOP 1 99999999\nLAST\nQUIT\n' | session >"$BATS_TEST_TMPDIR/out"
	tail -n 2 "$BATS_TEST_TMPDIR/out" | expect '+OK 0
+OK good bye'
	[ "$(mail_files)" = new/1700000001.M1.host ]
	logged 'event=end .* retrieved=0 '
}

@test "DESIGN 7: the octets that end's line counts are those that RETR sent" {
	message 'A: b\n\n1\n2\n'
	message 'A: b\n\n1'
	printf 'RETR 1\nRETR 2\nQUIT\n' | session >/dev/null
	logged 'event=end .* retrieved=2 octets=25 '
}

@test "DESIGN 7: what TOP did not send is not among the octets of end's line" {
	{
		printf 'A: b\n\n'
		yes 'a line' | head -c 60000
	} | deliver new/1700000001.M1.host
	printf 'TOP 1 0\nQUIT\n' | session >/dev/null
	logged 'event=end .* retrieved=0 octets=(0|8) '
}

# A message of 50 MB of which a client that reads slowly has taken one line.
begin_big() {
	yes 'a line of the big message' | head -c 50000000 |
	    deliver new/1700000001.M1.host
	open_session
	ask 'RETR 1'
	[[ $REPLY == +OK* ]]
}

# What the client has in the end of the torn message is not ended.
torn() {
	timeout 30 cat <&"$FROM" >"$BATS_TEST_TMPDIR/out"
	[ -s "$BATS_TEST_TMPDIR/out" ]
	not grep -qx $'\.\r' "$BATS_TEST_TMPDIR/out"
	end_session
	logged 'event=error .*path=1700000001.M1.host'
	logged 'event=end .* retrieved=0 .* reason=error'
	[ "$(mail_files)" = new/1700000001.M1.host ]
}

@test "DESIGN 6: a message cut short while it is sent never gets the dot" {
	begin_big
	truncate -s 25000000 "$MAIL/new/1700000001.M1.host"
	torn
}

@test "DESIGN 6: one cut short to nothing while it is sent, neither" {
	begin_big
	truncate -s 0 "$MAIL/new/1700000001.M1.host"
	torn
}

@test "DESIGN 6: a DELE and QUIT behind a torn message removes nothing" {
	begin_big
	printf 'DELE 1\r\nQUIT\r\n' >&"$TO"
	truncate -s 25000000 "$MAIL/new/1700000001.M1.host"
	torn
}

@test "DESIGN 6: a message deleted while it is sent comes whole" {
	begin_big
	rm "$MAIL/new/1700000001.M1.host"
	timeout 60 sed '/^\.\r$/q' <&"$FROM" >"$BATS_TEST_TMPDIR/out"
	[ "$(tail -n 1 "$BATS_TEST_TMPDIR/out")" = $'.\r' ]
	# The file's last line has no end.
	{
		yes 'a line of the big message' | head -c 50000000
		echo
	} | sed 's/$/\r/' | cmp - <(head -n -1 "$BATS_TEST_TMPDIR/out")
}

@test "DESIGN 6: a client that goes away in mid-message has retrieved nothing" {
	begin_big
	end_session
	logged 'event=end .* retrieved=0 .* reason=disconnect'
	[ "$(mail_files)" = new/1700000001.M1.host ]
}

@test "DESIGN 2: a client that stops reading is let go after the time-out" {
	yes 'a line of the big message' | head -c 5000000 |
	    deliver new/1700000001.M1.host
	open_session -T 1
	ask 'RETR 1'
	wait "$PARENT" || :
	logged 'event=end .* retrieved=0 .* reason=timeout'
	[ "$(mail_files)" = new/1700000001.M1.host ]
}

@test "DESIGN 6: a message that cannot be read is listed, its RETR SYS/PERM" {
	message 'A: b\n\n1\n'
	message 'A: b\n\n2\n'
	chmod 000 "$MAIL/new/1700000001.M1.host"
	printf '%s\n' UIDL 'RETR 1' 'TOP 1 0' 'RETR 2' LAST QUIT | session |
	    brief | expect '+OK 2 messages
+OK unique-ids follow
1 1700000001.M1.host
2 1700000002.M2.host
.
-ERR [SYS/PERM]
-ERR [SYS/PERM]
+OK 11 octets
A: b

2
.
+OK 2
+OK good bye'
	logged 'event=error .*path=1700000001.M1.host'
	[ "$(mail_files)" = "cur/1700000002.M2.host:2,S
new/1700000001.M1.host" ]
}

@test "DESIGN 6: one that cannot be read is in LIST and STAT, too" {
	message 'A: b\n\n1\n'
	chmod 000 "$MAIL/new/1700000001.M1.host"
	printf '%s\n' LIST STAT | session | cut -d ' ' -f 1,2 |
	    expect '+OK 1
+OK 1
1 8
.
+OK 1'
}

@test "DESIGN 6: an empty message that cannot be read is not retrieved" {
	message ''
	chmod 000 "$MAIL/new/1700000001.M1.host"
	printf '%s\n' LIST 'RETR 1' LAST QUIT | session | brief |
	    expect '+OK 1 messages
+OK 1 messages (0 octets)
1 0
.
-ERR [SYS/PERM]
+OK 0
+OK good bye'
	[ "$(mail_files)" = new/1700000001.M1.host ]
	logged 'event=end .* retrieved=0 '
}

@test "DESIGN 6: a message that is gone when it is listed is not retrieved" {
	message 'A: b\n\n1\n'
	open_session
	rm "$MAIL/new/1700000001.M1.host"
	ask 'LIST'
	rest >/dev/null
	ask 'RETR 1'
	[[ $REPLY == -ERR* ]]
	ask LAST
	[ "$REPLY" = '+OK 0' ]
	ask QUIT
	[[ $REPLY == +OK* ]]
	end_session
	logged 'event=end .* retrieved=0 '
	not grep 'cannot mark' "$LOG"
}

@test "DESIGN 5: a message edited between LIST and RETR is counted anew" {
	message 'A: b\n\n1\n'
	open_session
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 11' ]
	message 'A: b\n\nlonger\n'
	mv "$MAIL/new/1700000002.M2.host" "$MAIL/new/1700000001.M1.host"
	ask 'RETR 1'
	[ "$REPLY" = '+OK 16 octets' ]
	rest | expect 'A: b

longer'
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 16' ]
	end_session
	logged 'event=error .*path=1700000001.M1.host'
}

@test "DESIGN 5: one edited to the same size is sent and noticed, too" {
	message 'A: b\n\n12\n'
	open_session
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 12' ]
	printf 'A: b\n\n1\n\n' >"$MAIL/new/1700000001.M1.host"
	ask 'RETR 1'
	[[ $REPLY == +OK* ]]
	rest | expect 'A: b

1
'
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 13' ]
	end_session
	logged 'event=error .*path=1700000001.M1.host'
}

@test "DESIGN 5: a big one edited is announced without a wrong size" {
	yes 'a line' | head -c 210000 | deliver new/1700000001.M1.host
	open_session
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 240000' ]
	yes 'a line' | head -c 280000 >"$MAIL/new/1700000001.M1.host"
	ask 'RETR 1'
	[[ $REPLY == +OK* && $REPLY != *240000* ]]
	[ "$(sed '/^\.\r$/q' <&"$FROM" | grep -cx $'a line\r')" = 40000 ]
	ask 'LIST 1'
	[ "$REPLY" = '+OK 1 320000' ]
	end_session
}
