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
} DbxWait;

/* Begin a wait; what it keeps lies in the current memory context. */
extern void dbx_wait_begin(DbxWait *wait, const DbxWorkspace *workspace,
						   int64 run_id, TimestampTz deadline,
						   const char *caller);

/*
 * Look once.  True: the run is over, or the deadline passed during the look.
 * What is new is told by NOTICE.  An outage of the service is no error (unless
 * the deadline ends it), anything the service refuses is.
 */
extern bool dbx_wait_look(DbxWait *wait);

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
 * Ask for the end of the run, but not for longer than this many ms; failures are
 * told by WARNING.
 */
extern void dbx_wait_cancel_run(const DbxWait *wait, int patience_ms);

/*
 * The tasks that failed with the errors of their outputs, fetched in parallel,
 * as jsonb array; NULL if there are none.  *text is a list of them for people.
 */
extern Jsonb *dbx_wait_failed_tasks(const DbxWait *wait, char **text);

#endif /* DBX_WAIT_H */
