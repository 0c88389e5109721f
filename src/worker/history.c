/*
 * history.c
 *	  Writing what was seen of runs into run_history, task_history and
 *	  run_transitions.
 *
 * Separate from the tracker, which talks to the service: everything here
 * happens inside one transaction and never waits for the network.
 *
 * The columns are those of resource "runs", so the statements are made from
 * its descriptor, once per process.  A row is compared before it is written:
 * even an upsert that changes nothing would lock the row, dirty its page and
 * take a transaction id, for every active run in every sweep.  What the
 * comparison leaves out (tasks and raw) differs between the list and the get
 * call for the same state of a run; it is replaced when something else changed.
 * Task runs are compared and written by one statement per run, for the same
 * reason.
 *
 * What a list does not tell of a run that ended (all of its tasks, parameters,
 * repairs), and the outputs of its tasks, is noted in history_fetches in the
 * same transaction, so that it will be asked for whatever happens.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "api/resource.h"
#include "worker/history.h"

#define CHANNEL "databricks"

/* Longest state told in a notification; its payload is limited by the server. */
#define NOTIFIED_STATE_LENGTH 100

/* Unknown states are logged once each, up to this many. */
#define UNKNOWN_STATES_LOGGED 32

#define RES			   (&dbx_resource_runs)
#define MAX_PARAMETERS 40

/* In the order of the descriptor, then the time of writing. */
static SPIPlanPtr compare_plan = NULL;
static SPIPlanPtr write_plan = NULL;
static SPIPlanPtr gone_plan = NULL;
static SPIPlanPtr transition_plan = NULL;
static SPIPlanPtr active_plan = NULL;
static SPIPlanPtr tasks_plan = NULL;
static SPIPlanPtr outputs_plan = NULL;
static SPIPlanPtr fetch_plan = NULL;
static SPIPlanPtr fetched_plan = NULL;

static bool fetches_noted = false;

static int column_run_id;
static int column_job_id;
static int column_state;
static int column_result_state;
static int column_life_cycle;

static void		  prepare(void);
static SPIPlanPtr prepare_statement(const char *sql, int nargs, Oid *types);
static char		 *compare_statement(void);
static char		 *write_statement(void);
static char		 *tasks_statement(void);
static bool		  compared(const DbxColumn *column);
static bool		  write_run(DbxHistoryBatch *batch, const DbxSeenRun *run);
static bool	 write_run_alone(DbxHistoryBatch *batch, const DbxSeenRun *run);
static bool	 write_gone(DbxHistoryBatch *batch, const DbxSeenRun *run);
static void	 log_unknown_state(const char *what, const char *value,
							   const char *const *known);
static void	 take_values(const DbxSeenRun *run, const char *workspace,
						 Datum *values, bool *nulls);
static bool	 write_tasks(DbxHistoryBatch *batch, const DbxSeenRun *run);
static void	 plan_fetches(DbxHistoryBatch *batch, const DbxSeenRun *run,
						  bool news);
static int	 execute_for_run(SPIPlanPtr plan, int expected,
							 const DbxHistoryBatch *batch, int64 run_id);
static void	 record_transition(const char *workspace, int64 run_id,
							   const char *state, const char *result_state,
							   TimestampTz at);
static char *int64_text(int64 value);
static void	 append_member(StringInfo payload, const char *name,
						   const char *value);
static char *text_value(Datum *values, const bool *nulls, int column);
static bool	 same_text(const char *a, const char *b);

bool
dbx_history_ended(const char *state, const char *life_cycle_state)
{
	if (state != NULL && strcmp(state, "TERMINATED") == 0)
		return true;
	return life_cycle_state != NULL &&
		(strcmp(life_cycle_state, "TERMINATED") == 0 ||
		 strcmp(life_cycle_state, "SKIPPED") == 0 ||
		 strcmp(life_cycle_state, "INTERNAL_ERROR") == 0);
}

