/*
 * retention.c
 *	  Removing requests that have ended long ago.
 *
 * In batches, so that no transaction is long, and only while a worker runs
 * anyway: what has ended long ago is no reason to start one.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/record.h"
#include "worker/retention.h"
#include "worker/session.h"

#define PERIOD_USECS (60 * 60 * USECS_PER_SEC)
#define BATCH		 1000

bool
dbx_retention_run(void)
{
	static TimestampTz next = 0;
	static const char *sql =
		"WITH old AS (SELECT r.request_id FROM databricks.run_requests AS r"
		"  WHERE r.finished_at < $1 AND r.hook IS NULL AND NOT r.announce"
		"   AND NOT EXISTS (SELECT FROM databricks.run_requests AS d"
		"    WHERE d.state = 'queued' AND NOT d.ready"
		"     AND (r.request_id = ANY (d.depends_on)"
		"      OR r.request_id = ANY (d.after_requests)))"
		"  ORDER BY r.finished_at LIMIT $2 FOR UPDATE SKIP LOCKED),"
		" attempts AS (DELETE FROM databricks.run_request_attempts AS a"
		"  USING old WHERE a.request_id = old.request_id)"
		" DELETE FROM databricks.run_requests AS r"
		" USING old WHERE r.request_id = old.request_id";
	TimestampTz now = GetCurrentTimestamp();
	Oid			types[] = {TIMESTAMPTZOID, INT4OID};
	Datum		values[2];
	bool		more;

	if (dbx_guc_request_retention < 0 || now < next)
		return false;
	if (!dbx_session_begin())
		return false;
	dbx_record_hasty();
	values[0] = TimestampTzGetDatum(
		now - (TimestampTz) dbx_guc_request_retention * USECS_PER_SEC);
	values[1] = Int32GetDatum(BATCH);
	if (SPI_execute_with_args(sql, 2, types, values, NULL, false, 0) !=
		SPI_OK_DELETE)
		elog(ERROR, "old requests could not be removed");
	more = SPI_processed >= BATCH;
	dbx_session_commit();
	if (!more)
		next = now + PERIOD_USECS;
	return more;
}
