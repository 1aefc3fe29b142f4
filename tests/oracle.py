#!/usr/bin/env python3
"""What a session must show, worked out from the files alone; and sessions
over all kinds of index files, and over Maildirs that change all the time.

oracle.py rounds MAILDIR [ROUNDS]  random changes between and during random
        sessions; ORACLE_SEED repeats what a failure printed
oracle.py damage MAILDIR HOW       every damage of one kind to pop3d.index
oracle.py forged MAILDIR [NAME ..] indices that lie, with right checksums
oracle.py check MAILDIR ...        one session each, whose answers must be right
oracle.py settle MAILDIR ...       waits until an index may be believed
oracle.py lying MAILDIR [future]   an index that says 123456 octets
oracle.py ticks MAILDIR            changes in the same tick as index writes
oracle.py sparse MAILDIR           a huge index that is a hole
oracle.py torn MAILDIR             a header that is newer than the records
oracle.py short MAILDIR            an index too large for the memory there is

Runs as the mailbox's owner; $POP3D_BIN/pop3d is under test.  A first line of
output says what was done; exit code 1 and a text if something is wrong.
"""
import os
import random
import re
import resource
import struct
import subprocess
import sys
import time

POP3D = os.environ["POP3D_BIN"] + "/pop3d"
INDEX = b"/pop3d.index"
# The sanitizers are slow: they get a part of the cases, another each time.
STEP = 8 if "ASAN_OPTIONS" in os.environ else 1
SETTLE = 2.02


class Wrong(Exception):
    """pop3d did what it must not."""


# What the files say, by the RFC and the design, without pop3d's own code.

def wire(data):
    """A message as RETR sends it, dots apart."""
    data = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return data if data.endswith(b"\n") or not data else data + b"\r\n"


def stuffed(data):
    return re.sub(rb"(?m)^\.", b"..", data)


def top(data, lines):
    data = wire(data)
    head, empty, body = data.partition(b"\r\n\r\n")
    if data.startswith(b"\r\n"):
        head, empty, body = b"", b"\r\n", data[2:]
    return head + empty + b"".join(re.findall(rb"[^\n]*\n", body)[:lines])


def order(base):
    digits = re.match(rb"[0-9]*", base).group()
    return (int(digits or b"0"), base)


class Mail:
    def __init__(self, base, path, data):
        self.base, self.path = base, path
        self.wire = wire(data)
        self.data = data
        self.deleted = self.retrieved = self.had_seen = False

    def is_seen(self):
        return b"S" in self.path.partition(b":2,")[2]


def shown(maildir):
    """The messages of a Maildir, in order; in cur counts more than in new."""
    found = {}
    for folder in (b"new", b"cur"):
        for entry in os.scandir(maildir + b"/" + folder):
            if entry.name.startswith(b".") or \
                    not entry.is_file(follow_symlinks=False):
                continue
            base = entry.name.split(b":")[0]
            with open(entry.path, "rb") as f:
                found[base] = Mail(base, folder + b"/" + entry.name, f.read())
    return [found[base] for base in sorted(found, key=order)]


def answer(maildir, sizes=True):
    """What `ask` must get back."""
    mail = shown(maildir)
    last = max([n for n, m in enumerate(mail, 1) if m.is_seen()] or [0])
    lines = [b"+OK %d messages" % len(mail)]
    if sizes:
        lines.append(b"+OK %d %d" % (len(mail), sum(len(m.wire) for m in mail)))
        lines.append(b"+OK %d messages (%d octets)" % (
            len(mail), sum(len(m.wire) for m in mail)))
        lines += [b"%d %d" % (n, len(m.wire)) for n, m in enumerate(mail, 1)]
        lines.append(b".")
    lines.append(b"+OK unique-ids follow")
    lines += [b"%d %s" % (n, m.base) for n, m in enumerate(mail, 1)]
    lines += [b".", b"+OK %d" % last]
    if sizes:
        for m in (mail[0], mail[-1]) if mail else ():
            lines.append(b"+OK %d octets" % len(m.wire))
            lines += stuffed(m.wire).split(b"\r\n")[:-1] + [b"."]
    lines.append(b"+OK good bye")
    return b"\r\n".join(lines) + b"\r\n"


