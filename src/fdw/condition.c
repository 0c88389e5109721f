/*
 * condition.c
 *	  Which conditions of a query the service can take part of the work from.
 *
 * Separate because it is the only file that reads expressions.  The rule is:
 * the descriptor lists column and operator, the other side is known when the
 * scan starts, and whatever is chosen here is checked again on every row.  So
 * a choice can only be wrong by asking for too little.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_type_d.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "fdw/fdw.h"

static DbxCondition *read_condition(PlannerInfo *root, const DbxTable *table,
									Index varno, Expr *clause);
static DbxCondition *read_alternatives(PlannerInfo *root, const DbxTable *table,
									   Index varno, BoolExpr *clause);
static DbxCondition *read_truth(const DbxTable *table, Index varno,
								Expr *clause);
static DbxCondition *read_null_test(const DbxTable *table, Index varno,
									const NullTest *clause);
static int			 column_of(const DbxTable *table, Index varno, Node *node);
static bool operator_strategy(const DbxColumn *column, Oid opno, Oid collation,
							  StrategyNumber *strategy, Oid *other);
static bool type_is_known(Oid type);
static bool could_be_sent(const DbxTable *table, const DbxCondition *condition);
static bool filter_fits(const DbxTable *table, const DbxFilter *filter,
						const DbxCondition *condition);
static bool is_better(const DbxCondition *a, const DbxCondition *b);
static List *choose_list_conditions(const DbxTable *table, List *candidates);

/*
 * From clauses that all hold (RestrictInfos), choose what to send: the best
 * condition on a key alone, else what the list call can filter.  Returns
 * DbxConditions in the order of the clauses.
 */
List *
dbx_fdw_choose_conditions(PlannerInfo *root, const DbxTable *table, Index varno,
						  List *clauses)
{
	List		 *candidates = NIL;
	List		 *workspaces = NIL;
	DbxCondition *key = NULL;
	ListCell	 *cell;
	int			  position = 0;

	foreach(cell, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		DbxCondition *condition;

		if (rinfo->pseudoconstant)
			continue;
		condition = read_condition(root, table, varno, rinfo->clause);
		if (condition != NULL)
		{
			condition->clause = position;
			if (table->res->columns[condition->column].convert ==
				DBX_CONVERT_WORKSPACE)
				workspaces = lappend(workspaces, condition);
			else if (could_be_sent(table, condition))
			{
				candidates = lappend(candidates, condition);
				if (dbx_fdw_key_filter(table, list_make1(condition)) != NULL &&
					(key == NULL || is_better(condition, key)))
					key = condition;
			}
		}
		position++;
	}

	if (key != NULL)
		candidates = list_make1(key);
	else
		candidates = choose_list_conditions(table, candidates);

	/* which workspace this is, is known without asking */
	return list_concat(candidates, table->pushdown ? workspaces : NIL);
}

/* Can equality on this attribute turn a scan into a look-up? */
bool
dbx_fdw_is_lookup(const DbxTable *table, AttrNumber attno)
{
	int column;
	int i;

	if (attno <= 0 || table->columns[attno - 1] < 0)
		return false;
	column = table->columns[attno - 1];
	for (i = 0; i < table->res->nfilters; i++)
	{
		const DbxFilter *filter = &table->res->filters[i];

		if (!table->pushdown && !filter->required)
			continue;
		if ((filter->kind == DBX_FILTER_KEY ||
			 (filter->kind == DBX_FILTER_EQUAL && filter->values == NULL)) &&
			strcmp(filter->column, table->res->columns[column].name) == 0)
			return true;
	}
	return false;
}

/*
 * The column that lists cannot do without and these conditions say nothing of;
 * NULL: there is none.
 */
const char *
dbx_fdw_missing_key(const DbxTable *table, List *conditions)
{
	int i;

	if (dbx_fdw_key_filter(table, conditions) != NULL)
		return NULL;
	for (i = 0; i < table->res->nfilters; i++)
	{
		const DbxFilter *filter = &table->res->filters[i];
		bool			 found = false;
		ListCell		*cell;

		if (!filter->required)
			continue;
		foreach(cell, conditions)
			found |= filter_fits(table, filter, (DbxCondition *) lfirst(cell));
		if (!found)
			return filter->column;
	}
	return NULL;
}

