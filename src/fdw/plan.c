/*
 * plan.c
 *	  Paths and plans of foreign tables.
 *
 * Separate because it alone knows costs.  What costs is the call: every path
 * is priced by the calls it makes, so that the planner chooses between reading
 * a list and looking objects up one by one.  No call is made here.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "access/table.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "fdw/fdw.h"

/* Calls until the newest rows are known, and the factor to read all that way. */
#define ORDERED_FIRST_CALLS 3
#define ORDERED_FACTOR		1.2

/*
 * Makes a scan that lacks a condition dearer than any that has it; it must be
 * there, since a plan is only refused when it is run.
 */
#define IMPOSSIBLE_WEIGHT 1e10

/* What planning keeps about a foreign table, in RelOptInfo.fdw_private. */
typedef struct DbxPlanTable
{
	DbxTable	 *table;
	DbxWorkspace *server; /* its costs */
	bool		 *needed; /* columns, over res->columns */
	bool		  has_triggers;
} DbxPlanTable;

/* What some conditions make of a scan. */
typedef struct DbxEstimate
{
	double rows; /* fetched; the conditions not sent come after */
	double calls;
	bool   by_key;
	bool   possible; /* no condition is missing */
	Cost   first;	 /* cost until the first row */
	Cost   all;
} DbxEstimate;

static bool	 is_whole_row_unused(PlannerInfo *root, RelOptInfo *baserel);
static List *used_attributes(PlannerInfo *root, RelOptInfo *baserel,
							 List *clauses);
static void estimate_scan(PlannerInfo *root, RelOptInfo *baserel, List *clauses,
						  List *conditions, DbxEstimate *estimate);
static double count_values(PlannerInfo *root, const DbxTable *table,
						   List *conditions);
static List	 *find_lookups(PlannerInfo *root, RelOptInfo *baserel);
static List	 *add_lookups(PlannerInfo *root, RelOptInfo *baserel, List *clauses,
						  List *infos);
static void	  add_ordered_path(PlannerInfo *root, RelOptInfo *baserel,
							   const DbxEstimate *estimate);
static DbxOrder wanted_order(PlannerInfo *root, RelOptInfo *baserel);
static List	   *manner_of(PlannerInfo *root, ForeignPath *path);
static bool		is_lookup_column(PlannerInfo *root, RelOptInfo *rel,
								 EquivalenceClass *ec, EquivalenceMember *em,
								 void *arg);

void
databricksGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel,
							Oid foreigntableid)
{
	DbxPlanTable *plan = (DbxPlanTable *) palloc0(sizeof(DbxPlanTable));
	Relation	  rel;
	List		 *conditions;

	rel = table_open(foreigntableid, NoLock);
	plan->table = dbx_fdw_table(rel);
	plan->has_triggers = rel->trigdesc != NULL;
	table_close(rel, NoLock);
	plan->server = dbx_fdw_server(plan->table->serverid);
	baserel->fdw_private = plan;
	plan->needed = dbx_fdw_needed_columns(
		plan->table, used_attributes(root, baserel, baserel->baserestrictinfo));

	if (baserel->tuples < 0)
		baserel->tuples = plan->table->res->rows;
	set_baserel_size_estimates(root, baserel);

	/* the statistics do not know that a key names at most one row */
	conditions = dbx_fdw_choose_conditions(root, plan->table, baserel->relid,
										   baserel->baserestrictinfo);
	if (dbx_fdw_key_filter(plan->table, conditions) != NULL)
		baserel->rows = clamp_row_est(
			Min(baserel->rows, count_values(root, plan->table, conditions)));
}

void
databricksGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
						  Oid foreigntableid)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	DbxEstimate	  estimate;
	List		 *conditions;
	ListCell	 *cell;

	conditions = dbx_fdw_choose_conditions(root, plan->table, baserel->relid,
										   baserel->baserestrictinfo);
	estimate_scan(root, baserel, baserel->baserestrictinfo, conditions,
				  &estimate);
	add_path(baserel,
			 (Path *) dbx_create_foreignscan_path(
				 root, baserel, NULL, baserel->rows, 0, estimate.first,
				 estimate.all, NIL, baserel->lateral_relids, NULL, NIL, NIL));

	/* nothing beats a key that is known already */
	if (estimate.by_key)
		return;
	add_ordered_path(root, baserel, &estimate);

	foreach(cell, find_lookups(root, baserel))
	{
		ParamPathInfo *info = (ParamPathInfo *) lfirst(cell);
		List		  *clauses = list_concat_copy(baserel->baserestrictinfo,
												  info->ppi_clauses);

		conditions = dbx_fdw_choose_conditions(root, plan->table,
											   baserel->relid, clauses);
		estimate_scan(root, baserel, clauses, conditions, &estimate);
		if (!estimate.possible)
			continue;
		add_path(baserel,
				 (Path *) dbx_create_foreignscan_path(
					 root, baserel, NULL,
					 estimate.by_key ? Min(info->ppi_rows, estimate.rows)
									 : info->ppi_rows,
					 0, estimate.first, estimate.all, NIL, info->ppi_req_outer,
					 NULL, NIL, NIL));
	}
}

