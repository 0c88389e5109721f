/*
 * statement.c
 *	  SQL statements on a warehouse: submitted, watched, cancelled.
 *
 * Separate because a statement lives in the service, not in a call.  It is
 * submitted without waiting, so that its id is known before anything else can
 * happen: who cancels here, cancels there.  What it returns is read by
 * statement_rows.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/guard.h"
#include "api/internal.h"
#include "api/statement.h"
#include "guc.h"
#include "http/http.h"

#define FIRST_LOOK_MS	50
#define LARGEST_LOOK_MS 5000
#define LARGEST_DIGITS	38 /* of a DECIMAL */
/* A cancel has to act within a second, the request to the service included. */
#define CANCEL_MS 800

static void
append_string(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",",
					 name);
	escape_json(out, value);
}

/* The SQL type that holds a JSON number as it is. */
static char *
number_type(const char *digits)
{
	int64		value;
	const char *point = strchr(digits, '.');
	int			length;
	char	   *end;

	if (strspn(digits, "-0123456789.") != strlen(digits))
		return "DOUBLE";
	errno = 0;
	value = strtoll(digits, &end, 10);
	(void) value;
	if (errno == 0 && *end == '\0')
		return "BIGINT";
	length = strlen(digits) - (*digits == '-') - (point != NULL);
	if (length > LARGEST_DIGITS)
		return "DOUBLE";
	return psprintf("DECIMAL(%d,%d)", length,
					point ? (int) strlen(point + 1) : 0);
}

static void
append_parameter(StringInfo out, const char *name, const DbxJson *value,
				 const char *type)
{
	const char *text = dbx_json_text(value);

	if (name == NULL || !*name)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a parameter of a statement has no name")));
	if (type == NULL)
	{
		switch (dbx_json_type(value))
		{
			case DBX_JSON_NUMBER:
				type = number_type(text);
				break;
			case DBX_JSON_BOOL:
				type = "BOOLEAN";
				break;
			case DBX_JSON_ARRAY:
			case DBX_JSON_OBJECT:
				ereport(
					ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"%s\" of a statement is no single value",
							name)));
			default:
				break;
		}
	}
	appendStringInfo(out, "%s{", out->data[out->len - 1] == '[' ? "" : ",");
	append_string(out, "name", name);
	/* a parameter without a value is NULL */
	if (text != NULL)
		append_string(out, "value", text);
	if (type != NULL)
		append_string(out, "type", type);
	appendStringInfoChar(out, '}');
}

/* A misspelt member would leave a parameter NULL, or of another type. */
static void
check_members(const DbxJson *parameter, const char *name)
{
	const DbxJson *member;

	for (member = dbx_json_first(parameter); member != NULL;
		 member = dbx_json_next(member))
	{
		const char *given = dbx_json_name(member);

		if (given == NULL ||
			(strcmp(given, "value") != 0 && strcmp(given, "type") != 0 &&
			 (name != NULL || strcmp(given, "name") != 0)))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 name ? errmsg("invalid parameter \"%s\" of a statement", name)
					  : errmsg("invalid parameter of a statement"),
				 errdetail("It may have \"value\" and \"type\", but has \"%s\".",
						   given ? given : "[]")));
	}
}

static void
append_parameters(StringInfo out, const DbxJson *parameters)
{
	const DbxJson *member;
	bool		   array = dbx_json_type(parameters) == DBX_JSON_ARRAY;

	if (!array && dbx_json_type(parameters) != DBX_JSON_OBJECT)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameters of a statement must be an object or an array"),
			 errhint(
				 "As in {\"day\": \"2026-11-21\"} or {\"day\": {\"value\": \"2026-11-21\", \"type\": \"DATE\"}}.")));
	appendStringInfoString(out, ",\"parameters\":[");
	for (member = dbx_json_first(parameters); member != NULL;
		 member = dbx_json_next(member))
	{
		if (array || dbx_json_type(member) == DBX_JSON_OBJECT)
		{
			check_members(member, array ? NULL : dbx_json_name(member));
			append_parameter(out,
							 array
								 ? dbx_json_string(dbx_json_get(member, "name"))
								 : dbx_json_name(member),
							 dbx_json_get(member, "value"),
							 dbx_json_string(dbx_json_get(member, "type")));
		}
		else
			append_parameter(out, dbx_json_name(member), member, NULL);
	}
	appendStringInfoChar(out, ']');
}

