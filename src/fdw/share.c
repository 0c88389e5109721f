/*
 * share.c
 *	  Rows of one request, for all scans of a statement that ask the same, and
 *	  for later statements where the table says so.
 *
 * Separate from scan.c, which reads for one node.  A share belongs to one
 * execution of a statement and one user mapping.  Whoever wants a row that is not
 * there yet fetches it for all.  It lives in the memory of the statement.
 *
 * The cache is of this session alone and holds whole answers, as rows, for as
 * long as the table's option cache_ttl says.  What may make an answer wrong or
 * change who asks (ALTER, another mapping, our own writes) drops it; callbacks
 * only mark, since they must not free anything.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "lib/ilist.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "fdw/share.h"

/* A larger answer is not kept for later. */
#define LARGEST_KEPT (16 * 1024 * 1024)

PG_FUNCTION_INFO_V1(databricks_discard_cache);

/* The shares of one execution. */
typedef struct Shares
{
	dlist_node			  node;
	EState				 *estate;
	List				 *shares;
	MemoryContextCallback on_reset;
} Shares;

/* An answer kept for later. */
typedef struct Kept
{
	MemoryContext context;
	Oid			  relid;
	Oid			  serverid;
	Oid			  umid;
	char		 *asked;
	List		 *rows; /* of MinimalTuple */
	TimestampTz	  until;
	bool		  stale;
} Kept;

static dlist_head	 statements = DLIST_STATIC_INIT(statements);
static List			*kept_answers = NIL;
static MemoryContext cache_context = NULL;

static Shares *shares_of(EState *estate);
static void	   forget_shares(void *arg);
static char	  *asked_text(const DbxShare *share);
static Kept	  *find_kept(const DbxShare *share);
static void	   keep_rows(DbxShare *share);
static void	   drop_stale(void);
static void	   register_callbacks(void);

/*
 * The share of this request, new if there is none.  What is given must live as
 * long as the statement.
 */
DbxShare *
dbx_share_open(EState *estate, const DbxTable *table,
			   const DbxWorkspace *workspace, DbxRequest *request,
			   const bool *needed, const DbxManner *manner, DbxCallStats *stats)
{
	Shares		 *shares = shares_of(estate);
	MemoryContext previous;
	DbxShare	 *share;
	Kept		 *kept;
	ListCell	 *cell;

	foreach(cell, shares->shares)
	{
		share = (DbxShare *) lfirst(cell);
		if (share->table->relid == table->relid &&
			share->workspace->umid == workspace->umid &&
			share->manner->order == manner->order &&
			memcmp(share->needed, needed,
				   table->res->ncolumns * sizeof(bool)) == 0 &&
			dbx_fdw_same_request(share->request, request))
			return share;
	}

	previous = MemoryContextSwitchTo(estate->es_query_cxt);
	share = (DbxShare *) palloc0(sizeof(DbxShare));
	share->table = table;
	share->workspace = workspace;
	share->request = request;
	share->needed = needed;
	share->manner = manner;
	share->store = tuplestore_begin_heap(false, false, work_mem);
	tuplestore_set_eflags(share->store, EXEC_FLAG_REWIND);
	kept = table->cache_ttl > 0 ? find_kept(share) : NULL;
	if (kept != NULL)
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(table->desc,
														&TTSOpsMinimalTuple);

		foreach(cell, kept->rows)
		{
			ExecStoreMinimalTuple((MinimalTuple) lfirst(cell), slot, false);
			tuplestore_puttupleslot(share->store, slot);
		}
		ExecDropSingleTupleTableSlot(slot);
		share->done = true;
	}
	else
		share->fetch = dbx_fetch_open(workspace, table->res, request, needed,
									  manner, stats);
	shares->shares = lappend(shares->shares, share);
	MemoryContextSwitchTo(previous);
	return share;
}

/* A read pointer of one scan's own, at the beginning. */
int
dbx_share_join(DbxShare *share)
{
	share->users++;
	tuplestore_select_read_pointer(share->store, 0);
	return tuplestore_alloc_read_pointer(share->store, EXEC_FLAG_REWIND);
}

/*
 * The next row behind that read pointer, in "slot".  False: it has to be fetched,
 * see dbx_share_fetch(), or with share->done there is none.
 */
bool
dbx_share_next(DbxShare *share, int pointer, TupleTableSlot *slot)
{
	tuplestore_select_read_pointer(share->store, pointer);
	return tuplestore_gettupleslot(share->store, true, false, slot);
}

/* A row was fetched by whoever's read pointer is selected, and is in "slot". */
void
dbx_share_add(DbxShare *share, TupleTableSlot *slot)
{
	tuplestore_puttupleslot(share->store, slot);
}

/* There are no more rows. */
void
dbx_share_finish(DbxShare *share)
{
	share->done = true;
	dbx_fetch_close(share->fetch);
	share->fetch = NULL;
	if (share->table->cache_ttl > 0)
		keep_rows(share);
}

void
dbx_share_leave(DbxShare *share)
{
	ListCell  *cell;
	dlist_iter iter;

	if (--share->users > 0)
		return;
	if (share->fetch != NULL)
		dbx_fetch_close(share->fetch);
	tuplestore_end(share->store);
	dlist_foreach(iter, &statements)
	{
		Shares *shares = dlist_container(Shares, node, iter.cur);

		foreach(cell, shares->shares)
		{
			if (lfirst(cell) == share)
			{
				shares->shares = foreach_delete_current(shares->shares, cell);
				return;
			}
		}
	}
}

