# 020_waiting.pl - the one way to wait: interrupts act at once, nothing leaks,
# nobody else is held up. Acceptance cases 13 (read timeout), 51.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "max_files_per_process = 90\n");
connect_workspace($node, $workspace);
$node->safe_psql('postgres', 'CREATE DATABASE other');

# Every request from here on stays without an answer.
$workspace->post('faults',
	{ path => '/api/2.2/jobs/*', kind => 'hang', count => undef });

sub hanging_session
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $before = $workspace->calls(path => '/api/2.2/jobs/*');

	$session->query_until(qr/started/, "\\echo started\n$sql;\n");
	poll_until('the request is under way',
		sub { $workspace->calls(path => '/api/2.2/jobs/*') > $before });
	return ($session, $pid);
}

# Seconds until a backend does what it should after something was done to it.
sub seconds_until
{
	my ($what, $act, $condition) = @_;
	my $begun = time;
	$act->();
	poll_until($what, $condition);
	return time - $begun;
}

my $is_idle = "SELECT state LIKE 'idle%' FROM pg_stat_activity WHERE pid = ";

foreach my $case (
	[ 'a function', 'SELECT databricks.get_job(1)' ],
	[ 'a foreign table', 'SELECT * FROM databricks.jobs' ],
	[ 'a wait', 'SELECT databricks.wait_for_run(1)' ])
{
	my ($name, $sql) = @$case;
	my ($session, $pid) = hanging_session($sql);
	my $seconds = seconds_until(
		"$name is cancelled",
		sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") },
		sub { $node->safe_psql('postgres', $is_idle . $pid) eq 't' });

	cmp_ok($seconds, '<', patience(1), "pg_cancel_backend ends $name at once");
	$session->quit;

	($session, $pid) = hanging_session($sql);
	$seconds = seconds_until(
		"$name is terminated",
		sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") },
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0;
		});
	cmp_ok($seconds, '<', patience(1), "pg_terminate_backend ends $name at once");
	eval { $session->quit };

	my $begun = time;
	my $error =
	  sql_error($node, "SET statement_timeout = '300ms';\n$sql;");
	cmp_ok(time - $begun, '<', patience(1.5), "statement_timeout ends $name in time");
	is($error->{state}, '57014', "... as a cancelled query");
}

# Whoever ends a change has to know that it may come about all the same.
foreach my $case (
	[ q{SELECT databricks.create_job('{"name": "x", "tasks": []}')},
		qr{^CONTEXT:  POST /api/2\.2/jobs/create, which workspace "prod" may have carried out$}m ],
	[ q{SELECT databricks.run_now(1, idempotency_token => 'mine')},
		qr{^CONTEXT:  POST /api/2\.2/jobs/run-now, which .* carried out \(idempotency_token => 'mine'\)$}m ],
	[ q{SELECT databricks.api_many('[{"method": "GET", "path": "/api/2.2/jobs/get"},
			{"method": "POST", "path": "/api/2.2/jobs/update", "body": {}}]')},
		qr{^CONTEXT:  POST /api/2\.2/jobs/update, which .* carried out$}m ],
	[ 'SELECT databricks.get_job(1)', undef ])
{
	my ($sql, $context) = @$case;
	my $session = finish_sql(start_sql($node, "SET statement_timeout = '300ms'", $sql));

	is($session->{state}, '57014', "cancelled: $sql");
	$context
	  ? like($session->{err}, $context, '... with what may have been done')
	  : unlike($session->{err}, qr/carried out/, '... with nothing to tell, as it only asks');
}

# A request that waits in one database must not hold up DROP DATABASE of another:
# that needs an answer from every backend.
{
	my ($session, $pid) = hanging_session('SELECT databricks.get_job(1)');
	my $begun = time;

	$node->safe_psql('postgres', 'DROP DATABASE other');
	cmp_ok(time - $begun, '<', patience(1), 'DROP DATABASE of another one is not held up');
	is( $node->safe_psql('postgres',
			"SELECT state FROM pg_stat_activity WHERE pid = $pid"),
		'active',
		'... and the request still waits');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	eval { $session->quit };
}

# The service answers too late.
{
	$node->safe_psql('postgres',
		"ALTER SERVER prod OPTIONS (ADD request_timeout '300ms', ADD retry_timeout '0')");
	my $error = sql_error($node, 'SELECT databricks.get_job(1)');
	is($error->{state}, 'HV00N', 'an answer that does not come is a failed connection');
	like($error->{message}, qr/no answer within request_timeout/, '... that says so');
	$node->safe_psql('postgres',
		"ALTER SERVER prod OPTIONS (DROP request_timeout, DROP retry_timeout)");
}

# A host that swallows connections: libcurl 7.88 closes such sockets without telling.
# Their numbers go to others, the resolver's for one, and their share of descriptors,
# of which there are some twenty here, must come back.
{
	my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!";
	my @queued = map {
		IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0)
	} 1 .. 8;
	my %hosts = (hole => 'http://127.0.0.1:' . $full->sockport, nowhere => 'https://no-such-host.invalid');

	$node->safe_psql('postgres',
		"CREATE SERVER $_ FOREIGN DATA WRAPPER databricks OPTIONS (host '$hosts{$_}', connect_timeout '50ms', retry_timeout '0');
		 CREATE USER MAPPING FOR CURRENT_USER SERVER $_ OPTIONS (token 'x')") foreach sort keys %hosts;
	my (undef, $found, $said) = $node->psql('postgres',
		join('', map { "SELECT databricks.api('POST', '/api/2.0/x', '{}', workspace => '$_');\n" } ('hole', 'nowhere') x 30)
		  . "SELECT 'reached' FROM databricks.api('GET', '/api/2.0/preview/scim/v2/Me');\n",
		on_error_stop => 0);
	is(scalar(() = $said =~ /ERROR:  could not reach workspace "(?:hole|nowhere)"/g), 60, 'no connection comes about') or diag($said);
	is($found, 'reached', '... which costs others nothing');
}

# Cancelled calls leave nothing behind: neither descriptors nor memory.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $descriptors = sub {
		opendir(my $dir, "/proc/$pid/fd") or die "/proc/$pid/fd: $!";
		my $count = grep { !/^\./ } readdir($dir);
		closedir($dir);
		return $count;
	};
	my $resident = sub {
		open(my $file, '<', "/proc/$pid/statm") or die "/proc/$pid/statm: $!";
		my (undef, $pages) = split ' ', <$file>;
		close($file);
		return $pages * 4;
	};
	my $cancelled = sub {
		my ($times) = @_;
		for (1 .. $times)
		{
			$session->query(
				"SET statement_timeout = '5ms'; SELECT databricks.get_job(1)");
		}
		$session->{stderr} = '';
		return;
	};

	$cancelled->(50);
	my ($fds, $kb) = ($descriptors->(), $resident->());
	my $calls = $workspace->calls(path => '/api/2.2/jobs/*');
	$cancelled->(500);
	cmp_ok($workspace->calls(path => '/api/2.2/jobs/*') - $calls,
		'>=', 400, '500 calls were cancelled under way');
	cmp_ok($descriptors->(), '<=', $fds, '... and left no descriptor open');
	SKIP:
	{
		skip 'figures of an instrumented server', 1 if instrumented();
		cmp_ok($resident->() - $kb, '<', 2048, '... nor memory');
	}
	eval { $session->quit };
}

done_testing();
