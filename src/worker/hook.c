/*
 * hook.c
 *	  SQL that requests want to be run when they have ended.
 *
 * It runs in a process of its own that is connected as the role that made the
 * request.  Switching the user id in the worker would not do: deferred triggers
 * fire at the commit, and SET SESSION AUTHORIZATION leads back.  Here there is
 * nothing to lead back to.
 *
 * The row is marked in the same transaction, before the SQL: so it takes effect
 * exactly once, and whoever dies in between has done nothing.  An error becomes
 * the end of the request, in a transaction after it; unless others were in the
 * way, then it is run again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "compat.h"
#include "guc.h"
#include "http/http.h"
#include "worker/dispatcher.h"
#include "worker/history.h"
#include "worker/hook.h"
#include "worker/migrate.h"
#include "worker/pause.h"
#include "worker/session.h"
#include "worker/shared.h"
#include "worker/worker.h"

/*
 * Processes at a time, and for one role: background worker slots are scarce, and
 * one role's slow SQL must not keep that of others waiting.
 */
#define MOST_PROCESSES	  3
#define MOST_FOR_ONE_ROLE 2

/* When there was no slot, or the process ended without a word. */
#define RETRY_USECS	  (2 * USECS_PER_SEC)
#define MOST_FAILURES 10

/* One piece of SQL that is to be run. */
typedef struct Hook
{
	int64					request_id;
	Oid						roleid; /* InvalidOid: there is no such role */
	BackgroundWorkerHandle *handle; /* NULL: not running */
	int						failures;
	TimestampTz				retry_at;
	bool					listed;
} Hook;

static List *hooks = NIL; /* of Hook *, in TopMemoryContext */

/* What is checked when a request is made. */
typedef struct Argument
{
	const char *what;
	const char *sql;
} Argument;

static void	 argument_error_callback(void *arg);
static bool	 still_running(Hook *hook);
static bool	 has_its_share(Oid roleid);
static bool	 start_process(const Hook *hook, BackgroundWorkerHandle **handle);
static void	 give_up(void *arg);
static void	 begin_transaction(void);
static void	 run_sql(void *arg);
static void	 mark_failed(void *arg);
static char *begin_hook(int64 request_id, int64 *run_id,
						const DbxExtension *extension);
static void	 settle(int64 request_id, const char *error,
					const DbxExtension *extension);
static bool	 execute(const char *sql, int nargs, Oid *types, Datum *values,
					 const char *nulls);

void
dbx_hook_check_role(Oid roleid)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(roleid));
	bool	  may_login;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for role %u", roleid);
	may_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!may_login && !DBX_WORKER_MAY_BE_ANY_ROLE)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("role \"%s\" cannot log in, so no SQL can be run as it when the request has ended",
					GetUserNameFromId(roleid, false)),
			 errhint(
				 "Make the request as a role with LOGIN, without on_success and on_failure, or use PostgreSQL 17 or newer.")));
}

void
dbx_hook_check_sql(const char *what, const char *sql)
{
	Argument			 argument = {what, sql};
	ErrorContextCallback callback;
	List				*statements;
	ListCell			*cell;

	callback.callback = argument_error_callback;
	callback.arg = &argument;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	statements = raw_parser(sql, RAW_PARSE_DEFAULT);
	error_context_stack = callback.previous;

	foreach(cell, statements)
	{
		Node	   *statement = lfirst_node(RawStmt, cell)->stmt;
		const char *problem = NULL;

		if (IsA(statement, TransactionStmt))
			problem = "It is run in a transaction of its own, as a whole.";
		else if (IsA(statement, CopyStmt) &&
				 ((CopyStmt *) statement)->filename == NULL)
			problem = "There is no client to copy from or to.";
		if (problem != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s cannot be used in %s",
							IsA(statement, CopyStmt)
								? "COPY FROM STDIN and COPY TO STDOUT"
								: "commands of transactions",
							what),
					 errdetail("%s", problem)));
	}
}

/* The place of a syntax error is one in the argument, not in the query. */
static void
argument_error_callback(void *arg)
{
	Argument *argument = arg;
	int		  place = geterrposition();

	if (place > 0)
	{
		errposition(0);
		internalerrposition(place);
		internalerrquery(argument->sql);
	}
	errcontext("SQL of %s", argument->what);
}

/* ---- in the worker ---- */