ForeignScan *
databricksGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel,
						 Oid foreigntableid, ForeignPath *best_path,
						 List *tlist, List *scan_clauses, Plan *outer_plan)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	List		 *quals = extract_actual_clauses(scan_clauses, false);
	List		 *conditions;
	List		 *values = NIL;
	List		 *local = NIL;
	Bitmapset	 *sent = NULL;
	DbxEstimate	  estimate;
	ListCell	 *cell;
	int			  i;

	conditions = dbx_fdw_choose_conditions(root, plan->table, baserel->relid,
										   scan_clauses);
	estimate_scan(root, baserel, scan_clauses, conditions, &estimate);
	foreach(cell, conditions)
	{
		DbxCondition *condition = lfirst(cell);

		values = lappend(values, condition->value);
		sent = bms_add_member(sent, condition->clause);
	}
	for (i = 0; i < list_length(quals); i++)
	{
		if (!bms_is_member(i, sent))
			local = lappend_int(local, i);
	}

	/* all conditions are checked here, also those that are sent */
	return make_foreignscan(
		tlist, quals, baserel->relid, values,
		lappend(list_make5(dbx_fdw_save_conditions(conditions),
						   used_attributes(root, baserel, scan_clauses), local,
						   makeFloat(psprintf("%.0f", estimate.calls)),
						   manner_of(root, best_path)),
				list_make1_oid(foreigntableid)),
		NIL, NIL, outer_plan);
}

/*
 * Newest first, if that is what the query wants and the list can be asked for
 * in ranges of time.  It takes up to three calls until the first rows are known
 * to be the newest, and a little more than a list as it comes to read all.
 */
static void
add_ordered_path(PlannerInfo *root, RelOptInfo *baserel,
				 const DbxEstimate *estimate)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	DbxOrder	  order = wanted_order(root, baserel);
	Cost		  first = Min(estimate->all,
							  plan->server->fdw_startup_cost * ORDERED_FIRST_CALLS +
								  baserel->baserestrictcost.startup);

	if (order == DBX_ORDER_NONE)
		return;
	add_path(baserel,
			 (Path *) dbx_create_foreignscan_path(
				 root, baserel, NULL, baserel->rows, 0, first,
				 estimate->all * ORDERED_FACTOR,
				 list_make1(linitial(root->query_pathkeys)),
				 baserel->lateral_relids, NULL, NIL,
				 list_make1(makeInteger(order))));
}

/*
 * Does the query begin its order with the newest first?  What comes after that
 * is not promised: the server sorts elements of the same time itself.
 */
static DbxOrder
wanted_order(PlannerInfo *root, RelOptInfo *baserel)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	PathKey		 *pathkey;
	ListCell	 *cell;

	if (root->query_pathkeys == NIL || !plan->table->pushdown ||
		plan->table->res->time_member == NULL)
		return DBX_ORDER_NONE;
	pathkey = linitial_node(PathKey, root->query_pathkeys);
	if (dbx_pathkey_is_ascending(pathkey) || pathkey->pk_eclass->ec_has_volatile)
		return DBX_ORDER_NONE;

	foreach(cell, pathkey->pk_eclass->ec_members)
	{
		EquivalenceMember *member = lfirst(cell);
		Var				  *var = (Var *) member->em_expr;
		const DbxColumn	  *column;

		if (!IsA(var, Var) || var->varno != baserel->relid ||
			var->varlevelsup != 0 || var->varattno <= 0 ||
			plan->table->columns[var->varattno - 1] < 0)
			continue;
		column = &plan->table->res
					  ->columns[plan->table->columns[var->varattno - 1]];
		if (column->convert == DBX_CONVERT_TIME_MS &&
			strcmp(column->paths[0] +
					   (plan->table->res->unnest != NULL &&
						column->paths[0][0] == '^'),
				   plan->table->res->time_member) == 0 &&
			(plan->table->res->unnest == NULL || column->paths[0][0] == '^'))
			return pathkey->pk_nulls_first ? DBX_ORDER_NULLS_FIRST
										   : DBX_ORDER_NULLS_LAST;
	}
	return DBX_ORDER_NONE;
}

