#!/bin/sh
# SPDX-License-Identifier: ISC
# The sandbox on another machine: boots Debian's arm64 kernel in qemu with
# static programs of both libcs, serves a session under -S, and has greeter
# and session try the calls that the tables of sandbox.bats have.  By hand
# only: it takes minutes, and fetches 60 MB.  Needs gcc-aarch64-linux-gnu,
# libc6-dev-arm64-cross, qemu-system-arm, cpio and Debian's apt-get.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cross=aarch64-linux-gnu-gcc
tree=$work/tree

# apt COMMAND ...: with lists of arm64's packages of its own.
apt() {
	apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
	    -o Dir::State="$work/apt" -o Dir::State::status=/dev/null \
	    -o Dir::Cache="$work/apt" -o APT::Sandbox::User=root "$@"
}

# table NAME TEXT: the next table behind the line with that text in
# sandbox.bats, into the tree.
table() {
	awk -v text="$2" 'index($0, text) { on = 1 }
	    rows && $0 == "T" { exit }
	    rows { print }
	    on && /<<.?T/ { rows = 1 }' tests/sandbox.bats >"$tree/$1"
	[ -s "$tree/$1" ]
}

# program LIBC MAKE-ARGUMENT ...
program() {
	libc=$1
	shift
	mkdir "$work/$libc"
	cp Makefile static-cc ./*.c ./*.h "$work/$libc"
	make -s -C "$work/$libc" pop3d CFLAGS="-O2 -Werror" "$@"
	cp "$work/$libc/pop3d" "$tree/$libc"
}

mkdir -p "$tree/bin" "$tree/proc" "$tree/dev" "$tree/etc" "$tree/tmp" \
    "$work/apt/lists/partial" "$work/apt/archives/partial"
chmod 1777 "$tree/tmp"
apt update
kernel=$(apt -s install --no-install-recommends linux-image-arm64 |
    sed -n 's/^Inst \(linux-image-[0-9][^ ]*\) .*/\1/p')
(cd "$work" && apt download "$kernel" busybox-static musl-dev)
for package in "$work"/*.deb; do
	dpkg -x "$package" "$work/root"
done
cp "$work/root/bin/busybox" "$tree/bin"

program glibc CC=$cross LINKING=-static-pie
REALCC=$cross MUSL_INCLUDE=$work/root/usr/include/aarch64-linux-musl \
MUSL_LIB=$work/root/usr/lib/aarch64-linux-musl \
    program musl CPPFLAGS="-idirafter /usr/aarch64-linux-gnu/include"
echo '#include <sys/syscall.h>' | $cross -E -dM - |
    sed -n 's/^#define SYS_\([a-z0-9_]*\) .*/{"\1", SYS_\1},/p' \
    >"$work/calls.h"
$cross -std=c11 -D_GNU_SOURCE -O -static -I"$work" -o "$tree/bin/inject" \
    tests/inject.c

table greeter-lives "the greeter can still"
table greeter-dies "the greeter dies of any other"
table session-files "What leads out of the Maildir"
table session-dies "the session dies of what"
table session-memory "no memory of the session"
table session-refuses "the session's filter does not know"

echo 'root:x:0:0::/:/bin/sh
joe:x:7110:7110::/home/joe:/bin/sh' >"$tree/etc/passwd"
cat >"$tree/checkpassword" <<'S'
#!/bin/sh
cat <&3 >/dev/null
exec su -s /bin/sh -c 'cd && exec "$0" "$@"' -- joe "$@"
S
cat >"$tree/init" <<'S'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME_DIR=/home/joe MAIL=/home/joe/Maildir
mount -t proc none /proc
mount -t devtmpfs none /dev
mkdir -p /empty /etc "$MAIL/new" "$MAIL/cur" "$MAIL/tmp"
passed=0 failed=0

# check NAME COMMAND ...
check() {
	name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok $libc: $name"
	fi
}

# start COMMAND ...: speaks on descriptors 5 and 6.
start() {
	rm -f in out
	mkfifo in out
	"$@" <in >out 2>>/log &
	pid=$!
	exec 5>in 6<out
	read -r reply <&6
}

new_greeter() {
	start "/$libc" -S -c -r /empty -h mail.example.org /checkpassword
	set -- $(cat "/proc/$pid/task/$pid/children")
	target=$1
}

new_session() {
	start su -s /bin/sh -c 'cd && exec "$0" "$@"' -- joe "/$libc" -t -S
	target=$pid
	DIR=$(ls -l "/proc/$pid/fd" |
	    sed -n "s|.* \([0-9]*\) -> $MAIL\$|\1|p" | head -n 1)
}

finish() {
	exec 5>&- 6<&-
	wait "$pid"
}

try() {
	[ -n "$target" ] || "$1"
	got=$(inject "$target" $3)
	[ $? != 77 ] || return 0
	case $got in
	"killed SIGSYS")
		got=killed
		finish
		target=
		;;
	esac
	echo "$got" | grep -Eqx "$2" || {
		echo "$got, not $2"
		return 1
	}
}

table() {
	target=
	"new_$1"
	eval "cat <<X
$(cat "/$1-$2")
X" >/tmp/rows
	while IFS= read -r row <&9; do
		expected=${row%%: *}
		echo "${row#*: }" | tr ';' '\n' >/tmp/calls
		while read -r call <&8; do
			check "$1: $call" try "new_$1" "$expected" "$call"
		done 8</tmp/calls
	done 9</tmp/rows
	[ -z "$target" ] || finish
}

# A whole connection, and nothing in the log of a part that is missing.
whole() {
	: >/log
	new_greeter
	printf '%s\r\n' 'USER joe' 'PASS x' STAT UIDL 'RETR 1' 'DELE 1' QUIT >&5
	cat <&6 | tr -d '\r' >answers
	finish
	echo '+OK
+OK
+OK 1 7
+OK
1 1
.
+OK
hello
.
+OK
+OK' >wanted
	sed 's/^+OK [^1].*/+OK/; s/^+OK 1 m.*/+OK/' answers >got
	cmp got wanted && grep -q event=login /log && ! grep debug /log &&
	    [ ! -e "$MAIL/new/1" ]
}

uname -a
for libc in glibc musl; do
	echo hello >"$MAIL/new/1"
	chown -R joe "$HOME_DIR"
	check "a whole session under -S" whole
	echo one >"$MAIL/new/1"
	echo two >"$MAIL/cur/2:2,"
	echo private >"$HOME_DIR/private"
	ln -sf "$HOME_DIR/private" "$MAIL/cur/link"
	chown -R joe "$HOME_DIR"
	table greeter lives
	table greeter dies
	table session files
	table session dies
	table session memory
	table session refuses
	new_greeter
	grep -E '^(NoNewPrivs|Seccomp)' "/proc/$target/status"
	finish
	rm -rf "$MAIL"/*/*
done
[ "$failed" = 0 ] || cat /log
echo "$passed passed, $failed failed"
poweroff -f
S
chmod 755 "$tree/init" "$tree/checkpassword"
(cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) \
    >"$work/initrd"
timeout 1200 qemu-system-aarch64 -M virt -cpu cortex-a57 -smp 2 -m 512 \
    -nographic -no-reboot -kernel "$work"/root/boot/vmlinuz-* \
    -initrd "$work/initrd" -append "console=ttyAMA0 quiet panic=-1" \
    </dev/null | tr -d '\r' | tee "$work/out"
grep -q ' passed, 0 failed$' "$work/out"
