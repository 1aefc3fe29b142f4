/* SPDX-License-Identifier: ISC */
/* The monitor takes a request for valid exactly where its lengths are those
 * of the message and its strings are strings.
 * Input: a message, whose lengths may be made right. */
#include "../monitor.c"

#include <stddef.h>

#include "fuzz.h"

enum { MAKE_RIGHT = 1, HEADER = offsetof(struct request, text) };

/* The same, said otherwise. */
static bool
is_right(const uint8_t *message, size_t octets)
{
	static const size_t most[] = {
	    USER_OCTETS, SECRET_OCTETS, CHALLENGE_OCTETS};
	uint16_t numbers[4];
	size_t rest;

	if (octets < sizeof(numbers))
		return false;
	memcpy(numbers, message, sizeof(numbers));
	rest = octets - sizeof(numbers);
	for (int i = 0; i < 3; i++) {
		if (numbers[i + 1] > most[i] || numbers[i + 1] > rest)
			return false;
		rest -= numbers[i + 1];
	}
	for (size_t i = sizeof(numbers); i < octets; i++)
		if (message[i] == 0)
			return false;
	return rest == 0 && numbers[0] < 4 && numbers[1] > 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static const struct client nobody;
	static struct attempt attempt;
	struct text text = {(const char *)data, octets};
	bool make_right = (fuzz_octet(&text) & MAKE_RIGHT) != 0;
	struct request *r = malloc(text.octets + (text.octets == 0));
	size_t n = text.octets;
	bool is_good;

	CHECK(sizeof(struct request) - HEADER ==
	      USER_OCTETS + SECRET_OCTETS + CHALLENGE_OCTETS);
	if (n > 0)
		memcpy(r, text.at, n);
	if (make_right && n >= HEADER + 2) {
		size_t left = n - HEADER;

		r->mechanism %= MECHANISMS + 1;
		r->user_octets = (uint16_t)(r->user_octets % (left + 1));
		left -= r->user_octets;
		r->challenge_octets =
		    (uint16_t)(r->challenge_octets % (left + 1));
		r->secret_octets = (uint16_t)(left - r->challenge_octets);
	}
	/* Not one octet behind the message is looked at. */
	is_good = is_valid(r, n);
	CHECK(is_good == is_right((const uint8_t *)r, n));
	if (is_good) {
		CHECK(n - HEADER + 3 <= sizeof(attempt.text));
		(void)judge(&nobody, r, data[0]);
	}
	free(r);
	return 0;
}
