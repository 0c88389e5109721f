# 074_repairs.pl - requests whose next attempt repairs the run, once each.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 20, cleanup_ms => 0, job_cleanup_ms => 0 });
my $run_now = '/api/2.2/jobs/run-now';
my $repair = '/api/2.2/jobs/runs/repair';

# One task does well, the other one as it is told.
my $job = $workspace->create_job(
	name => 'two tasks',
	max_concurrent_runs => 1000,
	parameters => [ { name => 'day', default => 'today' } ],
	tasks => [ map { { task_key => $_, notebook_task => { notebook_path => "/$_" } } } qw(fetch write) ]);

my $node = new_node(
	'main',
	preload => 1,
	conf => "databricks.follow_interval = 100ms\nmax_worker_processes = 16\nrestart_after_crash = on\n");
connect_workspace($node, $workspace);

sub value { return $node->safe_psql('postgres', $_[0]); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub {
			my ($rc, $out) = $node->psql('postgres', $query, stderr => \my $err);
			$last = $out;
			return $rc == 0 && $out eq $expected;
		});
	};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

sub fail_next
{
	my ($count) = @_;
	$workspace->post('plans', {
		match => { job_id => $job, task_key => 'write' },
		plan => { setup_ms => 0, duration_ms => 20, result => 'FAILED' },
		count => $count });
	return;
}

sub enqueue
{
	my ($more) = @_;
	return value("SELECT databricks.enqueue_run_now($job, '{\"day\": \"2026-11-21\"}', retry => 'repair', retry_delay => '50 ms'" . ($more || '') . ')');
}

sub run_of { return value("SELECT run_id FROM databricks.run_requests WHERE request_id = $_[0]"); }

# What the workspace knows of a run: its repairs.
sub repairs
{
	my ($run) = @_;
	my $answer = $workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $run, include_history => 'true' });
	return map { "$_->{id}" } grep { defined $_->{id} } @{ $answer->{repair_history} };
}

sub body { return ref $_[0]{body} ? $_[0]{body} : json($_[0]{body}); }

sub attempts
{
	return value("SELECT string_agg(attempt || ' ' || state || ' ' || coalesce(repair_id::text, '-'), ', ' ORDER BY attempt) FROM databricks.run_request_attempts WHERE request_id = $_[0]");
}

# --- a repair instead of a new run ---------------------------------------------------

fail_next(2);
my $mark = $workspace->mark;
my $id = enqueue(', max_attempts => 4');
wait_for_value('what fails twice succeeds as the second repair',
	"SELECT state, attempt, result_state FROM databricks.run_requests WHERE request_id = $id", 'succeeded|3|SUCCESS');
my $run = run_of($id);
my @repairs = repairs($run);
is(scalar(@repairs), 2, 'the run was repaired twice');
is($workspace->calls(since => $mark, path => $run_now), 1, 'and started once');
my @bodies = map { body($_) } $workspace->journal(since => $mark, path => $repair);
is_deeply(
	[ map { [ $_->{run_id}, $_->{latest_repair_id}, $_->{job_parameters}, $_->{rerun_all_failed_tasks} ? 1 : 0 ] } @bodies ],
	[ [ $run, undef, { day => '2026-11-21' }, 1 ], [ $run, $repairs[0], { day => '2026-11-21' }, 1 ] ],
	'with the parameters it had, and the newest repair named (case 55)');
is(attempts($id), "1 failed -, 2 failed $repairs[0], 3 succeeded $repairs[1]", 'each attempt is kept');
is( value("SELECT string_agg(DISTINCT run_id::text, ' ') FROM databricks.run_request_attempts WHERE request_id = $id"),
	$run, 'all of them of one run');
is( join(' ', sort map { "$_->{task_key}" } @{ $workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $run })->{tasks} }),
	'fetch write write write', 'only the task that failed ran again');
is(value("SELECT state FROM databricks.wait_for_request($id)"), 'TERMINATED', 'which can be waited for');

# --- the attempts end ---------------------------------------------------------------

