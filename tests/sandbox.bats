#!/usr/bin/env bats
# What each process has given up (DESIGN section 2): as /proc says, and as the
# kernel answers when a process is made to try (see inject.c).

# shellcheck disable=SC2030,SC2031 # each test is a process, and sets its own

load helper

setup_file() {
	build_inject
}

setup() {
	greeter_setup
	# One more than there may be already, in a container.
	FILTERS=$(($(field Seccomp_filters $$) + 1))
	OPTIONS=()
}

teardown() {
	pop3d_teardown
}

# Starts what comes without any privilege.
unprivileged() {
	[ "$(id -u)" != 0 ] || wrap setpriv --reuid "$TEST_UID" \
	    --regid "$TEST_GID" --clear-groups
}

need_landlock() {
	if : | as_user "$POP3D_BIN/pop3d" -t 2>&1 >/dev/null |
	    grep -q part=landlock; then
		skip "this kernel has no Landlock"
	fi
}

# facts PID: standard input has lines "FIELD value" of /proc/PID/status.
facts() {
	local name value wrong=0

	while read -r name value; do
		[ "$(field "$name" "$1")" = "$value" ] || {
			echo "$name: $(field "$name" "$1"), not $value" >&2
			wrong=1
		}
	done
	return "$wrong"
}

# limited PID: standard input has lines "limit:value", value for soft and hard.
limited() {
	local name value wrong=0

	while IFS=: read -r name value; do
		grep -Eq "^$name  +$value  +$value( |\$)" "/proc/$1/limits" || {
			grep "^$name" "/proc/$1/limits" >&2
			wrong=1
		}
	done
	return "$wrong"
}

# table BEGIN DEATH: standard input has lines "EXPECTED: CALL [ARGUMENT ...];
# CALL ...".  EXPECTED is a pattern for what comes of the calls (see inject.c),
# "killed" for SIGSYS.  BEGIN sets PID, at first and after each death; then
# DEATH says whether all went as it should.  Sets ALIVE.
table() {
	local rows row calls call wrong=0

	mapfile -t rows
	ALIVE=
	for row in "${rows[@]}"; do
		IFS=';' read -r -a calls <<<"${row#*: }"
		for call in "${calls[@]}"; do
			try "$1" "$2" "${row%%: *}" "$call" || wrong=1
		done
	done
	return "$wrong"
}

