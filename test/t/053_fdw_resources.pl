# 053_fdw_resources.pl - the foreign tables beside jobs and runs: their rows and
# calls, and the conditions some of them cannot do without.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');

connect_workspace($node, $workspace);
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	CREATE SCHEMA whole;
	IMPORT FOREIGN SCHEMA databricks FROM SERVER prod INTO whole;
	DO $$ DECLARE t regclass; BEGIN
		FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'whole'::regnamespace AND relkind = 'f' LOOP
			EXECUTE format('ALTER FOREIGN TABLE %s OPTIONS (ADD pushdown ''false'')', t);
		END LOOP; END $$;
	SQL

# SQL has this result and makes exactly these calls, in any order.
sub asks
{
	my ($sql, $result, $calls, $name) = @_;
	my $mark = $workspace->mark;
	my $got = $node->safe_psql('postgres', $sql);
	my @requests = $workspace->journal(since => $mark);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($got, $result, "$name: rows");
	is_deeply(
		[ sort map { "$_->{path}" . (length $_->{query} ? "?$_->{query}" : '') } @requests ],
		[ sort @$calls ],
		"$name: calls");
	return @requests;
}

sub api { return $workspace->api(@_); }

###
# All of them, with a workspace at the beginning and raw at the end
###
is( $node->safe_psql('postgres', <<~'SQL'), <<~'TABLES' =~ s/\s+\z//r, 'the tables that are imported');
	SELECT string_agg(relname, ' ' ORDER BY relname COLLATE "C") FROM pg_class
	WHERE relnamespace = 'databricks'::regnamespace AND relkind = 'f'
		AND (SELECT attname FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum = 1) = 'workspace'
		AND (SELECT attname FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum = relnatts) = 'raw'
		AND obj_description(oid, 'pg_class') ~ '/api/'
	SQL
	cluster_events cluster_policies clusters files instance_pools job_tasks jobs node_types permissions pipelines repos run_tasks runs secret_acls secret_scopes secrets spark_versions warehouses workspace_objects
	TABLES

###
# Tasks
###
my @tasks = map { {
	task_key => "t$_",
	notebook_task => { notebook_path => "/Shared/t$_" },
	$_ > 1 ? (depends_on => [ { task_key => 't1' } ]) : () } } 1 .. 250;
my $wide = $workspace->create_job(name => 'wide', tasks => \@tasks);
my $small = $workspace->create_job(name => 'small');
my $list = '/api/2.2/jobs/list?limit=100&expand_tasks=true';
my $get = '/api/2.2/jobs/get?job_id=';

my $mark = $workspace->mark;
is( $node->safe_psql('postgres', <<~'SQL'),
	SELECT job_name, count(*), count(DISTINCT task_key), count(depends_on), min(task_type)
	FROM job_tasks GROUP BY job_id, job_name ORDER BY 1
	SQL
	"small|1|1|0|notebook_task\nwide|250|250|249|notebook_task",
	'all tasks of all jobs');
is(scalar($workspace->journal(since => $mark)), 4, 'with one list, and the pages of the job that has many');
asks("SELECT count(*) FROM job_tasks WHERE job_id = $small", 1, ["$get$small"], 'tasks of a job');
asks("SELECT task_key FROM job_tasks WHERE job_name = 'small' AND task_key = 'main'",
	'main', ["$list&name=small"], 'tasks of a job by name');
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM jobs AS j JOIN job_tasks AS t ON t.job_id = j.job_id'),
	251, 'jobs joined with their tasks');
is( $node->safe_psql('postgres',
		"SELECT jsonb_array_length(tasks) FROM jobs WHERE name = 'wide'"),
	250, 'the job has all of them as well');

$workspace->speed(0);
my $run = api('POST', '/api/2.2/jobs/run-now', { job_id => $wide })->{run_id};
my $other = api('POST', '/api/2.2/jobs/run-now', { job_id => $small })->{run_id};
$workspace->advance(10_000);
asks("SELECT count(*), count(DISTINCT task_run_id), min(run_id) = max(run_id), bool_and(state IS NOT NULL)
	FROM run_tasks WHERE job_id = $small",
	'1|1|t|t', ["/api/2.2/jobs/runs/list?limit=25&expand_tasks=true&job_id=$small"], 'task runs of a job');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT task_run_id), count(DISTINCT run_id) FROM run_tasks'),
	'251|251|2', 'all task runs');
