# 072_chains.pl - SQL between two jobs: run once, as the role that asked for it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });
my $good = $workspace->create_job(name => 'good', max_concurrent_runs => 1000);
my $bad = $workspace->create_job(name => 'bad', max_concurrent_runs => 1000);
$workspace->post('plans', { match => { job_id => $bad }, plan => { setup_ms => 0, duration_ms => 10, result => 'FAILED' } });
my $run_now = '/api/2.2/jobs/run-now';

my $node = new_node(
	'main',
	preload => 1,
	conf => "databricks.follow_interval = 200ms\nmax_worker_processes = 16\nrestart_after_crash = on\n");
connect_workspace($node, $workspace);

sub value { return $node->safe_psql('postgres', $_[0]); }
sub as_alice { return value("SET ROLE alice; $_[0]"); }

sub wait_for_value
{
	my ($name, $query, $expected) = @_;
	my $last = '';
	my $ok = eval {
		poll_until($name, sub {
			my ($rc, $out) = $node->psql('postgres', $query);
			$last = $out;
			return $rc == 0 && $out eq $expected;
		});
	};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name) or diag("last: $last");
	return;
}

sub end_of
{
	my ($id, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for_value($name, "SELECT state FROM databricks.run_requests WHERE request_id = $id AND finished_at IS NOT NULL AND hook IS NULL", $expected);
	return value("SELECT last_error FROM databricks.run_requests WHERE request_id = $id");
}

my $token = $workspace->token;
value(qq{
	CREATE ROLE alice LOGIN;
	CREATE ROLE nologin;
	GRANT alice TO nologin;
	GRANT USAGE ON FOREIGN SERVER prod TO alice, nologin;
	CREATE USER MAPPING FOR alice SERVER prod OPTIONS (token '$token');
	CREATE USER MAPPING FOR nologin SERVER prod OPTIONS (token '$token');
	CREATE SCHEMA work AUTHORIZATION alice});
as_alice(q{
	CREATE TABLE work.log (what text, request_id bigint, run_id bigint, role text, login text);
	CREATE FUNCTION work.note(what text, request bigint, run bigint) RETURNS void LANGUAGE sql AS
		'INSERT INTO work.log VALUES (what, request, run, current_user, session_user)'});

# --- job A, SQL, job B --------------------------------------------------------------

my ($a, $b) = split /\|/, as_alice(qq{
	WITH a AS MATERIALIZED (SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''between'', \$1, \$2)', on_failure => 'SELECT work.note(''wrong'', \$1, \$2)') AS id)
	SELECT a.id, databricks.enqueue_run_now('good', depends_on => ARRAY[a.id], on_success => 'INSERT INTO work.log SELECT ''after'', \$1, \$2, (SELECT string_agg(what, '' '') FROM work.log)') FROM a});
end_of($b, 'succeeded', 'job, SQL, job, SQL');
is(value('SELECT string_agg(what, $$ $$) FROM work.log'), 'between after', 'each piece of SQL was run once, in order');
is(value("SELECT role FROM work.log WHERE what = 'after'"), 'between', 'before what depends on it');
is(value("SELECT request_id, run_id = (SELECT run_id FROM databricks.run_requests WHERE request_id = $a), role, login FROM work.log WHERE what = 'between'"),
	"$a|t|alice|alice", 'with the ids, in a session of the role');

# --- failures ---------------------------------------------------------------------------

$a = as_alice("SELECT databricks.enqueue_run_now($bad, on_success => 'SELECT work.note(''wrong'', \$1, \$2)', on_failure => 'SELECT work.note(''sorry'', \$1, \$2)')");
end_of($a, 'failed', 'after a failed run');
is(value("SELECT string_agg(what, ' ') FROM work.log WHERE request_id = $a"), 'sorry', 'on_failure is run, on_success is not');

my $mark = $workspace->mark;
($a, $b) = split /\|/, as_alice(qq{
	WITH a AS MATERIALIZED (SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''lost'', \$1, \$2); SELECT 1/0', on_failure => 'SELECT work.note(''divided'', \$1, \$2)') AS id)
	SELECT a.id, databricks.enqueue_run_now($good, depends_on => ARRAY[a.id]) FROM a});
my $error = end_of($a, 'failed', 'SQL that fails makes the request fail');
like($error, qr/on_success failed: division by zero/, 'with its error');
end_of($b, 'canceled', 'and what depends on it is not sent');
is($workspace->calls(since => $mark, path => $run_now), 1, 'no call for it');
is(value("SELECT string_agg(what, ' ') FROM work.log WHERE request_id = $a"), 'divided', 'what it did is undone, and on_failure run');

$a = as_alice("SELECT databricks.enqueue_run_now(1, on_failure => 'SELECT work.note(''rejected'', \$1, \$2)')");
end_of($a, 'rejected', 'a rejected request');
is(value("SELECT what, run_id IS NULL FROM work.log WHERE request_id = $a"), 'rejected|t', 'is followed by on_failure too');

# --- no privilege is gained ----------------------------------------------------------------

value('CREATE TABLE secret (a int)');
as_alice(q{
	CREATE TABLE work.bait (a int);
	CREATE FUNCTION work.deferred() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO work.log VALUES ('deferred', NULL, NULL, current_user, session_user); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON work.bait DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION work.deferred()});
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'INSERT INTO work.bait VALUES (1)')");
end_of($a, 'succeeded', 'deferred triggers');
is(value("SELECT role, login FROM work.log WHERE what = 'deferred'"), 'alice|alice', 'fire as the role');
foreach my $sql ('SET ROLE postgres; INSERT INTO secret VALUES (1)', 'RESET SESSION AUTHORIZATION; INSERT INTO secret VALUES (1)',
	'SET SESSION AUTHORIZATION postgres', 'RESET ROLE; INSERT INTO secret VALUES (1)', "DO 'BEGIN COMMIT; INSERT INTO public.secret VALUES (1); END'",
	"UPDATE databricks.run_requests SET requested_by = 'postgres'",
	"CREATE OR REPLACE FUNCTION databricks.run_worker_once() RETURNS void LANGUAGE sql AS ''",
	'SET SESSION AUTHORIZATION DEFAULT; INSERT INTO secret VALUES (1)', 'ALTER ROLE alice SUPERUSER',
	"DO 'BEGIN PERFORM set_config(''role'', ''postgres'', false); INSERT INTO public.secret VALUES (1); END'",
	"CREATE OR REPLACE FUNCTION work.deferred() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.secret VALUES (1); RETURN NULL; END'; INSERT INTO work.bait VALUES (2)",
	"CREATE FUNCTION databricks.now() RETURNS timestamptz LANGUAGE sql AS ''", "INSERT INTO databricks.run_request_cancels VALUES (1, 'x')",
	"CREATE TRIGGER t AFTER UPDATE ON databricks.run_requests EXECUTE FUNCTION work.deferred()")
{
	(my $quoted = $sql) =~ s/'/''/g;
	$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => '$quoted')");
	$error = end_of($a, 'failed', "no way: $sql");
	like($error, qr/permission denied|cannot be run|transaction|must be (?:owner|superuser)/, 'for lack of rights');
}
is(value('SELECT count(*) FROM secret'), '0', 'nothing got through');

