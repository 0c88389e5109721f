/*
 * files.c
 *	  Which API a path belongs to, and files of the workspace.
 *
 * Separate from the two file systems, which have files of their own: here is what
 * all three share.  Files of the workspace come and go whole, as base64, and are
 * small by the service's rule.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "common/base64.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "api/files.h"
#include "compat.h"
#include "http/http.h"

#define LARGEST_OBJECT (10 * 1024 * 1024)
#define LARGE_PAGE	   (2 * 1024 * 1024)

static const char *const workspace_roots[] = {"/Workspace", "/Users", "/Shared",
											  "/Repos"};

/* Does the path lie at or below this root? */
static bool
is_below(const char *path, const char *root)
{
	Size length = strlen(root);

	return strncmp(path, root, length) == 0 &&
		(path[length] == '\0' || path[length] == '/');
}

/* "." and ".." would be taken out of URLs on their way. */
static bool
has_dots(const char *path)
{
	while ((path = strchr(path, '/')) != NULL)
	{
		Size length = strcspn(++path, "/");

		if ((length == 1 || length == 2) && strncmp(path, "..", length) == 0)
			return true;
	}
	return false;
}

void
dbx_file_path(const char *text, DbxFilePath *path)
{
	const char *rest = text;
	Size		length;
	int			i;

	if (strncmp(text, "dbfs:", 5) == 0)
	{
		rest = text + 5;
		path->kind = is_below(rest, "/Volumes") ? DBX_FILE_VOLUME
												: DBX_FILE_DBFS;
	}
	else if (is_below(text, "/Volumes"))
		path->kind = DBX_FILE_VOLUME;
	else
	{
		path->kind = DBX_FILE_WORKSPACE;
		for (i = 0; i < (int) lengthof(workspace_roots); i++)
		{
			if (is_below(text, workspace_roots[i]))
				break;
		}
		if (i == lengthof(workspace_roots))
			rest = "";
	}
	if (*rest != '/')
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a path in a workspace", text),
			 errhint(
				 "Paths begin with /Volumes/<catalog>/<schema>/<volume>/ or dbfs:/ or /Workspace/, /Users/, /Shared/, /Repos/.")));
	if (has_dots(rest) || strstr(rest, "//") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a plain path", text),
				 errdetail(
					 "It has an empty part, or one that is \".\" or \"..\".")));
	length = strlen(text);
	if (rest[1] != '\0' && text[length - 1] == '/')
		length--;
	path->given = pnstrdup(text, length);
	path->path = pstrdup(path->given + (rest - text));
}

char *
dbx_file_url(const char *prefix, const char *path)
{
	return psprintf("%s%s", prefix, dbx_path_segments(path));
}

char *
dbx_file_body(const DbxFilePath *path, const char *more)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"path\":");
	escape_json(&body, path->path);
	appendStringInfo(&body, "%s}", more);
	return body.data;
}

void
dbx_file_post(const DbxWorkspace *workspace, const char *call, const char *body,
			  bool repeatable, const char *caller)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = call;
	spec.body = body;
	spec.repeatable = repeatable;
	spec.caller = caller;
	(void) dbx_call(workspace, &spec);
}

void
dbx_file_append_base64(StringInfo out, const DbxFileSource *source,
					   off_t offset, Size length)
{
	const char *bytes = source->file == 0 ? source->bytes + offset : NULL;
	char	   *read = NULL;
	int			size = pg_b64_enc_len((int) length);
	int			used;

	if (source->file != 0)
	{
		int got;

		read = palloc(length + 1);
		got = FileRead(source->file, read, (int) length, offset,
					   WAIT_EVENT_BUFFILE_READ);
		if (got != (int) length)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read from a temporary file: %m")));
		bytes = read;
	}
	enlargeStringInfo(out, size + 1);
	used = dbx_b64_encode(bytes, (int) length, out->data + out->len, size);
	Assert(used >= 0);
	out->len += used;
	out->data[out->len] = '\0';
	if (read != NULL)
		pfree(read);
}

/*
 * Half of the time of a large download goes into 4 kB pages that are touched for
 * the first time.
 */
static void
ask_for_large_pages(const char *start, Size size)
{
#ifdef MADV_HUGEPAGE
	char *from = (char *) TYPEALIGN(LARGE_PAGE, start);
	char *to = (char *) TYPEALIGN_DOWN(LARGE_PAGE, start + size);

	/* a wish: what becomes of it does not matter */
	if (to > from)
		(void) madvise(from, to - from, MADV_HUGEPAGE);
#endif
}

bytea *
dbx_file_alloc(const DbxFilePath *path, int64 size)
{
	bytea *content;

	if (size < 0 || size > (int64) (MaxAllocSize - VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"%s\" is too large for a value", path->given),
				 errdetail("It has " INT64_FORMAT
						   " bytes; a value can have a little less than 1 GB.",
						   size),
				 errhint("A job, or another tool, can read it where it is.")));
	content = palloc(size + VARHDRSZ);
	ask_for_large_pages((char *) content, size + VARHDRSZ);
	SET_VARSIZE(content, size + VARHDRSZ);
	return content;
}

void
dbx_file_is_directory(const DbxFilePath *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("\"%s\" is a directory", path->given),
			 errhint("list_files() shows what is in it.")));
}

void
dbx_file_changed(const DbxFilePath *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_ERROR),
			 errmsg("\"%s\" changed while it was read", path->given),
			 errhint("Try again.")));
}

/* Files of the workspace */

