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
	ITEM_OCTETS = DECIMAL_OCTETS + 80,
	WIRE_ROOM = 1024, /* less is not worth a line of a message */
	SLACK_MSEC = 20
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
    struct stream *s, int in, int out, bool read_ahead, unsigned idle_sec)
{
	struct timeval wait = {.tv_sec = idle_sec};

	s->in = in;
	s->out = out;
	s->read_ahead = read_ahead;
	s->first_line = !read_ahead; /* what a stranger says first */
	s->idle_msec = (int64_t)idle_sec * 1000;
	s->end_msec = INT64_MAX;
	/* What is no socket refuses.  One whose time-out is set can wait and
	 * receive by one call a command, instead of two. */
	s->is_socket =
	    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 &&
	    setsockopt(out, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0;
}

/* Waits until fd is ready; s->broken says why it is not. */
static bool
is_ready(struct stream *s, int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int n;

	do {
		int64_t left = deadline - now_msec();

		n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
	} while (n == -1 && errno == EINTR);
	if (n != 1)
		s->broken = n == 0 ? LINE_TIMEOUT : LINE_CLOSED;
	return n == 1;
}

/* Whether a call that transferred n octets did so, or may be tried again;
 * else the connection is broken. */
static bool
is_alive(struct stream *s, ssize_t n)
{
	if (n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN))
		s->broken = LINE_CLOSED;
	return s->broken == LINE_OK;
}

