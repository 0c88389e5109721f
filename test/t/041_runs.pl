# 041_runs.pl - runs started, read, cancelled and deleted from SQL. Acceptance
# cases 28, 30-37, 49.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The body of the last start, and how many requests there were since the mark.
my $mark = 0;

sub body
{
	my ($path) = @_;
	my ($entry) = ($workspace->journal(path => $path || '/api/2.2/jobs/run-now', since => $mark))[-1];
	# already decoded from UTF-8
	return $entry ? JSON::PP->new->allow_bignum->decode($entry->{body}) : undef;
}

sub requests
{
	return map { "$_->{method} $_->{path}" } $workspace->journal(since => $mark);
}

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

my $job = $workspace->create_job(
	name => 'etl',
	max_concurrent_runs => 1000,
	parameters => [ map { { name => $_, default => '' } } qw(day count flag big text) ]);

# --- by id, by name ------------------------------------------------------------------

foreach my $case (
	[ 'run_now(%s)', 'by id' ],
	[ "run_now('etl')", 'by name' ],
	[ "run_now('%s')", 'by a text of digits' ],
	[ 'run_now(job_id => %s)', 'by the name of the argument' ],
	[ "run_now(job_name => 'etl')", 'by name, named' ])
{
	my ($call, $how) = @$case;
	$mark = $workspace->mark;
	my $run = sql('SELECT databricks.' . sprintf($call, $job));
	like($run, qr/^\d+$/, "run_now $how gives a run id");
	is($workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $run })->{job_id}, $job, '... of the job meant');
	my $body = body();
	is_deeply([ sort keys %$body ], [qw(idempotency_token job_id)], '... sent with nothing but a token');
	cmp_ok(length $body->{idempotency_token}, '<=', 64, '... of allowed length (case 35)');
	is(scalar(grep { m{runs/get} } requests()), 0, '... and no look at the run (case 49)');
}
is(sql("PREPARE p AS SELECT databricks.run_now(\$1) > 0; EXECUTE p('$job')"), 't', 'an untyped parameter of digits is an id');
is(sql("PREPARE p AS SELECT databricks.run_now(\$1) > 0; EXECUTE p('etl')"), 't', '... and of anything else a name');
is(sql("SELECT count(*), count(DISTINCT databricks.run_now(name)) FROM (VALUES ('etl'), ('$job')) AS v (name)"), '2|2', 'both out of a table');

$workspace->create_job(name => 'twice') foreach 1 .. 2;
foreach my $name ('twice', 'ETL', 'missing')
{
	$mark = $workspace->mark;
	my $error = sql_error($node, "SELECT databricks.run_now('$name')");
	is($error->{state}, $name eq 'twice' ? '42725' : '42704', "run_now('$name') is an error (cases 26, 32)");
	is_deeply([ requests() ], ['GET /api/2.2/jobs/list'], '... before any POST (case 32)');
}
$mark = $workspace->mark;
my $error = sql_error($node, q{SELECT databricks.run_now('etl', '{"a": null}')});
is($error->{state}, '22023', 'parameters that cannot be meant');
is_deeply([ requests() ], [], '... are refused before the name is looked up');
is(sql_error($node, 'SELECT databricks.run_now(123456789)')->{state}, '42704', 'an id that does not exist is an error (case 29)');

# --- parameters (cases 30, 33) -----------------------------------------------------------

sub started
{
	my ($arguments) = @_;
	$mark = $workspace->mark;
	sql("SELECT databricks.run_now($job, $arguments)");
	my $body = body();
	delete @$body{qw(job_id idempotency_token)};
	return $body;
}
is_deeply(
	started(q{'{"day": "2026-10-01", "count": 5, "flag": true, "big": 9223372036854775807, "text": ""}'}),
	{ job_parameters => { day => '2026-10-01', count => '5', flag => 'true', big => '9223372036854775807', text => '' } },
	'job_parameters: numbers and booleans go as their text (case 30)');
