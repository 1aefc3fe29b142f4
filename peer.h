/* SPDX-License-Identifier: ISC */
#ifndef POP3D_PEER_H
#define POP3D_PEER_H

#include <stdbool.h>
#include <stdint.h>

enum { PEER_IP_OCTETS = 64 };

/* What a PROXY header says; crosses from the greeter to the monitor. */
struct proxied {
	uint8_t octets;	  /* of an address: 4 or 16; 0 where it is unknown */
	uint8_t is_local; /* it is the proxy itself that connects */
	uint8_t has_tls;  /* between the client and the proxy */
	/* The client's, and where it connected to. */
	uint8_t addresses[2][16];
	uint16_t ports[2];
};

struct peer {
	char ip[PEER_IP_OCTETS];  /* numeric, or "" where nobody tells */
	char via[PEER_IP_OCTETS]; /* the same of a proxy, else "" */
	bool is_loopback;	  /* never true of an unknown address */
	bool has_tls;		  /* a wrapper says that TLS is on */
};

/* Finds who is at the other end, from the environment that superservers
 * leave (TCPREMOTEIP, SSLREMOTEIP, REMOTE_ADDR, REMOTE_HOST), else from the
 * socket at descriptor 0.  An empty TCPREMOTEIP says that nobody knows. */
void peer_find(struct peer *peer);

/* Makes the proxy's client the one at the other end, and says so in the
 * environment.  Returns 0, or -1. */
int peer_set_proxied(struct peer *peer, const struct proxied *p);

#endif
