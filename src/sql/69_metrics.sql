
/*
 * 69_metrics.sql
 *	  Numbers for monitoring as OpenMetrics text.
 *
 * A table of queries, and one piece of code that writes what they give. What is
 * cheap to know is here; what needs a call of the service is not. The examples in
 * src/contrib use the same names, and a test compares them.
 */

CREATE FUNCTION databricks.metrics()
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- Relation that must be there, query, and for each of its columns but
	-- workspace and the label: name, column, type, unit, what it is.
	sources CONSTANT jsonb := jsonb_build_array(
		jsonb_build_array('databricks.task_history', NULL, $q$
			SELECT w.name AS workspace, coalesce(a.n, 0) AS active, coalesce(l.n, 0) AS late, coalesce(m.n, 0) AS missing
			FROM databricks.workspaces AS w
			LEFT JOIN (SELECT workspace, count(*) AS n FROM databricks.active_runs GROUP BY 1) AS a ON a.workspace = w.name
			LEFT JOIN (SELECT workspace, count(*) AS n FROM databricks.late_runs GROUP BY 1) AS l ON l.workspace = w.name
			LEFT JOIN (SELECT workspace, count(*) AS n FROM databricks.missing_runs WHERE status = 'missing' GROUP BY 1) AS m ON m.workspace = w.name
			WHERE w.usable$q$, '[
			["active_runs", "active", "gauge", null, "Runs known as active."],
			["late_runs", "late", "gauge", null, "Active runs that take longer than 95 of 100 of their job, see view late_runs."],
			["missing_runs", "missing", "gauge", null, "Runs of the last day that a schedule should have started, see view missing_runs."]]'::jsonb),
		jsonb_build_array('databricks.run_history', 'result_state', $q$
			SELECT workspace, coalesce(result_state, 'NONE') AS result_state, count(*) AS runs
			FROM databricks.run_history WHERE start_time > now() - interval '1 day' AND end_time IS NOT NULL GROUP BY 1, 2$q$, '[
			["runs_last_day", "runs", "gauge", null, "Runs that started in the last 24 hours and have ended, by result."]]'::jsonb),
		jsonb_build_array('databricks.run_requests', 'state', $q$
			SELECT workspace, state, count(*) AS requests FROM databricks.run_requests GROUP BY 1, 2$q$, '[
			["run_requests", "requests", "gauge", null, "Requests in run_requests, by state."]]'::jsonb),
		jsonb_build_array('databricks.tracking', NULL, $q$
			SELECT workspace, extract(epoch FROM lag) AS lag, sweeps, (last_error IS NOT NULL)::int AS failing FROM databricks.tracking$q$, '[
			["tracking_lag_seconds", "lag", "gauge", "seconds", "How far the tracking of a workspace is behind."],
			["tracking_failing", "failing", "gauge", null, "1 while something is wrong with the tracking of the workspace, see last_error of view tracking."],
			["tracking_sweeps", "sweeps", "counter", null, "Looks at the workspace since the worker started."]]'::jsonb),
		jsonb_build_array('databricks.stat_api', 'endpoint', $q$
			SELECT workspace, endpoint, sum(calls) AS calls, sum(errors) AS errors, sum(retries) AS retries, sum(throttled) AS throttled,
				sum(bytes_in) AS bytes, sum(total_ms) / 1000 AS time, sum(quota_wait_ms) / 1000 AS held
			FROM databricks.stat_api GROUP BY 1, 2$q$, '[
			["api_calls", "calls", "counter", null, "Requests sent to the service, repeats included."],
			["api_errors", "errors", "counter", null, "Of these, answered with an error or not at all."],
			["api_retries", "retries", "counter", null, "Requests sent again after an error."],
			["api_throttled", "throttled", "counter", null, "Requests answered 429."],
			["api_received_bytes", "bytes", "counter", "bytes", "Bytes received."],
			["api_time_seconds", "time", "counter", "seconds", "Time from sending to the end of the answer."],
			["api_quota_wait_seconds", "held", "counter", "seconds", "Time that requests were held back for the rate limit."]]'::jsonb));
	source jsonb;
	found jsonb;
	family jsonb;
	name text;
	result text := '';
BEGIN
	FOR source IN SELECT value FROM jsonb_array_elements(sources) LOOP
		found := NULL;
		IF to_regclass(source ->> 0) IS NOT NULL THEN
			EXECUTE format('SELECT jsonb_agg(to_jsonb(q)) FROM (%s ORDER BY 1, 2) AS q', source ->> 2) INTO found;
		END IF;
		FOR family IN SELECT value FROM jsonb_array_elements(source -> 3) LOOP
			name := 'databricks_' || (family ->> 0);
			result := concat(result, format(E'# TYPE %s %s\n', name, family ->> 2), '# UNIT ' || name || ' ' || (family ->> 3) || E'\n', format(E'# HELP %s %s\n', name, family ->> 4),
				(SELECT string_agg(format(E'%s{workspace="%s"%s} %s\n', name || CASE family ->> 2 WHEN 'counter' THEN '_total' ELSE '' END,
						databricks.metric_label(r ->> 'workspace'),
						CASE WHEN source ->> 1 IS NOT NULL THEN format(',%s="%s"', source ->> 1, databricks.metric_label(r ->> (source ->> 1))) END,
						r ->> (family ->> 1)), '' ORDER BY i)
				 FROM jsonb_array_elements(found) WITH ORDINALITY AS f(r, i) WHERE r ->> (family ->> 1) IS NOT NULL));
		END LOOP;
	END LOOP;
	RETURN result || '# EOF';
END
$$;
COMMENT ON FUNCTION databricks.metrics() IS
	'Numbers for monitoring as OpenMetrics text, of the workspaces that the caller may see: active, late and missing runs, results of the last day, requests, lag and sweeps of the tracking, calls with their errors, times and waits for the rate limit. Example: psql -XAtc "SELECT databricks.metrics()" shop. No call of the service.';

CREATE FUNCTION databricks.metric_label(value pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(value, '\', '\\'), '"', '\"'), E'\n', '\n');
COMMENT ON FUNCTION databricks.metric_label(pg_catalog.text) IS
	'Text as the value of a label in OpenMetrics.';

REVOKE ALL ON FUNCTION databricks.metrics(), databricks.metric_label(pg_catalog.text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION databricks.metrics(), databricks.metric_label(pg_catalog.text) TO PUBLIC;
