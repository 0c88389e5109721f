# 050_fdw.pl - foreign tables against the stand-in: which calls a query makes,
# and that its rows are right whatever was left to the service.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
my $list_jobs = '/api/2.2/jobs/list';
my $get_job = '/api/2.2/jobs/get';
my $list_runs = '/api/2.2/jobs/runs/list';
my $get_run = '/api/2.2/jobs/runs/get';

connect_workspace($node, $workspace);
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	SQL

# The result of SQL and the requests it made.
sub ask
{
	my ($sql) = @_;
	my $mark = $workspace->mark;
	my $result = $node->safe_psql('postgres', $sql);
	return ($result, $workspace->journal(since => $mark));
}

# SQL has this result and makes exactly these numbers of calls.
sub asks
{
	my ($sql, $result, $calls, $name) = @_;
	my ($got, @requests) = ask($sql);
	my %count;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$count{ $_->{path} }++ foreach @requests;
	is($got, $result, "$name: rows");
	is_deeply(\%count, $calls, "$name: calls");
	return @requests;
}

sub start_run
{
	my ($id) = @_;
	return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $id })
	  ->{run_id};
}

# Jobs and finished runs of some days, then runs in every other state of a clock
# that stands still.
$workspace->post('seed', { jobs => 130, runs => 260, days => 20, seed => 7 });
$workspace->speed(0);
my $queue = { enabled => JSON::PP::true };
my $job = $workspace->create_job(name => 'nightly & daily', queue => $queue);
my $twin = $workspace->create_job(name => 'Nightly & Daily', queue => $queue);
my $lone =
  $workspace->create_job(name => 'lone', queue => { enabled => JSON::PP::false });
my $running = start_run($job);
my $ending = start_run($twin);
my $queued = start_run($job);
my $refused_first = start_run($lone);
my $refused = start_run($lone);
my $once = $workspace->api(
	'POST',
	'/api/2.2/jobs/runs/submit',
	{   run_name => 'once',
		tasks => [
			{   task_key => 'main',
				notebook_task => { notebook_path => '/Shared/once' }
			} ] })->{run_id};
$workspace->advance(1000);
$workspace->api('POST', '/api/2.2/jobs/runs/cancel', { run_id => $ending });
my $pending = start_run($workspace->create_job(name => 'late'));
my $detailed = $workspace->create_job(
	name => 'detailed',
	description => 'with everything',
	tags => { team => 'finance' },
	parameters => [ { name => 'day', default => '2026-10-01' } ],
	schedule => {
		quartz_cron_expression => '0 0 2 * * ?',
		timezone_id => 'UTC',
		pause_status => 'PAUSED'
	},
	job_clusters => [
		{   job_cluster_key => 'main',
			new_cluster => { spark_version => '15.4.x', node_type_id => 'i3.xlarge', num_workers => 1 }
		} ],
	queue => $queue);
my $detailed_run = start_run($detailed);
my $all_jobs = 135;
my $all_runs = 268;

is( $node->safe_psql('postgres', <<~'SQL'),
	SELECT string_agg(state || ' ' || n, ', ' ORDER BY state)
	FROM (SELECT state, count(*) AS n FROM runs GROUP BY state) AS s
	SQL
	'PENDING 2, QUEUED 1, RUNNING 3, TERMINATED 261, TERMINATING 1',
	'runs in all states to be told apart');

###
# By key
###
asks("SELECT job_id, name FROM jobs WHERE job_id = $job",
	"$job|nightly & daily", { $get_job => 1 }, 'a job by id');
asks("SELECT run_id, job_id FROM runs WHERE run_id = $running",
	"$running|$job", { $get_run => 1 }, 'a run by id');
my $five = join(',', $running, $ending, $queued, $refused, $once);
asks("SELECT count(*) FROM runs WHERE run_id IN ($five, NULL, $once)",
	5, { $get_run => 5 }, 'five runs by id, one of them named twice');
