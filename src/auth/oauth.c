/*
 * oauth.c
 *	  OAuth of the workspace: where its token endpoint is, and tokens for a
 *	  service principal of Databricks with a secret.
 *
 * Finding the endpoint is here rather than in a file of its own because this is
 * its first user; the exchange of signed tokens (oidc.c) is the other.
 *
 * The workspace says in two documents where tokens are given out.  Neither is
 * needed: a workspace without them gives them out at the usual place.
 */
#include "postgres.h"

#include "common/base64.h"

#include "auth/oauth.h"
#include "auth/providers.h"
#include "compat.h"
#include "json/json.h"

enum
{
	STEP_CONFIG,   /* the document of the host */
	STEP_METADATA, /* the document of the authorization server */
	STEP_TOKEN
};

static const char *
base_of(const DbxFetch *fetch)
{
	return fetch->found ? fetch->found
						: psprintf("%s/oidc", fetch->workspace->host);
}

bool
dbx_oauth_find_endpoint(DbxFetch *fetch)
{
	DbxExchange *exchange = &fetch->exchange;

	if (fetch->workspace->token_url != NULL)
	{
		fetch->found = pstrdup(fetch->workspace->token_url);
		fetch->step = STEP_TOKEN;
	}
	else if (fetch->step == STEP_CONFIG && fetch->found != NULL)
		fetch->step = STEP_TOKEN;
	switch (fetch->step)
	{
		case STEP_CONFIG:
			exchange->what = "the configuration of the workspace";
			exchange->url = psprintf("%s/.well-known/databricks-config",
									 fetch->workspace->host);
			exchange->optional = true;
			exchange->impatient = true;
			return false;
		case STEP_METADATA:
			exchange->what = "the description of the authorization server";
			exchange->url = psprintf("%s/.well-known/oauth-authorization-server",
									 base_of(fetch));
			exchange->optional = true;
			return false;
		default:
			return true;
	}
}

void
dbx_oauth_take(DbxFetch *fetch, DbxTransfer *transfer)
{
	const char *member = fetch->step == STEP_CONFIG ? "oidc_endpoint"
													: "token_endpoint";
	const char *url = NULL;
	char	   *why;

	if (transfer != NULL)
	{
		const DbxHttpResponse *response = dbx_http_response(transfer);

		url = dbx_json_string(
			dbx_json_get(dbx_json_try_parse(response->body, response->body_len,
											&why),
						 member));
	}
	/* an address that must not be visited is none */
	if (url != NULL && !dbx_workspace_may_follow(fetch->workspace, url))
		url = NULL;
	if (url == NULL && fetch->step == STEP_METADATA)
		url = psprintf("%s/v1/token", base_of(fetch));
	fetch->found = url ? pstrdup(url) : NULL;
	if (url != NULL && url[strlen(url) - 1] == '/')
		fetch->found[strlen(url) - 1] = '\0';
	fetch->step++;
}

void
dbx_oauth_add(StringInfo form, const char *name, const char *value)
{
	char *escaped = dbx_http_escape(value);

	appendStringInfo(form, "%s%s=%s", form->len ? "&" : "", name, escaped);
}

static bool
m2m_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = workspace->client_id != NULL
		? "option \"client_secret\" is missing beside \"client_id\""
		: workspace->client_secret != NULL
		? "option \"client_id\" is missing beside \"client_secret\""
		: "the user mapping has no options \"client_id\" and \"client_secret\"";
	return workspace->client_id != NULL && workspace->client_secret != NULL;
}

static char *
basic_header(const DbxWorkspace *workspace)
{
	char *pair = psprintf("%s:%s", workspace->client_id,
						  workspace->client_secret);
	int	  length = pg_b64_enc_len(strlen(pair));
	char *encoded = palloc(length + 1);

	length = dbx_b64_encode(pair, strlen(pair), encoded, length);
	encoded[length] = '\0';
	dbx_redact_secret(workspace->client_secret);
	dbx_redact_secret(encoded);
	return psprintf("Authorization: Basic %s", encoded);
}

static void
m2m_request(DbxFetch *fetch)
{
	DbxExchange *exchange = &fetch->exchange;

	if (!dbx_oauth_find_endpoint(fetch))
		return;
	exchange->what = "the token endpoint";
	exchange->url = fetch->found;
	exchange->headers = list_make1(basic_header(fetch->workspace));
	exchange->form = "grant_type=client_credentials&scope=all-apis";
	exchange->last = true;
}

const DbxAuthProvider dbx_auth_oauth_m2m = {
	.name = "oauth-m2m",
	.family = "oauth",
	.remedy = "options \"client_id\" and \"client_secret\" of the user mapping",
	.configured = m2m_configured,
	.request = m2m_request,
	.take = dbx_oauth_take,
};
