/*
 * outputs.c
 *	  What lists do not tell of runs that ended, and the outputs of their tasks.
 *
 * Separate from the sweep, which must not wait for it: whoever writes a run
 * notes in table history_fetches what is still to be asked for, one row a call,
 * and here these calls are made, some at a time and in parallel.  A row goes
 * away in the transaction that writes its answer, so no call is forgotten by a
 * crash, and none whose answer was written is made again.
 *
 * Calls for runs come first, since they bring those for tasks.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/session.h"
#include "worker/tracked.h"

/* Calls in parallel; outputs may be 5 MB each. */
#define RUNS_AT_ONCE	32
#define OUTPUTS_AT_ONCE 8

/* An output that cannot be understood is given up after this many calls. */
#define OUTPUT_FAILURES 10

/* Longest text kept of an output. */
#define OUTPUT_LENGTH (1024 * 1024)

typedef struct FetchItem
{
	int64	   run_id;
	int64	   task_run_id; /* 0: the run itself */
	int		   failures;	/* earlier ones */
	DbxRunGet *get;			/* of a run */
	DbxCall	  *call;		/* of an output */
	bool	   answered;
} FetchItem;

typedef struct DbxOutputs
{
	MemoryContext context;
	DbxWorkspace *workspace;
	List		 *items; /* of FetchItem * */
	int			  open;
	bool		  outputs; /* all of them, or else all are runs */
	DbxTracked	 *tracked;
} DbxOutputs;

static bool				  load_items(DbxTracked *tracked, DbxOutputs *fetch);
static void				  load_next(DbxTracked *tracked);
static void				  start_item(DbxOutputs *fetch, FetchItem *item);
static const DbxApiError *item_error(const FetchItem *item);
static void				  check_outage(DbxOutputs *fetch);
static void				  finish_runs(DbxTracked *tracked, DbxOutputs *fetch);
static void				  finish_outputs(DbxOutputs *fetch);
static void				  write_outputs(void *arg);
static void				  write_output(DbxOutputs *fetch, FetchItem *item);
static bool read_output(const DbxJson *answer, const char *path, Datum *value,
						bool *truncated);
static bool is_true(const DbxJson *node);
static void postpone(DbxOutputs *fetch, bool all);

void
dbx_outputs_begin(DbxTracked *tracked)
{
	MemoryContext context = AllocSetContextCreate(tracked->context,
												  "databricks history fetch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	DbxOutputs	 *fetch = palloc0(sizeof(DbxOutputs));
	ListCell	 *cell;

	tracked->activities[DBX_FETCH].portion = fetch;
	fetch->context = context;
	fetch->tracked = tracked;
	if (load_items(tracked, fetch))
	{
		foreach(cell, fetch->items)
			start_item(fetch, lfirst(cell));
	}
	MemoryContextSwitchTo(before);
}

/*
 * What is due, in fetch->items.  Where nothing is, the activity gets the time
 * when something will be.
 */
static bool
load_items(DbxTracked *tracked, DbxOutputs *fetch)
{
	static const char *sql = "SELECT f.run_id, f.task_run_id, f.failures"
							 " FROM databricks.history_fetches AS f"
							 " WHERE f.workspace = $1 AND f.due_at <= clock_timestamp()"
							 " ORDER BY f.task_run_id <> 0, f.due_at LIMIT $2";
	Oid				   types[] = {TEXTOID, INT8OID};
	Datum			   values[2];

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		tracked->activities[DBX_FETCH].due = 0;
		return false;
	}
	values[0] = CStringGetTextDatum(tracked->name);
	values[1] = Int64GetDatum(RUNS_AT_ONCE);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "what is to be fetched could not be read");
	MemoryContextSwitchTo(fetch->context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple  tuple = SPI_tuptable->vals[i];
		TupleDesc  tupdesc = SPI_tuptable->tupdesc;
		FetchItem *item = palloc0(sizeof(FetchItem));
		bool	   isnull;

		item->run_id = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		item->task_run_id = DatumGetInt64(
			SPI_getbinval(tuple, tupdesc, 2, &isnull));
		item->failures = DatumGetInt32(SPI_getbinval(tuple, tupdesc, 3, &isnull));
		if (i == 0)
			fetch->outputs = item->task_run_id != 0;
		if (fetch->outputs != (item->task_run_id != 0) ||
			(fetch->outputs && i >= OUTPUTS_AT_ONCE))
			break;
		fetch->items = lappend(fetch->items, item);
	}
	if (fetch->items != NIL)
		fetch->workspace = dbx_tracked_resolve(tracked);
	else
		load_next(tracked);
	dbx_session_commit();
	MemoryContextSwitchTo(fetch->context);
	return fetch->items != NIL;
}

