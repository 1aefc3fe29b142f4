#!/usr/bin/env bats
# pop3d under each superserver, by the files in contrib/ as they stand: a whole
# session, and the client's address in the log.
# shellcheck disable=SC2034 # LOG and BY are front.bash's

load helper
load front

setup() {
	front_setup
	SCAN=$BATS_TEST_TMPDIR/scan
	SERVICE=$SCAN/pop3d
	UNPACKED=$BATS_TEST_DIRNAME/../build/unpacked
}

teardown() {
	front_teardown
}

# service FOLDER: a service directory, $SERVICE, and its log directory.
service() {
	local file

	need_root "services and their logs have users of their own"
	mkdir -p "$SERVICE/log"
	for file in run log/run; do
		contrib "$1/$file" >"$SERVICE/$file"
		chmod 755 "$SERVICE/$file"
	done
	install -d -o nobody -m 755 "$BATS_TEST_TMPDIR/service-log"
	LOG=$BATS_TEST_TMPDIR/service-log/current
}

# supervised COMMAND ...: in the background, what it says kept apart.
supervised() {
	"$@" >"$BATS_TEST_TMPDIR/supervisor" 2>&1 </dev/null 3>&- &
	SUPERVISOR=$!
	SERVERS+=($!)
}

# Tools that watch over services

@test "INSTALL: daemontools: svscan, tcpserver, multilog" {
	service daemontools
	supervised svscan "$SCAN"
	# Before these: svscan must not start them again.
	at_end "kill $SUPERVISOR"
	at_end "svc -dx $SERVICE $SERVICE/log"
	wait_for listening
	whole_session '+OK POP3 ready'
	session_logged 127.0.0.2 no
	logged '^@[0-9a-f]{24} tcpserver: pid [0-9]+ from 127\.0\.0\.2'
}

@test "INSTALL: the same folder under runit: runsv" {
	service daemontools
	supervised runsv "$SERVICE"
	wait_for listening
	whole_session
	session_logged 127.0.0.2 no
}

@test "INSTALL: runit: runsv, tcpsvd, svlogd" {
	service runit
	supervised runsv "$SERVICE"
	wait_for listening
	whole_session
	session_logged 127.0.0.2 no
}

@test "INSTALL: s6: s6-svscan, tcpserver, s6-log" {
	service s6
	supervised s6-svscan "$SCAN"
	at_end "s6-svscanctl -t $SCAN"
	at_end "wait $SUPERVISOR"
	wait_for listening
	whole_session
	session_logged 127.0.0.2 no
}

@test "INSTALL: s6-ipcserver: a UNIX socket, which only stunnel's group reaches" {
	service s6-ipcserver
	BY=$BATS_TEST_TMPDIR/run/socket
	supervised s6-svscan "$SCAN"
	at_end "s6-svscanctl -t $SCAN"
	at_end "wait $SUPERVISOR"
	wait_for test -S "$BY"
	stat -c '%a %U %G' "$BATS_TEST_TMPDIR/run" |
	    expect '750 root stunnel4'
	whole_session
	session_logged - yes
}

# Others

# crowd LIMIT WELCOME SENT-AWAY: from one address, LIMIT connections are
# greeted, the next one is not; another address is.
crowd() {
	ADDRESS=$ADDRESS PORT=$PORT python3 - "$@" <<'P'
import os
import socket
import sys

def greeted(source):
    connection = socket.create_connection(
        (os.environ["ADDRESS"], int(os.environ["PORT"])), 20, (source, 0))
    kept.append(connection)
    try:
        return connection.makefile("rb").readline()
    except ConnectionResetError:
        return b""

kept = []
for _ in range(int(sys.argv[1])):
    answer = greeted("127.0.0.2")
    assert answer.startswith(b"+OK "), answer
answer = greeted("127.0.0.2")
assert answer == sys.argv[2].encode(), answer
answer = greeted("127.0.0.3")
assert answer.startswith(b"+OK "), answer
P
}

@test "INSTALL: tcpsvd: the eleventh connection from one address is told why" {
	contrib runit/run >"$BATS_TEST_TMPDIR/run"
	background sh "$BATS_TEST_TMPDIR/run"
	wait_for listening
	crowd 10 $'-ERR [SYS/TEMP] too many connections from your address\r\n'
}

