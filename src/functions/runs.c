/*
 * runs.c
 *	  SQL entry points that start runs and wait for them.
 *
 * A file per area of the service, as in the SQL script.  The procedure differs
 * from the function in one thing: it commits before each pause.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "api/guard.h"
#include "api/job.h"
#include "api/resource.h"
#include "api/wait.h"
#include "functions/args.h"
#include "http/http.h"
#include "worker/known.h"

PG_FUNCTION_INFO_V1(databricks_run_now);
PG_FUNCTION_INFO_V1(databricks_run_now_by_name);
PG_FUNCTION_INFO_V1(databricks_submit_run);
PG_FUNCTION_INFO_V1(databricks_wait_for_run);
PG_FUNCTION_INFO_V1(databricks_wait_for_runs);
PG_FUNCTION_INFO_V1(databricks_run_and_wait);
PG_FUNCTION_INFO_V1(databricks_run_and_wait_by_name);
PG_FUNCTION_INFO_V1(databricks_await_run);

/* A cancel has to act within a second, the request to the service included. */
#define CANCEL_ON_INTERRUPT_MS 800
#define CANCEL_ON_TIMEOUT_MS   10000

/* Where the first end is enough, it waits so long for looks under way. */
#define ANY_GRACE_MS 1000

/* What a wait was asked to do. */
typedef struct WaitOptions
{
	TimestampTz deadline;
	bool		raise_on_failure;
	bool		cancel_on_timeout;
	bool		cancel_on_interrupt;
} WaitOptions;

/*
 * Start a run as arguments 0 to 3 say (job, job_parameters, options, token),
 * argument "workspace_arg" being the workspace.
 */
static int64
start_run(FunctionCallInfo fcinfo, bool by_name, const char *caller,
		  const DbxWorkspace *workspace)
{
	Jsonb *job_parameters = DBX_ARG_JSONB(1);
	Jsonb *options = DBX_ARG_JSONB(2);
	char  *token = dbx_arg_text(fcinfo, 3);
	char  *used_token;
	char  *members;
	int64  job_id;

	/* what is wrong with the arguments is said before anything is called */
	members = dbx_run_now_members(job_parameters, options, token, &used_token);
	job_id = by_name ? dbx_job_find(workspace, dbx_arg_text(fcinfo, 0), caller)
					 : PG_GETARG_INT64(0);
	return dbx_run_start(workspace, "run-now",
						 dbx_run_now_body(job_id, members), used_token, caller);
}

Datum
databricks_run_now(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "job_id");
	PG_RETURN_INT64(
		start_run(fcinfo, false, "run_now", dbx_arg_workspace(fcinfo, 4)));
}

Datum
databricks_run_now_by_name(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "job_name");
	PG_RETURN_INT64(
		start_run(fcinfo, true, "run_now", dbx_arg_workspace(fcinfo, 4)));
}

Datum
databricks_submit_run(PG_FUNCTION_ARGS)
{
	char *token;
	char *body;

	dbx_arg_require(fcinfo, 0, "settings");
	body = dbx_submit_body(PG_GETARG_JSONB_P(0), dbx_arg_text(fcinfo, 1),
						   &token);
	PG_RETURN_INT64(dbx_run_start(dbx_arg_workspace(fcinfo, 2), "runs/submit",
								  body, token, "submit_run"));
}

/* Columns of run_result that the column descriptors of runs know. */
static const char *const result_columns[] = {
	"run_id",		"job_id",			"run_name",			"state",
	"result_state", "termination_code", "termination_type", "state_message",
	NULL,			"start_time",		"end_time",			"run_duration",
	"run_page_url"};

#define FAILED_TASKS_COLUMN 8

