/*
 * task.c
 *	  Tasks of jobs, checked before they are sent.
 *
 * Separate because the service finds some of these faults only when the run has
 * begun, and says of others only that the request is bad.  What it may learn to
 * do is let through: kinds of tasks and members that are not known here.
 */
#include "postgres.h"

#include "api/job.h"
#include "api/task.h"

#define MAX_REQUIRED 3
#define LONGEST_KEY	 100

/* Kinds of tasks whose bodies must have something. */
typedef struct TaskKind
{
	const char *member;
	const char *required[MAX_REQUIRED];
} TaskKind;

static const TaskKind kinds[] = {
	{"ai_runtime_task", {"experiment", "deployments"}},
	{"alert_task", {NULL}},
	{"clean_rooms_notebook_task", {"clean_room_name", "notebook_name"}},
	{"condition_task", {"op", "left", "right"}},
	{"dashboard_task", {NULL}},
	{"dbt_cloud_task", {NULL}},
	{"dbt_platform_task", {NULL}},
	{"dbt_task", {"commands"}},
	{"for_each_task", {"inputs", "task"}},
	{"gen_ai_compute_task", {NULL}},
	{"notebook_task", {"notebook_path"}},
	{"pipeline_task", {"pipeline_id"}},
	{"power_bi_task", {NULL}},
	{"python_operator_task", {NULL}},
	{"python_wheel_task", {"package_name", "entry_point"}},
	{"run_job_task", {"job_id"}},
	{"spark_jar_task", {NULL}},
	{"spark_python_task", {"python_file"}},
	{"spark_submit_task", {NULL}},
	{"sql_task", {"warehouse_id"}},
};

static const char *const computes[] = {"existing_cluster_id", "new_cluster",
									   "job_cluster_key", "environment_key"};

/* The tasks of a job and what each depends on, by place in the array. */
typedef struct TaskGraph
{
	int				count;
	const DbxJson **tasks;
	const char	  **keys;
	List		  **needs; /* of int */
} TaskGraph;

static bool
ends_with_task(const char *name)
{
	Size length = strlen(name);

	return length > 5 && strcmp(name + length - 5, "_task") == 0;
}

static const TaskKind *
find_kind(const char *member)
{
	int i;

	for (i = 0; i < (int) lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].member, member) == 0)
			return &kinds[i];
	}
	return NULL;
}

const char *
dbx_task_member(const char *type)
{
	const TaskKind *kind = find_kind(type);
	StringInfoData	names;
	int				i;

	if (kind == NULL)
		kind = find_kind(psprintf("%s_task", type));
	if (kind != NULL)
		return kind->member;
	initStringInfo(&names);
	for (i = 0; i < (int) lengthof(kinds); i++)
		appendStringInfo(&names, "%s%.*s", i ? ", " : "",
						 (int) strlen(kinds[i].member) - 5, kinds[i].member);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown type of task: \"%s\"", type),
			 errhint("Known are %s.", names.data)));
}

static void
check_body(const char *key, const DbxJson *body)
{
	const TaskKind *kind = find_kind(dbx_json_name(body));
	int				i;

	if (dbx_json_type(body) != DBX_JSON_OBJECT)
		dbx_job_bad_settings(
			psprintf("Member \"%s\" of task \"%s\" must be an object.",
					 dbx_json_name(body), key));
	for (i = 0; kind != NULL && i < MAX_REQUIRED && kind->required[i]; i++)
	{
		const DbxJson *given = dbx_json_get(body, kind->required[i]);

		if (given == NULL || dbx_json_type(given) == DBX_JSON_NULL)
			dbx_job_bad_settings(
				psprintf("The \"%s\" of task \"%s\" needs \"%s\".",
						 kind->member, key, kind->required[i]));
	}
}

