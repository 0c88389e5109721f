
/*
 * 48_git.sql
 *	  Git folders and notebooks of the workspace.
 */

CREATE FUNCTION databricks.create_repo(
	url pg_catalog.text,
	provider pg_catalog.text,
	path pg_catalog.text DEFAULT NULL,
	options pg_catalog.jsonb DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.made(
	(databricks.api('POST', '/api/2.0/repos',
					databricks.omit_nulls(
						databricks.check_object(COALESCE(options, '{}'), 'options') OPERATOR(pg_catalog.||)
						pg_catalog.jsonb_build_object('url', databricks.required(url, 'url'),
													  'provider', databricks.required(provider, 'provider'),
													  'path', path)), workspace)
	 OPERATOR(pg_catalog.->>) 'id')::pg_catalog.int8, 'id');

COMMENT ON FUNCTION databricks.create_repo(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'Clones a Git repository into a folder of the workspace and returns the id of that. provider: gitHub, gitHubEnterprise, gitLab, gitLabEnterpriseEdition, bitbucketCloud, bitbucketServer, azureDevOpsServices, awsCodeCommit. path below /Repos must be /Repos/{folder}/{name}; null: a folder of the user. options: sparse_checkout, git_credential_id. POST /api/2.0/repos.
Acts at once and is not undone by ROLLBACK. Never repeated blindly: 08007 if the connection breaks, or the answer gives no id. Errors: 22023 options that are no object, HV000 there is something at this path, or a provider the service does not know; others as api().';

CREATE FUNCTION databricks.find_repo(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_find_repo';

COMMENT ON FUNCTION databricks.find_repo(pg_catalog.text, pg_catalog.name) IS
'The id of the Git folder at a path, null if nothing is there. A text of digits alone is taken for an id and returned unasked. GET /api/2.0/workspace/get-status.
Errors: 22004, 22023 something else is at this path; others as api().';

CREATE FUNCTION databricks.check_git_reference(branch pg_catalog.text, tag pg_catalog.text)
RETURNS pg_catalog.void
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_git_reference';

COMMENT ON FUNCTION databricks.check_git_reference(pg_catalog.text, pg_catalog.text) IS
'Raises 22023 unless exactly one of branch and tag is given. Calls nothing.';

CREATE FUNCTION databricks.known_repo(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.int8
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'databricks_known_repo';

COMMENT ON FUNCTION databricks.known_repo(pg_catalog.text, pg_catalog.name) IS
'find_repo(), with error 42704 instead of null. GET /api/2.0/workspace/get-status.';

CREATE FUNCTION databricks.update_repo(
	repo_id pg_catalog.int8,
	branch pg_catalog.text DEFAULT NULL,
	tag pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.required(repo_id, 'repo_id'), databricks.check_git_reference(branch, tag);
SELECT databricks.api('PATCH', '/api/2.0/repos/' OPERATOR(pg_catalog.||) repo_id::pg_catalog.text,
					  databricks.omit_nulls(pg_catalog.jsonb_build_object('branch', branch, 'tag', tag)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.update_repo(pg_catalog.int8, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Checks the newest commit of a branch, or a tag, out in a Git folder; exactly one of branch and tag. PATCH /api/2.0/repos/{repo_id}.
Acts at once and is not undone by ROLLBACK. Errors: 22023 both or none, 42704 no such folder, branch or tag, HV000 local changes are in the way; others as api().';

CREATE FUNCTION databricks.update_repo(
	path pg_catalog.text,
	branch pg_catalog.text DEFAULT NULL,
	tag pg_catalog.text DEFAULT NULL,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.required(path, 'path'), databricks.check_git_reference(branch, tag);
SELECT databricks.api('PATCH', '/api/2.0/repos/' OPERATOR(pg_catalog.||) databricks.known_repo(path, workspace)::pg_catalog.text,
					  databricks.omit_nulls(pg_catalog.jsonb_build_object('branch', branch, 'tag', tag)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.update_repo(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'Checks the newest commit of a branch, or a tag, out in a Git folder; exactly one of branch and tag. The folder is named by its path; a text of digits alone is an id. GET /api/2.0/workspace/get-status, then PATCH /api/2.0/repos/{repo_id}.
Acts at once and is not undone by ROLLBACK. Errors: 22023 both or none, 42704 no such folder, branch or tag, HV000 local changes are in the way; others as api().';

CREATE FUNCTION databricks.delete_repo(
	repo_id pg_catalog.int8,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('DELETE', '/api/2.0/repos/' OPERATOR(pg_catalog.||) databricks.required(repo_id, 'repo_id')::pg_catalog.text, NULL, workspace);
END;

COMMENT ON FUNCTION databricks.delete_repo(pg_catalog.int8, pg_catalog.name) IS
'Deletes a Git folder of the workspace; the repository is not touched. DELETE /api/2.0/repos/{repo_id}.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such folder; others as api().';

CREATE FUNCTION databricks.delete_repo(
	path pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.api('DELETE', '/api/2.0/repos/' OPERATOR(pg_catalog.||) databricks.known_repo(path, workspace)::pg_catalog.text, NULL, workspace);
END;

COMMENT ON FUNCTION databricks.delete_repo(pg_catalog.text, pg_catalog.name) IS
'Deletes a Git folder of the workspace; the repository is not touched. The folder is named by its path; a text of digits alone is an id. GET /api/2.0/workspace/get-status, then DELETE /api/2.0/repos/{repo_id}.
Acts at once and is not undone by ROLLBACK. Errors: 42704 no such folder; others as api().';

CREATE FUNCTION databricks.import_notebook(
	path pg_catalog.text,
	source pg_catalog.text,
	language pg_catalog.text DEFAULT 'PYTHON',
	overwrite pg_catalog.bool DEFAULT false,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
SELECT databricks.check_one_of(language, 'language', ARRAY['PYTHON', 'SQL', 'SCALA', 'R']);
SELECT databricks.api('POST', '/api/2.0/workspace/import',
					  pg_catalog.jsonb_build_object(
						  'path', databricks.required(path, 'path'),
						  'format', 'SOURCE',
						  'language', language,
						  'content', databricks.to_base64(
							  pg_catalog.convert_to(databricks.required(source, 'source'), 'UTF8')),
						  'overwrite', COALESCE(overwrite, false)),
					  workspace);
END;

COMMENT ON FUNCTION databricks.import_notebook(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.name) IS
'Puts a notebook into the workspace: source text in PYTHON, SQL, SCALA or R, at most 10 MB. The folder must be there (make_directory). POST /api/2.0/workspace/import.
Acts at once and is not undone by ROLLBACK. Errors: 22023 another language, 42704 no such folder, HV000 something is at this path already and overwrite is false; others as api().';

CREATE FUNCTION databricks.export_notebook(
	path pg_catalog.text,
	format pg_catalog.text DEFAULT 'SOURCE',
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.text
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN pg_catalog.convert_from(pg_catalog.decode(
	databricks.answered(
		databricks.api('GET', '/api/2.0/workspace/export',
					   pg_catalog.jsonb_build_object(
						   'path', databricks.required(path, 'path'),
						   'format', databricks.check_one_of(format, 'format', ARRAY['SOURCE', 'HTML', 'JUPYTER', 'R_MARKDOWN'])),
					   workspace)
		OPERATOR(pg_catalog.->>) 'content', 'content'), 'base64'), 'UTF8');

COMMENT ON FUNCTION databricks.export_notebook(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'A notebook as text: its source, or as HTML, JUPYTER or R_MARKDOWN. GET /api/2.0/workspace/export.
Errors: 22023 another format, 42704 nothing at this path; others as api(). For other files and formats see download_file().';
