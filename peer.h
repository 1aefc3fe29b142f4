/* SPDX-License-Identifier: ISC */
#ifndef POP3D_PEER_H
#define POP3D_PEER_H

#include <stdbool.h>

enum { PEER_IP_OCTETS = 64 };

struct peer {
	char ip[PEER_IP_OCTETS]; /* numeric, or "" where nobody tells */
	bool is_loopback;	 /* never true of an unknown address */
	bool has_tls;		 /* a wrapper says that TLS is on */
};

/* Finds who is at the other end, from the environment that superservers
 * leave (TCPREMOTEIP, SSLREMOTEIP, REMOTE_ADDR, REMOTE_HOST), else from the
 * socket at descriptor 0. */
void peer_find(struct peer *peer);

#endif
