/*
 * http.h
 *	  HTTP transfers and the one way this extension waits.
 *
 * Any number of transfers run at once over one connection pool per process.
 * They only make progress inside dbx_http_wait(), which is also the only place
 * where anything here sleeps: it returns when a transfer finished, when the
 * deadline passed or when the latch was set, and it serves interrupts.
 *
 * A transfer belongs to the memory context that was current when it was
 * started; resetting that context aborts it and frees everything it holds
 * (curl handle, body).  Nothing is ever thrown through libcurl.
 */
#ifndef DBX_HTTP_H
#define DBX_HTTP_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct DbxTransfer DbxTransfer;

/* The part of a body that is in memory just now. */
typedef struct DbxHttpWindow
{
	const char *bytes;
	int64		at; /* place of the first in the body */
	Size		length;
} DbxHttpWindow;

typedef struct DbxHttpRequest
{
	const char *method; /* "GET", "POST", ... */
	const char *url;
	List	   *headers; /* of char *, "Name: value" */
	const char *body;	 /* NULL: no body; copied unless borrowed */
	Size		body_len;
	bool		body_borrowed; /* "body" outlives the transfer */
	/*
	 * The body comes through here, instead of "body": the latch is set when what
	 * is to be sent next is not in it.
	 */
	const DbxHttpWindow *window;
	int					 file; /* body_len bytes of this temporary File (of
									 * storage/fd.h) are the body; 0: none */

	/*
	 * Where the body of a success goes instead of the response, so that a large
	 * one is in memory once; NULL: nowhere.  A web page goes to the response all
	 * the same: it is no answer of a workspace.
	 */
	char	   *into;
	Size		into_size;
	bool		fresh_connection; /* for calls that must not be repeated:
									 * libcurl silently repeats a request when
									 * a kept-alive connection turns out dead */
	bool		uncompressed;	  /* do not ask for a compressed answer */
	bool		allow_http;		  /* plain http permitted (loopback) */
	int			connect_timeout;  /* ms */
	int			timeout;		  /* ms, the whole transfer; with "file" or
									 * "into" how long it may stand still */
	const char *ca_file;		  /* NULL: the system's */
	const char *proxy;			  /* NULL: none */
	Size		max_response;	  /* bytes of body, after decompression */
} DbxHttpRequest;

typedef enum DbxHttpFailure
{
	DBX_HTTP_OK,		 /* a response arrived, whatever its status */
	DBX_HTTP_UNRESOLVED, /* name not found */
	DBX_HTTP_REFUSED,	 /* no connection */
	DBX_HTTP_PROXY,		 /* the proxy makes none */
	DBX_HTTP_CONNECT_TIMEOUT,
	DBX_HTTP_TLS,		 /* handshake or certificate */
	DBX_HTTP_TIMEOUT,	 /* connected, but not answered in time */
	DBX_HTTP_BROKEN,	 /* reset, closed or cut in the middle */
	DBX_HTTP_TOO_LARGE,	 /* body beyond max_response */
	DBX_HTTP_LARGE_HEAD, /* headers beyond any measure */
	DBX_HTTP_NO_MEMORY,	 /* buffers of this process are full */
	DBX_HTTP_OTHER
} DbxHttpFailure;

typedef struct DbxHttpResponse
{
	DbxHttpFailure failure;
	char		   error[256]; /* for failures: libcurl's words */
	bool		   maybe_sent; /* the server may have seen the request */
	int			   status;	   /* HTTP status, 0 if none */
	const char	  *body;	   /* NUL-terminated, never NULL */
	Size		   body_len;
	Size		   into_len; /* bytes in "into" */
	Size		   bytes_in; /* as transferred: head and body */
	Size		   bytes_out;
	double		   elapsed_ms;
} DbxHttpResponse;

/*
 * Begin a transfer.  Raises for an unusable URL or when out of descriptors;
 * all network failures are told by the response.
 */
extern DbxTransfer *dbx_http_start(const DbxHttpRequest *request);

/*
 * Which byte of the body must be in the window before the transfer can go on;
 * -1: it does not wait for that.
 */
extern int64 dbx_http_starved(const DbxTransfer *transfer);

/* The window has changed: go on. */
extern void dbx_http_more(DbxTransfer *transfer);

/* The response once the transfer is over, else NULL.  Lives as long as the transfer. */
extern const DbxHttpResponse *dbx_http_response(DbxTransfer *transfer);

/* Value of a response header, name in any case; NULL if absent. */
extern const char *dbx_http_header(DbxTransfer *transfer, const char *name);

/*
 * Milliseconds that a Retry-After header asks for: seconds or an HTTP date (one
 * in the past: 0).  -1 if it is neither.
 */
extern int64 dbx_http_retry_after(const char *value);

/* A date of HTTP in milliseconds since 1970, 0 if it is none. */
extern int64 dbx_http_date_ms(const char *value);

/* End a transfer (aborting it if need be) and free what it holds. */
extern void dbx_http_free(DbxTransfer *transfer);

/*
 * THE wait: drives all transfers of this process until one finishes, the
 * latch is set or "deadline" passes (0: none; without transfers it then waits
 * for the latch alone).  CHECK_FOR_INTERRUPTS runs after every wake-up.
 * Returns true if the deadline passed.
 */
extern bool dbx_http_wait(TimestampTz deadline);

/*
 * The same; "reason" is what the wait shows as while no transfer is under way.
 * dbx_http_wait() is a pause of the caller's own.
 */
typedef enum DbxWaitReason
{
	DBX_WAIT_PAUSE,
	DBX_WAIT_RATE_LIMIT, /* a call may not be sent yet */
	DBX_WAIT_RETRY		 /* a call is tried again later */
} DbxWaitReason;

extern bool dbx_http_wait_for(TimestampTz deadline, DbxWaitReason reason);

/* Wait until "deadline" whatever else happens, driving transfers meanwhile. */
extern void dbx_http_sleep_until(TimestampTz deadline);

/* How many transfers of this process are under way. */
extern int dbx_http_active(void);

/*
 * Escape a piece of text for use in a URL (query value or path segment), all
 * but unreserved characters, in the current context.
 */
extern char *dbx_http_escape(const char *text);

/*
 * Secrets.  A text handed to dbx_redact_secret() is masked from then on in
 * everything that goes through dbx_redact(), along with what looks like a
 * token.  dbx_redact() returns its argument when there is nothing to mask,
 * else a copy in the current context.
 */
extern void dbx_redact_secret(const char *secret);

/*
 * Take the text of the current statement out of what the server would log with
 * an error and show in pg_stat_activity; "shown" (static) stands there instead.
 */
extern void		   dbx_redact_statement(const char *shown);
extern const char *dbx_redact(const char *text);

#endif /* DBX_HTTP_H */
