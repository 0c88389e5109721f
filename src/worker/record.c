/*
 * record.c
 *	  What became of a request, written into its row.
 *
 * Separate from the dispatcher, which talks to the service: everything here
 * happens inside one short transaction.
 *
 * A row that is "sending" or "running" is the worker's alone.  One that is
 * queued may be locked by a user who withdraws it: it is passed over then.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "http/http.h"
#include "worker/history.h"
#include "worker/record.h"
#include "worker/session.h"

static bool	 execute(const char *sql, int nargs, Oid *types, Datum *values,
					 const char *nulls);
static Datum text_or_null(const char *text, char *null_mark);
static void	 note_run(void *arg);
static void	 notify_row(void);
static void	 close_attempt(int64 request_id);
static void	 forget_cancel(int64 request_id);

/* What every statement here returns, for notify_row(). */
#define RETURNED                                                               \
	" RETURNING r.workspace, r.run_id, r.job_id::text, r.request_id, r.state," \
	" r.result_state"

void
dbx_record_hasty(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_SUSET,
							 PGC_S_OVERRIDE, GUC_ACTION_LOCAL, true, 0, false);
}

void
dbx_record_safe(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_ON)
		(void) set_config_option("synchronous_commit", "on", PGC_SUSET,
								 PGC_S_OVERRIDE, GUC_ACTION_LOCAL, true, 0,
								 false);
}

bool
dbx_record_started(int64 request_id, int64 run_id, int64 repair_id)
{
	Oid		   types[] = {INT8OID, INT8OID, INT8OID};
	Datum	   values[3];
	bool	   canceled;
	ErrorData *error;

	values[0] = Int64GetDatum(request_id);
	values[1] = Int64GetDatum(run_id);
	values[2] = Int64GetDatum(repair_id);
	if (!execute("UPDATE databricks.run_requests AS r SET state = 'running',"
				 " run_id = $2, repair_id = nullif($3, 0),"
				 " result_state = NULL, termination_code = NULL,"
				 " run_page_url = NULL, triggered_at = clock_timestamp(),"
				 " send_failures = 0, last_error = NULL"
				 " WHERE r.request_id = $1 AND r.state = 'sending'" RETURNED,
				 3, types, values, NULL))
		return false;
	notify_row();
	canceled = execute("SELECT FROM databricks.run_request_cancels AS c"
					   " WHERE c.request_id = $1",
					   1, types, values, NULL);
	error = dbx_session_attempt(note_run, &request_id);
	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return canceled;
}

/* Who follows the run does it again if the history is locked. */
static void
note_run(void *arg)
{
	dbx_session_limit_waits();
	dbx_record_run(*(int64 *) arg);
}

void
dbx_record_run(int64 request_id)
{
	Oid	  types[] = {INT8OID};
	Datum values[1];

	values[0] = Int64GetDatum(request_id);
	execute("INSERT INTO databricks.run_history AS h"
			" (workspace, run_id, job_id, request_id, started_by,"
			"  first_seen_at, updated_at)"
			" SELECT r.workspace, r.run_id, r.job_id, r.request_id,"
			"  r.requested_by, clock_timestamp(), clock_timestamp()"
			" FROM databricks.run_requests AS r WHERE r.request_id = $1"
			" ON CONFLICT (workspace, run_id) DO UPDATE SET"
			"  request_id = excluded.request_id,"
			"  started_by = excluded.started_by",
			1, types, values, NULL);
}

bool
dbx_record_ended(int64 request_id, const char *state, const char *error)
{
	Oid	  types[] = {INT8OID, TEXTOID, TEXTOID};
	Datum values[3];
	char  nulls[] = "   ";

	values[0] = Int64GetDatum(request_id);
	values[1] = CStringGetTextDatum(state);
	values[2] = text_or_null(error, &nulls[2]);
	if (!execute("UPDATE databricks.run_requests AS r SET state = $2,"
				 " finished_at = clock_timestamp(), next_attempt_at = NULL,"
				 " last_error = $3, hook = CASE WHEN $2 = 'rejected'"
				 "  AND r.on_failure IS NOT NULL THEN 'on_failure' END"
				 " FROM (SELECT l.request_id FROM databricks.run_requests AS l"
				 "  WHERE l.request_id = $1 AND l.state IN ('queued', 'sending')"
				 "  FOR UPDATE SKIP LOCKED) AS s"
				 " WHERE r.request_id = s.request_id" RETURNED,
				 3, types, values, nulls))
		return false;
	notify_row();
	close_attempt(request_id);
	forget_cancel(request_id);
	return true;
}

