/* SPDX-License-Identifier: ISC */
/*
 * The command loop: reads a line, finds its row in the state's table, checks
 * the argument by its class, runs the handler.  Runs in the greeter and in
 * the session.  Bad commands are counted here and nowhere else.
 */
#include "command.h"

#include <string.h>
#include <strings.h>

#include "auth.h"

enum {
	BAD_COMMANDS = 20 /* in a row, then the connection is closed */
};

bool
parse_number(const char *text, size_t octets, uint64_t *number)
{
	uint64_t n = 0;

	if (octets == 0)
		return false;
	for (size_t i = 0; i < octets; i++) {
		unsigned digit = (unsigned)(unsigned char)text[i] - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*number = n;
	return true;
}

static enum result
mis_stated(struct client *c, const char *why)
{
	reply_err(&c->stream, NULL, "%s", why);
	return RESULT_BAD;
}

/* Splits "msgno [lines]" and has the state look the message up.  Whatever
 * is wrong has been answered if a->has_message stays false; a number that no
 * message has is no mis-stated command. */
static enum result
parse_message(struct client *c, const struct state *state,
    enum argument_class class, struct argument *a)
{
	const char *blank = memchr(a->text, ' ', a->octets);
	size_t first = blank != NULL ? (size_t)(blank - a->text) : a->octets;
	bool is_top = class == ARGUMENT_MESSAGE_LINES;
	uint64_t msgno;

	if ((blank != NULL) != is_top)
		return mis_stated(
		    c, is_top ? "a message and a number of lines are needed"
			      : "one message number is needed");
	if (is_top &&
	    !parse_number(blank + 1, a->octets - first - 1, &a->lines))
		return mis_stated(c, "that is no number of lines");
	if (!parse_number(a->text, first, &msgno))
		return mis_stated(c, "that is no message number");
	a->has_message = state->find_message(c, msgno, &a->idx);
	return RESULT_OK;
}

static enum result
run(struct client *c, const struct state *state, const struct command *row,
    struct argument *a)
{
	bool is_optional = row->class == ARGUMENT_TEXT_OPTIONAL ||
			   row->class == ARGUMENT_MESSAGE_OPTIONAL;
	enum result result;

	if (row->class != ARGUMENT_RAW)
		while (a->octets > 0 && (a->text[a->octets - 1] == ' ' ||
					    a->text[a->octets - 1] == '\t'))
			a->octets--;
	a->text[a->octets] = '\0';
	if (row->class == ARGUMENT_NONE && a->octets > 0)
		return mis_stated(c, "no argument is wanted here");
	if (row->class != ARGUMENT_NONE && row->class != ARGUMENT_RAW &&
	    !is_optional && a->octets == 0)
		return mis_stated(c, "an argument is needed");
	if (row->class >= ARGUMENT_MESSAGE && a->octets > 0) {
		result = parse_message(c, state, row->class, a);
		if (!a->has_message)
			return result;
	}
	return row->run(c, a);
}

/* One line that is not empty of meaning: keyword, a blank, the rest. */
static enum result
run_line(struct client *c, const struct state *state, char *text, size_t octets)
{
	const char *blank = memchr(text, ' ', octets);
	size_t keyword = blank != NULL ? (size_t)(blank - text) : octets;
	struct argument a = {.text = text + keyword};
	const struct command *row = state->commands;

	if (blank != NULL) {
		a.text++;
		a.octets = octets - keyword - 1;
	}
	while (row->name != NULL &&
	       (strlen(row->name) != keyword ||
		   strncasecmp(row->name, text, keyword) != 0))
		row++;
	if (row->name == NULL)
		return mis_stated(c, "unknown command");
	/* Only a SASL line may be longer (RFC 5034 section 4). */
	if (c->stream.line_octets > COMMAND_OCTETS && row->run != cmd_auth)
		return mis_stated(c, "line too long");
	return run(c, state, row, &a);
}

/* What other protocols say first, so that they are not answered in vain. */
static bool
is_foreign(const char *text, size_t octets)
{
	static const char *const words[] = {"GET ", "HEAD ", "POST ", "PUT ",
	    "OPTIONS ", "CONNECT ", "PRI ", "EHLO ", "HELO ", "SSH-"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t length = strlen(words[i]);

		if (octets >= length &&
		    strncasecmp(text, words[i], length) == 0)
			return true;
	}
	return false;
}

static enum reason
reason_of(enum line status)
{
	return status == LINE_TIMEOUT ? REASON_TIMEOUT : REASON_DISCONNECT;
}

enum reason
command_loop(struct client *c, struct state *state)
{
	/* Static, so that it can be wiped as a whole, and for its size. */
	static char text[SASL_LINE_OCTETS + 1];
	struct stream *s = &c->stream;
	unsigned bad = 0;

	for (;;) {
		bool is_first = s->first_line;
		enum result result;
		enum line status;
		size_t octets;

		s->deadline = now_msec() + state->idle_msec;
		if (s->deadline > state->end_msec)
			s->deadline = state->end_msec;
		status = stream_line(s, text, state->line_octets, &octets);
		if (status == LINE_CLOSED || status == LINE_TIMEOUT)
			return reason_of(status);
		if (status == LINE_ALIEN ||
		    (is_first && state->find_message == NULL &&
			is_foreign(text, octets))) {
			reply_err(s, NULL, "this is a POP3 server");
			return REASON_ERROR;
		}
		if (status == LINE_LONG)
			result = mis_stated(c, "line too long");
		else
			result = run_line(c, state, text, octets);
		if (result == RESULT_QUIT)
			return REASON_QUIT;
		if (result == RESULT_BROKEN)
			return s->broken == LINE_OK ? REASON_ERROR
						    : reason_of(s->broken);
		bad = result == RESULT_BAD ? bad + 1 : 0;
		if (bad == BAD_COMMANDS)
			return REASON_ERROR;
	}
}

/* The rows of one table that say something and are on offer. */
static void
print_rows(struct client *c, const struct command *row)
{
	for (; row->name != NULL; row++) {
		if (row->capability == NULL ||
		    (row->is_offered != NULL && !row->is_offered(c)))
			continue;
		if (row->run == cmd_auth)
			reply_line(&c->stream, "%s%s", row->capability,
			    auth_mechanisms(c));
		else
			reply_line(&c->stream, "%s", row->capability);
	}
}

enum result
cmd_capa(struct client *c, const struct argument *a)
{
	static const char *const others[] = {
	    "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"};

	(void)a;
	reply_ok(&c->stream, "capabilities follow");
	print_rows(c, authorization_commands);
	print_rows(c, transaction_commands);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		reply_line(&c->stream, "%s", others[i]);
	reply_line(&c->stream, "IMPLEMENTATION pop3d-%s", VERSION);
	reply_dot(&c->stream);
	return RESULT_OK;
}