is( $node->safe_psql('postgres',
		"SELECT count(*), min(run_start_time) = (SELECT start_time FROM runs WHERE run_id = $run)
		FROM run_tasks WHERE run_id = $run"),
	'250|t', 'task runs of a run');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM run_tasks WHERE run_start_time > now() + interval '1 year'"),
	0, 'none in the future');
asks("SELECT run_id FROM run_tasks WHERE job_id = $small ORDER BY run_start_time DESC LIMIT 1",
	$other, ["/api/2.2/jobs/runs/list?limit=25&expand_tasks=true&job_id=$small"],
	'the last task run of a job');

###
# Compute
###
my @clusters = map {
	api('POST', '/api/2.1/clusters/create', {
		cluster_name => "c$_", spark_version => '15.4.x-scala2.12', node_type_id => 'i3.xlarge',
		num_workers => 1, custom_tags => { n => "$_" } })->{cluster_id}
} 1 .. 3;
$workspace->advance(3600_000);
api('POST', '/api/2.1/clusters/delete', { cluster_id => $clusters[2] });
$workspace->advance(3600_000);
my $clusters = '/api/2.1/clusters/list?page_size=100';
asks('SELECT string_agg(cluster_name, \' \' ORDER BY cluster_name) FROM clusters',
	'c1 c2 c3', [$clusters], 'clusters');
asks("SELECT cluster_name, custom_tags->>'n', num_workers, spark_context_id > 0 FROM clusters WHERE cluster_id = '$clusters[1]'",
	'c2|2|1|t', ["/api/2.1/clusters/get?cluster_id=$clusters[1]"], 'a cluster by id');
asks(q{SELECT cluster_name FROM clusters WHERE state = 'TERMINATED'},
	'c3', ["$clusters&filter_by.cluster_states=TERMINATED"], 'clusters by state');
asks(q{SELECT count(*) FROM clusters WHERE state IN ('RUNNING', 'TERMINATED')},
	3, ["$clusters&filter_by.cluster_states=RUNNING&filter_by.cluster_states=TERMINATED"],
	'clusters by several states, in one call');
asks(q{SELECT count(*) FROM clusters WHERE cluster_source IN ('API', 'JOB', 'API', NULL) AND state = ANY (ARRAY['TERMINATED', 'PENDING'])},
	1, ["$clusters&filter_by.cluster_states=PENDING&filter_by.cluster_states=TERMINATED&filter_by.cluster_sources=API&filter_by.cluster_sources=JOB"],
	'clusters by several sources and states, in one call');
asks(q{SELECT count(*) FROM clusters WHERE state IN ('RUNNING', 'NEW_STATE')},
	2, [$clusters], 'a state among them that the service does not know');
asks("SELECT count(*) FROM clusters WHERE cluster_name IN ('c1', 'c2') AND policy_id IN ('a', 'b') AND state IN ('RUNNING', 'TERMINATED')",
	0, [ map { "$clusters&filter_by.policy_id=$_&filter_by.cluster_states=RUNNING&filter_by.cluster_states=TERMINATED" } qw(a b) ],
	'... beside what takes one value at a time');
asks(q{SELECT count(*) FROM clusters WHERE state = 'NEW_STATE'},
	0, [$clusters], 'a state the service does not know is not sent');
asks(q{SELECT count(*) FROM clusters WHERE cluster_id = 'no-such'},
	0, ['/api/2.1/clusters/get?cluster_id=no-such'], 'no such cluster');

