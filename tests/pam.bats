#!/usr/bin/env bats
# pop3d-checkpassword -p: PAM judges (issue 5). Linux-PAM and Debian's modules,
# with /etc/pam.d, the accounts and libexecdir in a mount namespace of the
# test's own.
# SC2016: hashes and scripts hold dollar signs. SC2030, SC2031: each test is
# a subshell.
# shellcheck disable=SC2016,SC2030,SC2031

bats_require_minimum_version 1.5.0

load helper
load accounts

setup_file() {
	export MODULE=$BATS_FILE_TMPDIR/pam-module.so
	[ ! -e "$POP3D_BIN/pop3d-checkpassword-pam" ] ||
	    cc -shared -fPIC -o "$MODULE" "$BATS_TEST_DIRNAME/pam-module.c" -lpam
}

setup() {
	[ -e "$POP3D_BIN/pop3d-checkpassword-pam" ] ||
	    skip "built without libpam"
	greeter_setup
	out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err
	NOTES=$RECORD/notes
	CP=$POP3D_BIN/pop3d-checkpassword
	program=(true)
	# "secret", cheaply
	hash=$(perl -e 'print crypt("secret", q($6$rounds=1000$salt))')
	export LIBEXEC=$POP3D_BIN
	with "$hash"
	mkdir "$ACCOUNTS/pam.d"
	install_example pop3d
	# What a module runs: it notes what PAM tells it.
	cat >"$RECORD/note" <<-END
		#!/bin/sh
		echo "\$PAM_TYPE \$PAM_SERVICE \$PAM_USER \$PAM_RHOST \$PAM_TTY \$PAM_RUSER" >>$NOTES
	END
	chmod 755 "$RECORD/note"
}

teardown() {
	pop3d_teardown
}

# As account, which see: the user probe.
with() {
	account "$@"
	opts=(-p pop3d)
}

# service NAME: standard input becomes that service's file.
service() {
	cat >"$ACCOUNTS/pam.d/$1"
}

# install_example NAME: the file of contrib as it stands.
install_example() {
	cp "$BATS_TEST_DIRNAME/../contrib/pam.d/$1" "$ACCOUNTS/pam.d"
}

# A service whose modules accept, note what they are told, and do what the
# lines of standard input say before.
noting() {
	{
		cat
		for phase in auth account session; do
			echo "$phase required pam_exec.so quiet $RECORD/note"
		done
		for phase in auth account session; do
			echo "$phase required pam_unix.so"
		done
	} | service pop3d
}

noted() {
	cat "$NOTES" >&2
	diff - "$NOTES" >&2
}

@test "PAM: contrib's service takes the system's passwords, and becomes the user with its groups" {
	program=(sh -c 'id -u; id -g; id -G; echo "$USER $HOME $SHELL"; pwd')
	accepts probe secret
	diff "$out" - <<-'END'
		4242
		4243
		4243 4244
		probe /usr /bin/probe
		/usr
	END
	for mech in USER PLAIN LOGIN ''; do
		AUTH_MECH=$mech accepts probe secret
	done
	refuses probe Secret
	refuses prob secret
	refuses probe ""
	[ ! -s "$err" ]
}

@test "PAM: expired and locked accounts are refused, a password due for a change is not" {
	local today=$(($(date +%s) / 86400)) dates

	with "$hash" "19000:0:99999:7::$today"
	refuses probe secret
	grep -q 'acct_mgmt: ' "$err"
	with "$hash" "$((today - 100)):0:50:7:40:"
	refuses probe secret
	for dates in "$((today - 100)):0:50:7:60:" "$((today - 100)):0:50:7::" \
	    "0:0:50:7:40:"; do
		with "$hash" "$dates"
		accepts probe secret
	done
	with "!$hash"
	refuses probe secret
}

@test "PAM: an account without a password is nobody's, even with nullok" {
	sed -i 's/pam_unix.so/& nullok/' "$ACCOUNTS/pam.d/pop3d"
	with ""
	refuses probe ""
	refuses probe x
}

@test "PAM: an empty secret, and names that are nobody's, do not reach a module" {
	local name

	noting </dev/null
	refuses probe ""
	for name in '' ../probe .probe @x x@ x:y $'probe\n' $'pro\e[2Jbe' $'probe\177' \
	    "$(printf '%0600d' 0)"; do
		refuses "$name" secret
		[ ! -s "$err" ]
	done
	refuses probe "$(printf '%0512d' 0)"
	[ ! -e "$NOTES" ]
	# Others do, and are refused there.
	refuses -- secret
	refuses $'%s%n\xff' secret
	refuses "$(printf '%0511d' 0)" secret
	[ "$(wc -l <"$NOTES")" = 3 ]
	[ ! -s "$err" ]
}

