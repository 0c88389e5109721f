# Files of volumes, DBFS and the workspace: all sizes and back again, what is
# refused, what a broken upload leaves, listing and deleting of trees, the result
# of a query as a file.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "work_mem = '1MB'\n");
connect_workspace($node, $workspace, args => q{server_options => '{"rate_limit": "0"}'});

my $volume = '/Volumes/main/default/landing';

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return sql_error($node, $_[0])->{state}; }

# Bytes of a length that are not the same twice.
sql(q{CREATE FUNCTION bytes(n int8) RETURNS bytea LANGUAGE sql RETURN
	substr(decode(repeat(md5('x') || md5(n::text) || repeat(md5(n::text || 'y'), 30), (n / 512 + 1)::int), 'hex'), 1, n::int)});

# There and back (case 61)

my $mb = 1024 * 1024;
sql(qq{CREATE TABLE content (n int8, bytes bytea);
	ALTER TABLE content ALTER bytes SET STORAGE EXTERNAL;
	INSERT INTO content SELECT n, bytes(n) FROM unnest(ARRAY[0, 1, $mb, $mb + 1, 10 * $mb, 100000000]::int8[]) AS n});
foreach my $place ("$volume/in", 'dbfs:/in', '/Shared/in')
{
	sql(qq{SELECT databricks.make_directory('$place')});
	foreach my $size (0, 1, $mb, $mb + 1, 10 * $mb, $place =~ /^\/Shared/ ? () : (100 * 1000 * 1000))
	{
		my $path = "$place/f $size+%.bin";
		sql(qq{SELECT databricks.upload_file('$path', bytes) FROM content WHERE n = $size});
		is(sql(qq{SELECT databricks.download_file('$path') = bytes FROM content WHERE n = $size}), 't', "$size bytes to $place and back (case 61)");
		is(sql(qq{SELECT size || ' ' || name || ' ' || is_dir FROM databricks.file_info('$path')}),
			"$size f $size+%.bin false", '... and its size');
	}
	is(sql(qq{SELECT count(*), sum(size) > 0 FROM databricks.list_files('$place')}), ($place =~ /^\/Shared/ ? 5 : 6) . '|t', 'listed');
	is(sql(qq{SELECT path FROM databricks.file_info('$place/')}), $place, 'a slash at the end means nothing');
	is(sql(qq{SELECT is_dir, name, size FROM databricks.file_info('$place')}), 't|in|', 'a directory (case 61)');

	# What is there stays, unless told otherwise.
	my $path = "$place/f 1+%.bin";
	my $error = sql_error($node, "SELECT databricks.upload_file('$path', 'new')");
	is($error->{state}, 'HV000', 'a file that exists is not overwritten');
	like($error->{message}, qr/already exists/, '... and why');
	like($error->{hint}, qr/overwrite => true/, '... and how it is');
	sql(qq{SELECT databricks.upload_file('$path', 'new', true)});
	is(sql(qq{SELECT databricks.download_file('$path') = 'new'}), 't', 'overwritten');

	# What is not there, and what is no file (case 61)
	is(state_of("SELECT databricks.download_file('$place/none')"), '42704', 'no such file to read');
	is(state_of("SELECT databricks.file_info('$place/none')"), '42704', 'no such file to look at');
	is(state_of("SELECT databricks.list_files('$place/none')"), '42704', 'no such directory');
	isnt(state_of("SELECT databricks.download_file('$place')"), '', 'a directory has no content');
	isnt(state_of("SELECT databricks.upload_file('$place', 'x', true)"), '', '... and is not overwritten');

	# Trees
	sql(qq{SELECT databricks.make_directory('$place/a/b/c')});
	sql(qq{SELECT databricks.upload_file('$place/a/b/x', 'x'), databricks.upload_file('$place/a/b/c/y', 'yy')});
	is(sql(qq{SELECT string_agg(name || ':' || coalesce(size, 0), ' ' ORDER BY path) FROM databricks.list_files('$place/a', true)}),
		'b:0 c:0 y:2 x:1', 'a tree');
	is(sql(qq{SELECT count(*) FROM databricks.list_files('$place/a', true) AS f, databricks.file_info(f.path) AS i
		WHERE (f.is_dir, f.name) = (i.is_dir, i.name)}), 4, '... whose paths can be used as they are');
	is(state_of("SELECT databricks.delete_file('$place/a')"), 'HV000', 'a directory that is not empty stays');
	sql(qq{SELECT databricks.delete_file('$place/a', recursive => true)});
	is(state_of("SELECT databricks.file_info('$place/a')"), '42704', '... unless told otherwise');
	sql(qq{SELECT databricks.delete_file('$path')});
	is(state_of("SELECT databricks.file_info('$path')"), '42704', 'a file is deleted');
}

