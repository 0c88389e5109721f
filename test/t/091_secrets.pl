# Secrets from SQL: scopes, values of both kinds, rights, and that no value is
# ever seen in the log.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "log_min_messages = debug1\nlog_error_verbosity = verbose\n");
connect_workspace($node, $workspace);

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return sql_error($node, $_[0])->{state}; }

sql(q{SELECT databricks.create_secret_scope('etl')});
sql(q{SELECT databricks.create_secret_scope('all', initial_manage_principal => 'users')});
is(json(($workspace->journal(path => '/api/2.0/secrets/scopes/create'))[1]->{body})->{initial_manage_principal},
	'users', 'the first manager is sent');
my $error = sql_error($node, q{SELECT databricks.create_secret_scope('etl')});
like($error->{message}, qr/Scope etl already exists/, 'a scope that exists');

# Values
my $text = "open \"sesame\" \x{c3}\x{a9}";
sql("SELECT databricks.put_secret('etl', 'text', '$text')");
is(sql(q{SELECT databricks.get_secret('etl', 'text')}), $text, 'a text comes back as it was');
sql(q{SELECT databricks.put_secret('etl', 'bytes', '\x00ff10'::bytea)});
is(sql(q{SELECT databricks.get_secret_bytes('etl', 'bytes')}), '\x00ff10', 'bytes come back as they were (case 62)');
is(state_of(q{SELECT databricks.get_secret('etl', 'bytes')}), '22021', 'bytes that are no text');
sql(q{SELECT databricks.put_secret('etl', 'empty', '')});
is(sql(q{SELECT databricks.get_secret('etl', 'empty') = ''}), 't', 'an empty value');
$workspace->post('faults', { path => '/api/2.0/secrets/get', kind => 'replace', json => {} });
is(state_of(q{SELECT databricks.get_secret('etl', 'empty')}), 'HV00M', '... which an answer that says nothing is not');
sql(q{SELECT databricks.put_secret('etl', 'long', repeat('x', 131072))});
is(sql(q{SELECT length(databricks.get_secret('etl', 'long'))}), 131072, 'the longest value');
is(state_of(q{SELECT databricks.put_secret('etl', 'long', repeat('x', 131073))}),
	'54000', 'one byte more is refused before it is sent');

# From a table, in one statement
sql(q{CREATE TABLE passwords (name text, value text)});
sql(q{INSERT INTO passwords SELECT 'p' || n, 'value-from-table-' || n FROM generate_series(1, 3) AS n});
sql(q{SELECT databricks.put_secret('etl', name, value) FROM passwords});
is(sql(q{SELECT string_agg(databricks.get_secret('etl', name), ',' ORDER BY name) FROM passwords}),
	'value-from-table-1,value-from-table-2,value-from-table-3', 'secrets out of a table');

# Rights
sql(q{SELECT databricks.put_secret_acl('etl', 'analysts', 'READ')});
is_deeply(
	[   map { $_->{permission} }
		  grep { $_->{principal} eq 'analysts' }
		  @{ $workspace->api('GET', '/api/2.0/secrets/acls/list', { scope => 'etl' })->{items} } ],
	['READ'], 'a right is given');
$error = sql_error($node, q{SELECT databricks.put_secret_acl('etl', 'analysts', 'ADMIN')});
is($error->{state}, '22023', 'a right that does not exist');
is($error->{hint}, 'Valid are READ, WRITE, MANAGE.', '... with those that do');

connect_workspace($node, $workspace, name => 'etl', token => 'dapi-standin-etl');
is(sql(q{SELECT databricks.get_secret('etl', 'p1', 'etl')}), 'value-from-table-1', 'who may read, reads');
is(state_of(q{SELECT databricks.put_secret('etl', 'p1', 'xxxxxx', 'etl')}), '42501', '... but does not write');
sql(q{SELECT databricks.delete_secret_acl('etl', 'analysts')});
is(state_of(q{SELECT databricks.get_secret('etl', 'p1', 'etl')}), '42501', 'a right is taken away');
is(state_of(q{SELECT databricks.delete_secret_acl('etl', 'analysts')}), '42704', '... which is not there any more');

# What is not there
foreach my $call ("get_secret('none', 'k')", "get_secret('etl', 'none')", "put_secret('none', 'k', 'vvvvvv')",
	"delete_secret('etl', 'none')", "delete_secret_scope('none')", "put_secret_acl('none', 'p', 'READ')")
{
	is(state_of("SELECT databricks.$call"), '42704', "$call: not found (case 62)");
}
foreach my $call ("get_secret(NULL, 'k')", "put_secret('etl', 'k', NULL::text)", "put_secret('etl', NULL, 'v')",
	"create_secret_scope(NULL)", "put_secret_acl('etl', 'p', NULL)")
{
	is(state_of("SELECT databricks.$call"), '22004', "$call: null");
}
sql(q{SELECT databricks.delete_secret('etl', 'text')});
is(state_of(q{SELECT databricks.get_secret('etl', 'text')}), '42704', 'a secret is deleted');

# A failing statement is logged with the statement: not this one
my $hidden = 'hunter2-never-to-be-seen';
is(state_of("SELECT databricks.put_secret('none', 'k', '$hidden')"), '42704', 'a statement that fails');
is(state_of("SELECT databricks.put_secret('none', 'k', convert_to('$hidden', 'UTF8'))"), '42704', '... with bytes');
like(log_since($node), qr/STATEMENT:  databricks\.put_secret\(\.\.\.\)/, 'it is logged without its text');
$workspace->post('faults', {
	path => '/api/2.0/secrets/put', kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE',
	message => "the value $hidden is bad", count => 1 });
$error = sql_error($node, "SELECT databricks.put_secret('etl', 'k', '$hidden')");
like($error->{message}, qr/the value \*\*\* is bad/, 'a value the service repeats is masked');
sql(q{SELECT databricks.put_secret('etl', 'k', 'shown-nowhere-else')});
is(sql(q{SELECT (databricks.get_secret('etl', 'k') || 'x')::int8 IS NULL WHERE false}), '', 'read, but not shown');
log_lacks($node, 'no value is in the log', $hidden, 'value-from-table-', 'shown-nowhere-else', 'sesame');

sql(q{SELECT databricks.delete_secret_scope('etl')});
is(state_of(q{SELECT databricks.get_secret('etl', 'k')}), '42704', 'a scope is deleted with its secrets');

done_testing();
