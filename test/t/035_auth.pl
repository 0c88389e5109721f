# 035_auth.pl - the ways to authenticate: how each gets its token, and how tokens
# are kept, renewed and replaced. Acceptance cases 5, 6, 7, 8, 9, 10, 54.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Utils;
use MIME::Base64 ();
use POSIX ();
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $files = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', conf => "log_min_messages = debug5\n");

# What the log must not have, whatever happens below.
my %secret = (
	client => 'dose0standin0secret0of0the0robot',
	basic => 'c3RhbmRpbi1jbGllbnQ6ZG9zZTBzdGFuZGluMHNlY3JldDBvZjB0aGUwcm9ib3Q=',
	azure => 'a~zure/standin+secret.0001',
	azure_escaped => 'a~zure%2Fstandin%2Bsecret.0001',
	jwt => 'standin.jwt.robot',
	token => 'standin-oauth-',
	management => 'standin-management-');

my $tenant = $workspace->get('settings')->{azure_tenant};
my $token_path = '/oidc/v1/token';

sub options
{
	my ($given) = @_;
	return '' unless %$given;
	return ' OPTIONS ('
	  . join(', ',
		map { "$_ '" . ($given->{$_} =~ s/'/''/gr) . "'" } sort keys %$given)
	  . ')';
}

# A workspace of that name, made anew, by statements the log does not have.
sub define
{
	my ($name, $server, $mapping) = @_;
	$node->safe_psql('postgres', <<~SQL);
		SET client_min_messages = warning;
		DROP SERVER IF EXISTS $name CASCADE;
		CREATE SERVER $name FOREIGN DATA WRAPPER databricks @{[
			options({ host => $workspace->url, rate_limit => 0, %$server }) ]};
		CREATE USER MAPPING FOR CURRENT_USER SERVER $name @{[
			options($mapping) ]};
		SQL
	return;
}

sub check
{
	my ($name) = @_;
	return json(
		$node->safe_psql(
			'postgres',
			"SELECT row_to_json(c) FROM databricks.check_connection('$name') AS c"
		));
}

sub write_file
{
	my ($name, $content) = @_;
	open(my $fh, '>', "$files/$name.new") or die "$files/$name: $!";
	print $fh $content;
	close($fh);
	rename("$files/$name.new", "$files/$name") or die "$files/$name: $!";
	return "$files/$name";
}

# Requests for tokens since a mark, of either kind of endpoint.
sub token_requests
{
	my ($since, $path) = @_;
	return $workspace->calls(since => $since, path => $path || $token_path);
}

sub settings { return $workspace->post('settings', {@_}); }

# --- OAuth with client id and secret -------------------------------------------

my %m2m = (
	client_id => 'standin-client',
	client_secret => $secret{client});

define('m2m', {}, \%m2m);
my $mark = $workspace->mark;
my $row = check('m2m');
ok($row->{ok}, 'a service principal gets in') or diag($row->{message});
is($row->{auth_type}, 'oauth-m2m', '... by OAuth');
is($row->{user_name}, 'robot@example.com', '... as itself');
is_deeply(
	[ map { "$_->{method} $_->{path}" } $workspace->journal(since => $mark) ],
	[   'GET /.well-known/databricks-config',
		'GET /oidc/.well-known/oauth-authorization-server',
		"POST $token_path",
		'GET /api/2.0/preview/scim/v2/Me' ],
	'the endpoint is discovered, a token asked for, then the call made');
my ($request) = $workspace->journal(since => $mark, path => $token_path);
is( $request->{body},
	'grant_type=client_credentials&scope=all-apis',
	'the secret is not in the body');
like(
	$request->{headers}->{'user-agent'},
	qr{^databricks-postgresql/\S+ postgresql/\S+ os/linux auth/oauth-m2m$},
	'User-Agent of the token request');
($request) = $workspace->journal(since => $mark, path => '/api/*');
like($request->{headers}->{'user-agent'},
	qr{auth/oauth-m2m}, '... and of the call (case 3)');

# Without its documents the workspace gives out tokens at the usual place.
$workspace->post('faults',
	{ path => '/.well-known/*', kind => 'status', status => 404 });
$workspace->post('faults',
	{ path => '/oidc/.well-known/*', kind => 'status', status => 404 });
ok(check('m2m')->{ok}, 'discovery may fail');
$workspace->delete('faults');
$workspace->post('faults', { path => '/.well-known/*', kind => 'html' });
$workspace->post('faults', { path => '/oidc/.well-known/*', kind => 'html' });
ok(check('m2m')->{ok}, '... or answer nonsense');
$workspace->delete('faults');

# An address out of a document must not lead astray.
foreach my $elsewhere (
	'http://198.51.100.1/oidc',
	'http://127.0.0.1:1@198.51.100.1/oidc',
	'ftp://127.0.0.1/', 'nonsense')
{
	$workspace->post(
		'faults',
		{   path => '/.well-known/*',
			kind => 'replace',
			json => { oidc_endpoint => $elsewhere } });
	$mark = $workspace->mark;
	ok(check('m2m')->{ok} && token_requests($mark) == 1,
		"the secret is not sent to $elsewhere");
}

define('m2m', { token_url => $workspace->url . $token_path }, \%m2m);
$mark = $workspace->mark;
ok(check('m2m')->{ok}, 'token_url names the endpoint');
is($workspace->calls(since => $mark), 2, '... then nothing is discovered');

settings(oauth_text_times => JSON::PP::true);
ok(check('m2m')->{ok}, 'expires_in may be a text');
settings(oauth_text_times => JSON::PP::false);

$workspace->post('faults',
	{ path => $token_path, kind => 'replace', json => { access_token => $workspace->token } });
is(check('m2m')->{user_name}, 'admin@example.com', '... or not be there');
$workspace->delete('faults');

$row = json(
	$node->safe_psql(
		'postgres', sprintf(
			q{SELECT row_to_json(c) FROM databricks.connect('made', host => '%s',
			  client_id => '%s', client_secret => '%s', schema => 'made') AS c},
			$workspace->url, @m2m{qw(client_id client_secret)})));
is("$row->{ok} $row->{auth_type}", '1 oauth-m2m',
	'connect() takes client id and secret');

# --- one token for many calls ---------------------------------------------------

my @runs;
{
	my $job = $workspace->create_job;
	push @runs,
	  $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })
	  ->{run_id}
	  foreach 1 .. 16;
}
define('m2m', {}, \%m2m);
$node->safe_psql(
	'postgres', q{
	CREATE SCHEMA m2m;
	IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER m2m INTO m2m});

my $sixteen = sprintf
  q{SELECT count(*) FROM m2m.runs WHERE run_id = ANY ('{%s}')},
  join(',', @runs);
$workspace->post('faults',
	{ path => $token_path, kind => 'delay', ms => 300 });
$mark = $workspace->mark;
is($node->safe_psql('postgres', $sixteen), '16', 'sixteen calls at once');
is($workspace->calls(since => $mark, path => '/api/2.2/jobs/runs/get'),
	16, '... are sixteen requests');
is(token_requests($mark), 1, '... with one token between them (case 6)');

# A session keeps its token; the service stops accepting it in the middle.
my $session = $node->background_psql('postgres');
$session->query_safe($sixteen);
$mark = $workspace->mark;
is($session->query_safe($sixteen), '16', 'once more in the same session');
is(token_requests($mark), 0, '... with the token it has');
foreach my $status (403, 401)
{
	settings(oauth_expired_status => $status);
	$workspace->advance(2 * 3600 * 1000);
	$mark = $workspace->mark;
	is($session->query_safe($sixteen),
		'16', "all sixteen are refused with $status, and repeated");
	is(token_requests($mark), 1, '... with one new token');
	cmp_ok(
		$workspace->calls(
			since => $mark,
			path => '/api/2.2/jobs/runs/get',
			status => $status),
		'>=', 1, '... after a refusal');
}

# Whatever the method: a refused call was not carried out.
$workspace->post('revoke');
$mark = $workspace->mark;
$session->query_safe(
	q{SELECT databricks.create_job('{"name": "again", "tasks": []}', workspace => 'm2m')}
);
is($workspace->calls(since => $mark, path => '/api/2.2/jobs/create'),
	2, 'a POST is repeated with a new token');
is($workspace->calls(
		since => $mark,
		path => '/api/2.2/jobs/create',
		status => 200),
	1,
	'... and carried out once');
$session->quit;

# Refused again and again, the call fails.
$workspace->post(
	'faults',
	{ path => '/api/*', kind => 'status', status => 401, count => undef });
$mark = $workspace->mark;
my $error =
  sql_error($node, "SELECT databricks.get_job(1, workspace => 'm2m')");
is($workspace->calls(since => $mark, path => '/api/*'),
	2, 'a token is replaced once, not for ever');
is(token_requests($mark), 2, '... by one other');
is($error->{state}, '28000', 'its error');
like($error->{message}, qr/token was refused by workspace "m2m"/,
	'... says what was refused');
like($error->{hint}, qr/"client_id" and "client_secret"/,
	'... and what to check');
$workspace->delete('faults');

# --- renewal ---------------------------------------------------------------------

# A token is renewed 120 s before its end, or at half of a life of less than 240 s:
# with lives of 4 s a wait of several lives never sees a refusal.
settings(oauth_lifetime_s => 4);
my $job = $workspace->create_job;
$workspace->post(
	'plans',
	{ match => { job_id => $job }, plan => { duration_ms => 9000 } });
my $run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })
  ->{run_id};
