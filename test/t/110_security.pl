# 110_security.pl - who may do what, and what names cannot do.
#
# The catalogs are asked for anything that would be unsafe, so that a new object
# has to be put into a list here on purpose. Then the whole extension is used
# with a search path on which every function and operator of PostgreSQL has an
# evil twin, and with names that are full of quotes, line breaks and commands.
# What a hostile service can send is in 111_hostile.pl.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Databricks::Test;

my $workspace = Databricks::Test::Workspace->start;
$workspace->post('settings', { setup_ms => 0, duration_ms => 50, cleanup_ms => 0, job_cleanup_ms => 0 });
my $node = new_node(
	'main',
	preload => 1,
	cron => 1,
	conf => "databricks.follow_interval = 200ms\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A query for offenders must find none.
sub none
{
	my ($name, $query) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($query), '', $name);
	return;
}

sub wait_for
{
	my ($name, $query) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(eval { poll_until($name, sub { sql($query) eq 't' }); 1 }, $name);
	return;
}

sql('CREATE EXTENSION pg_cron');
connect_workspace($node, $workspace);

# --- what the catalogs say ---------------------------------------------------------

my $here = q{'databricks'::regnamespace};

none('everything belongs to the owner of the extension', qq{
	SELECT string_agg(o.name, ' ') FROM pg_extension e,
		(SELECT oid::regclass::text, relowner FROM pg_class WHERE relnamespace = $here
		 UNION ALL SELECT oid::regprocedure::text, proowner FROM pg_proc WHERE pronamespace = $here
		 UNION ALL SELECT oid::regtype::text, typowner FROM pg_type WHERE typnamespace = $here
		 UNION ALL SELECT fdwname::text, fdwowner FROM pg_foreign_data_wrapper WHERE fdwname = 'databricks'
		 UNION ALL SELECT nspname::text, nspowner FROM pg_namespace WHERE oid = $here) AS o(name, owner)
	WHERE e.extname = 'databricks' AND o.owner <> e.extowner});
is(sql(qq{SELECT has_schema_privilege('public', $here, 'USAGE'), has_schema_privilege('public', $here, 'CREATE')}),
	't|f', 'nobody else may create in the schema');
is(sql(q{SELECT has_foreign_data_wrapper_privilege('public', 'databricks', 'USAGE'), has_server_privilege('public', 'prod', 'USAGE')}),
	'f|f', 'nobody may make or use a workspace without being told so');

none('no function has the rights of its owner', qq{
	SELECT string_agg(oid::regprocedure::text, ' ') FROM pg_proc WHERE pronamespace = $here AND prosecdef});
none('what is parsed when it is called has a search path of its own', qq{
	SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = $here AND l.lanname <> 'c' AND p.prosqlbody IS NULL
	  AND (p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp']) IS NOT TRUE});
none('functions are written in C, SQL and PL/pgSQL', qq{
	SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = $here AND l.lanname NOT IN ('c', 'sql', 'plpgsql')});
is( sql(qq{SELECT string_agg(p.proname, ' ' ORDER BY p.proname COLLATE "C") FROM pg_proc p
		   WHERE p.pronamespace = $here AND NOT has_function_privilege('public', p.oid, 'EXECUTE')}),
	join(' ', 'comment_columns', (map { "data_migration_$_" } 1 .. sql(qq{SELECT count(*) FROM pg_proc WHERE pronamespace = $here AND proname ~ '^data_migration_'})),
		'migrate', 'run_worker_once', 'stat_api_reset'),
	'these functions are not for everybody');
none('nobody was granted more than EXECUTE', qq{
	SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p, aclexplode(p.proacl) a
	WHERE p.pronamespace = $here AND a.grantee NOT IN (0, p.proowner)});

# What makes calls is VOLATILE and not for parallel workers.
is( sql(qq{SELECT string_agg(p.proname, ' ' ORDER BY p.proname COLLATE "C") FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		   WHERE p.pronamespace = $here AND l.lanname = 'c' AND (p.provolatile <> 'v' OR p.proparallel = 's')}),
	'answered check_access_control_list check_cluster_size check_git_reference check_job_changes check_job_settings check_object check_one_of check_task cron_entry dbfs_path '
	  . 'fdw_handler fdw_validator file_api file_path made next_tick pause_reason permissions_path required task_member ticks url_escape zone_known',
	'these functions in C make no calls');

my $tables = "relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace = $here";
none('PUBLIC may at most read', qq{
	SELECT string_agg(c.oid::regclass || ': ' || a.privilege_type, ' ') FROM pg_class c, aclexplode(c.relacl) a
	WHERE $tables AND a.grantee = 0 AND (a.privilege_type <> 'SELECT' OR a.is_grantable)});
none('and nobody else was given anything', qq{
	SELECT string_agg(c.oid::regclass || ': ' || a.grantee::regrole, ' ') FROM pg_class c, aclexplode(c.relacl) a
	WHERE $tables AND a.grantee NOT IN (0, c.relowner)});
none('no rights on single columns', qq{
	SELECT string_agg(a.attrelid::regclass || '.' || a.attname, ' ') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = $here AND a.attacl IS NOT NULL});
none('a table that everybody may read shows rows by policies, for reading only', qq{
	SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c
	WHERE relkind = 'r' AND relnamespace = $here AND has_table_privilege('public', c.oid, 'SELECT')
	  AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
			   AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd <> 'r'))});
is( sql(qq{SELECT string_agg(relname, ' ' ORDER BY relname COLLATE "C") FROM pg_class
		   WHERE relkind IN ('r', 'S') AND relnamespace = $here AND NOT has_table_privilege('public', oid, 'SELECT')}),
	'data_version dispatch_home history_fetches run_request_cancels run_requests_request_id_seq schedule_settings_schedule_id_seq',
	'these tables are nobody else\'s');
none('views are read with the rights of who reads them', qq{
	SELECT string_agg(oid::regclass::text, ' ') FROM pg_class
	WHERE relkind = 'v' AND relnamespace = $here AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)});
