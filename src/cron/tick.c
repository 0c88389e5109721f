/*
 * tick.c
 *	  What happens when a schedule ticks, is fired, or is filled up afterwards.
 *
 * Everything is in the caller's transaction and behind the lock on the
 * schedule's row: of two calls for the same tick the second one finds it dealt
 * with.  The caller is the role that the schedule belongs to, so its SQL runs
 * with its own rights: pg_cron connects as it.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "cron/cron.h"
#include "cron/pgcron.h"
#include "cron/schedule.h"
#include "worker/migrate.h"
#include "worker/outbox.h"
#include "worker/pause.h"
#include "worker/session.h"

/*
 * pg_cron calls a moment after the tick, later when it is busy.  What is later
 * than this was missed, for schedules whose missed ticks are not wanted.
 */
#define LATE_USECS (10 * SECS_PER_MINUTE * USECS_PER_SEC)

/* The newest ones of what was missed are made up for. */
#define MOST_MISSED	  1000
#define MOST_BACKFILL 10000

/* A tick that pg_cron is about to call for is not overdue. */
#define OVERDUE_USECS (2 * SECS_PER_MINUTE * USECS_PER_SEC)

/* A row of the settings, and what came of looking at it. */
typedef struct SettingsRow
{
	HeapTuple  tuple;
	TupleDesc  desc;
	DbxOverdue overdue;
} SettingsRow;

static void		  look_at_row(void *arg);
static bool		  workspace_paused(const char *workspace);
static int64	 *due_ticks(const DbxSchedule *schedule, const DbxCron *cron,
							const pg_tz *zone, TimestampTz latest, int *count,
							int64 *missed);
static char		 *request_key(int64 id, TimestampTz tick);
static ArrayType *active_requests(const DbxSchedule *schedule);
static int64	  start(const DbxSchedule *schedule, TimestampTz tick,
						const char *key, ArrayType *after);
static void		  note_skipped(int64 request_id);
static ArrayType *make_room(const DbxSchedule *schedule, bool *skip);
static int requests_of_tick(const DbxSchedule *schedule, TimestampTz tick,
							const char *states);
static ArrayType *one_id(int64 id);
static void read_as_owner(const char *sql, int nargs, Oid *types, Datum *values,
						  DbxDataRole *role);

int64
dbx_schedule_tick(int64 id, TimestampTz at)
{
	DbxSchedule *schedule = dbx_schedule_lock_id(id);
	DbxCron		*cron = dbx_cron_parse(schedule->cron);
	const pg_tz *zone = dbx_cron_zone(schedule->timezone);
	TimestampTz	 latest;
	ArrayType	*after = NULL;
	int64		*ticks;
	int64		 missed;
	int64		 request_id = 0;
	int			 count;
	bool		 skip = false;
	char		*entry;

	if (schedule->paused || workspace_paused(schedule->workspace) ||
		!dbx_cron_previous(cron, zone, at, &latest) ||
		latest <= schedule->done_to)
		return 0;

	ticks = due_ticks(schedule, cron, zone, latest, &count, &missed);
	if (strcmp(schedule->misfire, "skip") == 0 && at - latest > LATE_USECS)
	{
		count = 0;
		missed++;
	}
	if (count > 0)
		after = make_room(schedule, &skip);
	for (int i = 0; i < count; i++)
	{
		int64 started;

		CHECK_FOR_INTERRUPTS();
		if (requests_of_tick(schedule, ticks[i], NULL) > 0)
			continue;
		started = start(schedule, ticks[i], request_key(schedule->id, ticks[i]),
						after);
		if (skip)
			note_skipped(started);
		else if (strcmp(schedule->overlap, "allow") != 0)
			after = one_id(started);
		request_id = started;
	}

	/* Rules of zones change: pg_cron must call at the ticks of today's. */
	entry = dbx_pgcron_expression(cron, zone);
	if (strcmp(entry, schedule->cron_entry) != 0 && dbx_pgcron_usable())
		dbx_pgcron_set(schedule->id, entry);
	else
		entry = schedule->cron_entry;
	dbx_schedule_done(schedule, latest, missed, entry);
	return request_id;
}

