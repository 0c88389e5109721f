/*
 * shared.c
 *	  What the processes of the cluster know of each other's workers.
 *
 * Separate because backends, launcher, workers and hooks meet only here.  The
 * protocol of a slot:
 *
 *	  FREE -> WANTED				a commit, or the launcher's first round
 *	  WANTED -> STARTING			launcher, when start_at has come and no
 *									command needs the database empty
 *	  STARTING -> PROBING			the process, before it connects
 *	  PROBING -> RUNNING			it found something to do
 *	  PROBING, RUNNING -> FREE		it has nothing to do
 *	  PROBING, RUNNING -> WANTED	it failed, was stopped for a command, or was
 *									woken while it was leaving
 *
 * Memory: one static area, cleared by the postmaster after a crash; the
 * launcher then begins anew.
 */
#include "postgres.h"

#include <signal.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem.h"
#include "worker/shared.h"

/* Core waits 5 s for a database to become empty before it gives up. */
#define SUSPEND_PATIENCE_MS 5000

/* A worker that ran this long before it failed begins with short back-off again. */
#define SETTLED_MS		 60000
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_LAST_MS	 60000

typedef struct SharedState
{
	pid_t			   launcher_pid;
	bool			   overflow; /* a database found no free slot */
	ConditionVariable  gone;	 /* a worker's process has left its database */
	DbxSlot			   slots[DBX_SHARED_DATABASES];
	DbxSharedWorkspace workspaces[DBX_SHARED_WORKSPACES];
} SharedState;

static SharedState *shared = NULL;
static LWLock	   *lock = NULL;

/*
 * Of a worker's own process.  One that only does a round for run_worker_once()
 * has no slot, and the functions of the worker's side do nothing for it.
 */
static Oid			my_dboid = InvalidOid;
static DbxWorkerEnd my_end = DBX_WORKER_END_ERROR;

static void				   init_shared(void *area);
static DbxSlot			  *find_slot(Oid dboid);
static DbxSlot			  *find_or_make_slot(Oid dboid);
static void				   free_slot(DbxSlot *slot);
static DbxSharedWorkspace *find_workspace(Oid dboid, const char *name);
static void				   want(DbxSlot *slot, TimestampTz start_at);
static TimestampTz		   back_off(DbxSlot *slot);
static void				   set_latch_of(pid_t pid);
static void				   wake_launcher(void);
static void				   launcher_left(int code, Datum arg);
static void				   worker_left(int code, Datum arg);

void
dbx_shared_init(void)
{
	static const DbxShmemArea area = {
		.name = "databricks_worker",
		.size = sizeof(SharedState),
		.area = (void **) &shared,
		.lock = &lock,
		.init = init_shared,
	};

	dbx_shmem_register(&area);
}

static void
init_shared(void *area)
{
	ConditionVariableInit(&((SharedState *) area)->gone);
}

bool
dbx_shared_available(void)
{
	return shared != NULL;
}

void
dbx_shared_require(const char *what)
{
	if (shared == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s needs the background worker of extension \"databricks\"",
					what),
			 errdetail("The library was not loaded when the server started."),
			 errhint(
				 "Add \"databricks\" to shared_preload_libraries and restart the server.")));
}

/*
 * Something was committed in this database that a worker should look at.
 */
void
dbx_shared_wake(Oid dboid)
{
	DbxSlot *slot;
	pid_t	 pid = 0;

	if (shared == NULL)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_or_make_slot(dboid);
	if (slot == NULL)
		shared->overflow = true;
	else
	{
		slot->wake = true;
		if (slot->pid != 0)
			pid = slot->pid;
		else if (slot->state == DBX_SLOT_FREE ||
				 slot->state == DBX_SLOT_STOPPED ||
				 slot->state == DBX_SLOT_WANTED)
			want(slot, GetCurrentTimestamp());
	}
	LWLockRelease(lock);

	if (pid != 0)
		set_latch_of(pid);
	else
		wake_launcher();
}

/*
 * Keep workers out of a database until dbx_shared_resume() and end the one that
 * is there.  False: there was no slot to note it in, and so no worker either.
 */
bool
dbx_shared_suspend(Oid dboid)
{
	DbxSlot *slot;

	if (shared == NULL)
		return false;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_or_make_slot(dboid);
	if (slot != NULL)
	{
		if (slot->state == DBX_SLOT_FREE)
			slot->state = DBX_SLOT_STOPPED;
		slot->suspended++;
		if (slot->pid != 0)
			(void) kill(slot->pid, SIGTERM);
	}
	LWLockRelease(lock);
	return slot != NULL;
}

