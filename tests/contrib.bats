#!/usr/bin/env bats
# The scripts in contrib/ that work on many Maildirs: bulletin, expire, hold.

load helper

# In a place where every user may run them, as INSTALL has it.
setup_file() {
	chmod a+x "$BATS_FILE_TMPDIR"
	SCRIPTS=$BATS_FILE_TMPDIR/libexec/pop3d
	export SCRIPTS
	installed "mkdir -p" "cp contrib/bulletin" "cp contrib/maildirs.sh" \
	    "chmod 755" >"$BATS_FILE_TMPDIR/install.sh"
	(cd "$BATS_TEST_DIRNAME/.." && sh -eu "$BATS_FILE_TMPDIR/install.sh")
	# The awk that knows least.
	if command -v mawk >/dev/null; then
		mkdir "$BATS_FILE_TMPDIR/awk"
		ln -s "$(command -v mawk)" "$BATS_FILE_TMPDIR/awk/awk"
		PATH=$BATS_FILE_TMPDIR/awk:$PATH
		export PATH
	fi
}

setup() {
	pop3d_setup
	MESSAGE=$BATS_TEST_TMPDIR/message
	printf 'From: root\nSubject: N\xc3\xa4chtens\n\n.a dot\r\n..\n\xff\nno end' \
	    >"$MESSAGE"
	DAY=86400
	NOW=$(date +%s)
	# libfaketime: let files keep their times.
	export NO_FAKE_STAT=1
}

teardown() {
	pop3d_teardown
}

# installed BEGINNING ...: the lines of INSTALL that begin so, with our paths,
# and as cron would run those of a crontab.
installed() {
	local beginning

	for beginning; do
		grep -F "	$beginning" "$BATS_TEST_DIRNAME/../INSTALL"
	done | sed -e 's/^\t//' -e "s,/usr/local/libexec/pop3d,$SCRIPTS,g" \
	    -e 's/^[0-9]* [0-9*]* \* \* \* root //' -e 's/\\%/%/g'
}

# maildir NAME [UID]: makes the Maildir $BATS_TEST_TMPDIR/homes/NAME/Maildir,
# in a home directory of that user's.
maildir() {
	local home=$BATS_TEST_TMPDIR/homes/$1

	mkdir -p "$home/Maildir/new" "$home/Maildir/cur" "$home/Maildir/tmp"
	if [ "$(id -u)" = 0 ]; then
		chown -R "${2:-$TEST_UID}:${2:-$TEST_GID}" "$home"
	fi
	echo "$home/Maildir" >>"$BATS_TEST_TMPDIR/list"
}

# bulletin [OPTION ...]: $MESSAGE into the Maildirs that maildir made; its log
# goes to $BATS_TEST_TMPDIR/out, what it complains of to .../err.
bulletin() {
	run_script bulletin "$@" "$MESSAGE" <"$BATS_TEST_TMPDIR/list"
}

run_script() {
	"$SCRIPTS/$1" "${@:2}" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
}

out() {
	grep -c "${1:-}" "$BATS_TEST_TMPDIR/out" || :
}

complained() {
	grep -q "event=error .*$1" "$BATS_TEST_TMPDIR/err" || {
		cat "$BATS_TEST_TMPDIR/err" >&2
		return 1
	}
}

# count MAILDIR: how many messages there are.
count() {
	find "$1/new" "$1/cur" -type f | wc -l
}

# old PATH AGE-OF-NAME AGE-OF-FILE: a message in $MAIL, ages in seconds;
# PATH's % is the time.
old() {
	local path=$MAIL/${1/\%/$((NOW - $2))}

	printf 'A: b\n\nold\n' >"$path"
	touch -d "@$((NOW - $3))" "$path"
	own
}

# in_maildir SCRIPT [OPTION ...]: the script, for $MAIL.
in_maildir() {
	echo "$MAIL" | run_script "$@"
}

# held NAME ...: messages in .Deleted/cur, as pop3d -k moves them there.
held() {
	local name

	mkdir -p "$MAIL/.Deleted/new" "$MAIL/.Deleted/cur" "$MAIL/.Deleted/tmp"
	: >"$MAIL/.Deleted/maildirfolder"
	for name; do
		printf 'Subject: %s\n\nheld\n' "${name%%:*}" >"$MAIL/new/$name"
		touch -d "@$((NOW - 100 * DAY))" "$MAIL/new/$name"
		mv "$MAIL/new/$name" "$MAIL/.Deleted/cur/$name"
	done
	own
}

