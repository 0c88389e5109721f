# 031_errors.pl - what the service says when it refuses, in all its shapes, as
# SQL errors: SQLSTATE, message, code and request id in the detail, hint, and
# whether the call is repeated. Acceptance cases 14, 29.
#
# test/data/error_cases.json holds answers together with what the vendor's two
# client libraries make of them, test/data/errors answers as they come. Where the
# libraries disagree, or we do otherwise, the tables below say why.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main');
connect_workspace($node, $workspace);

# The error of a statement as data; many of them fit in one session that way, and
# each is caught in a subtransaction.
$node->safe_psql('postgres', q{
	CREATE FUNCTION attempt(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		result text;
		message text;
		detail text;
		hint text;
	BEGIN
		EXECUTE statement INTO result;
		RETURN jsonb_build_object('result', result);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RETURN jsonb_build_object('state', SQLSTATE, 'message', message,
			'detail', detail, 'hint', hint);
	END $$});

sub option
{
	my ($name, $value) = @_;
	$node->safe_psql('postgres', "ALTER SERVER prod OPTIONS (SET $name '$value')");
	return;
}
$node->safe_psql('postgres',
	"ALTER SERVER prod OPTIONS (ADD retry_timeout '0', ADD request_timeout '20s', ADD max_response_size '1MB')"
);

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Results of many statements, in order.
sub attempts
{
	my (@statements) = @_;
	my $out = $node->safe_psql('postgres',
		join("\n", map { 'SELECT attempt(' . literal($_) . ');' } @statements));
	return map { json($_) } split /\n/, $out;
}

sub attempt { return (attempts($_[0]))[0]; }

sub squeeze
{
	my ($text) = @_;
	$text =~ s/\s+/ /g;
	$text =~ s/^ | $//g;
	return $text;
}

# --- the cases of the vendor's libraries ----------------------------------------

my $cases =
  json(slurp_file(source_tree() . '/test/data/error_cases.json'))->{cases};
cmp_ok(scalar @$cases, '>', 100, 'there are cases');

# Class of error -> SQLSTATE, the most telling class of both libraries.
my @states = (
	[ qr/NotFound|ResourceDoesNotExist/, '42704' ],
	[ qr/PermissionDenied/, '42501' ],
	[ qr/Unauthenticated/, '28000' ],
	[ qr/TooManyRequests|RequestLimitExceeded|ResourceExhausted/, '53400' ],
	[ qr/./, 'HV000' ]);

# What we do otherwise: by a part of the id.
my %other = (
	# A redirect is not followed: its target tells. Our words for it.
	'private_link_validation_error' =>
	  { state => '42501', message => qr/only be reached over its private link/, code => 'PRIVATE_LINK_VALIDATION_ERROR' },

	# The libraries disagree about what is no JSON: one asks to report a bug,
	# the other shows the text. We show it.
	'unable_to_parse_response' => { message => qr/this is not a real response/, code => 'UNKNOWN' },
	'unable_to_parse_response2' =>
	  { state => '42704', message => qr/"This is JSON but not a dictionary"/, code => 'UNKNOWN' },
	'unable_to_parse_response3' => { state => '42704', message => qr/: \?$/, code => 'UNKNOWN' },
	'go-apierr: unknown error message' => { code => 'UNKNOWN' },

	# One library puts "None" before a SCIM error without a type.
	'group_not_found' => { message => qr/: Group with id 1234 is not found$/ },

	# Without a message one says "request failed" and the other nothing.
	'ControlRunState_ContinuousUpdateCancel' => { message => qr/: Not Found$/ },
	'TestResourceClusterUpdate_WhileScaling' => { message => qr/: Not Found$/ },

	# The status and the text agree that it is missing; the libraries go by the code.
	'go-override: 404' => { state => '42704' },
	# ... here the code says so, while they go by the status.
	'TestResourceTokenDelete_Error' => { state => '42704' },

	# A code that is a number is the gateway's: the token, not a right.
	'js-apierr: 403' => { state => '28000' },

	# They cut the full stop at the end.
	'js-apierr: 400 <html>' => { message => qr/Expected iss claim to be: .* but was: \S+\.$/ },

	# A page without <pre>: one library shows its source. We name the status.
	'HTML body with status 400' => { message => qr/: Bad Request$/, code => 'BAD_REQUEST' },
	'HTML body with status 500' =>
	  { message => qr/: Internal Server Error$/, code => 'INTERNAL_SERVER_ERROR' },
	'HTML body with status 200' => { state => '28000', message => qr/a web page came back instead of JSON/ },
);

# Whether we repeat a call that changes nothing, where the libraries disagree.
my %other_retry = (
	# ... one of them knows the codes of a rate limit under any status only
	'400 "REQUEST_LIMIT_EXCEEDED"' => 1,
	'private_link_validation_error' => 0,
	'HTML body with status 200' => 0,
);

my $n = 0;
foreach my $case (@$cases)
{
	$case->{n} = sprintf('n%03d', $n++);
	$case->{id} = squeeze($case->{id});
	$case->{path} = "/api/2.0$case->{path}" unless $case->{path} =~ m{^/api/};
	foreach my $part (keys %other)
	{
		$case->{other} = $other{$part} if $case->{id} =~ /\Q$part\E(?!\d)/;
	}
	$case->{statement} = sprintf(q{SELECT databricks.api('%s', '%s?case=%s')},
		$case->{method}, $case->{path}, $case->{n});
}
is(scalar(grep { $_->{other} } @$cases), scalar(keys %other),
	'each difference is about one case');

sub arrange
{
	my ($case, $count) = @_;
	my %fault = (
		path => $case->{path},
		query => "case=$case->{n}",
		count => $count,
		status => $case->{status},
		kind => 'status');

	if ($case->{final_url})
	{
		$fault{kind} = 'redirect';
		$fault{status} = 303;
	}
	elsif ($case->{body_base64})
	{
		$fault{body_b64} = $case->{body_base64};
	}
	else
	{
		$fault{text} = $case->{body};
		$fault{headers} =
		  { 'Content-Type' => 'application/json', %{ $case->{headers} || {} } };
	}
	return \%fault;
}

$workspace->post('faults', { faults => [ map { arrange($_, 1) } @$cases ] });
my @results = attempts(map { $_->{statement} } @$cases);

for (my $i = 0; $i < @$cases; $i++)
{
	my ($case, $got) = ($cases->[$i], $results[$i]);
	my $other = $case->{other} || {};
	my $classes = join(' ', $case->{sdk_py}{class} || '', @{ $case->{sdk_go}{is} || [] });
	my $state = $other->{state} || (map { $_->[1] } grep { $classes =~ $_->[0] } @states)[0];
	my $code = $case->{sdk_go}{error_code};
	my $message = $other->{message};

	$code = '' if !defined $code || $code eq '<nil>';
	$code = $other->{code} if $other->{code};
	# the status is not said twice
	$code = '' if $code eq $case->{status};
	if (!defined $message)
	{
		my $text = squeeze($case->{sdk_go}{message});
		$message = qr/: \Q$text\E$/;
		$message = qr/: [A-Z]\w+/ if $text eq '';
	}
	my $problem = '';
	$problem .= "state $got->{state}, not $state\n"
	  unless ($got->{state} || '') eq $state;
	$problem .= "message $got->{message}\n"
	  unless ($got->{message} || '') =~ $message;
	my $status = $case->{final_url} ? 403 : $case->{status};
	$problem .= "detail $got->{detail}\n"
	  unless ($got->{detail} || '') =~
	  /^$case->{method} \Q$case->{path}\E\S* answered $status\Q@{[ $code eq '' ? '' : " $code" ]}\E, request id [0-9a-f-]{36}\.\Q@{[
		  $case->{method} ne 'GET' && $status >= 500 ? ' It may have been carried out.' : '' ]}\E$/m;
	# What it says beside the message is shown as it is.
	my $details = eval { json($case->{body})->{details} };
	my ($added) = ($got->{detail} || '') =~ /^The service adds: (.*)$/m;
	$problem .= "details $got->{detail}\n"
	  if ref $details && @$details ? !defined $added || json(json($added)) ne json($details) : defined $added;
	ok($problem eq '', "$case->{id} (case 14)") or diag($problem . explain_case($case));
}

sub explain_case
{
	my ($case) = @_;
	return "$case->{status} $case->{method} $case->{path} " . ($case->{body} || '');
}

# Are they repeated? A first wait is at most a second.
option('retry_timeout', '1200ms');
my @retried = grep { !$_->{headers}{'Retry-After'} } @$cases;
$workspace->delete('faults');
$workspace->post('faults', { faults => [ map { arrange($_, 1) } @retried ] });
my $mark = $workspace->mark;

# Several sessions at once, as most of the time is spent waiting.
my @groups;
push @{ $groups[ $_ % 6 ] }, $retried[$_]->{statement} foreach 0 .. $#retried;
my @sessions = map {
	my $out = '';
	IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $node->connstr('postgres'),
			map { ('-c', 'SELECT attempt(' . literal($_) . ')') } @$_ ],
		'>', \$out)
} @groups;
$_->finish foreach @sessions;

