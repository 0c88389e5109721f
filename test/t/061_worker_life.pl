# 061_worker_life.pl - the life of launcher and workers: crashes, DDL, standbys.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000);
$workspace->post('plans',
	{ match => { job_id => $job }, plan => { setup_ms => 0, duration_ms => 200 } });

sub start_run { return $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })->{run_id}; }

my $node = new_node(
	'main',
	preload => 1,
	extension => 0,
	init => [ allows_streaming => 1 ],
	conf => "restart_after_crash = on\nmax_worker_processes = 8\nlog_min_messages = debug1\n");

# A value of database "postgres", which no worker is ever in.
sub value { return $node->safe_psql('postgres', $_[0]); }

sub worker_pid
{
	my ($database) = @_;
	return value(qq{SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'databricks worker' AND datname = '$database'});
}

# Start a run elsewhere and wait until the database knows its end.
sub tracks
{
	my ($server, $database, $name, $seconds) = @_;
	my $run = start_run();
	my $ok = eval {
		poll_until(
			$name,
			sub {
				my ($rc, $out) = $server->psql($database,
					"SELECT state FROM databricks.run_history WHERE run_id = $run");
				return $rc == 0 && $out eq 'TERMINATED';
			},
			$seconds);
	};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, $name);
	return;
}

# A statement that must succeed, quickly.
sub quickly
{
	my ($name, $sql) = @_;
	my $at = time;
	my ($rc, undef, $stderr) = $node->psql('postgres', $sql);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$rc $stderr", '0 ', $name);
	cmp_ok(time - $at, '<', patience(3), "$name: at once");
	return;
}

sub tracked_database
{
	my ($name) = @_;
	value("CREATE DATABASE $name");
	create_extension($node, $name);
	connect_workspace($node, $workspace, database => $name);
	$node->safe_psql($name, q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')});
	poll_until("a worker in $name", sub { worker_pid($name) });
	return;
}

# --- which databases have a worker --------------------------------------------

is(value(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'databricks launcher'}),
	'1', 'there is one launcher');
tracked_database('app');
value('CREATE DATABASE plain');
create_extension($node, 'plain');
tracks($node, 'app', 'tracking begins at the commit of track()');
is(worker_pid('plain'), '', 'no worker where nothing is tracked');

# Rolled back tracking starts nothing; what is committed is looked at in order.
connect_workspace($node, $workspace, database => 'plain');
$node->safe_psql('plain', q{BEGIN; SELECT databricks.track('prod'); ROLLBACK});
is($node->safe_psql('plain', 'SELECT count(*) FROM databricks.tracking'), '0', 'tracking can be rolled back');

# --- ends of all kinds ---------------------------------------------------------

my $pid = worker_pid('app');
my $position = log_position($node);
kill 'KILL', $pid;
poll_until('the server noticed', sub { log_since($node, $position) =~ /was terminated by signal 9/ });
tracks($node, 'app', 'after kill -9 of the worker tracking goes on within 10 s', 10);
isnt(worker_pid('app'), $pid, 'in another process');

$pid = value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks launcher'});
$position = log_position($node);
kill 'KILL', $pid;
poll_until('the server noticed', sub { log_since($node, $position) =~ /was terminated by signal 9/ });
tracks($node, 'app', 'after kill -9 of the launcher too', 10);

$pid = worker_pid('app');
value("SELECT pg_terminate_backend($pid)");
tracks($node, 'app', 'after pg_terminate_backend() of the worker', 10);
isnt(worker_pid('app'), $pid, 'in another process');

$pid = worker_pid('app');
value("SELECT pg_cancel_backend($pid)");
tracks($node, 'app', 'after pg_cancel_backend() of the worker', 10);

