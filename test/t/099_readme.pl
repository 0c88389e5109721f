# 099_readme.pl - the README says what is there, and what it shows works.
#
# Its reference is compared with the catalogs in both directions: functions with
# their arguments and results, views, data tables and foreign tables with their
# columns, settings, options. Then all it shows runs against the stand-in
# workspace: SQL in order and in one session, then what is for a shell and for
# Python; for each block that does not, there is a reason.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Databricks::Test;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file(source_tree() . '/README.md');
my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 50, duration_ms => 200, cleanup_ms => 10 });

# The server is set up as the README says.
my ($conf) = $readme =~ /<<'CONF'\n(.*?)^CONF$/ms;
like($conf, qr/^shared_preload_libraries = /m, 'the README has the settings of a server');
my $node = new_node('main', cron => 1, extension => 0, conf => $conf);
my $database = 'shop';
$node->safe_psql('postgres', "CREATE DATABASE $database");

# The reference has a database of its own, so that a block that fails below says
# nothing about it.
my $reference = 'reference';
$node->safe_psql('postgres', "CREATE DATABASE $reference");
create_extension($node, $reference);
connect_workspace($node, $workspace, database => $reference);

sub rows
{
	my ($sql) = @_;
	return map { [ split /\x1f/, $_, -1 ] }
	  split /\x1e\n?/,
	  $node->safe_psql($reference, $sql,
		extra_params => [ '-F', "\x1f", '-R', "\x1e" ]);
}

