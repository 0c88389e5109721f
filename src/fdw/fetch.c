/*
 * fetch.c
 *	  The elements a request yields, one after the other.
 *
 * Separate because it alone knows in which order calls are made.  Nothing is
 * asked before the first element is wanted.  How much is asked ahead depends on
 * how much will be read: of a list read whole the next page is under way while
 * one is used, several lists are read at once, and one that turns out to be
 * long is read on in ranges of time (window.c), up to max_parallel at once.
 * Of a list of which a few rows will do, no page is asked for before the one
 * in hand is used up.  What is held at a time is one page of each list.
 *
 * Before ranges are read, what is active is: it may move while it is read, and
 * only what is active can.  What was handed out before is left out then.
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

/* After how many pages a list may go on in ranges of time. */
#define PAGES_BEFORE_WINDOWS	 2
#define FEW_PAGES_BEFORE_WINDOWS 40

/* How many pages a range of time should have. */
#define LEAST_PAGES_OF_WINDOW 2
#define MOST_PAGES_OF_WINDOW  20

/* How many pages must be to come for that, for each list at once. */
#define PAGES_PER_LIST 4

/* Lists at once where perhaps not all will be read. */
#define FEW_LISTS 4

/* After how many pages the next one is asked ahead where perhaps not all is read. */
#define PAGES_BEFORE_AHEAD 4

typedef struct FetchEntry
{
	const DbxJson *element; /* from a list; NULL when asked by key */
	const char	  *key;		/* for the look-up */
	DbxLookup	  *lookup;	/* NULL: not begun, or none needed */
} FetchEntry;

/* A list under way. */
typedef struct FetchList
{
	DbxList	 *list;
	DbxChain *chain;
	int64	  from; /* of a window */
	int64	  to;
	int		  listed; /* elements so far */
} FetchList;

typedef enum FetchStage
{
	FETCH_BEGIN,
	FETCH_LISTS,  /* those of the request, as they are */
	FETCH_ACTIVE, /* before windows: what is active */
	FETCH_WINDOWS /* the one list of the request in ranges of time */
} FetchStage;

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

	bool		done; /* no page follows the entries */
	DbxOrdered *ordered;

	FetchStage	   stage;
	List		  *to_open; /* DbxLists not begun yet */
	bool		   active_read;
	List		  *lists;  /* FetchLists under way */
	List		  *given;  /* what the entries were asked for with */
	const DbxJson *parent; /* the element whose children are handed out */
	const DbxJson *child;  /* the next of them */

	int		   parallel; /* lists at once */
	int		   pages;	 /* read so far */
	DbxSeen	  *seen;	 /* elements handed out before the windows */
	DbxWindows windows;
	int64 *times; /* of elements, until it is settled whether to use windows */
	int	   ntimes;

	FetchEntry *entries;
	int			nentries;
	int			position; /* of the next entry to hand out */
	int			ahead;	  /* of the next entry to begin a look-up for */
	int			window;	  /* how far "ahead" may run */
};

static void			  forget_last(DbxFetch *fetch);
static const DbxJson *next_element(DbxFetch *fetch, const char **key);
static void			  note_folders(DbxFetch *fetch, const FetchList *list,
								   const DbxPage *page);
static bool			  load_page(DbxFetch *fetch);
static void			  load_keys(DbxFetch *fetch);
static void			  load_elements(DbxFetch *fetch, const DbxPage *page);
static bool			  next_page(DbxFetch *fetch, DbxPage *page);
static bool			  open_next_list(DbxFetch *fetch);
static void		  open_list(DbxFetch *fetch, const DbxList *list, int64 from,
							int64 to);
static void		  close_list(DbxFetch *fetch, FetchList *list);
static FetchList *wait_for_list(DbxFetch *fetch);
static bool		  reads_ahead(const DbxFetch *fetch);
static void		  note_elements(DbxFetch *fetch, const DbxPage *page);
static void		  consider_windows(DbxFetch *fetch);
static bool		  is_incomplete(const DbxFetch *fetch, const DbxJson *element);
static void		  begin_lookups(DbxFetch *fetch);

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
	if (request->overlap && res->id_member != NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);

		fetch->seen = dbx_seen_create(res);
		MemoryContextSwitchTo(previous);
	}
	fetch->parallel = manner->reading == DBX_READ_WHOLE ? workspace->max_parallel
														: 1;
	if (manner->order != DBX_ORDER_NONE && !request->by_key)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);

		fetch->ordered = dbx_ordered_open(workspace, res, request, manner,
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
			fetch->child = dbx_json_first(
				dbx_json_path(element, fetch->res->unnest));
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
							   : !next_page(fetch, &page))
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
		fetch->entries[i].element = page->elements[i];
	fetch->given = page->given;
	fetch->nentries = page->length;
	fetch->window = Max(fetch->window, 1);
}

