/* SPDX-License-Identifier: ISC */
/*
 * The monitor: privileged if it was started so.  It takes the greeter's
 * requests, which it does not trust, runs the checkpassword program for each
 * and waits for the end of what became of it.  It never reads from the
 * client and never writes to it.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "pop3d.h"
#include "sandbox.h"

enum {
	ATTEMPTS = 10,	    /* of any kind */
	CREDENTIALS_FD = 3, /* by the checkpassword interface */
	TAKEOVER_FD = 4,    /* by POP3D_TAKEOVER in the environment */
	/* A greeter that does not end by itself, by its own deadlines. */
	GREETER_MSEC = (AUTH_TOTAL_SEC + 30) * 1000,
	DELAY_MSEC = 1000, /* times the number of attempts so far */
};

/* One run of the checkpassword program. */
struct attempt {
	pid_t pid;
	int takeover;	 /* from the session; -1 when closed */
	bool is_session; /* the take-over message came */
};

static const char *const mechanism_names[MECHANISMS] = {
    [MECHANISM_USER] = "USER",
    [MECHANISM_APOP] = "APOP",
    [MECHANISM_PLAIN] = "PLAIN",
    [MECHANISM_LOGIN] = "LOGIN",
    [MECHANISM_CRAM_MD5] = "CRAM-MD5",
    [MECHANISM_OAUTHBEARER] = "OAUTHBEARER",
    [MECHANISM_XOAUTH2] = "XOAUTH2",
};

static sigset_t old_mask;

static void
on_child(int signal)
{
	(void)signal; /* ends ppoll, no more */
}

/* A line about an attempt that came to nothing; `code` is the program's exit
 * code or signal. */
static void
log_failure(const struct client *c, const struct request *r, const char *reason,
    int code)
{
	log_event("failure user=%s ip=%s mechanism=%s reason=%s code=%llu",
	    r->text, c->peer.ip, mechanism_names[r->kind], reason,
	    (unsigned long long)code);
}

/* The checkpassword program's arguments: its own, then the session's; static,
 * with room for ARGUMENTS_MOST of its own. */
static char **
build_arguments(const struct options *o)
{
	static char *list[ARGUMENTS_MOST + SESSION_ARGUMENTS + 3];
	static char flags[FLAGS + 3];
	size_t n = 0;

	while (n < ARGUMENTS_MOST && o->program[n] != NULL) {
		list[n] = o->program[n];
		n++;
	}
	(void)snprintf(flags, sizeof(flags), "-t%s", o->flags);
	list[n++] = own_path();
	list[n++] = flags;
	memcpy(list + n, o->session, o->session_count * sizeof(*list));
	return list;
}

/* What the program's environment says of this attempt; 0, or -1. */
static int
set_environment(const struct client *c, const struct request *r)
{
	bool known = c->peer.ip[0] != '\0';

	return setenv("AUTH_MECH", mechanism_names[r->kind], 1) == -1 ||
		       setenv("SERVICE", "pop3", 1) == -1 ||
		       setenv("POP3D_TAKEOVER", "4", 1) == -1 ||
		       (flag(c, 's') && setenv("TLS", "1", 1) == -1) ||
		       setenv("PROTO", "TCP", 0) == -1 ||
		       (known && setenv("TCPREMOTEIP", c->peer.ip, 0) == -1)
		   ? -1
		   : 0;
}

/* Runs the program with these descriptors at CREDENTIALS_FD and TAKEOVER_FD,
 * signals as they came to us, and a process group of its own, to be killed as
 * a whole.  0, or an error number. */
