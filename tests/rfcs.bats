#!/usr/bin/env bats
# RFCS.md, what the RFCs ask of a server: its form, that each test named there
# exists, and that the other documents know of the same deviations.
# shellcheck disable=SC2016 # the backquotes are Markdown's

setup() {
	TOP=$BATS_TEST_DIRNAME/..
}

# rows: of each row the RFC, then its cells, by tabs.
rows() {
	awk '/^## RFC [0-9]+: / { rfc = $3 + 0 }
	    /^\|/ && !/^\| (asked|---) \|/ {
		sub(/^\| /, "")
		sub(/ \|$/, "")
		gsub(/ \| /, "\t")
		print rfc "\t" $0
	    }' "$TOP/RFCS.md"
}

# sections: each "RFC N section M" of standard input, once.
sections() {
	tr -s '\n\t ' ' ' | grep -oE 'RFC [0-9]+ section [0-9]+(\.[0-9]+)*' |
	    LC_ALL=C sort -u
}

# equal WHAT: the files want and have are the same.
equal() {
	diff "$BATS_TEST_TMPDIR/want" "$BATS_TEST_TMPDIR/have" || {
		echo "differ: $1" >&2
		return 1
	}
}

@test "RFCS.md: each row has four cells, a section, and tests in backquotes" {
	local form=$'^[0-9]+\t[^\t]+\t[0-9]+(\\.[0-9]+)*\t[^\t]+\t'
	form+='`[^`]+`(; `[^`]+`)*$'

	rows | grep -vE "$form" >"$BATS_TEST_TMPDIR/bad" || :
	cat "$BATS_TEST_TMPDIR/bad"
	[ ! -s "$BATS_TEST_TMPDIR/bad" ]
}

@test "RFCS.md: each test that is named there exists" {
	sed -n 's/^@test "\(.*\)" {.*/\1/p' "$BATS_TEST_DIRNAME"/*.bats |
	    sed 's/\\\(["$\\`]\)/\1/g' | LC_ALL=C sort -u \
	    >"$BATS_TEST_TMPDIR/there"
	rows | cut -f 5 | grep -oE '`[^`]+`' | tr -d '`' | LC_ALL=C sort -u \
	    >"$BATS_TEST_TMPDIR/named"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/named")" -gt 150 ]
	LC_ALL=C comm -23 "$BATS_TEST_TMPDIR/named" "$BATS_TEST_TMPDIR/there" \
	    >"$BATS_TEST_TMPDIR/missing"
	cat "$BATS_TEST_TMPDIR/missing"
	[ ! -s "$BATS_TEST_TMPDIR/missing" ]
}

@test "RFCS.md: no RFC has lost a row, and none stands there twice" {
	while read -r rfc least; do
		[ "$(rows | grep -c "^$rfc	")" -ge "$least" ] || {
			echo "RFC $rfc has less than $least rows" >&2
			return 1
		}
	done <<'R'
1939 75
2195 6
2449 33
2595 11
3206 9
4616 6
5034 24
6856 13
7628 8
R
	[ -z "$(rows | cut -f 1-3 | sort | uniq -d)" ]
}

@test "RFCS.md: SECURITY.md and pop3d(8) tell of the same deviations" {
	rows | awk -F '\t' '$4 ~ /^\*\*Deviation\*\*: / {
		print "RFC " $1 " section " $3 }' | sections \
	    >"$BATS_TEST_TMPDIR/want"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/want")" -ge 10 ]
	[ "$(rows | grep -c 'Deviation')" = \
	    "$(rows | cut -f 4 | grep -c '^\*\*Deviation\*\*: ')" ]
	sed -n '/^## Where the RFCs are not followed/,/^## How/p' \
	    "$TOP/SECURITY.md" | sections >"$BATS_TEST_TMPDIR/have"
	equal "SECURITY.md"
	sed -n '/^\.Sh STANDARDS/,/^\.Sh CAVEATS/p' "$TOP/man/pop3d.8" |
	    sections >"$BATS_TEST_TMPDIR/have"
	equal "pop3d(8), STANDARDS"
}

@test "RFCS.md: it has the RFCs of pop3d(8), STANDARDS, and is linked to" {
	rows | cut -f 1 | sort -u >"$BATS_TEST_TMPDIR/want"
	# LAST is all that is taken from RFC 1460.
	sed -n '/^\.Sh STANDARDS/,/^\.Pp/p' "$TOP/man/pop3d.8" |
	    tr '\n' ' ' | grep -oE 'RFC [0-9]+' | grep -v ' 1460$' |
	    cut -d ' ' -f 2 | sort -u >"$BATS_TEST_TMPDIR/have"
	equal "the list of RFCs"
	grep -q '(RFCS\.md)' "$TOP/README.md"
	grep -q '(RFCS\.md)' "$TOP/SECURITY.md"
}
