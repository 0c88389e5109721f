# 033_pages.pl - lists and objects that come in pages are whole, or an error.
# Acceptance cases 25, 27.

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
$node->safe_psql('postgres', q{ALTER SERVER prod OPTIONS (ADD retry_timeout '2500ms')});

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub literal
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# --- the cases of the vendor's library ---------------------------------------------

# What its calls give for what the service answers, as recorded by its own tests.
# No row is left out. Lists with tasks, where each element is fetched whole, are
# what the foreign tables do; rows without a call of the library tell how a request
# looks.
my $cases =
  json(slurp_file(source_tree() . '/test/data/pagination_cases.json'))->{cases};
my $count = 0;
foreach my $case (@$cases)
{
	next unless $case->{api};
	my $path = $case->{calls}[0]{url} =~ m{//localhost(/[^?]*)} ? $1 : die;
	my %query = map { split /=/ } split /&/, ($case->{calls}[0]{url} =~ /\?(.*)/)[0];
	my ($test) = $case->{test} =~ /::test_(.*)/;
	my $list = $path =~ /list$/;

	$workspace->delete('faults');
	if ($test =~ /^list_/ && $test !~ /without_task_expansion/)
	{
		table_case($case, $test, $path);
		next;
	}
	$count++;
	foreach my $mock (@{ $case->{mocks} })
	{
		my ($token) = $mock->{url_regex} =~ /page_token=(\w+)/;
		$workspace->post('faults',
			{ path => $path, kind => 'status', status => 200,
				json => $mock->{responses}[0]{json},
				defined $token ? (query => "page_token=$token") : (query => 'job_id=1337', skip => 0) });
	}
	my $mark = $workspace->mark;
	my $query = literal(json(\%query));
	my $out = $list
	  ? sql(sprintf(q{SELECT jsonb_agg(element) FROM databricks.api_pages('%s', '%s', %s) AS element},
			$path, $path =~ /runs/ ? 'runs' : 'jobs', $query))
	  : sql("SELECT databricks.api_object('$path', $query)");

	# That library turns the ids of repairs from texts into numbers.
	my $result = json($out);
	my $wanted = $case->{result};
	if ($test eq 'list_runs_without_task_expansion')
	{
		$_->{id} += 0 foreach map { @{ $_->{repair_history} || [] } } @$result;
	}
	is_deeply($result, $wanted, "$test: result");
	is(scalar($workspace->journal(since => $mark)),
		scalar(@{ $case->{calls} }), "$test: requests");
}
$workspace->delete('faults');

# A list whose elements have more tasks than it shows, as a foreign table.
sub table_case
{
	my ($case, $test, $path) = @_;
	my ($table, $id) = $path =~ /runs/ ? qw(runs run_id) : qw(jobs job_id);
	# what names a page comes before what does not
	my @mocks = sort { ($b->{url_regex} =~ /tokenTo/) <=> ($a->{url_regex} =~ /tokenTo/) } @{ $case->{mocks} };

	foreach my $mock (@mocks)
	{
		my ($call) = $mock->{url_regex} =~ m{(jobs/[a-z/]+)};
		my ($token) = $mock->{url_regex} =~ /page_token=(tokenTo\w+)/;
		my ($one) = $mock->{url_regex} =~ /(\w+_id=\d+)/;
		$workspace->post('faults', { path => "/api/2.2/$call", kind => 'status', status => 200,
				json => $mock->{responses}[0]{json}, count => undef,
				$token ? (query => "page_token=$token") : $one ? (query => $one) : () });
	}
	my $mark = $workspace->mark;
	my $got = json(sql("SELECT jsonb_agg(jsonb_build_array($id, tasks) ORDER BY $id) FROM databricks.$table"));
	my @wanted = map { [ $_->{$id}, ($_->{settings} || $_)->{tasks} ] }
	  sort { $a->{$id} <=> $b->{$id} } @{ $case->{result} };
	is_deeply($got, \@wanted, "$test: result");
	my @requests = map { "$_->{path}?$_->{query}" } $workspace->journal(since => $mark);
	# Unlike the library we look at the first page of runs once more at the end, as
	# runs move in a list while its pages are read.
	my $closing = $table eq 'runs' ? 1 : 0;
	is(scalar(@requests), scalar(@{ $case->{calls} }) + $closing, "$test: requests")
	  or diag(join("\n", @requests));
	is($requests[-1], $requests[0], "$test: the last one is the first one again") if $closing;
	$count++;
	return;
}

# How a request looks: the query as JSON, nested by dots and with arrays of what is
# repeated, and the body.
sub query_object
{
	my ($query) = @_;
	my %object;

	foreach my $pair (split /&/, $query)
	{
		my ($name, $value) = split /=/, $pair;
		my $at = \%object;
		my @path = split /\./, $name;
		my $last = pop @path;
		$at = $at->{$_} ||= {} foreach @path;
		$at->{$last} = !exists $at->{$last} ? $value
		  : ref $at->{$last} ? [ @{ $at->{$last} }, $value ]
		  : [ $at->{$last}, $value ];
	}
	return \%object;
}
sub pairs { return join('&', sort { ($a =~ /^([^=]*)/)[0] cmp ($b =~ /^([^=]*)/)[0] } split /&/, $_[0]); }
foreach my $case (@$cases)
{
	next if $case->{api};
	my ($test) = $case->{test} =~ /::test_(.*)/;

	$count++;
	foreach my $call (@{ $case->{calls} })
	{
		my ($path, $query) = $call->{url} =~ m{//localhost(/[^?]*)\??(.*)};
		my $mark = $workspace->mark;

		$workspace->post('faults', { path => $path, kind => 'status', status => 200, text => '{}' });
		sql(sprintf(q{SELECT databricks.api(%s, %s, %s)}, literal($call->{method}),
				$call->{method} =~ /GET|DELETE/ ? (literal($path), literal(json(query_object($query))))
				: (literal($path . ($query ? "?$query" : '')), literal(json($call->{body})))));
		my ($request) = $workspace->journal(since => $mark);
		is("$request->{method} $request->{path}?" . pairs($request->{query} || ''),
			"$call->{method} $path?" . pairs($query), "$test: request (case 19)");
		is_deeply($request->{body} ? json($request->{body}) : undef, $call->{body}, "$test: body (case 19)");
	}
}
is($count, scalar(@$cases), 'every row was tried');
cmp_ok($count, '>=', 29, '... and there were rows');
$workspace->delete('faults');

# --- lists -------------------------------------------------------------------------------

my $pages = q{databricks.api_pages('/api/2.2/jobs/list', 'jobs', '{"limit": 10}')};
my $mark = $workspace->mark;
is(sql("SELECT count(*) FROM $pages"), '0', 'an empty list (case 25)');
is(scalar($workspace->journal(since => $mark)), 1, '... of one page');
$workspace->post('seed', { jobs => 53, runs => 60 });
is(sql("SELECT count(*), count(DISTINCT e ->> 'job_id') FROM $pages AS e"), '53|53', 'a list of several pages (case 25)');
is(sql(q{SELECT count(*) FROM databricks.api_pages('/api/2.2/jobs/list', 'jobs', '{"limit": 100}')}),
	'53', 'a list of one page (case 25)');
foreach my $kind (qw(short empty mixed))
{
	$workspace->post('settings', { short_pages => $kind });
	is(sql("SELECT count(*) FROM $pages AS e"), '53', "pages that are $kind do not end a list (case 25)");
	is(sql('SELECT count(*) FROM databricks.jobs'), '53', '... in the foreign table neither');
}
$workspace->post('settings', { short_pages => 'off', root_has_more => JSON::PP::true });
is(sql("SELECT count(*) FROM $pages AS e"), '53', 'has_more makes no difference (case 25)');
is(sql(q{SELECT count(*) FROM databricks.api_pages('/api/2.1/jobs/list', 'jobs', '{"limit": 10}')}),
	'53', '... in 2.1 neither, where it is always there (case 25)');
$workspace->post('settings', { root_has_more => JSON::PP::false });

# A list that is read from the middle on: the token given is for the first page.
my $token = sql(q{SELECT databricks.api('GET', '/api/2.2/jobs/list', '{"limit": 10}') ->> 'next_page_token'});
is(sql(qq{SELECT count(*) FROM databricks.api_pages('/api/2.2/jobs/list', 'jobs', '{"page_token": "$token", "limit": 10}')}),
	'43', 'a list can be read from a token on');

# Tokens are opaque, and may hold what means something in a query.
$workspace->post('faults', { path => '/api/2.0/odd', kind => 'replace', json => { rows => [1], next_page_token => 'a+b/c=&d e' } });
$workspace->post('faults', { path => '/api/2.0/odd', query => 'page_token=a%2Bb%2Fc%3D%26d%20e', kind => 'replace', json => { rows => [2], next_page_token => '' } });
is(sql(q{SELECT string_agg(e::text, ',') FROM databricks.api_pages('/api/2.0/odd', 'rows') AS e}),
	'1,2', 'a token is escaped, and an empty one ends the list');
$workspace->post('faults', { path => '/api/2.0/repos', kind => 'replace', json => { repos => [1], next_page_token => 't' } });
$workspace->post('faults', { path => '/api/2.0/repos', query => 'next_page_token=t', kind => 'replace', json => { repos => [2] } });
is(sql(q{SELECT string_agg(e::text, ',') FROM databricks.api_pages('/api/2.0/repos', 'repos') AS e}),
	'1,2', 'repos name their token otherwise');
$workspace->delete('faults');

# Lists without tokens: SCIM counts, and of version 2.0 a part would look whole.
sub scim
{
	my ($start, $total, @rows) = @_;
	return { kind => 'replace', path => '/api/2.0/preview/scim/v2/Users', $start > 1 ? (query => "startIndex=$start") : (),
		json => { totalResults => $total, startIndex => $start, itemsPerPage => scalar(@rows), Resources => \@rows } };
}
my $users = q{SELECT string_agg(e::text, ',') FROM databricks.api_pages('/api/2.0/preview/scim/v2/Users', 'Resources', '{"count": 2}') AS e};
foreach my $case (
	[ 'three pages', '1,2,3,4,5', scim(1, 5, 1, 2), scim(3, 5, 3, 4), scim(5, 5, 5) ],
	[ 'pages that just fit', '1,2,3,4', scim(1, 4, 1, 2), scim(3, 4, 3, 4) ],
	[ 'a total that was too high', '1,2', scim(1, 9, 1, 2), scim(3, 9) ],
	[ 'none', '', scim(1, 0) ])
{
	my ($what, $result, @faults) = @$case;
	my $mark = $workspace->mark;
	$workspace->post('faults', { faults => [ reverse @faults ] });
	is(sql($users), $result, "a SCIM list, $what");
	my @requests = $workspace->journal(since => $mark);
	is(scalar(@requests), scalar(@faults), '... with as many requests');
	is(scalar(grep { ($_->{query} || '') =~ /count=2/ } @requests), scalar(@faults), '... of the size asked for');
	$workspace->delete('faults');
}
my $short = sql_error($node, q{SELECT databricks.api_pages('/api/2.0/jobs/runs/list', 'runs')});
is($short->{state}, '54000', 'a list of version 2.0 that goes on is an error, not a part of the list');
like($short->{hint}, qr/version 2\.2/, '... whose hint says what to use');
is(sql(q{SELECT count(*) FROM databricks.api_pages('/api/2.0/jobs/list', 'jobs')}), '53', '... one that is whole is none');

# A name of the elements that is mistaken does not make the list an empty one.
my $mistaken = sql_error($node, q{SELECT databricks.api_pages('/api/2.2/jobs/list', 'job')});
is($mistaken->{state}, '22023', 'elements in another member than the one named are an error');
like($mistaken->{hint}, qr/^Its arrays are: "jobs"\.$/, '... whose hint names it');
$workspace->post('faults', { path => '/api/2.0/odd', kind => 'replace', json => { rows => [1], next_page_token => JSON::PP::false } });
is(sql(q{SELECT count(*) FROM databricks.api_pages('/api/2.0/odd', 'rows')}), '1', 'a token that is false ends a list');

# Elements are what they are.
$workspace->post('faults', { path => '/api/2.0/odd', kind => 'replace', text => '{"rows": [9223372036854775807, null, "x", {"a": 1.50}, [1]]}' });
is(sql(q{SELECT string_agg(e::text, ' ') FROM databricks.api_pages('/api/2.0/odd', 'rows') AS e}),
	'9223372036854775807 null "x" {"a": 1.50} [1]', 'elements of any kind');
foreach my $case ([ 'absent', {}, '0' ], [ 'null', { rows => undef }, '0' ])
{
	my ($what, $json, $rows) = @$case;
	$workspace->post('faults', { path => '/api/2.0/odd', kind => 'replace', text => JSON::PP->new->encode($json) });
	is(sql(q{SELECT count(*) FROM databricks.api_pages('/api/2.0/odd', 'rows') AS e}), $rows, "a member that is $what is an empty page");
}
$workspace->post('faults', { path => '/api/2.0/odd', kind => 'replace', json => { rows => { a => 1 } } });
my $error = sql_error($node, q{SELECT databricks.api_pages('/api/2.0/odd', 'rows')});
is($error->{state}, 'HV00M', 'a member that is no array is an error');

# --- circles, caps, trouble with a later page ------------------------------------------------

# Tokens that lead from one to the next, the last one back to some other.
sub circle
{
	my ($path, $back, @tokens) = @_;
	$workspace->delete('faults');
	for (my $i = 0; $i <= @tokens; $i++)
	{
		my $next = $i < @tokens ? $tokens[$i] : $back;
		$workspace->post('faults',
			{ path => $path, count => $i ? undef : 1, kind => 'replace',
				$i ? (query => "page_token=$tokens[$i - 1]") : (),
				json => { jobs => [], runs => [], tasks => [], next_page_token => $next } });
	}
	return;
}
foreach my $case ([ 'itself', 'a', 'a' ], [ 'the one before', 'a', qw(a b) ],
	[ 'the first of five', 'a', qw(a b c d e) ], [ 'the fourth of seven', 'd', qw(a b c d e f g) ])
{
	my ($what, $back, @tokens) = @$case;
	foreach my $call (
		[ '/api/2.2/jobs/list', q{SELECT databricks.api_pages('/api/2.2/jobs/list', 'jobs')} ],
		[ '/api/2.2/jobs/list', q{SELECT job_id FROM databricks.jobs} ],
		[ '/api/2.2/jobs/runs/get', q{SELECT databricks.get_run(1)} ],
		[ '/api/2.2/jobs/get', q{SELECT databricks.get_job(1)} ])
	{
		my ($path, $sql) = @$call;
		circle($path, $back, @tokens);
		my $mark = $workspace->mark;
		$error = sql_error($node, $sql);
		is($error->{state}, 'HV00M', "a token that leads back to $what is an error: $sql");
		like($error->{message}, qr{the pages of \Q$path\E go round in circles}, '... that says so');
		cmp_ok(scalar($workspace->journal(since => $mark)), '<=', 4 * @tokens + 2, '... soon');
	}
}
$workspace->delete('faults');

$error = sql_error($node, "SET databricks.max_pages = 5; SELECT * FROM $pages");
is($error->{state}, '54000', 'a list of more than max_pages pages is an error, not a shorter list');
like($error->{hint}, qr/databricks\.max_pages/, '... whose hint names the setting');
is(sql("SET databricks.max_pages = 6; SELECT count(*) FROM $pages AS e"), '53', '... exactly so many are not');
$error = sql_error($node, q{LOAD 'databricks'; SET databricks.max_pages = 0});
is($error->{state}, '22023', 'no pages at all cannot be asked for');

$workspace->post('faults', { path => '/api/2.2/jobs/list', skip => 2, kind => 'status', status => 400, code => 'INVALID_PARAMETER_VALUE', message => 'The page token has expired.' });
$error = sql_error($node, "SELECT * FROM $pages");
is($error->{state}, 'HV000', 'a page token that expires is an error');
like($error->{message}, qr/The page token has expired/, '... that says so');
$workspace->post('faults', { path => '/api/2.2/jobs/list', skip => 2, kind => 'status', status => 403 });
is(sql_error($node, "SELECT * FROM $pages")->{state}, '42501', 'a denied later page is an error, not the end');
$workspace->post('faults', { path => '/api/2.2/jobs/list', skip => 2, kind => 'empty' });
is(sql_error($node, "SELECT * FROM $pages")->{state}, 'HV00M', 'so is an empty one');
$workspace->post('faults', { path => '/api/2.2/jobs/list', skip => 2, kind => 'status', status => 503 });
is(sql("SELECT count(*) FROM $pages AS e"), '53', 'a later page is asked for again when the trouble passes');
is(sql("SELECT count(*) FROM (SELECT $pages LIMIT 3) AS e"), '3', 'in a target list and under a LIMIT');

# --- objects (case 27) -----------------------------------------------------------------------

my $job = $workspace->create_job(
	name => 'large',
	tasks => [ map { {
				task_key => sprintf('task_%03d', $_),
				notebook_task => { notebook_path => '/Shared/x' },
				$_ > 1 && $_ % 50 == 0 ? (depends_on => [ { task_key => 'task_001' } ]) : () } } 1 .. 250 ],
	parameters => [ map { { name => "p$_", default => "$_" } } 1 .. 120 ],
	tags => { team => 'x' });
$mark = $workspace->mark;
is( sql(qq{
		SELECT jsonb_array_length(j #> '{settings,tasks}'), jsonb_array_length(j #> '{settings,parameters}'),
			j #>> '{settings,tags,team}', j ? 'next_page_token', j ? 'has_more',
			(SELECT count(DISTINCT t ->> 'task_key') FROM jsonb_array_elements(j #> '{settings,tasks}') AS t)
		FROM databricks.get_job($job) AS j}),
	'250|120|x|f|f|250', 'a job with 250 tasks and 120 parameters is complete (case 27)');
is(scalar($workspace->journal(since => $mark)), 3, '... with three requests');
my $run = sql("SELECT databricks.run_now($job)");
is( sql(qq{
		SELECT jsonb_array_length(r -> 'tasks'), r ? 'next_page_token',
			(SELECT count(DISTINCT t ->> 'run_id') FROM jsonb_array_elements(r -> 'tasks') AS t)
		FROM databricks.get_run($run) AS r}),
	'250|f|250', 'so is a run of it (case 27)');
$workspace->advance(3_600_000);
is(sql("SELECT result_state FROM databricks.wait_for_run($run)"), 'SUCCESS', '... which can be waited for');
is(sql("SELECT jsonb_array_length(tasks) FROM databricks.jobs WHERE job_id = $job"),
	'250', 'the foreign table has all tasks as well (case 27)');

# Members that are repeated on each page are not joined.
my %page = (job_id => 7, settings => { name => 'x', tasks => [ { task_key => 'a' } ], notes => ['n'] }, history => ['h']);
$workspace->post('faults', { path => '/api/2.2/jobs/get', kind => 'replace', json => { %page, next_page_token => 't' } });
$workspace->post('faults', { path => '/api/2.2/jobs/get', kind => 'replace', json => { %page, settings => { %{ $page{settings} }, tasks => [ { task_key => 'b' } ] } } });
is_deeply(json(sql('SELECT databricks.get_job(7)')),
	{ %page, settings => { %{ $page{settings} }, tasks => [ { task_key => 'a' }, { task_key => 'b' } ] } },
	'only arrays that come in pages are joined');

# An array that only begins on a later page.
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', kind => 'replace', json => { run_id => 7, next_page_token => 't' } });
$workspace->post('faults', { path => '/api/2.2/jobs/runs/get', kind => 'replace', json => { run_id => 7, tasks => [ { task_key => 'b' } ] } });
is_deeply(json(sql('SELECT databricks.get_run(7)')), { run_id => 7, tasks => [ { task_key => 'b' } ] },
	'an array may begin on a later page');

$node->stop;
done_testing();
