# 068_worker_pace.pl - how often a tracked workspace is looked at, and at what cost.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node('main', preload => 1, conf => "autovacuum = off\nlog_min_messages = debug1\n");
my $runs_list = '/api/2.2/jobs/runs/list';
my $runs_get = '/api/2.2/jobs/runs/get';

sub value { return $node->safe_psql('postgres', $_[0]); }
sub start_run { return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $_[0] })->{run_id}; }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval { poll_until($name, sub { ($last = value($query)) eq $expected }); };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

# Changing the interval makes a sweep due at once, so that a test of intervals
# of 10 s need not wait for them.
my $polled = 10_000;

sub sweep_now
{
	my $before = value('SELECT sweeps FROM databricks.tracking');
	$polled = $polled == 10_000 ? 10_001 : 10_000;
	value("SELECT databricks.track('prod', poll_interval => '$polled ms', backfill => '0')");
	poll_until('a sweep', sub { value('SELECT sweeps FROM databricks.tracking') > $before });
	return value('SELECT sweeps FROM databricks.tracking') - $before;
}

# Seconds between the begin of the last sweep and that of the next one.
sub interval
{
	return value('SELECT extract(epoch FROM next_sweep_at - last_sweep_at) FROM databricks.tracking');
}

connect_workspace($node, $workspace);
value("SELECT databricks.track('prod', poll_interval => '10 s', backfill => '0')");
poll_until('the first sweep', sub { value('SELECT sweeps FROM databricks.tracking') =~ /^[1-9]/ });

# --- nothing runs: slower, step by step -------------------------------------------

cmp_ok(interval(), '>', 10, 'an idle workspace is looked at less often');
sweep_now() foreach 1 .. 4;
cmp_ok(abs(interval() - 30), '<', 0.1, 'three times less often in the end');
$node->append_conf('postgresql.conf', "databricks.poll_interval_max = '12 s'\n");
$node->reload;
wait_for_value('the bound is known', 'SHOW databricks.poll_interval_max', '12s');
sweep_now() foreach 1 .. 2;
cmp_ok(abs(interval() - 12), '<', 0.1, 'or as the setting bounds it');

# --- a run has just started, runs, is about to end -----------------------------------

my $job = $workspace->create_job(name => 'long', max_concurrent_runs => 10);
$workspace->post('plans', { match => { job_id => $job }, plan => { duration_ms => -1 } });
my $run = start_run($job);
sweep_now();
wait_for_value('a run is seen', 'SELECT run_id FROM databricks.active_runs', $run);
cmp_ok(interval(), '<', 2, 'one that has just started is looked at again soon');

# As if it had been seen an hour ago, and 40 minutes were what the job takes.
value("UPDATE databricks.run_history SET first_seen_at = now() - interval '1 hour' WHERE run_id = $run");
sweep_now();
cmp_ok(abs(interval() - $polled / 1000), '<', 0.1, 'one that runs, every poll_interval');
value(qq{INSERT INTO databricks.run_history (workspace, run_id, job_id, state, result_state, life_cycle_state, start_time, end_time, first_seen_at, updated_at)
	SELECT 'prod', i, $job, 'TERMINATED', 'SUCCESS', 'TERMINATED', start_time - i * interval '1 hour', start_time - i * interval '1 hour' + (now() - start_time), now(), now()
	FROM databricks.run_history, generate_series(1, 5) AS i WHERE run_id = $run});
sweep_now();
cmp_ok(interval(), '<', 2, 'one that has run as long as the others did, soon');
value("UPDATE databricks.run_history SET end_time = start_time + interval '5 s' WHERE run_id <= 5");
$workspace->post('patch', { run_id => $run, merge => { start_time => $workspace->get('clock')->{now} - 3_600_000 } });
sweep_now();
wait_for_value('it started long ago', "SELECT start_time < now() - interval '50 minutes' FROM databricks.run_history WHERE run_id = $run", 't');
sweep_now();
cmp_ok(abs(interval() - $polled / 1000), '<', 0.1, 'one that is long overdue is nothing special');
$workspace->post('finish', { run_id => $run });
sweep_now();

# A request of this database starts a run: that is known at once.
value(q{SELECT databricks.track('prod', poll_interval => '1 hour', backfill => '0')});
poll_until('a long interval', sub { interval() > 3000 });
$workspace->post('plans', { match => { job_id => $job }, plan => { duration_ms => 10 } });
value("SELECT databricks.enqueue_run_now($job)");
wait_for_value('what was started from here is looked at soon, however long the interval',
	q{SELECT state FROM databricks.run_requests}, 'succeeded');

# --- 1 000 active runs ------------------------------------------------------------------

value("SELECT databricks.track('prod', poll_interval => '10 s', backfill => '0')");
my $wide = $workspace->create_job(name => 'wide', max_concurrent_runs => 1000);
$workspace->post('plans', { match => { job_id => $wide }, plan => { duration_ms => -1 } });
my @many = split /\n/, value("SELECT databricks.run_now($wide) FROM generate_series(1, 1000)");
sweep_now();
wait_for_value('a thousand runs are followed', 'SELECT count(*) FROM databricks.active_runs', '1000');
sweep_now();
my $mark = $workspace->mark;
my $sweeps = sweep_now() + sweep_now();
my $calls = $workspace->calls(since => $mark);
cmp_ok($calls, '<=', 45 * $sweeps, "at most 45 calls a sweep ($calls in $sweeps)");
cmp_ok($calls, '>=', 40 * $sweeps, 'and no fewer than such a list has pages');
is($workspace->calls(since => $mark, path => $runs_get), 0, 'none for a single run');
my @first = grep { $_->{query} =~ /active_only/ && $_->{query} !~ /page_token/ } $workspace->journal(since => $mark, path => $runs_list);
is(scalar(@first), 3 * $sweeps, 'the list is read in ranges at the same time');
cmp_ok(abs(interval() - $polled / 1000), '<', 0.1, 'every poll_interval, however young they are');