static void
load_next(DbxTracked *tracked)
{
	Oid	  types[] = {TEXTOID};
	Datum values[1];
	Datum due;
	bool  isnull;

	values[0] = CStringGetTextDatum(tracked->name);
	if (SPI_execute_with_args("SELECT min(f.due_at)"
							  " FROM databricks.history_fetches AS f"
							  " WHERE f.workspace = $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "what is to be fetched could not be read");
	due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						&isnull);
	tracked->activities[DBX_FETCH].due = isnull ? 0 : DatumGetTimestampTz(due);
}

static void
start_item(DbxOutputs *fetch, FetchItem *item)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	if (item->task_run_id == 0)
		item->get = dbx_run_get_start(fetch->workspace, item->run_id);
	else
	{
		initStringInfo(&query);
		dbx_query_add_int64(&query, "run_id", item->task_run_id);
		spec.method = "GET";
		spec.path = dbx_api_jobs_path(fetch->workspace, "runs/get-output");
		spec.query = query.data;
		spec.caller = "track";
		item->call = dbx_call_start(fetch->workspace, &spec);
		pfree(query.data);
	}
	fetch->open++;
}

bool
dbx_outputs_advance(DbxTracked *tracked)
{
	DbxOutputs	 *fetch = tracked->activities[DBX_FETCH].portion;
	MemoryContext before = CurrentMemoryContext;
	ListCell	 *cell;

	if (fetch->items == NIL)
		return true;
	MemoryContextSwitchTo(fetch->context);
	foreach(cell, fetch->items)
	{
		FetchItem *item = lfirst(cell);

		if (item->answered ||
			!(fetch->outputs ? dbx_call_done(item->call)
							 : dbx_run_get_done(item->get)))
			continue;
		item->answered = true;
		fetch->open--;
	}
	if (fetch->open > 0)
	{
		MemoryContextSwitchTo(before);
		return false;
	}

	/* At once: the next portion finds out whether there is more. */
	tracked->activities[DBX_FETCH].due = GetCurrentTimestamp();
	check_outage(fetch);
	if (!fetch->outputs)
		finish_runs(tracked, fetch);
	else
		finish_outputs(fetch);
	MemoryContextSwitchTo(before);
	return true;
}

/* What the service said about an item, if it was an error. */
static const DbxApiError *
item_error(const FetchItem *item)
{
	return item->get != NULL ? dbx_run_get_error(item->get)
							 : dbx_call_error(item->call);
}

/*
 * Will it not be better next time?  An answer that was not written is one that
 * the next sweep knows better: a run that is repaired, or not yet seen to end.
 */
static bool
is_failure(const DbxOutputs *fetch, const FetchItem *item)
{
	const DbxApiError *error = item_error(item);
	const DbxAside	  *aside = hash_search(fetch->tracked->aside, &item->run_id,
										   HASH_FIND, NULL);

	if (error != NULL)
		return !error->passing;
	return item->get == NULL || item->get->foreign ||
		(aside != NULL && aside->reason == DBX_ASIDE_BAD);
}

/*
 * When all calls failed by what passes, that is no matter of single runs: the
 * rows stay as they are, and the activity as a whole is tried later.
 */
