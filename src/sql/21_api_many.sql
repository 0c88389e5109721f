
/*
 * 21_api_many.sql
 *	  Many calls of the REST API at once.
 */

CREATE FUNCTION databricks.api_many(
	calls pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL,
	OUT ordinal pg_catalog.int4,
	OUT status pg_catalog.int4,
	OUT response pg_catalog.jsonb,
	OUT error pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'databricks_api_many';

COMMENT ON FUNCTION databricks.api_many(pg_catalog.jsonb, pg_catalog.name) IS
'Many calls at once: calls is an array of objects {"method", "path", "body"}, as the arguments of api(). They are sent in parallel, up to the server option max_parallel at a time, in no certain order. Returns a row per call, in the order of the array, when all have ended: ordinal (from 1), status (HTTP; NULL where no answer came), response (the answer of a call that succeeded) and error (NULL for those). A call that fails does not hide the others and is no error of the statement.
Before anything is sent all calls are checked: one that is not valid is an error (22023), as is one that changes something in a read-only transaction (25006). Each call acts at once, is retried as far as a repeat is harmless, and is not undone by ROLLBACK.';
