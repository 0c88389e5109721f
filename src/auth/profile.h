/*
 * profile.h
 *	  Profiles of the vendor's tools: sections of a file .databrickscfg.
 */
#ifndef DBX_AUTH_PROFILE_H
#define DBX_AUTH_PROFILE_H

#include "nodes/pg_list.h"

typedef struct DbxProfileEntry
{
	char *key; /* in lower case */
	char *value;
} DbxProfileEntry;

/*
 * The entries of a profile, in order; a key may occur twice, then the last one
 * counts.  "name" NULL: the profile that section [__settings__] names as
 * default_profile, else DEFAULT, whose absence gives NIL.  *used gets the name.
 * "path" is for messages only.  Raises 22023 for a line that is none (its number
 * is told, not its text) and 42704 for a named profile that is not there.
 */
extern List *dbx_profile_parse(const char *text, const char *path,
							   const char *name, const char **used);

#endif /* DBX_AUTH_PROFILE_H */
