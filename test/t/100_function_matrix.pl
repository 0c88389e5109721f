# Every function that makes calls, against everything that can become of a call:
# success, each error that the API documents for it, a cancel in the middle, a
# role without rights, a read-only transaction.
#
# The table below has a row for each function; api_functions says which there are
# and which calls they make, so that a function without a row, or a call that no
# row makes, fails the test. What a statement calls is taken from the journal of
# its success; then each of these calls is made to fail in each way.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "databricks.wait_min_interval = '20 ms'\nstatement_timeout = '10 s'\n");
connect_workspace($node, $workspace, args => q{server_options => '{"retry_timeout": "0", "request_timeout": "5s"}'});
$workspace->post('settings', { setup_ms => 0, duration_ms => 0, cleanup_ms => 0, job_cleanup_ms => 0, cancel_ms => 0,
	cluster_start_ms => 0, cluster_stop_ms => 0, cluster_resize_ms => 0, warehouse_start_ms => 0, pipeline_update_ms => 0 });
$workspace->post('plans', { match => { job_name => 'fails' }, plan => { results => ['FAILED', 'SUCCESS'] }, count => undef });
$workspace->post('plans', { match => { job_name => 'hangs' }, plan => { duration_ms => -1 }, count => undef });
$workspace->post('statements', { match => 'chunks', columns => [ { name => 'id', type_name => 'LONG' }, { name => 'name', type_name => 'STRING' } ],
	generate => 6, chunk_rows => 3 });
$workspace->post('statements', { match => 'slow', hang => JSON::PP::true });

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Sessions that stay: what a statement ends with is its SQLSTATE, '' for success.
my %sessions;

sub run
{
	my ($role, @statements) = @_;
	my $session = $sessions{$role} ||=
	  $node->background_psql('postgres', on_error_stop => 0, extra_params => $role ? [ '-U', $role ] : []);

	# all in one go: a round trip for each would take most of the time
	$session->{stderr} = '';
	my $result = $session->query(join "\n", '\set VERBOSITY verbose', map { "$_;\n\\warn -next-" } @statements);
	my @ends = split /-next-\n/, $session->{stderr};
	return map { { state => /ERROR:  (\w{5}): / ? $1 : '', text => $_, result => $result } } @ends;
}

# What there is to call

my $name = 'm';
sub fresh { return $name++; }
my $task = '"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/Shared/x"}}]';
my $list = '[{"user_name": "admin@example.com", "permission_level": "IS_OWNER"}, {"group_name": "analysts", "permission_level": "CAN_VIEW"}]';
my $job = sql(qq(SELECT databricks.create_job('{"name": "works", $task, "schedule": {"quartz_cron_expression": "0 0 0 * * ?", "timezone_id": "UTC"}}')));
my $failing = sql(qq(SELECT databricks.create_job('{"name": "fails", $task}')));
my $hanging = sql(qq(SELECT databricks.create_job('{"name": "hangs", "max_concurrent_runs": 100, $task}')));
my $run = sql("SELECT run_id FROM databricks.run_and_wait($job)");
my $cluster = sql(q(SELECT databricks.create_cluster('{"cluster_name": "c", "spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1}')));
my $warehouse = '1234567890abcdef';
my $pipeline = $workspace->api('POST', '/api/2.0/pipelines', { name => 'p' })->{pipeline_id};
my $repo = sql(q(SELECT databricks.create_repo('https://github.com/example/r', 'gitHub', '/Repos/me/r')));
my $statement = sql("SELECT databricks.start_statement('chunks', '$warehouse')");
my $volume = '/Volumes/main/default/landing';
my $spec = '{"cluster_name": "c", "spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1}';
my $big = q(decode(repeat('ab', 1500000), 'hex'));
sql(q(SELECT databricks.create_secret_scope('s'), databricks.put_secret('s', 'k', 'v'::text)));
sql(qq(SELECT databricks.upload_file('$volume/f', 'x'), databricks.upload_file('dbfs:/f', 'x'), databricks.upload_file('dbfs:/big', 'x'), databricks.upload_file('dbfs:/big.csv', 'x'), databricks.upload_file('/Shared/f', 'x')));
sql(q(SELECT databricks.import_notebook('/Shared/n', 'SELECT 1', 'SQL')));

