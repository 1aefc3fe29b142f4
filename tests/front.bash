# shellcheck shell=bash
# What the tests of contrib/ share: each file is run as it stands but for
# paths, addresses, ports and users.  Load it after helper.bash.

CONTRIB=$BATS_TEST_DIRNAME/../contrib

# Call this first in setup(): a mailbox with one message, and joe with
# "secret" in a passwd-file.  Sets ADDRESS, which no other test has, PORT, and
# $BIN/pop3d, which is the one in the contrib files.
front_setup() {
	greeter_setup
	printf 'Subject: one\n\nbody\n' | deliver new/1700000001.M1.host
	(umask 077 && printf 'joe:{PLAIN}secret:%s:%s::%s:\n' \
	    "$TEST_UID" "$TEST_GID" "$HOME_DIR" >"$BATS_TEST_TMPDIR/users")
	BIN=$BATS_TEST_TMPDIR/bin
	mkdir "$BIN"
	cat >"$BIN/pop3d" <<P
#!/bin/sh
exec "$POP3D_BIN/pop3d" -v -r "$EMPTY" "\$@" \
    "$POP3D_BIN/pop3d-checkpassword" -f "$BATS_TEST_TMPDIR/users"
P
	chmod 755 "$BIN/pop3d"
	ADDRESS=127.$((1 + ($$ >> 16 & 127))).$(($$ >> 8 & 255)).$(($$ & 255))
	PORT=1110
	CLEAN=()
	BY=$ADDRESS:$PORT
}

# Call this in teardown().
front_teardown() {
	local command

	for command in "${CLEAN[@]}"; do
		$command >/dev/null 2>&1 || :
	done
	pop3d_teardown
}

# contrib FILE: prints it, adapted.
contrib() {
	sed -e "s|/usr/local/sbin/pop3d|$BIN/pop3d|" \
	    -e "s| 0 110 | $ADDRESS $PORT |" \
	    -e "s|/var/log/pop3d|$BATS_TEST_TMPDIR/service-log|" \
	    -e "s|/run/pop3d|$BATS_TEST_TMPDIR/run|" \
	    -e "s|pop3dlog|nobody|" "$CONTRIB/$1"
}

# at_end COMMAND: a command of plain words for teardown, before the servers
# are ended.
at_end() {
	CLEAN+=("$1")
}

# reach: like dial, to ADDRESS and PORT.
reach() {
	# shellcheck disable=SC2034 # helper.bash's
	exec {CLIENT}<>"/dev/tcp/$ADDRESS/$PORT"
}

# cut_off: like closed, or reset.
cut_off() {
	{ hear '^$' && closed; } 2>/dev/null
}

# background COMMAND ...: ends with the test; what it says goes to $LOG.
background() {
	"$@" >>"$LOG" 2>&1 </dev/null 3>&- &
	SERVERS+=($!)
}

# listening: something listens on $ADDRESS and $PORT.
listening() {
	[ -n "$(ss -Hltn "src $ADDRESS:$PORT")" ]
}

# speak [LINE ...]: the lines of a session from 127.0.0.2, each answer
# awaited; prints the answers, the greeting without the host's name.
speak() {
	lines "$@" | python3 "$BATS_TEST_DIRNAME/pop.py" --by "$BY" \
	    --from 127.0.0.2 -k | tr -d '\r' |
	    sed '1s/^+OK [^ ]* POP3 ready/+OK POP3 ready/'
}

# whole_session [GREETING]: login, RETR, DELE, something wrong (standard error
# must not come out at the client's) and QUIT, octet for octet.
whole_session() {
	speak 'USER joe' 'PASS secret' 'RETR 1' 'DELE 1' BAD QUIT | expect \
	    "${1:-+OK POP3 ready}
+OK now the password
+OK 1 messages
+OK 22 octets
Subject: one

body
.
+OK message 1 deleted
-ERR unknown command
+OK good bye"
	[ -z "$(mail_files)" ]
}

# session_logged IP TLS: that session's lines in $LOG.
session_logged() {
	wait_for grep -q "event=end user=joe" "$LOG"
	logged "pop3d(\[[0-9]+\])?: event=login user=joe ip=$1 mechanism=USER tls=$2 messages=1 "
	logged "pop3d(\[[0-9]+\])?: event=end user=joe ip=$1 retrieved=1 octets=22 deleted=1 left=0 seconds=[0-9]+ reason=quit\$"
}
