# 060_worker_tracking.pl - the run history as the worker keeps it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;

# No TERMINATING in between: how many states a sweep sees shall not be chance.
$workspace->post('settings', { cleanup_ms => 0, job_cleanup_ms => 0 });

my $node = new_node(
	'main',
	preload => 1,
	conf => "log_min_messages = debug5\nautovacuum = off\n");
my $runs_list = '/api/2.2/jobs/runs/list';
my $runs_get = '/api/2.2/jobs/runs/get';

# One value of the database.
sub value { return $node->safe_psql('postgres', $_[0]); }

# Wait until a query gives what is expected.
sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub { ($last = value($query)) eq $expected });
	};
	ok($ok, $name) or diag("last: $last");
	return;
}

sub start_run { return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $_[0] })->{run_id}; }

# So many more complete sweeps.
sub wait_for_sweeps
{
	my ($count) = @_;
	my $before = value(q{SELECT coalesce(max(sweeps), 0) FROM databricks.tracking});
	poll_until("$count more sweeps",
		sub { value(q{SELECT coalesce(max(sweeps), 0) FROM databricks.tracking}) >= $before + $count });
	return;
}

# --- before anything is tracked ----------------------------------------------

# Of what is published each table that is updated needs a key.
value('CREATE PUBLICATION everything FOR ALL TABLES');
connect_workspace($node, $workspace);
is(value('SELECT count(*) FROM databricks.run_history'),
	'0', 'connect makes the data tables');
is(value('SELECT count(*) FROM databricks.stat_worker'),
	'0', 'no worker where nothing is to be done');

# --- a first look: the backfill, and what runs --------------------------------

$workspace->post('seed', { jobs => 3, runs => 120, days => 20 });
my $job = $workspace->create_job(name => 'long');
$workspace->post('plans',
	{ match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => -1 } });
my $running = start_run($job);


value(q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '30 days')});
wait_for_value(
	'a run that runs is in the history',
	"SELECT state, result_state IS NULL, end_time IS NULL FROM databricks.run_history WHERE run_id = $running",
	'RUNNING|t|t');
wait_for_value('it is active',
	'SELECT run_id FROM databricks.active_runs', $running);
wait_for_value(
	'older runs are read back',
	'SELECT count(*), count(DISTINCT run_id) FROM databricks.run_history',
	'121|121');
wait_for_value('the backfill comes to its end',
	'SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking', 't');
is( value('SELECT count(*) FROM databricks.run_transitions WHERE run_id <> ' . $running),
	'0', 'what had ended before is no transition');

# The same as the foreign table says, column by column.
value(q{CREATE SCHEMA imported; IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER prod INTO imported});
my $columns = value(q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'imported.runs'::regclass AND attnum > 0
	AND attname NOT IN ('workspace', 'tasks', 'raw', 'idempotency_token')});
is( value(qq{SELECT count(*) FROM (
		(SELECT $columns FROM imported.runs WHERE end_time IS NOT NULL EXCEPT ALL SELECT $columns FROM databricks.run_history)
		UNION ALL
		(SELECT $columns FROM databricks.run_history WHERE end_time IS NOT NULL EXCEPT ALL SELECT $columns FROM imported.runs)) AS d}),
	'0', 'run_history equals foreign table runs');

# --- idle: no writes, two calls a sweep ----------------------------------------

wait_for_sweeps(2);
my $writes = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del + n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'databricks'};
cmp_ok(value(q{SELECT least(n_tup_ins, n_mod_since_analyze) FROM pg_stat_user_tables WHERE relid = 'databricks.run_history'::regclass}),
	'>=', 121, 'what the worker writes is counted, so that autovacuum sees it');
my ($before, $xid) = (value($writes), value('SELECT pg_current_xact_id()'));
my $mark = $workspace->mark;
my $sweeps = value('SELECT sweeps FROM databricks.tracking');
wait_for_sweeps(5);
my $calls = $workspace->calls(since => $mark);
my $swept = value('SELECT sweeps FROM databricks.tracking') - $sweeps;
cmp_ok($calls, '<=', 2 * ($swept + 1), "at most two calls a sweep ($calls calls, $swept sweeps)");
is($workspace->calls(since => $mark, path => $runs_get),
	0, 'and none of them for a single run');
