/*
 * oidc.c
 *	  Workload identity federation: the signed token of an identity provider is
 *	  exchanged for one of the workspace.  No secret is stored anywhere.
 *
 * Separate from oauth.c for what is special here: where the signed token comes
 * from.  It is read anew each time, since it lives no longer than the token it
 * is exchanged for.
 */
#include "postgres.h"

#include "common/base64.h"

#include "auth/file.h"
#include "auth/oauth.h"
#include "auth/providers.h"
#include "compat.h"
#include "json/json.h"

#define USUAL_VARIABLE "DATABRICKS_OIDC_TOKEN"

static const char *
variable_name(const DbxWorkspace *workspace)
{
	return workspace->oidc_token_env ? workspace->oidc_token_env
									 : USUAL_VARIABLE;
}

static bool
env_oidc_configured(const DbxWorkspace *workspace, const char **why)
{
	const char *value;

	if (!workspace->has_environment && workspace->oidc_token_env == NULL)
	{
		*why = "nothing says to look into the environment of the server";
		return false;
	}
	*why = psprintf("the environment of the server has no variable %s",
					variable_name(workspace));
	value = getenv(variable_name(workspace));
	return value != NULL && *value;
}

static bool
file_oidc_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = "the user mapping has no option \"oidc_token_file\"";
	return workspace->oidc_token_file != NULL;
}

/* The claims of a signed token; NULL if it is none. */
static DbxJson *
read_claims(const char *token)
{
	const char *start = strchr(token, '.');
	const char *end = start ? strchr(start + 1, '.') : NULL;
	char	   *encoded;
	char	   *decoded;
	char	   *at;
	char	   *why;
	int			length;

	if (end == NULL || end - start < 2)
		return NULL;
	/* its own alphabet and no padding, while ours wants the usual one */
	encoded = psprintf("%s===", pnstrdup(start + 1, end - start - 1));
	encoded[(end - start - 1 + 3) / 4 * 4] = '\0';
	for (at = encoded; *at; at++)
		*at = *at == '-' ? '+' : *at == '_' ? '/' : *at;
	length = pg_b64_dec_len(strlen(encoded));
	decoded = palloc(length + 1);
	length = dbx_b64_decode(encoded, strlen(encoded), decoded, length);
	return length < 0 ? NULL : dbx_json_try_parse(decoded, length, &why);
}

/* Is this audience among those the token was made for? */
static bool
has_audience(const DbxJson *claims, const char *audience)
{
	const DbxJson *member = dbx_json_get(claims, "aud");
	const DbxJson *one;

	if (dbx_json_type(member) != DBX_JSON_ARRAY)
		return dbx_json_string(member) != NULL &&
			strcmp(dbx_json_string(member), audience) == 0;
	for (one = dbx_json_first(member); one != NULL; one = dbx_json_next(one))
	{
		if (dbx_json_string(one) != NULL &&
			strcmp(dbx_json_string(one), audience) == 0)
			return true;
	}
	return false;
}

/* Describe the exchange of a signed token, which stands at "source". */
static void
exchange_token(DbxFetch *fetch, const char *token, const char *source)
{
	const DbxWorkspace *workspace = fetch->workspace;
	DbxExchange		   *exchange = &fetch->exchange;
	StringInfoData		form;

	dbx_redact_secret(token);
	dbx_redact_secret(dbx_http_escape(token));
	if (workspace->audience != NULL &&
		!has_audience(read_claims(token), workspace->audience))
	{
		dbx_fetch_fail(
			fetch, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
			psprintf("the signed token in %s is not made for audience \"%s\"",
					 source, workspace->audience),
			"It was not sent. Check option \"audience\" of the server and what the identity provider is asked for.");
		return;
	}
	initStringInfo(&form);
	dbx_oauth_add(&form, "grant_type",
				  "urn:ietf:params:oauth:grant-type:token-exchange");
	dbx_oauth_add(&form, "subject_token_type",
				  "urn:ietf:params:oauth:token-type:jwt");
	dbx_oauth_add(&form, "subject_token", token);
	dbx_oauth_add(&form, "scope", "all-apis");
	if (workspace->client_id != NULL)
		dbx_oauth_add(&form, "client_id", workspace->client_id);
	exchange->what = "the token endpoint";
	exchange->url = fetch->found;
	exchange->form = form.data;
	exchange->last = true;
}

static void
env_oidc_request(DbxFetch *fetch)
{
	const char *name = variable_name(fetch->workspace);

	if (dbx_oauth_find_endpoint(fetch))
		exchange_token(fetch, getenv(name), psprintf("variable %s", name));
}

static void
file_oidc_request(DbxFetch *fetch)
{
	const char *path = fetch->workspace->oidc_token_file;
	const char *why = NULL;
	char	   *token;

	if (!dbx_oauth_find_endpoint(fetch))
		return;
	token = dbx_file_read_token(path, &why);
	if (token == NULL)
		dbx_fetch_fail(
			fetch, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
			psprintf("the file with a signed token \"%s\" %s", path, why),
			"Its name is in option \"oidc_token_file\" of the user mapping.");
	else
		exchange_token(fetch, token, psprintf("\"%s\"", path));
}

const DbxAuthProvider dbx_auth_env_oidc = {
	.name = "env-oidc",
	.remedy = "the signed token in the environment of the server and the federation policy of the service principal",
	.configured = env_oidc_configured,
	.request = env_oidc_request,
	.take = dbx_oauth_take,
};

const DbxAuthProvider dbx_auth_file_oidc = {
	.name = "file-oidc",
	.family = "oidc",
	.remedy = "the file that option \"oidc_token_file\" of the user mapping names and the federation policy of the service principal",
	.configured = file_oidc_configured,
	.request = file_oidc_request,
	.take = dbx_oauth_take,
};
