/*
 * lists.c
 *	  The pages of the lists of a request, as they come.
 *
 * Separate because it alone knows which lists are read when.  How much is asked
 * ahead depends on how much will be read: of a list read whole the next page is
 * under way while one is used, several lists are read at once, and one that turns
 * out to be long is read on in ranges of time (window.c), up to max_parallel at
 * once.  Of a list of which a few rows will do, no page is asked for before the
 * one in hand is used up.  What is held at a time is one page of each list.
 *
 * Whether a list is long cannot be told from how dense its beginning is, which may
 * be all there is.  So while the second page is under way it is probed whether there
 * is anything as old as that, and how far back it goes.
 *
 * While windows are read, elements may change places in them and be missed
 * (chain.c).  Instead of asking for the beginning of each once more, the beginning
 * of the whole list is watched: what moved stands there.  A window read to its end
 * is kept, as the ids it held, until a watch has been made after that; one watch
 * does for many.  What is active is read with it, since what is active again stands
 * where it stood before.  The newest window, in which whatever begins meanwhile falls,
 * is kept to the last.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"
#include "http/http.h"

/* After how many pages a list may go on in ranges of time. */
#define PAGES_BEFORE_WINDOWS	 2
#define FEW_PAGES_BEFORE_WINDOWS 40
#define LAST_PAGE_BEFORE_WINDOWS 50

/* How many pages a range of time should have. */
#define LEAST_PAGES_OF_WINDOW 3
#define MOST_PAGES_OF_WINDOW  20

/* Into how many windows, for each list at once, what is left is divided. */
#define WINDOWS_PER_LIST 2

/* Probes: of how long a list must be, and of halves of its horizon. */
#define PROBES 4

/* After a probe has found nothing: when to try again. */
#define PAGES_FACTOR 4

/* More elements than any list has: its beginning was a burst, and tells little. */
#define CREDIBLE 1e6

/* How many pages must be to come for that, for each list at once. */
#define PAGES_PER_LIST 4

/* Lists at once where perhaps not all will be read. */
#define FEW_LISTS 4

/* After how many pages the next one is asked ahead where perhaps not all is read. */
#define PAGES_BEFORE_AHEAD 4

typedef enum ReadKind
{
	READ_LIST,	 /* a list of the request, as it is */
	READ_PROBE,	 /* is there anything as old as that? */
	READ_WINDOW, /* the one list of the request within a range of time */
	READ_WATCH,	 /* its beginning: looking for what windows missed */
	READ_ACTIVE	 /* of it what is active: likewise */
} ReadKind;

/* A list under way, or a window that is kept. */
typedef struct Read
{
	ReadKind  kind;
	DbxList	 *list;
	DbxChain *chain;
	int64	  from; /* of a window, inclusive */
	int64	  to;
	bool	  is_newest; /* window */
	int		  listed;	 /* elements so far */
} Read;

struct DbxLists
{
	MemoryContext		context;
	const DbxWorkspace *workspace;
	const DbxResource  *res;
	const DbxRequest   *request;
	const DbxManner	   *manner;
	DbxCallStats	   *stats;

	bool  windows_allowed;
	bool  probed;
	bool  in_windows;
	List *to_open;	/* DbxLists not begun yet */
	List *reads;	/* under way */
	int	  parallel; /* at once */
	int	  pages;	/* read so far */

	DbxSeen	  *seen; /* handed out, not to come again from another list */
	DbxWindows windows;
	int64 *times; /* of elements, until it is settled whether to use windows */
	int	   ntimes;

	int	  probe_after;	/* so many pages */
	int64 probe_needed; /* windows pay if there is something as old as that */
	int64 empty_from;	/* nothing is older than that; 0: not known */
	int64 newest;		/* see dbx_chain_newest() */
	List *unsure;		/* windows read but not watched */
	List *watched;		/* those that the watch under way is for */
	bool  last_watch;	/* has been begun */
	bool bounds_heeded; /* the service has shown that it takes notice of them */
	bool leaving;		/* it has shown that it does not */
};

