# Access lists, Git folders and notebooks from SQL.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Access lists

my $job = $workspace->create_job(name => 'j');
my $levels = q{SELECT string_agg(coalesce(e ->> 'group_name', e ->> 'user_name') || '=' || (e #>> '{all_permissions,0,permission_level}'), ' ')
	FROM jsonb_array_elements(%s -> 'access_control_list') AS e
	WHERE NOT (e #>> '{all_permissions,0,inherited}')::bool};

sub levels { return sql(sprintf($levels, "databricks.$_[0]")); }

is(levels("get_permissions('jobs', '$job')"), 'harness@example.com=IS_OWNER', 'the list of a new job');
is( levels(
		qq{update_permissions('jobs', '$job', '[{"group_name": "analysts", "permission_level": "CAN_VIEW"}]')}),
	'harness@example.com=IS_OWNER analysts=CAN_VIEW',
	'an update leaves the others (case 63)');
is( levels(
		qq{set_permissions('jobs', '$job', '[{"user_name": "etl\@example.com", "permission_level": "IS_OWNER"}]')}),
	'etl@example.com=IS_OWNER',
	'set replaces them (case 63)');
is(sql("SELECT string_agg(permission_level, ' ') FROM databricks.get_permission_levels('jobs', '$job')"),
	'CAN_VIEW CAN_MANAGE_RUN CAN_MANAGE IS_OWNER', 'the levels of a job');

my $mark = $workspace->mark;
my %bad = (
	qq{update_permissions('jobs', '$job', '[{"group_name": "a", "permission_level": "CAN_RUN"}]')} =>
	  qr/Levels of jobs: CAN_VIEW, CAN_MANAGE_RUN, CAN_MANAGE, IS_OWNER/,
	q{get_permissions('job', '1')} => qr/Types that have one: .*clusters.*jobs.*warehouses/,
	q{get_permission_levels('tables', '1')} => qr/Types that have one/,
	qq{update_permissions('jobs', '$job', '[{"permission_level": "CAN_VIEW"}]')} => qr/exactly one of user_name/,
	qq{update_permissions('jobs', '$job', '[{"user_name": "a", "group_name": "b", "permission_level": "CAN_VIEW"}]')} =>
	  qr/exactly one of user_name/,
	qq{update_permissions('jobs', '$job', '[{"group_name": "a", "permission_level": "IS_OWNER"}]')} =>
	  qr/group cannot be the owner/,
	qq{set_permissions('jobs', '$job', '[{"group_name": "a", "permission_level": "CAN_VIEW"}]')} =>
	  qr/needs an entry with IS_OWNER/,
	qq{set_permissions('jobs', '$job', '{}')} => qr/must be an array/,
	qq{update_permissions('clusters', 'c', '[{"group_name": "a"}]')} => qr/Levels of clusters: CAN_ATTACH_TO/);
foreach my $call (sort keys %bad)
{
	my $error = sql_error($node, "SELECT databricks.$call");
	is($error->{state}, '22023', "refused: $call");
	like("$error->{detail}$error->{hint}", $bad{$call}, '... and why');
}
is($workspace->calls(since => $mark), 0, 'nothing of that was sent');

is(sql_error($node, q{SELECT databricks.get_permissions('jobs', '5')})->{state}, '42704', 'no such job');
is(sql_error($node, q{SELECT databricks.get_permissions('jobs', NULL)})->{state}, '22004', 'null');
is(levels("get_permissions('sql/warehouses', '1234567890abcdef')"), 'admin@example.com=IS_OWNER',
	'types of two words');
# Who may use tokens is one list for the whole workspace, without an id of its own.
is(levels(q{update_permissions('authorization', 'tokens', '[{"group_name": "analysts", "permission_level": "CAN_USE"}]')}), 'analysts=CAN_USE', 'who may use tokens');
is(levels(q{get_permissions('authorization/tokens', 'tokens')}), 'analysts=CAN_USE', '... in one word');
is($workspace->calls(path => '/api/2.0/permissions/authorization/tokens'), 2, '... are calls of the same path');
is(sql(q{SELECT string_agg(permission_level, ' ') FROM databricks.get_permission_levels('authorization', 'passwords')}), 'CAN_USE', '... and passwords');
like(sql_error($node, q{SELECT databricks.get_permissions('authorization', 'doors')})->{hint}, qr{authorization/tokens}, '... nothing else');
connect_workspace($node, $workspace, name => 'none', token => 'dapi-standin-none');
is(sql_error($node, "SELECT databricks.get_permissions('jobs', '$job', 'none')")->{state}, '42501',
	'who sees nothing is told so');

# Git folders

my $repo = sql(q{SELECT databricks.create_repo('https://git.example.com/team/etl.git', 'gitHub', '/Repos/prod/etl')});
like($repo, qr/^\d+$/, 'create_repo returns the id');
sub branch { return $workspace->api('GET', "/api/2.0/repos/$repo")->{branch} // 'none'; }
sql("SELECT databricks.update_repo($repo, 'release')");
is(branch(), 'release', 'a branch by id (case 64)');
sql(q{SELECT databricks.update_repo('/Repos/prod/etl', branch => 'main')});
is(branch(), 'main', 'a branch by path (case 64)');
sql(q{SELECT databricks.update_repo('/Workspace/Repos/prod/etl', tag => 'v1')});
is(branch(), 'none', 'a tag (case 64)');
sql("SELECT databricks.update_repo('$repo', 'main')");
is(branch(), 'main', 'a text of digits alone is an id');
is(sql(q{SELECT databricks.find_repo('/Repos/prod/etl')}), $repo, 'found by path (case 64)');
is(sql(q{SELECT databricks.find_repo('/Repos/prod/none') IS NULL}), 't', 'not found is null (case 64)');
is(sql_error($node, q{SELECT databricks.find_repo('/Shared')})->{state}, '22023', 'a path of something else');
$workspace->post('faults', { path => '/api/2.0/workspace/get-status', kind => 'replace', json => { object_type => 'DIRECTORY', object_id => 77, directory_info => { is_git_folder => JSON::PP::true } } });
is(sql(q{SELECT databricks.find_repo('/Users/me@example.com/etl')}), 77, 'a Git folder that is called a directory');
$workspace->post('faults', { path => '/api/2.0/workspace/get-status', kind => 'status', status => 500, count => 1 });
is(sql_error($node, q{SELECT databricks.find_repo('/Repos/prod/etl')})->{state}, 'HV000', 'another error is one (case 64)');
$mark = $workspace->mark;
foreach my $args ('', q{, 'a', 'b'})
{
	is(sql_error($node, "SELECT databricks.update_repo($repo$args)")->{state}, '22023', "branch xor tag: $args (case 64)");
}
is($workspace->calls(since => $mark), 0, '... nothing was sent');
$workspace->post('repos', { missing_branches => ['gone'], dirty => ['/Repos/prod/etl'] });
is(sql_error($node, "SELECT databricks.update_repo($repo, 'gone')")->{state}, '42704', 'no such branch');
like(sql_error($node, "SELECT databricks.update_repo($repo, 'main')")->{message}, qr/local changes/, 'local changes are in the way');
is(sql_error($node, q{SELECT databricks.update_repo('/Repos/x/y', 'main')})->{state}, '42704', 'no folder of this path');
like(sql_error($node, q{SELECT databricks.create_repo('https://git.example.com/t/e.git', 'svn')})->{message},
	qr/Allowed values: gitHub/, 'a provider the service does not know');
sql(q{SELECT databricks.delete_repo('/Repos/prod/etl')});
is(sql_error($node, "SELECT databricks.delete_repo($repo)")->{state}, '42704', 'deleted');

# Notebooks

sql(q{SELECT databricks.import_notebook('/Shared/report', E'print(1)\n# \u00e9', 'PYTHON')});
is(sql(q{SELECT databricks.export_notebook('/Shared/report')}),
	"# Databricks notebook source\nprint(1)\n# \x{c3}\x{a9}", 'a notebook goes in and out');
like(sql_error($node, q{SELECT databricks.import_notebook('/Shared/report', 'x')})->{message},
	qr/already exists/, 'it is not overwritten');
sql(q{SELECT databricks.import_notebook('/Shared/report', repeat('select 1; ', 1000), 'SQL', true)});
is(sql(q{SELECT length(databricks.export_notebook('/Shared/report'))}), 10000 + 30, '... unless asked for');
is(sql_error($node, q{SELECT databricks.import_notebook('/Shared/x', 'x', 'COBOL')})->{state}, '22023', 'another language');
is(sql_error($node, q{SELECT databricks.import_notebook('/Shared/none/x', 'x')})->{state}, '42704', 'no such folder');
is(sql_error($node, q{SELECT databricks.export_notebook('/Shared/none')})->{state}, '42704', 'no such notebook');

done_testing();
