
/*
 * 64_schedules.sql
 *	  Cron expressions in any time zone, and jobs that run at their ticks.
 *
 * The table is data of the user, as in 60_history.sql. pg_cron may not be there,
 * so what reads its tables finds out when it runs.
 */

CREATE FUNCTION databricks.next_tick(
	cron pg_catalog.text,
	after pg_catalog.timestamptz DEFAULT pg_catalog.now(),
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS pg_catalog.timestamptz
AS 'MODULE_PATHNAME', 'databricks_next_tick'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.next_tick(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text) IS
	'First moment later than "after" at which a schedule ticks; NULL if none comes within 60 years. cron: minute, hour, day of month, month, day of week (numbers, names of three letters, *, lists, ranges, steps; $ as day of month is the last one), or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. When neither day field begins with * one of them is enough. Where the clock of the zone jumps, a schedule of named hours ticks once for each local time (one that the clock leaves out: right after the jump), one of all hours in each minute that fits. Errors: 22023 with the place and what is wrong. No call of the service.';

CREATE FUNCTION databricks.ticks(
	cron pg_catalog.text,
	from_time pg_catalog.timestamptz,
	to_time pg_catalog.timestamptz,
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS SETOF pg_catalog.timestamptz
AS 'MODULE_PATHNAME', 'databricks_ticks'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.ticks(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text) IS
	'All ticks from from_time to before to_time, as next_tick() finds them, in order. No call of the service.';

CREATE FUNCTION databricks.cron_entry(
	cron pg_catalog.text,
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'databricks_cron_entry'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.cron_entry(pg_catalog.text, pg_catalog.text) IS
	'The expression that makes pg_cron, whose clock is GMT, call whenever a schedule in the time zone ticks: widened by what summer time, jumps of the clock and the change of the date need, since one entry must do for the whole year. No call of the service.';

CREATE FUNCTION databricks.data_migration_3()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	CREATE TABLE databricks.schedule_settings (
		schedule_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		owner pg_catalog.text NOT NULL,
		name pg_catalog.text NOT NULL,
		workspace pg_catalog.text NOT NULL,
		cron pg_catalog.text NOT NULL,
		timezone pg_catalog.text NOT NULL,
		job_id pg_catalog.int8,
		job_name pg_catalog.text,
		job_parameters pg_catalog.jsonb,
		parameters_sql pg_catalog.text,
		options pg_catalog.jsonb,
		overlap pg_catalog.text NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_previous', 'allow')),
		misfire pg_catalog.text NOT NULL CHECK (misfire IN ('skip', 'once', 'all')),
		expires_after pg_catalog.interval,
		max_attempts pg_catalog.int4 NOT NULL,
		retry_delay pg_catalog.interval NOT NULL,
		paused_at pg_catalog.timestamptz,
		cron_entry pg_catalog.text NOT NULL,
		done_to pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
		last_tick pg_catalog.timestamptz,
		missed_ticks pg_catalog.int8 NOT NULL DEFAULT 0,
		created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
		CONSTRAINT schedule_settings_name UNIQUE (owner, name)
	);
	REVOKE ALL ON databricks.schedule_settings FROM PUBLIC;
	GRANT SELECT ON databricks.schedule_settings TO PUBLIC;
	ALTER TABLE databricks.schedule_settings ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON databricks.schedule_settings FOR SELECT TO PUBLIC
		USING (owner OPERATOR(pg_catalog.=) (SELECT CURRENT_USER::pg_catalog.text));
	COMMENT ON TABLE databricks.schedule_settings IS
		'Schedules, as databricks.schedule() was told; written by the extension alone. A role sees its own; view schedules shows them with what became of them.';
	COMMENT ON COLUMN databricks.schedule_settings.cron_entry IS
		'Expression that pg_cron was given: cron, widened to all ticks in pg_cron''s own clock.';
	COMMENT ON COLUMN databricks.schedule_settings.done_to IS
		'Ticks up to this moment have been dealt with.';
	COMMENT ON COLUMN databricks.schedule_settings.last_tick IS
		'The last tick that was dealt with; NULL: none has come yet.';
	COMMENT ON COLUMN databricks.schedule_settings.missed_ticks IS
		'Ticks for which no run was requested because they were missed.';

	CREATE INDEX run_requests_schedule_idx ON databricks.run_requests (requested_by, schedule_name, tick)
		WHERE schedule_name IS NOT NULL;
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_3() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_3() IS
	'Third layout of the data tables: schedules. Called by migrate(), not by people.';

CREATE FUNCTION databricks.schedule(
	name pg_catalog.text,
	cron pg_catalog.text,
	job_id pg_catalog.int8,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	parameters_sql pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	timezone pg_catalog.text DEFAULT 'UTC',
	overlap pg_catalog.text DEFAULT 'skip',
	misfire pg_catalog.text DEFAULT 'once',
	expires_after pg_catalog.interval DEFAULT NULL,
	max_attempts pg_catalog.int4 DEFAULT 1,
	retry_delay pg_catalog.interval DEFAULT '1 min',
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.schedule(pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.interval, pg_catalog.int4, pg_catalog.interval, pg_catalog.name) IS
	'Runs a job at each tick of a cron expression (see next_tick()) in a time zone: pg_cron calls, and each tick becomes one request of run_requests, however often, late or early it calls. Returns the id of the schedule; a second call with the same name changes it. Needs pg_cron in this database, USAGE on its schema cron, and a role that can log in. parameters_sql: an expression over $1 (the tick, timestamptz) giving jsonb, evaluated as the owner of the schedule in pg_crons connection, added to job_parameters. overlap, when an earlier run has not ended: skip (noted as a skipped request), queue, cancel_previous (waits for the cancel), allow. misfire, for ticks missed because the server was down or the workspace paused: skip, once (the last one), all (one after the other unless overlap is allow; the newest 1000). expires_after: a tick whose run was not started by then expires. max_attempts and retry_delay as enqueue_run_now(). POST /api/2.2/jobs/run-now, later, by the worker. Errors: 22004, 22023 what cannot be meant, 42501 no USAGE on the workspace or on schema cron, 28000 no credentials, 42804 parameters_sql of another type, 55000 pg_cron missing or elsewhere, with what to do.';

CREATE FUNCTION databricks.schedule(
	name pg_catalog.text,
	cron pg_catalog.text,
	job_name pg_catalog.text,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	parameters_sql pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	timezone pg_catalog.text DEFAULT 'UTC',
	overlap pg_catalog.text DEFAULT 'skip',
	misfire pg_catalog.text DEFAULT 'once',
	expires_after pg_catalog.interval DEFAULT NULL,
	max_attempts pg_catalog.int4 DEFAULT 1,
	retry_delay pg_catalog.interval DEFAULT '1 min',
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_schedule_by_name'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.schedule(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.interval, pg_catalog.int4, pg_catalog.interval, pg_catalog.name) IS
	'schedule by name of the job, looked up each time a run is started, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, POST /api/2.2/jobs/run-now, later, by the worker.';

CREATE FUNCTION databricks.unschedule(name pg_catalog.text)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_unschedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.unschedule(pg_catalog.text) IS
	'Ends a schedule of the current role and removes its entry in pg_cron. Requests that it made stay as they are: see cancel_request(). No call of the service. Errors: 22004, 42704 no such schedule.';

CREATE FUNCTION databricks.pause_schedule(name pg_catalog.text)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_pause_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.pause_schedule(pg_catalog.text) IS
	'Stops a schedule of the current role until resume_schedule(): its entry in pg_cron is removed, ticks that come meanwhile are not made up for. No call of the service. Errors: 22004, 42704 no such schedule.';

CREATE FUNCTION databricks.resume_schedule(name pg_catalog.text)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_resume_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.resume_schedule(pg_catalog.text) IS
	'Lets a paused schedule of the current role tick again, from now on. Also makes its entry in pg_cron anew where that was lost. No call of the service. Errors: 22004, 42704 no such schedule, 42501 and 55000 as schedule().';

CREATE FUNCTION databricks.fire_schedule(name pg_catalog.text)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_fire_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.fire_schedule(pg_catalog.text) IS
	'Requests a run now, as if a schedule of the current role ticked: with its parameters, $1 being now, and its rule for overlaps, paused or not. Returns the request. POST /api/2.2/jobs/run-now, later, by the worker. Errors: 22004, 42704 no such schedule; others as enqueue_run_now().';

CREATE FUNCTION databricks.backfill_schedule(
	name pg_catalog.text,
	start_time pg_catalog.timestamptz,
	end_time pg_catalog.timestamptz,
	rerun pg_catalog.text DEFAULT 'missing',
	max_parallel pg_catalog.int4 DEFAULT 1)
RETURNS SETOF pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_backfill_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.backfill_schedule(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.int4) IS
	'Requests runs for the ticks of a schedule of the current role from start_time to before end_time, the future left out; at most max_parallel of them run at a time, oldest first. rerun: missing (ticks for which nothing was started and nothing waits), failed (those, and those that failed or were canceled), all. They are not held up by other runs of the schedule, but its ticks are by them, as overlap says. Returns the requests, at most 10000. POST /api/2.2/jobs/run-now, later, by the worker. Errors: 22004, 22023, 42704 no such schedule, 54000 too many ticks; others as enqueue_run_now().';

CREATE FUNCTION databricks.tick_schedule(
	schedule_id pg_catalog.int8,
	at pg_catalog.timestamptz DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_tick_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.tick_schedule(pg_catalog.int8, pg_catalog.timestamptz) IS
	'What pg_cron calls: requests runs for the ticks that have come since the last call, by the rules of the schedule, up to "at" (NULL: now). Returns the request of the last one; NULL when nothing was due, as it is for calls that come twice or too early, and while the schedule or its workspace is paused. Only as the owner of the schedule, whose parameters_sql it runs. POST /api/2.2/jobs/run-now, later, by the worker. Errors: 42704 no such schedule of the current role; others as enqueue_run_now().';

-- Bound late: the tables are no members of the extension and may not exist yet.
CREATE FUNCTION databricks.own_schedules()
RETURNS TABLE (
	schedule_id pg_catalog.int8,
	name pg_catalog.text,
	owner pg_catalog.text,
	workspace pg_catalog.text,
	job_id pg_catalog.int8,
	job_name pg_catalog.text,
	cron pg_catalog.text,
	timezone pg_catalog.text,
	job_parameters pg_catalog.jsonb,
	parameters_sql pg_catalog.text,
	options pg_catalog.jsonb,
	overlap pg_catalog.text,
	misfire pg_catalog.text,
	expires_after pg_catalog.interval,
	max_attempts pg_catalog.int4,
	retry_delay pg_catalog.interval,
	paused_at pg_catalog.timestamptz,
	cron_entry pg_catalog.text,
	last_tick pg_catalog.timestamptz,
	missed_ticks pg_catalog.int8,
	created_at pg_catalog.timestamptz,
	last_request_id pg_catalog.int8,
	last_request_tick pg_catalog.timestamptz,
	last_request_state pg_catalog.text,
	last_run_id pg_catalog.int8,
	last_result_state pg_catalog.text,
	last_error pg_catalog.text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_catalog.to_regclass('databricks.schedule_settings') IS NOT NULL THEN
		RETURN QUERY
			SELECT s.schedule_id, s.name, s.owner, s.workspace, s.job_id, s.job_name,
				   s.cron, s.timezone, s.job_parameters, s.parameters_sql, s.options,
				   s.overlap, s.misfire, s.expires_after, s.max_attempts, s.retry_delay,
				   s.paused_at, s.cron_entry, s.last_tick, s.missed_ticks, s.created_at,
				   r.request_id, r.tick, r.state, r.run_id, r.result_state, r.last_error
			FROM databricks.schedule_settings AS s
			LEFT JOIN LATERAL (
				SELECT q.request_id, q.tick, q.state, q.run_id, q.result_state, q.last_error
				FROM databricks.run_requests AS q
				WHERE q.requested_by OPERATOR(pg_catalog.=) s.owner
				  AND q.schedule_name OPERATOR(pg_catalog.=) s.name
				ORDER BY q.tick DESC, q.request_id DESC LIMIT 1) AS r ON true
			WHERE s.owner OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text
			   OR (SELECT u.rolsuper FROM pg_catalog.pg_roles AS u
				   WHERE u.rolname OPERATOR(pg_catalog.=) CURRENT_USER);
	END IF;
END
$$;
COMMENT ON FUNCTION databricks.own_schedules() IS
	'Schedules of the current role (of all roles for superusers) and the request of each one''s last tick; no rows before the first connect(). View schedules shows them.';

CREATE FUNCTION databricks.schedule_entries()
RETURNS TABLE (
	schedule_id pg_catalog.int8,
	cron_job_id pg_catalog.int8,
	schedule pg_catalog.text,
	active pg_catalog.bool,
	called_at pg_catalog.timestamptz,
	status pg_catalog.text,
	message pg_catalog.text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF databricks.schedule_trouble() IS NULL THEN
		RETURN QUERY EXECUTE $query$
			SELECT substring(j.jobname::text, 12)::int8, j.jobid, j.schedule, j.active,
				   d.start_time, d.status, d.return_message
			FROM cron.job AS j
			LEFT JOIN (SELECT r.jobid, max(r.runid) AS runid FROM cron.job_run_details AS r GROUP BY r.jobid) AS l
				ON l.jobid = j.jobid
			LEFT JOIN cron.job_run_details AS d ON d.runid = l.runid
			WHERE j.jobname::text ~ '^databricks:[0-9]{1,18}$'
			  AND j.database = current_database()::text
			$query$;
	END IF;
END
$$;
COMMENT ON FUNCTION databricks.schedule_entries() IS
	'Entries of schedules in pg_cron that the current role may see, and how the last call of each went; none where pg_cron cannot be used.';

CREATE FUNCTION databricks.schedule_trouble()
RETURNS pg_catalog.text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE
	WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e
					 WHERE e.extname OPERATOR(pg_catalog.=) 'pg_cron'::pg_catalog.name)
		THEN 'pg_cron is not installed in this database'
	WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace AS n
					 WHERE n.nspname OPERATOR(pg_catalog.=) 'cron'::pg_catalog.name
					   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
		THEN pg_catalog.format('role %I has no USAGE on schema cron', CURRENT_USER)
END;
COMMENT ON FUNCTION databricks.schedule_trouble() IS
	'Why schedules of the current role cannot tick here; NULL: they can.';

CREATE FUNCTION databricks.zone_known(timezone pg_catalog.text)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'databricks_zone_known'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.zone_known(pg_catalog.text) IS
	'Does this server know a time zone of that name? For view schedules: newer zone data may lack one that a schedule has. No call of the service.';

CREATE VIEW databricks.schedules WITH (security_invoker = true) AS
	SELECT s.schedule_id, s.name, s.owner, s.workspace, s.job_id, s.job_name,
		   s.cron, s.timezone, s.job_parameters, s.parameters_sql, s.options,
		   s.overlap, s.misfire, s.expires_after, s.max_attempts, s.retry_delay,
		   s.paused_at IS NOT NULL AS paused, s.paused_at,
		   CASE WHEN s.paused_at IS NULL AND databricks.zone_known(s.timezone)
				THEN databricks.next_tick(s.cron, pg_catalog.now(), s.timezone) END AS next_tick,
		   s.last_tick, s.missed_ticks,
		   s.last_request_id, s.last_request_tick, s.last_request_state,
		   s.last_run_id, s.last_result_state, s.last_error,
		   e.cron_job_id, s.cron_entry, e.called_at AS cron_called_at,
		   CASE
			   WHEN databricks.schedule_trouble() IS NOT NULL THEN databricks.schedule_trouble()
			   WHEN s.paused_at IS NOT NULL THEN NULL
			   WHEN NOT databricks.zone_known(s.timezone)
				   THEN pg_catalog.format('this server knows no time zone %s any more; schedule() with another one', s.timezone)
			   WHEN e.cron_job_id IS NULL
				   THEN 'there is no entry in pg_cron; resume_schedule() makes it anew'
			   WHEN NOT e.active THEN 'the entry in pg_cron is not active'
			   WHEN e.status OPERATOR(pg_catalog.=) 'failed' THEN e.message
		   END AS cron_error,
		   s.created_at
	FROM databricks.own_schedules() AS s
	LEFT JOIN databricks.schedule_entries() AS e
		ON e.schedule_id OPERATOR(pg_catalog.=) s.schedule_id;
REVOKE ALL ON databricks.schedules FROM PUBLIC;
GRANT SELECT ON databricks.schedules TO PUBLIC;
COMMENT ON VIEW databricks.schedules IS
	'Schedules of the current role (of all roles for superusers): settings, next tick, last tick that was dealt with and ticks left out, the latest tick''s request, run and result, the entry in pg_cron (in its own clock), when that last called, and why it does not or what went wrong then.';
