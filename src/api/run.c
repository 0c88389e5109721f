/*
 * run.c
 *	  The state of a run out of the two ways the service tells it.
 *
 * Separate because this is where a failed run must never look successful and a
 * running one never finished.  The old pair (state.life_cycle_state,
 * state.result_state) and the new status are both read: a multi-task run with a
 * failed task is INTERNAL_ERROR/FAILED in the old one, and only the new one tells
 * a fault of the user's code from one of the platform.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "api/run.h"
#include "guc.h"

static bool
is_one_of(const char *text, const char *const *list)
{
	for (; text != NULL && *list != NULL; list++)
	{
		if (strcmp(text, *list) == 0)
			return true;
	}
	return false;
}

static bool
is(const char *text, const char *value)
{
	return text != NULL && strcmp(text, value) == 0;
}

/* What kind of end it was; only for runs that are over and no success. */
static int
end_of(const DbxRunState *state)
{
	static const char *const canceled[] = {"CANCELED", "UPSTREAM_CANCELED",
										   NULL};
	static const char *const skipped[] = {"MAXIMUM_CONCURRENT_RUNS_REACHED",
										  "EXCLUDED", "UPSTREAM_FAILED",
										  "DISABLED", NULL};
	static const char *const skip_codes[] = {"SKIPPED", "DISABLED",
											 "MAX_CONCURRENT_RUNS_EXCEEDED",
											 NULL};
	static const char *const cancel_codes[] = {"USER_CANCELED", "CANCELED",
											   NULL};
	static const char *const platform[] = {"INTERNAL_ERROR", "CLOUD_FAILURE",
										   NULL};

	if (is(state->result_state, "TIMEDOUT"))
		return ERRCODE_RUN_TIMED_OUT;
	if (is_one_of(state->result_state, canceled))
		return ERRCODE_RUN_CANCELED;
	if (is_one_of(state->result_state, skipped) ||
		is(state->life_cycle_state, "SKIPPED"))
		return ERRCODE_RUN_SKIPPED;
	if (is_one_of(state->termination_type, platform))
		return ERRCODE_RUN_PLATFORM_FAULT;
	if (state->result_state == NULL)
	{
		if (is_one_of(state->termination_code, cancel_codes))
			return ERRCODE_RUN_CANCELED;
		if (is_one_of(state->termination_code, skip_codes))
			return ERRCODE_RUN_SKIPPED;
		if (state->termination_code == NULL &&
			is(state->life_cycle_state, "INTERNAL_ERROR"))
			return ERRCODE_RUN_PLATFORM_FAULT;
	}
	return ERRCODE_RUN_FAILED;
}

/*
 * Values that the service has added since are kept as text and never end a wait;
 * each is logged once a process, a few of them.
 */
static void
note_unknown(const char *what, const char *value, const char *const *known)
{
	static char *noted[16];
	int			 i;

	if (value == NULL || is_one_of(value, known))
		return;
	for (i = 0; i < (int) lengthof(noted) && noted[i] != NULL; i++)
	{
		if (strcmp(noted[i], value) == 0)
			return;
	}
	if (i == (int) lengthof(noted))
		return;
	noted[i] = MemoryContextStrdup(TopMemoryContext, value);
	ereport(
		LOG,
		(errmsg("unknown %s \"%s\" of a run", what, value),
		 errdetail(
			 "A state like it does not end a wait, a result like it is no success."),
		 errhidestmt(true)));
}

static const char *
text_at(const DbxJson *run, const char *path)
{
	const char *text = dbx_json_string(dbx_json_path(run, path));

	return text != NULL && *text ? text : NULL;
}

const char *
dbx_run_result_of_code(const char *code)
{
	static const struct
	{
		const char *code;
		const char *result;
	} others[] = {{"SUCCESS", "SUCCESS"},
				  {"SUCCESS_WITH_FAILURES", "SUCCESS_WITH_FAILURES"},
				  {"USER_CANCELED", "CANCELED"},
				  {"CANCELED", "CANCELED"},
				  {"MAX_CONCURRENT_RUNS_EXCEEDED",
				   "MAXIMUM_CONCURRENT_RUNS_REACHED"},
				  {"DISABLED", "DISABLED"},
				  {"SKIPPED", NULL}};
	int i;

	for (i = 0; i < (int) lengthof(others); i++)
	{
		if (strcmp(code, others[i].code) == 0)
			return others[i].result;
	}
	return "FAILED";
}

