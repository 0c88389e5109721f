/*
 * files.h
 *	  Files of DBFS, of volumes and of the workspace by one set of calls.
 */
#ifndef DBX_FILES_H
#define DBX_FILES_H

#include "storage/fd.h"

#include "api/api.h"

#define DBX_FILE_BLOCK (1024 * 1024) /* what DBFS takes and gives at once */

typedef enum DbxFileKind
{
	DBX_FILE_DBFS,
	DBX_FILE_VOLUME,
	DBX_FILE_WORKSPACE
} DbxFileKind;

/* A path and the API it belongs to. */
typedef struct DbxFilePath
{
	DbxFileKind kind;
	const char *given;
	char	   *path; /* as that API takes it */
} DbxFilePath;

/*
 * Bytes to be sent: in memory, in a temporary File if that is not 0, or in a value
 * that is stored out of line, so that only a piece of it need be in memory.
 */
typedef struct DbxFileSource
{
	const char	   *bytes;
	File			file;
	off_t			length;
	struct varlena *stored; /* of files of volumes only */
} DbxFileSource;

typedef struct DbxFileInfo
{
	bool  is_dir;
	int64 size;
	int64 modified; /* ms since 1970, 0: not known */
} DbxFileInfo;

/* What a directory holds. */
typedef struct DbxFileEntry
{
	const char *path;	  /* as our functions take it ... */
	const char *api_path; /* ... and as its API does */
	const char *name;
	DbxFileInfo info; /* size -1: not told */
} DbxFileEntry;

typedef void (*DbxFileTake)(void *arg, const DbxFileEntry *entry);

/* Raise 22023 for a path that no API takes. */
extern void dbx_file_path(const char *text, DbxFilePath *path);

/*
 * Write a whole file.  What is at the final path is either as it was before or
 * the whole new file; only where something has to be replaced in DBFS it is
 * missing for a moment.
 */
extern void dbx_file_upload(const DbxWorkspace *workspace,
							const DbxFilePath *path, const DbxFileSource *source,
							bool overwrite, const char *caller);

/* A whole file as bytea, in the current memory context. */
extern bytea *dbx_file_download(const DbxWorkspace *workspace,
								const DbxFilePath *path, const char *caller);

/* What is at a path; raises 42704 if nothing is. */
extern void dbx_file_stat(const DbxWorkspace *workspace, const DbxFilePath *path,
						  DbxFileInfo *info, const char *caller);

/*
 * What is directly in these directories (paths as their API takes them), one entry
 * after the other in the order of "paths", which are read side by side.  An entry is
 * valid while it is taken.  Returns the paths of the directories among them, in the
 * current memory context: the level below.  Raises as dbx_call().
 */
extern List *dbx_file_list(const DbxWorkspace *workspace, DbxFileKind kind,
						   List *paths, DbxFileTake take, void *arg,
						   const char *caller);

/* Delete a file or directory, with all that is in it if "recursive". */
extern void dbx_file_delete(const DbxWorkspace *workspace,
							const DbxFilePath *path, bool recursive,
							const char *caller);

/* files_dbfs.c and files_volume.c: the same for one API. */
extern void	  dbx_dbfs_upload(const DbxWorkspace *workspace,
							  const DbxFilePath *path, const DbxFileSource *source,
							  bool overwrite, const char *caller);
extern bytea *dbx_dbfs_download(const DbxWorkspace *workspace,
								const DbxFilePath *path, const char *caller);
extern void	  dbx_dbfs_delete(const DbxWorkspace *workspace,
							  const DbxFilePath *path, bool recursive,
							  const char *caller);
extern void	  dbx_volume_upload(const DbxWorkspace	*workspace,
								const DbxFilePath	*path,
								const DbxFileSource *source, bool overwrite,
								const char *caller);
extern bytea *dbx_volume_download(const DbxWorkspace *workspace,
								  const DbxFilePath *path, const char *caller);
extern void	  dbx_volume_delete(const DbxWorkspace *workspace,
								const DbxFilePath *path, bool recursive,
								const char *caller);
extern void	  dbx_volume_stat(const DbxWorkspace *workspace,
							  const DbxFilePath *path, DbxFileInfo *info,
							  const char *caller);

/* Helpers they share. */

/* POST of a body that has "path" and what else; raises. */
extern void dbx_file_post(const DbxWorkspace *workspace, const char *call,
						  const char *body, bool repeatable, const char *caller);

/* {"path": ... ,<more>} */
extern char *dbx_file_body(const DbxFilePath *path, const char *more);

/* Append bytes of a source as base64. */
extern void dbx_file_append_base64(StringInfo out, const DbxFileSource *source,
								   off_t offset, Size length);

/* A bytea for so many bytes; raises 54000 for more than one can hold. */
extern bytea *dbx_file_alloc(const DbxFilePath *path, int64 size);

/* A path in a URL: its segments escaped, its slashes kept. */
extern char *dbx_file_url(const char *prefix, const char *path);

extern pg_noreturn void dbx_file_is_directory(const DbxFilePath *path);
extern pg_noreturn void dbx_file_changed(const DbxFilePath *path);

#endif /* DBX_FILES_H */
