/* SPDX-License-Identifier: ISC */
#ifndef POP3D_MAILDIR_H
#define POP3D_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lock.h"
#include "uidl.h"

enum {
	UID_OCTETS = 70, /* RFC 1939 section 7 */
	READ_OCTETS = 65536
};

#define OCTETS_UNKNOWN UINT64_MAX

/* A message of the snapshot. */
struct message {
	uint64_t octets;      /* on the wire, or OCTETS_UNKNOWN */
	uint64_t file_octets; /* the file's, when they were counted */
	uint32_t name;	      /* its place in the listing's names */
	bool in_cur;	      /* else in new */
	bool is_deleted;
	bool is_retrieved;
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

/* A maildrop: the snapshot that a session works on. */
struct maildrop {
	const char *path; /* as configured, for the log */
	int dir;
	struct lock lock;
	struct listing list;
	struct stamp stamps[2]; /* of new and cur, when they were listed */
	bool is_quiet;		/* and nothing changed meanwhile */
	struct uidl uidl;
	uint64_t removed, removed_octets; /* as a quota counts them */
	char buffer[READ_OCTETS];
};

/* Opens and locks the maildrop at `path`, and lists it.  Returns 0; or -1
 * with errno: EWOULDBLOCK if another session has it, and then `holder` (of
 * LOCK_TEXT_OCTETS) says which.  `ip` is the client's, or "". */
int maildir_open(
    struct maildrop *m, const char *path, const char *ip, char *holder);

/* The name of message idx, without its directory; valid until the next call
 * that may look for a message again. */
const char *maildir_name(const struct maildrop *m, size_t idx);

/* Writes the unique-id of message idx, NUL-ended (RFC 1939 section 7). */
void maildir_uid(struct maildrop *m, size_t idx, char uid[UID_OCTETS + 1]);

/* The unique-id that a message has by its name. */
void maildir_own_uid(const char *name, char uid[UID_OCTETS + 1]);

/* Opens message idx for reading, also where another program has renamed it.
 * Returns a descriptor, and what fstat says of it in *st; or -1 with errno,
 * ENOENT if the message is gone. */
int maildir_open_message(struct maildrop *m, size_t idx, struct stat *st);

/* The octets of message idx as RETR sends them (RFC 1939 section 11), which
 * are counted now if they are not known.  A message that cannot be read has
 * the octets of its file, one that is gone has none. */
uint64_t maildir_octets(struct maildrop *m, size_t idx);

/* Whether message idx has the seen flag. */
bool maildir_is_seen(const struct maildrop *m, size_t idx);

/* Removes message idx's file, and other names of the same file.  Returns 1 if
 * it did, 0 if the message was gone already; or -1 with errno. */
int maildir_remove(struct maildrop *m, size_t idx);

/* Moves message idx to cur, with the seen flag.  Returns 1 if it did, 0 if
 * there was nothing to do or the message is gone; or -1 with errno. */
int maildir_mark_seen(struct maildrop *m, size_t idx);

/* Takes what was removed off a Maildir++ maildirsize file, if there is one.
 * 0, or -1 with errno. */
int maildir_adjust_quota(struct maildrop *m);

/* Unlocks. */
void maildir_close(struct maildrop *m);

/* The octets of `name` that identify the message: up to its flags. */
size_t maildir_base_octets(const char *name);

/* The idx of the message whose name up to its flags is `base`, or the count
 * of messages if none has it. */
size_t maildir_search(const struct listing *list, const char *base);

#endif
