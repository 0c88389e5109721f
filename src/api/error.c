/*
 * error.c
 *	  What the service says when it refuses, in all the shapes it has.
 *
 * Separate because the shapes are many and the rest of the engine should see
 * one.  The service answers with JSON of several kinds, plain text, web pages or
 * nothing; codes may be numbers; a wrong token is a 403 and a missing job a 400.
 * All text passes dbx_redact() here, once.
 */
#include "postgres.h"

#include <ctype.h>

#include "common/string.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "api/internal.h"

#define LONGEST_MESSAGE 2000

/* Says the same as code REQUEST_LIMIT_EXCEEDED. */
#define RATE_LIMIT_TEXT "RPC token bucket limit has been exceeded"

/* Refusals of any status that vendor clients know to pass. */
static const char *const passing_texts[] = {
	"com.databricks.backend.manager.util.UnknownWorkerEnvironmentException",
	"does not have any associated worker environments",
	"There is no worker environment with id",
	"Unknown worker environment",
	"ClusterNotReadyException",
	"Unexpected error",
	"Please try again later or try a faster operation.",
	RATE_LIMIT_TEXT,
	"is temporarily unavailable",
	"Timed out after ",
	"deadline exceeded",
};

typedef struct ErrorClass
{
	const char *code;
	int			sqlstate;
	bool		passing;
	bool		refused; /* before any work, unless the status is a 5xx */
} ErrorClass;

/* Classified by code first: the status is often a plain 400. */
static const ErrorClass classes[] = {
	{"COULD_NOT_ACQUIRE_LOCK", ERRCODE_FDW_ERROR, true, true},
	{"REQUEST_LIMIT_EXCEEDED", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, true, true},
	{"RESOURCE_EXHAUSTED", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, true, true},
	{"QUOTA_EXCEEDED", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, false, false},
	{"RESOURCE_LIMIT_EXCEEDED", ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, false,
	 false},
	{"TEMPORARILY_UNAVAILABLE", ERRCODE_FDW_ERROR, true, false},
	{"RESOURCE_DOES_NOT_EXIST", ERRCODE_UNDEFINED_OBJECT, false, false},
	{"NOT_FOUND", ERRCODE_UNDEFINED_OBJECT, false, false},
	{"ENDPOINT_NOT_FOUND", ERRCODE_UNDEFINED_OBJECT, false, false},
	{"FEATURE_DISABLED", ERRCODE_FDW_ERROR, false, false},
	{"PERMISSION_DENIED", ERRCODE_INSUFFICIENT_PRIVILEGE, false, false},
	{"CUSTOMER_UNAUTHORIZED", ERRCODE_INSUFFICIENT_PRIVILEGE, false, false},
	{"PRIVATE_LINK_VALIDATION_ERROR", ERRCODE_INSUFFICIENT_PRIVILEGE, false,
	 false},
	{"UNAUTHENTICATED", ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, false,
	 false},
	{"INVALID_PARAMETER_VALUE", ERRCODE_FDW_ERROR, false, false},
	{"INVALID_STATE", ERRCODE_FDW_ERROR, false, false},
	{"UNAUTHORIZED", ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, false, false},
};

/*
 * What a status means, for answers that say nothing themselves.  Whatever is
 * between here and the service has more of them than the service itself.
 */
static const char *
status_reason(int status)
{
	switch (status)
	{
		case 400:
			return "Bad Request";
		case 401:
			return "Unauthorized";
		case 403:
			return "Forbidden";
		case 404:
			return "Not Found";
		case 405:
			return "Method Not Allowed";
		case 407:
			return "Proxy Authentication Required";
		case 408:
			return "Request Timeout";
		case 409:
			return "Conflict";
		case 410:
			return "Gone";
		case 412:
			return "Precondition Failed";
		case 413:
			return "Content Too Large";
		case 414:
			return "URI Too Long";
		case 415:
			return "Unsupported Media Type";
		case 422:
			return "Unprocessable Content";
		case 429:
			return "Too Many Requests";
		case 499:
			return "Client Closed Request";
		case 500:
			return "Internal Server Error";
		case 501:
			return "Not Implemented";
		case 502:
			return "Bad Gateway";
		case 503:
			return "Service Unavailable";
		case 504:
			return "Gateway Timeout";
		default:
			return "Unknown";
	}
}

