/* SPDX-License-Identifier: ISC */
/*
 * pop3d-passwd: creates, changes or deletes a user in the passwd-file that
 * pop3d-checkpassword and Dovecot read. A command of its own, run by hand or
 * from a script as whoever may replace that file.
 */
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "account.h"

/*
 * libxcrypt's. Its header is not asked: to musl's compiler, <crypt.h> is that
 * of the libc, and elsewhere there may be none.
 */
char *crypt_gensalt(const char *, unsigned long, const char *, int);

#define PASSWORD_OCTETS 512 /* with its NUL: what libxcrypt takes */

static volatile sig_atomic_t caught;

/* What pop3d-checkpassword would look for; a line with `#` is a comment. */
static bool
is_good_name(const char *name)
{
	return name[0] != '#' && account_is_safe(name);
}

static void
on_signal(int sig)
{
	caught = sig;
}

/*
 * Reads a line, octet by octet so that the next one stays unread, into
 * PASSWORD_OCTETS at line. Signals in mask wait outside poll. Returns false
 * at a signal, an error, a NUL, or a line too long.
 */
static bool
read_line(int fd, char *line, const sigset_t *mask)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	for (size_t i = 0; i < PASSWORD_OCTETS; i++) {
		ssize_t n = ppoll(&ready, 1, NULL, mask);

		if (n == -1 || (n = read(fd, line + i, 1)) == -1)
			return false;
		if (n == 0 || line[i] == '\n') {
			line[i] = '\0';
			return true;
		}
		if (line[i] == '\0')
			return false;
	}
	return false;
}

static bool
prompt(int tty, const char *text, char *line, const sigset_t *mask)
{
	return write(tty, text, strlen(text)) != -1 &&
	       read_line(tty, line, mask);
}

/*
 * Asks twice on the terminal, without echo. However that ends, the terminal
 * is set right again. Returns false where nothing complete was typed.
 */
static bool
ask(char *password, const sigset_t *mask)
{
	char again[PASSWORD_OCTETS] = "";
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios saved, silent;
	bool complete;

	if (tty == -1 || tcgetattr(tty, &saved) == -1)
		err(EXIT_SYSTEM, "/dev/tty (-i reads standard input)");
	silent = saved;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	silent.c_lflag |= ECHONL;
	if (tcsetattr(tty, TCSAFLUSH, &silent) == -1)
		err(EXIT_SYSTEM, "/dev/tty");
	complete = prompt(tty, "New password: ", password, mask) &&
		   prompt(tty, "Once more: ", again, mask);
	(void)tcsetattr(tty, TCSAFLUSH, &saved); /* no way to do better */
	close(tty);
	if (complete && strcmp(password, again) != 0)
		errx(EXIT_REFUSED, "the two differ; nothing was changed");
	explicit_bzero(again, sizeof(again));
	return complete;
}

/*
 * Gets the new password. Signals wait outside ppoll, and have their usual
 * effect once the terminal is right; later ones only end a wait for the lock.
 */
