# 024_encoding.pl - databases whose encoding is not UTF8: the service speaks UTF-8
# all the same, with functions, foreign tables and the worker, which reads and
# sends outside of transactions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use JSON::PP;
use MIME::Base64 qw(encode_base64);

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1);
my $name = "Gr\x{f6}\x{df}e \x{4e2d}";
my $job = $workspace->create_job(name => $name, max_concurrent_runs => 9,
	parameters => [ { name => 'p', default => '' } ]);
my $run = $workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job })->{run_id};
$workspace->post('finish', { run_id => $run });

# The name of a run as a broken client left it: one text is no UTF-8, the rest is.
my $list = JSON::PP->new->utf8->canonical->encode($workspace->api('GET', '/api/2.2/jobs/runs/list'));
$list =~ s/"run_name":"[^"]*"/"run_name":"Gr\xc3\xb6\xdfe \xe4\xb8"/ or die $list;

# What the client gets, as UTF-8, and what the database makes of the name.
foreach my $case (
	[ 'LATIN1', 'UTF8', "Gr\xc3\xb6\xc3\x9fe ?", "Gr\xc3\xb6?e ?" ],
	[ 'SQL_ASCII', 'SQL_ASCII', "Gr\xc3\xb6\xc3\x9fe \xe4\xb8\xad", "Gr\xc3\xb6\xef\xbf\xbde \xef\xbf\xbd" ],
	[ 'UTF8', 'UTF8', "Gr\xc3\xb6\xc3\x9fe \xe4\xb8\xad", "Gr\xc3\xb6\xef\xbf\xbde \xef\xbf\xbd" ])
{
	my ($encoding, $client, $shown, $broken) = @$case;
	my $database = lc $encoding;
	my $sql = sub { $node->safe_psql($database, "SET client_encoding = '$client'; $_[0]") };

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	create_extension($node, $database);
	connect_workspace($node, $workspace, database => $database);
	is($sql->("SELECT databricks.get_job($job) #>> '{settings,name}'"), $shown, "$encoding: a function");
	is($sql->("SELECT name FROM databricks.jobs WHERE job_id = $job"), $shown, "$encoding: a foreign table");

	# and the other way round
	my $made = $sql->("SELECT databricks.create_job('{\"name\": \"\xc3\xbcber $encoding\", \"tasks\": []}')");
	is($workspace->api('GET', '/api/2.2/jobs/get', { job_id => $made })->{settings}{name}, "\x{fc}ber $encoding", "$encoding: a name is sent");
	is($sql->("SELECT databricks.find_job('\xc3\xbcber $encoding')"), $made, "$encoding: ... and found");
	$sql->("SELECT databricks.run_now($job, '{\"p\": \"\xc3\xa4\"}')");
	my ($entry) = ($workspace->journal(path => '/api/2.2/jobs/run-now'))[-1];
	like($entry->{body}, qr/"p":"\x{e4}"/, "$encoding: a parameter is sent");
	like($entry->{body}, qr/"idempotency_token":"\S{30}/, "$encoding: ... with its token, so that it may be repeated");

	# the bound is counted in the service's encoding
	my ($rc, $out, $err) = $node->psql($database,
		"SET client_encoding = '$client'; SELECT databricks.run_now($job, options => jsonb_build_object('notebook_params', jsonb_build_object('k', repeat('\xc3\xa4', 5000))))");
	like($err, qr/"notebook_params" takes 100\d\d bytes/, "$encoding: bytes are those of UTF-8");

	# a lost answer is repeated, although the body is not plain ASCII
	$workspace->post('faults', { path => '/api/2.2/jobs/run-now', kind => 'lost' });
	like($sql->("SELECT databricks.run_now($job, '{\"p\": \"\xc3\xa4\"}')"), qr/^\d+$/, "$encoding: a start may be repeated");

	# settings as a row gives them
	$made = $sql->("INSERT INTO databricks.jobs (settings) VALUES ('{\"name\": \"\xc3\xb6 $encoding\", \"tasks\": []}') RETURNING job_id");
	is($workspace->api('GET', '/api/2.2/jobs/get', { job_id => $made })->{settings}{name}, "\x{f6} $encoding", "$encoding: a row's settings");

	# bytes that are no character are repaired where the service sends them, not where a user does
	is(sql_error($node, "SELECT databricks.run_now($job, E'{\"p\": \"\\344\"}')", database => $database)->{state},
		'22021', "$encoding: broken bytes of a parameter are refused") if $encoding ne 'LATIN1';

	$workspace->post('faults', { path => '/api/2.2/jobs/runs/list', kind => 'status', status => 200, count => undef,
		headers => { 'Content-Type' => 'application/json' }, body_b64 => encode_base64($list, '') });
	is($sql->("SELECT run_name FROM databricks.runs WHERE run_id + 0 = $run"), $broken, "$encoding: a text that is no UTF-8 in a scan");
	$sql->(q{SELECT databricks.track(poll_interval => '500 ms')});
	poll_until("the worker of the $encoding database has the run", sub {
		$sql->("SELECT count(*) FROM databricks.run_history WHERE run_id = $run") eq '1';
	});
	is($sql->("SELECT run_name FROM databricks.run_history WHERE run_id = $run"), $broken, "$encoding: the worker");
	$sql->('SELECT databricks.untrack()');
	$workspace->delete('faults');
}

$node->stop;
done_testing();
