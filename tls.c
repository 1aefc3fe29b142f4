/* SPDX-License-Identifier: ISC */
/*
 * STLS by a UCSPI-TLS wrapper: the program around this one does the TLS, when
 * it is told to.  Runs in the monitor, which alone speaks to the wrapper and
 * checks what that says; the wrapper heard it from the network.
 */
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "log.h"

enum { REPORT_OCTETS = 65536, DESCRIPTOR_MOST = 65535 };

/* The descriptor that a variable names, or -1. */
static int
descriptor(const char *name)
{
	const char *text = getenv(name);
	uint64_t fd;

	if (text == NULL || !parse_number(text, strlen(text), &fd) || fd < 3 ||
	    fd > DESCRIPTOR_MOST || fcntl((int)fd, F_SETFD, FD_CLOEXEC) == -1)
		return -1;
	return (int)fd;
}

void
tls_find(struct tls *tls)
{
	const char *policy = getenv("UCSPITLS");

	if (policy != NULL && strcmp(policy, "-") == 0)
		return;
	tls->is_required = policy != NULL && strcmp(policy, "!") == 0;
	if (getenv("SSLCTLFD") == NULL)
		return;
	tls->control = descriptor("SSLCTLFD");
	tls->in = descriptor("SSLREADFD");
	tls->out = descriptor("SSLWRITEFD");
	tls->is_offered = tls->control != -1 && tls->in != -1 && tls->out != -1;
	tls->is_broken = !tls->is_offered;
}

/* NAME=value, or NAME, which unsets; names of other kinds could change what
 * programs do. */
static int
take_record(char *record)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	size_t octets = strspn(record, allowed);
	bool has_value = record[octets] == '=';

	/* SSL_CERT_FILE and SSL_CERT_DIR are whom OpenSSL and curl trust. */
	if (strncmp(record, "SSL_", 4) != 0 ||
	    strncmp(record, "SSL_CERT_", 9) == 0 ||
	    (!has_value && record[octets] != '\0')) {
		record[strcspn(record, "=")] = '\0';
		log_event("error what=%s entry=%s",
		    "the TLS wrapper reports what is not taken", record);
		return 0;
	}
	record[octets] = '\0';
	return has_value ? setenv(record, record + octets + 1, 1)
			 : unsetenv(record);
}

/* Reads records, each ended by a NUL, up to an empty one; 0, or -1. */
static int
read_report(int fd, int64_t deadline)
{
	static char report[REPORT_OCTETS];
	size_t octets = 0, begin = 0;

	while (octets < sizeof(report)) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - now_msec();
		ssize_t n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
		char *end;

		if (n == 1)
			n = read(fd, report + octets, sizeof(report) - octets);
		if (n == -1 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) /* too late, or the handshake failed */
			return -1;
		octets += (size_t)n;
		while ((end = memchr(report + begin, '\0', octets - begin)) !=
		       NULL) {
			if (end == report + begin)
				return 0;
			if (take_record(report + begin) == -1)
				return -1;
			begin = (size_t)(end - report) + 1;
		}
	}
	return -1;
}

int
tls_start(const struct tls *tls, int64_t deadline)
{
	return write(tls->control, "Y", 1) == 1 &&
		       read_report(tls->control, deadline) == 0 &&
		       dup2(tls->in, 0) == 0 && dup2(tls->out, 1) == 1
		   ? 0
		   : -1;
}
