# 051_fdw_rows.pl - rows of foreign tables: values, identities, faults.

use strict;
use warnings;

use IPC::Run ();
use Math::BigInt;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
my $largest = '9223372036854775807';

connect_workspace($node, $workspace);
$workspace->speed(0);
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	SQL

sub ask
{
	return $node->safe_psql('postgres', $_[0]);
}

sub patch
{
	my (%what) = @_;
	return $workspace->post('patch', \%what);
}

###
# Values
###
my $now = $workspace->get('clock')->{now};

# A run with the largest id there is, known in the old form of states only.
$workspace->post(
	'load',
	{   run => {
			run_id => Math::BigInt->new($largest),
			job_id => Math::BigInt->new('9007199254740993'),
			run_name => "nul \x{0} and \x{fc}",
			run_type => 'NEW_KIND',
			state => {
				life_cycle_state => 'INTERNAL_ERROR',
				result_state => 'FAILED',
				state_message => 'it broke'
			},
			start_time => $now - 5000,
			end_time => $now - 1,
			run_duration => 93784005,
			attempt_number => 2,
			job_parameters => [
				{ name => 'b', default => 'x', value => 'y' },
				{ name => 'a', default => 'z' },
				{ name => 'c', value => '' }
			] } });
my $values = ask(<<~SQL);
	SELECT run_id, job_id, run_name, run_type, state, life_cycle_state, result_state, state_message,
		round(extract(epoch FROM start_time) * 1000), end_time - start_time, run_duration, attempt_number,
		job_parameters, termination_code IS NULL, raw->'run_id', workspace
	FROM runs WHERE run_id = $largest
	SQL
is( $values,
	join('|',
		$largest, '9007199254740993',
		"nul \xef\xbf\xbd and \xc3\xbc", 'NEW_KIND', 'TERMINATED', 'INTERNAL_ERROR', 'FAILED',
		'it broke', $now - 5000, '00:00:04.999', '26:03:04.005', 2,
		'{"a": "z", "b": "y", "c": ""}', 't', $largest, 'prod'),
	'the largest id, text, times and parameters of a run by id (case 28)');
is(ask(q{SELECT run_id FROM runs WHERE run_type = 'NEW_KIND'}),
	$largest, 'the largest id in a list (case 28)');
is(ask('SELECT count(*) FROM runs WHERE job_id = 9007199254740992'),
	0, 'ids are not rounded');

# What has not happened yet is NULL.
my $job = $workspace->create_job(
	name => 'one',
	description => 'first',
	tags => { team => 'x' },
	max_concurrent_runs => 1,
	queue => { enabled => JSON::PP::true },
	parameters => [ { name => 'day', default => '2026-10-01' } ],
	schedule => { quartz_cron_expression => '0 0 2 * * ?', timezone_id => 'UTC' });
