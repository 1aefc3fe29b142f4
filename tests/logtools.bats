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
given=$(tr '\0' '\n' <&3)
how=$(printf "%s\n" "$given" | sed -n "\$p")
case $how in
secret)
	NAME=$(printf '%s\n' "$given" | sed -n 1p)
	export NAME
	become sh -c 'USER=$NAME exec "$@"' sh "$@"
	;;
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

# In a pipeline a test cannot skip.
need_logger() {
	need_root "a /dev/log of our own"
	unshare -m -n --propagation private true 2>/dev/null ||
	    skip "no mount namespace of our own for /dev/log"
}

# with_logger KIND COMMAND ...: in a mount namespace of its own with a real
# daemon behind /dev/log, which writes to $RECORD/syslog; busybox, rsyslog or
# journal.  For the last, journald's directory is $RECORD/journal.
with_logger() {
	private_dev
	cat >"$RECORD/rsyslog.conf" <<S
module(load="imuxsock" SysSock.Name="/dev/log")
*.* action(type="omfile" file="$RECORD/syslog" template="RSYSLOG_TraditionalFileFormat")
S
	cat >"$RECORD/inside" <<'S'
set -e
. "$RECORD/private-dev"
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
*)
	# It has taken all, once it has taken this.
	python3 -c 'import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"<22>the-end: of it", "/dev/log")'
	for i in $(seq 1000); do
		! grep -q the-end "$RECORD/syslog" || break
		sleep 0.02
	done
	;;
esac
kill $!
wait $! || :
sed -i /the-end/d "$RECORD/syslog"
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

@test "INSTALL: fail2ban: a greeter that was taken over counts" {
	local fd

	build_inject
	need_inject
	serve
	printf '\0\0joe' >"$RECORD/message"
	for fd in "/proc/$GREETER/fd"/*; do
		[ "${fd##*/}" -le 2 ] || break
	done
	"$INJECT" "$GREETER" sendto "${fd##*/}" "@$RECORD/message" 5 0x4000
	wait_for grep -q reason=greeter "$LOG"
	banned "$LOG" | expect 127.0.0.1
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
	[ "$(grep -c "^pop3d: event=failure" "$LOG")" = 14 ]
	tai64n
	# Nor what other programs say of such a name.
	for other in 'sshd[1]: Invalid user ' 'sshd: ' 'host sshd: ' \
	    'host mail.info sshd[1]: ' 'host pop3d: ' '"' 'x='; do
		echo "Nov 25 02:40:00 ${other}pop3d: $forged"
	done >"$RECORD/others"
	banned "$RECORD/others" | expect_none
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
	need_logger
	logger_bans rsyslog -l
}

