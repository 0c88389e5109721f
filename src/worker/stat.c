/*
 * stat.c
 *	  SQL functions that show the workers: stat_worker() and stat_tracking().
 *
 * They read shared memory only and return no row when there is none, so that
 * monitoring works the same with and without preload.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "worker/shared.h"

#define STAT_WORKER_COLUMNS	  9
#define STAT_TRACKING_COLUMNS 8

static const char *state_name(DbxSlotState state);
static Datum	   time_or_null(TimestampTz time, bool *isnull);
static Datum	   text_or_null(const char *text, bool *isnull);
static Datum	   lag_behind(TimestampTz due_at, bool *isnull);

PG_FUNCTION_INFO_V1(databricks_stat_worker);
PG_FUNCTION_INFO_V1(databricks_stat_tracking);

Datum
databricks_stat_worker(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool	 details = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	DbxSlot *slots;
	int		 count = dbx_shared_slots(&slots);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		DbxSlot			   *slot = &slots[i];
		DbxSharedWorkspace *workspaces;
		int		 nworkspaces = dbx_shared_workspaces(slot->dboid, &workspaces);
		char	*database = get_database_name(slot->dboid);
		NameData datname;
		TimestampTz last_sweep_at = 0;
		TimestampTz due_at = 0;
		const char *error = slot->last_error;
		TimestampTz error_at = slot->last_error_at;
		Datum		values[STAT_WORKER_COLUMNS] = {0};
		bool		nulls[STAT_WORKER_COLUMNS] = {0};

		for (int j = 0; j < nworkspaces; j++)
		{
			DbxSharedWorkspace *workspace = &workspaces[j];

			last_sweep_at = Max(last_sweep_at, workspace->last_sweep_at);
			if (workspace->due_at != 0 &&
				(due_at == 0 || workspace->due_at < due_at))
				due_at = workspace->due_at;
			if (workspace->last_error_at > error_at)
			{
				error = workspace->last_error;
				error_at = workspace->last_error_at;
			}
		}

		if (database != NULL)
			namestrcpy(&datname, database);
		/* null if it was not filled */
		/* cppcheck-suppress uninitvar */
		values[0] = NameGetDatum(&datname);
		nulls[0] = database == NULL;
		values[1] = Int32GetDatum(slot->pid);
		nulls[1] = slot->pid == 0;
		values[2] = CStringGetTextDatum(state_name(slot->state));
		values[3] = text_or_null(slot->phase, &nulls[3]);
		values[4] = time_or_null(last_sweep_at, &nulls[4]);
		values[5] = lag_behind(due_at, &nulls[5]);
		values[6] = Int64GetDatum(slot->queue_depth);
		nulls[6] = slot->queue_depth < 0;
		values[7] = text_or_null(error, &nulls[7]);
		values[8] = time_or_null(error_at, &nulls[8]);
		if (!details)
			nulls[3] = nulls[7] = true;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
databricks_stat_tracking(PG_FUNCTION_ARGS)
{
	ReturnSetInfo	   *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DbxSharedWorkspace *workspaces;
	int count = dbx_shared_workspaces(MyDatabaseId, &workspaces);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		DbxSharedWorkspace *workspace = &workspaces[i];
		Oid	  serverid = get_foreign_server_oid(workspace->name, true);
		Datum values[STAT_TRACKING_COLUMNS] = {0};
		bool  nulls[STAT_TRACKING_COLUMNS] = {0};

		/* As the row policies have it; superusers see what lost its server. */
		if (OidIsValid(serverid)
				? object_aclcheck(ForeignServerRelationId, serverid,
								  GetUserId(), ACL_USAGE) != ACLCHECK_OK
				: !superuser())
			continue;

		values[0] = CStringGetTextDatum(workspace->name);
		values[1] = time_or_null(workspace->last_sweep_at, &nulls[1]);
		values[2] = time_or_null(workspace->next_at, &nulls[2]);
		values[3] = lag_behind(workspace->due_at, &nulls[3]);
		values[4] = Int64GetDatum(workspace->sweeps);
		values[5] = Int32GetDatum(workspace->active_runs);
		nulls[5] = workspace->last_sweep_at == 0;
		values[6] = text_or_null(workspace->last_error, &nulls[6]);
		values[7] = time_or_null(workspace->last_error_at, &nulls[7]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static const char *
state_name(DbxSlotState state)
{
	switch (state)
	{
		case DBX_SLOT_FREE:
			break;
		case DBX_SLOT_STOPPED:
			return "stopped";
		case DBX_SLOT_WANTED:
			return "wanted";
		case DBX_SLOT_STARTING:
			return "starting";
		case DBX_SLOT_PROBING:
			return "probing";
		case DBX_SLOT_RUNNING:
			return "running";
	}
	return "free";
}

static Datum
time_or_null(TimestampTz time, bool *isnull)
{
	*isnull = time == 0;
	return TimestampTzGetDatum(time);
}

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = *text == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

/* How long ago the next sweep should have begun. */
static Datum
lag_behind(TimestampTz due_at, bool *isnull)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval   *lag;

	*isnull = due_at == 0;
	if (*isnull)
		return (Datum) 0;
	lag = palloc0(sizeof(Interval));
	lag->time = Max(now - due_at, 0);
	return IntervalPGetDatum(lag);
}