@test "PAM: modules learn the client's address, a terminal, and every phase to the end" {
	noting </dev/null
	export TCPREMOTEIP=192.0.2.7
	program=(sh -c "echo session >>$NOTES")
	chmod 777 "$RECORD"
	: >"$NOTES"
	chmod 666 "$NOTES"
	accepts probe secret
	noted <<-'END'
		auth pop3d probe 192.0.2.7 pop3 
		account pop3d probe 192.0.2.7 pop3 
		open_session pop3d probe 192.0.2.7 pop3 
		session
		close_session pop3d probe 192.0.2.7 pop3 
	END
	: >"$NOTES"
	TCPREMOTEIP='' refuses probe wrong
	noted <<-'END'
		auth pop3d probe  pop3 
	END
}

@test "PAM: each phase's failures: refused, or a temporary error" {
	local code phase

	for code in auth_err perm_denied user_unknown maxtries acct_expired \
	    authtok_expired cred_expired; do
		debug_service "acct=$code"
		refuses probe secret
	done
	debug_service auth=maxtries
	refuses probe secret
	for code in open_err symbol_err service_err system_err buf_err \
	    cred_insufficient authinfo_unavail conv_err module_unknown \
	    cred_unavail abort; do
		debug_service "acct=$code"
		attempt probe secret
		expect 111
		grep -q "PAM: acct_mgmt: ." "$err"
	done
	debug_service auth=authinfo_unavail
	attempt probe secret
	expect 111
	grep -q "PAM: authenticate: ." "$err"
	# The password was right.
	for phase in cred open_session; do
		debug_service "$phase=perm_denied"
		attempt probe secret
		expect 111
	done
	debug_service close_session=session_err
	accepts probe secret
	grep -q 'PAM: close_session: ' "$err"
	debug_service acct=new_authtok_reqd
	accepts probe secret
}

# debug_service ARGUMENT: pam_debug answers so, and all else with success.
debug_service() {
	for phase in auth account session; do
		echo "$phase required pam_debug.so $1"
	done | service pop3d
}

@test "PAM: uid 0 is refused without asking, also under another name, by mapping, or as a virtual user" {
	for user in root toor; do
		noting </dev/null
		with '*'
		echo 'toor:x:0:0::/root:/bin/sh' >>"$ACCOUNTS/passwd"
		printf '%s\n' "root:$hash:19000::::::" "toor:$hash:19000::::::" \
		    >>"$ACCOUNTS/shadow"
		refuses $user secret
		grep -q 'uid 0' "$err"
		opts+=(-u 4242:4243 -h /usr)
		refuses $user secret
		[ ! -e "$NOTES" ]
	done
	with "$hash"
	noting <<<"auth required $MODULE as root"
	refuses probe secret
}

@test "PAM: the user is whom a module makes of the name, or nobody that is known" {
	with "$hash"
	echo 'other:x:4250:4251::/:' >>"$ACCOUNTS/passwd"
	service pop3d <<-END
		auth required pam_unix.so
		auth required $MODULE as other
		account required pam_permit.so
		session required $MODULE
	END
	program=(sh -c 'id -u; echo "$USER $HOME $SHELL"')
	accepts probe secret
	diff "$out" - <<-'END'
		4250
		other / /bin/sh
	END
	sed -i 's/as other/as stranger/' "$ACCOUNTS/pam.d/pop3d"
	attempt probe secret
	expect 111
	sed -i 's/as stranger/as \.\.\/other/' "$ACCOUNTS/pam.d/pop3d"
	refuses probe secret
}

@test "PAM: a wrong password and an unknown user are both answered after a whole second" {
	local user begin

	for user in probe stranger; do
		begin=${EPOCHREALTIME/[.,]/}
		refuses $user wrong
		[ $((${EPOCHREALTIME/[.,]/} - begin)) -ge 1000000 ]
	done
}

@test "PAM: modules do not make anybody wait for a wrong password: the monitor does" {
	noting <<<'auth optional pam_faildelay.so delay=600000000'
	status=0
	timeout 60 "$CP" "${opts[@]}" true 3< <(printf 'probe\0wrong\0') ||
	    status=$?
	expect 1
}

