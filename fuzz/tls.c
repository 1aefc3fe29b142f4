/* SPDX-License-Identifier: ISC */
/* What a TLS wrapper reports: only names SSL_ of capitals, digits and _ are
 * set or unset, however the report comes, and it ends where it says.
 * Input: a kind of splits, the report. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static struct text report;
static unsigned splits, taken;

static int
is_there(struct pollfd *fds, nfds_t count, int msec)
{
	(void)fds;
	(void)count;
	(void)msec;
	return 1;
}

static ssize_t
read_part(int fd, void *data, size_t octets)
{
	(void)fd;
	CHECK(octets > 0);
	if (octets > report.octets)
		octets = report.octets;
	if (splits != 0 && octets > 1) {
		splits = splits * 1103515245U + 12345U;
		octets = 1 + (splits >> 16) % octets;
	}
	if (octets > 0)
		memcpy(data, report.at, octets);
	report.at += octets;
	report.octets -= octets;
	return (ssize_t)octets;
}

static int
take(const char *name, const char *value, int overwrite)
{
	(void)value;
	CHECK(overwrite == 1);
	CHECK(strncmp(name, "SSL_", 4) == 0);
	CHECK(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
	      strlen(name));
	taken++;
	return 0;
}

static int
drop(const char *name)
{
	return take(name, "", 1);
}

#define poll is_there
#define read read_part
#define setenv take
#define unsetenv drop
#define tls_find tls_find_here
#define tls_start tls_start_here
#include "../tls.c"
#undef poll
#undef read
#undef setenv
#undef unsetenv

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text whole = {(const char *)data, octets};
	unsigned how = fuzz_octet(&whole), before;
	int result, again;

	report = whole;
	splits = taken = 0;
	result = read_report(0, INT64_MAX);
	before = taken;
	report = whole;
	splits = how;
	taken = 0;
	again = read_report(0, INT64_MAX);
	CHECK(result == again && before == taken);
	return 0;
}
