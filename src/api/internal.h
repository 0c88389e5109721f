/*
 * internal.h
 *	  Borders between the files of src/api; of no interest outside.
 */
#ifndef DBX_API_INTERNAL_H
#define DBX_API_INTERNAL_H

#include "api/api.h"
#include "http/http.h"

/*
 * error.c: what went wrong with an exchange, or NULL if nothing did.  Allocated
 * in the current memory context; never raises for anything the service sends.
 */
extern DbxApiError *dbx_api_error(const DbxWorkspace *workspace,
								  const char *path, DbxTransfer *transfer);

/* error.c: the error for an answer that is no JSON object, "why" from the reader. */
extern DbxApiError *dbx_api_unreadable(const char *why);

/*
 * call.c: the answer of a call that succeeded, in the current memory context;
 * NULL and a sentence in *why if it is not a JSON object.
 */
extern DbxJson *dbx_call_try_json(DbxCall *call, char **why);

/* call.c: what was asked and answered, a sentence for a DETAIL. */
extern char *dbx_call_detail(const DbxCall *call);

/* endpoint.c: how a call is counted and limited. */
#define DBX_ENDPOINT_NAME 64 /* with the final NUL */

typedef struct DbxEndpoint
{
	char *name;		   /* "GET jobs/runs/get", palloc'd; ids are "*" */
	const char *class; /* what is limited together; maybe the name */
	double per_second; /* published limit, 0: none */
} DbxEndpoint;

extern void dbx_endpoint_describe(const char *method, const char *path,
								  DbxEndpoint *result);

/* endpoint.c: does the call leave something not to be there any more? */
extern bool dbx_endpoint_deletes(const char *method, const char *path);

/*
 * query.c: a query with "value" for "name", in place of one that it may have; in
 * the current memory context.
 */
extern char *dbx_query_with(const char *query, const char *name,
							const char *value);

/* query.c: raise 22023 for what is no method or path of the API. */
extern void dbx_api_check_path(const char *method, const char *path);

/*
 * pager.c: an object whose arrays come in pages, got without waiting.  It lies in
 * the memory context that was current at the start; give it up by resetting that.
 * What the spec points to must live as long.
 */
typedef struct DbxGet
{
	MemoryContext		context;
	const DbxWorkspace *workspace;
	DbxCallSpec			spec;
	DbxCall			   *call;	/* of the next page; NULL: all have come */
	DbxJson			   *object; /* as far as it has come */
	const DbxApiError  *error;	/* that "call" ended with, NULL: none */
	DbxPages			pages;
} DbxGet;

extern DbxGet *dbx_get_start(const DbxWorkspace *workspace,
							 const DbxCallSpec	*spec);

/* Is it over?  Then there is an error, or the object is whole. */
extern bool dbx_get_done(DbxGet *get);

/* Raise its error. */
extern pg_noreturn void dbx_get_raise(const DbxGet *get);

/*
 * retry.c: milliseconds to wait before trying again, or -1 for not again.
 * "attempt" counts from 1, "spent" is the time since the first one.
 */
extern int64 dbx_retry_delay(const DbxApiError *error, DbxHttpFailure failure,
							 DbxEffect effect, bool maybe_sent,
							 const char *retry_after, int attempt,
							 int64 spent_ms, int64 patience_ms);

#endif /* DBX_API_INTERNAL_H */