void
dbx_run_read_state(const DbxJson *run, DbxRunState *state)
{
	static const char *const states[] = {"BLOCKED",	   "PENDING",	  "QUEUED",
										 "RUNNING",	   "TERMINATING", "WAITING",
										 "TERMINATED", NULL};
	static const char *const cycles[] = {"QUEUED",		   "PENDING",
										 "BLOCKED",		   "WAITING_FOR_RETRY",
										 "RUNNING",		   "TERMINATING",
										 "TERMINATED",	   "SKIPPED",
										 "INTERNAL_ERROR", NULL};
	static const char *const results[] = {"SUCCESS",
										  "SUCCESS_WITH_FAILURES",
										  "FAILED",
										  "TIMEDOUT",
										  "CANCELED",
										  "MAXIMUM_CONCURRENT_RUNS_REACHED",
										  "EXCLUDED",
										  "UPSTREAM_FAILED",
										  "UPSTREAM_CANCELED",
										  "DISABLED",
										  NULL};
	static const char *const last[] = {"TERMINATED", "SKIPPED",
									   "INTERNAL_ERROR", NULL};

	memset(state, 0, sizeof(*state));
	state->state = text_at(run, "status.state");
	state->life_cycle_state = text_at(run, "state.life_cycle_state");
	state->result_state = text_at(run, "state.result_state");
	state->termination_code = text_at(run, "status.termination_details.code");
	state->termination_type = text_at(run, "status.termination_details.type");
	state->message = text_at(run, "status.termination_details.message");
	if (state->message == NULL)
		state->message = text_at(run, "state.state_message");

	note_unknown("state", state->state, states);
	note_unknown("life-cycle state", state->life_cycle_state, cycles);
	note_unknown("result state", state->result_state, results);

	if (state->result_state == NULL && state->life_cycle_state == NULL &&
		state->termination_code != NULL)
		state->result_state = dbx_run_result_of_code(state->termination_code);
	/* a new state that we do not know yet: the old pair may still tell */
	state->over = is(state->state, "TERMINATED") ||
		(!is_one_of(state->state, states) &&
		 is_one_of(state->life_cycle_state, last));
	if (state->state == NULL && state->life_cycle_state != NULL)
		state->state = state->over ? "TERMINATED" : state->life_cycle_state;
	if (!state->over)
		return;
	if (state->result_state != NULL)
	{
		state->with_failures = is(state->result_state, "SUCCESS_WITH_FAILURES") ||
			(is(state->result_state, "SUCCESS") &&
			 is(state->termination_code, "SUCCESS_WITH_FAILURES"));
		state->success = is(state->result_state, "SUCCESS") &&
			!state->with_failures;
	}
	else
	{
		state->with_failures = is(state->termination_code,
								  "SUCCESS_WITH_FAILURES");
		state->success = is(state->termination_code, "SUCCESS");
	}
	if (state->with_failures && dbx_guc_success_with_failures)
		state->success = true;
	if (!state->success)
		state->sqlstate = end_of(state);
}

/*
 * When an attempt was made, in ms.  One that never started, since a task before it
 * failed, was made when it ended; one that waits is later than all others.
 */
static int64
time_of_attempt(const DbxJson *task)
{
	int64		when = 0;
	DbxRunState state;

	if (dbx_json_int64(dbx_json_get(task, "start_time"), &when) && when > 0)
		return when;
	if (dbx_json_int64(dbx_json_get(task, "end_time"), &when) && when > 0)
		return when;
	dbx_run_read_state(task, &state);
	return state.over ? 0 : PG_INT64_MAX;
}

/* Is "a" a later attempt than "b" of the same task? */
static bool
is_later(const DbxJson *a, const DbxJson *b)
{
	int64 time_a = time_of_attempt(a);
	int64 time_b = time_of_attempt(b);
	int64 attempt_a = 0;
	int64 attempt_b = 0;

	if (time_a != time_b)
		return time_a > time_b;
	(void) dbx_json_int64(dbx_json_get(a, "attempt_number"), &attempt_a);
	(void) dbx_json_int64(dbx_json_get(b, "attempt_number"), &attempt_b);
	return attempt_a > attempt_b;
}

List *
dbx_run_latest_tasks(const DbxJson *run)
{
	List		  *latest = NIL;
	const DbxJson *task;
	ListCell	  *cell;

	for (task = dbx_json_first(dbx_json_get(run, "tasks")); task != NULL;
		 task = dbx_json_next(task))
	{
		const char *key = dbx_json_string(dbx_json_get(task, "task_key"));
		bool		known = false;

		if (key == NULL)
			continue;
		foreach(cell, latest)
		{
			if (!is(dbx_json_string(dbx_json_get(lfirst(cell), "task_key")), key))
				continue;
			known = true;
			if (is_later(task, lfirst(cell)))
				lfirst(cell) = (void *) task;
		}
		if (!known)
			latest = lappend(latest, (void *) task);
	}
	return latest;
}

List *
dbx_run_failed_tasks(const DbxJson *run)
{
	List	 *failed = NIL;
	ListCell *cell;

	foreach(cell, dbx_run_latest_tasks(run))
	{
		DbxRunState state;

		dbx_run_read_state(lfirst(cell), &state);
		if (state.over && !state.success && state.sqlstate != ERRCODE_RUN_SKIPPED)
			failed = lappend(failed, lfirst(cell));
	}
	return failed;
}
