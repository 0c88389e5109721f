# 036_auth_server.pl - what belongs to the server: its environment, its files, its
# identity. Who may use them, how they are read, and which credentials are taken
# when there are several. Acceptance cases 5, 11, 12.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $url = $workspace->url;
my $files = PostgreSQL::Test::Utils::tempdir();
my $home = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('main', start => 0);

# The environment is that of the server process: each start can have another.
my %usual = (HOME => $home);

sub restart_with
{
	my (%variables) = @_;
	my @ours =
	  grep { /^(?:DATABRICKS_|ARM_)/ && !/^DATABRICKS_TEST/ } keys %ENV;

	$node->stop if $node->{_pid};
	local @ENV{@ours};
	delete @ENV{@ours};
	local %ENV = (%ENV, %usual, %variables);
	$node->start;
	return;
}

restart_with();
create_extension($node);

# The postmaster itself would write its environment to the log at this level.
$node->safe_psql('postgres',
	'ALTER DATABASE postgres SET log_min_messages = debug5');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub check
{
	my ($name, $role) = @_;
	return json(
		sql(($role ? "SET ROLE $role; " : '')
			. "SELECT row_to_json(c) FROM databricks.check_connection('$name') AS c"
		));
}

sub write_file
{
	my ($name, $content) = @_;
	open(my $fh, '>:raw', $name) or die "$name: $!";
	print $fh $content;
	close($fh);
	return $name;
}

sub define
{
	my ($name, $server, $mapping) = @_;
	sql(<<~SQL);
		SET client_min_messages = warning;
		DROP SERVER IF EXISTS $name CASCADE;
		CREATE SERVER $name FOREIGN DATA WRAPPER databricks OPTIONS ($server);
		CREATE USER MAPPING FOR CURRENT_USER SERVER $name @{[
			$mapping ? "OPTIONS ($mapping)" : '' ]};
		SQL
	return;
}

my $etl = 'dapi-standin-etl';
my $runner = 'dapi-standin-runner';
my $robot = 'dose0standin0secret0of0the0robot';
my $host = "host '$url'";

### Profiles

my $config = "$files/profiles";

