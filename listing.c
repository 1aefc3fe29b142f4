/* SPDX-License-Identifier: ISC */
/*
 * Lists of messages: read from directories, sorted, searched.  Runs in the
 * session, as the mailbox's owner.
 */
#include "listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* Makes room for `need` items in `array`; the only place where a listing
 * grows.  Returns the array, which may have moved, or NULL with errno. */
static void *
grow(void *array, size_t *room, size_t need, size_t item)
{
	size_t more = *room + *room / 2 + 64;
	void *bigger;

	if (need <= *room)
		return array;
	if (more < need)
		more = need;
	if (more > SIZE_MAX / 2 / item) {
		errno = ENOMEM;
		return NULL;
	}
	bigger = realloc(array, more * item);
	if (bigger != NULL)
		*room = more;
	return bigger;
}

int64_t
listing_add_name(struct listing *list, const char *name)
{
	size_t octets = strlen(name) + 1, place = list->names_octets;
	char *names;

	if (place > UINT32_MAX - octets) {
		errno = EOVERFLOW;
		return -1;
	}
	names = grow(list->names, &list->names_room, place + octets, 1);
	if (names == NULL)
		return -1;
	list->names = names;
	memcpy(names + place, name, octets);
	list->names_octets += octets;
	return (int64_t)place;
}

static int
add_message(struct listing *list, const char *name, bool in_cur, uint64_t inode)
{
	struct message *messages, *m;
	int64_t place = listing_add_name(list, name);

	if (place == -1)
		return -1;
	messages = grow(
	    list->messages, &list->room, list->count + 1, sizeof(*messages));
	if (messages == NULL)
		return -1;
	list->messages = messages;
	m = &messages[list->count++];
	memset(m, 0, sizeof(*m));
	m->octets = OCTETS_UNKNOWN;
	m->stored = NOT_STORED;
	m->name = (uint32_t)place;
	m->in_cur = in_cur;
	m->inode = (uint32_t)inode;
	listing_set_time(list, m);
	return 0;
}

int
listing_copy(
    struct listing *list, const struct listing *other, const struct message *m)
{
	struct message *copy;

	if (add_message(list, other->names + m->name, m->in_cur, m->inode) ==
	    -1)
		return -1;
	copy = &list->messages[list->count - 1];
	copy->octets = m->octets;
	copy->file_octets = m->file_octets;
	copy->stored = m->stored;
	return 0;
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

/* Orders two names up to their flags. */
static int
compare_bases(const char *a, const char *b)
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

bool
listing_same_base(const char *a, const char *b)
{
	return compare_bases(a, b) == 0;
}

/* The digits that a name begins with: the delivery time. */
static uint64_t
time_of(const char *name)
{
	uint64_t time = 0;

	for (; *name >= '0' && *name <= '9'; name++) {
		if (time > UINT64_MAX / 10 - 1)
			return UINT64_MAX; /* and then the names decide */
		time = time * 10 + (uint64_t)(*name - '0');
	}
	return time;
}

void
listing_set_time(const struct listing *list, struct message *m)
{
	m->time = time_of(list->names + m->name);
}

int
listing_order(const struct listing *list, const struct message *a,
    const struct message *b)
{
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return compare_bases(list->names + a->name, list->names + b->name);
}

/* The whole order: of the names of one message the last one counts, which is
 * that in cur, else the one read last. */
static bool
is_after(const struct listing *list, const struct message *a,
    const struct message *b)
{
	int order = listing_order(list, a, b);

	if (order != 0)
		return order > 0;
	if (a->in_cur != b->in_cur)
		return a->in_cur;
	return a->name > b->name;
}

/* Merges the sorted runs [0, middle) and [middle, n) of `from` into `to`. */
static void
merge(const struct listing *list, const struct message *from,
    struct message *to, size_t middle, size_t n)
{
	size_t i = 0, j = middle;

	for (size_t k = 0; k < n; k++)
		if (j == n ||
		    (i < middle && !is_after(list, &from[i], &from[j])))
			to[k] = from[i++];
		else
			to[k] = from[j++];
}

/* By merging: some libc's qsort is slow on a hundred thousand messages. */
static int
sort(struct listing *list)
{
	struct message *spare, *from, *to;
	size_t n = list->count, sorted = 1;

	/* What came from the index is in order, and new mail behind it. */
	while (sorted < n && !is_after(list, &list->messages[sorted - 1],
				 &list->messages[sorted]))
		sorted++;
	if (sorted >= n)
		return 0;
	spare = calloc(n, sizeof(*spare));
	if (spare == NULL)
		return -1;
	from = list->messages + sorted;
	to = spare + sorted;
	for (size_t run = 1; run < n - sorted; run *= 2) {
		struct message *swap = from;

		for (size_t at = 0; at < n - sorted; at += 2 * run) {
			size_t left = n - sorted - at;

			merge(list, from + at, to + at, left < run ? left : run,
			    left < 2 * run ? left : 2 * run);
		}
		from = to;
		to = swap;
	}
	if (from == spare + sorted)
		memcpy(list->messages + sorted, from,
		    (n - sorted) * sizeof(*spare));
	merge(list, list->messages, spare, sorted, n);
	free(list->messages);
	list->messages = spare;
	list->room = n;
	return 0;
}

void
listing_unite(struct listing *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (kept > 0 && listing_order(list, &list->messages[kept - 1],
				    &list->messages[i]) == 0) {
			list->has_twins = true;
			kept--;
		}
		list->messages[kept++] = list->messages[i];
	}
	list->count = kept;
}

