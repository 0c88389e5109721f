/*
 * resource.c
 *	  From the JSON of a resource's element to SQL values.
 *
 * Separate from the descriptors, which are data, and from the tables, because
 * the run history is filled the same way.  Nothing is kept between calls;
 * results live in the memory context of the caller.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "api/resource.h"
#include "api/run.h"
#include "http/http.h"

/* Epoch of the service (1970) in PostgreSQL's microseconds since 2000. */
#define UNIX_EPOCH_USECS \
	(-(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* How much of a value that cannot be converted is shown. */
#define SHOWN_VALUE_LENGTH 60

const DbxResource *const dbx_resources[] = {&dbx_resource_jobs,
											&dbx_resource_job_tasks,
											&dbx_resource_runs_table,
											&dbx_resource_run_tasks,
											&dbx_resource_clusters,
											&dbx_resource_cluster_events,
											&dbx_resource_node_types,
											&dbx_resource_spark_versions,
											&dbx_resource_cluster_policies,
											&dbx_resource_instance_pools,
											&dbx_resource_secret_scopes,
											&dbx_resource_secrets,
											&dbx_resource_secret_acls,
											&dbx_resource_permissions,
											&dbx_resource_files,
											&dbx_resource_workspace_objects,
											&dbx_resource_repos,
											&dbx_resource_warehouses,
											&dbx_resource_pipelines,
											NULL};

static const DbxJson *column_node(const DbxColumn *column,
								  const DbxJson	  *element);
static const DbxJson *row_node(const DbxColumn *column, const DbxRow *row);
static bool			  read_value(const DbxColumn *column, const DbxRow *row,
								 const char *workspace, Datum *value, bool *isnull);
static Datum		  convert_given(const DbxColumn *column, const DbxRow *row,
									bool *isnull);
static const char	 *task_type(const DbxJson *task);
static bool			  convert_node(const DbxColumn *column, const DbxJson *node,
								   Datum *value, bool *isnull);
static bool convert_time(const DbxJson *node, Datum *value, bool *isnull);
static bool convert_duration(const DbxJson *node, Datum *value);
static bool convert_parameters(const DbxJson *node, Datum *value);
static const char	   *map_life_cycle(const char *state);
static char			   *show_value(const DbxJson *node);
static pg_noreturn void cannot_convert(const DbxColumn *column,
									   const DbxJson *node, const char *table);
static bool maybe_cut(const DbxResource *res, const DbxJson *element,
					  const DbxColumn *column);

const DbxResource *
dbx_resource_find(const char *name)
{
	int i;

	for (i = 0; dbx_resources[i] != NULL; i++)
	{
		if (strcmp(dbx_resources[i]->name, name) == 0)
			return dbx_resources[i];
	}
	return NULL;
}

int
dbx_resource_column(const DbxResource *res, const char *name)
{
	int i;

	for (i = 0; i < res->ncolumns; i++)
	{
		if (strcmp(res->columns[i].name, name) == 0)
			return i;
	}
	return -1;
}

const char *
dbx_resource_type_name(const DbxColumn *column)
{
	return format_type_be(column->type);
}

char *
dbx_resource_path(const DbxWorkspace *workspace, const char *call)
{
	if (call[0] == '/')
		return pstrdup(call);
	return dbx_api_jobs_path(workspace, call);
}

Datum
dbx_resource_value(const DbxColumn *column, const DbxJson *element,
				   const char *workspace, bool *isnull)
{
	DbxRow row = {element, NULL, NIL};
	Datum  value;

	if (!read_value(column, &row, workspace, &value, isnull))
		*isnull = true;
	return value;
}

void
dbx_resource_check_element(const DbxJson *element, const char *id_member,
						   const char *workspace, const char *table)
{
	bool		   object = dbx_json_type(element) == DBX_JSON_OBJECT;
	const DbxJson *id;
	const char	  *text;

	if (object && id_member == NULL)
		return;
	id = object ? dbx_json_path(element, id_member) : NULL;
	text = dbx_json_string(id);
	if (dbx_json_type(id) == DBX_JSON_NUMBER ||
		(text != NULL && text[0] != '\0'))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
		 object
			 ? errmsg("workspace \"%s\" lists a row of foreign table \"%s\" without \"%s\", which names it",
					  workspace, table, id_member)
			 : errmsg("workspace \"%s\" lists a row of foreign table \"%s\" that is not an object",
					  workspace, table),
		 errdetail("The element is %s", show_value(element)),
		 errhint(
			 "databricks.api_pages() shows a list as the service sends it.")));
}

