/*
 * job.c
 *	  Jobs by name, and settings of jobs checked before they are sent.  (Their
 *	  tasks: task.c.)
 *
 * Separate because names are not unique in the service, and whoever starts a
 * job by name must never start another one.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "api/job.h"
#include "api/permission.h"
#include "api/task.h"

bool
dbx_job_is_id(const char *text, int64 *id)
{
	if (!*text || strspn(text, "0123456789") != strlen(text))
		return false;
	*id = pg_strtoint64(text);
	return true;
}

/* The service ignores case; we do not. */
static void
collect_ids(const DbxJson *rows, const char *name, int64 *found, StringInfo ids,
			int *count)
{
	const DbxJson *row;

	for (row = dbx_json_first(rows); row != NULL; row = dbx_json_next(row))
	{
		const char *row_name = dbx_json_string(
			dbx_json_path(row, "settings.name"));
		int64 id;

		if (row_name == NULL || strcmp(row_name, name) != 0 ||
			!dbx_json_int64(dbx_json_get(row, "job_id"), &id))
			continue;
		if (*count > 0 && id == *found)
			continue;
		appendStringInfo(ids, "%s" INT64_FORMAT, *count ? ", " : "", id);
		*found = id;
		(*count)++;
	}
}

int64
dbx_job_find(const DbxWorkspace *workspace, const char *name, const char *caller)
{
	DbxPageSpec	   spec = {0};
	StringInfoData query;
	StringInfoData ids;
	const DbxJson *rows;
	DbxPager	  *pager;
	int64		   found = 0;
	int			   count = 0;

	if (dbx_job_is_id(name, &found))
		return found;
	/* the service would take an empty filter for none */
	if (!*name)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a job must not be empty")));
	initStringInfo(&query);
	initStringInfo(&ids);
	dbx_query_add(&query, "name", name);
	dbx_query_add(&query, "limit", "100");
	spec.path = dbx_api_jobs_path(workspace, "list");
	spec.query = query.data;
	spec.items = "jobs";
	spec.caller = caller;
	pager = dbx_pager_open(workspace, &spec);
	while (dbx_pager_next(pager, &rows))
		collect_ids(rows, name, &found, &ids, &count);
	dbx_pager_close(pager);

	if (count == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no job named \"%s\" in workspace \"%s\"", name,
					workspace->name),
			 errdetail(
				 "Upper and lower case are told apart, and jobs the user of the token may not view do not count."),
			 errhint(
				 "SELECT job_id, name FROM databricks.jobs; shows those there are.")));
	if (count > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
				 errmsg("there are %d jobs named \"%s\" in workspace \"%s\"",
						count, name, workspace->name),
				 errdetail("Their ids are %s.", ids.data),
				 errhint("Give the id.")));
	return found;
}

void
dbx_job_bad_settings(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid settings"), errdetail("%s", why)));
}

void
dbx_job_check_settings(const DbxJson *settings, bool for_submit)
{
	const DbxJson *tasks = dbx_json_get(settings, "tasks");
	const DbxJson *list = dbx_json_get(settings, "access_control_list");
	const char	  *name = dbx_json_string(dbx_json_get(settings, "name"));

	if (dbx_json_type(settings) != DBX_JSON_OBJECT)
		dbx_job_bad_settings("They must be a JSON object.");
	if (!for_submit && (name == NULL || !*name))
		dbx_job_bad_settings("A job needs a \"name\", a text that is not empty.");
	if (for_submit && dbx_json_length(tasks) == 0)
		dbx_job_bad_settings("A run without a saved job needs \"tasks\".");
	if (tasks != NULL)
	{
		dbx_task_check_all(tasks);
		dbx_task_check_compute(tasks, settings);
	}
	/* the service takes it in a call of its own, when the settings are in force */
	if (dbx_json_type(list) > DBX_JSON_NULL)
		dbx_permission_check_list("jobs", list, false);
}

void
dbx_job_check_changes(const DbxJson *settings)
{
	const DbxJson *tasks = dbx_json_get(settings, "tasks");
	const DbxJson *task;

	if (dbx_json_type(settings) != DBX_JSON_OBJECT)
		dbx_job_bad_settings("They must be a JSON object.");
	if (dbx_json_type(dbx_json_get(settings, "access_control_list")) >
		DBX_JSON_NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid settings"),
			 errdetail(
				 "The service would silently ignore \"access_control_list\" here."),
			 errhint(
				 "Use databricks.update_permissions('jobs', ...) or databricks.reset_job().")));
	for (task = dbx_json_first(tasks); task != NULL; task = dbx_json_next(task))
		dbx_task_check(task);
}
