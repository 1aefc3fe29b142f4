/* SPDX-License-Identifier: ISC */
/* pop3d-checkpassword: what comes on descriptor 3, and any passwd-file.  A
 * user's first good line counts, and no other.
 * Input: flags, what comes on descriptor 3 up to two NULs, a -h pattern up to
 * a NUL, the file. */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static jmp_buf the_end;
static struct text descriptor;

static ssize_t
read_some(int fd, void *data, size_t octets)
{
	if (fd != 3)
		return read(fd, data, octets);
	if (octets > descriptor.octets)
		octets = descriptor.octets;
	memcpy(data, descriptor.at, octets);
	descriptor.at += octets;
	descriptor.octets -= octets;
	return (ssize_t)octets;
}

/* Slow, and not under test: every hash fits the secret "fits". */
static char *
fake_crypt(const char *secret, const char *setting)
{
	static char hash[64];
	static char other[] = "no hash of this";

	CHECK(strlen(setting) >= 13);
	(void)strncpy(hash, setting, sizeof(hash) - 1);
	return strcmp(secret, "fits") == 0 ? hash : other;
}

#define err(code, ...) longjmp(the_end, code)
#define errx(code, ...) longjmp(the_end, code)
#define warnx(...) (void)0
#define close(fd) ((fd) == 3 ? 0 : close(fd))
#define read read_some
#define crypt fake_crypt
int checkpassword_main(int argc, char *argv[]);
#define main checkpassword_main
#include "../account.c"
#include "../checkpassword.c"
#undef main
#undef read
#undef close

/* An id: digits below 2^32 - 1, or nothing and then it is `id`. */
static bool
read_id(struct text text, uint32_t *id)
{
	uint64_t n = 0;

	if (text.octets == 0)
		return true;
	while (text.octets > 0) {
		uint8_t digit = fuzz_octet(&text);

		if (digit < '0' || digit > '9')
			return false;
		if (n < UINT32_MAX)
			n = n * 10 + digit - '0';
	}
	*id = (uint32_t)n;
	return n < UINT32_MAX;
}

/* The first good line of a user, its fields; false if there is none. */
static bool
find_line(
    struct text file, const char *user, struct text fields[7], uint32_t ids[2])
{
	struct text line;

	while (fuzz_until(&file, '\n', &line)) {
		uint32_t uid = ids[0], gid = ids[1];
		size_t n = 0;

		memset(fields, 0, 7 * sizeof(*fields));
		if (line.octets == 0 || *line.at == '#')
			continue;
		/* fuzz_until is silent of an empty field at the end. */
		if (line.at[line.octets - 1] == ':')
			n = 1;
		for (size_t i = 0; i < 7 && fuzz_until(&line, ':', &fields[i]);)
			n += ++i < 3;
		if (n < 2 || !fuzz_equal(fields[0], user) ||
		    !read_id(fields[2], &uid) || !read_id(fields[3], &gid))
			continue;
		ids[0] = uid;
		ids[1] = gid;
		return true;
	}
	return false;
}

static bool
is_inside(const char *p, const struct account *acct)
{
	return p >= acct->text && p <= acct->text + acct->text_octets;
}

static void
check_account(struct text file, const struct credentials *cred,
    const struct account *acct, const struct account *defaults)
{
	uint32_t ids[2] = {defaults->uid, defaults->gid};
	const char *secret = acct->hash != NULL ? acct->hash : acct->plain;
	struct text fields[7] = {0};
	bool is_found = account_is_safe(cred->user) &&
			find_line(file, cred->user, fields, ids);

	CHECK(acct->uid == ids[0] && acct->gid == ids[1]);
	CHECK(acct->hash == NULL || acct->plain == NULL);
	if (secret != NULL) {
		CHECK(is_found && is_inside(secret, acct));
		CHECK(strlen(secret) > 0 && strlen(secret) <= fields[1].octets);
		CHECK(memcmp(secret,
			  fields[1].at + fields[1].octets - strlen(secret),
			  strlen(secret)) == 0);
	}
	if (is_found && fields[5].octets > 0)
		CHECK(fuzz_equal(fields[5], acct->home));
	else
		CHECK(acct->home == defaults->home);
	CHECK(!is_found || fuzz_equal(fields[6], acct->shell));
}