# try BEGIN DEATH EXPECTED CALL: one of them.
try() {
	local got code=0

	[ -n "$ALIVE" ] || "$1" || return 1
	ALIVE=yes
	# shellcheck disable=SC2086 # a word each
	got=$("$INJECT" "$PID" $4) || code=$?
	[ "$code" != 77 ] || return 0 # not on this machine
	got=${got/#killed SIGSYS/killed}
	[[ $got =~ ^($3)$ ]] || {
		echo "$4: $got, not $3" >&2
		code=1
	}
	[[ $got != killed* ]] || ALIVE=
	[ -n "$ALIVE" ] || "$2" || {
		echo "after $4: it did not end well" >&2
		code=1
	}
	return "$code"
}

# The newest child of a process, into $NEWEST; cheap.
newest() {
	local list

	if ! read -r -a list <"/proc/$1/task/$1/children" &&
	    [ "${#list[@]}" = 0 ]; then
		mapfile -t list < <(pgrep -P "$1")
	fi
	NEWEST=${list[-1]}
}

connect() {
	dial && hear '^\+OK ' && newest "${SERVERS[0]}" && MONITOR=$NEWEST &&
	    newest "$MONITOR" && GREETER=$NEWEST
}

new_greeter() {
	: >"$LOG"
	connect && PID=$GREETER
}

greeter_death() {
	closed && hang_up && wait_for gone "$MONITOR" && gone "$GREETER" &&
	    [ "$(wc -l <"$LOG")" = 1 ] &&
	    logged '^pop3d: event=end user=- ip=127\.0\.0\.1 reason=error signal=31$'
}

greeter_lives() {
	[ -n "$ALIVE" ] && say QUIT && hear '^\+OK good bye'
}

# Each one has marked a message as deleted.
new_session() {
	open_session "${OPTIONS[@]}" && [[ $REPLY == "+OK 2 messages" ]] && ask 'DELE 1' &&
	    [[ $REPLY == +OK* ]] && PID=$SESSION
}

session_death() {
	not read_reply && end_session && gone "$SESSION"
}

session_lives() {
	[ -n "$ALIVE" ] && ask STAT && [[ $REPLY == "+OK 1 "* ]] && end_session
}

two_messages() {
	echo one | deliver new/1
	echo two | deliver cur/2:2,
	MESSAGES='cur/2:2,
new/1'
}

# The greeter

@test "DESIGN 2: the greeter has no privilege, and cannot gain any" {
	need_root "who has privilege at first"
	serve
	facts "$GREETER" <<F
Uid 65534 65534 65534 65534
Gid 65534 65534 65534 65534
Groups
CapInh 0000000000000000
CapPrm 0000000000000000
CapEff 0000000000000000
CapAmb 0000000000000000
NoNewPrivs 1
Seccomp 2
Seccomp_filters $FILTERS
F
}

@test "DESIGN 2: so it is where pop3d was started without privilege" {
	unprivileged
	serve
	facts "$GREETER" <<F
Uid $TEST_UID $TEST_UID $TEST_UID $TEST_UID
CapPrm 0000000000000000
NoNewPrivs 1
Seccomp 2
Seccomp_filters $FILTERS
F
}

@test "DESIGN 2: greeter and session are not dumpable, the monitor is" {
	unprivileged
	serve
	[ "$(stat -c %u "/proc/$MONITOR/mem")" = "$TEST_UID" ]
	[ "$(stat -c %u "/proc/$GREETER/mem")" = 0 ]
	login
	[ "$(stat -c %u "/proc/$SESSION/mem")" = 0 ]
}

@test "DESIGN 2: the greeter's limits: no core, process or new descriptor, 64 MiB" {
	plain_build "it has no limits"
	serve
	limited "$GREETER" <<'L'
Max core file size:0
Max processes:0
Max open files:1
Max address space:67108864
L
}

@test "DESIGN 2: the session's limits: no core, no process, 16 descriptors, 1 and 8 GiB" {
	plain_build "it has no limits"
	serve
	login
	limited "$SESSION" <<'L'
Max core file size:0
Max processes:0
Max open files:16
Max address space:1073741824
Max file size:8589934592
L
}

@test "DESIGN 2: a limit that is lower already stays, soft or hard" {
	plain_build "it has no limits"
	# As softlimit does, which leaves the hard limits alone.
	wrap prlimit --nofile=12:1024 --fsize=5000000:6000000 --as=500000000:
	serve
	login
	tr -s ' ' <"/proc/$SESSION/limits" >"$RECORD/limits"
	grep '^Max open files 12 ' "$RECORD/limits"
	grep '^Max file size 5000000 6000000 ' "$RECORD/limits"
	grep '^Max address space 500000000 ' "$RECORD/limits"
}

@test "DESIGN 2: the greeter holds the client, the log and one socket; -l one for syslog" {
	need_root "to look into processes"
	serve
	# shellcheck disable=SC2012 # numbers
	ls "/proc/$GREETER/fd" | wc -l | expect 4
	readlink "/proc/$GREETER/fd/2" | expect "$LOG"
	find "/proc/$GREETER/fd" -lname 'socket:*' | wc -l | expect 3
	hang_up
	greeter_command -l
	start_server "${POP3D[@]}"
	dial
	hear '^\+OK'
	GREETER=$(pgrep -n -f "^$POP3D_BIN/pop3d -r $EMPTY")
	find "/proc/$GREETER/fd" -lname 'socket:*' | wc -l | expect 4
	# shellcheck disable=SC2012 # numbers
	ls "/proc/$GREETER/fd" | wc -l | expect 5
}

@test "DESIGN 2: the greeter can still read, write, wait and tell the time" {
	need_inject
	serve
	PID=$GREETER
	# ENOTSOCK: where the client is a pipe, as in arm64.sh.
	table true false <<'T'
EAGAIN|ENOTSOCK: recvfrom 0 _ 1 0x40 0 0
0|ENOTSOCK: sendto 1 _ 0 0x4040 0 0
0: write 2 _ 0; read 0 _ 0; poll _ 0 0; ppoll _ 0 _ 0 0; clock_gettime 1 _
T
	greeter_lives
}

@test "DESIGN 2: the greeter dies of any other system call; one log line, no process left" {
	plain_build "more calls are allowed"
	need_inject
	listen
	table new_greeter greeter_death <<'T'
killed: open =/etc/passwd 0; openat -100 =/etc/passwd 0; openat -100 =. 0
killed: execve =/bin/true 0 0; socket 1 1 0; socketpair 1 1 0 _; fork; vfork
killed: clone 17 0 0 0 0; ptrace 0 0 0 0; kill 0 0; tgkill 1 1 0; setuid 0
killed: setgroups 0 _; mount =none =/ =tmpfs 0 0; chroot =/; chdir =/
killed: mmap 0 4096 1 0x22 -1 0; mprotect 0 0 1; ioctl 0 0x541b _; prctl 3
killed: dup 0; fcntl 0 1; sendto 1 =x 1 0x4040 _ 16; sendmsg 0 _ 0
killed: recvmsg 0 _ 0x40; setsockopt 0 1 9 _ 4; getpid
killed|ENOSYS: prlimit64 0 7 0 _; clone3 _ 88
killed|ENOSYS: execveat -100 =/bin/true 0 0 0; bpf 0 _ 0; userfaultfd 1
killed|ENOSYS: memfd_create =x 0; seccomp 0 0 0
ENOSYS: io_uring_setup 1 _; openat2 -100 =. _ 24; pidfd_open 1 0; 400; 470
ENOSYS: 600; 0x40000002 =/etc/passwd 0; 0xffffffff
T
	greeter_lives
}

@test "DESIGN 2: in any build it dies of what no honest process does" {
	need_inject
	unprivileged
	listen
	table new_greeter greeter_death <<'T'
killed: execve =/bin/true 0 0; socket 1 1 0; clone 17 0 0 0 0
killed: ptrace 0 0 0 0; kill 0 0; setuid 0; chroot =/
T
}

@test "DESIGN 2: without its filter the greeter still has no files, no processes, no way back" {
	plain_build "it has no limits"
	need_inject
	wrap "$INJECT" -d EINVAL seccomp
	serve
	logged 'event=debug .*part=seccomp'
	PID=$GREETER
	table true false <<'T'
ENOENT: newfstatat -100 =/etc/passwd _ 0
ENOENT: newfstatat -100 =../../etc/passwd _ 0
EMFILE: openat -100 =. 0; dup 0; socket 1 1 0
EAGAIN: clone 17 0 0 0 0
EPERM: setuid 0; setgid 0; setgroups 0 _; chroot =.; kill 1 0
ENOMEM: mmap 0 0x8000000 1 0x22 -1 0
T
	greeter_lives
}

# The session

@test "DESIGN 2: the session has no privilege, and cannot gain any" {
	serve
	login
	facts "$SESSION" <<F
Uid $TEST_UID $TEST_UID $TEST_UID $TEST_UID
Gid $TEST_GID $TEST_GID $TEST_GID $TEST_GID
CapInh 0000000000000000
CapPrm 0000000000000000
CapEff 0000000000000000
CapAmb 0000000000000000
NoNewPrivs 1
Seccomp 2
Seccomp_filters $FILTERS
F
}

@test "DESIGN 2: the session holds the client, the log and files of the Maildir" {
	need_root "to look into processes"
	two_messages
	serve
	login
	say STAT 'RETR 1' NOOP
	hear '^\+OK 2 10'
	find "/proc/$SESSION/fd" -lname '*' -printf '%f\n' | sort -n | head -n 3 |
	    expect '0
1
2'
	find "/proc/$SESSION/fd" -name '[3-9]*' -printf '%l\n' | sort -u |
	    grep -vxF "$MAIL/pop3d.index" | expect "$MAIL
$MAIL/pop3d.lock"
}

# Where the session's descriptor of the Maildir is.
find_maildir() {
	DIR=$(find "/proc/$PID/fd" -lname "$MAIL" -printf '%f\n' | head -n 1)
	[ -n "$DIR" ]
}

# What leads out of the Maildir, and what does not.
outside() {
	echo private | as_user tee "$HOME_DIR/private" >/dev/null
	ln -s "$HOME_DIR/private" "$MAIL/cur/link"
	own
	new_session
	find_maildir
	table true false <<T
EACCES: openat -100 =/etc/passwd 0; openat -100 =/ 0
EACCES: openat -100 =$HOME_DIR 0; openat -100 =$HOME_DIR/private 0
EACCES: openat -100 =$HOME_DIR/private 1
EACCES: openat -100 =$HOME_DIR/created 0x41 0600; openat $DIR =../private 0
EACCES: openat $DIR =cur/link 0
[0-9]+: openat -100 =$MAIL/new/1 0; openat $DIR =new/1 0
[0-9]+: openat $DIR =created 0x41 0600
EACCES|EXDEV: renameat $DIR =new/1 -100 =$HOME_DIR/stolen
EACCES|EXDEV: renameat -100 =$HOME_DIR/private $DIR =new/private
EACCES|EXDEV: linkat $DIR =new/1 -100 =$HOME_DIR/stolen 0
EACCES|EXDEV: linkat -100 =$HOME_DIR/private $DIR =new/private 0
EACCES: unlinkat -100 =$HOME_DIR/private 0; unlinkat $DIR =tmp 0x200
T
}

@test "DESIGN 2: the session reaches no file but those of the Maildir" {
	not_under coverage "counts are written to any place"
	need_inject
	need_landlock
	two_messages
	outside
	session_lives
	rm "$MAIL/created" "$MAIL/cur/link"
	mail_files | expect "$MESSAGES"
	grep -x private "$HOME_DIR/private"
	[ ! -e "$HOME_DIR/stolen" ]
}

@test "DESIGN 2: without its filter it still makes no directory, link, device or process" {
	plain_build "it has no limits"
	need_inject
	need_landlock
	two_messages
	# shellcheck disable=SC2317 # the helpers call it
	as_user() {
		(cd "$HOME_DIR" && exec setpriv --reuid "$TEST_UID" \
		    --regid "$TEST_GID" --clear-groups env USER=joe \
		    HOME="$HOME_DIR" "$INJECT" -d EINVAL seccomp "$@")
	}
	outside
	table true false <<T
EACCES: mkdirat $DIR =directory 0700; symlinkat =/etc/passwd $DIR =symlink
EACCES: mknodat $DIR =fifo 010600 0
EAGAIN: clone 17 0 0 0 0
EPERM: setuid 0
T
	session_lives
}

@test "DESIGN 2: the session dies of what no honest session does, and nothing is changed" {
	need_inject
	two_messages
	table new_session session_death <<'T'
killed: execve =/bin/true 0 0; execveat -100 =/bin/true 0 0 0; fork; vfork
killed: clone 17 0 0 0 0; clone3 _ 88; socket 1 1 0; socketpair 1 1 0 _
killed: connect 0 _ 16; bind 0 _ 16; sendmsg 1 _ 0; recvmsg 0 _ 0
killed: ptrace 0 0 0 0; process_vm_readv 1 _ 1 _ 1 0
killed: process_vm_writev 1 _ 1 _ 1 0; pidfd_open 1 0; pidfd_getfd 0 0 0
killed: kill 0 0; tgkill 1 1 0; setuid 0; setgroups 0 _; capset _ _
killed: mount =none =/ =tmpfs 0 0; chroot =/; unshare 0x10000000; setns 0 0
killed: open_by_handle_at 0 _ 0; bpf 0 _ 0; io_uring_setup 1 _
killed: userfaultfd 1; perf_event_open _ 0 -1 -1 0; keyctl 0 0 0
killed: memfd_create =x 0; mknodat -100 =x 010600 0; personality 0xffffffff
T
	mail_files | expect "$MESSAGES"
}

@test "DESIGN 2: no memory of the session is made executable" {
	plain_build "mmap is allowed"
	need_inject
	two_messages
	table new_session session_death <<'T'
[0-9]+: mmap 0 4096 3 0x22 -1 0
0: mprotect 0 0 3
killed: mmap 0 4096 7 0x22 -1 0; mmap 0 4096 4 0x22 -1 0; mprotect 0 0 5
ENOSYS: pkey_mprotect 0 0 5 -1
T
	session_lives
}

@test "DESIGN 2: a session that was killed leaves no lock and no open connection" {
	need_inject
	serve
	login
	"$INJECT" "$SESSION" execve =/bin/true 0 0 | expect 'killed SIGSYS'
	closed
	hang_up
	wait_for all_gone
	connect
	login
	say QUIT
	hear '^\+OK'
}

@test "DESIGN 2: what the session's filter does not know fails with ENOSYS" {
	plain_build "more calls are allowed"
	need_inject
	two_messages
	table new_session session_death <<T
ENOSYS: open =/etc/passwd 0; creat =$MAIL/new/3 0600
ENOSYS: mkdir =$MAIL/directory 0700; mkdirat -100 =$MAIL/directory 0700
ENOSYS: symlinkat =/etc/passwd -100 =$MAIL/symlink
ENOSYS: mknod =$MAIL/fifo 010600 0; rmdir =$MAIL/tmp
ENOSYS: setxattr =$MAIL/new/1 =user.x =x 1 0; chmod =$MAIL/new/1 0777
ENOSYS: fchmodat -100 =$MAIL/new/1 0777; chown =$MAIL/new/1 -1 -1
ENOSYS: fchownat -100 =$MAIL/new/1 -1 -1 0; truncate =$MAIL/new/1 0
ENOSYS: ftruncate 0 0; utimensat -100 =$MAIL/new/1 0 0; chdir =/
ENOSYS: readlinkat -100 =/proc/self/exe _ 100; openat2 -100 =. _ 24
ENOSYS: ioctl 0 0x541b _; prctl 3; seccomp 0 0 0; prlimit64 0 7 0 _; dup 0
ENOSYS: fcntl 0 1; fcntl 0 0; fcntl 99 6 _
EBADF: fcntl 99 37 _
ENOSYS: shmget 0 4096 0700; inotify_init1 0; landlock_create_ruleset 0 0 1
ENOSYS: 400; 470; 600; 0x40000002 =/etc/passwd 0; 0xffffffff
T
	session_lives
	mail_files | expect "$MESSAGES"
}

@test "DESIGN 2: a datagram of the session goes to nobody but syslog" {
	need_inject
	two_messages
	OPTIONS=(-l)
	printf '\x01\x00%s\0' "$RECORD/socket" >"$RECORD/address"
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])' "$RECORD/socket"
	chmod 666 "$RECORD/socket"
	# Nobody listens: to be refused that is to have reached it.
	table new_session session_death <<T
