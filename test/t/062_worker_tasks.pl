# 062_worker_tasks.pl - tasks, outputs, parameters and repairs in the history,
# and what they cost.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node('main', preload => 1);
my $runs_get = '/api/2.2/jobs/runs/get';
my $get_output = '/api/2.2/jobs/runs/get-output';

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

sub start_run
{
	my ($job, %more) = @_;
	return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job, %more })->{run_id};
}

sub task
{
	my ($key, @after) = @_;
	return {
		task_key => $key,
		notebook_task => { notebook_path => "/Shared/$key" },
		(@after ? (depends_on => [ map { { task_key => $_ } } @after ]) : ()) };
}

# Nothing is left to be fetched, and nothing runs.
sub settle
{
	wait_for_value('the history is complete',
		'SELECT (SELECT count(*) FROM databricks.history_fetches), (SELECT count(*) FROM databricks.active_runs)',
		'0|0');
	return;
}

# Ids of task runs in the journal's queries.
sub asked
{
	my ($path, $mark) = @_;
	my %count;
	foreach my $call ($workspace->journal(path => $path, since => $mark))
	{
		my ($id) = ($call->{query} // '') =~ /run_id=(\d+)/;
		$count{$id}++;
	}
	return \%count;
}

connect_workspace($node, $workspace);
my $job = $workspace->create_job(
	name => 'chain',
	max_concurrent_runs => 100,
	parameters => [ { name => 'day', default => 'monday' } ],
	tasks => [
		task('extract'),
		{ %{ task('load', 'extract') }, max_retries => 2, min_retry_interval_millis => 0 },
		{ %{ task('report', 'load') }, job_cluster_key => 'small' } ],
	job_clusters => [ { job_cluster_key => 'small',
		new_cluster => { num_workers => 3, spark_version => '15.4.x-scala2.12', node_type_id => 'i3.xlarge' } } ]);
$workspace->post('plans', { match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 50, output => 'fine' } });
$workspace->post('plans',
	{ match => { job_id => $job, task_key => 'load' }, plan => { setup_ms => 0, duration_ms => 50,
		results => [ 'FAILED', 'FAILED', 'SUCCESS' ], error => 'no space left', trace => "Traceback\nno space left" } });

# --- runs read back: tasks and parameters, but no outputs ------------------------

