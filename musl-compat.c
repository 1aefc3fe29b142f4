/* SPDX-License-Identifier: ISC */
/*
 * What Debian's libcrypt.a and libnettle.a want of glibc and musl does not
 * have: the checked forms of three functions that fortified code calls, and
 * arc4random_buf.  Linked by static-cc into the static programs, where a
 * linker takes only what is missing.
 *
 * And the calls that change identity, without what musl does to have all of
 * a process's threads follow, which these programs do not have: it costs
 * forty system calls a session.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <grp.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the plain names are of the time of 16-bit identities. */
#ifndef SYS_setuid32
#define SYS_setuid32 SYS_setuid
#define SYS_setgid32 SYS_setgid
#define SYS_setgroups32 SYS_setgroups
#endif

void __explicit_bzero_chk(void *data, size_t octets, size_t room);
int __snprintf_chk(
    char *text, size_t octets, int flag, size_t room, const char *format, ...);
int __fprintf_chk(FILE *file, int flag, const char *format, ...);
void arc4random_buf(void *data, size_t octets);

/* Each aborts where the caller's own room is exceeded, as glibc's do. */
void
__explicit_bzero_chk(void *data, size_t octets, size_t room)
{
	if (octets > room)
		abort();
	explicit_bzero(data, octets);
}

int
__snprintf_chk(
    char *text, size_t octets, int flag, size_t room, const char *format, ...)
{
	va_list arguments;
	int n;

	(void)flag;
	if (octets > room)
		abort();
	va_start(arguments, format);
	n = vsnprintf(text, octets, format, arguments);
	va_end(arguments);
	return n;
}

int
__fprintf_chk(FILE *file, int flag, const char *format, ...)
{
	va_list arguments;
	int n;

	(void)flag;
	va_start(arguments, format);
	n = vfprintf(file, format, arguments);
	va_end(arguments);
	return n;
}

/* The salt of a new hash; there is no going on without. */
void
arc4random_buf(void *data, size_t octets)
{
	char *p = data;

	while (octets > 0) {
		ssize_t n = getrandom(p, octets, 0);

		if (n == -1)
			abort();
		p += n;
		octets -= (size_t)n;
	}
}

int
setuid(uid_t uid)
{
	return (int)syscall(SYS_setuid32, uid);
}

int
setgid(gid_t gid)
{
	return (int)syscall(SYS_setgid32, gid);
}

int
setgroups(size_t count, const gid_t *groups)
{
	return (int)syscall(SYS_setgroups32, count, groups);
}
