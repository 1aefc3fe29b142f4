/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LISTING_H
#define POP3D_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define OCTETS_UNKNOWN UINT64_MAX
#define NOT_STORED UINT32_MAX

/* A message. */
struct message {
	uint64_t time;	      /* of delivery, from the name */
	uint64_t octets;      /* on the wire, or OCTETS_UNKNOWN */
	uint64_t file_octets; /* the file's, when they were counted */
	uint32_t name;	      /* its place in the listing's names */
	uint32_t stored;      /* its idx in the index, or NOT_STORED */
	uint32_t inode;	      /* the end of it, if known: how disks go */
	bool in_cur;	      /* else in new */
	bool is_deleted;      /* by DELE */
	bool is_retrieved;    /* whole */
	bool is_gone;	      /* its file has been removed */
};

/* Messages by delivery time and name, and their names. */
struct listing {
	struct message *messages;
	size_t count, room;
	char *names;
	size_t names_octets, names_room;
	bool has_twins; /* some name was found more than once */
};

/* What tells that a directory is as it was. */
struct stamp {
	uint64_t device, inode, modified_nsec, changed_nsec;
};

extern const char *const directories[2]; /* "new" and "cur" */

/* The stamps of new and cur below directory dir, now.  0, or -1 with errno,
 * ENOTDIR if one is no directory. */
int listing_stamp(int dir, struct stamp stamps[2]);

bool listing_same_stamps(const struct stamp a[2], const struct stamp b[2]);

/* The time of `t` in nanoseconds; and now, as a kernel writes it to files. */
uint64_t listing_nsec(const struct timespec *t);
uint64_t listing_clock(void);

/*
 * Adds the messages of new and cur, but for those where `skip`, and sorts.
 * Reads again while they change, since a rename between two
 * reads of a directory can hide a message.  Leaves the stamps that the
 * listing belongs to in `stamps`, and in *is_quiet whether nothing changed
 * meanwhile.  0, or -1 with errno.
 */
int listing_read(struct listing *list, int dir, const bool skip[2],
    struct stamp stamps[2], bool *is_quiet);

/* Makes several names of one message one, the last. */
void listing_unite(struct listing *list);

/* Adds a name; its place, or -1 with errno. */
int64_t listing_add_name(struct listing *list, const char *name);

/* Adds what message m of another listing is.  0, or -1 with errno. */
int listing_copy(
    struct listing *list, const struct listing *other, const struct message *m);

/* Sets m->time from its name. */
void listing_set_time(const struct listing *list, struct message *m);

/* Orders two messages of one listing by delivery time, then by what
 * identifies them: less than, equal to, or greater than 0. */
int listing_order(const struct listing *list, const struct message *a,
    const struct message *b);

/* The idx of the first message whose name up to its flags is that of `name`,
 * or the count if none has it.  The listing is sorted. */
size_t listing_search(const struct listing *list, const char *name);

/* Calls `pair` for every message that both sorted listings have. */
void listing_match(struct listing *list, const struct listing *other,
    void (*pair)(struct listing *list, struct message *m,
	const struct listing *other, const struct message *n));

void listing_free(struct listing *list);

/* The octets of a name that identify the message: up to its flags. */
size_t listing_base_octets(const char *name);

/* Whether two names are the same up to their flags. */
bool listing_same_base(const char *a, const char *b);

#endif
