#!/bin/sh
# SPDX-License-Identifier: ISC
# run.sh: measures pop3d and its peers side by side; prints RESULTS.md to
# standard output, progress to standard error.  Debian or kin, root, and room
# for the mail (10 GB) in $BENCH_DIR.
#
#	ROUNDS=5		rounds, of which medians are taken
#	BENCH_DIR=/var/tmp	where mailboxes are made
#	BENCH_ONLY="pop3d dovecot"	only these servers
#	BENCH_HUGE=0		without the mailbox of a million
#	BENCH_QUICK=1		small and short, to see whether it works
#	BENCH_PLOT=FILE.svg	the plot; bench/open-time.svg, or none if quick
#	BENCH_KEEP=1		keeps the raw results beside the mailboxes
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/peers.sh
. "$here/peers.sh"

SECRET=secret
# DES, the cheapest hash that all of them know.
HASH=abNANd1rDfiNc
IDENTITY=64200:64200
if [ "${BENCH_QUICK:-0}" = 1 ]; then
	ROUNDS=${ROUNDS:-1}
	BENCH_HUGE=0
	BENCH_PLOT=${BENCH_PLOT:-none}
	SIZES="0 100 1000"
	LARGE=1000 SMALL=500 FEW=20 BIG=10000000 BURST_MS=500 WAIT=0.2 PAUSE=0.2
else
	ROUNDS=${ROUNDS:-5}
	SIZES="0 1000 10000 100000"
	LARGE=100000 SMALL=10000 FEW=100 BIG=100000000 BURST_MS=3000 WAIT=2.2 PAUSE=1
fi
HUGE=1000000
HUGE_ROUNDS=$((ROUNDS < 3 ? ROUNDS : 3))
PATIENCE=300

say() {
	echo "bench: $*" >&2
}

# note SERVER TEXT: a footnote, once.
note() {
	grep -Fxqs -- "$1: $2" "$W/notes" || echo "$1: $2" >>"$W/notes"
}

# The outer part: a working directory, and name spaces of our own, so that
# whatever happens no mount, process or address stays.
outer() {
	[ "$(id -u)" = 0 ] || {
		say "needs root: it installs peers and starts servers"
		exit 1
	}
	sh "$here/../tests/install-needs.sh" cc=gcc tcpserver=ucspi-tcp \
	    strace=strace gnuplot=gnuplot-nox ip=iproute2 \
	    unshare=util-linux ps=procps >&2 ||
		say "some of these are missing; what needs them is left out"
	[ -n "$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null)" ] ||
		apt-get update -qq >&2 || :
	W=$(mktemp -d "${BENCH_DIR:-/var/tmp}/pop3d-bench.XXXXXX")
	export W
	chmod 755 "$W"
	trap 'rm -rf --one-file-system "$W"' EXIT
	trap 'exit 1' HUP INT TERM
	unshare --mount --propagation private --pid --fork --kill-child \
	    --mount-proc sh "$here/run.sh" inner </dev/null &
	inner=$!
	trap 'kill -KILL "$inner" 2>/dev/null || :; wait "$inner" || :
	    rm -rf --one-file-system "$W"' EXIT
	wait "$inner"
}

in_net() {
	nsenter --net="$W/net" "$@"
}

as_owner() {
	setpriv --reuid "${IDENTITY%:*}" --regid "${IDENTITY#*:}" \
	    --clear-groups "$@"
}

# ---- roots and servers

# make_root PACKAGE: a root with that package at $W/roots/PACKAGE/root.
make_root() {
	dir=$W/roots/$1 root=$W/roots/$1/root
	mkdir -p "$dir/upper" "$dir/work" "$root"
	mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" \
	    overlay "$root" || return 1
	mkdir -p "$root/bench" "$root/proc" "$root/dev" "$root/run"
	mount --bind /dev "$root/dev"
	mount -t proc proc "$root/proc"
	mount -t tmpfs tmpfs "$root/run"
	mount --bind "$W/mail" "$root/bench"
	[ "$1" != pop3d ] || return 0
	rm -f "$root/etc/resolv.conf"
	cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	DEBIAN_FRONTEND=noninteractive chroot "$root" \
	    apt-get install -qq -y --no-install-recommends "$1" \
	    >"$dir/log" 2>&1 </dev/null
}

