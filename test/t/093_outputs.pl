# What runs leave behind, repairs, several runs waited for, cancelled all at once.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main',
	conf => "databricks.wait_min_interval = '50 ms'\ndatabricks.wait_max_interval = '200 ms'\n");
connect_workspace($node, $workspace);
$workspace->post('settings',
	{ setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0, cancel_ms => 50 });

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub quietly { return sql("SET client_min_messages = warning; $_[0]"); }

sub last_body
{
	my ($path) = @_;
	my @calls = $workspace->journal(method => 'POST', path => $path);
	return json($calls[-1]->{body});
}

# Outputs

my $job = $workspace->create_job(
	name => 'pipeline',
	parameters => [ { name => 'day', default => '1970-01-01' } ],
	tasks => [
		{ task_key => 'fetch', notebook_task => { notebook_path => '/Shared/fetch' } },
		{   task_key => 'transform',
			depends_on => [ { task_key => 'fetch' } ],
			spark_python_task => { python_file => '/Workspace/Shared/transform.py' }
		},
		{   task_key => 'write',
			depends_on => [ { task_key => 'transform' } ],
			sql_task => { warehouse_id => '1234567890abcdef', query => { query_id => 'q1' } }
		} ]);
$workspace->post('plans', { match => { task_key => 'fetch' }, plan => { output => '{"rows": 3}', truncated => JSON::PP::true } });
$workspace->post('plans',
	{   match => { task_key => 'transform' },
		count => 1,
		plan => {
			result => 'FAILED',
			error => "\e[0;31mValueError\e[0m: bad day",
			trace => "\e[1;34mTraceback\e[0m\n  \e]0;x\\File \e[38;5;28mtransform.py\e[39m",
			logs => "line 1\nline 2\n"
		}
	});

my $run = sql(qq{SELECT databricks.run_now($job, '{"day": "2026-11-21"}')});
is(quietly("SELECT result_state FROM databricks.wait_for_run($run, raise_on_failure => false)"), 'FAILED', 'a run fails');

# The iterations of a for-each task are task runs of their own, listed in its run.
my $loop = $workspace->create_job(name => 'loop', tasks => [
	{ task_key => 'first', notebook_task => { notebook_path => '/Shared/first' } },
	{ task_key => 'loop', depends_on => [ { task_key => 'first' } ], for_each_task => { inputs => '["a", "b"]',
		task => { task_key => 'loop_iteration', notebook_task => { notebook_path => '/Shared/x' } } } } ]);
$workspace->post('plans', { match => { task_key => 'loop_iteration' }, count => 1, plan => { output => "of $_" } }) foreach qw(b a);
my $looped = quietly("SELECT run_id FROM databricks.run_and_wait($loop)");
my $looping = sql("SELECT t ->> 'run_id' FROM jsonb_array_elements(databricks.get_run($looped) -> 'tasks') AS t WHERE t ->> 'task_key' = 'loop'");
my $outputs = "SELECT string_agg(task_key || coalesce(' ' || result, ''), ', ') FROM databricks.get_run_output";
is(sql("$outputs($looped)"), 'first, loop, loop_iteration of a, loop_iteration of b', 'the iterations of a task have rows');
is(sql("$outputs($looping)"), 'loop, loop_iteration of a, loop_iteration of b', '... also of its run alone');

# Several such tasks are asked for side by side.
my @loops = map { { task_key => "loop$_", for_each_task => { inputs => '["a"]',
	task => { task_key => 'loop_iteration', notebook_task => { notebook_path => '/Shared/x' } } } } } 1 .. 3;
my $loops = $workspace->create_job(name => 'loops', tasks => \@loops);
$workspace->post('plans', { match => { task_key => 'loop_iteration' }, plan => { output => 'of a loop' } });
my $in_loops = quietly("SELECT run_id FROM databricks.run_and_wait($loops)");
my @loop_runs = split /\n/, sql("SELECT t ->> 'run_id' FROM jsonb_array_elements(databricks.get_run($in_loops) -> 'tasks') AS t ORDER BY t ->> 'task_key'");
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "run_id=$_", kind => 'delay', ms => 1000 }) foreach @loop_runs;
my $before = $workspace->mark;
is(sql("$outputs($in_loops)"), join(', ', map { "loop$_, loop_iteration of a loop" } 1 .. 3), 'the iterations of several tasks, each after its task');
is($workspace->most_at_once(path => '/api/2.2/jobs/runs/get', since => $before), 3, '... asked for at once');

