#!/bin/sh
# SPDX-License-Identifier: ISC
# make fuzz: builds the targets in this folder with libFuzzer and the
# sanitizers, runs each, four at a time, and prints a line for each and at the
# end "N passed, N failed".
#
# run.sh [SECONDS [TARGET ...]]: 20 seconds and all of them by default.
# Seeds are in fuzz/seeds/TARGET; what a run finds stays in build/fuzz: inputs
# that fail in failed/TARGET, others worth keeping in corpus/TARGET, both for
# the next run to begin with.
set -u
cd "$(dirname "$0")/.." || exit 1
build=build/fuzz
clang=${CLANG:-clang}

# show FILE ...: an input that failed, for eyes and for other programs.
show() {
	for file; do
		[ -f "$file" ] || continue
		echo "# $file"
		cat -v "$file" | sed 's/^/#   /'
		od -An -v -tx1 "$file" | sed 's/^/#  /'
	done
}

# figure KEY: a number of the run's closing statistics.
figure() {
	sed -n "s/^stat::$1: *//p" "$log" | tail -n 1
}

# run TARGET SECONDS: runs one; leaves its exit code in TMPDIR/TARGET.code.
run() {
	target=$1 log=$build/$1.log code=0
	failed=$build/failed/$target corpus=$build/corpus/$target
	set -- -max_total_time="$2" -timeout=20 -print_final_stats=1 \
	    -artifact_prefix="$failed/"
	if [ -f "fuzz/$target.dict" ]; then
		set -- "$@" -dict="fuzz/$target.dict"
	fi
	mkdir -p "$failed" "$corpus"
	"$build/$target" "$@" "$corpus" "fuzz/seeds/$target" "$failed" \
	    >"$log" 2>&1 </dev/null || code=$?
	word=ok
	[ "$code" = 0 ] || word="not ok"
	edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	echo "$word fuzz $target: $(figure number_of_executed_units) executions," \
	    "${edges:-0} edges, $(figure average_exec_per_sec) exec/s"
	if [ "$code" != 0 ]; then
		grep -aE 'not true|runtime error|^==|SUMMARY' "$log" |
			sed 's/^/# /'
		# What libFuzzer wrote, or read, last.
		written=$(sed -n 's/^.*Test unit written to //p' "$log")
		show "$written"
	fi
	echo "$code" >"$TMPDIR/$target.code"
}

# compile ARGUMENT ...: as the Makefile does, but for the fuzzer.
compile() {
	"$clang" -std=c11 -D_GNU_SOURCE -DINSTRUMENTED -g -O1 \
	    -fno-omit-frame-pointer -fno-sanitize-recover=undefined \
	    -Dnanosleep=fuzz_nanosleep "$@"
}

# build TARGET ...: all of them, two at a time.
build() {
	mkdir -p "$build/object"
	rm -f "$build"/object/* "$build/pop3d.a"
	for target; do
		rm -f "$build/$target"
	done
	for source in ./*.c fuzz/fuzz.c; do
		case $source in
		# Programs of their own, and what fuzz.c stands in for.
		./account.c | ./checkpassword.c | ./pam.c | ./passwd.c | ./musl-compat.c | ./doctor*.c) continue ;;
		./stream.c | ./log.c) continue ;;
		esac
		compile -Dmain=pop3d_main \
		    -fsanitize=fuzzer-no-link,address,undefined -c \
		    -o "$build/object/$(basename "$source" .c).o" "$source" ||
			return 1
	done
	ar rc "$build/pop3d.a" "$build"/object/*.o || return 1
	# One that cannot be built cannot be run, and fails then.
	printf '%s\n' "$@" |
		xargs -P 2 -I TARGET sh fuzz/run.sh --build TARGET || :
}

case ${1:-} in
--build)
	compile -fsanitize=fuzzer,address,undefined -o "$build/$2" \
	    "fuzz/$2.c" "$build/pop3d.a" -lcrypt -lnettle
	exit
	;;
--run)
	run "$3" "$2"
	exit
	;;
esac

seconds=${1:-20}
[ $# = 0 ] || shift
if [ $# = 0 ]; then
	for source in fuzz/*.c; do
		[ "$source" = fuzz/fuzz.c ] ||
			set -- "$@" "$(basename "$source" .c)"
	done
fi

sh tests/install-needs.sh "$clang=clang" ar=binutils \
	/usr/include/crypt.h=libcrypt-dev /usr/include/nettle/hmac.h=nettle-dev || exit 1
# Of clang's own version; a name without a path means that it is not there.
runtime=$("$clang" -print-file-name="libclang_rt.fuzzer-$(uname -m).a")
major=$("$clang" -dumpversion | cut -d. -f1)
sh tests/install-needs.sh "$runtime=libclang-rt-$major-dev" || exit 1

ASAN_OPTIONS=detect_leaks=0:handle_abort=0:abort_on_error=0
UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS UBSAN_OPTIONS
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/pop3d-fuzz.XXXXXX") || exit 1
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

mkdir -p "$build"
if ! build "$@"; then
	echo "0 passed, $# failed"
	exit 1
fi
printf '%s\n' "$@" | xargs -P 4 -I TARGET sh fuzz/run.sh --run "$seconds" TARGET
passed=0
for target; do
	[ "$(cat "$TMPDIR/$target.code" 2>/dev/null)" != 0 ] ||
		passed=$((passed + 1))
done
echo "$passed passed, $(($# - passed)) failed"
[ "$passed" = $# ]