quota() {
	printf '10000S,3C\n%s' "$1" >"$MAIL/maildirsize"
	own
}

# Bulletins

@test "INSTALL: every user sees a bulletin once, octet for octet, and not again once deleted" {
	local i

	for i in 1 2 3; do
		maildir "user$i"
	done
	bulletin
	[ "$(out '^event=bulletin maildir=')" = 3 ]
	sed -e 's/\r$//' -e 's/^\./../' "$MESSAGE" >"$BATS_TEST_TMPDIR/sent"
	printf '\n.\n' >>"$BATS_TEST_TMPDIR/sent"
	for i in 1 2 3; do
		printf 'STAT\nRETR 1\nDELE 1\nQUIT\n' |
		    session -m "$BATS_TEST_TMPDIR/homes/user$i/Maildir" \
		    >"$BATS_TEST_TMPDIR/got"
		grep -q '^+OK 1 ' "$BATS_TEST_TMPDIR/got"
		sed -e '1,3d' "$BATS_TEST_TMPDIR/got" | head -n -2 |
		    same "$BATS_TEST_TMPDIR/sent" -
	done
	# And a new user.
	maildir user4
	bulletin
	[ "$(out)" = 1 ]
	[ "$(out user4)" = 1 ]
	for i in 1 2 3; do
		[ "$(count "$BATS_TEST_TMPDIR/homes/user$i/Maildir")" = 0 ]
	done
	[ ! -s "$BATS_TEST_TMPDIR/err" ]
	[ -z "$(find "$BATS_TEST_TMPDIR"/homes/*/Maildir/tmp -type f)" ]
}

@test "INSTALL: bulletins are told apart by their content, or by -i" {
	maildir user
	bulletin
	echo more >>"$MESSAGE"
	bulletin
	[ "$(count "$BATS_TEST_TMPDIR/homes/user/Maildir")" = 2 ]
	bulletin -i holidays
	echo more >>"$MESSAGE"
	bulletin -i holidays
	[ "$(count "$BATS_TEST_TMPDIR/homes/user/Maildir")" = 3 ]
}

@test "INSTALL: bulletins that run at the same time deliver once" {
	local i

	maildir user
	maildir other
	for i in 1 2 3; do
		"$SCRIPTS/bulletin" "$MESSAGE" <"$BATS_TEST_TMPDIR/list" 3>&- &
	done
	wait
	[ "$(count "$BATS_TEST_TMPDIR/homes/user/Maildir")" = 1 ]
	[ "$(count "$BATS_TEST_TMPDIR/homes/other/Maildir")" = 1 ]
}

