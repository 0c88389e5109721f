# The list of functions against the catalog: complete, with calls that exist. What
# each of these functions does with its calls: 100_function_matrix.pl.

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

done_testing();