my %requests;
foreach my $entry ($workspace->journal(since => $mark))
{
	$requests{$1}++ if ($entry->{query} || '') =~ /case=(n\d+)/;
}
foreach my $case (@retried)
{
	my ($part) = grep { $case->{id} =~ /\Q$_\E/ } keys %other_retry;
	my $expected = $case->{expected} || {};
	my $want =
		defined $part ? $other_retry{$part}
	  : defined $expected->{retriable_both_sdks} ? $expected->{retriable_both_sdks}
	  : defined $expected->{retriable} ? $expected->{retriable}
	  : $case->{sdk_go}{retriable};
	is($requests{ $case->{n} } || 0,
		$want ? 2 : 1,
		($want ? 'repeated' : 'not repeated') . ": $case->{id} (case 14)");
}
option('retry_timeout', '0');
$workspace->delete('faults');

# --- answers as they come ---------------------------------------------------------

my $permission = qr/lacks a permission in Databricks.*CAN_MANAGE_RUN/;
my $token = qr/ALTER USER MAPPING FOR .* SERVER prod/;
my $missing = qr/Check the (name or )?id,? and the workspace \("prod"\)/;
my $not_there = qr/does not offer that part of the API, or the host is not/;
my $limit = qr/rate limit of the workspace is reached/;
my $door = qr/is the address of a workspace and that the token is valid there/;