/*
 * The ticks in (done_to, latest] for which runs are wanted, oldest first, and
 * how many are left out.
 */
static int64 *
due_ticks(const DbxSchedule *schedule, const DbxCron *cron, const pg_tz *zone,
		  TimestampTz latest, int *count, int64 *missed)
{
	bool		all = strcmp(schedule->misfire, "all") == 0;
	int			most = all ? MOST_MISSED : 1;
	int64	   *newest = palloc(sizeof(int64) * most);
	int64	   *result;
	int64		seen = 0;
	TimestampTz tick = schedule->done_to;

	while (dbx_cron_next(cron, zone, tick, &tick) && tick <= latest)
	{
		CHECK_FOR_INTERRUPTS();
		newest[seen++ % most] = tick;
	}
	*count = (int) Min(seen, most);
	*missed = seen - *count;
	if (all && *missed > 0)
		ereport(WARNING,
				(errmsg("schedule \"%s\" missed more than %d ticks, the oldest " INT64_FORMAT
						" are left out",
						schedule->name, MOST_MISSED, *missed),
				 errhint("databricks.backfill_schedule() makes up for them.")));

	result = palloc(sizeof(int64) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		result[i] = newest[(seen - *count + i) % most];
	return result;
}

int64
dbx_schedule_fire(const char *name)
{
	DbxSchedule *schedule = dbx_schedule_lock(name);
	bool		 skip = false;
	ArrayType	*after = make_room(schedule, &skip);
	int64		 request_id;

	request_id = start(schedule, GetCurrentTimestamp(), NULL, after);
	if (skip)
	{
		note_skipped(request_id);
		ereport(
			NOTICE,
			(errmsg("request " INT64_FORMAT
					" is skipped, since an earlier run of schedule \"%s\" has not ended",
					request_id, schedule->name)));
	}
	return request_id;
}

/*
 * What the schedule's runs that have not ended mean for the next one: it waits
 * for those that are returned, or is to be skipped.
 */
static ArrayType *
make_room(const DbxSchedule *schedule, bool *skip)
{
	ArrayType *active;

	*skip = false;
	if (strcmp(schedule->overlap, "allow") == 0)
		return NULL;
	active = active_requests(schedule);
	if (active == NULL)
		return NULL;
	if (strcmp(schedule->overlap, "skip") == 0)
	{
		*skip = true;
		return NULL;
	}
	if (strcmp(schedule->overlap, "cancel_previous") == 0)
	{
		Datum *ids;
		Datum *left;
		int	   count;
		int	   remaining = 0;

		deconstruct_array(active, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &ids, NULL, &count);
		left = palloc(sizeof(Datum) * count);
		for (int i = 0; i < count; i++)
		{
			const char *state = dbx_outbox_cancel(DatumGetInt64(ids[i]));

			if (strcmp(state, "sending") == 0 || strcmp(state, "running") == 0)
				left[remaining++] = ids[i];
		}
		if (remaining == 0)
			return NULL;
		active = construct_array(left, remaining, INT8OID, sizeof(int64),
								 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	}
	return active;
}

/* Request a run for a tick. */
static int64
start(const DbxSchedule *schedule, TimestampTz tick, const char *key,
	  ArrayType *after)
{
	DbxEnqueue request = {0};

	request.kind = DBX_REQUEST_RUN_NOW;
	request.workspace = schedule->workspace;
	request.requester = GetUserId();
	request.job_id = schedule->job_id;
	request.job_name = schedule->job_name;
	request.job_parameters = dbx_schedule_parameters(schedule, tick);
	request.options = schedule->options;
	request.request_key = key;
	request.max_attempts = schedule->max_attempts;
	request.retry_delay = schedule->retry_delay;
	request.after = after;
	request.schedule_name = schedule->name;
	request.tick = tick;
	if (schedule->expires_after != NULL)
		request.expires_at = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval,
								TimestampTzGetDatum(tick),
								IntervalPGetDatum(schedule->expires_after)));
	return dbx_outbox_enqueue(&request);
}

