/*
 * sweep.c
 *	  One look at the active and the recent runs of a workspace.
 *
 * Two lists are read at once:
 *
 *	  active	runs/list?active_only=true; where that is many pages, which wait
 *				for each other, in parallel by ranges of start_time
 *	  recent	runs/list?start_time_from=..., for runs that began and ended
 *				between two sweeps, and for those active_only leaves out
 *				(BLOCKED, WAITING_FOR_RETRY).  Where that is many pages it is
 *				asked with completed_only=true, and without now and then.
 *
 * What is known as active and is in neither list has ended, waits for something
 * or is gone: those alone are asked for with runs/get, in parallel.  Then all
 * that was seen is written in one transaction.  The order of a list is never
 * relied upon.
 *
 * Memory: all of a sweep hangs off its context.  Answers live in a context below
 * it until they are written; after a long outage that happens in between too.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/follow.h"
#include "worker/session.h"
#include "worker/tracked.h"

/* Answers that take more memory than this are written before the sweep has ended. */
#define PENDING_BYTES (16 * 1024 * 1024)

/* Recent runs are listed whole as long as that took no more pages than this ... */
#define CHEAP_PAGES 2

/* ... and else only this often, or less when that was many pages. */
#define WHOLE_WINDOW_USECS (5 * 60 * USECS_PER_SEC)
#define WHOLE_PAGE_USECS   (15 * USECS_PER_SEC)

/* Active runs are listed with their tasks as long as they fit on a page. */
#define EXPANDED_PAGES 1

/*
 * The list of active runs is read in ranges of so many pages.  Each range may
 * cost a call more than its share of one list, so they are not small.
 */
#define RANGES		8
#define RANGE_PAGES 12

/* How long it is read whole when the ranges turned out to leave so many out. */
#define UNLISTED_RUNS	25
#define NO_RANGES_USECS (60 * 60 * USECS_PER_SEC)

/* Runs asked for at a time. */
#define GETS_AT_ONCE 200

/* A sweep repeats calls for a short time only: the next sweep repeats all. */
#define SWEEP_PATIENCE_MS 10000

/* What this sweep has seen of a run; hash entry. */
typedef struct SweepEntry
{
	int64 run_id; /* hash key */
	bool  ended;
} SweepEntry;

struct DbxSweep
{
	MemoryContext context;
	MemoryContext answers;
	DbxWorkspace *workspace;
	TimestampTz	  begun;
	int			  nactive; /* ranges */
	DbxListing	 *active[RANGES];
	bool		  expanded; /* active ones come with their tasks */
	DbxListing	 *recent;
	bool		  recent_whole; /* not with completed_only */
	int			  nknown;
	DbxKnownRun	 *known;   /* active before this sweep */
	HTAB		 *seen;	   /* of SweepEntry */
	List		 *pending; /* of DbxSeenRun *, in "answers" */
	bool		  gets_begun;
	int			  nwanted; /* runs in no list ... */
	int64		 *wanted;
	int			  asked;	/* ... and how many of them have been asked for */
	int			  unlisted; /* active runs among them */
	List		 *gets;		/* of DbxRunGet *, under way */
	char		 *trouble;	/* of a single run */
};

static void load_state(DbxTracked *tracked, DbxSweep *sweep);
static void start_lists(DbxTracked *tracked, DbxSweep *sweep);
static void start_active(DbxTracked *tracked, DbxSweep *sweep);
static void take_rows(DbxTracked *tracked, DbxListing *listing,
					  const DbxJson *rows);
static void take_run(DbxTracked *tracked, DbxSeenRun *run);
static bool read_lists(DbxTracked *tracked);
static void start_gets(DbxTracked *tracked);
static void want(DbxSweep *sweep, int64 run_id);
static bool take_gets(DbxTracked *tracked);
static void take_get(DbxTracked *tracked, DbxRunGet *get);
static bool should_be_listed(const DbxJson *run);
static bool write_pending(DbxTracked *tracked, bool last);
static void write_full(DbxTracked *tracked);
static int	count_active(DbxTracked *tracked);
static void finish(DbxTracked *tracked);

