# 054_fdw_write.pl - writing through foreign tables: which calls are made, what the
# workspace has afterwards, and what is refused.

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
	SQL

# SQL has this result and makes exactly these calls, in this order.
sub does
{
	my ($sql, $result, $calls, $name) = @_;
	my $mark = $workspace->mark;
	my $got = $node->safe_psql('postgres', $sql);
	my @requests = $workspace->journal(since => $mark);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($got, $result, "$name: rows") if defined $result;
	is_deeply([ map { $_->{path} =~ s{^/api/2.\d/}{}r } @requests ], $calls, "$name: calls");
	return map { length $_->{body} ? json($_->{body}) : {} } @requests;
}

# SQL is refused so, and nothing is sent.
sub refused
{
	my ($sql, $state, $message, $name) = @_;
	my $mark = $workspace->mark;
	my $error = sql_error($node, "SET search_path = databricks, public;\n$sql");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($error->{state}, $state, "$name: refused");
	like($error->{message}, $message, "$name: why");
	is(scalar(grep { $_->{method} ne 'GET' } $workspace->journal(since => $mark)), 0, "$name: nothing is sent");
	return $error;
}

sub settings { return $workspace->api('GET', '/api/2.2/jobs/get', { job_id => $_[0] })->{settings}; }

my $task = '{"task_key": "%s", "notebook_task": {"notebook_path": "/Shared/%1$s"}}';
sub tasks { return '[' . join(', ', map { sprintf($task, $_) } @_) . ']'; }

###
# Jobs
###
my $tasks = tasks(qw(a b));
my ($body) = does("INSERT INTO jobs (name, tags, max_concurrent_runs, tasks) VALUES ('first', '{\"team\": \"x\"}', 3, '$tasks')",
	'', ['jobs/create'], 'a job');
is_deeply([ sort keys %$body ], [qw(max_concurrent_runs name tags tasks)], 'with what was given');
my ($first) = $node->safe_psql('postgres', q{SELECT job_id FROM jobs WHERE name = 'first'});
is(settings($first)->{max_concurrent_runs}, 3, 'and the job is there');

does("INSERT INTO jobs (settings) VALUES ('{\"name\": \"second\", \"tasks\": $tasks}') RETURNING job_id > 0",
	't', ['jobs/create'], 'a job from settings, its id given back');
does("INSERT INTO jobs (name, settings) VALUES ('third', '{\"tasks\": $tasks}') RETURNING name, jsonb_array_length(tasks), format",
	'third|2|MULTI_TASK', [ 'jobs/create', 'jobs/get' ], 'a job given back as the service has it');
does("INSERT INTO jobs (name, tasks) SELECT 'many-' || g, '$tasks' FROM generate_series(1, 3) AS g RETURNING job_id > 0",
	"t\nt\nt", [ ('jobs/create') x 3 ], 'several jobs');

($body) = (does("UPDATE jobs SET tags = '{\"team\": \"y\"}' WHERE job_id = $first",
	'', [ 'jobs/get', 'jobs/update' ], 'an update by key'))[1];
is_deeply($body, { job_id => $first, new_settings => { tags => { team => 'y' } } }, 'sends what changed');
is(settings($first)->{tags}->{team}, 'y', 'and it is changed');
($body) = (does("UPDATE jobs SET description = NULL, max_concurrent_runs = max_concurrent_runs + 1 WHERE name = 'first'",
	'', [ 'jobs/list', 'jobs/update' ], 'an update by another condition'))[1];
is_deeply(
	$body,
	{ job_id => $first, new_settings => { max_concurrent_runs => 4 }, fields_to_remove => ['description'] },
	'NULL removes');
is( $node->safe_psql('postgres',
		"UPDATE jobs SET tags = '{\"n\": \"1\"}' WHERE name LIKE 'many-%' RETURNING tags->>'n', (SELECT max_concurrent_runs)"),
	"1|1\n1|1\n1|1", 'several rows, given back');

# tasks: what is left out is removed, in jobs of any size
my $wide = $workspace->create_job(
	name => 'wide',
	tags => { old => 'yes' },
	job_clusters => [ map { { job_cluster_key => $_,
		new_cluster => { spark_version => '15.4.x-scala2.12', node_type_id => 'i3.xlarge', num_workers => 1 } } } qw(x y) ],
	tasks => [ map { { task_key => "t$_", notebook_task => { notebook_path => "/Shared/t$_" } } } 1 .. 250 ]);
