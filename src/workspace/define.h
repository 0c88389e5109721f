/*
 * define.h
 *	  Making and altering workspaces: servers and user mappings.
 */
#ifndef DBX_DEFINE_H
#define DBX_DEFINE_H

#include "json/json.h"
#include "workspace/workspace.h"

/*
 * Create the server or alter it; options is a List of DefElem (String value, or
 * NULL argument: drop the option).  Returns its OID; *created says which it was.
 * The rights are those of CREATE SERVER and ALTER SERVER.
 */
extern Oid dbx_workspace_define(const char *name, List *options, bool *created);

/* The same for the user mapping of a role ("public": everybody). */
extern void dbx_workspace_define_mapping(const char *name, const char *role,
										 List *options);

/* Name of the server that has the option is_default, NULL if none has. */
extern char *dbx_workspace_flagged(void);

/* Options out of a JSON object of texts, numbers, booleans and nulls. */
extern List *dbx_workspace_json_options(const DbxJson *object, const char *what);

#endif /* DBX_DEFINE_H */