bool
dbx_record_postponed(int64 request_id, const char *error,
					 TimestampTz next_attempt_at)
{
	Oid	  types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID};
	Datum values[3];
	char  nulls[] = "   ";

	values[0] = Int64GetDatum(request_id);
	values[1] = text_or_null(error, &nulls[1]);
	values[2] = TimestampTzGetDatum(next_attempt_at);

	/* Nothing was started, so a wish to cancel that came meanwhile is met. */
	if (execute("SELECT c.canceled_by FROM databricks.run_request_cancels AS c"
				" WHERE c.request_id = $1",
				1, types, values, NULL))
		return dbx_record_ended(request_id, "canceled",
								psprintf("canceled by role %s",
										 SPI_getvalue(SPI_tuptable->vals[0],
													  SPI_tuptable->tupdesc, 1)));

	if (!execute("UPDATE databricks.run_requests AS r SET state = 'queued',"
				 " next_attempt_at = $3, last_error = $2,"
				 " send_failures = r.send_failures + 1"
				 " FROM (SELECT l.request_id FROM databricks.run_requests AS l"
				 "  WHERE l.request_id = $1 AND l.state IN ('queued', 'sending')"
				 "  FOR UPDATE SKIP LOCKED) AS s"
				 " WHERE r.request_id = s.request_id" RETURNED,
				 3, types, values, nulls))
		return false;
	notify_row();
	return true;
}

void
dbx_record_doubt(int64 request_id, const char *error)
{
	Oid	  types[] = {INT8OID, TEXTOID};
	Datum values[2];

	values[0] = Int64GetDatum(request_id);
	values[1] = CStringGetTextDatum(dbx_redact(error));
	execute("UPDATE databricks.run_requests AS r SET last_error = $2,"
			" send_failures = r.send_failures + 1"
			" WHERE r.request_id = $1 AND r.state = 'sending'",
			2, types, values, NULL);
}

void
dbx_record_cancel_told(int64 request_id)
{
	Oid	  types[] = {INT8OID};
	Datum values[1];

	values[0] = Int64GetDatum(request_id);
	execute("UPDATE databricks.run_request_cancels AS c"
			" SET told_at = clock_timestamp() WHERE c.request_id = $1",
			1, types, values, NULL);
}

