
/*
 * 68_report.sql
 *	  The run history as one page of HTML.
 *
 * Apart from what the history tells, because this is about form. The page needs
 * nothing but itself: styles and pictures are in it, and there is no script.
 * Text of others gets into it through html_text() alone. It is well-formed XML
 * as well, by which tests find what a browser would forgive. Its size is bounded
 * by rows per section and, in pictures, by the width they have, not by the runs.
 */

CREATE FUNCTION databricks.html_text(value pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(
	pg_catalog.regexp_replace(pg_catalog.regexp_replace(COALESCE(value, ''),
		E'\\x1b\\[[0-9;]*[A-Za-z]', '', 'g'), E'[\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]', ' ', 'g'),
	'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
COMMENT ON FUNCTION databricks.html_text(pg_catalog.text) IS
	'Text as it stands in HTML and XML, in attributes too: escaped, without colours of terminals and control characters; null is nothing.';

CREATE FUNCTION databricks.html_cell(value pg_catalog.text, class pg_catalog.text DEFAULT '')
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.concat('<td class="', class, '">', databricks.html_text(value), '</td>');
COMMENT ON FUNCTION databricks.html_cell(pg_catalog.text, pg_catalog.text) IS
	'A cell of a table in a report. value is text of anybody, class ours.';

CREATE FUNCTION databricks.html_link(value pg_catalog.text, address pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN address OPERATOR(pg_catalog.~) '^https?://'
	THEN pg_catalog.concat('<a href="', databricks.html_text(address), '">', databricks.html_text(value), '</a>')
	ELSE databricks.html_text(value) END;
COMMENT ON FUNCTION databricks.html_link(pg_catalog.text, pg_catalog.text) IS
	'Text that leads to an address, if that is one of the web.';

CREATE FUNCTION databricks.html_section(title pg_catalog.text, head pg_catalog.text[], rows pg_catalog.text, note pg_catalog.text DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.concat('<section><h2>', title, '</h2>',
	'<p>' OPERATOR(pg_catalog.||) databricks.html_text(note) OPERATOR(pg_catalog.||) '</p>',
	COALESCE('<div class="wide"><table><thead><tr><th>' OPERATOR(pg_catalog.||)
		pg_catalog.replace(pg_catalog.array_to_string(head, '</th><th>'), '<th>#', '<th class="n">')
		OPERATOR(pg_catalog.||) '</th></tr></thead><tbody>' OPERATOR(pg_catalog.||) rows OPERATOR(pg_catalog.||) '</tbody></table></div>',
		'<p class="none">None.</p>'),
	E'</section>\n');
COMMENT ON FUNCTION databricks.html_section(pg_catalog.text, pg_catalog.text[], pg_catalog.text, pg_catalog.text) IS
	'A table of a report under its title. head: the titles of the columns, with # before those of numbers; rows: those of the table as HTML, null: there are none; note is text.';

CREATE FUNCTION databricks.html_bars(
	middle pg_catalog.float8[],
	high pg_catalog.float8[],
	top pg_catalog.float8,
	width pg_catalog.float8,
	height pg_catalog.float8)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT concat('<path class="high" d="', string_agg(format('M%s %sh%sv-%sh-%sz', b.x, height, b.w, round((b.high / top * height)::numeric, 1), b.w), '' ORDER BY b.x),
		'"/><path class="mid" d="', string_agg(format('M%s %sh%sv-%sh-%sz', b.x, height, b.w, round((b.middle / top * height)::numeric, 1), b.w), '' ORDER BY b.x), '"/>')
	FROM (
		SELECT round(((u.i - 1) * width / cardinality(html_bars.high))::numeric, 1) AS x,
			   round((0.8 * width / cardinality(html_bars.high))::numeric, 1) AS w, u.middle, u.high
		FROM unnest(html_bars.middle, html_bars.high) WITH ORDINALITY AS u(middle, high, i)
		WHERE u.high IS NOT NULL) AS b
$$;
COMMENT ON FUNCTION databricks.html_bars(pg_catalog.float8[], pg_catalog.float8[], pg_catalog.float8, pg_catalog.float8, pg_catalog.float8) IS
	'Bars of a picture in a report, one for each pair of numbers that is not null: to the first in the darker colour, to the second in the lighter. top is the number as high as the picture.';

CREATE FUNCTION databricks.html_chart(
	title pg_catalog.text,
	middle pg_catalog.float8[],
	high pg_catalog.float8[],
	first pg_catalog.timestamptz,
	last pg_catalog.timestamptz)
RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	longest float8 := (SELECT max(u) FROM unnest(high) AS u);
	top float8;
	page text := format('<section><h2>%s</h2>', title);
BEGIN
	IF longest IS NULL THEN
		RETURN page || E'<p class="none">No runs.</p></section>\n';
	END IF;
	-- Of what has a round half; beyond that, days.
	SELECT coalesce(min(n * unit), ceil(longest / 172800) * 172800) INTO top
	FROM unnest('{1,60,3600}'::float8[], '{40,100,24}'::float8[]) AS u(unit, most),
		 unnest('{1,2,4,6,8,10,12,16,20,24,30,40,60,80,100}'::float8[]) AS n
	WHERE n <= most AND n * unit >= longest;
	page := page || format('<svg class="chart" viewBox="-56 -8 544 158" role="img"><title>%s: median and 95th percentile, at most %s</title>', title, databricks.short_time(longest));
	FOR i IN 0..2 LOOP
		page := page || format('<path class="grid" d="M0 %sh480"/><text x="-6" y="%s" class="end">%s</text>',
			60 * i, 60 * i + 4, CASE i WHEN 2 THEN '0' ELSE regexp_replace(databricks.short_time(top / (i + 1)), '\.0(?= s)| 0?0[smh]$', '') END);
	END LOOP;
	RETURN concat(page, databricks.html_bars(middle, high, top, 480, 120),
		(SELECT string_agg(format('<path class="tick" d="M%s 120v5"/><text x="%s" y="138" class="%s">%s</text>', x, x, t.anchor, databricks.html_text(t.label)), '' ORDER BY x)
		 FROM databricks.report_ticks(first, last) AS t, LATERAL round(480 * t.share) AS x), E'</svg></section>\n');
END
$$;
COMMENT ON FUNCTION databricks.html_chart(pg_catalog.text, pg_catalog.float8[], pg_catalog.float8[], pg_catalog.timestamptz, pg_catalog.timestamptz) IS
	'A picture in a report: medians and 95th percentiles in seconds over the time between first and last, in buckets of the same length; null: nothing in this bucket.';

CREATE FUNCTION databricks.report_ticks(first pg_catalog.timestamptz, last pg_catalog.timestamptz)
RETURNS TABLE (share pg_catalog.float8, label pg_catalog.text, anchor pg_catalog.text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 8
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	span float8 := greatest(1, extract(epoch FROM last - first));
	step interval;
	whole text;
	form text;
BEGIN
	SELECT s.step, s.whole, s.form INTO step, whole, form
	FROM (VALUES (interval '1 min', 'hour', 'HH24:MI'), ('5 min', 'hour', 'HH24:MI'), ('15 min', 'hour', 'HH24:MI'), ('1 h', 'day', 'HH24:MI'),
		('3 h', 'day', 'HH24:MI'), ('6 h', 'day', 'HH24:MI'), ('12 h', 'day', 'HH24:MI'), ('1 day', 'day', 'Mon DD'), ('2 days', 'day', 'Mon DD'),
		('7 days', 'week', 'Mon DD'), ('14 days', 'week', 'Mon DD'), ('1 month', 'year', 'Mon YYYY'), ('3 months', 'year', 'Mon YYYY'),
		('1 year', 'year', 'YYYY'), ('5 years', 'decade', 'YYYY'), ('20 years', 'century', 'YYYY'), ('200 years', 'millennium', 'YYYY')) AS s(step, whole, form)
	ORDER BY extract(epoch FROM s.step) * 8 < span, abs(extract(epoch FROM s.step) * 8 - span) LIMIT 1;
	-- Without a zone, or noon would be at one o'clock once clocks have been changed.
	RETURN QUERY
		SELECT place, to_char(t.at, CASE WHEN form = 'HH24:MI' AND t.at = date_trunc('day', t.at) THEN 'Mon DD' ELSE form END),
			   CASE WHEN place < 0.04 THEN 'start' WHEN place > 0.96 THEN 'end' ELSE 'middle' END
		FROM generate_series(date_trunc(whole, first::timestamp), last::timestamp, step) AS t(at),
			 LATERAL (VALUES (extract(epoch FROM t.at::timestamptz - first)::float8 / span)) AS p(place)
		WHERE place BETWEEN 0 AND 1
		ORDER BY place;
END
$$;
COMMENT ON FUNCTION databricks.report_ticks(pg_catalog.timestamptz, pg_catalog.timestamptz) IS
	'Round moments between two, by the clock of the session, up to nine of them: where on an axis (0 to 1), what is written there, and how that is aligned.';

CREATE FUNCTION databricks.report_runs(wanted pg_catalog.text, start pg_catalog.timestamptz)
RETURNS TABLE (
	place pg_catalog.text,
	job pg_catalog.text,
	name pg_catalog.text,
	kind pg_catalog.text,
	start_time pg_catalog.timestamptz,
	end_time pg_catalog.timestamptz,
	seconds pg_catalog.float8,
	queued pg_catalog.float8)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
		SELECT h.workspace,
			   CASE WHEN h.run_type = 'SUBMIT_RUN' OR h.job_id IS NULL THEN 'n' || coalesce(h.run_name, '') ELSE 'j' || h.job_id END,
			   coalesce(nullif(btrim(h.run_name), ''), 'job ' || h.job_id, 'run ' || h.run_id),
			   CASE WHEN h.end_time IS NULL AND h.result_state IS NULL AND h.life_cycle_state IS DISTINCT FROM 'INTERNAL_ERROR'
						 AND h.life_cycle_state IS DISTINCT FROM 'SKIPPED' THEN 'active'
					WHEN h.result_state = 'SUCCESS' THEN 'good'
					WHEN h.result_state = 'SUCCESS_WITH_FAILURES' THEN
						CASE WHEN current_setting('databricks.success_with_failures', true) = 'off' THEN 'bad' ELSE 'good' END
					WHEN h.result_state IN ('CANCELED', 'UPSTREAM_CANCELED', 'EXCLUDED', 'DISABLED', 'MAXIMUM_CONCURRENT_RUNS_REACHED')
						 OR h.life_cycle_state = 'SKIPPED' THEN 'left'
					ELSE 'bad' END,
			   h.start_time, h.end_time,
			   extract(epoch FROM coalesce(h.run_duration, h.end_time - h.start_time))::float8,
			   extract(epoch FROM h.queue_duration)::float8
		FROM databricks.run_history AS h
		WHERE h.start_time >= report_runs.start AND h.start_time <= now()
		  AND h.gone_at IS NULL
		  AND (wanted IS NULL OR h.workspace = wanted);
END
$$;
COMMENT ON FUNCTION databricks.report_runs(pg_catalog.text, pg_catalog.timestamptz) IS
	'The runs a report is about: their job, how they came out (good, bad, left: canceled or skipped, active), and their times in seconds.';

CREATE FUNCTION databricks.report_timeline(wanted pg_catalog.text, start pg_catalog.timestamptz)
RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	lanes CONSTANT int := 25;
	width CONSTANT int := 600;
	first float8 := extract(epoch FROM report_timeline.start);
	span float8 := greatest(1, extract(epoch FROM now()) - first);
	rows text;
	axis text;
	grid text;
BEGIN
	SELECT string_agg(format('M%s 0v16', round(width * t.share)), '' ORDER BY t.share),
		   string_agg(format('<text x="%s%%" y="13" class="%s">%s</text>', round(100 * t.share::numeric, 2), t.anchor, databricks.html_text(t.label)), '' ORDER BY t.share)
	INTO grid, axis FROM databricks.report_ticks(report_timeline.start, now()) AS t;

	WITH runs AS MATERIALIZED (
		SELECT r.*, rank() OVER (ORDER BY j.bad DESC, j.runs DESC, r.place, r.job) AS sort,
			   dense_rank() OVER (ORDER BY j.bad DESC, j.runs DESC, r.place, r.job) AS lane,
			   j.runs, j.bad, j.label
		FROM databricks.report_runs(wanted, report_timeline.start) AS r
		JOIN (SELECT place, job, count(*) AS runs, count(*) FILTER (WHERE kind = 'bad') AS bad,
					 (array_agg(name ORDER BY start_time DESC))[1] AS label
			  FROM databricks.report_runs(wanted, report_timeline.start)
			  GROUP BY place, job) AS j USING (place, job)
	), spots AS (
		SELECT least(lane, lanes + 1) AS lane, kind,
			   least(width - 1, floor((extract(epoch FROM start_time) - first) / span * width))::int AS x0,
			   least(width, ceil((extract(epoch FROM coalesce(end_time, now())) - first) / span * width))::int AS x1
		FROM runs
	), merged AS (
		-- What touches becomes one piece: as many as fit into the width at most.
		SELECT lane, kind, unnest(range_agg(int4range(x0, greatest(x0 + 1, x1)))) AS piece
		FROM spots GROUP BY lane, kind
	), paths AS (
		SELECT lane, string_agg(path, '' ORDER BY kind DESC) AS paths
		FROM (SELECT lane, kind, format('<path class="%s" d="%s"/>', kind,
					string_agg(format('M%s 8h%s', lower(piece), upper(piece) - lower(piece)), '' ORDER BY lower(piece))) AS path
			  FROM merged GROUP BY lane, kind) AS p
		GROUP BY lane
	), heads AS (
		SELECT least(lane, lanes + 1) AS lane,
			   CASE WHEN min(lane) > lanes THEN count(DISTINCT lane) || ' more jobs' ELSE min(label) END AS label,
			   CASE WHEN min(lane) <= lanes AND wanted IS NULL THEN min(place) END AS place,
			   count(*) AS runs, count(*) FILTER (WHERE kind = 'bad') AS bad
		FROM runs GROUP BY 1
	)
	SELECT string_agg(format(
		'<tr><th scope="row" title="%s">%s%s</th><td><svg class="lane" viewBox="0 0 600 16" preserveAspectRatio="none" role="img"><title>%s: %s runs, %s failed</title><path class="grid" d="%s"/>%s</svg></td></tr>',
		databricks.html_text(left(h.label, 200)), databricks.html_text(left(h.label, 60)),
		' <small>' || databricks.html_text(h.place) || '</small>', databricks.html_text(left(h.label, 60)), h.runs, h.bad, grid, p.paths), '' ORDER BY lane)
	INTO rows FROM heads AS h JOIN paths AS p USING (lane);

	RETURN concat('<section><h2>Timeline</h2>', coalesce(
		'<p class="legend"><i class="good"></i>succeeded <i class="bad"></i>failed <i class="left"></i>canceled or skipped <i class="active"></i>active</p>'
		'<table class="lanes"><tbody>' || rows || '</tbody><tfoot><tr><th></th><td><svg class="axis">' || coalesce(axis, '') || '</svg></td></tr></tfoot></table>',
		'<p class="none">No runs.</p>'), E'</section>\n');
END
$$;
COMMENT ON FUNCTION databricks.report_timeline(pg_catalog.text, pg_catalog.timestamptz) IS
	'Section of a report: when the runs of each job were, those with most failures and most runs first; of many jobs the rest in one line.';

CREATE FUNCTION databricks.report_durations(wanted pg_catalog.text, start pg_catalog.timestamptz)
RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	buckets CONSTANT int := 48;
	series record;
BEGIN
	SELECT array_agg(b.d50 ORDER BY i) AS d50, array_agg(b.d95 ORDER BY i) AS d95,
		   array_agg(b.q50 ORDER BY i) AS q50, array_agg(b.q95 ORDER BY i) AS q95
	INTO series
	FROM generate_series(1, buckets) AS i
	LEFT JOIN (
		SELECT databricks.report_bucket(r.start_time, report_durations.start, buckets) AS bucket,
			   percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE r.kind = 'good') AS d50,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE r.kind = 'good') AS d95,
			   percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(r.queued, 0)) AS q50,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(r.queued, 0)) AS q95
		FROM databricks.report_runs(wanted, report_durations.start) AS r
		WHERE r.kind <> 'active'
		GROUP BY 1) AS b ON b.bucket = i;
	RETURN concat('<div class="two">',
		databricks.html_chart('Duration of successful runs', series.d50, series.d95, report_durations.start, now()),
		databricks.html_chart('Time in the queue', series.q50, series.q95, report_durations.start, now()),
		CASE WHEN array_remove(series.q95, NULL) = '{}' THEN E'</div>\n' ELSE
			E'</div><p class="legend"><i class="mid"></i>median <i class="high"></i>95th percentile</p>\n' END);
END
$$;
COMMENT ON FUNCTION databricks.report_durations(pg_catalog.text, pg_catalog.timestamptz) IS
	'Two pictures of a report: how long successful runs took, and how long runs waited in the queue of the service.';

CREATE FUNCTION databricks.report_bucket(at pg_catalog.timestamptz, start pg_catalog.timestamptz, buckets pg_catalog.int4)
RETURNS pg_catalog.int4
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT least(buckets, width_bucket(extract(epoch FROM at)::float8, extract(epoch FROM start)::float8,
	greatest(extract(epoch FROM now()), extract(epoch FROM start) + 1)::float8, buckets))
$$;
COMMENT ON FUNCTION databricks.report_bucket(pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4) IS
	'Which of so many equal parts of the time since start a moment is in, from 1.';

CREATE FUNCTION databricks.report_jobs(wanted pg_catalog.text, start pg_catalog.timestamptz)
RETURNS pg_catalog.text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	shown CONSTANT int := 50;
	buckets CONSTANT int := 20;
	jobs int;
	rows text;
BEGIN
	WITH runs AS MATERIALIZED (
		SELECT * FROM databricks.report_runs(wanted, report_jobs.start)
	), jobs AS (
		SELECT place, job, (array_agg(name ORDER BY start_time DESC))[1] AS name, count(*) AS runs,
			   count(*) FILTER (WHERE kind = 'good') AS good, count(*) FILTER (WHERE kind = 'bad') AS bad,
			   count(*) FILTER (WHERE kind = 'left') AS others,
			   percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE kind = 'good') AS p50,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE kind = 'good') AS p95,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(queued, 0)) AS q95,
			   count(*) OVER () AS jobs
		FROM runs GROUP BY place, job
		ORDER BY bad DESC, runs DESC, place, job LIMIT shown
	), parts AS (
		SELECT place, job, databricks.report_bucket(start_time, report_jobs.start, buckets) AS bucket,
			   percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50,
			   percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95
		FROM runs WHERE kind = 'good' GROUP BY 1, 2, 3
	), trends AS (
		SELECT j.place, j.job, array_agg(b.p50 ORDER BY i) AS p50, array_agg(b.p95 ORDER BY i) AS p95, max(b.p95) AS top
		FROM jobs AS j CROSS JOIN generate_series(1, buckets) AS i
		LEFT JOIN parts AS b ON b.place = j.place AND b.job = j.job AND b.bucket = i
		GROUP BY j.place, j.job
	)
	SELECT max(j.jobs), string_agg(concat('<tr>',
			CASE WHEN wanted IS NULL THEN databricks.html_cell(j.place) END,
			databricks.html_cell(left(j.name, 120), 'name'),
			databricks.html_cell(j.runs::text, 'n'),
			format('<td class="n">%s<svg class="rate" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><path class="bad" d="M0 3h100"/><path class="good" d="M0 3h%s"/></svg></td>',
				coalesce(trunc(100.0 * j.good / nullif(j.good + j.bad, 0), 1) || ' %', '-'), round(coalesce(100.0 * j.good / nullif(j.good + j.bad, 0), 0))),
			databricks.html_cell(j.bad::text, CASE WHEN j.bad > 0 THEN 'n alarm' ELSE 'n' END),
			databricks.html_cell(j.others::text, 'n'),
			databricks.html_cell(databricks.short_time(j.p50), 'n'), databricks.html_cell(databricks.short_time(j.p95), 'n'),
			'<td><svg class="trend" viewBox="0 0 120 24" aria-hidden="true">' || databricks.html_bars(t.p50, t.p95, greatest(t.top, 0.1), 120, 24) || '</svg></td>',
			databricks.html_cell(databricks.short_time(j.q95), 'n'), '</tr>'), ''
		ORDER BY j.bad DESC, j.runs DESC, j.place, j.job)
	INTO jobs, rows
	FROM jobs AS j JOIN trends AS t USING (place, job);
	RETURN databricks.html_section('Jobs',
		array_remove(ARRAY[CASE WHEN wanted IS NULL THEN 'Workspace' END,
			'Job', '#Runs', '#Success rate', '#Failed', '#Canceled, skipped', '#Median', '#p95', 'Trend', '#Queue p95'], NULL),
		rows, CASE WHEN jobs > shown THEN format('%s of %s, those with most failures and most runs.', shown, jobs) END);
