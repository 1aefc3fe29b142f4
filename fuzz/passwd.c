/* SPDX-License-Identifier: ISC */
/* pop3d-passwd: of any file, the lines of one user change as they should, and
 * nothing else does.  Input: flags, user and password up to a NUL each, the
 * file. */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { DELETE = 1, FOR_GROUP = 2 };

static jmp_buf the_end;
static void *held;

#define err(code, ...) longjmp(the_end, code)
#define errx(code, ...) longjmp(the_end, code)
#define fsync(fd) 0
/* Both programs leave it to their end to give back what they hold. */
#define malloc(octets) (held = malloc(octets))
int passwd_main(int argc, char *argv[]);
#define main passwd_main
#include "../account.c"
#include "../passwd.c"
#undef main
#undef malloc

static char *
append(char *to, const void *text, size_t octets)
{
	memcpy(to, text, octets);
	return to + octets;
}

/* The file as it must be, in memory of the caller's; *found lines were the
 * user's. */
static char *
expected(struct text file, const char *user, const char *secret, int *found)
{
	size_t name = strlen(user), length = secret ? strlen(secret) : 0;
	size_t lines = 1, all = file.octets;
	bool has_end = all == 0 || file.at[all - 1] == '\n';
	struct text line;
	char *new, *p;

	for (size_t i = 0; i < all; i++)
		lines += file.at[i] == '\n';
	p = new = calloc(1, all + lines * (length + 1) + name + 16);
	*found = 0;
	while (fuzz_until(&file, '\n', &line)) {
		bool has_lf = file.octets > 0 || has_end;
		size_t begin = name + 1, end;

		if (line.octets <= name || line.at[name] != ':' ||
		    memcmp(line.at, user, name) != 0) {
			p = append(p, line.at, line.octets);
			p = append(p, "\n", has_lf);
			continue;
		}
		++*found;
		if (secret == NULL)
			continue;
		for (end = begin; end < line.octets && line.at[end] != ':';)
			end++;
		p = append(p, line.at, begin);
		p = append(p, secret, length);
		p = append(p, line.at + end, line.octets - end);
		p = append(p, "\n", has_lf);
	}
	if (*found == 0 && secret != NULL)
		p += sprintf(
		    p, "%s%s:%s::::::\n", has_end ? "" : "\n", user, secret);
	return new;
}

static void
check_file(int dir, const char *right)
{
	int fd = openat(dir, "users", O_RDONLY | O_CLOEXEC);
	char *text = malloc(strlen(right) + 2);
	ssize_t n = read(fd, text, strlen(right) + 2);

	CHECK(fd != -1 && n == (ssize_t)strlen(right));
	CHECK(memcmp(text, right, strlen(right)) == 0);
	(void)close(fd);
	free(text);
}

static int
run(const char *path, const char *user, const char *password, bool delete)
{
	static char real[PATH_MAX];
	const char *secret;
	struct stat st;
	int code = setjmp(the_end), fd;

	if (code != 0) {
		free(held);
		return code;
	}
	held = NULL;
	if (!is_good_name(user))
		return EXIT_USAGE;
	secret = delete ? NULL : make_secret(password, true);
	fd = open_locked(path, delete ? 0 : O_CREAT, real, &st);
	replace(real, fd, &st, user, secret);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	static int dir = -1;
	static char path[PATH_MAX], secret[PASSWORD_OCTETS + 16];
	struct text file = {(const char *)data, octets}, part;
	unsigned flags = fuzz_octet(&file);
	bool delete = (flags & DELETE) != 0;
	mode_t mode = (flags & FOR_GROUP) != 0 ? 0640 : 0600;
	char *user, *password, *right;
	struct stat st;
	int found, code, first;

	if (dir == -1) {
		dir = fuzz_directory();
		(void)snprintf(
		    path, sizeof(path), "/proc/self/fd/%d/users", dir);
	}
	(void)fuzz_until(&file, '\0', &part);
	user = fuzz_string(part);
	(void)fuzz_until(&file, '\0', &part);
	part.octets %= PASSWORD_OCTETS;
	password = fuzz_string(part);
	/* Such a file serves nobody, and strings are easier here. */
	if (file.octets > 0 && memchr(file.at, '\0', file.octets) != NULL)
		goto end;
	(void)snprintf(secret, sizeof(secret), "{PLAIN}%s", password);
	(void)unlinkat(dir, "users", 0);
	fuzz_file(dir, "users", file.at, file.octets);
	CHECK(fchmodat(dir, "users", mode, 0) == 0);
	right = expected(file, user, delete ? NULL : secret, &found);
	first = dup(dir);
	code = run(path, user, password, delete);
	fuzz_close_from(first);
	CHECK((code == EXIT_USAGE) == !is_good_name(user));
	if (code == EXIT_REFUSED)
		CHECK(delete ? found == 0 : strchr(password, ':') != NULL);
	CHECK(code == 0 || code == EXIT_USAGE || code == EXIT_REFUSED);
	if (code == 0) {
		check_file(dir, right);
		CHECK(!delete || found > 0);
	}
	CHECK(fstatat(dir, "users", &st, 0) == 0);
	CHECK((st.st_mode & 07777) == mode);
	CHECK(fstatat(dir, ".users.pop3d-passwd", &st, 0) == -1);
	free(right);
end:
	free(user);
	free(password);
	return 0;
}
