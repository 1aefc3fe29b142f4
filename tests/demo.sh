#!/bin/sh
# SPDX-License-Identifier: ISC
# make demo: installs what is missing, builds, makes a demonstration user with
# a Maildir of sample mail, and serves it on 127.0.0.1:1110 until Ctrl-C.
set -eu
cd "$(dirname "$0")/.."

port=${PORT:-1110}
sh tests/install-needs.sh cc=gcc make=make python3=python3 \
	tcpserver=ucspi-tcp /usr/include/crypt.h=libcrypt-dev \
	/usr/include/nettle/hmac.h=nettle-dev musl-gcc=musl-tools curl=curl
make -s

demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT
trap 'exit 0' HUP INT TERM
chmod 711 "$demo"
mkdir "$demo/empty" "$demo/home" "$demo/bin"
chmod 555 "$demo/empty"
# Where the demonstration user may execute it, wherever this tree lies.
cp pop3d pop3d-checkpassword "$demo/bin"
python3 tests/demo-mail.py "$demo/home/Maildir"
uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then
	# Nobody in particular; pop3d does not serve mailboxes of root.
	uid=64110 gid=64110
	chown -R "$uid:$gid" "$demo/home"
fi
printf 'secret\n' | ./pop3d-passwd -i "$demo/users" demo

cat <<END

pop3d serves user "demo", password "secret", on 127.0.0.1:$port.
Ctrl-C ends it.  In another terminal, try:

  curl -u demo:secret pop3://127.0.0.1:$port/        # the list of messages
  curl -u demo:secret pop3://127.0.0.1:$port/1       # the first message
  echo poll 127.0.0.1 port $port proto POP3 user demo pass secret |
      fetchmail -f - --keep --all --sslproto '' --mda cat
  telnet 127.0.0.1 $port                             # and then, for example
      USER demo
      PASS secret
      LIST
      TOP 2 3
      QUIT

The log of pop3d follows.

END
# In the background, for the trap to work at once; it must not outlive us.
tcpserver -HRl localhost 127.0.0.1 "$port" \
	"$demo/bin/pop3d" -r "$demo/empty" "$demo/bin/pop3d-checkpassword" \
	-f "$demo/users" -u "$uid:$gid" -h "$demo/home" &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$demo"' EXIT
wait "$server"
