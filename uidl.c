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

struct entry {
	const char *name, *uid;
};

static int
by_uid(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

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

/* Reads the whole file, with a NUL behind it; *text is NULL if there is none
 * that may be read.  0, or -1 if it may be another time. */
static int
read_file(int dir, char **text, size_t *octets)
{
	struct stat st;
	ssize_t n = -1;
	int fd = listing_open(dir, UIDL_NAME, O_RDONLY, &st), error;

	*text = NULL;
	if (fd == -1 && errno == ENOENT)
		return 0;
	if (fd != -1 && st.st_size > FILE_OCTETS_MOST)
		errno = EPERM;
	else if (fd != -1)
		*text = malloc((size_t)st.st_size + 1);
	if (*text != NULL)
		n = pread(fd, *text, (size_t)st.st_size, 0);
	error = n == -1 ? errno : 0;
	if (n == -1) {
		log_error("cannot read", UIDL_NAME);
		free(*text);
		*text = NULL;
	}
	if (fd != -1)
		(void)close(fd);
	*octets = n == -1 ? 0 : (size_t)n;
	return error == 0 || error == EPERM || error == ELOOP ||
		       error == EACCES || error == ENXIO
		   ? 0
		   : -1;
}

/* Makes entries of the lines; returns their number.  A name ends at the last
 * blank. */
static size_t
parse(char *text, struct entry *entries)
{
	char *line, *blank;
	size_t count = 0;

	while ((line = strsep(&text, "\n")) != NULL) {
		blank = strrchr(line, ' ');
		if (blank != NULL && blank != line && is_uid(blank + 1)) {
			*blank = '\0';
			entries[count++] = (struct entry){line, blank + 1};
		} else if (*line != '\0')
			complain("not a name and a unique-id", line);
	}
	return count;
}

/* Sorts by unique-id, and removes all but the first of equals. */
static size_t
unite(struct entry *entries, size_t count)
{
	size_t kept = 0;

	if (count > 0)
		qsort(entries, count, sizeof(*entries), by_uid);
	for (size_t i = 0; i < count; i++) {
		struct entry *last = &entries[kept - (kept > 0)];

		if (kept == 0 || by_uid(last, &entries[i]) != 0) {
			entries[kept++] = entries[i];
			continue;
		}
		complain("given twice", last->uid);
		if (entries[i].uid < last->uid)
			*last = entries[i];
	}
	return kept;
}

/* Takes the names off entries, sorted by unique-id, whose unique-id another
 * message has by its own name. */
static void
refuse_taken(struct entry *entries, size_t count, const struct listing *list)
{
	char own[UID_OCTETS + 1];
	struct entry key = {"", own}, *e;

	for (size_t i = 0; i < list->count && count > 0; i++) {
		struct message *m = &list->messages[i];

		maildir_own_uid(list->names + m->name, own);
		e = bsearch(&key, entries, count, sizeof(*e), by_uid);
		if (e == NULL || e->name == NULL ||
		    listing_search(list, e->name) == m)
			continue;
		complain("the unique-id of another message", own);
		e->name = NULL;
	}
}

int
uidl_load(int dir, const struct listing *list, const char ***uids)
{
	struct entry *entries;
	size_t octets, count, lines = 1;
	char *text;
	int result = read_file(dir, &text, &octets);

	*uids = NULL;
	if (text == NULL)
		return result;
	for (size_t i = 0; i < octets; i++) {
		lines += text[i] == '\n';
		if (text[i] == '\0') /* nothing ends there */
			text[i] = '\177';
	}
	text[octets] = '\0';
	entries = calloc(lines, sizeof(*entries));
	*uids = calloc(list->count + 1, sizeof(**uids));
	if (entries == NULL || *uids == NULL) {
		log_error("cannot read", UIDL_NAME);
		free(text);
		free(entries);
		free(*uids);
		*uids = NULL;
		return -1;
	}
	count = unite(entries, parse(text, entries));
	refuse_taken(entries, count, list);
	for (size_t i = 0; i < count; i++) {
		const struct entry *e = &entries[i];
		const struct message *m = NULL;
		const char **uid;

		if (e->name != NULL)
			m = listing_search(list, e->name);
		if (m == NULL)
			continue;
		uid = &(*uids)[m - list->messages];
		if (*uid != NULL)
			complain("given twice", e->name);
		/* The first in the file counts. */
		if (*uid == NULL || e->uid < *uid)
			*uid = e->uid;
	}
	free(entries);
	return 0;
}
