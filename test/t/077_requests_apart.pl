# 077_requests_apart.pl - requests and roles do not stand in each other's way.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 20, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000, parameters => [ { name => 'n', default => '' } ]);
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node('main', preload => 1, conf => "databricks.follow_interval = 200ms\nmax_worker_processes = 16\n");
connect_workspace($node, $workspace);

sub value { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return value("SELECT state FROM databricks.run_requests WHERE request_id = $_[0]"); }

# Whether it has ended well, and how long that took.
sub ends_within
{
	my ($id, $seconds, $name) = @_;
	my $begun = time;
	my $ok = eval { poll_until($name, sub { state_of($id) eq 'succeeded' }, $seconds + 10) };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	cmp_ok(time - $begun, '<', patience($seconds), $name) or diag(state_of($id));
	return;
}

foreach my $role (qw(alice bob))
{
	$workspace->post('tokens', { token => "token-of-$role", user => $role, admin => JSON::PP::true });
	value(qq{
		CREATE ROLE $role LOGIN;
		GRANT USAGE ON FOREIGN SERVER prod TO $role;
		CREATE USER MAPPING FOR $role SERVER prod OPTIONS (token 'token-of-$role')});
}

# --- one role's trouble ---------------------------------------------------------------

# None of alice's answers comes back: all that is sent for her stays in doubt.
$workspace->post('faults', { kind => 'lost', path => $run_now, user => 'alice', count => undef });
my $mark = $workspace->mark;
value("SET ROLE alice; SELECT databricks.enqueue_run_now($job) FROM generate_series(1, 100)");
poll_until('many are in doubt', sub {
	value(q{SELECT count(*) FROM databricks.run_requests WHERE state = 'sending' AND send_failures > 0}) >= 20;
});
my $id = value("SET ROLE bob; SELECT databricks.enqueue_run_now($job)");
ends_within($id, 5, 'the trouble of one role does not hold up another');
is(value(q{SELECT count(*) FROM databricks.run_requests WHERE requested_by = 'alice' AND run_id IS NOT NULL}), '0', 'while that trouble goes on');
$workspace->delete('faults');
poll_until('it passes', sub { value(q{SELECT count(*) FROM databricks.run_requests WHERE requested_by = 'alice' AND finished_at IS NULL}) eq '0' });
my %runs = map { ($_ => 1) } split /\n/, value(q{SELECT run_id FROM databricks.run_requests WHERE requested_by = 'alice'});
is(scalar(keys %runs), 100, 'then each request has one run');
my %tokens = map { ((ref $_->{body} ? $_->{body} : json($_->{body}))->{idempotency_token} => 1) } $workspace->journal(since => $mark, path => $run_now);
is(scalar(keys %tokens), 101, 'under one token');

# --- credentials that are refused while an answer is waited for -----------------------------

$workspace->post('faults', { faults => [
	{ kind => 'lost', path => $run_now, user => 'alice', count => 1 },
	{ kind => 'status', status => 401, code => 'UNAUTHENTICATED', path => $run_now, user => 'alice', count => 2 } ] });
$mark = $workspace->mark;
$id = value("SET ROLE alice; SELECT databricks.enqueue_run_now($job)");
ends_within($id, 30, 'an answer is lost, then the credentials are refused: the run is found all the same');
is(value("SELECT count(*) FROM databricks.run_request_attempts WHERE request_id = $id"), '1', 'one attempt');
$workspace->delete('faults');

# --- the role, or the workspace, goes while an answer is waited for --------------------------

$workspace->post('faults', { kind => 'lost', path => $run_now, user => 'alice', count => undef });
connect_workspace($node, $workspace, name => 'brief');
value(q{GRANT USAGE ON FOREIGN SERVER brief TO alice; CREATE USER MAPPING FOR alice SERVER brief OPTIONS (token 'token-of-alice')});
$id = value("SET ROLE alice; SELECT databricks.enqueue_run_now($job, workspace => 'brief')");
poll_until('it is in doubt', sub { value("SELECT send_failures > 0 FROM databricks.run_requests WHERE request_id = $id") eq 't' });
value('DROP SERVER brief CASCADE');
my $other = value("SET ROLE bob; SELECT databricks.enqueue_run_now($job)");
ends_within($other, 5, 'a workspace that is gone holds up no other one');
poll_until('it is told', sub { value("SELECT last_error ~ 'brief' FROM databricks.run_requests WHERE request_id = $id") eq 't' });
is(state_of($id), 'sending', 'what was in doubt stays so');
$workspace->delete('faults');
connect_workspace($node, $workspace, name => 'brief');
value(q{GRANT USAGE ON FOREIGN SERVER brief TO alice; CREATE USER MAPPING FOR alice SERVER brief OPTIONS (token 'token-of-alice')});
ends_within($id, 60, 'and is settled when the workspace is back');

