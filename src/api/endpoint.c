/*
 * endpoint.c
 *	  What a call does to the service: the one table about the endpoints.
 *
 * Separate because retries, read-only transactions and connection reuse all
 * hang on it.  The method alone does not tell: listing the events of a cluster
 * is a POST, and so is cancelling a run, which may be repeated without harm,
 * while creating a job twice makes two jobs.
 */
#include "postgres.h"

#include "api/internal.h"

typedef enum Repeat
{
	REPEAT_READ,
	REPEAT_SAFE,
	REPEAT_DELETE,	  /* safe, but may find nothing left to do */
	REPEAT_WITH_TOKEN /* safe when the body has an idempotency_token */
} Repeat;

typedef struct Endpoint
{
	const char *path; /* behind /api/<version>/; "*" matches one segment */
	Repeat		repeat;
} Endpoint;

/* POST calls that are not the rule.  The rule is: must not be repeated. */
static const Endpoint posts[] = {
	{"clusters/delete", REPEAT_SAFE},
	{"clusters/edit", REPEAT_SAFE},
	{"clusters/events", REPEAT_READ},
	{"clusters/permanent-delete", REPEAT_DELETE},
	{"clusters/pin", REPEAT_SAFE},
	{"clusters/resize", REPEAT_SAFE},
	{"clusters/start", REPEAT_SAFE},
	{"clusters/unpin", REPEAT_SAFE},
	{"clusters/update", REPEAT_SAFE},
	{"dbfs/delete", REPEAT_DELETE},
	{"dbfs/mkdirs", REPEAT_SAFE},
	{"jobs/delete", REPEAT_DELETE},
	{"jobs/reset", REPEAT_SAFE},
	{"jobs/run-now", REPEAT_WITH_TOKEN},
	{"jobs/runs/cancel", REPEAT_SAFE},
	{"jobs/runs/cancel-all", REPEAT_SAFE},
	{"jobs/runs/delete", REPEAT_DELETE},
	{"jobs/runs/submit", REPEAT_WITH_TOKEN},
	{"jobs/update", REPEAT_SAFE},
	{"pipelines/*/stop", REPEAT_SAFE},
	{"secrets/acls/delete", REPEAT_DELETE},
	{"secrets/acls/put", REPEAT_SAFE},
	{"secrets/delete", REPEAT_DELETE},
	{"secrets/put", REPEAT_SAFE},
	{"secrets/scopes/delete", REPEAT_DELETE},
	{"sql/statements/*/cancel", REPEAT_SAFE},
	{"sql/warehouses/*/edit", REPEAT_SAFE},
	{"sql/warehouses/*/start", REPEAT_SAFE},
	{"sql/warehouses/*/stop", REPEAT_SAFE},
	{"workspace/delete", REPEAT_DELETE},
	{"workspace/mkdirs", REPEAT_SAFE},
};

static bool
path_matches(const char *path, const char *pattern)
{
	while (*pattern)
	{
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
	if (*path == '/')
		path++;
	return *path == '\0' || *path == '?';
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

/* The exception for a POST call, NULL if the rule holds. */
static const Endpoint *
find_post(const char *path)
{
	const char *call = behind_version(path);
	int			i;

	for (i = 0; i < (int) lengthof(posts); i++)
	{
		if (path_matches(call, posts[i].path))
			return &posts[i];
	}
	return NULL;
}

DbxEffect
dbx_endpoint_effect(const char *method, const char *path, const char *body)
{
	const Endpoint *post;

	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return DBX_EFFECT_READ;
	if (strcmp(method, "POST") != 0)
		return DBX_EFFECT_IDEMPOTENT; /* PUT, PATCH, DELETE */
	post = find_post(path);
	if (post == NULL)
		return DBX_EFFECT_ONCE;
	switch (post->repeat)
	{
		case REPEAT_READ:
			return DBX_EFFECT_READ;
		case REPEAT_SAFE:
		case REPEAT_DELETE:
			return DBX_EFFECT_IDEMPOTENT;
		case REPEAT_WITH_TOKEN:
			break;
	}
	return has_token(body) ? DBX_EFFECT_IDEMPOTENT : DBX_EFFECT_ONCE;
}

bool
dbx_endpoint_deletes(const char *method, const char *path)
{
	const Endpoint *post;

	if (strcmp(method, "DELETE") == 0)
		return true;
	if (strcmp(method, "POST") != 0)
		return false;
	post = find_post(path);
	return post != NULL && post->repeat == REPEAT_DELETE;
}
