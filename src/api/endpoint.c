/*
 * endpoint.c
 *	  What is known about the calls of the service: the one table.
 *
 * Separate because retries, read-only transactions, connection reuse, rate
 * limits and statistics all hang on it.  The method alone does not tell what a
 * call does: listing the events of a cluster is a POST, and so is cancelling a
 * run, which may be repeated without harm, while creating a job twice makes two
 * jobs.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"

#include "api/internal.h"

typedef enum Repeat
{
	REPEAT_BY_METHOD, /* a POST must not be repeated, all else may */
	REPEAT_READ,
	REPEAT_SAFE,
	REPEAT_DELETE,	  /* safe, but may find nothing left to do */
	REPEAT_WITH_TOKEN /* safe when the body has an idempotency_token */
} Repeat;

typedef struct Endpoint
{
	const char *method; /* NULL: any */
	const char *path;	/* behind /api/<version>/; "*" matches one segment,
						 * a last one of two asterisks all that follows, if
						 * anything does */
	Repeat		repeat;
	const char *class; /* what is limited together; NULL: this alone */
	double per_second; /* published limit per workspace; 0: none is known */
} Endpoint;

#define UNLIMITED				  NULL, 0
#define ALONE(per_second)		  NULL, per_second
#define SHARED(class, per_second) class, per_second

#define DBFS			SHARED("dbfs", 30)
#define PERMISSION_GET	SHARED("GET permissions", 100)
#define PERMISSION_SET	SHARED("PUT permissions", 30)
#define PIPELINE_GET	SHARED("GET pipelines", 150)
#define PIPELINE_SET	SHARED("POST pipelines", 50)
#define REPOS			SHARED("repos", 10)
#define SCIM_GET		SHARED("GET scim", 255.0 / 60)
#define SCIM_PATCH		SHARED("PATCH scim", 10.0 / 60)
#define SCIM_SET		SHARED("POST scim", 35.0 / 60)
#define SECRETS			SHARED("secrets", 1100.0 / 60)
#define TOKENS			SHARED("token-management", 40)
#define GIT_CREDENTIALS SHARED("git-credentials", 10)

/*
 * By path; of several that fit, the first counts.  What is not here follows the
 * method's rule and has no limit.
 */
