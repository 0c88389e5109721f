\set ECHO none
\set QUIET on
/*
 * session.sql
 *	  The session that "make demo" shows.
 *
 * What stands between ECHO none and ECHO all is carried out but not shown: it
 * checks that what was shown is what it should be.
 */
\pset null '(null)'
\getenv python DEMO_PYTHON
\getenv url DEMO_WORKSPACE
\i test/demo/expect.sql
\set QUIET off
\set ECHO all
-- Connect to a workspace. From now on each role with USAGE on server "prod" and
-- a user mapping for it can use it; its jobs and runs are foreign tables.
CREATE EXTENSION databricks;
SELECT * FROM databricks.connect('prod', host => :'url', token => 'dapi-standin-admin');
\set ECHO none
SELECT pg_temp.expect(ok, 'connection') FROM databricks.check_connection() \gset
\set ECHO all

-- Its jobs.
SELECT job_id, name, tags->>'team' AS team, jsonb_array_length(tasks) AS tasks
FROM databricks.jobs ORDER BY name;
\set ECHO none
SELECT pg_temp.expect(count(*) = 3, 'three jobs') FROM databricks.jobs \gset
\set ECHO all

-- Start a job and wait until it has ended.
SELECT run_id, result_state, run_duration
FROM databricks.run_and_wait('nightly-sales-etl', '{"day": "2026-11-21"}');
\set ECHO none
SELECT pg_temp.expect(count(*) = 1, 'the run of run_and_wait succeeded')
FROM databricks.runs
WHERE start_time > now() - interval '2 min' AND result_state = 'SUCCESS' \gset
\set ECHO all

-- The failed runs of a job in the last two weeks. EXPLAIN tells what is asked of
-- the service, what is checked here, and how many calls it took.
SELECT databricks.find_job('nightly-sales-etl') AS job \gset
SELECT run_id, start_time::timestamptz(0), run_duration, result_state, termination_code
FROM databricks.runs
WHERE job_id = :job AND start_time > now() - interval '2 weeks' AND result_state = 'FAILED'
ORDER BY start_time;
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT > 0, 'failed runs') \gset
\set ECHO all
EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT run_id, result_state FROM databricks.runs
WHERE job_id = :job AND start_time > now() - interval '2 weeks' AND result_state = 'FAILED';

-- Errors are SQL errors.
\set ON_ERROR_STOP off
SELECT databricks.run_now('nightly-sales-elt');
\echo SQLSTATE :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on
\set ECHO none
SELECT pg_temp.expect(:'ERROR' AND :'LAST_ERROR_SQLSTATE' = '42704', 'no such job') \gset
\set ECHO all

-- So is a run that fails: RUN01, with the errors of its tasks.
\set ON_ERROR_STOP off
SELECT databricks.run_and_wait('customer-churn-model');
\echo SQLSTATE :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on
\set ECHO none
SELECT pg_temp.expect(:'ERROR' AND :'LAST_ERROR_SQLSTATE' = 'RUN01', 'failed run') \gset
\set ECHO all

-- Track the workspace: a background worker keeps all its runs in a table,
-- whoever started them, the past ones too. (wait_until is a helper of this demo:
-- it looks again and again until a query gives true.)
SELECT databricks.track('prod', poll_interval => '1 s');
CALL wait_until('SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking');
SELECT run_name, count(*) AS runs, count(*) FILTER (WHERE result_state = 'FAILED') AS failed,
	   min(start_time)::date AS since, max(start_time)::timestamptz(0) AS latest
FROM databricks.run_history GROUP BY run_name ORDER BY run_name;
\set ECHO none
SELECT pg_temp.expect(count(*) = 158, '156 seeded runs and 2 of this session') FROM databricks.run_history \gset
\set ECHO all

-- From here on the clock starts the job, through pg_cron. Every minute, to be
-- quick; '0 2 * * *' would be two o'clock in Berlin, all year round.
CREATE EXTENSION pg_cron;
SELECT now() AS scheduled_at \gset
SELECT databricks.schedule('nightly', '* * * * *', 'nightly-sales-etl', timezone => 'Europe/Berlin',
	parameters_sql => $$jsonb_build_object('day', ($1 AT TIME ZONE 'Europe/Berlin')::date - 1)$$);

