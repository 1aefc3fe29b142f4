/* SPDX-License-Identifier: ISC */
/*
 * What pop3d-doctor finds wrong with the service itself: its command line and
 * programs, the greeter's user and directory, the sandbox, the log, the clock,
 * and what is allowed without TLS.  Runs as whoever runs pop3d-doctor, root
 * mostly, since the service is taken to be started by the same user; reads
 * nothing of a user's.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"

enum { CLOSED_CODE = EXIT_SYSTEM }; /* of a pop3d without a client */

/* No clock that is right says less: 2026-01-01. */
static const time_t made = 1767225600;

static bool
has_flag(const struct service *s, char letter)
{
	return strchr(s->options.flags, letter) != NULL;
}

/* Cuts what a program said on standard error to its first line. */
static const char *
first_line(char *text)
{
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* Says so if others could change a program that root runs. */
static void
say_writable(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		say(LEVEL_ERROR,
		    "%s: others than its owner may change this program "
		    "(mode %04o). Mend it: chmod go-w %s",
		    path, (unsigned)st.st_mode & 07777U, path);
}

/* In a child, as the user that is to execute it: the first directory that
 * does not let him through, or the program. */
static void
walk(const void *argument)
{
	const char *path = argument;
	char part[PATH_MAX];

	for (size_t i = 1; i <= strlen(path); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		(void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
		if (access(part, X_OK) == 0)
			continue;
		say(LEVEL_ERROR,
		    "%s: user %lu cannot %s, and so not execute %s: %s. Mend "
		    "it: chmod a+x %s",
		    part, (unsigned long)getuid(),
		    path[i] == '\0' ? "execute it" : "pass this directory",
		    path, strerror(errno), part);
		return;
	}
	say(LEVEL_OK, "User %lu can execute %s", (unsigned long)getuid(), path);
}

void
say_executable(const char *path, const struct identity *who)
{
	(void)in_child(who, walk, path, 0);
}

/* Whether pop3d takes the command line, of which only it is the judge; it is
 * started without a client, and so goes no further. */
static void
try_options(const struct service *s)
{
	static struct run run;
	int code;

	run = (struct run){.arguments = s->words, .path = s->pop3d};
	code = run_program(&run);
	if (code == CLOSED_CODE)
		say(LEVEL_OK, "%s takes these options", s->pop3d);
	else
		say(LEVEL_ERROR,
		    "%s does not take this command line (exit %d): %s",
		    s->pop3d, code, first_line(run.error));
}

void
check_pop3d(struct service *s)
{
	const char *own = own_path(), *slash = strrchr(own, '/');
	struct identity who = {NULL, geteuid(), getegid()};
	struct stat st;

	(void)snprintf(s->pop3d, sizeof(s->pop3d), "%.*s/pop3d",
	    slash != NULL ? (int)(slash - own) : 0, own);
	if ((slash == NULL || stat(s->pop3d, &st) == -1) &&
	    !find_program("pop3d", false, s->pop3d)) {
		say(LEVEL_ERROR,
		    "pop3d is neither beside pop3d-doctor nor in PATH. "
		    "Install it: make install");
		s->pop3d[0] = '\0';
		return;
	}
	say_writable(s->pop3d);
	/* Any user's session is to execute it: one that owns nothing will
	 * tell, unless it is known who they all are. */
	if (geteuid() == 0 && !s->is_session) {
		who.uid = s->uid != NO_ID && s->uid != 0 ? s->uid : GREETER_ID;
		who.gid = s->gid != NO_ID && s->uid != 0 ? s->gid : GREETER_ID;
	}
	say_executable(s->pop3d, &who);
	try_options(s);
}

/* Options of pop3d-checkpassword's; each has an argument. */
static void
parse_bundled(struct service *s)
{
	char **words = s->options.program + 1;

	s->is_bundled = true;
	for (; *words != NULL && **words == '-'; words++) {
		char letter = (*words)[1];
		const char *value = *words + 2;

		if (strcmp(*words, "--") == 0) {
			words++;
			break;
		}
		if (letter == '\0' || strchr("fhup", letter) == NULL)
			continue;
		if (*value == '\0' && (value = *++words) == NULL)
			break;
		if (letter == 'f')
			s->file = value;
		else if (letter == 'h')
			s->home = value;
		else if (letter == 'p')
			s->pam = value;
		else
			(void)account_parse_ids(value, &s->uid, &s->gid);
	}
	s->rest = words;
}

void
check_options(struct service *s)
{
	static const char bundled[] = "pop3d-checkpassword";
	const char *name = s->options.program[0], *slash = strrchr(name, '/');

	name = slash != NULL ? slash + 1 : name;
	/* Or a build of it: -nss, -pam. */
	if (strncmp(name, bundled, sizeof(bundled) - 1) != 0)
		return;
	parse_bundled(s);
	if (strcmp(name + sizeof(bundled) - 1, "-pam") == 0 && s->pam == NULL)
		s->pam = "";
}

void
check_program(struct service *s)
{
	const char *name = s->options.program[0];
	char path[PATH_MAX];

	if (!find_program(name, true, s->program)) {
		say(LEVEL_ERROR,
		    "%s: there is no such program that user %lu may execute, "
		    "%s. Install it, or correct its name",
		    name, (unsigned long)geteuid(),
		    strchr(name, '/') != NULL
			? "at that place"
			: "neither in PATH nor in " LIBEXECDIR);
		s->program[0] = '\0';
		return;
	}
	say_writable(s->program);
	say(LEVEL_OK, "The checkpassword program is %s", s->program);
	if (!s->is_bundled) {
		say(LEVEL_NOTE,
		    "%s is not pop3d's own: what it does with users and "
		    "passwords is not looked at",
		    s->program);
		return;
	}
	if (s->rest != NULL && *s->rest != NULL &&
	    !find_program(*s->rest, false, path))
		say(LEVEL_ERROR,
		    "%s: %s is to execute this program and cannot find it in "
		    "PATH. Install it, or take it out",
		    *s->rest, name);
}

/* A real pop3d, to which a client says that it has no business. */
void
check_trial(struct service *s)
{
	static struct run run;
	int code;
	char *line, *rest = run.error;

	/* What is wrong already would only be found again. */
	if (s->pop3d[0] == '\0' || error_count() > 0)
		return;
	run = (struct run){.arguments = s->words,
	    .path = s->pop3d,
	    .input = has_flag(s, 'x') ? "PROXY UNKNOWN\r\nCAPA\r\nQUIT\r\n"
				      : "CAPA\r\nQUIT\r\n"};
	code = run_program(&run);
	while ((line = strsep(&rest, "\n")) != NULL)
		if (strstr(line, "event=error") != NULL)
			say(LEVEL_ERROR, "%s says: %s", s->pop3d, line);
	s->was_tried = strncmp(run.out, "+OK ", 4) == 0;
	s->has_stls = strstr(run.out, "\r\nSTLS\r\n") != NULL;
	if (s->was_tried && code == 0)
		say(LEVEL_OK, "%s greets its clients", s->pop3d);
	else
		say(LEVEL_ERROR,
		    "%s does not greet a client (exit %d). Its log says why",
		    s->pop3d, code);
}

/* Other processes of the greeter's user could reach it, or it them. */
static void
say_company(uid_t uid)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	size_t others = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		char path[64], text[1024], name[32] = "";
		const char *line;
		unsigned long owner = 0;
		ssize_t n;
		int fd;

		if (*e->d_name < '1' || *e->d_name > '9')
			continue;
		(void)snprintf(
		    path, sizeof(path), "/proc/%.20s/status", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd != -1 ? read(fd, text, sizeof(text) - 1) : -1;
		if (fd != -1)
			(void)close(fd);
		text[n > 0 ? n : 0] = '\0';
		line = strstr(text, "\nUid:");
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
		if (line == NULL || sscanf(line, "\nUid: %lu", &owner) != 1 ||
		    owner != uid || sscanf(text, "Name: %31s", name) != 1 ||
		    strcmp(name, "pop3d") == 0 || !say_again(&others))
			continue;
		say(LEVEL_WARNING,
		    "Process %.20s (%s) has the greeter's user, %lu, too. "
		    "Give the greeter a user of its own: -u uid:gid",
		    e->d_name, name, owner);
	}
	say_rest(others, "processes of that user");
	if (proc != NULL)
		(void)closedir(proc);
}

/* The greeter's root directory is as it must be. */
static bool
is_root_good(const char *root)
{
	const struct dirent *e;
	unsigned before = error_count();
	struct stat st;
	DIR *dir;

	if (stat(root, &st) == -1) {
		say(LEVEL_ERROR,
		    "%s: the greeter's root directory: %s. Make it: mkdir -m "
		    "555 %s",
		    root, strerror(errno), root);
		return false;
	}
	if (!S_ISDIR(st.st_mode)) {
		say(LEVEL_ERROR,
		    "%s is no directory, and cannot be the greeter's root. "
		    "Name another: -r dir",
		    root);
		return false;
	}
	if (st.st_uid != 0)
		say(LEVEL_ERROR,
		    "%s: the greeter's root directory belongs to user %lu. "
		    "Mend it: chown root %s",
		    root, (unsigned long)st.st_uid, root);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		say(LEVEL_ERROR,
		    "%s: others than root may write to the greeter's root "
		    "directory. Mend it: chmod go-w %s",
		    root, root);
	dir = opendir(root);
	while (dir != NULL && (e = readdir(dir)) != NULL)
		if (strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0) {
			say(LEVEL_WARNING,
			    "%s: the greeter's root directory is not empty: "
			    "there is %s. Remove it, or name another: -r dir",
			    root, e->d_name);
			break;
		}
	if (dir != NULL)
		(void)closedir(dir);
	return error_count() == before;
}

void
check_greeter(struct service *s)
{
	const struct options *o = &s->options;

	if (geteuid() != 0) {
		say(LEVEL_NOTE,
		    "Not run by root: so this is about a service that user %lu "
		    "starts, without an empty root for the greeter",
		    (unsigned long)geteuid());
		return;
	}
	s->has_root = is_root_good(o->root);
	if (s->has_root)
		say(LEVEL_OK, "%s is fit to be the greeter's root directory",
		    o->root);
	if (o->uid == s->uid)
		say(LEVEL_WARNING,
		    "The greeter's user, %u, is also the one whom all mail "
		    "belongs to. Give the greeter a user of its own: -u "
		    "uid:gid",
		    o->uid);
	/* Nobody's number is shared by custom. */
	if (o->uid != GREETER_ID)
		say_company(o->uid);
}

/* In a child: which role, and whether to mind what is missing. */
static enum level missing_level;
static const char *missing_role;
static bool has_filter = true;

static void
say_missing(const char *part, const char *why)
{
	static const struct {
		const char *part, *remedy;
	} remedies[] = {
	    {"landlock", "It needs Linux 5.19 with CONFIG_SECURITY_LANDLOCK, "
			 "and \"landlock\" among the kernel's lsm="},
	    {"seccomp", "It needs CONFIG_SECCOMP_FILTER, x86-64 or aarch64, "
			"and a container that allows it"},
	    {"no-new-privileges", "It needs Linux 3.5"},
	};
	const char *remedy = "Look for what forbids it";

	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (strcmp(part, remedies[i].part) == 0)
			remedy = remedies[i].remedy;
	has_filter &= strcmp(part, "seccomp") != 0;
	say(missing_level,
	    "A part of the sandbox is missing for the %s: %s (%s). %s",
	    missing_role, part, why, remedy);
}

/* A call that no filter of ours lets pass. */
static void
try_filter(void)
{
	if (!has_filter)
		return;
	(void)close(socket(AF_UNIX, SOCK_DGRAM, 0));
	say(LEVEL_ERROR,
	    "The kernel takes the %s's seccomp filter and does not obey it. "
	    "Look for what it runs under",
	    missing_role);
}

static void
try_greeter(const void *argument)
{
	const struct options *o = argument;

	missing_role = "greeter";
	if (sandbox_leave_root(o) == 0 &&
	    sandbox_enter(ROLE_GREETER, o, -1) == 0)
		try_filter();
}

static void
try_session(const void *argument)
{
	int dir = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	missing_role = "session";
	if (sandbox_enter(ROLE_SESSION, argument, dir) == 0)
		try_filter();
}

void
check_sandbox(struct service *s)
{
	const struct identity nobody = {NULL, GREETER_ID, GREETER_ID};
	const bool is_root = geteuid() == 0;
	struct options o = s->options;
	char *strict = strchr(o.flags, 'S');
	bool is_good = true;

	/* It is to go on and find what else is missing. */
	missing_level = strict != NULL ? LEVEL_ERROR : LEVEL_WARNING;
	if (strict != NULL)
		memmove(strict, strict + 1, strlen(strict));
	on_missing_part = say_missing;
	/* What is wrong with its directory has been said. */
	if (!s->is_session && (s->has_root || !is_root))
		is_good = in_child(NULL, try_greeter, &o, SIGSYS);
	is_good &= in_child(is_root ? &nobody : NULL, try_session, &o, SIGSYS);
	on_missing_part = NULL;
	if (is_good)
		say(LEVEL_OK, "The sandbox holds");
#ifdef SYS_close_range
	if (syscall(SYS_close_range, ~0U, ~0U, 0U) == -1)
		say(LEVEL_WARNING,
		    "The kernel lacks close_range (%s): pop3d closes up to "
		    "65536 descriptors one by one for each connection. It "
		    "needs Linux 5.9",
		    strerror(errno));
#endif
}

void
check_syslog(struct service *s)
{
	struct sockaddr_un address = {AF_UNIX, "/dev/log"};
	int fd;

	if (!has_flag(s, 'l'))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1)
		say(LEVEL_WARNING,
		    "/dev/log: no syslog can be reached (%s): every line of "
		    "the log is lost. Start one, or take -l out",
		    strerror(errno));
	else
		say(LEVEL_OK, "A syslog listens at /dev/log");
	if (fd != -1)
		(void)close(fd);
}

