/*
 * resource_tasks.c
 *	  Descriptors of the resources "job_tasks" and "run_tasks".
 *
 * Separate because a resource is data.  Rows are the elements of an array in
 * another resource's elements, so conditions on those work here too.  Everything
 * here is constant.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

/* A table reads best with one column to an entry. */
/* clang-format off */
static const DbxColumn job_task_columns[] = {
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL},
	"Workspace (foreign server) the job belongs to."},
	{"job_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"^job_id"},
	"Id of the job. A condition on it is a call of jobs/get."},
	{"job_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^settings.name"},
	"Name of the job. Equality is sent to the service."},
	{"task_key", TEXTOID, DBX_CONVERT_TEXT, 0, {"task_key"},
	"Name of the task, unique in its job."},
	{"task_type", TEXTOID, DBX_CONVERT_TASK_TYPE, 0, {NULL},
	"notebook_task, spark_python_task, sql_task, ..."},
	{"description", TEXTOID, DBX_CONVERT_TEXT, 0, {"description"},
	"Description of the task."},
	{"depends_on", JSONBOID, DBX_CONVERT_JSONB, 0, {"depends_on"},
	"Tasks that come before, an array of {task_key, outcome}."},
	{"run_if", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_if"},
	"ALL_SUCCESS, ALL_DONE, ...: what must have become of the tasks before."},
	{"existing_cluster_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"existing_cluster_id"},
	"Cluster that the task runs on."},
	{"job_cluster_key", TEXTOID, DBX_CONVERT_TEXT, 0, {"job_cluster_key"},
	"Cluster of the job that the task runs on."},
	{"new_cluster", JSONBOID, DBX_CONVERT_JSONB, 0, {"new_cluster"},
	"Cluster made for each run of the task."},
	{"libraries", JSONBOID, DBX_CONVERT_JSONB, 0, {"libraries"},
	"Libraries installed for the task."},
	{"max_retries", INT4OID, DBX_CONVERT_INTEGER, 0, {"max_retries"},
	"How often the task is tried again; -1: for ever."},
	{"timeout_seconds", INT4OID, DBX_CONVERT_INTEGER, 0, {"timeout_seconds"},
	"Time limit in seconds; 0 is none."},
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, 0, {NULL},
	"The task as the service sent it."}
};

static const DbxColumn run_task_columns[] = {
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL},
	"Workspace (foreign server) the run belongs to."},
	{"run_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"^run_id"},
	"Id of the job run. A condition on it is a call of runs/get."},
	{"job_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"^job_id"},
	"Id of the job. Equality is sent to the service."},
	{"run_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^run_name"},
	"Name of the run."},
	{"run_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"^run_type"},
	"JOB_RUN, SUBMIT_RUN or WORKFLOW_RUN. Equality is sent to the service."},
	{"run_start_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"^start_time"},
	"When the job run was started. Ranges are sent to the service."},
	{"task_run_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"run_id"},
	"Id of the run of the task."},
	{"task_key", TEXTOID, DBX_CONVERT_TEXT, 0, {"task_key"},
	"Name of the task; repeated for each attempt."},
	{"task_type", TEXTOID, DBX_CONVERT_TASK_TYPE, 0, {NULL},
	"notebook_task, spark_python_task, sql_task, ..."},
	{"attempt_number", INT4OID, DBX_CONVERT_INTEGER, 0, {"attempt_number"},
	"0 for the first attempt."},
	{"state", TEXTOID, DBX_CONVERT_RUN_STATE, 0, {"status.state", "state.life_cycle_state"},
	"BLOCKED, PENDING, QUEUED, RUNNING, TERMINATING, WAITING or TERMINATED; only the last is an end."},
	{"result_state", TEXTOID, DBX_CONVERT_RUN_RESULT, 0,
		{"state.result_state", "state.life_cycle_state", "status.termination_details.code"},
	"SUCCESS, FAILED, TIMEDOUT, CANCELED, EXCLUDED, ...; NULL until there is a result. From the code if the service gives no older form of the state."},
	{"life_cycle_state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state.life_cycle_state"},
	"Older form of the state."},
	{"termination_code", TEXTOID, DBX_CONVERT_TEXT, 0, {"status.termination_details.code"},
	"Why the task ended."},
	{"termination_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"status.termination_details.type"},
	"Whose doing the end was."},
	{"state_message", TEXTOID, DBX_CONVERT_TEXT, 0,
		{"status.termination_details.message", "state.state_message"},
	"What the service says about the state, for people."},
	{"start_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"start_time"},
	"When the task was started; NULL if it never was."},
	{"end_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"end_time"},
	"When the task ended; NULL while it has not."},
	{"queue_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"queue_duration"},
	"Time in the queue."},
	{"setup_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"setup_duration"},
	"Time to set up compute."},
	{"execution_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"execution_duration"},
	"Time the code ran."},
	{"cleanup_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"cleanup_duration"},
	"Time to clean up."},
	{"depends_on", JSONBOID, DBX_CONVERT_JSONB, 0, {"depends_on"},
	"Tasks that come before, an array of {task_key, outcome}."},
	{"cluster_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_instance.cluster_id", "existing_cluster_id"},
	"Cluster the task ran on."},
	{"run_page_url", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_page_url"},
	"Page of the task run in the workspace."},
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, 0, {NULL},
	"The task run as the service sent it."}
};
/* clang-format on */