sub starts { my ($id) = @_; return "SELECT databricks.run_now($id)"; }
my $active = "(SELECT run_id FROM databricks.runs WHERE job_id = $hanging AND end_time IS NULL LIMIT 1)";

# What is left over is worth no more than a warning; what seems not to be there is
# not moved aside, and is in the way then.
my %left_over = ('POST /api/2.0/dbfs/delete' => '', 'POST /api/2.0/dbfs/move RESOURCE_DOES_NOT_EXIST' => 'HV000');

# Function => statements that, together, make all of its calls; with "before", what
# each needs to succeed; "otherwise", where an answer ends it as another; "repeats" where one statement makes the same call again after
# it failed.
my %rows = (
	'await_run(bigint,interval,boolean,boolean,boolean,name)' => ["CALL databricks.await_run($run, NULL)"],
	'cancel_all_queued_runs(name)' => ['SELECT databricks.cancel_all_queued_runs()'],
	'cancel_all_runs(bigint,name)' => ["SELECT databricks.cancel_all_runs($hanging)"],
	'cancel_all_runs(text,name)' => [q(SELECT databricks.cancel_all_runs('hangs'))],
	'cancel_run(bigint,name)' => ["SELECT databricks.cancel_run($run)"],
	'check_connection(name)' => ['SELECT ok FROM databricks.check_connection()'],
	'create_cluster(jsonb,name)' => ["SELECT databricks.create_cluster('$spec')"],
	'create_job(jsonb,name)' => [qq(SELECT databricks.create_job('{"name": "new", $task}'))],
	'create_repo(text,text,text,jsonb,name)' => [ sub { "SELECT databricks.create_repo('https://github.com/example/r', 'gitHub', '/Repos/me/" . fresh() . "')" } ],
	'create_secret_scope(text,text,name)' => [ sub { "SELECT databricks.create_secret_scope('" . fresh() . "')" } ],
	'delete_file(text,boolean,name)' => [
		{ before => "SELECT databricks.upload_file('$volume/d', 'x', true)", call => "SELECT databricks.delete_file('$volume/d')" },
		{ before => "SELECT databricks.make_directory('$volume/dir')", call => "SELECT databricks.delete_file('$volume/dir')", otherwise => { 'DELETE /api/2.0/fs/files{path} RESOURCE_DOES_NOT_EXIST' => '' } },
		"SELECT databricks.delete_file('dbfs:/none')",
		{ before => q(SELECT databricks.upload_file('/Shared/d', 'x', true)), call => q(SELECT databricks.delete_file('/Shared/d')) } ],
	'delete_job(bigint,name)' => [ { value => qq(SELECT databricks.create_job('{"name": "gone", $task}')), call => 'SELECT databricks.delete_job(%s)' } ],
	'delete_repo(bigint,name)' => [ { value => sub { "SELECT databricks.create_repo('https://github.com/example/r', 'gitHub', '/Repos/me/" . fresh() . "')" }, call => 'SELECT databricks.delete_repo(%s)' } ],
	'delete_repo(text,name)' => [ { before => q(SELECT databricks.create_repo('https://github.com/example/r', 'gitHub', '/Repos/me/gone')), call => q(SELECT databricks.delete_repo('/Repos/me/gone')) } ],
	'delete_run(bigint,name)' => [ { value => "SELECT run_id FROM databricks.run_and_wait($job)", call => 'SELECT databricks.delete_run(%s)' } ],
	'delete_secret(text,text,name)' => [ { before => q(SELECT databricks.put_secret('s', 'd', 'v'::text)), call => q(SELECT databricks.delete_secret('s', 'd')) } ],
	'delete_secret_acl(text,text,name)' => [ { before => q(SELECT databricks.put_secret_acl('s', 'users', 'READ')), call => q(SELECT databricks.delete_secret_acl('s', 'users')) } ],
	'delete_secret_scope(text,name)' => [ { before => q(SELECT databricks.create_secret_scope('d')), call => q(SELECT databricks.delete_secret_scope('d')) } ],
	'download_file(text,name)' => [ (map { "SELECT databricks.download_file('$_/f')" } $volume, 'dbfs:', '/Shared'), { call => "SELECT databricks.download_file('$volume')", state => 'HV000' } ],
	'edit_cluster(text,jsonb,name)' => ["SELECT databricks.edit_cluster('$cluster', '$spec')"],
	'ensure_cluster_is_running(text,interval,name)' => [ { before => "SELECT databricks.terminate_cluster('$cluster')", call => "SELECT databricks.ensure_cluster_is_running('$cluster')" } ],
	'export_notebook(text,text,name)' => [q(SELECT databricks.export_notebook('/Shared/n'))],
	'export_run(bigint,text,name)' => [ { value => "SELECT task_run_id FROM databricks.run_tasks WHERE run_id = $run", call => 'SELECT databricks.export_run(%s)' } ],
	'file_info(text,name)' => [ (map { "SELECT databricks.file_info('$_/f')" } $volume, 'dbfs:', '/Shared'), { call => "SELECT databricks.file_info('$volume')", otherwise => { 'HEAD /api/2.0/fs/files{path} RESOURCE_DOES_NOT_EXIST' => '' } } ],
	'find_job(text,name)' => [q(SELECT databricks.find_job('works'))],
	'find_repo(text,name)' => [q(SELECT databricks.find_repo('/Repos/me/r'))],
	'get_cluster(text,name)' => ["SELECT databricks.get_cluster('$cluster')"],
	'get_job(bigint,name)' => ["SELECT databricks.get_job($job)"],
	'get_permission_levels(text,text,name)' => ["SELECT databricks.get_permission_levels('jobs', '$job')"],
	'get_permissions(text,text,name)' => ["SELECT databricks.get_permissions('jobs', '$job')"],
	'get_run(bigint,boolean,name)' => ["SELECT databricks.get_run($run)"],
	'get_run_output(bigint,name)' => ["SELECT databricks.get_run_output($run)"],
	'get_secret(text,text,name)' => [q(SELECT databricks.get_secret('s', 'k'))],
	'get_secret_bytes(text,text,name)' => [q(SELECT databricks.get_secret_bytes('s', 'k'))],
	'import_notebook(text,text,text,boolean,name)' => [q(SELECT databricks.import_notebook('/Shared/n', 'SELECT 1', 'SQL', true))],
	'job_access_list(bigint,jsonb,name)' => [qq(SELECT databricks.job_access_list($job, '[{"group_name": "analysts", "permission_level": "CAN_VIEW"}]'))],
	'known_repo(text,name)' => [q(SELECT databricks.known_repo('/Repos/me/r'))],
	'list_files(text,boolean,name)' => [ map { "SELECT databricks.list_files('$_', true)" } $volume, 'dbfs:/', '/Shared' ],
	'make_directory(text,name)' => [ map { "SELECT databricks.make_directory('$_/made')" } $volume, 'dbfs:', '/Shared' ],
	'move_file(text,text,name)' => [ { before => q(SELECT databricks.upload_file('dbfs:/a', 'x', true), databricks.delete_file('dbfs:/b')), call => q(SELECT databricks.move_file('dbfs:/a', 'dbfs:/b')) } ],
	'pause_job(bigint,name)' => [ { before => "SELECT databricks.resume_job($job)", call => "SELECT databricks.pause_job($job)" } ],
	'pause_job(text,name)' => [ { before => "SELECT databricks.resume_job($job)", call => q(SELECT databricks.pause_job('works')) } ],
	'permanent_delete_cluster(text,name)' => [ { value => "SELECT databricks.create_cluster('$spec')", call => q(SELECT databricks.permanent_delete_cluster('%s')) } ],
	'pin_cluster(text,name)' => ["SELECT databricks.pin_cluster('$cluster')"],
	'put_secret(text,text,bytea,name)' => [q(SELECT databricks.put_secret('s', 'k', 'v'::bytea))],
	'put_secret(text,text,text,name)' => [q(SELECT databricks.put_secret('s', 'k', 'v'::text))],
	'put_secret_acl(text,text,text,name)' => [q(SELECT databricks.put_secret_acl('s', 'users', 'READ'))],
	'query(text,text,jsonb,text,text,name)' => ["SELECT * FROM databricks.query('chunks', '$warehouse') AS t(id bigint, name text)", { call => "SELECT * FROM databricks.query('slow', '$warehouse') AS t(id bigint)", state => '57014' } ],
	'query_json(text,text,jsonb,text,text,name)' => ["SELECT databricks.query_json('chunks', '$warehouse')", { call => "SELECT databricks.query_json('slow', '$warehouse')", state => '57014' } ],
	'repair_run(bigint,jsonb,name)' => [ { value => "SELECT run_id FROM databricks.run_and_wait($failing, raise_on_failure => false)", call => 'SELECT databricks.repair_run(%s)' } ],
	'reset_job(bigint,jsonb,name)' => [ { value => qq(SELECT databricks.create_job('{"name": "reset", $task}')), call => qq(SELECT databricks.reset_job(%s, '{"name": "reset", $task, "access_control_list": $list}')) } ],
	'resize_cluster(text,integer,integer,integer,name)' => [ { before => "SELECT databricks.ensure_cluster_is_running('$cluster')", call => "SELECT databricks.resize_cluster('$cluster', 2)" } ],
	'restart_cluster(text,name)' => [ { before => "SELECT databricks.ensure_cluster_is_running('$cluster')", call => "SELECT databricks.restart_cluster('$cluster')" } ],
	'resume_job(bigint,text[],name)' => [ { before => "SELECT databricks.pause_job($job)", call => "SELECT databricks.resume_job($job)" } ],
	'resume_job(text,text[],name)' => [ { before => "SELECT databricks.pause_job($job)", call => q(SELECT databricks.resume_job('works')) } ],
	'run_and_wait(bigint,jsonb,jsonb,text,interval,boolean,boolean,boolean,name)' => ["SELECT databricks.run_and_wait($job)"],
	'run_and_wait(text,jsonb,jsonb,text,interval,boolean,boolean,boolean,name)' => [q(SELECT databricks.run_and_wait('works'::text))],
	'run_now(bigint,jsonb,jsonb,text,name)' => ["SELECT databricks.run_now($job)"],
	'run_now(text,jsonb,jsonb,text,name)' => [q(SELECT databricks.run_now('works'::text))],
	'set_job_pause(bigint,text,text[],name)' => [ { before => "SELECT databricks.resume_job($job)", call => "SELECT databricks.set_job_pause($job, 'PAUSED', NULL, NULL)" } ],
	'set_permissions(text,text,jsonb,name)' => ["SELECT databricks.set_permissions('jobs', '$job', '$list')"],
	'start_cluster(text,name)' => ["SELECT databricks.start_cluster('$cluster')"],
	'start_pipeline_update(text,jsonb,name)' => ["SELECT databricks.start_pipeline_update('$pipeline')"],
	'start_statement(text,text,jsonb,text,text,name)' => ["SELECT databricks.start_statement('chunks', '$warehouse')"],
	'start_warehouse(text,name)' => ["SELECT databricks.start_warehouse('$warehouse')"],
	'statement_result(text,name)' => ["SELECT databricks.statement_result('$statement')"],
	'stop_pipeline(text,name)' => ["SELECT databricks.stop_pipeline('$pipeline')"],
	'stop_warehouse(text,name)' => ["SELECT databricks.stop_warehouse('$warehouse')"],
	'submit_run(jsonb,text,name)' => [qq(SELECT databricks.submit_run('{"run_name": "r", $task}'))],
	'terminate_cluster(text,name)' => ["SELECT databricks.terminate_cluster('$cluster')"],
	'unpin_cluster(text,name)' => ["SELECT databricks.unpin_cluster('$cluster')"],
	'update_cluster(text,jsonb,text,name)' => [ { before => "SELECT databricks.ensure_cluster_is_running('$cluster')", call => qq(SELECT databricks.update_cluster('$cluster', '{"num_workers": 2}', 'num_workers')) } ],
	'update_job(bigint,jsonb,text[],name)' => [qq(SELECT databricks.update_job($job, '{"max_concurrent_runs": 5}'))],
	'update_permissions(text,text,jsonb,name)' => ["SELECT databricks.update_permissions('jobs', '$job', '$list')"],
	'update_repo(bigint,text,text,name)' => ["SELECT databricks.update_repo($repo, 'main')"],
	'update_repo(text,text,text,name)' => [q(SELECT databricks.update_repo('/Repos/me/r', 'main'))],
	'upload_file(text,bytea,boolean,name)' => [ (map { "SELECT databricks.upload_file('$_/f', 'x', true)" } $volume, 'dbfs:', '/Shared'), { call => "SELECT databricks.upload_file('dbfs:/big', $big, true)", repeats => 1, otherwise => \%left_over } ],
	'upload_query(text,text,text,boolean,name)' => [ (map { "SELECT databricks.upload_query('SELECT 1', '$_/q.csv', overwrite => true)" } $volume, 'dbfs:', '/Shared'),
		{ call => q(SELECT databricks.upload_query('SELECT repeat(''x'', 1500000)', 'dbfs:/big.csv', overwrite => true)), repeats => 1, otherwise => \%left_over } ],
	'upsert_job(jsonb,name)' => [ sub { my $new = fresh(); qq(SELECT databricks.upsert_job('{"name": "$new", $task}')) }, qq(SELECT databricks.upsert_job('{"name": "works", $task, "access_control_list": $list}')) ],
	'wait_for_run(bigint,interval,boolean,boolean,boolean,name)' => ["SELECT databricks.wait_for_run($run)"],
	'wait_for_runs(bigint[],text,interval,boolean,boolean,boolean,name)' => ["SELECT databricks.wait_for_runs('{$run}')"],
);

