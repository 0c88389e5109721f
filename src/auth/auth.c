/*
 * auth.c
 *	  The list of credential providers and the choice among them.
 *
 * Separate from the providers so that none of them knows the others.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "auth/auth.h"
#include "auth/providers.h"

/* In the order of the vendor's unified authentication. */
static const DbxAuthProvider *const providers[] = {
	&dbx_auth_pat,
};

const DbxAuthProvider *
dbx_auth_provider(const DbxWorkspace *workspace)
{
	StringInfoData reasons;
	int			   i;

	initStringInfo(&reasons);
	for (i = 0; i < (int) lengthof(providers); i++)
	{
		const char *why = NULL;

		if (workspace->auth_type != NULL &&
			strcmp(workspace->auth_type, providers[i]->name) != 0)
			continue;
		if (providers[i]->configured(workspace, &why))
			return providers[i];
		appendStringInfo(&reasons, "%s%s: %s", reasons.len ? "; " : "",
						 providers[i]->name, why);
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
		 errmsg("no usable credentials for workspace \"%s\"", workspace->name),
		 errdetail("%s.", reasons.data),
		 errhint(
			 "Add a personal access token to the user mapping: option \"token\".")));
}
