/*
 * outputs.c
 *	  SQL entry points for what runs leave behind, and for repairing them.
 *
 * Separate from starting and waiting.  Outputs are per task and can be megabytes
 * each, so they are fetched side by side and every answer is gone as soon as its
 * row is made.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "api/many.h"
#include "api/repair.h"
#include "api/run.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_get_run_output);
PG_FUNCTION_INFO_V1(databricks_repair_run);

/* Columns of get_run_output(). */
enum
{
	COLUMN_TASK_KEY,
	COLUMN_TASK_RUN_ID,
	COLUMN_RESULT_STATE,
	COLUMN_RESULT,
	COLUMN_ERROR,
	COLUMN_ERROR_TRACE,
	COLUMN_LOGS,
	COLUMN_TRUNCATED,
	COLUMN_OUTPUT,
	OUTPUT_COLUMNS
};

/* A task run to ask for, and what the run already said of it. */
typedef struct TaskRun
{
	int64 id;
	char *task_key;
	char *result_state;
} TaskRun;

typedef struct Outputs
{
	const DbxWorkspace *workspace;
	int					count;
	TaskRun			   *tasks;
	TupleDesc			desc;
	MemoryContext		context; /* of the rows */
	HeapTuple		   *rows;	 /* in the order of the tasks */
} Outputs;

/*
 * A text without the escape sequences that colour it on a terminal: ESC [, digits
 * and semicolons, a letter; other sequences of two characters too.
 */
static char *
strip_ansi(const char *text)
{
	char	   *clean = palloc(strlen(text) + 1);
	char	   *out = clean;
	const char *at = text;

	while (*at)
	{
		if (*at != '\033')
		{
			*out++ = *at++;
			continue;
		}
		at++;
		if (*at == '[')
		{
			at++;
			/* parameters and intermediates, then the final byte */
			while (*at >= 0x20 && *at <= 0x3f)
				at++;
			if (*at >= 0x40 && *at <= 0x7e)
				at++;
		}
		else if (*at >= 0x40 && *at <= 0x5f)
			at++;
	}
	*out = '\0';
	return clean;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text, bool strip)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(strip ? strip_ansi(text) : text);
}

static void
make_output_call(void *arg, int number, DbxCallSpec *spec)
{
	Outputs		  *outputs = arg;
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", outputs->tasks[number].id);
	spec->method = "GET";
	spec->path = dbx_api_jobs_path(outputs->workspace, "runs/get-output");
	spec->query = query.data;
	spec->caller = "get_run_output";
}

static void
take_output(void *arg, int number, DbxCall *call)
{
	Outputs		  *outputs = arg;
	const TaskRun *task = &outputs->tasks[number];
	Datum		   values[OUTPUT_COLUMNS];
	bool		   nulls[OUTPUT_COLUMNS] = {0};
	bool		   cut = false;
	bool		   logs_cut = false;
	DbxRunState	   state;
	DbxJson		  *answer;
	const DbxJson *run;
	const char	  *task_key;
	MemoryContext  before;

	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
	answer = dbx_call_json(call);
	if (dbx_json_length(answer) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("the answer about the output of run " INT64_FORMAT
						" is empty",
						task->id)));
	run = dbx_json_get(answer, "metadata");
	dbx_run_read_state(run, &state);
	/* newer than what the run said, but the service need not repeat the key */
	task_key = dbx_json_string(dbx_json_get(run, "task_key"));
	set_text(values, nulls, COLUMN_TASK_KEY,
			 task_key ? task_key : task->task_key, false);
	values[COLUMN_TASK_RUN_ID] = Int64GetDatum(task->id);
	set_text(values, nulls, COLUMN_RESULT_STATE,
			 run ? state.result_state : task->result_state, false);
	set_text(values, nulls, COLUMN_RESULT,
			 dbx_json_text(dbx_json_path(answer, "notebook_output.result")),
			 false);
	set_text(values, nulls, COLUMN_ERROR,
			 dbx_json_string(dbx_json_get(answer, "error")), true);
	set_text(values, nulls, COLUMN_ERROR_TRACE,
			 dbx_json_string(dbx_json_get(answer, "error_trace")), true);
	set_text(values, nulls, COLUMN_LOGS,
			 dbx_json_string(dbx_json_get(answer, "logs")), true);
	(void) dbx_json_bool(dbx_json_path(answer, "notebook_output.truncated"),
						 &cut);
	(void) dbx_json_bool(dbx_json_get(answer, "logs_truncated"), &logs_cut);
	values[COLUMN_TRUNCATED] = BoolGetDatum(cut || logs_cut);
	/* what has a column of its own is not given twice */
	dbx_json_remove(answer, "metadata");
	dbx_json_remove(answer, "error");
	dbx_json_remove(answer, "error_trace");
	dbx_json_remove(answer, "logs");
	dbx_json_remove(answer, "logs_truncated");
	if (!nulls[COLUMN_RESULT])
		dbx_json_remove(answer, "notebook_output");
	values[COLUMN_OUTPUT] = JsonbPGetDatum(dbx_json_to_jsonb(answer));
	before = MemoryContextSwitchTo(outputs->context);
	outputs->rows[number] = heap_form_tuple(outputs->desc, values, nulls);
	MemoryContextSwitchTo(before);
}