void
dbx_statement_attach(DbxStatement *statement, const DbxWorkspace *workspace,
					 const char *id, const char *caller)
{
	memset(statement, 0, sizeof(*statement));
	statement->workspace = workspace;
	statement->caller = caller;
	statement->id = pstrdup(id);
}

void
dbx_statement_start(DbxStatement *statement, const DbxWorkspace *workspace,
					const char *text, const char *warehouse_id,
					const DbxJson *parameters, const char *catalog,
					const char *schema, const char *caller)
{
	DbxCallSpec	   spec = {0};
	StringInfoData body;
	const char	  *id;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	append_string(&body, "warehouse_id", warehouse_id);
	append_string(&body, "statement", text);
	if (catalog != NULL)
		append_string(&body, "catalog", catalog);
	if (schema != NULL)
		append_string(&body, "schema", schema);
	if (parameters != NULL)
		append_parameters(&body, parameters);
	append_string(&body, "wait_timeout", "0s");
	append_string(&body, "disposition",
				  dbx_guc_external_links ? "EXTERNAL_LINKS" : "INLINE");
	append_string(&body, "format", "JSON_ARRAY");
	appendStringInfoChar(&body, '}');
	spec.method = "POST";
	spec.path = "/api/2.0/sql/statements";
	spec.body = body.data;
	spec.caller = caller;
	id = dbx_json_string(
		dbx_json_get(dbx_call(workspace, &spec), "statement_id"));
	if (id == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 errmsg(
				 "the service accepted a statement, but its answer has no \"statement_id\""),
			 errhint(
				 "The query history of the warehouse shows whether it runs.")));
	dbx_statement_attach(statement, workspace, id, caller);
}

char *
dbx_statement_path(const DbxStatement *statement, const char *more)
{
	return psprintf("/api/2.0/sql/statements/%s%s",
					dbx_path_segment(statement->id), more);
}

/* Ask for the end of the statement there, but not for long. */
static void
cancel_statement(void *arg)
{
	const DbxStatement *statement = arg;
	DbxCallSpec			spec = {0};
	TimestampTz until = GetCurrentTimestamp() + CANCEL_MS * INT64CONST(1000);
	DbxCall	   *call;

	spec.method = "POST";
	spec.path = dbx_statement_path(statement, "/cancel");
	spec.body = "{}";
	spec.caller = statement->caller;
	call = dbx_call_start(statement->workspace, &spec);
	while (!dbx_call_done(call) && !dbx_calls_progress(until))
		;
	if (!dbx_call_done(call) || dbx_call_error(call) != NULL)
		ereport(WARNING,
				(errmsg("could not cancel statement %s", statement->id),
				 errdetail("It may go on in workspace \"%s\".",
						   statement->workspace->name)));
	dbx_call_free(call);
}

/* Raise for an end that is no success. */
static void
check_end(const DbxStatement *statement)
{
	const DbxJson *status = dbx_json_get(statement->result, "status");
	const char	  *state = dbx_json_string(dbx_json_get(status, "state"));
	const char *message = dbx_json_string(dbx_json_path(status, "error.message"));
	const char *code = dbx_json_string(dbx_json_path(status, "error.error_code"));
	const char *sql_state = dbx_json_string(dbx_json_get(status, "sql_state"));

	if (strcmp(state, "SUCCEEDED") == 0)
		return;
	if (strcmp(state, "FAILED") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("statement failed in workspace \"%s\": %s",
						statement->workspace->name,
						message ? dbx_redact(message) : "no reason given"),
				 errdetail("Statement %s, %s%s%s.", statement->id,
						   code ? code : "no code",
						   sql_state ? ", SQLSTATE " : "",
						   sql_state ? sql_state : "")));
	if (strcmp(state, "CANCELED") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("statement was cancelled in workspace \"%s\"",
						statement->workspace->name),
				 errdetail("Statement %s was not cancelled from here.",
						   statement->id)));
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_ERROR),
		 errmsg("result of a statement is gone from workspace \"%s\"",
				statement->workspace->name),
		 errdetail(
			 "Statement %s succeeded and was closed; results are kept for an hour.",
			 statement->id),
		 errhint("Run the statement again.")));
}

