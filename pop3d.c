/* SPDX-License-Identifier: ISC */
/*
 * pop3d: one POP3 session over standard input and output.
 *
 * main reads the command line and becomes one of three processes: the
 * monitor (monitor.c), its child the greeter (auth.c), or, with -t, the
 * session (session.c).  The two command tables stand here, too.
 */
#include "pop3d.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "log.h"
#include "sandbox.h"

enum {
	IDLE_SEC = 600, /* RFC 1939 section 3 */
	DAY_SEC = 86400,
	EXPIRE_MOST = 9999,
	HOLD_OCTETS = 128,
	POLICY_OCTETS = 1024, /* of POP3D_SESSION, and words */
	POLICY_WORDS = 32,
	TRIES = 3,
	TRIES_MOST = 10,
	HOST_OCTETS = 100,
	ID_MOST = INT32_MAX
};

static const char usage[] =
    "usage: pop3d [-acloPsSvx] [-d seconds] [-e days] [-h host] [-k folder]\n"
    "             [-m maildir] [-n tries] [-r dir] [-T seconds]"
    " [-u uid:gid]\n"
    "             [checkpassword [arg ...]]\n"
    "       pop3d -t [-acloPsSvx] [-d seconds] [-e days] [-h host]"
    " [-k folder]\n"
    "             [-m maildir] [-T seconds] [maildir]\n";

const struct command authorization_commands[] = {
    {"CAPA", ARGUMENT_NONE, cmd_capa, NULL, NULL},
    {"USER", ARGUMENT_TEXT, cmd_user, "USER", clear_allowed},
    {"PASS", ARGUMENT_RAW, cmd_pass, NULL, NULL},
    {"APOP", ARGUMENT_TEXT, cmd_apop, NULL, NULL},
    {"AUTH", ARGUMENT_TEXT_OPTIONAL, cmd_auth, "SASL", auth_offered},
    {"STLS", ARGUMENT_NONE, cmd_stls, "STLS", stls_offered},
    {"UTF8", ARGUMENT_NONE, cmd_utf8, "UTF8", NULL},
    {"QUIT", ARGUMENT_NONE, cmd_bye, NULL, NULL},
    {NULL, ARGUMENT_NONE, NULL, NULL, NULL},
};

const struct command transaction_commands[] = {
    {"STAT", ARGUMENT_NONE, cmd_stat, NULL, NULL},
    {"LIST", ARGUMENT_MESSAGE_OPTIONAL, cmd_list, NULL, NULL},
    {"RETR", ARGUMENT_MESSAGE, cmd_retr, NULL, NULL},
    {"TOP", ARGUMENT_MESSAGE_LINES, cmd_top, "TOP", NULL},
    {"DELE", ARGUMENT_MESSAGE, cmd_dele, NULL, NULL},
    {"UIDL", ARGUMENT_MESSAGE_OPTIONAL, cmd_uidl, "UIDL", NULL},
    {"RSET", ARGUMENT_NONE, cmd_rset, NULL, NULL},
    {"NOOP", ARGUMENT_NONE, cmd_noop, NULL, NULL},
    {"LAST", ARGUMENT_NONE, cmd_last, NULL, NULL},
    {"CAPA", ARGUMENT_NONE, cmd_capa, NULL, NULL},
    {"QUIT", ARGUMENT_NONE, cmd_quit, NULL, NULL},
    {NULL, ARGUMENT_NONE, NULL, NULL, NULL},
};

const char *
reason_text(enum reason reason)
{
	static const char *const texts[] = {
	    [REASON_QUIT] = "quit",
	    [REASON_DISCONNECT] = "disconnect",
	    [REASON_TIMEOUT] = "timeout",
	    [REASON_PROXY] = "proxy",
	};

	return reason < REASON_ERROR ? texts[reason] : "error";
}

bool
flag(const struct client *c, char letter)
{
	return strchr(c->options.flags, letter) != NULL;
}

bool
login_allowed(const struct client *c)
{
	return flag(c, 's') || !c->tls.is_required;
}

bool
clear_allowed(const struct client *c)
{
	return login_allowed(c) &&
	       (flag(c, 'c') || flag(c, 's') || c->peer.is_loopback);
}

unsigned
auth_idle_sec(const struct client *c)
{
	return c->options.idle_sec < AUTH_IDLE_SEC ? c->options.idle_sec
						   : AUTH_IDLE_SEC;
}

bool
stls_offered(const struct client *c)
{
	return c->tls.is_offered && !flag(c, 's');
}

/* A number from 1 to `most`. */
static bool
parse_bounded(const char *text, size_t octets, uint64_t most, unsigned *value)
{
	uint64_t n;

	if (!parse_number(text, octets, &n) || n < 1 || n > most)
		return false;
	*value = (unsigned)n;
	return true;
}

