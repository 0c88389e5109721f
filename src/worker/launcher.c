/*
 * launcher.c
 *	  The one static worker: it starts a worker for each database that has
 *	  something to do, and starts it again when it ended by an error.
 *
 * Separate from worker.c because it connects to no database: it reads shared
 * catalogs only and so is never in the way of DROP DATABASE.  Whether there is
 * something to do in a database only a process connected to it can tell, so
 * once after it started the launcher sends one into each database in turn;
 * later, commits ask for one through shared memory.
 *
 * Workers are never restarted by the postmaster: after a crash of the cluster
 * it forgets them, starts the launcher (always, it is static) and the launcher
 * begins anew.  On a standby it is started by promotion.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "http/http.h"
#include "worker/launcher.h"
#include "worker/shared.h"
#include "worker/worker.h"

#define RESTART_AFTER_S 5

/* How long to wait when the postmaster has no slot for a worker. */
#define SHORTAGE_RETRY_MS 5000

/* The worker under way to its database; one at a time, so that starting a
 * server with a thousand databases does not take all the worker slots. */
static Oid					   starting = InvalidOid;
static BackgroundWorkerHandle *starting_handle = NULL;

/* A shortage is reported when it begins, not at each try. */
static bool shortage_reported = false;

static List *databases_to_probe(void);
static bool	 database_connectable(Oid dboid, char **name);
static void	 check_starting(void);
static void	 start_worker(Oid dboid);
static void	 report_overflow(void);

void
dbx_launcher_register(void)
{
	BackgroundWorker worker;

	dbx_worker_describe(&worker, "dbx_launcher_main", "databricks launcher");
	worker.bgw_restart_time = RESTART_AFTER_S;
	RegisterBackgroundWorker(&worker);
}

void
dbx_launcher_main(Datum arg)
{
	List *to_probe;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	/* Exit code 1 of a FATAL error makes the postmaster start us again. */
	dbx_shared_launcher_attach();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("databricks launcher");
	ereport(LOG, (errmsg("databricks launcher started")));

	/* pg_upgrade runs servers of its own, in which nothing may happen. */
	to_probe = IsBinaryUpgrade ? NIL : databases_to_probe();

	for (;;)
	{
		TimestampTz when = 0;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		/* Between transactions nobody else reads invalidations for us. */
		if (catchupInterruptPending)
			ProcessCatchupInterrupt();
		if (dbx_shared_launcher_overflow())
			report_overflow();

		check_starting();
		if (!OidIsValid(starting) && !IsBinaryUpgrade)
		{
			Oid next = dbx_shared_next_start(&when);

			if (OidIsValid(next))
			{
				start_worker(next);
				continue;
			}
			if (to_probe != NIL)
			{
				Oid dboid = linitial_oid(to_probe);

				to_probe = list_delete_first(to_probe);
				if (!dbx_shared_want(dboid))
				{
					report_overflow();
					list_free(to_probe);
					to_probe = NIL;
				}
				continue;
			}
		}
		(void) dbx_http_wait(when);
	}
}

/*
 * The databases one can connect to; templates have nothing to do unless a
 * commit in them says so.  The list outlives the transaction.
 */
static List *
databases_to_probe(void)
{
	MemoryContext context = CurrentMemoryContext;
	List		 *result = NIL;
	Relation	  relation;
	TableScanDesc scan;
	HeapTuple	  tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext	 previous;

		if (database->datistemplate || !database->datallowconn)
			continue;
		previous = MemoryContextSwitchTo(context);
		result = lappend_oid(result, database->oid);
		MemoryContextSwitchTo(previous);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/* Is the database still there and open?  *name is palloc'd. */
static bool
database_connectable(Oid dboid, char **name)
{
	MemoryContext context = CurrentMemoryContext;
	HeapTuple	  tuple;
	bool		  result = false;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		result = database->datallowconn;
		*name = MemoryContextStrdup(context, NameStr(database->datname));
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return result;
}

/* Has the worker under way said whether it stays, or died before it could? */
static void
check_starting(void)
{
	pid_t pid;

	if (!OidIsValid(starting))
		return;
	if (dbx_shared_is_starting(starting))
	{
		if (GetBackgroundWorkerPid(starting_handle, &pid) != BGWH_STOPPED)
			return;
		/* It may have attached and left between the two looks. */
		dbx_shared_not_started(starting, 0);
	}
	pfree(starting_handle);
	starting_handle = NULL;
	starting = InvalidOid;
}

static void
start_worker(Oid dboid)
{
	BackgroundWorker worker;
	char			*name = NULL;

	if (!database_connectable(dboid, &name))
	{
		dbx_shared_forget(dboid);
		return;
	}

	dbx_worker_describe(&worker, "dbx_worker_main", "databricks worker");
	snprintf(worker.bgw_name, BGW_MAXLEN, "databricks worker for %s", name);
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	pfree(name);

	/* First the state: the process may be quicker than we are. */
	dbx_shared_set_starting(dboid);
	if (RegisterDynamicBackgroundWorker(&worker, &starting_handle))
	{
		starting = dboid;
		shortage_reported = false;
		return;
	}
	dbx_shared_not_started(dboid,
						   TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   SHORTAGE_RETRY_MS));
	if (!shortage_reported)
		ereport(
			WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker slot for the databricks worker of database %u",
					dboid),
			 errdetail("It will be tried again."),
			 errhint("Raise max_worker_processes and restart the server.")));
	shortage_reported = true;
}

static void
report_overflow(void)
{
	ereport(
		WARNING,
		(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		 errmsg("more than %d databases of this cluster need a databricks worker",
				DBX_SHARED_DATABASES),
		 errdetail(
			 "The others get none until one of these needs none any more and the server is restarted.")));
}
