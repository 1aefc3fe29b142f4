#!/usr/bin/env bats
# What is made of the sources: a release, and what starts it where there is no
# systemd.  Debian's package is in alone/.

load helper

setup() {
	pop3d_setup
	# A checkout may be somebody else's than root's.
	export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
	git config --global safe.directory '*'
	unset MAKEFLAGS MFLAGS
}

teardown() {
	# What is no child of ours.
	pgrep -f -- " -r $BATS_TEST_TMPDIR/empty " | xargs -r kill 2>/dev/null || :
	pop3d_teardown
}

# clone NAME: of what is committed.
clone() {
	local top=$BATS_TEST_DIRNAME/..

	git -C "$top" rev-parse -q --verify HEAD >/dev/null 2>&1 ||
	    skip "no git repository"
	git clone -q "$top" "$1" 2>/dev/null
}

# release: a clone's, unpacked in one/ and another/place/, each with the one
# folder $RELEASE in it.
release() {
	clone clone
	make -s -C clone dist
	RELEASE=$(basename clone/build/pop3d-*.tar.gz .tar.gz)
	mkdir -p one another/place
	tar -xzf clone/build/*.tar.gz -C one
	tar -xzf clone/build/*.tar.gz -C another/place
}

# alone COMMAND ...: in a place without a network.
alone() {
	if unshare -n true 2>/dev/null; then
		unshare -n "$@"
	else
		unshare -rn "$@"
	fi
}

# mailbox: a message for joe, whom $USERS knows; and where to serve it.
mailbox() {
	printf 'Subject: one\n\nbody\n' | deliver new/1700000001.M1.host
	USERS=$BATS_TEST_TMPDIR/users
	(umask 077 && printf 'joe:{PLAIN}secret:%s:%s::%s:\n' "$TEST_UID" \
	    "$TEST_GID" "$HOME_DIR" >"$USERS")
	PORT=$(free_port)
	ARGUMENTS="-r $EMPTY $POP3D_BIN/pop3d-checkpassword -f $USERS"
}

# here FILE: that of contrib's, with the paths of this test, on $PORT.
here() {
	sed -e "s|0 110|127.0.0.1 $PORT|" \
	    -e "s|/usr/local/sbin/pop3d -l|$POP3D_BIN/pop3d -l $ARGUMENTS|" \
	    "$BATS_TEST_DIRNAME/../contrib/$1"
}

# serves: a session with what listens there.
serves() {
	wait_for nc -z 127.0.0.1 "$PORT"
	curl -s -u joe:secret "pop3://127.0.0.1:$PORT/" | tr -d '\r' |
	    expect '1 22'
}

# ended: nothing of this test's runs, for its folder is on no command line.
ended() {
	! pgrep -f -- " -r $BATS_TEST_TMPDIR/empty " >/dev/null
}

@test "make dist makes the same octets of any clone" {
	cd "$BATS_TEST_TMPDIR"
	clone one
	(umask 077 && clone "another place")
	find "another place" -type f -exec touch -d 2001-02-03 {} +
	(cd one && make -s dist)
	(cd "another place" && umask 077 && TZ=Asia/Tokyo make -s dist)
	cmp one/build/pop3d-*.tar.gz "another place"/build/pop3d-*.tar.gz
	# What is committed, and only that; nobody's.
	tar -tzf one/build/pop3d-*.tar.gz | grep -v '/$' | sed 's|^[^/]*/||' |
	    LC_ALL=C sort >listed
	git -C one ls-files | LC_ALL=C sort >committed
	same committed listed
	tar -tvzf one/build/pop3d-*.tar.gz | not grep -v '^[^ ]* root/root '
	[ -z "$(git -C one status --porcelain)" ]
}

@test "a release has the version of Makefile, and so has its Debian package" {
	version=$(sed -n 's/^VERSION = //p' "$BATS_TEST_DIRNAME/../Makefile")
	sed -n '1s/^pop3d (\(.*\)) .*/\1/p' \
	    "$BATS_TEST_DIRNAME/../contrib/debian/changelog" | expect "$version"
}