/* Whether an option's argument was right. */
static bool
parse_argument(int letter, struct options *o)
{
	size_t octets = strlen(optarg), colon = strcspn(optarg, ":");

	switch (letter) {
	case 'd':
		return parse_bounded(optarg, octets, DAY_SEC, &o->delay_sec);
	case 'e': /* 0 is a number of days, too */
		o->expire_days = EXPIRE_NEVER;
		if (strcmp(optarg, "never") == 0)
			return true;
		o->expire_days = 0;
		return strcmp(optarg, "0") == 0 ||
		       parse_bounded(
			   optarg, octets, EXPIRE_MOST, &o->expire_days);
	case 'k': /* below the Maildir, as Maildir++ has it */
		o->hold = optarg;
		return octets > 1 && octets < HOLD_OCTETS && *optarg == '.' &&
		       optarg[1] != '.' && strchr(optarg, '/') == NULL;
	case 'h':
		o->host = optarg;
		return octets > 0;
	case 'm':
		o->maildir = optarg;
		return octets > 0;
	case 'n':
		return parse_bounded(optarg, octets, TRIES_MOST, &o->tries);
	case 'r':
		o->root = optarg;
		return *optarg == '/';
	case 'T':
		return parse_bounded(optarg, octets, DAY_SEC, &o->idle_sec);
	case 'u': /* numeric, and neither root's */
		return colon < octets &&
		       parse_bounded(optarg, colon, ID_MOST, &o->uid) &&
		       parse_bounded(optarg + colon + 1, octets - colon - 1,
			   ID_MOST, &o->gid);
	default:
		return false;
	}
}

void
set_flag(struct options *o, int letter)
{
	size_t n = strlen(o->flags);

	if (n < FLAGS && strchr(o->flags, letter) == NULL)
		o->flags[n] = (char)letter;
}

/* That option and its argument, the last one if it comes again. */
static void
keep_for_session(struct options *o, char *name)
{
	size_t i = 0;

	while (i < o->session_count && o->session[i] != name)
		i += 2;
	if (i == o->session_count)
		o->session_count += 2;
	o->session[i] = name;
	o->session[i + 1] = optarg;
}

static char complaint[] = "-? is no option, or its argument is wrong";

/* Options, of these letters, into *o; whether they were right, else
 * `complaint` says of which that is not so. */
static bool
parse_options(int argc, char **argv, const char *letters, struct options *o)
{
	static char names[][3] = {"-d", "-e", "-k", "-m", "-T"};
	int letter;

	opterr = 0;
	optind = 1;
	while ((letter = getopt(argc, argv, letters)) != -1) {
		const char *row = strchr(letters, letter);

		complaint[1] = (char)(letter == '?' ? optopt : letter);
		if (letter == '?' || row == NULL ||
		    (row[1] == ':' && !parse_argument(letter, o)))
			return false;
		if (row[1] != ':')
			set_flag(o, letter);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (names[i][1] == letter)
				keep_for_session(o, names[i]);
	}
	return true;
}

/* The command line into *o.  Returns NULL, or what is wrong with it. */
static const char *
parse_command_line(int argc, char **argv, struct options *o)
{
	static char bundled_name[] = "pop3d-checkpassword";
	static char *bundled[] = {bundled_name, NULL};
	bool is_session;

	if (!parse_options(argc, argv, "+acd:e:h:k:lm:n:oPr:sST:tu:vx", o))
		return complaint;
	argv += optind;
	argc -= optind;
	o->program = argc > 0 ? argv : bundled;
	if (argc > ARGUMENTS_MOST)
		return "too many arguments for the checkpassword program";
	is_session = strchr(o->flags, 't') != NULL;
	if (is_session &&
	    (argc > 1 || o->tries + o->uid > 0 || o->root != NULL))
		return "-t takes no -n, -r or -u, and one maildir at most";
	if (is_session && argc == 1)
		o->maildir = argv[0];
	return NULL;
}

/*
 * What the checkpassword program says of this user, in POP3D_SESSION, into *o.
 * It may lengthen what CAPA said of EXPIRE before login, and shorten what it
 * said of LOGIN-DELAY (RFC 2449 sections 6.5 and 6.7); else that stands.
 * Returns NULL, or what is wrong.
 */