static bool	 open_next(DbxLists *lists);
static bool	 open_watch(DbxLists *lists);
static bool	 is_watching(const DbxLists *lists);
static Read *open_read(DbxLists *lists, ReadKind kind, const DbxList *list,
					   int64 from, int64 to);
static void	 end_read(DbxLists *lists, Read *read);
static void	 free_read(Read *read);
static Read *wait_for_read(DbxLists *lists);
static bool	 reads_ahead(const DbxLists *lists);
static void	 keep_in_window(DbxLists *lists, const Read *read, DbxPage *page);
static bool	 is_within(const Read *window, int64 time);
static void	 keep_missed(DbxLists *lists, DbxPage *page);
static void	 leave_windows(DbxLists *lists);
static void note_folders(DbxLists *lists, const Read *read, const DbxPage *page);
static void note_elements(DbxLists *lists, const DbxPage *page);
static void consider_windows(DbxLists *lists);
static void open_probes(DbxLists *lists, double enough, int nprobes);
static void take_probe(DbxLists *lists, Read *read, DbxPage *page);

/* Everything given here must outlive the result.  No call is made yet. */
DbxLists *
dbx_lists_open(const DbxWorkspace *workspace, const DbxResource *res,
			   const DbxRequest *request, const DbxManner *manner,
			   DbxCallStats *stats)
{
	DbxLists *lists = (DbxLists *) palloc0(sizeof(DbxLists));

	lists->context = CurrentMemoryContext;
	lists->workspace = workspace;
	lists->res = res;
	lists->request = request;
	lists->manner = manner;
	lists->stats = stats;
	lists->to_open = list_copy(request->lists);
	lists->windows_allowed = manner->in_windows && res->time_member != NULL &&
		list_length(request->lists) == 1;
	if ((request->overlap || lists->windows_allowed) && res->id_member != NULL)
		lists->seen = dbx_seen_create();
	lists->parallel = manner->reading == DBX_READ_WHOLE ? workspace->max_parallel
														: 1;
	return lists;
}

/*
 * The next page of any list, perhaps without elements.  It lasts until the next
 * call.  False: all have come to their end.
 */
bool
dbx_lists_next(DbxLists *lists, DbxPage *page)
{
	if (lists->leaving)
		leave_windows(lists);
	for (;;)
	{
		Read *read;

		if (!lists->in_windows)
			consider_windows(lists);
		while (list_length(lists->reads) < lists->parallel && open_next(lists))
			;
		if (lists->reads == NIL)
			return false;

		read = wait_for_read(lists);
		if (!dbx_chain_next(read->chain, page))
		{
			end_read(lists, read);
			continue;
		}
		read->listed += page->listed;
		if (read->kind != READ_PROBE)
		{
			lists->pages++;
			if (reads_ahead(lists))
				dbx_chain_begin(read->chain);
		}
		switch (read->kind)
		{
			case READ_LIST:
				note_elements(lists, page);
				note_folders(lists, read, page);
				break;
			case READ_PROBE:
				take_probe(lists, read, page);
				break;
			case READ_WINDOW:
				keep_in_window(lists, read, page);
				break;
			case READ_WATCH:
			case READ_ACTIVE:
				keep_missed(lists, page);
				break;
		}
		return true;
	}
}

/* Begin another list, if there is one that may be begun now. */
static bool
open_next(DbxLists *lists)
{
	const DbxRequest *request = lists->request;
	int64			  from;
	int64			  to;

	if (!lists->in_windows)
	{
		const DbxList *list;

		if (lists->to_open == NIL)
			return false;
		list = linitial(lists->to_open);
		lists->to_open = list_delete_first(lists->to_open);
		(void) open_read(lists, READ_LIST, list, request->from, request->to);
		return true;
	}

	if (list_length(lists->unsure) >= lists->parallel && !is_watching(lists) &&
		open_watch(lists))
		return true;

	/* large ones first, small ones at the end, so that all end together */
	lists->windows.wanted = Min(
		Max(lists->windows.density * dbx_windows_span(&lists->windows) /
				(WINDOWS_PER_LIST * lists->parallel),
			LEAST_PAGES_OF_WINDOW * lists->res->page_size),
		MOST_PAGES_OF_WINDOW * lists->res->page_size);
	if (dbx_windows_next(&lists->windows, &from, &to))
	{
		open_read(lists, READ_WINDOW, linitial(request->lists), from, to)
			->is_newest = to == request->to;
		return true;
	}
	return lists->reads == NIL && !lists->last_watch && open_watch(lists);
}