my $run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })->{run_id};
is( ask("SELECT end_time IS NULL, start_time IS NULL, state, result_state IS NULL, job_parameters
		FROM runs WHERE run_id = $run"),
	't|f|PENDING|t|{"day": "2026-10-01"}',
	'a run under way');
patch(run_id => $run, merge => { start_time => 0 });
is(ask("SELECT start_time IS NULL FROM runs WHERE run_id = $run"),
	't', 'a run that was never started');
is(ask("SELECT count(*) FROM runs WHERE job_id = $job AND start_time < now()"),
	0, 'is not before any time');
patch(run_id => $run, merge => { start_time => $now });
patch(run_id => $run, merge => { state => { life_cycle_state => 'WAITING_FOR_RETRY' }, status => undef });
is(ask("SELECT state FROM runs WHERE run_id = $run"), 'WAITING', 'a state in the old form only');
patch(run_id => $run, merge => { state => undef, status => { state => 'NEW_STATE' } });
is(ask("SELECT state, life_cycle_state IS NULL FROM runs WHERE run_id = $run"),
	'NEW_STATE|t', 'a state nobody knows');
is( ask("SELECT name, description, creator_user_name, run_as_user_name, tags, parameters,
		schedule->>'timezone_id', max_concurrent_runs, timeout_seconds, format,
		settings->>'name', raw->'settings' = settings, created_time BETWEEN now() - interval '1 hour' AND now() + interval '1 hour',
		jsonb_array_length(tasks), continuous IS NULL FROM jobs WHERE job_id = $job"),
	'one|first|harness@example.com|harness@example.com|{"team": "x"}|[{"name": "day", "default": "2026-10-01"}]'
	  . '|UTC|1|0|MULTI_TASK|one|t|t|1|t',
	'the columns of a job');

###
# Columns by path
###
$workspace->api('POST', '/api/2.2/jobs/update', { job_id => $job, new_settings => {
	email_notifications => { on_failure => [ 'a@example.com', 'b@example.com' ] } } });
$node->safe_psql('postgres', <<~'SQL');
	CREATE FOREIGN TABLE public.by_path (id bigint OPTIONS (path 'job_id'),
		mails jsonb OPTIONS (path 'settings.email_notifications.on_failure'),
		zone text OPTIONS (path 'settings.schedule.timezone_id'), queued boolean OPTIONS (path 'settings.queue.enabled'),
		runs integer OPTIONS (path 'settings.max_concurrent_runs'), nothing text OPTIONS (path 'settings.no.such'),
		as_text text OPTIONS (path 'settings.tags'), task_list jsonb OPTIONS (path 'settings.tasks'),
		created bigint OPTIONS (path 'created_time'), wrong integer OPTIONS (path 'settings.tags.team'))
		SERVER prod OPTIONS (resource 'jobs');
	CREATE FOREIGN TABLE public.tasks_by_path (id bigint OPTIONS (path '^job_id'), zone text OPTIONS (path '^settings.schedule.timezone_id'),
		notebook text OPTIONS (path 'notebook_task.notebook_path')) SERVER prod OPTIONS (resource 'job_tasks');
	SQL
my $kind;
foreach my $where ("id = $job", q{zone = 'UTC'})
{
	is( ask("SELECT mails, zone, queued, runs, nothing IS NULL, as_text, jsonb_array_length(task_list), created > 1600000000000 FROM by_path WHERE $where"),
		'["a@example.com", "b@example.com"]|UTC|t|1|t|{"team":"x"}|1|t', "columns by path, where $where");
}
$node->safe_psql('postgres', <<~'SQL');
	CREATE FOREIGN TABLE public.runs_by_path (run_id bigint, state jsonb OPTIONS (path 'state'), now text OPTIONS (path 'state'),
		started bigint OPTIONS (path 'start_time'), status jsonb OPTIONS (path 'status')) SERVER prod OPTIONS (resource 'runs');
	SQL
is( ask("SELECT b.state->>'life_cycle_state' = r.life_cycle_state, now = r.state, started = extract(epoch FROM start_time) * 1000,
		b.status->>'state' = r.state FROM runs_by_path AS b JOIN runs AS r USING (run_id) WHERE run_id = $largest"),
	't|t|t|', 'a path that is called as a column is, as another type');
$kind = sql_error($node, "UPDATE public.by_path SET mails = '[]' WHERE id = $job");
like($kind->{message}, qr/"settings.email_notifications.on_failure"|"mails"/, 'which cannot be set');
is(ask("SELECT zone, notebook IS NOT NULL FROM tasks_by_path WHERE id = $job"), 'UTC|t', 'of tasks, and of their job');
$kind = sql_error($node, "SELECT wrong FROM public.by_path WHERE id = $job");
is("$kind->{state} $kind->{detail}", 'HV004 The value is a string: x', 'a type that cannot hold the value');
my $where = '';
$node->psql('postgres', "SELECT wrong FROM public.by_path WHERE id = $job", stderr => \$where);
like($where, qr/^CONTEXT:  column "wrong" of "by_path"$/m, 'is told with table and column');

###
# More than a page of tasks (case 27)
###
my $long = $workspace->create_job(
	name => 'long',
	tasks => [
		map { { task_key => "t$_", notebook_task => { notebook_path => '/Shared/main' } } } 1 .. 250
	]);
my $long_run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $long })->{run_id};
my $tasks = q{jsonb_array_length(tasks) || '/' ||
	(SELECT count(DISTINCT t->>'task_key') FROM jsonb_array_elements(tasks) AS t)};
my $mark = $workspace->mark;
is(ask("SELECT $tasks FROM jobs WHERE job_id = $long"),
	'250/250', '250 tasks of a job by id (case 27)');
is($workspace->calls(since => $mark), 3, 'three pages of one object');
$mark = $workspace->mark;
is(ask(qq{SELECT name, $tasks, jsonb_array_length(settings->'tasks'), jsonb_array_length(raw->'settings'->'tasks')
		FROM jobs WHERE name IN ('long', 'one') ORDER BY name}),
	"long|250/250|250|250\none|1/1|1|1", '250 tasks of a job in a list (case 27)');
is($workspace->calls(since => $mark), 2 + 3, 'one look-up, for the job that was cut');
$mark = $workspace->mark;
is(ask("SELECT $tasks FROM runs WHERE job_id = $long"), '250/250', '250 tasks of a run (case 27)');
is($workspace->calls(since => $mark), 1 + 3, 'one look-up');
$mark = $workspace->mark;
is(ask('SELECT count(name) FROM jobs'), 3, 'without tasks');
is($workspace->calls(since => $mark), 1, 'nothing is completed');

###
# What cannot be converted says where
###
patch(run_id => $run, merge => { start_time => 'soon' });
my $error = sql_error($node, "SELECT start_time FROM runs WHERE run_id = $run");
is($error->{state}, 'HV004', 'a time that is none');
like($error->{message}, qr/cannot be shown as timestamp with time zone$/, 'has its message');
is($error->{detail}, 'The value is a string: soon', 'shows the value');
my $text = '';
$node->psql('postgres', "SELECT start_time AS s FROM runs WHERE run_id = $run", stderr => \$text);
like($text, qr/^CONTEXT:  column "start_time" of "runs"$/m, 'and names column and table');
is(ask("SELECT state FROM runs WHERE run_id = $run"), 'PENDING', 'other columns can be read');
patch(run_id => $run, merge => { start_time => $now, attempt_number => 3000000000 });
$error = sql_error($node, "SELECT attempt_number FROM runs WHERE run_id = $run");
is("$error->{state} $error->{detail}", 'HV004 The value is a number: 3000000000', 'a number too large');
patch(run_id => $run, merge => { attempt_number => 0, run_duration => Math::BigInt->new($largest) });
$error = sql_error($node, "SELECT run_duration FROM runs WHERE run_id = $run");
is($error->{state}, 'HV004', 'a duration too long');
patch(run_id => $run, merge => { run_duration => 0, job_parameters => { day => 1 } });
$error = sql_error($node, "SELECT job_parameters FROM runs WHERE run_id = $run");
is($error->{state}, 'HV004', 'parameters in an unknown form');
patch(run_id => $run, merge => { job_parameters => undef });

###
# Identities (case 68)
###
$workspace->api('POST', '/api/2.2/jobs/create', { name => 'shared',
	tasks => [ { task_key => 'main', notebook_task => { notebook_path => '/Shared/main' } } ],
	access_control_list => [ { user_name => 'etl@example.com', permission_level => 'CAN_VIEW' } ] });
ask(<<~'SQL');
	CREATE ROLE etl LOGIN;
	CREATE ROLE nobody LOGIN;
	GRANT USAGE ON FOREIGN SERVER prod TO etl, nobody;
	GRANT SELECT ON jobs, runs TO etl, nobody;
	CREATE USER MAPPING FOR etl SERVER prod OPTIONS (token 'dapi-standin-etl');
	CREATE USER MAPPING FOR nobody SERVER prod OPTIONS (token 'dapi-standin-none');
	GRANT CREATE ON SCHEMA public TO etl;
	SET ROLE etl;
	CREATE VIEW public.etl_jobs AS SELECT name FROM databricks.jobs;
	GRANT SELECT ON public.etl_jobs TO nobody;
	SQL
my %sees = (postgres => 'long one shared', etl => 'shared', nobody => '');
my $names = q{SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM jobs WHERE name !~ '^nul'};
foreach my $role (sort keys %sees)
{
	is(ask("SET ROLE $role; $names"), $sees{$role}, "what $role sees (case 68)");
}

# all at once: each session waits for an answer while the others read theirs
$workspace->post(
	'faults',
	{   kind => 'delay',
		ms => 300,
		work => JSON::PP::true,
		path => '/api/2.2/jobs/list',
		count => undef
	});
my %session;
foreach my $role (sort keys %sees)
{
	my ($out, $err) = ('', '');
	my @command = (
		'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SET ROLE $role",
		map { ('-c', $names) } 1 .. 3);
	$session{$role} = { out => \$out, err => \$err };
	$session{$role}->{handle} = IPC::Run::start(\@command, '>', \$out, '2>', \$err);
}
foreach my $role (sort keys %sees)
{
	$session{$role}->{handle}->finish;
	is(${ $session{$role}->{out} }, "$sees{$role}\n" x 3, "what $role sees beside the others (case 68)");
}
$workspace->delete('faults');

# in one statement: a view is read as its owner, what is beside it is not
is( ask("SET ROLE nobody; SELECT (SELECT count(*) FROM public.etl_jobs), (SELECT count(*) FROM jobs)"),
	'1|0', 'a view is read as its owner (case 68)');
is( ask("SELECT count(*) FROM public.etl_jobs AS e, jobs AS j"),
	'4', 'one scan for each identity (case 68)');
is( ask("SET ROLE etl; PREPARE p AS $names; EXECUTE p; SET ROLE nobody; EXECUTE p; RESET ROLE; EXECUTE p"),
	join("\n", @sees{qw(etl nobody postgres)}),
	'a prepared statement reads as whoever executes it (case 68)');

###
# Refused, gone, broken
###
$error = sql_error($node, "SET ROLE nobody; SELECT name FROM jobs WHERE job_id = $job");
is($error->{state}, '42501', 'a job that one may not see is an error, not an empty result');
$error = sql_error($node, "SET ROLE nobody; SELECT count(*) FROM runs WHERE run_id = $run");
is($error->{state}, '42501', 'as is a run');
$workspace->api('POST', '/api/2.2/jobs/delete', { job_id => $job });
is(ask("SELECT count(*) FROM jobs WHERE job_id = $job"), 0, 'a deleted job is no row');
is(ask("SELECT count(*) FROM runs WHERE job_id = $job"), 0, 'nor are its runs');

# A job that is listed but gone when its details are asked for is no row either.
$workspace->post(
	'faults',
	{   kind => 'status',
		status => 400,
		code => 'INVALID_PARAMETER_VALUE',
		message => "Job $long does not exist.",
		path => '/api/2.2/jobs/get',
		query => "job_id=$long"
	});
is(ask(q{SELECT count(coalesce(run_as_user_name, '')) FROM jobs}), 2, 'a job gone between list and details');

$workspace->delete('faults');
my %broken = (
	kind => 'status',
	status => 500,
	code => 'INTERNAL_ERROR',
	message => 'broken',
	path => '/api/2.2/jobs/runs/list',
	skip => 1,
	count => undef);
$workspace->post('seed', { jobs => 3, runs => 60, seed => 3 });
$workspace->post('faults', \%broken);
$error = sql_error($node, 'SELECT count(*) FROM runs');
is($error->{state}, 'HV000', 'a fault on the second page fails the query');
$workspace->delete('faults');
$workspace->post('faults', \%broken);
is(ask('SELECT count(*) FROM (SELECT run_id FROM runs LIMIT 10) AS r'),
	10, 'but not one that does not get there');
$workspace->delete('faults');

# A scan in progress survives the failure of another one, and a scan that hangs
# ends with its statement, look-ups under way included.
$workspace->post(
	'faults',
	{   kind => 'status',
		status => 500,
		code => 'INTERNAL_ERROR',
		message => 'broken',
		path => '/api/2.2/jobs/runs/get',
		count => undef
	});
is( ask(<<~'SQL'), '62 62', 'a failure within a subtransaction, while other rows are read');
	CREATE FUNCTION count_failures() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		r record;
		n int := 0;
		failures int := 0;
	BEGIN
		FOR r IN SELECT run_id FROM databricks.runs LOOP
			n := n + 1;
			BEGIN
				PERFORM FROM databricks.runs WHERE run_id IN (r.run_id, r.run_id - 1);
			EXCEPTION WHEN fdw_error THEN
				failures := failures + 1;
			END;
		END LOOP;
		RETURN n || ' ' || failures;
	END
	$$;
	SELECT count_failures();
	SQL
$workspace->delete('faults');
foreach my $sql ('SELECT count(*) FROM runs', 'SELECT count(run_as_user_name) FROM jobs')
{
	$workspace->post('faults',
		{ kind => 'hang', path => $sql =~ /runs/ ? '/api/2.2/jobs/runs/list' : '/api/2.2/jobs/get', count => undef });
	my $begun = time;
	$error = sql_error($node, "SET statement_timeout = '500ms'; $sql");
	is($error->{state}, '57014', "cancelled while it hangs: $sql");
	cmp_ok(time - $begun, '<', patience(2), 'at once');
	$workspace->delete('faults');
	isnt(ask($sql), 0, 'and can be asked again');
}

$workspace->post('settings', { api_versions => ['2.1'] });
is(ask('SELECT count(*) FROM runs'), 62, 'where the service has no 2.2, tables use 2.1 (case 70)');

log_lacks($node, 'no token in the log', 'dapi-standin-admin', 'dapi-standin-etl', 'dapi-standin-none');

done_testing();
