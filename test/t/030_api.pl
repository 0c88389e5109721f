# 030_api.pl - any call of the REST API from SQL: what goes out and what comes
# back. Acceptance cases 3, 19, 28.

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

sub literal
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

# What the last of some requests looked like. Unknown paths are answered with {}.
$workspace->post('faults',
	{ path => '/api/2.0/echo*', kind => 'status', status => 200, text => '{}', count => undef });

sub sent
{
	my ($method, $path, $body) = @_;
	my $mark = $workspace->mark;
	my $result = sql(sprintf('SELECT databricks.api(%s, %s, %s)',
			map { literal($_) } $method, $path, $body));
	my @entries = $workspace->journal(since => $mark);
	is(scalar(@entries), 1, "$method $path: one request");
	$entries[0]{result} = $result;
	return $entries[0];
}

# --- query strings (case 19) --------------------------------------------------------

foreach my $case (
	[ '{}', '' ],
	[ undef, '' ],
	[ '{"a": 1}', 'a=1' ],
	[ '{"a": "x", "b": true, "c": false}', 'a=x&b=true&c=false' ],
	[ '{"a": null, "b": 1, "c": {"d": null}}', 'b=1' ],
	[ '{"a": [1, 2, 3]}', 'a=1&a=2&a=3' ],
	[ '{"a": []}', '' ],
	[ '{"a": [null, "", "x"]}', 'a=&a=x' ],
	[ '{"a": {"b": 1, "c": {"d": "x"}}}', 'a.b=1&a.c.d=x' ],
	[ '{"a": {"b": ["x", "y"]}}', 'a.b=x&a.b=y' ],
	[ '{"a": [{"b": 1}, {"b": 2}]}', 'a.b=1&a.b=2' ],
	[ '{"a": "b c&d=e+f/g?h#i%j\"k"}', 'a=b%20c%26d%3De%2Bf%2Fg%3Fh%23i%25j%22k' ],
	[ '{"a b": "x", "c&d": "y"}', 'a%20b=x&c%26d=y' ],
	[ "{\"n\xc3\xb6\": \"\xc3\xbc\xe4\xb8\xad\xf0\x9f\x98\x80\"}", 'n%C3%B6=%C3%BC%E4%B8%AD%F0%9F%98%80' ],
	[ '{"a": "-._~AZaz09"}', 'a=-._~AZaz09' ],
	[ '{"a": "x\ny"}', 'a=x%0Ay' ],
	[ '{"a": 9223372036854775807, "b": -9223372036854775808, "c": 9007199254740993}',
		'a=9223372036854775807&b=-9223372036854775808&c=9007199254740993' ],
	[ '{"a": 1.50, "b": 1e3, "c": 123456789012345678901234567890.123456789}',
		'a=1.50&b=1000&c=123456789012345678901234567890.123456789' ])
{
	my ($body, $query) = @$case;
	my $entry = sent('GET', '/api/2.0/echo', $body);
	is($entry->{query} || '', $query, 'query of ' . (defined $body ? $body : 'nothing') . ' (case 19)');
}

