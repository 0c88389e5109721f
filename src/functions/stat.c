/*
 * stat.c
 *	  stat_api() and stat_api_reset(): what calls have cost.
 *
 * Separate from the counting, which knows neither names nor rights: rows are
 * shown to whoever may use the workspace they are about.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "api/stat.h"
#include "compat.h"

#define STAT_API_COLUMNS 12

PG_FUNCTION_INFO_V1(databricks_stat_api);
PG_FUNCTION_INFO_V1(databricks_stat_api_reset);

/* The workspace's name if the caller may use it, else NULL. */
static const char *
usable_workspace(Oid serverid)
{
	ForeignServer *server = GetForeignServerExtended(serverid, FSV_MISSING_OK);

	if (server == NULL ||
		object_aclcheck(ForeignServerRelationId, serverid, GetUserId(),
						ACL_USAGE) != ACLCHECK_OK)
		return NULL;
	return server->servername;
}

/* Whole microseconds: what is below them is noise of the sums. */
static Datum
ms_datum(double ms)
{
	return Float8GetDatum(rint(ms * 1000) / 1000);
}

static void
put_stat(ReturnSetInfo *set, const DbxStat *stat, const char *workspace)
{
	const char *role = GetUserNameFromId(stat->userid, true);
	NameData	workspace_name;
	NameData	role_name;
	Datum		values[STAT_API_COLUMNS];
	bool		nulls[STAT_API_COLUMNS] = {0};
	int			i = 0;

	namestrcpy(&workspace_name, workspace);
	namestrcpy(&role_name, role ? role : "");
	values[i++] = NameGetDatum(&workspace_name);
	nulls[i] = role == NULL;
	values[i++] = NameGetDatum(&role_name);
	values[i++] = CStringGetTextDatum(stat->endpoint);
	values[i++] = Int64GetDatum(stat->calls);
	values[i++] = Int64GetDatum(stat->errors);
	values[i++] = Int64GetDatum(stat->retries);
	values[i++] = Int64GetDatum(stat->throttled);
	values[i++] = Int64GetDatum(stat->bytes_in);
	values[i++] = ms_datum(stat->total_ms);
	nulls[i] = stat->answers == 0;
	values[i++] = ms_datum(stat->answers == 0 ? 0
											  : stat->total_ms / stat->answers);
	values[i++] = ms_datum(stat->max_ms);
	values[i++] = ms_datum(stat->quota_wait_ms);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

Datum
databricks_stat_api(PG_FUNCTION_ARGS)
{
	DbxStat *stats;
	int		 count = dbx_stat_read(&stats);
	int		 i;

	InitMaterializedSRF(fcinfo, 0);
	for (i = 0; i < count; i++)
	{
		const char *workspace = usable_workspace(stats[i].serverid);

		if (workspace != NULL)
			put_stat((ReturnSetInfo *) fcinfo->resultinfo, &stats[i], workspace);
	}
	return (Datum) 0;
}

Datum
databricks_stat_api_reset(PG_FUNCTION_ARGS)
{
	dbx_stat_reset();
	PG_RETURN_VOID();
}
