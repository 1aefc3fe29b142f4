/* SPDX-License-Identifier: ISC */
/* A line of the log is one, printable, and says what it was given, whatever
 * that is.  Input: three values, NULs between; fuzz.c checks the form. */
#include "../log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* Undoes the escaping of a value, in place; returns what is behind it. */
static char *
unescape(char *value, char end)
{
	char *from = value, *to = value;
	unsigned octet;

	while (*from != end) {
		if (*from == '\\' && sscanf(from, "\\x%2x", &octet) == 1) {
			*to++ = (char)octet;
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	from++;
	*to = '\0';
	return from;
}

static char *
check_value(char *line, const char *key, const char *given)
{
	size_t octets = strlen(key);
	char *next;

	CHECK(strncmp(line, key, octets) == 0);
	line += octets;
	if (*line == '"') {
		next = unescape(++line, '"') + 1;
	} else {
		next = unescape(line, ' ');
		if (*given == '\0')
			given = "-";
	}
	CHECK(strcmp(line, given) == 0);
	return next;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text text = {(const char *)data, octets}, part;
	char *values[3], *line, *rest;
	size_t sum = 0;

	for (int i = 0; i < 3; i++) {
		(void)fuzz_until(&text, '\0', &part);
		values[i] = fuzz_string(part);
		sum += strlen(values[i]);
	}
	log_event("failure user=%s ip=%s code=%llu path=%s", values[0],
	    values[1], (unsigned long long)octets, values[2]);
	/* What is longer may have been cut short. */
	if (4 * sum < 3000) {
		line = fuzz_string(fuzz_logged);
		rest = check_value(
		    line + strlen("pop3d: event=failure "), "user=", values[0]);
		rest = check_value(rest, "ip=", values[1]);
		CHECK(strtoull(rest + 5, &rest, 10) == octets);
		rest = realloc(fuzz_string((struct text){rest, strlen(rest)}),
		    strlen(rest) + 2);
		(void)strcat(rest, " ");
		(void)check_value(rest, " path=", values[2]);
		free(rest);
		free(line);
	}
	for (int i = 0; i < 3; i++)
		free(values[i]);
	return 0;
}
