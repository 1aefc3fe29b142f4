#!/usr/bin/env bats
# No password stays in memory for longer than it is needed (DESIGN section 5).

load helper

setup() {
	greeter_setup
}

teardown() {
	pop3d_teardown
}

need_memory() {
	need_root "to look into processes"
	plain_build "its memory is terabytes"
}

# after REPLIES LINE ...: the lines are sent in one segment; when there are so
# many replies, nobody knows the secret any more.
after() {
	local i n=$1

	shift
	say "$@"
	for ((i = 0; i < n; i++)); do
		hear '^(\+OK|-ERR|\+ )'
	done
	forgotten "$GREETER" "${FORMS[@]}" && forgotten "$MONITOR" "${FORMS[@]}" && return
	echo "after: ${1:0:60}" >&2
	return 1
}

secrets() {
	SECRET=correct-horse-Battery-staple-0123456789-Troubadour
	base64() { command base64 -w 0; }
	S64=$(printf %s "$SECRET" | base64)
	# In PLAIN, behind a user name, the secret has another form.
	PLAIN=$(printf '\0joe\0%s' "$SECRET" | base64)
	OTHER=$(printf 'jim\0joe\0%s' "$SECRET" | base64)
	FORMS=("$SECRET" "$S64" "${PLAIN:8}" "${OTHER:12}")
}

start_secrets() {
	quick || :
	start_server "$@" "${POP3D[@]}"
	dial
	hear '^\+OK'
	MONITOR=$(pgrep -o -f "^$POP3D_BIN/pop3d -r $EMPTY")
	GREETER=$(pgrep -n -f "^$POP3D_BIN/pop3d -r $EMPTY")
}

@test "DESIGN 5: a wrong password is forgotten, in clear and in base64, when it is answered" {
	need_memory
	program <<<'exit 1'
	secrets
	greeter_command -n 10
	start_secrets
	after 2 'USER joe' "PASS $SECRET"
	after 4 QUIX 'USER joe' "PASS $SECRET" 'USER joe'
	after 1 "AUTH PLAIN $PLAIN"
	after 2 'AUTH PLAIN' "$PLAIN"
	after 3 'AUTH LOGIN' am9l "$S64"
	after 2 "AUTH LOGIN am9l" "$S64"
	after 2 'USER joe' "PASS $SECRET$(printf '\1')"
}

@test "DESIGN 5: so is a secret that was refused before it was checked" {
	need_memory
	secrets
	greeter_command
	start_secrets
	long=$(printf "$SECRET%.0s" {1..300})
	after 1 "PASS $SECRET"
	after 1 "PASSWORD $SECRET"
	after 2 QUIX "PASS $SECRET" 
	after 1 "AUTH PLAIN ${PLAIN}x"
	after 1 "AUTH PLAIN $S64"
	after 1 "AUTH PLAIN $OTHER"
	after 1 "AUTH CRAM-MD5 $PLAIN"
	after 2 'AUTH PLAIN' "*$PLAIN"
	after 3 'AUTH LOGIN' am9l "*$S64"
	after 2 'USER joe' "PASS $long"
	after 1 "AUTH PLAIN $long"
	after 2 'AUTH PLAIN' "$long"
	after 3 'AUTH LOGIN' am9l "$long"
}

@test "DESIGN 5: so is one that was sent in clear where that is not allowed" {
	need_memory
	secrets
	greeter_command
	start_secrets env TCPREMOTEIP=192.0.2.1
	after 2 'USER joe' "PASS $SECRET"
	after 1 "AUTH PLAIN $PLAIN"
	after 3 'AUTH LOGIN' am9l "$S64"
	grep -c '+OK' <<<"$HEARD" | expect 0
}

@test "DESIGN 5: after a login neither the session nor the monitor knows the password" {
	need_memory
	program <<'P'
cat <&3 >/dev/null
become "$@"
P
	secrets
	serve
	for login in "USER joe|PASS $SECRET" "AUTH PLAIN $PLAIN" \
	    "AUTH LOGIN|am9l|$S64"; do
		IFS='|' read -r -a words <<<"$login"
		say "${words[@]}"
		until hear '^\+OK 0 messages'; do [ -n "$HEARD" ]; done
		SESSION=$(child "$MONITOR" 'pop3d -t')
		forgotten "$SESSION" "${FORMS[@]}"
		forgotten "$MONITOR" "${FORMS[@]}"
		say QUIT
		hear '^\+OK'
		closed
		hang_up
		wait_for all_gone
		connect
	done
}

@test "DESIGN 5: so is a bearer token, and what follows its refusal" {
	need_memory
	program <<<'exit 1'
	secrets
	token=$(printf 'n,a=joe,\1auth=Bearer %s\1\1' "$SECRET" | base64)
	FORMS+=("${token:28}")
	greeter_command -o -n 10
	start_secrets
	after 2 "AUTH OAUTHBEARER $token" AQ==
	after 3 'AUTH OAUTHBEARER' "$token" AQ==
	after 2 "AUTH OAUTHBEARER $token" "PASS $SECRET"
}
