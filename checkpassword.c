/* SPDX-License-Identifier: ISC */
/*
 * pop3d-checkpassword: judges the name and the secret that pop3d's monitor
 * (or qmail-popup) hands over on descriptor 3. Where they are right it
 * becomes that user and executes its arguments.
 *
 * A process of its own, as whoever the monitor is (mostly root) until
 * account_run(). Standard input and output are the client's and are not
 * touched.
 */
#include <sys/stat.h>
#include <sys/types.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <md5.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "account.h"

/* libxcrypt's, elsewhere NULL: 0 if a setting is one to make a hash with. */
int crypt_checksalt(const char *) __attribute__((weak));

/* What -p is: a program of its own, where it is installed. */
#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/local/libexec"
#endif
#define PAM_PROGRAM LIBEXECDIR "/pop3d-checkpassword-pam"

/*
 * The time depends on the length of what is given, which the client knows,
 * and within nanoseconds on the length of what is known.
 */
static bool
equal(const char *given, const char *known)
{
	size_t given_octets = strlen(given), known_octets = strlen(known);
	volatile int differ = given_octets != known_octets;

	for (size_t i = 0; i < given_octets; i++)
		differ |= given[i] ^ known[i % (known_octets + 1)];
	return differ == 0;
}

/* RFC 1939 section 7: the digest of the stamp followed by the password. */
static bool
apop_fits(const char *plain, const struct credentials *cred)
{
	MD5_CTX ctx;
	unsigned char digest[MD5_DIGEST_LENGTH];
	char hex[2 * MD5_DIGEST_LENGTH + 1];
	const char *stamp = cred->challenge;

	MD5Init(&ctx);
	MD5Update(&ctx, (const unsigned char *)stamp, strlen(stamp));
	MD5Update(&ctx, (const unsigned char *)plain, strlen(plain));
	MD5Final(digest, &ctx);
	explicit_bzero(&ctx, sizeof(ctx));
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	/* without a stamp, whoever saw one digest could use it for ever */
	return equal(cred->secret, hex) && stamp[0] != '\0';
}

/* A new mechanism is a row here: what its secret is compared with. */
static const struct mechanism {
	const char *name; /* as in AUTH_MECH; "" where that is not set */
	bool password;	  /* the secret may be the password itself */
	bool (*digest_fits)(const char *, const struct credentials *);
} mechanisms[] = {
    {"", true, apop_fits}, /* qmail-popup does not tell PASS from APOP */
    {"USER", true, NULL},
    {"PLAIN", true, NULL},
    {"LOGIN", true, NULL},
    {"APOP", false, apop_fits},
};

static const struct mechanism *
find_mechanism(const char *name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(*mechanisms); i++)
		if (strcmp(mechanisms[i].name, name == NULL ? "" : name) == 0)
			return &mechanisms[i];
	/* not "refused": no other secret would help the client either */
	errx(EXIT_MISUSE, "AUTH_MECH: not a mechanism served here");
}

/* Shorter than DES's 13 characters is no hash; `!` and `*` lock. */
static bool
is_hash(const char *secret)
{
	return strlen(secret) >= 13 && strchr("!*{", secret[0]) == NULL;
}

/* Sets acct->hash or acct->plain from a passwd-file's secret, or neither. */
static void
classify(char *secret, struct account *acct)
{
	static const char *const schemes[] = {"{PLAIN}", "{CLEARTEXT}",
	    "{CRYPT}", "{BLF-CRYPT}", "{SHA512-CRYPT}", "{SHA256-CRYPT}",
	    "{MD5-CRYPT}"};
	size_t i = 0, count = sizeof(schemes) / sizeof(*schemes);

	while (i < count &&
	       strncasecmp(secret, schemes[i], strlen(schemes[i])) != 0)
		i++;
	secret += i < count ? strlen(schemes[i]) : 0;
	acct->plain = i < 2 && *secret != '\0' ? secret : NULL;
	acct->hash = i >= 2 && is_hash(secret) ? secret : NULL;
}

