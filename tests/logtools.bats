#!/usr/bin/env bats
# What reads the log: fail2ban's filter, contrib/pop3d-report, logrotate; and
# what stores it.  All on lines that pop3d has written in the test, through
# the real daemons.

load helper

setup() {
	greeter_setup
	CONTRIB=$BATS_TEST_DIRNAME/../contrib
	# The secret says how it ends: secret, or an exit code, or by a signal.
	program <<'P'
how=$(tr '\0' '\n' <&3 | tail -n 2 | head -n 1)
case $how in
secret) become "$@" ;;
killed) kill -9 $$ ;;
*) exit "$how" ;;
esac
P
}

teardown() {
	pop3d_teardown
}

expect_none() {
	same /dev/null -
}

# plain_lines USER SECRET ...: AUTH PLAIN of pairs of printf formats, and QUIT.
plain_lines() {
	while [ $# -gt 0 ]; do
		# shellcheck disable=SC2059 # they are formats
		lines "AUTH PLAIN $({
			printf '\0'
			printf -- "$1"
			printf '\0'
			printf -- "$2"
		} | base64 -w 0)"
		shift 2
	done
	lines QUIT
}

# attempt USER SECRET ...: these, over one connection from $IP.
attempt() {
	plain_lines "$@" | TCPREMOTEIP=$IP talk -c -n 10
}

# login_as USER IP COMMAND ...: a session with -v.
login_as() {
	lines "AUTH PLAIN $(printf '\0%s\0secret' "$1" | base64 -w 0)" "${@:3}" \
	    QUIT | TCPREMOTEIP=$2 talk -c -v
}

# tai64n: $LOG as multilog writes it, to the file $CURRENT.
tai64n() {
	mkdir -p "$RECORD/main"
	multilog t "$RECORD/main" <"$LOG"
	CURRENT=$RECORD/main/current
}

# with_logger KIND COMMAND ...: in a mount namespace of its own with a real
# daemon behind /dev/log, which writes to $RECORD/syslog; busybox, rsyslog or
# journal.  For the last, journald's directory is $RECORD/journal.
with_logger() {
	need_root "a /dev/log of our own"
	unshare -m -n --propagation private true 2>/dev/null ||
	    skip "no mount namespace of our own for /dev/log"
	cat >"$RECORD/rsyslog.conf" <<S
module(load="imuxsock" SysSock.Name="/dev/log")
*.* action(type="omfile" file="$RECORD/syslog" template="RSYSLOG_TraditionalFileFormat")
S
	cat >"$RECORD/inside" <<'S'
set -e
mkdir "$RECORD/dev"
mount -t tmpfs none "$RECORD/dev"
for file in null zero urandom random full; do
	: >"$RECORD/dev/$file"
	mount --bind "/dev/$file" "$RECORD/dev/$file"
done
ln -s /proc/self/fd "$RECORD/dev/fd"
mount --rbind "$RECORD/dev" /dev
kind=$1
shift
: >"$RECORD/syslog"
case $kind in
busybox) busybox syslogd -n -O "$RECORD/syslog" & ;;
rsyslog) rsyslogd -n -f "$RECORD/rsyslog.conf" -i "$RECORD/rsyslog.pid" & ;;
journal)
	mount -t tmpfs none /run
	mkdir -p /run/systemd/journal "$RECORD/journal" /run/log/journal
	mount --bind "$RECORD/journal" /run/log/journal
	ln -s /run/systemd/journal/dev-log /dev/log
	/lib/systemd/systemd-journald 2>"$RECORD/journald" &
	;;
esac
until [ -S /dev/log ]; do sleep 0.02; done
code=0
"$@" || code=$?
case $kind in
journal)
	journalctl --sync
	journalctl -D "$RECORD/journal" -t pop3d >"$RECORD/syslog"
	;;
esac
kill $!
wait $! || :
exit $code
S
	unshare -m -n --propagation private sh "$RECORD/inside" "$@"
}

