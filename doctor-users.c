/* SPDX-License-Identifier: ISC */
/*
 * What pop3d-doctor finds wrong with the users of the bundled checkpassword
 * program: the passwd-file, or the accounts of the system.  Runs as whoever
 * runs pop3d-doctor; the file is the administrator's.  That program itself is
 * asked whether it can read what it needs, and which lines are malformed; what
 * else is said of a line stands here.  No secret is ever printed.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* libxcrypt's, elsewhere NULL: what it thinks of a setting. */
int crypt_checksalt(const char *) __attribute__((weak));

enum {
	FILE_OCTETS_MOST = 256 * 1024 * 1024,
	SALT_INVALID = 1,
	SALT_DISABLED = 2,
	SALT_LEGACY = 3
};

/* A line of the file. */
struct entry {
	const char *name, *home;
	char *secret, *extra; /* the latter may be NULL */
	uint32_t uid, gid;
	size_t number;
};

/* What was found so often, and what is to be counted. */
static struct {
	size_t malformed, returns, names, twins, roots, ids, homes, absent,
	    secrets, hashes, greeters, old, plain, locked, users;
} found;

/* The whole file, NUL-ended; NULL if it cannot be read, which the program says
 * itself. */
static char *
load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size < FILE_OCTETS_MOST)
		text = calloc(1, (size_t)st.st_size + 1);
	if (text != NULL)
		n = read(fd, text, (size_t)st.st_size);
	if (fd != -1)
		(void)close(fd);
	if (n != -1)
		return text;
	free(text);
	return NULL;
}

/* Takes a line apart; false if it is none of a user, or malformed. */
static bool
parse(const struct service *s, char *line, struct entry *e)
{
	static char none[] = "";
	char *field[7] = {NULL};

	if (*line == '#' || line[strspn(line, " \t")] == '\0')
		return false;
	for (size_t i = 0; i < 7; i++) {
		if (line == NULL && i < 2)
			return false;
		field[i] = line == NULL ? none : strsep(&line, ":");
	}
	e->name = field[0];
	e->secret = field[1];
	e->home = field[5];
	e->extra = line;
	e->uid = geteuid() == 0 || s->uid != NO_ID ? s->uid : geteuid();
	e->gid = geteuid() == 0 || s->gid != NO_ID ? s->gid : getegid();
	return *field[0] != '\0' && account_parse_id(field[2], &e->uid) &&
	       account_parse_id(field[3], &e->gid);
}

/* The home directory of a user into `out`, by the pattern of -h where the file
 * has none; false if there is none, or no absolute one. */
static bool
expand(const struct service *s, const struct entry *e, char out[PATH_MAX])
{
	if (*e->home != '\0')
		(void)snprintf(out, PATH_MAX, "%s", e->home);
	else if (!account_expand(
		     s->home != NULL ? s->home : "", e->name, out, PATH_MAX))
		return false;
	return *out == '/';
}

/* Whether libcrypt can make such a hash, and so check it. */
static void
check_hash(const char *path, const struct entry *e, const char *hash)
{
	int result = 0;

	if (crypt_checksalt != NULL) {
		result = crypt_checksalt(hash);
	} else {
		const char *made = crypt("x", hash);

		result = made == NULL || *made == '*' ? SALT_INVALID : 0;
	}
	found.old += result == SALT_LEGACY;
	if ((result == SALT_INVALID || result == SALT_DISABLED) &&
	    say_again(&found.hashes))
		say(LEVEL_ERROR,
		    "%s, line %zu: libcrypt does not know the method of %s's "
		    "hash, so that no password fits. Set it anew: pop3d-passwd "
		    "%s %s",
		    path, e->number, e->name, path, e->name);
}

static void
check_secret(const char *path, const struct entry *e)
{
	bool is_plain;
	const char *secret = account_secret(e->secret, &is_plain);

	if (*secret == '\0' || (!is_plain && strchr("!*", *secret) != NULL)) {
		found.locked++;
	} else if (is_plain) {
		found.plain++;
	} else if (!account_is_hash(secret)) {
		if (say_again(&found.secrets))
			say(LEVEL_ERROR,
			    "%s, line %zu: %s's secret is neither a hash nor "
			    "of a scheme that is known, so that no password "
			    "fits. Set it anew: pop3d-passwd %s %s",
			    path, e->number, e->name, path, e->name);
	} else {
		check_hash(path, e, secret);
	}
}