prepare_roots() {
	mkdir -p "$W/roots"
	mount -t tmpfs -o size=4g,mode=755 tmpfs "$W/roots"
	wanted=$SERVERS SERVERS=
	for server in $wanted; do
		package=$(server_package "$server")
		if [ ! -e "$W/roots/$package" ]; then
			say "installing $package"
			make_root "$package" || : >"$W/roots/$package/failed"
		fi
		if [ -e "$W/roots/$package/failed" ]; then
			note "$server" "left out: $package could not be \
installed: $(grep -m 1 '^E:' "$W/roots/$package/log" 2>/dev/null || echo \
"no overlay file system")"
			continue
		fi
		if server_configure "$server" "$W/roots/$package/root" >&2; then
			SERVERS="$SERVERS $server"
		else
			note "$server" "left out: could not be configured"
		fi
	done
}

# start SERVER: in its root, in a name space of processes, which ends with it.
start() {
	root=$W/roots/$(server_package "$1")/root
	{
		echo "exec >>/var/log/bench-$1.log 2>&1"
		echo "("
		server_command "$1"
		echo ") &"
		# The first process waits for what others leave behind.
		echo "while :; do wait; sleep 3600 & done"
	} >"$root/start-$1"
	# shellcheck disable=SC2016
	nsenter --net="$W/net" unshare --mount --pid --fork --kill-child sh -c \
	    'mount -t proc proc "$1/proc" && exec chroot "$1" sh "$2"' sh \
	    "$root" "/start-$1" </dev/null >/dev/null 2>&1 &
	echo "$!" >"$W/$1.pid"
}

# server_pids SERVER: all its processes.
server_pids() {
	parent=$(cat "$W/$1.pid")
	first=$(cat "/proc/$parent/task/$parent/children")
	space=$(readlink "/proc/${first% }/ns/pid" | tr -dc 0-9)
	ps -e -o pidns=,pid= | awk -v s="$space" '$1 == s { print $2 }'
}

start_servers() {
	wanted=$SERVERS SERVERS=
	for server in $wanted; do
		start "$server"
	done
	for server in $wanted; do
		if load "$server" wait; then
			SERVERS="$SERVERS $server"
		else
			note "$server" "left out: it did not start"
			tail -n 5 "$W/roots/$(server_package "$server")/root/var/log/bench-$server.log" >&2 || :
		fi
	done
}

# ---- mailboxes

# wants STORE: whether some server reads that.
wants() {
	for server in $SERVERS; do
		[ "$(server_store "$server")" != "$1" ] || return 0
	done
	return 1
}

# home_of SERVER: where its Maildirs are.
home_of() {
	if [ "$(server_store "$1")" = own ]; then
		echo "$W/mail/own"
	else
		echo "$W/mail/home"
	fi
}

# make_box USER COUNT OCTETS WHERE: in each form that is wanted.
make_box() {
	as_owner "$W/bin/mailboxes" maildir "$W/mail/home/$1/Maildir" \
	    "$2" "$3" "$4" >"$W/expect"
	! wants own || as_owner "$W/bin/mailboxes" maildir \
	    "$W/mail/own/$1/Maildir" "$2" "$3" "$4" >"$W/expect"
	! wants mbox || [ "$4" = new ] || as_owner "$W/bin/mailboxes" mbox \
	    "$W/mail/spool/$1" "$2" "$3" >"$W/expect"
}

