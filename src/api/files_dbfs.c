/*
 * files_dbfs.c
 *	  Files of DBFS: in blocks of 1 MB, base64 in JSON.
 *
 * Separate because a large file is many calls.  Written, it goes in order, block
 * by block, to a part file beside the final path, is measured, and only then
 * moved: whatever breaks, no half of it stands under the final name.  What is
 * replaced is moved aside before, and back if the rest fails.  A block
 * that was perhaps sent is sent again, since the size tells if it then came
 * twice.  Read, its blocks come side by side, each tried again by itself.
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/files.h"
#include "api/guard.h"
#include "api/many.h"
#include "compat.h"

#define UPLOAD_ATTEMPTS 3
/* A cancel has to act within a second, the clean-up included. */
#define CLEAN_UP_MS 800

static char *
quoted(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	escape_json(&out, text);
	return out.data;
}

/* dbfs/get-status; false if there is nothing. */
static bool
try_stat(const DbxWorkspace *workspace, const char *path, DbxFileInfo *info,
		 const char *caller)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;
	DbxCall		  *call;
	DbxJson		  *answer;

	initStringInfo(&query);
	dbx_query_add(&query, "path", path);
	spec.method = "GET";
	spec.path = "/api/2.0/dbfs/get-status";
	spec.query = query.data;
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	if (dbx_call_error(call) != NULL)
	{
		if (dbx_call_error(call)->not_found)
			return false;
		dbx_call_raise(call);
	}
	answer = dbx_call_json(call);
	memset(info, 0, sizeof(*info));
	(void) dbx_json_bool(dbx_json_get(answer, "is_dir"), &info->is_dir);
	(void) dbx_json_int64(dbx_json_get(answer, "file_size"), &info->size);
	return true;
}

static void
end_call(DbxCall *call)
{
	dbx_call_wait(call);
	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
	dbx_call_free(call);
}

/* Begin to send a block, which stays where it is until that has ended. */
static DbxCall *
start_block(const DbxWorkspace *workspace, StringInfo block, const char *caller)
{
	DbxCallSpec spec = {0};
	DbxCall	   *call;

	spec.method = "POST";
	spec.path = "/api/2.0/dbfs/add-block";
	spec.content.bytes = block->data;
	spec.content.length = block->len;
	spec.content.type = "application/json";
	spec.repeatable = true; /* the size tells */
	spec.caller = caller;
	call = dbx_call_start(workspace, &spec);
	(void) dbx_calls_progress(GetCurrentTimestamp());
	return call;
}

/* Send all blocks of a source to a new file. */
static void
send_blocks(const DbxWorkspace *workspace, const char *path,
			const DbxFileSource *source, const char *caller)
{
	DbxCallSpec	   spec = {0};
	StringInfoData blocks[2];
	DbxCall		  *sent = NULL;
	int64		   handle;
	off_t		   at;
	int			   number = 0;

	spec.method = "POST";
	spec.path = "/api/2.0/dbfs/create";
	spec.body = psprintf("{\"path\":%s,\"overwrite\":true}", quoted(path));
	spec.repeatable = true; /* nobody else knows this name */
	spec.caller = caller;
	if (!dbx_json_int64(dbx_json_get(dbx_call(workspace, &spec), "handle"),
						&handle))
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg(
				 "the service opened a file, but its answer has no \"handle\"")));

	initStringInfo(&blocks[0]);
	initStringInfo(&blocks[1]);
	for (at = 0; at < source->length; at += DBX_FILE_BLOCK)
	{
		StringInfo block = &blocks[number++ % 2];

		/* made ready while the one before is on its way */
		resetStringInfo(block);
		appendStringInfo(block, "{\"handle\":" INT64_FORMAT ",\"data\":\"",
						 handle);
		dbx_file_append_base64(block, source, at,
							   Min(DBX_FILE_BLOCK, source->length - at));
		appendStringInfoString(block, "\"}");
		if (sent != NULL)
			end_call(sent);
		sent = start_block(workspace, block, caller);
	}
	if (sent != NULL)
		end_call(sent);
	pfree(blocks[0].data);
	pfree(blocks[1].data);
	spec.path = "/api/2.0/dbfs/close";
	spec.body = psprintf("{\"handle\":" INT64_FORMAT "}", handle);
	spec.repeatable = false;
	sent = dbx_call_start(workspace, &spec);
	dbx_call_wait(sent);
	/* whether it is closed, the size tells as well */
	if (dbx_call_error(sent) != NULL && !dbx_call_error(sent)->unknown_outcome)
		dbx_call_raise(sent);
	dbx_call_free(sent);
}

