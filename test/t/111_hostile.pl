# 111_hostile.pl - names, values and services that mean harm.
#
# Names are used in every place where SQL, JSON, HTML or a URL is made of them;
# values cannot lead a call away from the workspace or to another of its calls;
# and a service that answers without end costs bounded time and memory, in
# sessions and in the worker. Floods of one single answer: 023; addresses that a
# service tells for credentials: 035.

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Databricks::Test;

# --- a service that never comes to an end ---------------------------------------------

# By what the path has in it; a process per connection.
my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
my $hostile_url = 'http://127.0.0.1:' . $listener->sockport;
my $server = fork;
die $! unless defined $server;
if (!$server)
{
	$SIG{TERM} = 'DEFAULT';
	$SIG{PIPE} = 'IGNORE';
	$SIG{CHLD} = 'IGNORE';
	while (my $client = $listener->accept)
	{
		next if fork;
		serve($client);
		exit 0;
	}
	exit 0;
}
close($listener);

sub serve
{
	my ($client) = @_;
	my $page = 1;
	while (defined(my $request = <$client>))
	{
		my $length = 0;
		while (my $line = <$client>)
		{
			last if $line =~ /^\r?$/;
			$length = $1 if $line =~ /^content-length: (\d+)/i;
		}
		read($client, my $ignored, $length) if $length;
		my ($token) = $request =~ /page_token=(\d+)/;
		my $next = ($token // 0) + 1;
		my $body = '{}';
		if ($request =~ m{^HEAD .*/fs/files/})
		{
			print $client "HTTP/1.1 200 OK\r\n\r\n";
			$client->flush;
			next;
		}
		if ($request =~ m{scim}) { $body = '{"userName": "hostile"}'; }
		elsif ($request =~ m{jobs/runs/list})
		{
			my $now = int(time * 1000);
			my @runs = map {
				my $id = $next * 1000 + $_;
				qq({"run_id": $id, "job_id": 1, "run_name": "r", "start_time": $now, "end_time": $now,
					"status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS", "type": "SUCCESS"}}})
			} 1 .. 25;
			$body = '{"runs": [' . join(',', @runs) . qq(], "next_page_token": "$next"});
		}
		elsif ($request =~ m{endless}) { $body = qq({"items": [{"n": $next}], "next_page_token": "$next"}); }
		elsif ($request =~ m{circle}) { $body = sprintf '{"items": [{"n": 1}], "next_page_token": "%d"}', $next % 37 + 1; }
		elsif ($request =~ m{longtoken}) { $body = sprintf '{"items": [], "next_page_token": "%s"}', 'x' x 3_000_000; }
		elsif ($request =~ m{emptypages}) { $body = qq({"next_page_token": "$next"}); }
		elsif ($request =~ m{deep}) { $body = '{"items": [' . ('{"a":' x 5000) . '1' . ('}' x 5000) . ']}'; }
		elsif ($request =~ m{wide}) { $body = '{"items": [' . join(',', ('{}') x 500_000) . ']}'; }
		elsif ($request =~ m{drip})
		{
			print $client "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
			$client->flush;
			while (print $client ' ') { $client->flush; select(undef, undef, undef, 0.1); }
			return;
		}
		elsif ($request =~ m{dripheaders})
		{
			print $client "HTTP/1.1 200 OK\r\nX-A: ";
			while (print $client 'x') { $client->flush; select(undef, undef, undef, 0.1); }
			return;
		}
		elsif ($request =~ m{^GET .*/fs/files/}) { $body = 'x' x 1_000_000; }
		elsif ($request =~ m{^POST .*/sql/statements}) { $body = '{"statement_id": "s"}'; }
		elsif ($request =~ m{/sql/statements/})
		{
			$body = '{"status": {"state": "SUCCEEDED"}, "manifest": {"total_chunk_count": 4294967296, "schema": {"columns": []}},
				"result": {"external_links": [{"chunk_index": 0, "external_link": "https://a/b"}]}}';
		}
		elsif ($request =~ m{oidc/}) { $body = 'x' x 50_000_000; }
		elsif ($request =~ m{well-known}) { $body = 'x' x 50_000_000; }
		print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
		$client->flush;
	}
	return;
}

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node(
	'main',
	preload => 1,
	cron => 1,
	conf => "databricks.follow_interval = 200ms\n");
