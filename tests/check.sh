#!/bin/sh
# SPDX-License-Identifier: ISC
# make check: installs what the tests need, builds, runs every test and ends
# with a line "N passed, N failed, N skipped".
#
# check.sh [NAME [MAKE-ARGUMENT ...]]: NAME is a build of its own in
# build/NAME, made with these arguments; without it the build is at the top.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

sh tests/install-needs.sh cc=gcc make=make bats=bats parallel=parallel \
	/usr/include/crypt.h=libcrypt-dev /usr/include/md5.h=libmd-dev \
	tcpserver=ucspi-tcp xinetd=xinetd curl=curl fetchmail=fetchmail \
	python3=python3 perl=perl valgrind=valgrind strace=strace \
	mkpasswd=whois nc=netcat-openbsd readelf=binutils setpriv=util-linux \
	/usr/lib/dovecot/pop3=dovecot-pop3d

name=${1:-}
build=$top
if [ -n "$name" ]; then
	shift
	build=$top/build/$name
	rm -rf "$build"
	mkdir -p "$build"
	cp -R Makefile ./*.c ./*.h man "$build"
fi
if [ -f "$build/config.mk" ]; then
	echo "check: with your config.mk" >&2
fi
(cd "$build" && make -s "$@")

result=$(mktemp)
trap 'rm -f "$result"' EXIT
jobs=$(($(nproc 2>/dev/null || echo 1) * 3))
POP3D_BUILD=$build bats --jobs "$jobs" --formatter tap tests \
	>"$result" 2>&1 3>&- || :
grep -v '^ok [^#]*$' "$result" || :
awk '
	/^1\.\.[0-9]+/ { planned = substr($0, 4) + 0 }
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
