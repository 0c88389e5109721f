/*
 * requests.c
 *	  SQL entry points of the requests: asked for in a transaction, sent later.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "functions/args.h"
#include "worker/outbox.h"

PG_FUNCTION_INFO_V1(databricks_enqueue_run_now);
PG_FUNCTION_INFO_V1(databricks_enqueue_run_now_by_name);
PG_FUNCTION_INFO_V1(databricks_enqueue_submit);
PG_FUNCTION_INFO_V1(databricks_cancel_request);
PG_FUNCTION_INFO_V1(databricks_retry_request);

static bool
wants_repair(const char *retry)
{
	if (strcmp(retry, "new_run") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for retry: \"%s\"", retry),
				 errhint("Valid values are \"new_run\".")));
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
	request->repair = wants_repair(dbx_arg_text(fcinfo, first + 5));
	if (!PG_ARGISNULL(first + 6))
		request->depends_on = PG_GETARG_ARRAYTYPE_P(first + 6);
	request->on_success = dbx_arg_text(fcinfo, first + 7);
	request->on_failure = dbx_arg_text(fcinfo, first + 8);
	if (!PG_ARGISNULL(first + 9))
		request->workspace = NameStr(*PG_GETARG_NAME(first + 9));
	if (request->on_success != NULL || request->on_failure != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("on_success and on_failure are not supported")));
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
