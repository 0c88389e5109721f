# 032_retries.pl - when calls are repeated, and what is said when nobody knows
# whether one was carried out. Which ones are is in the table of 038_faults.pl. Acceptance cases 13, 16-18, 37, 70.
#
# The first wait between two attempts is at most a second, the second one at most
# two. Scenarios run in sessions side by side, as most of the time is waiting.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', conf => "log_min_messages = debug1\n");
connect_workspace($node, $workspace);

# The same workspace with other patience. Servers are cheap.
sub server
{
	my ($name, %options) = @_;
	my $list = join(', ', map { "$_ '$options{$_}'" } sort keys %options);
	$node->safe_psql('postgres', sprintf(
			q{CREATE SERVER %s FOREIGN DATA WRAPPER databricks OPTIONS (host '%s'%s);
			  CREATE USER MAPPING FOR CURRENT_USER SERVER %s OPTIONS (token '%s')},
			$name, $options{host} || $workspace->url,
			$list && !$options{host} ? ", $list" : '', $name, $workspace->token));
	return;
}
server('once', retry_timeout => '0');
server('short', retry_timeout => '1s');
server('quick', request_timeout => '400ms', retry_timeout => '1500ms');

sub begin_sql { return start_sql($node, split /;\s*/, $_[0]); }

# Scenarios: name => [ faults, SQL, check ]. All faults first, all SQL at once,
# then the checks, which get the session and the requests it made. The path or
# query of each must be its own: faults name it.
sub scenarios
{
	my (@list) = @_;
	my %session;
	my $mark = $workspace->mark;

	$workspace->post('faults', { faults => [ map { @{ $_->{faults} } } @list ] });
	$_->{session} = begin_sql($_->{sql}) foreach @list;
	finish_sql($_->{session}) foreach @list;
	my @journal = $workspace->journal(since => $mark);
	foreach my $scenario (@list)
	{
		my @requests = grep {
			my $entry = $_;
			grep {
				(!$_->{path} || $_->{path} eq $entry->{path})
				  && (!$_->{query} || ($entry->{query} || '') =~ /\Q$_->{query}\E/)
				  && (!$_->{body_has} || ($entry->{body} || '') =~ /\Q$_->{body_has}\E/)
			} @{ $scenario->{faults} }
		} @journal;
		note "$scenario->{name}: $scenario->{session}{err}";
		$scenario->{check}->($scenario->{session}, \@requests, $scenario->{name});
	}
	return;
}

# --- the sequences of the vendor's libraries -----------------------------------------

my $sequences =
  json(slurp_file(source_tree() . '/test/data/error_cases.json'))->{retry_sequences};
my @list;
my $n = 0;
foreach my $sequence (@$sequences)
{
	# These two have no script that a server could answer by: rows of their own below.
	next if $sequence->{id} =~ /^backoff$|connection refused/;

	foreach my $variant (@{ $sequence->{variants} || [ {} ] })
	{
		my $path = '/api/2.0/sequence/' . $n++;
		my $id = $sequence->{id} . join('', map { ", $_ " . ($variant->{$_} || 'none') } sort keys %$variant);
		my ($requests, $result) = @{ $sequence->{expect} }{qw(requests result)};
		my @faults;

		# One of the vendor's clients repeats a 504, the other one does not, and
		# nor do we: the call may have been carried out.
		$requests = 1 if $sequence->{id} =~ /^504/;
		foreach my $step (@{ $sequence->{script} })
		{
			my %headers = %{ $step->{headers} || {} };
			if (exists $variant->{status})
			{
				$headers{'Retry-After'} = $variant->{retry_after} if $headers{'Retry-After'};
				delete $headers{'Retry-After'} unless $variant->{retry_after};
			}
			push @faults, $step->{close_without_response}
			  ? { path => $path, kind => 'reset', fin => JSON::PP::true }
			  : { path => $path, kind => 'status',
				status => $step->{status} eq '<status>' ? $variant->{status} : $step->{status},
				text => $step->{body},
				headers => \%headers,
				count => $step->{repeat} ? undef : 1 };
		}
		push @list,
		  { name => "sequence \"$id\"",
			faults => \@faults,
			sql => sprintf(q{SELECT databricks.api('GET', '%s', workspace => '%s')},
				$path, $sequence->{config} ? 'short' : 'prod'),
			check => sub {
				my ($session, $made, $name) = @_;
				is(scalar(@$made), $requests, "$name: requests (case 16)");
				if ($result)
				{
					is_deeply(json($session->{out} || '{}'), $result, "$name: result");
				}
				else
				{
					isnt($session->{state}, '', "$name: an error");
				}
			} };
	}
}
cmp_ok(scalar(@list), '>=', 9, 'there are sequences');

