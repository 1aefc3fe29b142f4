/* SPDX-License-Identifier: ISC */
/* pop3d.uidl: whatever stands there, unique-ids are unique and well-formed,
 * and what is taken from the file stands there.
 * Input: names of messages, a line each, an empty line, the file. */
#include <stdio.h>
#include <stdlib.h>

/* The text is never freed there. */
static void *text;

static void *
keep(size_t octets)
{
	return text = malloc(octets);
}

#define malloc keep
#include "../uidl.c"
#undef malloc

#include "fuzz.h"

enum { MESSAGES_MOST = 12, HASH_OCTETS = 32 };

/* Whether a line of the file gives that unique-id to a name. */
static bool
stands_there(struct text file, const char *name, const char *uid)
{
	struct text line;
	size_t base = listing_base_octets(name), octets = strlen(uid);

	while (fuzz_until(&file, '\n', &line)) {
		size_t i = 0;

		if (line.octets <= base + octets || line.at[base] == '\0' ||
		    strchr(": ", line.at[base]) == NULL ||
		    line.at[line.octets - octets - 1] != ' ' ||
		    memcmp(line.at + line.octets - octets, uid, octets) != 0)
			continue;
		/* A NUL stands for DEL, so that nothing ends there. */
		while (
		    i < base && (line.at[i] == name[i] ||
				    (line.at[i] == '\0' && name[i] == '\177')))
			i++;
		if (i == base)
			return true;
	}
	return false;
}

/* As maildir_uid does. */
static void
get_uid(const char **uids, const struct listing *list, size_t i,
    char uid[UID_OCTETS + 1])
{
	if (uids != NULL && uids[i] != NULL)
		(void)snprintf(uid, UID_OCTETS + 1, "%s", uids[i]);
	else
		maildir_own_uid(list->names + list->messages[i].name, uid);
	CHECK(is_uid(uid));
}

static void
check_uids(const char **uids, const struct listing *list, struct text file)
{
	char a[UID_OCTETS + 1], b[UID_OCTETS + 1];

	for (size_t i = 0; i < list->count; i++) {
		const char *name = list->names + list->messages[i].name;

		CHECK(uids == NULL || uids[i] == NULL ||
		      stands_there(file, name, uids[i]));
		get_uid(uids, list, i, a);
		for (size_t j = 0; j < i; j++) {
			get_uid(uids, list, j, b);
			/* A name may be the hash of another, and then the
			 * mailbox's owner has made it so. */
			CHECK(strcmp(a, b) != 0 || strlen(a) == HASH_OCTETS);
		}
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static int dir = -1;
	struct text file = {(const char *)data, octets}, part;
	struct listing list = {0};
	const char **uids;

	if (dir == -1)
		dir = fuzz_directory();
	while (fuzz_until(&file, '\n', &part) && part.octets > 0 &&
	       list.total < MESSAGES_MOST) {
		char *name = fuzz_string(part);

		if (*name != '\0')
			CHECK(listing_rename(&list, listing_add(&list, 0), name,
				  false) == 0);
		free(name);
	}
	CHECK(listing_sort(&list) == 0);
	fuzz_file(dir, UIDL_NAME, file.at, file.octets);
	text = NULL;
	CHECK(uidl_load(dir, &list, &uids) == 0);
	check_uids(uids, &list, file);
	free(uids);
	free(text);
	listing_free(&list);
	return 0;
}
