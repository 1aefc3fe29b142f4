/* SPDX-License-Identifier: ISC */
/*
 * The wire: lines in, replies and messages out, every wait with a deadline.
 * Runs in the greeter (unprivileged, a stranger at the other end) and in the
 * session (as the mailbox's owner).
 */
#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	DRAIN_MSEC = 2000,
	/* A pipe that polls as writable takes this much without blocking. */
	PIPE_OCTETS = PIPE_BUF,
	/* A client that vanished is noticed after 60 + 4 * 15 seconds. */
	KEEP_IDLE_SEC = 60,
	KEEP_INTERVAL_SEC = 15,
	KEEP_PROBES = 4,
	TLS_HANDSHAKE = 0x16, /* the first octet of a TLS client hello */
	REPLY_OCTETS = 512,   /* RFC 2449 section 4 */
	DIGITS = 20,	      /* of a number */
	ITEM_OCTETS = DIGITS + 80,
	WIRE_ROOM = 1024, /* less is not worth a line of a message */
	BLOCK_SLACK_MSEC = 20
};

int64_t
now_msec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Fails harmlessly, and is meant to, on anything but TCP. */
static void
set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static bool
is_socket(int fd)
{
	int type;
	socklen_t octets = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &octets) == 0;
}

void
stream_tune(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_SEC);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_SEC);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES);
#endif
#ifdef TCP_USER_TIMEOUT
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
	    (KEEP_IDLE_SEC + KEEP_PROBES * KEEP_INTERVAL_SEC) * 1000);
#endif
}

void
stream_open(
    struct stream *s, int in, int out, bool read_ahead, int64_t idle_msec)
{
	struct timeval wait = {.tv_sec = (time_t)(idle_msec / 1000)};

	s->in = in;
	s->out = out;
	s->in_socket = is_socket(in);
	s->out_socket = is_socket(out);
	s->read_ahead = read_ahead;
	s->first_line = !read_ahead; /* what a stranger says first */
	s->write_msec = idle_msec;
	/* One call a command, instead of two, waits and receives. */
	if (read_ahead && s->in_socket &&
	    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0)
		s->block_msec = idle_msec;
}

/* Waits for fd; 1 ready, 0 the deadline has passed, -1 with errno. */
static int
wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int64_t left;
	int n;

	do {
		left = deadline - now_msec();
		if (left < 0)
			left = 0;
		if (left > INT_MAX)
			left = INT_MAX;
		n = poll(&poll_fd, 1, (int)left);
	} while (n == -1 && errno == EINTR);
	return n;
}

static bool
try_again(void)
{
	return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK;
}

