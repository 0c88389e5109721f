/*
 * many.c
 *	  Many calls of one workspace, as many at a time as it allows.
 *
 * Separate from the calls since it owns a place for each of those under way, with
 * a memory context in which the call, its answer and what is made of that come
 * and go.  A place is filled anew as soon as its call has been taken, so neither
 * a slow call nor one that is tried again holds up the others.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/many.h"

typedef struct Place
{
	MemoryContext context;
	DbxCall		 *call; /* NULL: free */
	int			  number;
} Place;

static void
begin(const DbxMany *many, Place *place, int number)
{
	MemoryContext before = MemoryContextSwitchTo(place->context);
	DbxCallSpec	  spec = {0};

	many->make(many->arg, number, &spec);
	place->number = number;
	place->call = dbx_call_start(many->workspace, &spec);
	MemoryContextSwitchTo(before);
}

static void
end(const DbxMany *many, Place *place)
{
	MemoryContext before = MemoryContextSwitchTo(place->context);

	many->take(many->arg, place->number, place->call);
	place->call = NULL;
	MemoryContextSwitchTo(before);
	MemoryContextReset(place->context);
}

void
dbx_many_run(const DbxMany *many)
{
	int			  nplaces = Min(many->workspace->max_parallel, many->count);
	int			  begun = 0;
	int			  ended = 0;
	MemoryContext context;
	Place		 *places;
	int			  i;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"databricks many calls",
									ALLOCSET_DEFAULT_SIZES);
	places = MemoryContextAllocZero(context, sizeof(Place) * (nplaces + 1));
	for (i = 0; i < nplaces; i++)
		places[i].context = AllocSetContextCreate(context, "databricks place",
												  ALLOCSET_DEFAULT_SIZES);
	while (ended < many->count)
	{
		bool waiting = true;

		for (i = 0; i < nplaces; i++)
		{
			if (places[i].call != NULL && dbx_call_done(places[i].call))
			{
				end(many, &places[i]);
				ended++;
				waiting = false;
			}
			if (places[i].call == NULL && begun < many->count)
				begin(many, &places[i], begun++);
			CHECK_FOR_INTERRUPTS();
		}
		if (waiting)
			(void) dbx_calls_progress(many->until);
		if (many->until != 0 && GetCurrentTimestamp() >= many->until)
			break;
	}
	MemoryContextDelete(context);
}
