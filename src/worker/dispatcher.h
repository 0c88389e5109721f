/*
 * dispatcher.h
 *	  Sending the requests of this database.
 *
 * Like the tracker, the dispatcher never waits: dbx_dispatcher_run() does what
 * can be done now and says when it wants to be called again.
 */
#ifndef DBX_WORKER_DISPATCHER_H
#define DBX_WORKER_DISPATCHER_H

#include "datatype/timestamp.h"

/*
 * Look for requests that have not come to their end; to be called at the start
 * and when woken.  Returns 1 if there are any.  May raise.
 */
extern int dbx_dispatcher_load(void);

/*
 * Go on with what has come back, send what is due.  Returns when the next
 * thing is due (0: nothing is).
 */
extern TimestampTz dbx_dispatcher_run(void);

/* Something changed for which requests may have waited. */
extern void dbx_dispatcher_look_again(void);

/* Is something under way, or could more be sent right now? */
extern bool dbx_dispatcher_busy(void);

/* Has another process the right to send, so that this one has not? */
extern bool dbx_dispatcher_shut_out(void);

/* Give up what is under way; it is taken back from the table. */
extern void dbx_dispatcher_abandon(void);

#endif /* DBX_WORKER_DISPATCHER_H */
