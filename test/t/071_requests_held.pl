# 071_requests_held.pl - requests that are not sent: pauses, copies, retention.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000);
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node(
	'main',
	preload => 1,
	conf => "databricks.follow_interval = 200ms\nmax_worker_processes = 16\n");

sub value { return $node->safe_psql($_[1] || 'postgres', $_[0]); }

sub wait_for_value
{
	my ($name, $query, $expected, $database) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub { ($last = value($query, $database)) eq $expected });
	};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

sub enqueue { return value("SELECT databricks.enqueue_run_now($job, workspace => '" . ($_[0] || 'prod') . "')", $_[1]); }

# A request of another workspace that was sent: the worker has looked since.
sub other_is_sent
{
	my ($database) = @_;
	my $id = enqueue('other', $database);
	poll_until('another workspace is served',
		sub { value("SELECT run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $id", $database) eq 't' });
	return;
}

connect_workspace($node, $workspace);
connect_workspace($node, $workspace, name => 'other');

# --- paused by its owner ---------------------------------------------------------------

value(q{SELECT databricks.pause_workspace('prod', 'moving')});
is(value(q{SELECT paused, pause_reason FROM databricks.workspaces WHERE name = 'prod'}), 't|moving', 'a pause shows in the view');
my $mark = $workspace->mark;
my $id = enqueue();
other_is_sent();
is($workspace->calls(since => $mark, path => $run_now), 1, 'to a paused workspace nothing is sent, to others it is');
is(value("SELECT state FROM databricks.run_requests WHERE request_id = $id"), 'queued', 'it waits');
value(q{CREATE ROLE user_of_it; GRANT USAGE ON FOREIGN SERVER prod TO user_of_it});
is(sql_error($node, "SET ROLE user_of_it; SELECT databricks.$_" . "_workspace('prod')")->{state}, '42501', "only the owner may $_ it")
  foreach qw(pause resume);
is(value(q{SET ROLE user_of_it; SELECT pause_reason FROM databricks.workspaces WHERE name = 'prod'}), 'moving', 'users see why');
value(q{SELECT databricks.resume_workspace('prod')});
wait_for_value('after the pause it is sent', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

# --- switched off --------------------------------------------------------------------------

$node->append_conf('postgresql.conf', 'databricks.dispatch = off');
$node->reload;
poll_until('the setting is seen', sub { value('SHOW databricks.dispatch') eq 'off' });
value(q{SELECT databricks.track('other', poll_interval => '100 ms', backfill => '0')});
$mark = $workspace->mark;
$id = enqueue();
poll_until('the worker is at work', sub { value(q{SELECT coalesce(max(sweeps), 0) > 2 FROM databricks.tracking}) eq 't' });
is($workspace->calls(since => $mark, path => $run_now), 0, 'with databricks.dispatch off nothing is sent');
$node->append_conf('postgresql.conf', 'databricks.dispatch = on');
$node->reload;
wait_for_value('switched on again it is', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');
value(q{SELECT databricks.untrack('other')});

# --- copies --------------------------------------------------------------------------------------

# A request that waits, and one that was sent without an answer, in the original.
value(q{SELECT databricks.pause_workspace('prod')});
my $waiting = enqueue();
my $token = '11111111-2222-3333-4444-555555555555';
my $sent = enqueue();
value("UPDATE databricks.run_requests SET state = 'sending', attempt = 1, token = '$token', next_attempt_at = NULL WHERE request_id = $sent");

value('CREATE ROLE cheat');
value('CREATE DATABASE copy TEMPLATE postgres');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'a dump');
value('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-f', $dump, 'restored' ],
	'which can be restored');
my $session = $node->background_psql('postgres');

foreach my $database (qw(copy restored))
{
	$mark = $workspace->mark;
	is(value('SELECT count(*) FROM databricks.run_requests', $database), value('SELECT count(*) FROM databricks.run_requests'),
		"$database: the requests are there");
	is(value(q{SELECT count(*) FROM databricks.workspaces WHERE pause_reason LIKE '%copied from another one%'}, $database),
		'2', "$database: all workspaces are paused");
	# Nobody can end it for all by what he calls a server of his own.
	value(q{GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO cheat; SET ROLE cheat;
		CREATE SERVER "*" FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://example.cloud.databricks.com');
		SELECT databricks.resume_workspace('*')}, $database);
	is(value(q{SELECT string_agg(name, ' ') FROM databricks.workspaces WHERE NOT paused}, $database), '*', "$database: whatever others call theirs");

	# The owner ends the pause of the original's, which the copy has as well.
	value(q{DELETE FROM databricks.paused_workspaces}, $database);
	my $new = enqueue('prod', $database);
	value(qq{CREATE TABLE hooked (request_id bigint);
		UPDATE databricks.run_requests SET state = 'failed', finished_at = now(), hook = 'on_failure', on_failure = 'INSERT INTO public.hooked VALUES (\$1)' WHERE request_id = $id}, $database);
	value(q{SELECT databricks.resume_workspace('other')}, $database);
	other_is_sent($database);
	is(value("SELECT hook FROM databricks.run_requests WHERE request_id = $id", $database), 'on_failure', "$database: no SQL of requests is run");
	is($workspace->calls(since => $mark, path => $run_now), 1, "$database: nothing is sent, but to a workspace that was resumed");
	$mark = $workspace->mark;
	value(q{SELECT databricks.resume_workspace('prod')}, $database);
	wait_for_value("$database: after resume_workspace all is sent",
		"SELECT count(*) FROM databricks.run_requests WHERE request_id IN ($waiting, $sent, $new) AND state = 'succeeded'", '3', $database);
	is($workspace->calls(since => $mark, path => $run_now, body => $token), 1, "$database: what was sent before, under the same token");
	wait_for_value("$database: and the SQL is run", 'SELECT count(*) FROM hooked', '1', $database);
}
is(value("SELECT string_agg(DISTINCT run_id::text, ' ') FROM databricks.run_requests WHERE request_id = $sent", 'copy'),
	value("SELECT run_id FROM databricks.run_requests WHERE request_id = $sent", 'restored'), 'so it is the same run');
$session->quit;
is(value(q{SELECT pause_reason FROM databricks.workspaces WHERE name = 'other'}), '', 'the original goes on');

# --- retention -------------------------------------------------------------------------------------

value(q{SELECT databricks.resume_workspace('prod')});
wait_for_value('all requests end', 'SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL', '0');
my $held = value('SELECT min(request_id) FROM databricks.run_requests');
value(qq{
	CREATE TABLE batch (request_id bigint REFERENCES databricks.run_requests DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO batch VALUES ($held);
	UPDATE databricks.run_requests SET finished_at = finished_at - interval '31 days' WHERE request_id < (SELECT max(request_id) FROM databricks.run_requests)});
value(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'databricks worker' AND datname = 'postgres'});
my $last = enqueue();
wait_for_value('what ended long ago is removed, but for what a foreign key of the user holds',
	"SELECT count(*) FILTER (WHERE request_id = $last), count(*) FILTER (WHERE request_id = $held), count(*) FROM databricks.run_requests", '1|1|3');
is(value('SELECT count(*) FROM databricks.run_request_attempts a WHERE NOT EXISTS (SELECT FROM databricks.run_requests r WHERE r.request_id = a.request_id)'),
	'0', 'with its attempts');
wait_for_value('and requests are sent as before', "SELECT state FROM databricks.run_requests WHERE request_id = $last", 'succeeded');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
