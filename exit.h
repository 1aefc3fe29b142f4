/* SPDX-License-Identifier: ISC */
#ifndef POP3D_EXIT_H
#define POP3D_EXIT_H

/* The exit codes of all programs here, by the checkpassword interface.  Those
 * of a session exclude all but 0 and EXIT_USAGE: the monitor takes them for a
 * checkpassword program's. */
enum {
	EXIT_REFUSED = 1, /* wrong user name or password */
	EXIT_MISUSE = 2,  /* of the checkpassword interface */
	EXIT_USAGE = 100,
	EXIT_SYSTEM = 111 /* a problem of the system's, for now */
};

#endif
