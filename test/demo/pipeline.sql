\set ECHO none
\set QUIET on
/*
 * pipeline.sql
 *	  The third part of "make demo": a pipeline of three dependent tasks, made,
 *	  run, watched, read and repaired from SQL.
 *
 * Needs a connected workspace that is tracked. What stands between ECHO none and ECHO all is
 * carried out but not shown: there the stand-in workspace is told to let a task
 * fail once, and what was shown is checked.
 */
\pset null '(null)'
\i test/demo/expect.sql
\! "$DEMO_PYTHON" -c 'import json, os, urllib.request as u; u.urlopen(u.Request(os.environ["DEMO_WORKSPACE"] + "/__control/plans", json.dumps({"match": {"job_name": "shop-pipeline", "task_key": "transform"}, "count": 1, "plan": {"result": "FAILED", "error": "ValueError: no prices for this day", "trace": "\x1b[0;31mValueError\x1b[0m: no prices for this day", "logs": "1204 rows read\n"}}).encode())).read()'
\! "$DEMO_PYTHON" -c 'import json, os, urllib.request as u; u.urlopen(u.Request(os.environ["DEMO_WORKSPACE"] + "/__control/plans", json.dumps({"match": {"job_name": "shop-pipeline", "task_key": "fetch"}, "plan": {"output": "{\"rows\": 1204}"}}).encode())).read()'
\set QUIET off
\set ECHO all
-- A pipeline: fetch, then transform, then write. What cannot be meant (a doubled
-- key, a circle, a task with nothing to do) is refused before anything is sent.
SELECT databricks.upsert_job(databricks.job_settings('shop-pipeline', ARRAY[
	databricks.task('fetch', 'notebook', '{"notebook_path": "/Shared/shop/fetch"}'),
	databricks.task('transform', 'spark_python', '{"python_file": "/Workspace/Shared/shop/transform.py"}',
					depends_on => '{fetch}'),
	databricks.task('write', 'notebook', '{"notebook_path": "/Shared/shop/write"}',
					depends_on => '{transform}')],
	'{"parameters": [{"name": "day", "default": "1970-01-01"}]}')) AS job_id \gset
SELECT databricks.run_now(:job_id, '{"day": "2026-11-21"}') AS run_id \gset

-- Watch it.
SELECT state, result_state, termination_code, jsonb_array_length(failed_tasks) AS failed_tasks
FROM databricks.wait_for_run(:run_id, raise_on_failure => false);
\set ECHO none
SELECT pg_temp.expect((databricks.get_run(:run_id) #>> '{state,result_state}') = 'FAILED', 'the run failed') \gset
\set ECHO all

-- As a picture, once the worker has seen the end of it.
CALL wait_until($$SELECT count(*) = 3 AND every(state = 'TERMINATED') FROM databricks.task_history
	WHERE run_id IN (SELECT run_id FROM databricks.run_history WHERE run_name = 'shop-pipeline')$$);
SELECT databricks.gantt(:run_id);

-- What its tasks left behind: all are asked for at once.
SELECT task_key, result_state, result, error, error_trace, logs
FROM databricks.get_run_output(:run_id);
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT = 3, 'three outputs') \gset
\set ECHO all

-- The prices have come in the meantime: run what failed again, for the same day.
SELECT databricks.repair_run(:run_id) AS repair_id \gset
SELECT state, result_state FROM databricks.wait_for_run(:run_id);
SELECT p ->> 'name' AS parameter, p ->> 'value' AS value
FROM jsonb_array_elements(databricks.get_run(:run_id) -> 'job_parameters') AS p;
SELECT t ->> 'task_key' AS task, count(*) AS attempts
FROM jsonb_array_elements(databricks.get_run(:run_id) -> 'tasks') AS t GROUP BY 1 ORDER BY 1;
\set ECHO none
SELECT pg_temp.expect(count(*) FILTER (WHERE t ->> 'task_key' = 'fetch') = 1 AND count(*) = 5, 'fetch ran once, the others twice')
FROM jsonb_array_elements(databricks.get_run(:run_id) -> 'tasks') AS t \gset
SELECT pg_temp.expect((databricks.get_run(:run_id) #>> '{job_parameters,0,value}') = '2026-11-21', 'the day is still that day') \gset
