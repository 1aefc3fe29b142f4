/* SPDX-License-Identifier: ISC */
#ifndef POP3D_SANDBOX_H
#define POP3D_SANDBOX_H

#include "pop3d.h"

enum role {
	ROLE_GREETER, /* unprivileged, in an empty root */
	ROLE_SESSION  /* the mailbox's owner */
};

/*
 * The greeter, where started as root: goes to options->root, drops groups,
 * group and user, and makes sure that there is no way back.  Returns 0; or -1
 * after a line in the log.
 */
int sandbox_leave_root(const struct options *options);

/*
 * Gives up for good what a role does not need.  The session: refuses to be
 * root, and opens nothing more but below the directory `maildir` (greeter: -1).
 * Both: no new privileges, limits, and few system calls.  What the system
 * lacks of that is logged, and fatal only under -S.
 * Returns 0; or -1 after a line in the log.
 */
int sandbox_enter(enum role role, const struct options *options, int maildir);

/* The path of this program, which the checkpassword program may start from
 * another directory; or its name, to be searched for.  Static. */
char *own_path(void);

/* Closes every descriptor above 2 but those of a TLS wrapper, if one is
 * there. */
void close_descriptors(const struct tls *tls);

#endif
