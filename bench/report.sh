# shellcheck shell=sh disable=SC2016,SC2034,SC2153,SC2154 # parts of run.sh
# SPDX-License-Identifier: ISC
# Tables and the plot of what run.sh measured: $W/results has lines "METRIC
# SERVER VALUE", one a measurement; medians are shown.  Read by run.sh.

# median METRIC SERVER: nothing where there is none.
median() {
	awk -v m="$1" -v s="$2" '$1 == m && $2 == s { print $3 }' \
	    "$W/results" | sort -n | awk '{ v[NR] = $1 } END { if (NR)
	    print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# cell METRIC SERVER DIVISOR DIGITS: a cell of a table.
cell() {
	value=$(median "$1" "$2")
	if [ -n "$value" ]; then
		awk -v v="$value" -v d="$3" -v n="$4" \
		    'BEGIN { printf " %.*f |", n, v / d }'
	else
		printf ' – |'
	fi
}

# table HEAD-CELLS METRIC:DIVISOR:DIGITS ...: a row for each server.
table() {
	printf '\n| server | %s |\n|---|' "$1"
	shift
	for column; do
		printf -- '---:|'
	done
	printf '\n'
	for server in $SERVERS; do
		printf '| %s |' "$(server_title "$server")"
		for column; do
			metric=${column%%:*} rest=${column#*:}
			cell "$metric" "$server" "${rest%:*}" "${rest#*:}"
		done
		printf '\n'
	done
}

grouped() {
	echo "$1" | sed -e ':a' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\| \)/\1 \2\3/;ta'
}

version_of() {
	if [ "$1" = pop3d ]; then
		revision=$(git -C "$here" describe --always --dirty \
		    2>/dev/null) || revision=unknown
		kind=dynamic
		ldd "$W/mail/bin/pop3d" 2>&1 | grep -q '=>' || kind=static
		echo "revision $revision, $kind"
	else
		chroot "$W/roots/$(server_package "$1")/root" dpkg-query -W \
		    -f '${Version}' "$(server_package "$1")"
	fi
}

machine() {
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	memory=$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
	# shellcheck source=/dev/null
	system=$(. /etc/os-release && echo "$PRETTY_NAME")
	virtual=
	! grep -qw hypervisor /proc/cpuinfo || virtual=", virtual"
	cat <<END
- Machine: ${cpu:-$(uname -m)}, $(nproc) cores${virtual}, $memory GiB
- System: $system, Linux $(uname -r)
- Mail: on $(df --output=fstype "$W/mail" | tail -n 1), page cache warm
- Load average before: $load_before; after: $(cut -d ' ' -f 1-3 /proc/loadavg)
- Date: $(date -u +%Y-%m-%d); rounds: $ROUNDS, the servers in rotation
END
}

opens_table() { # KIND
	head='' columns=''
	for size in $SIZES; do
		head="$head | $(grouped "$size")"
		columns="$columns $1_$2_$size:1000:2"
	done
	# shellcheck disable=SC2086 # words
	table "${head# | }" $columns
}

report() {
	quick=
	[ "${BENCH_QUICK:-0}" != 1 ] || quick="

**A quick run, of small mailboxes and without the waits: not for comparison.**"
	large=$(grouped "$LARGE") small=$(grouped "$SMALL")
	cat <<END
# pop3d and its peers

Made by \`make bench\`; medians.  Only ratios of figures of one run mean
anything.$quick

$(machine)

| server | version | set-up | counts exactly |
|---|---|---|---|
END
	for server in $SERVERS; do
		exact=$(median exact "$server")
		printf '| %s | %s | %s | %s |\n' "$(server_title "$server")" \
		    "$(version_of "$server")" "$(server_setup "$server")" \
		    "$([ "${exact:-0}" = 1 ] && echo yes || echo no)"
	done
	cat <<END

All serve the same users of one uid, whose passwords are hashed by DES (the
cheapest that all know), on the loopback of a network name space; each runs in
a root of its own.  Nobody listens for syslog.  All Maildir servers read the same
Maildirs, with names as Postfix gives them, read mail in cur/ with the flag S.
The client waits for each reply, but where a window is stated, and for the end
of the connection.  It acknowledges data at once (TCP_QUICKACK), which hides that
some servers leave Nagle's algorithm on; the last column of RETR shows what they
do to an ordinary client.

## Sessions: login, STAT, QUIT; empty mailbox
END
	table "1 client: a second | p50 µs | p99 µs | 8 clients: a second | p50 µs | p99 µs" \
	    sessions1:1:0 p50_1:1:0 p99_1:1:0 sessions8:1:0 p50_8:1:0 p99_8:1:0
	printf '\n## First open, PASS to +OK and STAT, ms\n\n%s\n' \
	    "Messages of 2 KB; all index and cache files removed before."
	opens_table first open
	printf '\n## Second open, PASS to +OK and STAT, ms\n'
	opens_table second open
	printf '\n## First open with UIDL and LIST of all, ms\n'
	opens_table first poll
	printf '\n## Second open with UIDL and LIST of all, ms\n'
	opens_table second poll
	cat <<END

## $large messages: ten arrivals, UIDL and LIST, ms

The open (PASS to +OK, and STAT) after ten deliveries into new/, with the other
messages in cur/, and with the others in new/ too; servers that move what they
see to cur/ have done so in both cases.  UIDL and LIST are those of a second open.
END
	table "arrivals, rest in cur/ | arrivals, all in new/ | UIDL | LIST" \
	    arrivals_cur:1000:2 arrivals_new:1000:2 \
	    "second_uidl_$LARGE:1000:2" "second_list_$LARGE:1000:2"
	cat <<END

## RETR

One message of $((BIG / 1000000)) MB, in MB/s, and $small messages of 4 KB, messages a second.
The same octets by sendfile(2): $(cell retr_sendfile reference 1 0 | tr -d '|')MB/s; by a loop that
converts line ends by memchr: $(cell retr_memchr reference 1 0 | tr -d '|')MB/s.
END
	table "$((BIG / 1000000)) MB: MB/s | 4 KB: stop-and-wait | 4 KB: window 32 | 4 KB: stop-and-wait, delayed acknowledgements" \
	    retr:1:0 retrall1:1:0 retrall32:1:0 retrall_delayed:1:0
	cat <<END

## Memory of an idle session, KiB; system calls of a session

Growth of the PSS of all the server's processes by the first idle session, and
by each of eight more.  System calls of all its processes (strace -f -c) for
login, STAT, QUIT, a fifth of five sessions', less those without a session.
END
	table "first session | each of eight more | without any | system calls" \
	    memory_first:1:0 memory_each:1:0 memory_none:1:0 calls:1:0
	printf '\n## Notes\n\n'
	for server in $SERVERS; do
		remark=$(server_remarks "$server")
		[ -z "$remark" ] || printf -- '- %s\n' "$remark"
	done
	sed 's/^/- /' "$W/notes"
	cat <<END
- Cyrus is left out: it keeps mail in a store of its own, which only its own
  delivery fills and indexes, so that there is no first open to compare.
- qmail's POP3 server is left out: Debian has no package of it.
END
	[ "$PLOT" = none ] || [ ! -x "$(command -v gnuplot)" ] ||
		printf '\n![open time over mailbox size](%s)\n' \
		    "$(basename "$PLOT")"
}

PLOT=${BENCH_PLOT:-$here/open-time.svg}

plot() {
	[ "$PLOT" != none ] || return 0
	command -v gnuplot >/dev/null || return 0
	separator=
	for server in $SERVERS; do
		printf '%b"%s"\n' "$separator" "$(server_title "$server")"
		separator='\n\n'
		for size in $SIZES; do
			[ "$size" != 0 ] || continue
			first=$(median "first_open_$size" "$server")
			second=$(median "second_open_$size" "$server")
			[ -z "$first" ] || [ -z "$second" ] ||
				echo "$size $first $second"
		done
	done >"$W/plot.dat"
	gnuplot -e "data='$W/plot.dat'; output_file='$PLOT'" "$here/plot.gp" >&2
}
