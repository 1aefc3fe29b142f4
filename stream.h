/* SPDX-License-Identifier: ISC */
#ifndef POP3D_STREAM_H
#define POP3D_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* RFC 2449 section 4, RFC 5034 section 4; both count the CRLF. */
	COMMAND_OCTETS = 255,
	SASL_LINE_OCTETS = 12288,
	DECIMAL_OCTETS = 21, /* of a number, its NUL included */
	STREAM_INPUT_OCTETS = 4096,
	STREAM_OUTPUT_OCTETS = 65536
};

/* How a wait for a line, or a write, ended. */
enum line {
	LINE_OK,
	LINE_LONG,   /* longer than asked for; discarded to its end */
	LINE_ALIEN,  /* not POP3 at all: the first octets of a TLS hello */
	LINE_CLOSED, /* end of file, or a broken connection */
	LINE_TIMEOUT
};

/* The client's connection: input by lines, gathered output. */
struct stream {
	int in, out;
	bool is_socket;	    /* both are */
	bool read_ahead;    /* may take more than the line asked for */
	bool more_waiting;  /* more was seen behind the last line */
	bool first_line;    /* nothing has been read yet */
	size_t line_octets; /* of the last line, its end included */
	int64_t deadline;   /* for the next line, by now_msec()'s clock */
	int64_t end_msec;   /* for all lines */
	int64_t idle_msec;  /* a write that long without progress fails */
	enum line broken; /* LINE_OK, or LINE_CLOSED or LINE_TIMEOUT for good */
	size_t in_begin, in_end, out_octets;
	char input[STREAM_INPUT_OCTETS];
	char output[STREAM_OUTPUT_OCTETS];
};

/* A message on its way to the client, or the count of what it would take. */
struct wire {
	uint64_t octets;      /* as RFC 1939 section 11 counts them */
	uint64_t body_lines;  /* still to be sent; UINT64_MAX: no limit */
	uint64_t line_octets; /* of a line whose end has not been seen */
	bool in_body;	      /* the empty line has been passed */
	bool after_cr;	      /* the last octet was a CR */
};

/* Milliseconds of a clock that is never set. */
int64_t now_msec(void);

/* Has TCP send replies at once and notice a client that vanished within two
 * minutes; nothing happens to what is not TCP. */
void stream_tune(int fd);

/* Prepares `s` for descriptors in and out.  read_ahead false: not one octet
 * past the line asked for is consumed.  idle_sec is how long lines and writes
 * will be waited for, mostly. */
void stream_open(
    struct stream *s, int in, int out, bool read_ahead, unsigned idle_sec);

/*
 * Reads one line, its CRLF or LF included, into `text`, of SASL_LINE_OCTETS,
 * and strips that end; *octets is the rest, which may hold NUL.  Output is
 * flushed before this waits.  Waits until s->deadline.  If the connection is
 * over, s->broken says so, too.
 */
enum line stream_line(struct stream *s, char *text, size_t *octets);

/* Has the next line wait its time, but no longer than till s->end_msec. */
void stream_await(struct stream *s);

/* Reads just so many octets, by s->deadline; false if they do not come. */
bool stream_exactly(struct stream *s, char *data, size_t octets);

/* Sends what was gathered.  0, or -1 and s->broken says why. */
int stream_flush(struct stream *s);

/* Flushes, ends output and drains input for a moment, lest a reset by TCP
 * overtake the last reply; closes nothing. */
void stream_end(struct stream *s);

/* Gathers one line, of at most 512 octets (RFC 2449 section 4) with its
 * CRLF.  Failure shows in s->broken and at the next flush.  In a multi-line
 * response the caller's text begins with no dot; "." ends it. */
void reply_line(struct stream *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The only places that write a status word.  The format is a literal; that of
 * an error may begin with a response code in brackets (RFC 2449 section 8). */
#define reply_ok(s, ...) reply_line(s, "+OK " __VA_ARGS__)
#define reply_err(s, ...) reply_line(s, "-ERR " __VA_ARGS__)

/* A line "number text" of a multi-line response: less work than a format,
 * where there are a hundred thousand of them. */
void reply_item(struct stream *s, uint64_t number, const char *text);

/* The digits of a number, somewhere in `text`. */
const char *decimal(uint64_t number, char text[DECIMAL_OCTETS]);

/* Adds to w->octets what `data`, the next part of a message, takes on the
 * wire; wire_count_end adds the end of a last line that lacks it.  Pure. */
void wire_count(struct wire *w, const char *data, size_t octets);
void wire_count_end(struct wire *w);

/* Sends `data`, the next part of a message: line ends as CRLF, dots at the
 * start of a line doubled; adds to w->octets as wire_count does.  Returns true
 * when w->body_lines are used up. */
bool wire_send(
    struct stream *s, struct wire *w, const char *data, size_t octets);

/* Ends a last line that lacks its end, and the response. */
void wire_send_end(struct stream *s, struct wire *w);

#endif
