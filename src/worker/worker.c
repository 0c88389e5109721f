/*
 * worker.c
 *	  The worker of one database, and the set-up of all that is in this folder.
 *
 * The process first looks whether there is something to do; if not it leaves
 * and says so, and the launcher starts it again when something is committed.
 * Else it stays: one loop around the one wait of src/http, woken by calls that
 * came back, by its latch and by what is due, and by nothing else.
 *
 * An error ends what was being done, never the process; only the loss of its
 * purpose, SIGTERM and crashes do.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "cron/schedule.h"
#include "http/http.h"
#include "worker/ddl.h"
#include "worker/dispatcher.h"
#include "worker/follow.h"
#include "worker/launcher.h"
#include "worker/session.h"
#include "worker/shared.h"
#include "worker/tracker.h"
#include "worker/worker.h"

/* Pause after an error that was nobody's in particular. */
#define ERROR_PAUSE_USECS	   USECS_PER_SEC
#define ERROR_PAUSE_LAST_USECS (60 * USECS_PER_SEC)

static char database_name[NAMEDATALEN];

static void look_around(void *arg);
static void work(void *arg);
static void report_error(ErrorData *error);
static void pause_after_error(int failures);
static void worker_error_callback(void *arg);

void
dbx_worker_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	dbx_shared_init();
	dbx_ddl_init();
	dbx_launcher_register();
}

void
dbx_worker_main(Datum arg)
{
	Oid					 dboid = DatumGetObjectId(arg);
	ErrorContextCallback callback = {0};
	MemoryContext		 context;
	bool				 looked = false;
	bool				 running = false;
	int					 failures = 0;
	int					 tasks = -1;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, dbx_session_interrupted);

	if (!dbx_shared_attach(dboid))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();
	dbx_worker_connect(dboid);

	callback.callback = worker_error_callback;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	context = AllocSetContextCreate(TopMemoryContext, "databricks worker round",
									ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		ErrorData *error;
		bool	   look = !looked;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			look = true;
		}
		/* Between transactions nobody else reads invalidations for us. */
		if (catchupInterruptPending)
			ProcessCatchupInterrupt();
		if (dbx_shared_take_wake())
			look = true;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		error = dbx_session_try(look ? look_around : work, &tasks);
		if (error != NULL)
		{
			/* Also when it could not even look: it stays and tries again. */
			looked = false;
			tasks = -1;
			dbx_shared_running();
			report_error(error);
			pause_after_error(failures++);
			continue;
		}
		if (failures > 0)
			dbx_shared_error(NULL);
		failures = 0;
		looked = true;

		if (tasks == 0)
		{
			ereport(running ? LOG : DEBUG1,
					(errmsg("databricks worker: nothing left to do")));
			dbx_shared_set_end(DBX_WORKER_END_IDLE);
			proc_exit(0);
		}
		if (!running)
		{
			dbx_shared_running();
			ereport(LOG, (errmsg("databricks worker started")));
		}
		running = true;
	}
}

void
dbx_worker_describe(BackgroundWorker *worker, const char *main, const char *type)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_notify_pid = IsUnderPostmaster ? MyProcPid : 0;
	strlcpy(worker->bgw_library_name, "databricks",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, main, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
}

/*
 * As the bootstrap superuser.  Nothing that is set for databases or roles shall
 * decide who the worker is, how it reads names, times its statements or keeps
 * foreign keys.
 */
void
dbx_worker_connect(Oid dboid)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"transaction_timeout", "0"}, /* from 17 on */
		{"role", "none"},
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"IntervalStyle", "postgres"},
		{"DateStyle", "ISO"}};

	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	pgstat_report_appname("databricks worker");
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
	for (int i = 0; i < lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET,
							PGC_S_OVERRIDE);
	}

	StartTransactionCommand();
	strlcpy(database_name, get_database_name(dboid), NAMEDATALEN);
	dbx_json_prepare_encoding();
	CommitTransactionCommand();
}

/* Is there anything to care for? */
static void
look_around(void *arg)
{
	int tasks;
	int requests;

	dbx_schedules_catch_up();
	tasks = dbx_tracker_load();
	requests = dbx_dispatcher_load();
	if (requests > 0)
		dbx_follow_load();
	*(int *) arg = tasks + requests;
}

/* Do what can be done, then wait; what is committed meanwhile comes first. */
static void
work(void *arg)
{
	TimestampTz next = dbx_worker_round();

	if (!dbx_shared_wake_pending())
		(void) dbx_calls_progress(next);
}

TimestampTz
dbx_worker_round(void)
{
	TimestampTz due[3];
	TimestampTz next = 0;

	dbx_tracker_run();
	dbx_follow_run();
	due[1] = dbx_dispatcher_run();
	due[0] = dbx_tracker_next();
	due[2] = dbx_follow_next();
	for (int i = 0; i < lengthof(due); i++)
	{
		if (due[i] != 0 && (next == 0 || due[i] < next))
			next = due[i];
	}
	return next;
}

/*
 * An error outside of any task: all of them are begun anew.
 */
static void
report_error(ErrorData *error)
{
	static char *logged = NULL;
	char		*text = dbx_session_error_text(error);

	dbx_tracker_abandon();
	dbx_follow_abandon();
	dbx_dispatcher_abandon();
	dbx_shared_error(text);
	if (dbx_session_same_trouble(error->message, logged))
		return;
	if (logged != NULL)
		pfree(logged);
	logged = MemoryContextStrdup(TopMemoryContext, error->message);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("databricks worker is in trouble: %s", text),
			 errdetail(
				 "It goes on by itself; the same trouble is not logged again.")));
}

/* Longer with each failure in a row, unless something is committed. */
static void
pause_after_error(int failures)
{
	int64		pause = Min(ERROR_PAUSE_USECS << Min(failures, 6),
							ERROR_PAUSE_LAST_USECS);
	TimestampTz until = GetCurrentTimestamp() + pause;

	while (!dbx_shared_wake_pending() && !ConfigReloadPending &&
		   GetCurrentTimestamp() < until)
		(void) dbx_http_wait(until);
}

static void
worker_error_callback(void *arg)
{
	errcontext("databricks worker of database \"%s\"", database_name);
}
