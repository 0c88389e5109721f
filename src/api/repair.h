/*
 * repair.h
 *	  Running the failed tasks of a run again.
 */
#ifndef DBX_REPAIR_H
#define DBX_REPAIR_H

#include "api/api.h"

/*
 * Repair a run and return the id of the repair.  "options" (an object, or NULL
 * for all failed tasks) holds members of the call; where it names no parameters,
 * those the run was started with are sent again.  Returns once the repair shows
 * in the run, or warns that it does not.  Raises 22023 for options that cannot
 * be meant, 55000 for a run that is not over.
 */
extern int64 dbx_run_repair(const DbxWorkspace *workspace, int64 run_id,
							const DbxJson *options, const char *caller);

/*
 * For who makes the calls himself, of a run read with include_history: its
 * newest repair (0: none), whether a repair is among its repairs, and the body of
 * the call that repairs all its failed tasks with the parameters it has.  The body
 * names the newest repair, so of two such calls the service takes one.
 */
extern int64 dbx_repair_latest(const DbxJson *run);
extern bool	 dbx_repair_shows(const DbxJson *run, int64 repair_id);
extern char *dbx_repair_body(int64 run_id, const DbxJson *run);

#endif /* DBX_REPAIR_H */
