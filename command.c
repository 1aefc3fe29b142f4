/* SPDX-License-Identifier: ISC */
/*
 * The command loop: reads a line, finds its row in the state's table, checks
 * the argument by its class, runs the handler.  Runs in the greeter and in
 * the session.  Bad commands are counted here and nowhere else.
 */
#include "command.h"

#include <string.h>
#include <strings.h>

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

enum result
refuse(struct client *c, const char *why)
{
	reply_err(&c->stream, "%s", why);
	return RESULT_BAD;
}

/* Reads "msgno" or "msgno lines" and looks the message up.  Whatever is wrong
 * has been answered if a->has_message stays false. */
static enum result
parse_message(struct client *c, enum argument_class class, struct argument *a)
{
	bool is_top = class == ARGUMENT_MESSAGE_LINES;
	const char *blank = is_top ? memchr(a->text, ' ', a->octets) : NULL;
	size_t first = blank != NULL ? (size_t)(blank - a->text) : a->octets;
	uint64_t msgno;

	if (is_top && (blank == NULL || !parse_number(blank + 1,
					    a->octets - first - 1, &a->lines)))
		return refuse(c, "a message and a number of lines are needed");
	if (!parse_number(a->text, first, &msgno))
		return refuse(c, "a message number is needed");
	return find_message(c, msgno, a);
}

/* Checks the argument by its class, and runs the handler. */
static enum result
run(struct client *c, const struct command *row, struct argument *a)
{
	enum result result;

	if (row->class != ARGUMENT_RAW)
		while (a->octets > 0 && (a->text[a->octets - 1] == ' ' ||
					    a->text[a->octets - 1] == '\t'))
			a->octets--;
	a->text[a->octets] = '\0';
	if (row->class == ARGUMENT_NONE && a->octets > 0)
		return refuse(c, "no argument is wanted here");
	if (row->class == ARGUMENT_TEXT && a->octets == 0)
		return refuse(c, "an argument is needed");
	if (row->class < ARGUMENT_MESSAGE ||
	    (row->class == ARGUMENT_MESSAGE_OPTIONAL && a->octets == 0))
		return row->run(c, a);
	result = parse_message(c, row->class, a);
	return a->has_message ? row->run(c, a) : result;
}

/* One line: keyword, a blank, the rest. */
static enum result
run_line(struct client *c, const struct command *row, char *text, size_t octets)
{
	const char *blank = memchr(text, ' ', octets);
	size_t keyword = blank != NULL ? (size_t)(blank - text) : octets;
	struct argument a = {.text = text + keyword};

	if (blank != NULL) {
		a.text++;
		a.octets = octets - keyword - 1;
	}
	while (row->name != NULL &&
	       (strlen(row->name) != keyword ||
		   strncasecmp(row->name, text, keyword) != 0))
		row++;
	if (row->name == NULL)
		return refuse(c, "unknown command");
	/* Only a SASL line may be longer (RFC 5034 section 4). */
	if (c->stream.line_octets > COMMAND_OCTETS && row->run != cmd_auth)
		return refuse(c, "line too long");
	return run(c, row, &a);
}

/* What other protocols say first, so that they are not answered in vain. */
static bool
is_foreign(const char *text)
{
	static const char *const words[] = {"GET ", "HEAD ", "POST ", "PUT ",
	    "OPTIONS ", "CONNECT ", "PRI ", "EHLO ", "HELO ", "SSH-"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncasecmp(text, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

/* What the next line comes to. */
static enum result
next_command(struct client *c, const struct command *commands)
{
	/* Static for its size, and so that zeros follow the first line. */
	static char text[SASL_LINE_OCTETS + 1];
	bool is_first = c->stream.first_line;
	size_t octets;
	enum line status = stream_line(&c->stream, text, &octets);
	enum result result;

	if (c->stream.broken != LINE_OK)
		return RESULT_BROKEN;
	if (status == LINE_ALIEN || (is_first && is_foreign(text))) {
		reply_err(&c->stream, "this is a POP3 server");
		return RESULT_BROKEN;
	}
	result = status == LINE_LONG ? refuse(c, "line too long")
				     : run_line(c, commands, text, octets);
	/* There may be a password in it, also where it was not understood. */
	explicit_bzero(text, status == LINE_OK ? octets : sizeof(text));
	if (!c->stream.read_ahead)
		explicit_bzero(c->stream.input, sizeof(c->stream.input));
	return result;
}

enum reason
command_loop(struct client *c, const struct command *commands)
{
	static const enum reason reasons[] = {[LINE_OK] = REASON_ERROR,
	    [LINE_CLOSED] = REASON_DISCONNECT,
	    [LINE_TIMEOUT] = REASON_TIMEOUT};
	struct stream *s = &c->stream;
	enum result result = RESULT_OK;

	for (unsigned bad = 0; bad < BAD_COMMANDS && result < RESULT_QUIT;) {
		stream_await(s);
		result = next_command(c, commands);
		bad = result == RESULT_BAD ? bad + 1 : 0;
	}
	return result == RESULT_QUIT ? REASON_QUIT : reasons[s->broken];
}

/* The rows of one table that say something and are on offer. */
static void
print_rows(struct client *c, const struct command *row)
{
	for (; row->name != NULL; row++) {
		if (row->capability == NULL ||
		    (row->is_offered != NULL && !row->is_offered(c)))
			continue;
		reply_line(&c->stream, "%s%s", row->capability,
		    row->run == cmd_auth ? auth_mechanisms(c, " ") : "");
	}
}

enum result
cmd_capa(struct client *c, const struct argument *a)
{
	static const char *const others[] = {
	    "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"};
	const struct options *o = &c->options;
	/* It may be otherwise for one user (RFC 2449 sections 6.5, 6.7). */
	const char *user = flag(c, 't') ? "" : " USER";

	(void)a;
	reply_ok(&c->stream, "capabilities follow");
	print_rows(c, authorization_commands);
	print_rows(c, transaction_commands);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		reply_line(&c->stream, "%s", others[i]);
	if (o->expire_days == EXPIRE_NEVER)
		reply_line(&c->stream, "EXPIRE NEVER");
	else
		reply_line(&c->stream, "EXPIRE %u%s", o->expire_days, user);
	if (o->delay_sec > 0)
		reply_line(&c->stream, "LOGIN-DELAY %u%s", o->delay_sec, user);
	reply_line(&c->stream, "IMPLEMENTATION pop3d-%s", VERSION);
	reply_line(&c->stream, ".");
	return RESULT_OK;
}
