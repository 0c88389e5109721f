--
-- Schedules where pg_cron is not there: what they say then, rights, ticks.
--
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
\pset null '(null)'
CREATE ROLE regress_sched_user LOGIN;
CREATE ROLE regress_sched_other LOGIN;
CREATE SERVER sched_prod FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
CREATE USER MAPPING FOR PUBLIC SERVER sched_prod OPTIONS (token 'not-a-token');
GRANT USAGE ON FOREIGN SERVER sched_prod TO regress_sched_user, regress_sched_other;
SELECT databricks.migrate();

-- without pg_cron: the steps
SET ROLE regress_sched_user;
SELECT databricks.schedule('nightly', '0 3 * * *', 1234, workspace => 'sched_prod');
RESET ROLE;

-- what is wrong with the arguments comes first
SELECT databricks.schedule(NULL, '0 3 * * *', 1234);
SELECT databricks.schedule('nightly', NULL, 1234);
SELECT databricks.schedule('nightly', '0 3 * * *', NULL::bigint);
SELECT databricks.schedule('nightly', '0 3 * * *', NULL::text);
SELECT databricks.schedule('nightly', '0 3 * * *', 1, timezone => NULL);
SELECT databricks.schedule('', '0 3 * * *', 1);
SELECT databricks.schedule(repeat('x', 1001), '0 3 * * *', 1);
SELECT databricks.schedule('nightly', '0 3 30 2 *', 1);
SELECT databricks.schedule('nightly', '0 3 * * *', 1, timezone => 'Europe/Nowhere');
SELECT databricks.schedule('nightly', '0 3 * * *', '');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, overlap => 'never');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, misfire => 'never');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, expires_after => '0');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, expires_after => '1001 years');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, max_attempts => 0);
SELECT databricks.schedule('nightly', '0 3 * * *', 1, retry_delay => '-1 s');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, retry_delay => '1001 years');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, '{"day": null}');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, options => '{"queue": {"enabled": true}, "idempotency_token": "x"}');
SELECT databricks.schedule('nightly', '0 3 * * *', 1, options => '{"no_such_option": 1}');

-- as schedules are stored; nobody but the extension writes the table
INSERT INTO databricks.schedule_settings
	(owner, name, workspace, cron, timezone, job_id, parameters_sql, overlap, misfire, max_attempts, retry_delay, cron_entry, done_to)
	VALUES ('regress_sched_user', 'nightly', 'sched_prod', '30 2 * * *', 'Europe/Berlin', 1234,
			$$jsonb_build_object('day', ($1 AT TIME ZONE 'Europe/Berlin')::date - 1, 'who', current_user)$$,
			'allow', 'once', 1, '1 min', '0,30 0,1 * * *', '2026-03-27 12:00+00');
SELECT schedule_id AS nightly FROM databricks.schedule_settings \gset
SET ROLE regress_sched_other;
SELECT count(*) FROM databricks.schedule_settings;
SELECT count(*) FROM databricks.schedules;
SELECT databricks.tick_schedule(:nightly);
SELECT databricks.fire_schedule('nightly');
SELECT databricks.pause_schedule('nightly');
SELECT databricks.unschedule('nightly');
SELECT databricks.backfill_schedule('nightly', '2026-01-01', '2026-02-01');
DELETE FROM databricks.schedule_settings;
RESET ROLE;
-- its SQL must not run as somebody else, not even as a superuser
\set VERBOSITY sqlstate
SELECT databricks.tick_schedule(:nightly);
\set VERBOSITY default
SET ROLE regress_sched_user;
UPDATE databricks.schedule_settings SET cron = '* * * * *';
SELECT name, cron, next_tick > now() AS coming, last_tick, cron_job_id, cron_error FROM databricks.schedules;

