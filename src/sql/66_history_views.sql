/*
 * 66_history_views.sql
 *	  What the run history tells: statistics, failures, what is late or missing.
 *
 * Views over the data tables alone belong to the user as the tables do and are
 * made by a migration. Those that need functions of the extension, foreign
 * tables or tables that may not exist are members of it and go through functions
 * that find their tables when they are called, so that a dump restores anywhere
 * and DROP EXTENSION takes nothing of the user along.
 */

CREATE FUNCTION databricks.data_migration_5()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	CREATE INDEX run_history_failed_idx ON databricks.run_history (end_time)
		WHERE result_state NOT IN ('SUCCESS', 'SUCCESS_WITH_FAILURES', 'CANCELED', 'UPSTREAM_CANCELED', 'EXCLUDED', 'DISABLED', 'MAXIMUM_CONCURRENT_RUNS_REACHED') OR result_state IS NULL AND life_cycle_state = 'INTERNAL_ERROR';
	CREATE INDEX run_history_periodic_idx ON databricks.run_history (workspace, job_id, start_time)
		WHERE trigger = 'PERIODIC';

	CREATE VIEW databricks.run_stats WITH (security_invoker = true) AS
		SELECT s.workspace, s.job_id, s.job_name, s.runs, s.succeeded, s.failed, s.canceled, s.skipped,
			   round(s.succeeded::numeric / nullif(s.succeeded + s.failed, 0), 4) AS success_rate,
			   s.p50 * interval '1 second' AS p50_duration,
			   s.p95 * interval '1 second' AS p95_duration,
			   round((s.p50_recent / nullif(s.p50_before, 0))::numeric, 2) AS trend,
			   s.last_success, s.last_run
		FROM (
			SELECT d.workspace, d.job_id,
				   (array_agg(d.run_name ORDER BY d.start_time DESC))[1] AS job_name,
				   count(*) AS runs,
				   count(*) FILTER (WHERE d.kind = 's') AS succeeded,
				   count(*) FILTER (WHERE d.kind = 'f') AS failed,
				   count(*) FILTER (WHERE d.kind = 'c') AS canceled,
				   count(*) FILTER (WHERE d.kind = 'k') AS skipped,
				   percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds) FILTER (WHERE d.kind = 's') AS p50,
				   percentile_cont(0.95) WITHIN GROUP (ORDER BY d.seconds) FILTER (WHERE d.kind = 's') AS p95,
				   percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds)
					   FILTER (WHERE d.kind = 's' AND d.start_time > now() - interval '7 days') AS p50_recent,
				   percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds)
					   FILTER (WHERE d.kind = 's' AND d.start_time <= now() - interval '7 days') AS p50_before,
				   max(d.end_time) FILTER (WHERE d.kind = 's') AS last_success,
				   max(d.start_time) AS last_run
			FROM (
				SELECT h.workspace, h.job_id, h.run_name, h.start_time, h.end_time,
					   extract(epoch FROM coalesce(h.run_duration, h.end_time - h.start_time))::float8 AS seconds,
					   CASE WHEN h.result_state = 'SUCCESS' THEN 's'
							WHEN h.result_state = 'SUCCESS_WITH_FAILURES' THEN
								CASE WHEN current_setting('databricks.success_with_failures', true) = 'off' THEN 'f' ELSE 's' END
							WHEN h.result_state IN ('CANCELED', 'UPSTREAM_CANCELED') THEN 'c'
							WHEN h.result_state IN ('EXCLUDED', 'DISABLED', 'MAXIMUM_CONCURRENT_RUNS_REACHED')
								OR h.life_cycle_state = 'SKIPPED' THEN 'k'
							ELSE 'f' END AS kind
				FROM databricks.run_history AS h
				WHERE h.start_time > now() - interval '30 days'
				  AND (h.state = 'TERMINATED' OR h.life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR'))
				  AND h.run_type IS DISTINCT FROM 'SUBMIT_RUN'
				  AND h.job_id IS NOT NULL) AS d
			GROUP BY d.workspace, d.job_id) AS s;
	COMMENT ON VIEW databricks.run_stats IS
		'Each job over the runs of run_history that started in the last 30 days and have ended: how many, success rate (of those that succeeded or failed), durations of successful runs, trend (median of the last 7 days by that of the days before: 1.50 is half as long again), last success. Example: SELECT job_name, runs, success_rate, p95_duration FROM databricks.run_stats WHERE success_rate < 0.9 ORDER BY failed DESC;';

	CREATE VIEW databricks.late_runs WITH (security_invoker = true) AS
		SELECT h.workspace, h.run_id, h.job_id, h.run_name, h.state, h.start_time,
			   clock_timestamp() - b.begun AS running_for,
			   p.p95 * interval '1 second' AS p95_duration,
			   clock_timestamp() - b.begun - p.p95 * interval '1 second' AS late_by,
			   h.run_page_url
		FROM databricks.run_history AS h
		CROSS JOIN LATERAL (
			SELECT greatest(h.start_time, max(t.observed_at)) AS begun
			FROM databricks.run_transitions AS t
			WHERE t.workspace = h.workspace AND t.run_id = h.run_id AND t.state = 'TERMINATED') AS b
		CROSS JOIN LATERAL (
			SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY l.seconds) AS p95, count(*) AS runs
			FROM (
				SELECT extract(epoch FROM coalesce(o.run_duration, o.end_time - o.start_time))::float8 AS seconds
				FROM databricks.run_history AS o
				WHERE o.workspace = h.workspace AND o.job_id = h.job_id AND o.start_time < h.start_time
				  AND o.result_state IN ('SUCCESS', 'SUCCESS_WITH_FAILURES')
				ORDER BY o.start_time DESC LIMIT 100) AS l) AS p
		WHERE h.gone_at IS NULL
		  AND h.state IS DISTINCT FROM 'TERMINATED'
		  AND h.life_cycle_state IS DISTINCT FROM 'TERMINATED'
		  AND h.life_cycle_state IS DISTINCT FROM 'SKIPPED'
		  AND h.life_cycle_state IS DISTINCT FROM 'INTERNAL_ERROR'
		  AND p.runs >= 5
		  AND extract(epoch FROM clock_timestamp() - b.begun) > p.p95;
	COMMENT ON VIEW databricks.late_runs IS
		'Active runs that take longer than 95 of 100 successful runs of their job did (the last 100, at least 5); one that is repaired, since it was last seen to have ended. Example: SELECT run_name, running_for, late_by FROM databricks.late_runs ORDER BY late_by DESC;';

	CREATE VIEW databricks.failed_runs WITH (security_invoker = true) AS
		SELECT h.workspace, h.run_id, h.request_id, h.job_id, h.run_name, h.result_state,
			   h.termination_code, h.termination_type, h.end_time AS failed_at,
			   (SELECT array_agg(t.task_key ORDER BY t.start_time, t.task_key) FROM databricks.task_history AS t
				WHERE t.workspace = h.workspace AND t.run_id = h.run_id AND t.is_latest
				  AND t.result_state NOT IN ('SUCCESS', 'SUCCESS_WITH_FAILURES', 'EXCLUDED', 'DISABLED', 'UPSTREAM_FAILED', 'UPSTREAM_CANCELED')) AS failed_tasks,
			   coalesce((SELECT coalesce(t.error, nullif(t.state_message, '')) FROM databricks.task_history AS t
						 WHERE t.workspace = h.workspace AND t.run_id = h.run_id AND t.is_latest
						   AND t.result_state NOT IN ('SUCCESS', 'SUCCESS_WITH_FAILURES', 'EXCLUDED', 'DISABLED', 'UPSTREAM_FAILED', 'UPSTREAM_CANCELED')
						 ORDER BY t.end_time, t.task_run_id LIMIT 1), h.state_message) AS first_error,
			   h.run_page_url
		FROM databricks.run_history AS h
		WHERE (h.result_state NOT IN ('SUCCESS', 'SUCCESS_WITH_FAILURES', 'CANCELED', 'UPSTREAM_CANCELED', 'EXCLUDED', 'DISABLED', 'MAXIMUM_CONCURRENT_RUNS_REACHED') OR h.result_state IS NULL AND h.life_cycle_state = 'INTERNAL_ERROR')
		  AND (h.state = 'TERMINATED' OR h.life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR'))
		UNION ALL
		SELECT h.workspace, h.run_id, h.request_id, h.job_id, h.run_name, h.result_state,
			   h.termination_code, h.termination_type, h.end_time, NULL::text[], h.state_message, h.run_page_url
		FROM databricks.run_history AS h
		WHERE h.result_state = 'SUCCESS_WITH_FAILURES'
		  AND current_setting('databricks.success_with_failures', true) = 'off'
		UNION ALL
		SELECT r.workspace, NULL, r.request_id, r.job_id, r.job_name, r.state,
			   NULL, NULL, r.finished_at, NULL, r.last_error, NULL
		FROM databricks.run_requests AS r
		WHERE r.run_id IS NULL AND r.state IN ('rejected', 'expired', 'failed');
	COMMENT ON VIEW databricks.failed_runs IS
		'Runs that failed, newest attempt of each task: which tasks, and the first error; and requests that never became a run (run_id NULL, result_state is the state of the request). Cancelled and skipped runs are not among them. Example: SELECT failed_at, run_name, failed_tasks, first_error FROM databricks.failed_runs WHERE failed_at > now() - interval ''1 day'' ORDER BY failed_at DESC;';

	CREATE VIEW databricks.failure_reasons WITH (security_invoker = true) AS
		SELECT f.workspace, f.termination_code, f.termination_type, f.error_line,
			   count(*) AS runs, count(DISTINCT f.job_id) AS jobs,
			   min(f.failed_at) AS first_time, max(f.failed_at) AS last_time,
			   (array_agg(f.run_id ORDER BY f.failed_at DESC))[1] AS last_run_id
		FROM (
			SELECT r.workspace, coalesce(r.termination_code, r.result_state) AS termination_code, r.termination_type, r.job_id, r.run_id, r.failed_at,
				   left(regexp_replace(split_part(ltrim(regexp_replace(left(r.first_error, 2000), E'\\x1b\\[[0-9;]*[A-Za-z]', '', 'g'), E' \r\n\t'), E'\n', 1),
						'[0-9]{4,}', '#', 'g'), 200) AS error_line
			FROM databricks.failed_runs AS r
			WHERE r.failed_at > now() - interval '30 days') AS f
		GROUP BY f.workspace, f.termination_code, f.termination_type, f.error_line;
	COMMENT ON VIEW databricks.failure_reasons IS
		'Failures of the last 30 days by code and first line of the error, with long numbers as #: how many runs of how many jobs. Example: SELECT error_line, runs, jobs, last_run_id FROM databricks.failure_reasons ORDER BY runs DESC LIMIT 10;';

	REVOKE ALL ON databricks.run_stats, databricks.late_runs, databricks.failed_runs, databricks.failure_reasons FROM PUBLIC;
	GRANT SELECT ON databricks.run_stats, databricks.late_runs, databricks.failed_runs, databricks.failure_reasons TO PUBLIC;
	COMMENT ON VIEW databricks.active_runs IS
		'Runs of run_history that have not ended, as last seen. Example: SELECT run_name, state, running_for FROM databricks.active_runs ORDER BY running_for DESC;';
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_5() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_5() IS
	'Fifth layout of the data tables: views of the history. Called by migrate(), not by people.';

/* ---- what is tracked ---- */

CREATE VIEW databricks.tracking WITH (security_invoker = true) AS
	SELECT t.workspace, t.poll_interval, t.backfill, t.retention, t.outputs,
		   t.tracked_by, t.tracked_at,
		   s.last_sweep_at, s.next_sweep_at, s.lag, s.sweeps, s.active_runs,
		   t.backfilled_to, t.backfill_finished_at,
		   CASE WHEN s.workspace IS NULL THEN databricks.pause_reason(t.workspace::pg_catalog.name)
				ELSE s.last_error END AS last_error,
		   s.last_error_at
	FROM databricks.tracked_workspaces() AS t
	LEFT JOIN databricks.stat_tracking() AS s
		ON s.workspace OPERATOR(pg_catalog.=) t.workspace;
REVOKE ALL ON databricks.tracking FROM PUBLIC;
GRANT SELECT ON databricks.tracking TO PUBLIC;
COMMENT ON VIEW databricks.tracking IS
	'Tracked workspaces on which the caller has USAGE: settings, begin of the last complete sweep and of the next one, how far sweeps are behind, how many were done since the worker started, runs known to be active, how far back the backfill has come, what is wrong: with the last sweep, with single runs that cannot be read or written, with what is done beside the sweeps, or why there are none. In a database that was restored or copied from another one there are none until resume_workspace(). Example: SELECT workspace, lag, active_runs, last_error FROM databricks.tracking WHERE last_error IS NOT NULL;';

/* ---- schedules of Databricks ---- */

CREATE FUNCTION databricks.quartz_to_cron(quartz pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	fields text[] := regexp_split_to_array(upper(btrim(quartz)), '\s+');
	tops CONSTANT text[] := ARRAY['59', '23', '31', '12', '6'];
	result text[];
	items text[];
	field text;
	item text;
	parts text[];
BEGIN
	IF quartz IS NULL OR coalesce(array_length(fields, 1), 0) NOT IN (6, 7) OR fields[1] !~ '^[0-5]?[0-9]$'
	   OR fields[7] IS NOT NULL AND fields[7] <> '*' THEN
		RETURN NULL;
	END IF;
	-- one of the day fields must leave the choice to the other
	IF fields[4] NOT IN ('?', '*') AND fields[6] NOT IN ('?', '*') THEN
		RETURN NULL;
	END IF;
	FOR i IN 1..5 LOOP
		field := fields[i + 1];
		items := NULL;
		FOREACH item IN ARRAY string_to_array(field, ',') LOOP
			IF item = '?' AND i IN (3, 5) THEN
				item := '*';
			ELSIF item = 'L' AND i = 3 THEN
				item := '$';
			ELSIF item !~ '^(\*|[0-9]+(-[0-9]+)?|[A-Z]{3}(-[A-Z]{3})?)(/[0-9]+)?$' THEN
				RETURN NULL;
			ELSE
				parts := regexp_match(item, '^([^/]+)(?:/(.*))?$');
				IF i = 5 AND parts[1] ~ '^[0-9]' THEN
					-- Quartz counts days of the week from 1, Sunday
					IF parts[1] !~ '^[1-7](-[1-7])?$' THEN
						RETURN NULL;
					END IF;
					parts[1] := translate(parts[1], '1234567', '0123456');
				END IF;
				IF parts[2] IS NULL THEN
					item := parts[1];
				ELSIF parts[1] ~ '^[0-9]+$' THEN
					item := parts[1] || '-' || tops[i] || '/' || parts[2];
				ELSIF parts[1] ~ '^[A-Z]' THEN
					RETURN NULL;
				ELSE
					item := parts[1] || '/' || parts[2];
				END IF;
			END IF;
			items := items || item;
		END LOOP;
		result := result || array_to_string(items, ',');
	END LOOP;
	RETURN array_to_string(result, ' ');
END
$$;
COMMENT ON FUNCTION databricks.quartz_to_cron(pg_catalog.text) IS
	'The cron expression, as next_tick() takes it, with the ticks of a Quartz expression as jobs have it, to the minute; NULL for what has none: seconds that are not one number, years, W, #, L with a number, both day fields given. Example: SELECT databricks.quartz_to_cron(''0 30 6 ? * MON-FRI''); gives 30 6 * * MON-FRI. No call of the service.';

CREATE FUNCTION databricks.find_missing_runs(since pg_catalog.interval DEFAULT '1 day')
RETURNS TABLE (
	workspace pg_catalog.text,
	job_id pg_catalog.int8,
	job_name pg_catalog.text,
	schedule_name pg_catalog.text,
	expression pg_catalog.text,
	timezone pg_catalog.text,
	expected_at pg_catalog.timestamptz,
	status pg_catalog.text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	grace CONSTANT interval := '10 minutes';
	job record;
	tick timestamptz;
	begun timestamptz;
BEGIN
	IF to_regclass('databricks.task_history') IS NULL THEN
		RETURN;
	END IF;

	-- our own schedules: each tick has a request, whatever became of it
	FOR job IN
		SELECT s.workspace, s.job_id, s.job_name, s.name, s.owner, s.cron, s.timezone,
			   greatest(s.created_at, now() - since) AS begun
		FROM databricks.schedule_settings AS s
		WHERE s.paused_at IS NULL
	LOOP
		FOR tick IN
			SELECT t FROM databricks.ticks(job.cron, job.begun, now() - grace, job.timezone) AS t
		LOOP
			IF NOT EXISTS (SELECT FROM databricks.run_requests AS r
						   WHERE r.requested_by = job.owner AND r.schedule_name = job.name AND r.tick = find_missing_runs.tick) THEN
				RETURN QUERY SELECT job.workspace, job.job_id, job.job_name, job.name, job.cron, job.timezone, tick, 'missing';
			END IF;
		END LOOP;
	END LOOP;

	-- schedules of Databricks, as the last run they started shows them
	FOR job IN
		WITH RECURSIVE jobs AS (
			(SELECT h.workspace, h.job_id FROM databricks.run_history AS h
			 WHERE h.trigger = 'PERIODIC' AND h.job_id IS NOT NULL
			 ORDER BY h.workspace, h.job_id LIMIT 1)
			UNION ALL
			SELECT n.* FROM jobs AS j CROSS JOIN LATERAL (
				SELECT h.workspace, h.job_id FROM databricks.run_history AS h
				WHERE h.trigger = 'PERIODIC' AND (h.workspace, h.job_id) > (j.workspace, j.job_id)
				ORDER BY h.workspace, h.job_id LIMIT 1) AS n)
		SELECT j.workspace, j.job_id, l.run_name, l.schedule ->> 'quartz_cron_expression' AS quartz,
			   coalesce(l.schedule ->> 'timezone_id', 'UTC') AS timezone, l.start_time, l.schedule,
			   databricks.quartz_to_cron(l.schedule ->> 'quartz_cron_expression') AS cron
		FROM jobs AS j CROSS JOIN LATERAL (
			SELECT h.run_name, h.schedule, h.start_time FROM databricks.run_history AS h
			WHERE h.workspace = j.workspace AND h.job_id = j.job_id AND h.trigger = 'PERIODIC'
			ORDER BY h.start_time DESC NULLS LAST LIMIT 1) AS l
		WHERE l.schedule ->> 'quartz_cron_expression' IS NOT NULL
		  AND l.schedule ->> 'pause_status' IS DISTINCT FROM 'PAUSED'
	LOOP
		BEGIN
			IF job.cron IS NULL THEN
				RETURN QUERY SELECT job.workspace, job.job_id, job.run_name, NULL::text, job.quartz, job.timezone, NULL::timestamptz, 'unknown';
				CONTINUE;
			END IF;
			-- not before the first run we know with just this schedule
			SELECT coalesce(min(h.start_time), job.start_time) INTO begun
			FROM databricks.run_history AS h
			WHERE h.workspace = job.workspace AND h.job_id = job.job_id AND h.trigger = 'PERIODIC'
			  AND h.schedule = job.schedule AND h.start_time > now() - since - interval '1 day';
			FOR tick IN
				SELECT t FROM databricks.ticks(job.cron, greatest(begun, now() - since), now() - grace, job.timezone) AS t
			LOOP
				IF NOT EXISTS (SELECT FROM databricks.run_history AS h
							   WHERE h.workspace = job.workspace AND h.job_id = job.job_id AND h.trigger = 'PERIODIC'
								 AND h.start_time >= tick - interval '1 minute'
								 AND h.start_time < least(tick + interval '1 hour',
									 databricks.next_tick(job.cron, tick, job.timezone) - interval '1 second')) THEN
					RETURN QUERY SELECT job.workspace, job.job_id, job.run_name, NULL::text, job.quartz, job.timezone, tick, 'missing';
				END IF;
			END LOOP;
		EXCEPTION WHEN invalid_parameter_value THEN
			RETURN QUERY SELECT job.workspace, job.job_id, job.run_name, NULL::text, job.quartz, job.timezone, NULL::timestamptz, 'unknown';
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION databricks.find_missing_runs(pg_catalog.interval) IS
	'As view missing_runs, over another time than the last day. Example: SELECT * FROM databricks.find_missing_runs(''7 days'');';

CREATE VIEW databricks.missing_runs WITH (security_invoker = true) AS
	SELECT m.workspace, m.job_id, m.job_name, m.schedule_name, m.expression, m.timezone, m.expected_at, m.status
	FROM databricks.find_missing_runs() AS m;
REVOKE ALL ON databricks.missing_runs FROM PUBLIC;
GRANT SELECT ON databricks.missing_runs TO PUBLIC;
COMMENT ON VIEW databricks.missing_runs IS
	'Runs of the last day that a schedule should have started and did not, 10 minutes after they were expected at the earliest: by the caller''s schedules of this database (no request for the tick), and by schedules in Databricks as the last run that each has started shows them (no such run within an hour). status unknown: the Quartz expression is one we do not understand. A schedule that was paused or changed in Databricks since its last run shows as missing. Example: SELECT job_name, expected_at FROM databricks.missing_runs WHERE status = ''missing'';';

/* ---- clusters: from the foreign table, as the caller may read it ---- */

CREATE FUNCTION databricks.find_cluster_usage(wanted pg_catalog.text DEFAULT NULL)
RETURNS TABLE (
	workspace pg_catalog.text,
	cluster_id pg_catalog.text,
	cluster_name pg_catalog.text,
	state pg_catalog.text,
	cluster_source pg_catalog.text,
	running_since pg_catalog.timestamptz,
	autotermination_minutes pg_catalog.int4,
	active_tasks pg_catalog.int8,
	tasks pg_catalog.int8,
	task_time pg_catalog.interval,
	last_task_end pg_catalog.timestamptz,
	problem pg_catalog.text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source record;
	done text[] := '{}';
	failed text[] := '{}';
	code text;
BEGIN
	IF to_regclass('databricks.task_history') IS NULL THEN
		RETURN;
	END IF;
	FOR source IN
		SELECT s.srvname::text AS workspace, format('%I.%I', n.nspname, c.relname) AS name
		FROM pg_foreign_table AS f
		JOIN pg_class AS c ON c.oid = f.ftrelid
		JOIN pg_namespace AS n ON n.oid = c.relnamespace
		JOIN pg_foreign_server AS s ON s.oid = f.ftserver
		JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
		WHERE w.fdwname = 'databricks' AND 'resource=clusters' = ANY (f.ftoptions)
		  AND has_server_privilege(s.oid, 'USAGE') AND has_schema_privilege(n.oid, 'USAGE')
		  AND has_table_privilege(c.oid, 'SELECT')
		ORDER BY c.oid
	LOOP
		CONTINUE WHEN source.workspace = ANY (done);
		done := done || source.workspace;
		CONTINUE WHEN source.workspace <> wanted;
		BEGIN
			-- Sorted, so that nothing comes before all of it has.
			RETURN QUERY EXECUTE format($query$
			SELECT c.workspace::text, c.cluster_id, c.cluster_name, c.state, c.cluster_source,
				   CASE WHEN c.state IN ('RUNNING', 'RESIZING') THEN coalesce(c.last_restarted_time, c.start_time) END,
				   nullif(c.autotermination_minutes, 0),
				   coalesce(t.active, 0), coalesce(t.tasks, 0), coalesce(t.task_time, interval '0'), t.last_end, NULL::text
			FROM %s AS c
			LEFT JOIN (
				SELECT h.cluster_id, count(*) FILTER (WHERE h.end_time IS NULL) AS active, count(*) AS tasks,
					   sum(coalesce(h.execution_duration, h.end_time - h.start_time)) AS task_time, max(h.end_time) AS last_end
				FROM databricks.task_history AS h
				WHERE h.workspace = %L AND h.cluster_id IS NOT NULL AND h.start_time > now() - interval '7 days'
				GROUP BY h.cluster_id) AS t ON t.cluster_id = c.cluster_id
			ORDER BY c.cluster_id
			$query$, source.name, source.workspace);
		EXCEPTION WHEN OTHERS THEN
			failed := failed || source.workspace;
			code := SQLSTATE;
			problem := SQLERRM;
			RAISE WARNING 'the clusters of workspace "%" could not be read: %', source.workspace, problem;
			workspace := source.workspace;
			RETURN NEXT;
		END;
	END LOOP;
	IF failed <> '{}' AND failed = done THEN
		RAISE EXCEPTION USING ERRCODE = code, MESSAGE = problem;
	END IF;
END
$$;
COMMENT ON FUNCTION databricks.find_cluster_usage(pg_catalog.text) IS
	'What view cluster_usage shows; of one workspace, if one is wanted. A workspace that could not be read is a row with the problem, and a warning; an error where there is no other.';

-- One call for each server: a condition on workspace then spares the others.
CREATE VIEW databricks.cluster_usage WITH (security_invoker = true) AS
	SELECT s.srvname::pg_catalog.text AS workspace, u.cluster_id, u.cluster_name, u.state, u.cluster_source,
		   u.running_since, u.autotermination_minutes, u.active_tasks, u.tasks, u.task_time, u.last_task_end, u.problem
	FROM pg_catalog.pg_foreign_server AS s
	CROSS JOIN LATERAL databricks.find_cluster_usage(s.srvname::pg_catalog.text) AS u;
CREATE VIEW databricks.idle_clusters WITH (security_invoker = true) AS
	SELECT u.workspace, u.cluster_id, u.cluster_name, u.cluster_source, u.running_since, u.last_task_end,
		   pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) GREATEST(u.running_since, u.last_task_end) AS idle_for,
		   u.autotermination_minutes,
		   CASE WHEN u.problem IS NULL THEN u.autotermination_minutes IS NULL END AS never_terminates,
		   u.problem
	FROM databricks.cluster_usage AS u
	WHERE u.running_since IS NOT NULL AND u.active_tasks OPERATOR(pg_catalog.=) 0
	   OR u.problem IS NOT NULL;
REVOKE ALL ON databricks.cluster_usage, databricks.idle_clusters FROM PUBLIC;
GRANT SELECT ON databricks.cluster_usage, databricks.idle_clusters TO PUBLIC;
COMMENT ON VIEW databricks.cluster_usage IS
	'Clusters, with the tasks of the last 7 days that run_history saw on them: how many, how long, when the last one ended. Reads the foreign tables clusters that the caller may read; a condition on workspace spares calls to others. A workspace that cannot be read is a row with the problem, and a warning; an error where there is no other. Example: SELECT cluster_name, tasks, task_time FROM databricks.cluster_usage ORDER BY task_time DESC; GET /api/2.1/clusters/list.';
COMMENT ON VIEW databricks.idle_clusters IS
	'Clusters that run while no task of a tracked job does; people may use them otherwise. A condition on workspace spares calls to others. never_terminates: nothing but somebody will end them. A workspace that cannot be read is a row with the problem, and a warning; an error where there is no other. Example: SELECT cluster_name, idle_for FROM databricks.idle_clusters WHERE never_terminates; GET /api/2.1/clusters/list.';

/* ---- for people and for monitoring ---- */

CREATE FUNCTION databricks.short_time(seconds pg_catalog.float8)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
	WHEN seconds < 59.95 THEN round(seconds::numeric, 1) || ' s'
	WHEN seconds < 3600 THEN to_char(seconds * interval '1 second', 'FMMI"m "SS"s"')
	WHEN seconds < 86400 THEN to_char(seconds * interval '1 second', 'FMHH24"h "MI"m"')
	ELSE floor(seconds / 86400) || 'd ' || floor(seconds::numeric % 86400 / 3600) || 'h' END
$$;
COMMENT ON FUNCTION databricks.short_time(pg_catalog.float8) IS
	'Seconds as people read them, in at most 7 characters up to 99 days: 0.4 s, 3m 20s, 2h 05m, 3d 4h. Null for null.';

CREATE FUNCTION databricks.gantt(
	run_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF pg_catalog.text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	width CONSTANT int := 38;
	-- what takes two columns of a terminal
	wide CONSTANT text := '\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\U0001f300-\U0001f64f\U0001f900-\U0001f9ff\U00020000-\U0003fffd';
	name text;
	run record;
	copies bigint := 0;
	task record;
	span float8;
	first int;
	work int;
	last int;
	bar text;
	mark text;
BEGIN
	PERFORM databricks.required(run_id, 'run_id');
	IF to_regclass('databricks.task_history') IS NOT NULL THEN
		SELECT h.* INTO run FROM databricks.run_history AS h
		WHERE h.run_id = gantt.run_id AND (gantt.workspace IS NULL OR h.workspace = gantt.workspace::text);
		copies := (SELECT count(*) FROM databricks.run_history AS h
				   WHERE h.run_id = gantt.run_id AND (gantt.workspace IS NULL OR h.workspace = gantt.workspace::text));
	END IF;
	IF copies = 0 THEN
		RAISE EXCEPTION 'run % is not in the history', run_id USING ERRCODE = 'undefined_object',
			HINT = 'Runs of tracked workspaces are, see databricks.track().';
	ELSIF copies > 1 THEN
		RAISE EXCEPTION 'run % is known in several workspaces', run_id USING ERRCODE = 'ambiguous_parameter',
			HINT = 'Name the workspace.';
	END IF;

	name := left(regexp_replace(coalesce(run.run_name, 'run'), '[[:cntrl:]]', ' ', 'g'), 30);
	WHILE length(name) + length(regexp_replace(name, '[^' || wide || ']', '', 'g')) > 30 LOOP
		name := left(name, -1);
	END LOOP;
	RETURN NEXT left(format('%s  %s  %s  %s', name, run_id,
		coalesce(run.result_state, run.state, '?'),
		date_trunc('second', coalesce(run.run_duration, coalesce(run.end_time, clock_timestamp()) - run.start_time))), 78);
	span := (SELECT greatest(0.001, extract(epoch FROM max(coalesce(t.end_time, run.end_time, clock_timestamp())) - min(t.start_time)))
			 FROM databricks.task_history AS t WHERE t.workspace = run.workspace AND t.run_id = gantt.run_id AND t.start_time IS NOT NULL);
	FOR task IN
		SELECT t.task_key, t.attempt_number, t.is_latest, t.state, t.result_state, t.start_time, t.end_time, t.setup_duration,
			   extract(epoch FROM t.start_time - min(t.start_time) OVER ()) AS begins,
			   extract(epoch FROM coalesce(t.end_time, run.end_time, clock_timestamp()) - t.start_time) AS lasts,
			   count(*) OVER (PARTITION BY t.task_key) > 1 AS again
		FROM databricks.task_history AS t
		WHERE t.workspace = run.workspace AND t.run_id = gantt.run_id
		ORDER BY t.start_time NULLS LAST, t.task_run_id
	LOOP
		mark := CASE WHEN task.result_state IN ('SUCCESS', 'SUCCESS_WITH_FAILURES') THEN '='
					 WHEN task.result_state IS NOT NULL THEN 'x' ELSE '~' END;
		bar := '';
		IF task.start_time IS NOT NULL THEN
			first := least(width - 1, floor(task.begins / span * width))::int;
			last := greatest(first + 1, least(width, ceil((task.begins + task.lasts) / span * width)))::int;
			work := least(last - 1, first + round(coalesce(extract(epoch FROM task.setup_duration), 0) / span * width))::int;
			bar := repeat(' ', first) || repeat('-', work - first) || repeat(mark, last - work);
		END IF;
		RETURN NEXT rtrim(left(format('%s |%s|%s %s',
			rpad(left(regexp_replace(task.task_key || CASE WHEN task.again THEN ' #' || coalesce(task.attempt_number, 0) + 1 ELSE '' END,
				'[[:cntrl:]]', ' ', 'g'), 20), 20),
			rpad(bar, width),
			lpad(CASE WHEN task.start_time IS NULL THEN '' ELSE databricks.short_time(task.lasts) END, 7),
			CASE mark WHEN '=' THEN '' ELSE left(coalesce(task.result_state, task.state, ''), 9) END), 78));
	END LOOP;
	IF NOT FOUND THEN
		RETURN NEXT '(no task is known yet)';
	END IF;
END
$$;
COMMENT ON FUNCTION databricks.gantt(pg_catalog.int8, pg_catalog.name) IS
	'Draws the tasks of a run of run_history over time, one line of at most 78 characters per attempt: - is set-up, = success, x another end, ~ not ended. Example: SELECT databricks.gantt(123456); No call of the service. Errors: 22004, 42704 not in the history, 42P08 known in several workspaces.';

REVOKE ALL ON FUNCTION databricks.quartz_to_cron(pg_catalog.text), databricks.find_missing_runs(pg_catalog.interval), databricks.find_cluster_usage(pg_catalog.text), databricks.short_time(pg_catalog.float8), databricks.gantt(pg_catalog.int8, pg_catalog.name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION databricks.quartz_to_cron(pg_catalog.text), databricks.find_missing_runs(pg_catalog.interval), databricks.find_cluster_usage(pg_catalog.text), databricks.short_time(pg_catalog.float8), databricks.gantt(pg_catalog.int8, pg_catalog.name) TO PUBLIC;
