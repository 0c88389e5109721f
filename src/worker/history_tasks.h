/*
 * history_tasks.h
 *	  Writing the task runs of runs into task_history.
 */
#ifndef DBX_WORKER_HISTORY_TASKS_H
#define DBX_WORKER_HISTORY_TASKS_H

#include "worker/history.h"

/* Task runs that are to be written together. */
typedef struct DbxTaskRows
{
	Datum *rows;
	int	   count;
	int	   capacity;
} DbxTaskRows;

/* Add those of a run, in the current memory context. */
extern void dbx_history_tasks_add(DbxTaskRows *tasks, const DbxSeenRun *run);

/*
 * Write what is new or different, within the current transaction; SPI must be
 * connected.  Returns how many were written.
 */
extern int dbx_history_tasks_write(const DbxTaskRows *tasks,
								   const char		 *workspace);

#endif /* DBX_WORKER_HISTORY_TASKS_H */