int
stream_flush(struct stream *s)
{
	bool must_wait = !s->is_socket;
	size_t done = 0;

	while (s->broken == LINE_OK && done < s->out_octets) {
		const char *data = s->output + done;
		size_t left = s->out_octets - done;
		ssize_t n;

		if (must_wait &&
		    !is_ready(s, s->out, POLLOUT, now_msec() + s->idle_msec))
			break;
		if (s->is_socket)
			n = send(
			    s->out, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(s->out, data,
			    left < PIPE_OCTETS ? left : PIPE_OCTETS);
		if (is_alive(s, n) && n > 0)
			done += (size_t)n;
		must_wait = true;
	}
	s->out_octets = 0;
	return s->broken == LINE_OK ? 0 : -1;
}

/* Takes input, as much as s->read_ahead allows: the octets are in s->input.
 * Returns their number, 0 at the end, -1 with errno. */
static ssize_t
take(struct stream *s, int flags)
{
	const char *lf;
	ssize_t n;

	if (!s->is_socket)
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

/* Waits for input and takes it; s->broken says why there is none. */
static enum line
fill(struct stream *s)
{
	bool must_wait;
	int64_t left;
	ssize_t n = -1;

	if (!s->more_waiting)
		(void)stream_flush(s);
	left = s->deadline - now_msec();
	/* The wait for a new command is what the socket itself waits, but for
	 * the time since the deadline was set. */
	must_wait = !s->is_socket || left < s->idle_msec - SLACK_MSEC;
	/* Input that never runs dry puts no deadline off. */
	if (s->broken == LINE_OK && left <= 0)
		s->broken = LINE_TIMEOUT;
	while (s->broken == LINE_OK && n == -1) {
		if (must_wait && !is_ready(s, s->in, POLLIN, s->deadline))
			break;
		n = take(s, must_wait ? MSG_DONTWAIT : 0);
		(void)is_alive(s, n);
		must_wait = true;
	}
	s->in_begin = 0;
	s->in_end = n > 0 ? (size_t)n : 0;
	return s->broken;
}

enum line
stream_line(struct stream *s, char *text, size_t *octets)
{
	size_t total = 0;
	const char *lf = NULL;

	while (lf == NULL) {
		const char *begin;
		size_t part;

		if (s->in_begin == s->in_end && fill(s) != LINE_OK)
			return s->broken;
		begin = s->input + s->in_begin;
		if (s->first_line && *begin == TLS_HANDSHAKE)
			return LINE_ALIEN;
		s->first_line = false;
		part = s->in_end - s->in_begin;
		lf = memchr(begin, '\n', part);
		if (lf != NULL)
			part = (size_t)(lf - begin) + 1;
		if (total + part <= SASL_LINE_OCTETS)
			memcpy(text + total, begin, part);
		total += part;
		s->in_begin += part;
	}
	s->line_octets = total;
	if (total > SASL_LINE_OCTETS)
		return LINE_LONG;
	total--;
	if (total > 0 && text[total - 1] == '\r')
		total--;
	*octets = total;
	return LINE_OK;
}

void
stream_await(struct stream *s)
{
	s->deadline = now_msec() + s->idle_msec;
	if (s->deadline > s->end_msec)
		s->deadline = s->end_msec;
}

bool
stream_exactly(struct stream *s, char *data, size_t octets)
{
	while (octets > 0 && is_ready(s, s->in, POLLIN, s->deadline)) {
		ssize_t n = read(s->in, data, octets);

		if (!is_alive(s, n))
			return false;
		data += n > 0 ? n : 0;
		octets -= n > 0 ? (size_t)n : 0;
	}
	return octets == 0;
}

void
stream_end(struct stream *s)
{
	int64_t deadline = now_msec() + DRAIN_MSEC;

	if (stream_flush(s) == -1 || !s->is_socket ||
	    shutdown(s->out, SHUT_WR) == -1)
		return;
	/* A client that goes on sending has had its moment, too. */
	while (
	    now_msec() < deadline && is_ready(s, s->in, POLLIN, deadline) &&
	    is_alive(s, recv(s->in, s->input, sizeof(s->input), MSG_DONTWAIT)))
		;
}

/* Where so many octets have room in the output. */
static char *
room_for(struct stream *s, size_t octets)
{
	if (sizeof(s->output) - s->out_octets < octets)
		(void)stream_flush(s);
	return s->output + s->out_octets;
}

void
reply_line(struct stream *s, const char *format, ...)
{
	char *text = room_for(s, REPLY_OCTETS);
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, REPLY_OCTETS - 1, format, arguments);
	va_end(arguments);
	if (n < 0)
		n = 0;
	if (n > REPLY_OCTETS - 2)
		n = REPLY_OCTETS - 2;
	text[n++] = '\r';
	text[n++] = '\n';
	s->out_octets += (size_t)n;
}

const char *
decimal(uint64_t number, char text[DECIMAL_OCTETS])
{
	char *p = &text[DECIMAL_OCTETS - 1];

	*p = '\0';
	do
		*--p = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return p;
}

void
reply_item(struct stream *s, uint64_t number, const char *text)
{
	char digits[DECIMAL_OCTETS], *out = room_for(s, ITEM_OCTETS);
	char *end = out + ITEM_OCTETS - 2;

	/* Without memcpy: it is not made for a few octets. */
	for (const char *p = decimal(number, digits); *p != '\0'; p++)
		*out++ = *p;
	*out++ = ' ';
	while (*text != '\0' && out < end)
		*out++ = *text++;
	*out++ = '\r';
	*out++ = '\n';
	s->out_octets = (size_t)(out - s->output);
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
	uint64_t bare, lf;
	size_t i = 1;

	if (octets == 0)
		return;
	bare = data[0] == '\n' && !w->after_cr;
	/* A LF in the octets from i on, without a CR one octet before it. */
	for (; octets - i >= sizeof(lf); i += sizeof(lf)) {
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

/* Notes the end of a line; whether that was the last one wanted. */
static bool
end_line(struct wire *w)
{
	if (w->in_body)
		w->body_lines--;
	else
		w->in_body = w->line_octets == w->after_cr;
	w->line_octets = 0;
	w->after_cr = false;
	return w->in_body && w->body_lines == 0;
}

bool
wire_send(struct stream *s, struct wire *w, const char *data, size_t octets)
{
	bool is_cut = false;

	while (octets > 0 && !is_cut) {
		char *out = room_for(s, WIRE_ROOM);
		/* Less a dot and a CR that may be added. */
		size_t room = sizeof(s->output) - s->out_octets - 2;
		size_t part = octets < room ? octets : room, i = 0;
		uint64_t word;

		if (w->line_octets == 0 && data[0] == '.')
			*out++ = '.';
		/* Copied while it is searched, eight octets at a time. */
		for (; part - i >= sizeof(word); i += sizeof(word)) {
			word = load(data + i);
			if (equal(word, '\n') != 0)
				break;
			memcpy(out + i, &word, sizeof(word));
		}
		for (; i < part && data[i] != '\n'; i++)
			out[i] = data[i];
		if (i > 0)
			w->after_cr = data[i - 1] == '\r';
		w->line_octets += i;
		w->octets += i;
		out += i;
		if (i < part) {
			w->octets += w->after_cr ? 1 : 2;
			if (!w->after_cr)
				*out++ = '\r';
			*out++ = data[i++];
			is_cut = end_line(w);
		}
		s->out_octets = (size_t)(out - s->output);
		data += i;
		octets -= i;
	}
	return is_cut;
}

void
wire_send_end(struct stream *s, struct wire *w)
{
	reply_line(s, w->line_octets > 0 ? "\r\n." : ".");
	wire_count_end(w);
}
