/*
 * run_start.c
 *	  The bodies of run-now and runs/submit, and sending them.
 *
 * Separate because the same checks serve the synchronous functions and whoever
 * writes a request down to send it later: what the service would refuse or, worse,
 * silently take otherwise is refused before anything is sent or stored.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/uuid.h"

#include "api/internal.h"
#include "api/job.h"

#define LARGEST_PARAMETERS 10000 /* bytes of one kind, by the service's rule */

typedef enum OptionShape
{
	SHAPE_MAP,	/* name -> text */
	SHAPE_LIST, /* texts */
	SHAPE_OTHER
} OptionShape;

typedef struct RunOption
{
	const char *name;
	OptionShape shape;
	bool		ascii;	 /* the service wants ASCII here */
	bool		bounded; /* LARGEST_PARAMETERS holds */
} RunOption;

/* Members of the run-now call. */
static const RunOption run_options[] = {
	{"dbt_commands", SHAPE_LIST, false, true},
	{"idempotency_token", SHAPE_OTHER, false, false},
	{"jar_params", SHAPE_LIST, false, true},
	{"job_parameters", SHAPE_MAP, false, true},
	{"notebook_params", SHAPE_MAP, false, true},
	{"only", SHAPE_LIST, false, false},
	{"performance_target", SHAPE_OTHER, false, false},
	{"pipeline_params", SHAPE_OTHER, false, true},
	{"python_named_params", SHAPE_MAP, false, true},
	{"python_params", SHAPE_LIST, true, true},
	{"queue", SHAPE_OTHER, false, false},
	{"spark_submit_params", SHAPE_LIST, true, true},
	{"sql_params", SHAPE_MAP, false, true},
};

static const RunOption *
find_run_option(const char *name)
{
	int i;

	for (i = 0; i < (int) lengthof(run_options); i++)
	{
		if (strcmp(run_options[i].name, name) == 0)
			return &run_options[i];
	}
	return NULL;
}

static pg_noreturn void
bad_option(const char *name, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid \"%s\"", name), errdetail("%s", why)));
}

static pg_noreturn void
unknown_option(const char *name)
{
	StringInfoData names;
	int			   i;

	initStringInfo(&names);
	for (i = 0; i < (int) lengthof(run_options); i++)
		appendStringInfo(&names, "%s%s", i ? ", " : "", run_options[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\" for a run", name),
			 strcmp(name, "job_id") == 0 || strcmp(name, "job_name") == 0
				 ? errdetail("The job is given by the first argument.")
				 : errdetail("The service would silently ignore it."),
			 errhint("Known are: %s.", names.data)));
}

static bool
is_ascii_text(const char *text)
{
	for (; *text; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			return false;
	}
	return true;
}

/* One value of a parameter map or list: the service knows only strings. */
static void
append_value(StringInfo out, const RunOption *option, const DbxJson *value,
			 const char *where)
{
	const char *text;

	switch (dbx_json_type(value))
	{
		case DBX_JSON_STRING:
		case DBX_JSON_NUMBER:
		case DBX_JSON_BOOL:
			break;
		default:
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid \"%s\"", option->name),
				 errdetail("%s is neither a string nor a number nor a boolean.",
						   where),
				 errhint(
					 "The service takes only text: give a structure as its text, and leave out what shall have its default.")));
	}
	text = dbx_json_text(value);
	if (option->ascii && !is_ascii_text(text))
		ereport(
			WARNING,
			(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
			 errmsg("\"%s\" holds characters outside ASCII", option->name),
			 errdetail(
				 "%s does. The service takes only ASCII here and may refuse the run.",
				 where)));
	escape_json(out, text);
}

