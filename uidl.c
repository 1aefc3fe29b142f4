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

	return order != 0 ? order : (x->name > y->name) - (x->name < y->name);
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

/* The whole file, NUL-ended; NULL if there is none that can be read. */
static char *
read_file(int dir)
{
	int fd = openat(
	    dir, UIDL_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char *text = NULL;
	size_t octets = 0;
	struct stat st;
	ssize_t n = -1;

	if (fd == -1) {
		if (errno != ENOENT)
			log_error("cannot open", UIDL_NAME);
		return NULL;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= FILE_OCTETS_MOST)
		text = malloc((size_t)st.st_size + 1);
	while (text != NULL && octets < (size_t)st.st_size &&
	       (n = read(fd, text + octets, (size_t)st.st_size - octets)) > 0)
		octets += (size_t)n;
	if (text == NULL || (n == -1 && st.st_size > 0))
		log_error("cannot read", UIDL_NAME);
	(void)close(fd);
	if (text != NULL)
		text[octets] = '\0';
	return text;
}

/* Splits the text into entries; the name ends at the last blank. */
static void
parse(struct uidl *u)
{
	size_t lines = 1;
	char *line, *next, *blank;

	for (line = u->text; (line = strchr(line, '\n')) != NULL; line++)
		lines++;
	u->entries = calloc(lines, sizeof(*u->entries));
	if (u->entries == NULL) {
		log_error("cannot read", UIDL_NAME);
		return;
	}
	for (line = u->text; line != NULL; line = next) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		if (*line == '\0')
			continue;
		blank = strrchr(line, ' ');
		if (blank == NULL || blank == line || !is_uid(blank + 1)) {
			complain("not a name and a unique-id", line);
			continue;
		}
		*blank = '\0';
		line[maildir_base_octets(line)] = '\0';
		u->entries[u->count].name = line;
		u->entries[u->count++].uid = blank + 1;
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

void
uidl_load(struct uidl *u, int dir, const struct listing *list)
{
	size_t kept = 0;

	if (u->is_loaded)
		return;
	u->is_loaded = true;
	u->text = read_file(dir);
	if (u->text == NULL)
		return;
	parse(u);
	unite(u, by_uid, false);
	unite(u, by_name, true);
	for (size_t i = 0; i < u->count; i++) {
		const char *uid = u->entries[i].uid;

		if (strcmp(uid, u->entries[i].name) != 0 &&
		    maildir_search(list, uid) < list->count)
			complain("the unique-id of another message", uid);
		else
			u->entries[kept++] = u->entries[i];
	}
	u->count = kept;
}

const char *
uidl_find(const struct uidl *u, const char *name)
{
	size_t octets = maildir_base_octets(name), low = 0, high = u->count;

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
