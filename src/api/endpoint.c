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

#include "api/api.h"

typedef enum Repeat
{
	REPEAT_READ,
	REPEAT_SAFE,
	REPEAT_WITH_TOKEN			/* safe when the body has an idempotency_token */
} Repeat;

typedef struct Endpoint
{
	const char *path;			/* behind /api/<version>/; "*" matches one segment */
	Repeat		repeat;
} Endpoint;

/* POST calls that are not the rule.  The rule is: must not be repeated. */
static const Endpoint posts[] = {
	{"clusters/delete", REPEAT_SAFE},
	{"clusters/edit", REPEAT_SAFE},
	{"clusters/events", REPEAT_READ},
	{"clusters/permanent-delete", REPEAT_SAFE},
	{"clusters/pin", REPEAT_SAFE},
	{"clusters/resize", REPEAT_SAFE},
	{"clusters/start", REPEAT_SAFE},
	{"clusters/unpin", REPEAT_SAFE},
	{"clusters/update", REPEAT_SAFE},
	{"dbfs/delete", REPEAT_SAFE},
	{"dbfs/mkdirs", REPEAT_SAFE},
	{"jobs/delete", REPEAT_SAFE},
	{"jobs/reset", REPEAT_SAFE},
	{"jobs/run-now", REPEAT_WITH_TOKEN},
	{"jobs/runs/cancel", REPEAT_SAFE},
	{"jobs/runs/cancel-all", REPEAT_SAFE},
	{"jobs/runs/delete", REPEAT_SAFE},
	{"jobs/runs/submit", REPEAT_WITH_TOKEN},
	{"jobs/update", REPEAT_SAFE},
	{"pipelines/*/stop", REPEAT_SAFE},
	{"secrets/acls/delete", REPEAT_SAFE},
	{"secrets/acls/put", REPEAT_SAFE},
	{"secrets/delete", REPEAT_SAFE},
	{"secrets/put", REPEAT_SAFE},
	{"secrets/scopes/delete", REPEAT_SAFE},
	{"sql/statements/*/cancel", REPEAT_SAFE},
	{"sql/warehouses/*/edit", REPEAT_SAFE},
	{"sql/warehouses/*/start", REPEAT_SAFE},
	{"sql/warehouses/*/stop", REPEAT_SAFE},
	{"workspace/delete", REPEAT_SAFE},
	{"workspace/mkdirs", REPEAT_SAFE},
};

static bool
path_matches(const char *path, const char *pattern)
{
	while (*pattern)
	{
		if (*pattern == '*')
		{
			Size		length = strcspn(path, "/");

			if (length == 0)
				return false;
			path += length;
			pattern++;
		}
		else if (*path++ != *pattern++)
			return false;
	}
	return *path == '\0' || strcmp(path, "/") == 0;
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
	token = dbx_json_string(dbx_json_get(dbx_json_try_parse(body, strlen(body), &error),
										 "idempotency_token"));
	return token != NULL && *token;
}

DbxEffect
dbx_endpoint_effect(const char *method, const char *path, const char *body)
{
	const char *call = behind_version(path);
	int			i;

	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return DBX_EFFECT_READ;
	if (strcmp(method, "POST") != 0)
		return DBX_EFFECT_IDEMPOTENT;	/* PUT, PATCH, DELETE */
	for (i = 0; i < (int) lengthof(posts); i++)
	{
		if (!path_matches(call, posts[i].path))
			continue;
		switch (posts[i].repeat)
		{
			case REPEAT_READ:
				return DBX_EFFECT_READ;
			case REPEAT_SAFE:
				return DBX_EFFECT_IDEMPOTENT;
			case REPEAT_WITH_TOKEN:
				return has_token(body) ? DBX_EFFECT_IDEMPOTENT : DBX_EFFECT_ONCE;
		}
	}
	return DBX_EFFECT_ONCE;
}
