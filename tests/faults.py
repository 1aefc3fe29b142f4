#!/usr/bin/env python3
"""System calls that fail, or a process killed at them, one at a time.

faults.py KIND DIRECTORY [SCENARIO [FAULT [LINE]]]: every fault of one kind of
run, or of one scenario, or those that begin with FAULT (as strace's inject= has
it; a whole one may be any), or those of calls whose line in strace's output
matches LINE.

A run without faults lists the system calls of the program under test
($POP3D_BIN); then each of them, in a run of its own over a fresh copy of
everything, is made to fail by strace, with each error, once or from then on,
or the process is killed there, before the call has its effect (the call after
it stands for "after").  What must hold then is in Session.judge and so on.

Exit code 77: the scenario is not possible here.

FAULT_SAMPLE (a number) takes so many of the faults by chance, FAULT_SEED
another chance.  Prints each fault that something was wrong with and, to end
with, "N passed, N failed".
"""
import concurrent.futures.process
import ctypes
import fcntl
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from oracle import Wrong, settle, shown, stat_index, stuffed, top, wire

BIN = os.environ["POP3D_BIN"]
UID, GID = int(os.environ["TEST_UID"]), int(os.environ["TEST_GID"])
# Far more than any wait of pop3d's that a run can meet, on a busy machine.
LIMIT = 20
BATCH = 100

ERRORS = ("EIO", "ENOSPC", "EMFILE", "ENOMEM", "EINTR", "EDQUOT", "EACCES")
# What lasts: a full disk, a full table, a broken disk.
LASTING = {"openat": "EMFILE", "open": "EMFILE", "write": "ENOSPC",
           "pwrite64": "ENOSPC", "renameat": "ENOSPC", "renameat2": "ENOSPC",
           "linkat": "ENOSPC", "mmap": "ENOMEM"}
# Calls that have no way to fail (nor would their callers look).
SAFE = set("""execve exit exit_group arch_prctl set_tid_address umask
    set_robust_list rseq rt_sigreturn restart_syscall rt_sigaction getpid
    rt_sigprocmask gettid getuid geteuid getgid getegid uname futex""".split())
# A sanitizer's own allocator gives up where these fail.
MEMORY = {"mmap", "munmap", "brk", "mremap", "mprotect", "madvise"}
if "ASAN_OPTIONS" in os.environ:
    SAFE |= MEMORY | {"sigaltstack", "sched_yield", "futex"}


# The client's side.