is(value($writes), $before, 'nothing is written while nothing changes');
is(value("SELECT pg_current_xact_id()::text::int8 - $xid"),
	'1', 'no transaction id is used up either');

# --- the life of a run ---------------------------------------------------------

my $at = time;
$workspace->post('finish', { run_id => $running, result => 'FAILED' });
wait_for_value(
	'the end of a run is seen',
	"SELECT state, result_state, end_time IS NOT NULL FROM databricks.run_history WHERE run_id = $running",
	'TERMINATED|FAILED|t');
cmp_ok(time - $at, '<', patience(5), 'soon');
is( value("SELECT string_agg(state || '/' || coalesce(result_state, '-'), ' ' ORDER BY observed_at)
		FROM databricks.run_transitions WHERE run_id = $running"),
	'RUNNING/- TERMINATED/FAILED',
	'each transition seen is recorded once');
is(value('SELECT count(*) FROM databricks.active_runs'), '0', 'nothing is active now');

# Many runs at once: not a call for each.
my $wide = $workspace->create_job(name => 'wide', max_concurrent_runs => 1000);
$workspace->post('plans',
	{ match => { job_id => $wide }, plan => { setup_ms => 0, duration_ms => -1 } });
my @many = map { start_run($wide) } 1 .. 60;
wait_for_value('sixty runs are followed',
	'SELECT count(*) FROM databricks.active_runs', '60');
$mark = $workspace->mark;
$sweeps = value('SELECT sweeps FROM databricks.tracking');
wait_for_sweeps(4);
$calls = $workspace->calls(since => $mark);
$swept = value('SELECT sweeps FROM databricks.tracking') - $sweeps;
cmp_ok($calls, '<=', 6 * ($swept + 1), "25 runs a call ($calls calls, $swept sweeps)");
is($workspace->calls(since => $mark, path => $runs_get), 0, 'none by itself');

# --- notifications ---------------------------------------------------------------

my $psql = $node->background_psql('postgres');
$psql->query_safe('LISTEN databricks');
$workspace->post('finish', { run_id => $many[0] });
wait_for_value('a run ends', "SELECT state FROM databricks.run_history WHERE run_id = $many[0]", 'TERMINATED');
my $stdout = $psql->query_safe('SELECT 1');
my @payloads = $stdout =~ /notification "databricks" with payload "(\{.*\})" received/g;
is(scalar(@payloads), 1, 'one notification for one change') or diag($stdout);
my $payload = @payloads ? json($payloads[0]) : {};
is_deeply([ sort keys %$payload ],
	[ sort qw(workspace run_id job_id request_id state result_state at) ],
	'its members');
is($payload->{workspace}, 'prod', 'workspace');
like($payloads[0] || '', qr/"run_id": "$many[0]"/, 'run_id as a string');
like($payloads[0] || '', qr/"job_id": "$wide"/, 'job_id as a string');
is($payload->{state}, 'TERMINATED', 'state');
is($payload->{result_state}, 'SUCCESS', 'result_state');
is($payload->{request_id}, undef, 'no request of this database');
$psql->quit;

# --- runs between two sweeps, deleted runs, unlisted runs -------------------------

value(q{SELECT databricks.track('prod', poll_interval => '1 s', backfill => '30 days')});
wait_for_sweeps(1);
my $short = $workspace->create_job(name => 'short', max_concurrent_runs => 10);
$workspace->post('plans',
	{ match => { job_id => $short }, plan => { setup_ms => 1, duration_ms => 1, cleanup_ms => 1 } });
my @short = map { start_run($short) } 1 .. 3;
wait_for_value(
	'runs that began and ended between two sweeps',
	'SELECT count(*) FROM databricks.run_history WHERE state = $$TERMINATED$$ AND run_id IN (' . join(',', @short) . ')',
	'3');
is( value('SELECT count(*) FROM databricks.run_transitions WHERE run_id IN (' . join(',', @short) . ')'),
	'3', 'their end is a transition');

value(q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '30 days')});
$workspace->post('patch',
	{ run_id => $many[1], merge => { state => { life_cycle_state => 'WAITING_FOR_RETRY' }, status => { state => 'WAITING' } } });
