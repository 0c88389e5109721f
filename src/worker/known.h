/*
 * known.h
 *	  What the tracker knows of a run, for those who wait for it.
 */
#ifndef DBX_WORKER_KNOWN_H
#define DBX_WORKER_KNOWN_H

#include "datatype/timestamp.h"

/*
 * Has the tracker of this database seen that the run goes on, as it was known
 * to the caller at "since": in this state, with no more tasks done?  Then the
 * time as of which this is true, later than "since"; else 0.  Never by an old
 * snapshot of the caller, in no isolation level.  The caller must have USAGE on
 * the workspace, and a transaction.
 */
extern TimestampTz dbx_known_active(const char *workspace, int64 run_id,
									TimestampTz since, const char *state,
									int tasks_done);

#endif /* DBX_WORKER_KNOWN_H */
