/*
 * chain.c
 *	  One list read to its end, page by page, no element twice and none lost.
 *
 * Separate because a list is no snapshot.  A page token may expire: the list is
 * begun anew, and what was handed out before is left out.  Elements may move
 * towards the beginning while it is read (a run that ends does, where the
 * service sorts by the time of the end) and so be missed.  They then stand above
 * everything that was there when the first page came.  So when all pages are read
 * the first ones are asked for once more, down to the newest time that the first
 * page had: that something on them is known says nothing of what follows it.  Where
 * these are several they are a list in which something may have moved in turn, so it
 * goes on until one page is all.  And a service may change its order: what a page
 * token stood for is then not where the next page goes on, so the list is begun anew.
 *
 * A page handed out lasts until the next one, or with DBX_CHAIN_KEEP until the
 * chain is closed.  What was handed out is remembered only if there is a second
 * page, since a list of one has neither trouble, or with DBX_CHAIN_REMEMBER.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"

/* How often a list is begun anew without getting further. */
#define MAX_RESTARTS 5

/* How often for another order, which may be none at all. */
#define MAX_REORDERS 2

/* How often its beginning is asked for once more, should it never come to rest. */
#define MAX_CLOSINGS 8

/* Of a set of ids. */
typedef struct SeenId
{
	uint64 id;
	char   status;
} SeenId;