is(body()->{job_parameters}{big}, '9223372036854775807', '... exactly (case 28)');
is_deeply(started(q{'{"count": 1.50}'}), { job_parameters => { count => '1.50' } }, '... digits as given');
is_deeply(started(q{'{"text": "a\"b\\\\c\nd\u00e9"}'}), { job_parameters => { text => "a\"b\\c\nd\x{e9}" } }, '... any text');
is_deeply(started(q{'{}'}), { job_parameters => {} }, '... an empty map too');
is_deeply(
	started(q{'{"day": "argument"}', '{"job_parameters": {"day": "option", "text": "x"}}'}),
	{ job_parameters => { day => 'argument' } },
	'the argument wins over the same member of options (case 30)');
is_deeply(started(q{NULL, '{"job_parameters": {"day": 1}}'}), { job_parameters => { day => '1' } }, 'without the argument the option counts');

# Each kind, in the words of the call.
foreach my $case (
	[ 'notebook_params', '{"age": 35, "name": "john"}', { age => '35', name => 'john' } ],
	[ 'jar_params', '["john", 35, true]', [ 'john', '35', 'true' ] ],
	[ 'python_params', '["a", 1]', [ 'a', '1' ] ],
	[ 'python_named_params', '{"n": 1}', { n => '1' } ],
	[ 'spark_submit_params', '["--class", "x"]', [ '--class', 'x' ] ],
	[ 'sql_params', '{"n": 1}', { n => '1' } ],
	[ 'dbt_commands', '["dbt deps", "dbt run"]', [ 'dbt deps', 'dbt run' ] ],
	[ 'pipeline_params', '{"full_refresh": true}', { full_refresh => JSON::PP::true } ],
	[ 'queue', '{"enabled": true}', { enabled => JSON::PP::true } ],
	[ 'only', '["main"]', ['main'] ],
	[ 'performance_target', '"STANDARD"', 'STANDARD' ])
{
	my ($kind, $given, $sent) = @$case;
	is_deeply(started("options => '{\"$kind\": $given}'"), { $kind => $sent }, "$kind (case 33)");
	is_deeply(started("options => '{\"$kind\": null}'"), {}, "... null is as if it were not there");
}
is_deeply(
	started(q{options => '{"notebook_params": {"a": "b"}, "python_params": ["x"], "queue": {"enabled": false}}'}),
	{ notebook_params => { a => 'b' }, python_params => ['x'], queue => { enabled => JSON::PP::false } },
	'several kinds at once');

# 10000 bytes are allowed, to the byte; more are refused by ourselves. "only" and
# the like are no parameters.
foreach my $case (
	[ 'notebook_params', '{"k":"%s"}', '{"notebook_params":{"k":"%s"}}' ],
	[ 'python_params', '["%s"]', '{"python_params":["%s"]}' ])
{
	my ($kind, $value, $whole) = @$case;
	my $fill = 10_000 - length(sprintf($whole, ''));
	ok(started(sprintf("options => '{\"$kind\": $value}'", 'x' x $fill)), "10000 bytes of $kind are sent (case 33)");
	$mark = $workspace->mark;
	$error = sql_error($node, sprintf("SELECT databricks.run_now($job, options => '{\"$kind\": $value}')", 'x' x ($fill + 1)));
	is($error->{state}, '54000', '... 10001 are refused (case 33)');
	is_deeply([ requests() ], [], '... before anything is sent');
}
my $wide = $workspace->create_job(name => 'wide', tasks => [ map { { task_key => 'x' x 95 . $_, notebook_task => { notebook_path => '/Shared/x' } } } 100 .. 219 ]);
my $only = json([ map { 'x' x 95 . $_ } 100 .. 219 ]);
cmp_ok(length $only, '>', 10_000, 'a long list of tasks');
like(sql("SELECT databricks.run_now($wide, options => '{\"only\": $only}')"), qr/^\d+$/, '... is no parameter and has no such bound');

