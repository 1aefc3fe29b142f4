/* SPDX-License-Identifier: ISC */
/*
 * What pop3d-doctor finds wrong with a user's Maildir.  All of it runs in a
 * child that has become that user, who may have put anything there.  What a
 * session must not do in the sandbox, such as to ask for a lock, is done
 * first; then the child enters the session's own sandbox and reads the names,
 * the index and the unique-ids by the session's own code.
 *
 * Nothing is written, and no lock is taken.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "index.h"
#include "listing.h"
#include "lock.h"
#include "maildir.h"
#include "sandbox.h"

enum {
	FUTURE_SEC = 60,       /* ahead is no wonder */
	STALE_SEC = 36 * 3600, /* in tmp: given up */
	WALK_DIRECTORIES = 3,  /* new, cur, tmp */
	SECOND_NSEC = 1000000000
};

/* A Maildir to look at. */
struct look {
	const struct service *service;
	const char *home; /* or NULL */
	const char *path;
	struct identity who;
};

/* In the child. */
static const char *top; /* the path, for findings */
static DIR *walks[WALK_DIRECTORIES];
static bool is_writable, in_use;
static time_t now, newest;
static char newest_path[PATH_MAX];
static struct {
	size_t strays, unreadable, old, twins, uids;
} found;

/* For the owner to mend. */
#define OWN "chown -R %lu:%lu"

static unsigned long
uid(void)
{
	return (unsigned long)getuid();
}

static unsigned long
gid(void)
{
	return (unsigned long)getgid();
}

/* Opens the Maildir as a session does; -1 after saying why not. */
static int
open_top(const struct look *look)
{
	int dir;

	if (look->home != NULL && chdir(look->home) == -1) {
		say(LEVEL_ERROR,
		    "%s: user %lu cannot enter this home directory: %s. Mend "
		    "it: install -d -o %lu -g %lu -m 700 %s",
		    look->home, uid(), strerror(errno), uid(), gid(),
		    look->home);
		return -1;
	}
	dir = open(look->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir == -1 && errno == ENOENT)
		say(LEVEL_ERROR,
		    "%s: there is no such Maildir. Make it: install -d -o %lu "
		    "-g %lu -m 700 %s %s/new %s/cur %s/tmp",
		    top, uid(), gid(), top, top, top, top);
	else if (dir == -1)
		say(LEVEL_ERROR,
		    "%s: user %lu cannot open this Maildir: %s. Mend it: " OWN
		    " %s",
		    top, uid(), strerror(errno), uid(), gid(), top);
	return dir;
}

/* A directory, the Maildir's own if `name` is "", belongs to its user, who may
 * do there what he must, and nobody else. */
static void
check_directory(int dir, const char *name)
{
	const char *slash = *name != '\0' ? "/" : "";
	const char *path = *name != '\0' ? name : ".";
	struct stat st;

	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    !S_ISDIR(st.st_mode))
		return;
	if (faccessat(dir, path, R_OK | X_OK, 0) == -1)
		say(LEVEL_ERROR,
		    "%s%s%s: user %lu may not read this directory (owner %lu, "
		    "mode %04o). Mend it: " OWN " %s; chmod u+rwx %s%s%s",
		    top, slash, name, uid(), (unsigned long)st.st_uid,
		    (unsigned)st.st_mode & 07777U, uid(), gid(), top, top,
		    slash, name);
	else if (is_writable && faccessat(dir, path, W_OK, 0) == -1)
		say(LEVEL_ERROR,
		    "%s%s%s: user %lu may not write to this directory (owner "
		    "%lu, mode %04o), and so delete no mail. Mend it: " OWN
		    " %s; chmod u+rwx %s%s%s",
		    top, slash, name, uid(), (unsigned long)st.st_uid,
		    (unsigned)st.st_mode & 07777U, uid(), gid(), top, top,
		    slash, name);
	else if (st.st_uid != getuid())
		say(LEVEL_WARNING,
		    "%s%s%s: this directory belongs to user %lu, not to %lu. "
		    "Mend it: " OWN " %s",
		    top, slash, name, (unsigned long)st.st_uid, uid(), uid(),
		    gid(), top);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		say(LEVEL_WARNING,
		    "%s%s%s: others than its owner may write to this directory "
		    "(mode %04o). Mend it: chmod go-w %s%s%s",
		    top, slash, name, (unsigned)st.st_mode & 07777U, top, slash,
		    name);
}

