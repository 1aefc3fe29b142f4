#!/usr/bin/env python3
"""Writes seeds for the fuzz targets to fuzz/seeds/TARGET, from what the tests
send (tests/*.bats) and from the table below.  Files that are there stay: among
them are the inputs that once failed.  To be run when the tests have grown."""
import glob
import hashlib
import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
# What a target takes before the octets that a client sends.
HEADS = {"authorization": b"#0\0\0", "transaction": b"\x08\0\0"}

TABLE = {
    "authorization": [
        b"#\0\0\0CAPA\r\nUSER \1\r\nAUTH PLAIN \1\1\1\r\nAUTH LOGIN \1\1AAA=\r\n\1\1\1AAAA"
        b"\r\n\1\1\1\1\r\nPASS \1\r\nQUIT\r\n"],
    "transaction": [
        b"\0\0\0retr 2\r\ntop 2 3\nTOP 4 0\r\ndele 2\r\nRETR 6\r\nQUIT\r\n",
        b"\x0d\5\0UIDL 4\r\nDELE 4\r\nRSET\r\nLAST\r\nLIST 7 \t\r\nCAPA\r\n",
        b"\x02\7\xa0LIST\r\nRETR 3\r\nRETR 1\r\nDELE 3\r\nQUIT\r\nNOOP\r\n"],
    "sasl": [
        b"\0\0\0\3joe\6secret", b"\1\7\0\3joe\6secret", b"\2\0\3joe\3joe\1x",
        b"\3\5\0\0\1x", b"\0\0\4root\3joe\1x", b"AGpvZQBzZWNyZXQ="],
    "request": [
        b"\0" + struct.pack("=H", 0) + b"joe\0secret\0\0",
        b"\0" + struct.pack("=H", 1) + b"joe\0" + b"0" * 32 + b"\0<1.2.3@x>\0",
        b"\1" + struct.pack("=H", 2) + b"joe\0\0x"],
    "proxy": [
        b"\0\0\1PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\r\nUSER joe\r\n",
        b"\1\0\7PROXY TCP6 2001:db8::7 2001:db8::9 4711 110\r\n",
        b"\2\3\0PROXY UNKNOWN\r\n",
        b"\0\5\1\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\2\7\xc6\x33\x64\x09"
        b"\0\1\0\2\x20\0\5\1\0\0\0\0",
        b"\0\5\1\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        # The sum is right.
        b"\0\0\0\r\n\r\n\0\r\nQUIT\n\x21\0\0\7\3\0\4>\xc9\x89N"],
    "tls": [
        b"\0SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER\0\0", b"\7PATH=/\0SSL_=\0=x\0\0x",
        b"\3SSL_A\0ssl_b=c\0"],
    "lock": [
        b"since=2024-01-02T03:04:05Z ip=192.0.2.1 pid=123\n",
        b"since=2024-01-02T03:04:05Z pid=123\n", b"since=\n", b"since=1 ip=\n"],
    "log": [b"joe\0192.0.2.1\0x", b'"joe" \\\n\0ip=1\0\xff', b"-\0\0="],
    "names": [
        b"1700000001.M1P1.host,S=12:2,\n1700000002.M2P1.host:2,FS\n",
        b"x\nx:2,RS\nx:1,a\n \n\xff\n" + b"n" * 71 + b"\n",
        b"99999999999999999999a\n99999999999999999999b\n:2,T\n"],
    "uidl": [
        b"a\nb:2,S\n\na 1\nb 2\n", b"a\nb\n\na b\n", b"a\nb\n\na 1\nb 1\na 2\n",
        b"a b\n\na b c\nx\n y\nz:2,S \x7f\n"],
    "wire": [
        b"\0\0Subject: x\n\n.\n..\nbody", b"\5\1a: b\r\n\r\n1\r\n2\r\n3\r",
        b"\7\0\n.x\r\r\n\0\xff\n", b"\3\2" + b"12345678\n" * 4 + b".......\r"],
    "checkpassword": [
        b"\0joe\0secret\0\0/home/%u\0joe:{PLAIN}secret\n",
        b"\1joe@x\0fits\0<1.2@x>\0\0/%d/%n\0# users\njoe@x:$1$12345678$x:7:8::"
        b"/home:/bin/sh\njoe@x:y\n", b"\2a\0b\0\0%%\0:x\na:{CRYPT}!\na:{plain}b:-1"
        b"\n\na:{plain}b::4294967295\na:{plain}b"],
    "passwd": [
        b"\0joe\0secret\0joe:x:1:2::/:/bin/sh\nann:y\n", b"\1joe\0\0joe:x\njoe:y",
        b"\2joe\0a:b\0joey:x\n#\n\njoe\njo:e:", b"\0joe\0x\0ann:y"],
}


def index(count, records):
    """A pop3d.index, its checksums left to the target; octets -1: removed."""
    body = b""
    for number, (name, octets) in enumerate(records):
        name += bytes(8 - (20 + len(name)) % 8)
        body += struct.pack("=QQHBB", octets & 2**63 - 1, 1, 20 + len(name),
                            octets >= 0, number % 2) + name
    return b"\1" + b"pop3dix2" + struct.pack(
        "=6Q", count, 0, 0, 144 + len(body), 9, 0) + bytes(88) + body


TABLE["index"] = [
    index(2, [(b"1.a:2,S", 10), (b"2.b", 20)]),
    index(2, [(b"1.a", 10), (b"2.b", 20), (b"1.a:2,S", -1), (b"3.c", 30)]),
    index(0, []), b"\4\0abc\0abc\3\0abc\5\3\6\3\xff\0abc\3",
]


def words(line):
    """The words of `lines '...' ...`, if all of them are literal."""
    if not re.fullmatch(r"(\s*('[^'\n]*'|[A-Z0-9]+|\\\n))+\s*", line):
        return None
    return [a or b for a, b in re.findall(r"'([^']*)'|([A-Z0-9]+)", line)]


def from_tests():
    for path in sorted(glob.glob(HERE + "/../tests/*.bats")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for line in re.findall(r"\blines ([^|]*)\|", text):
            found = words(line)
            if found:
                yield "authorization", "".join(w + "\r\n" for w in found)
        for body in re.findall(
                r"\bsession[^|\n]*<<'C'.*?\n((?:[A-Z0-9 ]*\n)*?)C\n", text,
                re.DOTALL):
            yield "transaction", body.replace("\n", "\r\n")


def main():
    for target, text in from_tests():
        TABLE.setdefault(target, []).append(HEADS[target] + text.encode())
    for target, seeds in TABLE.items():
        os.makedirs(HERE + "/seeds/" + target, exist_ok=True)
        for seed in seeds:
            name = hashlib.sha1(seed).hexdigest()[:12]
            with open("%s/seeds/%s/%s" % (HERE, target, name), "wb") as file:
                file.write(seed)


main()