static HeapTuple
make_result(FunctionCallInfo fcinfo, const DbxWait *wait, Jsonb *failed_tasks)
{
	Datum	  values[lengthof(result_columns)];
	bool	  nulls[lengthof(result_columns)];
	TupleDesc desc;
	int		  i;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(result_columns))
		elog(ERROR, "unexpected result type");
	for (i = 0; i < (int) lengthof(result_columns); i++)
	{
		nulls[i] = true;
		values[i] = (Datum) 0;
		if (result_columns[i] != NULL && wait->run != NULL)
			values[i] = dbx_resource_value(
				&dbx_resource_runs.columns[dbx_resource_column(
					&dbx_resource_runs, result_columns[i])],
				wait->run, wait->workspace->name, &nulls[i]);
	}
	if (wait->run == NULL)
	{
		values[0] = Int64GetDatum(wait->run_id);
		nulls[0] = false;
	}
	if (failed_tasks != NULL)
	{
		values[FAILED_TASKS_COLUMN] = JsonbPGetDatum(failed_tasks);
		nulls[FAILED_TASKS_COLUMN] = false;
	}
	return heap_form_tuple(BlessTupleDesc(desc), values, nulls);
}

static const char *
end_words(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_RUN_CANCELED:
			return "was cancelled";
		case ERRCODE_RUN_TIMED_OUT:
			return "timed out";
		case ERRCODE_RUN_SKIPPED:
			return "was skipped";
		case ERRCODE_RUN_PLATFORM_FAULT:
			return "ended by a fault of the platform";
		default:
			return "failed";
	}
}

/* The run is over: raise or warn as its end asks for. */
static Jsonb *
judge_end(const DbxWait *wait, bool raise)
{
	const DbxRunState *state = &wait->state;
	const char *name = dbx_json_string(dbx_json_get(wait->run, "run_name"));
	const char *url = dbx_json_string(dbx_json_get(wait->run, "run_page_url"));
	Jsonb	   *failed;
	char	   *text;

	if (state->success && !state->with_failures)
		return NULL;
	failed = dbx_wait_failed_tasks(wait, &text);
	if (state->success)
		ereport(WARNING,
				(errmsg("run " INT64_FORMAT " succeeded with failed tasks",
						wait->run_id),
				 *text ? errdetail_internal("%s", text) : 0));
	else if (raise)
		ereport(ERROR,
				(errcode(state->sqlstate),
				 errmsg("run " INT64_FORMAT "%s%s%s %s%s%s", wait->run_id,
						name ? " of \"" : "", name ? name : "", name ? "\"" : "",
						end_words(state->sqlstate), state->message ? ": " : "",
						state->message ? dbx_redact(state->message) : ""),
				 *text ? errdetail_internal("%s", text) : 0,
				 url ? errhint("See %s", url) : 0));
	return failed;
}

static void
judge_timeout(const DbxWait *wait, const WaitOptions *options)
{
	if (options->raise_on_failure)
		ereport(
			ERROR,
			(errcode(ERRCODE_RUN_WAIT_TIMED_OUT),
			 errmsg("run " INT64_FORMAT
					" is not over yet, the wait for it timed out",
					wait->run_id),
			 errdetail("Last seen state: %s.",
					   wait->state.state ? wait->state.state : "none"),
			 options->cancel_on_timeout
				 ? errhint("The run is being cancelled.")
				 : errhint("The run goes on; wait again with databricks.wait_for_run(" INT64_FORMAT
						   ").",
						   wait->run_id)));
}

/*
 * Begin to look at a run, if the tracker of this database has not seen since the
 * last look that there is nothing new.
 */
static void
begin_look(DbxWait *wait)
{
	TimestampTz at = 0;

	if (wait->run != NULL && !wait->state.over)
		at = dbx_known_active(wait->workspace->name, wait->run_id,
							  wait->looked_at, wait->state.state,
							  dbx_wait_tasks_done(wait));
	if (at == 0)
		dbx_wait_look(wait);
	else
		dbx_wait_seen_active(wait, at);
}

/* Look once.  True: there is no need to look again. */
static bool
look(DbxWait *wait)
{
	begin_look(wait);
	while (wait->get != NULL && !dbx_wait_looked(wait))
		(void) dbx_calls_progress(wait->until);
	return wait->state.over || dbx_wait_timed_out(wait);
}