def run(maildir, script):
    """A session, at once; what came back.  It must end well."""
    child = subprocess.run(
        [POP3D, "-t", "-P", maildir], input=script, close_fds=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    if child.returncode or b"Sanitizer" in child.stderr or \
            b"runtime error" in child.stderr:
        raise Wrong("exit code %d\n%s\n%r" % (
            child.returncode, child.stderr.decode(errors="replace"),
            child.stdout[:2000]))
    return child.stdout


def ask(maildir, sizes=True):
    count = len(shown(maildir))
    script = b"STAT\r\nLIST\r\n" if sizes else b""
    script += b"UIDL\r\nLAST\r\n"
    if sizes and count > 0:
        script += b"RETR 1\r\nRETR %d\r\n" % count
    return run(maildir, script + b"QUIT\r\n")


def check(maildir, what, sizes=True):
    got, right = ask(maildir, sizes), answer(maildir, sizes)
    if got != right:
        raise Wrong("%s: must be\n%s\nis\n%s" % (
            what, right.decode("latin1"), got.decode("latin1")))


def stat_index(maildir):
    st = os.stat(maildir + INDEX)
    return st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def settle(*maildirs):
    """Until the last change is two seconds old, and an index may be
    believed."""
    last = max(os.stat(m + d).st_ctime for m in maildirs
               for d in (b"/new", b"/cur"))
    while time.time() < last + SETTLE:
        time.sleep(max(0.01, last + SETTLE - time.time()))


def put(maildir, path, data):
    with open(maildir + b"/tmp/x", "wb") as f:
        f.write(data)
    os.rename(maildir + b"/tmp/x", maildir + b"/" + path)


# pop3d.index itself.

MAGIC = int.from_bytes(b"pop3dix2", "little")
HEADER = struct.Struct("=16QIIQ")
FIELDS = ("magic count octets unsized end room records_sum new_device "
          "new_inode new_modified new_changed cur_device cur_inode "
          "cur_modified cur_changed listed has_twins is_stale sum").split()
RECORD = struct.Struct("=QQHBB")
MOST = 2**64 - 1


def checksum(data, value):
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at:at + 8].ljust(8, b"\0"), sys.byteorder)
        value = (value ^ word) * 0x9e3779b97f4a7c15 & MOST
        value ^= value >> 32
    return value


def make_record(name, octets, in_cur, **lies):
    name += bytes(8 - (RECORD.size + len(name)) % 8)
    name = lies.get("text", name)
    return RECORD.pack(octets, octets, lies.get(
        "length", min(RECORD.size + len(name), 65528)), lies.get(
            "is_there", 1), in_cur) + name


def make_records(entries, **lies):
    """Of (name, octets, in_cur)."""
    return b"".join(make_record(*e, **lies) for e in entries)


def read_records(data):
    at = HEADER.size
    while at < len(data):
        record = RECORD.unpack(data[at:at + RECORD.size])
        yield record + (data[at + RECORD.size:at + record[2]].rstrip(b"\0"),)
        at += record[2]


def make_index(maildir, records, lies):
    """Of those records, over the stamps that the Maildir has."""
    fields = {"magic": MAGIC, "unsized": 0, "room": 100,
              "end": HEADER.size + len(records), "has_twins": 0,
              "is_stale": 0, "listed": time.time_ns() - 10**7}
    for folder in ("new", "cur"):
        st = os.stat(maildir + b"/" + folder.encode())
        fields.update({folder + "_device": st.st_dev,
                       folder + "_inode": st.st_ino,
                       folder + "_modified": st.st_mtime_ns,
                       folder + "_changed": st.st_ctime_ns})
    fields.update(lies)
    fields["records_sum"] = checksum(
        records[:max(0, fields["end"] - HEADER.size)], 1)
    header = HEADER.pack(*[fields.get(f, 0) for f in FIELDS])
    header = header[:-8] + struct.pack("=Q", checksum(header[:-8], 1))
    return header + records


def write_index(maildir, data):
    with open(maildir + INDEX + b".test", "wb") as f:
        f.write(data)
    os.rename(maildir + INDEX + b".test", maildir + INDEX)


def make_maildir(maildir, count):
    for folder in (b"new", b"cur", b"tmp"):
        os.makedirs(maildir + b"/" + folder, exist_ok=True)
    for i in range(count):
        path = b"cur/%d.b:2,S" % i if i % 2 else b"new/%d.a" % i
        put(maildir, path, b"A: %d\n\n.x\r\n" % i + b"y\n" * i)


