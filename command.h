/* SPDX-License-Identifier: ISC */
#ifndef POP3D_COMMAND_H
#define POP3D_COMMAND_H

#include "pop3d.h"

/* What a command made of its line; each has been answered. */
enum result {
	RESULT_OK,
	RESULT_BAD, /* mis-stated: counted, too many in a row end it */
	RESULT_QUIT,
	RESULT_BROKEN /* the client is gone, or must be let go */
};

/* What may stand behind a keyword. */
enum argument_class {
	ARGUMENT_NONE,
	ARGUMENT_TEXT, /* something, blanks at its end cut */
	ARGUMENT_TEXT_OPTIONAL,
	ARGUMENT_RAW,	  /* all behind one blank, blanks included */
	ARGUMENT_MESSAGE, /* a msgno */
	ARGUMENT_MESSAGE_OPTIONAL,
	ARGUMENT_MESSAGE_LINES /* a msgno and a number of lines */
};

struct argument {
	char *text; /* NUL behind it; NULs may be in it */
	size_t octets;
	bool has_message; /* and idx is that of a message not deleted */
	size_t idx;
	uint64_t lines;
};

/* A row of a command table; one table a state. */
struct command {
	const char *name;
	enum argument_class class;
	enum result (*run)(struct client *, const struct argument *);
	const char *capability;			   /* its CAPA line, or NULL */
	bool (*is_offered)(const struct client *); /* or NULL: always */
};

/* The two command tables (pop3d.c); each ends with a NULL name. */
extern const struct command authorization_commands[];
extern const struct command transaction_commands[];

/* Decimal digits only, and no overflow. */
bool parse_number(const char *text, size_t octets, uint64_t *number);

/* Reads and runs commands until QUIT or the end of the connection. */
enum reason command_loop(struct client *c, const struct command *commands);

/* Answers a mis-stated command. */
enum result refuse(struct client *c, const char *why);

/* Looks up a msgno (from 1): sets a->idx and a->has_message, or answers that
 * there is no such message; RESULT_BROKEN if nobody can know any more. */
enum result find_message(struct client *c, uint64_t msgno, struct argument *a);

/* RFC 2449 section 5: the capabilities, printed from the tables. */
enum result cmd_capa(struct client *c, const struct argument *a);

/* Handlers, in the greeter ... */
enum result cmd_user(struct client *c, const struct argument *a);
enum result cmd_pass(struct client *c, const struct argument *a);
enum result cmd_apop(struct client *c, const struct argument *a);
enum result cmd_auth(struct client *c, const struct argument *a);
enum result cmd_stls(struct client *c, const struct argument *a);
enum result cmd_bye(struct client *c, const struct argument *a);

/* ... and in the session. */
enum result cmd_stat(struct client *c, const struct argument *a);
enum result cmd_list(struct client *c, const struct argument *a);
enum result cmd_retr(struct client *c, const struct argument *a);
enum result cmd_top(struct client *c, const struct argument *a);
enum result cmd_dele(struct client *c, const struct argument *a);
enum result cmd_rset(struct client *c, const struct argument *a);
enum result cmd_noop(struct client *c, const struct argument *a);
enum result cmd_uidl(struct client *c, const struct argument *a);
enum result cmd_last(struct client *c, const struct argument *a);
enum result cmd_quit(struct client *c, const struct argument *a);

#endif