# content, profile (undef: none named), user or error
foreach my $case (
	[ 'a plain one', "[DEFAULT]\nhost = $url\ntoken = $etl\n", undef, 'etl' ],
	[ 'by name', "[DEFAULT]\ntoken = x\n\n[p]\ntoken = $etl\n", 'p', 'etl' ],
	[ 'no spaces', "[p]\nhost=$url\ntoken=$etl", 'p', 'etl' ],
	[ 'many spaces', "  [ p ]  \n\t token \t =  $etl \t \n", 'p', 'etl' ],
	[ 'a colon', "[p]\ntoken: $etl\nhost: $url\n", 'p', 'etl' ],
	[ 'Windows', "[p]\r\nhost = $url\r\ntoken = $etl\r\n\r\n", 'p', 'etl' ],
	[ 'a byte order mark', "\xef\xbb\xbf[p]\ntoken = $etl\n", 'p', 'etl' ],
	[ 'comments', "# one\n; two\n[p] # three\n  # four\ntoken = $etl\n", 'p', 'etl' ],
	[ 'a comment behind', "[p]\ntoken = $etl # mine\n", 'p', 'etl' ],
	[ '... with a semicolon', "[p]\ntoken = $etl\t; mine\n", 'p', 'etl' ],
	[ 'no comment without a blank', "[p]\ntoken = $etl#x\n", 'p', qr/Invalid access token/ ],
	[ 'double quotes', "[p]\ntoken = \"$etl\"\n", 'p', 'etl' ],
	[ 'single quotes, a comment', "[p]\ntoken = '$etl' # x\n", 'p', 'etl' ],
	[ 'one quote', "[p]\ntoken = \"$etl\n", 'p', qr/Invalid access token/ ],
	[ 'case of keys', "[p]\nHost = $url\nTOKEN = $etl\n", 'p', 'etl' ],
	[ 'case of names', "[P]\ntoken = $etl\n", 'p', qr/there is no profile "p"/ ],
	[ 'the last of two', "[p]\ntoken = x\ntoken = $etl\n", 'p', 'etl' ],
	[ 'in two parts', "[p]\nhost = $url\n[q]\ntoken = x\n[p]\ntoken = $etl\n", 'p', 'etl' ],
	[ 'empty values', "[p]\ntoken = $etl\nclient_id =\nclient_secret = \n", 'p', 'etl' ],
	[ 'unknown keys', "[p]\ntoken = $etl\ncluster_id = 7\nx-y = z\n", 'p', 'etl' ],
	[ 'no inheritance', "[DEFAULT]\ntoken = $etl\n[p]\nhost = $url\n", 'p', qr/no usable credentials/ ],
	[ 'another default', "[__settings__]\ndefault_profile = q\n[DEFAULT]\ntoken = x\n[q]\ntoken = $etl\n", undef, 'etl' ],
	[ '... that is not there', "[__settings__]\ndefault_profile = q\n[DEFAULT]\ntoken = x\n", undef, qr/there is no profile "q"/ ],
	[ '... is not asked for', "[__settings__]\ndefault_profile = q\n[q]\ntoken = x\n[p]\ntoken = $etl\n", 'p', 'etl' ],
	[ 'settings are no profile', "[__settings__]\ntoken = $etl\n", '__settings__', qr/there is no profile/ ],
	[ 'none there', "[q]\ntoken = x\n[r]\n", 'p', qr/there is no profile "p" in "\Q$config\E"/ ],
	[ 'empty file', '', 'p', qr/there is no profile "p"/ ],
	[ 'empty file, no name', '', undef, qr/no usable credentials/ ],
	[ 'a line that is none', "[p]\ntoken $etl\n", 'p', qr/line 2 of "\Q$config\E" is neither a section nor a setting/ ],
	[ 'half a section', "[p\ntoken = $etl\n", 'p', qr/line 1 of/ ],
	[ 'before any section', "token = $etl\n", undef, 'etl' ],
	[ 'a service principal', "[p]\nclient_id = standin-client\nclient_secret = $robot\n", 'p', 'robot' ],
	[ 'managed identity', "[p]\nazure_use_msi = true\n", 'p', 'machine', "azure_login_host '$url'" ],
	[ 'user and password', "[p]\nusername = u\npassword = p\n", 'p', qr/no longer accepts them \(basic authentication\).*"token"/ ],
	[ '... beside a token', "[p]\nusername = u\npassword = p\ntoken = $etl\n", 'p', qr/more than one way to authenticate is configured.*: basic and pat/ ],
	[ 'auth_type', "[p]\ntoken = $etl\nclient_id = standin-client\nclient_secret = $robot\nauth_type = oauth-m2m\n", 'p', 'robot' ],
	[ 'an auth_type of other tools', "[p]\nauth_type = databricks-cli\n", 'p', qr/invalid value for option "auth_type"/ ],
	[ 'auth_type basic', "[p]\nauth_type = basic\n", 'p', qr/auth_type "basic" is not supported/ ],
	[ 'a token that is none', "[p]\ntoken = two words\n", 'p', qr/invalid value for option "token"/ ])
{
	my ($name, $content, $profile, $expected, $more) = @$case;

	write_file($config, $content);
	define(
		'profile',
		"$host, config_file '$config'" . ($more ? ", $more" : ''),
		defined $profile ? "profile '$profile'" : '');
	if (ref $expected)
	{
		my $row = json(
			sql(q{
			CREATE OR REPLACE FUNCTION pg_temp.try() RETURNS jsonb LANGUAGE plpgsql AS $$
			DECLARE message text;
			BEGIN
				RETURN (SELECT to_jsonb(c) FROM databricks.check_connection('profile') AS c);
			EXCEPTION WHEN OTHERS THEN
				RETURN jsonb_build_object('ok', false, 'message', SQLERRM);
			END $$;
			SELECT pg_temp.try()}));
		ok(!$row->{ok}, "profile, $name: refused");
		like($row->{message}, $expected, '... says why');
	}
	else
	{
		is(check('profile')->{user_name}, "$expected\@example.com",
			"profile, $name");
	}
}