# Of the pause between two attempts the row says a range. Ours is twice as long
# each time up to the same end, and any part of that.
my ($backoff) = grep { $_->{id} eq 'backoff' } @$sequences;
push @list,
  { name => 'sequence "backoff"',
	faults => [
		{ path => '/api/2.0/sequence/backoff', kind => 'status', status => 503, count => 3 },
		{ path => '/api/2.0/sequence/backoff', kind => 'replace', text => '{"ok": true}' } ],
	sql => q{SELECT databricks.api('GET', '/api/2.0/sequence/backoff')},
	check => sub {
		my ($session, $made, $name) = @_;
		my @pauses = log_since($node, 0) =~ m{GET /api/2\.0/sequence/backoff .*, next attempt in (\d+) ms}g;
		is(scalar(@$made), 4, "$name: requests (case 16)");
		is(scalar(@pauses), 3, "$name: pauses");
		ok($pauses[$_] >= 50 && $pauses[$_] <= 1000 * 2**$_, "$name: pause $_") or diag($pauses[$_]) foreach 0 .. $#pauses;
		ok(($made->[ $_ + 1 ]{time} - $made->[$_]{time}) >= $pauses[$_] - 5, "$name: pause $_ is made") foreach 0 .. $#pauses;
		like($session->{err}, qr/Trying again, for up to $backoff->{expect}{default_total_timeout_s} seconds/, "$name: total time");
	} };
scenarios(@list);
$workspace->delete('faults');

# --- Retry-After (case 18) ----------------------------------------------------------------

# value => least and largest gap between the two requests in seconds
my @waits = (
	[ 'seconds' => { retry_after => 1 }, 1, 1.8 ],
	[ 'a date' => { retry_after_date_s => 3 }, 1.5, 3.8 ],
	[ 'a date in the past' => { retry_after_date_s => -100 }, 0, 1.5 ],
	[ 'nothing' => {}, 0, 1.5 ],
	[ 'nothing, but in the details' => { json => { message => 'slow',
				details => [ 7, { '@type' => 'x' }, { '@type' => 'type.googleapis.com/google.rpc.RetryInfo', retry_delay => '1.2s' } ] } }, 1.2, 2 ],
	[ 'less than the details say' => { retry_after => 0, json => { message => 'slow', details => [ { retry_delay => '9s' } ] } }, 0, 1.5 ],
	[ 'nonsense in the details' => { json => { message => 'slow', details => [ { retry_delay => 9 }, { retry_delay => '9m' }, { retry_delay => '-9s' } ] } }, 0, 1.5 ],
	[ 'zero' => { retry_after => 0 }, 0, 1.5 ],
	[ 'a fraction' => { retry_after => '1.58' }, 1, 1.8 ],
	[ 'a word' => { retry_after => 'soon' }, 1, 1.8 ],
	[ 'something negative' => { retry_after => '-5' }, 1, 1.8 ]);