@test "INSTALL: socat" {
	contrib socat.sh |
	    sed "s/LISTEN:110/LISTEN:$PORT,bind=$ADDRESS/" \
	    >"$BATS_TEST_TMPDIR/socat"
	background sh "$BATS_TEST_TMPDIR/socat"
	wait_for listening
	whole_session
	session_logged 127.0.0.2 no
}

# xinetd_server: with contrib/xinetd.
xinetd_server() {
	local more="bind = $ADDRESS"

	if [ "$(id -u)" = 0 ]; then
		PORT=110
		BY=$ADDRESS:$PORT
	else
		more+="\n type = UNLISTED\n port = $PORT"
	fi
	contrib xinetd | sed -e "s|user = root|user = $(id -un)|" \
	    -e "s|disable = no|&\n $more|" >"$BATS_TEST_TMPDIR/xinetd.conf"
	"$@" xinetd -dontfork -f "$BATS_TEST_TMPDIR/xinetd.conf" \
	    -pidfile "$BATS_TEST_TMPDIR/pid" \
	    -filelog "$BATS_TEST_TMPDIR/xinetd.log" </dev/null 3>&- &
	SERVERS+=($!)
	at_end "pkill -F $BATS_TEST_TMPDIR/pid"
	wait_for listening
}

# under_syslog COMMAND ...: in the background, by with_syslog.
under_syslog() {
	need_root "a /dev/log of our own"
	unshare -m --propagation private true 2>/dev/null ||
	    skip "no mount namespace of our own for /dev/log"
	LOG=$RECORD/syslog
	with_syslog read "$@"
}

@test "INSTALL: xinetd; standard error, the client's, stays clean" {
	xinetd_server
	whole_session
}

@test "INSTALL: xinetd: the log goes to syslog" {
	need_root "a /dev/log of our own"
	xinetd_server under_syslog
	LOG=$RECORD/syslog
	whole_session
	session_logged 127.0.0.2 no
}

@test "INSTALL: xinetd: the eleventh connection from one address is closed" {
	xinetd_server
	crowd 10 ''
}

# inetd_session COMMAND ...: with contrib/inetd.conf.
inetd_session() {
	[ -x "$1" ] || skip "needs sh tests/unpack.sh"
	if [ "$(id -u)" = 0 ]; then
		contrib inetd.conf | sed "s/^pop3/$ADDRESS:&/"
		PORT=110
		BY=$ADDRESS:$PORT
	else
		contrib inetd.conf | sed -e "s/^pop3/$ADDRESS:$PORT/" \
		    -e "s/	root	/	$(id -un)	/"
	fi >"$RECORD/inetd.conf"
	# For the test to know which process it is.
	cat >"$RECORD/inetd" <<S
echo \$\$ >"$RECORD/pid"
exec $* "$RECORD/inetd.conf"
S
	at_end "pkill -F $RECORD/pid"
	if [ "$(id -u)" = 0 ]; then
		under_syslog sh "$RECORD/inetd" </dev/null 3>&- &
		SERVERS+=($!)
		LOG=$RECORD/syslog
	else
		background sh "$RECORD/inetd"
	fi
	wait_for listening
	whole_session
	[ "$(id -u)" != 0 ] || session_logged 127.0.0.2 no
}

@test "INSTALL: openbsd-inetd; the log goes to syslog" {
	inetd_session "$UNPACKED/openbsd-inetd/usr/sbin/inetd" -i
}

@test "INSTALL: inetutils-inetd; the log goes to syslog" {
	inetd_session "$UNPACKED/inetutils-inetd/usr/sbin/inetutils-inetd" -d \
	    -p "$RECORD/inetd.pid"
}

# systemd

# units: the two, adapted, in $UNITS.
units() {
	UNITS=$BATS_TEST_TMPDIR/units
	mkdir "$UNITS"
	contrib systemd/pop3d.socket |
	    sed "s/^ListenStream=110$/ListenStream=$ADDRESS:$PORT/" \
	    >"$UNITS/pop3d.socket"
	contrib systemd/pop3d@.service >"$UNITS/pop3d@.service"
}

# setting NAME: of the service.
setting() {
	sed -n "s/^$1=//p" "$UNITS/pop3d@.service"
}

