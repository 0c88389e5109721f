/*
 * retention.h
 *	  Removing requests that have ended long ago.
 */
#ifndef DBX_WORKER_RETENTION_H
#define DBX_WORKER_RETENTION_H

/*
 * Remove a batch, if it is time to look; outside of transactions.  True: there
 * is more to be removed at once.  May raise.
 */
extern bool dbx_retention_run(void);

#endif /* DBX_WORKER_RETENTION_H */
