/* SPDX-License-Identifier: ISC */
/*
 * Lists of messages: read from directories, sorted, searched.  Runs in the
 * session, as the mailbox's owner.
 */
#include "listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* By whatever name the C library has it, and what it fills in. */
#ifdef __GLIBC__
#define getdents getdents64
#define dirent dirent64
#endif

#ifndef CLOCK_REALTIME_COARSE
#define CLOCK_REALTIME_COARSE CLOCK_REALTIME
#endif

enum {
	DIRECTORY_OCTETS = 65536,
	/* A directory that changes while it is listed is listed again, so
	 * often at most; the last two listings are then united. */
	LIST_TRIES = 8,
	/* One that changed just before may change again within the same tick
	 * of the file system's clock, unseen; so often it is awaited. */
	TICK_TRIES = 2,
	TICK_MSEC = 10
};

const char *const directories[2] = {"new", "cur"};

/* Makes room for `need` items in `array`; the only place where a listing
 * grows.  Returns the array, which may have moved, or NULL with errno. */
static void *
grow(void *array, size_t *room, size_t need, size_t item)
{
	size_t more = need + need / 2 + 64;
	void *bigger;

	if (need <= *room)
		return array;
	bigger = reallocarray(array, more, item);
	if (bigger != NULL)
		*room = more;
	return bigger;
}

char *
listing_room(struct listing *list, size_t octets)
{
	char *names;

	if (octets > UINT32_MAX - list->names_octets) {
		errno = EOVERFLOW;
		return NULL;
	}
	names = grow(
	    list->names, &list->names_room, list->names_octets + octets, 1);
	if (names == NULL)
		return NULL;
	list->names = names;
	return names + list->names_octets;
}

struct message *
listing_add(struct listing *list, size_t name)
{
	struct message *messages = grow(
	    list->messages, &list->room, list->total + 1, sizeof(*messages));

	if (messages == NULL)
		return NULL;
	list->messages = messages;
	messages[list->total] =
	    (struct message){.octets = OCTETS_UNKNOWN, .name = (uint32_t)name};
	return &messages[list->total++];
}

int
listing_rename(
    struct listing *list, struct message *m, const char *name, bool in_cur)
{
	size_t octets = strlen(name) + 1;
	char *place = listing_room(list, octets);

	if (place == NULL)
		return -1;
	memcpy(place, name, octets);
	m->time = listing_time(name);
	m->name = (uint32_t)list->names_octets;
	list->names_octets += octets;
	m->in_cur = in_cur;
	m->is_there = m->is_changed = true;
	return 0;
}

static int
add(struct listing *list, const char *name, bool in_cur, uint64_t inode)
{
	struct message *m = listing_add(list, 0);

	if (m == NULL)
		return -1;
	m->inode = (uint32_t)inode;
	return listing_rename(list, m, name, in_cur);
}

void
listing_free(struct listing *list)
{
	free(list->messages);
	free(list->names);
	memset(list, 0, sizeof(*list));
}

size_t
listing_base_octets(const char *name)
{
	return strcspn(name, ":");
}

int
listing_compare(const char *a, const char *b)
{
	int x, y;

	while (*a == *b && *a != ':' && *a != '\0') {
		a++;
		b++;
	}
	x = *a == ':' ? 0 : (unsigned char)*a;
	y = *b == ':' ? 0 : (unsigned char)*b;
	return x - y;
}

uint64_t
listing_time(const char *name)
{
	uint64_t time = 0;

	for (; *name >= '0' && *name <= '9'; name++) {
		if (time > UINT64_MAX / 10 - 1)
			return UINT64_MAX; /* and then the names decide */
		time = time * 10 + (uint64_t)(*name - '0');
	}
	return time;
}

/* Orders a message and a name of that time. */
static int
compare(const struct listing *list, const struct message *m, const char *name,
    uint64_t time)
{
	if (m->time != time)
		return m->time < time ? -1 : 1;
	return listing_compare(list->names + m->name, name);
}