@list = ();
foreach my $wait (@waits)
{
	my ($what, $members, $least, $most) = @$wait;
	my $path = '/api/2.0/wait/' . scalar(@list);
	push @list,
	  { name => "Retry-After with $what",
		faults => [
			{ path => $path, kind => 'status', status => 429, %$members },
			{ path => $path, kind => 'replace', text => '{"ok": true}' } ],
		sql => "SELECT databricks.api('GET', '$path')",
		check => sub {
			my ($session, $made, $name) = @_;
			is(scalar(@$made), 2, "$name: two requests (case 18)");
			my $gap = ($made->[-1]{time} - $made->[0]{time}) / 1000;
			ok($gap >= $least && $gap <= $most, "$name: waits as long as it should (case 18)")
			  or diag("$gap s");
		} };
}
push @list,
  { name => 'more than the patience',
	faults => [ { path => '/api/2.0/wait/long', kind => 'status', status => 429, retry_after => 5, count => undef } ],
	sql => q{SELECT databricks.api('GET', '/api/2.0/wait/long', workspace => 'short')},
	check => sub {
		my ($session, $made, $name) = @_;
		is(scalar(@$made), 1, "$name: no wait that cannot help (case 18)");
		is($session->{state}, '53400', "$name: the refusal is the error");
		cmp_ok($session->{seconds}, '<', patience(1), "$name: at once");
	} },
  map {
	my ($what, $after) = @$_;
	{ name => $what,
	  faults => [ { path => "/api/2.0/wait/$what", kind => 'status', status => 429, retry_after => $after, count => undef } ],
	  sql => qq{SET statement_timeout = '500ms'; SELECT databricks.api('GET', '/api/2.0/wait/$what')},
	  check => sub {
		  my ($session, $made, $name) = @_;
		  is($session->{state}, '57014', "$name: the pause between attempts is interruptible");
		  like(log_since($node, 0), qr{GET /api/2\.0/wait/$what .*, next attempt in 60\d\d\d ms},
			  "a $what Retry-After is capped to a minute (case 18)");
	  } }
  } [ huge => 86400 ], [ endless => 'Sun, 06 Nov 99999999 08:49:37 GMT' ];
scenarios(@list);
$workspace->delete('faults');

# --- what may be repeated ---------------------------------------------------------------

my %job = map { $_ => $workspace->create_job(name => "job $_") } qw(lock lost late get put doubt);
my $create = sub { sprintf(q{SELECT databricks.create_job('{"name": "%s", "tasks": []}', workspace => '%s')}, $_[0], $_[1] || 'prod') };
my $jobs_of = sub {
	scalar @{ $workspace->api('GET', '/api/2.2/jobs/list', { name => $_[0] })->{jobs} || [] };
};

@list = ();

# run_now and submit_run: the token makes them safe
my $runs_of = sub {
	return grep { $_->{job_id} eq $_[0] } @{ $workspace->api('GET', '/api/2.2/jobs/runs/list')->{runs} || [] };
};
foreach my $case (
	[ 'a lost answer', { kind => 'lost' } ],
	[ 'a torn answer', { kind => 'truncate' } ],
	[ '503 after the work', { kind => 'replace', status => 503, text => '' } ],
	[ 'a reset before the work', { kind => 'reset' } ],
	[ '503 before the work', { kind => 'status', status => 503 } ],
	[ 'a lock', { kind => 'status', status => 400, code => 'COULD_NOT_ACQUIRE_LOCK' } ],
	[ 'no answer', { kind => 'hang' }, 'quick' ])
{
	my ($what, $fault, $server) = @$case;
	my $job = $workspace->create_job(name => "run after $what");
	push @list,
	  { name => "run_now and $what",
		faults => [ { path => '/api/2.2/jobs/run-now', body_has => "\"job_id\":$job,", %$fault } ],
		sql => sprintf(q{SELECT databricks.run_now(%s, workspace => '%s')}, $job, $server || 'prod'),
		check => sub {
			my ($session, $made, $name) = @_;
			my @tokens = map { json($_->{body})->{idempotency_token} } @$made;
			my @runs = $runs_of->($job);
			is($session->{state}, '', "$name: no error (case 37)");
			is(scalar(@tokens), 2, "$name: sent twice (case 37)");
			ok(length $tokens[0] && $tokens[0] eq ($tokens[1] || ''), "$name: with the same token (case 37)");
			is(scalar(@runs), 1, "$name: one run exists (case 37)");
			is($session->{out}, $runs[0]{run_id}, "$name: its id is the result");
		} },
	  { name => "submit_run and $what",
		faults => [ { path => '/api/2.2/jobs/runs/submit', body_has => "\"submit after $what\"", %$fault } ],
		sql => sprintf(
			q{SELECT databricks.submit_run('{"run_name": "submit after %s", "tasks": [{"task_key": "a",
				"notebook_task": {"notebook_path": "/Shared/a"}}]}', workspace => '%s')},
			$what, $server || 'prod'),
		check => sub {
			my ($session, $made, $name) = @_;
			my @runs = grep { $_->{run_name} eq "submit after $what" }
			  @{ $workspace->api('GET', '/api/2.2/jobs/runs/list', { run_type => 'SUBMIT_RUN' })->{runs} || [] };
			is(scalar(@$made), 2, "$name: sent twice (case 37)");
			is(join(' ', map { $_->{run_id} } @runs), $session->{out}, "$name: one run, its id is the result (case 37)");
		} };
}

