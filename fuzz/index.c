/* SPDX-License-Identifier: ISC */
/* pop3d.index: any file, with right checksums or not, is read without harm;
 * and what is saved is what comes back, after any number of changes.
 * Input: what to do; then the file, or the changes. */
#include "../index.c"

#include <stdlib.h>

#include "fuzz.h"

enum {
	RIGHT_SUMS = 1,
	RIGHT_RECORDS = 2,
	HONEST = 4,
	MESSAGES_MOST = 64,
	SAVES_MOST = 40
};

static int dir = -1;

/* Makes checksums fit, so that what lies behind them is read; and perhaps the
 * lengths of records. */
static void
correct(char *file, size_t octets, bool right_records)
{
	struct index_header h;
	size_t at = sizeof(h);
	struct record r;

	if (octets < sizeof(h))
		return;
	memcpy(&h, file, sizeof(h));
	while (right_records && octets - at >= sizeof(r)) {
		memcpy(&r, file + at, sizeof(r));
		r.length = (uint16_t)(sizeof(r) + r.length % 8 * 8);
		r.is_there &= 1;
		if (r.length > octets - at)
			break;
		memcpy(file + at, &r, sizeof(r));
		at += r.length;
		file[at - 1] = '\0';
	}
	h.magic = magic;
	h.count %= 16;
	h.end = right_records ? at : sizeof(h) + h.end % (octets + 2);
	if (h.end >= sizeof(h) && h.end <= octets)
		h.records_sum =
		    checksum(file + sizeof(h), h.end - sizeof(h), 1);
	h.sum = header_sum(&h);
	memcpy(file, &h, sizeof(h));
}

static void
check_list(const struct index *x, const struct listing *list)
{
	CHECK(list->count == x->header.count && list->total == list->count);
	CHECK(list->count <= list->room);
	for (size_t i = 0; i < list->count; i++) {
		struct message *m = &list->messages[i];

		CHECK(m->is_there && m->is_stored && !m->is_changed);
		CHECK(m->name < list->names_octets);
		CHECK(memchr(list->names + m->name, '\0',
			  list->names_octets - m->name) != NULL);
		CHECK(listing_search(list, list->names + m->name) == m);
	}
}

static void
read_any(struct text file, unsigned how)
{
	char *copy = fuzz_string(file);
	struct index x = {.fd = -1};
	struct listing list = {0};

	if ((how & RIGHT_SUMS) != 0)
		correct(copy, file.octets, (how & RIGHT_RECORDS) != 0);
	fuzz_file(dir, INDEX_NAME, copy, file.octets);
	free(copy);
	index_open(&x, dir, UINT64_MAX);
	if (index_load(&x, &list) == 0) {
		CHECK(x.fd != -1);
		check_list(&x, &list);
		/* What can be read can be written, and be read again. */
		index_save(&x, dir, &list);
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
	struct listing read = {0};
	size_t n = 0;

	index_open(&again, dir, UINT64_MAX);
	CHECK(again.fd != -1);
	CHECK(memcmp(&again.header, &x->header, sizeof(x->header)) == 0);
	CHECK(index_load(&again, &read) == 0);
	check_list(&again, &read);
	for (size_t i = 0; i < list->count; i++) {
		const struct message *m = &list->messages[i], *r;

		CHECK(m->is_stored == m->is_there);
		if (!m->is_there)
			continue;
		CHECK(n < read.count);
		r = &read.messages[n++];
		CHECK(strcmp(list->names + m->name, read.names + r->name) == 0);
		CHECK(m->octets == r->octets && m->in_cur == r->in_cur &&
		      m->file_octets == r->file_octets && m->time == r->time);
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
	struct message *m = listing_add(list, 0);
	uint64_t octets;

	(void)snprintf(name, sizeof(name), "%u.%.*s:2,%c", 1000 + serial,
	    fuzz_octet(input) % 20, "abcdefghijklmnopqrstuvwxyz",
	    'A' + fuzz_octet(input) % 26);
	octets = fuzz_octet(input);
	CHECK(listing_rename(list, m, name, (octets & 1) != 0) == 0);
	m->octets = octets % 4 == 0 ? OCTETS_UNKNOWN : octets;
	m->file_octets = octets;
	m->time = 1000 + serial;
	list->count++;
}

static void
change(struct text input)
{
	struct listing list = {0};
	struct index x = {.fd = -1};
	unsigned serial = 0, saves = 0;

	(void)unlinkat(dir, INDEX_NAME, 0);
	while (input.octets > 0 && saves < SAVES_MOST) {
		unsigned what = fuzz_octet(&input);
		size_t i = list.count > 0 ? what / 4 % list.count : 0;

		if (what % 4 == 0 || list.count == 0) {
			if (list.count < MESSAGES_MOST)
				add(&list, serial++, &input);
		} else if (what % 4 == 1) {
			list.messages[i].is_there ^= true;
		} else if (what % 4 == 2) {
			list.messages[i].octets = what;
			list.messages[i].is_changed = true;
		} else {
			list.has_twins = (what & 4) != 0;
			saves++;
			index_save(&x, dir, &list);
			CHECK(x.fd != -1);
			check_same(&list, &x);
		}
		if (what == 0xff && x.fd != -1) { /* another session */
			index_close(&x);
			index_open(&x, dir, UINT64_MAX);
			CHECK(index_load(&x, &list) == 0);
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