/*
 * The row is this transaction's own, so nobody has seen it yet and nobody sends
 * it.
 */
static void
note_skipped(int64 request_id)
{
	Oid			 types[] = {INT8OID};
	Datum		 values[1];
	DbxExtension extension;
	DbxDataRole	 role;

	values[0] = Int64GetDatum(request_id);
	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, &role);
	SPI_connect();
	if (SPI_execute_with_args(
			"UPDATE databricks.run_requests AS r SET state = 'skipped',"
			"  finished_at = clock_timestamp(), next_attempt_at = NULL,"
			"  announce = true,"
			"  last_error = 'an earlier run of the schedule had not ended'"
			" WHERE r.request_id = $1 AND r.state = 'queued'",
			1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "a request could not be skipped");
	SPI_finish();
	dbx_data_leave(&role);
}

int
dbx_schedule_backfill(const char *name, TimestampTz from, TimestampTz to,
					  DbxRerun rerun, int max_parallel, int64 **ids)
{
	DbxSchedule *schedule = dbx_schedule_lock(name);
	DbxCron		*cron = dbx_cron_parse(schedule->cron);
	const pg_tz *zone = dbx_cron_zone(schedule->timezone);
	TimestampTz	 end = Min(to, GetCurrentTimestamp() + 1);
	TimestampTz	 tick = from - 1;
	int			 count = 0;
	int64		*result = palloc(sizeof(int64) * MOST_BACKFILL);

	for (int ticks = 0; dbx_cron_next(cron, zone, tick, &tick) && tick < end;)
	{
		if (ticks++ == MOST_BACKFILL)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("schedule \"%s\" has more than %d ticks in that time",
							schedule->name, MOST_BACKFILL),
					 errhint("Take a shorter one.")));
	}
	tick = from - 1;
	while (dbx_cron_next(cron, zone, tick, &tick) && tick < end)
	{
		static const char
			*const sent = "{queued,sending,running,succeeded,failed,canceled}";
		static const char *const good = "{queued,sending,running,succeeded}";

		CHECK_FOR_INTERRUPTS();
		if (rerun != DBX_RERUN_ALL &&
			requests_of_tick(schedule, tick,
							 rerun == DBX_RERUN_MISSING ? sent : good) > 0)
			continue;
		/* the key is that of the tick's first request */
		result[count] = start(schedule, tick,
							  requests_of_tick(schedule, tick, NULL) == 0
								  ? request_key(schedule->id, tick)
								  : NULL,
							  count >= max_parallel
								  ? one_id(result[count - max_parallel])
								  : NULL);
		count++;
	}
	*ids = result;
	return count;
}

List *
dbx_schedules_overdue(void)
{
	MemoryContext  caller = CurrentMemoryContext;
	List		  *result = NIL;
	DbxExtension   extension;
	DbxDataRole	   role;
	SPITupleTable *rows;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		return NIL;

	read_as_owner("SELECT s.schedule_id, s.owner, s.cron, s.timezone, s.done_to,"
				  "  s.workspace"
				  " FROM databricks.schedule_settings AS s"
				  " WHERE s.paused_at IS NULL ORDER BY 1",
				  0, NULL, NULL, &role);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		SettingsRow	  row = {rows->vals[i], rows->tupdesc, {0}};
		MemoryContext before;
		DbxOverdue	 *overdue;

		/* A zone that went with new zone data must not stop the others. */
		if (dbx_session_apart(look_at_row, &row) != NULL ||
			!OidIsValid(row.overdue.owner))
			continue;
		before = MemoryContextSwitchTo(caller);
		overdue = palloc(sizeof(DbxOverdue));
		*overdue = row.overdue;
		result = lappend(result, overdue);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	dbx_data_leave(&role);
	return result;
}

