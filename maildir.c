/* SPDX-License-Identifier: ISC */
/*
 * The maildrop: a snapshot of a Maildir, in which other programs deliver,
 * rename and delete all the time.  Runs in the session, as the mailbox's
 * owner.  All is opened below one directory descriptor, and no link is
 * followed.
 */
#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "stream.h"

enum {
	PATH_OCTETS = 4 + NAME_MAX + 1, /* "new/" and a name */
	/* A message that others keep renaming is looked for so often. */
	FIND_TRIES = 10,
	/* While messages are counted, the index is written so often. */
	SAVE_MSEC = 10000
};

/* Which directories a listing leaves out, where it is of both. */
static const bool none[2] = {false, false};

/* The directories have changed since they were listed: the next session has
 * to list them. */
static void
distrust(struct maildrop *m)
{
	memset(m->now.stamps, 0, sizeof(m->now.stamps));
	m->is_changed = true;
}

/* The listing was made anew: what is known of a message's size is kept. */
static void
keep_size(struct listing *list, struct message *m, const struct listing *other,
    const struct message *n)
{
	bool is_same =
	    m->in_cur == n->in_cur &&
	    strcmp(list->names + m->name, other->names + n->name) == 0;

	/* Of twins it may be another file. */
	if (m->octets != OCTETS_UNKNOWN ||
	    (!is_same && (list->has_twins || other->has_twins)))
		return;
	m->octets = n->octets;
	m->file_octets = n->file_octets;
	if (is_same)
		m->stored = n->stored;
}

/* Lists the Maildir, but for what the index knows of a directory that is as
 * it was.  0, or -1 with errno. */
static int
make_listing(struct maildrop *m, const bool is_fresh[2])
{
	bool keep[2] = {is_fresh[0], is_fresh[1]};
	struct listing old;

	memset(&m->list, 0, sizeof(m->list));
	if (index_load(&m->index, &old) == -1) {
		/* What is there is worth nothing. */
		index_close(&m->index);
		keep[0] = keep[1] = false;
	}
	/* Of twins the index has only one, which may lie in the other. */
	if (old.has_twins)
		keep[0] = keep[1] = false;
	for (size_t i = 0; i < old.count; i++)
		if (keep[old.messages[i].in_cur] &&
		    listing_copy(&m->list, &old, &old.messages[i]) == -1)
			goto fail;
	if (listing_read(&m->list, m->dir, keep, m->stamps, &m->is_quiet) == -1)
		goto fail;
	for (int i = 0; i < 2; i++) {
		if (!keep[i] ||
		    memcmp(&m->stamps[i], &m->index.header.stamps[i],
			sizeof(m->stamps[i])) == 0)
			continue;
		/* It has changed since it was looked at. */
		listing_free(&m->list);
		listing_free(&old);
		return make_listing(m, none);
	}
	listing_unite(&m->list);
	listing_match(&m->list, &old, keep_size);
	listing_free(&old);
	m->count = m->list.count;
	m->is_loaded = m->is_changed = true;
	m->now.has_twins = m->list.has_twins;
	memset(m->now.stamps, 0, sizeof(m->now.stamps));
	if (m->is_quiet)
		memcpy(m->now.stamps, m->stamps, sizeof(m->stamps));
	return 0;
fail:
	listing_free(&old);
	return -1;
}

int
maildir_open(struct maildrop *m, const char *ip, char *holder)
{
	bool is_fresh[2];

	holder[0] = '\0';
	m->saved_msec = now_msec();
	if (lock_take(&m->lock, m->dir, holder) == -1 ||
	    listing_stamp(m->dir, m->stamps) == -1)
		return -1;
	/* The file system's own clock, where it can be had. */
	m->now.listed_nsec = lock_sign(&m->lock, ip);
	if (m->now.listed_nsec == 0)
		m->now.listed_nsec = listing_clock();
	index_open(&m->index, m->dir);
	for (int i = 0; i < 2; i++)
		is_fresh[i] = index_is_fresh(
		    &m->index, i, &m->stamps[i], m->now.listed_nsec);
	if (!is_fresh[0] || !is_fresh[1])
		return make_listing(m, is_fresh);
	m->now = m->index.header;
	m->count = m->now.count;
	m->is_quiet = true;
	return 0;
}