write_file($config, "[p]\nhost = $url/?o=42\ntoken = $etl\n[q]\ntoken = $runner\n");
define('profile', "config_file '$config', profile 'p'");
is(check('profile')->{user_name}, 'etl@example.com', 'a profile gives the host too');
is( ($workspace->journal(path => '/api/*'))[-1]
	  ->{headers}->{'x-databricks-workspace-id'},
	'42', '... and the workspace id of a pasted address');
define('profile', "$host, config_file '$config', profile 'p'", "profile 'q'");
is(check('profile')->{user_name},
	'runner@example.com', "the mapping's profile wins");
define('profile', "$host, config_file '$config', profile 'p'",
	"token '$runner'");
is(check('profile')->{user_name},
	'runner@example.com', 'an option wins over the profile (case 5)');
write_file($config, "[p]\ntoken = $runner\n");
define('profile', "$host, config_file '$config', profile 'p'");
my $session = $node->background_psql('postgres');
my $who = "SELECT user_name FROM databricks.check_connection('profile')";
is($session->query_safe($who), 'runner@example.com', 'a profile that changes');
write_file($config, "[p]\ntoken = $etl\n");
is($session->query_safe($who), 'etl@example.com', '... is read anew');
$session->quit;

write_file("$home/.databrickscfg", "[DEFAULT]\ntoken = $runner\n[mine]\ntoken = $etl\n");
define('profile', $host, '');
my $row = check('profile');
ok(!$row->{ok}, 'a file in the home directory is not read just because it is there');
SKIP:
{
	skip 'the home directory is looked up in the password file', 1
	  if $node->pg_version < 16;
	define('profile', $host, "profile 'mine'");
	is(check('profile')->{user_name}, 'etl@example.com', '... but when a profile is named');
}
define('profile', "$host, config_file '$files/absent'", '');
my $error = sql_error($node, "SELECT databricks.check_connection('profile')");
is("$error->{state} $error->{message}",
	qq(58P01 the file with profiles "$files/absent" cannot be opened: No such file or directory),
	'a file that is not there');
$error = sql_error($node, "ALTER SERVER profile OPTIONS (SET config_file 'relative')");
is($error->{state}, 'HV024', 'a file needs an absolute path');

### Which credentials are taken

define('choice', $host, "token '$etl', client_id 'standin-client', client_secret '$robot'");
$row = check('choice');
ok(!$row->{ok}, 'two kinds of credentials');
like($row->{message},
	qr/more than one way to authenticate is configured for workspace "choice": pat and oauth\. .*auth_type/,
	'... are an error that names both');
$error = sql_error($node, "SELECT databricks.get_job(1, workspace => 'choice')");
is($error->{state}, '28000', '... with its state');
foreach my $case ([ 'pat', 'etl' ], [ 'oauth-m2m', 'robot' ])
{
	define('choice', "$host, auth_type '$case->[0]'",
		"token '$etl', client_id 'standin-client', client_secret '$robot'");
	$row = check('choice');
	is("$row->{auth_type} $row->{user_name}", "$case->[0] $case->[1]\@example.com",
		"auth_type chooses $case->[0]");
	like($row->{message}, qr/^connected to \S+ as \S+ by $case->[0]; not by @{[ $case->[0] eq 'pat' ? 'oauth-m2m' : 'pat' ]}, since auth_type is $case->[0]; not configured: /,
		'... and the message says why not the other one');
}
define('choice', "$host, auth_type 'env'", "token '$etl'");
is(check('choice')->{message},
	"connected to $url as etl\@example.com by pat; not configured: oauth-m2m, env-oidc, file-oidc, azure-msi, azure-client-secret, token-file",
	'of what is not configured the message has the names');
define('choice', "$host, auth_type 'azure-client-secret'", "token '$etl'");
like(check('choice')->{message},
	qr/azure-client-secret: the user mapping has no options "azure_client_id" and "azure_client_secret"/,
	'... even what is not there');