asks("SELECT count(*) FROM runs WHERE run_id = ANY (ARRAY(SELECT unnest('{$five}'::bigint[])))",
	5, { $get_run => 5 }, 'five runs by ids from a query');
asks('SELECT count(*) FROM runs WHERE run_id = 12345',
	0, { $get_run => 1 }, 'no such run');
asks('SELECT count(*) FROM jobs WHERE job_id = 12345',
	0, { $get_job => 1 }, 'no such job');
asks('SELECT count(*) FROM runs WHERE run_id IN (0, -7)',
	0, {}, 'ids that nothing has');
asks('SELECT count(*) FROM runs WHERE run_id = (SELECT NULL::bigint)',
	0, {}, 'no id at all');
asks("SELECT count(*) FROM runs WHERE run_id = $running AND job_id = $twin",
	0, { $get_run => 1 }, 'a run by id, but of another job');
asks("SELECT count(*) FROM runs WHERE workspace = 'elsewhere'",
	0, {}, 'another workspace');

my $task = $node->safe_psql('postgres',
	"SELECT tasks->0->>'run_id' FROM runs WHERE run_id = $running");
isnt($task, $running, 'the task run has an id of its own');
asks("SELECT count(*) FROM runs WHERE run_id = $task",
	0, { $get_run => 1 }, 'a task run, which runs/get knows, is no row');

###
# Lists
###
my @requests =
  asks('SELECT count(*) FROM jobs', $all_jobs, { $list_jobs => 2 }, 'count of jobs');
is(scalar(grep { $_->{query} =~ /expand/ } @requests), 0, 'without their tasks');
@requests = asks(q{SELECT count(*) FROM jobs WHERE tasks @> '[{"task_key": "main"}]'},
	$all_jobs, { $list_jobs => 2 }, 'jobs by task');
is(scalar(grep { $_->{query} =~ /expand_tasks=true/ } @requests),
	2, 'with their tasks');
# the first page once more at the end, for runs that moved there meanwhile
asks('SELECT count(*) FROM runs', $all_runs, { $list_runs => 12 }, 'count of runs');
asks(q{SELECT count(*) FROM runs WHERE state IN ('QUEUED', 'PENDING', 'RUNNING', 'TERMINATING')},
	7, { $list_runs => 1 }, 'active runs');
asks("SELECT count(*) FROM runs WHERE job_id = $job",
	2, { $list_runs => 1 }, 'runs of a job');
@requests = asks('SELECT count(*) FROM runs WHERE start_time IS NULL', 0, { $list_runs => 1 }, 'runs that never started');
like($requests[0]->{query}, qr/&start_time_to=1$/, 'which are before any time');
asks('SELECT count(*) FROM runs WHERE run_id IS NULL', 0, {}, 'what names a run is never missing');
asks("SELECT count(*) FROM runs WHERE job_id IN ($job, $twin, $job)",
	3, { $list_runs => 2 }, 'runs of two jobs');
asks(q{SELECT count(*) FROM jobs WHERE name = 'nightly & daily'},
	1, { $list_jobs => 1 }, 'a name, which the service takes in any case');

# run_as_user_name is in no list; some calls ahead of the reader are given up
(my $details, @requests) =
  ask('SELECT count(run_as_user_name) FROM (SELECT run_as_user_name FROM jobs LIMIT 3) AS j');
is($details, 3, 'details of a few rows');
my $gets = grep { $_->{path} eq $get_job } @requests;
ok($gets >= 3 && $gets <= 6, "are asked for row by row, not much ahead ($gets)");
asks(q{SELECT count(run_as_user_name) FROM jobs WHERE name IN ('lone', 'late')},
	2, { $list_jobs => 2, $get_job => 2 }, 'details of the rows listed');

###
# LIMIT (case 66)
###
sub page_of
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', <<~SQL);
		SELECT ceil(min(n) / 25.0)
		FROM (SELECT row_number() OVER () AS n, * FROM runs) AS r WHERE $condition
		SQL
}

