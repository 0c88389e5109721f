# 022_limits_of_answers.pl - whatever a server sends, it takes bounded memory and
# time. Acceptance case 20 and the fault table's floods.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Compress::Zlib qw(memGzip);
use Databricks::Test;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# A server that answers each connection with one of these floods, by path. It is
# a process of its own: what it sends no honest workspace would.
my $listener = IO::Socket::INET->new(
	Listen => 5, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
my $port = $listener->sockport;
my $server = fork;
die $! unless defined $server;
if (!$server)
{
	$SIG{TERM} = 'DEFAULT';
	$SIG{PIPE} = 'IGNORE';
	my $bomb = memGzip('x' x (64 * 1024 * 1024));
	while (my $client = $listener->accept)
	{
		my $head = '';
		while (my $line = <$client>)
		{
			$head .= $line;
			last if $line =~ /^\r?$/;
		}
		if ($head =~ m{^GET /api/headers})
		{
			print $client "HTTP/1.1 200 OK\r\n";
			while (print $client 'X-Flood: ' . ('y' x 4000) . "\r\n") { }
		}
		elsif ($head =~ m{^GET /api/status})
		{
			while (print $client "HTTP/1.1 100 Continue\r\n\r\n") { }
		}
		elsif ($head =~ m{^GET /api/body})
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
			while (print $client '"' . ('z' x 4000) . '",') { }
		}
		elsif ($head =~ m{^GET /api/bomb})
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
			  . length($bomb) . "\r\n\r\n$bomb";
		}
		elsif ($head =~ m{^GET /api/broken-gzip})
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!";
		}
		elsif ($head =~ m{^GET /api/deep})
		{
			my $body = '{"a":' . ('[' x 10000) . (']' x 10000) . '}';
			print $client "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
		}
		elsif ($head =~ m{^GET /api/length})
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}";
		}
		elsif ($head =~ m{^GET /api/garbage})
		{
			print $client "\0\1\2\3 this is not HTTP at all\r\n\r\n";
		}
		else
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"userName\":\"flood\"}";
		}
		close($client);
	}
	exit 0;
}
close($listener);

my $node = new_node('main');
is( $node->safe_psql('postgres',
		qq{SELECT ok FROM databricks.connect('flood', host => 'http://127.0.0.1:$port', token => 'some-token',
			server_options => '{"retry_timeout": 0, "max_response_size": "8MB", "request_timeout": "20s"}')}),
	't', 'connected');

foreach my $case (
	[ 'headers', '54000', qr/larger than/ ],
	[ 'status', '54000', qr/larger than/ ],
	[ 'body', '54000', qr/larger than max_response_size/ ],
	[ 'bomb', '54000', qr/larger than max_response_size/ ],
	[ 'broken-gzip', 'HV00N', qr/connection broke/ ],
	[ 'deep', 'HV00M', qr/could not read the answer/ ],
	[ 'length', 'HV00N', qr/connection broke/ ],
	[ 'garbage', 'HV00N', qr// ])
{
	my ($path, $state, $message) = @$case;
	my $begun = time;
	my $error = sql_error($node, "SELECT databricks.api('GET', '/api/$path')");
	is($error->{state}, $state, "$path: an error") or diag $error->{message};
	like($error->{message}, $message, '... that says why');
	cmp_ok(time - $begun, '<', 15, '... before long');
}

# Again and again in one session: no memory is kept.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $resident = sub {
	open(my $file, '<', "/proc/$pid/statm") or die "/proc/$pid/statm: $!";
	my (undef, $pages) = split ' ', <$file>;
	close($file);
	return $pages * 4;
};
my $flood = sub {
	$session->query("SELECT databricks.api('GET', '/api/$_')") foreach qw(bomb body deep headers) x $_[0];
	$session->{stderr} = '';
};
$flood->(3);
my $before = $resident->();
$flood->(10);
cmp_ok($resident->() - $before, '<', 4096, 'floods leave nothing behind');
eval { $session->quit };

END
{
	if ($server)
	{
		my $status = $?;
		kill 'TERM', $server;
		waitpid $server, 0;
		$? = $status;
	}
}

done_testing();