bool
dbx_history_element_ended(const DbxJson *element)
{
	return dbx_history_ended(
		dbx_json_string(dbx_json_path(element, "status.state")),
		dbx_json_string(dbx_json_path(element, "state.life_cycle_state")));
}

void
dbx_history_write(DbxHistoryBatch *batch)
{
	ListCell	 *cell;
	MemoryContext row_context;
	MemoryContext before;

	prepare();
	batch->changed = 0;
	batch->fetches = 0;
	batch->bad = NIL;
	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"databricks history row",
										ALLOCSET_DEFAULT_SIZES);
	foreach(cell, batch->runs)
	{
		const DbxSeenRun *run = lfirst(cell);
		bool			  changed;

		CHECK_FOR_INTERRUPTS();
		before = MemoryContextSwitchTo(row_context);
		changed = batch->alone ? write_run_alone(batch, run)
							   : write_run(batch, run);
		MemoryContextSwitchTo(before);
		MemoryContextReset(row_context);
		if (changed)
			batch->changed++;
	}
	MemoryContextDelete(row_context);
	fetches_noted |= batch->fetches > 0;
}

bool
dbx_history_take_noted(void)
{
	bool noted = fetches_noted;

	fetches_noted = false;
	return noted;
}

int
dbx_history_active(const char *workspace, DbxKnownRun **runs)
{
	Datum values[1];
	int	  count;

	prepare();
	values[0] = CStringGetTextDatum(workspace);
	if (SPI_execute_plan(active_plan, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "active runs could not be read");
	count = (int) SPI_processed;
	*runs = palloc(sizeof(DbxKnownRun) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		HeapTuple	 tuple = SPI_tuptable->vals[i];
		DbxKnownRun *run = &(*runs)[i];
		bool		 isnull;

		run->run_id = DatumGetInt64(
			SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		run->start_time = DatumGetTimestampTz(
			SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		if (isnull)
			run->start_time = 0;
	}
	SPI_freetuptable(SPI_tuptable);
	return count;
}

/* ---- statements ---- */

static void
prepare(void)
{
	Oid types[MAX_PARAMETERS];
	Oid transition_types[] = {TEXTOID, INT8OID, TEXTOID, TEXTOID,
							  TIMESTAMPTZOID};
	Oid gone_types[] = {TEXTOID, INT8OID, TIMESTAMPTZOID};
	Oid active_types[] = {TEXTOID};
	Oid run_types[] = {TEXTOID, INT8OID, TEXTOID};
	Oid tasks_types[] = {TEXTOID, INT8OID, JSONBOID, JSONBOID};

	if (active_plan != NULL)
		return;

	column_run_id = dbx_resource_column(RES, "run_id");
	column_job_id = dbx_resource_column(RES, "job_id");
	column_state = dbx_resource_column(RES, "state");
	column_result_state = dbx_resource_column(RES, "result_state");
	column_life_cycle = dbx_resource_column(RES, "life_cycle_state");

	if (RES->ncolumns + 2 > MAX_PARAMETERS)
		elog(ERROR, "resource \"runs\" has too many columns");
	for (int i = 0; i < RES->ncolumns; i++)
		types[i] = RES->columns[i].convert == DBX_CONVERT_WORKSPACE
			? TEXTOID
			: RES->columns[i].type;
	types[RES->ncolumns] = TIMESTAMPTZOID;
	types[RES->ncolumns + 1] = JSONBOID;

	compare_plan = prepare_statement(compare_statement(), RES->ncolumns + 2,
									 types);
	write_plan = prepare_statement(write_statement(), RES->ncolumns + 2, types);
	gone_plan = prepare_statement(
		"UPDATE databricks.run_history AS h"
		" SET gone_at = $3, updated_at = $3"
		" WHERE h.workspace = $1 AND h.run_id = $2"
		" AND h.gone_at IS NULL"
		" RETURNING h.state, h.result_state, h.job_id::text",
		lengthof(gone_types), gone_types);
	transition_plan = prepare_statement(
		"INSERT INTO databricks.run_transitions"
		" (workspace, run_id, state, result_state, observed_at)"
		" VALUES ($1, $2, $3, $4, $5)",
		lengthof(transition_types), transition_types);
	tasks_plan = prepare_statement(tasks_statement(), lengthof(tasks_types),
								   tasks_types);

	/* Whether "failed" is meant: what was cancelled or skipped did not fail. */
	outputs_plan = prepare_statement(
		"INSERT INTO databricks.history_fetches"
		" (workspace, run_id, task_run_id, due_at)"
		" SELECT t.workspace, t.run_id, t.task_run_id, now()"
		" FROM databricks.task_history AS t"
		" WHERE t.workspace = $1 AND t.run_id = $2 AND t.output_at IS NULL"
		" AND t.start_time IS NOT NULL AND t.end_time IS NOT NULL"
		" AND t.life_cycle_state IS DISTINCT FROM 'SKIPPED'"
		" AND ($3 = 'all' OR ($3 = 'failed' AND (CASE WHEN t.result_state IS NULL"
		"  THEN t.termination_code IS DISTINCT FROM 'SUCCESS'"
		"   AND t.termination_code IS DISTINCT FROM 'USER_CANCELED'"
		"  ELSE t.result_state NOT IN ('SUCCESS', 'SUCCESS_WITH_FAILURES',"
		"   'CANCELED', 'UPSTREAM_CANCELED', 'UPSTREAM_FAILED', 'EXCLUDED',"
		"   'DISABLED', 'MAXIMUM_CONCURRENT_RUNS_REACHED') END)))"
		" AND NOT EXISTS (SELECT FROM databricks.history_fetches AS f"
		"  WHERE f.workspace = t.workspace AND f.run_id = t.run_id"
		"  AND f.task_run_id = t.task_run_id)",
		lengthof(run_types), run_types);
	fetch_plan = prepare_statement(
		"INSERT INTO databricks.history_fetches"
		" (workspace, run_id, task_run_id, due_at)"
		" SELECT $1, $2, 0, now()"
		" WHERE EXISTS (SELECT FROM databricks.tracking_settings AS s"
		"  WHERE s.workspace = $1)"
		" ON CONFLICT (workspace, run_id, task_run_id)"
		" DO UPDATE SET due_at = now(), failures = 0",
		lengthof(run_types), run_types);
	fetched_plan = prepare_statement(
		"DELETE FROM databricks.history_fetches AS f"
		" WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = 0",
		lengthof(run_types), run_types);
	active_plan = prepare_statement(
		"SELECT h.run_id, h.start_time FROM databricks.run_history AS h"
		" WHERE h.workspace = $1 AND " DBX_HISTORY_ACTIVE(
			"h") " ORDER BY h.start_time NULLS FIRST",
		lengthof(active_types), active_types);
}

/* The worker's search_path is pg_catalog alone, so operators need no schema. */
static SPIPlanPtr
prepare_statement(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "statement \"%s\" could not be prepared", sql);
	return plan;
}

static bool
compared(const DbxColumn *column)
{
	return column->convert != DBX_CONVERT_WORKSPACE &&
		(column->flags & DBX_COLUMN_EXPANDED) == 0;
}

/* Parameters: all columns, in order.  Those not compared go unused. */
static char *
compare_statement(void)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT h.state, h.result_state, h.gone_at IS NULL");
	for (int i = 0; i < RES->ncolumns; i++)
	{
		if (compared(&RES->columns[i]))
			appendStringInfo(&sql, " AND h.%s IS NOT DISTINCT FROM $%d",
							 quote_identifier(RES->columns[i].name), i + 1);
	}
	appendStringInfo(&sql,
					 ", h.repair_history IS NOT DISTINCT FROM $%d"
					 " AND h.job_parameters IS NOT DISTINCT FROM $%d"
					 ", " DBX_HISTORY_ACTIVE("h") ", h.updated_at",
					 RES->ncolumns + 2,
					 dbx_resource_column(RES, "job_parameters") + 1);
	appendStringInfo(
		&sql,
		" FROM databricks.run_history AS h WHERE h.workspace = $%d AND h.run_id = $%d",
		dbx_resource_column(RES, "workspace") + 1,
		dbx_resource_column(RES, "run_id") + 1);
	return sql.data;
}

static char *
write_statement(void)
{
	StringInfoData names;
	StringInfoData values;
	StringInfoData changes;

	initStringInfo(&names);
	initStringInfo(&values);
	initStringInfo(&changes);
	for (int i = 0; i < RES->ncolumns; i++)
	{
		const DbxColumn *column = &RES->columns[i];
		const char		*name = quote_identifier(column->name);

		appendStringInfo(&names, "%s, ", name);
		appendStringInfo(&values, "$%d, ", i + 1);
		if ((column->flags & DBX_COLUMN_EXPANDED) != 0 &&
			column->convert != DBX_CONVERT_ELEMENT)
			appendStringInfo(&changes, "%s = coalesce(excluded.%s, h.%s), ",
							 name, name, name);
		else
			appendStringInfo(&changes, "%s = excluded.%s, ", name, name);
	}
	return psprintf(
		"INSERT INTO databricks.run_history AS h"
		" (%sfirst_seen_at, updated_at, repair_history)"
		" VALUES (%s$%d, $%d, $%d)"
		" ON CONFLICT (workspace, run_id) DO UPDATE"
		" SET %supdated_at = excluded.updated_at, gone_at = NULL,"
		" repair_history = coalesce(excluded.repair_history, h.repair_history)",
		names.data, values.data, RES->ncolumns + 1, RES->ncolumns + 1,
		RES->ncolumns + 2, changes.data);
}

/*
 * Parameters: workspace, run_id, tasks, job_clusters.  An upsert of what is new
 * or different only, since one that changes nothing would lock the row.  What
 * should be an integer and is none is NULL, however it is written.
 */
#define TASK_NUMERIC(member)                                     \
	"CASE WHEN e.t ->> '" member "' ~ '^-?[0-9]{1,19}([.]0+)?$'" \
	" THEN (e.t ->> '" member "')::numeric END"
#define TASK_INTEGER(member) "(" TASK_NUMERIC(member) ")::int8"
#define TASK_TIME(member)                          \
	"'epoch'::timestamptz + nullif(" TASK_INTEGER( \
		member) ", 0)"                             \
				" * interval '1 millisecond'"
#define TASK_DURATION(member) TASK_INTEGER(member) " * interval '1 millisecond'"

static char *
tasks_statement(void)
{
	static const char *const columns[][2] = {
		{"task_key", "e.t ->> 'task_key'"},
		{"attempt_number", TASK_INTEGER("attempt_number") "::int4"},
		{"is_latest",
		 "row_number() OVER (PARTITION BY e.t ->> 'task_key' ORDER BY"
		 " coalesce(" TASK_NUMERIC(
			 "start_time") ", 0) DESC,"
						   " coalesce(" TASK_NUMERIC(
							   "attempt_number") ", 0) DESC, e.n DESC) = 1"},
		{"state",
		 "coalesce(e.t #>> '{status,state}',"
		 " CASE WHEN e.t #>> '{state,life_cycle_state}' IN ('SKIPPED', 'INTERNAL_ERROR')"
		 "  THEN 'TERMINATED'"
		 " WHEN e.t #>> '{state,life_cycle_state}' = 'WAITING_FOR_RETRY' THEN 'WAITING'"
		 " ELSE e.t #>> '{state,life_cycle_state}' END)"},
		{"result_state", "e.t #>> '{state,result_state}'"},
		{"life_cycle_state", "e.t #>> '{state,life_cycle_state}'"},
		{"termination_code", "e.t #>> '{status,termination_details,code}'"},
		{"termination_type", "e.t #>> '{status,termination_details,type}'"},
		{"state_message",
		 "coalesce(e.t #>> '{status,termination_details,message}',"
		 " e.t #>> '{state,state_message}')"},
		{"start_time", TASK_TIME("start_time")},
		{"end_time", TASK_TIME("end_time")},
		{"queue_duration", TASK_DURATION("queue_duration")},
		{"setup_duration", TASK_DURATION("setup_duration")},
		{"execution_duration", TASK_DURATION("execution_duration")},
		{"cleanup_duration", TASK_DURATION("cleanup_duration")},
		{"depends_on", "e.t -> 'depends_on'"},
		{"cluster_id",
		 "coalesce(e.t #>> '{cluster_instance,cluster_id}',"
		 " e.t ->> 'existing_cluster_id')"},
		{"new_cluster",
		 "coalesce(e.t -> 'new_cluster', (SELECT c -> 'new_cluster'"
		 " FROM jsonb_array_elements($4) AS c"
		 " WHERE c ->> 'job_cluster_key' = e.t ->> 'job_cluster_key' LIMIT 1))"},
		{"run_page_url", "e.t ->> 'run_page_url'"}};
	StringInfoData names;
	StringInfoData selected;
	StringInfoData values;
	StringInfoData changes;
	StringInfoData different;

	initStringInfo(&names);
	initStringInfo(&selected);
	initStringInfo(&values);
	initStringInfo(&changes);
	initStringInfo(&different);
	for (int i = 0; i < lengthof(columns); i++)
	{
		const char *name = columns[i][0];
		const char *comma = i > 0 ? ", " : "";

		appendStringInfo(&names, "%s%s", comma, name);
		appendStringInfo(&selected, "%sn.%s", comma, name);
		appendStringInfo(&values, "%s%s AS %s", comma, columns[i][1], name);
		appendStringInfo(&changes, "%s%s = excluded.%s", comma, name, name);
		appendStringInfo(&different, "%sh.%s IS DISTINCT FROM n.%s",
						 i > 0 ? " OR " : "", name, name);
	}
	return psprintf(
		"INSERT INTO databricks.task_history"
		" (workspace, run_id, task_run_id, %s)"
		" SELECT $1, $2, n.task_run_id, %s FROM"
		" (SELECT DISTINCT ON (task_run_id) " TASK_INTEGER(
			"run_id") "  AS task_run_id, %s"
					  "  FROM jsonb_array_elements($3) WITH ORDINALITY AS e (t, n)"
					  "  WHERE " TASK_NUMERIC(
						  "run_id") " IS NOT NULL) AS n"
									" LEFT JOIN databricks.task_history AS h ON h.workspace = $1"
									"  AND h.run_id = $2 AND h.task_run_id = n.task_run_id"
									" WHERE h.task_run_id IS NULL OR %s"
									" ON CONFLICT (workspace, run_id, task_run_id) DO UPDATE SET %s",
		names.data, selected.data, values.data, different.data, changes.data);
}

/* ---- one run ---- */

/*
 * Returns whether something was written.
 */
static bool
write_run(DbxHistoryBatch *batch, const DbxSeenRun *run)
{
	static const char *const states[] = {"BLOCKED",	   "PENDING",	  "QUEUED",
										 "RUNNING",	   "TERMINATING", "WAITING",
										 "TERMINATED", NULL};
	static const char *const life_cycles[] = {
		"QUEUED",	   "PENDING",	 "BLOCKED", "WAITING_FOR_RETRY", "RUNNING",
		"TERMINATING", "TERMINATED", "SKIPPED", "INTERNAL_ERROR",	 NULL};
	Datum		  values[MAX_PARAMETERS];
	bool		  nulls[MAX_PARAMETERS];
	char		  null_marks[MAX_PARAMETERS + 1];
	TimestampTz	  now = GetCurrentTimestamp();
	char		 *state;
	char		 *result_state;
	bool		  known;
	bool		  news = true;
	bool		  moved = true;
	bool		  same = false;
	bool		  stale;
	MemoryContext row_context = CurrentMemoryContext;

	if (run->element == NULL)
		return write_gone(batch, run);

	take_values(run, batch->workspace, values, nulls);
	values[RES->ncolumns] = TimestampTzGetDatum(now);
	nulls[RES->ncolumns] = false;
	for (int i = 0; i < RES->ncolumns + 2; i++)
		null_marks[i] = nulls[i] ? 'n' : ' ';
	null_marks[RES->ncolumns + 2] = '\0';
	state = text_value(values, nulls, column_state);
	result_state = text_value(values, nulls, column_result_state);

	/* SPI leaves its own memory context behind, which lasts for the batch. */
	if (SPI_execute_plan(compare_plan, values, null_marks, false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "a run could not be compared");
	MemoryContextSwitchTo(row_context);
	known = SPI_processed > 0;
	if (known)
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		TupleDesc tupdesc = SPI_tuptable->tupdesc;
		bool	  isnull;

		news = !DatumGetBool(SPI_getbinval(tuple, tupdesc, 3, &isnull));
		moved = !same_text(SPI_getvalue(tuple, tupdesc, 1), state) ||
			!same_text(SPI_getvalue(tuple, tupdesc, 2), result_state);
		same = !news &&
			(!run->whole ||
			 DatumGetBool(SPI_getbinval(tuple, tupdesc, 4, &isnull)));
		stale = batch->mode != DBX_WRITE_SWEEP ? !run->ended ||
				DatumGetBool(SPI_getbinval(tuple, tupdesc, 5, &isnull))
											   : !run->ended &&
				DatumGetTimestampTz(SPI_getbinval(tuple, tupdesc, 6, &isnull)) >
					batch->begun;
		SPI_freetuptable(SPI_tuptable);
		if (stale)
			return false;
	}
	if (!same)
	{
		log_unknown_state("state", state, states);
		log_unknown_state("life cycle state",
						  text_value(values, nulls, column_life_cycle),
						  life_cycles);
		if (SPI_execute_plan(write_plan, values, null_marks, false, 0) !=
			SPI_OK_INSERT)
			elog(ERROR, "a run could not be written");
		MemoryContextSwitchTo(row_context);
	}
	if (write_tasks(batch, run))
		same = false;

	/* What had ended before anybody looked did not change while we watched. */
	if (batch->mode == DBX_WRITE_BACKFILL && !known && run->ended)
		return true;
	plan_fetches(batch, run, news);
	if (news && moved)
		record_transition(batch->workspace, run->run_id, state, result_state,
						  now);
	if (news)
		dbx_history_notify(batch->workspace, run->run_id,
						   nulls[column_job_id]
							   ? NULL
							   : int64_text(DatumGetInt64(values[column_job_id])),
						   0, state, result_state, now);
	return !same;
}

/*
 * The columns of the descriptor, and behind them room for the time of writing,
 * and the repairs.  What a list shows cut is left as it is known.
 */
static void
take_values(const DbxSeenRun *run, const char *workspace, Datum *values,
			bool *nulls)
{
	const DbxJson *repairs = dbx_json_get(run->element, "repair_history");

	dbx_resource_values(RES, run->element, workspace, values, nulls);
	for (int i = 0; i < RES->ncolumns; i++)
	{
		const DbxColumn *column = &RES->columns[i];

		if (column->convert == DBX_CONVERT_WORKSPACE)
			values[i] = CStringGetTextDatum(workspace);
		else if (!run->whole && column->convert != DBX_CONVERT_ELEMENT &&
				 dbx_resource_incomplete(RES, run->element, column))
			nulls[i] = true;
	}
	nulls[RES->ncolumns + 1] = dbx_json_type(repairs) != DBX_JSON_ARRAY;
	if (!nulls[RES->ncolumns + 1])
		values[RES->ncolumns + 1] = JsonbPGetDatum(dbx_json_to_jsonb(repairs));
}

/* Returns whether one of them was new or different. */
static bool
write_tasks(DbxHistoryBatch *batch, const DbxSeenRun *run)
{
	const DbxJson *tasks = dbx_json_get(run->element, "tasks");
	const DbxJson *clusters = dbx_json_get(run->element, "job_clusters");
	MemoryContext  row_context = CurrentMemoryContext;
	Datum		   values[4];
	char		   nulls[] = "    ";

	if (dbx_json_type(tasks) != DBX_JSON_ARRAY)
		return false;
	values[0] = CStringGetTextDatum(batch->workspace);
	values[1] = Int64GetDatum(run->run_id);
	values[2] = JsonbPGetDatum(dbx_json_to_jsonb(tasks));
	if (dbx_json_type(clusters) == DBX_JSON_ARRAY)
		values[3] = JsonbPGetDatum(dbx_json_to_jsonb(clusters));
	else
		nulls[3] = 'n';
	if (SPI_execute_plan(tasks_plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "the tasks of a run could not be written");
	MemoryContextSwitchTo(row_context);
	return SPI_processed > 0;
}

/*
 * Note what is to be asked for, and forget what was.  Runs of requests may be
 * of workspaces that nobody tracks; then nobody would ask.
 */
static void
plan_fetches(DbxHistoryBatch *batch, const DbxSeenRun *run, bool news)
{
	if (run->whole)
	{
		(void) execute_for_run(fetched_plan, SPI_OK_DELETE, batch, run->run_id);
		if (run->ended && batch->outputs != NULL &&
			strcmp(batch->outputs, "none") != 0)
			batch->fetches += execute_for_run(outputs_plan, SPI_OK_INSERT,
											  batch, run->run_id);
	}
	else if (run->ended && news)
		batch->fetches += execute_for_run(fetch_plan, SPI_OK_INSERT, batch,
										  run->run_id);
}

/* Parameters: workspace, run_id, outputs.  Returns the number of rows. */
static int
execute_for_run(SPIPlanPtr plan, int expected, const DbxHistoryBatch *batch,
				int64 run_id)
{
	MemoryContext row_context = CurrentMemoryContext;
	Datum		  values[3];

	values[0] = CStringGetTextDatum(batch->workspace);
	values[1] = Int64GetDatum(run_id);
	values[2] = CStringGetTextDatum(batch->outputs ? batch->outputs : "none");
	if (SPI_execute_plan(plan, values, NULL, false, 0) != expected)
		elog(ERROR, "what is to be fetched could not be noted");
	MemoryContextSwitchTo(row_context);
	return (int) SPI_processed;
}

/* As write_run, but an error concerns this run only. */
static bool
write_run_alone(DbxHistoryBatch *batch, const DbxSeenRun *run)
{
	MemoryContext row_context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool changed = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(row_context);
	PG_TRY();
	{
		changed = write_run(batch, run);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(row_context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;
		DbxBadRun *bad;

		MemoryContextSwitchTo(batch->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(batch->context);
		CurrentResourceOwner = owner;

		/* Whoever cancels or stops the worker means all of the batch. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		bad = palloc(sizeof(DbxBadRun));
		bad->run_id = run->run_id;
		bad->message = pstrdup(error->message);
		batch->bad = lappend(batch->bad, bad);
		FreeErrorData(error);
		MemoryContextSwitchTo(row_context);
		changed = false;
	}
	PG_END_TRY();
	return changed;
}

/*
 * The service does not know the run any more; what was known of it stays, and
 * nothing more is asked for.
 */
static bool
write_gone(DbxHistoryBatch *batch, const DbxSeenRun *run)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[3];

	(void) execute_for_run(fetched_plan, SPI_OK_DELETE, batch, run->run_id);
	values[0] = CStringGetTextDatum(batch->workspace);
	values[1] = Int64GetDatum(run->run_id);
	values[2] = TimestampTzGetDatum(now);
	if (SPI_execute_plan(gone_plan, values, NULL, false, 0) !=
		SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "a run could not be written");
	if (SPI_processed == 0)
		return false;
	dbx_history_notify(
		batch->workspace, run->run_id,
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3), 0,
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2), now);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static void
log_unknown_state(const char *what, const char *value, const char *const *known)
{
	static char *logged[UNKNOWN_STATES_LOGGED];
	static int	 nlogged = 0;

	if (value == NULL)
		return;
	for (; *known != NULL; known++)
	{
		if (strcmp(*known, value) == 0)
			return;
	}
	for (int i = 0; i < nlogged; i++)
	{
		if (strcmp(logged[i], value) == 0)
			return;
	}
	if (nlogged == UNKNOWN_STATES_LOGGED)
		return;
	logged[nlogged++] = MemoryContextStrdup(TopMemoryContext, value);
	ereport(
		LOG,
		(errmsg("databricks worker: the service reports a run in unknown %s \"%s\"",
				what, value),
		 errdetail("It is kept as text and not taken for an end.")));
}

static void
record_transition(const char *workspace, int64 run_id, const char *state,
				  const char *result_state, TimestampTz at)
{
	Datum values[5];
	char  nulls[] = "     ";

	values[0] = CStringGetTextDatum(workspace);
	values[1] = Int64GetDatum(run_id);
	values[2] = state ? CStringGetTextDatum(state) : (Datum) 0;
	values[3] = result_state ? CStringGetTextDatum(result_state) : (Datum) 0;
	values[4] = TimestampTzGetDatum(at);
	if (state == NULL)
		nulls[2] = 'n';
	if (result_state == NULL)
		nulls[3] = 'n';
	if (SPI_execute_plan(transition_plan, values, nulls, false, 0) !=
		SPI_OK_INSERT)
		elog(ERROR, "a transition could not be written");
}

/* Ids as strings: many readers of JSON keep numbers as doubles. */
void
dbx_history_notify(const char *workspace, int64 run_id, const char *job_id,
				   int64 request_id, const char *state,
				   const char *result_state, TimestampTz at)
{
	StringInfoData payload;
	char		   time[MAXDATELEN + 1];

	initStringInfo(&payload);
	appendStringInfoChar(&payload, '{');
	append_member(&payload, "workspace", workspace);
	append_member(&payload, "run_id", int64_text(run_id));
	append_member(&payload, "job_id", job_id);
	append_member(&payload, "request_id", int64_text(request_id));
	append_member(&payload, "state", state);
	append_member(&payload, "result_state", result_state);
	JsonEncodeDateTime(time, TimestampTzGetDatum(at), TIMESTAMPTZOID, NULL);
	append_member(&payload, "at", time);
	appendStringInfoChar(&payload, '}');
	Async_Notify(CHANNEL, payload.data);
}

/* NULL for 0, which is no id. */
static char *
int64_text(int64 value)
{
	return value != 0 ? psprintf(INT64_FORMAT, value) : NULL;
}

static void
append_member(StringInfo payload, const char *name, const char *value)
{
	if (payload->len > 1)
		appendStringInfoString(payload, ", ");
	appendStringInfo(payload, "\"%s\": ", name);
	if (value == NULL)
		appendStringInfoString(payload, "null");
	else
	{
		int len = strlen(value);

		if (len > NOTIFIED_STATE_LENGTH)
			value = pnstrdup(value,
							 pg_mbcliplen(value, len, NOTIFIED_STATE_LENGTH));
		escape_json(payload, value);
	}
}

static char *
text_value(Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

static bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}
