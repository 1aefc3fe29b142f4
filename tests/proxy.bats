#!/usr/bin/env bats
# The PROXY protocol, -x: by hand, and by HAProxy and nginx.

load helper

setup() {
	greeter_setup
	cat >"$BATS_TEST_TMPDIR/header.py" <<'P'
# header.py KIND: a header of the PROXY protocol on standard output.
import socket, struct, sys

def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return ~crc & 0xffffffff

def v2(command=0x21, family=0x11, block=b"", tlvs=b"", short=0):
    length = len(block) + len(tlvs) - short
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family])
            + struct.pack(">H", length) + block + tlvs)

def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value

def with_crc(tlvs=b"", wrong=0):
    whole = v2(block=four, tlvs=tlvs + tlv(3, bytes(4)) + tlv(4, b"pad"))
    at = 16 + 12 + len(tlvs) + 3
    crc = crc32c(whole) ^ wrong
    return whole[:at] + struct.pack(">I", crc) + whole[at + 4:]

four = bytes([192, 0, 2, 7, 198, 51, 100, 9]) + struct.pack(">HH", 4711, 110)
six = (socket.inet_pton(socket.AF_INET6, "2001:db8::7")
       + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
       + struct.pack(">HH", 4711, 110))
ssl = bytes([1]) + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"cn")
v1 = "PROXY %s\r\n"
kinds = {
    "v1-tcp4": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 4711 110",
    "v1-tcp6": lambda: v1 % "TCP6 2001:db8::7 2001:db8::9 4711 110",
    "v1-loopback": lambda: v1 % "TCP4 127.0.0.1 127.0.0.1 4711 110",
    "v1-unknown": lambda: v1 % "UNKNOWN",
    "v1-unknown-more": lambda: v1 % (
        "UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"),
    "v1-longest": lambda: v1 % ("TCP6 " + "ffff:" * 7 + "ffff "
                                + "ffff:" * 7 + "ffff 65535 65535"),
    "v2-tcp4": lambda: v2(block=four),
    "v2-tcp6": lambda: v2(family=0x21, block=six),
    "v2-udp4": lambda: v2(family=0x12, block=four),
    "v2-unix": lambda: v2(family=0x31, block=b"/a".ljust(108, b"\0") * 2),
    "v2-unspec": lambda: v2(family=0),
    "v2-unspec-more": lambda: v2(family=0, tlvs=tlv(4, b"x" * 40)),
    "v2-local": lambda: v2(command=0x20, family=0),
    "v2-local-more": lambda: v2(command=0x20, family=0x11, block=four),
    "v2-tlvs": lambda: v2(block=four, tlvs=tlv(1, b"h2") + tlv(4, b"")
                          + tlv(0x30, b"ns") + tlv(0xee, b"x" * 500)),
    "v2-long": lambda: v2(block=four, tlvs=tlv(4, b"x" * (65535 - 15))),
    "v2-crc": with_crc,
    "v2-crc-tlvs": lambda: with_crc(tlv(2, b"mail.example.org")),
    "v2-ssl": lambda: v2(block=four, tlvs=tlv(0x20, ssl)),
    "v2-ssl-off": lambda: v2(block=four, tlvs=tlv(0x20, bytes(5))),
    # And wrong ones.
    "lf": lambda: "PROXY UNKNOWN\n",
    "lf-tcp4": lambda: "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\n",
    "case": lambda: v1 % "tcp4 192.0.2.7 198.51.100.9 4711 110",
    "udp": lambda: v1 % "UDP4 192.0.2.7 198.51.100.9 4711 110",
    "mixed": lambda: v1 % "TCP4 2001:db8::7 198.51.100.9 4711 110",
    "few": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 4711",
    "many": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 4711 110 1",
    "blank": lambda: v1 % "TCP4 192.0.2.7  198.51.100.9 4711 110",
    "end": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 4711 110 ",
    "port": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 65536 110",
    "port-sign": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 +4711 110",
    "port-zero": lambda: v1 % "TCP4 192.0.2.7 198.51.100.9 04711 110",
    "number": lambda: v1 % "TCP4 192.0.2.256 198.51.100.9 4711 110",
    "name": lambda: v1 % "TCP4 example.org 198.51.100.9 4711 110",
    "empty": lambda: "PROXY \r\n\r\n\r\n\r\n",
    "nul": lambda: v1 % "TCP4 192.0.2.7\0 198.51.100.9 4711 110",
    "long": lambda: v1 % ("UNKNOWN " + "x" * 92),
    "pop3": lambda: "USER joe\r\nPASS secret\r\n",
    "http": lambda: "GET / HTTP/1.0\r\n\r\n",
    "hello": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(9),
    "v2-version": lambda: v2(command=0x11, block=four),
    "v2-command": lambda: v2(command=0x22, block=four),
    "v2-family": lambda: v2(family=0x41, block=four),
    "v2-transport": lambda: v2(family=0x13, block=four),
    "v2-short": lambda: v2(block=four[:11]),
    "v2-short-six": lambda: v2(family=0x21, block=four),
    "v2-tlv-cut": lambda: v2(block=four, tlvs=tlv(1, b"h2"), short=1),
    "v2-tlv-head": lambda: v2(block=four, tlvs=b"\1\0"),
    "v2-crc-wrong": lambda: with_crc(wrong=1),
    "v2-crc-length": lambda: v2(block=four, tlvs=tlv(3, bytes(3))),
    "v2-ssl-short": lambda: v2(block=four, tlvs=tlv(0x20, bytes(4))),
}
header = kinds[sys.argv[1]]()
sys.stdout.buffer.write(header if isinstance(header, bytes) else header.encode())
P
	program <<'P'
