/*
 * scan.c
 *	  Scans of foreign tables: from elements to rows, and rescans.
 *
 * Separate because it owns what a scan keeps in memory.  Who asks is settled
 * when the scan begins; nothing is asked before the first row is wanted.
 *
 * A rescan must see the same rows and make no call a second time, nor must another
 * node of the statement that asks the same.  So rows are kept where either may come
 * (share.c), as they were before local conditions.
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

#include "compat.h"
#include "fdw/share.h"

typedef struct DbxScan
{
	DbxScanInfo	  info; /* first, see dbx_fdw_scan_info() */
	DbxWorkspace *workspace;
	DbxManner	  manner;
	List		 *value_states; /* ExprStates of the conditions' values */
	Bitmapset	 *params;		/* what those values depend on */
	bool		  settle; /* what to ask is not known, or may have changed */

	/* rows that nobody will ask for again are not kept */
	MemoryContext request_context; /* request and fetch */
	DbxFetch	 *fetch;

	/* others are shared with whoever asks the same */
	bool			keeping;
	DbxShares	   *shares;
	DbxShare	   *share;	 /* NULL: not joined yet */
	int				pointer; /* into it */
	TupleTableSlot *stored_slot;
} DbxScan;

/* The scans of a statement that may ask the same as one of them. */
typedef struct Twins
{
	const ForeignScan *scan;
	List			  *same; /* they certainly do, and the scan itself */
	List			  *like; /* it depends on values */
} Twins;

static void read_shared(ForeignScanState *node, TupleTableSlot *slot);
static void find_twins(Plan *plan, Twins *twins);
static bool unite_twins(ForeignScanState *node);
static void load_manner(DbxScan *scan, List *saved);
static bool may_be_rescanned(ForeignScanState *node, int eflags);
static bool is_rescanned(Plan *plan, const Plan *scan, bool repeated);
static bool any_is_rescanned(List *plans, const Plan *scan, bool repeated);
static void settle_request(ForeignScanState *node);
static void join_share(ForeignScanState *node, DbxRequest *request,
					   MemoryContext context);
static DbxRequest *evaluate_request(ForeignScanState *node,
									MemoryContext	  context);
static void		   check_required(const DbxScan *scan);
static void		   fill_slot(const DbxScan *scan, const bool *needed,
							 const DbxRow *row, TupleTableSlot *slot);
static void		   take_stored(DbxScan *scan, TupleTableSlot *slot);

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
	scan->settle = true;
	scan->keeping = unite_twins(node) || may_be_rescanned(node, eflags) ||
		(scan->info.table->cache_ttl > 0 && bms_is_empty(scan->params));
	scan->shares = dbx_shares_enter(estate);
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
	if (scan->settle)
		settle_request(node);
	if (scan->keeping)
	{
		read_shared(node, slot);
		return slot;
	}
	while (dbx_fetch_next(scan->fetch, &row, &key))
	{
		if (row.element == NULL)
			continue;
		fill_slot(scan, scan->info.needed, &row, slot);
		break;
	}
	return slot;
}

void
databricksReScanForeignScan(ForeignScanState *node)
{
	DbxScan *scan = (DbxScan *) node->fdw_state;

	if (scan->settle)
		return;
	scan->settle = bms_overlap(node->ss.ps.chgParam, scan->params);
	if (scan->keeping)
	{
		dbx_share_rewind(scan->share, scan->pointer);
		return;
	}

	/* not foreseen: ask once more, and keep the rows from now on */
	MemoryContextDelete(scan->request_context);
	scan->request_context = NULL;
	scan->settle = scan->keeping = true;
}

void
databricksEndForeignScan(ForeignScanState *node)
{
	DbxScan *scan = (DbxScan *) node->fdw_state;

	if (scan == NULL || scan->shares == NULL)
		return;
	dbx_shares_leave(scan->shares);
	ExecDropSingleTupleTableSlot(scan->stored_slot);
	if (scan->request_context != NULL)
		MemoryContextDelete(scan->request_context);
}

const DbxScanInfo *
dbx_fdw_scan_info(ForeignScanState *node)
{
	return (const DbxScanInfo *) node->fdw_state;
}

/* The next row of what was asked, by this scan or by another. */
static void
read_shared(ForeignScanState *node, TupleTableSlot *slot)
{
	DbxScan	   *scan = (DbxScan *) node->fdw_state;
	DbxShare   *share = scan->share;
	DbxRow		row;
	const char *key;

	if (dbx_share_next(share, scan->pointer, scan->stored_slot))
	{
		take_stored(scan, slot);
		return;
	}
	while (!share->done && dbx_share_fetch(share, &row, &key))
	{
		if (row.element == NULL)
		{
			dbx_share_add(share, key, NULL);
			continue;
		}
		fill_slot(scan, share->needed, &row, slot);
		dbx_share_add(share, key, slot);
		return;
	}
}