static void
upload_object(const DbxWorkspace *workspace, const DbxFilePath *path,
			  const DbxFileSource *source, bool overwrite, const char *caller)
{
	StringInfoData more;

	if (source->length > LARGEST_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("files of the workspace must not be larger than 10 MB"),
				 errdetail("This one has " INT64_FORMAT " bytes.",
						   (int64) source->length),
				 errhint("Put it into a volume: /Volumes/...")));
	initStringInfo(&more);
	appendStringInfo(&more,
					 ",\"format\":\"AUTO\",\"overwrite\":%s,\"content\":\"",
					 overwrite ? "true" : "false");
	dbx_file_append_base64(&more, source, 0, source->length);
	appendStringInfoChar(&more, '"');
	dbx_file_post(workspace, "/api/2.0/workspace/import",
				  dbx_file_body(path, more.data), overwrite, caller);
}

static DbxJson *
get_object(const DbxWorkspace *workspace, const char *call,
		   const DbxFilePath *path, const char *format, const char *caller)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add(&query, "path", path->path);
	if (format != NULL)
		dbx_query_add(&query, "format", format);
	spec.method = "GET";
	spec.path = call;
	spec.query = query.data;
	spec.caller = caller;
	return dbx_call(workspace, &spec);
}

/* An answer that says nothing must not look like an empty file. */
static pg_noreturn void
no_answer(const DbxFilePath *path, const char *member)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("the answer about \"%s\" has no \"%s\"", path->given,
					member)));
}

static bytea *
download_object(const DbxWorkspace *workspace, const DbxFilePath *path,
				const char *caller)
{
	const DbxJson *answer = get_object(workspace, "/api/2.0/workspace/export",
									   path, "AUTO", caller);
	const char	  *text = dbx_json_string(dbx_json_get(answer, "content"));
	bytea		  *content;
	int			   length;

	if (text == NULL && dbx_json_get(answer, "file_type") == NULL)
		no_answer(path, "content");
	if (text == NULL)
		text = "";
	content = dbx_file_alloc(path, pg_b64_dec_len(strlen(text)));
	length = dbx_b64_decode(text, strlen(text), VARDATA(content),
							pg_b64_dec_len(strlen(text)));
	if (length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("content of \"%s\" is not base64", path->given)));
	SET_VARSIZE(content, length + VARHDRSZ);
	return content;
}

/* All three */

void
dbx_file_upload(const DbxWorkspace *workspace, const DbxFilePath *path,
				const DbxFileSource *source, bool overwrite, const char *caller)
{
	switch (path->kind)
	{
		case DBX_FILE_DBFS:
			dbx_dbfs_upload(workspace, path, source, overwrite, caller);
			break;
		case DBX_FILE_VOLUME:
			dbx_volume_upload(workspace, path, source, overwrite, caller);
			break;
		case DBX_FILE_WORKSPACE:
			upload_object(workspace, path, source, overwrite, caller);
			break;
	}
}

bytea *
dbx_file_download(const DbxWorkspace *workspace, const DbxFilePath *path,
				  const char *caller)
{
	switch (path->kind)
	{
		case DBX_FILE_DBFS:
			return dbx_dbfs_download(workspace, path, caller);
		case DBX_FILE_VOLUME:
			return dbx_volume_download(workspace, path, caller);
		case DBX_FILE_WORKSPACE:
			break;
	}
	return download_object(workspace, path, caller);
}

void
dbx_file_stat(const DbxWorkspace *workspace, const DbxFilePath *path,
			  DbxFileInfo *info, const char *caller)
{
	DbxJson	   *answer;
	const char *type;

	memset(info, 0, sizeof(*info));
	switch (path->kind)
	{
		case DBX_FILE_VOLUME:
			dbx_volume_stat(workspace, path, info, caller);
			return;
		case DBX_FILE_DBFS:
			answer = get_object(workspace, "/api/2.0/dbfs/get-status", path,
								NULL, caller);
			(void) dbx_json_bool(dbx_json_get(answer, "is_dir"), &info->is_dir);
			if (!dbx_json_int64(dbx_json_get(answer, "file_size"), &info->size) &&
				!info->is_dir)
				no_answer(path, "file_size");
			(void) dbx_json_int64(dbx_json_get(answer, "modification_time"),
								  &info->modified);
			return;
		case DBX_FILE_WORKSPACE:
			answer = get_object(workspace, "/api/2.0/workspace/get-status",
								path, NULL, caller);
			type = dbx_json_string(dbx_json_get(answer, "object_type"));
			if (type == NULL)
				no_answer(path, "object_type");
			info->is_dir = strcmp(type, "DIRECTORY") == 0 ||
				strcmp(type, "REPO") == 0;
			info->size = -1;
			(void) dbx_json_int64(dbx_json_get(answer, "size"), &info->size);
			(void) dbx_json_int64(dbx_json_get(answer, "modified_at"),
								  &info->modified);
			return;
	}
}

void
dbx_file_delete(const DbxWorkspace *workspace, const DbxFilePath *path,
				bool recursive, const char *caller)
{
	switch (path->kind)
	{
		case DBX_FILE_DBFS:
			dbx_dbfs_delete(workspace, path, recursive, caller);
			break;
		case DBX_FILE_VOLUME:
			dbx_volume_delete(workspace, path, recursive, caller);
			break;
		case DBX_FILE_WORKSPACE:
			dbx_file_post(workspace, "/api/2.0/workspace/delete",
						  dbx_file_body(path,
										recursive ? ",\"recursive\":true" : ""),
						  false, caller);
			break;
	}
}