Datum
dbx_resource_row_value(const DbxColumn *column, const DbxRow *row,
					   const char *workspace, const char *table, bool *isnull)
{
	Datum value;

	if (!read_value(column, row, workspace, &value, isnull))
		cannot_convert(column, row_node(column, row), table);
	return value;
}

/* False: what the service sent cannot be shown as the type of the column. */
static bool
read_value(const DbxColumn *column, const DbxRow *row, const char *workspace,
		   Datum *value, bool *isnull)
{
	const DbxJson *node;

	*value = (Datum) 0;
	*isnull = false;
	if (column->convert == DBX_CONVERT_WORKSPACE)
		*value = DirectFunctionCall1(namein, CStringGetDatum(workspace));
	else if (column->paths[0] != NULL && column->paths[0][0] == '=')
		*value = convert_given(column, row, isnull);
	else
	{
		node = row_node(column, row);
		if (dbx_json_type(node) > DBX_JSON_NULL)
			return convert_node(column, node, value, isnull);
		*isnull = true;
	}
	return true;
}

void
dbx_resource_values(const DbxResource *res, const DbxJson *element,
					const char *workspace, Datum *values, bool *nulls)
{
	int i;

	for (i = 0; i < res->ncolumns; i++)
		values[i] = dbx_resource_value(&res->columns[i], element, workspace,
									   &nulls[i]);
}

bool
dbx_resource_incomplete(const DbxResource *res, const DbxJson *element,
						const DbxColumn *column)
{
	bool more;

	if (res->get_call == NULL)
		return false;
	if ((column->flags & DBX_COLUMN_DETAIL) != 0 &&
		dbx_json_type(column_node(column, element)) <= DBX_JSON_NULL)
		return true;
	if ((column->flags & DBX_COLUMN_PAGED) == 0)
		return false;
	if (res->more_member != NULL &&
		dbx_json_bool(dbx_json_get(element, res->more_member), &more))
		return more;
	return maybe_cut(res, element, column);
}

bool
dbx_resource_nest_incomplete(const DbxResource *res, const DbxJson *element)
{
	bool more;

	if (res->get_call == NULL)
		return false;
	if (res->more_member != NULL &&
		dbx_json_bool(dbx_json_get(element, res->more_member), &more))
		return more;
	return res->more_length > 0 &&
		dbx_json_length(dbx_json_path(element, res->unnest)) >= res->more_length;
}

/*
 * Without a word from the service, an array as long as a page may be only the
 * first part.  A column that is a structure is cut where one of the arrays is
 * that it may hold.
 */
static bool
maybe_cut(const DbxResource *res, const DbxJson *element,
		  const DbxColumn *column)
{
	const DbxJson *node = column_node(column, element);
	int			   i;

	if (res->more_length <= 0)
		return false;
	if (dbx_json_type(node) == DBX_JSON_ARRAY)
		return dbx_json_length(node) >= res->more_length;

	for (i = 0; i < res->ncolumns; i++)
	{
		if ((res->columns[i].flags & DBX_COLUMN_PAGED) == 0)
			continue;
		node = column_node(&res->columns[i], element);
		if (dbx_json_type(node) == DBX_JSON_ARRAY &&
			dbx_json_length(node) >= res->more_length)
			return true;
	}
	return false;
}

/*
 * The node a column is read from: the first of its paths that says something.
 * An empty string gives way to a later path, since the service fills messages
 * that do not apply with it.
 */
static const DbxJson *
column_node(const DbxColumn *column, const DbxJson *element)
{
	const DbxJson *found = NULL;
	const char	  *text;
	int			   i;

	if (column->convert == DBX_CONVERT_ELEMENT ||
		column->convert == DBX_CONVERT_TASK_TYPE)
		return element;

	for (i = 0; i < DBX_COLUMN_PATHS && column->paths[i] != NULL; i++)
	{
		const DbxJson *node = column->paths[i][0] == '\0'
			? element
			: dbx_json_path(element, column->paths[i]);

		if (dbx_json_type(node) <= DBX_JSON_NULL)
			continue;
		text = dbx_json_string(node);
		if (text == NULL || text[0] != '\0')
			return node;
		if (found == NULL)
			found = node;
	}
	return found;
}

