# 023_odd_servers.pl - servers that are odd, but within their rights: every form of
# HTTP/1 and of JSON that a workspace, or what stands in front of it, may use.
# Acceptance cases 14, 25, 28.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Compress::Zlib ();
use Databricks::RawServer;
use Databricks::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $ok = '{"ok": true}';
my $length = 'Content-Length: ' . length $ok;
my $gzipped = Compress::Zlib::memGzip($ok);
my $deflated = Compress::Zlib::compress($ok);

sub sized
{
	my ($body, $head) = @_;
	return ($head || "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
	  . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

# The whole answer, bytes on the wire => a success.
my %forms = (
	'HTTP/1.0 that ends with the connection' => [ "HTTP/1.0 200 OK\r\n\r\n$ok", 0 ],
	'HTTP/1.0 that goes on' => "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n$length\r\n\r\n$ok",
	'no length, ended by the connection' => [ "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n$ok", 0 ],
	'no reason' => "HTTP/1.1 200\r\n$length\r\n\r\n$ok",
	'an odd reason' => "HTTP/1.1 200 Tout va bien\r\n$length\r\n\r\n$ok",
	'names in lower case' => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\L$length\E\r\n\r\n$ok",
	'names in upper case' => "HTTP/1.1 200 OK\r\nCONTENT-TYPE: APPLICATION/JSON\r\n\U$length\E\r\n\r\n$ok",
	'no blank behind the colon' => "HTTP/1.1 200 OK\r\nContent-Length:" . length($ok) . "\r\n\r\n$ok",
	'no type' => "HTTP/1.1 200 OK\r\n$length\r\n\r\n$ok",
	'type text/plain' => "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n$length\r\n\r\n$ok",
	'type text/html, though it is JSON' => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n$length\r\n\r\n$ok",
	'a charset' => "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n$length\r\n\r\n$ok",
	'bare line feeds' => "HTTP/1.1 200 OK\n$length\n\n$ok",
	'a header on two lines' => "HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n$length\r\n\r\n$ok",
	'a header twice' => "HTTP/1.1 200 OK\r\nX-Request-Id: 1\r\nX-Request-Id: 2\r\n$length\r\n\r\n$ok",
	'headers of other alphabets' => "HTTP/1.1 200 OK\r\nX-Request-Id: \xff\xfe\r\n$length\r\n\r\n$ok",
	'status 201' => "HTTP/1.1 201 Created\r\n$length\r\n\r\n$ok",
	'status 202' => "HTTP/1.1 202 Accepted\r\n$length\r\n\r\n$ok",
	'100 before' => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n$length\r\n\r\n$ok",
	'103 with headers before' =>
	  "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n$length\r\n\r\n$ok",
	'102 twice before' =>
	  ("HTTP/1.1 102 Processing\r\n\r\n" x 2) . "HTTP/1.1 200 OK\r\n$length\r\n\r\n$ok",
	'chunks' => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ok\"\r\n7\r\n: true}\r\n0\r\n\r\n",
	'chunks of one byte' => "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n"
	  . join('', map { "1\r\n$_\r\n" } split //, $ok) . "0\r\n\r\n",
	'chunks with extensions and trailers' =>
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0005;a=b\r\n{\"ok\"\r\n7;c\r\n: true}\r\n000\r\nX-Sum: 7\r\n\r\n",
	'gzip' => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
	  . length($gzipped) . "\r\n\r\n$gzipped",
	'x-gzip in chunks' => "HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
	  . sprintf("%X\r\n%s\r\n0\r\n\r\n", length $gzipped, $gzipped),
	'deflate' => "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: "
	  . length($deflated) . "\r\n\r\n$deflated",
	'identity' => "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n$length\r\n\r\n$ok",
	'a close that was not announced' => [ "HTTP/1.1 200 OK\r\n$length\r\n\r\n$ok", 0 ],
	'a close that was announced' => [ "HTTP/1.1 200 OK\r\nConnection: close\r\n$length\r\n\r\n$ok", 0 ],
	'blanks around it' => sized(" \r\n\t$ok\r\n\r\n "),
	'a byte order mark' => sized("\xef\xbb\xbf$ok"),
	'Retry-After with a success' => "HTTP/1.1 200 OK\r\nRetry-After: 100\r\n$length\r\n\r\n$ok",
);

# Answers of JSON => what SQL makes of them.
my %values = (
	'numbers as they are' => [ '{"a": 9223372036854775807, "b": 123456789012345678901234567890, "c": 1.50, "d": -0, "e": 1e3, "f": 0.1}',
		'{"a": 9223372036854775807, "b": 123456789012345678901234567890, "c": 1.50, "d": 0, "e": 1000, "f": 0.1}' ],
	'escapes' => [ '{"a": "\u00e4\ud83d\ude00\/\b\f\n\r\t\"\\\\"}', qr{^\{"a": "\xc3\xa4\xf0\x9f\x98\x80/\\b\\f\\n\\r\\t\\"\\\\"\}$} ],
	'a NUL' => [ '{"a": "x\u0000y"}', "{\"a\": \"x\xef\xbf\xbdy\"}" ],
	'half of a surrogate pair' => [ '{"a": "\ud83d"}', qr/^\{"a": "(\xef\xbf\xbd|\?)+"\}$/ ],
	'a name twice' => [ '{"a": 1, "a": 2}', '{"a": 2}' ],
	'an empty name' => [ '{"": 1}', '{"": 1}' ],
	'a deep one' => [ ('{"a": ' x 60) . '1' . ('}' x 60), ('{"a": ' x 60) . '1' . ('}' x 60) ],
);

# Refusals in odd forms => SQLSTATE, what the message has.
my %errors = (
	'an unknown status' => [ sized('{"error_code":"TEAPOT","message":"short and stout"}', "HTTP/1.1 418 I am\r\n"), 'HV000', qr/: short and stout$/ ],
	'a status of a gateway, a page' => [ sized('<html><title>Web server is down</title></html>', "HTTP/1.1 521 \r\nContent-Type: text/html\r\n"), 'HV000', qr/: Web server is down$/ ],
	'in capitals' => [ sized('<HTML><HEAD><TITLE>Nobody home</TITLE></HEAD></HTML>', "HTTP/1.1 502 Bad\r\n"), 'HV000', qr/: Nobody home$/ ],
	'a tag with attributes' => [ sized('<html><pre class="x">broken pipe</pre></html>', "HTTP/1.1 500 Bad\r\n"), 'HV000', qr/: broken pipe$/ ],
	'numbers as texts' => [ sized('{"error_code":"403","message":"Invalid access token."}', "HTTP/1.1 403 No\r\n"), '28000', qr/: Invalid access token\.$/ ],
	'gzip' => [ "HTTP/1.1 404 No\r\nContent-Encoding: gzip\r\nContent-Length: "
		  . length(Compress::Zlib::memGzip('{"error_code":"NOT_FOUND","message":"packed"}')) . "\r\n\r\n"
		  . Compress::Zlib::memGzip('{"error_code":"NOT_FOUND","message":"packed"}'), '42704', qr/: packed$/ ],
	'a byte order mark' => [ sized("\xef\xbb\xbf{\"error_code\":\"X\",\"message\":\"marked\"}", "HTTP/1.1 400 No\r\n"), 'HV000', qr/: marked$/ ],
	'an object in "error"' => [ sized('{"error":{"code":"X","message":"nested"}}', "HTTP/1.1 400 No\r\n"), 'HV000', qr/: nested$/ ],
	'a message in capitals' => [ sized('{"errorCode":"X","Message":"other case"}', "HTTP/1.1 400 No\r\n"), 'HV000', qr/: Bad Request: \{"errorCode":"X","Message":"other case"\}$/ ],
	'304' => [ "HTTP/1.1 304 Not Modified\r\n\r\n", 'HV00M', qr/redirected/ ],
	'300' => [ sized('{}', "HTTP/1.1 300 Choices\r\n"), 'HV00M', qr/redirected/ ],
	'204 to a question' => [ "HTTP/1.1 204 No Content\r\n\r\n", '', qr/^$/ ],
	'205 to a question' => [ "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", 'HV00M', qr/could not read/ ],
	'NaN' => [ sized('{"a": NaN}'), 'HV00M', qr/could not read/ ],
	'a number beyond all measure' => [ sized('{"a": 1e9999999}'), 'HV00M', qr/could not read/ ],
	'an error that came with a success' => [ sized('{"error_code":"TEMPORARILY_UNAVAILABLE","message":"x"}'), 'HV00M', qr/could not read/ ],
	'a number for an error that came with a success' => [ sized('{"error_code":403,"message":"Invalid access token."}'), 'HV00M', qr/could not read/ ],
	'single quotes' => [ sized("{'a': 1}"), 'HV00M', qr/could not read/ ],
	'a comment' => [ sized('{"a": 1 /* one */}'), 'HV00M', qr/could not read/ ],
	'UTF-16' => [ sized("\xff\xfe{\0}\0"), 'HV00M', qr/could not read/ ],
);

my %answers;
my $n = 0;
sub path_of
{
	my ($answer) = @_;
	my $path = sprintf('/api/2.0/odd/%03d', $n++);
	$answers{$path} = $answer;
	return $path;
}
my %form_path = map { $_ => path_of($forms{$_}) } keys %forms;
my %value_path = map { $_ => path_of(sized($values{$_}[0])) } keys %values;
my %error_path = map { $_ => path_of($errors{$_}[0]) } keys %errors;

# A list whose pages have every form, with ids beyond doubles, as numbers and texts.
my @pages = (
	'{"jobs":[{"job_id":"9007199254740993","creator_user_name":"a","created_time":"1700000000000","unknown":{"x":[1]},"settings":{"name":"first","tags":{"a":"b"},"new_one":7}}],"next_page_token":"t1","has_more":true}',
	'{"jobs":[],"next_page_token":"t2","has_more":false}',
	'{"next_page_token":"t3"}',
	'{"jobs":null,"has_more":true,"next_page_token":"t4","prev_page_token":"t2"}',
	'{"jobs":[{"job_id":9223372036854775807,"created_time":1.7E12,"settings":{"name":"second"}}],"next_page_token":5}',
	'{"jobs":[{"job_id":12,"settings":null},{"job_id":13}],"has_more":true,"next_page_token":""}');
my %page = (
	'' => 0, t1 => 1, t2 => 2, t3 => 3, t4 => 4, 5 => 5);

my $server = Databricks::RawServer->start(sub {
		my ($client, $request) = @_;
		my ($path, $query) = $request->{target} =~ m{^([^?]*)\??(.*)};
		my ($token) = $query =~ /page_token=([^&]*)/;
		my $answer = $answers{$path};

		$answer = sized($pages[ $page{ $token || '' } ]) if $path =~ m{/jobs/list$};
		$answer = sized('{"job_id":"9223372036854775807","settings":{"name":"got","format":"MULTI_TASK"},"next_page_token":null}')
		  if $path =~ m{/jobs/get$};
		$answer = sized('{"run_id":"9007199254740993","number_in_job":"9007199254740993"}') if $path =~ m{/run-now$};
		$answer = [ sized('{"job_id":9007199254740993}', "HTTP/1.1 201 Created\r\n"), 0 ] if $path =~ m{/jobs/create$};
		$answer = "HTTP/1.1 204 No Content\r\n\r\n" if $path =~ m{/jobs/update$};
		$answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if $path =~ m{/jobs/delete$};
		$answer = [ sized('{"error_code":"BAD_REQUEST","message":"too large"}', "HTTP/1.1 413 Too Large\r\nConnection: close\r\n"), 0 ]
		  if $path =~ m{/jobs/reset$};
		$answer = sized('{"id":"7006512345678901"}') if $path =~ m{/Me$};
		# a proxy that compresses what nobody asked it to
		if ($path =~ m{/dbfs/})
		{
			my $packed = Compress::Zlib::memGzip($path =~ m{/read$} ? '{"bytes_read":2.0E0,"data":"aGk="}' : '{"path":"/a","is_dir":false,"file_size":2e0}');
			$answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " . length($packed) . "\r\n\r\n$packed";
		}
		# the connection ends when it is used again, which nobody was told
		return 0 if $path =~ m{/stale} && $request->{n} > 1;
		$answer = sized($ok) if $path =~ m{/stale};
		$answer = [ sized($ok), 0 ] if $path =~ m{/left};
		select(undef, undef, undef, 1.5) if $path =~ m{/late};
		$answer = sized($ok) if $path =~ m{/late};
		$answer = sized('{}', "HTTP/1.1 404 No\r\n") unless defined $answer;
		($answer, my $goes_on) = ref $answer ? @$answer : ($answer, 1);
		print $client $answer;
		return $goes_on;
	});

my $node = new_node('main');
$node->safe_psql('postgres', sprintf(q{
	SELECT databricks.connect('odd', host => '%s', token => 'some-token',
		server_options => '{"retry_timeout": 0, "request_timeout": "10s", "rate_limit": 0}');
	CREATE FUNCTION attempt(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		EXECUTE statement INTO result;
		RETURN jsonb_build_object('result', result, 'state', '', 'message', '');
	EXCEPTION WHEN OTHERS THEN
		RETURN jsonb_build_object('state', SQLSTATE, 'message', SQLERRM);
	END $$}, $server->url));

# One session for all: what one answer leaves of a connection is there for the next.
sub attempts
{
	my (@statements) = @_;
	return map { json($_) } split /\n/, $node->safe_psql('postgres',
		join("\n", map { 'SELECT attempt($s$' . $_ . '$s$);' } @statements));
}

sub get { return "SELECT databricks.api('GET', '$_[0]')"; }

my @names = sort keys %forms;
my @results = attempts(map { get($form_path{$_}) } @names);
foreach my $i (0 .. $#names)
{
	is($results[$i]{result}, $ok, "form: $names[$i]") or diag($results[$i]{message});
}

@names = sort keys %values;
@results = attempts(map { get($value_path{$_}) } @names);
foreach my $i (0 .. $#names)
{
	my $wanted = $values{ $names[$i] }[1];
	my $got = $results[$i]{result} // '';
	utf8::encode($got);
	ref $wanted
	  ? like($got, $wanted, "value: $names[$i]")
	  : is($got, $wanted, "value: $names[$i]");
	diag($results[$i]{message}) if $results[$i]{state};
}

@names = sort keys %errors;
@results = attempts(map { get($error_path{$_}) } @names);
foreach my $i (0 .. $#names)
{
	my (undef, $state, $message) = @{ $errors{ $names[$i] } };
	is($results[$i]{state}, $state, "error: $names[$i]: state (case 14)");
	like($results[$i]{message}, $message, "error: $names[$i]: message");
}

# Lists, ids, and writes.
my %sql = (
	q{SELECT string_agg(concat_ws(' ', job_id, name, extract(epoch FROM created_time)::bigint), ', ' ORDER BY job_id) FROM databricks.jobs}
	  => '12, 13, 9007199254740993 first 1700000000, 9223372036854775807 second 1700000000',
	q{SELECT count(*) FROM databricks.api_pages('/api/2.2/jobs/list', 'jobs')} => 4,
	q{SELECT databricks.run_now(1)} => '9007199254740993',
	q{SELECT databricks.create_job('{"name": "x", "tasks": []}')} => '9007199254740993',
	q{SELECT databricks.update_job(1, '{"name": "y"}') IS NOT NULL} => 'f',
	q{SELECT databricks.delete_job(1) IS NOT NULL} => 'f',
	q{SELECT databricks.get_job(1) ->> 'job_id'} => '9223372036854775807',
	q{SELECT databricks.get_job(1) ? 'next_page_token'} => 'f',
	q{SELECT user_name FROM databricks.check_connection()} => '7006512345678901',
	q{SELECT convert_from(databricks.download_file('dbfs:/a'), 'UTF8')} => 'hi',
	# sent once more by itself, over another connection
	q{SELECT databricks.api('GET', '/api/2.0/stale/1') || databricks.api('GET', '/api/2.0/stale/2')} => $ok,
	q{SELECT databricks.api('POST', '/api/2.0/stale/3', '{}') || databricks.api('POST', '/api/2.0/stale/4', '{}')} => $ok);
@names = sort keys %sql;
@results = attempts(@names);
foreach my $i (0 .. $#names)
{
	my $got = $results[$i]{result} // '';
	$got = { true => 't', false => 'f' }->{$got} || $got;
	is($got, $sql{ $names[$i] }, "$names[$i] (cases 25, 28)") or diag($results[$i]{message});
}
is(scalar($server->journal(qr{/stale/[34]})), 2, 'a change is sent once, however old the connections are');

# A connection that the other side closes while nobody uses it must not keep the
# process awake that waits for another answer: it would be busy for the whole second.
my $spent = q{SELECT split_part(pg_read_file('/proc/' || pg_backend_pid() || '/schedstat'), ' ', 1)};
my @figures = split /\n/, $node->safe_psql('postgres', qq{SELECT databricks.api('GET', '/api/2.0/left');
	$spent;
	SELECT count(response) FROM databricks.api_many('[{"method": "GET", "path": "/api/2.0/left"}, {"method": "GET", "path": "/api/2.0/late"}]');
	$spent});
is($figures[2], 2, 'an answer that is late, and one whose connection is closed after it');
cmp_ok($figures[3] - $figures[1], '<', 5e8, '... which wakes nobody but once');

# A server that has read enough says so before the body has come.
my ($large) = attempts(
	q{SELECT databricks.reset_job(1, jsonb_build_object('name', repeat('x', 5000000), 'tasks', '[]'::jsonb))});
is($large->{state}, 'HV000', 'a body that is too large for the service is refused by it');
like($large->{message}, qr/: too large$/, '... which is told');

$node->stop;
done_testing();
