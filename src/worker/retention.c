/*
 * retention.c
 *	  Removing requests that have ended long ago.
 *
 * In batches, so that no transaction is long, and only while a worker runs
 * anyway: what has ended long ago is no reason to start one.
 *
 * Rows that foreign keys or triggers of the user hold stay, be they requests or
 * runs: a batch that cannot be removed whole is halved until those are found.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/record.h"
#include "worker/retention.h"
#include "worker/session.h"

#define PERIOD_USECS (60 * 60 * USECS_PER_SEC)
#define BATCH		 1000

/* Rows to be removed in one go. */
typedef struct Removal
{
	DbxRemove remove;
	void	 *arg;
	Datum	 *ids;
	int		  count;
} Removal;

static int	load_batch(TimestampTz before, TimestampTz *last_at, int64 *last_id,
					   Datum **ids);
static void remove_requests(void *arg, Datum *ids, int count);
static int	remove_rows(const Removal *rows);
static void try_remove(void *arg);

bool
dbx_retention_run(void)
{
	static TimestampTz next = 0;
	static TimestampTz last_at = DT_NOBEGIN; /* looked at up to this one */
	static int64	   last_id = 0;
	TimestampTz		   now = GetCurrentTimestamp();
	Datum			  *ids;
	int				   count;

	if (dbx_guc_request_retention < 0 || now < next)
		return false;
	if (!dbx_session_begin())
		return false;
	dbx_record_hasty();
	count = load_batch(now -
						   (TimestampTz) dbx_guc_request_retention *
							   USECS_PER_SEC,
					   &last_at, &last_id, &ids);
	(void) dbx_retention_remove(remove_requests, NULL, ids, count);
	dbx_session_commit();
	if (count == BATCH)
		return true;
	last_at = DT_NOBEGIN;
	next = now + PERIOD_USECS;
	return false;
}

/* The oldest that nobody waits for, behind those looked at before. */
static int
load_batch(TimestampTz before, TimestampTz *last_at, int64 *last_id, Datum **ids)
{
	static const char *sql =
		"SELECT r.request_id, r.finished_at FROM databricks.run_requests AS r"
		" WHERE r.finished_at < $1 AND (r.finished_at, r.request_id) > ($2, $3)"
		"  AND r.hook IS NULL AND NOT r.announce"
		"  AND NOT EXISTS (SELECT FROM databricks.run_requests AS d"
		"   WHERE d.state = 'queued' AND NOT d.ready"
		"    AND (r.request_id = ANY (d.depends_on)"
		"     OR r.request_id = ANY (d.after_requests)))"
		" ORDER BY r.finished_at, r.request_id LIMIT $4 FOR UPDATE SKIP LOCKED";
	Oid	  types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum values[4];
	int	  count;

	values[0] = TimestampTzGetDatum(before);
	values[1] = TimestampTzGetDatum(*last_at);
	values[2] = Int64GetDatum(*last_id);
	values[3] = Int64GetDatum(BATCH);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "old requests could not be read");
	count = (int) SPI_processed;
	*ids = palloc(sizeof(Datum) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool	  isnull;

		(*ids)[i] = SPI_getbinval(tuple, desc, 1, &isnull);
		*last_id = DatumGetInt64((*ids)[i]);
		*last_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 2, &isnull));
	}
	return count;
}

static void
remove_requests(void *arg, Datum *ids, int count)
{
	static const char *sql =
		"WITH attempts AS (DELETE FROM databricks.run_request_attempts AS a"
		"  WHERE a.request_id = ANY ($1)),"
		" cancels AS (DELETE FROM databricks.run_request_cancels AS c"
		"  WHERE c.request_id = ANY ($1))"
		" DELETE FROM databricks.run_requests AS r"
		" WHERE r.request_id = ANY ($1)";
	Oid	  types[] = {INT8ARRAYOID};
	Datum values[1];

	values[0] = PointerGetDatum(construct_array(ids, count, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) !=
		SPI_OK_DELETE)
		elog(ERROR, "old requests could not be removed");
}

/* ---- what nobody holds, for requests and runs alike ---- */

int
/* NOLINTNEXTLINE(readability-non-const-parameter): construct_array()'s type */
dbx_retention_remove(DbxRemove remove, void *arg, Datum *ids, int count)
{
	Removal all = {remove, arg, ids, count};

	if (count == 0)
		return 0;
	/* Keys that are checked at the end would end all of it. */
	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "constraints could not be made immediate");
	return remove_rows(&all);
}

static int
remove_rows(const Removal *rows)
{
	Removal	   first = *rows;
	Removal	   second = *rows;
	ErrorData *error;

	CHECK_FOR_INTERRUPTS();
	error = dbx_session_apart(try_remove, unconstify(Removal *, rows));
	if (error == NULL)
		return rows->count;
	if (rows->count == 1 && error->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION &&
		error->sqlerrcode != ERRCODE_RESTRICT_VIOLATION)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("databricks worker: row " INT64_FORMAT
						" cannot be removed: %s",
						DatumGetInt64(rows->ids[0]),
						dbx_session_error_text(error))));
	FreeErrorData(error);
	if (rows->count == 1)
		return 0;
	first.count /= 2;
	second.ids += first.count;
	second.count -= first.count;
	return remove_rows(&first) + remove_rows(&second);
}

static void
try_remove(void *arg)
{
	Removal *rows = arg;

	rows->remove(rows->arg, rows->ids, rows->count);
}
