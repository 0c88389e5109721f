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
#include "http/http.h"

/* Epoch of the service (1970) in PostgreSQL's microseconds since 2000. */
#define UNIX_EPOCH_USECS \
	(-(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* How much of a value that cannot be converted is shown. */
#define SHOWN_VALUE_LENGTH 60

typedef struct ConversionPosition
{
	const char *table;
	const char *column;
} ConversionPosition;

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
static Datum		  convert_given(const DbxColumn *column, const DbxRow *row,
									bool *isnull);
static const char	 *task_type(const DbxJson *task);
static Datum		  convert_node(const DbxColumn *column, const DbxJson *node,
								   bool *isnull);
static Datum		  convert_time(const DbxColumn *column, const DbxJson *node,
								   bool *isnull);
static Datum convert_duration(const DbxColumn *column, const DbxJson *node);
static Datum convert_parameters(const DbxColumn *column, const DbxJson *node);
static const char *map_life_cycle(const char *state);
static int64	   node_int64(const DbxColumn *column, const DbxJson *node);
static pg_noreturn void cannot_convert(const DbxColumn *column,
									   const DbxJson   *node);
static void				conversion_error_callback(void *arg);
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
				   const char *workspace, const char *table, bool *isnull)
{
	DbxRow row = {element, NULL, NIL};

	return dbx_resource_row_value(column, &row, workspace, table, isnull);
}

Datum
dbx_resource_row_value(const DbxColumn *column, const DbxRow *row,
					   const char *workspace, const char *table, bool *isnull)
{
	ErrorContextCallback callback;
	ConversionPosition	 position;
	const DbxJson		*node;
	Datum				 value = (Datum) 0;

	position.table = table;
	position.column = column->label != NULL ? column->label : column->name;
	callback.callback = conversion_error_callback;
	callback.arg = &position;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	*isnull = false;
	if (column->convert == DBX_CONVERT_WORKSPACE)
		value = DirectFunctionCall1(namein, CStringGetDatum(workspace));
	else if (column->paths[0] != NULL && column->paths[0][0] == '=')
		value = convert_given(column, row, isnull);
	else
	{
		node = row_node(column, row);
		if (dbx_json_type(node) <= DBX_JSON_NULL)
			*isnull = true;
		else
			value = convert_node(column, node, isnull);
	}

	error_context_stack = callback.previous;
	return value;
}

void
dbx_resource_values(const DbxResource *res, const DbxJson *element,
					const char *workspace, Datum *values, bool *nulls)
{
	int i;

	for (i = 0; i < res->ncolumns; i++)
		values[i] = dbx_resource_value(&res->columns[i], element, workspace,
									   res->name, &nulls[i]);
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

static Datum
convert_node(const DbxColumn *column, const DbxJson *node, bool *isnull)
{
	int64		number;
	bool		truth;
	const char *text;

	switch (column->convert)
	{
		case DBX_CONVERT_BIGINT:
			return Int64GetDatum(node_int64(column, node));

		case DBX_CONVERT_INTEGER:
			number = node_int64(column, node);
			if (number < PG_INT32_MIN || number > PG_INT32_MAX)
				cannot_convert(column, node);
			return Int32GetDatum((int32) number);

		case DBX_CONVERT_BOOLEAN:
			if (!dbx_json_bool(node, &truth))
				cannot_convert(column, node);
			return BoolGetDatum(truth);

		case DBX_CONVERT_TIME_MS:
			return convert_time(column, node, isnull);

		case DBX_CONVERT_DURATION_MS:
			return convert_duration(column, node);

		case DBX_CONVERT_PARAMETERS:
			return convert_parameters(column, node);

		case DBX_CONVERT_RUN_STATE:
			text = dbx_json_text(node);
			if (dbx_json_name(node) != NULL &&
				strcmp(dbx_json_name(node), "life_cycle_state") == 0)
				text = map_life_cycle(text);
			return CStringGetTextDatum(text);

		case DBX_CONVERT_TEXT:
			return CStringGetTextDatum(dbx_json_text(node));

		case DBX_CONVERT_DOUBLE:
			if (dbx_json_type(node) != DBX_JSON_NUMBER)
				cannot_convert(column, node);
			return DirectFunctionCall1(float8in,
									   CStringGetDatum(dbx_json_text(node)));

		case DBX_CONVERT_BASENAME:
			text = dbx_json_text(node);
			return CStringGetTextDatum(
				strrchr(text, '/') != NULL ? strrchr(text, '/') + 1 : text);

		case DBX_CONVERT_TASK_TYPE:
			text = task_type(node);
			if (text == NULL)
			{
				*isnull = true;
				return (Datum) 0;
			}
			return CStringGetTextDatum(text);

		case DBX_CONVERT_JSONB:
		case DBX_CONVERT_ELEMENT:
			return JsonbPGetDatum(dbx_json_to_jsonb(node));

		case DBX_CONVERT_WORKSPACE:
			break; /* needs no node */
	}

	elog(ERROR, "unrecognized conversion: %d", (int) column->convert);
	return (Datum) 0; /* keep compilers quiet */
}

/* Milliseconds since 1970; the service says 0 for "not yet" and "never". */
static Datum
convert_time(const DbxColumn *column, const DbxJson *node, bool *isnull)
{
	int64 msecs = node_int64(column, node);
	int64 usecs;

	if (msecs == 0)
	{
		*isnull = true;
		return (Datum) 0;
	}
	if (pg_mul_s64_overflow(msecs, INT64CONST(1000), &usecs) ||
		pg_add_s64_overflow(usecs, UNIX_EPOCH_USECS, &usecs) ||
		!IS_VALID_TIMESTAMP(usecs))
		cannot_convert(column, node);
	return TimestampTzGetDatum(usecs);
}

/* Kept as time alone: days of 24 hours would not compare as people expect. */
static Datum
convert_duration(const DbxColumn *column, const DbxJson *node)
{
	Interval *interval = (Interval *) palloc0(sizeof(Interval));
	int64	  usecs;

	if (pg_mul_s64_overflow(node_int64(column, node), INT64CONST(1000), &usecs))
		cannot_convert(column, node);
	interval->time = usecs;
	return IntervalPGetDatum(interval);
}

/*
 * Parameters come as an array of {name, default, value}; SQL wants the map of
 * names to values that starts a run.
 */
static Datum
convert_parameters(const DbxColumn *column, const DbxJson *node)
{
	JsonbParseState *state = NULL;
	JsonbValue		*result;
	const DbxJson	*parameter;

	if (dbx_json_type(node) != DBX_JSON_ARRAY)
		cannot_convert(column, node);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (parameter = dbx_json_first(node); parameter != NULL;
		 parameter = dbx_json_next(parameter))
	{
		const char *name = dbx_json_string(dbx_json_get(parameter, "name"));
		const char *text = dbx_json_text(dbx_json_get(parameter, "value"));
		JsonbValue	item;

		if (name == NULL)
			cannot_convert(column, node);
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
	return JsonbPGetDatum(JsonbValueToJsonb(result));
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

static int64
node_int64(const DbxColumn *column, const DbxJson *node)
{
	int64 value = 0;

	if (!dbx_json_int64(node, &value))
		cannot_convert(column, node);
	return value;
}

static void
cannot_convert(const DbxColumn *column, const DbxJson *node)
{
	static const char *const kinds[] = {"nothing",	"null",		"a boolean",
										"a number", "a string", "an array",
										"an object"};
	char					*shown = pstrdup(dbx_redact(dbx_json_text(node)));

	if (strlen(shown) > SHOWN_VALUE_LENGTH)
		shown[pg_mbcliplen(shown, strlen(shown), SHOWN_VALUE_LENGTH)] = '\0';

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("the service sent a value that cannot be shown as %s",
					format_type_be(column->type)),
			 errdetail("The value is %s: %s", kinds[dbx_json_type(node)],
					   shown)));
}

static void
conversion_error_callback(void *arg)
{
	ConversionPosition *position = (ConversionPosition *) arg;

	errcontext("column \"%s\" of \"%s\"", position->column, position->table);
}