# Paths
foreach my $path ('in', '/in', 's3://bucket/in', '/Volumes', 'dbfs:in', "$volume/../x", "$volume/./x", "$volume//x", '/Workspaces/x', '')
{
	my $error = sql_error($node, "SELECT databricks.upload_file('$path', 'x')");
	like($error->{state}, $path eq '/Volumes' ? qr/HV000|42704/ : qr/22023/, "not a path: '$path'");
}
like(sql_error($node, "SELECT databricks.download_file('/data/x')")->{hint}, qr{/Volumes/.*dbfs:/.*/Workspace/}, 'a hint shows what is');
sql(qq{SELECT databricks.upload_file('dbfs:$volume/alias', 'x')});
is(sql(qq{SELECT databricks.download_file('$volume/alias') = 'x'}), 't', 'dbfs:/Volumes is the same place');
is(state_of(q{SELECT databricks.upload_file('/Volumes/no/such/volume/x', 'x')}), '42704', 'no such volume');
is(state_of(q{SELECT databricks.upload_file('/Shared/none/x', 'x')}), '42704', 'no such folder');
is(state_of(q{SELECT databricks.upload_file('/Shared/big', bytes(10485761))}), '54000', 'too large for the workspace');
foreach my $call ("upload_file(NULL, 'x')", "upload_file('dbfs:/x', NULL)", 'download_file(NULL)', 'list_files(NULL)',
	'delete_file(NULL)', 'make_directory(NULL)', 'file_info(NULL)', "move_file('dbfs:/x', NULL)", "upload_query(NULL, 'dbfs:/x')")
{
	is(state_of("SELECT databricks.$call"), '22004', "$call: null");
}

# The roots of the workspace; the name of a volume, whatever its case
is(sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM databricks.list_files('/Workspace')}), '/Workspace/Repos /Workspace/Shared /Workspace/Users', 'the root of the workspace');
is(sql(q{SELECT count(*) > 3 AND bool_and(path LIKE '/Workspace/%') FROM databricks.list_files('/Workspace/', true)}), 't', '... and all below it');
my $entry = { path => "$volume/in/x", name => 'x', is_directory => JSON::PP::false, file_size => 1 };
$workspace->post('faults', { path => '/api/2.0/fs/directories/*', kind => 'replace', json => { contents => [$entry] } });
is(sql(q{SELECT path FROM databricks.list_files('/Volumes/Main/DEFAULT/landing/in')}), "$volume/in/x", 'a volume by a name in other letters');
$workspace->post('faults', { path => '/api/2.0/fs/directories/*', kind => 'replace', json => { contents => [$entry] } });
is(state_of("SELECT databricks.list_files('$volume/IN')"), 'HV00M', '... but not so a directory');

# The length of a file may not be told before; an answer that says nothing is no empty file.
foreach my $size (1, 3_000_000)
{
	sql(qq{SELECT databricks.upload_file('$volume/untold', bytes($size), true)});
	$workspace->post('faults', { method => 'HEAD', path => '/api/2.0/fs/files/*', kind => 'chunked', count => 2 });
	is(sql(qq{SELECT databricks.download_file('$volume/untold') = bytes($size)}), 't', "$size bytes whose number is not told");
	is(sql(qq{SELECT size IS NULL FROM databricks.file_info('$volume/untold')}), 't', '... have no size');
}
sql(q{ALTER SERVER prod OPTIONS (ADD max_response_size '1MB')});
$workspace->post('faults', { method => 'HEAD', path => '/api/2.0/fs/files/*', kind => 'chunked' });
is(state_of("SELECT databricks.download_file('$volume/untold')"), '54000', '... and are bounded all the same');
is(sql(qq{SELECT length(databricks.download_file('$volume/untold'))}), 3_000_000, '... as those told are not');
sql(q{ALTER SERVER prod OPTIONS (DROP max_response_size)});
foreach my $case ([ 'dbfs:/f', '/api/2.0/dbfs/get-status' ], [ '/Shared/f', '/api/2.0/workspace/export' ])
{
	sql("SELECT databricks.upload_file('$case->[0]', 'x', true)");
	$workspace->post('faults', { path => $case->[1], kind => 'replace', json => {} });
	is(state_of("SELECT databricks.download_file('$case->[0]')"), 'HV00M', "an answer without content: $case->[1]");
}

