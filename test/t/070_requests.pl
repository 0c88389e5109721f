# 070_requests.pl - requests: asked for in a transaction, sent once after it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 200, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(
	name => 'nightly',
	max_concurrent_runs => 1000,
	parameters => [ map { { name => $_, default => '' } } qw(day n a kind) ]);

my $node = new_node(
	'main',
	preload => 1,
	conf => <<~CONF);
		databricks.follow_interval = 200ms
		max_prepared_transactions = 10
		max_worker_processes = 16
		autovacuum = off
		CONF
my $run_now = '/api/2.2/jobs/run-now';
my $submit = '/api/2.2/jobs/runs/submit';

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

# The runs that were asked for since a mark of the journal.
sub sent
{
	my ($mark) = @_;
	return $workspace->calls(since => $mark, path => $run_now) + $workspace->calls(since => $mark, path => $submit);
}

# Send one more request and wait for its run: what was asked for before, and is
# due, has been sent by then, since they are sent in order.
sub all_sent
{
	my $id = value("SELECT databricks.enqueue_run_now($job)");
	poll_until('a later request is sent',
		sub { value("SELECT run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $id") eq 't' });
	return 1;
}

connect_workspace($node, $workspace);

# --- a request and its run ------------------------------------------------------

my $mark = $workspace->mark;
my $id = value(qq{SELECT databricks.enqueue_run_now($job, '{"day": "2026-11-22", "n": 5}', '{"queue": {"enabled": true}}')});
wait_for_value('a request is sent and followed to its end',
	"SELECT state, result_state, attempt, last_error IS NULL FROM databricks.run_requests WHERE request_id = $id",
	'succeeded|SUCCESS|1|t');
my @posts = $workspace->journal(since => $mark, path => $run_now);
is(scalar(@posts), 1, 'by one call');
my $body = ref $posts[0]{body} ? $posts[0]{body} : json($posts[0]{body});
is_deeply($body->{job_parameters}, { day => '2026-11-22', n => '5' }, 'with its parameters as text');
is_deeply($body->{queue}, { enabled => JSON::PP::true }, 'with its options');
is($body->{idempotency_token}, value("SELECT token FROM databricks.run_requests WHERE request_id = $id"),
	'under the token that is in the row');
is(length $body->{idempotency_token}, 36, 'which has 36 characters (case 35)');
is( value("SELECT h.request_id, h.started_by, h.state FROM databricks.run_history h JOIN databricks.run_requests r USING (workspace, run_id) WHERE r.request_id = $id"),
	value("SELECT $id, current_user, 'TERMINATED'"), 'its run is in the history, with the request and the role');
is(value("SELECT run_page_url <> '' AND triggered_at IS NOT NULL AND finished_at >= triggered_at FROM databricks.run_requests WHERE request_id = $id"),
	't', 'times and address are kept');
is(value("SELECT attempt, state, result_state FROM databricks.run_request_attempts WHERE request_id = $id"),
	'1|succeeded|SUCCESS', 'and the attempt');

$id = value(q{SELECT databricks.enqueue_run_now('nightly')});
my $digits = value(qq{SELECT databricks.enqueue_run_now('$job')});
my $submitted = value(q{SELECT databricks.enqueue_submit('{"run_name": "once", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/x"}}]}')});
wait_for_value('by name, by digits and without a saved job',
	"SELECT string_agg(state, ' ') FROM databricks.run_requests WHERE request_id IN ($id, $digits, $submitted)",
	'succeeded succeeded succeeded');
is(value("SELECT job_id FROM databricks.run_requests WHERE request_id = $id"), $job, 'the job that was found is kept');

# A search that goes round in circles is tried again, as a list that cannot be read.
my $circle = $workspace->post('faults', { path => '/api/2.2/jobs/list', query => 'name=circular', kind => 'status', status => 200,
		count => undef, json => { jobs => [], next_page_token => 'again' } });
$id = value(q{SELECT databricks.enqueue_run_now('circular')});
wait_for_value('the search for a job does not walk in circles',
	"SELECT last_error LIKE 'the pages of /api/2.2/jobs/list go round in circles%' FROM databricks.run_requests WHERE request_id = $id", 't');
