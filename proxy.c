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
	SUM_OCTETS = 4,
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
is_sound(const unsigned char *header, size_t octets, const unsigned char *sum)
{
	uint32_t crc = UINT32_MAX, said = 0;

	for (size_t i = 0; i < SUM_OCTETS; i++)
		said = said << 8 | sum[i];
	for (const unsigned char *p = header; p < header + octets; p++) {
		crc ^= p < sum || p >= sum + SUM_OCTETS ? *p : 0;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc == said;
}

/* Section 2.2: what stands behind the addresses, from `at` on. */
static bool
parse_tlvs(
    const unsigned char *header, size_t octets, size_t at, struct proxied *p)
{
	size_t length;

	for (; at < octets; at += length) {
		const unsigned char *tlv = header + at;
		const unsigned char *value = tlv + TLV_PREFIX;

		if (octets - at < TLV_PREFIX)
			return false;
		length = TLV_PREFIX + two_octets(tlv + 1);
		if (octets - at < length ||
		    (tlv[0] == TLV_SSL && length < TLV_PREFIX + SSL_PREFIX) ||
		    (tlv[0] == TLV_CRC32C &&
			(length != TLV_PREFIX + SUM_OCTETS ||
			    !is_sound(header, octets, value))))
			return false;
		if (tlv[0] == TLV_SSL)
			p->has_tls = (value[0] & SSL_CLIENT) != 0;
	}
	return true;
}

/* Section 2.2: the header as it came, which is so long. */
static bool
parse_binary(const unsigned char *header, size_t octets, struct proxied *p)
{
	const size_t count = sizeof(families) / sizeof(families[0]);
	const unsigned char *data = header + PREFIX;
	size_t i = 0;

	p->is_local = header[SIGNATURE] == LOCAL;
	if (p->is_local)
		return true;
	while (i < count && families[i].code != header[SIGNATURE + 1])
		i++;
	if (header[SIGNATURE] != PROXY || i == count ||
	    octets < (size_t)PREFIX + families[i].all)
		return false;
	p->octets = families[i].address;
	for (size_t j = 0; j < 2 && p->octets > 0; j++, data += p->octets)
		memcpy(p->addresses[j], data, p->octets);
	for (size_t j = 0; j < 2 && p->octets > 0; j++, data += 2)
		p->ports[j] = (uint16_t)two_octets(data);
	return parse_tlvs(header, octets, (size_t)PREFIX + families[i].all, p);
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
