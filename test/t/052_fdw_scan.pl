# 052_fdw_scan.pl - long lists of foreign tables: how few calls they take, newest
# first, several ranges of time at once, and what goes on in the workspace while
# they are read.

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
my $get_run = '/api/2.2/jobs/runs/get';
my $retention = 60;

connect_workspace($node, $workspace);
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	CREATE SCHEMA whole;
	IMPORT FOREIGN SCHEMA databricks FROM SERVER prod INTO whole;
	ALTER FOREIGN TABLE whole.jobs OPTIONS (ADD pushdown 'false');
	ALTER FOREIGN TABLE whole.runs OPTIONS (ADD pushdown 'false');
	SQL

sub ask
{
	my ($sql) = @_;
	my $mark = $workspace->mark;
	my $result = $node->safe_psql('postgres', $sql);
	return ($result, $workspace->journal(since => $mark));
}

# SQL has this result (undef: any) and makes at most so many calls, all of them
# of this path.
sub asks_at_most
{
	my ($sql, $result, $path, $calls, $name) = @_;
	my ($got, @requests) = ask($sql);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($got, $result, "$name: rows") if defined $result;
	cmp_ok(scalar(@requests), '<=', $calls, "$name: at most $calls calls");
	is_deeply([ grep { $_->{path} ne $path } @requests ], [], "$name: no others");
	return @requests;
}

sub start_runs
{
	my ($n, $job) = @_;
	return map {
		$workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })->{run_id}
	} 1 .. $n;
}

sub reset_workspace
{
	$workspace->post('reset', { what => [ 'state', 'faults' ] });
	return;
}

my $queue = { enabled => JSON::PP::true };

###
# How many calls at most
###
$workspace->post('seed', { jobs => 1000, runs => 5, days => 20, seed => 1 });
my @requests =
  asks_at_most('SELECT count(*) FROM jobs', 1000, $list_jobs, 10, '1000 jobs');
is(scalar(grep { $_->{query} =~ /expand/ } @requests), 0, 'without their tasks');

reset_workspace();
$workspace->post('seed', { jobs => 10, runs => 100000, days => 50, seed => 5 });
$workspace->post('seed',
	{ jobs => 1, runs => 50, days => 50 / 1440, seed => 6, until_ms => $workspace->get('clock')->{now} });
foreach my $order (qw(end_time start_time))
{
	$workspace->post('settings', { order => $order });
	asks_at_most(q{SELECT count(*) FROM runs WHERE start_time > now() - interval '1 hour'},
		50, $list_runs, 3, "50 runs of the last hour among 100 000 ($order)");
}

reset_workspace();
my $seeded = $workspace->post('seed', { jobs => 20, runs => 5000, days => 59, seed => 2 });
my $busy = $workspace->post('seed',
	{ jobs => 1, runs => 5000, days => 59, seed => 3, name => 'busy' })->{job_ids}->[0];
my $calm = $workspace->post('seed',
	{ jobs => 1, runs => 12, days => 59, seed => 4, name => 'calm' })->{job_ids}->[0];
$workspace->post('settings', { duration_ms => 3600_000 });
my $active = $workspace->create_job(name => 'active', max_concurrent_runs => 100, queue => $queue);
my @active = start_runs(40, $active);
$workspace->advance(1000);

my ($newest) = ask("SELECT string_agg(run_id::text, ',') FROM (SELECT run_id FROM whole.runs
	WHERE job_id = $busy ORDER BY start_time DESC, run_id LIMIT 10) AS r");
my ($newest_calm) = ask("SELECT string_agg(run_id::text, ',') FROM (SELECT run_id FROM whole.runs
	WHERE job_id = $calm ORDER BY start_time DESC, run_id LIMIT 10) AS r");
my $last_starts = $node->safe_psql('postgres', <<~'SQL');
	SELECT string_agg(start, ',' ORDER BY job_id) FROM
		(SELECT job_id, max(start_time)::text AS start FROM whole.runs
		WHERE job_id IN (SELECT job_id FROM whole.jobs WHERE name ~ '^seeded') GROUP BY job_id) AS r
	SQL

