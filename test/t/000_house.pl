# 000_house.pl - the house itself: set-up, build rules, the extension's frame.

use strict;
use warnings;

use File::Find;
use File::Temp qw(tempdir);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $top = source_tree();

sub slurp_source { return slurp_file("$top/$_[0]"); }

sub sources
{
	my ($pattern) = @_;
	my @found;
	find(
		{   no_chdir => 1,
			wanted => sub {
				push @found, substr($_, length("$top/"))
				  if -f $_ && $_ =~ $pattern;
			}
		},
		"$top/src");
	my @sorted = sort @found;
	return @sorted;
}

# --- rules of the source tree ------------------------------------------------

my @c_files = sources(qr/\.[ch]$/);
ok(scalar(@c_files), 'there are C files');

sub offenders
{
	my ($pattern, $allowed) = @_;
	return join(' ',
		grep { $_ !~ $allowed && slurp_source($_) =~ $pattern } @c_files);
}

is(offenders(qr/#include\s*[<"]curl\//, qr{^src/http/}),
	'', 'only src/http includes curl');
is(offenders(qr/#include\s*[<"](?:cjson\/)?cJSON/, qr{^src/json/}),
	'', 'only src/json includes cJSON');
is(offenders(qr/\bPG_VERSION_NUM\b/, qr{^src/compat\.h$}),
	'', 'only compat.h asks for the version of PostgreSQL');
is( offenders(
		qr/\b(?:curl_easy_perform|curl_multi_wait|curl_multi_poll|curl_global_init_mem|usleep|sleep)\s*\(/,
		qr/^$/),
	'',
	'nothing waits outside the one primitive');
is(join(' ', grep { (() = slurp_source($_) =~ /\n/g) > 1000 } @c_files),
	'', 'no C file has more than 1000 lines');
is(offenders(qr/^\s*\/\//m, qr/^$/), '', 'no C++ comments');

# These may evaluate an argument twice, and so count twice.
my $counts = qr/\b(?:Abs|Max|Min)\s*(?<inner>\((?:[^()]++|(?&inner))*\))(?<=\))(?(?{ $+{inner} =~ m{\+\+|--} })|(?!))/;
like('a = Max(b, pause(c->failures++));', $counts, 'a macro that counts is seen');
unlike('a = Max(b, pause(c->failures)); d++;', $counts, '... and one that does not is not');
is(offenders($counts, qr/^$/), '', 'no argument of Max() and the like counts');

# --- set-up ------------------------------------------------------------------

# Debian's package manager knows nothing here, and sudo refuses.
{
	my $bin = tempdir(CLEANUP => 1);
	my %scripts = (
		'dpkg-query' => 'exit 1',
		'sudo' => 'exit 1',
		'id' => '[ "$1" = -u ] && echo 1000',
		'apt-get' => 'echo called >&2; exit 1',
		'python3' => 'exit 1');
	foreach my $name (keys %scripts)
	{
		open(my $fh, '>', "$bin/$name") or die "$bin/$name: $!";
		print $fh "#!/bin/sh\n$scripts{$name}\n";
		close($fh);
		chmod 0755, "$bin/$name" or die "$bin/$name: $!";
	}

	local $ENV{PATH} = "$bin:$ENV{PATH}";
	my ($stdout, $stderr) = ('', '');
	my $ok = IPC::Run::run([ 'bash', "$top/test/setup" ],
		'<', \undef, '>', \$stdout, '2>', \$stderr);
	ok(!$ok, 'set-up fails without root and without sudo');
	like($stderr, qr/neither root nor can it use sudo/, 'it says why');
	like($stderr,
		qr/^\s+apt-get install --no-install-recommends postgresql-\d+ .*python3$/m,
		'it says what to do');
	unlike($stderr, qr/called/, 'it has installed nothing');
}

# --- the extension's frame ---------------------------------------------------

my $control = slurp_source('databricks.control');
my ($version) = $control =~ /^default_version = '([^']+)'/m;
like($control, qr/^relocatable = false$/m, 'not relocatable');
like($control, qr/^superuser = true$/m, 'for superusers');
like($control, qr/^trusted = false$/m, 'not trusted');

# --- what errors say ---------------------------------------------------------
#
# A message is one line without a capital and a period; details and hints are
# sentences, a hint may also be a command.

my %said;
foreach my $file (glob("$top/src/*.c $top/src/*/*.c"))
{
	my $code = slurp_file($file);
	while ($code =~ /\berr(msg|detail|hint)(?:_internal)?\(\s*((?:"(?:[^"\\]|\\.)*"\s*(?:[A-Z][A-Z0-9_]+\s*)?)+)/g)
	{
		my ($kind, $text) = ($1, $2);
		$text =~ s/"\s*[A-Z][A-Z0-9_]+\s*"?/%d/g;
		$text =~ s/"\s*"//g;
		$text =~ s/^"|"\s*$//g;
		push @{ $said{$kind} }, [ $text, substr($file, length("$top/src/")) ] unless $text eq '%s';
	}
}
cmp_ok(scalar @{ $said{msg} }, '>', 150, 'there are messages to look at');
is_deeply([ grep { $_->[0] =~ /\.$|\\n|^[A-Z][a-z]/ && $_->[0] !~ /^(?:Databricks|PostgreSQL)/ } @{ $said{msg} } ], [], 'messages have no capital, no period, one line');
is_deeply([ grep { $_->[0] !~ /[.;:?]$|%s$/ || $_->[0] !~ /^(?:[A-Z"\\%]|[a-z_.]+\(|[a-z_.]+ )/ } @{ $said{detail} }, @{ $said{hint} } ], [], 'details and hints are sentences');

my $node = new_node('house', extension => 0);

$node->safe_psql('postgres', 'CREATE ROLE mallory');
$node->safe_psql('postgres', 'CREATE SCHEMA databricks AUTHORIZATION mallory');
my $error = sql_error($node, 'CREATE EXTENSION databricks');
is($error->{state}, '42501', 'a schema of somebody else is refused');
like($error->{message}, qr/schema "databricks" belongs to role "mallory"/,
	'the message names the owner');
like($error->{hint}, qr/ALTER SCHEMA databricks OWNER TO/,
	'the hint says what to do');
is( $node->safe_psql(
		'postgres',
		q{SELECT count(*) FROM pg_class
		  WHERE relnamespace = 'databricks'::regnamespace}),
	'0',
	'nothing was left in it');

$node->safe_psql('postgres',
	'ALTER SCHEMA databricks OWNER TO CURRENT_USER; CREATE EXTENSION databricks'
);
is( $node->safe_psql(
		'postgres',
		q{SELECT extversion, extnamespace::regnamespace, extrelocatable
		  FROM pg_extension WHERE extname = 'databricks'}),
	"$version|databricks|f",
	'version and schema');

$error = sql_error($node, 'ALTER EXTENSION databricks SET SCHEMA public');
is($error->{state}, '0A000', 'the extension stays in its schema');

# The schema must not be a member: the data tables in it outlive the extension.
is( $node->safe_psql(
		'postgres',
		q{SELECT count(*) FROM pg_depend
		  WHERE refclassid = 'pg_extension'::regclass
			AND classid = 'pg_namespace'::regclass AND deptype = 'e'}),
	'0',
	'the schema is no member of the extension');
is( $node->safe_psql(
		'postgres',
		q{SELECT has_schema_privilege('mallory', 'databricks', 'USAGE'),
				 has_schema_privilege('mallory', 'databricks', 'CREATE')}),
	't|f',
	'everybody may look into the schema, nobody may create in it');

# Every object says what it is.
is( $node->safe_psql(
		'postgres', q{
		SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), E'\n' ORDER BY 1)
		FROM pg_depend d
		WHERE d.refclassid = 'pg_extension'::regclass
		  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'databricks')
		  AND d.deptype = 'e'
		  AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass,
							'pg_foreign_data_wrapper'::regclass)
		  AND CASE WHEN d.classid = 'pg_class'::regclass
				   THEN (SELECT relkind FROM pg_class WHERE oid = d.objid) IN ('r', 'v', 'f', 'p')
				   ELSE true END
		  AND coalesce(obj_description(d.objid, d.classid::regclass::name), '') = ''}),
	'',
	'every function, table, view and wrapper has a comment');

# As does every column of what it makes, later too.
$node->safe_psql('postgres', 'SELECT databricks.migrate()');
is( $node->safe_psql(
		'postgres', q{
		SELECT string_agg(c.relname || '.' || a.attname, E'\n' ORDER BY 1)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'databricks'::regnamespace AND c.relkind IN ('r', 'v', 'f')
		  AND col_description(c.oid, a.attnum) IS NULL}),
	'',
	'every column of a table or view has a comment');

# Whoever calls such a function must not choose what its names mean.
is( $node->safe_psql(
		'postgres', q{
		SELECT string_agg(p.oid::regprocedure::text, E'\n')
		FROM pg_proc p
		WHERE p.pronamespace = 'databricks'::regnamespace AND p.prosecdef
		  AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false)}),
	'',
	'functions with the rights of their owner have a fixed search path');

$node->safe_psql('postgres', 'DROP EXTENSION databricks');
is( $node->safe_psql(
		'postgres',
		q{SELECT count(*) FROM pg_namespace WHERE nspname = 'databricks'}),
	'1',
	'DROP EXTENSION leaves the schema');
$node->safe_psql('postgres', 'CREATE EXTENSION databricks');

# --- preloaded, the server starts as well --------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'databricks'");
$node->restart;
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'databricks', 'the server starts with the library preloaded');

$node->stop;
done_testing();
