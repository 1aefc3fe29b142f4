/* SPDX-License-Identifier: ISC */
/* pop3d.uidl: whatever stands there, unique-ids are unique and well-formed,
 * and what is taken from the file stands there.
 * Input: names of messages, a line each, an empty line, the file. */
#include "../uidl.c"

#include <stdio.h>

#include "fuzz.h"

enum { MESSAGES_MOST = 12, HASH_OCTETS = 32 };

/* As maildir_uid does. */
static void
get_uid(const struct uidl *u, const char *name, char uid[UID_OCTETS + 1])
{
	const char *given = uidl_find(u, name);

	if (given != NULL)
		(void)snprintf(uid, UID_OCTETS + 1, "%s", given);
	else
		maildir_own_uid(name, uid);
	CHECK(is_uid(uid));
}

/* Whether a line of the file gives that unique-id to a name. */
static bool
stands_there(struct text file, const struct uidl_entry *e)
{
	struct text line;

	while (fuzz_until(&file, '\n', &line)) {
		size_t name = strlen(e->name), uid = strlen(e->uid);

		if (line.octets > name + uid &&
		    memcmp(line.at, e->name, name) == 0 &&
		    strchr(": ", line.at[name]) != NULL &&
		    line.at[line.octets - uid - 1] == ' ' &&
		    memcmp(line.at + line.octets - uid, e->uid, uid) == 0)
			return true;
	}
	return false;
}

static void
check_entries(const struct uidl *u, struct text file)
{
	for (size_t i = 0; i < u->count; i++) {
		const struct uidl_entry *e = &u->entries[i];

		CHECK(is_uid(e->uid) && strchr(e->name, ':') == NULL);
		CHECK(stands_there(file, e));
		CHECK(uidl_find(u, e->name) == e->uid);
		for (size_t j = 0; j < i; j++) {
			CHECK(strcmp(u->entries[j].name, e->name) < 0);
			CHECK(strcmp(u->entries[j].uid, e->uid) != 0);
		}
	}
}

static void
check_uids(const struct uidl *u, const struct listing *list)
{
	char a[UID_OCTETS + 1], b[UID_OCTETS + 1];

	for (size_t i = 0; i < list->count; i++)
		for (size_t j = 0; j < i; j++) {
			const char *x = list->names + list->messages[i].name;
			const char *y = list->names + list->messages[j].name;

			get_uid(u, x, a);
			get_uid(u, y, b);
			/* A name may be the hash of another, and then the
			 * mailbox's owner has made it so. */
			CHECK(strcmp(a, b) != 0 || strlen(a) == HASH_OCTETS);
		}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static int dir = -1;
	struct text file = {(const char *)data, octets}, part;
	struct listing list = {0};
	struct uidl u = {0};

	if (dir == -1)
		dir = fuzz_directory();
	list.messages = calloc(MESSAGES_MOST, sizeof(*list.messages));
	while (fuzz_until(&file, '\n', &part) && part.octets > 0 &&
	       list.count < MESSAGES_MOST) {
		char *name = fuzz_string(part);
		bool is_new = strlen(name) > 0;

		for (size_t i = 0; i < list.count; i++)
			is_new &= !listing_same_base(
			    list.names + list.messages[i].name, name);
		if (is_new)
			list.messages[list.count++].name =
			    (uint32_t)listing_add_name(&list, name);
		free(name);
	}
	fuzz_file(dir, UIDL_NAME, file.at, file.octets);
	uidl_load(&u, dir, &list);
	check_entries(&u, file);
	check_uids(&u, &list);
	free(u.entries);
	free(u.text);
	listing_free(&list);
	return 0;
}