static void
append_map(StringInfo out, const RunOption *option, const DbxJson *map)
{
	const DbxJson *member;
	const char	  *separator = "";

	if (dbx_json_type(map) != DBX_JSON_OBJECT)
		bad_option(option->name, "It must be an object of names and values.");
	appendStringInfoChar(out, '{');
	for (member = dbx_json_first(map); member != NULL;
		 member = dbx_json_next(member))
	{
		appendStringInfoString(out, separator);
		escape_json(out, dbx_json_name(member));
		appendStringInfoChar(out, ':');
		append_value(out, option, member,
					 psprintf("The value of key \"%s\"", dbx_json_name(member)));
		separator = ",";
	}
	appendStringInfoChar(out, '}');
}

static void
append_list(StringInfo out, const RunOption *option, const DbxJson *list)
{
	const DbxJson *element;
	int			   number = 0;

	if (dbx_json_type(list) != DBX_JSON_ARRAY)
		bad_option(option->name, "It must be an array.");
	appendStringInfoChar(out, '[');
	for (element = dbx_json_first(list); element != NULL;
		 element = dbx_json_next(element))
	{
		if (number++ > 0)
			appendStringInfoChar(out, ',');
		append_value(out, option, element, psprintf("Element %d", number));
	}
	appendStringInfoChar(out, ']');
}

/* Append ,"name":value for one member of the call. */
static void
append_option(StringInfo body, const RunOption *option, const DbxJson *value)
{
	int start;
	int size;

	appendStringInfoChar(body, ',');
	start = body->len;
	escape_json(body, option->name);
	appendStringInfoChar(body, ':');
	switch (option->shape)
	{
		case SHAPE_MAP:
			append_map(body, option, value);
			break;
		case SHAPE_LIST:
			append_list(body, option, value);
			break;
		case SHAPE_OTHER:
			appendStringInfoString(body, dbx_json_serialize(value));
			break;
	}
	if (!option->bounded)
		return;
	/* as an object of its own, in the service's encoding */
	size = 2 + (int) strlen(dbx_json_to_utf8(body->data + start));
	if (size > LARGEST_PARAMETERS)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("\"%s\" takes %d bytes", option->name, size),
			 errdetail(
				 "The service accepts at most %d bytes of each kind of parameters.",
				 LARGEST_PARAMETERS),
			 errhint(
				 "Pass a reference, such as the path of a file, instead of the data.")));
}

/* Kinds of parameters, which a repair takes too, are what the service bounds. */
bool
dbx_run_is_parameter(const char *name)
{
	const RunOption *option = find_run_option(name);

	return option != NULL && option->bounded;
}

void
dbx_run_append_parameter(StringInfo body, const DbxJson *member)
{
	append_option(body, find_run_option(dbx_json_name(member)), member);
}

