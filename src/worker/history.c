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
 * That is done a page of runs at a time, and then for all of their tasks: see
 * rows.c.
 *
 * What a list does not tell of a run that ended (all of its tasks, parameters,
 * repairs), and the outputs of its tasks, is noted in history_fetches in the
 * same transaction, so that it will be asked for whatever happens.
 */
#include "postgres.h"

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
#include "utils/timestamp.h"

#include "api/resource.h"
#include "worker/history.h"
#include "worker/history_tasks.h"
#include "worker/rows.h"
#include "worker/session.h"

#define CHANNEL "databricks"

/* Longest state told in a notification, whose payload is limited, or in the log. */
#define TOLD_STATE_LENGTH 100

/* Unknown states are logged once each, up to this many. */
#define UNKNOWN_STATES_LOGGED 32

/* So many runs that cannot be written, and no other, are no matter of these runs. */
#define MANY_BAD_RUNS 10

#define RES (&dbx_resource_runs)

/* Written at once: so many runs, or fewer when they are long. */
#define PAGE_RUNS  25
#define PAGE_BYTES (1024 * 1024)

/* A run about to be written. */
typedef struct PageRun
{
	const DbxSeenRun *run;
	Datum			  row;
	char			 *state;
	char			 *result_state;
	char			 *life_cycle_state;
	char			 *job_id;
	bool			  known;
	bool			  stale; /* what is known is newer, or the user's to say */
	bool			  news;	 /* it says something new */
	bool			  moved; /* its state, even */
	bool			  same;	 /* as it is known: nothing to write */
} PageRun;

typedef struct RunPage
{
	int			count;
	PageRun		runs[PAGE_RUNS];
	DbxTaskRows tasks;
} RunPage;

/* The run of a batch that is written by itself. */
typedef struct Alone
{
	DbxHistoryBatch *batch;
	int				 place;
} Alone;

/* The columns of the descriptor, and behind them the repairs. */
static DbxRowType row_type;

static SPIPlanPtr compare_plan = NULL;
static SPIPlanPtr write_plan = NULL;
static SPIPlanPtr gone_plan = NULL;
static SPIPlanPtr transition_plan = NULL;
static SPIPlanPtr active_plan = NULL;
static SPIPlanPtr outputs_plan = NULL;
static SPIPlanPtr fetch_plan = NULL;
static SPIPlanPtr fetched_plan = NULL;

static bool fetches_noted = false;

static const char *const known_states[] = {"BLOCKED",	  "PENDING",
										   "QUEUED",	  "RUNNING",
										   "TERMINATING", "WAITING",
										   "TERMINATED",  NULL};
static const char *const known_life_cycles[] = {
	"QUEUED",	   "PENDING",	 "BLOCKED", "WAITING_FOR_RETRY", "RUNNING",
	"TERMINATING", "TERMINATED", "SKIPPED", "INTERNAL_ERROR",	 NULL};

static int column_run_id;
static int column_job_id;
static int column_state;
static int column_result_state;
static int column_life_cycle;

static void	 prepare(void);
static char *compare_statement(void);
static char *write_statement(void);
static bool	 compared(const DbxColumn *column);
static void	 describe_rows(void);
static int	 write_page(DbxHistoryBatch *batch, int first, int most);
static int	 write_rows(RunPage *page, const Datum *rows, int nrows,
						TimestampTz now);
static int take_page(DbxHistoryBatch *batch, RunPage *page, int first, int most);
static Size		   take_run(const DbxSeenRun *run, const char *workspace,
							PageRun *taken);
static void		   compare_page(const DbxHistoryBatch *batch, RunPage *page);
static void		   compare_run(const DbxHistoryBatch *batch, RunPage *page,
							   HeapTuple tuple, TupleDesc tupdesc);
static void		   settle_run(DbxHistoryBatch *batch, const PageRun *run,
							  TimestampTz now);
