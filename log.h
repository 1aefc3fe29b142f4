/* SPDX-License-Identifier: ISC */
#ifndef POP3D_LOG_H
#define POP3D_LOG_H

#include <stdbool.h>

/*
 * Chooses where lines go, for this process: to syslog if `to_syslog` or if
 * standard error is the client's own descriptor (a wrapper such as inetd made
 * all three the same), else to standard error.  Returns true if standard
 * error is the client's, so that nobody may write there.  A syslog that
 * cannot be reached loses the lines, nothing else.  A pipe as standard error
 * blocks nobody from here on, if it may be opened anew.
 */
bool log_open(bool to_syslog);

/*
 * Writes one line, "event=" and the format: "word key=%s key=%llu", with no
 * other conversions.  A value is quoted and escaped where it is not plain, so
 * that nothing from the network can forge a line; NULL and "" become "-". Keeps
 * errno, and never waits long, nor twice, for a log that nobody reads.
 */
void log_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* event=error what=WHAT path=PATH error=TEXT, the text being errno's. */
void log_error(const char *what, const char *path);

#endif
