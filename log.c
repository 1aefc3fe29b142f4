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
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum {
	LINE_OCTETS = 4096, /* at most PIPE_BUF: written whole or not at all */
	LINE_RESERVE = 4,   /* no value uses it: a quote and the line's end */
	WAIT_MSEC = 500,    /* for a reader that is behind */
	TRIES = 3,	    /* where others take its room before us */
	SYSLOG_FD = 10
};

static char line[LINE_OCTETS];
static size_t line_octets;
static bool line_is_cut; /* nothing more goes into it */
static int syslog_fd = -1;
static bool use_stderr = true;

/* Whether standard error is the client's, and no terminal. */
static bool
is_clients(void)
{
	struct stat st[3];

	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st[fd]) == -1)
			return false;
	for (int fd = 0; fd < 2; fd++)
		if (st[fd].st_dev == st[2].st_dev &&
		    st[fd].st_ino == st[2].st_ino)
			return !isatty(2);
	return false;
}

/*
 * Many sessions wait for room in one pipe, and all but one of them would then
 * block in their write, for as long as nobody reads.  So the pipe is opened
 * anew, for us and what we start: its flags stay as they are for others.  It
 * may be another user's; then it stays as it is.
 */
static void
unblock(void)
{
	struct stat st;
	int fd;

	if (fstat(2, &st) == -1 || !S_ISFIFO(st.st_mode) ||
	    (fcntl(2, F_GETFL) & O_NONBLOCK) != 0)
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return;
	(void)dup2(fd, 2);
	(void)close(fd);
}

bool
log_open(bool to_syslog)
{
	struct sockaddr_un address = {AF_UNIX, "/dev/log"};
	bool is_client = is_clients();
	int fd;

	use_stderr = !to_syslog && !is_client;
	if (!is_client) /* a checkpassword program has it also with -l */
		unblock();
	if (use_stderr)
		return is_client;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Out of the way of 3 and 4, which a checkpassword program has. */
	syslog_fd = fcntl(fd, F_DUPFD_CLOEXEC, SYSLOG_FD);
	(void)close(fd);
	(void)connect(syslog_fd, (struct sockaddr *)&address, sizeof(address));
	return is_client;
}

/* Adds text as it is; or, escaped, as a value. */
static void
put(const char *text, bool is_value)
{
	bool quote = is_value && strcmp(text, "-") == 0;
	char form[8];

	for (const char *p = text; is_value && *p != '\0'; p++)
		quote |= *p <= ' ' || *p > '~' || strchr("\"\\=", *p) != NULL;
	if (quote)
		put("\"", false);
	quote &= !line_is_cut;
	for (; *text != '\0' && !line_is_cut; text++) {
		size_t octets = 1;

		form[0] = *text;
		if (is_value && (*text < ' ' || *text > '~' || *text == '"' ||
				    *text == '\\'))
			octets = (size_t)snprintf(form, sizeof(form), "\\x%02x",
			    (unsigned char)*text);
		line_is_cut =
		    line_octets + octets + LINE_RESERVE > sizeof(line);
		if (line_is_cut)
			break;
		memcpy(line + line_octets, form, octets);
		line_octets += octets;
	}
	if (quote)
		line[line_octets++] = '"';
}

/* A log that is not read must not stop a session: what cannot be written now
 * is lost, and so is a line to a reader that is gone.  Once one was lost, the
 * next ones wait no more, until one is written. */
static void
write_line(void)
{
	static int wait_msec = WAIT_MSEC;
	struct pollfd fd = {use_stderr ? 2 : syslog_fd, POLLOUT, 0};
	ssize_t n = -1;

	for (int i = 0; i < TRIES && poll(&fd, 1, wait_msec) == 1; i++) {
		n = use_stderr
			? write(2, line, line_octets + 1)
			: send(syslog_fd, line, line_octets, MSG_NOSIGNAL);
		if (n != -1 || errno != EAGAIN)
			break;
	}
	wait_msec = n == -1 ? 0 : WAIT_MSEC;
}

void
log_event(const char *format, ...)
{
	char number[32];
	va_list values;
	int saved = errno;

	line_octets = 0;
	line_is_cut = false;
	if (!use_stderr)
		(void)snprintf(number, sizeof(number), "<%d>pop3d[%ld]: ",
		    LOG_MAIL | (strncmp(format, "debug ", 6) == 0 ? LOG_DEBUG
								  : LOG_INFO),
		    (long)getpid());
	put(use_stderr ? "pop3d: " : number, false);
	put("event=", false);
	va_start(values, format);
	for (; *format != '\0'; format++) {
		const char *value;

		if (strncmp(format, "%s", 2) == 0) {
			value = va_arg(values, const char *);
			if (value != NULL && *value != '\0')
				put(value, true);
			else
				put("-", false);
			format += 1;
		} else if (strncmp(format, "%llu", 4) == 0) {
			(void)snprintf(number, sizeof(number), "%llu",
			    va_arg(values, unsigned long long));
			put(number, false);
			format += 3;
		} else {
			put((char[]){*format, '\0'}, false);
		}
	}
	va_end(values);
	line[line_octets] = '\n';
	write_line();
	errno = saved;
}

void
log_error(const char *what, const char *path)
{
	log_event("error what=%s path=%s error=%s", what, path,
	    errno != 0 ? strerror(errno) : "");
}
