/* SPDX-License-Identifier: ISC */
/*
 * Unique-ids from a former server, which pop3d.uidl in the Maildir keeps, so
 * that no client fetches everything anew.  Runs in the session, as the
 * mailbox's owner, who may have written anything into that file.
 */
#include "uidl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "maildir.h"

#define UIDL_NAME "pop3d.uidl"

enum { FILE_OCTETS_MOST = 256 * 1024 * 1024 };

struct uidl_entry {
	const char *name, *uid;
};

static int
by_name(const void *a, const void *b)
{
	const struct uidl_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	/* Of two the first in the file comes first. */
	return order != 0 ? order : (x->uid > y->uid) - (x->uid < y->uid);
}

static int
by_uid(const void *a, const void *b)
{
	const struct uidl_entry *x = a, *y = b;
	int order = strcmp(x->uid, y->uid);

	return order != 0 ? order : (x->uid > y->uid) - (x->uid < y->uid);
}

static int
same_uid(const void *a, const void *b)
{
	const struct uidl_entry *x = a, *y = b;

	return strcmp(x->uid, y->uid);
}

static void
complain(const char *what, const char *entry)
{
	log_event("error what=%s path=%s entry=%s", what, UIDL_NAME, entry);
}

/* RFC 1939 section 7: one to 70 octets from 0x21 to 0x7E. */
static bool
is_uid(const char *uid)
{
	size_t octets = strlen(uid);

	for (size_t i = 0; i < octets; i++)
		if (uid[i] < 0x21 || uid[i] > 0x7e)
			return false;
	return octets >= 1 && octets <= UID_OCTETS;
}

/* Reads the whole file into u->text, with a NUL behind it.  Returns its
 * octets; 0 if there is none that can be read. */
static size_t
read_file(struct uidl *u, int dir)
{
	int fd = openat(
	    dir, UIDL_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t octets = 0;
	struct stat st = {0};
	ssize_t n = 0;

	if (fd == -1 && errno == ENOENT)
		return 0;
	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= FILE_OCTETS_MOST)
		u->text = malloc((size_t)st.st_size + 1);
	while (u->text != NULL && (n = read(fd, u->text + octets,
				       (size_t)st.st_size - octets)) > 0)
		octets += (size_t)n;
	if (u->text == NULL || n == -1)
		log_error("cannot read", UIDL_NAME);
	if (fd != -1)
		(void)close(fd);
	return octets;
}

/* Makes one line, of that many octets, an entry; the name ends at the last
 * blank. */
static bool
parse_line(struct uidl *u, char *line, size_t octets)
{
	char *blank;

	line[octets] = '\0';
	blank = strrchr(line, ' ');
	if (strlen(line) != octets || blank == NULL || blank == line ||
	    !is_uid(blank + 1))
		return false;
	*blank = '\0';
	line[listing_base_octets(line)] = '\0';
	u->entries[u->count].name = line;
	u->entries[u->count++].uid = blank + 1;
	return true;
}

static void
parse(struct uidl *u, size_t octets)
{
	size_t lines = 1;

	for (size_t i = 0; i < octets; i++)
		lines += u->text[i] == '\n';
	u->entries = calloc(lines, sizeof(*u->entries));
	for (size_t at = 0; at < octets && u->entries != NULL;) {
		char *line = u->text + at;
		const char *lf = memchr(line, '\n', octets - at);
		size_t length = lf != NULL ? (size_t)(lf - line) : octets - at;

		if (length > 0 && !parse_line(u, line, length))
			complain("not a name and a unique-id", line);
		at += length + 1;
	}
}

/* Sorts, and removes all but the first of equals. */
static void
unite(struct uidl *u, int (*compare)(const void *, const void *), bool is_name)
{
	size_t kept = 0;

	if (u->count > 0)
		qsort(u->entries, u->count, sizeof(*u->entries), compare);
	for (size_t i = 0; i < u->count; i++) {
		const struct uidl_entry *e = &u->entries[i];
		const struct uidl_entry *last = &u->entries[kept - (kept > 0)];

		if (kept > 0 && strcmp(is_name ? e->name : e->uid,
				    is_name ? last->name : last->uid) == 0)
			complain("given twice", is_name ? e->name : e->uid);
		else
			u->entries[kept++] = *e;
	}
	u->count = kept;
}

/* Removes entries, sorted by unique-id, whose unique-id another message has
 * by its own name. */
static void
refuse_taken(struct uidl *u, const struct listing *list)
{
	char own[UID_OCTETS + 1];
	struct uidl_entry key = {"", own}, *e;
	size_t kept = 0;

	for (size_t i = 0; i < list->count && u->count > 0; i++) {
		const char *name = list->names + list->messages[i].name;

		maildir_own_uid(name, own);
		e = bsearch(&key, u->entries, u->count, sizeof(*e), same_uid);
		if (e == NULL || e->name == NULL ||
		    (strncmp(e->name, name, strlen(e->name)) == 0 &&
			listing_base_octets(name) == strlen(e->name)))
			continue;
		complain("the unique-id of another message", own);
		e->name = NULL;
	}
	for (size_t i = 0; i < u->count; i++)
		if (u->entries[i].name != NULL)
			u->entries[kept++] = u->entries[i];
	u->count = kept;
}

void
uidl_load(struct uidl *u, int dir, const struct listing *list)
{
	size_t octets;

	if (u->is_loaded)
		return;
	u->is_loaded = true;
	octets = read_file(u, dir);
	if (octets == 0)
		return;
	parse(u, octets);
	unite(u, by_uid, false);
	refuse_taken(u, list);
	unite(u, by_name, true);
}

const char *
uidl_find(const struct uidl *u, const char *name)
{
	size_t octets = listing_base_octets(name), low = 0, high = u->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *candidate = u->entries[middle].name;
		int order = strncmp(candidate, name, octets);

		if (order == 0)
			order = candidate[octets] != '\0';
		if (order == 0)
			return u->entries[middle].uid;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