/*
 * Wait until no worker's process is in the database.  Should it not leave in
 * time, the command that wanted the database empty says so itself.
 *
 * A condition variable rather than the wait of src/http: what is waited for is
 * another process's exit callback, which must not have to know who waits.  It
 * sleeps on the latch and serves interrupts all the same.
 */
void
dbx_shared_await_gone(Oid dboid)
{
	TimestampTz deadline;

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   SUSPEND_PATIENCE_MS);
	ConditionVariablePrepareToSleep(&shared->gone);
	for (;;)
	{
		DbxSlot *slot;
		bool	 present;
		long	 left;

		LWLockAcquire(lock, LW_SHARED);
		slot = find_slot(dboid);
		present = slot != NULL && slot->pid != 0;
		LWLockRelease(lock);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (!present || left <= 0 ||
			ConditionVariableTimedSleep(&shared->gone, left,
										dbx_wait_event("DatabricksWorkerExit")))
			break;
	}
	ConditionVariableCancelSleep();
}

void
dbx_shared_resume(Oid dboid, bool dropped)
{
	DbxSlot *slot;

	if (shared == NULL)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL)
	{
		if (slot->suspended > 0)
			slot->suspended--;
		if ((dropped && slot->pid == 0) ||
			(slot->suspended == 0 && slot->state == DBX_SLOT_STOPPED))
			free_slot(slot);
	}
	LWLockRelease(lock);
	wake_launcher();
}

void
dbx_shared_launcher_attach(void)
{
	on_shmem_exit(launcher_left, (Datum) 0);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	LWLockRelease(lock);
}

/* Has a database found no slot since the last call? */
bool
dbx_shared_launcher_overflow(void)
{
	bool result;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	result = shared->overflow;
	shared->overflow = false;
	LWLockRelease(lock);
	return result;
}

/* Ask for a worker; false when there is no slot left. */
bool
dbx_shared_want(Oid dboid)
{
	DbxSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_or_make_slot(dboid);
	if (slot != NULL &&
		(slot->state == DBX_SLOT_FREE || slot->state == DBX_SLOT_STOPPED))
		want(slot, GetCurrentTimestamp());
	LWLockRelease(lock);
	return slot != NULL;
}

/*
 * The database whose worker is due, else InvalidOid with *when saying when one
 * will be (0: none).
 */
Oid
dbx_shared_next_start(TimestampTz *when)
{
	TimestampTz now = GetCurrentTimestamp();
	DbxSlot	   *next = NULL;
	Oid			result = InvalidOid;

	*when = 0;
	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < DBX_SHARED_DATABASES; i++)
	{
		DbxSlot *slot = &shared->slots[i];

		if (slot->state == DBX_SLOT_WANTED && slot->suspended == 0 &&
			(next == NULL || slot->start_at < next->start_at))
			next = slot;
	}
	if (next != NULL && next->start_at <= now)
		result = next->dboid;
	else if (next != NULL)
		*when = next->start_at;
	LWLockRelease(lock);
	return result;
}

void
dbx_shared_set_starting(Oid dboid)
{
	DbxSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && slot->state == DBX_SLOT_WANTED)
		slot->state = DBX_SLOT_STARTING;
	LWLockRelease(lock);
}

/* Has the worker not yet said whether it stays? */
bool
dbx_shared_is_starting(Oid dboid)
{
	DbxSlot *slot;
	bool	 result;

	LWLockAcquire(lock, LW_SHARED);
	slot = find_slot(dboid);
	result = slot != NULL &&
		(slot->state == DBX_SLOT_STARTING || slot->state == DBX_SLOT_PROBING);
	LWLockRelease(lock);
	return result;
}

/*
 * The postmaster did not start it, or it died before it attached; retry_at 0
 * means with back-off.
 */
void
dbx_shared_not_started(Oid dboid, TimestampTz retry_at)
{
	DbxSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && slot->pid == 0 && slot->state == DBX_SLOT_STARTING)
		want(slot, retry_at != 0 ? retry_at : back_off(slot));
	LWLockRelease(lock);
}

/* The database is gone or takes no connections. */
void
dbx_shared_forget(Oid dboid)
{
	DbxSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && slot->pid == 0)
	{
		if (slot->suspended > 0)
			slot->state = DBX_SLOT_STOPPED;
		else
			free_slot(slot);
	}
	LWLockRelease(lock);
}