asks('SELECT count(*) FROM (SELECT run_id FROM runs LIMIT 25) AS r',
	25, { $list_runs => 1 }, 'LIMIT of a page (case 66)');
asks('SELECT count(*) FROM (SELECT run_id FROM runs LIMIT 26) AS r',
	26, { $list_runs => 2 }, 'LIMIT of a page and one more (case 66)');
asks('SELECT count(*) FROM (SELECT run_id FROM runs LIMIT 0) AS r',
	0, {}, 'LIMIT 0 (case 66)');
my ($smallest) = ask('SELECT min(run_id) FROM runs');
asks('SELECT run_id FROM runs ORDER BY run_id LIMIT 1',
	$smallest, { $list_runs => 12 }, 'LIMIT with ORDER BY (case 66)');
my ($failed) = split /\n/,
  (ask(q{SELECT run_id FROM runs WHERE result_state = 'FAILED'}))[0];
my $page = page_of(q{result_state = 'FAILED'});
asks(q{SELECT run_id FROM runs WHERE result_state = 'FAILED' LIMIT 1},
	$failed, { $list_runs => $page }, 'LIMIT with a condition that is not sent (case 66)');
cmp_ok($page, '<', 11, 'which needs some of the pages only');

###
# The same rows with conditions sent as without (case 65)
###
$node->safe_psql('postgres', <<~'SQL');
	CREATE SCHEMA whole;
	IMPORT FOREIGN SCHEMA databricks FROM SERVER prod INTO whole;
	ALTER FOREIGN TABLE whole.jobs OPTIONS (ADD pushdown 'false');
	ALTER FOREIGN TABLE whole.runs OPTIONS (ADD pushdown 'false');
	SQL