/* Look again and again until the statement is over. */
static void
wait_for_end(void *arg)
{
	DbxStatement *statement = arg;
	DbxCallSpec	  spec = {0};
	MemoryContext look = AllocSetContextCreate(CurrentMemoryContext,
											   "databricks look",
											   ALLOCSET_DEFAULT_SIZES);
	int			  delay = FIRST_LOOK_MS;

	spec.method = "GET";
	spec.path = dbx_statement_path(statement, "");
	spec.caller = statement->caller;
	for (;;)
	{
		MemoryContext before = MemoryContextSwitchTo(look);
		DbxJson		 *answer = dbx_call(statement->workspace, &spec);
		const char	 *state = dbx_json_string(
			  dbx_json_path(answer, "status.state"));

		MemoryContextSwitchTo(before);
		if (state == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
					 errmsg("the answer about statement %s has no state",
							statement->id)));
		if (strcmp(state, "SUCCEEDED") == 0 || strcmp(state, "FAILED") == 0 ||
			strcmp(state, "CANCELED") == 0 || strcmp(state, "CLOSED") == 0)
		{
			statement->result = answer;
			return;
		}
		MemoryContextReset(look);
		dbx_http_sleep_until(GetCurrentTimestamp() + delay * INT64CONST(1000));
		delay = Min(delay + delay / 2, LARGEST_LOOK_MS);
	}
}

/* What the manifest says of the result. */
static void
read_manifest(DbxStatement *statement)
{
	const DbxJson *manifest = dbx_json_get(statement->result, "manifest");
	bool		   truncated = false;
	int64		   chunks = 1;

	/* it is there even for a statement that returns nothing */
	if (dbx_json_type(manifest) != DBX_JSON_OBJECT)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("workspace \"%s\" says that a statement succeeded, but does not describe its result",
					statement->workspace->name),
			 errdetail("Statement %s, without \"manifest\".", statement->id)));
	(void) dbx_json_bool(dbx_json_get(manifest, "truncated"), &truncated);
	statement->chunks_uncounted = !dbx_json_int64(
		dbx_json_get(manifest, "total_chunk_count"), &chunks);
	if (chunks < 0 || chunks > PG_INT32_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("result of a statement has " INT64_FORMAT
						" parts, says workspace \"%s\"",
						chunks, statement->workspace->name)));
	/* half a result must not look whole */
	if (truncated)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("result of a statement was cut by workspace \"%s\"",
					statement->workspace->name),
			 errdetail("The service gives at most 25 MB of a result this way."),
			 errhint(
				 "SET databricks.external_links = on lifts that limit; or ask for fewer rows or columns.")));
	statement->by_links = dbx_json_length(
							  dbx_json_path(statement->result,
											"result.external_links")) > 0;
	statement->chunks = (int) chunks;
}

void
dbx_statement_wait(DbxStatement *statement, bool cancel)
{
	/* whoever does not hear how it ends has no use for it either */
	if (cancel)
		dbx_guard_error(wait_for_end, cancel_statement, statement);
	else
		wait_for_end(statement);
	check_end(statement);
	read_manifest(statement);
}

const DbxJson *
dbx_statement_columns(const DbxStatement *statement)
{
	return dbx_json_path(statement->result, "manifest.schema.columns");
}
