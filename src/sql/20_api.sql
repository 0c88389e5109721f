
/*
 * 20_api.sql
 *	  Any call of the REST API, and the small helpers of the functions below.
 */

CREATE FUNCTION databricks.api(
	method pg_catalog.text,
	path pg_catalog.text,
	body pg_catalog.jsonb DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_api';

COMMENT ON FUNCTION databricks.api(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'One call of the REST API: GET, POST, PUT, PATCH, DELETE or HEAD of a path that begins with /api/. For GET, HEAD and DELETE the body becomes the query string: arrays repeat the key, members of objects get dots, nulls are left out. Returns the answer; an empty one is {}.
Acts at once and is not undone by ROLLBACK. Retried as far as a repeat is harmless. What changes something is refused in a read-only transaction (25006).
Errors: 42704 not found, 42501 denied, 28000 credentials refused, 53400 rate limit or quota, 08007 outcome unknown, HV00N no connection, HV00M unreadable answer, HV000 anything else the service says.';

CREATE FUNCTION databricks.api_pages(
	path pg_catalog.text,
	items pg_catalog.text,
	query pg_catalog.jsonb DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF pg_catalog.jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'databricks_api_pages';

COMMENT ON FUNCTION databricks.api_pages(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'All elements of a list: GET of a path with the members of query as query string, page after page until the service gives no next_page_token (SCIM: until all of totalResults have come); items names the member that holds the elements.
A list of more than databricks.max_pages pages is an error (54000), as are a list of the Jobs API 2.0 that goes on, as that version has no tokens (54000), a page token that repeats (HV00M), and elements in another member than items (22023). Other errors as api().';

CREATE FUNCTION databricks.api_object(
	path pg_catalog.text,
	query pg_catalog.jsonb DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_api_object';

COMMENT ON FUNCTION databricks.api_object(pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'One whole object: GET of a path whose answer cuts its arrays into pages (jobs and runs with more than 100 tasks). All pages are fetched and their arrays joined. Errors as api().';

CREATE FUNCTION databricks.required(value pg_catalog.anyelement, name pg_catalog.text)
RETURNS pg_catalog.anyelement
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_required';

COMMENT ON FUNCTION databricks.required(pg_catalog.anyelement, pg_catalog.text) IS
'The value, or error 22004 naming the argument if it is null.';

CREATE FUNCTION databricks.answered(value pg_catalog.anyelement, name pg_catalog.text)
RETURNS pg_catalog.anyelement
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_answered';

COMMENT ON FUNCTION databricks.answered(pg_catalog.anyelement, pg_catalog.text) IS
'The value, or error HV00M naming the member that an answer of the service lacks if it is null.';

CREATE FUNCTION databricks.made(value pg_catalog.anyelement, name pg_catalog.text)
RETURNS pg_catalog.anyelement
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_made';

COMMENT ON FUNCTION databricks.made(pg_catalog.anyelement, pg_catalog.text) IS
'The value, the id of what a call has made, or error 08007 naming the member that the answer lacks if it is null: what came of the call is unknown.';

CREATE FUNCTION databricks.omit_nulls(object pg_catalog.jsonb)
RETURNS pg_catalog.jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT COALESCE(pg_catalog.jsonb_object_agg(m.key, m.value), '{}'::pg_catalog.jsonb)
		FROM pg_catalog.jsonb_each(object) AS m
		WHERE m.value OPERATOR(pg_catalog.<>) 'null'::pg_catalog.jsonb);

COMMENT ON FUNCTION databricks.omit_nulls(pg_catalog.jsonb) IS
'An object without its null members. Only the top level: what lies deeper is the caller''s, nulls included (jsonb_strip_nulls would take those too).';
