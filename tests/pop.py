#!/usr/bin/env python3
"""Speaks a POP3 script, from standard input, to a program or a port.

pop.py [--by socket|nonblock|pipe|[ADDRESS:]PORT|/PATH] [--from ADDRESS]
       [--how lines|whole|octets] [-k] [--stls] [-- program ...]

--by: the program's descriptors 0 and 1 are a socket (default), one with
      O_NONBLOCK, or pipes; or PORT on 127.0.0.1 or another ADDRESS, or a
      UNIX socket, is connected to.
--from: the address to connect from.
--how: lines   step by step, each reply awaited (default)
       whole   all in one segment
       octets  octet by octet
--stls: goes on in TLS after an STLS that was answered +OK
      It must be the first line if all comes in one segment.
-k:   does not end its output when the script ends (the script has a QUIT).
Prints every octet that came back; its exit code is the program's.
"""
import argparse
import os
import socket
import ssl
import subprocess
import sys

LIMIT = 60


class Link:
    """Both directions of a connection, over whatever it is made of."""

    def __init__(self, by, program, source=""):
        self.child = None
        if by.startswith("/"):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(by)
        elif by[-1].isdigit():
            address, _, port = by.rpartition(":")
            self.sock = socket.create_connection(
                (address or "127.0.0.1", int(port)),
                source_address=(source, 0))
        elif by in ("socket", "nonblock"):
            self.sock, other = socket.socketpair()
            other.setblocking(by == "socket")
            self.child = subprocess.Popen(program, stdin=other, stdout=other)
            other.close()
        else:
            self.sock = None
            self.child = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.sock:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self.sock.settimeout(LIMIT)
        self.buffer = b""

    def send(self, data):
        try:
            if self.sock:
                self.sock.sendall(data)
            else:
                os.write(self.child.stdin.fileno(), data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def end(self):
        try:
            if self.sock:
                self.sock.shutdown(socket.SHUT_WR)
            else:
                self.child.stdin.close()
        except OSError:
            pass

    def begin_tls(self):
        """Whoever is there: the tests have a certificate of their own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self.sock = context.wrap_socket(self.sock)
        except OSError as error:
            sys.stderr.write("pop.py: no TLS: %s\n" % error)
            sys.exit(3)

    def more(self):
        """Appends what comes next to the buffer; False at the end."""
        try:
            if self.sock:
                data = self.sock.recv(65536)
            else:
                data = os.read(self.child.stdout.fileno(), 65536)
        except ConnectionResetError:
            sys.stderr.write("pop.py: connection reset\n")
            data = b""
        sys.stdout.buffer.write(data)
        self.buffer += data
        return bool(data)

    def line(self):
        while b"\n" not in self.buffer:
            if not self.more():
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")


def is_multi(command):
    words = command.upper().split()
    if not words:
        return False
    if words[0] in (b"RETR", b"TOP", b"CAPA"):
        return True
    return words[0] in (b"LIST", b"UIDL", b"AUTH") and len(words) == 1


def step_by_step(link, script, stls):
    link.line()
    for command in script:
        link.send(command)
        reply = link.line()
        if reply is None:
            return
        if stls and reply.startswith(b"+OK") and command.strip() == b"STLS":
            sys.stdout.flush()
            link.begin_tls()
        if reply.startswith(b"+OK") and is_multi(command):
            while True:
                line = link.line()
                if line is None or line == b".":
                    break


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", default="socket")
    parser.add_argument("--from", dest="source", default="")
    parser.add_argument("--how", default="lines")
    parser.add_argument("-k", dest="keep", action="store_true")
    parser.add_argument("--stls", action="store_true")
    parser.add_argument("program", nargs="*")
    options = parser.parse_args()
    script = sys.stdin.buffer.read()
    link = Link(options.by, options.program, options.source)
    if options.stls and options.how == "whole":
        stls, script = script.split(b"\n", 1)
        step_by_step(link, [stls + b"\n"], True)
    if options.how == "lines":
        step_by_step(link, script.splitlines(keepends=True), options.stls)
    elif options.how == "whole":
        link.send(script)
    else:
        for octet in script:
            link.send(bytes([octet]))
    if not options.keep and not options.stls:
        link.end()
    while link.more():
        pass
    sys.stdout.flush()
    if link.sock:
        link.sock.close()
    if link.child:
        code = link.child.wait(LIMIT)
        sys.exit(code if code >= 0 else 128 - code)


main()