static void
wait_for_end(void *arg)
{
	DbxWait *wait = arg;

	while (!look(wait))
		dbx_http_sleep_until(dbx_wait_next_look(wait));
}

/* The same with each pause outside of any snapshot. */
static void
wait_for_end_committing(void *arg)
{
	DbxWait *wait = arg;

	while (!look(wait))
	{
		SPI_commit();
		dbx_http_sleep_until(dbx_wait_next_look(wait));
	}
}

static void
cancel_run(void *arg)
{
	dbx_wait_cancel_runs(arg, 1, CANCEL_ON_INTERRUPT_MS);
}

/* The wait for a run has come to its end, as has the run, or not. */
static Jsonb *
judge(DbxWait *wait, const WaitOptions *options)
{
	if (wait->state.over)
	{
		dbx_wait_fetch_errors(wait, 1);
		return judge_end(wait, options->raise_on_failure);
	}
	if (options->cancel_on_timeout)
		dbx_wait_cancel_runs(wait, 1, CANCEL_ON_TIMEOUT_MS);
	judge_timeout(wait, options);
	return NULL;
}

/* Arguments timeout, raise_on_failure, cancel_on_timeout, cancel_on_interrupt. */
static WaitOptions
read_options(FunctionCallInfo fcinfo, int first)
{
	WaitOptions options;

	options.deadline = 0;
	if (!PG_ARGISNULL(first))
		options.deadline = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval,
								TimestampTzGetDatum(GetCurrentTimestamp()),
								PG_GETARG_DATUM(first)));
	options.raise_on_failure = PG_ARGISNULL(first + 1) ||
		PG_GETARG_BOOL(first + 1);
	options.cancel_on_timeout = !PG_ARGISNULL(first + 2) &&
		PG_GETARG_BOOL(first + 2);
	options.cancel_on_interrupt = !PG_ARGISNULL(first + 3) &&
		PG_GETARG_BOOL(first + 3);
	return options;
}

static Datum
wait_and_return(FunctionCallInfo fcinfo, const DbxWorkspace *workspace,
				int64 run_id, const WaitOptions *options, const char *caller)
{
	DbxWait wait;

	dbx_wait_begin(&wait, workspace, run_id, options->deadline, caller);
	dbx_guard_cancel(wait_for_end,
					 options->cancel_on_interrupt ? cancel_run : NULL, &wait);
	return HeapTupleGetDatum(make_result(fcinfo, &wait, judge(&wait, options)));
}

Datum
databricks_wait_for_run(PG_FUNCTION_ARGS)
{
	WaitOptions options = read_options(fcinfo, 1);

	dbx_arg_require(fcinfo, 0, "run_id");
	return wait_and_return(fcinfo, dbx_arg_workspace(fcinfo, 5),
						   PG_GETARG_INT64(0), &options, "wait_for_run");
}

/* Several runs waited for by one statement. */
typedef struct ManyWaits
{
	int			 count;
	DbxWait		*waits;
	TimestampTz *due;	  /* of the next look, DT_NOEND: there is none */
	int			 places;  /* looks that may be under way */
	int			 looking; /* those that are */
	int			 turn;	  /* whose is next */
	int			 open;	  /* runs that another look is to come for */
	int			 over;
	bool		 any;	  /* the first end is enough */
	TimestampTz	 over_at; /* the first end */
} ManyWaits;