/*
 * UTF-8 in the encoding of the database, with "?" for what that one lacks: the
 * JSON reader knows how, and an error must not fail for a character.
 */
static char *
convert(char *utf8)
{
	StringInfoData quoted;
	const char	  *converted;
	char		  *why;

	if (pg_is_ascii(utf8) || GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
		return utf8;
	initStringInfo(&quoted);
	escape_json(&quoted, utf8);
	converted = dbx_json_string(
		dbx_json_try_parse(quoted.data, quoted.len, &why));
	return converted ? pstrdup(converted) : pstrdup("?");
}

/*
 * Foreign text made fit for a message: valid in the database's encoding, on one
 * line, not endless, without secrets.
 */
static char *
clean_text(const char *text, Size length, int encoding)
{
	StringInfoData out;
	const char	  *end = text + Min(length, LONGEST_MESSAGE * 4);
	bool		   blank = true;
	char		  *clean;
	int			   keep;

	initStringInfo(&out);
	while (text < end && *text)
	{
		int step = pg_encoding_verifymbchar(encoding, text, end - text);

		if (step <= 0)
		{
			appendStringInfoChar(&out, '?');
			blank = false;
			text++;
			continue;
		}
		if (step == 1 && ((unsigned char) *text <= ' ' || *text == 0x7f))
		{
			if (!blank)
				appendStringInfoChar(&out, ' ');
			blank = true;
		}
		else
		{
			appendBinaryStringInfo(&out, text, step);
			blank = false;
		}
		text += step;
	}
	while (out.len > 0 && out.data[out.len - 1] == ' ')
		out.data[--out.len] = '\0';
	clean = pstrdup(
		dbx_redact(encoding == PG_UTF8 ? convert(out.data) : out.data));
	/* cut at the end only: half a secret would not be recognised */
	keep = pg_mbcliplen(clean, strlen(clean), LONGEST_MESSAGE);
	return clean[keep] ? psprintf("%.*s ...", keep, clean) : clean;
}

/* Out of a body or a header. */
static char *
clean_foreign(const char *text, Size length)
{
	return clean_text(text, length, PG_UTF8);
}

/* Out of parsed JSON, or of our own. */
static char *
clean(const char *text)
{
	return clean_text(text, strlen(text), GetDatabaseEncoding());
}

static bool
looks_like_markup(const char *body)
{
	return body[strspn(body, " \t\r\n")] == '<';
}

/* The text of the first element of that name, NULL if there is none. */
static char *
element(const char *body, const char *name)
{
	char	   *tag = psprintf("<%s", name);
	const char *start = strcasestr(body, tag);
	const char *end;

	/* not one whose name only begins like it */
	while (start != NULL && strchr("> \t\r\n", start[strlen(tag)]) == NULL)
		start = strcasestr(start + 1, tag);
	if (start == NULL)
		return NULL;
	start += strcspn(start, ">");
	end = strcasestr(start, psprintf("</%s", name));
	return end != NULL && end > start + 1
		? clean_foreign(start + 1, end - start - 1)
		: NULL;
}

static void
read_markup(DbxApiError *error, const char *body)
{
	static const char *const tellers[] = {"pre", "title", "message"};
	char					*at;
	int						 i;

	for (i = 0; i < (int) lengthof(tellers) && error->message == NULL; i++)
		error->message = element(body, tellers[i]);
	if (error->message == NULL)
		error->message = pstrdup(status_reason(error->status));
	error->code = pstrdup(status_reason(error->status));
	for (at = error->code; *at; at++)
		*at = *at == ' ' ? '_' : pg_toupper((unsigned char) *at);
}

/*
 * "REQUEST_LIMIT_EXCEEDED: too many" and other plain text.  Returns whether it
 * has that form.
 */
static bool
read_plain(DbxApiError *error, const char *body, Size length)
{
	Size code = strspn(body, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

	if (code > 2 && strncmp(body + code, ": ", 2) == 0)
	{
		error->code = pnstrdup(body, code);
		error->message = clean_foreign(body + code + 2, length - code - 2);
		return true;
	}
	error->code = pstrdup("UNKNOWN");
	error->message = clean_foreign(body, length);
	return false;
}

/* SCIM: {"schemas": ..., "detail": ..., "status": "404", "scimType": ...} */
static bool
read_scim(DbxApiError *error, const DbxJson *answer)
{
	const char *detail = dbx_json_string(dbx_json_get(answer, "detail"));
	const char *type = dbx_json_string(dbx_json_get(answer, "scimType"));
	const char *status = dbx_json_text(dbx_json_get(answer, "status"));

	if (detail == NULL && dbx_json_get(answer, "schemas") == NULL)
		return false;
	if (detail == NULL || strcmp(detail, "null") == 0)
		detail = "SCIM API Internal Error";
	error->message = clean(type ? psprintf("%s %s", type, detail) : detail);
	error->code = status != NULL && *status ? psprintf("SCIM_%s", clean(status))
											: psprintf("SCIM_%d", error->status);
	return true;
}

/* The first of these members that is a text, and not an empty one; else NULL. */
static const char *
first_text(const DbxJson *answer, const char *const *members, int count)
{
	int i;

	for (i = 0; i < count; i++)
	{
		const char *text = dbx_json_string(dbx_json_get(answer, members[i]));

		if (text != NULL && *text)
			return text;
	}
	return NULL;
}

/* Is there anything but a code, in members that we do not know? */
static bool
says_more(const DbxJson *answer, const char *code)
{
	const DbxJson *member;

	for (member = dbx_json_first(answer); member; member = dbx_json_next(member))
	{
		DbxJsonType type = dbx_json_type(member);

		if ((type == DBX_JSON_STRING && *dbx_json_string(member) &&
			 (code == NULL || strcmp(dbx_json_string(member), code) != 0)) ||
			((type == DBX_JSON_OBJECT || type == DBX_JSON_ARRAY) &&
			 dbx_json_length(member) > 0 &&
			 strcmp(dbx_json_name(member), "details") != 0))
			return true;
	}
	return false;
}

/*
 * What is said beside the message: which field is wrong, whose quota it is, when
 * to come again.  The kinds are many, so all of it is shown as it is.
 */
static void
read_details(DbxApiError *error, const DbxJson *details)
{
	const DbxJson *detail;

	if (dbx_json_type(details) != DBX_JSON_ARRAY ||
		dbx_json_length(details) == 0)
		return;
	error->details = clean(dbx_json_serialize(details));
	for (detail = dbx_json_first(details); detail;
		 detail = dbx_json_next(detail))
	{
		const char *delay = dbx_json_string(dbx_json_get(detail, "retry_delay"));
		char	   *end;
		double		seconds;

		/* "3.5s" */
		if (delay == NULL || !isdigit((unsigned char) *delay))
			continue;
		seconds = strtod(delay, &end);
		if (strcmp(end, "s") == 0)
			error->retry_ms = (int64) (Min(seconds, 86400) * 1000);
	}
}

static void
read_json(DbxApiError *error, const DbxJson *answer)
{
	static const char *const code_members[] = {"error_code", "errorCode",
											   "error"};
	static const char *const text_members[] = {"message", "error_description",
											   "errorSummary", "error"};
	static const char *const gateway_codes[] = {"status", "code"};
	const char				*code = NULL;
	const char				*text;
	int						 i;

	/* as gateways do it */
	if (dbx_json_type(dbx_json_get(answer, "error")) == DBX_JSON_OBJECT)
	{
		answer = dbx_json_get(answer, "error");
		code = first_text(answer, gateway_codes, lengthof(gateway_codes));
	}
	for (i = 0; i < (int) lengthof(code_members) && code == NULL; i++)
	{
		const DbxJson *member = dbx_json_get(answer, code_members[i]);
		DbxJsonType	   type = dbx_json_type(member);

		/* a text with blanks in "error" is API 1.2's message, not a code */
		if (type == DBX_JSON_NUMBER)
			code = dbx_json_text(member);
		else if (type == DBX_JSON_STRING &&
				 strchr(dbx_json_string(member), ' ') == NULL)
			code = dbx_json_string(member);
	}
	text = first_text(answer, text_members, lengthof(text_members));
	if (code != NULL && *code)
		error->code = clean(code);
	if (text != NULL)
		error->message = clean(text);
	else if (!read_scim(error, answer))
		error->message = says_more(answer, code)
			? psprintf("%s: %s", status_reason(error->status),
					   clean(dbx_json_serialize(answer)))
			: pstrdup(status_reason(error->status));
	read_details(error, dbx_json_get(answer, "details"));
}

/* "Job 12 does not exist." comes as a 400, "Run: 1 in job: 2 doesn't exist" too. */
static bool
says_missing(const char *message)
{
	return strstr(message, "does not exist") != NULL ||
		strstr(message, "doesn't exist") != NULL;
}

static bool
is_passing_text(const char *message)
{
	int i;

	for (i = 0; i < (int) lengthof(passing_texts); i++)
	{
		if (strstr(message, passing_texts[i]) != NULL)
			return true;
	}
	/* "worker env <id> not found" */
	return strstr(message, "worker env ") != NULL &&
		strstr(message, " not found") != NULL;
}

static bool
numeric_code(const DbxApiError *error)
{
	return error->code == NULL ||
		strspn(error->code, "0123456789") == strlen(error->code);
}

/*
 * "explained": the answer is of the service, not of something in between or of
 * another web server.
 */
static void
classify(DbxApiError *error, const char *path, bool explained)
{
	int i;

	error->sqlstate = ERRCODE_FDW_ERROR;
	switch (error->status)
	{
		case 401:
			error->sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
			break;
		case 403:
			/* a code that is a number is the gateway's: the token, not the right */
			error->sqlstate = error->code != NULL && numeric_code(error)
				? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
				: ERRCODE_INSUFFICIENT_PRIVILEGE;
			break;
		case 404:
			error->sqlstate = ERRCODE_UNDEFINED_OBJECT;
			break;
		case 429:
			error->sqlstate = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
			error->passing = true;
			error->refused = true;
			break;
		case 408:
			error->passing = true;
			break;
		case 503:
			/* the end of a round is no outage: the next can begin at once */
			error->passing = error->code == NULL ||
				strcmp(error->code, "PARTIAL_DELETE") != 0;
			break;
	}
	for (i = 0; error->code != NULL && i < (int) lengthof(classes); i++)
	{
		if (strcmp(error->code, classes[i].code) == 0)
		{
			error->sqlstate = classes[i].sqlstate;
			error->passing |= classes[i].passing;
			error->refused |= classes[i].refused && error->status < 500;
		}
	}
	if (is_passing_text(error->message))
		error->passing = true;
	if (strstr(error->message, RATE_LIMIT_TEXT) != NULL && error->status < 500)
	{
		error->sqlstate = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
		error->refused = true;
	}
	if ((error->status == 400 || error->status == 404) &&
		says_missing(error->message) &&
		(numeric_code(error) ||
		 strcmp(error->code, "INVALID_PARAMETER_VALUE") == 0) &&
		(strstr(path, "/jobs/") != NULL || strstr(path, "/clusters/") != NULL))
		error->sqlstate = ERRCODE_UNDEFINED_OBJECT;
	/* an endpoint that is not there is no object that is not there */
	error->not_found = error->sqlstate == ERRCODE_UNDEFINED_OBJECT &&
		explained &&
		(error->code == NULL || strcmp(error->code, "ENDPOINT_NOT_FOUND") != 0) &&
		strncmp(error->message, "Bad Target", 10) != 0;
}

static void
add_hint(DbxApiError *error, const DbxWorkspace *workspace, const char *path)
{
	bool of_jobs = strstr(path, "/jobs/") != NULL;

	if (error->hint != NULL)
		return;
	switch (error->sqlstate)
	{
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
			error->hint = psprintf(
				"Give the workspace a valid token: ALTER USER MAPPING FOR ... SERVER %s OPTIONS (SET token '...').",
				quote_identifier(workspace->name));
			break;
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			error->hint = of_jobs
				? pstrdup(
					  "The user of the token lacks a permission in Databricks; on a job, CAN_VIEW is needed to read, CAN_MANAGE_RUN to start and cancel runs, CAN_MANAGE to change it.")
				: pstrdup(
					  "The user of the token lacks a permission in Databricks.");
			break;
		case ERRCODE_UNDEFINED_OBJECT:
			error->hint = error->not_found
				? psprintf(
					  of_jobs
						  ? "Check the id and the workspace (\"%s\"); runs are kept for 60 days."
						  : "Check the name or id, and the workspace (\"%s\").",
					  workspace->name)
				: pstrdup(
					  "This workspace does not offer that part of the API, or the host is not that of a workspace.");
			break;
		case ERRCODE_CONFIGURATION_LIMIT_EXCEEDED:
			error->hint = error->passing
				? pstrdup(
					  "The rate limit of the workspace is reached; try again later or make fewer calls.")
				: pstrdup(
					  "A quota of the workspace is used up: try again later, or ask its administrators for more.");
			break;
		case ERRCODE_FDW_ERROR:
			if (error->code != NULL &&
				strcmp(error->code, "INVALID_STATE") == 0 &&
				strstr(path, "/clusters/") != NULL)
				error->hint = pstrdup(
					"A cluster is resized and restarted while it runs, and edited while it runs or is terminated, never on its way to another state; databricks.ensure_cluster_is_running() waits until it runs and starts it if need be.");
			else if (strstr(error->message, "is not a valid endpoint id") != NULL)
				error->hint = pstrdup(
					"SELECT warehouse_id, name FROM databricks.warehouses; shows those there are.");
			else if (error->code != NULL &&
					 strstr(error->code, "ALREADY_EXISTS") != NULL &&
					 (strstr(path, "/dbfs/put") != NULL ||
					  strstr(path, "/fs/files/") != NULL ||
					  strstr(path, "/workspace/import") != NULL))
				error->hint = pstrdup(
					"A file is replaced with overwrite => true, a directory never.");
			break;
	}
}

/* No answer came. */
static DbxApiError *
network_error(const DbxWorkspace *workspace, const DbxHttpResponse *response)
{
	static const char *unreachable =
		"Check options \"host\" and \"proxy\" of the server, and what this machine may reach.";
	DbxApiError *error = palloc0(sizeof(DbxApiError));
	const char	*what = "the connection failed";

	error->sqlstate = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
	error->passing = true;
	error->unknown_outcome = response->maybe_sent;
	switch (response->failure)
	{
		case DBX_HTTP_UNRESOLVED:
			what = "the host name cannot be resolved";
			/* a typing error would be retried for minutes */
			error->passing = false;
			error->hint = pstrdup(
				"Check options \"host\" and \"proxy\" of the server, and the name service of this machine.");
			break;
		case DBX_HTTP_REFUSED:
			what = "the host cannot be reached";
			error->hint = pstrdup(unreachable);
			break;
		case DBX_HTTP_PROXY:
			what = "the proxy refused";
			error->passing = false;
			error->hint = pstrdup(
				"Check option \"proxy\" of the server, and what that proxy allows.");
			break;
		case DBX_HTTP_CONNECT_TIMEOUT:
			what = "the host did not answer in time";
			error->hint = pstrdup(unreachable);
			break;
		case DBX_HTTP_TLS:
			what = "TLS failed";
			error->passing = strstr(response->error, "certificate") == NULL;
			error->hint = error->passing
				? pstrdup("Check that the host speaks TLS at this port.")
				: pstrdup(
					  "Certificates are always verified; option \"ca_file\" of the server names further authorities.");
			break;
		case DBX_HTTP_TIMEOUT:
			what = "no answer within request_timeout";
			error->hint = psprintf(
				"Allow more if the call may take that long: ALTER SERVER %s OPTIONS (ADD request_timeout '...').",
				quote_identifier(workspace->name));
			break;
		case DBX_HTTP_BROKEN:
			what = "the connection broke";
			break;
		case DBX_HTTP_TOO_LARGE:
			what = "the answer is larger than max_response_size";
			error->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
			error->passing = false;
			error->hint = psprintf(
				"Raise it if need be: ALTER SERVER %s OPTIONS (ADD max_response_size '...').",
				quote_identifier(workspace->name));
			break;
		case DBX_HTTP_LARGE_HEAD:
			what = "the head of the answer is larger than any should be";
			error->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
			error->passing = false;
			break;
		case DBX_HTTP_NO_MEMORY:
			what = "the answers under way take more than databricks.max_buffer_size";
			error->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
			error->passing = false;
			error->hint = pstrdup(
				"Ask for less at once, lower option \"max_parallel\" of the server, or have a superuser raise the setting.");
			break;
		default:
			error->passing = false;
			break;
	}
	error->message = *response->error
		? psprintf("%s: %s", what,
				   clean_foreign(response->error, strlen(response->error)))
		: pstrdup(what);
	return error;
}

/* A redirect, or a page where JSON should be: not the API, or not for us. */
static DbxApiError *
wrong_door(const DbxWorkspace *workspace, DbxTransfer *transfer,
		   const DbxHttpResponse *response)
{
	DbxApiError *error = palloc0(sizeof(DbxApiError));
	const char	*location = dbx_http_header(transfer, "Location");
	bool		 login;

	error->status = response->status;
	if (location != NULL &&
		strstr(location, "private-link-validation-error") != NULL)
	{
		error->status = 403;
		error->code = pstrdup("PRIVATE_LINK_VALIDATION_ERROR");
		error->sqlstate = ERRCODE_INSUFFICIENT_PRIVILEGE;
		error->message = pstrdup(
			"the workspace may only be reached over its private link");
		error->hint = pstrdup(
			"Access from this network is not allowed; see the private link settings of the workspace.");
		return error;
	}
	if (response->status >= 300)
	{
		login = location != NULL && strstr(location, "login") != NULL;
		error->message = location != NULL
			? psprintf("the request was redirected to %s",
					   clean_foreign(location, strcspn(location, "?#")))
			: pstrdup("the request was redirected");
	}
	else
	{
		login = strcasestr(response->body, "<html") != NULL;
		error->message = login
			? pstrdup(
				  "a web page came back instead of JSON, probably the login page")
			: pstrdup("markup came back instead of JSON");
	}
	error->sqlstate = login ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
							: ERRCODE_FDW_UNABLE_TO_CREATE_REPLY;
	error->hint = psprintf(
		"Check that %s is the address of a workspace and that the token is valid there.",
		workspace->host);
	return error;
}

/*
 * Answers to HEAD have no body, so what is wrong with a token stands in a header
 * alone; the gateway would have given the status as code.
 */
static void
read_nothing(DbxApiError *error, DbxTransfer *transfer)
{
	const char *reason = dbx_http_header(transfer, "X-Databricks-Reason-Phrase");

	if (reason == NULL)
	{
		error->message = pstrdup(status_reason(error->status));
		return;
	}
	error->message = clean_foreign(reason, strlen(reason));
	if (strstr(reason, "token") != NULL)
		error->code = psprintf("%d", error->status);
}

DbxApiError *
dbx_api_error(const DbxWorkspace *workspace, const char *path,
			  DbxTransfer *transfer)
{
	const DbxHttpResponse *response = dbx_http_response(transfer);
	const char			  *request_id;
	const char			  *body = response->body;
	DbxApiError			  *error;
	DbxJson				  *answer;
	char				  *why;

	if (response->failure != DBX_HTTP_OK)
		return network_error(workspace, response);
	request_id = dbx_http_header(transfer, "X-Request-Id");
	if ((response->status >= 300 && response->status < 400) ||
		(response->status < 300 && looks_like_markup(body)))
		error = wrong_door(workspace, transfer, response);
	else if (response->status >= 200 && response->status < 300)
		return NULL;
	else
	{
		const char *text = body + strspn(body, " \t\r\n");
		bool		explained = false;

		error = palloc0(sizeof(DbxApiError));
		error->status = response->status;
		if (looks_like_markup(body))
			read_markup(error, body);
		else if (text[0] == '\0')
			read_nothing(error, transfer);
		else
		{
			answer = dbx_json_try_parse(body, response->body_len, &why);
			if (dbx_json_type(answer) == DBX_JSON_OBJECT)
			{
				read_json(error, answer);
				explained = true;
			}
			else
				explained = read_plain(error, text,
									   response->body_len - (text - body));
		}
		classify(error, path, explained);
		/* who fails after the work began may have finished it */
		error->unknown_outcome = response->status == 408 ||
			(response->status >= 500 && response->status != 501);
	}
	if (request_id != NULL)
		error->request_id = clean_foreign(request_id, strlen(request_id));
	add_hint(error, workspace, path);
	return error;
}

DbxApiError *
dbx_api_unreadable(const char *why)
{
	DbxApiError *error = palloc0(sizeof(DbxApiError));

	error->status = 200;
	error->sqlstate = ERRCODE_FDW_UNABLE_TO_CREATE_REPLY;
	error->message = psprintf("the answer cannot be read: %s", why);
	return error;
}

void
dbx_api_no_id(const char *member)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
		 errmsg("outcome is unknown: the service accepted the call, but its answer has no \"%s\"",
				member),
		 errhint(
			 "The call was probably carried out; look there before you repeat it.")));
}
