/*
 * api.c
 *	  api(), api_pages(), api_object(): any call of the service from SQL.
 *
 * Separate from the other entry points since the SQL catalogue stands on these
 * three.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "functions/api.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_api);
PG_FUNCTION_INFO_V1(databricks_api_pages);
PG_FUNCTION_INFO_V1(databricks_api_object);

/* Append one member of a query: arrays repeat the key, objects get dots. */
static void
add_to_query(StringInfo query, const char *name, const DbxJson *value)
{
	const DbxJson *child;

	check_stack_depth();
	switch (dbx_json_type(value))
	{
		case DBX_JSON_ABSENT:
		case DBX_JSON_NULL:
			break;
		case DBX_JSON_ARRAY:
			for (child = dbx_json_first(value); child;
				 child = dbx_json_next(child))
				add_to_query(query, name, child);
			break;
		case DBX_JSON_OBJECT:
			for (child = dbx_json_first(value); child;
				 child = dbx_json_next(child))
				add_to_query(query,
							 psprintf("%s.%s", name, dbx_json_name(child)),
							 child);
			break;
		default:
			dbx_query_add(query, name, dbx_json_text(value));
			break;
	}
}

/* An object as query string; NULL stays NULL. */
static char *
query_of(const DbxJson *object, const char *name)
{
	StringInfoData query;
	const DbxJson *member;

	if (object == NULL)
		return NULL;
	if (dbx_json_type(object) != DBX_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object here", name),
				 errdetail("Its members become the query string.")));
	initStringInfo(&query);
	for (member = dbx_json_first(object); member; member = dbx_json_next(member))
		add_to_query(&query, dbx_json_name(member), member);
	return query.data;
}

void
dbx_api_fill_spec(DbxCallSpec *spec, const char *method, const char *path,
				  const DbxJson *body)
{
	char *upper = pstrdup(method);
	char *at;

	for (at = upper; *at; at++)
		*at = pg_toupper((unsigned char) *at);
	spec->method = upper;
	spec->path = path;
	if (strcmp(upper, "GET") == 0 || strcmp(upper, "HEAD") == 0 ||
		strcmp(upper, "DELETE") == 0)
		spec->query = query_of(body, "body");
	else if (body != NULL)
		/* written anew: what goes out has no blanks to count against limits */
		spec->body = dbx_json_serialize(body);
	else
		spec->body = "{}";
}

/* An argument of type jsonb, NULL if null. */
static DbxJson *
json_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	Jsonb *value = DBX_ARG_JSONB(number);

	return value ? dbx_json_from_jsonb(value, name) : NULL;
}

Datum
databricks_api(PG_FUNCTION_ARGS)
{
	DbxCallSpec	  spec = {0};
	DbxWorkspace *workspace;

	dbx_arg_require(fcinfo, 0, "method");
	dbx_arg_require(fcinfo, 1, "path");
	workspace = dbx_arg_workspace(fcinfo, 3);
	dbx_api_fill_spec(&spec, dbx_arg_text(fcinfo, 0), dbx_arg_text(fcinfo, 1),
					  json_argument(fcinfo, 2, "body"));
	spec.caller = "api";
	PG_RETURN_JSONB_P(dbx_json_to_jsonb(dbx_call(workspace, &spec)));
}

Datum
databricks_api_object(PG_FUNCTION_ARGS)
{
	DbxCallSpec	  spec = {0};
	DbxWorkspace *workspace;

	dbx_arg_require(fcinfo, 0, "path");
	spec.method = "GET";
	spec.path = dbx_arg_text(fcinfo, 0);
	spec.query = query_of(json_argument(fcinfo, 1, "query"), "query");
	spec.caller = "api_object";
	workspace = dbx_arg_workspace(fcinfo, 2);
	PG_RETURN_JSONB_P(dbx_json_to_jsonb(dbx_api_get_merged(workspace, &spec)));
}

/* Nearly all lists take their page token as "page_token". */
static const char *
token_param(const char *path)
{
	const char *call = strncmp(path, "/api/", 5) == 0 ? strchr(path + 5, '/')
													  : NULL;

	return call != NULL && strcmp(call, "/repos") == 0 ? "next_page_token"
													   : NULL;
}

/*
 * A set in a tuplestore: pages are read one after the other, and memory does not
 * grow with their number.
 */
Datum
databricks_api_pages(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	DbxPageSpec	   spec = {0};
	DbxWorkspace  *workspace;
	DbxPager	  *pager;
	const DbxJson *rows;
	MemoryContext  row_context;

	dbx_arg_require(fcinfo, 0, "path");
	dbx_arg_require(fcinfo, 1, "items");
	spec.path = dbx_arg_text(fcinfo, 0);
	spec.items = dbx_arg_text(fcinfo, 1);
	spec.query = query_of(json_argument(fcinfo, 2, "query"), "query");
	spec.token_param = token_param(spec.path);
	spec.items_given = true;
	spec.caller = "api_pages";
	workspace = dbx_arg_workspace(fcinfo, 3);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"databricks element",
										ALLOCSET_DEFAULT_SIZES);
	pager = dbx_pager_open(workspace, &spec);
	while (dbx_pager_next(pager, &rows))
	{
		const DbxJson *row;

		for (row = dbx_json_first(rows); row; row = dbx_json_next(row))
		{
			MemoryContext before = MemoryContextSwitchTo(row_context);
			Datum		  value = JsonbPGetDatum(dbx_json_to_jsonb(row));
			bool		  isnull = false;

			MemoryContextSwitchTo(before);
			tuplestore_putvalues(set->setResult, set->setDesc, &value, &isnull);
			MemoryContextReset(row_context);
			CHECK_FOR_INTERRUPTS();
		}
	}
	dbx_pager_close(pager);
	return (Datum) 0;
}