env >"$RECORD/environment"
cat <&3 >"$RECORD/credentials"
become "$@"
P
}

teardown() {
	pop3d_teardown
}

header() {
	python3 "$BATS_TEST_TMPDIR/header.py" "$1"
}

# after HEADER [OPTION ...]: a session behind that header, all in one segment.
after() {
	local kind=$1

	shift
	greeter_command -x -m "$MAIL" "$@"
	{
		header "$kind"
		lines CAPA 'USER joe' 'PASS secret' STAT QUIT
	} | python3 "$BATS_TEST_DIRNAME/pop.py" --by "${BY:-socket}" \
	    --how "${HOW:-whole}" -- env "${SPOKEN[@]}" "${POP3D[@]}" \
	    2>>"$LOG" | tr -d '\r' >"$RECORD/answers"
}

# served IP: a whole session, for that client.
served() {
	tail -n 4 "$RECORD/answers" | forms | expect '+OK
+OK
+OK
+OK'
	logged "^pop3d: event=connect ip=$1 via=203\.0\.113\.1\$"
	logged "event=login user=joe ip=$1 "
	logged "event=end user=joe ip=$1 .*reason=quit"
}

# refused HEADER: closed without a word, with one line.
refused() {
	: >"$LOG"
	after "$1" -c
	[ ! -s "$RECORD/answers" ] || {
		echo "$1 was answered" >&2
		cat -A "$RECORD/answers" >&2
		return 1
	}
	expect 'pop3d: event=end user=- ip=203.0.113.1 reason=proxy signal=0' \
	    < <(grep -v '^pop\.py: connection reset' "$LOG")
}

SPOKEN=(TCPREMOTEIP=203.0.113.1 TCPREMOTEPORT=9 TCPLOCALIP=203.0.113.2
    TCPLOCALPORT=8 TCPREMOTEHOST=proxy.example.org TCPREMOTEINFO=root
    TCPLOCALHOST=local.example.org PROTO=TCP)

@test "DESIGN 3: -x reads version 1, TCP4, and puts it in the environment" {
	after v1-tcp4 -c
	served 192.0.2.7
	grep '^TCP\|^PROTO' "$RECORD/environment" | sort | expect 'PROTO=TCP
TCPLOCALIP=198.51.100.9
TCPLOCALPORT=110
TCPREMOTEIP=192.0.2.7
TCPREMOTEPORT=4711'
}