killed|ENOSYS: sendto 10 =x 1 0x4040 @$RECORD/address $(wc -c <"$RECORD/address")
T
}

# The monitor

@test "DESIGN 2: the checkpassword program inherits no limit, no filter, no promise" {
	program <<'P'
cat /proc/$$/limits >"$RECORD/limits"
cat /proc/$$/status >"$RECORD/status"
exit 1
P
	serve -n 1
	say 'USER joe' 'PASS no'
	hear '^\+OK'
	hear '^-ERR \[AUTH\]'
	diff "/proc/${SERVERS[0]}/limits" "$RECORD/limits"
	for name in NoNewPrivs Seccomp Seccomp_filters; do
		grep "^$name:" "/proc/${SERVERS[0]}/status"
	done >"$RECORD/expected"
	grep -E '^(NoNewPrivs|Seccomp(_filters)?):' "$RECORD/status" |
	    expect "$(cat "$RECORD/expected")"
}

@test "DESIGN 2: the monitor holds what it was given, and one socket while there is a greeter" {
	serve
	# It may still be about to close the greeter's end.
	wait_for has_descriptors "$MONITOR" 4
	find "/proc/$MONITOR/fd" -lname 'socket:*' | wc -l | expect 3
	login
	say NOOP
	hear '^\+OK'
	wait_for gone "$GREETER"
	# shellcheck disable=SC2012 # numbers
	ls "/proc/$MONITOR/fd" | expect '0
1
2'
}