/* The numbers that a session of this user would have. */
static void
check_ids(const struct service *s, const struct entry *e)
{
	if (e->uid == 0) {
		if (say_again(&found.roots))
			say(LEVEL_ERROR,
			    "%s, line %zu: %s has user 0, and is never served. "
			    "Give the user a number of its own",
			    s->file, e->number, e->name);
	} else if (e->uid == NO_ID || e->gid == NO_ID) {
		if (say_again(&found.ids))
			say(LEVEL_ERROR,
			    "%s, line %zu: %s has no user and group numbers. "
			    "Add them, or say -u uid:gid after "
			    "pop3d-checkpassword",
			    s->file, e->number, e->name);
	} else if (geteuid() != 0 && e->uid != geteuid()) {
		if (say_again(&found.ids))
			say(LEVEL_ERROR,
			    "%s, line %zu: only root can become user %u for "
			    "%s. Start the service as root, or as that user",
			    s->file, e->number, e->uid, e->name);
	} else if (geteuid() == 0 && e->uid == s->options.uid &&
		   say_again(&found.greeters)) {
		say(LEVEL_WARNING,
		    "%s, line %zu: %s has the greeter's number, %u. Give the "
		    "greeter a user of its own: -u uid:gid before "
		    "pop3d-checkpassword",
		    s->file, e->number, e->name, e->uid);
	}
}

