/*
 * scan.c
 *	  Scans of foreign tables: from elements to rows, and rescans.
 *
 * Separate because it owns what a scan keeps in memory.  Who asks is settled
 * when the scan begins; nothing is asked before the first row is wanted.
 *
 * A rescan must see the same rows and make no call a second time, so rows are
 * kept where a rescan may come: in a tuplestore for the request in hand, by key
 * for look-ups.  Rows are kept as they were before local conditions, and
 * only within one scan of one statement, hence for one identity.
 *
 * Iteration runs in the executor's memory for one row, which holds the values
 * of the row handed out; everything that lasts longer has its own context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "fdw/share.h"

#define KNOWN_KEY_SIZE 64

typedef struct KnownRow
{
	char		 key[KNOWN_KEY_SIZE];
	MinimalTuple tuple; /* NULL: there is nothing of that key */
} KnownRow;

typedef struct DbxScan
{
	DbxScanInfo	  info; /* first, see dbx_fdw_scan_info() */
	DbxWorkspace *workspace;
	DbxManner	  manner;
	List		 *value_states; /* ExprStates of the conditions' values */
	Bitmapset	 *params;		/* what those values depend on */

	bool		  started;
	bool		  check_request;   /* values may have changed since */
	MemoryContext request_context; /* request, fetch, pending rows */
	DbxRequest	 *request;
	DbxFetch	 *fetch;
	List		 *pending; /* MinimalTuples known from earlier look-ups */
	int			  next_pending;

	bool	  shared; /* other nodes, or statements, read what this one reads */
	DbxShare *share;  /* NULL: not joined yet */
	int		  pointer; /* into it */

	bool			 storing; /* keep rows for a rescan */
	Tuplestorestate *store;	  /* rows of the request so far */
	bool			 reading; /* rows come out of the store */
	TupleTableSlot	*stored_slot;

	HTAB		 *known; /* rows by key; NULL: none kept yet */
	MemoryContext known_context;
} DbxScan;

static void	 read_shared(ForeignScanState *node, TupleTableSlot *slot);
static List *find_twins(Plan *plan, const ForeignScan *scan, List *twins);
static bool	 unite_twins(ForeignScanState *node);
static void	 load_manner(DbxScan *scan, List *saved);
static bool	 may_be_rescanned(ForeignScanState *node, int eflags);
static bool	 is_rescanned(Plan *plan, const Plan *scan, bool repeated);
static bool	 any_is_rescanned(List *plans, const Plan *scan, bool repeated);
static void	 start_request(ForeignScanState *node);
static void	 open_request(DbxScan *scan, DbxRequest *request,
						  MemoryContext context);
static DbxRequest *evaluate_request(ForeignScanState *node,
									MemoryContext	  context);
static DbxRequest *leave_out_known(DbxScan *scan, DbxRequest *request);
static void remember_row(DbxScan *scan, const char *key, TupleTableSlot *slot);
static void check_required(const DbxScan *scan);
static void fill_slot(DbxScan *scan, const DbxRow *row, TupleTableSlot *slot);
static void take_stored(DbxScan *scan, TupleTableSlot *slot);

void
databricksBeginForeignScan(ForeignScanState *node, int eflags)
{
	ForeignScan	  *plan = (ForeignScan *) node->ss.ps.plan;
	EState		  *estate = node->ss.ps.state;
	DbxScan		  *scan = (DbxScan *) palloc0(sizeof(DbxScan));
	RangeTblEntry *rte = exec_rt_fetch(plan->scan.scanrelid, estate);
	ListCell	  *cell;
	Oid			   userid;

	node->fdw_state = scan;
	scan->info.table = dbx_fdw_table(node->ss.ss_currentRelation);
	scan->info.conditions = dbx_fdw_load_conditions(
		list_nth(plan->fdw_private, DBX_PLAN_CONDITIONS), plan->fdw_exprs);
	scan->info.needed = dbx_fdw_needed_columns(scan->info.table,
											   list_nth(plan->fdw_private,
														DBX_PLAN_COLUMNS));
	load_manner(scan, list_nth(plan->fdw_private, DBX_PLAN_MANNER));
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
		return;

	userid = dbx_scan_check_as_user(plan, rte);
	if (!OidIsValid(userid))
		userid = GetUserId();
	(void) rte;
	scan->workspace = dbx_workspace_by_server(scan->info.table->serverid,
											  userid);

	scan->value_states = ExecInitExprList(plan->fdw_exprs, &node->ss.ps);
	foreach(cell, plan->fdw_exprs)
		scan->params = bms_join(scan->params,
								pull_paramids((Expr *) lfirst(cell)));
	scan->storing = may_be_rescanned(node, eflags);
	scan->shared = bms_is_empty(scan->params) &&
		(scan->info.table->cache_ttl > 0 || unite_twins(node));
	scan->stored_slot = MakeSingleTupleTableSlot(
		RelationGetDescr(node->ss.ss_currentRelation), &TTSOpsMinimalTuple);
}

