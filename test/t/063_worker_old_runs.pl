# 063_worker_old_runs.pl - runs of the past: retention, reconciliation.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node('main', preload => 1, conf => "max_prepared_transactions = 5\nrestart_after_crash = on\n");

sub value { return $node->safe_psql('postgres', $_[0]); }

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

sub wait_for_sweeps
{
	my ($count) = @_;
	my $before = value('SELECT max(sweeps) FROM databricks.tracking');
	poll_until("$count more sweeps", sub { value('SELECT max(sweeps) FROM databricks.tracking') >= $before + $count });
	return;
}

connect_workspace($node, $workspace);

# --- a prepared transaction -------------------------------------------------------

$workspace->post('seed', { jobs => 3, runs => 400, days => 40, failed => 0.3, tasks_per_job => 2 });
value(q{BEGIN; SELECT databricks.track('prod', poll_interval => '1 day', backfill => '50 days'); PREPARE TRANSACTION 'track'});
is(value('SELECT count(*) FROM databricks.tracking'), '0', 'not tracked before it is committed');
$workspace->post('faults', { kind => 'delay', ms => 3000, path => '/api/2.2/jobs/runs/list', query => 'start_time_to', skip => 16, count => undef });
value(q{COMMIT PREPARED 'track'});
wait_for_value('the progress of the backfill is an activity',
	q{SELECT count(*) FROM pg_stat_activity WHERE query ~ '^backfilling prod, back to '
	AND split_part(query, 'back to ', 2)::timestamptz BETWEEN now() - interval '49 days' AND now() - interval '2 days'}, '1');
wait_for_value('and in the view', q{SELECT backfilled_to < now() - interval '2 days' FROM databricks.tracking}, 't');

# A crash in the middle: it goes on from there, as far as that is on disk.
my $reached = value('SELECT floor(extract(epoch FROM backfilled_to) * 1000) FROM databricks.tracking');
value('CHECKPOINT');
my $killed = $workspace->mark;
my $crash = log_position($node);
kill 'KILL', value('SELECT pid FROM databricks.stat_worker');
poll_until('the server is back', sub { log_since($node, $crash) =~ /database system is ready/ });
$workspace->delete('faults');
wait_for_value('a prepared track() wakes the worker when it is committed',
	'SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking', 't');
is(value('SELECT count(*) FROM databricks.run_history'), '400', 'all runs are there');
my @windows = map { $_->{query} =~ /start_time_to=(\d+)/ ? $1 : () } $workspace->journal(since => $killed, path => '/api/2.2/jobs/runs/list');
cmp_ok(scalar(@windows), '>', 10, 'after a crash windows are read');
is(scalar(grep { $_ > $reached + 1 } @windows), 0, 'but none again that was complete');
is(value('SELECT count(*) FROM databricks.history_fetches'), '0', 'nothing is left to fetch');

# --- reconciliation ----------------------------------------------------------------

# An old run is repaired, so quickly that no sweep sees it; another one is deleted.
my ($repaired, $deleted, $hidden) = split /\n/, value(q{
	SELECT run_id FROM databricks.run_history
	WHERE result_state = 'FAILED' AND start_time < now() - interval '5 days' ORDER BY start_time DESC LIMIT 3});