is($node->safe_psql('postgres', "SELECT jsonb_array_length(tasks) FROM jobs WHERE job_id = $wide"), 250, '250 tasks');
$node->safe_psql('postgres', "UPDATE jobs SET tags = '{\"new\": \"yes\"}' WHERE job_id = $wide");
is($node->safe_psql('postgres', "SELECT jsonb_array_length(tasks), tags FROM jobs WHERE job_id = $wide"),
	'250|{"new": "yes"}', 'survive another change');
$node->safe_psql('postgres', <<~SQL);
	UPDATE jobs SET tasks = (SELECT jsonb_agg(t) FROM jsonb_array_elements(tasks) AS t WHERE t->>'task_key' <> 't137')
	WHERE job_id = $wide
	SQL
is( $node->safe_psql('postgres', <<~SQL), '249|0|2', 'lose exactly the task that is left out');
	SELECT count(*), count(*) FILTER (WHERE task_key = 't137'),
		(SELECT jsonb_array_length(job_clusters) FROM jobs WHERE job_id = $wide)
	FROM job_tasks WHERE job_id = $wide
	SQL
$node->safe_psql('postgres',
	"UPDATE jobs SET job_clusters = jsonb_build_array(job_clusters->1) WHERE job_id = $wide");
is(settings($wide)->{job_clusters}->[0]->{job_cluster_key}, 'y', 'clusters of the job too');

# settings as a whole, by the members that differ
my $whole = $node->safe_psql('postgres', "SELECT settings - 'tags' || '{\"name\": \"renamed\"}' FROM jobs WHERE job_id = $first");
($body) = (does("UPDATE jobs SET settings = '$whole' WHERE job_id = $first", '',
	[ 'jobs/get', 'jobs/get', 'jobs/update' ], 'settings as a whole'))[2];
is_deeply($body, { job_id => $first, new_settings => { name => 'renamed' }, fields_to_remove => ['tags'] },
	'become the change of some members');

does("DELETE FROM jobs WHERE job_id = $first RETURNING name, jsonb_array_length(tasks)", 'renamed|2',
	[ 'jobs/get', 'jobs/delete' ], 'a job deleted, given back');
does("DELETE FROM jobs WHERE name LIKE 'many-%'", '', [ 'jobs/list', ('jobs/delete') x 3 ], 'several jobs deleted');
does('DELETE FROM jobs WHERE job_id = 1', '', ['jobs/get'], 'a job that is not there');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ' ' ORDER BY name) FROM jobs}),
	'second third wide', 'the others are there');

my $error = refused(q{INSERT INTO jobs (job_id, name) VALUES (1, 'x')}, 'HV008', qr/column "job_id" .* cannot be set/, 'an id of ours');
like($error->{hint}, qr/INSERT: name description/, 'which columns can');
refused(q{UPDATE jobs SET creator_user_name = 'me'}, 'HV008', qr/column "creator_user_name"/, 'what only the service knows');
refused(q{UPDATE jobs SET raw = '{}'}, 'HV008', qr/column "raw"/, 'the whole answer');
refused(q{INSERT INTO jobs (name, settings) VALUES ('x', '{"name": "y"}')}, '22023', qr/"name" is given both/, 'a name twice');
refused(q{INSERT INTO jobs (settings) VALUES ('[]')}, '22023', qr/must be a JSON object/, 'settings that are none');
refused(q{BEGIN READ ONLY; INSERT INTO jobs (name) VALUES ('x')}, '25006', qr/read-only/, 'a read-only transaction');
refused("SELECT * FROM jobs FOR UPDATE", '0A000', qr/cannot be locked/, 'locks');
refused("COPY jobs (name) FROM STDIN;\nx\n\\.\n", '0A000', qr/cannot copy to foreign table "jobs"/, 'COPY FROM');
refused(q{INSERT INTO jobs (name) VALUES ('x') ON CONFLICT DO NOTHING}, '0A000', qr/ON CONFLICT/, 'ON CONFLICT');
refused(q{INSERT INTO job_tasks (task_key) VALUES ('x')}, '0A000', qr/"job_tasks" cannot be inserted/, 'a table that is only read');

###
# Runs
###
my $job = $workspace->create_job(name => 'runs', parameters => [ { name => 'day', default => '1' } ], max_concurrent_runs => 100);
$workspace->speed(0);
my @bodies = does("INSERT INTO runs (job_id, job_parameters) VALUES ($job, '{\"day\": 5}') RETURNING run_id > 0",
	't', ['jobs/run-now'], 'a run');