# Elements that are no objects, and those without what names them: no row of NULLs,
# and no answer that is short of a row.
foreach my $case (
	[ 'jobs', '/api/2.2/jobs/list', { jobs => [1] }, qr/"jobs" that is not an object/, qr/a number: 1$/ ],
	[ 'jobs', '/api/2.2/jobs/list', { jobs => [ { job_id => 1 }, {} ] }, qr/"jobs" without "job_id"/, qr/an object: \{\}$/ ],
	[ 'jobs WHERE job_id = 77', '/api/2.2/jobs/get', {}, qr/"jobs" without "job_id"/, qr/an object/ ],
	[ 'job_tasks', '/api/2.2/jobs/list', { jobs => [ { job_id => 1, settings => { tasks => [ { task_key => 'a' }, 'b' ] } } ] }, qr/"job_tasks" that is not an object/, qr/a string: b$/ ],
	[ 'job_tasks', '/api/2.2/jobs/list', { jobs => [ { job_id => 1, settings => { tasks => { a => {} } } } ] }, qr/"settings.tasks" that is not an array .*"job_tasks"/, qr/^$/ ],
	[ 'runs', '/api/2.2/jobs/runs/list', { runs => [ {} ] }, qr/"runs" without "run_id"/, qr/an object/ ],
	[ 'runs', '/api/2.2/jobs/runs/list', { runs => [ { run_id => '' } ] }, qr/"runs" without "run_id"/, qr/an object/ ],
	[ '(SELECT run_id FROM runs ORDER BY start_time DESC NULLS LAST LIMIT 2) AS r', '/api/2.2/jobs/runs/list', { runs => [undef] }, qr/"runs" that is not an object/, qr/null\.$/ ],
	[ 'run_tasks', '/api/2.2/jobs/runs/list', { runs => [ [] ] }, qr/"run_tasks" that is not an object/, qr/an array: \[\]$/ ],
	[ 'clusters', '/api/2.1/clusters/list', { clusters => [ { cluster_name => 'c' } ] }, qr/"clusters" without "cluster_id"/, qr/an object/ ],
	[ 'cluster_policies', '/api/2.0/policies/clusters/list', { policies => [ {} ] }, qr/"cluster_policies" without "policy_id"/, qr/an object/ ],
	[ 'instance_pools', '/api/2.0/instance-pools/list', { instance_pools => [ { instance_pool_id => undef } ] }, qr/"instance_pools" without "instance_pool_id"/, qr/an object/ ],
	[ 'node_types', '/api/2.1/clusters/list-node-types', { node_types => ['x'] }, qr/"node_types" that is not an object/, qr/a string: x$/ ])
{
	my ($from, $path, $json, $message, $detail) = @$case;

	$workspace->post('faults', { path => $path, kind => 'replace', json => $json, count => undef });
	my $error = sql_error($node, "SELECT count(*) FROM $from");
	is($error->{state}, 'HV00M', "$from: an answer " . json($json));
	like($error->{message}, $message, '... what is wrong, and with which table');
	like($error->{detail}, $detail, '... and what came');
	$workspace->delete('faults');
}
my ($request) = asks("SELECT count(*) > 1, count(DISTINCT cluster_id), min(time) < max(time)
	FROM cluster_events WHERE cluster_id = '$clusters[2]'",
	't|1|t', ['/api/2.1/clusters/events'], 'events of a cluster');
is_deeply(json($request->{body}), { cluster_id => $clusters[2], page_size => 500 }, 'asked for in a body');
foreach my $odd ('100% 4', '%41', 'a&b=c', '%', 'x+y"z')
{
	($request) = asks("SELECT count(*) FROM cluster_events WHERE cluster_id = '$odd'",
		0, ['/api/2.1/clusters/events'], "events of a cluster that is not there: $odd");
	is(json($request->{body})->{cluster_id}, $odd, '... asked for as it is');
}
($request) = asks("SELECT count(*) FROM cluster_events WHERE cluster_id = '$clusters[2]' AND time < '2020-01-01'",
	0, ['/api/2.1/clusters/events'], 'events before a time');
is(json($request->{body})->{end_time}, 1577836800000, 'which is sent');
{
	# as services do that know no page tokens there: the next request, whole
	my @more = map { { cluster_id => $clusters[2], end_time => 1700000000000, offset => 500 * $_ } } 1, 2;
	$workspace->post('faults', { path => '/api/2.1/clusters/events', kind => 'replace', json => {
				events => [ { cluster_id => $clusters[2], timestamp => $_, type => 'RUNNING', details => {} } ],
				total_count => 3, $_ < 3 ? (next_page => $more[ $_ - 1 ]) : () } }) foreach 1 .. 3;
	my @events = asks("SELECT count(*), count(DISTINCT time) FROM cluster_events WHERE cluster_id = '$clusters[2]'",
		'3|3', [ ('/api/2.1/clusters/events') x 3 ], 'events in pages that name the next request');
	is_deeply([ map { json($_->{body}) } @events[ 1, 2 ] ], \@more, '... which is sent');
}
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM clusters AS c JOIN cluster_events AS e USING (cluster_id) WHERE type = \'CREATING\''),
	3, 'events of all clusters by a join');
