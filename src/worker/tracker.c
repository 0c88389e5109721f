/*
 * tracker.c
 *	  Which workspaces are tracked, when what is due, what went wrong.
 *
 * Each workspace has its sweep and some activities beside it, and each is a
 * state that is moved on whenever calls have come back.  So the workspaces and
 * activities share one connection pool and one loop, and one that waits out
 * the trouble of its service never holds up another.
 *
 * What is kept here is only a cache of tracking_settings and what is needed
 * between two sweeps; a new process begins from the tables.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "http/http.h"
#include "worker/pause.h"
#include "worker/record.h"
#include "worker/session.h"
#include "worker/tracked.h"
#include "worker/tracker.h"

#define BACKOFF_FIRST_USECS USECS_PER_SEC
#define BACKOFF_LAST_USECS	(60 * USECS_PER_SEC)

/* Runs put aside: asked for again after a while, and then less and less. */
#define ASIDE_LAST_USECS (60 * USECS_PER_SEC)
#define BAD_FIRST_USECS	 (60 * USECS_PER_SEC)
#define BAD_LAST_USECS	 (60 * 60 * USECS_PER_SEC)

/* Milliseconds between the epochs of Unix and of PostgreSQL. */
#define EPOCH_DISTANCE_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000)

typedef struct WriteJob
{
	DbxTracked	   *tracked;
	DbxHistoryBatch batch;
	const char	   *also;
	TimestampTz		time;
	bool			only_if_changed;
	bool			lost; /* result: extension or tables are gone */
} WriteJob;

typedef struct ActivityMethods
{
	const char *name; /* for the log */
	const char *phase;
	void (*begin)(DbxTracked *tracked);
	bool (*advance)(DbxTracked *tracked);
	void (*end)(DbxTracked *tracked);
} ActivityMethods;

typedef struct ActivityStep
{
	DbxTracked *tracked;
	int			kind;
} ActivityStep;

static const ActivityMethods activity_methods[DBX_ACTIVITIES] = {
	{"backfill", "backfilling", dbx_backfill_begin, dbx_backfill_advance,
	 dbx_backfill_end},
	{"reading of single runs", "completing", dbx_outputs_begin,
	 dbx_outputs_advance, dbx_outputs_end},
	{"retention", "removing old runs of", dbx_expiry_begin, dbx_expiry_advance,
	 dbx_expiry_end},
	{"reconciliation", "reconciling", dbx_reconcile_begin,
	 dbx_reconcile_advance, dbx_reconcile_end}};

static List *workspaces = NIL; /* of DbxTracked *, in TopMemoryContext */

static DbxTracked *find_or_add(const char *name);
static void		   load_row(HeapTuple tuple, TupleDesc tupdesc);
static void		   forget(DbxTracked *tracked);
static void		   step_sweep(void *arg);
static void		   step_activity(void *arg);
static void		   sweep_failed(DbxTracked *tracked, ErrorData *error);
static void	 activity_failed(DbxTracked *tracked, int kind, ErrorData *error);
static int64 back_off(int failures, int64 first);
static void	 write_in_transaction(void *arg);
static void	 settle_batch(DbxTracked *tracked, const DbxHistoryBatch *batch);
static void	 log_change(DbxTracked *tracked, const char *what, char **logged,
						const char *text);
static bool	 is_bad(const DbxHistoryBatch *batch, int64 run_id);
static bool	 is_told(const DbxTracked *tracked, const char *text);
static void	 retry_bad(DbxTracked *tracked);
static void	 show_trouble(DbxTracked *tracked, const char *text);
static const char *aside_trouble(const DbxTracked *tracked,
								 DbxAsideReason	   reason);
static const char *activity_trouble(const DbxTracked *tracked);
static void		   show_phase(void);

