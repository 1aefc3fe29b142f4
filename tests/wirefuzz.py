#!/usr/bin/env python3
"""Whole conversations, most of them odd, with all that is started for them:
monitor, greeter, checkpassword program, session.

wirefuzz.py FOLDER: so many rounds (WIREFUZZ_ROUNDS) of sessions over Maildirs
below FOLDER.  Each round depends on WIREFUZZ_SEED and its number only: a
failure prints both, and WIREFUZZ_ROUND=NUMBER repeats that one alone.

A model says from the RFCs and the design what each line must be answered, and
what QUIT must leave of the Maildir.  $POP3D_BIN is under test; helper.bash
says what the rest of the environment means.
"""
import base64
import binascii
import concurrent.futures
import fcntl
import hashlib
import os
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

BIN = os.environ["POP3D_BIN"]
TESTS = os.path.dirname(os.path.abspath(__file__))
SEED = os.environ.get("WIREFUZZ_SEED", "1939")
# The sanitizers are slow, and need not find the same twice.
ROUNDS = int(os.environ.get(
    "WIREFUZZ_ROUNDS", 60 if "ASAN_OPTIONS" in os.environ else 400))
WORKERS = 6     # more than processors: who gave a wrong password waits
LIMIT = 40      # seconds, and then something hangs
SECRET = b"secret"
UID, GID = int(os.environ["TEST_UID"]), int(os.environ["TEST_GID"])
COMMAND_MOST, SASL_MOST, REPLY_MOST, BAD_MOST = 255, 12288, 512, 20
WRONG_MOST = 3


class Wrong(Exception):
    """pop3d did what it must not."""


# Messages

def own_uid(base):
    if 1 <= len(base) <= 70 and all(0x21 <= c <= 0x7e for c in base):
        return base
    value = 0x6c62272e07bb014262b821756295c58d
    for octet in base:
        value = (value ^ octet) * ((1 << 88) + 0x13b) % (1 << 128)
    return b"%032x" % value


class Mail:
    def __init__(self, folder, name, data):
        self.folder, self.name, self.data = folder, name, data
        self.base, _, self.info = name.partition(b":")
        self.wire = re.sub(rb"(?<!\r)\n", b"\r\n", data)
        if data and not data.endswith(b"\n"):
            self.wire += b"\r\n"
        self.deleted = self.retrieved = False

    def path(self):
        return self.folder + b"/" + self.name

    def order(self):
        return int(re.match(rb"[0-9]*", self.base).group() or 0), self.base

    def seen(self):
        return self.info.startswith(b"2,") and b"S" in self.info

    def see(self):
        self.folder = b"cur"
        if self.info and not self.info.startswith(b"2,") or self.seen():
            return
        flags = self.info[2:]
        before = len(re.match(rb"[^S-\xff]*", flags).group())
        self.info = b"2," + flags[:before] + b"S" + flags[before:]
        self.name = self.base + b":" + self.info

    def top(self, lines):
        result, in_body = b"", False
        for line in re.findall(rb"[^\n]*\n", self.wire):
            if in_body:
                if lines == 0:
                    break
                lines -= 1
            result += line
            in_body = in_body or line == b"\r\n"
        return result


def stuffed(data):
    return re.sub(rb"(?m)^\.", b"..", data) + b".\r\n"


def any_data(rng):
    pieces = [b"\n", b"\r\n", b".", b"..\n", b"\r", b"\n.\n", b"\r\n.\r\n", b"\0",
              b"\xff\xc3\xa9", b"Subject: x\n", b"-ERR no\r\n", b"\n\n", b"x" * 70]
    data = b"".join(rng.choices(pieces, k=rng.randrange(20)))
    if rng.randrange(25) == 0:
        data += rng.choice((b"x", b"line\n", b".\n")) * rng.randrange(100000)
    return data


def any_mail(rng):
    mail = []
    for serial in range(rng.choice((0, 1, 2, 3, 5, 8))):
        base = b"%d.%s" % (1700000000 + rng.randrange(20), rng.choice(
            (b"M%dP1.host", b"odd \xff%d", b"n" * 80 + b"%d", b"x%d,S=3")) % serial)
        info = rng.choice((b"", b":2,", b":2,S", b":2,FT", b":2,RS", b":1,x"))
        mail.append(Mail(rng.choice((b"new", b"cur")), base + info, any_data(rng)))
    return sorted(mail, key=Mail.order)


