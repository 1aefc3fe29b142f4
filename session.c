/* SPDX-License-Identifier: ISC */
/*
 * The session: TRANSACTION and UPDATE states, as the mailbox's owner.  It
 * answers PASS itself, and removes nothing before it has read QUIT whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "log.h"
#include "maildir.h"
#include "sandbox.h"

static struct maildrop drop;
static size_t deleted;	       /* messages marked */
static size_t last, last_seen; /* msgnos for LAST; 0: none */
static bool has_last;	       /* last_seen has been looked for */

/* For the log. */
static struct {
	const char *user, *mechanism, *path;
	unsigned long long retrieved, octets, removed;
} session;

/* Whether it is known which messages there are.  If they cannot be known any
 * more, the client is told and the connection ends. */
static bool
load(struct client *c)
{
	if (maildir_load(&drop) == 0)
		return true;
	log_error("cannot list the maildrop any more", session.path);
	reply_err(&c->stream, "SYS/TEMP", "maildrop cannot be read now");
	(void)stream_flush(&c->stream);
	c->stream.broken = LINE_CLOSED;
	return false;
}

static bool
find_message(struct client *c, uint64_t msgno, size_t *idx)
{
	if (msgno < 1 || msgno > drop.count) {
		reply_err(&c->stream, NULL, "no such message");
		return false;
	}
	if (!load(c))
		return false;
	*idx = (size_t)msgno - 1;
	if (drop.list.messages[*idx].is_deleted) {
		reply_err(&c->stream, NULL, "message is deleted");
		return false;
	}
	return true;
}

static size_t
left(void)
{
	return drop.count - deleted;
}

/* The octets of all that is left, or false as load() does. */
static bool
total(struct client *c, unsigned long long *octets)
{
	uint64_t sum;

	if (maildir_total(&drop, &sum) == -1 && !load(c))
		return false;
	*octets = sum;
	return true;
}

enum result
cmd_stat(struct client *c, const struct argument *a)
{
	unsigned long long octets;

	(void)a;
	if (!total(c, &octets))
		return RESULT_BROKEN;
	reply_ok(&c->stream, "%zu %llu", left(), octets);
	return RESULT_OK;
}

/* What LIST and UIDL say of one message. */
static const char *
size_text(size_t idx)
{
	static char text[24];
	char *p = text + sizeof(text) - 1;
	uint64_t octets = maildir_octets(&drop, idx);

	do
		*--p = (char)('0' + octets % 10);
	while ((octets /= 10) > 0);
	return p;
}

static const char *
uid_text(size_t idx)
{
	static char uid[UID_OCTETS + 1];

	maildir_uid(&drop, idx, uid);
	return uid;
}

/* The one line that was asked for, or the status line and all of them. */
static enum result
reply_items(struct stream *s, const struct argument *a, const char *status,
    const char *(*text)(size_t idx))
{
	if (a->has_message) {
		reply_ok(s, "%zu %s", a->idx + 1, text(a->idx));
		return RESULT_OK;
	}
	reply_ok(s, "%s", status);
	for (size_t i = 0; i < drop.count; i++)
		if (!drop.list.messages[i].is_deleted)
			reply_item(s, i + 1, text(i));
	reply_dot(s);
	return RESULT_OK;
}

enum result
cmd_list(struct client *c, const struct argument *a)
{
	unsigned long long octets = 0;
	char status[80];

	if (!load(c) || (!a->has_message && !total(c, &octets)))
		return RESULT_BROKEN;
	(void)snprintf(status, sizeof(status), "%zu messages (%llu octets)",
	    left(), octets);
	return reply_items(&c->stream, a, status, size_text);
}

enum result
cmd_uidl(struct client *c, const struct argument *a)
{
	if (!load(c))
		return RESULT_BROKEN;
	return reply_items(&c->stream, a, "unique-ids follow", uid_text);
}

