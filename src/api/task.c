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
#define MAX_CHOICE	 4
#define LONGEST_KEY	 100
#define FOR_EACH	 "for_each_task"

/* Kinds of tasks whose bodies must have something. */
typedef struct TaskKind
{
	const char *member;
	const char *required[MAX_REQUIRED];
	const char *one_of[MAX_CHOICE];
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
	{FOR_EACH, {"inputs", "task"}},
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
	{"sql_task", {"warehouse_id"}, {"query", "file", "alert", "dashboard"}},
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

static bool
is_given(const DbxJson *object, const char *name)
{
	return dbx_json_type(dbx_json_get(object, name)) > DBX_JSON_NULL;
}

static void
check_choice(const char *key, const TaskKind *kind, const DbxJson *body)
{
	StringInfoData names;
	int			   given = 0;
	int			   i;

	initStringInfo(&names);
	for (i = 0; i < MAX_CHOICE && kind->one_of[i]; i++)
	{
		given += is_given(body, kind->one_of[i]);
		appendStringInfo(&names, "%s\"%s\"", i ? ", " : "", kind->one_of[i]);
	}
	if (i > 0 && given != 1)
		dbx_job_bad_settings(
			psprintf("The \"%s\" of task \"%s\" needs exactly one of %s.",
					 kind->member, key, names.data));
}

/* What is done for each is a task, too, though it may not be of this kind. */
static void
check_for_each(const char *key, const DbxJson *body)
{
	const DbxJson *task = dbx_json_get(body, "task");

	if (dbx_json_string(dbx_json_get(body, "inputs")) == NULL)
		dbx_job_bad_settings(psprintf(
			"The \"inputs\" of task \"%s\" must be a text: a JSON array as text, or a reference to one.",
			key));
	dbx_task_check(task);
	if (is_given(task, FOR_EACH))
		dbx_job_bad_settings(
			psprintf("Task \"%s\" repeats a task that repeats one itself.", key));
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
	if (kind == NULL)
		return;
	for (i = 0; i < MAX_REQUIRED && kind->required[i]; i++)
	{
		if (!is_given(body, kind->required[i]))
			dbx_job_bad_settings(
				psprintf("The \"%s\" of task \"%s\" needs \"%s\".",
						 kind->member, key, kind->required[i]));
	}
	check_choice(key, kind, body);
	if (strcmp(kind->member, FOR_EACH) == 0)
		check_for_each(key, body);
}

static void
check_needs(const char *key, const DbxJson *needs)
{
	const DbxJson *need;

	if (dbx_json_type(needs) > DBX_JSON_NULL &&
		dbx_json_type(needs) != DBX_JSON_ARRAY)
		dbx_job_bad_settings(
			psprintf("The \"depends_on\" of task \"%s\" must be an array.", key));
	for (need = dbx_json_first(needs); need != NULL; need = dbx_json_next(need))
	{
		const DbxJson *outcome = dbx_json_get(need, "outcome");
		const char	  *text = dbx_json_string(outcome);

		if (dbx_json_string(dbx_json_get(need, "task_key")) == NULL)
			dbx_job_bad_settings(
				psprintf("A dependency of task \"%s\" has no \"task_key\".",
						 key));
		if (dbx_json_type(outcome) > DBX_JSON_NULL &&
			(text == NULL ||
			 (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)))
			dbx_job_bad_settings(psprintf(
				"The \"outcome\" that task \"%s\" depends on must be the text true or false.",
				key));
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

	if (dbx_json_type(task) != DBX_JSON_OBJECT)
		dbx_job_bad_settings("Each task must be an object.");
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
	check_needs(key, dbx_json_get(task, "depends_on"));
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
		int			place = place_of_key(graph, key);

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
dbx_task_check_compute(const DbxJson *tasks, const DbxJson *settings)
{
	static const char *const shared[][2] = {{"job_cluster_key", "job_clusters"},
											{"environment_key", "environments"}};
	const DbxJson			*task;
	int						 i;

	for (task = dbx_json_first(tasks); task != NULL; task = dbx_json_next(task))
	{
		for (i = 0; i < (int) lengthof(shared); i++)
		{
			const char *key = dbx_json_string(dbx_json_get(task, shared[i][0]));

			if (key != NULL &&
				dbx_json_find(dbx_json_get(settings, shared[i][1]),
							  shared[i][0], key) == NULL)
				dbx_job_bad_settings(psprintf(
					"Task \"%s\" has the %s \"%s\", which is not among the \"%s\".",
					dbx_json_string(dbx_json_get(task, "task_key")),
					shared[i][0], key, shared[i][1]));
		}
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