static int
spawn(pid_t *pid, const struct client *c, int credentials, int takeover)
{
	char **arguments = build_arguments(&c->options), path[PATH_MAX];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t defaults;
	int error;

	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)sigaddset(&defaults, SIGXFSZ);
	if (!isatty(0)) /* a terminal would stop a group in the background */
		flags |= POSIX_SPAWN_SETPGROUP;
	if (posix_spawn_file_actions_init(&actions) != 0 ||
	    posix_spawnattr_init(&attributes) != 0)
		return ENOMEM;
	/* The control socket came first: no pipe is at 3, and one that is at
	 * 4 is copied before it is overwritten. */
	error = posix_spawn_file_actions_adddup2(
	    &actions, credentials, CREDENTIALS_FD);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(
		    &actions, takeover, TAKEOVER_FD);
	if (error == 0 && c->stderr_is_client)
		error = posix_spawn_file_actions_addopen(
		    &actions, 2, "/dev/null", O_WRONLY, 0);
	(void)posix_spawnattr_setflags(&attributes, flags);
	(void)posix_spawnattr_setsigmask(&attributes, &old_mask);
	(void)posix_spawnattr_setsigdefault(&attributes, &defaults);
	if (error == 0)
		error = posix_spawnp(pid, arguments[0], &actions, &attributes,
		    arguments, environ);
	if (error == ENOENT && strchr(arguments[0], '/') == NULL) {
		(void)snprintf(
		    path, sizeof(path), "%s/%s", LIBEXECDIR, arguments[0]);
		error = posix_spawn(
		    pid, path, &actions, &attributes, arguments, environ);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	return error;
}

/* Starts the program; 0, or -1 after a line in the log. */
static int
start_program(struct attempt *a, const struct client *c,
    const struct request *r, size_t text_octets)
{
	int to[2] = {-1, -1}, from[2] = {-1, -1};
	int result = -1;

	/* A pipe takes the credentials as a whole, before anybody reads. */
	if (pipe2(to, O_CLOEXEC) == -1 || pipe2(from, O_CLOEXEC) == -1 ||
	    fcntl(to[1], F_SETFL, O_NONBLOCK) == -1 ||
	    fcntl(from[0], F_SETFL, O_NONBLOCK) == -1 ||
	    write(to[1], r->text, text_octets) != (ssize_t)text_octets ||
	    set_environment(c, r) == -1 ||
	    (errno = spawn(&a->pid, c, to[0], from[1])) != 0)
		log_error("cannot run the checkpassword program",
		    c->options.program[0]);
	else
		result = 0;
	(void)close(to[0]);
	(void)close(to[1]);
	(void)close(from[1]);
	if (result == -1)
		(void)close(from[0]);
	a->takeover = from[0];
	a->is_session = false;
	return result;
}

/* Reads the take-over message, if it is there. */
static void
read_takeover(struct attempt *a)
{
	char message;
	ssize_t n = read(a->takeover, &message, 1);

	if (n == -1)
		return;
	a->is_session = n == 1 && message == 't';
	(void)close(a->takeover);
	a->takeover = -1;
}

/* Waits until the session takes over or the program ends.  Returns true with
 * *status if it ended by itself, false too if that cannot be known. */
static bool
wait_program(struct attempt *a, int *status)
{
	int64_t deadline = now_msec() + (int64_t)CHECK_SEC * 1000;

	for (;;) {
		struct pollfd fd = {a->takeover, POLLIN, 0};
		struct timespec wait, *limit = NULL;
		int64_t left = deadline - now_msec();
		pid_t pid;

		do
			pid = waitpid(a->pid, status, WNOHANG);
		while (pid == -1 && errno == EINTR);
		if (pid != 0) {
			if (a->takeover != -1)
				read_takeover(a);
			return pid != -1;
		}
		if (a->is_session)
			return false;
		if (a->takeover != -1) {
			if (left <= 0)
				return false;
			wait.tv_sec = left / 1000;
			wait.tv_nsec = left % 1000 * 1000000;
			limit = &wait;
		}
		if (ppoll(&fd, 1, limit, &old_mask) == 1)
			read_takeover(a);
	}
}

/* What an exit code says of the credentials. */
static enum verdict_code
judge(const struct client *c, const struct request *r, int code)
{
	enum verdict_code verdict = code == EXIT_MISUSE	 ? VERDICT_PERMANENT
				    : code >= EXIT_USAGE ? VERDICT_TEMPORARY
							 : VERDICT_WRONG;
	static const char *const reasons[] = {
	    [VERDICT_WRONG] = "password",
	    [VERDICT_PERMANENT] = "misuse",
	    [VERDICT_TEMPORARY] = "temporary",
	};

	log_failure(c, r, reasons[verdict], code);
	return verdict;
}

