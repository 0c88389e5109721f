
/*
 * 49_statements.sql
 *	  SQL on a warehouse.
 */

CREATE FUNCTION databricks.query(
	statement pg_catalog.text,
	warehouse_id pg_catalog.text,
	parameters pg_catalog.jsonb DEFAULT NULL,
	catalog pg_catalog.text DEFAULT NULL,
	schema pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF pg_catalog.record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'databricks_query';

COMMENT ON FUNCTION databricks.query(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Runs a SQL statement on a warehouse and returns its rows, as the columns declared in the query: SELECT * FROM databricks.query(''SELECT id, day FROM sales'', ''1234567890abcdef'') AS s(id bigint, day date). Columns go by position; values are read as the declared types, BINARY as bytea, INTERVAL as interval, ARRAY as an array, STRUCT as a composite type (fields by name), and these and MAP as json, jsonb or text. parameters are named, :name in the statement: {"name": value}, where strings are sent as STRING, numbers as BIGINT, DECIMAL or DOUBLE, booleans as BOOLEAN, null as NULL, or {"name": {"value": "2026-11-22", "type": "DATE"}}. catalog, schema: where names are looked up. A stopped warehouse starts by itself. Chunks of the result are fetched side by side. The statement is cancelled in Databricks when this one is cancelled, or cannot hear of its end. POST /api/2.0/sql/statements, then GET /api/2.0/sql/statements/{id}, GET /api/2.0/sql/statements/{id}/result/chunks/{n}; POST /api/2.0/sql/statements/{id}/cancel.
What the statement changes there is not undone by ROLLBACK. Never submitted twice blindly: 08007 if the connection breaks meanwhile. Errors: 42804 another number of columns, 0A000 none declared, HV000 the statement failed or was cancelled there, HV00M less of the result than the service announced, 54000 a result of more than 25 MB (see databricks.external_links), 42501 no such warehouse or no right to use it; others as api().';

CREATE FUNCTION databricks.query_json(
	statement pg_catalog.text,
	warehouse_id pg_catalog.text,
	parameters pg_catalog.jsonb DEFAULT NULL,
	catalog pg_catalog.text DEFAULT NULL,
	schema pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF pg_catalog.jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'databricks_query_json';

COMMENT ON FUNCTION databricks.query_json(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Runs a SQL statement on a warehouse and returns each row as an object: numbers, booleans, ARRAY, MAP and STRUCT as JSON, all else as text. Of columns with the same name the last counts. parameters are named, :name in the statement: {"name": value}, where strings are sent as STRING, numbers as BIGINT, DECIMAL or DOUBLE, booleans as BOOLEAN, null as NULL, or {"name": {"value": "2026-11-22", "type": "DATE"}}. catalog, schema: where names are looked up. A stopped warehouse starts by itself. Chunks of the result are fetched side by side. The statement is cancelled in Databricks when this one is cancelled, or cannot hear of its end. POST /api/2.0/sql/statements, then GET /api/2.0/sql/statements/{id}, GET /api/2.0/sql/statements/{id}/result/chunks/{n}; POST /api/2.0/sql/statements/{id}/cancel.
What the statement changes there is not undone by ROLLBACK. Never submitted twice blindly: 08007 if the connection breaks meanwhile. Errors: HV000 the statement failed or was cancelled there, HV00M less of the result than the service announced, 54000 a result of more than 25 MB (see databricks.external_links), 42501 no such warehouse or no right to use it; others as api().';

CREATE FUNCTION databricks.start_statement(
	statement pg_catalog.text,
	warehouse_id pg_catalog.text,
	parameters pg_catalog.jsonb DEFAULT NULL,
	catalog pg_catalog.text DEFAULT NULL,
	schema pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_start_statement';

COMMENT ON FUNCTION databricks.start_statement(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Submits a SQL statement to a warehouse and returns its id without waiting for its end; statement_result() does, now or in another session. Arguments as query_json(). POST /api/2.0/sql/statements.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: 08007 if the connection breaks. Errors: 42501 no such warehouse or no right to use it; others as api().';

CREATE FUNCTION databricks.statement_result(
	statement_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF pg_catalog.jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'databricks_statement_result';

COMMENT ON FUNCTION databricks.statement_result(pg_catalog.text, pg_catalog.name) IS
'Waits for the end of a statement that start_statement() submitted and returns its rows as query_json() does, as often as wanted while the service keeps them (about an hour). A cancelled wait leaves the statement alone. GET /api/2.0/sql/statements/{id}, GET /api/2.0/sql/statements/{id}/result/chunks/{n}.
Errors: HV000 it failed, was cancelled, or its result is gone; 42704 no such statement; others as api().';
