/* SPDX-License-Identifier: ISC */
/* The header of the PROXY protocol: not an octet behind it is consumed, what
 * is found does not depend on how it comes, and the monitor can use it.
 * Input: flags, two kinds of splits, what a proxy sends. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../proxy.h"
#include "fuzz.h"

enum { BY_PIPES = 1, SILENT = 2, PREFIX = 16, TEXT_MOST = 107 };

static struct stream stream;

/* Reads a header; returns what of the input is left. */
static struct text
run(struct text input, unsigned flags, unsigned splits, bool *is_right,
    struct proxied *p)
{
	fuzz_connect(
	    input, (flags & BY_PIPES) == 0, (flags & SILENT) != 0, splits, 0);
	memset(&stream, 0, offsetof(struct stream, input));
	stream_open(&stream, 0, 1, false, 60);
	stream.deadline = now_msec() + 1000000;
	*is_right = proxy_read(&stream, p);
	return fuzz_link.input;
}

/* The length of the header that the input begins with, or 0. */
static size_t
length(struct text input)
{
	const char *lf;

	if (input.octets >= PREFIX && input.at[0] == '\r')
		return PREFIX + (size_t)((unsigned char)input.at[14] << 8 |
					 (unsigned char)input.at[15]);
	lf = memchr(input.at, '\n', input.octets);
	return lf == NULL || lf - input.at >= TEXT_MOST
		   ? 0
		   : (size_t)(lf - input.at) + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text input = {(const char *)data, octets}, left, again;
	unsigned flags = fuzz_octet(&input), first = fuzz_octet(&input);
	unsigned second = fuzz_octet(&input);
	struct proxied p, q;
	struct peer peer = {.ip = "192.0.2.1"};
	bool is_right, is_right_again;

	left = run(input, flags, first, &is_right, &p);
	again = run(input, flags, second, &is_right_again, &q);
	CHECK(is_right == is_right_again);
	if (!is_right)
		return 0;
	CHECK(memcmp(&p, &q, sizeof(p)) == 0);
	CHECK(left.at == again.at);
	CHECK(left.at == input.at + length(input));
	CHECK(p.octets == 0 || p.octets == 4 || p.octets == 16);
	CHECK(peer_set_proxied(&peer, &p) == 0);
	CHECK(strcmp(peer.via, "192.0.2.1") == 0);
	CHECK((peer.ip[0] == '\0') == (p.octets == 0 && !p.is_local));
	return 0;
}
