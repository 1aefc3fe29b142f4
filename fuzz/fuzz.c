/* SPDX-License-Identifier: ISC */
/*
 * What the fuzz targets share: a client in memory, files, and what is true of
 * every reply and every line of the log.  Takes the places of stream.o and
 * log.o, whose system calls end here.
 */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	REPLY_MOST = 512, /* RFC 2449 section 4, the CRLF counted */
	LOG_CUT = 4000	  /* longer lines of the log may be cut short */
};

struct fuzz_link fuzz_link;
struct text fuzz_logged;

void
fuzz_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
	if (fuzz_link.output_octets > 0)
		fprintf(stderr, "the replies:\n%.*s\n",
		    (int)fuzz_link.output_octets, fuzz_link.output);
	if (fuzz_logged.octets > 0)
		fprintf(stderr, "the log's last line:\n%.*s\n",
		    (int)fuzz_logged.octets, fuzz_logged.at);
	abort();
}

uint8_t
fuzz_octet(struct text *text)
{
	if (text->octets == 0)
		return 0;
	text->octets--;
	return (uint8_t)*text->at++;
}

bool
fuzz_until(struct text *text, char end, struct text *part)
{
	const char *found = memchr(text->at, end, text->octets);

	*part = *text;
	if (text->octets == 0)
		return false;
	if (found != NULL)
		part->octets = (size_t)(found - text->at);
	text->at += part->octets + (found != NULL);
	text->octets -= part->octets + (found != NULL);
	return true;
}

char *
fuzz_string(struct text text)
{
	char *string = malloc(text.octets + 1);

	CHECK(string != NULL);
	memcpy(string, text.at, text.octets);
	string[text.octets] = '\0';
	return string;
}

bool
fuzz_equal(struct text text, const char *string)
{
	return strlen(string) == text.octets &&
	       (text.octets == 0 || memcmp(text.at, string, text.octets) == 0);
}

void
fuzz_connect(struct text input, bool is_socket, bool is_silent, unsigned splits,
    size_t output_most)
{
	fuzz_link.input = input;
	fuzz_link.is_socket = is_socket;
	fuzz_link.is_silent = is_silent;
	fuzz_link.splits = splits;
	fuzz_link.output_most = output_most;
	fuzz_link.output_octets = 0;
}

static unsigned
next_random(void)
{
	fuzz_link.splits = fuzz_link.splits * 1103515245U + 12345U;
	return fuzz_link.splits >> 16;
}

/* How many of so many octets are moved; -1: a signal came first. */
static ssize_t
split(size_t octets)
{
	unsigned random;

	if (fuzz_link.splits == 0)
		return (ssize_t)octets;
	random = next_random();
	if (random % 16 == 0) {
		errno = EINTR;
		return -1;
	}
	if (octets > 1 && random % 4 != 0)
		octets = 1 + next_random() %
				 (random % 2 != 0 && octets > 8 ? 8 : octets);
	return (ssize_t)octets;
}

static ssize_t
link_recv(int fd, void *data, size_t octets, int flags)
{
	static size_t seen; /* by the peek before */
	ssize_t n;

	(void)fd;
	if (octets > fuzz_link.input.octets)
		octets = fuzz_link.input.octets;
	if (octets == 0) {
		errno = EAGAIN;
		return fuzz_link.is_silent ? -1 : 0;
	}
	n = octets <= seen ? (ssize_t)octets : split(octets);
	seen = 0;
	if (n == -1)
		return -1;
	memcpy(data, fuzz_link.input.at, (size_t)n);
	if ((flags & MSG_PEEK) != 0) {
		seen = (size_t)n;
		return n;
	}
	fuzz_link.input.at += n;
	fuzz_link.input.octets -= (size_t)n;
	return n;
}

static ssize_t
link_read(int fd, void *data, size_t octets)
{
	return link_recv(fd, data, octets, 0);
}

static ssize_t
link_write(int fd, const void *data, size_t octets)
{
	size_t most = fuzz_link.output_most - fuzz_link.output_octets;
	ssize_t n;

	(void)fd;
	if (most == 0) {
		errno = EPIPE;
		return -1;
	}
	n = split(octets < most ? octets : most);
	if (n == -1)
		return -1;
	if (fuzz_link.output_octets + (size_t)n > fuzz_link.output_room) {
		fuzz_link.output_room =
		    2 * (fuzz_link.output_octets + (size_t)n);
		fuzz_link.output =
		    realloc(fuzz_link.output, fuzz_link.output_room);
		CHECK(fuzz_link.output != NULL);
	}
	memcpy(fuzz_link.output + fuzz_link.output_octets, data, (size_t)n);
	fuzz_link.output_octets += (size_t)n;
	return n;
}

static ssize_t
link_send(int fd, const void *data, size_t octets, int flags)
{
	(void)flags;
	return link_write(fd, data, octets);
}

static int
link_poll(struct pollfd *fds, nfds_t count, int msec)
{
	(void)count;
	(void)msec;
	if (split(1) == -1)
		return -1;
	return (fds->events & POLLIN) == 0 || fuzz_link.input.octets > 0 ||
	       !fuzz_link.is_silent;
}

static int
link_getsockopt(int fd, int level, int option, void *value, socklen_t *octets)
{
	(void)fd;
	(void)level;
	(void)option;
	(void)value;
	(void)octets;
	return fuzz_link.is_socket ? 0 : -1;
}

static int
link_setsockopt(
    int fd, int level, int option, const void *value, socklen_t octets)
{
	(void)value;
	return link_getsockopt(fd, level, option, NULL, &octets);
}