# The model

class End(Exception):
    """The server closes the connection."""


def decode(text):
    """Base64, nothing but its alphabet and the one right padding; or None."""
    try:
        plain = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return plain if base64.b64encode(plain) == text else None


def parse_number(text):
    """Of decimal digits, below 2^64; or None."""
    if not re.fullmatch(rb"[0-9]+", text) or int(text) >= 1 << 64:
        return None
    return int(text)


class Model:
    """What must come back for `sent`, in self.expected: a pattern for a line,
    octets (which begin with no +, - or ^) as they are."""

    def __init__(self, sent, mail, options, logged_in):
        self.mail, self.options, self.logged_in = mail, options, logged_in
        self.lines = re.findall(rb"[^\n]*\n", sent)
        self.tail = sent[sum(map(len, self.lines)):]
        self.expected = []
        self.user = None
        self.bad = self.wrong = self.last = 0
        self.has_quit = self.has_ended = False
        try:
            self.run(sent)
        except End:
            self.has_ended = True
        except IndexError: # nothing more was sent
            pass

    def say(self, octets):
        self.expected.append((False, octets))

    def ok(self, pattern=rb".*"):
        self.expected.append((True, rb"\+OK " + pattern))
        self.bad = 0

    def err(self, code=rb"(?!\[)"):
        self.expected.append((True, rb"-ERR " + code + rb".*"))
        self.bad = 0

    def mis_stated(self):
        self.expected.append((True, rb"-ERR (?!\[).*"))
        self.bad += 1
        if self.bad == BAD_MOST:
            raise End

    def items(self, items):
        self.say(b"".join(b"%d %s\r\n" % item for item in items) + b".\r\n")

    def next_line(self):
        line = self.lines.pop(0)
        return len(line), line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def run(self, sent):
        if self.logged_in:
            self.ok(b"%d messages" % len(self.mail))
        else:
            self.ok(rb"mail\.example\.org .*")
            if sent.startswith(b"\x16"):
                self.err()
                raise End
        is_first = not self.logged_in
        while True:
            size, text = self.next_line()
            if is_first and size <= SASL_MOST and re.match(
                    rb"(?i)(GET|HEAD|POST|PUT|OPTIONS|CONNECT|PRI|EHLO|HELO) "
                    rb"|SSH-", text):
                self.err()
                raise End
            is_first = False
            name, _, argument = text.partition(b" ")
            name = name.upper().decode("latin1")
            if name != "PASS":
                argument = argument.rstrip(b" \t")
            if self.logged_in:
                self.transaction(name, argument, size)
            else:
                self.authorization(name, argument, size)

    # AUTHORIZATION

    def authorization(self, name, argument, size):
        most = SASL_MOST if name == "AUTH" else COMMAND_MOST
        handler = getattr(self, "before_" + name.lower(), None)
        if handler is None or not name.isalnum() or size > most or \
                (name in ("CAPA", "QUIT", "STLS", "UTF8") and argument):
            self.mis_stated()
        else:
            handler(argument)

    def before_capa(self, _):
        self.ok()
        self.expected.append((True, None))

    def before_stls(self, _):
        self.mis_stated()

    def before_utf8(self, _):
        self.ok()

    def before_quit(self, _):
        self.ok()
        raise End

    def before_user(self, argument):
        if not argument:
            self.mis_stated()
            return
        self.user = None
        if len(argument) > 255 or b"\0" in argument:
            self.mis_stated()
            return
        self.user = argument
        self.ok()

    def before_pass(self, argument):
        user, self.user = self.user, None
        if user is None or b"\0" in argument:
            self.mis_stated()
        else:
            self.attempt(user, argument == SECRET)

    def before_apop(self, argument):
        match = re.fullmatch(rb"(?s)([^\0]+) ([0-9a-fA-F]{32})", argument)
        if "-a" not in self.options or match is None or len(match[1]) > 255:
            self.mis_stated()
        else:
            self.attempt(match[1], match[2].lower() == self.options["-a"])

    def before_auth(self, argument):
        self.user = None
        name, blank, initial = argument.partition(b" ")
        if not argument:
            self.ok()
            self.say(b"PLAIN\r\nLOGIN\r\n" + (
                b"CRAM-MD5\r\n" if "-a" in self.options else b"") + b".\r\n")
        elif name.upper() == b"PLAIN":
            self.plain(initial if blank else None)
        elif name.upper() == b"LOGIN":
            self.login(initial if blank else None)
        elif name.upper() == b"CRAM-MD5" and "-a" in self.options and \
                not blank:
            self.cram_md5()
        else:
            self.mis_stated()

    def response(self, initial):
        """What the client answered; None if that has been refused."""
        if initial is None:
            self.expected.append((True, rb"\+ [A-Za-z0-9+/]*={0,2}"))
            size, text = self.next_line()
            if size > SASL_MOST or text == b"*":
                text = b"!"
        else:
            text = b"" if initial == b"=" else initial
        text = decode(text)
        if text is None:
            self.mis_stated()
        return text

    def plain(self, initial):
        text = self.response(initial)
        if text is None:
            return
        parts = text.split(b"\0")
        if len(parts) != 3 or not 1 <= len(parts[1]) <= 255 or \
                parts[0] not in (b"", parts[1]):
            self.mis_stated()
        else:
            self.attempt(parts[1], parts[2] == SECRET)

    def cram_md5(self):
        text = self.response(None)
        if text is None:
            return
        match = re.fullmatch(rb"(?s)([^\0]+) [0-9a-fA-F]{32}", text)
        if match is None or len(match[1]) > 255:
            self.mis_stated()
        else:
            self.attempt(match[1], False)

    def login(self, initial):
        user = self.response(initial)
        if user is None:
            return
        if not 1 <= len(user) <= 255 or b"\0" in user:
            self.mis_stated()
            return
        secret = self.response(None)
        if secret is None:
            return
        if b"\0" in secret:
            self.mis_stated()
        else:
            self.attempt(user, secret == SECRET)

    def attempt(self, user, is_right):
        if user == b"joe" and is_right:
            self.logged_in = True
            self.ok(b"%d messages" % len(self.mail))
            return
        self.wrong += 1
        self.err(rb"\[AUTH\] ")
        if self.wrong == WRONG_MOST:
            raise End

    # TRANSACTION

    def transaction(self, name, argument, size):
        handler = getattr(self, "do_" + name.lower(), None)
        if handler is None or not name.isalpha() or size > COMMAND_MOST:
            self.mis_stated()
        elif name in ("STAT", "NOOP", "RSET", "LAST", "QUIT", "CAPA"):
            if argument:
                self.mis_stated()
            else:
                handler()
        else:
            self.with_message(handler, name, argument)

    def with_message(self, handler, name, argument):
        words = argument.split(b" ", 1)
        if not argument and name in ("LIST", "UIDL"):
            handler(None)
            return
        lines = parse_number(words[1]) if len(words) == 2 else None
        number = parse_number(words[0])
        if len(words) != (2 if name == "TOP" else 1) or number is None or \
                (name == "TOP" and lines is None):
            self.mis_stated()
        elif not 1 <= number <= len(self.mail) or \
                self.mail[number - 1].deleted:
            self.err()
        elif name == "TOP":
            handler(number, lines)
        else:
            handler(number)

    def left(self):
        return [(n, m) for n, m in enumerate(self.mail, 1) if not m.deleted]

    def do_stat(self):
        self.ok(b"%d %d" % (len(self.left()),
                            sum(len(m.wire) for _, m in self.left())))

    def do_list(self, number):
        if number:
            self.ok(b"%d %d" % (number, len(self.mail[number - 1].wire)))
            return
        self.ok()
        self.items((n, b"%d" % len(m.wire)) for n, m in self.left())

    def do_uidl(self, number):
        if number:
            self.ok(b"%d %s" % (
                number, re.escape(own_uid(self.mail[number - 1].base))))
            return
        self.ok()
        self.items((n, own_uid(m.base)) for n, m in self.left())

    def do_retr(self, number):
        mail = self.mail[number - 1]
        self.ok(b"(%d octets|message follows)" % len(mail.wire))
        self.say(stuffed(mail.wire))
        mail.retrieved = True
        self.last = max(self.last, number)

    def do_top(self, number, lines):
        self.ok()
        self.say(stuffed(self.mail[number - 1].top(lines)))

    def do_dele(self, number):
        self.mail[number - 1].deleted = True
        self.ok()
        self.last = max(self.last, number)

    def do_rset(self):
        for mail in self.mail:
            mail.deleted = False
        self.last = 0
        self.ok()

    def do_noop(self):
        self.ok()

    def do_last(self):
        seen = [n for n, m in enumerate(self.mail, 1) if m.seen()]
        self.ok(b"%d" % max([self.last] + seen))

    def do_capa(self):
        self.before_capa(None)

    def do_quit(self):
        self.ok()
        self.has_quit = True
        raise End

    def after(self):
        """What QUIT leaves of the mail."""
        left = []
        for mail in self.mail:
            new = Mail(mail.folder, mail.name, mail.data)
            if mail.retrieved and "-P" not in self.options:
                new.see()
            if not mail.deleted:
                left.append(new)
        return left


