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

/* All that run commands are of this one type, so that it is said once. */
typedef enum result handler(struct client *c, const struct argument *a);

/* A row of a command table; one table a state. */
struct command {
	const char *name;
	enum argument_class class;
	handler *run;
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

/* The SASL mechanisms on offer, each with `before` before it; static.  And
 * whether there is one. */
const char *auth_mechanisms(const struct client *c, const char *before);
bool auth_offered(const struct client *c);

/* RFC 2449 section 5: the capabilities, printed from the tables. */
handler cmd_capa;

/* In the greeter ... */
handler cmd_user, cmd_pass, cmd_apop, cmd_auth, cmd_stls, cmd_utf8;
handler cmd_bye;

/* ... and in the session. */
handler cmd_stat, cmd_list, cmd_retr, cmd_top, cmd_dele, cmd_rset, cmd_noop;
handler cmd_uidl, cmd_last, cmd_quit;

#endif