/* How the list is to be read: see DbxManner. */
static List *
manner_of(PlannerInfo *root, ForeignPath *path)
{
	DbxReading reading = DBX_READ_WHOLE;
	DbxOrder   order = DBX_ORDER_NONE;
	double	   enough = 0;

	/* what is to be sorted first is read whole, however few are wanted then */
	if (root->query_pathkeys == NIL || path->path.pathkeys != NIL)
	{
		if (root->limit_tuples > 0)
			enough = root->limit_tuples;
		else if (root->tuple_fraction >= 1)
			enough = root->tuple_fraction;
		if (enough > 0)
			reading = DBX_READ_FEW;
		else if (root->tuple_fraction > 0)
			reading = DBX_READ_PART;
	}
	/* to sort what is equal, the server looks for the next that is not */
	if (enough > 0 && list_length(root->query_pathkeys) > 1)
		enough++;
	if (path->fdw_private != NIL)
		order = (DbxOrder) intVal(linitial(path->fdw_private));
	return list_make3_int(reading, order, (int) Min(enough, 100000));
}

/*
 * For an UPDATE the server asks for the whole old row, to make the new one of it.
 * All columns of a row can be dear, and where nobody looks at the new row we do
 * not need it: only what is set is written.
 */
static bool
is_whole_row_unused(PlannerInfo *root, RelOptInfo *baserel)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	Bitmapset	 *used = NULL;
	ListCell	 *cell;

	if (root->parse->commandType != CMD_UPDATE || plan->has_triggers ||
		root->parse->resultRelation != (int) baserel->relid ||
		root->parse->returningList != NIL ||
		root->parse->withCheckOptions != NIL)
		return false;
	foreach(cell, root->processed_tlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk || strcmp(entry->resname, "wholerow") != 0)
			pull_varattnos((Node *) entry->expr, baserel->relid, &used);
	}
	foreach(cell, baserel->joininfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause,
					   baserel->relid, &used);
	return !bms_is_member(-FirstLowInvalidHeapAttributeNumber, used);
}

/* Attribute numbers (0: the whole row) used above the scan or in its conditions. */
static List *
used_attributes(PlannerInfo *root, RelOptInfo *baserel, List *clauses)
{
	Bitmapset *used = NULL;
	List	  *attnos = NIL;
	ListCell  *cell;
	int		   i = -1;

	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &used);
	foreach(cell, clauses)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause,
					   baserel->relid, &used);
	if (is_whole_row_unused(root, baserel))
		used = bms_del_member(used, -FirstLowInvalidHeapAttributeNumber);
	while ((i = bms_next_member(used, i)) >= 0)
	{
		if (i + FirstLowInvalidHeapAttributeNumber >= 0)
			attnos = lappend_int(attnos, i + FirstLowInvalidHeapAttributeNumber);
	}
	return attnos;
}

static void
estimate_scan(PlannerInfo *root, RelOptInfo *baserel, List *clauses,
			  List *conditions, DbxEstimate *estimate)
{
	DbxPlanTable	  *plan = (DbxPlanTable *) baserel->fdw_private;
	const DbxResource *res = plan->table->res;
	RestrictInfo **actual = palloc(list_length(clauses) * sizeof(RestrictInfo *));
	int			   nactual = 0;
	List		  *sent = NIL;
	double		   lists = count_values(root, plan->table, conditions);
	double		   weight = 1;
	double		   details = 0;
	ListCell	  *cell;
	int			   i;

	/* the numbering of choose_conditions(), which leaves out pseudoconstants */
	foreach(cell, clauses)
	{
		if (!lfirst_node(RestrictInfo, cell)->pseudoconstant)
			actual[nactual++] = lfirst(cell);
	}
	foreach(cell, conditions)
		sent = lappend(sent, actual[((DbxCondition *) lfirst(cell))->clause]);

	estimate->by_key = dbx_fdw_key_filter(plan->table, conditions) != NULL;
	if (estimate->by_key)
	{
		estimate->rows = lists;
		estimate->calls = lists;
		weight = res->get_cost;
	}
	else
	{
		estimate->rows = clamp_row_est(
			baserel->tuples *
			clauselist_selectivity(root, sent, baserel->relid, JOIN_INNER, NULL));
		estimate->calls = Max(lists,
							  ceil(estimate->rows / Max(res->page_size, 1)));
		if (res->page_size == 0)
			estimate->calls = lists;
		for (i = 0; i < res->ncolumns; i++)
		{
			if (plan->needed[i] &&
				(res->columns[i].flags & DBX_COLUMN_DETAIL) != 0)
				details = estimate->rows;
		}
	}

	/* it cannot be done; see check_required() in scan.c */
	estimate->possible = dbx_fdw_missing_key(plan->table, conditions) == NULL;
	if (!estimate->possible)
		weight = IMPOSSIBLE_WEIGHT;

	estimate->first = plan->server->fdw_startup_cost * weight +
		baserel->baserestrictcost.startup;
	estimate->all = baserel->baserestrictcost.startup +
		plan->server->fdw_startup_cost *
			(estimate->calls * weight + details * res->get_cost) +
		(plan->server->fdw_tuple_cost + cpu_tuple_cost +
		 baserel->baserestrictcost.per_tuple) *
			estimate->rows;
	estimate->calls += details;
}

