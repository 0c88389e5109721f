# 055_fdw_share.pl - the same call is made once in a statement, never for two
# identities, and for later statements only where the table says so.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
my $list_jobs = '/api/2.2/jobs/list';
my $list_runs = '/api/2.2/jobs/runs/list';

connect_workspace($node, $workspace);
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	SQL
$workspace->post('seed', { jobs => 130, runs => 90, days => 20, seed => 7 });

sub asks
{
	my ($sql, $result, $calls, $name) = @_;
	my $mark = $workspace->mark;
	my $got = $node->safe_psql('postgres', $sql);
	my %count;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$count{ $_->{path} }++ foreach $workspace->journal(since => $mark);
	is($got, $result, "$name: rows");
	is_deeply(\%count, $calls, "$name: calls") if $calls;
	return;
}

###
# Twins in one statement
###
asks('SELECT count(*) FROM jobs AS a JOIN jobs AS b USING (name)', 130, { $list_jobs => 2 }, 'a table joined with itself');
asks('SET enable_hashjoin = off; SET enable_nestloop = off; SELECT count(*) FROM jobs AS a JOIN jobs AS b USING (name)',
	130, { $list_jobs => 2 }, 'by merging');
asks('SELECT (SELECT count(*) FROM jobs), (SELECT max(job_id) FROM jobs) > 0, count(name) FROM jobs',
	'130|t|130', { $list_jobs => 2 }, 'in subqueries, with other columns');
asks('SELECT count(*) FROM (SELECT name FROM jobs UNION ALL SELECT name FROM jobs) AS u',
	260, { $list_jobs => 2 }, 'in both arms of UNION ALL');
asks('WITH j AS MATERIALIZED (SELECT job_id, name FROM jobs) SELECT count(*) FROM j AS a JOIN j AS b USING (job_id) JOIN jobs AS c USING (job_id)',
	130, { $list_jobs => 2 }, 'in a CTE and beside it');
asks('SELECT (SELECT job_id FROM jobs LIMIT 1) > 0, (SELECT count(*) FROM jobs)', 't|130', { $list_jobs => 2 },
	'one that stops early');
asks('SELECT count(*) FROM jobs AS a, jobs AS b WHERE a.name = b.name AND b.job_id > 0 OR a.job_id < 0',
	130, { $list_jobs => 2 }, 'with other conditions that are not sent');
asks('SELECT count(*) FROM jobs WHERE name IN (SELECT name FROM jobs)', 130, { $list_jobs => 2 }, 'in a condition');
asks('SELECT count(*) FROM runs AS a JOIN runs AS b USING (run_id)', 90, { $list_runs => 5 }, 'runs too');
asks('BEGIN; SELECT count(*) FROM jobs; SELECT count(*) FROM jobs; COMMIT', "130\n130", { $list_jobs => 4 },
	'but not from one statement to the next');
asks("DO \$\$ BEGIN FOR i IN 1 .. 2 LOOP PERFORM count(*) FROM databricks.jobs AS a JOIN databricks.jobs AS b USING (name); END LOOP; END \$\$",
	'', { $list_jobs => 4 }, 'nor in a loop');

###
# Values that come again, not only in a row
###
my $get_run = '/api/2.2/jobs/runs/get';
$node->safe_psql('postgres', <<~'SQL');
	CREATE TABLE again AS SELECT n,
		(ARRAY(SELECT DISTINCT job_id FROM runs ORDER BY 1 LIMIT 3))[1 + n % 3] AS job_id,
		(ARRAY(SELECT run_id FROM runs ORDER BY 1 LIMIT 3))[1 + n % 3] AS run_id
	FROM generate_series(1, 30) AS n;
	ANALYZE again;
	CREATE TABLE local_runs AS SELECT run_id, job_id, start_time, state FROM runs;
	SQL
my %again = (
	'lists' => [ '(SELECT count(*) FROM runs AS r WHERE r.job_id = a.job_id)', $list_runs, 3 ],
	'the newest' => [ '(SELECT start_time FROM runs AS r WHERE r.job_id = a.job_id ORDER BY start_time DESC LIMIT 1)', $list_runs, 3 ],
	'lists read in part, now more and now less' =>
	  [ '(SELECT count(*) FROM (SELECT FROM runs AS r WHERE r.job_id = a.job_id AND r.run_id % 2 = a.n % 2 LIMIT 1 + a.n % 5) AS r)', $list_runs, 3 ],
	'lists of which two want different columns' =>
	  [ '(SELECT count(*) FROM runs AS r WHERE r.job_id = a.job_id), (SELECT min(state) FROM runs AS r WHERE r.job_id = a.job_id)', $list_runs, 3 ],
	'objects that two want by key' =>
	  [ '(SELECT state FROM runs AS r WHERE r.run_id = a.run_id), (SELECT start_time FROM runs AS r WHERE r.run_id = a.run_id)', $get_run, 3 ],
	'the same sets of keys, and others that overlap' =>
	  [ '(SELECT count(*) FROM runs AS r WHERE r.run_id IN (a.run_id, (SELECT min(run_id) FROM again)))', $get_run, 3 ]);
