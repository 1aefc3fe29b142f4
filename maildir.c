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
	/* A directory that changes while it is listed is listed again, so
	 * often at most; the last two listings are then united. */
	LIST_TRIES = 8,
	/* One that changed just before may change again within the same tick
	 * of the file system's clock, unseen; so often it is awaited. */
	TICK_TRIES = 2,
	/* A message that others keep renaming is looked for so often. */
	FIND_TRIES = 10,
	TICK_MSEC = 10
};

static const char *const directories[] = {"new", "cur"};

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

/* Copies a name into a listing; its place, or -1 with errno. */
static int64_t
add_name(struct listing *list, const char *name)
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

static void
free_listing(struct listing *list)
{
	free(list->messages);
	free(list->names);
	memset(list, 0, sizeof(*list));
}

size_t
maildir_base_octets(const char *name)
{
	return strcspn(name, ":");
}

/* The digits that a name begins with, leading zeros aside: the delivery
 * time, which may have more of them than any integer. */
static size_t
time_digits(const char **name)
{
	*name += strspn(*name, "0");
	return strspn(*name, "0123456789");
}

/* Orders two names by delivery time, then by what identifies them. */
static int
compare_names(const char *a, const char *b)
{
	const char *x = a, *y = b;
	size_t m = time_digits(&x), n = time_digits(&y);
	int order;

	if (m != n)
		return m < n ? -1 : 1;
	order = memcmp(x, y, n);
	if (order != 0)
		return order;
	while (*a == *b && *a != ':' && *a != '\0') {
		a++;
		b++;
	}
	x = *a == ':' ? "" : a;
	y = *b == ':' ? "" : b;
	return (int)(unsigned char)*x - (int)(unsigned char)*y;
}

static const char *sorted_names; /* qsort hands its caller's data to no one */

static int
compare_messages(const void *a, const void *b)
{
	const struct message *x = a, *y = b;
	const char *p = sorted_names + x->name, *q = sorted_names + y->name;
	int order = compare_names(p, q);

	if (order != 0)
		return order;
	/* Of the names of one message the one read last counts. */
	return x->name < y->name ? -1 : 1;
}

size_t
maildir_search(const struct listing *list, const char *base)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(
			list->names + list->messages[middle].name, base) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count &&
	    compare_names(list->names + list->messages[low].name, base) == 0)
		return low;
	return list->count;
}

/* Regular files whose names begin with no dot. */
static bool
is_message(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_name[0] == '.')
		return false;
#ifdef DT_UNKNOWN
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_REG;
#endif
	return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

static int
add_message(struct listing *list, const char *name, bool in_cur)
{
	struct message *messages, *message;
	int64_t place = add_name(list, name);

	if (place == -1)
		return -1;
	messages = grow(
	    list->messages, &list->room, list->count + 1, sizeof(*messages));
	if (messages == NULL)
		return -1;
	list->messages = messages;
	message = &messages[list->count++];
	memset(message, 0, sizeof(*message));
	message->octets = OCTETS_UNKNOWN;
	message->name = (uint32_t)place;
	message->in_cur = in_cur;
	return 0;
}

/* Adds one directory's messages, and notes its stamp before and after.
 * 0, or -1 with errno. */
static int
read_directory(struct maildrop *m, struct listing *list, bool in_cur)
{
	const struct dirent *entry;
	DIR *stream = NULL;
	int error;
	int fd = openat(m->dir, directories[in_cur],
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1 || (stream = fdopendir(fd)) == NULL) {
		error = errno;
		if (fd != -1)
			(void)close(fd);
		errno = error;
		return -1;
	}
	do {
		errno = 0;
		entry = readdir(stream);
	} while (entry != NULL &&
		 (!is_message(fd, entry) ||
		     add_message(list, entry->d_name, in_cur) == 0));
	error = errno;
	(void)closedir(stream);
	errno = error;
	return error == 0 ? 0 : -1;
}

