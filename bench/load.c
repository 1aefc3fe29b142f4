/* SPDX-License-Identifier: ISC */
/*
 * The benchmark's client.  Every reply is checked; anything but +OK ends the
 * program with a message and exit code 1.  Times are printed in microseconds.
 *
 *	load wait PORT
 *	load sessions PORT USER PASSWORD COMMANDS CLIENTS MILLISECONDS
 *	load open PORT USER PASSWORD COMMANDS
 *	load retr PORT USER PASSWORD MSGNO
 *	load retrall PORT USER PASSWORD COUNT WINDOW
 *	load check PORT USER PASSWORD
 *	load idle PORT USER PASSWORD SESSIONS
 *
 * A % in USER is the client's number, from 1: a maildrop is locked by its
 * session.  COMMANDS are separated by commas; UIDL and LIST are read to their
 * end, and their lines are counted.  Data are acknowledged at once, unless the
 * environment has DELAYED_ACK.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_OCTETS (256 * 1024)
#define END "\r\n.\r\n"
#define END_OCTETS 5
#define PATIENCE_SEC 600
#define MAX_COMMANDS 16
#define MAX_CLIENTS 64

/* A connection: what has been read, and not yet used, is pos to len. */
struct conn {
	int fd;
	size_t pos;
	size_t len;
	char buffer[BUFFER_OCTETS];
};

/* One session's figures: a time for each command, and what was counted. */
struct session {
	uint64_t greeting_us;
	uint64_t user_us;
	uint64_t pass_us;
	uint64_t command_us[MAX_COMMANDS];
	uint64_t lines[MAX_COMMANDS];
	uint64_t messages;
	uint64_t octets;
};

struct client {
	pthread_t thread;
	struct conn *conn;
	char user[64];
	uint64_t *times_us;
	size_t count;
	size_t room;
};

static uint16_t port;
static const char *password;
static char command_text[256];
static char *commands[MAX_COMMANDS];
static size_t command_count;
static uint64_t end_us;
static bool delayed;

static void die(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

static void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "load: port %u: ", port);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t
number(const char *text, uint64_t max)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value > max)
		die("not a number up to %" PRIu64 ": %s", max, text);
	return value;
}

static struct conn *
conn_new(void)
{
	struct conn *c = malloc(sizeof(*c));

	if (c == NULL)
		die("no memory");
	return c;
}

/*
 * Acknowledges what comes at once, now and until the next recv: servers that
 * leave Nagle's algorithm on would otherwise wait 40 ms for the kernel's
 * delayed acknowledgement, and nothing of their work were to be seen.
 */
static void
acknowledge(struct conn *c)
{
	const int on = 1;

	if (!delayed)
		(void)setsockopt(
		    c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* Connects to the port; false if nobody listens there. */
static bool
conn_open(struct conn *c)
{
	const struct timeval patience = {.tv_sec = PATIENCE_SEC};
	struct sockaddr_in sin = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int on = 1;

	c->pos = c->len = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		die("socket: %s", strerror(errno));
	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ==
		-1 ||
	    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof(patience)) == -1)
		die("setsockopt: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&sin, sizeof(sin)) == -1) {
		(void)close(c->fd);
		return false;
	}
	acknowledge(c);
	return true;
}

/* Reads more behind len; returns the octets, 0 at the end of file. */
static size_t
conn_fill(struct conn *c)
{
	ssize_t n;

	if (c->pos == c->len)
		c->pos = c->len = 0;
	if (c->len == BUFFER_OCTETS && c->pos > 0) {
		memmove(c->buffer, c->buffer + c->pos, c->len - c->pos);
		c->len -= c->pos;
		c->pos = 0;
	}
	if (c->len == BUFFER_OCTETS)
		die("a line of more than %d octets", BUFFER_OCTETS);
	do
		n = recv(c->fd, c->buffer + c->len, BUFFER_OCTETS - c->len, 0);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		die("recv: %s", strerror(errno));
	c->len += (size_t)n;
	acknowledge(c);
	return (size_t)n;
}

static void
conn_send(struct conn *c, const char *text, size_t octets)
{
	ssize_t n;

	while (octets > 0) {
		n = send(c->fd, text, octets, MSG_NOSIGNAL);
		if (n == -1 && errno != EINTR)
			die("send: %s", strerror(errno));
		if (n > 0) {
			text += n;
			octets -= (size_t)n;
		}
	}
}

/* The next line must begin with +OK; `after` says what was asked.  It is copied
 * where the caller gives room for it. */
