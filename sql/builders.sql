-- Building the settings of jobs: what is checked before anything is sent.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT databricks.task('fetch', 'notebook', '{"notebook_path": "/Shared/fetch"}');
SELECT databricks.task('transform', 'spark_python_task', '{"python_file": "/x.py"}', '{fetch,check:true}',
					   '{"job_cluster_key": "main"}') || '{"max_retries": 2}';
-- what cannot be meant
SELECT databricks.task(NULL, 'notebook', '{"notebook_path": "/x"}');
SELECT databricks.task('a', 'notbook', '{"notebook_path": "/x"}');
SELECT databricks.task('a', 'notebook', NULL);
\set VERBOSITY default
SELECT databricks.task('a', 'notebook', '{}');
SELECT databricks.task('a', 'condition', '{"op": "EQUAL_TO", "left": ""}');
SELECT databricks.task('a b', 'notebook', '{"notebook_path": "/x"}');
SELECT databricks.task('a', 'notebook', '"x"');
SELECT databricks.task('a', 'notebook', '{"notebook_path": "/x"}', compute => '{"job_cluster_key": "k", "existing_cluster_id": "c"}');
CREATE FUNCTION pg_temp.t(key text, VARIADIC needs text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql
RETURN databricks.task(key, 'notebook', '{"notebook_path": "/x"}', needs);
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a'), pg_temp.t('b', 'a'), pg_temp.t('c', 'a', 'b')],
							   '{"max_concurrent_runs": 3, "name": "overruled"}');
SELECT databricks.job_settings('j', '{}');
SELECT databricks.job_settings(NULL, '{}');
SELECT databricks.job_settings('j', NULL);
SELECT databricks.job_settings('', '{}');
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a'), pg_temp.t('a')]);
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a', 'b')]);
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a', 'a')]);
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a', 'c'), pg_temp.t('b', 'a'), pg_temp.t('c', 'b'), pg_temp.t('d')]);
SELECT databricks.job_settings('j', ARRAY['{"task_key": "a"}'::jsonb]);
-- what lies deeper
SELECT databricks.task('a', 'for_each', '{"inputs": "[1]", "task": {"task_key": "i", "notebook_task": {"notebook_path": "/x"}}}');
SELECT databricks.task('a', 'for_each', '{"inputs": [1], "task": {"task_key": "i", "notebook_task": {"notebook_path": "/x"}}}');
SELECT databricks.task('a', 'for_each', '{"inputs": "[1]", "task": {"task_key": "i"}}');
SELECT databricks.task('a', 'for_each', '{"inputs": "[1]", "task": {"task_key": "i", "for_each_task": {"inputs": "[1]", "task": {"task_key": "k", "notebook_task": {"notebook_path": "/x"}}}}}');
SELECT databricks.task('a', 'sql', '{"warehouse_id": "w"}');
SELECT databricks.task('a', 'notebook', '{"notebook_path": "/x"}', '{b:maybe}');
SELECT databricks.task('a', 'notebook', '{"notebook_path": "/x"}', compute => '[]');
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a') || '{"job_cluster_key": "main"}'], '{"job_clusters": [{"job_cluster_key": "main"}]}');
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a') || '{"job_cluster_key": "other"}'], '{"job_clusters": [{"job_cluster_key": "main"}]}');
SELECT databricks.job_settings('j', ARRAY[pg_temp.t('a') || '{"environment_key": "e"}']);
-- a long chain, its end first
SELECT jsonb_array_length(databricks.job_settings('j',
	ARRAY(SELECT pg_temp.t('t' || n, VARIADIC CASE WHEN n > 1 THEN ARRAY['t' || n - 1] ELSE '{}' END)
		  FROM generate_series(500, 1, -1) AS n)) -> 'tasks');
