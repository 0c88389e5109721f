# 034_limits.pl - the rate limiter and what view stat_api counts.
#
# What is asserted about time are lower bounds, which no load of the machine can
# break: a request is never sent before its moment. The moments lie 52.5 ms apart
# for a limit of 20 a second.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $gap = 52.5;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => <<~CONF);
	max_connections = 100
	restart_after_crash = on
	log_min_messages = debug1
	CONF
connect_workspace($node, $workspace, rate_limit => '1');

my $job_id = $workspace->create_job(name => 'limited');
my $get = '/api/2.2/jobs/get';

sub sql { return $node->safe_psql('postgres', @_); }

sub limit_to
{
	my ($factor) = @_;
	sql("ALTER SERVER prod OPTIONS (SET rate_limit '$factor')");
	return;
}

# Milliseconds that so many calls, one after the other in one session, take.
sub calls_take
{
	my ($count, $call) = @_;
	return sql(<<~SQL);
		\\o /dev/null
		SELECT clock_timestamp() AS begun \\gset
		SELECT $call FROM generate_series(1, $count);
		\\o
		SELECT round(extract(epoch FROM clock_timestamp() - :'begun'::timestamptz) * 1000);
		SQL
}

# The most requests of a list (times in ms, in order) in any so many ms.
sub most_within
{
	my ($window, @times) = @_;
	my $most = 0;
	my $first = 0;

	foreach my $last (0 .. $#times)
	{
		$first++ while $times[$last] - $times[$first] >= $window;
		$most = $last - $first + 1 if $last - $first + 1 > $most;
	}
	return $most;
}

# How many sessions wait in a function of ours.
sub waiting
{
	return sql(<<~SQL);
		SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Extension' AND query LIKE '%get_job%'
		SQL
}

my $get_job = "databricks.get_job($job_id)";

### The limit holds for all sessions together

# 64 at once, against a service that turns away what is too much.
{
	my $script = PostgreSQL::Test::Utils::tempdir() . '/get_job.sql';
	PostgreSQL::Test::Utils::append_to_file($script, "SELECT $get_job;\n");
	$workspace->post('settings', { rate_limits => JSON::PP::true });
	my $mark = $workspace->mark;
	my $begun = time;

	$node->command_ok(
		[ 'pgbench', '-n', '-c', 64, '-j', 2, '-t', 2, '-f', $script, 'postgres' ],
		'no call of 64 sessions fails');
	my $took = time - $begun;
	my @calls = $workspace->journal(path => $get, since => $mark);
	my $throttled = grep { $_->{status} == 429 } @calls;
	my @times = sort { $a <=> $b } map { $_->{time} } @calls;

	is(@calls - $throttled, 128, '... each is carried out once');
	cmp_ok($throttled, '<=', 3, '... and hardly one is turned away');
	cmp_ok($took, '>=', 127 * $gap / 1000, '... as fast as the limit allows');
	note sprintf("at most %d in 3 s, %d in 1 s", map { most_within($_, @times) } 3000, 1000);
	cmp_ok(most_within(3000, @times), '<=', 61, '... which no 3 seconds exceed');
	cmp_ok(most_within(1000, @times), '<=', 23, '... nor any second by much');
	$workspace->post('settings', { rate_limits => JSON::PP::false });
}

### Bursts and factors

# After a quiet time two come at once, then it is one interval each.
sql('SELECT pg_sleep(0.2)');
cmp_ok(calls_take(8, $get_job), '>=', 6 * $gap, 'a burst is of two at most');

limit_to('0.5');
cmp_ok(calls_take(5, $get_job), '>=', 3 * 2 * $gap, 'half the rate takes twice as long');

limit_to('10');
sql('SELECT databricks.stat_api_reset()');
cmp_ok(calls_take(21, $get_job), '>=', 19 * $gap / 10, 'ten times the rate is a limit');
cmp_ok(sql(q{SELECT sum(quota_wait_ms) FROM databricks.stat_api}),
	'<=', 20 * $gap, '... ten times as high');

limit_to('0');
sql('SELECT databricks.stat_api_reset()');
calls_take(40, $get_job);
is(sql(q{SELECT calls, quota_wait_ms FROM databricks.stat_api}),
	'40|0', 'factor 0 is no limit');

foreach my $bad ('-1', 'fast', 'NaN')
{
	is(sql_error($node, "ALTER SERVER prod OPTIONS (SET rate_limit '$bad')")->{state},
		'HV024', "factor $bad is refused");
}

# What a scan waited shows in EXPLAIN, and the log says who waited.
{
	limit_to('0.05');
	my $mark = log_position($node);
	my $plans = sql(<<~SQL);
		EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM databricks.jobs;
		EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM databricks.jobs;
		SQL
	my @waits = $plans =~ /Quota Wait: ([0-9.]+) ms/g;
	is(scalar @waits, 2, 'EXPLAIN tells the wait for the rate limit');
	cmp_ok($waits[1], '>', 0, '... of a scan that had to');
	like(log_since($node, $mark),
		qr{jobs/list.*held back \d+ ms for the rate limit}, '... as does the log');
}

### A 429 is for everybody

limit_to('1');
{
	my @sessions = map { $node->background_psql('postgres') } 1 .. 4;
	my $mark = $workspace->mark;

	$workspace->post('faults',
		{ kind => 'status', status => 429, path => $get, retry_after => 2 });
	$sessions[0]->query_until(qr/sent/, "\\echo sent\nSELECT $get_job;\n");
	poll_until('it was turned away',
		sub { return $workspace->calls(path => $get, since => $mark, status => 429); });
	poll_until('it knows', sub { return waiting() == 1; });
	$_->query_until(qr/sent/, "\\echo sent\nSELECT $get_job;\n")
	  foreach @sessions[ 1 .. 3 ];
	poll_until('the others wait', sub { return waiting() == 4; });
	sql(q{SELECT databricks.find_job('limited')});
	$_->quit foreach @sessions;

	my ($refused, @later) = $workspace->journal(path => $get, since => $mark);
	my ($other) = $workspace->journal(path => '/api/2.2/jobs/list', since => $mark);
	is(scalar @later, 4, 'all sessions got through in the end');
	cmp_ok($later[0]->{time}, '>=', $refused->{time} + 2000,
		'... but nobody before the service asked for it');
	cmp_ok($later[3]->{time}, '>=', $refused->{time} + 2000 + 3 * $gap,
		'... and then one after the other');
	cmp_ok($other->{n}, '<', $later[0]->{n}, 'calls of other kinds went on meanwhile');
}

# ... workers among them, whoever was told.
{
	my $list = '/api/2.2/jobs/runs/list';
	my $by_worker = sub { return ($_[0]->{headers}->{'user-agent'} || '') =~ m{function/track}; };
	my $look = "databricks.api('GET', '$list', '{\"limit\": 7}')";
	my $mark = $workspace->mark;

	sql(q{SELECT databricks.track('prod', poll_interval => '100 ms')});
	poll_until('the worker looks again and again',
		sub { return $workspace->calls(path => $list, since => $mark, query => 'active_only') > 2; });
	foreach my $told ('limit=7', 'active_only')
	{
		$mark = $workspace->mark;
		$workspace->post('faults',
			{ kind => 'status', status => 429, path => $list, query => $told, retry_after => 2 });
		sql("SELECT $look") if $told eq 'limit=7';
		poll_until('one is turned away',
			sub { return $workspace->calls(path => $list, since => $mark, status => 429); });
		sql("SELECT $look") if $told ne 'limit=7';
		poll_until('the worker looks again', sub {
				my ($last) = reverse grep { $by_worker->($_) } $workspace->journal(path => $list, since => $mark);
				return $last && $last->{status} == 200; });
		my @calls = $workspace->journal(path => $list, since => $mark);
		my ($refused) = grep { $_->{status} == 429 } @calls;
		my @later = grep { $_->{n} > $refused->{n} } @calls;
		my $who = $by_worker->($refused) ? 'worker' : 'session';

		is($who, $told eq 'limit=7' ? 'session' : 'worker', "a $who is turned away");
		# The one that was not told may have been calling already.
		cmp_ok(scalar(grep { $_->{time} < $refused->{time} + 2000 } @later),
			'<=', 1, '... then neither worker nor session calls before its time');
		is(scalar(grep { $_->{query} =~ /limit=7/ } @later), 1, '... though both had to');
	}
	sql(q{SELECT databricks.untrack('prod')});
}

### The wait can be ended, and a crash ends the pause

{
	# The same host under another name, used with little patience.
	sql(<<~SQL);
		CREATE SERVER impatient FOREIGN DATA WRAPPER databricks
			OPTIONS (host '@{[ $workspace->url ]}', retry_timeout '5s');
		CREATE USER MAPPING FOR PUBLIC SERVER impatient
			OPTIONS (token '@{[ $workspace->token ]}');
		SQL
	my $patient = $node->background_psql('postgres', on_error_stop => 0);
	my $impatient = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $patient->query_safe('SELECT pg_backend_pid()');
	my $impatient_pid = $impatient->query_safe('SELECT pg_backend_pid()');
	my $mark = $workspace->mark;
	my $begun = time;

	$workspace->post('faults',
		{ kind => 'status', status => 503, path => $get, retry_after => 2 });
	$impatient->query_until(qr/sent/,
		"\\echo sent\nSELECT databricks.get_job($job_id, 'impatient');\n");
	poll_until('the first one is to come again',
		sub { return $workspace->calls(path => $get, since => $mark, status => 503); });
	$workspace->post('faults',
		{ kind => 'status', status => 429, path => $get, retry_after => 50 });
	$patient->query_until(qr/sent/, "\\echo sent\nSELECT $get_job;\n");
	poll_until('the second one is turned away',
		sub { return $workspace->calls(path => $get, since => $mark, status => 429); });

	my $cancelled = time;
	is( sql_error($node, "SET statement_timeout = '200ms'; SELECT $get_job;")->{state},
		'57014', 'who waits for the rate limit can be cancelled');
	cmp_ok(time - $cancelled, '<', patience(10), '... at once');
	poll_until('the first one has given up',
		sub { return sql("SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $impatient_pid") eq 't'; });
	cmp_ok(time - $begun, '<', patience(30), 'a pause does not make a retry wait beyond its patience');
	$impatient->query_until(qr/read/, "\\echo read\n");
	like($impatient->{stderr}, qr/temporarily unavailable/,
		'... and the error is the one that was to be retried');
	is(waiting(), 1, 'the other one still waits');

	kill 'KILL', $pid;
	eval { $_->quit } foreach $patient, $impatient;
	poll_until('the server is back', sub { return eval { sql('SELECT 1') } });
	cmp_ok(calls_take(3, $get_job), '>=', 2 * $gap,
		'after a crash calls go on, without a burst');
	is($workspace->calls(path => $get, since => $mark, status => 200),
		3, '... and all arrive');
}

### Counters

# What the counters say is what the service saw.
{
	limit_to('0');
	sql('SELECT databricks.stat_api_reset()');
	my $mark = $workspace->mark;
	$workspace->post('faults',
		{ kind => 'status', status => 503, path => $get, retry_after => 0, count => 2 });
	$workspace->post('faults', { kind => 'status', status => 429, path => $get, retry_after => 0 });
	sql("SELECT $get_job");
	sql("SELECT databricks.run_now($job_id)") foreach 1 .. 3;
	sql('SELECT count(*) FROM databricks.runs');
	sql_error($node, 'SELECT databricks.get_job(1)');

	my %seen;
	foreach my $call ($workspace->journal(since => $mark))
	{
		my $seen = $seen{"$call->{method} " . $call->{path} =~ s{^/api/[0-9.]+/}{}r} ||= [ 0, 0, 0 ];
		$seen->[0]++;
		$seen->[1]++ if $call->{status} >= 400;
		$seen->[2]++ if $call->{status} == 429;
	}
	my $expected = join("\n", map { join('|', $_, @{ $seen{$_} }) } sort keys %seen);
	is( sql(q{SELECT endpoint, calls, errors, throttled FROM databricks.stat_api ORDER BY endpoint COLLATE "C"}),
		$expected, 'the counters say what the journal says');
	is( sql(q{SELECT calls, errors, retries, throttled FROM databricks.stat_api WHERE endpoint = 'GET jobs/get'}),
		'5|4|3|1', '... for calls that failed and were repeated too');
	is( sql(q{SELECT bool_and(bytes_in > 0 AND max_ms > 0 AND mean_ms <= max_ms AND total_ms >= max_ms
							  AND workspace = 'prod' AND role = current_user AND quota_wait_ms >= 0)
			  FROM databricks.stat_api}),
		't', '... with bytes and times');
}

# Ids in paths are not told apart, and a flood of names ends in one line.
{
	sql('SELECT databricks.stat_api_reset()');
	sql_error($node, q{SELECT databricks.api('GET', '/api/2.0/things/1234567/parts/0a1b2c3d')});
	is(sql('SELECT endpoint, calls, errors FROM databricks.stat_api'),
		'GET things/*/parts/*|1|1', 'ids do not make endpoints');
	sql(<<~'SQL');
		SELECT count(*) FROM generate_series(1, 1000) AS n,
			LATERAL databricks.api_many(jsonb_build_array(jsonb_build_object('method', 'GET',
				'path', '/api/2.0/' || translate(n::text, '0123456789', 'abcdefghij'))))
		SQL
	is(sql('SELECT sum(calls) FROM databricks.stat_api'), 1001, 'no call is lost when there are many endpoints');
	is(sql(q{SELECT count(*), bool_and(calls > 50 AND role IS NULL) FROM databricks.stat_api WHERE endpoint = 'other'}),
		'1|t', '... though not all have a line of their own');
}

# Who sees what.
{
	sql(q{CREATE ROLE analyst LOGIN; CREATE ROLE stranger LOGIN;
		  GRANT USAGE ON FOREIGN SERVER prod TO analyst;});
	my $as = sub {
		my ($role, $sql) = @_;
		return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
	};
	cmp_ok($as->('analyst', 'SELECT count(*) FROM databricks.stat_api'),
		'>', 0, 'who may use a workspace sees its counters');
	is($as->('stranger', 'SELECT count(*) FROM databricks.stat_api'), 0, '... and nobody else');
	is( sql_error($node, 'SELECT databricks.stat_api_reset()',
			extra_params => [ '-U', 'analyst' ])->{state},
		'42501', 'not everybody can reset them');
	sql(<<~SQL);
		SELECT databricks.stat_api_reset();
		CREATE USER MAPPING FOR analyst SERVER prod OPTIONS (token 'dapi-standin-viewer');
		SELECT databricks.find_job('limited');
		SELECT databricks.find_job('limited', 'impatient');
		SELECT databricks.find_job('limited') FROM generate_series(1, 2);
		SQL
	$as->('analyst', q{SELECT databricks.find_job('limited') FROM generate_series(1, 4)});
	is( sql('SELECT workspace, role, endpoint, calls FROM databricks.stat_api WHERE role IS NOT NULL ORDER BY 4, 1'),
		"impatient|@{[ sql('SELECT current_user') ]}|GET jobs/list|1\n"
		  . "prod|@{[ sql('SELECT current_user') ]}|GET jobs/list|3\nprod|analyst|GET jobs/list|4",
		'each workspace and role has a line of its own');
	sql('SELECT databricks.stat_api_reset()');
	is(sql('SELECT count(*) FROM databricks.stat_api'), 0, 'a reset forgets them');
}

### Without preload each session is on its own

{
	my $alone = new_node('alone');
	connect_workspace($alone, $workspace, rate_limit => '1');
	my $session = $alone->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $mark = $workspace->mark;

	$workspace->post('faults',
		{ kind => 'status', status => 429, path => $get, retry_after => 50 });
	$session->query_until(qr/sent/, "\\echo sent\nSELECT $get_job;\n");
	poll_until('it was turned away',
		sub { return $workspace->calls(path => $get, since => $mark, status => 429); });
	my $begun = time;
	$alone->safe_psql('postgres', q{ALTER SERVER prod OPTIONS (SET rate_limit '0.05')});
	# the second and the third call each wait for what is left of 1050 ms
	my ($count, $counters) = split /\n/, $alone->safe_psql('postgres', <<~SQL);
		SELECT count($get_job) FROM generate_series(1, 3);
		SELECT endpoint, calls, quota_wait_ms + total_ms FROM databricks.stat_api;
		SQL
	my ($endpoint, $calls, $waited) = split /\|/, $counters;
	is("$count $endpoint $calls", '3 GET jobs/get 3',
		'each session has its own counters');
	cmp_ok($waited, '>=', 0.9 * 2 * 20 * $gap, '... its own limit');
	cmp_ok(time - $begun, '<', patience(30), '... and its own pauses');
	$alone->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	eval { $session->quit };
}

done_testing();
