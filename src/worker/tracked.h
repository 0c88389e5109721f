/*
 * tracked.h
 *	  Border between the files of the tracker; of no interest outside.
 *
 *	  tracker.c		which workspaces are tracked, when what is due, errors
 *	  sweep.c		one look at the active and the recent runs
 *	  backfill.c	reading back older runs, beside the sweeps
 *	  outputs.c		what lists do not tell of runs that ended, outputs of tasks
 *	  retention_history.c	removing what is older than the retention
 *	  reconcile.c	comparing older runs with what the service says now
 *	  pace.c		how soon to look again
 *	  listing.c		pages of runs/list and runs/get without waiting
 */
#ifndef DBX_WORKER_TRACKED_H
#define DBX_WORKER_TRACKED_H

#include "lib/stringinfo.h"
#include "utils/hsearch.h"

#include "api/api.h"
#include "worker/history.h"
#include "worker/shared.h"

/*
 * A list of runs, page by page.  Belongs to the memory context that was current
 * when it was started; give it up by resetting that.
 */
typedef struct DbxListing
{
	const DbxWorkspace *workspace;
	MemoryContext		context;
	char			   *query;
	DbxCall			   *call; /* of the next page; NULL: done */
	DbxPages			pages;
	int					unnamed; /* runs left out as they have no id */
} DbxListing;

extern DbxListing *dbx_listing_start(const DbxWorkspace *workspace,
									 const char			*query);

/*
 * Has a page come?  Then its rows (which may be NULL) in the current memory
 * context, and the next page is asked for.  Raises errors of the service.
 */
extern bool dbx_listing_next(DbxListing *listing, const DbxJson **rows);
extern bool dbx_listing_done(const DbxListing *listing);

/* The runs of a page as a List of DbxSeenRun *, those without an id counted only. */
extern List *dbx_listing_runs(DbxListing *listing, const DbxJson *rows);

/*
 * A run with all pages of its arrays and its repairs.  Belongs to the memory
 * context that was current when it was started.
 */
typedef struct DbxRunGet
{
	int64				run_id;
	const DbxWorkspace *workspace;
	MemoryContext		context;
	DbxCall			   *call; /* NULL: over, without an error */
	DbxJson			   *run;  /* as far as it has come */
	DbxPages			pages;
	bool				foreign; /* the id is not one of a job run */
} DbxRunGet;

extern DbxRunGet *dbx_run_get_start(const DbxWorkspace *workspace, int64 run_id);

/*
 * Is it over?  What has come is parsed into the current memory context, which
 * must be the same each time.  Then the error is dbx_run_get_error(), NULL when
 * get->run is whole.
 */
extern bool				  dbx_run_get_done(DbxRunGet *get);
extern const DbxApiError *dbx_run_get_error(const DbxRunGet *get);

/* What it has told of the run; NULL: nothing, or the id is not one of a job run. */
extern DbxSeenRun *dbx_run_get_seen(const DbxRunGet *get);

/* Why a run is not asked for, or not written, at each sweep. */
typedef enum DbxAsideReason
{
	DBX_ASIDE_WAITING, /* it is in no list and has not ended */
	DBX_ASIDE_REFUSED, /* the service does not show it to the owner */
	DBX_ASIDE_BAD	   /* it could not be written */
} DbxAsideReason;

typedef struct DbxAside
{
	int64		   run_id; /* hash key */
	DbxAsideReason reason;
	char		  *error; /* NULL for those that wait */
	int64		   delay; /* microseconds, doubled each time */
	TimestampTz	   retry_at;
	TimestampTz	   known_at; /* begin of the last sweep that knew it */
} DbxAside;

/* What is done beside the sweeps, a portion at a time. */
typedef enum DbxActivityKind
{
	DBX_BACKFILL,  /* reading back older runs */
	DBX_FETCH,	   /* calls for single runs and tasks, see history_fetches */
	DBX_EXPIRY,	   /* removing what is older than the retention */
	DBX_RECONCILE, /* comparing older runs with what the service says now */
	DBX_ACTIVITIES
} DbxActivityKind;

typedef struct DbxActivity
{
	void	   *portion; /* under way, or NULL */
	TimestampTz due;	 /* of the next portion, 0: none */
	int			failures;
	char	   *error; /* of the last portion; NULL: all is well */
} DbxActivity;

typedef struct DbxSweep DbxSweep;

