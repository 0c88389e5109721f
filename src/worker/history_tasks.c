/*
 * history_tasks.c
 *	  Writing the task runs of runs into task_history.
 *
 * Separate from the runs because tasks have a descriptor and a table of their
 * own.  Those of a page of runs are written by one statement.  It passes over
 * what is known already: even an upsert that changes nothing would lock the
 * row.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "api/resource.h"
#include "worker/history_tasks.h"
#include "worker/rows.h"

#define RES (&dbx_resource_run_tasks)

/* Behind the columns of the key, all of the descriptor but this one. */
static const char *const columns[] = {
	"task_key",			  "attempt_number",	  "state",
	"result_state",		  "life_cycle_state", "termination_code",
	"termination_type",	  "state_message",	  "start_time",
	"end_time",			  "queue_duration",	  "setup_duration",
	"execution_duration", "cleanup_duration", "depends_on",
	"cluster_id",		  "run_page_url"};

enum
{
	ROW_RUN_ID,
	ROW_TASK_RUN_ID,
	ROW_PLACE,		 /* in the list of the run's tasks */
	ROW_NEW_CLUSTER, /* of the task, or of the job's cluster it uses */
	ROW_COLUMNS,
	ROW_LENGTH = ROW_COLUMNS + lengthof(columns)
};

static DbxRowType		row_type;
static SPIPlanPtr		write_plan = NULL;
static const DbxColumn *row_columns[lengthof(columns)];

static void			  prepare(void);
static char			 *write_statement(void);
static void			  take_row(const DbxJson *task, const DbxJson *clusters,
							   Datum *values, bool *nulls);
static const DbxJson *new_cluster(const DbxJson *task, const DbxJson *clusters);

void
dbx_history_tasks_add(DbxTaskRows *tasks, const DbxSeenRun *run)
{
	const DbxJson *list = dbx_json_get(run->element, "tasks");
	const DbxJson *clusters = dbx_json_get(run->element, "job_clusters");
	Datum		   values[ROW_LENGTH];
	bool		   nulls[ROW_LENGTH];
	int			   place = 0;

	if (dbx_json_type(list) != DBX_JSON_ARRAY)
		return;
	prepare();
	for (const DbxJson *task = dbx_json_first(list); task != NULL;
		 task = dbx_json_next(task))
	{
		int64 task_run_id;

		if (!dbx_json_int64(dbx_json_get(task, "run_id"), &task_run_id))
			continue;
		memset(nulls, 0, sizeof(nulls));
		values[ROW_RUN_ID] = Int64GetDatum(run->run_id);
		values[ROW_TASK_RUN_ID] = Int64GetDatum(task_run_id);
		values[ROW_PLACE] = Int32GetDatum(place++);
		take_row(task, clusters, values, nulls);
		if (tasks->count == tasks->capacity)
		{
			tasks->capacity = Max(64, tasks->capacity * 2);
			tasks->rows = tasks->rows == NULL
				? palloc(sizeof(Datum) * tasks->capacity)
				: repalloc(tasks->rows, sizeof(Datum) * tasks->capacity);
		}
		tasks->rows[tasks->count++] = dbx_rows_make(&row_type, values, nulls);
	}
}

int
dbx_history_tasks_write(const DbxTaskRows *tasks, const char *workspace)
{
	if (tasks->count == 0)
		return 0;
	dbx_rows_execute(write_plan, SPI_OK_INSERT, tasks->rows, tasks->count,
					 CStringGetTextDatum(workspace));
	return (int) SPI_processed;
}

/* ---- the statement ---- */

