/*
 * follow.h
 *	  Following the runs that requests have started to their end.
 *
 * Like the tracker it never waits.
 */
#ifndef DBX_WORKER_FOLLOW_H
#define DBX_WORKER_FOLLOW_H

#include "datatype/timestamp.h"

/* Find the runs to be followed; at the start and when woken.  May raise. */
extern void dbx_follow_load(void);

/* A request of this role has started a run. */
extern void dbx_follow_started(const char *workspace, const char *requested_by);

/* The tracker has seen the runs of a workspace. */
extern void dbx_follow_seen(const char *workspace);

/* Begin what is due, go on with what has come back. */
extern void dbx_follow_run(void);

/* When the next look is due (0: none is). */
extern TimestampTz dbx_follow_next(void);

/* Is a look under way, or has none been had yet at what is followed? */
extern bool dbx_follow_busy(void);

/* Is there nothing to follow? */
extern bool dbx_follow_idle(void);

/* Look at once, whenever the next look would be due. */
extern void dbx_follow_hurry(void);

extern void dbx_follow_abandon(void);

#endif /* DBX_WORKER_FOLLOW_H */
