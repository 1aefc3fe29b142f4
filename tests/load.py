#!/usr/bin/env python3
"""Many clients of one tcpserver at once, for load.bats.

load.py room COUNT            says why COUNT sessions do not fit in, if so
load.py homes DIR FIRST END   homes uFIRST ..., one small message in each
load.py big DIR COUNT OCTETS  homes u0 ..., one big message that they share
load.py idle DIR HELD MORE    HELD idle sessions, and MORE whole ones meanwhile
load.py stalled DIR COUNT MORE          COUNT readers stop reading, and leave
load.py cut DIR COUNT         the same, but they are cut off

The last three speak to tcpserver, process TCPSERVER, on PORT of 127.0.0.1; LIMIT
is what one connection may hold of memory, in KiB.
"""
import concurrent.futures
import fcntl
import os
import resource
import socket
import sys
import time

WAIT_SEC = 60
AT_ONCE = 8
SMALL = b"Subject: %d\n\nbody\n"


class Client:
    def __init__(self, receive_octets=None):
        self.sock = socket.socket()
        self.sock.settimeout(WAIT_SEC)
        if receive_octets:
            self.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        self.sock.connect(("127.0.0.1", int(os.environ["PORT"])))
        self.buffer = b""

    def line(self):
        while b"\r\n" not in self.buffer:
            data = self.sock.recv(4096)
            assert data, ("closed after", self.buffer)
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def ask(self, command):
        self.sock.sendall(command + b"\r\n")
        return self.line()

    def rest(self):
        """The lines of a multi-line answer behind its first."""
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1] == b".":
                return lines

    def login(self, number):
        assert self.line().startswith(b"+OK ")
        assert self.ask(b"USER u%d" % number).startswith(b"+OK ")
        return self.ask(b"PASS secret")

    def quit(self):
        assert self.ask(b"QUIT") == b"+OK good bye"
        assert self.sock.recv(1) == b""
        self.sock.close()


