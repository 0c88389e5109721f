# 038_faults.pl - the fault table: whatever goes wrong between here and a workspace,
# one row each, with what comes of it, how many requests were made, and how long it
# took. Acceptance cases 13, 14, 15, 20, 21, 37.
#
# Most rows are faults of the stand-in; what no stand-in does by itself comes from
# a server of raw bytes. Rows run side by side, as most of the time is waiting; one
# of them, the storm, takes half a minute by itself.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Compress::Zlib qw(memGzip);
use Databricks::RawServer;
use Databricks::Test;
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $at_once = 8;
my @rows;

# --- the table -------------------------------------------------------------------
#
#   row(what, fault, ...)
#
# fault: a fault of the stand-in, several in order, a sub that answers instead, or
# undef. Of the rest:
#   call      get (default), create, run (a change that may not, and one that may be
#             repeated), or SQL with %s for the workspace
#   server    some (default): patient for 5 s, of 1 MB at most; see below for others
#   then      a GET gets an answer after the faults, which is its result
#   state, message, detail, hint   of the error; without state there is none
#   requests  in the journal, 1 unless given
#   made      jobs or runs there afterwards
#   least, most   seconds, 0 and 3 unless given

sub row
{
	my ($what, $fault, %row) = @_;
	push @rows, { what => $what, fault => $fault, call => 'get', server => 'some',
		state => '', requests => 1, least => 0, most => 3, %row };
	return;
}

my $true = JSON::PP::true;
my $ever = undef;

# No connection.
row('nobody listens', undef, server => 'dead', requests => 0,
	state => 'HV00N', message => qr/the host cannot be reached/);
row('no such host', undef, server => 'nowhere', requests => 0, most => 12,
	state => 'HV00N', message => qr/the host name cannot be resolved/);
row('a connection that does not come about', undef, server => 'mute', requests => 0,
	state => 'HV00N', message => qr/did not answer in time/, least => 0.3);
row('no TLS there', undef, server => 'clear', requests => 0,
	state => 'HV00N', message => qr/TLS failed/, hint => qr/speaks TLS at this port/);
row('a certificate of nobody', undef, server => 'forged', requests => 0,
	state => 'HV00N', message => qr/TLS failed.*certificate/, hint => qr/"ca_file"/, most => 4);

# Lost before the work and after it.
foreach my $how ([ 'a reset' ], [ 'a close', fin => $true ])
{
	my ($what, @fin) = @$how;
	row("$what before the work", { kind => 'reset', @fin }, then => 1, requests => 2, most => 4);
	row("$what before the work, again and again", { kind => 'reset', @fin, count => $ever },
		server => 'none', state => 'HV00N', message => qr/the connection broke/);
	row("$what before the work of create_job", { kind => 'reset', @fin },
		call => 'create', state => '08007', made => 0);
	row("$what before the work of run_now", { kind => 'reset', @fin },
		call => 'run', made => 1, requests => 2, most => 4);
	row("$what after the work", { kind => 'lost', @fin }, then => 1, requests => 2, most => 4);
	row("$what after the work of create_job", { kind => 'lost', @fin },
		call => 'create', state => '08007', made => 1);
	row("$what after the work of run_now", { kind => 'lost', @fin },
		call => 'run', made => 1, requests => 2, most => 4);
}

# Too late.
row('no answer', { kind => 'hang' }, server => 'quick', then => 1, requests => 2, least => 0.4, most => 4);
row('never an answer', { kind => 'hang', count => $ever }, server => 'hasty',
	state => 'HV00N', message => qr/no answer within request_timeout/, least => 0.4);
row('no answer to create_job', { kind => 'hang' }, server => 'quick', call => 'create',
	state => '08007', made => 0, least => 0.4);
row('no answer to run_now', { kind => 'hang' }, server => 'quick', call => 'run',
	made => 1, requests => 2, least => 0.4, most => 4);
row('an answer in drops', { kind => 'dribble', bytes => 2, interval_ms => 30 }, call => 'run', made => 1);
row('a drip that is too slow', sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
		while (print $client ' ') { select(undef, undef, undef, 0.05); }
	}, server => 'hasty', state => 'HV00N', message => qr/no answer within request_timeout/, least => 0.4);
