#!/usr/bin/env python3
"""Fills a Maildir with a dozen varied messages: demo-mail.py MAILDIR."""
import base64
import os
import random
import sys

START = 1700000000


def header(subject, *more):
    lines = ["From: Ada <ada@example.org>", "To: demo@example.org",
             "Subject: " + subject,
             "Date: Tue, 14 Nov 2023 22:13:20 +0000"]
    return "\n".join(lines + list(more)) + "\n\n"


def attachment(octets):
    data = base64.encodebytes(random.Random(1).randbytes(octets)).decode()
    return (
        header("A picture of some MB", "MIME-Version: 1.0",
               'Content-Type: multipart/mixed; boundary="part"')
        + "--part\nContent-Type: text/plain\n\nThe picture is attached.\n"
        + "--part\nContent-Type: application/octet-stream\n"
        + "Content-Transfer-Encoding: base64\n"
        + 'Content-Disposition: attachment; filename="picture.bin"\n\n'
        + data + "--part--\n")


MESSAGES = [
    header("Welcome to pop3d") + "This is a plain message.\n",
    header("Lines with dots") + ".\n..\n.one\nand a dot at the end.\n.\n",
    header("UTF-8 in the body", "MIME-Version: 1.0",
           "Content-Type: text/plain; charset=utf-8",
           "Content-Transfer-Encoding: 8bit")
    + "Grüße aus Köln, šećer, здравствуйте, こんにちは\n",
    header("=?utf-8?q?Gr=C3=BC=C3=9Fe?=") + "A subject in RFC 2047.\n",
    header("No end of line at the end") + "The last line ends here",
    header("Line ends of both kinds") + "CRLF\r\nLF\nCRLF\r\n",
    header("Long lines") + "x" * 900 + "\n" + "y" * 5000 + "\n",
    header("An empty body"),
    header("A header folded\n over two lines") + "See the subject.\n",
    header("A quoted mbox line") + "From here on nothing is special.\n",
    attachment(3 << 20),
    header("The last one") + "Good bye.\n",
]


def main():
    maildir = sys.argv[1]
    for name in ("new", "cur", "tmp"):
        os.makedirs(os.path.join(maildir, name), mode=0o700, exist_ok=True)
    for i, text in enumerate(MESSAGES):
        path = "new/%d.M%dP1.demo" % (START + i, i)
        if i % 4 == 3:
            path = "cur/%d.M%dP1.demo:2,S" % (START + i, i)
        with open(os.path.join(maildir, path), "wb") as f:
            f.write(text.encode())


main()
