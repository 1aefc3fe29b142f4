/* SPDX-License-Identifier: ISC */
/*
 * The greeter: AUTHORIZATION state.  It talks to the stranger, without any
 * right, and hands credentials to the monitor; it knows nothing to tell.
 */
#include "auth.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "monitor.h"
#include "sandbox.h"

enum {
	DIGEST_OCTETS = 32, /* MD5 in hexadecimal */
	STAMP_OCTETS = 200
};

static int control; /* to the monitor */
static struct state state;
static char user[USER_OCTETS];
static size_t user_octets; /* 0: no USER yet */
static char stamp[STAMP_OCTETS];

/* Puts a text and its NUL at `end`; returns where the next one goes. */
static char *
add_text(char *end, const char *text, size_t octets)
{
	memcpy(end, text, octets);
	end[octets] = '\0';
	return end + octets + 1;
}

/* Sends the credentials to the monitor and its verdict to the client.
 * Returns only if they were refused: otherwise the session has the client. */
static enum result
authenticate(struct client *c, enum mechanism mechanism, const char *name,
    size_t name_octets, const char *secret, size_t secret_octets,
    const char *challenge)
{
	static const struct {
		const char *code, *text;
	} replies[] = {
	    [VERDICT_WRONG] = {"AUTH", "wrong user name or password"},
	    [VERDICT_PERMANENT] = {"SYS/PERM",
		"logins do not work; the administrator must see to it"},
	    [VERDICT_TEMPORARY] = {"SYS/TEMP",
		"logins do not work now; try again later"},
	};
	static struct request request;
	struct verdict verdict;
	int64_t begin = now_msec();
	size_t octets;
	char *end = request.text;

	if (stream_flush(&c->stream) == -1)
		return RESULT_BROKEN;
	request.mechanism = (uint16_t)mechanism;
	end = add_text(end, name, name_octets);
	end = add_text(end, secret, secret_octets);
	end = add_text(end, challenge, strlen(challenge));
	octets = (size_t)(end - (char *)&request);
	if (send(control, &request, octets, MSG_NOSIGNAL) != (ssize_t)octets)
		_exit(REASON_ERROR);
	explicit_bzero(&request, octets);
	stream_wipe(&c->stream);
	if (recv(control, &verdict, sizeof(verdict), 0) != sizeof(verdict) ||
	    verdict.code >= sizeof(replies) / sizeof(replies[0]))
		_exit(REASON_QUIT);
	/* The clock stood still while the password was checked. */
	state.end_msec += now_msec() - begin;
	reply_err(&c->stream, replies[verdict.code].code, "%s",
	    replies[verdict.code].text);
	return verdict.is_last != 0 ? RESULT_BROKEN : RESULT_OK;
}

static enum result
refuse(struct client *c, const char *why)
{
	reply_err(&c->stream, NULL, "%s", why);
	return RESULT_BAD;
}

/* Before any password is sent: no response code, since [AUTH] would say that
 * a password was wrong (RFC 3206 section 4). */
static enum result
refuse_clear(struct client *c)
{
	return refuse(c, "clear-text passwords are not allowed without TLS");
}

/* Credentials travel in strings that NUL ends. */
static bool
fits(const char *text, size_t octets, size_t limit)
{
	return octets <= limit && memchr(text, '\0', octets) == NULL;
}

enum result
cmd_user(struct client *c, const struct argument *a)
{
	user_octets = 0;
	if (!clear_allowed(c))
		return refuse_clear(c);
	if (!fits(a->text, a->octets, sizeof(user)))
		return refuse(c, "that is no user name");
	memcpy(user, a->text, a->octets);
	user_octets = a->octets;
	reply_ok(&c->stream, "now the password");
	return RESULT_OK;
}

enum result
cmd_pass(struct client *c, const struct argument *a)
{
	enum result result;

	if (!clear_allowed(c))
		result = refuse_clear(c);
	else if (user_octets == 0)
		result = refuse(c, "USER comes first");
	else if (!fits(a->text, a->octets, SECRET_OCTETS))
		result = refuse(c, "that is no password");
	else
		result = authenticate(c, MECHANISM_USER, user, user_octets,
		    a->text, a->octets, "");
	user_octets = 0;
	explicit_bzero(a->text, a->octets);
	return result;
}

