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
fail(const char *what, const char *path)
{
	log_error(what, path, errno);
	return -1;
}

static int
drop_root(const struct options *o)
{
	struct stat root;

	if (chdir(o->root) == -1 || stat(".", &root) == -1)
		return fail("cannot enter the greeter's root", o->root);
	if (root.st_uid != 0 || (root.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		errno = EPERM;
		return fail("the greeter's root is not root's alone", o->root);
	}
	if (chroot(".") == -1)
		return fail("cannot change root", o->root);
	if (setgroups(0, NULL) == -1 || setgid(o->gid) == -1 ||
	    setuid(o->uid) == -1)
		return fail("cannot become the greeter's user", NULL);
	if (setuid(0) != -1 || setgid(0) != -1 || geteuid() != o->uid ||
	    getegid() != o->gid) {
		errno = EPERM;
		return fail("the greeter's user can become root", NULL);
	}
	return 0;
}

int
sandbox_enter(enum role role, const struct options *o)
{
	if (role == ROLE_GREETER)
		return geteuid() == 0 ? drop_root(o) : 0;
	if (getuid() == 0 || geteuid() == 0) {
		log_error("a mailbox of root is not served", NULL, 0);
		return -1;
	}
	return 0;
}
