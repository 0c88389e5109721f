/*
 * resource_files.c
 *	  Descriptors of what has a path: files, workspace objects, Git folders.
 *
 * Separate because a resource is data.  Files are those of volumes and of DBFS:
 * two calls, told apart by the path.  Everything here is constant.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

static bool is_file_folder(const DbxJson *element);
static bool is_object_folder(const DbxJson *element);

/* A table reads best with one column to an entry. */
/* clang-format off */
#define WORKSPACE_COLUMN \
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL}, \
	"Workspace (foreign server)."}
#define RAW_COLUMN \
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, 0, {NULL}, \
	"The element as the service sent it."}
#define TREE_COLUMNS \
	{"path", TEXTOID, DBX_CONVERT_TEXT, 0, {"=path"}, \
	"Folder that is listed; must be given."}, \
	{"recursive", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"=recursive"}, \
	"Is what lies in folders of it listed too? Only if the query says so."}

static const DbxColumn file_columns[] = {
	WORKSPACE_COLUMN,
	TREE_COLUMNS,
	{"file_path", TEXTOID, DBX_CONVERT_TEXT, 0, {"path"},
	"Path of the file or folder."},
	{"name", TEXTOID, DBX_CONVERT_BASENAME, 0, {"path"},
	"The last part of the path."},
	{"is_directory", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"is_directory", "is_dir"},
	"Is it a folder?"},
	{"file_size", INT8OID, DBX_CONVERT_BIGINT, 0, {"file_size"},
	"Size in bytes."},
	{"modification_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0,
		{"last_modified", "modification_time"},
	"When it was last changed."},
	RAW_COLUMN
};

static const DbxColumn object_columns[] = {
	WORKSPACE_COLUMN,
	TREE_COLUMNS,
	{"object_path", TEXTOID, DBX_CONVERT_TEXT, 0, {"path"},
	"Path of the object."},
	{"name", TEXTOID, DBX_CONVERT_BASENAME, 0, {"path"},
	"The last part of the path."},
	{"object_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"object_type"},
	"NOTEBOOK, DIRECTORY, LIBRARY, FILE, REPO or DASHBOARD."},
	{"object_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"object_id"},
	"Id of the object."},
	{"language", TEXTOID, DBX_CONVERT_TEXT, 0, {"language"},
	"Language of a notebook."},
	{"size", INT8OID, DBX_CONVERT_BIGINT, 0, {"size"},
	"Size of a file in bytes."},
	{"created_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"created_at"},
	"When it was made."},
	{"modification_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"modified_at"},
	"When it was last changed."},
	RAW_COLUMN
};

static const DbxColumn repo_columns[] = {
	WORKSPACE_COLUMN,
	{"repo_id", INT8OID, DBX_CONVERT_BIGINT, 0, {"id"},
	"Id of the Git folder. A condition on it is a call of repos/{id}."},
	{"path", TEXTOID, DBX_CONVERT_TEXT, 0, {"path"},
	"Its path in the workspace. Equality is sent to the service."},
	{"url", TEXTOID, DBX_CONVERT_TEXT, 0, {"url"},
	"Address of the repository."},
	{"provider", TEXTOID, DBX_CONVERT_TEXT, 0, {"provider"},
	"gitHub, gitLab, bitbucketCloud, azureDevOpsServices, ..."},
	{"branch", TEXTOID, DBX_CONVERT_TEXT, 0, {"branch"},
	"Branch that is checked out."},
	{"head_commit_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"head_commit_id"},
	"Commit that is checked out."},
	{"sparse_checkout", JSONBOID, DBX_CONVERT_JSONB, 0, {"sparse_checkout"},
	"Parts that are checked out, {patterns}."},
	RAW_COLUMN
};
/* clang-format on */

static const DbxFilter tree_filters[] = {{"path", DBX_FILTER_EQUAL, "path",
										  NULL, .required = true},
										 {"recursive", DBX_FILTER_TREE, NULL,
										  NULL}};

static const DbxFilter repo_filters[] = {{"repo_id", DBX_FILTER_KEY, NULL, NULL},
										 {"path", DBX_FILTER_EQUAL,
										  "path_prefix", NULL}};

static const char *const volume_prefixes[] = {"/Volumes/", NULL};

/* The other call for files: those in volumes. */
static const DbxResource volume_files = {
	.name = "files",
	.list_call = "/api/2.0/fs/directories{path}",
	.items = "contents",
	.limit_param = "page_size",
	.page_size = 1000};

const DbxResource dbx_resource_files = {
	.name = "files",
	.comment =
		"Files and folders in a folder, whose path must be given: of a volume (GET /api/2.0/fs/directories{path}) or else of DBFS (GET /api/2.0/dbfs/list).",
	.rows = 100000,
	.list_call = "/api/2.0/dbfs/list",
	.items = "files",
	.id_member = "path",
	.is_folder = is_file_folder,
	.folder_path = "path",
	.folder_param = "path",
	.other_prefixes = volume_prefixes,
	.other = &volume_files,
	.ncolumns = lengthof(file_columns),
	.columns = file_columns,
	.nfilters = lengthof(tree_filters),
	.filters = tree_filters};

const DbxResource dbx_resource_workspace_objects = {
	.name = "workspace_objects",
	.comment =
		"Notebooks, files and folders in a folder of the workspace, whose path must be given (GET /api/2.0/workspace/list).",
	.rows = 10000,
	.list_call = "/api/2.0/workspace/list",
	.items = "objects",
	.id_member = "path",
	.is_folder = is_object_folder,
	.folder_path = "path",
	.folder_param = "path",
	.ncolumns = lengthof(object_columns),
	.columns = object_columns,
	.nfilters = lengthof(tree_filters),
	.filters = tree_filters};

const DbxResource dbx_resource_repos = {
	.name = "repos",
	.comment =
		"Git folders (GET /api/2.0/repos; by repo_id GET /api/2.0/repos/{id}).",
	.rows = 100,
	.list_call = "/api/2.0/repos",
	.items = "repos",
	.token_param = "next_page_token",
	.page_size = 20,
	.get_call = "/api/2.0/repos/{key}",
	.key_column = "repo_id",
	.get_cost = 1.0,
	.id_member = "id",
	.ncolumns = lengthof(repo_columns),
	.columns = repo_columns,
	.nfilters = lengthof(repo_filters),
	.filters = repo_filters};

static bool
is_file_folder(const DbxJson *element)
{
	bool folder = false;

	if (!dbx_json_bool(dbx_json_get(element, "is_directory"), &folder))
		(void) dbx_json_bool(dbx_json_get(element, "is_dir"), &folder);
	return folder;
}

static bool
is_object_folder(const DbxJson *element)
{
	const char *type = dbx_json_string(dbx_json_get(element, "object_type"));

	return type != NULL &&
		(strcmp(type, "DIRECTORY") == 0 || strcmp(type, "REPO") == 0);
}