foreach (qw(node_types spark_versions))
{
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM $_ WHERE raw IS NOT NULL"), '>', 0, $_);
}
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM clusters JOIN node_types USING (node_type_id) JOIN spark_versions ON key = spark_version'),
	3, 'joined with kinds of machines and runtimes');
my $policy = api('POST', '/api/2.0/policies/clusters/create', { name => 'p', definition => '{}' })->{policy_id};
my $pool = api('POST', '/api/2.0/instance-pools/create',
	{ instance_pool_name => 'pool', node_type_id => 'i3.xlarge', min_idle_instances => 1 })->{instance_pool_id};
asks("SELECT name, definition FROM cluster_policies WHERE policy_id = '$policy'",
	'p|{}', ["/api/2.0/policies/clusters/get?policy_id=$policy"], 'a policy by id');
asks("SELECT instance_pool_name, node_type_id FROM instance_pools WHERE instance_pool_id = '$pool'",
	'pool|i3.xlarge', ["/api/2.0/instance-pools/get?instance_pool_id=$pool"], 'a pool by id');

###
# Secrets and permissions
###
foreach my $scope (qw(etl web))
{
	api('POST', '/api/2.0/secrets/scopes/create', { scope => $scope });
	api('POST', '/api/2.0/secrets/put', { scope => $scope, key => "$scope-$_", string_value => 'hidden' })
	  foreach 1 .. 2;
}
asks('SELECT string_agg(scope, \' \' ORDER BY scope) FROM secret_scopes',
	'etl web', ['/api/2.0/secrets/scopes/list'], 'scopes');
asks(q{SELECT scope, key, value, last_updated_time > '2020-01-01' FROM secrets WHERE scope = 'etl' ORDER BY key},
	"etl|etl-1||t\netl|etl-2||t", ['/api/2.0/secrets/list?scope=etl'], 'secrets, without their values');
asks(q{SELECT count(*) FROM secrets WHERE scope IN ('etl', 'web', 'none', '', NULL)},
	4, [ map { "/api/2.0/secrets/list?scope=$_" } qw(etl none web) ], 'secrets of several scopes');
asks('SELECT count(*) FROM secrets JOIN secret_scopes USING (scope)',
	4, [ '/api/2.0/secrets/scopes/list', map { "/api/2.0/secrets/list?scope=$_" } qw(etl web) ],
	'secrets of all scopes by a join');
asks(q{SELECT permission FROM secret_acls WHERE scope = 'web'},
	'MANAGE', ['/api/2.0/secrets/acls/list?scope=web'], 'rights on a scope');
asks("SELECT user_name, group_name, permission_level, inherited FROM permissions
	WHERE object_type = 'jobs' AND object_id = '$small' ORDER BY 1",
	"harness\@example.com||IS_OWNER|f\n|admins|CAN_MANAGE|t",
	["/api/2.0/permissions/jobs/$small"], 'permissions on a job');
asks("SELECT count(DISTINCT object_id) FROM permissions WHERE object_type IN ('jobs', 'clusters') AND object_id IN ('$small', '$wide')",
	2, [ map { my $t = $_; map { "/api/2.0/permissions/$t/$_" } $small, $wide } qw(jobs clusters) ],
	'permissions on what is given by several values of both');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM jobs AS j JOIN permissions AS p ON p.object_type = 'jobs' AND p.object_id = j.job_id::text
		WHERE permission_level = 'IS_OWNER'"),
	2, 'owners of all jobs');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM (VALUES ('jobs', 1), ('jobs', 2)) AS t (type, n) JOIN (VALUES (1, '$small'), (3, '$wide')) AS o (n, id) USING (n)
		JOIN permissions AS p ON p.object_type = t.type AND p.object_id = o.id"),
	2, 'both values from different tables');