@test "INSTALL: Maildirs of one owner share a bulletin's file, of two owners they do not" {
	need_root "for Maildirs of two owners"
	maildir a1 7111
	maildir b1 7112
	maildir a2 7111
	maildir b2 7112
	bulletin
	stat -c '%h %u:%g %a' "$BATS_TEST_TMPDIR"/homes/??/Maildir/new/* |
	    expect '2 7111:7111 600
2 7111:7111 600
2 7112:7112 600
2 7112:7112 600'
	[ "$(stat -c %i "$BATS_TEST_TMPDIR"/homes/??/Maildir/new/* | sort -u |
	    wc -l)" = 2 ]
	basename "$BATS_TEST_TMPDIR"/homes/a1/Maildir/new/* |
	    grep -Eq '^[0-9]{10}\.M[0-9]{6}P[0-9]+_bulletin\.[A-Za-z0-9._-]+$'
	# One user's change of flags, or deletion, is not the other's.
	rm "$BATS_TEST_TMPDIR"/homes/a1/Maildir/new/*
	[ "$(count "$BATS_TEST_TMPDIR/homes/a2/Maildir")" = 1 ]
}

@test "INSTALL: users of a passwd-file get it where pop3d-checkpassword logs them in" {
	local users=$BATS_TEST_TMPDIR/users homes=$BATS_TEST_TMPDIR/homes
	local flags=(-f "$users" -u "$TEST_UID:$TEST_GID" -h "$homes/%d/%n") name

	cat >"$users" <<U
# users

ann@a.example:{PLAIN}secret
joe@b.example:{PLAIN}secret:::::
ann@a.example:{PLAIN}other::::/nowhere
own:{PLAIN}secret:$TEST_UID:$TEST_GID::$homes/own:/bin/sh:more:still
U
	chmod 600 "$users"
	maildir a.example/ann
	maildir b.example/joe
	maildir own
	run_script bulletin "${flags[@]}" "$MESSAGE"
	[ "$(out)" = 3 ]
	for name in ann@a.example joe@b.example own; do
		(cd / && printf 'STAT\r\nQUIT\r\n' |
		    env -u AUTH_MECH "$POP3D_BIN/pop3d-checkpassword" \
		    "${flags[@]}" "$POP3D_BIN/pop3d" -t \
		    3< <(printf '%s\0secret\0\0' "$name") 2>>"$LOG") |
		    grep -q '^+OK 1 '
	done
	# Names that are nobody's there, and root.
	cat >>"$users" <<U
../b:{PLAIN}secret
rot:{PLAIN}secret:0:0::$homes/own
malformed
U
	run_script bulletin "${flags[@]}" "$MESSAGE" && return 1
	complained 'a name that is nobody.* user=../b'
	complained 'malformed line'
	complained "root's, who has no mail here"
	chmod 660 "$users"
	run_script bulletin "${flags[@]}" "$MESSAGE" || [ $? = 111 ]
	grep -q 'its owner alone writes' "$BATS_TEST_TMPDIR/err"
}

@test "INSTALL: a Maildir that a passwd-file names for one user is that user's, but for -m" {
	local users=$BATS_TEST_TMPDIR/users homes=$BATS_TEST_TMPDIR/homes

	maildir ann
	mv "$homes/ann/Maildir" "$homes/ann/Mail:box"
	cp -R "$homes/ann/Mail:box" "$homes/ann/Other"
	chmod 700 "$homes/ann"/*
	[ "$(id -u)" != 0 ] || chown -R "$TEST_UID:$TEST_GID" "$homes/ann"
	cat >"$users" <<U
ann:{PLAIN}secret:$TEST_UID:$TEST_GID::$homes/ann:/bin/sh:x=y pop3d_maildir=Mail:box z
U
	chmod 600 "$users"
	run_script bulletin -f "$users" "$MESSAGE"
	[ "$(count "$homes/ann/Mail:box")" = 1 ]
	run_script bulletin -f "$users" -m Other "$MESSAGE"
	[ "$(count "$homes/ann/Other")" = 1 ]
	[ "$(count "$homes/ann/Mail:box")" = 1 ]
}

@test "INSTALL: no Maildir is entered as root, however its number is written" {
	need_root "to be refused it"
	local users=$BATS_TEST_TMPDIR/users

	maildir ann 0
	echo "ann:{PLAIN}secret:00:00::$BATS_TEST_TMPDIR/homes/ann" >"$users"
	chmod 600 "$users"
	run_script bulletin -f "$users" "$MESSAGE" && return 1
	[ "$(count "$BATS_TEST_TMPDIR/homes/ann/Maildir")" = 0 ]
	complained "root's, who has no mail here"
}

@test "INSTALL: the system's accounts get it, and those without a Maildir are passed over" {
	need_root "to mount another /etc/passwd"
	unshare -m true || skip "needs a mount namespace"
	maildir ann 7111
	maildir joe 7112
	cat >"$BATS_TEST_TMPDIR/passwd" <<U
root:x:0:0::/root:/bin/sh
ann:x:7111:7111::$BATS_TEST_TMPDIR/homes/ann:/bin/sh
joe:x:7112:7112::$BATS_TEST_TMPDIR/homes/joe:/bin/sh
daemon:x:2:2::/nonexistent:/bin/sh
U
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount --bind "$1" /etc/passwd && shift && exec "$@"' \
	    sh "$BATS_TEST_TMPDIR/passwd" "$SCRIPTS/bulletin" -s "$MESSAGE" \
	    >"$BATS_TEST_TMPDIR/out"
	[ "$(out)" = 2 ]
	[ "$(stat -c %u:%g "$BATS_TEST_TMPDIR"/homes/ann/Maildir/new/*)" = 7111:7111 ]
	[ "$(stat -c %u:%g "$BATS_TEST_TMPDIR"/homes/joe/Maildir/new/*)" = 7112:7112 ]
}

@test "INSTALL: a Maildir that is missing or over quota is reported, the rest goes on, exit 1" {
	local first=$BATS_TEST_TMPDIR/homes/first/Maildir

	maildir first
	maildir full
	maildir other
	echo "$BATS_TEST_TMPDIR/homes/none/Maildir" >>"$BATS_TEST_TMPDIR/list"
	echo "Maildir" >>"$BATS_TEST_TMPDIR/list"
	maildir last
	printf '10000S,10C\n0 0\n' >"$first/maildirsize"
	printf '10000S,3C\n20 3\n' \
	    >"$BATS_TEST_TMPDIR/homes/full/Maildir/maildirsize"
	printf '100S\n120 3\n-30 -1\n' \
	    >"$BATS_TEST_TMPDIR/homes/other/Maildir/maildirsize"
	chmod 666 "$BATS_TEST_TMPDIR"/homes/*/Maildir/maildirsize
	local code=0
	bulletin || code=$?
	[ "$code" = 1 ]
	[ "$(out)" = 2 ]
	[ "$(out 'homes/\(first\|last\)/')" = 2 ]
	complained 'over quota.*homes/full/'
	complained 'over quota.*homes/other/'
	complained 'not there.*homes/none/'
	complained 'not an absolute path'
	expect "10000S,10C
0 0
$(wc -c <"$MESSAGE") 1" <"$first/maildirsize"
	# There is room now.
	rm "$BATS_TEST_TMPDIR"/homes/*/Maildir/maildirsize
	bulletin || :
	[ "$(out 'homes/\(full\|other\)/')" = 2 ]
	[ "$(out)" = 2 ]
}

@test "INSTALL: a disk that is full leaves nothing behind, and the next run delivers" {
	need_root "to mount a file system"
	unshare -m true || skip "needs a mount namespace"
	maildir full
	maildir other
	head -c 100000 /dev/zero | tr '\0' x >>"$MESSAGE"
	# shellcheck disable=SC2016
	run unshare -m sh -c '
		home=${1%/*} list=$2 uid=$3
		shift 3
		mount -t tmpfs -o size=64k tmpfs "$home" && mkdir "$home/Maildir" &&
		cd "$home/Maildir" && mkdir new cur tmp && chown -R "$uid" "$home"
		"$@" <"$list" && exit 9
		find . -type f -size +0
		mount -o remount,size=1m "$home" && "$@" <"$list" &&
		find . -type f -size +0' sh "$BATS_TEST_TMPDIR/homes/full/Maildir" \
	    "$BATS_TEST_TMPDIR/list" "$TEST_UID" "$SCRIPTS/bulletin" "$MESSAGE"
	echo "$output"
	[ "$status" = 0 ]
	[ "$(grep -c '^event=bulletin .*homes/other/' <<<"$output")" = 1 ]
	[ "$(grep -c '^event=bulletin .*homes/full/' <<<"$output")" = 1 ]
	[ "$(grep -c '^\./' <<<"$output")" = 2 ]
	grep -q '^event=error .*no room.*homes/full/' <<<"$output"
}

@test "INSTALL: what was broken off is delivered by the next run, once" {
	local mail=$BATS_TEST_TMPDIR/homes/user/Maildir

	maildir user
	# Nothing can be put into new: as if it had ended just before.
	as_user chmod 500 "$mail/new"
	bulletin && return 1
	complained 'not moved to new'
	[ "$(find "$mail/tmp" -type f | wc -l)" = 1 ]
	as_user chmod 700 "$mail/new"
	bulletin
	bulletin
	[ "$(count "$mail")" = 1 ]
	cmp "$mail"/new/* "$MESSAGE"
	[ -z "$(find "$mail/tmp" -type f)" ]
}

@test "INSTALL: a hostile Maildir leads root nowhere, and others get their mail" {
	need_root "for what is not the user's"
	local homes=$BATS_TEST_TMPDIR/homes root=$BATS_TEST_TMPDIR/root name before

	mkdir -p "$root/new" "$root/cur" "$root/tmp"
	echo precious >"$root/file"
	echo precious >"$root/new/1.a"
	touch -d '100 days ago' "$root/new/1.a"
	chmod 700 "$root"
	maildir ann 7112
	printf 'A: b\n\nhers\n' >"$homes/ann/Maildir/new/1.a"
	touch -d '100 days ago' "$homes/ann/Maildir/new/1.a"
	for name in maildir-hers maildir-root tmp new new-fifo marker fifo size; do
		maildir "$name"
	done
	rm -r "$homes"/maildir-*/Maildir "$homes/tmp/Maildir/tmp" \
	    "$homes/new/Maildir/new" "$homes/new-fifo/Maildir/new"
	ln -s ../ann/Maildir "$homes/maildir-hers/Maildir"
	ln -s "$root" "$homes/maildir-root/Maildir"
	ln -s "$root/tmp" "$homes/tmp/Maildir/tmp"
	ln -s "$root/new" "$homes/new/Maildir/new"
	mkfifo "$homes/new-fifo/Maildir/new" "$homes/fifo/Maildir/pop3d.bulletin"
	ln -s "$root/file" "$homes/marker/Maildir/pop3d.bulletin"
	ln -s "$root/file" "$homes/size/Maildir/maildirsize"
	chown -hR "$TEST_UID:$TEST_GID" "$homes"/[!a]*
	before=$(find "$root" "$homes/ann" -printf '%p %i %s %u %m %T@\n')
	run_script expire 1 <<<"$(grep -v ann "$BATS_TEST_TMPDIR/list")" ||
	    [ $? = 1 ]
	run_script hold 0 <<<"$(grep -v ann "$BATS_TEST_TMPDIR/list")" ||
	    [ $? = 1 ]
	grep -v ann "$BATS_TEST_TMPDIR/list" >"$BATS_TEST_TMPDIR/hostile"
	run_script bulletin -l "$BATS_TEST_TMPDIR/hostile" "$MESSAGE" ||
	    [ $? = 1 ]
	# The one link that is ignored is maildirsize.
	[ "$(out)" = 1 ]
	[ "$(out homes/size/)" = 1 ]
	[ "$(grep -c '^event=error ' "$BATS_TEST_TMPDIR/err")" = 7 ]
	expect "$before" < <(find "$root" "$homes/ann" -printf \
	    '%p %i %s %u %m %T@\n')
	bulletin || :
	[ "$(out homes/ann/)" = 1 ]
}

