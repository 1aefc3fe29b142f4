/* SPDX-License-Identifier: ISC */
/* TRANSACTION and UPDATE over a Maildir of odd messages.  Every whole line is
 * answered once and rightly, by a model of the RFC; and nothing is removed
 * but what DELE was answered +OK for, and only by QUIT.
 * Input: flags, splits, where output breaks, what is sent. */
#include <stdio.h>

#include "../session.c"

#include <fcntl.h>

#include "fuzz.h"

enum {
	BY_PIPES = 1,
	SILENT = 2,
	NO_FLAGS = 4,
	VERBOSE = 8,
	MESSAGES = 7,
	PATH_MOST = 300
};

/* By delivery time; what each is named by QUIT, after RETR, follows. */
static const struct {
	const char *path, *seen, *uid, *text;
	size_t octets;
} mail[MESSAGES] = {
#define TEXT(text) text, sizeof(text) - 1
    {"new/1.empty", "cur/1.empty:2,S", "1.empty", TEXT("")},
    {"cur/2.dots:2,FT", "cur/2.dots:2,FST", "2.dots",
	TEXT(".\n..\n\n.x\r\n.\r\n\r\n.")},
    {"cur/3.seen:2,RS", "cur/3.seen:2,RS", "3.seen",
	TEXT("Subject: x\r\n\r\nbody\r\n")},
    {"new/4 odd\xff", "cur/4 odd\xff:2,S", "4558709c393c64bf6e5effede834f2d7",
	TEXT("\0\r\xff\n\n\r\r\n\n\nx\r")},
    {"cur/5.other:1,x", "cur/5.other:1,x", "5.other", TEXT("no end")},
    {"new/6", "cur/6:2,S", "6", TEXT("\n\n\n")},
    {"cur/7:2,", "cur/7:2,S", "7", TEXT("a: b\nc: d\n")},
};

static struct {
	size_t octets[MESSAGES];
	bool is_deleted[MESSAGES], is_retrieved[MESSAGES];
	bool has_quit, has_failed;
} model;

static int dir = -1;
static struct client client;

