/*
 * auth.c
 *	  The choice among credential providers, and the credentials of one call.
 *
 * Separate from the providers so that none of them knows the others, and from
 * token.c since a call may need two tokens, or one that nobody has to be asked
 * for.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "auth/token.h"

/* In the order of the vendor's unified authentication, ours at the end. */
static const DbxAuthProvider *const providers[] = {
	&dbx_auth_pat,		  &dbx_auth_oauth_m2m, &dbx_auth_env_oidc,
	&dbx_auth_file_oidc,  &dbx_auth_azure_msi, &dbx_auth_azure_sp,
	&dbx_auth_token_file,
};

#define TOKENS 2

struct DbxAuth
{
	MemoryContextCallback  on_reset;
	const DbxWorkspace	  *workspace;
	const DbxAuthProvider *provider;
	char				  *text; /* of a token at hand, else NULL */
	DbxToken			  *tokens[TOKENS];
	uint64				   failures[TOKENS];
	uint64				   used[TOKENS]; /* numbers, on the last request */
	int					   ntokens;
	bool				   refused; /* the last request */
	DbxAuthError		   error;
};

/* Why no provider can be chosen. */
typedef struct Trouble
{
	const char *message;
	const char *detail; /* without period */
	const char *hint;
} Trouble;

/* The families of all that is configured; true if there are two. */
static bool
two_families(const DbxWorkspace *workspace, Trouble *trouble)
{
	const char *first = workspace->has_password ? "basic" : NULL;
	int			i;

	for (i = 0; i < (int) lengthof(providers); i++)
	{
		const char *family = providers[i]->family;
		const char *why;

		if (family == NULL || !providers[i]->configured(workspace, &why) ||
			(first != NULL && strcmp(first, family) == 0))
			continue;
		if (first != NULL)
		{
			trouble->message = psprintf(
				"more than one way to authenticate is configured for workspace \"%s\": %s and %s",
				workspace->name, first, family);
			trouble->hint = psprintf(
				"Drop the options of one of them, or choose: ALTER SERVER %s OPTIONS (ADD auth_type '%s').",
				quote_identifier(workspace->name), providers[i]->name);
			return true;
		}
		first = family;
	}
	return false;
}

/* The provider to use; NULL: *trouble says why there is none. */
static const DbxAuthProvider *
choose(const DbxWorkspace *workspace, Trouble *trouble)
{
	const char	  *wanted = workspace->auth_type;
	StringInfoData reasons;
	int			   i;

	memset(trouble, 0, sizeof(Trouble));
	if (wanted == NULL && two_families(workspace, trouble))
		return NULL;
	initStringInfo(&reasons);
	for (i = 0; i < (int) lengthof(providers); i++)
	{
		const char *why = NULL;

		if (wanted != NULL && strcmp(wanted, providers[i]->name) != 0)
			continue;
		if (providers[i]->configured(workspace, &why))
			return providers[i];
		appendStringInfo(&reasons, "%s%s: %s", reasons.len ? "; " : "",
						 providers[i]->name, why);
	}
	trouble->message = psprintf("no usable credentials for workspace \"%s\"",
								workspace->name);
	trouble->detail = reasons.data;
	trouble->hint =
		"Add a personal access token (option \"token\") or a service principal (options \"client_id\" and \"client_secret\") to the user mapping.";
	if (workspace->has_password && wanted == NULL)
		trouble->detail =
			"There are a user name and a password, but the service no longer accepts them (basic authentication)";
	else if (wanted != NULL)
		trouble->hint = psprintf(
			"Set what is missing, or let the way be chosen: ALTER SERVER %s OPTIONS (DROP auth_type).",
			quote_identifier(workspace->name));
	return NULL;
}

/* What became of the ways that were not chosen, as the end of a sentence. */
static char *
others(const DbxWorkspace *workspace, const DbxAuthProvider *chosen)
{
	StringInfoData passed_over;
	StringInfoData missing;
	int			   i;

	initStringInfo(&passed_over);
	initStringInfo(&missing);
	for (i = 0; i < (int) lengthof(providers); i++)
	{
		const char *name = providers[i]->name;
		const char *why;

		if (providers[i] == chosen)
			continue;
		if (!providers[i]->configured(workspace, &why))
			appendStringInfo(&missing, "%s %s", missing.len ? "," : "", name);
		else if (workspace->auth_type != NULL)
			appendStringInfo(&passed_over, "; not by %s, since auth_type is %s",
							 name, workspace->auth_type);
		else
			appendStringInfo(&passed_over, "; not by %s, since %s comes first",
							 name, chosen->name);
	}
	return psprintf("by %s%s; not configured:%s", chosen->name,
					passed_over.data, missing.data);
}

const char *
dbx_auth_choice(const DbxWorkspace *workspace, const char **why)
{
	Trouble				   trouble;
	const DbxAuthProvider *provider = choose(workspace, &trouble);

	if (provider != NULL)
	{
		*why = others(workspace, provider);
		return provider->name;
	}
	*why = psprintf("%s%s%s. %s", trouble.message, trouble.detail ? ": " : "",
					trouble.detail ? trouble.detail : "", trouble.hint);
	return NULL;
}