@test "INSTALL: who a Maildir's files are for is who has the first directory that is not root's" {
	need_root "for Maildirs of two owners"
	local homes=$BATS_TEST_TMPDIR/homes

	# A link of joe's in a directory of root's.
	maildir real 7112
	ln -s real/Maildir "$homes/trap"
	chown -h 7111:7111 "$homes/trap"
	echo "$homes/trap" >"$BATS_TEST_TMPDIR/list"
	bulletin && return 1
	[ "$(count "$homes/real/Maildir")" = 0 ]
	# ann's own, below what is joe's: joe could have put another there.
	maildir joe/ann 7112
	chown 7111:7111 "$homes/joe"
	mkdir "$homes/roots"
	# root's link is followed.
	ln -s ../real/Maildir "$homes/roots/link"
	echo "$homes/roots/link" >>"$BATS_TEST_TMPDIR/list"
	bulletin || [ $? = 1 ]
	complained 'joe/ann/Maildir'
	[ "$(out)" = 1 ]
	[ "$(count "$homes/real/Maildir")" = 1 ]
	[ "$(count "$homes/joe/ann/Maildir")" = 0 ]
}

@test "INSTALL: a Maildir that takes longer than -T is given up, and what is in the log is printable" {
	local mail=$BATS_TEST_TMPDIR/homes/user/Maildir odd

	maildir user
	: >"$mail/pop3d.bulletin"
	chmod 666 "$mail/pop3d.bulletin"
	flock "$mail/pop3d.bulletin" sleep 60 3>&- &
	SERVERS+=($!)
	wait_for not flock -n "$mail/pop3d.bulletin" true
	bulletin -T 1 && return 1
	complained 'took too long'
	odd=$'\e[2J\x9b "=\\'
	rm "$BATS_TEST_TMPDIR/list"
	maildir "$odd"
	bulletin
	expect 1 <<<"$(out 'homes/\\x1b\[2J\\x9b \\x22=\\x5c/Maildir" message=')"
	pkill -P "${SERVERS[0]}"
}