-- the night in which the clock skips the hour; too early, twice, late
SELECT databricks.tick_schedule(:nightly, '2026-03-28 00:30:00.1+00') IS NULL AS too_early;
SELECT databricks.tick_schedule(:nightly, '2026-03-28 01:30:00.1+00') IS NOT NULL AS ticked;
SELECT databricks.tick_schedule(:nightly, '2026-03-28 01:30:07.5+00') IS NULL AS twice;
SELECT databricks.tick_schedule(:nightly, '2026-03-29 00:30:00.1+00') IS NULL AS too_early;
SELECT databricks.tick_schedule(:nightly, '2026-03-29 01:00:00.1+00') IS NOT NULL AS jump;
SELECT databricks.tick_schedule(:nightly, '2026-03-29 01:30:00.1+00') IS NULL AS past_it;
SELECT databricks.tick_schedule(:nightly, '2026-03-30 05:17:00.1+00') IS NOT NULL AS late;
SELECT tick, request_key LIKE 'schedule:' || :nightly || ':%' AS key, body, requested_by, state
	FROM databricks.run_requests WHERE schedule_name = 'nightly' ORDER BY request_id;

-- missed ticks: once
SELECT databricks.tick_schedule(:nightly, '2026-04-09 01:00+00') IS NOT NULL AS ticked;
SELECT last_tick, missed_ticks, last_request_tick, last_request_state FROM databricks.schedules;

-- all, in order, the expired ones too
RESET ROLE;
UPDATE databricks.schedule_settings SET misfire = 'all', overlap = 'queue', expires_after = '2 days';
DELETE FROM databricks.run_requests;
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-04-12 01:00+00') IS NOT NULL AS ticked;
SELECT tick, expires_at, state, after_requests = ARRAY[lag(request_id) OVER (ORDER BY request_id)] AS after_previous
	FROM databricks.run_requests ORDER BY request_id;

-- skip: what is too late is left out, and so is what would overlap
RESET ROLE;
UPDATE databricks.schedule_settings SET misfire = 'skip', overlap = 'skip', missed_ticks = 0;
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-04-13 00:41+00') IS NULL AS missed;
SELECT databricks.tick_schedule(:nightly, '2026-04-14 00:35+00') IS NOT NULL AS overlapping;
SELECT last_tick, missed_ticks, last_request_tick, last_request_state, last_error FROM databricks.schedules;

-- cancel what was not sent, then the new one needs to wait for nothing
RESET ROLE;
UPDATE databricks.schedule_settings SET overlap = 'cancel_previous';
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-04-15 00:30+00') IS NOT NULL AS ticked;
SELECT tick, state, cardinality(after_requests) AS after FROM databricks.run_requests ORDER BY request_id;
RESET ROLE;
UPDATE databricks.run_requests SET state = 'running' WHERE state = 'queued';
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-04-16 00:30+00') IS NOT NULL AS ticked;
SELECT r.tick, r.state, a.tick AS after FROM databricks.run_requests r
	LEFT JOIN databricks.run_requests a ON a.request_id = ANY (r.after_requests)
	WHERE r.state IN ('queued', 'running') ORDER BY r.request_id;

-- fired by hand: a run of its own, no tick used up
RESET ROLE;
DELETE FROM databricks.run_requests;
SET ROLE regress_sched_user;
SELECT databricks.fire_schedule('nightly') IS NOT NULL AS fired;
SELECT databricks.fire_schedule('nightly') IS NOT NULL AS fired;
SELECT request_key, tick > now() - interval '1 minute' AS now, state FROM databricks.run_requests ORDER BY request_id;
SELECT last_tick FROM databricks.schedules;

-- filled up afterwards
RESET ROLE;
DELETE FROM databricks.run_requests;
UPDATE databricks.schedule_settings SET expires_after = NULL, done_to = '2026-11-01 00:00+00';
SET ROLE regress_sched_user;
SELECT databricks.backfill_schedule('nightly', NULL, '2026-02-01');
SELECT databricks.backfill_schedule('nightly', '-infinity', '2026-02-01');
SELECT databricks.backfill_schedule('nightly', '2026-01-01', '2026-02-01', 'some');
SELECT databricks.backfill_schedule('nightly', '2026-01-01', '2026-02-01', max_parallel => 0);
SELECT databricks.backfill_schedule('nightly', '1970-01-01', '2026-02-01');
SELECT count(*) FROM databricks.backfill_schedule('nightly', '2026-10-24', '2026-10-29', max_parallel => 2);
SELECT count(*) FROM databricks.backfill_schedule('nightly', '2026-10-24', '2026-10-29');
SELECT r.tick, r.body #>> '{job_parameters,day}' AS day, a.tick AS after FROM databricks.run_requests r
	LEFT JOIN databricks.run_requests a ON a.request_id = ANY (r.after_requests) ORDER BY r.request_id;
