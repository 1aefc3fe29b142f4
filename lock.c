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
void
lock_holder(int file, char *holder)
{
	char text[LOCK_TEXT_OCTETS], since[32], ip[64] = "";
	ssize_t n = file != -1 ? pread(file, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "since=%31[0-9TZ:-] ip=%63[0-9a-fA-F.:]", since, ip) >=
	    1)
		(void)snprintf(holder, LOCK_TEXT_OCTETS, " since %s%s%s", since,
		    *ip != '\0' ? " by a session from " : "", ip);
}

int
lock_take(int *file, int dir, char *holder)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	bool has_first = flock(dir, LOCK_EX | LOCK_NB) == 0;
	bool is_taken = !has_first && errno == EWOULDBLOCK;
	struct stat st;
	int error = 0;

	holder[0] = '\0';
	*file = listing_open(dir, LOCK_NAME, O_RDWR | O_CREAT, &st);
	if (*file == -1) {
		error = errno;
	} else if (!is_taken && fcntl(*file, F_OFD_SETLK, &range) == -1) {
		is_taken = errno == EAGAIN || errno == EACCES;
		error = ENOLCK; /* not on this file system */
	}
	if (is_taken) {
		lock_holder(*file, holder);
		error = EWOULDBLOCK;
	} else if (error == 0 ||
		   (has_first &&
		       (error == ENOLCK || error == EROFS || error == ENOSPC ||
			   error == EDQUOT || error == EACCES)))
		return 0;
	lock_release(*file, dir);
	errno = error;
	return -1;
}

uint64_t
lock_sign(int file, const char *ip)
{
	char text[LOCK_TEXT_OCTETS];
	time_t now = time(NULL);
	struct stat st;
	struct tm utc;
	size_t octets;

	if (file == -1 || gmtime_r(&now, &utc) == NULL)
		return listing_clock();
	memset(text, ' ', sizeof(text));
	octets = strftime(text, sizeof(text), "since=%Y-%m-%dT%H:%M:%SZ", &utc);
	octets += (size_t)snprintf(text + octets, sizeof(text) - octets,
	    "%s%.63s pid=%ld", *ip != '\0' ? " ip=" : "", ip, (long)getpid());
	/* Always as long, so that nothing of an earlier text is left. */
	text[octets] = ' ';
	text[sizeof(text) - 1] = '\n';
	if (pwrite(file, text, sizeof(text), 0) == -1 || fstat(file, &st) == -1)
		return listing_clock();
	return listing_nsec(&st.st_mtim);
}

uint64_t
lock_age(int file, uint64_t most)
{
	time_t now = time(NULL);
	struct stat st;

	/* Empty: made just now.  From the future: a clock was wrong. */
	if (file == -1 || fstat(file, &st) == -1 || st.st_size == 0 ||
	    st.st_mtime > now)
		return most;
	return (uint64_t)(now - st.st_mtime);
}

void
lock_release(int file, int dir)
{
	if (file != -1)
		(void)close(file);
	(void)flock(dir, LOCK_UN);
}
