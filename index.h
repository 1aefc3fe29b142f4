/* SPDX-License-Identifier: ISC */
#ifndef POP3D_INDEX_H
#define POP3D_INDEX_H

#include <stdint.h>

#include "listing.h"

/* The beginning of pop3d.index, in the machine's own byte order.  Records
 * follow, up to `end`. */
struct index_header {
	uint64_t magic;
	uint64_t count, octets, unsized; /* messages; those of unknown size */
	uint64_t end;			 /* octets of the file that count */
	uint64_t room;			 /* for records, behind the end */
	uint64_t records_sum;
	struct stamp stamps[2]; /* of new and cur, when listed */
	uint64_t listed_nsec;	/* when, by the file system's clock */
	uint32_t has_twins;
	uint32_t is_stale; /* new and cur have changed since */
	uint64_t sum;	   /* of all before */
};

struct index {
	int fd;			    /* -1: there is none that can be used */
	struct index_header header; /* what it says, and is to say next */
};

/* Opens pop3d.index in directory `dir` and reads its header.  A file that is
 * not there, not ours, or damaged is none.  The stamp of a directory is 0
 * unless it had rested when it was listed, before `now_nsec`. */
void index_open(struct index *x, int dir, uint64_t now_nsec);

/* Closes it: there is no index any more, and the header is all 0. */
void index_close(struct index *x);

/* Reads all messages into the listing, which is emptied first.  0; or -1 if
 * the index is damaged or memory is short, and then the listing is empty. */
int index_load(const struct index *x, struct listing *list);

/*
 * Makes the index say what `list` says, less the messages that are not there,
 * and what the header says of the directories.  Writes a small change behind
 * what is there, else the whole file anew, and nothing if nothing has changed.
 * Failure only costs time later.
 */
void index_save(struct index *x, int dir, struct listing *list);

#endif
