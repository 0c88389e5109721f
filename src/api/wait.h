/*
 * wait.h
 *	  Waiting for the end of a run.
 */
#ifndef DBX_WAIT_H
#define DBX_WAIT_H

#include "api/run.h"
#include "datatype/timestamp.h"

typedef struct DbxWait
{
	const DbxWorkspace *workspace;
	int64				run_id;
	TimestampTz			deadline; /* 0: none */
	const char		   *caller;

	/* kept between looks */
	int			  looks;
	TimestampTz	  looked_at; /* begin of the last one */
	char		 *told;		 /* progress last told, NULL: none */
	bool		  outage_told;
	MemoryContext context; /* of "told" and the looks */
	MemoryContext look;	   /* of "run": the last look that got it */
	DbxJson		 *run;	   /* the run as last seen */
	DbxRunState	  state;   /* its state, pointing into "run" */

	/* of the look under way */
	struct DbxGet *get;		/* NULL: there is none */
	MemoryContext  looking; /* of "get" */
	TimestampTz	   until;	/* when it is given up, 0: never */

	/* of the failed tasks, in their order; NULL: not asked for, or none */
	const char **errors;
} DbxWait;

/* Begin a wait; what it keeps lies in the current memory context. */
extern void dbx_wait_begin(DbxWait *wait, const DbxWorkspace *workspace,
						   int64 run_id, TimestampTz deadline,
						   const char *caller);

/*
 * Begin to look, and: has the look come to its end?  That is also one that was
 * given up, since the deadline has passed; dbx_calls_progress() until wait->until
 * is what to do meanwhile.  What is new is told by NOTICE.  An outage of the
 * service is no error, anything the service refuses is.
 */
extern void dbx_wait_look(DbxWait *wait);
extern bool dbx_wait_looked(DbxWait *wait);

/* Give up the look under way, if there is one. */
extern void dbx_wait_give_up(DbxWait *wait);

/*
 * Another way to look has told that the run goes on, in the state and with the
 * number of tasks done that are known, as of this time.
 */
extern void dbx_wait_seen_active(DbxWait *wait, TimestampTz at);
extern int	dbx_wait_tasks_done(const DbxWait *wait);

/* When to look again, never later than the deadline. */
extern TimestampTz dbx_wait_next_look(const DbxWait *wait);

extern bool dbx_wait_timed_out(const DbxWait *wait);

/*
 * Ask for the ends of those runs that are not over, side by side, but not for
 * longer than this many ms; failures are told by WARNING.  Looks under way are
 * given up.
 */
extern void dbx_wait_cancel_runs(DbxWait *waits, int count, int patience_ms);

/*
 * Fetch what the failed tasks of those runs that are over say, side by side.  What
 * does not come is left out: how the runs ended is known.
 */
extern void dbx_wait_fetch_errors(DbxWait *waits, int count);

/*
 * The tasks that failed with the errors fetched before, as jsonb array; NULL if
 * there are none.  *text is a list of them for people.
 */
extern Jsonb *dbx_wait_failed_tasks(const DbxWait *wait, char **text);

#endif /* DBX_WAIT_H */
