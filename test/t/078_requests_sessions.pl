# 078_requests_sessions.pl - several sessions and one request, beside what is in
# test/specs: prepared keys, cancels of what runs, waits.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 20, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000, parameters => [ { name => 'n', default => '' } ]);
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node('main', preload => 1, conf => "databricks.follow_interval = 100ms\nmax_worker_processes = 16\nmax_prepared_transactions = 5\n");
connect_workspace($node, $workspace);

sub value { return $node->safe_psql('postgres', $_[0]); }

# Sessions a and b; what begins with "a:" or "b:" is run there, "b!" begins in b
# and must come to wait for a.
my %session = map { $_ => $node->background_psql('postgres', on_error_stop => 0) } qw(a b);
my $waits = 0;

sub steps
{
	my @out;
	foreach my $step (@_)
	{
		my ($who, $wait, $sql) = $step =~ /^(\w)([:!])\s*(.*)$/s;
		if ($wait eq '!')
		{
			$session{$who}{stdin} .= "$sql;\n\\echo done\n";
			$session{$who}{run}->pump_nb;
			poll_until("\"$sql\" waits", sub {
				$session{$who}{run}->pump_nb;
				value(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'}) eq '1';
			});
			$waits++;
			next;
		}
		push @out, scalar $session{$who}->query($sql);
	}
	return @out;
}

# What b has printed and the errors it met, once it is through.
sub rest_of_b
{
	my $out = $session{b}->query('SELECT 0 WHERE false');
	my $err = $session{b}{stderr};
	$session{b}{stderr} = '';
	return ($out, $err);
}

sub enqueue { return "SELECT databricks.enqueue_run_now($job, request_key => '$_[0]', not_before => now() + interval '1 hour')"; }

# --- one key in two sessions -------------------------------------------------------------

# The rest of it is in test/specs/request_key.spec; this needs a server that prepares.
steps('a: BEGIN', 'a: ' . enqueue('k'), 'b! ' . enqueue('k'), q{a: PREPARE TRANSACTION 'p'}, q{a: ROLLBACK PREPARED 'p'});
my ($out, $err) = rest_of_b();
like($out, qr/^\d+$/m, 'the transaction that had the key was prepared and rolled back: another one has it');
is($waits, 1, 'which waited for that');

# --- cancel and claim ------------------------------------------------------------------------

# A cancel while the answer is waited for.
$workspace->post('faults', { kind => 'delay', ms => 4000, work => JSON::PP::true, path => $run_now, count => 1 });
my $long = $workspace->create_job(name => 'long', max_concurrent_runs => 100);
$workspace->post('plans', { match => { job_id => $long }, plan => { setup_ms => 0, duration_ms => -1 } });
my $id = value("SELECT databricks.enqueue_run_now($long, max_attempts => 3)");
poll_until('it is being sent', sub { value("SELECT state FROM databricks.run_requests WHERE request_id = $id") eq 'sending' });
is(value("SELECT databricks.cancel_request($id)"), 'sending', 'a cancel while it is being sent');
like(value("SELECT databricks.cancel_request($id)"), qr/^(?:sending|running)$/, 'and another one');
poll_until('it ends', sub { value("SELECT finished_at IS NOT NULL FROM databricks.run_requests WHERE request_id = $id") eq 't' });
is(value("SELECT state, attempt, result_state FROM databricks.run_requests WHERE request_id = $id"), 'canceled|1|CANCELED', 'cancels the run that comes of it');

# One that the service does not take at first.
$workspace->post('faults', { kind => 'status', status => 401, code => 'UNAUTHENTICATED', path => '/api/2.2/jobs/runs/cancel', count => 2 });
$id = value("SELECT databricks.enqueue_run_now($long)");
poll_until('it runs', sub { value("SELECT state FROM databricks.run_requests WHERE request_id = $id") eq 'running' });
value("SELECT databricks.cancel_request($id)");
poll_until('it ends', sub { value("SELECT finished_at IS NOT NULL FROM databricks.run_requests WHERE request_id = $id") eq 't' });
is(value("SELECT state FROM databricks.run_requests WHERE request_id = $id"), 'canceled', 'a cancel that was refused for lack of credentials is told again');

# --- waiting -----------------------------------------------------------------------------------

$id = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 hour')");
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $error = sql_error($node, "BEGIN ISOLATION LEVEL $level; SELECT databricks.wait_for_request($id)");
	is($error->{state}, '55000', "$level: what would never change is not waited for");
}
$session{b}{stdin} .= "BEGIN; SELECT state FROM databricks.wait_for_request($id, raise_on_failure => false); COMMIT;\n";
$session{b}{run}->pump_nb;
poll_until('b waits', sub {
	$session{b}{run}->pump_nb;
	value(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%wait_for_request(%' AND state = 'active' AND pid <> pg_backend_pid()}) eq '1';
});
steps("a: SELECT databricks.cancel_request($id)");
($out, $err) = rest_of_b();
like($out, qr/^canceled$/m, 'read committed sees what another session has done');

$_->quit foreach values %session;
log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