/* A file that comes in parts. */
typedef struct Upload
{
	const DbxWorkspace	*workspace;
	const DbxFilePath	*path;
	const DbxFileSource *source;
	const char			*caller;
	const char			*part;	   /* path it has until it is whole */
	const char			*old;	   /* path of what is replaced meanwhile */
	const char			*leftover; /* one of these, to be deleted at last */
	bool				 overwrite;
	bool				 put_back; /* "old", if the upload breaks now */
} Upload;

static DbxCall *
start_delete(const Upload *upload, const char *path)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = "/api/2.0/dbfs/delete";
	spec.body = psprintf("{\"path\":%s}", quoted(path));
	spec.caller = upload->caller;
	return dbx_call_start(upload->workspace, &spec);
}

static DbxCall *
start_move(const Upload *upload, const char *from, const char *to)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = "/api/2.0/dbfs/move";
	spec.body = psprintf("{\"source_path\":%s,\"destination_path\":%s}",
						 quoted(from), quoted(to));
	spec.caller = upload->caller;
	return dbx_call_start(upload->workspace, &spec);
}

static bool
went_well(const DbxCall *call)
{
	return dbx_call_done(call) &&
		(dbx_call_error(call) == NULL || dbx_call_error(call)->not_found);
}

static void
warn_of_leftover(const Upload *upload)
{
	ereport(WARNING,
			(errmsg("could not delete \"dbfs:%s\", which an upload left behind",
					upload->leftover),
			 errhint(
				 "It is of no use: delete it with databricks.delete_file().")));
}

/* Undo what was done so far, without complaint and not for long. */
static void
undo_upload(void *arg)
{
	const Upload *upload = arg;
	DbxCall		 *dropped = start_delete(upload, upload->leftover);
	DbxCall		 *moved = NULL;
	TimestampTz until = GetCurrentTimestamp() + CLEAN_UP_MS * INT64CONST(1000);

	if (upload->put_back)
		moved = start_move(upload, upload->old, upload->path->path);
	while (!(dbx_call_done(dropped) && (moved == NULL || dbx_call_done(moved))) &&
		   !dbx_calls_progress(until))
		;
	if (!went_well(dropped))
		warn_of_leftover(upload);
	if (moved != NULL && !went_well(moved))
		ereport(WARNING,
				(errmsg("could not put back what was at \"%s\"",
						upload->path->given),
				 errhint("It is at \"dbfs:%s\".", upload->old)));
}

/* Give a file another name; false: there is none.  size -1: of any size. */
static bool
move_file(const Upload *upload, const char *from, const char *to, int64 size)
{
	DbxCall			  *call = start_move(upload, from, to);
	const DbxApiError *error;
	DbxFileInfo		   info;
	bool			   moved;

	dbx_call_wait(call);
	error = dbx_call_error(call);
	moved = error == NULL;
	/* an answer that was lost: is it there? */
	if (error != NULL && error->unknown_outcome)
		moved = try_stat(upload->workspace, to, &info, upload->caller) &&
			(size < 0 || info.size == size) &&
			!try_stat(upload->workspace, from, &info, upload->caller);
	if (!moved && !error->not_found)
		dbx_call_raise(call);
	dbx_call_free(call);
	return moved;
}

/*
 * Give the part file its final name.  The service replaces nothing, so what is
 * there gets another name before, and is deleted after.
 */
static void
finish_upload(Upload *upload)
{
	DbxCall *call;

	if (upload->overwrite)
	{
		upload->put_back = true;
		upload->put_back = move_file(upload, upload->path->path, upload->old,
									 -1);
	}
	if (!move_file(upload, upload->part, upload->path->path,
				   upload->source->length))
		dbx_file_changed(upload->path);
	if (!upload->put_back)
		return;
	upload->put_back = false;
	upload->leftover = upload->old;
	call = start_delete(upload, upload->old);
	dbx_call_wait(call);
	if (!went_well(call))
		warn_of_leftover(upload);
	dbx_call_free(call);
}

static void
upload_in_parts(void *arg)
{
	Upload *upload = arg;
	int		attempt;

	for (attempt = 1;; attempt++)
	{
		DbxFileInfo info;

		send_blocks(upload->workspace, upload->part, upload->source,
					upload->caller);
		if (try_stat(upload->workspace, upload->part, &info, upload->caller) &&
			info.size == upload->source->length)
			break;
		if (attempt == UPLOAD_ATTEMPTS)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not write \"%s\"", upload->path->given),
				 errdetail(
					 "What arrived has another size than what was sent, %d times.",
					 attempt)));
	}
	finish_upload(upload);
}