void
dbx_sweep_begin(DbxTracked *tracked)
{
	MemoryContext context = AllocSetContextCreate(tracked->context,
												  "databricks sweep",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	DbxSweep	 *sweep = palloc0(sizeof(DbxSweep));
	HASHCTL		  control = {0};

	tracked->sweep = sweep;
	sweep->context = context;
	sweep->begun = GetCurrentTimestamp();
	sweep->answers = AllocSetContextCreate(context, "databricks sweep answers",
										   ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(SweepEntry);
	control.hcxt = context;
	sweep->seen = hash_create("databricks seen runs", 256, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	load_state(tracked, sweep);
	if (sweep->workspace != NULL)
		start_lists(tracked, sweep);
	MemoryContextSwitchTo(before);
}

/*
 * What is needed of the database, in one short transaction.  Leaves the
 * workspace NULL if this process has lost its purpose; it is woken then.
 */
static void
load_state(DbxTracked *tracked, DbxSweep *sweep)
{
	DbxKnownRun *known;

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	sweep->nknown = dbx_history_active(tracked->name, &known);
	sweep->known = MemoryContextAlloc(sweep->context,
									  sizeof(DbxKnownRun) *
										  Max(sweep->nknown, 1));
	memcpy(sweep->known, known, sizeof(DbxKnownRun) * sweep->nknown);

	MemoryContextSwitchTo(sweep->context);
	sweep->workspace = dbx_tracked_resolve(tracked);
	sweep->workspace->retry_timeout = Min(sweep->workspace->retry_timeout,
										  SWEEP_PATIENCE_MS);
	dbx_session_commit();
	MemoryContextSwitchTo(sweep->context);
}

static void
start_lists(DbxTracked *tracked, DbxSweep *sweep)
{
	int64		   overlap = (int64) dbx_guc_history_overlap * 1000;
	TimestampTz	   from;
	StringInfoData query;

	start_active(tracked, sweep);
	sweep->recent_whole = tracked->all_pages <= CHEAP_PAGES ||
		sweep->begun - tracked->all_seen_to >=
			Max(WHOLE_WINDOW_USECS, tracked->all_pages * WHOLE_PAGE_USECS);
	from = (sweep->recent_whole ? tracked->all_seen_to : tracked->ended_seen_to) -
		overlap;

	initStringInfo(&query);
	if (!sweep->recent_whole)
		dbx_query_add(&query, "completed_only", "true");
	dbx_tracked_add_time(&query, "start_time_from", from);
	sweep->recent = dbx_listing_start(sweep->workspace, query.data);
}

/*
 * The ranges hold equally many of the runs that are known.  They meet at a
 * millisecond and have no end on either side, so each time is in one of them.
 * Where a run has no start_time yet nobody knows in which: then there is one.
 */
static void
start_active(DbxTracked *tracked, DbxSweep *sweep)
{
	int			   ranges = Min(tracked->active_pages / RANGE_PAGES,
								Min(RANGES, sweep->workspace->max_parallel));
	TimestampTz	   from = 0;
	StringInfoData query;

	if (sweep->nknown == 0 || sweep->known[0].start_time == 0 ||
		sweep->begun < tracked->no_ranges_until)
		ranges = 1;
	sweep->expanded = tracked->active_pages > 0 &&
		tracked->active_pages <= EXPANDED_PAGES;
	initStringInfo(&query);
	for (int i = 1; i <= Max(ranges, 1); i++)
	{
		TimestampTz to = 0;

		if (i < ranges)
		{
			to = sweep->known[(int64) sweep->nknown * i / ranges].start_time;
			if (to == from)
				continue;
		}
		resetStringInfo(&query);
		dbx_query_add(&query, "active_only", "true");
		if (sweep->expanded)
			dbx_query_add(&query, "expand_tasks", "true");
		if (from != 0)
			dbx_tracked_add_time(&query, "start_time_from", from);
		if (to != 0)
			dbx_tracked_add_time(&query, "start_time_to",
								 to - USECS_PER_SEC / 1000);
		sweep->active[sweep->nactive++] = dbx_listing_start(sweep->workspace,
															query.data);
		from = to;
	}
	pfree(query.data);
}

/*
 * Go on with what has come back; true when the sweep is done.
 */
bool
dbx_sweep_advance(DbxTracked *tracked)
{
	DbxSweep	 *sweep = tracked->sweep;
	MemoryContext before;
	bool		  done = false;

	if (sweep->workspace == NULL)
		return true;
	before = MemoryContextSwitchTo(sweep->answers);
	if (read_lists(tracked))
	{
		if (!sweep->gets_begun)
			start_gets(tracked);
		if (take_gets(tracked))
		{
			finish(tracked);
			done = true;
		}
	}
	MemoryContextSwitchTo(before);
	return done;
}

void
dbx_sweep_end(DbxTracked *tracked)
{
	if (tracked->sweep == NULL)
		return;
	MemoryContextDelete(tracked->sweep->context);
	tracked->sweep = NULL;
}

/* ---- the lists ---- */

/*
 * True when both are complete.  An active run that has just started is in both,
 * and taken once: as the list says that has the tasks.
 */
static bool
read_lists(DbxTracked *tracked)
{
	DbxSweep	  *sweep = tracked->sweep;
	const DbxJson *rows;
	bool		   done = true;

	MemoryContextSwitchTo(sweep->answers);
	for (int i = 0; i < sweep->nactive; i++)
	{
		while (dbx_listing_next(sweep->active[i], &rows))
			take_rows(tracked, sweep->active[i], rows);
		done = done && dbx_listing_done(sweep->active[i]);
	}
	if (done || !sweep->expanded)
	{
		while (dbx_listing_next(sweep->recent, &rows))
			take_rows(tracked, sweep->recent, rows);
	}
	done = done && dbx_listing_done(sweep->recent);

	write_full(tracked);
	return done;
}

static void
take_rows(DbxTracked *tracked, DbxListing *listing, const DbxJson *rows)
{
	ListCell *cell;

	foreach(cell, dbx_listing_runs(listing, rows))
		take_run(tracked, lfirst(cell));
	if (listing->unnamed > 0 && tracked->sweep->trouble == NULL)
		tracked->sweep->trouble = MemoryContextStrdup(
			tracked->sweep->context, "runs/list holds a run without run_id");
}

/* Note what was said of a run.  In "answers". */
static void
take_run(DbxTracked *tracked, DbxSeenRun *run)
{
	DbxSweep   *sweep = tracked->sweep;
	SweepEntry *entry;
	DbxAside   *aside;
	bool		found;

	/* The other list may have been answered earlier or later: ends hold. */
	entry = hash_search(sweep->seen, &run->run_id, HASH_ENTER, &found);
	if (found && (entry->ended || !run->ended))
		return;
	entry->ended = run->ended;

	aside = hash_search(tracked->aside, &run->run_id, HASH_FIND, NULL);
	if (aside != NULL && aside->reason == DBX_ASIDE_BAD)
	{
		if (aside->retry_at > sweep->begun)
			return;
	}
	else if (run->ended || !sweep->gets_begun)
		dbx_tracked_take_back(tracked, run->run_id);
	sweep->pending = lappend(sweep->pending, run);
}

/* ---- runs that are in no list ---- */

static void
start_gets(DbxTracked *tracked)
{
	DbxSweep	   *sweep = tracked->sweep;
	HASH_SEQ_STATUS status;
	DbxAside	   *aside;

	sweep->wanted = MemoryContextAlloc(
		sweep->context,
		sizeof(int64) *
			(sweep->nknown + hash_get_num_entries(tracked->aside) + 1));
	for (int i = 0; i < sweep->nknown; i++)
	{
		int64 run_id = sweep->known[i].run_id;

		if (hash_search(sweep->seen, &run_id, HASH_FIND, NULL) != NULL)
			continue;
		aside = hash_search(tracked->aside, &run_id, HASH_FIND, NULL);
		if (aside != NULL)
			aside->known_at = sweep->begun;
		if (aside == NULL ||
			(aside->reason != DBX_ASIDE_BAD && aside->retry_at <= sweep->begun))
			want(sweep, run_id);
	}

	/*
	 * Those that could not be written are tried again, listed or not; the others
	 * are of no interest once their rows have been deleted.
	 */
	hash_seq_init(&status, tracked->aside);
	while ((aside = hash_seq_search(&status)) != NULL)
	{
		if (aside->reason != DBX_ASIDE_BAD)
		{
			if (aside->known_at != sweep->begun)
				dbx_tracked_take_back(tracked, aside->run_id);
		}
		else if (aside->retry_at <= sweep->begun &&
				 hash_search(sweep->seen, &aside->run_id, HASH_FIND, NULL) ==
					 NULL)
			want(sweep, aside->run_id);
	}
	sweep->gets_begun = true;
}

static void
want(DbxSweep *sweep, int64 run_id)
{
	sweep->wanted[sweep->nwanted++] = run_id;
}

/* True when all have been answered.  Many are asked for in turns. */
static bool
take_gets(DbxTracked *tracked)
{
	DbxSweep *sweep = tracked->sweep;
	ListCell *cell;

	for (;;)
	{
		MemoryContextSwitchTo(sweep->answers);
		foreach(cell, sweep->gets)
		{
			DbxRunGet *get = lfirst(cell);

			if (!dbx_run_get_done(get))
				continue;
			take_get(tracked, get);
			if (get->call != NULL)
				dbx_call_free(get->call);
			sweep->gets = foreach_delete_current(sweep->gets, cell);
		}
		if (sweep->gets != NIL)
			return false;
		if (sweep->asked == sweep->nwanted)
			return true;

		write_full(tracked);
		MemoryContextSwitchTo(sweep->context);
		for (int i = 0; i < GETS_AT_ONCE && sweep->asked < sweep->nwanted; i++)
			sweep->gets = lappend(
				sweep->gets,
				dbx_run_get_start(sweep->workspace,
								  sweep->wanted[sweep->asked++]));
	}
}

static void
take_get(DbxTracked *tracked, DbxRunGet *get)
{
	DbxSweep		  *sweep = tracked->sweep;
	const DbxApiError *error = dbx_run_get_error(get);
	DbxSeenRun		  *run = dbx_run_get_seen(get);

	if (run != NULL)
		take_run(tracked, run);
	else if (error != NULL)
	{
		/* What passes is tried by the next sweep, the rest less often. */
		if (!error->passing)
			dbx_tracked_put_aside(tracked, get->run_id, DBX_ASIDE_REFUSED,
								  error->message);
		else if (sweep->trouble == NULL)
			sweep->trouble = MemoryContextStrdup(
				sweep->context,
				psprintf("run " INT64_FORMAT " could not be read: %s",
						 get->run_id, error->message));
		return;
	}
	if (run != NULL && run->ended)
		return;
	dbx_tracked_put_aside(tracked, get->run_id, DBX_ASIDE_WAITING, NULL);
	if (run != NULL && should_be_listed(run->element) &&
		++sweep->unlisted >= UNLISTED_RUNS && sweep->nactive > 1)
		tracked->no_ranges_until = sweep->begun + NO_RANGES_USECS;
}

/* Is it one that active_only is said to have? */
static bool
should_be_listed(const DbxJson *run)
{
	static const char *const states[] = {"QUEUED", "PENDING", "RUNNING",
										 "TERMINATING"};
	const char				*state = dbx_json_string(
					 dbx_json_path(run, "state.life_cycle_state"));

	for (int i = 0; state != NULL && i < lengthof(states); i++)
	{
		if (strcmp(state, states[i]) == 0)
			return true;
	}
	return false;
}

/* ---- the end ---- */

/*
 * How far one has seen is kept in the table only when something else is written
 * too: while nothing happens there is nothing to miss.
 */
static bool
write_pending(DbxTracked *tracked, bool last)
{
	static const char
		*sql = "UPDATE databricks.tracking_settings AS t SET caught_up_at = $2"
			   " WHERE t.workspace = $1";
	DbxSweep *sweep = tracked->sweep;
	bool	  kept;

	kept = dbx_tracked_write(tracked, sweep->pending, DBX_WRITE_SWEEP,
							 last && sweep->recent_whole ? sql : NULL,
							 sweep->begun, true);
	sweep->pending = NIL;
	if (!last)
		MemoryContextReset(sweep->answers);
	MemoryContextSwitchTo(sweep->answers);
	return kept;
}

/* So that a thousand long runs that end together need not fit into memory. */
static void
write_full(DbxTracked *tracked)
{
	if (MemoryContextMemAllocated(tracked->sweep->answers, true) > PENDING_BYTES)
		(void) write_pending(tracked, false);
}

static int
count_active(DbxTracked *tracked)
{
	DbxSweep	   *sweep = tracked->sweep;
	HASH_SEQ_STATUS status;
	SweepEntry	   *entry;
	int				count = 0;

	hash_seq_init(&status, sweep->seen);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!entry->ended)
			count++;
	}
	for (int i = 0; i < sweep->nknown; i++)
	{
		if (hash_search(sweep->seen, &sweep->known[i].run_id, HASH_FIND,
						NULL) == NULL)
			count++;
	}
	return count;
}

static void
finish(DbxTracked *tracked)
{
	DbxSweep *sweep = tracked->sweep;

	if (!write_pending(tracked, true))
		return;
	tracked->ended_seen_to = sweep->begun;
	tracked->active_pages = 0;
	for (int i = 0; i < sweep->nactive; i++)
		tracked->active_pages += sweep->active[i]->pages.count;
	if (sweep->recent_whole)
	{
		tracked->all_seen_to = sweep->begun;
		tracked->all_pages = sweep->recent->pages.count;
	}
	tracked->status.last_sweep_at = sweep->begun;
	tracked->status.sweeps++;
	tracked->status.active_runs = count_active(tracked);
	tracked->status.due_at = sweep->begun +
		dbx_pace_interval(tracked,
						  tracked->active_pages + sweep->recent->pages.count +
							  sweep->nwanted);
	tracked->sweep_due = Max(tracked->status.due_at, GetCurrentTimestamp());
	tracked->status.next_at = tracked->sweep_due;
	dbx_tracked_report(tracked, sweep->trouble);
	dbx_follow_seen(tracked->name);
}
