/* SPDX-License-Identifier: ISC */
#ifndef POP3D_INDEX_H
#define POP3D_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listing.h"

/* The beginning of pop3d.index, in the machine's own byte order.  What
 * follows are `blocks`, each with its own checksum, up to `end`. */
struct index_header {
	char magic[8];
	uint32_t order, blocks;
	uint64_t count, octets, unsized; /* messages; those of unknown size */
	uint64_t end;			 /* octets of the file that count */
	struct stamp stamps[2];		 /* of new and cur, when listed */
	uint64_t listed_nsec;		 /* when, by the file system's clock */
	uint64_t has_twins;
	uint64_t sum; /* of all before */
};

struct index {
	int fd; /* -1: there is none that could be read */
	struct index_header header;
};

/* Opens pop3d.index in directory `dir` and reads its header.  A file that is
 * not there, not ours, or damaged is none. */
void index_open(struct index *x, int dir);

/* Closes it: there is no index any more. */
void index_close(struct index *x);

/* The same, and removes it. */
void index_discard(struct index *x, int dir);

/* Whether what the index says of directory i still holds: its stamp is
 * `now`'s, was settled when it was listed, and lies not in the future. */
bool index_is_fresh(
    const struct index *x, int i, const struct stamp *now, uint64_t now_nsec);

/* Reads all messages into the empty listing.  0; or -1 if the index is
 * damaged or memory is short, and then the listing stays empty. */
int index_load(const struct index *x, struct listing *list);

/*
 * Makes the index say what `list` says (less the messages that are gone), and
 * the header's stamps, time and twins.  Writes a small change behind what is
 * there, else the whole file anew, and nothing if nothing has changed.
 * Numbers the messages as they are stored.  Failure only costs time later.
 */
void index_save(struct index *x, int dir, struct listing *list,
    const struct index_header *now);

#endif