/* The next page of any list.  False: all have come to their end. */
static bool
next_page(DbxFetch *fetch, DbxPage *page)
{
	FetchList *list;

	if (fetch->stage == FETCH_LISTS)
		consider_windows(fetch);
	if (fetch->stage == FETCH_BEGIN)
	{
		MemoryContext previous = MemoryContextSwitchTo(fetch->context);

		fetch->to_open = list_copy(fetch->request->lists);
		fetch->stage = FETCH_LISTS;
		MemoryContextSwitchTo(previous);
	}
	for (;;)
	{
		while (list_length(fetch->lists) < fetch->parallel &&
			   open_next_list(fetch))
			;
		if (fetch->lists == NIL)
			return false;

		list = wait_for_list(fetch);
		if (!dbx_chain_next(list->chain, page))
		{
			close_list(fetch, list);
			continue;
		}
		list->listed += page->listed;
		fetch->pages++;
		if (reads_ahead(fetch))
			dbx_chain_begin(list->chain);
		note_elements(fetch, page);
		note_folders(fetch, list, page);
		return true;
	}
}

/* Begin another list, if there is one that may be begun now. */
static bool
open_next_list(DbxFetch *fetch)
{
	const DbxRequest *request = fetch->request;
	MemoryContext	  previous;
	DbxList			 *list;
	int64			  from;
	int64			  to;

	switch (fetch->stage)
	{
		case FETCH_BEGIN:
			break;

		case FETCH_LISTS:
			if (fetch->to_open == NIL)
				return false;
			list = linitial(fetch->to_open);
			fetch->to_open = list_delete_first(fetch->to_open);
			open_list(fetch, list, request->from, request->to);
			return true;

		case FETCH_ACTIVE:
			/* no window before this is read */
			if (fetch->lists != NIL)
				return false;
			if (!fetch->active_read)
			{
				StringInfoData query;

				fetch->active_read = true;
				previous = MemoryContextSwitchTo(fetch->context);
				list = (DbxList *) palloc(sizeof(DbxList));
				*list = *(DbxList *) linitial(request->lists);
				initStringInfo(&query);
				appendStringInfoString(&query, list->query);
				dbx_query_add(&query, fetch->res->active_param, "true");
				list->query = query.data;
				MemoryContextSwitchTo(previous);
				open_list(fetch, list, request->from, request->to);
				return true;
			}
			fetch->stage = FETCH_WINDOWS;
			fetch->parallel = fetch->manner->reading == DBX_READ_WHOLE
				? fetch->workspace->max_parallel
				: Min(fetch->workspace->max_parallel, FEW_LISTS);
			/* FALLTHROUGH */

		case FETCH_WINDOWS:
			/* large ones first, small ones at the end, so that all end together */
			fetch->windows.wanted = Min(
				Max(dbx_windows_expected(&fetch->windows) / (2 * fetch->parallel),
					LEAST_PAGES_OF_WINDOW * fetch->res->page_size),
				MOST_PAGES_OF_WINDOW * fetch->res->page_size);
			if (!dbx_windows_next(&fetch->windows, &from, &to))
				return false;
			open_list(fetch, linitial(request->lists), from, to);
			return true;
	}
	return false;
}

static void
open_list(DbxFetch *fetch, const DbxList *list, int64 from, int64 to)
{
	MemoryContext previous = MemoryContextSwitchTo(fetch->context);
	FetchList	 *under_way = (FetchList *) palloc0(sizeof(FetchList));

	under_way->from = from;
	under_way->to = to;
	under_way->list = dbx_fdw_bounded_list(list, from, to);
	under_way->chain = dbx_chain_open(fetch->workspace, fetch->res,
									  under_way->list,
									  fetch->stage == FETCH_LISTS &&
											  fetch->res->end_member != NULL &&
											  !fetch->request->flagged
										  ? DBX_CHAIN_MOVING
										  : 0,
									  fetch->seen, fetch->stats);
	if (fetch->parallel > 1)
		dbx_chain_begin(under_way->chain);
	fetch->lists = lappend(fetch->lists, under_way);
	MemoryContextSwitchTo(previous);
}