void
dbx_task_check(const DbxJson *task)
{
	const char	  *key = dbx_json_string(dbx_json_get(task, "task_key"));
	const DbxJson *member;
	const char	  *body = NULL;
	const char	  *compute = NULL;
	int			   i;

	if (key == NULL || !*key)
		dbx_job_bad_settings("Each task needs a \"task_key\".");
	if (strlen(key) > LONGEST_KEY ||
		strspn(key,
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") !=
			strlen(key))
		dbx_job_bad_settings(psprintf(
			"The task key \"%s\" must consist of at most %d letters, digits, underscores and dashes.",
			key, LONGEST_KEY));
	for (member = dbx_json_first(task); member != NULL;
		 member = dbx_json_next(member))
	{
		const char *name = dbx_json_name(member);

		if (dbx_json_type(member) == DBX_JSON_NULL)
			continue;
		for (i = 0; i < (int) lengthof(computes); i++)
		{
			if (strcmp(name, computes[i]) != 0)
				continue;
			if (compute != NULL)
				dbx_job_bad_settings(
					psprintf("Task \"%s\" has both \"%s\" and \"%s\".", key,
							 compute, name));
			compute = name;
		}
		if (!ends_with_task(name))
			continue;
		if (body != NULL)
			dbx_job_bad_settings(
				psprintf("Task \"%s\" has both \"%s\" and \"%s\".", key, body,
						 name));
		body = name;
		check_body(key, member);
	}
	if (body == NULL)
		dbx_job_bad_settings(psprintf(
			"Task \"%s\" has nothing to do: it needs a \"notebook_task\" or another kind of task.",
			key));
}

static int
place_of_key(const TaskGraph *graph, const char *key)
{
	int i;

	for (i = 0; i < graph->count; i++)
	{
		if (strcmp(graph->keys[i], key) == 0)
			return i;
	}
	return -1;
}

static void
add_needs(TaskGraph *graph, int number)
{
	const DbxJson *needs = dbx_json_get(graph->tasks[number], "depends_on");
	const DbxJson *need;

	for (need = dbx_json_first(needs); need != NULL; need = dbx_json_next(need))
	{
		const char *key = dbx_json_string(dbx_json_get(need, "task_key"));
		int			place;

		if (key == NULL)
			dbx_job_bad_settings(
				psprintf("A dependency of task \"%s\" has no \"task_key\".",
						 graph->keys[number]));
		place = place_of_key(graph, key);
		if (place < 0 || place == number)
			dbx_job_bad_settings(
				psprintf("Task \"%s\" depends on \"%s\", which is %s.",
						 graph->keys[number], key,
						 place < 0 ? "not among the tasks" : "itself"));
		graph->needs[number] = lappend_int(graph->needs[number], place);
	}
}

/* Take away what depends on nothing that is left; a circle remains. */
static void
check_circles(const TaskGraph *graph)
{
	bool *done = palloc0(sizeof(bool) * graph->count);
	int	  left = graph->count;
	bool  progress = true;
	int	  i;

	while (left > 0 && progress)
	{
		progress = false;
		for (i = 0; i < graph->count; i++)
		{
			ListCell *cell;
			bool	  ready = !done[i];

			foreach(cell, graph->needs[i])
				ready &= done[lfirst_int(cell)];
			if (!ready)
				continue;
			done[i] = true;
			progress = true;
			left--;
		}
	}
	for (i = 0; left > 0 && i < graph->count; i++)
	{
		if (!done[i])
			dbx_job_bad_settings(psprintf(
				"Task \"%s\" depends on tasks that, in the end, depend on it or on each other.",
				graph->keys[i]));
	}
}

void
dbx_task_check_all(const DbxJson *tasks)
{
	TaskGraph	   graph = {0};
	const DbxJson *task;
	int			   count;
	int			   i;

	if (dbx_json_type(tasks) != DBX_JSON_ARRAY)
		dbx_job_bad_settings("Member \"tasks\" must be an array.");
	count = dbx_json_length(tasks);
	graph.tasks = palloc(sizeof(DbxJson *) * Max(count, 1));
	graph.keys = palloc(sizeof(char *) * Max(count, 1));
	graph.needs = palloc0(sizeof(List *) * Max(count, 1));
	for (task = dbx_json_first(tasks); task != NULL; task = dbx_json_next(task))
	{
		const char *key;

		dbx_task_check(task);
		key = dbx_json_string(dbx_json_get(task, "task_key"));
		if (place_of_key(&graph, key) >= 0)
			dbx_job_bad_settings(
				psprintf("The task key \"%s\" is there twice.", key));
		graph.tasks[graph.count] = task;
		graph.keys[graph.count++] = key;
	}
	for (i = 0; i < graph.count; i++)
		add_needs(&graph, i);
	check_circles(&graph);
}