my %columns = map {
	$_ => $node->safe_psql(
		'postgres',
		"SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'databricks.$_'::regclass AND attnum > 0
			AND attname NOT IN ('raw', 'run_as_user_name')")
} qw(jobs runs);

# Rows that are in one of the results only, and rows in all.
sub difference
{
	my ($table, $where) = @_;
	return <<~SQL;
		WITH sent AS (SELECT $columns{$table} FROM databricks.$table WHERE $where),
			whole AS (SELECT $columns{$table} FROM whole.$table WHERE $where)
		SELECT (SELECT count(*) FROM (SELECT * FROM sent EXCEPT ALL SELECT * FROM whole) AS a)
			|| '|' || (SELECT count(*) FROM (SELECT * FROM whole EXCEPT ALL SELECT * FROM sent) AS b)
			|| '|' || (SELECT count(*) FROM whole);
		SQL
}

my ($middle, $later) = split /\|/, $node->safe_psql('postgres', <<~'SQL');
	SELECT percentile_disc(0.4) WITHIN GROUP (ORDER BY start_time),
		percentile_disc(0.7) WITHIN GROUP (ORDER BY start_time) FROM runs
	SQL
my @conditions = (
	"run_id = $once",
	"run_id IN ($five)",
	"run_id = ANY ('{$running, 77, NULL}')",
	"job_id = $job",
	"job_id IN ($job, $twin, $lone, 5)",
	q{job_id IN (SELECT job_id FROM whole.jobs WHERE name ~ '[02468]$')},
	q{run_type = 'JOB_RUN'},
	q{run_type IN ('SUBMIT_RUN', 'WORKFLOW_RUN')},
	q{run_type <> 'JOB_RUN'},
	q{state = 'TERMINATED'},
	q{state = 'RUNNING'},
	q{state IN ('QUEUED', 'RUNNING')},
	q{state IN ('QUEUED', 'TERMINATED')},
	q{state <> 'TERMINATED'},
	q{life_cycle_state = 'SKIPPED'},
	q{life_cycle_state IN ('TERMINATED', 'INTERNAL_ERROR')},
	q{life_cycle_state IN ('PENDING', 'TERMINATING')},
	q{result_state = 'FAILED'},
	'end_time IS NULL',
	'end_time IS NOT NULL',
	'start_time IS NULL',
	'start_time IS NOT NULL',
	"run_id IS NULL OR run_id = $once",
	"start_time = '$middle'",
	"start_time > '$middle'",
	"start_time >= '$middle'",
	"start_time < '$middle'",
	"start_time <= '$middle'",
	"start_time > '$middle'::timestamptz + interval '1 microsecond'",
	"start_time < '$middle'::timestamptz - interval '1 microsecond'",
	"start_time BETWEEN '$middle' AND '$later'",
	"start_time > '$later'::timestamptz::date",
	"start_time > now() - interval '10 days'",
	"NOT start_time > '$middle'",
	"job_id = $job OR start_time > '$later'",
	q{workspace = 'prod'},
	q{workspace <> 'prod'});
my $wrong = 0;
my $filled = 0;
my @queries = map { [ 'runs', $_ ] } @conditions;

# and at random, always the same
srand(20261122);
foreach (1 .. 60)
{
	my $n = 2 + int(rand(3));
	push @queries, [ 'runs', join(' AND ', map { "($conditions[rand @conditions])" } 1 .. $n) ];
}
push @queries, map { [ 'jobs', $_ ] } (
	"job_id = $job",
	"job_id IN ($job, $twin, 3)",
	q{name = 'nightly & daily'},
	q{name = 'NIGHTLY & DAILY'},
	q{name IN ('lone', 'late', 'nothing', 'lone')},
	q{name IN ('nightly & daily', 'Nightly & Daily')},
	q{name = 'lone' AND job_id > 0},
	q{name LIKE 'seeded%'},
	q{name = ''},
	q{name <> 'lone'},
	"name = 'lone' AND job_id = $job");
my @results = split /\n/,
  $node->safe_psql('postgres', join('', map { difference(@$_) } @queries));
is(scalar(@results), scalar(@queries), 'as many comparisons as queries (case 65)');
foreach my $i (0 .. $#queries)
{
	my ($more, $less, $rows) = split /\|/, $results[$i];
	$filled++ if $rows > 0;
	next if $more == 0 && $less == 0;
	$wrong++;
	diag("$more rows too many, $less missing: $queries[$i][1]");
}
is($wrong, 0, 'the same rows whether conditions are sent or not (case 65)');
cmp_ok($filled, '>', 40, 'most of them not empty');

# Each column alone, by key and from the list: what a list shows only when
# asked for more must not be missing. Only raw tells how it was received.
foreach my $table (qw(jobs runs))
{
	my $key = $table eq 'jobs' ? 'job_id' : 'run_id';
	my $ids = $table eq 'jobs' ? "$detailed, $job" : "$detailed_run, $running, $refused";
	my $differing = $node->safe_psql(
		'postgres',
		join(
			'',
			map {
				my $value = $_ eq 'raw' ? "raw - 'has_more' - 'run_as_user_name'" : qq{"$_"};
				my $select = "SELECT $key, $value FROM %s.$table WHERE $key IN ($ids)";
				sprintf("SELECT '$_' FROM (($select) EXCEPT ALL ($select)) AS d LIMIT 1;",
					'databricks', 'whole')
			  } split /\n/,
			$node->safe_psql(
				'postgres',
				"SELECT attname FROM pg_attribute
				WHERE attrelid = 'databricks.$table'::regclass AND attnum > 0 ORDER BY attnum"
			)));
	is($differing, '', "every column of $table is the same by key and in the list (case 65)");
	isnt(
		$node->safe_psql('postgres',
			"SELECT count(*) FROM databricks.$table WHERE $key IN ($ids)"),
		0,
		'of rows that are there');
}
is( $node->safe_psql('postgres', "SELECT job_parameters FROM runs WHERE job_id = $detailed"),
	'{"day": "2026-10-01"}',
	'parameters of a run from the list');

###
# Joins (case 67) and rescans (case 69)
###
$node->safe_psql('postgres', <<~SQL);
	CREATE TABLE orders (order_id int, run_id bigint, job_id bigint);
	INSERT INTO orders VALUES (1, $running, $job), (2, $once, $twin), (3, $running, $job), (4, NULL, 1), (5, 99, $job);
	SQL
my $join = 'SELECT count(*), count(DISTINCT r.run_id) FROM orders AS o JOIN runs AS r ON r.run_id = o.run_id';
asks($join, '3|2', { $get_run => 3 }, 'join on run_id, before ANALYZE (case 67)');
$node->safe_psql('postgres', 'ANALYZE orders');
asks($join, '3|2', { $get_run => 3 }, 'join on run_id, no id asked twice (case 67)');
asks(
	'SELECT count(*), count(r.run_id) FROM orders AS o LEFT JOIN runs AS r ON r.run_id = o.run_id',
	'5|3',
	{ $get_run => 3 },
	'outer join on run_id (case 67)');
asks(
	'SELECT count((SELECT r.state FROM runs AS r WHERE r.run_id = o.run_id)) FROM orders AS o',
	3,
	{ $get_run => 3 },
	'look-ups in a subquery, no id asked twice (case 69)');
asks(
	'SELECT count(*) FROM orders AS o JOIN runs AS r ON r.job_id = o.job_id AND o.order_id IN (1, 2)',
	3,
	{ $list_runs => 2 },
	'join on job_id: one list for each');
asks(
	'SELECT o.order_id FROM orders AS o CROSS JOIN LATERAL
		(SELECT run_id FROM runs WHERE job_id = o.job_id LIMIT 1) AS r ORDER BY 1',
	"1\n2\n3\n5",
	{ $list_runs => 3 },
	'LATERAL: the same list is not asked for twice in a row');

# A nested loop forced to run through the list again and again, with and without
# a node above that would keep the rows.
my $loop = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off;
	SELECT count(*) FROM orders AS o JOIN runs AS r ON r.run_id > o.order_id + o.job_id * 0";
asks($loop, $all_runs * 5, { $list_runs => 12 }, 'nested loop (case 69)');
asks("SET enable_material = off; $loop",
	$all_runs * 5, { $list_runs => 12 }, 'nested loop, rows not kept above (case 69)');
asks(
	"SET enable_material = off; SET work_mem = '64kB'; $loop",
	$all_runs * 5,
	{ $list_runs => 12 },
	'nested loop, rows kept on disk (case 69)');
asks(
	'SET enable_material = off;
	SELECT count(*) FROM orders AS o WHERE o.order_id < (SELECT count(*) FROM
		(SELECT run_id FROM runs AS r WHERE r.run_id > o.order_id LIMIT 30) AS s)',
	5,
	{ $list_runs => 2 },
	'a subquery that stops early each time (case 69)');

# What was kept must not be shown for other values.
is( $node->safe_psql('postgres', <<~'SQL'),
	SELECT bool_and(r.run_id = o.run_id AND r.name = r.other) FROM orders AS o
	CROSS JOIN LATERAL (SELECT r.run_id, r.run_name AS name,
		(SELECT run_name FROM runs WHERE run_id = o.run_id) AS other
		FROM runs AS r WHERE r.run_id = o.run_id OFFSET 0) AS r
	SQL
	't', 'look-ups of changing ids give the right rows');

###
# Statements that run twice, cursors, transactions
###
asks(
	"PREPARE by_job(bigint, text) AS SELECT count(*) FROM runs WHERE job_id = \$1 AND state = \$2;
	SET plan_cache_mode = force_generic_plan;
	EXECUTE by_job($job, 'RUNNING'); EXECUTE by_job($job, 'BLOCKED'); EXECUTE by_job($twin, 'TERMINATING');
	EXECUTE by_job(NULL, 'RUNNING'); EXECUTE by_job($lone, 'TERMINATED')",
	"1\n0\n1\n0\n1",
	{ $list_runs => 4 },
	'generic plan');
asks(
	'BEGIN READ ONLY; DECLARE c CURSOR FOR SELECT run_id FROM runs; MOVE 20 IN c; MOVE 10 IN c; COMMIT',
	'',
	{ $list_runs => 2 },
	'cursor: a page when it is wanted');
asks(
	'BEGIN; DECLARE c SCROLL CURSOR FOR SELECT 1 FROM jobs; MOVE ALL IN c; MOVE BACKWARD ALL IN c; MOVE ALL IN c; COMMIT',
	'',
	{ $list_jobs => 2 },
	'cursor that scrolls');
is($node->safe_psql('postgres', <<~'SQL'), $all_jobs, 'a row type');
	SELECT count(jobs) FROM jobs WHERE (jobs).job_id > 0
	SQL

###
# Pages that are short or empty, either order of runs
###
foreach my $settings (
	{ short_pages => 'short' },
	{ short_pages => 'empty' },
	{ short_pages => 'mixed', order => 'start_time' })
{
	$workspace->post('settings', $settings);
	my ($count) = ask('SELECT count(DISTINCT run_id) || \' \' || count(*) FROM runs');
	is($count, "$all_runs $all_runs", 'all runs with ' . json($settings));
}
$workspace->post('settings', { short_pages => 'off', order => 'end_time' });

###
# EXPLAIN
###
my ($plan, @calls) = ask("EXPLAIN (VERBOSE) SELECT * FROM runs WHERE job_id = $job");
is(scalar(@calls), 0, 'EXPLAIN makes no call');
like($plan, qr{Request: GET \Q$list_runs\E\?limit=25&expand_tasks=true&job_id=$job$}m,
	'and shows the one to be made');
like($plan, qr/Expected Calls: \d+$/m, 'and how many are expected');
($plan, @calls) = ask('EXPLAIN (ANALYZE) SELECT * FROM runs');
is(scalar(@calls), 12, 'EXPLAIN ANALYZE makes the calls');
like($plan, qr/Calls: 12\n\s+Pages: 12\n\s+Retries: 0\n\s+Bytes: [1-9]\d{3,}\n\s+Quota Wait: \d/,
	'and counts them');
$workspace->post('faults', { kind => 'status', status => 503, path => $list_runs });
($plan) = ask('EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM runs');
$plan = json($plan)->[0]->{Plan}->{Plans}->[0];
is_deeply([ @$plan{qw(Calls Pages Retries)} ], [ 13, 12, 1 ], 'a repeated call is counted');

###
# ANALYZE
###
(undef, @calls) = ask('ANALYZE jobs; ANALYZE runs');
cmp_ok(scalar(@calls), '<=', 2 + 12, 'ANALYZE reads each list once');
is( $node->safe_psql('postgres',
		q{SELECT string_agg(reltuples::text, ' ' ORDER BY relname) FROM pg_class
		WHERE oid IN ('databricks.jobs'::regclass, 'databricks.runs'::regclass)}),
	"$all_jobs $all_runs", 'and counts its rows');
$workspace->post('seed', { jobs => 2, runs => 6000, days => 50, seed => 9 });
(undef, @calls) = ask('ANALYZE runs');
cmp_ok(scalar(@calls), '<=', 42, 'of a long list only some pages');
cmp_ok(
	abs($node->safe_psql('postgres', q{SELECT reltuples FROM pg_class WHERE oid = 'databricks.runs'::regclass}) - 6200),
	'<', 4000, 'with an estimate of the rest');
is( $node->safe_psql('postgres', 'ANALYZE secrets; SELECT reltuples FROM pg_class WHERE oid = \'databricks.secrets\'::regclass'),
	-1, 'lists of something are left out');

done_testing();
