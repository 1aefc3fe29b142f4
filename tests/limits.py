#!/usr/bin/env python3
"""Clients that go to the limits, for limits.bats.

limits.py ACTION PORT [login]: with "login" it is the session that is tried,
not the greeter; joe's password is "secret".  Fails if a limit does not hold.
TCPSERVER is the server's process, LIMIT what memory may grow by, in KiB.
"""
import os
import select
import socket
import sys
import time

WAIT_SEC = 20
MUCH = 1 << 22  # more than a server reads at a time, so that more is there
RESET = (ConnectionResetError, BrokenPipeError)


class Client:
    def __init__(self, port, login):
        self.sock = socket.socket()
        # Little room, so that what is not read stays with the server.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MUCH)
        self.sock.settimeout(WAIT_SEC)
        self.sock.connect(("127.0.0.1", port))
        self.buffer = b""
        assert self.line().startswith(b"+OK ")
        if login:
            assert self.ask(b"USER joe").startswith(b"+OK ")
            assert self.ask(b"PASS secret").startswith(b"+OK ")

    def line(self):
        while b"\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed after %r" % self.buffer)
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def ask(self, command):
        self.sock.sendall(command + b"\r\n")
        return self.line()

    def flood(self, data):
        """Sends it again and again, reading nothing, until the server has
        closed."""
        end = time.monotonic() + WAIT_SEC
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT | select.POLLRDHUP)
        self.sock.setblocking(False)
        while time.monotonic() < end:
            events = poll.poll(1000)
            if events and events[0][1] & ~select.POLLOUT:
                return
            try:
                self.sock.send(data)
            except BlockingIOError:
                pass
            except RESET:
                return
        raise AssertionError("it goes on and on")


def unended(client):
    """One line without an end, as fast as it goes: nothing else is said."""
    client.flood(b"x" * MUCH)


def unread(client):
    """Commands whose answers are never read."""
    client.flood(b"CAPA\r\n" * 1000)


def steady(client):
    """Whole commands, one after the other, each answer read."""
    end = time.monotonic() + WAIT_SEC
    try:
        while True:
            client.ask(b"CAPA")
            while client.line() != b".":
                pass
            time.sleep(0.1)
            assert time.monotonic() < end, "it goes on and on"
    except RESET:
        pass


def flooded(client):
    """The same without a pause: there is always another one to be read."""
    end = time.monotonic() + WAIT_SEC
    commands = b"CAPA\r\n" * 1000
    data = commands
    try:
        while time.monotonic() < end:
            ready = select.select([client.sock], [client.sock], [], 1)
            if ready[0] and not client.sock.recv(1 << 20):
                return
            if ready[1]:
                data = data[client.sock.send(data):] or commands
    except RESET:
        return
    raise AssertionError("it goes on and on")


def behind_quit(client):
    """No end of input behind a QUIT."""
    assert client.ask(b"QUIT").startswith(b"+OK ")
    end = time.monotonic() + WAIT_SEC
    try:
        while time.monotonic() < end:
            client.sock.sendall(b"x" * MUCH)
    except RESET:
        return
    raise AssertionError("it goes on and on")


def trickle(client):
    """Half a line, octet by octet, costs no CPU to speak of."""
    def ticks():
        total = 0
        for pid in processes():
            with open("/proc/%d/stat" % pid, encoding="latin-1") as f:
                fields = f.read().rpartition(") ")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total

    two_processes()
    before = ticks()
    for _ in range(100):
        client.sock.sendall(b"x")
        time.sleep(0.01)
    assert ticks() - before <= 5, (before, ticks())


def processes():
    """Those below tcpserver: the monitor, and the greeter or the session."""
    found, queue = [], [os.environ["TCPSERVER"]]
    while queue:
        pid = queue.pop()
        try:
            with open("/proc/%s/task/%s/children" % (pid, pid),
                      encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            children = []
        found += map(int, children)
        queue += children
    return found


def two_processes():
    """Where there was a login, the greeter may still be going."""
    end = time.monotonic() + WAIT_SEC
    while len(processes()) != 2:
        assert time.monotonic() < end, processes()
        time.sleep(0.05)


def peaks():
    """What each of them has had at most, in KiB."""
    found = {}
    for pid in processes():
        with open("/proc/%d/status" % pid, encoding="latin-1") as f:
            found[pid] = [int(line.split()[1]) for line in f
                          if line.startswith("VmHWM:")][0]
    return found


def in_bounds(client, action, little, much):
    """The server takes no more memory for much than for little."""
    action(client, little)
    two_processes()
    before = peaks()
    action(client, much)
    after = peaks()
    assert before.keys() == after.keys()
    for pid, kib in after.items():
        assert kib - before[pid] <= int(os.environ["LIMIT"]), (before, after)


def send_line(client, megabytes):
    for _ in range(megabytes * 10):
        client.sock.sendall(b"x" * 100000)
    client.sock.sendall(b"\r\n")
    assert client.line().startswith(b"-ERR ")


def pipeline(client, total):
    """So many commands; the first answer is read when no more can be sent."""
    data, answers, tail = b"CAPA\r\n" * total, 0, b""
    client.sock.setblocking(False)
    while answers < total:
        if data and select.select([], [client.sock], [], 0.2)[1]:
            data = data[client.sock.send(data):]
            continue
        assert select.select([client.sock], [], [], WAIT_SEC)[0], answers
        part = client.sock.recv(1 << 20)
        assert part, ("closed after", answers)
        part = tail + part
        answers += part.count(b"\r\n.\r\n")
        tail = part[-4:]
    assert answers == total
    client.sock.settimeout(WAIT_SEC)


def respond(client, octets):
    assert client.ask(b"AUTH PLAIN") == b"+ "
    assert client.ask(b"A" * octets).startswith(b"-ERR ")
    assert client.ask(b"AUTH LOGIN").startswith(b"+ ")
    assert client.ask(b"A" * octets).startswith(b"-ERR ")
    assert client.ask(b"AUTH PLAIN " + b"A" * octets).startswith(b"-ERR ")


def long_line(client):
    in_bounds(client, send_line, 1, 50)


def pipelined(client):
    in_bounds(client, pipeline, 2000, 100000)


def responses(client):
    in_bounds(client, respond, 12286, 1000000)


def main():
    client = Client(int(sys.argv[2]), len(sys.argv) > 3)
    globals()[sys.argv[1]](client)


main()