/*
 * Computes one hash for whoever asks and whatever else is wrong, so that
 * time tells nobody which users there are; none where decoy is NULL, in a
 * file without hashes. crypt and not crypt_r: the latter's struct is smaller
 * in musl's header than libxcrypt takes it to be, and libxcrypt clears its
 * own memory but for the result.
 */
static bool
secret_fits(const struct account *acct, const struct credentials *cred,
    const struct mechanism *mech, const char *decoy)
{
	const char *setting = acct->hash != NULL ? acct->hash : decoy;
	char *hash = setting == NULL ? NULL : crypt(cred->secret, setting);
	bool fits = false;

	if (hash != NULL && hash[0] != '*') {
		fits = acct->hash && mech->password && equal(hash, setting);
		explicit_bzero(hash, strlen(hash));
	} else if (setting != NULL && crypt_checksalt != NULL &&
		   crypt_checksalt(setting) == 0) {
		err(EXIT_TEMP, "crypt"); /* mostly for want of memory */
	}
	if (acct->plain != NULL && mech->password)
		fits = equal(cred->secret, acct->plain);
	if (acct->plain != NULL && mech->digest_fits != NULL)
		fits |= mech->digest_fits(acct->plain, cred);
	return fits && cred->secret[0] != '\0';
}

/* Takes from a passwd-file's line what stands there; false if malformed. */
static bool
parse_line(char *line, struct account *acct)
{
	static char none[] = "";
	char *field[7];

	for (size_t i = 0; i < 7; i++) {
		if (line == NULL && i < 2)
			return false;
		field[i] = line == NULL ? none : strsep(&line, ":");
	}
	classify(field[1], acct);
	if (field[5][0] != '\0')
		acct->home = field[5];
	acct->shell = field[6];
	return field[0][0] != '\0' && account_parse_id(field[2], &acct->uid) &&
	       account_parse_id(field[3], &acct->gid);
}

/* Reads a whole passwd-file into acct->text. */
static void
load(const char *path, struct account *acct)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd == -1 || fstat(fd, &st) == -1)
		err(EXIT_TEMP, "%s", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		errx(EXIT_TEMP, "%s: not a file that its owner alone writes",
		    path);
	acct->text_octets = (size_t)st.st_size;
	acct->text = calloc(1, acct->text_octets + 1);
	if (acct->text == NULL ||
	    read(fd, acct->text, acct->text_octets) != st.st_size ||
	    strlen(acct->text) != acct->text_octets)
		errx(EXIT_TEMP, "%s: cut short, or holds a NUL", path);
	close(fd);
}

/*
 * Takes into acct, which holds the defaults, the user's first line if there
 * is one. Reads all lines in any case; returns the first hash, or NULL.
 */
static const char *
lookup_file(const char *path, const char *user, struct account *acct)
{
	bool found = !account_is_safe(user);
	const char *decoy = NULL;
	char *line, *next;

	load(path, acct);
	next = acct->text;
	for (int number = 1; (line = strsep(&next, "\n")) != NULL; number++) {
		struct account entry = *acct;

		if (line[0] == '#' || line[strspn(line, " \t")] == '\0')
			continue;
		if (!parse_line(line, &entry)) {
			warnx("%s: line %d is malformed", path, number);
			continue;
		}
		if (decoy == NULL)
			decoy = entry.hash;
		if (!found && strcmp(line, user) == 0) {
			found = true;
			*acct = entry;
		}
	}
	return decoy;
}

#if __has_include(<shadow.h>)
#include <shadow.h>

/*
 * Takes an account's hash if it is still valid, unless pw is NULL. Returns
 * the first hash of the shadow file, or NULL.
 */