/* A copy of another database leaves its workspaces alone until it is told to. */
int
dbx_tracker_load(void)
{
	SPITupleTable *rows;
	ListCell	  *cell;

	foreach(cell, workspaces)
		((DbxTracked *) lfirst(cell))->listed = false;

	if (dbx_session_begin())
	{
		if (SPI_execute(
				"SELECT t.workspace,"
				" (extract(epoch FROM t.poll_interval) * 1000000)::int8,"
				" t.caught_up_at, t.backfill_finished_at IS NOT NULL,"
				" t.outputs,"
				" coalesce((extract(epoch FROM t.retention) * 1000000)::int8, 0)"
				" FROM databricks.tracking_settings AS t"
				" ORDER BY t.workspace",
				true, 0) != SPI_OK_SELECT)
			elog(ERROR, "tracking settings could not be read");
		rows = SPI_tuptable;
		for (uint64 i = 0; i < rows->numvals; i++)
		{
			bool copied;

			(void) dbx_pause_reason(SPI_getvalue(rows->vals[i], rows->tupdesc, 1),
									&copied);
			if (!copied)
				load_row(rows->vals[i], rows->tupdesc);
		}
		dbx_session_commit();
	}

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		if (!tracked->listed)
		{
			workspaces = foreach_delete_current(workspaces, cell);
			forget(tracked);
		}
	}
	return list_length(workspaces);
}

static void
load_row(HeapTuple tuple, TupleDesc tupdesc)
{
	bool		isnull;
	DbxTracked *tracked = find_or_add(SPI_getvalue(tuple, tupdesc, 1));
	int64		poll = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 2, &isnull));
	TimestampTz seen_to = DatumGetTimestampTz(
		SPI_getbinval(tuple, tupdesc, 3, &isnull));
	int64 retention = DatumGetInt64(SPI_getbinval(tuple, tupdesc, 6, &isnull));
	bool  filled = DatumGetBool(SPI_getbinval(tuple, tupdesc, 4, &isnull));

	tracked->listed = true;
	if (tracked->poll != poll)
		tracked->sweep_due = GetCurrentTimestamp();
	tracked->poll = poll;
	if (tracked->all_seen_to == 0)
		tracked->all_seen_to = tracked->ended_seen_to = seen_to;
	strlcpy(tracked->outputs, SPI_getvalue(tuple, tupdesc, 5),
			sizeof(tracked->outputs));
	if (tracked->retention != retention)
		tracked->activities[DBX_EXPIRY].due = retention > 0
			? GetCurrentTimestamp()
			: 0;
	tracked->retention = retention;
	if (tracked->activities[DBX_RECONCILE].due == 0)
		tracked->activities[DBX_RECONCILE].due = dbx_reconcile_next();
	if (filled)
		tracked->activities[DBX_BACKFILL].due = 0;
	else if (tracked->activities[DBX_BACKFILL].due == 0)
		tracked->activities[DBX_BACKFILL].due = GetCurrentTimestamp();
}

static DbxTracked *
find_or_add(const char *name)
{
	MemoryContext context;
	MemoryContext before;
	DbxTracked	 *tracked;
	HASHCTL		  control = {0};
	ListCell	 *cell;

	foreach(cell, workspaces)
	{
		tracked = lfirst(cell);
		if (strcmp(tracked->name, name) == 0)
			return tracked;
	}

	context = AllocSetContextCreate(TopMemoryContext,
									"databricks tracked workspace",
									ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	tracked = palloc0(sizeof(DbxTracked));
	tracked->context = context;
	strlcpy(tracked->name, name, NAMEDATALEN);
	tracked->sweep_due = GetCurrentTimestamp();
	tracked->activities[DBX_FETCH].due = tracked->sweep_due;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(DbxAside);
	control.hcxt = context;
	tracked->aside = hash_create("databricks runs put aside", 16, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	strlcpy(tracked->status.name, name, NAMEDATALEN);
	tracked->status.due_at = tracked->status.next_at = tracked->sweep_due;
	MemoryContextSwitchTo(TopMemoryContext);
	workspaces = lappend(workspaces, tracked);
	MemoryContextSwitchTo(before);
	dbx_shared_workspace(&tracked->status);
	return tracked;
}

static void
forget(DbxTracked *tracked)
{
	dbx_shared_forget_workspace(tracked->name);
	MemoryContextDelete(tracked->context);
}

void
dbx_tracker_run(void)
{
	ListCell *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);
		ErrorData  *error;

		error = dbx_session_try(step_sweep, tracked);
		if (error != NULL)
			sweep_failed(tracked, error);
		for (int kind = 0; kind < DBX_ACTIVITIES; kind++)
		{
			ActivityStep step = {tracked, kind};

			error = dbx_session_try(step_activity, &step);
			if (error != NULL)
				activity_failed(tracked, kind, error);
		}
	}

	show_phase();
}