# Those whose statements call nothing: a worker does, later, and tests of the worker
# show it. And those that put what the service refuses into a page.
my %elsewhere = map { $_ => 1 } qw(backfill_schedule cancel_request enqueue_run_now enqueue_submit fire_schedule run_job_on_change
	schedule tick_schedule track wait_for_request report report_clusters);

my %functions = map { $_->{name} => $_ } @{ json(sql(q{SELECT json_agg(json_build_object('name', regexp_replace(function::text, '^databricks\.', ''),
	'calls', rest_calls, 'changes', changes_something)) FROM databricks.api_functions WHERE rest_calls <> '{}'})) };
is_deeply([ sort grep { !$rows{$_} && !$elsewhere{ /^(\w+)/ ? $1 : '' } } keys %functions ], [], 'every function that makes calls has its row');
is_deeply([ sort grep { !$functions{$_} } keys %rows ], [], '... and every row its function');

# Errors that the API documents: of every call ...
my @common = (
	[ 400, 'INVALID_PARAMETER_VALUE', 'HV000' ], [ 400, 'MALFORMED_REQUEST', 'HV000' ], [ 401, 401, '28000' ],
	[ 403, 'PERMISSION_DENIED', '42501' ], [ 403, 403, '28000' ], [ 404, 'RESOURCE_DOES_NOT_EXIST', '42704' ],
	[ 404, 'FEATURE_DISABLED', 'HV000' ], [ 429, 'REQUEST_LIMIT_EXCEEDED', '53400' ], [ 500, 'INTERNAL_SERVER_ERROR', 'HV000' ],
	[ 503, 'TEMPORARILY_UNAVAILABLE', 'HV000' ]);