def damage(how, maildir):
    """The index of a small Maildir, changed by two records, of which one
    removes."""
    make_maildir(maildir, 18)
    check(maildir, "without an index")
    os.unlink(maildir + b"/new/4.a")
    put(maildir, b"new/30.z", b"Z: z\n\nz\n")
    check(maildir, "after a change")
    settle(maildir)
    check(maildir, "once settled")
    good = open(maildir + INDEX, "rb").read()
    changes = [record[3:] for record in read_records(good)][18:]
    if changes != [(0, 0, b"4.a"), (1, 0, b"30.z")] and \
            changes != [(1, 0, b"30.z"), (0, 0, b"4.a")]:
        raise Wrong("the changes of the index are %r" % changes)
    before = stat_index(maildir)
    check(maildir, "unchanged")
    if stat_index(maildir) != before:
        raise Wrong("the index was not believed")
    # That it is the index which answers; and that we know its checksum.
    lying(maildir, False)
    if b"+OK 18 123456\r\n" not in run(maildir, b"STAT\r\n"):
        raise Wrong("the index was not asked")

    if how == "bits":
        cases = [(i, good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1:])
                 for i in range(len(good))]
    elif how == "zeros":
        cases = [(i, good[:i] + b"\0" + good[i + 1:])
                 for i in range(len(good)) if good[i]]
    elif how == "ones":
        cases = [(i, good[:i] + b"\xff" + good[i + 1:])
                 for i in range(len(good)) if good[i] != 255]
    elif how == "lengths":
        cases = [(i, good[:i]) for i in range(len(good))]
    else:
        rest = random.Random(1)
        cases = [
            ("longer by one", good + b"x"),
            ("longer by 4096 zeros", good + bytes(4096)),
            ("longer by itself", good + good),
            ("octets lost", good[:300] + good[308:]),
            ("octets put in", good[:300] + bytes(8) + good[300:]),
            ("swapped", good[:400] + good[408:416] + good[400:408] + good[416:]),
            ("the header twice", good[:HEADER.size] + good),
            ("no header", good[HEADER.size:]),
            ("records swapped, header right", good[:HEADER.size] +
             good[-56:] + good[HEADER.size:-56]),
            ("text", b"pop3dix2\n" * 100),
            ("all zeros", bytes(len(good))),
            ("other byte order", b"".join(
                good[i:i + 8][::-1] for i in range(0, len(good), 8))),
            ("another version", b"pop3dix1" + good[8:]),
        ] + [("noise %d" % i, rest.randbytes(rest.randrange(3000)))
             for i in range(50)] \
          + [("noise %d behind the header" % i,
              good[:HEADER.size] + rest.randbytes(len(good) - HEADER.size))
             for i in range(50)]
    right = answer(maildir)
    first = random.randrange(STEP)
    for what, data in cases[first::STEP]:
        write_index(maildir, data)
        got = ask(maildir)
        if got != right:
            raise Wrong("%s %s: must be\n%s\nis\n%s" % (
                how, what, right.decode("latin1"), got.decode("latin1")))
        # And it has been mended, by the same session.
        before = stat_index(maildir)
        if not right.startswith(run(maildir, b"STAT\r\n")) or \
                stat_index(maildir) != before:
            raise Wrong("%s %s: was not mended" % (how, what))
    print("%d damaged indices" % len(cases[first::STEP]))


def lying(maildir, in_future):
    """All right, and believed, but for the octets; or from the future."""
    settle(maildir)
    check(maildir, "to begin with")
    with open(maildir + INDEX, "rb") as f:
        good = f.read()
    fields = dict(zip(FIELDS, HEADER.unpack(good[:HEADER.size])))
    fields["octets"] = 123456
    if in_future:
        fields["listed"] += 3600 * 10**9
    header = HEADER.pack(*[fields[f] for f in FIELDS])[:-8]
    write_index(maildir, header + struct.pack("=Q", checksum(header, 1)) +
                good[HEADER.size:])