/* Orders a message and a name. */
static int
compare_name(const struct listing *list, const struct message *m,
    const char *name, uint64_t time)
{
	if (m->time != time)
		return m->time < time ? -1 : 1;
	return compare_bases(list->names + m->name, name);
}

size_t
listing_search(const struct listing *list, const char *name)
{
	size_t low = 0, high = list->count;
	uint64_t time = time_of(name);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_name(list, &list->messages[middle], name, time) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count &&
	    compare_name(list, &list->messages[low], name, time) == 0)
		return low;
	return list->count;
}

void
listing_match(struct listing *list, const struct listing *other,
    void (*pair)(struct listing *list, struct message *m,
	const struct listing *other, const struct message *n))
{
	size_t j = 0;

	for (size_t i = 0; i < list->count && j < other->count; i++) {
		struct message *m = &list->messages[i];
		const char *name = list->names + m->name;
		int order = -1;

		while (j < other->count &&
		       (order = compare_name(
			    other, &other->messages[j], name, m->time)) < 0)
			j++;
		if (order == 0)
			pair(list, m, other, &other->messages[j]);
	}
}

const char *const directories[2] = {"new", "cur"};

/* Regular files whose names begin with no dot. */
static bool
is_message(int dir, const char *name, unsigned char type)
{
	struct stat st;

	if (*name == '.')
		return false;
	if (type != DT_UNKNOWN)
		return type == DT_REG;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

#ifdef SYS_getdents64
/* By large reads: they are fewer, and less comes between two of them. */
static int
read_names(struct listing *list, int fd, bool in_cur)
{
	/* What the kernel writes for each name. */
	struct entry {
		uint64_t inode, offset;
		unsigned short octets;
		unsigned char type;
		char name[];
	};
	static _Alignas(uint64_t) char buffer[DIRECTORY_OCTETS];
	const struct entry *e;
	long n;

	while ((n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0)
		for (long at = 0; at < n; at += e->octets) {
			e = (const void *)(buffer + at);
			if (is_message(fd, e->name, e->type) &&
			    add_message(list, e->name, in_cur, e->inode) == -1)
				return -1;
		}
	return (int)n;
}
#else
static int
read_names(struct listing *list, int fd, bool in_cur)
{
	DIR *stream = fdopendir(dup(fd));
	const struct dirent *e;
	int error;

	if (stream == NULL)
		return -1;
	do {
		errno = 0;
		e = readdir(stream);
	} while (e != NULL &&
		 (!is_message(fd, e->d_name, e->d_type) ||
		     add_message(list, e->d_name, in_cur, e->d_ino) == 0));
	error = errno;
	(void)closedir(stream);
	errno = error;
	return error == 0 ? 0 : -1;
}
#endif

static int
read_directory(struct listing *list, int dir, bool in_cur)
{
	int result, error;
	int fd = openat(dir, directories[in_cur],
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1)
		return -1;
	result = read_names(list, fd, in_cur);
	error = errno;
	(void)close(fd);
	errno = error;
	return result;
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

#ifdef CLOCK_REALTIME_COARSE
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
	(void)clock_gettime(CLOCK_REALTIME, &now);
#endif
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

bool
listing_same_stamps(const struct stamp a[2], const struct stamp b[2])
{
	return memcmp(a, b, 2 * sizeof(*a)) == 0;
}

/* Whether both changed in an earlier tick of the clock than `now`.  The time
 * of modification does not matter: it can be set at will. */
static bool
is_settled(const struct stamp s[2], uint64_t now)
{
	return s[0].changed_nsec < now && s[1].changed_nsec < now;
}

/* Adds what both directories hold, new first, so that a message that moves
 * to cur is seen twice and not never. */
static int
read_directories(struct listing *list, int dir, const bool skip[2],
    struct stamp stamps[2], bool *is_quiet)
{
	const struct timespec tick = {0, TICK_MSEC * 1000000L};
	size_t count = list->count, names = list->names_octets;
	struct stamp after[2];
	unsigned unsettled = 0;

	for (unsigned i = 0; i < LIST_TRIES; i++) {
		uint64_t now = listing_clock();

		if (i + 1 < LIST_TRIES) {
			list->count = count;
			list->names_octets = names;
		}
		if (listing_stamp(dir, stamps) == -1 ||
		    (!skip[0] && read_directory(list, dir, false) == -1) ||
		    (!skip[1] && read_directory(list, dir, true) == -1) ||
		    listing_stamp(dir, after) == -1)
			return -1;
		*is_quiet = listing_same_stamps(stamps, after);
		if (*is_quiet && is_settled(after, now))
			return 0;
		if (!*is_quiet)
			continue;
		*is_quiet = false;
		if (++unsettled > TICK_TRIES)
			return 0;
		(void)nanosleep(&tick, NULL);
	}
	return 0;
}

int
listing_read(struct listing *list, int dir, const bool skip[2],
    struct stamp stamps[2], bool *is_quiet)
{
	if (read_directories(list, dir, skip, stamps, is_quiet) == -1 ||
	    sort(list) == -1) {
		int saved = errno;

		listing_free(list);
		errno = saved;
		return -1;
	}
	return 0;
}
