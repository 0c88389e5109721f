/*
 * wait.c
 *	  Looking at a run again and again until it is over.
 *
 * Separate from the functions because a function and a procedure wait alike, one
 * holding its snapshot, the other committing before each pause.  Nothing is kept
 * open between two looks.  Those who wait for several runs have looks at several
 * of them under way, so a look is begun and collected apart.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/internal.h"
#include "api/many.h"
#include "api/wait.h"
#include "guc.h"

/* A single look does not retry for longer: the next one is the retry. */
#define LOOK_PATIENCE_MS 20000
/* ... and takes at least so long, even if the wait then takes longer. */
#define LEAST_LOOK_MS 1000
/* How long the errors of failed tasks are worth waiting for. */
#define OUTPUTS_MS		   20000
#define LONGEST_ERROR_LINE 500

void
dbx_wait_begin(DbxWait *wait, const DbxWorkspace *workspace, int64 run_id,
			   TimestampTz deadline, const char *caller)
{
	DbxWorkspace *copy = palloc(sizeof(DbxWorkspace));

	*copy = *workspace;
	copy->retry_timeout = Min(copy->retry_timeout, LOOK_PATIENCE_MS);
	memset(wait, 0, sizeof(*wait));
	wait->workspace = copy;
	wait->run_id = run_id;
	wait->deadline = deadline;
	wait->caller = caller;
	wait->context = AllocSetContextCreate(CurrentMemoryContext,
										  "databricks wait",
										  ALLOCSET_SMALL_SIZES);
}

bool
dbx_wait_timed_out(const DbxWait *wait)
{
	return wait->deadline != 0 && GetCurrentTimestamp() >= wait->deadline;
}

TimestampTz
dbx_wait_next_look(const DbxWait *wait)
{
	int64 longest = Max(dbx_guc_wait_max_interval, dbx_guc_wait_min_interval);
	int64 delay = Min((int64) dbx_guc_wait_min_interval * Max(wait->looks, 1),
					  longest);
	TimestampTz next;

	/* many who began together should not look together */
	delay += (int64) (pg_prng_double(&pg_global_prng_state) * delay / 10);
	next = GetCurrentTimestamp() + delay * 1000;
	if (wait->deadline != 0 && wait->deadline < next)
		next = wait->deadline;
	return next;
}

int
dbx_wait_tasks_done(const DbxWait *wait)
{
	int done = 0;

	for (const DbxJson *task = dbx_json_first(dbx_json_get(wait->run, "tasks"));
		 task != NULL; task = dbx_json_next(task))
	{
		DbxRunState state;

		dbx_run_read_state(task, &state);
		if (state.over)
			done++;
	}
	return done;
}

/* "RUNNING, 2 of 5 tasks done" */
static char *
describe_progress(const DbxWait *wait)
{
	int tasks = dbx_json_length(dbx_json_get(wait->run, "tasks"));
	int done = dbx_wait_tasks_done(wait);

	if (wait->state.over)
		return psprintf("%s",
						wait->state.result_state ? wait->state.result_state
							: wait->state.termination_code
							? wait->state.termination_code
							: wait->state.state);
	if (tasks > 1)
		return psprintf("%s, %d of %d tasks done",
						wait->state.state ? wait->state.state : "state unknown",
						done, tasks);
	return psprintf("%s",
					wait->state.state ? wait->state.state : "state unknown");
}

static void
tell_progress(DbxWait *wait)
{
	char		 *progress = describe_progress(wait);
	const char	 *name;
	MemoryContext before;

	wait->outage_told = false;
	if (wait->told != NULL && strcmp(wait->told, progress) == 0)
		return;
	name = dbx_json_string(dbx_json_get(wait->run, "run_name"));
	ereport(NOTICE,
			(errmsg("run " INT64_FORMAT "%s%s%s: %s", wait->run_id,
					name ? " of \"" : "", name ? name : "", name ? "\"" : "",
					progress)));
	before = MemoryContextSwitchTo(wait->context);
	if (wait->told != NULL)
		pfree(wait->told);
	wait->told = pstrdup(progress);
	MemoryContextSwitchTo(before);
}

/* No answer, or one of a service in trouble: nothing is known about the run. */
static bool
is_outage(const DbxWait *wait, const DbxApiError *error)
{
	/* garbage at the first look is rather the wrong host */
	if (error->sqlstate == ERRCODE_FDW_UNABLE_TO_CREATE_REPLY)
		return wait->run != NULL;
	return error->passing || error->status >= 500 ||
		(error->status == 0 &&
		 error->sqlstate == ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION);
}