/* The filter by which these conditions name objects by key, NULL if none. */
const DbxFilter *
dbx_fdw_key_filter(const DbxTable *table, List *conditions)
{
	ListCell *cell;
	int		  i;

	foreach(cell, conditions)
	{
		DbxCondition *condition = lfirst(cell);

		for (i = 0; i < table->res->nfilters; i++)
		{
			const DbxFilter *filter = &table->res->filters[i];

			if (filter->kind == DBX_FILTER_KEY &&
				filter_fits(table, filter, condition))
				return filter;
		}
	}
	return NULL;
}

/* Does each value of this condition need a call, or a list, of its own? */
bool
dbx_fdw_asks_each(const DbxTable *table, const DbxCondition *condition)
{
	const DbxResource *res = table->res;
	int				   i;

	if (!condition->is_array)
		return false;
	for (i = 0; i < res->nfilters; i++)
	{
		if ((res->filters[i].kind == DBX_FILTER_KEY ||
			 res->filters[i].kind == DBX_FILTER_EQUAL) &&
			filter_fits(table, &res->filters[i], condition))
			return true;
	}
	return false;
}

/*
 * Conditions in a form that plans can be copied with; the values go beside
 * them into fdw_exprs.
 */
List *
dbx_fdw_save_conditions(List *conditions)
{
	List	 *saved = NIL;
	ListCell *cell;

	foreach(cell, conditions)
	{
		DbxCondition *condition = lfirst(cell);

		saved = lappend(saved,
						list_make3_int(condition->column, condition->strategy,
									   condition->is_array));
	}
	return saved;
}

List *
dbx_fdw_load_conditions(List *saved, List *values)
{
	List	 *conditions = NIL;
	ListCell *cell;
	ListCell *value;

	forboth(cell, saved, value, values)
	{
		List		 *parts = (List *) lfirst(cell);
		DbxCondition *condition = (DbxCondition *) palloc0(sizeof(DbxCondition));

		condition->column = linitial_int(parts);
		condition->strategy = lsecond_int(parts);
		condition->is_array = lthird_int(parts) != 0;
		condition->value = lfirst(value);
		condition->clause = -1;
		conditions = lappend(conditions, condition);
	}
	return conditions;
}

/*
 * A clause of the form "column <op> value", "value <op> column" or
 * "column = ANY (values)", else NULL.
 */
static DbxCondition *
read_condition(PlannerInfo *root, const DbxTable *table, Index varno,
			   Expr *clause)
{
	DbxCondition  *condition;
	StrategyNumber strategy;
	Node		  *left;
	Node		  *right;
	Oid			   opno;
	Oid			   collation;
	Oid			   other;
	bool		   is_array = false;
	int			   column;

	if (IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2)
	{
		OpExpr *op = (OpExpr *) clause;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		collation = op->inputcollid;
		if (column_of(table, varno, left) < 0)
		{
			left = lsecond(op->args);
			right = linitial(op->args);
			opno = get_commutator(opno);
		}
	}
	else if (IsA(clause, ScalarArrayOpExpr) &&
			 ((ScalarArrayOpExpr *) clause)->useOr)
	{
		ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) clause;

		left = linitial(op->args);
		right = lsecond(op->args);
		opno = op->opno;
		collation = op->inputcollid;
		is_array = true;
	}
	else if (IsA(clause, NullTest))
		return read_null_test(table, varno, (NullTest *) clause);
	else if (is_orclause(clause))
		return read_alternatives(root, table, varno, (BoolExpr *) clause);
	else
		return read_truth(table, varno, clause);

	column = column_of(table, varno, left);
	if (column < 0 || !OidIsValid(opno) ||
		!operator_strategy(&table->res->columns[column], opno, collation,
						   &strategy, &other))
		return NULL;
	if (is_array &&
		(strategy != BTEqualStrategyNumber ||
		 !type_is_known(get_base_element_type(exprType(right)))))
		return NULL;
	if (!is_array && (!type_is_known(other) || !type_is_known(exprType(right))))
		return NULL;
	if (bms_is_member(varno, pull_varnos(root, right)) ||
		contain_volatile_functions(right) || contain_subplans(right))
		return NULL;

	condition = (DbxCondition *) palloc0(sizeof(DbxCondition));
	condition->column = column;
	condition->strategy = strategy;
	condition->is_array = is_array;
	condition->value = (Expr *) right;
	return condition;
}