int
stream_flush(struct stream *s)
{
	size_t done = 0;
	ssize_t n;

	while (s->broken == LINE_OK && done < s->out_octets) {
		size_t left = s->out_octets - done;

		if (s->out_socket) {
			n = send(s->out, s->output + done, left,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			errno = EAGAIN;
			n = -1;
		}
		if (n == -1 && try_again()) {
			int ready = wait_for(
			    s->out, POLLOUT, now_msec() + s->write_msec);

			if (ready < 1)
				s->broken =
				    ready == 0 ? LINE_TIMEOUT : LINE_CLOSED;
			if (ready < 1 || s->out_socket)
				continue;
			n = write(s->out, s->output + done,
			    left < PIPE_OCTETS ? left : PIPE_OCTETS);
			if (n == -1 && try_again())
				continue;
		}
		if (n == -1)
			s->broken = LINE_CLOSED;
		else
			done += (size_t)n;
	}
	s->out_octets = 0;
	return s->broken == LINE_OK ? 0 : -1;
}

void
stream_put(struct stream *s, const void *data, size_t octets)
{
	const char *p = data;

	while (octets > 0) {
		size_t room = sizeof(s->output) - s->out_octets;
		size_t part = octets < room ? octets : room;

		memcpy(s->output + s->out_octets, p, part);
		s->out_octets += part;
		p += part;
		octets -= part;
		if (s->out_octets == sizeof(s->output))
			(void)stream_flush(s);
	}
}

/* Takes input, as much as s->read_ahead allows: the octets are in s->input.
 * Returns their number, 0 at the end, -1 with errno. */
static ssize_t
take(struct stream *s, int flags)
{
	const char *lf;
	ssize_t n;

	if (!s->in_socket)
		return read(
		    s->in, s->input, s->read_ahead ? sizeof(s->input) : 1);
	n = recv(s->in, s->input, sizeof(s->input),
	    flags | (s->read_ahead ? 0 : MSG_PEEK));
	if (n <= 0 || s->read_ahead)
		return n;
	/* Consume what was seen, but nothing behind the line: whoever is
	 * to have the rest is another process. */
	lf = memchr(s->input, '\n', (size_t)n);
	s->more_waiting = lf != NULL && lf != s->input + n - 1;
	if (lf != NULL)
		n = lf - s->input + 1;
	return recv(s->in, s->input, (size_t)n, MSG_DONTWAIT);
}

/* Waits for input and takes it. */
static enum line
fill(struct stream *s)
{
	ssize_t n = -1;
	int ready;

	/* Input that never runs dry puts no deadline off. */
	if (now_msec() >= s->deadline)
		return LINE_TIMEOUT;
	if (!s->more_waiting && stream_flush(s) == -1)
		return s->broken;
	/* The wait for a new command is what the socket itself waits, but for
	 * the time since the deadline was set. */
	if (s->block_msec > 0 &&
	    s->deadline - now_msec() > s->block_msec - BLOCK_SLACK_MSEC) {
		n = take(s, 0);
		if (n == -1 && !try_again())
			return LINE_CLOSED;
	}
	while (n == -1) {
		ready = wait_for(s->in, POLLIN, s->deadline);
		if (ready == 0)
			return LINE_TIMEOUT;
		if (ready == 1)
			n = take(s, MSG_DONTWAIT);
		if (n == -1 && (ready == -1 || !try_again()))
			return LINE_CLOSED;
	}
	if (n == 0)
		return LINE_CLOSED;
	s->in_begin = 0;
	s->in_end = (size_t)n;
	return LINE_OK;
}

enum line
stream_line(struct stream *s, char *text, size_t size, size_t *octets)
{
	size_t total = 0;
	const char *lf = NULL;

	while (lf == NULL) {
		enum line status = LINE_OK;
		const char *begin;
		size_t part;

		if (s->in_begin == s->in_end)
			status = fill(s);
		if (status != LINE_OK)
			return status;
		begin = s->input + s->in_begin;
		if (s->first_line && *begin == TLS_HANDSHAKE)
			return LINE_ALIEN;
		s->first_line = false;
		part = s->in_end - s->in_begin;
		lf = memchr(begin, '\n', part);
		if (lf != NULL)
			part = (size_t)(lf - begin) + 1;
		if (total <= size && part <= size - total)
			memcpy(text + total, begin, part);
		else
			total = size; /* with part > 0: too long for good */
		total += part;
		s->in_begin += part;
	}
	s->line_octets = total;
	*octets = size;
	if (total > size)
		return LINE_LONG;
	total--;
	if (total > 0 && text[total - 1] == '\r')
		total--;
	*octets = total;
	return LINE_OK;
}

void
stream_end(struct stream *s)
{
	int64_t deadline = now_msec() + DRAIN_MSEC;

	if (stream_flush(s) == -1 || !s->out_socket ||
	    shutdown(s->out, SHUT_WR) == -1)
		return;
	/* A client that goes on sending has had its moment, too. */
	while (
	    now_msec() < deadline && wait_for(s->in, POLLIN, deadline) == 1) {
		ssize_t n =
		    recv(s->in, s->input, sizeof(s->input), MSG_DONTWAIT);

		if (n == 0 || (n == -1 && !try_again()))
			return;
	}
}

void
stream_wipe(struct stream *s)
{
	/* What lies between has not been used yet. */
	explicit_bzero(s->input, s->in_begin);
	/* And behind is what was seen of the line when it was not yet its
	 * turn. */
	explicit_bzero(s->input + s->in_end, sizeof(s->input) - s->in_end);
}

static void __attribute__((format(printf, 2, 0)))
put_format(struct stream *s, const char *format, va_list arguments)
{
	char text[REPLY_OCTETS];
	int n = vsnprintf(text, sizeof(text) - 2, format, arguments);
	size_t octets;

	if (n < 0)
		n = 0;
	octets = (size_t)n < sizeof(text) - 3 ? (size_t)n : sizeof(text) - 3;
	text[octets++] = '\r';
	text[octets++] = '\n';
	stream_put(s, text, octets);
}

void
reply_ok(struct stream *s, const char *format, ...)
{
	va_list arguments;

	stream_put(s, "+OK ", 4);
	va_start(arguments, format);
	put_format(s, format, arguments);
	va_end(arguments);
}

void
reply_err(struct stream *s, const char *code, const char *format, ...)
{
	va_list arguments;

	stream_put(s, "-ERR ", 5);
	if (code != NULL) {
		stream_put(s, "[", 1);
		stream_put(s, code, strlen(code));
		stream_put(s, "] ", 2);
	}
	va_start(arguments, format);
	put_format(s, format, arguments);
	va_end(arguments);
}

void
reply_line(struct stream *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_format(s, format, arguments);
	va_end(arguments);
}

void
reply_item(struct stream *s, uint64_t number, const char *text)
{
	char digits[DIGITS], *first = digits + DIGITS, *p, *end;

	if (sizeof(s->output) - s->out_octets < ITEM_OCTETS)
		(void)stream_flush(s);
	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	/* In place, and without memcpy: it is not made for a few octets. */
	p = s->output + s->out_octets;
	end = p + ITEM_OCTETS - 2;
	while (first < digits + DIGITS)
		*p++ = *first++;
	*p++ = ' ';
	while (*text != '\0' && p < end)
		*p++ = *text++;
	*p++ = '\r';
	*p++ = '\n';
	s->out_octets = (size_t)(p - s->output);
	if (s->out_octets == sizeof(s->output))
		(void)stream_flush(s);
}

void
reply_dot(struct stream *s)
{
	stream_put(s, ".\r\n", 3);
}

/* Eight octets as a word, and which of them are c: 0x80 for each. */
static uint64_t
load(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static uint64_t
equal(uint64_t word, unsigned char c)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7f;

	word ^= 0x0101010101010101 * c;
	return ~(((word & low) + low) | word | low);
}

void
wire_count(struct wire *w, const char *data, size_t octets)
{
	uint64_t bare = 0, lf;
	size_t i = 1;

	if (octets == 0)
		return;
	bare += data[0] == '\n' && !w->after_cr;
	/* A LF in the octets from i on, without a CR one octet before it. */
	for (; octets - i >= sizeof(lf) && i < octets; i += sizeof(lf)) {
		lf = equal(load(data + i), '\n');
		lf &= ~equal(load(data + i - 1), '\r');
		bare += ((lf >> 7) * 0x0101010101010101) >> 56;
	}
	for (; i < octets; i++)
		bare += data[i] == '\n' && data[i - 1] != '\r';
	w->octets += octets + bare;
	w->after_cr = data[octets - 1] == '\r';
	w->line_octets = data[octets - 1] != '\n';
}

void
wire_count_end(struct wire *w)
{
	if (w->line_octets > 0)
		w->octets += 2;
	w->line_octets = 0;
}

/* Sends a part for which there is room, up to its first LF; returns the
 * octets that were used.  *is_end: the LF was among them. */
static size_t
send_line(struct stream *s, struct wire *w, const char *data, size_t octets,
    bool *is_end)
{
	char *out = s->output + s->out_octets;
	size_t i = 0;

	*is_end = false;
	if (w->line_octets == 0 && data[0] == '.')
		*out++ = '.';
	/* Copied while it is searched, eight octets at a time. */
	for (; octets - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
		uint64_t word = load(data + i);

		if (equal(word, '\n') != 0)
			break;
		memcpy(out, &word, sizeof(word));
		out += sizeof(word);
	}
	for (; i < octets && data[i] != '\n'; i++)
		*out++ = data[i];
	if (i > 0)
		w->after_cr = data[i - 1] == '\r';
	w->line_octets += i;
	w->octets += i;
	if (i < octets) {
		*is_end = true;
		w->octets += w->after_cr ? 1 : 2;
		if (!w->after_cr)
			*out++ = '\r';
		*out++ = data[i++];
	}
	s->out_octets = (size_t)(out - s->output);
	return i;
}

bool
wire_send(struct stream *s, struct wire *w, const char *data, size_t octets)
{
	while (octets > 0) {
		/* At most two octets for one, and two more. */
		size_t room = (sizeof(s->output) - s->out_octets) / 2;
		size_t used;
		bool is_end, is_empty;

		if (room <= WIRE_ROOM && stream_flush(s) == -1)
			return false;
		if (room <= WIRE_ROOM)
			continue;
		room -= 2;
		used = send_line(
		    s, w, data, octets < room ? octets : room, &is_end);
		data += used;
		octets -= used;
		if (!is_end)
			continue;
		is_empty = w->line_octets == (w->after_cr ? 1 : 0);
		w->line_octets = 0;
		w->after_cr = false;
		if (is_empty && !w->in_body)
			w->in_body = true;
		else if (w->in_body && w->body_lines != UINT64_MAX)
			w->body_lines--;
		if (w->in_body && w->body_lines == 0)
			return true;
	}
	return false;
}

void
wire_send_end(struct stream *s, struct wire *w)
{
	if (w->line_octets > 0) {
		stream_put(s, "\r\n", 2);
		w->octets += 2;
	}
	reply_dot(s);
}