# Expiry

@test "RFC 2449 6.7: expire removes what is older than announced by name and by time, and nothing else" {
	old new/%.a $((30 * DAY + 60)) $((30 * DAY + 60))
	old cur/%.b:2,S $((90 * DAY)) $((31 * DAY))
	old cur/no-time "$DAY" $((30 * DAY + 60))
	old cur/99999999999.c "$DAY" $((31 * DAY))
	old "cur/%.odd \\ \"'\$*:2," $((40 * DAY)) $((40 * DAY))
	# These stay.
	old new/%.d $((30 * DAY - 60)) $((90 * DAY))
	old cur/%.e:2,S $((90 * DAY)) $((30 * DAY - 60))
	old new/.%.f $((90 * DAY)) $((90 * DAY))
	mkfifo "$MAIL/new/1.fifo"
	mkdir "$MAIL/new/1.dir"
	old new/1.dir/%.g $((90 * DAY)) $((90 * DAY))
	ln -s 1.dir "$MAIL/new/1.link"
	touch -h -d '90 days ago' "$MAIL"/new/1.*
	own
	before=$(mail_files)
	in_maildir expire -n 30
	[ "$(out 'event=would-expire')" = 5 ]
	[ "$(mail_files)" = "$before" ]
	in_maildir expire 30
	[ "$(out "^event=expired maildir=[^ ]* message=.* octets=10$")" = 5 ]
	[ "$(out "message=new/$((NOW - 30 * DAY - 60)).a octets=")" = 1 ]
	[ ! -s "$BATS_TEST_TMPDIR/err" ]
	diff <(echo "$before") <(mail_files) | grep -c '^<' | expect 5
	[ "$(find "$MAIL/new" "$MAIL/cur" -mindepth 1 | wc -l)" = 7 ]
	in_maildir expire 30
	[ "$(out)" = 0 ]
}

