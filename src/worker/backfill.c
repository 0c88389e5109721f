/*
 * backfill.c
 *	  Reading back older runs, beside the sweeps.
 *
 * From the moment tracking began backwards, in windows of a day: newest first,
 * so that the history is useful at once.  Some windows are read at the same time,
 * since each is a chain of pages that wait for each other.  Tasks and parameters
 * come with the list: larger answers, but no call more.
 *
 * Each page is written as it comes.  "backfilled_to" moves when all windows up to
 * there are complete, so that after a crash only those under way are read again.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/session.h"
#include "worker/tracked.h"

/* Windows read at the same time, if the workspace allows so many calls. */
#define WINDOWS 16

/* After so many the workspace is looked up anew. */
#define WINDOWS_OF_A_PORTION 30

typedef struct Window
{
	TimestampTz from;
	DbxListing *listing;
} Window;

typedef struct DbxBackfill
{
	MemoryContext context;
	MemoryContext answers;
	DbxWorkspace *workspace;
	TimestampTz	  floor;	/* older runs are not wanted */
	TimestampTz	  to;		/* the next window ends here */
	int			  nstarted; /* in this portion */
	int			  count;	/* windows under way, newest first */
	Window		  windows[WINDOWS];
} DbxBackfill;

static bool load_window(DbxTracked *tracked, DbxBackfill *backfill);
static void start_windows(DbxBackfill *backfill);
static bool read_window(DbxTracked *tracked, DbxBackfill *backfill,
						Window *window);
static bool leave_complete(DbxTracked *tracked, DbxBackfill *backfill);

void
dbx_backfill_begin(DbxTracked *tracked)
{
	MemoryContext context = AllocSetContextCreate(tracked->context,
												  "databricks backfill",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	DbxBackfill	 *backfill = palloc0(sizeof(DbxBackfill));

	tracked->activities[DBX_BACKFILL].portion = backfill;
	backfill->context = context;
	backfill->answers = AllocSetContextCreate(context,
											  "databricks backfill answers",
											  ALLOCSET_DEFAULT_SIZES);
	if (load_window(tracked, backfill))
		start_windows(backfill);
	MemoryContextSwitchTo(before);
}

static void
start_windows(DbxBackfill *backfill)
{
	MemoryContext  before = MemoryContextSwitchTo(backfill->context);
	StringInfoData query;
	int			   most = Min(WINDOWS, backfill->workspace->max_parallel);

	initStringInfo(&query);
	while (backfill->count < most && backfill->to > backfill->floor &&
		   backfill->nstarted < WINDOWS_OF_A_PORTION)
	{
		Window *window = &backfill->windows[backfill->count++];

		window->from = Max(backfill->floor, backfill->to - USECS_PER_DAY);
		resetStringInfo(&query);
		dbx_query_add(&query, "expand_tasks", "true");
		dbx_tracked_add_time(&query, "start_time_from", window->from);
		dbx_tracked_add_time(&query, "start_time_to",
							 backfill->to + USECS_PER_SEC / 1000);
		window->listing = dbx_listing_start(backfill->workspace, query.data);
		backfill->to = window->from;
		backfill->nstarted++;
	}
	pfree(query.data);
	MemoryContextSwitchTo(before);
}

/* False: there is no window left, or no table any more. */
static bool
load_window(DbxTracked *tracked, DbxBackfill *backfill)
{
	static const char *sql =
		"SELECT t.backfilled_to,"
		" greatest(t.tracked_at - t.backfill, now() - t.retention)"
		" FROM databricks.tracking_settings AS t"
		" WHERE t.workspace = $1 AND t.backfill_finished_at IS NULL"
		" AND t.backfilled_to > greatest(t.tracked_at - t.backfill, now() - t.retention)";
	Oid	  types[] = {TEXTOID};
	Datum values[1];
	bool  found;

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		return false;
	}
	values[0] = CStringGetTextDatum(tracked->name);
	if (SPI_execute_with_args(sql, 1, types, values, NULL, true, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "tracking settings could not be read");
	found = SPI_processed > 0;
	if (found)
	{
		bool isnull;

		backfill->to = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0],
														 SPI_tuptable->tupdesc,
														 1, &isnull));
		tracked->backfilled_to = backfill->to;
		backfill->floor = DatumGetTimestampTz(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2,
						  &isnull));
		MemoryContextSwitchTo(backfill->context);
		backfill->workspace = dbx_tracked_resolve(tracked);
	}
	else if (SPI_execute_with_args(
				 "UPDATE databricks.tracking_settings AS t"
				 " SET backfill_finished_at = now()"
				 " WHERE t.workspace = $1 AND t.backfill_finished_at IS NULL",
				 1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "tracking settings could not be written");
	dbx_session_commit();
	MemoryContextSwitchTo(backfill->context);
	return found;
}

/*
 * Go on with what has come back; true when these windows are done.  Then the
 * activity's "due" says whether there may be others.
 */
bool
dbx_backfill_advance(DbxTracked *tracked)
{
	DbxActivity	 *activity = &tracked->activities[DBX_BACKFILL];
	DbxBackfill	 *backfill = activity->portion;
	MemoryContext before = CurrentMemoryContext;
	bool		  lost = false;

	if (backfill->nstarted == 0)
	{
		activity->due = 0;
		return true;
	}
	for (int i = 0; i < backfill->count && !lost; i++)
		lost = !read_window(tracked, backfill, &backfill->windows[i]);
	lost = lost || !leave_complete(tracked, backfill);
	MemoryContextSwitchTo(before);
	if (!lost)
		start_windows(backfill);
	if (backfill->count > 0 && !lost)
		return false;
	activity->due = GetCurrentTimestamp();
	return true;
}

/* False: the tables are gone. */
static bool
read_window(DbxTracked *tracked, DbxBackfill *backfill, Window *window)
{
	const DbxJson *rows;

	MemoryContextSwitchTo(backfill->answers);
	while (dbx_listing_next(window->listing, &rows))
	{
		if (!dbx_tracked_write(tracked, dbx_listing_runs(window->listing, rows),
							   DBX_WRITE_BACKFILL, NULL, 0, false))
			return false;
		MemoryContextReset(backfill->answers);
		MemoryContextSwitchTo(backfill->answers);
	}
	return true;
}

/* Forget the newest windows that are complete, and note how far that is. */
static bool
leave_complete(DbxTracked *tracked, DbxBackfill *backfill)
{
	static const char
		*sql = "UPDATE databricks.tracking_settings AS t SET backfilled_to = $2"
			   " WHERE t.workspace = $1";
	TimestampTz reached = 0;
	int			complete = 0;

	while (complete < backfill->count &&
		   dbx_listing_done(backfill->windows[complete].listing))
		reached = backfill->windows[complete++].from;
	if (complete == 0)
		return true;
	tracked->backfilled_to = reached;
	backfill->count -= complete;
	memmove(backfill->windows, backfill->windows + complete,
			sizeof(Window) * backfill->count);
	return dbx_tracked_write(tracked, NIL, DBX_WRITE_BACKFILL, sql, reached,
							 false);
}

void
dbx_backfill_end(DbxTracked *tracked)
{
	DbxBackfill *backfill = tracked->activities[DBX_BACKFILL].portion;

	tracked->activities[DBX_BACKFILL].portion = NULL;
	if (backfill != NULL)
		MemoryContextDelete(backfill->context);
}
