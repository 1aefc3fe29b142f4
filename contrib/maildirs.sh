# shellcheck shell=sh
# SPDX-License-Identifier: ISC
# What bulletin, expire and hold share: which Maildirs there are, whose they
# are, and how something is done in each as its owner.  They read this file,
# which lies beside them.
#
# Each of them runs twice.  The first run, mostly root's, makes a list of
# Maildirs and their owners and never touches what is in one.  It starts the
# script again for each owner, under the owner's numbers, with --inside: only
# that run enters Maildirs, whatever their owner has put there.
#
# Needs what Linux distributions have: coreutils, findutils and util-linux of
# GNU (stat, find -printf, setpriv, flock, setsid, timeout), any awk.

set -u
unset CDPATH TMPDIR
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
umask 077

case $0 in
/*) script=$0 ;;
*) script=$(pwd)/$0 ;;
esac
program=${0##*/}
newline='
'

# Options that all have, for getopts, and what they set.
# shellcheck disable=SC2034 # they use it
LIST_OPTIONS=f:h:l:m:sT:u:
users='' home='' list=- maildir_name='' system=false limit=600 ids=''

# For awk: a value as pop3d's log has it.
QUOTE='
function quote(s,    i, c, out) {
	if (s == "")
		return "-"
	if (s != "-" && s ~ /^[]!#-<>-[^-~]+$/)
		return s
	if (!("a" in code))
		for (i = 1; i < 256; i++)
			code[sprintf("%c", i)] = i
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		if (c < " " || c > "~" || c == "\"" || c == "\\")
			c = sprintf("\\x%02x", code[c])
		out = out c
	}
	return "\"" out "\""
}'

# event NAME [KEY VALUE] ...: a line of the log.
event() {
	awk "$QUOTE"'BEGIN {
		line = "event=" ARGV[1]
		for (i = 2; i < ARGC; i += 2)
			line = line " " ARGV[i] "=" quote(ARGV[i + 1])
		print line
	}' "$@"
}

# die CODE MESSAGE
die() {
	echo "$program: $2" >&2
	exit "$1"
}

misuse() {
	echo "$program: wrong usage; $program -h says how" >&2
	exit 100
}

# help "$@": the head of the script, for -h alone, without a pattern.
help() {
	case $* in
	-h | --help)
		sed -n '3,/^$/s/^# \{0,1\}//p' "$script"
		exit 0
		;;
	esac
}

# list_option LETTER: one of LIST_OPTIONS, with $OPTARG.
list_option() {
	case $1 in
	f) users=$OPTARG ;;
	h) home=$OPTARG ;;
	l) list=$OPTARG ;;
	m) maildir_name=$OPTARG ;;
	s) system=true ;;
	T)
		is_number "$OPTARG" || misuse
		limit=$OPTARG
		;;
	u)
		ids=$OPTARG
		case $ids in
		*:*) ;;
		*) misuse ;;
		esac
		is_number "${ids%%:*}" || misuse
		is_number "${ids#*:}" || misuse
		;;
	*) misuse ;;
	esac
}

is_number() {
	case $1 in
	'' | 0?* | *[!0-9]* | ???????????*) return 1 ;;
	esac
}

# The first run.

# problem MAILDIR WHAT: the rest goes on, and the end is 1.
problem() {
	event error what "$2" maildir "$1" >&2
	: >"$work/failed"
}