static void
spec_run(const DbxWorkspace *workspace, int64 run_id, DbxCallSpec *spec)
{
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add_int64(&query, "run_id", run_id);
	spec->method = "GET";
	spec->path = dbx_api_jobs_path(workspace, "runs/get");
	spec->query = query.data;
	spec->caller = "get_run_output";
}

/* Add a run of a task, in the current context; "task" is what tells of it. */
static void
add_run(Outputs *outputs, int64 run_id, const DbxJson *task)
{
	const char *task_key = dbx_json_string(dbx_json_get(task, "task_key"));
	TaskRun	   *added;
	DbxRunState state;

	outputs->tasks = outputs->tasks
		? repalloc(outputs->tasks, sizeof(TaskRun) * (outputs->count + 1))
		: palloc(sizeof(TaskRun));
	added = &outputs->tasks[outputs->count++];
	dbx_run_read_state(task, &state);
	added->id = run_id;
	added->task_key = task_key ? pstrdup(task_key) : NULL;
	added->result_state = state.result_state ? pstrdup(state.result_state)
											 : NULL;
}

/* What a for-each task did is in the runs of its iterations. */
static void
add_iterations(Outputs *outputs, const DbxJson *run)
{
	const DbxJson *iteration;
	int64		   run_id;

	for (iteration = dbx_json_first(dbx_json_get(run, "iterations"));
		 iteration != NULL; iteration = dbx_json_next(iteration))
	{
		if (dbx_json_int64(dbx_json_get(iteration, "run_id"), &run_id))
			add_run(outputs, run_id, iteration);
	}
}

/* The tasks of a run that have iterations. */
typedef struct ForEachTasks
{
	const DbxWorkspace *workspace;
	int64			   *ids;
	Outputs			   *outputs; /* what was found of each */
	MemoryContext		context;
} ForEachTasks;

static void
make_for_each(void *arg, int number, DbxCallSpec *spec)
{
	ForEachTasks *tasks = arg;

	spec_run(tasks->workspace, tasks->ids[number], spec);
}

static void
take_for_each(void *arg, int number, DbxCall *call)
{
	ForEachTasks *tasks = arg;
	DbxCallSpec	  spec = {0};
	DbxJson		 *run;
	MemoryContext before;

	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
	run = dbx_call_json(call);
	spec_run(tasks->workspace, tasks->ids[number], &spec);
	dbx_api_merge_rest(tasks->workspace, &spec, run);
	before = MemoryContextSwitchTo(tasks->context);
	add_iterations(&tasks->outputs[number], run);
	MemoryContextSwitchTo(before);
}

