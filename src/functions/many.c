/*
 * many.c
 *	  api_many(): a list of calls from SQL, sent in parallel.
 *
 * Separate from api() since a list is checked as a whole before anything of it is
 * sent, and a failed call is a row here, not an error.
 *
 * Answers come in the order in which the service is done with them.  They are
 * sorted by a tuplesort, which goes to disk beyond work_mem: so a slow first call
 * neither holds up the others nor makes their answers pile up in memory.
 */
#include "postgres.h"

#include "catalog/pg_operator_d.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"
#include "utils/tuplestore.h"

#include "api/many.h"
#include "functions/api.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_api_many);

typedef struct ManyCalls
{
	int				count;
	const DbxJson **calls;
	Tuplesortstate *sort;
	TupleTableSlot *slot; /* of a row on its way into the sort */
} ManyCalls;

static void
name_call(void *arg)
{
	errcontext("call %d of api_many", *(int *) arg);
}

static pg_noreturn void
bad_call(int ordinal, const char *why)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("call %d of api_many is not valid", ordinal),
		 errdetail("%s", why),
		 errhint(
			 "A call is an object: {\"method\": \"GET\", \"path\": \"/api/...\", \"body\": {...}}.")));
}

/* The spec of a call that has passed check_call(). */
static void
make_call(void *arg, int number, DbxCallSpec *spec)
{
	const DbxJson *call = ((ManyCalls *) arg)->calls[number];
	const DbxJson *body = dbx_json_get(call, "body");

	dbx_api_fill_spec(spec, dbx_json_string(dbx_json_get(call, "method")),
					  dbx_json_string(dbx_json_get(call, "path")),
					  dbx_json_type(body) == DBX_JSON_NULL ? NULL : body);
	spec->caller = "api_many";
}

static void
check_call(ManyCalls *many, int number)
{
	static const char *const members[] = {"method", "path", "body"};
	const DbxJson			*call = many->calls[number];
	const DbxJson			*member;
	DbxCallSpec				 spec = {0};
	int						 i;

	if (dbx_json_type(call) != DBX_JSON_OBJECT)
		bad_call(number + 1, "It is not an object.");
	for (member = dbx_json_first(call); member; member = dbx_json_next(member))
	{
		for (i = 0; i < (int) lengthof(members); i++)
		{
			if (strcmp(dbx_json_name(member), members[i]) == 0)
				break;
		}
		if (i == (int) lengthof(members))
			bad_call(number + 1,
					 psprintf("It has an unknown member \"%s\".",
							  dbx_json_name(member)));
	}
	for (i = 0; i < 2; i++)
	{
		if (dbx_json_string(dbx_json_get(call, members[i])) == NULL)
			bad_call(number + 1,
					 psprintf("It has no text as member \"%s\".", members[i]));
	}
	make_call(many, number, &spec);
	dbx_call_check(&spec);
}

/* All calls are found good, or none is sent. */
static void
check_calls(ManyCalls *many)
{
	MemoryContext		 scratch;
	MemoryContext		 before;
	ErrorContextCallback callback = {0};
	int					 ordinal;

	scratch = AllocSetContextCreate(CurrentMemoryContext, "databricks check",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(scratch);
	callback.callback = name_call;
	callback.arg = &ordinal;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	for (ordinal = 1; ordinal <= many->count; ordinal++)
	{
		check_call(many, ordinal - 1);
		MemoryContextReset(scratch);
		CHECK_FOR_INTERRUPTS();
	}
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
}

static void
take_call(void *arg, int number, DbxCall *call)
{
	ManyCalls	   *many = arg;
	TupleTableSlot *slot = many->slot;
	char		   *error = NULL;
	DbxJson		   *answer = dbx_call_outcome(call, &error);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, sizeof(bool) * 4);
	slot->tts_values[0] = Int32GetDatum(number + 1);
	slot->tts_values[1] = Int32GetDatum(dbx_call_status(call));
	slot->tts_isnull[1] = dbx_call_status(call) == 0;
	slot->tts_values[2] = answer ? JsonbPGetDatum(dbx_json_to_jsonb(answer))
								 : (Datum) 0;
	slot->tts_isnull[2] = answer == NULL;
	slot->tts_values[3] = error ? CStringGetTextDatum(error) : (Datum) 0;
	slot->tts_isnull[3] = error == NULL;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(many->sort, slot);
	ExecClearTuple(slot);
}

static void
read_calls(ManyCalls *many, Jsonb *argument)
{
	DbxJson		  *list = dbx_json_from_jsonb(argument, "calls");
	const DbxJson *call;

	if (dbx_json_type(list) != DBX_JSON_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("calls must be a JSON array")));
	many->calls = palloc(sizeof(DbxJson *) * (dbx_json_length(list) + 1));
	many->count = 0;
	for (call = dbx_json_first(list); call; call = dbx_json_next(call))
		many->calls[many->count++] = call;
}

Datum
databricks_api_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo  *set = (ReturnSetInfo *) fcinfo->resultinfo;
	AttrNumber		column = 1;
	Oid				less = Int4LessOperator;
	Oid				collation = InvalidOid;
	bool			nulls_first = false;
	ManyCalls		calls = {0};
	DbxMany			many = {0};
	TupleTableSlot *row;

	dbx_arg_require(fcinfo, 0, "calls");
	many.workspace = dbx_arg_workspace(fcinfo, 1);
	read_calls(&calls, PG_GETARG_JSONB_P(0));
	check_calls(&calls);
	InitMaterializedSRF(fcinfo, 0);

	calls.slot = MakeSingleTupleTableSlot(set->setDesc, &TTSOpsVirtual);
	calls.sort = tuplesort_begin_heap(set->setDesc, 1, &column, &less,
									  &collation, &nulls_first, work_mem, NULL,
									  TUPLESORT_NONE);
	many.count = calls.count;
	many.make = make_call;
	many.take = take_call;
	many.arg = &calls;
	dbx_many_run(&many);
	tuplesort_performsort(calls.sort);
	row = MakeSingleTupleTableSlot(set->setDesc, &TTSOpsMinimalTuple);
	while (tuplesort_gettupleslot(calls.sort, true, false, row, NULL))
		tuplestore_puttupleslot(set->setResult, row);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(calls.slot);
	tuplesort_end(calls.sort);
	return (Datum) 0;
}
