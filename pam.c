/* SPDX-License-Identifier: ISC */
/*
 * pop3d-checkpassword-pam: what pop3d-checkpassword -p executes. As that, but
 * PAM judges the secret, and the user's PAM session lasts until the program
 * that it runs has ended.
 *
 * One process as whoever the monitor is (mostly root), PAM's modules in it.
 * When they are done it forks: the child becomes the user and the program;
 * the parent waits for its end, to close the PAM session, and ends as it did.
 */
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "account.h"

#ifndef __clang__
/* gcc's analyzer does not know what an array's elements hold. */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

enum { ABOVE = 10, GIVEN_MOST = 256 }; /* descriptors */

/* What are 0 and 1 of the program, and which else were open from the start. */
static int client[2];
static bool given[GIVEN_MOST];

static struct {
	pam_handle_t *handle; /* NULL in the child: it is the parent's to end */
	bool has_credentials, has_session;
	int last; /* what PAM last said */
} pam;

/*
 * Answers a prompt without echo with the secret, one with echo with the name.
 * What modules tell the user goes nowhere: it might be secret, or help others.
 */
static bool
answer(int style, const struct credentials *cred, char **response)
{
	const char *text = style == PAM_PROMPT_ECHO_OFF	 ? cred->secret
			   : style == PAM_PROMPT_ECHO_ON ? cred->user
							 : "";

	if (style == PAM_ERROR_MSG || style == PAM_TEXT_INFO)
		return true;
	*response = *text != '\0' ? strdup(text) : NULL;
	return *response != NULL;
}

/* PAM's conversation: all of it is answered, or nothing. */
static int
converse(int count, const struct pam_message **messages,
    struct pam_response **responses, void *data)
{
	bool good = count > 0 && count <= PAM_MAX_NUM_MSG;
	struct pam_response *list = NULL;

	if (good)
		list = calloc((size_t)count, sizeof(*list));
	if (list == NULL)
		return PAM_CONV_ERR;
	for (int i = 0; i < count; i++)
		good &= answer(messages[i]->msg_style, data, &list[i].resp);
	if (good) {
		*responses = list;
		return PAM_SUCCESS;
	}
	for (int i = 0; i < count; i++) {
		if (list[i].resp != NULL)
			explicit_bzero(list[i].resp, strlen(list[i].resp));
		free(list[i].resp);
	}
	free(list);
	return PAM_CONV_ERR;
}

/*
 * Sleeps until a whole second since then is over: modules such as pam_unix
 * compute a hash for users that there are, and none for others.
 */
