/* SPDX-License-Identifier: ISC */
/*
 * What every checkpassword program of pop3d's does before it judges the
 * secret, and after.  What these functions say they exit with is the
 * program's exit code, after a line on standard error.
 */
#ifndef POP3D_ACCOUNT_H
#define POP3D_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exit.h"

#define INPUT_OCTETS 16384
#define NO_ID UINT32_MAX

struct credentials {
	char *user, *secret, *challenge;
};

struct account {
	char *hash, *plain; /* at most one of them, else nobody gets in */
	const char *home, *shell;
	uint32_t uid, gid;
	bool is_there;
	char *extra; /* a passwd-file's last field, or NULL */
	char *text;  /* the passwd-file, or NULL */
	size_t text_octets;
};

/*
 * Reads descriptor 3 to its end into input, which is all zeros, and closes
 * it. A challenge may lack its NUL, or be absent and is then "". Exits 2 if
 * that is malformed, 111 if it cannot be read.
 */
void account_read(char *input, size_t size, struct credentials *cred);

/*
 * A name that could end a field or a line, or leave the directory that a -h
 * pattern means, is nobody's.
 */
bool account_is_safe(const char *name);

/* Reads digits alone, below 2^32 - 1, which are all of the text; of an empty
 * text *id stays as it is. */
bool account_parse_id(const char *text, uint32_t *id);

/* The same of "uid:gid". */
bool account_parse_ids(const char *text, uint32_t *uid, uint32_t *gid);

/*
 * What stands behind the {SCHEME} of a passwd-file's secret: the password
 * itself if is_plain comes out true, else a hash, or what is none.
 */
char *account_secret(char *secret, bool *is_plain);

/* Whether that is a hash, or could be. */
bool account_is_hash(const char *secret);

/*
 * Writes a -h pattern into out for a user: %u, %n, %d and %%. Returns false
 * where it does not fit, has another %, or wants a domain where there is none.
 */
bool account_expand(
    const char *pattern, const char *user, char *out, size_t size);

/*
 * Takes home, shell, uid and gid of a system account, which it returns;
 * NULL if there is none of that name. Exits 111 if that cannot be known.
 */
const struct passwd *account_find(const char *user, struct account *acct);

/*
 * Exits 1 for uid 0, as for a wrong password, lest strangers try root's here;
 * 111 if uid, gid or an absolute home is missing.
 */
void account_check(const struct account *acct, const char *user);

/*
 * Becomes the user for good, enters the home, executes argv with USER, HOME
 * and SHELL set; groups: with all groups of the system account. Wipes the
 * passwd-file. Does not return, but exits 111.
 */
_Noreturn void account_run(
    struct account *acct, const char *user, bool groups, char *argv[]);

#endif
