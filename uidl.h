/* SPDX-License-Identifier: ISC */
#ifndef POP3D_UIDL_H
#define POP3D_UIDL_H

#include <stdbool.h>
#include <stddef.h>

struct listing;

/* Unique-ids from a former server. */
struct uidl {
	bool is_loaded;
	char *text;
	struct uidl_entry *entries; /* by name */
	size_t count;
};

/* Reads the file pop3d.uidl in directory `dir`, once: lines "name UID".
 * What is no such line, a name or unique-id given twice, and a unique-id
 * that a message of `list` has by its own name, is ignored and logged. */
void uidl_load(struct uidl *u, int dir, const struct listing *list);

/* The unique-id that the file gives to a message of that name (up to its
 * flags), or NULL. */
const char *uidl_find(const struct uidl *u, const char *name);

#endif
