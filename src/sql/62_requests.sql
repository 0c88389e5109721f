/*
 * 62_requests.sql
 *	  Requests: runs that are asked for in a transaction and started after it.
 *
 * The tables are data of the user, as in 60_history.sql, but for one:
 * dispatch_home belongs to the extension and is not dumped, so that a database
 * restored or copied from another one knows that it is a copy.
 */

CREATE TABLE databricks.dispatch_home (
	workspace pg_catalog.text PRIMARY KEY,
	database_oid pg_catalog.oid NOT NULL,
	requests_oid pg_catalog.oid NOT NULL
);
REVOKE ALL ON databricks.dispatch_home FROM PUBLIC;
COMMENT ON TABLE databricks.dispatch_home IS
	'Where requests may be sent from: this database and its table run_requests, for one workspace or, where the name is empty as that of no server is, for all. Not dumped on purpose: what is restored or copied sends nothing until resume_workspace().';

-- Made anew beside tables that are there already, it is the same database: its
-- servers went with the old extension, so nothing is called before connect().
INSERT INTO databricks.dispatch_home (workspace, database_oid, requests_oid)
	SELECT '', d.oid, r.oid
	FROM pg_catalog.pg_database AS d, pg_catalog.pg_class AS r
	WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
	  AND r.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('databricks.run_requests')::pg_catalog.oid;

