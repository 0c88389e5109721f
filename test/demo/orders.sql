\set ECHO none
\set QUIET on
/*
 * orders.sql
 *	  The second part of "make demo": runs that belong to a transaction, an answer
 *	  that is lost on its way, and SQL between two jobs.
 *
 * Needs the workspace that session.sql connects and tracks. What stands between ECHO
 * none and ECHO all is carried out but not shown: it checks what was shown.
 */
\pset null '(null)'
\i test/demo/expect.sql
SELECT databricks.find_job('nightly-sales-etl') AS job \gset
SELECT count(*) AS runs_before FROM databricks.runs WHERE job_id = :job \gset
\set QUIET off
\set ECHO all
-- What is written down with enqueue_run_now() belongs to the transaction.
CREATE TABLE orders (day date, customer text, amount numeric);
CREATE TABLE loads (request_id bigint PRIMARY KEY, run_id bigint, orders bigint);
BEGIN;
INSERT INTO orders VALUES ('2026-11-22', 'Acme', 99.50);
SELECT databricks.enqueue_run_now('nightly-sales-etl', '{"day": "2026-11-22"}');
ROLLBACK;
SELECT count(*) AS requests FROM databricks.run_requests WHERE schedule_name IS NULL;
\set ECHO none
SELECT pg_temp.expect(count(*) = 0, 'rolled back') FROM databricks.run_requests WHERE schedule_name IS NULL \gset
\set ECHO all

-- Now for good: load the day, then count its orders in SQL, then start another
-- job. And the network breaks down just when the workspace has started the run:
-- the answer with its id never comes.
\! $DEMO_PYTHON test/demo/world.py $DEMO_WORKSPACE lose-answer
BEGIN;
INSERT INTO orders VALUES ('2026-11-22', 'Acme', 99.50), ('2026-11-22', 'Blimp', 12);
SELECT databricks.enqueue_run_now('nightly-sales-etl', '{"day": "2026-11-22"}', request_key => 'sales 2026-11-22',
	on_success => $$INSERT INTO loads SELECT $1, $2, count(*) FROM orders WHERE day = '2026-11-22'$$) AS load \gset
SELECT databricks.enqueue_run_now('inventory-sync', depends_on => ARRAY[:load]) AS sync \gset
COMMIT;
CALL databricks.await_request(:sync);

-- Sent twice with one token: one run. Then the SQL, then the other job.
\! $DEMO_PYTHON test/demo/world.py $DEMO_WORKSPACE starts
SELECT request_id, coalesce(job_name, body->>'job_id') AS job, state, attempt, run_id, triggered_at::timestamptz(0)
FROM databricks.run_requests WHERE schedule_name IS NULL ORDER BY request_id;
SELECT l.*, h.result_state FROM loads AS l JOIN databricks.run_history AS h USING (run_id);
\set ECHO none
SELECT pg_temp.expect(:ROW_COUNT = 1, 'the SQL between has run') \gset
SELECT pg_temp.expect(count(*) = 1 + :runs_before, 'one run for one request') FROM databricks.runs WHERE job_id = :job \gset
\set ECHO all