is($bodies[0]->{job_parameters}->{day}, '5', 'with its parameters as text');
like($bodies[0]->{idempotency_token}, qr/.{16,64}/, 'and a token of its own');
my ($run) = $node->safe_psql('postgres',
	"INSERT INTO runs (job_id, idempotency_token) VALUES ($job, 'only-once'), ($job, 'only-once') RETURNING run_id") =~ /(\d+)/;
is($node->safe_psql('postgres', "SELECT count(*), count(idempotency_token) FROM runs WHERE job_id = $job"), '2|0',
	'one run for each token, which is not given back');
does("INSERT INTO runs (job_id) VALUES ($job) RETURNING state, job_parameters->>'day', run_name",
	'PENDING|1|runs', [ 'jobs/run-now', 'jobs/runs/get' ], 'a run given back as it is');
$error = sql_error($node, "DELETE FROM databricks.runs WHERE run_id = $run");
like($error->{message}, qr/active/, 'a run that goes on cannot be deleted');
$workspace->post('finish', { run_id => $run });
$workspace->advance(60_000);
does("DELETE FROM runs WHERE run_id = $run", '', [ 'jobs/runs/get', 'jobs/runs/delete' ], 'a run deleted');
is($node->safe_psql('postgres', "SELECT count(*) FROM runs WHERE run_id = $run"), 0, 'and it is gone');
refused("UPDATE runs SET run_name = 'x'", '0A000', qr/"runs" cannot be updated/, 'runs cannot be changed');
refused(q{INSERT INTO runs (job_parameters) VALUES ('{}')}, '23502', qr/column "job_id"/, 'a run of no job');
refused("INSERT INTO runs (job_id, run_name) VALUES ($job, 'x')", 'HV008', qr/column "run_name"/, 'a name for a run');
refused("INSERT INTO runs (job_id, job_parameters) VALUES ($job, '{\"day\": [1]}')", '22023', qr/./, 'parameters that are no text');

# rolled back or not
my $runs = $node->safe_psql('postgres', "SELECT count(*) FROM runs WHERE job_id = $job");
$node->safe_psql('postgres', "BEGIN; INSERT INTO runs (job_id) VALUES ($job); ROLLBACK");
is($node->safe_psql('postgres', "SELECT count(*) FROM runs WHERE job_id = $job"), $runs + 1, 'a rollback undoes nothing');