/* The right password fits, and no other; a locked secret has none. */
static void
check_secret(const struct account *acct, struct credentials cred,
    const struct mechanism *mech, const char *decoy)
{
	bool fits = secret_fits(acct, &cred, mech, decoy);
	char fits_all[] = "fits";

	if (acct->plain == NULL && acct->hash == NULL)
		CHECK(!fits);
	if (acct->plain != NULL && mech->password && mech->fits == NULL)
		CHECK(fits == (strcmp(acct->plain, cred.secret) == 0));
	if (acct->plain != NULL) {
		cred.secret = acct->plain;
		CHECK(secret_fits(acct, &cred, mech, decoy) == mech->password ||
		      mech->fits != NULL);
	}
	cred.secret = fits_all;
	if (acct->hash != NULL && strlen(acct->hash) < 63)
		CHECK(secret_fits(acct, &cred, mech, decoy) == mech->password);
}

static void
check_pattern(const char *pattern, const char *user, size_t size)
{
	char *text = malloc(size), key[] = "%?";
	const char *at = strchr(user, '@');
	bool is_whole = account_expand(pattern, user, text, size);

	if (is_whole && *pattern != '\0') {
		CHECK(memchr(text, '\0', size) != NULL);
		CHECK(
		    strchr(pattern, '%') != NULL || strcmp(text, pattern) == 0);
	}
	if (strchr(pattern, '%') == NULL)
		CHECK(is_whole == (strlen(pattern) < size) || *pattern == '\0');
	free(text);
	text = malloc(strlen(user) + 1);
	for (int letter = 1; letter < 256; letter++) {
		key[1] = (char)letter;
		is_whole = account_expand(key, user, text, strlen(user) + 1);
		if (letter == 'u')
			CHECK(is_whole && strcmp(text, user) == 0);
		else if (letter == 'd' && at != NULL)
			CHECK(is_whole && strcmp(text, at + 1) == 0);
		else if (letter == 'n')
			CHECK(is_whole && strlen(text) == strcspn(user, "@"));
		else if (letter != '%')
			CHECK(!is_whole);
	}
	free(text);
}

static int
run(const char *path, struct text file, unsigned flags, const char *pattern)
{
	static char input[INPUT_OCTETS + 2];
	static struct account defaults, acct;
	const struct mechanism *mech =
	    &mechanisms[flags % (sizeof(mechanisms) / sizeof(*mechanisms))];
	struct credentials cred;
	size_t octets = descriptor.octets;
	const char *decoy;
	int code;

	free(acct.text);
	memset(&acct, 0, sizeof(acct));
	code = setjmp(the_end);
	if (code != 0)
		return code;
	explicit_bzero(input, sizeof(input));
	account_read(input, sizeof(input), &cred);
	CHECK(cred.user == input && cred.secret > cred.user);
	CHECK(cred.challenge + strlen(cred.challenge) <= input + octets);
	check_pattern(pattern, cred.user, flags / 8 + 1);
	defaults = (struct account){
	    .home = "/home", .shell = "", .uid = NO_ID, .gid = flags};
	acct = defaults;
	decoy = lookup_file(path, cred.user, &acct);
	check_account(file, &cred, &acct, &defaults);
	CHECK(decoy == NULL ||
	      (account_is_hash(decoy) && is_inside(decoy, &acct)));
	CHECK(acct.hash == NULL || decoy != NULL);
	check_secret(&acct, cred, mech, decoy);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static int dir = -1;
	static char path[64];
	struct text text = {(const char *)data, octets}, part;
	unsigned flags = fuzz_octet(&text);
	const char *end;
	char *pattern;
	int code, first;

	if (dir == -1) {
		dir = fuzz_directory();
		(void)snprintf(
		    path, sizeof(path), "/proc/self/fd/%d/users", dir);
	}
	end = text.octets > 1 ? memmem(text.at, text.octets, "\0\0", 2) : NULL;
	descriptor = text;
	if (end != NULL)
		descriptor.octets = (size_t)(end - text.at) + 1;
	text.at += descriptor.octets + (end != NULL);
	text.octets -= descriptor.octets + (end != NULL);
	(void)fuzz_until(&text, '\0', &part);
	pattern = fuzz_string(part);
	fuzz_file(dir, "users", text.at, text.octets);
	first = dup(dir);
	code = run(path, text, flags, pattern);
	fuzz_close_from(first);
	CHECK(code == 0 || code == EXIT_MISUSE || code == EXIT_SYSTEM);
	if (code == EXIT_SYSTEM)
		CHECK(memchr(text.at, '\0', text.octets) != NULL);
	free(pattern);
	return 0;
}
