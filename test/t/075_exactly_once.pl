# 075_exactly_once.pl - one run per attempt, whatever is killed.
#
# Sessions ask for runs, in transactions of all kinds, while worker, backends and
# postmaster are killed at random moments and the service loses answers. In the
# end the workspace has exactly the runs that the database knows of.
#
#   DBX_PROVE_REQUESTS (300), DBX_PROVE_KILLS (15), DBX_PROVE_SEED

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

use Databricks::Test;

my $requests = $ENV{DBX_PROVE_REQUESTS} || 300;
my $kills = $ENV{DBX_PROVE_KILLS} || 15;
my $seed = $ENV{DBX_PROVE_SEED} || int(rand(1_000_000));
my $sessions = 4;
my $max_attempts = 6;
my $pause = 0.9;    # seconds between two kills, on average
srand($seed);
note("seed $seed");

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 10, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(
	name => 'job',
	max_concurrent_runs => 1000,
	parameters => [ { name => 'n', default => '' } ]);

my $node = new_node(
	'main',
	preload => 1,
	conf => <<~CONF);
		restart_after_crash = on
		databricks.follow_interval = 300ms
		max_prepared_transactions = 100
		max_worker_processes = 16
		fsync = off
		CONF
connect_workspace($node, $workspace);

# SQL that may fail at any point, and is not repeated: whether it was committed is
# for the database to know.
sub attempt
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	# Writing to a psql that has just lost its server dies.
	eval {
		$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, timeout => 60, timed_out => \my $timed_out);
	};
	return $out;
}

sub wait_until_up
{
	poll_until('the server answers', sub { attempt('SELECT 1') eq '1' });
	return;
}

sub wait_a_while
{
	my ($most) = @_;
	usleep(int(rand($most * 1_000_000)));
	return;
}

# --- those who ask ------------------------------------------------------------------

sub enqueue { return "SELECT databricks.enqueue_run_now($job, jsonb_build_object('n', '$_[0]'), max_attempts => $max_attempts, retry_delay => '50 ms')"; }

my @kinds = (
	sub { enqueue($_[0]) },
	sub { enqueue($_[0]) },
	sub { enqueue($_[0]) },
	sub { 'SET synchronous_commit = off; ' . enqueue($_[0]) },
	sub { 'SET synchronous_commit = off; ' . enqueue($_[0]) },
	sub { 'BEGIN; ' . enqueue($_[0]) . '; ROLLBACK' },
	sub { 'BEGIN; SAVEPOINT a; ' . enqueue("$_[0]-undone") . '; ROLLBACK TO a; ' . enqueue($_[0]) . '; COMMIT' },
	sub { 'BEGIN; ' . enqueue($_[0]) . '; SELECT pg_sleep(0.2); COMMIT' },
	sub { 'BEGIN; ' . enqueue($_[0]) . "; PREPARE TRANSACTION '$_[0]'; COMMIT PREPARED '$_[0]'" },
	sub { 'BEGIN; ' . enqueue($_[0]) . "; PREPARE TRANSACTION '$_[0]'; ROLLBACK PREPARED '$_[0]'" });

# A byte for each that was asked for, so that the kills fall among all of them.
pipe(my $progress, my $asked_one) or die "pipe: $!";
my @children;
foreach my $session (1 .. $sessions)
{
	my $pid = fork();
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		srand($seed + $session);
		my $share = int($requests / $sessions);
		my $span = $kills * $pause / $share * 2;
		foreach my $i (1 .. $share)
		{
			eval { wait_until_up(); attempt($kinds[ int(rand(@kinds)) ]->("s$session-$i")); };
			syswrite($asked_one, '.');
			wait_a_while($span);
		}
		POSIX::_exit(0);
	}
	push @children, $pid;
}
close($asked_one);
my $asked = 0;

# Wait until this share of the requests was asked for.
sub wait_for_share
{
	my ($share) = @_;
	while ($asked < $share * $requests)
	{
		my $got = sysread($progress, my $bytes, int($share * $requests) + 1 - $asked);
		return if !$got;    # all are done
		$asked += $got;
	}
	return;
}

# --- those who kill -------------------------------------------------------------------

