# Databricks/RawServer.pm - a server that answers with whatever bytes a test says.
#
# The stand-in workspace is honest HTTP with a few arranged faults. This is for what
# it cannot do: floods, and forms of HTTP that are legal but rare. It shares no code
# with the stand-in, so what one of them gets wrong the other may show.
#
#   my $server = Databricks::RawServer->start(sub {
#       my ($client, $request) = @_;    # a socket; method, target, headers, body, n
#       print $client "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
#       return 1;                       # the connection is kept
#   });
#   my @requests = $server->journal(qr{^/api/});
#
# Each connection has a process of its own, in the process group of the server, so
# that one which floods or says nothing holds up nobody.

package Databricks::RawServer;

use strict;
use warnings;

use Carp;
use Databricks::Test;
use IO::Handle;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;
use Scalar::Util qw(weaken);
use Socket qw(MSG_PEEK);

my $count = 0;
my @running;

sub start
{
	my ($class, $handler) = @_;
	my $listener = IO::Socket::INET->new(
		Listen => 64, LocalAddr => '127.0.0.1', ReuseAddr => 1)
	  or croak "listen: $!";
	my $self = bless {
		port => $listener->sockport,
		file => PostgreSQL::Test::Utils::tempdir() . '/raw_' . $count++
	}, $class;

	open(my $journal, '>>', $self->{file}) or croak "$self->{file}: $!";
	$journal->autoflush(1);
	$self->{pid} = fork;
	croak "fork: $!" unless defined $self->{pid};
	if (!$self->{pid})
	{
		setpgrp;
		# END blocks of the test are not for this process
		$SIG{$_} = 'DEFAULT' foreach qw(INT TERM HUP __DIE__);
		$SIG{CHLD} = $SIG{PIPE} = 'IGNORE';
		while (1)
		{
			my $client = $listener->accept or next;
			my $pid = fork;
			next if !defined $pid || $pid;
			close($listener);
			serve($client, $handler, $journal);
			close($client);
			POSIX::_exit(0);
		}
	}
	# both sides, as either may be first
	setpgrp($self->{pid}, $self->{pid});
	close($listener);
	push @running, $self;
	weaken($running[-1]);
	return $self;
}

sub port { return $_[0]->{port}; }
sub url { return "http://127.0.0.1:$_[0]->{port}"; }

# The requests of one connection, until it is closed or the handler has enough.
sub serve
{
	my ($client, $handler, $journal) = @_;
	my $n = 0;

	$client->autoflush(1);
	binmode($client);
	# TLS, of which there is none here, may hold no end of line to wait for
	recv($client, my $first, 1, MSG_PEEK);
	if ($first eq "\x16")
	{
		print $client "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
		return;
	}
	while (defined(my $line = <$client>))
	{
		my ($method, $target) = $line =~ /^(\S+) (\S+) HTTP/ or return;
		my %request = (
			method => $method, target => $target, n => ++$n, body => '', headers => {});

		while (defined($line = <$client>) && $line !~ /^\r?$/)
		{
			my ($name, $value) = $line =~ /^([^:]+):\s*(.*?)\r?\n/;
			$request{headers}->{ lc $name } = $value;
		}
		read($client, $request{body}, $request{headers}->{'content-length'})
		  if $request{headers}->{'content-length'};
		print $journal Databricks::Test::json(\%request), "\n";
		return unless $handler->($client, \%request);
	}
	return;
}

# The requests so far, oldest first, whose target matches.
sub journal
{
	my ($self, $target) = @_;
	return grep { !$target || $_->{target} =~ $target }
	  map { Databricks::Test::json($_) }
	  split /\n/, PostgreSQL::Test::Utils::slurp_file($self->{file});
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	local ($?, $!);
	kill 'TERM', -$pid;
	waitpid($pid, 0);
	return;
}

sub DESTROY { $_[0]->stop; return; }

END
{
	$_->stop foreach grep { defined } @running;
}

1;
