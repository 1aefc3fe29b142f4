/* SPDX-License-Identifier: ISC */
#ifndef POP3D_DOCTOR_H
#define POP3D_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "account.h"
#include "peer.h"
#include "pop3d.h"

enum {
	TARGETS = 64, /* users and Maildirs to look at, of each */
	TEXT_OCTETS = 16384
};

/* What can be found.  Only an error makes the exit code 1; what is right is
 * said with -v only. */
enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARNING, LEVEL_ERROR };

/* What is known of the service. */
struct service {
	struct options options;
	bool is_session; /* -t */
	char **words; /* pop3d's own command line, less what was ours and -l */
	struct peer peer;
	const char *users[TARGETS], *maildirs[TARGETS];
	size_t user_count, maildir_count;
	/* Found by the checks. */
	char pop3d[PATH_MAX], program[PATH_MAX]; /* or "" */
	bool has_root;		  /* and it is fit for a greeter */
	bool was_tried, has_stls; /* a pop3d was; it offers it */
	/* The bundled checkpassword program's. */
	bool is_bundled;
	const char *file, *home, *pam;
	uint32_t uid, gid; /* or NO_ID */
	char **rest;	   /* what it is to execute before pop3d -t */
};

/* Somebody to be for a while. */
struct identity {
	const char *user; /* whose groups are to be had; NULL: only gid */
	uid_t uid;
	gid_t gid;
};

/* Prints a finding as one line, a full stop behind it unless its last sentence
 * is a command behind a colon; octets that could do something to a terminal are
 * escaped.  Makes no system call but write. */
void say(enum level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For what may be found many times: counts, and says whether to say it again;
 * say_rest says at the end how many more there were. */
bool say_again(size_t *count);
void say_rest(size_t count, const char *what);

/* How many errors there were so far. */
unsigned error_count(void);

/* Runs `check` in a child, as `who` for good unless that is NULL; what it says
 * counts here.  One that takes too long is killed.  `expected` is the signal by
 * which it may end.  Returns true if it ended by that. */
bool in_child(const struct identity *who, void (*check)(const void *),
    const void *argument, int expected);

/* Called, where it is not NULL, with a part of the sandbox that is missing, and
 * why. */
extern void (*on_missing_part)(const char *part, const char *why);

/* A program to run, and what it said. */
struct run {
	char *const *arguments;
	const char *path;
	/* What it reads from a socket that is its standard input and output;
	 * NULL: the one is closed and the other /dev/null. */
	const char *input;
	/* What it reads from descriptor 3; NULL: that is closed. */
	const char *credentials;
	size_t credentials_octets;
	char out[TEXT_OCTETS], error[TEXT_OCTETS];
};

/* Runs it, for ten seconds at most.  Its exit code, or -1. */
int run_program(struct run *r);

/* Searches PATH, then LIBEXECDIR if asked to, for a program, as execvp would;
 * false if there is none that can be executed. */
bool find_program(const char *name, bool libexec, char path[PATH_MAX]);

/* The checks. */
void check_options(struct service *s);
void check_pop3d(struct service *s);
void check_program(struct service *s);
void check_users(struct service *s);
void check_greeter(struct service *s);
void check_sandbox(struct service *s);
void check_syslog(struct service *s);
void check_clock(struct service *s);
void check_trial(struct service *s);
void check_tls(struct service *s);
void check_mail(struct service *s);

/* Who that user would be, in which home directory, and which Maildir the
 * passwd-file names, or ""; false after saying why that cannot be known. */
bool user_find(const struct service *s, const char *user, struct identity *who,
    char home[PATH_MAX], char maildir[PATH_MAX]);

/* Says it if `who` cannot execute the program at `path`. */
void say_executable(const char *path, const struct identity *who);

#endif
