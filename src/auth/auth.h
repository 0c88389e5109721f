/*
 * auth.h
 *	  Credentials of calls: what puts the Authorization header on a request.
 *
 * Each way to authenticate is one provider; the first one that is configured is
 * used, or the one option auth_type names.  Some have a token at hand, others
 * must ask for one first, over the same transfers as everything else: nothing
 * here blocks.  Tokens that were asked for are kept per user mapping in this
 * process, renewed before they expire, once for all calls that wait for it, and
 * forgotten when the mapping or its server is altered.
 *
 * Nothing here looks into the catalogs, so calls can be made outside of
 * transactions.
 */
#ifndef DBX_AUTH_H
#define DBX_AUTH_H

#include "datatype/timestamp.h"

#include "workspace/workspace.h"

/* Credentials of one call. */
typedef struct DbxAuth DbxAuth;

typedef enum DbxAuthState
{
	DBX_AUTH_READY,
	DBX_AUTH_WAITING, /* for a token */
	DBX_AUTH_FAILED	  /* no token can be had; see dbx_auth_error() */
} DbxAuthState;

typedef struct DbxAuthError
{
	int			sqlstate;
	const char *message; /* one line, without secrets */
	const char *hint;	 /* NULL if none */
	bool		passing; /* worth another try later */
} DbxAuthError;

/*
 * Choose a provider; nothing is asked for yet.  Raises 28000, with the reasons,
 * when there is none or when two contradict each other.  Lives in the current
 * memory context, whose reset gives up what only this call waits for.
 */
extern DbxAuth *dbx_auth_open(const DbxWorkspace *workspace);

/*
 * The name of the provider that dbx_auth_open() would choose, with why it is none
 * of the others ("by pat; not configured: ...") in *why; NULL, with the reason in
 * one line, where it would raise.
 */
extern const char *dbx_auth_choice(const DbxWorkspace *workspace,
								   const char		 **why);

/*
 * See to it that the next request can be authorised.  To be called again, as
 * long as it says WAITING, whenever a transfer has ended and at *due (0: no
 * certain time).
 */
extern DbxAuthState dbx_auth_prepare(DbxAuth *auth, TimestampTz *due);

/* The headers ("Name: value") for the next request; only when READY. */
extern List *dbx_auth_headers(DbxAuth *auth);

/*
 * The service refused the last request's token.  True: worth one more attempt
 * with another one; false: this was the only one, or the second in a row.
 */
extern bool dbx_auth_refused(DbxAuth *auth);

/* After FAILED; valid until the next call of anything here. */
extern const DbxAuthError *dbx_auth_error(const DbxAuth *auth);

/* Which provider it is, as auth_type and the User-Agent say it. */
extern const char *dbx_auth_name(const DbxAuth *auth);

/* What to do about a token that is refused, as a HINT. */
extern char *dbx_auth_hint(const DbxAuth *auth);

/* "User-Agent: ..." of all requests, palloc'd; the caller may append to it. */
extern char *dbx_auth_user_agent(const char *auth_type);

#endif /* DBX_AUTH_H */