$mark = $workspace->mark;
is( $node->safe_psql(
		'postgres', "SET databricks.wait_max_interval = 300;
		SELECT result_state FROM databricks.wait_for_run($run, workspace => 'm2m')"
	),
	'SUCCESS',
	'a wait that outlives its tokens (case 54)');
cmp_ok(token_requests($mark), '>=', 3, '... gets new ones');
is(scalar(grep { $_->{status} =~ /^40[13]$/ }
		$workspace->journal(since => $mark)),
	0,
	'... before the old ones expire');

# The other way round: they expire without notice.
settings(oauth_lifetime_s => 3600);
$run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })
  ->{run_id};
$session = $node->background_psql('postgres');
$mark = $workspace->mark;
$session->query_until(
	qr/started/, "\\echo started
	SET databricks.wait_max_interval = 200;
	SELECT 'ended ' || result_state FROM databricks.wait_for_run($run, workspace => 'm2m');\n"
);
poll_until('the wait is under way',
	sub { $workspace->calls(since => $mark, path => '*/runs/get') > 2 });
$workspace->post('revoke');
poll_until('a new token was asked for', sub { token_requests($mark) > 1 });
$workspace->post('finish', { run_id => $run });
$session->query_until(qr/ended SUCCESS/, '');
pass('a wait goes on with a new token when the old one is refused (case 54)');
is(token_requests($mark), 2, '... and asks for one alone');
$session->quit;

