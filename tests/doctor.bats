#!/usr/bin/env bats
# pop3d-doctor: every finding, provoked for real; and that it does no harm.

# SC2016: hashes hold dollar signs, and scripts are the inner shell's.
# SC2030, SC2031: each test is a process, and sets its own.
# shellcheck disable=SC2016,SC2030,SC2031

load helper

setup_file() {
	build_inject
}

# A service in which nothing is wrong: joe, in a passwd-file, with a Maildir.
setup() {
	not_under msan "libcrypt is not made for it"
	not_under coverage "it sees that the sandbox is not whole"
	greeter_setup
	unset SSLCTLFD SSLREADFD SSLWRITEFD UCSPITLS
	BIN=$POP3D_BIN
	USERS=$BATS_TEST_TMPDIR/users
	OUT=$BATS_TEST_TMPDIR/out
	CHECK=("$BIN/pop3d-checkpassword" -f "$USERS")
	UNDER=()
	chmod 700 "$HOME_DIR" "$MAIL" "$MAIL"/*
	users "joe:{PLAIN}secret:$TEST_UID:$TEST_GID::$HOME_DIR"
}

teardown() {
	pop3d_teardown
}

# users LINE ...: the passwd-file.
users() {
	rm -f "$USERS"
	(umask 077 && printf '%s\n' "$@" >"$USERS")
}

# doctor ARGUMENT ...: sets CODE, and $OUT is what it says.
doctor() {
	CODE=0
	"${UNDER[@]}" "$BIN/pop3d-doctor" "$@" >"$OUT" 2>>"$LOG" || CODE=$?
}

# service [OPTION ...]: of the whole service, behind TLS.
service() {
	doctor -s -r "$EMPTY" "$@" "${CHECK[@]}"
}

# maildir [OPTION ...]: of joe's Maildir alone.
maildir() {
	doctor -t -M "$MAIL" "$@"
}

# said CODE PATTERN ...: that exit code, and each pattern is a line's beginning.
said() {
	local pattern code=$1

	for pattern in "${@:2}"; do
		grep -Eq "^$pattern" "$OUT" && continue
		echo "not said: $pattern" >&2
		code=never
	done
	[ "$CODE" = "$code" ] && return
	echo "exit $CODE:" >&2
	cat "$OUT" >&2
	return 1
}

# quiet: exit 0, and no word; an ordinary user is told what he is.
quiet() {
	if [ "$(id -u)" != 0 ]; then
		sed -i '/^note: Not run by root:/d' "$OUT"
	fi
	[ "$CODE" = 0 ] && same /dev/null "$OUT"
}

# without ERROR CALL ...: the doctor and all its children lack a system call.
without() {
	UNDER=("$INJECT" -d "$@")
}

# elsewhere: the programs are copies, to be spoilt.
elsewhere() {
	BIN=$BATS_TEST_TMPDIR/sbin
	mkdir -m 755 "$BIN"
	cp "$POP3D_BIN"/pop3d* "$BIN"
	CHECK[0]=$BIN/pop3d-checkpassword
}

@test "pop3d-doctor: where nothing is wrong it says nothing, and exits 0" {
	echo hello | deliver new/1.a
	service -U joe
	quiet
	maildir
	quiet
}

@test "pop3d-doctor: with -v it says what is right, too" {
	service -v -U joe
	said 0 'ok: .*pop3d takes these options' 'ok: .*refuses strangers' \
	    'ok: The sandbox holds' 'ok: .*pop3d greets its clients' \
	    'ok: User [0-9]+ can execute' 'ok: .*/Maildir has 0 messages' \
	    'ok: .*users: 1 users' 'ok: The clock' \
	    'ok: .* has no index yet' 'ok: The checkpassword program is'
	[ "$(id -u)" != 0 ] ||
	    said 0 'ok: .*empty is fit to be the greeter'
}

@test "pop3d-doctor: it takes pop3d's options, and two that pop3d will never have" {
	local top=$BATS_TEST_DIRNAME/.. options

	options=$(grep -o '"+ac[a-zA-Z:]*"' "$top/pop3d.c")
	[ "$(wc -l <<<"$options")" = 1 ]
	grep -F "$options" "$top/doctor.c"
	grep -A 1 -F "$options" "$top/doctor.c" | grep '"M:U:"'
	[[ $options != *[MU]* ]]
	doctor -P -n 4 -T 300 -h mail.example.org -m Maildir \
	    -r "$EMPTY" -u 65533:65533 -s "${CHECK[@]}"
	quiet
}

@test "pop3d-doctor: options that nobody has are wrong usage, exit 100" {
	local code

	for option in -Z -U -M --help; do
		code=0
		"$BIN/pop3d-doctor" "$option" >"$OUT" \
		    2>"$RECORD/usage" || code=$?
		[ "$code" = 100 ]
		same /dev/null "$OUT"
		grep '^usage: pop3d-doctor' "$RECORD/usage"
	done
}

@test "pop3d-doctor: a command line that pop3d refuses is an error" {
	service -n 0
	said 1 'error: .*pop3d does not take this command line \(exit 100\): .*-n'
	service -u 0:0
	said 1 'error: .*does not take this command line .*-u'
	doctor -t -r /var/empty
	said 1 'error: .*does not take this command line .*-t takes no'
}