my $mark = $workspace->mark;
my @rows = split /\n/,
  sql(qq{SELECT task_key, result_state, result, error, replace(error_trace, E'\\n', '|'), replace(logs, E'\\n', '|'), truncated, output
		 FROM databricks.get_run_output($run)});
is($rows[0], 'fetch|SUCCESS|{"rows": 3}||||t|{}', 'what a notebook returned, and that it is cut');
like($rows[1], qr/^transform\|FAILED\|\|ValueError: bad day\|Traceback\|  .*File transform\.py\|line 1\|line 2\|\|f\|/,
	'error, trace and logs without colours');
unlike($rows[1], qr/\e/, '... really');
like($rows[2], qr/^write\|UPSTREAM_FAILED\|\|An upstream task failed/, 'a task that did not run says why (case 44)');
is($workspace->calls(since => $mark), 4, 'one call for the run, one for each task');

my $task_run = sql("SELECT task_run_id FROM databricks.get_run_output($run) WHERE task_key = 'fetch'");
is(sql("SELECT task_key || ' ' || result FROM databricks.get_run_output($task_run)"), 'fetch {"rows": 3}', 'of the run of a task');
is(sql("SELECT name || ' ' || type || ' ' || (content LIKE '<!DOCTYPE html>%') FROM databricks.export_run($task_run)"),
	'fetch NOTEBOOK true', 'a notebook as a page');
like(sql_error($node, "SELECT databricks.export_run($run)")->{message}, qr/export each individual task run/, 'export of several tasks');
is(sql_error($node, "SELECT databricks.export_run($task_run, 'ALLES')")->{hint}, 'Valid are CODE, DASHBOARDS, ALL.', 'other views');
is(sql_error($node, 'SELECT databricks.get_run_output(5)')->{state}, '42704', 'no such run');
is(sql_error($node, 'SELECT databricks.get_run_output(NULL)')->{state}, '22004', 'null');
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get-output', kind => 'replace', json => { metadata => { state => { life_cycle_state => 'TERMINATED', result_state => 'SUCCESS' } } } });
is(sql("SELECT task_key || ' ' || result_state FROM databricks.get_run_output($task_run)"), 'fetch SUCCESS', 'an output that does not say of which task it is');
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get-output', kind => 'replace', json => { logs => 'x' } });
is(sql("SELECT task_key || ' ' || result_state || ' ' || logs FROM databricks.get_run_output($run) WHERE logs = 'x'"), 'fetch SUCCESS x', '... nor how it ended');
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get-output', kind => 'replace', json => {} });
is(sql_error($node, "SELECT databricks.get_run_output($task_run)")->{state}, 'HV00M', 'an answer that says nothing');
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get-output', kind => 'status', status => 403, code => 'PERMISSION_DENIED' });
is(sql_error($node, "SELECT databricks.get_run_output($run)")->{state}, '42501', 'an output that is denied is an error');

my $wide = $workspace->create_job(
	tasks => [ map { { task_key => "t$_", notebook_task => { notebook_path => '/x' } } } 1 .. 120 ]);
my $wide_run = sql("SELECT databricks.run_now($wide)");
quietly("SELECT databricks.wait_for_run($wide_run)");
is(sql("SELECT count(*), count(DISTINCT task_key), min(task_key) FROM databricks.get_run_output($wide_run)"), '120|120|t1', '120 tasks');

# Repair

is(quietly("SELECT databricks.repair_run($run) IS NOT NULL"), 't', 'a repair');
my $body = last_body('/api/2.2/jobs/runs/repair');
is_deeply($body->{job_parameters}, { day => '2026-11-21' }, 'the run\'s own parameters are sent again (case 55)');
is($body->{rerun_all_failed_tasks}, 1, '... for the failed tasks');
ok(!exists $body->{latest_repair_id}, '... as the first repair');
is(quietly("SELECT result_state FROM databricks.wait_for_run($run)"), 'SUCCESS',
	'the repair shows at once: waiting waits for it (case 55)');
is(sql("SELECT string_agg(value ->> 'value', ',') FROM jsonb_array_elements(databricks.get_run($run) -> 'job_parameters')"),
	'2026-11-21', 'the day is still that day');
