/*
 * resource_compute.c
 *	  Descriptors of what runs code: clusters, their events, kinds of machines
 *	  and runtimes, policies and pools.
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

static const DbxColumn cluster_columns[] = {
	WORKSPACE_COLUMN,
	{"cluster_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_id"},
	"Id of the cluster. A condition on it is a call of clusters/get."},
	{"cluster_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_name"},
	"Name of the cluster, not necessarily unique."},
	{"state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state"},
	"PENDING, RUNNING, RESTARTING, RESIZING, TERMINATING, TERMINATED, ... Equality and IN are sent to the service, several states in one call."},
	{"state_message", TEXTOID, DBX_CONVERT_TEXT, 0, {"state_message"},
	"What the service says about the state."},
	{"cluster_source", TEXTOID, DBX_CONVERT_TEXT, 0, {"cluster_source"},
	"UI, API, JOB, PIPELINE, SQL, ... Equality and IN are sent to the service, several in one call."},
	{"creator_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_user_name"},
	"Who made the cluster; NULL if that user was deleted."},
	{"spark_version", TEXTOID, DBX_CONVERT_TEXT, 0, {"spark_version"},
	"Runtime, as spark_versions names it."},
	{"node_type_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"node_type_id"},
	"Kind of machine, as node_types names it."},
	{"driver_node_type_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"driver_node_type_id"},
	"Kind of machine of the driver."},
	{"num_workers", INT4OID, DBX_CONVERT_INTEGER, 0, {"num_workers"},
	"Size wanted; NULL with autoscale."},
	{"autoscale", JSONBOID, DBX_CONVERT_JSONB, 0, {"autoscale"},
	"Bounds of the size, {min_workers, max_workers}."},
	{"autotermination_minutes", INT4OID, DBX_CONVERT_INTEGER, 0, {"autotermination_minutes"},
	"Minutes without work after which it is terminated; 0 is never."},
	{"policy_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"policy_id"},
	"Policy the cluster follows. Equality is sent to the service."},
	{"instance_pool_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"instance_pool_id"},
	"Pool the machines come from."},
	{"data_security_mode", TEXTOID, DBX_CONVERT_TEXT, 0, {"data_security_mode"},
	"How data is kept apart between users."},
	{"single_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"single_user_name"},
	"Whom the cluster is dedicated to."},
	{"runtime_engine", TEXTOID, DBX_CONVERT_TEXT, 0, {"runtime_engine"},
	"STANDARD or PHOTON."},
	{"spark_conf", JSONBOID, DBX_CONVERT_JSONB, 0, {"spark_conf"},
	"Settings of Spark."},
	{"spark_env_vars", JSONBOID, DBX_CONVERT_JSONB, 0, {"spark_env_vars"},
	"Environment variables."},
	{"custom_tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"custom_tags"},
	"Tags, an object name: value."},
	{"default_tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"default_tags"},
	"Tags the service sets."},
	{"init_scripts", JSONBOID, DBX_CONVERT_JSONB, 0, {"init_scripts"},
	"Scripts run when a machine starts."},
	{"start_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"start_time"},
	"When the cluster was asked for."},
	{"terminated_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"terminated_time"},
	"When it was terminated."},
	{"last_restarted_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"last_restarted_time"},
	"When it was last restarted."},
	{"termination_reason", JSONBOID, DBX_CONVERT_JSONB, 0, {"termination_reason"},
	"Why it was terminated, {code, type, parameters}."},
	{"spark_context_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"spark_context_id"},
	"Id of the Spark context."},
	{"cluster_cores", FLOAT8OID, DBX_CONVERT_DOUBLE, 0, {"cluster_cores"},
	"Cores it has now."},
	{"cluster_memory_mb", INT8OID, DBX_CONVERT_BIGINT, 0, {"cluster_memory_mb"},
	"Memory it has now, in MB."},
	{"driver", JSONBOID, DBX_CONVERT_JSONB, 0, {"driver"},
	"Machine of the driver; NULL when terminated."},
	{"executors", JSONBOID, DBX_CONVERT_JSONB, 0, {"executors"},
	"Machines of the workers; NULL when terminated."},
	RAW_COLUMN
};

static const DbxColumn event_columns[] = {
	WORKSPACE_COLUMN,
	{"cluster_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"=cluster_id"},
	"Cluster the event is about; must be given."},
	{"time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"timestamp"},
	"When it happened. Ranges are sent to the service."},
	{"type", TEXTOID, DBX_CONVERT_TEXT, 0, {"type"},
	"CREATING, STARTING, RUNNING, RESIZING, TERMINATING, DRIVER_NOT_RESPONDING, ..."},
	{"user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"details.user"},
	"Whose doing it was."},
	{"cause", TEXTOID, DBX_CONVERT_TEXT, 0, {"details.cause"},
	"USER_REQUEST, AUTOSCALE, ..."},
	{"current_num_workers", INT4OID, DBX_CONVERT_INTEGER, 0, {"details.current_num_workers"},
	"Size at that time."},
	{"target_num_workers", INT4OID, DBX_CONVERT_INTEGER, 0, {"details.target_num_workers"},
	"Size wanted at that time."},
	{"reason", JSONBOID, DBX_CONVERT_JSONB, 0, {"details.reason"},
	"Why, {code, type, parameters}."},
	{"details", JSONBOID, DBX_CONVERT_JSONB, 0, {"details"},
	"All the service says about it."},
	RAW_COLUMN
};

static const DbxColumn node_type_columns[] = {
	WORKSPACE_COLUMN,
	{"node_type_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"node_type_id"},
	"Name of this kind of machine."},
	{"description", TEXTOID, DBX_CONVERT_TEXT, 0, {"description"},
	"Its description."},
	{"category", TEXTOID, DBX_CONVERT_TEXT, 0, {"category"},
	"What it is made for."},
	{"memory_mb", INT8OID, DBX_CONVERT_BIGINT, 0, {"memory_mb"},
	"Memory in MB."},
	{"num_cores", FLOAT8OID, DBX_CONVERT_DOUBLE, 0, {"num_cores"},
	"Cores."},
	{"num_gpus", INT4OID, DBX_CONVERT_INTEGER, 0, {"num_gpus"},
	"Graphics processors."},
	{"is_deprecated", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"is_deprecated"},
	"Should it not be used any more?"},
	{"is_hidden", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"is_hidden"},
	"Is it not offered?"},
	RAW_COLUMN
};

static const DbxColumn spark_version_columns[] = {
	WORKSPACE_COLUMN,
	{"key", TEXTOID, DBX_CONVERT_TEXT, 0, {"key"},
	"Name of the runtime, for spark_version of a cluster."},
	{"name", TEXTOID, DBX_CONVERT_TEXT, 0, {"name"},
	"Name of the runtime for people."},
	RAW_COLUMN
};

static const DbxColumn policy_columns[] = {
	WORKSPACE_COLUMN,
	{"policy_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"policy_id"},
	"Id of the policy. A condition on it is a call of policies/clusters/get."},
	{"name", TEXTOID, DBX_CONVERT_TEXT, 0, {"name"},
	"Name of the policy."},
	{"description", TEXTOID, DBX_CONVERT_TEXT, 0, {"description"},
	"Description of the policy."},
	{"definition", TEXTOID, DBX_CONVERT_TEXT, 0, {"definition"},
	"The policy itself, a JSON text."},
	{"creator_user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"creator_user_name"},
	"Who made it; NULL if that user was deleted."},
	{"created_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"created_at_timestamp"},
	"When it was made."},
	{"is_default", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"is_default"},
	"Did the service make it?"},
	{"max_clusters_per_user", INT8OID, DBX_CONVERT_BIGINT, 0, {"max_clusters_per_user"},
	"How many clusters each user may have with it."},
	{"libraries", JSONBOID, DBX_CONVERT_JSONB, 0, {"libraries"},
	"Libraries its clusters get."},
	RAW_COLUMN
};

static const DbxColumn pool_columns[] = {
	WORKSPACE_COLUMN,
	{"instance_pool_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"instance_pool_id"},
	"Id of the pool. A condition on it is a call of instance-pools/get."},
	{"instance_pool_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"instance_pool_name"},
	"Name of the pool."},
	{"node_type_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"node_type_id"},
	"Kind of machine in it."},
	{"state", TEXTOID, DBX_CONVERT_TEXT, 0, {"state"},
	"ACTIVE, STOPPED or DELETED."},
	{"min_idle_instances", INT4OID, DBX_CONVERT_INTEGER, 0, {"min_idle_instances"},
	"Machines kept waiting."},
	{"max_capacity", INT4OID, DBX_CONVERT_INTEGER, 0, {"max_capacity"},
	"Machines at most."},
	{"idle_instance_autotermination_minutes", INT4OID, DBX_CONVERT_INTEGER, 0,
		{"idle_instance_autotermination_minutes"},
	"Minutes after which waiting machines are given back."},
	{"used_count", INT4OID, DBX_CONVERT_INTEGER, 0, {"stats.used_count"},
	"Machines in use."},
	{"idle_count", INT4OID, DBX_CONVERT_INTEGER, 0, {"stats.idle_count"},
	"Machines waiting."},
	{"default_tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"default_tags"},
	"Tags the service sets."},
	{"custom_tags", JSONBOID, DBX_CONVERT_JSONB, 0, {"custom_tags"},
	"Tags, an object name: value."},
	RAW_COLUMN
};
/* clang-format on */

