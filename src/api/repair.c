/*
 * repair.c
 *	  Running the failed tasks of a run again.
 *
 * Separate from starting runs because a repair has no idempotency token, needs
 * the id of the repair before it, and would take the defaults of the job's
 * parameters: a repair of yesterday's run must still be about yesterday.
 *
 * The call is never repeated.  When its answer is lost, the history of the run
 * tells whether there is a repair that was not there before.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/internal.h"
#include "api/job.h"
#include "api/repair.h"
#include "api/run.h"
#include "http/http.h"

/* How long a repair may take to show, and how often is looked. */
#define LONGEST_WINDOW_MS 60000
#define FIRST_LOOK_MS	  100
#define LARGEST_LOOK_MS	  2000

/* Members of the call beside parameters. */
static const char *const other_members[] = {"rerun_tasks",
											"rerun_all_failed_tasks",
											"rerun_dependent_tasks",
											"latest_repair_id",
											"performance_target"};

static bool
is_other_member(const char *name)
{
	int i;

	for (i = 0; i < (int) lengthof(other_members); i++)
	{
		if (strcmp(other_members[i], name) == 0)
			return true;
	}
	return false;
}

static DbxJson *
get_run(const DbxWorkspace *workspace, int64 run_id, const char *caller)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", run_id);
	dbx_query_add(&query, "include_history", "true");
	spec.method = "GET";
	spec.path = dbx_api_jobs_path(workspace, "runs/get");
	spec.query = query.data;
	spec.caller = caller;
	return dbx_api_get_merged(workspace, &spec);
}

int64
dbx_repair_latest(const DbxJson *run)
{
	const DbxJson *item;
	int64		   latest = 0;
	int64		   latest_start = -1;

	for (item = dbx_json_first(dbx_json_get(run, "repair_history"));
		 item != NULL; item = dbx_json_next(item))
	{
		int64 id;
		int64 start = 0;

		(void) dbx_json_int64(dbx_json_get(item, "start_time"), &start);
		if (dbx_json_int64(dbx_json_get(item, "id"), &id) &&
			start >= latest_start)
		{
			latest = id;
			latest_start = start;
		}
	}
	return latest;
}

bool
dbx_repair_shows(const DbxJson *run, int64 repair_id)
{
	const DbxJson *item;

	for (item = dbx_json_first(dbx_json_get(run, "repair_history"));
		 item != NULL; item = dbx_json_next(item))
	{
		int64 id;

		if (dbx_json_int64(dbx_json_get(item, "id"), &id) && id == repair_id)
			return true;
	}
	return false;
}

/* Refuse what the service would silently ignore; true: parameters are among it. */
static bool
check_options(const DbxJson *options)
{
	const DbxJson *member;
	bool		   has_parameters = false;

	if (options != NULL && dbx_json_type(options) != DBX_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of a repair must be a JSON object")));
	for (member = dbx_json_first(options); member != NULL;
		 member = dbx_json_next(member))
	{
		const char *name = dbx_json_name(member);

		if (dbx_run_is_parameter(name))
			has_parameters = true;
		else if (!is_other_member(name))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\" for a repair", name),
				 errdetail("The service would silently ignore it."),
				 errhint(
					 "Known are rerun_all_failed_tasks, rerun_tasks, rerun_dependent_tasks, performance_target and the kinds of parameters of run_now().")));
	}
	return has_parameters;
}

static void
append_member(StringInfo body, const char *name, const char *json)
{
	appendStringInfoChar(body, ',');
	escape_json(body, name);
	appendStringInfo(body, ":%s", json);
}

/* The parameters the run was started with, as members of the call. */
static void
append_own_parameters(StringInfo body, const DbxJson *run)
{
	const DbxJson *legacy = dbx_json_get(run, "overriding_parameters");
	const DbxJson *member;
	StringInfoData map;
	bool		   overridden = false;

	for (member = dbx_json_first(legacy); member != NULL;
		 member = dbx_json_next(member))
	{
		if (dbx_run_is_parameter(dbx_json_name(member)))
			append_member(body, dbx_json_name(member),
						  dbx_json_serialize(member));
	}
	initStringInfo(&map);
	for (member = dbx_json_first(dbx_json_get(run, "job_parameters"));
		 member != NULL; member = dbx_json_next(member))
	{
		const char *name = dbx_json_string(dbx_json_get(member, "name"));
		const char *value = dbx_json_text(dbx_json_get(member, "value"));
		const char *usual = dbx_json_text(dbx_json_get(member, "default"));

		if (value == NULL)
			value = usual;
		if (name == NULL || value == NULL)
			continue;
		overridden |= usual == NULL || strcmp(value, usual) != 0;
		appendStringInfoChar(&map, map.len ? ',' : '{');
		escape_json(&map, name);
		appendStringInfoChar(&map, ':');
		escape_json(&map, value);
	}
	/* both styles together only if the run itself was started so */
	if (map.len > 0 && (overridden || dbx_json_length(legacy) == 0))
	{
		appendStringInfoChar(&map, '}');
		append_member(body, "job_parameters", map.data);
	}
}

