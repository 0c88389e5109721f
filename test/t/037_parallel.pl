# 037_parallel.pl - api_many: many calls at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);

my $get = '/api/2.2/jobs/get';

sub sql { return $node->safe_psql('postgres', @_); }

# The SQL of an array of calls.
sub calls
{
	my (@calls) = @_;
	return q{'} . json(\@calls) =~ s/'/''/gr . q{'};
}

sub get_job
{
	my ($job_id) = @_;
	return { method => 'GET', path => $get, body => { job_id => "$job_id" } };
}

my @jobs = map { $workspace->create_job(name => "job $_") } 1 .. 40;

### Order and parallelism

# Answers are in the order of the calls, whatever the order they came in.
{
	$workspace->post('faults',
		{ kind => 'delay', ms => 1500, path => $get, query => "job_id=$jobs[0]" });
	my $mark = $workspace->mark;
	my $rows = sql(<<~SQL);
		SELECT ordinal, status, response->'job_id', error IS NULL
		FROM databricks.api_many(@{[ calls(map { get_job($_) } @jobs) ]})
		SQL
	is($rows, join("\n", map { "$_|200|$jobs[$_ - 1]|t" } 1 .. 40), 'answers are in the order of the calls');
	is($workspace->calls(since => $mark), 40, '... each of which was sent once');
	my @done = map { $_->{n} } sort { $a->{time} + $a->{ms} <=> $b->{time} + $b->{ms} }
	  $workspace->journal(since => $mark);
	cmp_ok($done[-1], '<=', $mark + 16, 'a slow call does not hold up the others');
}

# As many as max_parallel are under way at once, and never more.
{
	my $delay = 1500;
	my $mark = $workspace->mark;
	my $begun = time;

	$workspace->post('faults', { kind => 'delay', ms => $delay, path => $get, count => 20 });
	is(sql("SELECT count(response) FROM databricks.api_many(@{[ calls(map { get_job($_) } @jobs[ 0 .. 19 ]) ]})"),
		20, 'twenty slow calls');
	cmp_ok(time - $begun, '<', 20 * $delay / 1000, '... take less time than one after the other');
	my @begun = map { $_->{time} } $workspace->journal(since => $mark, path => $get);
	cmp_ok($begun[15], '<', $begun[0] + $delay, '... since sixteen are under way at once');
	cmp_ok($begun[16], '>=', $begun[0] + $delay, '... but not more');
}

{
	sql(q{ALTER SERVER prod OPTIONS (ADD max_parallel '2')});
	my $mark = $workspace->mark;
	$workspace->post('faults', { kind => 'delay', ms => 200, path => $get, count => 4 });
	sql("SELECT databricks.api_many(@{[ calls(map { get_job($_) } @jobs[ 0 .. 3 ]) ]})");
	my @begun = map { $_->{time} } $workspace->journal(since => $mark, path => $get);
	cmp_ok($begun[2], '>=', $begun[0] + 200, 'max_parallel says how many');
	sql(q{ALTER SERVER prod OPTIONS (DROP max_parallel)});
}

### Failures

{
	$workspace->post('faults', { kind => 'bad_json', path => $get, query => "job_id=$jobs[2]" });
	$workspace->post('faults', { kind => 'lost', path => '/api/2.2/jobs/create' });
	$workspace->post('faults', { kind => 'status', status => 503, retry_after => 0, path => $get, query => "job_id=$jobs[4]" });
	$workspace->post('faults', { kind => 'bad_json', path => '/api/2.1/jobs/create' });
	my $job = { name => 'made', tasks => [ { task_key => 'a', notebook_task => { notebook_path => '/a' } } ] };
	my $mark = $workspace->mark;
	my @rows = map { [ split /\|/, $_, 4 ] } split /\n/, sql(<<~SQL);
		SELECT * FROM databricks.api_many(@{[ calls(
			get_job($jobs[0]), get_job(1), get_job($jobs[2]),
			{ method => 'POST', path => '/api/2.2/jobs/create', body => $job },
			get_job($jobs[4]),
			{ method => 'post', path => '/api/2.1/jobs/create', body => $job },
			{ method => 'POST', path => '/api/2.2/jobs/update', body => { job_id => $jobs[6] } },
			{ method => 'GET', path => '/api/2.2/jobs/list', body => undef },
			{ method => 'GET', path => '/api/2.2/nothing' }) ]})
		SQL

	is(join(' ', map { $_->[0] } @rows), '1 2 3 4 5 6 7 8 9', 'failed calls do not hide the others');
	is(join(' ', map { $_->[1] } @rows), '200 400 200  200 200 200 200 404', '... each has its status');
	is(join(' ', map { length $_->[2] ? 1 : 0 } @rows), '1 0 0 0 1 0 1 1 0', '... an answer if it succeeded');
	is(join(' ', map { length $_->[3] ? 1 : 0 } @rows), '0 1 1 1 0 1 0 0 1', '... else an error');
	like($rows[1]->[3], qr/does not exist/, '... which says what the service said');
	like($rows[2]->[3], qr/answer cannot be read/, '... or that it cannot be read');
	like($rows[3]->[3], qr/unknown/, '... or that the outcome is unknown');
	like($rows[5]->[3], qr/cannot be read.*probably carried out/, '... or that it was probably carried out');
	is($workspace->calls(since => $mark, method => 'POST', path => '/api/*/jobs/create'),
		2, 'what must not be repeated is not');
	is($workspace->calls(since => $mark, path => $get, query => "job_id=$jobs[4]"),
		2, 'what may be is');
}

### What is refused before anything is sent

{
	my $mark = $workspace->mark;
	my $good = get_job($jobs[0]);
	my @bad = (
		[ 'no array', q{'{}'}, '22023', qr/must be a JSON array/ ],
		[ 'null', 'NULL', '22004', qr/must not be null/ ],
		[ 'no object', calls($good, 'GET'), '22023', qr/call 2 .*not valid/ ],
		[ 'no method', calls($good, $good, { path => $get }), '22023', qr/call 3 .*not valid/ ],
		[ 'no path', calls({ method => 'GET' }), '22023', qr/call 1 .*not valid/ ],
		[ 'a number as path', calls({ method => 'GET', path => 1 }), '22023', qr/call 1 .*not valid/ ],
		[ 'a member of no meaning', calls({ %$good, query => {} }), '22023', qr/call 1 .*not valid/ ],
		[ 'a strange method', calls($good, { %$good, method => 'BREW' }), '22023', qr/BREW.*call 2 of api_many/s ],
		[ 'an address elsewhere', calls($good, { %$good, path => 'https://example.com/' }), '22023', qr/call 2 of api_many/ ],
		[ 'a path with blanks', calls($good, { %$good, path => '/api/2.2/jobs get' }), '22023', qr/call 2 of api_many/ ],
		[ 'a query that is no object', calls($good, { %$good, body => [1] }), '22023', qr/call 2 of api_many/ ],
	);
	foreach my $case (@bad)
	{
		my ($name, $calls, $state, $pattern) = @$case;
		my ($stdout, $stderr) = ('', '');
		$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT databricks.api_many($calls)", stderr => \$stderr);
		like($stderr, qr/ERROR:  $state: .*$pattern/s, "$name is refused");
	}

	my $writes = calls($good, $good,
		{ method => 'POST', path => '/api/2.2/jobs/delete', body => { job_id => $jobs[39] } });
	my $stderr = '';
	$node->psql('postgres', <<~SQL, stderr => \$stderr);
		\\set VERBOSITY verbose
		SET default_transaction_read_only = on;
		SELECT databricks.api_many($writes)
		SQL
	like($stderr, qr/25006.*call 3 of api_many/s, 'a change in a read-only transaction is refused');
	is($workspace->calls(since => $mark), 0, '... and of all these lists nothing was sent');
	is( sql("SET default_transaction_read_only = on; SELECT count(*) FROM databricks.api_many(@{[ calls($good, $good) ]})"),
		2, 'questions may be asked there');
	is(sql(q{SELECT count(*) FROM databricks.api_many('[]')}), 0, 'no calls, no rows');
}

### Interrupts

{
	$workspace->post('faults', { kind => 'hang', path => $get, query => "job_id=$jobs[1]" });
	my $begun = time;
	is( sql_error($node, "SET statement_timeout = '300ms'; SELECT databricks.api_many(@{[ calls(map { get_job($_) } @jobs) ]})")->{state},
		'57014', 'a list of calls can be cancelled');
	cmp_ok(time - $begun, '<', patience(20), '... at once');
}

### Memory

# 64 MB of answers, while only a few may be in memory at once.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $peak = sub {
		my $status = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status");
		my ($kb) = $status =~ /^VmHWM:\s+(\d+) kB/m;
		return $kb;
	};
	my $run = sub {
		my ($count) = @_;
		return $session->query_safe(<<~SQL);
			SELECT count(*), sum(length(response->>'x')), bool_and(ordinal = n)
			FROM (SELECT *, row_number() OVER () AS n FROM databricks.api_many(
				(SELECT jsonb_agg(jsonb_build_object('method', 'GET', 'path', '/api/2.2/jobs/get')) FROM generate_series(1, $count)))) AS r
			SQL
	};
	$workspace->post('faults',
		{ kind => 'status', status => 200, path => $get, count => undef, json => { x => 'y' x 65536 } });
	is($run->(50), '50|3276800|t', 'large answers');
	my $before = $peak->();
	is($run->(1000), '1000|65536000|t', '... a thousand of them');
	SKIP:
	{
		skip 'figures of an instrumented server', 1 if instrumented();
		cmp_ok($peak->() - $before, '<', 24 * 1024, '... without keeping them all in memory');
	}
	$session->quit;
	$workspace->delete('faults');
}

done_testing();