# Without a token a run is started blindly only once.
push @list,
  { name => 'run-now without a token',
	faults => [ { path => '/api/2.2/jobs/run-now', body_has => "\"job_id\":$job{lost}}", kind => 'lost' } ],
	sql => "SELECT databricks.api('POST', '/api/2.2/jobs/run-now', '{\"job_id\": $job{lost}}')",
	check => sub {
		my ($session, $made, $name) = @_;
		is(scalar(@$made), 1, "$name: sent once");
		is($session->{state}, '08007', "$name: outcome unknown");
	} },

  # In doubt once, in doubt for ever, whatever is said later.
  { name => 'a lost run-now, then a refusal',
	faults => [
		{ path => '/api/2.2/jobs/run-now', body_has => "\"job_id\":$job{doubt},", kind => 'lost' },
		{ path => '/api/2.2/jobs/run-now', body_has => "\"job_id\":$job{doubt},", kind => 'status', status => 403 } ],
	sql => "SELECT databricks.run_now($job{doubt}, idempotency_token => 'doubt')",
	check => sub {
		my ($session, $made, $name) = @_;
		is($session->{state}, '08007', "$name: outcome unknown (case 37)");
		like($session->{hint}, qr/idempotency_token => 'doubt'/, "$name: the hint names the token");
		like($session->{detail}, qr{POST /api/2\.2/jobs/run-now answered 403 PERMISSION_DENIED \(last of 2 attempts\), request id},
			"$name: the detail tells the last answer");
		my ($run) = $runs_of->($job{doubt});
		is($node->safe_psql('postgres', "SELECT databricks.run_now($job{doubt}, idempotency_token => 'doubt')"),
			$run->{run_id}, "$name: the token gives the run");
	} };

# Calls that may be repeated by their nature.
foreach my $case (
	[ 'get_job', '/api/2.2/jobs/get', "SELECT databricks.get_job($job{get}) IS NOT NULL", undef, "job_id=$job{get}" ],
	[ 'update_job', '/api/2.2/jobs/update', "SELECT databricks.update_job($job{put}, '{\"name\": \"put\"}') IS NULL", $job{put} ],
	[ 'PUT', '/api/2.0/put', q{SELECT databricks.api('PUT', '/api/2.0/put', '{}')} ],
	[ 'DELETE', '/api/2.0/delete', q{SELECT databricks.api('DELETE', '/api/2.0/delete')} ])
{
	my ($what, $path, $sql, $body, $query) = @$case;
	my %where = (path => $path, $body ? (body_has => "\"job_id\":$body,") : (), $query ? (query => $query) : ());
	my $done = $path =~ m{/2\.0/} ? [ { %where, kind => 'status', status => 200, text => '{}' } ] : [];
	push @list,
	  { name => "$what and a reset, then 503",
		faults => [ { %where, kind => 'reset' }, { %where, kind => 'status', status => 503 }, @$done ],
		sql => $sql,
		check => sub {
			my ($session, $made, $name) = @_;
			is(scalar(@$made), 3, "$name: two failures, then success (case 16)");
			is($session->{state}, '', "$name: no error") or diag($session->{err});
		} };
}
scenarios(@list);
$workspace->delete('faults');

