/*
 * guard.c
 *	  Work that leaves something to be cancelled elsewhere.
 *
 * Separate because catching an error is easily done wrong, and several waits
 * need it.  Each of the two functions has one PG_TRY: the compilers of PostgreSQL
 * 17 refuse one inside another.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "functions/guard.h"

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

void
dbx_guard(DbxGuarded work, DbxGuarded cancel, void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	if (cancel == NULL)
	{
		work(arg);
		return;
	}
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
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			do_quietly(cancel, arg);
		ReThrowError(error);
	}
	PG_END_TRY();
}
