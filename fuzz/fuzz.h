/* SPDX-License-Identifier: ISC */
#ifndef POP3D_FUZZ_H
#define POP3D_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a fuzz target must find true; else the input is a finding. */
#define CHECK(what) ((what) ? (void)0 : fuzz_fail(#what, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets);

/* Octets that are read from the front. */
struct text {
	const char *at;
	size_t octets;
};

/* The next octet, 0 where there is none. */
uint8_t fuzz_octet(struct text *text);

/* What stands before the next `end`, or all; false where nothing is left. */
bool fuzz_until(struct text *text, char end, struct text *part);

/* A copy with a NUL behind it, in memory of just that size. */
char *fuzz_string(struct text text);

bool fuzz_equal(struct text text, const char *string);

/* The client, in memory: stream.c's calls lead here.  No two reads bring
 * equally much, writes are cut short, and signals interrupt both. */
struct fuzz_link {
	struct text input; /* not yet consumed */
	bool is_socket;	   /* else two pipes */
	bool is_silent;	   /* stays when it has said all, and times out */
	unsigned splits;   /* the kind of splits; 0: there are none */
	size_t output_most;
	size_t output_octets, output_room;
	char *output;
};
extern struct fuzz_link fuzz_link;

void fuzz_connect(struct text input, bool is_socket, bool is_silent,
    unsigned splits, size_t output_most);

/* The next command of the client's that is complete, without its end. */
bool fuzz_command(struct text *input, struct text *command);

/* Whether the keyword of a command is `name`. */
bool fuzz_is(struct text command, const char *name);

/* The next line of replies, without CRLF, which must be there.  A status line
 * (not the lines of a message) is printable ASCII and not too long. */
bool fuzz_line(struct text *replies, bool is_status, struct text *line);

/* Whether a line is +OK, else it must be -ERR. */
bool fuzz_is_ok(struct text line);

/* Base64, and where it ends in `out`, which is big enough. */
char *fuzz_base64(struct text text, char *out);

/* A message as RETR sends it, without the final dot, and with or without
 * dots doubled; an octet at a time, and from the RFC.  Returns its octets;
 * `out` has room for three times as many as the message. */
size_t fuzz_wire(struct text message, bool is_stuffed, char *out);

/* A directory of this process's own, and writing a file in it. */
int fuzz_directory(void);
void fuzz_file(int dir, const char *path, const void *data, size_t octets);

/* Closes what a program leaves open to its end: the next descriptors. */
void fuzz_close_from(int first);

/* The last line that was logged, without its end. */
extern struct text fuzz_logged;

/* No target waits. */
int fuzz_nanosleep(const struct timespec *wait, struct timespec *left);

#endif