bool
dbx_shared_attach(Oid dboid)
{
	DbxSlot *slot;
	bool	 result = false;

	if (shared == NULL)
		return false;

	/*
	 * Registered before the process connects, and with on_shmem_exit, so that
	 * it runs after the process has left the array of processes: whoever
	 * waits for the database to be empty then finds it so.
	 */
	my_dboid = dboid;
	on_shmem_exit(worker_left, (Datum) 0);

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(dboid);
	if (slot != NULL && slot->state == DBX_SLOT_STARTING)
	{
		slot->pid = MyProcPid;
		slot->state = DBX_SLOT_PROBING;
		slot->started_at = GetCurrentTimestamp();
		slot->wake = false;
		dbx_shared_copy_text(slot->phase, "starting", sizeof(slot->phase));
		result = slot->suspended == 0;
	}
	LWLockRelease(lock);
	return result;
}

void
dbx_shared_set_end(DbxWorkerEnd end)
{
	my_end = end;
}

/* There is something to do: the process stays. */
void
dbx_shared_running(void)
{
	DbxSlot *slot;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL && slot->state == DBX_SLOT_PROBING)
		slot->state = DBX_SLOT_RUNNING;
	LWLockRelease(lock);
	wake_launcher();
}

bool
dbx_shared_take_wake(void)
{
	DbxSlot *slot;
	bool	 result = false;

	if (!OidIsValid(my_dboid))
		return false;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL)
	{
		result = slot->wake;
		slot->wake = false;
	}
	LWLockRelease(lock);
	return result;
}

bool
dbx_shared_wake_pending(void)
{
	DbxSlot *slot;
	bool	 result;

	if (!OidIsValid(my_dboid))
		return false;

	LWLockAcquire(lock, LW_SHARED);
	slot = find_slot(my_dboid);
	result = slot != NULL && slot->wake;
	LWLockRelease(lock);
	return result;
}

void
dbx_shared_phase(const char *phase)
{
	DbxSlot *slot;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL)
		dbx_shared_copy_text(slot->phase, phase, sizeof(slot->phase));
	LWLockRelease(lock);
}

/* The last error of the database's worker; NULL: it is overcome. */
void
dbx_shared_error(const char *message)
{
	DbxSlot *slot;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL)
	{
		dbx_shared_copy_text(slot->last_error, message ? message : "",
							 sizeof(slot->last_error));
		slot->last_error_at = message ? GetCurrentTimestamp() : 0;
	}
	LWLockRelease(lock);
}

/* How many requests wait to be sent, as the worker has just counted. */
void
dbx_shared_queue(int64 depth)
{
	DbxSlot *slot;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL)
		slot->queue_depth = depth;
	LWLockRelease(lock);
}

/* Publish the state of one tracked workspace of this worker's database. */
void
dbx_shared_workspace(const DbxSharedWorkspace *workspace)
{
	DbxSharedWorkspace *target;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	target = find_workspace(my_dboid, workspace->name);
	if (target == NULL)
		target = find_workspace(InvalidOid, NULL);
	if (target != NULL)
	{
		*target = *workspace;
		target->dboid = my_dboid;
	}
	LWLockRelease(lock);
}

void
dbx_shared_forget_workspace(const char *name)
{
	DbxSharedWorkspace *target;

	if (!OidIsValid(my_dboid))
		return;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	target = find_workspace(my_dboid, name);
	if (target != NULL)
		target->dboid = InvalidOid;
	LWLockRelease(lock);
}

TimestampTz
dbx_shared_swept_at(Oid dboid, const char *name)
{
	DbxSharedWorkspace *workspace;
	TimestampTz			result = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(lock, LW_SHARED);
	workspace = find_workspace(dboid, name);
	if (workspace != NULL && workspace->complete)
		result = workspace->last_sweep_at;
	LWLockRelease(lock);
	return result;
}

int
dbx_shared_slots(DbxSlot **slots)
{
	int count = 0;

	*slots = palloc(sizeof(DbxSlot) * DBX_SHARED_DATABASES);
	if (shared == NULL)
		return 0;
	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < DBX_SHARED_DATABASES; i++)
	{
		if (shared->slots[i].state != DBX_SLOT_FREE)
			(*slots)[count++] = shared->slots[i];
	}
	LWLockRelease(lock);
	return count;
}