#define read link_read
#define recv link_recv
#define write link_write
#define send link_send
#define poll link_poll
#define getsockopt link_getsockopt
#define setsockopt link_setsockopt
#define shutdown(fd, how) 0
#include "../stream.c"
#undef read
#undef recv
#undef write
#undef send
#undef poll
#undef getsockopt
#undef setsockopt
#undef shutdown

/* A value of the log: plain, or quoted, and then escaped. */
static const char *
skip_value(const char *p)
{
	if (*p != '"') {
		while (*p > ' ' && strchr("\"\\=", *p) == NULL)
			p++;
		return p;
	}
	for (p++; *p != '"' && *p != '\0'; p++) {
		if (*p != '\\')
			continue;
		CHECK(p[1] == 'x' && isxdigit((unsigned char)p[2]) &&
		      isxdigit((unsigned char)p[3]));
		p += 3;
	}
	CHECK(*p == '"');
	return p + 1;
}

/* One line of printable ASCII, and of the form `event=word key=value ...`. */
static ssize_t
log_write(int fd, const void *data, size_t octets)
{
	static char line[8192];
	const char *p = line;

	CHECK(fd == 2 && octets > 0 && octets < sizeof(line));
	memcpy(line, data, octets);
	line[octets - 1] = '\0';
	fuzz_logged = (struct text){line, octets - 1};
	CHECK(((const char *)data)[octets - 1] == '\n');
	for (size_t i = 0; i + 1 < octets; i++)
		CHECK(line[i] >= ' ' && line[i] <= '~');
	CHECK(strncmp(line, "pop3d: event=", 13) == 0);
	for (p += 7; *p != '\0'; p++) {
		size_t key = strspn(p, "abcdefghijklmnopqrstuvwxyz");

		/* A line that is cut short may end anywhere. */
		if (octets > LOG_CUT && (size_t)(p - line) + key + 40 > octets)
			break;
		CHECK(key > 0 && p[key] == '=');
		p = skip_value(p + key + 1);
		if (*p == '\0')
			break;
		CHECK(*p == ' ');
	}
	return (ssize_t)octets;
}

#define write log_write
#define poll(fds, count, msec) ((void)(fds), 1)
#include "../log.c"
#undef write
#undef poll

bool
fuzz_command(struct text *input, struct text *command)
{
	if (input->octets == 0 ||
	    memchr(input->at, '\n', input->octets) == NULL)
		return false;
	(void)fuzz_until(input, '\n', command);
	if (command->octets > 0 && command->at[command->octets - 1] == '\r')
		command->octets--;
	return true;
}

bool
fuzz_is(struct text command, const char *name)
{
	struct text keyword;

	return fuzz_until(&command, ' ', &keyword) &&
	       keyword.octets == strlen(name) &&
	       strncasecmp(keyword.at, name, keyword.octets) == 0;
}

bool
fuzz_line(struct text *replies, bool is_status, struct text *line)
{
	const char *lf;

	if (replies->octets == 0)
		return false;
	lf = memchr(replies->at, '\n', replies->octets);
	CHECK(lf != NULL && lf > replies->at && lf[-1] == '\r');
	(void)fuzz_until(replies, '\n', line);
	line->octets--;
	if (!is_status)
		return true;
	CHECK(line->octets + 2 <= REPLY_MOST);
	for (size_t i = 0; i < line->octets; i++)
		CHECK(line->at[i] >= ' ' && line->at[i] <= '~');
	return true;
}

bool
fuzz_is_ok(struct text line)
{
	bool is_ok = line.octets >= 4 && memcmp(line.at, "+OK ", 4) == 0;

	CHECK(is_ok || (line.octets >= 5 && memcmp(line.at, "-ERR ", 5) == 0));
	return is_ok;
}

char *
fuzz_base64(struct text text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";

	for (size_t i = 0; i < text.octets; i += 3) {
		uint32_t bits = 0;

		for (size_t j = 0; j < 3; j++)
			bits =
			    bits << 8 |
			    (i + j < text.octets ? (uint8_t)text.at[i + j] : 0);
		for (size_t j = 0; j < 4; j++, bits <<= 6)
			*out++ = i + j > text.octets
				     ? '='
				     : digits[bits >> 18 & 0x3f];
	}
	*out = '\0';
	return out;
}

size_t
fuzz_wire(struct text message, bool is_stuffed, char *out)
{
	char last = '\n';
	size_t n = 0;

	for (size_t i = 0; i < message.octets; i++) {
		char c = message.at[i];

		if (c == '.' && last == '\n' && is_stuffed)
			out[n++] = '.';
		if (c == '\n' && last != '\r')
			out[n++] = '\r';
		out[n++] = last = c;
	}
	if (last != '\n') {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	return n;
}

int
fuzz_directory(void)
{
	const char *parent = getenv("TMPDIR");
	char path[200];
	int dir;

	(void)snprintf(path, sizeof(path), "%s/pop3d-fuzz.XXXXXX",
	    parent != NULL ? parent : "/tmp");
	CHECK(mkdtemp(path) != NULL);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir != -1);
	return dir;
}

void
fuzz_file(int dir, const char *path, const void *data, size_t octets)
{
	int fd =
	    openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd != -1);
	CHECK(octets == 0 || write(fd, data, octets) == (ssize_t)octets);
	(void)close(fd);
}

void
fuzz_close_from(int first)
{
	for (int fd = first; fd < first + 8; fd++)
		(void)close(fd);
}

int
fuzz_nanosleep(const struct timespec *wait, struct timespec *left)
{
	(void)wait;
	(void)left;
	return 0;
}
