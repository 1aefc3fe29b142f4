/* SPDX-License-Identifier: ISC */
#ifndef POP3D_TLS_H
#define POP3D_TLS_H

#include <stdbool.h>
#include <stdint.h>

enum { TLS_DESCRIPTORS = 3 };

/* A UCSPI-TLS wrapper around this process, as its environment tells: SSLCTLFD,
 * SSLREADFD and SSLWRITEFD, and the policy in UCSPITLS. */
struct tls {
	bool is_offered;  /* there is one */
	bool is_required; /* UCSPITLS is "!": no login without TLS */
	bool is_broken;	  /* it names descriptors that are not there */
	/* Where it is told to begin, and what is read and written then. */
	int control, in, out;
};

/* Finds the wrapper; its descriptors are closed when another program is
 * executed from now on. */
void tls_find(struct tls *tls);

/*
 * The monitor's part of STLS: has the wrapper begin, waits for what it reports
 * until `deadline` (of now_msec()'s clock), takes that into the environment and
 * puts its descriptors in the places of 0 and 1.  Returns 0; or -1 if the
 * handshake failed or took too long: then nobody can speak to the client.
 */
int tls_start(const struct tls *tls, int64_t deadline);

#endif
