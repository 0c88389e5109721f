/*
 * resource_sql.c
 *	  Descriptors of SQL warehouses and pipelines.
 *
 * Separate because a resource is data.  Everything here is constant.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

/* A table reads best with one column to an entry. */
/* clang-format off */
#define WORKSPACE_COLUMN \
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL}, \
	"Workspace (foreign server)."}
#define RAW_COLUMN \
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, 0, {NULL}, \
	"The element as the service sent it."}

static const DbxColumn warehouse_columns[] = {
	WORKSPACE_COLUMN,
	{"warehouse_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"id"},
	"Id of the warehouse. A condition on it is a call of sql/warehouses/{id}."},
	{"name", TEXTOID, DBX_CONVERT_TEXT, 0, {"name"},
	"Name of the warehouse."},
	{"state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state"},
	"STARTING, RUNNING, STOPPING, STOPPED, DELETING or DELETED."},
	{"cluster_size", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_size"},
	"2X-Small to 4X-Large."},
	{"min_num_clusters", INT4OID, DBX_CONVERT_INTEGER, 0, {"min_num_clusters"},
	"Clusters at least."},
	{"max_num_clusters", INT4OID, DBX_CONVERT_INTEGER, 0, {"max_num_clusters"},
	"Clusters at most."},
	{"num_clusters", INT4OID, DBX_CONVERT_INTEGER, 0, {"num_clusters"},
	"Clusters now."},
	{"num_active_sessions", INT8OID, DBX_CONVERT_BIGINT, 0, {"num_active_sessions"},
	"Sessions now."},
	{"auto_stop_mins", INT4OID, DBX_CONVERT_INTEGER, 0, {"auto_stop_mins"},
	"Minutes without work after which it stops; 0 is never."},
	{"warehouse_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"warehouse_type"},
	"CLASSIC or PRO."},
	{"enable_serverless_compute", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"enable_serverless_compute"},
	"Is it serverless?"},
	{"enable_photon", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"enable_photon"},
	"Does it use Photon?"},
	{"spot_instance_policy", TEXTOID, DBX_CONVERT_TEXT, 0, {"spot_instance_policy"},
	"COST_OPTIMIZED or RELIABILITY_OPTIMIZED."},
	{"creator_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_name"},
	"Who made it."},
	{"jdbc_url", TEXTOID, DBX_CONVERT_TEXT, 0, {"jdbc_url"},
	"Address for JDBC."},
	{"odbc_params", JSONBOID, DBX_CONVERT_JSONB, 0, {"odbc_params"},
	"Address for ODBC, {hostname, path, protocol, port}."},
	{"health", JSONBOID, DBX_CONVERT_JSONB, 0, {"health"},
	"How it is, {status, summary, details, message}."},
	{"tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"tags"},
	"Tags of the warehouse."},
	RAW_COLUMN
};

static const DbxColumn pipeline_columns[] = {
	WORKSPACE_COLUMN,
	{"pipeline_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"pipeline_id"},
	"Id of the pipeline. A condition on it is a call of pipelines/{id}."},
	{"name", TEXTOID, DBX_CONVERT_TEXT, 0, {"name"},
	"Name of the pipeline."},
	{"state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state"},
	"IDLE, RUNNING, STARTING, STOPPING, FAILED, ..."},
	{"health", TEXTOID, DBX_CONVERT_TEXT, 0, {"health"},
	"HEALTHY or UNHEALTHY."},
	{"creator_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_user_name"},
	"Who made it."},
	{"run_as_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"run_as_user_name"},
	"Whose rights it runs with."},
	{"cluster_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_id"},
	"Cluster it runs on."},
	{"latest_updates", JSONBOID, DBX_CONVERT_JSONB, 0, {"latest_updates"},
	"Last updates, an array of {update_id, state, creation_time}."},
	RAW_COLUMN
};
/* clang-format on */

static const DbxFilter warehouse_filters[] = {
	{"warehouse_id", DBX_FILTER_KEY, NULL, NULL}};

const DbxResource dbx_resource_warehouses = {
	.name = "warehouses",
	.comment =
		"SQL warehouses (GET /api/2.0/sql/warehouses; by warehouse_id GET /api/2.0/sql/warehouses/{id}).",
	.rows = 50,
	.list_call = "/api/2.0/sql/warehouses",
	.items = "warehouses",
	.get_call = "/api/2.0/sql/warehouses/{key}",
	.key_column = "warehouse_id",
	.get_cost = 1.0,
	.id_member = "id",
	.ncolumns = lengthof(warehouse_columns),
	.columns = warehouse_columns,
	.nfilters = lengthof(warehouse_filters),
	.filters = warehouse_filters};

static const DbxFilter pipeline_filters[] = {
	{"pipeline_id", DBX_FILTER_KEY, NULL, NULL}};

const DbxResource dbx_resource_pipelines = {
	.name = "pipelines",
	.comment =
		"Pipelines (GET /api/2.0/pipelines; by pipeline_id GET /api/2.0/pipelines/{id}).",
	.rows = 100,
	.list_call = "/api/2.0/pipelines",
	.items = "statuses",
	.limit_param = "max_results",
	.page_size = 100,
	.get_call = "/api/2.0/pipelines/{key}",
	.key_column = "pipeline_id",
	.get_cost = 1.0,
	.id_member = "pipeline_id",
	.ncolumns = lengthof(pipeline_columns),
	.columns = pipeline_columns,
	.nfilters = lengthof(pipeline_filters),
	.filters = pipeline_filters};