# --- a cancel that is rolled back -----------------------------------------------------------------

my $session = $node->background_psql('postgres');
$id = $session->query_safe("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '2 s')");
$session->query_safe("BEGIN; SELECT databricks.cancel_request($id)");
poll_until('its time has come', sub { value("SELECT not_before < now() - interval '1 second' FROM databricks.run_requests WHERE request_id = $id") eq 't' });
is(state_of($id), 'queued', 'a cancel that is not decided keeps the request');
$session->query_safe('ROLLBACK');
ends_within($id, 5, 'which is sent soon after the cancel was rolled back');
$session->quit;

# --- rows that cannot be written, or cannot be meant -------------------------------------------------

value(q{
	CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN IF NEW.request_key ~ 'spoilt' THEN RAISE EXCEPTION 'spoilt'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER spoil BEFORE UPDATE ON databricks.run_requests FOR EACH ROW EXECUTE FUNCTION spoil()});
my $log = log_position($node);
my $spoilt = value("SELECT databricks.enqueue_run_now($job, request_key => 'spoilt')");
value("SELECT databricks.enqueue_run_now($job, request_key => 'spoilt and late', not_before => now() + interval '0.5 s', expires_at => now() + interval '1 s')");
ends_within(value("SELECT databricks.enqueue_run_now($job)"), 5, 'a request beside one that cannot be claimed');
$node->wait_for_log(qr/WARNING: .*could not be looked through: spoilt/, $log);
ends_within(value("SELECT databricks.enqueue_run_now('job')"), 5, 'and one beside one that cannot be expired');
is(state_of($spoilt), 'queued', 'which waits');
value('DROP TRIGGER spoil ON databricks.run_requests');
ends_within($spoilt, 60, 'until it can be claimed');
$spoilt = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 s')");
value(qq{UPDATE databricks.run_requests SET body = '"text"' WHERE request_id = $spoilt});
poll_until('it ends', sub { state_of($spoilt) eq 'rejected' });
like(value("SELECT last_error FROM databricks.run_requests WHERE request_id = $spoilt"), qr/no JSON object/, 'a body that is no object is rejected');

# --- much of it --------------------------------------------------------------------------------------

# The service takes bodies of 10 MB; what is larger must fail alone.
my $small = value(q{SELECT databricks.enqueue_submit(jsonb_build_object('run_name', 'large',
	'tasks', jsonb_build_array(jsonb_build_object('task_key', 'a', 'description', repeat('x', 900000), 'notebook_task', '{"notebook_path": "/x"}'::jsonb))))});
my $large = value(q{SELECT databricks.enqueue_submit(jsonb_build_object('run_name', 'large',
	'tasks', jsonb_build_array(jsonb_build_object('task_key', 'a', 'description', repeat('x', 11000000), 'notebook_task', '{"notebook_path": "/x"}'::jsonb))))});
$id = value("SELECT databricks.enqueue_run_now($job)");
ends_within($id, 20, 'a request after large ones');
poll_until('the large ones end', sub { value("SELECT count(*) FROM databricks.run_requests WHERE request_id IN ($small, $large) AND finished_at IS NOT NULL") eq '2' });
note(value("SELECT string_agg(state || ': ' || left(coalesce(last_error, ''), 200), '; ' ORDER BY request_id) FROM databricks.run_requests WHERE request_id IN ($small, $large)"));

# Ten thousand that wait for another one, which comes to nothing.
my $first = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 hour')");
value("SELECT count(databricks.enqueue_run_now($job, depends_on => '{$first}')) FROM generate_series(1, 10000)");
is(value('SELECT queue_depth FROM databricks.stat_worker') > 0, 1, 'many wait');
$id = value("SELECT databricks.enqueue_run_now($job)");
ends_within($id, 10, 'a request beside ten thousand that wait');
value("SELECT databricks.cancel_request($first)");
my $begun = time;
poll_until('they are canceled', sub { value("SELECT count(*) FROM databricks.run_requests WHERE depends_on = '{$first}' AND state <> 'canceled'") eq '0' });
note(sprintf('10 000 canceled in %.1f s', time - $begun));
pass('what depended on it is canceled');

log_lacks($node, 'no token in the log', $workspace->token, 'token-of-');
$node->stop;
done_testing();
