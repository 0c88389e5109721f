# 042_wait.pl - waiting for the end of a run, and every end it can have.
# Acceptance cases 43-51, 53, 57, 58.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);
$node->safe_psql('postgres', q{
	ALTER SERVER prod OPTIONS (ADD retry_timeout '300ms', ADD request_timeout '5s');
	ALTER DATABASE postgres SET databricks.wait_min_interval = '50ms';
	ALTER DATABASE postgres SET databricks.wait_max_interval = '200ms';
	CREATE FUNCTION attempt(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		result jsonb;
		message text;
		detail text;
		hint text;
	BEGIN
		EXECUTE 'SELECT to_jsonb(r) FROM ' || statement || ' AS r' INTO result;
		RETURN result;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RETURN jsonb_build_object('sqlstate', SQLSTATE, 'message', message,
			'detail', detail, 'hint', hint);
	END $$});

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The row of a wait, or its error.
sub attempt
{
	my ($call) = @_;
	$call =~ s/'/''/g;
	return json(sql("SELECT attempt('databricks.$call')"));
}

# A session beside this one. What it says is in {err} while it runs.
sub begin_sql { return start_sql($node, q{SET application_name = 'waiter'}, @_); }

sub pump_while_polling
{
	my ($session, $what, $condition) = @_;
	eval { poll_until($what, sub { $session->{run}->pump_nb; $condition->() }); 1 }
	  or die "$@: $session->{err}";
	return;
}

sub waiter
{
	return sql(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'waiter' AND state = 'active'});
}

my $next_id = 1000;

# A run that shows exactly this.
sub load
{
	my (%run) = @_;
	my $id = $next_id++;
	$workspace->post('load', { run => { run_id => $id, job_id => 77, run_name => 'loaded',
				run_page_url => "https://example.com/run/$id", start_time => int(time * 1000), %run } });
	return "$id";
}

# ... and from now on this.
my %shown;

sub change
{
	my ($id, %run) = @_;
	my $fault = $workspace->post('faults',
		{ path => '/api/2.2/jobs/runs/get', query => "run_id=$id", kind => 'status', status => 200, count => undef,
			json => { run_id => $id, job_id => 77, run_name => 'loaded', %run } });
	$workspace->delete('faults', id => $shown{$id}) if $shown{$id};
	$shown{$id} = $fault->{id};
	return;
}

sub old { return (state => { life_cycle_state => $_[0], defined $_[1] ? (result_state => $_[1]) : () }); }

sub new
{
	my ($state, $code, $type) = @_;
	return (status => { state => $state,
			$code ? (termination_details => { code => $code, type => $type, message => "message of $code" }) : () });
}

# --- every end, seen at the first look (cases 45, 47) -------------------------------------

