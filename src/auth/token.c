/*
 * token.c
 *	  Tokens that were asked for, kept and renewed.
 *
 * Separate because what it owns outlives calls and transactions: the list of all
 * tokens of this process, one per user mapping and its settings.  A token is
 * found again only with exactly the settings it was got with, so it can never
 * be used for another mapping, or for one that was altered.
 *
 * A token is renewed by the first call that needs it after its time has come;
 * all others that need it then wait for the same fetch.  While the old one is
 * still good, a renewal that fails is no error: it is tried again a little later.
 *
 * The invalidation callbacks may run anywhere and only mark.  What is marked is
 * not found any more and freed once no call holds it.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "auth/token.h"
#include "workspace/option.h"

/* A token is renewed this long before it expires, or at half of a short life. */
#define MARGIN_MS 120000
/* One with less left is not sent any more: some services refuse it by then. */
#define LEAST_LEFT_MS 40000
/* After a renewal that failed while the old token was good. */
#define PAUSE_MS 60000
/* All attempts to get one. */
#define PATIENCE_MS 60000

struct DbxToken
{
	dlist_node			   node; /* in "tokens" */
	MemoryContext		   context;
	const DbxAuthProvider *provider;
	bool				   second;
	Oid					   umid;
	char				  *digest; /* of the settings */
	uint32				   server_hash;
	uint32				   mapping_hash;
	bool				   stale; /* server or mapping was altered */
	int					   holders;

	char	   *text; /* NULL: none; on its own, to be wiped */
	uint64		number;
	TimestampTz expires;
	TimestampTz last_use; /* not sent after this */
	TimestampTz renewal;  /* to be renewed from then on */
	char	   *found;	  /* by the last fetch, for the next */

	DbxFetch	 *fetch; /* under way */
	uint64		  failures;
	DbxAuthError  error; /* of the last one */
	MemoryContext error_context;
};

static dlist_head tokens = DLIST_STATIC_INIT(tokens);
static uint64	  next_number = 1;

/* Syscache callback: must neither raise nor look into catalogs. */
static void
mark_stale(Datum arg, int cache, uint32 hash)
{
	dlist_iter iter;

	dlist_foreach(iter, &tokens)
	{
		DbxToken *token = dlist_container(DbxToken, node, iter.cur);

		if (hash == 0 ||
			hash ==
				(cache == FOREIGNSERVEROID ? token->server_hash
										   : token->mapping_hash))
			token->stale = true;
	}
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	registered = true;
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, mark_stale, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, mark_stale, (Datum) 0);
}

static void
wipe(char **text)
{
	if (*text == NULL)
		return;
	explicit_bzero(*text, strlen(*text));
	pfree(*text);
	*text = NULL;
}

static void
free_token(DbxToken *token)
{
	dlist_delete(&token->node);
	if (token->fetch != NULL)
		dbx_fetch_free(token->fetch);
	wipe(&token->text);
	wipe(&token->digest);
	MemoryContextDelete(token->context);
}

static void
sweep(TimestampTz now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &tokens)
	{
		DbxToken *token = dlist_container(DbxToken, node, iter.cur);

		if (token->holders == 0 &&
			(token->stale || token->text == NULL || token->expires <= now))
			free_token(token);
	}
}

static DbxToken *
make_token(const DbxAuthProvider *provider, const DbxWorkspace *workspace,
		   bool second, const char *digest)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "databricks token",
												  ALLOCSET_SMALL_SIZES);
	DbxToken	 *token = MemoryContextAllocZero(context, sizeof(DbxToken));

	token->context = context;
	token->provider = provider;
	token->second = second;
	token->umid = workspace->umid;
	token->server_hash = workspace->server_hash;
	token->mapping_hash = workspace->mapping_hash;
	token->digest = MemoryContextStrdup(context, digest);
	token->error_context = AllocSetContextCreate(context,
												 "databricks token error",
												 ALLOCSET_SMALL_SIZES);
	dlist_push_head(&tokens, &token->node);
	return token;
}

