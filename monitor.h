/* SPDX-License-Identifier: ISC */
#ifndef POP3D_MONITOR_H
#define POP3D_MONITOR_H

#include <stdint.h>

/*
 * What crosses from the greeter to the monitor, over a socket that keeps
 * messages apart: one request, then one verdict.  The greeter is not
 * trusted: lengths are checked against the message's own.
 */

enum mechanism {
	MECHANISM_USER,
	MECHANISM_APOP,
	MECHANISM_PLAIN,
	MECHANISM_LOGIN,
	MECHANISMS
};

enum {
	USER_OCTETS = 255,    /* RFC 4616 section 2 */
	SECRET_OCTETS = 9216, /* what a SASL line can carry */
	CHALLENGE_OCTETS = 255
};

struct request {
	uint16_t mechanism;
	uint16_t user_octets, secret_octets, challenge_octets;
	/* User, secret and challenge, one behind the other, without NULs;
	 * the message ends with the challenge. */
	char text[USER_OCTETS + SECRET_OCTETS + CHALLENGE_OCTETS];
};

enum verdict_code {
	VERDICT_WRONG,	   /* -ERR [AUTH] */
	VERDICT_PERMANENT, /* -ERR [SYS/PERM] */
	VERDICT_TEMPORARY  /* -ERR [SYS/TEMP] */
};

/* There is none for success: then the session has answered the client, and
 * the monitor closes the socket. */
struct verdict {
	uint8_t code;
	uint8_t is_last; /* no more attempts: close the connection */
};

#endif
