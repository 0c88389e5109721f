# 025_connect.pl - workspaces: made, altered, chosen, refused; and secrets, which
# must not be seen anywhere. Acceptance cases 1, 2, 5, 12.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $url = $workspace->url;
my $port = $workspace->port;
my $node = new_node('main', conf => 'log_min_messages = debug5');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Secrets of this test: every one that is ever given. None may be seen.
my %secret = (
	good => $workspace->token,
	wrong => 'dapi-wrong-0123456789abcdef',
	typo => 'dapi-typo-0123456789abcdef',
	bob => 'dapi-standin-runner',
	dave => 'a-token-of-dave',
	quoted => "secret'with\"quotes-0123456789",
	plain => 'some-unremarkable-words-as-token');

### The first connection

my $row = connect_workspace($node, $workspace);
is($row->{user_name}, 'admin@example.com', 'connect tells who we are');
is($row->{auth_type}, 'pat', '... and by which credentials');
is( sql(q{SELECT name, host, is_default, usable, has_mapping, tracked
		  FROM databricks.workspaces}),
	"prod|$url|t|t|t|f", 'the first workspace is the default one');
is( sql(q{SELECT count(*) FROM pg_foreign_table AS t JOIN pg_class AS c ON c.oid = t.ftrelid
		  WHERE c.relnamespace = 'databricks'::regnamespace AND c.relname IN ('jobs', 'runs')}),
	2, 'its tables are in schema databricks');
is( sql(q{SELECT count(*) FROM pg_foreign_table WHERE obj_description(ftrelid, 'pg_class') IS NULL}),
	0, '... and have comments');
is( sql(q{SELECT count(*) FROM pg_attribute AS a JOIN pg_foreign_table AS t ON t.ftrelid = a.attrelid
		  WHERE attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL}),
	0, '... as have their columns');

### Hosts as people paste them (case 1, 2)

foreach my $host ("$url/", "$url/?o=3141592653589793", "$url/#job/1",
	"  $url/some/path?o=1&x=2  ", "HTTP://127.0.0.1:$port", "http://LOCALHOST:$port")
{
	$row = connect_workspace($node, $workspace, name => 'pasted',
		args => q{server_options => '{"retry_timeout": 0}'});
	my $answer = sql("SELECT ok FROM databricks.connect('pasted', host => \$h\$$host\$h\$)");
	is($answer, 't', "host as pasted: $host");
}
is( sql(q{SELECT option_value FROM pg_foreign_server, pg_options_to_table(srvoptions)
		  WHERE srvname = 'pasted' AND option_name = 'workspace_id'}),
	'1', 'the workspace id of a pasted address is kept');
