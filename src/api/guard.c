/*
 * guard.c
 *	  Work that leaves something elsewhere when it breaks.
 *
 * Separate because catching an error is easily done wrong, and several kinds of
 * work need it: a run or statement to be cancelled, a part file to be deleted.
 * Each of the functions has one PG_TRY: the compilers of PostgreSQL 17 refuse one
 * inside another.
 *
 * A process that is terminated, or loses its client, raises nothing that could be
 * caught, so it looks for what there is to undo when it exits.  It may wait there:
 * its latch, its memory and the frames of its stack are still what they were.
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "utils/memutils.h"

#include "api/guard.h"

/* What is guarded, innermost first; each lies in the frame of its guard(). */
typedef struct Guarded
{
	DbxGuarded		undo;
	void		   *arg;
	struct Guarded *outer;
} Guarded;

static Guarded *guarded = NULL;

/* An error in here only ends this callback: the process goes on to exit. */
static void
undo_at_exit(int code, Datum unused)
{
	(void) code;
	(void) unused;
	while (guarded != NULL)
	{
		Guarded *next = guarded;

		guarded = next->outer;
		next->undo(next->arg);
	}
}

/* The first error is the one to report, whatever happens here. */
static void
do_quietly(DbxGuarded work, void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
}

static void
guard(DbxGuarded work, DbxGuarded undo, bool any_error, void *arg)
{
	static bool	  registered = false;
	MemoryContext context = CurrentMemoryContext;
	Guarded		  own = {undo, arg, guarded};

	if (!registered)
		before_shmem_exit(undo_at_exit, (Datum) 0);
	registered = true;
	guarded = &own;
	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		ErrorData *error;

		guarded = own.outer;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (any_error || error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			do_quietly(undo, arg);
		ReThrowError(error);
	}
	PG_END_TRY();
	guarded = own.outer;
}

void
dbx_guard_cancel(DbxGuarded work, DbxGuarded cancel, void *arg)
{
	if (cancel != NULL)
		guard(work, cancel, false, arg);
	else
		work(arg);
}

void
dbx_guard_error(DbxGuarded work, DbxGuarded undo, void *arg)
{
	guard(work, undo, true, arg);
}