static const DbxFilter job_task_filters[] = {{"job_id", DBX_FILTER_KEY, NULL,
											  NULL},
											 {"job_name", DBX_FILTER_EQUAL,
											  "name", NULL}};

static const char *const run_types[] = {"JOB_RUN", "SUBMIT_RUN", "WORKFLOW_RUN",
										NULL};

static const DbxFilter run_task_filters[] = {
	{"run_id", DBX_FILTER_KEY, NULL, NULL},
	{"job_id", DBX_FILTER_EQUAL, "job_id", NULL},
	{"run_type", DBX_FILTER_EQUAL, "run_type", run_types},
	{"run_start_time", DBX_FILTER_FROM, "start_time_from", NULL},
	{"run_start_time", DBX_FILTER_TO, "start_time_to", NULL}};

const DbxResource dbx_resource_job_tasks = {
	.name = "job_tasks",
	.comment =
		"Tasks of the jobs of a workspace (GET /api/2.2/jobs/list with expand_tasks; by job_id GET /api/2.2/jobs/get).",
	.rows = 5000,
	.list_call = "list",
	.items = "jobs",
	.limit_param = "limit",
	.page_size = 100,
	.expand_param = "expand_tasks",
	.get_call = "get",
	.get_param = "job_id",
	.key_column = "job_id",
	.get_cost = 1.0,
	.more_member = "has_more",
	.more_length = 100,
	.id_member = "job_id",
	.unnest = "settings.tasks",
	.ncolumns = lengthof(job_task_columns),
	.columns = job_task_columns,
	.nfilters = lengthof(job_task_filters),
	.filters = job_task_filters};

const DbxResource dbx_resource_run_tasks = {
	.name = "run_tasks",
	.comment =
		"Task runs of the last 60 days (GET /api/2.2/jobs/runs/list with expand_tasks; by run_id GET /api/2.2/jobs/runs/get).",
	.rows = 150000,
	.list_call = "runs/list",
	.items = "runs",
	.limit_param = "limit",
	.page_size = 25,
	.expand_param = "expand_tasks",
	.get_call = "runs/get",
	.get_param = "run_id",
	.key_column = "run_id",
	.get_cost = 0.3,
	.key_check = "job_run_id",
	.more_member = "has_more",
	.more_length = 100,
	.id_member = "run_id",
	.unnest = "tasks",
	.time_member = "start_time",
	.end_member = "end_time",
	.horizon_days = 60,
	.active_param = "active_only",
	.ncolumns = lengthof(run_task_columns),
	.columns = run_task_columns,
	.nfilters = lengthof(run_task_filters),
	.filters = run_task_filters};
