/* SPDX-License-Identifier: ISC */
#ifndef POP3D_UIDL_H
#define POP3D_UIDL_H

struct listing;

/*
 * Unique-ids from a former server: those that the file pop3d.uidl in directory
 * `dir` gives to the messages of `list`, by idx, NULL where it gives none; NULL
 * if there is nothing to be read.  Lines are "name UID".  What is no such line,
 * a name or unique-id given twice, and a unique-id that another message of
 * `list` has by its own name, is ignored and logged.  Never freed.
 */
const char **uidl_load(int dir, const struct listing *list);

#endif
