
/*
 * 41_outputs.sql
 *	  More about runs: outputs, repairs, several at once.
 */

CREATE FUNCTION databricks.get_run_output(
	run_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL,
	OUT task_key pg_catalog.text,
	OUT task_run_id pg_catalog.int8,
	OUT result_state pg_catalog.text,
	OUT result pg_catalog.text,
	OUT error pg_catalog.text,
	OUT error_trace pg_catalog.text,
	OUT logs pg_catalog.text,
	OUT truncated pg_catalog.bool,
	OUT output pg_catalog.jsonb)
RETURNS SETOF pg_catalog.record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 5
AS 'MODULE_PATHNAME', 'databricks_get_run_output';

COMMENT ON FUNCTION databricks.get_run_output(pg_catalog.int8, pg_catalog.name) IS
'What the tasks of a run left behind: one row for the last attempt of each task (and, after a for-each task, for each of its iterations), or for the one task whose run is given; all are fetched in parallel. result: what a notebook returned; error, error_trace, logs: without terminal colours; truncated: the service kept only the first (result) or last (logs) 5 MB; output: what else there is (sql_output, dbt_output, ...). A task that is not over has no output yet. GET /api/2.2/jobs/runs/get, then GET /api/2.2/jobs/runs/get-output for each task.
Errors: 42704 no such run (runs are kept for 60 days), 42501 not visible; others as api().';

CREATE FUNCTION databricks.export_run(
	run_id pg_catalog.int8,
	views pg_catalog.text DEFAULT 'CODE',
	workspace pg_catalog.name DEFAULT NULL,
	OUT name pg_catalog.text,
	OUT type pg_catalog.text,
	OUT content pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 1
BEGIN ATOMIC
SELECT v.view OPERATOR(pg_catalog.->>) 'name',
	   v.view OPERATOR(pg_catalog.->>) 'type',
	   v.view OPERATOR(pg_catalog.->>) 'content'
FROM pg_catalog.jsonb_array_elements(
		 databricks.api('GET', '/api/2.2/jobs/runs/export',
						pg_catalog.jsonb_build_object(
							'run_id', databricks.required(run_id, 'run_id'),
							'views_to_export', databricks.check_one_of(views, 'views', ARRAY['CODE', 'DASHBOARDS', 'ALL'])),
						workspace)
		 OPERATOR(pg_catalog.->) 'views') AS v(view);
END;

COMMENT ON FUNCTION databricks.export_run(pg_catalog.int8, pg_catalog.text, pg_catalog.name) IS
'The pages of a notebook as a task run left them, as HTML: its CODE, its DASHBOARDS or ALL. GET /api/2.2/jobs/runs/export.
Errors: 22023 other views, 42704 no such run, HV000 not a run of one notebook task (give the id of a task run: run_tasks, get_run); others as api().';

CREATE FUNCTION databricks.cancel_all_runs(
	job_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/runs/cancel-all',
					  pg_catalog.jsonb_build_object(
						  'job_id', databricks.required(job_id, 'job_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.cancel_all_runs(pg_catalog.int8, pg_catalog.name) IS
'Asks for the end of all active runs of a job; they end a while later. POST /api/2.2/jobs/runs/cancel-all.
Acts at once and is not undone by ROLLBACK. New runs can start meanwhile. Errors: 42704 no such job, 42501 denied; others as api().';

CREATE FUNCTION databricks.cancel_all_runs(
	job_name pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/runs/cancel-all',
					  (pg_catalog.jsonb_build_object(
						  'job_id', databricks.find_job(job_name, workspace))),
					  workspace);
END;

COMMENT ON FUNCTION databricks.cancel_all_runs(pg_catalog.text, pg_catalog.name) IS
'cancel_all_runs for the job of this name, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, then POST /api/2.2/jobs/runs/cancel-all.';

CREATE FUNCTION databricks.cancel_all_queued_runs(
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/runs/cancel-all',
					  '{"all_queued_runs": true}', workspace);
END;

COMMENT ON FUNCTION databricks.cancel_all_queued_runs(pg_catalog.name) IS
'Asks for the end of all runs of the workspace that wait in a queue; running ones are left alone. POST /api/2.2/jobs/runs/cancel-all with all_queued_runs.
Acts at once and is not undone by ROLLBACK. Errors as api().';

CREATE FUNCTION databricks.repair_run(
	run_id pg_catalog.int8,
	options pg_catalog.jsonb DEFAULT '{"rerun_all_failed_tasks": true}',
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_repair_run';

COMMENT ON FUNCTION databricks.repair_run(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.name) IS
'Runs tasks of a finished run again, in the same run, and returns the id of the repair. options: rerun_all_failed_tasks, or rerun_tasks (an array of task keys), rerun_dependent_tasks, performance_target, parameters of the kinds and rules of run_now(). Without parameters in options those the run was started with are sent again (the service would take the defaults); the id of the repair before is found by itself. Returns once the repair shows in the run, so that wait_for_run() waits for it; warns if it does not show within a minute. GET /api/2.2/jobs/runs/get, POST /api/2.2/jobs/runs/repair.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: when the answer is lost the history of the run tells whether it was accepted, else the error is 08007.
Errors: 22023 options that cannot be meant, 55000 the run is not over, 42704 no such run; others as api().';

CREATE FUNCTION databricks.wait_for_runs(
	run_ids pg_catalog.int8[],
	mode pg_catalog.text DEFAULT 'all',
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false,
	cancel_on_interrupt pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF databricks.run_result
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'databricks_wait_for_runs';

COMMENT ON FUNCTION databricks.wait_for_runs(pg_catalog.int8[], pg_catalog.text, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.name) IS
'wait_for_run() for several runs: until all have ended, or with mode any until one has; returns those that have ended, in the order given, each once. With raise_on_failure the first of them that did not succeed is the error. When timeout passes: RUN06, or without raise_on_failure all with the state they reached. GET /api/2.2/jobs/runs/get.';