static void
check_outage(DbxOutputs *fetch)
{
	const DbxApiError *error = NULL;
	ListCell		  *cell;

	foreach(cell, fetch->items)
	{
		error = item_error(lfirst(cell));
		if (error == NULL || !error->passing)
			return;
	}
	/* NOLINTNEXTLINE(clang-analyzer-core.*): there is an item */
	ereport(ERROR, (errcode(error->sqlstate), errmsg("%s", error->message)));
}

void
dbx_outputs_end(DbxTracked *tracked)
{
	DbxOutputs *fetch = tracked->activities[DBX_FETCH].portion;

	tracked->activities[DBX_FETCH].portion = NULL;
	if (fetch != NULL)
		MemoryContextDelete(fetch->context);
}

/* Writing a run removes its row; whatever row is left is tried later. */
static void
finish_runs(DbxTracked *tracked, DbxOutputs *fetch)
{
	List	 *runs = NIL;
	ListCell *cell;

	foreach(cell, fetch->items)
	{
		const FetchItem *item = lfirst(cell);
		DbxSeenRun		*run = dbx_run_get_seen(item->get);

		if (run != NULL)
			runs = lappend(runs, run);
	}
	if (dbx_tracked_write(tracked, runs, DBX_WRITE_BESIDE, NULL, 0, true))
		postpone(fetch, false);
}

/*
 * The rows that are still there, of a portion that was tried.  "all": those for
 * outputs too, which otherwise look after themselves.  What passes is no failure,
 * so that no outage puts anything off for long.
 */
