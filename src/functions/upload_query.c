/*
 * upload_query.c
 *	  SQL entry point that writes the result of a query to a file.
 *
 * Separate because nothing of the result is kept in memory: rows come through a
 * cursor, are written to a temporary file (so that the length is known and a
 * broken upload can be repeated), and go from there.  The file counts against
 * temp_file_limit and is gone at the end of the transaction at the latest.
 */
#include "postgres.h"

#include <zlib.h>

#include "access/htup_details.h"
#include "utils/fmgroids.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "api/files.h"
#include "compat.h"
#include "functions/args.h"

PG_FUNCTION_INFO_V1(databricks_upload_query);

#define ROWS_AT_ONCE 1000
#define PIECE		 (256 * 1024) /* written to the file at once */

/* A text on its way into the temporary file, perhaps packed. */
typedef struct Spool
{
	File		   file;
	off_t		   length;
	StringInfoData text; /* not yet written */
	bool		   packed;
	z_stream	   packer;
	MemoryContext  context;
} Spool;

typedef struct Columns
{
	int		  count;
	FmgrInfo *output;
	bool	  json;
	TupleDesc desc;
	FmgrInfo  to_json;
} Columns;

/* zlib takes its memory here, so that it goes away by itself. */
static voidpf
pack_alloc(voidpf opaque, uInt items, uInt size)
{
	return MemoryContextAllocExtended((MemoryContext) opaque,
									  (Size) items * size, MCXT_ALLOC_NO_OOM);
}

static void
pack_free(voidpf opaque, voidpf address)
{
	pfree(address);
}

static void
write_file(Spool *spool, const char *bytes, int length)
{
	if (length == 0)
		return;
	if (FileWrite(spool->file, (char *) bytes, length, spool->length,
				  WAIT_EVENT_BUFFILE_WRITE) != length)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to a temporary file: %m")));
	spool->length += length;
}

/* Write what is waiting; "last": and whatever zlib holds back. */
static void
flush_spool(Spool *spool, bool last)
{
	static char packed[PIECE];

	if (!spool->packed)
	{
		write_file(spool, spool->text.data, spool->text.len);
		resetStringInfo(&spool->text);
		return;
	}
	spool->packer.next_in = (Bytef *) spool->text.data;
	spool->packer.avail_in = spool->text.len;
	do
	{
		spool->packer.next_out = (Bytef *) packed;
		spool->packer.avail_out = sizeof(packed);
		if (deflate(&spool->packer, last ? Z_FINISH : Z_NO_FLUSH) ==
			Z_STREAM_ERROR)
			elog(ERROR, "could not compress a file");
		write_file(spool, packed, sizeof(packed) - spool->packer.avail_out);
	} while (spool->packer.avail_out == 0);
	resetStringInfo(&spool->text);
}