/* Gather the scans of a plan tree that may ask the same. */
static void
find_twins(Plan *plan, Twins *twins)
{
	const ForeignScan *scan = twins->scan;
	ForeignScan		  *other;
	List			  *plans = NIL;
	ListCell		  *cell;
	ListCell		  *value;

	if (plan == NULL)
		return;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_ForeignScan:
			other = (ForeignScan *) plan;
			if (other->fs_server != scan->fs_server ||
				other->scan.scanrelid == 0 ||
				!equal(list_nth(other->fdw_private, DBX_PLAN_CONDITIONS),
					   list_nth(scan->fdw_private, DBX_PLAN_CONDITIONS)) ||
				!equal(list_nth(other->fdw_private, DBX_PLAN_TABLE),
					   list_nth(scan->fdw_private, DBX_PLAN_TABLE)))
				break;
			if (equal(other->fdw_exprs, scan->fdw_exprs))
			{
				twins->same = lappend(twins->same, other);
				break;
			}
			forboth(cell, other->fdw_exprs, value, scan->fdw_exprs)
			{
				if (IsA(lfirst(cell), Const) && IsA(lfirst(value), Const) &&
					!equal(lfirst(cell), lfirst(value)))
					break;
			}
			if (cell == NULL)
				twins->like = lappend(twins->like, other);
			break;
		case T_Append:
			plans = ((Append *) plan)->appendplans;
			break;
		case T_MergeAppend:
			plans = ((MergeAppend *) plan)->mergeplans;
			break;
		case T_SubqueryScan:
			find_twins(((SubqueryScan *) plan)->subplan, twins);
			break;
		case T_CustomScan:
			plans = ((CustomScan *) plan)->custom_plans;
			break;
		default:
			break;
	}
	foreach(cell, plans)
		find_twins((Plan *) lfirst(cell), twins);
	find_twins(plan->lefttree, twins);
	find_twins(plan->righttree, twins);
}

/*
 * May another node of the statement ask the same?  Then both read the columns that
 * either needs, but for those that cost calls where it is not certain.
 */
static bool
unite_twins(ForeignScanState *node)
{
	DbxScan			  *scan = (DbxScan *) node->fdw_state;
	const DbxResource *res = scan->info.table->res;
	PlannedStmt		  *statement = node->ss.ps.state->es_plannedstmt;
	Twins			   twins = {(ForeignScan *) node->ss.ps.plan, NIL, NIL};
	bool			   by_key;
	int				   nsame;
	int				   n = 0;
	ListCell		  *cell;
	int				   i;

	find_twins(statement->planTree, &twins);
	foreach(cell, statement->subplans)
		find_twins((Plan *) lfirst(cell), &twins);
	nsame = list_length(twins.same);
	by_key = dbx_fdw_key_filter(scan->info.table, scan->info.conditions) != NULL;
	foreach(cell, list_concat(twins.same, twins.like))
	{
		bool *needed = dbx_fdw_needed_columns(
			scan->info.table,
			list_nth(((ForeignScan *) lfirst(cell))->fdw_private,
					 DBX_PLAN_COLUMNS));

		for (i = 0; i < res->ncolumns; i++)
			scan->info.needed[i] |= needed[i] &&
				(n < nsame || by_key || res->columns[i].flags == 0);
		n++;
	}
	return n > 1;
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

/* Settle what to ask, from the present values of the conditions. */
static void
settle_request(ForeignScanState *node)
{
	DbxScan		 *scan = (DbxScan *) node->fdw_state;
	MemoryContext context;
	DbxRequest	 *request;
	MemoryContext previous;

	check_required(scan);
	context = AllocSetContextCreate(node->ss.ps.state->es_query_cxt,
									"databricks request", ALLOCSET_SMALL_SIZES);
	request = evaluate_request(node, context);
	scan->settle = false;
	if (scan->keeping)
	{
		join_share(node, request, context);
		return;
	}
	previous = MemoryContextSwitchTo(context);
	scan->request_context = context;
	scan->fetch = dbx_fetch_open(scan->workspace, scan->info.table->res,
								 request, scan->info.needed, &scan->manner,
								 &scan->info.stats);
	MemoryContextSwitchTo(previous);
}

/* Read the answer to this from its beginning. */
static void
join_share(ForeignScanState *node, DbxRequest *request, MemoryContext context)
{
	DbxScan *scan = (DbxScan *) node->fdw_state;
	DbxAsked asked = {0};

	if (scan->share != NULL)
	{
		if (dbx_fdw_same_request(scan->share->request, request))
		{
			MemoryContextDelete(context);
			return;
		}
		dbx_share_leave(scan->share, scan->pointer);
		scan->share = NULL;
	}
	asked.table = scan->info.table;
	asked.workspace = scan->workspace;
	asked.request = request;
	asked.context = context;
	asked.needed = scan->info.needed;
	asked.manner = &scan->manner;
	asked.for_later = scan->info.table->cache_ttl > 0 &&
		bms_is_empty(scan->params);
	asked.stats = &scan->info.stats;
	scan->share = dbx_share_join(scan->shares, &asked, &scan->pointer);
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
fill_slot(const DbxScan *scan, const bool *needed, const DbxRow *row,
		  TupleTableSlot *slot)
{
	const DbxTable *table = scan->info.table;
	int				i;

	for (i = 0; i < table->natts; i++)
	{
		int column = table->columns[i];

		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (column >= 0 && needed[column])
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
