
/*
 * 21_checks.sql
 *	  Helpers of the functions below: checks before anything is sent, parts of URLs.
 */

CREATE FUNCTION databricks.check_one_of(
	value pg_catalog.text,
	name pg_catalog.text,
	allowed pg_catalog.text[])
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_one_of';

COMMENT ON FUNCTION databricks.check_one_of(pg_catalog.text, pg_catalog.text, pg_catalog.text[]) IS
'The value, or error 22023 with the list if it is none of those allowed, 22004 if it is null; name says in the message what it is. Calls nothing.';

CREATE FUNCTION databricks.check_object(value pg_catalog.jsonb, name pg_catalog.text)
RETURNS pg_catalog.jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_object';

COMMENT ON FUNCTION databricks.check_object(pg_catalog.jsonb, pg_catalog.text) IS
'The value, or error 22023 if it is no object, 22004 if it is null; name says in the message what it is. Calls nothing.';

CREATE FUNCTION databricks.url_escape(value pg_catalog.text, keep_slashes pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_url_escape';

COMMENT ON FUNCTION databricks.url_escape(pg_catalog.text, pg_catalog.bool) IS
'A text as a segment of a path or a value of a query string: all but letters, digits and -._~ as %XX of its UTF-8 bytes; keep_slashes leaves / as it is, for whole paths. Null for null.';

CREATE FUNCTION databricks.to_base64(content pg_catalog.bytea)
RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.translate(pg_catalog.encode(content, 'base64'), E'\n', '');

COMMENT ON FUNCTION databricks.to_base64(pg_catalog.bytea) IS
'Bytes as base64 on one line, as the service takes them.';