static void
open_spool(Spool *spool, bool packed)
{
	memset(spool, 0, sizeof(*spool));
	spool->context = CurrentMemoryContext;
	spool->file = OpenTemporaryFile(false);
	initStringInfo(&spool->text);
	spool->packed = packed;
	if (!packed)
		return;
	spool->packer.zalloc = pack_alloc;
	spool->packer.zfree = pack_free;
	spool->packer.opaque = CurrentMemoryContext;
	/* 15 bits of window, and 16 more for the frame of gzip */
	if (deflateInit2(&spool->packer, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16,
					 8, Z_DEFAULT_STRATEGY) != Z_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
}

/* One field of CSV; in quotes where it would be read otherwise without. */
static void
append_field(StringInfo out, const char *text)
{
	const char *at;

	if (*text && strpbrk(text, ",\"\r\n") == NULL && *text != ' ' &&
		*text != '\t' && text[strlen(text) - 1] != ' ' &&
		text[strlen(text) - 1] != '\t')
	{
		appendStringInfoString(out, text);
		return;
	}
	appendStringInfoChar(out, '"');
	for (at = text; *at; at++)
	{
		if (*at == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, *at);
	}
	appendStringInfoChar(out, '"');
}

/* The database's text as the file has it. */
static char *
to_utf8(char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static void
prepare_columns(Columns *columns, TupleDesc desc, bool json, StringInfo out)
{
	int i;

	/* rows as values of a type need one that is known */
	columns->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	columns->json = json;
	columns->count = desc->natts;
	if (json)
	{
		fmgr_info(F_ROW_TO_JSON_RECORD, &columns->to_json);
		return;
	}
	columns->output = palloc(sizeof(FmgrInfo) * Max(desc->natts, 1));
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Oid				  output;
		bool			  varlena;

		getTypeOutputInfo(column->atttypid, &output, &varlena);
		fmgr_info(output, &columns->output[i]);
		if (i > 0)
			appendStringInfoChar(out, ',');
		append_field(out, to_utf8(NameStr(column->attname)));
	}
	appendStringInfoChar(out, '\n');
}

static void
append_row(Columns *columns, HeapTuple row, StringInfo out)
{
	int i;

	if (columns->json)
	{
		Datum record = heap_copy_tuple_as_datum(row, columns->desc);

		appendStringInfoString(out,
							   to_utf8(TextDatumGetCString(
								   FunctionCall1(&columns->to_json, record))));
		appendStringInfoChar(out, '\n');
		return;
	}
	for (i = 0; i < columns->count; i++)
	{
		bool  isnull;
		Datum value = heap_getattr(row, i + 1, columns->desc, &isnull);

		if (i > 0)
			appendStringInfoChar(out, ',');
		/* nothing at all is null, an empty text is "" */
		if (!isnull)
			append_field(out,
						 to_utf8(OutputFunctionCall(&columns->output[i], value)));
	}
	appendStringInfoChar(out, '\n');
}

/* Values are written in a form that does not depend on settings. */
static int
set_text_forms(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("datestyle", "ISO, YMD", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("intervalstyle", "postgres", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("extra_float_digits", "1", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("bytea_output", "hex", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* Run the query into the spool; the number of rows. */
static int64
spool_query(const char *query, bool json, Spool *spool)
{
	SPIPlanPtr	  plan;
	Portal		  portal;
	Columns		  columns;
	MemoryContext row_context;
	int64		  rows = 0;
	int			  level;

	SPI_connect();
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare a query: %s",
			 SPI_result_code_string(SPI_result));
	if (!SPI_is_cursor_plan(plan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("query must be a single statement that returns rows"),
				 errhint("As in SELECT * FROM orders.")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	level = set_text_forms();
	prepare_columns(&columns, portal->tupDesc, json, &spool->text);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "databricks row",
										ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		uint64 i;

		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		if (SPI_processed == 0)
			break;
		for (i = 0; i < SPI_processed; i++)
		{
			MemoryContext before = MemoryContextSwitchTo(row_context);

			append_row(&columns, SPI_tuptable->vals[i], &spool->text);
			MemoryContextSwitchTo(before);
			MemoryContextReset(row_context);
			if (spool->text.len >= PIECE)
				flush_spool(spool, false);
			rows++;
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	flush_spool(spool, true);
	SPI_cursor_close(portal);
	AtEOXact_GUC(true, level);
	SPI_finish();
	return rows;
}

static bool
ends_with(const char *text, const char *end)
{
	Size length = strlen(text);

	return length >= strlen(end) &&
		strcmp(text + length - strlen(end), end) == 0;
}

Datum
databricks_upload_query(PG_FUNCTION_ARGS)
{
	DbxFilePath	  path;
	DbxFileSource source = {0};
	DbxCallSpec	  spec = {0};
	DbxWorkspace *workspace;
	char		 *format = dbx_arg_text(fcinfo, 2);
	Spool		  spool;
	int64		  rows;

	dbx_arg_require(fcinfo, 0, "query");
	dbx_arg_require(fcinfo, 1, "path");
	if (format == NULL)
		format = "csv";
	if (strcmp(format, "csv") != 0 && strcmp(format, "jsonl") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid format: \"%s\"", format),
				 errhint("Valid are csv and jsonl.")));
	dbx_file_path(dbx_arg_text(fcinfo, 1), &path);
	workspace = dbx_arg_workspace(fcinfo, 4);
	/* before the query runs for an hour in a read-only transaction */
	spec.method = "PUT";
	spec.path = "/api/2.0/fs/files";
	dbx_call_check(&spec);

	open_spool(&spool, ends_with(path.path, ".gz"));
	rows = spool_query(dbx_arg_text(fcinfo, 0), strcmp(format, "jsonl") == 0,
					   &spool);
	source.file = spool.file;
	source.length = spool.length;
	dbx_file_upload(workspace, &path, &source,
					!PG_ARGISNULL(3) && PG_GETARG_BOOL(3), "upload_query");
	if (spool.packed)
		deflateEnd(&spool.packer);
	FileClose(spool.file);
	PG_RETURN_INT64(rows);
}