@test "DESIGN 6: expire leaves a Maildir to the session that has it, and says so" {
	old new/%.a $((40 * DAY)) $((40 * DAY))
	open_session
	in_maildir expire 30
	out "^event=busy maildir=$MAIL" | expect 1
	[ "$(out)" = 1 ]
	ask 'RETR 1'
	[[ $REPLY == +OK* ]]
	end_session
	in_maildir expire 30
	[ "$(out '^event=expired')" = 1 ]
}

@test "DESIGN 6: maildirsize loses what expire removes, but for what it never counted" {
	old new/%.a $((40 * DAY)) $((40 * DAY))
	old cur/%.b:2,S $((40 * DAY)) $((40 * DAY))
	old cur/%.c:2,ST $((40 * DAY)) $((40 * DAY))
	old cur/%.d:2,S 0 0
	quota $'30 3\n'
	in_maildir expire 30
	[ "$(out)" = 3 ]
	expect '10000S,3C
30 3
-20 -2' <"$MAIL/maildirsize"
	in_maildir expire 30
	[ "$(wc -l <"$MAIL/maildirsize")" = 3 ]
}

@test "INSTALL: what cannot be removed is reported, and not logged as removed" {
	old new/%.a $((40 * DAY)) $((40 * DAY))
	old cur/%.b:2,S $((40 * DAY)) $((40 * DAY))
	as_user chmod 500 "$MAIL/new"
	in_maildir expire 30 && return 1
	[ "$(out event=expired)" = 1 ]
	complained "not removed: new/$((NOW - 40 * DAY)).a"
	as_user chmod 0 "$MAIL/new"
	in_maildir expire 30 && return 1
	complained 'cannot be listed'
	as_user chmod 700 "$MAIL/new"
}

# Hold

# later DAYS [OPTION ...]: hold, when so many days have gone by.
later() {
	echo "$MAIL" | faketime -f "+$1d" "$SCRIPTS/hold" "${@:2}" \
	    >"$BATS_TEST_TMPDIR/out"
}

@test "INSTALL: hold empties the folder by the time since deletion, and maildirsize with it" {
	held 1.a:2,S 2.b:2,ST
	printf 'A: b\n\nkept\n' | deliver new/3.c
	quota $'100 3\n'
	in_maildir hold 14
	[ "$(out)" = 0 ]
	later 13 14
	[ "$(out)" = 0 ]
	later 15 -n 14
	[ "$(out '^event=would-empty ')" = 2 ]
	later 15 14
	[ "$(out '^event=emptied .* message=.Deleted/cur/1.a:2,S octets=19$')" = 1 ]
	[ "$(out)" = 2 ]
	find "$MAIL/.Deleted" -type f | expect "$MAIL/.Deleted/maildirfolder"
	mail_files | expect new/3.c
	expect '10000S,3C
100 3
-19 -1' <"$MAIL/maildirsize"
}

