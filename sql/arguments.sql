--
-- What functions refuse before anything is called: no workspace is there.
--
\set VERBOSITY terse
CREATE SERVER nowhere FOREIGN DATA WRAPPER databricks
	OPTIONS (host 'https://127.0.0.1:9', retry_timeout '0');
CREATE USER MAPPING FOR CURRENT_USER SERVER nowhere OPTIONS (token 'x-none');
-- the SQLSTATE and message of a statement that must fail, or what it returned
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE statement INTO result;
	RETURN 'no error: ' || COALESCE(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN detail <> '' THEN ' | ' || detail ELSE '' END;
END $$;

-- a null where a value is needed is an error in every function
CREATE VIEW null_calls AS
SELECT p.oid::regprocedure AS function, a.number,
	format(CASE p.prokind WHEN 'p' THEN 'CALL databricks.%I(%s)' ELSE 'SELECT databricks.%I(%s)' END,
		p.proname,
		(SELECT string_agg(format('%s::%s',
				CASE WHEN b.number = a.number THEN 'NULL'
					WHEN v.valid IS NOT NULL THEN quote_literal(v.valid)
					WHEN b.type = 'jsonb'::regtype THEN $$'{"name": "x", "tasks": [{"task_key": "a"}]}'$$
					WHEN b.type IN ('int8'::regtype, 'int4'::regtype) THEN '1'
					WHEN b.type = 'bool'::regtype THEN 'true'
					WHEN b.type = 'interval'::regtype THEN $$'1 s'$$
					WHEN b.type = 'timestamptz'::regtype THEN $$'2026-01-01 00:00+00'$$
					WHEN p.proargnames[b.number] = 'cron' THEN $$'* * * * *'$$
					ELSE $$'x'$$ END, b.type::regtype), ', ' ORDER BY b.number)
		 FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS b (type, number)
			LEFT JOIN (VALUES ('permission', 'READ'), ('object_type', 'jobs'), ('path', '/Workspace/x'),
				('source', 'dbfs:/x'), ('destination', 'dbfs:/x'),
				('access_control_list', '[{"user_name": "x", "permission_level": "CAN_VIEW"}]'),
				('only_these', '{}')) AS v (name, valid) ON v.name = p.proargnames[b.number]
		 WHERE b.number <= p.pronargs - p.pronargdefaults)) AS statement
FROM pg_proc AS p,
	generate_series(1, p.pronargs - p.pronargdefaults) AS a (number)
WHERE p.pronamespace = 'databricks'::regnamespace
  AND p.prokind IN ('f', 'p')
  AND p.prorettype <> 'trigger'::regtype
  -- all that act on a workspace; the helpers among them take what they are given
  AND 'workspace' = ANY (p.proargnames)
  -- asked for each row of a view: null for null
  AND p.proname <> 'pause_reason'
  -- called by other functions, which have filled these in
  AND NOT (p.proname = 'set_job_pause' AND a.number > 2);
SELECT count(*) >= 25 AS enough, count(DISTINCT function) >= 20 AS functions FROM null_calls;
SELECT function, number, refusal(statement)
FROM null_calls
WHERE refusal(statement) !~ '^22004 .* must not be null'
ORDER BY 1::text, 2;
SELECT refusal('SELECT databricks.run_now(NULL)');
SELECT refusal('SELECT databricks.wait_for_run(NULL)');
SELECT refusal('CALL databricks.await_run(NULL)');
SELECT refusal('SELECT databricks.update_job(1)');

-- untyped arguments find their function, whatever is left out
PREPARE p1 AS SELECT databricks.run_now($1);
PREPARE p2 AS SELECT databricks.run_now($1, $2);
PREPARE p3 AS SELECT databricks.run_and_wait($1, timeout => $2);
PREPARE p4 AS SELECT databricks.find_job($1);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
SELECT p.proname, count(*)
FROM pg_proc AS p
WHERE p.pronamespace = 'databricks'::regnamespace AND p.proname IN ('run_now', 'run_and_wait')
GROUP BY 1 ORDER BY 1;
-- a number, a text of digits and a variable of any integer type are ids
SELECT refusal(statement) FROM (VALUES
	('SELECT databricks.run_now(1, workspace => ''missing'')'),
	('SELECT databricks.run_now(1::smallint, workspace => ''missing'')'),
	('SELECT databricks.run_now(1::bigint, workspace => ''missing'')'),
	('SELECT databricks.run_now(''1'', workspace => ''missing'')'),
	('SELECT databricks.run_now(''1''::varchar, workspace => ''missing'')'),
	('SELECT databricks.run_now(1.5, workspace => ''missing'')')) AS v (statement);
SELECT databricks.find_job('1234'), databricks.find_job('0012'), databricks.find_job('9223372036854775807');
SELECT refusal('SELECT databricks.find_job(''9223372036854775808'')');
SELECT refusal('SELECT databricks.find_job('''')');

-- paths and methods
SELECT v.path, refusal(format('SELECT databricks.api(%L, %L)', 'GET', v.path)) FROM (VALUES
	('jobs/list'), ('/jobs/list'), (''), ('/api'), ('https://elsewhere.example/api/2.2/jobs/list'),
	('//elsewhere.example/api/'), ('/API/2.2/jobs/list'), (' /api/2.2/jobs/list'),
	('/api/2.2/jobs list'), ('/api/2.2/jobs/list#x'), (E'/api/2.2/\njobs'), (E'/api/2.2/j\u00f6bs'),
	('/api/2.2/../../x'), ('/api/..'), ('/api/2.2/.'), ('/api/2.2/./x'), ('/api/2.2/%2E%2e/x'),
	('/api/2.2/.%2e?x'), ('/api/2.2\x')) AS v (path);
SELECT v.method, refusal(format('SELECT databricks.api(%L, %L)', v.method, '/api/2.2/x')) FROM (VALUES
	('FETCH'), (''), ('GET '), ('TRACE'), ('CONNECT'), (E'GET\r\nX: y')) AS v (method);
SELECT v.body, refusal(format('SELECT databricks.api(''get'', ''/api/2.2/x'', %L)', v.body)) FROM (VALUES
	('[]'), ('"a=b"'), ('null'), ('1')) AS v (body);

-- parameters of a run
SELECT v.parameters, refusal(format('SELECT databricks.run_now(1, %L)', v.parameters)) FROM (VALUES
	('[]'), ('"x"'), ('null'), ('1'),
	('{"a": null}'), ('{"a": [1]}'), ('{"a": {"b": 1}}'), ('{"good": "x", "bad": [], "worse": {}}')) AS v (parameters);
SELECT v.options, refusal(format('SELECT databricks.run_now(1, NULL, %L)', v.options)) FROM (VALUES
	('[]'), ('"x"'),
	('{"job_id": 2}'), ('{"job_name": "x"}'), ('{"notebook_parameters": {}}'), ('{"Queue": {}}'),
	('{"notebook_params": []}'), ('{"notebook_params": {"a": null}}'), ('{"sql_params": {"a": {}}}'),
	('{"python_named_params": "a"}'), ('{"job_parameters": {"a": []}}'),
	('{"jar_params": {"a": "b"}}'), ('{"python_params": ["a", null]}'), ('{"spark_submit_params": [["a"]]}'),
	('{"dbt_commands": "dbt run"}'), ('{"only": {"a": 1}}'),
	('{"jar_params": ["a"], "notebook_params": {"a": "b"}}'),
	('{"idempotency_token": ""}'), ('{"idempotency_token": 1}'),
	(format('{"idempotency_token": "%s"}', repeat('x', 65)))) AS v (options);
SELECT refusal('SELECT databricks.run_now(1, idempotency_token => '''')');
SELECT refusal(format('SELECT databricks.run_now(1, idempotency_token => %L)', repeat('x', 65)));
SELECT refusal(format('SELECT databricks.run_now(''name'', idempotency_token => %L)', repeat(E'\u00f6', 65)));
-- 10000 bytes of a kind, its name and the braces included
SELECT v.kind, v.bytes, left(refusal(format('SELECT databricks.run_now(1, options => %L)',
	CASE v.shape WHEN 'map' THEN jsonb_build_object(v.kind, jsonb_build_object('k', repeat('x', v.bytes - length(v.kind) - 13)))
		ELSE jsonb_build_object(v.kind, jsonb_build_array(repeat('x', v.bytes - length(v.kind) - 9))) END)), 200)
FROM (VALUES ('notebook_params', 'map', 10001), ('job_parameters', 'map', 10001), ('sql_params', 'map', 10001),
	('python_params', 'list', 10001), ('jar_params', 'list', 10001), ('dbt_commands', 'list', 10001)) AS v (kind, shape, bytes);
SELECT refusal(format('SELECT databricks.run_now(1, jsonb_build_object(''k'', %L))', repeat(E'\u00f6', 5000)));

-- settings of jobs and of runs without a job
SELECT v.settings, refusal(format('SELECT databricks.create_job(%L)', v.settings)) FROM (VALUES
	('[]'), ('null'), ('{}'), ('{"name": ""}'), ('{"name": 1}'), ('{"name": "x", "tasks": {}}'),
	('{"name": "x", "tasks": [{}]}'), ('{"name": "x", "tasks": [{"task_key": ""}]}'),
	('{"name": "x", "tasks": [{"task_key": "a"}, {"task_key": "a"}]}'),
	('{"name": "x", "tasks": [{"task_key": "a", "depends_on": [{"task_key": "b"}]}]}'),
	('{"name": "x", "tasks": [{"task_key": "a", "depends_on": [{"task_key": "a"}]}]}'),
	('{"name": "x", "tasks": [{"task_key": "a", "depends_on": [{}]}]}')) AS v (settings);
SELECT refusal('SELECT databricks.reset_job(1, ''{"tasks": []}'')');
SELECT v.settings, refusal(format('SELECT databricks.submit_run(%L)', v.settings)) FROM (VALUES
	('[]'), ('{}'), ('{"tasks": []}'), ('{"tasks": [{}]}'), ('{"tasks": "x"}')) AS v (settings);
SELECT databricks.check_job_settings('{"name": "x", "tasks": [{"task_key": "a"}, {"task_key": "b", "depends_on": [{"task_key": "a"}]}]}');
SELECT databricks.omit_nulls('{"a": null, "b": {"c": null}, "d": [null]}'), databricks.omit_nulls(NULL);

-- what is told of a request when it is made
SELECT v.arguments, refusal(format('SELECT databricks.enqueue_run_now(1, %s)', v.arguments)) FROM (VALUES
	('request_key => '''''), ('max_attempts => 0'), ('max_attempts => 1001'), ('retry => ''never'''),
	('retry_delay => ''-1 s'''), ('retry_delay => ''1001 years'''), ('retry_delay => ''1000000 years'''),
	('not_before => ''infinity'''), ('not_before => ''2026-02-01'', expires_at => ''2026-01-01'''),
	('depends_on => ''{1}'''), ('depends_on => ARRAY[NULL]::bigint[]'),
	('on_success => ''SELECT (1'''), ('on_failure => ''COMMIT'''), ('on_failure => ''COPY t FROM STDIN''')) AS v (arguments);

-- what changes something is refused in a read-only transaction
BEGIN READ ONLY;
SELECT refusal(statement) FROM (VALUES
	('SELECT databricks.api(''POST'', ''/api/2.2/jobs/create'', ''{}'')'),
	('SELECT databricks.api(''PUT'', ''/api/2.0/x'')'),
	('SELECT databricks.api(''PATCH'', ''/api/2.0/x'')'),
	('SELECT databricks.api(''delete'', ''/api/2.0/x'')'),
	('SELECT databricks.run_now(1)'), ('SELECT databricks.cancel_run(1)'),
	('SELECT databricks.create_job(''{"name": "x"}'')'),
	('SELECT databricks.submit_run(''{"tasks": [{"task_key": "a"}]}'')')) AS v (statement);
ROLLBACK;

-- a wait for hours does not belong into a transaction
BEGIN;
CALL databricks.await_run(1);
ROLLBACK;
SELECT refusal('CALL databricks.await_run(1)');

DROP VIEW null_calls;
DROP FUNCTION refusal;
DROP SERVER nowhere CASCADE;
