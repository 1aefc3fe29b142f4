/* SPDX-License-Identifier: ISC */
/*
 * The session: TRANSACTION and UPDATE states, as the mailbox's owner.  It
 * answers PASS itself, and removes nothing before it has read QUIT whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
static size_t deleted; /* messages marked */
static size_t last;    /* the highest msgno accessed, for LAST; 0: none */

/* For the log. */
static struct {
	const char *user, *mechanism, *path;
	unsigned long long retrieved, octets, removed;
} session;

/* Whether it is known which messages there are.  If they cannot be known any
 * more, the client is told and the connection is to end. */
static bool
is_listed(struct client *c, int result)
{
	if (result == 0)
		return true;
	log_error("cannot list the maildrop any more", session.path);
	reply_err(&c->stream, "[SYS/TEMP] maildrop cannot be read now");
	return false;
}

enum result
find_message(struct client *c, uint64_t msgno, struct argument *a)
{
	if (msgno < 1 || msgno > drop.count) {
		reply_err(&c->stream, "no such message");
		return RESULT_OK;
	}
	if (!is_listed(c, maildir_load(&drop)))
		return RESULT_BROKEN;
	a->idx = (size_t)msgno - 1;
	a->has_message = !drop.list.messages[a->idx].is_deleted;
	if (!a->has_message)
		reply_err(&c->stream, "message is deleted");
	return RESULT_OK;
}

enum result
cmd_stat(struct client *c, const struct argument *a)
{
	uint64_t octets;

	(void)a;
	if (!is_listed(c, maildir_total(&drop, &octets)))
		return RESULT_BROKEN;
	reply_ok(&c->stream, "%zu %" PRIu64, drop.count - deleted, octets);
	return RESULT_OK;
}

/* What LIST and UIDL say of one message. */
static const char *
size_text(size_t idx)
{
	static char text[DECIMAL_OCTETS];

	return decimal(maildir_octets(&drop, idx), text);
}

static const char *
uid_text(size_t idx)
{
	static char uid[UID_OCTETS + 1];

	maildir_uid(&drop, idx, uid);
	return uid;
}

/* The one line that was asked for, or all of them behind the status line. */
static enum result
reply_items(
    struct stream *s, const struct argument *a, const char *(*text)(size_t idx))
{
	if (a->has_message) {
		reply_ok(s, "%zu %s", a->idx + 1, text(a->idx));
		return RESULT_OK;
	}
	for (size_t i = 0; i < drop.count; i++)
		if (!drop.list.messages[i].is_deleted)
			reply_item(s, i + 1, text(i));
	reply_line(s, ".");
	return RESULT_OK;
}

enum result
cmd_list(struct client *c, const struct argument *a)
{
	uint64_t octets;

	if (!is_listed(c, maildir_load(&drop)))
		return RESULT_BROKEN;
	if (!a->has_message) {
		/* Cannot fail where that did not. */
		(void)maildir_total(&drop, &octets);
		reply_ok(&c->stream, "%zu messages (%" PRIu64 " octets)",
		    drop.count - deleted, octets);
	}
	return reply_items(&c->stream, a, size_text);
}

enum result
cmd_uidl(struct client *c, const struct argument *a)
{
	if (!is_listed(c, maildir_load(&drop)))
		return RESULT_BROKEN;
	/* Other unique-ids would have all mail fetched anew. */
	if (maildir_load_uids(&drop) == -1) {
		reply_err(
		    &c->stream, "[SYS/TEMP] unique-ids cannot be read now");
		return RESULT_OK;
	}
	if (!a->has_message)
		reply_ok(&c->stream, "unique-ids follow");
	return reply_items(&c->stream, a, uid_text);
}

/* A line about one message, with -v. */
static void
log_message(const struct client *c, const char *event, size_t idx)
{
	uint64_t octets = drop.list.messages[idx].octets;
	char text[DECIMAL_OCTETS];

	if (flag(c, 'v'))
		log_event("%s user=%s msgno=%llu uid=%s octets=%s ip=%s", event,
		    session.user, (unsigned long long)idx + 1, uid_text(idx),
		    octets == OCTETS_UNKNOWN ? "" : decimal(octets, text),
		    c->peer.ip);
}

/* What a poll costs is seen here; the octets are told if nothing need be
 * read for that. */
