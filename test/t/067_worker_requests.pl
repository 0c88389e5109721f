# 067_worker_requests.pl - runs that this database started, in tracked workspaces.

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

# --- what the owner of the workspace may not see is followed by who started it ----------

value(q{SELECT databricks.untrack('prod')});
connect_workspace($node, $workspace, name => 'blind', token => 'dapi-standin-none');
value(q{CREATE ROLE clerk LOGIN; GRANT USAGE ON FOREIGN SERVER blind TO clerk});
value(sprintf q{CREATE USER MAPPING FOR clerk SERVER blind OPTIONS (token '%s')}, $workspace->token);
value(q{SELECT databricks.track('blind', poll_interval => '200 ms')});
poll_until('sweeps', sub { value(q{SELECT coalesce(sweeps, 0) > 1 FROM databricks.tracking}) eq 't' });
my $id = value("SET ROLE clerk; SELECT databricks.enqueue_run_now($job, workspace => 'blind')");
wait_for_value('a run that the owner may not see comes to its end', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

$node->stop;
done_testing();