/* A line about one message, with -v. */
static void
log_message(const struct client *c, const char *event, size_t idx)
{
	uint64_t octets = drop.list.messages[idx].octets;
	char uid[UID_OCTETS + 1], known[24];

	if (!flag(c, 'v'))
		return;
	maildir_uid(&drop, idx, uid);
	(void)snprintf(
	    known, sizeof(known), "%llu", (unsigned long long)octets);
	log_event("%s user=%s msgno=%llu uid=%s octets=%s", event, session.user,
	    (unsigned long long)idx + 1, uid,
	    octets == OCTETS_UNKNOWN ? "" : known);
}

static void
log_trouble(const char *what, size_t idx)
{
	log_event("error user=%s what=%s path=%s error=%s", session.user, what,
	    maildir_name(&drop, idx), errno != 0 ? strerror(errno) : "");
}

/* Whether errno tells of what only somebody can mend (RFC 3206 section 4). */
static bool
is_permanent(void)
{
	return errno == ENOENT || errno == ENOTDIR || errno == EACCES ||
	       errno == EPERM || errno == ELOOP || errno == EISDIR ||
	       errno == ENAMETOOLONG || errno == ENXIO;
}

/* The answer to RETR or TOP of a message that cannot be opened. */
static enum result
refuse_message(struct client *c, size_t idx)
{
	if (errno == ENOENT) {
		reply_err(&c->stream, NULL, "message is gone");
		return RESULT_OK;
	}
	log_trouble("cannot read message", idx);
	reply_err(&c->stream, is_permanent() ? "SYS/PERM" : "SYS/TEMP",
	    "message cannot be read");
	return RESULT_OK;
}

/* The +OK of RETR and TOP.  The first part of the file is in the buffer; a
 * size that is not known is told only if that is the whole of it. */
static void
announce(struct client *c, size_t idx, const struct stat *st, size_t first)
{
	const struct message *message = &drop.list.messages[idx];
	struct wire count = {0};

	/* A message edited in place is counted anew. */
	if (message->octets != OCTETS_UNKNOWN &&
	    message->file_octets != (uint64_t)st->st_size)
		maildir_set_octets(&drop, idx, OCTETS_UNKNOWN, st);
	if (message->octets == OCTETS_UNKNOWN &&
	    first == (uint64_t)st->st_size) {
		wire_count(&count, drop.buffer, first);
		wire_count_end(&count);
		maildir_set_octets(&drop, idx, count.octets, st);
	}
	if (message->octets == OCTETS_UNKNOWN)
		reply_ok(&c->stream, "message follows");
	else
		reply_ok(&c->stream, "%llu octets",
		    (unsigned long long)message->octets);
}

/* Reads the next part of a message into the buffer, of `most` octets in
 * all; 0 at its end, -1 with errno if that comes too early. */
static ssize_t
read_part(int fd, uint64_t most)
{
	size_t want =
	    most < sizeof(drop.buffer) ? (size_t)most : sizeof(drop.buffer);
	ssize_t n;

	if (want == 0)
		return 0;
	do
		n = read(fd, drop.buffer, want);
	while (n == -1 && errno == EINTR);
	if (n == 0) {
		errno = 0;
		return -1;
	}
	return n;
}

/*
 * Sends message idx, all of it or (is_top) its header and `lines` lines of
 * its body; *is_whole says whether nothing was left out.  One that cannot be
 * sent whole is not ended: the connection is closed, lest the client take it
 * for the message and delete it.
 */
static enum result
send_message(
    struct client *c, size_t idx, bool is_top, uint64_t lines, bool *is_whole)
{
	const struct message *message = &drop.list.messages[idx];
	struct wire wire = {.body_lines = is_top ? lines : UINT64_MAX};
	uint64_t rest = 0, listed = message->octets;
	bool is_cut = false;
	struct stat st;
	ssize_t n = -1;
	int fd = maildir_open_message(&drop, idx, &st);

