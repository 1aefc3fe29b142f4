/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LOCK_H
#define POP3D_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LOCK_TEXT_OCTETS = 128 /* the whole content of the lock file */
};

/* A maildrop's lock (RFC 1939 section 4: exclusive access). */
struct lock {
	int file;	/* pop3d.lock, or -1 */
	bool has_first; /* the directory's lock */
};

/*
 * Locks the maildrop whose directory is `dir`, by flock on that descriptor
 * and by an open-file-description lock on the file pop3d.lock in it: the one
 * holds where nothing can be written, the other across hosts.  Never waits.
 * Returns 0; or -1 with errno, EWOULDBLOCK if another session has it, and
 * then `holder` (LOCK_TEXT_OCTETS) says which, or is "".
 */
int lock_take(struct lock *lock, int dir, char *holder);

/* Writes who has the lock into the file, whose modification time is the last
 * login.  `ip` is numeric or "".  A full disk keeps nobody out.  Returns that
 * time in nanoseconds, by the file system's own clock, or 0. */
uint64_t lock_sign(const struct lock *lock, const char *ip);

/* Gives up both; `dir` itself stays open. */
void lock_release(struct lock *lock, int dir);

#endif