define('choice', $host, '');
$row = check('choice');
is($row->{auth_type}, undef, 'nothing to take');
foreach my $reason (
	'pat: the user mapping has no option "token"',
	'oauth-m2m: the user mapping has no options "client_id" and "client_secret"',
	'env-oidc: the environment of the server has no variable DATABRICKS_OIDC_TOKEN',
	'file-oidc: the user mapping has no option "oidc_token_file"',
	'azure-msi: neither auth_type nor a profile says to use it',
	'azure-client-secret: the user mapping has no options',
	'token-file: the user mapping has no option "token_file"')
{
	like($row->{message}, qr/\Q$reason\E/, "... why not $reason");
}
define('choice', $host, "client_id 'standin-client'");
like(check('choice')->{message}, qr/"client_secret" is missing/, 'half of a pair');

foreach my $case (
	[ "ALTER SERVER choice OPTIONS (ADD auth_type 'nonsense')", 'HV024', qr/oauth-m2m, / ],
	[ "ALTER SERVER choice OPTIONS (ADD auth_type 'basic')", 'HV00D', qr/"client_secret"/ ],
	[ "ALTER USER MAPPING FOR CURRENT_USER SERVER choice OPTIONS (ADD password 'geheim-geheim')", 'HV00D', qr/personal access token/ ],
	[ "ALTER USER MAPPING FOR CURRENT_USER SERVER choice OPTIONS (ADD username 'u')", 'HV00D', qr/personal access token/ ],
	[ "ALTER USER MAPPING FOR CURRENT_USER SERVER choice OPTIONS (SET client_id 'a b')", 'HV024', qr/line break/ ],
	[ "ALTER SERVER choice OPTIONS (ADD token_url 'https://h/x?y')", 'HV024', qr/^$/ ],
	[ "ALTER SERVER choice OPTIONS (ADD token_url 'https://u:p\@h/x')", 'HV024', qr/^$/ ],
	[ "ALTER SERVER choice OPTIONS (ADD azure_login_host 'ftp://h')", 'HV024', qr/^$/ ],
	[ "ALTER SERVER choice OPTIONS (ADD azure_environment 'MARS')", 'HV024', qr/PUBLIC, USGOVERNMENT, CHINA/ ],
	[ "ALTER SERVER choice OPTIONS (ADD azure_workspace_resource_id E'/x\\r\\nEvil: 1')", 'HV024', qr/line break/ ])
{
	$error = sql_error($node, $case->[0]);
	is($error->{state}, $case->[1], "refused: $case->[0] (case 11)");
	like($error->{hint}, $case->[2], '... with a hint');
}
define('choice', "$host, token_url 'http://198.51.100.1/token'",
	"client_id 'standin-client', client_secret '$robot'");
like(check('choice')->{message}, qr/the token endpoint http:\S+ is refused/,
	'plain http to another machine is refused');

### Rights

sql(q{
	CREATE ROLE plain LOGIN;
	CREATE ROLE reader LOGIN IN ROLE pg_read_server_files;
	GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO plain, reader});
my $token_file = write_file("$files/token", $runner);
my $jwt_file = write_file("$files/jwt", 'standin.jwt.robot');
write_file($config, "[DEFAULT]\ntoken = $runner\n");

my $make = 'CREATE SERVER own FOREIGN DATA WRAPPER databricks';
foreach my $option (
	"config_file '$config'", "ca_file '$config'", "profile 'p'", "auth_type 'env'",
	"auth_type 'env-oidc'", "auth_type 'azure-msi'")
{
	$error = sql_error($node,
		"SET ROLE plain; $make OPTIONS (host 'https://h', $option)");
	is($error->{state}, '42501', "a plain role may not define $option");
	sql("SET ROLE reader; $make OPTIONS (host 'https://h', $option); DROP SERVER own");
	pass('... a member of pg_read_server_files may');
}
sql("SET ROLE plain; $make OPTIONS (host 'https://h', auth_type 'oauth-m2m'); RESET ROLE; DROP SERVER own");
foreach my $option ("token_file '$token_file'", "oidc_token_file '$jwt_file'", "profile 'p'")
{
	sql("SET ROLE plain; $make OPTIONS (host 'https://h')");
	$error = sql_error($node,
		"SET ROLE plain; CREATE USER MAPPING FOR plain SERVER own OPTIONS ($option)");
	is($error->{state}, '42501', "a plain role may not define $option");
	sql('DROP SERVER own CASCADE');
}

