/* SPDX-License-Identifier: ISC */
#ifndef POP3D_MAILDIR_H
#define POP3D_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "index.h"
#include "listing.h"
#include "lock.h"

enum {
	UID_OCTETS = 70, /* RFC 1939 section 7 */
	READ_OCTETS = 65536
};

/* A maildrop: the snapshot that a session works on. */
struct maildrop {
	int dir;	/* which it stays open for */
	int lock;	/* the lock file, or -1 */
	size_t count;	/* messages, deleted ones too */
	bool is_loaded; /* and `list` says which */
	struct listing list;
	struct index index;   /* its stamps are those of the last listing */
	uint64_t opened_nsec; /* by the file system's clock */
	int64_t saved_msec;   /* when the index was written last */
	const char **uids;    /* by idx, from pop3d.uidl; or NULL */
	bool has_uids;	      /* that file has been looked for */
	uint64_t removed, removed_octets; /* as a quota counts them */
	const char *hold; /* the folder that removed messages go to, or NULL */
	char buffer[READ_OCTETS];
};

/* Makes m->hold, a Maildir++ folder, if it is not there.  0, or -1 with
 * errno. */
int maildir_make_hold(const struct maildrop *m);

/* Locks the maildrop whose directory m->dir is, and lists it.  Returns 0; or
 * -1 with errno: EWOULDBLOCK if another session has it, and then `holder` (of
 * LOCK_TEXT_OCTETS) says which; EBUSY if the last login is not `delay_sec` ago,
 * and then it says how long to wait.  `ip` is the client's, or "". */
int maildir_open(
    struct maildrop *m, const char *ip, unsigned delay_sec, char *holder);

/* Makes m->list valid, which the index may have spared so far.  0; or -1 with
 * errno if that cannot be done any more, and then the session has to end. */
int maildir_load(struct maildrop *m);

/* The name of message idx, without its directory; valid until the next call
 * that may look for a message again. */
const char *maildir_name(const struct maildrop *m, size_t idx);

/* Reads what a former server's unique-ids are.  0, or -1 if they may be read
 * another time: without them clients would fetch all mail anew. */
int maildir_load_uids(struct maildrop *m);

/* Writes the unique-id of message idx, NUL-ended (RFC 1939 section 7). */
void maildir_uid(struct maildrop *m, size_t idx, char uid[UID_OCTETS + 1]);

/* The unique-id that a message has by its name. */
void maildir_own_uid(const char *name, char uid[UID_OCTETS + 1]);

/* Opens message idx for reading, also where another program has renamed it.
 * Returns a descriptor, and what fstat says of it in *st; or -1 with errno,
 * ENOENT if the message is gone. */
int maildir_open_message(struct maildrop *m, size_t idx, struct stat *st);

/* Notes that message idx takes so many octets on the wire (OCTETS_UNKNOWN: to
 * be counted anew), its file being what st says; the index will learn it. */
void maildir_set_octets(
    struct maildrop *m, size_t idx, uint64_t octets, const struct stat *st);

/* The octets of message idx as RETR sends them (RFC 1939 section 11), which
 * are counted now if they are not known.  A message that cannot be read has
 * the octets of its file, one that is gone has none. */
uint64_t maildir_octets(struct maildrop *m, size_t idx);

/* The octets of all messages that are not deleted.  0, or -1 with errno as
 * maildir_load. */
int maildir_total(struct maildrop *m, uint64_t *octets);

/* Whether message idx has the seen flag. */
bool maildir_is_seen(const struct maildrop *m, size_t idx);

/* Removes message idx's file, or moves it to m->hold, and removes other names
 * of the same file.  Returns 1 if it did, 0 if the message was gone already; or
 * -1 with errno. */
int maildir_remove(struct maildrop *m, size_t idx);

/* Moves message idx to cur, with the seen flag.  Returns 1 if it did, 0 if
 * there was nothing to do or the message is gone; or -1 with errno. */
int maildir_mark_seen(struct maildrop *m, size_t idx);

/* Takes what was removed off a Maildir++ maildirsize file, if there is one.
 * 0, or -1 with errno. */
int maildir_adjust_quota(struct maildrop *m);

/* Saves the index and unlocks. */
void maildir_close(struct maildrop *m);

#endif
