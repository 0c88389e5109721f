/*
 * pace.c
 *	  How soon to look at a tracked workspace again.
 *
 * Sooner than poll_interval when a run is about to end, as far as earlier runs
 * of its job tell, or has just been seen for the first time; but a sweep of many
 * calls is not made more often for that than its calls allow.  Later, step by
 * step, while nothing runs.  Both within the bounds of the settings, so that
 * what the service is asked stays a matter of how much happens there.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/session.h"
#include "worker/tracked.h"

/* Calls a second that a hurry may cost on average, of the 30 that are allowed. */
#define HURRY_CALLS_PER_SECOND 2

/* While nothing runs the interval grows to so many times what was asked for ... */
#define IDLE_TIMES 3

/* ... in so many sweeps. */
#define IDLE_SWEEPS 4

static int64	   shortest(const DbxTracked *tracked, int calls);
static int64	   longest(const DbxTracked *tracked);
static TimestampTz next_event(DbxTracked *tracked, TimestampTz now);

int64
dbx_pace_interval(DbxTracked *tracked, int calls)
{
	int64		quick = shortest(tracked, calls);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz event;

	if (tracked->status.active_runs == 0)
	{
		tracked->idle_sweeps = Min(tracked->idle_sweeps + 1, IDLE_SWEEPS);
		return tracked->poll +
			(longest(tracked) - tracked->poll) * tracked->idle_sweeps /
			IDLE_SWEEPS;
	}
	tracked->idle_sweeps = 0;
	if (quick >= tracked->poll)
		return tracked->poll;
	event = next_event(tracked, now);
	if (event == 0)
		return tracked->poll;
	return Max(quick, Min(tracked->poll, event - now));
}

void
dbx_pace_hurry(DbxTracked *tracked)
{
	TimestampTz due = GetCurrentTimestamp() + shortest(tracked, 1);

	tracked->idle_sweeps = 0;
	if (tracked->sweep == NULL && tracked->sweep_failures == 0 &&
		due < tracked->sweep_due)
		tracked->sweep_due = due;
}

static int64
shortest(const DbxTracked *tracked, int calls)
{
	int64 quick = Max((int64) dbx_guc_poll_interval_min * 1000,
					  calls * USECS_PER_SEC / HURRY_CALLS_PER_SECOND);

	return Min(quick, tracked->poll);
}

static int64
longest(const DbxTracked *tracked)
{
	int64 slow = Min((int64) dbx_guc_poll_interval_max * 1000,
					 tracked->poll * IDLE_TIMES);

	return Max(slow, tracked->poll);
}

/*
 * When the next of the active runs is worth a look: now for those seen for the
 * first time a short while ago and those that are ending, else some time before
 * the end that half of the last successful runs of the job would have had, among
 * its last hundred: one that always fails shall not be read whole each time.  What
 * is overdue is no longer close to its end.  0: none.
 */
static TimestampTz
next_event(DbxTracked *tracked, TimestampTz now)
{
	static const char *sql =
		"WITH active AS MATERIALIZED ("
		"  SELECT h.job_id, h.state, h.start_time, h.first_seen_at"
		"  FROM databricks.run_history AS h"
		"  WHERE h.workspace = $1 AND " DBX_HISTORY_ACTIVE(
			"h") "),"
				 " lasting AS ("
				 "  SELECT j.job_id, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY l.d)"
				 "   FROM (SELECT r.end_time - r.start_time AS d"
				 "    FROM (SELECT o.start_time, o.end_time, o.result_state"
				 "     FROM databricks.run_history AS o"
				 "     WHERE o.workspace = $1 AND o.job_id = j.job_id"
				 "     ORDER BY o.start_time DESC LIMIT 100) AS r"
				 "    WHERE r.result_state = 'SUCCESS'"
				 "    ORDER BY r.start_time DESC LIMIT 10) AS l) AS d"
				 "  FROM (SELECT DISTINCT a.job_id FROM active AS a) AS j)"
				 " SELECT min(CASE WHEN a.state = 'TERMINATING'"
				 "   OR a.first_seen_at > $2 - 2 * $3 THEN $2"
				 "  WHEN a.start_time + l.d + greatest($3, l.d / 20) > $2"
				 "   THEN greatest($2, a.start_time + l.d - greatest($3, l.d / 20)) END)"
				 " FROM active AS a LEFT JOIN lasting AS l ON l.job_id = a.job_id";
	Oid			  types[] = {TEXTOID, TIMESTAMPTZOID, INTERVALOID};
	Interval	  poll = {0};
	Datum		  values[3];
	Datum		  value;
	TimestampTz	  result = 0;
	bool		  isnull;
	MemoryContext before = CurrentMemoryContext;

	if (!dbx_session_begin_history())
		return 0;
	poll.time = tracked->poll;
	values[0] = CStringGetTextDatum(tracked->name);
	values[1] = TimestampTzGetDatum(now);
	values[2] = IntervalPGetDatum(&poll);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "active runs could not be read");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	if (!isnull)
		result = Max(DatumGetTimestampTz(value), now);
	dbx_session_commit();
	MemoryContextSwitchTo(before);
	return result;
}