my $calls = $workspace->calls;
foreach my $case (
	# what the run shows, SQLSTATE, words of the message, result where it follows from the code
	[ 'success', [ old('TERMINATED', 'SUCCESS'), new('TERMINATED', 'SUCCESS', 'SUCCESS') ], '' ],
	[ 'success, old view only', [ old('TERMINATED', 'SUCCESS') ], '' ],
	[ 'success, new view only', [ new('TERMINATED', 'SUCCESS', 'SUCCESS') ], '', undef, 'SUCCESS' ],
	[ 'failed', [ old('TERMINATED', 'FAILED'), new('TERMINATED', 'RUN_EXECUTION_ERROR', 'CLIENT_ERROR') ], 'RUN01', 'failed' ],
	[ 'failed, as runs of several tasks say it', [ old('INTERNAL_ERROR', 'FAILED'), new('TERMINATED', 'RUN_EXECUTION_ERROR', 'CLIENT_ERROR') ], 'RUN01', 'failed' ],
	[ 'failed, old view only', [ old('TERMINATED', 'FAILED') ], 'RUN01', 'failed' ],
	[ 'failed, new view only', [ new('TERMINATED', 'RUN_EXECUTION_ERROR', 'CLIENT_ERROR') ], 'RUN01', 'failed', 'FAILED' ],
	[ 'a result that is not known', [ old('TERMINATED', 'EVAPORATED') ], 'RUN01', 'failed' ],
	[ 'no result at all', [ old('TERMINATED') ], 'RUN01', 'failed' ],
	[ 'cancelled', [ old('TERMINATED', 'CANCELED'), new('TERMINATED', 'USER_CANCELED', 'SUCCESS') ], 'RUN02', 'was cancelled' ],
	[ 'cancelled, new view only', [ new('TERMINATED', 'USER_CANCELED', 'SUCCESS') ], 'RUN02', 'was cancelled', 'CANCELED' ],
	[ 'cancelled with what it depends on', [ old('SKIPPED', 'UPSTREAM_CANCELED') ], 'RUN02', 'was cancelled' ],
	[ 'timed out', [ old('TERMINATED', 'TIMEDOUT'), new('TERMINATED', 'CANCELED', 'CLIENT_ERROR') ], 'RUN03', 'timed out' ],
	[ 'skipped for too many runs', [ old('SKIPPED', 'MAXIMUM_CONCURRENT_RUNS_REACHED'), new('TERMINATED', 'MAX_CONCURRENT_RUNS_EXCEEDED', 'CLIENT_ERROR') ], 'RUN04', 'was skipped' ],
	[ 'skipped for too many runs, new view only', [ new('TERMINATED', 'MAX_CONCURRENT_RUNS_EXCEEDED', 'CLIENT_ERROR') ], 'RUN04', 'was skipped', 'MAXIMUM_CONCURRENT_RUNS_REACHED' ],
	[ 'skipped, new view only', [ new('TERMINATED', 'SKIPPED', 'CLIENT_ERROR') ], 'RUN04', 'was skipped' ],
	[ 'a code that is not known, new view only', [ new('TERMINATED', 'EVAPORATED', 'CLIENT_ERROR') ], 'RUN01', 'failed', 'FAILED' ],
	[ 'a fault of the platform, new view only', [ new('TERMINATED', 'CLUSTER_ERROR', 'CLOUD_FAILURE') ], 'RUN05', 'fault of the platform', 'FAILED' ],
	[ 'skipped since something before failed', [ old('SKIPPED', 'UPSTREAM_FAILED'), new('TERMINATED', 'SKIPPED', 'CLIENT_ERROR') ], 'RUN04', 'was skipped' ],
	[ 'excluded', [ old('SKIPPED', 'EXCLUDED') ], 'RUN04', 'was skipped' ],
	[ 'disabled', [ old('SKIPPED', 'DISABLED'), new('TERMINATED', 'DISABLED', 'SUCCESS') ], 'RUN04', 'was skipped' ],
	[ 'skipped without a result', [ old('SKIPPED') ], 'RUN04', 'was skipped' ],
	[ 'a fault of the platform', [ old('INTERNAL_ERROR', 'FAILED'), new('TERMINATED', 'CLUSTER_ERROR', 'INTERNAL_ERROR') ], 'RUN05', 'fault of the platform' ],
	[ 'a fault of the cloud', [ old('TERMINATED', 'FAILED'), new('TERMINATED', 'CLOUD_FAILURE', 'CLOUD_FAILURE') ], 'RUN05', 'fault of the platform' ],
	[ 'a fault of the platform, old view only', [ old('INTERNAL_ERROR') ], 'RUN05', 'fault of the platform' ],
	[ 'a state that is not known, over in the old view', [ old('TERMINATED', 'SUCCESS'), new('ARCHIVED') ], '' ])
{
	my ($what, $run, $state, $words, $result) = @$case;
	my $id = load(@$run);
	my $got = attempt("wait_for_run($id)");
	is($got->{sqlstate} || '', $state, "$what: SQLSTATE (cases 45, 47)");
	like($got->{message}, qr/^run $id of "loaded" .*$words/, "$what: message") if $state;
	is($got->{hint}, "See https://example.com/run/$id", "$what: where to look") if $state;
	$got = attempt("wait_for_run($id, raise_on_failure => false)");
	is($got->{run_id}, $id, "$what: the row without raise_on_failure");
	$result //= { @$run }->{state}{result_state};
	is($got->{result_state}, $result, '... has the result');
	is(sql("SELECT result_state FROM databricks.runs WHERE run_id = $id"), $result // '', '... as the table does');
	is($got->{termination_code}, { @$run }->{status}{termination_details}{code}, '... and the code');
	is($workspace->calls(query => "run_id=$id"), 3, "... after one look each (case 43)");
}

# A success in which tasks failed is one or not, as the setting says.
my $mixed = load(old('TERMINATED', 'SUCCESS_WITH_FAILURES'), new('TERMINATED', 'SUCCESS_WITH_FAILURES', 'SUCCESS'),
	tasks => [ { task_key => 'a', run_id => 1, old('TERMINATED', 'SUCCESS') }, { task_key => 'b', run_id => 2, old('TERMINATED', 'FAILED') } ]);
my ($rc, $out, $err) = $node->psql('postgres', "SELECT result_state, failed_tasks -> 0 ->> 'task_key' FROM databricks.wait_for_run($mixed)");
is($out, 'SUCCESS_WITH_FAILURES|b', 'a success with failures is a success');
like($err, qr/WARNING:  run $mixed succeeded with failed tasks/, '... with a warning');
is(sql_error($node, "SET databricks.success_with_failures = off; SELECT databricks.wait_for_run($mixed)")->{state},
	'RUN01', '... or a failure, by setting');
is(sql_error($node, 'SELECT databricks.wait_for_run(4711)')->{state}, '42704', 'a run that is not there is an error at once');

# --- failed tasks (case 44) ---------------------------------------------------------------

my @tasks = map { { task_key => $_, notebook_task => { notebook_path => "/Shared/$_" } } } qw(good bad worse behind);
$tasks[3]{depends_on} = [ { task_key => 'bad' } ];
my $job = $workspace->create_job(name => 'several', tasks => \@tasks);
my $long = 'x' x 499 . "\x{e9}" x 20;
$workspace->post('plans', { match => { job_name => 'several', task_key => $_->[0] },
		plan => { setup_ms => 0, duration_ms => 0, cleanup_ms => 0, result => $_->[1], $_->[2] ? (error => $_->[2]) : () } })
  foreach [ 'good', 'SUCCESS' ], [ 'bad', 'FAILED', "ValueError: no such day\nat line 7" ], [ 'worse', 'FAILED', $long ];
my $run = sql("SELECT databricks.run_now($job)");
my $got = attempt("wait_for_run($run)");
is($got->{sqlstate}, 'RUN01', 'a run of several tasks fails');
like($got->{detail}, qr/^Task "bad": FAILED, ValueError: no such day$/m, '... the error of one task is told (case 44)');
like($got->{detail}, qr/^Task "worse": FAILED, x{499}$/m, '... and that of the other one, cut between characters (case 44)');
unlike($got->{detail}, qr/good|behind/, '... not what succeeded or was not begun');
$got = attempt("wait_for_run($run, raise_on_failure => false)");
is_deeply([ sort map { $_->{task_key} } @{ $got->{failed_tasks} } ], [qw(bad worse)], 'failed_tasks lists them');
my ($bad) = grep { $_->{task_key} eq 'bad' } @{ $got->{failed_tasks} };
is($bad->{error}, "ValueError: no such day\nat line 7", '... with the whole error');
like($bad->{task_run_id}, qr/^\d+$/, '... and the id of the task run');
is($bad->{result_state}, 'FAILED', '... and its result');
my $mark = $workspace->mark;
attempt("wait_for_run($run)");
is($workspace->calls(path => '*/runs/get-output', since => $mark), 2, 'only failed tasks are asked for their output');

# An output that does not come changes nothing about the end.
foreach my $fault ({ kind => 'status', status => 500 }, { kind => 'bad_json' }, { kind => 'reset' }, { kind => 'html' })
{
	$workspace->post('faults', { path => '/api/2.2/jobs/runs/get-output', count => 4, %$fault });
	$got = attempt("wait_for_run($run)");
	is($got->{sqlstate}, 'RUN01', "output: $fault->{kind}: the run has failed all the same");
	like($got->{detail}, qr/Task "bad": FAILED, .*\nTask "worse": FAILED, /, '... and the tasks are named');
	$workspace->delete('faults');
}

# Attempts inside the service: the last one counts (cases 57, 58).
$job = $workspace->create_job(name => 'retried', tasks => [ { task_key => 'a', max_retries => 1, min_retry_interval_millis => 0, notebook_task => { notebook_path => '/Shared/a' } } ]);
$workspace->post('plans', { match => { job_name => 'retried' }, plan => { setup_ms => 0, duration_ms => 0, cleanup_ms => 0, results => [ 'FAILED', 'SUCCESS' ] } });
$got = attempt("run_and_wait($job)");
is($got->{result_state}, 'SUCCESS', 'a task that succeeds at the second attempt (case 57)');
is($got->{failed_tasks}, undef, '... has not failed (case 58)');
my $twice = load(old('TERMINATED', 'FAILED'), tasks => [
		{ task_key => 'a', run_id => 12, start_time => 2000, attempt_number => 1, old('TERMINATED', 'SUCCESS') },
		{ task_key => 'a', run_id => 11, start_time => 1000, attempt_number => 0, old('TERMINATED', 'FAILED') },
		{ task_key => 'b', run_id => 22, start_time => 2000, attempt_number => 1, old('TERMINATED', 'FAILED') } ]);
is_deeply([ map { $_->{task_key} } @{ attempt("wait_for_run($twice, raise_on_failure => false)")->{failed_tasks} } ],
	['b'], 'of several attempts the one that began last counts (case 58)');

# --- states that keep it waiting (cases 46, 48) --------------------------------------------

my $id = load(old('QUEUED'), new('QUEUED'));
my $session = begin_sql("SELECT result_state FROM databricks.wait_for_run($id)");
foreach my $step (
	[ 'BLOCKED', 'BLOCKED' ], [ 'PENDING', 'PENDING' ], [ 'WAITING_FOR_RETRY', 'WAITING' ],
	[ 'RUNNING', 'RUNNING' ], [ 'DREAMING', 'FLOATING' ], [ 'TERMINATING', 'TERMINATING' ])
{
	my ($life, $status) = @$step;
	change($id, old($life, $life eq 'TERMINATING' ? 'FAILED' : undef), new($status));
	pump_while_polling($session, "the wait has seen $life", sub { $session->{err} =~ /NOTICE:  00000: run $id of "loaded": $status\n/ });
	pass("$life/$status is no end (cases 46, 48)");
}
is(waiter() ne '', 1, 'it waits all the time');
change($id, old('TERMINATED', 'SUCCESS'), new('TERMINATED', 'SUCCESS', 'SUCCESS'));
finish_sql($session);
is($session->{out}, 'SUCCESS', '... for the end');
is(() = $session->{err} =~ /NOTICE:  00000: run $id of "loaded": RUNNING\n/g, 1, 'progress is told once for each change');
is(() = log_since($node) =~ /LOG:  unknown state "FLOATING" of a run/g, 1, 'a state that is not known is logged once (case 48)');
is(() = log_since($node) =~ /LOG:  unknown life-cycle state "DREAMING" of a run/g, 1, '... by either name (case 48)');

$id = load(old('RUNNING'), tasks => [ { task_key => 'a', old('TERMINATED', 'SUCCESS') }, { task_key => 'b', old('RUNNING') }, { task_key => 'c', old('PENDING') } ]);
($rc, $out, $err) = $node->psql('postgres', "SELECT databricks.wait_for_run($id, timeout => '0', raise_on_failure => false)");
like($err, qr/NOTICE:  run $id of "loaded": RUNNING, 1 of 3 tasks done/, 'progress counts tasks');

# --- how often it looks (case 43) -------------------------------------------------------------

$workspace->post('plans', { match => { job_name => 'slow' }, plan => { setup_ms => 0, duration_ms => 1500, cleanup_ms => 0 } });
my $slow = $workspace->create_job(name => 'slow', max_concurrent_runs => 10);
$mark = $workspace->mark;
my $begun = time;
is(sql("SET databricks.wait_min_interval = '100ms'; SET databricks.wait_max_interval = '400ms'; SELECT result_state FROM databricks.run_and_wait($slow)"),
	'SUCCESS', 'run_and_wait starts a run and waits for it (case 43)');
my @looks = map { $_->{time} / 1000 } $workspace->journal(since => $mark, path => '/api/2.2/jobs/runs/get');
my @gaps = map { $looks[$_] - $looks[ $_ - 1 ] } 1 .. $#looks;
cmp_ok(scalar(@gaps), '>=', 4, '... looking several times');
for (my $i = 0; $i < @gaps; $i++)
{
	my $wait = 0.1 * ($i < 3 ? $i + 1 : 4);
	ok($gaps[$i] > $wait - 0.005 && $gaps[$i] < $wait * 1.1 + 0.25, "... pause $i is as configured (case 43)") or diag("$gaps[$i] s, not $wait s");
}
is($workspace->calls(path => '/api/2.2/jobs/runs/list', since => $mark), 0, '... with no other calls');

# --- run_and_wait ---------------------------------------------------------------------------------

my $quick = { setup_ms => 0, duration_ms => 0, cleanup_ms => 0 };
$workspace->post('plans', { match => { job_name => 'quick' }, plan => $quick });
my $quick_job = $workspace->create_job(name => 'quick', max_concurrent_runs => 100, parameters => [ { name => 'p', default => '' } ]);
foreach my $call ("run_and_wait($quick_job)", "run_and_wait('quick', '{\"p\": 1}')", "run_and_wait('$quick_job', options => '{\"job_parameters\": {\"p\": 2}}', idempotency_token => 'together')")
{
	$got = attempt($call);
	is($got->{result_state}, 'SUCCESS', $call) or diag(explain($got));
	is($got->{job_id}, $quick_job, '... the job');
	is($got->{run_name}, 'quick', '... its name');
	like($got->{run_page_url}, qr{^https?://.*/run/$got->{run_id}$}, '... its page');
	ok($got->{start_time} && $got->{end_time} && $got->{state} eq 'TERMINATED', '... its times and state');
}
is(attempt("run_and_wait($quick_job, idempotency_token => 'together')")->{run_id}, $got->{run_id}, 'a token finds the run again');
($rc, $out, $err) = $node->psql('postgres', "SELECT databricks.run_and_wait($quick_job)");
like($err, qr/NOTICE:  run \d+ started\n/, 'the id is told before the wait');
is(attempt('run_and_wait(4711)')->{sqlstate}, '42704', 'a job that is not there');
$mark = $workspace->mark;
is(attempt("run_and_wait($quick_job, '[]')")->{sqlstate}, '22023', 'bad parameters');
is($workspace->calls(since => $mark), 0, '... start nothing');

# --- timeout (case 50) --------------------------------------------------------------------------------

$workspace->post('plans', { match => { job_name => 'endless' }, plan => { setup_ms => 0, duration_ms => -1 } });
my $endless = $workspace->create_job(name => 'endless', max_concurrent_runs => 100);
$run = sql("SELECT databricks.run_now($endless)");
$mark = $workspace->mark;
$begun = time;
$got = attempt("wait_for_run($run, timeout => '400 ms')");
my $seconds = time - $begun;
is($got->{sqlstate}, 'RUN06', 'a wait that times out is an error (case 50)');
like($got->{message}, qr/run $run is not over yet/, '... that says so');
is($got->{detail}, 'Last seen state: RUNNING.', '... with the state reached');
like($got->{hint}, qr/wait_for_run\($run\)/, '... and how to go on');
ok($seconds >= 0.4 && $seconds < patience(1.4), '... in time') or diag($seconds);
$got = attempt("wait_for_run($run, timeout => '100 ms', raise_on_failure => false)");
is($got->{state}, 'RUNNING', 'without raise_on_failure the state is the result (case 50)');
is($got->{result_state}, undef, '... without a result');
is($workspace->calls(path => '*/runs/cancel', since => $mark), 0, 'the run is left alone (case 50)');
$got = attempt("wait_for_run($run, timeout => '100 ms', cancel_on_timeout => true)");
is($got->{sqlstate}, 'RUN06', 'cancel_on_timeout');
is($got->{hint}, 'The run is being cancelled.', '... says so');
is($workspace->calls(path => '*/runs/cancel', body => $run, since => $mark), 1, '... and cancels it (case 50)');
is(attempt("wait_for_run($run)")->{sqlstate}, 'RUN02', '... as the next wait finds');
is(attempt("wait_for_run($run, timeout => '0')")->{sqlstate}, 'RUN02', 'a timeout of nothing still looks once');
$got = attempt("run_and_wait($endless, timeout => '-1 s')");
is($got->{sqlstate}, 'RUN06', 'a timeout in the past too');
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', kind => 'hang' });
$begun = time;
is(attempt("wait_for_run($run, timeout => '300 ms')")->{sqlstate}, 'RUN06', 'a service that hangs does not hold a timeout up');
cmp_ok(time - $begun, '<', patience(2), '... for long');

# --- outages (case 53) ------------------------------------------------------------------------------------

$id = load(old('RUNNING'));
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$id", skip => 1, %$_ })
  foreach { kind => 'status', status => 503, count => 3 }, { kind => 'status', status => 500 }, { kind => 'reset' },
  { kind => 'status', status => 502, text => '' }, { kind => 'bad_json' }, { kind => 'empty' }, { kind => 'status', status => 429, count => 2 },
  { kind => 'truncate' }, { kind => 'replace', text => '[]' };
$session = begin_sql('SET log_min_messages = debug1', "SELECT result_state FROM databricks.wait_for_run($id)");
pump_while_polling($session, 'all faults are used up', sub {
	!grep { $_->{left} } @{ $workspace->get('faults')->{faults} };
});
like($session->{err}, qr/NOTICE:  00000: workspace "prod" cannot tell about run $id just now, still waiting: /, 'an outage is told');
my $port = $workspace->port;
$workspace->stop;
pump_while_polling($session, 'the wait has noticed', sub { (() = log_since($node) =~ /runs\/get\?run_id=$id.*the host cannot be reached/g) > 1 });
is(() = $session->{err} =~ /cannot tell about run $id just now/g, 1, '... once');

# It must not ask before the host that is back has the run.
my $asker = waiter();
kill 'STOP', $asker;
$workspace = Databricks::Test::Workspace->start(args => [ '--port', $port ]);
$workspace->post('load', { run => { run_id => $id, job_id => 77, run_name => 'loaded', old('TERMINATED', 'SUCCESS') } });
kill 'CONT', $asker;
finish_sql($session);
is($session->{out}, 'SUCCESS', 'a wait sits out errors, garbage and a host that is gone for a while (case 53)')
  or diag($session->{err});

# What the service refuses ends it.
foreach my $case ([ 403, '42501' ], [ 401, '28000' ], [ 404, '42704' ], [ 400, 'HV000' ])
{
	my ($status, $state) = @$case;
	$id = load(old('RUNNING'));
	$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$id", skip => 1, kind => 'status', status => $status });
	is(attempt("wait_for_run($id)")->{sqlstate}, $state, "a $status in the middle ends the wait");
}
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$id", kind => 'bad_json' });
is(attempt("wait_for_run($id)")->{sqlstate}, 'HV00M', 'garbage at the first look is an error');

# Trouble with a later page of tasks is sat out as well.
$id = load(old('RUNNING'));
my %paged = (run_id => $id, job_id => 77, old('TERMINATED', 'SUCCESS'));
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => 'page_token=t', kind => 'status', status => 503, count => 2 });
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => 'page_token=t', kind => 'status', status => 200, json => { %paged, tasks => [ { task_key => 'b' } ] } });
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$id", skip => 1, count => undef, kind => 'status', status => 200, json => { %paged, tasks => [ { task_key => 'a' } ], next_page_token => 't' } });
is(attempt("wait_for_run($id)")->{result_state}, 'SUCCESS', 'trouble with a later page of tasks is sat out');
$workspace->delete('faults');

