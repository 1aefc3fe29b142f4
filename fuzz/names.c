/* SPDX-License-Identifier: ISC */
/* Names of messages: unique-ids, order, search, and the seen flag, whatever a
 * name may be.  Input: names, a line each. */
#include "../listing.c"
#include "../maildir.c"

#include "fuzz.h"

enum { NAMES_MOST = 10, HASH_OCTETS = 32 };

/* RFC 1939 section 7; and flags make no difference. */
static void
check_uid(const char *name)
{
	char uid[UID_OCTETS + 1], other[UID_OCTETS + 1];
	char flagged[NAME_MAX + 8];
	size_t octets;

	memset(uid, 1, sizeof(uid));
	maildir_own_uid(name, uid);
	octets = strlen(uid);
	CHECK(octets >= 1 && octets <= UID_OCTETS);
	for (size_t i = 0; i < octets; i++)
		CHECK(uid[i] >= 0x21 && uid[i] <= 0x7e);
	(void)snprintf(flagged, sizeof(flagged), "%.*s:2,S",
	    (int)listing_base_octets(name), name);
	maildir_own_uid(flagged, other);
	CHECK(strcmp(uid, other) == 0);
	/* It is the name itself wherever it can be. */
	CHECK((strncmp(uid, name, octets) == 0 &&
		  octets == listing_base_octets(name)) ||
	      octets == HASH_OCTETS);
}

static void
check_pair(const char *x, const char *y)
{
	char uids[2][UID_OCTETS + 1];
	int order = listing_compare(x, y);

	CHECK((order < 0) == (listing_compare(y, x) > 0));
	maildir_own_uid(x, uids[0]);
	maildir_own_uid(y, uids[1]);
	CHECK((strcmp(uids[0], uids[1]) == 0) == (order == 0) ||
	      strlen(uids[0]) == HASH_OCTETS);
}

static void
check_order(const struct listing *list)
{
	const struct message *m = list->messages;

	for (size_t i = 0; i < list->total; i++)
		for (size_t j = 0; j < list->total; j++) {
			check_pair(
			    list->names + m[i].name, list->names + m[j].name);
			for (size_t k = 0; k < list->total; k++)
				CHECK(in_order(list, &m[i], &m[k]) ||
				      !in_order(list, &m[i], &m[j]) ||
				      !in_order(list, &m[j], &m[k]));
		}
}

/* Sorted: each name once, the last one, those that are gone behind the others;
 * and all are found. */
static void
check_search(const struct listing *list)
{
	struct listing all = {0};
	char absent[] = "0.nobody has this name";

	for (size_t i = 0; i < list->total; i++) {
		const struct message *m = &list->messages[i];

		CHECK(add(&all, list->names + m->name, m->in_cur, i) == 0);
		all.messages[i].is_there = i % 4 != 3;
	}
	CHECK(listing_sort(&all) == 0);
	for (size_t i = 0; i < all.total; i++) {
		const char *name = all.names + all.messages[i].name;
		size_t last = all.messages[i].inode;

		CHECK(all.messages[i].is_there == (i < all.count));
		CHECK(i == 0 || i >= all.count ||
		      !in_order(&all, &all.messages[i], &all.messages[i - 1]));
		CHECK((listing_search(&all, name) == &all.messages[i]) ==
		      (i < all.count));
		for (size_t j = last + 1; j < list->total; j++)
			CHECK(listing_compare(name,
				  list->names + list->messages[j].name) != 0);
	}
	CHECK(all.has_twins == (all.total < list->total));
	CHECK(listing_search(&all, absent) == NULL);
	listing_free(&all);
}

/* What QUIT makes of the name of a message that was retrieved. */
static void
check_seen(struct maildrop *m, size_t i)
{
	const char *name = maildir_name(m, i);
	char path[PATH_OCTETS + 8], again[PATH_OCTETS + 8];
	const char *flags = flags_of(name), *seen;
	size_t base = listing_base_octets(name);
	bool is_new = seen_name(m, i, path);

	CHECK(strncmp(path, "cur/", 4) == 0 && strchr(path + 4, '/') == NULL);
	CHECK(strncmp(path + 4, name, base) == 0);
	CHECK(listing_compare(path + 4, name) == 0);
	CHECK(is_new || m->list.messages[i].in_cur);
	seen = flags_of(path + 4);
	if (flags == NULL && name[base] != '\0') {
		CHECK(strcmp(path + 4, name) == 0); /* not ours to change */
	} else {
		CHECK(seen != NULL && strchr(seen, 'S') != NULL);
		CHECK(strlen(seen) <= (flags != NULL ? strlen(flags) : 0) + 1);
		for (; flags != NULL && *flags != '\0'; flags++)
			CHECK(strchr(seen, *flags) != NULL);
	}
	/* Once is enough. */
	CHECK(listing_rename(&m->list, &m->list.messages[i], path + 4, true) ==
	      0);
	CHECK(!seen_name(m, i, again) && strcmp(path, again) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static struct maildrop m;
	struct text text = {(const char *)data, octets}, part;

	while (fuzz_until(&text, '\n', &part) && m.list.total < NAMES_MOST) {
		char *name = fuzz_string(part);

		/* What a directory can hold, and is a message. */
		if (*name != '\0' && *name != '.' &&
		    strchr(name, '/') == NULL && strlen(name) <= NAME_MAX) {
			check_uid(name);
			CHECK(
			    add(&m.list, name, m.list.total % 3 == 0, 0) == 0);
		}
		free(name);
	}
	check_order(&m.list);
	check_search(&m.list);
	for (size_t i = 0; i < m.list.total; i++)
		check_seen(&m, i);
	listing_free(&m.list);
	return 0;
}