/* RFC 1939 section 7: APOP name digest; the name may hold blanks. */
enum result
cmd_apop(struct client *c, const struct argument *a)
{
	char digest[DIGEST_OCTETS];
	size_t name_octets;

	if (!flag(c, 'a'))
		return refuse(c, "APOP is not offered here");
	if (a->octets < DIGEST_OCTETS + 2 ||
	    a->text[a->octets - DIGEST_OCTETS - 1] != ' ')
		return refuse(c, "a name and a digest are needed");
	name_octets = a->octets - DIGEST_OCTETS - 1;
	if (!fits(a->text, name_octets, USER_OCTETS))
		return refuse(c, "that is no user name");
	for (size_t i = 0; i < DIGEST_OCTETS; i++) {
		unsigned char digit =
		    (unsigned char)a->text[name_octets + 1 + i];

		if (!isxdigit(digit))
			return refuse(c, "that is no digest");
		digest[i] = (char)tolower(digit);
	}
	return authenticate(c, MECHANISM_APOP, a->text, name_octets, digest,
	    sizeof(digest), stamp);
}

/* 0 to 63, or -1. */
static int
base64_value(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	const char *p = c != '\0' ? strchr(alphabet, c) : NULL;

	return p != NULL ? (int)(p - alphabet) : -1;
}

