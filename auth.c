/* SPDX-License-Identifier: ISC */
/*
 * The greeter: AUTHORIZATION state.  It talks to the stranger, without any
 * right, and hands credentials to the monitor; it knows nothing to tell.
 */
#include "command.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "monitor.h"
#include "proxy.h"
#include "sandbox.h"

enum {
	BASE64_DIGITS = 64, /* and then the padding */
	DIGEST_OCTETS = 32, /* MD5 in hexadecimal */
	STAMP_OCTETS = 200
};

static int control;	   /* to the monitor */
static bool tls_is_socket; /* what a TLS wrapper offers is of that kind */
static char user_text[USER_OCTETS];
static struct argument user = {.text = user_text}; /* empty: no USER yet */
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
is_name(const struct argument *name)
{
	return name->octets > 0 && name->octets <= USER_OCTETS &&
	       memchr(name->text, '\0', name->octets) == NULL;
}

/* Sends a request, whose text is so long, to the monitor; waits for its
 * verdict.  If there is none, somebody else has the client. */
static struct verdict
ask(struct request *r, size_t text_octets)
{
	size_t octets = offsetof(struct request, text) + text_octets;
	struct verdict verdict;

	if (send(control, r, octets, MSG_NOSIGNAL) != (ssize_t)octets)
		_exit(REASON_ERROR);
	explicit_bzero(r, octets);
	if (recv(control, &verdict, sizeof(verdict), 0) != sizeof(verdict))
		_exit(REASON_QUIT);
	return verdict;
}

/* How a refused bearer token is told (RFC 7628 section 3.2.2, and what XOAUTH2
 * made of it), in base64; the client answers that before it hears -ERR. */
static const char *const token_errors[MECHANISMS] = {
    /* {"status":"invalid_token"} */
    [MECHANISM_OAUTHBEARER] = "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=",
    /* {"status":"401","schemes":"bearer"} */
    [MECHANISM_XOAUTH2] = "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=",
};

/* The client's responses, decoded; cmd_auth wipes them. */
static char responses[2][SASL_LINE_OCTETS];

/* Sends a challenge, which is base64 already, and reads the answer as it comes
 * into response->text, of SASL_LINE_OCTETS. */
static enum line
challenge_client(
    struct client *c, const char *challenge, struct argument *response)
{
	reply_line(&c->stream, "+ %s", challenge);
	return stream_line(&c->stream, response->text, &response->octets);
}

/* Sends the credentials to the monitor and its verdict to the client.
 * Returns only if they were refused: otherwise the session has the client. */
static enum result
authenticate(struct client *c, enum kind mechanism, const struct argument *name,
    const struct argument *secret, const char *challenge)
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
	char *end = request.text;

	if (!is_name(name))
		return refuse(c, "that is no user name");
	if (secret->octets > SECRET_OCTETS ||
	    memchr(secret->text, '\0', secret->octets) != NULL)
		return refuse(c, "that is no password");
	if (stream_flush(&c->stream) == -1)
		return RESULT_BROKEN;
	request.kind = (uint16_t)mechanism;
	end = add_text(end, name->text, name->octets);
	end = add_text(end, secret->text, secret->octets);
	end = add_text(end, challenge, strlen(challenge));
	verdict = ask(&request, (size_t)(end - request.text));
	if (verdict.code >= sizeof(replies) / sizeof(replies[0]))
		_exit(REASON_ERROR);
	/* The clock stood still while the password was checked. */
	c->stream.end_msec += now_msec() - begin;
	if (token_errors[mechanism] != NULL && verdict.code == VERDICT_WRONG) {
		stream_await(&c->stream);
		(void)challenge_client(c, token_errors[mechanism],
		    &(struct argument){.text = responses[0]});
		if (c->stream.broken != LINE_OK)
			return RESULT_BROKEN;
	}
	reply_err(&c->stream, "%s", replies[verdict.code]);
	return verdict.is_last != 0 ? RESULT_BROKEN : RESULT_OK;
}

/* Before any password is sent: no response code, since [AUTH] would say that
 * a password was wrong (RFC 3206 section 4). */
