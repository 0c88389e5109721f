/*
 * backfill.c
 *	  Reading back older runs, beside the sweeps.
 *
 * From the moment tracking began backwards, in windows of a day: newest first,
 * so that the history is useful at once.  Tasks and parameters come with the
 * list: larger answers, but no call more.  Each page is written as it comes; the
 * last one of a window moves "backfilled_to" in the same transaction, so that
 * after a crash at most one window is read again.
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

typedef struct DbxBackfill
{
	MemoryContext context;
	MemoryContext answers;
	DbxWorkspace *workspace;
	TimestampTz	  from;
	TimestampTz	  to;
	DbxListing	 *listing;
} DbxBackfill;

static bool load_window(DbxTracked *tracked, DbxBackfill *backfill);

void
dbx_backfill_begin(DbxTracked *tracked)
{
	MemoryContext  context = AllocSetContextCreate(tracked->context,
												   "databricks backfill",
												   ALLOCSET_DEFAULT_SIZES);
	MemoryContext  before = MemoryContextSwitchTo(context);
	DbxBackfill	  *backfill = palloc0(sizeof(DbxBackfill));
	StringInfoData query;

	tracked->activities[DBX_BACKFILL].portion = backfill;
	backfill->context = context;
	backfill->answers = AllocSetContextCreate(context,
											  "databricks backfill answers",
											  ALLOCSET_DEFAULT_SIZES);
	if (load_window(tracked, backfill))
	{
		initStringInfo(&query);
		dbx_query_add(&query, "expand_tasks", "true");
		dbx_tracked_add_time(&query, "start_time_from", backfill->from);
		dbx_tracked_add_time(&query, "start_time_to",
							 backfill->to + USECS_PER_SEC / 1000);
		backfill->listing = dbx_listing_start(backfill->workspace, query.data);
	}
	MemoryContextSwitchTo(before);
}

/* False: there is no window left, or no table any more. */
static bool
load_window(DbxTracked *tracked, DbxBackfill *backfill)
{
	static const char *sql =
		"SELECT t.backfilled_to,"
		" greatest(t.tracked_at - t.backfill, now() - t.retention, t.backfilled_to - interval '1 day')"
		" FROM databricks.tracking_settings AS t"
		" WHERE t.workspace = $1 AND t.backfill_finished_at IS NULL"
		" AND t.backfilled_to > greatest(t.tracked_at - t.backfill, now() - t.retention)";
	Oid	  types[] = {TEXTOID};
	Datum values[1];
	bool  found;

	if (!dbx_session_begin())
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
		backfill->from = DatumGetTimestampTz(
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
 * Go on with what has come back; true when this window is done.  Then
 * the activity's "due" says whether there may be another.
 */
bool
dbx_backfill_advance(DbxTracked *tracked)
{
	DbxBackfill	  *backfill = tracked->activities[DBX_BACKFILL].portion;
	MemoryContext  before = CurrentMemoryContext;
	const DbxJson *rows;

	if (backfill->listing == NULL)
	{
		tracked->activities[DBX_BACKFILL].due = 0;
		return true;
	}
	MemoryContextSwitchTo(backfill->answers);
	while (dbx_listing_next(backfill->listing, &rows))
	{
		bool last = dbx_listing_done(backfill->listing);

		if (!dbx_tracked_write(
				tracked, dbx_listing_runs(backfill->listing, rows),
				DBX_WRITE_BACKFILL,
				last ? "UPDATE databricks.tracking_settings AS t SET backfilled_to = $2 WHERE t.workspace = $1"
					 : NULL,
				backfill->from, false))
			break;
		MemoryContextReset(backfill->answers);
		MemoryContextSwitchTo(backfill->answers);
	}
	MemoryContextSwitchTo(before);
	if (!dbx_listing_done(backfill->listing))
		return false;
	tracked->activities[DBX_BACKFILL].due = GetCurrentTimestamp();
	return true;
}

void
dbx_backfill_end(DbxTracked *tracked)
{
	DbxBackfill *backfill = tracked->activities[DBX_BACKFILL].portion;

	tracked->activities[DBX_BACKFILL].portion = NULL;
	if (backfill != NULL)
		MemoryContextDelete(backfill->context);
}
