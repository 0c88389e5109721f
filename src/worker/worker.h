/*
 * worker.h
 *	  Background workers: what the rest of the extension calls.
 */
#ifndef DBX_WORKER_H
#define DBX_WORKER_H

#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"

/*
 * Called once, from _PG_init.  Registers the launcher, the shared memory and
 * the hooks when the library is being preloaded, else does nothing: workers
 * are then missing and what needs them says which setting to change.
 */
extern void dbx_worker_init(void);

/*
 * When this transaction commits, the worker of this database shall look for
 * what is new, being started if there is none.
 */
extern void dbx_worker_wake_at_commit(void);

/*
 * Fill in what all our processes have in common: main is the name of a function
 * of this library, type what pg_stat_activity shows as backend_type, and bgw_name
 * until the caller says more.  Such a process is started when recovery is over,
 * not again when it ends, and tells this one (but not the postmaster) of both.
 */
extern void dbx_worker_describe(BackgroundWorker *worker, const char *main,
								const char *type);

extern PGDLLEXPORT void dbx_worker_main(Datum arg);

/* One round of work, done in the background, for run_worker_once(). */
extern PGDLLEXPORT void dbx_worker_once_main(Datum arg);

/* Of a worker's process: connect it as it has to be for the other files. */
extern void dbx_worker_connect(Oid dboid);

/* Do what can be done now; returns when the next thing is due (0: none). */
extern TimestampTz dbx_worker_round(void);

#endif /* DBX_WORKER_H */