/* The workspaces of one database, or all of them for InvalidOid. */
int
dbx_shared_workspaces(Oid dboid, DbxSharedWorkspace **workspaces)
{
	int count = 0;

	*workspaces = palloc(sizeof(DbxSharedWorkspace) * DBX_SHARED_WORKSPACES);
	if (shared == NULL)
		return 0;
	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < DBX_SHARED_WORKSPACES; i++)
	{
		DbxSharedWorkspace *workspace = &shared->workspaces[i];

		if (OidIsValid(workspace->dboid) &&
			(!OidIsValid(dboid) || workspace->dboid == dboid))
			(*workspaces)[count++] = *workspace;
	}
	LWLockRelease(lock);
	return count;
}

/* ---- helpers; all but the last four expect the lock to be held ---- */

static DbxSlot *
find_slot(Oid dboid)
{
	for (int i = 0; i < DBX_SHARED_DATABASES; i++)
	{
		if (shared->slots[i].state != DBX_SLOT_FREE &&
			shared->slots[i].dboid == dboid)
			return &shared->slots[i];
	}
	return NULL;
}

/* A new slot is still FREE: the caller gives it a state. */
static DbxSlot *
find_or_make_slot(Oid dboid)
{
	DbxSlot *slot = find_slot(dboid);

	for (int i = 0; slot == NULL && i < DBX_SHARED_DATABASES; i++)
	{
		if (shared->slots[i].state == DBX_SLOT_FREE)
		{
			slot = &shared->slots[i];
			memset(slot, 0, sizeof(DbxSlot));
			slot->dboid = dboid;
			slot->queue_depth = -1;
		}
	}
	return slot;
}

static void
free_slot(DbxSlot *slot)
{
	for (int i = 0; i < DBX_SHARED_WORKSPACES; i++)
	{
		if (shared->workspaces[i].dboid == slot->dboid)
			shared->workspaces[i].dboid = InvalidOid;
	}
	memset(slot, 0, sizeof(DbxSlot));
}

/* The record of that name, or a free one for InvalidOid. */
static DbxSharedWorkspace *
find_workspace(Oid dboid, const char *name)
{
	for (int i = 0; i < DBX_SHARED_WORKSPACES; i++)
	{
		DbxSharedWorkspace *workspace = &shared->workspaces[i];

		if (workspace->dboid == dboid &&
			(name == NULL || strcmp(workspace->name, name) == 0))
			return workspace;
	}
	return NULL;
}

static void
want(DbxSlot *slot, TimestampTz start_at)
{
	slot->state = DBX_SLOT_WANTED;
	slot->start_at = start_at;
}

static TimestampTz
back_off(DbxSlot *slot)
{
	TimestampTz now = GetCurrentTimestamp();
	int			delay = BACKOFF_FIRST_MS;

	if (slot->started_at != 0 &&
		TimestampDifferenceExceeds(slot->started_at, now, SETTLED_MS))
		slot->failures = 0;
	for (int i = 0; i < slot->failures && delay < BACKOFF_LAST_MS; i++)
		delay *= 2;
	slot->failures++;
	return TimestampTzPlusMilliseconds(now, Min(delay, BACKOFF_LAST_MS));
}

/* Not under the lock: the array of processes has one of its own. */
static void
set_latch_of(pid_t pid)
{
	PGPROC *proc = pid != 0 ? BackendPidGetProc(pid) : NULL;

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

static void
wake_launcher(void)
{
	pid_t pid;

	LWLockAcquire(lock, LW_SHARED);
	pid = shared->launcher_pid;
	LWLockRelease(lock);
	set_latch_of(pid);
}

void
dbx_shared_copy_text(char *target, const char *text, Size size)
{
	int len = strlen(text);

	if (len >= size)
		len = pg_mbcliplen(text, len, size - 1);
	memcpy(target, text, len);
	target[len] = '\0';
}

static void
launcher_left(int code, Datum arg)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (shared->launcher_pid == MyProcPid)
		shared->launcher_pid = 0;
	LWLockRelease(lock);
}

static void
worker_left(int code, Datum arg)
{
	DbxSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(my_dboid);
	if (slot != NULL && slot->pid == MyProcPid)
	{
		slot->pid = 0;
		slot->phase[0] = '\0';
		slot->queue_depth = -1;
		if (slot->suspended > 0)
			want(slot, 0);
		else if (my_end == DBX_WORKER_END_ERROR)
			want(slot, back_off(slot));
		else if (slot->wake)
			want(slot, GetCurrentTimestamp());
		else
			free_slot(slot);
	}
	LWLockRelease(lock);
	ConditionVariableBroadcast(&shared->gone);
	wake_launcher();
}
