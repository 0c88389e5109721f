/*
 * writers.c
 *	  The calls that write: jobs, runs, secrets, their scopes, clusters.
 *
 * Separate from write.c, which knows executor nodes and no calls.  Whatever is
 * written here is done at once, and no rollback undoes it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "api/job.h"
#include "fdw/write.h"

static void insert_job(DbxChange *change);
static void update_job(DbxChange *change);
static void delete_job(DbxChange *change);
static void insert_run(DbxChange *change);
static void delete_run(DbxChange *change);
static void put_secret(DbxChange *change);
static void delete_secret(DbxChange *change);
static void insert_scope(DbxChange *change);
static void delete_scope(DbxChange *change);
static void insert_cluster(DbxChange *change);
static void update_cluster(DbxChange *change);

#define JOB_SETTINGS \
	"name description tags schedule trigger continuous parameters tasks job_clusters max_concurrent_runs timeout_seconds git_source settings"
#define CLUSTER_SPEC \
	"cluster_name spark_version node_type_id driver_node_type_id num_workers autoscale autotermination_minutes policy_id instance_pool_id data_security_mode single_user_name runtime_engine spark_conf spark_env_vars custom_tags init_scripts"

static const DbxWriter writers[] = {
	{.resource = "jobs",
	 .keys = {"job_id"},
	 .insert_columns = JOB_SETTINGS,
	 .update_columns = JOB_SETTINGS,
	 .insert_call = "create",
	 .update_call = "update",
	 .delete_call = "delete",
	 .insert = insert_job,
	 .update = update_job,
	 .delete = delete_job},
	{.resource = "runs",
	 .keys = {"run_id"},
	 .insert_columns = "job_id job_parameters idempotency_token",
	 .insert_call = "run-now",
	 .delete_call = "runs/delete",
	 .insert = insert_run,
	 .delete = delete_run},
	{.resource = "secrets",
	 .keys = {"scope", "key"},
	 .insert_columns = "scope key value",
	 .update_columns = "value",
	 .insert_call = "/api/2.0/secrets/put",
	 .update_call = "/api/2.0/secrets/put",
	 .delete_call = "/api/2.0/secrets/delete",
	 .insert = put_secret,
	 .update = put_secret,
	 .delete = delete_secret},
	{.resource = "secret_scopes",
	 .keys = {"scope"},
	 .insert_columns = "scope backend_type keyvault_metadata",
	 .insert_call = "/api/2.0/secrets/scopes/create",
	 .delete_call = "/api/2.0/secrets/scopes/delete",
	 .insert = insert_scope,
	 .delete = delete_scope},
	{.resource = "clusters",
	 .keys = {"cluster_id"},
	 .insert_columns = CLUSTER_SPEC,
	 .update_columns = CLUSTER_SPEC,
	 .insert_call = "/api/2.1/clusters/create",
	 .update_call = "/api/2.1/clusters/update",
	 .insert = insert_cluster,
	 .update = update_cluster,
	 .delete_hint =
		 "databricks.terminate_cluster() stops a cluster, databricks.permanent_delete_cluster() removes it."}};

const DbxWriter *
dbx_writer_find(const DbxResource *res)
{
	int i;

	for (i = 0; i < (int) lengthof(writers); i++)
	{
		if (strcmp(writers[i].resource, res->name) == 0)
			return &writers[i];
	}
	return NULL;
}

static DbxJson *
post(const DbxChange *change, const char *call, const char *body)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = dbx_resource_path(change->workspace, call);
	spec.body = body;
	spec.caller = change->table->res->name;
	spec.stats = change->stats;
	return dbx_call(change->workspace, &spec);
}

/* The id of what a call has made. */
static char *
made(const DbxJson *answer, const char *member)
{
	const char *id = dbx_json_text(dbx_json_get(answer, member));

	if (id == NULL)
		dbx_api_no_id(member);
	return pstrdup(id);
}