/* As faccessat, for a file system: what can be written at all. */
static void
check_file_system(int dir)
{
	struct statvfs fs;

	is_writable = true;
	if (fstatvfs(dir, &fs) == -1)
		return;
	is_writable = (fs.f_flag & ST_RDONLY) == 0;
	if (!is_writable)
		say(LEVEL_ERROR,
		    "%s: the file system is read-only: mail can be read, but "
		    "neither come nor be deleted. Mount it for writing",
		    top);
	else if (fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0))
		say(LEVEL_ERROR,
		    "%s: the file system is full (%s): no mail can come, and "
		    "no index be written. Make room",
		    top, fs.f_bavail == 0 ? "no blocks" : "no inodes");
}

/* Opens new, cur and tmp; false if mail cannot be listed. */
static bool
open_walks(int dir)
{
	static const char *const names[WALK_DIRECTORIES] = {
	    "new", "cur", "tmp"};
	bool is_complete = true;
	struct stat st;

	for (size_t i = 0; i < WALK_DIRECTORIES; i++) {
		int fd = openat(dir, names[i],
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW) == -1 &&
		    errno == ENOENT)
			say(i == 2 ? LEVEL_NOTE : LEVEL_ERROR,
			    "%s/%s is missing: %s. Make it: install -d -o %lu "
			    "-g %lu -m 700 %s/%s",
			    top, names[i],
			    i == 2 ? "pop3d can do without, but who delivers "
				     "mail cannot"
				   : "nobody can log in",
			    uid(), gid(), top, names[i]);
		else if (fd == -1 && (errno == ENOTDIR || errno == ELOOP))
			say(LEVEL_ERROR,
			    "%s/%s is no directory, or a link to one: nobody "
			    "can log in. Put a directory there",
			    top, names[i]);
		check_directory(dir, names[i]);
		walks[i] = fd != -1 ? fdopendir(fd) : NULL;
		is_complete &= i == 2 || walks[i] != NULL;
		if (i < 2 && fstatat(dir, names[i], &st, 0) == 0 &&
		    (st.st_mtime > now + 1 || st.st_ctime > now + 1))
			say(LEVEL_WARNING,
			    "%s/%s was changed in the future, by %lld seconds: "
			    "until then the index serves for nothing. Set the "
			    "clock, the file server's too; then: touch %s/%s",
			    top, names[i],
			    (long long)((st.st_mtime > st.st_ctime
						? st.st_mtime
						: st.st_ctime) -
					now),
			    top, names[i]);
	}
	return is_complete;
}

#ifdef F_OFD_GETLK
#define GETLK F_OFD_GETLK
#else
#define GETLK F_GETLK
#endif

/* Asks whether a session has the lock; does not take it. */
static void
check_lock(int dir)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char holder[LOCK_TEXT_OCTETS] = "";
	struct stat st;
	int fd = listing_open(dir, "pop3d.lock", O_RDWR, &st), error = errno;

	if (fd == -1 && error == ENOENT)
		return;
	if (fd == -1 && error == EACCES)
		say(LEVEL_WARNING,
		    "%s/pop3d.lock: user %lu may not write to it: sessions on "
		    "other hosts are not kept out. Mend it: chown %lu:%lu %s"
		    "/pop3d.lock",
		    top, uid(), uid(), gid(), top);
	else if (fd == -1 && error != EROFS)
		say(LEVEL_ERROR,
		    "%s/pop3d.lock cannot be opened, or is no plain file (%s): "
		    "nobody can log in. Remove it",
		    top, strerror(error));
	if (fd == -1)
		return;
	if (fcntl(fd, GETLK, &range) == -1) {
		say(LEVEL_ERROR,
		    "%s: the file system has no locks (%s). Mount it with "
		    "them",
		    top, strerror(errno));
	} else if (range.l_type != F_UNLCK) {
		in_use = true;
		lock_holder(fd, holder);
		say(LEVEL_NOTE, "%s is in use%s", top,
		    *holder != '\0' ? holder : " by another program");
	} else {
		say(LEVEL_OK, "%s is not in use", top);
	}
	(void)close(fd);
}