static const char *
parse_policy(struct options *o)
{
	static char text[POLICY_OCTETS];
	char *words[POLICY_WORDS] = {text}, *rest = text;
	const char *policy = getenv("POP3D_SESSION");
	unsigned delay_sec = o->delay_sec, expire_days = o->expire_days;
	int n = 1;

	if (policy == NULL)
		return NULL;
	if ((size_t)snprintf(text, sizeof(text), "%s", policy) >= sizeof(text))
		return "POP3D_SESSION is too long";
	while (n < POLICY_WORDS - 1 && rest != NULL) {
		words[n] = strsep(&rest, " \t");
		n += *words[n] != '\0';
	}
	words[n] = NULL;
	if (rest != NULL || !parse_options(n, words, "+d:e:k:m:PT:v", o) ||
	    optind < n)
		return "POP3D_SESSION has an option that is wrong";
	if (o->delay_sec > delay_sec)
		o->delay_sec = delay_sec;
	if (o->expire_days < expire_days)
		o->expire_days = expire_days;
	return NULL;
}

/* The name in the greeting and the APOP time stamp, of letters, digits and
 * ".-_:" only; static. */
static const char *
find_host(const char *given)
{
	static char name[HOST_OCTETS + 1];

	if (given == NULL)
		given = getenv("TCPLOCALHOST");
	if (given != NULL && *given != '\0')
		(void)snprintf(name, sizeof(name), "%s", given);
	else if (gethostname(name, sizeof(name) - 1) == -1 || *name == '\0')
		return "localhost";
	/* No < is to look like a time stamp, nor [ like a response code. */
	for (char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr(".-_:", *p) == NULL)
			*p = '-';
	return name;
}

/* Descriptors 0 to 2 are open from here on; false if the client's were not,
 * so that it cannot be served. */
static bool
fill_descriptors(void)
{
	bool is_complete = true;

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1) {
			is_complete &= fd == 2;
			(void)open("/dev/null", O_RDWR);
		}
	return is_complete;
}

/* Forks the greeter before a byte is read; returns the exit code of the
 * monitor or, in its own process, the greeter. */
static int
serve(struct client *c)
{
	int control[2];
	pid_t greeter;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) ==
		-1 ||
	    (greeter = fork()) == -1) {
		log_error("cannot start a process", NULL);
		return EXIT_SYSTEM;
	}
	if (greeter == 0) {
		(void)close(control[0]);
		return greeter_run(c, control[1]);
	}
	(void)close(control[1]);
	return monitor_run(c, control[0], greeter);
}

/* Tells a monitor, if there is one, that this is the session (DESIGN,
 * "Processes"); returns whether there is one. */
static bool
take_over(void)
{
	const char *text = getenv("POP3D_TAKEOVER");
	struct stat st;
	unsigned fd;

	return text != NULL && parse_bounded(text, strlen(text), 9, &fd) &&
	       fd > 2 && fstat((int)fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
	       write((int)fd, "t", 1) == 1;
}

int
main(int argc, char **argv)
{
	static struct client client;
	struct options *o = &client.options;
	bool is_complete = fill_descriptors(), has_monitor;
	const char *wrong;

	(void)signal(SIGPIPE, SIG_IGN);
	/* A limit on files fails a write, be it the log's, and no more. */
	(void)signal(SIGXFSZ, SIG_IGN);
	/* Who ignores it does not hear how a child has ended. */
	(void)signal(SIGCHLD, SIG_DFL);
	o->idle_sec = IDLE_SEC;
	o->expire_days = EXPIRE_NEVER;
	wrong = parse_command_line(argc, argv, o);
	if (wrong == NULL && flag(&client, 't'))
		wrong = parse_policy(o);
	has_monitor = wrong == NULL && flag(&client, 't') && take_over();
	if (!flag(&client, 't'))
		tls_find(&client.tls);
	close_descriptors(&client.tls);
	client.stderr_is_client = log_open(flag(&client, 'l'));
	if (client.stderr_is_client)
		set_flag(o, 'l');
	if (wrong != NULL) {
		if (client.stderr_is_client)
			log_event("error what=%s", wrong);
		else
			(void)fprintf(stderr, "pop3d: %s\n%s", wrong, usage);
		return EXIT_USAGE;
	}
	if (!is_complete) {
		log_event("error what=%s", "descriptor 0 or 1 is closed");
		return EXIT_SYSTEM;
	}
	o->tries = o->tries > 0 ? o->tries : TRIES;
	o->root = o->root != NULL ? o->root : EMPTYDIR;
	if (o->uid == 0)
		o->uid = o->gid = GREETER_ID;
	o->host = find_host(o->host);
	peer_find(&client.peer);
	/* With -x it is a proxy's word, if not the proxy. */
	client.peer.is_loopback &= !flag(&client, 'x');
	if (client.peer.has_tls)
		set_flag(o, 's');
	if (client.tls.is_broken)
		log_event("error what=%s",
		    "SSLCTLFD, SSLREADFD or SSLWRITEFD names no descriptor");
	if (!has_monitor)
		stream_tune(0);
	return flag(&client, 't') ? session_run(&client) : serve(&client);
}
