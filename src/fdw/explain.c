/*
 * explain.c
 *	  What EXPLAIN says about a scan: the calls to be made, and those made.
 *
 * Separate because it only looks.  No call is made and no right is needed:
 * constants are shown as they will be sent, what is known only at execution
 * stands in braces as it is written in the query.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/ruleutils.h"

#include "compat.h"
#include "fdw/fdw.h"

static void append_request(const DbxScanInfo *info, List *context, bool prefix,
						   StringInfo text);
static bool fill_in_path(const DbxScanInfo *info, const DbxCondition *condition,
						 List *context, bool prefix, StringInfo path);
static void append_condition(const DbxScanInfo	*info,
							 const DbxCondition *condition, List *context,
							 bool prefix, StringInfo text);
static DbxRequest *settled_request(const DbxScanInfo *info,
								   const char *workspace, List **open);
static void		   explain_local(ForeignScan *plan, List *context, bool prefix,
								 struct ExplainState *es);

void
databricksExplainForeignScan(ForeignScanState *node, struct ExplainState *es)
{
	ForeignScan		  *plan = (ForeignScan *) node->ss.ps.plan;
	const DbxScanInfo *info = dbx_fdw_scan_info(node);
	bool			   prefix = es->verbose;
	List			  *context;
	StringInfoData	   text;

	/*
	 * Where the plan has conditions, and any value sent comes from one, the
	 * server has just shown them: the context knows the nodes above, which we
	 * are not told, and so the names of what a join hands down.
	 */
	context = es->deparse_cxt;
	if (plan->scan.plan.qual == NIL)
		context = set_deparse_context_plan(context, (Plan *) plan, NIL);
	initStringInfo(&text);
	append_request(info, context, prefix, &text);
	ExplainPropertyText("Request", text.data, es);
	if (info->ordered)
		ExplainPropertyText("Order", "newest first, by ranges of time", es);

	if (es->verbose)
	{
		explain_local(plan, context, prefix, es);
		if (es->costs)
			ExplainPropertyFloat("Expected Calls", NULL,
								 floatVal(list_nth(plan->fdw_private,
												   DBX_PLAN_CALLS)),
								 0, es);
	}

	if (es->analyze)
	{
		ExplainPropertyInteger("Calls", NULL, info->stats.calls, es);
		ExplainPropertyInteger("Pages", NULL, info->stats.pages, es);
		ExplainPropertyInteger("Retries", NULL, info->stats.retries, es);
		ExplainPropertyInteger("Bytes", NULL, info->stats.bytes_in, es);
		if (es->timing)
			ExplainPropertyFloat("Quota Wait", "ms", info->stats.quota_wait_ms,
								 3, es);
	}
}

/* "GET /api/2.2/jobs/runs/list?limit=25&job_id=7&start_time_from={...}" */
static void
append_request(const DbxScanInfo *info, List *context, bool prefix,
			   StringInfo text)
{
	const DbxResource *res = info->table->res;
	DbxWorkspace	  *server = dbx_fdw_server(info->table->serverid);
	List			  *open = NIL;
	DbxRequest		  *request = settled_request(info, server->name, &open);
	StringInfoData	   query;
	ListCell		  *cell;
	const char *missing = dbx_fdw_missing_key(info->table, info->conditions);

	if (request->empty)
	{
		appendStringInfoString(text, "none, the conditions allow no row");
		return;
	}
	if (missing != NULL)
	{
		appendStringInfo(text, "none, a condition on column \"%s\" is missing",
						 missing);
		return;
	}

	initStringInfo(&query);
	if (dbx_fdw_key_filter(info->table, info->conditions) == NULL)
	{
		DbxList *list = dbx_fdw_bounded_list(request, linitial(request->lists),
											 request->from, request->to);

		appendStringInfo(text, "%s %s", list->res->list_post ? "POST" : "GET",
						 dbx_resource_path(server, list->path));
		appendStringInfoString(&query, list->query);
	}
	else
	{
		appendStringInfo(
			text, "GET %s",
			dbx_resource_path(server,
							  res->get_param == NULL && request->by_key
								  ? dbx_fdw_call_path(res->get_call, "key",
													  linitial(request->keys))
								  : res->get_call));
		if (request->by_key && res->get_param != NULL)
			dbx_query_add(&query, res->get_param, linitial(request->keys));
	}
	foreach(cell, open)
	{
		if (!fill_in_path(info, lfirst(cell), context, prefix, text))
			append_condition(info, lfirst(cell), context, prefix, &query);
	}
	if (query.len > 0)
		appendStringInfo(text, "?%s", query.data);
}

