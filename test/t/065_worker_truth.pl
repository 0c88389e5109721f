# 065_worker_truth.pl - runs live at random, the service fails, the worker is
# stopped: in the end the history says what the service says.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $seed = $ENV{DATABRICKS_TEST_SEED} || 585090;
srand($seed);
diag("seed $seed");

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => "databricks.history_reconcile_interval = '12 s'\n");

sub value { return $node->safe_psql('postgres', $_[0]); }
sub start_run { return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $_[0] })->{run_id}; }

connect_workspace($node, $workspace);
value(q{CREATE SCHEMA imported; IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER prod INTO imported});
value(q{SELECT databricks.track('prod', poll_interval => '100 ms')});

my @kinds = (
	{ setup_ms => 1, duration_ms => 1, cleanup_ms => 1 },
	{ setup_ms => 0, duration_ms => 300, cleanup_ms => 50 },
	{ setup_ms => 100, duration_ms => 900, cleanup_ms => 0 },
	{ setup_ms => 0, duration_ms => 200, cleanup_ms => 0, result => 'FAILED' },
	{ setup_ms => 0, duration_ms => 100, cleanup_ms => 0, results => [ 'FAILED', 'SUCCESS' ] });
my @jobs = map {
	my $task = { task_key => 'a', notebook_task => { notebook_path => '/a' }, max_retries => $_ == 4 ? 1 : 0, min_retry_interval_millis => 50 };
	my $job = $workspace->create_job(name => "job $_", max_concurrent_runs => $_ == 1 ? 2 : 100, queue => { enabled => $_ == 1 ? JSON::PP::true : JSON::PP::false },
		tasks => [ $task, { task_key => 'b', notebook_task => { notebook_path => '/b' }, depends_on => [ { task_key => 'a' } ] } ]);
	$workspace->post('plans', { match => { job_id => $job }, plan => $kinds[$_] });
	$job } 0 .. $#kinds;

my (@runs, %deleted);
my ($outages, $stops, $repairs) = (0, 0, 0);
foreach my $round (1 .. 150)
{
	my $dice = rand;
	push @runs, start_run($jobs[ rand @jobs ]);
	my $run = $runs[ rand @runs ];
	next if $deleted{$run};
	if ($dice < 0.10) { $workspace->api('POST', '/api/2.2/jobs/runs/cancel', { run_id => $run }); }
	elsif ($dice < 0.20)
	{
		# Either may be refused where the run is not in the state for it.
		$deleted{$run} = 1 if eval { $workspace->api('POST', '/api/2.2/jobs/runs/delete', { run_id => $run }); 1 };
	}
	elsif ($dice < 0.35)
	{
		$repairs++ if eval { $workspace->api('POST', '/api/2.2/jobs/runs/repair', { run_id => $run, rerun_all_failed_tasks => JSON::PP::true }); 1 };
	}
	elsif ($dice < 0.40)
	{
		$outages++;
		$workspace->post('faults', { kind => (qw(status reset truncate bad_json))[ rand 4 ], status => 503, path => '/api/2.2/jobs/runs/*', user => 'admin@example.com', count => 1 + int(rand 12) });
	}
	elsif ($dice < 0.43)
	{
		$stops++ if value(q{SELECT count(pg_terminate_backend(pid)) FROM databricks.stat_worker WHERE pid IS NOT NULL}) > 0;
	}
}
cmp_ok($repairs, '>', 0, "runs were repaired ($repairs), the service failed ($outages times), the worker was stopped ($stops times)");
$workspace->delete('faults');

# What failed again and again is asked for later and later; here it shall be now.
value('UPDATE databricks.history_fetches SET due_at = now(), failures = 0');
$node->restart;

my $columns = value(q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'imported.runs'::regclass AND attnum > 0
	AND attname NOT IN ('workspace', 'tasks', 'raw', 'job_parameters', 'idempotency_token')});
my $different = qq{SELECT
	(SELECT count(*) FROM (SELECT $columns FROM imported.runs EXCEPT ALL SELECT $columns FROM databricks.run_history WHERE gone_at IS NULL) AS a),
	(SELECT count(*) FROM (SELECT $columns FROM databricks.run_history WHERE gone_at IS NULL EXCEPT ALL SELECT $columns FROM imported.runs) AS b),
	(SELECT count(*) FROM databricks.history_fetches)};
my $last = '';
ok(eval { poll_until('equality', sub { ($last = value($different)) eq '0|0|0' }, 120) }, 'the history equals what the service says, row by row')
  or diag("missing or old, surplus, to fetch: $last");

# A run that was deleted before anybody saw it is nowhere.
is(value('SELECT count(*) FROM databricks.run_history WHERE gone_at IS NOT NULL AND run_id NOT IN (0' . join('', map { ",$_" } keys %deleted) . ')'),
	'0', 'only what was deleted is gone');
is(value('SELECT count(*) FROM databricks.run_history'), scalar(@runs) - scalar(grep { my $run = $_; value("SELECT count(*) FROM databricks.run_history WHERE run_id = $run") eq '0' } keys %deleted),
	'no run is missing or twice');
is(value(q{SELECT count(*) FROM (
	SELECT state, result_state, lag(state) OVER w AS s, lag(result_state) OVER w AS r, lag(run_id) OVER w AS before, run_id
	FROM databricks.run_transitions WINDOW w AS (PARTITION BY workspace, run_id ORDER BY observed_at)) AS t
	WHERE before = run_id AND state IS NOT DISTINCT FROM s AND result_state IS NOT DISTINCT FROM r}), '0', 'no transition is recorded twice');
is(value(q{SELECT count(*) FROM databricks.run_history AS h WHERE gone_at IS NULL AND (state, coalesce(result_state, '')) IS DISTINCT FROM
	(SELECT (state, coalesce(result_state, '')) FROM databricks.run_transitions AS t WHERE t.workspace = h.workspace AND t.run_id = h.run_id ORDER BY observed_at DESC LIMIT 1)}),
	'0', 'the last transition of each is what it is');

my $wrong = 0;
foreach my $run (grep { !$deleted{$_} } @runs)
{
	my $truth = join ' ', sort map { "$_->{run_id}:" . ($_->{state}->{result_state} // '-') } @{ $workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $run })->{tasks} };
	my $known = value("SELECT coalesce(string_agg(task_run_id || ':' || coalesce(result_state, '-'), ' ' ORDER BY (task_run_id || ':' || coalesce(result_state, '-')) COLLATE \"C\"), '') FROM databricks.task_history WHERE run_id = $run");
	next if $truth eq $known;
	diag("run $run: $known, not $truth") if !$wrong++;
}
is($wrong, 0, 'each run has the tasks that it had');

$node->stop;
done_testing();