/* One may have made another due, as may those who send and follow requests. */
TimestampTz
dbx_tracker_next(void)
{
	TimestampTz next = 0;
	bool		noted = dbx_history_take_noted();
	ListCell   *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		if (tracked->sweep == NULL && (next == 0 || tracked->sweep_due < next))
			next = tracked->sweep_due;
		for (int kind = 0; kind < DBX_ACTIVITIES; kind++)
		{
			DbxActivity *activity = &tracked->activities[kind];

			if (kind == DBX_FETCH && noted)
				activity->due = GetCurrentTimestamp();
			if (activity->portion == NULL && activity->due != 0 &&
				tracked->status.sweeps > 0 &&
				(next == 0 || activity->due < next))
				next = activity->due;
		}
	}
	return next;
}

void
dbx_tracker_hurry(const char *workspace)
{
	ListCell *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		if (strcmp(tracked->name, workspace) == 0)
			dbx_pace_hurry(tracked);
	}
}

void
dbx_tracker_abandon(void)
{
	ListCell *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		dbx_sweep_end(tracked);
		for (int kind = 0; kind < DBX_ACTIVITIES; kind++)
			activity_methods[kind].end(tracked);
	}
}

bool
dbx_tracker_follows(const char *workspace, int64 run_id, bool known,
					TimestampTz started_at)
{
	ListCell *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);
		DbxAside   *aside;

		if (strcmp(tracked->name, workspace) != 0)
			continue;
		aside = hash_search(tracked->aside, &run_id, HASH_FIND, NULL);
		if (tracked->sweep_failures > 0 ||
			(aside != NULL && aside->reason != DBX_ASIDE_WAITING))
			return false;
		/* What was not seen a while after its start is hidden from the owner. */
		return known ||
			tracked->status.last_sweep_at <
			started_at + 2 * (TimestampTz) dbx_guc_follow_interval * 1000;
	}
	return false;
}

bool
dbx_tracker_round_done(void)
{
	ListCell *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		if (tracked->sweep != NULL ||
			(tracked->status.sweeps == 0 && tracked->sweep_failures == 0))
			return false;
	}
	return true;
}

static void
step_sweep(void *arg)
{
	DbxTracked *tracked = arg;

	if (tracked->sweep == NULL)
	{
		if (GetCurrentTimestamp() < tracked->sweep_due)
			return;
		dbx_sweep_begin(tracked);
		show_phase();
	}
	if (dbx_sweep_advance(tracked))
		dbx_sweep_end(tracked);
}

/* Not before the first sweep: what is active comes first. */
static void
step_activity(void *arg)
{
	ActivityStep		  *step = arg;
	DbxTracked			  *tracked = step->tracked;
	DbxActivity			  *activity = &tracked->activities[step->kind];
	const ActivityMethods *methods = &activity_methods[step->kind];

	if (activity->portion == NULL)
	{
		if (activity->due == 0 || tracked->status.sweeps == 0 ||
			GetCurrentTimestamp() < activity->due)
			return;
		methods->begin(tracked);
		show_phase();
	}
	if (methods->advance(tracked))
	{
		methods->end(tracked);
		activity->failures = 0;
		log_change(tracked, methods->name, &activity->error, NULL);
	}
}

/* ---- errors ---- */

static void
sweep_failed(DbxTracked *tracked, ErrorData *error)
{
	char *text = dbx_session_error_text(error);

	dbx_sweep_end(tracked);
	tracked->sweep_due = GetCurrentTimestamp() +
		back_off(tracked->sweep_failures++,
				 Max(tracked->poll, BACKOFF_FIRST_USECS));
	tracked->status.next_at = tracked->sweep_due;
	tracked->status.complete = false;
	show_trouble(tracked, text);
	log_change(tracked, "tracking", &tracked->logged_error, error->message);
}