# file => [ SQLSTATE, message, code in the detail, hint ]
my %examples = (
	'200-html-login-page' => [ '28000', qr/web page came back .* login page/, '200', $door ],
	'303-login-redirect' =>
	  [ '42501', qr/private link/, '403 PRIVATE_LINK_VALIDATION_ERROR', qr/private link settings/ ],
	'400-already-exists-dbfs' => [ 'HV000', qr/already exists at the input path/, '400 RESOURCE_ALREADY_EXISTS' ],
	# not one of the endpoints whose 400 means "not found"
	'400-cluster-missing' => [ '42704', qr/Cluster 0912-141530-lq8z1x5b does not exist/, '400 INVALID_PARAMETER_VALUE', qr/Check the name or id, and the workspace/ ],
	'400-cluster-wrong-state' => [ 'HV000', qr/cannot be resized/, '400 INVALID_STATE' ],
	'400-dbfs-block-size' => [ 'HV000', qr/1048576 bytes/, '400 MAX_BLOCK_SIZE_EXCEEDED' ],
	'400-files-api-directory-not-empty' => [ 'HV000', qr/directory is not empty/, '400 INVALID_PARAMETER_VALUE' ],
	'400-invalid-parameter-job' => [ '42704', qr/Job 123456789012345 does not exist/, '400 INVALID_PARAMETER_VALUE', $missing ],
	'400-invalid-parameter-run' => [ '42704', qr/Run 123456789012345 does not exist/, '400 INVALID_PARAMETER_VALUE', $missing ],
	'400-job-over-100-tasks-with-2.1' => [ 'HV000', qr/API 2\.2 and above/, '400 INVALID_PARAMETER_VALUE' ],
	'400-malformed-json' => [ 'HV000', qr/Invalid JSON given/, '400 MALFORMED_REQUEST' ],
	'400-output-of-multi-task-run' => [ 'HV000', qr/multiple tasks is not supported/, '400 INVALID_PARAMETER_VALUE' ],
	'400-permissions-no-owner' => [ 'HV000', qr/exactly one owner/, '400 INVALID_PARAMETER_VALUE' ],
	'400-runs-list-limit' => [ 'HV000', qr/Invalid limit 27/, '400 INVALID_PARAMETER_VALUE' ],
	'400-scim-null-detail' => [ 'HV000', qr/invalidValue SCIM API Internal Error/, '400 SCIM_400' ],
	'401-no-credential' => [ '28000', qr/^the token was refused by workspace "prod": Credential was not sent/, '401', $token ],
	'401-oauth-invalid-client' => [ '28000', qr/Client authentication failed/, '401 invalid_client', $token ],
	'403-invalid-access-token' => [ '28000', qr/^the token was refused by workspace "prod": Invalid access token/, '403', $token ],
	'403-permission-denied' => [ '42501', qr/^permission denied by workspace "prod": User etl/, '403 PERMISSION_DENIED', $permission ],
	'404-dbfs-missing' => [ '42704', qr/No file or directory exists/, '404 RESOURCE_DOES_NOT_EXIST', $missing ],
	'404-empty-body' => [ '42704', qr/: Not Found$/, '404', $not_there ],
	'404-endpoint-not-found' => [ '42704', qr/No API found for/, '404 ENDPOINT_NOT_FOUND', $not_there ],
	'404-resource-does-not-exist' => [ '42704', qr/Scope nosuch does not exist/, '404 RESOURCE_DOES_NOT_EXIST', $missing ],
	'404-scim' => [ '42704', qr/User with id 42 not found/, '404 SCIM_404', $missing ],
	'404-with-details' => [ '42704', qr/The statement 01f0a8c1.* was not found/, '404 NOT_FOUND', $missing ],
	'409-files-api-exists' => [ 'HV000', qr/already exists/, '409 ALREADY_EXISTS' ],
	'429-plain-text' => [ '53400', qr/: Rate limit reached\.$/, '429 REQUEST_LIMIT_EXCEEDED', $limit ],
	'429-request-limit-exceeded' => [ '53400', qr/token bucket limit/, '429 REQUEST_LIMIT_EXCEEDED', $limit ],
	'429-resource-exhausted-no-retry-after' => [ '53400', qr/Too many requests/, '429 RESOURCE_EXHAUSTED', $limit ],
	'429-retry-after-http-date' => [ '53400', qr/Rate limit reached/, '429 REQUEST_LIMIT_EXCEEDED', $limit ],
	'499-cancelled' => [ 'HV000', qr/was cancelled/, '499 CANCELLED' ],
	'500-api-1.2' => [ 'HV000', qr/ContextNotFound: no such context/, '500' ],
	'500-internal' => [ 'HV000', qr/An internal error occurred/, '500 INTERNAL_ERROR' ],
	'503-dbfs-delete-continue' => [ 'HV000', qr/make another request to delete more/, '503 PARTIAL_DELETE' ],
	'503-html' => [ 'HV000', qr/No webapps are available/, '503 SERVICE_UNAVAILABLE' ],
	'503-temporarily-unavailable' => [ 'HV000', qr/temporarily unavailable/, '503 TEMPORARILY_UNAVAILABLE' ],
);