# Renewal that fails while the old token is good.
settings(oauth_lifetime_s => 4);
$session = $node->background_psql('postgres');
$session->query_safe($sixteen);
settings(oauth_lifetime_s => 3600);
$workspace->post('faults',
	{ path => $token_path, kind => 'status', status => 503, count => undef });
$mark = $workspace->mark;
poll_until(
	'its time for renewal has come',
	sub {
		$session->query_safe($sixteen) eq '16' and token_requests($mark) > 0;
	});
is(token_requests($mark), 1,
	'a renewal that fails costs nothing while the old token is good');
$workspace->delete('faults');
$session->quit;

# --- a token endpoint in trouble ---------------------------------------------------

define('m2m', {}, \%m2m);
$workspace->post('faults',
	{ path => $token_path, kind => 'status', status => 503, count => 2 });
$mark = $workspace->mark;
$node->safe_psql('postgres',
	"SELECT databricks.find_job('again', workspace => 'm2m')");
is(token_requests($mark), 3, 'it fails twice, then works (case 7)');

my $endpoint = $workspace->url . $token_path;
my $refused = '28000';
my $unreachable = 'HV00N';
my $unreadable = 'HV00M';
define('m2m', { retry_timeout => '2500ms' }, \%m2m);
foreach my $case (
	[ 'throttled', { kind => 'status', status => 429, retry_after => 0 },
		$unreachable, qr/answered 429/, 3 ],
	[ 'unavailable', { kind => 'status', status => 503, shape => 'html' },
		$unreachable, qr/answered 503/, 3 ],
	[ 'bad gateway', { kind => 'status', status => 502, shape => 'empty' },
		$unreachable, qr/answered 502/, 3 ],
	[ 'broken', { kind => 'status', status => 500 },
		$unreachable, qr/answered 500/, 1 ],
	[ 'reset', { kind => 'reset' }, $unreachable, qr/cannot be reached/, 3 ],
	[ 'not there', { kind => 'status', status => 404 },
		$unreachable, qr/answered 404/, 1 ],
	[ 'refuses', { kind => 'status', status => 401, shape => 'oauth',
			message => "unknown client standin-client $secret{client}" },
		$refused, qr/answered 401: invalid_client: unknown client standin-client \*\*\*/, 1 ],
	[ 'refuses as a gateway does', { kind => 'replace', status => 400,
			json => { error => { code => 'X', message => "no $secret{client}" } } },
		$refused, qr/answered 400: no \*\*\*$/, 1 ],
	[ 'redirects', { kind => 'redirect' }, $unreachable, qr/answered 303/, 1 ],
	[ 'web page', { kind => 'html' },
		$unreadable, qr/with a web page instead of a token/, 1 ],
	[ 'nothing', { kind => 'empty' },
		$unreadable, qr/with something else than a token/, 1 ],
	[ 'half', { kind => 'bad_json' },
		$unreadable, qr/with something else than a token/, 1 ],
	[ 'null', { kind => 'replace', text => 'null' },
		$unreadable, qr/with something else than a token/, 1 ],
	[ 'no token', { kind => 'replace', json => { expires_in => 3600 } },
		$unreadable, qr/without an access token/, 1 ],
	[ 'token of another type', { kind => 'replace',
			json => { access_token => 7, expires_in => 3600 } },
		$unreadable, qr/without an access token/, 1 ],
	[ 'header in the token', { kind => 'replace',
			json => { access_token => "x\r\nEvil: 1", expires_in => 3600 } },
		$unreadable, qr/without an access token/, 1 ],
	[ 'no bearer', { kind => 'replace',
			json => { access_token => 'standin-oauth-x', token_type => 'mac', expires_in => 3600 } },
		$unreadable, qr/no bearer token/, 1 ],
	(   map {
			[ "good for $_->[0]", { kind => 'replace',
					text => qq({"access_token": "standin-oauth-x", "@{[ $_->[2] // 'expires_in' ]}": $_->[1]}) },
				$unreadable, qr/without a time for which the token is good/, 1 ]
		} [ 'nothing', 0 ], [ 'less', -5 ], [ 'words', '"soon"' ],
		[ 'null', 'null' ], [ 'a list', '[1]' ],
		[ 'too much', '99999999999999999999' ],
		[ 'an age ago', '-9223372036854775808', 'expires_on' ]))
{
	my ($name, $fault, $state, $message, $requests) = @$case;

	$workspace->post('faults',
		{ path => $token_path, count => undef, %$fault });
	$mark = $workspace->mark;
	$error =
	  sql_error($node, "SELECT databricks.get_job(1, workspace => 'm2m')");
	$workspace->delete('faults');
	is($error->{state}, $state, "endpoint, $name: SQLSTATE");
	like($error->{message},
		qr/^no token for workspace "m2m": the token endpoint \Q$endpoint\E/,
		'... names the endpoint (case 7)');
	like($error->{message}, $message, '... says what it answered');
	is($workspace->calls(since => $mark, path => '/api/*'),
		0, '... and the call was not sent');
	$requests > 1
	  ? cmp_ok(token_requests($mark), '>=', 2, '... after a few attempts')
	  : is(token_requests($mark), 1, '... after one attempt');
}