# --- what is deleted already ----------------------------------------------------------

my $delete_run = sub {
	my $id = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job{late} })->{run_id};
	$workspace->post('finish', { run_id => $id });
	return $id;
};
my @deleted = map { $workspace->create_job(name => "deleted $_") } 1 .. 4;
my @gone = map { $delete_run->() } 1 .. 1;
my $is_gone = sub {
	return !eval { $workspace->api('GET', '/api/2.2/jobs/get', { job_id => $_[0] }); 1 };
};
scenarios(
	{ name => 'delete_job, answer lost',
		faults => [ { path => '/api/2.2/jobs/delete', body_has => "$deleted[0]", kind => 'lost' } ],
		sql => "SELECT databricks.delete_job($deleted[0]) IS NULL",
		check => sub {
			my ($session, $made, $name) = @_;
			is(scalar(@$made), 2, "$name: repeated");
			is($made->[1]{status}, 400, "$name: and told that the job is not there");
			is($session->{state}, '', "$name: which is what was wanted") or diag($session->{err});
			ok($is_gone->($deleted[0]), "$name: it is gone");
		} },
	{ name => 'delete_run, answer lost',
		faults => [ { path => '/api/2.2/jobs/runs/delete', body_has => "$gone[0]", kind => 'lost' } ],
		sql => "SELECT databricks.delete_run($gone[0]) IS NULL",
		check => sub {
			my ($session, $made, $name) = @_;
			is(scalar(@$made), 2, "$name: repeated");
			is($session->{state}, '', "$name: which is what was wanted") or diag($session->{err});
		} },
	{ name => 'DELETE, answer lost',
		faults => [
			{ path => '/api/2.0/thing', kind => 'reset' },
			{ path => '/api/2.0/thing', kind => 'status', status => 404 } ],
		sql => q{SELECT databricks.api('DELETE', '/api/2.0/thing')},
		check => sub {
			my ($session, $made, $name) = @_;
			is($session->{out}, '{}', "$name: done, with an empty answer");
		} },
	{ name => 'delete_job after a rate limit',
		faults => [
			{ path => '/api/2.2/jobs/delete', body_has => "$deleted[1]", kind => 'status', status => 429 },
			{ path => '/api/2.2/jobs/delete', body_has => "$deleted[1]", kind => 'status', status => 404 } ],
		sql => "SELECT databricks.delete_job($deleted[1])",
		check => sub {
			my ($session, $made, $name) = @_;
			is($session->{state}, '42704', "$name: nothing was done before, so it was never there");
		} },
	{ name => 'delete_job, answer lost, then denied',
		faults => [
			{ path => '/api/2.2/jobs/delete', body_has => "$deleted[2]", kind => 'lost' },
			{ path => '/api/2.2/jobs/delete', body_has => "$deleted[2]", kind => 'status', status => 403 } ],
		sql => "SELECT databricks.delete_job($deleted[2])",
		check => sub {
			my ($session, $made, $name) = @_;
			like($session->{detail}, qr/\. One of the attempts may have been carried out\.$/, "$name: the detail tells that it may be done");
			is($session->{state}, '42501', "$name: another refusal stays an error");
		} },
	{ name => 'update_job, answer lost, then missing',
		faults => [
			{ path => '/api/2.2/jobs/update', body_has => "$deleted[3]", kind => 'lost' },
			{ path => '/api/2.2/jobs/update', body_has => "$deleted[3]", kind => 'status', status => 404 } ],
		sql => "SELECT databricks.update_job($deleted[3], '{\"name\": \"x\"}')",
		check => sub {
			my ($session, $made, $name) = @_;
			is($session->{state}, '42704', "$name: only what is to be deleted may be missing");
		} });
is(sql_error($node, "SELECT databricks.delete_job($deleted[0])")->{state},
	'42704', 'deleting what was not there to begin with is an error');
$workspace->delete('faults');

# --- what the log says of it ------------------------------------------------------------