$workspace->create_job(name => 'circular');
$workspace->delete('faults', id => $circle->{id});
wait_for_value('... and goes on once there is an end',
	"SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

# --- transactions ------------------------------------------------------------------

$mark = $workspace->mark;
value("BEGIN; SELECT databricks.enqueue_run_now($job); ROLLBACK");
value("BEGIN; SAVEPOINT a; SELECT databricks.enqueue_run_now($job); ROLLBACK TO a; SELECT databricks.enqueue_run_now($job); COMMIT");
value("BEGIN; SELECT databricks.enqueue_run_now($job); PREPARE TRANSACTION 'one'");
value("BEGIN; SELECT databricks.enqueue_run_now($job); PREPARE TRANSACTION 'two'");
all_sent();
is(sent($mark), 2, 'nothing is sent for what was rolled back, or is only prepared (case 41)');
value("ROLLBACK PREPARED 'one'");
$mark = $workspace->mark;
my $at = time;
value("COMMIT PREPARED 'two'");
poll_until('COMMIT PREPARED wakes the worker', sub { sent($mark) == 1 });
cmp_ok(time - $at, '<', patience(5), 'COMMIT PREPARED wakes the worker at once');
all_sent();
is(sent($mark), 2, 'and ROLLBACK PREPARED sends nothing');
wait_for_value('all of them come to their end',
	q{SELECT count(*) FILTER (WHERE state = 'succeeded') = count(*) FROM databricks.run_requests}, 't');

# --- an idle worker --------------------------------------------------------------------

my $pid = value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker'});
my $later = value(qq{SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 hour')});
wait_for_value('what waits is counted', q{SELECT queue_depth FROM databricks.stat_worker}, '1');

# How often the process was given the processor, of its own will or not: a query
# or a call needs it.
sub switches
{
	open(my $status, '<', "/proc/$pid/status") or die "no worker: $!";
	my $sum = 0;
	$sum += $_ foreach join('', <$status>) =~ /ctxt_switches:\s+(\d+)/g;
	close($status);
	return $sum;
}

# Nobody else is there who could wake it by a message about a catalog.
my ($switches, $since) = (switches(), time);
poll_until('the worker sleeps', sub {
	my $now = switches();
	($switches, $since) = ($now, time) if $now != $switches;
	return time > $since + 1;
});
$mark = $workspace->mark;
my $passed = time + 3;
poll_until('time passes', sub { time > $passed });
is(switches() - $switches, 0, 'an idle worker sleeps: no wake-ups, no queries, whatever waits for its time');
is($workspace->calls(since => $mark), 0, 'and makes no calls');
value("SELECT databricks.cancel_request($later)");
wait_for_value('what was withdrawn does not wait', q{SELECT queue_depth FROM databricks.stat_worker}, '0');

# --- keys ---------------------------------------------------------------------------

$id = value(qq{SELECT databricks.enqueue_run_now($job, '{"a": 1}', request_key => 'k')});
is(value(qq{SELECT databricks.enqueue_run_now($job, '{"a": "1"}', request_key => 'k')}), $id, 'the same key and body: the same request');
is(sql_error($node, qq{SELECT databricks.enqueue_run_now($job, '{"a": 2}', request_key => 'k')})->{state}, '42710', 'with another body it is refused');
is(sql_error($node, qq{SELECT databricks.enqueue_run_now(1, '{"a": 1}', request_key => 'k')})->{state}, '42710', 'with another job too');
value(qq{BEGIN; SELECT databricks.enqueue_run_now($job, request_key => 'again'); ROLLBACK});
isnt(value(qq{SELECT databricks.enqueue_run_now($job, request_key => 'again')}), '', 'a key that was rolled back is free');

# Two sessions with the same key: one request.
my $one = $node->background_psql('postgres');
my $two = $node->background_psql('postgres');
my $first = $one->query_safe(qq{BEGIN; SELECT databricks.enqueue_run_now($job, request_key => 'both')});
$two->{stdin} .= qq{SELECT databricks.enqueue_run_now($job, request_key => 'both');\n};
$two->{run}->pump_nb;
poll_until('the second one waits', sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}) eq '1' });
$one->query_safe('COMMIT');
$one->quit;
$two->query_safe('SELECT 1');
$two->quit;
is(value(q{SELECT count(*) FROM databricks.run_requests WHERE request_key = 'both'}), '1', 'two sessions with one key: one request');