/* The iterations of some tasks, those of each in its place. */
static Outputs *
find_iterations(const DbxWorkspace *workspace, int64 *ids, int count)
{
	ForEachTasks tasks = {0};
	DbxMany		 many = {0};

	tasks.workspace = workspace;
	tasks.ids = ids;
	tasks.outputs = palloc0(sizeof(Outputs) * Max(count, 1));
	tasks.context = CurrentMemoryContext;
	many.workspace = workspace;
	many.count = count;
	many.make = make_for_each;
	many.take = take_for_each;
	many.arg = &tasks;
	dbx_many_run(&many);
	return tasks.outputs;
}

/* The task runs whose outputs make up that of a run. */
static void
find_task_runs(Outputs *outputs, int64 run_id)
{
	DbxCallSpec spec = {0};
	DbxJson	   *run;
	List	   *tasks;
	ListCell   *cell;
	int64	   *for_each;
	Outputs	   *found;
	int			count = 0;
	int			i;

	spec_run(outputs->workspace, run_id, &spec);
	run = dbx_api_get_merged(outputs->workspace, &spec);
	tasks = dbx_run_latest_tasks(run);
	/* the run of a task, also one that lists itself or its iterations */
	if (dbx_json_get(run, "task_key") != NULL || tasks == NIL)
	{
		add_run(outputs, run_id, run);
		add_iterations(outputs, run);
		return;
	}
	for_each = palloc(sizeof(int64) * list_length(tasks));
	foreach(cell, tasks)
	{
		int64 task_run_id;

		if (dbx_json_get(lfirst(cell), "for_each_task") != NULL &&
			dbx_json_int64(dbx_json_get(lfirst(cell), "run_id"), &task_run_id) &&
			task_run_id != run_id)
			for_each[count++] = task_run_id;
	}
	found = find_iterations(outputs->workspace, for_each, count);
	count = 0;
	foreach(cell, tasks)
	{
		int64 task_run_id;

		if (!dbx_json_int64(dbx_json_get(lfirst(cell), "run_id"), &task_run_id))
			continue;
		add_run(outputs, task_run_id, lfirst(cell));
		if (dbx_json_get(lfirst(cell), "for_each_task") == NULL ||
			task_run_id == run_id)
			continue;
		outputs->tasks = repalloc(outputs->tasks,
								  sizeof(TaskRun) *
									  (outputs->count + found[count].count));
		for (i = 0; i < found[count].count; i++)
			outputs->tasks[outputs->count++] = found[count].tasks[i];
		count++;
	}
}

Datum
databricks_get_run_output(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Outputs		   outputs = {0};
	DbxMany		   many = {0};
	int			   i;

	dbx_arg_require(fcinfo, 0, "run_id");
	outputs.workspace = dbx_arg_workspace(fcinfo, 1);
	InitMaterializedSRF(fcinfo, 0);
	outputs.desc = set->setDesc;
	find_task_runs(&outputs, PG_GETARG_INT64(0));
	outputs.context = CurrentMemoryContext;
	outputs.rows = palloc0(sizeof(HeapTuple) * Max(outputs.count, 1));
	many.workspace = outputs.workspace;
	many.count = outputs.count;
	many.make = make_output_call;
	many.take = take_output;
	many.arg = &outputs;
	dbx_many_run(&many);
	for (i = 0; i < outputs.count; i++)
		tuplestore_puttuple(set->setResult, outputs.rows[i]);
	return (Datum) 0;
}

Datum
databricks_repair_run(PG_FUNCTION_ARGS)
{
	DbxWorkspace *workspace;
	Jsonb		 *options = DBX_ARG_JSONB(1);

	dbx_arg_require(fcinfo, 0, "run_id");
	workspace = dbx_arg_workspace(fcinfo, 2);
	PG_RETURN_INT64(
		dbx_run_repair(workspace, PG_GETARG_INT64(0),
					   options ? dbx_json_from_jsonb(options, "options") : NULL,
					   "repair_run"));
}
