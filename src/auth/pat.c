/*
 * pat.c
 *	  Personal access token from the user mapping.
 *
 * A file of its own as each way to authenticate has one.
 */
#include "postgres.h"

#include "auth/providers.h"
#include "http/http.h"

static bool
pat_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = "the user mapping has no option \"token\"";
	return workspace->token != NULL;
}

static List *
pat_headers(const DbxWorkspace *workspace)
{
	dbx_redact_secret(workspace->token);
	return list_make1(psprintf("Authorization: Bearer %s", workspace->token));
}

const DbxAuthProvider dbx_auth_pat = {
	.name = "pat",
	.configured = pat_configured,
	.headers = pat_headers,
};