int
maildir_load(struct maildrop *m)
{
	struct stamp stamps[2];
	size_t count = m->count;

	if (m->is_loaded)
		return 0;
	if (index_load(&m->index, &m->list) == 0) {
		m->is_loaded = true;
		return 0;
	}
	/* Damage behind the header: list after all.  The client knows the
	 * count of messages; it must be the same ones. */
	index_discard(&m->index, m->dir);
	memcpy(stamps, m->stamps, sizeof(stamps));
	if (make_listing(m, none) == -1)
		return -1;
	if (m->count == count && listing_same_stamps(stamps, m->stamps))
		return 0;
	m->is_loaded = m->is_changed = false;
	errno = EIO;
	return -1;
}

/* Message m of the snapshot is message n now. */
static void
note_name(struct listing *list, struct message *m, const struct listing *other,
    const struct message *n)
{
	const char *name = other->names + n->name;
	int64_t place = m->name;

	if (strcmp(list->names + m->name, name) != 0)
		place = listing_add_name(list, name);
	if (place == -1)
		return;
	if (m->in_cur != n->in_cur || m->name != (uint32_t)place)
		m->stored = NOT_STORED;
	m->in_cur = n->in_cur;
	m->name = (uint32_t)place;
}

/* Notes where messages are now that were renamed since the listing was made.
 * 0 if message idx is among them, or may be, since a busy directory can hide
 * it; or -1 with errno, ENOENT if it is gone. */
static int
find_again(struct maildrop *m, size_t idx)
{
	struct listing now = {0};
	struct stamp stamps[2];
	bool is_found;

	errno = ENOENT;
	if (m->is_quiet && listing_stamp(m->dir, stamps) == 0 &&
	    listing_same_stamps(stamps, m->stamps))
		return -1;
	if (listing_read(&now, m->dir, none, m->stamps, &m->is_quiet) == -1)
		return -1;
	listing_unite(&now);
	m->list.has_twins |= now.has_twins;
	listing_match(&m->list, &now, note_name);
	is_found = listing_search(&now, maildir_name(m, idx)) < now.count;
	listing_free(&now);
	distrust(m);
	errno = ENOENT;
	return is_found || !m->is_quiet ? 0 : -1;
}

/* After a call on message idx failed: whether to try it again, since the
 * message has another name now.  Sets errno to EAGAIN where others rename it
 * faster than it can be found. */
static bool
is_elsewhere(struct maildrop *m, size_t idx, unsigned *tries)
{
	if (errno != ENOENT)
		return false;
	if (++*tries > FIND_TRIES) {
		errno = EAGAIN;
		return false;
	}
	return find_again(m, idx) == 0;
}

static void
save(struct maildrop *m)
{
	index_save(&m->index, m->dir, &m->list, &m->now);
	m->is_changed = false;
	m->saved_msec = now_msec();
}

const char *
maildir_name(const struct maildrop *m, size_t idx)
{
	return m->list.names + m->list.messages[idx].name;
}

static const char *
path_of(const struct maildrop *m, size_t idx, char path[PATH_OCTETS])
{
	const char *name = maildir_name(m, idx);

	/* An index may have been forged: nothing but a message's name. */
	if (*name == '.' || strchr(name, '/') != NULL)
		name = "";
	(void)snprintf(path, PATH_OCTETS, "%s/%s",
	    directories[m->list.messages[idx].in_cur], name);
	return path;
}

/* FNV-1a of 128 bits: the offset basis, and a prime of 2^88 + 0x13b. */
static void
hash_name(const char *name, size_t octets, char uid[UID_OCTETS + 1])
{
	uint64_t high = 0x6c62272e07bb0142, low = 0x62b821756295c58d;

	for (size_t i = 0; i < octets; i++) {
		uint64_t carry;

		low ^= (unsigned char)name[i];
		carry =
		    ((low & UINT32_MAX) * 0x13b >> 32) + (low >> 32) * 0x13b;
		high = high * 0x13b + (carry >> 32) + (low << 24);
		low *= 0x13b;
	}
	(void)snprintf(uid, UID_OCTETS + 1, "%016llx%016llx",
	    (unsigned long long)high, (unsigned long long)low);
}

void
maildir_own_uid(const char *name, char uid[UID_OCTETS + 1])
{
	size_t i;

	/* Copied while it is looked at; the first odd octet, or one too many,
	 * ends it early. */
	for (i = 0; i < UID_OCTETS && name[i] >= 0x21 && name[i] <= 0x7e &&
		    name[i] != ':';
	     i++)
		uid[i] = name[i];
	uid[i] = '\0';
	if (i == 0 || (name[i] != '\0' && name[i] != ':'))
		hash_name(name, listing_base_octets(name), uid);
}

