/*
 * files_volume.c
 *	  Files of volumes: raw bytes, one call for a file of any size.
 *
 * Separate because here the body is the file.  The service shows a file under its
 * name when all of it has come, so an upload that breaks leaves nothing.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "api/files.h"
#include "api/many.h"
#include "http/http.h"

#define LARGEST_UPLOAD (INT64CONST(5) * 1024 * 1024 * 1024)
#define LARGEST_VALUE  (MaxAllocSize - VARHDRSZ)
#define PIECE		   (512 * 1024) /* of a stored value */
#define FILES		   "/api/2.0/fs/files"
#define DIRECTORIES	   "/api/2.0/fs/directories"

/* A call without a body for a path; not yet waited for. */
static DbxCall *
start(const DbxWorkspace *workspace, const char *method, const char *prefix,
	  const char *path, const char *caller)
{
	DbxCallSpec spec = {0};
	DbxCall	   *call;

	spec.method = method;
	spec.path = dbx_file_url(prefix, path);
	spec.uncompressed = true; /* a length told is to be that of the file */
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	return call;
}

/* HEAD of a file; false if there is none.  Size -1: it was not told. */
static bool
try_stat_file(const DbxWorkspace *workspace, const DbxFilePath *path,
			  DbxFileInfo *info, const char *caller)
{
	DbxCall	   *call = start(workspace, "HEAD", FILES, path->path, caller);
	const char *length;
	const char *modified;

	if (dbx_call_error(call) != NULL)
	{
		if (dbx_call_error(call)->status == 404)
			return false;
		dbx_call_raise(call);
	}
	memset(info, 0, sizeof(*info));
	length = dbx_call_header(call, "Content-Length");
	info->size = -1;
	if (length != NULL && strspn(length, "0123456789") == strlen(length))
		info->size = strtoll(length, NULL, 10);
	modified = dbx_call_header(call, "Last-Modified");
	if (modified != NULL)
		info->modified = dbx_http_date_ms(modified);
	return true;
}

/* It is no file: raise unless it is a directory. */
static void
check_directory(const DbxWorkspace *workspace, const DbxFilePath *path,
				const char *caller)
{
	DbxCall *call = start(workspace, "HEAD", DIRECTORIES, path->path, caller);

	/* the answer to HEAD has no words of its own */
	if (dbx_call_error(call) != NULL && dbx_call_error(call)->status == 404)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no file or directory \"%s\" in workspace \"%s\"",
					path->given, workspace->name),
			 errhint(
				 "list_files() of the directory above shows what is there; upper and lower case matter.")));
	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
}

void
dbx_volume_stat(const DbxWorkspace *workspace, const DbxFilePath *path,
				DbxFileInfo *info, const char *caller)
{
	if (try_stat_file(workspace, path, info, caller))
		return;
	check_directory(workspace, path, caller);
	memset(info, 0, sizeof(*info));
	info->is_dir = true;
}

/* Hand out a stored value as the call asks for it. */
static void
hand_out(DbxCall *call, const DbxFileSource *source, DbxHttpWindow *window)
{
	struct varlena *piece = NULL;

	while (!dbx_call_done(call))
	{
		int64 at = dbx_call_starved(call);

		if (at >= 0)
		{
			if (piece != NULL)
				pfree(piece);
			piece = pg_detoast_datum_slice(source->stored, (int32) at, PIECE);
			if (VARSIZE_ANY_EXHDR(piece) == 0)
				elog(ERROR, "stored value is shorter than it says");
			window->bytes = VARDATA_ANY(piece);
			window->at = at;
			window->length = VARSIZE_ANY_EXHDR(piece);
			dbx_call_more(call);
		}
		(void) dbx_calls_progress(0);
	}
}

void
dbx_volume_upload(const DbxWorkspace *workspace, const DbxFilePath *path,
				  const DbxFileSource *source, bool overwrite,
				  const char *caller)
{
	DbxCallSpec	  spec = {0};
	DbxCall		 *call;
	DbxFileInfo	  info;
	DbxHttpWindow window = {0};

	if (source->length > LARGEST_UPLOAD)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a file of more than 5 GB cannot be uploaded at once"),
				 errdetail("This one has " INT64_FORMAT " bytes.",
						   (int64) source->length),
				 errhint("Write it as several files.")));
	spec.method = "PUT";
	spec.path = dbx_file_url(FILES, path->path);
	spec.query = overwrite ? "overwrite=true" : "overwrite=false";
	spec.content.bytes = source->bytes ? source->bytes : "";
	spec.content.file = source->file;
	spec.content.window = source->stored ? &window : NULL;
	spec.content.length = source->length;
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	if (source->stored != NULL)
		hand_out(call, source, &window);
	dbx_call_wait(call);
	/* "exists already", said to a repeat, may mean what was just sent */
	if (dbx_call_error(call) != NULL &&
		!(dbx_call_error(call)->status == 409 &&
		  dbx_call_error(call)->unknown_outcome &&
		  try_stat_file(workspace, path, &info, caller) &&
		  info.size == source->length))
		dbx_call_raise(call);
	dbx_call_free(call);
}

