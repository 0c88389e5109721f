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

#include "cron/cron.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_cron_entry);
PG_FUNCTION_INFO_V1(databricks_next_tick);
PG_FUNCTION_INFO_V1(databricks_ticks);

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