# A statement is cancelled in the middle of it, and the next one is not held up.
$workspace->post('faults', { path => $token_path, kind => 'hang' });
$error = sql_error($node,
	"SET statement_timeout = '500ms'; SELECT databricks.get_job(1, workspace => 'm2m')"
);
is($error->{state}, '57014', 'waiting for a token can be cancelled');
$session = $node->background_psql('postgres', on_error_stop => 0);
$workspace->post('faults', { path => $token_path, kind => 'hang' });
$session->query("SET statement_timeout = '500ms'");
$session->query("SELECT databricks.get_job(1, workspace => 'm2m')");
$session->query("SET statement_timeout = 0");
cmp_ok(
	$session->query(
		"SELECT databricks.find_job('again', workspace => 'm2m')"),
	'>', 0, '... and the session asks anew');
$session->quit;

$row = do {
	$workspace->post('faults',
		{ path => $token_path, kind => 'status', status => 503, count => undef });
	$mark = $workspace->mark;
	check('m2m');
};
is(token_requests($mark), 1, 'check_connection() tries once');
$workspace->delete('faults');
ok(!$row->{ok}, '... never raises');
is($row->{auth_type}, 'oauth-m2m', '... says how it tried');
like($row->{message}, qr/\Q$endpoint\E answered 503/, '... and what failed');

