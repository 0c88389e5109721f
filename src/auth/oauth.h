/*
 * oauth.h
 *	  The token endpoint of a workspace, shared by the providers that use it.
 */
#ifndef DBX_AUTH_OAUTH_H
#define DBX_AUTH_OAUTH_H

#include "lib/stringinfo.h"

#include "auth/fetch.h"

/*
 * Describe the next request on the way to the token endpoint.  True when that is
 * known (fetch->found): then the caller describes the last request himself.
 */
extern bool dbx_oauth_find_endpoint(DbxFetch *fetch);

/* "take" of these providers: the answers of the requests above. */
extern void dbx_oauth_take(DbxFetch *fetch, DbxTransfer *transfer);

/* Append "name=value" to a form. */
extern void dbx_oauth_add(StringInfo form, const char *name, const char *value);

#endif /* DBX_AUTH_OAUTH_H */
