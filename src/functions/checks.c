/*
 * checks.c
 *	  Small functions the SQL wrappers are made of: arguments checked before
 *	  anything is sent, parts of URLs.
 *
 * Separate from args.c, which serves the functions written in C.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "api/permission.h"
#include "functions/args.h"
#include "http/http.h"

PG_FUNCTION_INFO_V1(databricks_check_access_control_list);
PG_FUNCTION_INFO_V1(databricks_check_cluster_size);
PG_FUNCTION_INFO_V1(databricks_check_git_reference);
PG_FUNCTION_INFO_V1(databricks_check_object);
PG_FUNCTION_INFO_V1(databricks_check_one_of);
PG_FUNCTION_INFO_V1(databricks_permissions_path);
PG_FUNCTION_INFO_V1(databricks_url_escape);

Datum
databricks_check_one_of(PG_FUNCTION_ARGS)
{
	char		  *value = dbx_arg_text(fcinfo, 0);
	char		  *name = dbx_arg_text(fcinfo, 1);
	StringInfoData list;
	Datum		  *allowed;
	int			   count;
	int			   i;

	dbx_arg_require(fcinfo, 0, name ? name : "value");
	dbx_arg_require(fcinfo, 2, "allowed");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false,
					  TYPALIGN_INT, &allowed, NULL, &count);
	initStringInfo(&list);
	for (i = 0; i < count; i++)
	{
		char *word = TextDatumGetCString(allowed[i]);

		if (strcmp(word, value) == 0)
			PG_RETURN_DATUM(PG_GETARG_DATUM(0));
		appendStringInfo(&list, "%s%s", i ? ", " : "", word);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s: \"%s\"", name ? name : "value", value),
			 errhint("Valid are %s.", list.data)));
}

Datum
databricks_check_object(PG_FUNCTION_ARGS)
{
	char  *name = dbx_arg_text(fcinfo, 1);
	Jsonb *value;

	dbx_arg_require(fcinfo, 0, name ? name : "value");
	value = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", name ? name : "value")));
	PG_RETURN_JSONB_P(value);
}

Datum
databricks_url_escape(PG_FUNCTION_ARGS)
{
	char *text;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	text = dbx_arg_text(fcinfo, 0);
	PG_RETURN_TEXT_P(cstring_to_text(!PG_ARGISNULL(1) && PG_GETARG_BOOL(1)
										 ? dbx_path_segments(text)
										 : dbx_path_segment(text)));
}

Datum
databricks_check_cluster_size(PG_FUNCTION_ARGS)
{
	bool fixed = !PG_ARGISNULL(0);
	bool least = !PG_ARGISNULL(1);
	bool most = !PG_ARGISNULL(2);

	if (fixed == (least || most) || least != most)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "give either num_workers or both min_workers and max_workers")));
	if (fixed ? PG_GETARG_INT32(0) < 0
			  : PG_GETARG_INT32(1) < 0 || PG_GETARG_INT32(2) < 1 ||
				PG_GETARG_INT32(1) > PG_GETARG_INT32(2))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid number of workers"),
			 errdetail(
				 "It must not be negative, nor min_workers above max_workers.")));
	PG_RETURN_VOID();
}

Datum
databricks_check_git_reference(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) == PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("give either branch or tag")));
	PG_RETURN_VOID();
}

Datum
databricks_permissions_path(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "object_type");
	dbx_arg_require(fcinfo, 1, "object_id");
	PG_RETURN_TEXT_P(cstring_to_text(
		dbx_permission_path(dbx_arg_text(fcinfo, 0), dbx_arg_text(fcinfo, 1))));
}

Datum
databricks_check_access_control_list(PG_FUNCTION_ARGS)
{
	Jsonb *list;

	dbx_arg_require(fcinfo, 0, "object_type");
	dbx_arg_require(fcinfo, 1, "access_control_list");
	list = PG_GETARG_JSONB_P(1);
	dbx_permission_check_list(dbx_arg_text(fcinfo, 0),
							  dbx_json_from_jsonb(list, "access_control_list"),
							  !PG_ARGISNULL(2) && PG_GETARG_BOOL(2));
	PG_RETURN_JSONB_P(list);
}
