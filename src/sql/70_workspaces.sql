
/*
 * 70_workspaces.sql
 *	  The list of workspaces; behind the pieces it looks into.
 */

CREATE VIEW databricks.workspaces WITH (security_barrier, security_invoker = true) AS
SELECT s.srvname AS name,
	(SELECT o.option_value FROM pg_catalog.pg_options_to_table(s.srvoptions) AS o
	 WHERE o.option_name OPERATOR(pg_catalog.=) 'host') AS host,
	COALESCE((SELECT o.option_value::pg_catalog.bool
			  FROM pg_catalog.pg_options_to_table(s.srvoptions) AS o
			  WHERE o.option_name OPERATOR(pg_catalog.=) 'is_default'), false) AS is_default,
	pg_catalog.pg_get_userbyid(s.srvowner) AS owner,
	pg_catalog.has_server_privilege(s.oid, 'USAGE') AS usable,
	EXISTS (SELECT FROM pg_catalog.pg_user_mappings AS m
			WHERE m.srvid OPERATOR(pg_catalog.=) s.oid
			  AND (m.umuser OPERATOR(pg_catalog.=) 0::pg_catalog.oid
				   OR m.usename OPERATOR(pg_catalog.=) CURRENT_USER)) AS has_mapping,
	EXISTS (SELECT FROM databricks.tracked_workspaces() AS t
			WHERE t.workspace OPERATOR(pg_catalog.=) s.srvname::pg_catalog.text) AS tracked,
	databricks.pause_reason(s.srvname) IS NOT NULL AS paused,
	databricks.pause_reason(s.srvname) AS pause_reason
FROM pg_catalog.pg_foreign_server AS s
	JOIN pg_catalog.pg_foreign_data_wrapper AS w
		ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name;

GRANT SELECT ON databricks.workspaces TO PUBLIC;

COMMENT ON VIEW databricks.workspaces IS
'The workspaces of this database: foreign servers of the wrapper databricks.';
COMMENT ON COLUMN databricks.workspaces.name IS 'Name, as functions take it.';
COMMENT ON COLUMN databricks.workspaces.host IS 'Address of the workspace.';
COMMENT ON COLUMN databricks.workspaces.is_default IS 'Is it the one meant where none is named?';
COMMENT ON COLUMN databricks.workspaces.owner IS 'Role that may alter it; can redirect host and so receives the tokens of all who use it.';
COMMENT ON COLUMN databricks.workspaces.usable IS 'Has the current role USAGE on it?';
COMMENT ON COLUMN databricks.workspaces.has_mapping IS 'Are there credentials for the current role?';
COMMENT ON COLUMN databricks.workspaces.tracked IS 'Are its runs kept in run_history (see track())? False also where the current role has no USAGE.';
COMMENT ON COLUMN databricks.workspaces.paused IS 'Are requests kept from being sent (see pause_workspace())? False also where the current role has no USAGE.';
COMMENT ON COLUMN databricks.workspaces.pause_reason IS 'Why.';
