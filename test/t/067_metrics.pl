# 067_metrics.pl - metrics() is OpenMetrics to a parser that is not ours, and the
# examples in src/contrib are what they should be: the same metrics under the same
# names, from queries that a plain role can run.

use strict;
use warnings;

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1);
my $contrib = source_tree() . '/src/contrib';
my $folder = $PostgreSQL::Test::Utils::tmp_check;

sub value { return $node->safe_psql('postgres', $_[0]); }

# Debian's Python, which has the modules (python3-prometheus-client, python3-yaml).
sub python
{
	my ($program, @arguments) = @_;
	my ($out, $err) = run_command([ '/usr/bin/python3', '-c', $program, @arguments ]);
	is($err, '', 'no complaint from Python') or diag($err);
	return json($out || 'null');
}

my $parse = <<'PYTHON';
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = {}
for f in text_string_to_metric_families(open(sys.argv[1], encoding="utf-8", newline="").read()):
    assert f.documentation, f.name
    families[f.name] = {"type": f.type, "unit": f.unit,
        "labels": sorted({l for s in f.samples for l in s.labels}),
        "samples": [[s.labels, s.value] for s in f.samples]}
print(json.dumps(families))
PYTHON

# The metrics as psql writes them, parsed.
my $count = 0;
sub metrics
{
	my ($role) = @_;
	my $file = "$folder/metrics-" . ++$count;
	run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-o', $file,
		'-c', 'SET ROLE ' . ($role || 'NONE'), '-c', 'SELECT databricks.metrics()' ]);
	return python($parse, $file);
}

my $bare = metrics();
cmp_ok(scalar keys %$bare, '>', 10, 'families without tables');

connect_workspace($node, $workspace);
value(q{CREATE ROLE monitor;
	CREATE SERVER "odd\""" FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9')});
value(q{GRANT USAGE ON FOREIGN SERVER prod TO monitor;
	SELECT databricks.track('prod', poll_interval => '200 ms')});
my $job = $workspace->create_job;
$workspace->api('POST', '/api/2.2/jobs/run-now', { job_id => $job });
value(q{SELECT databricks.enqueue_run_now('no such job')});
poll_until('a run has ended and a request is rejected', sub {
	return value(q{SELECT (SELECT count(*) FROM databricks.run_history WHERE end_time IS NOT NULL)
		+ (SELECT count(*) FROM databricks.run_requests WHERE state = 'rejected')}) eq '2'; });

my $all = metrics();
my $seen = metrics('monitor');
is_deeply([ sort keys %$all ], [ sort keys %$bare ], 'the families are always the same');
is_deeply([ map { $_->[0]->{workspace} } @{ $all->{databricks_active_runs}->{samples} } ], [ 'odd\\"', 'prod' ], 'labels of all characters');
is_deeply([ map { $_->[0]->{workspace} } @{ $seen->{databricks_active_runs}->{samples} } ], ['prod'], 'a role sees its workspaces');
is_deeply($all->{databricks_runs_last_day}->{samples}, [ [ { workspace => 'prod', result_state => 'SUCCESS' }, 1 ] ], 'a run');
is_deeply($all->{databricks_run_requests}->{samples}, [ [ { workspace => 'prod', state => 'rejected' }, 1 ] ], 'a request');
is($all->{databricks_api_time_seconds}->{unit}, 'seconds', 'a unit');
is($all->{databricks_api_calls}->{type}, 'counter', 'a counter');

# What the examples give, as metrics() names it: for each metric its query, type
# and labels.
my $examples = python(<<'PYTHON', "$contrib/sql_exporter.yml", "$contrib/postgres_exporter.yml");
import json, sys, yaml
first, second = (yaml.safe_load(open(f)) for f in sys.argv[1:])
assert set(first) == {"collector_name", "min_interval", "metrics", "queries"}, set(first)
queries = {}
for q in first["queries"]:
    assert set(q) == {"query_name", "query"} and q["query_name"] not in queries, q
    queries[q["query_name"]] = q["query"]
sql = {}
for m in first["metrics"]:
    assert set(m) == {"metric_name", "type", "help", "key_labels", "values", "query_ref"} and m["help"], m
    assert len(m["values"]) == 1 and m["metric_name"] not in sql, m
    sql[m["metric_name"]] = [m["type"], sorted(m["key_labels"]), queries[m["query_ref"]], m["values"][0]]
postgres = {}
for name, part in second.items():
    assert set(part) == {"query", "metrics"}, name
    columns = [(n, c) for m in part["metrics"] for n, c in m.items()]
    labels = sorted(n for n, c in columns if c["usage"] == "LABEL")
    for n, c in columns:
        assert set(c) == {"usage", "description"} and c["usage"] in ("LABEL", "GAUGE", "COUNTER") and c["description"], c
        if c["usage"] != "LABEL":
            postgres[name + "_" + n] = [c["usage"].lower(), labels, part["query"], n]
print(json.dumps({"sql_exporter": sql, "postgres_exporter": postgres}))
PYTHON

my %expected = map {
	my $family = $all->{$_};
	$_ . ($family->{type} eq 'counter' ? '_total' : '') => [ $family->{type}, $family->{labels} ]
} keys %$all;
foreach my $exporter (sort keys %$examples)
{
	my $metrics = $examples->{$exporter};
	is_deeply({ map { $_ => [ @{ $metrics->{$_} }[ 0, 1 ] ] } keys %$metrics }, \%expected, "$exporter: the metrics of metrics()");

	foreach my $name (sort keys %$metrics)
	{
		my ($type, $labels, $query, $column) = @{ $metrics->{$name} };
		(my $family = $name) =~ s/_total$//;
		my $rows = json(value(sprintf q{SET ROLE monitor; SELECT coalesce(json_agg(q), '[]') FROM (%s) AS q}, $query));
		my @keys = map { join ' ', @{$_}{@$labels} } @$rows;
		is_deeply([ sort @keys ], [ sort map { join ' ', @{ $_->[0] }{@$labels} } @{ $seen->{$family}->{samples} } ], "$exporter: rows of $name");
		is(scalar(grep { !defined $_->{$column} || $_->{$column} !~ /^[\d.e+-]+$/ } @$rows), 0, '... with numbers');
	}
}

# Each expression of the dashboard is about metrics there are.
my $dashboard = json(slurp_file("$contrib/grafana.json"));
my %ids = map { $_->{id} => 1 } @{ $dashboard->{panels} };
is(scalar keys %ids, scalar @{ $dashboard->{panels} }, 'panels have ids of their own');
my @expressions = (map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} });
push @expressions, map { $_->{query} } grep { $_->{type} eq 'query' } @{ $dashboard->{templating}->{list} };
my %used = map { $_ => 1 } map { /(databricks_\w+)/g } @expressions;
cmp_ok(scalar keys %used, '>', 8, 'the dashboard shows metrics');
is_deeply([ grep { !$expected{$_} } sort keys %used ], [], '... that there are');
foreach my $expression (@expressions)
{
	my $left = $expression;
	1 while $left =~ s/\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]//;
	unlike($left, qr/[(){}\[\]]/, "brackets of $expression");
}

$node->stop;
done_testing();
