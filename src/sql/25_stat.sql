
/*
 * 25_stat.sql
 *	  What calls have cost.
 */

CREATE FUNCTION databricks.stat_api(
	OUT workspace pg_catalog.name,
	OUT role pg_catalog.name,
	OUT endpoint pg_catalog.text,
	OUT calls pg_catalog.int8,
	OUT errors pg_catalog.int8,
	OUT retries pg_catalog.int8,
	OUT throttled pg_catalog.int8,
	OUT bytes_in pg_catalog.int8,
	OUT total_ms pg_catalog.float8,
	OUT mean_ms pg_catalog.float8,
	OUT max_ms pg_catalog.float8,
	OUT quota_wait_ms pg_catalog.float8)
RETURNS SETOF pg_catalog.record
LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 50
AS 'MODULE_PATHNAME', 'databricks_stat_api';

COMMENT ON FUNCTION databricks.stat_api() IS
'What view stat_api shows.';

CREATE VIEW databricks.stat_api WITH (security_invoker = true) AS
SELECT s.workspace, s.role, s.endpoint, s.calls, s.errors, s.retries, s.throttled,
	s.bytes_in, s.total_ms, s.mean_ms, s.max_ms, s.quota_wait_ms
FROM databricks.stat_api() AS s;

REVOKE ALL ON databricks.stat_api FROM PUBLIC;
GRANT SELECT ON databricks.stat_api TO PUBLIC;

COMMENT ON VIEW databricks.stat_api IS
'What the calls of this database have cost since the server started or stat_api_reset() was called: one row per workspace on which the caller has USAGE, role and endpoint. Counted over all sessions and workers when the library is in shared_preload_libraries, else in this session alone.';
COMMENT ON COLUMN databricks.stat_api.workspace IS 'Workspace called.';
COMMENT ON COLUMN databricks.stat_api.role IS 'Role in whose name it was called; NULL for the line "other" and where the role is gone.';
COMMENT ON COLUMN databricks.stat_api.endpoint IS 'Method and path behind the version of the API, with * for ids; "other": what came after the table of counters was full.';
COMMENT ON COLUMN databricks.stat_api.calls IS 'Requests sent, repeats included.';
COMMENT ON COLUMN databricks.stat_api.errors IS 'Of these, answered with an error or not at all; those given up by a cancel are not among them.';
COMMENT ON COLUMN databricks.stat_api.retries IS 'Requests sent again after such an error.';
COMMENT ON COLUMN databricks.stat_api.throttled IS 'Requests answered 429: too many.';
COMMENT ON COLUMN databricks.stat_api.bytes_in IS 'Bytes received, as transferred, with heads.';
COMMENT ON COLUMN databricks.stat_api.total_ms IS 'Milliseconds from sending to the end of the answer, summed.';
COMMENT ON COLUMN databricks.stat_api.mean_ms IS 'The same per request that has ended.';
COMMENT ON COLUMN databricks.stat_api.max_ms IS 'The same of the slowest request.';
COMMENT ON COLUMN databricks.stat_api.quota_wait_ms IS 'Milliseconds that requests were held back for the rate limit, summed.';

CREATE FUNCTION databricks.stat_api_reset()
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'databricks_stat_api_reset';

REVOKE ALL ON FUNCTION databricks.stat_api_reset() FROM PUBLIC;

COMMENT ON FUNCTION databricks.stat_api_reset() IS
'Sets the counters of view stat_api back to nothing, for all workspaces of this database. For superusers, and for those they grant EXECUTE to.';