void
check_clock(struct service *s)
{
	const char *const files[] = {s->pop3d, s->program, s->file};
	time_t now = time(NULL);
	struct stat st;

	if (now < made) {
		say(LEVEL_ERROR,
		    "The clock is wrong: it says that 2026 is yet to come. Set "
		    "it");
		return;
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i] != NULL && stat(files[i], &st) == 0 &&
		    st.st_mtime > now + 1)
			say(LEVEL_WARNING,
			    "%s is from the future, by %lld seconds: the clock "
			    "goes wrong, or went wrong then. Set it",
			    files[i], (long long)(st.st_mtime - now));
	say(LEVEL_OK, "The clock does not contradict the files");
}

/* The descriptors of a UCSPI-TLS wrapper.  Returns whether it is there. */
static bool
find_wrapper(void)
{
	static const char *const names[] = {
	    "SSLCTLFD", "SSLREADFD", "SSLWRITEFD"};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		uint32_t fd = NO_ID;

		if (value == NULL)
			continue;
		count++;
		if (*value == '\0' || !account_parse_id(value, &fd) ||
		    fd > INT_MAX || fcntl((int)fd, F_GETFD) == -1)
			say(LEVEL_WARNING,
			    "%s is \"%s\", which is no open descriptor here: "
			    "STLS fails, unless the wrapper opens it",
			    names[i], value);
	}
	if (count == 1 || count == 2)
		say(LEVEL_ERROR,
		    "Of SSLCTLFD, SSLREADFD and SSLWRITEFD only %zu are set: "
		    "STLS needs all three. Look at the UCSPI-TLS wrapper",
		    count);
	return count == 3;
}