/* The run did not come, for the reason in "error": raise, or sit it out. */
static void
take_trouble(DbxWait *wait, const DbxGet *get)
{
	const DbxApiError *error = get->error;

	if (!is_outage(wait, error))
	{
		if (dbx_call_error(get->call) != NULL)
			dbx_call_raise(get->call);
		ereport(ERROR,
				(errcode(error->sqlstate),
				 errmsg("workspace \"%s\" cannot tell about run " INT64_FORMAT
						": %s",
						wait->workspace->name, wait->run_id, error->message),
				 error->hint ? errhint("%s", error->hint) : 0));
	}
	if (!wait->outage_told)
		ereport(NOTICE,
				(errmsg("workspace \"%s\" cannot tell about run " INT64_FORMAT
						" just now, still waiting: %s",
						wait->workspace->name, wait->run_id, error->message)));
	wait->outage_told = true;
}

void
dbx_wait_look(DbxWait *wait)
{
	MemoryContext  before;
	StringInfoData query;
	DbxCallSpec	   spec = {0};

	wait->looking = AllocSetContextCreate(wait->context, "databricks look",
										  ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(wait->looking);
	wait->looks++;
	wait->looked_at = GetCurrentTimestamp();
	/* the last look, and the only one of a timeout of 0, is to have a chance */
	wait->until = wait->deadline == 0
		? 0
		: Max(wait->deadline,
			  wait->looked_at + LEAST_LOOK_MS * INT64CONST(1000));
	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", wait->run_id);
	spec.method = "GET";
	spec.path = dbx_api_jobs_path(wait->workspace, "runs/get");
	spec.query = query.data;
	spec.caller = wait->caller;
	wait->get = dbx_get_start(wait->workspace, &spec);
	MemoryContextSwitchTo(before);
}

void
dbx_wait_give_up(DbxWait *wait)
{
	if (wait->get == NULL)
		return;
	wait->get = NULL;
	MemoryContextDelete(wait->looking);
}

bool
dbx_wait_looked(DbxWait *wait)
{
	DbxGet *get = wait->get;

	if (!dbx_get_done(get))
	{
		if (wait->until == 0 || GetCurrentTimestamp() < wait->until)
			return false;
		dbx_wait_give_up(wait);
		return true;
	}
	if (get->error != NULL)
	{
		take_trouble(wait, get);
		dbx_wait_give_up(wait);
		return true;
	}
	if (wait->look != NULL)
		MemoryContextDelete(wait->look);
	wait->look = wait->looking;
	wait->run = get->object;
	wait->get = NULL;
	dbx_run_read_state(wait->run, &wait->state);
	tell_progress(wait);
	return true;
}

void
dbx_wait_seen_active(DbxWait *wait, TimestampTz at)
{
	wait->looks++;
	wait->looked_at = at;
}

/* Runs to be cancelled, each told about once. */
typedef struct Cancels
{
	DbxWait **waits;
	bool	 *told;
} Cancels;

static void
make_cancel(void *arg, int number, DbxCallSpec *spec)
{
	const DbxWait *wait = ((Cancels *) arg)->waits[number];

	spec->method = "POST";
	spec->path = dbx_api_jobs_path(wait->workspace, "runs/cancel");
	spec->body = psprintf("{\"run_id\":" INT64_FORMAT "}", wait->run_id);
	spec->caller = wait->caller;
}

/* "why" it could not be cancelled; NULL: it is. */
static void
tell_cancel(Cancels *cancels, int number, const char *why)
{
	int64 run_id = cancels->waits[number]->run_id;

	cancels->told[number] = true;
	if (why != NULL)
		ereport(WARNING,
				(errmsg("could not cancel run " INT64_FORMAT ": %s", run_id, why),
				 errhint("It may go on; see SELECT databricks.cancel_run(" INT64_FORMAT
						 ").",
						 run_id)));
	else
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " is being cancelled", run_id)));
}

static void
take_cancel(void *arg, int number, DbxCall *call)
{
	tell_cancel(arg, number,
				dbx_call_error(call) ? dbx_call_error(call)->message : NULL);
}

void
dbx_wait_cancel_runs(DbxWait *waits, int count, int patience_ms)
{
	Cancels cancels;
	DbxMany many = {0};
	int		i;

	cancels.waits = palloc(sizeof(DbxWait *) * Max(count, 1));
	cancels.told = palloc0(sizeof(bool) * Max(count, 1));
	for (i = 0; i < count; i++)
	{
		/* it takes a place among the calls that may be under way */
		dbx_wait_give_up(&waits[i]);
		if (!waits[i].state.over)
			cancels.waits[many.count++] = &waits[i];
	}
	if (many.count == 0)
		return;
	many.workspace = waits->workspace;
	many.until = GetCurrentTimestamp() + patience_ms * INT64CONST(1000);
	many.make = make_cancel;
	many.take = take_cancel;
	many.arg = &cancels;
	dbx_many_run(&many);
	for (i = 0; i < many.count; i++)
	{
		if (!cancels.told[i])
			tell_cancel(&cancels, i, "no answer in time");
	}
}

/* A failed task of a run. */
typedef struct FailedTask
{
	DbxWait *wait;
	int		 number; /* among the failed ones of this run */
	int64	 run_id;
} FailedTask;

