/*
 * api.h
 *	  A call of the REST API: authorised, limited, retried, counted -> JSON.
 *
 * Calls are started and waited for separately, so that any number can be under
 * way at once: while one is waited for, all make progress, also those that are
 * waiting to be tried again.  A call belongs to the memory context that was
 * current when it was started; resetting that context gives it up.
 */
#ifndef DBX_API_H
#define DBX_API_H

#include "lib/stringinfo.h"

#include "compat.h"
#include "http/http.h"
#include "json/json.h"
#include "workspace/workspace.h"

/* What calls cost; kept by the caller, added to by every call that names it. */
typedef struct DbxCallStats
{
	int64  calls; /* requests sent, repeats included */
	int64  pages; /* pages of lists read */
	int64  retries;
	int64  bytes_in;
	double elapsed_ms;	  /* sum over requests */
	double quota_wait_ms; /* waiting for the rate limit */
} DbxCallStats;

typedef enum DbxEffect
{
	DBX_EFFECT_READ,	   /* changes nothing */
	DBX_EFFECT_IDEMPOTENT, /* may be repeated without harm */
	DBX_EFFECT_ONCE		   /* must not be repeated blindly */
} DbxEffect;

/*
 * Bytes as they are: in memory, of a temporary File (of storage/fd.h), or handed
 * out piece by piece.  Not copied, so they must outlive the call.
 */
typedef struct DbxContent
{
	const char			*bytes;	 /* NULL: not in memory */
	int					 file;	 /* 0: not in a file */
	const DbxHttpWindow *window; /* NULL: not in pieces */
	Size				 length;
	const char			*type; /* NULL: application/octet-stream */
} DbxContent;

typedef struct DbxCallSpec
{
	const char	 *method;
	const char	 *path;	  /* begins with /api/ */
	const char	 *query;  /* escaped, without "?"; NULL: none */
	const char	 *body;	  /* JSON text; NULL: none */
	const char	 *caller; /* SQL function or table, for messages and the
								 * User-Agent; NULL: none */
	DbxCallStats *stats;  /* may be NULL; must outlive the call */

	const char *token; /* idempotency token in the body, to be told when the
						* call is interrupted; NULL: none */

	DbxContent content; /* instead of "body" */

	/*
	 * Where the bytes of a success go instead of dbx_call_body(); must outlive the
	 * call.  dbx_call_into_len() says how many came.
	 */
	char *into;
	Size  into_size;

	bool repeatable;   /* the caller knows that a repeat does no harm */
	bool uncompressed; /* of the answer: packing it costs more than it saves */

	/* What of the answer is read, NULL: all of it; must outlive the call. */
	const DbxJsonProjection *projection;
} DbxCallSpec;

typedef struct DbxApiError
{
	int	  status;	  /* HTTP status, 0: no answer */
	int	  sqlstate;	  /* as design says, from MAKE_SQLSTATE */
	char *code;		  /* service's error code, NULL if none */
	char *message;	  /* never NULL; redacted */
	char *details;	  /* its "details" as JSON; redacted; NULL if none */
	char *request_id; /* X-Request-Id, NULL if none */
	char *hint;		  /* NULL if none */
	int64 retry_ms;	  /* after which its "details" say to come again, or 0 */
	bool  not_found;  /* the object named in the call does not exist */
	bool  passing;	  /* worth another try later */
	bool  refused;	  /* turned away before any work was done */
	bool  unknown_outcome; /* the call may have been carried out */
} DbxApiError;

typedef struct DbxCall DbxCall;

/*
 * While set, no call can be begun and the error says that it cannot be done in
 * "this place".  The background worker sets it while it writes, so that a
 * trigger on one of its tables cannot make it wait for the network.
 */
extern PGDLLIMPORT const char *dbx_api_forbidden;

/*
 * Begin a call.  Raises before anything is sent: a path that is not of the API,
 * a change in a read-only transaction (25006), missing credentials.
 */
extern DbxCall *dbx_call_start(const DbxWorkspace *workspace,
							   const DbxCallSpec  *spec);

/* Raise now what starting such a call would raise because of what it is. */
extern void dbx_call_check(const DbxCallSpec *spec);

/* Has it come to its end, retries included? */
extern bool dbx_call_done(const DbxCall *call);

/*
 * Of content in pieces: which byte must be in the window before the call goes on
 * (-1: it does not wait for that; dbx_calls_progress() returns when it begins to),
 * and that the window has changed.
 */
extern int64 dbx_call_starved(const DbxCall *call);
extern void	 dbx_call_more(DbxCall *call);

/* Wait for a call to end; interrupts are served. */
extern void dbx_call_wait(DbxCall *call);

/*
 * Let all calls of this process make progress until one of them ends, the
 * latch is set or "deadline" passes (0: none).  True if the deadline passed.
 */
extern bool dbx_calls_progress(TimestampTz deadline);

/* After the end: the error, or NULL on success.  Lives as long as the call. */
extern const DbxApiError *dbx_call_error(const DbxCall *call);

/*
 * After success: the answer, parsed into the current memory context.  An empty
 * body is an empty object; what is not a JSON object raises (08007 when the call
 * must not be repeated: it was carried out, but nobody knows with what result).
 */
extern DbxJson *dbx_call_json(DbxCall *call);
extern int		dbx_call_status(const DbxCall *call);

extern Size dbx_call_into_len(const DbxCall *call);

/* A header of the answer, name in any case; NULL if absent. */
extern const char *dbx_call_header(const DbxCall *call, const char *name);

/* The answer as received; lives as long as the call. */
extern const char *dbx_call_body(const DbxCall *call);

