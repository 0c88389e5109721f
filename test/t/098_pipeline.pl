# The pipeline of the demo goes as it should.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => "databricks.wait_min_interval = '50 ms'\n");
connect_workspace($node, $workspace);
$workspace->post('settings', { setup_ms => 0, duration_ms => 100, cleanup_ms => 0, job_cleanup_ms => 0 });

$node->safe_psql('postgres', q{SELECT databricks.track('prod', poll_interval => '200 ms')});

local $ENV{DEMO_PYTHON} = $ENV{DATABRICKS_TEST_PYTHON} || 'python3';
local $ENV{DEMO_WORKSPACE} = $workspace->url;
my ($stdout, $stderr);
my $result = run_log(
	[ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', source_tree() . '/test/demo/pipeline.sql' ],
	'>', \$stdout, '2>', \$stderr);
ok($result, 'the script runs to its end') or diag($stderr);
like($stdout, qr/transform +\| FAILED +\|.*ValueError: no prices for this day \| ValueError: no prices for this day \| 1204 rows read/, 'the error is shown, without colours');
like($stdout, qr/fetch +\| SUCCESS +\| \{"rows": 1204\}/, 'the result of a notebook is shown');
like($stdout, qr/TERMINATED \| SUCCESS/, 'the repaired run succeeds');
like($stdout, qr/day +\| 2026-11-21/, 'for the same day');

done_testing();