static void
make_output(void *arg, int number, DbxCallSpec *spec)
{
	const FailedTask *task = &((FailedTask *) arg)[number];
	StringInfoData	  query;

	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", task->run_id);
	spec->method = "GET";
	spec->path = dbx_api_jobs_path(task->wait->workspace, "runs/get-output");
	spec->query = query.data;
	spec->caller = task->wait->caller;
}

/* An output is welcome, not needed. */
static void
take_output(void *arg, int number, DbxCall *call)
{
	const FailedTask *task = &((FailedTask *) arg)[number];
	const char		 *error;
	char			 *why;

	if (dbx_call_error(call) != NULL)
		return;
	error = dbx_json_string(dbx_json_get(dbx_call_try_json(call, &why), "error"));
	if (error != NULL)
		task->wait->errors[task->number] = MemoryContextStrdup(
			task->wait->context, error);
}

/* Add the failed tasks of a run to those that are to be asked for. */
static void
add_failed_tasks(DbxWait *wait, FailedTask **failed, int *count)
{
	List	 *tasks = dbx_run_failed_tasks(wait->run);
	ListCell *cell;

	if (tasks == NIL)
		return;
	wait->errors = MemoryContextAllocZero(wait->context,
										  sizeof(char *) * list_length(tasks));
	*failed = repalloc(*failed,
					   sizeof(FailedTask) * (*count + list_length(tasks)));
	foreach(cell, tasks)
	{
		FailedTask *task = &(*failed)[*count];

		task->wait = wait;
		task->number = foreach_current_index(cell);
		if (dbx_json_int64(dbx_json_get(lfirst(cell), "run_id"), &task->run_id))
			(*count)++;
	}
}

void
dbx_wait_fetch_errors(DbxWait *waits, int count)
{
	FailedTask *failed = palloc(sizeof(FailedTask));
	DbxMany		many = {0};
	int			i;

	for (i = 0; i < count; i++)
	{
		const DbxRunState *state = &waits[i].state;

		if (state->over && (!state->success || state->with_failures))
			add_failed_tasks(&waits[i], &failed, &many.count);
	}
	if (many.count == 0)
		return;
	many.workspace = waits->workspace;
	many.until = GetCurrentTimestamp() + OUTPUTS_MS * INT64CONST(1000);
	many.make = make_output;
	many.take = take_output;
	many.arg = failed;
	dbx_many_run(&many);
}

static void
push_text(JsonbParseState **object, const char *name, const char *text)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = strlen(name);
	pushJsonbValue(object, WJB_KEY, &value);
	if (text == NULL)
		value.type = jbvNull;
	else
	{
		value.val.string.val = (char *) text;
		value.val.string.len = strlen(text);
	}
	pushJsonbValue(object, WJB_VALUE, &value);
}

static void
push_task(JsonbParseState **array, const DbxJson *task, const char *error,
		  StringInfo text)
{
	const char *key = dbx_json_string(dbx_json_get(task, "task_key"));
	DbxRunState state;
	JsonbValue	number;
	int64		task_run_id = 0;

	dbx_run_read_state(task, &state);
	(void) dbx_json_int64(dbx_json_get(task, "run_id"), &task_run_id);
	pushJsonbValue(array, WJB_BEGIN_OBJECT, NULL);
	push_text(array, "task_key", key);
	number.type = jbvString;
	number.val.string.val = "task_run_id";
	number.val.string.len = strlen("task_run_id");
	pushJsonbValue(array, WJB_KEY, &number);
	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric(task_run_id);
	pushJsonbValue(array, WJB_VALUE, &number);
	push_text(array, "result_state", state.result_state);
	push_text(array, "termination_code", state.termination_code);
	push_text(array, "message", state.message);
	push_text(array, "error", error);
	pushJsonbValue(array, WJB_END_OBJECT, NULL);

	appendStringInfo(text, "%sTask \"%s\": %s", text->len ? "\n" : "", key,
					 state.result_state ? state.result_state : "not successful");
	if (error != NULL || state.message != NULL)
	{
		const char *reason = dbx_redact(error ? error : state.message);
		int			length = pg_mbcliplen(reason, strcspn(reason, "\r\n"),
										  LONGEST_ERROR_LINE);

		appendStringInfo(text, ", %.*s", length, reason);
	}
}

Jsonb *
dbx_wait_failed_tasks(const DbxWait *wait, char **text)
{
	List			*tasks = dbx_run_failed_tasks(wait->run);
	JsonbParseState *array = NULL;
	StringInfoData	 lines;
	ListCell		*cell;

	initStringInfo(&lines);
	*text = lines.data;
	if (tasks == NIL)
		return NULL;
	pushJsonbValue(&array, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, tasks)
		push_task(&array, lfirst(cell),
				  wait->errors ? wait->errors[foreach_current_index(cell)]
							   : NULL,
				  &lines);
	*text = lines.data;
	return JsonbValueToJsonb(pushJsonbValue(&array, WJB_END_ARRAY, NULL));
}
