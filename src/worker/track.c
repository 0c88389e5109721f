/*
 * track.c
 *	  SQL functions that say which workspaces are tracked.
 *
 * They only keep the settings table and wake the worker at commit; sweeping is
 * the worker's.  The table belongs to the owner of the extension and nobody
 * else may write it, so the functions check that the caller owns the server
 * and then write as that owner.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker/migrate.h"
#include "worker/pause.h"
#include "worker/shared.h"
#include "worker/worker.h"
#include "workspace/workspace.h"

#define POLL_INTERVAL_MIN_USECS (USECS_PER_SEC / 10)
#define POLL_INTERVAL_MAX_USECS USECS_PER_DAY

/* What was removed, or not read back, for the retention is wanted now. */
#define KEEPS_MORE                                            \
	"t.retention IS NOT NULL AND (excluded.retention IS NULL" \
	" OR excluded.retention OPERATOR(pg_catalog.>) t.retention)"

/* Of backfill and retention: what can be taken from the time of today. */
#define LONGEST_USECS (1000 * 366 * USECS_PER_DAY)

static char *workspace_argument(FunctionCallInfo fcinfo);
static void	 require_argument(FunctionCallInfo fcinfo, int number,
							  const char *name);
static void	 check_settings(const Interval *poll_interval,
							const Interval *backfill, const Interval *retention,
							const char *outputs);
static int64 interval_usecs(const Interval *interval);

PG_FUNCTION_INFO_V1(databricks_track);
PG_FUNCTION_INFO_V1(databricks_untrack);

Datum
databricks_track(PG_FUNCTION_ARGS)
{
	static const char *sql =
		"INSERT INTO databricks.tracking_settings AS t"
		" (workspace, poll_interval, backfill, retention, outputs,"
		"  tracked_by, tracked_at, caught_up_at, backfilled_to)"
		" VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now(), pg_catalog.now(), pg_catalog.now())"
		" ON CONFLICT (workspace) DO UPDATE SET"
		"  poll_interval = excluded.poll_interval, backfill = excluded.backfill,"
		"  retention = excluded.retention, outputs = excluded.outputs,"
		"  backfill_finished_at = CASE WHEN excluded.backfill OPERATOR(pg_catalog.>) t.backfill"
		"   OR " KEEPS_MORE " THEN NULL ELSE t.backfill_finished_at END,"
		"  backfilled_to = CASE WHEN " KEEPS_MORE
		"   THEN GREATEST(t.backfilled_to, pg_catalog.now() OPERATOR(pg_catalog.-) t.retention)"
		"   ELSE t.backfilled_to END";
	Oid			   types[] = {TEXTOID,	   INTERVALOID, INTERVALOID,
							  INTERVALOID, TEXTOID,		TEXTOID};
	Datum		   values[6];
	char		   nulls[] = "      ";
	char		  *name;
	char		  *outputs;
	ForeignServer *server;
	Interval	  *retention = NULL;
	DbxExtension   extension;
	DbxDataRole	   role;
	bool		   copied;

	require_argument(fcinfo, 1, "poll_interval");
	require_argument(fcinfo, 2, "backfill");
	require_argument(fcinfo, 4, "outputs");
	name = workspace_argument(fcinfo);
	server = dbx_workspace_owned(name, GetUserId());
	outputs = text_to_cstring(PG_GETARG_TEXT_PP(4));
	if (!PG_ARGISNULL(3))
		retention = PG_GETARG_INTERVAL_P(3);
	check_settings(PG_GETARG_INTERVAL_P(1), PG_GETARG_INTERVAL_P(2), retention,
				   outputs);

	/* Sweeps use the owner's mapping: better said now than by the worker. */
	(void) dbx_workspace_by_server(server->serverid, server->owner);

	values[0] = CStringGetTextDatum(name);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = PG_GETARG_DATUM(3);
	values[4] = CStringGetTextDatum(outputs);
	values[5] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	if (retention == NULL)
		nulls[3] = 'n';

	dbx_data_migrate();
	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, &role);
	SPI_connect();
	if (SPI_execute_with_args(sql, lengthof(types), types, values, nulls, false,
							  0) != SPI_OK_INSERT)
		elog(ERROR, "tracking settings could not be written");
	(void) dbx_pause_reason(name, &copied);
	SPI_finish();
	dbx_data_leave(&role);

	dbx_worker_wake_at_commit();
	if (copied)
		ereport(
			WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("workspace \"%s\" is not tracked yet", name),
			 errdetail("This database was restored or copied from another one."),
			 errhint(
				 "Let it use the workspace with databricks.resume_workspace().")));
	else if (!dbx_shared_available())
		ereport(
			WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no background worker runs that could track workspace \"%s\"",
					name),
			 errdetail("The setting is kept; tracking begins once there is one."),
			 errhint(
				 "Add \"databricks\" to shared_preload_libraries and restart the server.")));
	PG_RETURN_VOID();
}