static void
get_password(char *password, bool from_input)
{
	static const int signals[] = {
	    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t all, before;
	bool complete;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
	complete = from_input ? read_line(STDIN_FILENO, password, &before)
			      : ask(password, &before);
	if (caught != 0) {
		signal(caught, SIG_DFL);
		raise(caught);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!complete || password[0] == '\0')
		errx(EXIT_REFUSED,
		    "refused: a password has 1 to %d octets "
		    "and no NUL",
		    PASSWORD_OCTETS - 1);
}

/* Returns what is to stand in the file, in static memory. */
static char *
make_secret(const char *password, bool plain)
{
	static char clear[PASSWORD_OCTETS + sizeof("{PLAIN}")];
	const char *setting;
	char *hash;

	if (plain) {
		if (strchr(password, ':') != NULL)
			errx(EXIT_REFUSED, "refused: {PLAIN} cannot hold ':'");
		snprintf(clear, sizeof(clear), "{PLAIN}%s", password);
		return clear;
	}
	setting = crypt_gensalt(NULL, 0, NULL, 0);
	hash = setting == NULL ? NULL : crypt(password, setting);
	if (hash == NULL || hash[0] == '*')
		err(EXIT_SYSTEM, "crypt");
	return hash;
}

/*
 * Opens and locks the file that path leads to, whose own name goes to real
 * (PATH_MAX). Another pop3d-passwd may have replaced it in the meantime: then
 * once more.
 */
static int
open_locked(const char *path, int flags, char *real, struct stat *st)
{
	struct stat now;
	int fd;

	for (;;) {
		fd = open(path, O_RDONLY | O_CLOEXEC | flags, 0600);
		if (fd == -1 || flock(fd, LOCK_EX) == -1 ||
		    fstat(fd, st) == -1 || realpath(path, real) == NULL)
			err(EXIT_SYSTEM, "%s", path);
		if (!S_ISREG(st->st_mode))
			errx(EXIT_SYSTEM, "%s: not a regular file", path);
		if (lstat(real, &now) == -1) {
			if (errno != ENOENT)
				err(EXIT_SYSTEM, "%s", real);
		} else if (now.st_dev == st->st_dev &&
			   now.st_ino == st->st_ino) {
			return fd;
		}
		close(fd);
	}
}

static bool
put(int fd, const char *from, const char *end)
{
	while (from < end) {
		ssize_t n = write(fd, from, (size_t)(end - from));

		if (n == -1)
			return false;
		from += n;
	}
	return true;
}

/*
 * Copies text with every line of the user's given the secret, or left out if
 * that is NULL: were a second line to stay, it would come to count. Returns
 * how many there were, or -1 with errno.
 */
static int
edit(int fd, const char *text, size_t octets, const char *user,
    const char *secret)
{
	const char *kept = text, *end = text + octets, *next;
	size_t name = strlen(user);
	int found = 0;

	for (const char *line = text; line < end; line = next) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));
		const char *old = line + name + 1;

		eol = eol == NULL ? end : eol;
		next = eol == end ? end : eol + 1;
		if (old > eol || memcmp(line, user, name) != 0 ||
		    line[name] != ':')
			continue;
		found++;
		if (!put(fd, kept, secret == NULL ? line : old))
			return -1;
		kept = next;
		if (secret == NULL)
			continue;
		if (!put(fd, secret, secret + strlen(secret)))
			return -1;
		kept = memchr(old, ':', (size_t)(eol - old));
		kept = kept == NULL ? eol : kept;
	}
	if (!put(fd, kept, end))
		return -1;
	if (found == 0 && secret != NULL)
		if (dprintf(fd, "%s%s:%s::::::\n",
			octets > 0 && end[-1] != '\n' ? "\n" : "", user,
			secret) < 0)
			return -1;
	return found;
}

/*
 * Replaces the locked file. The name of the new one is fixed: what a killed
 * run left there nobody else can be using now.
 */
static void
replace(char *real, int fd, const struct stat *st, const char *user,
    const char *secret)
{
	char temp[PATH_MAX], *base = strrchr(real, '/');
	size_t octets = (size_t)st->st_size;
	char *text = malloc(octets + 1);
	int dir, out, found;

	*base++ = '\0';
	snprintf(temp, sizeof(temp), ".%s.pop3d-passwd", base);
	dir = open(*real ? real : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (text == NULL || dir == -1 || read(fd, text, octets) != st->st_size)
		err(EXIT_SYSTEM, "%s/%s", real, base);
	(void)unlinkat(dir, temp, 0); /* mostly there is none */
	out = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out == -1)
		err(EXIT_SYSTEM, "%s/%s", real, temp);
	found = edit(out, text, octets, user, secret);
	explicit_bzero(text, octets);
	if (found == 0 && secret == NULL) {
		(void)unlinkat(dir, temp, 0);
		errx(EXIT_REFUSED, "%s: no such user", user);
	}
	if (found == -1 || fchown(out, st->st_uid, st->st_gid) == -1 ||
	    fchmod(out, st->st_mode & 07777) == -1 || fsync(out) == -1 ||
	    close(out) == -1 || renameat(dir, temp, dir, base) == -1) {
		warn("%s/%s", real, temp);
		(void)unlinkat(dir, temp, 0);
		exit(EXIT_SYSTEM);
	}
	if (fsync(dir) == -1)
		err(EXIT_SYSTEM, "%s", real);
	free(text);
}

int
main(int argc, char *argv[])
{
	char password[PASSWORD_OCTETS] = "", real[PATH_MAX], *secret = NULL;
	bool delete = false, input = false, plain = false, good = true;
	struct stat st;
	const char *user;
	int opt, fd;

	while ((opt = getopt(argc, argv, "dip")) != -1) {
		delete |= opt == 'd';
		input |= opt == 'i';
		plain |= opt == 'p';
		good &= opt != '?';
	}
	if (!good || argc - optind != 2 || (delete &&(input || plain))) {
		fprintf(stderr, "usage: pop3d-passwd [-ip] file user\n"
				"       pop3d-passwd -d file user\n");
		return EXIT_USAGE;
	}
	user = argv[optind + 1];
	if (!is_good_name(user))
		errx(EXIT_USAGE, "%s: no name for a user", user);
	if (!delete) {
		get_password(password, input);
		secret = make_secret(password, plain);
		explicit_bzero(password, sizeof(password));
	}
	fd = open_locked(argv[optind], delete ? 0 : O_CREAT, real, &st);
	replace(real, fd, &st, user, secret);
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	return 0;
}