# so much for one statement
$error = sql_error($node, "SET databricks.max_writes_per_statement = 3;
	INSERT INTO databricks.runs (job_id) SELECT $job FROM generate_series(1, 5)");
is($error->{state}, '54000', 'a statement that writes too much');
like($error->{message}, qr/more than 3 rows/, 'with the limit');
is($node->safe_psql('postgres', "SELECT count(*) FROM runs WHERE job_id = $job"), $runs + 4, 'after as many as it may');

###
# Secrets
###
does(q{INSERT INTO secret_scopes (scope) VALUES ('etl'), ('old') RETURNING workspace, scope}, "prod|etl\nprod|old",
	[ ('secrets/scopes/create') x 2 ], 'scopes');
@bodies = does(q{INSERT INTO secrets (scope, key, value) VALUES ('etl', 'a', 'geheim-Wert'), ('etl', 'b', '') RETURNING key, value},
	"a|\nb|", [ ('secrets/put') x 2 ], 'secrets, their values not given back');
is_deeply($bodies[0], { scope => 'etl', key => 'a', string_value => 'geheim-Wert' }, 'a secret as it was sent')
  if $bodies[0]->{string_value} ne '***';
does(q{UPDATE secrets SET value = 'neu' WHERE scope = 'etl' AND key = 'a'}, '', [ 'secrets/list', 'secrets/put' ], 'a secret changed');
is($workspace->api('GET', '/api/2.0/secrets/get', { scope => 'etl', key => 'a' })->{value}, 'bmV1', 'and it is');
does(q{DELETE FROM secrets WHERE scope = 'etl' AND key = 'b'}, '', [ 'secrets/list', 'secrets/delete' ], 'a secret deleted');
is($node->safe_psql('postgres', q{SELECT string_agg(key, ' ') FROM secrets WHERE scope = 'etl'}), 'a', 'the other is left');
does(q{DELETE FROM secret_scopes WHERE scope = 'old'}, '', [ 'secrets/scopes/list', 'secrets/scopes/delete' ], 'a scope deleted');
is($node->safe_psql('postgres', q{SELECT string_agg(scope, ' ') FROM secret_scopes}), 'etl', 'the other is left');
refused(q{INSERT INTO secrets (scope, key) VALUES ('etl', 'c')}, '23502', qr/column "value"/, 'a secret without value');
refused(q{UPDATE secrets SET key = 'z' WHERE scope = 'etl'}, 'HV008', qr/column "key"/, 'another name for a secret');
refused(q{DELETE FROM secrets}, 'HV00L', qr/column "scope"/, 'all secrets of all scopes');
log_lacks($node, 'values of secrets are not in the log', 'geheim-Wert');

###
# Clusters
###
my $cluster = (split /\n/, $node->safe_psql('postgres', <<~'SQL'))[0];
	INSERT INTO clusters (cluster_name, spark_version, node_type_id, num_workers, custom_tags)
	VALUES ('c', '15.4.x-scala2.12', 'i3.xlarge', 2, '{"team": "x"}') RETURNING cluster_id
	SQL
like($cluster, qr/^\d{4}-\d{6}-\w+$/, 'a cluster');
$workspace->advance(3600_000);
@bodies = does("UPDATE clusters SET num_workers = 5 WHERE cluster_id = '$cluster'", '',
	[ 'clusters/get', 'clusters/get', 'clusters/resize' ], 'a running cluster is resized');
is_deeply($bodies[2], { cluster_id => $cluster, num_workers => 5 }, 'and not restarted');
$workspace->advance(3600_000);
@bodies = does("UPDATE clusters SET custom_tags = NULL, autotermination_minutes = 30 WHERE cluster_id = '$cluster'", '',
	[ 'clusters/get', 'clusters/update' ], 'a cluster changed');
is_deeply(
	$bodies[1],
	{ cluster_id => $cluster, update_mask => 'autotermination_minutes,custom_tags', cluster => { autotermination_minutes => 30 } },
	'only what the mask names');
$error = refused("DELETE FROM clusters WHERE cluster_id = '$cluster'", '0A000', qr/cannot be deleted/, 'clusters are not deleted');
like($error->{hint}, qr/terminate_cluster\(\).*permanent_delete_cluster\(\)/, 'which could mean two things');

###
# EXPLAIN, options, rights, prepared statements, views, partitions
###
like($node->safe_psql('postgres', q{EXPLAIN (COSTS OFF) UPDATE jobs SET tags = '{}' WHERE name = 'x'}),
	qr{Update on jobs\n +Write: POST /api/2.2/jobs/update, for each row that is read first\n.*Foreign Scan on jobs.*Request: GET /api/2.2/jobs/list\?limit=100&name=x}s,
	'EXPLAIN shows what is read and what is written');
like($node->safe_psql('postgres', q{EXPLAIN (COSTS OFF) INSERT INTO jobs (name) VALUES ('x')}),
	qr{Write: POST /api/2.2/jobs/create$}m, 'and what is made');
$node->safe_psql('postgres', q{ALTER FOREIGN TABLE jobs OPTIONS (ADD updatable 'false')});
refused(q{INSERT INTO jobs (name) VALUES ('x')}, '55000', qr/does not allow inserts/, 'option updatable');
$node->safe_psql('postgres', q{ALTER FOREIGN TABLE jobs OPTIONS (SET updatable 'true')});
$node->safe_psql('postgres', 'CREATE ROLE reader; GRANT USAGE ON SCHEMA databricks TO reader');
is(sql_error($node, q{SET ROLE reader; INSERT INTO databricks.jobs (name) VALUES ('x')})->{state}, '42501', 'a role that may only read');

# Of each table, what the catalogs say cannot be done is refused: before it is asked
# who may do it, as this is found while planning.
my (%asked, @wrong);
foreach my $line (split /\n/, $node->safe_psql('postgres',
		q{SELECT relname, pg_relation_is_updatable(oid, false) FROM pg_class WHERE relkind = 'f' AND relnamespace = 'databricks'::regnamespace}))
{
	my ($table, $can) = split /\|/, $line;

	foreach my $case ([ 8, "INSERT INTO $table (raw) VALUES ('{}')" ], [ 4, "UPDATE $table SET raw = '{}'" ], [ 16, "DELETE FROM $table" ])
	{
		my ($bit, $sql) = @$case;
		my $error = sql_error($node, "SET search_path = databricks; SET ROLE reader; EXPLAIN $sql");

		$asked{ $can & $bit ? 'can' : 'cannot' }++;
		push @wrong, "$sql: $error->{state} $error->{message}"
		  if ($error->{state} eq '0A000' && $error->{hint} =~ /\w/) == !!($can & $bit) || $error->{state} =~ /^(?:08|57|XX)/;
	}
}
is_deeply(\@wrong, [], 'what cannot be written of a table is refused, and says what to do');
cmp_ok($asked{$_}, '>', 10, "... $_ was asked") foreach qw(can cannot);
is( $node->safe_psql('postgres', <<~SQL), "prepared-1\nprepared-2\nviewed", 'prepared statements and views');
	SET plan_cache_mode = force_generic_plan;
	PREPARE make(text) AS INSERT INTO jobs (name, tasks) VALUES (\$1, '$tasks');
	EXECUTE make('prepared-1'); EXECUTE make('prepared-2');
	CREATE VIEW my_jobs AS SELECT job_id, name, tasks FROM jobs WHERE name ~ '^(prepared|viewed)' WITH CHECK OPTION;
	INSERT INTO my_jobs (name, tasks) VALUES ('viewed', '$tasks');
	SELECT name FROM my_jobs ORDER BY name
	SQL
is( $node->safe_psql('postgres', <<~SQL), "prod|t\nhere|1\nprod|1", 'a partition in the workspace');
	CREATE TABLE requests (workspace name, job_id bigint, run_id bigint, idempotency_token text) PARTITION BY LIST (workspace);
	CREATE TABLE requests_here PARTITION OF requests FOR VALUES IN ('here');
	CREATE FOREIGN TABLE requests_prod PARTITION OF requests FOR VALUES IN ('prod') SERVER prod OPTIONS (resource 'runs');
	INSERT INTO requests VALUES ('here', $job, 1, 'p1');
	INSERT INTO requests (workspace, job_id, idempotency_token) VALUES ('prod', $job, 'p2') RETURNING workspace, run_id > 0;
	SELECT workspace, count(*) FROM requests WHERE job_id = $job AND run_id IN (1, (SELECT max(run_id) FROM requests_prod WHERE job_id = $job))
	GROUP BY 1 ORDER BY 1
	SQL
# A row that moves to a foreign table which the statement updates as well would be
# found there again; without that it moves.
$node->safe_psql('postgres', <<~SQL);
	CREATE TABLE named (LIKE jobs) PARTITION BY LIST (name);
	CREATE TABLE named_here PARTITION OF named FOR VALUES IN ('here');
	CREATE FOREIGN TABLE named_there PARTITION OF named DEFAULT SERVER prod OPTIONS (resource 'jobs');
	INSERT INTO named (name) VALUES ('here');
	SQL
refused(q{UPDATE named SET name = name || '-moved' WHERE name IN ('here', 'prepared-1')}, '0A000', qr/cannot move rows to foreign table "named_there"/,
	'rows that move to where others are updated');
is($node->safe_psql('postgres', q{UPDATE named SET name = 'moved' WHERE name = 'here'; SELECT tableoid::regclass FROM named WHERE name = 'moved'}),
	'named_there', 'a row that moves');

# Partitions need not have their columns in the same places.
is($node->safe_psql('postgres', <<~'SQL'), qq(east|{"a": "1"}\nwest|{"a": "1"}\neast), 'partitions with columns in other places');
	CREATE FOREIGN TABLE east (gone int, tags jsonb, job_id bigint, name text) SERVER prod OPTIONS (resource 'jobs');
	ALTER FOREIGN TABLE east DROP COLUMN gone;
	CREATE TABLE tagged (job_id bigint, name text, tags jsonb) PARTITION BY LIST (name);
	ALTER TABLE tagged ATTACH PARTITION east FOR VALUES IN ('east');
	CREATE FOREIGN TABLE west PARTITION OF tagged FOR VALUES IN ('west') SERVER prod OPTIONS (resource 'jobs');
	UPDATE tagged SET tags = '{"a": "1"}' WHERE job_id = (SELECT job_id FROM jobs WHERE name = 'prepared-1') RETURNING tableoid::regclass, tags;
	DELETE FROM tagged WHERE job_id = (SELECT job_id FROM jobs WHERE name = 'prepared-1') RETURNING tableoid::regclass
	SQL
is($node->safe_psql('postgres', q{SELECT count(*) FROM jobs WHERE name = 'prepared-1'}), 0, '... are written by their keys');
my $nameless = $node->safe_psql('postgres', "SELECT job_id FROM jobs WHERE name = 'viewed'");
$workspace->post('patch', { job_id => $nameless, merge => { job_id => undef } });
refused(q{DELETE FROM jobs WHERE name = 'viewed'}, 'HV00M', qr/workspace "prod" lists a row of foreign table "jobs" without "job_id"/,
	'a row that the service lists without its key');
refused("INSERT INTO runs (workspace, job_id) VALUES ('other', $job)", '23514', qr/of workspace "other"/, 'a row of another workspace');

done_testing();