static void		   write_alone(DbxHistoryBatch *batch, int place);
static void		   write_one(void *arg);
static bool		   write_gone(DbxHistoryBatch *batch, const DbxSeenRun *run);
static void		   log_unknown_state(const char *what, const char *value,
									 const char *const *known);
static void		   plan_fetches(DbxHistoryBatch *batch, const DbxSeenRun *run,
								bool news);
static int		   execute_for_run(SPIPlanPtr plan, int expected,
								   const DbxHistoryBatch *batch, int64 run_id);
static void		   record_transition(const char *workspace, int64 run_id,
									 const char *state, const char *result_state,
									 TimestampTz at);
static char		  *int64_text(int64 value);
static void		   append_member(StringInfo payload, const char *name,
								 const char *value);
static const char *told(const char *text);
static char		  *text_value(Datum *values, const bool *nulls, int column);
static bool		   same_text(const char *a, const char *b);

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
	MemoryContext page_context;
	MemoryContext before;
	int			  next = 0;

	prepare();
	batch->changed = 0;
	batch->fetches = 0;
	batch->bad = NIL;
	page_context = AllocSetContextCreate(CurrentMemoryContext,
										 "databricks history page",
										 ALLOCSET_DEFAULT_SIZES);
	while (next < list_length(batch->runs))
	{
		CHECK_FOR_INTERRUPTS();
		before = MemoryContextSwitchTo(page_context);
		if (batch->alone)
			write_alone(batch, next++);
		else
			next += write_page(batch, next, PAGE_RUNS);
		MemoryContextSwitchTo(before);
		MemoryContextReset(page_context);
	}
	MemoryContextDelete(page_context);
	if (batch->changed == 0 && list_length(batch->bad) >= MANY_BAD_RUNS)
	{
		DbxBadRun *bad = linitial(batch->bad);

		ereport(ERROR,
				(errcode(bad->sqlstate),
				 errmsg("none of %d runs could be written: %s",
						list_length(batch->bad), bad->message)));
	}
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
	Oid row_types[] = {RECORDARRAYOID, TIMESTAMPTZOID};
	Oid transition_types[] = {TEXTOID, INT8OID, TEXTOID, TEXTOID,
							  TIMESTAMPTZOID};
	Oid gone_types[] = {TEXTOID, INT8OID, TIMESTAMPTZOID};
	Oid active_types[] = {TEXTOID};
	Oid run_types[] = {TEXTOID, INT8OID, TEXTOID};

	if (active_plan != NULL)
		return;

	column_run_id = dbx_resource_column(RES, "run_id");
	column_job_id = dbx_resource_column(RES, "job_id");
	column_state = dbx_resource_column(RES, "state");
	column_result_state = dbx_resource_column(RES, "result_state");
	column_life_cycle = dbx_resource_column(RES, "life_cycle_state");

	if (row_type.source == NULL)
		describe_rows();
	compare_plan = dbx_rows_prepare(compare_statement(), 1, row_types);
	write_plan = dbx_rows_prepare(write_statement(), lengthof(row_types),
								  row_types);
	gone_plan = dbx_rows_prepare(
		"UPDATE databricks.run_history AS h"
		" SET gone_at = $3, updated_at = $3"
		" WHERE h.workspace = $1 AND h.run_id = $2"
		" AND h.gone_at IS NULL"
		" RETURNING h.state, h.result_state, h.job_id::text",
		lengthof(gone_types), gone_types);
	transition_plan = dbx_rows_prepare(
		"INSERT INTO databricks.run_transitions"
		" (workspace, run_id, state, result_state, observed_at)"
		" VALUES ($1, $2, $3, $4, $5)",
		lengthof(transition_types), transition_types);

	/* Whether "failed" is meant: what was cancelled or skipped did not fail. */
	outputs_plan = dbx_rows_prepare(
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
	fetch_plan = dbx_rows_prepare(
		"INSERT INTO databricks.history_fetches"
		" (workspace, run_id, task_run_id, due_at)"
		" SELECT $1, $2, 0, now()"
		" WHERE EXISTS (SELECT FROM databricks.tracking_settings AS s"
		"  WHERE s.workspace = $1)"
		" ON CONFLICT (workspace, run_id, task_run_id)"
		" DO UPDATE SET due_at = now(), failures = 0",
		lengthof(run_types), run_types);
	fetched_plan = dbx_rows_prepare(
		"DELETE FROM databricks.history_fetches AS f"
		" WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = 0",
		lengthof(run_types), run_types);
	active_plan = dbx_rows_prepare(
		"SELECT h.run_id::int8, h.start_time::timestamptz"
		" FROM databricks.run_history AS h"
		" WHERE h.workspace = $1 AND " DBX_HISTORY_ACTIVE(
			"h") " ORDER BY h.start_time NULLS FIRST",
		lengthof(active_types), active_types);
}

