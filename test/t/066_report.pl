# 066_report.pl - the report: a whole page, for no runs and for 10 000, that shows
# nothing it should not, whatever jobs are called.
#
# With DBX_BROWSER (make test-report sets it) a browser looks at it too, in light
# and dark, wide and narrow: nothing on its console, no text that does not fit.
# Its pictures are left in the folder of DBX_PICTURES, if that is set.

use strict;
use warnings;

use Databricks::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $workspace = Databricks::Test::Workspace->start;
my $node = new_node('main', preload => 1, conf => "autovacuum = off\n");
my $python = $ENV{DATABRICKS_TEST_PYTHON} || 'python3';
my $folder = $PostgreSQL::Test::Utils::tmp_check;

sub value { return $node->safe_psql('postgres', $_[0]); }

# The page, which also is well-formed XML and below 500 kB; its text and the
# attributes that could run something are returned beside it.
sub page
{
	my ($name, $sql) = @_;
	my $file = "$folder/$name.html";
	append_to_file($file, value($sql || 'SELECT databricks.report()'));
	my $page = slurp_file($file);
	cmp_ok(length $page, '<', 500_000, "$name: " . length($page) . ' bytes');
	my ($out, $err) = run_command([ $python, '-c', <<'PYTHON', $file ]);
import sys
import xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
tags = sorted({e.tag for e in root.iter()})
bad = [a for e in root.iter() for a, v in e.attrib.items()
       if a.startswith("on") or a == "style" or a in ("href", "src") and not v.startswith("http")]
print("tags", *tags)
print("bad", *bad)
print("links", sum(e.tag == "a" for e in root.iter()))
PYTHON
	is($err, '', "$name is well-formed") or diag($err);
	like($out, qr/^bad *$/m, '... without attributes that could run something');
	unlike($out, qr/^tags .*\b(?:script|link|img|iframe|object|form|base)\b/m, '... nor elements that could, or that load anything');
	unlike($page, qr/url\(|\@import|src=/, '... nor styles');
	return ($page, $out);
}

# --- before anything is there -----------------------------------------------------

like((page('bare'))[0], qr/No workspace is tracked/, 'a page without tables');

connect_workspace($node, $workspace);
value(q{CREATE SERVER other FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
	CREATE ROLE reader; GRANT USAGE ON FOREIGN SERVER prod TO reader});
my ($empty) = page('empty');
is(scalar(() = $empty =~ /class="none">(?:None|No runs)\./g), 8, 'sections without anything say so');

is(sql_error($node, q{SELECT databricks.report('prdo')})->{state}, '42704', 'a workspace that is not there');
like(sql_error($node, q{SET ROLE reader; SELECT databricks.report('other')})->{message},
	qr/no workspace "other" that you may use/, '... or not for this role');
is(sql_error($node, q{SELECT databricks.report('prod', '0 s')})->{state}, '22023', 'no time to look at');
is(sql_error($node, q{SELECT databricks.report('prod', NULL)})->{state}, '22004', '... nor null');

# --- 10 000 runs --------------------------------------------------------------------

# Names and errors of all kinds; the last eight are active, four of them for
# longer than their jobs take.
value(q{
	INSERT INTO databricks.run_history (workspace, run_id, job_id, run_name, run_type, trigger, state, result_state, life_cycle_state,
		termination_code, start_time, end_time, queue_duration, run_duration, run_page_url, state_message, first_seen_at, updated_at)
	SELECT CASE WHEN job = 40 THEN 'other' ELSE 'prod' END, i, job,
		CASE job WHEN 3 THEN '</title><script>alert(1)</script><b onclick="x">&amp; "quotes" ''x''' WHEN 5 THEN U&'nightly \+01F680 sales \+01F4C8 etl'
			WHEN 7 THEN repeat('a_very_long_name_without_any_space', 60) WHEN 9 THEN E'bell\x07 and \x1b[31mred' WHEN 11 THEN ''
			WHEN 40 THEN 'hidden job' ELSE 'nightly-sales-etl-' || job END,
		'JOB_RUN', 'PERIODIC', CASE WHEN active THEN 'RUNNING' ELSE 'TERMINATED' END, result, CASE WHEN active THEN 'RUNNING' ELSE 'TERMINATED' END,
		CASE result WHEN 'FAILED' THEN 'RUN_EXECUTION_ERROR' END, start, CASE WHEN NOT active THEN start + length END, length / 10,
		CASE WHEN NOT active THEN length END, CASE WHEN i % 2 = 0 THEN 'javascript:alert(1)' ELSE 'https://dbc.example.com/?o=1&a="#job/' || job || '/run/' || i END,
		CASE result WHEN 'FAILED' THEN E'\x1b[31mTable <b>orders</b>\x1b[0m not found & ' || repeat('x', 5000) END, now(), now()
	FROM (SELECT i, active, 1 + i * 7919 % 40 AS job, CASE WHEN active THEN now() - (10000 - i) * interval '10 min' ELSE now() - interval '7 days' + i * interval '60.4 s' END AS start,
			(30 + i * 31 % 400) * CASE WHEN i % 97 = 0 THEN 5 ELSE 1 END * interval '1 s' AS length,
			CASE WHEN active THEN NULL WHEN i % 25 = 0 THEN 'FAILED' WHEN i % 53 = 0 THEN 'CANCELED' ELSE 'SUCCESS' END AS result
		  FROM (SELECT i, i > 9992 AS active FROM generate_series(1, 10000) AS i) AS a) AS s;
	ANALYZE databricks.run_history});
$workspace->api('POST', '/api/2.1/clusters/create',
	{ cluster_name => '<i>lonely</i>', spark_version => '15.4.x-scala2.12', node_type_id => 'i3.xlarge', num_workers => 1, autotermination_minutes => 0 });
poll_until('the cluster runs', sub { return value('SELECT count(*) FROM databricks.idle_clusters') eq '1' });

my $began = time;
my ($full, $seen) = page('full');
my $took = time - $began;
cmp_ok($took, '<', patience(10), sprintf('10 000 runs: %.1f s', $took));
like($full, qr/<strong>10000<\/strong>runs/, 'all of them count');
like($full, qr/&lt;\/title&gt;&lt;script&gt;alert\(1\)&lt;\/script&gt;&lt;b onclick=&quot;x&quot;&gt;&amp;amp; &quot;quotes&quot; &#39;x&#39;/, 'a name that is markup');
like($full, qr/nightly \xF0\x9F\x9A\x80 sales|nightly \x{1F680} sales/, 'one with pictures in it');
like($full, qr/>Table &lt;b&gt;orders&lt;\/b&gt; not found &amp; x/, 'an error, without its colours');
unlike($full, qr/[\x00-\x08\x0b\x0c\x0e-\x1f]/, 'no control characters');
unlike($full, qr/<td class="">\w+<\/td><td class="name">(?:<a [^>]*>)?<\//, 'no run without a name');
unlike($full, qr/javascript:/, 'no address but those of the web');
like($seen, qr/^links [1-9]/m, '... which are there');
like($full, qr/&lt;i&gt;lonely&lt;\/i&gt;.*class="alarm">never</, 'the cluster that nobody ends');
like($full, qr/Running now.*n alarm">[1-9]/s, 'what runs too long');
like($full, qr/clusters\/list<\/td><td class="n">[1-9]/, 'calls');
foreach my $title ('Timeline', 'Duration of successful runs', 'Time in the queue', 'Jobs', 'Reasons of failures', 'Failures', 'Running now', 'Idle clusters', 'Calls and quota')
{
	like($full, qr/<h2>$title<\/h2>/, "section: $title");
}
my ($rate) = $full =~ /nightly-sales-etl-2<\/td>.*?<td class="n">([\d.]+) %/;
is($rate, value(q{SELECT trunc(100.0 * count(*) FILTER (WHERE result_state = 'SUCCESS') / count(*) FILTER (WHERE result_state <> 'CANCELED'), 1)
	FROM databricks.run_history WHERE job_id = 2}), 'a success rate');

like($full, qr/hidden job/, 'who may use all workspaces sees all');
unlike((page('visible', 'SET ROLE reader; SELECT databricks.report()'))[0], qr/hidden job|>other</, 'others what they may use');
# Axes have round moments, of the clock of the session.
is(value(q{SET timezone = 'Europe/Berlin'; SELECT string_agg(label, ' ' ORDER BY share) FROM databricks.report_ticks('2026-03-27 07:00', '2026-03-30 07:00')}),
	'12:00 Mar 28 12:00 Mar 29 12:00 Mar 30', 'an axis over three days, one with 23 hours');
foreach my $case ([ '1 day', 8 ], [ '7 days', 7 ], [ '60 days', 4 ], [ '3 years', 3 ], [ '900 years', 4 ], [ '1 s', 0 ])
{
	my ($since, $at_least) = @$case;
	my ($ticks, $inside) = split /\|/, value(qq{SELECT count(*), bool_and(share BETWEEN 0 AND 1 AND label <> '')
		FROM databricks.report_ticks(now() - interval '$since', now())});
	cmp_ok($ticks, '>=', $at_least, "an axis of $since");
	cmp_ok($ticks, '<=', 9, '... with room for its text');
	isnt($inside, 'f', '... all of it in the picture');
}
unlike((page('short', q{SELECT databricks.report('prod', '1 h')}))[0], qr/<strong>10000<\/strong>runs/, 'a shorter time has fewer');

value(q{CREATE SCHEMA other; IMPORT FOREIGN SCHEMA databricks LIMIT TO (clusters) FROM SERVER other INTO other});
like((page('one', q{SELECT databricks.report('prod')}))[0], qr/&lt;i&gt;lonely/, 'other workspaces are not asked for the report of one');

# One workspace out of reach is told, and hides nothing of the others.
$began = time;
like((page('some'))[0], qr/Clusters of workspace other could not be read: .*&lt;i&gt;lonely/s, 'a report has both');
cmp_ok(time - $began, '<', patience(30), '... without the patience of other calls');

$workspace->stop;
value(q{ALTER SERVER prod OPTIONS (SET host 'http://127.0.0.1:9')});
like((page('alone'))[0], qr/Clusters could not be read: .*Calls and quota/s, 'without the service the rest is there');

# --- in a browser ---------------------------------------------------------------------

SKIP:
{
	my $browser = $ENV{DBX_BROWSER} or skip 'the browser is for make test-report', 1;
	my $measure = <<'HTML';
<script>
const wrong = [...document.body.querySelectorAll('*')].filter(e => !(e instanceof SVGElement)
	&& !e.closest('.lanes th') && !e.matches('.wide') && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.outerHTML.slice(0, 80));
for (const t of document.querySelectorAll('svg text')) {
	if (!t.getClientRects().length) continue;
	const box = t.getBoundingClientRect(), frame = (t.closest('.axis') ? document.body : t.ownerSVGElement).getBoundingClientRect();
	if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) wrong.push(t.outerHTML);
	for (const u of t.ownerSVGElement.querySelectorAll('text')) {
		const other = u.getBoundingClientRect();
		if (u !== t && u.getClientRects().length && box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom) wrong.push('overlap ' + t.outerHTML);
	}
}
if (document.documentElement.scrollWidth > innerWidth) wrong.push('page ' + document.documentElement.scrollWidth);
document.title = 'wrong ' + wrong.length + ' background ' + getComputedStyle(document.body).backgroundColor;
const list = document.createElement('pre'); list.textContent = wrong.join('\n'); list.id = 'wrong'; document.body.append(list);
</script></body>
HTML

	# What the browser makes of a page: its document, and what it said.
	my $look = sub {
		my ($file, $width, $dark, @more) = @_;
		my ($out, $err) = run_command([ 'timeout', '120', $browser, '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
			'--disable-background-networking', '--hide-scrollbars', '--enable-logging=stderr', "--user-data-dir=$folder/browser",
			"--window-size=$width,2400", '--blink-settings=preferredColorScheme=' . ($dark ? 0 : 1), @more, "file://$file" ]);
		return ($out, join "\n", grep { /CONSOLE/ } split /\n/, $err);
	};

	append_to_file("$folder/broken.html", '<!DOCTYPE html><html><body><p style="width:10px">unbreakable</p>' . $measure . '<script>nothing.there();</script></html>');
	my ($document, $console) = $look->("$folder/broken.html", 1200, 0, '--dump-dom');
	like($console, qr/nothing is not defined/, 'an error on the console would be seen');
	like($document, qr/<title>wrong 1 /, '... and text that does not fit');

	foreach my $name (qw(bare empty full alone))
	{
		my $page = slurp_file("$folder/$name.html");
		$page =~ s/<\/body>/$measure/;
		append_to_file("$folder/$name-measured.html", $page);
		foreach my $case ([ 1200, 0, 'rgb(255, 255, 255)' ], [ 1200, 1, 'rgb(21, 24, 29)' ], [ 500, 0, 'rgb(255, 255, 255)' ])
		{
			my ($width, $dark, $background) = @$case;
			my $what = "$name, $width wide, " . ($dark ? 'dark' : 'light');
			($document, $console) = $look->("$folder/$name-measured.html", $width, $dark, '--dump-dom');
			is($console, '', "$what: nothing on the console");
			like($document, qr/<title>wrong 0 background \Q$background\E</, "$what: all text fits")
			  or diag($document =~ /<pre id="wrong">(.*?)<\/pre>/s ? $1 : $document);
			next unless $ENV{DBX_PICTURES};
			$look->("$folder/$name.html", $width, $dark, "--screenshot=$ENV{DBX_PICTURES}/$name-$width-" . ($dark ? 'dark' : 'light') . '.png');
		}
	}
}

$node->stop;
done_testing();