none('no triggers, rules, operators, casts of our own', qq{
	SELECT string_agg(pg_describe_object(classid, objid, 0), ', ')
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'databricks')
	  AND classid::regclass::text NOT IN ('pg_proc', 'pg_class', 'pg_type', 'pg_foreign_data_wrapper')});
none('nor triggers on the data tables', qq{
	SELECT string_agg(tgname, ' ') FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = $here});

# The queries above must be able to find something.
isnt( sql(qq{BEGIN; CREATE TABLE databricks.bad (); GRANT ALL ON databricks.bad TO PUBLIC;
			 SELECT string_agg(a.privilege_type, ' ') FROM pg_class c, aclexplode(c.relacl) a WHERE $tables AND a.grantee = 0 AND a.privilege_type <> 'SELECT';
			 ROLLBACK}),
	'', 'a table open to all would be found');

# What a role without any right can do: nothing but look at what is nobody's.
sql('CREATE ROLE mallory LOGIN');
my @tables = split /\n/, sql(qq{SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = $here AND has_table_privilege('mallory', oid, 'SELECT') ORDER BY 1});
sql(q{SELECT databricks.track('prod', poll_interval => '200 ms'); SELECT databricks.enqueue_run_now(1)});
sql(q{SELECT databricks.schedule('secret', '0 0 1 1 *', 1)});
wait_for('the service said no', q{SELECT count(*) = 1 FROM databricks.run_requests WHERE state = 'rejected'});
my %shows = (api_functions => 1, workspaces => 1, stat_worker => 1);
foreach my $table (@tables)
{
	next if $shows{$table};
	is(sql("SET ROLE mallory; SELECT count(*) FROM databricks.$table"), '0', "$table shows nothing to a role without USAGE");
}
is(sql('SET ROLE mallory; SELECT usable, has_mapping, tracked, paused FROM databricks.workspaces'), 'f|f|f|f', 'workspaces tells it no state');
is(sql_error($node, "SET ROLE mallory; $_")->{state}, '42501', "refused: $_")
  foreach 'CALL databricks.run_worker_once()', 'SELECT databricks.migrate()', 'SELECT databricks.data_migration_1()',
  "INSERT INTO databricks.run_history (workspace, run_id, first_seen_at, updated_at) VALUES ('x', 1, now(), now())",
  'UPDATE databricks.run_requests SET state = state', 'DELETE FROM databricks.schedule_settings', 'TRUNCATE databricks.run_history',
  'CREATE TRIGGER t AFTER INSERT ON databricks.run_history EXECUTE FUNCTION databricks.run_job_on_change()',
  'CREATE INDEX ON databricks.run_history (run_id)', 'CREATE TABLE databricks.x ()', 'CREATE FUNCTION databricks.x() RETURNS int RETURN 1',
  "SELECT nextval('databricks.run_requests_request_id_seq')", "SELECT databricks.connect('x', host => 'https://example.com')",
  "SELECT databricks.track('prod')", "SELECT databricks.untrack('prod')", "SELECT databricks.pause_workspace('prod')",
  "SELECT databricks.enqueue_run_now(1, workspace => 'prod')", "SELECT databricks.api('GET', '/api/2.2/jobs/list', workspace => 'prod')",
  "SELECT * FROM databricks.jobs";