# Programs

@test "pop3d-doctor: no pop3d, nor where to look for it" {
	elsewhere
	rm "$BIN/pop3d"
	PATH=$RECORD service
	said 1 'error: pop3d is neither beside pop3d-doctor nor in PATH'
}

@test "pop3d-doctor: a pop3d that other users cannot reach, by the directory to blame" {
	need_root "an ordinary user runs his own"
	elsewhere
	chmod 700 "$BIN"
	service
	said 1 "error: $BIN: user 65534 cannot pass this directory, .*chmod a\\+x $BIN"
	chmod 755 "$BIN"
	chmod 700 "$BIN/pop3d"
	service
	said 1 "error: $BIN/pop3d: user 65534 cannot execute it"
	chown "$TEST_UID" "$BIN/pop3d"
	CHECK+=(-u "$TEST_UID:$TEST_GID")
	service
	quiet
	users "joe:{PLAIN}secret:7111:7111::$HOME_DIR"
	service -U joe
	said 1 "error: $BIN/pop3d: user 7111 cannot execute it"
}

@test "pop3d-doctor: programs that others may change" {
	elsewhere
	chmod g+w "$BIN/pop3d"
	chmod o+w "$BIN/pop3d-checkpassword"
	service
	said 1 "error: $BIN/pop3d: others .* may change this program" \
	    "error: $BIN/pop3d-checkpassword: others .* chmod go-w"
}

@test "pop3d-doctor: a checkpassword program that is not there, or not one to be executed" {
	local code

	doctor -s -r "$EMPTY" no-such-program
	said 1 'error: no-such-program: there is no such program .* in PATH nor in /usr'
	touch "$RECORD/program"
	chmod 644 "$RECORD/program"
	doctor -s -r "$EMPTY" "$RECORD/program"
	said 1 'error: .*/program: there is no such program .*at that place'
}

@test "pop3d-doctor: of a foreign checkpassword program it says that it knows nothing" {
	doctor -s -r "$EMPTY" "$PROGRAM"
	said 0 'note: .*checkpw is not pop3d.s own'
}

@test "pop3d-doctor: a program between checkpassword and session that is not there" {
	service
	quiet
	CHECK+=(relay-ctrl-nowhere)
	service
	said 1 'error: relay-ctrl-nowhere: .*pop3d-checkpassword is to execute this'
}

@test "pop3d-doctor: a pop3d that does not greet" {
	local inject=(strace -f -qq -o /dev/null
	    -e inject=getrandom:error=ENOSYS)

	"${inject[@]}" true 2>/dev/null || skip "needs strace"
	UNDER=("${inject[@]}")
	service -a
	said 1 'error: .*pop3d does not greet a client \(exit 111\)'
}

# The greeter

@test "pop3d-doctor: the greeter's root is missing, no directory, not root's, writable, or not empty" {
	need_root "the greeter has a root directory only then"
	doctor -s -r "$EMPTY/no" "${CHECK[@]}"
	said 1 'error: .*/no: the greeter.s root directory: No such .*mkdir -m 555'
	doctor -s -r "$USERS" "${CHECK[@]}"
	said 1 'error: .*/users is no directory'
	mkdir "$EMPTY/thing"
	service
	said 0 'warning: .*empty: .* is not empty: there is thing'
	chmod o+w "$EMPTY"
	chown 1 "$EMPTY"
	service
	said 1 'error: .*belongs to user 1\. Mend it: chown root' \
	    'error: .*others than root may write .*chmod go-w'
}

@test "pop3d-doctor: the greeter shares its user with a process, with all mail, or with a user" {
	need_root "the greeter has a user of its own only then"
	setpriv --reuid 7233 --regid 7233 --clear-groups sleep 60 3>&- &
	SERVERS+=($!)
	wait_for grep -q '^Uid:.7233' "/proc/$!/status"
	service -u 7233:7233
	said 0 "warning: Process $! \\((sleep|setpriv)\\) has the greeter's user, 7233"
	service -u "$TEST_UID:$TEST_GID"
	said 0 "warning: .*users, line 1: joe has the greeter's number, $TEST_UID"
	CHECK+=(-u 7234:7234)
	service -u 7234:7234
	said 0 'warning: The greeter.s user, 7234, is also the one whom all mail'
}

# The sandbox

