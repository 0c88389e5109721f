# Databricks/Test.pm - what the TAP tests share.
#
# A stand-in workspace as an object, servers with the extension in them, polling,
# and the search for secrets in what a server wrote. PostgreSQL's own test
# modules do the rest. Objects stop what they started when the test ends.
#
#   my $workspace = Databricks::Test::Workspace->start;
#   my $node = new_node('main', preload => 1);
#   connect_workspace($node, $workspace);
#   my @calls = $workspace->journal;

package Databricks::Test;

use strict;
use warnings;

use Carp;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  connect_workspace
  create_extension
  finish_sql
  instrumented
  json
  log_position
  log_since
  log_lacks
  new_node
  patience
  poll_until
  source_tree
  sql_error
  start_sql
);

# An interrupted test must still come to its END blocks, which stop servers.
$SIG{$_} = sub { die "interrupted\n" }
  foreach qw(INT TERM HUP);

# A background session has its time for each query, not for its whole life, as on a
# busy machine a long test outlives that. Nor does it note each query with all that
# it ever wrote, as it would from PostgreSQL 16 on; its callers say what matters.
{
	no warnings 'redefine', 'once';
	my $background_psql = \&PostgreSQL::Test::Cluster::background_psql;
	*PostgreSQL::Test::Cluster::background_psql = sub {
		my $session = $background_psql->(@_);
		$session->set_query_timer_restart();
		return $session;
	};
	*PostgreSQL::Test::BackgroundPsql::note = sub { };
}

# Does the server run with sanitizers or under valgrind?  Then it takes memory and
# time that say nothing of the extension.
sub instrumented
{
	return $ENV{DATABRICKS_TEST_INSTRUMENTED} ? 1 : 0;
}

# How long something may take that should take at most this many seconds.
sub patience
{
	my ($seconds) = @_;
	return $seconds * (instrumented() ? 5 : 1);
}

# The top of the source tree.
sub source_tree
{
	return abs_path(dirname(__FILE__) . '/../../..');
}

# Ids are 64 bits wide, as are Perl's integers; larger numbers stay exact too.
my $json = JSON::PP->new->utf8->canonical->allow_nonref->allow_bignum;

# A JSON text of Perl data, or Perl data of a JSON text when given a string.
sub json
{
	my ($value) = @_;
	return ref $value ? $json->encode($value) : $json->decode($value);
}

# Repeat a piece of code until it returns something true, which is returned.
# Croaks after the timeout of PostgreSQL's tests (or that given, in seconds).
sub poll_until
{
	my ($what, $code, $timeout) = @_;
	my $end = time + patience($timeout || $PostgreSQL::Test::Utils::timeout_default);

	while (1)
	{
		my $result = $code->();
		return $result if $result;
		croak "timed out waiting until $what" if time > $end;
		usleep(50_000);
	}
}

# A running server.
#   preload => 1     with shared_preload_libraries = 'databricks'
#   cron => 1        with pg_cron as well, in background workers, its tables in
#                    database postgres
#   extension => 0   without CREATE EXTENSION in database postgres
#   start => 0       not started (so without extension)
#   conf => '...'    more lines for postgresql.conf
#   init => [...]    more arguments for the node's init method
# The log has everything that a leak could show in, except the statements.
sub new_node
{
	my ($name, %arg) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my @libraries;

	push @libraries, 'pg_cron' if $arg{cron};
	push @libraries, 'databricks' if $arg{preload};

	$node->init(
		extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ],
		@{ $arg{init} || [] });
	$node->append_conf('postgresql.conf', <<~CONF);
		shared_preload_libraries = '@{[ join(',', @libraries) ]}'
		log_statement = none
		log_min_duration_statement = -1
		CONF
	$node->append_conf('postgresql.conf', <<~CONF) if $arg{cron};
		cron.use_background_workers = on
		cron.database_name = 'postgres'
		max_worker_processes = 20
		CONF
	$node->append_conf('postgresql.conf', $arg{conf}) if defined $arg{conf};
	return $node if defined $arg{start} && !$arg{start};

	$node->start;
	create_extension($node)
	  unless defined $arg{extension} && !$arg{extension};
	return $node;
}

