/* SPDX-License-Identifier: ISC */
/*
 * What a process gives up.  All that is one operating system's own stands
 * in this file.  The greeter comes here as root or as the mail user, the
 * session as the mailbox's owner.
 */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

enum {
	/* Where the kernel cannot close a range, and the limit is huge. */
	DESCRIPTORS_MOST = 65536
};

void
close_descriptors(void)
{
	long limit;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
		return;
#endif
	limit = sysconf(_SC_OPEN_MAX);
	if (limit < 0 || limit > DESCRIPTORS_MOST)
		limit = DESCRIPTORS_MOST;
	for (int fd = 3; fd < (int)limit; fd++)
		(void)close(fd);
}

static int
drop_root(const struct options *o)
{
	struct stat root;

	if (chdir(o->root) == -1 || stat(".", &root) == -1)
		return -1;
	errno = EPERM;
	if (root.st_uid != 0 || (root.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -1;
	if (chroot(".") == -1 || setgroups(0, NULL) == -1 ||
	    setgid(o->gid) == -1 || setuid(o->uid) == -1)
		return -1;
	errno = EPERM;
	return setuid(0) != -1 || setgid(0) != -1 || geteuid() != o->uid ||
		       getegid() != o->gid
		   ? -1
		   : 0;
}

int
sandbox_enter(enum role role, const struct options *o)
{
	if (role == ROLE_GREETER && geteuid() == 0 && drop_root(o) == -1) {
		log_error(
		    "cannot leave root for the greeter's directory", o->root);
		return -1;
	}
	/* Whether it is root, or was and could be again. */
	if (role == ROLE_SESSION && setuid(0) == 0) {
		log_event("error what=%s", "a mailbox of root is not served");
		return -1;
	}
	return 0;
}
