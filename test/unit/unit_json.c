/*
 * unit_json.c
 *	  SQL functions around src/json, for test/t/010_json.pl.
 *
 * Texts come as bytea because the interesting ones are no valid text.  They are
 * handed on without a zero byte at the end, as http does.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "json/json.h"

PG_FUNCTION_INFO_V1(unit_json_parse);
PG_FUNCTION_INFO_V1(unit_json_try);
PG_FUNCTION_INFO_V1(unit_json_serialize);
PG_FUNCTION_INFO_V1(unit_json_part);
PG_FUNCTION_INFO_V1(unit_json_type);
PG_FUNCTION_INFO_V1(unit_json_int64);
PG_FUNCTION_INFO_V1(unit_json_bool);
PG_FUNCTION_INFO_V1(unit_json_string);
PG_FUNCTION_INFO_V1(unit_json_text);
PG_FUNCTION_INFO_V1(unit_json_length);
PG_FUNCTION_INFO_V1(unit_json_walk);
PG_FUNCTION_INFO_V1(unit_json_append);
PG_FUNCTION_INFO_V1(unit_json_remove);
PG_FUNCTION_INFO_V1(unit_json_timing);

/* The document in the first argument. */
static DbxJson *
parse_argument(FunctionCallInfo fcinfo, int argno)
{
	bytea *text = PG_GETARG_BYTEA_PP(argno);

	return dbx_json_parse(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text),
						  "the test's text");
}

/* Its node at the path in the second argument; "" is the document itself. */
static const DbxJson *
find_argument(FunctionCallInfo fcinfo)
{
	DbxJson *document = parse_argument(fcinfo, 0);
	char	*path = text_to_cstring(PG_GETARG_TEXT_PP(1));

	return *path == '\0' ? document : dbx_json_path(document, path);
}

static Datum
text_or_null(FunctionCallInfo fcinfo, const char *string)
{
	if (string == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(string));
}

Datum
unit_json_parse(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(dbx_json_to_jsonb(parse_argument(fcinfo, 0)));
}

/* The error that parsing gives, NULL if none. */
Datum
unit_json_try(PG_FUNCTION_ARGS)
{
	bytea	*text = PG_GETARG_BYTEA_PP(0);
	char	*error;
	DbxJson *node;

	node = dbx_json_try_parse(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text),
							  &error);
	if ((node == NULL) != (error != NULL))
		elog(ERROR, "result and error do not agree");
	return text_or_null(fcinfo, error);
}

Datum
unit_json_serialize(PG_FUNCTION_ARGS)
{
	return text_or_null(fcinfo, dbx_json_serialize(parse_argument(fcinfo, 0)));
}

/* What is read of a text if of an array's objects only some paths are, or why not. */
Datum
unit_json_part(PG_FUNCTION_ARGS)
{
	bytea			  *json = PG_GETARG_BYTEA_PP(0);
	ArrayType		  *paths = PG_GETARG_ARRAYTYPE_P(2);
	DbxJsonProjection *projection;
	DbxJson			  *part;
	char			  *error;
	Datum			  *elements;
	int				   nelements;
	int				   i;

	projection = dbx_json_project(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	deconstruct_array(paths, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &nelements);
	for (i = 0; i < nelements; i++)
		dbx_json_project_path(projection, TextDatumGetCString(elements[i]));
	part = dbx_json_try_parse_part(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json),
								   projection, &error);
	return text_or_null(fcinfo, part == NULL ? error : dbx_json_serialize(part));
}

Datum
unit_json_type(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {
		[DBX_JSON_ABSENT] = "absent", [DBX_JSON_NULL] = "null",
		[DBX_JSON_BOOL] = "bool",	  [DBX_JSON_NUMBER] = "number",
		[DBX_JSON_STRING] = "string", [DBX_JSON_ARRAY] = "array",
		[DBX_JSON_OBJECT] = "object",
	};

	return text_or_null(fcinfo, names[dbx_json_type(find_argument(fcinfo))]);
}

Datum
unit_json_int64(PG_FUNCTION_ARGS)
{
	int64 value = 4711;

	if (!dbx_json_int64(find_argument(fcinfo), &value))
	{
		if (value != 4711)
			elog(ERROR, "value was touched");
		PG_RETURN_NULL();
	}
	PG_RETURN_INT64(value);
}

Datum
unit_json_bool(PG_FUNCTION_ARGS)
{
	bool value;

	if (!dbx_json_bool(find_argument(fcinfo), &value))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(value);
}

Datum
unit_json_string(PG_FUNCTION_ARGS)
{
	return text_or_null(fcinfo, dbx_json_string(find_argument(fcinfo)));
}

Datum
unit_json_text(PG_FUNCTION_ARGS)
{
	return text_or_null(fcinfo, dbx_json_text(find_argument(fcinfo)));
}

Datum
unit_json_length(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(dbx_json_length(find_argument(fcinfo)));
}

/* "name=text" of all children in order, the name left out in arrays. */
Datum
unit_json_walk(PG_FUNCTION_ARGS)
{
	const DbxJson *child = dbx_json_first(find_argument(fcinfo));
	StringInfoData buf;

	initStringInfo(&buf);
	for (; child != NULL; child = dbx_json_next(child))
	{
		const char *text = dbx_json_text(child);

		if (dbx_json_name(child) != NULL)
			appendStringInfo(&buf, "%s=", dbx_json_name(child));
		appendStringInfo(&buf, "%s ", text ? text : "(null)");
	}
	return text_or_null(fcinfo, buf.data);
}

/*
 * Text of the first document with the elements that the others have under the
 * name appended; what is left of the others follows.
 */
Datum
unit_json_append(PG_FUNCTION_ARGS)
{
	DbxJson *base = parse_argument(fcinfo, 0);
	DbxJson *second = parse_argument(fcinfo, 1);
	DbxJson *third = parse_argument(fcinfo, 2);
	char	*name = text_to_cstring(PG_GETARG_TEXT_PP(3));

	dbx_json_append(base, second, name);
	dbx_json_append(base, third, name);
	return text_or_null(fcinfo,
						psprintf("%s %s %s", dbx_json_serialize(base),
								 dbx_json_serialize(second),
								 dbx_json_serialize(third)));
}

/* Text of the document without two of its members. */
Datum
unit_json_remove(PG_FUNCTION_ARGS)
{
	DbxJson *document = parse_argument(fcinfo, 0);

	dbx_json_remove(document, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	dbx_json_remove(document, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	return text_or_null(fcinfo, dbx_json_serialize(document));
}

/* Microseconds that parsing takes, the best of a number of times. */
Datum
unit_json_timing(PG_FUNCTION_ARGS)
{
	bytea		 *text = PG_GETARG_BYTEA_PP(0);
	int			  rounds = PG_GETARG_INT32(1);
	bool		  convert = PG_GETARG_BOOL(2);
	double		  best = 0;
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "unit_json_timing",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	int			  i;

	for (i = 0; i < rounds; i++)
	{
		instr_time before;
		instr_time after;
		DbxJson	  *document;

		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(before);
		document = dbx_json_parse(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text),
								  "the test's text");
		if (convert)
			dbx_json_to_jsonb(document);
		INSTR_TIME_SET_CURRENT(after);
		INSTR_TIME_SUBTRACT(after, before);
		if (i == 0 || INSTR_TIME_GET_DOUBLE(after) * 1e6 < best)
			best = INSTR_TIME_GET_DOUBLE(after) * 1e6;
		MemoryContextReset(work);
	}
	MemoryContextSwitchTo(caller);
	PG_RETURN_FLOAT8(best);
}