sub create_extension
{
	my ($node, $database) = @_;
	$node->safe_psql($database || 'postgres', 'CREATE EXTENSION databricks');
	return;
}

# databricks.connect() to the stand-in. Returns the row of check_connection as a
# hash; fails the test if the connection is not good.
#   name => 'prod', database => 'postgres', token => the stand-in's own
#   args => "schema => 'x'"   more arguments, as SQL
#   rate_limit => '1'         factor on the published limits, undef: as it is; '0'
#                             unless given, as most tests are about something else
sub connect_workspace
{
	my ($node, $workspace, %arg) = @_;
	my $name = $arg{name} || 'prod';
	my $token = defined $arg{token} ? $arg{token} : $workspace->token;
	my $more = defined $arg{args} ? ", $arg{args}" : '';
	my $row = $node->safe_psql(
		$arg{database} || 'postgres',
		sprintf(
			q{SELECT row_to_json(c) FROM databricks.connect(%s, host => %s, token => %s%s) AS c},
			(map { quote_literal($_) } $name, $workspace->url, $token), $more));

	limit_rate($node, $name, %arg)
	  if !exists $arg{rate_limit} || defined $arg{rate_limit};

	$row = json($row);
	croak "could not connect to the stand-in: $row->{message}" unless $row->{ok};
	return $row;
}

sub limit_rate
{
	my ($node, $name, %arg) = @_;
	my $database = $arg{database} || 'postgres';
	my $verb = $node->safe_psql($database,
		sprintf(
			q{SELECT CASE WHEN EXISTS (SELECT FROM pg_options_to_table(srvoptions) WHERE option_name = 'rate_limit')
					 THEN 'SET' ELSE 'ADD' END
			  FROM pg_foreign_server WHERE srvname = %s},
			quote_literal($name)));

	$node->safe_psql($database,
		sprintf('ALTER SERVER "%s" OPTIONS (%s rate_limit %s)',
			$name, $verb, quote_literal($arg{rate_limit} || '0')));
	return;
}

sub quote_literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Run SQL that must fail; returns the error as a hash of state, message, detail,
# hint (missing ones empty). Fails the test when it succeeds.
sub sql_error
{
	my ($node, $sql, %arg) = @_;
	my $stderr = '';
	my %error = map { $_ => '' } qw(state message detail hint);
	my $rc = $node->psql(
		$arg{database} || 'postgres',
		"\\set VERBOSITY verbose\n$sql",
		stderr => \$stderr,
		on_error_stop => 1,
		extra_params => $arg{extra_params} || []);

	if ($rc == 0)
	{
		fail("expected an error from: $sql");
		return \%error;
	}
	@error{qw(state message)} = ($1, $2)
	  if $stderr =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)/;
	$error{detail} = $1 if $stderr =~ /^DETAIL:  (.*)/m;
	$error{hint} = $1 if $stderr =~ /^HINT:  (.*)/m;
	return \%error;
}

# Run statements, each by itself, in a session that goes on beside the test.
sub start_sql
{
	my ($node, @statements) = @_;
	my $session = { out => '', err => '' };

	# not by standard input: that would be written only while it is waited for
	$session->{run} = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
			map { ('-c', $_) } '\timing on', @statements ],
		'>', \$session->{out}, '2>', \$session->{err});
	return $session;
}

# Wait for its end: out, err, seconds of all statements, and of the error state,
# message, detail, hint (missing ones empty).
sub finish_sql
{
	my ($session) = @_;

	$session->{run}->finish;
	$session->{seconds} = 0;
	$session->{seconds} += $1 / 1000
	  while $session->{out} =~ s/^Time: ([\d.]+) ms.*\n//m;
	chomp $session->{out};
	@$session{qw(state message)} =
	  $session->{err} =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)/;
	($session->{detail}) = $session->{err} =~ /^DETAIL:  (.*)/m;
	($session->{hint}) = $session->{err} =~ /^HINT:  (.*)/m;
	$session->{$_} = ''
	  foreach grep { !defined $session->{$_} } qw(state message detail hint);
	return $session;
}