my $old = start_run($job, job_parameters => { day => 'sunday' });
poll_until('the run is over',
	sub { ($workspace->api('GET', $runs_get, { run_id => $old })->{status}->{state} // '') eq 'TERMINATED' });
value(q{SELECT databricks.track('prod', poll_interval => '200 ms')});
wait_for_value('the backfill comes to its end',
	'SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking', 't');

# The sweeps look back too, so this young run may have come by one of them.
wait_for_value('tasks of a run that had ended',
	"SELECT string_agg(task_key || attempt_number || coalesce(result_state, '-') || is_latest, ' ' ORDER BY start_time, task_run_id)
		FROM databricks.task_history WHERE run_id = $old",
	'extract0SUCCESStrue load0FAILEDfalse load1FAILEDfalse load2SUCCESStrue report0SUCCESStrue');
is(value("SELECT job_parameters FROM databricks.run_history WHERE run_id = $old"),
	'{"day": "sunday"}', 'its parameters');
settle();

$workspace->post('seed', { jobs => 2, runs => 60, days => 20, failed => 0.5 });
my $mark = $workspace->mark;
value(q{SELECT databricks.untrack('prod')});
value(q{SELECT databricks.track('prod', poll_interval => '200 ms', outputs => 'failed')});
wait_for_value('the backfill comes to its end again',
	'SELECT backfill_finished_at IS NOT NULL FROM databricks.tracking', 't');
wait_for_value('older runs have their tasks',
	'SELECT count(DISTINCT run_id) FROM databricks.task_history', '61');
is($workspace->calls(since => $mark, path => $get_output), 0, 'no output is fetched for them');
is($workspace->calls(since => $mark, path => $runs_get), 0, 'nor is any of them by itself');

# --- a run that we watched: everything, at one call for it and one per failure ----

$mark = $workspace->mark;
my $run = start_run($job, job_parameters => { day => 'tuesday' });
wait_for_value('a run ends',
	"SELECT result_state, job_parameters FROM databricks.run_history WHERE run_id = $run AND state = 'TERMINATED' AND job_parameters IS NOT NULL",
	'SUCCESS|{"day": "tuesday"}');
settle();
is( value("SELECT string_agg(task_key || attempt_number || coalesce(result_state, '-') || is_latest, ' ' ORDER BY start_time, task_run_id)
		FROM databricks.task_history WHERE run_id = $run"),
	'extract0SUCCESStrue load0FAILEDfalse load1FAILEDfalse load2SUCCESStrue report0SUCCESStrue',
	'all attempts of its tasks (case 57)');
is( value("SELECT count(*) FILTER (WHERE error = 'no space left' AND error_trace = E'Traceback\\nno space left' AND output_at IS NOT NULL),
		count(*) FILTER (WHERE output_at IS NOT NULL) FROM databricks.task_history WHERE run_id = $run"),
	'2|2', 'errors of the failed attempts, nothing of the others');
is( value("SELECT depends_on -> 0 ->> 'task_key', cluster_id IS NOT NULL, new_cluster ->> 'num_workers', end_time >= start_time, run_page_url LIKE 'http%'
		FROM databricks.task_history WHERE run_id = $run AND task_key = 'report'"),
	'load|t|3|t|t', 'what else is known of a task');
is($workspace->calls(since => $mark, path => $runs_get), 1, 'one runs/get for a run');
my $outputs = asked($get_output, $mark);
is_deeply([ values %$outputs ], [ 1, 1 ], 'one runs/get-output for each failed task run');

# The same from the list of tasks in the foreign table's own eyes.
is( value("SELECT count(*) FROM databricks.task_history AS t
		JOIN (SELECT e FROM databricks.run_history AS h, jsonb_array_elements(h.tasks) AS e WHERE h.run_id = $run) AS r
		ON t.task_run_id = (r.e ->> 'run_id')::int8
		AND t.start_time = to_timestamp(0) + (r.e ->> 'start_time')::int8 * interval '1 ms'
		AND t.execution_duration = (r.e ->> 'execution_duration')::int8 * interval '1 ms'"),
	'5', 'times are exact');

# --- many short runs: the calls are counted -----------------------------------------

$mark = $workspace->mark;
my @many = map { start_run($job) } 1 .. 30;
wait_for_value('many runs end',
	"SELECT count(*) FROM databricks.run_history WHERE result_state = 'SUCCESS' AND run_id IN (" . join(',', @many) . ')', '30');
settle();
my $gets = asked($runs_get, $mark);
is(scalar(grep { $gets->{$_} } @many), 30, 'each was asked for');
is(scalar(grep { $gets->{$_} > 1 } @many), 0, 'none twice');
$outputs = asked($get_output, $mark);
is(scalar(keys %$outputs), 60, 'outputs of the failed attempts');
is(scalar(grep { $_ > 1 } values %$outputs), 0, 'none of them twice');

# --- a repair: the run is active again, and has a history ------------------------------

$workspace->post('plans',
	{ match => { job_id => $job, task_key => 'load' }, plan => { setup_ms => 0, duration_ms => 50, result => 'FAILED', error => 'broken' } });
my $broken = start_run($job, job_parameters => { day => 'friday' });
wait_for_value('a run fails', "SELECT result_state FROM databricks.run_history WHERE run_id = $broken AND repair_history IS NOT NULL", 'FAILED');
settle();
is(value("SELECT jsonb_array_length(repair_history) FROM databricks.run_history WHERE run_id = $broken"),
	'1', 'no repair yet');
$workspace->post('plans',
	{ match => { job_id => $job, task_key => 'load' }, plan => { setup_ms => 0, duration_ms => -1, output => 'mended' } });
$workspace->api('POST', '/api/2.2/jobs/runs/repair', { run_id => $broken, rerun_all_failed_tasks => JSON::PP::true });
wait_for_value('a repaired run is active again',
	"SELECT count(*) FROM databricks.active_runs WHERE run_id = $broken", '1');
wait_for_value('its tasks are followed while it runs',
	"SELECT count(*) FROM databricks.task_history WHERE run_id = $broken AND task_key = 'load' AND is_latest AND state = 'RUNNING'", '1');
$workspace->post('finish', { run_id => $broken });
wait_for_value('it ends again',
	"SELECT result_state, jsonb_array_length(repair_history), repair_history -> 1 ->> 'type' FROM databricks.run_history WHERE run_id = $broken", 'SUCCESS|2|REPAIR');
settle();
is( value("SELECT string_agg(state || '/' || coalesce(result_state, '-'), ' ' ORDER BY observed_at) FROM databricks.run_transitions
		WHERE run_id = $broken AND observed_at >= (SELECT min(observed_at) FROM databricks.run_transitions WHERE run_id = $broken AND result_state = 'FAILED')"),
	'TERMINATED/FAILED RUNNING/- TERMINATED/SUCCESS', 'each of its transitions once');
is( value("SELECT string_agg(DISTINCT result_state, ' ') FROM databricks.task_history WHERE run_id = $broken AND is_latest"),
	'SUCCESS', 'the newest attempt of each task counts (case 58)');

# --- a run that goes on has its tasks, whichever list is answered first ------------------

$workspace->post('faults',
	{ kind => 'delay', ms => 200, work => JSON::PP::true, path => '/api/2.2/jobs/runs/list', query => 'active_only', count => undef });
my $calm = $workspace->create_job(name => 'calm', tasks => [ task('a') ]);
$workspace->post('plans', { match => { job_id => $calm }, plan => { setup_ms => 0, duration_ms => -1 } });
my $lasting = start_run($calm);
# sooner than it is too old for the list of recent runs
ok(eval {
		poll_until('the task runs', sub {
			value("SELECT count(*) FROM databricks.task_history WHERE run_id = $lasting AND state = 'RUNNING'") eq '1' },
			20)
	}, 'tasks of a run that has just started, though their list comes last');
$workspace->delete('faults');
$workspace->post('finish', { run_id => $lasting });
settle();

# --- all outputs ------------------------------------------------------------------------

value(q{SELECT databricks.track('prod', poll_interval => '200 ms', outputs => 'all')});
wait_for_value('the setting is there', 'SELECT outputs FROM databricks.tracking', 'all');
my $all = $workspace->create_job(name => 'all', tasks => [ task('a'), task('b') ]);
$workspace->post('plans', { match => { job_id => $all }, plan => { setup_ms => 0, duration_ms => 10, output => 'x' x 2_000_000 } });
my $big = start_run($all);
wait_for_value('results are fetched',
	"SELECT count(*) FROM databricks.task_history WHERE run_id = $big AND output_truncated AND length(result) = 1048576", '2');

value(q{SELECT databricks.track('prod', poll_interval => '200 ms', outputs => 'none')});
my $sweeps = value('SELECT sweeps FROM databricks.tracking');
poll_until('the worker knows', sub { value('SELECT sweeps FROM databricks.tracking') > $sweeps + 1 });
$mark = $workspace->mark;
$workspace->post('plans', { match => { job_id => $all }, plan => { setup_ms => 0, duration_ms => 10, result => 'FAILED' } });
my $none = start_run($all);
wait_for_value('a run fails unheard', "SELECT result_state FROM databricks.run_history WHERE run_id = $none AND repair_history IS NOT NULL", 'FAILED');
settle();
is($workspace->calls(since => $mark, path => $get_output), 0, 'without outputs none is fetched');

# --- trouble ------------------------------------------------------------------------------

value(q{SELECT databricks.track('prod', poll_interval => '200 ms', outputs => 'failed')});
$sweeps = value('SELECT sweeps FROM databricks.tracking');
poll_until('the worker knows', sub { value('SELECT sweeps FROM databricks.tracking') > $sweeps + 1 });
$workspace->post('faults', { kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'no output', path => $get_output, count => undef });
my $mute = start_run($all);
wait_for_value('a run fails', "SELECT result_state FROM databricks.run_history WHERE run_id = $mute AND repair_history IS NOT NULL", 'FAILED');
settle();
is(value("SELECT count(*) FROM databricks.task_history WHERE run_id = $mute AND output_at IS NOT NULL"),
	'0', 'an output the service does not give is given up');
$workspace->delete('faults');

# More than a page of tasks.
my $wide = $workspace->create_job(name => 'wide', tasks => [ map { task("t$_") } 1 .. 130 ]);
$workspace->post('plans', { match => { job_id => $wide }, plan => { setup_ms => 0, duration_ms => 10 } });
my $wide_run = start_run($wide);
wait_for_value('all tasks of a run of many',
	"SELECT count(*), count(DISTINCT t.task_key), max(jsonb_array_length(h.tasks)) FROM databricks.task_history AS t
		JOIN databricks.run_history AS h USING (workspace, run_id) WHERE run_id = $wide_run AND t.state = 'TERMINATED'",
	'130|130|130');

# A run that is deleted before it could be asked for: nobody asks for ever.
$workspace->post('plans', { match => { job_id => $all }, plan => { setup_ms => 0, duration_ms => 10 } });
$workspace->post('faults', { kind => 'status', status => 503, path => $runs_get, user => 'admin@example.com', count => undef });
my $short = start_run($all);
wait_for_value('the end of a run is seen, but it cannot be asked for',
	"SELECT count(*) FROM databricks.history_fetches WHERE run_id = $short AND task_run_id = 0", '1');
$workspace->api('POST', '/api/2.2/jobs/runs/delete', { run_id => $short });
$workspace->delete('faults');
wait_for_value('a run that is deleted meanwhile is not asked for again',
	"SELECT count(*) FROM databricks.history_fetches WHERE run_id = $short", '0');
is(value("SELECT gone_at IS NOT NULL FROM databricks.run_history WHERE run_id = $short"), 't', 'it is gone');

# Numbers as text, as others write JSON, and what is none.
$workspace->post('plans', { match => { job_id => $all }, plan => { setup_ms => 0, duration_ms => -1 } });
my $odd = start_run($all);
my ($odd_task) = map { $_->{run_id} } @{ $workspace->api('GET', $runs_get, { run_id => $odd })->{tasks} };
$workspace->post('patch', { run_id => $odd_task, merge => { execution_duration => '7', queue_duration => '8.0', setup_duration => 'soon', attempt_number => {} } });
$workspace->post('finish', { run_id => $odd });
wait_for_value('a task with numbers of all kinds',
	"SELECT execution_duration, queue_duration, setup_duration IS NULL, attempt_number IS NULL FROM databricks.task_history WHERE task_run_id = $odd_task AND state = 'TERMINATED'",
	'00:00:00.007|00:00:00.008|t|t');

# A run with values that are none, and one without an id, keep out nothing.
my $absurd = start_run($all);
$workspace->post('patch', { run_id => $absurd, merge => { start_time => '9223372036854775807', run_duration => 'long', queue_duration => 9223372036854775807,
	attempt_number => 99999999999, original_attempt_run_id => 1.5, job_parameters => [1], schedule => 'daily', state_message => undef } });
$workspace->post('finish', { run_id => $absurd });
wait_for_value('a run with values of all kinds',
	"SELECT start_time IS NULL, run_duration IS NULL, queue_duration IS NULL, attempt_number IS NULL, original_attempt_run_id IS NULL, job_parameters IS NULL, schedule, raw ->> 'run_duration'
		FROM databricks.run_history WHERE run_id = $absurd AND state = 'TERMINATED'", 't|t|t|t|t|t|"daily"|long');
my $loose = $workspace->create_job(name => 'loose', max_concurrent_runs => 10, tasks => [ task('a') ]);
$workspace->post('plans', { match => { job_id => $loose }, plan => { setup_ms => 0, duration_ms => -1 } });
my $nameless = start_run($loose);
$workspace->post('patch', { run_id => $nameless, merge => { run_id => 'none' } });
wait_for_value('a run without an id is told', 'SELECT last_error FROM databricks.tracking', 'runs/list holds a run without run_id');
my $beside = start_run($loose);
wait_for_value('and others go on', "SELECT state FROM databricks.run_history WHERE run_id = $beside", 'RUNNING');
$workspace->post('patch', { run_id => $nameless, merge => { run_id => $nameless } });
wait_for_value('which is over when it has one', 'SELECT last_error IS NULL FROM databricks.tracking', 't');
$workspace->post('finish', { run_id => $_ }) foreach $beside, $nameless;

# Few updates touch an index: a new state of a run does, what is fetched of it and of
# its tasks does not.
my ($updates, $hot) = split /\|/, value(q{SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname IN ('run_history', 'task_history')});
cmp_ok(3 * $hot, '>=', $updates, "rows are updated in place ($hot of $updates times)");

# Idle again: nothing is written.
settle();
my $writes = q{SELECT sum(n_tup_ins + n_tup_upd + n_tup_del + n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'databricks'};
$sweeps = value('SELECT sweeps FROM databricks.tracking');
poll_until('sweeps', sub { value('SELECT sweeps FROM databricks.tracking') > $sweeps + 2 });
my ($before, $xid) = (value($writes), value('SELECT pg_current_xact_id()'));
poll_until('more sweeps', sub { value('SELECT sweeps FROM databricks.tracking') > $sweeps + 7 });
is(value($writes), $before, 'nothing is written while nothing changes');
is(value("SELECT pg_current_xact_id()::text::int8 - $xid"), '1', 'nor a transaction id used');

# --- what is bad concerns itself alone ------------------------------------------------

# An output that cannot be written, beside others of the same portion.
my $apart = $workspace->create_job(name => 'apart', max_concurrent_runs => 10, tasks => [ map { task($_) } qw(a b c) ]);
$workspace->post('plans', { match => { job_id => $apart }, plan => { setup_ms => 0, duration_ms => -1 } });
my $mixed = start_run($apart);
my @parts = map { $_->{run_id} } @{ $workspace->api('GET', $runs_get, { run_id => $mixed })->{tasks} };
value(qq{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		\$\$ BEGIN RAISE EXCEPTION 'not this output'; END \$\$;
	CREATE TRIGGER refuse BEFORE UPDATE ON databricks.task_history
		FOR EACH ROW WHEN (NEW.output_at IS NOT NULL AND NEW.task_run_id = $parts[1])
		EXECUTE FUNCTION refuse()});
$workspace->post('finish', { run_id => $_, result => 'FAILED', error => 'broken' }) foreach @parts;
wait_for_value('outputs are written beside a bad one',
	"SELECT string_agg(task_key, ' ' ORDER BY task_key) FROM databricks.task_history WHERE run_id = $mixed AND output_at IS NOT NULL", 'a c');
wait_for_value('which is tried again later',
	"SELECT task_run_id, failures, due_at > now() FROM databricks.history_fetches WHERE run_id = $mixed", "$parts[1]|1|t");
value("DROP TRIGGER refuse ON databricks.task_history; DELETE FROM databricks.history_fetches WHERE run_id = $mixed");

# Task runs that are told twice, as where pages have moved while they were read.
my $twice = start_run($apart);
my $told = $workspace->api('GET', $runs_get, { run_id => $twice })->{tasks};
$workspace->post('patch', { run_id => $twice, merge => { tasks => [ (map { { %$_, run_page_url => 'before' } } @$told), @$told ] } });
$workspace->post('finish', { run_id => $twice });
wait_for_value('a run that has each task twice',
	"SELECT repair_history IS NOT NULL FROM databricks.run_history WHERE run_id = $twice AND state = 'TERMINATED'", 't');
is( value("SELECT string_agg(task_key || is_latest || (run_page_url = 'before'), ' ' ORDER BY task_key) FROM databricks.task_history WHERE run_id = $twice"),
	'atruefalse btruefalse ctruefalse', 'each of them is the latest, as told last');

# An answer about another run, which is known.
my $other = $workspace->api('GET', $runs_get, { run_id => $mixed });
delete $other->{job_run_id};
my $mistaken = start_run($apart);
$workspace->post('faults', { kind => 'replace', json => $other, path => $runs_get, query => "run_id=$mistaken", user => 'admin@example.com', count => undef });
my $position = log_position($node);
my $pid = value('SELECT pid FROM databricks.stat_worker');
$workspace->post('finish', { run_id => $mistaken });
poll_until('an answer about another run is refused',
	sub { log_since($node, $position) =~ /run $mistaken of workspace "prod" could not be written: the answer about run $mistaken is about another run/ });
is(value('SELECT pid FROM databricks.stat_worker'), $pid, 'the worker goes on');
is(value("SELECT state FROM databricks.run_history WHERE run_id = $mixed"), 'TERMINATED', 'and the other run is as it was');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