# The calls that the vendor's library makes in its own tests of such things.
foreach my $case (
	[ 'GET', '/api/2.0/echo/get_string/123/true', undef, '', '' ],
	[ 'GET', '/api/2.0/echo/get_string/456/false',
		'{"field_mask": "field.mask.value", "query_param_bool": true, "query_param_int": 999, "query_param_string": "query_string_val"}',
		# in the order of jsonb
		'field_mask=field.mask.value&query_param_int=999&query_param_bool=true&query_param_string=query_string_val', '' ],
	[ 'GET', '/api/2.0/echo/get_string/789/true',
		'{"optional_complex_query_param": {"nested_optional_query_param": "nested_optional"}}',
		'optional_complex_query_param.nested_optional_query_param=nested_optional', '' ],
	[ 'GET', '/api/2.0/echo/get_string/202/true',
		'{"optional_complex_query_param": {"nested_repeated_query_param": ["item1", "item2", "item3"]}}',
		join('&', map { "optional_complex_query_param.nested_repeated_query_param=item$_" } 1 .. 3), '' ],
	[ 'PATCH', '/api/2.0/echo/update_string/789/true?repeated_query_param=item1&repeated_query_param=item2', '{"body_field": "x"}',
		'repeated_query_param=item1&repeated_query_param=item2', '{"body_field":"x"}' ],
	[ 'POST', '/api/2.0/echo/sync_string/123/true/state:sync', undef, '', '{}' ],
	[ 'PUT', '/api/2.0/echo/put', '{"a": [1, null, {"b": false}]}', '', '{"a":[1,null,{"b":false}]}' ],
	[ 'DELETE', '/api/2.0/echo/alerts/alertId', '{"purge": true}', 'purge=true', '' ],
	[ 'DELETE', '/api/2.0/echo/alerts/alertId', undef, '', '' ],
	[ 'GET', '/api/2.0/echo?given=1', '{"more": 2}', 'given=1&more=2', '' ],
	[ 'post', '/api/2.0/echo/lower', '{"a": 1}', '', '{"a":1}' ])
{
	my ($method, $path, $body, $query, $out) = @$case;
	my $entry = sent($method, $path, $body);
	my ($plain) = $path =~ /^([^?]*)/;
	is("$entry->{method} $entry->{path}", uc($method) . " $plain", "$method $path: the request (case 19)");
	is($entry->{query} || '', $query, '... its query');
	is($entry->{body} || '', $out, '... its body');
	my %header = map { lc($_) => $entry->{headers}{$_} } keys %{ $entry->{headers} };
	is($header{'content-type'}, $out eq '' ? undef : 'application/json', '... its type');
	ok(!defined $header{'content-length'} || $header{'content-length'} == length $out, '... its length');
	is($entry->{result}, '{}', '... and its answer');
}
is(sent('HEAD', '/api/2.0/echo')->{result}, '{}', 'HEAD has an empty answer');

# --- headers (case 3) --------------------------------------------------------------------

my $entry = sent('GET', '/api/2.0/echo');
my %header = map { lc($_) => $entry->{headers}{$_} } keys %{ $entry->{headers} };
my ($version) = slurp_file(source_tree() . '/databricks.control') =~ /default_version = '([^']+)'/;
my $server = sql('SHOW server_version');
$server =~ s/ .*//;
like($header{'user-agent'}, qr{^databricks-postgresql/\Q$version\E postgresql/\Q$server\E.* auth/pat function/api$},
	'User-Agent names product, versions, kind of credential and function (case 3)');
like($header{'accept-encoding'}, qr/gzip/, 'compressed answers are welcome');
is($header{accept}, 'application/json', 'JSON is asked for');
is($entry->{user}, 'admin@example.com', 'the token was sent');
is(scalar(grep { lc eq 'authorization' } keys %{ $entry->{headers} }), 1, '... once');

# Questions share a connection, changes have their own.
my $mark = $workspace->mark;
sql(q{SELECT databricks.api('GET', '/api/2.0/echo'); SELECT databricks.api('GET', '/api/2.0/echo');
	SELECT databricks.api('POST', '/api/2.0/echo'); SELECT databricks.api('GET', '/api/2.0/echo')});
my @connections = map { $_->{connection} } $workspace->journal(since => $mark);
is($connections[0], $connections[1], 'the connection is kept for the next question');
isnt($connections[2], $connections[1], 'a change goes over a connection of its own, so that nothing is sent twice unseen');

# --- numbers and texts, both ways (case 28) -------------------------------------------------

my $exact = '{"a":9223372036854775807,"b":-9223372036854775808,"c":9007199254740993,"d":0.10,'
  . '"e":123456789012345678901234567890.5,"f":100000000000000000000,"g":[true,false,null,""]}';
$entry = sent('POST', '/api/2.0/echo', $exact);
is($entry->{body}, $exact, 'numbers go out as they were given (case 28)');
$workspace->post('faults', { path => '/api/2.0/answer', kind => 'status', status => 200, count => undef,
		text => '{"a": 9223372036854775807, "b": -9223372036854775808, "c": 9007199254740993, "d": 0.10, "e": 1E+2, "f": -0, "g": 12345678901234567890123, "h": "A\u00e9\ud83d\ude00\u0000x"}' });
is( sql(q{SELECT databricks.api('GET', '/api/2.0/answer') - 'h'}),
	'{"a": 9223372036854775807, "b": -9223372036854775808, "c": 9007199254740993, "d": 0.10, "e": 100, "f": 0, "g": 12345678901234567890123}',
	'... and come back as they were sent (case 28)');
is(sql(q{SELECT (databricks.api('GET', '/api/2.0/answer') ->> 'a')::bigint}), '9223372036854775807', '... to the last digit');
is(sql(q{SELECT databricks.api('GET', '/api/2.0/answer') ->> 'h' = U&'A\00E9\+01F600\FFFDx'}), 't',
	'so do texts, a zero byte as the replacement character');
