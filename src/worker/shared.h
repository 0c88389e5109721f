/*
 * shared.h
 *	  What the processes of the cluster know of each other's workers.
 *
 * One slot per database that has, or shall have, a worker, and one record per
 * tracked workspace for the views.  Shared memory holds OIDs, process ids,
 * times, counters and short texts, never pointers; everything in it is behind
 * one lock that is held for a few assignments only, and nobody raises an error
 * while holding it.
 */
#ifndef DBX_WORKER_SHARED_H
#define DBX_WORKER_SHARED_H

#include "datatype/timestamp.h"

#define DBX_SHARED_DATABASES  64
#define DBX_SHARED_WORKSPACES 256
#define DBX_SHARED_TEXT		  512

typedef enum DbxSlotState
{
	DBX_SLOT_FREE,
	DBX_SLOT_STOPPED,  /* no worker, none wanted; held by a suspension */
	DBX_SLOT_WANTED,   /* the launcher shall start one at start_at */
	DBX_SLOT_STARTING, /* handed to the postmaster */
	DBX_SLOT_PROBING,  /* its process looks for something to do */
	DBX_SLOT_RUNNING
} DbxSlotState;

typedef struct DbxSlot
{
	Oid			 dboid; /* InvalidOid: free */
	DbxSlotState state;
	pid_t		 pid;		/* 0: no process */
	int			 suspended; /* commands that need the database empty */
	bool		 wake;		/* something was committed that concerns it */
	int			 failures;	/* ends by error in a row */
	TimestampTz	 start_at;
	TimestampTz	 started_at;
	char		 phase[2 * NAMEDATALEN];
	char		 last_error[DBX_SHARED_TEXT];
	TimestampTz	 last_error_at; /* 0: none */
	int64		 queue_depth;	/* requests not sent yet, -1: not looked */
} DbxSlot;

typedef struct DbxSharedWorkspace
{
	Oid			dboid; /* InvalidOid: free */
	char		name[NAMEDATALEN];
	TimestampTz last_sweep_at; /* begin of the last complete sweep, 0: none */
	TimestampTz due_at;		   /* when the next one should begin, 0: unknown */
	TimestampTz next_at; /* when it will be tried, later after a failure */
	int64		sweeps;	 /* complete ones since the worker started */
	int			active_runs;
	bool		complete; /* the last sweep saw and wrote all there was */
	char		last_error[DBX_SHARED_TEXT];
	TimestampTz last_error_at; /* 0: all is well */
} DbxSharedWorkspace;

/* How a worker's process came to its end, as its exit callback shall treat it. */
typedef enum DbxWorkerEnd
{
	DBX_WORKER_END_ERROR, /* start it again, with back-off */
	DBX_WORKER_END_IDLE	  /* nothing to do until something is committed */
} DbxWorkerEnd;

/* Install the hooks that reserve and set up the memory; preload only. */
extern void dbx_shared_init(void);

/* Is there shared memory, that is, was the library preloaded? */
extern bool dbx_shared_available(void);

/* Raise 55000 naming the setting when it was not; "what" needs the worker. */
extern void dbx_shared_require(const char *what);

/*
 * From any process.  Safe at commit and abort: nothing here raises, except
 * that dbx_shared_await_gone() serves interrupts.
 */
extern void dbx_shared_wake(Oid dboid);
extern bool dbx_shared_suspend(Oid dboid);
extern void dbx_shared_await_gone(Oid dboid);
extern void dbx_shared_resume(Oid dboid, bool dropped);

/* The launcher's side. */
extern void dbx_shared_launcher_attach(void);
extern bool dbx_shared_launcher_overflow(void);
extern bool dbx_shared_want(Oid dboid);
extern Oid	dbx_shared_next_start(TimestampTz *when);
extern void dbx_shared_set_starting(Oid dboid);
extern bool dbx_shared_is_starting(Oid dboid);
extern void dbx_shared_not_started(Oid dboid, TimestampTz retry_at);
extern void dbx_shared_forget(Oid dboid);

/*
 * The worker's side.  dbx_shared_attach() must come before the process
 * connects to its database; false: it is not wanted (any more) and exits.
 */
extern bool dbx_shared_attach(Oid dboid);
extern void dbx_shared_set_end(DbxWorkerEnd end);
extern void dbx_shared_running(void);
extern bool dbx_shared_take_wake(void);
extern bool dbx_shared_wake_pending(void);
extern void dbx_shared_phase(const char *phase);
extern void dbx_shared_error(const char *message);
extern void dbx_shared_queue(int64 depth);
extern void dbx_shared_workspace(const DbxSharedWorkspace *workspace);
extern void dbx_shared_forget_workspace(const char *name);

/* Begin of the last sweep of a workspace; 0: none, or it left something out. */
extern TimestampTz dbx_shared_swept_at(Oid dboid, const char *name);

/* Copy a text, cut between characters where it is longer than fits. */
extern void dbx_shared_copy_text(char *target, const char *text, Size size);

/* Copies for the views, palloc'd; the result is the number of entries. */
extern int dbx_shared_slots(DbxSlot **slots);
extern int dbx_shared_workspaces(Oid dboid, DbxSharedWorkspace **workspaces);

#endif /* DBX_WORKER_SHARED_H */