/* The folders on a page of a list that is to be followed are lists to come. */
static void
note_folders(DbxFetch *fetch, const FetchList *list, const DbxPage *page)
{
	MemoryContext previous;
	int			  i;

	if (!list->list->recursive || fetch->res->is_folder == NULL)
		return;
	previous = MemoryContextSwitchTo(fetch->context);
	for (i = 0; i < page->length; i++)
	{
		const char *path = dbx_json_string(
			dbx_json_path(page->elements[i], fetch->res->folder_path));

		if (path != NULL && fetch->res->is_folder(page->elements[i]))
			fetch->to_open = lappend(fetch->to_open,
									 dbx_fdw_folder_list(fetch->res, list->list,
														 path));
	}
	MemoryContextSwitchTo(previous);
}

static void
close_list(DbxFetch *fetch, FetchList *list)
{
	if (fetch->stage == FETCH_WINDOWS)
		dbx_windows_learn(&fetch->windows, list->from, list->to, list->listed);
	dbx_chain_close(list->chain);
	pfree(list->list);
	fetch->lists = list_delete_ptr(fetch->lists, list);
	pfree(list);
}

/* A list that has something to say; with one at a time, that one. */
static FetchList *
wait_for_list(DbxFetch *fetch)
{
	if (fetch->parallel == 1)
		return linitial(fetch->lists);
	for (;;)
	{
		ListCell *cell;

		foreach(cell, fetch->lists)
		{
			FetchList *list = lfirst(cell);

			dbx_chain_begin(list->chain);
			if (dbx_chain_ready(list->chain))
				return list;
		}
		(void) dbx_calls_progress(0);
	}
}

/* Is the next page asked for before the one in hand is used up? */
static bool
reads_ahead(const DbxFetch *fetch)
{
	return fetch->manner->reading == DBX_READ_WHOLE ||
		fetch->stage == FETCH_WINDOWS ||
		(fetch->manner->reading == DBX_READ_PART &&
		 fetch->pages >= PAGES_BEFORE_AHEAD);
}

static bool
may_use_windows(const DbxFetch *fetch)
{
	return fetch->manner->in_windows && fetch->res->time_member != NULL &&
		list_length(fetch->request->lists) == 1;
}

/*
 * Remember elements handed out while windows may still come, or before the
 * first of them.
 */
static void
note_elements(DbxFetch *fetch, const DbxPage *page)
{
	MemoryContext previous;
	int			  i;

	if (!fetch->request->overlap &&
		(!may_use_windows(fetch) || fetch->stage == FETCH_WINDOWS))
		return;
	previous = MemoryContextSwitchTo(fetch->context);
	if (fetch->seen == NULL)
		fetch->seen = dbx_seen_create(fetch->res);
	if (fetch->times == NULL && fetch->res->time_member != NULL)
		fetch->times = (int64 *) palloc(FEW_PAGES_BEFORE_WINDOWS *
										fetch->res->page_size * sizeof(int64));
	for (i = 0; i < page->length; i++)
	{
		int64 time = fetch->res->time_member != NULL
			? dbx_fdw_element_time(fetch->res, page->elements[i])
			: 0;

		dbx_seen_add(fetch->seen, page->elements[i]);
		if (time > 0 &&
			fetch->ntimes < FEW_PAGES_BEFORE_WINDOWS * fetch->res->page_size)
			fetch->times[fetch->ntimes++] = time;
	}
	MemoryContextSwitchTo(previous);
}

/*
 * Has the list turned out to be so long that it pays to read it in ranges of
 * time?  What was read of it so far is lost then, so it must be long.
 */
static void
consider_windows(DbxFetch *fetch)
{
	int	   parallel = fetch->manner->reading == DBX_READ_WHOLE
		   ? fetch->workspace->max_parallel
		   : Min(fetch->workspace->max_parallel, FEW_LISTS);
	double pages;

	if (!may_use_windows(fetch) || fetch->lists == NIL || parallel < 2 ||
		fetch->pages < (fetch->manner->reading == DBX_READ_WHOLE
							? PAGES_BEFORE_WINDOWS
							: FEW_PAGES_BEFORE_WINDOWS) ||
		dbx_chain_at_end(((FetchList *) linitial(fetch->lists))->chain))
		return;
	dbx_windows_start(&fetch->windows, fetch->res, fetch->request, fetch->times,
					  fetch->ntimes);
	pages = dbx_windows_expected(&fetch->windows) / fetch->res->page_size -
		fetch->pages;
	if (pages < parallel * PAGES_PER_LIST)
		return;

	/* the page in hand is used up, or we would not be here */
	close_list(fetch, linitial(fetch->lists));
	fetch->parallel = 1;
	fetch->active_read = fetch->request->flagged;
	fetch->stage = FETCH_ACTIVE;
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
