/*
 * fetch.h
 *	  Getting a token: a few HTTP exchanges, one after the other.
 *
 * A fetch belongs to no call, since many may wait for it.  It lies in a memory
 * context of its own below TopMemoryContext together with a copy of the
 * workspace, and is freed by whoever started it.
 */
#ifndef DBX_AUTH_FETCH_H
#define DBX_AUTH_FETCH_H

#include "http/http.h"

#include "auth/auth.h"

struct DbxAuthProvider;

/* One exchange, as a provider describes it. */
typedef struct DbxExchange
{
	const char *what; /* "the token endpoint", for messages */
	const char *url;
	const char *query; /* NULL: none; not shown in messages */
	const char *form;  /* body, escaped; NULL: a GET */
	List	   *headers;
	bool		last;	   /* its answer is the token */
	bool		optional;  /* the provider goes on without an answer */
	bool		impatient; /* one attempt is enough */
	bool		redirect;  /* a redirect is what is asked for */
	bool		metadata;  /* of the machine: near, so no proxy, little time */
	bool		known;	   /* the address is ours, not one that was given */
} DbxExchange;

typedef struct DbxFetch
{
	MemoryContext				  context;
	const DbxWorkspace			 *workspace;
	const struct DbxAuthProvider *provider;
	bool						  second; /* of the provider's two tokens */

	/* the provider's notes: how far it is, and what it has found */
	int	  step;
	char *found; /* kept with the token, so that it need not be found again */

	/* the exchange under way */
	DbxExchange	 exchange;
	DbxTransfer *transfer; /* NULL between two attempts */
	TimestampTz	 due;	   /* then: of the next one */
	TimestampTz	 sent;	   /* of the last one */
	int			 attempts; /* at this exchange */
	TimestampTz	 patience; /* no attempt later than this */

	/* the end */
	bool		 over;
	char		*token; /* NULL: failed */
	TimestampTz	 expires;
	DbxAuthError error;
} DbxFetch;

/*
 * Begin.  "found" is what an earlier fetch of the same token found out, or NULL.
 * "patience_ms" limits the time for all attempts together; 0: one attempt each.
 */
extern DbxFetch *dbx_fetch_start(const struct DbxAuthProvider *provider,
								 const DbxWorkspace *workspace, bool second,
								 const char *found, int patience_ms);

/* Go on as far as possible without waiting.  True when over; else see *due. */
extern bool dbx_fetch_advance(DbxFetch *fetch, TimestampTz *due);

/* For providers: end with an error.  "message" is redacted here. */
extern void dbx_fetch_fail(DbxFetch *fetch, int sqlstate, const char *message,
						   const char *hint);

/* Free it, giving up what is under way; never raises. */
extern void dbx_fetch_free(DbxFetch *fetch);

#endif /* DBX_AUTH_FETCH_H */