my %killed = (worker => 0, backend => 0, postmaster => 0);
my $start = time;
for (my $i = 0; $i < $kills; $i++)
{
	$workspace->post('faults', { faults => [
		{ kind => 'lost', path => '/api/2.2/jobs/run-now', count => 2 },
		{ kind => 'delay', ms => 80, work => JSON::PP::true, path => '/api/2.2/jobs/run-now', count => 10 } ] });

	# Some runs fail, so that there are second attempts.
	$workspace->post('plans',
		{ match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 5, result => 'FAILED' }, count => 2 });
	wait_for_share($i / $kills);
	wait_a_while($pause);

	my $victim = (qw(worker backend postmaster))[ int(rand(3)) ];
	if ($victim eq 'postmaster')
	{
		$node->kill9;

		# A start that fails, because children of the dead one are still there,
		# leaves its process id in the object.
		poll_until('the server can be started again', sub {
			$node->{_pid} = undef;
			return $node->start(fail_ok => 1);
		});
	}
	else
	{
		my $pids = attempt($victim eq 'worker'
			? q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker'}
			: q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()});
		my ($pid) = split /\n/, $pids;
		if (!$pid)
		{
			$i-- if time - $start < 20 * $kills;
			next;
		}
		kill 'KILL', $pid;
	}
	$killed{$victim}++;
	wait_until_up();
}
$workspace->delete('faults');
waitpid($_, 0) foreach @children;
wait_until_up();

# Transactions that a crash has left prepared are decided now.
foreach my $gid (split /\n/, attempt('SELECT gid FROM pg_prepared_xacts'))
{
	attempt("COMMIT PREPARED '$gid'");
}

# --- what came of it --------------------------------------------------------------------

my $settled = eval {
	poll_until('all requests have ended', sub {
		attempt(q{SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL}) eq '0' });
};
ok($settled, 'all requests come to their end')
  or diag(attempt('SELECT state, count(*), min(last_error) FROM databricks.run_requests GROUP BY state'));

my (%runs_of, %seen);
my %query = (job_id => $job, limit => 25, expand_tasks => 'true');
while (1)
{
	my $page = $workspace->api('GET', '/api/2.2/jobs/runs/list', {%query});
	foreach my $run (@{ $page->{runs} || [] })
	{
		next if $seen{ $run->{run_id} }++;
		my ($n) = map { $_->{value} } grep { $_->{name} eq 'n' } @{ $run->{job_parameters} || [] };
		push @{ $runs_of{ defined $n ? $n : '?' } }, "$run->{run_id}";
	}
	last unless $page->{next_page_token};
	$query{page_token} = $page->{next_page_token};
}

my (%known, $attempts);
foreach my $line (split /\n/, $node->safe_psql('postgres', q{
	SELECT r.body->'job_parameters'->>'n', r.state, r.attempt, string_agg(a.run_id::text, ',' ORDER BY a.run_id)
	FROM databricks.run_requests r LEFT JOIN databricks.run_request_attempts a USING (request_id)
	GROUP BY r.request_id}))
{
	my ($n, $state, $attempt, $runs) = split /\|/, $line;
	$known{$n} = { state => $state, attempt => $attempt, runs => [ split /,/, $runs ] };
	$attempts += $attempt;
}

my @wrong;
foreach my $n (sort keys %known)
{
	my @here = sort { $a <=> $b } @{ $known{$n}{runs} };
	my @there = sort { $a <=> $b } @{ $runs_of{$n} || [] };
	push @wrong, "$n: attempt $known{$n}{attempt}, runs @here here, @there there"
	  if "@here" ne "@there" || @there != $known{$n}{attempt} ||
	  !($known{$n}{state} eq 'succeeded' || ($known{$n}{state} eq 'failed' && @there == $max_attempts));
}
my @strangers = grep { !$known{$_} } sort keys %runs_of;
my $repeated = 0;
my %posts;
$posts{ (ref $_->{body} ? $_->{body} : json($_->{body}))->{idempotency_token} }++
  foreach $workspace->journal(path => '/api/2.2/jobs/run-now');
$repeated += $_ > 1 ? 1 : 0 foreach values %posts;

diag(sprintf('%d requests asked for, %d in the database, %d attempts, %d runs; %d kills (%d worker, %d backend, %d postmaster); %d tokens sent more than once; %.0f s',
	int($requests / $sessions) * $sessions, scalar(keys %known), $attempts, scalar(keys %seen),
	$killed{worker} + $killed{backend} + $killed{postmaster}, @killed{qw(worker backend postmaster)}, $repeated, time - $start));
cmp_ok(scalar(keys %known), '>', $requests / 4, 'many requests survived');
cmp_ok($attempts, '>', scalar(keys %known), 'some in several attempts');
is(scalar(@wrong), 0, 'exactly one run per attempt of each request (cases 38, 39)') or diag("seed $seed", map { "\n$_" } grep { defined } @wrong[ 0 .. 9 ]);
is(scalar(@strangers), 0, 'and no run that the database does not know of') or diag("seed $seed\n@strangers");

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
