/* SPDX-License-Identifier: ISC */
/*
 * pop3d-doctor: looks for what is wrong with a service of pop3d, without a
 * client, and says how to mend it.  Run by hand, mostly by root.
 *
 * It changes nothing and takes no lock.  Nothing of a user's is opened but in
 * a child that has become that user, and that has gone into the sandbox of a
 * session before it reads what stands there.
 *
 * main reads the command line, which is pop3d's own, and goes through the
 * table of checks: doctor-service.c, doctor-users.c, doctor-mail.c.  Where it
 * can, it lets pop3d's own code and programs judge.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "stream.h"

enum {
	LINE_MOST = 4096,
	SHOWN = 5,	/* of many findings of a kind */
	LOOK_SEC = 300, /* for a child */
	RUN_MSEC = 10000,
	WORDS_MOST = 1024 /* of the command line */
};

static const char usage[] =
    "usage: pop3d-doctor [-M maildir ...] [-U user ...] [pop3d-option ...]\n"
    "                    [checkpassword [arg ...]]\n";

static const struct {
	const char *name;
	void (*run)(struct service *);
	bool with_session; /* there is something to it with -t */
} checks[] = {
    {"the options", check_options, true},
    {"pop3d", check_pop3d, true},
    {"the checkpassword program", check_program, false},
    {"the users", check_users, false},
    {"the greeter", check_greeter, false},
    {"the sandbox", check_sandbox, true},
    {"syslog", check_syslog, true},
    {"the clock", check_clock, true},
    {"a trial of pop3d", check_trial, false},
    {"TLS", check_tls, false},
    {"mail", check_mail, true},
};

static const char *checked; /* the name of the check that runs */
static unsigned *errors;    /* shared with children, whatever they end by */
static bool is_verbose;
static size_t complaints;

void (*on_missing_part)(const char *part, const char *why);

void
say(enum level level, const char *format, ...)
{
	static const char *const words[] = {
	    [LEVEL_OK] = "ok",
	    [LEVEL_NOTE] = "note",
	    [LEVEL_WARNING] = "warning",
	    [LEVEL_ERROR] = "error",
	};
	char text[LINE_MOST], line[4 * LINE_MOST + 32];
	const char *last = text;
	size_t octets;
	va_list values;

	*errors += level == LEVEL_ERROR;
	if (level == LEVEL_OK && !is_verbose)
		return;
	va_start(values, format);
	(void)vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	octets = (size_t)snprintf(line, sizeof(line), "%s: ", words[level]);
	for (const char *p = text; *p != '\0'; p++)
		if (*p >= ' ' && *p <= '~')
			line[octets++] = *p;
		else
			octets += (size_t)snprintf(
			    line + octets, 5, "\\x%02x", (unsigned char)*p);
	for (const char *p = text; (p = strstr(p, ". ")) != NULL; p += 2)
		last = p;
	/* A command, to be copied, has no full stop. */
	if (strstr(last, ": ") == NULL)
		line[octets++] = '.';
	line[octets++] = '\n';
	/* Who does not read it has the exit code. */
	(void)!write(1, line, octets);
}

bool
say_again(size_t *count)
{
	return ++*count <= SHOWN;
}

void
say_rest(size_t count, const char *what)
{
	if (count > SHOWN)
		say(LEVEL_NOTE, "There are %zu more %s", count - SHOWN, what);
}

unsigned
error_count(void)
{
	return *errors;
}

/* pop3d's own code has a log; here, its lines are findings.  All of its
 * formats but two are errors of some kind. */
void
log_event(const char *format, ...)
{
	char text[LINE_MOST];
	va_list values;
	const char *what, *second, *third;

	va_start(values, format);
	if (strcmp(format, "debug what=%s part=%s error=%s") == 0 ||
	    strcmp(format, "error what=%s path=%s entry=%s") == 0) {
		what = va_arg(values, const char *);
		second = va_arg(values, const char *);
		third = va_arg(values, const char *);
		if (*format == 'd' && on_missing_part != NULL)
			on_missing_part(second, third);
		else if (*format == 'e' && say_again(&complaints))
			say(LEVEL_WARNING,
			    "%s: \"%s\" is ignored: %s. Mend or remove that "
			    "line",
			    second, third, what);
	} else {
		(void)vsnprintf(text, sizeof(text), format, values);
		say(LEVEL_ERROR, "pop3d's own code says: %s", text);
	}
	va_end(values);
}

