#!/usr/bin/env bats
# Debian's package, installed on this machine: not beside other tests, which
# put files of their own over those that it changes.

load ../helper

setup() {
	pop3d_setup
	# A checkout may be somebody else's than root's.
	export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global safe.directory '*'
	unset MAKEFLAGS MFLAGS
	OURS=
}

teardown() {
	[ -z "$OURS" ] || packages purge pop3d >/dev/null 2>&1 || :
	pop3d_teardown
}

# packages COMMAND ...: apt-get, which waits if another is at it.
packages() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
	    -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" 3>&-
}

# Names that the package leaves on a machine.
traces() {
	find /etc /var/lib /lib/systemd /usr/lib/systemd /usr/lib/pop3d \
	    /usr/sbin /usr/libexec /usr/share/man /usr/share/doc \
	    /usr/share/lintian -name '*pop3d*' 2>/dev/null | LC_ALL=C sort
	getent passwd _pop3d || :
	getent group _pop3d || :
}

@test "the Debian package is clean to lintian, works, and leaves nothing behind" {
	local top=$BATS_TEST_DIRNAME/../.. unit options

	once
	need_root "to install a package"
	for name in dpkg-buildpackage dh lintian deluser; do
		command -v $name >/dev/null || skip "needs $name"
	done
	# An administrator's, which is none of our business.
	for path in /usr/sbin/pop3d /usr/libexec/pop3d-checkpassword \
	    /usr/lib/pop3d /var/lib/pop3d /etc/systemd/system/pop3d*; do
		[ ! -e "$path" ] || skip "$path is there already"
	done
	if getent passwd _pop3d >/dev/null || dpkg -s pop3d >/dev/null 2>&1; then
		skip "pop3d is installed"
	fi
	cd "$BATS_TEST_TMPDIR"
	git -C "$top" rev-parse -q --verify HEAD >/dev/null 2>&1 ||
	    skip "no git repository"
	git clone -q "$top" clone 2>/dev/null
	make -s -C clone deb >made 2>&1 || { cat made >&2; false; }
	[ -z "$(git -C clone status --porcelain)" ]
	cd clone/build/deb
	# It exits with 2 for an error or a warning, and prints it.
	lintian --allow-root -i --fail-on error,warning ./*.changes >&2
	dpkg-deb -c pop3d_*.deb | grep -F ' ./usr/lib/pop3d/empty/' |
	    grep '^drwxr-xr-x root/root '

	traces >"$BATS_TEST_TMPDIR/before"
	OURS=yes
	packages --no-remove install ./pop3d_*.deb
	[ ! -e /etc/systemd/system/sockets.target.wants/pop3d.socket ]
	# Again, as an upgrade does.
	/var/lib/dpkg/info/pop3d.postinst configure 0.0.9
	# The line of the unit, with its environment, and a user of ours.
	unit=$(dpkg -L pop3d | grep '/pop3d@.service$')
	if command -v systemd-analyze >/dev/null; then
		systemd-analyze verify pop3d.socket pop3d@1.service
	fi
	eval "$(cat "$(sed -n 's/^EnvironmentFile=//p' "$unit")")"
	options=$(eval "echo $(sed -n 's/^ExecStart=-*//p' "$unit")")
	[ "$options" = "/usr/sbin/pop3d -r /usr/lib/pop3d/empty -u $(id -u \
	    _pop3d):$(id -g _pop3d)" ]
	echo secret | pop3d-passwd -i "$BATS_TEST_TMPDIR/users" joe
	EMPTY=/usr/lib/pop3d/empty
	# shellcheck disable=SC2086 # several
	start_server $options pop3d-checkpassword \
	    -f "$BATS_TEST_TMPDIR/users" -u "$TEST_UID:$TEST_GID" -h "$HOME_DIR"
	printf 'Subject: one\n\nbody\n' | deliver new/1700000001.M1.host
	connect
	id=$(id -u _pop3d)
	[ "$(field Uid "$GREETER")" = "$id $id $id $id" ]
	[ "$(readlink "/proc/$GREETER/root")" = "$EMPTY" ]
	login
	say 'RETR 1' QUIT
	for line in '^\+OK 22 octets$' '^Subject: one$' '^$' '^body$' '^\.$' \
	    '^\+OK'; do
		hear "$line"
	done
	closed
	logged 'event=login user=joe ip=127.0.0.1 '
	# And by default, for superservers that know no variables.
	start_server /usr/sbin/pop3d
	dial
	hear '^\+OK '
	[ "$(readlink "/proc/$(pgrep -u nobody -P "$(child "${SERVERS[1]}" \
	    /usr/sbin/pop3d)")/root")" = "$EMPTY" ]
	hang_up

	packages remove pop3d
	[ ! -e /usr/sbin/pop3d ]
	packages purge pop3d
	OURS=
	cd "$BATS_TEST_TMPDIR"
	traces >after
	same before after
}
