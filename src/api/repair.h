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

#endif /* DBX_REPAIR_H */
