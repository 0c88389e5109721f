/*
 * resource_jobs.c
 *	  Descriptor of the resource "jobs".
 *
 * Separate because a resource is data and each has a file of its own.
 * Everything here is constant.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

/* A table reads best with one column to an entry. */
/* clang-format off */
static const DbxColumn columns[] = {
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL},
	"Workspace (foreign server) the job belongs to."},
	{"job_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"job_id"},
	"Id of the job. A condition on it is a call of jobs/get."},
	{"name", TEXTOID, DBX_CONVERT_TEXT, 0, {"settings.name"},
	"Name of the job, not necessarily unique. Equality is sent to the service."},
	{"description", TEXTOID, DBX_CONVERT_TEXT, 0, {"settings.description"},
	"Description of the job."},
	{"creator_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_user_name"},
	"Who created the job; NULL if that user was deleted."},
	{"run_as_user_name", TEXTOID, DBX_CONVERT_TEXT, DBX_COLUMN_DETAIL,
		{"run_as_user_name", "settings.run_as.user_name", "settings.run_as.service_principal_name"},
	"Whose rights the runs have. Lists do not tell: one call of jobs/get per row."},
	{"created_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"created_time"},
	"When the job was created."},
	{"tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"settings.tags"},
	"Tags of the job, an object name: value."},
	{"schedule", JSONBOID, DBX_CONVERT_JSONB, 0, {"settings.schedule"},
	"Schedule in Databricks (quartz_cron_expression, timezone_id, pause_status)."},
	{"trigger", JSONBOID, DBX_CONVERT_JSONB, 0, {"settings.trigger"},
	"Trigger in Databricks (file arrival, table update, periodic, ...)."},
	{"continuous", JSONBOID, DBX_CONVERT_JSONB, 0, {"settings.continuous"},
	"Setting of a continuous job."},
	{"parameters", JSONBOID, DBX_CONVERT_JSONB, DBX_COLUMN_PAGED, {"settings.parameters"},
	"Parameters of the job, an array of {name, default}."},
	{"tasks", JSONBOID, DBX_CONVERT_JSONB, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED,
		{"settings.tasks"},
	"All tasks of the job, also above 100 (then one call of jobs/get per such row)."},
	{"job_clusters", JSONBOID, DBX_CONVERT_JSONB, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED,
		{"settings.job_clusters"},
	"Clusters that the tasks of the job share."},
	{"max_concurrent_runs", INT4OID, DBX_CONVERT_INTEGER, 0, {"settings.max_concurrent_runs"},
	"How many runs of the job may be active at once."},
	{"timeout_seconds", INT4OID, DBX_CONVERT_INTEGER, 0, {"settings.timeout_seconds"},
	"Time limit of a run in seconds; 0 is none."},
	{"format", TEXTOID, DBX_CONVERT_TEXT, 0, {"settings.format"},
	"MULTI_TASK or SINGLE_TASK."},
	{"git_source", JSONBOID, DBX_CONVERT_JSONB, 0, {"settings.git_source"},
	"Repository the tasks come from."},
	{"settings", JSONBOID, DBX_CONVERT_JSONB, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED,
		{"settings"},
	"All settings of the job as jobs/create takes them, tasks included."},
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, DBX_COLUMN_EXPANDED | DBX_COLUMN_PAGED, {NULL},
	"The job as the service sent it."}
};
/* clang-format on */

static const DbxFilter filters[] = {
	{"job_id", DBX_FILTER_KEY, NULL, NULL},
	/* the service takes upper and lower case for the same */
	{"name", DBX_FILTER_EQUAL, "name", NULL}};

const DbxResource dbx_resource_jobs = {
	.name = "jobs",
	.comment =
		"Jobs of a workspace (GET /api/2.2/jobs/list; by job_id GET /api/2.2/jobs/get).",
	.rows = 1000,
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
	.ncolumns = lengthof(columns),
	.columns = columns,
	.nfilters = lengthof(filters),
	.filters = filters};
