# 076_promotion.pl - one run per attempt across a promotion.
#
# A primary with a synchronous standby sends requests, is killed in the middle of
# it, and the standby goes on. What was claimed for sending is on the standby before
# its first byte leaves, whatever the sessions and the server have chosen.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $requests = $ENV{DBX_PROMOTION_REQUESTS} || 300;
my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 20, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(
	name => 'job',
	max_concurrent_runs => 1000,
	parameters => [ { name => 'n', default => '' } ]);
my $run_now = '/api/2.2/jobs/run-now';

# The server itself waits for nobody: only what the worker forces does.
my $primary = new_node(
	'primary',
	preload => 1,
	init => [ allows_streaming => 1 ],
	conf => <<~CONF);
		databricks.follow_interval = 200ms
		max_worker_processes = 16
		synchronous_commit = off
		CONF
connect_workspace($primary, $workspace);
$primary->safe_psql('postgres', "SELECT databricks.enqueue_run_now($job, request_key => 'warm')");
poll_until('the first request is done', sub {
	$primary->safe_psql('postgres', q{SELECT state FROM databricks.run_requests}) eq 'succeeded';
});

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$primary->reload;
poll_until('the standby is synchronous', sub {
	$primary->safe_psql('postgres', q{SELECT sync_state FROM pg_stat_replication}) eq 'sync';
});

# --- a claim waits for the standby ------------------------------------------------------

$standby->stop;
my $mark = $workspace->mark;
my $id = $primary->safe_psql('postgres', "SELECT databricks.enqueue_run_now($job)");
my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'databricks worker' AND wait_event = 'SyncRep'};
poll_until('the claim waits', sub { $primary->safe_psql('postgres', $waiting) eq '1' });
my $pid = $primary->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker'});
$primary->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
my $passed = time + 1;
poll_until('time passes', sub { time > $passed });
is($primary->safe_psql('postgres', $waiting), '1', 'without the standby a claim waits, also when somebody cancels');
is($workspace->calls(since => $mark, path => $run_now), 0, 'and nothing is sent');

# Nor is it when the worker is ended instead: its claim may be on one disk only.
$primary->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
poll_until('another worker is there', sub {
	my $other = $primary->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker'});
	return $other ne '' && $other ne $pid;
});
$passed = time + 1;
poll_until('time passes', sub { time > $passed });
my $sent_early = $workspace->calls(since => $mark, path => $run_now);
is($sent_early, 0, 'nor by the next worker');
$standby->start;
poll_until('with the standby it is sent', sub {
	$primary->safe_psql('postgres', "SELECT state FROM databricks.run_requests WHERE request_id = $id") eq 'succeeded';
});
is($workspace->calls(since => $mark, path => $run_now), 1, 'with the standby it is sent, once');

# --- killed in the middle ------------------------------------------------------------------

# Two sessions ask, one waiting for its commits, one not.
sub asker
{
	my ($name, $commit) = @_;
	my ($in, $out, $err) = ("SET client_min_messages = notice; SET synchronous_commit = $commit;\n" . <<~SQL, '', '');
		DO \$\$ BEGIN
			FOR i IN 1..@{[ int($requests / 2) ]} LOOP
				PERFORM databricks.enqueue_run_now($job, jsonb_build_object('n', '$name-' || i), max_attempts => 3, retry_delay => '50 ms');
				COMMIT;
				RAISE NOTICE 'committed %', i;
				PERFORM pg_sleep(0.01);
			END LOOP;
		END \$\$;
		SQL
	my $handle = IPC::Run::start([ 'psql', '-XAqt', '-d', $primary->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	return { handle => $handle, err => \$err, name => $name };
}
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 5, result => 'FAILED' }, count => 20 });
$workspace->post('faults', { kind => 'delay', ms => 50, work => JSON::PP::true, path => $run_now, count => undef });
$mark = $workspace->mark;
my @askers = (asker('waits', 'on'), asker('hurries', 'off'));
poll_until('some are sent', sub { $_->{handle}->pump_nb foreach @askers; $workspace->calls(since => $mark, path => $run_now) > $requests / 6 });
my $before = $workspace->calls(since => $mark, path => $run_now);
$primary->kill9;
$standby->promote;
foreach my $asker (@askers)
{
	eval { $asker->{handle}->finish };
	($asker->{acknowledged}) = (${ $asker->{err} } =~ /.*committed (\d+)/s, 0);
}
$workspace->delete('faults');
cmp_ok($before, '<', $requests, "killed after $before were sent");

# The old processes are gone before what is there is counted.
poll_until('nobody of the old primary is left', sub { !`pgrep -f '^postgres: primary: databricks'` });
sub value { return $standby->safe_psql('postgres', $_[0]); }
poll_until('the new primary takes writes', sub { value('SELECT pg_is_in_recovery()') eq 'f' });
value("SELECT databricks.enqueue_run_now($job, jsonb_build_object('n', 'after'))");
poll_until('all requests have ended', sub {
	value('SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL') eq '0';
});

my (%runs_of, %query, %seen);
%query = (job_id => $job, limit => 25, expand_tasks => 'true');
while (1)
{
	my $page = $workspace->api('GET', '/api/2.2/jobs/runs/list', {%query});
	foreach my $run (@{ $page->{runs} || [] })
	{
		next if $seen{ $run->{run_id} }++;
		my ($n) = map { $_->{value} } grep { $_->{name} eq 'n' } @{ $run->{job_parameters} || [] };
		push @{ $runs_of{$n} }, "$run->{run_id}" if $n ne '';
	}
	last unless $page->{next_page_token};
	$query{page_token} = $page->{next_page_token};
}
my (@wrong, %known, $attempts);
foreach my $line (split /\n/, value(q{
	SELECT r.body->'job_parameters'->>'n', r.state, r.attempt, string_agg(a.run_id::text, ' ' ORDER BY a.run_id)
	FROM databricks.run_requests r JOIN databricks.run_request_attempts a USING (request_id)
	WHERE r.body ? 'job_parameters' GROUP BY r.request_id}))
{
	my ($n, $state, $attempt, $runs) = split /\|/, $line;
	$known{$n} = 1;
	$attempts += $attempt;
	my $there = join(' ', sort { $a <=> $b } @{ $runs_of{$n} || [] });
	push @wrong, "$n $state $attempt: $runs here, $there there"
	  if $runs ne $there || $attempt != split(/ /, $runs);
}
my @strangers = grep { !$known{$_} } sort keys %runs_of;
is(scalar(@wrong), 0, 'exactly one run per attempt of each request') or diag(join("\n", @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ]));
is(scalar(@strangers), 0, 'and no run of a request that was lost') or diag("@strangers");
is(value(q{SELECT state FROM databricks.run_requests WHERE body->'job_parameters'->>'n' = 'after'}), 'succeeded', 'the new primary sends new ones');
cmp_ok(scalar(grep { /^waits/ } keys %known), '>=', $askers[0]{acknowledged}, 'what a session was told to be committed is there');
diag(sprintf('%d sent when the primary was killed; %d requests survived, %d attempts, %d runs; %d and %d commits acknowledged',
	$before, scalar(keys %known), $attempts, scalar(map { @$_ } values %runs_of), map { $_->{acknowledged} } @askers));

log_lacks($primary, 'no token in the log', $workspace->token);
log_lacks($standby, 'nor in that of the standby', $workspace->token);
$standby->stop;
done_testing();