# What is set for the database does not decide who the worker is and what it may.
value('CREATE ROLE somebody');
$node->safe_psql('app', 'GRANT USAGE ON FOREIGN SERVER prod TO somebody');
value("ALTER DATABASE app SET $_->[0] = $_->[1]")
  foreach [ 'session_authorization', 'somebody' ], [ 'session_replication_role', 'replica' ], [ 'default_transaction_read_only', 'on' ],
  [ 'default_transaction_isolation', 'serializable' ], [ 'lock_timeout', '1' ], [ 'role', 'somebody' ];
$node->restart;
tracks($node, 'app', 'after a restart, by itself, whatever is set for the database', 10);
value('ALTER DATABASE app RESET ALL');

# --- databases: not held up ------------------------------------------------------

quickly('a tracked database is copied', 'CREATE DATABASE copy TEMPLATE app');
tracks($node, 'app', 'and tracking goes on', 10);
quickly('a tracked database is renamed', 'ALTER DATABASE app RENAME TO app2');
tracks($node, 'app2', 'and tracking goes on', 10);

# In a transaction that is rolled back, and with savepoints.
quickly('a renaming that is rolled back',
	'BEGIN; SAVEPOINT a; ALTER DATABASE app2 RENAME TO app3; ROLLBACK TO a; ALTER DATABASE app2 RENAME TO app4; ROLLBACK');
tracks($node, 'app2', 'and tracking goes on', 10);

my $space = $node->basedir . '/space';
mkdir $space or die "$space: $!";
value("CREATE TABLESPACE space LOCATION '$space'");
quickly('a tracked database is moved', 'ALTER DATABASE app2 SET TABLESPACE space');
tracks($node, 'app2', 'and tracking goes on', 10);

# A command whose plan is gone when it ends: its procedure has dropped it.
value(q{CREATE PROCEDURE forgets_itself() LANGUAGE plpgsql AS
	$$BEGIN ROLLBACK; EXECUTE 'DEALLOCATE ALL'; PERFORM repeat('x', n) FROM generate_series(1, 1000) n; END$$});
my $forgets = PostgreSQL::Test::Utils::tempdir() . '/forgets.sql';
PostgreSQL::Test::Utils::append_to_file($forgets, "CALL forgets_itself();\n");
$node->command_ok([ 'pgbench', '-n', '-M', 'prepared', '-t', 1, '-f', $forgets, 'postgres' ], 'a procedure that drops its own plan');

# A command that fails brings the worker back.
my $session = $node->background_psql('app2');
$session->query_safe('SELECT 1');
like(sql_error($node, 'DROP DATABASE app2')->{message}, qr/is being accessed by other users/,
	'the drop of a used database fails');
tracks($node, 'app2', 'and tracking goes on', 10);
$session->quit;

# Who may not do it does not stop the worker either.
value('CREATE ROLE nobody_special LOGIN; CREATE ROLE creator LOGIN CREATEDB');
$pid = worker_pid('app2');
foreach my $sql (
	'DROP DATABASE app2',
	'ALTER DATABASE app2 RENAME TO stolen',
	'ALTER DATABASE app2 SET TABLESPACE pg_default',
	'CREATE DATABASE stolen TEMPLATE app2')
{
	is(sql_error($node, "SET ROLE creator;\n$sql")->{state}, '42501', "refused: $sql");
}
is(worker_pid('app2'), $pid, 'the worker was left alone');

# While the worker waits for an answer that does not come.
$workspace->post('faults', { kind => 'hang', path => '/api/2.2/jobs/runs/list', count => undef });
poll_until('the worker waits for the service',
	sub { $node->safe_psql('app2', q{SELECT phase FROM databricks.stat_worker}) =~ /sweeping/ });
quickly('a database whose worker waits for the service is copied', 'CREATE DATABASE copy2 TEMPLATE app2');
poll_until('a worker in app2', sub { worker_pid('app2') });
quickly('and dropped', 'DROP DATABASE app2');
$workspace->delete('faults');
poll_until('no worker of it is left', sub { worker_pid('app2') eq '' });
is($node->safe_psql('plain', q{SELECT count(*) FROM databricks.stat_worker WHERE datname IS NULL}),
	'0', 'nor a trace in stat_worker');