# Parts that are missing: -S

# each_part COMMAND ...: with PART, and WITHOUT in front of a pop3d that lacks
# that part.
each_part() {
	local call wrong=0

	while read -r PART call; do
		if [ "$PART" = limits ] && instrumented; then
			continue # the tools have limits of their own
		fi
		WITHOUT=("$INJECT" -d "${call% *}" "${call#* }")
		: >"$LOG"
		"$@" && continue
		echo "without $PART: the log:" >&2
		cat "$LOG" >&2
		wrong=1
	done <<'T'
no-new-privileges EINVAL prctl:38
dumpable EINVAL prctl:4
limits EINVAL prlimit64
landlock ENOSYS landlock_create_ruleset
seccomp EINVAL seccomp
T
	return "$wrong"
}

# Each part is missing in greeter and session, but Landlock in the session.
missing() {
	local n=$1

	grep -c "^pop3d: event=debug what=\"a part of the sandbox is missing\" part=$PART error=\"[A-Z][A-Za-z ]*\"\$" \
	    "$LOG" | expect "$n" && [ "$(grep -c debug "$LOG")" = "$n" ]
}

greet() {
	local code=0

	greeter_command "$@"
	printf 'QUIT\r\n' | "${WITHOUT[@]}" "${POP3D[@]}" >"$RECORD/out" \
	    2>>"$LOG" || code=$?
	[ "$code" = "$CODE" ]
}