/* The error of a failed call in one line, in the current memory context. */
extern char *dbx_call_headline(const DbxCall *call);

/*
 * After the end, for callers that go on with others: the answer as from
 * dbx_call_json(), or NULL and what is wrong, in one line, in *error.
 */
extern DbxJson *dbx_call_outcome(DbxCall *call, char **error);

/* Raise the error of a failed call. */
extern pg_noreturn void dbx_call_raise(const DbxCall *call);

/*
 * Raise 08007 for a success without the id that it must give: the call was
 * probably carried out, but nobody knows what came of it.
 */
extern pg_noreturn void dbx_api_no_id(const char *member);

/* End a call (giving it up if under way) and free what it holds. */
extern void dbx_call_free(DbxCall *call);

/* Start, wait, raise or return the answer in the current memory context. */
extern DbxJson *dbx_call(const DbxWorkspace *workspace, const DbxCallSpec *spec);

/* What a call does to the service, whatever its method. */
extern DbxEffect dbx_endpoint_effect(const char *method, const char *path,
									 const char *body);

/*
 * What the pages of one list or object have shown so far, for those who walk
 * them; zeroed before the first one.  dbx_pages_go_on() is for a page that names
 * a next one: raises when the tokens go round in circles, and when the pages are
 * more than databricks.max_pages, as a cut list must not look whole.  "path" is
 * for the message.
 */
typedef struct DbxPages
{
	int64  count;
	uint64 hash;	  /* of a token seen some pages ago */
	int64  hash_page; /* ... and when, 0: none yet */
} DbxPages;

/*
 * The elements of a page, NULL if it has none.  Raises where they are something
 * else than an array: that is no empty list.
 */
extern const DbxJson *dbx_page_rows(const DbxJson *answer, const char *items,
									const char *path);

/* The token of the next page; NULL: there is none. */
extern const char *dbx_page_token(const DbxJson *answer);
extern void		   dbx_pages_go_on(DbxPages *pages, const char *path,
								   const char *token);

/*
 * Walking the pages of a list.  The memory of a page lasts until the next one
 * is asked for.
 */
typedef struct DbxPager DbxPager;

typedef struct DbxPageSpec
{
	const char *path;		 /* of the list call */
	const char *query;		 /* escaped filters and page size, NULL: none */
	const char *items;		 /* member that holds the rows, "runs" */
	const char *token_param; /* "page_token" unless NULL */
	bool missing_is_empty;	 /* if what the filters name does not exist, the
									 * list is empty instead of an error */
	bool keep_pages;		 /* pages live until the pager is closed */
	bool tell_expired;		 /* a page token that is refused ends the list, see
								 * dbx_pager_expired(), instead of raising */
	bool items_given;		 /* "items" is a word of the user: raise 22023 if
							  * the elements are elsewhere */
	bool post; /* the list call is a POST, see dbx_query_json(); its
							  * answer may have the body for the next page in
							  * member "next_page" */
	const DbxJsonProjection *projection; /* see DbxCallSpec; must outlive it */
	const char				*caller;
	DbxCallStats			*stats;
} DbxPageSpec;

/* No call is made before the first page is asked for. */
extern DbxPager *dbx_pager_open(const DbxWorkspace *workspace,
								const DbxPageSpec  *spec);

/*
 * The rows of the next page, a possibly empty array (NULL node when the member
 * is absent: treat as empty).  False: there is no further page.
 */
extern bool dbx_pager_next(DbxPager *pager, const DbxJson **rows);

/*
 * Ask for the next page without waiting for it, if there is one and it is not
 * asked for yet.  The page in hand stays what it is until dbx_pager_next().
 */
extern void dbx_pager_begin(DbxPager *pager);

/* Would dbx_pager_next() return without waiting? */
extern bool dbx_pager_ready(const DbxPager *pager);

/* Was the token of the page asked for last refused?  Only with tell_expired. */
extern bool dbx_pager_expired(const DbxPager *pager);

/* Is it known that no further page follows the current one? */
extern bool dbx_pager_at_end(const DbxPager *pager);
extern void dbx_pager_close(DbxPager *pager);

/*
 * GET of an object whose arrays come in pages (jobs/get, runs/get): all pages
 * merged into one object without its page token, in the current context.
 */
extern DbxJson *dbx_api_get_merged(const DbxWorkspace *workspace,
								   const DbxCallSpec  *spec);

/*
 * The same from a first page on that is already parsed: "spec" is the call that
 * gave it; the arrays of all further pages are appended to "first".
 */
extern void dbx_api_merge_rest(const DbxWorkspace *workspace,
							   const DbxCallSpec *spec, DbxJson *first);

/*
 * Path of a call of the Jobs API in the version this workspace speaks:
 * dbx_api_jobs_path(ws, "runs/get") -> "/api/2.2/jobs/runs/get".  (The fall
 * back to 2.1 where the service lacks 2.2 happens inside the call.)
 */
extern char *dbx_api_jobs_path(const DbxWorkspace *workspace, const char *call);

/* A value as one segment of a path, escaped.  Error 22023 if it cannot be one. */
extern char *dbx_path_segment(const char *value);

/* A value as any number of segments: escaped, but for the slashes between them. */
extern char *dbx_path_segments(const char *value);

/* Append "name=value" (value escaped) to a query under construction. */
extern void dbx_query_add(StringInfo query, const char *name, const char *value);
extern void dbx_query_add_int64(StringInfo query, const char *name, int64 value);

/*
 * A query as the body of a call that wants its parameters there: an object in
 * which values of digits are numbers, except those of ids, which are names here
 * that end in "_id".
 */
extern char *dbx_query_json(const char *query);

#endif /* DBX_API_H */