CREATE FUNCTION databricks.data_migration_2()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	CREATE TABLE databricks.run_requests (
		request_id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		workspace pg_catalog.text NOT NULL,
		requested_by pg_catalog.text NOT NULL,
		session_user_name pg_catalog.text NOT NULL,
		application_name pg_catalog.text,
		kind pg_catalog.text NOT NULL CHECK (kind IN ('run_now', 'submit')),
		job_id pg_catalog.int8,
		job_name pg_catalog.text,
		schedule_name pg_catalog.text,
		tick pg_catalog.timestamptz,
		body pg_catalog.jsonb NOT NULL,
		request_key pg_catalog.text,
		state pg_catalog.text NOT NULL DEFAULT 'queued' CHECK (state IN
			('queued', 'sending', 'running', 'succeeded', 'failed', 'rejected', 'expired', 'skipped', 'canceled')),
		attempt pg_catalog.int4 NOT NULL DEFAULT 0,
		run_id pg_catalog.int8,
		result_state pg_catalog.text,
		termination_code pg_catalog.text,
		run_page_url pg_catalog.text,
		depends_on pg_catalog.int8[],
		not_before pg_catalog.timestamptz,
		expires_at pg_catalog.timestamptz,
		next_attempt_at pg_catalog.timestamptz,
		last_error pg_catalog.text,
		created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
		triggered_at pg_catalog.timestamptz,
		finished_at pg_catalog.timestamptz,
		max_attempts pg_catalog.int4 NOT NULL DEFAULT 1,
		retry_delay pg_catalog.interval NOT NULL DEFAULT '1 min',
		retry pg_catalog.text NOT NULL DEFAULT 'new_run' CHECK (retry IN ('new_run', 'repair')),
		after_requests pg_catalog.int8[],
		on_success pg_catalog.text,
		on_failure pg_catalog.text,
		token pg_catalog.text,
		send_failures pg_catalog.int4 NOT NULL DEFAULT 0,
		ready pg_catalog.bool NOT NULL DEFAULT true,
		hook pg_catalog.text CHECK (hook IN ('on_success', 'on_failure')),
		announce pg_catalog.bool NOT NULL DEFAULT false,
		debounce pg_catalog.interval,
		repair_id pg_catalog.int8,
		CONSTRAINT run_requests_key UNIQUE (workspace, requested_by, request_key)
	);
	CREATE INDEX run_requests_queued_idx ON databricks.run_requests (workspace, next_attempt_at)
		WHERE state = 'queued';
	CREATE INDEX run_requests_sent_idx ON databricks.run_requests (workspace, run_id)
		WHERE state IN ('sending', 'running');
	CREATE INDEX run_requests_waiting_idx ON databricks.run_requests (request_id)
		WHERE hook IS NOT NULL OR announce OR (state = 'queued' AND NOT ready);
	CREATE INDEX run_requests_expires_idx ON databricks.run_requests (expires_at)
		WHERE state = 'queued' AND expires_at IS NOT NULL;
	CREATE INDEX run_requests_debounce_idx ON databricks.run_requests (request_id)
		WHERE state = 'queued' AND debounce IS NOT NULL;
	CREATE INDEX run_requests_finished_idx ON databricks.run_requests (finished_at)
		WHERE finished_at IS NOT NULL;
	REVOKE ALL ON databricks.run_requests FROM PUBLIC;
	GRANT SELECT ON databricks.run_requests TO PUBLIC;
	ALTER TABLE databricks.run_requests ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own_or_owner ON databricks.run_requests FOR SELECT TO PUBLIC
		USING (requested_by OPERATOR(pg_catalog.=) (SELECT CURRENT_USER::pg_catalog.text)
			   OR workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))));
	COMMENT ON TABLE databricks.run_requests IS
		'Runs asked for with enqueue_run_now(), enqueue_submit(), schedules and triggers; sent after commit by the worker, exactly one run per attempt. Written by the extension alone; a role sees its own requests, the owner of a workspace all of it.';
	COMMENT ON COLUMN databricks.run_requests.requested_by IS
		'Role as which the request is sent: its credentials, its USAGE.';
	COMMENT ON COLUMN databricks.run_requests.session_user_name IS
		'Role that had logged in when the request was made.';
	COMMENT ON COLUMN databricks.run_requests.job_id IS
		'Job; for a request by name the one found when it was last sent.';
	COMMENT ON COLUMN databricks.run_requests.body IS
		'Members of the call, without the job and the token.';
	COMMENT ON COLUMN databricks.run_requests.state IS
		'queued, sending (an answer is waited for, or not known yet), running; succeeded, failed, rejected (the service or the rights said no), expired, skipped, canceled.';
	COMMENT ON COLUMN databricks.run_requests.attempt IS
		'Attempts begun; earlier ones are in run_request_attempts.';
	COMMENT ON COLUMN databricks.run_requests.next_attempt_at IS
		'When it will be sent, again or for the first time; NULL once it is sent.';
	COMMENT ON COLUMN databricks.run_requests.last_error IS
		'Why it was not sent, failed or was withdrawn; NULL: nothing went wrong lately.';
	COMMENT ON COLUMN databricks.run_requests.token IS
		'Idempotency token of the current attempt, stored before it is sent; NULL: the next attempt has none yet.';
	COMMENT ON COLUMN databricks.run_requests.after_requests IS
		'Requests that must have ended before, whichever way.';
	COMMENT ON COLUMN databricks.run_requests.ready IS
		'False while other requests have to end first.';
	COMMENT ON COLUMN databricks.run_requests.debounce IS
		'How long identical requests are waited for, to be sent as one.';
	COMMENT ON COLUMN databricks.run_requests.repair_id IS
		'Repair of the run that the last attempt was that was started; NULL: it was the run itself. A newer one than this is what an attempt whose answer was lost has become.';
	COMMENT ON COLUMN databricks.run_requests.hook IS
		'SQL that is still to be run: on_success or on_failure.';

	CREATE TABLE databricks.run_request_attempts (
		request_id pg_catalog.int8 NOT NULL,
		attempt pg_catalog.int4 NOT NULL,
		workspace pg_catalog.text NOT NULL,
		requested_by pg_catalog.text NOT NULL,
		token pg_catalog.text,
		run_id pg_catalog.int8,
		state pg_catalog.text NOT NULL,
		result_state pg_catalog.text,
		termination_code pg_catalog.text,
		run_page_url pg_catalog.text,
		error pg_catalog.text,
		triggered_at pg_catalog.timestamptz,
		finished_at pg_catalog.timestamptz NOT NULL,
		repair_id pg_catalog.int8,
		PRIMARY KEY (request_id, attempt)
	);
	REVOKE ALL ON databricks.run_request_attempts FROM PUBLIC;
	GRANT SELECT ON databricks.run_request_attempts TO PUBLIC;
	ALTER TABLE databricks.run_request_attempts ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own_or_owner ON databricks.run_request_attempts FOR SELECT TO PUBLIC
		USING (requested_by OPERATOR(pg_catalog.=) (SELECT CURRENT_USER::pg_catalog.text)
			   OR workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))));
	COMMENT ON TABLE databricks.run_request_attempts IS
		'Each attempt at a request that came to an end: its run and how that ended, or why there was none.';

	CREATE TABLE databricks.run_request_cancels (
		request_id pg_catalog.int8 PRIMARY KEY,
		canceled_by pg_catalog.text NOT NULL,
		canceled_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
		told_at pg_catalog.timestamptz
	);
	REVOKE ALL ON databricks.run_request_cancels FROM PUBLIC;
	COMMENT ON TABLE databricks.run_request_cancels IS
		'Requests to be cancelled that were being sent or running already; told_at: when the service was told. A table of its own, so that the worker never waits for a row that a user has locked.';

	CREATE TABLE databricks.paused_workspaces (
		workspace pg_catalog.text PRIMARY KEY,
		reason pg_catalog.text,
		paused_by pg_catalog.text NOT NULL,
		paused_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
	);
	REVOKE ALL ON databricks.paused_workspaces FROM PUBLIC;
	GRANT SELECT ON databricks.paused_workspaces TO PUBLIC;
	ALTER TABLE databricks.paused_workspaces ENABLE ROW LEVEL SECURITY;
	CREATE POLICY workspace_usage ON databricks.paused_workspaces FOR SELECT TO PUBLIC
		USING (workspace OPERATOR(pg_catalog.=) ANY (ARRAY(
			SELECT s.srvname::pg_catalog.text
			FROM pg_catalog.pg_foreign_server AS s
			JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
			WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
			  AND pg_catalog.has_server_privilege(s.oid, 'USAGE'))));
	COMMENT ON TABLE databricks.paused_workspaces IS
		'Workspaces to which workers send nothing, as pause_workspace() was told.';

	-- These tables are made here and now, so this is where they are at home.
	DELETE FROM databricks.dispatch_home;
	INSERT INTO databricks.dispatch_home (workspace, database_oid, requests_oid)
		SELECT '', d.oid, pg_catalog.to_regclass('databricks.run_requests'::pg_catalog.text)::pg_catalog.oid
		FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database();
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_2() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_2() IS
	'Second layout of the data tables: requests. Called by migrate(), not by people.';

