/*
 * stat.h
 *	  What calls have cost, per workspace, role and endpoint.
 *
 * Counted for the whole cluster when the library is preloaded, else in this
 * process, from the start of the server or the last reset on.  Not to be
 * confused with DbxCallStats, which a caller keeps about its own calls.
 */
#ifndef DBX_STAT_H
#define DBX_STAT_H

#include "api/api.h"
#include "api/internal.h"

typedef struct DbxStat
{
	Oid	   dboid;
	Oid	   serverid;
	Oid	   userid; /* InvalidOid: of all roles, see "endpoint" */
	char   endpoint[DBX_ENDPOINT_NAME]; /* DBX_STAT_OTHER: of those that found
										 * no place of their own */
	int64  calls;						/* requests sent, repeats included */
	int64  answers;	  /* of these, the ones that have come to an end */
	int64  errors;	  /* ended in an error of the service or of the network */
	int64  retries;	  /* sent again after such an error */
	int64  throttled; /* answered 429 */
	int64  bytes_in;
	double total_ms; /* of the answers, from sending to their end */
	double max_ms;
	double quota_wait_ms; /* held back for the rate limit */
} DbxStat;

#define DBX_STAT_OTHER "other"

/* Ask for shared memory; called once, while the library is preloaded. */
extern void dbx_stat_init(void);

/* A request is sent, after being held back for so long. */
extern void dbx_stat_sent(const DbxWorkspace *workspace, const char *endpoint,
						  double quota_wait_ms);

/* It has come to its end; "retried": the call will be sent again. */
extern void dbx_stat_answered(const DbxWorkspace	*workspace,
							  const char			*endpoint,
							  const DbxHttpResponse *response, bool failed,
							  bool retried);

/* A copy of what was counted in this database, palloc'd; returns how many. */
extern int dbx_stat_read(DbxStat **stats);

/* Forget what was counted in this database. */
extern void dbx_stat_reset(void);

#endif /* DBX_STAT_H */