/* What -c and -s come to where a wrapper may be around, or not. */
static void
say_flags(const struct service *s, bool has_wrapper, bool is_must)
{
	const bool c = has_flag(s, 'c'), tls = has_flag(s, 's');

	if (tls && s->peer.has_tls)
		say(LEVEL_NOTE,
		    "-s is not needed: SSL_PROTOCOL says already that TLS is "
		    "on");
	if (tls && c)
		say(LEVEL_WARNING,
		    "-c is not needed with -s, and would let passwords pass in "
		    "clear text if TLS were not there one day. Take -c out");
	if (tls && has_wrapper)
		say(LEVEL_ERROR,
		    "-s says that TLS is on from the beginning, but a "
		    "UCSPI-TLS wrapper begins it at STLS: passwords in clear "
		    "text would pass for safe ones. Take -s out");
	if (c && !tls && !s->peer.has_tls && !is_must)
		say(LEVEL_WARNING,
		    "With -c passwords cross the network in clear text. Take "
		    "it out, and put TLS in front: stunnel with -s, or a "
		    "UCSPI-TLS wrapper");
	if (c && is_must)
		say(LEVEL_WARNING,
		    "-c comes to nothing: UCSPITLS is \"!\", and nobody logs "
		    "in before STLS. Take -c out");
}

