/* SPDX-License-Identifier: ISC */
/* The monitor takes a request for valid exactly where it is three strings of
 * no more than their lengths, or of another kind and its one length.  Input: a
 * message, whose end may be made right.
 */
#include "../monitor.c"

#include <stddef.h>

#include "fuzz.h"

enum { MAKE_RIGHT = 1, HEADER = offsetof(struct request, text) };

/* The same, said otherwise: the places of its three NULs. */
static bool
is_right(const uint8_t *message, size_t octets)
{
	size_t nuls = 0, at[3] = {0};
	uint16_t mechanism;

	if (octets < sizeof(mechanism))
		return false;
	memcpy(&mechanism, message, sizeof(mechanism));
	if (mechanism == REQUEST_STLS || mechanism == REQUEST_PROXY)
		return octets ==
		       sizeof(mechanism) + (mechanism == REQUEST_STLS
						   ? 0
						   : sizeof(struct proxied));
	for (size_t i = sizeof(mechanism); i < octets; i++)
		if (message[i] == 0 && nuls++ < 3)
			at[nuls - 1] = i - sizeof(mechanism);
	return nuls == 3 && message[octets - 1] == 0 && mechanism < 7 &&
	       at[0] > 0 && at[0] <= USER_OCTETS &&
	       at[1] - at[0] - 1 <= SECRET_OCTETS &&
	       at[2] - at[1] - 1 <= CHALLENGE_OCTETS;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static const struct client nobody;
	struct text text = {(const char *)data, octets};
	bool make_right = (fuzz_octet(&text) & MAKE_RIGHT) != 0;
	struct request *r = malloc(text.octets + (text.octets == 0));
	size_t n = text.octets;
	bool is_good;

	if (n > 0)
		memcpy(r, text.at, n);
	if (make_right && n > HEADER) {
		r->kind %= REQUEST_PROXY + 2;
		r->text[n - HEADER - 1] = '\0';
	}
	/* Not one octet behind the message is looked at. */
	is_good = is_valid(r, n);
	CHECK(is_good == is_right((const uint8_t *)r, n));
	if (is_good && r->kind < MECHANISMS)
		(void)judge(&nobody, r, data[0]);
	free(r);
	return 0;
}