my $first = sql(qq{SELECT max(value ->> 'id') FROM jsonb_array_elements(databricks.get_run($run, true) -> 'repair_history')});
is(sql_error($node, qq{SELECT databricks.repair_run($run, '{"job_parameters": {"day": null}}')})->{state}, '22023', 'parameters are checked as those of a new run');
my $second = sql(qq{SELECT databricks.repair_run($run, '{"rerun_tasks": ["write"], "job_parameters": {"day": 20261120}}')});
$body = last_body('/api/2.2/jobs/runs/repair');
is($body->{latest_repair_id}, $first, 'the second repair names the first (case 55)');
is_deeply([ $body->{rerun_tasks}, $body->{job_parameters} ], [ ['write'], { day => '20261120' } ], 'options are sent, numbers as text');
quietly("SELECT databricks.wait_for_run($run)");
is(sql(qq{SELECT string_agg(attempts, ' ') FROM (SELECT value ->> 'task_key' || count(*) AS attempts
	FROM jsonb_array_elements(databricks.get_run($run) -> 'tasks') GROUP BY value ->> 'task_key' ORDER BY 1) AS t}),
	'fetch1 transform2 write3', 'attempts of the tasks');

my $error = sql_error($node, qq{SELECT databricks.repair_run($run, '{"rerun_task": ["write"]}')});
is($error->{state}, '22023', 'an option that would be ignored');
$error = sql_error($node, "SELECT databricks.repair_run($task_run)");
is($error->{state}, '22023', 'the run of a task');
like($error->{hint}, qr/$run/, '... names the run of its job');
like(sql_error($node, "SELECT databricks.repair_run($run)")->{message}, qr/has no task to repair/, 'nothing to repair');

# The last attempt of a task counts, also one that never started.
my $behind = $workspace->create_job(name => 'behind', tasks => [ { task_key => 'a', notebook_task => { notebook_path => '/a' } },
	{ task_key => 'b', depends_on => [ { task_key => 'a' } ], notebook_task => { notebook_path => '/b' } } ]);
$workspace->post('plans', { match => { job_name => 'behind', task_key => 'b' }, plan => { result => 'FAILED' }, count => 1 });
my $behind_run = sql("SELECT databricks.run_now($behind)");
quietly("SELECT databricks.wait_for_run($behind_run, raise_on_failure => false)");
$workspace->post('plans', { match => { job_name => 'behind', task_key => 'a' }, plan => { result => 'FAILED' } });
sql(qq{SELECT databricks.repair_run($behind_run, '{"rerun_tasks": ["a", "b"]}')});
is(quietly("SELECT string_agg(value ->> 'task_key', ' ') FROM databricks.wait_for_run($behind_run, raise_on_failure => false), jsonb_array_elements(failed_tasks)"), 'a',
	'the task behind failed before, not now (case 58)');
is(sql("SELECT string_agg(task_key || ' ' || result_state, ', ') FROM databricks.get_run_output($behind_run)"), 'a FAILED, b UPSTREAM_FAILED', '... and that is its output');

# A lost answer: the history tells; a repair that does not show is told.
$workspace->post('faults', { path => '/api/2.2/jobs/runs/repair', kind => 'lost', count => 1 });
$mark = $workspace->mark;
my $third = quietly(qq{SELECT databricks.repair_run($run, '{"rerun_tasks": ["write"]}')});
like($third, qr/^\d+$/, 'a repair whose answer was lost is found');
is($workspace->calls(path => '/api/2.2/jobs/runs/repair', since => $mark), 1, '... and was sent once');
quietly("SELECT databricks.wait_for_run($run)");
$workspace->post('faults', { path => '/api/2.2/jobs/runs/repair', kind => 'reset', count => 1 });
is(sql_error($node, qq{SELECT databricks.repair_run($run, '{"rerun_tasks": ["write"]}')})->{state}, '08007',
	'one that was lost on the way is not known to be');
sql(q{ALTER SERVER prod OPTIONS (ADD retry_timeout '1 s')});
my ($stdout, $stderr);
$workspace->post('faults', { path => '/api/2.2/jobs/runs/repair', kind => 'replace', count => 1, json => { repair_id => 77 } });
$node->psql('postgres', qq{SELECT databricks.repair_run($run, '{"rerun_tasks": ["write"]}')}, stdout => \$stdout, stderr => \$stderr);
is($stdout, '77', 'a repair that does not show');
like($stderr, qr/WARNING:  repair 77 was accepted, but does not show in run $run yet/, '... is reported (case 55)');
sql(q{ALTER SERVER prod OPTIONS (DROP retry_timeout)});
quietly("SELECT databricks.wait_for_run($run)");

# Older parameters are sent again as they were.
my $plain = $workspace->create_job(
	name => 'plain',
	tasks => [ { task_key => 'a', notebook_task => { notebook_path => '/x' } } ]);
