/*
 * share.c
 *	  Answers that one execution of a statement keeps, so that nothing is asked twice.
 *
 * Separate from scan.c, which reads for one node.  What was asked belongs to one user
 * mapping; whoever asks the same again, a rescan or another node, reads the same
 * rows, and whoever wants one that is not there yet fetches it for all.
 *
 * An answer that nobody reads at the moment is kept as it is, also when it was not
 * read to its end.  All of these together may take as much memory as a hash table:
 * beyond that the one not read for longest is dropped, and asked for again if need
 * be.  Objects looked up by key are known one by one, since sets of keys overlap; of
 * them there may be as much again.
 *
 * Everything lives in the memory of the statement.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "fdw/share.h"

#define KNOWN_KEY_SIZE 64

typedef struct KnownRow
{
	char		 key[KNOWN_KEY_SIZE];
	MinimalTuple tuple; /* NULL: there is nothing of that key */
} KnownRow;

/* Objects of a table, as one user mapping sees them, with some of its columns. */
typedef struct Known
{
	Oid			  relid;
	Oid			  umid;
	int			  ncolumns;
	const bool	 *needed;
	MemoryContext context;
	HTAB		 *rows;
} Known;

struct DbxShares
{
	dlist_node			  node;
	EState				 *estate;
	int					  users;  /* scans that may ask */
	List				 *shares; /* least recently left first */
	List				 *known;
	Size				  idle; /* memory of those in no use */
	MemoryContextCallback on_reset;
};

static dlist_head statements = DLIST_STATIC_INIT(statements);

static void		 forget_shares(void *arg);
static DbxShare *find_share(const DbxShares *shares, const DbxAsked *asked);
static DbxShare *make_share(DbxShares *shares, const DbxAsked *asked);
static void		 drop_share(DbxShare *share);
static bool		 has_columns(const bool *has, const bool *wanted, int ncolumns);
static Known	*find_known(const DbxShare *share);
static DbxRequest *leave_out_known(DbxShare *share);
static bool remember(DbxShare *share, const char *key, TupleTableSlot *slot);

/* For a scan that may ask: one dbx_shares_leave() has to follow. */
DbxShares *
dbx_shares_enter(EState *estate)
{
	dlist_iter iter;
	DbxShares *shares;

	dlist_foreach(iter, &statements)
	{
		shares = dlist_container(DbxShares, node, iter.cur);
		if (shares->estate == estate)
		{
			shares->users++;
			return shares;
		}
	}
	shares = (DbxShares *) MemoryContextAllocZero(estate->es_query_cxt,
												  sizeof(DbxShares));
	shares->estate = estate;
	shares->users = 1;
	shares->on_reset.func = forget_shares;
	shares->on_reset.arg = shares;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &shares->on_reset);
	dlist_push_head(&statements, &shares->node);
	return shares;
}

/* The last one out gives everything up: rows may be in temporary files. */
void
dbx_shares_leave(DbxShares *shares)
{
	if (--shares->users > 0)
		return;
	while (shares->shares != NIL)
		drop_share((DbxShare *) linitial(shares->shares));
}

/* Reset callback: must not raise. */
static void
forget_shares(void *arg)
{
	dlist_delete(&((DbxShares *) arg)->node);
}

/*
 * The answer to this, new if there is none, and a read pointer into it that is at
 * the beginning.  What the request does not contain must live as long as the
 * statement.  No call is made yet.
 */
DbxShare *
dbx_share_join(DbxShares *shares, const DbxAsked *asked, int *pointer)
{
	DbxShare *share = find_share(shares, asked);

	if (share == NULL)
		share = make_share(shares, asked);
	else
	{
		MemoryContextDelete(asked->context);
		if (share->users == 0)
			shares->idle -= share->size;
	}
	share->users++;

	if (share->free_pointers != NIL)
	{
		*pointer = llast_int(share->free_pointers);
		share->free_pointers = list_delete_last(share->free_pointers);
		dbx_share_rewind(share, *pointer);
	}
	else
	{
		tuplestore_select_read_pointer(share->store, 0);
		*pointer = tuplestore_alloc_read_pointer(share->store, EXEC_FLAG_REWIND);
	}
	return share;
}