wait_for_value('a run that waits to be tried again',
	"SELECT life_cycle_state FROM databricks.run_history WHERE run_id = $many[1]", 'WAITING_FOR_RETRY');
is(value("SELECT count(*) FROM databricks.active_runs WHERE run_id = $many[1]"),
	'1', 'has not ended');
$workspace->post('patch',
	{ run_id => $many[2], merge => { state => { life_cycle_state => 'DREAMING' }, status => { state => 'DREAMING' } } });
wait_for_value('a state nobody knows is kept as text',
	"SELECT state FROM databricks.run_history WHERE run_id = $many[2]", 'DREAMING');
is(value("SELECT count(*) FROM databricks.active_runs WHERE run_id = $many[2]"),
	'1', 'and is no end');
wait_for_sweeps(3);
my @dreams = log_since($node) =~ /unknown state "DREAMING"/g;
is(scalar(@dreams), 1, 'it is logged once');

# --- trouble -------------------------------------------------------------------

# Errors of the service: shown, not logged again and again, and overcome.
my $position = log_position($node);
$workspace->post('faults',
	{ kind => 'status', status => 403, code => 'PERMISSION_DENIED', message => 'no entry ' . "\x{e9}\x{65e5}" x 400, path => $runs_list, count => undef });
wait_for_value('an error of the service is shown',
	q{SELECT last_error ~ 'no entry' FROM databricks.tracking}, 't');
wait_for_value('in stat_worker too',
	q{SELECT last_error ~ 'no entry' FROM databricks.stat_worker}, 't');
is(value(q{SELECT convert_from(convert_to(last_error, 'UTF8'), 'UTF8') = last_error AND length(last_error) > 100 FROM databricks.tracking}), 't',
	'a long one is cut between characters');
wait_for_value('sweeps fall behind', q{SELECT lag > '1 s' FROM databricks.tracking}, 't');
my @warnings = log_since($node, $position) =~ /is in trouble/g;
is(scalar(@warnings), 1, 'the log tells it once');
$workspace->post('finish', { run_id => $many[3] });
$workspace->delete('faults');
wait_for_value('it passes', q{SELECT last_error IS NULL FROM databricks.tracking}, 't');
wait_for_value('and nothing is lost',
	"SELECT state FROM databricks.run_history WHERE run_id = $many[3]", 'TERMINATED');
like(log_since($node, $position), qr/works again/, 'the log says that it is over');

# What is no list is not an empty one.
$workspace->post('faults', { kind => 'replace', json => { runs => { run_id => 1 } }, path => $runs_list, count => undef });
wait_for_value('an answer that is no list', q{SELECT last_error ~ 'member "runs" in the answer of .* is not an array' FROM databricks.tracking}, 't');
$workspace->delete('faults');
wait_for_value('and a list again', q{SELECT last_error IS NULL FROM databricks.tracking}, 't');

# What only people can mend: told once, everywhere, tried less and less often, and
# taken up again with what happened meanwhile.
sub told_and_overcome
{
	my ($name, $error, $break, $mend, $run) = @_;
	my $position = log_position($node);
	$break->();
	wait_for_value("$name: shown in tracking", "SELECT last_error ~* '$error' FROM databricks.tracking", 't');
	wait_for_value("$name: and in stat_worker", "SELECT last_error ~* '$error' FROM databricks.stat_worker", 't');
	wait_for_value("$name: tried less often", q{SELECT next_sweep_at - last_error_at > '1500 ms' FROM databricks.tracking}, 't');
	my @warnings = log_since($node, $position) =~ /is in trouble/g;
	is(scalar(@warnings), 1, "$name: told once in the log");
	$workspace->post('finish', { run_id => $run });
	$mend->();
	wait_for_value("$name: overcome, and nothing is lost",
		"SELECT state, (SELECT last_error IS NULL FROM databricks.tracking) FROM databricks.run_history WHERE run_id = $run", 'TERMINATED|t');
	return;
}
told_and_overcome('a mapping that is gone', 'no user mapping|credentials',
	sub { value('DROP USER MAPPING FOR CURRENT_USER SERVER prod') },
	sub { connect_workspace($node, $workspace) }, $many[7]);
