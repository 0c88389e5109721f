/*
 * pause.c
 *	  Whether requests of a workspace may be sent from this database.
 *
 * Two things can be in the way.  The owner of the workspace has paused it; or
 * this database is a copy, by a restore or as a template, of one that sends: a
 * copy of production must not start production's jobs.  Table dispatch_home
 * says where requests are at home, belongs to the extension and so is in no
 * dump, and names the database, which a copy has another one of.  What stands
 * there for all workspaces is the empty name, which nobody can give to a server.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "worker/migrate.h"
#include "worker/pause.h"
#include "worker/worker.h"
#include "workspace/workspace.h"

PG_FUNCTION_INFO_V1(databricks_pause_workspace);
PG_FUNCTION_INFO_V1(databricks_resume_workspace);
PG_FUNCTION_INFO_V1(databricks_pause_reason);

static char	 *owned_workspace(FunctionCallInfo fcinfo);
static void	  enter(DbxDataRole *role);
static void	  leave(const DbxDataRole *role);
static Oid	  requests_oid(void);
static uint64 execute(const char *sql, int nargs, Oid *types, Datum *values,
					  const char *nulls);

char *
dbx_pause_reason(const char *workspace, bool *copied)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			  types[] = {TEXTOID, OIDOID, OIDOID};
	Datum		  values[3];
	char		 *result = NULL;

	values[0] = CStringGetTextDatum(workspace);
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	values[2] = ObjectIdGetDatum(requests_oid());
	if (copied != NULL)
		*copied = false;
	if (execute("SELECT 1 FROM databricks.dispatch_home AS h"
				" WHERE h.workspace IN ('', $1) AND h.database_oid = $2"
				"  AND h.requests_oid = $3",
				3, types, values, NULL) == 0)
	{
		if (copied != NULL)
			*copied = true;
		MemoryContextSwitchTo(context);
		return pstrdup("this database was restored or copied from another one");
	}
	if (execute("SELECT coalesce(p.reason, format('paused by role %s', p.paused_by))"
				" FROM databricks.paused_workspaces AS p"
				" WHERE p.workspace = $1",
				1, types, values, NULL) > 0)
	{
		char *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								  1);

		MemoryContextSwitchTo(context);
		result = pstrdup(text);
	}
	MemoryContextSwitchTo(context);
	return result;
}

Datum
databricks_pause_workspace(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	char		nulls[] = "   ";
	DbxDataRole role;

	values[0] = CStringGetTextDatum(owned_workspace(fcinfo));
	values[1] = PG_GETARG_DATUM(1);
	if (PG_ARGISNULL(1))
		nulls[1] = 'n';
	values[2] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	enter(&role);
	execute("INSERT INTO databricks.paused_workspaces AS p"
			" (workspace, reason, paused_by) VALUES ($1, $2, $3)"
			" ON CONFLICT (workspace) DO UPDATE SET reason = excluded.reason,"
			"  paused_by = excluded.paused_by, paused_at = excluded.paused_at",
			3, types, values, nulls);
	leave(&role);
	dbx_worker_wake_at_commit();
	PG_RETURN_VOID();
}

Datum
databricks_resume_workspace(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, OIDOID, OIDOID};
	Datum		values[3];
	DbxDataRole role;
	char	   *workspace = owned_workspace(fcinfo);

	values[0] = CStringGetTextDatum(workspace);
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	enter(&role);
	values[2] = ObjectIdGetDatum(requests_oid());
	execute("DELETE FROM databricks.paused_workspaces AS p"
			" WHERE p.workspace = $1",
			1, types, values, NULL);
	/* From now on this is where the workspace's requests are at home. */
	execute(
		"DELETE FROM databricks.dispatch_home AS h"
		" WHERE h.workspace = $1 AND (h.database_oid <> $2 OR h.requests_oid <> $3)",
		3, types, values, NULL);
	execute("INSERT INTO databricks.dispatch_home AS h"
			" (workspace, database_oid, requests_oid) SELECT $1, $2, $3"
			" WHERE NOT EXISTS (SELECT FROM databricks.dispatch_home AS o"
			"  WHERE o.workspace IN ('', $1) AND o.database_oid = $2"
			"   AND o.requests_oid = $3)"
			" ON CONFLICT DO NOTHING",
			3, types, values, NULL);
	leave(&role);
	dbx_worker_wake_at_commit();
	PG_RETURN_VOID();
}

/*
 * For view workspaces, of one workspace.  As the owner of the extension, since
 * dispatch_home is nobody else's business.
 */
Datum
databricks_pause_reason(PG_FUNCTION_ARGS)
{
	DbxExtension  extension;
	DbxDataRole	  role;
	char		 *workspace = NameStr(*PG_GETARG_NAME(0));
	Oid			  serverid = get_foreign_server_oid(workspace, true);
	char		 *reason;
	MemoryContext context = CurrentMemoryContext;

	if (!OidIsValid(serverid) ||
		object_aclcheck(ForeignServerRelationId, serverid, GetUserId(),
						ACL_USAGE) != ACLCHECK_OK ||
		!dbx_extension_find(&extension) || !dbx_data_exists(&extension) ||
		!OidIsValid(requests_oid()))
		PG_RETURN_NULL();
	dbx_data_enter(&extension, &role);
	SPI_connect();
	MemoryContextSwitchTo(context);
	reason = dbx_pause_reason(workspace, NULL);
	SPI_finish();
	dbx_data_leave(&role);
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}

/* The workspace that argument 0 names, which must be the caller's own. */
static char *
owned_workspace(FunctionCallInfo fcinfo)
{
	return dbx_workspace_owned(PG_ARGISNULL(0) ? NULL
											   : NameStr(*PG_GETARG_NAME(0)),
							   GetUserId())
		->servername;
}

static void
enter(DbxDataRole *role)
{
	DbxExtension extension;

	dbx_data_migrate();
	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, role);
	SPI_connect();
}

static void
leave(const DbxDataRole *role)
{
	SPI_finish();
	dbx_data_leave(role);
}

static Oid
requests_oid(void)
{
	Oid schema = get_namespace_oid("databricks", true);

	return OidIsValid(schema) ? get_relname_relid("run_requests", schema)
							  : InvalidOid;
}

static uint64
execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "\"%s\" failed", sql);
	return SPI_processed;
}