bytea *
dbx_volume_download(const DbxWorkspace *workspace, const DbxFilePath *path,
					const char *caller)
{
	DbxCallSpec spec = {0};
	DbxFileInfo info;
	DbxCall	   *call;
	bytea	   *content;
	Size		room;

	if (!try_stat_file(workspace, path, &info, caller))
	{
		check_directory(workspace, path, caller);
		dbx_file_is_directory(path);
	}
	room = info.size >= 0 ? info.size
						  : Min(workspace->max_response_size, LARGEST_VALUE);
	content = dbx_file_alloc(path, room);
	spec.method = "GET";
	spec.path = dbx_file_url(FILES, path->path);
	spec.caller = caller;
	spec.into = VARDATA(content);
	spec.into_size = room;
	spec.uncompressed = true;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	if (dbx_call_error(call) != NULL)
	{
		if (info.size >= 0 &&
			dbx_call_error(call)->sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			dbx_file_changed(path);
		dbx_call_raise(call);
	}
	if (info.size >= 0 && dbx_call_into_len(call) != info.size)
		dbx_file_changed(path);
	SET_VARSIZE(content, dbx_call_into_len(call) + VARHDRSZ);
	dbx_call_free(call);
	return content;
}

typedef struct Deletion
{
	const char *caller;
	const char *prefix;
	char	  **paths;
} Deletion;

static void
make_delete(void *arg, int number, DbxCallSpec *spec)
{
	Deletion *deletion = arg;

	spec->method = "DELETE";
	spec->path = dbx_file_url(deletion->prefix, deletion->paths[number]);
	spec->caller = deletion->caller;
}

static void
take_delete(void *arg, int number, DbxCall *call)
{
	/* what somebody else deleted meanwhile is gone as well */
	if (dbx_call_error(call) != NULL && !dbx_call_error(call)->not_found)
		dbx_call_raise(call);
}

static void
delete_all(const DbxWorkspace *workspace, const char *prefix, List *paths,
		   const char *caller)
{
	Deletion  deletion = {0};
	DbxMany	  many = {0};
	ListCell *cell;

	deletion.caller = caller;
	deletion.prefix = prefix;
	deletion.paths = palloc(sizeof(char *) * (list_length(paths) + 1));
	foreach(cell, paths)
		deletion.paths[foreach_current_index(cell)] = lfirst(cell);
	many.workspace = workspace;
	many.count = list_length(paths);
	many.make = make_delete;
	many.take = take_delete;
	many.arg = &deletion;
	dbx_many_run(&many);
}

static void
take_file(void *arg, const DbxFileEntry *entry)
{
	List **files = arg;

	if (!entry->info.is_dir)
		*files = lappend(*files, pstrdup(entry->api_path));
}

/* Everything in a directory: level by level, then the directories from below. */
static void
delete_tree(const DbxWorkspace *workspace, const char *path, const char *caller)
{
	List	 *level = list_make1((char *) path);
	List	 *levels = NIL;
	ListCell *cell;

	while (level != NIL)
	{
		List *files = NIL;
		List *below = dbx_file_list(workspace, DBX_FILE_VOLUME, level,
									take_file, &files, caller);

		delete_all(workspace, FILES, files, caller);
		levels = lcons(below, levels);
		level = below;
	}
	foreach(cell, levels)
		delete_all(workspace, DIRECTORIES, lfirst(cell), caller);
}

void
dbx_volume_delete(const DbxWorkspace *workspace, const DbxFilePath *path,
				  bool recursive, const char *caller)
{
	DbxCall *call = start(workspace, "DELETE", FILES, path->path, caller);

	if (dbx_call_error(call) == NULL)
		return;
	if (!dbx_call_error(call)->not_found)
		dbx_call_raise(call);
	if (recursive)
		delete_tree(workspace, path->path, caller);
	call = start(workspace, "DELETE", DIRECTORIES, path->path, caller);
	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
}