ssize_t
base64_decode(char *text, size_t octets)
{
	size_t done = 0, padding = 0;

	if (octets % 4 != 0)
		return -1;
	while (padding < 2 && padding < octets &&
	       text[octets - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < octets; i += 4) {
		size_t last = i + 4 == octets ? padding : 0;
		uint32_t bits = 0;

		for (size_t j = 0; j < 4 - last; j++) {
			int value = base64_value(text[i + j]);

			if (value == -1)
				return -1;
			bits |= (uint32_t)value << (18 - 6 * j);
		}
		if ((bits & (last == 0	    ? 0U
				: last == 1 ? 0xffU
					    : 0xffffU)) != 0)
			return -1;
		for (size_t j = 0; j < 3 - last; j++)
			text[done++] = (char)(bits >> (16 - 8 * j) & 0xff);
	}
	return (ssize_t)done;
}

/* One SASL exchange: the client's responses, decoded. */
struct exchange {
	struct client *c;
	char *initial; /* the response that came with AUTH, or NULL */
	size_t initial_octets;
	enum result result; /* where a response was not to be had */
};

/*
 * The client's next response (RFC 5034 section 4): the initial one if there
 * is, else what it answers to `challenge`, which is base64 already.  Decodes
 * into `response`, of SASL_LINE_OCTETS.  Returns its octets; or -1, and
 * x->result says what was made of it.
 */
static ssize_t
next_response(struct exchange *x, const char *challenge, char *response)
{
	struct stream *s = &x->c->stream;
	enum line status = LINE_OK;
	size_t octets = x->initial_octets;
	ssize_t decoded;

	if (x->initial != NULL) {
		memcpy(response, x->initial, octets);
		explicit_bzero(x->initial, octets);
		x->initial = NULL;
		if (octets == 1 && response[0] == '=')
			octets = 0; /* an empty one */
	} else {
		reply_line(s, "+ %s", challenge);
		status = stream_line(s, response, SASL_LINE_OCTETS, &octets);
		if (status == LINE_OK && octets == 1 && response[0] == '*') {
			x->result = refuse(x->c, "cancelled");
			return -1;
		}
	}
	if (status == LINE_LONG) {
		x->result = refuse(x->c, "line too long");
		return -1;
	}
	if (status != LINE_OK) {
		s->broken = status;
		x->result = RESULT_BROKEN;
		return -1;
	}
	decoded = base64_decode(response, octets);
	if (decoded == -1)
		x->result = refuse(x->c, "that is not base64");
	return decoded;
}

/* RFC 4616: authorization identity NUL authentication identity NUL password */
static enum result
auth_plain(struct exchange *x)
{
	static char text[SASL_LINE_OCTETS];
	ssize_t octets = next_response(x, "", text);
	const char *end, *name, *secret;
	enum result result;

	if (octets == -1)
		return x->result;
	end = text + octets;
	name = memchr(text, '\0', (size_t)octets);
	secret = name == NULL
		     ? NULL
		     : memchr(name + 1, '\0', (size_t)(end - name) - 1);
	if (secret == NULL)
		return refuse(x->c, "that is no PLAIN response");
	name++;
	secret++;
	if (secret - name == 1 ||
	    !fits(name, (size_t)(secret - 1 - name), USER_OCTETS) ||
	    !fits(secret, (size_t)(end - secret), SECRET_OCTETS))
		result = refuse(x->c, "that is no PLAIN response");
	else if (text[0] != '\0' && strcmp(text, name) != 0)
		result = refuse(x->c, "nobody logs in for somebody else here");
	else
		result = authenticate(x->c, MECHANISM_PLAIN, name,
		    (size_t)(secret - 1 - name), secret, (size_t)(end - secret),
		    "");
	explicit_bzero(text, (size_t)octets);
	return result;
}

/* The LOGIN mechanism, which no RFC has and old clients use: it asks for
 * "Username:" and "Password:". */
static enum result
auth_login(struct exchange *x)
{
	static char name[SASL_LINE_OCTETS], secret[SASL_LINE_OCTETS];
	ssize_t name_octets = next_response(x, "VXNlcm5hbWU6", name);
	ssize_t octets;
	enum result result;

	if (name_octets == -1)
		return x->result;
	if (name_octets == 0 || !fits(name, (size_t)name_octets, USER_OCTETS))
		return refuse(x->c, "that is no user name");
	octets = next_response(x, "UGFzc3dvcmQ6", secret);
	if (octets == -1)
		return x->result;
	if (!fits(secret, (size_t)octets, SECRET_OCTETS))
		result = refuse(x->c, "that is no password");
	else
		result = authenticate(x->c, MECHANISM_LOGIN, name,
		    (size_t)name_octets, secret, (size_t)octets, "");
	explicit_bzero(secret, (size_t)octets);
	return result;
}

static const struct {
	const char *name; /* with a blank before it */
	bool (*is_offered)(const struct client *);
	enum result (*run)(struct exchange *);
} mechanisms[] = {
    {" PLAIN", clear_allowed, auth_plain},
    {" LOGIN", clear_allowed, auth_login},
};

enum { SASL_MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

const char *
auth_mechanisms(const struct client *c)
{
	static char list[64];
	size_t octets = 0;

	list[0] = '\0';
	for (size_t i = 0; i < SASL_MECHANISMS; i++) {
		size_t length = strlen(mechanisms[i].name);

		if (!mechanisms[i].is_offered(c))
			continue;
		memcpy(list + octets, mechanisms[i].name, length + 1);
		octets += length;
	}
	return list;
}

/* RFC 5034 section 4; a bare AUTH, which lists the mechanisms, is older. */
enum result
cmd_auth(struct client *c, const struct argument *a)
{
	struct exchange x = {.c = c};
	const char *blank = memchr(a->text, ' ', a->octets);
	size_t octets = blank != NULL ? (size_t)(blank - a->text) : a->octets;

	user_octets = 0;
	if (a->octets == 0) {
		reply_ok(&c->stream, "mechanisms follow");
		for (size_t i = 0; i < SASL_MECHANISMS; i++)
			if (mechanisms[i].is_offered(c))
				reply_line(
				    &c->stream, "%s", mechanisms[i].name + 1);
		reply_dot(&c->stream);
		return RESULT_OK;
	}
	if (blank != NULL) {
		x.initial = a->text + octets + 1;
		x.initial_octets = a->octets - octets - 1;
	}
	for (size_t i = 0; i < SASL_MECHANISMS; i++) {
		const char *name = mechanisms[i].name + 1;

		if (strlen(name) != octets ||
		    strncasecmp(name, a->text, octets) != 0)
			continue;
		if (!mechanisms[i].is_offered(c))
			return refuse_clear(c);
		return mechanisms[i].run(&x);
	}
	return refuse(c, "that mechanism is not offered here");
}

enum result
cmd_stls(struct client *c, const struct argument *a)
{
	(void)a;
	return refuse(c, "TLS cannot be started here");
}

enum result
cmd_bye(struct client *c, const struct argument *a)
{
	(void)a;
	reply_ok(&c->stream, "good bye");
	return RESULT_QUIT;
}

/* RFC 1939 section 7: unlike any other greeting's.  Letters, digits, dots,
 * hyphens and @ only, for the sake of clients that check. */
static int
make_stamp(const char *host)
{
	unsigned long long random;
	char *p;

	if (getentropy(&random, sizeof(random)) == -1)
		return -1;
	(void)snprintf(stamp, sizeof(stamp), "<%ld.%lld.%llx@%s>",
	    (long)getpid(), (long long)time(NULL), random, host);
	for (p = stamp + 1; p[1] != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '@')
			*p = '-';
	return 0;
}

int
greeter_run(struct client *c, int monitor)
{
	enum reason reason;

	control = monitor;
	state.idle_msec =
	    (c->options.idle_sec < AUTH_IDLE_SEC ? (int64_t)c->options.idle_sec
						 : AUTH_IDLE_SEC) *
	    1000;
	stream_open(&c->stream, 0, 1, false, state.idle_msec);
	if (flag(c, 'a') && make_stamp(c->options.host) == -1)
		return EXIT_SYSTEM;
	if (sandbox_enter(ROLE_GREETER, &c->options, -1) == -1)
		return EXIT_SYSTEM;
	state.commands = authorization_commands;
	state.line_octets = SASL_LINE_OCTETS;
	state.end_msec = now_msec() + (int64_t)AUTH_TOTAL_SEC * 1000;
	reply_ok(&c->stream, "%s POP3 ready%s%s", c->options.host,
	    stamp[0] != '\0' ? " " : "", stamp);
	reason = command_loop(c, &state);
	stream_end(&c->stream);
	return (int)reason;
}