row('headers in drops', sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nX-Slow: ";
		while (print $client 'y') { select(undef, undef, undef, 0.05); }
	}, server => 'hasty', state => 'HV00N', message => qr/no answer within request_timeout/, least => 0.4);

# Less or more than was announced.
row('a truncated body', { kind => 'truncate' }, then => 1, requests => 2, most => 4);
row('a truncated body of create_job', { kind => 'truncate' }, call => 'create', state => '08007', made => 1);
row('a truncated body of run_now', { kind => 'truncate' }, call => 'run', made => 1, requests => 2, most => 4);
foreach my $case (
	[ 'a length that is too large', "Content-Length: 1000\r\n\r\n{}", 'HV00N', qr/the connection broke/ ],
	[ 'a length that is too small', "Content-Length: 3\r\n\r\n{\"a\": 1}", 'HV00M', qr/could not read the answer/ ],
	[ 'a length that is none', "Content-Length: many\r\n\r\n{}", 'HV00N', qr/Invalid Content-Length/ ],
	[ 'a chunk that is cut', "Transfer-Encoding: chunked\r\n\r\nff\r\n{}", 'HV00N', qr/the connection broke/ ],
	[ 'a chunk of no size', "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 'HV00N', qr/the connection broke/ ],
	[ 'half a head', "X-Half: ", 'HV00N', qr/the connection broke/ ])
{
	my ($what, $bytes, $state, $message) = @$case;
	row($what, sub { print { $_[0] } "HTTP/1.1 200 OK\r\n$bytes"; return 0; },
		server => 'none', state => $state, message => $message);
}
row('something that is not HTTP', sub { print { $_[0] } "\0\1\2\3 this is not HTTP at all\r\n\r\n"; return 0; },
	server => 'none', state => 'HV00N', message => qr/./);

# A success that is none.
foreach my $case (
	[ 'HTML', { kind => 'html' }, '28000', qr/probably the login page/ ],
	[ 'XML', { text => '<?xml version="1.0"?><a/>' }, 'HV00M', qr/markup came back instead of JSON/ ],
	[ 'nothing', { text => '' }, 'HV00M', qr/could not read the answer of workspace "some" to GET/ ],
	[ 'blanks', { text => " \n\t" }, 'HV00M', qr/could not read the answer/ ],
	[ 'null', { text => 'null' }, 'HV00M', qr/could not read the answer/, qr/not an object/ ],
	[ 'half of the JSON', { text => '{"a": [1, 2' }, 'HV00M', qr/could not read the answer/ ],
	[ 'an array', { text => '[{"job_id": 1}]' }, 'HV00M', qr/could not read the answer/, qr/not an object/ ],
	[ 'a text', { text => '"ok"' }, 'HV00M', qr/could not read the answer/, qr/not an object/ ],
	[ 'an error', { text => '{"error_code":"X","message":"why"}' }, 'HV00M', qr/could not read the answer/, qr/an error with status 200, X: why/ ],
	[ 'more behind it', { text => '{} {}' }, 'HV00M', qr/could not read the answer/ ],
	[ '10 000 nested arrays', { text => '{"a":' . ('[' x 10_000) . (']' x 10_000) . '}' },
		'HV00M', qr/could not read the answer/, qr/nest|deep/ ],
	[ '10 000 nested objects', { text => ('{"a":' x 10_000) . '1' . ('}' x 10_000) },
		'HV00M', qr/could not read the answer/, qr/nest|deep/ ],
	[ 'more than max_response_size', { json => { a => 'x' x 1_100_000 } }, '54000', qr/larger than max_response_size/ ])
{
	my ($what, $fault, $state, $message, $detail) = @$case;
	row("200 with $what", { kind => 'status', status => 200, headers => { 'Content-Type' => 'application/json' }, %$fault },
		state => $state, message => $message, detail => $detail);
}
# one broken text is no reason to lose the rest: t/024_encoding.pl looks at what comes of it
row('200 with a text that is no UTF-8', { kind => 'status', status => 200, body_b64 => 'eyJhIjogIv8ifQ==',
	headers => { 'Content-Type' => 'application/json' } });
row("200 with $_->[0] for create_job", $_->[1], call => 'create', state => '08007', made => 1)
  foreach [ 'half of the JSON', { kind => 'bad_json' } ], [ 'null', { kind => 'replace', text => 'null' } ];
row('200 with half of the JSON for run_now', { kind => 'bad_json' }, call => 'run', state => '08007', made => 1);

# Elsewhere.
row('a redirect to the login page of a private link', { kind => 'redirect' },
	state => '42501', message => qr/only be reached over its private link/, detail => qr/403 PRIVATE_LINK_VALIDATION_ERROR/);
row('a redirect to a login page', { kind => 'redirect', status => 302, location => 'https://elsewhere.example/login?next=secret' },
	state => '28000', message => qr{redirected to https://elsewhere\.example/login$});
row('a redirect to somewhere', { kind => 'redirect', status => 307, location => '/api/2.0/other' },
	state => 'HV00M', message => qr{redirected to /api/2\.0/other$});
row('a redirect to nowhere', { kind => 'status', status => 301, text => '' },
	state => 'HV00M', message => qr/the request was redirected$/);

# Each status: GET and create_job, requests and SQLSTATE of either.
foreach my $case (
	[ 400, 1, 'HV000', 1, 'HV000' ], [ 401, 1, '28000', 1, '28000' ], [ 403, 1, '42501', 1, '42501' ],
	[ 404, 1, '42704', 1, '42704' ], [ 408, 2, '', 1, '08007' ], [ 409, 1, 'HV000', 1, 'HV000' ],
	[ 429, 2, '', 2, '' ],
	[ 499, 1, 'HV000', 1, 'HV000' ], [ 500, 1, 'HV000', 1, '08007' ], [ 501, 1, 'HV000', 1, 'HV000' ],
	[ 502, 1, 'HV000', 1, '08007' ], [ 503, 2, '', 1, '08007' ], [ 504, 1, 'HV000', 1, '08007' ])
{
	my ($status, $requests, $state, $create_requests, $create_state) = @$case;
	my %fault = (kind => 'status', status => $status);

	row("$status", \%fault, then => $requests > 1, requests => $requests, state => $state, most => 4);
	row("$status for create_job", \%fault, call => 'create', requests => $create_requests,
		state => $create_state, made => $create_state eq '' ? 1 : 0, most => 4);
	row("$status for run_now", \%fault, call => 'run', requests => $requests,
		state => $requests == 1 ? $create_state : '', made => $requests > 1 ? 1 : 0, most => 4);
}
foreach my $status (400, 500, 502, 504)
{
	my %fault = (kind => 'status', status => $status,
		message => 'The service at /x is temporarily unavailable. Please try again later. [TraceId: -]');
	row("$status whose text says that it passes", \%fault, then => 1, requests => 2, most => 4);
	row("$status whose text says so, for create_job", \%fault, call => 'create', made => 0,
		state => $status < 500 ? 'HV000' : '08007');
}
# A rate limit, whatever the code is.
foreach my $case ([ 400, 2, '', 1 ], [ 500, 1, '08007', 0 ])
{
	my ($status, $requests, $state, $made) = @$case;
	row("a token bucket as $status for create_job",
		{ kind => 'status', status => $status, message => 'The RPC token bucket limit has been exceeded.' },
		call => 'create', requests => $requests, state => $state, made => $made, most => 4);
}
foreach my $code (qw(REQUEST_LIMIT_EXCEEDED RESOURCE_EXHAUSTED COULD_NOT_ACQUIRE_LOCK))
{
	row("$code as 400 for create_job (case 15)", { kind => 'status', status => 400, code => $code },
		call => 'create', requests => 2, made => 1, most => 4);
	row("$code as 503 for create_job", { kind => 'status', status => 503, code => $code },
		call => 'create', state => '08007', made => 0);
}
row('503 after the work of run_now', { kind => 'replace', status => 503, text => '' },
	call => 'run', made => 1, requests => 2, most => 4);
row('429 for ever', { kind => 'status', status => 429, retry_after => 1, count => $ever }, server => 'brief',
	state => '53400', message => qr/limit of workspace "brief" reached/, requests => 3, least => 2, most => 5);
row('a storm of 429 for 30 s', { kind => 'status', status => 429, retry_after => 10, count => 3 },
	server => 'patient', then => 1, requests => 4, least => 30, most => 36);

# The shapes of an error, all as 400 unless the shape says otherwise.
foreach my $case (
	[ 'standard', '{"error_code":"X_Y","message":"m m"}', '400 X_Y', qr/: m m$/ ],
	[ 'a numeric code', '{"error_code":403,"message":"Invalid access token. [ReqId: 1]"}', '403', qr/: Invalid access token/, '28000' ],
	[ 'with details', '{"error_code":"X","message":"m","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"r"}]}', '400 X', qr/: m$/ ],
	[ 'of API 1.2', '{"error":"ExecutionContextNotFound: no such context"}', '400', qr/: ExecutionContextNotFound: no such context$/ ],
	[ 'of SCIM', '{"schemas":["s"],"detail":"User not found","status":"404"}', '404 SCIM_404', qr/: User not found$/, '42704' ],
	[ 'of SCIM, with a type', '{"schemas":["s"],"detail":"bad","status":"400","scimType":"invalidValue"}', '400 SCIM_400', qr/: invalidValue bad$/ ],
	[ 'of SCIM, detail "null"', '{"schemas":["s"],"detail":"null","status":"400"}', '400 SCIM_400', qr/: SCIM API Internal Error$/ ],
	[ 'of OAuth', '{"error":"invalid_client","error_description":"unknown client"}', '401 invalid_client', qr/: unknown client$/, '28000' ],
	[ 'of Okta', '{"errorCode":"E0000011","errorSummary":"Invalid token provided"}', '401 E0000011', qr/: Invalid token provided$/, '28000' ],
	[ 'plain text', 'INVALID_STATE: not now', '400 INVALID_STATE', qr/: not now$/ ],
	[ 'HTML', '<html><body><pre>  what happened </pre></body></html>', '400 BAD_REQUEST', qr/: what happened$/ ],
	[ 'HTML with a title only', '<html><head><title>Oh no</title></head></html>', '400 BAD_REQUEST', qr/: Oh no$/ ],
	[ 'nothing', '', '400', qr/: Bad Request$/ ],
	[ 'other text', 'something went wrong', '400 UNKNOWN', qr/: something went wrong$/ ],
	[ 'no message', '{"error_code":"X"}', '400 X', qr/: Bad Request$/ ],
	[ 'an empty message', '{"error_code":"X","message":""}', '400 X', qr/: Bad Request$/ ],
	[ 'no code', '{"message":"m"}', '400', qr/: m$/ ],
	[ 'null members', '{"error_code":null,"message":null}', '400', qr/: Bad Request$/ ],
	[ 'members of other types', '{"error_code":{"a":1},"message":[1]}', '400', qr/: Bad Request: \{"error_code":\{"a":1\},"message":\[1\]\}$/ ],
	[ 'an array', '["m"]', '400 UNKNOWN', qr/: \["m"\]$/ ],
	[ 'half of it', '{"error_code":"X","mess', '400 UNKNOWN', qr/: \{"error_code":"X","mess$/ ])
{
	my ($shape, $body, $answered, $message, $state) = @$case;
	row("an error, $shape", { kind => 'status', status => substr($answered, 0, 3) + 0, text => $body },
		state => $state || 'HV000', message => $message,
		detail => qr/answered \Q$answered\E, request id [0-9a-f-]{36}\.$/m);
}

# Floods.
my $bomb = memGzip('x' x (64 * 1024 * 1024));
my $bombs = memGzip($bomb);
my %flood = (
	'headers without end' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\n";
		while (print $client 'X-Flood: ' . ('y' x 4000) . "\r\n") { }
	},
	'one header without end' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nX-Flood: ";
		while (print $client 'y' x 4000) { }
	},
	'answers that go on' => sub {
		my ($client) = @_;
		while (print $client "HTTP/1.1 100 Continue\r\n\r\n") { }
	},
	'a body without end' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
		while (print $client '"' . ('z' x 4000) . '",') { }
	},
	'chunks without end' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
		while (print $client "fa0\r\n" . ('z' x 4000) . "\r\n") { }
	},
	'trailers without end' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
		while (print $client 'X-Flood: ' . ('y' x 4000) . "\r\n") { }
	},
	'an announced flood' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[";
		while (print $client '"' . ('z' x 4000) . '",') { }
	},
	'a gzip bomb' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
		  . length($bomb) . "\r\n\r\n$bomb";
		return 0;
	},
	'a gzip bomb in a gzip bomb' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: "
		  . length($bombs) . "\r\n\r\n$bombs";
		return 0;
	},
	'a gzip bomb with an error' => sub {
		my ($client) = @_;
		print $client "HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nContent-Length: "
		  . length($bomb) . "\r\n\r\n$bomb";
		return 0;
	});
