# 073_change_trigger.pl - run_job_on_change: writing a table asks for a run.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 20, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(
	name => 'load',
	max_concurrent_runs => 1000,
	parameters => [ map { { name => $_, default => '' } } qw(n rows) ]);
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node('main', preload => 1, conf => "databricks.follow_interval = 200ms\nmax_worker_processes = 16\n");
connect_workspace($node, $workspace);

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

# What was asked for since the last call, as text, and nothing of it left over.
sub asked
{
	return value(q{WITH gone AS (UPDATE databricks.run_requests SET application_name = 'seen'
		WHERE application_name IS DISTINCT FROM 'seen' RETURNING *)
		SELECT coalesce(string_agg(requested_by || ' ' || job_name || ' ' || coalesce(body->>'job_parameters', '-'), '; ' ORDER BY request_id), 'nothing') FROM gone});
}

my $token = $workspace->token;
value(qq{
	CREATE ROLE owner LOGIN; CREATE ROLE writer LOGIN;
	GRANT USAGE ON FOREIGN SERVER prod TO owner;
	CREATE USER MAPPING FOR owner SERVER prod OPTIONS (token '$token');
	CREATE SCHEMA work AUTHORIZATION owner;
	GRANT USAGE ON SCHEMA work TO writer;
	SET ROLE owner;
	CREATE TABLE work.plain (n int);
	CREATE TABLE work.moved (n int);
	CREATE TABLE work.each (n int);
	GRANT ALL ON work.plain, work.moved, work.each TO writer;
	CREATE TRIGGER run AFTER INSERT OR UPDATE OR DELETE ON work.plain
		FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('load');
	CREATE TRIGGER run AFTER INSERT ON work.moved REFERENCING NEW TABLE AS fresh
		FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('load', 'prod', 'jsonb_build_object(''rows'', (SELECT count(*) FROM fresh)) -- of all');
	CREATE TRIGGER run AFTER INSERT OR UPDATE OR DELETE ON work.each
		FOR EACH ROW EXECUTE FUNCTION databricks.run_job_on_change('load', '', 'jsonb_build_object(''n'', coalesce((\$1).n, -(\$2).n))')});

# --- what is asked for, and by whom -------------------------------------------------------

value('SET ROLE writer; INSERT INTO work.plain VALUES (1)');
is(asked(), 'owner load -', 'a statement that writes asks for a run, as the owner of the table');
is(value('SELECT session_user_name = session_user FROM databricks.run_requests LIMIT 1'), 't', 'who logged in is recorded');
wait_for_value('and there is one', q{SELECT count(*) FROM databricks.run_requests WHERE state = 'succeeded'}, '1');
value('SET ROLE writer; INSERT INTO work.plain SELECT WHERE false');
is(asked(), 'owner load -', 'without a transition table a statement counts, whatever it changed');
value('SET ROLE writer; INSERT INTO work.moved SELECT WHERE false');
is(asked(), 'nothing', 'with one only what changed something');
value('SET ROLE writer; INSERT INTO work.moved SELECT generate_series(1, 3)');
is(asked(), 'owner load {"rows": "3"}', 'which the expression can read');
value('SET ROLE writer; INSERT INTO work.each VALUES (1), (2), (1); UPDATE work.each SET n = 7 WHERE n = 2; DELETE FROM work.each WHERE n = 7');
is(asked(), 'owner load {"n": "1"}; owner load {"n": "2"}; owner load {"n": "7"}; owner load {"n": "-7"}', 'a row trigger asks for each row, new or old');

# What the writer has of the same name does not decide what the job is told.
value(q{
	CREATE SCHEMA evil AUTHORIZATION writer;
	SET ROLE writer;
	CREATE FUNCTION evil.jsonb_build_object(text, int) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"n": "forged"}'::jsonb $$;
	CREATE FUNCTION evil.forge(int, int) RETURNS int LANGUAGE sql AS 'SELECT 666';
	CREATE OPERATOR evil.- (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.forge);
	SET search_path = evil, pg_catalog;
	INSERT INTO work.each VALUES (5)});
is(asked(), 'owner load {"n": "5"}', 'names in the expression are the owner\'s, not the writer\'s');

# --- transactions --------------------------------------------------------------------------

value('SET ROLE writer; BEGIN; INSERT INTO work.plain VALUES (1); INSERT INTO work.plain VALUES (2); COMMIT');
is(asked(), 'owner load -', 'identical requests of one transaction are one');
value('SET ROLE writer; BEGIN; INSERT INTO work.plain VALUES (1); ROLLBACK');
is(asked(), 'nothing', 'rolled back: none');
value('SET ROLE writer; BEGIN; SAVEPOINT a; INSERT INTO work.plain VALUES (1); ROLLBACK TO a; INSERT INTO work.plain VALUES (2); COMMIT');
is(asked(), 'owner load -', 'what a savepoint has taken away is asked for again');

# Two writers do not wait for each other.
my $one = $node->background_psql('postgres');
$one->query_safe('SET ROLE writer; BEGIN; INSERT INTO work.plain VALUES (1)');
value(q{SET ROLE writer; SET lock_timeout = '2s'; INSERT INTO work.plain VALUES (1)});
is(asked(), 'owner load -', 'a second writer does not wait');
$one->query_safe('COMMIT');
$one->quit;
is(asked(), 'owner load -', 'each of two transactions asks');

