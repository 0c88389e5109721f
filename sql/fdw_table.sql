--
-- Foreign tables themselves: import, options, columns, rights. No call is made.
--
CREATE SERVER "Fdw Table" FOREIGN DATA WRAPPER databricks
	OPTIONS (host 'https://127.0.0.1:9');
CREATE SCHEMA "Fdw Schema";

-- import: all, some, all but some
IMPORT FOREIGN SCHEMA databricks FROM SERVER "Fdw Table" INTO "Fdw Schema";
\d "Fdw Schema".*
SET client_min_messages = warning;
DROP SCHEMA "Fdw Schema" CASCADE;
RESET client_min_messages;
CREATE SCHEMA "Fdw Schema";
IMPORT FOREIGN SCHEMA databricks LIMIT TO (runs) FROM SERVER "Fdw Table" INTO "Fdw Schema";
SELECT c.oid::regclass, t.ftoptions FROM pg_foreign_table t JOIN pg_class c ON c.oid = t.ftrelid
	WHERE c.relnamespace = '"Fdw Schema"'::regnamespace ORDER BY c.relname;
IMPORT FOREIGN SCHEMA databricks EXCEPT (runs, "no such") FROM SERVER "Fdw Table" INTO "Fdw Schema";
SELECT c.oid::regclass, t.ftoptions FROM pg_foreign_table t JOIN pg_class c ON c.oid = t.ftrelid
	WHERE c.relnamespace = '"Fdw Schema"'::regnamespace ORDER BY c.relname;

-- import: options for each table
CREATE SCHEMA "Fdw Options";
IMPORT FOREIGN SCHEMA databricks LIMIT TO (jobs, runs) FROM SERVER "Fdw Table" INTO "Fdw Options"
	OPTIONS (updatable 'false', cache_ttl '10s');
SELECT c.relname, t.ftoptions FROM pg_foreign_table t JOIN pg_class c ON c.oid = t.ftrelid
	WHERE c.relnamespace = '"Fdw Options"'::regnamespace ORDER BY c.relname;
IMPORT FOREIGN SCHEMA databricks LIMIT TO (secrets) FROM SERVER "Fdw Table" INTO "Fdw Options" OPTIONS (resource 'jobs');

-- import: what cannot be
IMPORT FOREIGN SCHEMA databricks LIMIT TO (jobs, "Runs") FROM SERVER "Fdw Table" INTO "Fdw Schema";
IMPORT FOREIGN SCHEMA public FROM SERVER "Fdw Table" INTO "Fdw Schema";
IMPORT FOREIGN SCHEMA databricks LIMIT TO (secrets) FROM SERVER "Fdw Table" INTO "Fdw Options" OPTIONS (import_default 'true');
IMPORT FOREIGN SCHEMA databricks FROM SERVER "Fdw Table" INTO "Fdw Schema";

SET search_path = "Fdw Schema", public;

-- the option names the resource, so that a table can have any name
ALTER FOREIGN TABLE runs RENAME TO "Our Runs";
EXPLAIN (COSTS OFF) SELECT run_id FROM "Our Runs";
CREATE FOREIGN TABLE "Our Jobs" (name text) SERVER "Fdw Table" OPTIONS (resource 'jobs');
EXPLAIN (COSTS OFF) SELECT * FROM "Our Jobs";
DROP FOREIGN TABLE jobs;
CREATE FOREIGN TABLE jobs (name text, job_id bigint) SERVER "Fdw Table";
EXPLAIN (COSTS OFF) SELECT * FROM jobs WHERE job_id = 1;
CREATE FOREIGN TABLE orders (job_id bigint) SERVER "Fdw Table";
SELECT * FROM orders;
ALTER FOREIGN TABLE orders OPTIONS (ADD resource 'job');
EXPLAIN SELECT * FROM orders;
CREATE FOREIGN TABLE wrong_option (job_id bigint) SERVER "Fdw Table" OPTIONS (resorce 'jobs');
CREATE FOREIGN TABLE wrong_option (job_id bigint) SERVER "Fdw Table" OPTIONS (pushdown 'perhaps');

