/* SPDX-License-Identifier: ISC */
/*
 * pop3d: one POP3 session over standard input and output.
 *
 * main reads the command line and becomes one of three processes: the
 * monitor (monitor.c), its child the greeter (auth.c), or, with -t, the
 * session (session.c).  The two command tables stand here, too.
 */
#include "pop3d.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"
#include "log.h"
#include "sandbox.h"

enum {
	IDLE_SEC = 600, /* RFC 1939 section 3 */
	IDLE_MOST_SEC = 86400,
	TRIES = 3,
	TRIES_MOST = 10,
	GREETER_ID = 65534
};

static const char usage[] =
    "usage: pop3d [-aclPsv] [-h host] [-m maildir] [-n tries] [-r dir]\n"
    "             [-T seconds] [-u uid:gid] [checkpassword [arg ...]]\n"
    "       pop3d -t [-aclPsv] [-h host] [-m maildir] [-T seconds]"
    " [maildir]\n";

const struct command authorization_commands[] = {
    {"CAPA", ARGUMENT_NONE, cmd_capa, NULL, NULL},
    {"USER", ARGUMENT_TEXT, cmd_user, "USER", clear_allowed},
    {"PASS", ARGUMENT_RAW, cmd_pass, NULL, NULL},
    {"APOP", ARGUMENT_TEXT, cmd_apop, NULL, NULL},
    {"AUTH", ARGUMENT_TEXT_OPTIONAL, cmd_auth, "SASL", clear_allowed},
    {"STLS", ARGUMENT_NONE, cmd_stls, NULL, NULL},
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
	    [REASON_ERROR] = "error",
	};

	return reason <= REASON_ERROR ? texts[reason] : "error";
}

bool
clear_allowed(const struct client *c)
{
	return c->options.clear || c->options.tls || c->peer.is_loopback;
}

/* A number of at most `most`, from 1. */
static bool
parse_bounded(const char *text, uint64_t most, unsigned *value)
{
	uint64_t n;

	if (!parse_number(text, strlen(text), &n) || n < 1 || n > most)
		return false;
	*value = (unsigned)n;
	return true;
}

/* "uid:gid", both numeric and neither root's. */
static bool
parse_ids(const char *text, struct options *o)
{
	const char *colon = strchr(text, ':');
	uint64_t uid, gid;

	if (colon == NULL ||
	    !parse_number(text, (size_t)(colon - text), &uid) ||
	    !parse_number(colon + 1, strlen(colon + 1), &gid) || uid == 0 ||
	    gid == 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return false;
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	return true;
}

/* One option; returns whether it was right.  *monitor_only is set by what
 * has no meaning with -t. */
static bool
parse_option(int letter, struct options *o, bool *monitor_only)
{
	*monitor_only |= strchr("nru", letter) != NULL;
	switch (letter) {
	case 'a':
		o->apop = true;
		return true;
	case 'c':
		o->clear = true;
		return true;
	case 'h':
		o->host = optarg;
		return *optarg != '\0';
	case 'l':
		o->to_syslog = true;
		return true;
	case 'm':
		o->maildir = optarg;
		return *optarg != '\0';
	case 'n':
		return parse_bounded(optarg, TRIES_MOST, &o->tries);
	case 'P':
		o->keep_flags = true;
		return true;
	case 'r':
		o->root = optarg;
		return *optarg == '/';
	case 's':
		o->tls = true;
		return true;
	case 'T':
		return parse_bounded(optarg, IDLE_MOST_SEC, &o->idle_sec);
	case 't':
		o->session = true;
		return true;
	case 'u':
		return parse_ids(optarg, o);
	case 'v':
		o->verbose = true;
		return true;
	default:
		return false;
	}
}

/* The command line into *o.  Returns NULL, or what is wrong with it. */
static const char *
parse_options(int argc, char **argv, struct options *o)
{
	static char unknown[] = "-? is not among the options, or lacks "
				"its argument";
	static char bad[] = "-? has a wrong argument";
	static char later[] = "-? is not available in this version";
	static char bundled_name[] = "pop3d-checkpassword";
	static char *bundled[] = {bundled_name, NULL};
	bool monitor_only = false;
	int letter;

	opterr = 0;
	while ((letter = getopt(argc, argv, "+acd:e:h:k:lm:n:oPr:sST:tu:vx")) !=
	       -1) {
		if (strchr("dekoSx", letter) != NULL) {
			later[1] = (char)letter;
			return later;
		}
		if (letter == '?') {
			unknown[1] = (char)optopt;
			return unknown;
		}
		if (!parse_option(letter, o, &monitor_only)) {
			bad[1] = (char)letter;
			return bad;
		}
	}
	argv += optind;
	argc -= optind;
	o->program = argc > 0 ? argv : bundled;
	if (!o->session)
		return NULL;
	if (monitor_only)
		return "-n, -r and -u have no meaning with -t";
	if (argc > 1)
		return "at most one maildir may be given";
	if (argc == 1)
		o->maildir = argv[0];
	return NULL;
}

/* The name in the greeting and the APOP time stamp. */
static const char *
find_host(void)
{
	static char name[256];
	const char *host = getenv("TCPLOCALHOST");

	if (host != NULL && *host != '\0')
		return host;
	if (gethostname(name, sizeof(name) - 1) == -1 || name[0] == '\0')
		return "localhost";
	return name;
}

/* Descriptors 0 to 2 are open from here on; false if the client's were not,
 * so that it cannot be served. */
static bool
fill_descriptors(void)
{
	bool is_complete = true;
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) != -1 && fd < 3)
		is_complete &= fd == 2;
	if (fd != -1)
		(void)close(fd);
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
		log_error("cannot start a process", NULL, errno);
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
	unsigned fd;

	return text != NULL && parse_bounded(text, 9, &fd) && fd > 2 &&
	       write((int)fd, "t", 1) == 1;
}

int
main(int argc, char **argv)
{
	static struct client client;
	struct options *o = &client.options;
	bool is_complete = fill_descriptors();
	bool has_monitor = false;
	const char *complaint;

	(void)signal(SIGPIPE, SIG_IGN);
	o->idle_sec = IDLE_SEC;
	o->tries = TRIES;
	o->uid = o->gid = GREETER_ID;
	o->root = "/var/empty";
	complaint = parse_options(argc, argv, o);
	if (complaint == NULL && o->session)
		has_monitor = take_over();
	close_descriptors();
	client.stderr_is_client = log_open(o->to_syslog);
	o->to_syslog |= client.stderr_is_client;
	if (complaint != NULL) {
		if (client.stderr_is_client)
			log_error(complaint, NULL, 0);
		else
			(void)fprintf(
			    stderr, "pop3d: %s\n%s", complaint, usage);
		return EXIT_USAGE;
	}
	if (!is_complete) {
		log_error("standard input or output is closed", NULL, 0);
		return EXIT_SYSTEM;
	}
	if (o->host == NULL)
		o->host = find_host();
	peer_find(&client.peer);
	o->tls |= client.peer.has_tls;
	if (!has_monitor)
		stream_tune(0);
	return o->session ? session_run(&client) : serve(&client);
}