# Moving
sql(q{SELECT databricks.upload_file('dbfs:/m/a', 'x'), databricks.move_file('dbfs:/m/a', 'dbfs:/m/b')});
is(sql(q{SELECT string_agg(path, ',') FROM databricks.list_files('dbfs:/m')}), 'dbfs:/m/b', 'moved');
my $error = sql_error($node, "SELECT databricks.move_file('$volume/alias', '$volume/other')");
is($error->{state}, '0A000', 'elsewhere files cannot be moved');
like($error->{hint}, qr/Copy it/, '... and how to do it');

# Interrupted uploads leave nothing under the final name (DBFS: nothing at all).
sub names { return sql(q{SELECT coalesce(string_agg(name, ','), '') FROM databricks.list_files('dbfs:/cut')}); }
sql(q{SELECT databricks.make_directory('dbfs:/cut')});
$workspace->post('faults', { path => '/api/2.0/dbfs/add-block', kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'no', skip => 2 });
is(state_of(q{SELECT databricks.upload_file('dbfs:/cut/x', bytes(5000000))}), 'HV000', 'an upload that breaks');
is(names(), '', '... leaves nothing');
$workspace->post('faults', { path => '/api/2.0/dbfs/add-block', kind => 'hang', skip => 2 });
my $begun = time;
is(state_of(q{SET statement_timeout = '1 s'; SELECT databricks.upload_file('dbfs:/cut/x', bytes(5000000))}), '57014', 'an upload that is cancelled');
cmp_ok(time - $begun, '<', patience(4), '... at once');
is(names(), '', '... leaves nothing');
sql(q{SELECT databricks.upload_file('dbfs:/cut/x', 'old')});
$workspace->post('faults', { path => '/api/2.0/dbfs/add-block', kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'no' });
is(state_of(q{SELECT databricks.upload_file('dbfs:/cut/x', bytes(5000000), true)}), 'HV000', 'an overwrite that breaks');
is(sql(q{SELECT databricks.download_file('dbfs:/cut/x') = 'old'}), 't', '... leaves the old file');
foreach my $skip (0, 1)
{
	$workspace->post('faults', { path => '/api/2.0/dbfs/move', kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'no', skip => $skip });
	is(state_of(q{SELECT databricks.upload_file('dbfs:/cut/x', bytes(5000000), true)}), 'HV000', 'an overwrite that breaks at the end');
	is(sql(q{SELECT databricks.download_file('dbfs:/cut/x') = 'old'}), 't', '... leaves the old file');
	is(names(), 'x', '... and nothing else');
}
foreach my $kind ('lost', 'reset')
{
	$workspace->post('faults', { path => '/api/2.0/dbfs/add-block', kind => $kind, skip => 1 });
	sql(q{SELECT databricks.upload_file('dbfs:/cut/y', bytes(3000000), true)});
	is(sql(q{SELECT databricks.download_file('dbfs:/cut/y') = bytes(3000000)}), 't', "a block whose answer is $kind does not come twice");
}
$workspace->post('faults', { path => '/api/2.0/dbfs/move', kind => 'lost' });
sql(q{SELECT databricks.upload_file('dbfs:/cut/y', bytes(2000000), true)});
is(sql(q{SELECT databricks.download_file('dbfs:/cut/y') = bytes(2000000)}), 't', 'the last step done, its answer lost');
is(names(), 'x,y', 'no part files are left');
$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'PUT', kind => 'hang' });
is(state_of(qq{SET statement_timeout = '300 ms'; SELECT databricks.upload_file('$volume/cut', bytes(5000000))}), '57014', 'a cancelled upload to a volume');
is(state_of("SELECT databricks.file_info('$volume/cut')"), '42704', '... leaves nothing');
$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'PUT', kind => 'lost' });
sql(qq{SELECT databricks.upload_file('$volume/once', bytes(3000000))});
is(sql(qq{SELECT databricks.download_file('$volume/once') = bytes(3000000)}), 't', 'an upload whose answer was lost is not "already there"');