# The slower the calls the more it counts: in ranges, a sweep takes a third.
$mark = $workspace->mark;
$workspace->post('finish', { run_id => $_ }) foreach @many[ 0 .. 29 ];
$sweeps = sweep_now();
wait_for_value('thirty of them end', 'SELECT count(*) FROM databricks.active_runs', '970');
wait_for_value('and are complete', 'SELECT count(*) FROM databricks.history_fetches', '0');
cmp_ok($workspace->calls(since => $mark, path => $runs_get), '==', 30, 'one call for each run that ended');
cmp_ok($workspace->calls(since => $mark), '<=', 45 * $sweeps + 30, 'beside those of the sweep');

# A run that has not started has no start_time, so it may be in no range.
$workspace->post('patch', { run_id => $many[500], merge => { start_time => 0 } });
sweep_now();
wait_for_value('a run without start_time', "SELECT start_time IS NULL FROM databricks.run_history WHERE run_id = $many[500]", 't');
$mark = $workspace->mark;
sweep_now();
is(scalar(grep { $_->{query} =~ /active_only/ && $_->{query} =~ /start_time/ } $workspace->journal(since => $mark, path => $runs_list)),
	0, 'where there is such a run the list is read whole');
is(value('SELECT count(*) FROM databricks.active_runs'), '970', 'and nothing is lost');

# --- all rows of a sweep in one transaction, one notification for each run -----------------

my $psql = $node->background_psql('postgres');
$psql->query_safe('LISTEN databricks');
# ... and not in the list of recent runs any more: each has to be asked for.
$node->append_conf('postgresql.conf', "databricks.history_overlap = 0\n");
$node->reload;
wait_for_value('the overlap is known', 'SHOW databricks.history_overlap', '0');
sweep_now();
my @ending = @many[ 30 .. 329 ];
$mark = $workspace->mark;
$workspace->post('faults', { kind => 'status', status => 403, code => 'PERMISSION_DENIED', message => 'wait', path => $runs_list, count => undef });
$workspace->post('finish', { run_id => $_ }) foreach @ending;
$workspace->delete('faults');
sweep_now();
wait_for_value('three hundred end at once', 'SELECT count(*) FROM databricks.active_runs', '670');
is($workspace->calls(since => $mark, path => $runs_get), 300, 'each was asked for');
wait_for_value('and are complete', 'SELECT count(*) FROM databricks.history_fetches', '0');
is(value('SELECT count(DISTINCT xmin::text) FROM databricks.run_transitions WHERE result_state IS NOT NULL AND run_id IN (' . join(',', @ending) . ')'),
	'1', 'written by one transaction');
my $stdout = $psql->query_safe('SELECT 1');
my %told;
$told{$1}++ while $stdout =~ /"run_id": "(\d+)"/g;
is_deeply([ sort keys %told ], [ sort @ending ], 'each is told');
is(scalar(grep { $_ != 1 } values %told), 0, 'once');
$psql->quit;

# --- a copy of the database leaves the workspace alone until it is told ---------------------

value('CREATE DATABASE copy TEMPLATE postgres');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'a dump');
value('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-f', $dump, 'restored' ],
	'which can be restored');
value(q{SELECT databricks.untrack('prod')});
wait_for_value('the original tracks no more', q{SELECT count(*) FROM databricks.stat_worker WHERE datname = 'postgres'}, '0');
$node->restart;
foreach my $database (qw(copy restored))
{
	my ($rc, undef, $stderr) = $node->psql($database, q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')});
	like($stderr, qr/is not tracked yet.*restored or copied.*resume_workspace/s, "$database: track() says what it waits for");
}
wait_for_value('their workers have looked and left', q{SELECT count(*) FROM databricks.stat_worker WHERE state <> 'stopped'}, '0');
is($workspace->calls(path => $runs_list, since => $mark) > 0 ? 1 : 0, 1, 'calls would be seen');
$mark = $workspace->mark;
my $position = log_position($node);
$node->restart;
poll_until('the launcher has probed all databases', sub { 3 == (() = log_since($node, $position) =~ /databricks worker: nothing left to do/g) });
is($workspace->calls(since => $mark), 0, 'no copy calls the workspace');
foreach my $database (qw(copy restored))
{
	like($node->safe_psql($database, 'SELECT last_error FROM databricks.tracking'), qr/restored or copied/, "$database: the view says why");
	$node->safe_psql($database, q{SELECT databricks.resume_workspace('prod')});
	poll_until('tracking', sub { $node->safe_psql($database, 'SELECT coalesce(sweeps, 0) > 0 AND last_error IS NULL FROM databricks.tracking') eq 't' });
	pass("$database: after resume_workspace() it is tracked");
}

$node->stop;
done_testing();