def check_replies(got, expected, is_whole):
    """Compares what came back; `is_whole` if the server ended it.  Returns
    how many of the expectations were met."""
    at = 0
    for met, (is_line, what) in enumerate(expected):
        if not is_line:
            part = got[at:at + len(what)]
            at += len(part)
            if part == what:
                continue
            if what.startswith(part) and not is_whole:
                return met
            raise Wrong("must be %r, is %r" % (what[:200], part[:200]))
        end = got.find(b"\r\n", at)
        if end == -1 and not is_whole:
            return met
        if end == -1:
            raise Wrong("no whole line, but %r, where %r must be" % (
                got[at:at + 200], what))
        line, at = got[at:end], end + 2
        if len(line) + 2 > REPLY_MOST or not re.fullmatch(rb"[ -~]*", line):
            raise Wrong("ill-formed: %r" % line)
        if what is None: # lines of capabilities
            end = got.find(b"\r\n.\r\n", at - 2)
            if end == -1 and not is_whole:
                return met
            if end == -1 or not re.fullmatch(
                    rb"([A-Z][ -~]*\r\n)+", line + got[at - 2:end + 2]):
                raise Wrong("no capabilities: %r" % got[at:at + 300])
            at = end + 5
        elif not re.fullmatch(what, line):
            raise Wrong("%r must be %r" % (line, what))
    if at < len(got):
        raise Wrong("answers nothing: %r" % got[at:at + 200])
    return len(expected)


