/*
 * queue.c
 *	  What can be decided about requests without a call of the service.
 *
 * Separate from the dispatcher because none of it concerns what is in hand: it is
 * one transaction's walk over the table, to requests that are too late, have lost
 * what they depend on, have it all, or are like others.
 *
 * Each step is undone alone when it raises, as by a trigger that somebody has put
 * on the table: what can be sent is sent all the same.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/history.h"
#include "worker/queue.h"
#include "worker/record.h"
#include "worker/session.h"

static void	  end_late(void *arg);
static void	  end_lost(void *arg);
static void	  make_ready(void *arg);
static void	  merge_alike(void *arg);
static void	  announce(void *arg);
static uint64 execute(const char *sql);
static int64  id_of(HeapTuple tuple, TupleDesc desc, int column);

void
dbx_queue_tidy(void)
{
	static void (*const steps[])(void *) = {end_late, end_lost, make_ready,
											merge_alike, announce};
	static char *logged[lengthof(steps)];

	for (int i = 0; i < lengthof(steps); i++)
	{
		ErrorData *error = dbx_session_apart(steps[i], NULL);

		if (error == NULL || dbx_session_same_trouble(error->message, logged[i]))
			continue;
		if (logged[i] != NULL)
			pfree(logged[i]);
		logged[i] = MemoryContextStrdup(TopMemoryContext, error->message);
		ereport(
			WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("databricks worker: requests that wait could not be looked through: %s",
					dbx_session_error_text(error)),
			 errdetail(
				 "Others are sent; the same trouble is not logged again.")));
	}
}

static void
end_late(void *arg)
{
	uint64 count = execute(
		"SELECT r.request_id FROM databricks.run_requests AS r"
		" WHERE r.state = 'queued' AND r.expires_at <= clock_timestamp()"
		"  AND r.triggered_at IS NULL");
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < count; i++)
		(void) dbx_record_ended(id_of(rows->vals[i], rows->tupdesc, 1),
								"expired", "not sent before expires_at");
}

/* Until nothing changes: the end of one is what others depend on. */
static void
end_lost(void *arg)
{
	bool changed;

	do
	{
		uint64 count = execute(
			"SELECT r.request_id, min(d.request_id), min(d.state)"
			" FROM databricks.run_requests AS r"
			" CROSS JOIN LATERAL unnest(r.depends_on) AS i"
			" LEFT JOIN databricks.run_requests AS d ON d.request_id = i"
			" WHERE r.state = 'queued' AND NOT r.ready"
			"  AND d.state IN ('failed', 'rejected', 'expired', 'skipped', 'canceled')"
			" GROUP BY r.request_id");
		SPITupleTable *rows = SPI_tuptable;

		changed = false;
		for (uint64 i = 0; i < count; i++)
			changed |= dbx_record_ended(
				id_of(rows->vals[i], rows->tupdesc, 1), "canceled",
				psprintf("request %s, which it depends on, ended %s",
						 SPI_getvalue(rows->vals[i], rows->tupdesc, 2),
						 SPI_getvalue(rows->vals[i], rows->tupdesc, 3)));
	} while (changed);
}

static void
make_ready(void *arg)
{
	(void) execute(
		"UPDATE databricks.run_requests AS r SET ready = true,"
		" next_attempt_at = greatest(r.next_attempt_at, clock_timestamp())"
		" FROM (SELECT q.request_id FROM databricks.run_requests AS q"
		"  WHERE q.state = 'queued' AND NOT q.ready"
		"   AND NOT EXISTS (SELECT FROM unnest(q.depends_on) AS i"
		"    LEFT JOIN databricks.run_requests AS d ON d.request_id = i"
		"    WHERE d.state <> 'succeeded')"
		"   AND NOT EXISTS (SELECT FROM unnest(q.after_requests) AS i"
		"    LEFT JOIN databricks.run_requests AS d ON d.request_id = i"
		"    WHERE d.finished_at IS NULL AND d.state IS NOT NULL)"
		"  FOR UPDATE SKIP LOCKED) AS s"
		" WHERE r.request_id = s.request_id");
}

/* Of those that wait for others like them, the first one stands for all. */
static void
merge_alike(void *arg)
{
	(void) execute(
		"UPDATE databricks.run_requests AS r SET state = 'skipped',"
		" finished_at = clock_timestamp(), next_attempt_at = NULL,"
		" announce = true,"
		" last_error = format('merged with request %s', m.first)"
		" FROM (SELECT q.request_id, first_value(q.request_id) OVER"
		"   (PARTITION BY q.workspace, q.requested_by,"
		"     coalesce(q.job_name, q.job_id::text), q.body"
		"    ORDER BY q.next_attempt_at, q.request_id) AS first"
		"  FROM (SELECT l.* FROM databricks.run_requests AS l"
		"   WHERE l.state = 'queued' AND l.debounce IS NOT NULL"
		"    AND l.triggered_at IS NULL FOR UPDATE SKIP LOCKED) AS q) AS m"
		" WHERE r.request_id = m.request_id AND m.first <> m.request_id");
}

/* What users have ended: their transactions notify nobody. */
static void
announce(void *arg)
{
	uint64 count = execute(
		"UPDATE databricks.run_requests AS r SET announce = false"
		" FROM (SELECT a.request_id FROM databricks.run_requests AS a"
		"  WHERE a.announce FOR UPDATE SKIP LOCKED) AS s"
		" WHERE r.request_id = s.request_id"
		" RETURNING r.workspace, r.run_id, r.job_id::text, r.request_id, r.state,"
		"  r.result_state");
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple tuple = rows->vals[i];
		TupleDesc desc = rows->tupdesc;

		dbx_history_notify(SPI_getvalue(tuple, desc, 1), id_of(tuple, desc, 2),
						   SPI_getvalue(tuple, desc, 3), id_of(tuple, desc, 4),
						   SPI_getvalue(tuple, desc, 5),
						   SPI_getvalue(tuple, desc, 6), GetCurrentTimestamp());
	}
}

/* Returns the number of rows, which SPI_tuptable holds. */
static uint64
execute(const char *sql)
{
	int result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "\"%s\" gave %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}

/* 0: none. */
static int64
id_of(HeapTuple tuple, TupleDesc desc, int column)
{
	bool  isnull;
	Datum value = SPI_getbinval(tuple, desc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}