void
dbx_record_run_ended(int64 request_id, int64 run_id, const DbxRunEnd *end)
{
	Oid	  types[] = {INT8OID, INT8OID, TEXTOID, TEXTOID,
					 TEXTOID, TEXTOID, TEXTOID, BOOLOID};
	Datum values[8];
	char  nulls[] = "        ";
	bool  may_repeat = !end->success && !end->canceled && !end->gone;

	values[0] = Int64GetDatum(request_id);
	values[1] = Int64GetDatum(run_id);
	values[2] = text_or_null(end->result_state, &nulls[2]);
	values[3] = text_or_null(end->termination_code, &nulls[3]);
	values[4] = text_or_null(end->run_page_url, &nulls[4]);
	values[5] = text_or_null(end->error, &nulls[5]);
	values[6] = CStringGetTextDatum(end->success		? "succeeded"
										: end->canceled ? "canceled"
										: end->skipped	? "skipped"
														: "failed");
	values[7] = BoolGetDatum(may_repeat);

	/* First how the run ended, which the history of attempts copies. */
	if (!execute("UPDATE databricks.run_requests AS r SET result_state = $3,"
				 " termination_code = $4, last_error = $6,"
				 " run_page_url = coalesce($5, r.run_page_url)"
				 " WHERE r.request_id = $1 AND r.run_id = $2"
				 "  AND r.state = 'running' AND r.hook IS NULL",
				 6, types, values, nulls))
		return;
	execute("INSERT INTO databricks.run_request_attempts"
			" (request_id, attempt, workspace, requested_by, token, run_id,"
			"  state, result_state, termination_code, run_page_url, error,"
			"  triggered_at, finished_at, repair_id)"
			" SELECT r.request_id, r.attempt, r.workspace, r.requested_by,"
			"  r.token, r.run_id, $7, r.result_state, r.termination_code,"
			"  r.run_page_url, r.last_error, r.triggered_at, clock_timestamp(),"
			"  r.repair_id"
			" FROM databricks.run_requests AS r WHERE r.request_id = $1"
			" ON CONFLICT DO NOTHING",
			7, types, values, nulls);

	if (execute("UPDATE databricks.run_requests AS r SET state = 'queued',"
				" token = NULL, next_attempt_at = clock_timestamp() + r.retry_delay"
				" WHERE $8 AND r.request_id = $1"
				"  AND r.attempt < r.max_attempts AND NOT EXISTS"
				"  (SELECT FROM databricks.run_request_cancels AS c"
				"   WHERE c.request_id = r.request_id)" RETURNED,
				8, types, values, nulls))
	{
		notify_row();
		return;
	}
	/* With SQL to be run at success the request succeeds when that has. */
	if (execute("UPDATE databricks.run_requests AS r SET"
				" state = CASE WHEN $7 = 'succeeded' AND r.on_success IS NOT NULL"
				"  THEN 'running' ELSE $7 END,"
				" finished_at = CASE WHEN $7 = 'succeeded' AND r.on_success IS NOT NULL"
				"  THEN NULL ELSE clock_timestamp() END,"
				" hook = CASE WHEN $7 = 'succeeded' AND r.on_success IS NOT NULL"
				"   THEN 'on_success'"
				"  WHEN $7 IN ('failed', 'skipped') AND r.on_failure IS NOT NULL"
				"   THEN 'on_failure' END"
				" WHERE r.request_id = $1" RETURNED,
				8, types, values, nulls))
		notify_row();
	forget_cancel(request_id);
}

/* ---- helpers ---- */

/* True if there were rows, which SPI_tuptable holds then. */
static bool
execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, nulls, false,
									   0);

	if (result < 0)
		elog(ERROR, "\"%s\" gave %s", sql, SPI_result_code_string(result));
	return SPI_processed > 0;
}

static Datum
text_or_null(const char *text, char *null_mark)
{
	*null_mark = text != NULL ? ' ' : 'n';
	return text != NULL ? CStringGetTextDatum(dbx_redact(text)) : (Datum) 0;
}

/* The row that the last statement has returned. */
static void
notify_row(void)
{
	HeapTuple tuple = SPI_tuptable->vals[0];
	TupleDesc desc = SPI_tuptable->tupdesc;
	bool	  isnull;
	int64	  run_id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));

	dbx_history_notify(SPI_getvalue(tuple, desc, 1), isnull ? 0 : run_id,
					   SPI_getvalue(tuple, desc, 3),
					   DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull)),
					   SPI_getvalue(tuple, desc, 5),
					   SPI_getvalue(tuple, desc, 6), GetCurrentTimestamp());
}

/* An attempt that was begun and has no run has come to its end as well. */
static void
close_attempt(int64 request_id)
{
	Oid	  types[] = {INT8OID};
	Datum values[1];

	values[0] = Int64GetDatum(request_id);
	execute("INSERT INTO databricks.run_request_attempts"
			" (request_id, attempt, workspace, requested_by, token, state,"
			"  error, finished_at)"
			" SELECT r.request_id, r.attempt, r.workspace, r.requested_by,"
			"  r.token, r.state, r.last_error, r.finished_at"
			" FROM databricks.run_requests AS r"
			" WHERE r.request_id = $1 AND r.attempt > 0 AND r.token IS NOT NULL"
			" ON CONFLICT DO NOTHING",
			1, types, values, NULL);
}

static void
forget_cancel(int64 request_id)
{
	Oid	  types[] = {INT8OID};
	Datum values[1];

	values[0] = Int64GetDatum(request_id);
	execute("DELETE FROM databricks.run_request_cancels AS c"
			" WHERE c.request_id = $1",
			1, types, values, NULL);
}
