/*
 * statements.c
 *	  SQL entry points for statements on a warehouse.
 *
 * Separate because the service gives every value as a text, and what that means
 * to PostgreSQL is decided here: by the type the caller wants (values.c), or, as
 * JSON, by the type it had there.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "api/statement.h"
#include "functions/args.h"
#include "functions/values.h"

PG_FUNCTION_INFO_V1(databricks_query);
PG_FUNCTION_INFO_V1(databricks_query_json);
PG_FUNCTION_INFO_V1(databricks_start_statement);
PG_FUNCTION_INFO_V1(databricks_statement_result);

/* What becomes of the rows of a result. */
typedef struct Rows
{
	const DbxStatement *statement;
	Tuplestorestate	   *store;
	TupleDesc			desc;
	MemoryContext		context; /* of one row */
	int					count;	 /* of columns */
	const char		  **names;	 /* of the columns there */
	const char		  **types;
	FmgrInfo		   *input; /* of the columns here; NULL: as JSON */
	Oid				   *parameters;
	int					at; /* column being read, for the error context */
} Rows;

/* Arguments statement, warehouse_id, parameters, catalog, schema, workspace. */
static void
start_statement(FunctionCallInfo fcinfo, DbxStatement *statement,
				const char *caller)
{
	Jsonb *parameters = DBX_ARG_JSONB(2);

	dbx_arg_require(fcinfo, 0, "statement");
	dbx_arg_require(fcinfo, 1, "warehouse_id");
	dbx_statement_start(statement, dbx_arg_workspace(fcinfo, 5),
						dbx_arg_text(fcinfo, 0), dbx_arg_text(fcinfo, 1),
						parameters
							? dbx_json_from_jsonb(parameters, "parameters")
							: NULL,
						dbx_arg_text(fcinfo, 3), dbx_arg_text(fcinfo, 4),
						caller);
}

static void
read_columns(Rows *rows)
{
	const DbxJson *columns = dbx_statement_columns(rows->statement);
	const DbxJson *column;
	int			   i = 0;

	rows->count = dbx_json_length(columns);
	rows->names = palloc(sizeof(char *) * (rows->count + 1));
	rows->types = palloc(sizeof(char *) * (rows->count + 1));
	for (column = dbx_json_first(columns); column != NULL;
		 column = dbx_json_next(column))
	{
		const char *name = dbx_json_string(dbx_json_get(column, "name"));
		const char *type = dbx_json_string(dbx_json_get(column, "type_name"));

		rows->names[i] = name ? name : "";
		rows->types[i++] = type ? type : "STRING";
	}
	rows->context = AllocSetContextCreate(CurrentMemoryContext, "databricks row",
										  ALLOCSET_DEFAULT_SIZES);
}

static void
name_column(void *arg)
{
	const Rows *rows = arg;

	if (rows->at >= 0)
		errcontext("column \"%s\" (%s) of a statement's result",
				   rows->names[rows->at], rows->types[rows->at]);
}

static void
store_row(Rows *rows, const DbxJson *row)
{
	Datum		  *values = palloc0(sizeof(Datum) * Max(rows->count, 1));
	bool		  *nulls = palloc(sizeof(bool) * Max(rows->count, 1));
	const DbxJson *cell = dbx_json_first(row);
	int			   i;

	for (i = 0; i < rows->count; i++)
	{
		const char *text = dbx_json_text(cell);

		rows->at = i;
		nulls[i] = text == NULL;
		if (text != NULL)
			values[i] = dbx_statement_value(text, rows->types[i],
											TupleDescAttr(rows->desc, i),
											&rows->input[i],
											rows->parameters[i]);
		cell = dbx_json_next(cell);
	}
	rows->at = -1;
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
}

/* Is this text a number as JSON writes them? */
static bool
is_json_number(const char *text)
{
	Size digits;

	if (*text == '-')
		text++;
	digits = strspn(text, "0123456789");
	if (digits == 0 || (*text == '0' && digits > 1))
		return false;
	text += digits;
	if (*text == '.')
	{
		digits = strspn(++text, "0123456789");
		if (digits == 0)
			return false;
		text += digits;
	}
	if (*text == 'e' || *text == 'E')
	{
		text++;
		if (*text == '-' || *text == '+')
			text++;
		digits = strspn(text, "0123456789");
		if (digits == 0)
			return false;
		text += digits;
	}
	return *text == '\0';
}