# Non-ASCII text is warned about where the service wants ASCII, once.
foreach my $case ([ 'python_params', '["gr\u00fc\u00df"]', 1 ], [ 'spark_submit_params', '["\u00e9"]', 1 ],
	[ 'notebook_params', '{"a": "\u00e9"}', 0 ])
{
	my ($kind, $value, $warnings) = @$case;
	foreach my $call ($job, "'etl'")
	{
		my ($rc, $out, $err) = $node->psql('postgres', "SELECT databricks.run_now($call, options => '{\"$kind\": $value}')");
		is(() = $err =~ /WARNING:  "$kind" holds characters outside ASCII/g, $warnings, "non-ASCII text in $kind: $warnings warning (case 33)");
		like($out, qr/^\d+$/, '... and it is sent') unless $warnings;
	}
}

# --- tokens (cases 35-37) -------------------------------------------------------------------

my $token = 'x' x 64;
my $first = sql("SELECT databricks.run_now($job, idempotency_token => '$token')");
is(body()->{idempotency_token}, $token, 'a token of 64 characters is sent (case 35)');
is(sql("SELECT databricks.run_now($job, idempotency_token => '$token')"), $first, 'the same token twice gives the same run (case 36)');
is(sql("SELECT databricks.run_now('etl', options => '{\"idempotency_token\": \"$token\"}')"), $first, '... as an option too');
is( scalar(grep { $_->{run_id} eq $first } @{ $workspace->api('GET', '/api/2.2/jobs/runs/list', { job_id => $job })->{runs} }),
	1, '... one run exists (case 36)');
sql("SELECT databricks.run_now($job, NULL, '{\"idempotency_token\": \"option\"}', 'argument')");
is(body()->{idempotency_token}, 'argument', 'the argument wins over the option (case 30)');
my %tokens;
sql("SELECT databricks.run_now($job) FROM generate_series(1, 5)");
$tokens{ json($_->{body})->{idempotency_token} }++ foreach ($workspace->journal(path => '/api/2.2/jobs/run-now'))[ -5 .. -1 ];
is(scalar(keys %tokens), 5, 'generated tokens differ (case 35)');
$error = sql_error($node, "SELECT databricks.run_now($job, idempotency_token => repeat('y', 65))");
is($error->{state}, '22023', 'a token of 65 characters is refused (case 35)');

# --- runs without a job ------------------------------------------------------------------------

my $tasks = '[{"task_key": "a", "notebook_task": {"notebook_path": "/Shared/a"}}]';
$mark = $workspace->mark;
my $submitted = sql("SELECT databricks.submit_run('{\"run_name\": \"adhoc\", \"timeout_seconds\": 60, \"tasks\": $tasks}')");
is($workspace->api('GET', '/api/2.2/jobs/runs/get', { run_id => $submitted })->{run_type}, 'SUBMIT_RUN', 'submit_run starts a run');
my $body = body('/api/2.2/jobs/runs/submit');
is($body->{run_name}, 'adhoc', '... as its settings say');
cmp_ok(length $body->{idempotency_token}, '>', 30, '... with a token');
is(sql("SELECT databricks.submit_run('{\"tasks\": $tasks}', 'mine') = databricks.submit_run('{\"tasks\": $tasks, \"idempotency_token\": \"mine\"}')"),
	't', 'the same token gives the same run (case 36)');
is(() = ($workspace->journal(path => '/api/2.2/jobs/runs/submit'))[-1]{body} =~ /idempotency_token/g, 1, '... and is there once');
is(sql_error($node, q{SELECT databricks.submit_run('{"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/Shared/a"}}], "timeout_seconds": "long"}')})->{state},
	'HV000', 'settings that the service refuses are an error');

# --- get, cancel, delete --------------------------------------------------------------------------

$workspace->post('plans', { match => { job_name => 'long' }, plan => { duration_ms => -1 } });
my $long = $workspace->create_job(name => 'long');
my $run = sql("SELECT databricks.run_now($long)");
is(sql("SELECT r ->> 'run_id', r ->> 'job_id', r ? 'repair_history' FROM databricks.get_run($run) AS r"), "$run|$long|f", 'get_run reads a run');
$mark = $workspace->mark;
sql("SELECT databricks.get_run($run, include_history => true); SELECT databricks.get_run($run, false); SELECT databricks.get_run($run, NULL)");
is_deeply([ map { $_->{query} } $workspace->journal(since => $mark) ],
	[ "run_id=$run&include_history=true", "run_id=$run", "run_id=$run" ], '... with its history if asked for');