/* Reset callback: must not raise. */
static void
release(void *arg)
{
	DbxAuth *auth = arg;

	while (auth->ntokens > 0)
		dbx_token_release(auth->tokens[--auth->ntokens]);
}

static void
hold_token(DbxAuth *auth)
{
	int number = auth->ntokens;

	auth->tokens[number] = dbx_token_hold(auth->provider, auth->workspace,
										  number > 0);
	auth->failures[number] = dbx_token_failures(auth->tokens[number]);
	auth->ntokens++;
}

DbxAuth *
dbx_auth_open(const DbxWorkspace *workspace)
{
	DbxAuth				  *auth;
	Trouble				   trouble;
	const DbxAuthProvider *provider = choose(workspace, &trouble);

	if (provider == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("%s", trouble.message),
				 trouble.detail ? errdetail("%s.", trouble.detail) : 0,
				 errhint("%s", trouble.hint)));
	auth = palloc0(sizeof(DbxAuth));
	auth->workspace = workspace;
	auth->provider = provider;
	auth->on_reset.func = release;
	auth->on_reset.arg = auth;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &auth->on_reset);
	if (provider->request != NULL)
	{
		hold_token(auth);
		if (provider->wants_second != NULL && provider->wants_second(workspace))
			hold_token(auth);
	}
	return auth;
}

/* A token that is at hand. */
static DbxAuthState
take_token(DbxAuth *auth)
{
	const char *why = NULL;

	auth->text = auth->provider->token(auth->workspace, &why);
	if (auth->text != NULL)
		return DBX_AUTH_READY;
	auth->error.sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	auth->error.message = why;
	auth->error.hint = psprintf("Check %s.", auth->provider->remedy);
	return DBX_AUTH_FAILED;
}

DbxAuthState
dbx_auth_prepare(DbxAuth *auth, TimestampTz *due)
{
	DbxAuthState result = DBX_AUTH_READY;
	int			 i;

	*due = 0;
	if (auth->ntokens == 0)
		return take_token(auth);
	for (i = 0; i < auth->ntokens; i++)
	{
		TimestampTz	 at;
		DbxAuthState state = dbx_token_prepare(auth->tokens[i], auth->workspace,
											   &auth->failures[i], &at);

		if (state == DBX_AUTH_FAILED)
		{
			auth->error = *dbx_token_error(auth->tokens[i]);
			return DBX_AUTH_FAILED;
		}
		if (state == DBX_AUTH_WAITING)
			result = DBX_AUTH_WAITING;
		if (at != 0 && (*due == 0 || at < *due))
			*due = at;
	}
	return result;
}

List *
dbx_auth_headers(DbxAuth *auth)
{
	const char *text = auth->text;
	List	   *headers = NIL;
	int			i;

	for (i = 0; i == 0 || i < auth->ntokens; i++)
	{
		if (auth->ntokens > 0)
			text = dbx_token_text(auth->tokens[i], &auth->used[i]);
		/* the secrets that led to it may have been pushed out meanwhile */
		dbx_redact_secret(text);
		if (i == 0)
			headers = list_make1(psprintf("Authorization: Bearer %s", text));
		else
			headers = list_concat(headers,
								  auth->provider->second_headers(auth->workspace,
																 text));
	}
	return headers;
}

bool
dbx_auth_refused(DbxAuth *auth)
{
	bool  before = auth->refused;
	char *text = auth->text;
	int	  i;

	auth->refused = true;
	if (before)
		return false;
	if (auth->ntokens == 0)
	{
		/* a token at hand may have been replaced just now */
		return take_token(auth) == DBX_AUTH_READY &&
			strcmp(auth->text, text) != 0;
	}
	for (i = 0; i < auth->ntokens; i++)
		dbx_token_refused(auth->tokens[i], auth->used[i]);
	return true;
}

const DbxAuthError *
dbx_auth_error(const DbxAuth *auth)
{
	return &auth->error;
}

const char *
dbx_auth_name(const DbxAuth *auth)
{
	return auth->provider->name;
}

char *
dbx_auth_hint(const DbxAuth *auth)
{
	if (auth->provider == &dbx_auth_pat)
		return psprintf(
			"Check %s: ALTER USER MAPPING FOR ... SERVER %s OPTIONS (SET token '...').",
			auth->provider->remedy, quote_identifier(auth->workspace->name));
	return psprintf("Check %s.", auth->provider->remedy);
}

char *
dbx_auth_user_agent(const char *auth_type)
{
	/* the number alone: what a distribution adds to it is no token of a header */
	return psprintf(
		"User-Agent: databricks-postgresql/%s postgresql/%.*s os/linux auth/%s",
		DBX_VERSION, (int) strcspn(PG_VERSION, " "), PG_VERSION, auth_type);
}