# --- interrupts (case 51) -------------------------------------------------------------------------------------

$workspace->post('plans', { match => { job_name => 'endless' }, plan => { setup_ms => 0, duration_ms => -1 } });
$endless = $workspace->create_job(name => 'endless', max_concurrent_runs => 100);

# between two looks, and while a look hangs
foreach my $hang (0, 1)
{
	my $where = $hang ? 'while a request hangs' : 'between two looks';
	foreach my $cancel ('false', 'true')
	{
		$run = sql("SELECT databricks.run_now($endless)");
		$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$run", skip => 1, kind => 'hang', count => undef }) if $hang;
		$session = begin_sql(q{SET databricks.wait_max_interval = '1h'}, $hang ? q{SET databricks.wait_min_interval = '10ms'} : q{SET databricks.wait_min_interval = '1h'},
			"SELECT databricks.wait_for_run($run, cancel_on_interrupt => $cancel)");
		poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") >= 1 + $hang });
		$begun = time;
		sql('SELECT pg_cancel_backend(' . waiter() . ')');
		finish_sql($session);
		cmp_ok(time - $begun, '<', patience(1), "pg_cancel_backend $where acts within a second (case 51)");
		is($session->{state}, '57014', '... as a cancelled query');
		is($workspace->calls(path => '*/runs/cancel', body => $run), $cancel eq 'true' ? 1 : 0, "... the run is cancelled: $cancel (case 51)");
		like($session->{err}, qr/NOTICE:  00000: run $run is being cancelled/, '... and that is told') if $cancel eq 'true';
		$workspace->delete('faults');
	}
}
# statement_timeout does so too
$run = sql("SELECT databricks.run_now($endless)");
$begun = time;
is(sql_error($node, "SET databricks.wait_min_interval = '1h'; SET statement_timeout = '300ms'; SELECT databricks.wait_for_run($run, cancel_on_interrupt => true)")->{state},
	'57014', 'statement_timeout ends a wait');
