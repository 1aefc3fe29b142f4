/* SPDX-License-Identifier: ISC */
#ifndef POP3D_MONITOR_H
#define POP3D_MONITOR_H

#include <stdint.h>

/*
 * What crosses from the greeter to the monitor, over a socket that keeps
 * messages apart: one request, then one verdict.  The greeter is not
 * trusted: the length of each part is checked.
 */

/* What is asked for: mostly to judge credentials, by these mechanisms. */
enum kind {
	MECHANISM_USER,
	MECHANISM_APOP,
	MECHANISM_PLAIN,
	MECHANISM_LOGIN,
	MECHANISM_CRAM_MD5,
	MECHANISM_OAUTHBEARER,
	MECHANISM_XOAUTH2,
	MECHANISMS,
	REQUEST_STLS = MECHANISMS, /* to begin TLS; no text */
	REQUEST_PROXY		   /* to take the text, a struct proxied */
};

enum {
	USER_OCTETS = 255,    /* RFC 4616 section 2 */
	SECRET_OCTETS = 9216, /* what a SASL line can carry */
	CHALLENGE_OCTETS = 255
};

struct request {
	uint16_t kind;
	/* User, secret and challenge, each with a NUL behind it, and then
	 * the message ends: what the checkpassword program is to read. */
	char text[USER_OCTETS + SECRET_OCTETS + CHALLENGE_OCTETS + 3];
};

enum verdict_code {
	VERDICT_WRONG,	   /* -ERR [AUTH] */
	VERDICT_PERMANENT, /* -ERR [SYS/PERM] */
	VERDICT_TEMPORARY, /* -ERR [SYS/TEMP] */
	VERDICT_DONE	   /* what was no question of credentials */
};

/* There is none for right credentials: then the session has answered the
 * client, and the monitor closes the socket. */
struct verdict {
	uint8_t code;
	uint8_t is_last; /* no more attempts: close the connection */
};

#endif
