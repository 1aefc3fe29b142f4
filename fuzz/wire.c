/* SPDX-License-Identifier: ISC */
/* A message on the wire: the same octets however it is read, and as many as
 * are counted.  Input: splits, lines of TOP, the message. */
#include <stdlib.h>
#include <string.h>

#include "../stream.h"
#include "fuzz.h"

static struct stream stream;

/* Where TOP ends: behind the empty line and that many more. */
static size_t
cut(const char *text, size_t octets, size_t lines)
{
	bool in_body = false;
	size_t begin = 0;

	for (size_t i = 0; i < octets; i++) {
		if (text[i] != '\n')
			continue;
		if (in_body)
			lines--;
		else
			in_body = i == begin + 1 && text[begin] == '\r';
		begin = i + 1;
		if (in_body && lines == 0)
			return i + 1;
	}
	return octets;
}

/* The next part: of 0 to 1024 octets, or what is left. */
static size_t
part(unsigned *splits, size_t left)
{
	size_t n = left;

	if (*splits != 0) {
		*splits = *splits * 1103515245U + 12345U;
		n = (*splits >> 16) % ((*splits >> 10) % 4 != 0 ? 10 : 1025);
	}
	return n < left ? n : left;
}

static void
send_parts(struct text message, uint64_t lines, unsigned splits,
    const char *expected, size_t octets, uint64_t counted)
{
	struct wire sent = {.body_lines = lines};
	bool is_cut = false;
	char *copy;

	memset(&stream, 0, offsetof(struct stream, input));
	stream_open(&stream, 0, 1, true, 1000);
	while (message.octets > 0 && !is_cut) {
		size_t n = part(&splits, message.octets);

		/* In memory of its own: nothing behind it is read. */
		copy = malloc(n);
		memcpy(copy, message.at, n);
		is_cut = wire_send(&stream, &sent, copy, n);
		free(copy);
		message.at += n;
		message.octets -= n;
	}
	wire_send_end(&stream, &sent);
	CHECK(stream_flush(&stream) == 0);
	CHECK(fuzz_link.output_octets == octets + 3);
	CHECK(memcmp(fuzz_link.output, expected, octets) == 0);
	CHECK(memcmp(fuzz_link.output + octets, ".\r\n", 3) == 0);
	CHECK(is_cut || sent.octets == counted);
}

static void
count_parts(struct text message, unsigned splits, uint64_t octets)
{
	struct wire count = {0};

	while (message.octets > 0) {
		size_t n = part(&splits, message.octets);
		char *copy = malloc(n);

		memcpy(copy, message.at, n);
		wire_count(&count, copy, n);
		free(copy);
		message.at += n;
		message.octets -= n;
	}
	wire_count_end(&count);
	CHECK(count.octets == octets);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text message = {(const char *)data, octets};
	unsigned splits = fuzz_octet(&message);
	uint64_t lines = fuzz_octet(&message);
	char *plain = malloc(3 * octets + 2), *stuffed = malloc(3 * octets + 2);
	size_t plain_octets = fuzz_wire(message, false, plain);
	size_t stuffed_octets = fuzz_wire(message, true, stuffed);

	count_parts(message, 0, plain_octets);
	count_parts(message, splits, plain_octets);
	fuzz_connect((struct text){"", 0}, true, false, splits, SIZE_MAX);
	send_parts(
	    message, UINT64_MAX, 0, stuffed, stuffed_octets, plain_octets);
	fuzz_connect((struct text){"", 0}, false, false, splits, SIZE_MAX);
	send_parts(
	    message, UINT64_MAX, splits, stuffed, stuffed_octets, plain_octets);
	fuzz_connect((struct text){"", 0}, true, false, 0, SIZE_MAX);
	send_parts(message, lines, splits, stuffed,
	    cut(stuffed, stuffed_octets, lines), plain_octets);
	free(plain);
	free(stuffed);
	return 0;
}