cmp_ok(time - $begun, '<', patience(2), '... in time (case 51)');
is($workspace->calls(path => '*/runs/cancel', body => $run), 1, '... and cancels the run if asked to');

# A service that does not answer the cancel holds nothing up.
$run = sql("SELECT databricks.run_now($endless)");
$workspace->post('faults', { path => '/api/2.2/jobs/runs/cancel', kind => 'hang' });
$session = begin_sql(q{SET databricks.wait_min_interval = '1h'}, "SELECT databricks.wait_for_run($run, cancel_on_interrupt => true)");
poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") });
$begun = time;
sql('SELECT pg_cancel_backend(' . waiter() . ')');
finish_sql($session);
cmp_ok(time - $begun, '<', patience(3), 'a cancel that hangs is given up');
like($session->{err}, qr/WARNING:  01000: could not cancel run $run: no answer in time/, '... and told');
is($session->{state}, '57014', '... the first error is the one raised');

# Terminating ends the session at once, and cancels the run if that is asked for.
foreach my $statement (
	'SELECT databricks.wait_for_run(%s, cancel_on_interrupt => true)',
	'SELECT databricks.wait_for_runs(ARRAY[%s], cancel_on_interrupt => true)',
	'CALL databricks.await_run(%s, cancel_on_interrupt => true)',
	'SELECT databricks.wait_for_run(%s)')
{
	$run = sql("SELECT databricks.run_now($endless)");
	$session = begin_sql(sprintf($statement, $run));
	poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") && waiter() });
	$begun = time;
	sql('SELECT pg_terminate_backend(' . waiter() . ')');
	finish_sql($session);
	cmp_ok(time - $begun, '<', patience(1), "pg_terminate_backend acts within a second: $statement (case 51)");
	is($session->{state}, '57P01', '... as such');
	poll_until('the session is gone', sub { !waiter() });
	is($workspace->calls(path => '*/runs/cancel', body => $run), $statement =~ /interrupt/ ? 1 : 0,
		'... and cancels the run if asked to (case 51)');
}
$run = sql("SELECT databricks.run_now($endless)");
$workspace->post('faults', { path => '/api/2.2/jobs/runs/cancel', kind => 'hang' });
$session = begin_sql("SELECT databricks.wait_for_run($run, cancel_on_interrupt => true)");
poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") && waiter() });
$begun = time;
sql('SELECT pg_terminate_backend(' . waiter() . ')');
finish_sql($session);
poll_until('the session is gone', sub { !waiter() });
cmp_ok(time - $begun, '<', patience(3), 'a cancel that hangs does not keep a terminated session');
$workspace->delete('faults');

