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
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/hmac.h>
#include <nettle/md5.h>
#include <pwd.h>
#include <spawn.h>
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

/* Whether the secret is a digest in hexadecimal. */
static bool
digest_fits(const uint8_t *digest, const struct credentials *cred)
{
	char hex[2 * MD5_DIGEST_SIZE + 1];

	for (size_t i = 0; i < MD5_DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	/* without a challenge, whoever saw one could use it for ever */
	return equal(cred->secret, hex) && cred->challenge[0] != '\0';
}

/* RFC 1939 section 7: of the stamp followed by the password. */
static bool
apop_fits(const char *plain, const struct credentials *cred)
{
	struct md5_ctx ctx;
	uint8_t digest[MD5_DIGEST_SIZE];
	const char *stamp = cred->challenge;

	md5_init(&ctx);
	md5_update(&ctx, strlen(stamp), (const uint8_t *)stamp);
	md5_update(&ctx, strlen(plain), (const uint8_t *)plain);
	md5_digest(&ctx, sizeof(digest), digest);
	explicit_bzero(&ctx, sizeof(ctx));
	return digest_fits(digest, cred);
}

/* RFC 2195 section 2: of the challenge, keyed by the password. */
static bool
cram_fits(const char *plain, const struct credentials *cred)
{
	struct hmac_md5_ctx ctx;
	uint8_t digest[MD5_DIGEST_SIZE];
	const char *challenge = cred->challenge;

	hmac_md5_set_key(&ctx, strlen(plain), (const uint8_t *)plain);
	hmac_md5_update(&ctx, strlen(challenge), (const uint8_t *)challenge);
	hmac_md5_digest(&ctx, sizeof(digest), digest);
	explicit_bzero(&ctx, sizeof(ctx));
	return digest_fits(digest, cred);
}

/* A new mechanism is a row here: what its secret is compared with. */
static const struct mechanism {
	const char *name; /* as in AUTH_MECH; "" where that is not set */
	bool (*fits)(const char *, const struct credentials *); /* a digest */
	bool password; /* the secret may be the password itself */
	bool token;    /* the program of -b judges it */
} mechanisms[] = {
    {"", apop_fits, true, false}, /* qmail-popup does not tell which it is */
    {"USER", NULL, true, false},
    {"PLAIN", NULL, true, false},
    {"LOGIN", NULL, true, false},
    {"APOP", apop_fits, false, false},
    {"CRAM-MD5", cram_fits, false, false},
    {"OAUTHBEARER", NULL, false, true},
    {"XOAUTH2", NULL, false, true},
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

/* Sets acct->hash or acct->plain from a passwd-file's secret, or neither. */
static void
classify(char *secret, struct account *acct)
{
	bool is_plain;

	secret = account_secret(secret, &is_plain);
	acct->plain = is_plain && *secret != '\0' ? secret : NULL;
	acct->hash = !is_plain && account_is_hash(secret) ? secret : NULL;
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
		err(EXIT_SYSTEM, "crypt"); /* mostly for want of memory */
	}
	if (acct->plain != NULL && mech->password)
		fits = equal(cred->secret, acct->plain);
	if (acct->plain != NULL && mech->fits != NULL)
		fits |= mech->fits(acct->plain, cred);
	return fits && cred->secret[0] != '\0';
}

/*
 * Whether the program of -b takes a bearer token: it has the token on its
 * descriptor 3, the name in USER and the scope of -s in SCOPE, and its exit
 * code means what those of a checkpassword program mean. It does not have
 * the client. Asked of users who are not there as well, for the time's sake.
 */
static bool
token_fits(char *program, const char *scope, const struct credentials *cred)
{
	char *argv[] = {program, NULL};
	posix_spawn_file_actions_t actions;
	size_t octets = strlen(cred->secret);
	int token[2], status;
	pid_t pid;

	if (program == NULL)
		errx(EXIT_MISUSE, "bearer tokens are judged by -b's program");
	/* a pipe takes it as a whole, before anybody reads */
	if (pipe(token) == -1 || fcntl(token[1], F_SETFD, FD_CLOEXEC) == -1 ||
	    write(token[1], cred->secret, octets) != (ssize_t)octets ||
	    setenv("USER", cred->user, 1) == -1 ||
	    setenv("SCOPE", scope, 1) == -1 ||
	    (errno = posix_spawn_file_actions_init(&actions)) != 0 ||
	    (errno = posix_spawn_file_actions_adddup2(&actions, token[0], 3)) !=
		0 ||
	    /* pop3d's, on which only its session may speak */
	    (errno = posix_spawn_file_actions_addclose(&actions, 4)) != 0 ||
	    (errno = posix_spawn_file_actions_addopen(
		 &actions, 0, "/dev/null", O_RDONLY, 0)) != 0 ||
	    (errno = posix_spawn_file_actions_addopen(
		 &actions, 1, "/dev/null", O_WRONLY, 0)) != 0 ||
	    (errno = posix_spawnp(
		 &pid, program, &actions, NULL, argv, environ)) != 0)
		err(EXIT_SYSTEM, "%s", program);
	close(token[0]);
	close(token[1]);
	unsetenv("SCOPE");
	if (waitpid(pid, &status, 0) == -1 || !WIFEXITED(status) ||
	    WEXITSTATUS(status) == EXIT_MISUSE ||
	    WEXITSTATUS(status) >= EXIT_USAGE)
		errx(EXIT_SYSTEM, "%s: cannot judge a token", program);
	return WEXITSTATUS(status) == 0;
}

/* Takes from a passwd-file's line what stands there; false if malformed. */
static bool
parse_line(char *line, struct account *acct)
{
	static char none[] = "";
	char *field[7] = {none, none};

	for (size_t i = 0; i < 7; i++) {
		if (line == NULL && i < 2)
			return false;
		field[i] = line == NULL ? none : strsep(&line, ":");
	}
	classify(field[1], acct);
	if (field[5][0] != '\0')
		acct->home = field[5];
	acct->shell = field[6];
	acct->extra = line;
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
		err(EXIT_SYSTEM, "%s", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		errx(EXIT_SYSTEM, "%s: not a file that its owner alone writes",
		    path);
	acct->text_octets = (size_t)st.st_size;
	acct->text = calloc(1, acct->text_octets + 1);
	if (acct->text == NULL ||
	    read(fd, acct->text, acct->text_octets) != st.st_size ||
	    strlen(acct->text) != acct->text_octets)
		errx(EXIT_SYSTEM, "%s: cut short, or holds a NUL", path);
	close(fd);
}

/*
 * Takes into acct, which holds the defaults, the user's first line if there
 * is one. Reads all lines in any case; returns the first hash, or NULL.
 */
static const char *
lookup_file(const char *path, const char *user, struct account *acct)
{
	const bool is_safe = account_is_safe(user);
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
		if (is_safe && !acct->is_there && strcmp(line, user) == 0) {
			*acct = entry;
			acct->is_there = true;
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
		err(EXIT_SYSTEM, "/etc/shadow");
	while (file != NULL && decoy == NULL && (sp = fgetspent(file)) != NULL)
		decoy = account_is_hash(sp->sp_pwdp) ? sp->sp_pwdp : NULL;
	if (file != NULL && ferror(file))
		err(EXIT_SYSTEM, "/etc/shadow");
	if (file != NULL)
		fclose(file);
	errno = 0;
	sp = pw == NULL ? NULL : getspnam(pw->pw_name);
	if (sp == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		err(EXIT_SYSTEM, "getspnam");
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
		acct->is_there = false;
	}
	return decoy;
}
#else
static const char *
shadow(const struct passwd *pw, struct account *acct)
{
	if (pw != NULL && pw->pw_expire != 0 && pw->pw_expire <= time(NULL)) {
		acct->hash = NULL;
		acct->is_there = false;
	}
	return NULL;
}
#endif

/* As lookup_file, for the accounts of the system; always returns a hash. */
static const char *
lookup_system(const char *user, struct account *acct)
{
	const struct passwd *pw = account_find(user, acct);
	const char *decoy;

	acct->is_there = pw != NULL;
	if (pw != NULL)
		acct->hash = pw->pw_passwd;
	decoy = shadow(pw, acct);
	if (acct->hash != NULL && !account_is_hash(acct->hash))
		acct->hash = NULL;
	return decoy != NULL ? decoy : "$y$j9T$wGIrLWb1i8q7FBFmpvPYz/";
}

/*
 * What a passwd-file's extra field says of the session: the words
 * pop3d_session=OPTIONS, with commas for blanks, and pop3d_maildir=DIRECTORY,
 * among words for others, such as Dovecot.
 */
static void
set_policy(char *extra)
{
	static const char session[] = "pop3d_session=";
	static const char maildir[] = "pop3d_maildir=";
	const size_t octets = sizeof(session) - 1;
	char *word;

	while ((word = strsep(&extra, " \t")) != NULL) {
		bool is_session = strncmp(word, session, octets) == 0;

		for (char *p = word; is_session && *p != '\0'; p++)
			if (*p == ',')
				*p = ' ';
		if ((is_session || strncmp(word, maildir, octets) == 0) &&
		    setenv(is_session ? "POP3D_SESSION" : "MAILDIR",
			word + octets, 1) == -1)
			err(EXIT_SYSTEM, "environment");
	}
}

int
main(int argc, char *argv[])
{
	static char input[INPUT_OCTETS + 2], path[PATH_MAX];
	const bool root = geteuid() == 0;
	struct account acct = {
	    .uid = root ? NO_ID : geteuid(), .gid = root ? NO_ID : getegid()};
	const char *file = NULL, *home = "", *scope = "", *decoy;
	char *program = NULL;
	const struct mechanism *mech = find_mechanism(getenv("AUTH_MECH"));
	struct credentials cred;
	bool good = true;
	int opt;

	while ((opt = getopt(argc, argv, "+b:f:h:p:s:u:")) != -1) {
		if (opt == 'p') {
			execv(PAM_PROGRAM, argv);
			err(EXIT_SYSTEM, "-p: %s", PAM_PROGRAM);
		}
		if (opt == 'b')
			program = optarg;
		else if (opt == 's')
			scope = optarg;
		else if (opt == 'f')
			file = optarg;
		else if (opt == 'h')
			home = optarg;
		else
			good &= opt == 'u' &&
				account_parse_ids(optarg, &acct.uid, &acct.gid);
	}
	if (!good || optind == argc) {
		fprintf(stderr,
		    "usage: pop3d-checkpassword [-f file | -p service] "
		    "[-b program] [-h home] [-s scope]\n"
		    "                           [-u uid:gid] "
		    "program [arg ...]\n");
		return EXIT_USAGE;
	}
	account_read(input, sizeof(input), &cred);
	acct.home =
	    account_expand(home, cred.user, path, sizeof(path)) ? path : "";
	decoy = file == NULL ? lookup_system(cred.user, &acct)
			     : lookup_file(file, cred.user, &acct);
	if (mech->token ? !token_fits(program, scope, &cred) || !acct.is_there
			: !secret_fits(&acct, &cred, mech, decoy))
		exit(EXIT_REFUSED);
	explicit_bzero(cred.secret, strlen(cred.secret));
	set_policy(acct.extra);
	account_check(&acct, cred.user);
	account_run(&acct, cred.user, file == NULL, argv + optind);
}
