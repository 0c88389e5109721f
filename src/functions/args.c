/*
 * args.c
 *	  Arguments of SQL functions: required ones, and the workspace.
 *
 * No function is declared STRICT: a null where a value is needed would silently
 * start nothing.  Separate since all functions need it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_answered);
PG_FUNCTION_INFO_V1(databricks_made);
PG_FUNCTION_INFO_V1(databricks_required);

/* Name of what "value" of the helpers is. */
static char *
arg_name(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(1) ? "value" : text_to_cstring(PG_GETARG_TEXT_PP(1));
}

static void
require(bool isnull, const char *name)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

void
dbx_arg_require(FunctionCallInfo fcinfo, int number, const char *name)
{
	require(PG_ARGISNULL(number), name);
}

char *
dbx_arg_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL
								: text_to_cstring(PG_GETARG_TEXT_PP(number));
}

DbxWorkspace *
dbx_arg_workspace(FunctionCallInfo fcinfo, int number)
{
	return dbx_workspace_resolve(PG_ARGISNULL(number)
									 ? NULL
									 : NameStr(*PG_GETARG_NAME(number)),
								 GetUserId());
}

Datum
databricks_required(PG_FUNCTION_ARGS)
{
	require(PG_ARGISNULL(0), arg_name(fcinfo));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
databricks_answered(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("the answer of the service has no \"%s\"",
						arg_name(fcinfo))));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
databricks_made(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		dbx_api_no_id(arg_name(fcinfo));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}