# The users of a passwd-file, as pop3d-checkpassword -f reads it.
list_users() {
	[ -n "$(find -L "$users" -maxdepth 0 -type f ! -perm /022)" ] ||
		die 111 "$users: not a file that its owner alone writes"
	# shellcheck disable=SC2094 # nothing is written
	tr -d '\000' <"$users" | cmp -s - "$users" ||
		die 111 "$users: holds a NUL"
	NAME=$maildir_name PATTERN=$home IDS=$ids awk -F: "$QUOTE"'
	function bad(what) {
		print "event=error what=" quote(what) " user=" quote($1) \
		    " line=" NR >"/dev/stderr"
		failed = 1
	}
	function safe(name,    at) {
		at = index(name, "@")
		return name !~ /^[@.]/ && name !~ /\// &&
		    (!at || substr(name, at + 1) ~ /^[^.]/)
	}
	function id(text) {
		return text ~ /^[0-9]+$/ && text + 0 < 4294967295
	}
	# The Maildir that the extra field names, or "".
	function own(    i, n, text, words, name) {
		text = $0
		for (i = 0; i < 7; i++)
			if (!sub(/^[^:]*:/, "", text))
				return ""
		n = split(text, words, /[ \t]/)
		for (i = 1; i <= n; i++)
			if (words[i] ~ /^pop3d_maildir=/)
				name = substr(words[i], 15)
		return name
	}
	# The pattern of -h for a user; "" where it does not fit.
	function expand(user,    i, c, at, out) {
		at = index(user, "@")
		for (i = 1; i <= length(ENVIRON["PATTERN"]); i++) {
			c = substr(ENVIRON["PATTERN"], i, 1)
			if (c == "%") {
				c = substr(ENVIRON["PATTERN"], ++i, 1)
				if (c == "u")
					c = user
				else if (c == "n")
					c = at ? substr(user, 1, at - 1) : user
				else if (c == "d" && at)
					c = substr(user, at + 1)
				else if (c != "%")
					return ""
			}
			out = out c
		}
		return out
	}
	BEGIN { split(ENVIRON["IDS"], given, ":") }
	/^#/ || /^[ \t]*$/ || $1 in seen { next }
	NF < 2 || $1 == "" { bad("malformed line"); next }
	{
		seen[$1]
		uid = $3 != "" ? $3 : given[1]
		gid = $4 != "" ? $4 : given[2]
		home = $6 != "" ? $6 : expand($1)
		name = ENVIRON["NAME"] != "" ? ENVIRON["NAME"] : own()
		if (name == "")
			name = "Maildir"
		if (!safe($1))
			bad("a name that is nobody")
		else if (!id(uid) || !id(gid) || home !~ /^\//)
			bad("no uid, gid or absolute home")
		else
			print uid ":" gid ":" \
			    (name ~ /^\// ? name : home "/" name)
	}
	END { exit failed }' "$users" || : >"$work/failed"
}

# The accounts of the system that have a Maildir; most are no mail users.
list_system() {
	getent passwd >"$work/accounts" || die 111 "getent passwd failed"
	NAME=${maildir_name:-Maildir} awk -F: '$6 ~ /^\// && $3 + 0 > 0 {
		print $3 ":" $4 ":" $6 "/" ENVIRON["NAME"]
	}' "$work/accounts" | while IFS= read -r line; do
		path=${line#*:*:}
		if [ -e "$path" ] || [ -L "$path" ]; then
			printf '%s\n' "$line"
		fi
	done
}

# Paths, one a line.  Whose one is, the first directory on the way that is not
# root's says: whoever has that one can put anything behind it, and it is with
# his rights that it is entered.
list_paths() {
	while IFS= read -r path || [ -n "$path" ]; do
		case $path in
		/*) ;;
		'') continue ;;
		*)
			problem "$path" "not an absolute path"
			continue
			;;
		esac
		owner=${ids:-$(owner_of "$path")}
		if [ -n "$owner" ]; then
			printf '%s:%s\n' "$owner" "$path"
		elif [ -d "$path" ]; then
			problem "$path" "root's, who has no mail here"
		else
			problem "$path" "not there"
		fi
	done
}

# owner_of PATH: prints uid:gid, of an account the account's group.
owner_of() {
	if [ "$self" != 0 ]; then
		id -u | tr '\n' :
		id -g
		return
	fi
	rest=${1#/}
	prefix=
	set --
	while [ -n "$rest" ]; do
		prefix=$prefix/${rest%%/*}
		set -- "$@" "$prefix"
		case $rest in
		*/*) rest=${rest#*/} ;;
		*) rest= ;;
		esac
	done
	# A link of root's is followed, another's is his.
	owner=$({
		stat -c '%u:%g' -- "$@"
		echo
		stat -L -c '%u:%g' -- "$@"
	} 2>/dev/null | awk '
		/^$/ { followed = 1; n = 0; next }
		{ n++ }
		!followed { own[n] = $0; next }
		own[n] ~ /^0:/ { own[n] = $0 }
		own[n] !~ /^0:/ && !done {
			print own[n]
			done = 1
		}')
	[ -n "$owner" ] || return 0
	group=$(id -g -- "${owner%:*}" 2>/dev/null) || group=${owner#*:}
	echo "${owner%:*}:$group"
}

# inside [ARG ...]: runs the script's second part in all Maildirs of the
# options; then exits, 1 if there was a problem with any.
inside() {
	[ "$self" != 0 ] || command -v setpriv >/dev/null ||
		die 111 "setpriv of util-linux is needed"
	if [ -n "$users" ]; then
		list_users
	elif $system; then
		list_system
	elif [ "$list" = - ]; then
		list_paths
	else
		list_paths <"$list"
	fi >"$work/list" || exit 111
	sort -s -t: -k1,1n -k2,2n "$work/list" >"$work/sorted"
	uid='' gid='' count=0
	while IFS= read -r line; do
		rest=${line#*:}
		[ "$uid:$gid" = "${line%%:*}:${rest%%:*}" ] || {
			run_group "$@"
			uid=${line%%:*} gid=${rest%%:*}
			: >"$work/group"
			count=0
		}
		path=${rest#*:}
		# 00 is root's number as well.
		if [ "$uid" -eq 0 ]; then
			problem "$path" "root's, who has no mail here"
		elif [ "$self" != 0 ] && [ "$self" != "$uid" ]; then
			problem "$path" "only root can become others"
		else
			printf '%s\n' "$path" >>"$work/group"
			count=$((count + 1))
		fi
	done <"$work/sorted"
	run_group "$@"
	[ ! -e "$work/failed" ]
	exit
}

# run_group [ARG ...]: the second part, for the Maildirs in $work/group.  It
# has no terminal, into which its user could type, and not for ever.
run_group() {
	[ "$count" -gt 0 ] || return 0
	[ ! -e "$work/message" ] || [ "$self" != 0 ] ||
		chgrp "$gid" "$work/message" || die 111 "chgrp failed"
	set -- sh "$script" --inside "$@"
	[ "$self" != 0 ] || set -- setpriv --reuid "$uid" --regid "$gid" \
		--clear-groups --no-new-privs "$@"
	# What comes out is a log line, or what a tool complains of; it was
	# written as the user, who may have had a hand in it.
	# shellcheck disable=SC2016 # the inner shell's
	(cd / && exec setsid -w timeout -k 10 "$((limit * count))" sh -c '
		work=$1
		shift
		{
			"$@" 2>&1 3<"$work/group" || : >"$work/failed"
		} | awk "{
			gsub(/[^ -~]/, \"?\")
			if (/^event=/ && !/^event=error /)
				print
			else
				print >\"/dev/stderr\"
			fflush()
		}"' sh "$work" "$@" </dev/null) &
	child=$!
	code=0
	wait "$child" || code=$?
	child=
	[ "$code" = 0 ] || problem "$(head -n 1 "$work/group")" \
		"took too long, or was killed; it or one behind it in the list"
}

# begin: makes $work, for the first run; a signal ends the second, too.
begin() {
	child=
	self=$(id -u)
	work=$(mktemp -d "/tmp/$program.XXXXXX") || exit 111
	trap '[ -z "$child" ] || kill "$child"; exit 111' HUP INT TERM
	trap 'rm -rf "$work"' EXIT
}

# The second run, as the owner.

# trouble WHAT: with the Maildir at hand.
trouble() {
	event error what "$1" maildir "$maildir"
	return 1
}

# each FUNCTION: calls it for each Maildir, with $maildir; 1 if it failed once.
each() {
	failed=0
	while IFS= read -r maildir <&3; do
		"$1" 3<&- || failed=1
	done
	return "$failed"
}

# enter DIRECTORY ...: the Maildir, which must have these.
enter() {
	cd -P -- "$maildir" 2>/dev/null || {
		trouble "not there, or closed to its owner"
		return 1
	}
	for directory; do
		is_directory "$directory" || {
			trouble "$directory is no directory"
			return 1
		}
	done
}

is_directory() {
	[ -d "$1" ] && [ ! -L "$1" ]
}

is_file() {
	[ -f "$1" ] && [ ! -L "$1" ]
}

# count_quota OCTETS MESSAGES: a Maildir++ quota file is kept right.
count_quota() {
	[ "$2" != 0 ] && is_file maildirsize || return 0
	printf '%s %s\n' "$1" "$2" >>maildirsize ||
		trouble "maildirsize cannot be written"
}

# messages PREFIX: those in PREFIXnew and PREFIXcur, as
# octets/mtime/ctime/path.  Names with a newline are left alone.
messages() {
	for directory in "$1new" "$1cur"; do
		! is_directory "$directory" ||
			find "$directory" -ignore_readdir_race -mindepth 1 \
				-maxdepth 1 -type f ! -name '.*' \
				! -name "*$newline*" \
				-printf '%s/%T@/%C@/%p\n' || return
	done
}

# shellcheck disable=SC2016 # awk's
# For awk: of a line of messages, what is behind so many slashes.
BEHIND='
function behind(n,    text) {
	for (text = $0; n > 0; n--)
		sub(/^[^\/]*\//, "", text)
	return text
}'

# older PREFIX DAYS SINCE: of these messages, the octets and paths of those
# older than that: SINCE is `changed`, the last change of the inode, or
# `delivered`, the time of modification or that in the name, if it is later.
older() {
	listed=$(messages "$1") || return
	[ -z "$listed" ] || printf '%s\n' "$listed" | awk -F/ -v now="$(date +%s.%N)" -v days="$2" \
	    -v since="$3" "$BEHIND"'{
		path = behind(3)
		time = since == "changed" ? $3 : $2
		if (since == "delivered") {
			name = path
			sub(/.*\//, "", name)
			stamp = 0
			if (match(name, /^[0-9]+/))
				stamp = substr(name, 1, RLENGTH) + 0
			if (stamp > time + 0 && stamp <= now)
				time = stamp
		}
		if (now - time >= days * 86400)
			print $1 "/" path
	}'
}

# remove_older PREFIX DAYS SINCE EVENT: logs each that it removes as EVENT; with
# $dry=true each that it would remove, as that.
# shellcheck disable=SC2154 # the scripts set it
remove_older() {
	found=$(older "$1" "$2" "$3") || {
		trouble "cannot be listed"
		return
	}
	[ -n "$found" ] || return 0
	if $dry; then
		printf '%s\n' "$found" | log_messages "$4"
		return
	fi
	quota=
	! is_file maildirsize || quota=maildirsize
	printf '%s\n' "$found" | sed 's/^[^/]*\///' | tr '\n' '\000' |
		xargs -0 sh -c 'find "$@" -maxdepth 0 -type f -delete \
			-printf "%s/%p\n"' sh 2>/dev/null |
		log_messages "$4" "$quota" || {
		trouble "maildirsize cannot be written"
		return
	}
	left=$(printf '%s\n' "$found" | while IFS= read -r line; do
		! is_file "${line#*/}" || echo "${line#*/}"
	done)
	[ -z "$left" ] || trouble "not removed: $left"
}

# log_messages EVENT [QUOTA]: a line for each line of octets/path.  They are
# taken off the quota file, where one is named, all but what it does not count:
# messages with the flag T, and those in .Trash.
log_messages() {
	EVENT=$1 MAILDIR=$maildir QUOTA=${2:-} awk "$QUOTE$BEHIND"'
	BEGIN {
		line = "event=" ENVIRON["EVENT"] " maildir=" \
		    quote(ENVIRON["MAILDIR"]) " message="
	}
	{
		print line quote(behind(1)) " octets=" $0 + 0
		fflush()
	}
	!/^[0-9]*\/\.Trash\// && !/\/[^:\/]*:2,[^\/]*T[^\/]*$/ {
		octets += $0
		n++
	}
	END {
		if (n && ENVIRON["QUOTA"] != "")
			printf "-%.0f -%d\n", octets, n >>ENVIRON["QUOTA"]
	}'
}