/*
 * The next row behind that read pointer, in "slot", which keeps its memory.  False:
 * it has to be fetched, or with share->done there is none.
 */
bool
dbx_share_next(DbxShare *share, int pointer, TupleTableSlot *slot)
{
	MemoryContext previous = MemoryContextSwitchTo(slot->tts_mcxt);
	bool		  found;

	/* what another scan adds may move rows that are in memory to a file */
	tuplestore_select_read_pointer(share->store, pointer);
	found = tuplestore_gettupleslot(share->store, true,
									share->shares->users > 1, slot);
	MemoryContextSwitchTo(previous);
	return found;
}

/*
 * Fetch another row, for whoever's read pointer is selected; see dbx_fetch_next().
 * False: there is none.
 */
bool
dbx_share_fetch(DbxShare *share, DbxRow *row, const char **key)
{
	if (dbx_fetch_next(share->fetch, row, key))
		return true;
	dbx_fetch_close(share->fetch);
	share->fetch = NULL;
	share->done = true;
	if (share->for_later)
		dbx_cache_keep(share);
	return false;
}

/*
 * A row was fetched, by key unless that is NULL, and is in "slot"; a NULL slot: there
 * is nothing of that key.
 */
void
dbx_share_add(DbxShare *share, const char *key, TupleTableSlot *slot)
{
	if (key == NULL || !remember(share, key, slot))
		share->by_key_known = false;
	if (slot != NULL)
		tuplestore_puttupleslot(share->store, slot);
}

void
dbx_share_rewind(DbxShare *share, int pointer)
{
	tuplestore_select_read_pointer(share->store, pointer);
	tuplestore_rescan(share->store);
}

/* This scan reads something else now. */
void
dbx_share_leave(DbxShare *share, int pointer)
{
	DbxShares	 *shares = share->shares;
	MemoryContext previous;
	ListCell	 *cell;

	previous = MemoryContextSwitchTo(share->context);
	share->free_pointers = lappend_int(share->free_pointers, pointer);
	MemoryContextSwitchTo(previous);
	if (--share->users > 0)
		return;
	if (share->done && share->by_key_known)
	{
		drop_share(share);
		return;
	}

	previous = MemoryContextSwitchTo(GetMemoryChunkContext(shares));
	shares->shares = lappend(list_delete_ptr(shares->shares, share), share);
	MemoryContextSwitchTo(previous);
	share->size = MemoryContextMemAllocated(share->context, true);
	shares->idle += share->size;
	while (shares->idle > get_hash_memory_limit())
	{
		foreach(cell, shares->shares)
		{
			share = (DbxShare *) lfirst(cell);
			if (share->users > 0)
				continue;
			shares->idle -= share->size;
			drop_share(share);
			break;
		}
	}
}

/* Columns that are not asked for do no harm, nor does an order. */
static DbxShare *
find_share(const DbxShares *shares, const DbxAsked *asked)
{
	ListCell *cell;

	foreach(cell, shares->shares)
	{
		DbxShare *share = (DbxShare *) lfirst(cell);

		if (share->table->relid == asked->table->relid &&
			share->workspace->umid == asked->workspace->umid &&
			(share->manner->order == asked->manner->order ||
			 asked->manner->order == DBX_ORDER_NONE) &&
			has_columns(share->needed, asked->needed,
						asked->table->res->ncolumns) &&
			dbx_fdw_same_request(share->request, asked->request))
			return share;
	}
	return NULL;
}

static DbxShare *
make_share(DbxShares *shares, const DbxAsked *asked)
{
	MemoryContext previous = MemoryContextSwitchTo(asked->context);
	DbxShare	 *share = (DbxShare *) palloc0(sizeof(DbxShare));
	DbxRequest	 *request = asked->request;

	share->shares = shares;
	share->context = asked->context;
	share->table = asked->table;
	share->workspace = asked->workspace;
	share->request = request;
	share->needed = asked->needed;
	share->manner = asked->manner;
	share->for_later = asked->for_later;
	share->by_key_known = request->by_key;
	share->store = tuplestore_begin_heap(false, false, work_mem);
	tuplestore_set_eflags(share->store, EXEC_FLAG_REWIND);
	if (share->for_later && dbx_cache_read(share))
		share->done = true;
	else
	{
		if (request->by_key)
			request = leave_out_known(share);
		share->fetch = dbx_fetch_open(asked->workspace, asked->table->res,
									  request, asked->needed, asked->manner,
									  asked->stats);
	}
	MemoryContextSwitchTo(GetMemoryChunkContext(shares));
	shares->shares = lappend(shares->shares, share);
	MemoryContextSwitchTo(previous);
	return share;
}

