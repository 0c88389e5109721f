# 058_fdw_strange.pl - lists that behave otherwise than the documents say: other
# orders, pages of any length, bounds that leave out themselves or are taken no notice
# of, and runs that change places while they are read. No row twice, none lost.

use strict;
use warnings;

use HTTP::Tiny;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Databricks::Test;

my $node = new_node('main');
my $pid = open2(my $out, my $in, $ENV{DATABRICKS_TEST_PYTHON} || 'python3',
	Databricks::Test::source_tree() . '/test/lib/strange.py');
my ($address) = (<$out> // '') =~ /listening on (\S+)/;
my $http = HTTP::Tiny->new;

$node->safe_psql('postgres', <<~SQL);
	CREATE SERVER strange FOREIGN DATA WRAPPER databricks OPTIONS (host 'http://$address', rate_limit '0');
	CREATE USER MAPPING FOR PUBLIC SERVER strange OPTIONS (token 'dapi-strange');
	IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER strange INTO public;
	CREATE SCHEMA whole;
	IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER strange INTO whole;
	ALTER FOREIGN TABLE whole.runs OPTIONS (ADD pushdown 'false');
	ALTER DATABASE postgres SET timezone = 'UTC';
	SQL

sub set
{
	my (%options) = @_;
	my $answer = $http->get("http://$address/set?" . join('&', map { "$_=$options{$_}" } sort keys %options));
	die "no answer: $answer->{content}" unless $answer->{success};
	return join(' ', map { "$_=$options{$_}" } sort keys %options);
}

sub calls { return $http->get("http://$address/calls")->{content}; }

# whatever a list is like, the rows are those that are there
my $all = 'SELECT count(*), count(DISTINCT run_id), min(run_id) FROM';
my @queries = (
	'SELECT count(*), count(DISTINCT run_id), sum(job_id) FROM %s.runs WHERE job_id IN (1, 2, 3)',
	"SELECT count(*), sum(job_id) FROM %s.runs WHERE start_time BETWEEN '%s' AND '%s'",
	"SELECT count(*), min(start_time) FROM %s.runs WHERE start_time >= '%s' AND start_time < '%s' AND job_id = 2",
	'SELECT array_agg(start_time) FROM (SELECT start_time FROM %s.runs ORDER BY start_time DESC LIMIT 40) AS r',
	"SELECT array_agg(start_time) FROM (SELECT start_time FROM %s.runs WHERE start_time <= '%s' ORDER BY start_time DESC NULLS LAST LIMIT 70) AS r",
	'SELECT array_agg(run_id) FROM (SELECT run_id FROM %s.runs WHERE job_id IN (1, 4) ORDER BY start_time DESC, run_id LIMIT 30) AS r',
	q{SELECT count(*), sum(job_id) FROM %s.runs WHERE state = 'TERMINATED'},
	q{SELECT count(*), sum(job_id) FROM %s.runs WHERE state IN ('RUNNING', 'QUEUED')});
foreach my $options (
	{ order => 'end' },
	{ order => 'start_up', pages => '7' },
	{ order => 'end_up', pages => '25,0,3', bounds => 'exclusive' },
	{ order => 'start', bounds => 'exclusive', pages => '60' },
	{ order => 'end', ignore => 'start_time_from,start_time_to,limit' },
	{ order => 'end', ignore => 'start_time_to', pages => '25,1' },
	{ order => 'start', ignore => 'job_id,active_only,completed_only', bare => 1, pages => '11' })
{
	my $with = set(runs => 2600, %$options);
	is($node->safe_psql('postgres', "$all runs"), '2600|2600|9007199254740993', "all of a long list, $with");
	$with = set(runs => 400, %$options);
	my ($later, $earlier) = split /\n/, $node->safe_psql('postgres',
		'SELECT start_time FROM whole.runs ORDER BY start_time DESC, run_id OFFSET 100 LIMIT 1;
		SELECT start_time FROM whole.runs ORDER BY start_time DESC, run_id OFFSET 300 LIMIT 1');
	foreach my $query (@queries)
	{
		my @bounds = $query =~ /<=/ ? ($later) : ($earlier, $later);
		next if ($options->{bounds} || '') eq 'exclusive' && $query =~ /BETWEEN|>=|<=/;
		no warnings 'redundant';
		is( $node->safe_psql('postgres', sprintf($query, 'public', @bounds)),
			$node->safe_psql('postgres', sprintf($query, 'whole', @bounds)),
			"$query, $with");
	}
}

# a list read in ranges of time or as it is, while runs end, are repaired and end again
# (often, some of them: "again"), or the service takes to another order
foreach my $options (
	{ order => 'end', moves => 1 },
	{ order => 'end', moves => 3, pages => '25,9' },
	{ order => 'end', moves => 8, days => 2, pages => '25' },
	{ order => 'start', moves => 3 },
	{ order => 'end', moves => 3, runs => 300 },
	{ order => 'end', moves => 5, again => 1 },
	{ order => 'end', moves => 15, again => 1, pages => '25,9', runs => 700 },
	(map { { order => 'end', flip => $_ } } 3, 12, 40),
	{ order => 'start', flip => 5 },
	{ order => 'start', flip => 40 })
{
	my $runs = $options->{runs} || 2600;
	foreach my $table (qw(runs whole.runs))
	{
		# of what is active again only ranges of time take care, and of another order
		# in the middle only a list that is read as it is
		next if $options->{flip} ? $table eq 'runs' : $table ne 'runs' && !$options->{again};
		my $with = set(runs => 2600, %$options);
		is($node->safe_psql('postgres', "$all $table"), "$runs|$runs|9007199254740993",
			"no run twice and none lost that changes its place, $table, $with");
	}
}

# few calls where a dense beginning is all there is
set(runs => 40, days => 0.0001);
is($node->safe_psql('postgres', "SELECT count(*) FROM runs"), 40, 'a burst');
cmp_ok(calls(), '<=', 3, 'is not taken for a long list');
set(runs => 200, days => 0.0001);
is($node->safe_psql('postgres', "SELECT count(*) FROM runs"), 200, 'a longer one');
cmp_ok(calls(), '<=', 8 + 3, 'neither');
set(runs => 2600, ignore => 'start_time_from,start_time_to');
$node->safe_psql('postgres', 'SELECT count(*) FROM runs');
cmp_ok(calls(), '<=', 104 + 60, 'a service without ranges of time is noticed soon');
set(runs => 5000, order => 'start_up');
$node->safe_psql('postgres', 'SELECT count(*) FROM runs');
cmp_ok(calls(), '<=', 200 * 1.4, 'the oldest first: still few calls');

close($in);
waitpid($pid, 0);
done_testing();