# What runs at the commit, or was set for the role, is still only the role's.
as_alice('ALTER ROLE alice SET search_path = work; ALTER ROLE alice SET default_transaction_isolation = serializable');
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'DECLARE c CURSOR WITH HOLD FOR SELECT note(''held'', \$1, \$2)')");
end_of($a, 'succeeded', 'a cursor that is filled at the commit');
is(value("SELECT role, login FROM work.log WHERE what = 'held'"), 'alice|alice', 'is filled as the role, with its settings');
as_alice('ALTER ROLE alice SET default_transaction_read_only = on');
$a = as_alice("BEGIN READ WRITE; SELECT databricks.enqueue_run_now($good, on_success => 'SELECT 1'); COMMIT");
end_of($a, 'succeeded', 'a role whose transactions only read');
$a = as_alice("BEGIN READ WRITE; SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''read'', \$1, \$2)'); COMMIT");
like(end_of($a, 'failed', 'has SQL that only reads'), qr/in a read-only transaction/, 'and cannot write');
value('ALTER ROLE alice RESET ALL');
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'SELECT databricks.run_now($good)')");
like(end_of($a, 'failed', 'no calls of the service in it'), qr/cannot call a workspace/, 'with the reason');
my $of_nologin = "SET ROLE nologin; SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''nologin'', \$1, \$2)')";
if ($node->pg_version < 17)
{
	is(sql_error($node, $of_nologin)->{state}, '55000', 'a role that cannot log in is refused before version 17');
}
else
{
	end_of(value($of_nologin), 'succeeded', 'the SQL of a role that cannot log in is run from version 17 on');
	is(value("SELECT role FROM work.log WHERE what = 'nologin'"), 'nologin', '... in a process of that role');
}