def lies(count):
    """Name; whether answers have to be right at once ("right"), in the next
    session ("next"), or once the Maildir has changed ("later"); records, and
    lies of the header; the right entries are those of make_maildir."""
    good = [(b"%d.b:2,S" % i if i % 2 else b"%d.a" % i,
             len(wire(b"A: %d\n\n.x\r\n" % i + b"y\n" * i)), i % 2)
            for i in range(count)]
    all_good = make_records(good)

    def name(text):
        return make_records(good[:2] + [(text, 5, 0)] + good[3:]), {}

    def size(value):
        return make_records([(n, value, c) for n, _, c in good]), {}

    def gone(entries):
        return make_records(entries, is_there=0)

    yield "nothing wrong", "right", all_good, {}
    yield "one appended", "right", make_records(
        good[:3] + good[4:] + good[3:4]), {}
    yield "removed and added again", "right", \
        all_good + gone(good[2:4]) + make_records(good[2:4]), {}
    yield "removed all", "right", all_good + gone(good) + all_good, {}
    yield "removed what is not there", "right", \
        all_good + gone([(b"2.c", 5, 0), (b"9.z", 5, 1)]), {}
    yield "added, renamed and removed", "right", all_good + make_records(
        [(b"9.z", 5, 0), (b"9.z:2,S", 6, 1)]) + gone([(b"9.z:2,", 7, 0)]), {}
    for text in (b"../../secret", b"../secret", b"../new/0.a", b"/etc/passwd",
                 b"0.a/../../../secret", b"..", b".", b"", b".hidden",
                 b"x" * 255, b"x" * 300, b"1" * 300, b"9" * 70000, b"/", b"new",
                 b"5.x\r\n.\r\n+OK\r\n", b"%n%s%s", b":2,S", b"2.c:2,\xff",
                 b"link", b"2.link", b"fifo", b"2.fifo"):
        yield ("name %r" % text[:30], "later") + name(text)
    for value in (0, MOST, MOST - 1, 2**63, 2**63 - 1, 2**32):
        yield ("sizes %d" % value, "sizes") + size(value)
    yield "the sum too large", "sizes", all_good, {"octets": MOST}
    yield "all sizes unknown", "right", size(MOST)[0], {"unsized": count}
    for number in (0, 1, count - 1, count + 1):
        yield "count %d" % number, "next", all_good, {"count": number}
        # STAT, too, has to look.
        yield "count %d, sizes unknown" % number, "next", all_good, {
            "count": number, "unsized": 1}
    for number in (1000, 2**32 - 1, 2**32, 2**63, MOST):
        yield "count %d" % number, "right", all_good, {"count": number}
    for number in (0, 1, 2**32, MOST):
        yield "room %d" % number, "right", all_good, {"room": number}
    yield "no records", "right", b"", {}
    yield "fewer than there are", "right", all_good + gone(good[2:3]), {
        "end": HEADER.size + len(all_good)}
    yield "very many records", "right", \
        (gone(good[:2]) + all_good) * 10000, {}
    end = HEADER.size + len(all_good)
    for number in (0, 8, HEADER.size - 1, HEADER.size, end - 1, end - 8, end + 1,
                   end + 8, 2**32 + end, 2**63, MOST):
        yield "end %d" % number, "right", all_good, {"end": number}
    yield "unsorted", "right", make_records(good[::-1]), {}
    yield "one twice", "right", make_records(
        good[:2] + good[1:2] + good[3:]), {}
    yield "all the same", "right", make_records(good[:1] * count), {}
    yield "four, and two of them again", "right", make_records(
        good[:4] + good[2:4]), {}
    for at in (0, 3, count - 1):
        right = len(make_record(*good[at]))
        for length in (0, 8, 16, 17, 20, right - 8, right - 1, right + 1,
                       right + 8, 288, 296, 32768, 65528, 65535):
            yield "record %d of %d octets" % (at, length), "right", \
                make_records(good[:at]) + make_record(
                    *good[at], length=length) + make_records(
                        good[at + 1:]), {}
        yield "name %d with no NUL" % at, "right", \
            make_records(good[:at]) + make_record(
                *good[at], text=b"9" * 12) + make_records(good[at + 1:]), {}
    yield "a part of a record at the end", "right", \
        all_good + make_record(*good[0])[:16], {}
    yield "a record that ends behind the file", "right", \
        all_good + make_record(b"9" * 100, 5, 0)[:64], {}
    yield "not there", "later", make_records([
        (b"%d.gone" % i, 5, 0) for i in range(1000, 1000 + count)]), {}
    yield "each in the other directory", "later", make_records(
        [(n, o, 1 - c) for n, o, c in good]), {}
    yield "in_cur 255", "right", make_records(
        [(n, o, c * 255) for n, o, c in good]), {}
    yield "is_there 255", "right", make_records(good, is_there=255), {}
    yield "none is there", "right", make_records(good, is_there=0), {}
    yield "twins 2^32 - 1", "right", all_good, {"has_twins": 2**32 - 1}
    # Times that are not to be believed, over a lie about a size.
    lying = make_records([(n, o + c, c) for n, o, c in good])
    for what, fields in (
            ("listed in the future", {"listed": time.time_ns() + 10**12}),
            ("listed never", {"listed": 0}),
            ("listed at 2^64 - 1", {"listed": MOST}),
            ("another device", {"new_device": 1}),
            ("another inode", {"new_inode": 1}),
            ("modified at 0", {"new_modified": 0}),
            ("changed at 0", {"new_changed": 0}),
            ("stale", {"is_stale": 2**32 - 1}),
            ("changed at 2^64 - 1", {"new_changed": MOST})):
        # Listed again, though sizes are still known by the name.
        yield what, "uids", make_records(
            good[:2] + [(b"3.c", 1, 0)] + good[3:]), fields
    yield "sizes, not listed", "sizes", lying, {}