quickly('copies are dropped', "DROP DATABASE $_") foreach qw(copy copy2);
value('DROP TABLESPACE space');

# --- the extension: dropped, made again ------------------------------------------

tracked_database('again');
tracks($node, 'again', 'a tracked database');
my $seen = $node->safe_psql('again', 'SELECT count(*) FROM databricks.run_history');
my $at = time;
$node->safe_psql('again', 'SET client_min_messages = error; DROP EXTENSION databricks CASCADE');
poll_until('no worker after DROP EXTENSION', sub { worker_pid('again') eq '' }, 30);
cmp_ok(time - $at, '<', patience(30), 'the worker leaves after DROP EXTENSION');
is($node->safe_psql('again', 'SELECT count(*) FROM databricks.run_history'),
	$seen, 'run_history stays');

create_extension($node, 'again');
connect_workspace($node, $workspace, database => 'again');
tracks($node, 'again', 'CREATE EXTENSION and connect take it up again', 30);
cmp_ok($node->safe_psql('again', 'SELECT count(*) FROM databricks.run_history'),
	'>', $seen, 'with the rows there were');

$pid = worker_pid('again');
$node->safe_psql('again', 'BEGIN; SET client_min_messages = error; DROP EXTENSION databricks CASCADE; ROLLBACK');
tracks($node, 'again', 'a drop that is rolled back changes nothing', 10);
$node->safe_psql('again', q{BEGIN; SET client_min_messages = error; DROP EXTENSION databricks CASCADE;
	CREATE EXTENSION databricks; COMMIT});
connect_workspace($node, $workspace, database => 'again');
tracks($node, 'again', 'nor do both in one transaction', 30);

# A server that is gone is told, and taken up again when it is back.
$node->safe_psql('again', 'SET client_min_messages = error; DROP SERVER prod CASCADE');
poll_until('the missing server is told', sub {
	$node->safe_psql('again', 'SELECT last_error FROM databricks.tracking') =~ /"prod" does not exist/ });
pass('a missing server is told');
connect_workspace($node, $workspace, database => 'again');
tracks($node, 'again', 'and taken up again', 30);

# --- too few worker slots ----------------------------------------------------------

$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$position = log_position($node);
$node->restart;
poll_until('the shortage is told', sub { log_since($node, $position) =~ /no background worker slot/ });
my @told = log_since($node, $position) =~ /no background worker slot/g;
is(scalar(@told), 1, 'the lack of worker slots is told once');
like(log_since($node, $position), qr/Raise max_worker_processes/, 'with what to do');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
tracks($node, 'again', 'with enough of them it works', 10);

# --- standby -------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'databricks%'}),
	'0', 'a standby has neither launcher nor worker');
$node->stop;
$standby->promote;
tracks($standby, 'again', 'on a promoted standby tracking goes on by itself', 30);
$standby->stop;

log_lacks($node, 'no token in the log', $workspace->token);

# --- not preloaded ---------------------------------------------------------------------

my $bare = new_node('bare');
connect_workspace($bare, $workspace);
my ($rc, $out, $stderr) = $bare->psql('postgres', q{SELECT databricks.track('prod')});
is($rc, 0, 'without preload tracking can be asked for');
like($stderr, qr/WARNING:  no background worker runs/, 'with a warning');
like($stderr, qr/HINT:  Add "databricks" to shared_preload_libraries/, 'that names the setting');
is($bare->safe_psql('postgres', 'SELECT count(*) FROM databricks.stat_worker'), '0', 'stat_worker is empty');
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'databricks'\n");
$bare->restart;
tracks($bare, 'postgres', 'preloaded later, tracking begins by itself', 30);
$bare->stop;

done_testing();
