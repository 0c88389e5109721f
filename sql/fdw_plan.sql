--
-- Planning of foreign tables: what is sent, what stays here, which calls are
-- to be made. EXPLAIN alone makes no call, so no workspace is needed: nothing
-- answers at this address.
--
CREATE SERVER fdw_plan FOREIGN DATA WRAPPER databricks
	OPTIONS (host 'https://127.0.0.1:9');
CREATE SCHEMA fdw_plan;
IMPORT FOREIGN SCHEMA databricks FROM SERVER fdw_plan INTO fdw_plan;
SET search_path = fdw_plan, public;
SET timezone = 'UTC';

-- as somebody with no right on the server and no credentials
CREATE ROLE regress_fdw_plan;
GRANT USAGE ON SCHEMA fdw_plan TO regress_fdw_plan;
GRANT SELECT ON ALL TABLES IN SCHEMA fdw_plan TO regress_fdw_plan;
GRANT CREATE ON SCHEMA fdw_plan TO regress_fdw_plan;
SET ROLE regress_fdw_plan;

-- whole lists
EXPLAIN (COSTS OFF) SELECT count(*) FROM jobs;
EXPLAIN (COSTS OFF) SELECT run_id FROM runs;

-- tasks cost extra, and only where they are used
EXPLAIN (COSTS OFF) SELECT name, tags, schedule FROM jobs;
EXPLAIN (COSTS OFF) SELECT tasks FROM jobs;
EXPLAIN (COSTS OFF) SELECT job_clusters FROM jobs;
EXPLAIN (COSTS OFF) SELECT settings FROM jobs;
EXPLAIN (COSTS OFF) SELECT name FROM jobs WHERE tasks @> '[{"task_key": "a"}]';
EXPLAIN (COSTS OFF) SELECT jobs FROM jobs;
EXPLAIN (COSTS OFF) SELECT job_parameters FROM runs;
EXPLAIN (COSTS OFF) SELECT tasks FROM runs;
EXPLAIN (COSTS OFF) SELECT count(tasks) FROM runs;

-- by key
EXPLAIN (COSTS OFF, VERBOSE) SELECT name FROM jobs WHERE job_id = 42;
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM runs WHERE run_id = 9223372036854775807;
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE 42 = run_id;
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = 42::smallint;
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id IN (3, 1, 3, NULL, 2);
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = ANY ('{7,7,NULL}');

-- keys that nothing can have: no call
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = 0;
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = -5;
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = ANY ('{}');
EXPLAIN (COSTS OFF) SELECT job_id FROM runs WHERE run_id = ANY ('{NULL}');

-- one key is better than several; other conditions are not sent along
EXPLAIN (COSTS OFF, VERBOSE) SELECT state FROM runs
	WHERE run_id IN (1, 2) AND job_id = 3 AND run_id = 2 AND state = 'TERMINATED';

-- names: equality only, as it is
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs WHERE name = 'nightly & daily';
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs WHERE name = 'nightly'::varchar;
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs WHERE name IN ('a', 'b', 'a');
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE name LIKE 'nightly%';
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE lower(name) = 'nightly';
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE name > 'nightly';
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE name <> 'nightly';
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE name = '';
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs WHERE name = NULL;

-- under a collation that takes different texts for equal nothing is sent
SET client_min_messages = warning;
CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
RESET client_min_messages;
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM jobs WHERE name = 'nightly' COLLATE caseless;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state = 'terminated' COLLATE caseless;
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs WHERE name = 'nightly' COLLATE "C";

-- the job of runs, and their type
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id = 7 AND run_type = 'JOB_RUN';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE job_id IN (7, 8, 7);
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE run_type = 'NEW_RUN';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE run_type IN ('JOB_RUN', 'SUBMIT_RUN');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE run_type IN ('JOB_RUN', 'NEW_RUN');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id IN (7, 8) AND run_type IN ('JOB_RUN', 'SUBMIT_RUN');
-- a parameter that may be repeated: all values in one call
EXPLAIN (COSTS OFF, VERBOSE) SELECT cluster_id FROM clusters
	WHERE state IN ('RUNNING', 'PENDING', 'RUNNING', NULL) AND (cluster_source = 'API' OR cluster_source = 'UI') AND policy_id IN ('p', 'q');
EXPLAIN (COSTS OFF, VERBOSE) SELECT cluster_id FROM clusters WHERE state IN ('RUNNING', 'NEW_STATE');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id > 7;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id = run_id;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE run_id = original_attempt_run_id;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id = 7 OR job_id = 8;
EXPLAIN (COSTS OFF, VERBOSE) SELECT job_id FROM runs WHERE run_id = 7 OR 5000000000 = run_id OR run_id = 7;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id = 7 OR run_type = 'JOB_RUN';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE job_id = 7 OR job_id > 8;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE NOT job_id = 7;

-- times: milliseconds, rounded outward
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time >= '2026-10-01 00:00:00.0015';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time > '2026-10-01 00:00:00.0015';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time <= '2026-10-01 00:00:00.0015';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time < '2026-10-01 00:00:00.0015';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time = '2026-10-01 00:00:00.0015';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE '2026-10-01' < start_time;
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time BETWEEN '2026-10-01' AND '2026-10-02';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time > '2026-10-01' AND start_time > '2026-10-02';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time >= DATE '2026-10-01';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time >= TIMESTAMP '2026-10-01 12:00';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time > now() - interval '1 day';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time > '-infinity' AND start_time < 'infinity';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time >= '1960-01-01';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time < '1960-01-01';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time >= 'infinity';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE start_time BETWEEN '2026-10-02' AND '2026-10-01';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE end_time > '2026-10-01';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE start_time <> '2026-10-01';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE start_time > clock_timestamp();
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE start_time IS NULL;