static void
expect_ok(struct conn *c, const char *after, char *copy, size_t room)
{
	char *lf;
	size_t octets;

	for (;;) {
		lf = memchr(c->buffer + c->pos, '\n', c->len - c->pos);
		if (lf != NULL)
			break;
		if (conn_fill(c) == 0)
			die("connection closed after %s", after);
	}
	octets = (size_t)(lf + 1 - (c->buffer + c->pos));
	if (octets < 5 || memcmp(c->buffer + c->pos, "+OK", 3) != 0)
		die("after %s: %.*s", after, (int)octets, c->buffer + c->pos);
	if (copy != NULL)
		snprintf(copy, room, "%.*s", (int)octets, c->buffer + c->pos);
	c->pos += octets;
}

static uint64_t
count_lines(const char *text, size_t octets)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < octets; i++)
		lines += text[i] == '\n';
	return lines;
}

/*
 * The rest of a multi-line answer when nothing was pipelined behind it: it ends
 * where the stream stands at CRLF.CRLF, which byte-stuffing keeps out of the
 * middle.  The status line's CRLF, just before pos, may be part of that.
 * Returns its octets without the final dot, and the lines if they are wanted.
 */
static uint64_t
read_to_tail(struct conn *c, uint64_t *lines)
{
	char tail[END_OCTETS] = "   \r\n";
	uint64_t octets = 0;
	size_t n;

	for (;;) {
		n = c->len - c->pos;
		if (n >= END_OCTETS) {
			memcpy(
			    tail, c->buffer + c->len - END_OCTETS, END_OCTETS);
		} else {
			memmove(tail, tail + n, END_OCTETS - n);
			memcpy(tail + END_OCTETS - n, c->buffer + c->pos, n);
		}
		if (lines != NULL)
			*lines += count_lines(c->buffer + c->pos, n);
		octets += n;
		c->pos = c->len;
		if (memcmp(tail, END, END_OCTETS) == 0)
			break;
		if (conn_fill(c) == 0)
			die("connection closed within an answer");
	}
	if (lines != NULL)
		*lines -= 1;
	return octets - 3;
}

/* The same where other answers may follow: the first CRLF.CRLF is looked for.
 */
static void
read_to_end(struct conn *c)
{
	size_t from = c->pos - 2;
	char *found;

	for (;;) {
		found =
		    memmem(c->buffer + from, c->len - from, END, END_OCTETS);
		if (found != NULL)
			break;
		/* Only what may be the beginning of the end is kept. */
		if (c->len - from >= END_OCTETS) {
			memmove(c->buffer, c->buffer + c->len - END_OCTETS + 1,
			    END_OCTETS - 1);
			c->len = END_OCTETS - 1;
			from = 0;
		}
		c->pos = from;
		if (c->len == BUFFER_OCTETS) {
			memmove(c->buffer, c->buffer + from, c->len - from);
			c->len -= from;
			c->pos = from = 0;
		}
		if (conn_fill(c) == 0)
			die("connection closed within an answer");
	}
	c->pos = (size_t)(found + END_OCTETS - c->buffer);
}

static void ask(struct conn *c, char *reply, size_t room, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

static void
ask(struct conn *c, char *reply, size_t room, const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line) - 2, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line) - 2)
		die("too long: %s", line);
	memcpy(line + n, "\r\n", 3);
	conn_send(c, line, (size_t)n + 2);
	line[n] = '\0';
	expect_ok(c, line, reply, room);
}

static void
name_user(char *user, size_t room, const char *format, size_t client)
{
	const char *mark = strchr(format, '%');

	if (mark == NULL)
		snprintf(user, room, "%s", format);
	else
		snprintf(user, room, "%.*s%zu%s", (int)(mark - format), format,
		    client, mark + 1);
}

static void
login(struct conn *c, const char *user, struct session *s)
{
	uint64_t t0 = now_us(), t1, t2;

	if (!conn_open(c))
		die("connect: %s", strerror(errno));
	expect_ok(c, "connect", NULL, 0);
	t1 = now_us();
	ask(c, NULL, 0, "USER %s", user);
	t2 = now_us();
	ask(c, NULL, 0, "PASS %s", password);
	s->greeting_us = t1 - t0;
	s->user_us = t2 - t1;
	s->pass_us = now_us() - t2;
}

/* QUIT, its answer, and the end of the connection. */
static void
quit(struct conn *c)
{
	ask(c, NULL, 0, "QUIT");
	if (conn_fill(c) != 0)
		die("something after QUIT: %.*s", (int)(c->len - c->pos),
		    c->buffer + c->pos);
	(void)close(c->fd);
}