	*is_whole = false;
	if (fd != -1) {
		rest = (uint64_t)st.st_size;
		n = read_part(fd, rest);
	}
	if (n == -1) {
		enum result result = refuse_message(c, idx);

		if (fd != -1)
			(void)close(fd);
		return result;
	}
	announce(c, idx, &st, (size_t)n);
	while (n > 0 && !is_cut && c->stream.broken == LINE_OK) {
		rest -= (uint64_t)n;
		is_cut = wire_send(&c->stream, &wire, drop.buffer, (size_t)n);
		n = is_cut ? 0 : read_part(fd, rest);
	}
	(void)close(fd);
	if (n == -1)
		log_trouble("message cannot be read whole", idx);
	if (n == -1 || c->stream.broken != LINE_OK)
		return RESULT_BROKEN;
	wire_send_end(&c->stream, &wire);
	*is_whole = !is_cut;
	if (is_cut)
		return RESULT_OK;
	session.octets += wire.octets;
	/* What was sent is what counts, whatever was announced. */
	if (listed != wire.octets)
		maildir_set_octets(&drop, idx, wire.octets, &st);
	errno = 0;
	if (listed != OCTETS_UNKNOWN && listed != message->octets)
		log_trouble("message has changed", idx);
	return RESULT_OK;
}

enum result
cmd_retr(struct client *c, const struct argument *a)
{
	bool is_whole;
	enum result result = send_message(c, a->idx, false, 0, &is_whole);

	if (!is_whole)
		return result;
	drop.list.messages[a->idx].is_retrieved = true;
	session.retrieved++;
	if (a->idx + 1 > last)
		last = a->idx + 1;
	log_message(c, "retrieved", a->idx);
	return result;
}

enum result
cmd_top(struct client *c, const struct argument *a)
{
	bool is_whole;

	return send_message(c, a->idx, true, a->lines, &is_whole);
}

enum result
cmd_dele(struct client *c, const struct argument *a)
{
	drop.list.messages[a->idx].is_deleted = true;
	deleted++;
	if (a->idx + 1 > last)
		last = a->idx + 1;
	reply_ok(&c->stream, "message %zu deleted", a->idx + 1);
	return RESULT_OK;
}

enum result
cmd_rset(struct client *c, const struct argument *a)
{
	(void)a;
	for (size_t i = 0; deleted > 0 && i < drop.count; i++)
		drop.list.messages[i].is_deleted = false;
	deleted = 0;
	last = 0;
	reply_ok(&c->stream, "%zu messages", left());
	return RESULT_OK;
}

enum result
cmd_noop(struct client *c, const struct argument *a)
{
	(void)a;
	reply_ok(&c->stream, "nothing done");
	return RESULT_OK;
}

/* RFC 1460 section 5: the highest message accessed; at first, and again
 * after RSET, the highest one with the seen flag. */
enum result
cmd_last(struct client *c, const struct argument *a)
{
	(void)a;
	if (!load(c))
		return RESULT_BROKEN;
	if (!has_last) {
		last_seen = drop.count;
		while (last_seen > 0 && !maildir_is_seen(&drop, last_seen - 1))
			last_seen--;
		has_last = true;
	}
	reply_ok(&c->stream, "%zu", last > last_seen ? last : last_seen);
	return RESULT_OK;
}

/* UPDATE (RFC 1939 section 6): false if a message could not be removed. */
static bool
update(const struct client *c)
{
	bool is_complete = true;

	for (size_t i = 0; drop.is_loaded && i < drop.count; i++) {
		const struct message *message = &drop.list.messages[i];
		int moved = 0, removed = 0;

		if (message->is_deleted) {
			removed = maildir_remove(&drop, i);
			if (removed == -1) {
				log_trouble("cannot delete message", i);
				is_complete = false;
			}
		} else if (message->is_retrieved && !flag(c, 'P'))
			moved = maildir_mark_seen(&drop, i);
		if (moved == -1)
			log_trouble("cannot mark message", i);
		if (moved == 1)
			log_message(c, "moved", i);
		if (removed == 1) {
			session.removed++;
			log_message(c, "deleted", i);
		}
	}
	if (maildir_adjust_quota(&drop) == -1)
		log_error("cannot write", "maildirsize");
	return is_complete;
}

