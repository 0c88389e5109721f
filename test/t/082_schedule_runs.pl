# 082_schedule_runs.pl - what becomes of ticks: runs, overlaps, pauses.
#
# Ticks are made by calling what pg_cron would call, at times of our choosing.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 0, cleanup_ms => 0, job_cleanup_ms => 0 });

my $node = new_node(
	'main',
	preload => 1,
	cron => 1,
	conf => "databricks.follow_interval = 200ms\n");
my $run_now = '/api/2.2/jobs/run-now';
my $cancel = '/api/2.2/jobs/runs/cancel';

sub value { return $node->safe_psql('postgres', $_[0]); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub { ($last = value($query)) eq $expected });
	};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

# A job whose runs go on until they are cancelled or told to end.
sub long_job
{
	my ($name) = @_;
	my $job = $workspace->create_job(
		name => $name,
		max_concurrent_runs => 1000,
		parameters => [ { name => 'day', default => '' } ]);
	$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => -1 } });
	return $job;
}

# A schedule of midnights. Its ticks are to come, so that nobody makes up for
# them.
sub midnights
{
	my ($name, $job, $more) = @_;
	return value(qq{SELECT databricks.schedule('$name', '0 0 * * *', $job, $more)});
}

sub tick { return value("SELECT databricks.tick_schedule($_[0], '$_[1] 00:00:01+00')"); }

sub states
{
	return value("SELECT string_agg(state, ' ' ORDER BY request_id) FROM databricks.run_requests WHERE schedule_name = '$_[0]'");
}

sub wait_for_states
{
	my ($schedule, $name, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_value($name,
		"SELECT string_agg(state, ' ' ORDER BY request_id) FROM databricks.run_requests WHERE schedule_name = '$schedule'", $expected);
}

connect_workspace($node, $workspace);
value('CREATE EXTENSION pg_cron');

# --- a tick, its run, its parameters --------------------------------------------

my $job = $workspace->create_job(
	name => 'etl',
	max_concurrent_runs => 1000,
	parameters => [ map { { name => $_, default => '' } } qw(day kind) ]);
my $mark = $workspace->mark;
my $id = midnights('daily', q{'etl'},
	q{'{"kind": "full"}', $$jsonb_build_object('day', ($1 AT TIME ZONE 'UTC')::date - 1)$$});
my $request = tick($id, '2031-01-02');
is(tick($id, '2031-01-02'), '', 'the same tick again is nothing');
wait_for_value('a tick becomes a run',
	q{SELECT last_request_state, last_result_state, last_tick = last_request_tick, last_run_id IS NOT NULL FROM databricks.schedules WHERE name = 'daily'},
	'succeeded|SUCCESS|t|t');
my @posts = $workspace->journal(since => $mark, path => $run_now);
is(scalar(@posts), 1, 'of which there is one');
my $body = ref $posts[0]{body} ? $posts[0]{body} : json($posts[0]{body});
is_deeply($body->{job_parameters}, { kind => 'full', day => '2031-01-01' },
	'with the fixed parameters and those made of the tick');
is(value("SELECT run_id = last_run_id FROM databricks.run_requests, databricks.schedules WHERE request_id = $request"),
	't', 'the view shows it');

# --- overlaps --------------------------------------------------------------------

$job = long_job('skip');
$id = midnights('skip', $job, q{overlap => 'skip'});
tick($id, '2031-01-02');
wait_for_states('skip', 'a run that does not end', 'running');
tick($id, '2031-01-03');
is(states('skip'), 'running skipped', 'skip: the next tick is left out');
$workspace->api('POST', $cancel, { run_id => value(q{SELECT last_run_id FROM (SELECT run_id AS last_run_id FROM databricks.run_requests WHERE schedule_name = 'skip' AND state = 'running') r}) });
wait_for_states('skip', 'its end is seen', 'canceled skipped');
tick($id, '2031-01-04');
wait_for_states('skip', 'then the next one runs', 'canceled skipped running');

$job = long_job('queue');
$id = midnights('queue', $job, q{overlap => 'queue'});
$mark = $workspace->mark;
tick($id, '2031-01-02');
wait_for_states('queue', 'another run that does not end', 'running');
tick($id, '2031-01-03');
tick($id, '2031-01-04');
is(states('queue'), 'running queued queued', 'queue: ticks wait');
my $other = value(q{SELECT databricks.enqueue_run_now('etl')});
wait_for_value('while others are sent', "SELECT state FROM databricks.run_requests WHERE request_id = $other", 'succeeded');
is(states('queue'), 'running queued queued', 'ticks still wait');
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 0 } });
$workspace->api('POST', $cancel, { run_id => value(q{SELECT run_id FROM databricks.run_requests WHERE schedule_name = 'queue' AND state = 'running'}) });
wait_for_states('queue', 'until the one before has ended, in whichever way', 'canceled succeeded succeeded');
is( value(q{SELECT bool_and(before) FROM (
		SELECT lag(finished_at) OVER (ORDER BY request_id) <= triggered_at AS before
		FROM databricks.run_requests WHERE schedule_name = 'queue') AS o}),
	't', 'one after the other');