strict_greeter() {
	[ "$PART" != landlock ] || return 0
	CODE=111
	greet -S && same /dev/null "$RECORD/out" && missing 1 &&
	    [ "$(wc -l <"$LOG")" = 1 ]
}

@test "DESIGN 3: -S: where a part is missing there is no greeting, a log line, exit 111" {
	need_landlock
	each_part strict_greeter
}

strict_session() {
	printf 'STAT\r\nQUIT\r\n' |
	    as_user "${WITHOUT[@]}" "$POP3D_BIN/pop3d" -t -S \
	    >"$RECORD/out" 2>>"$LOG" && tr -d '\r' <"$RECORD/out" | forms |
	    expect '-ERR [SYS/PERM]' && missing 1 && [ "$(wc -l <"$LOG")" = 1 ]
}

@test "DESIGN 3: -S: a session answers -ERR [SYS/PERM], and exits 0" {
	not_under coverage "counts are written to any place"
	need_landlock
	each_part strict_session
}

serves_all_the_same() {
	local n=2

	[ "$PART" != landlock ] || n=1
	greeter_command -c
	printf '%s\r\n' 'USER joe' 'PASS secret' STAT QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" -- "${WITHOUT[@]}" \
	    "${POP3D[@]}" 2>>"$LOG" | grep -c '^+OK' | expect 5 && missing "$n"
}