$entry = sent('POST', '/api/2.0/echo', "{\"a\": \"\xc3\xa9\xf0\x9f\x98\x80\\n\\t\\\"\\\\\"}");
is($entry->{body}, "{\"a\":\"\x{e9}\x{1f600}\\n\\t\\\"\\\\\"}", 'texts go out as UTF-8');
$entry = sent('POST', '/api/2.0/echo', '{"a": "' . ('x' x 100_000) . '"}');
is({ map { lc($_) => $entry->{headers}{$_} } keys %{ $entry->{headers} } }->{'content-length'}, 100_008, 'long bodies go out whole');

# --- where nothing may be changed -----------------------------------------------------------

$workspace->post('faults', { path => '/api/2.1/clusters/events', kind => 'status', status => 200, text => '{"events": [1]}', count => undef });
foreach my $how ('BEGIN READ ONLY', 'SET default_transaction_read_only = on')
{
	is(sql(qq{$how; SELECT databricks.api('POST', '/api/2.1/clusters/events', '{"cluster_id": "x"}') -> 'events'}),
		'[1]', "$how: a POST that only asks is allowed");
	is(sql(qq{$how; SELECT databricks.api('GET', '/api/2.0/echo'); SELECT count(*) FROM databricks.jobs}), "{}\n0", '... questions and foreign tables are');
	$mark = $workspace->mark;
	foreach my $change (
		q{api('POST', '/api/2.0/echo')}, q{api('PUT', '/api/2.0/echo')}, q{api('PATCH', '/api/2.0/echo')}, q{api('DELETE', '/api/2.0/echo')},
		q{api('POST', '/api/2.1/clusters/events/more')}, q{api('POST', '/api/2.1/clusters/start')},
		q{run_now(1)}, q{delete_job(1)}, q{create_job('{"name": "x"}')}, q{cancel_run(1)}, q{run_and_wait(1)})
	{
		is(sql_error($node, "$how; SELECT databricks.$change")->{state}, '25006', "... $change is refused");
	}
	is(scalar($workspace->journal(since => $mark)), 0, '... before anything is sent');
}

# --- whose rights count -------------------------------------------------------------------

sql(q{
	CREATE ROLE starter;
	CREATE ROLE owner_of_jobs;
	GRANT USAGE ON FOREIGN SERVER prod TO owner_of_jobs;
	CREATE USER MAPPING FOR owner_of_jobs SERVER prod OPTIONS (token 'dapi-standin-runner');
	CREATE FUNCTION who(path text) RETURNS text LANGUAGE sql
		RETURN databricks.api('GET', path) ->> 'userName';
	CREATE FUNCTION who_definer(path text) RETURNS text LANGUAGE sql SECURITY DEFINER
		RETURN databricks.api('GET', path) ->> 'userName';
	ALTER FUNCTION who_definer(text) OWNER TO owner_of_jobs;});
my $me = q{('/api/2.0/preview/scim/v2/Me')};
is(sql("SELECT who$me"), 'admin@example.com', 'a call is made as the current role');
is(sql("SET ROLE starter; SELECT who_definer$me"), 'runner@example.com', 'a SECURITY DEFINER function lends its owner\'s rights');
is(sql_error($node, "SET ROLE starter; SELECT who$me")->{state}, '42501', '... without which there are none');

# --- in any place of a query ------------------------------------------------------------------

my $job = $workspace->create_job(name => 'one');
is(sql(qq{SELECT count(*), count(DISTINCT databricks.get_job($job) ->> 'job_id') FROM generate_series(1, 3)}), '3|1', 'one call for each row');
is( sql(qq{
		PREPARE p(bigint) AS SELECT databricks.get_job(\$1) #>> '{settings,name}';
		EXECUTE p($job); EXECUTE p($job); EXECUTE p($job); EXECUTE p($job); EXECUTE p($job); EXECUTE p($job); EXECUTE p($job)}),
	join("\n", ('one') x 7), 'prepared, with custom and generic plans');
is( sql(qq{
		DO \$\$
		DECLARE
			name text;
		BEGIN
			FOR i IN 1 .. 3 LOOP
				SELECT databricks.get_job($job) #>> '{settings,name}' INTO name;
				COMMIT;
			END LOOP;
			ASSERT name = 'one';
		END \$\$; SELECT 'done'}), 'done', 'in PL/pgSQL between commits');

$node->stop;
done_testing();