class Client:
    """Both directions of a connection to a program that is started here."""

    def __init__(self, command, home, pipes=False, log=None, **more):
        if pipes:
            ours_in, theirs_in = os.pipe()
            theirs_out, ours_out = os.pipe()
            given = (theirs_out, theirs_in)
            self.to, self.fd = ours_out, ours_in
        else:
            ours, theirs = socket.socketpair()
            self.fd = self.to = ours.detach()
            given = (theirs.fileno(),) * 2
        self.process = subprocess.Popen(
            command, stdin=given[0], stdout=given[1], stderr=log, cwd=home,
            env=dict(os.environ, USER="joe", HOME=home), **more)
        if pipes:
            os.close(theirs_in)
            os.close(theirs_out)
        else:
            theirs.close()
        self.buffer = b""
        self.has_heard = False

    def send(self, data):
        try:
            os.write(self.to, data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def more(self):
        """Appends what comes next to the buffer; False at the end."""
        if not select.select([self.fd], [], [], LIMIT)[0]:
            raise Wrong("hangs")
        try:
            data = os.read(self.fd, 65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        self.has_heard |= bool(data)
        return bool(data)

    def is_closed(self):
        return bool(select.select([self.fd], [], [], 0)[0]) and \
            not self.more()

    def line(self):
        """A line without its CRLF; None if the connection was closed."""
        while b"\n" not in self.buffer:
            if not self.more():
                if self.buffer:
                    raise Wrong("half a line: %r" % self.buffer)
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not re.fullmatch(rb"[ -~]{0,510}\r", line):
            raise Wrong("ill-formed line: %r" % line)
        return line[:-1]

    def status(self):
        line = self.line()
        if line is not None and \
                not re.fullmatch(rb"(\+OK|-ERR)( [ -~]*)?", line):
            raise Wrong("ill-formed reply: %r" % line)
        return line

    def lines(self):
        """Up to the final dot; None if the connection was closed."""
        lines = []
        while (line := self.line()) != b".":
            if line is None:
                return None
            lines.append(line)
        return lines

    def message(self, right):
        """A message up to the final dot, octet for octet; whether it came."""
        right = stuffed(right)
        while len(self.buffer) < len(right) + 3:
            if not self.more():
                break
        whole = right + b".\r\n"
        got = self.buffer[:len(whole)]
        if got == whole:
            self.buffer = self.buffer[len(whole):]
            return True
        # Cut short, and then right as far as it goes: it has no final dot.
        if not right.startswith(self.buffer):
            raise Wrong("damaged message: %r" % self.buffer[-200:])
        self.buffer = b""
        return False

    def end(self, may_hear=False):
        """The client goes; returns the exit code, negative for a signal."""
        if self.to == self.fd:
            with socket.socket(fileno=os.dup(self.fd)) as ours:
                try:
                    ours.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        else:
            os.close(self.to)
            self.to = -1
        while self.more():
            pass
        if self.buffer and not may_hear:
            raise Wrong("said more: %r" % self.buffer[:200])
        return self.process.wait(LIMIT)

    def kill(self):
        """Where something was wrong, too."""
        for fd in {self.fd, self.to} - {-1}:
            os.close(fd)
        self.fd = self.to = -1
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# The Maildir.

PLAIN = b"From: a@example.org\nSubject: x\n\n.dot\n..two\n\nno end"
CRLF = b"A: b\r\n\r\nx\r\n.\r\ny\r\n"
BIG = b"Big: 1\n\n" + b"".join(
    b".%d %s\n" % (i, b"x" * (i % 90)) for i in range(2900))
MAIL = {b"new/1000.a": PLAIN, b"cur/1001.b:2,": CRLF, b"new/1002.c": BIG,
        b"cur/1003.d:2,S": PLAIN, b"new/1004.e": b"",
        b"cur/1005.f:2,FT": b"A: b\n\nends in a CR\r", b"new/1006.g": PLAIN,
        b"cur/1007.h:2,R": CRLF}
OWN = {b"new", b"cur", b"tmp", b"pop3d.lock", b"pop3d.index"}


def write(path, data, mode=0o600):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    while data:
        data = data[os.write(fd, data):]
    os.close(fd)


def files_of(maildir):
    """Path, inode and content of what lies in new and cur."""
    found = {}
    for folder in (b"new", b"cur"):
        for entry in os.scandir(maildir + b"/" + folder):
            with open(entry.path, "rb") as f:
                found[folder + b"/" + entry.name] = (entry.inode(), f.read())
    return found


def index_of(maildir):
    try:
        return stat_index(maildir)
    except FileNotFoundError:
        return None


def base_of(path):
    return path.split(b"/")[1].split(b":")[0]


def seen_path(path):
    name, _, flags = path.split(b"/")[1].partition(b":2,")
    return b"cur/%s:2,%s" % (name, bytes(sorted(set(flags + b"S"))))


class Maildrop:
    """A Maildir, a session's commands for it, and what may become of it."""

    def __init__(self, home, mail, retrieve, delete, former=None, quota=b""):
        self.home = os.fsencode(home)
        self.maildir = self.home + b"/Maildir"
        self.retrieve, self.delete = retrieve, delete
        self.former, self.quota = former or {}, quota
        for folder in (b"new", b"cur", b"tmp"):
            os.makedirs(self.maildir + b"/" + folder)
        for path, data in mail.items():
            write(self.maildir + b"/" + path, data)
        if quota:
            write(self.maildir + b"/maildirsize", quota)
        if former:
            write(self.maildir + b"/pop3d.uidl", b"".join(
                b"%s %s\n" % pair for pair in former.items()))

    def uid(self, m):
        return self.former.get(m.base, m.base)

    def start(self):
        self.before = files_of(self.maildir)
        self.mail = shown(self.maildir)

    def talk(self, client, reply, is_exact, may_differ):
        """From the greeting on, which is `reply`.  is_exact: nothing may be
        refused; may_differ: sizes need not be what they are."""
        self.deleted, self.seen, self.quit = set(), set(), None

        def ask(command):
            """The status line; None if the connection was closed."""
            client.send(command + b"\r\n")
            reply = client.status()
            if is_exact and (reply is None or reply.startswith(b"-ERR")):
                raise Wrong("%r: %r" % (command, reply))
            return reply

        def size(what, m, got):
            if got == len(m.wire) or (
                    may_differ and got in (len(m.data), 0)):
                return
            raise Wrong("%s: %d octets, not %d" % (what, got, len(m.wire)))

        def is_ok(reply):
            return reply is not None and reply.startswith(b"+OK")

        def all_of(command, left):
            """A multi-line answer's second fields; None if there is none."""
            reply = ask(command)
            if not is_ok(reply):
                return None if reply is None else []
            lines = client.lines()
            if lines is None:
                return None
            numbers = [b"%d" % (self.mail.index(m) + 1) for m in left]
            if numbers != [l.split(b" ")[0] for l in lines]:
                raise Wrong("%r: %r" % (command, lines))
            return list(zip(left, (l.split(b" ")[1] for l in lines)))

        if is_exact and not is_ok(reply):
            raise Wrong("greeting: %r" % reply)
        if not is_ok(reply):
            return
        if reply != b"+OK %d messages" % len(self.mail):
            raise Wrong("greeting: %r" % reply)
        total = sum(len(m.wire) for m in self.mail)
        reply = ask(b"STAT")
        if reply is None:
            return
        if is_ok(reply):
            count, octets = map(int, re.findall(rb"[0-9]+", reply))
            if count != len(self.mail) or \
                    (octets != total and not (may_differ and octets < total)):
                raise Wrong("%r, not %d %d" % (reply, len(self.mail), total))
        for command in (b"UIDL", b"LIST"):
            answers = all_of(command, self.mail)
            if answers is None:
                return
            for m, text in answers:
                if command == b"LIST":
                    size("LIST", m, int(text))
                elif text != self.uid(m):
                    raise Wrong("unique-id %r of %r" % (text, m.base))
        for number in self.retrieve:
            m = self.mail[number - 1]
            reply = ask(b"RETR %d" % number)
            if reply is None:
                return
            if not is_ok(reply):
                continue
            if reply != b"+OK message follows":
                size("RETR", m, int(reply.split()[1]))
            if not client.message(m.wire):
                if is_exact:
                    raise Wrong("RETR was cut short")
                return
            self.seen.add(m.base)
        reply = ask(b"TOP 4 1")
        if reply is None or (is_ok(reply) and not client.message(
                top(self.mail[3].data, 1))):
            return
        for number in self.delete:
            reply = ask(b"DELE %d" % number)
            if reply is None:
                return
            if is_ok(reply):
                self.deleted.add(self.mail[number - 1].base)
        for m, text in all_of(b"UIDL", [
                m for m in self.mail if m.base not in self.deleted]) or ():
            if text != self.uid(m):
                raise Wrong("unique-id %r of %r" % (text, m.base))
        if not client.is_closed():
            self.quit = b""
            self.quit = ask(b"QUIT") or b""

    def judge(self, is_exact, may_be_halfway=False):
        """What lies in the Maildir after that session; a move may have been
        halfway where it was killed, or could not go back."""
        listed = {m.base: m.path for m in self.mail}
        after = files_of(self.maildir)
        rest = dict(after)
        removed = []
        for path, (inode, data) in self.before.items():
            base, seen = base_of(path), seen_path(path)
            inode_listed = self.before[listed[base]][0]
            stays = after.get(path) == (inode, data)
            moved = seen != path and after.get(seen) == (inode, data)
            may_go = must_go = may_move = must_move = False
            if base in self.deleted and inode == inode_listed:
                may_go = self.quit is not None
                must_go = may_go and self.quit.startswith(b"+OK")
            elif base in self.seen and path == listed[base] and \
                    base not in self.deleted and seen != path:
                may_move = self.quit is not None
                must_move = is_exact
            if moved and path == listed[base]:
                rest.pop(seen, None)
            else:
                moved = False
            if stays:
                rest.pop(path)
            if not stays and not moved:
                removed.append((path, data))
            if stays and moved and not may_be_halfway:
                raise Wrong("%r has two names" % path)
            if moved and not may_move or not moved and must_move:
                raise Wrong("%r is seen: %s" % (path, moved))
            if not stays and not moved and not may_go:
                raise Wrong("%r is lost" % path)
            if (stays or moved) and must_go:
                raise Wrong("%r was not deleted" % path)
        if rest:
            raise Wrong("these came: %r" % sorted(rest))
        self.judge_quota(removed, is_exact)

    def judge_quota(self, removed, is_exact):
        if not self.quota:
            return
        counted = [data for path, data in removed
                   if b"T" not in path.partition(b":2,")[2]]
        line = b"-%d -%d\n" % (sum(map(len, counted)), len(counted))
        with open(self.maildir + b"/maildirsize", "rb") as f:
            got = f.read()
        if got != self.quota + line and (is_exact or got != self.quota):
            raise Wrong("maildirsize: %r" % got)

    def is_free(self):
        """The locks can be had at once."""
        fd = os.open(self.maildir, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Wrong("the directory is still locked") from None
        finally:
            os.close(fd)
        try:
            fd = os.open(self.maildir + b"/pop3d.lock", os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(
                "hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError:
            raise Wrong("pop3d.lock is still locked") from None
        finally:
            os.close(fd)

    def next(self, as_owner):
        """A session without faults, whose every octet has to be right."""
        mail = shown(self.maildir)
        octets = sum(len(m.wire) for m in mail)
        right = [b"+OK %d messages" % len(mail),
                 b"+OK %d %d" % (len(mail), octets),
                 b"+OK %d messages (%d octets)" % (len(mail), octets)]
        right += [b"%d %d" % (i, len(m.wire)) for i, m in enumerate(mail, 1)]
        right += [b".", b"+OK unique-ids follow"]
        right += [b"%d %s" % (i, self.uid(m)) for i, m in enumerate(mail, 1)]
        right += [b"."]
        for m in mail:
            right += [b"+OK %d octets" % len(m.wire), stuffed(m.wire) + b"."]
        right = b"\r\n".join(right + [b"+OK good bye", b""])
        script = b"STAT\r\nLIST\r\nUIDL\r\n" + b"".join(
            b"RETR %d\r\n" % i for i in range(1, len(mail) + 1)) + b"QUIT\r\n"
        index = index_of(self.maildir)
        got = subprocess.run(
            [BIN + "/pop3d", "-t", "-P", "Maildir"], input=script,
            cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=LIMIT, check=True, **as_owner).stdout
        if got != right:
            at = next(i for i in range(len(got) + 1)
                      if got[i:i + 1] != right[i:i + 1])
            raise Wrong("the next session: ... %r, not ... %r" % (
                got[max(0, at - 40):at + 80], right[max(0, at - 40):at + 80]))
        stray = set(os.listdir(self.maildir)) - OWN
        if index is not None and index == index_of(self.maildir):
            stray -= {b"pop3d.index.new"}  # nothing was to be saved
        stray -= {b"maildirsize"} if self.quota else set()
        stray -= {b"pop3d.uidl"} if self.former else set()
        stray |= set(os.listdir(self.maildir + b"/tmp"))
        if stray:
            raise Wrong("stray files: %r" % sorted(stray))


# The kinds of runs.  Each has scenarios; build() before the Maildirs settle,
# prime() after it, then run() under strace.

class Run:
    begin = re.compile(rb'fcntl\(0.*F_GETFD')  # the first call of main's
    settles = True
    constant = ()  # more of strace's injections, for every run
    safe = SAFE

    def __init__(self, home, scenario):
        self.home, self.scenario = home, scenario
        os.mkdir(home)
        self.trace, self.log = home + "/trace", home + "/log"
        self.build()

    def prime(self):
        pass

    def strace(self, fault):
        call = fault.split(":")[0] if fault else "all"
        names = {call, "execve", *(c.split(":")[0] for c in self.constant)}
        command = ["strace", "-qq", "-y", "-o", self.trace, "-e",
                   "trace=" + ("all" if call == "all" else
                               ",".join(sorted(names)))]
        for inject in (fault, *self.constant):
            if inject:
                command += ["-e", "inject=" + inject]
        return command

    def shell(self, fault):
        return shlex.join([a for a in self.strace(fault)
                           if a not in ("-o", self.trace)] + self.command())

    def traced(self):
        with open(self.trace, "rb") as f:
            return f.read()

    def happened(self, fault):
        return re.search(rb"(?m)^%s\(.*\(INJECTED\)$" %
                         fault.split(":")[0].encode(), self.traced())

    def check_log(self):
        with open(self.log, "rb") as f:
            log = f.read()
        if b"Sanitizer" in log or b"runtime error" in log:
            raise Wrong(log.decode(errors="replace"))

    def check_end(self, fault, code, answered):
        """The exit code; returns whether the process was killed."""
        self.check_log()
        killed = code == -signal.SIGKILL and "signal=KILL" in (fault or "")
        if not killed and (code < 0 or (code != 0 and answered)
                           or code not in (0, 111)):
            raise Wrong("exit code %d" % code)
        return killed

    def calls(self):
        """Of the run so far, from main on: each call, the how-manieth of its
        kind it is, and its line in the trace."""
        counts, found, begun = {}, [], False
        for line in self.traced().splitlines():
            match = re.match(rb"(\w+)\(", line)
            if not match:
                continue
            call = match.group(1).decode()
            if call == "execve" and begun and line.endswith(b" = 0"):
                break
            counts[call] = counts.get(call, 0) + 1
            begun = begun or bool(self.begin.search(line))
            if begun:
                found.append((call, counts[call], line.decode("latin1")))
        if not found:
            raise Wrong("no calls were seen: %r" % self.traced()[:2000])
        return found

    def faults(self):
        """Each fault, and the line in the trace of the call that it hits."""
        taken = {inject.split(":")[0] for inject in self.constant}
        for call, number, line in self.calls():
            if call in taken:
                continue
            # What a kernel says where a break cannot be set.
            how = ["retval=0"] if call == "brk" else \
                ["error=ENOMEM"] if call in MEMORY else \
                ["error=" + e for e in ERRORS]
            if call in self.safe:
                how = []
            for h in how:
                yield "%s:%s:when=%d" % (call, h, number), line
            if call not in self.safe:
                yield "%s:%s:when=%d+" % (
                    call, "retval=0" if call == "brk" else
                    "error=" + LASTING.get(call, "EIO"), number), line
            yield "%s:signal=KILL:when=%d" % (call, number), line


class Session(Run):
    """pop3d -t, as the mailbox's owner."""
    scenarios = ("none", "pipes", "fresh", "append", "quota", "twins",
                 "former", "leftover", "links")

    def build(self):
        mail, s = dict(MAIL), self.scenario
        more = {}
        retrieve, delete = [1, 3, 6, 2], [2, 7, 8]
        if s == "append":
            mail.update((b"cur/%d.m:2," % i, b"A: %d\n" % i)
                        for i in range(2000, 2028))
            retrieve, delete = [1], [2]
        if s == "quota":
            more["quota"] = b"1000000S\n12345 8\n"
            delete = [2, 6, 7]
        if s == "former":
            more["former"] = {b"1000.a": b"one", b"1006.g": b"seven",
                              b"1003.d": b"four"}
        if s == "links":
            self.constant = ("renameat2:error=ENOSYS",)
        if s == "former":
            # Dumpable, so that the trace has the names of files.
            self.constant = ("prctl:retval=0:when=2",)
        self.drop = Maildrop(self.home, mail, retrieve, delete, **more)
        maildir = self.drop.maildir
        if s == "twins":
            # Of one file, as a killed mover leaves it; and of two.
            os.link(maildir + b"/new/1006.g", maildir + b"/cur/1006.g:2,")
            write(maildir + b"/new/1007.h", PLAIN)
            write(maildir + b"/new/1001.b:2,F", CRLF)

    def prime(self):
        if self.scenario in ("fresh", "append", "quota", "former", "leftover"):
            subprocess.run(
                [BIN + "/pop3d", "-t", "-P", "Maildir"], cwd=self.home,
                input=b"STAT\r\nQUIT\r\n", stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=LIMIT, check=True)
        if self.scenario == "append":
            write(self.drop.maildir + b"/new/3000.z", PLAIN)
        if self.scenario == "leftover":
            write(self.drop.maildir + b"/pop3d.index.new", b"pop3dix1")
        self.drop.start()

    def faults(self):
        for fault, line in super().faults():
            # A file that may not be read is none.
            if "EACCES" not in fault or "pop3d.uidl" not in line:
                yield fault, line

    def command(self):
        return [BIN + "/pop3d", "-t"] + (
            ["-v"] if self.scenario == "former" else []) + ["Maildir"]

    def run(self, fault):
        drop, call = self.drop, (fault or "").split(":")[0]
        with open(self.log, "wb") as log:
            client = Client(self.strace(fault) + self.command(), self.home,
                            self.scenario in ("pipes", "leftover"), log)
        try:
            drop.talk(client, client.status(), not fault, call in (
                "openat", "read", "fstat", "newfstatat", "statx"))
            code = client.end()
        finally:
            client.kill()
        killed = self.check_end(fault, code, client.has_heard)
        # Only what carries it keeps the answer back.
        if drop.quit == b"" and not killed and \
                call not in ("write", "sendto", "poll", "read", "recvfrom"):
            raise Wrong("QUIT was not answered")
        drop.judge(not fault, killed or (
            call == "unlinkat" and fault.endswith("+")))
        drop.is_free()
        drop.next({})


class Monitor(Run):
    """A whole pop3d; only the monitor fails."""
    scenarios = ("right", "wrong", "thrice", "gone")
    settles = False
    # A close that fails has closed all the same; strace's has not.
    safe = SAFE | {"close"}

    def build(self):
        self.drop = Maildrop(self.home, MAIL, [1, 3], [2, 7])
        self.users, self.root = self.home + "/users", self.home + "/empty"
        write(self.users, b"joe:{PLAIN}secret:%d:%d::%s:\n" % (
            UID, GID, os.fsencode(self.home)))
        os.mkdir(self.root, 0o755)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "%d:%d" % (UID, GID),
                            self.drop.maildir], check=True)
        self.as_owner = {"user": UID, "group": GID, "extra_groups": []} \
            if os.geteuid() == 0 else {}

    def prime(self):
        self.drop.start()

    def command(self):
        return [BIN + "/pop3d", "-c", "-r", self.root, "-h", "mail",
                BIN + "/pop3d-checkpassword", "-f", self.users]

    def strace(self, fault):
        # The wait after a wrong password is as good as over, see `quick`.
        if not (fault or "").startswith("poll:"):
            self.constant = ("poll:retval=1",)
        return super().strace(fault)

    def faults(self):
        self.constant = ()
        return super().faults()

    def run(self, fault):
        with open(self.log, "wb") as log:
            client = Client(self.strace(fault) + self.command(), self.home,
                            log=log, start_new_session=True)
        try:
            self.talk(client, not fault)
            code = client.end(self.scenario == "gone")
            self.check_end(fault, code, client.has_heard)
        finally:
            client.kill()
            left = self.left_over()
        if left:
            raise Wrong("left over: %r" % left)
        self.drop.judge(not fault)
        self.drop.is_free()
        self.drop.next(self.as_owner)

    def talk(self, client, is_exact):
        drop = self.drop
        drop.deleted, drop.seen, drop.quit = set(), set(), None
        reply = client.status()
        if is_exact and reply != b"+OK mail POP3 ready":
            raise Wrong("greeting: %r" % reply)
        secrets = {"right": (b"secret",), "wrong": (b"Secret", b"secret"),
                   "thrice": (b"a", b"b", b"c"),
                   "gone": (b"wrong",)}[self.scenario]
        for secret in secrets:
            if reply is None:
                return
            client.send(b"USER joe\r\n")
            reply = client.status()
            if reply is None:
                return
            client.send(b"PASS " + secret + b"\r\n")
            if self.scenario == "gone":
                return
            if secret == b"secret":
                # Once there is a session, no fault of the monitor's matters.
                reply = client.status()
                drop.talk(client, reply, is_exact, False)
                if (reply or b"").startswith(b"+OK") and \
                        (drop.quit or b"")[:3] != b"+OK":
                    raise Wrong("QUIT: %r" % drop.quit)
                return
            reply = client.status()
            if is_exact and not (reply or b"").startswith(b"-ERR [AUTH] "):
                raise Wrong("PASS: %r" % reply)
            if reply is not None and not reply.startswith(b"-ERR "):
                raise Wrong("PASS %s: %r" % (secret.decode(), reply))

    def left_over(self):
        """Processes that are still there; they are ended.  The worker is
        their reaper (see work)."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
            except ChildProcessError:
                return []
        found = []
        while pids := open("/proc/self/task/%d/children" % os.getpid(),
                           encoding="ascii").read().split():
            for pid in pids:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    found.append(f.read().replace(b"\0", b" ").decode())
                os.kill(int(pid), signal.SIGKILL)
                os.waitpid(int(pid), 0)
        return found


class Passwd(Run):
    """pop3d-passwd."""
    scenarios = ("plain", "hash", "add", "create", "delete")
    begin = re.compile(rb"rt_sigprocmask\(SIG_BLOCK, ~|open(at)?\(.*/users\"")
    settles = False
    old = b"# ours\nann:{PLAIN}a:1:2::/a:\njoe:{PLAIN}old:5:6:J:/j:/s:x\nz:{PLAIN}z\n"

    def build(self):
        self.folder = self.home + "/folder"
        self.file = self.folder + "/users"
        os.mkdir(self.folder)
        if self.scenario == "create":
            self.old = None
        else:
            write(self.file, self.old, 0o640)
        secret = rb"\$[!-9;-~]{20,}" if self.scenario == "hash" else \
            rb"\{PLAIN\}new"
        if self.scenario == "delete":
            self.new = re.escape(self.old.replace(
                b"joe:{PLAIN}old:5:6:J:/j:/s:x\n", b""))
        elif self.scenario in ("add", "create"):
            self.new = re.escape(self.old or b"") + b"eve:" + secret + b"::::::\n"
        else:
            self.new = re.escape(self.old).replace(
                re.escape(b"{PLAIN}old"), secret)

    def command(self):
        options = {"delete": "-d", "hash": "-i"}.get(self.scenario, "-ip")
        user = "eve" if self.scenario in ("add", "create") else "joe"
        return [BIN + "/pop3d-passwd", options, self.file, user]

    def once(self, command):
        with open(self.log, "wb") as log:
            return subprocess.run(
                command, input=b"new\n", stdout=log, stderr=log,
                timeout=LIMIT, check=False).returncode

    def content(self):
        try:
            with open(self.file, "rb") as f:
                mode = os.fstat(f.fileno()).st_mode & 0o777
                if mode != (0o600 if self.old is None else 0o640):
                    raise Wrong("mode %o" % mode)
                return f.read()
        except FileNotFoundError:
            return None

    def run(self, fault):
        code = self.once(self.strace(fault) + self.command())
        self.check_log()
        # arc4random_buf, which gives the salt, is not allowed to fail.
        killed = code == -signal.SIGKILL and "signal=KILL" in (fault or "") \
            or code == -signal.SIGABRT and "getrandom" in fault
        content = self.content()
        is_new = content is not None and re.fullmatch(self.new, content)
        # An empty file has no users, as none has.
        is_old = content == self.old or (self.old is None and content == b"")
        if not is_new and not is_old:
            raise Wrong("neither old nor new: %r" % content)
        if not killed and code not in ((0, 1, 111) if fault else (0,)):
            raise Wrong("exit code %d" % code)
        if code == 0 and not is_new:
            raise Wrong("exit code 0, and nothing has changed")
        if not killed and os.listdir(self.folder) not in ([], ["users"]) and \
                not fault.startswith("unlinkat:"):
            raise Wrong("left: %r" % os.listdir(self.folder))
        code = self.once(self.command())
        if code != 0 and not (self.scenario == "delete" and is_new):
            raise Wrong("the next run: exit code %d" % code)
        if not re.fullmatch(self.new, self.content()) or \
                os.listdir(self.folder) != ["users"]:
            raise Wrong("the next run: %r, %r" % (
                self.content(), os.listdir(self.folder)))


# Hashes of "secret" that cost little.
HASHES = {
    "yescrypt": b"$y$j75$CWozDI/6hj4T5mAU9K0oO.$"
                b"mai2F4MSwaJ0qC3YGOyI/.9DkgDVYbhMwWPFF3VpbX1",
    "sha512": b"$6$rounds=1000$saltsaltsaltsalt$cv7no.30n.S75jcCNBQv6o7WVXQ5"
              b"AaB1EpIeSKwsNupcnQDQ0DsukcAPRNjPumwKIBg2JK5ii9uw5enNnnA4N/",
}
PROBE = b"probe"


class Checkpassword(Run):
    """pop3d-checkpassword."""
    begin = re.compile(rb"geteuid\(\)")
    settles = False
    right = ("plain", "yescrypt", "sha512", "apop", "system")
    scenarios = right + tuple("not " + s for s in right) + ("nobody",)

    def build(self):
        self.kind = self.scenario.split()[-1]
        self.users = self.home + "/users"
        secret = HASHES.get(self.kind, b"{PLAIN}secret")
        write(self.users, b"ann:{PLAIN}a:1:2:::\njoe:%s:%d:%d::/usr:/bin/sh\n" %
              (secret, UID, GID))

    def command(self):
        if self.kind == "system":
            return [BIN + "/pop3d-checkpassword", "/bin/true"]
        return [BIN + "/pop3d-checkpassword", "-f", self.users, "/bin/true"]

    def faults(self):
        shadow = None
        for fault, line in super().faults():
            # getspnam of musl's does not say that it could not read; but the
            # program has just read the same file.
            if re.match(r"read\(.*/etc/shadow>", line):
                shadow = shadow or line
                if line is not shadow:
                    continue
            yield fault, line

    def run(self, fault):
        secret = b"secret" if self.scenario in self.right else b"Secret"
        env = {"AUTH_MECH": "USER"}
        stamp = b"<1.2@mail>"
        if self.kind == "apop":
            import hashlib
            env = {"AUTH_MECH": "APOP"}
            secret = hashlib.md5(stamp + secret).hexdigest().encode()
        user = {"nobody": b"eve", "system": PROBE}.get(self.kind, b"joe")
        theirs, ours = os.pipe()
        os.write(ours, user + b"\0" + secret + b"\0" + stamp + b"\0")
        os.close(ours)
        with open(self.log, "wb") as log:
            # strace passes descriptor 3 on.
            code = subprocess.run(
                ["sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh"] +
                self.strace(fault) + self.command(),
                stdin=theirs, stdout=log, stderr=log, env=dict(os.environ, **env), timeout=LIMIT,
                check=False).returncode
        os.close(theirs)
        self.check_log()
        killed = code == -signal.SIGKILL and "signal=KILL" in (fault or "")
        is_in = re.search(rb'(?m)^execve\("/bin/true".* = 0$', self.traced())
        if self.scenario in self.right:
            fine = is_in or (fault and (killed or code == 111))
        else:
            fine = not is_in and (killed or code in ((1, 111) if fault else (1,)))
        if not fine:
            raise Wrong("exit code %d, %s" % (code, "in" if is_in else "out"))


def own_accounts(folder):
    """A mount namespace, with a user more in the machine's accounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x20000) == -1 or \
            libc.mount(b"none", b"/", None, 0x44000, None) == -1:
        return False
    for name, line in (("passwd", b"probe:x:4242:4243::/usr:/bin/sh\n"),
                       ("shadow", b"probe:%s:19000:0:99999:7:::\n" %
                        HASHES["sha512"])):
        copy = "%s/%s" % (folder, name)
        with open("/etc/" + name, "rb") as f:
            write(copy, f.read() + line, 0o644 if name == "passwd" else 0o600)
        if libc.mount(copy.encode(), b"/etc/%s" % name.encode(), None, 0x1000,
                      None) == -1:
            return False
    return True


KINDS = {"session": Session, "monitor": Monitor, "passwd": Passwd,
         "checkpassword": Checkpassword}


# All of it.

def work(kind, folder, cases):
    """Runs a batch of (scenario, fault); yields what was wrong with each.
    With fault None, the faults there are instead."""
    # Orphans of the monitor's come to this process.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    folder += "/%d" % os.getpid()
    os.makedirs(folder, mode=0o755)
    runs, results = [], []
    try:
        for number, (scenario, fault) in enumerate(cases):
            runs.append((KINDS[kind]("%s/%d" % (folder, number), scenario),
                         fault))
        if KINDS[kind].settles:
            settle(*(run.drop.maildir for run, _ in runs))
        for run, fault in runs:
            wrong, happened = None, True
            try:
                run.prime()
                run.run(fault)
            except (Wrong, OSError, subprocess.SubprocessError) as e:
                wrong = "%s: %s" % (type(e).__name__, e)
            if fault is None:
                results.append((wrong, [] if wrong else list(run.faults())))
            else:
                if "KILL" not in fault and wrong is None:
                    happened = run.happened(fault)
                results.append((wrong and "%s\n  %s" % (
                    wrong, run.shell(fault)), bool(happened)))
            shutil.rmtree(run.home, ignore_errors=True)
    finally:
        shutil.rmtree(folder)
    return results


def batches(cases, workers):
    size = max(1, min(BATCH, -(-len(cases) // workers)))
    return [cases[i:i + size] for i in range(0, len(cases), size)]


def main():
    kind, folder = sys.argv[1], os.path.abspath(sys.argv[2])
    scenarios = sys.argv[3:4] or list(KINDS[kind].scenarios)
    which = tuple(sys.argv[4:6]) + ("", "")[len(sys.argv[4:6]):]
    os.makedirs(folder, exist_ok=True)
    if kind == "checkpassword":
        # glibc's NSS takes an error for an account that is not there.
        with open(BIN + "/pop3d-checkpassword", "rb") as f:
            is_static = b"\0/lib" not in f.read(4096)
        if not is_static or os.geteuid() != 0 or not own_accounts(folder):
            scenarios = [s for s in scenarios if "system" not in s]
    if not scenarios:
        sys.exit(77)
    if kind == "session" and os.geteuid() == 0:
        os.chown(folder, UID, GID)
        os.setgroups([])
        os.setgid(GID)
        os.setuid(UID)
    sys.exit(all_of(kind, folder, scenarios, *which))


def all_of(kind, folder, scenarios, prefix, pattern):
    workers = 2 * len(os.sched_getaffinity(0))
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        def do(cases):
            parts = batches(cases, workers)
            for part, results in zip(parts, pool.map(
                    work, [kind] * len(parts), [folder] * len(parts), parts)):
                yield from zip(part, results)

        passed = failed = missed = 0
        cases = []
        for (scenario, _), (wrong, faults) in do([(s, None)
                                                  for s in scenarios]):
            if wrong:
                print("not ok %s/%s without a fault: %s" % (
                    kind, scenario, wrong))
                failed += 1
            cases += [(scenario, fault) for fault, line in faults
                      if fault.startswith(prefix) and re.search(pattern, line)]
        # One whole, which need not be among them, is that one.
        if ":when=" in prefix:
            cases = [(scenarios[0], prefix)]
        random.Random(os.environ.get("FAULT_SEED", "1")).shuffle(cases)
        if os.environ.get("FAULT_SAMPLE", "all") != "all":
            cases = cases[:int(os.environ["FAULT_SAMPLE"])]
        for (scenario, fault), (wrong, happened) in do(cases):
            passed += wrong is None
            failed += wrong is not None
            missed += not happened
            if wrong:
                print("not ok %s/%s %s: %s" % (kind, scenario, fault, wrong),
                      flush=True)
    print("# %s: %d faults did not come to pass" % (kind, missed))
    print("%d passed, %d failed" % (passed, failed))
    return failed > 0 or passed == 0


if __name__ == "__main__":
    main()
