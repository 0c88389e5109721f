/*
 * run.h
 *	  What the JSON of a run says: is it over, and how did it end.
 */
#ifndef DBX_RUN_H
#define DBX_RUN_H

#include "api/api.h"

#define ERRCODE_RUN_FAILED		   MAKE_SQLSTATE('R', 'U', 'N', '0', '1')
#define ERRCODE_RUN_CANCELED	   MAKE_SQLSTATE('R', 'U', 'N', '0', '2')
#define ERRCODE_RUN_TIMED_OUT	   MAKE_SQLSTATE('R', 'U', 'N', '0', '3')
#define ERRCODE_RUN_SKIPPED		   MAKE_SQLSTATE('R', 'U', 'N', '0', '4')
#define ERRCODE_RUN_PLATFORM_FAULT MAKE_SQLSTATE('R', 'U', 'N', '0', '5')
#define ERRCODE_RUN_WAIT_TIMED_OUT MAKE_SQLSTATE('R', 'U', 'N', '0', '6')

/* Strings point into the document the state was read from; NULL: not there. */
typedef struct DbxRunState
{
	const char *state; /* status.state, or what it would be */
	const char *result_state;
	const char *life_cycle_state;
	const char *termination_code;
	const char *termination_type;
	const char *message;
	bool		over; /* by a state known to be the last one */
	bool		success;
	bool		with_failures; /* a success in which some tasks failed */
	int			sqlstate;	   /* of the end, 0 for a success */
} DbxRunState;

/*
 * The result_state that goes with a termination code, for a service that has left
 * the older pair of states away.  NULL where several do (SKIPPED).  Codes that are
 * not known are failures.
 */
extern const char *dbx_run_result_of_code(const char *code);

/* Read the state of a job run or a task run. */
extern void dbx_run_read_state(const DbxJson *run, DbxRunState *state);

/* The last attempt of each task, as a List of const DbxJson *. */
extern List *dbx_run_latest_tasks(const DbxJson *run);

/*
 * The last attempt of each task that did not succeed and was not merely skipped,
 * as a List of const DbxJson *.
 */
extern List *dbx_run_failed_tasks(const DbxJson *run);

#endif /* DBX_RUN_H */
