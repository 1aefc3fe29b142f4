/* SPDX-License-Identifier: ISC */
/*
 * The PROXY protocol (HAProxy's proxy-protocol.txt, whose sections are cited
 * here): who is at the other end of the proxy.  Runs in the greeter, which
 * knows that whoever connects can say anything.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <string.h>

#include "command.h"

enum {
	SIGNATURE = 12,	   /* octets; no header is shorter than that */
	TEXT_OCTETS = 107, /* section 2.1, CRLF included */
	PREFIX = 16,	   /* of a binary header, its length included */
	TLV_PREFIX = 3,
	TLV_CRC32C = 0x03,
	TLV_SSL = 0x20,
	SSL_PREFIX = 5, /* what the client did, and a verification's result */
	SSL_CLIENT = 0x01, /* TLS is on */
	LOCAL = 0x20,
	PROXY = 0x21
};

/* Section 2.2: families, the octets of an address where it is one that a POP3
 * client can have, and of all that stands before the TLVs. */
static const struct {
	unsigned char code, address, all;
} families[] = {
    {0x00, 0, 0},
    {0x11, 4, 12},
    {0x12, 0, 12},
    {0x21, 16, 36},
    {0x22, 0, 36},
    {0x31, 0, 216},
    {0x32, 0, 216},
};

static bool
parse_port(const char *text, uint16_t *port)
{
	uint64_t n;

	if (!parse_number(text, strlen(text), &n) || n > UINT16_MAX ||
	    (text[0] == '0' && text[1] != '\0'))
		return false;
	*port = (uint16_t)n;
	return true;
}

/* Section 2.1: PROXY TCP4 client proxy port port. */
static bool
parse_text(char *text, struct proxied *p)
{
	char *word[6];
	int family;

	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		word[i] = strsep(&text, " ");
	if (strcmp(word[0], "PROXY") != 0 || word[1] == NULL)
		return false;
	if (strcmp(word[1], "UNKNOWN") == 0)
		return true;
	family = strcmp(word[1], "TCP4") == 0 ? AF_INET : AF_INET6;
	p->octets = family == AF_INET ? 4 : 16;
	return (family == AF_INET || strcmp(word[1], "TCP6") == 0) &&
	       word[5] != NULL && text == NULL &&
	       inet_pton(family, word[2], p->addresses[0]) == 1 &&
	       inet_pton(family, word[3], p->addresses[1]) == 1 &&
	       parse_port(word[4], &p->ports[0]) &&
	       parse_port(word[5], &p->ports[1]);
}

static size_t
two_octets(const unsigned char *data)
{
	return (size_t)(data[0] << 8 | data[1]);
}

/* Section 2.2.4: over the whole header, the checksum itself taken for 0. */
static bool
is_sound(unsigned char *header, size_t octets, unsigned char *sum)
{
	uint32_t crc = UINT32_MAX, said = 0;

	for (size_t i = 0; i < sizeof(said); i++) {
		said = said << 8 | sum[i];
		sum[i] = 0;
	}
	for (size_t i = 0; i < octets; i++) {
		crc ^= header[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc == said;
}

/* Section 2.2: the header as it came, which is so long. */
static bool
parse_binary(unsigned char *header, size_t octets, struct proxied *p)
{
	size_t i = 0, at, length;
	const unsigned char *data;

	if (header[SIGNATURE] == LOCAL) {
		p->is_local = true;
		return true;
	}
	while (i < sizeof(families) / sizeof(families[0]) &&
	       families[i].code != header[SIGNATURE + 1])
		i++;
	if (header[SIGNATURE] != PROXY ||
	    i == sizeof(families) / sizeof(families[0]) ||
	    octets < (size_t)PREFIX + families[i].all)
		return false;
	p->octets = families[i].address;
	data = header + PREFIX;
	memcpy(p->addresses[0], data, p->octets);
	memcpy(p->addresses[1], data + p->octets, p->octets);
	if (p->octets > 0)
		for (size_t j = 0; j < 2; j++)
			p->ports[j] =
			    (uint16_t)two_octets(data + 2 * p->octets + 2 * j);
	for (at = PREFIX + families[i].all; at < octets; at += length) {
		unsigned char *tlv = header + at;

		if (octets - at < TLV_PREFIX)
			return false;
		length = TLV_PREFIX + two_octets(tlv + 1);
		if (octets - at < length)
			return false;
		if (tlv[0] == TLV_CRC32C &&
		    (length != TLV_PREFIX + sizeof(uint32_t) ||
			!is_sound(header, octets, tlv + TLV_PREFIX)))
			return false;
		if (tlv[0] == TLV_SSL && length < TLV_PREFIX + SSL_PREFIX)
			return false;
		if (tlv[0] == TLV_SSL)
			p->has_tls = (tlv[TLV_PREFIX] & SSL_CLIENT) != 0;
	}
	return true;
}

bool
proxy_read(struct stream *s, struct proxied *p)
{
	static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
	static char header[PREFIX + UINT16_MAX];
	size_t octets;

	memset(p, 0, sizeof(*p));
	if (!stream_exactly(s, header, SIGNATURE))
		return false;
	if (memcmp(header, signature, SIGNATURE) != 0) {
		if (memchr(header, '\n', SIGNATURE) != NULL ||
		    stream_line(s, header + SIGNATURE, &octets) != LINE_OK ||
		    s->line_octets != octets + 2 ||
		    SIGNATURE + s->line_octets > TEXT_OCTETS)
			return false;
		header[SIGNATURE + octets] = '\0';
		return strlen(header) == SIGNATURE + octets &&
		       parse_text(header, p);
	}
	if (!stream_exactly(s, header + SIGNATURE, PREFIX - SIGNATURE))
		return false;
	octets = two_octets((unsigned char *)header + PREFIX - 2);
	return stream_exactly(s, header + PREFIX, octets) &&
	       parse_binary((unsigned char *)header, PREFIX + octets, p);
}
