/*
 * pgcron.c
 *	  Entries of ours in pg_cron's table.
 *
 * Separate because pg_cron is optional: this is the only C that knows of it, and
 * it only uses what its versions from 1.4 on have in common, as the role whose
 * schedule it is.  So pg_cron's own rules about roles hold for us too.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type_d.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "cron/pgcron.h"

static const char *setting(const char *name);
static bool		   role_can_login(Oid roleid);
static void execute(const char *sql, int nargs, Oid *types, Datum *values);

void
dbx_pgcron_require(void)
{
	const char *database = setting("cron.database_name");
	const char *here = get_database_name(MyDatabaseId);
	const char *role = GetUserNameFromId(GetUserId(), false);

	if (database == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("schedules need pg_cron, which is not loaded"),
			 errhint("Install the package of pg_cron, add \"pg_cron\" to shared_preload_libraries, set cron.database_name = '%s' and restart the server; then do CREATE EXTENSION pg_cron and GRANT USAGE ON SCHEMA cron TO %s.",
					 here, quote_identifier(role))));
	if (strcmp(database, here) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pg_cron of this server works in database \"%s\", not in \"%s\"",
					database, here),
			 errhint("Keep schedules in database \"%s\" (CREATE EXTENSION databricks and databricks.connect() there), or set cron.database_name = '%s', restart the server and do CREATE EXTENSION pg_cron here.",
					 database, here)));
	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("schedules need extension \"pg_cron\" in this database"),
			 errhint("As a superuser do CREATE EXTENSION pg_cron, then GRANT USAGE ON SCHEMA cron TO %s.",
					 quote_identifier(role))));
	if (!dbx_pgcron_usable())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not use pg_cron", role),
				 errhint("As a superuser do GRANT USAGE ON SCHEMA cron TO %s.",
						 quote_identifier(role))));
	if (!role_can_login(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\" cannot log in", role),
				 errdetail(
					 "pg_cron connects as the role that a schedule belongs to."),
				 errhint("Do ALTER ROLE %s LOGIN, or schedule as another role.",
						 quote_identifier(role))));
}

void
dbx_pgcron_tell_connection(void)
{
	const char *workers = setting("cron.use_background_workers");
	const char *host = setting("cron.host");

	if (workers == NULL || strcmp(workers, "on") == 0)
		return;
	ereport(
		NOTICE,
		(errmsg("pg_cron will connect to host \"%s\" as role \"%s\" at each tick",
				host ? host : "localhost", GetUserNameFromId(GetUserId(), false)),
		 errhint(
			 "pg_hba.conf must let it in, with a password from the password file of the server's own account if one is asked for; or set cron.use_background_workers = on and restart the server.")));
}

bool
dbx_pgcron_usable(void)
{
	Oid schema;

	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		return false;
	schema = get_namespace_oid("cron", true);
	return OidIsValid(schema) &&
		object_aclcheck(NamespaceRelationId, schema, GetUserId(), ACL_USAGE) ==
		ACLCHECK_OK;
}

char *
dbx_pgcron_expression(const DbxCron *cron, const pg_tz *zone)
{
	/* from 1.5 on the clock can be chosen, from 1.6 on how days combine */
	const char *clock = setting("cron.timezone");
	const char *both = setting("cron.match_dom_and_dow");

	return dbx_cron_widen(cron, zone, dbx_cron_zone(clock ? clock : "GMT"),
						  GetCurrentTimestamp(),
						  both != NULL && strcmp(both, "on") == 0);
}

void
dbx_pgcron_set(int64 schedule_id, const char *expression)
{
	Oid	  types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[3];

	values[0] = CStringGetTextDatum(
		psprintf("databricks:" INT64_FORMAT, schedule_id));
	values[1] = CStringGetTextDatum(expression);
	values[2] = CStringGetTextDatum(
		psprintf("SELECT databricks.tick_schedule(" INT64_FORMAT ")",
				 schedule_id));
	execute("SELECT cron.schedule($1, $2, $3)", 3, types, values);
}

void
dbx_pgcron_remove(int64 schedule_id)
{
	Oid	  types[] = {TEXTOID};
	Datum values[1];

	values[0] = CStringGetTextDatum(
		psprintf("databricks:" INT64_FORMAT, schedule_id));
	execute("SELECT cron.unschedule(j.jobid) FROM cron.job AS j"
			" WHERE j.jobname::pg_catalog.text OPERATOR(pg_catalog.=) $1"
			"  AND j.username OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text",
			1, types, values);
}

/* NULL: there is no such setting, as where pg_cron is not loaded, or is older. */
static const char *
setting(const char *name)
{
	return GetConfigOption(name, true, false);
}

static bool
role_can_login(Oid roleid)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(roleid));
	bool	  result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	return result;
}

static void
execute(const char *sql, int nargs, Oid *types, Datum *values)
{
	SPI_connect();
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "\"%s\" failed", sql);
	SPI_finish();
}
