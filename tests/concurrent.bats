#!/usr/bin/env bats
# A Maildir in which other programs rename and deliver at full speed.

load helper

setup() {
	pop3d_setup
	# 400 messages, each of 12 octets, half of them new.
	python3 - <<'P'
import os
for i in range(400):
    path = "new/%d.M.host" if i % 2 else "cur/%d.M.host:2,"
    with open(os.environ["MAIL"] + "/" + path % (1000 + i), "w") as f:
        f.write("A: b\n\nxx\n")
P
	own
	seq -f %g.M.host 1000 1399 >"$BATS_TEST_TMPDIR/all"
}

teardown() {
	pop3d_teardown
}

# busy HOW: until the test ends, mail readers flag messages and move them from
# new to cur (readers; hot: always the same four), and an MTA delivers (mta).
# Messages that somebody else removed stay so.
busy() {
	python3 - "$1" 3>&- <<'P' &
import os, random, sys
os.chdir(os.environ["MAIL"])
how, count = sys.argv[1], 0
where = {}
for folder in ("new", "cur"):
    for name in os.listdir(folder):
        where[name.split(":")[0]] = folder + "/" + name
bases = sorted(where)[:4] if "hot" in how else list(where)
while True:
    count += 1
    if "readers" in how:
        base = random.choice(bases)
        to = "cur/%s:2,%s" % (base, random.choice(
            ("", "F", "R", "S", "RS", "FS", "FRS", "T")))
        try:
            os.rename(where[base], to)
            where[base] = to
        except FileNotFoundError:
            pass
    if "mta" in how and count % 20 == 0 and count < 100000:
        name = "%d.X.host" % (5000 + count)
        with open("tmp/" + name, "w") as f:
            f.write("A: b\n\nnew\n")
        os.rename("tmp/" + name, "new/" + name)
    if count == 100:
        open(os.environ["BATS_TEST_TMPDIR"] + "/busy", "w").close()
P
	SERVERS+=($!)
	wait_for test -e "$BATS_TEST_TMPDIR/busy"
}

idle() {
	kill "${SERVERS[0]}"
	wait "${SERVERS[0]}" || :
}

# shown: the listing on input has each of the 400 messages, once.
shown() {
	sed -n 's/^[0-9]* \([0-9]*\.M\.host\)$/\1/p' | sort \
	    >"$BATS_TEST_TMPDIR/have"
	same "$BATS_TEST_TMPDIR/all" "$BATS_TEST_TMPDIR/have"
}

@test "DESIGN 6: a busy Maildir never hides a message: 30 listings" {
	local i

	busy readers,mta
	for i in {1..30}; do
		printf 'UIDL\nQUIT\n' | session | shown || {
			echo "listing $i" >&2
			return 1
		}
	done
}

@test "DESIGN 6: while mail is only delivered, no listing hides a message" {
	busy mta
	for _ in {1..10}; do
		printf 'UIDL\nQUIT\n' | session | shown
	done
}

@test "DESIGN 6: messages that are renamed all the time are listed exactly" {
	busy readers
	for _ in {1..25}; do
		printf 'STAT\nLIST\nQUIT\n' | session >"$BATS_TEST_TMPDIR/out"
		[ "$(grep -cE '^[0-9]+ 12$' "$BATS_TEST_TMPDIR/out")" = 400 ]
		[ "$(sed -n 2p "$BATS_TEST_TMPDIR/out")" = '+OK 400 4800' ]
	done
}

@test "DESIGN 6: RETR finds messages that are renamed all the time" {
	busy readers
	printf 'RETR %d\n' {1..400} >"$BATS_TEST_TMPDIR/script"
	for _ in {1..6}; do
		session <"$BATS_TEST_TMPDIR/script" >"$BATS_TEST_TMPDIR/out"
		not grep -- -ERR "$BATS_TEST_TMPDIR/out"
		[ "$(grep -cx xx "$BATS_TEST_TMPDIR/out")" = 400 ]
	done
}

# deleted LEFT: no more than so many are left, or QUIT's answer is -ERR.
deleted() {
	local left

	left=$(mail_files | wc -l)
	[ "$left" -le "$1" ] || grep -e '^-ERR' "$BATS_TEST_TMPDIR/out" || {
		echo "$left left" >&2
		return 1
	}
}

@test "RFC 1939 6: QUIT is +OK only if all that was deleted is gone" {
	busy readers
	{
		printf 'DELE %d\n' {1..400}
		echo QUIT
	} | session | tail -n 1 >"$BATS_TEST_TMPDIR/out"
	idle
	deleted 0
}

@test "RFC 1939 6: the same, on a disk that takes 20 ms for a deletion" {
	as_user strace -o /dev/null -e inject=unlinkat:delay_enter=1 true \
	    2>/dev/null || skip "needs strace and the right to trace"
	busy readers,hot
	printf '%s\r\n' DELE\ {1..4} QUIT | as_user strace -o /dev/null \
	    -e inject=unlinkat:delay_enter=20000 "$POP3D_BIN/pop3d" -t \
	    2>>"$LOG" | tail -n 1 >"$BATS_TEST_TMPDIR/out"
	idle
	deleted 396
}

@test "DESIGN 6: no message is lost while others rename what QUIT marks" {
	busy readers
	{
		printf 'RETR %d\n' {1..400}
		echo QUIT
	} >"$BATS_TEST_TMPDIR/script"
	for _ in {1..3}; do
		session <"$BATS_TEST_TMPDIR/script" | tail -n 1 |
		    grep '^+OK good bye'
	done
	idle
	[ "$(mail_files | sed 's/^...\/\(.*\):.*/\1/;s/^new.//' | sort -u |
	    wc -l)" = 400 ]
}