-- columns: in any order, any of them, but no others, and of their own type
ALTER FOREIGN TABLE jobs DROP COLUMN name;
ALTER FOREIGN TABLE jobs ADD COLUMN tags jsonb, ADD COLUMN workspace name;
EXPLAIN (COSTS OFF, VERBOSE) SELECT * FROM jobs WHERE job_id = 1;
ALTER FOREIGN TABLE jobs ADD COLUMN owner text;
SELECT job_id FROM jobs;
ALTER FOREIGN TABLE jobs DROP COLUMN owner;
ALTER FOREIGN TABLE jobs ALTER COLUMN job_id TYPE integer;
SELECT tags FROM jobs;
ALTER FOREIGN TABLE jobs ALTER COLUMN job_id TYPE bigint;
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs;
CREATE FOREIGN TABLE nothing () SERVER "Fdw Table" OPTIONS (resource 'jobs');
EXPLAIN (COSTS OFF) SELECT count(*) FROM nothing;

-- columns under other names, by name or path of the resource's
CREATE FOREIGN TABLE named (id bigint OPTIONS (path 'job_id'), title text OPTIONS (path 'settings.name'))
	SERVER "Fdw Table" OPTIONS (resource 'jobs');
EXPLAIN (COSTS OFF) SELECT title FROM named WHERE id = 5;
EXPLAIN (COSTS OFF) SELECT id FROM named WHERE title = 'x';
-- and what is at any path; what lists do not show is asked for where it is used
ALTER FOREIGN TABLE named ADD COLUMN more jsonb OPTIONS (path 'settings.email_notifications.on_failure'),
	ADD COLUMN tasks_as_text text OPTIONS (path 'settings.tasks'), ADD COLUMN made bigint OPTIONS (path 'created_time');
EXPLAIN (COSTS OFF) SELECT id, more, made FROM named;
EXPLAIN (COSTS OFF) SELECT id, tasks_as_text FROM named WHERE more IS NOT NULL;
ALTER FOREIGN TABLE named ADD COLUMN wrong text OPTIONS (path 'settings..name');
ALTER FOREIGN TABLE named ADD COLUMN wrong text OPTIONS (path '.settings');
ALTER FOREIGN TABLE named ADD COLUMN wrong text OPTIONS (path '=path');
ALTER FOREIGN TABLE named ADD COLUMN wrong text OPTIONS (path '');
ALTER FOREIGN TABLE named ADD COLUMN wrong numeric OPTIONS (path 'settings.timeout_seconds');
EXPLAIN (COSTS OFF) SELECT id FROM named;
ALTER FOREIGN TABLE named DROP COLUMN wrong, ADD COLUMN above bigint OPTIONS (path '^job_id');
EXPLAIN (COSTS OFF) SELECT id FROM named;
ALTER FOREIGN TABLE named DROP COLUMN above;
ALTER FOREIGN TABLE named ALTER COLUMN more OPTIONS (ADD resource 'jobs');
DROP FOREIGN TABLE named;

-- nothing is written without credentials, copied or locked
CREATE ROLE regress_fdw_writer SUPERUSER;
SET ROLE regress_fdw_writer;
INSERT INTO jobs (tags) VALUES ('{}');
UPDATE jobs SET tags = '{}';
DELETE FROM jobs;
RESET ROLE;
DROP ROLE regress_fdw_writer;
COPY jobs FROM STDIN;
\.
SELECT * FROM jobs FOR UPDATE;
SELECT * FROM jobs FOR SHARE;
SELECT table_name, is_insertable_into FROM information_schema.tables
	WHERE table_schema = 'Fdw Schema' ORDER BY table_name;

-- rights: the table, the server, the mapping
CREATE ROLE regress_fdw_table;
CREATE ROLE regress_fdw_owner;
GRANT USAGE ON SCHEMA "Fdw Schema" TO regress_fdw_table, regress_fdw_owner;
SET ROLE regress_fdw_table;
SELECT job_id FROM jobs;
RESET ROLE;
GRANT SELECT ON jobs TO regress_fdw_table, regress_fdw_owner;
SET ROLE regress_fdw_table;
SELECT job_id FROM jobs;
EXPLAIN (COSTS OFF) SELECT job_id FROM jobs;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER "Fdw Table" TO regress_fdw_table;
SET ROLE regress_fdw_table;
SELECT job_id FROM jobs;
RESET ROLE;

-- where a view is read, its owner reads the table
CREATE VIEW owned AS SELECT job_id FROM jobs;
ALTER VIEW owned OWNER TO regress_fdw_owner;
GRANT SELECT ON owned TO regress_fdw_table;
SET ROLE regress_fdw_table;
SELECT * FROM owned;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER "Fdw Table" TO regress_fdw_owner;
SET ROLE regress_fdw_table;
SELECT * FROM owned;
RESET ROLE;

SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA "Fdw Schema" CASCADE;
DROP SERVER "Fdw Table" CASCADE;
DROP ROLE regress_fdw_table, regress_fdw_owner;