# A value that is stored out of line is read as it is sent, from the beginning
# again if need be.
foreach my $kind ('reset', 'status')
{
	my $mark = $workspace->mark;
	$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'PUT', kind => $kind, status => 503, code => 'TEMPORARILY_UNAVAILABLE', message => 'no' });
	sql(qq{SELECT databricks.upload_file('$volume/stored', bytes, true) FROM content WHERE n = 100000000});
	is($workspace->calls(path => '/api/2.0/fs/files/*', method => 'PUT', since => $mark), 2, "an upload that ends with $kind is repeated");
	is(sql(qq{SELECT databricks.download_file('$volume/stored') = bytes FROM content WHERE n = 100000000}), 't', '... whole');
}
is(state_of(qq{SELECT databricks.upload_file('$volume/stored', bytes) FROM content WHERE n = 100000000}), 'HV000', 'one that is refused ends');
is(state_of(qq{SELECT databricks.upload_file('/Volumes/no/such/volume/x', bytes) FROM content WHERE n = 100000000}), '42704', '... with the reason');
sql(q{CREATE TABLE packed AS SELECT bytes(3000000)});
sql(qq{SELECT databricks.upload_file('$volume/packed', bytes, true) FROM packed});
is(sql(qq{SELECT databricks.download_file('$volume/packed') = bytes(3000000)}), 't', 'a value that is stored compressed');

# Downloads that break are tried again
$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'GET', kind => 'truncate', bytes => 1000000 });
is(sql(qq{SELECT databricks.download_file('$volume/once') = bytes(3000000)}), 't', 'a download that breaks off is repeated');
$workspace->post('faults', { path => '/api/2.0/dbfs/read', kind => 'reset', skip => 1 });
my $mark = $workspace->mark;
is(sql(q{SELECT databricks.download_file('dbfs:/cut/y') = bytes(2000000)}), 't', 'a block that breaks off is repeated');
is($workspace->calls(path => '/api/2.0/dbfs/read', since => $mark), 3, '... alone');
$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'GET', kind => 'html' });
is(state_of("SELECT databricks.download_file('$volume/once')"), '28000', 'a login page is not the content of a file');

# Many files: pages, and rounds of deletion
sql(qq{SELECT databricks.make_directory('$volume/many')});
$workspace->request('PUT', "/api/2.0/fs/files$volume/many/$_", undef, {}) foreach 1 .. 1100;
is(sql(qq{SELECT count(*) FROM databricks.list_files('$volume/many')}), 1100, 'more than a page');
sql(qq{SELECT databricks.delete_file('$volume/many', true)});
is(state_of("SELECT databricks.list_files('$volume/many')"), '42704', '... deleted');
sql(qq{SELECT databricks.make_directory('$volume/deep/' || d || '/below') FROM generate_series(1, 3) AS d});
sql(qq{SELECT databricks.upload_file('$volume/deep/' || d || '/' || f, 'x') FROM generate_series(1, 3) AS d, unnest(ARRAY['x', 'below/y']) AS f});
sub slow_branches
{
	$workspace->post('faults', { path => "/api/2.0/fs/directories$volume/deep/$_", method => 'GET', kind => 'delay', ms => 1000 }) foreach 1 .. 3;
	return $workspace->mark;
}
$mark = slow_branches();
is(sql(qq{SELECT string_agg(path, ' ') FROM (SELECT replace(path, '$volume/deep/', '') FROM databricks.list_files('$volume/deep', true)) AS f(path)}),
	'1 2 3 1/below 1/x 2/below 2/x 3/below 3/x 1/below/y 2/below/y 3/below/y', 'a tree with several branches is listed, level by level');
