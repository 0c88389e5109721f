# 112_lifecycle.pl - dump, restore, pg_upgrade, ALTER EXTENSION UPDATE, replication:
# what belongs to the user stays, and a copy starts nothing.
#
# A copy made with TEMPLATE and the pauses of copies are in 071.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });
my $job = $workspace->create_job(name => 'job', max_concurrent_runs => 1000);
my $run_now = '/api/2.2/jobs/run-now';
my $token = '11111111-2222-3333-4444-555555555555';
my $conf = "databricks.follow_interval = 200ms\nmax_worker_processes = 20\n";

my $node = new_node('main', preload => 1, cron => 1, init => [ allows_streaming => 'logical' ], conf => $conf);

sub value
{
	my ($server, $query, $database) = @_;
	return $server->safe_psql($database || 'postgres', $query);
}

sub wait_for
{
	my ($name, $server, $query, $expected, $database) = @_;
	my $last = '';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(eval { poll_until($name, sub { ($last = value($server, $query, $database)) eq ($expected // 't') }); 1 }, $name)
	  or diag("last: $last");
	return;
}

sub start_run { return $workspace->api('POST', $run_now, { job_id => $job })->{run_id}; }

# --- a database with a past --------------------------------------------------------------

value($node, q{
	CREATE EXTENSION pg_cron;
	CREATE ROLE clerk LOGIN;
	CREATE TABLE public.seen (run_id bigint, state text)});
connect_workspace($node, $workspace);
value($node, q{
	GRANT USAGE ON FOREIGN SERVER prod TO clerk;
	GRANT INSERT ON public.seen TO clerk;
	SELECT databricks.connect('prod', for_role => 'clerk', token => 'dapi-standin-admin');
	CREATE FUNCTION public.on_run() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN INSERT INTO public.seen VALUES (new.run_id, new.state); RETURN NULL; END$$;
	CREATE TRIGGER users_own AFTER INSERT OR UPDATE ON databricks.run_history FOR EACH ROW EXECUTE FUNCTION public.on_run();
	CREATE INDEX users_own ON databricks.run_history (run_name, start_time) WHERE result_state = 'FAILED';
	CREATE STATISTICS databricks.users_own ON job_id, run_name FROM databricks.run_history;
	CREATE POLICY users_own ON databricks.run_requests FOR SELECT TO clerk USING (true);
	CREATE VIEW public.users_own AS SELECT h.run_id, r.request_key FROM databricks.run_history h LEFT JOIN databricks.run_requests r USING (workspace, run_id);
	CREATE TABLE public.orders (id int);
	CREATE TABLE public.batches (request bigint REFERENCES databricks.run_requests (request_id));
	COMMENT ON COLUMN databricks.run_history.run_name IS 'ours'});
value($node, qq{CREATE TRIGGER start AFTER INSERT ON public.orders REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('$job', 'prod')});
value($node, q{SELECT databricks.track('prod', poll_interval => '200 ms')});
start_run() foreach 1 .. 5;
value($node, qq{SET ROLE clerk; SELECT databricks.enqueue_run_now($job, request_key => 'done')});
wait_for('requests end and runs are kept', $node, q{SELECT (SELECT count(*) FROM databricks.run_history WHERE state = 'TERMINATED' AND tasks IS NOT NULL) = 6
	AND (SELECT count(*) FROM databricks.run_requests WHERE state = 'succeeded') = 1 AND (SELECT count(*) FROM databricks.history_fetches) = 0});
value($node, qq{SELECT databricks.schedule('nightly', '* * * * *', $job)});
value($node, q{SELECT databricks.pause_workspace('prod', 'being copied')});
value($node, qq{SELECT databricks.enqueue_run_now($job, request_key => 'waiting');
	INSERT INTO public.orders VALUES (1);
	INSERT INTO public.batches SELECT request_id FROM databricks.run_requests WHERE request_key = 'done'});
my $sent = value($node, qq{SELECT databricks.enqueue_run_now($job, request_key => 'sent')});
value($node, "UPDATE databricks.run_requests SET state = 'sending', attempt = 1, token = '$token', next_attempt_at = NULL WHERE request_id = $sent");

# What must be the same afterwards.
my @tables = split /\n/, value($node, q{SELECT relname FROM pg_class WHERE relnamespace = 'databricks'::regnamespace AND relkind = 'r'
	AND relname NOT IN ('dispatch_home', 'tracking_settings') ORDER BY 1});
my $objects = q{
	SELECT string_agg(t, E'\n' ORDER BY t COLLATE "C") FROM (
		SELECT 'trigger ' || tgrelid::regclass || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'databricks'
		UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'databricks'::regnamespace
		UNION ALL SELECT 'policy ' || (p.*)::text FROM pg_policies p
		UNION ALL SELECT 'statistics ' || pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
		UNION ALL SELECT 'comment ' || attrelid::regclass || attname || col_description(attrelid, attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
			WHERE c.relnamespace = 'databricks'::regnamespace AND col_description(attrelid, attnum) IS NOT NULL
		UNION ALL SELECT 'rights ' || oid::regclass || coalesce(relacl, acldefault('r', relowner))::text || relrowsecurity || relowner::regrole FROM pg_class WHERE relnamespace = 'databricks'::regnamespace AND relkind IN ('r', 'v', 'f')
		UNION ALL SELECT 'function ' || oid::regprocedure || (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) a) || proowner::regrole FROM pg_proc WHERE pronamespace = 'databricks'::regnamespace
		UNION ALL SELECT 'view ' || viewname || definition FROM pg_views WHERE schemaname IN ('databricks', 'public')
		UNION ALL SELECT 'server ' || srvname || srvoptions::text || srvowner::regrole || coalesce(srvacl::text, '-') FROM pg_foreign_server
		UNION ALL SELECT 'mapping ' || usename || umoptions::text FROM pg_user_mappings
		UNION ALL SELECT 'member ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'databricks')
		UNION ALL SELECT 'schema ' || nspacl::text || nspowner::regrole FROM pg_namespace WHERE nspname = 'databricks') AS all_of_it(t)};

sub rows_of
{
	my ($server, $database) = @_;
	return join "\n", map { "$_: " . value($server, "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text COLLATE \"C\")) FROM databricks.$_ AS t", $database) } @tables;
}

# Stopped, so that nothing moves while it is copied: only the copies are to do
# anything.
value($node, q{SELECT databricks.untrack('prod'); INSERT INTO databricks.tracking_settings
	SELECT 'prod', '200 ms', '1 day', NULL, 'failed', current_user, now(), now(), now(), now()});
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
my $rows = rows_of($node);
my $before = value($node, $objects);
like($before, qr/member function databricks\.api\(/, 'the state that must be the same has something in it');
like($rows, qr/run_history: 6\|/, '... and so has the data');

my $dir = $node->basedir;
my @connect = ('-h', $node->host, '-p', $node->port);
$node->command_ok([ 'pg_dumpall', @connect, '--globals-only', '--no-role-passwords', '-f', "$dir/globals.sql" ], 'roles are dumped');
$node->command_ok([ 'pg_dump', @connect, '-Fp', '-f', "$dir/plain.sql", 'postgres' ], 'a plain dump');
$node->command_ok([ 'pg_dump', @connect, '-Fc', '-f', "$dir/custom.dump", 'postgres' ], 'a dump in custom format');

sub restore
{
	my ($server, $format) = @_;
	$server->psql('postgres', slurp_file("$dir/globals.sql"));    # our own role is there already
	$server->command_ok(
		$format eq 'plain'
		? [ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-h', $server->host, '-p', $server->port, '-f', "$dir/plain.sql", 'postgres' ]
		: [ 'pg_restore', '--exit-on-error', '-h', $server->host, '-p', $server->port, '-d', 'postgres', "$dir/custom.dump" ],
		"$format: restored");
	is(rows_of($server), $rows, "$format: every row is there");
	is(value($server, $objects), $before, "$format: and every object, the user's too");
	is(value($server, q{SELECT pause_reason LIKE '%copied from another one%' FROM databricks.workspaces}), 't', "$format: the workspace is paused");
	is(value($server, q{BEGIN; UPDATE databricks.run_history SET updated_at = now(); SELECT count(*) FROM public.seen; ROLLBACK}),
		value($server, 'SELECT count(*) + 6 FROM public.seen'), "$format: the user's trigger fires");
	return;
}

# --- into a new cluster, where the worker starts at once --------------------------------------

my $mark = $workspace->mark;
my $new = new_node('new', preload => 1, cron => 1, extension => 0, conf => $conf);
restore($new, 'custom');
value($new, 'DELETE FROM databricks.paused_workspaces');
$new->restart;
wait_for('custom: a worker is there', $new, q{SELECT count(*) > 0 FROM databricks.stat_worker WHERE pid IS NOT NULL});
connect_workspace($new, $workspace, name => 'other');
$mark = $workspace->mark;
value($new, qq{SELECT databricks.resume_workspace('other'); SELECT databricks.track('other', poll_interval => '200 ms');
	SELECT databricks.enqueue_run_now($job, request_key => 'new', workspace => 'other')});
wait_for('custom: another workspace is served', $new, q{SELECT state = 'succeeded' FROM databricks.run_requests WHERE request_key = 'new'});
wait_for('custom: ... and tracked', $new, q{SELECT count(*) > 0 FROM databricks.run_history WHERE workspace = 'other'});
is($workspace->calls(since => $mark, path => $run_now), 1, 'custom: nothing of the copied one was sent');
is(value($new, q{SELECT string_agg(state, ' ' ORDER BY request_id) FROM databricks.run_requests WHERE workspace = 'prod'}), 'succeeded queued queued sending',
	'custom: ... it waits');
value($new, q{SELECT databricks.unschedule('nightly')});
value($new, q{SELECT databricks.resume_workspace('prod')});
wait_for('custom: after resume_workspace it is sent', $new, q{SELECT count(*) FROM databricks.run_requests WHERE workspace = 'prod' AND state = 'succeeded'}, 4);
is($workspace->calls(since => $mark, path => $run_now, body => $token), 1, 'custom: what was sent before, under the same token');
$new->stop;

# --- into a cluster that does not preload the library --------------------------------------------

my $bare = new_node('bare', extension => 0, conf => "wal_level = logical\n");
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'");
$bare->restart;
$mark = $workspace->mark;
restore($bare, 'plain');
is(value($bare, "SELECT name FROM databricks.jobs WHERE job_id = $job"), 'job', 'plain, not preloaded: foreign tables are read');
value($bare, 'CALL databricks.run_worker_once()');
is($workspace->calls(since => $mark, path => $run_now), 0, 'plain, not preloaded: a round sends nothing');
value($bare, q{SELECT databricks.resume_workspace('prod')});
value($bare, 'CALL databricks.run_worker_once()');
is($workspace->calls(since => $mark, path => $run_now), 3, '... until resume_workspace');

# --- logical replication of the history --------------------------------------------------------------

{
	value($bare, 'CREATE DATABASE replica');
	create_extension($bare, 'replica');
	value($bare, 'SELECT databricks.migrate()', 'replica');
	value($node, 'CREATE PUBLICATION history FOR TABLE databricks.run_history, databricks.task_history, databricks.run_transitions');
	value($bare, sprintf(q{CREATE SUBSCRIPTION history CONNECTION 'host=%s port=%d dbname=postgres' PUBLICATION history}, $node->host, $node->port), 'replica');
	my $query = q{SELECT (SELECT md5(string_agg(t::text, '|' ORDER BY run_id)) FROM databricks.run_history t) || (SELECT count(*) FROM databricks.task_history)
		|| (SELECT count(*) FROM databricks.run_transitions)};
	wait_for('the history is replicated', $bare, $query, value($node, $query), 'replica');
	value($node, q{UPDATE databricks.run_history SET state_message = 'changed'; DELETE FROM databricks.run_history WHERE run_id = (SELECT min(run_id) FROM databricks.run_history)});
	wait_for('... and its changes', $bare, $query, value($node, $query), 'replica');
	value($bare, 'DROP SUBSCRIPTION history', 'replica');
}
$bare->stop;

# --- DROP and CREATE in one transaction, two databases ---------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron, databricks'");
$node->restart;
value($node, q{SELECT databricks.resume_workspace('prod'); SELECT databricks.track('prod', poll_interval => '200 ms')});
wait_for('the original sends what waited', $node, q{SELECT count(*) = 0 FROM databricks.run_requests WHERE finished_at IS NULL});
value($node, q{SELECT databricks.unschedule('nightly'); CREATE DATABASE second});
create_extension($node, 'second');
connect_workspace($node, $workspace, database => 'second');
value($node, q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0')}, 'second');
sub tracked
{
	my ($name, @databases) = @_;
	my $run = start_run();
	wait_for("$name: tracked in $_", $node, "SELECT count(*) FROM databricks.run_history WHERE run_id = $run", 1, $_) foreach @databases;
	return;
}
tracked('two databases', 'postgres', 'second');
is(value($node, 'SELECT count(DISTINCT datname) FROM databricks.stat_worker WHERE pid IS NOT NULL'), '2', 'each database has a worker');
my $kept = value($node, 'SELECT count(*) FROM databricks.run_history');
value($node, q{BEGIN; DROP EXTENSION databricks CASCADE; ROLLBACK});
tracked('after DROP and ROLLBACK', 'postgres');
value($node, q{BEGIN; DROP EXTENSION databricks CASCADE; CREATE EXTENSION databricks; COMMIT});
tracked('after DROP and CREATE elsewhere', 'second');
cmp_ok(value($node, 'SELECT count(*) FROM databricks.run_history'), '>=', $kept, 'the history is still there');
connect_workspace($node, $workspace);
wait_for('the tracking goes on by itself', $node, q{SELECT tracked FROM databricks.workspaces WHERE name = 'prod'});
value($node, q{SELECT databricks.resume_workspace('prod')});
tracked('after DROP, CREATE and connect', 'postgres');
value($node, 'DROP EXTENSION databricks CASCADE', 'second');
tracked('after DROP elsewhere', 'postgres');
value($node, 'DROP DATABASE second');

# --- ALTER EXTENSION UPDATE ----------------------------------------------------------------------------------

# What an installed version is made of. Data tables are compared too: migrate()
# brings them up to date, never the script.
my $catalogs = q{
	SELECT string_agg(t, E'\n' ORDER BY t COLLATE "C") FROM (
		SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') || coalesce(obj_description(oid, 'pg_proc'), 'NO COMMENT') || proowner::regrole
			FROM pg_proc WHERE pronamespace = 'databricks'::regnamespace
		UNION ALL SELECT c.relname || ' ' || c.relkind::text || coalesce(c.reloptions::text, '') || coalesce(c.relacl::text, '') || c.relrowsecurity || coalesce(obj_description(c.oid, 'pg_class'), 'NO COMMENT')
				|| coalesce((SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull || coalesce(col_description(attrelid, attnum), ''), ', ' ORDER BY attnum)
							 FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped), '')
				|| CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) ELSE '' END
			FROM pg_class c WHERE relnamespace = 'databricks'::regnamespace
		UNION ALL SELECT 'type ' || typname || typtype::text || coalesce(typacl::text, '') || coalesce(obj_description(oid, 'pg_type'), '') FROM pg_type WHERE typnamespace = 'databricks'::regnamespace
		UNION ALL SELECT 'policy ' || (p.*)::text FROM pg_policies p WHERE schemaname = 'databricks'
		UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'databricks'::regnamespace
		UNION ALL SELECT 'member ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'databricks')) AS all_of_it(t)};

my ($version) = value($node, q{SELECT default_version FROM pg_available_extensions WHERE name = 'databricks'});
value($node, 'CREATE DATABASE fresh');
create_extension($node, 'fresh');
value($node, 'SELECT databricks.migrate()', 'fresh');
my $expected = value($node, $catalogs, 'fresh');
my $share = `pg_config --sharedir`;
chomp $share;
$share .= '/extension';

# Each released version's script is in test/data/released, its update script at
# the top of the tree; what the update leaves must be what the install makes.
my %paths = map { /databricks--(.+)\.sql$/ ? ($1 => $_) : () } glob(source_tree() . '/test/data/released/databricks--*.sql');

# Until the first release, a version that never was: without the last layout of
# the data tables and some functions, with others that are different.
{
	my $script = slurp_file("$share/databricks--$version.sql");
	my ($last) = sort { $b <=> $a } $script =~ /FUNCTION databricks\.data_migration_(\d+)\(\)/g;
	my $update = '';
	my $take = sub {
		my ($object) = @_;
		$script =~ s/(^CREATE $object.*?^COMMENT ON $object[^;]*? IS\s.*?';\n)//ms or die "no $object in the script";
		$update .= $1;
	};
	$take->('FUNCTION databricks\.' . $_ . '\(') foreach "data_migration_$last", 'gantt', 'delete_run';
	$script =~ s/^(REVOKE|GRANT)[^;]*databricks\.gantt[^;]*;\n//mg;
	$script =~ s/^(COMMENT ON FUNCTION databricks\.get_run\([^;]*IS\s*').*?';/$1old';/ms or die;
	my ($comment) = slurp_file("$share/databricks--$version.sql") =~ /^(COMMENT ON FUNCTION databricks\.get_run\([^;]*? IS\s*'.*?';)/ms;
	my ($rights) = join '', slurp_file("$share/databricks--$version.sql") =~ /^((?:REVOKE|GRANT)[^;]*databricks\.gantt[^;]*;\n)/mg;
	append_to_file("$dir/databricks--0.9.sql", $script);
	append_to_file("$share/databricks--0.9--$version.sql", "\\echo Use \"ALTER EXTENSION databricks UPDATE\" to load this file. \\quit\n$update$rights$comment\n");
	$paths{'0.9'} = "$dir/databricks--0.9.sql";
}
foreach my $old (sort keys %paths)
{
	(my $database = "from_$old") =~ s/\W/_/g;
	append_to_file("$share/databricks--$old.sql", slurp_file($paths{$old}));
	value($node, "CREATE DATABASE $database");
	value($node, "CREATE EXTENSION databricks VERSION '$old'", $database);
	connect_workspace($node, $workspace, database => $database);
	value($node, q{SELECT databricks.track('prod', poll_interval => '200 ms', backfill => '0'); CREATE INDEX users_own ON databricks.run_history (run_name)}, $database);
	isnt(value($node, $catalogs, $database), $expected, "$old: another version is installed");
	is(value($node, 'SELECT count(*) FROM databricks.run_history', $database), '0', "$old: the worker leaves alone what another version made");
	value($node, 'ALTER EXTENSION databricks UPDATE', $database);
	my $run = start_run();
	wait_for("$old: after ALTER EXTENSION UPDATE the worker goes to work, without a restart", $node,
		"SELECT count(*) FROM databricks.run_history WHERE run_id = $run", 1, $database);
	value($node, 'DROP INDEX databricks.users_own; DROP SERVER prod CASCADE', $database);
	is(value($node, $catalogs, $database), $expected, "$old: an update leaves what an installation makes");
	value($node, "DROP DATABASE $database");
	unlink "$share/databricks--$old.sql";
}
unlink "$share/databricks--0.9--$version.sql";

# --- pg_upgrade ---------------------------------------------------------------------------------------------------

# The new cluster is the same one: sending and tracking go on, no resume needed.
value($node, 'DROP DATABASE fresh; DROP PUBLICATION history');
value($node, qq{SELECT databricks.pause_workspace('prod', 'upgrade'); SELECT databricks.enqueue_run_now($job, request_key => 'upgraded')});
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'");
$node->start;
$rows = rows_of($node);
$before = value($node, $objects);
value($node, 'DELETE FROM databricks.paused_workspaces');
$node->stop;
my $upgraded = new_node('upgraded', preload => 1, cron => 1, extension => 0, start => 0, conf => $conf);
{
	my $bin = `pg_config --bindir`;
	chomp $bin;
	local $ENV{PGHOST} = $upgraded->host;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron, databricks'");
	chdir $upgraded->basedir or die $!;
	command_ok(
		[   'pg_upgrade', '-d', $node->data_dir, '-D', $upgraded->data_dir, '-b', $bin, '-B', $bin, '-s', $upgraded->host, '-p', $node->port, '-P', $upgraded->port ],
		'pg_upgrade');
}
$mark = $workspace->mark;
$upgraded->start;
wait_for('what waited is sent by the new cluster, without being told to', $upgraded, q{SELECT state = 'succeeded' FROM databricks.run_requests WHERE request_key = 'upgraded'});
is($workspace->calls(since => $mark, path => $run_now), 1, '... once');
is(value($upgraded, $objects), $before, 'every object is there after pg_upgrade, the user\'s too');
my $run = start_run();
wait_for('tracking goes on', $upgraded, "SELECT count(*) FROM databricks.run_history WHERE run_id = $run", 1);
is(value($upgraded, 'SELECT count(*) FROM databricks.run_history') > 6, 1, 'the history came along');
log_lacks($upgraded, 'no token in the log', $workspace->token);
$upgraded->stop;
done_testing();
