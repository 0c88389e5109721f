# Clusters, SQL warehouses and pipelines from SQL: every call, what the service
# refuses, waiting for a cluster with progress, cancel and outages.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "databricks.wait_min_interval = '50 ms'\n");
connect_workspace($node, $workspace);
$workspace->post('settings',
	{ cluster_start_ms => 3000, cluster_stop_ms => 200, cluster_resize_ms => 2000 });

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The body of the newest call of a path, as Perl data.
sub last_body
{
	my ($path) = @_;
	my @calls = $workspace->journal(method => 'POST', path => $path);
	return json($calls[-1]->{body});
}

# Clusters

my $spec = '{"cluster_name": "small", "spark_version": "15.4.x-scala2.12",'
  . ' "node_type_id": "i3.xlarge", "num_workers": 1}';
my $cluster = sql("SELECT databricks.create_cluster('$spec')");
like($cluster, qr/^\d{4}-\d{6}-\w{8}$/, 'create_cluster returns the id');
is(sql("SELECT databricks.get_cluster('$cluster') ->> 'state'"),
	'PENDING', 'get_cluster shows its state');

my ($stdout, $stderr);
$node->psql('postgres', "SELECT databricks.ensure_cluster_is_running('$cluster')",
	stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
like($stderr, qr/NOTICE:  cluster $cluster: PENDING: .*\n(?:.*\n)*?.*NOTICE:  cluster $cluster: RUNNING$/,
	'waiting for a cluster tells its progress');
unlike($stderr, qr/ERROR/, '... and ends when it runs');
is($workspace->calls(method => 'POST', path => '/api/2.1/clusters/start'),
	0, '... without a start that was not needed');
$workspace->post('settings', { cluster_start_ms => 400 });

sql("SELECT databricks.resize_cluster('$cluster', 3)");
is_deeply(last_body('/api/2.1/clusters/resize'),
	{ cluster_id => $cluster, num_workers => 3 }, 'resize to a number');
my $error = sql_error($node, "SELECT databricks.edit_cluster('$cluster', '$spec')");
like($error->{message}, qr/is in state Resizing and cannot be edited/, 'no edit while it is resized');
like($error->{hint}, qr/ensure_cluster_is_running\(\) waits until it runs/, '... and the hint');
sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
is(sql("SELECT databricks.get_cluster('$cluster') ->> 'state'"), 'RUNNING', '... which helps: the resizing is waited for');
$workspace->post('settings', { cluster_resize_ms => 200 });
sql("SELECT databricks.resize_cluster('$cluster', min_workers => 1, max_workers => 4)");
is_deeply(
	last_body('/api/2.1/clusters/resize'),
	{   cluster_id => $cluster,
		autoscale => { min_workers => 1, max_workers => 4 }
	},
	'resize to a range');

my $mark = $workspace->mark;
foreach my $bad ('', ', 1, 1, 2', ', min_workers => 1', ', -1',
	', min_workers => 3, max_workers => 2')
{
	is(sql_error($node, "SELECT databricks.resize_cluster('$cluster'$bad)")->{state},
		'22023', "refused before it is sent: resize with '$bad'");
}
is($workspace->calls(since => $mark), 0, '... nothing was sent');

sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
sql("SELECT databricks.update_cluster('$cluster', '{\"autotermination_minutes\": 30}', 'autotermination_minutes')");
is_deeply(
	last_body('/api/2.1/clusters/update'),
	{   cluster_id => $cluster,
		update_mask => 'autotermination_minutes',
		cluster => { autotermination_minutes => 30 }
	},
	'update_cluster sends mask and fields');
sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
is(sql("SELECT databricks.get_cluster('$cluster') ->> 'autotermination_minutes'"),
	'30', '... and they are there');
sql("SELECT databricks.edit_cluster('$cluster', '$spec')");
sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
sql("SELECT databricks.restart_cluster('$cluster')");
sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
sql("SELECT databricks.pin_cluster('$cluster')");
sql("SELECT databricks.unpin_cluster('$cluster')");

sql("SELECT databricks.terminate_cluster('$cluster')");
$error = sql_error($node, "SELECT databricks.resize_cluster('$cluster', 2)");
is($error->{state}, 'HV000', 'a terminated cluster cannot be resized');
like($error->{message}, qr/is in state Terminat(?:ing|ed) and cannot be resized/,
	'... in the words of the service');
like($error->{hint}, qr/resized and restarted while it runs.*ensure_cluster_is_running/,
	'... with an explanation');

$mark = $workspace->mark;
sql("SELECT databricks.ensure_cluster_is_running('$cluster')");
is($workspace->calls(method => 'POST', path => '/api/2.1/clusters/start', since => $mark),
	1, 'ensure_cluster_is_running sits the end out and starts it once');
$mark = $workspace->mark;
sql("SELECT databricks.start_cluster('$cluster')");
is($workspace->calls(since => $mark), 1, 'start of a running cluster is no error');

# A start that fails
sql("SELECT databricks.terminate_cluster('$cluster')");
$workspace->post('clusters',
	{   cluster_id => $cluster,
		fail => {
			code => 'INSTANCE_POOL_CLUSTER_FAILURE',
			type => 'CLIENT_ERROR',
			parameters => { instance_pool_id => 'p-1' },
			message => 'No instance in the pool'
		}
	});
$error = sql_error($node, "SELECT databricks.ensure_cluster_is_running('$cluster')");
is($error->{state}, 'HV000', 'a start that fails is an error');
like($error->{message}, qr/did not start, it is TERMINATED: No instance in the pool/, '... with its message');
like($error->{detail}, qr/INSTANCE_POOL_CLUSTER_FAILURE \(CLIENT_ERROR\).*p-1/, '... and its reason');

# Timeout, cancel, outage
$workspace->post('settings', { cluster_start_ms => 3600000 });
$mark = $workspace->mark;
$error = sql_error($node, "SELECT databricks.ensure_cluster_is_running('$cluster', timeout => '2 s')");
is($error->{state}, 'RUN06', 'a cluster that takes too long');
like($error->{detail}, qr/Last seen: PENDING/, '... with its last state');
# after 0, 50, 150, 300 ms ...: ten, or less on a slow machine
cmp_ok($workspace->calls(path => '/api/2.1/clusters/get', since => $mark),
	'>=', 8, '... was looked at after pauses that grow by one step each');
my $begun = time;
$error = sql_error($node,
	"SET statement_timeout = '500 ms'; SELECT databricks.ensure_cluster_is_running('$cluster')");
is($error->{state}, '57014', 'the wait for a cluster can be cancelled');
cmp_ok(time - $begun, '<', patience(3), '... at once');
$workspace->post('faults',
	{ path => '/api/2.1/clusters/get', kind => 'status', status => 503, count => 2 });
$workspace->advance(3600000);
is(sql("SELECT databricks.ensure_cluster_is_running('$cluster')"), '', 'an outage is sat out');

# Somebody else starts it just before we do.
sql("SELECT databricks.terminate_cluster('$cluster')");
poll_until('the cluster is down', sub { sql("SELECT databricks.get_cluster('$cluster') ->> 'state'") eq 'TERMINATED' });
$workspace->post('settings', { cluster_start_ms => 0 });
my %late = (path => '/api/2.1/clusters/start', kind => 'status', status => 400, code => 'INVALID_STATE', message => 'Cluster is in state Pending');
$workspace->post('faults', \%late);
is(sql("SELECT databricks.ensure_cluster_is_running('$cluster')"), '', 'a start that is refused for its state is looked at again');
sql("SELECT databricks.terminate_cluster('$cluster')");
$workspace->post('faults', { %late, count => 2 });
$error = sql_error($node, "SELECT databricks.ensure_cluster_is_running('$cluster')");
like($error->{message}, qr/in state Pending/, '... once');

# Specs that are no objects
$mark = $workspace->mark;
foreach my $call ("create_cluster('[1]')", "edit_cluster('$cluster', '5')", "update_cluster('$cluster', '[]', '*')", q{start_pipeline_update('p', '"x"')}, q{create_repo('u', 'gitHub', options => '[]')})
{
	is(sql_error($node, "SELECT databricks.$call")->{state}, '22023', "no object: $call");
}
is($workspace->calls(since => $mark), 0, '... nothing was sent');

# What is not there, nulls
foreach my $call (
	"get_cluster('x')", "start_cluster('x')", "restart_cluster('x')", "terminate_cluster('x')",
	"permanent_delete_cluster('x')", "pin_cluster('x')", "resize_cluster('x', 1)",
	"ensure_cluster_is_running('x')", "edit_cluster('x', '{}')", "update_cluster('x', '{}', '*')")
{
	is(sql_error($node, "SELECT databricks.$call")->{state}, '42704', "$call: not found");
}
is(sql_error($node, 'SELECT databricks.create_cluster(NULL)')->{state}, '22004', 'a spec is needed');
is(sql_error($node, 'SELECT databricks.start_cluster(NULL)')->{state}, '22004', 'an id is needed');
$error = sql_error($node, q{SELECT databricks.create_cluster('{"num_workers": 1}')});
like($error->{message}, qr/Missing required field: spark_version/, 'what the service says of a spec');

$workspace->post('faults', { path => '/api/2.1/clusters/create', kind => 'lost', count => 1 });
$error = sql_error($node, "SELECT databricks.create_cluster('$spec')");
is($error->{state}, '08007', 'a lost answer to create_cluster: outcome unknown, not repeated');
sql("SELECT databricks.permanent_delete_cluster('$cluster')");
is(sql_error($node, "SELECT databricks.get_cluster('$cluster')")->{state}, '42704', 'deleted for good');

# Warehouses
$workspace->post('settings', { warehouse_start_ms => 0 });
my $warehouse = '1234567890abcdef';
my $state = "SELECT databricks.api('GET', '/api/2.0/sql/warehouses/$warehouse') ->> 'state'";
sql("SELECT databricks.stop_warehouse('$warehouse')");
poll_until('the warehouse stops', sub { sql($state) eq 'STOPPED' });
sql("SELECT databricks.start_warehouse('$warehouse')");
is(sql($state), 'RUNNING', 'a warehouse is stopped and started');
is(sql_error($node, "SELECT databricks.start_warehouse('a b?c')")->{state}, '42704', 'odd names are escaped');
is(($workspace->journal(path => '/api/2.0/sql/warehouses/*'))[-1]->{query}, '', '... all of it');
is(sql_error($node, "SELECT databricks.start_warehouse('a/../b')")->{state}, '22023', 'those that lead elsewhere are refused');

# Pipelines
my $pipeline = $workspace->api('POST', '/api/2.0/pipelines', { name => 'orders' })->{pipeline_id};
$workspace->post('settings', { pipeline_update_ms => 3600000 });
# made by the test's own user, who is an administrator as the token's user is
my $update = sql(
	qq{SELECT databricks.start_pipeline_update('$pipeline', '{"full_refresh": true}')});
like($update, qr/^[0-9a-f-]{36}$/, 'start_pipeline_update returns the id of the update');
is(last_body("/api/2.0/pipelines/$pipeline/updates")->{full_refresh}, 1, '... with options');
$error = sql_error($node, "SELECT databricks.start_pipeline_update('$pipeline')");
like($error->{message}, qr/active update .* already exists/, 'an update is under way');
sql("SELECT databricks.stop_pipeline('$pipeline')");
poll_until('the pipeline stops',
	sub { $workspace->api('GET', "/api/2.0/pipelines/$pipeline")->{state} eq 'IDLE' });
is(sql_error($node, "SELECT databricks.stop_pipeline('nosuch')")->{state}, '42704', 'no such pipeline');

done_testing();