static void
load_manner(DbxScan *scan, List *saved)
{
	scan->manner.reading = (DbxReading) linitial_int(saved);
	scan->manner.order = (DbxOrder) lsecond_int(saved);
	scan->manner.enough = lthird_int(saved);
	scan->manner.in_windows = scan->info.table->pushdown;
	scan->info.ordered = scan->manner.order != DBX_ORDER_NONE;
}

TupleTableSlot *
databricksIterateForeignScan(ForeignScanState *node)
{
	DbxScan		   *scan = (DbxScan *) node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	DbxRow			row;
	const char	   *key;

	ExecClearTuple(slot);
	if (scan->shared)
	{
		read_shared(node, slot);
		return slot;
	}
	if (!scan->started || scan->check_request)
		start_request(node);

	if (scan->reading)
	{
		if (tuplestore_gettupleslot(scan->store, true, false, scan->stored_slot))
		{
			take_stored(scan, slot);
			return slot;
		}
		scan->reading = false;
	}

	if (scan->next_pending < list_length(scan->pending))
	{
		ExecStoreMinimalTuple(list_nth(scan->pending, scan->next_pending++),
							  scan->stored_slot, false);
		take_stored(scan, slot);
		if (scan->store != NULL)
			tuplestore_puttupleslot(scan->store, slot);
		return slot;
	}

	while (dbx_fetch_next(scan->fetch, &row, &key))
	{
		if (row.element == NULL)
		{
			remember_row(scan, key, NULL);
			continue;
		}
		fill_slot(scan, &row, slot);
		if (key != NULL)
			remember_row(scan, key, slot);
		if (scan->store != NULL)
			tuplestore_puttupleslot(scan->store, slot);
		return slot;
	}
	return slot;
}

void
databricksReScanForeignScan(ForeignScanState *node)
{
	DbxScan *scan = (DbxScan *) node->fdw_state;

	if (scan->share != NULL)
	{
		tuplestore_select_read_pointer(scan->share->store, scan->pointer);
		tuplestore_rescan(scan->share->store);
		return;
	}
	if (!scan->started)
		return;
	if (bms_overlap(node->ss.ps.chgParam, scan->params))
		scan->check_request = true;

	if (scan->store != NULL)
	{
		tuplestore_rescan(scan->store);
		scan->reading = true;
	}
	else
	{
		/* not foreseen: ask once more, and keep the rows from now on */
		scan->started = false;
		scan->storing = true;
	}
}

void
databricksEndForeignScan(ForeignScanState *node)
{
	DbxScan *scan = (DbxScan *) node->fdw_state;

	if (scan == NULL)
		return;
	if (scan->share != NULL)
		dbx_share_leave(scan->share);
	if (scan->stored_slot != NULL)
		ExecDropSingleTupleTableSlot(scan->stored_slot);
	if (scan->store != NULL)
		tuplestore_end(scan->store);
	if (scan->request_context != NULL)
		MemoryContextDelete(scan->request_context);
	if (scan->known_context != NULL)
		MemoryContextDelete(scan->known_context);
}

const DbxScanInfo *
dbx_fdw_scan_info(ForeignScanState *node)
{
	return (const DbxScanInfo *) node->fdw_state;
}