/*
 * Begin to look for what the windows read so far have missed, at the beginning of
 * the list and, unless the request says what state it wants, among what is active.
 */
static bool
open_watch(DbxLists *lists)
{
	const DbxRequest *request = lists->request;
	MemoryContext	  previous = MemoryContextSwitchTo(lists->context);
	ListCell		 *cell;

	lists->last_watch = lists->windows.done && lists->reads == NIL;
	lists->watched = NIL;
	foreach(cell, lists->unsure)
	{
		if (lists->last_watch || !((Read *) lfirst(cell))->is_newest)
			lists->watched = lappend(lists->watched, lfirst(cell));
	}
	if (lists->watched != NIL)
	{
		if (!request->flagged)
		{
			DbxList		  *active = (DbxList *) palloc(sizeof(DbxList));
			StringInfoData query;

			*active = *(DbxList *) linitial(request->lists);
			initStringInfo(&query);
			appendStringInfoString(&query, active->query);
			dbx_query_add(&query, lists->res->active_param, "true");
			active->query = query.data;
			(void) open_read(lists, READ_ACTIVE, active, request->from,
							 request->to);
		}
		(void) open_read(lists, READ_WATCH, linitial(request->lists),
						 request->from, request->to);
	}
	MemoryContextSwitchTo(previous);
	return lists->watched != NIL;
}

static bool
is_watching(const DbxLists *lists)
{
	ListCell *cell;

	foreach(cell, lists->reads)
	{
		if (((Read *) lfirst(cell))->kind >= READ_WATCH)
			return true;
	}
	return false;
}

static Read *
open_read(DbxLists *lists, ReadKind kind, const DbxList *list, int64 from,
		  int64 to)
{
	MemoryContext previous = MemoryContextSwitchTo(lists->context);
	Read		 *read = (Read *) palloc0(sizeof(Read));
	int			  flags = 0;

	if (kind == READ_LIST && lists->res->end_member != NULL &&
		!lists->request->flagged)
		flags = DBX_CHAIN_MOVING;
	else if (kind == READ_WINDOW)
		flags = DBX_CHAIN_REMEMBER;

	read->kind = kind;
	read->from = from;
	read->to = to;
	read->list = dbx_fdw_bounded_list(lists->request, list, from, to);
	read->chain = kind == READ_WATCH
		? dbx_chain_open_top(lists->workspace, lists->res, read->list,
							 lists->newest, lists->stats)
		: dbx_chain_open(lists->workspace, lists->res, read->list, flags,
						 kind == READ_ACTIVE ? NULL : lists->seen, lists->stats);
	if (lists->parallel > 1 || kind == READ_PROBE)
		dbx_chain_begin(read->chain);
	lists->reads = lappend(lists->reads, read);
	MemoryContextSwitchTo(previous);
	return read;
}

static void
end_read(DbxLists *lists, Read *read)
{
	MemoryContext previous = MemoryContextSwitchTo(lists->context);
	ListCell	 *cell;

	lists->reads = list_delete_ptr(lists->reads, read);
	if (read->kind == READ_WINDOW)
	{
		dbx_windows_learn(&lists->windows, read->from, read->to, read->listed);
		if (read->is_newest || dbx_chain_is_unsure(read->chain))
			lists->unsure = lappend(lists->unsure, read);
		else
			free_read(read);
	}
	else
	{
		if (read->kind == READ_PROBE && read->listed == 0)
			lists->empty_from = Max(lists->empty_from, read->to);
		if (read->kind >= READ_WATCH && !is_watching(lists))
		{
			foreach(cell, lists->watched)
			{
				lists->unsure = list_delete_ptr(lists->unsure, lfirst(cell));
				free_read((Read *) lfirst(cell));
			}
			list_free(lists->watched);
			lists->watched = NIL;
		}
		free_read(read);
	}
	MemoryContextSwitchTo(previous);
}