void
log_error(const char *what, const char *path)
{
	say(LEVEL_ERROR, "%s: %s: %s", path, what, strerror(errno));
}

/* Becomes `who` for good; false if that cannot be. */
static bool
become(const struct identity *who)
{
	gid_t gid = who->gid;

	if (geteuid() == 0 && ((who->user != NULL ? initgroups(who->user, gid)
						  : setgroups(1, &gid)) == -1 ||
				  setgid(gid) == -1 || setuid(who->uid) == -1))
		return false;
	return getuid() == who->uid && geteuid() == who->uid &&
	       (who->uid == 0 || setuid(0) == -1);
}

bool
in_child(const struct identity *who, void (*check)(const void *),
    const void *argument, int expected)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGALRM, SIG_DFL);
		(void)alarm(LOOK_SEC);
		if (who != NULL && !become(who))
			say(LEVEL_ERROR,
			    "Only root can look at things as user %lu does. "
			    "Run pop3d-doctor as root",
			    (unsigned long)who->uid);
		else
			check(argument);
		say_rest(complaints, "such lines");
		_exit(0);
	}
	while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (pid == -1 || (WIFSIGNALED(status) && WTERMSIG(status) != expected))
		say(LEVEL_ERROR, "The look at %s ended early: %s", checked,
		    pid == -1 ? strerror(errno) : strsignal(WTERMSIG(status)));
	return pid != -1 && WIFSIGNALED(status) && WTERMSIG(status) == expected;
}

/* The child's side of run_program: descriptors, then the program. */
static void
execute(const struct run *r, int talk, int error, int credentials)
{
	int null = open("/dev/null", O_WRONLY);

	/* Away from the numbers that are to be filled. */
	talk = talk != -1 ? fcntl(talk, F_DUPFD, 10) : -1;
	error = fcntl(error, F_DUPFD, 10);
	credentials = credentials != -1 ? fcntl(credentials, F_DUPFD, 10) : -1;
	(void)dup2(talk != -1 ? talk : null, 0);
	(void)dup2(talk != -1 ? talk : null, 1);
	(void)dup2(error, 2);
	if (credentials != -1)
		(void)dup2(credentials, 3);
	else if (r->input == NULL)
		(void)close(3);
	if (talk == -1)
		(void)close(0);
	(void)setenv("AUTH_MECH", "USER", 1);
	(void)execv(r->path, r->arguments);
	_exit(127);
}

/* Reads both descriptors to their ends into r, in the time there is. */
static bool
collect(struct run *r, int talk, int error)
{
	struct pollfd fds[2] = {{talk, POLLIN, 0}, {error, POLLIN, 0}};
	char *const texts[2] = {r->out, r->error}, waste[512];
	size_t octets[2] = {0};
	int64_t end = now_msec() + RUN_MSEC, left;

	while ((fds[0].fd != -1 || fds[1].fd != -1) &&
	       (left = end - now_msec()) > 0) {
		if (poll(fds, 2, (int)left) < 1)
			continue;
		for (int i = 0; i < 2; i++) {
			size_t room = TEXT_OCTETS - 1 - octets[i];
			ssize_t n;

			if (fds[i].fd == -1 || fds[i].revents == 0)
				continue;
			n = room > 0
				? read(fds[i].fd, texts[i] + octets[i], room)
				: read(fds[i].fd, (char *)waste, sizeof(waste));
			if (n <= 0)
				fds[i].fd = -1;
			else if (room > 0)
				octets[i] += (size_t)n;
		}
	}
	r->out[octets[0]] = r->error[octets[1]] = '\0';
	return fds[0].fd == -1 && fds[1].fd == -1;
}

int
run_program(struct run *r)
{
	int talk[2] = {-1, -1}, error[2], credentials[2] = {-1, -1};
	int status = -1;
	bool has_ended;
	pid_t pid;

	if (pipe2(error, O_CLOEXEC) == -1 ||
	    (r->input != NULL &&
		(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk) ==
			-1 ||
		    write(talk[0], r->input, strlen(r->input)) == -1 ||
		    shutdown(talk[0], SHUT_WR) == -1)) ||
	    (r->credentials != NULL && (pipe2(credentials, O_CLOEXEC) == -1 ||
					   write(credentials[1], r->credentials,
					       r->credentials_octets) == -1)))
		return -1;
	(void)close(credentials[1]);
	pid = fork();
	if (pid == 0)
		execute(r, talk[1], error[1], credentials[0]);
	(void)close(talk[1]);
	(void)close(error[1]);
	(void)close(credentials[0]);
	has_ended = collect(r, talk[0], error[0]);
	if (pid != -1 && !has_ended)
		(void)kill(pid, SIGKILL);
	while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	(void)close(talk[0]);
	(void)close(error[0]);
	return pid != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