def forged(top_dir, only):
    """Each in a Maildir of its own: all of them settle at once."""
    count = 6
    secret = b"SECRET: it is\n\nSECRET\n"
    cases = [c for c in lies(count) if not only or c[0] in only]
    dirs = []
    for i, _ in enumerate(cases):
        home = top_dir + b"/%d" % i
        maildir = home + b"/Maildir"
        make_maildir(maildir, count)
        for place in (home + b"/secret", maildir + b"/secret",
                      top_dir + b"/secret"):
            with open(place, "wb") as f:
                f.write(secret)
        for folder in (b"/new/", b"/cur/"):
            os.mkfifo(maildir + folder + b"2.fifo")
            os.symlink(b"../secret", maildir + folder + b"2.link")
        dirs.append(maildir)
    settle(*dirs)
    for maildir, (what, when, records, fields) in zip(dirs, cases):
        right = answer(maildir)
        octets = sum(len(m.wire) for m in shown(maildir))
        data = make_index(maildir, records,
                          {"count": count, "octets": octets, **fields})
        try:
            write_index(maildir, data)
            got = ask(maildir)
            if when == "right" and got != right:
                raise Wrong("must be\n%s\nis\n%s" % (
                    right.decode("latin1"), got.decode("latin1")))
            # The client knows a wrong count, and is not served with it.
            if when == "next" and not re.search(
                    rb"(?<!\.)\r\n-ERR \[SYS/TEMP\] [^\r]*\r\n\Z", got):
                raise Wrong("is\n%s" % got.decode("latin1"))
            if when in ("next", "uids", "right"):
                check(maildir, "the next session", when != "uids")
            # All that can be read, and deleted.
            write_index(maildir, data)
            got += run(maildir, b"".join(
                b"LIST %d\r\nUIDL %d\r\nTOP %d 9\r\nRETR %d\r\n" % (
                    n, n, n, n) for n in range(1, count + 2)) + b"STAT\r\n")
            if b"SECRET" in got:
                raise Wrong("a file outside the Maildir was sent")
            write_index(maildir, data)
            run(maildir, b"RETR 1\r\nDELE 3\r\nUIDL\r\nDELE 2\r\nQUIT\r\n")
            for path in (b"/../secret", b"/secret", b"/../../secret"):
                with open(maildir + path, "rb") as f:
                    if f.read() != secret:
                        raise Wrong("a file outside was changed")
            if len(shown(maildir)) < count - 2:
                raise Wrong("more was deleted than that")
            # It cannot deceive for longer than the Maildir stays so.
            put(maildir, b"new/77.new", b"N: n\n\nn\n")
            one = shown(maildir)[0]
            os.rename(maildir + b"/" + one.path,
                      maildir + b"/cur/" + one.base + b":2,F")
            check(maildir, "after a delivery", when not in ("sizes", "any",
                                                            "later", "uids"))
        except (Wrong, subprocess.TimeoutExpired) as e:
            raise Wrong("%s: %s" % (what, e))
    print("%d forged indices" % len(cases))


def sparse(maildir):
    """It says that it is of 4 GiB, and is, but holds nothing."""
    make_maildir(maildir, 6)
    settle(maildir)
    right = answer(maildir)
    record = make_record(b"0.a", 5, 0)
    for what, records in (("all", b""), ("but for its beginning", record * 4),
                          ("the rest of a long record",
                           record + make_record(b"1.b", 5, 0, length=65528))):
        data = make_index(maildir, records, {
            "count": 6, "end": 2**32 - 8,
            "octets": sum(len(m.wire) for m in shown(maildir))})
        write_index(maildir, data)
        os.truncate(maildir + INDEX, 2**32 - 8)
        if ask(maildir) != right:
            raise Wrong("a hole, %s: is not right" % what)
    kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if kib > 512 * 1024:
        raise Wrong("%d KiB of memory were used" % kib)
    print("%d KiB" % kib)


