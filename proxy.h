/* SPDX-License-Identifier: ISC */
#ifndef POP3D_PROXY_H
#define POP3D_PROXY_H

#include "peer.h"
#include "stream.h"

/*
 * Reads the header of the PROXY protocol, version 1 or 2, that comes before
 * all else under -x, and not an octet more; waits until s->deadline.  Fills
 * in *p.  Returns false if there is none, or a wrong one.
 */
bool proxy_read(struct stream *s, struct proxied *p);

#endif