# What is sent

def coded(*parts):
    return base64.b64encode(b"\0".join(parts))


def any_login(rng, stamp):
    choices = [
        [b"USER joe", b"PASS secret"],
        [b"user joe ", b"pass secret"],
        [b"AUTH PLAIN " + coded(b"", b"joe", SECRET)],
        [b"auth plain", coded(b"joe", b"joe", SECRET)],
        [b"AUTH LOGIN", coded(b"joe"), coded(SECRET)],
        [b"AUTH login " + coded(b"joe"), coded(SECRET)],
    ]
    if stamp:
        choices.append([b"APOP joe " + stamp])
    return rng.choice(choices)


def any_noise(rng):
    octets = bytes(rng.choices(b"\0\r \t\xff\x80Aa1=*./", k=rng.randrange(9)))
    return rng.choice([
        [b""], [b" "], [octets], [b"USER " + octets], [b"NOOP " + octets],
        [b"AUTH " + octets], [b"AUTH PLAIN " + octets], [b"RETR " + octets],
        [b"AUTH PLAIN", octets], [b"AUTH LOGIN", b"*"], [b"AUTH"], [b"CAPA"],
        [b"AUTH LOGIN", coded(octets), b"="], [b"STLS"], [b"USER joe"],
        [b"AUTH CRAM-MD5", coded(rng.choice((b"joe ", octets)) + b"0aF9" * 8)],
        [b"AUTH CRAM-MD5 " + octets], [b"AUTH CRAM-MD5", octets], [b"UTF8"],
        [b"PASS"], [b"PASS \0"], [b"APOP joe " + octets], [b"TOP 1 " + octets],
        [b"AUTH PLAIN " + coded(b"ann", b"joe", SECRET)], [b"QUIT now"],
        [b"x" * rng.choice((253, 254, 255, 256, 4096, 12286, 12287, 20000))],
        [rng.choice((b"NOOP", b"CAPA")) +
         b" " * rng.choice((247, 248, 249, 250, 251, 300))],
        [b"AUTH PLAIN " + b"=" * rng.choice((250, 12275, 12276, 12277))],
        [b"\x16\3\1" + octets], [b"GET / HTTP/1.0"], [b"xyzzy"] * 21])