static void
activity_failed(DbxTracked *tracked, int kind, ErrorData *error)
{
	DbxActivity *activity = &tracked->activities[kind];

	activity_methods[kind].end(tracked);
	activity->due = GetCurrentTimestamp() +
		back_off(activity->failures++, BACKOFF_FIRST_USECS);
	log_change(tracked, activity_methods[kind].name, &activity->error,
			   error->message);
}

/* "first", doubled with each failure, but no more than the longest if that is more. */
static int64
back_off(int failures, int64 first)
{
	int64 delay = first;

	while (failures-- > 0 && delay < BACKOFF_LAST_USECS)
		delay *= 2;
	return Max(first, Min(delay, BACKOFF_LAST_USECS));
}

/*
 * The log is told of runs that could not be written when that happens, and of
 * activities when they fail: here they are only shown.
 */
void
dbx_tracked_report(DbxTracked *tracked, const char *error)
{
	const char *bad = aside_trouble(tracked, DBX_ASIDE_BAD);

	if (error == NULL)
		error = aside_trouble(tracked, DBX_ASIDE_REFUSED);
	tracked->sweep_failures = 0;
	tracked->status.complete = error == NULL && bad == NULL;
	show_trouble(tracked,
				 error != NULL	   ? error
					 : bad != NULL ? bad
								   : activity_trouble(tracked));
	log_change(tracked, "tracking", &tracked->logged_error, error);
}

static void
show_trouble(DbxTracked *tracked, const char *text)
{
	dbx_shared_copy_text(tracked->status.last_error,
						 text != NULL ? dbx_redact(text) : "", DBX_SHARED_TEXT);
	tracked->status.last_error_at = text != NULL ? GetCurrentTimestamp() : 0;
	dbx_shared_workspace(&tracked->status);
}

/* What is wrong with runs that were put aside for this reason; NULL: nothing. */
static const char *
aside_trouble(const DbxTracked *tracked, DbxAsideReason reason)
{
	const DbxAside *first = NULL;
	const DbxAside *aside;
	const char	   *text;
	HASH_SEQ_STATUS status;
	int				count = 0;

	hash_seq_init(&status, tracked->aside);
	while ((aside = hash_seq_search(&status)) != NULL)
	{
		if (aside->reason != reason)
			continue;
		count++;
		if (first == NULL || aside->run_id < first->run_id)
			first = aside;
	}
	if (first == NULL)
		return NULL;
	text = psprintf("run " INT64_FORMAT " could not be %s: %s", first->run_id,
					reason == DBX_ASIDE_BAD ? "written" : "read",
					first->error != NULL ? first->error : "refused");
	return count > 1 ? psprintf("%s (and %d more)", text, count - 1) : text;
}

/* Of an activity that is to be tried again: it may not be wanted any more. */
static const char *
activity_trouble(const DbxTracked *tracked)
{
	for (int kind = 0; kind < DBX_ACTIVITIES; kind++)
	{
		const DbxActivity *activity = &tracked->activities[kind];

		if (activity->error != NULL && activity->due != 0)
			return psprintf("%s: %s", activity_methods[kind].name,
							activity->error);
	}
	return NULL;
}

/*
 * Log trouble when it begins or changes, and its end; not each time it is met.
 */
static void
log_change(DbxTracked *tracked, const char *what, char **logged,
		   const char *text)
{
	if (text == NULL)
	{
		if (*logged == NULL)
			return;
		pfree(*logged);
		*logged = NULL;
		ereport(LOG,
				(errmsg("databricks worker: %s of workspace \"%s\" works again",
						what, tracked->name)));
		return;
	}
	text = dbx_redact(text);
	if (dbx_session_same_trouble(text, *logged))
		return;
	if (*logged != NULL)
		pfree(*logged);
	*logged = MemoryContextStrdup(tracked->context, text);
	ereport(WARNING,
			(errmsg("databricks worker: %s of workspace \"%s\" is in trouble: %s",
					what, tracked->name, text),
			 errdetail(
				 "It goes on by itself; the same trouble is not logged again.")));
}

/* ---- writing ---- */

/*
 * Without the runs that are older than what is kept: a window that was asked for
 * before the retention was set, or long ago, must not bring back what has been
 * removed since.
 */