# Where the server's log ends now.
sub log_position
{
	my ($node) = @_;
	return -s $node->logfile || 0;
}

# The server's log from a position on (default: all of it).
sub log_since
{
	my ($node, $position) = @_;
	my $log = slurp_file($node->logfile);
	return substr($log, $position || 0);
}

# A test: none of these texts stands anywhere in the server's log. Empty ones
# and a log with nothing in it would make it a test that cannot fail.
sub log_lacks
{
	my ($node, $name, @texts) = @_;
	my $log = log_since($node);
	my @found;

	foreach my $text (@texts)
	{
		croak 'nothing to look for' unless defined $text && length $text;
		push @found, $text if index($log, $text) >= 0;
	}
	croak 'nothing to look for' unless @texts;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(length($log) > 0 && !@found, $name);
	foreach my $text (@found)
	{
		my ($line) = $log =~ /^(.*\Q$text\E.*)$/m;
		diag("in the log: $line") if defined $line;
	}
	return;
}

package Databricks::Test::Workspace;

use strict;
use warnings;

use Carp;
use HTTP::Tiny;
use IPC::Open3;
use Math::BigInt;
use Scalar::Util qw(weaken);
use Symbol qw(gensym);

my $count = 0;
my @running;

# This module's own identity, so that its calls can be told from the extension's.
my $harness_token = 'dapi-standin-harness';
my $harness_user = 'harness@example.com';

# Start a stand-in workspace on a free loopback port.
#   args => [...]         more arguments for the program
#   tls => [$crt, $key]   over TLS, with these files
sub start
{
	my ($class, %arg) = @_;
	my $self = bless {}, $class;
	my $python = $ENV{DATABRICKS_TEST_PYTHON} || 'python3';
	my $program = Databricks::Test::source_tree() . '/test/workspace/server.py';
	my $test = File::Basename::basename($0, '.pl');

	$count++;
	$self->{log} =
	  "$PostgreSQL::Test::Utils::log_path/${test}_workspace_$count.log";

	# The program ends when its standard input does, so it cannot outlive us.
	open(my $log, '>', $self->{log}) or croak "$self->{log}: $!";
	my $out = gensym;
	$self->{pid} = open3($self->{stdin}, $out, '>&' . fileno($log),
		$python, $program, '--port', '0', '--exit-with-stdin',
		'--token',
		Databricks::Test::json(
			{   token => $harness_token,
				user => $harness_user,
				admin => JSON::PP::true
			}),
		($arg{tls} ? ('--tls', @{ $arg{tls} }) : ()),
		@{ $arg{args} || [] });
	close($log);

	while (defined(my $line = <$out>))
	{
		if ($line =~ /listening on (127\.0\.0\.1:(\d+))/)
		{
			@$self{qw(url port)} =
			  (($arg{tls} ? 'https' : 'http') . "://$1", $2);
			last;
		}
	}
	croak "the stand-in workspace did not start, see $self->{log}"
	  unless $self->{port};

	# What it prints later must not fill the pipe.
	$self->{stdout} = $out;

	# The harness knows whom it talks to: certificates are for the extension.
	$self->{http} = HTTP::Tiny->new(timeout => 60, verify_SSL => 0);
	push @running, $self;
	weaken($running[-1]);
	return $self;
}

sub url { return $_[0]->{url}; }
sub port { return $_[0]->{port}; }

# The token of the stand-in's administrator.
sub token { return 'dapi-standin-admin'; }

# Call a control endpoint, as test/workspace/README.md lists them: GET with a
# query, POST with a body. Returns the answer as Perl data; croaks when it is not
# a success.
sub get
{
	my ($self, $name, %query) = @_;
	return $self->request('GET', "/__control/$name", \%query);
}

sub post
{
	my ($self, $name, $body) = @_;
	return $self->request('POST', "/__control/$name", undef, $body || {});
}

sub delete
{
	my ($self, $name, %query) = @_;
	return $self->request('DELETE', "/__control/$name", \%query);
}

