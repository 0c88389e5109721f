/*
 * resource_runs.c
 *	  Descriptor of the resource "runs".
 *
 * Separate because a resource is data and each has a file of its own.
 * Everything here is constant.
 *
 * No filter follows from result_state or end_time: a run that waits for its
 * next attempt or is about to end may have a result already, and active_only
 * leaves out BLOCKED and WAITING_FOR_RETRY, which have no end yet.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

/* A table reads best with one column to an entry. */
/* clang-format off */
#define COMMON_COLUMNS \
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL}, \
	"Workspace (foreign server) the run belongs to."}, \
	{"run_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"run_id"}, \
	"Id of the job run. A condition on it is a call of runs/get."}, \
	{"job_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"job_id"}, \
	"Id of the job. Equality is sent to the service."}, \
	{"run_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_name"}, \
	"Name of the job when the run started, or the name given to a one-time run."}, \
	{"run_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_type"}, \
	"JOB_RUN, SUBMIT_RUN or WORKFLOW_RUN. Equality is sent to the service."}, \
	{"trigger", TEXTOID, DBX_CONVERT_TEXT, 0, {"trigger"}, \
	"What started the run: PERIODIC, ONE_TIME, RETRY, RUN_JOB_TASK, ..."}, \
	{"state", TEXTOID, DBX_CONVERT_RUN_STATE, 0, \
		{"status.state", "state.life_cycle_state"}, \
	"BLOCKED, PENDING, QUEUED, RUNNING, TERMINATING, WAITING or TERMINATED; only the last is an end."}, \
	{"result_state", TEXTOID, DBX_CONVERT_RUN_RESULT, 0, \
		{"state.result_state", "state.life_cycle_state", "status.termination_details.code"}, \
	"SUCCESS, SUCCESS_WITH_FAILURES, FAILED, TIMEDOUT, CANCELED, ...; NULL until there is a result. From the code if the service gives no older form of the state."}, \
	{"life_cycle_state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state.life_cycle_state"}, \
	"Older form of the state; TERMINATED, SKIPPED and INTERNAL_ERROR are ends."}, \
	{"termination_code", TEXTOID, DBX_CONVERT_TEXT, 0, {"status.termination_details.code"}, \
	"Why the run ended: SUCCESS, RUN_EXECUTION_ERROR, USER_CANCELED, ..."}, \
	{"termination_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"status.termination_details.type"}, \
	"Whose doing the end was: SUCCESS, CLIENT_ERROR, INTERNAL_ERROR or CLOUD_FAILURE."}, \
	{"state_message", TEXTOID, DBX_CONVERT_TEXT, 0, \
		{"status.termination_details.message", "state.state_message", "status.queue_details.message"}, \
	"What the service says about the state, for people."}, \
	{"start_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"start_time"}, \
	"When the run was started; NULL if it never was. Ranges are sent to the service."}, \
	{"end_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"end_time"}, \
	"When the run ended; NULL while it has not."}, \
	{"queue_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"queue_duration"}, \
	"Time in the queue."}, \
	{"setup_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"setup_duration"}, \
	"Time to set up compute; 0 for runs of several tasks."}, \
	{"execution_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"execution_duration"}, \
	"Time the code ran; 0 for runs of several tasks."}, \
	{"cleanup_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"cleanup_duration"}, \
	"Time to clean up; 0 for runs of several tasks."}, \
	{"run_duration", INTERVALOID, DBX_CONVERT_DURATION_MS, 0, {"run_duration"}, \
	"Time of the whole run, repairs included."}, \
	{"attempt_number", INT4OID, DBX_CONVERT_INTEGER, 0, {"attempt_number"}, \
	"0 for the first attempt."}, \
	{"original_attempt_run_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"original_attempt_run_id"}, \
	"run_id of the first attempt."}, \
	{"creator_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_user_name"}, \
	"Who started the run; NULL if that user was deleted."}, \
	{"run_page_url", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_page_url"}, \
	"Page of the run in the workspace."}, \
	{"job_parameters", JSONBOID, DBX_CONVERT_PARAMETERS, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED, {"job_parameters"}, \
	"Parameters of the run, an object name: value as run_now takes it."}, \
	{"overriding_parameters", JSONBOID, DBX_CONVERT_JSONB, 0, {"overriding_parameters"}, \
	"Parameters of the older kinds given when the run was started."}, \
	{"schedule", JSONBOID, DBX_CONVERT_JSONB, 0, {"schedule"}, \
	"Schedule in Databricks that started the run."}, \
	{"tasks", JSONBOID, DBX_CONVERT_JSONB, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED, {"tasks"}, \
	"All task runs, also above 100 (then one call of runs/get per such row)."}
#define RAW_COLUMN \
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED, {NULL}, \
	"The run as the service sent it."}

