#!/usr/bin/env bats
# Under xinetd, with the lines of INSTALL.

load helper

setup() {
	pop3d_setup
	printf 'Subject: one\n\nbody\n' | deliver new/1700000001.M1.host
}

teardown() {
	pop3d_teardown
}

@test "xinetd starts a whole session; standard error, the client's, stays clean" {
	local port config=$BATS_TEST_TMPDIR/xinetd.conf

	port=$(python3 -c 'import socket; s = socket.socket()
s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	# INSTALL's own lines, with what a test must have otherwise.
	sed -n '/^\tservice pop3$/,/^\t}$/p' "$BATS_TEST_DIRNAME/../INSTALL" |
	    sed -e "s|/usr/local/sbin/pop3d|$POP3D_BIN/pop3d|" \
		-e "s|user = root|user = $(id -un)|" \
		-e "s|disable = no|type = UNLISTED\n port = $port\n bind = 127.0.0.1\n server_args = -v -r $EMPTY -h mail.example.org $BATS_TEST_DIRNAME/checkpw|" \
		>"$config"
	grep -q UNLISTED "$config"
	xinetd -dontfork -f "$config" -pidfile "$BATS_TEST_TMPDIR/pid" \
	    -filelog "$BATS_TEST_TMPDIR/xinetd.log" 3>&- &
	SERVERS+=($!)
	wait_for nc -z 127.0.0.1 "$port"
	printf 'USER joe\r\nPASS secret\r\nRETR 1\r\nBAD\r\nQUIT\r\n' |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --by "$port" | tr -d '\r' |
	    expect '+OK mail.example.org POP3 ready
+OK now the password
+OK 1 messages
+OK 22 octets
Subject: one

body
.
-ERR unknown command
+OK good bye'
}