CREATE FUNCTION databricks.enqueue_run_now(
	job_id pg_catalog.int8,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	request_key pg_catalog.text DEFAULT NULL,
	not_before pg_catalog.timestamptz DEFAULT NULL,
	expires_at pg_catalog.timestamptz DEFAULT NULL,
	max_attempts pg_catalog.int4 DEFAULT 1,
	retry_delay pg_catalog.interval DEFAULT '1 min',
	retry pg_catalog.text DEFAULT 'new_run',
	depends_on pg_catalog.int8[] DEFAULT NULL,
	on_success pg_catalog.text DEFAULT NULL,
	on_failure pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_enqueue_run_now'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.enqueue_run_now(pg_catalog.int8, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.interval, pg_catalog.text, pg_catalog.int8[], pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
	'Asks for a run of a job in this transaction: a row of run_requests, whose id is returned. The worker sends it after commit, as the current role, and starts exactly one run per attempt; after a rollback nothing is sent. Makes no call. job_parameters and options as run_now(). request_key: the same key with the same body gives the same request. not_before, expires_at: when to send it first, and until when at the latest. max_attempts, retry_delay: a run that fails is tried again, as a new run under a new token (retry new_run), or by repairing it: its failed tasks run again with the parameters it had (retry repair; POST /api/2.2/jobs/runs/repair; a run that was skipped is started anew). depends_on: requests that must have succeeded before. on_success, on_failure: SQL run as the current role when it has ended, $1 being the request, $2 the run. POST /api/2.2/jobs/run-now, later, by the worker. Errors: 22004, 22023 arguments that cannot be meant, 42601, 0A000 on_success or on_failure that can never be run, 42501 no USAGE on the workspace, 28000 no credentials, 42710 request_key used with another body, 42704 no such workspace or depended-on request.';

CREATE FUNCTION databricks.enqueue_run_now(
	job_name pg_catalog.text,
	job_parameters pg_catalog.jsonb DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	request_key pg_catalog.text DEFAULT NULL,
	not_before pg_catalog.timestamptz DEFAULT NULL,
	expires_at pg_catalog.timestamptz DEFAULT NULL,
	max_attempts pg_catalog.int4 DEFAULT 1,
	retry_delay pg_catalog.interval DEFAULT '1 min',
	retry pg_catalog.text DEFAULT 'new_run',
	depends_on pg_catalog.int8[] DEFAULT NULL,
	on_success pg_catalog.text DEFAULT NULL,
	on_failure pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_enqueue_run_now_by_name'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.enqueue_run_now(pg_catalog.text, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.interval, pg_catalog.text, pg_catalog.int8[], pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
	'enqueue_run_now by name of the job, looked up each time it is sent, as find_job() finds it; a text of digits alone is an id. GET /api/2.2/jobs/list, POST /api/2.2/jobs/run-now, later, by the worker.';

CREATE FUNCTION databricks.enqueue_submit(
	settings pg_catalog.jsonb,
	request_key pg_catalog.text DEFAULT NULL,
	not_before pg_catalog.timestamptz DEFAULT NULL,
	expires_at pg_catalog.timestamptz DEFAULT NULL,
	max_attempts pg_catalog.int4 DEFAULT 1,
	retry_delay pg_catalog.interval DEFAULT '1 min',
	retry pg_catalog.text DEFAULT 'new_run',
	depends_on pg_catalog.int8[] DEFAULT NULL,
	on_success pg_catalog.text DEFAULT NULL,
	on_failure pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'databricks_enqueue_submit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.enqueue_submit(pg_catalog.jsonb, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.interval, pg_catalog.text, pg_catalog.int8[], pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
	'enqueue_run_now for a run without a saved job; settings as submit_run(). POST /api/2.2/jobs/runs/submit, later, by the worker.';

CREATE FUNCTION databricks.cancel_request(request_id pg_catalog.int8)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'databricks_cancel_request'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.cancel_request(pg_catalog.int8) IS
	'Withdraws a request that was not sent; of one that was, the run is cancelled once it is known. Returns the state: canceled (nothing will be sent), sending or running (the worker will see to it), or the end it had come to already. Part of the transaction. For the role that made it and the owner of the workspace. Errors: 22004, 42704 no such request of yours. POST /api/2.2/jobs/runs/cancel, later, by the worker.';

CREATE FUNCTION databricks.retry_request(request_id pg_catalog.int8)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_retry_request'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.retry_request(pg_catalog.int8) IS
	'Has one more attempt made, under a new token, at a request that ended without success, from the commit on; its id and request_key stay. For the role that made it. Errors: 22004, 42704 no such request of yours, 55000 it has not ended, or succeeded.';

CREATE FUNCTION databricks.pause_workspace(
	workspace pg_catalog.name DEFAULT NULL,
	reason pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_pause_workspace'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.pause_workspace(pg_catalog.name, pg_catalog.text) IS
	'Stops the sending of requests and schedules to a workspace, from the commit on; what is asked for meanwhile waits. Runs that were started go on and are followed. For the owner of the server.';

CREATE FUNCTION databricks.resume_workspace(workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'databricks_resume_workspace'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.resume_workspace(pg_catalog.name) IS
	'Ends a pause of pause_workspace(). In a database that was restored or copied from another one nothing is sent before this was called for the workspace: look first whether the requests in it are to be sent from here. For the owner of the server.';

CREATE FUNCTION databricks.pause_reason(workspace pg_catalog.name)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'databricks_pause_reason'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION databricks.pause_reason(pg_catalog.name) IS
	'Why no requests are sent to a workspace; NULL: they are, or the caller has no USAGE on it. View workspaces shows it.';

CREATE PROCEDURE databricks.run_worker_once()
AS 'MODULE_PATHNAME', 'databricks_run_worker_once'
LANGUAGE C;
REVOKE ALL ON PROCEDURE databricks.run_worker_once() FROM PUBLIC;
COMMENT ON PROCEDURE databricks.run_worker_once() IS
	'Does one round of the background worker where none runs: sends the requests that are due, looks once at the runs they have started and at those of tracked workspaces. For pg_cron or a client to call again and again. Takes a background worker slot for the time. Where a worker or another such round sends the requests of this database it leaves them to that. Not inside a transaction block (2D000); errors are in last_error of the requests and in the log.';

CREATE FUNCTION databricks.wait_for_request(
	request_id pg_catalog.int8,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false)
RETURNS databricks.run_result
AS 'MODULE_PATHNAME', 'databricks_wait_for_request'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION databricks.wait_for_request(pg_catalog.int8, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool) IS
	'Waits until a request has come to its end, all its attempts included, and returns how its run ended, as wait_for_run(); without a run state is that of the request and state_message the reason. The request must have been committed before. Looks at run_requests, and at the end asks GET /api/2.2/jobs/runs/get. With raise_on_failure what did not succeed is an error: as wait_for_run(), RUN01 rejected, RUN02 canceled, RUN04 expired or skipped, RUN06 timeout. cancel_on_timeout: cancel_request() when the time is up; as an error would take that back, the timeout is a warning then, and the row tells how far the request was. 42704 no such request of yours, 55000 made by this transaction, or an isolation level that would not see it change. For waits of hours: CALL databricks.await_request().';

CREATE PROCEDURE databricks.await_request(
	request_id pg_catalog.int8,
	timeout pg_catalog.interval DEFAULT NULL,
	raise_on_failure pg_catalog.bool DEFAULT true,
	cancel_on_timeout pg_catalog.bool DEFAULT false)
AS 'MODULE_PATHNAME', 'databricks_await_request'
LANGUAGE C;
COMMENT ON PROCEDURE databricks.await_request(pg_catalog.int8, pg_catalog.interval, pg_catalog.bool, pg_catalog.bool) IS
	'wait_for_request() for waits of hours: commits before it waits and holds no snapshot meanwhile. cancel_on_timeout: cancel_request() when the time is up. Not inside a transaction block (2D000).';

CREATE FUNCTION databricks.run_job_on_change()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'databricks_run_job_on_change'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION databricks.run_job_on_change() IS
	'Trigger function: EXECUTE FUNCTION databricks.run_job_on_change(job [, workspace [, expression [, debounce]]]) asks for a run of the job, by name or id, when the writing transaction commits. The request belongs to the owner of the table; whoever may put triggers on a table may so start its owner''s jobs. expression: SQL giving job_parameters as jsonb, evaluated as the writer, with names looked up in pg_catalog and the schema of the table; in row triggers $1 is the new and $2 the old row, in statement triggers transition tables can be read. debounce: an interval by which identical requests of several transactions become one. A statement trigger with a transition table does nothing when no row was changed; identical requests of one transaction are one. A fault becomes a rejected request and a warning, never an error for the writer. Empty arguments count as not given. POST /api/2.2/jobs/run-now, later, by the worker.';