is(sql_error($node, "SET ROLE mallory; $_")->{state}, '42704', "not found: $_")
  foreach 'SELECT databricks.cancel_request(1)', 'SELECT databricks.retry_request(1)', 'SELECT databricks.wait_for_request(1)';
isnt(sql_error($node, "SET ROLE mallory; $_")->{state}, '', "refused: $_")
  foreach "SELECT databricks.unschedule('secret')", "SELECT databricks.fire_schedule('secret')", 'SELECT databricks.tick_schedule(1)';

# --- an evil twin of every function and operator ------------------------------------

# All that can be written in PL/pgSQL: who finds one of them by a name without
# its schema leaves a line in the log.
sql(q{
	CREATE SCHEMA evil;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;
	DO $do$
	DECLARE f record; made int := 0;
	BEGIN
		FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
					format_type(p.prorettype, NULL) AS result, p.proretset
				 FROM pg_proc p
				 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
				   AND NOT p.proargtypes::oid[] && ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p')
				   AND p.proargmodes IS NULL AND p.prorettype <> ALL (ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p' AND typname <> 'void'))
		LOOP
			EXECUTE format($f$CREATE FUNCTION evil.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS
				$b$BEGIN RAISE LOG 'captured by the search path: %s'; RAISE EXCEPTION 'captured'; END$b$ $f$,
				f.proname, f.arguments, CASE WHEN f.proretset THEN 'SETOF' END, f.result, f.proname);
			made := made + 1;
		END LOOP;
		ASSERT made > 1500, made;
		made := 0;
		FOR f IN SELECT o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r,
					format_type(o.oprresult, NULL) AS result, o.oid
				 FROM pg_operator o
				 WHERE o.oprkind = 'b' AND NOT ARRAY[o.oprleft, o.oprright, o.oprresult] && ARRAY(SELECT oid FROM pg_type WHERE typtype = 'p')
		LOOP
			EXECUTE format($f$CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS
				$b$BEGIN RAISE LOG 'captured by the search path: operator'; RAISE EXCEPTION 'captured operator'; END$b$ $f$, f.oid, f.l, f.r, f.result);
			EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)', f.oprname, f.l, f.r, f.oid);
			made := made + 1;
		END LOOP;
		ASSERT made > 500, made;
	END $do$;
	ALTER DATABASE postgres SET search_path = evil, pg_catalog, public;
});
like(sql_error($node, "SELECT lower('A')")->{message}, qr/captured/, 'the evil twins are found by those who do not name the schema');
like(sql_error($node, 'SELECT 1 + 1')->{message}, qr/captured/, '... operators too');
my $captures = () = log_since($node) =~ /captured by the search path/g;

