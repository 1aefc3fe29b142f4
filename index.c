/* SPDX-License-Identifier: ISC */
/*
 * pop3d.index: what messages a Maildir held, and their sizes, so that an
 * unchanged one is not even listed.  Runs in the session, as the mailbox's
 * owner, who alone is deceived by what is forged in it: it is read, not
 * mapped; checksums find damage, and names are checked where they are used.
 *
 * Whoever writes holds the maildrop's lock.  Records are written before the
 * header that has their checksum, so that a torn write, in whatever order it
 * reached the disk, leaves the old state, or one that no checksum fits.
 */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INDEX_NAME "pop3d.index"
#define INDEX_NEW "pop3d.index.new"

static const uint64_t magic = 0x3278696433706f70; /* "pop3dix2" or the like */

/* A directory must have rested so long when it was listed: any later change
 * then shows in its times, however coarse they are. */
static const uint64_t settle_nsec = 2000000000;

/* A message, or one that is no more; of several records with one name up to
 * its flags the last counts. */
struct record {
	uint64_t octets, file_octets;
	uint16_t length; /* of the record, with NULs up to a multiple of 8 */
	uint8_t is_there, in_cur;
	char name[];
};

enum {
	RECORD_OCTETS = sizeof(struct record) + NAME_MAX + 9, /* at most */
	/* It is read and written by so much at a time. */
	PART_OCTETS = 65536,
	/* It is written anew once more than one part in so many is new. */
	CHANGE_PART = 8
};

static uint64_t
checksum(const void *data, size_t octets, uint64_t sum)
{
	const char *p = data;
	uint64_t word;

	for (; octets >= sizeof(word); octets -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15;
		sum ^= sum >> 32;
		p += sizeof(word);
	}
	return sum;
}

static uint64_t
header_sum(const struct index_header *h)
{
	return checksum(h, offsetof(struct index_header, sum), 1);
}

void
index_open(struct index *x, int dir, uint64_t now_nsec)
{
	struct index_header *h = &x->header;
	struct stat st;

	x->fd = listing_open(dir, INDEX_NAME, O_RDWR, &st);
	if (x->fd == -1 && errno != ENOENT) /* it may be only to be read */
		x->fd = listing_open(dir, INDEX_NAME, O_RDONLY, &st);
	if (x->fd == -1 || st.st_uid != geteuid() || st.st_nlink != 1 ||
	    pread(x->fd, h, sizeof(*h), 0) != sizeof(*h) || h->magic != magic ||
	    h->sum != header_sum(h) || h->end < sizeof(*h) ||
	    h->end > (uint64_t)st.st_size ||
	    h->count > (h->end - sizeof(*h)) / sizeof(struct record))
		index_close(x);
	for (int i = 0; i < 2; i++) {
		uint64_t settled = h->listed_nsec - settle_nsec;
		struct stamp *s = &h->stamps[i];

		if (h->is_stale || h->listed_nsec > now_nsec ||
		    h->listed_nsec < settle_nsec ||
		    s->modified_nsec > settled || s->changed_nsec > settled)
			memset(s, 0, sizeof(*s));
	}
}

void
index_close(struct index *x)
{
	if (x->fd != -1)
		(void)close(x->fd);
	x->fd = -1;
	memset(&x->header, 0, sizeof(x->header));
}

/* Makes messages of the records at *at, as far as they have been read. */
static bool
parse(struct listing *list, size_t *at)
{
	size_t left;

	while ((left = list->names_octets - *at) >= sizeof(struct record)) {
		const struct record *r = (const void *)(list->names + *at);
		struct message *m;

		if (r->length < sizeof(*r) || r->length > RECORD_OCTETS ||
		    r->length % sizeof(uint64_t) != 0)
			return false;
		if (r->length > left)
			return true;
		/* The names stay where they are in the text. */
		m = listing_add(list, *at + offsetof(struct record, name));
		if (m == NULL || list->names[*at + r->length - 1] != '\0')
			return false;
		m->time = listing_time(r->name);
		m->octets = r->octets;
		m->file_octets = r->file_octets;
		m->in_cur = r->in_cur != 0;
		m->is_there = r->is_there != 0;
		m->is_stored = true;
		*at += r->length;
	}
	return true;
}