###
# Files, workspace objects, Git folders
###
api('POST', '/api/2.0/dbfs/put', { path => $_, contents => 'aGFsbG8=' }) foreach '/tree/a/b/f 1.txt', '/tree/g.txt';
api('POST', '/api/2.0/dbfs/mkdirs', { path => '/tree/empty' });
my $dbfs = '/api/2.0/dbfs/list?path=%2Ftree';
asks(q{SELECT string_agg(name || CASE WHEN is_directory THEN '/' ELSE ' ' || file_size END, ', ' ORDER BY name)
	FROM files WHERE path = '/tree'},
	'a/, empty/, g.txt 5', [$dbfs], 'files of a folder');
asks(q{SELECT string_agg(file_path, ', ' ORDER BY file_path) FROM files WHERE path = '/tree' AND recursive AND NOT is_directory},
	'/tree/a/b/f 1.txt, /tree/g.txt', [ $dbfs, "$dbfs%2Fa", "$dbfs%2Fa%2Fb", "$dbfs%2Fempty" ],
	'files below a folder');
asks(q{SELECT count(*) FROM files WHERE path = '/tree' AND recursive = false},
	3, [$dbfs], 'not those below');
asks(q{SELECT count(*) FROM files WHERE path = '/tree' AND recursive IS NOT TRUE},
	3, [$dbfs], 'nor by another condition');
asks(q{SELECT count(*) FROM files WHERE path = '/none'}, 0, ['/api/2.0/dbfs/list?path=%2Fnone'], 'no such folder');
my $volume = '/Volumes/main/default/landing';
api('PUT', "/api/2.0/fs/directories$volume/day%20$_") foreach 1 .. 2;
api('PUT', "/api/2.0/fs/files$volume/day%202/f.csv?overwrite=true", {});
asks("SELECT string_agg(name, ', ' ORDER BY file_path) FROM files WHERE path = '$volume' AND recursive",
	'day 1, day 2, f.csv',
	[ map { "/api/2.0/fs/directories$volume$_?page_size=1000" } '', '/day 1', '/day 2' ], 'files below a folder of a volume');
like(
	sql_error($node, q{SELECT * FROM databricks.files WHERE path = '/Volumes/../x'})->{message},
	qr/invalid path/, 'a path that leads elsewhere');
api('POST', '/api/2.0/workspace/mkdirs', { path => '/Shared/x/y' });
api('POST', '/api/2.0/workspace/import',
	{ path => '/Shared/x/n', format => 'SOURCE', language => 'PYTHON', content => 'cHJpbnQoMSk=' });
asks(q{SELECT name, object_type, language FROM workspace_objects WHERE path = '/Shared/x' ORDER BY name},
	"n|NOTEBOOK|PYTHON\ny|DIRECTORY|", ['/api/2.0/workspace/list?path=%2FShared%2Fx'], 'objects of a folder');
asks(q{SELECT string_agg(object_path, ' ' ORDER BY object_path) FROM workspace_objects WHERE path = '/Shared' AND recursive},
	'/Shared/x /Shared/x/n /Shared/x/y',
	[ map { "/api/2.0/workspace/list?path=%2FShared$_" } '', '%2Fx', '%2Fx%2Fy' ], 'objects below a folder');
my @repos = map {
	api('POST', '/api/2.0/repos', { url => "https://github.com/example/r$_.git", provider => 'gitHub', path => "/Repos/p/r$_" })->{id}
} 1 .. 45;
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT repo_id) FROM repos'), '45|45', 'Git folders, several pages');
asks("SELECT path, branch IS NOT NULL FROM repos WHERE repo_id = $repos[3]",
	'/Repos/p/r4|t', ["/api/2.0/repos/$repos[3]"], 'a Git folder by id');
asks(q{SELECT repo_id FROM repos WHERE path = '/Repos/p/r45'},
	$repos[44], ['/api/2.0/repos?path_prefix=%2FRepos%2Fp%2Fr45'], 'a Git folder by path');

###
# SQL
###
my $warehouse = api('GET', '/api/2.0/sql/warehouses')->{warehouses}->[0]->{id};
asks("SELECT warehouse_id FROM warehouses WHERE warehouse_id = '$warehouse'",
	$warehouse, ["/api/2.0/sql/warehouses/$warehouse"], 'a warehouse by id');
asks(q{SELECT count(*) FROM warehouses WHERE warehouse_id = 'a?b'}, 0,
	['/api/2.0/sql/warehouses/a?b'], 'an id is one segment, whatever it holds');