END
$$;
COMMENT ON FUNCTION databricks.report_jobs(pg_catalog.text, pg_catalog.timestamptz) IS
	'Section of a report: each job with its success rate (of the runs that succeeded or failed), durations of successful runs, their trend, and time in the queue.';

CREATE FUNCTION databricks.report_clusters(wanted pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET databricks.max_retry_timeout = '5s'
AS $$
DECLARE
	rows text;
	problem text;
BEGIN
	BEGIN
		SELECT string_agg(CASE WHEN c.problem IS NULL THEN concat('<tr>', databricks.html_cell(c.workspace), databricks.html_cell(left(c.cluster_name, 120), 'name'), databricks.html_cell(c.cluster_id),
				databricks.html_cell(databricks.short_time(extract(epoch FROM c.idle_for)), 'n'),
				databricks.html_cell(coalesce('after ' || c.autotermination_minutes || ' min', 'never'), CASE WHEN c.never_terminates THEN 'alarm' ELSE '' END), '</tr>') END, ''
			ORDER BY c.idle_for DESC),
			string_agg(CASE WHEN c.problem IS NOT NULL THEN format('Clusters of workspace %s could not be read: %s', c.workspace, left(c.problem, 300)) END, ' '
			ORDER BY c.workspace)
		INTO rows, problem
		FROM (SELECT u.workspace, u.cluster_id, u.cluster_name, u.problem, u.autotermination_minutes, u.autotermination_minutes IS NULL AS never_terminates,
					 clock_timestamp() - greatest(u.running_since, u.last_task_end) AS idle_for
			  FROM databricks.find_cluster_usage(wanted) AS u
			  WHERE u.running_since IS NOT NULL AND u.active_tasks = 0 OR u.problem IS NOT NULL
			  ORDER BY 7 DESC NULLS FIRST LIMIT 50) AS c;
	EXCEPTION WHEN OTHERS THEN
		-- The service may be out of reach; the rest of the report is not.
		problem := 'Clusters could not be read: ' || left(SQLERRM, 300);
	END;
	IF problem IS NOT NULL AND rows IS NULL THEN
		RETURN format(E'<section><h2>Idle clusters</h2><p class="alarm">%s</p></section>\n', databricks.html_text(problem));
	END IF;
	RETURN databricks.html_section('Idle clusters', '{Workspace,Cluster,Id,"#Idle for",Terminates}', rows,
		concat_ws(' ', 'Running while no task of a tracked job is; people may use them otherwise.', problem));
END
$$;
COMMENT ON FUNCTION databricks.report_clusters(pg_catalog.text) IS
	'Section of a report: what view idle_clusters shows, of the wanted workspace alone if one is. What the service refuses stands in the section, as does what it does not answer within the patience of 5 s. GET /api/2.1/clusters/list';

CREATE FUNCTION databricks.report(
	workspace pg_catalog.name DEFAULT NULL,
	since pg_catalog.interval DEFAULT '7 days')
RETURNS pg_catalog.text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted CONSTANT text := report.workspace;
	start CONSTANT timestamptz := now() - databricks.required(since, 'since');
	sums record;
	page text;
	rows text;
BEGIN
	IF since <= interval '0' THEN
		RAISE EXCEPTION 'since must be more than nothing' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'It says how far the report looks back: ''7 days''.';
	END IF;
	IF wanted IS NOT NULL AND NOT EXISTS (SELECT FROM databricks.workspaces AS w WHERE w.name = wanted AND w.usable) THEN
		RAISE EXCEPTION 'there is no workspace "%" that you may use', wanted USING ERRCODE = 'undefined_object',
			HINT = 'SELECT name, usable FROM databricks.workspaces; lists those there are.';
	END IF;
	page := concat('<!DOCTYPE html>', E'\n<html lang="en"><head><meta charset="', replace(lower(current_setting('client_encoding')), 'utf8', 'utf-8'),
		'"/><meta name="viewport" content="width=device-width, initial-scale=1"/><title>Runs of ', databricks.html_text(coalesce(wanted, current_database())), E'</title><style>\n',
		':root{color-scheme:light dark;--fg:#1d2129;--dim:#626973;--bg:#fff;--line:#d9dde3;--band:#f3f5f8;--good:#2b8a57;--bad:#cf2f3c;--left:#8a919c;--active:#2f6fde;--mid:#4a6fb5;--high:#b9c9e6}
@media(prefers-color-scheme:dark){:root{--fg:#e4e7eb;--dim:#9aa3af;--bg:#15181d;--line:#343a43;--band:#1f242b;--good:#4fbf83;--bad:#ff6b74;--left:#7c8591;--active:#6ea3ff;--mid:#86a9ec;--high:#3b4d6f}}
body{margin:0 auto;max-width:1200px;padding:1.5rem;background:var(--bg);color:var(--fg);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:0 0 .4rem}section{margin:0 0 2rem}p{margin:.2rem 0 .6rem}a{color:var(--active)}
small,.none,header p,.legend{color:var(--dim)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.8rem;margin:1.2rem 0 2rem}
.tiles div{background:var(--band);border-radius:.5rem;padding:.7rem .9rem}.tiles strong{display:block;font-size:1.5rem;font-weight:600}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2rem}.two section{margin:0}.two+.legend{margin-bottom:2rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}td.n,.t{white-space:nowrap}thead th{background:var(--band);font-weight:600}
td{overflow-wrap:break-word}.name{overflow-wrap:anywhere}.n{text-align:right;font-variant-numeric:tabular-nums}.name{min-width:10rem}.alarm{color:var(--bad);font-weight:600}
.lanes{table-layout:fixed}.lanes th{width:16rem;padding-block:.15rem;font-weight:400;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;vertical-align:middle}
.lanes td{padding:0;border-left:1px solid var(--line);vertical-align:middle}.lanes tfoot td,.lanes tfoot th{border:0}
svg{display:block}.lane{width:100%;height:28px}.axis{width:100%;height:18px;overflow:visible}.axis text{font-size:.8rem}.chart{width:100%;height:auto}.trend{width:120px;height:24px}.rate{width:100%;min-width:5rem;height:4px}
svg .good,svg .bad,svg .left,svg .active{fill:none;stroke-width:8}.lane .bad{stroke-width:13}.lane .left{stroke-width:4}
svg .good{stroke:var(--good)}svg .bad{stroke:var(--bad)}svg .left{stroke:var(--left)}svg .active{stroke:var(--active)}
.grid,.tick{stroke:var(--line);vector-effect:non-scaling-stroke}.mid{fill:var(--mid)}.high{fill:var(--high)}text{fill:var(--dim);font-size:11px}.end{text-anchor:end}.middle{text-anchor:middle}
.legend i{display:inline-block;width:.8em;height:.8em;margin:0 .35em 0 .9em;border-radius:2px}.legend i:first-child{margin-left:0}
i.good{background:var(--good)}i.bad{background:var(--bad)}i.left{background:var(--left)}i.active{background:var(--active)}i.mid{background:var(--mid)}i.high{background:var(--high)}
@media(max-width:40rem){.lanes th{width:8rem}.axis text:nth-of-type(even){display:none}}
', E'</style></head><body>\n<header><h1>Runs of ', databricks.html_text(coalesce(wanted, 'all workspaces')), '</h1><p>',
		databricks.html_text(to_char(start, 'YYYY-MM-DD HH24:MI')), ' to ', databricks.html_text(to_char(now(), 'YYYY-MM-DD HH24:MI')),
		', times of ', databricks.html_text(current_setting('TimeZone')), ', database ', databricks.html_text(current_database()), '</p>');

	IF to_regclass('databricks.task_history') IS NULL THEN
		RETURN page || E'<p>No workspace is tracked: SELECT databricks.track(); begins.</p></header></body></html>';
	END IF;

	-- How far the page can be trusted.
	SELECT string_agg(concat('<p', CASE WHEN t.last_error IS NOT NULL THEN ' class="alarm"' END, '>', databricks.html_text(t.workspace), ' looked at ',
			coalesce(databricks.short_time(extract(epoch FROM t.lag)) || ' ago', 'not yet'), databricks.html_text(', last error: ' || left(t.last_error, 300)), '</p>'), '' ORDER BY t.workspace)
	INTO rows FROM databricks.stat_tracking() AS t WHERE wanted IS NULL OR t.workspace = wanted;
	page := concat(page, rows, E'</header>\n');

	SELECT count(*) AS runs, count(*) FILTER (WHERE r.kind = 'bad') AS bad,
		   coalesce(trunc(100.0 * count(*) FILTER (WHERE r.kind = 'good') / nullif(count(*) FILTER (WHERE r.kind IN ('good', 'bad')), 0), 1) || ' %', '-') AS rate,
		   coalesce(databricks.short_time(percentile_cont(0.95) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE r.kind = 'good')), '-') AS p95,
		   coalesce(databricks.short_time(percentile_cont(0.95) WITHIN GROUP (ORDER BY coalesce(r.queued, 0)) FILTER (WHERE r.kind <> 'active')), '-') AS q95,
		   (SELECT count(*) FROM databricks.active_runs AS a WHERE wanted IS NULL OR a.workspace = wanted) AS active,
		   (SELECT count(*) FROM databricks.run_requests AS q WHERE q.finished_at IS NULL AND q.state <> 'running' AND (wanted IS NULL OR q.workspace = wanted)) AS waiting
	INTO sums FROM databricks.report_runs(wanted, start) AS r;
	page := concat(page, format('<div class="tiles"><div><strong>%s</strong>runs</div><div><strong>%s</strong>success rate</div><div%s><strong>%s</strong>failed</div><div><strong>%s</strong>running now</div><div><strong>%s</strong>p95 duration</div><div><strong>%s</strong>p95 queue time</div><div><strong>%s</strong>requests waiting</div></div>',
			sums.runs, sums.rate, CASE WHEN sums.bad > 0 THEN ' class="alarm"' END, sums.bad, sums.active, sums.p95, sums.q95, sums.waiting),
		E'\n', databricks.report_timeline(wanted, start), databricks.report_durations(wanted, start), databricks.report_jobs(wanted, start));

	SELECT string_agg(concat('<tr>', databricks.html_cell(f.termination_code), databricks.html_cell(f.error_line, 'name'), databricks.html_cell(f.runs::text, 'n'),
			databricks.html_cell(f.jobs::text, 'n'), databricks.html_cell(to_char(f.last_time, 'YYYY-MM-DD HH24:MI'), 't'), '</tr>'), '' ORDER BY f.runs DESC, f.last_time DESC)
	INTO rows
	FROM (SELECT * FROM databricks.failure_reasons AS r WHERE r.last_time >= start AND (wanted IS NULL OR r.workspace = wanted)
		  ORDER BY r.runs DESC, r.last_time DESC LIMIT 25) AS f;
	page := page || databricks.html_section('Reasons of failures', '{Code,"First line of the error",#Runs,#Jobs,"Last time"}', rows, 'Counted over the last 30 days.');

	SELECT string_agg(concat('<tr>', databricks.html_cell(to_char(f.failed_at, 'YYYY-MM-DD HH24:MI:SS'), 't'), databricks.html_cell(f.workspace),
			'<td class="name">', databricks.html_link(left(coalesce(nullif(btrim(f.run_name), ''), 'run ' || f.run_id, 'request ' || f.request_id), 120), f.run_page_url), '</td>',
			databricks.html_cell(array_to_string(f.failed_tasks[1:5], ', ') || CASE WHEN cardinality(f.failed_tasks) > 5 THEN ', ...' ELSE '' END),
			databricks.html_cell(coalesce(f.termination_code, f.result_state)), databricks.html_cell(left(f.first_error, 300), 'name'), '</tr>'), '' ORDER BY f.failed_at DESC)
	INTO rows
	FROM (SELECT * FROM databricks.failed_runs AS r WHERE r.failed_at >= start AND (wanted IS NULL OR r.workspace = wanted)
		  ORDER BY r.failed_at DESC LIMIT 60) AS f;
	page := page || databricks.html_section('Failures', '{Time,Workspace,Run,Tasks,Code,Error}', rows, CASE WHEN sums.bad > 60 THEN 'The last 60.' END);

	SELECT string_agg(concat('<tr>', databricks.html_cell(a.workspace), '<td class="name">', databricks.html_link(left(coalesce(nullif(btrim(a.run_name), ''), 'run ' || a.run_id), 120), a.run_page_url), '</td>',
			databricks.html_cell(a.state), databricks.html_cell(to_char(a.start_time, 'YYYY-MM-DD HH24:MI:SS'), 't'), databricks.html_cell(databricks.short_time(extract(epoch FROM a.running_for)), 'n'),
			databricks.html_cell(databricks.short_time(extract(epoch FROM l.late_by)), 'n alarm'), '</tr>'), '' ORDER BY a.start_time)
	INTO rows
	FROM (SELECT * FROM databricks.active_runs AS r WHERE wanted IS NULL OR r.workspace = wanted ORDER BY r.start_time LIMIT 60) AS a
	LEFT JOIN databricks.late_runs AS l ON l.workspace = a.workspace AND l.run_id = a.run_id;
	page := concat(page, databricks.html_section('Running now', '{Workspace,Run,State,Since,#For,"#Beyond p95 by"}', rows, CASE WHEN sums.active > 60 THEN 'The 60 longest.' END),
		databricks.report_clusters(wanted));

	SELECT string_agg(concat('<tr>', databricks.html_cell(s.workspace), databricks.html_cell(s.endpoint, 'name'), databricks.html_cell(s.calls::text, 'n'),
			databricks.html_cell(s.errors::text, CASE WHEN s.errors > 0 THEN 'n alarm' ELSE 'n' END), databricks.html_cell(s.retries::text, 'n'), databricks.html_cell(s.throttled::text, 'n'),
			databricks.html_cell(round((s.total_ms / nullif(s.calls, 0))::numeric, 1)::text, 'n'), databricks.html_cell(round(s.max_ms::numeric, 1)::text, 'n'),
			databricks.html_cell(databricks.short_time(s.quota_wait_ms / 1000), 'n'), databricks.html_cell(pg_size_pretty(s.bytes_in), 'n'), '</tr>'), '' ORDER BY s.calls DESC, s.endpoint)
	INTO rows
	FROM (SELECT a.workspace::text, a.endpoint, sum(a.calls)::int8 AS calls, sum(a.errors) AS errors, sum(a.retries) AS retries, sum(a.throttled) AS throttled,
				 sum(a.total_ms) AS total_ms, max(a.max_ms) AS max_ms, sum(a.quota_wait_ms) AS quota_wait_ms, sum(a.bytes_in)::int8 AS bytes_in
		  FROM databricks.stat_api() AS a WHERE wanted IS NULL OR a.workspace = wanted
		  GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 30) AS s;
	RETURN page || databricks.html_section('Calls and quota', '{Workspace,Endpoint,#Calls,#Errors,#Repeated,"#Refused (429)","#Mean ms","#Longest ms","#Held back",#Received}', rows,
		'Of this database, with the time held back for the rate limit, since the server started or stat_api_reset() was called; without databricks in shared_preload_libraries of this session alone.') || '</body></html>';
END
$$;
COMMENT ON FUNCTION databricks.report(pg_catalog.name, pg_catalog.interval) IS
	'One HTML page about the runs of a workspace (null: of all that the caller may see) that started within the time given: timeline, durations and queue, jobs, failures, what runs, idle clusters, calls. Nothing is loaded from elsewhere, no script is in it; names and errors are escaped. Times are of the session''s time zone. From run_history and the statistics, but for the clusters. Example: psql -XAtc "SELECT databricks.report(''prod'', ''1 day'')" > report.html; GET /api/2.1/clusters/list. Errors: 22004, 22023 since is not more than nothing, 42704 no such workspace.';

REVOKE ALL ON FUNCTION databricks.html_text(pg_catalog.text), databricks.html_cell(pg_catalog.text, pg_catalog.text), databricks.html_link(pg_catalog.text, pg_catalog.text),
	databricks.html_section(pg_catalog.text, pg_catalog.text[], pg_catalog.text, pg_catalog.text),
	databricks.html_bars(pg_catalog.float8[], pg_catalog.float8[], pg_catalog.float8, pg_catalog.float8, pg_catalog.float8),
	databricks.html_chart(pg_catalog.text, pg_catalog.float8[], pg_catalog.float8[], pg_catalog.timestamptz, pg_catalog.timestamptz),
	databricks.report_ticks(pg_catalog.timestamptz, pg_catalog.timestamptz), databricks.report_runs(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_timeline(pg_catalog.text, pg_catalog.timestamptz), databricks.report_durations(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_bucket(pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4), databricks.report_jobs(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_clusters(pg_catalog.text), databricks.report(pg_catalog.name, pg_catalog.interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION databricks.html_text(pg_catalog.text), databricks.html_cell(pg_catalog.text, pg_catalog.text), databricks.html_link(pg_catalog.text, pg_catalog.text),
	databricks.html_section(pg_catalog.text, pg_catalog.text[], pg_catalog.text, pg_catalog.text),
	databricks.html_bars(pg_catalog.float8[], pg_catalog.float8[], pg_catalog.float8, pg_catalog.float8, pg_catalog.float8),
	databricks.html_chart(pg_catalog.text, pg_catalog.float8[], pg_catalog.float8[], pg_catalog.timestamptz, pg_catalog.timestamptz),
	databricks.report_ticks(pg_catalog.timestamptz, pg_catalog.timestamptz), databricks.report_runs(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_timeline(pg_catalog.text, pg_catalog.timestamptz), databricks.report_durations(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_bucket(pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4), databricks.report_jobs(pg_catalog.text, pg_catalog.timestamptz),
	databricks.report_clusters(pg_catalog.text), databricks.report(pg_catalog.name, pg_catalog.interval) TO PUBLIC;