my $url = $workspace->url;
my $token = $workspace->token;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	$text =~ s/\\/\\\\/g;
	return "E'$text'";
}

sub name
{
	my ($text) = @_;
	$text =~ s/"/""/g;
	return qq("$text");
}

sub wait_for
{
	my ($what, $query, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $last = '';
	ok(eval { poll_until($what, sub { ($last = sql($query)) eq ($expected // 't') }); 1 }, $what) or diag("last: $last");
	return;
}

sql('CREATE EXTENSION pg_cron');
connect_workspace($node, $workspace);

# --- names ---------------------------------------------------------------------------------

my @names = (
	qq(a"b'c\\d),
	q{x'); DROP TABLE done; --},
	q(x"; DROP TABLE done; --),
	qq(two\nlines\r\tand "more"),
	"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80 \$\$ \$1",
	q(%s%n%d${x}),
	q(<script>alert(1)</script>&amp;),
	'x' x 63,
	'current_user');

sql('CREATE TABLE done (who text, request bigint); GRANT INSERT ON done TO PUBLIC');
foreach my $i (0 .. $#names)
{
	my ($text, $quoted) = (literal($names[$i]), name($names[$i]));
	my $as = "SET ROLE $quoted;";
	my $shown = $names[$i] =~ s/[^ -~]+/~/gr;

	sql("CREATE ROLE $quoted LOGIN; GRANT USAGE ON SCHEMA cron TO $quoted");
	is(sql("SELECT ok FROM databricks.connect($text, host => '$url', token => '$token', server_options => '{\"rate_limit\": 0}')"), 't', "workspace $shown");
	sql("GRANT USAGE ON FOREIGN SERVER $quoted TO $quoted; GRANT USAGE ON SCHEMA $quoted TO $quoted");
	is(sql("SELECT ok FROM databricks.connect($text, token => '$token', for_role => $text)"), 't', '... with a role of that name');
	is(sql("SELECT count(*) FROM pg_user_mappings WHERE srvname = $text AND usename = $text"), '1', '... which gets the mapping');
	my $job = sql("$as SELECT databricks.create_job(jsonb_build_object('name', $text || '&limit=1#?%', 'tasks', jsonb_build_array(jsonb_build_object('task_key', 'a',
		'notebook_task', jsonb_build_object('notebook_path', '/a'))), 'parameters', '[{\"name\": \"k\", \"default\": \"\"}, {\"name\": \"l\", \"default\": \"\"}]'::jsonb), workspace => $text)");
	is(sql("$as SELECT job_id FROM $quoted.jobs WHERE name = $text || '&limit=1#?%'"), $job, '... whose tables are read, and a job of that name is found');
	is(sql("$as SELECT databricks.find_job($text || '&limit=1#?%', $text)"), $job, '... by the function too');
	sql("SELECT databricks.track($text, poll_interval => '200 ms')");
	sql("$as SELECT databricks.schedule($text, '0 0 1 1 *', $text || '&limit=1#?%', parameters_sql => \$p\$jsonb_build_object('l', $text)\$p\$,
			workspace => $text, job_parameters => jsonb_build_object('k', $text), overlap => 'allow');
		SELECT databricks.fire_schedule($text);
		SELECT databricks.enqueue_run_now($text || '&limit=1#?%', jsonb_build_object('k', $text), request_key => $text, workspace => $text,
			on_success => \$p\$INSERT INTO done VALUES ($text || current_user, \$1)\$p\$)");
}
wait_for('requests of all of them succeed', q{SELECT count(*) FILTER (WHERE state = 'succeeded') FROM databricks.run_requests}, 2 * @names);
is(sql('SELECT count(DISTINCT who) FROM done'), scalar(@names), 'what was to be done after them was done by those roles');
is(sql('SELECT count(*) FROM done WHERE who = repeat(current_user, 2)'), '0', '... and by nobody else');
is(sql(q{SELECT count(*) FROM databricks.run_requests r WHERE r.schedule_name = r.workspace
		 AND r.body -> 'job_parameters' = jsonb_build_object('k', r.workspace, 'l', r.workspace) AND r.requested_by = r.workspace}),
	scalar(@names), 'schedules have computed what they were told');
wait_for('and all are tracked', q{SELECT count(DISTINCT workspace) FROM databricks.run_history}, scalar(@names));

foreach my $text (map { literal($_) } @names)
{
	unlike(sql("SELECT databricks.report($text)"), qr/<script>alert|a"b'c|x"; DROP/, 'a report has no name as it is');
	sql("SELECT databricks.pause_workspace($text, $text); SELECT databricks.resume_workspace($text); SELECT databricks.gantt(max(run_id), $text) FROM databricks.run_history WHERE workspace = $text");
}
{
	my @bad = grep { !/^#|^[a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? [-+0-9.eE]+(?:Inf|NaN)?$/ } split /\n/, sql('SELECT databricks.metrics()');
	is("@bad", '', 'metrics keep their lines whatever the names');
}

# What the worker tells its listeners is JSON.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query('LISTEN databricks');
	my $id = sql('SELECT databricks.enqueue_run_now(job_name, workspace => workspace) FROM databricks.run_requests WHERE workspace = ' . literal($names[3]) . ' LIMIT 1');
	my $seen = '';
	poll_until('it was told', sub { $seen .= $session->query('SELECT 1') // ''; $seen =~ /"request_id": "$id"/ });
	my ($payload) = $seen =~ /payload "(\{[^\n]*"request_id": "$id"[^\n]*\})" received/;
	is(eval { json($payload)->{workspace} }, $names[3], 'a notification is JSON whatever the names') or diag $seen;
	eval { $session->quit };
}
sql('SELECT databricks.untrack(name) FROM databricks.workspaces WHERE tracked');

# --- values in paths and queries --------------------------------------------------------------

# None of these is sent.
my $mark = $workspace->mark;
foreach my $path ('http://198.51.100.1/api/', 'https://198.51.100.1/api/2.0/x', '//198.51.100.1/api/', '@198.51.100.1/api/', ':1/api/', '.example.com/api/',
	'/api', 'api/2.0/x', '', '/', '/API/2.0/x', '/oidc/v1/token', '/api/../oidc/v1/token', '/api/2.0/../../__control', '/api/2.0/%2e%2e/%2E%2e/__control',
	'/api/2.0/.%2e/x', '/api/2.0/..', '/api/./x', '/api/2.0/x y', "/api/2.0/x\r\nX-Evil: 1", "/api/2.0/x\nX-Evil: 1", "/api/2.0/x\tb", '/api/2.0/x#y',
	'/api\\..\\..\\x', '/api/2.0/x\\y', "/api/2.0/\xc3\xa9", "/api/2.0/x\x7f")
{
	my $shown = $path =~ s/[^ -~]/~/gr;
	is(sql_error($node, 'SELECT databricks.api(\'GET\', ' . literal($path) . ')')->{state}, '22023', "path refused: $shown");
	is(sql_error($node, 'SELECT databricks.api_pages(' . literal($path) . ", 'items')")->{state}, '22023', '... for pages too');
}
is(sql_error($node, "SELECT databricks.api($_, '/api/2.0/x')")->{state}, '22023', "method refused: $_")
  foreach q{'CONNECT'}, q{'TRACE'}, q{E'GET /api/2.0/x HTTP/1.1\r\nX:'}, q{''}, q{'GET '};
is(scalar(grep { ($_->{headers}{'user-agent'} // '') =~ m{function/api} } $workspace->journal(since => $mark)), 0, 'none of these was sent');
is(sql_error($node, q{SELECT databricks.api('GET', '/api/2.0/x', '{"a": "\u0000"}')})->{state}, '22P05', 'a zero byte cannot even be written');

# These are, to nowhere else.
foreach my $path ('/api/2.0/@198.51.100.1', '/api//198.51.100.1/x', '/api/2.0/x%0d%0aX-Evil:%201', '/api/2.0/x%00', '/api/2.0/x%2f..%2f..%2f__control', '/api/2.0/...')
{
	$mark = $workspace->mark;
	sql_error($node, "SELECT databricks.api('GET', '$path')");
	my ($entry, @more) = $workspace->journal(since => $mark);
	ok($entry && !@more && !exists $entry->{headers}{'x-evil'} && $entry->{path} =~ m{^/api/}, "sent as it stands: $path");
}

# A value that becomes part of a path or query stays in its place, or is refused.
my @evil = ('../../2.0/secrets/list', '..', '.', '%2e%2e/x', 'a/b', 'a?x=1', 'a&x=1', 'a#b', "a\r\nX-Evil: 1", 'a b', '//x', '@x', 'a%00', '');
my %calls = (
	'get_cluster(%s)' => qr{^/api/2\.\d/clusters/get$},
	'start_warehouse(%s)' => qr{^/api/2\.0/sql/warehouses/[^/]+/start$},
	'stop_warehouse(%s)' => qr{^/api/2\.0/sql/warehouses/[^/]+/stop$},
	'stop_pipeline(%s)' => qr{^/api/2\.0/pipelines/[^/]+/stop$},
	'start_pipeline_update(%s)' => qr{^/api/2\.0/pipelines/[^/]+/updates$},
	'statement_result(%s)' => qr{^/api/2\.0/sql/statements/[^/]+$},
	q{get_permissions('jobs', %s)} => qr{^/api/2\.0/permissions/jobs/[^/]+$},
	q{get_permissions(%s, '1')} => qr{^/api/2\.0/permissions/[^/]+/1$},
	q{get_permission_levels('jobs', %s)} => qr{^/api/2\.0/permissions/jobs/[^/]+/permissionLevels$},
	q{get_secret(%s, 'k')} => qr{^/api/2\.0/secrets/get$},
	q{delete_repo(%s)} => qr{^/api/2\.0/(?:repos/\d+|workspace/get-status)$},
	q{file_info('/Volumes/main/default/landing/' || %s)} => qr{^/api/2\.0/fs/(?:files|directories)/Volumes/main/default/landing(?:/|$)},
	q{download_file('dbfs:/' || %s)} => qr{^/api/2\.0/dbfs/(?:read|get-status)$},
	q{download_file('/Shared/' || %s)} => qr{^/api/2\.0/workspace/(?:export|get-status)$},
	q{find_job(%s)} => qr{^/api/2\.2/jobs/list$});
foreach my $call (sort keys %calls)
{
	$mark = $workspace->mark;
	$node->psql('postgres', 'SELECT * FROM databricks.' . sprintf($call, literal($_))) foreach @evil;
	my @entries = $workspace->journal(since => $mark);
	my @astray = map { $_->{path} } grep {
		my $path = $_->{path};
		$path !~ $calls{$call} || exists $_->{headers}{'x-evil'} || ($_->{query} // '') =~ /(?:^|&)x=1/ || grep { /^\.\.?$/ } split m{/}, $path
	} @entries;
	is("@astray", '', 'values stay in their place: ' . sprintf($call, '...'));
}
foreach my $case ([ 'warehouses', 'warehouse_id' ], [ 'clusters', 'cluster_id' ], [ 'cluster_policies', 'policy_id' ], [ 'permissions', "object_type = 'jobs' AND object_id" ],
	[ 'secrets', 'scope' ], [ 'files', 'path' ], [ 'workspace_objects', 'path' ], [ 'jobs', 'name' ])
{
	my ($table, $column) = @$case;
	$mark = $workspace->mark;
	$node->psql('postgres', "SELECT count(*) FROM databricks.$table WHERE $column = " . literal($_)) foreach @evil;
	my @astray = grep { exists $_->{headers}{'x-evil'} || ($_->{query} // '') =~ /(?:^|&)x=1/ || $_->{path} =~ m{/\.\.?(?:/|$)} || $_->{path} !~ m{^/api/2} }
	  $workspace->journal(since => $mark);
	is(join(' ', map { $_->{path} } @astray), '', "... nor by a condition on $table");
}

# --- options -------------------------------------------------------------------------------------

foreach my $host ('https://a@198.51.100.1', 'https://198.51.100.1\\@a', "https://a\r\nb", "https://a\nX-Evil: 1", 'file:///etc/passwd', 'gopher://a', 'a b',
	'http://127.0.0.1.example.com', 'http://localhost.example.com', 'http://127.0.0.1@198.51.100.1', 'http://2130706433', 'http://0x7f000001', 'http://[::ffff:198.51.100.1]',
	'http://198.51.100.1', 'https://[::1', 'https://%31', "https://\xc3\xa9.com", '')
{
	my $shown = $host =~ s/[^ -~]/~/gr;
	is(sql_error($node, 'SELECT databricks.connect(\'refused\', token => \'x\', host => ' . literal($host) . ')')->{state}, 'HV024', "host refused: $shown");
}
foreach my $option (qw(workspace_id azure_workspace_resource_id))
{
	is(sql_error($node, "ALTER SERVER prod OPTIONS (ADD $option E'1\\r\\nX-Evil: 1')")->{state}, 'HV024', "a line break is refused in $option");
}
foreach my $option (qw(token client_id client_secret azure_client_id azure_client_secret azure_tenant_id))
{
	is(sql_error($node, "CREATE SERVER s FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://a'); CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS ($option E'a\\r\\nX-Evil: 1')")->{state},
		'HV024', "... in $option");
	$node->psql('postgres', 'DROP SERVER IF EXISTS s CASCADE');
}

# Files and addresses inside are not for those who may merely make a workspace.
sql(q{CREATE ROLE maker LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO maker; CREATE SCHEMA maker AUTHORIZATION maker; GRANT CREATE ON DATABASE postgres TO maker});
foreach my $options (q{host 'https://a', ca_file '/etc/passwd'}, q{host 'https://a', config_file '/etc/passwd'}, q{profile 'x'}, q{host 'https://a', auth_type 'env'},
	q{host 'https://a', auth_type 'azure-msi'}, q{host 'https://a', auth_type 'env-oidc'})
{
	my $error = sql_error($node, "SET ROLE maker; CREATE SERVER s FOREIGN DATA WRAPPER databricks OPTIONS ($options); CREATE USER MAPPING FOR maker SERVER s;
		SELECT databricks.api('GET', '/api/2.0/x', workspace => 's')");
	is($error->{state}, '42501', "not for a plain role: $options") or diag $error->{message};
	$node->psql('postgres', 'DROP SERVER IF EXISTS s CASCADE');
}
foreach my $option (qw(token_file oidc_token_file))
{
	my $error = sql_error($node, "SET ROLE maker; CREATE SERVER s FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://a'); CREATE USER MAPPING FOR maker SERVER s OPTIONS ($option '/etc/passwd')");
	is($error->{state}, '42501', "not for a plain role: $option");
	$node->psql('postgres', 'DROP SERVER IF EXISTS s CASCADE');
}
isnt(sql_error($node, "SET ROLE maker; SELECT databricks.connect('s', host => '$url', token => 'x', schema => 'maker'); SELECT databricks.api('GET', '/api/2.0/x', workspace => 's')")->{state},
	'', 'nor is plain http, to loopback');

# --- a service without end -------------------------------------------------------------------

is(sql(qq{SELECT ok FROM databricks.connect('hostile', host => '$hostile_url', token => 'some-token', schema => 'hostile',
		  server_options => '{"retry_timeout": 0, "request_timeout": "2s", "rate_limit": 0, "max_response_size": "8MB"}')}), 't', 'a hostile service');

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
sub resident
{
	my ($process) = @_;
	my (undef, $pages) = split ' ', slurp_file("/proc/$process/statm");
	return $pages * 4;
}
$session->query('SET databricks.max_pages = 500');
my $before;
foreach my $case (
	[ q{count(*) FROM databricks.api_pages('/api/2.0/endless', 'items', workspace => 'hostile')}, qr/more than 500 pages/ ],
	[ q{count(*) FROM databricks.api_pages('/api/2.0/emptypages', 'items', workspace => 'hostile')}, qr/more than 500 pages/ ],
	[ q{count(*) FROM databricks.api_pages('/api/2.0/circle', 'items', workspace => 'hostile')}, qr/go round in circles/ ],
	[ q{count(*) FROM databricks.api_pages('/api/2.0/longtoken', 'items', workspace => 'hostile')}, qr/query string of GET .* has 3000\d+ bytes/ ],
	[ q{count(*) FROM databricks.api_pages('/api/2.0/deep', 'items', workspace => 'hostile')}, qr/could not read the answer/ ],
	[ q{databricks.api('GET', '/api/2.0/drip', workspace => 'hostile')}, qr/could not reach.*time/ ],
	[ q{databricks.api('GET', '/api/2.0/dripheaders', workspace => 'hostile')}, qr/could not reach.*time/ ],
	[ q{count(*) FROM hostile.runs}, qr/more than 500 pages/ ],
	[ q{count(raw) FROM hostile.runs WHERE start_time > now() - interval '1 day'}, qr/more than 500 pages/ ],
	[ q{count(*) FROM hostile.job_tasks}, qr/^$/ ],
	[ q{1 / (length(databricks.download_file('/Volumes/a/b/c/x', 'hostile')) - 1000000)}, qr/division by zero/ ],
	[ q{count(*) FROM databricks.query_json('SELECT 1', 'w', workspace => 'hostile')}, qr/has 4294967296 parts/ ])
{
	my ($query, $message) = @$case;
	my $begun = time;
	$session->query("SELECT $query");
	my ($error) = ($session->{stderr} =~ /ERROR:  ([^\n]*)/, '');
	$session->{stderr} = '';
	like($error, $message, "hostile: $query");
	cmp_ok(time - $begun, '<', patience(20), '... before long');
	$before //= resident($pid);
}
is($session->query_safe(q{SELECT count(*) FROM databricks.api_pages('/api/2.0/wide', 'items', workspace => 'hostile')}), '500000', 'half a million elements in a page are read');
cmp_ok(resident($pid) - $before, '<', 80 * 1024, '... in bounded memory');
eval { $session->quit };

# Where credentials are asked for it is no better.
is(sql(qq{CREATE SERVER hostile_oauth FOREIGN DATA WRAPPER databricks OPTIONS (host '$hostile_url', retry_timeout '0', request_timeout '5s');
		  CREATE USER MAPPING FOR PUBLIC SERVER hostile_oauth OPTIONS (client_id 'x', client_secret 'some-secret');
		  SELECT ok FROM databricks.check_connection('hostile_oauth')}), 'f', 'a flood instead of a token');

# The worker: a list without end must not keep it from its other work, nor from
# being stopped, nor make it grow.
sql(q{SELECT databricks.track('hostile', poll_interval => '100 ms', backfill => '0')});
sql(q{SELECT databricks.track('prod', poll_interval => '100 ms', backfill => '0')});
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'databricks worker' AND datname = 'postgres'};
wait_for('the worker has begun to read the endless list', q{SELECT count(*) > 500 FROM databricks.run_history WHERE workspace = 'hostile'});
my $worker_pid = sql($worker);
my $size = resident($worker_pid);
wait_for('... and goes on', q{SELECT count(*) > 5000 FROM databricks.run_history WHERE workspace = 'hostile'});
is(sql($worker), $worker_pid, '... as the same process');
cmp_ok(resident($worker_pid) - $size, '<', 50 * 1024, '... in bounded memory');
my $request = sql(q{SELECT databricks.enqueue_run_now(databricks.create_job('{"name": "beside", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}}]}', 'prod'), workspace => 'prod')});
wait_for('requests of another workspace are sent meanwhile', "SELECT run_id IS NOT NULL FROM databricks.run_requests WHERE request_id = $request");
my $begun = time;
$node->stop;
cmp_ok(time - $begun, '<', patience(10), 'and the server stops at once');
log_lacks($node, 'no secret in the log', $token, 'some-token', 'some-secret');
done_testing();

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