api('POST', '/api/2.0/pipelines', { name => "p$_" }) foreach 1 .. 3;
asks('SELECT string_agg(name, \' \' ORDER BY name) FROM pipelines', 'p1 p2 p3',
	['/api/2.0/pipelines?max_results=100'], 'pipelines');
my $pipeline = $node->safe_psql('postgres', q{SELECT pipeline_id FROM pipelines WHERE name = 'p2'});
asks("SELECT name, state FROM pipelines WHERE pipeline_id = '$pipeline'",
	'p2|IDLE', ["/api/2.0/pipelines/$pipeline"], 'a pipeline by id');
asks(q{SELECT count(*) FROM pipelines WHERE pipeline_id = 'no-such'}, 0,
	['/api/2.0/pipelines/no-such'], 'no such pipeline');

###
# The same rows by key as from the list (case 65)
###
my %keys = (
	clusters => 'cluster_id',
	cluster_policies => 'policy_id',
	instance_pools => 'instance_pool_id',
	repos => 'repo_id',
	warehouses => 'warehouse_id',
	pipelines => 'pipeline_id',
	job_tasks => 'job_id',
	run_tasks => 'run_id');
my %types = map { $_ => /^(job|run|repo)_id$/ ? 'bigint' : 'text' } values %keys;
foreach my $table (sort keys %keys)
{
	my $columns = $node->safe_psql('postgres',
		"SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'databricks.$table'::regclass
			AND attnum > 0 AND attname <> 'raw'");
	is( $node->safe_psql('postgres', <<~SQL),
		WITH keys AS MATERIALIZED (SELECT ARRAY(SELECT DISTINCT $keys{$table} FROM whole.$table) AS keys),
			listed AS (SELECT $columns FROM whole.$table),
			looked_up AS (SELECT $columns FROM databricks.$table WHERE $keys{$table} = ANY ((SELECT keys FROM keys)::$types{$keys{$table}}\[]))
		SELECT count(*) > 0, count(*) FILTER (WHERE NOT both_there) FROM (
			SELECT true AS both_there FROM (SELECT * FROM listed INTERSECT SELECT * FROM looked_up) AS i
			UNION ALL SELECT false FROM (SELECT * FROM listed EXCEPT SELECT * FROM looked_up) AS a
			UNION ALL SELECT false FROM (SELECT * FROM looked_up EXCEPT SELECT * FROM listed) AS b) AS u
		SQL
		't|0', "$table by $keys{$table} (case 65)");
}

###
# Conditions that must be there
###
foreach my $case (
	[ 'secrets', 'scope' ], [ 'secret_acls', 'scope' ], [ 'cluster_events', 'cluster_id' ],
	[ 'permissions', 'object_type' ], [ 'files', 'path' ], [ 'workspace_objects', 'path' ])
{
	my ($table, $column) = @$case;
	my $before = $workspace->mark;
	my $error = sql_error($node, "SELECT count(*) FROM databricks.$table");
	is($error->{state}, 'HV00L', "$table without its key");
	like($error->{message}, qr/"$table" needs a condition on column "$column"/, 'the column is named');
	like($error->{hint}, qr/$column = /, 'and what to do');
	is($workspace->mark, $before, 'nothing is sent');
}
like(sql_error($node, q{SELECT * FROM databricks.permissions WHERE object_type = 'jobs'})->{message},
	qr/"object_id"/, 'one of two conditions');
like(sql_error($node, q{SELECT * FROM databricks.secrets WHERE scope LIKE 'e%' OR key = 'x'})->{message},
	qr/"scope"/, 'a condition of another kind');
is($node->safe_psql('postgres', q{SELECT count(*) FROM secrets WHERE scope = (SELECT NULL::text)}), 0, 'no value at all');
like($node->safe_psql('postgres', 'EXPLAIN (COSTS OFF) SELECT * FROM secrets'),
	qr/Request: none, a condition on column "scope" is missing/, 'EXPLAIN says so');
like(
	sql_error($node,
		q{SELECT * FROM databricks.secrets WHERE scope = ANY (ARRAY(SELECT 's' || g FROM generate_series(1, 200) AS g))})
	  ->{message},
	qr/more than 100 lists/, 'too many values at once');

done_testing();
