/*
 * limiter.h
 *	  When may a request be sent: the rate limit of a host's endpoint classes.
 *
 * A caller reserves before it sends and gets the moment at which it may.  The
 * moments of a class are evenly spaced over all processes of the cluster; after
 * a quiet time two may come at once.  Whoever is told by the service that there
 * were too many requests pauses the class for everybody.
 */
#ifndef DBX_LIMITER_H
#define DBX_LIMITER_H

#include "datatype/timestamp.h"

/* What is limited together, and to how much. */
typedef struct DbxLimit
{
	uint64 host;	   /* hash of the address */
	uint64 class;	   /* hash of the name of the endpoint class */
	double per_second; /* 0: without limit, but paused like any other */
} DbxLimit;

/* Ask for shared memory; called once, while the library is preloaded. */
extern void dbx_limiter_init(void);

extern void dbx_limiter_key(DbxLimit *limit, const char *host,
							const char *class);

/*
 * Reserve the next request.  Returns when it may be sent, which may be now; 0,
 * and nothing is reserved, if that would be after "latest" (0: any time).
 */
extern TimestampTz dbx_limiter_reserve(const DbxLimit *limit,
									   TimestampTz	   latest);

/*
 * Does a reservation that has come due still hold?  Not when the class has been
 * paused since, nor when its moment has passed unused: then reserve again.
 */
extern bool dbx_limiter_holds(const DbxLimit *limit, TimestampTz granted);

/*
 * A reservation that was not used.  Nobody has to wait for it if it was the last
 * one.  Never raises.
 */
extern void dbx_limiter_give_back(const DbxLimit *limit, TimestampTz granted);

/* Nobody sends a request of this class before "until". */
extern void dbx_limiter_pause(const DbxLimit *limit, TimestampTz until);

#endif /* DBX_LIMITER_H */
