/*
 * retention.h
 *	  Removing requests that have ended long ago.
 */
#ifndef DBX_WORKER_RETENTION_H
#define DBX_WORKER_RETENTION_H

/* Remove these rows, and what belongs to them; may raise. */
typedef void (*DbxRemove)(void *arg, Datum *ids, int count);

/*
 * Remove a batch, if it is time to look; outside of transactions.  True: there
 * is more to be removed at once.  May raise.
 */
extern bool dbx_retention_run(void);

/*
 * Remove rows by their ids, within a transaction of the session, but for those
 * that foreign keys or triggers of the user hold.  Returns how many went.
 */
extern int dbx_retention_remove(DbxRemove remove, void *arg, Datum *ids,
								int count);

#endif /* DBX_WORKER_RETENTION_H */