row($_, $flood{$_}, state => '54000', message => qr/larger than/, most => 10) foreach sort keys %flood;
row('broken gzip', sub {
		print { $_[0] } "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!";
		return 0;
	}, server => 'none', state => 'HV00N', message => qr/the connection broke/);

# --- what the rows need ------------------------------------------------------------

my $n = 0;
$_->{path} = sprintf('/api/2.0/fault/%03d', $n++) foreach @rows;
my %answers = map { $_->{path} => $_->{fault} } grep { ref $_->{fault} eq 'CODE' } @rows;
my $raw = Databricks::RawServer->start(sub {
		my ($client, $request) = @_;
		my ($path) = $request->{target} =~ m{^([^?]*)};
		return ($answers{$path} || sub { return 0; })->($client);
	});
my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64) or die "listen: $!";
my $closed = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!";
my $closed_port = $closed->sockport;
close($closed);

my $dir = PostgreSQL::Test::Utils::tempdir;
PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
	'-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
	'-keyout', "$dir/key", '-out', "$dir/crt");

my $workspace = Databricks::Test::Workspace->start;
my $forged = Databricks::Test::Workspace->start(tls => [ "$dir/crt", "$dir/key" ]);
my $node = new_node('main');
connect_workspace($node, $workspace);

# A row whose fault is a sub goes to the server "raw_...".
my %usual = (retry_timeout => '5s', max_response_size => '1MB');
my %server = (
	some => {},
	none => { retry_timeout => 0 },
	quick => { request_timeout => '400ms' },
	hasty => { request_timeout => '400ms', retry_timeout => 0 },
	brief => { retry_timeout => '2900ms' },
	patient => { retry_timeout => '300s' },
	dead => { retry_timeout => 0, host => "http://127.0.0.1:$closed_port" },
	nowhere => { host => 'https://no-such-host.invalid' },
	mute => { retry_timeout => 0, connect_timeout => '300ms', host => 'https://127.0.0.1:' . $mute->sockport },
	clear => { retry_timeout => 0, host => 'https://127.0.0.1:' . $raw->port },
	forged => { host => 'https://localhost:' . $forged->port });
