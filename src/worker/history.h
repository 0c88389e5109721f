/*
 * history.h
 *	  Writing what was seen of runs into run_history, task_history and run_transitions.
 */
#ifndef DBX_WORKER_HISTORY_H
#define DBX_WORKER_HISTORY_H

#include "datatype/timestamp.h"
#include "json/json.h"
#include "nodes/pg_list.h"

/* What the service said of one run. */
typedef struct DbxSeenRun
{
	int64		   run_id;	/* hash key where these are in a table */
	const DbxJson *element; /* NULL: it does not know the run any more */
	bool		   ended;
	bool		   whole; /* all of it: from runs/get, not from a list */
} DbxSeenRun;

/* A run that could not be written, kept apart from the others. */
typedef struct DbxBadRun
{
	int64 run_id;
	int	  sqlstate;
	char *message;
} DbxBadRun;

/*
 * Whose news a batch is.  What is read beside the sweeps may be older than what
 * they have written since, so it never touches a run known as active, nor says
 * that a known one is.
 */
typedef enum DbxWriteMode
{
	DBX_WRITE_SWEEP,
	DBX_WRITE_BESIDE,
	DBX_WRITE_BACKFILL /* beside; what had ended before it was known is of the
						* past: no transition, no notification */
} DbxWriteMode;

typedef struct DbxHistoryBatch
{
	const char	*workspace;
	List		*runs; /* of DbxSeenRun * */
	DbxWriteMode mode;
	TimestampTz begun; /* of a sweep: when it began to ask.  Runs it saw going on
						  * that changed later are left as they are. */
	bool		alone;	   /* each run in a subtransaction of its own */
	const char	 *outputs; /* of which tasks: "failed", "none", "all";
								 * NULL: not known here */
	MemoryContext context; /* for the results */
	int			  changed; /* result: rows of runs and tasks written */
	int			  fetches; /* result: calls added to history_fetches */
	List		 *bad;	   /* result: of DbxBadRun *, with "alone" only */
} DbxHistoryBatch;

/* Condition on a row of run_history: not known to have ended; as the index has it. */
#define DBX_HISTORY_ACTIVE(h)                                     \
	h ".gone_at IS NULL"                                          \
	  " AND " h ".state IS DISTINCT FROM 'TERMINATED'"            \
	  " AND " h ".life_cycle_state IS DISTINCT FROM 'TERMINATED'" \
	  " AND " h ".life_cycle_state IS DISTINCT FROM 'SKIPPED'"    \
	  " AND " h ".life_cycle_state IS DISTINCT FROM 'INTERNAL_ERROR'"

/*
 * Is this state an end?  Only by states known to be one: whatever the service
 * invents is not.
 */
extern bool dbx_history_ended(const char *state, const char *life_cycle_state);

/* The same for a run as the service sent it. */
extern bool dbx_history_element_ended(const DbxJson *element);

/*
 * Write a batch within the current transaction; SPI must be connected.  Rows
 * that say nothing new are only read.  Raises what cannot be written; with
 * batch->alone only what is no matter of single runs.
 */
extern void dbx_history_write(DbxHistoryBatch *batch);

/*
 * Notify listeners, at the commit, of a change of a run or a request.  Ids that
 * are 0 or NULL are not known.
 */
extern void dbx_history_notify(const char *workspace, int64 run_id,
							   const char *job_id, int64 request_id,
							   const char *state, const char *result_state,
							   TimestampTz at);

/* Has anything been noted in history_fetches since it was last asked? */
extern bool dbx_history_take_noted(void);

/*
 * The runs of a workspace not known to have ended, oldest first and before them
 * those that never started; palloc'd, returns how many.
 */
typedef struct DbxKnownRun
{
	int64		run_id;
	TimestampTz start_time; /* 0: none */
} DbxKnownRun;

extern int dbx_history_active(const char *workspace, DbxKnownRun **runs);

#endif /* DBX_WORKER_HISTORY_H */