def any_commands(rng, count):
    number = str(rng.choice((0, 1, 2, 3, count, count + 1, 1 << 64))).encode()
    good = str(rng.randrange(1, count + 1) if count else 1).encode()
    return rng.choice([
        [b"STAT"], [b"LIST"], [b"UIDL"], [b"LIST " + number], [b"LAST"],
        [b"UIDL " + number], [b"RETR " + number], [b"TOP %s %s" % (good, number)],
        [b"DELE " + number], [b"DELE " + good], [b"RETR " + good], [b"RSET"],
        [b"NOOP"], [b"retr " + good + b" \t", b"dEle " + good], [b"CAPA"]])


def mutated(rng, script):
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(script) + 1)
        end = at + rng.choice((0, 1, 1, 2, 20))
        new = rng.choice((b"", b"", b"\0", b"\n", b"\r", b"\r\n", b"\xff", b" ",
                          b"QUIT\r\n", b"RSET\r\n", script[:at], script[end:]))
        script = script[:at] + new + script[end:]
    return script


def any_script(rng, logged_in, stamp, count):
    lines = []
    if not logged_in:
        while rng.randrange(3) == 0:
            lines += any_noise(rng)
        if rng.randrange(8):
            lines += any_login(rng, stamp)
        elif rng.randrange(2):
            lines += [b"USER joe", b"PASS wrong"]
    for _ in range(rng.choice((0, 1, 3, 8, 25))):
        lines += any_noise(rng) if rng.randrange(8) == 0 else \
            any_commands(rng, count)
    if rng.randrange(3):
        lines.append(b"QUIT")
        if rng.randrange(8) == 0:
            lines += [b"DELE 1", b"QUIT"]
    return mutated(rng, b"".join(
        line + (b"\n" if rng.randrange(10) == 0 else b"\r\n")
        for line in lines))


# The connection