# Text from one heading to the next of the same or a higher level.
sub section
{
	my ($title) = @_;
	my ($level, $text) = $readme =~ /^(#+) \Q$title\E\n(.*)/ms
	  or die "README.md has no section \"$title\"";
	my $depth = length $level;

	$text =~ s/^#{1,$depth} .*//ms;
	return $text;
}

# Tables of a section: each with its header and rows, arrays of cells.
sub tables
{
	my ($title) = @_;
	my @tables;
	my $inside = 0;

	foreach my $line (split /\n/, section($title))
	{
		if ($line !~ /^\|/)
		{
			$inside = 0;
			next;
		}
		my (undef, @cells) = split /(?<!\\)\|/, $line, -1;
		pop @cells;
		s/^\s+|\s+$//g foreach @cells;
		if (!$inside)
		{
			push @tables, { header => [@cells], rows => [] };
			$inside = 1;
		}
		elsif ($line !~ /^[|\s:-]+$/)
		{
			push @{ $tables[-1]->{rows} }, [@cells];
		}
	}
	return @tables;
}

# The table of a section whose header begins so.
sub table
{
	my ($title, $header) = @_;
	my @found = grep { $_->{header}->[0] eq $header } tables($title);

	die "section \"$title\" has no table \"$header\"" unless @found;
	return map { @{ $_->{rows} } } @found;
}

# What stands in the first pair of backquotes.
sub code
{
	my ($cell) = @_;
	return $cell =~ /`([^`]*)`/ ? $1 : '';
}

# A test: the same names on both sides, with what belongs to them.
sub same
{
	my ($what, $have, $told) = @_;
	my @wrong;

	foreach my $name (sort keys %$have)
	{
		if (!exists $told->{$name})
		{
			push @wrong, "README.md lacks $what $name";
		}
		elsif ($told->{$name} ne $have->{$name})
		{
			push @wrong, "$what $name",
			  "     is: $have->{$name}", "  README: $told->{$name}";
		}
	}
	push @wrong, map { "README.md tells of $what $_, which is not there" }
	  grep { !exists $have->{$_} } sort keys %$told;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(%$have && !@wrong, "$what: README and catalogs agree");
	diag($_) foreach @wrong;
	return;
}

# Types and defaults as the README writes them.
sub usual
{
	my ($text) = @_;

	$text =~ s/timestamp with time zone/timestamptz/g;
	$text =~ s/(DEFAULT (?:NULL|'[^']*'))::[a-z \[\]]+/$1/g;
	$text =~ s/DEFAULT '00:00:(\d\d)'/"DEFAULT '" . ($1 + 0) . " s'"/ge;
	$text =~ s/DEFAULT '00:(\d\d):00'/"DEFAULT '" . ($1 + 0) . " min'"/ge;
	$text =~ s/DEFAULT '(\d\d):00:00'/"DEFAULT '" . ($1 + 0) . " h'"/ge;
	$text =~ s/\bIN (?=\w)//g;
	$text =~ s/(?:, |^)OUT .*//;
	$text =~ s/\bdatabricks\.//g;
	return $text;
}

### Functions

my $workspace_argument = 'workspace name DEFAULT NULL';
my (%told, %result_told, %rest, %helper);

foreach my $table (tables('Functions'))
{
	my $apart = $table->{header}->[0] =~ /no workspace/;

	foreach my $row (@{ $table->{rows} })
	{
		my ($name, $arguments) = code($row->[0]) =~ /^(?:CALL )?(\w+)\((.*)\)$/
		  or next;
		if ($arguments =~ s/, \.\.\.$//)
		{
			$arguments .= $rest{$name} // '';
		}
		else
		{
			$rest{$name} = $arguments =~ /^[^,]*(,.*)$/ ? $1 : '';
		}
		$arguments = join ', ', grep { length } $arguments, $workspace_argument
		  unless $apart || $arguments =~ /\bworkspace name\b/;
		$told{"$name($arguments)"} = 1;
		$result_told{"$name($arguments)"} = $row->[1];
	}
}
my ($helpers) = section('Functions') =~ /^(Helpers.*?)(?:\n\n|\z)/ms;
$helper{$_} = 1 foreach ($helpers // '') =~ /`(\w+)\(\)`/g;

my (%have, %result, %seen);
foreach my $row (
	rows(
		q{SELECT proname, pg_get_function_arguments(oid), coalesce(pg_get_function_result(oid), ''),
			(SELECT string_agg(a.name, ' ' ORDER BY a.place)
			 FROM unnest(proargnames, proargmodes) WITH ORDINALITY AS a(name, mode, place)
			 WHERE a.mode IN ('o', 't'))
		  FROM pg_proc WHERE pronamespace = 'databricks'::regnamespace}))
{
	my ($name, $arguments, $result, $columns) = @$row;
	$seen{$name} = 1;
	next if $helper{$name};

	$arguments = usual($arguments);
	$arguments =~ s/ DEFAULT NULL//g if $name eq 'connect';
	my $key = "$name($arguments)";
	$have{$key} = 1;
	$result{$key} = [ usual($result), $columns ];
}
same('function', \%have, \%told);
is_deeply([ grep { !$seen{$_} } sort keys %helper ],
	[], 'the helpers that the README names are there');

my @wrong;
foreach my $key (sort grep { exists $result_told{$_} } keys %result)
{
	my ($result, $columns) = @{ $result{$key} };
	my $cell = $result_told{$key};

	next if $cell =~ /^the row of/;
	if ($result =~ /record|TABLE/)
	{
		push @wrong, map { "$key: column $_ of the result" }
		  grep { $cell !~ /\b\Q$_\E\b/ } split / /, $columns;
		push @wrong, "$key: SETOF" if $result =~ /SETOF|TABLE/ && $cell !~ /SETOF/;
	}
	else
	{
		my $expected = $result eq 'void' ? '' : $result;
		push @wrong, "$key gives \"$expected\"" if code($cell) ne $expected;
	}
}
is_deeply(\@wrong, [], 'what functions give is what the README says');

### Types, views, tables

# All columns of a relation, with types or without.
sub columns
{
	my ($with_types, $kinds) = @_;
	my %columns = map { $_->[0] => usual($_->[1]) } rows(
		sprintf
		  q{SELECT relname, string_agg(%s, ', ' ORDER BY attnum)
			FROM pg_class AS c JOIN pg_attribute ON attrelid = c.oid
			WHERE relnamespace = 'databricks'::regnamespace AND relkind IN (%s)
			  AND attnum > 0 AND NOT attisdropped
			GROUP BY relname},
		$with_types ? q{attname || ' ' || format_type(atttypid, NULL)} : 'attname',
		$kinds);
	return \%columns;
}

# A type is described where the functions are: its name, a colon, its columns.
my %types_told;
foreach my $name (keys %{ columns(0, q{'c'}) })
{
	my ($told) = section('Functions') =~ /^`$name`:\s+`([^`]*)`/m or next;
	$told =~ s/\s+/ /g;
	$told =~ s/(\w+) [a-z]+(?=,|$)/$1/g;
	$types_told{$name} = $told;
}
same('type', columns(0, q{'c'}), \%types_told);

same('view', columns(0, q{'v'}), { map { code($_->[0]) => code($_->[2]) } table('Views', 'View') });

same('foreign table',
	columns(1, q{'f'}),
	{ map { code($_->[0]) => code($_->[1]) } table('Foreign tables', 'Table') });

my $tables = columns(0, q{'r'});
my $foreign = columns(0, q{'f'});
my %tables_told;
foreach my $row (table('Data tables', 'Table'))
{
	my $cell = $row->[1];
	my @like;
	if ($cell =~ s/^those of foreign table `(\w+)`(?: but `(\w+)`)?, then //)
	{
		my $but = $2 // '';
		@like = grep { $_ ne $but } split /, /, $foreign->{$1} // '';
	}
	$tables_told{ code($row->[0]) } = join ', ', @like, code($cell);
}
same('data table', $tables, \%tables_told);

### Settings and options

my %contexts = (sighup => 'reload', user => 'user', superuser => 'superuser', postmaster => 'restart');
same(
	'setting',
	{   map { $_->[0] => join ' ', $_->[1], $contexts{ $_->[2] } || $_->[2] } rows(
			q{SELECT name, current_setting(name), context
			  FROM pg_settings WHERE name LIKE 'databricks.%'}) },
	{   map { code($_->[0]) => join ' ', code($_->[1]), $_->[2] }
		  table('Settings', 'Setting') });

# The validator lists what it knows when asked for what nobody would.
foreach my $case (
	[ 'server option', 'ALTER SERVER prod', 'Server options' ],
	[ 'user mapping option', 'ALTER USER MAPPING FOR CURRENT_USER SERVER prod', 'User mapping options' ],
	[   'option of columns', 'CREATE FOREIGN TABLE pg_temp.t (a int %s) SERVER prod', 'Foreign tables', 'Option of a column' ],
	[   'option of foreign tables', 'CREATE FOREIGN TABLE pg_temp.t (a int) SERVER prod', 'Foreign tables', 'Option of a foreign table' ])
{
	my ($what, $ddl, $title, $header) = @$case;
	my $options = q{OPTIONS (qqqqqqqq 'x')};
	$ddl .= ' %s' unless $ddl =~ /%s/;
	my $error = sql_error($node, sprintf($ddl, $options), database => $reference);
	my ($list) = $error->{hint} =~ /^Valid options here are: (.*)\.$/;
	my %known = map { $_ => 1 } split /, /, $list // '';

	same($what, \%known,
		{ map { $_ => 1 } map { $_->[0] =~ /`(\w+)`/g } table($title, $header || 'Option') });
}

### Messages

# What it quotes of messages stands in the source, but for a name here and there.
my $source = join "\n", map { slurp_file($_) }
  map { glob(source_tree() . "/src/$_") } qw(*.c */*.c sql/*.sql);
$source =~ s/"\s*(?:U?INT64_FORMAT\s*)?\n?\s*"//g;
$source =~ s/\\"/"/g;
my @unknown;
my $messages = 0;
foreach my $row (table('Troubleshooting', 'Message'))
{
	my ($message) = $row->[0] =~ /^`([^`]*)`/ or next;
	my @parts = grep { length } map { s/^\s+|\s+$//gr } split /\.\.\.|"databricks"/, $message;
	$messages++;
	# some are PostgreSQL's
	next if $message =~ /^(?:permission denied for foreign|must be owner|could not open extension|(?:schema|relation|function) .* does not exist)/;
	push @unknown, $message if grep { my $part = quotemeta $_; $source !~ /$part/ } @parts;
}
cmp_ok($messages, '>', 20, 'messages to look for');
is_deeply(\@unknown, [], 'the messages it explains are those of the source');

### What it shows

$node->append_conf('postgresql.conf', "databricks.follow_interval = 300ms\n");
$node->reload;

# All that is fenced, by line. What cannot run here says where it does.
my @blocks;
while ($readme =~ /^```(\w*)\n(.*?)^```$/msg)
{
	push @blocks, { kind => $1, text => $2, line => 1 + (substr($readme, 0, $-[0]) =~ tr/\n//) };
}
my @elsewhere = (
	[ qr/^test\/setup .*\nmake\nsudo make install/, 'changes the machine: make test-deb runs it' ],
	[ qr/^sudo pg_createcluster/, 'changes the machine: make test-deb runs it, its settings are used here' ],
	[ qr/^python3 test\/workspace\/server\.py --port 8088$/, 'is started by the test, with a free port' ]);
my %blocks;
foreach my $block (@blocks)
{
	my ($why) = map { $_->[1] } grep { $block->{text} =~ $_->[0] } @elsewhere;

	note("block of line $block->{line}: $why") if $why;
	push @{ $blocks{ $why ? 'elsewhere' : $block->{kind} } }, $block;
}
is_deeply(
	{ map { $_ => scalar @{ $blocks{$_} } } grep { $_ ne 'sql' } keys %blocks },
	{ elsewhere => scalar @elsewhere, sh => 2, python => 1, json => 1, text => 1 },
	'each block is run, compared, or there is a reason why not');
cmp_ok(scalar @{ $blocks{sql} }, '>', 20, 'there are blocks to run');

# The stand-in takes the place of the workspaces of others, and so do those it
# knows. Each way to give credentials is for a workspace that has none yet.
my $port = $workspace->port;
my $url = $workspace->url;
sub adapted
{
	my ($text) = @_;

	$text =~ s/127\.0\.0\.1:8088/127.0.0.1:$port/g;
	return $text unless $text =~ /'https:\/\/dbc-/;
	$text =~ s/https:\/\/[a-z0-9.-]+/$url/g;
	$text =~ s/'dapi\.\.\.'/'dapi-standin-admin'/g;
	$text =~ s/'11111111-2222-\.\.\.'/'standin-client'/g;
	$text =~ s/'dose\.\.\.'/'dose0standin0secret0of0the0robot'/g;
	$text =~ s/"11111111-2222-\.\.\."/"standin-azure"/g;
	$text =~ s/"\.\.\."/"a~zure\/standin+secret.0001"/g;
	$text =~ s/(user_options => '\{"azure)/server_options => '{"azure_login_host": "$url"}', $1/g;
	$text =~ s/\);\n/);\nDROP SERVER real CASCADE;\nDROP SCHEMA real CASCADE;\n/g;
	return $text;
}

my $script = "\\pset pager off\n";
$script .= "\\echo 'block of line $_->{line}'\n" . adapted($_->{text}) foreach @{ $blocks{sql} };
my ($out, $err) = ('', '');
my $rc = $node->psql(
	$database, $script,
	extra_params => [ '-P', 'format=aligned', '-P', 'tuples_only=off' ],
	stdout => \$out,
	stderr => \$err,
	on_error_stop => 1,
	timeout => 2 * $PostgreSQL::Test::Utils::timeout_default);
my %said = $out =~ /^block of line (\d+)\n(.*?)(?=^block of line |\z)/msg;
my ($last) = sort { $b <=> $a } keys %said;
is($rc, 0, 'all its SQL runs, in order, in one session')
  or diag("stopped in the block of line $last of README.md:\n$err");
is($last, $blocks{sql}->[-1]->{line}, '... to the last block');

# What it says it does is there to see.
foreach my $case (
	[ qr/^CREATE EXTENSION databricks/, qr/ t  \| admin\@example\.com \| pat .*\d+ \| nightly-sales-etl\n.*TERMINATED \| SUCCESS/s, 'the first five minutes' ],
	[ qr/host => 'https:\/\/dbc/, qr/^ t  \| admin\@example\.com.*^ t  \| robot\@example\.com \| oauth-m2m.*^ t  \| azure\@example\.com \| azure-client-secret/ms, 'each way to a workspace' ],
	[ qr/^EXPLAIN/m, qr/Not Sent: .*result_state.*Calls: 1\b.*Pages: 1\b.*Retries: 0\b.*Bytes: \d+\b.*Quota Wait: /s, 'what EXPLAIN shows' ],
	[ qr/^UPDATE databricks\.jobs/, qr/nightly-sales-etl +\|.*\{"team": "sales"\}/, 'the tag that was set' ],
	[ qr/idempotency_token => 'sales/, qr/^ *\d+$/m, 'a run of a token' ],
	[ qr/databricks\.schedule\(/, qr/nightly \| 0 2 \* \* \* \| Europe\/Berlin \| .* \|\s*$/m, 'a schedule without trouble' ],
	[ qr/CREATE FUNCTION close_day/, qr/load 2026-11-22.*\(4 rows\)/s, 'requests of rows' ],
	[ qr/backfill_schedule/, qr/^ +31$/m, 'a month' ],
	[ qr/cluster_usage/, qr/cluster_name \| idle_for/, 'clusters' ],
	[ qr/databricks\.secrets/, qr/^ warehouse-password \| \d/m, 'a secret' ],
	[ qr/upload_query/, qr/^ +6$/m, 'rows uploaded' ],
	[ qr/databricks\.query\(/, qr/\(2 rows\)/, 'rows of a warehouse' ],
	[ qr/upsert_job/, qr/report   \| \[\{"task_key": "extract"\}\]/, 'tasks of a job' ],
	[ qr/^CREATE ROLE analyst/, qr/the credentials of role "analyst" were not tried/, 'credentials for another' ])
{
	my ($text, $expected, $what) = @$case;
	my ($block) = grep { $_->{text} =~ $text } @{ $blocks{sql} };

	like($said{ $block ? $block->{line} : 0 }, $expected, "what it says: $what");
}

# A notification is as the one shown.
my ($shown) = map { $_->{text} } @{ $blocks{json} };
my ($seen) = $out =~ /^Asynchronous notification "databricks" with payload "(\{.*\})" received/m;
is_deeply([ sort keys %{ json($seen || '{}') } ], [ sort keys %{ json($shown) } ], 'the notification it shows');

# What it shows for a shell and for Python runs too.
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
sub shell
{
	my ($block, $folder) = @_;
	my ($told, $complaint) = run_command([ 'bash', '-ec', 'cd "$1"; eval "$2"', 'bash', $folder, $block->{text} ]);
	return "$told\n$complaint";
}

my $folder = PostgreSQL::Test::Utils::tempdir();
foreach my $block (@{ $blocks{sh} })
{
	my $told = shell($block, $folder);

	if ($block->{text} =~ /run_and_wait/)
	{
		like($told, qr/\ASUCCESS\n+\z/, 'a script waits for a run');
	}
	else
	{
		unlike($told, qr/ERROR/, 'shell block') or diag($told);
		like($told, qr/# EOF$/m, '... metrics');
		like(slurp_file("$folder/report.html"), qr/^<!DOCTYPE html>.*nightly-sales-etl.*<\/html>$/s, '... and a report');
	}
}

# Requests that the blocks made end as they should, and none is left. Those of a
# tracked workspace are followed by its sweeps, which the README left at 10 s.
$node->safe_psql($database, q{SELECT databricks.track('prod', poll_interval => '200 ms')});
poll_until(
	'all requests have ended',
	sub {
		return $node->safe_psql($database,
			q{SELECT count(*) FROM databricks.run_requests WHERE finished_at IS NULL AND not_before IS NULL}) eq '0';
	});
is( $node->safe_psql($database,
		q{SELECT request_id, state, last_error FROM databricks.run_requests
		  WHERE state NOT IN ('succeeded', 'canceled')
			AND NOT (state = 'skipped' AND last_error ~ '^merged with request')}),
	'', 'the requests it makes succeed');
is( $node->safe_psql($database,
		q{SELECT count(*) > 0 FROM databricks.run_requests WHERE last_error ~ '^merged with request'}),
	't', '... or are merged, as the trigger was told');
is( $node->safe_psql($database,
		'SELECT count(*) = count(run_id) AND count(*) = 1 FROM loads'),
	't', '... and the SQL between two of them ran');
is( $node->safe_psql($database,
		q{SELECT string_agg(request_key || ' ' || state, ', ' ORDER BY request_key)
		  FROM databricks.run_requests WHERE request_key ~ '^load '}),
	'load 2026-11-22 succeeded', '... as did the one run for two inserts');
my ($cost) = map { $_->{text} =~ /(SELECT r\.body.*;)/s } @{ $blocks{sql} };
poll_until('each customer has a cost', sub {
	return $node->safe_psql($database, $cost) =~ /^Acme\|0\.000\d\nBlimp\|0\.000\d$/; });

# A run that fails, when nothing else runs: what the script says, and the listener.
my ($alerts, $alerts_err) = ('', '');
my $listener = IPC::Run::start(
	[ '/usr/bin/python3', '-c', $blocks{python}->[0]->{text} ],
	'>', \$alerts, '2>', \$alerts_err);
poll_until(
	'the listener listens',
	sub {
		$listener->pump_nb;
		return !$listener->pumpable || $node->safe_psql($database,
			q{SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND query ~ '(?i)^(LISTEN databricks|SELECT run_name)'}) eq '2';
	});

$workspace->post('plans', { plan => { result => 'FAILED', error => 'no such table' }, count => 1 });
my ($waiting) = grep { $_->{text} =~ /run_and_wait/ } @{ $blocks{sh} };
like(shell($waiting, $folder), qr/\Astatus 3\nERROR:  RUN01\n*\z/, 'a script waits for a run that fails');
poll_until('the listener tells of the run that failed', sub {
	$listener->pump_nb;
	return $alerts =~ /^nightly-sales-etl: / || !$listener->pumpable; });
like($alerts, qr/^nightly-sales-etl: \S/, 'what it tells');
is($alerts_err, '', '... without complaint');
$listener->signal('TERM');
$listener->finish;

# The picture of a run has the form of the one shown.
my $run = $node->safe_psql($database, q{SELECT databricks.run_now('weekly-report')});
poll_until('a run of two tasks is in the history', sub {
	return $node->safe_psql($database, "SELECT count(*) FROM databricks.run_history WHERE run_id = $run AND end_time IS NOT NULL") eq '1'; });
foreach my $picture ($blocks{text}->[0]->{text}, $node->safe_psql($database, "SELECT databricks.gantt($run)"))
{
	my ($head, @tasks) = split /\n/, $picture;

	like($head, qr/^\w+(?:[-_]\w+)*  \d+  [A-Z_]+  \d\d:\d\d:\d\d$/, 'a run drawn');
	is(scalar(grep { !/^.{20} \|[ =x~-]{38}\|(?: {1,5}\d+\.\d s| {7})(?: [A-Z_]{1,9})?$/ } @tasks), 0, '... with its tasks');
	cmp_ok(scalar @tasks, '>', 1, '... of which there are some');
}

$node->stop;
done_testing();