static const char *
shadow(const struct passwd *pw, struct account *acct)
{
	FILE *file = fopen("/etc/shadow", "re");
	const char *decoy = NULL;
	struct spwd *sp;
	long age, today = (long)(time(NULL) / 86400);

	/* said of every user alike, known or not */
	if (file == NULL && errno != ENOENT)
		err(EXIT_TEMP, "/etc/shadow");
	while (file != NULL && decoy == NULL && (sp = fgetspent(file)) != NULL)
		decoy = is_hash(sp->sp_pwdp) ? sp->sp_pwdp : NULL;
	if (file != NULL && ferror(file))
		err(EXIT_TEMP, "/etc/shadow");
	if (file != NULL)
		fclose(file);
	errno = 0;
	sp = pw == NULL ? NULL : getspnam(pw->pw_name);
	if (sp == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		err(EXIT_TEMP, "getspnam");
	if (sp == NULL)
		return decoy;
	/* a password that is merely due for a change still gets its mail */
	age = sp->sp_lstchg > 0 ? today - sp->sp_lstchg : 0;
	acct->hash = sp->sp_pwdp;
	if ((sp->sp_expire >= 0 && today >= sp->sp_expire) ||
	    (sp->sp_max >= 0 && sp->sp_inact >= 0 &&
		age - sp->sp_max > sp->sp_inact)) {
		warnx("%s: account has expired", pw->pw_name);
		acct->hash = NULL;
	}
	return decoy;
}
#else
static const char *
shadow(const struct passwd *pw, struct account *acct)
{
	if (pw != NULL && pw->pw_expire != 0 && pw->pw_expire <= time(NULL))
		acct->hash = NULL;
	return NULL;
}
#endif

/* As lookup_file, for the accounts of the system; always returns a hash. */
static const char *
lookup_system(const char *user, struct account *acct)
{
	const struct passwd *pw = account_find(user, acct);
	const char *decoy;

	if (pw != NULL)
		acct->hash = pw->pw_passwd;
	decoy = shadow(pw, acct);
	if (acct->hash != NULL && !is_hash(acct->hash))
		acct->hash = NULL;
	return decoy != NULL ? decoy : "$y$j9T$wGIrLWb1i8q7FBFmpvPYz/";
}

int
main(int argc, char *argv[])
{
	static char input[INPUT_OCTETS + 2], path[PATH_MAX];
	const bool root = geteuid() == 0;
	struct account acct = {
	    .uid = root ? NO_ID : geteuid(), .gid = root ? NO_ID : getegid()};
	const char *file = NULL, *home = "", *decoy;
	const struct mechanism *mech = find_mechanism(getenv("AUTH_MECH"));
	struct credentials cred;
	bool good = true;
	int opt;

	while ((opt = getopt(argc, argv, "+f:h:p:u:")) != -1) {
		if (opt == 'p') {
			execv(PAM_PROGRAM, argv);
			err(EXIT_TEMP, "-p: %s", PAM_PROGRAM);
		}
		if (opt == 'f')
			file = optarg;
		else if (opt == 'h')
			home = optarg;
		else
			good &=
			    opt == 'u' &&
			    account_parse_id(strsep(&optarg, ":"), &acct.uid) &&
			    account_parse_id(optarg, &acct.gid);
	}
	if (!good || optind == argc) {
		fprintf(stderr, "usage: pop3d-checkpassword [-f file | "
				"-p service] [-h home] [-u uid:gid] "
				"program [arg ...]\n");
		return EXIT_USAGE;
	}
	account_read(input, sizeof(input), &cred);
	acct.home =
	    account_expand(home, cred.user, path, sizeof(path)) ? path : "";
	decoy = file == NULL ? lookup_system(cred.user, &acct)
			     : lookup_file(file, cred.user, &acct);
	if (!secret_fits(&acct, &cred, mech, decoy))
		exit(EXIT_REFUSED);
	explicit_bzero(cred.secret, strlen(cred.secret));
	account_check(&acct, cred.user);
	account_run(&acct, cred.user, file == NULL, argv + optind);
}