$job = long_job('cancel');
$id = midnights('cancel', $job, q{overlap => 'cancel_previous'});
tick($id, '2031-01-02');
wait_for_states('cancel', 'one more run that does not end', 'running');
$mark = $workspace->mark;
tick($id, '2031-01-03');
wait_for_states('cancel', 'cancel_previous: the run before is cancelled', 'canceled running');
is( join(' ', map { $_->{path} } grep { $_->{path} eq $run_now || $_->{path} eq $cancel } $workspace->journal(since => $mark)),
	"$cancel $run_now", 'and has ended before the next one is started (case 42)');
wait_for_value('by the clock of the service too (case 42)',
	q{SELECT a.end_time <= b.start_time FROM databricks.run_history a, databricks.run_history b
	  WHERE a.run_id = (SELECT min(run_id) FROM databricks.run_requests WHERE schedule_name = 'cancel' AND state = 'canceled')
		AND b.run_id = (SELECT min(run_id) FROM databricks.run_requests WHERE schedule_name = 'cancel' AND state = 'running')},
	't');

$job = long_job('allow');
$id = midnights('allow', $job, q{overlap => 'allow'});
tick($id, '2031-01-02');
tick($id, '2031-01-03');
wait_for_states('allow', 'allow: they run side by side', 'running running');

# --- what came too late ------------------------------------------------------------

$id = midnights('late', q{'etl'}, q{expires_after => '1 hour', misfire => 'all'});
$mark = $workspace->mark;
value(qq{BEGIN; UPDATE databricks.schedule_settings SET done_to = '2026-01-01 12:00+00' WHERE schedule_id = $id;
	SELECT databricks.tick_schedule($id, '2026-01-04 12:00+00');
	UPDATE databricks.schedule_settings SET done_to = now() WHERE schedule_id = $id; COMMIT});
wait_for_states('late', 'ticks that have expired are not sent', 'expired expired expired');
is($workspace->calls(since => $mark, path => $run_now), 0, 'no call was made for them');

# --- a paused workspace ------------------------------------------------------------

$id = value(q{SELECT databricks.schedule('hourly', '0 * * * *', 'etl')});
value(q{SELECT databricks.pause_workspace('prod')});
value("UPDATE databricks.schedule_settings SET done_to = date_trunc('hour', now()) - interval '5 hours' WHERE schedule_id = $id");
is(value("SELECT databricks.tick_schedule($id)"), '', 'ticks of a paused workspace wait');
value(q{SELECT databricks.resume_workspace('prod')});
wait_for_value('when it goes on the last one is made up for, without waiting for pg_cron',
	q{SELECT last_request_state, missed_ticks BETWEEN 4 AND 5 FROM databricks.schedules WHERE name = 'hourly'}, 'succeeded|t');
is(value(q{SELECT count(*) FROM databricks.run_requests WHERE schedule_name = 'hourly'}), '1', 'once');

# --- a zone that is gone, an expression that is none ------------------------------------

foreach my $case ([ timezone => 'Gone/Away' ], [ cron => 'nonsense' ])
{
	my ($column, $value) = @$case;
	my $good = value("SELECT $column FROM databricks.schedule_settings WHERE schedule_id = $id");
	value("UPDATE databricks.schedule_settings SET $column = '$value' WHERE schedule_id = $id");
	$other = value(q{SELECT databricks.enqueue_run_now('etl')});
	wait_for_value("a schedule with $column $value stops nobody", "SELECT state FROM databricks.run_requests WHERE request_id = $other", 'succeeded');
	like(value(q{SELECT next_tick IS NULL, cron_error FROM databricks.schedules WHERE name = 'hourly'}), qr/^t\|this server knows no time zone Gone\/Away/,
		'and shows it') if $column eq 'timezone';
	value("UPDATE databricks.schedule_settings SET $column = '$good' WHERE schedule_id = $id");
}

# --- filled up afterwards ------------------------------------------------------------

$mark = $workspace->mark;
is( value(q{SELECT count(*) FROM databricks.backfill_schedule('daily', '2026-02-01', '2026-02-08', max_parallel => 2)}),
	'7', 'a week to fill up');
wait_for_value('all of it succeeds',
	q{SELECT count(*) FROM databricks.run_requests WHERE schedule_name = 'daily' AND tick BETWEEN '2026-02-01' AND '2026-03-01' AND state = 'succeeded'}, '7');
is( value(q{SELECT max((SELECT count(*) FROM databricks.run_requests o WHERE o.schedule_name = 'daily' AND o.tick BETWEEN '2026-02-01' AND '2026-03-01'
					   AND o.triggered_at <= r.triggered_at AND o.finished_at > r.triggered_at)) <= 2
			FROM databricks.run_requests r WHERE r.schedule_name = 'daily' AND r.tick BETWEEN '2026-02-01' AND '2026-03-01'}),
	't', 'never more than two at a time');
is($workspace->calls(since => $mark, path => $run_now), 7, 'one run for each day');
is( value(q{SELECT count(*) FROM databricks.backfill_schedule('daily', '2026-02-01', '2026-02-08')}),
	'0', 'nothing is missing any more');

done_testing();