/* One that is about to end by itself is not hurt.  Returns what it ended by,
 * as waitpid has it. */
static int
end_greeter(int control, pid_t greeter)
{
	int status = 0;

	(void)close(control);
	(void)kill(greeter, SIGKILL);
	while (waitpid(greeter, &status, 0) == -1 && errno == EINTR)
		;
	return status;
}

/* Runs the program for one request.  Returns true with a verdict; false if
 * there is nothing more to say to the client: it had its session. */
static bool
check(const struct client *c, struct request *r, size_t octets, int control,
    pid_t greeter, enum verdict_code *verdict)
{
	struct attempt a;
	bool is_started, has_ended;
	int status;

	*verdict = VERDICT_TEMPORARY;
	octets -= offsetof(struct request, text);
	is_started = start_program(&a, c, r, octets) == 0;
	/* All but the name. */
	explicit_bzero(r->text + strlen(r->text), octets - strlen(r->text));
	if (!is_started) {
		*verdict = judge(c, r, EXIT_SYSTEM);
		return true;
	}
	has_ended = wait_program(&a, &status);
	if (a.takeover != -1)
		(void)close(a.takeover);
	if (a.is_session) {
		/* It has nothing more to do, and would go by itself; but the
		 * client is the session's now, and nobody else's. */
		(void)end_greeter(control, greeter);
		while (!has_ended && waitpid(a.pid, &status, 0) == -1 &&
		       errno == EINTR)
			;
		return false;
	}
	if (!has_ended) {
		if (kill(-a.pid, SIGKILL) == -1)
			(void)kill(a.pid, SIGKILL);
		(void)waitpid(a.pid, &status, 0);
		log_failure(c, r, "timeout", 0);
		return true;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
		*verdict = judge(c, r, WEXITSTATUS(status));
		return true;
	}
	/* Was it a session that could not say so?  Nobody knows what the
	 * client was told. */
	(void)end_greeter(control, greeter);
	log_failure(c, r, WIFSIGNALED(status) ? "signal" : "no-session",
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	return false;
}

static bool
is_valid(const struct request *r, size_t octets)
{
	static const size_t most[] = {
	    USER_OCTETS, SECRET_OCTETS, CHALLENGE_OCTETS};
	size_t left = octets - offsetof(struct request, text);
	const char *text = r->text;

	if (octets < offsetof(struct request, text) || octets > sizeof(*r))
		return false;
	if (r->kind == REQUEST_STLS || r->kind == REQUEST_PROXY)
		return left ==
		       (r->kind == REQUEST_STLS ? 0 : sizeof(struct proxied));
	if (r->kind >= MECHANISMS || left == 0 || *text == '\0')
		return false;
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		const char *end = memchr(text, '\0', left);

		if (end == NULL || (size_t)(end - text) > most[i])
			return false;
		left -= (size_t)(end - text) + 1;
		text = end + 1;
	}
	return left == 0;
}

/* Waits for a request; its octets, 0 if the greeter is gone, -1 if it is
 * past all its own deadlines or says what it never says. */
static ssize_t
receive(int control, struct request *r)
{
	struct pollfd fd = {control, POLLIN, 0};
	int64_t deadline = now_msec() + GREETER_MSEC;
	int64_t left;
	ssize_t n;

	do {
		left = deadline - now_msec();
		n = left > 0 ? poll(&fd, 1, (int)left) : 0;
	} while (n == -1 && errno == EINTR);
	if (n != 1)
		return -1;
	n = recv(control, r, sizeof(*r), MSG_TRUNC);
	/* An empty message looks like the end, but for what comes next. */
	if (n == -1 || (n == 0 && recv(control, r, 1, MSG_DONTWAIT) == 0))
		return 0;
	return is_valid(r, (size_t)n) ? n : -1;
}

/* Keeps the client waiting, the longer the more it has tried; but not for a
 * greeter that has gone. */
static void
delay(int control, unsigned attempts)
{
	struct pollfd fd = {control, 0, 0};
	int64_t end = now_msec() + (int64_t)attempts * DELAY_MSEC;
	int64_t left;

	while ((left = end - now_msec()) > 0)
		if (poll(&fd, 1, (int)left) == 1)
			return;
}

