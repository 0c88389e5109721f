/*
 * values.c
 *	  Values of a statement's result as those of PostgreSQL.
 *
 * Separate because some texts of the service mean something else to the input
 * functions of PostgreSQL, or nothing: bytes come as base64, a sign before the
 * days of an interval is that of its time too, arrays and structures are JSON.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "functions/values.h"

#define INTERVAL_PREFIX "INTERVAL '"

static Datum
read_base64(const char *text)
{
	int	   size = pg_b64_dec_len(strlen(text));
	bytea *bytes = palloc(size + VARHDRSZ);
	int	   length = dbx_b64_decode(text, strlen(text), VARDATA(bytes), size);

	if (length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("value is not base64")));
	SET_VARSIZE(bytes, length + VARHDRSZ);
	return PointerGetDatum(bytes);
}

/* "DAY TO SECOND" as the fields of a type modifier, -1 if it is something else. */
static int32
interval_fields(const char *units)
{
	static const char *const names[] = {"YEAR", "MONTH",  "DAY",
										"HOUR", "MINUTE", "SECOND"};
	static const int fields[] = {YEAR, MONTH, DAY, HOUR, MINUTE, SECOND};
	char			 first[8];
	char			 last[8];
	int				 found;
	int				 mask = 0;
	bool			 inside = false;
	int				 i;

	found = sscanf(units, " %7[A-Z] TO %7[A-Z]", first, last);
	if (found < 1)
		return -1;
	for (i = 0; i < (int) lengthof(names); i++)
	{
		inside |= strcmp(names[i], first) == 0;
		if (inside)
			mask |= INTERVAL_MASK(fields[i]);
		if (strcmp(names[i], found == 2 ? last : first) == 0)
			break;
	}
	return mask ? INTERVAL_TYPMOD(INTERVAL_FULL_PRECISION, mask) : -1;
}

/* 1-2, -3 04:05:06.5, or as literals: INTERVAL '-3 04:05:06.5' DAY TO SECOND. */
static Datum
read_interval(const char *text, int32 typmod)
{
	Size		   prefix = strlen(INTERVAL_PREFIX);
	Size		   length;
	int32		   fields = -1;
	StringInfoData value;
	Datum		   interval;

	if (pg_strncasecmp(text, INTERVAL_PREFIX, prefix) == 0)
	{
		text += prefix;
		length = strcspn(text, "'");
		if (text[length] == '\'')
			fields = interval_fields(text + length + 1);
	}
	else
		length = strlen(text);
	initStringInfo(&value);
	appendBinaryStringInfo(&value, text, length);
	if (*value.data == '-' && strchr(value.data, ' ') != NULL)
	{
		char *time = strchr(value.data, ' ') + 1;

		if (*time >= '0' && *time <= '9')
		{
			char *rest = pstrdup(time);

			value.len = time - value.data;
			appendStringInfo(&value, "-%s", rest);
		}
	}
	interval = DirectFunctionCall3(interval_in, CStringGetDatum(value.data),
								   ObjectIdGetDatum(InvalidOid),
								   Int32GetDatum(fields));
	return DirectFunctionCall2(interval_scale, interval, Int32GetDatum(typmod));
}

DbxJson *
dbx_statement_structure(const char *text)
{
	char *utf8 = dbx_json_to_utf8(text);
	char *why;

	return dbx_json_try_parse(utf8, strlen(utf8), &why);
}

static char *part_text(const DbxJson *part, Oid type);

/* A part of an array or row in quotes, which no part is the worse for. */
static void
append_part(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *text);
	}
	appendStringInfoChar(out, '"');
}

/* Arrays in an array are its next dimension, unless the elements are JSON. */
static char *
array_text(const DbxJson *array, Oid element)
{
	bool		   json = element == JSONOID || element == JSONBOID;
	StringInfoData out;
	const DbxJson *part;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (part = dbx_json_first(array); part != NULL; part = dbx_json_next(part))
	{
		char *text;

		if (out.len > 1)
			appendStringInfoChar(&out, ',');
		if (!json && dbx_json_type(part) == DBX_JSON_ARRAY)
		{
			appendStringInfoString(&out, array_text(part, element));
			continue;
		}
		text = part_text(part, element);
		if (text != NULL)
			append_part(&out, text);
		else
			appendStringInfoString(&out, "NULL");
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* Fields by name; those that the object lacks are null. */
static char *
row_text(const DbxJson *object, Oid type)
{
	TupleDesc	   desc = lookup_rowtype_tupdesc_copy(type, -1);
	const char	  *separator = "";
	StringInfoData out;
	int			   i;

	initStringInfo(&out);
	appendStringInfoChar(&out, '(');
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute field = TupleDescAttr(desc, i);
		char			 *text;

		if (field->attisdropped)
			continue;
		appendStringInfoString(&out, separator);
		separator = ",";
		text = part_text(dbx_json_get(object, NameStr(field->attname)),
						 field->atttypid);
		if (text != NULL)
			append_part(&out, text);
	}
	appendStringInfoChar(&out, ')');
	return out.data;
}

/* JSON as the input function of a type reads it, NULL for null. */
static char *
part_text(const DbxJson *part, Oid type)
{
	Oid			base = getBaseType(type);
	DbxJsonType kind = dbx_json_type(part);

	if (kind == DBX_JSON_ABSENT || kind == DBX_JSON_NULL)
		return NULL;
	if (base == JSONOID || base == JSONBOID)
		return dbx_json_serialize(part);
	if (kind == DBX_JSON_ARRAY && OidIsValid(get_element_type(base)))
		return array_text(part, getBaseType(get_element_type(base)));
	if (kind == DBX_JSON_OBJECT && type_is_rowtype(base) && base != RECORDOID)
		return row_text(part, base);
	return (char *) dbx_json_text(part);
}

Datum
dbx_statement_value(const char *text, const char *there,
					Form_pg_attribute column, FmgrInfo *input, Oid parameter)
{
	Oid			   type = column->atttypid;
	const DbxJson *structure;

	if (type == BYTEAOID && strcmp(there, "BINARY") == 0)
		return read_base64(text);
	if (type == INTERVALOID && strcmp(there, "INTERVAL") == 0)
		return read_interval(text, column->atttypmod);
	if (*text == '[' || *text == '{')
	{
		Oid base = getBaseType(type);

		if ((OidIsValid(get_element_type(base)) || type_is_rowtype(base)) &&
			(structure = dbx_statement_structure(text)) != NULL)
			text = part_text(structure, type);
	}
	return InputFunctionCall(input, (char *) text, parameter, column->atttypmod);
}