is($workspace->most_at_once(path => "/api/2.0/fs/directories$volume/deep/?", method => 'GET', since => $mark), 3, '... the branches side by side');
is($workspace->calls(path => '/api/2.0/fs/*', since => $mark), 7, '... with one call for each directory');
$workspace->post('faults', { path => '/api/2.0/dbfs/list', kind => 'replace', json => { files => [ { path => '/round', is_dir => JSON::PP::true }, { path => '/round/x', is_dir => JSON::PP::false, file_size => 1 } ] } });
is(sql(q{SELECT count(*) FROM databricks.list_files('dbfs:/round', true)}), 2, 'a directory that is said to be in itself is not listed for ever');
$workspace->post('faults', { path => '/api/2.0/dbfs/list', kind => 'replace', json => { files => [ { is_dir => JSON::PP::true } ] } });
is(state_of(q{SELECT databricks.list_files('dbfs:/round')}), 'HV00M', 'an entry without path is an error');
foreach my $elsewhere ('/other/x', '/roundabout', '/round/..', '/round/../x', '/round/x/y', '/round//')
{
	$workspace->post('faults', { path => '/api/2.0/dbfs/list', kind => 'replace', json => { files => [ { path => $elsewhere, is_dir => JSON::PP::true } ] } });
	is(state_of(q{SELECT databricks.list_files('dbfs:/round')}), 'HV00M', "$elsewhere is not in /round");
}
$workspace->post('faults', { path => "/api/2.0/fs/directories$volume/deep", method => 'GET', kind => 'replace', json => { contents => [ { path => "$volume/once", is_directory => JSON::PP::false } ] } });
is(state_of(qq{SELECT databricks.delete_file('$volume/deep', true)}), 'HV00M', 'what is said to be in a directory and is not');
is(sql(qq{SELECT is_dir FROM databricks.file_info('$volume/once')}), 'f', '... is not deleted with it');
foreach my $time (9223372036854775807, -9223372036854775807, 9300000000000000)
{
	$workspace->post('faults', { path => '/api/2.0/dbfs/list', kind => 'replace', json => { files => [ { path => '/round/x', modification_time => $time } ] } });
	is(state_of(q{SELECT databricks.list_files('dbfs:/round')}), 'HV004', "a time that cannot be shown is an error: $time");
}
$workspace->post('faults', { path => '/api/2.0/dbfs/list', kind => 'replace', json => { files => [ map { { path => "/round/$_", file_size => 1 } } 1 .. 50000 ] } });
cmp_ok(sql(q{SET work_mem = '1MB'; SELECT (SELECT sum(used_bytes) FROM pg_backend_memory_contexts) FROM databricks.list_files('dbfs:/round') LIMIT 1}), '<', 10e6,
	'the entries of a large directory are not kept in memory');
$mark = slow_branches();
sql(qq{SELECT databricks.delete_file('$volume/deep', true)});
is(state_of("SELECT databricks.list_files('$volume/deep')"), '42704', 'a tree with several branches is deleted');
is($workspace->most_at_once(path => "/api/2.0/fs/directories$volume/deep/?", method => 'GET', since => $mark), 3, '... which are listed side by side');
is($workspace->calls(path => '/api/2.0/fs/*', method => 'DELETE', since => $mark), 14, '... with one call for each thing in it');
$workspace->post('settings', { dbfs_delete_batch => 10 });
sql(qq{SELECT databricks.upload_file('dbfs:/rounds/' || n, 'x') FROM generate_series(1, 35) AS n});
$mark = $workspace->mark;
my $rounds;
$node->psql('postgres', q{SELECT databricks.delete_file('dbfs:/rounds', true)}, stderr => \$rounds);
is($workspace->calls(path => '/api/2.0/dbfs/delete', since => $mark), 4, 'DBFS deletes in rounds');
is(scalar(() = $rounds =~ /NOTICE:  .*has deleted 10 files/g), 3, '... each of which is told');
unlike($rounds, qr/Trying again/, '... and followed by the next at once');
is(state_of(q{SELECT databricks.file_info('dbfs:/rounds')}), '42704', '... to the end');

# The result of a query

sql(q{CREATE TABLE odd (id int, "a,b" text, at timestamptz, raw bytea)});
sql(q{INSERT INTO odd VALUES (1, 'plain', '2026-11-22 10:00:00+00', '\x00ff'), (2, NULL, NULL, NULL), (3, '', NULL, NULL),
	(4, E'quote " comma, line\nend', NULL, NULL), (5, ' blanks ', NULL, NULL), (6, 'é', NULL, NULL)});
is(sql(qq{SET timezone = 'UTC'; SET datestyle = 'German'; SELECT databricks.upload_query('SELECT * FROM odd ORDER BY id', '$volume/odd.csv')}), 6, 'rows');
is($workspace->{http}->get($workspace->url . "/api/2.0/fs/files$volume/odd.csv",
	{ headers => { Authorization => 'Bearer dapi-standin-admin' } })->{content},
	qq{id,"a,b",at,raw\n1,plain,2026-11-22 10:00:00+00,\\x00ff\n2,,,\n3,"",,\n4,"quote "" comma, line\nend",,\n5," blanks ",,\n6,\x{c3}\x{a9},,\n},
	'as CSV');