void
dbx_hook_load(void)
{
	ListCell *cell;

	foreach(cell, hooks)
		((Hook *) lfirst(cell))->listed = false;
	if (execute("SELECT r.request_id, r.requested_by, r.workspace"
				" FROM databricks.run_requests AS r WHERE r.hook IS NOT NULL"
				" ORDER BY row_number() OVER (PARTITION BY r.requested_by"
				"  ORDER BY r.request_id), r.request_id LIMIT 100",
				0, NULL, NULL, NULL))
	{
		SPITupleTable *rows = SPI_tuptable;
		uint64		   count = SPI_processed;

		for (uint64 i = 0; i < count; i++)
		{
			HeapTuple tuple = rows->vals[i];
			TupleDesc desc = rows->tupdesc;
			bool	  isnull;
			int64 id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
			Hook *hook = NULL;
			bool  copied;

			/* A copy does no more than look, until it is told to. */
			(void) dbx_pause_reason(SPI_getvalue(tuple, desc, 3), &copied);
			if (copied)
				continue;
			foreach(cell, hooks)
			{
				if (((Hook *) lfirst(cell))->request_id == id)
					hook = lfirst(cell);
			}
			if (hook == NULL)
			{
				MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

				hook = palloc0(sizeof(Hook));
				hook->request_id = id;
				hooks = lappend(hooks, hook);
				MemoryContextSwitchTo(before);
			}
			hook->listed = true;
			hook->roleid = get_role_oid(SPI_getvalue(tuple, desc, 2), true);
		}
	}
	foreach(cell, hooks)
	{
		Hook *hook = lfirst(cell);

		if (!hook->listed && hook->handle == NULL)
		{
			hooks = foreach_delete_current(hooks, cell);
			pfree(hook);
		}
	}
}

TimestampTz
dbx_hook_run(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = 0;
	int			running = 0;
	ListCell   *cell;

	foreach(cell, hooks)
	{
		Hook *hook = lfirst(cell);

		if (still_running(hook))
			running++;
	}
	foreach(cell, hooks)
	{
		Hook *hook = lfirst(cell);

		if (hook->handle != NULL || running >= MOST_PROCESSES ||
			has_its_share(hook->roleid))
			continue;
		if (hook->retry_at <= now)
		{
			if (!OidIsValid(hook->roleid) || hook->failures >= MOST_FAILURES)
			{
				ErrorData *error = dbx_session_try(give_up, hook);

				if (error != NULL)
					ereport(WARNING,
							(errmsg("databricks worker: %s",
									dbx_session_error_text(error))));
				dbx_dispatcher_look_again();
				hook->retry_at = now + RETRY_USECS;
			}
			else if (start_process(hook, &hook->handle))
			{
				running++;
				continue;
			}
			else
				hook->retry_at = now + RETRY_USECS;
		}
		if (next == 0 || hook->retry_at < next)
			next = hook->retry_at;
	}
	return next;
}

static bool
has_its_share(Oid roleid)
{
	int		  running = 0;
	ListCell *cell;

	foreach(cell, hooks)
	{
		Hook *hook = lfirst(cell);

		if (hook->handle != NULL && hook->roleid == roleid)
			running++;
	}
	return running >= MOST_FOR_ONE_ROLE;
}

bool
dbx_hook_busy(void)
{
	return hooks != NIL;
}

/*
 * Has its process ended, then the table is to be looked at: what is still there
 * has come to nothing.
 */
static bool
still_running(Hook *hook)
{
	pid_t pid;

	if (hook->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(hook->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(hook->handle);
	hook->handle = NULL;
	hook->failures++;
	hook->retry_at = GetCurrentTimestamp() + RETRY_USECS;
	dbx_dispatcher_look_again();
	return false;
}

static bool
start_process(const Hook *hook, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;
	MemoryContext	 before = MemoryContextSwitchTo(TopMemoryContext);
	bool			 result;
	Oid				 oids[2] = {MyDatabaseId, hook->roleid};

	dbx_worker_describe(&worker, "dbx_hook_main", "databricks request");
	snprintf(worker.bgw_name, BGW_MAXLEN, "databricks request " INT64_FORMAT,
			 hook->request_id);
	worker.bgw_main_arg = Int64GetDatum(hook->request_id);
	memcpy(worker.bgw_extra, oids, sizeof(oids));
	result = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(before);
	return result;
}

/* It cannot be run at all. */
static void
give_up(void *arg)
{
	Hook		*hook = arg;
	DbxExtension extension;

	if (!dbx_session_begin())
		return;
	if (dbx_extension_find(&extension))
		settle(hook->request_id,
			   OidIsValid(hook->roleid)
				   ? psprintf(
						 "%d processes for it came to nothing, see the log of the server",
						 MOST_FAILURES)
				   : "the role that made the request does not exist",
			   &extension);
	dbx_session_commit();
}

/* ---- in the process of its own ---- */

typedef struct Work
{
	int64		request_id;
	const char *error;
} Work;

void
dbx_hook_main(Datum arg)
{
	Oid		   oids[2];
	Work	   work = {0};
	ErrorData *error;

	memcpy(oids, MyBgworkerEntry->bgw_extra, sizeof(oids));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(oids[0], oids[1],
											  DBX_WORKER_ANY_ROLE_FLAG);
	pgstat_report_appname("databricks request");

	work.request_id = DatumGetInt64(arg);
	error = dbx_session_try(run_sql, &work);
	disable_all_timeouts(false);
	if (error != NULL &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
		/* Others were in the way: the worker starts another process. */
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("SQL of request " INT64_FORMAT " is to be run again: %s",
						work.request_id, dbx_session_error_text(error))));
	else if (error != NULL && error->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN)
	{
		work.error = dbx_session_error_text(error);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("SQL of request " INT64_FORMAT " failed: %s",
						work.request_id, work.error)));
		error = dbx_session_try(mark_failed, &work);
		if (error != NULL)
			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("the end of request " INT64_FORMAT
							" could not be written: %s",
							work.request_id, dbx_session_error_text(error))));
	}
	proc_exit(0);
}

