/* SPDX-License-Identifier: ISC */
/*
 * Who is at the other end.  Runs in the monitor before it forks, and in the
 * session; believes the superserver's environment, but checks its form.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Takes `text` for the address if it is one; a zone, which only IPv6 has
 * (fe80::1%eth0), is cut. */
static bool
set_address(struct peer *peer, const char *text)
{
	struct in6_addr v6;
	struct in_addr v4;
	size_t octets;

	if (text == NULL)
		return false;
	octets = strcspn(text, strchr(text, ':') != NULL ? "%" : "");
	(void)snprintf(peer->ip, sizeof(peer->ip), "%.*s", (int)octets, text);
	/* One address, one form: ::ffff:192.0.2.1 is what a socket for both
	 * kinds says. */
	if (inet_pton(AF_INET6, peer->ip, &v6) == 1 &&
	    IN6_IS_ADDR_V4MAPPED(&v6))
		(void)inet_ntop(
		    AF_INET, v6.s6_addr + 12, peer->ip, sizeof(peer->ip));
	if (inet_pton(AF_INET, peer->ip, &v4) == 1)
		peer->is_loopback = ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	else if (inet_pton(AF_INET6, peer->ip, &v6) == 1)
		peer->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
	else
		peer->ip[0] = '\0';
	return peer->ip[0] != '\0';
}

static void
ask_socket(struct peer *peer)
{
	struct sockaddr_storage address = {0};
	socklen_t octets = sizeof(address);
	char text[INET6_ADDRSTRLEN];
	const void *ip = &((struct sockaddr_in6 *)&address)->sin6_addr;

	(void)getpeername(0, (struct sockaddr *)&address, &octets);
	if (address.ss_family == AF_INET)
		ip = &((struct sockaddr_in *)&address)->sin_addr;
	/* Of any other family inet_ntop makes nothing. */
	(void)set_address(
	    peer, inet_ntop(address.ss_family, ip, text, sizeof(text)));
}

void
peer_find(struct peer *peer)
{
	static const char *const names[] = {
	    "TCPREMOTEIP", "SSLREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST"};
	const char *tls = getenv("SSL_PROTOCOL"), *ip = getenv(names[0]);

	*peer = (struct peer){.has_tls = tls != NULL && *tls != '\0'};
	if (ip != NULL && *ip == '\0')
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (set_address(peer, getenv(names[i])))
			return;
	ask_socket(peer);
}

int
peer_set_proxied(struct peer *peer, const struct proxied *p)
{
	static const char *const names[][2] = {
	    {"TCPREMOTEIP", "TCPREMOTEPORT"}, {"TCPLOCALIP", "TCPLOCALPORT"}};
	char text[INET6_ADDRSTRLEN];

	memcpy(peer->via, peer->ip, sizeof(peer->via));
	if (p->is_local)
		return 0;
	(void)unsetenv("TCPLOCALHOST");
	(void)unsetenv("TCPREMOTEHOST");
	(void)unsetenv("TCPREMOTEINFO");
	/* The client last, so that it is what stays in *peer. */
	for (size_t i = 2; i-- > 0;) {
		text[0] = '\0';
		if (p->octets > 0)
			(void)inet_ntop(p->octets == 4 ? AF_INET : AF_INET6,
			    p->addresses[i], text, sizeof(text));
		(void)set_address(peer, text);
		if (setenv(names[i][0], peer->ip, 1) == -1)
			return -1;
		(void)snprintf(text, sizeof(text), "%u", p->ports[i]);
		if (setenv(names[i][1], text, 1) == -1)
			return -1;
	}
	peer->is_loopback = false;
	return 0;
}
