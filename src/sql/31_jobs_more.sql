
/*
 * 31_jobs_more.sql
 *	  Jobs as a whole: put by name, paused and resumed, built up in SQL.
 */

-- plpgsql where a step depends on what an answer says; names are qualified as
-- everywhere, and the search path is pinned for what they might resolve to.
CREATE FUNCTION databricks.upsert_job(
	settings pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	job_name pg_catalog.text;
	ids pg_catalog.int8[];
BEGIN
	job_name := databricks.check_job_settings(settings) OPERATOR(pg_catalog.->>) 'name';
	PERFORM pg_catalog.pg_advisory_xact_lock(
		pg_catalog.hashtextextended('databricks.upsert_job ' OPERATOR(pg_catalog.||) job_name, 0));
	SELECT pg_catalog.array_agg((j.job OPERATOR(pg_catalog.->>) 'job_id')::pg_catalog.int8) INTO ids
	FROM databricks.api_pages('/api/2.2/jobs/list', 'jobs',
							  pg_catalog.jsonb_build_object('name', job_name, 'limit', 100),
							  workspace) AS j(job)
	WHERE (j.job OPERATOR(pg_catalog.#>>) '{settings,name}') OPERATOR(pg_catalog.=) job_name;

	IF pg_catalog.array_length(ids, 1) OPERATOR(pg_catalog.>) 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'ambiguous_function',
			MESSAGE = pg_catalog.format('there are %s jobs named "%s"', pg_catalog.array_length(ids, 1), job_name),
			DETAIL = pg_catalog.format('Their ids are %s.', pg_catalog.array_to_string(ids, ', ')),
			HINT = 'Use databricks.reset_job() with the id.';
	ELSIF ids IS NULL THEN
		RETURN databricks.create_job(settings, workspace);
	END IF;
	PERFORM databricks.reset_job(ids[1], settings, workspace);
	RETURN ids[1];
END
$$;

COMMENT ON FUNCTION databricks.upsert_job(pg_catalog.jsonb, pg_catalog.name) IS
'Makes sure there is one job of this name with exactly these settings, access_control_list included, and returns its id: creates it, or replaces all settings of the one there is. Calls with the same name wait for each other, until the end of the transaction, in this database. GET /api/2.2/jobs/list, then POST /api/2.2/jobs/create, or POST /api/2.2/jobs/reset and PUT /api/2.0/permissions/jobs/{job_id} for the list.
Acts at once and is not undone by ROLLBACK. Errors: 22004, 22023 settings that cannot be meant, 42725 several jobs of this name, 08007 outcome of the creation unknown; others as api().';

CREATE FUNCTION databricks.set_job_pause(
	job_id pg_catalog.int8,
	pause_status pg_catalog.text,
	only_these pg_catalog.text[],
	workspace pg_catalog.name)
RETURNS pg_catalog.text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	settings pg_catalog.jsonb;
	members pg_catalog.text[];
	changes pg_catalog.jsonb;
BEGIN
	PERFORM databricks.required(pause_status, 'pause_status');
	PERFORM databricks.check_one_of(o.name, 'member of only_these', ARRAY['schedule', 'trigger', 'continuous'])
	FROM pg_catalog.unnest(only_these) AS o(name);
	settings := databricks.get_job(job_id, workspace) OPERATOR(pg_catalog.->) 'settings';
	SELECT pg_catalog.array_agg(m.name ORDER BY m.place),
		   pg_catalog.jsonb_object_agg(m.name,
			   (settings OPERATOR(pg_catalog.->) m.name)
			   OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('pause_status', pause_status))
	INTO members, changes
	FROM pg_catalog.unnest(ARRAY['schedule', 'trigger', 'continuous']) WITH ORDINALITY AS m(name, place)
	WHERE pg_catalog.jsonb_typeof(settings OPERATOR(pg_catalog.->) m.name) OPERATOR(pg_catalog.=) 'object'
	  AND COALESCE(settings OPERATOR(pg_catalog.#>>) ARRAY[m.name, 'pause_status'], 'UNPAUSED')
		  OPERATOR(pg_catalog.<>) pause_status
	  AND (only_these IS NULL OR m.name OPERATOR(pg_catalog.=) ANY (only_these));

	IF changes IS NOT NULL THEN
		PERFORM databricks.update_job(job_id, changes, NULL, workspace);
	ELSIF NOT settings OPERATOR(pg_catalog.?|) ARRAY['schedule', 'trigger', 'continuous'] THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = pg_catalog.format('job %s has neither schedule nor trigger, nor is it continuous', job_id),
			HINT = 'Schedules kept in this database are paused with databricks.pause_schedule().';
	END IF;
	RETURN COALESCE(members, '{}');
END
$$;

COMMENT ON FUNCTION databricks.set_job_pause(pg_catalog.int8, pg_catalog.text, pg_catalog.text[], pg_catalog.name) IS
'What pause_job() and resume_job() are made of. GET /api/2.2/jobs/get, POST /api/2.2/jobs/update.';

CREATE FUNCTION databricks.pause_job(
	job_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.set_job_pause(job_id, 'PAUSED', NULL, workspace);

COMMENT ON FUNCTION databricks.pause_job(pg_catalog.int8, pg_catalog.name) IS
'Pauses what starts a job by itself in Databricks: its schedule, its trigger, or that it is continuous. Returns which of these it paused, none if all were; resume_job() takes that. Runs under way go on. GET /api/2.2/jobs/get, POST /api/2.2/jobs/update.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such job, 55000 it has none of these; others as api().';

CREATE FUNCTION databricks.pause_job(
	job_name pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.set_job_pause(databricks.find_job(job_name, workspace), 'PAUSED', NULL, workspace);

COMMENT ON FUNCTION databricks.pause_job(pg_catalog.text, pg_catalog.name) IS
'pause_job for the job of this name, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, GET /api/2.2/jobs/get, POST /api/2.2/jobs/update.';

CREATE FUNCTION databricks.resume_job(
	job_id pg_catalog.int8,
	only_these pg_catalog.text[] DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.set_job_pause(job_id, 'UNPAUSED', only_these, workspace);

COMMENT ON FUNCTION databricks.resume_job(pg_catalog.int8, pg_catalog.text[], pg_catalog.name) IS
'Undoes pause_job(): resumes what is paused of schedule, trigger and continuous, or only those named. Returns which it resumed. GET /api/2.2/jobs/get, POST /api/2.2/jobs/update.
Acts at once and is not undone by ROLLBACK. Errors: 22023 none of these is named so, 42704 no such job, 55000 it has none of these; others as api().';

CREATE FUNCTION databricks.resume_job(
	job_name pg_catalog.text,
	only_these pg_catalog.text[] DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.set_job_pause(databricks.find_job(job_name, workspace), 'UNPAUSED', only_these, workspace);

COMMENT ON FUNCTION databricks.resume_job(pg_catalog.text, pg_catalog.text[], pg_catalog.name) IS
'resume_job for the job of this name, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, GET /api/2.2/jobs/get, POST /api/2.2/jobs/update.';

CREATE FUNCTION databricks.task_member(type pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_task_member';

COMMENT ON FUNCTION databricks.task_member(pg_catalog.text) IS
'The member of a task that holds the body of this type: notebook gives notebook_task. Errors: 22023 an unknown type, with the list of those known. Calls nothing.';

CREATE FUNCTION databricks.check_task(task pg_catalog.jsonb)
RETURNS pg_catalog.jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_task';

COMMENT ON FUNCTION databricks.check_task(pg_catalog.jsonb) IS
'A task of a job, or error 22023 if it cannot be meant: no key, none or two bodies, a body without what its type needs, two kinds of compute, a dependency without key or with an outcome other than true and false, a task repeated for each of something that cannot be meant. Calls nothing.';

CREATE FUNCTION databricks.task(
	task_key pg_catalog.text,
	type pg_catalog.text,
	spec pg_catalog.jsonb,
	depends_on pg_catalog.text[] DEFAULT NULL,
	compute pg_catalog.jsonb DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN databricks.check_task(
	COALESCE(compute, '{}'::pg_catalog.jsonb) OPERATOR(pg_catalog.||)
	databricks.omit_nulls(pg_catalog.jsonb_build_object(
		'task_key', databricks.required(task_key, 'task_key'),
		'depends_on',
		(SELECT pg_catalog.jsonb_agg(databricks.omit_nulls(pg_catalog.jsonb_build_object(
					'task_key', pg_catalog.split_part(d.key, ':', 1),
					'outcome', NULLIF(pg_catalog.split_part(d.key, ':', 2), ''))) ORDER BY d.place)
		 FROM pg_catalog.unnest(depends_on) WITH ORDINALITY AS d(key, place)),
		databricks.task_member(type), databricks.required(spec, 'spec'))));

COMMENT ON FUNCTION databricks.task(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text[], pg_catalog.jsonb) IS
'A task of a job, for job_settings(): type is notebook, spark_python, python_wheel, sql, dbt, pipeline, run_job, condition and so on, spec its body. depends_on: keys of tasks that must be done before; key:true and key:false name the outcome of a condition. compute: existing_cluster_id, new_cluster, job_cluster_key or environment_key, and libraries. Further members are added with ||: task(...) || ''{"max_retries": 2}''. Calls nothing.
Errors: 22004; 22023 an unknown type (with the list), a body without what the type needs, two kinds of compute.';

CREATE FUNCTION databricks.job_settings(
	name pg_catalog.text,
	tasks pg_catalog.jsonb[],
	options pg_catalog.jsonb DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN databricks.check_job_settings(
	COALESCE(options, '{}'::pg_catalog.jsonb) OPERATOR(pg_catalog.||)
	pg_catalog.jsonb_build_object('name', databricks.required(name, 'name'),
								  'tasks', pg_catalog.to_jsonb(databricks.required(tasks, 'tasks'))));

COMMENT ON FUNCTION databricks.job_settings(pg_catalog.text, pg_catalog.jsonb[], pg_catalog.jsonb) IS
'Settings of a job for create_job(), upsert_job(), reset_job() and submit_run(), from tasks as task() makes them; options holds further members: schedule, parameters, job_clusters, max_concurrent_runs and so on. Calls nothing.
Errors: 22004; 22023 a doubled key, a dependency on a task that is not there, tasks that depend on each other in a circle, a task with nothing to do, a job_cluster_key or environment_key that options do not define.';
