--
-- Tracking where no worker runs: settings, data tables, rights. No call is made.
--
SET client_min_messages = warning;
CREATE ROLE regress_track_owner;
CREATE ROLE regress_track_user;
CREATE ROLE regress_track_none;
CREATE SERVER track_prod FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
CREATE SERVER track_test FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
CREATE SERVER track_bare FOREIGN DATA WRAPPER databricks OPTIONS (host 'https://127.0.0.1:9');
CREATE USER MAPPING FOR regress_track_owner SERVER track_prod OPTIONS (token 'not-a-token');
CREATE USER MAPPING FOR regress_track_owner SERVER track_test OPTIONS (token 'not-a-token');
GRANT USAGE ON FOREIGN DATA WRAPPER databricks TO regress_track_owner;
ALTER SERVER track_prod OWNER TO regress_track_owner;
ALTER SERVER track_test OWNER TO regress_track_owner;
ALTER SERVER track_bare OWNER TO regress_track_owner;
GRANT USAGE ON FOREIGN SERVER track_prod TO regress_track_user;
RESET client_min_messages;

-- without preload: the view is empty, tracking is noted with a warning
SELECT * FROM databricks.stat_worker;
SELECT * FROM databricks.stat_tracking();
SELECT * FROM databricks.tracking;

-- arguments
SELECT databricks.track('no_such_workspace');
SELECT databricks.track('track_prod', poll_interval => NULL);
SELECT databricks.track('track_prod', backfill => NULL);
SELECT databricks.track('track_prod', outputs => NULL);
SELECT databricks.track('track_prod', poll_interval => '10 ms');
SELECT databricks.track('track_prod', poll_interval => '2 days');
SELECT databricks.track('track_prod', backfill => '-1 day');
SELECT databricks.track('track_prod', retention => '0');
SELECT databricks.track('track_prod', retention => '600000 years');
SELECT databricks.track('track_prod', backfill => '9000 years');
SELECT databricks.track('track_prod', outputs => 'some');

-- for the owner of the server, with a mapping of his own
SET ROLE regress_track_user;
SELECT databricks.track('track_prod');
SELECT databricks.untrack('track_prod');
SELECT databricks.migrate();
SET ROLE regress_track_owner;
SELECT databricks.track('track_bare');
SELECT databricks.track('track_prod', poll_interval => '5 s', backfill => '7 days');
SELECT databricks.track('track_test', retention => '1 year', outputs => 'all');
RESET ROLE;
SELECT workspace, poll_interval, backfill, retention, outputs, tracked_by, last_sweep_at, sweeps
	FROM databricks.tracking ORDER BY workspace;

-- called again it changes the settings
SET client_min_messages = error;
SELECT databricks.track('track_prod', poll_interval => '1 min');
RESET client_min_messages;
SELECT workspace, poll_interval, backfill, tracked_by FROM databricks.tracking ORDER BY workspace;

-- the data tables are the extension owner's, whoever made them, and no members
SELECT c.relname, c.relkind, c.relowner = e.extowner AS owned, c.relrowsecurity,
	   EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
			   AND d.refclassid = 'pg_extension'::regclass) AS member
	FROM pg_class c, pg_extension e
	WHERE e.extname = 'databricks' AND c.relnamespace = e.extnamespace AND c.relkind IN ('r', 'v')
	  AND c.relname IN ('data_version', 'tracking_settings', 'run_history', 'run_transitions', 'active_runs', 'tracking', 'stat_worker')
	ORDER BY c.relname;
SELECT version > 0 AS made FROM databricks.data_version;
SELECT databricks.migrate();
SELECT version > 0 AS made FROM databricks.data_version;

-- nothing in them depends on the extension
SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
	JOIN pg_depend m ON m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e'
	WHERE c.relname IN ('data_version', 'tracking_settings', 'run_history', 'run_transitions', 'active_runs');