/* What is no message, and never will be one. */
static const char *
stray_kind(const char *name, const struct stat *st)
{
	return S_ISDIR(st->st_mode)    ? "a directory"
	       : S_ISLNK(st->st_mode)  ? "a symbolic link"
	       : S_ISFIFO(st->st_mode) ? "a FIFO"
	       : S_ISSOCK(st->st_mode) ? "a socket"
	       : !S_ISREG(st->st_mode) ? "a device"
	       : *name == '.'	       ? "a file whose name begins with a dot"
				       : NULL;
}

/* Whether the user can open a message. */
static bool
is_readable(int dir, const char *name, const struct stat *st)
{
	struct stat opened;
	int fd;

	if (st->st_uid == getuid() && (st->st_mode & S_IRUSR) != 0)
		return true;
	fd = listing_open(dir, name, O_RDONLY, &opened);
	if (fd != -1)
		(void)close(fd);
	return fd != -1 || errno == ENOENT;
}

/* A file of new or cur.  Its name, which anybody may have made, is in no
 * command that is to be copied. */
static void
check_file(int dir, const char *where, const char *name, const struct stat *st)
{
	const char *kind = stray_kind(name, st);

	if (kind != NULL) {
		if (say_again(&found.strays))
			say(LEVEL_WARNING,
			    "%s/%s/%s is %s, and never listed as a message. "
			    "Move it away",
			    top, where, name, kind);
		return;
	}
	if (!is_readable(dir, name, st) && say_again(&found.unreadable))
		say(LEVEL_ERROR,
		    "%s/%s/%s: user %lu may not read this message (owner %lu, "
		    "mode %04o). Mend it: " OWN " %s; chmod -R u+rwX %s",
		    top, where, name, uid(), (unsigned long)st->st_uid,
		    (unsigned)st->st_mode & 07777U, uid(), gid(), top, top);
	if (st->st_mtime > newest) {
		newest = st->st_mtime;
		(void)snprintf(newest_path, sizeof(newest_path), "%s/%s/%s",
		    top, where, name);
	}
}

/* All names of new, cur and tmp. */
static void
check_files(void)
{
	for (size_t i = 0; i < WALK_DIRECTORIES; i++) {
		const struct dirent *e;
		struct stat st;

		while (walks[i] != NULL && (e = readdir(walks[i])) != NULL) {
			if (strcmp(e->d_name, ".") == 0 ||
			    strcmp(e->d_name, "..") == 0 ||
			    fstatat(dirfd(walks[i]), e->d_name, &st,
				AT_SYMLINK_NOFOLLOW) == -1)
				continue;
			if (i < 2)
				check_file(dirfd(walks[i]), directories[i],
				    e->d_name, &st);
			else
				found.old += S_ISREG(st.st_mode) &&
					     st.st_mtime < now - STALE_SEC;
		}
	}
	say_rest(found.strays, "files that are no messages");
	say_rest(found.unreadable, "messages that cannot be read");
	if (found.old > 0)
		say(LEVEL_WARNING,
		    "%s/tmp: %zu files are older than 36 hours: what was never "
		    "delivered to the end. Remove them: find %s/tmp -type f "
		    "-mmin +2160 -delete",
		    top, found.old, top);
	if (newest > now + FUTURE_SEC)
		say(LEVEL_WARNING,
		    "%s is from the future, by %lld seconds: the clock goes "
		    "wrong, or went wrong then. Set it",
		    newest_path, (long long)(newest - now));
}

/* Whether the index, of directories that are as it says, tells the truth. */
static bool
is_true(const struct listing *index, const struct listing *list)
{
	if (index->count != list->count)
		return false;
	for (size_t i = 0; i < list->count; i++) {
		const struct message *a = &index->messages[i];
		const struct message *b = &list->messages[i];

		if (a->in_cur != b->in_cur ||
		    strcmp(index->names + a->name, list->names + b->name) != 0)
			return false;
	}
	return true;
}