my %path = ('400-cluster-missing' => '/api/2.1/clusters/get');
my @files = sort map { m{([^/]+)\.json$} } glob(source_tree() . '/test/data/errors/*.json');
is_deeply(\@files, [ sort keys %examples ], 'every recorded error has an expectation');

my @faults;
foreach my $file (@files)
{
	my $example = json(slurp_file(source_tree() . "/test/data/errors/$file.json"));
	push @faults,
	  { path => '/api/*',
		query => "file=$file.",
		kind => 'status',
		status => $example->{status},
		headers => $example->{headers},
		defined $example->{body_text}
		? (text => $example->{body_text})
		: (json => $example->{body}) };
}
$workspace->post('faults', { faults => \@faults });
@results = attempts(
	map {
		sprintf(q{SELECT databricks.api('GET', '%s?file=%s.')},
			$path{$_} || '/api/2.1/jobs/runs/get', $_)
	} @files);
foreach my $file (@files)
{
	my $got = shift @results;
	my ($state, $message, $answered, $hint) = @{ $examples{$file} };

	is($got->{state}, $state, "$file: SQLSTATE (case 14)");
	like($got->{message}, $message, "$file: message");
	like( $got->{detail},
		qr/ answered \Q$answered\E, request id 3f7b1c7e-2a30-4c8f-9d5e-1f2a3b4c5d6e\.$/m,
		"$file: status, code and request id");
	like($got->{hint} || '', defined $hint ? $hint : qr/^$/, "$file: hint");
}

