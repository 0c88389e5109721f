/*
 * fetch.c
 *	  The elements a request yields, one after the other.
 *
 * Separate because it alone knows in which order calls are made.  Nothing is
 * asked before the first element is wanted, and no page before the one in hand
 * is used up.  Elements that a list gives only in part are completed by look-ups,
 * several at once and somewhat ahead of the reader, but never beyond the page.
 *
 * A page, or the set of keys, is an array of entries; those up to "ahead" have
 * their look-up under way.  The page's context holds entries and look-ups, so
 * that resetting it gives up whatever is still under way.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"

typedef struct FetchEntry
{
	const DbxJson *element; /* from a list; NULL when asked by key */
	const char	  *key;		/* for the look-up */
	DbxLookup	  *lookup;	/* NULL: not begun, or none needed */
} FetchEntry;

struct DbxFetch
{
	MemoryContext		context;
	MemoryContext		page_context;
	const DbxWorkspace *workspace;
	const DbxResource  *res;
	const DbxRequest   *request;
	const bool		   *needed;
	DbxCallStats	   *stats;

	int		  next_query; /* of request->queries */
	DbxPager *pager;	  /* of the query in hand */
	bool	  done;		  /* no page follows the entries */

	FetchEntry *entries;
	int			nentries;
	int			position; /* of the next entry to hand out */
	int			ahead;	  /* of the next entry to begin a look-up for */
	int			window;	  /* how far "ahead" may run */
};

static bool load_page(DbxFetch *fetch);
static void load_keys(DbxFetch *fetch);
static void load_rows(DbxFetch *fetch, const DbxJson *rows);
static bool is_incomplete(const DbxFetch *fetch, const DbxJson *element);
static void begin_lookups(DbxFetch *fetch);

/* Everything given here must outlive the fetch.  No call is made yet. */
DbxFetch *
dbx_fetch_open(const DbxWorkspace *workspace, const DbxResource *res,
			   const DbxRequest *request, const bool *needed,
			   DbxCallStats *stats)
{
	MemoryContext context;
	DbxFetch	 *fetch;

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks fetch",
									ALLOCSET_SMALL_SIZES);
	fetch = (DbxFetch *) MemoryContextAllocZero(context, sizeof(DbxFetch));
	fetch->context = context;
	fetch->page_context = AllocSetContextCreate(context, "databricks fetch page",
												ALLOCSET_DEFAULT_SIZES);
	fetch->workspace = workspace;
	fetch->res = res;
	fetch->request = request;
	fetch->needed = needed;
	fetch->stats = stats;
	fetch->done = request->empty;
	return fetch;
}

/*
 * The next element, valid until the next call; "key" is what it was asked by,
 * NULL for elements of a list.  A NULL element means that there is nothing of
 * that key.  False: the end.
 */
bool
dbx_fetch_next(DbxFetch *fetch, const DbxJson **element, const char **key)
{
	FetchEntry *entry;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();

		/* the element handed out last is not in use any more */
		if (fetch->position > 0 &&
			fetch->entries[fetch->position - 1].lookup != NULL)
		{
			dbx_lookup_free(fetch->entries[fetch->position - 1].lookup);
			fetch->entries[fetch->position - 1].lookup = NULL;
		}

		if (fetch->position >= fetch->nentries)
		{
			if (!load_page(fetch))
				return false;
			continue;
		}

		begin_lookups(fetch);
		entry = &fetch->entries[fetch->position++];
		*element = entry->element;
		if (entry->lookup != NULL)
		{
			*element = dbx_lookup_finish(entry->lookup);
			fetch->window = Min(fetch->window * 2,
								fetch->workspace->max_parallel);
		}
		if (entry->element == NULL)
		{
			*key = entry->key;
			return true;
		}
		*key = NULL;

		/* listed, but gone before its details were read */
		if (*element == NULL)
			continue;
		return true;
	}
}

void
dbx_fetch_close(DbxFetch *fetch)
{
	MemoryContextDelete(fetch->context);
}

/* Fill the entries anew.  False: there is nothing more. */
static bool
load_page(DbxFetch *fetch)
{
	const DbxJson *rows = NULL;
	DbxPageSpec	   spec = {0};
	MemoryContext  previous;

	MemoryContextReset(fetch->page_context);
	fetch->entries = NULL;
	fetch->nentries = fetch->position = fetch->ahead = 0;
	if (fetch->done)
		return false;

	if (fetch->request->by_key)
	{
		load_keys(fetch);
		return true;
	}

	while (fetch->pager == NULL || !dbx_pager_next(fetch->pager, &rows))
	{
		if (fetch->pager != NULL)
			dbx_pager_close(fetch->pager);
		fetch->pager = NULL;
		if (fetch->next_query >= list_length(fetch->request->queries))
		{
			fetch->done = true;
			return false;
		}
		previous = MemoryContextSwitchTo(fetch->context);
		spec.path = dbx_resource_path(fetch->workspace, fetch->res->list_call);
		spec.query = list_nth(fetch->request->queries, fetch->next_query++);
		spec.items = fetch->res->items;
		spec.missing_is_empty = true;
		spec.caller = fetch->res->name;
		spec.stats = fetch->stats;
		fetch->pager = dbx_pager_open(fetch->workspace, &spec);
		fetch->window = 1;
		MemoryContextSwitchTo(previous);
	}
	load_rows(fetch, rows);
	return true;
}

static void
load_keys(DbxFetch *fetch)
{
	ListCell *cell;

	fetch->entries = (FetchEntry *) MemoryContextAllocZero(
		fetch->page_context,
		list_length(fetch->request->keys) * sizeof(FetchEntry));
	foreach(cell, fetch->request->keys)
		fetch->entries[fetch->nentries++].key = lfirst(cell);
	fetch->window = fetch->workspace->max_parallel;
	fetch->done = true;
}

static void
load_rows(DbxFetch *fetch, const DbxJson *rows)
{
	int			   length = dbx_json_length(rows);
	const DbxJson *row;

	if (length == 0)
		return;
	fetch->entries = (FetchEntry *)
		MemoryContextAllocZero(fetch->page_context, length * sizeof(FetchEntry));
	for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
		fetch->entries[fetch->nentries++].element = row;
}

/* Is a column in use that this element of a list does not show in full? */
static bool
is_incomplete(const DbxFetch *fetch, const DbxJson *element)
{
	int i;

	for (i = 0; i < fetch->res->ncolumns; i++)
	{
		if (fetch->needed[i] &&
			dbx_resource_incomplete(fetch->res, element, &fetch->res->columns[i]))
			return true;
	}
	return false;
}

/* Begin look-ups from the next entry on, as far as the window reaches. */
static void
begin_lookups(DbxFetch *fetch)
{
	MemoryContext previous;

	previous = MemoryContextSwitchTo(fetch->page_context);
	while (fetch->ahead < fetch->nentries &&
		   fetch->ahead < fetch->position + Max(fetch->window, 1))
	{
		FetchEntry *entry = &fetch->entries[fetch->ahead++];

		if (entry->element != NULL)
		{
			if (!is_incomplete(fetch, entry->element))
				continue;
			entry->key = dbx_json_text(
				dbx_json_path(entry->element, fetch->res->key_column));
			if (entry->key == NULL)
				continue;
		}
		entry->lookup = dbx_lookup_start(fetch->workspace, fetch->res,
										 entry->key, fetch->stats);
	}
	MemoryContextSwitchTo(previous);
}
