#!/bin/sh
# SPDX-License-Identifier: ISC
# make coverage: every test on a build that counts which lines are run (gcov).
# Ends with the lines that never were, as file:line: text, and a table; fails
# if a test does, or if a file of the five that count has less than 95 %.
#
# Counts are written when a process ends, by whoever it then is: each test has
# a directory of its own for them, with files that everybody may write, and
# the greeter's empty root has links to the same files (see helper.bash).  A
# process that a signal ends leaves none.
#
# What no test can run, or not within reason:
# - want of memory, and names of 4 GiB together (index.c, listing.c, maildir.c);
# - deadlines of minutes: a login's 180 s, and what the monitor adds to them;
# - sizes saved while others are counted: tested, but by killing the session;
# - others who rename a message faster than it can be found, ten times;
# - file systems that tell no types of files, or have no locks;
# - what cannot happen, and is there for the reader or the compiler: an option
#   that getopt does not know, a format that vsnprintf does not.
set -eu
cd "$(dirname "$0")/.."

measured="pop3d.c auth.c maildir.c stream.c index.c"
least=95

sh tests/install-needs.sh gcov=gcc gcov-tool=gcc
POP3D_GCOV=$(mktemp -d)
export POP3D_GCOV
trap 'rm -rf "$POP3D_GCOV"' EXIT
chmod a+rx "$POP3D_GCOV"

# _exit would leave without writing the counts, and Landlock would forbid it.
code=0
GCOV_PREFIX_STRIP=99 POP3D_TOOL=coverage sh tests/check.sh coverage CC=gcc NSS_CC=gcc \
	HARDENING=-fPIE CPPFLAGS="-DINSTRUMENTED=2 -D_exit=exit" \
	CFLAGS="-O0 -g --coverage" LDFLAGS=--coverage || code=1

# Files that nobody wrote, and those of a process that was stopped in the
# middle, which gcov-tool does not read, count for nothing.
find "$POP3D_GCOV" -name '*.gcda' -size 0 -delete
for test in "$POP3D_GCOV"/*; do
	rmdir "$test" 2>/dev/null && continue
	if ! [ -d build/coverage/counts ]; then
		mv "$test" build/coverage/counts
	elif gcov-tool merge -o build/coverage/merged build/coverage/counts \
	    "$test" >build/coverage/log 2>&1; then
		rm -rf build/coverage/counts
		mv build/coverage/merged build/coverage/counts
	else
		echo "# counts of one test are lost: $(head -n 1 build/coverage/log)"
	fi
done

cd build/coverage
cp counts/*.gcda .
for object in *.o; do
	gcov "$object" >/dev/null
done
# shellcheck disable=SC2035 # no file's name begins with a dash
awk -F: -v measured="$measured" -v least="$least" '
	FNR == 1 { file = FILENAME; sub(/\.gcov$/, "", file) }
	$1 !~ /^ *-$/ { lines[file]++ }
	$1 ~ /#####/ {
		missed[file]++
		sub(/^[^:]*: */, "")
		sub(/:[ \t]*/, ": ")
		print file ":" $0
	}
	END {
		n = split(measured, names, " ")
		for (i = 1; i <= n; i++) {
			is_measured[names[i]] = 1
			if (!(names[i] in lines)) {
				print "no counts of " names[i]
				failed++
			}
		}
		for (file in lines) {
			part = 100 - 100 * missed[file] / lines[file]
			is_low = file in is_measured && part < least
			failed += is_low
			note = is_low ? ", too few" : ""
			printf("%6.2f %% of %4d lines: %s%s\n", part,
			    lines[file], file, note) | "sort -k 6"
		}
		close("sort -k 6")
		exit failed > 0
	}' *.c.gcov || code=1
exit "$code"