@test "DESIGN 2: without -S greeter and session serve, and a line at debug level says so" {
	not_under coverage "counts are written to any place"
	need_landlock
	each_part serves_all_the_same
}

@test "DESIGN 3: -S where nothing is missing: all is served, and no line says anything" {
	need_landlock
	greeter_command -c -S
	printf '%s\r\n' 'USER joe' 'PASS secret' STAT QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" -- "${POP3D[@]}" 2>>"$LOG" |
	    grep -c '^+OK' | expect 5
	not grep debug "$LOG"
}

# Core dumps

@test "DESIGN 2: a crash leaves no core file" {
	plain_build "its tool handles the signal"
	ulimit -c unlimited || skip "core files are forbidden here"
	as_user sh -c 'kill -SEGV $$' || :
	find "$HOME_DIR" -name '*core*' -delete -print | grep . ||
	    skip "core files do not come here"
	open_session
	kill -SEGV "$SESSION"
	end_session
	[ -z "$(find "$HOME_DIR" -name '*core*')" ]
	unprivileged
	cd "$HOME_DIR"
	serve
	kill -SEGV "$GREETER"
	closed
	wait_for gone "$MONITOR"
	[ -z "$(find "$HOME_DIR" -name '*core*')" ]
	logged 'event=end .*signal=11$'
}
