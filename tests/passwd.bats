#!/usr/bin/env bats
# pop3d-passwd: users made, changed and deleted, and what else it leaves alone.
# SC2016: hashes hold dollar signs. SC2030, SC2031: each test is a subshell.
# shellcheck disable=SC2016,SC2030,SC2031

bats_require_minimum_version 1.5.0

# What is defined below again wins.
load helper

setup() {
	gcov_setup
	bin=${POP3D_BIN:-$BATS_TEST_DIRNAME/..}
	PASSWD=$bin/pop3d-passwd
	out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err
	dir=$BATS_TEST_TMPDIR/dir
	users=$dir/users
	uid=$(id -u) gid=$(id -g)
	[ "$uid" -ne 0 ] || uid=65534 gid=65534
	mkdir "$dir"
}

# sets status, fills out and err; standard input is passed on
attempt() {
	status=0
	"$PASSWD" "$@" >"$out" 2>"$err" || status=$?
}

expect() {
	[ "$status" -eq "$1" ] && return
	echo "exit $status instead of $1"
	cat -v "$out" "$err"
	return 1
}

# whether pop3d-checkpassword takes this name and password
serves() {
	"$bin/pop3d-checkpassword" -f "$users" -u "$uid:$gid" -h /usr true \
		3< <(printf '%s\0%s\0\0' "$1" "$2")
}

# Types on a terminal: at each prompt one of the comma-separated words, where
# ^C is the key and TERM, HUP and TSTP are signals. The result is the program's
# exit code or 128 and its signal; 99 where the terminal echoed a password, 98
# where it was left without echo.
typing() {
	cat >"$BATS_TEST_TMPDIR/typing.py" <<-'END'
		import fcntl, os, pty, signal, sys, termios

		signal.alarm(30)
		master, slave = pty.openpty()
		pid = os.fork()
		if pid == 0:
		    os.setsid()
		    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
		    for fd in range(3):
		        os.dup2(slave, fd)
		    os.execv(sys.argv[2], sys.argv[2:])

		def echoes():
		    return termios.tcgetattr(slave)[3] & termios.ECHO

		seen = b""
		for word in sys.argv[1].split(","):
		    mark = len(seen)
		    while not seen[mark:].endswith(b": "):
		        seen += os.read(master, 1024)
		    if echoes():
		        sys.exit(99)
		    if word in ("TERM", "HUP", "TSTP"):
		        os.kill(pid, getattr(signal, "SIG" + word))
		    else:
		        os.write(master, b"\x03" if word == "^C" else word.encode() + b"\n")
		_, status = os.waitpid(pid, 0)
		os.set_blocking(master, False)
		try:
		    seen += os.read(master, 4096)
		except BlockingIOError:
		    pass
		sys.stdout.buffer.write(seen)
		if not echoes():
		    sys.exit(98)
		code = os.waitstatus_to_exitcode(status)
		sys.exit(code if code >= 0 else 128 - code)
	END
	local words=$1
	shift
	status=0
	python3 "$BATS_TEST_TMPDIR/typing.py" "$words" "$PASSWD" "$@" >"$out" 2>"$err" || status=$?
}

@test "a new user in a new file: mode 0600, eight fields, and the password serves" {
	attempt -i "$users" mrose <<<'tan staaf:x'
	expect 0
	[ ! -s "$out" ]
	[ "$(stat -c %a "$users")" = 600 ]
	grep -qE '^mrose:\$[^:]+::::::$' "$users"
	[ "$(wc -l <"$users")" -eq 1 ]
	serves mrose 'tan staaf:x'
	run ! serves mrose 'tan staaf'
}