/* In which the row can be marked, whatever is set for the role. */
static void
begin_transaction(void)
{
	bool read_only = DefaultXactReadOnly;

	SetCurrentStatementStartTimestamp();
	DefaultXactReadOnly = false;
	StartTransactionCommand();
	DefaultXactReadOnly = read_only;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

static void
run_sql(void *arg)
{
	Work		*work = arg;
	DbxExtension extension;
	char		*sql;
	int64		 run_id;

	begin_transaction();
	if (dbx_extension_find(&extension) && dbx_data_exists(&extension))
	{
		sql = begin_hook(work->request_id, &run_id, &extension);
		if (sql != NULL)
		{
			Oid	  types[] = {INT8OID, INT8OID};
			Datum values[2];
			char  nulls[] = "  ";

			values[0] = Int64GetDatum(work->request_id);
			values[1] = Int64GetDatum(run_id);
			if (run_id == 0)
				nulls[1] = 'n';
			pgstat_report_activity(STATE_RUNNING, sql);
			dbx_api_forbidden = "on_success or on_failure of a request";
			XactReadOnly = DefaultXactReadOnly;
			if (dbx_guc_hook_timeout > 0)
				enable_timeout_after(STATEMENT_TIMEOUT, dbx_guc_hook_timeout);
			(void) execute(sql, 2, types, values, nulls);
		}
	}
	SPI_finish();
	PopActiveSnapshot();
	/* Deferred triggers and constraints are part of it, as is their time. */
	CommitTransactionCommand();
}

static void
mark_failed(void *arg)
{
	Work		*work = arg;
	DbxExtension extension;

	begin_transaction();
	if (dbx_extension_find(&extension) && dbx_data_exists(&extension))
		settle(work->request_id, work->error, &extension);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	dbx_shared_wake(MyDatabaseId);
}

/*
 * Mark the row as done and return what is to be run; NULL: nothing any more.
 */
static char *
begin_hook(int64 request_id, int64 *run_id, const DbxExtension *extension)
{
	DbxDataRole role;
	Oid			types[] = {INT8OID};
	Datum		values[1];
	char	   *sql = NULL;
	bool		isnull;

	values[0] = Int64GetDatum(request_id);
	dbx_data_enter(extension, &role);
	if (execute("SELECT CASE r.hook WHEN 'on_success' THEN r.on_success"
				"  ELSE r.on_failure END, r.run_id"
				" FROM databricks.run_requests AS r"
				" WHERE r.request_id = $1 AND r.hook IS NOT NULL FOR UPDATE",
				1, types, values, NULL))
	{
		sql = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		*run_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 2, &isnull));
		if (isnull)
			*run_id = 0;
		settle(request_id, NULL, extension);
	}
	dbx_data_leave(&role);
	return sql;
}

/*
 * The SQL was run, or came to nothing because of "error".  What was to follow a
 * success makes the request fail then, which may be followed by SQL, too.
 */
static void
settle(int64 request_id, const char *error, const DbxExtension *extension)
{
	DbxDataRole role;
	Oid			types[] = {INT8OID, TEXTOID};
	Datum		values[2];
	char		nulls[] = "  ";
	bool		isnull;

	values[0] = Int64GetDatum(request_id);
	values[1] = error ? CStringGetTextDatum(dbx_redact(error)) : (Datum) 0;
	if (error == NULL)
		nulls[1] = 'n';
	dbx_data_enter(extension, &role);
	if (execute("UPDATE databricks.run_requests AS r SET"
				" state = CASE WHEN r.hook = 'on_failure' THEN r.state"
				"  WHEN $2 IS NULL THEN 'succeeded' ELSE 'failed' END,"
				" finished_at = coalesce(r.finished_at, clock_timestamp()),"
				" last_error = CASE WHEN $2 IS NULL THEN r.last_error"
				"  ELSE concat_ws('; ', r.last_error, r.hook || ' failed: ' || $2) END,"
				" hook = CASE WHEN r.hook = 'on_success' AND $2 IS NOT NULL"
				"  AND r.on_failure IS NOT NULL THEN 'on_failure' END"
				" WHERE r.request_id = $1 AND r.hook IS NOT NULL"
				" RETURNING r.workspace, r.run_id, r.job_id::text, r.state,"
				"  r.result_state",
				2, types, values, nulls))
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		int64 run_id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));

		dbx_history_notify(SPI_getvalue(tuple, desc, 1), isnull ? 0 : run_id,
						   SPI_getvalue(tuple, desc, 3), request_id,
						   SPI_getvalue(tuple, desc, 4),
						   SPI_getvalue(tuple, desc, 5), GetCurrentTimestamp());
	}
	dbx_data_leave(&role);
}

static bool
execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, nulls, false,
									   0);

	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("statement cannot be run: %s",
						SPI_result_code_string(result))));
	return SPI_processed > 0;
}