# --- Azure ------------------------------------------------------------------------

my %sp = (
	azure_client_id => 'standin-azure',
	azure_client_secret => $secret{azure},
	azure_tenant_id => $tenant);
my %login = (azure_login_host => $workspace->url);
my $resource =
  '/subscriptions/1/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w';

define('azure', \%login, \%sp);
$mark = $workspace->mark;
$row = check('azure');
is( "$row->{auth_type} $row->{user_name}",
	'azure-client-secret azure@example.com',
	'a service principal of Azure (case 8)');
is(token_requests($mark, "/$tenant/oauth2/token"), 1, '... asks its login host');
($request) = $workspace->journal(since => $mark, path => '/api/*');
ok(!exists $request->{headers}->{'x-databricks-azure-sp-management-token'},
	'... for one token');

delete $sp{azure_tenant_id};
define('azure', \%login, \%sp);
$mark = $workspace->mark;
ok(check('azure')->{ok}, 'the workspace tells its tenant');
is($workspace->calls(since => $mark, path => '/aad/auth'), 1, '... when asked');
$workspace->post(
	'faults',
	{   path => '/aad/auth',
		kind => 'redirect',
		location => 'https://evil.example/../x' });
like(check('azure')->{message}, qr/does not tell the directory/,
	'a redirect without a tenant');

$workspace->post(
	'clients',
	{   client_id => 'standin-azure',
		client_secret => $secret{azure},
		user => 'azure@example.com',
		kind => 'azure',
		admin => JSON::PP::true,
		resource_id => $resource });
$row = check('azure');
ok(!$row->{ok}, 'no user of the workspace');
define('azure', { %login, azure_workspace_resource_id => $resource }, \%sp);
$mark = $workspace->mark;
$row = check('azure');
ok($row->{ok}, '... gets in by his right on it in Azure (case 8)')
  or diag($row->{message});
($request) = $workspace->journal(since => $mark, path => '/api/*');
is( $request->{headers}->{'x-databricks-azure-workspace-resource-id'},
	$resource,
	'... which is named');
my @bodies =
  map { $_->{body} } $workspace->journal(since => $mark, path => '*/oauth2/token');
is(scalar(@bodies), 2, '... with two tokens');
is(scalar(grep { /resource=https%3A%2F%2Fmanagement.core.windows.net%2F/ } @bodies),
	1, '... one of them for the management of Azure');

