#!/usr/bin/env bats
# Many sessions at once, and readers that stop reading, under tcpserver with
# the bundled checkpassword program.

load helper

setup() {
	greeter_setup
	[ -s "$POP3D_BIN/pop3d-checkpassword" ] ||
	    skip "needs pop3d-checkpassword"
	HOMES=$BATS_TEST_TMPDIR/homes
	mkdir -m 755 "$HOMES"
	# Processes with the address sanitizer take ten times the memory and
	# the time: a tenth of them shows as much.
	SHARE=1 LIMIT=512
	if grep -q __asan_init "$POP3D_BIN/pop3d"; then
		SHARE=10 LIMIT=10000
	fi
	export LIMIT
	ulimit -S -u "$(ulimit -H -u)"
}

teardown() {
	pop3d_teardown
}

# serve USERS [OPTION ...]: tcpserver and pop3d for users u0 to u(USERS - 1).
serve() {
	local users=$BATS_TEST_TMPDIR/users last=$(($1 - 1))

	shift
	(umask 077 && seq -f 'u%.0f:{PLAIN}secret' 0 "$last" >"$users")
	start_server -c 5000 -b 256 -- "$POP3D_BIN/pop3d" -r "$EMPTY" "$@" \
	    "$POP3D_BIN/pop3d-checkpassword" -f "$users" -h "$HOMES/%u" \
	    -u "$TEST_UID:$TEST_GID"
	TCPSERVER=${SERVERS[-1]}
	export PORT TCPSERVER
}

clients() {
	python3 "$BATS_TEST_DIRNAME/load.py" "$@"
}

# need_room SESSIONS
need_room() {
	local lack

	lack=$(clients room "$1")
	[ -z "$lack" ] || skip "$lack"
}

# ended COUNT REASON: so many sessions have.
ended() {
	[ "$(grep -c "event=end user=u.* reason=$2\$" "$LOG")" = "$1" ]
}

@test "DESIGN 2: 2000 idle sessions, 1000 whole ones meanwhile, and nothing is left" {
	local held=$((2000 / SHARE)) more=$((1000 / SHARE))

	need_room "$held"
	clients homes "$HOMES" 0 $((held + 100))
	serve $((held + 100))
	clients idle "$HOMES" "$held" "$more"
	[ "$(grep -c event=login "$LOG")" = $((held + more)) ]
	ended $((held / 2 + more)) quit
	ended $((held / 2)) disconnect
	not grep event=error "$LOG"
}

@test "DESIGN 2: 200 readers that stop in mid-message hold up nobody and take no memory" {
	local count=$((200 / SHARE)) more=$((200 / SHARE))

	need_room "$count"
	clients big "$HOMES" "$count" 50000000
	clients homes "$HOMES" "$count" $((count + more))
	serve $((count + more))
	clients stalled "$HOMES" "$count" "$more"
	ended "$count" disconnect
	ended "$more" quit
}

@test "DESIGN 2: 200 readers that stop in mid-message are let go after -T, their mail untouched" {
	local count=$((200 / SHARE)) sum

	need_room "$count"
	clients big "$HOMES" "$count" 50000000
	sum=$(md5sum <"$HOMES/big")
	serve "$count" -T 1
	clients cut "$HOMES" "$count"
	ended "$count" timeout
	[ "$(grep -c 'event=end .* retrieved=0 .*deleted=0 left=1 ' "$LOG")" = \
	    "$count" ]
	[ "$(md5sum <"$HOMES/big")" = "$sum" ]
}
