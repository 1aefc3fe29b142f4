/* SPDX-License-Identifier: ISC */
/*
 * The maildrop: a snapshot of a Maildir, in which other programs deliver,
 * rename and delete all the time.  Runs in the session, as the mailbox's
 * owner.  All is opened below one directory descriptor, and no link is
 * followed.
 */
#include "maildir.h"

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
#include "uidl.h"

enum {
	PATH_OCTETS = 4 + NAME_MAX + 1,		   /* "new/" and a name */
	HOLD_PATH_OCTETS = PATH_OCTETS + NAME_MAX, /* the folder's, too */
	HOLD_TRIES = 1000, /* names, before one that is free */
	/* A message that others keep renaming is looked for so often. */
	FIND_TRIES = 10,
	/* While messages are counted, the index is written so often. */
	SAVE_MSEC = 10000
};

static void
save(struct maildrop *m)
{
	index_save(&m->index, m->dir, &m->list);
	m->saved_msec = now_msec();
}

/* Lists the Maildir, but for what the index knows of a directory that is as
 * it was.  0, or -1 with errno. */
static int
make_listing(struct maildrop *m)
{
	/* What cannot be loaded is worth nothing. */
	if (index_load(&m->index, &m->list) == -1)
		index_close(&m->index);
	if (listing_update(&m->list, m->dir, m->index.header.stamps, true) ==
	    -1) {
		if (m->index.fd == -1)
			return -1;
		/* Memory may do without it. */
		index_close(&m->index);
		return make_listing(m);
	}
	m->index.header.listed_nsec = m->opened_nsec;
	m->index.header.is_stale = false;
	return 0;
}

int
maildir_make_hold(const struct maildrop *m)
{
	static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
	char path[PATH_OCTETS];
	struct stat st;
	int fd;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", m->hold, parts[i]);
		if (mkdirat(m->dir, path, 0700) == -1 && errno != EEXIST)
			return -1;
	}
	(void)snprintf(path, sizeof(path), "%s/maildirfolder", m->hold);
	fd = listing_open(m->dir, path, O_WRONLY | O_CREAT, &st);
	if (fd != -1)
		(void)close(fd);
	return fd == -1 ? -1 : 0;
}

/* What maildir_open does once it has the lock. */
static int
open_locked(
    struct maildrop *m, const char *ip, unsigned delay_sec, char *holder)
{
	struct stamp stamps[2];
	uint64_t age;

	if (listing_stamp(m->dir, stamps) == -1)
		return -1;
	if (delay_sec > 0 && (age = lock_age(m->lock, delay_sec)) < delay_sec) {
		(void)snprintf(holder, LOCK_TEXT_OCTETS, "; come back in %u s",
		    delay_sec - (unsigned)age);
		errno = EBUSY;
		return -1;
	}
	m->opened_nsec = lock_sign(m->lock, ip);
	index_open(&m->index, m->dir, m->opened_nsec);
	m->count = m->index.header.count;
	if (memcmp(stamps, m->index.header.stamps, sizeof(stamps)) == 0)
		return 0;
	if (make_listing(m) == -1)
		return -1;
	m->count = m->list.count;
	m->is_loaded = true;
	return 0;
}

int
maildir_open(
    struct maildrop *m, const char *ip, unsigned delay_sec, char *holder)
{
	int error;

	m->saved_msec = now_msec();
	if (lock_take(&m->lock, m->dir, holder) == -1)
		return -1;
	if (open_locked(m, ip, delay_sec, holder) == 0)
		return 0;
	/* Before the client is told (RFC 1939 section 4). */
	error = errno;
	lock_release(m->lock, m->dir);
	errno = error;
	return -1;
}

int
maildir_load(struct maildrop *m)
{
	if (m->is_loaded)
		return 0;
	if (index_load(&m->index, &m->list) == -1) {
		/* Damage behind the header: list after all. */
		index_close(&m->index);
		if (make_listing(m) == -1)
			return -1;
		save(m);
	}
	/* All that the client knows is how many messages there are. */
	m->is_loaded = m->list.count == m->count;
	errno = EIO;
	return m->is_loaded ? 0 : -1;
}

/* After a call on message idx failed: whether to try it again, since the
 * message has another name now, or may have, since a busy directory can hide
 * it.  Sets errno to EAGAIN where others rename it faster than it can be
 * found. */
