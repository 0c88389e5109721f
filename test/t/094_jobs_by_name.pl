# Jobs put by name, access lists on reset, pausing, and the pipeline of three
# tasks built up in SQL.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "databricks.wait_min_interval = '50 ms'\n");
connect_workspace($node, $workspace);
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub levels
{
	my ($job) = @_;
	my $list = $workspace->api('GET', "/api/2.0/permissions/jobs/$job")->{access_control_list};
	return join ' ', sort map { ($_->{group_name} // $_->{user_name}) . '=' . $_->{all_permissions}[0]{permission_level} }
	  grep { !$_->{all_permissions}[0]{inherited} } @$list;
}

my $pipeline = <<'SQL';
databricks.job_settings('nightly', ARRAY[
	databricks.task('fetch', 'notebook', '{"notebook_path": "/Shared/fetch"}'),
	databricks.task('transform', 'spark_python', '{"python_file": "/Workspace/Shared/t.py"}', '{fetch}') || '{"max_retries": 1}',
	databricks.task('write', 'sql', '{"warehouse_id": "1234567890abcdef", "query": {"query_id": "q"}}', '{transform}')],
	'{"parameters": [{"name": "day", "default": "1970-01-01"}], "access_control_list": [{"group_name": "analysts", "permission_level": "%s"}]}')
SQL

sub pipeline { return sprintf $pipeline, $_[0]; }

# Create, then reset

my $job = sql('SELECT databricks.upsert_job(' . pipeline('CAN_VIEW') . ')');
is(levels($job), 'admin@example.com=IS_OWNER analysts=CAN_VIEW', 'created with its access list (case 24)');
is(sql('SELECT databricks.upsert_job(' . pipeline('CAN_MANAGE_RUN') . ')'), $job, 'the same job again (case 23)');
is(levels($job), 'admin@example.com=IS_OWNER analysts=CAN_MANAGE_RUN', '... with its new access list (case 24)');
is($workspace->calls(path => '/api/2.2/jobs/create'), 1, '... created once');
ok(!exists json(($workspace->journal(path => '/api/2.2/jobs/reset'))[0]->{body})->{new_settings}{access_control_list},
	'the list is not among the settings');
sql(qq{SELECT databricks.upsert_job('{"name": "nightly", "tags": {"a": "b"}}')});
is(levels($job), 'admin@example.com=IS_OWNER analysts=CAN_MANAGE_RUN', 'without a list the old one stays');
is(sql("SELECT databricks.get_job($job) #>> '{settings,tags,a}' || jsonb_array_length(coalesce(databricks.get_job($job) #> '{settings,tasks}', '[]'))"),
	'b0', 'all settings are replaced');
sql(qq{SELECT databricks.reset_job($job, '{"name": "nightly", "access_control_list": [{"user_name": "etl\@example.com", "permission_level": "IS_OWNER"}]}')});
is(levels($job), 'etl@example.com=IS_OWNER', 'reset_job with a list and another owner (case 24)');
my $mark = $workspace->mark;
foreach my $call ('create_job(', "reset_job($job, ", 'upsert_job(')
{
	is(sql_error($node, qq{SELECT databricks.$call'{"name": "nightly", "access_control_list": [{"user_name": "a", "permission_level": "CAN_RUN"}]}')})->{state},
		'22023', "a bad level: $call");
}
is(sql_error($node, qq{SELECT databricks.update_job($job, '{"access_control_list": []}')})->{state}, '22023', 'a list where the service would ignore it');
is(sql_error($node, qq{SELECT databricks.update_job($job, '{"tasks": [{"task_key": "a"}]}')})->{state}, '22023', 'a change to a task that cannot be meant');
is($workspace->calls(since => $mark), 0, '... nothing was sent, no half of it either');
isnt(sql(qq{SELECT databricks.upsert_job('{"name": "Nightly"}')}), $job, 'case is told apart');
$workspace->create_job(name => 'nightly');
my $error = sql_error($node, q{SELECT databricks.upsert_job('{"name": "nightly"}')});
is($error->{state}, '42725', 'several of one name');
like($error->{detail}, qr/$job/, '... with their ids');
is(sql_error($node, q{SELECT databricks.upsert_job('{"tasks": []}')})->{state}, '22023', 'a name is needed (case 22)');

# Two at once: one creates, the other waits and resets.
$workspace->post('faults', { path => '/api/2.2/jobs/create', kind => 'delay', ms => 500, count => 1 });
my @sessions = map { $node->background_psql('postgres', on_error_stop => 1) } 1 .. 2;
$_->query_until(qr/begun/, qq{\\echo begun\nSELECT databricks.upsert_job('{"name": "twice"}');\n}) foreach @sessions;
$_->quit foreach @sessions;
is($workspace->calls(method => 'GET', path => '/api/2.2/jobs/list', query => 'name=twice'), 2, 'both looked for the job');
is(scalar @{ $workspace->api('GET', '/api/2.2/jobs/list', { name => 'twice' })->{jobs} }, 1, 'two at once make one job (case 23)');

# Pause and resume

my $when = '"schedule": {"quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "UTC"}';
$job = sql(qq{SELECT databricks.create_job('{"name": "clock", $when, "tags": {"x": "y"}}')});
sub status { return sql("SELECT databricks.get_job($job) #>> '{settings,schedule,pause_status}'"); }
is(sql("SELECT databricks.pause_job($job)"), '{schedule}', 'paused');
is(status(), 'PAUSED', '... in Databricks');
is(sql(q{SELECT databricks.pause_job('clock')}), '{}', 'paused already');
is(sql(q{SELECT databricks.resume_job('clock', '{continuous}')}), '{}', 'resume something else');
is(status(), 'PAUSED', '... leaves it paused');
like(sql_error($node, q{SELECT databricks.resume_job('clock', '{schedul}')})->{hint}, qr/schedule, trigger, continuous/, 'resume what there is not');
is(sql(q{SELECT databricks.resume_job('clock')}), '{schedule}', 'resumed');
is(status(), 'UNPAUSED', '... in Databricks');
is(sql("SELECT databricks.get_job($job) #>> '{settings,schedule,timezone_id}'"), 'UTC', 'the rest of it stays');
$job = sql(q{SELECT databricks.create_job('{"name": "always", "continuous": {}}')});
is(sql("SELECT databricks.pause_job($job)"), '{continuous}', 'a continuous job');
$job = sql(q{SELECT databricks.create_job('{"name": "trigger", "trigger": {"periodic": {"interval": 1, "unit": "HOURS"}}}')});
is(sql("SELECT databricks.pause_job($job)"), '{trigger}', 'a triggered job');
$job = sql(q{SELECT databricks.create_job('{"name": "none"}')});
is(sql_error($node, "SELECT databricks.pause_job($job)")->{state}, '55000', 'a job without any');
is(sql_error($node, 'SELECT databricks.pause_job(5)')->{state}, '42704', 'no such job');
is(sql_error($node, 'SELECT databricks.resume_job(NULL::int8)')->{state}, '22004', 'null');

# The settings of a job serve as a run of its own
my $run = sql(qq{SELECT databricks.submit_run(databricks.job_settings('once', ARRAY[
	databricks.task('a', 'notebook', '{"notebook_path": "/x"}')]))});
is(sql("SELECT databricks.get_run($run) ->> 'run_name'"), 'once', 'submitted under its name');

# What would be sent, is checked
$mark = $workspace->mark;
foreach my $bad (
	q{{"name": "x", "tasks": [{"task_key": "a"}]}},
	q{{"name": "x", "tasks": [{"task_key": "a", "notebook_task": {}}]}},
	q{{"name": "x", "tasks": [{"task_key": "a b", "notebook_task": {"notebook_path": "/x"}}]}},
	q{{"name": "x", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/x"}, "sql_task": {"warehouse_id": "w"}}]}},
	q{{"name": "x", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/x"}, "depends_on": [{"task_key": "b"}]},
		{"task_key": "b", "notebook_task": {"notebook_path": "/x"}, "depends_on": [{"task_key": "a"}]}]}})
{
	is(sql_error($node, "SELECT databricks.create_job('$bad')")->{state}, '22023', 'refused before it is sent');
}
is($workspace->calls(since => $mark), 0, '... nothing was');

done_testing();