@test "INSTALL: fail2ban: the same in syslog, by busybox" {
	need_logger
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
	need_logger
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

# pop3d-report

# A day: three users, one of them often and for nothing, and failures.
a_day() {
	for i in 1 2 3; do
		echo hello | deliver "new/170000000$i.M$i.host"
	done
	login_as joe 192.0.2.1 'RETR 1' 'RETR 2' 'DELE 1'
	for _ in 1 2; do
		login_as ann 2001:db8::2 STAT
	done
	login_as 'b "b\x' 192.0.2.3 'RETR 1'
	IP=192.0.2.9 attempt joe 1 'x ip=192.0.2.66' 1 'x ip=192.0.2.66' 111
	IP=2001:db8::9 attempt 'event=login user=eve octets=999 msec=999' 1
	IP=192.0.2.4 attempt
} >/dev/null

# tidy: a report without what differs from run to run.
tidy() {
	sed -E -e 's/^pop3d, from .* to .*$/pop3d/' \
	    -e '/^Slowest opens/,/^Users/s/^ *[0-9]+ ( +[0-9]+  [0-9])/MSEC\1/'
}

# What is to be said of a_day.
THE_DAY='pop3d

           4  logins, of 3 users
           4  failures, from 2 addresses: password 3, temporary 1
           3  connections without a login
           4  sessions ended: quit 4
           3  messages retrieved
           1  messages deleted
          21  octets sent
           0  errors

Failures by address

  failures     names  address
         3         2  192.0.2.9
         1         1  2001:db8::9

Octets by user

          octets  retrieved   deleted  user
              14          2         1  joe
               7          1         0  "b \x22b\x5cx"
               0          0         0  ann

Slowest opens

      msec  messages  address                                  user'
THE_POLLS='Users polling most

    logins      idle  user
         2         2  ann
         1         0  "b \x22b\x5cx"
         1         0  joe'

# reported REPORT-ARGUMENT ...: says what a_day was.
reported() {
	"$CONTRIB/pop3d-report" "$@" | tidy >"$RECORD/report"
	sed '/^ *msec /q' "$RECORD/report" | expect "$THE_DAY"
	sed -n '/^Users/,$p' "$RECORD/report" | expect "$THE_POLLS"
	sed -n '/^ *msec /,/^$/p' "$RECORD/report" |
	    sed -E '1d;/^$/d;s/^ *(MSEC|[0-9]+) +//' | LC_ALL=C sort |
	    expect '2  192.0.2.3                                "b \x22b\x5cx"
2  2001:db8::2                              ann
2  2001:db8::2                              ann
3  192.0.2.1                                joe'
}

@test "INSTALL: pop3d-report: standard error as it is, as files and on standard input" {
	a_day
	reported "$LOG"
	reported <"$LOG"
	# A name that awk might take for something else.
	mkdir "$RECORD/x=1"
	cp "$LOG" "$RECORD/x=1/day=2"
	cd "$RECORD"
	reported x=1/day=2
	# In parts.
	head -n 5 "$LOG" >"$RECORD/one"
	tail -n +6 "$LOG" >"$RECORD/-two"
	reported one -two
}

@test "INSTALL: pop3d-report: with the stamps of multilog, and of tai64nlocal" {
	a_day
	tai64n
	reported "$CURRENT"
	tai64nlocal <"$CURRENT" | TZ=UTC reported
	TZ=UTC tai64nlocal <"$CURRENT" >"$RECORD/local"
	# What it makes of the stamps is right, and can be asked for.
	"$CONTRIB/pop3d-report" "$CURRENT" | head -n 1 | expect "pop3d, from $(
		sed -n '1s/\..*//p' "$RECORD/local"
	) to $(sed -n '$s/\..*//p' "$RECORD/local")"
	reported -d "$(cut -c 1-10 "$RECORD/local" | head -n 1)" "$CURRENT"
	"$CONTRIB/pop3d-report" -d 2000-01-01 "$CURRENT" |
	    grep -x '           0  logins, of 0 users'
}

@test "INSTALL: pop3d-report: any awk says the same" {
	local awk

	a_day
	tai64n
	"$CONTRIB/pop3d-report" "$CURRENT" >"$RECORD/first"
	mkdir "$RECORD/bin"
	for awk in mawk gawk 'busybox awk'; do
		command -v "${awk% *}" >/dev/null || continue
		printf '#!/bin/sh\nexec %s "$@"\n' "$awk" >"$RECORD/bin/awk"
		chmod 755 "$RECORD/bin/awk"
		PATH=$RECORD/bin:$PATH "$CONTRIB/pop3d-report" "$CURRENT" |
		    same "$RECORD/first" -
	done
}