# through KIND [OPTION ...]: what is to be said on standard input goes to a
# pop3d whose log that daemon takes.  Without -l it is journald's own stream.
through() {
	local kind=$1

	shift
	cat >"$RECORD/script"
	greeter_command -c "$@"
	quick || :
	cat >"$RECORD/speak" <<'S'
#!/bin/sh
"$@" <"$RECORD/script" >"$RECORD/answers"
S
	cat >"$RECORD/stream" <<'S'
#!/bin/sh
exec systemd-cat -t pop3d sh -c 'exec "$@" >&9 9>&-' sh "$@" 9>&1
S
	chmod 755 "$RECORD/speak" "$RECORD/stream"
	if [ "$kind" = journal ] && [[ " $* " != *" -l "* ]]; then
		POP3D=("$RECORD/stream" "${POP3D[@]}")
	fi
	TCPREMOTEIP=$IP with_logger "$kind" "$RECORD/speak" "${POP3D[@]}"
}

# fail2ban

# banned LOG: the addresses that the filter finds there, one a line.
banned() {
	fail2ban-regex -o ip "$1" "$CONTRIB/fail2ban/filter.d/pop3d.conf" \
	    2>"$RECORD/fail2ban.err" || :
}

# counts LOG: how many each.
counts() {
	banned "$1" | LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

@test "INSTALL: fail2ban: every wrong or empty password counts, IPv4 and IPv6" {
	IP=192.0.2.1 attempt joe 1 joe 3 joe 99
	lines 'USER joe' 'PASS 1' "AUTH LOGIN $(printf joe | base64)" \
	    "$(printf 1 | base64)" QUIT | TCPREMOTEIP=2001:db8::1 talk -c
	lines 'USER joe' "AUTH PLAIN $(printf '\0joe\0' | base64)" QUIT |
	    TCPREMOTEIP=2001:db8::2 talk -c
	IP=::ffff:192.0.2.2 attempt joe 1
	tai64n
	for file in "$LOG" "$CURRENT"; do
		counts "$file" | expect '3 192.0.2.1
1 192.0.2.2
2 2001:db8::1
1 2001:db8::2'
	done
}

@test "INSTALL: fail2ban: trouble of the system bans nobody" {
	for how in 2 111 0 killed; do
		IP=192.0.2.1 attempt joe "$how"
	done
	[ "$(grep -c event=failure "$LOG")" = 4 ]
	yes $'BAD\r' | head -n 20 | TCPREMOTEIP=192.0.2.1 talk -c
	tai64n
	banned "$CURRENT" | expect_none
	banned "$LOG" | expect_none
}

@test "INSTALL: fail2ban: a login that is right bans nobody" {
	echo hello | deliver new/1
	login_as joe 192.0.2.1 'RETR 1' 'DELE 1'
	[ "$(wc -l <"$LOG")" = 4 ]
	tai64n
	banned "$CURRENT" | expect_none
	banned "$LOG" | expect_none
}

@test "INSTALL: fail2ban: no user name has another address banned" {
	local forged='event=failure user=x ip=198.51.100.1 mechanism=USER reason=password code=1'

	IP=192.0.2.1 attempt 'ip=198.51.100.1' 1 'x ip=198.51.100.1 ' 1 \
	    "$forged" 1 "pop3d: $forged" 1 "\\npop3d: $forged\\n" 1 \
	    "\" $forged" 1 "x\" ip=198.51.100.1 mechanism=USER reason=password" 1 \
	    '\134" ip=198.51.100.1 x=\134"' 1 '\134x22 ip=198.51.100.1' 1 \
	    "-\" ip=198.51.100.1 mechanism=PLAIN reason=password code=1 \"" 1
	IP=192.0.2.1 attempt "Nov 25 02:40:00 host pop3d[1]: $forged" 1 \
	    "@4000000065a0b0c00000000a pop3d: $forged" 1 \
	    "$forged" 2 "$forged" 111
	# Whoever has such a name may log in, or find the maildrop in use.
	login_as "$forged" 192.0.2.1
	[ "$(grep -c event=failure "$LOG")" = 14 ]
	tai64n
	for file in "$LOG" "$CURRENT"; do
		counts "$file" | expect '12 192.0.2.1'
	done
}

@test "INSTALL: fail2ban: a line that a full disk has cut has nobody banned" {
	IP=192.0.2.1 attempt 'a b' 1
	IP=192.0.2.1 attempt ' ip=198.51.100.1 mechanism=USER reason=password code=1 ' 1
	grep event=failure "$LOG" >"$RECORD/lines"
	# Cut at every octet, and the other line comes right behind.
	python3 - "$RECORD/lines" >"$RECORD/cut" <<'P'
import sys
first, second = open(sys.argv[1])
for i in range(len(first)):
    print(first[:i] + second, end="")
P
	banned "$RECORD/cut" | sort -u | expect 192.0.2.1
}

@test "INSTALL: fail2ban: the same in syslog, by rsyslog" {
	logger_bans rsyslog -l
}

@test "INSTALL: fail2ban: the same in syslog, by busybox" {
	logger_bans busybox -l
}

# logger_bans KIND [OPTION ...]
logger_bans() {
	IP=2001:db8::1
	plain_lines joe 1 'x ip=198.51.100.1' 1 'joe' 111 | through "$@"
	[ "$(grep -c event=failure "$RECORD/syslog")" = 3 ]
	counts "$RECORD/syslog" | expect '2 2001:db8::1'
}

@test "INSTALL: fail2ban: the same in the journal, by standard error and by syslog" {
	for option in -v -l; do
		logger_bans journal "$option"
		fail2ban-regex -o ip \
		    "systemd-journal[journalpath=$RECORD/journal]" \
		    "$CONTRIB/fail2ban/filter.d/pop3d.conf" \
		    2>"$RECORD/fail2ban.err" | expect '2001:db8::1
2001:db8::1'
		rm -rf "${RECORD:?}"/*
	done
}

@test "INSTALL: fail2ban accepts the jail, and finds the filter" {
	cp -R /etc/fail2ban "$RECORD/etc"
	cp -R "$CONTRIB/fail2ban/." "$RECORD/etc"
	mkdir "$RECORD/log"
	: >"$RECORD/log/current"
	sed -i "s|/var/log/pop3d|$RECORD/log|" "$RECORD/etc/jail.d/pop3d.conf"
	# Debian's own jail, whose log need not be there.
	rm -f "$RECORD/etc/jail.d/defaults-debian.conf"
	fail2ban-client -c "$RECORD/etc" -d >"$RECORD/commands"
	grep -F "['set', 'pop3d', 'addlogpath', '$RECORD/log/current'" \
	    "$RECORD/commands"
	grep -F "['set', 'pop3d', 'maxretry', 9]" "$RECORD/commands"
	grep -E "'pop3d', 'addfailregex'|'multi-set', 'pop3d', 'addfailregex'" \
	    "$RECORD/commands"
	grep -F "['start', 'pop3d']" "$RECORD/commands"
}

# logrotate

@test "INSTALL: logrotate: open sessions go on in the emptied file" {
	listen -v
	connect
	login
	sed "s|/var/log/pop3d.log|$LOG|" "$CONTRIB/logrotate/pop3d" \
	    >"$RECORD/logrotate"
	grep -qF "$LOG {" "$RECORD/logrotate"
	chmod 644 "$RECORD/logrotate"
	# It minds directories that others may write to.
	chmod 755 "$BATS_TEST_TMPDIR"
	logrotate -f -s "$RECORD/state" "$RECORD/logrotate"
	grep -c event=login "$LOG.1" | expect 1
	[ ! -s "$LOG" ]
	say QUIT
	hear '^\+OK'
	wait_for grep -q '^pop3d: event=end user=joe ' "$LOG"
	[ "$(wc -l <"$LOG")" = 1 ]
}
