/* SPDX-License-Identifier: ISC */
/*
 * One session a maildrop, across processes and hosts, and nothing left
 * behind by a killed one: locks of the kernel's, which end with the process.
 * Runs in the session, as the mailbox's owner.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "listing.h"

#define LOCK_NAME "pop3d.lock"

/* Elsewhere the lock is the process's own, which serves as well: a session
 * opens this file only once. */
#ifndef F_OFD_SETLK
#define F_OFD_SETLK F_SETLK
#endif

/* What the file says of the holder, if it has the form that lock_sign gives
 * it: its owner can write anything there. */
static void
read_holder(int file, char *holder)
{
	char text[LOCK_TEXT_OCTETS], since[32], ip[64];
	ssize_t n = file != -1 ? pread(file, text, sizeof(text) - 1, 0) : -1;

	holder[0] = '\0';
	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "since=%31[0-9TZ:-] ip=%63[0-9a-fA-F.:]", since, ip) ==
	    2)
		(void)snprintf(holder, LOCK_TEXT_OCTETS,
		    " since %s by a session from %s", since, ip);
	else if (sscanf(text, "since=%31[0-9TZ:-]", since) == 1)
		(void)snprintf(holder, LOCK_TEXT_OCTETS, " since %s", since);
}

/* The file's lock, where the directory's is held or cannot be had. */
static int
lock_file(struct lock *lock, int dir, bool has_first, char *holder)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;

	lock->file = openat(dir, LOCK_NAME,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (lock->file == -1)
		return has_first && (errno == EROFS || errno == ENOSPC ||
					errno == EDQUOT || errno == EACCES)
			   ? 0
			   : -1;
	if (fstat(lock->file, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EPERM;
		return -1;
	}
	if (fcntl(lock->file, F_OFD_SETLK, &range) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES) {
		read_holder(lock->file, holder);
		errno = EWOULDBLOCK;
		return -1;
	}
	/* A file system without such locks; the first one has to do. */
	return has_first ? 0 : -1;
}

int
lock_take(struct lock *lock, int dir, char *holder)
{
	bool has_first = flock(dir, LOCK_EX | LOCK_NB) == 0;
	int file, saved;

	holder[0] = '\0';
	lock->file = -1;
	lock->has_first = has_first;
	if (!has_first && errno == EWOULDBLOCK) {
		file = openat(dir, LOCK_NAME,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		read_holder(file, holder);
		if (file != -1)
			(void)close(file);
		errno = EWOULDBLOCK;
		return -1;
	}
	if (lock_file(lock, dir, has_first, holder) == 0)
		return 0;
	saved = errno;
	lock_release(lock, dir);
	errno = saved;
	return -1;
}

uint64_t
lock_sign(const struct lock *lock, const char *ip)
{
	char text[LOCK_TEXT_OCTETS];
	time_t now = time(NULL);
	struct stat st;
	struct tm utc;
	size_t octets;

	if (lock->file == -1 || gmtime_r(&now, &utc) == NULL)
		return 0;
	memset(text, ' ', sizeof(text));
	octets = strftime(text, sizeof(text), "since=%Y-%m-%dT%H:%M:%SZ", &utc);
	octets += (size_t)snprintf(text + octets, sizeof(text) - octets,
	    "%s%.63s pid=%ld", *ip != '\0' ? " ip=" : "", ip, (long)getpid());
	/* Always as long, so that nothing of an earlier text is left. */
	text[octets] = ' ';
	text[sizeof(text) - 1] = '\n';
	if (pwrite(lock->file, text, sizeof(text), 0) == -1 ||
	    fstat(lock->file, &st) == -1)
		return 0;
	return listing_nsec(&st.st_mtim);
}

void
lock_release(struct lock *lock, int dir)
{
	if (lock->file != -1)
		(void)close(lock->file);
	lock->file = -1;
	if (lock->has_first)
		(void)flock(dir, LOCK_UN);
	lock->has_first = false;
}
