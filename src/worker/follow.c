/*
 * follow.c
 *	  Following the runs that requests have started to their end.
 *
 * The runs of one role in one workspace are looked at together, every
 * databricks.follow_interval: one list of the active runs, 25 a call, and
 * runs/get only for those that are not in it (ended, blocked or waiting to be
 * tried again), the last two ever less often.  Where the workspace is tracked,
 * the tracker has seen them already and no call is made.
 *
 * What is seen goes into run_history as the tracker would write it, then the
 * ends into the requests, each in a transaction of its own.
 *
 * Memory: a group lives in a context of its own, a look in one below it.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/repair.h"
#include "api/run.h"
#include "guc.h"
#include "http/http.h"
#include "worker/dispatcher.h"
#include "worker/follow.h"
#include "worker/pause.h"
#include "worker/record.h"
#include "worker/sending.h"
#include "worker/session.h"
#include "worker/shared.h"
#include "worker/tracked.h"
#include "worker/tracker.h"

/* Calls of a look repeat themselves for a short time: the next look does too. */
#define LOOK_PATIENCE_MS 10000

/* Runs that are in no list and have not ended: asked for ever less often. */
#define ASIDE_LAST_USECS (60 * USECS_PER_SEC)

/* A run that is followed. */
typedef struct Run
{
	int64		   request_id;
	int64		   run_id;
	int64		   repair_id; /* what is followed is this repair; 0: the run */
	bool		   tracked;	  /* the tracker will see its end */
	bool		   noted;	  /* the history knows which request started it */
	const DbxJson *element;	  /* as the service sent it */
	bool		   gone;
	bool		   ended;
	DbxCall		  *call; /* runs/get under way */
} Run;

typedef struct Look
{
	MemoryContext context;
	DbxWorkspace *workspace; /* NULL: only what the tracker has seen */
	TimestampTz	  begun;
	TimestampTz	  oldest; /* trigger */
	List		 *runs;	  /* of Run * */
	DbxListing	 *active;
	bool		  gets_begun;
	char		 *trouble;
} Look;

/* The runs of one role in one workspace. */
typedef struct FollowGroup
{
	MemoryContext context;
	char		  site[NAMEDATALEN];
	char		  requested_by[NAMEDATALEN];
	TimestampTz	  due;
	int			  failures;
	bool		  looked; /* at least once */
	Look		 *look;
	HTAB		 *aside; /* of DbxAside */
	char		 *logged;
} FollowGroup;

static List *groups = NIL; /* of FollowGroup *, in TopMemoryContext */

static FollowGroup *find_or_add(const char *site, const char *requested_by);
static void			step(void *arg);
static bool			begin_look(FollowGroup *group);
static void			read_runs(FollowGroup *group);
static void			start_list(FollowGroup *group);
static void			take_active(FollowGroup *group, const DbxJson *rows);
static void			start_gets(FollowGroup *group);
static bool			take_gets(FollowGroup *group);
static void			take_get(FollowGroup *group, Run *run);
static void			set_aside(FollowGroup *group, int64 run_id);
static void			finish_look(FollowGroup *group);
static void			end_look(FollowGroup *group);
static void			write_history(void *arg);
static void			note_run(void *arg);
static void			write_end(void *arg);
static void			describe_end(const Run *run, DbxRunEnd *end);
static void			failed(FollowGroup *group, const char *text);
static void			log_trouble(FollowGroup *group, const char *text);
static void			forget(FollowGroup *group);

/* ---- groups ---- */