/* The next row of what several read. */
static void
read_shared(ForeignScanState *node, TupleTableSlot *slot)
{
	DbxScan	   *scan = (DbxScan *) node->fdw_state;
	DbxRow		row;
	const char *key;

	if (scan->share == NULL)
	{
		MemoryContext context;

		check_required(scan);
		context = AllocSetContextCreate(node->ss.ps.state->es_query_cxt,
										"databricks request",
										ALLOCSET_SMALL_SIZES);
		scan->share = dbx_share_open(node->ss.ps.state, scan->info.table,
									 scan->workspace,
									 evaluate_request(node, context),
									 scan->info.needed, &scan->manner,
									 &scan->info.stats);
		scan->pointer = dbx_share_join(scan->share);
	}

	if (dbx_share_next(scan->share, scan->pointer, scan->stored_slot))
	{
		take_stored(scan, slot);
		return;
	}
	while (!scan->share->done)
	{
		if (!dbx_fetch_next(scan->share->fetch, &row, &key))
			dbx_share_finish(scan->share);
		else if (row.element != NULL)
		{
			fill_slot(scan, &row, slot);
			dbx_share_add(scan->share, slot);
			return;
		}
	}
}

/* The scans of a plan tree that would ask the same as this one. */
static List *
find_twins(Plan *plan, const ForeignScan *scan, List *twins)
{
	List	 *plans = NIL;
	ListCell *cell;

	if (plan == NULL)
		return twins;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_ForeignScan:
		{
			ForeignScan *other = (ForeignScan *) plan;

			if (other->fs_server == scan->fs_server &&
				other->scan.scanrelid > 0 &&
				equal(list_nth(other->fdw_private, DBX_PLAN_CONDITIONS),
					  list_nth(scan->fdw_private, DBX_PLAN_CONDITIONS)) &&
				equal(list_nth(other->fdw_private, DBX_PLAN_TABLE),
					  list_nth(scan->fdw_private, DBX_PLAN_TABLE)) &&
				equal(other->fdw_exprs, scan->fdw_exprs))
				twins = lappend(twins, other);
			break;
		}
		case T_Append:
			plans = ((Append *) plan)->appendplans;
			break;
		case T_MergeAppend:
			plans = ((MergeAppend *) plan)->mergeplans;
			break;
		case T_SubqueryScan:
			twins = find_twins(((SubqueryScan *) plan)->subplan, scan, twins);
			break;
		case T_CustomScan:
			plans = ((CustomScan *) plan)->custom_plans;
			break;
		default:
			break;
	}
	foreach(cell, plans)
		twins = find_twins((Plan *) lfirst(cell), scan, twins);
	twins = find_twins(plan->lefttree, scan, twins);
	return find_twins(plan->righttree, scan, twins);
}

/*
 * Does another node of the statement ask the same?  Then both read the columns
 * that either needs.
 */
static bool
unite_twins(ForeignScanState *node)
{
	DbxScan		*scan = (DbxScan *) node->fdw_state;
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	PlannedStmt *statement = node->ss.ps.state->es_plannedstmt;
	List		*twins = find_twins(statement->planTree, plan, NIL);
	ListCell	*cell;
	int			 i;

	foreach(cell, statement->subplans)
		twins = find_twins((Plan *) lfirst(cell), plan, twins);
	if (list_length(twins) < 2)
		return false;
	foreach(cell, twins)
	{
		bool *needed = dbx_fdw_needed_columns(
			scan->info.table,
			list_nth(((ForeignScan *) lfirst(cell))->fdw_private,
					 DBX_PLAN_COLUMNS));

		for (i = 0; i < scan->info.table->res->ncolumns; i++)
			scan->info.needed[i] |= needed[i];
	}
	return true;
}

/*
 * Can this node be asked to begin again?  The executor says so by a flag only
 * where nothing would change; below a nested loop it depends on the plan.
 */