# --- errors of the service --------------------------------------------------------------

$id = value('SELECT databricks.enqueue_run_now(1)');
my $unnamed = value(q{SELECT databricks.enqueue_run_now('no such job')});
wait_for_value('what the service refuses is rejected',
	"SELECT count(*) FROM databricks.run_requests WHERE request_id IN ($id, $unnamed) AND state = 'rejected' AND finished_at IS NOT NULL", '2');
like(value("SELECT last_error FROM databricks.run_requests WHERE request_id = $unnamed"),
	qr/there is no job named "no such job"/, 'with the reason');

# Trouble that passes: tried again, under the same token.
$workspace->post('faults', { kind => 'status', status => 503, path => $run_now, count => 4 });
$mark = $workspace->mark;
$id = value("SELECT databricks.enqueue_run_now($job)");
wait_for_value('trouble that passes is sat out', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

# Answers that are lost: one run all the same.
foreach my $kind (qw(lost reset truncate bad_json empty))
{
	$workspace->post('faults', { kind => $kind, path => $run_now, count => 3 });
	$mark = $workspace->mark;
	$id = value(qq{SELECT databricks.enqueue_run_now($job, '{"kind": "$kind"}')});
	wait_for_value("after answers of kind $kind it ends well (case 37)",
		"SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|1');
	my %tokens = map { (ref $_->{body} ? $_->{body} : json($_->{body}))->{idempotency_token} => 1 }
	  $workspace->journal(since => $mark, path => $run_now);
	is(scalar(keys %tokens), 1, "$kind: under one token (case 36)");
	$workspace->delete('faults');
}

# --- rights at the time of sending -----------------------------------------------------

my $token = $workspace->token;
value(qq{
	CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;
	GRANT USAGE ON FOREIGN SERVER prod TO alice, bob;
	CREATE USER MAPPING FOR alice SERVER prod OPTIONS (token '$token');
	CREATE USER MAPPING FOR bob SERVER prod OPTIONS (token '$token')});
$mark = $workspace->mark;
$id = value("SET ROLE alice; SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 second')");
value('REVOKE USAGE ON FOREIGN SERVER prod FROM alice');
wait_for_value('USAGE is looked at when it is sent', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'rejected');
like(value("SELECT last_error FROM databricks.run_requests WHERE request_id = $id"), qr/permission denied/, 'with the reason');
is(sent($mark), 0, 'nothing was sent');
is(sql_error($node, "SET ROLE alice; SELECT databricks.enqueue_run_now($job)")->{state}, '42501', 'and when it is asked for');
value('GRANT USAGE ON FOREIGN SERVER prod TO alice');

value('CREATE ROLE gone LOGIN; GRANT USAGE ON FOREIGN SERVER prod TO gone; CREATE USER MAPPING FOR gone SERVER prod OPTIONS (token $$x$$)');
$id = value("SET ROLE gone; SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 second')");
value('DROP OWNED BY gone; DROP USER MAPPING IF EXISTS FOR gone SERVER prod; DROP ROLE gone');
wait_for_value('a role that is gone', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'rejected');
like(value("SELECT last_error FROM databricks.run_requests WHERE request_id = $id"), qr/role "gone".*does not exist/, 'is named');

# A role sees and cancels its own requests, the owner of the server all.
$id = value("SET ROLE alice; SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 hour')");
is(value("SET ROLE alice; SELECT count(*) FROM databricks.run_requests WHERE request_id = $id"), '1', 'own requests are seen');
is(value("SET ROLE bob; SELECT count(*) FROM databricks.run_requests WHERE requested_by <> 'bob'"), '0', 'those of others are not');
is(sql_error($node, "SET ROLE bob; SELECT databricks.cancel_request($id)")->{state}, '42704', 'nor cancelled');
is(sql_error($node, "SET ROLE bob; SELECT databricks.retry_request($id)")->{state}, '42704', 'nor tried again');
is(sql_error($node, "SET ROLE bob; SELECT databricks.enqueue_run_now($job, depends_on => '{$id}')")->{state}, '42704', 'nor waited for');
foreach my $sql ("INSERT INTO databricks.run_requests (workspace, requested_by, session_user_name, kind, body) VALUES ('prod', 'alice', 'x', 'submit', '{}')",
	"UPDATE databricks.run_requests SET requested_by = 'alice'", 'DELETE FROM databricks.run_requests',
	'SELECT 1 FROM databricks.run_requests FOR UPDATE', 'BEGIN; LOCK TABLE databricks.run_requests IN SHARE MODE',
	"INSERT INTO databricks.run_request_cancels (request_id, canceled_by) VALUES ($id, 'x')", 'TABLE databricks.dispatch_home',
	'CALL databricks.run_worker_once()')
{
	is(sql_error($node, "SET ROLE bob; $sql")->{state}, '42501', "refused: $sql");
}
isnt(value("SET ROLE bob; SELECT databricks.enqueue_run_now($job, request_key => 'of both')"),
	value("SET ROLE alice; SELECT databricks.enqueue_run_now($job, request_key => 'of both')"), 'a key of one role is nothing to another');
foreach my $options ('{"job_id": 1}', '{"idempotency_token": "x"}', '{"run_id": 1}')
{
	is(sql_error($node, "SET ROLE bob; SELECT databricks.enqueue_run_now($job, options => '$options')")->{state}, '22023', "refused: options $options");
}
wait_for_value('attempts of others', "SELECT count(*) > 0 FROM databricks.run_request_attempts WHERE requested_by = 'alice'", 't');
is(value("SET ROLE bob; SELECT count(*) FROM databricks.run_request_attempts WHERE requested_by <> 'bob'"), '0', 'are not seen either');
value("ALTER SERVER prod OWNER TO postgres");
is(value("SELECT databricks.cancel_request($id)"), 'canceled', 'the owner may');

# --- requests by one name -----------------------------------------------------------------

# The name is looked for once for all of one role that are sent together, and never
# in the name of somebody else.
sub lookups { return $workspace->calls(since => $_[0], path => '/api/2.2/jobs/list', query => "name=$_[1]"); }
sub by_name { return "SELECT count(databricks.enqueue_run_now('$_[0]')) FROM generate_series(1, $_[1])"; }
sub states_of { return "SELECT string_agg(DISTINCT state, ' '), count(*) FROM databricks.run_requests WHERE job_name = '$_[0]'"; }

my $shared = $workspace->create_job(name => 'shared', max_concurrent_runs => 100);
$mark = $workspace->mark;
value('BEGIN; SET LOCAL ROLE alice; ' . by_name('shared', 10) . '; SET LOCAL ROLE bob; ' . by_name('shared', 10) . '; COMMIT');
wait_for_value('twenty requests of two roles for one name are sent', states_of('shared'), 'succeeded|20');
is(lookups($mark, 'shared'), 2, 'the name was looked for once by each role');
is(sent($mark), 20, 'each of them was sent once');
is(value(q{SELECT count(DISTINCT run_id), count(DISTINCT token) FROM databricks.run_requests WHERE job_name = 'shared'}), '20|20', 'each with a run and a token of its own');

# Never found by a search that had begun before the request was made.
my $delay = $workspace->post('faults', { kind => 'delay', ms => 1000, path => '/api/2.2/jobs/list', query => 'name=shared', count => 1 });
$mark = $workspace->mark;
value('SET ROLE alice; ' . by_name('shared', 3));
poll_until('the search has begun', sub { grep { $_->{id} == $delay->{id} && $_->{hits} } @{ $workspace->get('faults')->{faults} } });
value('SET ROLE alice; ' . by_name('shared', 3));
wait_for_value('requests made during the search are sent', states_of('shared'), 'succeeded|26');
is(lookups($mark, 'shared'), 2, 'after a search of their own');
$workspace->delete('faults');

# What the one search tells holds for all; trouble that passes does as well.
$mark = $workspace->mark;
value(by_name('nobody', 5));
wait_for_value('a name that no job has', states_of('nobody'), 'rejected|5');
is(lookups($mark, 'nobody'), 1, 'is looked for once');
is(value(q{SELECT count(*) FROM databricks.run_requests WHERE job_name = 'nobody' AND last_error = 'there is no job named "nobody" in workspace "prod"'}), '5', 'each of them says so');
$workspace->post('faults', { kind => 'status', status => 400, code => 'INVALID_STATE', path => '/api/2.2/jobs/list', query => 'name=shared', count => 1 });
value(by_name('shared', 3));
wait_for_value('a search that is refused', q{SELECT count(*), count(DISTINCT last_error) FROM databricks.run_requests WHERE job_name = 'shared' AND state = 'rejected'}, '3|1');
$workspace->delete('faults');

# Rights are looked at again before anything is sent.
$delay = $workspace->post('faults', { kind => 'delay', ms => 1000, path => '/api/2.2/jobs/list', query => 'name=shared', count => 1 });
$mark = $workspace->mark;
value('SET ROLE alice; ' . by_name('shared', 3));
poll_until('the search has begun', sub { grep { $_->{id} == $delay->{id} && $_->{hits} } @{ $workspace->get('faults')->{faults} } });
value('REVOKE USAGE ON FOREIGN SERVER prod FROM alice');
wait_for_value('rights that go during the search', q{SELECT count(*) FROM databricks.run_requests WHERE job_name = 'shared' AND state = 'rejected' AND last_error LIKE '%permission denied%'}, '3');
is(sent($mark), 0, 'are missed by all that it was for');
value('GRANT USAGE ON FOREIGN SERVER prod TO alice');
$workspace->delete('faults');

# --- cancelling ---------------------------------------------------------------------------

$mark = $workspace->mark;
$id = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 second')");
is(value("SELECT databricks.cancel_request($id)"), 'canceled', 'what was not sent is withdrawn');
value("BEGIN; SELECT databricks.enqueue_run_now($job, request_key => 'withdrawn'); SELECT databricks.cancel_request(currval('databricks.run_requests_request_id_seq')); COMMIT");
my $due = time + 1.2;
poll_until('its time has passed', sub { time > $due });
all_sent();
is(sent($mark), 1, 'and never sent (case 52)');

my $long = $workspace->create_job(name => 'long', max_concurrent_runs => 100);
$workspace->post('plans', { match => { job_id => $long }, plan => { setup_ms => 0, duration_ms => -1 } });
$id = value("SELECT databricks.enqueue_run_now($long, max_attempts => 3)");
wait_for_value('a long run', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'running');
is(value("SELECT databricks.cancel_request($id)"), 'running', 'what runs');
wait_for_value('is cancelled in the workspace, and not tried again',
	"SELECT state, result_state, attempt FROM databricks.run_requests WHERE request_id = $id", 'canceled|CANCELED|1');

# An uncommitted cancel holds up nobody.
$id = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 second')");
$one = $node->background_psql('postgres');
$one->query_safe("BEGIN; SELECT databricks.cancel_request($id)");
all_sent();
$due = time + 1.2;
poll_until('its time has passed', sub { time > $due });
all_sent();
pass('a cancel that is not committed holds up nobody');
$one->query_safe('ROLLBACK');
$one->quit;
wait_for_value('and when it is rolled back the request is sent', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');

# --- times ----------------------------------------------------------------------------------

$workspace->post('faults', { kind => 'status', status => 429, path => $run_now, count => undef });
$id = value("SELECT databricks.enqueue_run_now($job, expires_at => now() + interval '2 seconds')");
wait_for_value('what could not be sent in time expires', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'expired');
$workspace->delete('faults');
$mark = $workspace->mark;
$id = value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1.5 seconds')");
wait_for_value('not_before is kept', "SELECT state, triggered_at >= not_before AND triggered_at < not_before + interval '5 seconds' FROM databricks.run_requests WHERE request_id = $id", 'succeeded|t');

# --- attempts -----------------------------------------------------------------------------------

my $flaky = $workspace->create_job(name => 'flaky', max_concurrent_runs => 100);
$workspace->post('plans', { match => { job_id => $flaky }, plan => { setup_ms => 0, duration_ms => 10, result => 'FAILED' }, count => 2 });
$id = value("SELECT databricks.enqueue_run_now($flaky, max_attempts => 4, retry_delay => '100 ms', request_key => 'flaky')");
wait_for_value('a run that fails is tried again', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|3');
is(value("SELECT string_agg(state, ' ' ORDER BY attempt), count(DISTINCT token), count(DISTINCT run_id) FROM databricks.run_request_attempts WHERE request_id = $id"),
	'failed failed succeeded|3|3', 'each time under a new token, as a new run (case 40)');
$workspace->post('plans', { match => { job_id => $flaky }, plan => { setup_ms => 0, duration_ms => 10, result => 'FAILED' }, count => 2 });
$id = value("SELECT databricks.enqueue_run_now($flaky, max_attempts => 2, retry_delay => '100 ms')");
wait_for_value('until there are no attempts left', "SELECT state, attempt, last_error <> '' FROM databricks.run_requests WHERE request_id = $id", 'failed|2|t');
value("SELECT databricks.retry_request($id)");
wait_for_value('but for one more that is asked for', "SELECT state, attempt FROM databricks.run_requests WHERE request_id = $id", 'succeeded|3');
is(sql_error($node, "SELECT databricks.retry_request($id)")->{state}, '55000', 'success is not tried again');

# --- waiting -----------------------------------------------------------------------

$id = value("SELECT databricks.enqueue_run_now($job)");
is(value("SELECT state, result_state, run_id IS NOT NULL FROM databricks.wait_for_request($id)"), 'TERMINATED|SUCCESS|t', 'wait_for_request tells the end of the run');
value("CALL databricks.await_request($id)");
$workspace->post('plans', { match => { job_id => $flaky }, plan => { setup_ms => 0, duration_ms => 10, result => 'FAILED' }, count => 1 });
$id = value("SELECT databricks.enqueue_run_now($flaky)");
is(sql_error($node, "SELECT databricks.wait_for_request($id)")->{state}, 'RUN01', 'a failed run is an error');
is(sql_error($node, "CALL databricks.await_request($id)")->{state}, 'RUN01', 'for the procedure too');
is(value("SELECT result_state FROM databricks.wait_for_request($id, raise_on_failure => false)"), 'FAILED', 'unless that is not wanted');
$id = value('SELECT databricks.enqueue_run_now(1)');
my $error = sql_error($node, "SELECT databricks.wait_for_request($id)");
is($error->{state}, 'RUN01', 'a rejected request is an error');
like($error->{message}, qr/ended rejected: /, 'with its reason');
is(value("SELECT state, state_message <> '' FROM databricks.wait_for_request($id, raise_on_failure => false)"), 'rejected|t', 'or a row');
$id = value("SELECT databricks.enqueue_run_now($long)");
is(sql_error($node, "SELECT databricks.wait_for_request($id, '300 ms')")->{state}, 'RUN06', 'the wait can time out');
is(sql_error($node, "CALL databricks.await_request($id, '300 ms', cancel_on_timeout => true)")->{state}, 'RUN06', 'and cancel the request');
is(sql_error($node, "SELECT databricks.wait_for_request($id)")->{state}, 'RUN02', 'which is an error of its own');
$id = value("SELECT databricks.enqueue_run_now($long)");
my ($wait_rc, $wait_out, $wait_err) = $node->psql('postgres', "SELECT state, run_id IS NOT NULL OR state <> 'running' FROM databricks.wait_for_request($id, '300 ms', cancel_on_timeout => true)");
like($wait_err, qr/WARNING:  request $id has not ended yet.*\nDETAIL:  It is canceled when/, 'the function cancels with a warning');
like($wait_out, qr/^(queued|sending|running|canceled)\|t$/, 'and tells how far it was');
is(sql_error($node, "SELECT databricks.wait_for_request($id)")->{state}, 'RUN02', 'which is an error of its own');
is(sql_error($node, "BEGIN; SELECT databricks.wait_for_request(databricks.enqueue_run_now($job))")->{state}, '55000', 'what is not committed cannot be waited for');
is(sql_error($node, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT databricks.wait_for_request($id)")->{state}, '55000', 'nor what could not be seen');
is(sql_error($node, "SET ROLE bob; SELECT databricks.wait_for_request($id)")->{state}, '42704', 'nor the requests of others');
is(sql_error($node, "BEGIN; CALL databricks.await_request($id)")->{state}, '2D000', 'the procedure is not for transaction blocks');
$at = time;
is(sql_error($node, "SET statement_timeout = '500ms'; SELECT databricks.wait_for_request(" . value("SELECT databricks.enqueue_run_now($job, not_before => now() + interval '1 hour', request_key => 'never')") . ')')->{state}, '57014', 'a wait can be interrupted');
cmp_ok(time - $at, '<', patience(2), 'within a second (case 51)');
value(q{SELECT databricks.cancel_request(request_id) FROM databricks.run_requests WHERE request_key = 'never'});

# --- dependencies -------------------------------------------------------------------

my $before = value("SELECT databricks.enqueue_run_now($job)");
$id = value("SELECT databricks.enqueue_run_now($job, depends_on => '{$before}')");
wait_for_value('a request that depends on another one is sent', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');
is(value("SELECT d.triggered_at >= b.finished_at FROM databricks.run_requests d, databricks.run_requests b WHERE d.request_id = $id AND b.request_id = $before"), 't', 'after that has succeeded');
$workspace->post('plans', { match => { job_id => $flaky }, plan => { setup_ms => 0, duration_ms => 300, result => 'FAILED' }, count => 1 });
$mark = $workspace->mark;
$id = value("BEGIN; SELECT databricks.enqueue_run_now($flaky, request_key => 'a'); SELECT databricks.enqueue_run_now($job, request_key => 'b', depends_on => ARRAY[(SELECT request_id FROM databricks.run_requests WHERE request_key = 'a')]); SELECT databricks.enqueue_run_now($job, request_key => 'c', depends_on => ARRAY[(SELECT request_id FROM databricks.run_requests WHERE request_key = 'b')]); COMMIT");
wait_for_value('when it fails, all that depend on it are canceled', q{SELECT string_agg(state, ' ' ORDER BY request_key) FROM databricks.run_requests WHERE request_key IN ('a', 'b', 'c')}, 'failed canceled canceled');
like(value(q{SELECT last_error FROM databricks.run_requests WHERE request_key = 'b'}), qr/request \d+, which it depends on, ended failed/, 'with the reason');
is(sent($mark), 1, 'and never sent');

# --- notifications ---------------------------------------------------------------------------------

$one = $node->background_psql('postgres');
$one->query_safe('LISTEN databricks');
$id = value("SELECT databricks.enqueue_run_now($job)");
wait_for_value('a request ends', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');
my $stdout = $one->query_safe('SELECT 1');
my @states = $stdout =~ /"request_id": "$id", "state": "(\w+)"/g;
is("@states", 'sending running succeeded', 'each change of a request is notified') or diag($stdout);
$one->quit;

# --- tracked workspaces ------------------------------------------------------------------------------

value(q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')});
$mark = $workspace->mark;
$id = value("SELECT databricks.enqueue_run_now($job)");
wait_for_value('with tracking it is followed too', "SELECT state FROM databricks.run_requests WHERE request_id = $id", 'succeeded');
value(q{SELECT databricks.untrack('prod')});

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;

# --- without preload ---------------------------------------------------------------------------------------

my $bare = new_node('bare');
connect_workspace($bare, $workspace);
my ($rc, $out, $stderr) = $bare->psql('postgres', "SELECT databricks.enqueue_run_now($job); SELECT databricks.enqueue_run_now('nightly')");
is(() = $stderr =~ /WARNING:  no background worker runs/g, 1, 'without preload there is a warning, once a session');
my $queued = $bare->safe_psql('postgres', 'SELECT max(request_id) FROM databricks.run_requests');
foreach my $wait ('SELECT databricks.wait_for_request', 'CALL databricks.await_request')
{
	($rc, $out, $stderr) = $bare->psql('postgres', "$wait($queued, raise_on_failure => false, timeout => '0.1 s')");
	like($stderr, qr/WARNING:  no background worker runs/, 'who waits for one is told too');
}
$mark = $workspace->mark;
$bare->safe_psql('postgres', 'CALL databricks.run_worker_once()');
is($bare->safe_psql('postgres', q{SELECT string_agg(state, ' ') FROM databricks.run_requests WHERE run_id IS NOT NULL}),
	'running running', 'run_worker_once sends what is due');
is(sent($mark), 2, 'once');
poll_until('one more round sees the end',
	sub {
		$bare->safe_psql('postgres', 'CALL databricks.run_worker_once()');
		return $bare->safe_psql('postgres', q{SELECT count(*) FROM databricks.run_requests WHERE state = 'succeeded'}) eq '2';
	});
pass('further rounds follow the runs');
is(sent($mark), 2, 'and send nothing again');
is(sql_error($bare, 'BEGIN; CALL databricks.run_worker_once()')->{state}, '2D000', 'not in a transaction');
$bare->stop;

done_testing();