static bool
compared(const DbxColumn *column)
{
	return column->convert != DBX_CONVERT_WORKSPACE &&
		(column->flags & DBX_COLUMN_EXPANDED) == 0;
}

static void
describe_rows(void)
{
	int			 count = RES->ncolumns + 1;
	const char **names = palloc(sizeof(char *) * count);
	Oid			*types = palloc(sizeof(Oid) * count);

	for (int i = 0; i < RES->ncolumns; i++)
	{
		names[i] = RES->columns[i].name;
		types[i] = RES->columns[i].convert == DBX_CONVERT_WORKSPACE
			? TEXTOID
			: RES->columns[i].type;
	}
	names[RES->ncolumns] = "repair_history";
	types[RES->ncolumns] = JSONBOID;
	dbx_rows_describe(&row_type, count, names, types);
}

/*
 * OFFSET 0 keeps the planner from a join, which it might plan for a small table
 * and keep for a large one: each row is to be found by its key.
 */
static char *
compare_statement(void)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT h.state, h.result_state, h.gone_at IS NULL");
	for (int i = 0; i < RES->ncolumns; i++)
	{
		const char *name = quote_identifier(RES->columns[i].name);

		if (compared(&RES->columns[i]))
			appendStringInfo(&sql, " AND h.%s IS NOT DISTINCT FROM n.%s", name,
							 name);
	}
	appendStringInfo(
		&sql,
		", h.repair_history IS NOT DISTINCT FROM n.repair_history"
		" AND h.job_parameters IS NOT DISTINCT FROM n.job_parameters"
		", " DBX_HISTORY_ACTIVE(
			"h") ", h.updated_at::timestamptz, n.run_id"
				 " FROM %s, LATERAL (SELECT h.*"
				 "  FROM databricks.run_history AS h"
				 "  WHERE h.workspace = n.workspace AND h.run_id = n.run_id"
				 "  OFFSET 0) AS h",
		row_type.source);
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
		appendStringInfo(&values, "n.%s, ", name);
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
		" SELECT %s$2, $2, n.repair_history FROM %s"
		" ON CONFLICT (workspace, run_id) DO UPDATE"
		" SET %supdated_at = excluded.updated_at, gone_at = NULL,"
		" repair_history = coalesce(excluded.repair_history, h.repair_history)"
		" RETURNING h.run_id::int8",
		names.data, values.data, row_type.source, changes.data);
}

/* ---- a page of runs ---- */

/*
 * Write runs of the batch, from "first" on and at most so many.  Returns how
 * many that were.
 */