# What was defined by somebody entitled is checked again when it is used.
foreach my $case (
	[ "config_file '$config'", '', 'runner', 'a profile of the server' ],
	[ "auth_type 'azure-msi', azure_login_host '$url'", '', 'machine', 'the managed identity of the server' ],
	[ '', "token_file '$token_file'", 'runner', 'a token file of the server' ],
	[ '', "oidc_token_file '$jwt_file'", 'robot', 'a token file of the server' ])
{
	my ($server, $mapping, $user, $what) = @$case;

	define('used', $host . ($server ? ", $server" : ''), '');
	sql("GRANT USAGE ON FOREIGN SERVER used TO plain, reader");
	sql("CREATE USER MAPPING FOR $_ SERVER used"
		  . ($mapping ? " OPTIONS ($mapping)" : ''))
	  foreach qw(plain reader);
	is(check('used', 'reader')->{user_name}, "$user\@example.com", "$what, by a member");
	$error = sql_error($node, "SET ROLE plain; SELECT databricks.check_connection('used')");
	is($error->{state}, '42501', '... not by a plain role');
	is($error->{message}, "permission denied to use $what for workspace \"used\"", '... by name');
	my $mark = $workspace->mark;
	$error = sql_error($node,
		"SET ROLE plain; SELECT databricks.get_job(1, workspace => 'used')");
	is($error->{state}, '42501', '... in no function');
	is($workspace->calls(since => $mark), 0, '... and nothing was sent');

	sql('REVOKE pg_read_server_files FROM reader');
	$error = sql_error($node, "SET ROLE reader; SELECT databricks.check_connection('used')");
	is($error->{state}, '42501', '... nor by a member who is none any more');
	sql('GRANT pg_read_server_files TO reader');

	# The owner of a server decides where its credentials go.
	sql('ALTER SERVER used OWNER TO plain');
	$error = sql_error($node, "SET ROLE reader; SELECT databricks.check_connection('used')");
	is($error->{state}, '42501', '... nor on a server of a plain role');
	like($error->{detail}, qr/^The owner of the server, role plain,/, '... says so');
}

