# 064_history_views.pl - what the views and functions of the run history say, to
# whom, and how quickly with 500 000 runs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node('main', preload => 1, conf => "autovacuum = off\nmax_parallel_workers_per_gather = 0\n");

sub value { return $node->safe_psql('postgres', $_[0]); }

# As a role that may use workspace prod and nothing else.
sub as_reader { return value("SET ROLE reader; $_[0]"); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub { ($last = value($query)) eq $expected });
	};
	ok($ok, $name) or diag("last: $last");
	return;
}

# --- where nothing has been made yet ---------------------------------------------

is(value('SELECT count(*) FROM databricks.missing_runs'), '0', 'no tables, nothing missing');
is(value('SELECT count(*) FROM databricks.idle_clusters'), '0', 'nor idle');
like(value('SELECT databricks.metrics()'), qr/# EOF\s*\z/, 'metrics without tables');
like(value('SELECT databricks.report()'), qr/No workspace is tracked/, 'a report without tables');
is(sql_error($node, 'SELECT databricks.gantt(1)')->{state}, '42704', 'no run to draw');
is(sql_error($node, 'SELECT databricks.gantt(NULL)')->{state}, '22004', 'a run is needed');

# --- Quartz ------------------------------------------------------------------------

my %quartz = (
	'0 30 6 ? * MON-FRI' => '30 6 * * MON-FRI',
	'0 0/15 * * * ?' => '0-59/15 * * * *',
	'12 0 8 ? * 2-6' => '0 8 * * 1-5',
	'0 0 0 L * ?' => '0 0 $ * *',
	'0 0 12 1/5 * ? *' => '0 12 1-31/5 * *',
	'0 5,35 */2 1,15 jan,jul ?' => '5,35 */2 1,15 JAN,JUL *',
	'0 0 0 ? * 6#3' => '',
	'0 0 0 ? * 6L' => '',
	'0 0 0 15W * ?' => '',
	'0 0 0 1 * ? 2027' => '',
	'0/10 * * * * ?' => '',
	'0 0 0 1 * MON' => '',
	'0 0 0 ? * 0' => '',
	'hello' => '');
foreach my $expression (sort keys %quartz)
{
	is(value("SELECT databricks.quartz_to_cron('$expression')"), $quartz{$expression}, "Quartz: $expression");
}

# --- a run of the stand-in, drawn ----------------------------------------------------

connect_workspace($node, $workspace);
my $job = $workspace->create_job(
	name => 'nightly <load> of \'"everything"\' and a name that does not come to an end before the line does',
	tasks => [
		{ task_key => 'extract', notebook_task => { notebook_path => '/x' } },
		{ task_key => 'load', notebook_task => { notebook_path => '/x' }, depends_on => [ { task_key => 'extract' } ],
			max_retries => 1, min_retry_interval_millis => 0 },
		{ task_key => 'report_with_a_rather_long_name', notebook_task => { notebook_path => '/x' }, depends_on => [ { task_key => 'load' } ] } ]);
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 200, duration_ms => 400 } });
$workspace->post('plans', { match => { job_id => $job, task_key => 'load' },
	plan => { setup_ms => 0, duration_ms => 200, result => 'FAILED', error => "\e[0;31m<b>no</b> file 12345678\e[0m & more\nsecond line" } });
value(q{SELECT databricks.track('prod', poll_interval => '200 ms')});
my $run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })->{run_id};
wait_for_value('a run fails', "SELECT first_error LIKE '%no</b> file%' FROM databricks.failed_runs WHERE run_id = $run", 't');
is(value("SELECT failed_tasks, result_state, termination_code FROM databricks.failed_runs WHERE run_id = $run"),
	'{load}|FAILED|RUN_EXECUTION_ERROR', 'which tasks failed');
is(value('SELECT error_line, runs, jobs, last_run_id FROM databricks.failure_reasons'),
	"<b>no</b> file # & more|1|1|$run", 'its reason: one line, without colours and numbers');

