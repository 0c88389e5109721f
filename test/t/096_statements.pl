# SQL on a warehouse: types, NULLs, chunks, ends that are no success, cancelling,
# coming back to a statement.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);
my $warehouse = '1234567890abcdef';

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub column { my ($name, $type, %more) = @_; return { name => $name, type_name => $type, %more }; }
sub statements { return @{ $workspace->get('statements')->{statements} }; }

is(sql("SELECT * FROM databricks.query('SELECT 1', '$warehouse') AS t(one int)"), '1', 'a statement (case 59)');
is(sql("SELECT databricks.query_json('SELECT 1', '$warehouse')"), '{"1": 1}', '... as JSON');

# Types and NULLs
my @columns = (
	column('b', 'BOOLEAN'), column('i', 'LONG'), column('d', 'DECIMAL', type_text => 'DECIMAL(10,2)', type_precision => 10, type_scale => 2),
	column('f', 'DOUBLE'), column('s', 'STRING'), column('x', 'BINARY'), column('day', 'DATE'), column('ts', 'TIMESTAMP'),
	column('a', 'ARRAY'), column('m', 'STRUCT'), column('n', 'INT'));
$workspace->post('statements', {
	match => 'types', columns => \@columns,
	rows => [
		[ 'true', '9007199254740993', '12.50', '1.5E10', "it's \"q\" \x{e9}", 'AP8Q', '2026-10-01', '2026-10-01T12:00:00.123Z', '[1,2]', '{"k":"v"}', '7' ],
		[ (undef) x 11 ],
		[ 'false', '-1', '-0.01', 'NaN', '', '', '0001-01-01', '1969-12-31T23:59:59.000Z', '[]', '{}', '0' ] ] });
my $definition = 'b boolean, i bigint, d numeric, f float8, s text, x bytea, day date, ts timestamptz, a jsonb, m jsonb, n int';
is(sql("SET timezone = 'UTC'; SELECT * FROM databricks.query('types', '$warehouse') AS t($definition) LIMIT 1"),
	"t|9007199254740993|12.50|15000000000|it's \"q\" \x{c3}\x{a9}|\\x00ff10|2026-10-01|2026-10-01 12:00:00.123+00|[1, 2]|{\"k\": \"v\"}|7", 'all types');
is(sql("SELECT count(*), count(b), count(s), count(x), count(m), sum(i) FROM databricks.query('types', '$warehouse') AS t($definition)"),
	'3|2|2|2|2|9007199254740992', 'NULLs are none of them (case 59)');
is(sql("SELECT f, length(s), length(x) FROM databricks.query('types', '$warehouse') AS t($definition) WHERE i = -1"), 'NaN|0|0', 'NaN and empty values');
is(sql("SELECT j FROM databricks.query_json('types', '$warehouse') AS j LIMIT 1"),
	qq{{"a": [1, 2], "b": true, "d": 12.50, "f": 15000000000, "i": 9007199254740993, "m": {"k": "v"}, "n": 7, "s": "it's \\"q\\" \x{c3}\x{a9}", "x": "AP8Q", "ts": "2026-10-01T12:00:00.123Z", "day": "2026-10-01"}},
	'... as JSON');
is(sql("SELECT j ->> 'f' FROM databricks.query_json('types', '$warehouse') AS j WHERE j ->> 'i' = '-1'"), 'NaN', 'NaN is a text there');
sql('CREATE TABLE days (i bigint, note text); INSERT INTO days VALUES (9007199254740993, $$local$$)');
is(sql("SELECT note, s.d FROM days JOIN databricks.query('types', '$warehouse') AS s($definition) USING (i)"), 'local|12.50', 'joined with a local table');

$workspace->post('statements', {
	match => 'others',
	columns => [ map { column(@$_) } [ 'y', 'BYTE' ], [ 'h', 'SHORT' ], [ 'f', 'FLOAT' ], [ 'c', 'CHAR' ], [ 'd', 'DECIMAL' ],
		[ 'ntz', 'TIMESTAMP_NTZ' ], [ 'i', 'INTERVAL' ], [ 'm', 'MAP' ], [ 'v', 'VARIANT' ], [ 'z', 'NULL' ] ],
	rows => [ [ '-128', '32767', '0.5', 'ab ', '12345678901234567890123456789.0123456789', '2026-03-29T02:30:00.000001',
			q{INTERVAL '1-2' YEAR TO MONTH}, '{"a":1,"b":null}', '{"k":[1,"two"]}', undef ] ] });