foreach my $order (qw(end_time start_time))
{
	$workspace->post('settings', { order => $order });
	asks_at_most("SELECT name FROM jobs WHERE job_id = $busy",
		'busy-00000', '/api/2.2/jobs/get', 1, "a job by id ($order)");
	asks_at_most("SELECT job_id FROM runs WHERE run_id = $active[0]",
		$active, $get_run, 1, "a run by id ($order)");
	asks_at_most(
		q{SELECT count(*) FROM runs WHERE state IN ('QUEUED', 'PENDING', 'RUNNING', 'TERMINATING')},
		40, $list_runs, 2, "active runs ($order)");
	asks_at_most(
		"SELECT string_agg(run_id::text, ',') FROM (SELECT run_id FROM runs
			WHERE job_id = $busy ORDER BY start_time DESC, run_id LIMIT 10) AS r",
		$newest, $list_runs, 3, "last 10 of 5000 runs of a job ($order)");
	asks_at_most(
		"SELECT string_agg(run_id::text, ',') FROM (SELECT run_id FROM runs
			WHERE job_id = $calm ORDER BY start_time DESC, run_id LIMIT 10) AS r",
		$newest_calm, $list_runs, 3, "last 10 of 12 runs of a job ($order)");
	asks_at_most(
		sprintf('SELECT count(*) FROM runs WHERE run_id IN (%s)', join(',', @active[ 0 .. 4 ])),
		5, $get_run, 5, "five runs by id ($order)");
	my ($starts, @calls) = ask(
		"SELECT string_agg(start_time::text, ',' ORDER BY job_id) FROM jobs AS j CROSS JOIN LATERAL
			(SELECT start_time FROM runs AS r WHERE r.job_id = j.job_id ORDER BY start_time DESC LIMIT 1) AS r
		WHERE name ~ '^seeded'");
	is($starts, $last_starts, "last run of each of 20 jobs ($order)");
	cmp_ok(scalar(grep { $_->{path} eq $list_runs } @calls),
		'<=', 60, 'takes at most 60 calls');
}
asks_at_most(
	"SELECT count((SELECT job_id FROM runs WHERE run_id = $active[0] + 0 * g)) FROM generate_series(1, 1000) AS g",
	1000, $get_run, 1, 'the same run looked up 1000 times');

# calls that do not depend on each other are made at once
$workspace->post('faults', { kind => 'delay', ms => 400, count => 5, path => $get_run });
my $begin = $workspace->get('clock')->{now};
ask(sprintf('SELECT count(*) FROM runs WHERE run_id IN (%s)', join(',', @active[ 0 .. 4 ])));
cmp_ok($workspace->get('clock')->{now} - $begin, '<', 1600, 'five look-ups wait together');
$workspace->delete('faults');
$workspace->post('faults', { kind => 'delay', ms => 300, count => 8, path => $list_runs });
my $some = $node->safe_psql('postgres',
	q{SELECT string_agg(job_id::text, ',') FROM (SELECT job_id FROM jobs WHERE name ~ '^seeded' LIMIT 8) AS j});
my ($of_jobs) = ask("SELECT count(*) FROM whole.runs WHERE job_id IN ($some)");
$workspace->delete('faults');
$workspace->post('faults', { kind => 'delay', ms => 300, count => 8, path => $list_runs });
$begin = $workspace->get('clock')->{now};
is((ask("SELECT count(*) FROM runs WHERE job_id IN ($some)"))[0],
	$of_jobs, 'lists of several jobs');
$workspace->delete('faults');
cmp_ok($workspace->get('clock')->{now} - $begin, '<', 2000, 'are read at once');

###
# Order by start time
###
reset_workspace();
$workspace->speed(0);
$workspace->post('seed', { jobs => 3, runs => 1500, days => 30, seed => 5 });
my $now = $workspace->get('clock')->{now};

# a long one, some at the very same time, some that never started
my $template = json($node->safe_psql('postgres', 'SELECT raw FROM runs LIMIT 1'));
sub load_run
{
	my ($id, %merge) = @_;
	my %run = (%$template, run_id => $id, job_run_id => $id, %merge);
	$workspace->post('load', { run => \%run });
	return;
}
load_run(1_000_000 + $_, start_time => $now - 5_000_000, end_time => $now - $_ * 1000)
  foreach 1 .. 40;
load_run(2_000_000 + $_, start_time => 0, end_time => $now - 86_400_000 * $_) foreach 1 .. 3;
load_run(3_000_000, start_time => $now - 25 * 86_400_000, end_time => $now - 1);

my %whole;

sub same_order
{
	my ($query, $name, $order) = @_;
	my ($got, @calls) = ask(sprintf($query, 'databricks'));
	my $want = $whole{"$order $query"} ||= $node->safe_psql('postgres', sprintf($query, 'whole'));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($got, $want, $name);
	return scalar(@calls);
}

