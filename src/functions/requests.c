/*
 * requests.c
 *	  SQL entry points of the requests: asked for in a transaction, sent later.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/run.h"
#include "compat.h"
#include "functions/args.h"
#include "http/http.h"
#include "worker/outbox.h"

PG_FUNCTION_INFO_V1(databricks_enqueue_run_now);
PG_FUNCTION_INFO_V1(databricks_enqueue_run_now_by_name);
PG_FUNCTION_INFO_V1(databricks_enqueue_submit);
PG_FUNCTION_INFO_V1(databricks_cancel_request);
PG_FUNCTION_INFO_V1(databricks_retry_request);
PG_FUNCTION_INFO_V1(databricks_wait_for_request);
PG_FUNCTION_INFO_V1(databricks_await_request);

/* A row of this database is looked at, so often costs next to nothing. */
#define LOOK_FIRST_USECS (50 * INT64CONST(1000))
#define LOOK_LAST_USECS	 (1000 * INT64CONST(1000))

/* Is it "repair"? */
static bool
read_retry(const char *retry)
{
	if (strcmp(retry, "repair") == 0)
		return true;
	if (strcmp(retry, "new_run") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for retry: \"%s\"", retry),
				 errhint("Valid values are \"new_run\" and \"repair\".")));
	return false;
}

/* Arguments from request_key to workspace, which all the functions share. */
static void
read_common(FunctionCallInfo fcinfo, int first, DbxEnqueue *request)
{
	request->requester = GetUserId();
	request->request_key = dbx_arg_text(fcinfo, first);
	if (!PG_ARGISNULL(first + 1))
		request->not_before = PG_GETARG_TIMESTAMPTZ(first + 1);
	if (!PG_ARGISNULL(first + 2))
		request->expires_at = PG_GETARG_TIMESTAMPTZ(first + 2);
	dbx_arg_require(fcinfo, first + 3, "max_attempts");
	dbx_arg_require(fcinfo, first + 4, "retry_delay");
	dbx_arg_require(fcinfo, first + 5, "retry");
	request->max_attempts = PG_GETARG_INT32(first + 3);
	if (request->max_attempts == 0)
		request->max_attempts = -1;
	request->retry_delay = PG_GETARG_INTERVAL_P(first + 4);
	request->repair = read_retry(dbx_arg_text(fcinfo, first + 5));
	if (!PG_ARGISNULL(first + 6))
		request->depends_on = PG_GETARG_ARRAYTYPE_P(first + 6);
	request->on_success = dbx_arg_text(fcinfo, first + 7);
	request->on_failure = dbx_arg_text(fcinfo, first + 8);
	if (!PG_ARGISNULL(first + 9))
		request->workspace = NameStr(*PG_GETARG_NAME(first + 9));
}

static Datum
enqueue_run_now(FunctionCallInfo fcinfo, bool by_name)
{
	DbxEnqueue request = {0};

	dbx_arg_require(fcinfo, 0, by_name ? "job_name" : "job_id");
	request.kind = DBX_REQUEST_RUN_NOW;
	if (by_name)
		request.job_name = dbx_arg_text(fcinfo, 0);
	else
		request.job_id = PG_GETARG_INT64(0);
	request.job_parameters = DBX_ARG_JSONB(1);
	request.options = DBX_ARG_JSONB(2);
	read_common(fcinfo, 3, &request);
	PG_RETURN_INT64(dbx_outbox_enqueue(&request));
}

Datum
databricks_enqueue_run_now(PG_FUNCTION_ARGS)
{
	return enqueue_run_now(fcinfo, false);
}

Datum
databricks_enqueue_run_now_by_name(PG_FUNCTION_ARGS)
{
	return enqueue_run_now(fcinfo, true);
}

Datum
databricks_enqueue_submit(PG_FUNCTION_ARGS)
{
	DbxEnqueue request = {0};

	dbx_arg_require(fcinfo, 0, "settings");
	request.kind = DBX_REQUEST_SUBMIT;
	request.settings = PG_GETARG_JSONB_P(0);
	read_common(fcinfo, 1, &request);
	PG_RETURN_INT64(dbx_outbox_enqueue(&request));
}

