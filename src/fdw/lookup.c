/*
 * lookup.c
 *	  One object asked for by its key.
 *
 * Separate from fetch.c, which decides what is asked when: a lookup is begun
 * and collected at different times, so that many can be under way.  All it
 * holds, the answer included, lies in a context of its own below the one it
 * was begun in.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"

struct DbxLookup
{
	MemoryContext		context;
	const DbxWorkspace *workspace;
	const DbxResource  *res;
	char			   *key;
	DbxCallSpec			spec;
	DbxCall			   *call;
};

static bool is_other_kind(const DbxLookup *lookup, const DbxJson *answer);

DbxLookup *
dbx_lookup_start(const DbxWorkspace *workspace, const DbxResource *res,
				 const char *key, DbxCallStats *stats)
{
	MemoryContext  context;
	MemoryContext  previous;
	StringInfoData query;
	DbxLookup	  *lookup;

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks lookup",
									ALLOCSET_SMALL_SIZES);
	previous = MemoryContextSwitchTo(context);

	lookup = (DbxLookup *) palloc0(sizeof(DbxLookup));
	lookup->context = context;
	lookup->workspace = workspace;
	lookup->res = res;
	lookup->key = pstrdup(key);

	initStringInfo(&query);
	if (res->get_param != NULL)
		dbx_query_add(&query, res->get_param, key);
	lookup->spec.method = "GET";
	lookup->spec.path = dbx_resource_path(workspace,
										  res->get_param != NULL
											  ? res->get_call
											  : dbx_fdw_call_path(res->get_call,
																  "key", key));
	lookup->spec.query = query.data;
	lookup->spec.caller = res->name;
	lookup->spec.stats = stats;
	lookup->call = dbx_call_start(workspace, &lookup->spec);

	MemoryContextSwitchTo(previous);
	return lookup;
}

/*
 * Wait for the object, all pages of it.  NULL: there is none of that key.  It
 * lives as long as the lookup.  Whatever else the service says is raised.
 */
const DbxJson *
dbx_lookup_finish(DbxLookup *lookup)
{
	const DbxApiError *error;
	MemoryContext	   previous;
	DbxJson			  *answer;

	dbx_call_wait(lookup->call);
	error = dbx_call_error(lookup->call);
	if (error != NULL)
	{
		if (!error->not_found)
			dbx_call_raise(lookup->call);
		return NULL;
	}

	previous = MemoryContextSwitchTo(lookup->context);
	answer = dbx_call_json(lookup->call);
	if (!is_other_kind(lookup, answer))
		dbx_api_merge_rest(lookup->workspace, &lookup->spec, answer);
	else
		answer = NULL;
	MemoryContextSwitchTo(previous);
	return answer;
}

void
dbx_lookup_free(DbxLookup *lookup)
{
	MemoryContextDelete(lookup->context);
}

/*
 * Some get calls also answer for things that the list call does not list:
 * runs/get for instance for the runs of single tasks.
 */
static bool
is_other_kind(const DbxLookup *lookup, const DbxJson *answer)
{
	const char *check;

	if (lookup->res->key_check == NULL)
		return false;
	check = dbx_json_text(dbx_json_path(answer, lookup->res->key_check));
	return check != NULL && strcmp(check, lookup->key) != 0;
}