typedef struct DbxTracked
{
	char		  name[NAMEDATALEN];
	bool		  listed;  /* found by the last dbx_tracker_load() */
	MemoryContext context; /* this struct and what hangs off it */
	int64		  poll;	   /* microseconds */
	char		  outputs[8];
	int64		  retention; /* microseconds, 0: for ever */

	/* Runs that started before these have been seen: ended ones, all. */
	TimestampTz ended_seen_to;
	TimestampTz all_seen_to;
	int			all_pages;	  /* pages of the last look at all of them */
	int			active_pages; /* of the last list of active ones; 0: none yet */

	TimestampTz no_ranges_until; /* the list of active ones is read whole */

	DbxSweep   *sweep; /* under way, or NULL */
	TimestampTz sweep_due;
	int			idle_sweeps; /* in a row without an active run */
	int			sweep_failures;
	HTAB	   *aside; /* of DbxAside */

	DbxActivity activities[DBX_ACTIVITIES];

	/* Expiry: the last one looked at in this pass. */
	TimestampTz expired_time;
	int64		expired_id;

	TimestampTz reconciled_to; /* in this pass; 0: it begins anew */
	TimestampTz backfilled_to; /* while the backfill is under way */

	DbxSharedWorkspace status;
	char *logged_error; /* NULL: all is well, as far as the log knows */
} DbxTracked;

/*
 * One sweep.  Advance until it is done; both may raise, and then the sweep
 * has to be ended too.
 */
extern void dbx_sweep_begin(DbxTracked *tracked);
extern bool dbx_sweep_advance(DbxTracked *tracked);
extern void dbx_sweep_end(DbxTracked *tracked);

/*
 * After a sweep that took so many calls: microseconds from its begin to that of
 * the next one.  Reads the history in a transaction of its own.
 */
extern int64 dbx_pace_interval(DbxTracked *tracked, int calls);

/* Have a workspace swept as soon as the pace allows at its quickest. */
extern void dbx_pace_hurry(DbxTracked *tracked);

/* The backfill, one window of time after the other, in the same way. */
extern void dbx_backfill_begin(DbxTracked *tracked);
extern bool dbx_backfill_advance(DbxTracked *tracked);
extern void dbx_backfill_end(DbxTracked *tracked);

/* The calls noted in history_fetches, some at a time, in the same way. */
extern void dbx_outputs_begin(DbxTracked *tracked);
extern bool dbx_outputs_advance(DbxTracked *tracked);
extern void dbx_outputs_end(DbxTracked *tracked);

/* Retention, a batch at a time; needs no call. */
extern void dbx_expiry_begin(DbxTracked *tracked);
extern bool dbx_expiry_advance(DbxTracked *tracked);
extern void dbx_expiry_end(DbxTracked *tracked);

/* Reconciliation, one window of time after the other. */
extern void dbx_reconcile_begin(DbxTracked *tracked);
extern bool dbx_reconcile_advance(DbxTracked *tracked);
extern void dbx_reconcile_end(DbxTracked *tracked);

/* When the next window is due; 0: never. */
extern TimestampTz dbx_reconcile_next(void);

/*
 * Write a batch in a transaction of its own, "also" being executed in it with
 * the workspace as $1 and a time as $2 (NULL: nothing); only_if_changed: not
 * if no run was written.  What cannot be written is set aside.  False: the
 * process has lost its extension or tables.
 */
extern bool dbx_tracked_write(DbxTracked *tracked, List *runs,
							  DbxWriteMode mode, const char *also,
							  TimestampTz time, bool only_if_changed);

/* Put a run aside, or again, for longer.  "error": what is wrong with it. */
extern void dbx_tracked_put_aside(DbxTracked *tracked, int64 run_id,
								  DbxAsideReason reason, const char *error);
extern void dbx_tracked_take_back(DbxTracked *tracked, int64 run_id);

/*
 * A sweep has come to its end, with the trouble of a single run or NULL.  What
 * else is wrong, runs put aside and activities, is shown with it.
 */
extern void dbx_tracked_report(DbxTracked *tracked, const char *error);

/* The workspace as its owner uses it; within a transaction. */
extern DbxWorkspace *dbx_tracked_resolve(DbxTracked *tracked);

/* Add a time in milliseconds since 1970 to a query. */
extern void dbx_tracked_add_time(StringInfo query, const char *name,
								 TimestampTz time);

#endif /* DBX_WORKER_TRACKED_H */