$error = sql_error($node, "SELECT databricks.delete_run($run)");
is($error->{state}, 'HV000', 'an active run cannot be deleted');
is(sql("SELECT databricks.cancel_run($run) IS NULL"), 't', 'cancel_run asks for its end');
$workspace->advance(10_000);
is(sql("SELECT databricks.get_run($run) #>> '{state,result_state}'"), 'CANCELED', '... which comes');
is(sql("SELECT databricks.cancel_run($run) IS NULL"), 't', 'cancelling it again does no harm');
sql("SELECT databricks.delete_run($run)");
foreach my $call ("get_run($run)", "cancel_run($run)", "delete_run($run)")
{
	is(sql_error($node, "SELECT databricks.$call")->{state}, '42704', "$call: there is no such run any more");
}

# What was done is not undone, and acts although the transaction fails.
$mark = $workspace->mark;
$node->psql('postgres', "BEGIN; SELECT databricks.run_now($job); ROLLBACK; DO \$\$ BEGIN PERFORM databricks.run_now($job); RAISE EXCEPTION 'fails'; END \$\$;", on_error_stop => 0);
is(scalar(grep { m{run-now} } requests()), 2, 'run_now acts at once, whatever becomes of the transaction');

# --- 64 bits (case 28) -------------------------------------------------------------------------------

foreach my $big ('9223372036854775807', '9007199254740993')
{
	$workspace->post('faults', { path => '/api/2.2/jobs/run-now', kind => 'status', status => 200, text => "{\"run_id\": $big, \"number_in_job\": $big}" });
	is(sql("SELECT databricks.run_now($big)"), $big, "run_now gives $big (case 28)");
	like(($workspace->journal)[-1]{body}, qr/"job_id":$big,/, '... and sends it');
	$workspace->post('faults', { path => '/api/2.2/jobs/runs/submit', kind => 'status', status => 200, text => "{\"run_id\": $big}" });
	is(sql("SELECT databricks.submit_run('{\"tasks\": $tasks}')"), $big, '... submit_run gives it');
	$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', kind => 'status', status => 200, count => 2,
			text => "{\"run_id\": $big, \"job_id\": $big, \"state\": {\"life_cycle_state\": \"TERMINATED\", \"result_state\": \"SUCCESS\"}}" });
	is(sql("SELECT databricks.get_run($big) ->> 'run_id'"), $big, '... get_run reads it');
	is(sql("SELECT run_id, job_id FROM databricks.wait_for_run($big)"), "$big|$big", '... wait_for_run as well');
	is(($workspace->journal)[-1]{query}, "run_id=$big", '... and asks for it');
	foreach my $call ("cancel_run($big)", "delete_run($big)")
	{
		sql_error($node, "SELECT databricks.$call");
		like(($workspace->journal)[-1]{body}, qr/"run_id":$big\}/, "... $call sends it");
	}
}
foreach my $case ([ 'no id', '{}' ], [ 'a null', '{"run_id": null}' ], [ 'a fraction', '{"run_id": 1.5}' ],
	[ 'more than 64 bits', '{"run_id": 9223372036854775808}' ], [ 'a word', '{"run_id": "x"}' ])
{
	my ($what, $text) = @$case;
	$workspace->post('faults', { path => '/api/2.2/jobs/run-now', kind => 'status', status => 200, text => $text });
	$error = sql_error($node, "SELECT databricks.run_now($job, idempotency_token => 'odd')");
	is($error->{state}, '08007', "an answer with $what: it is not known which run it is");
	like($error->{hint}, qr/idempotency_token => 'odd'/, '... the hint says how to find out');
}

$node->stop;
done_testing();