static bool
may_be_rescanned(ForeignScanState *node, int eflags)
{
	PlannedStmt *statement = node->ss.ps.state->es_plannedstmt;

	return (eflags & EXEC_FLAG_REWIND) != 0 ||
		is_rescanned(statement->planTree, node->ss.ps.plan, false) ||
		any_is_rescanned(statement->subplans, node->ss.ps.plan, true);
}

/* Is "scan" in this tree, in a place that runs repeatedly? */
static bool
is_rescanned(Plan *plan, const Plan *scan, bool repeated)
{
	bool inner = repeated;

	if (plan == NULL)
		return false;
	check_stack_depth();
	if (plan == scan)
		return repeated;

	switch (nodeTag(plan))
	{
		case T_NestLoop:
		case T_RecursiveUnion:
			inner = true;
			break;
		case T_Append:
			return any_is_rescanned(((Append *) plan)->appendplans, scan,
									repeated);
		case T_MergeAppend:
			return any_is_rescanned(((MergeAppend *) plan)->mergeplans, scan,
									repeated);
		case T_SubqueryScan:
			return is_rescanned(((SubqueryScan *) plan)->subplan, scan,
								repeated);
		case T_CustomScan:
			return any_is_rescanned(((CustomScan *) plan)->custom_plans, scan,
									true);
		default:
			break;
	}
	return is_rescanned(plan->lefttree, scan, repeated) ||
		is_rescanned(plan->righttree, scan, inner);
}

static bool
any_is_rescanned(List *plans, const Plan *scan, bool repeated)
{
	ListCell *cell;

	foreach(cell, plans)
	{
		if (is_rescanned((Plan *) lfirst(cell), scan, repeated))
			return true;
	}
	return false;
}

/*
 * Settle what to ask, from the present values of the conditions.  If that is
 * what was asked before, the rows kept are as good as new ones.
 */
static void
start_request(ForeignScanState *node)
{
	DbxScan		 *scan = (DbxScan *) node->fdw_state;
	MemoryContext context;
	DbxRequest	 *request;
	bool		  again = scan->started && scan->check_request;

	check_required(scan);
	context = AllocSetContextCreate(node->ss.ps.state->es_query_cxt,
									"databricks request", ALLOCSET_SMALL_SIZES);
	request = evaluate_request(node, context);
	scan->check_request = false;
	scan->started = true;

	if (again && dbx_fdw_same_request(request, scan->request))
	{
		MemoryContextDelete(context);
		return;
	}
	open_request(scan, request, context);
}

static void
open_request(DbxScan *scan, DbxRequest *request, MemoryContext context)
{
	MemoryContext previous;
	DbxRequest	 *asked = request;

	if (scan->request_context != NULL)
		MemoryContextDelete(scan->request_context);
	scan->request_context = context;
	scan->request = request;
	scan->pending = NIL;
	scan->next_pending = 0;
	scan->reading = false;

	if (scan->store != NULL)
		tuplestore_clear(scan->store);

	previous = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	if (scan->store == NULL && scan->storing)
		scan->store = tuplestore_begin_heap(false, false, work_mem);
	MemoryContextSwitchTo(context);
	if (request->by_key && scan->known != NULL)
		asked = leave_out_known(scan, request);
	scan->fetch = dbx_fetch_open(scan->workspace, scan->info.table->res, asked,
								 scan->info.needed, &scan->manner,
								 &scan->info.stats);
	MemoryContextSwitchTo(previous);
}

/* The request that the conditions make now, in that context. */
static DbxRequest *
evaluate_request(ForeignScanState *node, MemoryContext context)
{
	DbxScan			  *scan = (DbxScan *) node->fdw_state;
	ExprContext		  *econtext = node->ss.ps.ps_ExprContext;
	MemoryContext	   previous;
	DbxConditionValue *values;
	DbxRequest		  *request;
	ListCell		  *cell;
	ListCell		  *state;
	int				   n = 0;

	values = (DbxConditionValue *) palloc0(
		Max(list_length(scan->value_states), 1) * sizeof(DbxConditionValue));
	forboth(cell, scan->info.conditions, state, scan->value_states)
	{
		DbxCondition *condition = lfirst(cell);

		values[n].value = ExecEvalExpr((ExprState *) lfirst(state), econtext,
									   &values[n].isnull);
		values[n].type = exprType((Node *) condition->value);
		n++;
	}

	previous = MemoryContextSwitchTo(context);
	request = dbx_fdw_request(scan->info.table, scan->workspace->name,
							  scan->info.conditions, values, scan->info.needed);
	MemoryContextSwitchTo(previous);
	return request;
}