/* The runs of an array, each once. */
static void
begin_waits(ManyWaits *many, ArrayType *run_ids, const DbxWorkspace *workspace,
			TimestampTz deadline)
{
	HASHCTL control = {0};
	HTAB   *known;
	Datum  *ids;
	bool   *nulls;
	int		count;
	int		i;

	deconstruct_array(run_ids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &ids, &nulls, &count);
	many->waits = palloc0(sizeof(DbxWait) * Max(count, 1));
	many->due = palloc0(sizeof(TimestampTz) * Max(count, 1));
	many->places = workspace->max_parallel;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = CurrentMemoryContext;
	known = hash_create("databricks runs waited for", Max(count, 1), &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (i = 0; i < count; i++)
	{
		int64 run_id = DatumGetInt64(ids[i]);
		bool  twice;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("run_ids must not hold nulls")));
		(void) hash_search(known, &run_id, HASH_ENTER, &twice);
		if (!twice)
			dbx_wait_begin(&many->waits[many->count++], workspace, run_id,
						   deadline, "wait_for_runs");
	}
	hash_destroy(known);
	many->open = many->count;
}

/* A look at a run has ended, or was not needed. */
static void
plan_look(ManyWaits *many, int number)
{
	DbxWait *wait = &many->waits[number];

	if (wait->state.over && many->over++ == 0)
		many->over_at = GetCurrentTimestamp();
	many->due[number] = dbx_wait_next_look(wait);
	if (wait->state.over || dbx_wait_timed_out(wait))
	{
		many->due[number] = DT_NOEND;
		many->open--;
	}
}

/* With the first end being enough, each run is still looked at once. */
static bool
is_due(const ManyWaits *many, int number)
{
	const DbxWait *wait = &many->waits[number];

	return wait->get == NULL && many->due[number] <= GetCurrentTimestamp() &&
		!(many->any && many->over > 0 && wait->looks > 0);
}

/* Begin what looks are due and have a place, one run after the other. */
static void
begin_looks(ManyWaits *many)
{
	int left;

	for (left = many->count; left > 0 && many->looking < many->places; left--)
	{
		int number = many->turn;

		many->turn = (number + 1) % many->count;
		if (!is_due(many, number))
			continue;
		begin_look(&many->waits[number]);
		if (many->waits[number].get != NULL)
			many->looking++;
		else
			plan_look(many, number);
	}
}

/* Collect the looks that have ended. */
static void
end_looks(ManyWaits *many)
{
	int i;

	for (i = 0; i < many->count; i++)
	{
		if (many->waits[i].get == NULL || !dbx_wait_looked(&many->waits[i]))
			continue;
		many->looking--;
		plan_look(many, i);
	}
}

/* When something is to be done even if no call ends; DT_NOEND: never. */
static TimestampTz
next_event(const ManyWaits *many)
{
	TimestampTz next = DT_NOEND;
	int			i;

	for (i = 0; i < many->count; i++)
	{
		const DbxWait *wait = &many->waits[i];

		if (wait->get != NULL && wait->until != 0)
			next = Min(next, wait->until);
		else if (wait->get == NULL && many->looking < many->places)
			next = Min(next, many->due[i]);
	}
	return next;
}

/*
 * Look at the runs, as many at a time as there may be calls, until enough of them
 * are over, or the time is.  Each has its own pace, so none waits for the others.
 */
static void
wait_for_ends(void *arg)
{
	ManyWaits *many = arg;

	for (;;)
	{
		bool		enough;
		TimestampTz next;

		CHECK_FOR_INTERRUPTS();
		end_looks(many);
		begin_looks(many);
		enough = many->any && many->over > 0;
		if (many->open == 0 || (enough && many->looking == 0))
			return;
		next = next_event(many);
		if (enough)
			next = many->over_at + ANY_GRACE_MS * INT64CONST(1000);
		if (enough && next <= GetCurrentTimestamp())
			return;
		(void) dbx_calls_progress(next == DT_NOEND ? 0 : next);
	}
}

static void
cancel_waits(ManyWaits *many, int patience_ms)
{
	dbx_wait_cancel_runs(many->waits, many->count, patience_ms);
}

/* The runs up to the first one that raises. */
static int
count_judged(const ManyWaits *many, const WaitOptions *options)
{
	int i;

	for (i = 0; i < many->count; i++)
	{
		if (options->raise_on_failure && many->waits[i].state.over &&
			!many->waits[i].state.success)
			return i + 1;
	}
	return many->count;
}

