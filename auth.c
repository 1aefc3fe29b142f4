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

/* Credentials travel in strings that NUL ends. */
static bool
is_name(const char *text, size_t octets)
{
	return octets > 0 && octets <= USER_OCTETS &&
	       memchr(text, '\0', octets) == NULL;
}

/* Sends the credentials to the monitor and its verdict to the client.
 * Returns only if they were refused: otherwise the session has the client. */
static enum result
authenticate(struct client *c, enum mechanism mechanism, const char *name,
    size_t name_octets, const char *secret, size_t secret_octets,
    const char *challenge)
{
	static const char *const replies[] = {
	    [VERDICT_WRONG] = "[AUTH] wrong user name or password",
	    [VERDICT_PERMANENT] = "[SYS/PERM] logins do not work; "
				  "the administrator must see to it",
	    [VERDICT_TEMPORARY] = "[SYS/TEMP] logins do not work now; "
				  "try again later",
	};
	static struct request request;
	struct verdict verdict;
	int64_t begin = now_msec();
	size_t octets;
	char *end = request.text;

	if (!is_name(name, name_octets))
		return refuse(c, "that is no user name");
	if (secret_octets > SECRET_OCTETS ||
	    memchr(secret, '\0', secret_octets) != NULL)
		return refuse(c, "that is no password");
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
	c->stream.end_msec += now_msec() - begin;
	reply_err(&c->stream, "%s", replies[verdict.code]);
	return verdict.is_last != 0 ? RESULT_BROKEN : RESULT_OK;
}

/* Before any password is sent: no response code, since [AUTH] would say that
 * a password was wrong (RFC 3206 section 4). */
static enum result
refuse_clear(struct client *c)
{
	return refuse(c, "clear-text passwords are not allowed without TLS");
}

enum result
cmd_user(struct client *c, const struct argument *a)
{
	user_octets = 0;
	if (!clear_allowed(c))
		return refuse_clear(c);
	if (!is_name(a->text, a->octets))
		return refuse(c, "that is no user name");
	memcpy(user, a->text, a->octets);
	user_octets = a->octets;
	reply_ok(&c->stream, "now the password");
	return RESULT_OK;
}

enum result
cmd_pass(struct client *c, const struct argument *a)
{
	size_t octets = user_octets;

	user_octets = 0;
	if (!clear_allowed(c))
		return refuse_clear(c);
	if (octets == 0)
		return refuse(c, "USER comes first");
	return authenticate(
	    c, MECHANISM_USER, user, octets, a->text, a->octets, "");
}

/* RFC 1939 section 7: APOP name digest; the name may hold blanks. */
enum result
cmd_apop(struct client *c, const struct argument *a)
{
	char *digest;

	if (!flag(c, 'a'))
		return refuse(c, "APOP is not offered here");
	if (a->octets < DIGEST_OCTETS + 2)
		return refuse(c, "a name and a digest are needed");
	digest = a->text + a->octets - DIGEST_OCTETS;
	if (digest[-1] != ' ' ||
	    strspn(digest, "0123456789abcdefABCDEF") != DIGEST_OCTETS)
		return refuse(c, "a name and a digest are needed");
	for (char *p = digest; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return authenticate(c, MECHANISM_APOP, a->text,
	    a->octets - DIGEST_OCTETS - 1, digest, DIGEST_OCTETS, stamp);
}

ssize_t
base64_decode(char *text, size_t octets)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	size_t done = 0, digits = octets;
	unsigned bits = 0;

	while (digits > 0 && octets - digits < 2 && text[digits - 1] == '=')
		digits--;
	for (size_t i = 0; i < digits; i++) {
		const char *p = memchr(alphabet, text[i], sizeof(alphabet) - 1);

		if (p == NULL)
			return -1;
		bits = bits << 6 | (unsigned)(p - alphabet);
		if (i % 4 != 0)
			text[done++] = (char)(bits >> (6 - i % 4 * 2) & 0xff);
	}
	/* Each = stands for two bits, which are zero. */
	if (octets % 4 != 0 ||
	    (bits & ((1U << (octets - digits) * 2) - 1)) != 0)
		return -1;
	return (ssize_t)done;
}

/* One SASL exchange. */
struct exchange {
	struct client *c;
	const char *initial; /* the response that came with AUTH, or NULL */
	size_t initial_octets;
};

/* The client's responses, decoded; cmd_auth wipes them. */
static char responses[2][SASL_LINE_OCTETS];

/*
 * The client's next response (RFC 5034 section 4): the initial one if there
 * is, else what it answers to `challenge`, which is base64 already.  Decodes
 * into `response`, of SASL_LINE_OCTETS; what is not RESULT_OK has been
 * answered.
 */