static void
log_login(const struct client *c, int64_t begin)
{
	const struct index_header *known = &drop.index.header;
	char text[DECIMAL_OCTETS];

	log_event("login user=%s ip=%s mechanism=%s tls=%s messages=%llu "
		  "octets=%s msec=%llu",
	    session.user, c->peer.ip, session.mechanism,
	    flag(c, 's') ? "yes" : "no", (unsigned long long)drop.count,
	    drop.is_loaded || known->unsized > 0 ? ""
						 : decimal(known->octets, text),
	    (unsigned long long)(now_msec() - begin));
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
static void
refuse_message(struct client *c, size_t idx)
{
	if (errno == ENOENT) {
		reply_err(&c->stream, "message is gone");
		return;
	}
	log_trouble("cannot read message", idx);
	reply_err(&c->stream, "[SYS/%s] message cannot be read",
	    is_permanent() ? "PERM" : "TEMP");
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
		reply_ok(&c->stream, "%" PRIu64 " octets", message->octets);
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
	n = read(fd, drop.buffer, want);
	if (n == 0)
		errno = 0;
	return n > 0 ? n : -1;
}

/*
 * Sends a message, all of it or (is_top) its header and a->lines lines of its
 * body.  One that cannot be sent whole is not ended: the connection is closed,
 * lest the client take it for the message and delete it.
 */
static enum result
send_message(struct client *c, const struct argument *a, bool is_top)
{
	struct message *message = &drop.list.messages[a->idx];
	struct wire wire = {.body_lines = is_top ? a->lines : UINT64_MAX};
	uint64_t rest = 0, listed = message->octets;
	bool is_cut = false;
	struct stat st;
	ssize_t n = -1;
	int fd = maildir_open_message(&drop, a->idx, &st);

	if (fd != -1) {
		rest = (uint64_t)st.st_size;
		n = read_part(fd, rest);
	}
	if (n == -1) {
		refuse_message(c, a->idx);
		if (fd != -1)
			(void)close(fd);
		return RESULT_OK;
	}
	announce(c, a->idx, &st, (size_t)n);
	while (n > 0 && c->stream.broken == LINE_OK) {
		rest -= (uint64_t)n;
		is_cut = wire_send(&c->stream, &wire, drop.buffer, (size_t)n);
		n = is_cut ? 0 : read_part(fd, rest);
	}
	(void)close(fd);
	if (n == -1)
		log_trouble("message cannot be read whole", a->idx);
	if (n == -1 || c->stream.broken != LINE_OK)
		return RESULT_BROKEN;
	wire_send_end(&c->stream, &wire);
	if (is_cut)
		return RESULT_OK;
	session.octets += wire.octets;
	/* What was sent is what counts, whatever was announced. */
	if (message->octets != wire.octets)
		maildir_set_octets(&drop, a->idx, wire.octets, &st);
	errno = 0;
	if (listed != OCTETS_UNKNOWN && listed != wire.octets)
		log_trouble("message has changed", a->idx);
	if (is_top)
		return RESULT_OK;
	message->is_retrieved = true;
	session.retrieved++;
	last = a->idx + 1 > last ? a->idx + 1 : last;
	log_message(c, "retrieved", a->idx);
	return RESULT_OK;
}

enum result
cmd_retr(struct client *c, const struct argument *a)
{
	return send_message(c, a, false);
}

enum result
cmd_top(struct client *c, const struct argument *a)
{
	return send_message(c, a, true);
}

enum result
cmd_dele(struct client *c, const struct argument *a)
{
	drop.list.messages[a->idx].is_deleted = true;
	deleted++;
	last = a->idx + 1 > last ? a->idx + 1 : last;
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
	reply_ok(&c->stream, "%zu messages", drop.count);
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
	size_t highest = drop.count;

	(void)a;
	if (!is_listed(c, maildir_load(&drop)))
		return RESULT_BROKEN;
	while (highest > last && !maildir_is_seen(&drop, highest - 1))
		highest--;
	reply_ok(&c->stream, "%zu", highest);
	return RESULT_OK;
}

/* UPDATE (RFC 1939 section 6): false if a message could not be removed. */
static bool
update(const struct client *c)
{
	bool is_complete = true;

	for (size_t i = 0; drop.is_loaded && i < drop.count; i++) {
		const struct message *message = &drop.list.messages[i];
		/* RFC 2449 section 6.7: EXPIRE 0 is an implicit DELE. */
		bool is_deleted =
		    message->is_deleted ||
		    (message->is_retrieved && c->options.expire_days == 0);
		int n = 0;

		if (is_deleted)
			n = maildir_remove(&drop, i);
		else if (message->is_retrieved && !flag(c, 'P'))
			n = maildir_mark_seen(&drop, i);
		if (n == -1)
			log_trouble(is_deleted ? "cannot delete message"
					       : "cannot mark message",
			    i);
		if (n == 1)
			log_message(c, is_deleted ? "deleted" : "moved", i);
		is_complete &= !is_deleted || n != -1;
		session.removed += is_deleted && n == 1;
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
		reply_err(&c->stream,
		    "[SYS/TEMP] some deleted messages were not removed");
	return RESULT_QUIT;
}

/* The -ERR to a client that may log in, but not now or not ever. */
static void
refuse_login(struct client *c, const char *holder)
{
	if (errno == EWOULDBLOCK || errno == EBUSY) {
		bool is_early = errno == EBUSY;

		log_event("failure user=%s ip=%s mechanism=%s reason=%s",
		    session.user, c->peer.ip, session.mechanism,
		    is_early ? "login-delay" : "in-use");
		reply_err(&c->stream, "%s%s",
		    is_early ? "[LOGIN-DELAY] too soon after the last login"
			     : "[IN-USE] maildrop is in use",
		    holder);
		return;
	}
	log_event("error user=%s ip=%s what=%s path=%s error=%s", session.user,
	    c->peer.ip, "cannot open maildrop", session.path, strerror(errno));
	if (is_permanent())
		reply_err(&c->stream, "[SYS/PERM] maildrop cannot be opened; "
				      "tell the administrator");
	else
		reply_err(&c->stream, "[SYS/TEMP] maildrop cannot be opened "
				      "now; try again later");
}

int
session_run(struct client *c)
{
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
	stream_open(&c->stream, 0, 1, true, c->options.idle_sec);
	/* The one path that is used, and once. */
	drop.dir = open(session.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	drop.hold = c->options.hold;
	/* Behind the sandbox no directory can be made. */
	if (drop.dir != -1 && drop.hold != NULL && geteuid() != 0 &&
	    maildir_make_hold(&drop) == -1)
		log_error("cannot make the folder of -k", drop.hold);
	if (drop.dir != -1 &&
	    sandbox_enter(ROLE_SESSION, &c->options, drop.dir) == -1) {
		reply_err(&c->stream, "[SYS/PERM] no session can be had; "
				      "tell the administrator");
	} else if (drop.dir == -1 || maildir_open(&drop, c->peer.ip,
					 c->options.delay_sec, holder) == -1) {
		refuse_login(c, holder);
	} else {
		log_login(c, begin);
		reply_ok(&c->stream, "%zu messages", drop.count);
		reason = command_loop(c, transaction_commands);
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
