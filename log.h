/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LOG_H
#define POP3D_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A log line is built key by key and written at once:
 *	log_begin("login");
 *	log_text("user", user);
 *	log_end();
 * One line at a time; every function keeps errno.
 */

/*
 * Chooses where lines go, for this process and its children: to syslog if
 * `to_syslog` or if standard error is the client's own descriptor (a wrapper
 * such as inetd made all three the same), else to standard error.
 * Returns true if standard error is the client's, so that nobody may write
 * to it.  A syslog that cannot be reached loses the lines, nothing else.
 */
bool log_open(bool to_syslog);

/* The syslog socket, or -1: what a caller that closes all else must keep. */
int log_descriptor(void);

/* Begins a line "event=EVENT"; EVENT is a word of this program's own. */
void log_begin(const char *event);

/* Adds key=value.  Anything but printable ASCII is escaped, so that nothing
 * from the network can forge a line; NULL adds nothing. */
void log_text(const char *key, const char *value);
void log_bytes(const char *key, const void *value, size_t octets);
void log_number(const char *key, uint64_t value);

/* Ends the line and writes it, without ever waiting long for the reader. */
void log_end(void);

/* event=error what=WHAT [path=PATH] [error=strerror(error)]; `error` 0 is
 * left out. */
void log_error(const char *what, const char *path, int error);

#endif