static void
append_json(StringInfo out, const char *type, const char *text)
{
	static const char *const numbers[] = {"BYTE",  "SHORT",	 "INT",	   "LONG",
										  "FLOAT", "DOUBLE", "DECIMAL"};
	static const char *const structures[] = {"ARRAY", "MAP", "STRUCT",
											 "VARIANT"};
	int						 i;

	if (text == NULL)
	{
		appendStringInfoString(out, "null");
		return;
	}
	for (i = 0; i < (int) lengthof(numbers); i++)
	{
		/* NaN and Infinity are none in JSON */
		if (strcmp(type, numbers[i]) == 0 && is_json_number(text))
		{
			appendStringInfoString(out, text);
			return;
		}
	}
	for (i = 0; i < (int) lengthof(structures); i++)
	{
		if (strcmp(type, structures[i]) == 0 &&
			dbx_statement_structure(text) != NULL)
		{
			appendStringInfoString(out, text);
			return;
		}
	}
	if (strcmp(type, "BOOLEAN") == 0 &&
		(strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		appendStringInfoString(out, text);
	else
		escape_json(out, text);
}

static void
store_json(Rows *rows, const DbxJson *row)
{
	const DbxJson *cell = dbx_json_first(row);
	StringInfoData out;
	Datum		   value;
	bool		   isnull = false;
	int			   i;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (i = 0; i < rows->count; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		escape_json(&out, rows->names[i]);
		appendStringInfoChar(&out, ':');
		append_json(&out, rows->types[i], dbx_json_text(cell));
		cell = dbx_json_next(cell);
	}
	appendStringInfoChar(&out, '}');
	value = DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
	tuplestore_putvalues(rows->store, rows->desc, &value, &isnull);
}

static void
take_rows(void *arg, const DbxJson *chunk)
{
	Rows		  *rows = arg;
	const DbxJson *row;

	for (row = dbx_json_first(chunk); row != NULL; row = dbx_json_next(row))
	{
		MemoryContext before = MemoryContextSwitchTo(rows->context);

		if (dbx_json_type(row) != DBX_JSON_ARRAY ||
			dbx_json_length(row) != rows->count)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg(
					 "a row of a result has not as many values as it has columns"),
				 errdetail("Statement %s, %d columns.", rows->statement->id,
						   rows->count)));
		if (rows->input != NULL)
			store_row(rows, row);
		else
			store_json(rows, row);
		MemoryContextSwitchTo(before);
		MemoryContextReset(rows->context);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
store_result(DbxStatement *statement, Rows *rows)
{
	ErrorContextCallback context;

	rows->at = -1;
	context.callback = name_column;
	context.arg = rows;
	context.previous = error_context_stack;
	error_context_stack = &context;
	dbx_statement_rows(statement, take_rows, rows);
	error_context_stack = context.previous;
}

Datum
databricks_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	DbxStatement   statement;
	Rows		   rows = {0};
	int			   i;

	dbx_arg_require(fcinfo, 0, "statement");
	dbx_arg_require(fcinfo, 1, "warehouse_id");
	if (set == NULL || !IsA(set, ReturnSetInfo) || set->expectedDesc == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the columns of the statement's result are not declared"),
			 errhint(
				 "SELECT * FROM databricks.query(...) AS t(a text, b bigint). query_json() needs no declaration.")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	start_statement(fcinfo, &statement, "query");
	dbx_statement_wait(&statement, true);
	rows.statement = &statement;
	rows.store = set->setResult;
	rows.desc = set->setDesc;
	read_columns(&rows);
	if (rows.count != rows.desc->natts)
	{
		StringInfoData list;

		initStringInfo(&list);
		for (i = 0; i < rows.count; i++)
			appendStringInfo(&list, "%s\"%s\" %s", i ? ", " : "", rows.names[i],
							 rows.types[i]);
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the statement returned %d columns, but %d are declared",
					rows.count, rows.desc->natts),
			 errdetail("It returned: %s.", list.data),
			 errhint(
				 "Declare as many: SELECT * FROM databricks.query(...) AS t(a text, b bigint). query_json() needs no declaration.")));
	}
	rows.input = palloc(sizeof(FmgrInfo) * Max(rows.count, 1));
	rows.parameters = palloc(sizeof(Oid) * Max(rows.count, 1));
	for (i = 0; i < rows.count; i++)
	{
		Oid input;

		getTypeInputInfo(TupleDescAttr(rows.desc, i)->atttypid, &input,
						 &rows.parameters[i]);
		fmgr_info(input, &rows.input[i]);
	}
	store_result(&statement, &rows);
	return (Datum) 0;
}

/* The result of a statement as objects. */
static void
return_objects(FunctionCallInfo fcinfo, DbxStatement *statement)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Rows		   rows = {0};

	rows.statement = statement;
	rows.store = set->setResult;
	rows.desc = set->setDesc;
	read_columns(&rows);
	store_result(statement, &rows);
}

Datum
databricks_query_json(PG_FUNCTION_ARGS)
{
	DbxStatement statement;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	start_statement(fcinfo, &statement, "query_json");
	dbx_statement_wait(&statement, true);
	return_objects(fcinfo, &statement);
	return (Datum) 0;
}

Datum
databricks_start_statement(PG_FUNCTION_ARGS)
{
	DbxStatement statement;

	start_statement(fcinfo, &statement, "start_statement");
	PG_RETURN_TEXT_P(cstring_to_text(statement.id));
}

Datum
databricks_statement_result(PG_FUNCTION_ARGS)
{
	DbxStatement statement;

	dbx_arg_require(fcinfo, 0, "statement_id");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	dbx_statement_attach(&statement, dbx_arg_workspace(fcinfo, 1),
						 dbx_arg_text(fcinfo, 0), "statement_result");
	/* it was there before this wait, and may be waited for again */
	dbx_statement_wait(&statement, false);
	return_objects(fcinfo, &statement);
	return (Datum) 0;
}