/* Opens and judges the index as a session does. */
static void
check_index(int dir, const struct listing *list, const struct stamp stamps[2])
{
	static const struct stamp never[2];
	struct index x = {.fd = -1};
	struct listing stored = {0};
	uint64_t now_nsec;
	struct stat st;

	if (fstatat(dir, "pop3d.index", &st, AT_SYMLINK_NOFOLLOW) == -1) {
		say(LEVEL_OK, "%s has no index yet; the next login makes one",
		    top);
		return;
	}
	/* Some kernels' files are some milliseconds ahead of their clock. */
	now_nsec = listing_clock() + SECOND_NSEC;
	index_open(&x, dir, now_nsec);
	if (!S_ISREG(st.st_mode))
		say(S_ISDIR(st.st_mode) ? LEVEL_ERROR : LEVEL_WARNING,
		    "%s/pop3d.index is no plain file, and no index. Remove it",
		    top);
	else if (st.st_uid != getuid() || st.st_nlink != 1)
		say(LEVEL_WARNING,
		    "%s/pop3d.index belongs to user %lu, and has %lu names: it "
		    "is not used, and the next login replaces it if it can. "
		    "Remove it",
		    top, (unsigned long)st.st_uid, (unsigned long)st.st_nlink);
	else if (in_use)
		say(LEVEL_OK, "%s/pop3d.index is not judged: a session has it",
		    top);
	else if (x.fd == -1 || index_load(&x, &stored) == -1)
		say(LEVEL_WARNING,
		    "%s/pop3d.index is damaged, or of another machine. The "
		    "next login makes it anew; if this comes again, look at "
		    "the disk",
		    top);
	else if (x.header.listed_nsec > now_nsec)
		say(LEVEL_WARNING,
		    "%s/pop3d.index was written in the future, and is not used "
		    "until then: the clock was set back. Remove it",
		    top);
	else if (memcmp(stamps, x.header.stamps, sizeof(never)) != 0 ||
		 memcmp(stamps, never, sizeof(never)) == 0)
		say(LEVEL_OK,
		    "%s/pop3d.index is stale: there were changes since it was "
		    "written",
		    top);
	else if (!is_true(&stored, list))
		say(LEVEL_ERROR,
		    "%s/pop3d.index passes for fresh, but says what is not "
		    "true: %zu messages, where there are %zu. Remove it, and "
		    "report it",
		    top, stored.count, list->count);
	else
		say(LEVEL_OK, "%s/pop3d.index is fresh", top);
}

/* Two files whose names differ in their flags only. */
static void
check_twins(int dir, const struct listing *list)
{
	struct listing all = {0};
	struct stamp stamps[2] = {{0}};
	bool is_same[2];

	if (!list->has_twins || listing_read(&all, dir, stamps, is_same) == -1)
		return;
	for (size_t i = 0; i < all.total; i++) {
		const char *name = all.names + all.messages[i].name;
		const struct message *m = listing_search(list, name);

		if (m == NULL ||
		    (m->in_cur == all.messages[i].in_cur &&
			strcmp(list->names + m->name, name) == 0) ||
		    !say_again(&found.twins))
			continue;
		say(LEVEL_WARNING,
		    "%s/%s/%s and %s/%s/%s have one unique-id, and are one "
		    "message to clients. Look which is wanted, and remove the "
		    "other",
		    top, directories[all.messages[i].in_cur], name, top,
		    directories[m->in_cur], list->names + m->name);
	}
	say_rest(found.twins, "pairs of that kind");
	listing_free(&all);
}

struct id {
	char text[UID_OCTETS + 1];
	size_t idx;
};

static int
by_text(const void *a, const void *b)
{
	const struct id *x = a, *y = b;

	return strcmp(x->text, y->text);
}