static const DbxColumn columns[] = {
	COMMON_COLUMNS,
	RAW_COLUMN
};

static const DbxColumn table_columns[] = {
	COMMON_COLUMNS,
	{"idempotency_token", TEXTOID, DBX_CONVERT_TEXT, DBX_COLUMN_WRITE_ONLY, {"idempotency_token"},
	"To be written only: a run is started once for each token. Reads NULL."},
	RAW_COLUMN
};
/* clang-format on */

static const char *const run_types[] = {"JOB_RUN", "SUBMIT_RUN", "WORKFLOW_RUN",
										NULL};

static const char *const ended_states[] = {"TERMINATED", NULL};
static const char *const ended_life_cycles[] = {"TERMINATED", "SKIPPED",
												"INTERNAL_ERROR", NULL};

/* What active_only covers, in either view of the state. */
static const char *const active_states[] = {"QUEUED", "PENDING", "RUNNING",
											"TERMINATING", NULL};

static const DbxFilter filters[] = {
	{"run_id", DBX_FILTER_KEY, NULL, NULL},
	{"job_id", DBX_FILTER_EQUAL, "job_id", NULL},
	{"run_type", DBX_FILTER_EQUAL, "run_type", run_types},
	{"start_time", DBX_FILTER_FROM, "start_time_from", NULL},
	{"start_time", DBX_FILTER_TO, "start_time_to", NULL},
	{"state", DBX_FILTER_IMPLIED, "completed_only", ended_states},
	{"state", DBX_FILTER_IMPLIED, "active_only", active_states},
	{"life_cycle_state", DBX_FILTER_IMPLIED, "completed_only", ended_life_cycles},
	{"life_cycle_state", DBX_FILTER_IMPLIED, "active_only", active_states}};

/* clang-format off */
#define RUNS_WITH_COLUMNS(array) { \
	.name = "runs", \
	.comment = "Runs of the last 60 days (GET /api/2.2/jobs/runs/list; by run_id GET /api/2.2/jobs/runs/get).", \
	.rows = 50000, \
	.list_call = "runs/list", \
	.items = "runs", \
	.limit_param = "limit", \
	.page_size = 25, \
	.expand_param = "expand_tasks", \
	.get_call = "runs/get", \
	.get_param = "run_id", \
	.key_column = "run_id", \
	.get_cost = 0.3, \
	.key_check = "job_run_id", \
	.more_member = "has_more", \
	.more_length = 100, \
	.id_member = "run_id", \
	.time_member = "start_time", \
	.end_member = "end_time", \
	.horizon_days = 60, \
	.active_param = "active_only", \
	.ncolumns = lengthof(array), \
	.columns = (array), \
	.nfilters = lengthof(filters), \
	.filters = filters}
/* clang-format on */

/* For the history of runs: what can only be written is not part of it. */
const DbxResource dbx_resource_runs = RUNS_WITH_COLUMNS(columns);

const DbxResource dbx_resource_runs_table = RUNS_WITH_COLUMNS(table_columns);