DbxToken *
dbx_token_hold(const DbxAuthProvider *provider, const DbxWorkspace *workspace,
			   bool second)
{
	char	  *digest = dbx_option_digest(workspace);
	DbxToken  *found = NULL;
	dlist_iter iter;

	register_callbacks();
	sweep(GetCurrentTimestamp());
	dlist_foreach(iter, &tokens)
	{
		DbxToken *token = dlist_container(DbxToken, node, iter.cur);

		if (!token->stale && token->umid == workspace->umid &&
			token->provider == provider && token->second == second &&
			/* NOLINTNEXTLINE(clang-analyzer-core.*): freed ones left the list */
			strcmp(token->digest, digest) == 0)
			found = token;
	}
	if (found == NULL)
		found = make_token(provider, workspace, second, digest);
	wipe(&digest);
	found->holders++;
	return found;
}

void
dbx_token_release(DbxToken *token)
{
	Assert(token->holders > 0);
	if (--token->holders > 0)
		return;
	/* nobody waits for it any more */
	if (token->fetch != NULL)
	{
		dbx_fetch_free(token->fetch);
		token->fetch = NULL;
	}
	if (token->stale)
		free_token(token);
}

static void
keep_error(DbxToken *token, const DbxAuthError *error)
{
	MemoryContext before;

	MemoryContextReset(token->error_context);
	before = MemoryContextSwitchTo(token->error_context);
	token->error.sqlstate = error->sqlstate;
	token->error.passing = error->passing;
	token->error.message = pstrdup(error->message);
	token->error.hint = error->hint ? pstrdup(error->hint) : NULL;
	MemoryContextSwitchTo(before);
}

/* Times of a token that is good for so long. */
static void
set_times(DbxToken *token, TimestampTz sent, TimestampTz expires)
{
	int64 life = (expires - sent) / 1000;

	token->expires = expires;
	token->renewal = expires - Min(MARGIN_MS, life / 2) * INT64CONST(1000);
	token->last_use = expires - Min(LEAST_LEFT_MS, life / 4) * INT64CONST(1000);
}

/* The fetch is over: keep what it brought. */
static void
take_fetch(DbxToken *token, TimestampTz now)
{
	DbxFetch *fetch = token->fetch;

	token->fetch = NULL;
	if (fetch->token != NULL)
	{
		wipe(&token->text);
		token->text = MemoryContextStrdup(token->context, fetch->token);
		token->number = next_number++;
		set_times(token, fetch->sent, fetch->expires);
		if (token->found != NULL)
			pfree(token->found);
		token->found = fetch->found
			? MemoryContextStrdup(token->context, fetch->found)
			: NULL;
	}
	else
	{
		keep_error(token, &fetch->error);
		token->failures++;
		token->renewal = now + PAUSE_MS * INT64CONST(1000);
		/* what was found may be what is wrong */
		if (token->found != NULL)
			pfree(token->found);
		token->found = NULL;
	}
	dbx_fetch_free(fetch);
}

static bool
usable(const DbxToken *token, TimestampTz now)
{
	return token->text != NULL && now < token->last_use;
}

DbxAuthState
dbx_token_prepare(DbxToken *token, const DbxWorkspace *workspace,
				  uint64 *failures, TimestampTz *due)
{
	TimestampTz now = GetCurrentTimestamp();

	*due = 0;
	if (token->fetch == NULL && !(usable(token, now) && now < token->renewal))
	{
		if (!usable(token, now) && token->failures != *failures)
			return DBX_AUTH_FAILED;
		/* where the old one is still good there is no hurry */
		token->fetch = dbx_fetch_start(
			token->provider, workspace, token->second, token->found,
			usable(token, now) ? 0 : Min(PATIENCE_MS, workspace->retry_timeout));
	}
	if (token->fetch != NULL)
	{
		if (!dbx_fetch_advance(token->fetch, due))
			return DBX_AUTH_WAITING;
		take_fetch(token, GetCurrentTimestamp());
	}
	if (!usable(token, GetCurrentTimestamp()))
		return DBX_AUTH_FAILED;
	*failures = token->failures;
	return DBX_AUTH_READY;
}

uint64
dbx_token_failures(const DbxToken *token)
{
	return token->failures;
}

const DbxAuthError *
dbx_token_error(const DbxToken *token)
{
	return &token->error;
}

const char *
dbx_token_text(const DbxToken *token, uint64 *number)
{
	*number = token->number;
	return token->text;
}

void
dbx_token_refused(DbxToken *token, uint64 number)
{
	/* somebody else may have noticed before, and have a new one already */
	if (token->number == number)
		wipe(&token->text);
}
