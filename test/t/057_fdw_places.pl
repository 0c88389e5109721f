# 057_fdw_places.pl - foreign tables in the places where tables stand.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Databricks::Test;

my $one = Databricks::Test::Workspace->start;
my $two = Databricks::Test::Workspace->start;
my $node = new_node('main');

connect_workspace($node, $one);
connect_workspace($node, $two, name => 'other');
$node->safe_psql('postgres', <<~'SQL');
	ALTER DATABASE postgres SET search_path = databricks, public;
	ALTER DATABASE postgres SET timezone = 'UTC';
	SQL
$one->post('seed', { jobs => 3, runs => 60, days => 20, seed => 1 });
$two->post('seed', { jobs => 2, runs => 40, days => 20, seed => 2 });

sub gives
{
	my ($sql, $result, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('postgres', $sql), $result, $name);
}

gives('SELECT workspace, count(*) FROM (SELECT workspace FROM databricks.runs UNION ALL SELECT workspace FROM other.runs) AS r GROUP BY 1 ORDER BY 1',
	"other|40\nprod|60", 'UNION ALL over two workspaces');
gives('SELECT count(*) FROM databricks.jobs AS a CROSS JOIN other.jobs AS b', 6, 'a join of two workspaces');

# partitions
$node->safe_psql('postgres', <<~'SQL');
	CREATE TABLE all_runs (workspace name, run_id bigint, job_id bigint, start_time timestamptz) PARTITION BY LIST (workspace);
	CREATE FOREIGN TABLE all_runs_one PARTITION OF all_runs FOR VALUES IN ('prod') SERVER prod OPTIONS (resource 'runs');
	CREATE FOREIGN TABLE all_runs_two PARTITION OF all_runs FOR VALUES IN ('other') SERVER other OPTIONS (resource 'runs');
	SQL
gives('SELECT workspace, count(*) FROM all_runs GROUP BY 1 ORDER BY 1', "other|40\nprod|60", 'partitions in several workspaces');
my $mark = $two->mark;
gives(q{SELECT count(*) FROM all_runs WHERE workspace = 'prod'}, 60, 'one of them');
is($two->mark, $mark, 'asks the other for nothing');
gives('SELECT count(*), bool_and(ordered) FROM (SELECT start_time <= lag(start_time) OVER () IS NOT FALSE AS ordered
		FROM (SELECT start_time FROM all_runs ORDER BY start_time DESC LIMIT 30) AS r) AS o',
	'30|t', 'the newest of all');

# views
gives(q{CREATE MATERIALIZED VIEW kept AS SELECT job_id, count(*) AS n FROM runs GROUP BY 1; SELECT count(*), sum(n) FROM kept;
	CREATE UNIQUE INDEX ON kept (job_id); REFRESH MATERIALIZED VIEW CONCURRENTLY kept; SELECT sum(n) FROM kept},
	"3|60\n60", 'a materialized view');
gives(q{CREATE VIEW guarded WITH (security_barrier) AS SELECT run_id, job_id, start_time FROM runs WHERE job_id = (SELECT max(job_id) FROM jobs);
	SELECT count(*) > 0, count(DISTINCT job_id) FROM guarded WHERE run_id > 0},
	't|1', 'a security_barrier view');
$node->safe_psql('postgres', 'CREATE ROLE stranger; GRANT SELECT ON guarded TO stranger; GRANT USAGE ON SCHEMA databricks, public TO stranger');
gives('SET ROLE stranger; SELECT count(*) > 0 FROM guarded', 't', 'somebody without rights may read it');
like($node->safe_psql('postgres', 'SET ROLE stranger; EXPLAIN (COSTS OFF) SELECT count(*) FROM databricks.jobs'),
	qr/Request: GET/, 'EXPLAIN by a role without rights');
is(sql_error($node, 'SET ROLE stranger; SELECT count(*) FROM databricks.jobs')->{state}, '42501', 'who may not run it');

# statements
gives('COPY (SELECT count(*) FROM runs) TO STDOUT', 60, 'COPY of a query');
gives('BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT run_id FROM runs; FETCH 1 FROM c \g /dev/null
	COMMIT; MOVE ALL FROM c; CLOSE c', '', 'a cursor that outlives its transaction');
gives(q{CREATE FUNCTION walk() RETURNS int LANGUAGE plpgsql AS $$
	DECLARE r record; n int := 0; BEGIN
		FOR r IN SELECT run_id FROM databricks.runs LOOP
			BEGIN
				n := n + 1;
				IF n % 10 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP;
		RETURN n; END $$;
	SELECT walk()}, 60, 'a loop with subtransactions that fail');
gives('BEGIN; SAVEPOINT s; SELECT count(*) FROM runs; ROLLBACK TO s; SELECT count(*) FROM runs; COMMIT', "60\n60", 'savepoints');
my ($ids) = $node->safe_psql('postgres', 'SELECT ARRAY(SELECT run_id FROM runs LIMIT 3)');
gives(qq{PREPARE p(bigint[]) AS SELECT count(*) FROM runs WHERE run_id = ANY (\$1);
	SET plan_cache_mode = force_custom_plan; EXECUTE p('$ids');
	SET plan_cache_mode = force_generic_plan; EXECUTE p('$ids'); EXECUTE p(NULL); EXECUTE p('{}')},
	"3\n3\n0\n0", 'custom and generic plans');
gives('CREATE TABLE seen AS SELECT run_id FROM runs; DELETE FROM seen USING runs WHERE seen.run_id = runs.run_id AND start_time IS NOT NULL;
	SELECT count(*) FROM seen', 0, 'the other side of a DELETE');
gives('WITH RECURSIVE w(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM w WHERE n < 3 AND EXISTS (SELECT FROM jobs))
	SELECT count(*) FROM w', 3, 'in a recursive query');
is(sql_error($node, 'SELECT * FROM databricks.runs FOR UPDATE')->{state}, '0A000', 'rows are not locked');

done_testing();
