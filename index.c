/* SPDX-License-Identifier: ISC */
/*
 * pop3d.index: what messages a Maildir held, and their sizes, so that an
 * unchanged one is not even listed.  Runs in the session, as the mailbox's
 * owner, who alone is deceived by what is forged in it: it is read, not
 * mapped; checksums find damage, and names are checked where they are used.
 *
 * Whoever writes holds the maildrop's lock.  A block is written before the
 * header that counts it, so that a torn write leaves the old state, or one
 * that no checksum fits.
 */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listing.h"

#define INDEX_NAME "pop3d.index"
#define INDEX_NEW "pop3d.index.new"

static const char magic[8] = "pop3dix1";

enum {
	ORDER = 0x01020304,
	BLOCKS_MOST = 32,
	/* A change of more than one part in so many is written as a whole. */
	CHANGE_PART = 8
};

/* A directory must have rested so long when it was listed: any later change
 * then shows in its times, however coarse they are. */
static const uint64_t settle_nsec = 2000000000;

/* A block: which of the messages so far are no more, in order, and which
 * come in, in order, and their names, each with its NUL. */
struct block {
	uint32_t removed, added;
	uint64_t names_octets;
	uint64_t sum; /* of all else */
};

struct entry {
	uint64_t octets, file_octets;
	uint32_t name, in_cur;
};

static uint64_t
checksum(const void *data, size_t octets, uint64_t sum)
{
	const char *p = data;
	uint64_t word;

	for (; octets > 0; p += sizeof(word)) {
		size_t part = octets < sizeof(word) ? octets : sizeof(word);

		word = 0;
		memcpy(&word, p, part);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15;
		sum ^= sum >> 32;
		octets -= part;
	}
	return sum;
}

static uint64_t
header_sum(const struct index_header *h)
{
	return checksum(h, offsetof(struct index_header, sum), 1);
}

