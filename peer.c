/* SPDX-License-Identifier: ISC */
/*
 * Who is at the other end.  Runs in the monitor before it forks, and in the
 * session; believes the superserver's environment, but checks its form.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool
peer_address(const char *ip, bool *is_loopback)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct in6_addr v6;
	struct in_addr v4;

	*is_loopback = false;
	if (inet_pton(AF_INET, ip, &v4) == 1) {
		*is_loopback = ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
		return true;
	}
	if (inet_pton(AF_INET6, ip, &v6) != 1)
		return false;
	*is_loopback = IN6_IS_ADDR_LOOPBACK(&v6) ||
		       (memcmp(&v6, mapped, sizeof(mapped)) == 0 &&
			   v6.s6_addr[12] == IN_LOOPBACKNET);
	return true;
}

/* Takes `text` for the address if it is one; a zone, which only IPv6 has
 * (fe80::1%eth0), is cut. */
static bool
set_address(struct peer *peer, const char *text)
{
	size_t octets;

	if (text == NULL)
		return false;
	octets = strcspn(text, strchr(text, ':') != NULL ? "%" : "");
	if (octets >= sizeof(peer->ip))
		return false;
	memcpy(peer->ip, text, octets);
	peer->ip[octets] = '\0';
	if (peer_address(peer->ip, &peer->is_loopback))
		return true;
	peer->ip[0] = '\0';
	return false;
}

static void
ask_socket(struct peer *peer)
{
	struct sockaddr_storage address = {0};
	socklen_t octets = sizeof(address);
	char text[INET6_ADDRSTRLEN];
	const void *ip;

	if (getpeername(0, (struct sockaddr *)&address, &octets) == -1)
		return;
	if (address.ss_family == AF_INET)
		ip = &((struct sockaddr_in *)&address)->sin_addr;
	else if (address.ss_family == AF_INET6)
		ip = &((struct sockaddr_in6 *)&address)->sin6_addr;
	else
		return;
	(void)set_address(
	    peer, inet_ntop(address.ss_family, ip, text, sizeof(text)));
}

void
peer_find(struct peer *peer)
{
	static const char *const names[] = {
	    "TCPREMOTEIP", "SSLREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST"};
	const char *tls = getenv("SSL_PROTOCOL");
	bool found = false;

	peer->ip[0] = '\0';
	peer->is_loopback = false;
	peer->has_tls = tls != NULL && *tls != '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !found; i++)
		found = set_address(peer, getenv(names[i]));
	if (!found)
		ask_socket(peer);
}
