#!/bin/sh
# SPDX-License-Identifier: ISC
# make check: installs what the tests need, builds, runs every test and ends
# with a line "N passed, N failed, N skipped".
#
# check.sh: the default build, at the top, and where that is static part of them
# on a dynamic one as well.  check.sh NAME [MAKE-ARGUMENT ...]: a build of its own, in
# build/NAME, made with these arguments.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

sh tests/install-needs.sh cc=gcc make=make bats=bats parallel=parallel \
	musl-gcc=musl-tools file=file \
	/usr/include/crypt.h=libcrypt-dev /usr/include/nettle/hmac.h=nettle-dev \
	tcpserver=ucspi-tcp xinetd=xinetd curl=curl jq=jq fetchmail=fetchmail \
	python3=python3 perl=perl valgrind=valgrind strace=strace rsync=rsync \
	mkpasswd=whois nc=netcat-openbsd readelf=binutils setpriv=util-linux \
	git=git dpkg-buildpackage=dpkg-dev dh=debhelper lintian=lintian \
	faketime=faketime deluser=adduser haproxy=haproxy nginx=nginx-core \
	/usr/lib/nginx/modules/ngx_mail_module.so=libnginx-mod-mail \
	/usr/lib/dovecot/pop3=dovecot-pop3d \
	/usr/lib/dovecot/imap=dovecot-imapd \
	svscan=daemontools runsv=runit s6-svscan=s6 tcpsvd=ipsvd socat=socat \
	systemd-socket-activate=systemd stunnel4=stunnel4 openssl=openssl \
	fail2ban-regex=fail2ban logrotate=logrotate rsyslogd=rsyslog \
	busybox=busybox mawk=mawk gawk=gawk \
	/usr/lib/python3/dist-packages/systemd/journal.py=python3-systemd \
	script=bsdutils getmail=getmail6 mpop=mpop fdm=fdm movemail=mailutils \
	mutt=mutt neomutt=neomutt s-nail=s-nail ruby=ruby \
	ss=iproute2 /usr/include/security/pam_appl.h=libpam0g-dev \
	/usr/share/doc/libevent-2.1-7/copyright=libevent-2.1-7
# Of these two, and xinetd, only one may be installed.
sh tests/unpack.sh openbsd-inetd inetutils-inetd || :
# Debian has PAM's modules in the folder of the machine's own libraries.
sh tests/install-needs.sh \
	"$(dirname "$(cc -print-file-name=libpam.so)")/security/pam_pwdfile.so=libpam-pwdfile"

# Under valgrind only pop3d runs (see setup_suite.bash), and there is no sense
# in the tests of other programs, in those that look at its processes by their
# names and descriptors, or, for the time they take, in the thousands of
# sessions of oracle, concurrent and index.
tests=tests
[ "${POP3D_TOOL:-}" != valgrind ] || tests="tests/authorization.bats
	tests/checkpassword-interface.bats tests/clients*.bats
	tests/dialogue.bats tests/lock.bats tests/log.bats tests/maildrop.bats
	tests/options.bats tests/retr.bats tests/transaction.bats
	tests/update.bats"

result=$(mktemp)
trap 'rm -f "$result"' EXIT
jobs=$(($(nproc 2>/dev/null || echo 1) * 3))

# check BUILD [MAKE-ARGUMENT ...]: makes it and runs the tests on it.
check() {
	build=$1
	shift
	if [ "$build" != "$top" ]; then
		rm -rf "$build"
		mkdir -p "$build"
		cp -R Makefile static-cc ./*.c ./*.h man "$build"
	fi
	# A target among the arguments: then the rest is made the usual way.
	(cd "$build" && make -s "$@" && make -s CC=cc)
	file "$build/pop3d" "$build"/pop3d-* | grep ELF |
		sed 's/^.*\/\(pop3d[^/]*\):.*\(static-pie\|dynamically\) linked.*/# \1: \2 linked/'
	# shellcheck disable=SC2086 # files, one a word
	POP3D_BUILD=$build bats --jobs "$jobs" --formatter tap $tests \
	    >>"$result" 2>&1 3>&- || :
}

# What changes the machine, and so runs by itself.
alone() {
	POP3D_BUILD=$top bats --setup-suite-file tests/setup_suite.bash \
	    --formatter tap tests/alone >>"$result" 2>&1 3>&- || :
}

if [ $# -gt 0 ]; then
	name=$1
	shift
	check "$top/build/$name" "$@"
else
	check "$top"
	alone
	# The other way to build it: where the one is static, dynamic; what
	# looks at the processes, their calls and their memory.  All the rest
	# runs with that libc in make asan.
	if ! readelf -Wl pop3d | grep -q INTERP; then
		tests="tests/checkpassword.bats tests/greeter.bats
			tests/limits.bats tests/passwd.bats
			tests/processes.bats tests/sandbox.bats
			tests/secrets.bats"
		check "$top/build/dynamic" CC=cc
	fi
fi
grep -v '^ok [^#]*$' "$result" || :
awk '
	/^1\.\.[0-9]+/ { planned += substr($0, 4) }
	/^ok .* # skip/ { skipped++; next }
	/^ok / { passed++ }
	/^not ok / { failed++ }
	END {
		# What was planned and did not report has failed.
		failed += planned - passed - skipped - failed
		if (planned == 0)
			failed++
		printf "%d passed, %d failed, %d skipped\n",
		    passed, failed, skipped
		exit failed > 0
	}' "$result"
