# 065_worker_truth.pl - runs live at random, the service fails, the worker is
# killed: in the end the history says what the service says.
#
# Each time another life; DATABRICKS_TEST_SEED repeats one. "make prove-history"
# is the long form, of DBX_PROVE_RUNS runs.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $seed = $ENV{DATABRICKS_TEST_SEED} || int(rand(1_000_000));
my $rounds = 150;
my $batch = int(($ENV{DBX_PROVE_RUNS} || $rounds) / $rounds) || 1;
my $patience = 120 * ($ENV{DBX_PROVE_RUNS} ? 10 : 1);
srand($seed);
diag("seed $seed");

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => <<~CONF);
	databricks.history_reconcile_interval = '12 s'
	restart_after_crash = on
	CONF

# A kill of the worker takes all connections along, and the server a moment.
sub value
{
	my ($sql) = @_;
	my ($rc, $out, $err);
	poll_until("an answer to $sql", sub {
		($rc, $out, $err) = $node->psql('postgres', $sql);
		die $err if $rc == 3;
		return $rc == 0; });
	return $out;
}
sub start_run { return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $_[0] })->{run_id}; }

sub kill_worker
{
	my $position = log_position($node);
	poll_until('a worker is killed', sub { kill('KILL', value(q{SELECT coalesce(max(pid), 0) FROM databricks.stat_worker}) || return 0) });
	poll_until('the server noticed', sub { log_since($node, $position) =~ /database system is ready/ });
	return 1;
}

connect_workspace($node, $workspace);
value(q{CREATE SCHEMA imported; IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs, run_tasks) FROM SERVER prod INTO imported});
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

my (@runs, %deleted, %repaired);
my ($outages, $kills) = (0, 0);
foreach my $round (1 .. $rounds)
{
	my $dice = rand;
	push @runs, start_run($jobs[ rand @jobs ]) foreach 1 .. $batch;
	$kills += kill_worker() if $round == 40 || $round == 110;
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
		$repaired{$run} = 1 if eval { $workspace->api('POST', '/api/2.2/jobs/runs/repair', { run_id => $run, rerun_all_failed_tasks => JSON::PP::true }); 1 };
	}
	elsif ($dice < 0.40)
	{
		$outages++;
		my $kind = (qw(status throttle reset truncate bad_json))[ rand 5 ];
		$workspace->post('faults', { ($kind eq 'throttle' ? (kind => 'status', status => 429) : (kind => $kind, status => 503)),
			path => '/api/2.2/jobs/runs/*', user => 'admin@example.com', count => 1 + int(rand 12) });
	}
	elsif ($dice < 0.43)
	{
		value(q{SELECT count(pg_terminate_backend(pid)) FROM databricks.stat_worker WHERE pid IS NOT NULL});
	}
}
my $repairs = keys %repaired;
cmp_ok($repairs, '>', 0, "runs were repaired ($repairs), the service failed ($outages times)");
cmp_ok($kills, '>', 0, "the worker was killed ($kills times)");
$workspace->delete('faults');

my $columns = value(q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'imported.runs'::regclass AND attnum > 0
	AND attname NOT IN ('workspace', 'tasks', 'raw', 'job_parameters', 'idempotency_token')});
my $different = qq{SELECT
	(SELECT count(*) FROM (SELECT $columns FROM imported.runs EXCEPT ALL SELECT $columns FROM databricks.run_history WHERE gone_at IS NULL) AS a),
	(SELECT count(*) FROM (SELECT $columns FROM databricks.run_history WHERE gone_at IS NULL EXCEPT ALL SELECT $columns FROM imported.runs) AS b),
	(SELECT count(*) FROM databricks.history_fetches),
	(SELECT count(*) FROM imported.runs WHERE state <> 'TERMINATED')};
my $last = '';
# What is compared after this must not change any more, so all have to end first.
ok(eval { poll_until('equality', sub { ($last = value($different)) eq '0|0|0|0' }, $patience) }, 'the history equals what the service says, row by row')
  or diag("missing or old, surplus, to fetch, active: $last\n",
	value('SELECT f, h.state, h.life_cycle_state, h.updated_at FROM databricks.history_fetches AS f LEFT JOIN databricks.run_history AS h USING (workspace, run_id) LIMIT 5'), "\n",
	value('SELECT sweeps, active_runs, last_error, now() FROM databricks.tracking'));

# A run that was deleted before anybody saw it is nowhere.
my $deleted = join(',', 0, keys %deleted);
is(value("SELECT count(*) FROM databricks.run_history WHERE gone_at IS NOT NULL AND run_id NOT IN ($deleted)"), '0', 'only what was deleted is gone');
is(value("SELECT count(*) FROM databricks.run_history WHERE run_id NOT IN ($deleted)"), scalar(grep { !$deleted{$_} } @runs), 'no run is missing or twice');

# Transitions: what was seen, once, in an order that a run can have.
my $repaired = join(',', 0, keys %repaired);
is(value(q{SELECT count(*) FROM (
	SELECT state, result_state, lag(state) OVER w AS s, lag(result_state) OVER w AS r, lag(run_id) OVER w AS before, run_id
	FROM databricks.run_transitions WINDOW w AS (PARTITION BY workspace, run_id ORDER BY observed_at)) AS t
	WHERE before = run_id AND state IS NOT DISTINCT FROM s AND result_state IS NOT DISTINCT FROM r}), '0', 'no transition is recorded twice');
is(value(q{SELECT count(*) FROM databricks.run_history AS h WHERE gone_at IS NULL AND (state, coalesce(result_state, '')) IS DISTINCT FROM
	(SELECT (state, coalesce(result_state, '')) FROM databricks.run_transitions AS t WHERE t.workspace = h.workspace AND t.run_id = h.run_id ORDER BY observed_at DESC LIMIT 1)}),
	'0', 'the last transition of each is what it is');
is(value(qq{SELECT count(*) FROM (
	SELECT array_position(ARRAY['QUEUED', 'PENDING', 'RUNNING', 'TERMINATING', 'TERMINATED'], state) AS step,
		lag(array_position(ARRAY['QUEUED', 'PENDING', 'RUNNING', 'TERMINATING', 'TERMINATED'], state)) OVER (PARTITION BY run_id ORDER BY observed_at) AS before
	FROM databricks.run_transitions WHERE run_id NOT IN ($repaired) AND state NOT IN ('WAITING', 'BLOCKED')) AS t
	WHERE step IS NULL OR step < before}), '0', 'none was invented: a run that was not repaired only goes on');

my $tasks = 'run_id, task_run_id, task_key, attempt_number, state, result_state, start_time, end_time';
is(value(qq{SELECT count(*) FROM (SELECT $tasks FROM imported.run_tasks EXCEPT ALL SELECT $tasks FROM databricks.task_history) AS a}), '0',
	'each run has the tasks that it had');
is(value(qq{SELECT count(*) FROM (SELECT $tasks FROM databricks.task_history WHERE run_id NOT IN ($deleted) EXCEPT ALL SELECT $tasks FROM imported.run_tasks) AS a}), '0',
	'and no others');

$node->stop;
done_testing();
