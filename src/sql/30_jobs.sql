
/*
 * 30_jobs.sql
 *	  Jobs: each function is its call, visible in the script.
 */

CREATE FUNCTION databricks.check_job_settings(settings pg_catalog.jsonb)
RETURNS pg_catalog.jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_job_settings';

COMMENT ON FUNCTION databricks.check_job_settings(pg_catalog.jsonb) IS
'The settings of a job, or an error if they cannot be meant: null (22004), not an object, no name, a task with nothing to do or two things, a task key that is missing or doubled, a dependency on a task that is not there or in a circle, a job_cluster_key or environment_key that is not defined, an access_control_list that jobs cannot have (22023). Calls nothing.';

CREATE FUNCTION databricks.check_job_changes(new_settings pg_catalog.jsonb)
RETURNS pg_catalog.jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_job_changes';

COMMENT ON FUNCTION databricks.check_job_changes(pg_catalog.jsonb) IS
'Settings that are to replace some of those of a job, or error 22023 if they cannot be meant: not an object, a task that check_task() refuses, an access_control_list, which the service would ignore. Null for null. Calls nothing.';

CREATE FUNCTION databricks.create_job(
	settings pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.made(
	(databricks.api('POST', '/api/2.2/jobs/create',
					databricks.check_job_settings(settings), workspace)
	 OPERATOR(pg_catalog.->>) 'job_id')::pg_catalog.int8, 'job_id');

COMMENT ON FUNCTION databricks.create_job(pg_catalog.jsonb, pg_catalog.name) IS
'Creates a job from its settings (with access_control_list, if wanted) and returns its id. POST /api/2.2/jobs/create.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: if the connection breaks, or the answer gives no id, the error is 08007, and find_job() tells whether the job is there.
Errors: 22004, 22023 settings that cannot be meant; others as api().';

CREATE FUNCTION databricks.get_job(
	job_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api_object('/api/2.2/jobs/get',
							 pg_catalog.jsonb_build_object('job_id', databricks.required(job_id, 'job_id')),
							 workspace);

COMMENT ON FUNCTION databricks.get_job(pg_catalog.int8, pg_catalog.name) IS
'A job with all its settings, also with more than 100 tasks: the pages of its arrays are joined. GET /api/2.2/jobs/get.
Errors: 42704 no such job, 42501 not visible to the user of the token; others as api().';

CREATE FUNCTION databricks.find_job(
	name pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_find_job';

COMMENT ON FUNCTION databricks.find_job(pg_catalog.text, pg_catalog.name) IS
'The id of the only job of exactly this name, upper and lower case told apart. A text of digits alone is taken for an id and returned unasked. GET /api/2.2/jobs/list with name.
Errors: 42704 none, 42725 several (their ids in the detail); others as api().';

CREATE FUNCTION databricks.update_job(
	job_id pg_catalog.int8,
	new_settings pg_catalog.jsonb DEFAULT NULL,
	fields_to_remove pg_catalog.text[] DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.required(COALESCE(pg_catalog.to_jsonb(fields_to_remove), new_settings),
						   'new_settings or fields_to_remove');
SELECT databricks.api('POST', '/api/2.2/jobs/update',
					  databricks.omit_nulls(pg_catalog.jsonb_build_object(
						  'job_id', databricks.required(job_id, 'job_id'),
						  'new_settings', databricks.check_job_changes(new_settings),
						  'fields_to_remove', fields_to_remove)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.update_job(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.text[], pg_catalog.name) IS
'Changes a job: each top-level member of new_settings replaces that member whole, tasks and job_clusters are merged by key; fields_to_remove names members to drop (schedule, tasks/<task_key>). POST /api/2.2/jobs/update.
Acts at once and is not undone by ROLLBACK. Errors: 22004 nothing to change, 22023 settings that cannot be meant, an access_control_list among them (see update_permissions); others as api().';

CREATE FUNCTION databricks.job_access_list(
	job_id pg_catalog.int8,
	access_control_list pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN CASE WHEN databricks.check_access_control_list('jobs', access_control_list)
				 OPERATOR(pg_catalog.@>) '[{"permission_level": "IS_OWNER"}]'
	THEN access_control_list
	ELSE access_control_list OPERATOR(pg_catalog.||)
		 COALESCE((SELECT pg_catalog.jsonb_agg(
							  (e.entry OPERATOR(pg_catalog.-) ARRAY['all_permissions', 'display_name'])
							  OPERATOR(pg_catalog.||) '{"permission_level": "IS_OWNER"}')
				   FROM pg_catalog.jsonb_array_elements(
							databricks.api('GET', '/api/2.0/permissions/jobs/' OPERATOR(pg_catalog.||) job_id::pg_catalog.text,
										   NULL, workspace)
							OPERATOR(pg_catalog.->) 'access_control_list') AS e(entry)
				   WHERE e.entry OPERATOR(pg_catalog.@>)
						 '{"all_permissions": [{"permission_level": "IS_OWNER", "inherited": false}]}'),
				  '[]')
	END;

COMMENT ON FUNCTION databricks.job_access_list(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.name) IS
'A whole access list for a job: the one given, with the present owner if it has none. GET /api/2.0/permissions/jobs/{job_id}.
Errors: 22023 a list that cannot be meant; others as api().';

CREATE FUNCTION databricks.reset_job(
	job_id pg_catalog.int8,
	new_settings pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/reset',
					  pg_catalog.jsonb_build_object(
						  'job_id', databricks.required(job_id, 'job_id'),
						  'new_settings', databricks.check_job_settings(new_settings)
										  OPERATOR(pg_catalog.-) 'access_control_list'::pg_catalog.text),
					  workspace);
SELECT databricks.api('PUT', '/api/2.0/permissions/jobs/' OPERATOR(pg_catalog.||) job_id::pg_catalog.text,
					  pg_catalog.jsonb_build_object(
						  'access_control_list',
						  databricks.job_access_list(job_id, new_settings OPERATOR(pg_catalog.->) 'access_control_list',
													 workspace)),
					  workspace)
WHERE pg_catalog.jsonb_typeof(new_settings OPERATOR(pg_catalog.->) 'access_control_list') OPERATOR(pg_catalog.=) 'array';
END;

COMMENT ON FUNCTION databricks.reset_job(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.name) IS
'Replaces all settings of a job. An access_control_list among them replaces that of the job, which keeps its owner if the list has none. POST /api/2.2/jobs/reset, then PUT /api/2.0/permissions/jobs/{job_id} for the list.
Acts at once and is not undone by ROLLBACK. Errors: 22004, 22023 settings that cannot be meant; others as api().';

CREATE FUNCTION databricks.delete_job(
	job_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/delete',
					  pg_catalog.jsonb_build_object('job_id', databricks.required(job_id, 'job_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.delete_job(pg_catalog.int8, pg_catalog.name) IS
'Deletes a job; its active runs are stopped, its history is no longer listed. POST /api/2.2/jobs/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such job; others as api().';