@test "INSTALL: pop3d-report: syslog by rsyslog and busybox, and what journalctl prints" {
	need_logger
	IP=192.0.2.1
	echo hello | deliver cur/1:2,S
	for kind in rsyslog busybox 'journal -l' journal; do
		# shellcheck disable=SC2086 # an option is another word
		set -- $kind
		[ "$kind" = journal ] || set -- "$1" -l
		{
			plain_lines joe 1 | grep -v QUIT
			plain_lines joe secret | grep -v QUIT
			lines 'RETR 1' QUIT
		} | through "$@"
		"$CONTRIB/pop3d-report" "$RECORD/syslog" >"$RECORD/report"
		grep -x '           1  failures, from 1 addresses: password 1' \
		    "$RECORD/report"
		grep -x '           1  logins, of 1 users' "$RECORD/report"
		grep -x '               7          1         0  joe' "$RECORD/report"
		"$CONTRIB/pop3d-report" -d "$(date '+%b %e')" "$RECORD/syslog" |
		    grep '^pop3d, from ... [ 0-9][0-9] ..:..:.. to '
		[ "$1" != journal ] || for form in short-iso short-precise \
		    short-full cat; do
			TZ=UTC journalctl -q -D "$RECORD/journal" -t pop3d \
			    -o "$form" |
			    "$CONTRIB/pop3d-report" |
			    grep -x '           1  logins, of 1 users' ||
			    [ "$form/$#" = cat/2 ]
		done
		rm -rf "${RECORD:?}"/*
	done
}

@test "INSTALL: pop3d-report: lines of others, cut lines and hostile ones derail nothing" {
	local lie='event=end user=joe ip=192.0.2.1 retrieved=1 octets=1 deleted=9 left=0 seconds=0 reason=quit'

	a_day
	cp "$LOG" "$RECORD/day"
	{
		# What others were told.
		echo "Nov 25 02:50:04 host sshd[1]: Invalid user pop3d: $lie"
		echo "tcpserver: status: pop3d: $lie"
		echo "Nov 25 02:50:04 host x=pop3d[1]: $lie"
		printf 'Nov 25 \033[2J pop3d[1]: %s\n' "$lie"
		echo "notpop3d: $lie"
		head -c 5000 /dev/urandom
		echo
	} >>"$RECORD/day"
	reported "$RECORD/day"
	# What pop3d never writes.
	{
		echo "pop3d: $lie user=ann"
		echo "pop3d: ${lie%deleted*}"
		echo "pop3d: event=end user=\"joe${lie#*user=joe}"
		printf 'pop3d: event=login user="\033[2J" msec=9\n'
		echo 'pop3d: event=login user=joe user=joe'
		echo 'pop3d: event=login "joe"'
	} >>"$RECORD/day"
	"$CONTRIB/pop3d-report" "$RECORD/day" | tidy >"$RECORD/report"
	grep -vx '           6  lines cut or damaged, not counted' \
	    "$RECORD/report" >"$RECORD/rest"
	"$CONTRIB/pop3d-report" "$LOG" | tidy | same "$RECORD/rest" -
}

@test "INSTALL: pop3d-report: usage" {
	local code=0

	"$CONTRIB/pop3d-report" -h | grep '^pop3d-report \[-h\]'
	[ "$("$CONTRIB/pop3d-report" -h | wc -l)" -gt 20 ]
	"$CONTRIB/pop3d-report" -n x 2>"$RECORD/usage" || code=$?
	[ "$code" = 100 ]
	grep '^usage: ' "$RECORD/usage"
	code=0
	"$CONTRIB/pop3d-report" /none 2>"$RECORD/usage" || code=$?
	[ "$code" = 111 ]
	a_day
	"$CONTRIB/pop3d-report" -n 1 "$LOG" >"$RECORD/report"
	sed -n '/^Octets/,/^Slow/p' "$RECORD/report" | expect 'Octets by user

          octets  retrieved   deleted  user
              14          2         1  joe

Slowest opens'
	sed -n '/msec/,/Users/p' "$RECORD/report" | wc -l | expect 4
}

@test "INSTALL: multilog under tcpserver, and who has deleted joe's mail" {
	local main=$RECORD/multilog

	echo hello | deliver new/1700000001.M1.host
	# The lines of INSTALL.
	sed -n '/^\t#!\/bin\/sh$/,/^\texec multilog /s/^\t//p' \
	    "$BATS_TEST_DIRNAME/../INSTALL" |
	    sed "s|/var/log/pop3d|$main|" >"$RECORD/run"
	grep -F "exec multilog t " "$RECORD/run"
	sed -n 's/^\t\(cat .*event=deleted.*\)/\1/p' \
	    "$BATS_TEST_DIRNAME/../INSTALL" |
	    sed "s|/var/log/pop3d|$main|" >"$RECORD/who"
	grep -F "$main" "$RECORD/who"
	mkfifo "$RECORD/pipe"
	sh "$RECORD/run" <"$RECORD/pipe" 3>&- &
	SERVERS+=($!)
	greeter_command -v -m "$MAIL"
	LOG=$RECORD/pipe start_server "${POP3D[@]}"
	dial
	hear '^\+OK '
	say 'USER joe' 'PASS secret' 'DELE 1' QUIT
	for want in password messages deleted 'good bye'; do
		hear "$want"
	done
	wait_for grep -q event=end "$main/current"
	sh "$RECORD/who" >"$RECORD/answer"
	grep -E '^20[0-9-]{8} [0-9:.]{18} pop3d: event=deleted user=joe msgno=1 uid=1700000001.M1.host octets=- ip=127.0.0.1$' \
	    "$RECORD/answer"
}