void
dbx_dbfs_upload(const DbxWorkspace *workspace, const DbxFilePath *path,
				const DbxFileSource *source, bool overwrite, const char *caller)
{
	Upload		upload = {workspace, path, source, caller};
	DbxFileInfo info;
	char	   *name;

	if (source->length <= DBX_FILE_BLOCK)
	{
		StringInfoData more;

		initStringInfo(&more);
		appendStringInfo(&more, ",\"overwrite\":%s,\"contents\":\"",
						 overwrite ? "true" : "false");
		dbx_file_append_base64(&more, source, 0, source->length);
		appendStringInfoChar(&more, '"');
		dbx_file_post(workspace, "/api/2.0/dbfs/put",
					  dbx_file_body(path, more.data), overwrite, caller);
		return;
	}
	if (try_stat(workspace, path->path, &info, caller))
	{
		if (info.is_dir)
			dbx_file_is_directory(path);
		if (!overwrite)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_ERROR),
					 errmsg("\"%s\" exists already", path->given),
					 errhint("A file is replaced with overwrite => true.")));
	}
	name = psprintf("%s." UINT64_FORMAT, path->path,
					pg_prng_uint64(&pg_global_prng_state));
	upload.part = psprintf("%s.part", name);
	upload.old = psprintf("%s.old", name);
	upload.leftover = upload.part;
	upload.overwrite = overwrite;
	dbx_guard_error(upload_in_parts, undo_upload, &upload);
}

typedef struct Download
{
	const DbxFilePath *path;
	const char		  *caller;
	char			  *bytes;
	int64			   size;
} Download;

static int
block_length(const Download *download, int number)
{
	return (int) Min(DBX_FILE_BLOCK,
					 download->size - (int64) number * DBX_FILE_BLOCK);
}

static void
make_read(void *arg, int number, DbxCallSpec *spec)
{
	Download	  *download = arg;
	StringInfoData query;

	initStringInfo(&query);
	dbx_query_add(&query, "path", download->path->path);
	dbx_query_add_int64(&query, "offset", (int64) number * DBX_FILE_BLOCK);
	dbx_query_add_int64(&query, "length", block_length(download, number));
	spec->method = "GET";
	spec->path = "/api/2.0/dbfs/read";
	spec->query = query.data;
	/* base64 of what is mostly packed already */
	spec->uncompressed = true;
	spec->caller = download->caller;
}

static void
take_read(void *arg, int number, DbxCall *call)
{
	Download   *download = arg;
	int			wanted = block_length(download, number);
	const char *data;

	if (dbx_call_error(call) != NULL)
		dbx_call_raise(call);
	data = dbx_json_string(dbx_json_get(dbx_call_json(call), "data"));
	if (data == NULL ||
		dbx_b64_decode(data, strlen(data),
					   download->bytes + (int64) number * DBX_FILE_BLOCK,
					   wanted) != wanted)
		dbx_file_changed(download->path);
}

bytea *
dbx_dbfs_download(const DbxWorkspace *workspace, const DbxFilePath *path,
				  const char *caller)
{
	Download	download = {0};
	DbxMany		many = {0};
	DbxFileInfo info;
	bytea	   *content;

	dbx_file_stat(workspace, path, &info, caller);
	if (info.is_dir)
		dbx_file_is_directory(path);
	content = dbx_file_alloc(path, info.size);
	download.path = path;
	download.caller = caller;
	download.bytes = VARDATA(content);
	download.size = info.size;
	many.workspace = workspace;
	many.count = (int) ((info.size + DBX_FILE_BLOCK - 1) / DBX_FILE_BLOCK);
	many.make = make_read;
	many.take = take_read;
	many.arg = &download;
	dbx_many_run(&many);
	return content;
}

/*
 * The service deletes large trees in rounds and says by a 503 that there is more
 * to do.  Any other 503 has been tried again by the call itself.
 */
void
dbx_dbfs_delete(const DbxWorkspace *workspace, const DbxFilePath *path,
				bool recursive, const char *caller)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "databricks delete",
												  ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		MemoryContext	   before = MemoryContextSwitchTo(context);
		DbxCallSpec		   spec = {0};
		DbxCall			  *call;
		const DbxApiError *error;

		spec.method = "POST";
		spec.path = "/api/2.0/dbfs/delete";
		spec.body = dbx_file_body(path, recursive ? ",\"recursive\":true" : "");
		spec.caller = caller;
		call = dbx_call_start(workspace, &spec);
		dbx_call_wait(call);
		error = dbx_call_error(call);
		if (error != NULL &&
			(error->code == NULL || strcmp(error->code, "PARTIAL_DELETE") != 0))
			dbx_call_raise(call);
		MemoryContextSwitchTo(before);
		if (error == NULL)
			break;
		ereport(NOTICE, (errmsg("%s", error->message)));
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(context);
}
