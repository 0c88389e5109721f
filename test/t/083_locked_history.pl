# 083_locked_history.pl - requests are sent while somebody locks the run history.

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
my $node = new_node('main', preload => 1, conf => "databricks.follow_interval = 200ms\n");

sub value { return $node->safe_psql('postgres', $_[0]); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval { poll_until($name, sub { ($last = value($query)) =~ $expected }); };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

# What is set for the database or for the role decides nothing.
value(q{ALTER DATABASE postgres SET lock_timeout = '1h'; ALTER ROLE postgres SET lock_timeout = '1h'});
connect_workspace($node, $workspace);
connect_workspace($node, $workspace, name => 'plain');
value(q{SELECT databricks.track('prod', poll_interval => '200 ms', retention => '1 day')});
poll_until('sweeps', sub { value(q{SELECT coalesce(sweeps, 0) > 0 FROM databricks.tracking}) eq 't' });

# A trigger of the user that writes elsewhere.
value(q{
	CREATE TABLE counter AS SELECT 0 AS runs;
	CREATE FUNCTION count_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.counter SET runs = runs + 1; RETURN NULL; END $$;
	CREATE TRIGGER count_run AFTER INSERT ON databricks.run_history FOR EACH ROW EXECUTE FUNCTION count_run()});

my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my %locks = (
	'a table lock' => [ 'LOCK TABLE databricks.run_history', qr/\bdatabricks\.run_history is locked by process $pid$/ ],
	'an index being made' => [ 'CREATE INDEX ON databricks.run_history (run_name)', qr/\bdatabricks\.run_history is locked by process $pid$/ ],
	'a lock of the tasks' => [ 'LOCK TABLE databricks.task_history IN SHARE MODE', qr/\bdatabricks\.task_history is locked by process $pid$/ ],
	'a row that a trigger writes' => [ 'UPDATE public.counter SET runs = runs', qr/\ba row is locked by process $pid$/ ]);

foreach my $what (sort keys %locks)
{
	my ($sql, $told) = @{ $locks{$what} };

	$session->query_safe("BEGIN; $sql");
	my $begun = time;
	my @ids = split /\n/, value("SELECT databricks.enqueue_run_now($job, workspace => w) FROM unnest('{prod,plain}'::name[]) w, generate_series(1, 5)");
	my $list = join ',', @ids;
	wait_for_value("$what: requests are sent", "SELECT count(run_id) FROM databricks.run_requests WHERE request_id IN ($list)", qr/^10$/);
	cmp_ok(time - $begun, '<', patience(8), "$what: soon");
	wait_for_value("$what: view tracking says what is waited for", 'SELECT last_error FROM databricks.tracking', $told);
	wait_for_value("$what: so does view stat_worker", 'SELECT last_error FROM databricks.stat_worker', $told);
	my $late = value("SELECT databricks.enqueue_run_now($job, workspace => 'plain')");
	wait_for_value("$what: it goes on like this", "SELECT run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $late", qr/^t$/);
	$session->query_safe('ROLLBACK');

	$list .= ",$late";
	wait_for_value("$what: afterwards they come to their end", "SELECT count(*) FROM databricks.run_requests WHERE request_id IN ($list) AND state = 'succeeded'", qr/^11$/);
	wait_for_value("$what: the history has caught up",
		"SELECT count(*) FROM databricks.run_requests r JOIN databricks.run_history h USING (workspace, run_id, request_id) WHERE r.request_id IN ($list) AND h.state = 'TERMINATED' AND h.started_by = r.requested_by", qr/^11$/);
	wait_for_value("$what: with the tasks", "SELECT count(DISTINCT r.request_id) FROM databricks.run_requests r JOIN databricks.task_history t USING (workspace, run_id) WHERE r.request_id IN ($list) AND t.state = 'TERMINATED'", qr/^11$/);
	wait_for_value("$what: and all is well", 'SELECT (SELECT count(last_error) FROM databricks.tracking) + (SELECT count(last_error) FROM databricks.stat_worker)', qr/^0$/);
}
is(value('SELECT count(*) FROM databricks.run_requests WHERE attempt <> 1'), '0', 'no request was tried again');
is($workspace->calls(path => '/api/2.2/jobs/run-now'), 44, 'each was sent once');
$session->quit;

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