static Shares *
shares_of(EState *estate)
{
	dlist_iter iter;
	Shares	  *shares;

	dlist_foreach(iter, &statements)
	{
		shares = dlist_container(Shares, node, iter.cur);
		if (shares->estate == estate)
			return shares;
	}
	shares = (Shares *) MemoryContextAllocZero(estate->es_query_cxt,
											   sizeof(Shares));
	shares->estate = estate;
	shares->on_reset.func = forget_shares;
	shares->on_reset.arg = shares;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &shares->on_reset);
	dlist_push_head(&statements, &shares->node);
	return shares;
}

/* Reset callback: must not raise. */
static void
forget_shares(void *arg)
{
	dlist_delete(&((Shares *) arg)->node);
}

/* All that makes one answer different from another, but for table and mapping. */
static char *
asked_text(const DbxShare *share)
{
	const DbxRequest *request = share->request;
	StringInfoData	  text;
	ListCell		 *cell;
	int				  i;

	initStringInfo(&text);
	appendStringInfo(&text, "%d %d " INT64_FORMAT " " INT64_FORMAT,
					 (int) share->manner->order, (int) request->empty,
					 request->from, request->to);
	foreach(cell, request->keys)
		appendStringInfo(&text, "\n%s", (char *) lfirst(cell));
	foreach(cell, request->lists)
	{
		DbxList *list = (DbxList *) lfirst(cell);

		appendStringInfo(&text, "\n%s?%s %d", list->path, list->query,
						 (int) list->recursive);
	}
	appendStringInfoChar(&text, '\n');
	for (i = 0; i < share->table->res->ncolumns; i++)
		appendStringInfoChar(&text, share->needed[i] ? '1' : '0');
	return text.data;
}

static Kept *
find_kept(const DbxShare *share)
{
	char	 *asked = asked_text(share);
	ListCell *cell;

	drop_stale();
	foreach(cell, kept_answers)
	{
		Kept *kept = (Kept *) lfirst(cell);

		if (kept->relid == share->table->relid &&
			kept->umid == share->workspace->umid &&
			strcmp(kept->asked, asked) == 0)
			return kept;
	}
	return NULL;
}

/* Keep a whole answer for later statements. */
static void
keep_rows(DbxShare *share)
{
	MemoryContext	previous;
	MemoryContext	context;
	TupleTableSlot *slot;
	Kept		   *kept;
	Size			size = 0;

	register_callbacks();
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext,
											  "databricks answers kept",
											  ALLOCSET_SMALL_SIZES);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"databricks answer kept",
									ALLOCSET_DEFAULT_SIZES);
	slot = MakeSingleTupleTableSlot(share->table->desc, &TTSOpsMinimalTuple);
	previous = MemoryContextSwitchTo(context);
	kept = (Kept *) palloc0(sizeof(Kept));
	kept->context = context;
	kept->relid = share->table->relid;
	kept->serverid = share->table->serverid;
	kept->umid = share->workspace->umid;
	kept->asked = asked_text(share);
	kept->until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											  share->table->cache_ttl);
	tuplestore_select_read_pointer(share->store, 0);
	tuplestore_rescan(share->store);
	while (size <= LARGEST_KEPT &&
		   tuplestore_gettupleslot(share->store, true, false, slot))
	{
		MinimalTuple tuple = ExecCopySlotMinimalTuple(slot);

		size += tuple->t_len;
		kept->rows = lappend(kept->rows, tuple);
	}
	tuplestore_rescan(share->store);
	MemoryContextSwitchTo(previous);
	ExecDropSingleTupleTableSlot(slot);
	if (size > LARGEST_KEPT)
	{
		MemoryContextDelete(context);
		return;
	}
	MemoryContextSetParent(context, cache_context);
	previous = MemoryContextSwitchTo(cache_context);
	kept_answers = lappend(kept_answers, kept);
	MemoryContextSwitchTo(previous);
}

static void
drop_stale(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, kept_answers)
	{
		Kept *kept = (Kept *) lfirst(cell);

		if (!kept->stale && kept->until > now)
			continue;
		kept_answers = foreach_delete_current(kept_answers, cell);
		MemoryContextDelete(kept->context);
	}
}

/* We have changed something in the workspace. */
void
dbx_cache_forget_server(Oid serverid)
{
	ListCell *cell;

	foreach(cell, kept_answers)
	{
		Kept *kept = (Kept *) lfirst(cell);

		kept->stale |= kept->serverid == serverid;
	}
}

static void
forget_table(Datum arg, Oid relid)
{
	ListCell *cell;

	foreach(cell, kept_answers)
	{
		Kept *kept = (Kept *) lfirst(cell);

		kept->stale |= relid == InvalidOid || kept->relid == relid;
	}
}

static void
forget_all(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_table((Datum) 0, InvalidOid);
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, forget_all, (Datum) 0);
	registered = true;
}

Datum
databricks_discard_cache(PG_FUNCTION_ARGS)
{
	forget_table((Datum) 0, InvalidOid);
	drop_stale();
	PG_RETURN_VOID();
}