/* Append "name": to an object under construction. */
static void
begin_member(StringInfo body, const char *name)
{
	appendStringInfoString(body, body->data[body->len - 1] == '{' ? "" : ",");
	escape_json(body, name);
	appendStringInfoChar(body, ':');
}

static void
add_text(StringInfo body, const char *name, const char *value)
{
	begin_member(body, name);
	escape_json(body, value);
}

/* What the call names a column: the last part of its path. */
static const char *
member_name(const DbxChange *change, int column)
{
	const char *path = change->table->res->columns[column].paths[0];

	return strncmp(path, "settings.", 9) == 0 ? path + 9 : path;
}

/* The one text column that must have a value. */
static char *
required_text(const DbxChange *change, const char *column)
{
	char *text = dbx_change_text(change, column);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("column \"%s\" of foreign table \"%s\" must have a value",
						column, change->table->name)));
	return text;
}

/*
 * Jobs.  New settings are those of the columns over those of "settings".
 */
static DbxJson *
new_settings(const DbxChange *change)
{
	const DbxResource *res = change->table->res;
	int				   whole = dbx_resource_column(res, "settings");
	StringInfoData	   body;
	DbxJson			  *given = NULL;
	const DbxJson	  *member;
	int				   column = -1;

	if (bms_is_member(whole, change->columns))
	{
		char *text = dbx_change_json(change, whole);

		if (text != NULL)
			given = dbx_json_from_text(text, "settings");
		if (dbx_json_type(given) != DBX_JSON_OBJECT)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"settings\" of a job must be a JSON object")));
	}
	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	for (member = dbx_json_first(given); member != NULL;
		 member = dbx_json_next(member))
	{
		begin_member(&body, dbx_json_name(member));
		appendStringInfoString(&body, dbx_json_serialize(member));
	}
	while ((column = bms_next_member(change->columns, column)) >= 0)
	{
		const char *name = member_name(change, column);
		char	   *text = dbx_change_json(change, column);

		if (column == whole)
			continue;
		if (dbx_json_get(given, name) != NULL)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is given both in its column and in \"settings\"",
						name)));
		if (text == NULL)
			continue;
		begin_member(&body, name);
		appendStringInfoString(&body, text);
	}
	appendStringInfoChar(&body, '}');
	return dbx_json_from_text(body.data, "settings");
}

static void
insert_job(DbxChange *change)
{
	DbxJson *settings = new_settings(change);
	DbxJson *answer;

	dbx_job_check_settings(settings, false);
	answer = post(change, "create", dbx_json_serialize(settings));
	change->new_key = made(answer, "job_id");
}

static void
add_removal(StringInfo removals, const char *name)
{
	if (removals->len > 0)
		appendStringInfoChar(removals, ',');
	escape_json(removals, name);
}

static bool
same_json(const DbxJson *a, const DbxJson *b)
{
	Jsonb *x = dbx_json_to_jsonb(a);
	Jsonb *y = dbx_json_to_jsonb(b);

	return VARSIZE(x) == VARSIZE(y) && memcmp(x, y, VARSIZE(x)) == 0;
}

/*
 * jobs/update replaces members whole, but merges these arrays by key: what is
 * left out has to be removed by name.
 */
static void
remove_elements(const DbxJson *old, const DbxJson *new, const char *array,
				const char *key_member, StringInfo removals)
{
	const DbxJson *element;

	if (dbx_json_get(new, array) == NULL)
		return;
	for (element = dbx_json_first(dbx_json_get(old, array)); element != NULL;
		 element = dbx_json_next(element))
	{
		const char *key = dbx_json_string(dbx_json_get(element, key_member));

		if (key != NULL &&
			!dbx_json_find(dbx_json_get(new, array), key_member, key))
			add_removal(removals, psprintf("%s/%s", array, key));
	}
}