my $position = log_position($node);
$workspace->post('faults', { path => '/api/2.0/logged', kind => 'status', status => 429, count => 1 });
$workspace->post('faults', { path => '/api/2.0/logged', kind => 'truncate', count => 1 });
$workspace->post('faults', { path => '/api/2.0/logged', kind => 'replace', text => '{}' });
$node->safe_psql('postgres', q{SELECT databricks.api('GET', '/api/2.0/logged', '{"a": 1}')});
my @lines = log_since($node, $position) =~ /DEBUG:  (databricks: GET \/api\/2\.0\/logged.*)/g;
is(scalar(@lines), 3, 'each attempt has a line at debug1 (case 13)');
like($lines[0], qr{logged\?a=1 to workspace "prod": .*rate limit.* 429, \d+ ms, \d+ bytes, next attempt in \d+ ms},
	'... what was asked and answered, and when it is tried again');
like($lines[1], qr/the connection broke.* \d+, \d+ ms, \d+ bytes, next attempt in \d+ ms/, '... or why there was no answer');
like($lines[2], qr/: answered 200, \d+ ms, \d+ bytes$/, '... until there is one');

# --- a host that is not there for a while (case 13) ---------------------------------------

my $port = $workspace->port;
my $made = $workspace->create_job(name => 'before');
$workspace->stop;
my $error = sql_error($node, "SELECT databricks.api('GET', '/api/2.2/jobs/list', workspace => 'once')");
is($error->{state}, 'HV00N', 'no connection');
like($error->{message}, qr{could not reach workspace "once" at http://127\.0\.0\.1:$port: the host cannot be reached},
	'... names the host');
like($error->{hint}, qr{options "host" and "proxy"}, "... with what to look at");
$position = log_position($node);
my %waiting = (
	'a question' => begin_sql(q{SELECT databricks.api('GET', '/api/2.2/jobs/list')}),
	'a PATCH' => begin_sql(q{SELECT databricks.api('PATCH', '/api/2.0/missing', '{}')}),
	'create_job, which cannot have been sent' => begin_sql($create->('after the outage')));
poll_until('each was refused once', sub {
	my %seen = map { $_ => 1 } log_since($node, $position) =~
	  /databricks: (\w+ \S+) .*the host cannot be reached.*next attempt/g;
	keys %seen == 3;
});
$workspace = Databricks::Test::Workspace->start(args => [ '--port', $port ]);
finish_sql($_) foreach values %waiting;
is($waiting{'a question'}{state}, '', 'a question is asked again once the host is there (case 13)');
is($waiting{'a PATCH'}{state}, '42704', '... and a PATCH sent');
is($waiting{'create_job, which cannot have been sent'}{state}, '', '... and so is create_job, which cannot have arrived before');
is($jobs_of->('after the outage'), 1, '... once');

# The row of the table for that: a port that is bound, but does not listen yet.
my ($refusal) = grep { $_->{id} =~ /connection refused/ } @$sequences;
my $refusing = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp', Timeout => 120) or die "socket: $!";
server('refusing', host => 'http://127.0.0.1:' . $refusing->sockport);
$position = log_position($node);
my $refused = begin_sql(sprintf(q{SELECT databricks.api('%s', '/api/2.0%s', '{}', workspace => 'refusing')}, @{ $refusal->{request} }{qw(method path)}));
poll_until('it was refused', sub { log_since($node, $position) =~ m{/api/2\.0$refusal->{request}{path} .*the host cannot be reached.*next attempt} });
$refusing->listen(5) or die "listen: $!";
my $peer = $refusing->accept or die "accept: $!";
my $head = '';
$head .= <$peer> until $head =~ /\r\n\r\n/;
my $text = $refusal->{script}[1]{body};
print $peer "HTTP/1.1 $refusal->{script}[1]{status} OK\r\nContent-Length: @{[ length $text ]}\r\nConnection: close\r\n\r\n$text";
$peer->flush;
finish_sql($refused);
close($peer);
like($head, qr{^$refusal->{request}{method} /api/2\.0$refusal->{request}{path} }, "sequence \"$refusal->{id}\": the second request (case 16)");
is_deeply(json($refused->{out} || '{}'), $refusal->{expect}{result}, "sequence \"$refusal->{id}\": result");

# A host that takes the connection and then says nothing, so that TLS does not
# come about.
my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "socket: $!";
server('mute', host => 'https://127.0.0.1:' . $mute->sockport);
$node->safe_psql('postgres', q{ALTER SERVER mute OPTIONS (ADD connect_timeout '300ms', ADD retry_timeout '0')});
my $begun = time;
$error = sql_error($node, q{SELECT databricks.create_job('{"name": "x", "tasks": []}', workspace => 'mute')});
is($error->{state}, 'HV00N', 'a connection that does not come about (case 13)');
like($error->{message}, qr/did not answer in time/, '... is told as such, and that nothing was sent');
cmp_ok(time - $begun, '<', patience(2), '... after connect_timeout');

# --- a call that waits holds up nobody ------------------------------------------------------

my $id = $workspace->create_job(name => 'many');
my @runs = map { $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $id })->{run_id} } 1 .. 5;
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', query => "$runs[0]", kind => 'status', status => 429, retry_after => 1 });
my $mark = $workspace->mark;
is( $node->safe_psql('postgres',
		'SELECT count(*) FROM databricks.runs WHERE run_id IN (' . join(', ', @runs) . ')'),
	'5', 'five runs are read, one of them at the second attempt');