static void
free_read(Read *read)
{
	dbx_chain_close(read->chain);
	pfree(read->list);
	pfree(read);
}

/* A list that has something to say; if it is the only one, that one. */
static Read *
wait_for_read(DbxLists *lists)
{
	if (list_length(lists->reads) == 1)
		return linitial(lists->reads);
	for (;;)
	{
		ListCell *cell;

		foreach(cell, lists->reads)
		{
			Read *read = lfirst(cell);

			dbx_chain_begin(read->chain);
			if (dbx_chain_ready(read->chain))
				return read;
		}
		(void) dbx_calls_progress(0);
	}
}

/* Is the next page asked for before the one in hand is used up? */
static bool
reads_ahead(const DbxLists *lists)
{
	return lists->manner->reading == DBX_READ_WHOLE || lists->in_windows ||
		(lists->manner->reading == DBX_READ_PART &&
		 lists->pages >= PAGES_BEFORE_AHEAD);
}

/*
 * Leave out what belongs to other windows: a service may take no notice of bounds.
 * If that shows before anything was left to it, the list is read as it is.
 */
static void
keep_in_window(DbxLists *lists, const Read *read, DbxPage *page)
{
	bool outside = false;
	int	 kept = 0;
	int	 i;

	for (i = 0; i < page->length; i++)
	{
		DbxListed listed = page->elements[i];
		int64	  time = listed.time;

		if (is_within(read, time))
		{
			page->elements[kept++] = listed;
			/* what has no time yet may get one, and fall into another window */
			if (time == 0 || !lists->bounds_heeded)
				(void) dbx_seen_add(lists->seen, &listed);
		}
		else if (time > 0 && (time < read->from - 1 || time - 1 > read->to))
			outside = true;
	}
	page->length = kept;
	if (outside && !lists->bounds_heeded)
		lists->leaving = true;
	else if (kept > 0 && read->to < lists->windows.newest)
		lists->bounds_heeded = true;
}

/* Elements without a time are in the window that has no lower bound. */
static bool
is_within(const Read *window, int64 time)
{
	return time == 0 ? window->from <= 0
					 : time >= window->from && time <= window->to;
}

/* The list is read as it is after all; what was handed out will not come again. */
static void
leave_windows(DbxLists *lists)
{
	ListCell *cell;

	foreach(cell, list_concat(lists->reads, lists->unsure))
		free_read((Read *) lfirst(cell));
	lists->reads = lists->unsure = lists->watched = NIL;
	lists->to_open = list_copy(lists->request->lists);
	lists->parallel = 1;
	lists->in_windows = lists->windows_allowed = lists->leaving = false;
}

/* Of the beginning of the whole list, what windows read to their end had not. */
static void
keep_missed(DbxLists *lists, DbxPage *page)
{
	int kept = 0;
	int i;

	for (i = 0; i < page->length; i++)
	{
		DbxListed listed = page->elements[i];
		ListCell *cell;

		foreach(cell, lists->watched)
		{
			Read *window = (Read *) lfirst(cell);

			if (is_within(window, listed.time) &&
				!dbx_chain_has(window->chain, &listed))
			{
				dbx_chain_note(window->chain, &listed);
				page->elements[kept++] = listed;
				break;
			}
		}
	}
	page->length = kept;
}

/* The folders on a page of a list that is to be followed are lists to come. */
static void
note_folders(DbxLists *lists, const Read *read, const DbxPage *page)
{
	MemoryContext previous;
	int			  i;

	if (!read->list->recursive || lists->res->is_folder == NULL)
		return;
	previous = MemoryContextSwitchTo(lists->context);
	for (i = 0; i < page->length; i++)
	{
		const DbxJson *element = page->elements[i].element;
		const char	  *path = dbx_json_string(
			   dbx_json_path(element, lists->res->folder_path));

		if (path != NULL && lists->res->is_folder(element))
			lists->to_open = lappend(lists->to_open,
									 dbx_fdw_folder_list(lists->res, read->list,
														 path));
	}
	MemoryContextSwitchTo(previous);
}