static void
even_out(const struct timespec *begin)
{
	struct timespec now, end = *begin;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	end.tv_sec = now.tv_sec + (now.tv_nsec >= begin->tv_nsec);
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

/* The monitor makes those wait who were wrong, and has but 60 seconds. */
static void
no_delay(int result, unsigned usec, void *data)
{
	(void)result;
	(void)usec;
	(void)data;
}

/* Undoes what was begun, however the process exits. */
static void
finish(void)
{
	if (pam.handle == NULL)
		return;
	if (pam.has_session) {
		pam.last = pam_close_session(pam.handle, PAM_SILENT);
		if (pam.last != PAM_SUCCESS)
			warnx("PAM: close_session: %s",
			    pam_strerror(pam.handle, pam.last));
	}
	if (pam.has_credentials)
		pam.last =
		    pam_setcred(pam.handle, PAM_DELETE_CRED | PAM_SILENT);
	(void)pam_end(pam.handle, pam.last);
	pam.handle = NULL;
}

/*
 * Goes on if that went well. What says that the user may not exits 1 where
 * `refuses`, and without a line where a stranger can bring it about; all else
 * is for the administrator to mend.
 */
static void
must(const char *what, int result, bool refuses)
{
	static const int refusals[] = {PAM_AUTH_ERR, PAM_USER_UNKNOWN,
	    PAM_PERM_DENIED, PAM_MAXTRIES, PAM_ACCT_EXPIRED,
	    PAM_AUTHTOK_EXPIRED, PAM_CRED_EXPIRED};

	pam.last = result;
	if (result == PAM_SUCCESS)
		return;
	if (result != PAM_AUTH_ERR && result != PAM_USER_UNKNOWN)
		warnx("PAM: %s: %s", what, pam_strerror(pam.handle, result));
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		if (refuses && result == refusals[i])
			exit(EXIT_REFUSED);
	exit(EXIT_SYSTEM);
}

/* Sets items that modules ask for; none of them is what the client chose. */
static void
describe(void)
{
	const char *host = getenv("TCPREMOTEIP");
#ifdef PAM_FAIL_DELAY
	const union {
		void (*function)(int, unsigned, void *);
		const void *item;
	} delay = {no_delay};

	must("items", pam_set_item(pam.handle, PAM_FAIL_DELAY, delay.item),
	    false);
#endif
	must("items", pam_set_item(pam.handle, PAM_TTY, "pop3"), false);
	if (host != NULL && *host != '\0')
		must("items", pam_set_item(pam.handle, PAM_RHOST, host), false);
}

/*
 * The account of a user, acct having the defaults: the system's, or a virtual
 * one in a directory as the pattern has it. Exits 1 for a name that is
 * nobody's, and for root's, whose password strangers cannot try here.
 */
static struct account
identify(
    const char *user, const char *pattern, bool is_virtual, struct account acct)
{
	/* getpwnam's own are overwritten when a module calls it */
	static char home[PATH_MAX], shell[PATH_MAX];
	struct account of_system = acct;
	bool good = account_is_safe(user);

	for (const char *p = user; *p != '\0'; p++)
		good &= (unsigned char)*p >= ' ' && *p != '\177';
	if (!good)
		exit(EXIT_REFUSED);
	if (account_find(user, &of_system) != NULL && of_system.uid == 0)
		errx(EXIT_REFUSED, "uid 0 is never served");
	if (!is_virtual) {
		acct = of_system;
		(void)snprintf(home, sizeof(home), "%s", acct.home);
		(void)snprintf(shell, sizeof(shell), "%s", acct.shell);
	} else if (!account_expand(pattern, user, home, sizeof(home))) {
		home[0] = '\0';
	}
	acct.home = home;
	acct.shell = shell;
	return acct;
}

/*
 * Asks PAM; returns the name that it then has for the user, since a module may
 * map it to another.
 */
static const char *
judge(struct credentials *cred)
{
	const int flags = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK;
	const void *item = NULL;
	const char *user;
	struct timespec begin;
	int result;

	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	result = pam_authenticate(pam.handle, flags);
	explicit_bzero(cred->secret, strlen(cred->secret));
	if (result != PAM_SUCCESS)
		even_out(&begin);
	must("authenticate", result, true);
	/* a password that is merely due for a change still gets its mail */
	result = pam_acct_mgmt(pam.handle, flags);
	must("acct_mgmt", result == PAM_NEW_AUTHTOK_REQD ? PAM_SUCCESS : result,
	    true);
	must("user", pam_get_item(pam.handle, PAM_USER, &item), false);
	user = item != NULL ? strdup(item) : NULL;
	if (user == NULL)
		errx(EXIT_SYSTEM, "PAM: no user");
	return user;
}

/* Takes over what modules want in the environment, but for what is pop3d's. */
static void
add_environment(char **list)
{
	static const char *const ours[] = {"AUTH_MECH=", "LD_",
	    "PATH=", "POP3D_TAKEOVER=", "PROTO=", "REMOTE_", "SERVICE=", "SSL",
	    "TCP", "TLS="};

	for (; list != NULL && *list != NULL; list++) {
		size_t i = 0, count = sizeof(ours) / sizeof(*ours);

		while (
		    i < count && strncmp(*list, ours[i], strlen(ours[i])) != 0)
			i++;
		if (i == count && putenv(*list) != 0)
			err(EXIT_SYSTEM, "environment");
	}
}

/*
 * Puts the client out of reach of modules and of what they leave running:
 * descriptors 0 and 1 move elsewhere.
 */
static void
hide_client(void)
{
	int null;

	for (int fd = 3; fd < GIVEN_MOST; fd++)
		given[fd] = fcntl(fd, F_GETFD) != -1;
	client[0] = fcntl(0, F_DUPFD_CLOEXEC, ABOVE);
	client[1] = fcntl(1, F_DUPFD_CLOEXEC, ABOVE);
	null = open("/dev/null", O_RDWR);
	if (client[0] == -1 || client[1] == -1 || dup2(null, 0) == -1 ||
	    dup2(null, 1) == -1)
		err(EXIT_SYSTEM, "descriptors");
	(void)close(null);
}

/*
 * Runs argv as the user in a session of PAM's, and ends as it does. To end
 * this process is to end that one; the client, the log excepted, and the
 * take-over descriptor are that one's alone.
 */
static _Noreturn void
run(struct account *acct, const char *user, bool groups, char *argv[])
{
	int status = EXIT_SYSTEM << 8, signal_got;
	char **environment;
	sigset_t signals, old;
	pid_t child;

	must("setcred",
	    pam_setcred(pam.handle, PAM_ESTABLISH_CRED | PAM_SILENT), false);
	pam.has_credentials = true;
	must("open_session", pam_open_session(pam.handle, PAM_SILENT), false);
	pam.has_session = true;
	environment = pam_getenvlist(pam.handle);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, &old);
	child = fork();
	if (child == -1)
		err(EXIT_SYSTEM, "fork");
	if (child == 0) {
		pam.handle = NULL;
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		if (dup2(client[0], 0) == -1 || dup2(client[1], 1) == -1)
			err(EXIT_SYSTEM, "descriptors");
		add_environment(environment);
		account_run(acct, user, groups, argv);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(client[0]);
	(void)close(client[1]);
	for (int fd = 0; fd < GIVEN_MOST; fd++)
		if (given[fd])
			(void)close(fd);
	while (waitpid(child, &status, WNOHANG) == 0)
		if (sigwait(&signals, &signal_got) == 0 &&
		    signal_got != SIGCHLD)
			(void)kill(child, signal_got);
	finish();
	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	(void)signal(WTERMSIG(status), SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	(void)kill(getpid(), WTERMSIG(status));
	exit(EXIT_SYSTEM);
}

int
main(int argc, char *argv[])
{
	static char input[INPUT_OCTETS + 2];
	const bool root = geteuid() == 0;
	struct account acct = {.home = "",
	    .shell = "",
	    .uid = root ? NO_ID : geteuid(),
	    .gid = root ? NO_ID : getegid()};
	const char *service = NULL, *home = "", *mech = getenv("AUTH_MECH");
	struct credentials cred;
	const struct pam_conv conv = {converse, &cred};
	bool good = true, is_virtual = false;
	int opt;
	const char *user;

	while ((opt = getopt(argc, argv, "+h:p:u:")) != -1) {
		is_virtual |= opt == 'u';
		if (opt == 'p')
			service = optarg;
		else if (opt == 'h')
			home = optarg;
		else
			good &= opt == 'u' &&
				account_parse_ids(optarg, &acct.uid, &acct.gid);
	}
	if (!good || service == NULL || optind == argc) {
		fprintf(stderr, "usage: pop3d-checkpassword -p service "
				"[-h home] [-u uid:gid] program [arg ...]\n");
		return EXIT_USAGE;
	}
	if (mech != NULL && *mech != '\0' && strcmp(mech, "USER") != 0 &&
	    strcmp(mech, "PLAIN") != 0 && strcmp(mech, "LOGIN") != 0)
		errx(EXIT_MISUSE, "AUTH_MECH: PAM takes passwords alone");
	account_read(input, sizeof(input), &cred);
	hide_client();
	(void)identify(cred.user, home, is_virtual, acct);
	/* modules may have buffers of that size, and take "" for anonymous */
	if (strlen(cred.user) >= PAM_MAX_RESP_SIZE || *cred.secret == '\0' ||
	    strlen(cred.secret) >= PAM_MAX_RESP_SIZE)
		return EXIT_REFUSED;
	(void)signal(SIGCHLD, SIG_DFL);
	(void)atexit(finish);
	must("start", pam_start(service, cred.user, &conv, &pam.handle), false);
	describe();
	user = judge(&cred);
	acct = identify(user, home, is_virtual, acct);
	account_check(&acct, user);
	run(&acct, user, !is_virtual, argv + optind);
}