my @order = map { $_->{query} } $workspace->journal(since => $mark, path => '/api/2.2/jobs/runs/get');
is(scalar(@order), 6, '... with six requests');
like($order[-1], qr/$runs[0]/, '... the one that had to wait comes last');

# --- nothing stays behind --------------------------------------------------------------------

$workspace->post('faults', { path => '/api/2.0/fails', kind => 'status', status => 400, count => undef });
$workspace->post('faults', { path => '/api/2.0/hangs', kind => 'hang', count => undef });
my $out = $node->safe_psql('postgres', q{
	BEGIN;
	DO $$
	BEGIN
		FOR i IN 1 .. 200 LOOP
			BEGIN
				PERFORM databricks.api('GET', '/api/2.0/fails');
			EXCEPTION WHEN OTHERS THEN
				NULL;
			END;
		END LOOP;
		BEGIN
			SET LOCAL statement_timeout = 0;
			PERFORM pg_cancel_backend(pg_backend_pid()), databricks.api('GET', '/api/2.0/hangs');
		EXCEPTION WHEN query_canceled THEN
			RAISE NOTICE 'canceled';
		END;
		PERFORM databricks.api('GET', '/api/2.2/jobs/list');
	END $$;
	SELECT count(*) FROM pg_backend_memory_contexts
	WHERE name IN ('databricks call', 'databricks transfer', 'databricks pages');
	COMMIT;});
is($out, '0', 'calls that failed or were cancelled in a subtransaction are forgotten');

# Two calls in one query, one of them in a cursor that is still open.
$node->psql('postgres', q{
	BEGIN;
	DECLARE c CURSOR FOR SELECT 'row' FROM databricks.jobs;
	FETCH 1 FROM c;
	SAVEPOINT s;
	SELECT databricks.api('GET', '/api/2.0/fails');
	ROLLBACK TO s;
	SELECT (databricks.api('GET', '/api/2.2/jobs/list') ? 'jobs'),
		(databricks.api('GET', '/api/2.2/jobs/list') ? 'jobs');
	FETCH 1 FROM c;
	COMMIT;}, on_error_stop => 0, stdout => \$out);
is($out, "row\nt|t\nrow", 'a cursor survives a failed call in a savepoint, and calls beside it');
$workspace->delete('faults');

# --- settings (case 17) ------------------------------------------------------------------------

foreach my $bad ('-1', 'soon', '', '1 parsec')
{
	my $bad_error = sql_error($node, "ALTER SERVER once OPTIONS (SET retry_timeout '$bad')");
	is($bad_error->{state}, 'HV024', "retry_timeout '$bad' is refused (case 17)");
}
$node->safe_psql('postgres', q{ALTER SERVER once OPTIONS (SET retry_timeout '90s')});