/*
 * The part of a request by key that was not answered before; rows known go to
 * the list of pending ones.
 */
static DbxRequest *
leave_out_known(DbxScan *scan, DbxRequest *request)
{
	DbxRequest *rest = (DbxRequest *) palloc0(sizeof(DbxRequest));
	ListCell   *cell;

	rest->by_key = true;
	foreach(cell, request->keys)
	{
		char	 *key = lfirst(cell);
		KnownRow *row = NULL;

		if (strlen(key) < KNOWN_KEY_SIZE)
			row = (KnownRow *) hash_search(scan->known, key, HASH_FIND, NULL);
		if (row == NULL)
			rest->keys = lappend(rest->keys, key);
		else if (row->tuple != NULL)
			scan->pending = lappend(scan->pending, row->tuple);
	}
	rest->empty = rest->keys == NIL;
	return rest;
}

/*
 * Keep the answer to a look-up, NULL for none, unless too much is kept already:
 * then it is asked for again if need be.
 */
static void
remember_row(DbxScan *scan, const char *key, TupleTableSlot *slot)
{
	MemoryContext previous;
	KnownRow	 *row;

	if (!scan->storing || strlen(key) >= KNOWN_KEY_SIZE)
		return;
	if (scan->known == NULL)
	{
		HASHCTL ctl = {0};

		scan->known_context = AllocSetContextCreate(GetMemoryChunkContext(scan),
													"databricks rows by key",
													ALLOCSET_DEFAULT_SIZES);
		ctl.keysize = KNOWN_KEY_SIZE;
		ctl.entrysize = sizeof(KnownRow);
		ctl.hcxt = scan->known_context;
		scan->known = hash_create("databricks rows by key", 256, &ctl,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	if (MemoryContextMemAllocated(scan->known_context, true) >
		(Size) work_mem * 1024)
		return;

	previous = MemoryContextSwitchTo(scan->known_context);
	row = (KnownRow *) hash_search(scan->known, key, HASH_ENTER, NULL);
	row->tuple = slot == NULL ? NULL : ExecCopySlotMinimalTuple(slot);
	MemoryContextSwitchTo(previous);
}

/* Some lists there are only of something. */
static void
check_required(const DbxScan *scan)
{
	const char *missing = dbx_fdw_missing_key(scan->info.table,
											  scan->info.conditions);

	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION),
				 errmsg("foreign table \"%s\" needs a condition on column \"%s\"",
						scan->info.table->name, missing),
				 errdetail("The service lists these only for one %s at a time.",
						   missing),
				 errhint("Add \"%s = ...\" to the query, or join on it.",
						 missing)));
}

/* Columns not in use stay NULL: nobody looks at them. */
static void
fill_slot(DbxScan *scan, const DbxRow *row, TupleTableSlot *slot)
{
	const DbxTable *table = scan->info.table;
	int				i;

	for (i = 0; i < table->natts; i++)
	{
		int column = table->columns[i];

		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (column >= 0 && scan->info.needed[column])
			slot->tts_values[i] = dbx_resource_row_value(
				&table->res->columns[column], row, scan->workspace->name,
				table->name, &slot->tts_isnull[i]);
	}
	ExecStoreVirtualTuple(slot);
}

/* Hand out the row in stored_slot, which keeps its memory. */
static void
take_stored(DbxScan *scan, TupleTableSlot *slot)
{
	int natts = scan->info.table->natts;

	slot_getallattrs(scan->stored_slot);
	memcpy(slot->tts_values, scan->stored_slot->tts_values,
		   natts * sizeof(Datum));
	memcpy(slot->tts_isnull, scan->stored_slot->tts_isnull,
		   natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}