/* The token to use: given, or in the JSON, or new. */
static char *
choose_token(const char *token, const DbxJson *in_json)
{
	if (token == NULL && dbx_json_type(in_json) > DBX_JSON_NULL)
	{
		token = dbx_json_string(in_json);
		if (token == NULL)
			bad_option("idempotency_token", "It must be a string.");
	}
	if (token == NULL)
		return DatumGetCString(DirectFunctionCall1(
			uuid_out, DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
	if (!*token)
		bad_option("idempotency_token", "It must not be empty.");
	/* counted as the service does, in characters */
	if (pg_mbstrlen(token) > DBX_TOKEN_LENGTH)
		bad_option("idempotency_token",
				   psprintf("It has %d characters, at most %d are allowed.",
							pg_mbstrlen(token), DBX_TOKEN_LENGTH));
	return pstrdup(token);
}

char *
dbx_run_now_members(Jsonb *job_parameters, Jsonb *options, const char *token,
					char **used_token)
{
	DbxJson *parameters = job_parameters
		? dbx_json_from_jsonb(job_parameters, "job_parameters")
		: NULL;
	DbxJson *given = options ? dbx_json_from_jsonb(options, "options") : NULL;
	const DbxJson *member;
	StringInfoData body;

	if (given != NULL && dbx_json_type(given) != DBX_JSON_OBJECT)
		bad_option("options", "They must be a JSON object.");
	*used_token = choose_token(token, dbx_json_get(given, "idempotency_token"));

	initStringInfo(&body);
	if (parameters != NULL)
		append_option(&body, find_run_option("job_parameters"), parameters);
	for (member = dbx_json_first(given); member != NULL;
		 member = dbx_json_next(member))
	{
		const RunOption *option = find_run_option(dbx_json_name(member));

		if (option == NULL)
			unknown_option(dbx_json_name(member));
		if (dbx_json_type(member) == DBX_JSON_NULL ||
			strcmp(option->name, "idempotency_token") == 0 ||
			(parameters != NULL && strcmp(option->name, "job_parameters") == 0))
			continue;
		append_option(&body, option, member);
	}
	if (dbx_json_type(dbx_json_get(given, "jar_params")) > DBX_JSON_NULL &&
		dbx_json_type(dbx_json_get(given, "notebook_params")) > DBX_JSON_NULL)
		bad_option("options",
				   "\"jar_params\" and \"notebook_params\" exclude each other.");
	appendStringInfoString(&body, ",\"idempotency_token\":");
	escape_json(&body, *used_token);
	return body.data;
}

char *
dbx_run_now_body(int64 job_id, const char *members)
{
	return psprintf("{\"job_id\":" INT64_FORMAT "%s}", job_id, members);
}

char *
dbx_submit_body(Jsonb *settings, const char *token, char **used_token)
{
	DbxJson		  *given = dbx_json_from_jsonb(settings, "settings");
	const char	  *name = NULL;
	StringInfoData body;
	char		  *text;

	dbx_job_check_settings(given, true);
	*used_token = choose_token(token, dbx_json_get(given, "idempotency_token"));
	dbx_json_remove(given, "idempotency_token");
	/* settings of a job call it "name", which the service would ignore here */
	if (dbx_json_get(given, "run_name") == NULL)
		name = dbx_json_string(dbx_json_get(given, "name"));
	name = name ? pstrdup(name) : NULL;
	dbx_json_remove(given, "name");
	text = dbx_json_serialize(given);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"idempotency_token\":");
	escape_json(&body, *used_token);
	if (name != NULL)
	{
		appendStringInfoString(&body, ",\"run_name\":");
		escape_json(&body, name);
	}
	appendStringInfo(&body, ",%s", text + 1);
	return body.data;
}

/* The run may have been started; only the token can tell. */
static pg_noreturn void
start_in_doubt(const char *workspace, const char *why, const char *detail,
			   const char *token)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
		 errmsg("it is not known whether workspace \"%s\" started the run: %s",
				workspace, why),
		 detail ? errdetail("%s", detail) : 0,
		 errhint("Repeat the call with idempotency_token => '%s': it gives the id of that run if there is one, else it starts it.",
				 token)));
}

int64
dbx_run_start(const DbxWorkspace *workspace, const char *call_name,
			  const char *body, const char *token, const char *caller)
{
	DbxCallSpec		   spec = {0};
	const DbxApiError *error;
	DbxCall			  *call;
	DbxJson			  *answer;
	char			  *why = NULL;
	int64			   run_id;

	spec.method = "POST";
	spec.path = dbx_api_jobs_path(workspace, call_name);
	spec.body = body;
	spec.token = token;
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	error = dbx_call_error(call);
	if (error != NULL && error->unknown_outcome)
		start_in_doubt(workspace->name, error->message, dbx_call_detail(call),
					   token);
	if (error != NULL)
		dbx_call_raise(call);
	answer = dbx_call_try_json(call, &why);
	if (!dbx_json_int64(dbx_json_get(answer, "run_id"), &run_id))
		start_in_doubt(workspace->name,
					   "the answer was a success, but gives no run id", why,
					   token);
	dbx_call_free(call);
	return run_id;
}
