/*
 * reconcile.c
 *	  Comparing older runs with what the service says of them now.
 *
 * Sweeps see what is active and what is young.  A repair of an older run that
 * begins and ends between two of them, and runs that were deleted, show only
 * here: all of the time that the service keeps is read again in windows of a
 * day, newest first, spread over databricks.history_reconcile_interval, and then
 * from the start.  Runs that we know and the list does not have are asked for one
 * by one, since lists leave out what still exists (runs of deleted jobs).
 *
 * Nothing is kept in the database: after a restart it begins with the newest
 * window, which is where repairs happen.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/session.h"
#include "worker/tracked.h"

/* What the service keeps, with some distance. */
#define HORIZON_USECS (59 * USECS_PER_DAY)
#define WINDOWS		  60

#define GETS_AT_ONCE 100

typedef struct DbxReconcile
{
	MemoryContext context;
	MemoryContext answers;
	DbxWorkspace *workspace;
	TimestampTz	  from;
	TimestampTz	  to;
	DbxListing	 *listing; /* NULL: there is no window */
	HTAB		 *listed;  /* of int64 */
	bool		  missing_loaded;
	int			  nmissing;
	int64		 *missing; /* known here, not listed */
	int			  asked;
	List		 *gets; /* of DbxRunGet * */
} DbxReconcile;

static bool load_window(DbxTracked *tracked, DbxReconcile *reconcile);
static bool read_pages(DbxTracked *tracked, DbxReconcile *reconcile);
static bool load_missing(DbxTracked *tracked, DbxReconcile *reconcile);
static bool read_missing(DbxTracked *tracked, DbxReconcile *reconcile);
static void write_gets(DbxTracked *tracked, DbxReconcile *reconcile);

TimestampTz
dbx_reconcile_next(void)
{
	if (dbx_guc_history_reconcile_interval == 0)
		return 0;
	return GetCurrentTimestamp() +
		(int64) dbx_guc_history_reconcile_interval * 1000 / WINDOWS;
}

void
dbx_reconcile_begin(DbxTracked *tracked)
{
	MemoryContext  context = AllocSetContextCreate(tracked->context,
												   "databricks reconciliation",
												   ALLOCSET_DEFAULT_SIZES);
	MemoryContext  before = MemoryContextSwitchTo(context);
	DbxReconcile  *reconcile = palloc0(sizeof(DbxReconcile));
	HASHCTL		   control = {0};
	StringInfoData query;

	tracked->activities[DBX_RECONCILE].portion = reconcile;
	reconcile->context = context;
	reconcile->answers = AllocSetContextCreate(
		context, "databricks reconciliation answers", ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = context;
	reconcile->listed = hash_create("databricks listed runs", 256, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (load_window(tracked, reconcile))
	{
		initStringInfo(&query);
		dbx_tracked_add_time(&query, "start_time_from", reconcile->from);
		dbx_tracked_add_time(&query, "start_time_to",
							 reconcile->to + USECS_PER_SEC / 1000);
		reconcile->listing = dbx_listing_start(reconcile->workspace, query.data);
	}
	MemoryContextSwitchTo(before);
}

/* False: this pass has come to its end, or the tables are gone. */
static bool
load_window(DbxTracked *tracked, DbxReconcile *reconcile)
{
	Oid			types[] = {TEXTOID};
	Datum		values[1];
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz floor = now - HORIZON_USECS;
	bool		found;

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		return false;
	}
	values[0] = CStringGetTextDatum(tracked->name);
	if (SPI_execute_with_args("SELECT t.backfilled_to"
							  " FROM databricks.tracking_settings AS t"
							  " WHERE t.workspace = $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "tracking settings could not be read");
	found = SPI_processed > 0;
	if (found)
	{
		bool isnull;

		floor = Max(floor,
					DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0],
													  SPI_tuptable->tupdesc, 1,
													  &isnull)));
		MemoryContextSwitchTo(reconcile->context);
		reconcile->workspace = dbx_tracked_resolve(tracked);
	}
	dbx_session_commit();
	MemoryContextSwitchTo(reconcile->context);
	if (!found)
		return false;

	if (tracked->retention > 0)
		floor = Max(floor, now - tracked->retention);
	reconcile->to = tracked->reconciled_to != 0 ? tracked->reconciled_to : now;
	reconcile->from = Max(floor, reconcile->to - USECS_PER_DAY);
	return reconcile->to > floor;
}

