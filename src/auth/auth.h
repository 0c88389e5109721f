/*
 * auth.h
 *	  Credential providers: what puts the Authorization header on a request.
 *
 * Each way to authenticate is one provider behind this vtable; the first one
 * that is configured is used, or the one option auth_type names.
 */
#ifndef DBX_AUTH_H
#define DBX_AUTH_H

#include "workspace/workspace.h"

typedef struct DbxAuthProvider
{
	const char *name; /* as auth_type and check_connection say it */

	/* Is what this provider needs present?  If not, *why says what is missing. */
	bool (*configured)(const DbxWorkspace *workspace, const char **why);

	/* The headers ("Name: value", palloc'd) for the next request. */
	List *(*headers)(const DbxWorkspace *workspace);
} DbxAuthProvider;

/* The provider for a workspace; raises 28000 with reasons when there is none. */
extern const DbxAuthProvider *dbx_auth_provider(const DbxWorkspace *workspace);

#endif /* DBX_AUTH_H */
