/* SPDX-License-Identifier: ISC */
/*
 * Makes the benchmark's mailboxes; runs as their owner.
 *
 *	mailboxes maildir DIRECTORY COUNT OCTETS new|cur
 *	mailboxes mbox FILE COUNT OCTETS
 *	mailboxes deliver DIRECTORY COUNT OCTETS SEED
 *	mailboxes append FILE COUNT OCTETS SEED
 *	mailboxes trim DIRECTORY SEED
 *	mailboxes renew DIRECTORY
 *	mailboxes strip DIRECTORY
 *	mailboxes odd DIRECTORY
 *
 * Messages have OCTETS octets on disk, lines end in LF, and no two are alike.
 * Names are such as Postfix gives: time, device, inode, microseconds, host; in
 * cur/ they end in ":2,S".  deliver writes to tmp/ and renames into new/;
 * append adds to an mbox; trim removes what was delivered with SEED or more;
 * renew moves all of cur/ back to new/; strip removes what Mailutils writes
 *into names; odd makes a Maildir of one message that is awkward to count.
 *Prints the number of messages and their octets in a POP3 client's eyes, that
 *is with CRLF.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIN_OCTETS 512
#define LINE_OCTETS 72
#define FIRST_TIME 1600000000
#define FIRST_INODE 0x1000000

static const char words[] =
    "the quick brown fox jumps over the lazy dog while seventeen sleepy "
    "postmen sort letters by the light of a lamp, and nobody in the whole "
    "office knows which of the sacks was brought in first this morning; ";

static size_t
number(const char *text, size_t max)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value > max)
		errx(100, "not a number up to %zu: %s", max, text);
	return (size_t)value;
}

/* Writes a message of exactly `octets` to text; returns its lines. */
static size_t
compose(char *text, size_t octets, size_t serial)
{
	size_t lines = 0, at, column = 0, word;
	char date[64];
	time_t when = FIRST_TIME + (time_t)serial * 60;
	struct tm tm;

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000",
	    gmtime_r(&when, &tm));
	at = (size_t)snprintf(text, MIN_OCTETS,
	    "Return-Path: <sender%zu@example.org>\n"
	    "Received: from relay.example.org (relay.example.org [192.0.2.1])\n"
	    "\tby mail.example.com (Postfix) with ESMTPS id %08zX\n"
	    "\tfor <bench@example.com>; %s\n"
	    "From: Sender <sender%zu@example.org>\n"
	    "To: bench@example.com\n"
	    "Subject: message number %zu\n"
	    "Date: %s\n"
	    "Message-ID: <%zu.%08zx@example.org>\n"
	    "\n",
	    serial % 97, serial, date, serial % 97, serial, date, serial,
	    serial * 2654435761U % 0xffffffffU);
	word = serial % (sizeof(words) - 1);
	while (at < octets) {
		if (column == LINE_OCTETS - 1 || at == octets - 1) {
			text[at++] = '\n';
			column = 0;
			continue;
		}
		text[at++] = words[word];
		column++;
		word = word + 1 == sizeof(words) - 1 ? 0 : word + 1;
	}
	for (at = 0; at < octets; at++)
		lines += text[at] == '\n';
	return lines;
}

static void
write_all(int fd, const char *text, size_t octets, const char *name)
{
	ssize_t n;

	while (octets > 0) {
		n = write(fd, text, octets);
		if (n == -1)
			err(1, "%s", name);
		text += n;
		octets -= (size_t)n;
	}
}

static void
write_file(int dir, const char *name, const char *text, size_t octets)
{
	int fd =
	    openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd == -1)
		err(1, "%s", name);
	write_all(fd, text, octets, name);
	if (close(fd) == -1)
		err(1, "%s", name);
}

static int
open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		err(1, "%s", name);
	return fd;
}

static void
message_name(char *name, size_t room, size_t serial, const char *info)
{
	snprintf(name, room, "%zu.Vfe00I%zxM%06zu.mail%s",
	    FIRST_TIME + serial * 60, FIRST_INODE + serial,
	    serial * 7919 % 1000000, info);
}

static size_t
make_maildir(const char *path, size_t count, size_t octets, char *text,
    const char *where)
{
	static const char *const below[] = {"tmp", "new", "cur"};
	size_t total = 0;
	char name[128];
	int dir, sub;

	if (mkdir(path, 0700) == -1)
		err(1, "%s", path);
	dir = open_dir(AT_FDCWD, path);
	for (size_t i = 0; i < 3; i++)
		if (mkdirat(dir, below[i], 0700) == -1)
			err(1, "%s/%s", path, below[i]);
	sub = open_dir(dir, where);
	for (size_t i = 0; i < count; i++) {
		total += octets + compose(text, octets, i);
		message_name(name, sizeof(name), i,
		    strcmp(where, "cur") == 0 ? ":2,S" : "");
		write_file(sub, name, text, octets);
	}
	return total;
}

static size_t
deliver(const char *path, size_t count, size_t octets, char *text, size_t seed)
{
	int dir = open_dir(AT_FDCWD, path);
	int tmp = open_dir(dir, "tmp"), new = open_dir(dir, "new");
	size_t total = 0;
	char name[128];

	for (size_t i = 0; i < count; i++) {
		total += octets + compose(text, octets, seed + i);
		message_name(name, sizeof(name), seed + i, "");
		write_file(tmp, name, text, octets);
		if (renameat(tmp, name, new, name) == -1)
			err(1, "%s", name);
	}
	return total;
}