# Nor for the network: the worker is sending, and gets no answer.
$workspace->post('faults', { kind => 'hang', path => $run_now, count => undef });
my $hung = value(qq{SELECT databricks.enqueue_run_now($job, request_key => 'hung')});
asked();
wait_for_value('the worker waits for an answer', "SELECT state FROM databricks.run_requests WHERE request_id = $hung", 'sending');
value(q{SET ROLE writer; SET statement_timeout = '2s'; INSERT INTO work.plain VALUES (1)});
is(asked(), 'owner load -', 'a writer does not wait for the network');
$workspace->delete('faults');

# --- faults never stop the writer --------------------------------------------------------------

my $number = 0;
foreach my $case (
	[ "'load', 'prod', 'to_jsonb(1/0)'", 'division by zero' ],
	[ "'load', 'prod', '1, 2'", '' ],
	[ "'load', 'prod', '{}', 'soon'", '' ],
	[ "'load', 'prod', '''[1]''::jsonb'", 'invalid "job_parameters"' ],
	[ "'load', 'prod', 'jsonb_build_object(''n'', (SELECT count(*) FROM work.hidden))'", 'permission denied' ],
	[ q{''}, 'takes a job' ])
{
	my ($arguments, $message) = @$case;
	$number++;
	value("SET ROLE owner; CREATE TABLE IF NOT EXISTS work.hidden (n int); CREATE TABLE work.bad$number (n int); GRANT INSERT ON work.bad$number TO writer;
		CREATE TRIGGER run AFTER INSERT ON work.bad$number EXECUTE FUNCTION databricks.run_job_on_change($arguments)");
	my ($rc, $out, $stderr) = $node->psql('postgres', "SET ROLE writer; INSERT INTO work.bad$number VALUES (1)");
	is($rc, 0, "a fault does not stop the writer: $arguments");
	like($stderr, qr/WARNING:  no run was asked for by trigger "run".*\Q$message\E/, 'there is a warning');
	is(value("SELECT count(*) FROM work.bad$number"), '1', 'the row is written');
	is(value(q{SELECT state || ' ' || requested_by || ' ' || (last_error <> '') || ' ' || (finished_at IS NOT NULL) FROM databricks.run_requests ORDER BY request_id DESC LIMIT 1}),
		'rejected owner true true', 'and a rejected request');
}
asked();
value('SET ROLE owner; CREATE TABLE work.elsewhere (n int); GRANT INSERT ON work.elsewhere TO writer;
	CREATE TRIGGER run AFTER INSERT ON work.elsewhere EXECUTE FUNCTION databricks.run_job_on_change($$load$$, $$no_such$$);
	SET ROLE writer; INSERT INTO work.elsewhere VALUES (1)');
wait_for_value('rights and names are looked at when it is sent', q{SELECT state FROM databricks.run_requests WHERE workspace = 'no_such'}, 'rejected');
is(sql_error($node, 'SET ROLE writer; SELECT databricks.run_job_on_change()')->{state}, '39P01', 'it is no function to call');
asked();

# --- debounce -------------------------------------------------------------------------------------

value(q{SET ROLE owner; CREATE TABLE work.busy (n int);
	CREATE TRIGGER run AFTER INSERT ON work.busy FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('load', 'prod', '', '2 seconds')});
my $mark = $workspace->mark;
value('INSERT INTO work.busy VALUES (1);' x 10);    # transactions of one session, which is quick
is($workspace->calls(since => $mark, path => $run_now), 0, 'with debounce nothing is sent at once');
wait_for_value('changes of several transactions become one run',
	q{SELECT string_agg(DISTINCT state, ' ' ORDER BY state), count(*) FILTER (WHERE state = 'succeeded') FROM databricks.run_requests WHERE debounce IS NOT NULL}, 'skipped succeeded|1');
is($workspace->calls(since => $mark, path => $run_now), 1, 'and one call');

# --- cost -------------------------------------------------------------------------------------------

my $cost = value(q{
	CREATE TABLE bare (n int);
	CREATE TABLE costly (n int);
	CREATE TRIGGER run AFTER INSERT ON costly FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('load', 'prod');
	CREATE TABLE measured (what text, seconds float8);
	DO $$
	DECLARE t timestamptz := clock_timestamp();
	BEGIN
		FOR i IN 1..200 LOOP INSERT INTO bare VALUES (1); COMMIT; END LOOP;
		INSERT INTO measured SELECT 'bare', extract(epoch FROM clock_timestamp() - t);
		t := clock_timestamp();
		FOR i IN 1..200 LOOP INSERT INTO costly VALUES (1); COMMIT; END LOOP;
		INSERT INTO measured SELECT 'costly', extract(epoch FROM clock_timestamp() - t);
	END $$;
	SELECT round((1000 * (max(seconds) FILTER (WHERE what = 'costly') - max(seconds) FILTER (WHERE what = 'bare')) / 200)::numeric, 3) FROM measured});
note("cost of the trigger: $cost ms a statement and commit");
cmp_ok($cost, '<', 10, 'the trigger costs little');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