foreach my $case (
	[ {}, { azure_client_id => 'x' }, qr/"azure_client_secret" is missing/ ],
	[ {}, { azure_client_secret => 'xxxxxxx' }, qr/"azure_client_id" is missing/ ],
	[   \%login, { %sp, azure_client_secret => 'wrong-secret' },
		qr/answered 401: invalid_client: AADSTS7000215/ ],
	[   \%login, { %sp, azure_tenant_id => 'other' },
		qr/AADSTS90002: Tenant 'other' not found/ ])
{
	my ($server, $mapping, $message) = @$case;
	define('azure', $server, $mapping);
	like(check('azure')->{message}, $message, 'a precise error (case 8)');
}

# Clouds differ in their addresses.
define('azure', { azure_environment => 'CHINA', connect_timeout => '50ms' },
	{ %sp, azure_tenant_id => $tenant });
like(check('azure')->{message},
	qr{https://login\.chinacloudapi\.cn/$tenant/oauth2/token},
	'each cloud has its login host');
define(
	'azure',
	{   host => 'https://adb-1.2.databricks.azure.us',
		connect_timeout => '50ms' },
	{ %sp, azure_tenant_id => $tenant });
like(check('azure')->{message},
	qr{https://login\.microsoftonline\.us/$tenant/oauth2/token},
	'... which the host tells too');

# Managed identity.
define('machine', { %login, auth_type => 'azure-msi' }, {});
$mark = $workspace->mark;
$session = $node->background_psql('postgres');
is( $session->query_safe(
		"SELECT auth_type, user_name FROM databricks.check_connection('machine')"),
	'azure-msi|machine@example.com',
	'managed identity');
$session->query_safe("SELECT databricks.check_connection('machine')");
is(token_requests($mark, '/metadata/*'),
	1, '... whose token is kept (case 9)');
$session->quit;
$workspace->post(
	'faults',
	{ path => '/metadata/*', kind => 'status', status => 429, retry_after => 1 });
$mark = $workspace->mark;
$node->safe_psql('postgres',
	"SELECT databricks.find_job('again', workspace => 'machine')");
is(token_requests($mark, '/metadata/*'),
	2, 'a throttled metadata service is asked again (case 9)');
define('machine', { %login, auth_type => 'azure-msi' },
	{ azure_client_id => 'standin-identity' });
ok(check('machine')->{ok}, 'one identity of several');
define('machine', { %login, auth_type => 'azure-msi' },
	{ azure_client_id => 'nobody' });
like(check('machine')->{message},
	qr/the metadata service \S+ answered 400: invalid_request: Identity not found/,
	'... or one that is not there');
$workspace->post(
	'clients',
	{   client_id => 'standin-identity',
		user => 'machine@example.com',
		kind => 'identity',
		resource_id => $resource });
define(
	'machine',
	{   %login,
		auth_type => 'azure-msi',
		azure_workspace_resource_id => $resource },
	{});
ok(check('machine')->{ok}, 'a managed identity that is no user of the workspace');

# --- exchange of signed tokens -----------------------------------------------------

my $jwt_file = write_file('jwt', "$secret{jwt}\n");
define('oidc', {}, { oidc_token_file => $jwt_file });
$mark = $workspace->mark;
$row = check('oidc');
is( "$row->{auth_type} $row->{user_name}",
	'file-oidc robot@example.com',
	'a signed token is exchanged');
($request) = $workspace->journal(since => $mark, path => $token_path);
is($request->{user}, undef, '... without a secret');
unlike($request->{body}, qr/client_id/, '... and without a client id');

define('oidc', {},
	{ oidc_token_file => $jwt_file, client_id => 'standin-client' });
ok(check('oidc')->{ok}, '... or with one');

$session = $node->background_psql('postgres');
is( $session->query_safe("SELECT ok FROM databricks.check_connection('oidc')"),
	't', 'a session has a token');
$workspace->post(
	'clients',
	{   client_id => 'standin-client',
		client_secret => $secret{client},
		user => 'robot@example.com',
		admin => JSON::PP::true,
		subject_tokens => ['standin.jwt.robot.second'] });
write_file('jwt', "  standin.jwt.robot.second  ");
$workspace->post('revoke');
is( $session->query_safe("SELECT ok FROM databricks.check_connection('oidc')"),
	't',
	'the file is read anew for each token (case 10)');
$session->quit;

unlink($jwt_file);
like(check('oidc')->{message},
	qr/the file with a signed token "\Q$jwt_file\E" cannot be opened: No such file/,
	'a file that is gone');
write_file('jwt', "two words");
like(check('oidc')->{message}, qr/holds something else than one token/,
	'a file with something else');
write_file('jwt', "\n");
like(check('oidc')->{message}, qr/is empty/, 'an empty file');

# A signed token says for whom it was made.
{
	my $claims = MIME::Base64::encode_base64url('{"aud":["https://w"],"sub":"x"}');
	my $signed = "eyJhbGciOiJub25lIn0.$claims.c2ln";
	$workspace->post(
		'clients',
		{   client_id => 'standin-client',
			client_secret => $secret{client},
			user => 'robot@example.com',
			subject_tokens => [$signed] });
	$secret{signed} = $signed;
	write_file('jwt', $signed);
	define('oidc', { audience => 'https://w' }, { oidc_token_file => $jwt_file });
	ok(check('oidc')->{ok}, 'a signed token made for this audience');
	define('oidc', { audience => 'https://v' }, { oidc_token_file => $jwt_file });
	$mark = $workspace->mark;
	like(check('oidc')->{message}, qr/is not made for audience "https:\/\/v"/,
		'... and for another one');
	is(token_requests($mark), 0, '... is not sent');
}

# --- token file --------------------------------------------------------------------

my $token_file = write_file('token', $workspace->token . "\n");
define('file', {}, { token_file => $token_file });
$session = $node->background_psql('postgres');
is( $session->query_safe(
		"SELECT auth_type, user_name FROM databricks.check_connection('file')"),
	'token-file|admin@example.com',
	'a token out of a file (case 5)');
write_file('token', 'dapi-standin-etl');
is( $session->query_safe(
		"SELECT user_name FROM databricks.check_connection('file')"),
	'etl@example.com',
	'... which is read anew each time');
write_file('token', 'dapi-standin-expired');
$mark = $workspace->mark;
is( $session->query_safe("SELECT ok FROM databricks.check_connection('file')"),
	'f', '... refused');
is($workspace->calls(since => $mark), 1, '... and not sent again unchanged');
unlink($token_file);
like(
	$session->query_safe(
		"SELECT message FROM databricks.check_connection('file')"),
	qr/the token file "\Q$token_file\E" cannot be opened/,
	'... gone');
POSIX::mkfifo($token_file, 0600) or die "mkfifo: $!";
like(
	$session->query_safe(
		"SELECT message FROM databricks.check_connection('file')"),
	qr/is not a plain file/,
	'... a pipe that would never answer');
$session->quit;

# --- tokens belong to a mapping ------------------------------------------------------

$workspace->post('clients',
	{ client_id => 'second', client_secret => 'dose0second0secret0000000000000000',
	  user => 'second@example.com', admin => JSON::PP::true });
$workspace->post('clients',
	{ client_id => 'standin-client', client_secret => $secret{client},
	  user => 'robot@example.com', admin => JSON::PP::true });
define('m2m', {}, \%m2m);
$node->safe_psql('postgres', q{
	CREATE ROLE alice; CREATE ROLE bob;
	GRANT USAGE ON FOREIGN SERVER m2m TO alice, bob;
	CREATE USER MAPPING FOR alice SERVER m2m OPTIONS (client_id 'standin-client', client_secret 'dose0standin0secret0of0the0robot');
	CREATE USER MAPPING FOR bob SERVER m2m OPTIONS (client_id 'second', client_secret 'dose0second0secret0000000000000000')});
$session = $node->background_psql('postgres');
my $whoami = "SELECT user_name FROM databricks.check_connection('m2m')";
$mark = $workspace->mark;
$session->query_safe('SET ROLE alice');
is($session->query_safe($whoami), 'robot@example.com', 'one role');
$session->query_safe('SET ROLE bob');
is($session->query_safe($whoami), 'second@example.com', 'another role, same session');
is(token_requests($mark), 2, '... have tokens of their own');
$session->query_safe('RESET ROLE');
is($session->query_safe($whoami), 'robot@example.com', 'the same principal by another mapping');
is(token_requests($mark), 3, '... has its own as well');
$session->query_safe('SET ROLE alice');
$session->query_safe($whoami);
is(token_requests($mark), 3, '... and all are kept');

$session->query_safe('RESET ROLE');
$mark = $workspace->mark;
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR CURRENT_USER SERVER m2m OPTIONS (SET client_id 'second', SET client_secret 'dose0second0secret0000000000000000')});
is($session->query_safe($whoami), 'second@example.com', 'ALTER USER MAPPING drops the token');
is(token_requests($mark), 1, '... and a new one is asked for');
$node->safe_psql('postgres', q{ALTER SERVER m2m OPTIONS (ADD connect_timeout '9s')});
$session->query_safe($whoami);
is(token_requests($mark), 2, 'so does ALTER SERVER');
$node->safe_psql('postgres', q{DROP USER MAPPING FOR CURRENT_USER SERVER m2m;
	CREATE USER MAPPING FOR CURRENT_USER SERVER m2m OPTIONS (client_id 'second', client_secret 'dose0second0secret0000000000000000')});
