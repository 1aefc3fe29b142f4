# shellcheck shell=bash
# What the tests of checkpassword programs share, after helper.  CP is the
# program with its options in opts; it is to execute `program`.
# What is defined here again wins.
# shellcheck disable=SC2154 # CP, opts, program, out and err

# runs it with standard input on descriptor 3; sets status, fills out and err
feed() {
	status=0
	"$CP" "${opts[@]}" "${program[@]}" 3<&0 </dev/null >"$out" 2>"$err" ||
		status=$?
}

# name secret [challenge]
attempt() {
	feed < <(printf '%s\0%s\0%s\0' "$1" "$2" "${3-}")
}

# says what came instead of the exit code expected
expect() {
	[ "$status" -eq "$1" ] && return
	echo "exit $status instead of $1"
	cat -v "$out" "$err"
	return 1
}

accepts() {
	attempt "$@"
	expect 0
}

refuses() {
	attempt "$@"
	expect 1
	[ ! -s "$out" ]
}

# The machine's accounts and, in a mount namespace, one more called probe; with
# LIBEXEC that is libexecdir there, and $ACCOUNTS/pam.d is /etc/pam.d.
# Arguments: hash or other secret, then shadow's dates (last:min:max:warn:inact:expire)
account() {
	need_root "private copies of /etc/passwd and /etc/shadow"
	unshare -m true 2>"$err" || skip "no mount namespaces here"
	local dir=$BATS_TEST_TMPDIR
	{ cat /etc/passwd && echo "probe:x:4242:4243::/usr:/bin/probe"; } >"$dir/passwd"
	{ cat /etc/group && echo "extra:x:4244:probe"; } >"$dir/group"
	(umask 077 && echo "probe:$1:${2-19000:0:99999:7::}:" >"$dir/shadow")
	cat >"$dir/inside" <<-'END'
		#!/bin/sh
		set -e
		for file in passwd group shadow; do
			mount --bind "$ACCOUNTS/$file" "/etc/$file"
		done
		if [ -n "$LIBEXEC" ]; then
			mount --bind "$ACCOUNTS/pam.d" /etc/pam.d
			[ -d /usr/local/libexec ] ||
				mount -t tmpfs none /usr/local
			mkdir -p /usr/local/libexec
			mount --bind "$LIBEXEC" /usr/local/libexec
		fi
		exec "$@"
	END
	cat >"$dir/system" <<-'END'
		#!/bin/sh
		exec unshare -m sh "$ACCOUNTS/inside" "$CHECKPASSWORD" "$@"
	END
	chmod +x "$dir/system"
	export ACCOUNTS=$dir CHECKPASSWORD=${CHECKPASSWORD:-$CP}
	CP=$dir/system
	opts=()
}