foreach my $name (sort keys %server)
{
	foreach my $prefix ('', $server{$name}{host} ? () : 'raw_')
	{
		my %options = (host => $prefix ? $raw->url : $workspace->url, %usual, %{ $server{$name} });
		$node->safe_psql('postgres', sprintf(
				q{CREATE SERVER "%s" FOREIGN DATA WRAPPER databricks OPTIONS (%s);
				  CREATE USER MAPPING FOR CURRENT_USER SERVER "%1$s" OPTIONS (token '%s')},
				"$prefix$name", join(', ', map { "$_ '$options{$_}'" } sort keys %options), $workspace->token));
	}
}

# The SQL of a row, and how its requests are known.
foreach my $row (@rows)
{
	my $server = (ref $row->{fault} eq 'CODE' ? 'raw_' : '') . $row->{server};

	if ($row->{call} eq 'create')
	{
		$row->{where} = { path => '/api/2.2/jobs/create', body_has => "\"made by $row->{path}\"" };
		$row->{sql} = sprintf(
			q{SELECT databricks.create_job('{"name": "made by %s", "tasks": []}', workspace => '%s') > 0},
			$row->{path}, $server);
	}
	elsif ($row->{call} eq 'run')
	{
		$row->{job} = $workspace->create_job(name => $row->{path});
		$row->{where} = { path => '/api/2.2/jobs/run-now', body_has => "\"job_id\":$row->{job}," };
		$row->{sql} = "SELECT databricks.run_now($row->{job}, workspace => '$server') > 0";
	}
	else
	{
		$row->{where} = { path => $row->{path} };
		$row->{sql} = "SELECT databricks.api('GET', '$row->{path}', workspace => '$server')";
	}
	next if ref $row->{fault} eq 'CODE' || !$row->{fault};
	$workspace->post('faults', { %{ $row->{where} }, %{ $row->{fault} } });
	$workspace->post('faults', { %{ $row->{where} }, kind => 'replace', text => '{"ok": true}' })
	  if $row->{then};
}