my @lines = split /\n/, value("SELECT databricks.gantt($run)");
is(scalar(@lines), 5, 'a line for each attempt, and a head') or diag(join("\n", @lines));
is(scalar(grep { length($_) > 78 } @lines), 0, 'none longer than 78 characters');
run_command([ 'psql', '-X', '-d', $node->connstr('postgres'), '-o', "$PostgreSQL::Test::Utils::tmp_check/gantt", '-c', "SELECT databricks.gantt($run)" ]);
is(scalar(grep { length($_) > 80 } split /\n/, slurp_file("$PostgreSQL::Test::Utils::tmp_check/gantt")), 0, "so psql's table fits into 80");
like($lines[0], qr/^nightly <load>.* $run  FAILED/, 'the head');
like($lines[1], qr/^extract +\|-+=+ +\| +0\.\d s/, 'set-up and work from the left');
like($lines[2], qr/^load #1 +\| +x+ +\| +0\.\d s FAILED/, 'an attempt that failed');
like($lines[3], qr/^load #2 +\| +x+ *\|/, 'and the next one');
like($lines[4], qr/^report_with_a_rather \| {38}\|.*UPSTREAM/, 'a task that never started');

# Characters that take two columns, and those that would end a line.
value(q{INSERT INTO databricks.run_history (workspace, run_id, job_id, run_name, state, start_time, first_seen_at, updated_at)
	VALUES ('prod', 5, 5, repeat(E'\u65e5\n', 40), 'RUNNING', now(), now(), now())});
is(value(q{SELECT replace(databricks.gantt(5), E'\u65e5', 'XX')}), 'XX ' x 10 . "  5  RUNNING  00:00:00\n(no task is known yet)", 'a name of wide characters takes 30 columns');
value('DELETE FROM databricks.run_history WHERE run_id = 5');

my $page = value(q{SELECT databricks.report('prod')});
like($page, qr/^<!DOCTYPE html>.*<\/html>$/s, 'a report is a page');
like($page, qr/nightly &lt;load&gt; of &#39;&quot;everything/, 'names are escaped');
like($page, qr/&lt;b&gt;no&lt;\/b&gt; file 12345678 &amp; more/, 'errors too');
unlike($page, qr/<b>|\e/, 'nothing of them is markup');
is(sql_error($node, "SELECT databricks.report('prod', NULL)")->{state}, '22004', 'a report needs a time');

my $metrics = value('SELECT databricks.metrics()');
like($metrics, qr/^databricks_runs_last_day\{workspace="prod",result_state="FAILED"\} 1$/m, 'metrics: results');
like($metrics, qr/^databricks_tracking_sweeps_total\{workspace="prod"\} \d+$/m, 'metrics: sweeps');
like($metrics, qr/^databricks_tracking_lag_seconds\{workspace="prod"\} [\d.]+$/m, 'metrics: lag');
like($metrics, qr/^databricks_api_calls_total\{workspace="prod",endpoint="GET [^"]*runs\/list"\} \d+$/m, 'metrics: calls');
is(scalar(grep { !/^# (TYPE|HELP|UNIT|EOF)|^[a-z_]+\{workspace="[^"]*"(,[a-z_]+="[^"]*")?\} [-\d.e+]+$/ } split /\n/, $metrics),
	0, 'every line of the metrics is of the format');

# --- clusters -------------------------------------------------------------------------

my $cluster = $workspace->api('POST', '/api/2.1/clusters/create',
	{ cluster_name => 'lonely', spark_version => '15.4.x-scala2.12', node_type_id => 'i3.xlarge', num_workers => 1, autotermination_minutes => 0 })->{cluster_id};
wait_for_value('a cluster that nobody uses and nothing ends',
	"SELECT cluster_name, never_terminates, idle_for < '1 hour' FROM databricks.idle_clusters WHERE cluster_id = '$cluster'", 'lonely|t|t');
is(value("SELECT tasks, active_tasks FROM databricks.cluster_usage WHERE cluster_id = '$cluster'"), '0|0', 'its use');
value(q{CREATE SERVER gone FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9', retry_timeout '0');
	CREATE USER MAPPING FOR CURRENT_USER SERVER gone OPTIONS (token 'x-none');
	CREATE SCHEMA gone;
	IMPORT FOREIGN SCHEMA databricks LIMIT TO (clusters) FROM SERVER gone INTO gone});
is(value("SELECT cluster_name FROM databricks.idle_clusters WHERE workspace = 'prod' AND cluster_id = '$cluster'"), 'lonely', 'a workspace that does not answer keeps nobody from another');
foreach my $view (qw(cluster_usage idle_clusters))
{
	my ($status, $shown, $warned) = $node->psql('postgres', "SELECT workspace, cluster_name, problem ~ '127.0.0.1:9' FROM databricks.$view WHERE cluster_id = '$cluster' OR problem IS NOT NULL ORDER BY workspace");
	is($shown, "gone||t\nprod|lonely|", "$view: it is a row among those that answer");
	like($warned, qr/WARNING:  the clusters of workspace "gone" could not be read: /, "$view: and a warning");
}
is(sql_error($node, q{BEGIN; DROP FOREIGN TABLE databricks.clusters; SELECT count(*) FROM databricks.cluster_usage; ROLLBACK})->{state},
	'HV00N', 'where there is no other, it is an error');
value('DROP SERVER gone CASCADE; DROP SCHEMA gone');

# --- a request that never became a run ----------------------------------------------------

value(q{SELECT databricks.enqueue_run_now('no such job')});
wait_for_value('it is among the failures',
	q{SELECT result_state, run_id IS NULL, first_error <> '' FROM databricks.failed_runs WHERE request_id IS NOT NULL}, 'rejected|t|t');

# --- 500 000 runs ---------------------------------------------------------------------------

value(q{SELECT databricks.untrack('prod')});
wait_for_value('the worker leaves', q{SELECT count(*) FROM databricks.tracking}, '0');
value(q{
	TRUNCATE databricks.run_history, databricks.task_history;
	CREATE SERVER other FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
	INSERT INTO databricks.run_history (workspace, run_id, job_id, run_name, run_type, trigger, state, result_state, life_cycle_state,
		termination_code, start_time, end_time, run_duration, schedule, first_seen_at, updated_at)
	SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'prod' END, i, i % 200 + 1, 'job ' || i % 200 + 1, 'JOB_RUN', 'ONE_TIME',
		CASE WHEN i > 499900 THEN 'RUNNING' ELSE 'TERMINATED' END,
		CASE WHEN i > 499900 THEN NULL WHEN i % 17 = 0 THEN 'FAILED' ELSE 'SUCCESS' END,
		CASE WHEN i > 499900 THEN 'RUNNING' ELSE 'TERMINATED' END,
		CASE WHEN i > 499900 THEN NULL WHEN i % 17 = 0 THEN 'RUN_EXECUTION_ERROR' ELSE 'SUCCESS' END,
		at, CASE WHEN i <= 499900 THEN at + interval '5 minutes' END, interval '5 minutes', NULL, now(), now()
	FROM (SELECT i, now() - interval '60 days' + i * interval '10.36 s' AS at FROM generate_series(1, 500000) AS i) AS s;
	INSERT INTO databricks.task_history (workspace, run_id, task_run_id, task_key, attempt_number, is_latest, state, result_state, start_time, end_time, error)
	SELECT workspace, run_id, run_id + 10000000, 'main', 0, true, state, result_state, start_time, end_time, CASE result_state WHEN 'FAILED' THEN 'file 123456 not found' END
	FROM databricks.run_history;
	ANALYZE databricks.run_history;
	ANALYZE databricks.task_history;
	CREATE ROLE reader;
	GRANT USAGE ON FOREIGN SERVER prod TO reader});
my $blocks = value(q{SELECT pg_relation_size('databricks.run_history') / current_setting('block_size')::int});
cmp_ok($blocks, '>', 5000, "a large table ($blocks blocks)");

# Blocks that a query looks at.
sub blocks
{
	my $plan = json(as_reader("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $_[0]"))->[0]->{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}
my %quick = (
	"SELECT * FROM databricks.run_stats WHERE job_id = 8" => 4000,
	'SELECT * FROM databricks.active_runs' => 100,
	"SELECT * FROM databricks.failed_runs WHERE failed_at > now() - interval '1 day'" => 6000,
	'SELECT * FROM databricks.missing_runs' => 2000,
	'SELECT * FROM databricks.run_history WHERE run_id = 4711 AND workspace = $$prod$$' => 20);
foreach my $query (sort keys %quick)
{
	my $count = blocks($query);
	cmp_ok($count, '<', $quick{$query}, "$count blocks: $query");
}
my $late = blocks('SELECT * FROM databricks.late_runs');
cmp_ok($late, '<', 90 * 300, "$late blocks: late_runs, 100 runs for each active one");

# Only what the role may see.
is(as_reader('SELECT count(*), count(*) FILTER (WHERE workspace <> $$prod$$) FROM databricks.run_history'), '450000|0', 'rows of a workspace without USAGE are hidden');
is(as_reader('SELECT count(*), count(DISTINCT workspace) FROM databricks.run_stats'), '180|1', 'in the statistics');
is(as_reader('SELECT count(*), count(DISTINCT workspace) FROM databricks.active_runs'), '90|1', 'among active runs');
is(as_reader('SELECT count(DISTINCT workspace) FROM databricks.failed_runs'), '1', 'among failures');
is(as_reader('SELECT string_agg(DISTINCT workspace, $$,$$) FROM databricks.failure_reasons'), 'prod', 'among their reasons');
unlike(as_reader('SELECT databricks.metrics()'), qr/workspace="other"/, 'in the metrics');
unlike(as_reader('SELECT databricks.report()'), qr/>other</, 'and in the report');
like(value('SELECT databricks.report()'), qr/>other</, 'which shows it to those who may');
my $hidden = value(q{SELECT run_id FROM databricks.run_history WHERE workspace = 'other' LIMIT 1});
my ($rc, undef, $stderr) = $node->psql('postgres', "SET ROLE reader; SELECT databricks.gantt($hidden)");
like($stderr, qr/is not in the history/, 'a run that is hidden is not drawn');

is(as_reader(q{SELECT runs, failed, success_rate, p50_duration, p95_duration, trend FROM databricks.run_stats WHERE job_id = 8}) =~
	/^(\d+)\|(\d+)\|(0\.\d+)\|00:05:00\|00:05:00\|1\.00$/ && abs(1 - $2 / $1 - $3) < 0.001, 1, 'rates and durations');

# Late: active for longer than the others of the job took.
is(value(q{SELECT count(*), bool_and(p95_duration = '5 minutes' AND late_by > '0 s') FROM databricks.late_runs
	WHERE start_time < clock_timestamp() - interval '6 minutes'}) =~ /^[1-9]\d*\|t$/, 1, 'late runs');
is(value(q{SELECT count(*) FROM databricks.late_runs WHERE start_time > clock_timestamp() - interval '5 minutes'}), '0', 'others are not late');

# One that is repaired runs since then, not since it was started for the first time;
# one that has an end_time or a result before its end is neither failed nor counted.
value(q{
	INSERT INTO databricks.run_history (workspace, run_id, job_id, run_name, run_type, trigger, state, result_state, life_cycle_state, start_time, end_time, first_seen_at, updated_at)
	SELECT 'prod', 2000000 + i, 2000, 'mended', 'JOB_RUN', 'ONE_TIME', CASE WHEN i <= 5 THEN 'TERMINATED' WHEN i = 8 THEN 'WAITING' ELSE 'RUNNING' END,
		CASE WHEN i <= 5 THEN 'SUCCESS' WHEN i = 8 THEN 'FAILED' END, NULL, now() - interval '5 hours', CASE WHEN i <= 5 OR i = 8 THEN now() - interval '4 hours 55 minutes' END, now(), now()
	FROM generate_series(1, 8) AS i;
	UPDATE databricks.run_history SET start_time = now() - interval '3 hours' WHERE run_id BETWEEN 2000006 AND 2000008;
	INSERT INTO databricks.run_transitions VALUES ('prod', 2000006, 'RUNNING', NULL, now() - interval '3 hours'),
		('prod', 2000006, 'TERMINATED', 'FAILED', now() - interval '2 hours'), ('prod', 2000006, 'RUNNING', NULL, now() - interval '1 hour'),
		('prod', 2000007, 'TERMINATED', 'FAILED', now() - interval '2 minutes'), ('prod', 2000007, 'RUNNING', NULL, now() - interval '1 minute')});
is(value(q{SELECT string_agg(run_id || ' ' || (running_for < '2 hours 1 minute'), ',' ORDER BY run_id) FROM databricks.late_runs WHERE job_id = 2000}),
	'2000006 true,2000008 false', 'a repaired run is late by the time since it had ended');
is(value(q{SELECT runs, succeeded, failed, success_rate FROM databricks.run_stats WHERE job_id = 2000}), '5|5|0|1.0000', 'a run that has a result before its end is not counted');
is(value(q{SELECT count(*) FROM databricks.failed_runs WHERE job_id = 2000}), '0', 'nor has it failed');

# --- what should have run -------------------------------------------------------------------

# Each hour for three days, but not in two of them; the expression of job 1002 is
# beyond us, job 1003 is paused.
value(q{
	INSERT INTO databricks.run_history (workspace, run_id, job_id, run_name, run_type, trigger, state, result_state, start_time, end_time, schedule, first_seen_at, updated_at)
	SELECT 'prod', 1000000 + j * 1000 + i, j, 'job ' || j, 'JOB_RUN', 'PERIODIC', 'TERMINATED', 'SUCCESS', at, at + interval '1 min',
		jsonb_build_object('timezone_id', 'UTC', 'pause_status', CASE j WHEN 1003 THEN 'PAUSED' ELSE 'UNPAUSED' END,
			'quartz_cron_expression', CASE j WHEN 1002 THEN '0 0 0 ? * 6#3' ELSE '7 0 * * * ?' END), now(), now()
	FROM generate_series(1001, 1003) AS j, generate_series(1, 72) AS i,
		LATERAL (SELECT date_trunc('hour', now()) - i * interval '1 hour' + interval '9 s' AS at) AS a
	WHERE i NOT IN (5, 7)});
is(value(q{SELECT string_agg(extract(epoch FROM date_trunc('hour', now()) - expected_at)::int / 3600 || '', ',' ORDER BY expected_at DESC)
	FROM databricks.missing_runs WHERE job_id = 1001 AND expected_at < date_trunc('hour', now())}), '5,7', 'ticks without a run');
is(value(q{SELECT status, expected_at IS NULL, expression FROM databricks.missing_runs WHERE job_id = 1002}), 'unknown|t|0 0 0 ? * 6#3', 'one that we do not understand');
is(value(q{SELECT count(*) FROM databricks.missing_runs WHERE job_id = 1003}), '0', 'a paused one misses nothing');

# --- to whom they belong ---------------------------------------------------------------------

is(value(q{SELECT string_agg(c.relname, ' ' ORDER BY 1) FROM pg_class AS c
	WHERE c.relnamespace = 'databricks'::regnamespace AND c.relkind = 'v' AND c.relname ~ 'runs$|stats$|reasons$|clusters$|usage$'
	  AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)}), '', 'all are security_invoker');
is(value(q{SELECT count(*) FROM pg_class AS c WHERE c.relnamespace = 'databricks'::regnamespace AND c.relkind = 'v'
	AND c.relname ~ 'runs$|run_stats$|reasons$|clusters$|usage$|^tracking$|^stat_worker$' AND coalesce(obj_description(c.oid, 'pg_class'), '') !~ 'Example: SELECT'}),
	'0', 'all have an example');
value('DROP EXTENSION databricks CASCADE');
is(value('SELECT count(*) > 0 FROM databricks.failed_runs'), 't', 'those over the tables alone outlive the extension');

$node->stop;
done_testing();