bool
dbx_reconcile_advance(DbxTracked *tracked)
{
	DbxActivity	 *activity = &tracked->activities[DBX_RECONCILE];
	DbxReconcile *reconcile = activity->portion;
	MemoryContext before = CurrentMemoryContext;
	bool		  done = true;

	if (reconcile->listing == NULL)
		tracked->reconciled_to = 0;
	else
	{
		done = read_pages(tracked, reconcile) &&
			load_missing(tracked, reconcile) && read_missing(tracked, reconcile);
		if (done)
			tracked->reconciled_to = reconcile->from;
	}
	MemoryContextSwitchTo(before);
	if (done)
		activity->due = dbx_reconcile_next();
	return done;
}

void
dbx_reconcile_end(DbxTracked *tracked)
{
	DbxReconcile *reconcile = tracked->activities[DBX_RECONCILE].portion;

	tracked->activities[DBX_RECONCILE].portion = NULL;
	if (reconcile != NULL)
		MemoryContextDelete(reconcile->context);
}

/* Only what has ended: the rest is for the sweeps. */
static bool
read_pages(DbxTracked *tracked, DbxReconcile *reconcile)
{
	const DbxJson *rows;

	MemoryContextSwitchTo(reconcile->answers);
	while (dbx_listing_next(reconcile->listing, &rows))
	{
		List	 *runs = dbx_listing_runs(reconcile->listing, rows);
		ListCell *cell;

		foreach(cell, runs)
		{
			DbxSeenRun *run = lfirst(cell);

			(void) hash_search(reconcile->listed, &run->run_id, HASH_ENTER,
							   NULL);
			if (!run->ended)
				runs = foreach_delete_current(runs, cell);
		}
		if (!dbx_tracked_write(tracked, runs, DBX_WRITE_BESIDE, NULL, 0, true))
			return true;
		MemoryContextReset(reconcile->answers);
		MemoryContextSwitchTo(reconcile->answers);
	}
	return dbx_listing_done(reconcile->listing);
}

static bool
load_missing(DbxTracked *tracked, DbxReconcile *reconcile)
{
	static const char *sql =
		"SELECT h.run_id::int8 FROM databricks.run_history AS h"
		" WHERE h.workspace = $1 AND h.start_time BETWEEN $2 AND $3"
		" AND h.gone_at IS NULL"
		" AND (h.state = 'TERMINATED'"
		"  OR h.life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR'))";
	Oid	  types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[3];

	if (reconcile->missing_loaded)
		return true;
	reconcile->missing_loaded = true;
	if (!dbx_session_begin_history())
		return true;
	values[0] = CStringGetTextDatum(tracked->name);
	values[1] = TimestampTzGetDatum(reconcile->from);
	values[2] = TimestampTzGetDatum(reconcile->to);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "runs could not be read");
	reconcile->missing = MemoryContextAlloc(reconcile->context,
											sizeof(int64) *
												Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool  isnull;
		int64 run_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i],
												   SPI_tuptable->tupdesc, 1,
												   &isnull));

		if (hash_search(reconcile->listed, &run_id, HASH_FIND, NULL) == NULL)
			reconcile->missing[reconcile->nmissing++] = run_id;
	}
	dbx_session_commit();
	return true;
}

static bool
read_missing(DbxTracked *tracked, DbxReconcile *reconcile)
{
	ListCell *cell;

	for (;;)
	{
		MemoryContextSwitchTo(reconcile->answers);
		foreach(cell, reconcile->gets)
		{
			if (!dbx_run_get_done(lfirst(cell)))
				return false;
		}
		write_gets(tracked, reconcile);
		if (reconcile->asked == reconcile->nmissing)
			return true;
		MemoryContextSwitchTo(reconcile->context);
		for (int i = 0;
			 i < GETS_AT_ONCE && reconcile->asked < reconcile->nmissing; i++)
			reconcile->gets = lappend(
				reconcile->gets,
				dbx_run_get_start(reconcile->workspace,
								  reconcile->missing[reconcile->asked++]));
	}
}

/* What could not be read now is compared in the next pass. */
static void
write_gets(DbxTracked *tracked, DbxReconcile *reconcile)
{
	List	 *runs = NIL;
	ListCell *cell;

	foreach(cell, reconcile->gets)
	{
		DbxSeenRun *run = dbx_run_get_seen(lfirst(cell));

		if (run != NULL)
			runs = lappend(runs, run);
	}
	if (runs != NIL)
		(void) dbx_tracked_write(tracked, runs, DBX_WRITE_BESIDE, NULL, 0, true);
	foreach(cell, reconcile->gets)
	{
		DbxRunGet *get = lfirst(cell);

		if (get->call != NULL)
			dbx_call_free(get->call);
	}
	reconcile->gets = NIL;
	MemoryContextReset(reconcile->answers);
	MemoryContextSwitchTo(reconcile->answers);
}