/* A whole session with the commands that were asked for. */
static void
run_session(struct conn *c, const char *user, struct session *s)
{
	char reply[128];
	uint64_t start;

	memset(s, 0, sizeof(*s));
	login(c, user, s);
	for (size_t i = 0; i < command_count; i++) {
		const char *command = commands[i];

		start = now_us();
		ask(c, reply, sizeof(reply), "%s", command);
		if (strcasecmp(command, "UIDL") == 0 ||
		    strcasecmp(command, "LIST") == 0)
			(void)read_to_tail(c, &s->lines[i]);
		else if (strcasecmp(command, "STAT") == 0 &&
			 sscanf(reply, "+OK %" SCNu64 " %" SCNu64, &s->messages,
			     &s->octets) != 2)
			die("STAT: %s", reply);
		s->command_us[i] = now_us() - start;
	}
	quit(c);
	for (size_t i = 0; i < command_count; i++)
		if ((strcasecmp(commands[i], "UIDL") == 0 ||
			strcasecmp(commands[i], "LIST") == 0) &&
		    s->lines[i] != s->messages)
			die("%s had %" PRIu64 " lines, STAT %" PRIu64,
			    commands[i], s->lines[i], s->messages);
}

static void
split_commands(const char *text)
{
	char *rest = command_text;
	char *command;

	if (strlen(text) >= sizeof(command_text))
		die("too many commands");
	snprintf(command_text, sizeof(command_text), "%s", text);
	while ((command = strsep(&rest, ",")) != NULL) {
		/* Every session ends by QUIT. */
		if (strcasecmp(command, "QUIT") == 0 || *command == '\0')
			continue;
		if (command_count == MAX_COMMANDS)
			die("too many commands");
		commands[command_count++] = command;
	}
}

static void *
run_client(void *argument)
{
	struct client *client = argument;
	struct session session;
	uint64_t start;

	while ((start = now_us()) < end_us) {
		run_session(client->conn, client->user, &session);
		if (client->count == client->room) {
			client->room = client->room * 2 + 1024;
			client->times_us = realloc(client->times_us,
			    client->room * sizeof(*client->times_us));
			if (client->times_us == NULL)
				die("no memory");
		}
		client->times_us[client->count++] = now_us() - start;
	}
	return NULL;
}

static int
by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int
do_sessions(const char *user, size_t clients, uint64_t ms)
{
	static struct client client[MAX_CLIENTS];
	uint64_t start = now_us(), elapsed_us;
	uint64_t *times_us;
	size_t count = 0, filled = 0;

	end_us = start + ms * 1000;
	for (size_t i = 0; i < clients; i++) {
		client[i].conn = conn_new();
		name_user(client[i].user, sizeof(client[i].user), user, i + 1);
		if (pthread_create(
			&client[i].thread, NULL, run_client, &client[i]) != 0)
			die("pthread_create");
	}
	for (size_t i = 0; i < clients; i++) {
		pthread_join(client[i].thread, NULL);
		count += client[i].count;
	}
	elapsed_us = now_us() - start;
	times_us = malloc((count + 1) * sizeof(*times_us));
	if (times_us == NULL || count == 0)
		die("no session");
	for (size_t i = 0; i < clients; i++) {
		memcpy(times_us + filled, client[i].times_us,
		    client[i].count * sizeof(*times_us));
		filled += client[i].count;
		free(client[i].times_us);
		free(client[i].conn);
	}
	qsort(times_us, count, sizeof(*times_us), by_value);
	printf("sessions %zu per_second %.1f p50 %" PRIu64 " p99 %" PRIu64 "\n",
	    count, (double)count * 1e6 / (double)elapsed_us,
	    times_us[count / 2], times_us[count - 1 - count / 100]);
	free(times_us);
	return 0;
}

static int
do_open(struct conn *c, const char *user)
{
	struct session s;
	uint64_t start = now_us();

	run_session(c, user, &s);
	printf("total %" PRIu64 " greeting %" PRIu64 " USER %" PRIu64
	       " PASS %" PRIu64,
	    now_us() - start, s.greeting_us, s.user_us, s.pass_us);
	for (size_t i = 0; i < command_count; i++)
		printf(" %s %" PRIu64, commands[i], s.command_us[i]);
	printf(
	    " messages %" PRIu64 " octets %" PRIu64 "\n", s.messages, s.octets);
	return 0;
}

static int
do_retr(struct conn *c, const char *user, uint64_t msgno)
{
	struct session s;
	uint64_t start, octets, time_us;

	login(c, user, &s);
	/* Its size may have to be counted first; that is not what this is. */
	ask(c, NULL, 0, "LIST %" PRIu64, msgno);
	start = now_us();
	ask(c, NULL, 0, "RETR %" PRIu64, msgno);
	octets = read_to_tail(c, NULL);
	time_us = now_us() - start;
	quit(c);
	printf("octets %" PRIu64 " us %" PRIu64 " MB_per_second %.1f\n", octets,
	    time_us, (double)octets / (double)time_us);
	return 0;
}

