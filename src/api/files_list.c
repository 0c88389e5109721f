/*
 * files_list.c
 *	  What is in directories, of any of the three APIs for files.
 *
 * Separate because listing is the same everywhere but for the names of members,
 * and because both list_files() and the deletion of a whole tree go through a tree
 * level by level: the directories of a level are read side by side, in order.
 */
#include "postgres.h"

#include "api/files.h"

/* How an API lists a directory, and what its entries are called. */
typedef struct Listing
{
	const char *call;
	bool		path_in_url; /* else it is a parameter */
	const char *query;
	const char *items;
	const char *size;
	const char *modified;
	const char *prefix; /* of paths as our functions take them */
} Listing;

static const Listing listings[] = {
	[DBX_FILE_DBFS] = {"/api/2.0/dbfs/list", false, NULL, "files", "file_size",
					   "modification_time", "dbfs:"},
	[DBX_FILE_VOLUME] = {"/api/2.0/fs/directories", true, "page_size=1000",
						 "contents", "file_size", "last_modified", ""},
	[DBX_FILE_WORKSPACE] = {"/api/2.0/workspace/list", false, NULL, "objects",
							"size", "modified_at", "/Workspace"}};

static DbxPager *
open_directory(const DbxWorkspace *workspace, const Listing *listing,
			   const char *path, const char *caller)
{
	DbxPageSpec spec = {0};
	DbxPager   *pager;

	if (listing->path_in_url)
	{
		spec.path = dbx_file_url(listing->call, path);
		spec.query = listing->query;
	}
	else
	{
		StringInfoData query;

		initStringInfo(&query);
		dbx_query_add(&query, "path", path);
		spec.path = listing->call;
		spec.query = query.data;
	}
	spec.items = listing->items;
	spec.caller = caller;
	pager = dbx_pager_open(workspace, &spec);
	dbx_pager_begin(pager);
	return pager;
}

static bool
is_directory(DbxFileKind kind, const DbxJson *row)
{
	bool		result = false;
	const char *type;

	if (kind != DBX_FILE_WORKSPACE)
	{
		(void) dbx_json_bool(
			dbx_json_get(row, kind == DBX_FILE_DBFS ? "is_dir" : "is_directory"),
			&result);
		return result;
	}
	type = dbx_json_string(dbx_json_get(row, "object_type"));
	return type != NULL &&
		(strcmp(type, "DIRECTORY") == 0 || strcmp(type, "REPO") == 0);
}

/* A path as our functions take it.  Some of the workspace have their root already. */
static const char *
whole_path(const Listing *listing, const char *path)
{
	Size length = strlen(listing->prefix);

	if (strncmp(path, listing->prefix, length) == 0 &&
		(length == 0 || path[length] == '/' || path[length] == '\0'))
		return path;
	return psprintf("%s%s", listing->prefix, path);
}

static void
read_entry(const DbxWorkspace *workspace, DbxFileKind kind, const DbxJson *row,
		   DbxFileEntry *entry)
{
	const Listing *listing = &listings[kind];
	const char	  *slash;
	Size		   length;

	memset(entry, 0, sizeof(*entry));
	entry->api_path = dbx_json_string(dbx_json_get(row, "path"));
	if (entry->api_path == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("a directory of workspace \"%s\" holds an entry without path",
					workspace->name),
			 errhint(
				 "Something between the server and the workspace may change answers.")));
	length = strlen(entry->api_path);
	if (length > 1 && entry->api_path[length - 1] == '/')
		entry->api_path = pnstrdup(entry->api_path, length - 1);
	slash = strrchr(entry->api_path, '/');
	entry->path = whole_path(listing, entry->api_path);
	entry->name = slash ? slash + 1 : entry->api_path;
	entry->info.is_dir = is_directory(kind, row);
	if (!dbx_json_int64(dbx_json_get(row, listing->size), &entry->info.size))
		entry->info.size = -1;
	(void) dbx_json_int64(dbx_json_get(row, listing->modified),
						  &entry->info.modified);
}

/*
 * How much of a path is written with whatever case: catalog, schema and volume are
 * names of the catalog, which tells "Main" and "main" not apart.
 */
static Size
length_of_volume(DbxFileKind kind, const char *path)
{
	const char *at = path;
	int			i;

	if (kind != DBX_FILE_VOLUME)
		return 0;
	for (i = 0; i < 4 && *at; i++)
		at += 1 + strcspn(at + 1, "/");
	return at - path;
}

/*
 * An entry is directly in its directory, or is the path that was asked for, when
 * that is a file.  All else is refused: what is listed is gone through, and deleted.
 */
static void
check_place(const DbxWorkspace *workspace, DbxFileKind kind,
			const DbxFileEntry *entry, const char *directory)
{
	Size		length = strlen(directory);
	Size		volume = length_of_volume(kind, directory);
	const char *rest;

	if (directory[length - 1] == '/')
		length--;
	if (pg_strncasecmp(entry->path, directory, volume) == 0 &&
		strncmp(entry->path + volume, directory + volume, length - volume) == 0)
	{
		rest = entry->path + length;
		if (*rest == '\0')
			return;
		if (*rest == '/' && strchr(rest + 1, '/') == NULL && rest[1] != '\0' &&
			strcmp(rest, "/.") != 0 && strcmp(rest, "/..") != 0)
			return;
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
		 errmsg("workspace \"%s\" lists \"%s\" in directory \"%s\", where it is not",
				workspace->name, entry->path, directory),
		 errhint(
			 "Something between the server and the workspace may change answers.")));
}

List *
dbx_file_list(const DbxWorkspace *workspace, DbxFileKind kind, List *paths,
			  DbxFileTake take, void *arg, const char *caller)
{
	int			   count = list_length(paths);
	DbxPager	 **pagers = palloc(sizeof(DbxPager *) * Max(count, 1));
	int			   ahead = 0;
	List		  *directories = NIL;
	const DbxJson *rows;
	const DbxJson *row;

	for (int i = 0; i < count; i++)
	{
		const char *directory = whole_path(&listings[kind], list_nth(paths, i));

		for (; ahead < Min(count, i + workspace->max_parallel); ahead++)
			pagers[ahead] = open_directory(workspace, &listings[kind],
										   list_nth(paths, ahead), caller);
		while (dbx_pager_next(pagers[i], &rows))
		{
			for (row = dbx_json_first(rows); row != NULL;
				 row = dbx_json_next(row))
			{
				DbxFileEntry entry;

				CHECK_FOR_INTERRUPTS();
				read_entry(workspace, kind, row, &entry);
				check_place(workspace, kind, &entry, directory);
				take(arg, &entry);
				if (entry.info.is_dir && strcmp(entry.path, directory) != 0)
					directories = lappend(directories, pstrdup(entry.api_path));
				if (entry.path != entry.api_path)
					pfree((char *) entry.path);
			}
		}
		dbx_pager_close(pagers[i]);
	}
	pfree(pagers);
	return directories;
}