static List *
without_expired(const DbxTracked *tracked, List *runs)
{
	int64 oldest = (GetCurrentTimestamp() - tracked->retention) / 1000 +
		EPOCH_DISTANCE_MS;
	List	 *kept = NIL;
	ListCell *cell;

	foreach(cell, runs)
	{
		const DbxSeenRun *run = lfirst(cell);
		int64			  start;

		if (run->element == NULL ||
			!dbx_json_int64(dbx_json_get(run->element, "start_time"), &start) ||
			start <= 0 || start >= oldest)
			kept = lappend(kept, lfirst(cell));
	}
	return kept;
}

bool
dbx_tracked_write(DbxTracked *tracked, List *runs, DbxWriteMode mode,
				  const char *also, TimestampTz time, bool only_if_changed)
{
	WriteJob   job = {0};
	ErrorData *error;

	if (tracked->retention > 0 && mode != DBX_WRITE_SWEEP)
		runs = without_expired(tracked, runs);
	job.tracked = tracked;
	job.batch.workspace = tracked->name;
	job.batch.runs = runs;
	job.batch.mode = mode;
	job.batch.begun = mode == DBX_WRITE_SWEEP ? time : 0;
	job.batch.outputs = tracked->outputs;
	job.batch.context = CurrentMemoryContext;
	job.also = also;
	job.time = time;
	job.only_if_changed = only_if_changed;

	error = dbx_session_try(write_in_transaction, &job);
	if (error != NULL && runs != NIL &&
		!dbx_session_concerns_all(error->sqlerrcode))
	{
		/* One of them is bad, perhaps: find it, the others shall not suffer. */
		job.batch.alone = true;
		error = dbx_session_try(write_in_transaction, &job);
	}
	if (error != NULL)
		ReThrowError(error);
	if (!job.lost)
		settle_batch(tracked, &job.batch);
	return !job.lost;
}

static void
write_in_transaction(void *arg)
{
	WriteJob *job = arg;
	Oid		  types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum	  values[2];

	job->lost = !dbx_session_begin_history();
	if (job->lost)
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	/* What a crash takes is read again: "backfilled_to" is lost with it. */
	if (job->batch.mode == DBX_WRITE_BACKFILL)
		dbx_record_hasty();
	dbx_history_write(&job->batch);
	if (job->also != NULL && (job->batch.changed > 0 || !job->only_if_changed))
	{
		values[0] = CStringGetTextDatum(job->tracked->name);
		values[1] = TimestampTzGetDatum(job->time);
		if (SPI_execute_with_args(job->also, 2, types, values, NULL, false,
								  0) != SPI_OK_UPDATE)
			elog(ERROR, "tracking settings could not be written");
	}
	dbx_session_commit();
}

/*
 * Bad runs are put aside, those written at last no longer are: then the cause may
 * be gone, and the others are tried again, too.
 */
static void
settle_batch(DbxTracked *tracked, const DbxHistoryBatch *batch)
{
	ListCell *cell;
	bool	  mended = false;

	foreach(cell, batch->bad)
	{
		DbxBadRun  *bad = lfirst(cell);
		const char *text = dbx_redact(bad->message);

		if (!is_told(tracked, text))
			ereport(
				WARNING,
				(errmsg("databricks worker: run " INT64_FORMAT
						" of workspace \"%s\" could not be written: %s",
						bad->run_id, tracked->name, text),
				 errdetail(
					 "It was set aside and will be tried again; the same trouble with other runs is not logged.")));
		dbx_tracked_put_aside(tracked, bad->run_id, DBX_ASIDE_BAD, text);
	}
	if (hash_get_num_entries(tracked->aside) == list_length(batch->bad))
		return;
	foreach(cell, batch->runs)
	{
		DbxSeenRun *run = lfirst(cell);
		DbxAside   *aside = hash_search(tracked->aside, &run->run_id, HASH_FIND,
										NULL);

		if (aside == NULL || aside->reason != DBX_ASIDE_BAD ||
			is_bad(batch, run->run_id))
			continue;
		dbx_tracked_take_back(tracked, run->run_id);
		mended = true;
	}
	if (mended)
		retry_bad(tracked);
}

