/*
 * once.c
 *	  One round of work in a process of its own, for run_worker_once().
 *
 * Without preload there is no launcher, but a process can be started all the
 * same.  It does what the worker does, in the same way, until nothing more can
 * be done now, and leaves.  Where a worker is at work the round is its own.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "api/api.h"
#include "worker/dispatcher.h"
#include "worker/follow.h"
#include "worker/session.h"
#include "worker/shared.h"
#include "worker/tracker.h"
#include "worker/worker.h"

/* Several times in a row this means that it will not get better now. */
#define MOST_ERRORS 3

/* What was sent has been sent, and the runs are looked at. */
static bool following = false;

static void load(void *arg);
static void round_of_work(void *arg);

PG_FUNCTION_INFO_V1(databricks_run_worker_once);

Datum
databricks_run_worker_once(PG_FUNCTION_ARGS)
{
	CallContext			   *call = castNode(CallContext, fcinfo->context);
	BackgroundWorker		worker;
	BackgroundWorkerHandle *handle;
	BgwHandleStatus			status;

	if (call->atomic)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg(
				 "run_worker_once cannot be called inside a transaction block or a function"),
			 errdetail(
				 "What the transaction has done is not seen before it is committed."),
			 errhint("CALL databricks.run_worker_once(); by itself.")));

	/* No snapshot is held while the round is waited for. */
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();

	dbx_worker_describe(&worker, "dbx_worker_once_main", "databricks worker");
	strlcpy(worker.bgw_name, "databricks worker, one round", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg(
				 "no background worker slot for a round of the databricks worker"),
			 errhint("Raise max_worker_processes and restart the server.")));

	PG_TRY();
	{
		status = WaitForBackgroundWorkerShutdown(handle);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (status == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("the postmaster has died")));
	PG_RETURN_VOID();
}

void
dbx_worker_once_main(Datum arg)
{
	MemoryContext context;
	int			  errors = 0;
	bool		  loaded = false;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, dbx_session_interrupted);
	BackgroundWorkerUnblockSignals();
	dbx_worker_connect(DatumGetObjectId(arg));

	context = AllocSetContextCreate(TopMemoryContext, "databricks worker round",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		ErrorData *error;

		if (catchupInterruptPending)
			ProcessCatchupInterrupt();
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		error = dbx_session_try(loaded ? round_of_work : load, NULL);
		if (error != NULL)
		{
			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("databricks worker is in trouble: %s",
							dbx_session_error_text(error))));
			dbx_tracker_abandon();
			dbx_follow_abandon();
			dbx_dispatcher_abandon();
			if (++errors >= MOST_ERRORS)
				break;
			continue;
		}
		if (!loaded)
		{
			loaded = true;
			continue;
		}
		if (dbx_dispatcher_shut_out())
		{
			ereport(
				LOG,
				(errmsg(
					"databricks worker: another process sends the requests of this database")));
			break;
		}
		if (dbx_dispatcher_busy() || !dbx_tracker_round_done())
			continue;

		/* All that could be sent is sent: one look at what runs. */
		if (!following)
			dbx_follow_hurry();
		else if (!dbx_follow_busy())
			break;
		following = true;
	}
	proc_exit(0);
}

static void
load(void *arg)
{
	(void) dbx_tracker_load();
	if (dbx_dispatcher_load() > 0)
		dbx_follow_load();
}

/* What others wait for has to be waited for here, but nothing that is due later. */
static void
round_of_work(void *arg)
{
	TimestampTz next = dbx_worker_round();

	if (dbx_dispatcher_busy() || !dbx_tracker_round_done() ||
		(following && dbx_follow_busy()))
		(void) dbx_calls_progress(next);
}