static void
check_home(const struct service *s, const struct entry *e)
{
	char home[PATH_MAX];
	struct stat st;

	if (!expand(s, e, home)) {
		if (say_again(&found.homes))
			say(LEVEL_ERROR,
			    "%s, line %zu: %s has no absolute home directory. "
			    "Add it, or say -h /directory/%%u after "
			    "pop3d-checkpassword; %%d fits only a name with @",
			    s->file, e->number, e->name);
	} else if (stat(home, &st) == -1 ? errno == ENOENT || errno == ENOTDIR
					 : !S_ISDIR(st.st_mode)) {
		if (say_again(&found.absent))
			say(LEVEL_ERROR,
			    "%s, line %zu: %s's home directory, %s, does not "
			    "exist. Make it: install -d -o %u -g %u -m 700 %s",
			    s->file, e->number, e->name, home, e->uid, e->gid,
			    home);
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order
			  : (x->number > y->number) - (x->number < y->number);
}

static void
check_twins(const struct service *s, struct entry *entries, size_t count)
{
	if (count > 0)
		qsort(entries, count, sizeof(*entries), by_name);
	for (size_t i = 1, first = 0; i < count; i++)
		if (strcmp(entries[i].name, entries[first].name) != 0)
			first = i;
		else if (say_again(&found.twins))
			say(LEVEL_WARNING,
			    "%s, line %zu: %s stands in line %zu already, "
			    "which alone counts. Remove one of them",
			    s->file, entries[i].number, entries[i].name,
			    entries[first].number);
}

static void
say_rests(void)
{
	say_rest(found.returns, "lines that end in a carriage return");
	say_rest(found.names, "such names");
	say_rest(found.twins, "lines of users that stand there already");
	say_rest(found.roots, "users of number 0");
	say_rest(found.ids, "users without fitting numbers");
	say_rest(found.homes, "users without a home directory");
	say_rest(found.absent, "home directories that do not exist");
	say_rest(found.secrets, "such secrets");
	say_rest(found.hashes, "such hashes");
	say_rest(found.greeters, "users of the greeter's number");
}

/* What concerns all of the file's users. */
static void
check_counts(const struct service *s)
{
	const size_t hashed = found.users - found.plain - found.locked;

	if (found.users == 0)
		say(LEVEL_ERROR,
		    "%s: there is no user in this passwd-file. Add one: "
		    "pop3d-passwd %s user",
		    s->file, s->file);
	if (found.old > 0)
		say(LEVEL_WARNING,
		    "%s: %zu hashes are of methods that are easily guessed at "
		    "(MD5, DES). Have these passwords changed: pop3d-passwd",
		    s->file, found.old);
	if (strchr(s->options.flags, 'a') == NULL || found.users == 0)
		return;
	if (found.plain == 0)
		say(LEVEL_ERROR,
		    "%s: -a offers APOP, but no user has a {PLAIN} secret, and "
		    "so nobody can use it. Take -a out, or set secrets: "
		    "pop3d-passwd -p",
		    s->file);
	else if (hashed > 0)
		say(LEVEL_WARNING,
		    "%s: -a offers APOP to all, but %zu users have no {PLAIN} "
		    "secret, and cannot use it. Set theirs: pop3d-passwd -p",
		    s->file, hashed);
}

static void
check_lines(struct service *s)
{
	char *text = load(s->file), *next = text, *line;
	struct entry *entries, e;
	size_t lines = 1, number = 0;

	for (const char *p = text; p != NULL && *p != '\0'; p++)
		lines += *p == '\n';
	entries = calloc(lines, sizeof(*entries));
	while (entries != NULL && (line = strsep(&next, "\n")) != NULL) {
		size_t octets = strlen(line);
		bool has_return = octets > 0 && line[octets - 1] == '\r';

		number++;
		if (!parse(s, line, &e)) /* it has been said by the program */
			continue;
		e.number = number;
		if (has_return && say_again(&found.returns))
			say(LEVEL_ERROR,
			    "%s, line %zu: it ends in a carriage return, which "
			    "is taken for a part of its last field. Remove it: "
			    "sed -i 's/\\r$//' %s",
			    s->file, number, s->file);
		if (!account_is_safe(e.name) && say_again(&found.names))
			say(LEVEL_WARNING,
			    "%s, line %zu: \"%s\" is no name that anybody can "
			    "log in by. Change it",
			    s->file, number, e.name);
		check_secret(s->file, &e);
		check_ids(s, &e);
		check_home(s, &e);
		entries[found.users++] = e;
	}
	if (entries != NULL && text != NULL) {
		check_twins(s, entries, found.users);
		say_rests();
		check_counts(s);
		say(LEVEL_OK, "%s: %zu users, %zu of them locked", s->file,
		    found.users, found.locked);
	}
	free(entries);
	free(text);
}

/* The program itself, with a name that nobody can have. */
static void
try_program(struct service *s)
{
	static struct run run;
	static const char credentials[] = ".\0x\0";
	static char yes[] = "true";
	char **words = s->options.program, **arguments, *rest = run.error,
	     *line;
	size_t n = 0;
	bool is_right;

	while (words[n] != NULL)
		n++;
	arguments = calloc(n + 2, sizeof(*arguments));
	if (arguments == NULL || s->program[0] == '\0') {
		free(arguments);
		return;
	}
	memcpy(arguments, words, n * sizeof(*words));
	arguments[n] = yes;
	/* PAM would take it for an attack, and wait. */
	run = (struct run){.arguments = arguments,
	    .path = s->program,
	    .credentials = s->pam == NULL ? credentials : NULL,
	    .credentials_octets = sizeof(credentials)};
	is_right =
	    run_program(&run) == (s->pam != NULL ? EXIT_MISUSE : EXIT_REFUSED);
	free(arguments);
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, " is malformed") != NULL) {
			if (say_again(&found.malformed))
				say(LEVEL_WARNING,
				    "%s. It is skipped; mend or remove it",
				    line);
		} else if (*line != '\0' && !is_right) {
			say(LEVEL_ERROR, "It says: %s", line);
		}
	}
	say_rest(found.malformed, "malformed lines");
	if (is_right)
		say(LEVEL_OK, "%s refuses strangers", s->program);
	else
		say(LEVEL_ERROR,
		    "%s cannot check passwords; see pop3d-checkpassword(8)",
		    s->program);
}

/* Who may write to the passwd-file, and read it.  Returns false if the program
 * will not take it. */
static bool
check_rights(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1) {
		say(LEVEL_ERROR,
		    "%s: this passwd-file: %s. Correct its name, or make it: "
		    "pop3d-passwd %s user",
		    path, strerror(errno), path);
		return false;
	}
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		say(LEVEL_ERROR,
		    "%s: others than its owner may write to this passwd-file, "
		    "and so it is not used. Mend it: chmod 600 %s",
		    path, path);
		return false;
	}
	if ((st.st_mode & (S_IRGRP | S_IROTH)) != 0)
		say(LEVEL_WARNING,
		    "%s: others than its owner may read the hashes in this "
		    "passwd-file, and guess at them. Mend it: chmod 600 %s",
		    path, path);
	if (geteuid() == 0 && st.st_uid != 0)
		say(LEVEL_WARNING,
		    "%s: this passwd-file belongs to user %lu, who can make "
		    "users of any number but 0. Mend it: chown root %s",
		    path, (unsigned long)st.st_uid, path);
	return true;
}

