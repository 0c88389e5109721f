# 039_redaction.pl - secrets stay secret: every kind of credential, against a
# service that repeats all it was sent in every place it can, at the noisiest level
# of the log.
#
# The mappings are made before the noise begins, as the server itself logs DDL.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::RawServer;
use Databricks::Test;
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

sub escaped { return $_[0] =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord $1)/ger; }

sub unescaped { return $_[0] =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger; }

sub sized
{
	my ($head, $body) = @_;
	return "HTTP/1.1 $head\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
}

# All a request has, in every form in which a secret may stand there.
sub everything
{
	my ($request) = @_;
	my %headers = %{ $request->{headers} };
	my @texts = (values %headers, $request->{target}, $request->{body});

	push @texts, decode_base64($1)
	  if ($headers{authorization} || '') =~ /^Basic (.*)/;
	push @texts, map { unescaped($_) } @texts;
	push @texts, map { /(\S{12,})/ ? escaped($1) : () } @texts;
	return join(' | ', grep { length } map { s/[\r\n"\\]/ /gr } @texts);
}

# What was issued: the text itself looks like nothing special.
sub issued { return "issued/to $_[0]+0123456789" =~ s/ /=/r; }

my $server = Databricks::RawServer->start(sub {
		my ($client, $request) = @_;
		my $all = everything($request);
		my $target = $request->{target};
		my $answer = sized('400 No', json({ error_code => 'X', message => "you said: $all" }));

		# who gives out tokens: "ok", "echo" or "page" is in the path or the query
		if ($target =~ m{/token})
		{
			$answer = sized('200 OK', json({ access_token => issued($1), token_type => 'Bearer', expires_in => 3600 }))
			  if "$target $request->{body}" =~ /ok-(\w+)/;
			$answer = sized('401 No', json({ error => "invalid $all", error_description => $all }))
			  if "$target $request->{body}" =~ /echo-/;
			$answer = sized('200 OK', "<html>$all</html>") if "$target $request->{body}" =~ /page-/;
		}
		elsif ($target =~ m{/jobs/list})
		{
			$answer = sized('200 OK', '{"jobs":[{"job_id":1,"settings":{"name":"x"}}]}');
		}
		elsif ($target =~ m{/odd/(\w+)})
		{
			$answer = {
				text => sized('400 No', "SOME_CODE: $all"),
				page => sized("500 No\r\nContent-Type: text/html", "<html><pre>$all</pre></html>"),
				scim => sized('400 No', json({ schemas => ['x'], detail => $all, scimType => $all })),
				oauth => sized('401 No', json({ error => $all, error_description => $all })),
				code => sized('400 No', json({ error_code => $all, message => '' })),
				redirect => sized("302 No\r\nLocation: https://x/login/$all", ''),
				id => sized("400 No\r\nX-Request-Id: $all", '{}'),
				reason => sized("400 $all", ''),
				garbage => sized('200 OK', "{\"a\": $all"),
				array => sized('200 OK', json([$all])),
				details => sized('400 No', json({ error_code => 'X', message => 'you said', details => [ { reason => $all } ] })),
				unknown => sized('400 No', json({ what => [$all] })),
				success => sized('200 OK', json({ error_code => $all, message => $all })),
				member => sized('200 OK', json({ $all => [1] })),
				broken => "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n$all",
				nonsense => $all }->{$1};
		}
		print $client $answer;
		return $target !~ /broken|nonsense/;
	});
my $url = $server->url;
my $files = PostgreSQL::Test::Utils::tempdir();

sub write_file
{
	my ($name, $content) = @_;
	PostgreSQL::Test::Utils::append_to_file("$files/$name", $content);
	return "$files/$name";
}

# --- every kind of credential ------------------------------------------------------
#
# name => [ server options, mapping options, secrets ]. What gets its token from an
# endpoint is there three times: with a token, with a refusal, with nonsense.

my %secret = map { $_ => "very $_/unlike+any=token-$_" =~ s/ /-/r }
  qw(pat file m2m azure oidcfile oidcenv env profile profilem2m);
my %kind = (
	pat => [ {}, { token => $secret{pat} }, $secret{pat} ],
	token_file => [ {}, { token_file => write_file('token', $secret{file}) }, $secret{file} ],
	env => [ { auth_type => 'env' }, {}, $secret{env} ],
	profile => [ { config_file => write_file('profiles', "[p]\ntoken = $secret{profile}\n"), profile => 'p' }, {}, $secret{profile} ]);
foreach my $how (qw(ok echo page))
{
	$kind{"m2m_$how"} = [ { token_url => "$url/token/$how-m2m" },
		{ client_id => 'client-m2m', client_secret => $secret{m2m} },
		$secret{m2m}, encode_base64("client-m2m:$secret{m2m}", ''), issued('m2m') ];
	$kind{"profile_m2m_$how"} = [
		{ token_url => "$url/token/$how-profile", profile => 'q',
			config_file => write_file("profiles_$how", "[q]\nclient_id = client-p\nclient_secret = $secret{profilem2m}\n") },
		{}, $secret{profilem2m}, encode_base64("client-p:$secret{profilem2m}", ''), issued('profile') ];
	$kind{"azure_$how"} = [
		{ azure_login_host => $url, azure_workspace_resource_id => '/subscriptions/x' },
		{ azure_client_id => 'client-az', azure_client_secret => $secret{azure}, azure_tenant_id => "$how-azure" },
		$secret{azure}, issued('azure') ];
	$kind{"msi_$how"} = [
		{ azure_login_host => $url, auth_type => 'azure-msi', azure_workspace_resource_id => '/subscriptions/x' },
		{ azure_client_id => "$how-msi" }, issued('msi') ];
	$kind{"oidc_file_$how"} = [ { token_url => "$url/token/$how-oidcfile" },
		{ oidc_token_file => write_file("jwt_$how", $secret{oidcfile}) }, $secret{oidcfile}, issued('oidcfile') ];
	$kind{"oidc_env_$how"} = [ { token_url => "$url/token/$how-oidcenv", auth_type => 'env-oidc' },
		{}, $secret{oidcenv}, issued('oidcenv') ];
}

my $node = new_node('main', start => 0);
{
	local $ENV{DATABRICKS_TOKEN} = $secret{env};
	local $ENV{DATABRICKS_OIDC_TOKEN} = $secret{oidcenv};
	$node->start;
}
create_extension($node);

sub options
{
	my (%options) = @_;
	return %options
	  ? 'OPTIONS (' . join(', ', map { "$_ '$options{$_}'" } sort keys %options) . ')'
	  : '';
}
foreach my $name (sort keys %kind)
{
	my ($server_options, $mapping_options) = @{ $kind{$name} };
	$node->safe_psql('postgres', join(";\n",
			"CREATE SERVER $name FOREIGN DATA WRAPPER databricks "
			  . options(host => $url, retry_timeout => '0', %$server_options),
			"CREATE USER MAPPING FOR CURRENT_USER SERVER $name " . options(%$mapping_options),
			"CREATE SCHEMA $name",
			"SET client_min_messages = warning",
			"IMPORT FOREIGN SCHEMA databricks LIMIT TO (jobs) FROM SERVER $name INTO $name"));
}
$node->safe_psql('postgres', join(";\n", map { "ALTER SYSTEM SET $_" }
		  'log_min_messages = debug5', 'log_error_verbosity = verbose',
		'log_min_error_statement = debug5', q{log_statement = 'all'}, 'log_duration = on',
		'log_min_duration_statement = 0', 'debug_print_parse = on',
		'debug_print_rewritten = on', 'debug_print_plan = on'));
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('log_min_messages') = 'debug5'})
  or die 'the log is not noisy';

# --- what is done with each, and where it could show -----------------------------------

my @odd = qw(text page scim oauth code redirect id reason garbage array details unknown success broken nonsense);
my %shown;
foreach my $name (sort keys %kind)
{
	my ($out, $err) = ('', '');
	my @statements = (
		(map { "SELECT databricks.api('GET', '/api/2.0/odd/$_', workspace => '$name')" } @odd),
		"SELECT databricks.api('POST', '/api/2.0/echo', '{\"a\": 1}', '$name')",
		"SELECT databricks.api_pages('/api/2.0/odd/member', 'rows', NULL, '$name')",
		"SELECT * FROM databricks.api_many(jsonb_build_array("
		  . join(', ', map { "jsonb_build_object('method', 'GET', 'path', '/api/2.0/odd/$_')" } @odd)
		  . "), '$name')",
		"SELECT * FROM databricks.check_connection('$name')",
		"SELECT databricks.run_now(1, workspace => '$name')",
		"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) SELECT * FROM $name.jobs",
		"EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM $name.jobs",
		"SELECT * FROM $name.jobs",
		'TABLE databricks.stat_api',
		'TABLE databricks.workspaces',
		'SELECT * FROM pg_stat_activity',
		'SELECT * FROM pg_prepared_statements');

	$node->psql('postgres', join(";\n", "\\set VERBOSITY verbose\nSET client_min_messages = debug5", @statements, ''),
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	$shown{$name} = "$out\n$err";
}
my $log = log_since($node);

foreach my $name (sort keys %kind)
{
	my (undef, undef, @secrets) = @{ $kind{$name} };

	like($shown{$name}, $name =~ /echo|page/ ? qr/no token for workspace "$name"/ : qr/you said: .*\*\*\*/s,
		"$name: the service repeats what it was sent, masked");
	foreach my $secret (map { ($_, escaped($_), encode_base64($_, '') =~ s/=*$//r) } @secrets)
	{
		foreach my $place ([ 'shown', $shown{$name} ], [ 'logged', $log ])
		{
			my ($where, $text) = @$place;
			my $at = index($text, $secret);
			ok($at < 0, "$name: no secret is $where")
			  or diag(substr($text, $at > 300 ? $at - 300 : 0, 400));
		}
	}
}

# It would be noticed: the secrets were sent, and the log has what belongs there.
my $sent = join(' ', map { everything($_) } $server->journal);
foreach my $name (sort keys %kind)
{
	my (undef, undef, @secrets) = @{ $kind{$name} };
	ok((grep { index($sent, $_) >= 0 } @secrets) > 0, "$name: its secret was sent");
}
like($log, qr/DEBUG:  00000: databricks: GET \/api\/2\.0\/odd\/text /, 'the log tells requests');
like($log, qr/LOG:  00000: (statement|execute|duration)/, '... and statements');

$node->stop;
done_testing();
