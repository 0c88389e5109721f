/*
 * migrate.c
 *	  The tables that belong to the user: made, brought up to date, checked.
 *
 * Run history, tracking settings and their like are ordinary objects, not
 * members of the extension: pg_dump drops what users add to member tables, and
 * DROP EXTENSION must not take the history away.  So the install script does
 * not make them.  It holds functions databricks.data_migration_<n>(), each
 * taking the tables from layout n-1 to n, and this file calls those that are
 * missing by the version row.
 *
 * Whoever calls, the tables belong to the owner of the extension: any other
 * owner could put triggers on them that run as the superuser who writes them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "worker/migrate.h"

/* All data relations; the first one holds the version row. */
static const char *const relations[] = {"data_version",
										"tracking_settings",
										"run_history",
										"run_transitions",
										"active_runs",
										"run_requests",
										"run_request_attempts",
										"run_request_cancels",
										"paused_workspaces",
										"schedule_settings",
										"task_history",
										"history_fetches",
										"run_stats",
										"late_runs",
										"failed_runs",
										"failure_reasons"};

static void check_owners(const DbxExtension *extension);
static int	current_version(void);
static int	newest_version(const DbxExtension *extension);
static void run_migrations(const DbxExtension *extension);
static void execute(const char *sql, int expected);

PG_FUNCTION_INFO_V1(databricks_migrate);

Datum
databricks_migrate(PG_FUNCTION_ARGS)
{
	dbx_data_migrate();
	PG_RETURN_VOID();
}

bool
dbx_extension_find(DbxExtension *extension)
{
	Relation	relation;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("databricks"));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		bool			  isnull;
		Datum version = heap_getattr(tuple, Anum_pg_extension_extversion,
									 RelationGetDescr(relation), &isnull);

		extension->oid = form->oid;
		extension->owner = form->extowner;
		extension->schema = form->extnamespace;
		extension->version = isnull ? pstrdup("") : TextDatumGetCString(version);
		result = true;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return result;
}

void
dbx_data_migrate(void)
{
	DbxExtension extension;
	DbxDataRole	 role;
	bool		 creating = creating_extension;

	if (!dbx_extension_find(&extension))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("extension \"databricks\" is not installed in this database"),
			 errhint("CREATE EXTENSION databricks; as a superuser.")));

	if (dbx_data_exists(&extension))
	{
		bool ready;

		dbx_data_enter(&extension, &role);
		ready = current_version() == newest_version(&extension);
		dbx_data_leave(&role);
		if (ready)
			return;
	}

	/*
	 * One at a time, and not while the extension is dropped or updated.  Users
	 * cannot take this lock, as they could an advisory one.
	 */
	LockDatabaseObject(ExtensionRelationId, extension.oid, 0,
					   ShareUpdateExclusiveLock);
	if (!dbx_extension_find(&extension))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("extension \"databricks\" is not installed in this database"),
			 errhint("CREATE EXTENSION databricks; as a superuser.")));

	/*
	 * Were this called from an extension's script, what is made would become a
	 * member of that extension.
	 */
	PG_TRY();
	{
		creating_extension = false;
		dbx_data_enter(&extension, &role);
		run_migrations(&extension);
		dbx_data_leave(&role);
	}
	PG_FINALLY();
	{
		creating_extension = creating;
	}
	PG_END_TRY();
}

bool
dbx_data_exists(const DbxExtension *extension)
{
	check_owners(extension);
	return OidIsValid(get_relname_relid(relations[0], extension->schema));
}

void
dbx_data_enter(const DbxExtension *extension, DbxDataRole *role)
{
	GetUserIdAndSecContext(&role->userid, &role->context);
	SetUserIdAndSecContext(extension->owner,
						   role->context | SECURITY_LOCAL_USERID_CHANGE);
	role->nest_level = NewGUCNestLevel();

	/* What the caller has set must not decide what is made, and where. */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("default_tablespace", "", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("default_table_access_method", "heap", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
dbx_data_leave(const DbxDataRole *role)
{
	AtEOXact_GUC(false, role->nest_level);
	SetUserIdAndSecContext(role->userid, role->context);
}

/* Those that exist must be the extension owner's. */
static void
check_owners(const DbxExtension *extension)
{
	for (int i = 0; i < lengthof(relations); i++)
	{
		Oid		  relid = get_relname_relid(relations[i], extension->schema);
		HeapTuple tuple;
		Oid		  owner = InvalidOid;

		if (!OidIsValid(relid))
			continue;
		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
		if (!HeapTupleIsValid(tuple))
			continue;
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
		if (owner != extension->owner)
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"databricks.%s\" belongs to role \"%s\", not to the owner of the extension",
						relations[i], GetUserNameFromId(owner, true)),
				 errdetail(
					 "The extension does not touch what others could put triggers on."),
				 errhint("If it is yours, do: ALTER TABLE databricks.%s OWNER TO %s.",
						 relations[i],
						 quote_identifier(
							 GetUserNameFromId(extension->owner, false)))));
	}
}

/* The version row; 0 when it was emptied. */
static int
current_version(void)
{
	bool isnull;
	int	 result = 0;

	SPI_connect();
	execute("SELECT v.version FROM databricks.data_version AS v", SPI_OK_SELECT);
	if (SPI_processed > 0)
		result = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
											 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return result;
}

/* The last data_migration_<n>() that the install script has made. */
static int
newest_version(const DbxExtension *extension)
{
	oidvector *no_arguments = buildoidvector(NULL, 0);
	int		   version = 0;

	for (;;)
	{
		char *name = psprintf("data_migration_%d", version + 1);

		if (!SearchSysCacheExists3(PROCNAMEARGSNSP, CStringGetDatum(name),
								   PointerGetDatum(no_arguments),
								   ObjectIdGetDatum(extension->schema)))
			break;
		version++;
	}
	return version;
}

static void
run_migrations(const DbxExtension *extension)
{
	int version = 0;
	int newest = newest_version(extension);

	if (dbx_data_exists(extension))
		version = current_version();
	if (version > newest)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("data tables of extension \"databricks\" have layout %d, this version of it knows %d",
					version, newest),
			 errhint(
				 "Install the version of the extension that made them, or a newer one.")));

	SPI_connect();
	while (version < newest)
	{
		version++;
		execute(psprintf("SELECT databricks.data_migration_%d()", version),
				SPI_OK_SELECT);
	}
	execute(
		psprintf(
			"UPDATE databricks.data_version AS v SET version = %d, migrated_at = pg_catalog.now()",
			newest),
		SPI_OK_UPDATE);
	if (SPI_processed == 0)
		execute(
			psprintf("INSERT INTO databricks.data_version (version) VALUES (%d)",
					 newest),
			SPI_OK_INSERT);
	SPI_finish();
}

static void
execute(const char *sql, int expected)
{
	int result = SPI_execute(sql, false, 0);

	if (result != expected)
		elog(ERROR, "\"%s\" gave %s", sql, SPI_result_code_string(result));
}
