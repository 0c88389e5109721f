/*
 * schedules.c
 *	  SQL entry points of the cron evaluator and of schedules.
 *
 * A file per area, as in the SQL script.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "cron/cron.h"
#include "cron/schedule.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_backfill_schedule);
PG_FUNCTION_INFO_V1(databricks_cron_entry);
PG_FUNCTION_INFO_V1(databricks_fire_schedule);
PG_FUNCTION_INFO_V1(databricks_next_tick);
PG_FUNCTION_INFO_V1(databricks_pause_schedule);
PG_FUNCTION_INFO_V1(databricks_resume_schedule);
PG_FUNCTION_INFO_V1(databricks_schedule);
PG_FUNCTION_INFO_V1(databricks_schedule_by_name);
PG_FUNCTION_INFO_V1(databricks_tick_schedule);
PG_FUNCTION_INFO_V1(databricks_ticks);
PG_FUNCTION_INFO_V1(databricks_unschedule);
PG_FUNCTION_INFO_V1(databricks_zone_known);

typedef struct TicksState
{
	DbxCron		*cron;
	const pg_tz *zone;
	TimestampTz	 last; /* the next one is after this */
	TimestampTz	 end;
} TicksState;

static DbxCron *
cron_argument(FunctionCallInfo fcinfo, int number)
{
	dbx_arg_require(fcinfo, number, "cron");
	return dbx_cron_parse(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

static const pg_tz *
zone_argument(FunctionCallInfo fcinfo, int number)
{
	dbx_arg_require(fcinfo, number, "timezone");
	return dbx_cron_zone(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

Datum
databricks_next_tick(PG_FUNCTION_ARGS)
{
	DbxCron		*cron = cron_argument(fcinfo, 0);
	const pg_tz *zone = zone_argument(fcinfo, 2);
	TimestampTz	 tick;

	dbx_arg_require(fcinfo, 1, "after");
	if (!dbx_cron_next(cron, zone, PG_GETARG_TIMESTAMPTZ(1), &tick))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(tick);
}

/* Zone data of a newer system may lack what was known when it was asked for. */
Datum
databricks_zone_known(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) &&
				   pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(0))) != NULL);
}

Datum
databricks_ticks(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	TicksState		*state;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;

		call = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		state = palloc(sizeof(TicksState));
		state->cron = cron_argument(fcinfo, 0);
		dbx_arg_require(fcinfo, 1, "from_time");
		dbx_arg_require(fcinfo, 2, "to_time");
		state->last = PG_GETARG_TIMESTAMPTZ(1);
		state->end = PG_GETARG_TIMESTAMPTZ(2);
		state->zone = zone_argument(fcinfo, 3);
		if (TIMESTAMP_NOT_FINITE(state->last) ||
			TIMESTAMP_NOT_FINITE(state->end))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("from_time and to_time must be finite")));
		state->last--;
		call->user_fctx = state;
		MemoryContextSwitchTo(before);
	}
	call = SRF_PERCALL_SETUP();
	state = call->user_fctx;
	CHECK_FOR_INTERRUPTS();
	if (!dbx_cron_next(state->cron, state->zone, state->last, &state->last) ||
		state->last >= state->end)
		SRF_RETURN_DONE(call);
	SRF_RETURN_NEXT(call, TimestampTzGetDatum(state->last));
}

Datum
databricks_cron_entry(PG_FUNCTION_ARGS)
{
	DbxCron *cron = cron_argument(fcinfo, 0);

	PG_RETURN_TEXT_P(cstring_to_text(
		dbx_cron_widen(cron, zone_argument(fcinfo, 1), dbx_cron_zone("GMT"),
					   GetCurrentTimestamp(), false)));
}