Datum
databricks_untrack(PG_FUNCTION_ARGS)
{
	static const char *sql = "DELETE FROM databricks.tracking_settings AS t"
							 " WHERE t.workspace OPERATOR(pg_catalog.=) $1";
	Oid				   types[] = {TEXTOID};
	Datum			   values[1];
	char			  *name = workspace_argument(fcinfo);
	DbxExtension	   extension;
	DbxDataRole		   role;
	uint64			   deleted = 0;

	/* What is tracked may have lost its server. */
	if (!superuser() || GetForeignServerByName(name, true) != NULL)
		(void) dbx_workspace_owned(name, GetUserId());

	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	if (dbx_data_exists(&extension))
	{
		values[0] = CStringGetTextDatum(name);
		dbx_data_enter(&extension, &role);
		SPI_connect();
		if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) !=
			SPI_OK_DELETE)
			elog(ERROR, "tracking settings could not be written");
		deleted = SPI_processed;
		SPI_finish();
		dbx_data_leave(&role);
	}
	if (deleted == 0)
		ereport(NOTICE, (errmsg("workspace \"%s\" is not tracked", name)));
	dbx_worker_wake_at_commit();
	PG_RETURN_VOID();
}

static char *
workspace_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		return dbx_workspace_default(GetUserId());
	return pstrdup(NameStr(*PG_GETARG_NAME(0)));
}

static void
require_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

static void
check_settings(const Interval *poll_interval, const Interval *backfill,
			   const Interval *retention, const char *outputs)
{
	int64 poll = interval_usecs(poll_interval);

	if (poll < POLL_INTERVAL_MIN_USECS || poll > POLL_INTERVAL_MAX_USECS)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("poll_interval must be between 100 milliseconds and 1 day")));
	if (interval_usecs(backfill) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("backfill must not be negative"),
				 errhint("Use '0' to read no older runs.")));
	if (retention != NULL && interval_usecs(retention) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retention must be positive"),
				 errhint("Use NULL to keep runs for ever.")));
	if (interval_usecs(backfill) > LONGEST_USECS ||
		(retention != NULL && interval_usecs(retention) > LONGEST_USECS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(
					 "backfill and retention must not be longer than 1000 years"),
				 errhint("Use NULL as retention to keep runs for ever.")));
	if (strcmp(outputs, "failed") != 0 && strcmp(outputs, "none") != 0 &&
		strcmp(outputs, "all") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for outputs: \"%s\"", outputs),
				 errhint("Valid values are \"failed\", \"none\" and \"all\".")));
}

/*
 * Months count 30 days here, as in comparisons of intervals.  What is too long
 * for microseconds, or infinite, is as long as can be told.
 */
static int64
interval_usecs(const Interval *interval)
{
	int64 days = (int64) interval->day +
		(int64) interval->month * DAYS_PER_MONTH;
	int64 usecs;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &usecs) ||
		pg_add_s64_overflow(usecs, interval->time, &usecs))
		return days < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return usecs;
}