static void
update_job(DbxChange *change)
{
	const DbxResource *res = change->table->res;
	int				   whole = dbx_resource_column(res, "settings");
	bool			   is_whole = bms_is_member(whole, change->columns);
	DbxJson			  *settings = new_settings(change);
	const DbxJson	  *old = NULL;
	const DbxJson	  *member;
	StringInfoData	   body;
	StringInfoData	   removals;
	int				   column = -1;

	if (is_whole || dbx_json_get(settings, "tasks") != NULL ||
		dbx_json_get(settings, "job_clusters") != NULL)
	{
		DbxCallSpec	   spec = {0};
		StringInfoData query;

		initStringInfo(&query);
		dbx_query_add(&query, "job_id", change->keys[0]);
		spec.method = "GET";
		spec.path = dbx_resource_path(change->workspace, "get");
		spec.query = query.data;
		spec.caller = res->name;
		spec.stats = change->stats;
		old = dbx_json_get(dbx_api_get_merged(change->workspace, &spec),
						   "settings");
	}

	initStringInfo(&removals);
	remove_elements(old, settings, "tasks", "task_key", &removals);
	remove_elements(old, settings, "job_clusters", "job_cluster_key", &removals);
	for (member = dbx_json_first(old); is_whole && member != NULL;
		 member = dbx_json_next(member))
	{
		/* the service's own, and not to be changed */
		if (strcmp(dbx_json_name(member), "format") != 0 &&
			dbx_json_get(settings, dbx_json_name(member)) == NULL)
			add_removal(&removals, dbx_json_name(member));
	}
	while ((column = bms_next_member(change->columns, column)) >= 0)
	{
		if (column != whole && dbx_change_json(change, column) == NULL &&
			!is_whole)
			add_removal(&removals, member_name(change, column));
	}

	initStringInfo(&body);
	appendStringInfo(&body, "{\"job_id\":%s,\"new_settings\":{",
					 change->keys[0]);
	for (member = dbx_json_first(settings); member != NULL;
		 member = dbx_json_next(member))
	{
		if (is_whole &&
			same_json(member, dbx_json_get(old, dbx_json_name(member))))
			continue;
		begin_member(&body, dbx_json_name(member));
		appendStringInfoString(&body, dbx_json_serialize(member));
	}
	appendStringInfoChar(&body, '}');
	if (removals.len > 0)
		appendStringInfo(&body, ",\"fields_to_remove\":[%s]", removals.data);
	appendStringInfoChar(&body, '}');
	(void) post(change, "update", body.data);
}

static void
delete_job(DbxChange *change)
{
	(void) post(change, "delete", psprintf("{\"job_id\":%s}", change->keys[0]));
}

static void
insert_run(DbxChange *change)
{
	const DbxResource *res = change->table->res;
	char			  *parameters = dbx_change_json(change,
													dbx_resource_column(res,
																		"job_parameters"));
	char			  *token = dbx_change_text(change, "idempotency_token");
	char			  *job = required_text(change, "job_id");
	Jsonb			  *map = NULL;
	char			  *body;

	if (parameters != NULL)
		map = DatumGetJsonbP(
			DirectFunctionCall1(jsonb_in, CStringGetDatum(parameters)));
	body = dbx_run_now_members(map, NULL, token, &token);
	body = dbx_run_now_body(pg_strtoint64(job), body);
	change->new_key = psprintf(INT64_FORMAT,
							   dbx_run_start(change->workspace, "run-now", body,
											 token, res->name));
}

static void
delete_run(DbxChange *change)
{
	(void) post(change, "runs/delete",
				psprintf("{\"run_id\":%s}", change->keys[0]));
}

/* Written anew under a name that is there, as the service does it. */
static void
put_secret(DbxChange *change)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_text(&body, "scope",
			 change->keys[0] ? change->keys[0] : required_text(change, "scope"));
	add_text(&body, "key",
			 change->keys[1] ? change->keys[1] : required_text(change, "key"));
	add_text(&body, "string_value", required_text(change, "value"));
	appendStringInfoChar(&body, '}');
	(void) post(change, "/api/2.0/secrets/put", body.data);
}