# The workers connect anew, with that search path.
sql(q{SELECT databricks.untrack('prod')});
$node->restart;
{
	local $ENV{PGOPTIONS} = '';
	my @steps = (
		q{SELECT databricks.connect('prod', server_options => '{"max_parallel": 8}')},
		q{SELECT databricks.connect('second', host => '} . $workspace->url . q{', token => '} . $workspace->token . q{')},
		q{SELECT databricks.track('prod', poll_interval => '200 ms', outputs => 'all')},
		q{SELECT databricks.upsert_job(databricks.job_settings('path', ARRAY[databricks.task('a', 'notebook', '{"notebook_path": "/a"}')],
			'{"schedule": {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}}'))},
		q{SELECT databricks.upsert_job('{"name": "path", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}}],
			"schedule": {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}}')},
		q{SELECT databricks.pause_job('path')},
		q{SELECT databricks.resume_job('path')},
		q{SELECT databricks.run_and_wait('path')},
		q{SELECT databricks.create_secret_scope('path'); SELECT databricks.put_secret('path', 'k', 'v'); SELECT databricks.get_secret('path', 'k')},
		q{SELECT databricks.upload_file('/Volumes/main/default/landing/path', '\x00'::bytea); SELECT databricks.list_files('/Volumes/main/default/landing', true)},
		q{SELECT databricks.get_permissions('jobs', databricks.find_job('path')::text)},
		q{SELECT databricks.update_permissions('jobs', databricks.find_job('path')::text, '[{"user_name": "etl@example.com", "permission_level": "CAN_VIEW"}]')},
		q{SELECT databricks.schedule('path', '0 2 * * *', 'path', timezone => 'Europe/Berlin'); SELECT databricks.fire_schedule('path')},
		q{SELECT databricks.enqueue_run_now('path', depends_on => ARRAY[databricks.enqueue_run_now('path')], on_success => 'SELECT', on_failure => 'SELECT')},
		q{CREATE TABLE public.watched (id int); CREATE TRIGGER t AFTER INSERT ON public.watched REFERENCING NEW TABLE AS n
			FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('path', 'prod', '''{}''', '100 ms'); INSERT INTO public.watched VALUES (1)},
		q{SELECT databricks.pause_workspace('second', 'x'); SELECT databricks.resume_workspace('second')});
	foreach my $step (@steps)
	{
		my ($rc, $out, $err) = $node->psql('postgres', $step, on_error_stop => 1);
		is($rc, 0, 'with evil twins: ' . substr($step =~ s/\s+/ /gr, 0, 60)) or diag $err;
	}
	wait_for('... the worker sends requests', q{SELECT pg_catalog.bool_and(state OPERATOR(pg_catalog.=) 'succeeded'::text) FROM databricks.run_requests
		WHERE job_name OPERATOR(pg_catalog.=) 'path'::text});
	wait_for('... and tracks', q{SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>=) 4::bigint FROM databricks.run_history WHERE result_state OPERATOR(pg_catalog.=) 'SUCCESS'::text});
	sql("TABLE databricks.$_") foreach grep { $_ ne 'cluster_events' } @tables;
	sql($_)
	  foreach q{SELECT databricks.report('prod')}, q{SELECT databricks.metrics()}, q{SELECT databricks.gantt((SELECT pg_catalog.max(run_id) FROM databricks.run_history), 'prod')},
	  q{SELECT databricks.find_missing_runs('1 day')}, q{SELECT databricks.unschedule('path')}, q{SELECT databricks.untrack('prod')},
	  'CALL databricks.run_worker_once()', 'DROP EXTENSION databricks CASCADE', 'CREATE EXTENSION databricks';
	is(() = log_since($node) =~ /captured by the search path/g, $captures, 'no name of ours was captured');
	sql('ALTER DATABASE postgres RESET search_path');
}

# A schema of ours that others may write to, with twins in it before the script
# runs, is the only place that CREATE EXTENSION itself searches beside pg_catalog.
sql(q{CREATE DATABASE trap});
$node->safe_psql('trap', q{
	CREATE SCHEMA databricks; GRANT ALL ON SCHEMA databricks TO mallory; SET ROLE mallory;
	CREATE FUNCTION databricks.captured(text, name) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'captured'; END$$;
	CREATE FUNCTION databricks.captured(name, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'captured'; END$$;
	CREATE OPERATOR databricks.= (LEFTARG = text, RIGHTARG = name, FUNCTION = databricks.captured);
	CREATE OPERATOR databricks.= (LEFTARG = name, RIGHTARG = text, FUNCTION = databricks.captured)});
$node->safe_psql('trap', 'CREATE EXTENSION databricks');
is( $node->safe_psql('trap', q{SELECT count(*) FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass
	AND d.refobjid IN (SELECT oid FROM pg_proc WHERE proname = 'captured') AND d.classid <> 'pg_operator'::regclass}),
	'0', 'the install script refers to nothing that lay in wait');
$node->safe_psql('trap', 'SELECT databricks.migrate()');
$node->safe_psql('trap', 'DROP SCHEMA databricks CASCADE');
$node->safe_psql('trap', q{CREATE SCHEMA databricks; GRANT ALL ON SCHEMA databricks TO mallory; SET ROLE mallory;
	CREATE TABLE databricks.run_history (x int)});
$node->safe_psql('trap', 'CREATE EXTENSION databricks');
is(sql_error($node, 'SELECT databricks.migrate()', database => 'trap')->{state}, '42501', 'a table of somebody else under the name of ours is not used');

log_lacks($node, 'no token in the log', $workspace->token);
$node->stop;
done_testing();