class Link:
    """The client's side of a socket, a TCP connection, or two pipes."""

    def __init__(self, how, command, options):
        self.got, self.at_end = b"", False
        log, options["stderr"] = os.pipe()
        fcntl.fcntl(log, 1031, 1 << 20) # F_SETPIPE_SZ
        self.log = log
        self.sock = other = None
        if how == "pipe":
            theirs, self.to = os.pipe()
            self.come, ours = os.pipe()
        else:
            if how == "tcp":
                with socket.create_server(("127.0.0.1", 0)) as listener:
                    self.sock = socket.create_connection(listener.getsockname())
                    other = listener.accept()[0]
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                self.sock, other = socket.socketpair()
            theirs = ours = os.dup(other.fileno())
            other.close()
            self.to = self.come = self.sock.detach()
        os.set_blocking(self.to, False)
        self.child = subprocess.Popen(
            command, stdin=theirs, stdout=ours, cwd=options["env"]["HOME"],
            **options)
        for fd in {theirs, ours, options["stderr"]}:
            os.close(fd)
        self.deadline = time.monotonic() + LIMIT

    def step(self, data, want):
        """Waits until some of `data` has gone, or (`want`) something came;
        returns how much went."""
        left = self.deadline - time.monotonic()
        poll = select.poll()
        if want and not self.at_end:
            poll.register(self.come, select.POLLIN)
        if data:
            # Of a socket the same descriptor does both.
            both = want and not self.at_end and self.to == self.come
            poll.register(self.to, select.POLLOUT |
                          (select.POLLIN if both else 0))
        ready = dict(poll.poll(max(left, 0) * 1000))
        if not ready:
            raise Wrong("hangs; so far %r" % self.got[-300:])
        gone = 0
        if want and ready.get(self.come, 0) & ~select.POLLOUT:
            try:
                part = os.read(self.come, 65536)
            except ConnectionResetError:
                part = b""
            self.got += part
            self.at_end = not part
        if data and ready.get(self.to, 0) & ~select.POLLIN:
            try:
                gone = os.write(self.to, data)
            except BlockingIOError:
                pass
            except OSError:
                gone = len(data) # nobody is there to read it
        return gone

    def send(self, data, wait):
        """Sends, and reads meanwhile; `wait` for something to come back."""
        before = len(self.got)
        while data:
            data = data[self.step(data, True):]
        while wait and len(self.got) == before and not self.at_end:
            self.step(b"", True)

    def half_close(self):
        if self.to == self.come:
            with socket.socket(fileno=os.dup(self.to)) as sock:
                try:
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        else:
            os.close(self.to)
            self.to = -1

    def read_all(self):
        while not self.at_end:
            self.step(b"", True)

    def close(self, reset=False):
        if reset and self.to == self.come:
            with socket.socket(fileno=os.dup(self.to)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))
        for fd in {self.to, self.come} - {-1}:
            os.close(fd)
        self.to = self.come = -1

    def wait(self):
        """The log, when every process that could write to it has ended."""
        text, poll = b"", select.poll()
        poll.register(self.log, select.POLLIN)
        while True:
            left = self.deadline - time.monotonic()
            if not poll.poll(max(left, 0) * 1000):
                raise Wrong("a process is left over; the log:\n%s" %
                            text.decode("latin1"))
            part = os.read(self.log, 65536)
            if not part:
                break
            text += part
        if self.child.wait(LIMIT) != 0:
            raise Wrong("exit code %d; the log:\n%s" % (
                self.child.returncode, text.decode("latin1")))
        return text

    def end(self):
        """Whatever happened: nothing stays."""
        self.close()
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.log)