@test "DESIGN 3: -x reads version 1, TCP6" {
	after v1-tcp6 -c
	served 2001:db8::7
	grep -x 'TCPREMOTEIP=2001:db8::7' "$RECORD/environment"
	after v1-longest -c
	grep -x 'TCPLOCALPORT=65535' "$RECORD/environment"
}

@test "DESIGN 3: -x reads version 1, UNKNOWN: nobody knows the client" {
	for kind in v1-unknown v1-unknown-more; do
		after "$kind" -c
		served -
		grep -x 'TCPREMOTEIP=' "$RECORD/environment"
	done
}

@test "DESIGN 3: -x reads version 2, TCP4 and TCP6" {
	after v2-tcp4 -c
	served 192.0.2.7
	after v2-tcp6 -c
	served 2001:db8::7
	grep -x 'TCPLOCALIP=2001:db8::9' "$RECORD/environment"
	grep -x 'TCPREMOTEPORT=4711' "$RECORD/environment"
}

@test "DESIGN 3: -x reads version 2, UNIX, UDP and UNSPEC: nobody knows the client" {
	for kind in v2-unix v2-udp4 v2-unspec v2-unspec-more; do
		after "$kind" -c
		served -
	done
}

@test "DESIGN 3: -x reads version 2, LOCAL: it is the proxy that asks" {
	for kind in v2-local v2-local-more; do
		after "$kind" -c
		logged 'event=login user=joe ip=203\.0\.113\.1 '
		grep -x 'TCPREMOTEIP=203.0.113.1' "$RECORD/environment"
	done
	not grep event=connect "$LOG"
}

@test "DESIGN 3: -x passes over TLVs, as many as there can be" {
	after v2-tlvs -c
	served 192.0.2.7
	after v2-long -c
	served 192.0.2.7
}

@test "DESIGN 3: -x verifies a CRC32C" {
	after v2-crc -c
	served 192.0.2.7
	after v2-crc-tlvs -c
	served 192.0.2.7
	refused v2-crc-wrong
}

@test "DESIGN 3: PP2_TYPE_SSL tells that the client's side is TLS" {
	after v2-ssl
	served 192.0.2.7
	logged 'event=login .* tls=yes'
	grep -x TLS=1 "$RECORD/environment"
	: >"$LOG"
	after v2-ssl-off -c
	served 192.0.2.7
	logged 'event=login .* tls=no'
}

@test "DESIGN 3: an address from a proxy's header is never loopback" {
	SPOKEN=(TCPREMOTEIP=127.0.0.1)
	after v1-loopback
	forms <"$RECORD/answers" | grep -c '^-ERR' | expect 3
	not grep -x USER "$RECORD/answers"
	after v2-local
	forms <"$RECORD/answers" | grep -c '^-ERR' | expect 3
}

@test "DESIGN 3: -x reads not an octet behind the header, over sockets and pipes, in one piece and in many" {
	for BY in socket pipe nonblock; do
		for HOW in whole octets; do
			for kind in v1-tcp4 v2-tlvs; do
				after "$kind" -c
				served 192.0.2.7
			done
		done
	done
}

@test "DESIGN 3: a wrong header closes the connection with one line: version 1" {
	for kind in lf lf-tcp4 case udp mixed few many blank end port port-sign \
	    port-zero number name empty nul long; do
		refused "$kind"
	done
}

@test "DESIGN 3: a wrong header closes the connection with one line: version 2" {
	for kind in v2-version v2-command v2-family v2-transport v2-short \
	    v2-short-six v2-tlv-cut v2-tlv-head v2-crc-length v2-ssl-short; do
		refused "$kind"
	done
}

@test "DESIGN 3: what is no header closes the connection with one line" {
	for kind in pop3 http hello; do
		refused "$kind"
	done
}

@test "DESIGN 3: without a header for 3 s the connection is closed with one line, and no greeting" {
	listen -x -c
	dial
	closed
	wait_for logged '^pop3d: event=end user=- ip=127\.0\.0\.1 reason=proxy'
	# Also where octets come, but no end.
	: >"$LOG"
	dial
	printf 'PROXY TCP4 192.0.2.7' >&"$CLIENT"
	closed
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=proxy'
}