@test "PAM: prompts get the secret or the name, other questions nothing, and modules are out of the client's hearing" {
	noting <<<"auth required $MODULE ask $RECORD/asked"
	program=(echo program)
	accepts probe secret
	diff "$RECORD/asked" - <<-'END'
		probe secret /dev/null /dev/null
		establish
		delete
	END
	[ "$(cat "$out")" = program ]
	[ ! -s "$err" ]
	noting <<<"auth required $MODULE refuse"
	attempt probe secret
	expect 111
	[ ! -s "$out" ]
}

@test "PAM: APOP and what is no password are misuse" {
	for mech in APOP CRAM-MD5 OAUTHBEARER user; do
		export AUTH_MECH=$mech
		attempt probe secret '<1@x>'
		expect 2
		[ ! -s "$out" ]
	done
}

@test "PAM: descriptor 3 that is not open or malformed is misuse, wrong options exit 100" {
	status=0
	"$CP" -p pop3d true 3<&- 2>"$err" || status=$?
	expect 2
	feed < <(printf 'probe\0secret')
	expect 2
	for opts in '-p' '-p pop3d -u 1' '-p pop3d -u a:b' '-p pop3d -f x' '-p pop3d -x'; do
		# shellcheck disable=SC2206 # options, one a word
		opts=($opts)
		attempt probe secret
		expect 100
		[ ! -s "$out" ]
	done
	opts=(-p pop3d) program=()
	attempt probe secret
	expect 100
	grep -q '^usage: .*-p service' "$err"
}

@test "PAM: of a missing service PAM uses \"other\"; without that it is a temporary error" {
	opts=(-p nosuch)
	attempt probe secret
	expect 111
	for phase in auth account session; do
		echo "$phase required pam_deny.so"
	done | service other
	refuses probe secret
	service broken <<<'auth required pam_nosuch.so'
	opts=(-p broken)
	attempt probe secret
	expect 111
}

@test "PAM: where the program is not installed -p says so, a temporary error" {
	export LIBEXEC=$EMPTY
	attempt probe secret
	expect 111
	grep -q -- '-p: .*/pop3d-checkpassword-pam: No such file' "$err"
}

@test "PAM: virtual users of pam_pwdfile, in contrib's service, have -u and -h" {
	install_example pop3d-virtual
	# As INSTALL makes them, but for the terminal.
	hash=$(echo secret | mkpasswd -s -m sha512crypt)
	printf '%s\n' "ann@example.org:$hash" "daemon:$hash" \
	    >"$ACCOUNTS/pwdfile"
	mkdir -p "$HOME_DIR/example.org/ann"
	chmod 755 "$BATS_TEST_TMPDIR"
	sed -i "s|/etc/pop3d.pwdfile|$ACCOUNTS/pwdfile|" "$ACCOUNTS/pam.d/pop3d-virtual"
	opts=(-p pop3d-virtual -u 4242:4243 -h "$HOME_DIR/%d/%n")
	program=(sh -c 'id -u; id -G; echo "$USER $HOME $SHELL"; pwd')
	accepts ann@example.org secret
	diff "$out" - <<-END
		4242
		4243
		ann@example.org $HOME_DIR/example.org/ann /bin/sh
		$HOME_DIR/example.org/ann
	END
	refuses ann@example.org wrong
	refuses ben@example.org secret
	# The name of a system account does not make it one.
	opts[5]=/usr
	program=(id -u)
	accepts daemon secret
	[ "$(cat "$out")" = 4242 ]
	# It is not one of the system's: without -u there are no numbers.
	opts=(-p pop3d-virtual)
	attempt ann@example.org secret
	expect 111
	grep -q 'no uid' "$err"
	rm "$ACCOUNTS/pwdfile"
	opts=(-p pop3d-virtual -u 4242:4243 -h /usr)
	attempt daemon secret
	expect 111
}

@test "PAM: modules may set MAILDIR and the like, but not what is pop3d's own" {
	local name

	for name in MAILDIR POP3D_SESSION LANG AUTH_MECH LD_PRELOAD PATH \
	    POP3D_TAKEOVER PROTO REMOTE_HOST SERVICE SSL_PROTOCOL TCPREMOTEIP \
	    TLS USER HOME SHELL; do
		echo "$name=forged"
	done >"$ACCOUNTS/environment"
	noting <<<"session required pam_env.so conffile=/dev/null envfile=$ACCOUNTS/environment"
	program=(/usr/bin/env)
	accepts probe secret
	grep '=forged$' "$out" | sort >"$BATS_TEST_TMPDIR/forged"
	diff "$BATS_TEST_TMPDIR/forged" - <<-'END'
		LANG=forged
		MAILDIR=forged
		POP3D_SESSION=forged
	END
	grep -qx 'HOME=/usr' "$out"
	grep -qx 'USER=probe' "$out"
}