# --- SQL that could never be run ------------------------------------------------------------------

foreach my $sql ('selec 1', 'SELECT 1; SELECT (2', '$')
{
	$error = sql_error($node, "SET ROLE alice; SELECT databricks.enqueue_run_now($good, on_success => '$sql')");
	is($error->{state}, '42601', "refused when it is asked for: $sql");
}
foreach my $sql ('COMMIT', 'SELECT 1; ROLLBACK', 'COPY work.log FROM STDIN', 'COPY work.log TO STDOUT')
{
	$error = sql_error($node, "SET ROLE alice; SELECT databricks.enqueue_run_now($good, on_failure => '$sql')");
	is($error->{state}, '0A000', "refused when it is asked for: $sql");
}
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => '-- nothing')");
end_of($a, 'succeeded', 'SQL of nothing at all');

# --- others in the way ---------------------------------------------------------------------------

# The SQL and a session wait for each other; the session is the more patient one.
my $session = $node->background_psql('postgres');
$session->query_safe(q{SET deadlock_timeout = '1 min'; CREATE TABLE work.x (); CREATE TABLE work.y (); GRANT ALL ON work.x, work.y TO alice});
$session->query_safe('BEGIN; LOCK work.x');
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'LOCK work.y; LOCK work.x; SELECT work.note(''deadlock'', \$1, \$2)')");
poll_until('the SQL waits', sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'databricks request' AND wait_event_type = 'Lock'}) eq '1' });
$session->query_safe('LOCK work.y');
$session->query_safe('COMMIT');
end_of($a, 'succeeded', 'SQL that is the victim of a deadlock is run again');
is(value(q{SELECT count(*) FROM work.log WHERE what = 'deadlock'}), '1', 'and takes effect once');

# One role's slow SQL.
value(qq{
	CREATE ROLE bob LOGIN;
	GRANT USAGE ON FOREIGN SERVER prod TO bob;
	CREATE USER MAPPING FOR bob SERVER prod OPTIONS (token '$token')});
$session->query_safe('BEGIN; LOCK work.x');
as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'LOCK work.x') FROM generate_series(1, 4)");
my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'databricks request' AND wait_event_type = 'Lock'};
poll_until('slow SQL runs', sub { value($waiting) eq '2' });
end_of(value("SET ROLE bob; SELECT databricks.enqueue_run_now($good, on_success => 'SELECT 1')"), 'succeeded', 'the slow SQL of one role leaves room for that of others');
is(value($waiting), '2', 'while it goes on');
$session->query_safe('COMMIT');
$session->quit;
wait_for_value('and ends', q{SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL OR hook IS NOT NULL}, '0');

# --- exactly once, whatever dies ---------------------------------------------------------------

$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''once'', \$1, \$2); SELECT pg_sleep(1)')");
poll_until('its SQL runs', sub { value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'databricks request' AND query LIKE '%once%'") eq '1' });
kill 'KILL', value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks request'");
poll_until('the server is up again', sub { my ($rc) = $node->psql('postgres', 'SELECT 1', stderr => \my $err); $rc == 0 });
end_of($a, 'succeeded', 'after kill -9 it is run again');
is(value("SELECT count(*) FROM work.log WHERE what = 'once'"), '1', 'and takes effect once');

$node->append_conf('postgresql.conf', "databricks.hook_timeout = 300ms\n");
$node->reload;
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'SELECT pg_sleep(60)')");
like(end_of($a, 'failed', 'SQL that takes too long'), qr/timeout/, 'is interrupted');

# --- too few slots ---------------------------------------------------------------------------------

$node->append_conf('postgresql.conf', "max_worker_processes = 2\ndatabricks.hook_timeout = 1min\n");
$node->append_conf('postgresql.conf', "max_logical_replication_workers = 0\n");
$node->restart;
$a = as_alice("SELECT databricks.enqueue_run_now($good, on_success => 'SELECT work.note(''slots'', \$1, \$2)')");
wait_for_value('without a free slot it waits', "SELECT state, hook FROM databricks.run_requests WHERE request_id = $a", 'running|on_success');
$node->append_conf('postgresql.conf', "max_worker_processes = 16\n");
$node->restart;
end_of($a, 'succeeded', 'and is run when there is one');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