@test "INSTALL: systemd: systemd-analyze finds nothing wrong with the units" {
	units
	SYSTEMD_UNIT_PATH=$UNITS: systemd-analyze verify --man=no \
	    "$UNITS/pop3d.socket" "$UNITS/pop3d@.service" \
	    >"$BATS_TEST_TMPDIR/verified" 2>&1 || {
		cat "$BATS_TEST_TMPDIR/verified"
		return 1
	}
	not grep pop3d "$BATS_TEST_TMPDIR/verified"
	# It does notice.
	sed -i 's/^Accept=/Except=/' "$UNITS/pop3d.socket"
	SYSTEMD_UNIT_PATH=$UNITS: systemd-analyze verify --man=no \
	    "$UNITS/pop3d.socket" 2>&1 | grep "Unknown key 'Except'"
}

# activated [WRAPPER ...]: systemd-socket-activate starts what the units say.
activated() {
	local command

	units
	read -ra command <<<"$(setting ExecStart)"
	[ "${command[0]}" = "-$BIN/pop3d" ]
	command[0]=${command[0]#-}
	background "$@" systemd-socket-activate --accept --inetd \
	    -l "$(sed -n 's/^ListenStream=//p' "$UNITS/pop3d.socket")" \
	    "${command[@]}"
	wait_for listening
}

@test "INSTALL: systemd: a session by systemd-socket-activate" {
	activated
	whole_session
	session_logged 127.0.0.2 no
}

@test "INSTALL: systemd: the capabilities that the unit leaves are enough" {
	local set

	need_root "to take root's capabilities"
	units
	set=$(setting CapabilityBoundingSet | tr 'A-Z ' 'a-z,' |
	    sed 's/cap_/+/g')
	rm -r "$UNITS"
	# A passwd-file that is not root's, and a shell that tells what is left.
	chown nobody "$BATS_TEST_TMPDIR/users"
	sed -i "2i grep CapBnd /proc/self/status >$RECORD/capabilities" \
	    "$BIN/pop3d"
	activated setpriv --bounding-set="-all,$set"
	whole_session
	session_logged 127.0.0.2 no
	# kill 5, setgid 6, setuid 7, dac_read_search 2, sys_chroot 18,
	# audit_write 29
	expect 'CapBnd:	00000000200400e4' <"$RECORD/capabilities"
}

# boot: systemd and its journal, in namespaces and a cgroup of their own, with
# nothing but our units; skips where that cannot be.  /srv is the test's folder
# there, since PrivateTmp hides /tmp.  Sets INIT, its process.
boot() {
	local target

	for target in sysinit basic shutdown sockets; do
		printf '[Unit]\nDefaultDependencies=no\n' \
		    >"$UNITS/$target.target"
	done
	mkdir "$RECORD/cgroup"
	cat >"$RECORD/outside" <<'S'
set -e
mount -t cgroup2 none "$RECORD/cgroup"
mkdir "$RECORD/cgroup/pop3d-test-$$"
echo "$RECORD/cgroup/pop3d-test-$$" >"$RECORD/group"
echo $$ >"$RECORD/cgroup/pop3d-test-$$/cgroup.procs"
exec unshare -C -p -f --mount-proc --kill-child sh "$RECORD/inside"
S
	cat >"$RECORD/inside" <<'S'
set -e
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
mount --bind /dev/null /dev/kmsg
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/systemd/journal /run/log/journal
mount --bind "$BATS_TEST_TMPDIR" /srv
env -i /usr/lib/systemd/systemd-journald &
until [ -S /run/systemd/journal/stdout ]; do sleep 0.02; done
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lxc \
    SYSTEMD_UNIT_PATH="/srv/units" /usr/lib/systemd/systemd \
    --system --unit=pop3d.socket
S
	unshare -m -u --propagation private sh "$RECORD/outside" \
	    >"$RECORD/booted" 2>&1 </dev/null 3>&- &
	SERVERS+=($!)
	# It does not heed SIGTERM.
	at_end "pkill -KILL -P $!"
	at_end "wait $!"
	at_end unshare_cgroup
	wait_for booted $! || skip "systemd does not start here"
	INIT=$(pgrep -P $!) || skip "systemd does not start here"
}

# booted PID: systemd has, or the process has ended without.
booted() {
	local init

	init=$(pgrep -P "$1") || {
		gone "$1"
		return
	}
	[ -S "/proc/$init/root/run/systemd/private" ]
}

# unshare_cgroup: removes what is left of the cgroup.
unshare_cgroup() {
	# shellcheck disable=SC2016 # the inner shell's
	unshare -m --propagation private sh -c 'mount -t cgroup2 none "$1" &&
	    find "$2" -depth -type d -exec rmdir {} \;' sh "$RECORD/cgroup" \
	    "$(cat "$RECORD/group")"
}

# journal: pop3d's lines into $LOG; fails until the session has ended.
journal() {
	nsenter -t "$INIT" -m -p journalctl -q -t pop3d \
	    SYSLOG_FACILITY=2 >"$LOG" 2>&1 && grep -q 'event=end user=joe' "$LOG"
}

@test "INSTALL: systemd itself: a session, the journal, the limit for one address" {
	need_root "to boot systemd in a namespace"
	[ -x /usr/lib/systemd/systemd ] && [ -s /etc/machine-id ] ||
	    skip "needs systemd and a machine-id"
	mkdir "$BATS_TEST_TMPDIR/real"
	cp "$POP3D_BIN"/* "$BATS_TEST_TMPDIR/real"
	sed -i -e "s|$POP3D_BIN|/srv/real|g" -e "s|$BATS_TEST_TMPDIR|/srv|g" \
	    "$BIN/pop3d" "$BATS_TEST_TMPDIR/users"
	units
	sed -i "s|$BIN|/srv/bin|" "$UNITS/pop3d@.service"
	boot
	wait_for listening
	whole_session
	wait_for journal
	session_logged 127.0.0.2 no
	crowd 10 ''
	# For set-uid helpers.
	reach
	hear '^\+OK '
	grep -h NoNewPrivs "/proc/$(pgrep -o -f "^/srv/real/pop3d")/status" |
	    expect 'NoNewPrivs:	0'
}

@test "INSTALL: the lines that copy files do" {
	local root=$BATS_TEST_TMPDIR/root file

	need_root "to make a directory for another user"
	mkdir -p "$root"/etc/{init.d,service,sv,xinetd.d,systemd/system,stunnel} \
	    "$root"/{run/service,var/log}
	cd "$CONTRIB/.."
	sed -En '/^4\. /,/^6\. /s/^\t(cp|cat|ln|install) /\1 /p' INSTALL |
	    sed -E -e "s#/(etc|run|var)/#$root&#g" -e 's/pop3dlog/nobody/' \
		>"$RECORD/lines"
	sh -eu "$RECORD/lines"
	[ -d "$root/var/log/pop3d" ]
	for file in etc/service/pop3d run/service/pop3d etc/sv/pop3d \
	    run/service/pop3d-stunnel; do
		[ -x "$root/$file/run" ]
		[ -x "$root/$file/log/run" ]
	done
	for file in stunnel/exec.conf stunnel/connect.conf stunnel/stls.conf \
	    systemd/pop3d.socket systemd/pop3d@.service inetd.conf xinetd; do
		find "$root/etc" -type f -exec cmp -s "$CONTRIB/$file" {} \; \
		    -print >"$RECORD/copies"
		case $file in
		# The other one for that port has taken its place.
		stunnel/exec.conf) same /dev/null "$RECORD/copies" ;;
		*) [ -s "$RECORD/copies" ] ;;
		esac
	done
}

@test "INSTALL tells of every file in contrib" {
	local file

	cd "$CONTRIB"
	# make deb's own files are for nobody else.
	find . -path ./debian -prune -o -type f -print | sed -e 's|^\./||' -e 's|/log/run$||' -e 's|/run$||' |
	    sort -u >"$BATS_TEST_TMPDIR/files"
	[ -s "$BATS_TEST_TMPDIR/files" ]
	while read -r file; do
		grep -qF "contrib/$file" ../INSTALL || {
			echo "not in INSTALL: contrib/$file" >&2
			return 1
		}
	done <"$BATS_TEST_TMPDIR/files"
	# And what is a line in both is one and the same.
	for file in daemontools/run stunnel/connect.conf; do
		sed -En 's/^(exec |; *)(tcpserver -.*)/\2/p' "$file" \
		    >"$BATS_TEST_TMPDIR/line"
		[ -s "$BATS_TEST_TMPDIR/line" ]
		grep -qF -f "$BATS_TEST_TMPDIR/line" ../INSTALL
	done
}