/* The list call knows no other values than these. */
static const char *const cluster_states[] = {"PENDING",		"RUNNING",
											 "RESTARTING",	"RESIZING",
											 "TERMINATING", "TERMINATED",
											 "ERROR",		"UNKNOWN",
											 NULL};
static const char *const cluster_sources[] = {
	"UI",  "API", "JOB", "MODELS", "PIPELINE", "PIPELINE_MAINTENANCE",
	"SQL", NULL};

static const DbxFilter cluster_filters[] = {
	{"cluster_id", DBX_FILTER_KEY, NULL, NULL},
	{"state", DBX_FILTER_ANY, "filter_by.cluster_states", cluster_states},
	{"cluster_source", DBX_FILTER_ANY, "filter_by.cluster_sources",
	 cluster_sources},
	{"policy_id", DBX_FILTER_EQUAL, "filter_by.policy_id", NULL}};

static const DbxFilter event_filters[] = {
	{"cluster_id", DBX_FILTER_EQUAL, "cluster_id", NULL, .required = true},
	{"time", DBX_FILTER_FROM, "start_time", NULL},
	{"time", DBX_FILTER_TO, "end_time", NULL}};

static const DbxFilter policy_filters[] = {
	{"policy_id", DBX_FILTER_KEY, NULL, NULL}};