bool
find_program(const char *name, bool libexec, char path[PATH_MAX])
{
	const char *dir = getenv("PATH");
	bool is_path = strchr(name, '/') != NULL;

	if (dir == NULL)
		dir = "/usr/local/bin:/bin:/usr/bin";
	while (!is_path) {
		int octets = (int)strcspn(dir, ":");

		(void)snprintf(path, PATH_MAX, "%.*s%s%s", octets, dir,
		    octets > 0 ? "/" : "./", name);
		if (is_program(path))
			return true;
		if (dir[octets] == '\0')
			break;
		dir += octets + 1;
	}
	(void)snprintf(
	    path, PATH_MAX, "%s%s", is_path ? "" : LIBEXECDIR "/", name);
	return (is_path || libexec) && is_program(path);
}

/* What the checks want to know of an option; whether it is right, pop3d itself
 * is asked. */
static void
take_option(struct service *s, int letter)
{
	struct options *o = &s->options;
	size_t n = strlen(o->flags);

	if (optarg == NULL && n < FLAGS)
		o->flags[n] = (char)letter;
	if (optarg == NULL)
		return;
	switch (letter) {
	case 'M':
		s->maildirs[s->maildir_count++] = optarg;
		break;
	case 'U':
		s->users[s->user_count++] = optarg;
		break;
	case 'm':
		o->maildir = optarg;
		break;
	case 'r':
		o->root = optarg;
		break;
	case 'u':
		(void)account_parse_ids(optarg, &o->uid, &o->gid);
		break;
	default:
		break;
	}
}

/* The command line.  The string is pop3d's, and two options more, which that
 * will never have.  All words but those go to s->words, one option each. */
static bool
parse_options(int argc, char **argv, struct service *s)
{
	static char bundled[] = "pop3d-checkpassword", name[] = "pop3d";
	static char *none[] = {bundled, NULL}, end[] = "--";
	/* A word may be many options, and an option two words. */
	static char letters[WORDS_MOST][3], *words[2 * WORDS_MOST];
	size_t n = 0, used = 0;
	int letter;

	s->words = words;
	words[n++] = name;
	while (optarg = NULL, (letter = getopt(argc, argv,
				   "+acd:e:h:k:lm:n:oPr:sST:tu:vx"
				   "M:U:")) != -1) {
		if (letter == '?' || used == WORDS_MOST / 2)
			return false;
		take_option(s, letter);
		if (s->maildir_count == TARGETS || s->user_count == TARGETS)
			return false;
		/* What is tried is not to be seen in the system's log. */
		if (strchr("lMU", letter) != NULL)
			continue;
		letters[used][0] = '-';
		letters[used][1] = (char)letter;
		words[n++] = letters[used++];
		if (optarg != NULL)
			words[n++] = optarg;
	}
	words[n++] = end;
	if (argc - optind >= WORDS_MOST)
		return false;
	memcpy(
	    words + n, argv + optind, (size_t)(argc - optind) * sizeof(*argv));
	s->options.program = argc > optind ? argv + optind : none;
	s->is_session = strchr(s->options.flags, 't') != NULL;
	if (s->is_session && argc > optind)
		s->options.maildir = argv[optind];
	return true;
}

int
main(int argc, char **argv)
{
	static struct service s = {.uid = NO_ID, .gid = NO_ID};
	struct options *o = &s.options;

	errors = mmap(NULL, sizeof(*errors), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (errors == MAP_FAILED)
		return EXIT_SYSTEM;
	if (!parse_options(argc, argv, &s)) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	is_verbose = strchr(o->flags, 'v') != NULL;
	o->root = o->root != NULL ? o->root : EMPTYDIR;
	if (o->uid == 0)
		o->uid = o->gid = GREETER_ID;
	peer_find(&s.peer);
	/* What a program that is tried leaves unread is no reason to die. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		checked = checks[i].name;
		if (checks[i].with_session || !s.is_session)
			checks[i].run(&s);
	}
	return *errors > 0 ? 1 : 0;
}