# ... and of some.
my %documented = (
	'POST /api/2.2/jobs/create' => [ [ 400, 'QUOTA_EXCEEDED', '53400' ] ],
	'POST /api/2.2/jobs/run-now' => [ [ 429, 'RESOURCE_EXHAUSTED', '53400' ], [ 400, 'INVALID_STATE', 'HV000' ] ],
	'POST /api/2.2/jobs/runs/submit' => [ [ 400, 'QUOTA_EXCEEDED', '53400' ] ],
	'POST /api/2.2/jobs/runs/delete' => [ [ 400, 'INVALID_STATE', 'HV000' ] ],
	'POST /api/2.2/jobs/runs/repair' => [ [ 400, 'INVALID_STATE', 'HV000' ] ],
	(map { ("POST /api/2.1/clusters/$_" => [ [ 400, 'INVALID_STATE', 'HV000' ] ]) } qw(edit update resize start restart)),
	'POST /api/2.0/dbfs/put' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ], [ 400, 'MAX_BLOCK_SIZE_EXCEEDED', 'HV000' ] ],
	'POST /api/2.0/dbfs/create' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ] ],
	'POST /api/2.0/dbfs/add-block' => [ [ 400, 'MAX_BLOCK_SIZE_EXCEEDED', 'HV000' ] ],
	'GET /api/2.0/dbfs/read' => [ [ 400, 'MAX_READ_SIZE_EXCEEDED', 'HV000' ] ],
	(map { ("POST /api/2.0/dbfs/$_" => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ] ]) } qw(mkdirs move)),
	'POST /api/2.0/dbfs/delete' => [ [ 400, 'IO_ERROR', 'HV000' ], [ 400, 'BAD_REQUEST', 'HV000' ] ],
	'PUT /api/2.0/fs/files{path}' => [ [ 409, 'ALREADY_EXISTS', 'HV000' ] ],
	'PUT /api/2.0/fs/directories{path}' => [ [ 409, 'ALREADY_EXISTS', 'HV000' ] ],
	'DELETE /api/2.0/fs/directories{path}' => [ [ 400, 'BAD_REQUEST', 'HV000' ] ],
	'POST /api/2.0/workspace/import' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ], [ 400, 'MAX_NOTEBOOK_SIZE_EXCEEDED', 'HV000' ] ],
	'GET /api/2.0/workspace/export' => [ [ 400, 'MAX_NOTEBOOK_SIZE_EXCEEDED', 'HV000' ] ],
	'POST /api/2.0/workspace/delete' => [ [ 400, 'DIRECTORY_NOT_EMPTY', 'HV000' ] ],
	'POST /api/2.0/workspace/mkdirs' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ] ],
	'POST /api/2.0/repos' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ] ],
	'POST /api/2.0/secrets/scopes/create' => [ [ 400, 'RESOURCE_ALREADY_EXISTS', 'HV000' ], [ 400, 'RESOURCE_LIMIT_EXCEEDED', '53400' ] ],
	'POST /api/2.0/secrets/put' => [ [ 400, 'RESOURCE_LIMIT_EXCEEDED', '53400' ], [ 400, 'INVALID_STATE', 'HV000' ] ],
	'GET /api/2.0/secrets/get' => [ [ 400, 'BAD_REQUEST', 'HV000' ] ],
	'GET /api/2.0/sql/statements/{id}' => [ [ 404, 'NOT_FOUND', '42704' ] ],
);