# A session keeps no right that was taken away.
define('used', $host, '');
sql("GRANT USAGE ON FOREIGN SERVER used TO reader;
	 CREATE USER MAPPING FOR reader SERVER used OPTIONS (oidc_token_file '$jwt_file')");
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query('SET ROLE reader');
is($session->query("SELECT user_name FROM databricks.check_connection('used')"),
	'robot@example.com', 'a session has a token');
sql('REVOKE pg_read_server_files FROM reader');
is($session->query("SELECT user_name FROM databricks.check_connection('used')"),
	'', '... and loses it with the right to it');
sql('GRANT pg_read_server_files TO reader');
$session->quit;

### The environment

restart_with(DATABRICKS_HOST => "$url/", DATABRICKS_TOKEN => $etl);
define('env', $host, '');
is(check('env')->{user_name}, 'etl@example.com',
	'where no option names credentials, the environment is looked into (case 5)');
define('env', $host, "token '$runner'");
is(check('env')->{user_name}, 'runner@example.com', '... not where one does');
define('env', "host 'http://127.0.0.1:9'", '');
like(check('env')->{message}, qr/no usable credentials/,
	'... nor for another host than the one that stands there');
define('env', "auth_type 'env'", '');
$row = check('env');
is("$row->{auth_type} $row->{user_name}", 'pat etl@example.com',
	'auth_type env takes the host from there as well');
define('env', $host, '');
sql('CREATE USER MAPPING FOR plain SERVER env; GRANT USAGE ON FOREIGN SERVER env TO plain');
$row = check('env', 'plain');
ok(!$row->{ok}, 'a plain role gets nothing of the environment');
like($row->{message}, qr/no usable credentials/, '... but an error');
sql("ALTER SERVER env OPTIONS (ADD auth_type 'env')");
$error = sql_error($node, "SET ROLE plain; SELECT databricks.check_connection('env')");
is($error->{state}, '42501', '... when told to use it too');
$row = json(sql(
	q{SELECT row_to_json(c) FROM databricks.connect('told', server_options => '{"auth_type": "env"}', schema => 'told') AS c}));
is($row->{user_name}, 'etl@example.com', 'connect() without host and token');

restart_with(DATABRICKS_TOKEN => $etl);
define('owned', "host 'https://127.0.0.1:9'", '');
is(check('owned')->{auth_type}, 'pat', 'a token of the environment');
sql('ALTER SERVER owned OWNER TO plain');
like(check('owned')->{message}, qr/no usable credentials/,
	'... is for no server of a plain role');

restart_with(
	DATABRICKS_CLIENT_ID => 'standin-client',
	DATABRICKS_CLIENT_SECRET => $robot,
	DATABRICKS_TOKEN => $etl);
define('env', "$host, auth_type 'env'", '');
like(check('env')->{message}, qr/more than one way to authenticate .*: pat and oauth/,
	'two kinds in the environment');
restart_with(
	DATABRICKS_CLIENT_ID => 'standin-client',
	DATABRICKS_CLIENT_SECRET => $robot,
	DATABRICKS_TOKEN => $etl,
	DATABRICKS_AUTH_TYPE => 'oauth-m2m');
is(check('env')->{user_name}, 'robot@example.com', '... and which of them');

restart_with(
	ARM_CLIENT_ID => 'standin-azure',
	ARM_CLIENT_SECRET => 'a~zure/standin+secret.0001',
	ARM_TENANT_ID => $workspace->get('settings')->{azure_tenant},
	ARM_ENVIRONMENT => 'public');
define('env', "$host, azure_login_host '$url', auth_type 'env'", '');
is(check('env')->{user_name}, 'azure@example.com', 'a principal of Azure from the environment');

restart_with(DATABRICKS_OIDC_TOKEN => 'standin.jwt.robot');
define('env', "$host, auth_type 'env-oidc'", '');
$row = check('env');
is("$row->{auth_type} $row->{user_name}", 'env-oidc robot@example.com', 'a signed token');
restart_with(DATABRICKS_OIDC_TOKEN_ENV => 'MY_TOKEN', MY_TOKEN => 'standin.jwt.robot');
is(check('env')->{user_name}, 'robot@example.com', '... in another variable');
restart_with(DATABRICKS_OIDC_TOKEN_FILEPATH => $jwt_file, DATABRICKS_OIDC_TOKEN => 'standin.jwt.robot');
define('env', "$host, auth_type 'env'", '');
like(check('env')->{message}, qr/ by env-oidc; not by file-oidc, since env-oidc comes first; not configured: pat, /,
	'... which comes before a file');
restart_with(DATABRICKS_OIDC_TOKEN_FILEPATH => $jwt_file);
define('env', $host, '');
is(check('env')->{auth_type}, 'file-oidc', '... or in a file');
restart_with(DATABRICKS_CONFIG_FILE => $config, DATABRICKS_CONFIG_PROFILE => 'DEFAULT');
is(check('env')->{user_name}, 'runner@example.com', 'a profile that the environment names');
restart_with(ARM_USE_MSI => 'true');
define('env', "$host, azure_login_host '$url', auth_type 'env'", '');
is(check('env')->{auth_type}, 'azure-msi', 'the environment says to use the identity of the machine');
restart_with(DATABRICKS_USERNAME => 'u', DATABRICKS_PASSWORD => 'geheim-geheim');
like(check('env')->{message}, qr/basic authentication/, 'user and password (case 11)');
restart_with(DATABRICKS_AUTH_TYPE => 'env');
like(check('env')->{message}, qr/no usable credentials/, 'nothing but a circle');

like(log_since($node), qr/DEBUG:  databricks: POST \S+ for workspace "env"/,
	'the log has what sessions did');
log_lacks($node, 'no secret in the log at debug5', $etl, $runner, $robot,
	'standin-oauth-', 'standin.jwt.robot', 'a~zure', 'geheim');

$node->stop;
done_testing();
