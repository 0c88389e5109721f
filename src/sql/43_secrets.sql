
/*
 * 43_secrets.sql
 *	  Secrets: scopes, values, who may read them.
 */

CREATE FUNCTION databricks.create_secret_scope(
	scope pg_catalog.text,
	initial_manage_principal pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.0/secrets/scopes/create',
					  databricks.omit_nulls(pg_catalog.jsonb_build_object(
						  'scope', databricks.required(scope, 'scope'),
						  'initial_manage_principal', initial_manage_principal)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.create_secret_scope(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Creates a scope for secrets. initial_manage_principal: users lets every user manage it; else only its maker may. POST /api/2.0/secrets/scopes/create.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: 08007 if the connection breaks. Errors: HV000 there is one of this name; others as api().';

CREATE FUNCTION databricks.delete_secret_scope(
	scope pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.0/secrets/scopes/delete',
					  pg_catalog.jsonb_build_object(
						  'scope', databricks.required(scope, 'scope')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.delete_secret_scope(pg_catalog.text, pg_catalog.name) IS
'Deletes a scope with all its secrets. POST /api/2.0/secrets/scopes/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such scope, 42501 not a manager of it; others as api().';

CREATE FUNCTION databricks.put_secret(
	scope pg_catalog.text,
	key pg_catalog.text,
	value pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_put_secret';

COMMENT ON FUNCTION databricks.put_secret(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Stores a secret, whether it is there or not; at most 128 KB. POST /api/2.0/secrets/put.
Acts at once and is not undone by ROLLBACK. The statement is hidden from the log and from pg_stat_activity while it runs, the value is masked in all messages; settings that log every statement (log_statement, log_min_duration_statement, auto_explain, pg_stat_statements) see the text before: pass the value as a parameter, or from a table.
Errors: 42704 no such scope, 42501 no right to write in it, 54000 too long; others as api().';

CREATE FUNCTION databricks.put_secret(
	scope pg_catalog.text,
	key pg_catalog.text,
	value pg_catalog.bytea,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_put_secret_bytes';

COMMENT ON FUNCTION databricks.put_secret(pg_catalog.text, pg_catalog.text, pg_catalog.bytea, pg_catalog.name) IS
'Stores bytes as a secret, whether it is there or not; at most 128 KB. POST /api/2.0/secrets/put.
Acts at once and is not undone by ROLLBACK. The statement is hidden from the log and from pg_stat_activity while it runs, the value is masked in all messages; settings that log every statement (log_statement, log_min_duration_statement, auto_explain, pg_stat_statements) see the text before: pass the value as a parameter, or from a table.
Errors: 42704 no such scope, 42501 no right to write in it, 54000 too long; others as api().';

CREATE FUNCTION databricks.get_secret(
	scope pg_catalog.text,
	key pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_get_secret';

COMMENT ON FUNCTION databricks.get_secret(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'The value of a secret as text. GET /api/2.0/secrets/get.
Errors: 42704 no such scope or secret, 42501 no right to read it, 22021 not text (see get_secret_bytes); others as api(). Some workspaces give values to notebooks only and refuse (HV000).';

CREATE FUNCTION databricks.get_secret_bytes(
	scope pg_catalog.text,
	key pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.bytea
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_get_secret_bytes';

COMMENT ON FUNCTION databricks.get_secret_bytes(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'The value of a secret as bytes. GET /api/2.0/secrets/get.
Errors: 42704 no such scope or secret, 42501 no right to read it; others as api().';

CREATE FUNCTION databricks.delete_secret(
	scope pg_catalog.text,
	key pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.0/secrets/delete',
					  pg_catalog.jsonb_build_object(
						  'scope', databricks.required(scope, 'scope'),
						  'key', databricks.required(key, 'key')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.delete_secret(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Deletes a secret. POST /api/2.0/secrets/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such scope or secret, 42501 no right to write; others as api().';

CREATE FUNCTION databricks.put_secret_acl(
	scope pg_catalog.text,
	principal pg_catalog.text,
	permission pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.check_one_of(permission, 'permission', ARRAY['READ', 'WRITE', 'MANAGE']);
SELECT databricks.api('POST', '/api/2.0/secrets/acls/put',
					  pg_catalog.jsonb_build_object(
						  'scope', databricks.required(scope, 'scope'),
						  'principal', databricks.required(principal, 'principal'),
						  'permission', databricks.required(permission, 'permission')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.put_secret_acl(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Gives a user, group or service principal a right on a scope: READ, WRITE or MANAGE, each holding those before it. POST /api/2.0/secrets/acls/put.
Acts at once and is not undone by ROLLBACK. Errors: 22023 another right, 42704 no such scope, 42501 not a manager of it; others as api().';

CREATE FUNCTION databricks.delete_secret_acl(
	scope pg_catalog.text,
	principal pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.0/secrets/acls/delete',
					  pg_catalog.jsonb_build_object(
						  'scope', databricks.required(scope, 'scope'),
						  'principal', databricks.required(principal, 'principal')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.delete_secret_acl(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Takes the right of a user, group or service principal on a scope away. POST /api/2.0/secrets/acls/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such scope or no right there; others as api().';