# Users first: the servers' configuration lists them.
make_users() {
	mkdir -p "$W/mail/home" "$W/mail/own" "$W/mail/spool" \
	    "$W/mail/empty" "$W/mail/bin"
	users=
	for i in 1 2 3 4 5 6 7 8 9 10; do
		users="$users benche$i"
	done
	for size in $SIZES $HUGE; do
		[ "$size" = 0 ] || users="$users benchm$size"
	done
	for user in $users benchsmall benchbig benchnew benchodd; do
		mkdir "$W/mail/home/$user" "$W/mail/own/$user"
		echo "$user:$HASH:$IDENTITY::/bench/home/$user::" \
		    >>"$W/mail/users"
	done
	chown -R "$IDENTITY" "$W/mail/home" "$W/mail/own"
	# An mbox may need a lock file beside it.
	chmod 1777 "$W/mail/spool"
	chmod 555 "$W/mail/empty"
	chmod 644 "$W/mail/users"
}

make_mail() {
	for i in 1 2 3 4 5 6 7 8 9 10; do
		make_box "benche$i" 0 2048 cur
	done
	for size in $SIZES; do
		[ "$size" != 0 ] || continue
		say "making $size messages of 2 KB"
		make_box "benchm$size" "$size" 2048 cur
	done
	make_box benchnew "$LARGE" 2048 new
	make_box benchsmall "$SMALL" 4096 cur
	make_box benchbig 1 "$BIG" cur
	for home in home own; do
		as_owner "$W/bin/mailboxes" odd \
		    "$W/mail/$home/benchodd/Maildir" >"$W/odd"
	done
	{
		echo "From sender@example.org Mon Jan  1 00:00:00 2024"
		cat "$W/mail/home/benchodd/Maildir/cur/"*
		echo
	} >"$W/mail/spool/benchodd"
	chown "$IDENTITY" "$W/mail/spool/benchodd"
	chmod 600 "$W/mail/spool/benchodd"
	sync
}

user_of() {
	if [ "$1" = 0 ]; then
		echo benche1
	else
		echo "benchm$1"
	fi
}

# clear_caches SERVER USER: whatever servers wrote beside the mail.
clear_caches() {
	box=$(home_of "$1")/$2/Maildir
	find "$box" -mindepth 1 -maxdepth 1 \
	    ! -name cur ! -name new ! -name tmp -exec rm -rf {} +
	[ "$(server_store "$1")" != own ] ||
		as_owner "$W/bin/mailboxes" strip "$box"
}

# warm SERVER USER: reads the mail, whatever became of the page cache since.
warm() {
	if [ "$(server_store "$1")" = mbox ]; then
		cat "$W/mail/spool/$2" >/dev/null
	else
		find "$(home_of "$1")/$2/Maildir" -type f -print0 |
		    xargs -0r cat >/dev/null
	fi
}

# ---- measuring

# load SERVER MODE [ARGUMENT ...]: the client; its answer goes to $W/out.
load() {
	target=$1 mode=$2
	shift 2
	in_net timeout "$PATIENCE" "$W/bin/load" "$mode" \
	    "$(server_port "$target")" "$@" >"$W/out" 2>"$W/err" && return 0
	[ -s "$W/err" ] || echo "no answer within $PATIENCE s" >"$W/err"
	return 1
}

# put METRIC SERVER VALUE
put() {
	echo "$1 $2 $3" >>"$W/results"
}

# out KEY: a figure of the client's last answer.
out() {
	awk -v key="$1" '{ for (i = 1; i < NF; i += 2) if ($i == key) {
	    print $(i + 1); exit } }' "$W/out"
}

# gave_up SERVER WORK: so that what took too long or failed is not tried again.
gave_up() {
	[ -e "$W/failed.$1.$2" ]
}

give_up() {
	: >"$W/failed.$1.$2"
	say "$1: $2: $(cat "$W/err")"
	note "$1" "$2: $(sed 's/^load: port [0-9]*: //' "$W/err" |
	    tr -d '\r' | head -n 1)"
}

