/*
 * repos.c
 *	  SQL entry points that find Git folders by path.
 *
 * Separate because "nothing is there" is an answer here, not an error, which
 * SQL over api() could not tell apart.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "api/job.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_find_repo);
PG_FUNCTION_INFO_V1(databricks_known_repo);

/* The id of the Git folder at a path; false if there is nothing. */
static bool
find_repo(const DbxWorkspace *workspace, const char *path, int64 *repo_id)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;
	DbxCall		  *call;
	DbxJson		  *status;
	const char	  *type;
	bool		   git_folder;

	if (dbx_job_is_id(path, repo_id))
		return true;
	initStringInfo(&query);
	dbx_query_add(&query, "path", path);
	spec.method = "GET";
	spec.path = "/api/2.0/workspace/get-status";
	spec.query = query.data;
	spec.caller = "find_repo";
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	if (dbx_call_error(call) != NULL)
	{
		if (dbx_call_error(call)->not_found)
			return false;
		dbx_call_raise(call);
	}
	status = dbx_call_json(call);
	type = dbx_json_string(dbx_json_get(status, "object_type"));
	git_folder = type != NULL && strcmp(type, "REPO") == 0;
	/* outside of /Repos it may be called a directory */
	(void) dbx_json_bool(dbx_json_path(status, "directory_info.is_git_folder"),
						 &git_folder);
	if (!git_folder ||
		!dbx_json_int64(dbx_json_get(status, "object_id"), repo_id))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a Git folder", path),
			 type ? errdetail("It is of type %s.", type) : 0,
			 errhint(
				 "Give the path of the Git folder itself, or import_notebook() for a single notebook.")));
	return true;
}

Datum
databricks_find_repo(PG_FUNCTION_ARGS)
{
	int64 repo_id;

	dbx_arg_require(fcinfo, 0, "path");
	if (!find_repo(dbx_arg_workspace(fcinfo, 1), dbx_arg_text(fcinfo, 0),
				   &repo_id))
		PG_RETURN_NULL();
	PG_RETURN_INT64(repo_id);
}

Datum
databricks_known_repo(PG_FUNCTION_ARGS)
{
	DbxWorkspace *workspace;
	int64		  repo_id;

	dbx_arg_require(fcinfo, 0, "path");
	workspace = dbx_arg_workspace(fcinfo, 1);
	if (!find_repo(workspace, dbx_arg_text(fcinfo, 0), &repo_id))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no Git folder \"%s\" in workspace \"%s\"",
					dbx_arg_text(fcinfo, 0), workspace->name),
			 errhint(
				 "Foreign table repos shows those there are; create_repo() makes one.")));
	PG_RETURN_INT64(repo_id);
}