static void
drop_share(DbxShare *share)
{
	share->shares->shares = list_delete_ptr(share->shares->shares, share);
	if (share->fetch != NULL)
		dbx_fetch_close(share->fetch);
	tuplestore_end(share->store);
	MemoryContextDelete(share->context);
}

static bool
has_columns(const bool *has, const bool *wanted, int ncolumns)
{
	int i;

	for (i = 0; i < ncolumns; i++)
	{
		if (wanted[i] && !has[i])
			return false;
	}
	return true;
}

/* The objects known of what this one is about, with all its columns; or NULL. */
static Known *
find_known(const DbxShare *share)
{
	ListCell *cell;

	foreach(cell, share->shares->known)
	{
		Known *known = (Known *) lfirst(cell);

		if (known->relid == share->table->relid &&
			known->umid == share->workspace->umid &&
			has_columns(known->needed, share->needed, known->ncolumns))
			return known;
	}
	return NULL;
}

/* The part of a request by key that was not answered before; the rest is a row. */
static DbxRequest *
leave_out_known(DbxShare *share)
{
	Known		   *known = find_known(share);
	DbxRequest	   *rest;
	TupleTableSlot *slot;
	ListCell	   *cell;

	if (known == NULL || share->request->keys == NIL)
		return unconstify(DbxRequest *, share->request);
	slot = MakeSingleTupleTableSlot(share->table->desc, &TTSOpsMinimalTuple);
	rest = (DbxRequest *) palloc0(sizeof(DbxRequest));
	rest->by_key = true;
	foreach(cell, share->request->keys)
	{
		char	 *key = lfirst(cell);
		KnownRow *row = NULL;

		if (strlen(key) < KNOWN_KEY_SIZE)
			row = (KnownRow *) hash_search(known->rows, key, HASH_FIND, NULL);
		if (row == NULL)
			rest->keys = lappend(rest->keys, key);
		else if (row->tuple != NULL)
		{
			ExecStoreMinimalTuple(row->tuple, slot, false);
			tuplestore_puttupleslot(share->store, slot);
		}
	}
	rest->empty = rest->keys == NIL;
	ExecDropSingleTupleTableSlot(slot);
	return rest;
}

/*
 * Keep the answer to a look-up, NULL for none.  False: too much is kept already, or
 * the key is too long.
 */
static bool
remember(DbxShare *share, const char *key, TupleTableSlot *slot)
{
	Known		 *known = find_known(share);
	KnownRow	 *row;
	MemoryContext previous;

	if (strlen(key) >= KNOWN_KEY_SIZE)
		return false;
	if (known == NULL)
	{
		HASHCTL ctl = {0};

		previous = MemoryContextSwitchTo(GetMemoryChunkContext(share->shares));
		known = (Known *) palloc0(sizeof(Known));
		known->relid = share->table->relid;
		known->umid = share->workspace->umid;
		known->ncolumns = share->table->res->ncolumns;
		known->needed = share->needed;
		known->context = AllocSetContextCreate(CurrentMemoryContext,
											   "databricks rows by key",
											   ALLOCSET_DEFAULT_SIZES);
		ctl.keysize = KNOWN_KEY_SIZE;
		ctl.entrysize = sizeof(KnownRow);
		ctl.hcxt = known->context;
		known->rows = hash_create("databricks rows by key", 256, &ctl,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		share->shares->known = lappend(share->shares->known, known);
		MemoryContextSwitchTo(previous);
	}
	if (MemoryContextMemAllocated(known->context, true) > get_hash_memory_limit())
		return false;

	previous = MemoryContextSwitchTo(known->context);
	row = (KnownRow *) hash_search(known->rows, key, HASH_ENTER, NULL);
	row->tuple = slot == NULL ? NULL : ExecCopySlotMinimalTuple(slot);
	MemoryContextSwitchTo(previous);
	return true;
}