/* "column = value OR column = value ..." is what "column IN (...)" is. */
static DbxCondition *
read_alternatives(PlannerInfo *root, const DbxTable *table, Index varno,
				  BoolExpr *clause)
{
	DbxCondition *condition = NULL;
	ArrayExpr	 *array = makeNode(ArrayExpr);
	ListCell	 *cell;

	foreach(cell, clause->args)
	{
		DbxCondition *one = read_condition(root, table, varno,
										   (Expr *) lfirst(cell));
		Node		 *value;

		if (one == NULL || one->is_array ||
			one->strategy != BTEqualStrategyNumber ||
			(condition != NULL && one->column != condition->column))
			return NULL;
		condition = one;
		array->element_typeid = table->res->columns[one->column].type;
		value = coerce_to_target_type(NULL, (Node *) one->value,
									  exprType((Node *) one->value),
									  array->element_typeid, -1,
									  COERCION_IMPLICIT, COERCE_IMPLICIT_CAST,
									  -1);
		if (value == NULL)
			return NULL;
		array->elements = lappend(array->elements, value);
	}
	array->array_typeid = get_array_type(array->element_typeid);
	array->location = -1;
	if (!OidIsValid(array->array_typeid))
		return NULL;
	condition->is_array = true;
	condition->value = (Expr *) eval_const_expressions(root, (Node *) array);
	return condition;
}

/* "column" or "NOT column": the server's form of comparing with a truth value. */
static DbxCondition *
read_truth(const DbxTable *table, Index varno, Expr *clause)
{
	DbxCondition *condition;
	bool		  value = true;
	int			  column;

	if (is_notclause(clause))
	{
		clause = get_notclausearg(clause);
		value = false;
	}
	column = column_of(table, varno, (Node *) clause);
	if (column < 0 || table->res->columns[column].type != BOOLOID)
		return NULL;

	condition = (DbxCondition *) palloc0(sizeof(DbxCondition));
	condition->column = column;
	condition->strategy = BTEqualStrategyNumber;
	condition->value = (Expr *) makeBoolConst(value, false);
	return condition;
}

/*
 * What has no time stands before all times, as the service counts them.  Of what names
 * an object none lacks it, so that is like comparing with NULL.
 */
static DbxCondition *
read_null_test(const DbxTable *table, Index varno, const NullTest *clause)
{
	const DbxResource *res = table->res;
	DbxCondition	  *condition;
	bool			   is_null = clause->nulltesttype == IS_NULL;
	int				   column = column_of(table, varno, (Node *) clause->arg);
	bool			   is_key = false;
	int				   i;

	if (column < 0 || clause->argisrow)
		return NULL;
	for (i = 0; i < res->nfilters; i++)
		is_key |= res->filters[i].kind == DBX_FILTER_KEY &&
			strcmp(res->filters[i].column, res->columns[column].name) == 0;
	is_key |= res->columns[column].convert == DBX_CONVERT_WORKSPACE;

	condition = (DbxCondition *) palloc0(sizeof(DbxCondition));
	condition->column = column;
	if (res->columns[column].convert == DBX_CONVERT_TIME_MS)
	{
		condition->strategy = is_null ? BTLessEqualStrategyNumber
									  : BTGreaterEqualStrategyNumber;
		condition->value = (Expr *)
			makeConst(TIMESTAMPTZOID, -1, InvalidOid, sizeof(TimestampTz),
					  TimestampTzGetDatum(time_t_to_timestamptz(0) + 1000),
					  false, FLOAT8PASSBYVAL);
		return condition;
	}
	if (!is_key || !is_null)
		return NULL;
	condition->strategy = BTEqualStrategyNumber;
	condition->value = (Expr *) makeNullConst(res->columns[column].type, -1,
											  InvalidOid);
	return condition;
}

/* The resource's column an expression is, -1 if it is something else. */
static int
column_of(const DbxTable *table, Index varno, Node *node)
{
	Var *var;

	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL || !IsA(node, Var))
		return -1;
	var = (Var *) node;
	if (var->varno != varno || var->varlevelsup != 0 || var->varattno <= 0)
		return -1;
	return table->columns[var->varattno - 1];
}

/*
 * What an operator means by the column's own ordering.  Under a collation that
 * takes different texts for equal, equality says less than it seems.
 */
static bool
operator_strategy(const DbxColumn *column, Oid opno, Oid collation,
				  StrategyNumber *strategy, Oid *other)
{
	TypeCacheEntry *cache = lookup_type_cache(column->type,
											  TYPECACHE_BTREE_OPFAMILY);
	Oid				left;
	int				found;

	if (!OidIsValid(cache->btree_opf) || !op_in_opfamily(opno, cache->btree_opf))
		return false;
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return false;
	get_op_opfamily_properties(opno, cache->btree_opf, false, &found, &left,
							   other);
	if (left != column->type)
		return false;
	*strategy = (StrategyNumber) found;
	return true;
}