# --- answers that no library's test has ---------------------------------------------

# What is said is shown, in whatever member; what is not JSON is read as leniently.
my $details = '[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"settings.name","description":"too long"}]}]';
my @odd = (
	# body, status, SQLSTATE, message, answered
	[ qq({"error_code":"INVALID_PARAMETER_VALUE","message":"Invalid","details":$details}), 400, 'HV000', qr/: Invalid$/, '400 INVALID_PARAMETER_VALUE' ],
	[ qq({"details":$details}), 400, 'HV000', qr/: Bad Request$/, '400' ],
	[ '{"error_code":"X","message":{"text":"why"}}', 400, 'HV000', qr/: Bad Request: \{"error_code":"X","message":\{"text":"why"\}\}$/, '400 X' ],
	[ '{"errors":[{"message":"why"}]}', 400, 'HV000', qr/: Bad Request: \{"errors":\[\{"message":"why"\}\]\}$/, '400' ],
	[ '{"error_code":"403x","message":"why"}', 403, '42501', qr/: why$/, '403 403x' ],
	[ '{"error_code":1017,"message":"why"}', 400, 'HV000', qr/: why$/, '400 1017' ],
	[ '{"Message":"why"}', 403, '42501', qr/: Forbidden: \{"Message":"why"\}$/, '403' ],
	[ '{"error_code":"X","errors":[],"extra":{},"none":null}', 400, 'HV000', qr/: Bad Request$/, '400 X' ],
	[ '{"error":{"code":429,"message":"why","status":"RESOURCE_EXHAUSTED"}}', 400, '53400', qr/: why$/, '400 RESOURCE_EXHAUSTED' ],
	[ '{"error":{"code":"InvalidAuthenticationToken","message":"why"}}', 401, '28000', qr/: why$/, '401 InvalidAuthenticationToken' ],
	[ "\n  REQUEST_LIMIT_EXCEEDED: slow down\n", 400, '53400', qr/: slow down$/, '400 REQUEST_LIMIT_EXCEEDED' ],
	[ '{"error_code":"X","message":"The RPC token bucket limit has been exceeded."}', 400, '53400', qr/limit of workspace .*token bucket/, '400 X' ],
	[ '<html><preview>not this</preview><PRE class="a"> this </PRE></html>', 400, 'HV000', qr/: this$/, '400 BAD_REQUEST' ],
	[ '<html><pre', 400, 'HV000', qr/: Bad Request$/, '400 BAD_REQUEST' ],
	[ '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>why</Message></Error>', 403, '42501', qr/: why$/, '403 FORBIDDEN' ],
	[ '', 413, 'HV000', qr/: Content Too Large$/, '413' ]);