static void
cancel_waits_now(void *arg)
{
	cancel_waits(arg, CANCEL_ON_INTERRUPT_MS);
}

Datum
databricks_wait_for_runs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	WaitOptions	   options = read_options(fcinfo, 2);
	char		  *mode = dbx_arg_text(fcinfo, 1);
	ManyWaits	   many = {0};
	bool		   enough;
	int			   i;

	dbx_arg_require(fcinfo, 0, "run_ids");
	if (mode != NULL && strcmp(mode, "all") != 0 && strcmp(mode, "any") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mode: \"%s\"", mode),
				 errhint("Valid are all and any.")));
	many.any = mode != NULL && strcmp(mode, "any") == 0;
	begin_waits(&many, PG_GETARG_ARRAYTYPE_P(0), dbx_arg_workspace(fcinfo, 6),
				options.deadline);
	InitMaterializedSRF(fcinfo, 0);
	dbx_guard_cancel(wait_for_ends,
					 options.cancel_on_interrupt ? cancel_waits_now : NULL,
					 &many);
	for (i = 0; i < many.count; i++)
		dbx_wait_give_up(&many.waits[i]);
	enough = many.any && many.over > 0;
	if (options.cancel_on_timeout && !enough)
		cancel_waits(&many, CANCEL_ON_TIMEOUT_MS);
	dbx_wait_fetch_errors(many.waits, count_judged(&many, &options));
	for (i = 0; i < many.count; i++)
	{
		DbxWait *wait = &many.waits[i];
		Jsonb	*failed = NULL;

		if (wait->state.over)
			failed = judge_end(wait, options.raise_on_failure);
		else if (enough)
			continue;
		else
			judge_timeout(wait, &options);
		tuplestore_puttuple(set->setResult, make_result(fcinfo, wait, failed));
	}
	return (Datum) 0;
}

static Datum
run_and_wait(FunctionCallInfo fcinfo, bool by_name)
{
	WaitOptions	  options = read_options(fcinfo, 4);
	DbxWorkspace *workspace;
	int64		  run_id;

	dbx_arg_require(fcinfo, 0, by_name ? "job_name" : "job_id");
	workspace = dbx_arg_workspace(fcinfo, 8);
	run_id = start_run(fcinfo, by_name, "run_and_wait", workspace);
	ereport(NOTICE, (errmsg("run " INT64_FORMAT " started", run_id)));
	return wait_and_return(fcinfo, workspace, run_id, &options, "run_and_wait");
}

Datum
databricks_run_and_wait(PG_FUNCTION_ARGS)
{
	return run_and_wait(fcinfo, false);
}

Datum
databricks_run_and_wait_by_name(PG_FUNCTION_ARGS)
{
	return run_and_wait(fcinfo, true);
}

Datum
databricks_await_run(PG_FUNCTION_ARGS)
{
	CallContext	 *call = castNode(CallContext, fcinfo->context);
	WaitOptions	  options = read_options(fcinfo, 1);
	MemoryContext context;
	MemoryContext before;
	DbxWorkspace *workspace;
	DbxWait		  wait;

	dbx_arg_require(fcinfo, 0, "run_id");
	if (call->atomic)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg(
				 "await_run cannot be called inside a transaction block or a function"),
			 errdetail("It commits while it waits."),
			 errhint("Use databricks.wait_for_run() there.")));

	/* the portal's context outlives the commits between the looks */
	context = AllocSetContextCreate(PortalContext, "databricks await_run",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	workspace = dbx_arg_workspace(fcinfo, 5);
	dbx_wait_begin(&wait, workspace, PG_GETARG_INT64(0), options.deadline,
				   "await_run");
	MemoryContextSwitchTo(before);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	MemoryContextSwitchTo(context);
	dbx_guard_cancel(wait_for_end_committing,
					 options.cancel_on_interrupt ? cancel_run : NULL, &wait);
	(void) judge(&wait, &options);
	SPI_finish();
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