static int
write_page(DbxHistoryBatch *batch, int first, int most)
{
	RunPage	   *page = palloc0(sizeof(RunPage));
	Datum	   *rows = palloc(sizeof(Datum) * PAGE_RUNS);
	TimestampTz now = GetCurrentTimestamp();
	int			taken = take_page(batch, page, first, most);
	int			nrows = 0;

	if (page->count == 0)
		return taken;
	compare_page(batch, page);
	for (int i = 0; i < page->count; i++)
	{
		PageRun *run = &page->runs[i];

		if (run->stale || run->same)
			continue;
		log_unknown_state("state", run->state, known_states);
		log_unknown_state("life cycle state", run->life_cycle_state,
						  known_life_cycles);
		rows[nrows++] = run->row;
	}
	if (nrows > 0)
		batch->changed += write_rows(page, rows, nrows, now);
	for (int i = 0; i < page->count; i++)
	{
		if (!page->runs[i].stale)
			dbx_history_tasks_add(&page->tasks, page->runs[i].run);
	}
	batch->changed += dbx_history_tasks_write(&page->tasks, batch->workspace);
	for (int i = 0; i < page->count; i++)
	{
		if (!page->runs[i].stale)
			settle_run(batch, &page->runs[i], now);
	}
	return taken;
}

/*
 * Write these rows of a page; returns how many were.  What a trigger of the user
 * keeps out is as if it had not been seen.
 */
static int
write_rows(RunPage *page, const Datum *rows, int nrows, TimestampTz now)
{
	int written;

	dbx_rows_execute(write_plan, SPI_OK_INSERT_RETURNING, rows, nrows,
					 TimestampTzGetDatum(now));
	written = (int) SPI_processed;
	for (int i = 0; i < page->count && written < nrows; i++)
	{
		PageRun *run = &page->runs[i];
		bool	 found = run->stale || run->same;

		for (int j = 0; j < written && !found; j++)
		{
			bool isnull;

			found = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[j],
												SPI_tuptable->tupdesc, 1,
												&isnull)) == run->run->run_id;
		}
		run->stale |= !found;
	}
	SPI_freetuptable(SPI_tuptable);
	return written;
}

/* One statement cannot write a run twice: then the page ends before. */
static int
take_page(DbxHistoryBatch *batch, RunPage *page, int first, int most)
{
	Size bytes = 0;
	int	 last = Min(first + most, list_length(batch->runs));
	int	 next;

	for (next = first; next < last && bytes < PAGE_BYTES; next++)
	{
		const DbxSeenRun *run = list_nth(batch->runs, next);

		for (int i = 0; i < page->count; i++)
		{
			if (page->runs[i].run->run_id == run->run_id)
				return next - first;
		}
		if (run->element == NULL)
			batch->changed += write_gone(batch, run) ? 1 : 0;
		else
			bytes += take_run(run, batch->workspace, &page->runs[page->count++]);
	}
	return next - first;
}

/* Returns the length of its row.  What a list shows cut is left as it is known. */
static Size
take_run(const DbxSeenRun *run, const char *workspace, PageRun *taken)
{
	const DbxJson *repairs = dbx_json_get(run->element, "repair_history");
	Datum		  *values = palloc(sizeof(Datum) * (RES->ncolumns + 1));
	bool		  *nulls = palloc(sizeof(bool) * (RES->ncolumns + 1));

	dbx_resource_values(RES, run->element, workspace, values, nulls);
	if (nulls[column_run_id] ||
		DatumGetInt64(values[column_run_id]) != run->run_id)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("the answer about run " INT64_FORMAT
						" is about another run",
						run->run_id)));
	for (int i = 0; i < RES->ncolumns; i++)
	{
		const DbxColumn *column = &RES->columns[i];

		if (column->convert == DBX_CONVERT_WORKSPACE)
			values[i] = CStringGetTextDatum(workspace);
		else if (!run->whole && column->convert != DBX_CONVERT_ELEMENT &&
				 dbx_resource_incomplete(RES, run->element, column))
			nulls[i] = true;
	}
	nulls[RES->ncolumns] = dbx_json_type(repairs) != DBX_JSON_ARRAY;
	if (!nulls[RES->ncolumns])
		values[RES->ncolumns] = JsonbPGetDatum(dbx_json_to_jsonb(repairs));

	taken->run = run;
	taken->row = dbx_rows_make(&row_type, values, nulls);
	taken->state = text_value(values, nulls, column_state);
	taken->result_state = text_value(values, nulls, column_result_state);
	taken->life_cycle_state = text_value(values, nulls, column_life_cycle);
	if (!nulls[column_job_id])
		taken->job_id = int64_text(DatumGetInt64(values[column_job_id]));
	taken->news = taken->moved = true;
	return VARSIZE(DatumGetPointer(taken->row));
}