def torn(maildir):
    """The header of one change reached the disk, and the records of another
    one, which was written to the same place before."""
    make_maildir(maildir, 18)
    check(maildir, "without an index")
    with open(maildir + INDEX, "rb") as f:
        before = f.read()
    ends = []
    for name in (b"30.x", b"31.x"):
        write_index(maildir, before)
        put(maildir, b"new/" + name, b"X: x\n\nx\n")
        settle(maildir)
        check(maildir, "after a change")
        with open(maildir + INDEX, "rb") as f:
            ends.append(f.read())
        if name == b"30.x":
            os.unlink(maildir + b"/new/" + name)
    if not len(before) < len(ends[0]) == len(ends[1]):
        raise Wrong("the index was not added to")
    write_index(maildir, ends[1])
    check(maildir, "not torn")
    write_index(maildir, ends[1][:len(before)] + ends[0][len(before):])
    check(maildir, "torn")
    print("torn")


def short(maildir):
    """Whatever memory there is: none must be refused, if need be without the
    index."""
    make_maildir(maildir, 6)
    settle(maildir)
    many = 100000
    data = make_index(maildir, make_records(
        [(b"%d." % (i + 1000) + b"x" * 200, 5, 1) for i in range(many)]),
        {"count": many, "octets": 5 * many})
    for i in range(4000):
        put(maildir, b"new/%d.%s" % (i, b"y" * 200), b"N: n\n\nn\n")

    def uses(kib):
        """Whether so much is enough for the index."""
        write_index(maildir, data)

        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (kib << 10, kib << 10))

        said = subprocess.run(
            [POP3D, "-t", "-P", maildir], input=b"QUIT\r\n", timeout=20,
            close_fds=False, stdout=subprocess.PIPE, preexec_fn=limit).stdout
        if not said.startswith((b"+OK 4006 messages",
                                b"+OK %d messages" % (many + 4003))):
            raise Wrong("with %d KiB: %r" % (kib, said))
        return not said.startswith(b"+OK 4006 ")

    little, enough = 16 << 10, 256 << 10
    if uses(little) or not uses(enough):
        raise Wrong("that is not how much it takes")
    while enough - little > 64:
        middle = (enough + little) // 2
        if uses(middle):
            enough = middle
        else:
            little = middle
    for kib in range(little - 1024, little, 128):
        uses(kib)
    print("%d KiB" % enough)


# Random rounds.