void
dbx_follow_load(void)
{
	if (!dbx_session_begin())
		return;
	if (SPI_execute("SELECT DISTINCT r.workspace, r.requested_by"
					" FROM databricks.run_requests AS r"
					" WHERE r.state IN ('sending', 'running')"
					"  AND r.run_id IS NOT NULL",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "the runs to follow could not be read");
	for (uint64 i = 0; i < SPI_processed; i++)
		(void) find_or_add(SPI_getvalue(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 1),
						   SPI_getvalue(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 2));
	dbx_session_commit();
}

void
dbx_follow_started(const char *workspace, const char *requested_by)
{
	(void) find_or_add(workspace, requested_by);
	dbx_tracker_hurry(workspace);
}

void
dbx_follow_seen(const char *workspace)
{
	ListCell *cell;

	foreach(cell, groups)
	{
		FollowGroup *group = lfirst(cell);

		if (strcmp(group->site, workspace) == 0 && group->look == NULL)
			group->due = GetCurrentTimestamp();
	}
}

static FollowGroup *
find_or_add(const char *site, const char *requested_by)
{
	ListCell	 *cell;
	MemoryContext own;
	MemoryContext before;
	FollowGroup	 *group;
	HASHCTL		  control = {0};

	foreach(cell, groups)
	{
		group = lfirst(cell);
		if (strcmp(group->site, site) == 0 &&
			strcmp(group->requested_by, requested_by) == 0)
			return group;
	}
	own = AllocSetContextCreate(TopMemoryContext, "databricks followed runs",
								ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(own);
	group = palloc0(sizeof(FollowGroup));
	group->context = own;
	strlcpy(group->site, site, NAMEDATALEN);
	strlcpy(group->requested_by, requested_by, NAMEDATALEN);
	group->due = GetCurrentTimestamp() +
		(TimestampTz) dbx_guc_follow_interval * 1000;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(DbxAside);
	control.hcxt = own;
	group->aside = hash_create("databricks followed runs put aside", 16,
							   &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(TopMemoryContext);
	groups = lappend(groups, group);
	MemoryContextSwitchTo(before);
	return group;
}

static void
forget(FollowGroup *group)
{
	if (group->logged != NULL)
		dbx_shared_error(NULL);
	groups = list_delete_ptr(groups, group);
	MemoryContextDelete(group->context);
}

void
dbx_follow_run(void)
{
	List	 *all;
	ListCell *cell;

	if (!dbx_guc_dispatch)
	{
		dbx_follow_abandon();
		return;
	}
	/* A group goes when it has no runs any more, so walk over a copy. */
	all = list_copy(groups);
	foreach(cell, all)
	{
		FollowGroup *group = lfirst(cell);
		ErrorData	*error = dbx_session_try(step, group);

		if (error != NULL && list_member_ptr(groups, group))
			failed(group, dbx_session_error_text(error));
	}
	list_free(all);
}

TimestampTz
dbx_follow_next(void)
{
	TimestampTz next = 0;
	ListCell   *cell;

	foreach(cell, groups)
	{
		FollowGroup *group = lfirst(cell);

		if (group->look == NULL && (next == 0 || group->due < next))
			next = group->due;
	}
	return next;
}

bool
dbx_follow_busy(void)
{
	ListCell *cell;

	foreach(cell, groups)
	{
		FollowGroup *group = lfirst(cell);

		if (group->look != NULL || !group->looked)
			return true;
	}
	return false;
}

bool
dbx_follow_idle(void)
{
	return groups == NIL;
}

void
dbx_follow_hurry(void)
{
	ListCell *cell;

	foreach(cell, groups)
		((FollowGroup *) lfirst(cell))->due = GetCurrentTimestamp();
}

void
dbx_follow_abandon(void)
{
	while (groups != NIL)
		forget(linitial(groups));
}

/* ---- one look ---- */

static void
step(void *arg)
{
	FollowGroup	  *group = arg;
	Look		  *look = group->look;
	MemoryContext  before;
	const DbxJson *rows;

	if (look == NULL)
	{
		if (GetCurrentTimestamp() < group->due)
			return;
		if (!begin_look(group))
			return;
		look = group->look;
	}
	before = MemoryContextSwitchTo(look->context);
	if (look->active != NULL)
	{
		while (dbx_listing_next(look->active, &rows))
			take_active(group, rows);
		if (!dbx_listing_done(look->active))
		{
			MemoryContextSwitchTo(before);
			return;
		}
		if (!look->gets_begun)
			start_gets(group);
		if (!take_gets(group))
		{
			MemoryContextSwitchTo(before);
			return;
		}
	}
	MemoryContextSwitchTo(before);
	finish_look(group);
}

/* False: there was nothing left to follow, and the group is gone. */
static bool
begin_look(FollowGroup *group)
{
	MemoryContext own = AllocSetContextCreate(group->context,
											  "databricks look at runs",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(own);
	Look		 *look = palloc0(sizeof(Look));

	look->context = own;
	look->begun = GetCurrentTimestamp();
	group->look = look;
	read_runs(group);
	MemoryContextSwitchTo(before);
	if (look->runs == NIL)
	{
		forget(group);
		return false;
	}
	MemoryContextSwitchTo(own);
	if (look->workspace != NULL)
		start_list(group);
	MemoryContextSwitchTo(before);
	return true;
}

/*
 * What is to be followed, and whether the tracker has seen its end.  Leaves the
 * workspace NULL if no call is needed, or allowed.
 */
static void
read_runs(FollowGroup *group)
{
	static const char *sql =
		"SELECT r.request_id, r.run_id, r.repair_id, coalesce("
		"   (SELECT min(a.triggered_at) FROM databricks.run_request_attempts AS a"
		"    WHERE a.request_id = r.request_id AND a.run_id = r.run_id),"
		"   r.triggered_at),"
		"  CASE WHEN r.repair_id IS NULL OR h.repair_history @>"
		"    jsonb_build_array(jsonb_build_object('id', r.repair_id))"
		"   THEN h.raw END, h.gone_at IS NOT NULL, h.run_id IS NOT NULL,"
		"  h.request_id IS NOT NULL"
		" FROM databricks.run_requests AS r"
		" LEFT JOIN databricks.run_history AS h"
		"  ON h.workspace = r.workspace AND h.run_id = r.run_id"
		" WHERE r.workspace = $1 AND r.requested_by = $2"
		"  AND r.state = 'running' AND r.run_id IS NOT NULL AND r.hook IS NULL"
		" ORDER BY r.request_id";
	Look *look = group->look;
	Oid	  types[] = {TEXTOID, TEXTOID};
	Datum values[2];
	bool  copied;
	int	  open = 0;

	if (!dbx_session_begin_history())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	(void) dbx_pause_reason(group->site, &copied);
	if (copied)
	{
		dbx_session_commit();
		return;
	}
	values[0] = CStringGetTextDatum(group->site);
	values[1] = CStringGetTextDatum(group->requested_by);
	if (SPI_execute_with_args(sql, 2, types, values, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "the runs to follow could not be read");
	MemoryContextSwitchTo(look->context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Run		   *run = palloc0(sizeof(Run));
		bool		isnull;
		TimestampTz triggered_at;
		Datum		raw;

		run->request_id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
		run->run_id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		run->repair_id = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
		if (isnull)
			run->repair_id = 0;
		triggered_at = DatumGetTimestampTz(
			SPI_getbinval(tuple, desc, 4, &isnull));
		if (isnull)
			triggered_at = 0;
		run->gone = DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull));
		raw = SPI_getbinval(tuple, desc, 5, &isnull);
		if (!isnull)
		{
			run->element = dbx_json_from_jsonb(DatumGetJsonbPCopy(raw), "run");
			run->ended = dbx_history_element_ended(run->element);
		}
		run->tracked = (run->repair_id == 0 || run->element != NULL) &&
			dbx_tracker_follows(group->site, run->run_id,
								DatumGetBool(
									SPI_getbinval(tuple, desc, 7, &isnull)),
								triggered_at);
		run->noted = DatumGetBool(SPI_getbinval(tuple, desc, 8, &isnull));
		if (triggered_at != 0 && !run->tracked &&
			(look->oldest == 0 || triggered_at < look->oldest))
			look->oldest = triggered_at;
		run->ended |= run->gone;
		if (!run->ended)
		{
			run->element = NULL;
			open += run->tracked ? 0 : 1;
		}
		look->runs = lappend(look->runs, run);
	}
	if (open > 0)
	{
		Oid roleid = get_role_oid(group->requested_by, false);

		look->workspace = dbx_workspace_resolve(group->site, roleid);
		look->workspace->retry_timeout = Min(look->workspace->retry_timeout,
											 LOOK_PATIENCE_MS);
	}
	dbx_session_commit();
}

static void
start_list(FollowGroup *group)
{
	Look		  *look = group->look;
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add(&query, "active_only", "true");
	if (look->oldest != 0)
		dbx_tracked_add_time(&query, "start_time_from",
							 look->oldest -
								 (TimestampTz) dbx_guc_history_overlap * 1000);
	look->active = dbx_listing_start(look->workspace, query.data);
}

/* Only what is followed concerns us. */
static void
take_active(FollowGroup *group, const DbxJson *rows)
{
	for (const DbxJson *row = dbx_json_first(rows); row != NULL;
		 row = dbx_json_next(row))
	{
		int64	  run_id;
		ListCell *cell;

		CHECK_FOR_INTERRUPTS();
		if (!dbx_json_int64(dbx_json_get(row, "run_id"), &run_id))
			continue;
		foreach(cell, group->look->runs)
		{
			Run *run = lfirst(cell);

			if (run->run_id == run_id && !run->ended)
			{
				run->element = row;
				run->ended = run->repair_id == 0 &&
					dbx_history_element_ended(row);
				(void) hash_search(group->aside, &run_id, HASH_REMOVE, NULL);
			}
		}
	}
}

static void
start_gets(FollowGroup *group)
{
	Look	 *look = group->look;
	ListCell *cell;

	look->gets_begun = true;
	foreach(cell, look->runs)
	{
		Run			  *run = lfirst(cell);
		DbxAside	  *aside;
		DbxCallSpec	   spec = {0};
		StringInfoData query;

		if (run->element != NULL || run->ended || run->tracked)
			continue;
		aside = hash_search(group->aside, &run->run_id, HASH_FIND, NULL);
		if (aside != NULL && aside->retry_at > look->begun)
			continue;
		initStringInfo(&query);
		dbx_query_add_int64(&query, "run_id", run->run_id);
		if (run->repair_id != 0)
			dbx_query_add(&query, "include_history", "true");
		spec.method = "GET";
		spec.path = dbx_api_jobs_path(look->workspace, "runs/get");
		spec.query = query.data;
		spec.caller = "track";
		run->call = dbx_call_start(look->workspace, &spec);
	}
}

/* True when all have come. */
static bool
take_gets(FollowGroup *group)
{
	ListCell *cell;
	bool	  all = true;

	foreach(cell, group->look->runs)
	{
		Run *run = lfirst(cell);

		if (run->call == NULL)
			continue;
		if (!dbx_call_done(run->call))
		{
			all = false;
			continue;
		}
		take_get(group, run);
		dbx_call_free(run->call);
		run->call = NULL;
	}
	return all;
}

static void
take_get(FollowGroup *group, Run *run)
{
	const DbxApiError *error = dbx_call_error(run->call);
	DbxJson			  *answer;

	if (error != NULL && error->not_found)
	{
		run->gone = run->ended = true;
		return;
	}
	if (error != NULL)
	{
		if (!error->passing)
			set_aside(group, run->run_id);
		group->look->trouble = pstrdup(error->message);
		return;
	}
	answer = dbx_call_json(run->call);
	/* More than a page of tasks: better none than some. */
	if (dbx_page_token(answer) != NULL)
		dbx_json_remove(answer, "tasks");
	/* Before its repair shows, a run looks as it has ended before. */
	if (run->repair_id == 0 || dbx_repair_shows(answer, run->repair_id))
	{
		run->element = answer;
		run->ended = dbx_history_element_ended(answer);
	}
	if (!run->ended)
		set_aside(group, run->run_id);
}

static void
set_aside(FollowGroup *group, int64 run_id)
{
	bool	  found;
	DbxAside *aside = hash_search(group->aside, &run_id, HASH_ENTER, &found);
	int64	  first = (int64) dbx_guc_follow_interval * 1000;

	aside->reason = DBX_ASIDE_WAITING;
	aside->error = NULL;
	aside->delay = found ? Max(first, Min(aside->delay * 2, ASIDE_LAST_USECS))
						 : first;
	aside->retry_at = GetCurrentTimestamp() + aside->delay;
}

/* ---- what was seen ---- */

static void
finish_look(FollowGroup *group)
{
	Look	  *look = group->look;
	ListCell  *cell;
	ErrorData *error;
	char	  *trouble = look->trouble ? pstrdup(look->trouble) : NULL;

	error = dbx_session_try(write_history, group);
	/* An end would be the last we see of the run: it is not told before this. */
	if (error != NULL && dbx_session_concerns_all(error->sqlerrcode))
		ReThrowError(error);
	if (error != NULL)
		trouble = dbx_session_error_text(error);
	foreach(cell, look->runs)
	{
		Run *run = lfirst(cell);

		if (!run->ended)
			continue;
		error = dbx_session_try(write_end, run);
		if (error != NULL)
			trouble = dbx_session_error_text(error);
		else
		{
			(void) hash_search(group->aside, &run->run_id, HASH_REMOVE, NULL);
			dbx_dispatcher_look_again();
		}
	}
	group->failures = 0;
	group->due = Max(look->begun + (TimestampTz) dbx_guc_follow_interval * 1000,
					 GetCurrentTimestamp());
	end_look(group);
	log_trouble(group, trouble);
}

static void
end_look(FollowGroup *group)
{
	if (group->look != NULL)
		MemoryContextDelete(group->look->context);
	group->look = NULL;
	group->looked = true;
}

/* Only what a call has told, and what could not be noted at the start. */
static void
write_history(void *arg)
{
	FollowGroup	   *group = arg;
	DbxHistoryBatch batch = {0};
	ListCell	   *cell;
	MemoryContext	before = MemoryContextSwitchTo(group->look->context);
	bool			noted = true;

	batch.workspace = group->site;
	batch.begun = group->look->begun;
	batch.context = group->look->context;
	batch.alone = true;
	foreach(cell, group->look->runs)
	{
		Run		   *run = lfirst(cell);
		DbxSeenRun *seen;

		noted &= run->noted;
		if (group->look->workspace == NULL ||
			(run->element == NULL && !run->gone))
			continue;
		seen = palloc0(sizeof(DbxSeenRun));
		seen->run_id = run->run_id;
		seen->element = run->gone ? NULL : run->element;
		seen->ended = run->ended;
		batch.runs = lappend(batch.runs, seen);
	}
	MemoryContextSwitchTo(before);
	if ((batch.runs == NIL && noted) || !dbx_session_begin_history())
		return;
	dbx_record_hasty();
	foreach(cell, group->look->runs)
	{
		Run *run = lfirst(cell);

		/* What is wrong with one of them is its own matter: the next look tries. */
		if (!run->noted)
			(void) dbx_session_apart(note_run, run);
	}
	dbx_history_write(&batch);
	dbx_session_commit();
}

static void
note_run(void *arg)
{
	dbx_record_run(((Run *) arg)->request_id);
}

static void
write_end(void *arg)
{
	const Run *run = arg;
	DbxRunEnd  end = {0};

	describe_end(run, &end);
	if (!dbx_session_begin())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	dbx_record_hasty();
	dbx_record_run_ended(run->request_id, run->run_id, &end);
	dbx_session_commit();
}

static void
describe_end(const Run *run, DbxRunEnd *end)
{
	DbxRunState state;

	if (run->gone)
	{
		end->gone = true;
		end->error = "the service does not know the run any more";
		return;
	}
	dbx_run_read_state(run->element, &state);
	end->success = state.success;
	end->canceled = !state.success && state.sqlstate == ERRCODE_RUN_CANCELED;
	end->skipped = !state.success && state.sqlstate == ERRCODE_RUN_SKIPPED;
	end->result_state = state.result_state;
	end->termination_code = state.termination_code;
	end->run_page_url = dbx_json_string(
		dbx_json_get(run->element, "run_page_url"));
	if (state.success && state.with_failures)
		ereport(WARNING,
				(errmsg("databricks worker: run " INT64_FORMAT
						" of request " INT64_FORMAT
						" succeeded with failed tasks",
						run->run_id, run->request_id)));
	if (!state.success)
		end->error = psprintf("the run ended %s%s%s",
							  state.result_state ? state.result_state
								  : state.life_cycle_state
								  ? state.life_cycle_state
								  : "without success",
							  state.message ? ": " : "",
							  state.message ? state.message : "");
}

/* ---- trouble ---- */

static void
failed(FollowGroup *group, const char *text)
{
	int64 delay = dbx_sending_back_off(group->failures++);

	end_look(group);
	group->due = GetCurrentTimestamp() +
		Max((TimestampTz) dbx_guc_follow_interval * 1000, delay);
	log_trouble(group, text);
}

/* View stat_worker shows it; the log is told when it begins or changes. */
static void
log_trouble(FollowGroup *group, const char *text)
{
	if (text == NULL)
	{
		if (group->logged != NULL)
		{
			dbx_shared_error(NULL);
			pfree(group->logged);
		}
		group->logged = NULL;
		return;
	}
	text = dbx_redact(text);
	dbx_shared_error(text);
	if (dbx_session_same_trouble(text, group->logged))
		return;
	if (group->logged != NULL)
		pfree(group->logged);
	group->logged = MemoryContextStrdup(group->context, text);
	ereport(
		WARNING,
		(errmsg("databricks worker: following runs of role \"%s\" in workspace \"%s\" is in trouble: %s",
				group->requested_by, group->site, text),
		 errdetail(
			 "It goes on by itself; the same trouble is not logged again.")));
}
