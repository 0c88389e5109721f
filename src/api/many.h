/*
 * many.h
 *	  Many calls of one workspace, as many at a time as it allows.
 *
 * For whoever has more calls to make than may be under way at once: no more than
 * max_parallel answers are in memory at any time, however many calls there are.
 */
#ifndef DBX_MANY_H
#define DBX_MANY_H

#include "api/api.h"

typedef struct DbxMany
{
	const DbxWorkspace *workspace;
	int					count;
	TimestampTz			until; /* give up what has not ended then; 0: never */

	/*
	 * What to call.  The current memory context is that of the call, and what
	 * the spec points to may lie there.
	 */
	void (*make)(void *arg, int number, DbxCallSpec *spec);

	/*
	 * A call has come to its end, be it good or bad; they come in whatever order.
	 * The call and what is allocated here are gone afterwards.  It is not told of
	 * those that were given up.
	 */
	void (*take)(void *arg, int number, DbxCall *call);

	void *arg;
} DbxMany;

/*
 * Make all of them; numbers count from 0.  What "make" or "take" raise ends the
 * whole, and gives up the calls under way.
 */
extern void dbx_many_run(const DbxMany *many);

#endif /* DBX_MANY_H */