foreach my $settings (
	{ order => 'end_time', short_pages => 'off' },
	{ order => 'start_time' },
	{ order => 'end_time', short_pages => 'mixed' },
	{ order => 'end_time', short_pages => 'empty' })
{
	my $with = json($settings);

	$workspace->post('settings', $settings);
	foreach my $nulls ('', 'NULLS LAST', 'NULLS FIRST')
	{
		foreach my $limit (1, 4, 26, 44, 100, 500)
		{
			my $calls =
			  same_order(
				"SELECT start_time FROM %s.runs ORDER BY start_time DESC $nulls LIMIT $limit",
				"newest $limit runs, '$nulls', $with", $settings->{order});
			cmp_ok($calls, '<', 20, 'without reading all of them')
			  if $limit < 100 && !$settings->{short_pages};
		}
	}
	same_order('SELECT start_time, run_id FROM %s.runs ORDER BY start_time DESC, run_id LIMIT 60',
		"ties ordered by something else, $with", $settings->{order});
	same_order(
		"SELECT start_time FROM %s.runs WHERE result_state = 'FAILED' ORDER BY start_time DESC NULLS LAST LIMIT 30",
		"with a condition that is not sent, $with", $settings->{order});
	same_order(
		"SELECT start_time FROM %s.runs WHERE start_time < now() - interval '10 days' ORDER BY start_time DESC LIMIT 12",
		"with an upper bound, $with", $settings->{order});
	same_order(
		"SELECT start_time FROM %s.runs WHERE start_time > (SELECT max(start_time) - interval '2 hours' FROM %1\$s.runs)
			ORDER BY start_time DESC LIMIT 500",
		"with a lower bound, $with", $settings->{order});
	same_order('SELECT start_time FROM %s.runs ORDER BY start_time DESC OFFSET 30 LIMIT 20',
		"with an offset, $with", $settings->{order});
	same_order(
		"SELECT start_time, run_id FROM %s.runs WHERE job_id IN (SELECT job_id FROM whole.jobs)
			ORDER BY start_time DESC NULLS LAST, run_id LIMIT 20",
		"of some jobs, $with", $settings->{order});
	same_order('SELECT start_time FROM %s.runs ORDER BY start_time LIMIT 20',
		"oldest first, $with", $settings->{order});
	same_order('SELECT start_time FROM %s.runs ORDER BY start_time DESC', "all, $with", $settings->{order});
	is( $node->safe_psql('postgres', <<~'SQL'),
		SET enable_sort = off;
		SELECT count(*) = (SELECT count(*) FROM whole.runs), count(DISTINCT run_id) = count(*),
			bool_and(start_time <= before OR start_time IS NULL OR before IS NULL)
		FROM (SELECT run_id, start_time, lag(start_time) OVER (ORDER BY start_time DESC NULLS LAST) AS before FROM runs) AS r
		SQL
		't|t|t', "all in order through a window function, $with");
}
$workspace->post('settings', { order => 'end_time', short_pages => 'off' });
like(
	$node->safe_psql('postgres',
		'EXPLAIN (COSTS OFF) SELECT * FROM runs ORDER BY start_time DESC LIMIT 10'),
	qr/Limit\n  ->  Foreign Scan on runs\n.*\n +Order: newest first/,
	'EXPLAIN says that nothing is sorted');
unlike(
	$node->safe_psql('postgres',
		'EXPLAIN (COSTS OFF) SELECT * FROM whole.runs ORDER BY start_time DESC LIMIT 10'),
	qr/Order/, 'but without conditions sent');

###
# Long lists in ranges of time
###
reset_workspace();
$workspace->speed(0);
$workspace->post('seed', { jobs => 5, runs => 6000, days => 50, seed => 6 });
$workspace->post('seed', { jobs => 5, runs => 2000, days => 2, seed => 7 });
my $count = 'SELECT count(*), count(DISTINCT run_id), sum(run_id) FROM runs';
my ($all) = ask('SELECT count(*), count(DISTINCT run_id), sum(run_id) FROM whole.runs');
like($all, qr/^8000\|8000\|/, 'runs to read');

sub most_at_once
{
	my @calls = @_;
	my ($most, @ends) = (0);

	foreach my $call (sort { $a->{n} <=> $b->{n} } @calls)
	{
		my $start = $call->{time} - $call->{ms};
		@ends = grep { $_ > $start } @ends;
		push @ends, $call->{time};
		$most = @ends if @ends > $most;
	}
	return $most;
}

foreach my $settings (
	{ order => 'end_time', short_pages => 'off' },
	{ order => 'start_time' },
	{ order => 'end_time', short_pages => 'mixed' })
{
	$workspace->post('settings', $settings);
	my ($got, @calls) = ask($count);
	is($got, $all, 'all runs, none twice: ' . json($settings));
	my %ranges = map { $_->{query} =~ /(start_time_from=\d+|start_time_to=\d+)/ ? ($1 => 1) : () } @calls;
	cmp_ok(scalar(keys %ranges), '>', 20, 'in ranges of time');
	cmp_ok(scalar(@calls), '<', 8000 / 25 * 1.35, 'with few calls more than pages')
	  if !$settings->{short_pages} || $settings->{short_pages} eq 'off';
}
$workspace->post('settings', { order => 'end_time', short_pages => 'off' });