@test "PAM: the program's end is passed on, by exit code or by signal" {
	local signal

	noting </dev/null
	program=(sh -c 'exit 42')
	attempt probe secret
	expect 42
	for signal in TERM KILL SEGV; do
		program=(sh -c "kill -$signal \$\$")
		attempt probe secret 2>/dev/null
		expect $((128 + $(kill -l $signal)))
	done
	[ "$(grep -c close_session "$NOTES")" = 4 ]
	program=(/nonexistent)
	attempt probe secret
	expect 111
	[ "$(grep -c close_session "$NOTES")" = 5 ]
}

# started: standard input is the credentials of a program that runs on, in a
# group of its own; sets PARENT.
started() {
	setsid "$CP" "${opts[@]}" "${program[@]}" 3<&0 </dev/null \
	    >"$out" 2>"$err" &
	PARENT=$!
}

@test "PAM: a module that hangs ends with the process group, as the monitor ends it" {
	cat >"$RECORD/hang" <<-END
		#!/bin/sh
		: >$RECORD/hanging
		exec sleep 1000
	END
	chmod 755 "$RECORD/hang"
	noting <<<"auth required pam_exec.so quiet $RECORD/hang"
	started < <(printf 'probe\0secret\0\0')
	wait_for test -e "$RECORD/hanging"
	kill -KILL -- "-$PARENT"
	wait "$PARENT" || :
	no_group() { ! pgrep -g "$PARENT" -r R,S,D,T >/dev/null; }
	wait_for no_group
}

@test "PAM: to end the waiting process is to end the session, and closes it" {
	noting </dev/null
	program=(sh -c ": >$RECORD/running; exec sleep 1000")
	chmod 777 "$RECORD"
	started < <(printf 'probe\0secret\0\0')
	wait_for test -e "$RECORD/running"
	kill -TERM "$PARENT"
	status=0
	wait "$PARENT" || status=$?
	expect 143
	grep -q close_session "$NOTES"
}

# A whole pop3d under tcpserver, for joe, whose home is $HOME_DIR.
serve_joe() {
	echo "joe:x:$TEST_UID:$TEST_GID::$HOME_DIR:/bin/sh" >>"$ACCOUNTS/passwd"
	echo "joe:$hash:19000::::::" >>"$ACCOUNTS/shadow"
	noting </dev/null
	start_server unshare -m sh "$ACCOUNTS/inside" "$POP3D_BIN/pop3d" \
	    -r "$EMPTY" -h mail.example.org -c pop3d-checkpassword -p pop3d
	connect
}

# login_joe: sets PARENT, which waits, and SESSION.
login_joe() {
	say 'USER joe' "PASS ${SECRET:-secret}"
	hear '^\+OK'
	hear '^\+OK [0-9]+ messages'
	PARENT=$(child "$MONITOR" 'pop3d -t')
	SESSION=$(child "$PARENT" 'pop3d -t')
}

@test "PAM: a whole session: the monitor, the process that waits, the session; closed after QUIT" {
	serve_joe
	login_joe
	field Uid "$PARENT" | grep -x '0 0 0 0'
	field Uid "$SESSION" | grep -x "$TEST_UID $TEST_UID $TEST_UID $TEST_UID"
	say STAT
	hear '^\+OK 0 0'
	not grep close_session "$NOTES"
	say QUIT
	hear '^\+OK'
	closed
	hang_up
	wait_for grep -q close_session "$NOTES"
	noted <<-'END'
		auth pop3d joe 127.0.0.1 pop3 
		account pop3d joe 127.0.0.1 pop3 
		open_session pop3d joe 127.0.0.1 pop3 
		close_session pop3d joe 127.0.0.1 pop3 
	END
	logged 'event=login user=joe ip=127.0.0.1'
	wait_for all_gone
}

@test "PAM: a session that is killed is closed, too, and the client's connection with it" {
	serve_joe
	login_joe
	kill -KILL "$SESSION"
	closed
	wait_for grep -q close_session "$NOTES"
	wait_for all_gone
}

@test "PAM: the process that waits holds nothing but the log, and has forgotten the password" {
	SECRET=correct-horse-Battery-staple
	hash=$(perl -e 'print crypt($ARGV[0], q($6$rounds=1000$salt))' "$SECRET")
	serve_joe
	login_joe
	find "/proc/$PARENT/fd" -type l -printf '%f %l\n' | sort |
	    diff - <(printf '%s\n' "0 /dev/null" "1 /dev/null" "2 $LOG") >&2
	plain_build "its memory is terabytes"
	forgotten "$PARENT" "$SECRET"
}
