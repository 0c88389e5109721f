/*
 * listing.c
 *	  Pages of runs/list and runs/get without waiting.
 *
 * Separate from the pager of src/api, which waits for its pages: the worker has
 * several lists under way at once and other things to do meanwhile.  The end
 * of a list is a missing or empty token, never a short or empty page.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "api/resource.h"
#include "worker/tracked.h"

static void ask(DbxListing *listing, const char *token);
static void ask_run(DbxRunGet *get, const char *token);
static void take_page(DbxRunGet *get);

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
	char	   *path;

	if (call == NULL || !dbx_call_done(call))
		return false;
	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);

	answer = dbx_call_json(call);
	path = dbx_api_jobs_path(listing->workspace, "runs/list");
	*rows = dbx_page_rows(answer, dbx_resource_runs.items, path);
	token = dbx_page_token(answer);
	listing->call = NULL;
	dbx_call_free(call);

	listing->pages.count++;
	if (token != NULL)
	{
		dbx_pages_go_on(&listing->pages, path, token);
		ask(listing, token);
	}
	return true;
}

bool
dbx_listing_done(const DbxListing *listing)
{
	return listing->call == NULL;
}

List *
dbx_listing_runs(DbxListing *listing, const DbxJson *rows)
{
	static bool logged = false;
	List	   *runs = NIL;

	for (const DbxJson *row = dbx_json_first(rows); row != NULL;
		 row = dbx_json_next(row))
	{
		DbxSeenRun *run = palloc0(sizeof(DbxSeenRun));

		CHECK_FOR_INTERRUPTS();
		if (!dbx_json_int64(dbx_json_get(row, "run_id"), &run->run_id))
		{
			if (!logged)
				ereport(
					LOG,
					(errmsg("databricks worker: runs/list of workspace \"%s\" holds a run without run_id",
							listing->workspace->name),
					 errdetail("It is left out; this is not logged again.")));
			logged = true;
			listing->unnamed++;
			continue;
		}
		run->element = row;
		run->ended = dbx_history_element_ended(row);
		runs = lappend(runs, run);
	}
	return runs;
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

/* ---- one run ---- */

DbxRunGet *
dbx_run_get_start(const DbxWorkspace *workspace, int64 run_id)
{
	DbxRunGet *get = palloc0(sizeof(DbxRunGet));

	get->workspace = workspace;
	get->run_id = run_id;
	get->context = CurrentMemoryContext;
	ask_run(get, NULL);
	return get;
}

bool
dbx_run_get_done(DbxRunGet *get)
{
	while (get->call != NULL && dbx_call_done(get->call))
	{
		if (dbx_call_error(get->call) != NULL)
			return true;
		take_page(get);
	}
	return get->call == NULL;
}

const DbxApiError *
dbx_run_get_error(const DbxRunGet *get)
{
	return get->call == NULL ? NULL : dbx_call_error(get->call);
}

DbxSeenRun *
dbx_run_get_seen(const DbxRunGet *get)
{
	const DbxApiError *error = dbx_run_get_error(get);
	DbxSeenRun		  *run;

	if ((error != NULL && !error->not_found) || get->foreign)
		return NULL;
	run = palloc0(sizeof(DbxSeenRun));
	run->run_id = get->run_id;
	run->whole = true;
	run->element = error == NULL ? get->run : NULL;
	run->ended = run->element == NULL || dbx_history_element_ended(run->element);
	return run;
}

static void
ask_run(DbxRunGet *get, const char *token)
{
	MemoryContext  before = MemoryContextSwitchTo(get->context);
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", get->run_id);
	dbx_query_add(&query, "include_history", "true");
	if (token != NULL)
		dbx_query_add(&query, "page_token", token);
	spec.method = "GET";
	spec.path = dbx_api_jobs_path(get->workspace, "runs/get");
	spec.query = query.data;
	spec.caller = "track";
	get->call = dbx_call_start(get->workspace, &spec);
	pfree(query.data);
	MemoryContextSwitchTo(before);
}

/* The arrays of further pages are appended to those of the first one. */
static void
take_page(DbxRunGet *get)
{
	static const char *const arrays[] = {"tasks", "job_clusters",
										 "job_parameters", "repair_history"};
	DbxJson					*page = dbx_call_json(get->call);
	const char				*token;
	int64					 job_run_id;

	dbx_call_free(get->call);
	get->call = NULL;
	get->pages.count++;
	token = dbx_page_token(page);
	if (get->run == NULL)
	{
		get->run = page;
		get->foreign = dbx_json_int64(dbx_json_get(page, "job_run_id"),
									  &job_run_id) &&
			job_run_id != get->run_id;
	}
	else
	{
		for (int i = 0; i < lengthof(arrays); i++)
			dbx_json_append(get->run, page, arrays[i]);
	}
	if (token != NULL && !get->foreign)
	{
		dbx_pages_go_on(&get->pages,
						dbx_api_jobs_path(get->workspace, "runs/get"), token);
		ask_run(get, token);
	}
	dbx_json_remove(get->run, "next_page_token");
}