/* Whether the greeter has not waited for its verdict: it may have one attempt
 * at a time. */
static bool
is_early(int control)
{
	char next;

	return recv(control, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Nothing of an earlier life may speak for this login, and the end of a
 * child must end ppoll. */
static void
prepare(void)
{
	static const char *const unset[] = {"TLS", "AUTH_MECH", "SERVICE",
	    "MAILDIR", "POP3D_SESSION", "POP3D_TAKEOVER", "SSLCTLFD",
	    "SSLREADFD", "SSLWRITEFD", "UCSPITLS"};
	struct sigaction action = {.sa_handler = on_child};
	sigset_t mask;

	for (size_t i = 0; i < sizeof(unset) / sizeof(unset[0]); i++)
		(void)unsetenv(unset[i]);
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &mask, &old_mask);
	(void)sigdelset(&old_mask, SIGCHLD);
	(void)sigaction(SIGCHLD, &action, NULL);
}

/* Has the wrapper begin TLS; whether it is on now. */
static bool
begin_tls(struct client *c)
{
	int64_t msec = (int64_t)auth_idle_sec(c) * 1000;

	if (tls_start(&c->tls, now_msec() + msec) == -1)
		return false;
	set_flag(&c->options, 's');
	return true;
}

/* Believes what the greeter has heard of the client from a proxy. */
static bool
take_proxied(struct client *c, const struct request *r)
{
	struct proxied p;

	memcpy(&p, r->text, sizeof(p));
	if ((p.octets != 0 && p.octets != 4 && p.octets != 16) ||
	    peer_set_proxied(&c->peer, &p) == -1)
		return false;
	if (p.has_tls)
		set_flag(&c->options, 's');
	if (!p.is_local)
		log_event("connect ip=%s via=%s", c->peer.ip, c->peer.via);
	return true;
}

int
monitor_run(struct client *c, int control, pid_t greeter)
{
	static struct request request;
	struct verdict verdict = {0};
	bool awaits_proxy = flag(c, 'x');
	const char *reason = NULL; /* why the greeter must go */
	unsigned attempts = 0, wrong = 0;
	ssize_t octets;
	int status;

	prepare();
	while (reason == NULL && (octets = receive(control, &request)) != 0) {
		enum verdict_code code = VERDICT_DONE;
		bool is_attempt;

		if (octets == -1 || verdict.is_last != 0 ||
		    (request.kind == REQUEST_PROXY) != awaits_proxy ||
		    (request.kind == REQUEST_STLS && !stls_offered(c))) {
			reason = "greeter";
			break;
		}
		is_attempt = request.kind < MECHANISMS;
		awaits_proxy = false;
		if (request.kind == REQUEST_PROXY) {
			reason = take_proxied(c, &request) ? NULL : "greeter";
		} else if (request.kind == REQUEST_STLS) {
			reason = begin_tls(c) ? NULL : "tls";
		} else if (request.text[strlen(request.text) + 1] == '\0') {
			log_failure(c, &request, "empty", 0);
			code = VERDICT_WRONG;
		} else if (!check(c, &request, (size_t)octets, control, greeter,
			       &code)) {
			return 0;
		}
		explicit_bzero(&request, (size_t)octets);
		wrong += code == VERDICT_WRONG;
		if (is_attempt)
			delay(control, ++attempts);
		verdict.code = (uint8_t)code;
		verdict.is_last =
		    wrong >= c->options.tries || attempts >= ATTEMPTS;
		if (is_early(control))
			reason = "greeter";
		/* It waits for this, and would wait for ever. */
		if (reason == NULL && send(control, &verdict, sizeof(verdict),
					  MSG_NOSIGNAL) == -1)
			break;
	}
	status = end_greeter(control, greeter);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SYSTEM)
		return EXIT_SYSTEM;
	if (reason == NULL)
		reason = reason_text(WIFEXITED(status)
					 ? (enum reason)WEXITSTATUS(status)
					 : REASON_ERROR);
	log_event("end user=- ip=%s reason=%s signal=%llu", c->peer.ip, reason,
	    (unsigned long long)(WIFSIGNALED(status) ? WTERMSIG(status) : 0));
	return 0;
}