static bool
in_order(const struct listing *list, const struct message *a,
    const struct message *b)
{
	return compare(list, a, list->names + b->name, b->time) <= 0;
}

/* By merging, which keeps the order of equals: some libc's qsort is slow on a
 * hundred thousand messages.  What is in order is not moved: what came from
 * the index is, and new mail behind it.  `spare` is for half of them. */
static void
sort(const struct listing *list, struct message *m, struct message *spare,
    size_t n)
{
	size_t half = n / 2, i = 0, j = half;

	if (n < 2)
		return;
	sort(list, m, spare, half);
	sort(list, m + half, spare, n - half);
	if (in_order(list, &m[half - 1], &m[half]))
		return;
	memcpy(spare, m, half * sizeof(*m));
	for (size_t k = 0; i < half; k++)
		if (j == n || in_order(list, &spare[i], &m[j]))
			m[k] = spare[i++];
		else
			m[k] = m[j++];
}

int
listing_sort(struct listing *list)
{
	struct message *all = list->messages;
	struct message *spare;
	size_t count = 0, gone = 0;

	/* Most often there is nothing to do. */
	while (count < list->total && all[count].is_there &&
	       (count == 0 || !in_order(list, &all[count], &all[count - 1])))
		count++;
	list->count = count;
	if (count == list->total)
		return 0;
	spare = calloc(list->total / 2 + 1, sizeof(*spare));
	if (spare == NULL)
		return -1;
	count = 0;
	sort(list, all, spare, list->total);
	free(spare);
	for (size_t i = 0; i < list->total; i++) {
		struct message m = all[i];

		if (i + 1 < list->total && in_order(list, &all[i + 1], &m)) {
			list->has_twins = true;
			continue;
		}
		if (!m.is_there) {
			all[count + gone++] = m;
			continue;
		}
		all[count + gone] = all[count];
		all[count++] = m;
	}
	list->count = count;
	list->total = count + gone;
	return 0;
}

