/*
 * listing.c
 *	  Pages of runs/list without waiting.
 *
 * Separate from the pager of src/api, which waits for its pages: the worker has
 * several lists under way at once and other things to do meanwhile.  The end
 * of a list is a missing or empty token, never a short or empty page.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "api/resource.h"
#include "guc.h"
#include "worker/tracked.h"

static void ask(DbxListing *listing, const char *token);
static void check_progress(DbxListing *listing, const char *token);

DbxListing *
dbx_listing_start(const DbxWorkspace *workspace, const char *query)
{
	DbxListing *listing = palloc0(sizeof(DbxListing));

	listing->workspace = workspace;
	listing->context = CurrentMemoryContext;
	listing->query = pstrdup(query);
	ask(listing, NULL);
	return listing;
}

bool
dbx_listing_next(DbxListing *listing, const DbxJson **rows)
{
	DbxCall	   *call = listing->call;
	DbxJson	   *answer;
	const char *token;

	if (call == NULL || !dbx_call_done(call))
		return false;
	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);

	answer = dbx_call_json(call);
	*rows = dbx_json_get(answer, dbx_resource_runs.items);
	token = dbx_json_string(dbx_json_get(answer, "next_page_token"));
	listing->call = NULL;
	dbx_call_free(call);

	listing->pages++;
	if (token != NULL && *token != '\0')
	{
		check_progress(listing, token);
		ask(listing, token);
	}
	return true;
}

bool
dbx_listing_done(const DbxListing *listing)
{
	return listing->call == NULL;
}

static void
ask(DbxListing *listing, const char *token)
{
	MemoryContext  before = MemoryContextSwitchTo(listing->context);
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, listing->query);
	dbx_query_add_int64(&query, dbx_resource_runs.limit_param,
						dbx_resource_runs.page_size);
	if (token != NULL)
		dbx_query_add(&query, "page_token", token);
	spec.method = "GET";
	spec.path = dbx_api_jobs_path(listing->workspace, "runs/list");
	spec.query = query.data;
	spec.caller = "track";
	listing->call = dbx_call_start(listing->workspace, &spec);
	pfree(query.data);
	MemoryContextSwitchTo(before);
}

/*
 * Refuse circles in constant memory: one token is remembered, and replaced
 * whenever the number of pages has doubled.
 */
static void
check_progress(DbxListing *listing, const char *token)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) token,
									  strlen(token), 0);

	if (listing->hash_page > 0 && hash == listing->token_hash)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("the pages of runs/list of workspace \"%s\" go round in circles",
					listing->workspace->name)));
	if (listing->hash_page == 0 || listing->pages >= listing->hash_page * 2)
	{
		listing->token_hash = hash;
		listing->hash_page = listing->pages;
	}
	if (listing->pages >= dbx_guc_max_pages)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("runs/list of workspace \"%s\" has more than %d pages",
						listing->workspace->name, dbx_guc_max_pages),
				 errhint("Raise databricks.max_pages.")));
}
