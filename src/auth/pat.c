/*
 * pat.c
 *	  Personal access token from the user mapping.
 *
 * A file of its own as each way to authenticate has one.
 */
#include "postgres.h"

#include "auth/providers.h"

static bool
pat_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = "the user mapping has no option \"token\"";
	return workspace->token != NULL;
}

static char *
pat_token(const DbxWorkspace *workspace, const char **why)
{
	return pstrdup(workspace->token);
}

const DbxAuthProvider dbx_auth_pat = {
	.name = "pat",
	.family = "pat",
	.remedy = "option \"token\" of the user mapping",
	.configured = pat_configured,
	.token = pat_token,
};