@test "DESIGN 3: where -x is not given a header is an unknown command" {
	greeter_command -c
	{
		header v1-tcp4
		lines QUIT
	} | python3 "$BATS_TEST_DIRNAME/pop.py" -- "${POP3D[@]}" 2>>"$LOG" |
	    forms | expect '+OK
-ERR
+OK'
}

@test "DESIGN 3: a second header is an unknown command" {
	greeter_command -x -c
	{
		header v1-tcp4
		header v1-tcp6
		lines QUIT
	} | python3 "$BATS_TEST_DIRNAME/pop.py" --how whole -- "${POP3D[@]}" \
	    2>>"$LOG" | forms | expect '+OK
-ERR
+OK'
	logged 'event=end user=- ip=192\.0\.2\.7 reason=quit'
}

@test "RFC 2449 6.2: under -x CAPA says after login what it said before" {
	program <<'P'
cat <&3 >/dev/null
become "$@"
P
	SPOKEN=(TCPREMOTEIP=127.0.0.1)
	greeter_command -x -a -m "$MAIL"
	{
		header v1-loopback
		lines CAPA 'APOP joe 0123456789abcdef0123456789abcdef' CAPA QUIT
	} | python3 "$BATS_TEST_DIRNAME/pop.py" --how whole -- \
	    env "${SPOKEN[@]}" "${POP3D[@]}" 2>>"$LOG" | tr -d '\r' \
	    >"$RECORD/answers"
	grep -cx 'SASL CRAM-MD5' "$RECORD/answers" | expect 2
	not grep -x USER "$RECORD/answers"
}

# The proxies

# until_open PORT
until_open() {
	wait_for nc -z 127.0.0.1 "$1"
}

# pem: a certificate and its key in one file, as HAProxy has them.
pem() {
	self_signed "$BATS_TEST_TMPDIR/key" "$BATS_TEST_TMPDIR/certificate"
	cat "$BATS_TEST_TMPDIR/key" "$BATS_TEST_TMPDIR/certificate" \
	    >"$BATS_TEST_TMPDIR/pem"
}

# fetch PORT: a session's replies.
fetch() {
	printf '%s\r\n' 'USER joe' 'PASS secret' STAT QUIT |
	    python3 "$BATS_TEST_DIRNAME/pop.py" --by "$1" | tr -d '\r' | forms
}

# haproxy_for OPTIONS [BIND-OPTIONS]: HAProxy with contrib's file, these on its
# server line, in front of $PORT; sets FRONT.
haproxy_for() {
	FRONT=$(free_port)
	sed -e "s|^\( *bind \).*|\1127.0.0.1:$FRONT ${2:-}|" \
	    -e "s|^\( *server pop3d \).*|\1127.0.0.1:$PORT $1|" \
	    -e "/^ *\(user\|group\|chroot\|log\) /d" \
	    "$BATS_TEST_DIRNAME/../contrib/haproxy/pop3d.cfg" \
	    >"$BATS_TEST_TMPDIR/haproxy.cfg"
	grep -q "127.0.0.1:$PORT $1" "$BATS_TEST_TMPDIR/haproxy.cfg"
	haproxy -db -f "$BATS_TEST_TMPDIR/haproxy.cfg" \
	    >>"$BATS_TEST_TMPDIR/haproxy.log" 2>&1 3>&- &
	SERVERS+=($!)
	until_open "$FRONT"
}

need_haproxy() {
	command -v haproxy >/dev/null || skip "needs haproxy"
}

@test "contrib/haproxy: its file as it stands is one that HAProxy takes" {
	need_haproxy
	pem
	sed "s|/etc/haproxy/pop3d.pem|$BATS_TEST_TMPDIR/pem|" \
	    "$BATS_TEST_DIRNAME/../contrib/haproxy/pop3d.cfg" \
	    >"$BATS_TEST_TMPDIR/haproxy.cfg"
	haproxy -c -f "$BATS_TEST_TMPDIR/haproxy.cfg"
}

