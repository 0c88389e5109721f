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
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  connect_workspace
  create_extension
  json
  log_position
  log_since
  log_lacks
  new_node
  poll_until
  source_tree
  sql_error
);

# An interrupted test must still come to its END blocks, which stop servers.
$SIG{$_} = sub { die "interrupted\n" }
  foreach qw(INT TERM HUP);

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
	my $end = time + ($timeout || $PostgreSQL::Test::Utils::timeout_default);

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

	$row = json($row);
	croak "could not connect to the stand-in: $row->{message}" unless $row->{ok};
	return $row;
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
use Scalar::Util qw(weaken);
use Symbol qw(gensym);

my $count = 0;
my @running;

# Start a stand-in workspace on a free loopback port.
#   args => [...]   more arguments for the program
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
		@{ $arg{args} || [] });
	close($log);

	while (defined(my $line = <$out>))
	{
		if ($line =~ /listening on (127\.0\.0\.1:(\d+))/)
		{
			@$self{qw(url port)} = ("http://$1", $2);
			last;
		}
	}
	croak "the stand-in workspace did not start, see $self->{log}"
	  unless $self->{port};

	# What it prints later must not fill the pipe.
	$self->{stdout} = $out;

	$self->{http} = HTTP::Tiny->new(timeout => 60);
	push @running, $self;
	weaken($running[-1]);
	return $self;
}

sub url { return $_[0]->{url}; }
sub port { return $_[0]->{port}; }

# The token of the stand-in's administrator.
sub token { return 'dapi-standin-admin'; }

# Call a control endpoint: GET without a body, else POST with it as JSON.
# Returns the answer as Perl data; croaks when it is not a success.
sub control
{
	my ($self, $path, $body) = @_;
	my $response = $self->{http}->request(
		defined $body ? 'POST' : 'GET',
		"$self->{url}/__control/$path",
		defined $body
		? { content => Databricks::Test::json($body),
			headers => { 'Content-Type' => 'application/json' }
		  }
		: {});

	croak "__control/$path: $response->{status} $response->{content}"
	  unless $response->{success};
	return length $response->{content}
	  ? Databricks::Test::json($response->{content})
	  : undef;
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