/* The same of a row; columns of its parent are so in all their paths. */
static const DbxJson *
row_node(const DbxColumn *column, const DbxRow *row)
{
	DbxColumn of_parent;
	int		  i;

	if (column->paths[0] == NULL || column->paths[0][0] != '^')
		return column_node(column, row->element);
	of_parent = *column;
	for (i = 0; i < DBX_COLUMN_PATHS && of_parent.paths[i] != NULL; i++)
		of_parent.paths[i]++;
	return column_node(&of_parent, row->parent);
}

/* A value that the list was asked for with: text, an id or a truth value. */
static Datum
convert_given(const DbxColumn *column, const DbxRow *row, bool *isnull)
{
	const char *value = NULL;
	ListCell   *cell;

	foreach(cell, row->given)
	{
		DbxGiven *given = (DbxGiven *) lfirst(cell);

		if (strcmp(given->name, column->paths[0] + 1) == 0)
			value = given->value;
	}
	if (column->convert == DBX_CONVERT_BOOLEAN)
		return BoolGetDatum(value != NULL && strcmp(value, "true") == 0);
	if (value == NULL)
	{
		*isnull = true;
		return (Datum) 0;
	}
	return CStringGetTextDatum(value);
}

/* Which kind of task it is: the member that says so. */
static const char *
task_type(const DbxJson *task)
{
	const DbxJson *member;

	for (member = dbx_json_first(task); member != NULL;
		 member = dbx_json_next(member))
	{
		const char *name = dbx_json_name(member);
		Size		length = name != NULL ? strlen(name) : 0;

		if (length > 5 && strcmp(name + length - 5, "_task") == 0 &&
			dbx_json_type(member) == DBX_JSON_OBJECT)
			return name;
	}
	return NULL;
}

static bool
convert_node(const DbxColumn *column, const DbxJson *node, Datum *value,
			 bool *isnull)
{
	int64		number;
	bool		truth;
	const char *text;

	switch (column->convert)
	{
		case DBX_CONVERT_BIGINT:
			if (!dbx_json_int64(node, &number))
				return false;
			*value = Int64GetDatum(number);
			return true;

		case DBX_CONVERT_INTEGER:
			if (!dbx_json_int64(node, &number) || number < PG_INT32_MIN ||
				number > PG_INT32_MAX)
				return false;
			*value = Int32GetDatum((int32) number);
			return true;

		case DBX_CONVERT_BOOLEAN:
			if (!dbx_json_bool(node, &truth))
				return false;
			*value = BoolGetDatum(truth);
			return true;

		case DBX_CONVERT_TIME_MS:
			return convert_time(node, value, isnull);

		case DBX_CONVERT_DURATION_MS:
			return convert_duration(node, value);

		case DBX_CONVERT_PARAMETERS:
			return convert_parameters(node, value);

		case DBX_CONVERT_RUN_STATE:
			text = dbx_json_text(node);
			if (dbx_json_name(node) != NULL &&
				strcmp(dbx_json_name(node), "life_cycle_state") == 0)
				text = map_life_cycle(text);
			*value = CStringGetTextDatum(text);
			return true;

		case DBX_CONVERT_RUN_RESULT:
			text = dbx_json_text(node);
			if (dbx_json_name(node) != NULL &&
				strcmp(dbx_json_name(node), "life_cycle_state") == 0)
				text = NULL;
			else if (dbx_json_name(node) != NULL &&
					 strcmp(dbx_json_name(node), "code") == 0)
				text = dbx_run_result_of_code(text);
			*isnull = text == NULL;
			if (text != NULL)
				*value = CStringGetTextDatum(text);
			return true;

		case DBX_CONVERT_TEXT:
			*value = CStringGetTextDatum(dbx_json_text(node));
			return true;

		case DBX_CONVERT_DOUBLE:
			if (dbx_json_type(node) != DBX_JSON_NUMBER)
				return false;
			*value = DirectFunctionCall1(float8in,
										 CStringGetDatum(dbx_json_text(node)));
			return true;

		case DBX_CONVERT_BASENAME:
			text = dbx_json_text(node);
			*value = CStringGetTextDatum(
				strrchr(text, '/') != NULL ? strrchr(text, '/') + 1 : text);
			return true;

		case DBX_CONVERT_TASK_TYPE:
			text = task_type(node);
			*isnull = text == NULL;
			if (text != NULL)
				*value = CStringGetTextDatum(text);
			return true;

		case DBX_CONVERT_JSONB:
		case DBX_CONVERT_ELEMENT:
			*value = JsonbPGetDatum(dbx_json_to_jsonb(node));
			return true;

		case DBX_CONVERT_WORKSPACE:
			break; /* needs no node */
	}

	elog(ERROR, "unrecognized conversion: %d", (int) column->convert);
	return false; /* keep compilers quiet */
}

