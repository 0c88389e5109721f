/*
 * catchup.c
 *	  Ticks that nobody has called for: while the server was down, or a
 *	  workspace paused.
 *
 * The database's worker finds them, but is a superuser's process and must not
 * run the SQL of a schedule's owner.  So a process of its own, connected as the
 * owner, does what pg_cron's would have done; one per role, for as long as it
 * takes.  Should there be no slot for it, pg_cron's next call makes up for it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cron/schedule.h"
#include "worker/session.h"

/* Not more often for one role: what fails would fail again at each wake-up. */
#define PAUSE_MS (60 * 1000)

/* When a role's process was started last; lives as long as the worker. */
typedef struct Started
{
	Oid						role;
	TimestampTz				at;
	BackgroundWorkerHandle *handle;
} Started;

static List *started = NIL;

extern PGDLLEXPORT void dbx_schedules_main(Datum arg);

static void start_process(Oid role);
static bool may_start(Oid role);
static void tick_one(void *arg);

void
dbx_schedules_catch_up(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List		 *overdue;
	List		 *roles = NIL;
	ListCell	 *cell;

	if (!dbx_session_begin())
		return;
	MemoryContextSwitchTo(caller);
	overdue = dbx_schedules_overdue();
	dbx_session_commit();
	MemoryContextSwitchTo(caller);

	foreach(cell, overdue)
		roles = list_append_unique_oid(roles,
									   ((DbxOverdue *) lfirst(cell))->owner);
	foreach(cell, roles)
	{
		if (may_start(lfirst_oid(cell)))
			start_process(lfirst_oid(cell));
	}
}

/* Not while one runs, nor right after the last one. */
static bool
may_start(Oid role)
{
	ListCell *cell;

	foreach(cell, started)
	{
		Started *entry = lfirst(cell);
		pid_t	 pid;

		if (entry->role != role)
			continue;
		if (GetBackgroundWorkerPid(entry->handle, &pid) != BGWH_STOPPED ||
			!TimestampDifferenceExceeds(entry->at, GetCurrentTimestamp(),
										PAUSE_MS))
			return false;
		pfree(entry->handle);
		pfree(entry);
		started = foreach_delete_current(started, cell);
		return true;
	}
	return true;
}

static void
start_process(Oid role)
{
	BackgroundWorker worker = {0};
	MemoryContext	 before = MemoryContextSwitchTo(TopMemoryContext);
	Started			*entry = palloc0(sizeof(Started));

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	strlcpy(worker.bgw_library_name, "databricks",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "dbx_schedules_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "databricks schedules", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "databricks schedules", BGW_MAXLEN);
	memcpy(worker.bgw_extra, &role, sizeof(Oid));

	entry->role = role;
	entry->at = GetCurrentTimestamp();
	if (RegisterDynamicBackgroundWorker(&worker, &entry->handle))
		started = lappend(started, entry);
	else
	{
		pfree(entry);
		ereport(
			LOG,
			(errmsg(
				 "databricks worker: no process could be started for missed ticks of schedules"),
			 errdetail(
				 "They are made up for when pg_cron calls for the schedules next."),
			 errhint("You might need to increase max_worker_processes.")));
	}
	MemoryContextSwitchTo(before);
}

/* The process: connected as the role, it makes the role's schedules tick. */
void
dbx_schedules_main(Datum arg)
{
	Oid			  role;
	MemoryContext context;
	List		 *overdue;
	ListCell	 *cell;

	memcpy(&role, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), role, 0);
	pgstat_report_appname("databricks schedules");
	context = AllocSetContextCreate(TopMemoryContext, "databricks schedules",
									ALLOCSET_DEFAULT_SIZES);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	overdue = dbx_schedules_overdue();
	PopActiveSnapshot();
	CommitTransactionCommand();

	foreach(cell, overdue)
	{
		DbxOverdue *entry = lfirst(cell);
		ErrorData  *error;

		if (entry->owner != role)
			continue;
		MemoryContextSwitchTo(context);
		error = dbx_session_try(tick_one, &entry->id);
		if (error != NULL)
			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("schedule " INT64_FORMAT
							" could not make up for missed ticks: %s",
							entry->id, dbx_session_error_text(error))));
	}
	proc_exit(0);
}

static void
tick_one(void *arg)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "making up for missed ticks");
	(void) dbx_schedule_tick(*(int64 *) arg, GetCurrentTimestamp());
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true);
}
