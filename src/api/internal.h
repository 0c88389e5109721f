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

/* error.c: an error in the words of the service that is known to pass. */
extern bool dbx_api_passing_text(const char *message);

/*
 * retry.c: milliseconds to wait before trying again, or -1 for not again.
 * "attempt" counts from 1, "spent" is the time since the first one.
 */
extern int64 dbx_retry_delay(const DbxApiError *error, DbxHttpFailure failure,
							 DbxEffect effect, bool maybe_sent,
							 const char *retry_after, int attempt,
							 int64 spent_ms, int64 patience_ms);

#endif /* DBX_API_INTERNAL_H */