static char *
repair_body(int64 run_id, const DbxJson *run, const DbxJson *options,
			bool has_parameters)
{
	int64		   latest = dbx_repair_latest(run);
	StringInfoData body;
	const DbxJson *member;

	initStringInfo(&body);
	appendStringInfo(&body, "{\"run_id\":" INT64_FORMAT, run_id);
	if (latest != 0 && dbx_json_get(options, "latest_repair_id") == NULL)
		appendStringInfo(&body, ",\"latest_repair_id\":" INT64_FORMAT, latest);
	if (dbx_json_get(options, "rerun_tasks") == NULL &&
		dbx_json_get(options, "rerun_all_failed_tasks") == NULL)
		append_member(&body, "rerun_all_failed_tasks", "true");
	for (member = dbx_json_first(options); member != NULL;
		 member = dbx_json_next(member))
	{
		if (dbx_json_type(member) == DBX_JSON_NULL)
			continue;
		if (dbx_run_is_parameter(dbx_json_name(member)))
			dbx_run_append_parameter(&body, member);
		else
			append_member(&body, dbx_json_name(member),
						  dbx_json_serialize(member));
	}
	if (!has_parameters)
		append_own_parameters(&body, run);
	appendStringInfoChar(&body, '}');
	return body.data;
}

char *
dbx_repair_body(int64 run_id, const DbxJson *run)
{
	return repair_body(run_id, run, NULL, false);
}

/* Whatever was answered: is there a repair newer than "before"?  0 if not. */
static int64
find_new_repair(const DbxWorkspace *workspace, int64 run_id, int64 before,
				const char *caller)
{
	int64 latest = dbx_repair_latest(get_run(workspace, run_id, caller));

	return latest != before ? latest : 0;
}

/* Look until the repair is part of the run. */
static void
wait_until_it_shows(const DbxWorkspace *workspace, int64 run_id,
					int64 repair_id, const char *caller)
{
	TimestampTz end = GetCurrentTimestamp() +
		(TimestampTz) Min(workspace->retry_timeout, LONGEST_WINDOW_MS) * 1000;
	int			  delay = FIRST_LOOK_MS;
	MemoryContext look = AllocSetContextCreate(CurrentMemoryContext,
											   "databricks look",
											   ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		MemoryContext before = MemoryContextSwitchTo(look);
		bool shows = dbx_repair_shows(get_run(workspace, run_id, caller),
									  repair_id);

		MemoryContextSwitchTo(before);
		MemoryContextReset(look);
		if (shows)
			break;
		if (GetCurrentTimestamp() >= end)
		{
			ereport(
				WARNING,
				(errmsg("repair " INT64_FORMAT
						" was accepted, but does not show in run " INT64_FORMAT
						" yet",
						repair_id, run_id),
				 errdetail(
					 "Until it does, the run looks as it did before the repair.")));
			break;
		}
		dbx_http_sleep_until(GetCurrentTimestamp() + delay * INT64CONST(1000));
		delay = Min(delay * 2, LARGEST_LOOK_MS);
	}
	MemoryContextDelete(look);
}

int64
dbx_run_repair(const DbxWorkspace *workspace, int64 run_id,
			   const DbxJson *options, const char *caller)
{
	bool		has_parameters = check_options(options);
	DbxJson	   *run = get_run(workspace, run_id, caller);
	DbxCallSpec spec = {0};
	DbxCall	   *call;
	DbxRunState state;
	int64		job_run_id = run_id;
	int64		repair_id = 0;

	(void) dbx_json_int64(dbx_json_get(run, "job_run_id"), &job_run_id);
	if (job_run_id != run_id && dbx_json_get(run, "task_key") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run " INT64_FORMAT " is the run of a task", run_id),
				 errhint("Repair the run of its job, " INT64_FORMAT ".",
						 job_run_id)));
	dbx_run_read_state(run, &state);
	if (!state.over)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " is not over yet", run_id),
				 errdetail("Its state is %s.",
						   state.state ? state.state : "unknown"),
				 errhint("Wait for its end, or cancel it.")));

	spec.method = "POST";
	spec.path = dbx_api_jobs_path(workspace, "runs/repair");
	spec.body = repair_body(run_id, run, options, has_parameters);
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	if (dbx_call_error(call) == NULL)
	{
		char *why;

		(void) dbx_json_int64(dbx_json_get(dbx_call_try_json(call, &why),
										   "repair_id"),
							  &repair_id);
	}
	else if (!dbx_call_error(call)->unknown_outcome)
		dbx_call_raise(call);
	if (repair_id == 0)
		repair_id = find_new_repair(workspace, run_id, dbx_repair_latest(run),
									caller);
	if (repair_id == 0 && dbx_call_error(call) != NULL)
		dbx_call_raise(call);
	if (repair_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
				 errmsg("the service accepted a repair of run " INT64_FORMAT
						", but neither its answer nor the run shows it",
						run_id),
				 errhint("Look at the run before you repeat it.")));
	wait_until_it_shows(workspace, run_id, repair_id, caller);
	return repair_id;
}