$workspace->post('plans', { match => { run_id => $repaired }, plan => { setup_ms => 0, duration_ms => 0, cleanup_ms => 0 } });
my $job = value("SELECT job_id FROM databricks.run_history WHERE run_id = $hidden");
value(q{SELECT databricks.track('prod', poll_interval => '1 day', backfill => '50 days')});
wait_for_value('sweeps rest', q{SELECT poll_interval FROM databricks.tracking}, '1 day');
$workspace->api('POST', '/api/2.2/jobs/runs/repair', { run_id => $repaired, rerun_all_failed_tasks => JSON::PP::true });
poll_until('the repair is over',
	sub { ($workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $repaired })->{status}->{state} // '') eq 'TERMINATED' });
$workspace->api('POST', '/api/2.2/jobs/runs/delete', { run_id => $deleted });
my $before = value(q{SELECT count(*) FROM databricks.run_transitions});
my $mark = $workspace->mark;
$node->append_conf('postgresql.conf', "databricks.history_reconcile_interval = '6 s'\n");
$node->reload;
value(q{SELECT databricks.track('prod', poll_interval => '300 ms', backfill => '50 days')});
$node->restart;
wait_for_value('a repair of an old run is found',
	"SELECT result_state, jsonb_array_length(repair_history) FROM databricks.run_history WHERE run_id = $repaired", 'SUCCESS|2');
wait_for_value('its tasks too',
	"SELECT count(*) FROM databricks.task_history WHERE run_id = $repaired AND is_latest AND result_state <> 'SUCCESS'", '0');
is(value("SELECT string_agg(coalesce(result_state, '-'), ' ' ORDER BY observed_at) FROM databricks.run_transitions WHERE run_id = $repaired"),
	'SUCCESS', 'as one transition');
wait_for_value('a deleted run is gone',
	"SELECT gone_at IS NOT NULL, result_state FROM databricks.run_history WHERE run_id = $deleted", 't|FAILED');
is(value('SELECT count(*) FROM databricks.run_history WHERE gone_at IS NOT NULL'), '1', 'no other one is');

# Runs of a deleted job are not listed any more, but exist.
$workspace->api('POST', '/api/2.2/jobs/delete', { job_id => $job });
$mark = $workspace->mark;
poll_until('one of its runs was asked for', sub {
	grep { ($_->{query} // '') =~ /run_id=$hidden\b/ } $workspace->journal(path => '/api/2.2/jobs/runs/get', since => $mark) });
wait_for_sweeps(2);
is(value("SELECT gone_at IS NULL FROM databricks.run_history WHERE run_id = $hidden"), 't',
	'a run that is only unlisted is not gone');
is(value("SELECT count(*) - $before FROM databricks.run_transitions"), '1', 'nothing else is a transition');

# A pass over runs that are as known writes nothing.
wait_for_value('all is fetched', 'SELECT count(*) FROM databricks.history_fetches', '0');
my $writes = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del + n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'databricks'};
my $stable = poll_until('passes that change nothing', sub {
	my $now = value($writes);
	my $seen = $workspace->mark;
	poll_until('windows', sub { $workspace->calls(path => '/api/2.2/jobs/runs/list', query => 'start_time_to', since => $seen) > 50 });
	return value($writes) eq $now });
ok($stable, 'a pass over what is as known writes nothing');

# --- retention ------------------------------------------------------------------------

value(q{
	CREATE TABLE bills (workspace text, run_id bigint, FOREIGN KEY (workspace, run_id) REFERENCES databricks.run_history DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO bills SELECT workspace, run_id FROM databricks.run_history WHERE start_time < now() - interval '20 days' ORDER BY run_id LIMIT 3});
# Two that triggers hold: one says so, the other does not.
my ($loud, $quiet) = split /\n/, value(q{SELECT run_id FROM databricks.run_history WHERE start_time < now() - interval '20 days' ORDER BY run_id DESC LIMIT 2});
value(qq{
	CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
		\$\$ BEGIN IF OLD.run_id = $loud THEN RAISE 'not this one'; END IF; RETURN CASE WHEN OLD.run_id <> $quiet THEN OLD END; END \$\$;
	CREATE TRIGGER hold BEFORE DELETE ON databricks.run_history FOR EACH ROW EXECUTE FUNCTION hold()});
# And one that a transaction points to that has not ended: nobody waits for it.
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; INSERT INTO bills SELECT workspace, run_id FROM databricks.run_history WHERE start_time < now() - interval '20 days' ORDER BY run_id OFFSET 10 LIMIT 1; SET CONSTRAINTS ALL IMMEDIATE});
my $old = value(q{SELECT count(*) FROM databricks.run_history WHERE start_time < now() - interval '10 days'});
cmp_ok($old, '>', 100, 'there are old runs');
my $young = value(q{SELECT count(*) FROM databricks.run_history WHERE start_time >= now() - interval '10 days'});
value(q{SELECT databricks.track('prod', poll_interval => '300 ms', backfill => '50 days', retention => '10 days')});
wait_for_value('old runs are removed',
	q{SELECT count(*) FROM databricks.run_history WHERE start_time < now() - interval '10 days'}, '6');
$session->query_safe('COMMIT');
$session->quit;
is(value('SELECT count(*) FROM databricks.run_history JOIN bills USING (workspace, run_id)'), '4',
	'but not those that a foreign key holds');
is(value("SELECT count(*) FROM databricks.run_history WHERE run_id IN ($loud, $quiet)"), '2', 'nor those that a trigger holds');
is(value("SELECT count(DISTINCT t.run_id) FROM databricks.task_history AS t LEFT JOIN bills USING (workspace, run_id) WHERE bills.run_id IS NOT NULL OR t.run_id IN ($loud, $quiet)"), '6',
	'which keep their tasks');
is(value('SELECT count(*) FROM databricks.task_history AS t WHERE NOT EXISTS (SELECT FROM databricks.run_history AS h WHERE h.run_id = t.run_id)'),
	'0', 'the tasks of others are gone');
is(value(q{SELECT count(*) FROM databricks.run_history WHERE start_time >= now() - interval '10 days'}), $young, 'younger runs stay');
wait_for_sweeps(2);
is(value(q{SELECT count(*) FROM databricks.run_history WHERE start_time < now() - interval '10 days'}), '6',
	'and nothing brings old ones back');
is(value('SELECT last_error FROM databricks.tracking'), '', 'without trouble');

# More is to be kept again: what the service still has of it is read back.
$node->append_conf('postgresql.conf', "databricks.history_reconcile_interval = 0\n");
$node->restart;
$workspace->post('faults', { kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'no such time', path => '/api/2.2/jobs/runs/list', query => 'start_time_to', count => undef });
value(q{SELECT databricks.track('prod', poll_interval => '300 ms', backfill => '50 days', retention => '30 days')});
wait_for_value('a backfill that fails is shown', q{SELECT last_error ~ '^backfill: .*no such time' FROM databricks.tracking}, 't');
wait_for_sweeps(2);
$workspace->delete('faults');
wait_for_value('it comes to its end', 'SELECT last_error IS NULL AND backfill_finished_at IS NOT NULL FROM databricks.tracking', 't');
cmp_ok(value(q{SELECT count(*) FROM databricks.run_history WHERE start_time BETWEEN now() - interval '30 days' AND now() - interval '10 days'}), '>', 100,
	'with a longer retention more is read back');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