struct message *
listing_search(const struct listing *list, const char *name)
{
	size_t low = 0, high = list->count;
	uint64_t time = listing_time(name);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct message *m = &list->messages[middle];
		int order = compare(list, m, name, time);

		if (order == 0)
			return m;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int
listing_open(int dir, const char *path, int flags, struct stat *st)
{
	int fd = openat(
	    dir, path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	if (fd == -1)
		return -1;
	errno = EPERM; /* unless fstat has a reason */
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	(void)close(fd);
	return -1;
}

/* Regular files whose names begin with no dot.  Some systems give empty
 * places, too, with inode 0. */
static bool
is_message(int dir, const struct dirent *e)
{
	struct stat st;

	if (*e->d_name == '.' || strlen(e->d_name) > NAME_MAX)
		return false;
	if (e->d_type != DT_UNKNOWN && e->d_ino != 0)
		return e->d_type == DT_REG;
	return fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

/* By large reads: they are fewer, and less comes between two of them. */
static int
read_directory(struct listing *list, int dir, bool in_cur)
{
	static _Alignas(struct dirent) char buffer[DIRECTORY_OCTETS];
	const struct dirent *e;
	int fd = openat(dir, directories[in_cur],
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd;

	while (
	    n != -1 && (n = getdents(fd, (void *)buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < n; at += e->d_reclen) {
			e = (const void *)(buffer + at);
			if (is_message(fd, e) &&
			    add(list, e->d_name, in_cur, e->d_ino) == -1)
				n = -1;
		}
	if (fd != -1)
		(void)close(fd);
	return (int)n;
}

uint64_t
listing_nsec(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

uint64_t
listing_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return listing_nsec(&now);
}

int
listing_stamp(int dir, struct stamp stamps[2])
{
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if (fstatat(dir, directories[i], &st, AT_SYMLINK_NOFOLLOW) ==
		    -1)
			return -1;
		if (!S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			return -1;
		}
		stamps[i] = (struct stamp){(uint64_t)st.st_dev, st.st_ino,
		    listing_nsec(&st.st_mtim), listing_nsec(&st.st_ctim)};
	}
	return 0;
}

int
listing_read(
    struct listing *list, int dir, struct stamp stamps[2], bool is_same[2])
{
	const struct timespec tick = {0, TICK_MSEC * 1000000L};
	const struct stamp known[2] = {stamps[0], stamps[1]};
	unsigned unsettled = 0;

	for (unsigned tries = LIST_TRIES; tries > 0; tries--) {
		uint64_t now = listing_clock();
		struct stamp after[2] = {{0}};

		if (tries > 1)
			list->total = list->names_octets = 0;
		if (listing_stamp(dir, stamps) == -1)
			return -1;
		/* New first, so that a message that moves to cur is seen twice
		 * and not never. */
		for (int i = 0; i < 2; i++) {
			is_same[i] = memcmp(&stamps[i], &known[i],
					 sizeof(known[i])) == 0;
			if (!is_same[i] &&
			    read_directory(list, dir, i == 1) == -1)
				return -1;
		}
		if (listing_stamp(dir, after) == -1)
			return -1;
		if (memcmp(stamps, after, sizeof(after)) != 0)
			continue;
		/* Both changed in an earlier tick of the clock.  The time of
		 * modification does not matter: it can be set at will. */
		if (after[0].changed_nsec < now && after[1].changed_nsec < now)
			return 0;
		if (++unsettled > TICK_TRIES)
			break;
		(void)nanosleep(&tick, NULL);
	}
	memset(stamps, 0, sizeof(known));
	return 1;
}

/* Message m of the list is there, as message n of `now` says. */
static int
note(struct listing *list, struct message *m, const struct listing *now,
    const struct message *n)
{
	const char *name = now->names + n->name;

	if (m->is_there) {
		list->has_twins = true;
		if (m->in_cur && !n->in_cur)
			return 0;
	}
	m->is_there = true;
	m->inode = n->inode;
	if (m->in_cur == n->in_cur && strcmp(list->names + m->name, name) == 0)
		return 0;
	return listing_rename(list, m, name, n->in_cur);
}

/* Matches what was listed with what was read now, both in order. */
static int
match(struct listing *list, const struct listing *now, bool may_add)
{
	size_t j = 0, count = list->count;

	for (size_t i = 0; i < now->count; i++) {
		const struct message *n = &now->messages[i];
		const char *name = now->names + n->name;
		int order = -1, result = 0;

		while (j < count && (order = compare(list, &list->messages[j],
					 name, n->time)) < 0)
			j++;
		if (order == 0)
			result = note(list, &list->messages[j], now, n);
		else if (may_add)
			result = add(list, name, n->in_cur, n->inode);
		if (result == -1)
			return -1;
	}
	return may_add ? listing_sort(list) : 0;
}

int
listing_update(
    struct listing *list, int dir, struct stamp stamps[2], bool may_add)
{
	bool is_same[2] = {true, true}, had_twins = list->has_twins;
	struct listing now = {0};
	int result;

	/* Of twins the list has only one, which may lie in the other. */
	if (had_twins)
		memset(stamps, 0, 2 * sizeof(*stamps));
	result = listing_read(&now, dir, stamps, is_same);
	if (result != -1 && listing_sort(&now) == -1)
		result = -1;
	list->has_twins = now.has_twins || (had_twins && !may_add);
	for (size_t i = 0; i < list->count; i++)
		list->messages[i].is_there &= is_same[list->messages[i].in_cur];
	if (may_add && list->total == 0 && result != -1) {
		listing_free(list);
		*list = now;
		return result;
	}
	if (result != -1 && match(list, &now, may_add) == -1)
		result = -1;
	if (result == -1)
		memset(stamps, 0, 2 * sizeof(*stamps));
	listing_free(&now);
	/* What has another name now may be another file, if it had twins. */
	had_twins |= list->has_twins;
	for (size_t i = 0; i < list->count && had_twins && may_add; i++)
		if (list->messages[i].is_changed)
			list->messages[i].octets = OCTETS_UNKNOWN;
	return result;
}