@test "contrib/haproxy: send-proxy, the client's address in the log" {
	need_haproxy
	listen -x -c
	haproxy_for send-proxy
	fetch "$FRONT" | grep -c '+OK' | expect 5
	wait_for logged 'event=end user=joe ip=127\.0\.0\.1 '
	logged 'event=connect ip=127\.0\.0\.1 via=127\.0\.0\.1'
}

@test "contrib/haproxy: send-proxy-v2, from another address" {
	need_haproxy
	listen -x -c
	haproxy_for send-proxy-v2
	curl -sS --interface 127.0.0.2 -u joe:secret "pop3://127.0.0.1:$FRONT/"
	wait_for logged 'event=end user=joe ip=127\.0\.0\.2 '
	logged 'event=connect ip=127\.0\.0\.2 via=127\.0\.0\.1'
}

@test "contrib/haproxy: TLS ends at HAProxy, and send-proxy-v2-ssl tells so" {
	need_haproxy
	pem
	listen -x
	haproxy_for send-proxy-v2-ssl "ssl crt $BATS_TEST_TMPDIR/pem"
	curl -sS --cacert "$BATS_TEST_TMPDIR/certificate" -u joe:secret \
	    --resolve "localhost:$FRONT:127.0.0.1" "pop3s://localhost:$FRONT/"
	wait_for logged 'event=end user=joe '
	logged 'event=login .* tls=yes'
	grep -x TLS=1 "$RECORD/environment"
}

@test "contrib/haproxy: a health check by LOCAL is greeted, and fills no log with connections" {
	need_haproxy
	listen -x -c
	haproxy_for 'send-proxy-v2 check inter 200 rise 1'
	fetch "$FRONT" | grep -c '+OK' | expect 5
	wait_for logged 'event=end user=joe'
	: >"$LOG"
	# Greeted, and gone.
	wait_for logged 'event=end user=- ip=127\.0\.0\.1 reason=disconnect'
	not grep event=connect "$LOG"
}

@test "contrib/nginx: the mail proxy, with auth_http and proxy_protocol" {
	local front auth module

	module=/usr/lib/nginx/modules/ngx_mail_module.so
	command -v nginx >/dev/null && [ -e "$module" ] ||
	    skip "needs nginx and its mail module"
	listen -x -c
	front=$(free_port)
	mkdir "$BATS_TEST_TMPDIR/nginx"
	# A server that lets everybody through to pop3d.
	python3 - "$PORT" "$BATS_TEST_TMPDIR/auth" <<'P' 3>&- &
import http.server, sys
class Auth(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Auth-Status", "OK")
        self.send_header("Auth-Server", "127.0.0.1")
        self.send_header("Auth-Port", sys.argv[1])
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Auth)
with open(sys.argv[2], "w") as file:
    print(server.server_address[1], file=file)
server.serve_forever()
P
	SERVERS+=($!)
	wait_for test -s "$BATS_TEST_TMPDIR/auth"
	auth=$(cat "$BATS_TEST_TMPDIR/auth")
	{
		echo "load_module $module;"
		echo "pid $BATS_TEST_TMPDIR/nginx/pid;"
		echo "error_log $BATS_TEST_TMPDIR/nginx/log;"
		echo "daemon off;"
		echo "events {}"
		sed -e "s|127.0.0.1:9000|127.0.0.1:$auth|" \
		    -e "s|listen 110;|listen 127.0.0.1:$front;|" \
		    -e '/# with TLS:/,/# end/d' \
		    "$BATS_TEST_DIRNAME/../contrib/nginx/pop3d.conf"
	} >"$BATS_TEST_TMPDIR/nginx.conf"
	nginx -p "$BATS_TEST_TMPDIR/nginx" -c "$BATS_TEST_TMPDIR/nginx.conf" \
	    >>"$BATS_TEST_TMPDIR/nginx/out" 2>&1 3>&- &
	SERVERS+=($!)
	until_open "$front"
	curl -sS --interface 127.0.0.3 -u joe:secret "pop3://127.0.0.1:$front/"
	wait_for logged 'event=end user=joe ip=127\.0\.0\.3 '
	logged 'event=connect ip=127\.0\.0\.3 via=127\.0\.0\.1'
}