$workspace->post('plans', { match => { job_name => 'plain' }, count => 1, plan => { result => 'FAILED' } });
my $plain_run = sql(qq{SELECT databricks.run_now($plain, options => '{"notebook_params": {"a": "b"}}')});
quietly("SELECT databricks.wait_for_run($plain_run, raise_on_failure => false)");
sql("SELECT databricks.repair_run($plain_run)");
$body = last_body('/api/2.2/jobs/runs/repair');
is_deeply($body->{notebook_params}, { a => 'b' }, 'notebook parameters too');
ok(!exists $body->{job_parameters}, '... alone');

# Several runs

$workspace->post('plans', { match => { job_name => 'slow' }, plan => { duration_ms => -1 } });
my $slow = $workspace->create_job(name => 'slow', max_concurrent_runs => 10);
my $quick = $workspace->create_job(name => 'quick', max_concurrent_runs => 10);
my ($a, $b) = map { sql("SELECT databricks.run_now($_)") } $quick, $slow;
is(quietly("SELECT string_agg(run_id || ' ' || state, ',') FROM databricks.wait_for_runs(ARRAY[$a, $b], 'any')"), "$a TERMINATED", 'any');
is(sql_error($node, "SELECT databricks.wait_for_runs(ARRAY[$a, $b], timeout => '200 ms')")->{state}, 'RUN06', 'all, but not in time');
is(quietly("SELECT string_agg((run_id = $b) || ' ' || state, ',') FROM databricks.wait_for_runs(ARRAY[$b, $a, $b], timeout => '200 ms', raise_on_failure => false)"),
	'true RUNNING,false TERMINATED', '... without an error; doubled ids once');
my $begun = time;
$error = sql_error($node, "SET statement_timeout = '300 ms'; SELECT databricks.wait_for_runs(ARRAY[$a, $b], cancel_on_interrupt => true)");
is($error->{state}, '57014', 'cancelled');
cmp_ok(time - $begun, '<', patience(3), '... at once');
is(quietly("SELECT result_state FROM databricks.wait_for_run($b, raise_on_failure => false)"), 'CANCELED', '... and so is the run');
is(sql_error($node, "SELECT databricks.wait_for_runs(ARRAY[$a, $b])")->{state}, 'RUN02', 'one that did not succeed is an error');
is(sql("SELECT count(*) FROM databricks.wait_for_runs('{}')"), 0, 'of none');
is(sql_error($node, "SELECT databricks.wait_for_runs(ARRAY[$a, NULL])")->{state}, '22004', 'a null among them');
is(sql_error($node, "SELECT databricks.wait_for_runs(ARRAY[$a], 'some')")->{state}, '22023', 'another mode');

# All at once

my @runs = map { sql("SELECT databricks.run_now($slow)") } 1 .. 3;
sql("SELECT databricks.cancel_all_runs($slow)");
quietly("SELECT databricks.wait_for_runs(ARRAY[" . join(',', @runs) . "], raise_on_failure => false)");
is(sql("SELECT count(*) FROM databricks.runs WHERE job_id = $slow AND end_time IS NULL"), 0, 'cancel_all_runs');
my $one = $workspace->create_job(name => 'slow', max_concurrent_runs => 1);
@runs = map { sql("SELECT databricks.run_now($one)") } 1 .. 2;
is(sql("SELECT databricks.get_run($runs[1]) #>> '{status,state}'"), 'QUEUED', 'a run waits in the queue');
sql('SELECT databricks.cancel_all_queued_runs()');
is(quietly("SELECT result_state FROM databricks.wait_for_run($runs[1], raise_on_failure => false)"), 'CANCELED', 'cancel_all_queued_runs');
is(sql("SELECT databricks.get_run($runs[0]) #>> '{status,state}'"), 'RUNNING', '... leaves the others alone');
is(sql_error($node, q{SELECT databricks.cancel_all_runs('slow')})->{state}, '42725', 'by a name that is not one job\'s');
sql("SELECT databricks.cancel_all_runs('$one')");
is(quietly("SELECT result_state FROM databricks.wait_for_run($runs[0], raise_on_failure => false)"), 'CANCELED', 'an id as text');
is(sql_error($node, 'SELECT databricks.cancel_all_runs(5)')->{state}, '42704', 'no such job');
is(sql_error($node, 'SELECT databricks.cancel_all_runs(NULL::int8)')->{state}, '22004', 'null');

done_testing();