$workspace->post('faults', { faults => [ map { {
			path => '/api/2.0/odd', query => "odd=$_.", kind => 'status', status => $odd[$_][1], text => $odd[$_][0],
			headers => { 'Content-Type' => 'application/json' } } } 0 .. $#odd ] });
@results = attempts(map { "SELECT databricks.api('GET', '/api/2.0/odd?odd=$_.')" } 0 .. $#odd);
foreach my $case (@odd)
{
	my $got = shift @results;
	my ($body, undef, $state, $message, $answered) = @$case;
	my $added = $body =~ /"details":\[/ ? "\nThe service adds: $details" : '';

	$body =~ s/\s+/ /g;
	is($got->{state}, $state, "SQLSTATE of '$body'");
	like($got->{message}, $message, '... and message');
	like($got->{detail}, qr/ answered \Q$answered\E, request id [0-9a-f-]{36}\.\Q$added\E$/, '... and detail');
}

# --- answers of success -------------------------------------------------------------
#
# Those that are none are in the fault table, 038_faults.pl.

my $job = $workspace->create_job(name => 'answered');

# Honest compression is understood, chunks and drops too.
my $wide = $workspace->create_job(name => 'x' x 3000);
foreach my $kind (undef, { kind => 'chunked', bytes => 700 },
	{ kind => 'dribble', bytes => 900, interval_ms => 10 }, { kind => 'close' })
{
	$workspace->post('faults', { path => '/api/2.2/jobs/get', %$kind }) if $kind;
	is( attempt("SELECT length(databricks.get_job($wide) #>> '{settings,name}')")->{result},
		'3000',
		'an answer is read ' . ($kind ? "with $kind->{kind}" : 'compressed'));
}

# A write may be answered with nothing; one that must give an id may not.
$workspace->post('faults', { path => '/api/2.2/jobs/update', kind => 'empty' });
is( attempt("SELECT databricks.update_job($job, '{\"name\": \"renamed\"}')")->{state},
	undef, 'an empty answer to a change is a success');
is($workspace->api('GET', '/api/2.2/jobs/get', { job_id => $job })->{settings}{name},
	'renamed', '... and the change was made');
$workspace->post('faults', { path => '/api/2.2/jobs/create', kind => 'empty' });
my $got = attempt(q{SELECT databricks.create_job('{"name": "nameless", "tasks": []}')});
is($got->{state}, '08007', 'an empty answer to create_job leaves its outcome unknown');
like($got->{message}, qr/^outcome is unknown: .* its answer has no "job_id"/, '... the message says so, and what is missing');
like($got->{hint}, qr/look there before you repeat it/, '... and the hint what to do');
foreach my $create (
	[ '/api/2.1/clusters/create', q{SELECT databricks.create_cluster('{"spark_version": "15.4.x-scala2.12", "node_type_id": "i3.xlarge", "num_workers": 1}')} ],
	[ '/api/2.0/repos', q{SELECT databricks.create_repo('https://example.com/a.git', 'gitHub')} ],
	[ '/api/2.0/pipelines/p/updates', q{SELECT databricks.start_pipeline_update('p')} ],
	[ '/api/2.2/jobs/create', q{INSERT INTO databricks.jobs (name, tasks) VALUES ('nameless', '[]')} ],
	[ '/api/2.1/clusters/create', q{INSERT INTO databricks.clusters (spark_version, node_type_id, num_workers) VALUES ('15.4.x-scala2.12', 'i3.xlarge', 1)} ])
{
	my ($path, $statement) = @$create;
	$workspace->post('faults', { path => $path, method => 'POST', kind => 'status', status => 200, text => '' });
	is(sql_error($node, $statement)->{state}, '08007', "so does one to POST $path: $statement");
}
$workspace->post('faults', { path => '/api/2.2/jobs/create', kind => 'bad_json' });
$got = attempt(q{SELECT databricks.create_job('{"name": "torn", "tasks": []}')});
is($got->{state}, '08007', 'an unreadable answer to create_job leaves its outcome unknown');
like($got->{hint}, qr/look there before you repeat it/, '... and the hint says what to do');
$workspace->post('faults', { path => '/api/2.2/jobs/run-now', kind => 'bad_json' });
$got = attempt("SELECT databricks.run_now($job, idempotency_token => 'torn')");
is($got->{state}, '08007', 'so does one to run_now');
like($got->{hint}, qr/idempotency_token => 'torn'/, '... whose hint names the token');

# --- who may not and what is not there are told apart (case 29) --------------------

$node->safe_psql('postgres', q{CREATE ROLE reader; GRANT USAGE ON FOREIGN SERVER prod TO reader;
	CREATE USER MAPPING FOR reader SERVER prod OPTIONS (token 'dapi-standin-none')});
foreach my $call ("run_now($job)", "get_job($job)", "delete_job($job)", "cancel_run(1)")
{
	my ($mine) = attempt("SELECT databricks.$call");
	my $other = sql_error($node, "SET ROLE reader; SELECT databricks.$call");
	next if $call =~ /cancel_run/ ? is($mine->{state}, '42704', 'a run that is not there (case 29)') : 0;
	is($other->{state}, '42501', "$call of somebody else's job is denied (case 29)");
	like($other->{hint}, $permission, '... with a hint about rights');
}
$got = attempt("SELECT databricks.get_job($job)");
is($got->{state}, '42704', 'a deleted job is not found (case 29)');
$got = attempt("SELECT databricks.run_now($job)");
is($got->{state}, '42704', '... and cannot be started');
like($got->{hint}, $missing, '... with a hint about the id');

# --- text of the service in any database --------------------------------------------

$node->safe_psql('postgres',
	q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
create_extension($node, 'latin');
connect_workspace($node, $workspace, database => 'latin');
$workspace->post('faults',
	{ path => '/api/2.0/x', kind => 'status', status => 400, count => 2,
		text => "{\"error_code\":\"X\",\"message\":\"Gr\x{f6}\x{df}e \x{4e2d} falsch\"}" });
foreach my $body ('JSON', 'plain text')
{
	my (undef, undef, $err) = $node->psql('latin',
		q{SET client_encoding = 'UTF8'; SELECT databricks.api('GET', '/api/2.0/x')});
	like($err, qr/Gr\xc3\xb6\xc3\x9fe \? falsch/,
		"$body with characters the database lacks is an error like any other");
	$workspace->delete('faults');
	$workspace->post('faults',
		{ path => '/api/2.0/x', kind => 'status', status => 400,
			text => "Gr\x{f6}\x{df}e \x{4e2d} falsch" });
}
is( $node->safe_psql('latin',
		q{SET client_encoding = 'UTF8';
		  SELECT databricks.get_job(databricks.create_job('{"name": "Größe", "tasks": []}')) #>> '{settings,name}' = 'Größe'}),
	't', 'names go to the service and come back in a LATIN1 database');
$workspace->delete('faults');

# A message is one line, of limited length, and without secrets.
$workspace->post('faults',
	{ path => '/api/2.0/x', kind => 'status', status => 400,
		json => { error_code => 'X', message => "first\nsecond\tthird " . ('y' x 5000) } });
$got = attempt(q{SELECT databricks.api('GET', '/api/2.0/x')});
like($got->{message}, qr/first second third y+ \.\.\.$/, 'a message is one line and has an end');
cmp_ok(length $got->{message}, '<', 2200, '... of a bearable length');
foreach my $before (0, 1970)
{
	$workspace->post('faults',
		{ path => '/api/2.0/x', kind => 'status', status => 400,
			json => { error_code => 'X',
				message => ('y' x $before) . ' token ' . $workspace->token . ' refused' } });
	$got = attempt(q{SELECT databricks.api('GET', '/api/2.0/x')});
	like($got->{message}, qr/token \*\*\*/, 'a secret in a message is masked');
	unlike($got->{message}, qr/dapi/, '... the whole of it');
}

log_lacks($node, 'no token in the log', $workspace->token, 'dapi-standin-none');
$node->stop;
done_testing();