-- states: only what is exactly implied
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE state = 'TERMINATED';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE state = 'RUNNING';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE state IN ('QUEUED', 'PENDING', 'RUNNING', 'TERMINATING');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state IN ('RUNNING', 'BLOCKED');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state IN ('RUNNING', 'TERMINATED');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state = 'BLOCKED';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state <> 'TERMINATED';
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE end_time IS NULL;
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE result_state = 'FAILED';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE life_cycle_state = 'WAITING_FOR_RETRY';
-- never both flags
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs WHERE state = 'RUNNING' AND life_cycle_state = 'TERMINATED';

-- together
EXPLAIN (COSTS OFF, VERBOSE) SELECT run_id FROM runs
	WHERE job_id = 7 AND state = 'TERMINATED' AND start_time >= '2026-10-01' AND result_state = 'FAILED';

-- the workspace is known without asking
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE workspace = 'fdw_plan';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE workspace = 'other';
EXPLAIN (COSTS OFF) SELECT run_id FROM runs WHERE workspace IN ('other', 'third');

-- parameters of prepared statements
PREPARE by_key(bigint) AS SELECT job_id FROM runs WHERE run_id = $1;
PREPARE by_all(bigint, text, timestamptz, text[]) AS SELECT run_id FROM runs
	WHERE job_id = $1 AND state = $2 AND start_time >= $3 AND run_type = ANY ($4);
EXPLAIN (COSTS OFF) EXECUTE by_key(5);
PREPARE by_states(text[]) AS SELECT cluster_id FROM clusters WHERE state = ANY ($1);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE by_key(5);
EXPLAIN (COSTS OFF, VERBOSE) EXECUTE by_all(5, 'RUNNING', '2026-10-01', '{JOB_RUN}');
EXPLAIN (COSTS OFF) EXECUTE by_states('{RUNNING}');
RESET plan_cache_mode;

-- versions differ in which side of a join's condition comes first
CREATE FUNCTION plan(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
		RETURN NEXT regexp_replace(line, '\((o\.\w+) = ((?:[rj]\.)?\w+)\)', '(\2 = \1)');
	END LOOP;
END $$;

-- joins become look-ups where that is cheaper
CREATE TABLE orders (order_id int, run_id bigint, small_id int, job_name text);
INSERT INTO orders SELECT g, g, g, 'job ' || g FROM generate_series(1, 3) AS g;
ANALYZE orders;
SELECT plan($$SELECT o.order_id, r.state FROM orders o JOIN runs r ON r.run_id = o.run_id$$, 'COSTS OFF, VERBOSE');
SELECT plan($$SELECT o.order_id, r.state FROM orders o JOIN runs r ON r.run_id = o.small_id$$);
EXPLAIN (COSTS OFF) SELECT o.order_id, r.state FROM orders o LEFT JOIN runs r ON r.run_id = o.run_id;
SELECT plan($$SELECT r.state FROM runs r WHERE r.run_id IN (SELECT o.run_id FROM orders o)$$);
SELECT plan($$SELECT o.order_id, j.job_id FROM orders o JOIN jobs j ON j.name = o.job_name$$);
SELECT plan($$SELECT o.order_id, r.run_id FROM orders o JOIN runs r ON r.job_id = o.run_id AND r.state = 'RUNNING'$$);
EXPLAIN (COSTS OFF) SELECT j.name, l.run_id FROM jobs j
	CROSS JOIN LATERAL (SELECT r.run_id FROM runs r WHERE r.job_id = j.job_id LIMIT 1) AS l
	WHERE j.name = 'nightly';
-- many rows: the list is read once
INSERT INTO orders SELECT g, g, g, 'job ' || g FROM generate_series(1, 30000) AS g;
ANALYZE orders;
EXPLAIN (COSTS OFF) SELECT o.order_id, r.state FROM orders o JOIN runs r ON r.run_id = o.run_id;
EXPLAIN (COSTS OFF) SELECT o.order_id, j.job_id FROM orders o JOIN jobs j ON j.name = o.job_name;

-- other formats
SELECT jsonb_pretty(plan($$SELECT run_id FROM runs WHERE job_id = 7 AND result_state = 'FAILED'$$, 'COSTS OFF, VERBOSE, FORMAT JSON')::jsonb #- '{0,Plan,Disabled}') AS plan;

RESET ROLE;

-- with pushdown off nothing is sent
ALTER FOREIGN TABLE runs OPTIONS (ADD pushdown 'false');
EXPLAIN (COSTS OFF, VERBOSE) SELECT state FROM runs
	WHERE run_id = 1 AND job_id = 2 AND state = 'RUNNING' AND workspace = 'other';
EXPLAIN (COSTS OFF) SELECT o.order_id, r.state FROM orders o JOIN runs r ON r.run_id = o.run_id LIMIT 1;

-- the version of the API that the workspace is said to speak
ALTER FOREIGN TABLE runs OPTIONS (DROP pushdown);
ALTER SERVER fdw_plan OPTIONS (ADD jobs_api_version '2.1');
EXPLAIN (COSTS OFF) SELECT count(*) FROM jobs;

SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA fdw_plan CASCADE;
DROP SERVER fdw_plan CASCADE;
DROP OWNED BY regress_fdw_plan;
DROP ROLE regress_fdw_plan;
