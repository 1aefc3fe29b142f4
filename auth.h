/* SPDX-License-Identifier: ISC */
#ifndef POP3D_AUTH_H
#define POP3D_AUTH_H

#include <stddef.h>
#include <sys/types.h>

#include "pop3d.h"

/* The SASL mechanisms on offer, each with `before` before it; static. */
const char *auth_mechanisms(const struct client *c, const char *before);

/* Decodes base64 (RFC 4648 section 4, nothing but its alphabet and right
 * padding) in place; returns the octets, or -1. */
ssize_t base64_decode(char *text, size_t octets);

#endif