/* Into how many calls, or lists of pages, the values of conditions divide a scan. */
static double
count_values(PlannerInfo *root, const DbxTable *table, List *conditions)
{
	double	  count = 1;
	ListCell *cell;

	foreach(cell, conditions)
	{
		DbxCondition *condition = lfirst(cell);

		if (dbx_fdw_asks_each(table, condition))
			count = Max(count,
						dbx_estimate_array_length(root,
												  (Node *) condition->value));
	}
	return count;
}

/*
 * Joins through which rows could be asked for one by one, as ParamPathInfos,
 * each once.
 */
static List *
find_lookups(PlannerInfo *root, RelOptInfo *baserel)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	List		 *movable = NIL;
	List		 *infos = NIL;
	Relids		  outer;
	ListCell	 *cell;
	AttrNumber	  attno;

	foreach(cell, baserel->joininfo)
	{
		if (join_clause_is_movable_to(lfirst_node(RestrictInfo, cell), baserel))
			movable = lappend(movable, lfirst(cell));
	}
	infos = add_lookups(root, baserel, movable, infos);
	outer = NULL;

	for (attno = 1; baserel->has_eclass_joins && attno <= plan->table->natts;
		 attno++)
	{
		if (dbx_fdw_is_lookup(plan->table, attno))
			infos = add_lookups(root, baserel,
								generate_implied_equalities_for_column(
									root, baserel, is_lookup_column, &attno,
									baserel->lateral_referencers),
								infos);
	}

	/* what one relation lacks another may have */
	foreach(cell, infos)
		outer = bms_add_members(outer,
								((ParamPathInfo *) lfirst(cell))->ppi_req_outer);
	if (list_length(infos) > 1)
		infos = list_append_unique_ptr(infos,
									   get_baserel_parampathinfo(root, baserel,
																 outer));
	return infos;
}

/* Add the ParamPathInfos of those clauses that make a look-up. */
static List *
add_lookups(PlannerInfo *root, RelOptInfo *baserel, List *clauses, List *infos)
{
	DbxPlanTable *plan = (DbxPlanTable *) baserel->fdw_private;
	ListCell	 *cell;

	foreach(cell, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		List		 *conditions = dbx_fdw_choose_conditions(root, plan->table,
															 baserel->relid,
															 list_make1(rinfo));
		Relids		  outer;
		bool		  lookup = false;
		int			  attno;

		if (conditions == NIL)
			continue;
		for (attno = 1; attno <= plan->table->natts; attno++)
		{
			if (dbx_fdw_is_lookup(plan->table, attno) &&
				plan->table->columns[attno - 1] ==
					((DbxCondition *) linitial(conditions))->column)
				lookup = true;
		}
		outer = bms_union(rinfo->clause_relids, baserel->lateral_relids);
		outer = bms_del_member(outer, baserel->relid);
		if (lookup && !bms_is_empty(outer))
			infos = list_append_unique_ptr(
				infos, get_baserel_parampathinfo(root, baserel, outer));
	}
	return infos;
}

/* Callback: is this member of an equivalence class the column asked about? */
static bool
is_lookup_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
				 EquivalenceMember *em, void *arg)
{
	Node *node = (Node *) em->em_expr;

	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node != NULL && IsA(node, Var) &&
		((Var *) node)->varno == rel->relid &&
		((Var *) node)->varattno == *(AttrNumber *) arg;
}
