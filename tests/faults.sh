#!/bin/sh
# SPDX-License-Identifier: ISC
# make faults: every fault of faults.py, in the default build and, where that
# is static, in a dynamic one.  Takes half an hour; ends with a line
# "N passed, N failed".
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

sh tests/install-needs.sh cc=gcc make=make musl-gcc=musl-tools \
	/usr/include/crypt.h=libcrypt-dev /usr/include/nettle/hmac.h=nettle-dev \
	python3=python3 strace=strace readelf=binutils

TEST_UID=$(id -u) TEST_GID=$(id -g)
[ "$TEST_UID" != 0 ] || TEST_UID=7110 TEST_GID=7110
export TEST_UID TEST_GID
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
# Not a version manager's shim, which others may not run.
[ ! -x /usr/bin/python3 ] || PATH=/usr/bin:$PATH

# faults BUILD: all kinds, of the programs there.
faults() {
	POP3D_BIN=$work/bin
	export POP3D_BIN
	rm -rf "$POP3D_BIN"
	mkdir "$POP3D_BIN"
	cp "$1/pop3d" "$1/pop3d-checkpassword" "$1/pop3d-passwd" "$POP3D_BIN"
	for kind in session monitor passwd checkpassword; do
		rm -rf "$work/faults"
		FAULT_SAMPLE=${FAULT_SAMPLE:-all} python3 -B tests/faults.py \
		    "$kind" "$work/faults" 2>&1 | tee -a "$work/result"
	done
}

make -s
echo "# the default build"
faults "$top"
if ! readelf -Wl pop3d | grep -q INTERP; then
	rm -rf build/dynamic
	mkdir -p build/dynamic
	cp -R Makefile static-cc ./*.c ./*.h man build/dynamic
	(cd build/dynamic && make -s CC=cc)
	echo "# a dynamic build"
	faults "$top/build/dynamic"
fi
awk '
	/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3; kinds++ }
	END {
		# A kind that did not come to its end has failed.
		failed += kinds % 4
		if (kinds == 0)
			failed++
		printf "%d passed, %d failed\n", passed, failed
		exit failed > 0
	}' "$work/result"