/*
 * What is asked as far as constants say; the other conditions are returned in
 * "open".
 */
static DbxRequest *
settled_request(const DbxScanInfo *info, const char *workspace, List **open)
{
	List			  *settled = NIL;
	DbxConditionValue *values;
	ListCell		  *cell;
	int				   n = 0;

	values = (DbxConditionValue *) palloc0(
		Max(list_length(info->conditions), 1) * sizeof(DbxConditionValue));
	foreach(cell, info->conditions)
	{
		DbxCondition *condition = lfirst(cell);
		Const		 *constant = (Const *) condition->value;

		if (!IsA(constant, Const))
		{
			*open = lappend(*open, condition);
			continue;
		}
		values[n].value = constant->constvalue;
		values[n].isnull = constant->constisnull;
		values[n].type = constant->consttype;

		/* several values: shown in braces, unless there is really only one */
		if (dbx_fdw_asks_each(info->table, condition) &&
			list_length(dbx_fdw_value_texts(condition, &values[n])) > 1)
		{
			*open = lappend(*open, condition);
			continue;
		}
		settled = lappend(settled, condition);
		n++;
	}
	return dbx_fdw_request(info->table, workspace, settled, values,
						   info->needed);
}

/*
 * Put a value that is not settled into its place in the path.  False: it has
 * none there.
 */
static bool
fill_in_path(const DbxScanInfo *info, const DbxCondition *condition,
			 List *context, bool prefix, StringInfo path)
{
	const DbxResource *res = info->table->res;
	int				   i;

	for (i = 0; i < res->nfilters; i++)
	{
		const DbxFilter *filter = &res->filters[i];
		const char		*param = filter->kind == DBX_FILTER_KEY ? "key"
																: filter->param;
		char			*place;
		char			*rest;

		if (param == NULL ||
			strcmp(filter->column, res->columns[condition->column].name) != 0)
			continue;
		place = strstr(path->data, psprintf("{%s}", param));
		if (place == NULL)
			continue;
		rest = pstrdup(place + strlen(param) + 2);
		path->len = place - path->data;
		path->data[path->len] = '\0';
		appendStringInfo(path, "{%s%s}%s", condition->is_array ? "each of " : "",
						 deparse_expression((Node *) condition->value, context,
											prefix, false),
						 rest);
		return true;
	}
	return false;
}

/* Append "&param={...}" for a condition whose value is not settled. */
static void
append_condition(const DbxScanInfo *info, const DbxCondition *condition,
				 List *context, bool prefix, StringInfo text)
{
	const DbxResource *res = info->table->res;
	char *value = deparse_expression((Node *) condition->value, context, prefix,
									 false);
	bool  implied = false;
	int	  i;

	for (i = 0; i < res->nfilters; i++)
	{
		const DbxFilter *filter = &res->filters[i];
		const char		*param = filter->kind == DBX_FILTER_KEY ? res->get_param
																: filter->param;

		if (strcmp(filter->column, res->columns[condition->column].name) != 0 ||
			(filter->kind == DBX_FILTER_FROM &&
			 condition->strategy < BTEqualStrategyNumber) ||
			(filter->kind == DBX_FILTER_TO &&
			 condition->strategy > BTEqualStrategyNumber))
			continue;

		if (filter->kind == DBX_FILTER_TREE)
			continue;
		if (param == NULL)
			param = "key";

		/* one flag or the other, or none, as the value will imply */
		if (implied)
		{
			appendStringInfo(text, "|%s", param);
			continue;
		}
		appendStringInfo(text, "%s%s", text->len > 0 ? "&" : "", param);
		implied = filter->kind == DBX_FILTER_IMPLIED;
		if (!implied)
			appendStringInfo(text, "={%s%s}",
							 !condition->is_array				  ? ""
								 : filter->kind == DBX_FILTER_ANY ? "any of "
																  : "each of ",
							 value);
	}
	if (implied)
		appendStringInfo(text, "={as implied by %s}", value);
}

/* Conditions that are only checked here, and not sent. */
static void
explain_local(ForeignScan *plan, List *context, bool prefix,
			  struct ExplainState *es)
{
	List	 *local = NIL;
	ListCell *cell;

	foreach(cell, (List *) list_nth(plan->fdw_private, DBX_PLAN_LOCAL))
	{
		if (lfirst_int(cell) < list_length(plan->scan.plan.qual))
			local = lappend(local,
							list_nth(plan->scan.plan.qual, lfirst_int(cell)));
	}
	if (local != NIL)
		ExplainPropertyText("Not Sent",
							deparse_expression((Node *) make_ands_explicit(local),
											   context, prefix, false),
							es);
}