#define SH_PREFIX		seen
#define SH_ELEMENT_TYPE SeenId
#define SH_KEY_TYPE		uint64
#define SH_KEY			id
#define SH_HASH_KEY(tb, key) \
	murmurhash32((uint32) (key) ^ murmurhash32((uint32) ((key) >> 32)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE		   static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

struct DbxChain
{
	MemoryContext		context;
	const DbxWorkspace *workspace;
	const DbxResource  *res;
	const DbxList	   *list;
	int					flags;
	DbxSeen			   *others; /* elements to leave out as well; may be NULL */
	DbxCallStats	   *stats;

	DbxPager *pager;
	DbxSeen	 *seen;		/* elements handed out; NULL until a second page */
	int		  restarts; /* since there was something new */
	bool	  several;	/* pages, not one */
	bool	  closing;	/* looking for what moved */
	bool	  reopen;	/* to be begun anew before the next page */
	bool	  done;
	int64	  newest; /* latest start or end on the first page; 0: none yet */

	int	  closings;		  /* so far */
	int	  closing_pages;  /* in this one */
	int64 closing_newest; /* as "newest", of this one */

	/* which order the elements came in, as far as that shows */
	int64 last_time;
	int64 last_end;
	bool  by_time;
	bool  by_end;
	int	  reorders;

	DbxListed *elements; /* of the page handed out */
};

static void	 open_pager(DbxChain *chain);
static bool	 take_page(DbxChain *chain, const DbxJson *rows, DbxPage *page);
static void	 note_newest(DbxChain *chain, const DbxJson *rows);
static bool	 is_settled(const DbxChain *chain, const DbxJson *rows);
static int64 newest_of(const DbxChain *chain, const DbxJson *rows);
static void	 begin_closing(DbxChain *chain, int64 newest);
static bool	 close_again(DbxChain *chain);
static void	 begin_order(DbxChain *chain);
static void	 watch_order(DbxChain *chain, const DbxListed *listed);
static bool	 may_have_moved(const DbxChain *chain);
static int64 member_time(const DbxJson *element, const char *member);

/* A set of elements, in the current memory context. */
DbxSeen *
dbx_seen_create(void)
{
	return seen_create(CurrentMemoryContext, 128, NULL);
}

/* False: it was in there.  What has no id never is. */
bool
dbx_seen_add(DbxSeen *seen, const DbxListed *listed)
{
	bool known = false;

	if (listed->named)
		(void) seen_insert(seen, listed->id, &known);
	return !known;
}

static bool
is_seen(DbxSeen *seen, const DbxListed *listed)
{
	return seen != NULL && listed->named &&
		seen_lookup(seen, listed->id) != NULL;
}

/* Ids are numbers, or else so long that their hash stands for them. */
static bool
element_id(const char *member, const DbxJson *element, uint64 *id)
{
	const DbxJson *node = member == NULL ? NULL : dbx_json_path(element, member);
	const char	  *text;
	int64		   number;

	if (dbx_json_int64(node, &number))
	{
		*id = (uint64) number;
		return true;
	}
	text = dbx_json_text(node);
	if (text == NULL)
		return false;
	*id = hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
	return true;
}

/* No call is made yet.  What is given here must outlive the chain. */
DbxChain *
dbx_chain_open(const DbxWorkspace *workspace, const DbxResource *res,
			   const DbxList *list, int flags, DbxSeen *others,
			   DbxCallStats *stats)
{
	MemoryContext context;
	DbxChain	 *chain;

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks list",
									ALLOCSET_SMALL_SIZES);
	chain = (DbxChain *) MemoryContextAllocZero(context, sizeof(DbxChain));
	chain->context = context;
	chain->workspace = workspace;
	chain->res = res;
	chain->list = list;
	chain->flags = flags;
	chain->others = others;
	chain->stats = stats;
	begin_order(chain);
	open_pager(chain);
	return chain;
}

/*
 * Only the beginning of such a list: what may stand above where this chain, which
 * has read one, began.
 */
DbxChain *
dbx_chain_open_top(const DbxWorkspace *workspace, const DbxResource *res,
				   const DbxList *list, int64 newest, DbxCallStats *stats)
{
	DbxChain *chain = dbx_chain_open(workspace, res, list, 0, NULL, stats);

	begin_closing(chain, newest);
	return chain;
}

static void
open_pager(DbxChain *chain)
{
	MemoryContext previous = MemoryContextSwitchTo(chain->context);
	DbxPageSpec	  spec = {0};

	chain->reopen = false;
	if (chain->pager != NULL && (chain->flags & DBX_CHAIN_KEEP) == 0)
		dbx_pager_close(chain->pager);
	spec.path = dbx_resource_path(chain->workspace, chain->list->path);
	spec.query = chain->list->query;
	spec.items = chain->list->res->items;
	spec.token_param = chain->list->res->token_param;
	spec.post = chain->list->res->list_post;
	spec.missing_is_empty = true;
	spec.keep_pages = (chain->flags & DBX_CHAIN_KEEP) != 0;
	spec.tell_expired = chain->res->id_member != NULL;
	spec.projection = chain->list->projection;
	spec.caller = chain->res->name;
	spec.stats = chain->stats;
	chain->pager = dbx_pager_open(chain->workspace, &spec);
	MemoryContextSwitchTo(previous);
}

/* Ask for the next page without waiting for it. */
void
dbx_chain_begin(DbxChain *chain)
{
	if (!chain->done)
		dbx_pager_begin(chain->pager);
}

/* Would dbx_chain_next() return, or at least get on, without waiting? */
bool
dbx_chain_ready(const DbxChain *chain)
{
	return chain->done || dbx_pager_ready(chain->pager);
}

/* Is it known that nothing follows the page handed out last? */
bool
dbx_chain_at_end(const DbxChain *chain)
{
	return chain->done ||
		(dbx_chain_on_last_page(chain) && !chain->closing &&
		 !may_have_moved(chain));
}

/* Has the whole list been read, but for what moved meanwhile? */
bool
dbx_chain_on_last_page(const DbxChain *chain)
{
	return chain->done || chain->closing ||
		(dbx_pager_at_end(chain->pager) && !dbx_pager_expired(chain->pager) &&
		 !chain->reopen);
}

/* The next page, perhaps without elements.  False: the end. */
bool
dbx_chain_next(DbxChain *chain, DbxPage *page)
{
	const DbxJson *rows = NULL;

	page->length = page->listed = 0;
	page->given = chain->list->given;
	if (chain->done)
		return false;
	if (chain->reopen)
	{
		open_pager(chain);
		return true;
	}
	if (!dbx_pager_next(chain->pager, &rows))
	{
		if (dbx_pager_expired(chain->pager))
		{
			if (++chain->restarts > MAX_RESTARTS)
				ereport(
					ERROR,
					(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
					 errmsg("the page tokens of %s expire before they can be used",
							chain->res->list_call)));
			open_pager(chain);
			return true;
		}
		if (chain->closing ? !close_again(chain) : !may_have_moved(chain))
		{
			chain->done = true;
			return false;
		}
		if (!chain->closing)
			begin_closing(chain, chain->newest);
		open_pager(chain);
		return true;
	}

	if (chain->closing && chain->closing_pages++ == 0)
		chain->closing_newest = newest_of(chain, rows);
	if (is_settled(chain, rows))
	{
		chain->reopen = close_again(chain);
		chain->done = !chain->reopen;
	}
	if (take_page(chain, rows, page))
		chain->restarts = 0;
	return true;
}

/*
 * Was this element handed out, by this chain or by whom it leaves to it?  What
 * has no id cannot be told apart and is taken for known.
 */
bool
dbx_chain_has(const DbxChain *chain, const DbxListed *listed)
{
	return chain->seen == NULL || !listed->named ||
		is_seen(chain->seen, listed) || is_seen(chain->others, listed);
}

/* Remember an element that belongs to this chain but was found elsewhere. */
void
dbx_chain_note(DbxChain *chain, const DbxListed *listed)
{
	if (chain->seen != NULL)
		(void) dbx_seen_add(chain->seen, listed);
}

/*
 * The latest start or end of anything on the first page: whatever begins, ends or
 * begins anew after that is later.
 */
int64
dbx_chain_newest(const DbxChain *chain)
{
	return chain->newest;
}

void
dbx_chain_close(DbxChain *chain)
{
	MemoryContextDelete(chain->context);
}

/*
 * A chain that has something to say, waiting for it if need be.  The next pages
 * of all of them are asked for.
 */
DbxChain *
dbx_chains_wait(List *chains)
{
	for (;;)
	{
		ListCell *cell;

		foreach(cell, chains)
		{
			dbx_chain_begin((DbxChain *) lfirst(cell));
			if (dbx_chain_ready((DbxChain *) lfirst(cell)))
				return (DbxChain *) lfirst(cell);
		}
		(void) dbx_calls_progress(0);
	}
}

/* Gather what is new on a page.  False: nothing is. */
static bool
take_page(DbxChain *chain, const DbxJson *rows, DbxPage *page)
{
	MemoryContext  previous = MemoryContextSwitchTo(chain->context);
	bool		   more = !dbx_pager_at_end(chain->pager);
	bool		   known_order = chain->by_time != chain->by_end;
	const DbxJson *row;

	chain->several |= more;
	page->listed = dbx_json_length(rows);
	if (chain->elements != NULL && (chain->flags & DBX_CHAIN_KEEP) == 0)
		pfree(chain->elements);
	chain->elements = page->listed == 0
		? NULL
		: (DbxListed *) MemoryContextAllocHuge(chain->context,
											   page->listed * sizeof(DbxListed));
	page->elements = chain->elements;
	if (chain->seen == NULL && chain->res->id_member != NULL &&
		(more || (chain->flags & DBX_CHAIN_REMEMBER) != 0))
		chain->seen = dbx_seen_create();
	note_newest(chain, rows);

	for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
	{
		DbxListed listed = {row, 0, 0, false};

		dbx_resource_check_element(row, chain->res->id_member,
								   chain->workspace->name, chain->list->table);
		listed.named = element_id(chain->res->id_member, row, &listed.id);
		if (chain->res->time_member != NULL)
		{
			listed.time = dbx_fdw_element_time(chain->res, row);
			if (!chain->closing)
				watch_order(chain, &listed);
		}
		if (chain->seen != NULL && !dbx_seen_add(chain->seen, &listed))
			continue;
		if (!is_seen(chain->others, &listed))
			/* NOLINTNEXTLINE(clang-analyzer-core.*): "listed" has counted it */
			page->elements[page->length++] = listed;
	}
	if (known_order && !chain->by_time && !chain->by_end &&
		chain->reorders++ < MAX_REORDERS)
	{
		begin_order(chain);
		chain->reopen = true;
	}
	MemoryContextSwitchTo(previous);
	return page->length > 0;
}

static int64
member_time(const DbxJson *element, const char *member)
{
	int64 time = 0;

	(void) dbx_json_int64(dbx_json_path(element, member), &time);
	return time;
}

/* When something last happened to an element, as far as the list tells. */
static int64
latest_time(const DbxChain *chain, const DbxJson *element)
{
	int64 time = dbx_fdw_element_time(chain->res, element);

	return chain->res->end_member == NULL
		? time
		: Max(time, member_time(element, chain->res->end_member));
}

static int64
newest_of(const DbxChain *chain, const DbxJson *rows)
{
	const DbxJson *row;
	int64		   newest = 0;

	for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
		newest = Max(newest, latest_time(chain, row));
	return newest;
}

static void
note_newest(DbxChain *chain, const DbxJson *rows)
{
	if (chain->newest == 0 && chain->res->time_member != NULL)
		chain->newest = newest_of(chain, rows);
}

/* Look for what is at the beginning of the list now and was not when it had that. */
static void
begin_closing(DbxChain *chain, int64 newest)
{
	chain->closing = true;
	chain->newest = newest;
	chain->closings++;
	chain->closing_pages = 0;
}

/*
 * Could something have moved from one page of what was looked through to another?
 * Then begin to look for what came after that.
 */
static bool
close_again(DbxChain *chain)
{
	if (chain->closing_pages <= 1 || chain->closings >= MAX_CLOSINGS ||
		chain->closing_newest <= chain->newest)
		return false;
	begin_closing(chain, chain->closing_newest);
	return true;
}

static void
begin_order(DbxChain *chain)
{
	chain->by_time = chain->by_end = true;
	chain->last_time = chain->last_end = PG_INT64_MAX;
}

/* Looking for what moved: is something on this page older than all that can? */
static bool
is_settled(const DbxChain *chain, const DbxJson *rows)
{
	const DbxJson *row;

	if (!chain->closing || dbx_json_length(rows) == 0)
		return false;
	for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
	{
		if (latest_time(chain, row) < chain->newest)
			return true;
	}
	return chain->newest == 0;
}

static void
watch_order(DbxChain *chain, const DbxListed *listed)
{
	int64 end = member_time(listed->element, chain->res->end_member);

	if (end == 0)
		end = listed->time;
	chain->by_time &= listed->time <= chain->last_time;
	chain->by_end &= end <= chain->last_end;
	chain->last_time = listed->time;
	chain->last_end = end;
}

/*
 * Could an element have been missed by moving?  Not within one page, and not
 * where the order shows to be by the time that never changes.
 */
static bool
may_have_moved(const DbxChain *chain)
{
	return (chain->flags & DBX_CHAIN_MOVING) != 0 && dbx_chain_is_unsure(chain);
}

bool
dbx_chain_is_unsure(const DbxChain *chain)
{
	return chain->several && !(chain->by_time && !chain->by_end);
}