# rotate N WORD ...: the words, begun with the Nth.
rotate() {
	n=$1
	shift
	n=$((n % $#))
	while [ "$n" -gt 0 ]; do
		first=$1
		shift
		set -- "$@" "$first"
		n=$((n - 1))
	done
	echo "$*"
}

measure_sessions() { # SERVER CLIENTS
	gave_up "$1" "sessions" && return
	if load "$1" sessions benche% "$SECRET" STAT "$2" "$BURST_MS"; then
		put "sessions$2" "$1" "$(out per_second)"
		put "p50_$2" "$1" "$(out p50)"
		put "p99_$2" "$1" "$(out p99)"
	else
		give_up "$1" "sessions"
	fi
}

# poll SERVER SIZE KIND: one session that looks at everything.
poll() {
	gave_up "$1" "open $2" && return
	user=$(user_of "$2")
	if ! load "$1" open "$user" "$SECRET" STAT,UIDL,LIST; then
		give_up "$1" "open $2"
		return
	fi
	pass=$(out PASS) stat=$(out STAT) uidl=$(out UIDL) list=$(out LIST)
	put "$3_open_$2" "$1" "$((pass + stat))"
	put "$3_poll_$2" "$1" "$((pass + stat + uidl + list))"
	put "$3_uidl_$2" "$1" "$uidl"
	put "$3_list_$2" "$1" "$list"
	[ "$(out messages)" = "$2" ] || {
		echo "showed $(out messages) messages of $2" >"$W/err"
		give_up "$1" "open $2"
	}
}

measure_opens() { # SERVER SIZE ...
	server=$1
	shift
	for size; do
		clear_caches "$server" "$(user_of "$size")"
		warm "$server" "$(user_of "$size")"
		poll "$server" "$size" first
	done
	# Directory times are no proof for as long as the clock's tick.
	sleep "$WAIT"
	for size; do
		for _ in 1 2 3; do
			poll "$server" "$size" second
		done
	done
}

measure_delivery() { # SERVER USER METRIC
	gave_up "$1" "$3" && return
	box=$(home_of "$1")/$2/Maildir
	spool=$W/mail/spool/$2
	if [ "$(server_store "$1")" = mbox ]; then
		[ "$3" = arrivals_cur ] || return 0
		size=$(stat -c %s "$spool")
		deliver="append $spool"
	else
		clear_caches "$1" "$2"
		[ "$3" = arrivals_cur ] ||
			as_owner "$W/bin/mailboxes" renew "$box"
		deliver="deliver $box"
	fi
	sleep "$WAIT"
	# Once to know it, once more to have written down what it knows.
	# shellcheck disable=SC2086 # words
	if load "$1" open "$2" "$SECRET" STAT,UIDL,LIST && sleep "$WAIT" &&
	    load "$1" open "$2" "$SECRET" STAT,UIDL,LIST &&
	    as_owner "$W/bin/mailboxes" $deliver 10 2048 "$LARGE" >/dev/null &&
	    sleep "$WAIT" &&
	    load "$1" open "$2" "$SECRET" STAT,UIDL,LIST; then
		put "$3" "$1" "$(($(out PASS) + $(out STAT)))"
		[ "$(out messages)" = $((LARGE + 10)) ] || {
			echo "showed $(out messages) messages" >"$W/err"
			give_up "$1" "$3"
		}
	else
		give_up "$1" "$3"
	fi
	if [ "$(server_store "$1")" = mbox ]; then
		truncate -s "$size" "$spool"
	else
		as_owner "$W/bin/mailboxes" trim "$box" "$LARGE"
	fi
}

measure_retr() { # SERVER [MSGNO METRIC]
	gave_up "$1" "RETR" && return
	[ "$1" = reference ] || warm "$1" benchbig
	if load "$1" retr benchbig "$SECRET" "${2:-1}"; then
		put "${3:-retr}" "$1" "$(out MB_per_second)"
		put retr_octets "$1" "$(out octets)"
	else
		give_up "$1" "RETR"
	fi
}

measure_retrall() { # SERVER WINDOW
	gave_up "$1" "RETR window $2" && return
	# With delayed acknowledgements some fall to 23 a second.
	if load "$1" retrall benchsmall "$SECRET" "$SMALL" "$2" &&
	    put "retrall$2" "$1" "$(out per_second)" &&
	    { [ "$2" != 1 ] || DELAYED_ACK=1 load "$1" retrall benchsmall \
		"$SECRET" "$FEW" 1; }; then
		[ "$2" != 1 ] || put retrall_delayed "$1" "$(out per_second)"
	else
		give_up "$1" "RETR window $2"
	fi
}

pss() {
	total=0
	for pid in $(server_pids "$1"); do
		kib=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" \
		    2>/dev/null) || continue
		total=$((total + ${kib:-0}))
	done
	echo "$total"
}

# with_idle SERVER COUNT: the PSS while so many sessions are open.
with_idle() {
	rm -f "$W/idle" && mkfifo "$W/idle"
	in_net "$W/bin/load" idle "$(server_port "$1")" benche% "$SECRET" \
	    "$2" <"$W/idle" >"$W/ready" 2>"$W/err" &
	idler=$!
	exec 9>"$W/idle"
	for _ in $(seq 100); do
		grep -q ready "$W/ready" && break
		sleep 0.1
	done
	sleep "$PAUSE"
	pss "$1"
	exec 9>&-
	wait "$idler" || :
	sleep "$PAUSE"
}

measure_memory() { # SERVER
	load "$1" open benche1 "$SECRET" STAT || return 0
	sleep "$PAUSE"
	none=$(pss "$1")
	one=$(with_idle "$1" 1)
	nine=$(with_idle "$1" 9)
	put memory_first "$1" "$((one - none))"
	put memory_each "$1" "$(((nine - one) / 8))"
	put memory_none "$1" "$none"
}

# traced SERVER SESSIONS: the system calls of all its processes meanwhile.
traced() {
	rm -f "$W/trace"
	pids=
	for pid in $(server_pids "$1"); do
		pids="$pids -p $pid"
	done
	# shellcheck disable=SC2086 # options
	strace -f -c -qq -o "$W/trace" $pids >/dev/null 2>&1 &
	tracer=$!
	sleep "$PAUSE"
	for _ in $(seq "$2"); do
		load "$1" open benche1 "$SECRET" STAT || :
	done
	[ "$2" != 0 ] || sleep "$PAUSE"
	sleep "$PAUSE"
	kill "$tracer" 2>/dev/null
	{ wait "$tracer" || :; } 2>/dev/null
	awk '$NF == "total" { print $4; n = 1 } END { if (!n) print 0 }' \
	    "$W/trace"
}

measure_calls() { # SERVER
	command -v strace >/dev/null || return 0
	load "$1" open benche1 "$SECRET" STAT || return 0
	idle=$(traced "$1" 0)
	busy=$(traced "$1" 5)
	put calls "$1" "$(((busy - idle) / 5))"
}

# check SERVER: whether sizes are those of what is sent.
check() {
	if ! load "$1" check benchodd "$SECRET"; then
		give_up "$1" "check"
		return
	fi
	stated=$(out stated) sent=$(out unstuffed)
	put exact "$1" "$([ "$stated" = "$sent" ] && echo 1 || echo 0)"
	[ "$stated" = "$sent" ] || note "$1" "counts wrongly, which flatters \
it: a message listed with $stated octets is sent with $sent"
	[ "$sent" = "$(cut -d ' ' -f 2 "$W/odd")" ] ||
		note "$1" "sends a message of \
$(cut -d ' ' -f 2 "$W/odd") octets as one of $sent"
}

# ---- the run

round() { # NUMBER
	round=$1
	for work in "sessions 1" "sessions 8" "retr" "retrall 1" "retrall 32" \
	    "opens $SIZES" "delivery benchm$LARGE arrivals_cur" \
	    "delivery benchnew arrivals_new"; do
		say "round $round: $work"
		# shellcheck disable=SC2086 # words
		set -- $work
		does=$1
		shift
		extra=
		[ "$does" != retr ] || extra=reference
		# shellcheck disable=SC2086 # words
		for server in $(rotate "$round" $SERVERS $extra); do
			if [ "$server" = reference ]; then
				measure_retr reference 1 retr_sendfile
				measure_retr reference 2 retr_memchr
			else
				"measure_$does" "$server" "$@"
			fi
		done
	done
}

# fastest_peer STORE: at the second open, of those that count exactly.
fastest_peer() {
	for server in $SERVERS; do
		time=$(median "second_poll_$LARGE" "$server")
		if [ "$server" != pop3d ] && [ -n "$time" ] &&
		    [ "$(server_store "$server")" = "$1" ] &&
		    [ "$(median exact "$server")" = 1 ]; then
			echo "$time $server"
		fi
	done | sort -n | head -n 1 | cut -d ' ' -f 2
}

run_huge() {
	[ "${BENCH_HUGE:-1}" = 1 ] || return 0
	# shellcheck disable=SC2046 # two figures
	set -- $(df --output=avail,iavail -k "$W" | tail -n 1)
	if [ "$1" -lt 8000000 ] || [ "$2" -gt 0 ] && [ "$2" -lt 1100000 ]; then
		note "$HUGE messages" "not enough room in the file system"
		return 0
	fi
	# The fastest with Maildirs, and the fastest with an mbox.
	patient="pop3d $(fastest_peer maildir) $(fastest_peer mbox)"
	say "making $HUGE messages of 2 KB for $patient"
	wanted=$SERVERS
	SERVERS=$patient
	make_box "benchm$HUGE" "$HUGE" 2048 cur
	SERVERS=$wanted
	sync
	SIZES="$SIZES $HUGE"
	for i in $(seq "$HUGE_ROUNDS"); do
		say "$HUGE messages, round $i"
		# shellcheck disable=SC2086 # words
		for server in $(rotate "$i" $patient); do
			case " $SERVERS " in
			*" $server "*) measure_opens "$server" "$HUGE" ;;
			esac
		done
	done
}

inner() {
	SERVERS=${BENCH_ONLY:-$ALL_SERVERS}
	: >"$W/results"
	: >"$W/notes"
	mkdir "$W/bin"
	${CC:-cc} -O3 -D_GNU_SOURCE -pthread -o "$W/bin/load" "$here/load.c"
	${CC:-cc} -O3 -D_GNU_SOURCE -o "$W/bin/reference" "$here/reference.c"
	${CC:-cc} -O3 -D_GNU_SOURCE -o "$W/bin/mailboxes" "$here/mailboxes.c"
	make_users
	cp -p "$here/../pop3d" "$here/../pop3d-checkpassword" "$W/mail/bin"
	prepare_roots
	make_mail
	: >"$W/net"
	unshare --net="$W/net" ip link set lo up
	in_net "$W/bin/reference" 1199 \
	    "$(echo "$W/mail/home/benchbig/Maildir/cur/"*)" "$W/mail/crlf" &
	start_servers
	[ -n "$SERVERS" ] || {
		say "no server to measure"
		exit 1
	}
	load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)
	for server in $SERVERS; do
		check "$server"
	done
	for number in $(seq "$ROUNDS"); do
		round "$number"
	done
	for server in $SERVERS; do
		say "memory and system calls: $server"
		measure_memory "$server"
		measure_calls "$server"
	done
	run_huge
	report
	plot
	[ "${BENCH_KEEP:-0}" != 1 ] ||
		cp "$W/results" "${BENCH_DIR:-/var/tmp}/pop3d-bench.results"
}

# shellcheck source=bench/report.sh
. "$here/report.sh"

case ${1-} in
inner) inner ;;
*) outer ;;
esac