static void
postpone(DbxOutputs *fetch, bool all)
{
	static const char *sql =
		"UPDATE databricks.history_fetches AS f SET failures = f.failures + i.failed,"
		" due_at = clock_timestamp() + interval '10 s' * 2 ^ (i.failed * least(f.failures, 9))"
		" FROM unnest($2, $3, $4) AS i (run_id, task_run_id, failed)"
		" WHERE f.workspace = $1 AND f.run_id = i.run_id"
		" AND f.task_run_id = i.task_run_id";
	Oid		  types[] = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID};
	int		  count = list_length(fetch->items);
	Datum	 *runs = palloc(sizeof(Datum) * count);
	Datum	 *tasks = palloc(sizeof(Datum) * count);
	Datum	 *failed = palloc(sizeof(Datum) * count);
	Datum	  values[4];
	ListCell *cell;

	if (fetch->outputs && !all)
		return;
	foreach(cell, fetch->items)
	{
		FetchItem *item = lfirst(cell);

		runs[foreach_current_index(cell)] = Int64GetDatum(item->run_id);
		tasks[foreach_current_index(cell)] = Int64GetDatum(item->task_run_id);
		failed[foreach_current_index(cell)] = Int32GetDatum(
			is_failure(fetch, item));
	}
	values[0] = CStringGetTextDatum(fetch->tracked->name);
	values[1] = PointerGetDatum(construct_array(runs, count, INT8OID, 8,
												FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[2] = PointerGetDatum(construct_array(tasks, count, INT8OID, 8,
												FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[3] = PointerGetDatum(
		construct_array(failed, count, INT4OID, 4, true, TYPALIGN_INT));
	if (!dbx_session_begin_history())
		return;
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false,
							  0) != SPI_OK_UPDATE)
		elog(ERROR, "what is to be fetched could not be put off");
	dbx_session_commit();
	MemoryContextSwitchTo(fetch->context);
}

/* ---- outputs ---- */

/* If they cannot be written together, one that is bad may not hold up the rest. */
static void
finish_outputs(DbxOutputs *fetch)
{
	ErrorData *error = dbx_session_try(write_outputs, fetch);
	List	  *items = fetch->items;
	List	  *bad = NIL;
	ListCell  *cell;

	if (error == NULL)
		return;
	if (dbx_session_concerns_all(error->sqlerrcode))
		ReThrowError(error);
	foreach(cell, items)
	{
		fetch->items = list_make1(lfirst(cell));
		if (dbx_session_try(write_outputs, fetch) != NULL)
			bad = lappend(bad, lfirst(cell));
	}
	fetch->items = bad;
	if (bad == NIL)
		return;
	postpone(fetch, true);
	ReThrowError(error);
}

static void
write_outputs(void *arg)
{
	DbxOutputs *fetch = arg;
	ListCell   *cell;

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	foreach(cell, fetch->items)
		write_output(fetch, lfirst(cell));
	dbx_session_commit();
}

/*
 * What the service does not have, or will not give, is not asked for again;
 * output_at stays NULL then.
 */
static void
write_output(DbxOutputs *fetch, FetchItem *item)
{
	static const char *written =
		"WITH fetched AS (DELETE FROM databricks.history_fetches AS f"
		"  WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = $3)"
		" UPDATE databricks.task_history AS t"
		" SET result = $4, error = $5, error_trace = $6, output_truncated = $7,"
		"  output_at = clock_timestamp()"
		" WHERE t.workspace = $1 AND t.run_id = $2 AND t.task_run_id = $3";
	static const char *failed =
		"UPDATE databricks.history_fetches AS f SET failures = f.failures + 1,"
		" due_at = clock_timestamp() + interval '10 s' * 2 ^ least(f.failures, 9)"
		" WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = $3";
	static const char *passed_by =
		"UPDATE databricks.history_fetches AS f"
		" SET due_at = clock_timestamp() + interval '10 s'"
		" WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = $3";
	static const char *given_up =
		"DELETE FROM databricks.history_fetches AS f"
		" WHERE f.workspace = $1 AND f.run_id = $2 AND f.task_run_id = $3";
	Oid		 types[] = {TEXTOID, INT8OID, INT8OID, TEXTOID,
						TEXTOID, TEXTOID, BOOLOID};
	DbxJson *answer;
	char	*trouble = NULL;
	Datum	 values[7] = {0};
	char	 nulls[] = "   nnn ";
	bool	 truncated = false;

	values[0] = CStringGetTextDatum(fetch->tracked->name);
	values[1] = Int64GetDatum(item->run_id);
	values[2] = Int64GetDatum(item->task_run_id);
	answer = dbx_call_outcome(item->call, &trouble);
	if (answer == NULL)
	{
		const DbxApiError *error = dbx_call_error(item->call);
		const char		  *sql = given_up;

		if (error != NULL && error->passing)
			sql = passed_by;
		else if (error == NULL && item->failures + 1 < OUTPUT_FAILURES)
			sql = failed;
		if (SPI_execute_with_args(sql, 3, types, values, NULL, false, 0) < 0)
			elog(ERROR, "an output could not be put off");
		return;
	}

	if (read_output(answer, "notebook_output.result", &values[3], &truncated) ||
		read_output(answer, "logs", &values[3], &truncated))
		nulls[3] = ' ';
	if (read_output(answer, "error", &values[4], &truncated))
		nulls[4] = ' ';
	if (read_output(answer, "error_trace", &values[5], &truncated))
		nulls[5] = ' ';
	truncated |= is_true(dbx_json_path(answer, "notebook_output.truncated"));
	truncated |= is_true(dbx_json_get(answer, "logs_truncated"));
	values[6] = BoolGetDatum(truncated);
	if (SPI_execute_with_args(written, lengthof(types), types, values, nulls,
							  false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "an output could not be written");
}

static bool
is_true(const DbxJson *node)
{
	bool value;

	return dbx_json_bool(node, &value) && value;
}

/* Text of a member, not longer than we keep; false: it is not there. */
static bool
read_output(const DbxJson *answer, const char *path, Datum *value,
			bool *truncated)
{
	const char *text = dbx_json_string(dbx_json_path(answer, path));
	int			len;

	if (text == NULL || *text == '\0')
		return false;
	len = strlen(text);
	if (len > OUTPUT_LENGTH)
	{
		len = pg_mbcliplen(text, len, OUTPUT_LENGTH);
		*truncated = true;
	}
	*value = PointerGetDatum(cstring_to_text_with_len(text, len));
	return true;
}
