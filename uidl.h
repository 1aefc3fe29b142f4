/* SPDX-License-Identifier: ISC */
#ifndef POP3D_UIDL_H
#define POP3D_UIDL_H

struct listing;

/*
 * Unique-ids from a former server: *uids are those that the file pop3d.uidl in
 * directory `dir` gives to the messages of `list`, by idx, NULL where it gives
 * none; or NULL if there is nothing to be read.  Lines are "name UID".  What is
 * no such line, a name or unique-id given twice, and a unique-id that another
 * message of `list` has by its own name, is ignored and logged, and so is a
 * file that may not be read.  Never freed.  0; or -1 if it may be read another
 * time.
 */
int uidl_load(int dir, const struct listing *list, const char ***uids);

#endif