sql(qq{SELECT databricks.upload_query('SELECT * FROM odd ORDER BY id', 'dbfs:/odd.jsonl', 'jsonl')});
is(sql(qq{SELECT (string_to_array(convert_from(databricks.download_file('dbfs:/odd.jsonl'), 'UTF8'), E'\\n'))[4]}),
	'{"id":4,"a,b":"quote \" comma, line\nend","at":null,"raw":null}', 'as JSON');
sql(qq{SELECT databricks.upload_query('SELECT n FROM generate_series(1, 100000) AS n', '$volume/n.csv.gz')});
my $gz = "$PostgreSQL::Test::Utils::tmp_check/n.csv.gz";
open(my $out, '>:raw', $gz) or die;
print $out $workspace->{http}->get($workspace->url . "/api/2.0/fs/files$volume/n.csv.gz",
	{ headers => { Authorization => 'Bearer dapi-standin-admin' } })->{content};
close $out;
my $plain = `gzip -dc $gz`;
is(length $plain, 2 + 588895, 'compressed by name');
cmp_ok(-s $gz, '<', 300000, '... really');
is(sql(qq{SELECT databricks.upload_query('SELECT 1 WHERE false', '$volume/empty.csv')}), 0, 'no rows');
is(sql(qq{SELECT convert_from(databricks.download_file('$volume/empty.csv'), 'UTF8') = E'?column?\\n'}), 't', '... only the names');
is(state_of("SELECT databricks.upload_query('SELECT 1', '$volume/empty.csv')"), 'HV000', 'not overwritten');
is(state_of("SELECT databricks.upload_query('SELECT 1', '$volume/x', 'parquet')"), '22023', 'another format');
is(state_of("SELECT databricks.upload_query('DELETE FROM odd', '$volume/x')"), '22023', 'a statement without rows');
is(state_of("SELECT databricks.upload_query('SELECT 1; SELECT 2', '$volume/x')"), '22023', 'two statements');
is(state_of("SELECT databricks.upload_query('SELECT 1/0', '$volume/x')"), '22012', 'a query that fails');
is(state_of("SELECT databricks.file_info('$volume/x')"), '42704', '... leaves nothing');
$workspace->post('faults', { path => '/api/2.0/fs/files/*', method => 'PUT', kind => 'reset' });
is(sql(qq{SELECT databricks.upload_query('SELECT n FROM generate_series(1, 300000) AS n', '$volume/again.csv', overwrite => true)}),
	300000, 'an upload that breaks is repeated from the file');
is(sql(qq{SELECT size FROM databricks.file_info('$volume/again.csv')}), 1988897, '... whole');
$mark = $workspace->mark;
is(state_of("BEGIN READ ONLY; SELECT databricks.upload_query('SELECT pg_sleep(60)', '$volume/x')"), '25006', 'a read-only transaction is refused before the query runs');
is(state_of("SET temp_file_limit = '1MB'; SELECT databricks.upload_query('SELECT n FROM generate_series(1, 300000) AS n', '$volume/x')"), '53400', 'temp_file_limit holds');
is($workspace->calls(since => $mark, method => 'PUT'), 0, '... nothing was sent');

# Memory stays flat: a result of 1 GB (resident memory grows by less than 100 MB).
sql(qq{DO \$\$ BEGIN PERFORM databricks.upload_query('SELECT 1', '$volume/warm', overwrite => true); END \$\$});
my $memory = q{(SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') FROM 'VmHWM:\s+(\d+)')::int)};
my $grown = sql(qq{CREATE TEMP TABLE m AS SELECT $memory AS kb;
	SELECT databricks.upload_query('SELECT n, repeat(''x'', 1000) FROM generate_series(1, 1050000) AS n', '$volume/giga.csv');
	SELECT $memory - kb FROM m});
my ($rows, $kb) = split /\n/, $grown;
is($rows, 1050000, 'a result of 1 GB');
cmp_ok(sql(qq{SELECT size FROM databricks.file_info('$volume/giga.csv')}), '>', 1_050_000_000, '... arrives whole');
cmp_ok($kb, '<', 100 * 1024, "... in $kb kB more memory");
is(sql(q{SELECT count(*) FROM pg_ls_tmpdir()}), 0, 'no temporary file is left');

done_testing();
