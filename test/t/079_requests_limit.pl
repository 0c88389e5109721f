# 079_requests_limit.pl - many requests at once keep to the published rate.
#
#   DBX_LIMIT_REQUESTS (100)

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $requests = $ENV{DBX_LIMIT_REQUESTS} || 100;
my $rate = 20;    # as published, a second
my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 60_000, rate_limits => JSON::PP::true });
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000);
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node('main', preload => 1, conf => "max_worker_processes = 16\n");
connect_workspace($node, $workspace, rate_limit => undef);
sub value { return $node->safe_psql('postgres', $_[0]); }

my $mark = $workspace->mark;

value("SELECT count(databricks.enqueue_run_now($job)) FROM generate_series(1, $requests)");
poll_until('all of them are sent', sub {
	value('SELECT count(*) FROM databricks.run_requests WHERE run_id IS NULL') eq '0';
}, 120 + $requests / 5);
is($workspace->calls(since => $mark, status => 429), 0, 'no call is refused for being one too many');
is($workspace->calls(since => $mark, path => $run_now), $requests, 'each request is sent once');
my $seconds = value('SELECT extract(epoch FROM max(triggered_at) - min(triggered_at)) FROM databricks.run_requests');
my $best = $requests / $rate;
diag(sprintf('%d requests in %.1f s, the limit allows %.1f s', $requests, $seconds, $best));
cmp_ok($seconds, '>', $best * 0.8 - 1, 'at the limit, not above it');
cmp_ok($seconds, '<', $best * 1.5 + 3, 'nor far below it');

# Without the limit the stand-in does refuse.
value(q{ALTER SERVER prod OPTIONS (ADD rate_limit '0')});
$mark = $workspace->mark;
value("SELECT count(databricks.enqueue_run_now($job)) FROM generate_series(1, 60)");
poll_until('the stand-in refuses', sub { $workspace->calls(since => $mark, status => 429) > 0 });
pass('the stand-in refuses what is too much');
$node->stop;
done_testing();