/* What UIDL would say; pop3d's own code complains of pop3d.uidl. */
static void
check_uids(struct maildrop *m)
{
	struct id *ids = calloc(m->count + 1, sizeof(*ids));

	if (ids == NULL || maildir_load_uids(m) == -1) {
		say(LEVEL_ERROR,
		    "%s: the unique-ids cannot be made, of %zu messages: %s",
		    top, m->count, strerror(errno));
		free(ids);
		return;
	}
	for (size_t i = 0; i < m->count; i++) {
		maildir_uid(m, i, ids[i].text);
		ids[i].idx = i;
	}
	if (m->count > 0)
		qsort(ids, m->count, sizeof(*ids), by_text);
	for (size_t i = 1; i < m->count; i++)
		if (by_text(&ids[i - 1], &ids[i]) == 0 &&
		    say_again(&found.uids))
			say(LEVEL_ERROR,
			    "%s: %s and %s have the same unique-id, %s: "
			    "clients fetch only one of them. Rename one",
			    top, maildir_name(m, ids[i - 1].idx),
			    maildir_name(m, ids[i].idx), ids[i].text);
	say_rest(found.uids, "such pairs");
	free(ids);
}

/* In the child: all of one Maildir. */
static void
look_at(const void *argument)
{
	static struct maildrop m = {.lock = -1, .index = {.fd = -1}};
	const struct look *look = argument;
	struct options o = look->service->options;
	struct stamp stamps[2] = {{0}};
	bool is_same[2];

	now = time(NULL);
	top = look->path;
	m.dir = open_top(look);
	if (m.dir == -1)
		return;
	check_file_system(m.dir);
	check_directory(m.dir, "");
	check_lock(m.dir);
	if (!open_walks(m.dir))
		return;
	/* Without what has been found to be missing. */
	o.flags[0] = '\0';
	if (sandbox_enter(ROLE_SESSION, &o, m.dir) == -1)
		return;
	check_files();
	if (listing_read(&m.list, m.dir, stamps, is_same) == -1 ||
	    listing_sort(&m.list) == -1) {
		say(LEVEL_ERROR, "%s: mail cannot be listed: %s", top,
		    strerror(errno));
		return;
	}
	m.count = m.list.count;
	m.is_loaded = true;
	check_index(m.dir, &m.list, stamps);
	check_twins(m.dir, &m.list);
	check_uids(&m);
	say(LEVEL_OK, "%s has %zu messages", top, m.count);
}

static void
start(struct look *look)
{
	if (look->who.uid == 0)
		say(LEVEL_ERROR,
		    "%s belongs to root, whose mail is never served. Give it "
		    "to a user: chown -R user %s",
		    look->path, look->path);
	else
		(void)in_child(&look->who, look_at, look, 0);
}

void
check_mail(struct service *s)
{
	struct look look = {.service = s};
	char home[PATH_MAX], own[PATH_MAX], path[2 * PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < s->user_count; i++) {
		const char *maildir = s->options.maildir;

		if (!user_find(s, s->users[i], &look.who, home, own))
			continue;
		if (maildir == NULL)
			maildir = own[0] != '\0' ? own : "Maildir";
		if (s->pop3d[0] != '\0' && look.who.uid != 0)
			say_executable(s->pop3d, &look.who);
		(void)snprintf(path, sizeof(path), "%s%s%s",
		    *maildir != '/' ? home : "", *maildir != '/' ? "/" : "",
		    maildir);
		look.home = home;
		look.path = path;
		start(&look);
	}
	look.home = NULL;
	for (size_t i = 0; i < s->maildir_count; i++) {
		look.path = s->maildirs[i];
		if (stat(look.path, &st) == -1) {
			say(LEVEL_ERROR,
			    "%s: this Maildir: %s. Correct its name", look.path,
			    strerror(errno));
			continue;
		}
		look.who = (struct identity){NULL, st.st_uid, st.st_gid};
		if (s->uid != NO_ID && s->gid != NO_ID)
			look.who = (struct identity){NULL, s->uid, s->gid};
		start(&look);
	}
	if (!s->is_session || s->user_count + s->maildir_count > 0)
		return;
	look.path = s->options.maildir != NULL ? s->options.maildir : "Maildir";
	look.who = (struct identity){NULL, getuid(), getgid()};
	if (getuid() != 0)
		start(&look);
	else
		say(LEVEL_NOTE,
		    "pop3d -t does not run as root. Name a user: -U user");
}