void
maildir_uid(struct maildrop *m, size_t idx, char uid[UID_OCTETS + 1])
{
	const char *given = NULL;

	uidl_load(&m->uidl, m->dir, &m->list);
	if (m->uidl.count > 0)
		given = uidl_find(&m->uidl, maildir_name(m, idx));
	if (given != NULL)
		(void)snprintf(uid, UID_OCTETS + 1, "%s", given);
	else
		maildir_own_uid(maildir_name(m, idx), uid);
}

int
maildir_open_message(struct maildrop *m, size_t idx, struct stat *st)
{
	char path[PATH_OCTETS];
	unsigned tries = 0;
	int fd;

	do
		fd = openat(m->dir, path_of(m, idx, path),
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	while (fd == -1 && is_elsewhere(m, idx, &tries));
	if (fd == -1)
		return -1;
	if (fstat(fd, st) == -1 || !S_ISREG(st->st_mode)) {
		(void)close(fd);
		errno = EPERM;
		return -1;
	}
	return fd;
}

void
maildir_set_octets(
    struct maildrop *m, size_t idx, uint64_t octets, const struct stat *st)
{
	struct message *message = &m->list.messages[idx];

	message->octets = octets;
	message->file_octets = (uint64_t)st->st_size;
	message->stored = NOT_STORED;
	m->is_changed = true;
}

uint64_t
maildir_octets(struct maildrop *m, size_t idx)
{
	struct message *message = &m->list.messages[idx];
	struct wire wire = {0};
	char path[PATH_OCTETS];
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (message->octets != OCTETS_UNKNOWN)
		return message->octets;
	fd = maildir_open_message(m, idx, &st);
	if (fd == -1 && fstatat(m->dir, path_of(m, idx, path), &st,
			    AT_SYMLINK_NOFOLLOW) == -1)
		return 0;
	if (fd != -1) {
		while ((n = read(fd, m->buffer, sizeof(m->buffer))) > 0)
			wire_count(&wire, m->buffer, (size_t)n);
		(void)close(fd);
	}
	wire_count_end(&wire);
	if (n != 0) /* it may be readable another time */
		return (uint64_t)st.st_size;
	maildir_set_octets(m, idx, wire.octets, &st);
	if (now_msec() - m->saved_msec > SAVE_MSEC)
		save(m);
	return message->octets;
}

static int
compare_places(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Counts all that is not counted yet, in the order of inodes, which is kind to
 * a disk: in that of names a first count is all seeks. */
static void
count_all(struct maildrop *m)
{
	uint64_t *places = calloc(m->count + 1, sizeof(*places));
	size_t n = 0;

	for (size_t i = 0; i < m->count && places != NULL; i++)
		if (m->list.messages[i].octets == OCTETS_UNKNOWN)
			places[n++] =
			    (uint64_t)m->list.messages[i].inode << 32 | i;
	if (n > 1)
		qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 0; i < n; i++)
		(void)maildir_octets(m, (size_t)(places[i] & UINT32_MAX));
	free(places);
}

int
maildir_total(struct maildrop *m, uint64_t *octets)
{
	*octets = m->now.octets;
	if (!m->is_loaded && m->now.unsized == 0)
		return 0;
	if (maildir_load(m) == -1)
		return -1;
	count_all(m);
	*octets = 0;
	for (size_t i = 0; i < m->count; i++)
		if (!m->list.messages[i].is_deleted)
			*octets += maildir_octets(m, i);
	return 0;
}

/* The flags of a name, behind ":2,"; NULL if it has none of that kind. */
static const char *
flags_of(const char *name)
{
	name += listing_base_octets(name);
	return strncmp(name, ":2,", 3) == 0 ? name + 3 : NULL;
}

bool
maildir_is_seen(const struct maildrop *m, size_t idx)
{
	const char *flags = flags_of(maildir_name(m, idx));

	return flags != NULL && strchr(flags, 'S') != NULL;
}

/* Removes other names of the file that st is about. */
static void
remove_twins(struct maildrop *m, const char *name, const struct stat *st)
{
	struct listing list = {0};
	struct stamp stamps[2];
	char path[PATH_OCTETS];
	struct stat twin;
	bool is_quiet;

	if (listing_read(&list, m->dir, none, stamps, &is_quiet) == -1)
		return;
	for (size_t i = listing_search(&list, name); i < list.count; i++) {
		const char *other = list.names + list.messages[i].name;

		if (!listing_same_base(other, name))
			break;
		(void)snprintf(path, sizeof(path), "%s/%s",
		    directories[list.messages[i].in_cur], other);
		if (fstatat(m->dir, path, &twin, AT_SYMLINK_NOFOLLOW) == 0 &&
		    twin.st_dev == st->st_dev && twin.st_ino == st->st_ino)
			(void)unlinkat(m->dir, path, 0);
	}
	listing_free(&list);
}

int
maildir_remove(struct maildrop *m, size_t idx)
{
	char path[PATH_OCTETS];
	unsigned tries = 0;
	const char *flags;
	struct stat st;
	int result;

	do {
		result = fstatat(
		    m->dir, path_of(m, idx, path), &st, AT_SYMLINK_NOFOLLOW);
		if (result == 0)
			result = unlinkat(m->dir, path, 0);
	} while (result == -1 && is_elsewhere(m, idx, &tries));
	if (result == -1)
		return errno == ENOENT ? 0 : -1;
	/* Trashed messages are not in a Maildir++ quota. */
	flags = flags_of(maildir_name(m, idx));
	if (flags == NULL || strchr(flags, 'T') == NULL) {
		m->removed_octets += (uint64_t)st.st_size;
		m->removed++;
	}
	if (m->list.has_twins)
		remove_twins(m, maildir_name(m, idx), &st);
	m->list.messages[idx].is_gone = true;
	distrust(m);
	return 1;
}

/* Renames, but onto no other file. */
static int
rename_new(int dir, const char *from, const char *to)
{
#ifdef SYS_renameat2
	if (syscall(SYS_renameat2, dir, from, dir, to, 1U) == 0)
		return 0;
	/* A kernel or a file system without it: the longer way. */
	if (errno != ENOSYS && errno != EINVAL)
		return -1;
#endif
	if (linkat(dir, from, dir, to, 0) == -1)
		return -1;
	return unlinkat(dir, from, 0);
}

/* The name that message idx is to have once it is seen; false if it has. */
static bool
seen_name(const struct maildrop *m, size_t idx, char path[PATH_OCTETS + 8])
{
	const char *name = maildir_name(m, idx), *flags = flags_of(name);
	int base = (int)listing_base_octets(name), before;

	if (name[base] == '\0')
		flags = "";
	if (flags == NULL || strchr(flags, 'S') != NULL) {
		(void)snprintf(path, PATH_OCTETS + 8, "cur/%s", name);
		return !m->list.messages[idx].in_cur;
	}
	for (before = 0; flags[before] != '\0' && flags[before] < 'S';)
		before++;
	(void)snprintf(path, PATH_OCTETS + 8, "cur/%.*s:2,%.*sS%s", base, name,
	    before, flags, flags + before);
	return true;
}

int
maildir_mark_seen(struct maildrop *m, size_t idx)
{
	struct message *message = &m->list.messages[idx];
	char from[PATH_OCTETS], to[PATH_OCTETS + 8];
	unsigned tries = 0;
	int64_t place;
	int result;

	do {
		if (!seen_name(m, idx, to))
			return 0;
		result = rename_new(m->dir, path_of(m, idx, from), to);
	} while (result == -1 && is_elsewhere(m, idx, &tries));
	if (result == -1)
		return errno == ENOENT ? 0 : -1;
	distrust(m);
	place = listing_add_name(&m->list, to + 4);
	if (place != -1) {
		message->name = (uint32_t)place;
		message->in_cur = true;
	}
	message->stored = NOT_STORED;
	return 1;
}

int
maildir_adjust_quota(struct maildrop *m)
{
	char line[64];
	struct stat st;
	int fd, octets, result = -1;

	if (m->removed == 0)
		return 0;
	fd = openat(m->dir, "maildirsize",
	    O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	octets = snprintf(line, sizeof(line), "-%llu -%llu\n",
	    (unsigned long long)m->removed_octets,
	    (unsigned long long)m->removed);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    write(fd, line, (size_t)octets) == octets)
		result = 0;
	(void)close(fd);
	return result;
}

void
maildir_close(struct maildrop *m)
{
	if (m->is_changed)
		save(m);
	lock_release(&m->lock, m->dir);
}