/* Milliseconds since 1970; the service says 0 for "not yet" and "never". */
static bool
convert_time(const DbxJson *node, Datum *value, bool *isnull)
{
	int64 msecs;
	int64 usecs;

	if (!dbx_json_int64(node, &msecs) ||
		pg_mul_s64_overflow(msecs, INT64CONST(1000), &usecs) ||
		pg_add_s64_overflow(usecs, UNIX_EPOCH_USECS, &usecs) ||
		!IS_VALID_TIMESTAMP(usecs))
		return false;
	*isnull = msecs == 0;
	*value = TimestampTzGetDatum(usecs);
	return true;
}

/* Kept as time alone: days of 24 hours would not compare as people expect. */
static bool
convert_duration(const DbxJson *node, Datum *value)
{
	Interval *interval;
	int64	  msecs;
	int64	  usecs;

	if (!dbx_json_int64(node, &msecs) ||
		pg_mul_s64_overflow(msecs, INT64CONST(1000), &usecs))
		return false;
	interval = (Interval *) palloc0(sizeof(Interval));
	interval->time = usecs;
	*value = IntervalPGetDatum(interval);
	return true;
}

/*
 * Parameters come as an array of {name, default, value}; SQL wants the map of
 * names to values that starts a run.
 */
static bool
convert_parameters(const DbxJson *node, Datum *value)
{
	JsonbParseState *state = NULL;
	JsonbValue		*result;
	const DbxJson	*parameter;

	if (dbx_json_type(node) != DBX_JSON_ARRAY)
		return false;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (parameter = dbx_json_first(node); parameter != NULL;
		 parameter = dbx_json_next(parameter))
	{
		const char *name = dbx_json_string(dbx_json_get(parameter, "name"));
		const char *text = dbx_json_text(dbx_json_get(parameter, "value"));
		JsonbValue	item;

		if (name == NULL)
			return false;
		if (text == NULL)
			text = dbx_json_text(dbx_json_get(parameter, "default"));

		item.type = jbvString;
		item.val.string.val = unconstify(char *, name);
		item.val.string.len = strlen(name);
		pushJsonbValue(&state, WJB_KEY, &item);
		if (text == NULL)
			item.type = jbvNull;
		else
		{
			item.val.string.val = unconstify(char *, text);
			item.val.string.len = strlen(text);
		}
		pushJsonbValue(&state, WJB_VALUE, &item);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	*value = JsonbPGetDatum(JsonbValueToJsonb(result));
	return true;
}

/* What status.state would have said; values not known are kept. */
static const char *
map_life_cycle(const char *state)
{
	if (strcmp(state, "SKIPPED") == 0 || strcmp(state, "INTERNAL_ERROR") == 0)
		return "TERMINATED";
	if (strcmp(state, "WAITING_FOR_RETRY") == 0)
		return "WAITING";
	return state;
}

/* "a number: 17", for messages; of a long value only the beginning. */
static char *
show_value(const DbxJson *node)
{
	static const char *const kinds[] = {"nothing",	"null",		"a boolean",
										"a number", "a string", "an array",
										"an object"};
	DbxJsonType				 type = dbx_json_type(node);
	char					*shown;

	if (type <= DBX_JSON_NULL)
		return psprintf("%s.", kinds[type]);
	shown = pstrdup(dbx_redact(dbx_json_text(node)));
	if (strlen(shown) > SHOWN_VALUE_LENGTH)
		shown[pg_mbcliplen(shown, strlen(shown), SHOWN_VALUE_LENGTH)] = '\0';
	return psprintf("%s: %s", kinds[type], shown);
}

static void
cannot_convert(const DbxColumn *column, const DbxJson *node, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("the service sent a value that cannot be shown as %s",
					format_type_be(column->type)),
			 errdetail("The value is %s", show_value(node)),
			 errcontext("column \"%s\" of \"%s\"",
						column->label != NULL ? column->label : column->name,
						table)));
}