enum result
cmd_quit(struct client *c, const struct argument *a)
{
	bool is_complete;

	(void)a;
	/* What was retrieved must have left before it may be removed. */
	if (stream_flush(&c->stream) == -1)
		return RESULT_BROKEN;
	is_complete = update(c);
	/* Before the answer, so that the client can come back at once. */
	maildir_close(&drop);
	if (is_complete)
		reply_ok(&c->stream, "good bye");
	else
		reply_err(&c->stream, "SYS/TEMP",
		    "some deleted messages were not removed");
	return RESULT_QUIT;
}

/* The -ERR to a client that may log in, but not now or not ever. */
static void
refuse_login(struct client *c, const char *holder)
{
	if (errno == EWOULDBLOCK) {
		log_event("failure user=%s ip=%s mechanism=%s reason=in-use",
		    session.user, c->peer.ip, session.mechanism);
		reply_err(&c->stream, "IN-USE", "maildrop is in use%s", holder);
		return;
	}
	log_event("error user=%s ip=%s what=%s path=%s error=%s", session.user,
	    c->peer.ip, "cannot open maildrop", session.path, strerror(errno));
	if (is_permanent())
		reply_err(&c->stream, "SYS/PERM",
		    "maildrop cannot be opened; tell the administrator");
	else
		reply_err(&c->stream, "SYS/TEMP",
		    "maildrop cannot be opened now; try again later");
}

int
session_run(struct client *c)
{
	struct state state = {
	    .commands = transaction_commands,
	    .line_octets = COMMAND_OCTETS,
	    .idle_msec = (int64_t)c->options.idle_sec * 1000,
	    .end_msec = INT64_MAX,
	    .find_message = find_message,
	};
	int64_t begin = now_msec();
	char holder[LOCK_TEXT_OCTETS] = "";
	enum reason reason;

	(void)umask(077);
	session.user = getenv("USER");
	session.mechanism = getenv("AUTH_MECH");
	session.path = c->options.maildir;
	if (session.path == NULL)
		session.path = getenv("MAILDIR");
	if (session.path == NULL || *session.path == '\0')
		session.path = "Maildir";
	stream_open(&c->stream, 0, 1, true, state.idle_msec);
	/* The one path that is used, and once. */
	drop.dir = open(session.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (drop.dir == -1) {
		refuse_login(c, holder);
	} else if (sandbox_enter(ROLE_SESSION, &c->options, drop.dir) == -1) {
		reply_err(&c->stream, "SYS/PERM",
		    "no session can be had; tell the administrator");
	} else if (maildir_open(&drop, c->peer.ip, holder) == -1) {
		refuse_login(c, holder);
	} else {
		log_event(
		    "login user=%s ip=%s mechanism=%s tls=%s messages=%llu",
		    session.user, c->peer.ip, session.mechanism,
		    flag(c, 's') ? "yes" : "no",
		    (unsigned long long)drop.count);
		reply_ok(&c->stream, "%zu messages", drop.count);
		reason = command_loop(c, &state);
		log_event("end user=%s ip=%s retrieved=%llu octets=%llu "
			  "deleted=%llu left=%llu seconds=%llu reason=%s",
		    session.user, c->peer.ip, session.retrieved, session.octets,
		    session.removed, drop.count - session.removed,
		    (unsigned long long)(now_msec() - begin) / 1000,
		    reason_text(reason));
		maildir_close(&drop);
	}
	stream_end(&c->stream);
	return 0;
}