@test "INSTALL: hold -r brings mail back with its unique-ids, over nothing that is there" {
	held 1.a 2.b:2,FS 3.c:2,S 4.d:2,ST
	printf 'A: b\n\nanother\n' | deliver cur/3.c:2,F
	quota ''
	in_maildir hold -r -n && return 1
	[ "$(out '^event=would-restore')" = 3 ]
	in_maildir hold -r && return 1
	[ "$(out '^event=restored')" = 3 ]
	complained 'unique-id is there: 3.c'
	[ "$(cat "$MAIL/cur/3.c:2,F")" = $'A: b\n\nanother' ]
	find "$MAIL/.Deleted/cur" -type f | expect "$MAIL/.Deleted/cur/3.c:2,S"
	mail_files | expect 'cur/1.a
cur/2.b:2,FS
cur/3.c:2,F
cur/4.d:2,S'
	printf 'UIDL\nRETR 1\nQUIT\n' | session |
	    sed -n -e '/^[1-4.]/p' -e '/^Subject/p' | expect '1 1.a
2 2.b
3 3.c
4 4.d
.
Subject: 1.a
.'
	# What the flag T had kept out of the quota.
	expect '10000S,3C
19 1' <"$MAIL/maildirsize"
	# Nor does the next night take it.
	in_maildir expire 30
	[ "$(out)" = 0 ]
}

@test "INSTALL: hold -r brings back one message of a unique-id, of several that are held" {
	held 1.a:2,S 1.a:2,F
	in_maildir hold -r && return 1
	[ "$(out '^event=restored')" = 1 ]
	complained 'unique-id is there: 1.a'
	[ "$(mail_files | wc -l)" = 1 ]
	[ "$(find "$MAIL/.Deleted/cur" -type f | wc -l)" = 1 ]
}

@test "INSTALL: hold -r takes those that fit -i, and those deleted since -t" {
	held 1.a:2,S 2.b:2,S
	in_maildir hold -r -t tomorrow
	[ "$(out)" = 0 ]
	in_maildir hold -r -i '*.b'
	[ "$(out)" = 1 ]
	mail_files | expect cur/2.b:2,S
	in_maildir hold -r -t yesterday
	[ "$(out)" = 1 ]
	mail_files | expect 'cur/1.a:2,S
cur/2.b:2,S'
	# Without the folder there is nothing to be done.
	rm -r "$MAIL/.Deleted"
	in_maildir hold -r
	in_maildir hold 14
	ln -s ../elsewhere "$MAIL/.Deleted"
	in_maildir hold 14 && return 1
	complained '.Deleted is no directory'
}

# imap: standard input to Dovecot's IMAP server for $MAIL, already logged in.
imap() {
	mkdir -p "$HOME_DIR/dovecot"
	cat >"$HOME_DIR/dovecot/conf" <<C
protocols = imap
base_dir = $HOME_DIR/dovecot
state_dir = $HOME_DIR/dovecot
ssl = no
log_path = $HOME_DIR/dovecot/log
mail_location = maildir:$MAIL
first_valid_uid = 1
C
	own
	sed 's/$/\r/' | as_user /usr/lib/dovecot/imap \
	    -c "$HOME_DIR/dovecot/conf" | tr -d '\r'
}

@test "INSTALL: IMAP users see what is held in the folder Deleted, and in the INBOX once it is back" {
	[ -x /usr/lib/dovecot/imap ] || skip "needs dovecot-imapd"
	held 1.a:2,S 2.b:2,S
	local look=$'a LIST "" *\nb SELECT Deleted\nc FETCH 1:* (FLAGS BODY[])
d SELECT INBOX\ne FETCH 1:* (FLAGS BODY[])\nf LOGOUT\n'

	imap <<<"$look" >"$BATS_TEST_TMPDIR/held"
	grep -q '^\* LIST .* Deleted$' "$BATS_TEST_TMPDIR/held"
	sed -n '/^b OK/,/^c OK/p' "$BATS_TEST_TMPDIR/held" |
	    grep -c '^Subject: [12]\.[ab]$' | expect 2
	sed -n '/^c OK/,$p' "$BATS_TEST_TMPDIR/held" | grep -q '^\* 0 EXISTS'
	in_maildir hold -r
	imap <<<"$look" >"$BATS_TEST_TMPDIR/back"
	sed -n '1,/^c /p' "$BATS_TEST_TMPDIR/back" | grep -q '^\* 0 EXISTS'
	sed -n '/^d OK/,/^e OK/p' "$BATS_TEST_TMPDIR/back" |
	    grep -c '^Subject: [12]\.[ab]$' | expect 2
	sed -n '/^d OK/,/^e OK/p' "$BATS_TEST_TMPDIR/back" |
	    grep -c 'FLAGS (.*\\Seen' | expect 2
}

# Usage

