/*
 * tracker.h
 *	  Following the runs of tracked workspaces.
 *
 * The tracker never waits: dbx_tracker_run() does what can be done now, and
 * dbx_tracker_next() says when it wants to be called again; in between, the
 * worker waits for calls and for its latch.
 */
#ifndef DBX_WORKER_TRACKER_H
#define DBX_WORKER_TRACKER_H

#include "datatype/timestamp.h"

/*
 * Read which workspaces are tracked; to be called at the start and when woken.
 * Returns how many.  Within no transaction; may raise.
 */
extern int dbx_tracker_load(void);

/*
 * Begin what is due, go on with what has come back.  Errors of one workspace
 * are reported, kept for the views and do not concern the others.
 */
extern void dbx_tracker_run(void);

/* When the next thing is due; 0: nothing is. */
extern TimestampTz dbx_tracker_next(void);

/* A run was started from here: look sooner, where the workspace is tracked. */
extern void dbx_tracker_hurry(const char *workspace);

/*
 * Will the tracker tell the end of a run that was started at this time, so that
 * nobody else need ask?  "known": run_history has it.  The owner of a workspace,
 * as whom it looks, may see less than who started the run.
 */
extern bool dbx_tracker_follows(const char *workspace, int64 run_id, bool known,
								TimestampTz started_at);

/* Has each workspace been swept, or failed to be, since the process began? */
extern bool dbx_tracker_round_done(void);

/* Give up what is under way; sweeps begin anew when due. */
extern void dbx_tracker_abandon(void);

#endif /* DBX_WORKER_TRACKER_H */
