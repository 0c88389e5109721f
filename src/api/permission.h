/*
 * permission.h
 *	  Kinds of objects that have access lists, and the levels of each.
 */
#ifndef DBX_PERMISSION_H
#define DBX_PERMISSION_H

#include "json/json.h"

/*
 * Path of the calls for the access list of an object, in the current context.
 * Raises 22023 for a type without access lists, with the list of those that have.
 */
extern char *dbx_permission_path(const char *object_type, const char *object_id);

/*
 * Raise 22023 for an access list that cannot be meant for this type.  "replaces":
 * it is to be the whole list, so it must hold the owner where there has to be one.
 */
extern void dbx_permission_check_list(const char	*object_type,
									  const DbxJson *list, bool replaces);

#endif /* DBX_PERMISSION_H */
