# 040_jobs.pl - jobs made, found, changed and deleted from SQL. Acceptance cases
# 22, 24, 26, 28, 29.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub stored { return $workspace->api('GET', '/api/2.2/jobs/get', { job_id => $_[0] }); }

# --- create, get, update, reset, delete ------------------------------------------------

my $id = sql(q{SELECT databricks.create_job('{
	"name": "nightly", "max_concurrent_runs": 2, "tags": {"team": "etl", "cost": "42"},
	"parameters": [{"name": "day", "default": "today"}],
	"schedule": {"quartz_cron_expression": "0 15 3 ? * MON-FRI", "timezone_id": "UTC", "pause_status": "PAUSED"},
	"tasks": [{"task_key": "load", "notebook_task": {"notebook_path": "/Shared/load"}},
		{"task_key": "report", "depends_on": [{"task_key": "load"}], "notebook_task": {"notebook_path": "/Shared/report"}}],
	"access_control_list": [{"user_name": "etl@example.com", "permission_level": "CAN_MANAGE_RUN"}]}')});
like($id, qr/^\d+$/, 'create_job gives the id (case 22)');
is(stored($id)->{settings}{name}, 'nightly', '... of the job that was made');
is( sql(qq{SELECT j ->> 'job_id', j #>> '{settings,max_concurrent_runs}', j #>> '{settings,tags,team}',
		jsonb_array_length(j #> '{settings,tasks}'), j #>> '{settings,tasks,1,depends_on,0,task_key}'
		FROM databricks.get_job($id) AS j}),
	"$id|2|etl|2|load", 'get_job gives it back');

# The right that came with the settings holds.
sql(q{CREATE ROLE etl; GRANT USAGE ON FOREIGN SERVER prod TO etl;
	CREATE USER MAPPING FOR etl SERVER prod OPTIONS (token 'dapi-standin-etl')});
like(sql("SET ROLE etl; SELECT databricks.run_now($id)"), qr/^\d+$/, 'access_control_list is applied on create (case 24)');
is(sql_error($node, "SET ROLE etl; SELECT databricks.delete_job($id)")->{state}, '42501', '... and gives no more than it says');

is(sql(qq{SELECT databricks.update_job($id, '{"tags": {"team": "ops"}, "timeout_seconds": 60}') IS NULL}), 't',
	'update_job returns nothing');
my $job = stored($id);
is_deeply($job->{settings}{tags}, { team => 'ops' }, '... a member that is given is replaced whole');
is($job->{settings}{max_concurrent_runs}, 2, '... what is not given stays');
sql(qq{SELECT databricks.update_job($id, fields_to_remove => ARRAY['schedule', 'tasks/report'])});
$job = stored($id);
ok(!exists $job->{settings}{schedule}, '... fields_to_remove drops members');
is_deeply([ map { $_->{task_key} } @{ $job->{settings}{tasks} } ], ['load'], '... and single tasks');
sql(qq{SELECT databricks.update_job($id, '{"name": "nightly 2", "email_notifications": {"on_failure": []}}', ARRAY['tags'])});
$job = stored($id);
is($job->{settings}{name}, 'nightly 2', 'both at once: changed');
ok(!$job->{settings}{tags} || !%{ $job->{settings}{tags} }, '... and dropped');
my ($sent) = ($workspace->journal(path => '/api/2.2/jobs/update'))[-1];
is_deeply([ sort keys %{ json($sent->{body}) } ], [qw(fields_to_remove job_id new_settings)], '... in one call');
($sent) = ($workspace->journal(path => '/api/2.2/jobs/update'))[0];
is_deeply([ sort keys %{ json($sent->{body}) } ], [qw(job_id new_settings)], 'what is not given is not sent');

# Nulls that the user wrote are his own: only ours are left out.
sql(qq{SELECT databricks.update_job($id, '{"description": null, "tags": {"a": "b"}}')});
($sent) = ($workspace->journal(path => '/api/2.2/jobs/update'))[-1];
like($sent->{body}, qr/"description":null/, 'nulls in the settings are sent');

sql(qq{SELECT databricks.reset_job($id, '{"name": "fresh", "tasks": [{"task_key": "only", "notebook_task": {"notebook_path": "/Shared/x"}}]}')});
$job = stored($id);
is($job->{settings}{name}, 'fresh', 'reset_job replaces all settings');
ok(!exists $job->{settings}{description} && !$job->{settings}{timeout_seconds}, '... whatever there was');

sql("SELECT databricks.delete_job($id)");
ok(!eval { stored($id); 1 }, 'delete_job deletes');
foreach my $call ("get_job($id)", "delete_job($id)", "update_job($id, '{\"name\": \"x\"}')",
	"reset_job($id, '{\"name\": \"x\"}')", "run_now($id)")
{
	is(sql_error($node, "SELECT databricks.$call")->{state}, '42704', "$call: there is no such job any more (case 29)");
}

# Acts at once.
sql(q{BEGIN; SELECT databricks.create_job('{"name": "rolled back", "tasks": []}'); ROLLBACK});
is(scalar(@{ $workspace->api('GET', '/api/2.2/jobs/list', { name => 'rolled back' })->{jobs} }), 1, 'ROLLBACK undoes nothing of it, as documented');

my $mark = $workspace->mark;
is(sql_error($node, q{SELECT databricks.create_job('{"tasks": []}')})->{state}, '22023', 'a job without a name is refused (case 22)');
is(scalar($workspace->journal(since => $mark)), 0, '... before anything is sent');
is(sql_error($node, q{SELECT databricks.create_job('{"name": "x", "max_concurrent_runs": 5000}')})->{state},
	'HV000', 'what the service refuses is an error');

# --- names (case 26) ----------------------------------------------------------------------

my %named = map { $_ => $workspace->create_job(name => $_) }
  ('Daily', 'daily', 'with "quotes" & more', 'x' x 400, '12 monkeys');
$named{twice1} = $workspace->create_job(name => 'twice');
$named{twice2} = $workspace->create_job(name => 'twice');
foreach my $name ('Daily', 'daily', 'with "quotes" & more', 'x' x 400, '12 monkeys')
{
	is(sql("SELECT databricks.find_job('$name')"), $named{$name}, 'find_job: ' . substr($name, 0, 30) . ' (case 26)');
}
my $error = sql_error($node, q{SELECT databricks.find_job('DAILY')});
is($error->{state}, '42704', 'find_job: a name that differs by case is another one (case 26)');
like($error->{message}, qr/no job named "DAILY" in workspace "prod"/, '... the message names it');
is(sql_error($node, q{SELECT databricks.find_job('daily ')})->{state}, '42704', '... so does a blank');
is(sql_error($node, q{SELECT databricks.find_job('dail')})->{state}, '42704', '... a part of a name is none');
$error = sql_error($node, q{SELECT databricks.find_job('twice')});
is($error->{state}, '42725', 'find_job: several jobs of a name are an error (case 26)');
like($error->{detail}, qr/\b$named{twice1}\b/, '... that lists the ids');
like($error->{detail}, qr/\b$named{twice2}\b/, '... all of them');
$mark = $workspace->mark;
is(sql(q{SELECT databricks.find_job('0042')}), '42', 'digits alone are an id (case 26)');
is(scalar($workspace->journal(since => $mark)), 0, '... for which nobody is asked');
sql(q{SELECT databricks.find_job('daily')});
is(($workspace->journal)[-1]{query}, 'name=daily&limit=100', 'a name is looked for by the service');
sql(q{SELECT databricks.find_job('with "quotes" & more')});
like(($workspace->journal)[-1]{query}, qr/^name=with%20%22quotes%22%20%26%20more&/, '... escaped');

# Many jobs of names that differ only by case, over several pages.
my @pages = map { my $page = $_; [ map { { job_id => $page * 100 + $_, settings => { name => $_ % 2 ? 'MANY' : 'Many' } } } 1 .. 100 ] } 1 .. 3;
$pages[1][50]{settings}{name} = 'many';
$workspace->post('faults', { path => '/api/2.2/jobs/list', kind => 'status', status => 200,
		json => { jobs => $pages[$_], $_ < 2 ? (next_page_token => "t$_") : () } }) foreach 0 .. 2;
$mark = $workspace->mark;
is(sql(q{SELECT databricks.find_job('many')}), '251', 'find_job reads all pages');
is(scalar($workspace->journal(since => $mark)), 3, '... to the last, as there may be another one of that name');

# A job that shows on two pages, as rows may when something changes meanwhile.
my @twin = ({ job_id => 5, settings => { name => 'twin' } });
$workspace->post('faults', { path => '/api/2.2/jobs/list', kind => 'replace', json => { jobs => \@twin, next_page_token => 't' } });
$workspace->post('faults', { path => '/api/2.2/jobs/list', kind => 'replace', json => { jobs => \@twin } });
is(sql(q{SELECT databricks.find_job('twin')}), '5', 'a job that shows twice is one job');

# --- 64 bits (case 28) -----------------------------------------------------------------------

foreach my $big ('9223372036854775807', '9007199254740993')
{
	$workspace->post('faults', { path => '/api/2.2/jobs/create', kind => 'replace', text => "{\"job_id\": $big}" });
	is(sql(q{SELECT databricks.create_job('{"name": "big", "tasks": []}')}), $big, "create_job gives $big (case 28)");
	$workspace->post('faults', { path => '/api/2.2/jobs/get', kind => 'status', status => 200, text => "{\"job_id\": $big, \"settings\": {\"name\": \"big\"}}" });
	is(sql("SELECT databricks.get_job($big) ->> 'job_id'"), $big, '... get_job reads it');
	is(($workspace->journal)[-1]{query}, "job_id=$big", '... and asks for it');
	$workspace->post('faults', { path => '/api/2.2/jobs/list', kind => 'status', status => 200, text => "{\"jobs\": [{\"job_id\": $big, \"settings\": {\"name\": \"big\"}}]}" });
	is(sql(q{SELECT databricks.find_job('big')}), $big, '... find_job finds it');
	$workspace->post('faults', { path => '/api/2.2/jobs/list', kind => 'status', status => 200, text => "{\"jobs\": [{\"job_id\": $big, \"settings\": {\"name\": \"big\"}}]}" });
	is(sql(q{SELECT job_id FROM databricks.jobs}), $big, '... the foreign table shows it');
	foreach my $call ("update_job($big, '{\"name\": \"x\"}')", "reset_job($big, '{\"name\": \"x\"}')", "delete_job($big)")
	{
		sql_error($node, "SELECT databricks.$call");
		like(($workspace->journal)[-1]{body}, qr/"job_id":$big[,}]/, "... and $call sends it");
	}
}

$node->stop;
done_testing();