@test "the hash is crypt_gensalt's preferred one, with another salt each time" {
	attempt -i "$users" a <<<same
	attempt -i "$users" b <<<same
	a=$(sed -n 's/^a:\([^:]*\).*/\1/p' "$users")
	b=$(sed -n 's/^b:\([^:]*\).*/\1/p' "$users")
	[ "$a" != "$b" ]
	[ "${a%"${a#\$*\$}"}" = "${b%"${b#\$*\$}"}" ]
	serves a same
	serves b same
}

@test "-p stores {PLAIN}, which serves APOP" {
	attempt -i -p "$users" mrose <<<tanstaaf
	expect 0
	[ "$(cat "$users")" = 'mrose:{PLAIN}tanstaaf::::::' ]
	AUTH_MECH=APOP "$bin/pop3d-checkpassword" -f "$users" -u "$uid:$gid" -h /usr true \
		3< <(printf 'mrose\0c4c9334bac560ecc979e58001b3e22fb\0<1896.697170952@dbc.mtview.ca.us>\0')
}

@test "-p refuses a colon, which would end the field" {
	printf 'mrose:{PLAIN}a::::::\n' >"$users"
	attempt -ip "$users" mrose <<<'a:b'
	expect 1
	[ "$(cat "$users")" = 'mrose:{PLAIN}a::::::' ]
}

@test "a change keeps the user's other fields and all other lines, octet for octet" {
	printf '# a comment\n\n  \nann:x\nmrose:old:1:2:M. Rose:/home:/bin/sh:a=b:c\nmrose2:y\n\tmrose:no\njo\xff:\0z' >"$users"
	attempt -ip "$users" mrose <<<new
	expect 0
	printf '# a comment\n\n  \nann:x\nmrose:{PLAIN}new:1:2:M. Rose:/home:/bin/sh:a=b:c\nmrose2:y\n\tmrose:no\njo\xff:\0z' |
		cmp - "$users"
}

@test "a change of a short line adds no fields" {
	printf 'mrose:old\nann:x\n' >"$users"
	attempt -ip "$users" mrose <<<new
	printf 'mrose:{PLAIN}new\nann:x\n' | cmp - "$users"
	printf 'ann:x\nmrose:old' >"$users"
	attempt -ip "$users" mrose <<<new
	printf 'ann:x\nmrose:{PLAIN}new' | cmp - "$users"
}

@test "a new user goes to the end, on a line of its own" {
	printf 'ann:x\n#mrose:y' >"$users"
	attempt -ip "$users" mrose <<<new
	printf 'ann:x\n#mrose:y\nmrose:{PLAIN}new::::::\n' | cmp - "$users"
}

@test "a user listed twice is changed twice, and deleted twice" {
	printf 'a:x:1\nb:y\na:z:2\n' >"$users"
	attempt -ip "$users" a <<<new
	printf 'a:{PLAIN}new:1\nb:y\na:{PLAIN}new:2\n' | cmp - "$users"
	attempt -d "$users" a
	expect 0
	printf 'b:y\n' | cmp - "$users"
}

@test "-d deletes the user and nothing else" {
	printf '# c\na:x\nab:y\nb:z' >"$users"
	attempt -d "$users" a
	expect 0
	printf '# c\nab:y\nb:z' | cmp - "$users"
	attempt -d "$users" b
	expect 0
	printf '# c\nab:y\n' | cmp - "$users"
}

@test "-d: an absent user is exit 1, an absent file exit 111, and neither changes anything" {
	printf 'a:x\n' >"$users"
	attempt -d "$users" b
	expect 1
	grep -q 'b: no such user' "$err"
	printf 'a:x\n' | cmp - "$users"
	attempt -d "$dir/none" b
	expect 111
	[ "$(ls -A "$dir")" = users ]
}

@test "-i: one line is read, and the next stays unread" {
	{
		attempt -ip "$users" a
		attempt -ip "$users" b
		IFS= read -r rest
	} < <(printf 'one\ntwo\nthree\n')
	[ "$rest" = three ]
	printf 'a:{PLAIN}one::::::\nb:{PLAIN}two::::::\n' | cmp - "$users"
}

@test "-i: the last line needs no end; blanks and 8-bit octets are kept" {
	attempt -ip "$users" a < <(printf ' \xff\t ')
	expect 0
	printf 'a:{PLAIN} \xff\t ::::::\n' | cmp - "$users"
	serves a $' \xff\t '
}

@test "-i: empty, NUL and more than 511 octets are refused, and no file is made" {
	for octets in '' '\n' '\0' 'a\0b\n'; do
		# shellcheck disable=SC2059
		attempt -i "$users" a < <(printf "$octets")
		expect 1
		[ ! -e "$users" ]
	done
	attempt -i "$users" a < <(printf '%0512d\n' 0)
	expect 1
	attempt -i "$users" a < <(head -c 1048576 /dev/zero | tr '\0' a)
	expect 1
	[ ! -e "$users" ]
	attempt -i "$users" a < <(printf '%0511d\n' 0)
	expect 0
	serves a "$(printf '%0511d' 0)"
}

@test "names that pop3d-checkpassword would never match are refused" {
	for name in '' . .. .a a/b a:b '#a' '@' a@ @a a@.. $'a\nb'; do
		attempt -i "$users" "$name" <<<x
		expect 100
		[ ! -e "$users" ]
	done
	attempt -ip "$users" größe@example.org <<<x
	expect 0
}

@test "usage: wrong options and arguments exit 100" {
	for line in '' "$users" "$users a b" "-x $users a" "-di $users a" "-dp $users a"; do
		# shellcheck disable=SC2086
		attempt $line <<<x
		expect 100
		grep -q usage: "$err"
		[ ! -s "$out" ]
	done
	[ ! -e "$users" ]
}

@test "the old file's mode and owner are kept" {
	printf 'a:x\n' >"$users"
	chmod 640 "$users"
	[ "$(id -u)" -ne 0 ] || chown 4242:4243 "$users"
	before=$(stat -c '%a %u %g' "$users")
	attempt -ip "$users" a <<<y
	expect 0
	[ "$(stat -c '%a %u %g' "$users")" = "$before" ]
}

@test "the file is replaced as a whole: who has it open sees the old one" {
	printf 'a:x\n' >"$users"
	exec 7<"$users"
	attempt -ip "$users" a <<<y
	[ "$(cat <&7)" = a:x ]
	[ "$(ls -A "$dir")" = users ]
}

@test "a symbolic link stays one; its target is replaced" {
	mkdir "$dir/real"
	printf 'a:x\n' >"$dir/real/file"
	ln -s real/file "$users"
	attempt -ip "$users" a <<<y
	expect 0
	[ -L "$users" ]
	[ "$(cat "$dir/real/file")" = 'a:{PLAIN}y' ]
	[ "$(ls -A "$dir/real")" = file ]
	ln -s real/new "$dir/dangling"
	attempt -ip "$dir/dangling" a <<<y
	[ "$(cat "$dir/real/new")" = 'a:{PLAIN}y::::::' ]
}

@test "a relative path, and one with .., mean what they say" {
	cd "$dir"
	attempt -ip users a <<<x
	expect 0
	mkdir sub
	attempt -ip sub/../users b <<<y
	expect 0
	[ "$(wc -l <users)" -eq 2 ]
}

@test "a directory, and a device, are system errors" {
	attempt -i "$dir" a <<<x
	expect 111
	attempt -i /dev/null a <<<x
	expect 111
}

@test "what a killed run left behind is no hindrance, and is not followed" {
	printf 'a:x\n' >"$users"
	ln -s ../precious "$dir/.users.pop3d-passwd"
	echo precious >"$BATS_TEST_TMPDIR/precious"
	attempt -ip "$users" a <<<y
	expect 0
	[ "$(cat "$BATS_TEST_TMPDIR/precious")" = precious ]
	[ "$(ls -A "$dir")" = users ]
}

@test "a full disk leaves the old file and nothing else" {
	# a limit on file sizes stands for the disk
	{ printf 'a:x\n' && seq 2000; } >"$users"
	before=$(md5sum <"$users")
	status=0
	(
		trap '' XFSZ
		ulimit -f 2
		"$PASSWD" -i "$users" a <<<y
	) 2>"$err" || status=$?
	expect 111
	[ "$(md5sum <"$users")" = "$before" ]
	[ "$(ls -A "$dir")" = users ]
}

@test "twenty changes at once all take effect" {
	printf '# users\n' >"$users"
	for i in {1..20}; do
		"$PASSWD" -ip "$users" "u$i" <<<"p$i" 3>&- &
	done
	wait
	[ "$(wc -l <"$users")" -eq 21 ]
	for i in {1..20}; do
		grep -qx "u$i:{PLAIN}p$i::::::" "$users"
	done
	[ "$(ls -A "$dir")" = users ]
}

@test "a change waits for the one that holds the lock" {
	command -v flock >/dev/null || skip "no flock program"
	printf 'a:x\n' >"$users"
	flock "$users" sh -c "timeout 0.3 '$PASSWD' -ip '$users' a <<E
y
E
true" 3>&-
	[ "$(cat "$users")" = a:x ]
	attempt -ip "$users" a <<<y
	[ "$(cat "$users")" = 'a:{PLAIN}y' ]
}

@test "terminal: the password is asked for twice, without echo" {
	typing secret,secret "$users" a
	expect 0
	serves a secret
	run ! grep -q secret "$out"
	grep -q 'New password: ' "$out"
	grep -q 'Once more: ' "$out"
}

@test "terminal: two that differ change nothing" {
	typing secret,Secret -p "$users" a
	expect 1
	[ ! -e "$users" ]
}

@test "terminal: an empty one changes nothing" {
	typing , -p "$users" a
	expect 1
	[ ! -e "$users" ]
}

@test "terminal: a line too long is refused, and is not left for the shell" {
	typing "$(printf '%0600d' 0)" "$users" a
	expect 1
	[ ! -e "$users" ]
}

@test "terminal: the interrupt key ends it, with echo on again" {
	typing ^C "$users" a
	expect 130
	typing secret,^C "$users" a
	expect 130
	[ ! -e "$users" ]
}

@test "terminal: signals end it, with echo on again" {
	typing TERM "$users" a
	expect 143
	typing secret,HUP "$users" a
	expect 129
	typing TSTP "$users" a
	expect 1
	[ ! -e "$users" ]
}

@test "without a terminal or -i it is a system error" {
	command -v setsid >/dev/null || skip "no setsid"
	status=0
	setsid -w "$PASSWD" "$users" a </dev/null >"$out" 2>"$err" || status=$?
	expect 111
	grep -q /dev/tty "$err"
	[ ! -e "$users" ]
}
