# 021_tls.pl - TLS is always verified, over HTTP/1.1 and HTTP/2, also behind a
# proxy; and files of the server are only for those who may read them. Acceptance
# case 13 (TLS failure).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::RawServer;
use Databricks::Test;
use IO::Select;
use IO::Socket::INET;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir;

# A certificate for localhost alone, signed by itself.
sub certificate
{
	my ($name, $host) = @_;
	PostgreSQL::Test::Utils::system_or_bail(
		'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
		'-subj', "/CN=$host", '-addext', "subjectAltName=DNS:$host",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.crt");
	return ("$dir/$name.crt", "$dir/$name.key");
}
my ($crt, $key) = certificate('own', 'localhost');
my ($other_crt) = certificate('other', 'localhost');

my $workspace = Databricks::Test::Workspace->start(tls => [ $crt, $key ]);
my $host = 'https://localhost:' . $workspace->port;
my $node = new_node('main');
my $token = $workspace->token;

my $connect = sub {
	my (%arg) = @_;
	my $options = json({ retry_timeout => 0, %{ $arg{options} || {} } });
	return $node->safe_psql('postgres', sprintf(
		q{SELECT ok, message FROM databricks.connect('tls', host => '%s', token => '%s', server_options => '%s')},
		$arg{host} || $host, $token, $options));
};

like($connect->(), qr/^f\|.*TLS failed/, 'a certificate nobody vouches for is refused');
like($connect->(options => { ca_file => $other_crt }),
	qr/^f\|.*TLS failed/, 'so is one that another authority vouches for');
like($connect->(options => { ca_file => $crt }),
	qr/^t\|connected/, 'with its authority in ca_file it is accepted');
like($connect->(host => 'https://127.0.0.1:' . $workspace->port),
	qr/^f\|.*TLS failed/, 'a certificate for another name is refused');
like($connect->(host => $host), qr/^t\|/, 'and the right name is accepted again');
like($connect->(options => { ca_file => "$dir/none" }),
	qr/^f\|/, 'a ca_file that is not there is a failure, not a free pass');

# Connections are kept: many calls, one handshake.
$connect->(options => { ca_file => $crt });
my $mark = $workspace->mark;
$node->safe_psql('postgres',
	q{SELECT databricks.api('GET', '/api/2.2/jobs/list', NULL, 'tls') FROM generate_series(1, 20)});
my %connections = map { $_->{connection} => 1 } $workspace->journal(since => $mark);
is(scalar keys %connections, 1, '20 calls of a session go over one connection');

# A refused certificate does not pass with time: no patience is wasted on it.
$connect->(options => { ca_file => $other_crt, retry_timeout => '30s' });
my $begun = time;
my $error = sql_error($node, q{SELECT databricks.get_job(1, 'tls')});
is($error->{state}, 'HV00N', 'a call over refused TLS is a failed connection');
cmp_ok(time - $begun, '<', patience(10), '... at once');
like($error->{hint}, qr/ca_file/, '... with a hint');

# Rights: files of the server.
$node->safe_psql('postgres', q{
	CREATE ROLE engineer LOGIN;
	GRANT CREATE ON DATABASE postgres TO engineer;
	GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO engineer});
my @as_engineer = (extra_params => [ '-U', 'engineer' ]);
$error = sql_error($node, sprintf(
		q{CREATE SERVER mine FOREIGN DATA WRAPPER databricks OPTIONS (host '%s', ca_file '%s')}, $host, $crt),
	@as_engineer);
is($error->{state}, '42501', 'a plain role may not name a file of the server');
like($error->{detail}, qr/pg_read_server_files/, '... and learns who may');
$node->safe_psql('postgres', 'GRANT pg_read_server_files TO engineer');
$node->safe_psql('postgres', sprintf(
		q{CREATE SERVER mine FOREIGN DATA WRAPPER databricks OPTIONS (host '%s', ca_file '%s', retry_timeout '0');
		  CREATE USER MAPPING FOR engineer SERVER mine OPTIONS (token '%s')}, $host, $crt, $token),
	@as_engineer);
is( $node->safe_psql('postgres', q{SELECT ok FROM databricks.check_connection('mine')}, @as_engineer),
	't', 'a member of pg_read_server_files may');
$node->safe_psql('postgres', 'REVOKE pg_read_server_files FROM engineer');
$error = sql_error($node, q{SELECT databricks.get_job(1, 'mine')}, @as_engineer);
is($error->{state}, '42501', 'and no longer once that right is gone');

$error = sql_error($node, sprintf(
		q{CREATE SERVER plain FOREIGN DATA WRAPPER databricks OPTIONS (host 'http://localhost:%d');
		  CREATE USER MAPPING FOR engineer SERVER plain OPTIONS (token '%s');
		  SELECT databricks.get_job(1, 'plain')}, $workspace->port, $token),
	@as_engineer);
is($error->{state}, 'HV024', 'plain http is refused on a server of a plain role, loopback or not');

### A private authority and HTTP/2: nginx in front of a stand-in workspace

my $openssl = sub {
	PostgreSQL::Test::Utils::system_or_bail('openssl', @_);
};
my ($ca, $ca_key) = ("$dir/ca.crt", "$dir/ca.key");
$openssl->('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
	'-subj', '/CN=Private Authority', '-keyout', $ca_key, '-out', $ca);

# A certificate of that authority, valid for so many days from now on: with 0 it is
# over at once. OpenSSL 3.5 signs none that ends before it begins.
sub signed_certificate
{
	my ($name, $host, $days) = @_;
	append_to_file("$dir/$name.ext", "subjectAltName=DNS:$host\n");
	$openssl->('req', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$host",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.csr");
	$openssl->('x509', '-req', '-in', "$dir/$name.csr", '-CA', $ca, '-CAkey', $ca_key,
		'-CAcreateserial', '-extfile', "$dir/$name.ext", '-days', $days,
		'-out', "$dir/$name.crt");
	return;
}
signed_certificate('good', 'localhost', 2);
signed_certificate('expired', 'localhost', 0);
signed_certificate('stranger', 'stranger.example.com', 2);
certificate('selfmade', 'localhost');

# What nginx itself fills in.
my %dir_sign = (protocol => '$server_protocol', connection => '$connection');

my $behind = Databricks::Test::Workspace->start;
my %door = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(good expired stranger selfmade);
my $doors = join "\n", map { <<~DOOR } sort keys %door;
	server {
		listen 127.0.0.1:$door{$_} ssl http2;
		ssl_certificate $dir/$_.crt;
		ssl_certificate_key $dir/$_.key;
		location / {
			proxy_pass http://127.0.0.1:@{[ $behind->port ]};
			proxy_set_header X-Protocol $dir_sign{protocol};
			proxy_set_header X-Connection $dir_sign{connection};
		}
	}
	DOOR
mkdir "$dir/nginx";
append_to_file("$dir/nginx.conf", <<~CONF);
	daemon off;
	pid $dir/nginx.pid;
	error_log $dir/nginx/error.log;
	events { worker_connections 128; }
	http {
		access_log off;
		client_body_temp_path $dir/nginx;
		proxy_temp_path $dir/nginx;
		fastcgi_temp_path $dir/nginx;
		uwsgi_temp_path $dir/nginx;
		scgi_temp_path $dir/nginx;
		$doors
	}
	CONF
my $nginx = IPC::Run::start([ 'nginx', '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/nginx/error.log" ]);
END { $nginx->kill_kill if defined $nginx; }
poll_until('nginx is there', sub {
		return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $door{good}); });

my $connect_door = sub {
	my ($name, %options) = @_;
	return $node->safe_psql('postgres', sprintf(
			q{SELECT ok, message FROM databricks.connect('door', host => 'https://localhost:%d', token => '%s', server_options => '%s')},
			$door{$name}, $token, json({ retry_timeout => 0, ca_file => $ca, %options })));
};
like($connect_door->('good'), qr/^t\|/, 'a certificate of the private authority is accepted');
my ($request) = $behind->journal(path => '/api/2.0/preview/scim/v2/Me');
is($request->{headers}->{'x-protocol'}, 'HTTP/2.0', '... over HTTP/2');
like($connect_door->('expired'), qr/^f\|.*expired/, 'an expired certificate is refused, which is said');
like($connect_door->('stranger'), qr/^f\|.*(subject name|host name)/, 'one for another host is refused, which is said');
like($connect_door->('selfmade'), qr/^f\|.*self.signed/, 'one signed by itself is refused, which is said');
like($connect_door->('good', ca_file => undef), qr/^f\|.*certificate/,
	'and without ca_file the authority is unknown');

# Calls at once share the connection.
$connect_door->('good');
my @ids = map { $behind->api('POST', '/api/2.2/jobs/run-now', { job_id => $_ })->{run_id} }
  map { $behind->create_job(name => "job $_") } 1 .. 12;
$mark = $behind->mark;
is( $node->safe_psql('postgres', sprintf(
			q{SELECT count(*) FROM door.runs WHERE run_id IN (%s)}, join(',', @ids))),
	12, '12 runs by their ids, at once');
my %shared = map { $_->{headers}->{'x-connection'} => 1 }
  $behind->journal(since => $mark, path => '/api/2.2/jobs/runs/get');
is(scalar keys %shared, 1, '... over one connection');

# What the service says does not lead from outside to what listens here, although a
# superuser owns the server.
my $inside = $behind->url;
my $warehouse = '1234567890abcdef';
$connect->(options => { ca_file => $crt });
$workspace->post('faults', { path => '/.well-known/*', kind => 'replace', json => { oidc_endpoint => "$inside/oidc" } });
$workspace->post('faults', { path => '/oidc/.well-known/*', kind => 'replace', json => { token_endpoint => "$inside/oidc/v1/token" } });
$workspace->post('statements', { match => 'many rows', generate => 50, chunk_rows => 50 });
$workspace->post('faults', { path => '/api/2.0/sql/statements/*/result/chunks/0', kind => 'replace',
		json => { external_links => [ { chunk_index => 0, external_link => "$inside/storage/x" } ] } });
$node->safe_psql('postgres', qq{
	CREATE SERVER led FOREIGN DATA WRAPPER databricks OPTIONS (host '$host', ca_file '$crt', retry_timeout '0');
	CREATE USER MAPPING FOR CURRENT_USER SERVER led OPTIONS (client_id 'standin-client', client_secret 'dose0standin0secret0of0the0robot')});
$mark = $behind->mark;
is($node->safe_psql('postgres', q{SELECT ok FROM databricks.check_connection('led')}), 't', 'an address inside is not where a token is asked for');
is(sql_error($node, "SET databricks.external_links = on; SELECT * FROM databricks.query('many rows', '$warehouse', workspace => 'tls') AS t(id bigint, name text)")->{message},
	'link of workspace "tls" to a result is refused', '... nor where a result is fetched');
is($behind->calls(since => $mark), 0, '... nothing was asked for there');
$workspace->delete('faults');

# A proxy only passes bytes on: what it sees is where to, and TLS is verified
# through it.
my $refusal = "$dir/refusal"; # a status, and whether it is meant once
my $proxy = Databricks::RawServer->start(sub {
		my ($client, $request) = @_;
		my ($to) = $request->{target} =~ /^localhost:(\d+)$/;
		my ($status, $once) = -e $refusal ? split ' ', PostgreSQL::Test::Utils::slurp_file($refusal) : ();

		unlink($refusal) if $once;
		if ($status)
		{
			print $client "HTTP/1.1 $status No\r\nContent-Length: 0\r\n\r\n" if $status ne 'close';
			return 0;
		}
		my $there = $request->{method} eq 'CONNECT' && $to
		  && IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to);

		print $client 'HTTP/1.1 ' . ($there ? '200 Connected' : '502 Bad Gateway') . "\r\n\r\n";
		my $both = IO::Select->new($client, $there || ());
		while ($there && (my @ready = $both->can_read))
		{
			foreach my $from (@ready)
			{
				sysread($from, my $bytes, 65536) or return 0;
				syswrite($from == $client ? $there : $client, $bytes);
			}
		}
		return 0;
	});
like($connect_door->('good', proxy => $proxy->url), qr/^t\|/, 'a workspace is reached through a proxy');
my @through = $proxy->journal;
is(join(' ', map { $_->{method} . ' ' . $_->{target} } @through), "CONNECT localhost:$door{good}",
	'... which is told where to');
unlike(json(\@through), qr/\Q$token\E/, '... and no token');
like($connect_door->('stranger', proxy => $proxy->url), qr/^f\|.*(subject name|host name)/,
	'a certificate for another host is refused through it too');

# What a proxy refuses was never sent: nothing is in doubt, and a change is tried
# again if the proxy may come round.
$connect_door->('good', proxy => $proxy->url, retry_timeout => '20s');
foreach my $case (
	[ '503 once', '', 2 ], [ '429 once', '', 2 ], [ 'close once', '', 2 ],
	[ '407', 'HV00N', 1, qr/the proxy refused: .*407/, qr/option "proxy"/ ],
	[ '403', 'HV00N', 1, qr/the proxy refused: .*403/, qr/option "proxy"/ ])
{
	my ($how, $state, $connects, $message, $hint) = @$case;
	my $before = $proxy->journal;
	my $made = $behind->calls(path => '/api/2.2/jobs/create');

	append_to_file($refusal, $how);
	my $session = finish_sql(start_sql($node, q{SELECT databricks.create_job('{"name": "x", "tasks": []}', workspace => 'door') > 0}));
	unlink($refusal);
	is($session->{state}, $state, "a proxy that answers $how: result of create_job") or diag($session->{err});
	like($session->{message}, $message, '... message') if $message;
	like($session->{hint}, $hint, '... hint') if $hint;
	is($proxy->journal - $before, $connects, '... attempts');
	is($behind->calls(path => '/api/2.2/jobs/create') - $made, $state ? 0 : 1, '... jobs made');
}
$connect_door->('good', proxy => undef);

# A proxy named in the environment of the server is not used, one in the option is.
is( $node->safe_psql('postgres', sprintf(
			q{SELECT ok FROM databricks.connect('door', server_options => '%s')}, json({ proxy => 'http://127.0.0.1:9' }))),
	'f', 'option proxy is used: one that is down is no way out');

done_testing();