/* Who may log in where neither flags nor TLS allow it to all. */
static void
say_clear(const struct service *s, bool has_wrapper)
{
	const char *stls = has_wrapper ? "after STLS they may"
				       : "STLS is not "
					 "offered";

	if (has_flag(s, 'x'))
		say(LEVEL_NOTE,
		    "Nobody may log in with a password in clear text but where "
		    "the proxy tells of TLS; %s",
		    stls);
	else if (s->peer.ip[0] != '\0' && !s->peer.is_loopback)
		say(has_wrapper ? LEVEL_NOTE : LEVEL_WARNING,
		    "The client of this environment, %s, may not log in with a "
		    "password in clear text, since it is not on this machine; "
		    "%s",
		    s->peer.ip, stls);
	else
		say(LEVEL_NOTE,
		    "Only clients on this machine, stunnel among them, may log "
		    "in with a password in clear text; %s",
		    stls);
}

void
check_tls(struct service *s)
{
	const char *policy = getenv("UCSPITLS");
	bool has_wrapper = find_wrapper(), is_must;
	const bool has_tls = has_flag(s, 's') || s->peer.has_tls;

	policy = policy != NULL ? policy : "";
	if (has_wrapper && strcmp(policy, "-") == 0) {
		say(LEVEL_NOTE, "UCSPITLS is \"-\", so STLS is not offered");
		has_wrapper = false;
	}
	is_must = strcmp(policy, "!") == 0 && !has_tls;
	if (is_must && !has_wrapper)
		say(LEVEL_ERROR,
		    "UCSPITLS is \"!\": nobody may log in before STLS, but "
		    "there is no UCSPI-TLS wrapper to begin it. Unset it, or "
		    "put the wrapper around");
	say_flags(s, has_wrapper, is_must);
	if (has_wrapper && !has_tls && s->was_tried && !s->has_stls)
		say(LEVEL_ERROR,
		    "There is a UCSPI-TLS wrapper, but %s does not offer STLS. "
		    "It may be of a version that cannot",
		    s->pop3d);
	if (!has_tls && !has_flag(s, 'c') && !is_must)
		say_clear(s, has_wrapper);
	if (has_flag(s, 'x'))
		say(LEVEL_WARNING,
		    "With -x whoever connects names the client's address. See "
		    "to it that the port can be reached by the proxy alone");
}