/*
 * Remember elements handed out while windows may still come, or other lists that
 * may hold the same.
 */
static void
note_elements(DbxLists *lists, const DbxPage *page)
{
	int most = FEW_PAGES_BEFORE_WINDOWS * lists->res->page_size;
	int i;

	if (lists->seen == NULL ||
		(!lists->request->overlap && !lists->windows_allowed))
		return;
	if (lists->times == NULL && lists->windows_allowed)
		lists->times = (int64 *) MemoryContextAlloc(lists->context,
													most * sizeof(int64));
	for (i = 0; i < page->length; i++)
	{
		const DbxListed *listed = &page->elements[i];

		(void) dbx_seen_add(lists->seen, listed);
		if (lists->times != NULL && listed->time > 0 && lists->ntimes < most)
			lists->times[lists->ntimes++] = listed->time;
	}
}

/*
 * Has the list turned out to be so long that it pays to read it in ranges of
 * time?  What was read of it so far is lost then, so it must be long.
 */
static void
consider_windows(DbxLists *lists)
{
	bool   whole = lists->manner->reading == DBX_READ_WHOLE;
	int	   parallel = whole ? lists->workspace->max_parallel
							: Min(lists->workspace->max_parallel, FEW_LISTS);
	int	   before = whole ? PAGES_BEFORE_WINDOWS : FEW_PAGES_BEFORE_WINDOWS;
	int	   enough = parallel * PAGES_PER_LIST * lists->res->page_size;
	double expected;
	Read  *read;

	/* a value that Min() may give is taken for the only one */
	/* cppcheck-suppress knownConditionTrueFalse */
	if (!lists->windows_allowed || lists->reads == NIL || parallel < 2 ||
		lists->pages < before - 1)
		return;
	read = linitial(lists->reads);
	if (dbx_chain_on_last_page(read->chain) ||
		lists->pages > LAST_PAGE_BEFORE_WINDOWS)
	{
		while (list_length(lists->reads) > 1)
			end_read(lists, llast(lists->reads));
		lists->windows_allowed = false;
		return;
	}

	dbx_windows_start(&lists->windows, lists->res, lists->request, lists->times,
					  lists->ntimes);
	expected = lists->windows.least * dbx_windows_span(&lists->windows);
	if (!lists->probed && lists->pages >= lists->probe_after &&
		expected >= enough && (expected < CREDIBLE || lists->pages >= before))
		open_probes(lists, enough, expected < CREDIBLE ? PROBES : 1);
	if (!lists->probed || lists->pages < before || list_length(lists->reads) > 1)
		return;
	if (lists->empty_from >= lists->probe_needed)
	{
		/* not so long; ask again when much more of it has been read */
		lists->probed = false;
		lists->probe_after = lists->pages * PAGES_FACTOR;
		return;
	}

	/* the page in hand is used up, or we would not be here */
	lists->newest = dbx_chain_newest(read->chain);
	free_read(read);
	lists->reads = NIL;
	lists->windows.oldest = Max(lists->windows.oldest, lists->empty_from);
	lists->parallel = parallel;
	lists->in_windows = true;
}

/* Ask, beside the list, for what is older than some times. */
static void
open_probes(DbxLists *lists, double enough, int nprobes)
{
	const DbxWindows *windows = &lists->windows;
	int64			  span = windows->newest - windows->oldest;
	int				  i;

	lists->probed = true;
	lists->probe_needed = windows->newest - (int64) (enough / windows->density);
	for (i = 0; i < nprobes; i++)
	{
		int64 to = i == 0 ? lists->probe_needed : windows->newest - (span >> i);

		if (to <= lists->probe_needed && to > lists->request->from)
			(void) open_read(lists, READ_PROBE, linitial(lists->request->lists),
							 lists->request->from, to);
	}
}

/* One element tells all that a probe is for. */
static void
take_probe(DbxLists *lists, Read *read, DbxPage *page)
{
	page->length = 0;
	if (page->listed > 0)
		end_read(lists, read);
}