# in bounds, in a state, of a job, and together
foreach my $where (
	q{start_time > now() - interval '20 days'},
	q{start_time < now() - interval '1 days'},
	q{start_time BETWEEN now() - interval '30 days' AND now() - interval '1 day'},
	q{state = 'TERMINATED'},
	q{run_type = 'JOB_RUN' AND start_time > now() - interval '40 days'})
{
	my ($sent) = ask("$count WHERE $where");
	my ($whole) = ask("SELECT count(*), count(DISTINCT run_id), sum(run_id) FROM whole.runs WHERE $where");
	is($sent, $whole, "a long list: $where");
}

# a cursor that reads on and on, and a look at a few rows
is( $node->safe_psql('postgres', <<~'SQL'), "8000\n0", 'a cursor over a long list');
	CREATE FUNCTION count_by_cursor() RETURNS int LANGUAGE plpgsql AS $$
	DECLARE c refcursor; r record; n int := 0; BEGIN
		OPEN c NO SCROLL FOR SELECT run_id FROM databricks.runs;
		LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; n := n + 1; END LOOP;
		RETURN n; END $$;
	SELECT count_by_cursor();
	SELECT count(*) FROM (SELECT run_id FROM databricks.runs WHERE run_id = -1 OR job_id < 0 LIMIT 5) AS r;
	SQL
cmp_ok(
	$node->safe_psql('postgres', <<~'SQL'),
		BEGIN; DECLARE c CURSOR FOR SELECT run_id, raw FROM runs; FETCH 6000 FROM c \g /dev/null
		SELECT max(total_bytes) / 1024 FROM pg_backend_memory_contexts WHERE name ~ '^databricks' AND name !~ 'seen'
		SQL
	'<', 4096, 'which holds only pages');

# page tokens that expire in the middle
foreach my $skip (2, 30, 60)
{
	$workspace->post('faults', {
		kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE',
		message => ($skip == 2 ? 'Invalid Token.' : 'The page token has expired.'), path => $list_runs, query => 'page_token=',
		skip => $skip, count => 3 });
	is((ask($count))[0], $all, "page tokens expire after $skip pages");
	is(scalar(grep { $_->{left} } @{ $workspace->get('faults')->{faults} }), 0, 'all of them were met');
	$workspace->delete('faults');
}
$workspace->post('faults', {
	kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE',
	message => 'The page token has expired.', path => '/api/2.2/jobs/*', query => 'page_token=', count => undef });
like(sql_error($node, 'SELECT count(*) FROM databricks.runs')->{message},
	qr/page tokens of runs\/list expire/, 'but not for ever');
$workspace->delete('faults');

###
# What happens while a list is read
###
foreach my $order (qw(end_time start_time))
{
	reset_workspace();
	$workspace->post('seed', { jobs => 5, runs => 2500, days => 50, seed => 8 });
	$workspace->post('settings', { order => $order, duration_ms => -1 });
	my $job = $workspace->create_job(max_concurrent_runs => 200, queue => $queue);
	my @old = start_runs(30, $job);
	$workspace->advance(3600_000);
	my ($before) = ask('SELECT count(*) FROM whole.runs');
	my $missed = 0;
	my $doubled = 0;

	# each time some end and some start between the pages of a scan
	my $session = $node->background_psql('postgres');
	foreach my $round (1 .. 4)
	{
		my $table = $round % 2 ? 'whole.runs' : 'databricks.runs';
		my $hold = $workspace->post('faults',
			{ kind => 'delay', ms => 1500, path => $list_runs, skip => 3 });
		my $mark = $workspace->mark;

		$session->query_until(qr/^begun$/m,
			"\\echo begun\nCREATE TEMP TABLE seen AS SELECT run_id FROM $table;\n");
		poll_until('the scan is under way', sub { $workspace->calls(since => $mark, path => $list_runs) >= 3 });
		$workspace->post('finish', { run_id => $_ }) foreach splice(@old, 0, 5);
		start_runs(3, $job);
		my $result = $session->query_safe(
			'SELECT count(*), count(DISTINCT run_id) FROM seen; DROP TABLE seen;');
		my ($rows, $distinct) = $result =~ /(\d+)\|(\d+)/;
		$missed++ if $distinct < $before;
		$doubled++ if $rows != $distinct;
		$before += 3;
		$workspace->delete('faults');
	}
	$session->quit;
	is($missed, 0, "no run that ends meanwhile is missed ($order)");
	is($doubled, 0, "and none is there twice ($order)");
}

done_testing();