Datum
databricks_cancel_request(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "request_id");
	PG_RETURN_TEXT_P(cstring_to_text(dbx_outbox_cancel(PG_GETARG_INT64(0))));
}

Datum
databricks_retry_request(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "request_id");
	dbx_outbox_retry(PG_GETARG_INT64(0));
	PG_RETURN_VOID();
}

/* ---- waiting ---- */

/*
 * Wait for the end of a request, or the deadline (0: none).  With "commit" no
 * transaction and no snapshot is held between two looks.
 */
static void
wait_for_end(int64 request_id, TimestampTz deadline, bool commit,
			 DbxRequestLook *look)
{
	int64 delay = LOOK_FIRST_USECS;

	for (;;)
	{
		TimestampTz now;
		TimestampTz next;

		dbx_outbox_look(request_id, look);
		now = GetCurrentTimestamp();
		if (look->finished || (deadline != 0 && now >= deadline))
			return;
		if (look->uncommitted)
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("request " INT64_FORMAT
						" was made by this transaction and cannot be waited for in it",
						request_id),
				 errdetail("It is sent when the transaction has committed."),
				 errhint("Commit, then wait.")));
		dbx_outbox_warn_without_worker();
		next = now + delay;
		delay = Min(delay * 2, LOOK_LAST_USECS);
		if (deadline != 0 && deadline < next)
			next = deadline;
		if (commit)
			SPI_commit();
		dbx_http_sleep_until(next);
	}
}

static TimestampTz
deadline_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return 0;
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval,
							TimestampTzGetDatum(GetCurrentTimestamp()),
							PG_GETARG_DATUM(number)));
}

/* It ended, and not well, for a reason that no run of it tells. */
static void
judge_request(int64 request_id, const DbxRequestLook *look)
{
	int sqlstate = ERRCODE_RUN_FAILED;

	if (strcmp(look->state, "canceled") == 0)
		sqlstate = ERRCODE_RUN_CANCELED;
	else if (strcmp(look->state, "skipped") == 0 ||
			 strcmp(look->state, "expired") == 0)
		sqlstate = ERRCODE_RUN_SKIPPED;
	ereport(
		ERROR,
		(errcode(sqlstate),
		 errmsg("request " INT64_FORMAT " ended %s%s%s", request_id,
				look->state, look->last_error ? ": " : "",
				look->last_error ? look->last_error : ""),
		 errhint(
			 "Its row in run_requests has the attempts and the error; retry_request() makes one attempt more.")));
}

static void
judge_timeout(int64 request_id, const DbxRequestLook *look)
{
	ereport(ERROR,
			(errcode(ERRCODE_RUN_WAIT_TIMED_OUT),
			 errmsg("request " INT64_FORMAT
					" has not ended yet, the wait for it timed out",
					request_id),
			 errdetail("It is %s.", look->state),
			 errhint("It goes on: wait again, or cancel_request().")));
}

/*
 * The result of its run as wait_for_run() tells it, raising if the run did not
 * succeed and "raise".  Memory of the caller's.
 */
