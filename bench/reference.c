/* SPDX-License-Identifier: ISC */
/*
 * What the speed of RETR is compared with: the same octets over the same kind
 * of connection, without a mail server.
 *
 *	reference PORT FILE CRLF-FILE
 *
 * serves one connection after the other on 127.0.0.1 and answers +OK to
 * everything.  RETR 1 sends CRLF-FILE, which is written first, by sendfile(2);
 * RETR 2 reads FILE, finds its lines by memchr, copies them into a buffer with
 * CRLF and dot-stuffing, and writes that.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_OCTETS ((size_t)128 * 1024)

static void
write_all(int fd, const char *text, size_t octets)
{
	ssize_t n;

	while (octets > 0) {
		n = write(fd, text, octets);
		if (n == -1)
			err(1, "write");
		text += n;
		octets -= (size_t)n;
	}
}

static void
say(int fd, const char *text)
{
	write_all(fd, text, strlen(text));
}

/* Converts one block; *begins says whether a line begins with it, and with
 * what follows it.  Returns the octets in out, which has room for twice as
 * many as go in, and for each of those may be a line's dot. */
static size_t
convert(const char *in, size_t octets, char *out, bool *begins)
{
	const char *end = in + octets;
	char *to = out;

	while (in < end) {
		const char *lf = memchr(in, '\n', (size_t)(end - in));
		size_t n = (size_t)((lf == NULL ? end : lf) - in);

		if (*begins && *in == '.')
			*to++ = '.';
		memcpy(to, in, n);
		to += n;
		in += n;
		*begins = lf != NULL;
		if (lf != NULL) {
			*to++ = '\r';
			*to++ = '\n';
			in++;
		}
	}
	return (size_t)(to - out);
}

static void
send_converted(const char *file, int to)
{
	static char in[BLOCK_OCTETS], out[3 * BLOCK_OCTETS];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	bool begins = true;
	ssize_t n;

	if (fd == -1)
		err(1, "%s", file);
	while ((n = read(fd, in, sizeof(in))) > 0)
		write_all(to, out, convert(in, (size_t)n, out, &begins));
	if (n == -1)
		err(1, "%s", file);
	(void)close(fd);
}

static void
send_file(const char *file, int to)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd == -1)
		err(1, "%s", file);
	while ((n = sendfile(to, fd, NULL, 1 << 30)) > 0)
		;
	if (n == -1)
		err(1, "sendfile");
	(void)close(fd);
}

static void
serve(int client, const char *file, const char *crlf_file)
{
	char line[256];
	FILE *in = fdopen(client, "r");
	const int on = 1;

	if (in == NULL)
		err(1, "fdopen");
	(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	say(client, "+OK\r\n");
	while (fgets(line, sizeof(line), in) != NULL) {
		say(client, "+OK\r\n");
		if (strncasecmp(line, "QUIT", 4) == 0)
			break;
		if (strncasecmp(line, "RETR", 4) != 0)
			continue;
		if (line[5] == '1')
			send_file(crlf_file, client);
		else
			send_converted(file, client);
		say(client, ".\r\n");
	}
	(void)fclose(in);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int on = 1;
	int fd;

	if (argc != 4)
		errx(100, "usage: reference port file crlf-file");
	signal(SIGPIPE, SIG_IGN);
	fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd == -1)
		err(1, "%s", argv[3]);
	send_converted(argv[2], fd);
	if (close(fd) == -1)
		err(1, "%s", argv[3]);
	sin.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == -1 ||
	    listen(fd, 16) == -1)
		err(1, "port %s", argv[1]);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client == -1)
			err(1, "accept");
		serve(client, argv[2], argv[3]);
	}
}