is(sql(q{SET timezone = 'Europe/Berlin'; SELECT * FROM databricks.query('others', '} . $warehouse
		. q{') AS t(y smallint, h smallint, f real, c char(3), d numeric, ntz timestamp, i text, m jsonb, v jsonb, z int)}),
	q[-128|32767|0.5|ab |12345678901234567890123456789.0123456789|2026-03-29 02:30:00.000001|INTERVAL '1-2' YEAR TO MONTH|]
	. q[{"a": 1, "b": null}|{"k": [1, "two"]}|], 'the other types, a time without zone as it is');
is(sql("SELECT databricks.query_json('others', '$warehouse')"),
	q[{"c": "ab ", "d": 12345678901234567890123456789.0123456789, "f": 0.5, "h": 32767, "i": "INTERVAL '1-2' YEAR TO MONTH", ]
	. q["m": {"a": 1, "b": null}, "v": {"k": [1, "two"]}, "y": -128, "z": null, "ntz": "2026-03-29T02:30:00.000001"}], '... as JSON');

# Intervals in both forms the service has; the sign before the days is that of the time, too.
$workspace->post('statements', {
	match => 'intervals', columns => [ map { column($_, 'INTERVAL') } qw(m d) ],
	rows => [ [ '1-2', '3 04:05:06.500000000' ], [ '-1-2', '-3 04:05:06.000000000' ], [ "INTERVAL '-5' MONTH", "INTERVAL '-3 04:05:06.5' DAY TO SECOND" ],
		[ "INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '05:06' MINUTE TO SECOND" ], [ "INTERVAL '7' YEAR", "INTERVAL '3 04' DAY TO HOUR" ], [ undef, undef ] ] });
is(sql("SELECT * FROM databricks.query('intervals', '$warehouse') AS t(m interval, d interval)"), join("\n",
		'1 year 2 mons|3 days 04:05:06.5', '-1 years -2 mons|-3 days -04:05:06', '-5 mons|-3 days -04:05:06.5', '1 year 2 mons|00:05:06', '7 years|3 days 04:00:00', '|'),
	'intervals');
is(sql("SELECT string_agg(d::text, ' ') FROM databricks.query('intervals', '$warehouse') AS t(m text, d interval(0)) WHERE m = '-1-2' OR d IS NULL"),
	'-3 days -04:05:06', '... as the caller declares them');

# Arrays and structures as those of PostgreSQL
sql('CREATE TYPE item AS (id int, tags text[], "No" numeric(4,1))');
$workspace->post('statements', {
	match => 'structures', columns => [ column('a', 'ARRAY'), column('s', 'STRUCT'), column('l', 'ARRAY'), column('n', 'ARRAY') ],
	rows => [ [ '[1,null,"3"]', q({"tags":["a \"b\"","c,d\\\\"],"id":"7","more":true}), q([{"id":1,"No":2.55},null]), '[[1,2],[3,4]]' ], [ '[]', '{}', '[]', '[]' ], [ (undef) x 4 ] ] });
is(sql("SELECT * FROM databricks.query('structures', '$warehouse') AS t(a int[], s item, l item[], n float8[])"), join("\n",
		q(1,NULL,3) =~ s/(.*)/{$1}/r . q(|(7,"{""a \\\\""b\\\\"""",""c,d\\\\\\\\""}",)|{"(1,,2.6)",NULL}|{{1,2},{3,4}}), '{}|(,,)|{}|{}', '|||'), 'arrays and structures');
is(sql("SELECT (s).tags[1], (s).tags[2] FROM databricks.query('structures', '$warehouse') AS t(a jsonb[], s item, l text[], n jsonb) LIMIT 1"), 'a "b"|c,d\\', '... whatever is in them');
is(sql("SELECT a[3], l[1] FROM databricks.query('structures', '$warehouse') AS t(a jsonb[], s text, l text[], n jsonb[]) LIMIT 1"), '"3"|{"id":1,"No":2.55}', '... of JSON');

my $error = sql_error($node, "SELECT * FROM databricks.query('types', '$warehouse') AS t(a int, b int)");
is($error->{state}, '42804', 'another number of columns');
like($error->{detail}, qr/"b" BOOLEAN, "i" LONG/, '... with those that came');
$error = sql_error($node, "SELECT * FROM databricks.query('types', '$warehouse') AS t(" . ($definition =~ s/s text/s int/r) . ')');
is($error->{state}, '22P02', 'a value that is not of the type');

# Chunks
$workspace->post('statements', { match => 'big', generate => 25003, chunk_rows => 1000, running_ms => 300 });
my $mark = $workspace->mark;
is(sql("SELECT count(*), sum(id), min(name), bool_and(name = 'row ' || id) FROM databricks.query('big', '$warehouse') AS t(id bigint, name text)"),
	'25003|312587506|row 1|t', '26 chunks, whole');
is(sql("SELECT bool_and((j ->> 'id')::int = n) FROM databricks.query_json('big', '$warehouse') WITH ORDINALITY AS t(j, n)"), 't', '... in order');
is($workspace->calls(path => '/api/2.0/sql/statements/*/result/chunks/*', since => $mark), 50, '... each fetched once');
$workspace->post('faults', { path => '*/result/chunks/7', kind => 'reset' });
is(sql("SELECT count(*) FROM databricks.query_json('big', '$warehouse')"), 25003, 'a chunk that breaks off is repeated');
$workspace->post('statements', { match => 'nothing', columns => [ column('a', 'INT') ], rows => [] });
is(sql("SELECT count(*) FROM databricks.query('nothing', '$warehouse') AS t(a int)"), 0, 'an empty result');
$workspace->post('statements', { match => 'ddl' });
is(sql("SELECT count(*) FROM databricks.query_json('ddl', '$warehouse')"), 0, 'a statement without columns');
$workspace->post('statements', { match => 'cut', generate => 10, truncated => JSON::PP::true });
is(sql_error($node, "SELECT databricks.query_json('cut', '$warehouse')")->{state}, '54000', 'a result that was cut is an error');


# Part of a result never looks like all of it.
my @short = ([ '*/result/chunks/3', { chunk_index => 3 } ], [ '*/result/chunks/3', { data_array => [ [ '1', 'a' ] ] } ], [ '*/result/chunks/3', { data_array => [ ['1'] ] } ],
	[ '/api/2.0/sql/statements/*', { status => { state => 'SUCCEEDED' } } ],
	[ '/api/2.0/sql/statements/*', { status => { state => 'SUCCEEDED' }, manifest => { schema => { columns => [ column('a', 'INT') ] }, total_row_count => 5 }, result => {} } ]);
foreach my $part (@short)
{
	$workspace->post('faults', { path => $part->[0], kind => 'replace', json => $part->[1] });
	is(sql_error($node, "SELECT count(*) FROM databricks.query_json('big', '$warehouse')")->{state}, 'HV00M', 'a part is missing: ' . JSON::PP->new->canonical->encode($part->[1]));
}

# Chunks that nobody counted are followed, here and in the store.
sub uncounted
{
	my (%manifest) = @_;
	my @parts = map { { chunk_index => $_, data_array => [ [ "$_", 'a' ] ], $_ < 2 ? (next_chunk_index => $_ + 1) : () } } 0 .. 2;
	$workspace->post('statements', { match => 'uncounted', generate => 1 });
	$workspace->post('faults', { path => '/api/2.0/sql/statements/*', kind => 'replace', json => { status => { state => 'SUCCEEDED' },
				manifest => { schema => { columns => [ column('id', 'LONG'), column('name', 'STRING') ] }, %manifest }, result => $parts[0] } });
	$workspace->post('faults', { path => "*/result/chunks/$_", kind => 'replace', json => $parts[$_] }) foreach 1, 2;
	my $got = sql("SELECT string_agg(j ->> 'id', ' ') FROM databricks.query_json('uncounted', '$warehouse') AS t(j)");
	$workspace->delete('faults');
	return $got;
}
is(uncounted(total_row_count => 3), '0 1 2', 'chunks without a count');
is(uncounted(), '0 1 2', '... nor a number of rows');

# Parameters
$workspace->post('statements', { match => ':day', columns => [ column('a', 'INT') ], rows => [ ['1'] ], markers => ['day'] });
sql(qq{SELECT databricks.query_json('SELECT :day', '$warehouse',
	'{"day": {"value": "2026-11-22", "type": "DATE"}, "n": 12, "x": 1.25, "t": true, "s": "it", "z": null, "big": 123456789012345678901234567890}', 'main', 'sales')});
my $body = (statements())[-1]{body};
is_deeply(
	{ map { $_->{name} => [ $_->{value}, $_->{type} ] } @{ $body->{parameters} } },
	{   day => [ '2026-11-22', 'DATE' ], n => [ '12', 'BIGINT' ], x => [ '1.25', 'DECIMAL(3,2)' ], t => [ 'true', 'BOOLEAN' ],
		s => [ 'it', undef ], z => [ undef, undef ], big => [ '123456789012345678901234567890', 'DECIMAL(30,0)' ]
	},
	'parameters with their types, null without a value (case 59)');
is("$body->{catalog}.$body->{schema}", 'main.sales', 'catalog and schema');
like(sql_error($node, "SELECT databricks.query_json('SELECT :day', '$warehouse', '{}')")->{message}, qr/unbound parameter: day/, 'one that is missing');
like(sql_error($node, q{SELECT databricks.query_json('SELECT 1', 'nosuch')})->{hint}, qr/FROM databricks\.warehouses/, 'a warehouse of another form: the hint leads to those there are');
is(sql_error($node, qq{SELECT databricks.query_json('x', '$warehouse', '{"a": [1]}')})->{state}, '22023', 'no single value');
is(sql_error($node, qq{SELECT databricks.query_json('x', '$warehouse', '5')})->{state}, '22023', 'no parameters');
foreach my $misspelt ('{"a": {"valeu": 1}}', '{"a": {"value": 1, "typ": "INT"}}', '[{"name": "a", "Value": 1}]')
{
	is(sql_error($node, qq{SELECT databricks.query_json('x', '$warehouse', '$misspelt')})->{state}, '22023', "a parameter that would be another: $misspelt");
}

# Ends that are no success (case 59)
$error = sql_error($node, "SELECT databricks.query_json('SELECT * FROM nope', '$warehouse')");
is($error->{state}, 'HV000', 'a statement that fails');
like($error->{message}, qr/TABLE_OR_VIEW_NOT_FOUND/, '... with its message');
like($error->{detail}, qr/SQLSTATE 42P01/, '... and its SQLSTATE');
foreach my $state ('CANCELED', 'CLOSED')
{
	$workspace->post('statements', { match => "ends $state", state => $state, running_ms => 100 });
	$error = sql_error($node, "SELECT databricks.query_json('ends $state', '$warehouse')");
	is($error->{state}, 'HV000', "a statement that is $state");
}
is(sql_error($node, "SELECT databricks.query_json('SELECT 1', 'ffffffffffffffff')")->{state}, '42501', 'no such warehouse');
is(sql_error($node, 'SELECT databricks.query_json(NULL, NULL)')->{state}, '22004', 'null');

# Cancelled here, cancelled there (case 59)
$workspace->post('statements', { match => 'hang', hang => JSON::PP::true });
my $begun = time;
is(sql_error($node, "SET statement_timeout = '500 ms'; SELECT databricks.query_json('hang', '$warehouse')")->{state}, '57014', 'cancelled');
cmp_ok(time - $begun, '<', patience(3), '... at once');
is((statements())[-1]{state}, 'CANCELED', '... there too');
$workspace->post('faults', { method => 'GET', path => '/api/2.0/sql/statements/*', kind => 'status', status => 403, code => 'PERMISSION_DENIED' });
is(sql_error($node, "SELECT databricks.query_json('hang', '$warehouse')")->{state}, '42501', 'the wait fails');
is((statements())[-1]{state}, 'CANCELED', '... so nobody needs the statement');
like(sql_error($node, "SELECT databricks.query('SELECT 1', '$warehouse')")->{hint}, qr/AS t\(/, 'columns that are not declared');

# A lost answer
my $before = statements();
$workspace->post('faults', { path => '/api/2.0/sql/statements', kind => 'lost' });
is(sql_error($node, "SELECT databricks.query_json('SELECT 1', '$warehouse')")->{state}, '08007', 'a lost answer: not submitted again');
is(scalar(statements()), $before + 1, '... once');

# Coming back to a statement (case 60)
$before = statements();
my $id = sql("SELECT databricks.start_statement('big', '$warehouse')");
is(sql("SELECT count(*) FROM databricks.statement_result('$id')"), 25003, 'a result in another session (case 60)');
is(sql("SELECT count(*) FROM databricks.statement_result('$id')"), 25003, '... and again');
is(scalar(statements()), $before + 1, '... of the same statement');
my $hang = sql("SELECT databricks.start_statement('hang', '$warehouse')");
is(sql_error($node, "SET statement_timeout = '300 ms'; SELECT databricks.statement_result('$hang')")->{state}, '57014', 'a wait that is cancelled');
is((grep { $_->{statement_id} eq $hang } statements())[0]{state}, 'RUNNING', '... leaves it alone');
$workspace->post('statements', { statement_id => $hang, state => 'CANCELED' });
is(sql_error($node, "SELECT databricks.statement_result('$hang')")->{state}, 'HV000', 'cancelled elsewhere');
$workspace->advance(3600 * 1000 + 1000);
like(sql_error($node, "SELECT databricks.statement_result('$id')")->{message}, qr/is gone/, 'a result that is gone');
is(sql_error($node, "SELECT databricks.statement_result('01f0a8c1-2b3d-1c4e-9f10-a1b2c3d4e5f6')")->{state}, '42704', 'no such statement');

# Results by links to the cloud store
$workspace->post('statements', { match => 'many rows', generate => 5000, chunk_rows => 450 });
my $links = "SET databricks.external_links = on; SELECT count(*), sum(id), count(DISTINCT name) FROM databricks.query('many rows', '$warehouse') AS t(id bigint, name text)";
$mark = $workspace->mark;
is(sql($links), '5000|12502500|5000', 'a result from the store');
my @fetched = $workspace->journal(since => $mark, path => '/storage/*');
is(scalar @fetched, 12, '... each chunk by a link');
is(scalar(grep { defined $_->{headers}{authorization} || $_->{status} != 200 } @fetched), 0, '... without our credentials, which the store would refuse');
$id = sql("SET databricks.external_links = on; SELECT databricks.start_statement('many rows', '$warehouse')");
is(sql("SELECT count(*) FROM databricks.statement_result('$id')"), 5000, '... also of a statement that was started before');
$mark = $workspace->mark;
$workspace->post('faults', { faults => [ { path => '/storage/*', kind => 'status', status => 403, skip => 2 }, { path => '/storage/*', kind => 'reset' },
	{ path => '/storage/*', kind => 'truncate', bytes => 100 } ] });
is(sql($links), '5000|12502500|5000', 'a link that does not work is asked for again');
is($workspace->calls(since => $mark, path => '/storage/*'), 15, '... alone');
$workspace->post('faults', { path => '/storage/*', kind => 'status', status => 403, count => undef });
$error = sql_error($node, $links);
is($error->{state}, 'HV00N', '... but not for ever');
like($error->{hint}, qr/external_links = off/, '... with advice');
unlike("@$error{qw(message detail hint)}", qr{storage/|Signature}, '... that does not tell the link');
log_lacks($node, '... nor does the log', 'X-Signature');
$workspace->request('DELETE', '/__control/faults');
foreach my $link ('http://store.example.com/x', 'file:///etc/passwd', 'https://user@store.example.com/x', 'https://store.example.com/x#y', '/api/2.0/x')
{
	$workspace->post('faults', { path => '/api/2.0/sql/statements/*/result/chunks/0', kind => 'replace', json => { external_links => [ { chunk_index => 0, external_link => $link } ] } });
	is(sql_error($node, $links)->{message}, 'link of workspace "prod" to a result is refused', "a link that is not followed: $link");
}
$workspace->post('faults', { path => '/storage/*', kind => 'hang', skip => 3 });
is(sql_error($node, "SET statement_timeout = '500 ms'; $links")->{state}, '57014', 'cancelled while the store is silent');
$workspace->post('statements', { match => 'wide rows', columns => [ column('t', 'STRING') ], rows => [ map { [ 'x' x 1_000_000 ] } 1 .. 30 ], chunk_rows => 3 });
$error = sql_error($node, "SELECT * FROM databricks.query('wide rows', '$warehouse') AS t(t text)");
is($error->{state}, '54000', 'more than 25 MB does not come in answers');
like($error->{hint}, qr/external_links = on/, '... with advice');
is(sql("SET databricks.external_links = on; SELECT count(*), sum(length(t)) FROM databricks.query('wide rows', '$warehouse') AS t(t text)"), '30|30000000', '... but from the store');

done_testing();
