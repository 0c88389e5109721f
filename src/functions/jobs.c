/*
 * jobs.c
 *	  SQL entry points for jobs that need more than a body.
 *
 * A file per area of the service, as in the SQL script.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "api/job.h"
#include "api/task.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_find_job);
PG_FUNCTION_INFO_V1(databricks_check_job_changes);
PG_FUNCTION_INFO_V1(databricks_check_job_settings);
PG_FUNCTION_INFO_V1(databricks_check_task);
PG_FUNCTION_INFO_V1(databricks_task_member);

Datum
databricks_find_job(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "name");
	PG_RETURN_INT64(dbx_job_find(dbx_arg_workspace(fcinfo, 1),
								 dbx_arg_text(fcinfo, 0), "find_job"));
}

Datum
databricks_check_job_settings(PG_FUNCTION_ARGS)
{
	Jsonb *settings;

	dbx_arg_require(fcinfo, 0, "settings");
	settings = PG_GETARG_JSONB_P(0);
	dbx_job_check_settings(dbx_json_from_jsonb(settings, "settings"), false);
	PG_RETURN_JSONB_P(settings);
}

Datum
databricks_check_job_changes(PG_FUNCTION_ARGS)
{
	Jsonb *settings = DBX_ARG_JSONB(0);

	if (settings == NULL)
		PG_RETURN_NULL();
	dbx_job_check_changes(dbx_json_from_jsonb(settings, "new_settings"));
	PG_RETURN_JSONB_P(settings);
}

Datum
databricks_check_task(PG_FUNCTION_ARGS)
{
	Jsonb *task;

	dbx_arg_require(fcinfo, 0, "task");
	task = PG_GETARG_JSONB_P(0);
	dbx_task_check(dbx_json_from_jsonb(task, "task"));
	PG_RETURN_JSONB_P(task);
}

Datum
databricks_task_member(PG_FUNCTION_ARGS)
{
	dbx_arg_require(fcinfo, 0, "type");
	PG_RETURN_TEXT_P(cstring_to_text(dbx_task_member(dbx_arg_text(fcinfo, 0))));
}
