/*
 * secrets.c
 *	  SQL entry points through which values of secrets pass.
 *
 * Separate from the SQL wrappers since a value must not be seen on its way: the
 * statement is hidden from logs before anything can fail, the value is masked
 * in all messages, and no message of the server about its bytes is let through.
 */
#include "postgres.h"

#include "common/base64.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "api/api.h"
#include "compat.h"
#include "functions/args.h"
#include "http/http.h"

PG_FUNCTION_INFO_V1(databricks_put_secret);
PG_FUNCTION_INFO_V1(databricks_put_secret_bytes);
PG_FUNCTION_INFO_V1(databricks_get_secret);
PG_FUNCTION_INFO_V1(databricks_get_secret_bytes);

#define LARGEST_VALUE (128 * 1024)

/* Bytes as base64, in the current context. */
static char *
to_base64(const char *bytes, int length)
{
	int	  size = pg_b64_enc_len(length);
	char *text = palloc(size + 1);
	int	  used = dbx_b64_encode(bytes, length, text, size);

	Assert(used >= 0);
	text[used] = '\0';
	return text;
}

/* secrets/put with the value as "member" of the body. */
static void
put_secret(FunctionCallInfo fcinfo, const char *member, const char *value,
		   int length)
{
	DbxCallSpec	   spec = {0};
	StringInfoData body;
	DbxWorkspace  *workspace;

	dbx_redact_secret(value);
	if (length > LARGEST_VALUE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of a secret must not be longer than %d bytes",
						LARGEST_VALUE),
				 errdetail("This one has %d.", length)));
	workspace = dbx_arg_workspace(fcinfo, 3);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"scope\":");
	escape_json(&body, dbx_arg_text(fcinfo, 0));
	appendStringInfoString(&body, ",\"key\":");
	escape_json(&body, dbx_arg_text(fcinfo, 1));
	appendStringInfo(&body, ",\"%s\":", member);
	escape_json(&body, value);
	appendStringInfoChar(&body, '}');
	spec.method = "POST";
	spec.path = "/api/2.0/secrets/put";
	spec.body = body.data;
	spec.caller = "put_secret";
	(void) dbx_call(workspace, &spec);
}

static void
require_names(FunctionCallInfo fcinfo)
{
	dbx_arg_require(fcinfo, 0, "scope");
	dbx_arg_require(fcinfo, 1, "key");
}

Datum
databricks_put_secret(PG_FUNCTION_ARGS)
{
	char *value;

	dbx_redact_statement("databricks.put_secret(...)");
	require_names(fcinfo);
	dbx_arg_require(fcinfo, 2, "value");
	value = dbx_arg_text(fcinfo, 2);
	put_secret(fcinfo, "string_value", value, strlen(value));
	PG_RETURN_VOID();
}

Datum
databricks_put_secret_bytes(PG_FUNCTION_ARGS)
{
	bytea *value;

	dbx_redact_statement("databricks.put_secret(...)");
	require_names(fcinfo);
	dbx_arg_require(fcinfo, 2, "value");
	value = PG_GETARG_BYTEA_PP(2);
	put_secret(fcinfo, "bytes_value",
			   to_base64(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)),
			   VARSIZE_ANY_EXHDR(value));
	PG_RETURN_VOID();
}

/* The bytes of a secret in a palloc'd buffer, with a NUL behind them. */
static char *
get_secret(FunctionCallInfo fcinfo, const char *caller, int *length)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;
	const DbxJson *answer;
	const char	  *value;
	char		  *bytes;
	int			   size;

	require_names(fcinfo);
	initStringInfo(&query);
	dbx_query_add(&query, "scope", dbx_arg_text(fcinfo, 0));
	dbx_query_add(&query, "key", dbx_arg_text(fcinfo, 1));
	spec.method = "GET";
	spec.path = "/api/2.0/secrets/get";
	spec.query = query.data;
	spec.caller = caller;
	answer = dbx_call(dbx_arg_workspace(fcinfo, 2), &spec);
	value = dbx_json_string(dbx_json_get(answer, "value"));
	/* an answer that says nothing must not look like an empty secret */
	if (value == NULL && dbx_json_get(answer, "key") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("the answer about a secret has no \"value\"")));
	if (value == NULL)
		value = "";
	dbx_redact_secret(value);
	size = pg_b64_dec_len(strlen(value));
	bytes = palloc(size + 1);
	*length = dbx_b64_decode(value, strlen(value), bytes, size);
	if (*length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("value of a secret is not base64")));
	bytes[*length] = '\0';
	return bytes;
}

Datum
databricks_get_secret(PG_FUNCTION_ARGS)
{
	int	  length;
	char *bytes = get_secret(fcinfo, "get_secret", &length);
	char *text;

	/* the server's own errors would show bytes of the value */
	if (strlen(bytes) != length ||
		pg_encoding_verifymbstr(PG_UTF8, bytes, length) != length)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("value of the secret is not text"),
				 errhint("Use databricks.get_secret_bytes().")));
	text = pg_any_to_server(bytes, length, PG_UTF8);
	dbx_redact_secret(text);
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

Datum
databricks_get_secret_bytes(PG_FUNCTION_ARGS)
{
	int	   length;
	char  *bytes = get_secret(fcinfo, "get_secret_bytes", &length);
	bytea *value = palloc(length + VARHDRSZ);

	memcpy(VARDATA(value), bytes, length);
	SET_VARSIZE(value, length + VARHDRSZ);
	PG_RETURN_BYTEA_P(value);
}
