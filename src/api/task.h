/*
 * task.h
 *	  Tasks of jobs, checked before they are sent.
 */
#ifndef DBX_TASK_H
#define DBX_TASK_H

#include "json/json.h"

/*
 * The tasks of a job: an array, each with a key of its own and something to do,
 * depending on each other without a circle.  Raises 22023 with the reason.
 */
extern void dbx_task_check_all(const DbxJson *tasks);

/*
 * The clusters and environments that the tasks of a job share must be among those
 * of its settings.  Raises 22023 with the one that is not.
 */
extern void dbx_task_check_compute(const DbxJson *tasks,
								   const DbxJson *settings);

/*
 * One task by itself: its key, its body with all it must have, its compute, the
 * form of what it depends on.
 */
extern void dbx_task_check(const DbxJson *task);

/*
 * The member that holds the body of a type of task ("notebook" or
 * "notebook_task").  Raises 22023 with the list of those known.
 */
extern const char *dbx_task_member(const char *type);

#endif /* DBX_TASK_H */