/* Types of values that request.c can turn into text. */
static bool
type_is_known(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case TEXTOID:
		case VARCHAROID:
		case NAMEOID:
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
		case DATEOID:
			return true;
		default:
			return false;
	}
}

/*
 * Does the descriptor list this condition?  Of a constant it is known whether
 * its value is one the filter is for; else that shows when the scan starts.
 */
static bool
could_be_sent(const DbxTable *table, const DbxCondition *condition)
{
	DbxConditionValue value;
	Const			 *constant;
	List			 *texts;
	int				  i;

	for (i = 0; i < table->res->nfilters; i++)
	{
		const DbxFilter *filter = &table->res->filters[i];

		if (!filter_fits(table, filter, condition) ||
			(!table->pushdown && !filter->required &&
			 filter->kind != DBX_FILTER_TREE))
			continue;
		if (filter->required || !IsA(condition->value, Const) ||
			filter->kind == DBX_FILTER_FROM || filter->kind == DBX_FILTER_TO)
			return true;
		constant = (Const *) condition->value;
		if (constant->constisnull)
			return true;
		value.value = constant->constvalue;
		value.isnull = false;
		value.type = constant->consttype;
		texts = dbx_fdw_value_texts(condition, &value);
		if (texts == NIL || dbx_fdw_filter_takes(filter, texts))
			return true;
	}
	return false;
}

static bool
filter_fits(const DbxTable *table, const DbxFilter *filter,
			const DbxCondition *condition)
{
	if (strcmp(filter->column, table->res->columns[condition->column].name) != 0)
		return false;
	switch (filter->kind)
	{
		case DBX_FILTER_KEY:
		case DBX_FILTER_EQUAL:
		case DBX_FILTER_ANY:
		case DBX_FILTER_IMPLIED:
			return condition->strategy == BTEqualStrategyNumber;
		case DBX_FILTER_TREE:
			return condition->strategy == BTEqualStrategyNumber &&
				!condition->is_array;
		case DBX_FILTER_FROM:
			return condition->strategy >= BTEqualStrategyNumber &&
				!condition->is_array;
		case DBX_FILTER_TO:
			return condition->strategy <= BTEqualStrategyNumber &&
				!condition->is_array;
	}
	return false;
}

/* One value is better than several. */
static bool
is_better(const DbxCondition *a, const DbxCondition *b)
{
	return !a->is_array && b->is_array;
}

/*
 * What goes into one list call: all bounds, one equality per column and one
 * implied flag.  At most one equality may have several values if each of them is
 * a list of its own, but for those there is no list without.
 */
static List *
choose_list_conditions(const DbxTable *table, List *candidates)
{
	List	 *chosen = NIL;
	bool	  array_taken = false;
	bool	  flag_taken = false;
	int		  pass;
	ListCell *cell;

	/* single values first, so that they win over arrays of the same column */
	for (pass = 0; pass < 2; pass++)
	{
		foreach(cell, candidates)
		{
			DbxCondition *condition = lfirst(cell);
			bool		  is_array = dbx_fdw_asks_each(table, condition);
			bool		  is_flag = false;
			bool		  is_bound = false;
			bool		  is_required = false;
			bool		  taken = false;
			ListCell	 *other;
			int			  i;

			if (condition->is_array != (pass == 1))
				continue;
			for (i = 0; i < table->res->nfilters; i++)
			{
				const DbxFilter *filter = &table->res->filters[i];

				if (!filter_fits(table, filter, condition))
					continue;
				is_flag |= filter->kind == DBX_FILTER_IMPLIED;
				is_required |= filter->required;
				is_bound |= filter->kind == DBX_FILTER_FROM ||
					filter->kind == DBX_FILTER_TO;
			}
			foreach(other, chosen)
			{
				if (((DbxCondition *) lfirst(other))->column == condition->column)
					taken = true;
			}
			if (is_flag ? flag_taken
						: !is_bound &&
						(taken || (is_array && array_taken && !is_required)))
				continue;
			flag_taken |= is_flag;
			array_taken |= is_array;
			chosen = lappend(chosen, condition);
		}
	}
	return chosen;
}