def all_at_once(function, items):
    """A few of them at a time, that is; fails with the first that fails."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def wait_until(condition, what):
    end = time.monotonic() + WAIT_SEC
    while not condition():
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.05)


# Processes


def processes():
    """The descendants of tcpserver, as (process, time of its start)."""
    children, starts = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, encoding="latin-1") as f:
                fields = f.read().rpartition(") ")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        starts[int(name)] = fields[19]
    found, queue = set(), [int(os.environ["TCPSERVER"])]
    while queue:
        for pid in children.get(queue.pop(), []):
            found.add((pid, starts[pid]))
            queue.append(pid)
    return found, set(starts.items())


def wait_gone(before):
    """Until none of those processes is there, nor any other below tcpserver."""
    def gone():
        below, there = processes()
        return not below and not before & there

    wait_until(gone, "processes are left")


def own_kib(pids):
    """The memory that these processes share with no file."""
    total = 0
    for pid, _ in pids:
        try:
            with open("/proc/%d/status" % pid, encoding="latin-1") as f:
                total += sum(int(line.split()[1]) for line in f
                             if line.startswith("RssAnon:"))
        except OSError:
            pass
    return total


def check_memory(pids, connections):
    each = own_kib(pids) / connections
    print("# %d processes, %d KiB a connection" % (len(pids), each))
    assert each <= int(os.environ["LIMIT"]), (each, "KiB a connection")


# Homes


def make_homes(folder, numbers, message):
    uid, gid = int(os.environ["TEST_UID"]), int(os.environ["TEST_GID"])
    for number in numbers:
        home = "%s/u%d" % (folder, number)
        for path in ("", "/Maildir", "/Maildir/new", "/Maildir/cur"):
            os.mkdir(home + path)
            os.chown(home + path, uid, gid)
        path = home + "/Maildir/new/1700000001.M1.host"
        if message is not None:
            os.link(message, path)
            continue
        with open(path, "wb") as f:
            f.write(SMALL % number)
        os.chown(path, uid, gid)


def make_big(folder, octets):
    path = folder + "/big"
    line = b"a line of the big message\n"
    with open(path, "wb") as f:
        f.write(line * (octets // len(line)))
    os.chown(path, int(os.environ["TEST_UID"]), int(os.environ["TEST_GID"]))
    return path


def files(folder, number):
    maildir = "%s/u%d/Maildir" % (folder, number)
    return sorted(d + "/" + name for d in ("new", "cur")
                  for name in os.listdir(maildir + "/" + d))


def check_free(folder, number):
    """Both locks of that maildrop can be had."""
    maildir = "%s/u%d/Maildir" % (folder, number)
    fd = os.open(maildir, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    with open(maildir + "/pop3d.lock", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)


# What the tests do


def whole(folder, number, sessions):
    """So many sessions of one user, one after the other; the last deletes."""
    text = (SMALL % number).replace(b"\n", b"\r\n")
    for i in range(sessions):
        client = Client()
        assert client.login(number) == b"+OK 1 messages"
        assert client.ask(b"STAT") == b"+OK 1 %d" % len(text)
        assert client.ask(b"UIDL 1") == b"+OK 1 1700000001.M1.host"
        assert client.ask(b"RETR 1") == b"+OK %d octets" % len(text)
        assert b"\r\n".join(client.rest()) == text + b"."
        if i == sessions - 1:
            assert client.ask(b"DELE 1") == b"+OK message 1 deleted"
        client.quit()
        left = [] if i == sessions - 1 else ["cur/1700000001.M1.host:2,S"]
        assert files(folder, number) == left, files(folder, number)


def begin_idle(number):
    client = Client()
    assert client.login(number) == b"+OK 1 messages"
    return client


def idle(folder, held, more):
    clients = all_at_once(begin_idle, range(held))
    before, _ = processes()
    # A monitor and a session each; greeters may still be going.
    assert len(before) >= 2 * held, len(before)
    check_memory(before, held)
    each = more // 100 or 1
    all_at_once(lambda number: whole(folder, number, each),
                range(held, held + more // each))
    # They are all still there, and hold their maildrops.
    other = Client()
    assert other.login(held // 2).startswith(b"-ERR [IN-USE] ")
    for client in clients:
        client.sock.sendall(b"NOOP\r\n")
    for client in clients:
        assert client.line() == b"+OK nothing done"
    for client in clients[::2]:
        client.sock.sendall(b"QUIT\r\n")
    for i, client in enumerate(clients):
        if i % 2 == 0:
            assert client.line() == b"+OK good bye"
        client.sock.close()
    wait_gone(before)
    for number in range(held):
        check_free(folder, number)
        assert files(folder, number) == ["new/1700000001.M1.host"]


def begin_reading(number):
    client = Client(4096)
    assert client.login(number) == b"+OK 1 messages"
    assert client.ask(b"RETR 1").startswith(b"+OK ")
    assert client.line() == b"a line of the big message"
    return client


def stalled(folder, count, more):
    clients = all_at_once(begin_reading, range(count))
    before, _ = processes()
    assert len(before) >= 2 * count, len(before)
    all_at_once(lambda number: whole(folder, number, 1),
                range(count, count + more))
    # Nobody was let go, and nobody took more memory for it.
    now, _ = processes()
    assert len(now & before) >= 2 * count, len(now & before)
    check_memory(now & before, count)
    for client in clients:
        client.sock.close()
    wait_gone(before)


def cut(folder, count):
    clients = all_at_once(begin_reading, range(count))
    before, _ = processes()
    wait_gone(before)
    # What had left is what the client has, without an end.
    for client in clients[:3]:
        data = client.buffer
        try:
            while len(data) < 60000000:
                part = client.sock.recv(65536)
                if not part:
                    break
                data = data[-8:] + part
        except ConnectionResetError:
            pass
        assert not data.endswith(b"\r\n.\r\n")
    for number in range(count):
        check_free(folder, number)
        assert files(folder, number) == ["new/1700000001.M1.host"]


def lack(count):
    """What keeps so many sessions from running here, or None."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < count + 64:
        return "open files are limited to %d" % hard
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.getuid() != 0 and hard not in (-1, resource.RLIM_INFINITY) and \
            hard < 3 * count:
        return "processes of a user are limited to %d" % hard
    for path, most in (("/proc/sys/kernel/pid_max", 3 * count),
                       ("/sys/fs/cgroup/pids.max", 3 * count)):
        try:
            with open(path, encoding="ascii") as f:
                text = f.read().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < most:
            return "%s is %s" % (path, text)
    with open("/proc/meminfo", encoding="ascii") as f:
        free = [int(line.split()[1]) for line in f
                if line.startswith("MemAvailable:")]
    need = count * (int(os.environ["LIMIT"]) + 512)
    if free and free[0] < need:
        return "%d KiB of memory are free, not %d" % (free[0], need)
    return None


def main():
    action, arguments = sys.argv[1], sys.argv[2:]
    if action == "room":
        print(lack(int(arguments[0])) or "", end="")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder, numbers = arguments[0], [int(a) for a in arguments[1:]]
    if action == "homes":
        make_homes(folder, range(*numbers), None)
    elif action == "big":
        big = make_big(folder, numbers[1])
        make_homes(folder, range(numbers[0]), big)
    else:
        {"idle": idle, "stalled": stalled, "cut": cut}[action](
            folder, *numbers)


main()