void
check_users(struct service *s)
{
	if (!s->is_bundled)
		return;
	if (s->file == NULL) {
		if (strchr(s->options.flags, 'a') != NULL && s->pam == NULL)
			say(LEVEL_ERROR,
			    "-a offers APOP, but the system has only hashes, "
			    "and so nobody can use it. Take -a out");
		try_program(s);
	} else if (check_rights(s->file)) {
		try_program(s);
		check_lines(s);
	}
}

#if __has_include(<shadow.h>)
#include <shadow.h>

/* Says whether a password of the system's could let that user in. */
static void
check_account(const char *user)
{
	const struct spwd *sp = getspnam(user);
	long today = (long)(time(NULL) / 86400);

	if (sp == NULL)
		say(LEVEL_ERROR,
		    "User %s is not in /etc/shadow, or it cannot be read: "
		    "there is no password to log in with",
		    user);
	else if (!account_is_hash(sp->sp_pwdp))
		say(LEVEL_ERROR,
		    "User %s has no password in /etc/shadow, or a locked one. "
		    "Set it: passwd %s",
		    user, user);
	else if (sp->sp_expire >= 0 && today >= sp->sp_expire)
		say(LEVEL_ERROR,
		    "User %s's account has expired. Renew it: chage -E -1 %s",
		    user, user);
	else if (sp->sp_max >= 0 && sp->sp_inact >= 0 && sp->sp_lstchg > 0 &&
		 today - sp->sp_lstchg > sp->sp_max + sp->sp_inact)
		say(LEVEL_ERROR,
		    "User %s's password has expired. Set it anew: passwd %s",
		    user, user);
}
#else
static void
check_account(const char *user)
{
	(void)user;
}
#endif

/* An account of the system. */
static bool
find_account(const struct service *s, const char *user, struct identity *who,
    char home[PATH_MAX])
{
	const struct passwd *pw = getpwnam(user);

	if (pw == NULL) {
		say(LEVEL_ERROR,
		    "The system has no user %s. An account that comes from NSS "
		    "needs pop3d-checkpassword-nss; look at its Maildir by -M",
		    user);
		return false;
	}
	*who = (struct identity){user, pw->pw_uid, pw->pw_gid};
	(void)snprintf(home, PATH_MAX, "%s", pw->pw_dir);
	if (s->is_bundled && s->pam == NULL && !s->is_session)
		check_account(user);
	return true;
}

/* The Maildir that a user's last field names, if it does. */
static void
find_maildir(char *extra, char maildir[PATH_MAX])
{
	static const char name[] = "pop3d_maildir=";
	const char *word;

	while ((word = strsep(&extra, " \t")) != NULL)
		if (strncmp(word, name, sizeof(name) - 1) == 0)
			(void)snprintf(
			    maildir, PATH_MAX, "%s", word + sizeof(name) - 1);
}

bool
user_find(const struct service *s, const char *user, struct identity *who,
    char home[PATH_MAX], char maildir[PATH_MAX])
{
	char *text, *next, *line;
	bool is_found = false;

	maildir[0] = '\0';
	if (s->file == NULL)
		return find_account(s, user, who, home);
	text = next = load(s->file);
	while (
	    !is_found && text != NULL && (line = strsep(&next, "\n")) != NULL) {
		struct entry e;

		if (!parse(s, line, &e) || strcmp(e.name, user) != 0)
			continue;
		is_found = true;
		*who = (struct identity){NULL, e.uid, e.gid};
		find_maildir(e.extra, maildir);
		/* What is missing has been said of its line. */
		if (!expand(s, &e, home) || e.uid == NO_ID || e.gid == NO_ID) {
			free(text);
			return false;
		}
	}
	if (!is_found)
		say(LEVEL_ERROR,
		    "%s: there is no user %s in this passwd-file. Add him: "
		    "pop3d-passwd %s %s",
		    s->file, user, s->file, user);
	free(text);
	return is_found;
}