static const DbxFilter pool_filters[] = {
	{"instance_pool_id", DBX_FILTER_KEY, NULL, NULL}};

const DbxResource dbx_resource_clusters = {
	.name = "clusters",
	.comment =
		"Clusters of a workspace, terminated ones for 30 days (GET /api/2.1/clusters/list; by cluster_id GET /api/2.1/clusters/get).",
	.rows = 200,
	.list_call = "/api/2.1/clusters/list",
	.items = "clusters",
	.limit_param = "page_size",
	.page_size = 100,
	.get_call = "/api/2.1/clusters/get",
	.get_param = "cluster_id",
	.key_column = "cluster_id",
	.get_cost = 1.0,
	.id_member = "cluster_id",
	.ncolumns = lengthof(cluster_columns),
	.columns = cluster_columns,
	.nfilters = lengthof(cluster_filters),
	.filters = cluster_filters};

const DbxResource dbx_resource_cluster_events = {
	.name = "cluster_events",
	.comment =
		"What happened to a cluster; cluster_id must be given (POST /api/2.1/clusters/events).",
	.rows = 100000,
	.list_call = "/api/2.1/clusters/events",
	.items = "events",
	.list_post = true,
	.limit_param = "page_size",
	.page_size = 500,
	.ncolumns = lengthof(event_columns),
	.columns = event_columns,
	.nfilters = lengthof(event_filters),
	.filters = event_filters};

const DbxResource dbx_resource_node_types = {
	.name = "node_types",
	.comment =
		"Kinds of machines for clusters (GET /api/2.1/clusters/list-node-types).",
	.rows = 200,
	.list_call = "/api/2.1/clusters/list-node-types",
	.items = "node_types",
	.ncolumns = lengthof(node_type_columns),
	.columns = node_type_columns};

const DbxResource dbx_resource_spark_versions = {
	.name = "spark_versions",
	.comment = "Runtimes for clusters (GET /api/2.1/clusters/spark-versions).",
	.rows = 50,
	.list_call = "/api/2.1/clusters/spark-versions",
	.items = "versions",
	.ncolumns = lengthof(spark_version_columns),
	.columns = spark_version_columns};

const DbxResource dbx_resource_cluster_policies = {
	.name = "cluster_policies",
	.comment =
		"Policies for clusters (GET /api/2.0/policies/clusters/list; by policy_id GET /api/2.0/policies/clusters/get).",
	.rows = 50,
	.list_call = "/api/2.0/policies/clusters/list",
	.items = "policies",
	.get_call = "/api/2.0/policies/clusters/get",
	.get_param = "policy_id",
	.key_column = "policy_id",
	.get_cost = 1.0,
	.id_member = "policy_id",
	.ncolumns = lengthof(policy_columns),
	.columns = policy_columns,
	.nfilters = lengthof(policy_filters),
	.filters = policy_filters};

const DbxResource dbx_resource_instance_pools = {
	.name = "instance_pools",
	.comment =
		"Pools of machines (GET /api/2.0/instance-pools/list; by instance_pool_id GET /api/2.0/instance-pools/get).",
	.rows = 20,
	.list_call = "/api/2.0/instance-pools/list",
	.items = "instance_pools",
	.get_call = "/api/2.0/instance-pools/get",
	.get_param = "instance_pool_id",
	.key_column = "instance_pool_id",
	.get_cost = 1.0,
	.id_member = "instance_pool_id",
	.ncolumns = lengthof(pool_columns),
	.columns = pool_columns,
	.nfilters = lengthof(pool_filters),
	.filters = pool_filters};