@test "pop3d-doctor: a part of the sandbox that is missing is a warning, and with -S an error" {
	local part call roles

	while read -r part call roles; do
		if [ "$part" = limits ] && instrumented; then
			continue # the tools have limits of their own
		fi
		without "$call" "${roles%%,*}"
		roles=${roles#*,}
		service
		said 0 "warning: A part of the sandbox is missing for the ($roles): $part \\("
		service -S
		said 1 "error: A part of the sandbox is missing for the ($roles): $part \\("
	done <<'T'
no-new-privileges EINVAL prctl:38,greeter
dumpable EINVAL prctl:4,session
limits EINVAL prlimit64,greeter
landlock ENOSYS landlock_create_ruleset,session
seccomp EINVAL seccomp,greeter|session
T
}

@test "pop3d-doctor: a kernel that takes the filter and does not obey it" {
	UNDER=(strace -f -qq -o /dev/null -e inject=seccomp:retval=0)
	"${UNDER[@]}" true 2>/dev/null || skip "needs strace"
	service
	said 1 "error: The kernel takes the greeter's seccomp filter and does not" \
	    "error: The kernel takes the session's"
}

@test "pop3d-doctor: a kernel without close_range" {
	without ENOSYS close_range
	# Or all of them would be closed one by one.
	ulimit -n 64
	service
	said 0 'warning: The kernel lacks close_range .*Linux 5.9'
}

# Log and clock

@test "pop3d-doctor: -l without a syslog" {
	without ENOENT connect
	service -l
	said 0 'warning: /dev/log: no syslog can be reached'
}

@test "pop3d-doctor: programs and files from the future" {
	elsewhere
	touch -d tomorrow "$BIN/pop3d" "$USERS"
	service
	said 0 "warning: $BIN/pop3d is from the future, by [0-9]+ seconds: the clock" \
	    "warning: $USERS is from the future"
}

@test "pop3d-doctor: a clock of before 2026" {
	local fake

	plain_build "it does not get on with faketime"
	fake=$(ldconfig -p | sed -n 's/.*libfaketime.so.1 .*=> //p')
	fake=${fake:-$(echo /usr/lib/*/faketime/libfaketime.so.1)}
	[ -e "$fake" ] || skip "needs faketime"
	if ! readelf -Wl "$BIN/pop3d-doctor" | grep -q INTERP; then
		skip "a static program's clock cannot be set"
	fi
	UNDER=(env LD_PRELOAD="$fake" FAKETIME='2020-01-01 00:00:00')
	maildir
	said 1 'error: The clock is wrong: it says that 2026 is yet to come'
}

@test "pop3d-doctor: mail from the future" {
	echo hello | deliver new/1.a
	touch -d '3 days' "$MAIL/new/1.a"
	maildir
	said 0 'warning: .*/new/1.a is from the future, by [0-9]+ seconds'
}

# TLS

@test "pop3d-doctor: without TLS only this machine may log in, and STLS is not offered" {
	doctor -r "$EMPTY" "${CHECK[@]}"
	said 0 'note: Only clients on this machine, .*; STLS is not offered'
	TCPREMOTEIP=192.0.2.7 doctor -r "$EMPTY" "${CHECK[@]}"
	said 0 'warning: The client of this environment, 192.0.2.7, may not'
	TCPREMOTEIP=127.0.0.1 doctor -r "$EMPTY" "${CHECK[@]}"
	said 0 'note: Only clients on this machine'
	SSL_PROTOCOL=TLSv1.3 TCPREMOTEIP=192.0.2.7 doctor -r "$EMPTY" \
	    "${CHECK[@]}"
	quiet
}

@test "pop3d-doctor: -c and -s where they are needless or wrong" {
	doctor -c -r "$EMPTY" "${CHECK[@]}"
	said 0 'warning: With -c passwords cross the network in clear text'
	service -c
	said 0 'warning: -c is not needed with -s'
	SSL_PROTOCOL=TLSv1.3 service
	said 0 'note: -s is not needed: SSL_PROTOCOL'
	SSLCTLFD=20 SSLREADFD=21 SSLWRITEFD=22 service 20<&0 21<&0 22<&0
	said 1 'error: -s says that TLS is on from the beginning, but a UCSPI-TLS'
}

@test "pop3d-doctor: a UCSPI-TLS wrapper, and what it leaves" {
	SSLCTLFD=20 SSLREADFD=21 doctor -r "$EMPTY" "${CHECK[@]}" \
	    20<&0 21<&0
	said 1 'error: Of SSLCTLFD, SSLREADFD and SSLWRITEFD only 2 are set'
	SSLCTLFD=20 SSLREADFD=21 SSLWRITEFD=x doctor -r "$EMPTY" \
	    "${CHECK[@]}" 20<&0 21<&-
	[ "$(grep -Ec '^warning: SSL(READFD is "21"|WRITEFD is "x"), which is no open descriptor' "$OUT")" = 2 ]
	UCSPITLS=- SSLCTLFD=20 SSLREADFD=21 SSLWRITEFD=22 doctor -r "$EMPTY" \
	    "${CHECK[@]}" 20<&0 21<&0 22<&0
	said 0 'note: UCSPITLS is "-", so STLS is not offered' 'note: Only clients'
	UCSPITLS='!' doctor -c -r "$EMPTY" "${CHECK[@]}"
	said 1 'error: UCSPITLS is "!": .* no UCSPI-TLS wrapper' \
	    'warning: -c comes to nothing'
}

@test "pop3d-doctor: a pop3d that offers STLS or not, whatever its version" {
	SSLCTLFD=20 SSLREADFD=21 SSLWRITEFD=22 doctor -v -r "$EMPTY" \
	    "${CHECK[@]}" 20<&0 21<&0 22<&0
	if SSLCTLFD=20 SSLREADFD=21 SSLWRITEFD=22 "$BIN/pop3d" -r "$EMPTY" \
	    2>>"$LOG" 20<&0 21<&0 22<&0 < <(lines CAPA QUIT) |
	    grep -q '^STLS'; then
		said 0 'note: Only clients on this machine, .* after STLS they may'
	else
		said 1 'error: There is a UCSPI-TLS wrapper, but .* does not offer STLS'
	fi
}

@test "pop3d-doctor: -x is for a port that the proxy alone can reach" {
	doctor -x -r "$EMPTY" "${CHECK[@]}"
	[ "$CODE" != 100 ]
	grep '^warning: With -x whoever connects names' "$OUT"
	grep '^note: Nobody may log in with a password in clear text but where the proxy' "$OUT"
}

# Users

@test "pop3d-doctor: a passwd-file that is missing, writable or readable by others, or not root's" {
	chmod 620 "$USERS"
	service
	said 1 'error: .*/users: others .* may write .*chmod 600'
	chmod 640 "$USERS"
	service
	said 0 'warning: .*/users: others .* may read the hashes'
	if [ "$(id -u)" = 0 ]; then
		chmod 600 "$USERS"
		chown 7233 "$USERS"
		service
		said 0 'warning: .*/users: this passwd-file belongs to user 7233'
	fi
	rm "$USERS"
	service
	said 1 'error: .*/users: this passwd-file: No such file'
	mkdir "$USERS"
	chmod 700 "$USERS"
	service
	said 1 'error: It says: .*not a file' 'error: .*cannot check passwords'
}

@test "pop3d-doctor: lines of the passwd-file that are malformed, in vain, or given twice" {
	local ids=$TEST_UID:$TEST_GID::$HOME_DIR

	users "joe:{PLAIN}secret:$ids" nonsense "ann:{PLAIN}x:1x:1::/" \
	    "joe:{PLAIN}other:$ids" ".dot:{PLAIN}x:$ids" \
	    "cr:{PLAIN}x:$ids:/bin/sh"$'\r' "# none" ""
	service
	said 1 'warning: .*/users: line 2 is malformed' \
	    'warning: .*/users: line 3 is malformed' \
	    'warning: .*/users, line 4: joe stands in line 1 already' \
	    'warning: .*/users, line 5: "\.dot" is no name' \
	    'error: .*/users, line 6: it ends in a carriage return'
	users '# nobody'
	service
	said 1 'error: .*/users: there is no user in this passwd-file'
}

@test "pop3d-doctor: users of number 0, of none, without a home or with one that is not there" {
	users "root:{PLAIN}x:0:0::$HOME_DIR" "far:{PLAIN}x:$TEST_UID:$TEST_GID::$HOME_DIR/far" \
	    "rel:{PLAIN}x:$TEST_UID:$TEST_GID::home" "none:{PLAIN}x:$TEST_UID:$TEST_GID"
	service
	said 1 'error: .*line 1: root has user 0, and is never served' \
	    'error: .*line 2: far.s home directory, .*/far, does not exist\. Make it' \
	    'error: .*line 3: rel has no absolute home' \
	    'error: .*line 4: none has no absolute home'
	users 'joe:{PLAIN}x'
	CHECK+=(-h "$BATS_TEST_TMPDIR/%n")
	mkdir "$BATS_TEST_TMPDIR/joe"
	service
	if [ "$(id -u)" = 0 ]; then
		said 1 'error: .*line 1: joe has no user and group numbers'
	else
		quiet
	fi
	CHECK+=(-u "$TEST_UID:$TEST_GID")
	service
	quiet
	CHECK+=(-h "$BATS_TEST_TMPDIR/%d/%n")
	service
	said 1 'error: .*line 1: joe has no absolute home'
}

@test "pop3d-doctor: who is not root becomes nobody else" {
	users "joe:{PLAIN}x:7112:7112::$HOME_DIR"
	own_users() {
		[ "$(id -u)" != 0 ] || chown "$TEST_UID" "$USERS"
	}
	own_users
	[ "$(id -u)" != 0 ] || UNDER=(setpriv --reuid "$TEST_UID" --regid \
	    "$TEST_GID" --clear-groups)
	service -U joe
	said 1 'note: Not run by root' \
	    'error: .*line 1: only root can become user 7112 for joe' \
	    'error: Only root can look at things as user 7112'
	doctor -s -r "$EMPTY" "$BIN/pop3d-checkpassword"
	[ -r /etc/shadow ] && [ "$(id -u)" != 0 ] ||
	    said 1 'error: It says: .*/etc/shadow' 'error: .*cannot check passwords'
}

@test "pop3d-doctor: hashes and schemes that fit nothing, and old ones" {
	local rest=$TEST_UID:$TEST_GID::$HOME_DIR

	users "a:{CRYPT}\$9\$saltsalt\$hashhashhash:$rest" "b:{SSHA}c2VjcmV0c2VjcmV0c2VjcmV0:$rest" \
	    "c:short:$rest" 'd:$1$E1D66Nqu$rXjPAu3T9NMAyHq8HTcEV/:'"$rest" \
	    'e:{SHA512-CRYPT}$6$rounds=1000$sE0tnoLXkEwI8Znb$zX4USrdej/4yRX3u/IAVeG5jWEgIMf2qnKH8uwsCAp1DuuIysYt/Q3Gt0Usj2uEe1fiBbY.pbgqAyeUOXySLO0:'"$rest" \
	    "f:{CRYPT}*:$rest"
	service -v
	said 1 'error: .*line 1: libcrypt does not know the method of a.s hash' \
	    'error: .*line 2: b.s secret is neither a hash nor' \
	    'error: .*line 3: c.s secret is neither a hash' \
	    'warning: .*: 1 hashes are of methods that are easily guessed' \
	    'ok: .*: 6 users, 1 of them locked'
	not grep 'line [456]:' "$OUT"
	# No secret is ever printed.
	not grep 'saltsalt\|c2Vj\|E1D66\|zX4U' "$OUT"
}

@test "pop3d-doctor: of many findings of a kind the first, and how many more there are" {
	local i lines=()

	for i in {1..20}; do
		lines+=("u$i:{CRYPT}\$9\$saltsalt\$hash$i:$TEST_UID:$TEST_GID::$HOME_DIR")
	done
	users "${lines[@]}"
	service
	said 1 'error: .*line 5: libcrypt' 'note: There are 15 more such hashes'
	not grep 'line 6:' "$OUT"
}

@test "pop3d-doctor: APOP without secrets in clear text" {
	local hash='$1$E1D66Nqu$rXjPAu3T9NMAyHq8HTcEV/'

	service -a
	quiet
	users "joe:{PLAIN}secret:$TEST_UID:$TEST_GID::$HOME_DIR" \
	    "ann:$hash:$TEST_UID:$TEST_GID::$HOME_DIR"
	service -a
	said 0 'warning: .*-a offers APOP to all, but 1 users have no'
	users "ann:$hash:$TEST_UID:$TEST_GID::$HOME_DIR"
	service -a
	said 1 'error: .*-a offers APOP, but no user has a \{PLAIN\} secret'
	doctor -s -a -r "$EMPTY" "$BIN/pop3d-checkpassword"
	said 1 'error: -a offers APOP, but the system has only hashes'
}

@test "pop3d-doctor: a user who is not there" {
	service -U ann
	said 1 'error: .*/users: there is no user ann in this passwd-file'
	doctor -s -r "$EMPTY" -U no-such-user "$BIN/pop3d-checkpassword"
	said 1 'error: The system has no user no-such-user'
}

@test "pop3d-doctor: accounts of the system that are locked, expired, or not in /etc/shadow" {
	local line pattern

	need_root "to read /etc/shadow"
	unshare -m true || skip "needs namespaces"
	UNDER=(unshare -m sh -c
	    'mount --bind "$RECORD/shadow" /etc/shadow && exec "$@"' sh)
	while IFS='|' read -r line pattern; do
		printf '%s\n' 'root:*:19000:0:99999:7:::' "$line" \
		    >"$RECORD/shadow"
		chmod 600 "$RECORD/shadow"
		doctor -s -r "$EMPTY" -U daemon "$BIN/pop3d-checkpassword"
		said 1 "error: $pattern"
	done <<'T'
daemon:*:19000:0:99999:7:::|User daemon has no password in /etc/shadow, or a locked
daemon:$1$E1D66Nqu$rXjPAu3T9NMAyHq8HTcEV/:19000:0:99999:7::19001:|User daemon's account has expired
daemon:$1$E1D66Nqu$rXjPAu3T9NMAyHq8HTcEV/:19000:0:10:7:5::|User daemon's password has expired
|User daemon is not in /etc/shadow
T
}

# Mail

@test "pop3d-doctor: a home directory or a Maildir that is not there, or not to be entered" {
	rm -r "$MAIL"
	service -U joe
	said 1 "error: $MAIL: there is no such Maildir\. Make it: install -d -o $TEST_UID -g $TEST_GID"
	touch "$MAIL"
	service -U joe
	said 1 "error: $MAIL: user $TEST_UID cannot open this Maildir: Not a directory"
	rm -r "$HOME_DIR"
	service -U joe
	said 1 "error: $HOME_DIR: user $TEST_UID cannot enter this home"
	maildir
	said 1 "error: $MAIL: this Maildir: No such file"
}

@test "pop3d-doctor: the Maildir that a user's entry names, but for -m" {
	users "joe:{PLAIN}secret:$TEST_UID:$TEST_GID::$HOME_DIR::x=y pop3d_maildir=Other"
	service -U joe
	said 1 "error: $HOME_DIR/Other: there is no such Maildir\\."
	service -m Maildir -U joe
	quiet
}

@test "pop3d-doctor: what it says to make is right" {
	rm -r "$MAIL"
	service -U joe
	eval "$(sed -n 's/^error: .*no such Maildir\. Make it: \(.*\)$/\1/p' "$OUT")"
	service -U joe
	quiet
}

@test "pop3d-doctor: new, cur or tmp are missing, or links" {
	rmdir "$MAIL/new" "$MAIL/tmp"
	maildir
	said 1 'error: .*/new is missing: nobody can log in' \
	    'note: .*/tmp is missing: pop3d can do without'
	ln -s cur "$MAIL/new"
	maildir
	said 1 'error: .*/new is no directory, or a link to one'
	rm "$MAIL/new"
	mkdir -m 700 "$MAIL/new"
	own
	maildir
	said 0 'note: .*/tmp is missing'
}

@test "pop3d-doctor: directories that the user may not read or write, or that are not his" {
	chmod 770 "$MAIL"
	chmod 500 "$MAIL/new"
	chmod 300 "$MAIL/cur"
	maildir
	said 1 "warning: $MAIL: others .* may write to this directory \\(mode 0770\\)" \
	    "error: $MAIL/new: user $TEST_UID may not write to this directory" \
	    "error: $MAIL/cur: user $TEST_UID may not read this directory"
	[ "$(id -u)" = 0 ] || return 0
	chmod 700 "$MAIL"
	chmod 777 "$MAIL/new" "$MAIL/cur"
	chown 7233 "$MAIL/new"
	maildir
	said 0 "warning: $MAIL/new: this directory belongs to user 7233, not to $TEST_UID"
	chown 0 "$MAIL"
	maildir
	said 1 "error: $MAIL belongs to root, whose mail is never served"
}

@test "pop3d-doctor: directories changed in the future" {
	touch -d '2 days' "$MAIL/cur"
	maildir
	said 0 'warning: .*/cur was changed in the future, by [0-9]+ seconds: until then the index .* touch .*/cur'
	touch "$MAIL/cur"
	maildir
	quiet
}

@test "pop3d-doctor: what is no message in new and cur" {
	mkdir "$MAIL/new/dir"
	ln -s /etc/passwd "$MAIL/cur/link"
	mkfifo "$MAIL/new/fifo"
	touch "$MAIL/cur/.dot"
	python3 -c 'import socket, sys, os
os.chdir(sys.argv[1])
socket.socket(socket.AF_UNIX).bind("socket")' "$MAIL/new"
	own
	maildir
	said 0 'warning: .*/new/dir is a directory, and never listed' \
	    'warning: .*/cur/link is a symbolic link' \
	    'warning: .*/new/fifo is a FIFO' 'warning: .*/new/socket is a socket' \
	    'warning: .*/cur/\.dot is a file whose name begins with a dot'
	[ "$(id -u)" = 0 ] || return 0
	rm -r "$MAIL/new/dir"
	mknod "$MAIL/new/device" c 1 3 || return 0
	maildir
	said 0 'warning: .*/new/device is a device'
}

@test "pop3d-doctor: old files in tmp, and messages that the user cannot read" {
	touch -d '3 days ago' "$MAIL/tmp/1"
	touch "$MAIL/tmp/2"
	echo hello | deliver new/1.a
	chmod 0 "$MAIL/new/1.a"
	maildir
	said 1 'warning: .*/tmp: 1 files are older than 36 hours' \
	    "error: .*/new/1.a: user $TEST_UID may not read this message .*mode 0000"
}

@test "pop3d-doctor: files of one name, and messages of one unique-id" {
	local id

	echo hello | deliver new/1.a
	echo hello | deliver cur/1.a:2,S
	printf 'odd' | deliver $'new/2.\x01'
	id=$(printf 'UIDL 2\nQUIT\n' | session | sed -n '2s/^+OK 2 //p')
	echo hello | deliver "new/$id"
	maildir
	said 1 'warning: .*/1\.a.* and .*/1\.a.* have one unique-id, and are one message' \
	    "error: .* have the same unique-id, $id:"
	grep 'and 2\.\\x01 have\|: 2\.\\x01 and' "$OUT"
}

@test "pop3d-doctor: lines of pop3d.uidl that come to nothing" {
	echo hello | deliver new/1.a
	echo hello | deliver new/2.b
	printf '%s\n' '1.a one' nonsense '2.b one' '1.a 2.b' | deliver pop3d.uidl
	maildir
	said 0 'warning: pop3d.uidl: "nonsense" is ignored: not a name and a unique-id' \
	    'warning: pop3d.uidl: "one" is ignored: given twice' \
	    'warning: pop3d.uidl: "2.b" is ignored: the unique-id of another'
	rm "$MAIL/pop3d.uidl"
	mkdir "$MAIL/pop3d.uidl"
	own
	maildir
	said 1 'error: pop3d.uidl: cannot read'
}

# forge name|time: the index has another name of 1.a, or was written far from
# now, and has right checksums.
forge() {
	python3 - "$MAIL/pop3d.index" "$1" <<'P'
import struct, sys

HEADER, RECORDS_SUM, LISTED = 144, 48, 120

def checksum(octets):
    total = 1
    for (word,) in struct.iter_unpack("=Q", octets):
        total = (total ^ word) * 0x9e3779b97f4a7c15 & 0xffffffffffffffff
        total ^= total >> 32
    return total

def put(place, number):
    data[place:place + 8] = struct.pack("=Q", number)

data = bytearray(open(sys.argv[1], "rb").read())
if sys.argv[2] == "name":
    data[data.index(b"1.a\0")] = ord("3")
    put(RECORDS_SUM, checksum(bytes(data[HEADER:])))
else:
    put(LISTED, 4102444800 * 10 ** 9)
put(HEADER - 8, checksum(bytes(data[:HEADER - 8])))
open(sys.argv[1], "r+b").write(data)
P
}

@test "pop3d-doctor: an index that is fresh, one that passes for it, and one from the future" {
	echo hello | deliver new/1.a
	as_user python3 -B "$BATS_TEST_DIRNAME/oracle.py" settle "$MAIL"
	printf 'STAT\nQUIT\n' | session
	maildir -v
	said 0 'ok: .*pop3d.index is fresh'
	forge name
	maildir
	said 1 'error: .*pop3d.index passes for fresh, but says what is not true: 1 messages'
	forge time
	maildir
	said 0 'warning: .*pop3d.index was written in the future'
}

@test "pop3d-doctor: an index that is stale, damaged, of two names, or none" {
	echo hello | deliver new/1.a
	maildir -v
	said 0 'ok: .* has no index yet'
	printf 'STAT\nQUIT\n' | session
	echo hello | deliver new/2.b
	maildir -v
	said 0 'ok: .*pop3d.index is stale'
	printf X | dd of="$MAIL/pop3d.index" bs=1 seek=20 conv=notrunc status=none
	maildir
	said 0 'warning: .*pop3d.index is damaged'
	rm "$MAIL/pop3d.index"
	mkdir "$MAIL/pop3d.index"
	own
	maildir
	said 1 'error: .*pop3d.index is no plain file'
	rmdir "$MAIL/pop3d.index"
	ln -s /etc/passwd "$MAIL/pop3d.index"
	own
	maildir
	said 0 'warning: .*pop3d.index is no plain file'
	rm "$MAIL/pop3d.index"
	printf 'STAT\nQUIT\n' | session
	ln "$MAIL/pop3d.index" "$HOME_DIR/twin"
	maildir
	said 0 "warning: .*pop3d.index belongs to user $TEST_UID, and has 2 names"
}

@test "pop3d-doctor: an index of records that are damaged" {
	echo hello | deliver new/1.a
	printf 'STAT\nQUIT\n' | session
	python3 - "$MAIL/pop3d.index" <<'P'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[data.index(b"1.a")] = ord("3")
open(sys.argv[1], "r+b").write(data)
P
	maildir
	said 0 'warning: .*pop3d.index is damaged'
}

@test "pop3d-doctor: who has the lock, since when" {
	echo hello | deliver new/1.a
	TCPREMOTEIP=192.0.2.7 open_session
	[[ $REPLY == +OK* ]]
	maildir -v
	said 0 'note: .*/Maildir is in use since 20[0-9-]+T[0-9:]+Z by a session from 192\.0\.2\.7'
	ask QUIT
	end_session
	maildir -v
	said 0 'ok: .*/Maildir is not in use'
}

@test "pop3d-doctor: a lock file that cannot be one, or that others keep" {
	mkfifo "$MAIL/pop3d.lock"
	own
	maildir
	said 1 'error: .*pop3d.lock cannot be opened, or is no plain file .*nobody can log in'
	rm "$MAIL/pop3d.lock"
	touch "$MAIL/pop3d.lock"
	own
	chmod 400 "$MAIL/pop3d.lock"
	maildir
	said 0 "warning: .*pop3d.lock: user $TEST_UID may not write to it"
	chmod 600 "$MAIL/pop3d.lock"
	as_user python3 -c 'import fcntl, sys, time
f = open(sys.argv[1], "r+")
fcntl.lockf(f, fcntl.LOCK_EX)
open(sys.argv[2], "w").close()
time.sleep(60)' "$MAIL/pop3d.lock" "$RECORD/locked" 3>&- &
	SERVERS+=($!)
	wait_for test -e "$RECORD/locked"
	maildir
	said 0 'note: .*/Maildir is in use by another program'
}

@test "pop3d-doctor: a file system without locks" {
	touch "$MAIL/pop3d.lock"
	own
	without ENOLCK fcntl
	maildir
	said 1 'error: .*/Maildir: the file system has no locks \(No locks available\)'
}

@test "pop3d-doctor: a file system that is full, or read-only" {
	need_root "to mount"
	unshare -m true || skip "needs namespaces"
	UNDER=(unshare -m sh -c 'mount -t tmpfs -o size=64k none "$MAIL" &&
	    mkdir -p "$MAIL/new" "$MAIL/cur" "$MAIL/tmp" && chmod 700 "$MAIL" &&
	    chown -R "$TEST_UID:$TEST_GID" "$MAIL" && eval "$SPOIL" && exec "$@"' sh)
	export SPOIL='! cat /dev/zero >"$MAIL/fill" 2>/dev/null'
	maildir
	said 1 'error: .*/Maildir: the file system is full \(no blocks\)'
	SPOIL='mount -o remount,nr_inodes=4 "$MAIL"'
	maildir
	said 1 'error: .*/Maildir: the file system is full \(no inodes\)'
	SPOIL='mount -o remount,ro "$MAIL"'
	maildir
	said 1 'error: .*/Maildir: the file system is read-only'
	not grep 'may not write' "$OUT"
}

# No harm

@test "pop3d-doctor: it changes nothing, and asks for no lock" {
	local calls=$RECORD/calls

	need_strace
	echo hello | deliver new/1.a
	printf 'STAT\nQUIT\n' | session
	find "$HOME_DIR" -printf '%p %T@ %C@ %s %m %U\n' | sort >"$RECORD/before"
	UNDER=(strace -f -qq -o "$calls")
	service -U joe
	quiet
	find "$HOME_DIR" -printf '%p %T@ %C@ %s %m %U\n' | sort >"$RECORD/after"
	same "$RECORD/before" "$RECORD/after"
	grep -q 'F_OFD_GETLK' "$calls"
	not grep 'flock(\|SETLK\|O_CREAT\|rename\|unlink\| link\|mkdir' "$calls"
}

@test "pop3d-doctor: nothing of a user's is opened but as that user, and read but in the sandbox" {
	local calls=$RECORD/calls

	need_root "an ordinary user has one identity"
	need_strace
	echo hello | deliver new/1.a
	printf 'UIDL\nQUIT\n' | session
	UNDER=(strace -f -qq -o "$calls")
	service -U joe
	grep -c "open.*\"$MAIL\|\"pop3d\\.\|\"new\"\|\"cur\"\|\"tmp\"" "$calls"
	awk -v uid="$TEST_UID" '
		$0 ~ "setuid\\(" uid "\\) *= 0" { is_user[$1] = 1 }
		/landlock_restrict_self/ { is_shut[$1] = 1 }
		/open.*("pop3d\.|"new"|"cur"|"tmp"|Maildir")/ {
			seen++
			if (!is_user[$1]) { print "as root: " $0; bad = 1 }
		}
		/pop3d\.(index|uidl)"|getdents/ && is_user[$1] {
			if (!is_shut[$1]) { print "too early: " $0; bad = 1 }
		}
		END { exit bad || seen < 5 }' "$calls"
}

@test "pop3d-doctor: what a hostile Maildir holds is neither followed, waited for, nor printed raw" {
	local name

	for name in pop3d.index pop3d.uidl pop3d.lock; do
		ln -s /etc/shadow "$MAIL/$name"
	done
	ln -s /etc "$MAIL/new/link"
	touch "$MAIL/new/"$'\x1b[31m.\n'
	own
	maildir
	said 1 'warning: .*/new/link is a symbolic link' 'error: .*pop3d.lock cannot'
	LC_ALL=C not grep -a '[^ -~]' "$OUT"
	for name in pop3d.index pop3d.uidl pop3d.lock new/link; do
		rm "$MAIL/$name"
		mkfifo "$MAIL/$name"
	done
	own
	UNDER=(timeout 20)
	maildir
	said 1 'warning: .*/new/link is a FIFO'
}

@test "pop3d-doctor: no name of a file's is in a command to be copied" {
	echo hello | deliver 'new/1.$(reboot)'
	mkdir "$MAIL/cur/"'$(reboot)'
	chmod 0 "$MAIL/new/"*
	maildir
	said 1 'error: .*/1\.\$\(reboot\): user'
	not grep ': [^ ]* .*: .*reboot' "$OUT"
}

@test "pop3d-doctor: a look that does not come to an end is ended" {
	UNDER=(strace -f -qq -o /dev/null -e inject=getdents64:signal=ALRM)
	"${UNDER[@]}" true 2>/dev/null || skip "needs strace"
	maildir
	said 1 'error: The look at mail ended early: Alarm clock'
}

@test "pop3d-doctor: a disk that fails" {
	UNDER=(strace -f -qq -o /dev/null -e inject=getdents64:error=EIO)
	"${UNDER[@]}" true 2>/dev/null || skip "needs strace"
	maildir
	said 1 "error: $MAIL: mail cannot be listed: "
	# For -P strace looks into a process that is not dumpable.
	[ "$(id -u)" = 0 ] || return 0
	echo hello | deliver pop3d.uidl
	UNDER=(strace -f -qq -o /dev/null -P "$MAIL/pop3d.uidl"
	    -e inject=pread64:error=EIO)
	maildir
	said 1 'error: pop3d.uidl: cannot read: ' \
	    "error: $MAIL: the unique-ids cannot be made"
}

@test "pop3d-doctor: -t is of the user who runs it, and his Maildir" {
	doctor -t
	if [ "$(id -u)" = 0 ]; then
		said 0 'note: pop3d -t does not run as root. Name a user'
	fi
	chmod 500 "$MAIL/new"
	as_user "$BIN/pop3d-doctor" -t Maildir >"$OUT" || CODE=$?
	said 1 'error: Maildir/new: user .* may not write'
}

# One line, of single blanks.
flow() {
	tr -s ' \t\n' ' ' | sed 's/^ //'
}

@test "INSTALL: what it shows of pop3d-doctor is what that says" {
	need_root "the example is of a service of root's"
	sed -n '/ When something is wrong$/,$p' \
	    "$BATS_TEST_DIRNAME/../INSTALL" |
	    sed -n '/^\terror: /,/^$/p' | flow >"$RECORD/example"
	rm -r "$MAIL/new"
	doctor -c -r "$EMPTY/no" -U joe "${CHECK[@]}"
	sed "s|$EMPTY/no|/var/empty|g; s|$HOME_DIR|/var/vmail/example.org/joe|g
	    s/-o $TEST_UID -g $TEST_GID/-o 990 -g 990/" "$OUT" |
	    cat - <(echo) | flow >"$RECORD/said"
	same "$RECORD/example" "$RECORD/said"
}