# --- several runs at once: wait_for_runs ---------------------------------------------------------------------------

my $get = '/api/2.2/jobs/runs/get';
sub ids { return join(',', @_); }

# Looks go side by side, as many as there may be calls, and not at what is over.
foreach my $places (16, 2)
{
	sql("ALTER SERVER prod OPTIONS (ADD max_parallel '$places')");
	my @done = map { load(old('TERMINATED', 'SUCCESS')) } 1 .. 2;
	my @going = map { load(old('RUNNING')) } 1 .. 3;
	my @all = ($going[0], $done[0], $going[1], $done[1], $going[2]);
	$mark = $workspace->mark;
	$workspace->post('faults', { path => $get, kind => 'delay', ms => 1000, count => 5 });
	$session = begin_sql(q{SET databricks.wait_min_interval = '20ms'}, q{SET databricks.wait_max_interval = '20ms'},
		"SELECT string_agg(run_id::text, ',') FROM databricks.wait_for_runs(ARRAY[" . ids(@all) . "], timeout => '2 min')");
	pump_while_polling($session, 'every run has been looked at again', sub { !grep { $workspace->calls(path => $get, query => "run_id=$_", since => $mark) < 3 } @going });
	my @first = grep { ($_->{fault} || '') eq 'delay' } $workspace->journal(path => $get, since => $mark);
	is(scalar(@first), 5, 'five slow looks');
	is($workspace->most_at_once(path => $get, since => $mark), $places < 5 ? $places : 5, "... of which @{[ $places < 5 ? $places : 5 ]} are under way at once");
	change($_, old('TERMINATED', 'SUCCESS')) foreach @going;
	finish_sql($session);
	is($session->{out}, ids(@all), '... and the rows are in the order of the runs');
	is($workspace->calls(path => $get, query => "run_id=$_", since => $mark), 1, 'a run that is over is not looked at again') foreach @done;
	sql('ALTER SERVER prod OPTIONS (DROP max_parallel)');
	$workspace->delete('faults');
}