# Calls that make something new, or start it, without a token: no answer, or one
# that does not say what became of it, leaves the outcome unknown.
my %once = map { ("POST /api/$_" => 1) } ((map { "2.2/jobs/$_" } qw(create run-now runs/submit runs/repair)), '2.1/clusters/create', '2.1/clusters/restart',
	'2.0/repos', '2.0/secrets/scopes/create', '2.0/dbfs/move', '2.0/workspace/import', '2.0/sql/statements', '2.0/pipelines/{pipeline_id}/updates');

# Where an answer does not end a statement as it says: in the call, or in one
# function.
my %otherwise = (
	'find_repo(text,name) GET /api/2.0/workspace/get-status RESOURCE_DOES_NOT_EXIST' => '',
	'GET /api/2.0/workspace/get-status RESOURCE_DOES_NOT_EXIST' => '42704',
	# no file: perhaps a directory
	'DELETE /api/2.0/fs/files{path} RESOURCE_DOES_NOT_EXIST' => '42704',
	# not there yet
	(map { ("$_ GET /api/2.0/dbfs/get-status RESOURCE_DOES_NOT_EXIST" => '') } 'upload_file(text,bytea,boolean,name)', 'upload_query(text,text,text,boolean,name)'),
	# the size of the file tells
	(map { my $code = $_; map { ("$_ POST /api/2.0/dbfs/close $code" => '') } 'upload_file(text,bytea,boolean,name)', 'upload_query(text,text,text,boolean,name)' } qw(INTERNAL_SERVER_ERROR TEMPORARILY_UNAVAILABLE)),
	# a file that may be overwritten can be sent again
	(map { my $code = $_; map { ("$_ POST /api/2.0/workspace/import $code" => 'HV000') } 'upload_file(text,bytea,boolean,name)', 'upload_query(text,text,text,boolean,name)' } qw(INTERNAL_SERVER_ERROR TEMPORARILY_UNAVAILABLE)),
);
my %never_raises = ('check_connection(name)' => 1);
my %sits_out = map { $_ => 1 } grep { /^(?:await_run|wait_for_runs?|run_and_wait|ensure_cluster_is_running)\(/ } keys %rows;

# The name of a call in api_functions
sub named
{
	my ($entry, $function) = @_;
	foreach my $call (@{ $function->{calls} })
	{
		my ($method, $path) = split / /, $call;
		$path = quotemeta $path;
		$path =~ s/\\\{path\\\}/(?:\/.*)?/;
		$path =~ s/\\\{\w+\\\}/[^\/]+/g;
		return $call if $method eq $entry->{method} && $entry->{path} =~ /^$path$/;
	}
	return "$entry->{method} $entry->{path} (not in the list)";
}

sql('CREATE ROLE plain LOGIN; CREATE ROLE user_only LOGIN; GRANT USAGE ON FOREIGN SERVER prod TO user_only');
my ($count, $begun) = (0, time);
foreach my $key (sort keys %rows)
{
	my $function = $functions{$key} or next;
	my (%made, @wrong);

	foreach my $row (@{ $rows{$key} })
	{
		my %row = ref $row eq 'HASH' ? %$row : (call => $row);
		my $prepare = sub {
			my ($call, $value) = map { ref $_ ? $_->() : $_ } @row{qw(call value)};
			my @before = run('', grep { defined } $row{before}, $value);
			return defined $value ? sprintf $call, $before[0]{result} : $call;
		};
		my $call = $prepare->();

		# success
		my $mark = $workspace->mark;
		my @ends = run('', $row{state} ? q(SET statement_timeout = '300ms') : 'SELECT', $call, 'RESET statement_timeout');
		push @wrong, "$call: $ends[1]{text}" if $ends[1]{state} ne ($row{state} || '');
		my %seen;
		my @calls = grep { !$seen{ $_->[1] }++ } map { [ $_, named($_, $function) ] } $workspace->journal(since => $mark);
		$made{ $_->[1] } = 1 foreach @calls;
		push @wrong, "$call: calls nothing" unless @calls;
		next if $row{state};

		# rights; a read-only transaction
		$call = $prepare->();
		$mark = $workspace->mark;
		my $changes = grep { $_->[0]{method} !~ /GET|HEAD/ } @calls;
		foreach my $role (qw(plain user_only))
		{
			my $wanted = $role eq 'plain' ? '42501' : '28000';
			my ($end) = run($role, $call);
			push @wrong, "$call as $role: $end->{text}, not $wanted" if $end->{state} ne $wanted;
		}
		push @wrong, "$call: called without rights" if $workspace->journal(since => $mark);
		@ends = run('', 'SET default_transaction_read_only = on', $call, 'RESET default_transaction_read_only');
		push @wrong, "$call in a read-only transaction: $ends[1]{text}" if $ends[1]{state} ne ($changes ? '25006' : '');
		push @wrong, "$call: changed something in a read-only transaction"
		  if grep { $_->{method} !~ /GET|HEAD/ } $workspace->journal(since => $mark);

		# errors, and at last a cancel in the middle
		foreach my $made (@calls)
		{
			my ($entry, $named) = @$made;
			my @errors = (@common, @{ $documented{$named} || [] });
			my %fault = (method => $entry->{method}, path => $named =~ /\{/ ? (split / /, $named)[1] : $entry->{path});
			$fault{path} =~ s/\{\w+\}/*/g;

			# who waits sits these out
			if ($sits_out{$key} && $named =~ m{/(?:runs/get|clusters/get|start)$})
			{
				my @sat_out = ([429], [500], [503], grep { $_->[1] eq 'INVALID_STATE' } @errors);
				@errors = grep { $_->[0] !~ /429|5../ && $_->[1] ne 'INVALID_STATE' } @errors;
				$call = $prepare->();
				$workspace->post('faults', { faults => [ map { { %fault, kind => 'status', status => $_->[0], $_->[1] ? (code => $_->[1]) : () } } @sat_out ] });
				my ($end) = run('', $call);
				push @wrong, "$call, $named away for a while: $end->{text}" if $end->{state};
				push @wrong, "$call, $named away for a while: not told" if $end->{text} !~ /just now, still waiting/;
				$workspace->request('DELETE', '/__control/faults');
			}

			# an answer without a body has no code
			my %before;
			@errors = grep { !$before{ $_->[0] }++ } @errors if $entry->{method} eq 'HEAD';
			$call = $prepare->();
			my @faults = map { { %fault, kind => 'status', status => $_->[0], code => $_->[1], message => 'marked',
				headers => $_->[1] eq '403' ? { 'X-Databricks-Reason-Phrase' => 'Invalid access token.' } : {} } } @errors;
			my @cancelled = (q(SET statement_timeout = '60ms'), q(SELECT set_config('test.begun', clock_timestamp()::text, false)), $call,
				'RESET statement_timeout', q(SELECT 'took ' || extract(epoch FROM clock_timestamp() - current_setting('test.begun')::timestamptz) * 1000));
			if ($row{repeats})
			{
				@ends = ();
				foreach my $fault (@faults)
				{
					$workspace->post('faults', $fault);
					push @ends, run('', $call);
					$workspace->request('DELETE', '/__control/faults');
				}
				$workspace->post('faults', { %fault, kind => 'hang' });
				push @ends, run('', @cancelled);
			}
			else
			{
				$workspace->post('faults', { faults => [ @faults, { %fault, kind => 'hang' } ] });
				@ends = run('', ($call) x @errors, @cancelled);
			}
			foreach my $error (@errors)
			{
				my ($status, $code, $wanted) = @$error;
				my $end = shift @ends;
				my $silent = $entry->{method} eq 'HEAD' || exists $otherwise{"$named $code"} || exists $otherwise{"$key $named $code"} || exists $row{otherwise}{$named} || exists $row{otherwise}{"$named $code"} || $never_raises{$key};
				$wanted = '08007' if $status >= 500 && $once{$named};
				$wanted = $row{otherwise}{$named} // $row{otherwise}{"$named $code"} // $otherwise{"$key $named $code"} // $otherwise{"$named $code"} // $wanted;
				$wanted = '' if $never_raises{$key};
				push @wrong, "$call, $named $status $code: $end->{text}, not $wanted" if $end->{state} ne $wanted;
				push @wrong, "$call, $named $status $code: the words are lost: $end->{text}" if !$silent && $end->{text} !~ /marked/;
				$count++;
			}
			push @wrong, "$call, $named hangs: $ends[2]{text}" if $ends[2]{state} ne '57014';
			push @wrong, "$call, $named hangs: not cancelled at once" if ($ends[4]{result} =~ /^took (\d+)/m ? $1 : 9999) > 2000;
			$workspace->request('DELETE', '/__control/faults');
		}
	}
	is_deeply(\@wrong, [], $key);
	is_deeply([ sort keys %made ], [ sort @{ $function->{calls} } ], '... and its calls are those of the list');
}
$_->quit foreach values %sessions;
cmp_ok($count, '>', 1000, 'many calls failed');
note sprintf '%d failures in %.1f s', $count, time - $begun;

done_testing();
