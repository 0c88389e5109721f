/*
 * query.c
 *	  Paths and query strings.
 *
 * Separate so that escaping happens in one place.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "api/internal.h"

char *
dbx_api_jobs_path(const DbxWorkspace *workspace, const char *call)
{
	return psprintf("/api/%s/jobs/%s", workspace->jobs_api_version, call);
}

void
dbx_query_add(StringInfo query, const char *name, const char *value)
{
	/* the service speaks UTF-8 whatever the database does */
	value = pg_server_to_any(value, strlen(value), PG_UTF8);
	appendStringInfo(query, "%s%s=%s", query->len > 0 ? "&" : "",
					 dbx_http_escape(name), dbx_http_escape(value));
}

void
dbx_query_add_int64(StringInfo query, const char *name, int64 value)
{
	dbx_query_add(query, name, psprintf(INT64_FORMAT, value));
}
