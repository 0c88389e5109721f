
/*
 * 40_runs.sql
 *	  Runs: started, read, cancelled and waited for.
 */

CREATE FUNCTION databricks.run_now(
	job_id pg_catalog.int8,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	idempotency_token pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_run_now';

COMMENT ON FUNCTION databricks.run_now(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name) IS
'Starts a run of a job and returns its id. POST /api/2.2/jobs/run-now.
The run exists when this returns and goes on if the transaction is rolled back. job_parameters is an object name: value; numbers and booleans are sent as their text. options holds further members of the call: notebook_params, python_params, queue, only and so on. idempotency_token (at most 64 characters, generated if not given) makes repeats safe: the same token gives the same run.
Errors: 22004 null job, 22023 parameters or options that cannot be meant, 54000 more than 10000 bytes of one kind of parameters, 42704 no such job, 08007 outcome unknown (repeat with the token in the hint); others as api().';

CREATE FUNCTION databricks.run_now(
	job_name pg_catalog.text,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	idempotency_token pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_run_now_by_name';

COMMENT ON FUNCTION databricks.run_now(pg_catalog.text, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name) IS
'Starts a run of the job of this name, as find_job() finds it; a text of digits alone is an id. Otherwise as run_now by id. GET /api/2.2/jobs/list, then POST /api/2.2/jobs/run-now.';

CREATE FUNCTION databricks.submit_run(
	settings pg_catalog.jsonb,
	idempotency_token pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_submit_run';

COMMENT ON FUNCTION databricks.submit_run(pg_catalog.jsonb, pg_catalog.text, pg_catalog.name) IS
'Starts a run without a saved job and returns its id; settings holds run_name, tasks and what else the call takes. POST /api/2.2/jobs/runs/submit.
The run exists when this returns and goes on if the transaction is rolled back. idempotency_token as in run_now.
Errors: 22004, 22023 settings without tasks; 08007 outcome unknown; others as api().';

CREATE FUNCTION databricks.get_run(
	run_id pg_catalog.int8,
	include_history pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api_object('/api/2.2/jobs/runs/get',
							 databricks.omit_nulls(pg_catalog.jsonb_build_object(
								 'run_id', databricks.required(run_id, 'run_id'),
								 'include_history', NULLIF(include_history, false))),
							 workspace);

COMMENT ON FUNCTION databricks.get_run(pg_catalog.int8, pg_catalog.bool, pg_catalog.name) IS
'A run of a job, or of a task, with all its tasks; include_history adds repair_history. The pages of its arrays are joined. GET /api/2.2/jobs/runs/get.
Errors: 42704 no such run (runs are kept for 60 days), 42501 not visible; others as api().';

CREATE FUNCTION databricks.cancel_run(
	run_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/runs/cancel',
					  pg_catalog.jsonb_build_object('run_id', databricks.required(run_id, 'run_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.cancel_run(pg_catalog.int8, pg_catalog.name) IS
'Asks for the end of a run; it ends a while later, a finished one is left as it is. POST /api/2.2/jobs/runs/cancel.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such run, 42501 denied; others as api().';

CREATE FUNCTION databricks.delete_run(
	run_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.2/jobs/runs/delete',
					  pg_catalog.jsonb_build_object('run_id', databricks.required(run_id, 'run_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.delete_run(pg_catalog.int8, pg_catalog.name) IS
'Deletes a finished run from the service. POST /api/2.2/jobs/runs/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such run, HV000 still active; others as api().';

CREATE TYPE databricks.run_result AS (
	run_id pg_catalog.int8,
	job_id pg_catalog.int8,
	run_name pg_catalog.text,
	state pg_catalog.text,
	result_state pg_catalog.text,
	termination_code pg_catalog.text,
	termination_type pg_catalog.text,
	state_message pg_catalog.text,
	failed_tasks pg_catalog.jsonb,
	start_time pg_catalog.timestamptz,
	end_time pg_catalog.timestamptz,
	run_duration pg_catalog.interval,
	run_page_url pg_catalog.text
);

COMMENT ON TYPE databricks.run_result IS
'How a run ended, or how far it is. failed_tasks: array of {task_key, task_run_id, result_state, termination_code, message, error}, null when none failed. Times are the service''s.';

CREATE FUNCTION databricks.wait_for_run(
	run_id pg_catalog.int8,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false,
	cancel_on_interrupt pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS databricks.run_result
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_wait_for_run';

COMMENT ON FUNCTION databricks.wait_for_run(pg_catalog.int8, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.name) IS
'Waits until a run has ended and returns how. Progress is told by NOTICE. Outages of the service are sat out. Asks GET /api/2.2/jobs/runs/get every databricks.wait_min_interval to databricks.wait_max_interval.
With raise_on_failure a run that did not succeed is an error: RUN01 failed, RUN02 cancelled, RUN03 timed out, RUN04 skipped, RUN05 fault of the platform; failed tasks and their errors are in the detail. When timeout passes: RUN06, or without raise_on_failure the state reached. cancel_on_timeout and cancel_on_interrupt also cancel the run.
Holds a snapshot while it waits: for hours, use CALL databricks.await_run().';

CREATE FUNCTION databricks.run_and_wait(
	job_id pg_catalog.int8,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	idempotency_token pg_catalog.text DEFAULT NULL,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false,
	cancel_on_interrupt pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS databricks.run_result
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_run_and_wait';

COMMENT ON FUNCTION databricks.run_and_wait(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.name) IS
'run_now() and wait_for_run() in one. POST /api/2.2/jobs/run-now, then GET /api/2.2/jobs/runs/get.';

CREATE FUNCTION databricks.run_and_wait(
	job_name pg_catalog.text,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	idempotency_token pg_catalog.text DEFAULT NULL,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false,
	cancel_on_interrupt pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS databricks.run_result
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_run_and_wait_by_name';

COMMENT ON FUNCTION databricks.run_and_wait(pg_catalog.text, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.name) IS
'run_and_wait by name of the job, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, POST /api/2.2/jobs/run-now, then GET /api/2.2/jobs/runs/get.';

CREATE PROCEDURE databricks.await_run(
	run_id pg_catalog.int8,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false,
	cancel_on_interrupt pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'databricks_await_run';

COMMENT ON PROCEDURE databricks.await_run(pg_catalog.int8, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool, pg_catalog.bool, pg_catalog.name) IS
'wait_for_run() for waits of hours: commits before it waits and holds no snapshot meanwhile, so that vacuum is not held back. The end is told by NOTICE, or as an error as in wait_for_run(). Not inside a transaction block (2D000). GET /api/2.2/jobs/runs/get.';