-- Meanwhile somebody starts a job in the workspace itself. The worker sees it,
-- and tells each change on channel databricks.
LISTEN databricks;
\! $DEMO_PYTHON test/demo/world.py $DEMO_WORKSPACE run inventory-sync
CALL wait_until($$
	SELECT count(*) > 0 FROM databricks.run_history
	WHERE run_name = 'inventory-sync' AND creator_user_name = 'runner@example.com'
	  AND state = 'TERMINATED' $$);
UNLISTEN databricks;
SELECT run_id, creator_user_name, state, result_state, run_duration
FROM databricks.run_history
WHERE run_name = 'inventory-sync' AND creator_user_name = 'runner@example.com';
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT = 1, 'the run started elsewhere') \gset
\set ECHO all

-- Run history is a table like any other. The shop knows which run loaded which
-- day's orders: which days are not in the warehouse?
CREATE TABLE batches (day date PRIMARY KEY, orders int NOT NULL, amount numeric, run_id bigint);
\set ECHO none
\set QUIET on
INSERT INTO batches
SELECT DISTINCT ON (start_time::date) start_time::date, 800 + run_id % 400,
	   21000 + run_id % 9000 + 0.35, run_id
FROM databricks.run_history
WHERE run_name = 'nightly-sales-etl' AND start_time < now() - interval '1 hour'
ORDER BY start_time::date, start_time DESC;
\set QUIET off
\set ECHO all
SELECT b.day, b.orders, b.amount, h.result_state, h.run_duration, h.state_message
FROM batches AS b
	JOIN databricks.run_history AS h USING (run_id)
WHERE h.workspace = 'prod' AND h.result_state <> 'SUCCESS'
ORDER BY b.day;
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT BETWEEN 1 AND 10, 'days not loaded') \gset
\set ECHO all

-- Load the latest of them again, and note the run. (The run starts at once; a
-- rollback would not take it back.)
UPDATE batches SET run_id = databricks.run_now('nightly-sales-etl', jsonb_build_object('day', day))
WHERE day = (SELECT max(day) FROM batches JOIN databricks.run_history USING (run_id)
			 WHERE result_state = 'FAILED')
RETURNING day, run_id;
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT = 1, 'one day loaded again') \gset
\set ECHO all

-- In the meantime the minute is over, and the schedule has started its run. Each
-- tick is one request, however often or late pg_cron calls.
CALL wait_until($$
	SELECT count(*) > 0 FROM databricks.run_requests
	WHERE schedule_name = 'nightly' AND state = 'succeeded' $$, '90 s');
SELECT tick, state, body->'job_parameters' AS job_parameters, run_id, result_state
FROM databricks.run_requests WHERE schedule_name = 'nightly' ORDER BY tick LIMIT 1;
SELECT name, cron, timezone, last_tick, last_request_state, cron_error FROM databricks.schedules;
\set ECHO none
SELECT pg_temp.expect(count(*) >= 1, 'a run started by the schedule')
FROM databricks.run_requests AS q JOIN databricks.run_history USING (workspace, run_id)
WHERE q.schedule_name = 'nightly' AND q.tick > :'scheduled_at' \gset
SELECT pg_temp.expect(bool_and(status = 'succeeded'), 'pg_cron had success') FROM cron.job_run_details WHERE status <> 'running' \gset
\set ECHO all
SELECT databricks.unschedule('nightly');

-- How the worker does.
SELECT workspace, poll_interval, sweeps, active_runs, lag, last_error FROM databricks.tracking;
SELECT datname, state, phase, last_error FROM databricks.stat_worker;
\set ECHO none
SELECT pg_temp.expect(count(*) = 1, 'the worker runs') FROM databricks.stat_worker WHERE datname = 'shop' AND state = 'running' \gset
\set ECHO all