static size_t
append_mbox(const char *path, int flags, size_t count, size_t octets,
    char *text, size_t seed)
{
	static const char from[] =
	    "From sender@example.org Mon Jan  1 00:00:00 2024\n";
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	size_t total = 0;

	if (fd == -1)
		err(1, "%s", path);
	for (size_t i = 0; i < count; i++) {
		total += octets + compose(text, octets, seed + i);
		write_all(fd, from, sizeof(from) - 1, path);
		write_all(fd, text, octets, path);
		write_all(fd, "\n", 1, path);
	}
	if (close(fd) == -1)
		err(1, "%s", path);
	return total;
}

/* Calls act(sub, name, closure) for each message of a directory. */
static void
each(int sub, void (*act)(int, const char *, const void *), const void *closure)
{
	DIR *list = fdopendir(dup(sub));
	struct dirent *entry;

	if (list == NULL)
		err(1, "fdopendir");
	while ((entry = readdir(list)) != NULL)
		if (entry->d_name[0] != '.')
			act(sub, entry->d_name, closure);
	(void)closedir(list);
}

static void
trim_one(int sub, const char *name, const void *closure)
{
	const size_t *seed = closure;
	const char *mark = strstr(name, "I1");

	if (mark != NULL &&
	    strtoull(mark + 1, NULL, 16) >= FIRST_INODE + *seed &&
	    unlinkat(sub, name, 0) == -1)
		err(1, "%s", name);
}

static void
trim(const char *path, size_t seed)
{
	int dir = open_dir(AT_FDCWD, path);

	each(open_dir(dir, "new"), trim_one, &seed);
	each(open_dir(dir, "cur"), trim_one, &seed);
}

static void
renew_one(int cur, const char *from, const void *closure)
{
	const int *new = closure;
	char to[256];

	snprintf(to, sizeof(to), "%.*s", (int)strcspn(from, ":"), from);
	if (renameat(cur, from, *new, to) == -1)
		err(1, "%s", from);
}

static void
renew(const char *path)
{
	int dir = open_dir(AT_FDCWD, path);
	int new = open_dir(dir, "new");

	each(open_dir(dir, "cur"), renew_one, &new);
}

/* Mailutils inserts ",a=O,u=1" before the colon. */
static void
strip_one(int sub, const char *from, const void *closure)
{
	const char *mark = strstr(from, ",a="), *colon = strchr(from, ':');
	char to[256];

	(void)closure;
	if (mark == NULL)
		return;
	snprintf(to, sizeof(to), "%.*s%s", (int)(mark - from), from,
	    colon == NULL ? "" : colon);
	if (renameat(sub, from, sub, to) == -1)
		err(1, "%s", from);
}

static void
strip(const char *path)
{
	int dir = open_dir(AT_FDCWD, path);

	each(open_dir(dir, "new"), strip_one, NULL);
	each(open_dir(dir, "cur"), strip_one, NULL);
}

/* Lines that begin with dots, and empty lines. */
static size_t
make_odd(const char *path)
{
	static const char text[] = "From: odd@example.org\nSubject: odd\n\n"
				   ".\n..two\nplain\n\n.\nlast\n";
	const size_t octets = sizeof(text) - 1;
	char none[MIN_OCTETS];

	(void)make_maildir(path, 0, sizeof(none), none, "cur");
	write_file(open_dir(open_dir(AT_FDCWD, path), "cur"),
	    "1600000000.Vfe00I1M1.mail:2,S", text, octets);
	return octets + 9;
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	size_t count = 0, octets = MIN_OCTETS, seed = 0, total;
	char *text;

	if (argc == 3 && strcmp(mode, "renew") == 0) {
		renew(argv[2]);
		return 0;
	}
	if (argc == 3 && strcmp(mode, "strip") == 0) {
		strip(argv[2]);
		return 0;
	}
	if (argc == 3 && strcmp(mode, "odd") == 0) {
		printf("1 %zu\n", make_odd(argv[2]));
		return 0;
	}
	if (argc == 4 && strcmp(mode, "trim") == 0) {
		trim(argv[2], number(argv[3], 100000000));
		return 0;
	}
	if (argc > 4) {
		count = number(argv[3], 100000000);
		octets = number(argv[4], 1000000000);
	}
	if (octets < MIN_OCTETS)
		errx(100, "a message has at least %d octets", MIN_OCTETS);
	if (argc > 5 && strcmp(mode, "maildir") != 0)
		seed = number(argv[5], 100000000);
	text = malloc(octets);
	if (text == NULL)
		err(1, "malloc");
	if (argc == 6 && strcmp(mode, "maildir") == 0)
		total = make_maildir(argv[2], count, octets, text, argv[5]);
	else if (argc == 6 && strcmp(mode, "deliver") == 0)
		total = deliver(argv[2], count, octets, text, seed);
	else if (argc == 5 && strcmp(mode, "mbox") == 0)
		total = append_mbox(argv[2], O_EXCL, count, octets, text, 0);
	else if (argc == 6 && strcmp(mode, "append") == 0)
		total =
		    append_mbox(argv[2], O_APPEND, count, octets, text, seed);
	else
		errx(100, "usage: see the head of mailboxes.c");
	printf("%zu %zu\n", count, total);
	free(text);
	return 0;
}