# A look that hangs holds up neither the others nor the time.
my ($hanging, $going, $done) = (load(old('RUNNING')), load(old('RUNNING')), load(old('TERMINATED', 'SUCCESS')));
$workspace->post('faults', { path => $get, query => "run_id=$hanging", kind => 'hang', count => undef });
$mark = $workspace->mark;
is(sql("SET databricks.wait_min_interval = '1 min'; SELECT string_agg(run_id::text, ',') FROM databricks.wait_for_runs(ARRAY[$hanging, $going, $done], 'any')"), $done,
	'the first end is enough although a look hangs');
is($workspace->calls(path => $get, since => $mark), 3, '... after one look at each');
$mark = $workspace->mark;
$got = attempt("wait_for_runs(ARRAY[$hanging, $going], timeout => '1 s')");
is($got->{sqlstate}, 'RUN06', 'a look that hangs does not hold up the timeout of several runs');
cmp_ok($workspace->calls(path => $get, query => "run_id=$going", since => $mark), '>', 1, '... nor the looks at the others');
$workspace->delete('faults');
$workspace->post('faults', { path => $get, query => "run_id=$going", kind => 'status', status => 403 });
is(attempt("wait_for_runs(ARRAY[$done, $going])")->{sqlstate}, '42501', 'a run that may not be seen is an error for all');