class Round:
    def __init__(self, folder, number):
        self.rng = random.Random("%s %d" % (SEED, number))
        self.home = b"%s/%d" % (os.fsencode(folder), number)
        self.maildir = self.home + b"/Maildir"
        self.mail = any_mail(self.rng)
        self.told = "" # of a failure
        for path in (b"", b"/new", b"/cur", b"/tmp"):
            os.makedirs(self.maildir + path)
        for mail in self.mail:
            with open(self.maildir + b"/" + mail.path(), "wb") as file:
                file.write(mail.data)
        with open(self.home + b"/users", "wb") as file:
            file.write(b"joe:{PLAIN}%s:%d:%d::%s:\n" % (
                SECRET, UID, GID, self.home))
        if os.getuid() == 0:
            for path, folders, files in os.walk(self.home):
                for name in [b"."] + folders + files:
                    os.chown(path + b"/" + name, UID, GID)
        self.may_be_wrong = self.rng.randrange(20) == 0

    def command(self, alone, options):
        env = {"HOME": os.fsdecode(self.home), "USER": "joe"}
        for name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TEST_UID",
                     "TEST_GID"):
            if name in os.environ:
                env[name] = os.environ[name]
        env["HOME_DIR"] = env["HOME"]
        extra = {"env": env}
        if alone:
            if os.getuid() == 0:
                extra.update(user=UID, group=GID, extra_groups=[])
            return [BIN + "/pop3d", "-t"] + sorted(options), extra
        if self.rng.randrange(12) == 0:
            program = [TESTS + "/checkpw"]
        else:
            program = [BIN + "/pop3d-checkpassword", "-f",
                       env["HOME"] + "/users"]
        return [BIN + "/pop3d", "-c", "-r", os.environ["EMPTY"], "-h",
                "mail.example.org"] + sorted(options) + program, extra

    def compose(self, options, alone):
        """A script, and what must come of it.  Wrong passwords cost a second
        and more: there are few, and then one."""
        while True:
            script = any_script(self.rng, alone, options.get("-a"),
                                len(self.mail))
            if self.rng.randrange(4) == 0:
                script = script[:self.rng.randrange(len(script) + 1)]
            mail = [Mail(m.folder, m.name, m.data) for m in self.mail]
            model = Model(script, mail, options, alone)
            if model.wrong <= self.may_be_wrong:
                return script, model

    def session(self):
        rng = self.rng
        alone = rng.randrange(3) == 0
        options = {o: b"" for o in ("-a", "-P", "-v") if rng.randrange(4) == 0}
        how = rng.choice(("socket", "socket", "tcp", "pipe"))
        command, extra = self.command(alone, options)
        link = Link(how, command, extra)
        try:
            if "-a" in options and not alone:
                while b"\n" not in link.got and not link.at_end:
                    link.step(b"", True)
                stamp = re.search(rb"<[^>]*>", link.got)
                if stamp is None:
                    raise Wrong("no stamp: %r" % link.got)
                options["-a"] = hashlib.md5(
                    stamp.group() + SECRET).hexdigest().encode()
            script, model = self.compose(options, alone)
            self.told = "%s by %s\nsent: %r\ngot: " % (command, how, script)
            is_whole = self.talk(link, script, model)
            log = link.wait()
            self.check(link.got, model, is_whole, log)
        finally:
            self.told += repr(link.got[-3000:])
            link.end()

    def talk(self, link, script, model):
        """Sends, in some way, and ends in some way; returns whether it was
        the server that ended it."""
        rng = self.rng
        how = rng.choice(("all", "lines", "parts", "parts"))
        while script:
            part = script
            if how == "lines":
                part = script[:script.find(b"\n") + 1] or script
            elif how == "parts":
                part = script[:rng.choice((1, 2, 7, 300, 5000))]
            link.send(part, how == "lines" and part.endswith(b"\n"))
            script = script[len(part):]
        end = rng.choice(("half", "half", "wait", "close", "reset"))
        if end == "half" or (end == "wait" and not model.has_ended):
            link.half_close()
        if end in ("half", "wait"):
            link.read_all()
            if model.has_quit: # and the client may come back at once
                self.check_lock()
        link.close(end == "reset")
        return end in ("half", "wait")

    def check(self, got, model, is_whole, log):
        for line in log.split(b"\n")[:-1]:
            if not re.fullmatch(rb"pop3d: event=[a-z]+( [a-z]+=[ -~]+)+", line):
                raise Wrong("the log:\n%s" % log.decode("latin1"))
        if len(re.findall(rb"^pop3d: event=end ", log, re.M)) != 1:
            raise Wrong("not one end in the log:\n%s" % log.decode("latin1"))
        met = check_replies(got, model.expected, is_whole)
        files = {}
        for folder in (b"new", b"cur", b"tmp"):
            for name in os.listdir(self.maildir + b"/" + folder):
                path = folder + b"/" + name
                with open(self.maildir + b"/" + path, "rb") as file:
                    files[path] = file.read()
        after = model.after() if model.has_quit else self.mail
        possible = [after]
        if met < len(model.expected):
            # Nobody has heard the answer to QUIT, if it was given.
            possible.append(self.mail)
        for mail in possible:
            if files == {m.path(): m.data for m in mail}:
                self.mail = mail
                break
        else:
            raise Wrong("must be %r, is %r" % (
                sorted(m.path() for m in after), sorted(files)))
        self.check_lock()

    def check_lock(self):
        folder = os.open(self.maildir, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)
        if os.path.exists(self.maildir + b"/pop3d.lock"):
            with open(self.maildir + b"/pop3d.lock", "r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def run(self):
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self.session()


def run(folder, number):
    """One round; what was wrong, or None."""
    try:
        this = Round(folder, number)
    except OSError as error:
        return "round %d: %r" % (number, error)
    try:
        this.run()
    except (Wrong, OSError, subprocess.SubprocessError) as error:
        return "WIREFUZZ_SEED=%s WIREFUZZ_ROUND=%d\n%s\n%s" % (
            SEED, number, error, this.told)
    shutil.rmtree(this.home)
    return None


def main():
    numbers = range(ROUNDS)
    if "WIREFUZZ_ROUND" in os.environ:
        numbers = [int(os.environ["WIREFUZZ_ROUND"])]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        failures = [f for f in pool.map(
            lambda n: run(sys.argv[1], n), numbers) if f]
    for failure in failures[:3]:
        print(failure)
    print("%d rounds, %d failed" % (len(numbers), len(failures)))
    sys.exit(1 if failures else 0)


main()