# --- an older Jobs API (case 70) ---------------------------------------------------------------

$workspace->post('settings', { api_versions => [ '2.0', '2.1' ] });
$id = $workspace->api('POST', '/api/2.1/jobs/create', { name => 'old', tasks => [ {
				task_key => 'a', notebook_task => { notebook_path => '/Shared/a' } } ] })->{job_id};
$mark = $workspace->mark;
$out = $node->safe_psql('postgres', qq{
	SELECT databricks.get_job($id) #>> '{settings,name}';
	SELECT databricks.run_now('old') > 0;
	SELECT count(*) FROM databricks.jobs WHERE name = 'old';
	SELECT databricks.create_job('{"name": "older", "tasks": []}') > 0;});
is($out, "old\nt\n1\nt", 'a workspace without API 2.2 is spoken to in 2.1 (case 70)');
my @paths = map { "$_->{method} $_->{path} $_->{status}" } $workspace->journal(since => $mark);
is_deeply(
	\@paths,
	[
		'GET /api/2.2/jobs/get 404', 'GET /api/2.1/jobs/get 200',
		'GET /api/2.1/jobs/list 200', 'POST /api/2.1/jobs/run-now 200',
		'GET /api/2.1/jobs/list 200', 'POST /api/2.1/jobs/create 200' ],
	'... found out once in a session');

# Gateways say it in other ways too.
$workspace->post('settings', { api_versions => [ '2.0', '2.1', '2.2' ] });
foreach my $way (
	[ 'in words with a 400' => { status => 400, text => 'Bad Target: /api/2.2/jobs/get' } ],
	[ 'in words as JSON' => { status => 400, json => { error_code => 'BAD_REQUEST', message => 'Bad Target: /api/2.2/jobs/get' } } ],
	[ 'with nothing' => { status => 404, text => '' } ],
	[ 'with a page' => { status => 404, text => '<html><title>Not Found</title></html>' } ])
{
	my ($how, $answer) = @$way;
	$workspace->post('faults', { path => '/api/2.2/*', kind => 'status', count => undef, %$answer });
	$mark = $workspace->mark;
	is( $node->safe_psql('postgres', "SELECT databricks.get_job($id) #>> '{settings,name}', databricks.find_job('old') = $id"),
		'old|t', "a workspace without API 2.2, told $how");
	is_deeply([ map { $_->{path} } $workspace->journal(since => $mark) ],
		[ '/api/2.2/jobs/get', '/api/2.1/jobs/get', '/api/2.1/jobs/list' ], '... found out once');
	$workspace->delete('faults');
}
$mark = $workspace->mark;
is(sql_error($node, 'SELECT databricks.get_job(4711)')->{state}, '42704', 'a job that is not there is no version that is not there');
is(scalar($workspace->journal(since => $mark)), 1, '... and asked for once');
$workspace->post('settings', { api_versions => [ '2.0', '2.1' ] });
$node->safe_psql('postgres', q{ALTER SERVER prod OPTIONS (ADD jobs_api_version '2.1')});
$mark = $workspace->mark;
$node->safe_psql('postgres', "SELECT databricks.get_job($id)");
is_deeply([ map { $_->{path} } $workspace->journal(since => $mark) ],
	['/api/2.1/jobs/get'], '... or never, with jobs_api_version (case 70)');
is(sql_error($node, q{ALTER SERVER prod OPTIONS (SET jobs_api_version '3')})->{state},
	'HV024', 'a version that does not exist is refused');
$node->safe_psql('postgres', q{ALTER SERVER prod OPTIONS (DROP jobs_api_version)});
$error = sql_error($node, q{SELECT databricks.api('GET', '/api/2.2/jobs/nosuch')});
is($error->{state}, '42704', 'a route that no version has is an error');
like($error->{hint}, qr/does not offer that part of the API/, '... with a hint');

log_lacks($node, 'no token in the log at debug1', $workspace->token);
$node->stop;
done_testing();
