
/*
 * 46_files.sql
 *	  Files of volumes, DBFS and the workspace.
 */

CREATE FUNCTION databricks.file_api(path pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_file_api';

COMMENT ON FUNCTION databricks.file_api(pg_catalog.text) IS
'Which part of the API a path belongs to: volume, dbfs or workspace. Errors: 22004, 22023 to none. Calls nothing.';

CREATE FUNCTION databricks.file_path(path pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_file_path';

COMMENT ON FUNCTION databricks.file_path(pg_catalog.text) IS
'A path as its part of the API takes it: without dbfs:, without a slash at its end. Errors: 22004, 22023 no path of a workspace. Calls nothing.';

CREATE TYPE databricks.file_entry AS (
	path pg_catalog.text,
	name pg_catalog.text,
	is_dir pg_catalog.bool,
	size pg_catalog.int8,
	modified_at pg_catalog.timestamptz
);

COMMENT ON TYPE databricks.file_entry IS
'A file or directory: its whole path as the functions for files take it, its last part, whether it is a directory, its size in bytes (null for directories and notebooks), when it was changed (null where the service does not say).';

CREATE FUNCTION databricks.upload_file(
	path pg_catalog.text,
	content pg_catalog.bytea,
	overwrite pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_upload_file';

COMMENT ON FUNCTION databricks.upload_file(pg_catalog.text, pg_catalog.bytea, pg_catalog.bool, pg_catalog.name) IS
'Writes a file. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. In a volume at most 5 GB and in one piece; in DBFS more than 1 MB goes in blocks to a part file beside it, which is then renamed (what it replaces is renamed before and deleted after, so that it is missing for a moment only); in the workspace at most 10 MB, and sources of notebooks become notebooks. An upload that breaks leaves no half file under the name. Parent directories are made, but not in the workspace. PUT /api/2.0/fs/files{path}, POST /api/2.0/dbfs/put, GET /api/2.0/dbfs/get-status, POST /api/2.0/dbfs/create, POST /api/2.0/dbfs/add-block, POST /api/2.0/dbfs/close, POST /api/2.0/dbfs/delete, POST /api/2.0/dbfs/move, POST /api/2.0/workspace/import.
Acts at once and is not undone by ROLLBACK. Errors: 22023 no path of a workspace, HV000 it exists already and overwrite is false, 42704 no such volume or folder, 54000 too large; others as api().';

CREATE FUNCTION databricks.download_file(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.bytea
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_download_file';

COMMENT ON FUNCTION databricks.download_file(pg_catalog.text, pg_catalog.name) IS
'The content of a file, less than 1 GB. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. Blocks of DBFS are read side by side, each tried again by itself; notebooks come as source. HEAD /api/2.0/fs/files{path}, HEAD /api/2.0/fs/directories{path}, GET /api/2.0/fs/files{path}, GET /api/2.0/dbfs/get-status, GET /api/2.0/dbfs/read, GET /api/2.0/workspace/export.
Errors: 22023 no path of a workspace, 42704 no such file, 54000 too large, HV000 a directory, or changed meanwhile; others as api().';

CREATE FUNCTION databricks.file_info(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS databricks.file_entry
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_file_info';

COMMENT ON FUNCTION databricks.file_info(pg_catalog.text, pg_catalog.name) IS
'What is at a path. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. HEAD /api/2.0/fs/files{path}, HEAD /api/2.0/fs/directories{path}, GET /api/2.0/dbfs/get-status, GET /api/2.0/workspace/get-status.
Errors: 22023 no path of a workspace, 42704 nothing is there; others as api().';

CREATE FUNCTION databricks.list_files(
	path pg_catalog.text,
	recursive pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS SETOF databricks.file_entry
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'databricks_list_files';

COMMENT ON FUNCTION databricks.list_files(pg_catalog.text, pg_catalog.bool, pg_catalog.name) IS
'The files and directories in a directory, with recursive all below it too, level by level, one call (or a few pages) for each directory, up to max_parallel at a time. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. GET /api/2.0/fs/directories{path}, GET /api/2.0/dbfs/list, GET /api/2.0/workspace/list.
Errors: 22023 no path of a workspace, 42704 no such directory; others as api().';

CREATE FUNCTION databricks.make_directory(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT CASE databricks.file_api(path)
	WHEN 'volume' THEN databricks.api('PUT', '/api/2.0/fs/directories' OPERATOR(pg_catalog.||)
									  databricks.url_escape(databricks.file_path(path), true), NULL, workspace)
	WHEN 'dbfs' THEN databricks.api('POST', '/api/2.0/dbfs/mkdirs',
									pg_catalog.jsonb_build_object('path', databricks.file_path(path)), workspace)
	ELSE databricks.api('POST', '/api/2.0/workspace/mkdirs',
						pg_catalog.jsonb_build_object('path', databricks.file_path(path)), workspace)
	END;
END;

COMMENT ON FUNCTION databricks.make_directory(pg_catalog.text, pg_catalog.name) IS
'Makes a directory and those above it; one that is there is left as it is. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. PUT /api/2.0/fs/directories{path}, POST /api/2.0/dbfs/mkdirs, POST /api/2.0/workspace/mkdirs.
Acts at once and is not undone by ROLLBACK. Errors: 22023 no path of a workspace, HV000 a file is in the way; others as api().';

CREATE FUNCTION databricks.dbfs_path(path pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_dbfs_path';

COMMENT ON FUNCTION databricks.dbfs_path(pg_catalog.text) IS
'file_path() of a path in DBFS. Errors: 0A000 a path elsewhere. Calls nothing.';

CREATE FUNCTION databricks.move_file(
	source pg_catalog.text,
	destination pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('POST', '/api/2.0/dbfs/move',
					  pg_catalog.jsonb_build_object('source_path', databricks.dbfs_path(source),
													'destination_path', databricks.dbfs_path(destination)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.move_file(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Gives a file or directory of DBFS another name. POST /api/2.0/dbfs/move.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: 08007 if the connection breaks. Errors: 0A000 elsewhere than in DBFS (the service cannot; download and upload it), 42704 no such file, HV000 there is something at the destination; others as api().';

CREATE FUNCTION databricks.delete_file(
	path pg_catalog.text,
	recursive pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_delete_file';

COMMENT ON FUNCTION databricks.delete_file(pg_catalog.text, pg_catalog.bool, pg_catalog.name) IS
'Deletes a file or an empty directory, with recursive a directory and all that is in it; large trees of DBFS are deleted in rounds, told by NOTICE. path: /Volumes/<catalog>/<schema>/<volume>/... (or dbfs:/Volumes/...) in a volume, dbfs:/... in DBFS, /Workspace/..., /Users/..., /Shared/..., /Repos/... in the workspace. DELETE /api/2.0/fs/files{path}, DELETE /api/2.0/fs/directories{path}, POST /api/2.0/dbfs/delete, POST /api/2.0/workspace/delete.
Acts at once and is not undone by ROLLBACK. What is deleted of a tree stays deleted if a later part fails. Errors: 22023 no path of a workspace, 42704 nothing is there (in DBFS that is no error), HV000 a directory that is not empty; others as api().';

CREATE FUNCTION databricks.upload_query(
	query pg_catalog.text,
	path pg_catalog.text,
	format pg_catalog.text DEFAULT 'csv',
	overwrite pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_upload_query';

COMMENT ON FUNCTION databricks.upload_query(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.name) IS
'Writes the result of a query to a file and returns the number of rows. format csv: a line with the names of the columns, then a line for each row; nothing for null, "" for an empty text, values as PostgreSQL writes them with ISO dates. format jsonl: one JSON object for each row. A path that ends in .gz is compressed. In UTF-8. The query runs as the current role; its result goes through a temporary file of the server (temp_file_limit counts), not through memory. Rules for the path as upload_file(). PUT /api/2.0/fs/files{path}, POST /api/2.0/dbfs/put, GET /api/2.0/dbfs/get-status, POST /api/2.0/dbfs/create, POST /api/2.0/dbfs/add-block, POST /api/2.0/dbfs/close, POST /api/2.0/dbfs/delete, POST /api/2.0/dbfs/move, POST /api/2.0/workspace/import.
Acts at once and is not undone by ROLLBACK. Errors: 22023 another format, a statement that returns no rows; others as upload_file() and those of the query.';