static void
prepare(void)
{
	static const char *const key[] = {"run_id", "task_run_id", "place",
									  "new_cluster"};
	static const Oid key_types[] = {INT8OID, INT8OID, INT4OID, JSONBOID};
	const char		*names[ROW_LENGTH];
	Oid				 types[ROW_LENGTH];
	Oid				 parameters[] = {RECORDARRAYOID, TEXTOID};

	if (write_plan != NULL)
		return;
	for (int i = 0; i < ROW_LENGTH; i++)
	{
		const DbxColumn *column;

		if (i < ROW_COLUMNS)
		{
			names[i] = key[i];
			types[i] = key_types[i];
			continue;
		}
		column = &RES->columns[dbx_resource_column(RES, columns[i - ROW_COLUMNS])];
		row_columns[i - ROW_COLUMNS] = column;
		names[i] = column->name;
		types[i] = column->type;
	}
	if (row_type.source == NULL)
		dbx_rows_describe(&row_type, ROW_LENGTH, names, types);
	write_plan = dbx_rows_prepare(write_statement(), lengthof(parameters),
								  parameters);
}

/*
 * Where pages of tasks have moved while they were read, one may be there twice:
 * the later one holds, before it is settled which attempt is the latest.
 *
 * OFFSET 0 keeps the planner from a join, which it might plan for a small table
 * and keep for a large one: each row is to be found by its key.
 */
static char *
write_statement(void)
{
	StringInfoData names;
	StringInfoData selected;
	StringInfoData same;
	StringInfoData changes;

	initStringInfo(&names);
	initStringInfo(&selected);
	initStringInfo(&same);
	initStringInfo(&changes);
	for (int i = -2; i < (int) lengthof(columns); i++)
	{
		const char *name = i == -2 ? "is_latest"
			: i == -1			   ? "new_cluster"
								   : columns[i];

		appendStringInfo(&names, ", %s", name);
		appendStringInfo(&selected, ", n.%s", name);
		appendStringInfo(&same, " AND h.%s IS NOT DISTINCT FROM n.%s", name,
						 name);
		appendStringInfo(&changes, "%s%s = excluded.%s", i > -2 ? ", " : "",
						 name, name);
	}
	return psprintf(
		"INSERT INTO databricks.task_history"
		" (workspace, run_id, task_run_id%s)"
		" SELECT $2, n.run_id, n.task_run_id%s FROM"
		" (SELECT n.*, row_number() OVER (PARTITION BY n.run_id, n.task_key"
		"   ORDER BY COALESCE(n.start_time, n.end_time, CASE n.state"
		"     WHEN 'TERMINATED' THEN timestamptz '-infinity' ELSE 'infinity' END) DESC,"
		"    n.attempt_number DESC NULLS LAST, n.place DESC) = 1 AS is_latest"
		"  FROM (SELECT DISTINCT ON (n.run_id, n.task_run_id) n.* FROM %s"
		"   ORDER BY n.run_id, n.task_run_id, n.place DESC) AS n) AS n"
		" WHERE NOT EXISTS (SELECT FROM databricks.task_history AS h"
		"  WHERE h.workspace = $2 AND h.run_id = n.run_id"
		"  AND h.task_run_id = n.task_run_id%s OFFSET 0)"
		" ON CONFLICT (workspace, run_id, task_run_id) DO UPDATE SET %s",
		names.data, selected.data, row_type.source, same.data, changes.data);
}

/* ---- one task run ---- */

static void
take_row(const DbxJson *task, const DbxJson *clusters, Datum *values,
		 bool *nulls)
{
	const DbxJson *cluster = new_cluster(task, clusters);

	nulls[ROW_NEW_CLUSTER] = cluster == NULL;
	if (cluster != NULL)
		values[ROW_NEW_CLUSTER] = JsonbPGetDatum(dbx_json_to_jsonb(cluster));
	for (int i = 0; i < lengthof(columns); i++)
		values[ROW_COLUMNS + i] = dbx_resource_value(row_columns[i], task, "",
													 &nulls[ROW_COLUMNS + i]);
}

static const DbxJson *
new_cluster(const DbxJson *task, const DbxJson *clusters)
{
	const DbxJson *own = dbx_json_get(task, "new_cluster");
	const char	  *key = dbx_json_string(dbx_json_get(task, "job_cluster_key"));

	if (own != NULL || key == NULL)
		return own;
	return dbx_json_get(dbx_json_find(clusters, "job_cluster_key", key),
						"new_cluster");
}
