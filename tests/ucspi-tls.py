#!/usr/bin/env python3
"""A UCSPI-TLS wrapper, for one connection, over descriptors 0 and 1.

ucspi-tls.py [option ...] certificate key program [arg ...]

Starts the program with the client's descriptors and, for when it wants TLS,
SSLCTLFD, SSLREADFD and SSLWRITEFD.  When a y comes over the first of them it
does the handshake and goes between the client and the other two; after a Y it
reports the connection's environment as well.

--by pipe|socket: what SSLREADFD and SSLWRITEFD are
--report FILE: reports these octets instead, and goes on
--vanish: ends when it is asked for TLS
--stall: answers nothing
--rest FILE: keeps what the client has sent behind STLS, up to a PASS secret,
    and ends
"""
import argparse
import os
import selectors
import socket
import ssl
import sys


def environment(tls):
    cipher, version, bits = tls.cipher()
    return b"".join(b"%s=%s\0" % (name, str(value).encode()) for name, value in (
        (b"SSL_PROTOCOL", tls.version()), (b"SSL_CIPHER", cipher),
        (b"SSL_CIPHER_USEKEYSIZE", bits), (b"SSL_VERSION_INTERFACE", version))) + b"\0"


def relay(tls, to, back):
    """Until either side has ended."""
    select = selectors.DefaultSelector()
    select.register(tls, selectors.EVENT_READ)
    select.register(back, selectors.EVENT_READ)
    while True:
        for key, _ in select.select():
            if key.fileobj is back:
                data = os.read(back, 65536)
                if not data:
                    tls.unwrap()
                    return
                tls.sendall(data)
                continue
            while True:
                data = tls.recv(65536)
                if not data:
                    return
                os.write(to, data)
                if not tls.pending():
                    break


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", default="pipe", choices=("pipe", "socket"))
    parser.add_argument("--report")
    parser.add_argument("--vanish", action="store_true")
    parser.add_argument("--stall", action="store_true")
    parser.add_argument("--rest")
    parser.add_argument("certificate")
    parser.add_argument("key")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    args = parser.parse_args()

    control, other = socket.socketpair()
    if args.by == "pipe":
        read, to = os.pipe()
        back, write = os.pipe()
    else:
        pairs = [socket.socketpair() for _ in range(2)]
        (read, to), (write, back) = ((a.detach(), b.detach()) for a, b in pairs)
    theirs = (other.fileno(), read, write)
    if os.fork() == 0:
        control.close()
        os.close(to)
        os.close(back)
        for name, fd in zip(("SSLCTLFD", "SSLREADFD", "SSLWRITEFD"), theirs):
            os.set_inheritable(fd, True)
            os.environ[name] = str(fd)
        os.execvp(args.program[0], args.program)
    other.close()
    os.close(read)
    os.close(write)
    os.close(1)
    word = control.recv(1)
    client = socket.socket(fileno=0)
    if not word or args.vanish:
        return
    if args.stall:
        control.recv(1)
        return
    if args.rest:
        with open(args.rest, "wb") as file:
            data = b""
            while not data.endswith(b"PASS secret\r\n"):
                data = client.recv(65536)
                file.write(data)
                if not data:
                    break
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.certificate, args.key)
    try:
        tls = context.wrap_socket(client, server_side=True)
        if args.report:
            with open(args.report, "rb") as file:
                control.sendall(file.read())
        elif word == b"Y":
            control.sendall(environment(tls))
        relay(tls, to, back)
    except (ssl.SSLError, OSError):
        sys.exit(1)


main()