static void
delete_secret(DbxChange *change)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_text(&body, "scope", change->keys[0]);
	add_text(&body, "key", change->keys[1]);
	appendStringInfoChar(&body, '}');
	(void) post(change, "/api/2.0/secrets/delete", body.data);
}

static void
insert_scope(DbxChange *change)
{
	const DbxResource *res = change->table->res;
	char			  *backend = dbx_change_text(change, "backend_type");
	char			  *vault = dbx_change_json(change,
											   dbx_resource_column(res, "keyvault_metadata"));
	StringInfoData	   body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_text(&body, "scope", required_text(change, "scope"));
	if (backend != NULL)
		add_text(&body, "scope_backend_type", backend);
	if (vault != NULL)
	{
		begin_member(&body, "backend_azure_keyvault");
		appendStringInfoString(&body, vault);
	}
	appendStringInfoChar(&body, '}');
	(void) post(change, "/api/2.0/secrets/scopes/create", body.data);
}

static void
delete_scope(DbxChange *change)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_text(&body, "scope", change->keys[0]);
	appendStringInfoChar(&body, '}');
	(void) post(change, "/api/2.0/secrets/scopes/delete", body.data);
}

/* The columns to be written as members of an object without its end. */
static void
add_columns(const DbxChange *change, StringInfo body)
{
	int column = -1;

	while ((column = bms_next_member(change->columns, column)) >= 0)
	{
		char *text = dbx_change_json(change, column);

		if (text == NULL)
			continue;
		begin_member(body, member_name(change, column));
		appendStringInfoString(body, text);
	}
}

static void
insert_cluster(DbxChange *change)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_columns(change, &body);
	appendStringInfoChar(&body, '}');
	change->new_key = made(post(change, "/api/2.1/clusters/create", body.data),
						   "cluster_id");
}

/*
 * A running cluster can be made larger or smaller without a restart; anything
 * else changes only what the mask names, and restarts it.
 */
static void
update_cluster(DbxChange *change)
{
	const DbxResource *res = change->table->res;
	bool			   only_size = true;
	StringInfoData	   body;
	StringInfoData	   mask;
	int				   column = -1;

	initStringInfo(&mask);
	while ((column = bms_next_member(change->columns, column)) >= 0)
	{
		const char *name = res->columns[column].name;

		appendStringInfo(&mask, "%s%s", mask.len > 0 ? "," : "",
						 member_name(change, column));
		only_size &= (strcmp(name, "num_workers") == 0 ||
					  strcmp(name, "autoscale") == 0) &&
			dbx_change_json(change, column) != NULL;
	}

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	add_text(&body, "cluster_id", change->keys[0]);
	if (only_size)
	{
		DbxCallSpec	   spec = {0};
		StringInfoData query;
		const char	  *state;

		initStringInfo(&query);
		dbx_query_add(&query, "cluster_id", change->keys[0]);
		spec.method = "GET";
		spec.path = "/api/2.1/clusters/get";
		spec.query = query.data;
		spec.caller = res->name;
		spec.stats = change->stats;
		state = dbx_json_string(
			dbx_json_get(dbx_call(change->workspace, &spec), "state"));
		if (state != NULL && strcmp(state, "RUNNING") == 0)
		{
			add_columns(change, &body);
			appendStringInfoChar(&body, '}');
			(void) post(change, "/api/2.1/clusters/resize", body.data);
			return;
		}
	}
	add_text(&body, "update_mask", mask.data);
	begin_member(&body, "cluster");
	appendStringInfoChar(&body, '{');
	add_columns(change, &body);
	appendStringInfoString(&body, "}}");
	(void) post(change, "/api/2.1/clusters/update", body.data);
}