@test "a release is built without network, git and pkg-config, to the same octets in any folder" {
	local cc

	once
	unshare -n true 2>/dev/null || unshare -rn true 2>/dev/null ||
	    skip "needs a network namespace"
	cd "$BATS_TEST_TMPDIR"
	release
	mkdir traps
	for name in git pkg-config pkgconf curl wget; do
		printf '#!/bin/sh\necho %s >>%s/called\nexit 127\n' \
		    "$name" "$BATS_TEST_TMPDIR" >traps/$name
		chmod 755 traps/$name
	done
	export PATH=$BATS_TEST_TMPDIR/traps:$PATH
	for cc in ./static-cc cc; do
		for place in one another/place; do
			(cd "$place/$RELEASE" && make -s clean &&
			    alone make -s -j2 CC="$cc" &&
			    alone make -s CC="$cc" DESTDIR="$PWD/root" install)
		done
		[ -x "one/$RELEASE/root/usr/local/sbin/pop3d" ]
		diff -r "one/$RELEASE" "another/place/$RELEASE"
	done
	[ ! -e called ]
}

@test "INSTALL: rc.local starts it" {
	mailbox
	here init/rc.local >"$BATS_TEST_TMPDIR/rc.local"
	sh "$BATS_TEST_TMPDIR/rc.local" 3>&-
	serves
}

@test "INSTALL: the line of inittab starts it" {
	local id levels action command words

	mailbox
	here init/inittab | grep -v '^#' >"$BATS_TEST_TMPDIR/inittab"
	IFS=: read -r id levels action command <"$BATS_TEST_TMPDIR/inittab"
	[[ $id =~ ^[a-z0-9]{1,4}$ && $levels = 2345 && $action = respawn ]]
	# Without a shell, as init does it.
	read -ra words <<<"$command"
	"${words[@]}" 3>&- &
	SERVERS+=($!)
	serves
}

# openrc COMMAND ...: where Debian's OpenRC is, as if it had booted; it would
# not be polite to install it.
openrc() {
	# shellcheck disable=SC2016
	OPENRC=$BATS_TEST_TMPDIR/openrc RUN=$BATS_TEST_TMPDIR/run \
	    unshare -m sh -ec '
		mount -t tmpfs tmpfs "$OPENRC/over"
		mkdir "$OPENRC/over/up" "$OPENRC/over/work" "$OPENRC/over/usr"
		mount -t overlay -o "lowerdir=$OPENRC/usr:/usr,upperdir=$OPENRC/over/up,workdir=$OPENRC/over/work" \
		    overlay "$OPENRC/over/usr"
		mount --bind "$OPENRC/over/usr" /usr
		mount --bind "$RUN" /run
		exec "$@"' sh "$@" 3>&-
}

@test "INSTALL: OpenRC starts it, again if it ends, and stops it" {
	local folder server

	once
	need_root "for a place of its own"
	cd "$BATS_TEST_TMPDIR"
	mkdir -p openrc/usr openrc/over run
	(cd openrc && apt-get download openrc librc1 libeinfo1 &&
	    for deb in *.deb; do dpkg-deb -x "$deb" .; done) >fetched 2>&1 ||
	    skip "cannot fetch openrc"
	# Where / and /usr are one.
	for folder in bin sbin lib; do
		cp -R "openrc/$folder" openrc/usr && rm -r "openrc/$folder"
	done
	# What a boot makes.
	for folder in starting started stopping inactive wasinactive hotplugged \
	    failed scheduled daemons options exclusive tmp; do
		mkdir -p "run/openrc/$folder"
	done
	echo default >run/openrc/softlevel
	openrc true 2>/dev/null || skip "needs an overlay file system"

	mailbox
	mkdir run/init.d run/conf.d
	sed "s|/usr/local/sbin/pop3d|$POP3D_BIN/pop3d|" \
	    "$BATS_TEST_DIRNAME/../contrib/openrc/pop3d" >run/init.d/pop3d
	chmod 755 run/init.d/pop3d
	echo "tcpserver_args='-HRl mail.example.org 127.0.0.1 $PORT'
pop3d_args='$ARGUMENTS'" >run/conf.d/pop3d
	# -D: there is no network service here.
	openrc /run/init.d/pop3d -D start
	serves
	server=$(pgrep -f "^/usr/bin/tcpserver .* -r $BATS_TEST_TMPDIR/empty ")
	kill "$server"
	wait_for gone "$server"
	serves
	openrc /run/init.d/pop3d -D stop
	wait_for ended
}