static bool
exists(const char *path)
{
	return faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The Maildir as it was; what a session made of it goes. */
static void
restore(bool all)
{
	if (dir == -1) {
		dir = fuzz_directory();
		CHECK(mkdirat(dir, "new", 0700) == 0);
		CHECK(mkdirat(dir, "cur", 0700) == 0);
		all = true;
	}
	for (size_t i = 0; i < MESSAGES && all; i++) {
		if (strcmp(mail[i].path, mail[i].seen) != 0)
			(void)unlinkat(dir, mail[i].seen, 0);
		if (!exists(mail[i].path))
			fuzz_file(
			    dir, mail[i].path, mail[i].text, mail[i].octets);
	}
}

/* A decimal number below 2^64, and nothing else. */
static bool
number(struct text text, uint64_t *n)
{
	char *digits = fuzz_string(text), *end = digits;

	errno = 0;
	*n = strtoull(digits, &end, 10);
	text.octets -= (size_t)(end - digits);
	/* strtoull takes blanks and signs as well. */
	if (end > digits && (*digits < '0' || *digits > '9'))
		errno = EINVAL;
	if (end == digits || text.octets > 0)
		errno = EINVAL;
	free(digits);
	return errno == 0;
}

/* The message that an argument means, counted from 0; MESSAGES if none. */
static size_t
find(struct text argument)
{
	uint64_t n;

	if (!number(argument, &n) || n < 1 || n > MESSAGES ||
	    model.is_deleted[n - 1])
		return MESSAGES;
	return (size_t)n - 1;
}

static size_t
sum(size_t *count)
{
	size_t octets = 0;

	*count = 0;
	for (size_t i = 0; i < MESSAGES; i++) {
		*count += !model.is_deleted[i];
		octets += model.is_deleted[i] ? 0 : model.octets[i];
	}
	return octets;
}

static void
expect(struct text *replies, const char *text, size_t octets)
{
	CHECK(replies->octets >= octets);
	CHECK(memcmp(replies->at, text, octets) == 0);
	replies->at += octets;
	replies->octets -= octets;
}

/* RETR (UINT64_MAX), or so many lines of the body. */
static void
expect_message(struct text *replies, size_t i, uint64_t lines)
{
	static char text[512];
	size_t n =
	    fuzz_wire((struct text){mail[i].text, mail[i].octets}, true, text);
	bool in_body = false;
	size_t begin = 0;

	for (size_t at = 0; at < n; at++) {
		if (text[at] != '\n')
			continue;
		lines -= in_body;
		in_body |= at == begin + 1 && text[begin] == '\r';
		begin = at + 1;
		if (in_body && lines == 0)
			n = begin;
	}
	expect(replies, text, n);
	expect(replies, ".\r\n", 3);
}

static void
expect_items(struct text *replies, bool is_uidl)
{
	char line[100];

	for (size_t i = 0; i < MESSAGES; i++) {
		if (model.is_deleted[i])
			continue;
		if (is_uidl)
			(void)snprintf(line, sizeof(line), "%zu %s\r\n", i + 1,
			    mail[i].uid);
		else
			(void)snprintf(line, sizeof(line), "%zu %zu\r\n", i + 1,
			    model.octets[i]);
		expect(replies, line, strlen(line));
	}
	expect(replies, ".\r\n", 3);
}

/* Whether a command that takes a message must be answered +OK. */
static bool
check_message(
    struct text command, struct text argument, struct text *replies, bool is_ok)
{
	struct text first = {argument.at, 0};
	size_t i = find(argument);
	uint64_t lines;

	if (fuzz_is(command, "TOP")) {
		(void)fuzz_until(&argument, ' ', &first);
		i = find(first);
		if (!number(argument, &lines))
			return false;
		if (is_ok && i < MESSAGES)
			expect_message(replies, i, lines);
	} else if (fuzz_is(command, "RETR") && is_ok && i < MESSAGES) {
		expect_message(replies, i, UINT64_MAX);
		model.is_retrieved[i] = true;
	} else if (fuzz_is(command, "DELE") && is_ok && i < MESSAGES) {
		model.is_deleted[i] = true;
	}
	return i < MESSAGES;
}

/* STAT, LIST, UIDL and LAST, whose answers hold numbers. */
static void
check_numbers(struct text command, struct text argument, struct text line,
    struct text *replies)
{
	char right[100] = "";
	size_t count, octets = sum(&count), i = find(argument);
	bool is_uidl = fuzz_is(command, "UIDL");

	if (fuzz_is(command, "STAT")) {
		(void)snprintf(
		    right, sizeof(right), "+OK %zu %zu", count, octets);
	} else if (!is_uidl && !fuzz_is(command, "LIST")) {
		return;
	} else if (argument.octets == 0) {
		expect_items(replies, is_uidl);
		return;
	} else if (is_uidl) {
		CHECK(i < MESSAGES);
		(void)snprintf(
		    right, sizeof(right), "+OK %zu %s", i + 1, mail[i].uid);
	} else {
		CHECK(i < MESSAGES);
		(void)snprintf(right, sizeof(right), "+OK %zu %zu", i + 1,
		    model.octets[i]);
	}
	CHECK(fuzz_equal(line, right));
}

/* One command and its whole answer. */
static void
check_answer(struct text command, struct text line, struct text *replies)
{
	static const char *const others[] = {
	    "STAT", "RSET", "NOOP", "LAST", "QUIT", "CAPA"};
	static const char *const messages[] = {"RETR", "TOP", "DELE"};
	struct text argument = command, keyword;
	bool is_ok = fuzz_is_ok(line), must_be = false;

	(void)fuzz_until(&argument, ' ', &keyword);
	while (argument.octets > 0 &&
	       strchr(" \t", argument.at[argument.octets - 1]) != NULL &&
	       argument.at[argument.octets - 1] != '\0')
		argument.octets--;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		must_be |= fuzz_is(command, others[i]) && argument.octets == 0;
	if (fuzz_is(command, "LIST") || fuzz_is(command, "UIDL"))
		must_be = argument.octets == 0 || find(argument) < MESSAGES;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		if (fuzz_is(command, messages[i]))
			must_be =
			    check_message(command, argument, replies, is_ok);
	if (command.octets + 2 > COMMAND_OCTETS) /* or with a bare LF not */
		must_be &= is_ok;
	CHECK(is_ok == must_be);
	if (!is_ok)
		return;
	check_numbers(command, argument, line, replies);
	while (fuzz_is(command, "CAPA") && !fuzz_equal(line, "."))
		CHECK(fuzz_line(replies, true, &line));
	if (fuzz_is(command, "RSET"))
		memset(model.is_deleted, 0, sizeof(model.is_deleted));
	model.has_quit = fuzz_is(command, "QUIT");
}

/* The session as session_run would run it, but that nobody is refused. */
static enum reason
run(unsigned flags)
{
	char holder[LOCK_TEXT_OCTETS], *p = client.options.flags;
	enum reason reason;

	memset(&client, 0, offsetof(struct client, stream.input));
	memset(&drop, 0, offsetof(struct maildrop, buffer));
	memset(&session, 0, sizeof(session));
	deleted = last = 0;
	if ((flags & NO_FLAGS) != 0)
		*p++ = 'P';
	if ((flags & VERBOSE) != 0)
		*p++ = 'v';
	client.options.expire_days = EXPIRE_NEVER;
	stream_open(&client.stream, 0, 1, true, 600);
	drop.dir = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(maildir_open(&drop, "", 0, holder) == 0);
	CHECK(drop.count == MESSAGES);
	reason = command_loop(&client, transaction_commands);
	maildir_close(&drop);
	stream_end(&client.stream);
	index_close(&drop.index);
	listing_free(&drop.list);
	free(drop.uids);
	(void)close(drop.dir);
	return reason;
}

static void
check_files(unsigned flags, bool has_quit)
{
	for (size_t i = 0; i < MESSAGES; i++) {
		bool is_gone = has_quit && model.is_deleted[i];
		bool is_seen = has_quit && model.is_retrieved[i] &&
			       (flags & NO_FLAGS) == 0;
		bool is_same = strcmp(mail[i].path, mail[i].seen) == 0;

		CHECK(exists(mail[i].path) ==
		      (!is_gone && (!is_seen || is_same)));
		CHECK(is_same || exists(mail[i].seen) == (!is_gone && is_seen));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text text = {(const char *)data, octets}, replies, line, command;
	unsigned flags = fuzz_octet(&text), splits = fuzz_octet(&text);
	unsigned breaks = fuzz_octet(&text);
	size_t most = (breaks & 0x80) != 0 ? (breaks & 0x7f) * 16 : SIZE_MAX;
	enum reason reason;

	restore(false);
	memset(&model, 0, sizeof(model));
	for (size_t i = 0; i < MESSAGES; i++) {
		static char wire[512];

		model.octets[i] = fuzz_wire(
		    (struct text){mail[i].text, mail[i].octets}, false, wire);
	}
	fuzz_connect(
	    text, (flags & BY_PIPES) == 0, (flags & SILENT) != 0, splits, most);
	reason = run(flags);
	if (most != SIZE_MAX && fuzz_link.output_octets == most) {
		/* Not all of it came through.  Without QUIT, nothing. */
		if (reason != REASON_QUIT)
			check_files(flags, false);
		restore(true);
		return 0;
	}
	replies = (struct text){fuzz_link.output, fuzz_link.output_octets};
	while (fuzz_line(&replies, true, &line)) {
		CHECK(!model.has_quit);
		CHECK(fuzz_command(&text, &command));
		check_answer(command, line, &replies);
	}
	CHECK(model.has_quit == (reason == REASON_QUIT));
	if (reason == REASON_DISCONNECT || reason == REASON_TIMEOUT)
		CHECK(!fuzz_command(&text, &command));
	check_files(flags, model.has_quit);
	restore(true);
	return 0;
}
