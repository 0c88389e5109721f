/*
 * option.h
 *	  Options of servers, user mappings and foreign tables.
 *
 * One table describes each option once: where it may stand, what its value
 * looks like, who may set it, and where in a DbxWorkspace it goes.  The
 * validator, the hints and the reader all work from it.
 */
#ifndef DBX_OPTION_H
#define DBX_OPTION_H

#include "workspace/workspace.h"

/*
 * Put the values of a catalog's option list into a workspace.  "catalog" is
 * the catalog the list came from.  Values were checked when they were defined;
 * one that is bad all the same raises.
 */
extern void dbx_option_apply(DbxWorkspace *workspace, List *list, Oid catalog);

/* Fill in the defaults of all options. */
extern void dbx_option_defaults(DbxWorkspace *workspace);

/*
 * Set a text option, checked as if it had been defined, unless it has a value
 * already; true if it was set.
 */
extern bool dbx_option_fill(DbxWorkspace *workspace, const char *name,
							const char *value);

/* A copy of all of a workspace in the current memory context. */
extern DbxWorkspace *dbx_option_copy(const DbxWorkspace *workspace);

/*
 * A text that differs whenever anything differs that credentials may depend
 * on.  It holds secrets.
 */
extern char *dbx_option_digest(const DbxWorkspace *workspace);

/* Have the secrets of a workspace masked from now on. */
extern void dbx_option_redact(const DbxWorkspace *workspace);

/* Is this a user mapping option that holds a secret? */
extern bool dbx_option_is_secret(const char *name);

/*
 * May this role read files of the server and use its identity?  Superusers and
 * members of pg_read_server_files.
 */
extern bool dbx_option_may_read_files(Oid roleid);

#endif /* DBX_OPTION_H */
