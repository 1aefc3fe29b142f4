#!/usr/bin/env bats
# make demo: README's quick start, at a terminal, ended by Ctrl-C.

load helper

setup() {
	pop3d_setup
	# The tree as a clone has it, so that parallel tests see no build.
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir -p "$TREE/tests"
	cp "$BATS_TEST_DIRNAME"/../*.[ch] "$BATS_TEST_DIRNAME/../Makefile" \
	    "$BATS_TEST_DIRNAME/../static-cc" "$TREE"
	cp "$BATS_TEST_DIRNAME"/*.sh "$BATS_TEST_DIRNAME/demo-mail.py" \
	    "$TREE/tests"
}

@test "make demo serves a dozen messages and Ctrl-C leaves nothing behind" {
	mkdir "$BATS_TEST_TMPDIR/tmp"
	chmod 711 "$BATS_TEST_TMPDIR/tmp"
	cd "$TREE"
	TMPDIR=$BATS_TEST_TMPDIR/tmp python3 - >"$BATS_TEST_TMPDIR/out" <<'E'
import os, pty, re, subprocess, sys, socket

probe = socket.socket()
probe.bind(("127.0.0.1", 0))
port = probe.getsockname()[1]
probe.close()
os.environ["PORT"] = str(port)
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("make", ["make", "demo"])
said = b""
while b"log of pop3d follows" not in said:
    said += os.read(terminal, 4096)
url = "pop3://127.0.0.1:%d/" % port
for _ in range(100):
    list_ = subprocess.run(["curl", "-s", "-u", "demo:secret", url],
                           stdout=subprocess.PIPE).stdout
    if list_:
        break
one = subprocess.run(["curl", "-s", "-u", "demo:secret", url + "1"],
                     stdout=subprocess.PIPE).stdout
os.write(terminal, b"\x03")
try:
    while os.read(terminal, 4096):
        pass
except OSError:
    pass
os.waitpid(pid, 0)
left = socket.socket().connect_ex(("127.0.0.1", port)) == 0
print(len(list_.splitlines()), b"Welcome to pop3d" in one,
      b"curl -u demo:secret pop3://127.0.0.1:%d/" % port in said, left)
E
	[ "$(cat "$BATS_TEST_TMPDIR/out")" = "12 True True False" ]
	wait_for rmdir "$BATS_TEST_TMPDIR/tmp"
}
