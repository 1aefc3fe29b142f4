/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LOCK_H
#define POP3D_LOCK_H

#include <stdint.h>

enum {
	LOCK_TEXT_OCTETS = 128 /* the whole content of the lock file */
};

/*
 * Locks the maildrop whose directory is `dir` (RFC 1939 section 4: exclusive
 * access), by flock on that descriptor and by an open-file-description lock
 * on the file pop3d.lock in it: the one holds where nothing can be written,
 * the other across hosts.  Never waits.  Returns 0, and in *file that file or
 * -1; or -1 with errno, EWOULDBLOCK if another session has it, and then
 * `holder` (LOCK_TEXT_OCTETS) says which, or is "".
 */
int lock_take(int *file, int dir, char *holder);

/* Writes who has the lock into the file, whose modification time is the last
 * login.  `ip` is numeric or "".  A full disk keeps nobody out.  Returns that
 * time in nanoseconds, by the file system's own clock where it can be had. */
uint64_t lock_sign(int file, const char *ip);

/* Writes into `holder` what that file says of who has the lock, if it does. */
void lock_holder(int file, char *holder);

/* The seconds since the last login, at least `most` where there was none, or
 * nobody can tell. */
uint64_t lock_age(int file, uint64_t most);

/* Gives up both; `dir` itself stays open. */
void lock_release(int file, int dir);

#endif
