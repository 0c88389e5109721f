/*
 * retention_history.c
 *	  Removing runs that are older than the retention of their workspace.
 *
 * In batches, each a transaction, so that none is long and other things are done
 * in between.  Rows that foreign keys or triggers of the user hold stay, with their
 * tasks (retention.c).
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "worker/retention.h"
#include "worker/session.h"
#include "worker/tracked.h"

#define BATCH			  1000
#define PERIOD_MIN_USECS  USECS_PER_SEC
#define PERIOD_MAX_USECS  (60 * 60 * USECS_PER_SEC)
#define PERIODS_OF_A_TERM 24

static int	load_batch(DbxTracked *tracked, Datum **ids);
static void remove_runs(void *arg, Datum *ids, int count);

/* All of it at once, no call is needed. */
void
dbx_expiry_begin(DbxTracked *tracked)
{
	static char	  portion;
	DbxActivity	 *activity = &tracked->activities[DBX_EXPIRY];
	MemoryContext before = CurrentMemoryContext;
	Datum		 *ids;
	int			  count;

	activity->portion = &portion;
	activity->due = 0;
	if (tracked->retention == 0 || !dbx_session_begin_history())
		return;
	count = load_batch(tracked, &ids);
	(void) dbx_retention_remove(remove_runs, tracked->name, ids, count);
	dbx_session_commit();
	MemoryContextSwitchTo(before);

	activity->due = GetCurrentTimestamp();
	if (count < BATCH)
	{
		tracked->expired_time = 0;
		tracked->expired_id = 0;
		activity->due += Max(PERIOD_MIN_USECS,
							 Min(PERIOD_MAX_USECS,
								 tracked->retention / PERIODS_OF_A_TERM));
	}
}

bool
dbx_expiry_advance(DbxTracked *tracked)
{
	return true;
}

void
dbx_expiry_end(DbxTracked *tracked)
{
	tracked->activities[DBX_EXPIRY].portion = NULL;
}

/*
 * The oldest that may go, behind those looked at before.  Runs that never
 * started, which are few, have only the time we saw them.  One that a transaction
 * has just pointed to is left for the next pass: nobody waits for the user's.
 */
static int
load_batch(DbxTracked *tracked, Datum **ids)
{
	static const char *sql =
		"SELECT h.run_id::int8, coalesce(h.start_time, '-infinity')::timestamptz AS t"
		" FROM databricks.run_history AS h"
		" WHERE h.workspace = $1"
		" AND (h.start_time < $2 AND (h.start_time, h.run_id) > ($3, $4)"
		"  OR h.start_time IS NULL AND h.first_seen_at < $2 AND h.run_id > $5)"
		" AND (h.gone_at IS NOT NULL OR h.state = 'TERMINATED'"
		"  OR h.life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR'))"
		" ORDER BY t, h.run_id LIMIT $6 FOR UPDATE SKIP LOCKED";
	Oid	  types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
					 INT8OID, INT8OID,		  INT8OID};
	bool  begun = tracked->expired_time != 0;
	bool  started = begun && tracked->expired_time != DT_NOBEGIN;
	Datum values[6];
	int	  count;

	values[0] = CStringGetTextDatum(tracked->name);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp() - tracked->retention);
	values[2] = TimestampTzGetDatum(started ? tracked->expired_time
											: DT_NOBEGIN);
	values[3] = Int64GetDatum(started ? tracked->expired_id : 0);
	values[4] = Int64GetDatum(started	  ? PG_INT64_MAX
								  : begun ? tracked->expired_id
										  : PG_INT64_MIN);
	values[5] = Int64GetDatum(BATCH);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "old runs could not be read");
	count = (int) SPI_processed;
	*ids = palloc(sizeof(Datum) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		bool isnull;

		(*ids)[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
								  1, &isnull);
		tracked->expired_time = DatumGetTimestampTz(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2,
						  &isnull));
		tracked->expired_id = DatumGetInt64((*ids)[i]);
	}
	return count;
}

/* Also of those that a trigger keeps without a word the rest has to stay. */
#define OF_REMOVED_RUNS                                        \
	" WHERE t.workspace = $1 AND t.run_id = ANY ($2)"          \
	" AND NOT EXISTS (SELECT FROM databricks.run_history AS h" \
	"  WHERE h.workspace = t.workspace AND h.run_id = t.run_id)"

/* DbxRemove; arg: the workspace. */
static void
remove_runs(void *arg, Datum *ids, int count)
{
	static const char *const statements[] = {
		"DELETE FROM databricks.run_history AS h"
		" WHERE h.workspace = $1 AND h.run_id = ANY ($2)",
		"DELETE FROM databricks.task_history AS t" OF_REMOVED_RUNS,
		"DELETE FROM databricks.run_transitions AS t" OF_REMOVED_RUNS,
		"DELETE FROM databricks.history_fetches AS t" OF_REMOVED_RUNS};
	Oid	  types[] = {TEXTOID, INT8ARRAYOID};
	Datum values[2];

	values[0] = CStringGetTextDatum(arg);
	values[1] = PointerGetDatum(construct_array(ids, count, INT8OID, 8,
												FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	for (int i = 0; i < lengthof(statements); i++)
	{
		if (SPI_execute_with_args(statements[i], 2, types, values, NULL, false,
								  0) != SPI_OK_DELETE)
			elog(ERROR, "old runs could not be removed");
	}
}