foreach my $what (sort keys %again)
{
	my ($columns, $path, $calls) = @{ $again{$what} };
	my $select = "SELECT string_agg(x::text, ' ' ORDER BY n) FROM (SELECT n, ROW($columns) AS x FROM again AS a) AS x";
	my $local = $node->safe_psql('postgres', $select =~ s/FROM runs/FROM local_runs/gr);

	asks($select, $local, { $path => $calls }, "asked for again and again: $what");
	is($node->safe_psql('postgres', "SET work_mem = '64kB'; SET hash_mem_multiplier = 1; $select"),
		$local, "... with little memory: $what");
}
asks('SELECT count(*), count(DISTINCT b.run_id) FROM again AS a CROSS JOIN LATERAL (SELECT raw, run_id FROM runs AS r WHERE r.job_id = a.job_id OFFSET a.n * 0) AS b
		JOIN runs AS c ON c.job_id = a.job_id AND c.run_id = b.run_id',
	$node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT r.run_id) FROM again JOIN local_runs AS r USING (job_id)'),
	undef, 'read by two at once');

# identities (case 68)
$workspace->post('tokens', { token => 'dapi-one', user => 'one@example.com' });
$workspace->post('tokens', { token => 'dapi-two', user => 'two@example.com' });
$node->safe_psql('postgres', <<~'SQL');
	CREATE ROLE one LOGIN; CREATE ROLE two LOGIN;
	GRANT USAGE ON FOREIGN SERVER prod TO one, two;
	GRANT USAGE ON SCHEMA databricks TO one, two;
	GRANT INSERT ON databricks.jobs TO one, two;
	CREATE USER MAPPING FOR one SERVER prod OPTIONS (token 'dapi-one');
	CREATE USER MAPPING FOR two SERVER prod OPTIONS (token 'dapi-two');
	GRANT CREATE ON SCHEMA public TO one, two;
	SQL
foreach my $who (qw(one two))
{
	$node->safe_psql('postgres', <<~SQL);
		SET ROLE $who;
		INSERT INTO databricks.jobs (name) VALUES ('of $who');
		CREATE VIEW public.jobs_of_$who AS SELECT name FROM databricks.jobs;
		GRANT SELECT ON public.jobs_of_$who TO PUBLIC;
		SQL
}
is( $node->safe_psql('postgres', q{SELECT a.name, b.name FROM jobs_of_one AS a, jobs_of_two AS b}),
	'of one|of two', 'views of two owners in one statement see what each may see (case 68)');
is( $node->safe_psql('postgres', q{SELECT (SELECT string_agg(name, ' ') FROM jobs_of_one), (SELECT count(*) FROM jobs), (SELECT string_agg(name, ' ') FROM jobs_of_two)}),
	'of one|132|of two', 'as does the table beside them (case 68)');

###
# cache_ttl
###
$node->safe_psql('postgres', q{ALTER FOREIGN TABLE jobs OPTIONS (ADD cache_ttl '1h')});
my $count = 'SELECT count(*) FROM databricks.jobs';
asks("$count; $count; $count WHERE name ~ 'seeded'", "132\n132\n130", { $list_jobs => 4 },
	'answers are kept, but for other columns');
asks("$count; SELECT databricks.discard_cache(); $count", "132\n\n132", { $list_jobs => 4 }, 'until they are discarded');
asks("$count; SET ROLE one; $count; $count; SET ROLE two; $count; RESET ROLE; $count", "132\n1\n1\n1\n132",
	{ $list_jobs => 4 }, 'each for its own identity (case 68)');
asks("$count; ALTER FOREIGN TABLE databricks.jobs OPTIONS (SET cache_ttl '2h'); $count", "132\n132",
	{ $list_jobs => 4 }, 'until the table is altered');
asks("$count; INSERT INTO databricks.jobs (name) VALUES ('more'); $count", "132\n133",
	{ $list_jobs => 4, '/api/2.2/jobs/create' => 1 }, 'until we write');
asks("SET ROLE one; $count; RESET ROLE; ALTER USER MAPPING FOR one SERVER prod OPTIONS (SET token 'dapi-two'); SET ROLE one; $count",
	"1\n1", { $list_jobs => 2 }, 'until the mapping changes');
asks("SELECT name FROM databricks.jobs ORDER BY name LIMIT 1; SELECT name FROM databricks.jobs ORDER BY name LIMIT 1",
	"more\nmore", { $list_jobs => 2 }, 'sorted from what is kept');
asks("SELECT 1 FROM databricks.jobs LIMIT 1; SELECT 1 FROM databricks.jobs LIMIT 1", "1\n1", { $list_jobs => 2 },
	'what was not read to its end is not kept');
$node->safe_psql('postgres', q{ALTER FOREIGN TABLE jobs OPTIONS (SET cache_ttl '1ms')});
my $mark = $workspace->mark;
$node->safe_psql('postgres', "$count; SELECT pg_sleep(0.01); $count");
is(scalar($workspace->journal(since => $mark)), 4, 'and only for so long');

done_testing();
