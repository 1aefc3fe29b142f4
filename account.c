/* SPDX-License-Identifier: ISC */
/*
 * What surrounds the judgement in pop3d's checkpassword programs: reading the
 * credentials, becoming the user.  In their process, as whoever the monitor
 * is (mostly root) until become().
 */
#include "account.h"

#include <err.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

void
account_read(char *input, size_t size, struct credentials *cred)
{
	char *end = input, *limit = input + size - 1;
	ssize_t n = 1;

	/* A warning that nobody can take, or no file, must not be the end. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	while (end < limit && (n = read(3, end, (size_t)(limit - end))) > 0)
		end += n;
	if (n == -1 && errno != EBADF)
		err(EXIT_SYSTEM, "descriptor 3");
	if (n == -1 || end == limit)
		errx(EXIT_MISUSE, "descriptor 3: not open, or too long");
	close(3);
	cred->user = input;
	cred->secret = input + strlen(input) + 1;
	if (cred->secret >= end || cred->secret + strlen(cred->secret) >= end)
		errx(EXIT_MISUSE, "descriptor 3: not two strings and NULs");
	cred->challenge = cred->secret + strlen(cred->secret) + 1;
}

bool
account_is_safe(const char *name)
{
	const char *at = strchr(name, '@');

	return strchr("@.", name[0]) == NULL && strpbrk(name, "/:\n") == NULL &&
	       (at == NULL || strchr(".", at[1]) == NULL);
}

/* Reads an id, and moves *text behind it. */
static bool
take_id(const char **text, uint32_t *id)
{
	size_t digits = strspn(*text, "0123456789");
	unsigned long long value = digits > 0 ? strtoull(*text, NULL, 10) : 0;

	if (digits > 0)
		*id = (uint32_t)value;
	*text += digits;
	return value < NO_ID;
}

bool
account_parse_id(const char *text, uint32_t *id)
{
	return take_id(&text, id) && *text == '\0';
}

bool
account_parse_ids(const char *text, uint32_t *uid, uint32_t *gid)
{
	return take_id(&text, uid) && *text == ':' &&
	       account_parse_id(text + 1, gid);
}

char *
account_secret(char *secret, bool *is_plain)
{
	static const char *const schemes[] = {"{PLAIN}", "{CLEARTEXT}",
	    "{CRYPT}", "{BLF-CRYPT}", "{SHA512-CRYPT}", "{SHA256-CRYPT}",
	    "{MD5-CRYPT}"};
	size_t i = 0, count = sizeof(schemes) / sizeof(*schemes);

	while (i < count &&
	       strncasecmp(secret, schemes[i], strlen(schemes[i])) != 0)
		i++;
	*is_plain = i < 2;
	return secret + (i < count ? strlen(schemes[i]) : 0);
}

/* Shorter than DES's 13 characters is none; `!` and `*` lock. */
bool
account_is_hash(const char *secret)
{
	return strlen(secret) >= 13 && strchr("!*{", secret[0]) == NULL;
}

bool
account_expand(const char *pattern, const char *user, char *out, size_t size)
{
	const char *at = strchr(user, '@');

	*out = '\0';
	for (; *pattern != '\0'; pattern++) {
		bool is_key = *pattern == '%' && *++pattern != '%';
		const char *part = is_key ? user : pattern;
		int max = is_key ? INT_MAX : 1, octets;

		if (is_key && *pattern == 'n')
			max = (int)strcspn(user, "@");
		else if (is_key && *pattern == 'd' && at != NULL)
			part = at + 1;
		else if (is_key && *pattern != 'u')
			return false;
		octets = snprintf(out, size, "%.*s", max, part);
		if (octets < 0 || (size_t)octets >= size)
			return false;
		out += octets;
		size -= (size_t)octets;
	}
	return true;
}

const struct passwd *
account_find(const char *user, struct account *acct)
{
	const struct passwd *pw;

	errno = 0;
	pw = account_is_safe(user) ? getpwnam(user) : NULL;
	if (pw == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		err(EXIT_SYSTEM, "getpwnam");
	if (pw != NULL) {
		acct->home = pw->pw_dir;
		acct->shell = pw->pw_shell;
		acct->uid = pw->pw_uid;
		acct->gid = pw->pw_gid;
	}
	return pw;
}

/* Takes on the account's identity for good; groups: with all its groups. */
static void
become(const struct account *acct, const char *user, bool groups)
{
	uid_t uid = acct->uid;
	gid_t gid = acct->gid;

	if (geteuid() == 0 &&
	    ((groups ? initgroups(user, gid) : setgroups(1, &gid)) == -1 ||
		setgid(gid) == -1 || setuid(uid) == -1))
		err(EXIT_SYSTEM, "%s: cannot drop privileges", user);
	if (getuid() != uid || geteuid() != uid || getgid() != gid ||
	    getegid() != gid)
		errx(EXIT_SYSTEM, "%s: only root can become others", user);
	if (setuid(0) != -1 || seteuid(0) != -1 || (gid && setgid(0) != -1))
		errx(EXIT_SYSTEM, "%s: privileges came back", user);
}

void
account_check(const struct account *acct, const char *user)
{
	if (acct->uid == 0)
		errx(EXIT_REFUSED, "%s: uid 0 is never served", user);
	if (acct->uid == NO_ID || acct->gid == NO_ID || acct->home[0] != '/')
		errx(EXIT_SYSTEM, "%s: no uid, gid or absolute home", user);
}

void
account_run(struct account *acct, const char *user, bool groups, char *argv[])
{
	if (setenv("USER", user, 1) == -1 ||
	    setenv("HOME", acct->home, 1) == -1 ||
	    setenv("SHELL", *acct->shell ? acct->shell : "/bin/sh", 1) == -1 ||
	    (acct->home = getenv("HOME")) == NULL)
		err(EXIT_SYSTEM, "environment");
	if (acct->text != NULL)
		explicit_bzero(acct->text, acct->text_octets);
	become(acct, user, groups);
	if (chdir(acct->home) == -1)
		err(EXIT_SYSTEM, "%s: %s", user, acct->home);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	execvp(argv[0], argv);
	err(EXIT_SYSTEM, "%s", argv[0]);
}