static uint64_t
nsec(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

static int
take_stamps(const struct maildrop *m, struct stamp stamps[2])
{
	struct stat st;

	for (int i = 0; i < 2; i++) {
		if (fstatat(m->dir, directories[i], &st, AT_SYMLINK_NOFOLLOW) ==
		    -1)
			return -1;
		stamps[i] = (struct stamp){(uint64_t)st.st_dev, st.st_ino,
		    nsec(&st.st_mtim), nsec(&st.st_ctim)};
	}
	return 0;
}

static bool
same_stamps(const struct stamp a[2], const struct stamp b[2])
{
	return memcmp(a, b, 2 * sizeof(*a)) == 0;
}

/* Whether both changed in an earlier tick of the clock than `now`. */
static bool
is_settled(const struct stamp s[2], uint64_t now)
{
	return s[0].modified_nsec < now && s[0].changed_nsec < now &&
	       s[1].modified_nsec < now && s[1].changed_nsec < now;
}

/* The time as the kernel writes it into directories. */
static uint64_t
file_time(void)
{
	struct timespec now;

#ifdef CLOCK_REALTIME_COARSE
	(void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
	(void)clock_gettime(CLOCK_REALTIME, &now);
#endif
	return nsec(&now);
}

/*
 * Reads both directories into `list`, unsorted, again while they change:
 * a rename between two reads of a directory can hide a message.  new comes
 * first, so that a message that moves to cur is seen twice and not never.
 * Leaves the stamps and what they are worth in *m.  0, or -1 with errno.
 */
static int
read_directories(struct maildrop *m, struct listing *list)
{
	const struct timespec tick = {0, TICK_MSEC * 1000000L};
	struct stamp after[2];
	uint64_t now;
	unsigned unsettled = 0;

	for (unsigned i = 0; i < LIST_TRIES; i++) {
		if (i + 1 < LIST_TRIES)
			list->count = list->names_octets = 0;
		now = file_time();
		if (take_stamps(m, m->stamps) == -1 ||
		    read_directory(m, list, false) == -1 ||
		    read_directory(m, list, true) == -1 ||
		    take_stamps(m, after) == -1)
			return -1;
		m->is_quiet = same_stamps(m->stamps, after);
		if (m->is_quiet && is_settled(after, now))
			return 0;
		if (!m->is_quiet)
			continue;
		m->is_quiet = false;
		if (++unsettled > TICK_TRIES)
			return 0;
		(void)nanosleep(&tick, NULL);
	}
	return 0;
}

/* Several names of one message become one, the last. */
static void
unite_twins(struct listing *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		const char *name = list->names + list->messages[i].name;

		if (kept > 0 &&
		    compare_names(list->names + list->messages[kept - 1].name,
			name) == 0) {
			list->has_twins = true;
			kept--;
		}
		list->messages[kept++] = list->messages[i];
	}
	list->count = kept;
}

static int
make_listing(struct maildrop *m, struct listing *list)
{
	memset(list, 0, sizeof(*list));
	if (read_directories(m, list) == -1) {
		int saved = errno;

		free_listing(list);
		errno = saved;
		return -1;
	}
	sorted_names = list->names;
	if (list->count > 0)
		qsort(list->messages, list->count, sizeof(*list->messages),
		    compare_messages);
	return 0;
}

int
maildir_open(struct maildrop *m, const char *path, const char *ip, char *holder)
{
	holder[0] = '\0';
	m->path = path;
	m->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dir == -1 || lock_take(&m->lock, m->dir, holder) == -1)
		return -1;
	if (make_listing(m, &m->list) == -1)
		return -1;
	unite_twins(&m->list);
	lock_sign(&m->lock, ip);
	return 0;
}

/* Notes where messages are now that were renamed since the listing was made.
 * 0 if message idx is among them, or may be, since a busy directory can hide
 * it; or -1 with errno, ENOENT if it is gone. */
static int
find_again(struct maildrop *m, size_t idx)
{
	struct listing now;
	struct stamp stamps[2];
	bool is_found;
	size_t j = 0;

	errno = ENOENT;
	if (m->is_quiet && take_stamps(m, stamps) == 0 &&
	    same_stamps(stamps, m->stamps))
		return -1;
	if (make_listing(m, &now) == -1)
		return -1;
	unite_twins(&now);
	m->list.has_twins |= now.has_twins;
	for (size_t i = 0; i < m->list.count && j < now.count; i++) {
		struct message *message = &m->list.messages[i];
		int order = -1;
		int64_t place;

		while (j < now.count &&
		       (order = compare_names(now.names + now.messages[j].name,
			    maildir_name(m, i))) < 0)
			j++;
		if (order != 0)
			continue;
		place = message->name;
		if (strcmp(maildir_name(m, i),
			now.names + now.messages[j].name) != 0)
			place = add_name(
			    &m->list, now.names + now.messages[j].name);
		if (place == -1)
			break;
		message->name = (uint32_t)place;
		message->in_cur = now.messages[j].in_cur;
	}
	is_found = maildir_search(&now, maildir_name(m, idx)) < now.count;
	free_listing(&now);
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

const char *
maildir_name(const struct maildrop *m, size_t idx)
{
	return m->list.names + m->list.messages[idx].name;
}

static const char *
path_of(const struct maildrop *m, size_t idx, char path[PATH_OCTETS])
{
	(void)snprintf(path, PATH_OCTETS, "%s/%s",
	    directories[m->list.messages[idx].in_cur], maildir_name(m, idx));
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
	size_t octets = maildir_base_octets(name);
	bool is_odd = octets == 0 || octets > UID_OCTETS;

	for (size_t i = 0; i < octets && !is_odd; i++)
		is_odd = name[i] < 0x21 || name[i] > 0x7e;
	if (is_odd)
		hash_name(name, octets, uid);
	else
		(void)snprintf(uid, UID_OCTETS + 1, "%.*s", (int)octets, name);
}

void
maildir_uid(struct maildrop *m, size_t idx, char uid[UID_OCTETS + 1])
{
	const char *given;

	uidl_load(&m->uidl, m->dir, &m->list);
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
	message->file_octets = (uint64_t)st.st_size;
	message->octets = n == 0 ? wire.octets : message->file_octets;
	return message->octets;
}

/* The flags of a name, behind ":2,"; NULL if it has none of that kind. */
static const char *
flags_of(const char *name)
{
	name += maildir_base_octets(name);
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
	struct listing list;
	char path[PATH_OCTETS];
	struct stat twin;

	if (make_listing(m, &list) == -1)
		return;
	m->is_quiet = false; /* the stamps are no longer those of m->list */
	for (size_t i = maildir_search(&list, name); i < list.count; i++) {
		const char *other = list.names + list.messages[i].name;

		if (compare_names(other, name) != 0)
			break;
		(void)snprintf(path, sizeof(path), "%s/%s",
		    directories[list.messages[i].in_cur], other);
		if (fstatat(m->dir, path, &twin, AT_SYMLINK_NOFOLLOW) == 0 &&
		    twin.st_dev == st->st_dev && twin.st_ino == st->st_ino)
			(void)unlinkat(m->dir, path, 0);
	}
	free_listing(&list);
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
	int base = (int)maildir_base_octets(name), before;

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
		result = rename_new(m->dir, path_of(m, idx, from), to);
	} while (result == -1 && is_elsewhere(m, idx, &tries));
	if (result == -1)
		return errno == ENOENT ? 0 : -1;
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
	lock_release(&m->lock, m->dir);
}