RESET ROLE;
UPDATE databricks.run_requests SET state = CASE extract(day FROM tick) WHEN 24 THEN 'failed' WHEN 25 THEN 'skipped' WHEN 26 THEN 'canceled' ELSE 'succeeded' END;
SET ROLE regress_sched_user;
SELECT count(*) FROM databricks.backfill_schedule('nightly', '2026-10-24', '2026-10-29');
SELECT tick, state FROM databricks.run_requests WHERE state = 'queued' ORDER BY request_id;
SELECT count(*) FROM databricks.backfill_schedule('nightly', '2026-10-24', '2026-10-29', 'failed');
SELECT tick, request_key IS NULL AS again FROM databricks.run_requests WHERE state = 'queued' ORDER BY request_id;
SELECT count(*) FROM databricks.backfill_schedule('nightly', '2026-10-24', '2026-10-29', 'all');
SELECT count(*) FROM databricks.backfill_schedule('nightly', now(), now() + interval '2 years');

-- a tick that was filled up already does not tick again
RESET ROLE;
UPDATE databricks.schedule_settings SET done_to = '2026-10-24 12:00+00', overlap = 'allow', misfire = 'all';
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-10-25 12:00+00') IS NULL AS known;
SELECT last_tick FROM databricks.schedules;

-- faults of its SQL stop the tick, which stays to be done
RESET ROLE;
UPDATE databricks.schedule_settings SET parameters_sql = 'jsonb_build_array($1)';
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-02 12:00+00');
RESET ROLE;
UPDATE databricks.schedule_settings SET parameters_sql = 'to_jsonb(1/0)';
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-02 12:00+00');
RESET ROLE;
UPDATE databricks.schedule_settings SET parameters_sql = NULL;
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-02 12:00+00') IS NOT NULL AS made_up;
RESET ROLE;

-- paused: the schedule, its workspace, all of a copied database
INSERT INTO databricks.paused_workspaces (workspace, paused_by) VALUES ('sched_prod', 'regress_sched_user');
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-03 12:00+00') IS NULL AS waits;
RESET ROLE;
DELETE FROM databricks.paused_workspaces;
UPDATE databricks.dispatch_home SET database_oid = 1;
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-03 12:00+00') IS NULL AS waits;
RESET ROLE;
UPDATE databricks.dispatch_home SET database_oid = (SELECT oid FROM pg_database WHERE datname = current_database());
SET ROLE regress_sched_user;
SELECT databricks.tick_schedule(:nightly, '2026-11-03 12:00+00') IS NOT NULL AS goes_on;
SELECT databricks.pause_schedule('nightly');
SELECT databricks.pause_schedule('nightly');
SELECT databricks.tick_schedule(:nightly, '2026-11-04 12:00+00') IS NULL AS paused;
SELECT paused, next_tick FROM databricks.schedules;
SELECT databricks.resume_schedule('nightly');
SELECT databricks.unschedule('nightly');
SELECT count(*) FROM databricks.schedules;
SELECT databricks.tick_schedule(:nightly, '2026-11-04 12:00+00');
RESET ROLE;

-- the table is nobody's member and belongs to the extension's owner
SELECT c.relname, c.relrowsecurity, c.relowner = e.extowner AS owned,
	   EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
			   AND d.refclassid = 'pg_extension'::regclass) AS member
	FROM pg_class c, pg_extension e
	WHERE e.extname = 'databricks' AND c.oid = 'databricks.schedule_settings'::regclass;

DROP SERVER sched_prod CASCADE;
DO $$
DECLARE t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'databricks'::regnamespace AND c.relkind = 'r'
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LOOP
		EXECUTE format('DROP TABLE %s CASCADE', t);
	END LOOP;
END $$;
DROP ROLE regress_sched_user, regress_sched_other;
