
/*
 * 44_clusters.sql
 *	  Clusters: made, changed, started, stopped.
 */

CREATE FUNCTION databricks.check_cluster_size(
	num_workers pg_catalog.int4,
	min_workers pg_catalog.int4,
	max_workers pg_catalog.int4)
RETURNS pg_catalog.void
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_cluster_size';

COMMENT ON FUNCTION databricks.check_cluster_size(pg_catalog.int4, pg_catalog.int4, pg_catalog.int4) IS
'Raises 22023 unless exactly one of num_workers and the pair min_workers, max_workers is given, with numbers that can be meant. Calls nothing.';

CREATE FUNCTION databricks.create_cluster(
	spec pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.made(
	databricks.api('POST', '/api/2.1/clusters/create',
				   databricks.check_object(spec, 'spec'), workspace)
	OPERATOR(pg_catalog.->>) 'cluster_id', 'cluster_id');

COMMENT ON FUNCTION databricks.create_cluster(pg_catalog.jsonb, pg_catalog.name) IS
'Creates an all-purpose cluster from its spec (spark_version, node_type_id, num_workers or autoscale, ...), begins to start it and returns its id. POST /api/2.1/clusters/create.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: if the connection breaks, or the answer gives no id, the error is 08007; look for the cluster before you repeat it.
Errors: 22004, 22023 spec is no object; others as api().';

CREATE FUNCTION databricks.get_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api('GET', '/api/2.1/clusters/get',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);

COMMENT ON FUNCTION databricks.get_cluster(pg_catalog.text, pg_catalog.name) IS
'A cluster with its state and what was asked for (spec). GET /api/2.1/clusters/get.
Errors: 42704 no such cluster; others as api().';

CREATE FUNCTION databricks.edit_cluster(
	cluster_id pg_catalog.text,
	spec pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/edit',
					  databricks.check_object(spec, 'spec') OPERATOR(pg_catalog.||)
					  pg_catalog.jsonb_build_object('cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.edit_cluster(pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'Replaces the whole spec of a cluster; a running one restarts. POST /api/2.1/clusters/edit.
Acts at once and is not undone by ROLLBACK. Errors: 22023 spec is no object, 42704 no such cluster, HV000 neither running nor terminated; others as api().';

CREATE FUNCTION databricks.update_cluster(
	cluster_id pg_catalog.text,
	spec pg_catalog.jsonb,
	update_mask pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/update',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id'),
						  'update_mask', databricks.required(update_mask, 'update_mask'),
						  'cluster', databricks.check_object(spec, 'spec')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.update_cluster(pg_catalog.text, pg_catalog.jsonb, pg_catalog.text, pg_catalog.name) IS
'Changes the fields of a cluster that update_mask names, separated by commas without blanks (dots lead into objects, * is all), to what spec says; named ones that spec lacks are cleared. A running cluster restarts. POST /api/2.1/clusters/update.
Acts at once and is not undone by ROLLBACK. Errors: 22023 spec is no object, 42704 no such cluster, HV000 neither running nor terminated; others as api().';

CREATE FUNCTION databricks.start_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/start',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.start_cluster(pg_catalog.text, pg_catalog.name) IS
'Begins to start a terminated cluster; one that runs is left as it is. See ensure_cluster_is_running() to wait for it. POST /api/2.1/clusters/start.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster, HV000 in a state that cannot be started from; others as api().';

CREATE FUNCTION databricks.restart_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/restart',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.restart_cluster(pg_catalog.text, pg_catalog.name) IS
'Restarts a running cluster. POST /api/2.1/clusters/restart.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster, HV000 not running; others as api().';

CREATE FUNCTION databricks.resize_cluster(
	cluster_id pg_catalog.text,
	num_workers pg_catalog.int4 DEFAULT NULL,
	min_workers pg_catalog.int4 DEFAULT NULL,
	max_workers pg_catalog.int4 DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.required(cluster_id, 'cluster_id'),
	databricks.check_cluster_size(num_workers, min_workers, max_workers);
SELECT databricks.api('POST', '/api/2.1/clusters/resize',
					  databricks.omit_nulls(pg_catalog.jsonb_build_object(
						  'cluster_id', cluster_id,
						  'num_workers', num_workers,
						  'autoscale', CASE WHEN num_workers IS NULL
											THEN pg_catalog.jsonb_build_object('min_workers', min_workers,
																			   'max_workers', max_workers) END)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.resize_cluster(pg_catalog.text, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.name) IS
'Changes the size of a running cluster: to num_workers, or to grow and shrink between min_workers and max_workers. POST /api/2.1/clusters/resize.
Acts at once and is not undone by ROLLBACK. Errors: 22023 not one of the two ways, 42704 no such cluster, HV000 not running (edit_cluster() and update_cluster() also change terminated ones); others as api().';

CREATE FUNCTION databricks.terminate_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/delete',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.terminate_cluster(pg_catalog.text, pg_catalog.name) IS
'Begins to terminate a cluster; it is kept and can be started again. POST /api/2.1/clusters/delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster; others as api().';

CREATE FUNCTION databricks.permanent_delete_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/permanent-delete',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.permanent_delete_cluster(pg_catalog.text, pg_catalog.name) IS
'Removes a cluster for good; a running one is terminated first. POST /api/2.1/clusters/permanent-delete.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster; others as api().';

CREATE FUNCTION databricks.pin_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/pin',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.pin_cluster(pg_catalog.text, pg_catalog.name) IS
'Keeps a cluster in the lists however long it is terminated; for administrators. POST /api/2.1/clusters/pin.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster, 42501 not an administrator; others as api().';

CREATE FUNCTION databricks.unpin_cluster(
	cluster_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.1/clusters/unpin',
					  pg_catalog.jsonb_build_object(
						  'cluster_id', databricks.required(cluster_id, 'cluster_id')),
					  workspace);
END;

COMMENT ON FUNCTION databricks.unpin_cluster(pg_catalog.text, pg_catalog.name) IS
'Undoes pin_cluster(); for administrators. POST /api/2.1/clusters/unpin.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such cluster, 42501 not an administrator; others as api().';

CREATE FUNCTION databricks.ensure_cluster_is_running(
	cluster_id pg_catalog.text,
	timeout pg_catalog.interval DEFAULT '20 min',
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_ensure_cluster_is_running';

COMMENT ON FUNCTION databricks.ensure_cluster_is_running(pg_catalog.text, pg_catalog.interval, pg_catalog.name) IS
'Returns as soon as a cluster runs: starts it if it is terminated, waits if it is on its way or being resized, waits for the end of a termination before it starts it. Progress is told by NOTICE; outages of the service are sat out. GET /api/2.1/clusters/get, POST /api/2.1/clusters/start.
The start is not undone by ROLLBACK, nor by cancelling the wait. Errors: 42704 no such cluster, HV000 the start failed (why is in the detail), RUN06 not running within timeout (null: no limit); others as api().';
