/* SPDX-License-Identifier: ISC */
/*
 * pop3d-checkpassword: judges the name and the secret that pop3d's monitor
 * (or qmail-popup) hands over on descriptor 3. Where they are right it
 * becomes that user and executes its arguments.
 *
 * A process of its own, as whoever the monitor is (mostly root) until
 * become(). Standard input and output are the client's and are not touched.
 */
#include <sys/stat.h>
#include <sys/types.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
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

/* libxcrypt's, elsewhere NULL: 0 if a setting is one to make a hash with. */
int crypt_checksalt(const char *) __attribute__((weak));

#define INPUT_OCTETS 16384
#define NO_ID UINT32_MAX

enum { EXIT_REFUSED = 1, EXIT_MISUSE = 2, EXIT_USAGE = 100, EXIT_TEMP = 111 };

struct credentials {
	char *user, *secret, *challenge;
};

struct account {
	char *hash, *plain; /* at most one of them, else nobody gets in */
	const char *home, *shell;
	uint32_t uid, gid;
	char *text; /* the passwd-file, or NULL */
	size_t text_octets;
};

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

/*
 * Reads descriptor 3 to its end into input, which is all zeros, and closes
 * it. A challenge may lack its NUL, or be absent and is then "".
 */
static void
read_credentials(char *input, size_t size, struct credentials *cred)
{
	char *end = input, *limit = input + size - 1;
	ssize_t n = 1;

	while (end < limit && (n = read(3, end, (size_t)(limit - end))) > 0)
		end += n;
	if (n == -1 && errno != EBADF)
		err(EXIT_TEMP, "descriptor 3");
	if (n == -1 || end == limit)
		errx(EXIT_MISUSE, "descriptor 3: not open, or too long");
	close(3);
	cred->user = input;
	cred->secret = input + strlen(input) + 1;
	if (cred->secret >= end || cred->secret + strlen(cred->secret) >= end)
		errx(EXIT_MISUSE, "descriptor 3: not two strings and NULs");
	cred->challenge = cred->secret + strlen(cred->secret) + 1;
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

/*
 * A name that could end a field or a line, or leave the directory that a -h
 * pattern means, is nobody's.
 */
static bool
is_safe_name(const char *name)
{
	const char *at = strchr(name, '@');

	return strchr("@.", name[0]) == NULL && strpbrk(name, "/:\n") == NULL &&
	       (at == NULL || strchr(".", at[1]) == NULL);
}

/* Reads digits alone, below 2^32 - 1; of an empty text *id stays as it is. */
static bool
parse_id(const char *text, uint32_t *id)
{
	size_t digits = text != NULL ? strspn(text, "0123456789") : 0;
	unsigned long long value = digits > 0 ? strtoull(text, NULL, 10) : 0;

	if (digits > 0)
		*id = (uint32_t)value;
	return text != NULL && text[digits] == '\0' && value < NO_ID;
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
	return field[0][0] != '\0' && parse_id(field[2], &acct->uid) &&
	       parse_id(field[3], &acct->gid);
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
	bool found = !is_safe_name(user);
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
	const struct passwd *pw;
	const char *decoy;

	errno = 0;
	pw = is_safe_name(user) ? getpwnam(user) : NULL;
	if (pw == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		err(EXIT_TEMP, "getpwnam");
	if (pw != NULL) {
		acct->hash = pw->pw_passwd;
		acct->home = pw->pw_dir;
		acct->shell = pw->pw_shell;
		acct->uid = pw->pw_uid;
		acct->gid = pw->pw_gid;
	}
	decoy = shadow(pw, acct);
	if (acct->hash != NULL && !is_hash(acct->hash))
		acct->hash = NULL;
	return decoy != NULL ? decoy : "$y$j9T$wGIrLWb1i8q7FBFmpvPYz/";
}

/*
 * Writes a -h pattern into out for a user: %u, %n, %d and %%. Returns false
 * where it does not fit, has another %, or wants a domain where there is none.
 */
static bool
expand(const char *pattern, const char *user, char *out, size_t size)
{
	const char *at = strchr(user, '@');

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

/* Takes on the account's identity for good; groups: with all its groups. */
static void
become(const struct account *acct, const char *user, bool groups)
{
	uid_t uid = acct->uid;
	gid_t gid = acct->gid;

	if (geteuid() == 0 &&
	    ((groups ? initgroups(user, gid) : setgroups(1, &gid)) == -1 ||
		setgid(gid) == -1 || setuid(uid) == -1))
		err(EXIT_TEMP, "%s: cannot drop privileges", user);
	if (getuid() != uid || geteuid() != uid || getgid() != gid ||
	    getegid() != gid)
		errx(EXIT_TEMP, "%s: only root can become others", user);
	if (setuid(0) != -1 || seteuid(0) != -1 || (gid && setgid(0) != -1))
		errx(EXIT_TEMP, "%s: privileges came back", user);
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

	while ((opt = getopt(argc, argv, "+f:h:u:")) != -1) {
		if (opt == 'f')
			file = optarg;
		else if (opt == 'h')
			home = optarg;
		else
			good &= opt == 'u' &&
				parse_id(strsep(&optarg, ":"), &acct.uid) &&
				parse_id(optarg, &acct.gid);
	}
	if (!good || optind == argc) {
		fprintf(stderr, "usage: pop3d-checkpassword [-f file] "
				"[-h home] [-u uid:gid] program [arg ...]\n");
		return EXIT_USAGE;
	}
	read_credentials(input, sizeof(input), &cred);
	acct.home = expand(home, cred.user, path, sizeof(path)) ? path : "";
	decoy = file == NULL ? lookup_system(cred.user, &acct)
			     : lookup_file(file, cred.user, &acct);
	if (!secret_fits(&acct, &cred, mech, decoy))
		exit(EXIT_REFUSED);
	explicit_bzero(cred.secret, strlen(cred.secret));
	/* refused as a wrong password is, lest strangers try root's here */
	if (acct.uid == 0)
		errx(EXIT_REFUSED, "%s: uid 0 is never served", cred.user);
	if (acct.uid == NO_ID || acct.gid == NO_ID || acct.home[0] != '/')
		errx(EXIT_TEMP, "%s: no uid, gid or absolute home", cred.user);
	if (setenv("USER", cred.user, 1) == -1 ||
	    setenv("HOME", acct.home, 1) == -1 ||
	    setenv("SHELL", *acct.shell ? acct.shell : "/bin/sh", 1) == -1 ||
	    (acct.home = getenv("HOME")) == NULL)
		err(EXIT_TEMP, "environment");
	if (acct.text != NULL)
		explicit_bzero(acct.text, acct.text_octets);
	become(&acct, cred.user, file == NULL);
	if (chdir(acct.home) == -1)
		err(EXIT_TEMP, "%s: %s", cred.user, acct.home);
	execvp(argv[optind], argv + optind);
	err(EXIT_TEMP, "%s", argv[optind]);
}