$session->query_safe($whoami);
is(token_requests($mark), 3, 'and DROP USER MAPPING');

$mark = $workspace->mark;
foreach (1 .. 20)
{
	$workspace->post('revoke');
	$session->query_safe($whoami);
	$node->safe_psql('postgres',
		q{ALTER SERVER m2m OPTIONS (SET connect_timeout '9s')});
	$session->query_safe($whoami);
}
cmp_ok(token_requests($mark), '>=', 40, 'many tokens later');
is( $session->query_safe(
		"SELECT string_agg(name, ', ' ORDER BY name) FROM pg_backend_memory_contexts WHERE name LIKE 'databricks %'"
	),
	'databricks token, databricks token error',
	'... there is one');
$session->quit;

# --- workers call outside of transactions -----------------------------------------------

my $tracking = new_node('tracking', preload => 1);
settings(oauth_lifetime_s => 2);
$mark = $workspace->mark;
$tracking->safe_psql(
	'postgres', sprintf(
		q{SET client_min_messages = warning;
		  SELECT databricks.connect('tracked', host => '%s', client_id => '%s', client_secret => '%s');
		  SELECT databricks.track('tracked', poll_interval => '200 ms')},
		$workspace->url, @m2m{qw(client_id client_secret)}));
my $seen = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })
  ->{run_id};
$workspace->post('finish', { run_id => $seen });
$tracking->poll_query_until('postgres',
	"SELECT result_state = 'SUCCESS' FROM databricks.run_history WHERE run_id = $seen")
  or die 'the run was not seen';
pass('a worker sees runs with a token that was asked for');
poll_until('it was renewed several times', sub { token_requests($mark) > 5 });
is(scalar(grep { $_->{status} =~ /^40[13]$/ }
		$workspace->journal(since => $mark)),
	0, '... and renews it in time');
log_lacks($tracking, '... which is not in its log', values %secret);
$tracking->stop;
settings(oauth_lifetime_s => 3600);

# --- nothing of it shows ---------------------------------------------------------------

like(log_since($node), qr/DEBUG:  databricks: POST \S+\Q$token_path\E for workspace "m2m": answered 200/,
	'the log has a line for each request of a token');
log_lacks($node, 'no secret in the log at debug5', values %secret,
	'dose0second0secret', 'wrong-secret');

$node->stop;
done_testing();