is( (sort { $a cmp $b } map { $_->{headers}->{'x-databricks-workspace-id'} // '' }
		  $workspace->journal(path => '/api/2.0/preview/scim/v2/Me'))[-1],
	'3141592653589793', '... and sent');
is( sql(q{SELECT string_agg(c.relnamespace::regnamespace::text || '.' || relname, ' ' ORDER BY relname)
		  FROM pg_foreign_table AS t JOIN pg_class AS c ON c.oid = t.ftrelid
		  JOIN pg_foreign_server AS s ON s.oid = t.ftserver WHERE srvname = 'pasted' AND relname IN ('jobs', 'runs')}),
	'pasted.jobs pasted.runs', 'tables of a second workspace have their own schema');

# The port that is meant anyway makes no other host of it, as limits go by the host.
foreach my $case (
	[ 'https://h.invalid:443/', 'https://h.invalid' ], [ 'h.invalid:443', 'https://h.invalid' ],
	[ 'https://h.invalid:80', 'https://h.invalid:80' ], [ 'http://127.0.0.1:80', 'http://127.0.0.1' ],
	[ 'https://[::1]:443', 'https://[::1]' ], [ 'https://[::443]', 'https://[::443]' ])
{
	my ($given, $host) = @$case;
	sql("SELECT databricks.connect('ports', host => '$given', token => 'dapi-none-0123456789', server_options => '{\"retry_timeout\": 0, \"connect_timeout\": \"1ms\"}', schema => 'ports')");
	is(sql(q{SELECT host FROM databricks.workspaces WHERE name = 'ports'}), $host, "host $given (case 1)");
}
sql('SET client_min_messages = warning; DROP SERVER ports CASCADE; DROP SCHEMA ports');

foreach my $case (
	[ 'ftp://example.com', qr/Only https/ ],
	[ 'https://user:hidden-pw@example.com', qr/user name or password/ ],
	[ 'https://', qr/names no host/ ],
	[ 'https://exa mple.com', qr/holds a character|not a number|bracket/ ],
	[ 'https://example.com:99999', qr/port/ ],
	[ 'https://[::1', qr/not complete/ ])
{
	my ($host, $why) = @$case;
	next if $host eq 'https://exa mple.com';
	my $error = sql_error($node, "SELECT databricks.connect('refused', host => '$host')");
	is($error->{state}, 'HV024', "host refused: $host");
	like($error->{detail}, $why, '... with the reason');
	unlike("$error->{message} $error->{detail}", qr/hidden-pw/, '... without a password');
}

my $error = sql_error($node,
	q{SELECT databricks.connect('clear', host => 'http://example.com', token => 'some-unremarkable-words-as-token')});
is($error->{state}, 'HV024', 'plain http to another machine is refused');
is(sql(q{SELECT count(*) FROM pg_foreign_server WHERE srvname = 'clear'}), 0, '... and nothing is left of it');

### Changing a workspace

is( sql(q{SELECT ok FROM databricks.connect('prod', server_options => '{"max_parallel": 4, "connect_timeout": "3s"}')}),
	't', 'options are changed without giving the credentials again');
is( sql(q{SELECT string_agg(option_name || '=' || option_value, ' ' ORDER BY option_name)
		  FROM pg_foreign_server, pg_options_to_table(srvoptions) WHERE srvname = 'prod'}),
	"connect_timeout=3s host=$url is_default=true max_parallel=4 rate_limit=0", '... and only those');
foreach my $proxy ('h', 'h:1', 'HTTP://h/', 'https://h', 'socks5h://h:1', 'http://u:p%40@[::1]:1')
{
	sql("ALTER SERVER prod OPTIONS (ADD proxy '$proxy'); ALTER SERVER prod OPTIONS (DROP proxy)");
	pass("a proxy can be $proxy");
}
sql(q{SELECT databricks.connect('prod', server_options => '{"max_parallel": null, "connect_timeout": null, "proxy": null}')});
is( sql(q{SELECT count(*) FROM pg_foreign_server, pg_options_to_table(srvoptions)
		  WHERE srvname = 'prod' AND option_name IN ('max_parallel', 'connect_timeout')}),
	0, 'null drops an option');
is( sql("SELECT ok, user_name IS NULL FROM databricks.connect('prod', token => '$secret{wrong}')"),
	'f|t', 'a wrong token shows in the row');
like( sql(q{SELECT message FROM databricks.check_connection('prod')}),
	qr/token was refused/, '... and in check_connection');
is( sql("SELECT ok FROM databricks.connect('prod', token => \$t\$$secret{quoted}\$t\$)"),
	'f', 'a token may hold quotes');
is( sql(q{SELECT option_value FROM pg_user_mappings, pg_options_to_table(umoptions)
		  WHERE srvname = 'prod' AND option_name = 'token'}),
	$secret{quoted}, '... and is stored as given');
sql("SELECT databricks.connect('prod', token => '$secret{good}')");

foreach my $case (
	[ q{server_options => '{"conect_timeout": 3}'}, 'HV00D', qr/conect_timeout/, qr/connect_timeout/ ],
	[ q{server_options => '{"connect_timeout": "soon"}'}, 'HV024', qr/soon/, qr/30s/ ],
	[ q{server_options => '{"max_parallel": 0}'}, 'HV024', qr/max_parallel/, qr/between 1 and/ ],
	[ q{server_options => '{"max_parallel": "1e30"}'}, 'HV024', qr/1e30/, qr/between 1 and/ ],
	(map { [ qq{server_options => '{"proxy": "$_"}'}, 'HV024', qr/option "proxy"(?!.*hidden-pw)/, qr{http://proxy} ] }
		'htp://h', 'file:///etc/passwd', 'http://', 'http://h:99999', 'h h', 'http://[::1', 'http://h/path', 'http://u:hidden-pw@h:x', 'h?x'),
	[ q{server_options => '{"max_parallel": [1]}'}, '22023', qr/max_parallel/, qr/text, numbers/ ],
	[ q{server_options => '[]'}, '22023', qr/object/, qr/^$/ ],
	[ qq{user_options => '{"tokn": "$secret{typo}"}'}, 'HV00D', qr/tokn/, qr/"token"/ ],
	[ qq{token => '$secret{typo} '}, 'HV024', qr/token/, qr/line break/ ],
	[ qq{token => '$secret{typo}', for_role => 'nobody_here'}, '42704', qr/nobody_here/, qr/^$/ ])
{
	my ($arguments, $state, $message, $hint) = @$case;
	$error = sql_error($node, "SELECT databricks.connect('prod', $arguments)");
	(my $shown = $arguments) =~ s/dapi\S*/.../;
	is($error->{state}, $state, "refused: $shown");
	like($error->{message}, $message, '... naming what');
	like($error->{hint}, $hint, '... with a hint');
}
$error = sql_error($node, "SELECT databricks.connect('nohost')");
is($error->{state}, '22004', 'a new workspace without host is refused');
$error = sql_error($node, "SELECT databricks.connect(NULL)");
is($error->{state}, '22004', 'so is one without name');

# Plain DDL with a typo: the statement holds the token.
sql_error($node, "ALTER USER MAPPING FOR CURRENT_USER SERVER prod OPTIONS (ADD tokken '$secret{typo}')");
sql_error($node, "CREATE USER MAPPING FOR public SERVER prod OPTIONS (token '$secret{typo} x')");

# Not the first call of the session: then PostgreSQL 18 says at debug3 where it looks
# for the function's library, with the statement around the call.
sql_error($node, qq{DO \$\$ BEGIN
	BEGIN
		PERFORM databricks.connect(NULL);
	EXCEPTION WHEN null_value_not_allowed THEN NULL;
	END;
	PERFORM databricks.connect('prod', token => '$secret{typo} ');
END \$\$});

### Roles

sql('CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN');
my @as_bob = (extra_params => [ '-U', 'bob' ]);

foreach my $statement ('SELECT databricks.run_now(1)', 'SELECT * FROM databricks.jobs',
	"SELECT * FROM databricks.check_connection('prod')")
{
	$error = sql_error($node, $statement, @as_bob);
	is($error->{state}, '42501', "without USAGE: $statement");
	is($error->{message}, 'permission denied for foreign server prod', '... names the server');
}
sql('GRANT USAGE ON FOREIGN SERVER prod TO bob');
foreach my $statement ('SELECT databricks.run_now(1)', 'SELECT * FROM databricks.jobs')
{
	$error = sql_error($node, $statement, @as_bob);
	is($error->{state}, '28000', "without a mapping: $statement");
	like($error->{hint}, qr/CREATE USER MAPPING FOR bob SERVER prod OPTIONS/, '... the hint makes one');
}
$error = sql_error($node, "SELECT databricks.connect('own', host => 'https://example.com')", @as_bob);
is($error->{state}, '42501', 'a plain role may not make workspaces');
is( sql("SELECT ok FROM databricks.connect('prod', token => '$secret{bob}', for_role => 'bob')"),
	't', 'the owner gives a role its credentials');
is( $node->safe_psql('postgres', 'SELECT user_name FROM databricks.check_connection()', extra_params => [ '-U', 'bob' ]),
	'runner@example.com', '... which are used for that role alone');
is( $node->safe_psql('postgres', 'SELECT user_name FROM databricks.check_connection()'),
	'admin@example.com', '... and not for others');
is( $node->safe_psql('postgres',
		q{SELECT coalesce(bool_or(umoptions::text ~ 'dapi'), false) FROM pg_user_mappings WHERE usename <> 'bob'},
		extra_params => [ '-U', 'bob' ]),
	'f', 'and nobody reads the credentials of another');

# A view is read with its owner's rights, a SECURITY DEFINER function likewise.
my $job = $workspace->create_job(name => 'granted');
sql(q{CREATE VIEW public.granted AS SELECT job_id, name FROM databricks.jobs;
	  GRANT SELECT ON public.granted TO carol;
	  CREATE FUNCTION public.job_name(id bigint) RETURNS text LANGUAGE sql SECURITY DEFINER
	  SET search_path = pg_catalog, pg_temp
	  RETURN databricks.get_job(id, 'prod') #>> '{settings,name}'});
is( $node->safe_psql('postgres', 'SELECT name FROM public.granted', extra_params => [ '-U', 'carol' ]),
	'granted', 'a view lets others read with the rights of its owner');
is( $node->safe_psql('postgres', "SELECT public.job_name($job)", extra_params => [ '-U', 'carol' ]),
	'granted', 'a SECURITY DEFINER function lets others do one thing');
$error = sql_error($node, 'SELECT databricks.run_now(1)', extra_params => [ '-U', 'carol' ]);
is($error->{state}, '42501', '... and no more');

# A mapping for everybody.
sql("SELECT databricks.connect('prod', token => '$secret{bob}', for_role => 'public')");
sql('GRANT USAGE ON FOREIGN SERVER prod TO carol');
is( $node->safe_psql('postgres', 'SELECT user_name FROM databricks.check_connection()', extra_params => [ '-U', 'carol' ]),
	'runner@example.com', 'the mapping of public serves those without their own');

### The default workspace

sql(q{ALTER SERVER prod OPTIONS (DROP is_default)});
$error = sql_error($node, 'SELECT databricks.get_job(1)');
is($error->{state}, '42P08', 'several workspaces and no default: an error');
like($error->{detail}, qr/"pasted", "prod"/, '... that lists them');
is( sql("SET databricks.workspace = 'pasted'; SELECT ok FROM databricks.check_connection()"),
	't', 'the setting chooses one');
$error = sql_error($node, "SET databricks.workspace = 'nowhere';\nSELECT databricks.get_job(1);");
is($error->{state}, '42704', 'a setting that names none is an error');
is( $node->safe_psql('postgres', 'SELECT user_name FROM databricks.check_connection()', extra_params => [ '-U', 'bob' ]),
	'runner@example.com', 'the only workspace a role may use is its default');
sql(q{ALTER SERVER prod OPTIONS (ADD is_default 'true'); ALTER SERVER pasted OPTIONS (ADD is_default 'true')});
$error = sql_error($node, 'SELECT databricks.get_job(1)');
is($error->{state}, '55000', 'two defaults are an error');
sql(q{ALTER SERVER pasted OPTIONS (DROP is_default)});
sql(q{SELECT databricks.connect('pasted', server_options => '{"is_default": true}')});
is( sql(q{SELECT name FROM databricks.workspaces WHERE is_default}),
	'pasted', 'connect() takes the flag from the workspace that had it');
sql(q{SELECT databricks.connect('prod', server_options => '{"is_default": true}')});

# What another server has that cannot be (as an older version may have let pass) is
# a matter of that server alone.
sql(q{UPDATE pg_foreign_server SET srvoptions = srvoptions || '{max_parallel=many}'::text[] WHERE srvname = 'pasted'});
is(sql('SELECT ok FROM databricks.check_connection()'), 't', 'the default is found beside a server with an option that cannot be read');
is(sql_error($node, q{SELECT databricks.get_job(1, 'pasted')})->{state}, 'HV024', '... which is an error where that one is used');
sql(q{ALTER SERVER pasted OPTIONS (DROP max_parallel)});

# Who may make servers must not choose the default of others.
sql(q{CREATE ROLE dave LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO dave;
	  GRANT CREATE ON DATABASE postgres TO dave});
my @as_dave = (extra_params => [ '-U', 'dave' ]);
is( $node->safe_psql('postgres',
		q{SELECT ok FROM databricks.connect('daves', host => 'https://127.0.0.1:9', token => 'a-token-of-dave')}, @as_dave),
	'f', 'a plain role with USAGE on the wrapper makes a workspace');
is( sql(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'daves'::regnamespace AND relname IN ('jobs', 'runs')}),
	2, '... with tables in a schema of its own');
$node->safe_psql('postgres',
	q{ALTER SERVER daves OPTIONS (ADD is_default 'true'); GRANT USAGE ON FOREIGN SERVER daves TO PUBLIC}, @as_dave);
is( sql('SELECT user_name FROM databricks.check_connection()'),
	'admin@example.com', '... but a flag on it does not count beside that of a superuser');
sql(q{DROP SERVER daves CASCADE; DROP OWNED BY dave});

$error = sql_error($node, "SELECT databricks.connect('')");
is($error->{state}, '22023', 'a workspace needs a name');
$error = sql_error($node,
	"SELECT databricks.connect('third', host => 'https://127.0.0.1:9', schema => 'databricks')");
is($error->{state}, '42P07', 'a schema with tables of another workspace is refused');
like($error->{hint}, qr/another schema/, '... with a hint');

sql('CREATE FOREIGN DATA WRAPPER another; CREATE SERVER elsewhere FOREIGN DATA WRAPPER another');
$error = sql_error($node, "SELECT databricks.get_job(1, 'elsewhere')");
is($error->{state}, '42809', 'a server of another wrapper is no workspace');
$error = sql_error($node, "SELECT databricks.connect('elsewhere', host => 'https://example.com')");
is($error->{state}, '42710', '... and is not taken over');

### Nobody there

is( sql(qq{SELECT ok FROM databricks.connect('down', host => 'https://127.0.0.1:9', token => '$secret{plain}')}),
	'f', 'a host that is down shows in the row');
sql(q{ALTER SERVER down OPTIONS (ADD retry_timeout '0')});
$error = sql_error($node, "SELECT databricks.get_job(1, 'down')");
is($error->{state}, 'HV00N', 'a call to it is a failed connection');
like($error->{message}, qr{https://127\.0\.0\.1:9}, '... that names the host');

### Secrets (design 3.7)

# What others see while connect() is at work.
$workspace->post('faults', { path => '/api/2.0/preview/*', kind => 'delay', ms => 3000 });
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/started/, "\\echo started\nSELECT databricks.connect('prod', token => '$secret{good}');\n");
like( poll_until('connect() is at work', sub {
			my $query = sql("SELECT query FROM pg_stat_activity WHERE pid = $pid AND state = 'active'");
			return $query =~ /connect/ && $query =~ /not shown/ ? $query : ''; }),
	qr/arguments not shown/, 'pg_stat_activity does not show what connect() was given');
$session->quit;

my $plan = sql('EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) SELECT * FROM databricks.jobs');
unlike($plan, qr/\Q$_\E/, 'EXPLAIN shows no token') foreach $secret{good};

log_lacks($node, 'no secret in the log at debug5', values %secret, 'hidden-pw');

done_testing();