/* Leaves the owner invalid if the schedule is not overdue. */
static void
look_at_row(void *arg)
{
	SettingsRow *row = arg;
	DbxCron		*cron = dbx_cron_parse(SPI_getvalue(row->tuple, row->desc, 3));
	const pg_tz *zone = dbx_cron_zone(SPI_getvalue(row->tuple, row->desc, 4));
	bool		 isnull;
	TimestampTz	 done_to = DatumGetTimestampTz(
		 SPI_getbinval(row->tuple, row->desc, 5, &isnull));
	TimestampTz tick;

	if (!dbx_cron_next(cron, zone, done_to, &tick) ||
		tick > GetCurrentTimestamp() - OVERDUE_USECS ||
		workspace_paused(SPI_getvalue(row->tuple, row->desc, 6)))
		return;
	row->overdue.id = DatumGetInt64(
		SPI_getbinval(row->tuple, row->desc, 1, &isnull));
	row->overdue.owner = get_role_oid(SPI_getvalue(row->tuple, row->desc, 2),
									  true);
}

/*
 * Are workers told to send nothing there?  Ticks then wait: they are misfires
 * when it goes on.
 */
static bool
workspace_paused(const char *workspace)
{
	MemoryContext before = CurrentMemoryContext;
	DbxExtension  extension;
	DbxDataRole	  role;
	bool		  result;

	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, &role);
	SPI_connect();
	result = dbx_pause_reason(workspace, NULL) != NULL;
	SPI_finish();
	dbx_data_leave(&role);
	MemoryContextSwitchTo(before);
	return result;
}

/* Ids of the schedule's requests that have not ended; NULL: none. */
static ArrayType *
active_requests(const DbxSchedule *schedule)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  types[] = {TEXTOID, TEXTOID};
	Datum		  values[2];
	DbxDataRole	  role;
	ArrayType	 *result = NULL;
	Datum		  ids;
	bool		  isnull;

	values[0] = CStringGetTextDatum(schedule->owner);
	values[1] = CStringGetTextDatum(schedule->name);
	read_as_owner("SELECT array_agg(r.request_id ORDER BY r.request_id)"
				  " FROM databricks.run_requests AS r"
				  " WHERE r.requested_by = $1 AND r.schedule_name = $2"
				  "  AND r.state IN ('queued', 'sending', 'running')",
				  2, types, values, &role);
	ids = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						&isnull);
	if (!isnull)
	{
		MemoryContext before = MemoryContextSwitchTo(caller);

		result = DatumGetArrayTypePCopy(ids);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	dbx_data_leave(&role);
	return result;
}

/*
 * How many requests there are for a tick, of all states or of some (an array as
 * text).
 */
static int
requests_of_tick(const DbxSchedule *schedule, TimestampTz tick,
				 const char *states)
{
	Oid			types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[4];
	DbxDataRole role;
	bool		isnull;
	int			result;

	values[0] = CStringGetTextDatum(schedule->owner);
	values[1] = CStringGetTextDatum(schedule->name);
	values[2] = TimestampTzGetDatum(tick);
	values[3] = CStringGetTextDatum(states ? states : "{}");
	read_as_owner("SELECT count(*)::int4 FROM databricks.run_requests AS r"
				  " WHERE r.requested_by = $1 AND r.schedule_name = $2"
				  "  AND r.tick = $3"
				  "  AND ($4 = '{}' OR r.state = ANY ($4::text[]))",
				  4, types, values, &role);
	result = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	dbx_data_leave(&role);
	return result;
}

static char *
request_key(int64 id, TimestampTz tick)
{
	pg_time_t time = timestamptz_to_time_t(tick);
	char	  text[64];

	pg_strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&time));
	return psprintf("schedule:" INT64_FORMAT ":%s", id, text);
}

static ArrayType *
one_id(int64 id)
{
	Datum value = Int64GetDatum(id);

	return construct_array(&value, 1, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

/*
 * Read the data tables as the owner of the extension; the caller ends SPI and
 * the role.
 */
static void
read_as_owner(const char *sql, int nargs, Oid *types, Datum *values,
			  DbxDataRole *role)
{
	DbxExtension extension;

	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, role);
	SPI_connect();
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "schedules could not be read");
}
