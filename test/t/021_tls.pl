# 021_tls.pl - TLS is always verified, and files of the server are only for those
# who may read them. Acceptance case 13 (TLS failure).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
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
cmp_ok(time - $begun, '<', 10, '... at once');
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

done_testing();