fail_next(2);
$id = enqueue(', max_attempts => 2');
wait_for_value('attempts are counted', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'failed|2');
$mark = $workspace->mark;
value("SELECT databricks.retry_request($id)");
wait_for_value('retry_request() repairs too', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|3');
is($workspace->calls(since => $mark, path => $run_now), 0, 'no new run');
is(scalar(repairs(run_of($id))), 2, 'but one more repair');

# --- answers that are lost ------------------------------------------------------------

foreach my $kind (qw(lost reset truncate bad_json empty))
{
	fail_next(1);
	$workspace->post('faults', { kind => $kind, path => $repair, count => 1 });
	$id = enqueue(', max_attempts => 2');
	wait_for_value("after an answer of kind $kind it ends well", "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|2');
	is(scalar(repairs(run_of($id))), 1, "$kind: one repair");
	$workspace->delete('faults');
}

# The looks fail as well.
fail_next(1);
$workspace->post('faults', { faults => [
	{ kind => 'status', status => 503, path => $repair, count => 1 },
	{ kind => 'bad_json', path => '/api/2.2/jobs/runs/get', query => 'include_history=true', count => 2 },
	{ kind => 'status', status => 429, path => $repair, count => 1 } ] });
$id = enqueue(', max_attempts => 2');
wait_for_value('trouble with looking is sat out', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|2');
is(scalar(repairs(run_of($id))), 1, 'one repair');
$workspace->delete('faults');

# --- processes that die ---------------------------------------------------------------------

foreach my $work ('done', 'not done')
{
	fail_next(1);
	$mark = $workspace->mark;
	$workspace->post('faults', { kind => 'delay', ms => 60_000, path => $repair, count => 1,
		$work eq 'done' ? (work => JSON::PP::true) : () });
	$id = enqueue(', max_attempts => 2');
	poll_until('the repair is on its way', sub { $workspace->get('faults')->{faults}[0]{hits} });
	poll_until('the repair is accepted', sub { repairs(run_of($id)) == 1 })
	  if $work eq 'done';
	kill 'KILL', value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker'});
	wait_for_value("killed while it waits, the work being $work",
		"SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|2');
	is(scalar(repairs(run_of($id))), 1, "$work: one repair");
	is(attempts($id), '1 failed -, 2 succeeded ' . (repairs(run_of($id)))[0], "$work: which is the second attempt");
	$workspace->delete('faults');
}

# --- somebody else's repair ------------------------------------------------------------------

fail_next(1);
$id = value("SELECT databricks.enqueue_run_now($job, retry => 'repair', retry_delay => '1 h', max_attempts => 2)");
wait_for_value('a run fails', "SELECT state, attempt, run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $id", 'queued|1|t');
$run = run_of($id);
$workspace->api('POST', $repair, { run_id => $run, rerun_all_failed_tasks => JSON::PP::true });
value("UPDATE databricks.run_requests SET next_attempt_at = now() WHERE request_id = $id; SELECT databricks.enqueue_run_now($job)");
wait_for_value('a repair that a person made is the attempt', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|2');
is(scalar(repairs($run)), 1, 'there is no other one');

# --- nothing to repair --------------------------------------------------------------------------

my $single = $workspace->create_job(name => 'single', max_concurrent_runs => 1, queue => { enabled => JSON::PP::false });
$workspace->post('plans', { match => { job_id => $single }, plan => { setup_ms => 0, duration_ms => -1 }, count => 1 });
my $first = $workspace->api('POST', $run_now, { job_id => $single })->{run_id};
$mark = $workspace->mark;
$id = value("SELECT databricks.enqueue_run_now($single, retry => 'repair', retry_delay => '100 ms', max_attempts => 100)");
wait_for_value('a run that is skipped', "SELECT attempt > 1 FROM databricks.run_requests WHERE request_id = $id", 't');
$workspace->post('finish', { run_id => $first });
wait_for_value('is started anew', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');
is($workspace->calls(since => $mark, path => $repair), 0, 'as it has no tasks to be repaired');
is(value("SELECT count(DISTINCT run_id) = max(attempt) FROM databricks.run_request_attempts WHERE request_id = $id"), 't', 'a run for each attempt');

$id = value("SELECT databricks.enqueue_run_now('to come', retry => 'repair')");
wait_for_value('what was rejected has no run', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'rejected');
$workspace->create_job(name => 'to come');
value("SELECT databricks.retry_request($id)");
wait_for_value('so it is started', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

fail_next(1);
$id = value("SELECT databricks.enqueue_run_now($job, retry => 'repair', retry_delay => '1 h', max_attempts => 2)");
wait_for_value('a run fails', "SELECT state, attempt, run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $id", 'queued|1|t');
$workspace->api('POST', '/api/2.2/jobs/runs/delete', { run_id => run_of($id) });
value("UPDATE databricks.run_requests SET next_attempt_at = now() WHERE request_id = $id; SELECT databricks.enqueue_run_now($job)");
wait_for_value('a run that is gone cannot be repaired', "SELECT state, attempt, last_error ~ 'does not exist' FROM databricks.run_requests WHERE request_id = $id", 'rejected|2|t');

# --- where the workspace is tracked ----------------------------------------------------------------

value(q{SELECT databricks.track('prod', poll_interval => '100 ms', backfill => '0')});
fail_next(2);
$id = enqueue(', max_attempts => 3');
wait_for_value('with tracking', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|3');
is(scalar(repairs(run_of($id))), 2, 'it is the same');
like(attempts($id), qr/^1 failed -, 2 failed \d+, 3 succeeded \d+$/, 'no end of before is taken for that of a repair');

is(sql_error($node, "SELECT databricks.enqueue_run_now($job, retry => 'anew')")->{state}, '22023', 'another word is refused');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
