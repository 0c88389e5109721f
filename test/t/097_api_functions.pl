# The list of functions against the catalog: complete, with calls that exist; and
# of every function that changes something: refused in a read-only transaction
# and without rights, before anything is sent.

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

# Complete

my $members = q{SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid
	AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'databricks'};
is(sql("SELECT string_agg(f::text, ', ') FROM (($members EXCEPT ALL SELECT function FROM databricks.api_functions)
	UNION ALL (SELECT function FROM databricks.api_functions EXCEPT ALL $members)) AS x(f)"), '', 'the list is that of the catalog');
cmp_ok(sql('SELECT count(*) FROM databricks.api_functions'), '>', 90, '... which is long');
is(sql('SELECT string_agg(function::text, E\'\n\') FROM databricks.api_functions WHERE description IS NULL'), '', 'each is described');

# Whoever takes a workspace says what it calls there; a function of the API ends with it.
is(sql(q{SELECT string_agg(function::text, E'\n' ORDER BY 1) FROM databricks.api_functions
	WHERE takes_workspace AND rest_calls = '{}' AND description !~ 'Calls nothing|Makes no call'
	  AND function::text !~ '^databricks\.(api|api_.*|pause_workspace|resume_workspace|untrack|check_connection|connect|_.*|.*schedule.*|cancel_request|retry_request|report|gantt|metrics|.*_unlocked|stat_.*|pause_reason)\('}),
	'', 'each says which calls it makes');
is(sql(q{SELECT string_agg(a.function::text, E'\n') FROM databricks.api_functions AS a JOIN pg_proc AS p ON p.oid = a.function
	WHERE takes_workspace AND rest_calls <> '{}' AND proargnames[pronargs] <> 'workspace'
	  AND function::text !~ '\.(_|track|connect|report)'}), '', '... and ends with the workspace');

# The calls exist.
my %routes;
foreach my $call (split /\n/, sql('SELECT DISTINCT unnest(rest_calls) FROM databricks.api_functions'))
{
	my ($method, $path) = split / /, $call;
	$path =~ s/\{path\}/\/Volumes\/main\/default\/landing\/x/;
	$path =~ s/\{object_type\}/clusters/;
	$path =~ s/\{[a-z_]+\}/1/g;
	my $answer = $workspace->{http}->request($method, $workspace->url . $path,
		{ headers => { Authorization => 'Bearer dapi-standin-admin' }, content => $method =~ /GET|HEAD/ ? '' : '{}' });
	$routes{$call} = $answer->{status} unless $method eq 'HEAD' || $answer->{content} !~ /ENDPOINT_NOT_FOUND|Bad Target/;
}
is_deeply(\%routes, {}, 'every call in the list is one of the API');

# Arguments that pass all checks, by name or else by type.
my %named = (
	settings => q('{"name": "j", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/x"}}]}'),
	new_settings => q('{"name": "j"}'), path => q('dbfs:/x/y'), source => q('dbfs:/x/y'), destination => q('dbfs:/x/z'),
	object_type => q('clusters'), object_id => q('c'), access_control_list => q('[]'), permission => q('READ'),
	run_ids => q('{1}'), query => q('SELECT 1'), method => q('POST'), language => q('SQL'), num_workers => '1', branch => q('main'),
	job_name => q('1'), calls => q('[{"method": "POST", "path": "/api/2.0/x"}]'), update_mask => q('*'));
my %typed = (int8 => '1', int4 => '1', text => q('1'), jsonb => q('{}'), bytea => q('x'), bool => 'true');
my $functions = json(sql(q{SELECT json_agg(json_build_object('name', p.proname, 'function', function, 'types',
		(SELECT json_agg(t.typname ORDER BY o) FROM unnest(p.proargtypes) WITH ORDINALITY AS u(o_id, o) JOIN pg_type AS t ON t.oid = u.o_id),
		'names', p.proargnames, 'given', p.pronargs - p.pronargdefaults, 'args', p.pronargs, 'record', p.prorettype = 'record'::regtype AND p.proallargtypes IS NULL) ORDER BY 1)
	FROM databricks.api_functions AS a JOIN pg_proc AS p ON p.oid = a.function
	WHERE changes_something AND takes_workspace AND kind = 'function' AND description !~ 'by the worker'}));
cmp_ok(scalar @$functions, '>', 50, 'many functions change something');
sql('CREATE ROLE plain LOGIN; CREATE ROLE user_only LOGIN; GRANT USAGE ON FOREIGN SERVER prod TO user_only');
my $mark = $workspace->mark;
foreach my $f (@$functions)
{
	# defaults that have to be given are named above
	my @args;
	foreach my $i (0 .. $f->{args} - 1)
	{
		my ($name, $type) = ($f->{names}[$i], $f->{types}[$i]);
		next if $name eq 'workspace' || ($i >= $f->{given} && $name !~ /^(?:num_workers|branch|new_settings)$/);
		my $value = $named{$name} // $typed{$type};
		$value = q('/Repos/a/b') if $name eq 'path' && $f->{name} =~ /repo/;
		$value = q('1') if $name eq 'path' && $f->{name} =~ /_repo/ && $f->{name} ne 'create_repo';
		push @args, "$name => $value" . ($type eq 'bytea' ? '::bytea' : $type eq 'text' ? '::text' : $type eq 'int8' ? '::int8' : '');
	}
	my $call = "SELECT * FROM databricks.$f->{name}(" . join(', ', @args) . ')' . ($f->{record} ? ' AS t(a int)' : '');
	next if $f->{name} =~ /^(?:set_job_pause|pause_job|resume_job|upsert_job|repair_run|run_and_wait|ensure_cluster_is_running|wait_.*|await_.*|job_access_list|api_many|.*request.*|.*schedule.*)$/;
	is(sql_error($node, "BEGIN READ ONLY; $call")->{state}, '25006', "$f->{function}: not in a read-only transaction");
	is(sql_error($node, $call, extra_params => [ '-U', 'plain' ])->{state}, '42501', '... nor without USAGE');
	is(sql_error($node, $call, extra_params => [ '-U', 'user_only' ])->{state}, '28000', '... nor without a user mapping');
}
# those that read first, then change
foreach my $call ("pause_job(1)", "repair_run(1)", q{upsert_job('{"name": "x"}')}, "ensure_cluster_is_running('1')")
{
	is(sql_error($node, "SELECT databricks.$call", extra_params => [ '-U', 'plain' ])->{state}, '42501', "$call: not without USAGE");
}
is(scalar(grep { $_->{method} !~ /GET|HEAD/ } $workspace->journal(since => $mark)), 0, 'nothing of that was sent');

done_testing();