static bool
is_bad(const DbxHistoryBatch *batch, int64 run_id)
{
	ListCell *cell;

	foreach(cell, batch->bad)
	{
		if (((DbxBadRun *) lfirst(cell))->run_id == run_id)
			return true;
	}
	return false;
}

/* Was this said of another run that is still bad? */
static bool
is_told(const DbxTracked *tracked, const char *text)
{
	HASH_SEQ_STATUS status;
	DbxAside	   *aside;

	hash_seq_init(&status, tracked->aside);
	while ((aside = hash_seq_search(&status)) != NULL)
	{
		if (aside->reason == DBX_ASIDE_BAD &&
			dbx_session_same_trouble(text, aside->error))
		{
			hash_seq_term(&status);
			return true;
		}
	}
	return false;
}

static void
retry_bad(DbxTracked *tracked)
{
	HASH_SEQ_STATUS status;
	DbxAside	   *aside;

	hash_seq_init(&status, tracked->aside);
	while ((aside = hash_seq_search(&status)) != NULL)
	{
		if (aside->reason == DBX_ASIDE_BAD)
			aside->retry_at = 0;
	}
}

void
dbx_tracked_put_aside(DbxTracked *tracked, int64 run_id, DbxAsideReason reason,
					  const char *error)
{
	bool	  found;
	DbxAside *aside = hash_search(tracked->aside, &run_id, HASH_ENTER, &found);
	bool	  bad = reason == DBX_ASIDE_BAD;
	int64	  first = bad ? BAD_FIRST_USECS : tracked->poll;
	int64	  last = bad ? BAD_LAST_USECS : ASIDE_LAST_USECS;

	if (found && aside->error != NULL)
		pfree(aside->error);
	if (found && aside->reason == reason)
		aside->delay = Max(first, Min(aside->delay * 2, last));
	else
		aside->delay = first;
	aside->reason = reason;
	aside->error = error == NULL ? NULL
								 : MemoryContextStrdup(tracked->context, error);
	aside->retry_at = GetCurrentTimestamp() + aside->delay;
}

void
dbx_tracked_take_back(DbxTracked *tracked, int64 run_id)
{
	DbxAside *aside = hash_search(tracked->aside, &run_id, HASH_FIND, NULL);

	if (aside == NULL)
		return;
	if (aside->error != NULL)
		pfree(aside->error);
	(void) hash_search(tracked->aside, &run_id, HASH_REMOVE, NULL);
}

/* ---- small things ---- */

DbxWorkspace *
dbx_tracked_resolve(DbxTracked *tracked)
{
	ForeignServer *server = GetForeignServerByName(tracked->name, false);

	return dbx_workspace_by_server(server->serverid, server->owner);
}

void
dbx_tracked_add_time(StringInfo query, const char *name, TimestampTz time)
{
	int64 ms = time / 1000 + EPOCH_DISTANCE_MS;

	dbx_query_add_int64(query, name, Max(ms, 0));
}

static void
show_phase(void)
{
	static char shown[2 * NAMEDATALEN];
	char		phase[2 * NAMEDATALEN] = "idle";
	ListCell   *cell;

	foreach(cell, workspaces)
	{
		DbxTracked *tracked = lfirst(cell);

		if (tracked->sweep != NULL)
		{
			snprintf(phase, sizeof(phase), "sweeping %s", tracked->name);
			break;
		}
		for (int kind = 0; kind < DBX_ACTIVITIES; kind++)
		{
			if (tracked->activities[kind].portion != NULL)
				snprintf(phase, sizeof(phase), "%s %s",
						 activity_methods[kind].phase, tracked->name);
			if (tracked->activities[kind].portion != NULL && kind == DBX_BACKFILL)
				snprintf(phase + strlen(phase), sizeof(phase) - strlen(phase),
						 ", back to %s",
						 timestamptz_to_str(tracked->backfilled_to));
		}
	}
	if (strcmp(phase, shown) == 0)
		return;
	strlcpy(shown, phase, sizeof(shown));
	dbx_shared_phase(phase);
	if (strcmp(phase, "idle") == 0)
		pgstat_report_activity(STATE_IDLE, NULL);
	else
		pgstat_report_activity(STATE_RUNNING, phase);
}
