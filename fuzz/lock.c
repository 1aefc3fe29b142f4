/* SPDX-License-Identifier: ISC */
/* What the lock's file says of the holder is a short printable text, whatever
 * stands there.  Input: its content. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../lock.h"
#include "fuzz.h"

static void
check_holder(const char *holder)
{
	size_t octets = strlen(holder);

	CHECK(octets < LOCK_TEXT_OCTETS);
	CHECK(octets == 0 || strncmp(holder, " since ", 7) == 0);
	for (size_t i = 0; i < octets; i++)
		CHECK(holder[i] >= ' ' && holder[i] <= '~');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static int mine = -1, other = -1;
	char holder[LOCK_TEXT_OCTETS];
	int lock, held;
	char ip[64] = "";

	if (mine == -1) {
		mine = fuzz_directory();
		other = openat(mine, ".", O_RDONLY | O_DIRECTORY);
	}
	memset(holder, 1, sizeof(holder));
	CHECK(lock_take(&held, other, holder) == 0 && *holder == '\0');
	fuzz_file(mine, "pop3d.lock", data, octets);
	memset(holder, 1, sizeof(holder));
	CHECK(lock_take(&lock, mine, holder) == -1 && errno == EWOULDBLOCK);
	check_holder(holder);
	/* What a session writes there is what the next one reads. */
	for (size_t i = 0; i < octets && i < 45; i++)
		ip[i] = "0123456789abcdef:."[data[i] % 18];
	CHECK(lock_sign(held, ip) != 0);
	memset(holder, 1, sizeof(holder));
	CHECK(lock_take(&lock, mine, holder) == -1 && errno == EWOULDBLOCK);
	check_holder(holder);
	CHECK(*holder != '\0');
	CHECK((strstr(holder, " by a session from ") != NULL) == (*ip != '\0'));
	CHECK(strcmp(holder + strlen(holder) - strlen(ip), ip) == 0);
	lock_release(held, other);
	return 0;
}
