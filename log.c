/* SPDX-License-Identifier: ISC */
/*
 * The log: one line an event, key=value, to standard error or syslog.
 * Runs in every process of pop3d, as whoever that process is.
 *
 * Syslog is spoken over a datagram socket of our own, connected before a
 * process gives up the right to open anything; libc's syslog() opens late.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#ifndef LOG_SOCKET
#define LOG_SOCKET "/dev/log"
#endif

enum {
	LINE_OCTETS = 4096, /* at most PIPE_BUF: written whole or not at all */
	/* Room that no value may use: closing quotes and the line's end. */
	LINE_RESERVE = 8,
	WAIT_MSEC =
	    500, /* for a reader that is behind; then the line is lost */
};

static char line[LINE_OCTETS];
static size_t line_octets;
static int syslog_fd = -1;
static bool use_stderr = true;

static bool
same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

bool
log_open(bool to_syslog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	bool is_client;

	is_client = (same_file(2, 0) || same_file(2, 1)) && !isatty(2);
	if (!to_syslog && !is_client)
		return is_client;
	use_stderr = false;
	syslog_fd =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (syslog_fd == -1)
		return is_client;
	memcpy(address.sun_path, LOG_SOCKET, sizeof(LOG_SOCKET));
	if (connect(syslog_fd, (struct sockaddr *)&address, sizeof(address)) ==
	    -1) {
		(void)close(syslog_fd);
		syslog_fd = -1;
	}
	return is_client;
}

int
log_descriptor(void)
{
	return syslog_fd;
}

static void
put(const char *text)
{
	size_t octets = strlen(text);

	if (line_octets + octets + LINE_RESERVE > sizeof(line))
		return;
	for (size_t i = 0; i < octets; i++)
		line[line_octets + i] = text[i];
	line_octets += octets;
}

void
log_begin(const char *event)
{
	char tag[64];
	int saved = errno;

	line_octets = 0;
	if (use_stderr)
		put("pop3d: ");
	else {
		(void)snprintf(tag, sizeof(tag),
		    "<%d>pop3d[%ld]: ", LOG_MAIL | LOG_INFO, (long)getpid());
		put(tag);
	}
	put("event=");
	put(event);
	errno = saved;
}

static bool
is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

void
log_bytes(const char *key, const void *value, size_t octets)
{
	const unsigned char *p = value;
	bool quote = octets == 0;
	char escape[8];

	for (size_t i = 0; i < octets; i++)
		quote |= !is_plain(p[i]);
	put(" ");
	put(key);
	put(quote ? "=\"" : "=");
	for (size_t i = 0; i < octets; i++) {
		if (is_plain(p[i]) || p[i] == ' ' || p[i] == '=')
			(void)snprintf(escape, sizeof(escape), "%c", p[i]);
		else
			(void)snprintf(escape, sizeof(escape), "\\x%02x", p[i]);
		put(escape);
	}
	/* Room kept by LINE_RESERVE: a value cut short still ends. */
	if (quote && line_octets + 1 < sizeof(line))
		line[line_octets++] = '"';
}

void
log_text(const char *key, const char *value)
{
	int saved = errno;

	if (value != NULL)
		log_bytes(key, value, strlen(value));
	errno = saved;
}

void
log_number(const char *key, uint64_t value)
{
	char digits[24];
	int saved = errno;

	(void)snprintf(
	    digits, sizeof(digits), "%llu", (unsigned long long)value);
	log_text(key, digits);
	errno = saved;
}

void
log_end(void)
{
	struct pollfd fd = {.fd = 2, .events = POLLOUT};
	int saved = errno;

	if (!use_stderr)
		(void)send(syslog_fd, line, line_octets, MSG_NOSIGNAL);
	else {
		line[line_octets++] = '\n';
		/* A log that is not read must not stop a session: what
		 * cannot be written now is lost, and so is a line to a
		 * reader that is gone. */
		if (poll(&fd, 1, WAIT_MSEC) == 1)
			(void)!write(2, line, line_octets);
	}
	errno = saved;
}

void
log_error(const char *what, const char *path, int error)
{
	log_begin("error");
	log_text("what", what);
	log_text("path", path);
	if (error != 0)
		log_text("error", strerror(error));
	log_end();
	errno = error;
}