told_and_overcome('a token that has expired', 'token|refused',
	sub { value(q{ALTER USER MAPPING FOR CURRENT_USER SERVER prod OPTIONS (SET token 'dapi-standin-expired')}) },
	sub { connect_workspace($node, $workspace) }, $many[8]);

# Runs that the owner may not see any more, as long as that lasts.
$position = log_position($node);
$workspace->post('faults', { kind => 'status', status => 403, code => 'PERMISSION_DENIED', message => 'not yours', path => $runs_get, count => undef });
$workspace->post('faults', { kind => 'replace', json => { runs => [] }, path => $runs_list, count => undef });
wait_for_value('runs that are refused are shown', q{SELECT last_error ~ '^run \d+ could not be read: not yours.* \(and \d+ more\)$' FROM databricks.tracking}, 't');
wait_for_sweeps(4);
like(value('SELECT last_error FROM databricks.tracking'), qr/not yours/, 'also by sweeps that do not ask for them');
is(join(' ', log_since($node, $position) =~ /is in trouble|works again/g), 'is in trouble', 'the log tells it once');
my ($forgotten) = value('SELECT last_error FROM databricks.tracking') =~ /^run (\d+)/;
value("DELETE FROM databricks.run_history WHERE run_id = $forgotten");
wait_for_value('a run whose row is deleted is told no more', "SELECT last_error ~ 'not yours' AND last_error !~ '$forgotten' FROM databricks.tracking", 't');
$workspace->delete('faults');
wait_for_value('and no longer when they are shown again', 'SELECT last_error IS NULL FROM databricks.tracking', 't');

# Away for many times poll_interval: what began and ended meanwhile is found, too.
my $unseen = $workspace->create_job(name => 'unseen', max_concurrent_runs => 10);
$workspace->post('plans', { match => { job_id => $unseen }, plan => { setup_ms => 0, duration_ms => 10 } });
my @missed;
told_and_overcome('a service that is away', 'away|unavailable|503',
	sub { $workspace->post('faults', { kind => 'status', status => 503, code => 'TEMPORARILY_UNAVAILABLE', message => 'away', path => '/api/2.2/jobs/runs/*', count => undef });
		value(q{ALTER SERVER prod OPTIONS (ADD retry_timeout '100 ms')});
		@missed = map { start_run($unseen) } 1 .. 5 },
	sub { $workspace->delete('faults'); value(q{ALTER SERVER prod OPTIONS (DROP retry_timeout)}) }, $many[9]);

wait_for_value('runs that nobody could see are there', 'SELECT count(*) FROM databricks.run_history WHERE run_id IN (' . join(',', @missed) . q{) AND state = 'TERMINATED' AND tasks IS NOT NULL}, '5');

# A run that cannot be written does not stop the others.
value(q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
	CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON databricks.run_history
		FOR EACH ROW WHEN (NEW.run_id = } . $many[4] . q{) EXECUTE FUNCTION refuse()});
$workspace->post('finish', { run_id => $_ }) foreach @many[ 4, 5 ];
wait_for_value('others are written beside a bad one',
	"SELECT state FROM databricks.run_history WHERE run_id = $many[5]", 'TERMINATED');
is(value("SELECT state FROM databricks.run_history WHERE run_id = $many[4]"),
	'RUNNING', 'the bad one is not');
like(log_since($node, $position), qr/run $many[4] of workspace "prod" could not be written: not this one/,
	'the log names it');