$workspace->delete('faults');
$workspace->post('faults', { path => $get, kind => 'hang', count => undef });
$begun = time;
is(sql_error($node, q{SET statement_timeout = '1 s';
	SELECT databricks.wait_for_runs(ARRAY(SELECT generate_series(1::bigint, 100000)))})->{state}, '57014', 'waiting for very many runs can be cancelled');
cmp_ok(time - $begun, '<', patience(8), '... at once');
$workspace->delete('faults');

# So do the cancels, ...
my @endless = map { sql("SELECT databricks.run_now($endless)") } 1 .. 4;
$mark = $workspace->mark;
$workspace->post('faults', { path => '/api/2.2/jobs/runs/cancel', kind => 'delay', ms => 1000, count => 4 });
$got = attempt('wait_for_runs(ARRAY[' . ids(@endless) . q{], timeout => '0', cancel_on_timeout => true)});
is($got->{hint}, 'The run is being cancelled.', 'several runs are cancelled when the time is up');
is($workspace->most_at_once(path => '*/runs/cancel', since => $mark), 4, '... at once');
is($workspace->calls(path => '*/runs/cancel', body => $_, since => $mark), 1, '... each') foreach @endless;

# ... also when the looks hold all places for calls ...
sql(q{ALTER SERVER prod OPTIONS (ADD max_parallel '1')});
foreach my $statement ('wait_for_run(%s', 'wait_for_runs(ARRAY[%s]')
{
	$run = sql("SELECT databricks.run_now($endless)");
	$workspace->post('faults', { path => $get, query => "run_id=$run", kind => 'hang', count => undef });
	$session = begin_sql('SELECT databricks.' . sprintf($statement, $run) . ', cancel_on_interrupt => true)');
	poll_until('a look hangs', sub { $workspace->calls(path => $get, query => "run_id=$run") && waiter() });
	sql('SELECT pg_cancel_backend(' . waiter() . ')');
	finish_sql($session);
	is($session->{state}, '57014', "cancelled while the only call hangs: $statement");
	is($workspace->calls(path => '*/runs/cancel', body => $run), 1, '... and so is the run (case 51)');
	$workspace->delete('faults');
}
sql('ALTER SERVER prod OPTIONS (DROP max_parallel)');

# ... and the outputs of what failed, which are asked for only if they are told.
my @failed = map {
	my $id = $_;
	load(old('TERMINATED', 'FAILED'), tasks => [ map { { task_key => "t$_", run_id => $id * 10 + $_, old('TERMINATED', 'FAILED') } } 1, 2 ])
} 1, 2;
my $output = '/api/2.2/jobs/runs/get-output';
foreach my $task (11, 12, 21, 22)
{
	$workspace->post('faults', { path => $output, query => "run_id=$task", kind => 'status', status => 200, ms => 1000, count => undef, json => { error => "error of $task" } });
}
$mark = $workspace->mark;
is( sql('SELECT string_agg(t ->> $$error$$, $$, $$) FROM databricks.wait_for_runs(ARRAY[' . ids($failed[0], $done, $failed[1]) .
		'], raise_on_failure => false) AS r, jsonb_array_elements(r.failed_tasks) AS t'),
	'error of 11, error of 12, error of 21, error of 22', 'the errors of all tasks that failed in several runs');
is($workspace->most_at_once(path => $output, since => $mark), 4, '... are fetched at once');
$mark = $workspace->mark;
$got = attempt('wait_for_runs(ARRAY[' . ids($done, @failed) . '])');
is($got->{sqlstate}, 'RUN01', 'the first run that failed is the error');
like($got->{detail}, qr/error of 11.*error of 12/s, '... with what its tasks say');
is($workspace->calls(path => $output, since => $mark), 2, '... and only they are asked');
$workspace->delete('faults');

