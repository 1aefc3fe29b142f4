/* SPDX-License-Identifier: ISC */
/* SASL: base64 both ways; and a name and a secret that travel by each
 * mechanism and reach the monitor as they are, or not at all.
 * Input: how, then three strings of given lengths. */
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../command.h"
#include "../monitor.h"
#include "../sandbox.h"
#include "fuzz.h"

enum { BY_LOGIN = 1, AT_ONCE = 2, PART_MOST = 255 };

static jmp_buf the_end;
static struct request sent;
static size_t sent_octets;

static ssize_t
send_request(int fd, const void *data, size_t octets, int flags)
{
	(void)fd;
	(void)flags;
	memcpy(&sent, data, octets);
	sent_octets = octets;
	return (ssize_t)octets;
}

#define send send_request
#define recv(fd, data, octets, flags) 0
#define _exit(code) longjmp(the_end, 1)
#include "../auth.c"
#undef send
#undef recv
#undef _exit

static struct client client;

static void
check_base64(struct text text)
{
	char *coded = malloc(text.octets / 3 * 4 + 5), *again;
	char *plain = fuzz_string(text);
	size_t octets = (size_t)(fuzz_base64(text, coded) - coded);
	ssize_t n;

	CHECK(base64_decode(coded, octets) == (ssize_t)text.octets);
	CHECK(memcmp(coded, text.at, text.octets) == 0);
	free(coded);
	/* What can be decoded is the one way to encode it. */
	n = base64_decode(plain, text.octets);
	CHECK(n <= (ssize_t)(text.octets / 4 * 3));
	if (n >= 0) {
		again = malloc((size_t)n / 3 * 4 + 5);
		(void)fuzz_base64((struct text){plain, (size_t)n}, again);
		CHECK(fuzz_equal(text, again));
		free(again);
	}
	free(plain);
}

static bool
has_nul(struct text text)
{
	return text.octets > 0 && memchr(text.at, '\0', text.octets) != NULL;
}

static size_t
add(char *to, struct text text)
{
	if (text.octets > 0)
		memcpy(to, text.at, text.octets);
	return text.octets;
}

/* What a client would send; its octets. */
static size_t
compose(unsigned how, struct text zid, struct text name, struct text secret,
    char *script)
{
	static char message[3 * PART_MOST + 3];
	char *p = script;
	size_t n;

	if ((how & BY_LOGIN) != 0) {
		p += sprintf(
		    p, "AUTH login%s", (how & AT_ONCE) != 0 ? " " : "\r\n");
		p = name.octets == 0 && (how & AT_ONCE) != 0
			? p + sprintf(p, "=")
			: fuzz_base64(name, p);
		p += sprintf(p, "\r\n");
		p = fuzz_base64(secret, p);
	} else {
		n = add(message, zid);
		message[n++] = '\0';
		n += add(message + n, name);
		message[n++] = '\0';
		n += add(message + n, secret);
		p += sprintf(
		    p, "auth Plain%s", (how & AT_ONCE) != 0 ? " " : "\r\n");
		p = fuzz_base64((struct text){message, n}, p);
	}
	return (size_t)(p + sprintf(p, "\r\n") - script);
}

static void
login(const char *script, size_t octets, unsigned splits)
{
	memset(&client, 0, offsetof(struct client, stream.input));
	client.peer.is_loopback = true;
	sent_octets = 0;
	fuzz_connect(
	    (struct text){script, octets}, true, false, splits, SIZE_MAX);
	stream_open(&client.stream, 0, 1, false, AUTH_IDLE_SEC);
	if (setjmp(the_end) == 0)
		(void)command_loop(&client, authorization_commands);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static char script[8 * PART_MOST];
	struct text text = {(const char *)data, octets}, parts[3];
	unsigned how = fuzz_octet(&text), splits = fuzz_octet(&text);
	bool is_login = (how & BY_LOGIN) != 0, is_good;

	check_base64(text);
	for (int i = 0; i < 3; i++) {
		size_t n = fuzz_octet(&text);

		n = n < text.octets ? n : text.octets;
		parts[i] = (struct text){text.at, n};
		text.at += n;
		text.octets -= n;
	}
	/* Somebody else's name is not taken, the same one twice is. */
	is_good =
	    parts[1].octets > 0 && !has_nul(parts[1]) && !has_nul(parts[2]);
	if (!is_login)
		is_good &=
		    parts[0].octets == 0 ||
		    (parts[0].octets == parts[1].octets &&
			memcmp(parts[0].at, parts[1].at, parts[0].octets) == 0);
	/* A NUL in a name moves the fields; the rest is the oracle of
	 * nobody. */
	if (!is_login && (has_nul(parts[0]) || has_nul(parts[1])))
		return 0;
	login(
	    script, compose(how, parts[0], parts[1], parts[2], script), splits);
	CHECK((sent_octets > 0) == is_good);
	if (sent_octets == 0)
		return 0;
	CHECK(sent.kind == (is_login ? MECHANISM_LOGIN : MECHANISM_PLAIN));
	/* User, secret and no challenge, each with its NUL. */
	CHECK(sent_octets == offsetof(struct request, text) + parts[1].octets +
				 parts[2].octets + 3);
	CHECK(fuzz_equal(parts[1], sent.text));
	CHECK(fuzz_equal(parts[2], sent.text + parts[1].octets + 1));
	CHECK(sent.text[parts[1].octets + parts[2].octets + 2] == '\0');
	return 0;
}