static const char not_in_clear[] =
    "clear-text passwords are not allowed without TLS";

enum result
cmd_user(struct client *c, const struct argument *a)
{
	user.octets = 0;
	if (!clear_allowed(c))
		return refuse(c, not_in_clear);
	if (!is_name(a))
		return refuse(c, "that is no user name");
	memcpy(user.text, a->text, a->octets);
	user.octets = a->octets;
	reply_ok(&c->stream, "now the password");
	return RESULT_OK;
}

enum result
cmd_pass(struct client *c, const struct argument *a)
{
	struct argument name = user;

	user.octets = 0;
	if (!clear_allowed(c))
		return refuse(c, not_in_clear);
	if (name.octets == 0)
		return refuse(c, "USER comes first");
	return authenticate(c, MECHANISM_USER, &name, a, "");
}

/* "name digest", of a secret and the time stamp; the name may hold blanks. */
static enum result
authenticate_digest(
    struct client *c, enum kind mechanism, const struct argument *a)
{
	struct argument name = *a, digest = {.octets = DIGEST_OCTETS};
	char *blank = strrchr(a->text, ' ');

	if (blank == NULL || blank + 1 + DIGEST_OCTETS != a->text + a->octets ||
	    strspn(blank + 1, "0123456789abcdefABCDEF") != DIGEST_OCTETS)
		return refuse(c, "a name and a digest are needed");
	name.octets = (size_t)(blank - a->text);
	digest.text = blank + 1;
	for (char *p = digest.text; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return authenticate(c, mechanism, &name, &digest, stamp);
}

/* RFC 1939 section 7 */
enum result
cmd_apop(struct client *c, const struct argument *a)
{
	if (!flag(c, 'a'))
		return refuse(c, "APOP is not offered here");
	if (!login_allowed(c))
		return refuse(c, "TLS comes first");
	return authenticate_digest(c, MECHANISM_APOP, a);
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789+/=";

/* Encodes a string (RFC 4648 section 4), whose base64 has room in `out`. */
static void
base64_encode(const char *text, char *out)
{
	while (*text != '\0') {
		unsigned bits = 0;
		int n = 0;

		for (; n < 3 && *text != '\0'; n++)
			bits |= (unsigned)(unsigned char)*text++
				<< (16 - 8 * n);
		for (int i = 0; i < 4; i++, bits <<= 6)
			*out++ = base64_digits[i <= n ? bits >> 18 & 0x3f
						      : BASE64_DIGITS];
	}
	*out = '\0';
}

/* Decodes base64 (RFC 4648 section 4, nothing but its alphabet and right
 * padding) in place; returns the octets, or -1. */
static ssize_t
base64_decode(char *text, size_t octets)
{
	size_t done = 0, digits = octets;
	unsigned bits = 0;

	while (digits > 0 && octets - digits < 2 && text[digits - 1] == '=')
		digits--;
	for (size_t i = 0; i < digits; i++) {
		const char *p = memchr(base64_digits, text[i], BASE64_DIGITS);

		if (p == NULL)
			return -1;
		bits = bits << 6 | (unsigned)(p - base64_digits);
		if (i % 4 != 0)
			text[done++] = (char)(bits >> (6 - i % 4 * 2) & 0xff);
	}
	/* Each = stands for two bits, which are zero. */
	if (octets % 4 != 0 ||
	    (bits & ((1U << (octets - digits) * 2) - 1)) != 0)
		return -1;
	return (ssize_t)done;
}

/*
 * The client's next response (RFC 5034 section 4): the initial one, that came
 * with AUTH, if there is, else what it answers to `challenge`, which is base64
 * already.  Decodes into response->text, of SASL_LINE_OCTETS.  What is not
 * RESULT_OK has been answered.
 */
static enum result
next_response(struct client *c, struct argument *initial, const char *challenge,
    struct argument *response)
{
	enum line status;
	ssize_t decoded;

	if (initial->text != NULL) {
		memcpy(response->text, initial->text, initial->octets);
		response->octets = initial->octets;
		initial->text = NULL;
		if (response->octets == 1 && response->text[0] == '=')
			response->octets = 0; /* an empty one */
	} else {
		status = challenge_client(c, challenge, response);
		if (c->stream.broken != LINE_OK)
			return RESULT_BROKEN;
		if (status == LINE_LONG)
			return refuse(c, "line too long");
		if (response->octets == 1 && response->text[0] == '*')
			return refuse(c, "cancelled");
	}
	decoded = base64_decode(response->text, response->octets);
	if (decoded == -1)
		return refuse(c, "that is not base64");
	response->octets = (size_t)decoded;
	return RESULT_OK;
}

/* RFC 4616: authorization identity NUL authentication identity NUL password */
static enum result
auth_plain(struct client *c, struct argument *initial)
{
	struct argument all = {.text = responses[0]}, name, secret;
	enum result result = next_response(c, initial, "", &all);
	char *end = all.text + all.octets;

	if (result != RESULT_OK)
		return result;
	/* What was decoded is shorter than its room.  Two, so that there is a
	 * name also where the first NUL is missing. */
	end[0] = end[1] = '\0';
	name.text = all.text + strlen(all.text) + 1;
	name.octets = strlen(name.text);
	secret.text = name.text + name.octets + 1;
	if (secret.text > end)
		return refuse(c, "that is no PLAIN response");
	secret.octets = (size_t)(end - secret.text);
	if (all.text[0] != '\0' && strcmp(all.text, name.text) != 0)
		return refuse(c, "nobody logs in for somebody else here");
	return authenticate(c, MECHANISM_PLAIN, &name, &secret, "");
}

/* The LOGIN mechanism, which no RFC has and old clients use: it asks for
 * "Username:" and "Password:". */
static enum result
auth_login(struct client *c, struct argument *initial)
{
	struct argument name = {.text = responses[0]};
	struct argument secret = {.text = responses[1]};
	enum result result = next_response(c, initial, "VXNlcm5hbWU6", &name);

	if (result != RESULT_OK)
		return result;
	if (!is_name(&name))
		return refuse(c, "that is no user name");
	result = next_response(c, initial, "UGFzc3dvcmQ6", &secret);
	if (result != RESULT_OK)
		return result;
	return authenticate(c, MECHANISM_LOGIN, &name, &secret, "");
}

/* RFC 2195: the challenge is the time stamp; the digest, HMAC-MD5. */
static enum result
auth_cram_md5(struct client *c, struct argument *initial)
{
	static char challenge[(STAMP_OCTETS + 2) / 3 * 4 + 1];
	struct argument response = {.text = responses[0]};
	enum result result;

	if (initial->text != NULL)
		return refuse(c, "CRAM-MD5 has no initial response");
	base64_encode(stamp, challenge);
	result = next_response(c, initial, challenge, &response);
	if (result != RESULT_OK)
		return result;
	/* What was decoded is shorter than its room. */
	response.text[response.octets] = '\0';
	return authenticate_digest(c, MECHANISM_CRAM_MD5, &response);
}

/* Undoes in place what a saslname has for commas and = (RFC 5801 section 4);
 * false where it is none. */
static bool
decode_saslname(struct argument *name)
{
	char *out = name->text, *end = name->text + name->octets;

	for (char *p = name->text; p < end; p++, out++) {
		*out = *p;
		if (*p != '=')
			continue;
		if (strncmp(p, "=2C", 3) != 0 && strncmp(p, "=3D", 3) != 0)
			return false;
		*out = p[1] == '2' ? ',' : '=';
		p += 2;
	}
	name->octets = (size_t)(out - name->text);
	return true;
}

/*
 * Fields, each ended by ^A, and a last ^A.  The first has the name: RFC 7628
 * section 3.1 puts a GS2 header there, XOAUTH2 user=NAME; another is auth=
 * Bearer TOKEN.  What else there may be (host, port) is ignored.
 */
static enum result
auth_bearer(struct client *c, struct argument *initial, enum kind mechanism)
{
	static const char bearer[] = "auth=Bearer ";
	const bool is_gs2 = mechanism == MECHANISM_OAUTHBEARER;
	struct argument all = {.text = responses[0]}, name, token = {0};
	enum result result = next_response(c, initial, "", &all);
	char *field = all.text, *end;

	if (result != RESULT_OK)
		return result;
	all.text[all.octets] = '\0';
	end = strchr(field, 1);
	name.text = field + 5;
	if (end == NULL || all.octets < 2 || strlen(all.text) != all.octets ||
	    strcmp(all.text + all.octets - 2, "\1\1") != 0 ||
	    (is_gs2 ? strncmp(field + 1, ",a=", 3) != 0 ||
			  strchr("ny", *field) == NULL || end[-1] != ','
		    : strncmp(field, "user=", 5) != 0))
		return refuse(c, "that is no such response");
	if (is_gs2)
		name.text--;
	name.octets = (size_t)(end - name.text) - is_gs2;
	for (field = end + 1; *field != '\0'; field = end + 1) {
		end = field + strcspn(field, "\1");
		if (strncasecmp(field, bearer, sizeof(bearer) - 1) != 0)
			continue;
		token.text = field + sizeof(bearer) - 1;
		token.text += strspn(token.text, " ");
		token.octets = (size_t)(end - token.text);
	}
	if ((is_gs2 && !decode_saslname(&name)) || token.text == NULL)
		return refuse(c, "a name and a bearer token are needed");
	return authenticate(c, mechanism, &name, &token, "");
}

static enum result
auth_oauthbearer(struct client *c, struct argument *initial)
{
	return auth_bearer(c, initial, MECHANISM_OAUTHBEARER);
}

static enum result
auth_xoauth2(struct client *c, struct argument *initial)
{
	return auth_bearer(c, initial, MECHANISM_XOAUTH2);
}

static const struct {
	const char *name;
	char flag; /* that has it offered, or 0 */
	bool (*is_allowed)(const struct client *);
	enum result (*run)(struct client *, struct argument *initial);
} mechanisms[] = {
    {"PLAIN", 0, clear_allowed, auth_plain},
    {"LOGIN", 0, clear_allowed, auth_login},
    {"CRAM-MD5", 'a', login_allowed, auth_cram_md5},
    {"OAUTHBEARER", 'o', clear_allowed, auth_oauthbearer},
    {"XOAUTH2", 'o', clear_allowed, auth_xoauth2},
};

enum { SASL_MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

/* Whether it is one of those that this server has at all. */
static bool
is_served(const struct client *c, size_t i)
{
	return mechanisms[i].flag == 0 || flag(c, mechanisms[i].flag);
}

const char *
auth_mechanisms(const struct client *c, const char *before)
{
	static char list[64];
	int octets = 0;

	list[0] = '\0';
	for (size_t i = 0; i < SASL_MECHANISMS; i++)
		if (is_served(c, i) && mechanisms[i].is_allowed(c))
			octets += snprintf(list + octets,
			    sizeof(list) - (size_t)octets, "%s%s", before,
			    mechanisms[i].name);
	return list;
}

bool
auth_offered(const struct client *c)
{
	return *auth_mechanisms(c, " ") != '\0';
}

/* RFC 5034 section 4; a bare AUTH, which lists the mechanisms, is older. */
enum result
cmd_auth(struct client *c, const struct argument *a)
{
	struct argument initial = {0};
	const char *blank = memchr(a->text, ' ', a->octets);
	size_t octets = blank != NULL ? (size_t)(blank - a->text) : a->octets;

	user.octets = 0;
	if (a->octets == 0) {
		reply_ok(&c->stream, "mechanisms follow%s",
		    auth_mechanisms(c, "\r\n"));
		reply_line(&c->stream, ".");
		return RESULT_OK;
	}
	if (blank != NULL) {
		initial.text = a->text + octets + 1;
		initial.octets = a->octets - octets - 1;
	}
	for (size_t i = 0; i < SASL_MECHANISMS; i++) {
		const char *name = mechanisms[i].name;
		enum result result;

		if (strlen(name) != octets ||
		    strncasecmp(name, a->text, octets) != 0)
			continue;
		if (!is_served(c, i))
			break;
		if (!mechanisms[i].is_allowed(c))
			return refuse(c, not_in_clear);
		result = mechanisms[i].run(c, &initial);
		explicit_bzero(responses, sizeof(responses));
		return result;
	}
	return refuse(c, "that mechanism is not offered here");
}

/* RFC 2595 section 4.  Nothing said before survives: no name, and no octet
 * behind the line, which stays where it is. */
enum result
cmd_stls(struct client *c, const struct argument *a)
{
	static struct request request = {.kind = REQUEST_STLS};
	struct stream *s = &c->stream;

	(void)a;
	if (!stls_offered(c))
		return refuse(c, "TLS cannot be started here");
	reply_ok(s, "begin TLS");
	if (stream_flush(s) == -1)
		return RESULT_BROKEN;
	if (ask(&request, 0).code != VERDICT_DONE)
		_exit(REASON_ERROR);
	set_flag(&c->options, 's');
	user.octets = 0;
	s->in = c->tls.in;
	s->out = c->tls.out;
	s->is_socket = tls_is_socket;
	s->more_waiting = false;
	s->in_begin = s->in_end = 0;
	return RESULT_OK;
}

/* RFC 6856 section 2.1.  Messages go as they are stored in either mode. */
enum result
cmd_utf8(struct client *c, const struct argument *a)
{
	(void)a;
	reply_ok(&c->stream, "UTF-8 mode");
	return RESULT_OK;
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

	if (getentropy(&random, sizeof(random)) == -1)
		return -1;
	(void)snprintf(stamp, sizeof(stamp), "<%ld.%lld.%llx@%s>",
	    (long)getpid(), (long long)time(NULL), random, host);
	for (char *p = stamp + 1; p[1] != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '@')
			*p = '-';
	return 0;
}

/* Reads the header that a proxy sends before all else (-x); has the monitor
 * take it for true, and does so itself. */
static bool
hear_proxy(struct client *c)
{
	static struct request request = {.kind = REQUEST_PROXY};
	struct stream *s = &c->stream;
	struct proxied p;

	s->deadline = now_msec() + (int64_t)PROXY_SEC * 1000;
	if (!proxy_read(s, &p))
		return false;
	s->first_line = true;
	memcpy(request.text, &p, sizeof(p));
	if (ask(&request, sizeof(p)).code != VERDICT_DONE)
		_exit(REASON_ERROR);
	if (p.has_tls)
		set_flag(&c->options, 's');
	return true;
}

/* RFC 1939 section 4. */
static void
greet(struct client *c)
{
	reply_ok(&c->stream, "%s POP3 ready%s%s", c->options.host,
	    stamp[0] != '\0' ? " " : "", stamp);
}

int
greeter_run(struct client *c, int monitor)
{
	unsigned idle_sec = auth_idle_sec(c);
	enum reason reason;

	control = monitor;
	if (c->tls.is_offered) {
		(void)close(c->tls.control);
		stream_open(&c->stream, c->tls.in, c->tls.out, false, idle_sec);
		tls_is_socket = c->stream.is_socket;
	}
	stream_open(&c->stream, 0, 1, false, idle_sec);
	if (flag(c, 'a') && make_stamp(c->options.host) == -1)
		return EXIT_SYSTEM;
	if (sandbox_leave_root(&c->options) == -1)
		return EXIT_SYSTEM;
	c->stream.end_msec = now_msec() + (int64_t)AUTH_TOTAL_SEC * 1000;
	/* The client reads while the filter is made, which takes a while; but
	 * nothing is read from it before.  Under -S it may have to go. */
	if (!flag(c, 'x'))
		greet(c);
	if (!flag(c, 'x') && !flag(c, 'S'))
		(void)stream_flush(&c->stream);
	if (sandbox_enter(ROLE_GREETER, &c->options, -1) == -1)
		return EXIT_SYSTEM;
	if (flag(c, 'x')) {
		if (!hear_proxy(c))
			return REASON_PROXY;
		greet(c);
	}
	reason = command_loop(c, authorization_commands);
	stream_end(&c->stream);
	return (int)reason;
}
