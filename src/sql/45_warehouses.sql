
/*
 * 45_warehouses.sql
 *	  SQL warehouses and pipelines: started and stopped.
 */

CREATE FUNCTION databricks.start_warehouse(
	id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST',
					  '/api/2.0/sql/warehouses/' OPERATOR(pg_catalog.||)
					  databricks.url_escape(databricks.required(id, 'id')) OPERATOR(pg_catalog.||) '/start', NULL, workspace);
END;

COMMENT ON FUNCTION databricks.start_warehouse(pg_catalog.text, pg_catalog.name) IS
'Begins to start a SQL warehouse; one that runs is left as it is. POST /api/2.0/sql/warehouses/{id}/start.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such warehouse; others as api().';

CREATE FUNCTION databricks.stop_warehouse(
	id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST',
					  '/api/2.0/sql/warehouses/' OPERATOR(pg_catalog.||)
					  databricks.url_escape(databricks.required(id, 'id')) OPERATOR(pg_catalog.||) '/stop', NULL, workspace);
END;

COMMENT ON FUNCTION databricks.stop_warehouse(pg_catalog.text, pg_catalog.name) IS
'Begins to stop a SQL warehouse; statements on it end. POST /api/2.0/sql/warehouses/{id}/stop.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such warehouse; others as api().';

CREATE FUNCTION databricks.start_pipeline_update(
	pipeline_id pg_catalog.text,
	options pg_catalog.jsonb DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.made(
	databricks.api('POST',
				   '/api/2.0/pipelines/' OPERATOR(pg_catalog.||)
				   databricks.url_escape(databricks.required(pipeline_id, 'pipeline_id')) OPERATOR(pg_catalog.||) '/updates',
				   databricks.check_object(COALESCE(options, '{}'), 'options'), workspace)
	OPERATOR(pg_catalog.->>) 'update_id', 'update_id');

COMMENT ON FUNCTION databricks.start_pipeline_update(pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'Starts an update of a pipeline and returns its id. options holds members of the call: full_refresh, refresh_selection, full_refresh_selection, validate_only and so on. POST /api/2.0/pipelines/{pipeline_id}/updates.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: if the connection breaks, or the answer gives no id, the error is 08007.
Errors: 22023 options that are no object, 42704 no such pipeline, HV000 an update is under way; others as api().';

CREATE FUNCTION databricks.stop_pipeline(
	pipeline_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST',
					  '/api/2.0/pipelines/' OPERATOR(pg_catalog.||)
					  databricks.url_escape(databricks.required(pipeline_id, 'pipeline_id')) OPERATOR(pg_catalog.||) '/stop', NULL, workspace);
END;

COMMENT ON FUNCTION databricks.stop_pipeline(pg_catalog.text, pg_catalog.name) IS
'Asks for the end of the update of a pipeline; it ends a while later, an idle pipeline is left as it is. POST /api/2.0/pipelines/{pipeline_id}/stop.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such pipeline; others as api().';