static bool
is_elsewhere(struct maildrop *m, size_t idx, unsigned *tries)
{
	struct message *message = &m->list.messages[idx];
	int result;

	if (errno != ENOENT)
		return false;
	if (++*tries > FIND_TRIES) {
		errno = EAGAIN;
		return false;
	}
	message->is_there = false;
	m->index.header.is_stale = true;
	result =
	    listing_update(&m->list, m->dir, m->index.header.stamps, false);
	if (result == -1)
		return false;
	errno = ENOENT;
	return result == 1 || message->is_there;
}

const char *
maildir_name(const struct maildrop *m, size_t idx)
{
	return m->list.names + m->list.messages[idx].name;
}

static const char *
path_of(const struct listing *list, size_t idx, char path[PATH_OCTETS])
{
	const char *name = list->names + list->messages[idx].name;

	/* An index may have been forged: nothing but a message's name. */
	if (*name == '.' || strchr(name, '/') != NULL)
		name = "";
	(void)snprintf(path, PATH_OCTETS, "%s/%s",
	    directories[list->messages[idx].in_cur], name);
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

int
maildir_load_uids(struct maildrop *m)
{
	if (!m->has_uids)
		m->has_uids = uidl_load(m->dir, &m->list, &m->uids) == 0;
	return m->has_uids ? 0 : -1;
}

void
maildir_uid(struct maildrop *m, size_t idx, char uid[UID_OCTETS + 1])
{
	(void)maildir_load_uids(m); /* see cmd_uidl */
	if (m->uids != NULL && m->uids[idx] != NULL)
		(void)snprintf(uid, UID_OCTETS + 1, "%s", m->uids[idx]);
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
		fd = listing_open(
		    m->dir, path_of(&m->list, idx, path), O_RDONLY, st);
	while (fd == -1 && is_elsewhere(m, idx, &tries));
	return fd;
}

void
maildir_set_octets(
    struct maildrop *m, size_t idx, uint64_t octets, const struct stat *st)
{
	struct message *message = &m->list.messages[idx];

	message->octets = octets;
	message->file_octets = (uint64_t)st->st_size;
	message->is_changed = true;
}

uint64_t
maildir_octets(struct maildrop *m, size_t idx)
{
	struct message *message = &m->list.messages[idx];
	struct wire wire = {0};
	char path[PATH_OCTETS];
	struct stat st;
	ssize_t n;
	int fd;

	if (message->octets != OCTETS_UNKNOWN)
		return message->octets;
	fd = maildir_open_message(m, idx, &st);
	if (fd == -1)
		return fstatat(m->dir, path_of(&m->list, idx, path), &st,
			   AT_SYMLINK_NOFOLLOW) == 0
			   ? (uint64_t)st.st_size
			   : 0;
	while ((n = read(fd, m->buffer, sizeof(m->buffer))) > 0)
		wire_count(&wire, m->buffer, (size_t)n);
	(void)close(fd);
	wire_count_end(&wire);
	if (n == -1) /* it may be readable another time */
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

int
maildir_total(struct maildrop *m, uint64_t *octets)
{
	uint64_t *places;
	size_t n = 0;

	*octets = m->index.header.octets;
	if (!m->is_loaded && m->index.header.unsized == 0)
		return 0;
	if (maildir_load(m) == -1)
		return -1;
	/* First what is not counted yet, in the order of inodes, which is kind
	 * to a disk: in that of names a first count is all seeks. */
	places = calloc(m->count + 1, sizeof(*places));
	for (size_t i = 0; i < m->count && places != NULL; i++)
		if (m->list.messages[i].octets == OCTETS_UNKNOWN)
			places[n++] =
			    (uint64_t)m->list.messages[i].inode << 32 | i;
	if (n > 1)
		qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 0; i < n; i++)
		(void)maildir_octets(m, (size_t)(places[i] & UINT32_MAX));
	free(places);
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

/* Removes other names of the file that st is about.  0, or -1 with errno if
 * one may have been left. */
static int
remove_twins(struct maildrop *m, const char *name, const struct stat *st)
{
	struct listing now = {0};
	struct stamp stamps[2] = {{0}};
	char path[PATH_OCTETS];
	bool is_same[2];
	struct stat twin;
	int error = 0;

	if (listing_read(&now, m->dir, stamps, is_same) == -1)
		error = errno;
	for (size_t i = 0; i < now.total; i++) {
		if (listing_compare(now.names + now.messages[i].name, name) !=
		    0)
			continue;
		if (fstatat(m->dir, path_of(&now, i, path), &twin,
			AT_SYMLINK_NOFOLLOW) == 0 &&
		    (twin.st_dev != st->st_dev || twin.st_ino != st->st_ino ||
			unlinkat(m->dir, path, 0) == 0))
			continue;
		if (errno != ENOENT)
			error = errno;
	}
	listing_free(&now);
	errno = error;
	return error == 0 ? 0 : -1;
}

/* Renames, but onto no other file. */
static int
rename_new(int dir, const char *from, const char *to)
{
	int error;

#ifdef SYS_renameat2
	if (syscall(SYS_renameat2, dir, from, dir, to, 1U) == 0)
		return 0;
	/* A kernel or a file system without it: the longer way. */
	if (errno != ENOSYS && errno != EINVAL)
		return -1;
#endif
	if (linkat(dir, from, dir, to, 0) == -1)
		return -1;
	if (unlinkat(dir, from, 0) == 0)
		return 0;
	error = errno;
	(void)unlinkat(dir, to, 0); /* no message may have two names */
	errno = error;
	return -1;
}

/* Moves the file of message idx into the folder for deleted ones; if one of
 * its name is there, by another name.  0, or -1 with errno. */
static int
hold(const struct maildrop *m, size_t idx, const char *from)
{
	const char *name = maildir_name(m, idx), *flags = flags_of(name);
	char to[HOLD_PATH_OCTETS], number[DECIMAL_OCTETS + 1] = "";
	struct stat st;
	int base = (int)listing_base_octets(name), result;

	for (unsigned i = 1;; i++) {
		(void)snprintf(to, sizeof(to), "%s/cur/%.*s%s%s%s", m->hold,
		    base, name, number, base + 3 > NAME_MAX ? "" : ":2,",
		    flags != NULL ? flags : "");
		result = rename_new(m->dir, from, to);
		if (result == 0 || errno != EEXIST || i > HOLD_TRIES)
			break;
		(void)snprintf(number, sizeof(number), ".%u", i);
	}
	/* It may be the folder that is gone, and not the message. */
	(void)snprintf(to, sizeof(to), "%s/cur", m->hold);
	if (result == -1 && errno == ENOENT &&
	    fstatat(m->dir, to, &st, 0) == -1)
		errno = ENOTDIR;
	return result;
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
		result = fstatat(m->dir, path_of(&m->list, idx, path), &st,
		    AT_SYMLINK_NOFOLLOW);
		if (result == 0)
			result = m->hold == NULL ? unlinkat(m->dir, path, 0)
						 : hold(m, idx, path);
	} while (result == -1 && is_elsewhere(m, idx, &tries));
	if (result == -1)
		return errno == ENOENT ? 0 : -1;
	/* Trashed messages are not in a Maildir++ quota, those of other
	 * folders are. */
	flags = flags_of(maildir_name(m, idx));
	if ((flags == NULL || strchr(flags, 'T') == NULL) &&
	    (m->hold == NULL || strcmp(m->hold, ".Trash") == 0)) {
		m->removed_octets += (uint64_t)st.st_size;
		m->removed++;
	}
	m->list.messages[idx].is_there = false;
	m->index.header.is_stale = true;
	return m->list.has_twins &&
		       remove_twins(m, maildir_name(m, idx), &st) == -1
		   ? -1
		   : 1;
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
	char from[PATH_OCTETS], to[PATH_OCTETS + 8];
	unsigned tries = 0;
	int result;

	do {
		if (!seen_name(m, idx, to))
			return 0;
		result = rename_new(m->dir, path_of(&m->list, idx, from), to);
	} while (result == -1 && is_elsewhere(m, idx, &tries));
	if (result == -1)
		return errno == ENOENT ? 0 : -1;
	m->index.header.is_stale = true;
	/* Short of memory it is not known where it is, and need not be. */
	(void)listing_rename(&m->list, &m->list.messages[idx], to + 4, true);
	return 1;
}

int
maildir_adjust_quota(struct maildrop *m)
{
	char line[64];
	struct stat st;
	int fd, octets;
	bool is_written;

	if (m->removed == 0)
		return 0;
	fd = listing_open(m->dir, "maildirsize", O_WRONLY | O_APPEND, &st);
	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	octets = snprintf(line, sizeof(line), "-%llu -%llu\n",
	    (unsigned long long)m->removed_octets,
	    (unsigned long long)m->removed);
	is_written = write(fd, line, (size_t)octets) == octets;
	(void)close(fd);
	return is_written ? 0 : -1;
}

void
maildir_close(struct maildrop *m)
{
	if (m->is_loaded)
		save(m);
	/* Once it is unlocked it may be another session's. */
	m->is_loaded = false;
	lock_release(m->lock, m->dir);
	m->lock = -1;
}