static const Endpoint endpoints[] = {
	{"POST", "clusters/delete", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/edit", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/events", REPEAT_READ, UNLIMITED},
	{"POST", "clusters/permanent-delete", REPEAT_DELETE, UNLIMITED},
	{"POST", "clusters/pin", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/resize", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/start", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/unpin", REPEAT_SAFE, UNLIMITED},
	{"POST", "clusters/update", REPEAT_SAFE, UNLIMITED},
	{"POST", "dbfs/delete", REPEAT_DELETE, DBFS},
	{"POST", "dbfs/mkdirs", REPEAT_SAFE, DBFS},
	{NULL, "dbfs/**", REPEAT_BY_METHOD, DBFS},
	{NULL, "fs/directories/**", REPEAT_BY_METHOD, UNLIMITED},
	{NULL, "fs/files/**", REPEAT_BY_METHOD, UNLIMITED},
	{NULL, "git-credentials/**", REPEAT_BY_METHOD, GIT_CREDENTIALS},
	{"POST", "jobs/create", REPEAT_BY_METHOD, ALONE(20)},
	{"POST", "jobs/delete", REPEAT_DELETE, ALONE(10)},
	{"GET", "jobs/get", REPEAT_READ, ALONE(20)},
	{"GET", "jobs/list", REPEAT_READ, ALONE(20)},
	{"POST", "jobs/reset", REPEAT_SAFE, ALONE(20)},
	{"POST", "jobs/run-now", REPEAT_WITH_TOKEN, ALONE(20)},
	{"POST", "jobs/runs/cancel", REPEAT_SAFE, ALONE(10)},
	{"POST", "jobs/runs/cancel-all", REPEAT_SAFE, ALONE(5)},
	{"POST", "jobs/runs/delete", REPEAT_DELETE, ALONE(20)},
	{"GET", "jobs/runs/export", REPEAT_READ, ALONE(20)},
	{"GET", "jobs/runs/get", REPEAT_READ, ALONE(100)},
	{"GET", "jobs/runs/get-output", REPEAT_READ, ALONE(20)},
	{"GET", "jobs/runs/list", REPEAT_READ, ALONE(30)},
	{"POST", "jobs/runs/repair", REPEAT_BY_METHOD, ALONE(5)},
	{"POST", "jobs/runs/submit", REPEAT_WITH_TOKEN, ALONE(35)},
	{"POST", "jobs/update", REPEAT_SAFE, ALONE(10)},
	{"GET", "permissions/**", REPEAT_READ, PERMISSION_GET},
	{NULL, "permissions/**", REPEAT_BY_METHOD, PERMISSION_SET},
	{"POST", "pipelines/*/stop", REPEAT_SAFE, PIPELINE_SET},
	{"GET", "pipelines/**", REPEAT_READ, PIPELINE_GET},
	{NULL, "pipelines/**", REPEAT_BY_METHOD, PIPELINE_SET},
	{"GET", "preview/scim/v2/**", REPEAT_READ, SCIM_GET},
	{"PATCH", "preview/scim/v2/**", REPEAT_BY_METHOD, SCIM_PATCH},
	{NULL, "preview/scim/v2/**", REPEAT_BY_METHOD, SCIM_SET},
	{NULL, "repos/**", REPEAT_BY_METHOD, REPOS},
	{"POST", "secrets/acls/delete", REPEAT_DELETE, SECRETS},
	{"POST", "secrets/acls/put", REPEAT_SAFE, SECRETS},
	{"POST", "secrets/delete", REPEAT_DELETE, SECRETS},
	{"POST", "secrets/put", REPEAT_SAFE, SECRETS},
	{"POST", "secrets/scopes/delete", REPEAT_DELETE, SECRETS},
	{NULL, "secrets/**", REPEAT_BY_METHOD, SECRETS},
	{"GET", "sql/history/queries", REPEAT_READ, ALONE(10)},
	{"POST", "sql/statements/*/cancel", REPEAT_SAFE, UNLIMITED},
	{NULL, "sql/statements/*/result/chunks/*", REPEAT_BY_METHOD, UNLIMITED},
	{NULL, "sql/statements/*", REPEAT_BY_METHOD, UNLIMITED},
	{"POST", "sql/warehouses/*/edit", REPEAT_SAFE, UNLIMITED},
	{"POST", "sql/warehouses/*/start", REPEAT_SAFE, UNLIMITED},
	{"POST", "sql/warehouses/*/stop", REPEAT_SAFE, UNLIMITED},
	{NULL, "sql/warehouses/*", REPEAT_BY_METHOD, UNLIMITED},
	{NULL, "token-management/**", REPEAT_BY_METHOD, TOKENS},
	{"POST", "workspace/delete", REPEAT_DELETE, ALONE(2)},
	{"GET", "workspace/export", REPEAT_READ, ALONE(60)},
	{"POST", "workspace/import", REPEAT_BY_METHOD, ALONE(30)},
	{"GET", "workspace/list", REPEAT_READ, ALONE(50)},
	{"POST", "workspace/mkdirs", REPEAT_SAFE, ALONE(20)},
};

/* Of a path that is not in the table, as many segments are told apart. */
#define NAMED_SEGMENTS 4
#define NAME_LENGTH	   DBX_ENDPOINT_NAME

/* Paths end at their query, and may have a final slash. */
static bool
at_end(const char *path)
{
	if (*path == '/')
		path++;
	return *path == '\0' || *path == '?';
}

static bool
path_matches(const char *path, const char *pattern)
{
	while (*pattern)
	{
		if (strcmp(pattern, "/**") == 0)
			return *path == '/' || at_end(path);
		if (*pattern == '*')
		{
			Size length = strcspn(path, "/?");

			if (length == 0)
				return false;
			path += length;
			pattern++;
		}
		else if (*path++ != *pattern++)
			return false;
	}
	return at_end(path);
}

/* The part of an API path behind its version, "" if it has none. */
static const char *
behind_version(const char *path)
{
	if (strncmp(path, "/api/", 5) != 0)
		return "";
	path = strchr(path + 5, '/');
	return path ? path + 1 : "";
}

static bool
has_token(const char *body)
{
	char	   *error;
	const char *token;

	if (body == NULL)
		return false;
	token = dbx_json_string(
		dbx_json_get(dbx_json_try_parse(body, strlen(body), &error),
					 "idempotency_token"));
	return token != NULL && *token;
}

/* NULL if nothing special is known. */
static const Endpoint *
find_endpoint(const char *method, const char *path)
{
	const char *call = behind_version(path);
	int			i;

	for (i = 0; i < (int) lengthof(endpoints); i++)
	{
		const Endpoint *endpoint = &endpoints[i];

		if ((endpoint->method == NULL || strcmp(endpoint->method, method) == 0) &&
			path_matches(call, endpoint->path))
			return endpoint;
	}
	return NULL;
}

static Repeat
repeat_of(const char *method, const char *path)
{
	const Endpoint *endpoint = find_endpoint(method, path);

	return endpoint != NULL ? endpoint->repeat : REPEAT_BY_METHOD;
}

DbxEffect
dbx_endpoint_effect(const char *method, const char *path, const char *body)
{
	switch (repeat_of(method, path))
	{
		case REPEAT_READ:
			return DBX_EFFECT_READ;
		case REPEAT_SAFE:
		case REPEAT_DELETE:
			return DBX_EFFECT_IDEMPOTENT;
		case REPEAT_WITH_TOKEN:
			return has_token(body) ? DBX_EFFECT_IDEMPOTENT : DBX_EFFECT_ONCE;
		case REPEAT_BY_METHOD:
			break;
	}
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return DBX_EFFECT_READ;
	return strcmp(method, "POST") == 0 ? DBX_EFFECT_ONCE : DBX_EFFECT_IDEMPOTENT;
}

bool
dbx_endpoint_deletes(const char *method, const char *path)
{
	return strcmp(method, "DELETE") == 0 ||
		repeat_of(method, path) == REPEAT_DELETE;
}

/* Does this segment name one object rather than a kind of them? */
static bool
is_id(const char *segment, Size length)
{
	Size i;

	for (i = 0; i < length; i++)
	{
		/* "v2" is no id */
		if (segment[i] == '%' ||
			(length > 2 && isdigit((unsigned char) segment[i])))
			return true;
	}
	return false;
}

/* "clusters/list" as it is, ids as "*". */
static void
append_pattern(StringInfo name, const char *path)
{
	int count = 0;

	while (!at_end(path) && name->len < NAME_LENGTH)
	{
		Size length;

		if (*path == '/')
			path++;
		length = strcspn(path, "/?");
		if (count > 0)
			appendStringInfoChar(name, '/');
		if (count++ == NAMED_SEGMENTS)
		{
			appendStringInfoString(name, "**");
			break;
		}
		if (is_id(path, length))
			appendStringInfoChar(name, '*');
		else
			appendBinaryStringInfo(name, path, length);
		path += length;
	}
}

void
dbx_endpoint_describe(const char *method, const char *path, DbxEndpoint *result)
{
	const Endpoint *endpoint = find_endpoint(method, path);
	StringInfoData	name;

	initStringInfo(&name);
	appendStringInfo(&name, "%s ", method);
	if (endpoint != NULL)
		appendStringInfoString(&name, endpoint->path);
	else
		append_pattern(&name, behind_version(path));
	if (name.len >= NAME_LENGTH)
		name.data[NAME_LENGTH - 1] = '\0';
	result->name = name.data;
	result->class =
		endpoint != NULL && endpoint->class != NULL ? endpoint->class : result->name;
	result->per_second = endpoint != NULL ? endpoint->per_second : 0;
}