static Datum
run_result(const DbxRequestLook *look, bool raise)
{
	Oid				types[] = {INT8OID, BOOLOID, NAMEOID};
	Datum			values[3];
	NameData		workspace;
	HeapTupleHeader result;
	Datum			value;
	bool			isnull;

	namestrcpy(&workspace, look->workspace);
	values[0] = Int64GetDatum(look->run_id);
	values[1] = BoolGetDatum(raise);
	values[2] = NameGetDatum(&workspace);
	SPI_connect();
	if (SPI_execute_with_args(
			"SELECT databricks.wait_for_run($1, raise_on_failure => $2, workspace => $3)",
			3, types, values, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "the result of a run could not be read");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	result = (HeapTupleHeader) SPI_palloc(
		HeapTupleHeaderGetDatumLength(DatumGetHeapTupleHeader(value)));
	memcpy(result, DatumGetHeapTupleHeader(value),
		   HeapTupleHeaderGetDatumLength(DatumGetHeapTupleHeader(value)));
	SPI_finish();
	return HeapTupleHeaderGetDatum(result);
}

/* What can be told of a request without asking about its run. */
static Datum
bare_result(FunctionCallInfo fcinfo, const DbxRequestLook *look)
{
	TupleDesc desc;
	Datum	 *values;
	bool	 *nulls;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type");
	values = palloc0(sizeof(Datum) * desc->natts);
	nulls = palloc(sizeof(bool) * desc->natts);
	memset(nulls, true, sizeof(bool) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);

		if (strcmp(name, "run_id") == 0 && look->run_id != 0)
			values[i] = Int64GetDatum(look->run_id);
		else if (strcmp(name, "state") == 0)
			values[i] = CStringGetTextDatum(look->state);
		else if (strcmp(name, "result_state") == 0 && look->result_state != NULL)
			values[i] = CStringGetTextDatum(look->result_state);
		else if (strcmp(name, "state_message") == 0 && look->last_error != NULL)
			values[i] = CStringGetTextDatum(look->last_error);
		else
			continue;
		nulls[i] = false;
	}
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Is it the run that tells how the request ended? */
static bool
run_tells(const DbxRequestLook *look)
{
	return look->finished && look->run_id != 0 &&
		(strcmp(look->state, "succeeded") == 0 || look->result_state == NULL ||
		 strncmp(look->result_state, "SUCCESS", 7) != 0) &&
		strcmp(look->state, "rejected") != 0;
}

Datum
databricks_wait_for_request(PG_FUNCTION_ARGS)
{
	DbxRequestLook look;
	TimestampTz	   deadline = deadline_argument(fcinfo, 1);
	bool		   raise = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	bool		   cancel = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	int64		   request_id;

	dbx_arg_require(fcinfo, 0, "request_id");
	request_id = PG_GETARG_INT64(0);
	if (IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "cannot wait for a request in a transaction of isolation level repeatable read or serializable"),
			 errdetail("It would never see the request change."),
			 errhint(
				 "Wait in a transaction of isolation level read committed, or CALL databricks.await_request() outside of any.")));
	wait_for_end(request_id, deadline, false, &look);
	if (!look.finished && cancel)
	{
		/* An error would take the cancel back. */
		look.state = pstrdup(dbx_outbox_cancel(request_id));
		ereport(WARNING,
				(errcode(ERRCODE_RUN_WAIT_TIMED_OUT),
				 errmsg("request " INT64_FORMAT
						" has not ended yet, the wait for it timed out",
						request_id),
				 errdetail("It is canceled when this transaction commits.")));
		PG_RETURN_DATUM(bare_result(fcinfo, &look));
	}
	if (run_tells(&look))
		PG_RETURN_DATUM(run_result(&look, raise));
	if (raise && !look.finished)
		judge_timeout(request_id, &look);
	if (raise && strcmp(look.state, "succeeded") != 0)
		judge_request(request_id, &look);
	PG_RETURN_DATUM(bare_result(fcinfo, &look));
}

Datum
databricks_await_request(PG_FUNCTION_ARGS)
{
	CallContext	  *call = castNode(CallContext, fcinfo->context);
	DbxRequestLook look;
	TimestampTz	   deadline = deadline_argument(fcinfo, 1);
	bool		   raise = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	bool		   cancel = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	int64		   request_id;

	dbx_arg_require(fcinfo, 0, "request_id");
	request_id = PG_GETARG_INT64(0);
	if (call->atomic)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg(
				 "await_request cannot be called inside a transaction block or a function"),
			 errdetail("It commits while it waits."),
			 errhint("Use databricks.wait_for_request() there.")));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	wait_for_end(request_id, deadline, true, &look);
	if (!look.finished && cancel)
	{
		(void) dbx_outbox_cancel(request_id);
		SPI_commit();
	}
	if (run_tells(&look))
		(void) run_result(&look, raise);
	else if (raise && !look.finished)
		judge_timeout(request_id, &look);
	else if (raise && strcmp(look.state, "succeeded") != 0)
		judge_request(request_id, &look);
	SPI_finish();
	PG_RETURN_VOID();
}