int
index_load(const struct index *x, struct listing *list)
{
	const struct index_header *h = &x->header;
	uint64_t sum = 1;
	size_t at = 0, part;

	listing_free(list);
	/* Memory is taken as records turn up, not as the header says. */
	for (uint64_t left = h->end - sizeof(*h); x->fd != -1 && left > 0;
	     left -= part) {
		char *text;

		part = left < PART_OCTETS ? (size_t)left : PART_OCTETS;
		text = listing_room(list, part);
		if (text == NULL ||
		    pread(x->fd, text, part, (off_t)(h->end - left)) !=
			(ssize_t)part)
			break;
		list->names_octets += part;
		sum = checksum(text, part, sum);
		if (!parse(list, &at))
			break;
	}
	if (x->fd != -1 && sizeof(*h) + at == h->end && sum == h->records_sum &&
	    listing_sort(list) == 0 && list->count == h->count) {
		list->total = list->count;
		list->has_twins = h->has_twins != 0;
		return 0;
	}
	listing_free(list);
	return -1;
}

static bool
put(int fd, const void *data, size_t octets, struct index_header *h)
{
	if (pwrite(fd, data, octets, (off_t)h->end) != (ssize_t)octets)
		return false;
	h->records_sum = checksum(data, octets, h->records_sum);
	h->end += octets;
	return true;
}

/* Whether the index does not say what is true of a message. */
static bool
is_new(const struct message *m)
{
	return m->is_there != m->is_stored || (m->is_there && m->is_changed);
}

/* Writes at h->end what is not stored yet, or all that is there; then the
 * header. */
static bool
write_records(
    int fd, const struct listing *list, bool is_all, struct index_header *h)
{
	static _Alignas(struct record) char buffer[PART_OCTETS];
	size_t used = 0, octets;

	for (size_t i = 0; i < list->total; i++) {
		const struct message *m = &list->messages[i];
		const char *name = list->names + m->name;
		struct record *r = (void *)(buffer + used);

		if (!(is_all ? m->is_there : is_new(m)))
			continue;
		memset(r, 0, RECORD_OCTETS);
		r->octets = m->octets;
		r->file_octets = m->file_octets;
		r->in_cur = m->in_cur;
		r->is_there = m->is_there;
		octets = strnlen(name, NAME_MAX + 8);
		memcpy(r->name, name, octets);
		r->length = (uint16_t)((offsetof(struct record, name) + octets +
					   sizeof(uint64_t)) /
				       sizeof(uint64_t) * sizeof(uint64_t));
		used += r->length;
		if (used > sizeof(buffer) - RECORD_OCTETS) {
			if (!put(fd, buffer, used, h))
				return false;
			used = 0;
		}
	}
	if (!put(fd, buffer, used, h))
		return false;
	h->sum = header_sum(h);
	return pwrite(fd, h, sizeof(*h), 0) == sizeof(*h);
}

/* The whole file anew, and atomically. */
static bool
write_anew(struct index *x, int dir, const struct listing *list,
    struct index_header *h)
{
	struct stat st;
	int fd;

	/* Whatever a killed session, or somebody, has left there. */
	(void)unlinkat(dir, INDEX_NEW, 0);
	fd = listing_open(dir, INDEX_NEW, O_RDWR | O_CREAT | O_EXCL, &st);
	if (fd == -1)
		return false;
	h->end = sizeof(*h);
	h->room = h->count / CHANGE_PART;
	h->records_sum = 1;
	if (!write_records(fd, list, true, h) ||
	    renameat(dir, INDEX_NEW, dir, INDEX_NAME) == -1) {
		(void)close(fd);
		(void)unlinkat(dir, INDEX_NEW, 0);
		return false;
	}
	if (x->fd != -1)
		(void)close(x->fd);
	x->fd = fd;
	return true;
}

void
index_save(struct index *x, int dir, struct listing *list)
{
	struct index_header h = x->header;
	size_t changes = 0;
	bool is_written = false;

	h.magic = magic;
	h.count = h.octets = h.unsized = 0;
	h.has_twins = list->has_twins;
	for (size_t i = 0; i < list->total; i++) {
		const struct message *m = &list->messages[i];

		changes += is_new(m);
		h.count += m->is_there;
		if (!m->is_there)
			continue;
		if (m->octets == OCTETS_UNKNOWN)
			h.unsized++;
		else
			h.octets += m->octets;
	}
	if (x->fd != -1 && changes == 0 && header_sum(&h) == h.sum)
		return;
	if (x->fd != -1 && changes <= h.room) {
		h.room -= changes;
		is_written = write_records(x->fd, list, false, &h);
	}
	if (!is_written && !write_anew(x, dir, list, &h)) {
		/* What may be half written is not to be added to. */
		if (x->fd != -1)
			(void)close(x->fd);
		x->fd = -1;
		return;
	}
	x->header = h;
	for (size_t i = 0; i < list->total; i++) {
		list->messages[i].is_stored = list->messages[i].is_there;
		list->messages[i].is_changed = false;
	}
}
