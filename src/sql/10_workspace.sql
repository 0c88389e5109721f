
/*
 * 10_workspace.sql
 *	  The wrapper whose servers are workspaces, and what connects them.
 */

CREATE FUNCTION databricks.fdw_handler()
RETURNS pg_catalog.fdw_handler
LANGUAGE c STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_fdw_handler';

COMMENT ON FUNCTION databricks.fdw_handler() IS
'Handler of the foreign-data wrapper databricks. Not to be called.';

CREATE FUNCTION databricks.fdw_validator(options pg_catalog.text[], catalog pg_catalog.oid)
RETURNS pg_catalog.void
LANGUAGE c STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_fdw_validator';

COMMENT ON FUNCTION databricks.fdw_validator(pg_catalog.text[], pg_catalog.oid) IS
'Checks the options of servers, user mappings and foreign tables of the wrapper databricks.';

CREATE FOREIGN DATA WRAPPER databricks
	HANDLER databricks.fdw_handler
	VALIDATOR databricks.fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER databricks IS
'Databricks workspaces: each server of this wrapper is one workspace, each user mapping the credentials of a role.';

CREATE FUNCTION databricks.check_connection(
	workspace pg_catalog.name DEFAULT NULL,
	OUT ok pg_catalog.bool,
	OUT user_name pg_catalog.text,
	OUT auth_type pg_catalog.text,
	OUT latency pg_catalog.interval,
	OUT message pg_catalog.text)
RETURNS pg_catalog.record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_check_connection';

COMMENT ON FUNCTION databricks.check_connection(pg_catalog.name) IS
'Can this workspace be reached, and as whom? One row; a failure of the service or the network is told in it, never raised.
Asks GET /api/2.0/preview/scim/v2/Me, once, without retries. latency is the time of that call.
Errors: 42704 no such workspace, 42501 no USAGE on it, 28000 no credentials for it.';

CREATE FUNCTION databricks.connect(
	workspace pg_catalog.name,
	host pg_catalog.text DEFAULT NULL,
	token pg_catalog.text DEFAULT NULL,
	client_id pg_catalog.text DEFAULT NULL,
	client_secret pg_catalog.text DEFAULT NULL,
	for_role pg_catalog.name DEFAULT NULL,
	server_options pg_catalog.jsonb DEFAULT NULL,
	user_options pg_catalog.jsonb DEFAULT NULL,
	schema pg_catalog.name DEFAULT NULL,
	OUT ok pg_catalog.bool,
	OUT user_name pg_catalog.text,
	OUT auth_type pg_catalog.text,
	OUT latency pg_catalog.interval,
	OUT message pg_catalog.text)
RETURNS pg_catalog.record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_connect';

COMMENT ON FUNCTION databricks.connect(pg_catalog.name, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.name, pg_catalog.jsonb, pg_catalog.jsonb, pg_catalog.name) IS
'Makes a workspace usable, or changes how: creates or alters the server and the user mapping of for_role (default: the caller; public: everybody), imports the foreign tables that are missing into schema (default: databricks for the first workspace, a schema named like the workspace for others) and creates the data tables. A second call changes only what is given; an option that is null in server_options or user_options is dropped.
Returns the row of check_connection(); a wrong token shows there and undoes nothing. Secrets given here reach no log.
Errors: 22004 host missing for a new workspace, HV00D unknown option, HV024 bad value, 42501 rights of CREATE SERVER missing.';

CREATE VIEW databricks.workspaces WITH (security_barrier) AS
SELECT s.srvname AS workspace,
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
				   OR m.usename OPERATOR(pg_catalog.=) CURRENT_USER)) AS has_mapping
FROM pg_catalog.pg_foreign_server AS s
	JOIN pg_catalog.pg_foreign_data_wrapper AS w
		ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
WHERE w.fdwname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name;

GRANT SELECT ON databricks.workspaces TO PUBLIC;

COMMENT ON VIEW databricks.workspaces IS
'The workspaces of this database: foreign servers of the wrapper databricks.';
COMMENT ON COLUMN databricks.workspaces.workspace IS 'Name, as functions take it.';
COMMENT ON COLUMN databricks.workspaces.host IS 'Address of the workspace.';
COMMENT ON COLUMN databricks.workspaces.is_default IS 'Is it the one meant where none is named?';
COMMENT ON COLUMN databricks.workspaces.owner IS 'Role that may alter it; can redirect host and so receives the tokens of all who use it.';
COMMENT ON COLUMN databricks.workspaces.usable IS 'Has the current role USAGE on it?';
COMMENT ON COLUMN databricks.workspaces.has_mapping IS 'Are there credentials for the current role?';
