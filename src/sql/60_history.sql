/*
 * 60_history.sql
 *	  Run history: settings of tracking, the worker's state, the data tables.
 *
 * The data tables are ordinary objects of the database, not members of the
 * extension, so they are not made here: this script holds functions
 * data_migration_<n>(), each taking the tables from layout n-1 to n, which
 * migrate() calls as the owner of the extension. A released one is never
 * changed; a new layout is another function. For the same reason nothing in
 * them may depend on a member of the extension: DROP EXTENSION would take it
 * away.
 */

CREATE FUNCTION databricks.data_migration_1()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	-- A primary key, as each table here has: those that are published need one.
	CREATE TABLE databricks.data_version (
		version pg_catalog.int4 PRIMARY KEY,
		migrated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
	);
	CREATE UNIQUE INDEX data_version_one_row ON databricks.data_version ((true));
	REVOKE ALL ON databricks.data_version FROM PUBLIC;
	COMMENT ON TABLE databricks.data_version IS
		'Layout of the data tables of extension databricks; one row, kept by databricks.migrate().';

	CREATE TABLE databricks.tracking_settings (
		workspace pg_catalog.text PRIMARY KEY,
		poll_interval pg_catalog.interval NOT NULL,
		backfill pg_catalog.interval NOT NULL,
		retention pg_catalog.interval,
		outputs pg_catalog.text NOT NULL,
		tracked_by pg_catalog.text NOT NULL,
		tracked_at pg_catalog.timestamptz NOT NULL,
		caught_up_at pg_catalog.timestamptz NOT NULL,
		backfilled_to pg_catalog.timestamptz NOT NULL,
		backfill_finished_at pg_catalog.timestamptz
	);
	REVOKE ALL ON databricks.tracking_settings FROM PUBLIC;
	GRANT SELECT ON databricks.tracking_settings TO PUBLIC;
	ALTER TABLE databricks.tracking_settings ENABLE ROW LEVEL SECURITY;
	CREATE POLICY workspace_usage ON databricks.tracking_settings FOR SELECT TO PUBLIC
		USING (workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	COMMENT ON TABLE databricks.tracking_settings IS
		'Tracked workspaces, as databricks.track() was told; written by the extension alone.';
	COMMENT ON COLUMN databricks.tracking_settings.caught_up_at IS
		'Runs that started before this moment have been seen; moves on when something changed.';
	COMMENT ON COLUMN databricks.tracking_settings.backfilled_to IS
		'Older runs have been read back to this moment.';

	CREATE TABLE databricks.run_history (
		workspace pg_catalog.text NOT NULL,
		run_id pg_catalog.int8 NOT NULL,
		job_id pg_catalog.int8,
		run_name pg_catalog.text,
		run_type pg_catalog.text,
		trigger pg_catalog.text,
		state pg_catalog.text,
		result_state pg_catalog.text,
		life_cycle_state pg_catalog.text,
		termination_code pg_catalog.text,
		termination_type pg_catalog.text,
		state_message pg_catalog.text,
		start_time pg_catalog.timestamptz,
		end_time pg_catalog.timestamptz,
		queue_duration pg_catalog.interval,
		setup_duration pg_catalog.interval,
		execution_duration pg_catalog.interval,
		cleanup_duration pg_catalog.interval,
		run_duration pg_catalog.interval,
		attempt_number pg_catalog.int4,
		original_attempt_run_id pg_catalog.int8,
		creator_user_name pg_catalog.text,
		run_page_url pg_catalog.text,
		job_parameters pg_catalog.jsonb,
		overriding_parameters pg_catalog.jsonb,
		schedule pg_catalog.jsonb,
		tasks pg_catalog.jsonb,
		raw pg_catalog.jsonb,
		request_id pg_catalog.int8,
		started_by pg_catalog.text,
		first_seen_at pg_catalog.timestamptz NOT NULL,
		updated_at pg_catalog.timestamptz NOT NULL,
		gone_at pg_catalog.timestamptz,
		PRIMARY KEY (workspace, run_id)
	);
	-- Not led by workspace: before the first ANALYZE such an index looks as good
	-- as the primary key for finding one run, and is read whole then.
	CREATE INDEX run_history_start_time_idx ON databricks.run_history (start_time);
	CREATE INDEX run_history_job_id_idx ON databricks.run_history (job_id, start_time);
	CREATE INDEX run_history_active_idx ON databricks.run_history (workspace, run_id)
		WHERE gone_at IS NULL
		  AND state IS DISTINCT FROM 'TERMINATED'
		  AND life_cycle_state IS DISTINCT FROM 'TERMINATED'
		  AND life_cycle_state IS DISTINCT FROM 'SKIPPED'
		  AND life_cycle_state IS DISTINCT FROM 'INTERNAL_ERROR';
	REVOKE ALL ON databricks.run_history FROM PUBLIC;
	GRANT SELECT ON databricks.run_history TO PUBLIC;
	ALTER TABLE databricks.run_history ENABLE ROW LEVEL SECURITY;
	CREATE POLICY workspace_usage ON databricks.run_history FOR SELECT TO PUBLIC
		USING (workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	COMMENT ON TABLE databricks.run_history IS
		'Every run of the tracked workspaces, whoever started it: the columns of foreign table runs as last seen, and since when they are known. Written by the extension alone; rows are visible to roles with USAGE on the workspace.';
	COMMENT ON COLUMN databricks.run_history.tasks IS
		'Task runs, where the run was fetched by itself; NULL for runs seen in lists only.';
	COMMENT ON COLUMN databricks.run_history.request_id IS
		'Request of this database that started the run; NULL: it was started otherwise.';
	COMMENT ON COLUMN databricks.run_history.started_by IS
		'Role of this database that started the run; NULL: it was started otherwise.';
	COMMENT ON COLUMN databricks.run_history.first_seen_at IS
		'When this database first saw the run.';
	COMMENT ON COLUMN databricks.run_history.updated_at IS
		'When this database last saw something change.';
	COMMENT ON COLUMN databricks.run_history.gone_at IS
		'When the service was found not to know the run any more.';

	CREATE TABLE databricks.run_transitions (
		workspace pg_catalog.text NOT NULL,
		run_id pg_catalog.int8 NOT NULL,
		state pg_catalog.text,
		result_state pg_catalog.text,
		observed_at pg_catalog.timestamptz NOT NULL,
		PRIMARY KEY (workspace, run_id, observed_at)
	);
	REVOKE ALL ON databricks.run_transitions FROM PUBLIC;
	GRANT SELECT ON databricks.run_transitions TO PUBLIC;
	ALTER TABLE databricks.run_transitions ENABLE ROW LEVEL SECURITY;
	CREATE POLICY workspace_usage ON databricks.run_transitions FOR SELECT TO PUBLIC
		USING (workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	COMMENT ON TABLE databricks.run_transitions IS
		'Each change of state or result_state of a run that a sweep has seen, with the time it was seen. Runs found ended by the backfill have none.';

	CREATE VIEW databricks.active_runs WITH (security_invoker = true) AS
		SELECT h.workspace, h.run_id, h.job_id, h.run_name, h.run_type, h.trigger,
			   h.state, h.state_message, h.start_time,
			   pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) h.start_time AS running_for,
			   h.attempt_number, h.creator_user_name, h.run_page_url,
			   h.request_id, h.started_by, h.updated_at
		FROM databricks.run_history AS h
		WHERE h.gone_at IS NULL
		  AND h.state IS DISTINCT FROM 'TERMINATED'
		  AND h.life_cycle_state IS DISTINCT FROM 'TERMINATED'
		  AND h.life_cycle_state IS DISTINCT FROM 'SKIPPED'
		  AND h.life_cycle_state IS DISTINCT FROM 'INTERNAL_ERROR';
	REVOKE ALL ON databricks.active_runs FROM PUBLIC;
	GRANT SELECT ON databricks.active_runs TO PUBLIC;
	COMMENT ON VIEW databricks.active_runs IS
		'Runs of run_history that have not ended, as last seen.';
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_1() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_1() IS
	'First layout of the data tables. Called by migrate(), not by people.';

CREATE FUNCTION databricks.data_migration_4()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	ALTER TABLE databricks.run_history ADD COLUMN repair_history pg_catalog.jsonb;
	COMMENT ON COLUMN databricks.run_history.repair_history IS
		'The original run and its repairs as the service tells them, an array of {type, id, start_time, end_time, state, status, task_run_ids}; NULL where the run was seen in lists only.';

	CREATE TABLE databricks.task_history (
		workspace pg_catalog.text NOT NULL,
		run_id pg_catalog.int8 NOT NULL,
		task_run_id pg_catalog.int8 NOT NULL,
		task_key pg_catalog.text,
		attempt_number pg_catalog.int4,
		is_latest pg_catalog.bool NOT NULL,
		state pg_catalog.text,
		result_state pg_catalog.text,
		life_cycle_state pg_catalog.text,
		termination_code pg_catalog.text,
		termination_type pg_catalog.text,
		state_message pg_catalog.text,
		start_time pg_catalog.timestamptz,
		end_time pg_catalog.timestamptz,
		queue_duration pg_catalog.interval,
		setup_duration pg_catalog.interval,
		execution_duration pg_catalog.interval,
		cleanup_duration pg_catalog.interval,
		depends_on pg_catalog.jsonb,
		cluster_id pg_catalog.text,
		new_cluster pg_catalog.jsonb,
		run_page_url pg_catalog.text,
		result pg_catalog.text,
		error pg_catalog.text,
		error_trace pg_catalog.text,
		output_truncated pg_catalog.bool,
		output_at pg_catalog.timestamptz,
		PRIMARY KEY (workspace, run_id, task_run_id)
	);
	REVOKE ALL ON databricks.task_history FROM PUBLIC;
	GRANT SELECT ON databricks.task_history TO PUBLIC;
	ALTER TABLE databricks.task_history ENABLE ROW LEVEL SECURITY;
	CREATE POLICY workspace_usage ON databricks.task_history FOR SELECT TO PUBLIC
		USING (workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	COMMENT ON TABLE databricks.task_history IS
		'Every task run of the runs in run_history: one row per attempt of a task, repaired ones included. Written by the extension alone; rows are visible to roles with USAGE on the workspace. Of active runs while they are few, of all when they have ended.';
	COMMENT ON COLUMN databricks.task_history.is_latest IS
		'The attempt that counts for its task_key: the last one, by its start, or by its end if it never started.';
	COMMENT ON COLUMN databricks.task_history.depends_on IS
		'Tasks that come before, an array of {task_key, outcome}.';
	COMMENT ON COLUMN databricks.task_history.cluster_id IS
		'Cluster the task ran on.';
	COMMENT ON COLUMN databricks.task_history.new_cluster IS
		'Definition of the cluster that was made for the task, or for its job.';
	COMMENT ON COLUMN databricks.task_history.result IS
		'What a notebook gave back, or what the task logged; fetched as track() says for outputs.';
	COMMENT ON COLUMN databricks.task_history.error IS
		'Why the task failed, as the service tells it with the output.';
	COMMENT ON COLUMN databricks.task_history.output_truncated IS
		'The service, or we, kept only a part of the result.';
	COMMENT ON COLUMN databricks.task_history.output_at IS
		'When result, error and error_trace were fetched; NULL: they were not.';

	CREATE TABLE databricks.history_fetches (
		workspace pg_catalog.text NOT NULL,
		run_id pg_catalog.int8 NOT NULL,
		task_run_id pg_catalog.int8 NOT NULL,
		due_at pg_catalog.timestamptz NOT NULL,
		failures pg_catalog.int4 NOT NULL DEFAULT 0,
		PRIMARY KEY (workspace, run_id, task_run_id)
	);
	REVOKE ALL ON databricks.history_fetches FROM PUBLIC;
	COMMENT ON TABLE databricks.history_fetches IS
		'Calls the worker has still to make to complete the history, one row each: runs/get of a run that ended (task_run_id 0), runs/get-output of a task run. Empty when all is done.';
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_4() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_4() IS
	'Fourth layout of the data tables: tasks, outputs, repairs. Called by migrate(), not by people.';

CREATE FUNCTION databricks.migrate()
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_migrate'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION databricks.migrate() FROM PUBLIC;
COMMENT ON FUNCTION databricks.migrate() IS
	'Creates the data tables (run_history, ...) or brings them to the newest layout, owned by the owner of the extension. connect(), track() and the background worker call it. Error 42501 when one of the tables belongs to somebody else.';

CREATE FUNCTION databricks.track(
	workspace pg_catalog.name DEFAULT NULL,
	poll_interval pg_catalog.interval DEFAULT '10 s',
	backfill pg_catalog.interval DEFAULT '60 days',
	retention pg_catalog.interval DEFAULT NULL,
	outputs pg_catalog.text DEFAULT 'failed')
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_track'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.track(pg_catalog.name, pg_catalog.interval, pg_catalog.interval, pg_catalog.interval, pg_catalog.text) IS
	'Keeps the runs of a workspace in run_history from the commit on: looked at every poll_interval (100 ms to 1 day), older runs read back over backfill (the service keeps 60 days), kept for retention (NULL: for ever), with the outputs of failed, all or none of the task runs. Runs read back come without outputs. Called again it changes the settings. For the owner of the server, whose user mapping is used. Warns when no worker runs. GET /api/2.2/jobs/runs/list, runs/get (one per run that ended), runs/get-output, later, by the worker.';

CREATE FUNCTION databricks.untrack(workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_untrack'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.untrack(pg_catalog.name) IS
	'Ends the tracking of a workspace; what run_history holds stays. For the owner of the server; where the server is gone, for superusers.';

CREATE FUNCTION databricks.stat_worker(
	OUT datname pg_catalog.name,
	OUT pid pg_catalog.int4,
	OUT state pg_catalog.text,
	OUT phase pg_catalog.text,
	OUT last_sweep_at pg_catalog.timestamptz,
	OUT lag pg_catalog.interval,
	OUT queue_depth pg_catalog.int8,
	OUT last_error pg_catalog.text,
	OUT last_error_at pg_catalog.timestamptz)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'databricks_stat_worker'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION databricks.stat_worker() IS
	'What view stat_worker shows.';

CREATE VIEW databricks.stat_worker WITH (security_invoker = true) AS
	SELECT w.datname, w.pid, w.state, w.phase, w.last_sweep_at, w.lag,
		   w.queue_depth, w.last_error, w.last_error_at
	FROM databricks.stat_worker() AS w;
REVOKE ALL ON databricks.stat_worker FROM PUBLIC;
GRANT SELECT ON databricks.stat_worker TO PUBLIC;
COMMENT ON VIEW databricks.stat_worker IS
	'Background workers of the cluster, one row per database that has or shall have one: process, state (wanted, starting, probing, running, stopped), what it does, begin of its last complete sweep, how far the sweeps are behind, requests not sent yet as it counted them last (NULL: no worker runs). Phase and error only for members of pg_read_all_stats. Empty when the library is not in shared_preload_libraries. Example: SELECT datname, state, phase, lag, last_error FROM databricks.stat_worker;';

CREATE FUNCTION databricks.stat_tracking(
	OUT workspace pg_catalog.text,
	OUT last_sweep_at pg_catalog.timestamptz,
	OUT next_sweep_at pg_catalog.timestamptz,
	OUT lag pg_catalog.interval,
	OUT sweeps pg_catalog.int8,
	OUT active_runs pg_catalog.int4,
	OUT last_error pg_catalog.text,
	OUT last_error_at pg_catalog.timestamptz)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'databricks_stat_tracking'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION databricks.stat_tracking() IS
	'Sweeps of this database''s worker per workspace on which the caller has USAGE, from shared memory. View tracking shows it beside the settings.';

-- Bound late: the table is no member of the extension and may not exist yet.
CREATE FUNCTION databricks.tracked_workspaces()
RETURNS TABLE (
	workspace pg_catalog.text,
	poll_interval pg_catalog.interval,
	backfill pg_catalog.interval,
	retention pg_catalog.interval,
	outputs pg_catalog.text,
	tracked_by pg_catalog.text,
	tracked_at pg_catalog.timestamptz,
	backfilled_to pg_catalog.timestamptz,
	backfill_finished_at pg_catalog.timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_catalog.to_regclass('databricks.tracking_settings') IS NOT NULL THEN
		RETURN QUERY
			SELECT t.workspace, t.poll_interval, t.backfill, t.retention, t.outputs,
				   t.tracked_by, t.tracked_at, t.backfilled_to, t.backfill_finished_at
			FROM databricks.tracking_settings AS t;
	END IF;
END
$$;
COMMENT ON FUNCTION databricks.tracked_workspaces() IS
	'Settings of track() for the workspaces on which the caller has USAGE; no rows before the first track().';
