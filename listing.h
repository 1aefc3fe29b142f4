/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LISTING_H
#define POP3D_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define OCTETS_UNKNOWN UINT64_MAX

/* A message. */
struct message {
	uint64_t time;	      /* of delivery, from the name */
	uint64_t octets;      /* on the wire, or OCTETS_UNKNOWN */
	uint64_t file_octets; /* the file's, when they were counted */
	uint32_t name;	      /* its place in the listing's names */
	uint32_t inode;	      /* the end of it, if known: how disks go */
	bool in_cur;	      /* else in new */
	bool is_there;	      /* its file was, when last looked for */
	bool is_stored;	      /* the index has it, */
	bool is_changed;      /* but it is no longer as it says */
	bool is_deleted;      /* by DELE */
	bool is_retrieved;    /* whole */
};

/* Messages by delivery time and name, and their names. */
struct listing {
	struct message *messages;
	size_t count; /* of them; behind these others follow, not in order, */
	size_t total; /* up to here: not sorted in yet, or no more there */
	size_t room;
	char *names;
	size_t names_octets, names_room;
	bool has_twins; /* some name was found more than once */
};

/* What tells that a directory is as it was; all 0 if nothing can. */
struct stamp {
	uint64_t device, inode, modified_nsec, changed_nsec;
};

extern const char *const directories[2]; /* "new" and "cur" */

/* Opens a regular file in or below directory dir; a link is not followed, nor
 * is anything waited for.  A descriptor, and what fstat says of it in *st; or
 * -1 with errno, EPERM if it is no regular file. */
int listing_open(int dir, const char *path, int flags, struct stat *st);

/* The stamps of new and cur below directory dir, now.  0, or -1 with errno,
 * ENOTDIR if one is no directory. */
int listing_stamp(int dir, struct stamp stamps[2]);

/* The time of `t` in nanoseconds; and now, as a kernel writes it to files. */
uint64_t listing_nsec(const struct timespec *t);
uint64_t listing_clock(void);

/*
 * Puts the messages of new and cur into `list`, which holds none, but not those
 * of a directory whose stamp is that in `stamps` still: is_same says so.  Reads
 * again while they change, since a rename between two reads of a directory can
 * hide a message.  Returns 0; 1 if they have not come to rest, so that messages
 * may be missing; or -1 with errno.  Leaves in `stamps` what the listing
 * belongs to, which after -1 is not to be used.
 */
int listing_read(
    struct listing *list, int dir, struct stamp stamps[2], bool is_same[2]);

/*
 * Reads in the same way what has changed since it was listed, and notes what
 * became of the messages of `list`: is_there, and their names.  If `may_add`,
 * others are sorted in, and those of whose size there is doubt lose it.  As
 * listing_read; after -1 some of the messages may not be there, and all stamps
 * are 0.
 */
int listing_update(
    struct listing *list, int dir, struct stamp stamps[2], bool may_add);

/* Sorts all messages in, makes several names of one message one, the last,
 * and puts those that are not there behind the others.  0, or -1 with errno. */
int listing_sort(struct listing *list);

/* The message whose name up to its flags is that of `name`, or NULL. */
struct message *listing_search(const struct listing *list, const char *name);

/* Makes room for so many more octets of names, and returns where they are to
 * be written; NULL with errno. */
char *listing_room(struct listing *list, size_t octets);

/* The digits that a name begins with: the delivery time. */
uint64_t listing_time(const char *name);

/* Puts a message behind the others, whose name is at that place; NULL with
 * errno. */
struct message *listing_add(struct listing *list, size_t name);

/* Message m has that name now, and is there.  0, or -1 with errno. */
int listing_rename(
    struct listing *list, struct message *m, const char *name, bool in_cur);

void listing_free(struct listing *list);

/* The octets of a name that identify the message: up to its flags. */
size_t listing_base_octets(const char *name);

/* Orders two names up to their flags. */
int listing_compare(const char *a, const char *b);

#endif