# --- the rows ------------------------------------------------------------------------

my @begun = sort { $b->{least} <=> $a->{least} } @rows;
my (@ended, @under_way);
while (@begun || @under_way)
{
	while (@begun && @under_way < $at_once)
	{
		my $row = shift @begun;
		$row->{session} = start_sql($node, $row->{sql});
		push @under_way, $row;
	}
	foreach my $row (@under_way)
	{
		$row->{session}{run}->pump_nb;
		push @ended, $row unless $row->{session}{run}->pumpable;
	}
	@under_way = grep { $_->{session}{run}->pumpable } @under_way;
	select(undef, undef, undef, 0.02);
}
is(scalar(@ended), scalar(@rows), 'every row has run');
cmp_ok(scalar(@rows), '>=', 140, '... and there are many');

my @journal = $workspace->journal;
my %runs;
my $list = { limit => 25 };
while ($list)
{
	my $page = $workspace->api('GET', '/api/2.2/jobs/runs/list', $list);
	$runs{ $_->{job_id} }++ foreach @{ $page->{runs} || [] };
	$list = $page->{next_page_token} ? { limit => 25, page_token => $page->{next_page_token} } : undef;
}
foreach my $row (@rows)
{
	my $session = finish_sql($row->{session});
	my ($what, $where) = @$row{qw(what where)};
	my @requests = ref $row->{fault} eq 'CODE'
	  ? $raw->journal(qr{^\Q$row->{path}\E$})
	  : grep {
		$_->{path} eq $where->{path}
		  && (!$where->{body_has} || index($_->{body} || '', $where->{body_has}) >= 0)
	  } @journal;

	is($session->{state}, $row->{state}, "$what: result (cases 13, 14, 20, 21)") or diag($session->{err});
	is($session->{out}, $row->{call} ne 'get' ? 't' : '{"ok": true}', "$what: value")
	  if $row->{state} eq '' && ($row->{call} ne 'get' || $row->{then});
	like($session->{message}, $row->{message}, "$what: message") if $row->{message};
	like($session->{detail}, $row->{detail}, "$what: detail") if $row->{detail};
	like($session->{hint}, $row->{hint}, "$what: hint") if $row->{hint};
	like($session->{hint},
		$row->{call} eq 'run' ? qr/idempotency_token => '/ : qr/look there before you repeat it/,
		"$what: the hint says what to do")
	  if $row->{state} eq '08007';
	is(scalar(@requests), $row->{requests}, "$what: requests");
	if ($row->{call} eq 'create')
	{
		is(scalar(@{ $workspace->api('GET', '/api/2.2/jobs/list', { name => "made by $row->{path}" })->{jobs} || [] }),
			$row->{made}, "$what: jobs there are");
	}
	elsif ($row->{call} eq 'run')
	{
		my %tokens = map { json($_->{body})->{idempotency_token} => 1 } @requests;
		is($runs{ $row->{job} } || 0, $row->{made}, "$what: runs there are (case 37)");
		is(scalar(keys %tokens), 1, "$what: one token in all requests (case 37)");
	}
	ok($session->{seconds} >= $row->{least} && $session->{seconds} <= $row->{most}, "$what: in time")
	  or diag("$session->{seconds} s");
}

# --- floods leave nothing behind ----------------------------------------------------------

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $resident = sub {
	my ($pages) = slurp_file("/proc/$pid/statm") =~ /^\d+ (\d+)/;
	return $pages * 4;
};
my @floods = map { $_->{sql} } grep { $_->{state} eq '54000' || $_->{what} =~ /nested/ } @rows;
my $flood = sub {
	foreach my $sql (@floods)
	{
		$session->query($sql);
		$session->{stderr} = '';
	}
};
$flood->() foreach 1 .. 3;
my $before = $resident->();
$flood->() foreach 1 .. 5;
SKIP:
{
	skip 'figures of an instrumented server', 1 if instrumented();
	cmp_ok($resident->() - $before, '<', 4096, 'floods leave nothing behind');
}
eval { $session->quit };

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
