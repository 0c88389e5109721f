/*
 * cache.c
 *	  Answers kept for later statements, where a table says so.
 *
 * Separate from share.c, which lives as long as a statement.  The cache is of this
 * session alone and holds whole answers, as rows, for as long as the table's option
 * cache_ttl says.  What may make an answer wrong or change who asks (ALTER, another
 * mapping, our own writes) drops it; callbacks only mark, since they must not free
 * anything.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "fdw/share.h"

/* A larger answer is not kept for later. */
#define LARGEST_KEPT (16 * 1024 * 1024)

PG_FUNCTION_INFO_V1(databricks_discard_cache);

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

static List			*kept_answers = NIL;
static MemoryContext cache_context = NULL;
static uint64		 changes = 0; /* that may make an answer wrong */

static char *asked_text(const DbxShare *share);
static Kept *find_kept(const DbxShare *share);
static void	 drop_stale(void);
static void	 register_callbacks(void);

/* Put the rows of this answer into its store, if they are kept.  False: not. */
bool
dbx_cache_read(DbxShare *share)
{
	Kept		   *kept;
	TupleTableSlot *slot;
	ListCell	   *cell;

	register_callbacks();
	share->changes = changes;
	kept = find_kept(share);
	if (kept == NULL)
		return false;
	slot = MakeSingleTupleTableSlot(share->table->desc, &TTSOpsMinimalTuple);
	foreach(cell, kept->rows)
	{
		ExecStoreMinimalTuple((MinimalTuple) lfirst(cell), slot, false);
		tuplestore_puttupleslot(share->store, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return true;
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

/*
 * Keep a whole answer for later statements, unless it may have become wrong while it
 * was read.
 */
void
dbx_cache_keep(DbxShare *share)
{
	MemoryContext	previous;
	MemoryContext	context;
	TupleTableSlot *slot;
	Kept		   *kept;
	Size			size = 0;

	if (share->changes != changes)
		return;
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

	changes++;
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

	changes++;
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