wait_for_value('so do the views', q{SELECT t.last_error, w.last_error = t.last_error FROM databricks.tracking AS t, databricks.stat_worker AS w},
	"run $many[4] could not be written: not this one|t");
value('DROP TRIGGER refuse ON databricks.run_history');

# One that the user's trigger keeps out, without a word, was not seen.
value(q{
	CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RETURN CASE WHEN NEW.run_name <> 'kept out' THEN NEW END; END $$;
	CREATE TRIGGER keep_out BEFORE INSERT OR UPDATE ON databricks.run_history
		FOR EACH ROW EXECUTE FUNCTION keep_out()});
my $kept_out = $workspace->create_job(name => 'kept out');
$workspace->post('plans', { match => { job_id => $kept_out }, plan => { duration_ms => -1 } });
my ($unwanted, $wanted) = (start_run($kept_out), start_run($job));
wait_for_value('beside a run that a trigger keeps out another one is written', "SELECT state FROM databricks.run_history WHERE run_id = $wanted", 'RUNNING');
wait_for_sweeps(3);
is(value("SELECT count(*) FROM databricks.run_transitions WHERE run_id = $unwanted"), '0', 'and none of its sweeps is a transition');
is(value("SELECT count(*) FROM databricks.task_history WHERE run_id = $unwanted"), '0', 'nor are its tasks kept');
value('DROP TRIGGER keep_out ON databricks.run_history');
wait_for_value('what is no longer kept out comes', "SELECT count(*) FROM databricks.run_transitions WHERE run_id = $unwanted", '1');

# What none of many runs can be written for is the matter of no single one: it is
# told once, and all are written as soon as it has passed.
$position = log_position($node);
value(q{ALTER TABLE databricks.run_history ADD COLUMN owner text; UPDATE databricks.run_history SET owner = 'us'; ALTER TABLE databricks.run_history ALTER COLUMN owner SET NOT NULL});
$workspace->post('faults',
	{ kind => 'status', status => 403, code => 'PERMISSION_DENIED', message => 'wait for all of them', path => $runs_list, count => undef });
wait_for_value('sweeps wait', q{SELECT last_error ~ 'wait for all' FROM databricks.tracking}, 't');
$workspace->post('finish', { run_id => $_ }) foreach @many[ 20 .. 34 ];
$workspace->delete('faults');
wait_for_value('that nothing can be written is shown', q{SELECT last_error ~ 'none of \d+ runs could be written: null value in column "owner"' FROM databricks.tracking}, 't');
value('ALTER TABLE databricks.run_history ALTER COLUMN owner DROP NOT NULL');
wait_for_value('and all are written then', q{SELECT count(*) FROM databricks.run_history WHERE state = 'TERMINATED' AND run_id IN (} . join(',', @many[ 20 .. 34 ]) . ')', '15');
is(scalar(() = log_since($node, $position) =~ /WARNING:.*null value/g), 1, 'it was told once');

# A trigger of the superuser may not make the worker call the service.
value(q{
	CREATE FUNCTION call_back() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM databricks.api('GET', '/api/2.2/jobs/list', workspace => 'prod'); RETURN NEW; END $$;
	CREATE TRIGGER call_back BEFORE INSERT OR UPDATE ON databricks.run_history
		FOR EACH ROW EXECUTE FUNCTION call_back()});
$workspace->post('finish', { run_id => $many[6] });
poll_until('the refusal is logged',
	sub { log_since($node, $position) =~ /cannot call a workspace in the background worker/ });
pass('a trigger cannot make the worker call the service');
is($workspace->calls(path => '/api/2.2/jobs/list'), 0, 'and it did not');
value('DROP TRIGGER call_back ON databricks.run_history');

# --- the end ---------------------------------------------------------------------

value(q{SELECT databricks.untrack('prod')});
wait_for_value('without anything to do the worker leaves',
	'SELECT count(*) FROM databricks.stat_worker', '0');
cmp_ok(value('SELECT count(*) FROM databricks.run_history'),
	'>', '180', 'the history stays');

log_lacks($node, 'no token in the log', $workspace->token);

$node->stop;
done_testing();