static Datum
schedule(FunctionCallInfo fcinfo, bool by_name)
{
	DbxSchedule definition = {0};

	dbx_arg_require(fcinfo, 0, "name");
	dbx_arg_require(fcinfo, 1, "cron");
	dbx_arg_require(fcinfo, 2, by_name ? "job_name" : "job_id");
	dbx_arg_require(fcinfo, 6, "timezone");
	dbx_arg_require(fcinfo, 7, "overlap");
	dbx_arg_require(fcinfo, 8, "misfire");
	dbx_arg_require(fcinfo, 10, "max_attempts");
	dbx_arg_require(fcinfo, 11, "retry_delay");
	definition.name = dbx_arg_text(fcinfo, 0);
	definition.cron = dbx_arg_text(fcinfo, 1);
	if (by_name)
		definition.job_name = dbx_arg_text(fcinfo, 2);
	else
		definition.job_id = PG_GETARG_INT64(2);
	definition.job_parameters = DBX_ARG_JSONB(3);
	definition.parameters_sql = dbx_arg_text(fcinfo, 4);
	definition.options = DBX_ARG_JSONB(5);
	definition.timezone = dbx_arg_text(fcinfo, 6);
	definition.overlap = dbx_arg_text(fcinfo, 7);
	definition.misfire = dbx_arg_text(fcinfo, 8);
	if (!PG_ARGISNULL(9))
		definition.expires_after = PG_GETARG_INTERVAL_P(9);
	definition.max_attempts = PG_GETARG_INT32(10);
	definition.retry_delay = PG_GETARG_INTERVAL_P(11);
	if (!PG_ARGISNULL(12))
		definition.workspace = pstrdup(NameStr(*PG_GETARG_NAME(12)));
	PG_RETURN_INT64(dbx_schedule_define(&definition));
}

Datum
databricks_schedule(PG_FUNCTION_ARGS)
{
	return schedule(fcinfo, false);
}

Datum
databricks_schedule_by_name(PG_FUNCTION_ARGS)
{
	return schedule(fcinfo, true);
}

Datum
databricks_unschedule(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "name");
	dbx_schedule_remove(dbx_arg_text(fcinfo, 0));
	PG_RETURN_VOID();
}

Datum
databricks_pause_schedule(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "name");
	dbx_schedule_pause(dbx_arg_text(fcinfo, 0));
	PG_RETURN_VOID();
}

Datum
databricks_resume_schedule(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "name");
	dbx_schedule_resume(dbx_arg_text(fcinfo, 0));
	PG_RETURN_VOID();
}

Datum
databricks_fire_schedule(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "name");
	PG_RETURN_INT64(dbx_schedule_fire(dbx_arg_text(fcinfo, 0)));
}

Datum
databricks_tick_schedule(PG_FUNCTION_ARGS)
{
	TimestampTz at = GetCurrentTimestamp();
	int64		request_id;

	dbx_arg_require(fcinfo, 0, "schedule_id");
	if (!PG_ARGISNULL(1))
		at = PG_GETARG_TIMESTAMPTZ(1);
	request_id = dbx_schedule_tick(PG_GETARG_INT64(0), at);
	if (request_id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(request_id);
}

static DbxRerun
rerun_argument(const char *word)
{
	if (strcmp(word, "missing") == 0)
		return DBX_RERUN_MISSING;
	if (strcmp(word, "failed") == 0)
		return DBX_RERUN_FAILED;
	if (strcmp(word, "all") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for rerun: \"%s\"", word),
				 errhint(
					 "Valid values are \"missing\", \"failed\" and \"all\".")));
	return DBX_RERUN_ALL;
}

Datum
databricks_backfill_schedule(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	DbxRerun	   rerun;
	int64		  *ids;
	int			   count;

	dbx_arg_require(fcinfo, 0, "name");
	dbx_arg_require(fcinfo, 1, "start_time");
	dbx_arg_require(fcinfo, 2, "end_time");
	dbx_arg_require(fcinfo, 3, "rerun");
	dbx_arg_require(fcinfo, 4, "max_parallel");
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)) ||
		TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("start_time and end_time must be finite")));
	if (PG_GETARG_INT32(4) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_parallel must be at least 1")));
	rerun = rerun_argument(dbx_arg_text(fcinfo, 3));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	count = dbx_schedule_backfill(dbx_arg_text(fcinfo, 0),
								  PG_GETARG_TIMESTAMPTZ(1),
								  PG_GETARG_TIMESTAMPTZ(2), rerun,
								  PG_GETARG_INT32(4), &ids);
	for (int i = 0; i < count; i++)
	{
		Datum value = Int64GetDatum(ids[i]);
		bool  isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}
