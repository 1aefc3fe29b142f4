/* SPDX-License-Identifier: ISC */
/* AUTHORIZATION: a stranger's octets, and a monitor whose verdicts come from
 * the input as well.  Every whole line is answered once, whatever parts it
 * comes in; the monitor gets well-formed requests; what follows a line that
 * logs in is left for the session.
 * Input: flags, verdicts, splits, where output breaks, what is sent. */
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../command.h"
#include "../monitor.h"
#include "../sandbox.h"
#include "fuzz.h"

enum {
	IN_CLEAR = 1,
	WITH_APOP = 2,
	BY_PIPES = 4,
	SILENT = 8,
	OVER_TLS = 16,
	LONG_LINES = 32, /* \001 is so many octets, lest inputs be huge */
	LONG_OCTETS = 4094,
	LONG_MOST = 8,
	BAD_MOST = 20,
	WRONG_MOST = 3,
	ATTEMPTS_MOST = 10,
	EXITED = 1000 /* the monitor has let the greeter go */
};

static jmp_buf the_end;
static unsigned verdicts, attempts, wrong;

/* What the monitor must be able to rely on. */
static ssize_t
send_request(int fd, const void *data, size_t octets, int flags)
{
	const struct request *r = data;
	struct text text = {r->text, octets - offsetof(struct request, text)};
	size_t lengths[3];

	(void)fd;
	(void)flags;
	CHECK(octets > offsetof(struct request, text) && octets <= sizeof(*r));
	CHECK(r->kind < MECHANISMS);
	for (int i = 0; i < 3; i++) {
		CHECK(text.octets > 0);
		lengths[i] = strnlen(text.at, text.octets);
		CHECK(lengths[i] < text.octets);
		text.at += lengths[i] + 1;
		text.octets -= lengths[i] + 1;
	}
	CHECK(text.octets == 0);
	CHECK(lengths[0] > 0 && lengths[0] <= USER_OCTETS);
	CHECK(lengths[1] <= SECRET_OCTETS && lengths[2] <= CHALLENGE_OCTETS);
	CHECK((r->kind == MECHANISM_APOP) == (lengths[2] > 0));
	return (ssize_t)octets;
}

static ssize_t
receive_verdict(int fd, void *data, size_t octets, int flags)
{
	unsigned code = verdicts >> 2 * (attempts % 4) & 3;
	struct verdict *v = data;

	(void)fd;
	(void)flags;
	CHECK(octets == sizeof(*v));
	if (code == 3)
		return 0;
	attempts++;
	wrong += code == VERDICT_WRONG;
	v->code = (uint8_t)code;
	v->is_last = wrong == WRONG_MOST || attempts == ATTEMPTS_MOST;
	return (ssize_t)octets;
}

#define send send_request
#define recv receive_verdict
#define _exit(code) longjmp(the_end, EXITED)
#include "../auth.c"
#undef send
#undef recv
#undef _exit

static struct client client;
static const char *unread; /* where the greeter has left the input */

/* One greeter, after its greeting; how it ended. */
static int
run(unsigned flags, unsigned pattern)
{
	static const struct argument nobody;
	char *p = client.options.flags;
	int reason;

	memset(&client, 0, offsetof(struct client, stream.input));
	/* Refused here, it forgets the name before. */
	(void)cmd_user(&client, &nobody);
	client.stream.out_octets = 0;
	client.peer.is_loopback = (flags & IN_CLEAR) != 0;
	if ((flags & WITH_APOP) != 0)
		*p++ = 'a';
	if ((flags & OVER_TLS) != 0)
		*p++ = 's';
	stream_open(&client.stream, 0, 1, false, AUTH_IDLE_SEC);
	client.stream.end_msec = now_msec() + (int64_t)AUTH_TOTAL_SEC * 1000;
	memcpy(stamp, "<1.2.3@x>", sizeof("<1.2.3@x>"));
	verdicts = pattern;
	attempts = wrong = 0;
	reason = setjmp(the_end);
	if (reason == 0)
		reason = (int)command_loop(&client, authorization_commands);
	unread = fuzz_link.input.at;
	if (reason == EXITED)
		return reason;
	stream_end(&client.stream);
	return reason;
}

/* A challenge must be base64, and fit. */
static void
check_challenge(struct text line)
{
	char *copy = fuzz_string(line);

	CHECK(base64_decode(copy + 2, line.octets - 2) >= 0);
	free(copy);
}

