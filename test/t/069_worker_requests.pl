# 069_worker_requests.pl - runs that this database started, in tracked workspaces.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => "databricks.follow_interval = '500 ms'\n");
my $runs_get = '/api/2.2/jobs/runs/get';

sub value { return $node->safe_psql('postgres', $_[0]); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval { poll_until($name, sub { ($last = value($query)) eq $expected }); };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

# --- what the tracker sees is not asked for again -----------------------------------

connect_workspace($node, $workspace);
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000);
my $mark = $workspace->mark;
foreach my $duration (1, 1500)
{
	$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => $duration, cleanup_ms => 0 } });

	# Before the first sweep too, when nobody knows yet what it will see.
	value("BEGIN; SELECT databricks.track('prod', poll_interval => '1 s'); SELECT databricks.enqueue_run_now($job) FROM generate_series(1, 20); COMMIT");
	wait_for_value("runs of $duration ms end", q{SELECT string_agg(DISTINCT state, ' ') FROM databricks.run_requests}, 'succeeded');
}
wait_for_value('their history is complete', 'SELECT count(*) FROM databricks.history_fetches', '0');
my %asked;
$asked{$_->{query}}++ foreach $workspace->journal(since => $mark, path => $runs_get);
is(scalar(keys %asked), 40, 'one call for each run');
is(scalar(grep { $_ > 1 } values %asked), 0, 'no run is asked for twice');
is(value('SELECT count(*) FROM databricks.run_history WHERE request_id IS NOT NULL AND started_by = current_user'), '40', 'the history knows who started them');

# --- what the tracker cannot write ends all the same --------------------------------------

$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 500, cleanup_ms => 0 } });
value(q{ALTER TABLE databricks.run_history ADD CONSTRAINT no_success CHECK (request_id IS NULL OR result_state IS NULL) NOT VALID});
my $unwritten = value("SELECT databricks.enqueue_run_now($job)");
wait_for_value('a request comes to its end though its run cannot be written', "SELECT state FROM databricks.run_requests WHERE request_id = $unwritten", 'succeeded');
like(value('SELECT last_error FROM databricks.tracking'), qr/could not be written: .*no_success/, 'which is told');
value('ALTER TABLE databricks.run_history DROP CONSTRAINT no_success');

# --- what the owner of the workspace may not see is followed by who started it ----------

value(q{SELECT databricks.untrack('prod')});
connect_workspace($node, $workspace, name => 'blind', token => 'dapi-standin-none');
value(q{CREATE ROLE clerk LOGIN; GRANT USAGE ON FOREIGN SERVER blind TO clerk});
value(sprintf q{CREATE USER MAPPING FOR clerk SERVER blind OPTIONS (token '%s')}, $workspace->token);
value(q{SELECT databricks.track('blind', poll_interval => '200 ms')});
poll_until('sweeps', sub { value(q{SELECT coalesce(sweeps, 0) > 1 FROM databricks.tracking}) eq 't' });
my $id = value("SET ROLE clerk; SELECT databricks.enqueue_run_now($job, workspace => 'blind')");
wait_for_value('a run that the owner may not see comes to its end', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

# --- who waits for a run of a tracked workspace costs next to no calls ----------------------

value(q{SELECT databricks.untrack('blind'); DROP SERVER blind CASCADE; DROP ROLE clerk});
value(q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')});
value(q{ALTER DATABASE postgres SET databricks.wait_min_interval = '250 ms'; ALTER DATABASE postgres SET databricks.wait_max_interval = '250 ms'});

# Calls that waits make, as they name themselves.
sub looks
{
	my ($since) = @_;
	return scalar(grep { join(' ', %{ $_->{headers} }) =~ /\b(wait_for_runs?|await_run)\b/ } $workspace->journal(since => $since, path => $runs_get));
}
sub sweep
{
	my $before = value('SELECT coalesce(max(sweeps), 0) FROM databricks.tracking');
	poll_until('a sweep', sub { value('SELECT coalesce(max(sweeps), 0) FROM databricks.tracking') > $before + 1 });
	return;
}

sweep();
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 2500, cleanup_ms => 0 } });
foreach my $statement (
	q{SELECT result_state FROM databricks.wait_for_run(%s)},
	q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) > 0 FROM databricks.run_history; SELECT result_state FROM databricks.wait_for_run(%s)},
	q{SELECT string_agg(result_state, '') FROM databricks.wait_for_runs(ARRAY[%s])},
	q{CALL databricks.await_run(%s); SELECT 'SUCCESS'})
{
	my ($name) = $statement =~ /(wait_for_runs?|await_run)/;
	$mark = $workspace->mark;
	my $run = value("SELECT databricks.run_now($job)");
	like(value(sprintf $statement, $run), qr/SUCCESS$/, "$name: the end of a run");
	my $looks = looks($mark);
	cmp_ok($looks, '>=', 2, "$name: it looks at the begin and at the end ($looks)");
	cmp_ok($looks, '<=', 4, "$name: and hardly in between, as the tracker does it");
}

# Its own looks again when the tracker cannot.
$workspace->post('faults', { kind => 'status', status => 403, code => 'PERMISSION_DENIED', message => 'no entry', path => '*/runs/list', count => undef });
poll_until('sweeps fail', sub { value(q{SELECT last_error ~ 'no entry' FROM databricks.tracking}) eq 't' });
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 1800, cleanup_ms => 0 } });
$mark = $workspace->mark;
my $run = value("SELECT databricks.run_now($job)");
is(value("SELECT result_state FROM databricks.wait_for_run($run)"), 'SUCCESS', 'without the tracker a wait sees the end');
cmp_ok(looks($mark), '>=', 5, 'by its own calls');
$workspace->delete('faults');

# A repair that the tracker has not seen: the table still has the end before it.
value(q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')});
poll_until('sweeps work', sub { value(q{SELECT last_error IS NULL FROM databricks.tracking}) eq 't' });
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 10, cleanup_ms => 0, result => 'FAILED' } });
$run = value("SELECT databricks.run_now($job)");
wait_for_value('a run fails', "SELECT result_state FROM databricks.run_history WHERE run_id = $run AND repair_history IS NOT NULL", 'FAILED');
value(q{SELECT databricks.track('prod', poll_interval => '1 hour', backfill => '0')});
poll_until('the next sweep is far', sub { value(q{SELECT next_sweep_at > now() + interval '10 minutes' FROM databricks.tracking}) eq 't' });
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 2000, cleanup_ms => 0 } });
value("SELECT databricks.repair_run($run)");
is(value("SELECT result_state FROM databricks.wait_for_run($run)"), 'SUCCESS', 'a repaired run is waited for, whatever the table says');

$node->stop;
done_testing();
