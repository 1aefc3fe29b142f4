/* SPDX-License-Identifier: ISC */
/* pop3d.index: any file, with right checksums or not, is read without harm;
 * and what is saved is what comes back, after any number of changes.
 * Input: what to do; then the file, or the changes. */
#include "../index.c"

#include "fuzz.h"

enum {
	RIGHT_SUMS = 1,
	RIGHT_END = 2,
	HONEST = 4,
	MESSAGES_MOST = 64,
	SAVES_MOST =
	    40 /* more than there are blocks before all is written anew */
};

static int dir = -1;

/* Makes checksums fit, so that what lies behind them is read. */
static void
correct(char *file, size_t octets, bool right_end)
{
	struct index_header h;
	size_t at = sizeof(h);
	struct block b;

	if (octets < sizeof(h))
		return;
	memcpy(&h, file, sizeof(h));
	memcpy(h.magic, magic, sizeof(magic));
	h.order = ORDER;
	h.blocks %= 8;
	h.count %= 64;
	for (uint32_t i = 0; i < h.blocks && octets - at >= sizeof(b); i++) {
		size_t end, removed, added;

		memcpy(&b, file + at, sizeof(b));
		b.removed %= 16;
		b.added %= 16;
		b.names_octets = b.names_octets % 256 / 8 * 8;
		removed = ((size_t)b.removed + 1) / 2 * 8;
		added = b.added * sizeof(struct entry);
		end = at + sizeof(b) + removed + added + b.names_octets;
		if (end > octets)
			break;
		file[end - 1] = '\0';
		b.sum = checksum(&b, offsetof(struct block, sum), 1);
		b.sum = checksum(
		    file + at + sizeof(b), end - at - sizeof(b), b.sum);
		memcpy(file + at, &b, sizeof(b));
		at = end;
	}
	if (right_end)
		h.end = at;
	h.sum = header_sum(&h);
	memcpy(file, &h, sizeof(h));
}

static void
check_list(const struct index *x, const struct listing *list)
{
	CHECK(list->count == x->header.count);
	CHECK(list->count <= list->room || list->count == 0);
	for (size_t i = 0; i < list->count; i++) {
		const struct message *m = &list->messages[i];

		CHECK(m->stored == i && !m->is_gone && !m->is_deleted);
		CHECK(m->name < list->names_octets);
		CHECK(memchr(list->names + m->name, '\0',
			  list->names_octets - m->name) != NULL);
		(void)listing_search(list, list->names + m->name);
	}
}

static void
read_any(struct text file, unsigned how)
{
	char *copy = fuzz_string(file);
	struct index x = {.fd = -1};
	struct listing list;

	if ((how & RIGHT_SUMS) != 0)
		correct(copy, file.octets, (how & RIGHT_END) != 0);
	fuzz_file(dir, INDEX_NAME, copy, file.octets);
	free(copy);
	index_open(&x, dir);
	if (index_load(&x, &list) == 0) {
		CHECK(x.fd != -1);
		check_list(&x, &list);
		/* What can be read can be written, and be read again. */
		index_save(&x, dir, &list, &x.header);
		CHECK(x.fd != -1);
		CHECK(x.header.count == list.count);
	} else {
		CHECK(list.count == 0 && list.messages == NULL);
	}
	listing_free(&list);
	index_close(&x);
}

/* Each message that is left, in order, as it is. */
static void
check_same(const struct listing *list, const struct index *x)
{
	struct index again = {.fd = -1};
	uint64_t octets = 0, unsized = 0;
	struct listing read;
	size_t n = 0;

	index_open(&again, dir);
	CHECK(again.fd != -1);
	CHECK(memcmp(&again.header, &x->header, sizeof(x->header)) == 0);
	CHECK(index_load(&again, &read) == 0);
	check_list(&again, &read);
	for (size_t i = 0; i < list->count; i++) {
		const struct message *m = &list->messages[i], *r;

		if (m->is_gone)
			continue;
		CHECK(n < read.count);
		r = &read.messages[n++];
		CHECK(strcmp(list->names + m->name, read.names + r->name) == 0);
		CHECK(m->octets == r->octets && m->in_cur == r->in_cur &&
		      m->file_octets == r->file_octets && m->time == r->time);
		CHECK(m->stored == r->stored);
		if (m->octets == OCTETS_UNKNOWN)
			unsized++;
		else
			octets += m->octets;
	}
	CHECK(n == read.count);
	CHECK(again.header.octets == octets && again.header.unsized == unsized);
	listing_free(&read);
	index_close(&again);
}

/* A message that comes later than all others. */
static void
add(struct listing *list, unsigned serial, struct text *input)
{
	char name[40];
	struct message *m;

	(void)snprintf(name, sizeof(name), "%u.%.*s:2,%c", 1000 + serial,
	    fuzz_octet(input) % 20, "abcdefghijklmnopqrstuvwxyz",
	    'A' + fuzz_octet(input) % 26);
	m = &list->messages[list->count++];
	memset(m, 0, sizeof(*m));
	m->name = (uint32_t)listing_add_name(list, name);
	m->octets = m->file_octets = fuzz_octet(input);
	if (m->octets % 4 == 0)
		m->octets = OCTETS_UNKNOWN;
	m->stored = NOT_STORED;
	m->in_cur = (m->file_octets & 1) != 0;
	listing_set_time(list, m);
}

static void
change(struct text input)
{
	struct listing list = {.room = 1024};
	struct index x = {.fd = -1};
	struct index_header now = {.listed_nsec = 1};
	unsigned serial = 0, saves = 0;

	(void)unlinkat(dir, INDEX_NAME, 0);
	list.messages = calloc(list.room, sizeof(*list.messages));
	while (input.octets > 0 && saves < SAVES_MOST) {
		unsigned what = fuzz_octet(&input);
		size_t i = list.count > 0 ? what / 4 % list.count : 0;

		if (what % 4 == 0 || list.count == 0) {
			if (list.count < MESSAGES_MOST)
				add(&list, serial++, &input);
		} else if (what % 4 == 1) {
			list.messages[i].is_gone = true;
		} else if (what % 4 == 2) {
			list.messages[i].octets = what;
			list.messages[i].stored = NOT_STORED;
		} else {
			now.has_twins = what & 4;
			saves++;
			index_save(&x, dir, &list, &now);
			CHECK(x.fd != -1);
			check_same(&list, &x);
		}
		if (what == 0xff && x.fd != -1) { /* another session */
			index_close(&x);
			index_open(&x, dir);
			listing_free(&list);
			CHECK(index_load(&x, &list) == 0);
			list.messages = realloc(
			    list.messages, 1024 * sizeof(*list.messages));
		}
	}
	listing_free(&list);
	index_close(&x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t octets)
{
	struct text text = {(const char *)data, octets};
	unsigned how = fuzz_octet(&text);

	if (dir == -1)
		dir = fuzz_directory();
	if ((how & HONEST) != 0)
		change(text);
	else
		read_any(text, how);
	return 0;
}
