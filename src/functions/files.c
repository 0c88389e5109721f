/*
 * files.c
 *	  SQL entry points for files, whichever API their path belongs to.
 *
 * What is one call with a body is SQL; here is what moves bytes, and what takes
 * several calls.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/files.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_dbfs_path);
PG_FUNCTION_INFO_V1(databricks_delete_file);
PG_FUNCTION_INFO_V1(databricks_download_file);
PG_FUNCTION_INFO_V1(databricks_file_api);
PG_FUNCTION_INFO_V1(databricks_file_info);
PG_FUNCTION_INFO_V1(databricks_file_path);
PG_FUNCTION_INFO_V1(databricks_list_files);
PG_FUNCTION_INFO_V1(databricks_upload_file);

#define INFO_COLUMNS 5

static void
read_path(FunctionCallInfo fcinfo, DbxFilePath *path)
{
	dbx_arg_require(fcinfo, 0, "path");
	dbx_file_path(dbx_arg_text(fcinfo, 0), path);
}

Datum
databricks_file_api(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"dbfs", "volume", "workspace"};
	DbxFilePath				 path;

	read_path(fcinfo, &path);
	PG_RETURN_TEXT_P(cstring_to_text(names[path.kind]));
}

Datum
databricks_file_path(PG_FUNCTION_ARGS)
{
	DbxFilePath path;

	read_path(fcinfo, &path);
	PG_RETURN_TEXT_P(cstring_to_text(path.path));
}

Datum
databricks_dbfs_path(PG_FUNCTION_ARGS)
{
	DbxFilePath path;

	read_path(fcinfo, &path);
	if (path.kind != DBX_FILE_DBFS)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the service can move files in DBFS only"),
			 errdetail("\"%s\" is elsewhere.", path.given),
			 errhint(
				 "Copy it: SELECT databricks.upload_file(..., databricks.download_file(...)), then databricks.delete_file().")));
	PG_RETURN_TEXT_P(cstring_to_text(path.path));
}

/* Is a value stored out of line and not compressed, so that any part can be had? */
static bool
is_in_parts(const struct varlena *value)
{
	struct varatt_external pointer;

	if (!VARATT_IS_EXTERNAL_ONDISK(value))
		return false;
	VARATT_EXTERNAL_GET_POINTER(pointer, value);
	return !VARATT_EXTERNAL_IS_COMPRESSED(pointer);
}

Datum
databricks_upload_file(PG_FUNCTION_ARGS)
{
	DbxFilePath	  path;
	DbxFileSource source = {0};
	DbxWorkspace *workspace;
	bytea		 *content;

	read_path(fcinfo, &path);
	dbx_arg_require(fcinfo, 1, "content");
	workspace = dbx_arg_workspace(fcinfo, 3);
	content = (bytea *) PG_GETARG_POINTER(1);
	if (path.kind == DBX_FILE_VOLUME && is_in_parts(content))
	{
		source.length = toast_raw_datum_size(PG_GETARG_DATUM(1)) - VARHDRSZ;
		source.stored = content;
	}
	else
	{
		content = PG_GETARG_BYTEA_PP(1);
		source.bytes = VARDATA_ANY(content);
		source.length = VARSIZE_ANY_EXHDR(content);
	}
	dbx_file_upload(workspace, &path, &source,
					!PG_ARGISNULL(2) && PG_GETARG_BOOL(2), "upload_file");
	PG_RETURN_VOID();
}

Datum
databricks_download_file(PG_FUNCTION_ARGS)
{
	DbxFilePath path;

	read_path(fcinfo, &path);
	PG_RETURN_BYTEA_P(dbx_file_download(dbx_arg_workspace(fcinfo, 1), &path,
										"download_file"));
}

/* The service may say any number. */
static TimestampTz
modified_at(const DbxFileInfo *info)
{
	int64 usecs;

	if (pg_mul_s64_overflow(info->modified, INT64CONST(1000), &usecs) ||
		pg_sub_s64_overflow(usecs,
							(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
								USECS_PER_DAY,
							&usecs) ||
		!IS_VALID_TIMESTAMP(usecs))
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg(
				 "the service sent a time of change that cannot be shown as timestamp with time zone"),
			 errdetail("The value is " INT64_FORMAT " ms since 1970.",
					   info->modified)));
	return usecs;
}

static void
set_entry(Datum *values, bool *nulls, const char *path, const char *name,
		  const DbxFileInfo *info)
{
	values[0] = CStringGetTextDatum(path);
	values[1] = CStringGetTextDatum(name);
	values[2] = BoolGetDatum(info->is_dir);
	values[3] = Int64GetDatum(info->size);
	nulls[3] = info->is_dir || info->size < 0;
	values[4] = TimestampTzGetDatum(modified_at(info));
	nulls[4] = info->modified == 0;
}

Datum
databricks_file_info(PG_FUNCTION_ARGS)
{
	DbxFilePath path;
	DbxFileInfo info;
	Datum		values[INFO_COLUMNS];
	bool		nulls[INFO_COLUMNS] = {0};
	TupleDesc	desc;

	read_path(fcinfo, &path);
	dbx_file_stat(dbx_arg_workspace(fcinfo, 1), &path, &info, "file_info");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != INFO_COLUMNS)
		elog(ERROR, "unexpected result type");
	set_entry(values, nulls, path.given, strrchr(path.path, '/') + 1, &info);
	PG_RETURN_DATUM(
		HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static void
take_entry(void *arg, const DbxFileEntry *entry)
{
	ReturnSetInfo *set = arg;
	Datum		   values[INFO_COLUMNS];
	bool		   nulls[INFO_COLUMNS] = {0};

	set_entry(values, nulls, entry->path, entry->name, &entry->info);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
	pfree(DatumGetPointer(values[1]));
}

Datum
databricks_list_files(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		   recursive = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	DbxWorkspace  *workspace;
	DbxFilePath	   path;
	List		  *level;

	read_path(fcinfo, &path);
	workspace = dbx_arg_workspace(fcinfo, 2);
	InitMaterializedSRF(fcinfo, 0);
	level = list_make1(path.path);
	do
		level = dbx_file_list(workspace, path.kind, level, take_entry, set,
							  "list_files");
	while (recursive && level != NIL);
	return (Datum) 0;
}

Datum
databricks_delete_file(PG_FUNCTION_ARGS)
{
	DbxFilePath path;

	read_path(fcinfo, &path);
	dbx_file_delete(dbx_arg_workspace(fcinfo, 2), &path,
					!PG_ARGISNULL(1) && PG_GETARG_BOOL(1), "delete_file");
	PG_RETURN_VOID();
}