void
index_open(struct index *x, int dir)
{
	struct index_header *h = &x->header;
	struct stat st;

	x->fd = openat(
	    dir, INDEX_NAME, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (x->fd == -1 && errno != ENOENT) /* it may be only to be read */
		x->fd = openat(dir, INDEX_NAME,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (x->fd != -1 && fstat(x->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid() && st.st_nlink == 1 &&
	    pread(x->fd, h, sizeof(*h), 0) == sizeof(*h) &&
	    memcmp(h->magic, magic, sizeof(magic)) == 0 && h->order == ORDER &&
	    h->sum == header_sum(h) && h->end >= sizeof(*h) &&
	    h->end <= (uint64_t)st.st_size && h->count <= UINT32_MAX &&
	    h->blocks <= BLOCKS_MOST)
		return;
	index_close(x);
}

void
index_discard(struct index *x, int dir)
{
	index_close(x);
	(void)unlinkat(dir, INDEX_NAME, 0);
}

void
index_close(struct index *x)
{
	if (x->fd != -1)
		(void)close(x->fd);
	x->fd = -1;
	memset(&x->header, 0, sizeof(x->header));
}

bool
index_is_fresh(
    const struct index *x, int i, const struct stamp *now, uint64_t now_nsec)
{
	const struct stamp *s = &x->header.stamps[i];
	uint64_t listed = x->header.listed_nsec;

	return x->fd != -1 && memcmp(s, now, sizeof(*s)) == 0 &&
	       listed > settle_nsec &&
	       s->modified_nsec <= listed - settle_nsec &&
	       s->changed_nsec <= listed - settle_nsec && listed <= now_nsec;
}

/* Takes the messages out that a block removes.  Their indices ascend. */
static bool
remove_messages(struct listing *list, const uint32_t *removed, size_t n)
{
	size_t kept = 0, next = 0;

	for (size_t i = 0; i < list->count; i++)
		if (next < n && removed[next] == i)
			next++;
		else
			list->messages[kept++] = list->messages[i];
	list->count = kept;
	return next == n;
}

/* Merges the entries that a block adds, whose names begin at `names`; from
 * the end, so that nothing need be copied twice. */
static bool
add_messages(
    struct listing *list, const struct entry *entries, size_t n, size_t names)
{
	size_t i = list->count, j = n;
	struct message *messages =
	    realloc(list->messages, (i + n + 1) * sizeof(*messages));

	if (messages == NULL)
		return false;
	list->messages = messages;
	list->room = i + n + 1;
	list->count += n;
	while (j > 0) {
		const struct entry *e = &entries[j - 1];
		struct message m = {.octets = e->octets,
		    .file_octets = e->file_octets,
		    .name = (uint32_t)(names + e->name),
		    .in_cur = e->in_cur != 0};

		listing_set_time(list, &m);
		while (i > 0 && listing_order(list, &messages[i - 1], &m) > 0) {
			messages[i + j - 1] = messages[i - 1];
			i--;
		}
		messages[i + j - 1] = m;
		j--;
	}
	return true;
}

/* Applies the block at `at` of the text; returns where the next one begins,
 * 0 if it is damaged. */
static size_t
apply_block(struct listing *list, const char *text, size_t octets, size_t at)
{
	const uint32_t *removed;
	const struct entry *entries;
	struct block block;
	size_t room = octets - at, names, end;
	uint64_t sum;

	if (room < sizeof(block))
		return 0;
	memcpy(&block, text + at, sizeof(block));
	room -= sizeof(block);
	/* Pairs of indices keep what follows aligned. */
	names = ((size_t)block.removed + 1) / 2 * sizeof(uint64_t) +
		(size_t)block.added * sizeof(struct entry);
	if (room < names || block.names_octets > room - names ||
	    block.names_octets % sizeof(uint64_t) != 0)
		return 0;
	end = at + sizeof(block) + names + block.names_octets;
	sum = checksum(&block, offsetof(struct block, sum), 1);
	sum =
	    checksum(text + at + sizeof(block), end - at - sizeof(block), sum);
	if (sum != block.sum || text[end - 1] != '\0')
		return 0;
	removed = (const void *)(text + at + sizeof(block));
	names += at + sizeof(block);
	entries = (const void *)(text + names -
				 (size_t)block.added * sizeof(struct entry));
	for (size_t i = 0; i < block.added; i++)
		if (entries[i].name >= block.names_octets)
			return 0;
	if (!remove_messages(list, removed, block.removed) ||
	    !add_messages(list, entries, block.added, names))
		return 0;
	return end;
}

int
index_load(const struct index *x, struct listing *list)
{
	const struct index_header *h = &x->header;
	size_t octets = h->end - sizeof(*h), at = 0;

	memset(list, 0, sizeof(*list));
	if (x->fd == -1 || octets > UINT32_MAX)
		return -1;
	/* The names stay where they are in the text. */
	list->names = malloc(octets + 1);
	if (list->names == NULL ||
	    pread(x->fd, list->names, octets, sizeof(*h)) != (ssize_t)octets)
		goto damaged;
	list->names_octets = list->names_room = octets;
	for (uint32_t i = 0; i < h->blocks; i++) {
		at = apply_block(list, list->names, octets, at);
		if (at == 0)
			goto damaged;
	}
	if (at != octets || list->count != h->count)
		goto damaged;
	for (size_t i = 0; i < list->count; i++)
		list->messages[i].stored = (uint32_t)i;
	list->has_twins = h->has_twins != 0;
	return 0;
damaged:
	listing_free(list);
	return -1;
}

/* What a save would write. */
struct change {
	struct block block;
	uint32_t *removed;
	struct entry *entries;
	char *names;
};

static void
free_change(struct change *c)
{
	free(c->removed);
	free(c->entries);
	free(c->names);
}

/* Collects what has changed since `stored` messages were stored; with
 * `stored` 0, everything.  0, or -1 with errno. */
static int
collect(struct change *c, const struct listing *list, size_t stored)
{
	size_t next = 0, names = 0;

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < list->count; i++)
		names += strlen(list->names + list->messages[i].name) + 1;
	c->removed = calloc(stored + 2, sizeof(*c->removed));
	c->entries = calloc(list->count + 1, sizeof(*c->entries));
	c->names = calloc(names + sizeof(uint64_t), 1);
	if (c->removed == NULL || c->entries == NULL || c->names == NULL)
		return -1;
	names = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct message *m = &list->messages[i];
		const char *name = list->names + m->name;
		struct entry *e = &c->entries[c->block.added];

		if (m->is_gone)
			continue;
		if (m->stored != NOT_STORED && m->stored < stored) {
			while (next < m->stored)
				c->removed[c->block.removed++] =
				    (uint32_t)next++;
			next++;
			continue;
		}
		*e = (struct entry){
		    m->octets, m->file_octets, (uint32_t)names, m->in_cur};
		memcpy(c->names + names, name, strlen(name) + 1);
		names += strlen(name) + 1;
		c->block.added++;
	}
	while (next < stored)
		c->removed[c->block.removed++] = (uint32_t)next++;
	c->block.names_octets =
	    (names + sizeof(uint64_t)) / sizeof(uint64_t) * sizeof(uint64_t);
	return 0;
}

static bool
put(int fd, const void *data, size_t octets, uint64_t *at)
{
	const char *p = data;

	while (octets > 0) {
		ssize_t n = pwrite(fd, p, octets, (off_t)*at);

		if (n <= 0)
			return false;
		p += n;
		*at += (uint64_t)n;
		octets -= (size_t)n;
	}
	return true;
}

/* Writes the change at h->end, then the header that counts it. */
static bool
write_change(int fd, struct change *c, struct index_header *h)
{
	struct block *b = &c->block;
	const struct {
		const void *data;
		size_t octets;
	} parts[] = {
	    {c->removed, ((size_t)b->removed + 1) / 2 * sizeof(uint64_t)},
	    {c->entries, b->added * sizeof(*c->entries)},
	    {c->names, b->names_octets},
	};
	uint64_t start = 0;

	if (b->removed + b->added > 0) {
		b->sum = checksum(b, offsetof(struct block, sum), 1);
		for (int i = 0; i < 3; i++)
			b->sum =
			    checksum(parts[i].data, parts[i].octets, b->sum);
		if (!put(fd, b, sizeof(*b), &h->end))
			return false;
		for (int i = 0; i < 3; i++)
			if (!put(fd, parts[i].data, parts[i].octets, &h->end))
				return false;
		h->blocks++;
	}
	h->sum = header_sum(h);
	return put(fd, h, sizeof(*h), &start);
}

/* The whole file anew, and atomically. */
static bool
write_anew(struct index *x, int dir, const struct listing *list,
    struct index_header *h)
{
	struct change change;
	bool is_written;
	int fd;

	/* Whatever a killed session, or somebody, has left there. */
	(void)unlinkat(dir, INDEX_NEW, 0);
	fd = openat(dir, INDEX_NEW,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return false;
	h->end = sizeof(*h);
	h->blocks = 0;
	is_written = collect(&change, list, 0) == 0 &&
		     write_change(fd, &change, h) &&
		     renameat(dir, INDEX_NEW, dir, INDEX_NAME) == 0;
	free_change(&change);
	if (!is_written) {
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
index_save(struct index *x, int dir, struct listing *list,
    const struct index_header *now)
{
	struct index_header h = *now;
	struct change change;
	size_t changes, stored = x->fd != -1 ? x->header.count : 0;
	bool is_written = false;

	memcpy(h.magic, magic, sizeof(magic));
	h.order = ORDER;
	h.blocks = x->header.blocks;
	h.end = x->header.end;
	h.count = h.octets = h.unsized = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct message *m = &list->messages[i];

		if (m->is_gone)
			continue;
		h.count++;
		if (m->octets == OCTETS_UNKNOWN)
			h.unsized++;
		else
			h.octets += m->octets;
	}
	if (x->fd != -1 && collect(&change, list, stored) == 0) {
		changes = (size_t)change.block.removed + change.block.added;
		h.sum = header_sum(&h);
		if (changes == 0 && h.sum == x->header.sum)
			is_written = true;
		else if (changes * CHANGE_PART <= stored &&
			 h.blocks < BLOCKS_MOST)
			is_written = write_change(x->fd, &change, &h);
	}
	if (x->fd != -1)
		free_change(&change);
	if (!is_written && !write_anew(x, dir, list, &h)) {
		/* What may be half written is not to be added to. */
		index_close(x);
		return;
	}
	x->header = h;
	stored = 0;
	for (size_t i = 0; i < list->count; i++)
		if (!list->messages[i].is_gone)
			list->messages[i].stored = (uint32_t)stored++;
}
