
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
auth_type is how it was tried, as the server option of that name, and message why by none of the other ways; null, with the reasons in message, when nothing that could be tried is configured.
Errors: 42704 no such workspace, 42501 no USAGE on it or no right to what of this server it needs (files, environment, identity), 28000 no user mapping for it; of a profile that is to be used 58P01 no file, 22023 a line that is none, 42704 no such profile, HV024 a setting that cannot be.';

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
