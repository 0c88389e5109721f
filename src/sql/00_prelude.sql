\echo Use "CREATE EXTENSION databricks" to load this file. \quit

/*
 * 00_prelude.sql
 *	  What must hold before anything is created, and the schema's own rights.
 *
 * The pieces in this folder are concatenated in the order of their names. Each
 * object names its schema, operators included: while the script runs, the
 * schema being filled is searched, and what stands there is only ours because
 * of the check below.
 */

-- CREATE EXTENSION takes over an existing schema without asking whose it is.
-- Its owner could drop or replace what is in it, so only the installing role's
-- own schema will do. After DROP EXTENSION the schema remains (the data tables
-- are in it), and the same role can install again.
DO LANGUAGE plpgsql
$$
DECLARE
	owner_name pg_catalog.name;
BEGIN
	SELECT pg_catalog.pg_get_userbyid(n.nspowner) INTO owner_name
	FROM pg_catalog.pg_namespace AS n
	WHERE n.nspname OPERATOR(pg_catalog.=) 'databricks'::pg_catalog.name
	  AND n.nspowner OPERATOR(pg_catalog.<>)
		  (SELECT r.oid FROM pg_catalog.pg_roles AS r
		   WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER);

	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = pg_catalog.format('schema "databricks" belongs to role "%s"', owner_name),
			DETAIL = 'The extension keeps its objects in this schema, and the owner of a schema can drop what is in it.',
			HINT = pg_catalog.format('Create the extension as that role, or first do: ALTER SCHEMA databricks OWNER TO %I.', CURRENT_USER);
	END IF;
END
$$;

GRANT USAGE ON SCHEMA databricks TO PUBLIC;