@test "INSTALL: each line for bulletins, expiry and hold runs as it stands" {
	need_root "for Maildirs of two owners"
	unshare -m true || skip "needs a mount namespace"
	local root=$BATS_TEST_TMPDIR/root

	mkdir -p "$root/etc" "$root/var/vmail/example.org/joe" "$root/home/joe"
	maildir model
	cp -R "$BATS_TEST_TMPDIR/homes/model/Maildir" \
	    "$root/var/vmail/example.org/joe"
	cp -R "$BATS_TEST_TMPDIR/homes/model/Maildir" "$root/home/joe"
	chown -R 990:990 "$root/var/vmail"
	chown -R 7112:7112 "$root/home/joe"
	cp "$MESSAGE" "$root/etc/pop3d.bulletin"
	echo 'joe@example.org:{PLAIN}x' >"$root/etc/pop3d.users"
	chmod 600 "$root/etc/pop3d.users"
	echo "joe:x:7112:7112::$root/home/joe:/bin/sh" >"$root/etc/passwd"
	# Without logger, which needs a syslog daemon; the first twice.
	installed /usr/local/libexec/pop3d/bulletin \
	    /usr/local/libexec/pop3d/ 'ls -d ' 'echo /home/' '5 * ' '15 3 ' '25 3 ' |
	    sed -e 's/| logger -p mail.info -t [a-z]*$//' \
	    -e "s,\\(/etc/pop3d\\|/var/vmail\\|/home/\\),$root\\1,g" >"$root/lines"
	[ "$(wc -l <"$root/lines")" = 12 ]
	# shellcheck disable=SC2016
	unshare -m sh -euc 'mount --bind "$1/etc/passwd" /etc/passwd
		sh -eu "$1/lines"' sh "$root" >"$BATS_TEST_TMPDIR/out"
	[ "$(out)" = 2 ]
	[ "$(count "$root/home/joe/Maildir")" = 1 ]
	[ "$(count "$root/var/vmail/example.org/joe/Maildir")" = 1 ]
}

@test "INSTALL: -h says how each is used; what is wrong with an option ends with 100" {
	local script line

	for script in bulletin expire hold; do
		"$SCRIPTS/$script" -h | grep -q "^$script .*: "
	done
	while read -r line; do
		# shellcheck disable=SC2086
		run "$SCRIPTS/"$line </dev/null
		echo "$line: $status"
		[ "$status" = 100 ]
	done <<E
bulletin
bulletin -i a/b $MESSAGE
bulletin -u 1 $MESSAGE
bulletin /dev/null
expire
expire 0
expire 1d
expire -T x 1
expire -T 08 1
hold
hold -k Deleted 1
hold -k .. 1
hold -k .a/b 1
hold -r 1
hold -r -t nonsense
hold -i x 1
hold -x 1
E
}

# With pop3d itself

@test "DESIGN 3: what pop3d -k has moved IMAP users see, hold brings it back, and clients know it" {
	[ -x /usr/lib/dovecot/imap ] || skip "needs dovecot-imapd"
	printf 'Subject: one\n\nbody\n' | deliver new/1700000001.a
	printf 'Subject: two\n\nbody\n' | deliver cur/1700000002.b:2,FS
	printf 'UIDL\nQUIT\n' | session >"$BATS_TEST_TMPDIR/before"
	printf 'DELE 1\nDELE 2\nQUIT\n' | session -k .Deleted | forms |
	    grep -c '^+OK$' | expect 4
	imap <<<$'a SELECT Deleted\nb FETCH 1:* (FLAGS BODY[])\nc LOGOUT' \
	    >"$BATS_TEST_TMPDIR/held"
	grep -c '^Subject: ' "$BATS_TEST_TMPDIR/held" | expect 2
	grep -q 'FLAGS (.*\\Flagged' "$BATS_TEST_TMPDIR/held"
	in_maildir hold -r
	printf 'UIDL\nQUIT\n' | session >"$BATS_TEST_TMPDIR/after"
	same "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
}

@test "DESIGN 3: what pop3d -e 7 says stays for so long, and goes with expire" {
	printf 'A: b\n\nold\n' | deliver "cur/$((NOW - 8 * DAY)).a:2,S"
	printf 'A: b\n\nyoung\n' | deliver "new/$((NOW - 6 * DAY)).b"
	touch -d "@$((NOW - 8 * DAY))" "$MAIL/cur"/*
	touch -d "@$((NOW - 6 * DAY))" "$MAIL/new"/*
	own
	printf 'CAPA\nQUIT\n' | session -e 7 | grep -x 'EXPIRE 7'
	in_maildir expire 7
	printf 'STAT\nQUIT\n' | session -e 7 | sed -n 2p | expect '+OK 1 15'
}