class Session:
    def __init__(self, maildir):
        self.child = subprocess.Popen(
            [POP3D, "-t", maildir], bufsize=0, close_fds=False,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.buffer = b""

    def line(self):
        while b"\r\n" not in self.buffer:
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise Wrong("the session ended; it had said %r" % self.buffer)
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def ask(self, command, multi=False):
        self.child.stdin.write(command + b"\r\n")
        reply = self.line()
        lines = []
        while multi and reply.startswith(b"+OK"):
            lines.append(self.line())
            if lines[-1] == b".":
                return reply, lines[:-1]
        return reply, lines

    def end(self):
        self.child.stdin.close()
        self.child.stdout.close()
        if self.child.wait(20) != 0:
            raise Wrong("exit code %d" % self.child.returncode)


class World:
    """A Maildir, and what other programs do to it."""

    def __init__(self, maildir, dice):
        self.maildir, self.dice, self.count = maildir, dice, 0
        self.note = []
        for folder in (b"new", b"cur", b"tmp"):
            os.makedirs(maildir + b"/" + folder, exist_ok=True)

    def text(self):
        lines = [self.dice.choice((b"", b".", b"..", b".x", b"x", b"y" * 300,
                                   b"\r", b"a\rb", b"A: b"))
                 for _ in range(self.dice.randrange(12))]
        return b"".join(l + self.dice.choice((b"\n", b"\n", b"\r\n"))
                        for l in lines) + self.dice.choice((b"", b"", b"end"))

    def flags(self):
        return bytes(f for f in b"FRST" if self.dice.random() < 0.3)

    def base(self):
        self.count += 1
        return b"%d.M%d.%s" % (self.dice.choice((1700000000, 99, 0)) +
                               self.dice.randrange(50), self.count,
                               self.dice.choice((b"host", b"h,S=12", b"x")))

    def change(self, only_new=False):
        mail = shown(self.maildir)
        what = self.dice.choice(("new", "new", "cur", "flags", "flags", "move",
                                 "delete", "edit")) if not only_new else "new"
        if len(mail) > 25:
            what = "delete"
        one = self.dice.choice(mail) if mail else None
        if what == "new" or one is None:
            put(self.maildir, b"new/" + self.base(), self.text())
        elif what == "cur":
            put(self.maildir, b"cur/" + self.base() + b":2," + self.flags(),
                self.text())
        elif what == "delete":
            os.unlink(self.maildir + b"/" + one.path)
        elif what == "edit":
            # As a mail reader does it: another file of another name.
            put(self.maildir, b"cur/" + self.base() + b":2,S", one.data + b"+")
            os.unlink(self.maildir + b"/" + one.path)
        else:
            os.rename(self.maildir + b"/" + one.path, self.maildir + b"/cur/" +
                      one.base + b":2," + self.flags())
        self.note.append("%s %s" % (what, one.path if one else ""))


def same(what, right, got):
    if right != got:
        raise Wrong("%s: must be %r, is %r" % (what, right, got))


def one_session(world, busy=True, changes=True):
    """A session of random commands."""
    dice = world.dice
    mail = shown(world.maildir)
    note = world.note
    client = Session(world.maildir)
    same("+OK", b"+OK %d messages" % len(mail), client.line())
    note.append("session: %d messages" % len(mail))
    if not mail:
        busy = False

    def current():
        return {m.base: m for m in shown(world.maildir)}

    def left():
        return [m for m in mail if not m.deleted]

    def totals(text):
        """Count and octets.  Who was gone before he was counted has none,
        unless the index knew him."""
        there = current()
        number, octets = map(int, re.findall(rb"[0-9]+", text)[:2])
        same("count", len(left()), number)
        least = sum(len(m.wire) for m in left() if m.base in there)
        most = sum(len(m.wire) for m in left())
        if not least <= octets <= most:
            raise Wrong("octets: %d, not %d to %d" % (octets, least, most))

    for _ in range(dice.randrange(1, 10)):
        if busy and dice.random() < 0.3:
            world.change()
        command = dice.choice(("STAT", "LIST", "UIDL", "RETR", "RETR", "TOP",
                               "DELE", "RSET", "LIST n", "UIDL n"))
        there = current()
        for m in mail:
            m.had_seen |= m.is_seen() or (
                m.base in there and there[m.base].is_seen())
        n = dice.randrange(len(mail)) if mail else 0
        one = mail[n] if mail else None
        number = b" %d" % (n + 1)
        note.append("%s%s" % (command, number.decode()))
        if command == "STAT":
            totals(client.ask(b"STAT")[0])
        elif command in ("LIST", "UIDL"):
            reply, lines = client.ask(command.encode(), True)
            numbers = [b"%d" % (i + 1) for i, m in enumerate(mail)
                       if not m.deleted]
            same(command, numbers, [l.split(b" ")[0] for l in lines])
            for line, m in zip(lines, left()):
                text = line.split(b" ")[1]
                sizes = [b"%d" % len(m.wire)]
                if m.base not in there:
                    sizes.append(b"0")
                if command == "UIDL":
                    same(command, m.base, text)
                elif text not in sizes:
                    raise Wrong("LIST: %r, not %r" % (line, sizes))
            if command == "LIST":
                totals(reply)
        elif command == "RSET":
            same("RSET", b"+OK %d messages" % len(mail), client.ask(b"RSET")[0])
            for m in mail:
                m.deleted = False
        elif one is None or one.deleted:
            reply = client.ask(command.split()[0].encode() + number)[0] \
                if command != "TOP" else client.ask(b"TOP" + number + b" 1")[0]
            if not reply.startswith(b"-ERR"):
                raise Wrong("a message that is not: %r" % reply)
        elif command == "LIST n":
            reply = client.ask(b"LIST" + number)[0]
            if reply != b"+OK%s %d" % (number, len(one.wire)) and (
                    one.base in there or reply != b"+OK%s 0" % number):
                raise Wrong("LIST n: %r of %d" % (reply, len(one.wire)))
        elif command == "UIDL n":
            same("UIDL n", b"+OK%s %s" % (number, one.base),
                 client.ask(b"UIDL" + number)[0])
        elif command == "DELE":
            same("DELE", b"+OK", client.ask(b"DELE" + number)[0][:3])
            one.deleted = True
        else:
            lines = dice.randrange(4)
            reply, got = client.ask(
                b"RETR" + number if command == "RETR" else
                b"TOP%s %d" % (number, lines), True)
            if one.base not in there:
                same(command, b"-ERR", reply[:4])
                continue
            same(command, b"+OK %d octets" % len(one.wire), reply)
            right = one.wire if command == "RETR" else top(one.data, lines)
            same(command, stuffed(right).split(b"\r\n")[:-1], got)
            if command == "RETR":
                one.retrieved = True
    if busy and dice.random() < 0.3:
        world.change()
    right = {m.base: m.path for m in shown(world.maildir)}
    may = {}
    if changes and dice.random() < 0.6:
        note.append("QUIT")
        for m in mail:
            if m.base not in right:
                continue
            name = right[m.base].split(b"/")[1]
            flags = name.partition(b":2,")[2]
            if m.deleted:
                del right[m.base]
            elif m.retrieved:
                seen = b"cur/%s:2,%s" % (m.base, bytes(
                    sorted(set(flags + b"S"))))
                # Who takes the flag away again may have his way.
                may[m.base] = right[m.base] if m.had_seen else seen
                right[m.base] = seen
        same("QUIT", b"+OK", client.ask(b"QUIT")[0][:3])
    else:
        note.append("gone")
    client.end()
    left_over = {m.base: m.path for m in shown(world.maildir)}
    same("files", sorted(right), sorted(left_over))
    for base, path in left_over.items():
        if path not in (right[base], may.get(base)):
            raise Wrong("%r is now %r" % (right[base], path))


def rounds(maildir, number):
    seed = os.environ.get("ORACLE_SEED") or "%d" % random.randrange(10**9)
    print("ORACLE_SEED=%s" % seed, flush=True)
    world = World(maildir, random.Random(seed))
    has_index = not os.path.isdir(maildir + INDEX)
    believed = waits = 0
    every = max(1, number // 10)
    try:
        for i in range(number):
            world.note = ["round %d" % i]
            for _ in range(world.dice.randrange(4)):
                world.change(only_new=i % every in range(2, 6))
            if i % every == 1 and STEP == 1 or i == 1:
                # A fresh index; the next rounds only deliver into new.
                waits += 1
                settle(maildir)
                check(maildir, "settled")
                before = has_index and stat_index(maildir)
                check(maildir, "unchanged")
                one_session(world, busy=False, changes=False)
                believed += has_index and stat_index(maildir) == before
            partly = i % every in range(1, 6)
            one_session(world, busy=not partly or i % every == 5,
                        changes=not partly or i % every == 5)
    except (Wrong, OSError, subprocess.TimeoutExpired) as e:
        raise Wrong("%s\nseed %s, %s" % (e, seed, "; ".join(world.note)))
    if has_index and believed != waits:
        raise Wrong("seed %s: the index was believed %d times of %d" % (
            seed, believed, waits))
    print("%d rounds, %d times with a fresh index" % (number, believed))


def ticks(maildir):
    """Deliver, session, deliver at once, session; and once it was settled."""
    make_maildir(maildir, 3)

    def count():
        right = len(os.listdir(maildir + b"/new")) + \
            len(os.listdir(maildir + b"/cur"))
        got = run(maildir, b"STAT\r\nUIDL\r\nQUIT\r\n")
        if not got.startswith(b"+OK %d messages" % right) or \
                got.count(b"\r\n") != right + 5:
            raise Wrong("%d messages are there: %r" % (right, got))

    for i in range(0, 200, STEP):
        if i % 100 == 0:
            settle(maildir)
            count()
            count()
        put(maildir, b"new/%d.n" % (1000 + i), b"x\n")
        count()
        if i % 2:
            put(maildir, b"new/%d.m" % (1000 + i), b"y\n")
        else:
            os.rename(maildir + b"/new/%d.n" % (1000 + i),
                      maildir + b"/cur/%d.n:2," % (1000 + i))
        count()
        if i % 3 == 0:
            os.unlink(maildir + (b"/new/%d.m" if i % 2 else b"/cur/%d.n:2,") %
                      (1000 + i))
            count()
    print("ticks")


def main():
    what, maildir = sys.argv[1], os.fsencode(sys.argv[2])
    try:
        if what == "rounds":
            rounds(maildir, int(sys.argv[3]) if len(sys.argv) > 3 else 200)
        elif what == "damage":
            damage(sys.argv[3], maildir)
        elif what == "check":
            for path in sys.argv[2:]:
                check(os.fsencode(path), path)
        elif what == "lying":
            lying(maildir, "future" in sys.argv)
        elif what == "settle":
            settle(*map(os.fsencode, sys.argv[2:]))
        elif what == "forged":
            forged(maildir, sys.argv[3:])
        elif what in ("sparse", "torn", "short"):
            globals()[what](maildir)
        else:
            ticks(maildir)
    except Wrong as e:
        print(e)
        sys.exit(1)


if __name__ == "__main__":
    main()
