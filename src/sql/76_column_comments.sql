
/*
 * 76_column_comments.sql
 *	  What the columns of data tables and views mean.
 *
 * One dictionary, since a name means the same wherever it stands; columns that
 * say more about themselves where they are made keep that.
 */

CREATE FUNCTION databricks.comment_columns()
RETURNS pg_catalog.void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	place record;
BEGIN
	FOR place IN
		SELECT c.relname, a.attname, d.text
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN (VALUES
			('active_runs', 'Runs known as active.'),
			('active_tasks', 'Tasks of tracked jobs that run on it now.'),
			('announce', 'Internal: a notification is still to be sent.'),
			('application_name', 'application_name of the session that made the request.'),
			('attempt', 'Number of the attempt, from 1.'),
			('attempt_number', 'Attempt of the service at the run or task, from 0.'),
			('autotermination_minutes', 'Minutes without use after which it ends by itself; null: never.'),
			('backfill', 'How far back runs are read that started before tracking did.'),
			('backfill_finished_at', 'When that was done.'),
			('backfilled_to', 'Older runs have been read back to this moment.'),
			('canceled', 'Runs that were canceled.'),
			('canceled_at', 'When cancel_request() was called.'),
			('canceled_by', 'Who called it.'),
			('cleanup_duration', 'Time after the work, to end what was set up.'),
			('cluster_id', 'Id of the cluster.'),
			('cluster_name', 'Name of the cluster.'),
			('cluster_source', 'Who made the cluster: UI, JOB, API, ...'),
			('created_at', 'When it was made here.'),
			('creator_user_name', 'User or principal that started the run, as the service tells.'),
			('cron', 'Cron expression.'),
			('cron_called_at', 'When pg_cron called last.'),
			('cron_entry', 'Schedule of the entry in pg_cron, in GMT.'),
			('cron_error', 'What is wrong with the entry in pg_cron, or its last error.'),
			('cron_job_id', 'Id of the entry in pg_cron.'),
			('database_oid', 'Database that may send requests to this workspace.'),
			('datname', 'Database.'),
			('depends_on', 'Requests that must have succeeded before.'),
			('due_at', 'When it is to be done.'),
			('end_time', 'When it ended; null: not yet.'),
			('error', 'Why there was no success.'),
			('error_line', 'First line of the error, long numbers as #.'),
			('error_trace', 'Stack trace, as the service tells it with the output.'),
			('execution_duration', 'Time of the work itself.'),
			('expected_at', 'When the run should have started.'),
			('expires_after', 'A tick not sent by this long after its time is not sent; null: no limit.'),
			('expires_at', 'Until when it may be sent at the latest.'),
			('expression', 'Cron expression of the schedule, or Quartz expression of one in Databricks.'),
			('failed', 'Runs that failed.'),
			('failed_at', 'When it failed.'),
			('failed_tasks', 'Keys of the tasks that failed.'),
			('failures', 'How often it has failed so far.'),
			('finished_at', 'When it came to its end.'),
			('first_error', 'First error of the tasks, else the message of the run.'),
			('first_time', 'When it happened first.'),
			('idle_for', 'How long no task of a tracked job has run on it.'),
			('job_id', 'Id of the job.'),
			('job_name', 'Name of the job.'),
			('job_parameters', 'Parameters of the job.'),
			('jobs', 'Number of jobs.'),
			('kind', 'run_now or submit.'),
			('lag', 'How long ago the last look began that succeeded.'),
			('last_error', 'The last error; null: none since the last success.'),
			('last_error_at', 'When that was.'),
			('last_request_id', 'Request of the last tick.'),
			('last_request_state', 'State of that request.'),
			('last_request_tick', 'The tick it is for.'),
			('last_result_state', 'Result of the last run.'),
			('last_run', 'When the last run started.'),
			('last_run_id', 'The last such run.'),
			('last_success', 'When the last successful run ended.'),
			('last_sweep_at', 'When the worker last looked at the workspace.'),
			('last_task_end', 'When the last task of a tracked job ended on it.'),
			('last_tick', 'The last tick that became a request.'),
			('last_time', 'When it happened last.'),
			('late_by', 'How much longer than p95_duration it takes by now.'),
			('life_cycle_state', 'State in the older form of the service.'),
			('max_attempts', 'Runs that may be started for it, until one succeeds.'),
			('migrated_at', 'When this layout was made.'),
			('misfire', 'What becomes of missed ticks: skip, once, all.'),
			('missed_ticks', 'Ticks that were missed and not made up for.'),
			('name', 'Name of the schedule.'),
			('never_terminates', 'Nothing but somebody will end it.'),
			('next_sweep_at', 'When the worker will look again.'),
			('next_tick', 'The next tick.'),
			('not_before', 'When it may be sent first; null: at once.'),
			('observed_at', 'When it was seen.'),
			('on_failure', 'SQL to run when it has ended without success.'),
			('on_success', 'SQL to run when it has succeeded.'),
			('options', 'Further members of the call.'),
			('original_attempt_run_id', 'First attempt of a retried run.'),
			('outputs', 'Of which tasks outputs are fetched: none, failed, all.'),
			('overlap', 'What becomes of a tick while an earlier run goes on: skip, queue, cancel_previous, allow.'),
			('overriding_parameters', 'Parameters given to this run in place of those of its tasks.'),
			('owner', 'Role as which the schedule acts.'),
			('p50_duration', 'Median of the durations of successful runs.'),
			('p95_duration', 'Duration that 95 of 100 successful runs do not exceed.'),
			('parameters_sql', 'Expression over the tick that gives more parameters.'),
			('paused', 'Does it not tick?'),
			('paused_at', 'Since when it is paused; null: it is not.'),
			('paused_by', 'Who paused it.'),
			('phase', 'What the worker does just now.'),
			('pid', 'Process of the worker.'),
			('poll_interval', 'Time between two looks at the workspace.'),
			('problem', 'Why the workspace could not be read; null: it could.'),
			('queue_depth', 'Requests that are to be sent.'),
			('queue_duration', 'Time in the queue of the service.'),
			('raw', 'The run as the service sent it.'),
			('reason', 'Why, as pause_workspace() was told.'),
			('repair_id', 'Repair by which the attempt was made; null: by a run of its own.'),
			('request_id', 'Id of the request; null: none of this database started it.'),
			('request_key', 'Key given by the requester: one request for each.'),
			('requested_by', 'Role that made the request, and as which it is sent.'),
			('requests_oid', 'Table run_requests when it was made or taken over.'),
			('result_state', 'How it ended, as the service says; null: not yet.'),
			('retention', 'How long runs are kept after their end; null: for ever.'),
			('retry', 'How a next attempt is made: new_run or repair.'),
			('retry_delay', 'Time between two attempts.'),
			('run_duration', 'Time from start to end, as the service tells.'),
			('run_id', 'Id of the run.'),
			('run_name', 'Name of the run, as a rule that of the job.'),
			('run_page_url', 'Page of the run in the workspace.'),
			('run_type', 'JOB_RUN, SUBMIT_RUN or WORKFLOW_RUN.'),
			('running_for', 'Time since it started.'),
			('running_since', 'When it was started; null: it does not run.'),
			('runs', 'Number of runs.'),
			('schedule', 'Schedule in Databricks that started the run.'),
			('schedule_id', 'Id of the schedule.'),
			('schedule_name', 'Schedule of this database; null: none.'),
			('send_failures', 'How often sending has failed without an answer.'),
			('setup_duration', 'Time to get what the work runs on.'),
			('skipped', 'Runs that were skipped.'),
			('start_time', 'When it started.'),
			('started_by', 'Role of this database that started it; null: started otherwise.'),
			('state', 'State, as last seen.'),
			('state_message', 'What the service says about the state.'),
			('status', 'missing, or unknown where the expression is not understood.'),
			('succeeded', 'Runs that succeeded.'),
			('success_rate', 'Succeeded of those that succeeded or failed.'),
			('sweeps', 'Looks at the workspace since the worker started.'),
			('task_key', 'Key of the task in its job.'),
			('task_run_id', 'Id of the run of the task.'),
			('task_time', 'Time of the work of these tasks, summed.'),
			('tasks', 'Number of tasks.'),
			('termination_code', 'Why it ended, as a code of the service.'),
			('termination_type', 'Whose fault that is: SUCCESS, INTERNAL_ERROR, CLIENT_ERROR, CLOUD_FAILURE.'),
			('tick', 'Tick of the schedule it was made for.'),
			('timezone', 'Time zone of the expression.'),
			('token', 'Idempotency token sent with it.'),
			('told_at', 'When the service was told.'),
			('tracked_at', 'Since when the workspace is tracked.'),
			('tracked_by', 'Who called track().'),
			('trend', 'Median of the last 7 days by that of the days before.'),
			('trigger', 'What started the run: PERIODIC, ONE_TIME, ...'),
			('triggered_at', 'When the run was started.'),
			('updated_at', 'When this database last saw something change.'),
			('version', 'Layout of the data tables.'),
			('workspace', 'Workspace it belongs to.')) AS d(name, text) ON d.name = a.attname
		WHERE c.relnamespace = 'databricks'::regnamespace
		  AND c.relname IN ('active_runs', 'cluster_usage', 'data_version', 'dispatch_home', 'failed_runs', 'failure_reasons', 'history_fetches',
			'idle_clusters', 'late_runs', 'missing_runs', 'paused_workspaces', 'run_history', 'run_request_attempts', 'run_request_cancels',
			'run_requests', 'run_stats', 'run_transitions', 'schedule_settings', 'schedules', 'stat_worker', 'task_history', 'tracking', 'tracking_settings')
		  AND pg_has_role(c.relowner, 'USAGE') AND col_description(c.oid, a.attnum) IS NULL
	LOOP
		EXECUTE format('COMMENT ON COLUMN databricks.%I.%I IS %L', place.relname, place.attname, place.text);
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION databricks.comment_columns() FROM PUBLIC;
COMMENT ON FUNCTION databricks.comment_columns() IS
	'Writes comments on the columns of data tables and views that have none. Called while the extension and its data tables are made, not by people.';

CREATE FUNCTION databricks.data_migration_6()
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $migration$
	SELECT databricks.comment_columns();
$migration$;
REVOKE ALL ON FUNCTION databricks.data_migration_6() FROM PUBLIC;
COMMENT ON FUNCTION databricks.data_migration_6() IS
	'Sixth layout of the data tables: comments on columns. Called by migrate(), not by people.';

DO LANGUAGE plpgsql $$ BEGIN PERFORM databricks.comment_columns(); END $$;