static int
do_retrall(struct conn *c, const char *user, uint64_t count, uint64_t window)
{
	struct session s;
	uint64_t start, sent = 0, done = 0, time_us;
	char batch[16384];
	size_t octets;

	if (window == 0 || window > sizeof(batch) / 32)
		die("window must be 1 to %zu", sizeof(batch) / 32);
	login(c, user, &s);
	ask(c, NULL, 0, "STAT");
	start = now_us();
	while (done < count) {
		for (octets = 0; sent < count && sent - done < window; sent++)
			octets += (size_t)snprintf(batch + octets,
			    sizeof(batch) - octets, "RETR %" PRIu64 "\r\n",
			    sent + 1);
		conn_send(c, batch, octets);
		do {
			expect_ok(c, "RETR", NULL, 0);
			if (window == 1)
				(void)read_to_tail(c, NULL);
			else
				read_to_end(c);
			done++;
		} while (done < sent && c->pos < c->len);
	}
	time_us = now_us() - start;
	quit(c);
	printf("messages %" PRIu64 " us %" PRIu64 " per_second %.1f\n", count,
	    time_us, (double)count * 1e6 / (double)time_us);
	return 0;
}

/* Message 1: the octets that LIST states and those that RETR sends, with and
 * without byte-stuffing. */
static int
do_check(struct conn *c, const char *user)
{
	static char text[BUFFER_OCTETS];
	struct session s;
	uint64_t stated, octets, stuffed = 0;
	char reply[128];

	login(c, user, &s);
	ask(c, reply, sizeof(reply), "LIST 1");
	if (sscanf(reply, "+OK 1 %" SCNu64, &stated) != 1)
		die("LIST 1: %s", reply);
	ask(c, NULL, 0, "RETR 1");
	/* It is short enough to stay in the buffer as a whole. */
	while (c->len - c->pos < END_OCTETS ||
	       memcmp(c->buffer + c->len - END_OCTETS, END, END_OCTETS) != 0)
		if (conn_fill(c) == 0)
			die("connection closed within an answer");
	octets = c->len - c->pos - 3;
	memcpy(text, c->buffer + c->pos, octets);
	c->pos = c->len;
	for (size_t i = 0; i < octets; i++)
		stuffed += text[i] == '.' && (i == 0 || text[i - 1] == '\n');
	quit(c);
	printf("stated %" PRIu64 " sent %" PRIu64 " unstuffed %" PRIu64 "\n",
	    stated, octets, octets - stuffed);
	return 0;
}

static int
do_idle(const char *user, size_t sessions)
{
	struct conn *conn[MAX_CLIENTS];
	struct session s;
	char name[64];

	for (size_t i = 0; i < sessions; i++) {
		conn[i] = conn_new();
		name_user(name, sizeof(name), user, i + 1);
		login(conn[i], name, &s);
		ask(conn[i], NULL, 0, "STAT");
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	for (size_t i = 0; i < sessions; i++) {
		quit(conn[i]);
		free(conn[i]);
	}
	return 0;
}

/* Until somebody greets on the port, for 20 seconds. */
static int
do_wait(struct conn *c)
{
	const struct timespec pause = {.tv_nsec = 50000000};
	const uint64_t until = now_us() + 20000000;

	while (now_us() < until) {
		if (conn_open(c)) {
			if (conn_fill(c) > 3 &&
			    memcmp(c->buffer, "+OK", 3) == 0) {
				c->pos = c->len;
				quit(c);
				return 0;
			}
			(void)close(c->fd);
		}
		nanosleep(&pause, NULL);
	}
	die("nobody greets");
}

int
main(int argc, char **argv)
{
	static struct conn *c; /* some modes do not use it */
	const char *mode = argc > 2 ? argv[1] : "";

	c = conn_new();
	delayed = getenv("DELAYED_ACK") != NULL;
	if (argc > 2)
		port = (uint16_t)number(argv[2], 65535);
	if (argc == 3 && strcmp(mode, "wait") == 0)
		return do_wait(c);
	if (argc > 4)
		password = argv[4];
	if (argc == 5 && strcmp(mode, "check") == 0)
		return do_check(c, argv[3]);
	if (argc == 6 && strcmp(mode, "retr") == 0)
		return do_retr(c, argv[3], number(argv[5], 10000000));
	if (argc == 6 && strcmp(mode, "idle") == 0)
		return do_idle(argv[3], number(argv[5], MAX_CLIENTS));
	if (argc == 7 && strcmp(mode, "retrall") == 0)
		return do_retrall(c, argv[3], number(argv[5], 10000000),
		    number(argv[6], 10000000));
	if (argc == 6 && strcmp(mode, "open") == 0) {
		split_commands(argv[5]);
		return do_open(c, argv[3]);
	}
	if (argc == 8 && strcmp(mode, "sessions") == 0) {
		split_commands(argv[5]);
		return do_sessions(argv[3], number(argv[6], MAX_CLIENTS),
		    number(argv[7], 3600000));
	}
	fputs("usage: see the head of load.c\n", stderr);
	return 100;
}