/* What is known of these runs already? */
static void
compare_page(const DbxHistoryBatch *batch, RunPage *page)
{
	Datum rows[PAGE_RUNS];

	for (int i = 0; i < page->count; i++)
		rows[i] = page->runs[i].row;
	dbx_rows_execute(compare_plan, SPI_OK_SELECT, rows, page->count, (Datum) 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		compare_run(batch, page, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
}

static void
compare_run(const DbxHistoryBatch *batch, RunPage *page, HeapTuple tuple,
			TupleDesc tupdesc)
{
	PageRun *run = page->runs;
	bool	 isnull;
	bool	 active = DatumGetBool(SPI_getbinval(tuple, tupdesc, 5, &isnull));
	TimestampTz updated_at = DatumGetTimestampTz(
		SPI_getbinval(tuple, tupdesc, 6, &isnull));
	int64 run_id = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 7, &isnull));

	while (run->run->run_id != run_id)
		run++;
	run->known = true;
	run->news = !DatumGetBool(SPI_getbinval(tuple, tupdesc, 3, &isnull));
	run->moved = !same_text(SPI_getvalue(tuple, tupdesc, 1), run->state) ||
		!same_text(SPI_getvalue(tuple, tupdesc, 2), run->result_state);
	run->same = !run->news &&
		(!run->run->whole ||
		 DatumGetBool(SPI_getbinval(tuple, tupdesc, 4, &isnull)));
	run->stale = batch->mode != DBX_WRITE_SWEEP
		? !run->run->ended || active
		: !run->run->ended && updated_at > batch->begun;
}

/* What follows from what was written: calls, a transition, a notification. */
static void
settle_run(DbxHistoryBatch *batch, const PageRun *run, TimestampTz now)
{
	/* What had ended before anybody looked did not change while we watched. */
	if (batch->mode == DBX_WRITE_BACKFILL && !run->known && run->run->ended)
		return;
	plan_fetches(batch, run->run, run->news);
	if (run->news && run->moved)
		record_transition(batch->workspace, run->run->run_id, run->state,
						  run->result_state, now);
	if (run->news)
		dbx_history_notify(batch->workspace, run->run->run_id, run->job_id, 0,
						   run->state, run->result_state, now);
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

/* One run of the batch, whose errors concern it alone. */
static void
write_alone(DbxHistoryBatch *batch, int place)
{
	const DbxSeenRun *run = list_nth(batch->runs, place);
	MemoryContext	  row_context = CurrentMemoryContext;
	Alone			  alone = {batch, place};
	ErrorData		 *error = dbx_session_apart(write_one, &alone);
	DbxBadRun		 *bad;

	if (error == NULL)
		return;
	MemoryContextSwitchTo(batch->context);
	bad = palloc(sizeof(DbxBadRun));
	bad->run_id = run->run_id;
	bad->sqlstate = error->sqlerrcode;
	bad->message = pstrdup(error->message);
	batch->bad = lappend(batch->bad, bad);
	MemoryContextSwitchTo(row_context);
}

static void
write_one(void *arg)
{
	Alone *alone = arg;

	(void) write_page(alone->batch, alone->place, 1);
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
	value = told(value);
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
		escape_json(payload, told(value));
}

/* As much of a text as is told; it may be as long as the service likes. */
static const char *
told(const char *text)
{
	int len = strlen(text);

	if (len <= TOLD_STATE_LENGTH)
		return text;
	return pnstrdup(text, pg_mbcliplen(text, len, TOLD_STATE_LENGTH));
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