static enum result
next_response(
    struct exchange *x, const char *challenge, char *response, size_t *octets)
{
	struct stream *s = &x->c->stream;
	enum line status = LINE_OK;
	ssize_t decoded;

	if (x->initial != NULL) {
		*octets = x->initial_octets;
		memcpy(response, x->initial, *octets);
		x->initial = NULL;
		if (*octets == 1 && response[0] == '=')
			*octets = 0; /* an empty one */
	} else {
		reply_line(s, "+ %s", challenge);
		status = stream_line(s, response, octets);
		if (s->broken != LINE_OK)
			return RESULT_BROKEN;
		if (status == LINE_LONG)
			return refuse(x->c, "line too long");
		if (*octets == 1 && response[0] == '*')
			return refuse(x->c, "cancelled");
	}
	decoded = base64_decode(response, *octets);
	if (decoded == -1)
		return refuse(x->c, "that is not base64");
	*octets = (size_t)decoded;
	return RESULT_OK;
}

/* RFC 4616: authorization identity NUL authentication identity NUL password */
static enum result
auth_plain(struct exchange *x)
{
	char *text = responses[0], *end, *name, *secret;
	size_t octets;
	enum result result = next_response(x, "", text, &octets);

	if (result != RESULT_OK)
		return result;
	/* What was decoded is shorter than its room.  Two, so that there is a
	 * string also where there are no strings. */
	end = text + octets;
	end[0] = end[1] = '\0';
	name = text + strlen(text) + 1;
	secret = name + strlen(name) + 1;
	if (secret > end)
		return refuse(x->c, "that is no PLAIN response");
	if (text[0] != '\0' && strcmp(text, name) != 0)
		return refuse(x->c, "nobody logs in for somebody else here");
	return authenticate(x->c, MECHANISM_PLAIN, name, strlen(name), secret,
	    (size_t)(end - secret), "");
}

/* The LOGIN mechanism, which no RFC has and old clients use: it asks for
 * "Username:" and "Password:". */
static enum result
auth_login(struct exchange *x)
{
	char *name = responses[0], *secret = responses[1];
	size_t name_octets, octets;
	enum result result =
	    next_response(x, "VXNlcm5hbWU6", name, &name_octets);

	if (result != RESULT_OK)
		return result;
	if (!is_name(name, name_octets))
		return refuse(x->c, "that is no user name");
	result = next_response(x, "UGFzc3dvcmQ6", secret, &octets);
	if (result != RESULT_OK)
		return result;
	return authenticate(
	    x->c, MECHANISM_LOGIN, name, name_octets, secret, octets, "");
}

static const struct {
	const char *name;
	bool (*is_offered)(const struct client *);
	enum result (*run)(struct exchange *);
} mechanisms[] = {
    {"PLAIN", clear_allowed, auth_plain},
    {"LOGIN", clear_allowed, auth_login},
};

enum { SASL_MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

const char *
auth_mechanisms(const struct client *c, const char *before)
{
	static char list[64];
	int octets = 0;

	list[0] = '\0';
	for (size_t i = 0; i < SASL_MECHANISMS; i++)
		if (mechanisms[i].is_offered(c))
			octets += snprintf(list + octets,
			    sizeof(list) - (size_t)octets, "%s%s", before,
			    mechanisms[i].name);
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
		reply_ok(&c->stream, "mechanisms follow%s",
		    auth_mechanisms(c, "\r\n"));
		reply_line(&c->stream, ".");
		return RESULT_OK;
	}
	if (blank != NULL) {
		x.initial = blank + 1;
		x.initial_octets = a->octets - octets - 1;
	}
	for (size_t i = 0; i < SASL_MECHANISMS; i++) {
		const char *name = mechanisms[i].name;
		enum result result;

		if (strlen(name) != octets ||
		    strncasecmp(name, a->text, octets) != 0)
			continue;
		if (!mechanisms[i].is_offered(c))
			return refuse_clear(c);
		result = mechanisms[i].run(&x);
		explicit_bzero(responses, sizeof(responses));
		return result;
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
	unsigned idle_sec = c->options.idle_sec;
	enum reason reason;

	control = monitor;
	stream_open(&c->stream, 0, 1, false,
	    idle_sec < AUTH_IDLE_SEC ? idle_sec : AUTH_IDLE_SEC);
	if (flag(c, 'a') && make_stamp(c->options.host) == -1)
		return EXIT_SYSTEM;
	if (sandbox_enter(ROLE_GREETER, &c->options, -1) == -1)
		return EXIT_SYSTEM;
	c->stream.end_msec = now_msec() + (int64_t)AUTH_TOTAL_SEC * 1000;
	reply_ok(&c->stream, "%s POP3 ready%s%s", c->options.host,
	    stamp[0] != '\0' ? " " : "", stamp);
	reason = command_loop(c, authorization_commands);
	stream_end(&c->stream);
	return (int)reason;
}
