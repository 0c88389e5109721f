/*
 * fetch.c
 *	  The elements a request yields, one after the other.
 *
 * Separate from the lists (lists.c, order.c), which know elements as the pages have
 * them.  Nothing is asked before the first element is wanted.
 *
 * Elements that a list gives only in part are completed by look-ups, several at
 * once and somewhat ahead of the reader, but never beyond the page.  A page, or
 * the set of keys, is an array of entries; those up to "ahead" have their
 * look-up under way.  The page's context holds entries and look-ups, so that
 * resetting it gives up whatever is still under way.
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
	const DbxManner	   *manner;
	DbxCallStats	   *stats;

	bool		done;	 /* no page follows the entries */
	DbxLists   *lists;	 /* either of them, */
	DbxOrdered *ordered; /* or none for look-ups by key */

	List		  *given;  /* what the entries were asked for with */
	const DbxJson *parent; /* the element whose children are handed out */
	const DbxJson *child;  /* the next of them */

	FetchEntry *entries;
	int			nentries;
	int			position; /* of the next entry to hand out */
	int			ahead;	  /* of the next entry to begin a look-up for */
	int			window;	  /* how far "ahead" may run */
};

static void			  forget_last(DbxFetch *fetch);
static const DbxJson *nested_rows(const DbxFetch *fetch, const DbxJson *element);
static const DbxJson *next_element(DbxFetch *fetch, const char **key);
static bool			  load_page(DbxFetch *fetch);
static void			  load_keys(DbxFetch *fetch);
static void			  load_elements(DbxFetch *fetch, const DbxPage *page);
static bool is_incomplete(const DbxFetch *fetch, const DbxJson *element);
static void begin_lookups(DbxFetch *fetch);

/* Everything given here must outlive the fetch.  No call is made yet. */
DbxFetch *
dbx_fetch_open(const DbxWorkspace *workspace, const DbxResource *res,
			   const DbxRequest *request, const bool *needed,
			   const DbxManner *manner, DbxCallStats *stats)
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
	fetch->manner = manner;
	fetch->stats = stats;
	fetch->done = request->empty;
	if (!request->empty && !request->by_key)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);

		if (manner->order != DBX_ORDER_NONE)
			fetch->ordered = dbx_ordered_open(workspace, res, request, manner,
											  stats);
		else
			fetch->lists = dbx_lists_open(workspace, res, request, manner,
										  stats);
		MemoryContextSwitchTo(previous);
	}
	return fetch;
}

/*
 * The next row, valid until the next call; "key" is what it was asked by, NULL
 * for those of a list and unnested ones.  A NULL element means that there is
 * nothing of that key.  False: the end.
 */
bool
dbx_fetch_next(DbxFetch *fetch, DbxRow *row, const char **key)
{
	*key = NULL;
	for (;;)
	{
		const DbxJson *element;

		CHECK_FOR_INTERRUPTS();
		if (fetch->child != NULL)
		{
			row->parent = fetch->parent;
			row->element = fetch->child;
			dbx_resource_check_element(row->element, NULL,
									   fetch->workspace->name,
									   fetch->request->table);
			row->given = fetch->given;
			fetch->child = dbx_json_next(fetch->child);
			return true;
		}

		if (fetch->position >= fetch->nentries)
		{
			forget_last(fetch);
			if (!load_page(fetch))
				return false;
			continue;
		}

		element = next_element(fetch, key);
		if (fetch->res->unnest != NULL)
		{
			*key = NULL;
			fetch->parent = element;
			fetch->child = dbx_json_first(nested_rows(fetch, element));
			continue;
		}

		/* listed, but gone before its details were read */
		if (element == NULL && *key == NULL)
			continue;
		row->parent = NULL;
		row->element = element;
		row->given = fetch->given;
		return true;
	}
}

/* The array that rows are unnested from; NULL: there is none. */
static const DbxJson *
nested_rows(const DbxFetch *fetch, const DbxJson *element)
{
	const DbxJson *rows = dbx_json_path(element, fetch->res->unnest);

	if (dbx_json_type(rows) > DBX_JSON_NULL &&
		dbx_json_type(rows) != DBX_JSON_ARRAY)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("the service sent \"%s\" that is not an array for foreign table \"%s\"",
					fetch->res->unnest, fetch->request->table)));
	return rows;
}

/* The element handed out last is not in use any more. */
static void
forget_last(DbxFetch *fetch)
{
	if (fetch->position > 0 && fetch->entries[fetch->position - 1].lookup != NULL)
	{
		dbx_lookup_free(fetch->entries[fetch->position - 1].lookup);
		fetch->entries[fetch->position - 1].lookup = NULL;
	}
}

/* The element of the next entry, complete; NULL: it is not there. */
static const DbxJson *
next_element(DbxFetch *fetch, const char **key)
{
	FetchEntry	  *entry;
	const DbxJson *element;

	forget_last(fetch);
	begin_lookups(fetch);
	entry = &fetch->entries[fetch->position++];
	element = entry->element;
	if (entry->lookup != NULL)
	{
		element = dbx_lookup_finish(entry->lookup);
		if (element != NULL)
			dbx_resource_check_element(element, fetch->res->id_member,
									   fetch->workspace->name,
									   fetch->request->table);
		fetch->window = Min(fetch->window * 2, fetch->workspace->max_parallel);
	}
	*key = entry->element == NULL ? entry->key : NULL;
	return element;
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
	DbxPage page;

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
	if (fetch->ordered != NULL ? !dbx_ordered_next(fetch->ordered, &page)
							   : !dbx_lists_next(fetch->lists, &page))
	{
		fetch->done = true;
		return false;
	}
	load_elements(fetch, &page);
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
load_elements(DbxFetch *fetch, const DbxPage *page)
{
	int i;

	if (page->length == 0)
		return;
	fetch->entries = (FetchEntry *) MemoryContextAllocExtended(
		fetch->page_context, page->length * sizeof(FetchEntry),
		MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < page->length; i++)
		fetch->entries[i].element = page->elements[i].element;
	fetch->given = page->given;
	fetch->nentries = page->length;
	fetch->window = Max(fetch->window, 1);
}

/* Is a column in use that this element of a list does not show in full? */
static bool
is_incomplete(const DbxFetch *fetch, const DbxJson *element)
{
	int i;

	if (fetch->res->unnest != NULL)
		return dbx_resource_nest_incomplete(fetch->res, element);
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
