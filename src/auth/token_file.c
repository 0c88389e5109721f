/*
 * token_file.c
 *	  Access token from a file of the server, which somebody else renews.
 *
 * A file of its own as each way to authenticate has one.  It is read for every
 * request: a file is at hand at once, and nobody tells when it changes.
 */
#include "postgres.h"

#include "auth/file.h"
#include "auth/providers.h"

static bool
token_file_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = "the user mapping has no option \"token_file\"";
	return workspace->token_file != NULL;
}

static char *
token_file_token(const DbxWorkspace *workspace, const char **why)
{
	const char *reason = NULL;
	char	   *token = dbx_file_read_token(workspace->token_file, &reason);

	if (token == NULL)
		*why = psprintf("the token file \"%s\" %s", workspace->token_file,
						reason);
	return token;
}

const DbxAuthProvider dbx_auth_token_file = {
	.name = "token-file",
	.family = "token file",
	.remedy = "the file that option \"token_file\" of the user mapping names",
	.configured = token_file_configured,
	.token = token_file_token,
};
