#!/bin/sh
# SPDX-License-Identifier: ISC
# make lint: every reader of the sources that CI asks; a warning is a failure.
# Ends with a line "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1

sh tests/install-needs.sh gcc=gcc clang=clang clang-tidy=clang-tidy \
	clang-format=clang-format cppcheck=cppcheck shellcheck=shellcheck \
	mandoc=mandoc musl-gcc=musl-tools bmake=bmake \
	/usr/include/crypt.h=libcrypt-dev /usr/include/nettle/hmac.h=nettle-dev \
	/usr/include/security/pam_appl.h=libpam0g-dev || exit 1

passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# lint NAME COMMAND ...: passes if the command succeeds and says nothing.
lint() {
	name=$1
	shift
	if "$@" >"$work/out" 2>&1 && ! [ -s "$work/out" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok lint: $name"
		cat "$work/out"
	fi
}

# build MAKE CC CFLAGS [MAKE-ARGUMENT ...]: in a folder of its own.
build() (
	make=$1 cc=$2 flags=$3
	shift 3
	rm -rf "$work/tree"
	mkdir "$work/tree"
	cp -R Makefile static-cc ./*.c ./*.h man "$work/tree"
	cd "$work/tree" || exit 1
	"$make" -s "CC=$cc" "CFLAGS=$flags -Werror" "$@"
)

# each COMPILER FLAG ...: asks it about every file, all processors at work.
each() {
	printf '%s\n' ./*.c bench/*.c |
		xargs -n 1 -P "$(nproc 2>/dev/null || echo 1)" "$@" -o /dev/null
}

define="-std=c11 -D_GNU_SOURCE"
lint "gcc" build make gcc -O2
lint "gcc -O0" build make gcc -O0 HARDENING=-fPIE
lint "gcc -O3" build make gcc -O3
lint "clang" build make clang -O2
# Each file by itself.  With -O0, where it does not see through memcpy of a
# word, gcc's is wrong about stream.c.
# shellcheck disable=SC2086 # flags, one a word
lint "gcc -fanalyzer" each gcc $define -O2 -fanalyzer -Werror -c
# clang-tidy asks it, too, but not all of its checks, nor about bench.
# shellcheck disable=SC2086
lint "clang --analyze" each clang $define --analyze --analyzer-output text \
	-Xclang -analyzer-werror
lint "bmake" build bmake cc -O2
lint "static-cc" build make ./static-cc -O2
lint "clang-format" sh -c 'clang-format --dry-run -Werror ./*.c ./*.h bench/*.c \
	fuzz/*.c fuzz/*.h'
# shellcheck disable=SC2086 # flags, one a word
lint "clang-tidy" sh -c "clang-tidy --quiet ./*.c -- $define \
	2>&1 | grep -v '^[0-9]* warnings\? generated' |
	grep -v '^Suppressed\|^Use -header' ; :"
lint "cppcheck" cppcheck --quiet --enable=warning,style,performance,portability \
	--inline-suppr --suppress=missingIncludeSystem \
	--suppress=variableScope --error-exitcode=1 \
	--std=c11 -D_GNU_SOURCE -D__linux__ ./*.c bench
lint "shellcheck" sh -c 'shellcheck tests/*.sh tests/*.bash static-cc .ci/run \
	    contrib/*.sh contrib/*/run contrib/*/log/run contrib/pop3d-report contrib/introspect &&
	shellcheck -x bench/*.sh fuzz/*.sh &&
	shellcheck contrib/debian/pop3d.p* contrib/init/rc.local &&
	shellcheck -s sh -e SC1008,SC2034,SC2154 contrib/openrc/pop3d &&
	shellcheck -x -s sh contrib/bulletin contrib/expire contrib/hold \
	    contrib/maildirs.sh &&
	shellcheck -s bats -x tests/*.bats tests/alone/*.bats'
# Our own pages are not installed here, nor are others.
lint "mandoc" sh -c 'mandoc -Tlint man/*.8 2>/dev/null |
	grep -v "STYLE: referenced manual not found" ; :'
lint "line length" sh -c \
	'! expand ./*.c ./*.h | grep -nE "^.{81}"'
# Files that .gitignore names and that are committed all the same.
lint "nothing built is committed" sh -c \
	'git ls-files -ci --exclude-standard 2>/dev/null || :'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