-- run_history has the columns of runs
CREATE SCHEMA track_import;
IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER track_prod INTO track_import;
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS runs, format_type(h.atttypid, h.atttypmod) AS run_history
	FROM pg_attribute a LEFT JOIN pg_attribute h
		ON h.attrelid = 'databricks.run_history'::regclass AND h.attname = a.attname AND NOT h.attisdropped
	WHERE a.attrelid = 'track_import.runs'::regclass AND a.attnum > 0
	  AND a.atttypid IS DISTINCT FROM h.atttypid
	  AND a.attname <> 'idempotency_token'	-- never given back
	ORDER BY a.attnum;
DROP SCHEMA track_import CASCADE;

-- nobody writes them; rows are visible by USAGE on the workspace
INSERT INTO databricks.run_history (workspace, run_id, state, first_seen_at, updated_at)
	VALUES ('track_prod', 1, 'RUNNING', now(), now()), ('track_test', 2, 'TERMINATED', now(), now()),
		   ('track_dropped', 3, 'RUNNING', now(), now());
INSERT INTO databricks.run_transitions VALUES ('track_prod', 1, 'RUNNING', NULL, now()), ('track_test', 2, 'RUNNING', NULL, now());
SELECT workspace, run_id FROM databricks.active_runs ORDER BY 1, 2;
SET ROLE regress_track_user;
SELECT workspace, run_id, state FROM databricks.run_history ORDER BY 1, 2;
SELECT workspace, run_id, state FROM databricks.run_transitions ORDER BY 1, 2;
SELECT workspace, run_id FROM databricks.active_runs ORDER BY 1, 2;
SELECT workspace FROM databricks.tracking ORDER BY 1;
INSERT INTO databricks.run_history (workspace, run_id, first_seen_at, updated_at) VALUES ('track_prod', 4, now(), now());
UPDATE databricks.run_history SET state = 'TERMINATED';
DELETE FROM databricks.run_transitions;
UPDATE databricks.tracking_settings SET poll_interval = '1 s';
TABLE databricks.data_version;
SET ROLE regress_track_owner;
DELETE FROM databricks.tracking_settings;
CREATE TRIGGER evil BEFORE INSERT ON databricks.run_history FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT workspace, run_id, state FROM databricks.run_history ORDER BY 1, 2;
SET ROLE regress_track_none;
SELECT count(*) FROM databricks.run_history;
SELECT count(*) FROM databricks.tracking;
RESET ROLE;

-- what belongs to somebody else is not touched
\set VERBOSITY terse
ALTER TABLE databricks.run_transitions OWNER TO regress_track_owner;
SELECT databricks.migrate();
SET ROLE regress_track_owner;
SELECT databricks.track('track_prod');
RESET ROLE;
\set VERBOSITY default
DO $$ BEGIN EXECUTE format('ALTER TABLE databricks.run_transitions OWNER TO %I', current_user); END $$;

-- tables of a later version of the extension
UPDATE databricks.data_version SET version = version + 100;
DO $$ BEGIN PERFORM databricks.migrate(); EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE NOTICE 'refused: %', regexp_replace(SQLERRM, '\d+', 'N', 'g'); END $$;
UPDATE databricks.data_version SET version = version - 100;

-- the end of tracking keeps what was seen
SET ROLE regress_track_owner;
SELECT databricks.untrack('track_prod');
SELECT databricks.untrack('track_prod');
SELECT databricks.untrack('no_such_workspace');
RESET ROLE;
SELECT workspace FROM databricks.tracking ORDER BY 1;
SELECT count(*) FROM databricks.run_history;

SET client_min_messages = warning;
DROP SERVER track_prod, track_test, track_bare CASCADE;
SELECT databricks.untrack('track_test');
SELECT count(*) FROM databricks.tracking;
DO $$
DECLARE t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'databricks'::regnamespace AND c.relkind = 'r'
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LOOP
		EXECUTE format('DROP TABLE %s CASCADE', t);
	END LOOP;
END $$;
REVOKE ALL ON FOREIGN DATA WRAPPER databricks FROM regress_track_owner;
DROP ROLE regress_track_owner, regress_track_user, regress_track_none;
