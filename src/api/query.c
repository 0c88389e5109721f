/*
 * query.c
 *	  Paths and query strings.
 *
 * Separate so that escaping happens in one place.
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/json.h"

#include "api/internal.h"

static pg_noreturn void
bad_path(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid path of an API call"), errdetail("%s", why)));
}

/* Is this segment "." or "..", also in disguise? */
static bool
is_relative(const char *segment, Size length)
{
	int dots = 0;

	while (length > 0)
	{
		Size step = *segment == '.'									? 1
			: length >= 3 && pg_strncasecmp(segment, "%2e", 3) == 0 ? 3
																	: 0;

		if (step == 0)
			return false;
		segment += step;
		length -= step;
		dots++;
	}
	return dots == 1 || dots == 2;
}

void
dbx_api_check_path(const char *method, const char *path)
{
	static const char *const methods[] = {"GET",   "POST",	 "PUT",
										  "PATCH", "DELETE", "HEAD"};
	const char				*at;
	int						 i;

	for (i = 0; i < (int) lengthof(methods); i++)
	{
		if (strcmp(method, methods[i]) == 0)
			break;
	}
	if (i == (int) lengthof(methods))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid HTTP method \"%s\"", method),
				 errhint("Use GET, POST, PUT, PATCH, DELETE or HEAD.")));
	if (strncmp(path, "/api/", 5) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("path of an API call must begin with \"/api/\""),
			 errdetail(
				 "The host is that of the workspace; addresses elsewhere are never called."),
			 errhint("As in \"/api/2.2/jobs/list\".")));
	for (at = path; *at; at++)
	{
		if ((unsigned char) *at <= ' ' || (unsigned char) *at >= 0x7f ||
			*at == '#' || *at == '\\')
			bad_path(
				"It holds a blank or another character that has to be escaped.");
	}
	/* libcurl would resolve them, and end somewhere else */
	for (at = path; *at == '/'; at += 1 + strcspn(at + 1, "/?"))
	{
		if (is_relative(at + 1, strcspn(at + 1, "/?")))
			bad_path("It holds a relative segment.");
	}
}

char *
dbx_path_segment(const char *value)
{
	if (*value == '\0' || strpbrk(value, "/\\") != NULL ||
		is_relative(value, strlen(value)))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" cannot be an id", value),
			 errdetail(
				 "As part of a path it would lead to another call of the service.")));
	return dbx_http_escape(dbx_json_to_utf8(value));
}

char *
dbx_path_segments(const char *value)
{
	StringInfoData out;

	initStringInfo(&out);
	value = dbx_json_to_utf8(value);
	for (;;)
	{
		Size length = strcspn(value, "/");

		appendStringInfoString(&out, dbx_http_escape(pnstrdup(value, length)));
		value += length;
		if (*value == '\0')
			return out.data;
		appendStringInfoChar(&out, *value++);
	}
}

char *
dbx_api_jobs_path(const DbxWorkspace *workspace, const char *call)
{
	return psprintf("/api/%s/jobs/%s", workspace->jobs_api_version, call);
}

void
dbx_query_add(StringInfo query, const char *name, const char *value)
{
	/* the service speaks UTF-8 whatever the database does */
	name = dbx_json_to_utf8(name);
	value = dbx_json_to_utf8(value);
	appendStringInfo(query, "%s%s=%s", query->len > 0 ? "&" : "",
					 dbx_http_escape(name), dbx_http_escape(value));
}

/* One name or value of a query, unescaped. */
static char *
unescape(const char *text, Size length)
{
	StringInfoData plain;
	Size		   i;

	initStringInfo(&plain);
	for (i = 0; i < length; i++)
	{
		if (text[i] == '%' && i + 2 < length &&
			isxdigit((unsigned char) text[i + 1]) &&
			isxdigit((unsigned char) text[i + 2]))
		{
			char digits[3] = {text[i + 1], text[i + 2], '\0'};

			appendStringInfoChar(&plain, (char) strtol(digits, NULL, 16));
			i += 2;
		}
		else
			appendStringInfoChar(&plain, text[i]);
	}
	return plain.data;
}

char *
dbx_query_json(const char *query)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	while (*query)
	{
		Size  length = strcspn(query, "&");
		Size  split = strcspn(query, "=");
		char *name = unescape(query, split);
		char *value = unescape(query + split + 1, length - split - 1);
		Size  end = strlen(name);

		if (body.len > 1)
			appendStringInfoChar(&body, ',');
		/* already UTF-8, as the body is to be: nothing is converted here */
		escape_json(&body, name);
		appendStringInfoChar(&body, ':');
		if (value[0] != '\0' && value[strspn(value, "0123456789")] == '\0' &&
			(end < 3 || strcmp(name + end - 3, "_id") != 0))
			appendStringInfoString(&body, value);
		else
			escape_json(&body, value);
		query += length;
		query += strspn(query, "&");
	}
	appendStringInfoChar(&body, '}');
	return body.data;
}

void
dbx_query_add_int64(StringInfo query, const char *name, int64 value)
{
	dbx_query_add(query, name, psprintf(INT64_FORMAT, value));
}

char *
dbx_query_with(const char *query, const char *name, const char *value)
{
	Size		   length = strlen(name);
	StringInfoData result;

	initStringInfo(&result);
	while (query != NULL && *query)
	{
		Size part = strcspn(query, "&");

		if (strncmp(query, name, length) != 0 || query[length] != '=')
			appendStringInfo(&result, "%s%.*s", result.len > 0 ? "&" : "",
							 (int) part, query);
		query += part + (query[part] == '&');
	}
	dbx_query_add(&result, name, value);
	return result.data;
}
