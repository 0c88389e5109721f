/*
 * guard.c
 *	  Work that leaves something elsewhere when it breaks.
 *
 * Separate because catching an error is easily done wrong, and several kinds of
 * work need it: a run or statement to be cancelled, a part file to be deleted.
 * Each of the functions has one PG_TRY: the compilers of PostgreSQL 17 refuse one
 * inside another.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "api/guard.h"

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
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (any_error || error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			do_quietly(undo, arg);
		ReThrowError(error);
	}
	PG_END_TRY();
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