# Call the workspace's own API beside the extension: to prepare what a test needs
# and to see what the extension did. Croaks when the answer is not a success.
sub api
{
	my ($self, $method, $path, $body) = @_;
	return $method eq 'GET'
	  ? $self->request($method, $path, $body)
	  : $self->request($method, $path, undef, $body || {});
}

sub request
{
	my ($self, $method, $path, $query, $body) = @_;
	my %options = (headers => { Authorization => "Bearer $harness_token" });
	my $url = $self->{url} . $path;

	if ($query && %$query)
	{
		$url .= '?' . $self->{http}->www_form_urlencode($query);
	}
	if (defined $body)
	{
		$options{content} = Databricks::Test::json(number_ids($body));
		$options{headers}->{'Content-Type'} = 'application/json';
	}

	my $response = $self->{http}->request($method, $url, \%options);
	croak "$method $path: $response->{status} $response->{content}"
	  unless $response->{success};
	return length $response->{content}
	  ? Databricks::Test::json($response->{content})
	  : undef;
}

# Ids that came from SQL are strings to Perl, but must be numbers in JSON.
sub number_ids
{
	my ($value) = @_;

	return [ map { number_ids($_) } @$value ] if ref $value eq 'ARRAY';
	return $value unless ref $value eq 'HASH';
	return {
		map {
			my $member = $value->{$_};
			$_ => /(?:^|_)id$/ && !ref $member && $member =~ /^-?\d{1,18}$/
			  ? $member + 0
			  : /(?:^|_)id$/ && !ref $member && $member =~ /^-?\d+$/
			  ? Math::BigInt->new($member)
			  : number_ids($member)
		} keys %$value };
}

# The requests the extension sent, oldest first; see test/workspace/README.md for
# the filters: method, path, status, user, query, body, since. What this module
# itself asked of the API is left out.
sub journal
{
	my ($self, %filter) = @_;
	return grep { ($_->{user} // '') ne $harness_user }
	  @{ $self->get('journal', limit => 1_000_000, %filter)->{entries} };
}

# How many of them there are.
sub calls
{
	my ($self, %filter) = @_;
	return scalar $self->journal(%filter);
}

# How many such requests were under way at once, at most.
sub most_at_once
{
	my ($self, %filter) = @_;
	my ($now, $most) = (0, 0);
	# times are whole milliseconds, so ends count a little earlier
	my @events = map { ([ $_->{time}, 1 ], [ $_->{time} + ($_->{ms} || 0) - 2, -1 ]) } $self->journal(%filter);

	foreach my $event (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events)
	{
		$now += $event->[1];
		$most = $now if $now > $most;
	}
	return $most;
}

# A number to give as "since", to look only at what comes after now.
sub mark { return $_[0]->get('journal', limit => 0)->{last}; }

# How fast the clock goes that runs live by; 0 stops it.
sub speed { return $_[0]->post('clock', { speed => $_[1] }); }

# Push the clock forward.
sub advance { return $_[0]->post('clock', { advance_ms => $_[1] }); }

# Make a job, given as Perl data without its name or tasks where those do not
# matter. Returns its id.
sub create_job
{
	my ($self, %settings) = @_;
	$settings{name} = 'job' unless defined $settings{name};
	$settings{tasks} ||= [
		{   task_key => 'main',
			notebook_task => { notebook_path => '/Shared/main' }
		} ];
	return $self->api('POST', '/api/2.2/jobs/create', \%settings)->{job_id};
}

# What the program wrote to its standard error.
sub log { return PostgreSQL::Test::Utils::slurp_file($_[0]->{log}); }

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	local ($?, $!);
	close(delete $self->{stdin});
	close(delete $self->{stdout});
	waitpid($pid, 0);
	return;
}

# kill -9: connections are cut in the middle.
sub kill9
{
	my ($self) = @_;
	kill 'KILL', $self->{pid} if $self->{pid};
	return $self->stop;
}

sub DESTROY { $_[0]->stop; return; }

END
{
	$_->stop foreach grep { defined } @running;
}

1;