/* Pairs replies with lines; what is left of the input has no answer.  Returns
 * whether the last line of all belongs to an exchange. */
static bool
check_dialogue(struct text *input, bool is_alien)
{
	struct text replies = {fuzz_link.output, fuzz_link.output_octets};
	struct text command, response, line;

	while (fuzz_line(&replies, true, &line)) {
		bool is_ok, is_list;

		if (is_alien) {
			CHECK(!fuzz_is_ok(line) && replies.octets == 0);
			return false;
		}
		if (line.octets >= 2 && memcmp(line.at, "+ ", 2) == 0) {
			CHECK(fuzz_command(input, &command));
			CHECK(fuzz_is(command, "AUTH"));
			/* LOGIN asks twice; nobody asks more often. */
			for (int i = 0; i < 2 && line.at[1] == ' '; i++) {
				check_challenge(line);
				if (!fuzz_command(input, &response)) {
					CHECK(replies.octets == 0);
					return true;
				}
				if (!fuzz_line(&replies, true, &line))
					return true; /* it logs in */
			}
			(void)fuzz_is_ok(line);
			continue;
		}
		is_ok = fuzz_is_ok(line);
		CHECK(fuzz_command(input, &command));
		is_list = fuzz_is(command, "CAPA") || fuzz_is(command, "AUTH");
		while (is_ok && is_list && !fuzz_equal(line, "."))
			CHECK(fuzz_line(&replies, true, &line));
	}
	return false;
}

/* The input, or what it stands for; to be freed. */
static struct text
expand(struct text text, bool is_long)
{
	char *all = malloc(text.octets + LONG_MOST * LONG_OCTETS + 1), *p = all;
	unsigned count = 0;

	while (text.octets > 0) {
		char c = (char)fuzz_octet(&text);

		if (c == 1 && is_long && count < LONG_MOST) {
			memset(p, 'A', LONG_OCTETS);
			p += LONG_OCTETS;
			count++;
		} else {
			*p++ = c;
		}
	}
	return (struct text){all, (size_t)(p - all)};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text input = {(const char *)data, octets}, rest, command;
	unsigned flags = fuzz_octet(&input), pattern = fuzz_octet(&input);
	unsigned splits = fuzz_octet(&input), breaks = fuzz_octet(&input);
	struct text text = expand(input, (flags & LONG_LINES) != 0);
	bool in_exchange, is_alien = text.octets > 0 && *text.at == 0x16;
	size_t most = (breaks & 0x80) != 0 ? (breaks & 0x7f) * 8 : SIZE_MAX;
	const char *behind;
	char *reference;
	size_t replied;
	int reason;

	/* All at once, and to the end. */
	fuzz_connect(text, true, (flags & SILENT) != 0, 0, SIZE_MAX);
	reason = run(flags, pattern);
	rest = text;
	in_exchange = check_dialogue(&rest, is_alien);
	if (reason == EXITED && !in_exchange)
		CHECK(fuzz_command(&rest, &command));
	/* Not one octet too many, for the session reads the next. */
	if (reason == EXITED || (reason == REASON_QUIT && !is_alien))
		CHECK(unread == rest.at);
	if (reason == REASON_DISCONNECT || reason == REASON_TIMEOUT) {
		CHECK(!fuzz_command(&rest, &command));
		CHECK((reason == REASON_TIMEOUT) == ((flags & SILENT) != 0));
	}
	CHECK(attempts <= ATTEMPTS_MOST && wrong <= WRONG_MOST);
	behind = unread;
	replied = fuzz_link.output_octets;
	reference = fuzz_string(
	    (struct text){replied > 0 ? fuzz_link.output : "", replied});

	/* In parts, and perhaps not to the end. */
	fuzz_connect(
	    text, (flags & BY_PIPES) == 0, (flags & SILENT) != 0, splits, most);
	CHECK(run(flags, pattern) == reason || most <= replied);
	CHECK(unread == behind || most <= replied || is_alien);
	CHECK(fuzz_link.output_octets == replied || most <= replied);
	CHECK(fuzz_link.output_octets <= replied);
	CHECK(
	    fuzz_link.output_octets == 0 ||
	    memcmp(fuzz_link.output, reference, fuzz_link.output_octets) == 0);
	free(reference);
	free((char *)text.at);
	return 0;
}