# --- await_run: nothing is held between two looks ------------------------------------------------------------------

$run = sql("SELECT databricks.run_now($endless)");
foreach my $case ([ "CALL databricks.await_run($run)", 't' ], [ "SELECT databricks.wait_for_run($run)", 'f' ])
{
	my ($statement, $free) = @$case;
	my $before = $workspace->calls(path => '*/runs/get', query => "run_id=$run");
	$session = begin_sql(q{SET databricks.wait_min_interval = '300ms'}, q{SET databricks.wait_max_interval = '300ms'}, $statement);
	poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") >= $before + 2 });
	poll_until("snapshot held: $statement", sub {
		sql(q{SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity
			  WHERE application_name = 'waiter' AND wait_event_type IS NOT NULL}) eq $free;
	}, 10);
	# ... at any time, not by chance
	my %seen;
	$seen{ sql(q{SELECT backend_xmin IS NULL FROM pg_stat_activity WHERE application_name = 'waiter' AND wait_event_type = 'Extension'}) }++ foreach 1 .. 10;
	delete $seen{''};
	is(join(',', sort keys %seen), $free, "$statement holds " . ($free eq 't' ? 'no' : 'a') . ' snapshot while it waits');
	sql('SELECT pg_cancel_backend(' . waiter() . ')');
	finish_sql($session);
	is($session->{state}, '57014', '... and can be cancelled');
}
$session = begin_sql(q{SET databricks.wait_min_interval = '1h'}, "CALL databricks.await_run($run, cancel_on_interrupt => true)");
poll_until('it waits', sub { $workspace->calls(path => '*/runs/get', query => "run_id=$run") && waiter() });
poll_until('it has looked', sub { $session->{run}->pump_nb; $session->{err} =~ /RUNNING/ });
sql('SELECT pg_cancel_backend(' . waiter() . ')');
finish_sql($session);
is($workspace->calls(path => '*/runs/cancel', body => $run), 1, 'await_run cancels the run too, if asked to');
is(sql_error($node, "CALL databricks.await_run($run)")->{state}, 'RUN02', 'await_run raises as wait_for_run does');
$quick_job = $workspace->create_job(name => 'quick', max_concurrent_runs => 100);
$workspace->post('plans', { match => { job_name => 'quick' }, plan => { setup_ms => 0, duration_ms => 300, cleanup_ms => 0 } });
$run = sql("SELECT databricks.run_now($quick_job)");
($rc, $out, $err) = $node->psql('postgres', "CALL databricks.await_run($run)");
is($rc, 0, 'await_run ends with a success');
like($err, qr/NOTICE:  run $run of "quick": SUCCESS/, '... which is told');
is(sql_error($node, "CALL databricks.await_run(" . sql("SELECT databricks.run_now($endless)") . ", timeout => '200 ms')")->{state}, 'RUN06', '... or times out');

# In a procedure and a DO block, which may commit; not where a transaction is open.
is( sql(qq{
		CREATE TABLE steps (n int);
		CREATE PROCEDURE pipeline() LANGUAGE plpgsql AS \$\$
		DECLARE
			run bigint;
			word text := repeat('kept', 10);
		BEGIN
			INSERT INTO steps VALUES (1);
			run := databricks.run_now('quick');
			CALL databricks.await_run(run);
			INSERT INTO steps VALUES (length(word));
			run := databricks.run_now('quick');
			CALL databricks.await_run(run);
			INSERT INTO steps VALUES (3);
		END \$\$;
		CALL pipeline();
		SELECT string_agg(n::text, ',') FROM steps;}),
	'1,40,3', 'await_run in a procedure');
is(sql_error($node, "BEGIN; CALL databricks.await_run($run)")->{state}, '2D000', 'not in a transaction block');
is(sql_error($node, "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN CALL databricks.await_run($run); END'; SELECT f()")->{state}, '2D000', '... nor in a function');
is(sql_error($node, "DO \$\$ BEGIN CALL databricks.await_run($run); EXCEPTION WHEN division_by_zero THEN NULL; END \$\$")->{state}, '2D000', '... nor under an exception handler');

# Tasks come in pages of a hundred; the time of the wait holds for all of them.
my $wide = $workspace->create_job(name => 'wide', tasks => [ map { { task_key => "t$_", notebook_task => { notebook_path => '/x' } } } 1 .. 150 ]);
$workspace->post('plans', { match => { job_name => 'wide' }, plan => { setup_ms => 0, duration_ms => -1 } });
$run = sql("SELECT databricks.run_now($wide)");
$workspace->post('faults', { kind => 'hang', path => '*/runs/get', query => 'page_token', count => undef });
$begun = time;
is(attempt("wait_for_run($run, timeout => '1 s')")->{sqlstate}, 'RUN06', 'a later page that does not come does not hold up the end of a wait (case 50)');
cmp_ok(time - $begun, '<', patience(3), 'which comes in time');
$workspace->delete('faults');

$node->stop;
done_testing();
