/*
 * encoding.c
 *	  From the UTF-8 of JSON to the encoding of the database.
 *
 * Separate because almost no database needs it: with UTF8 (and SQL_ASCII,
 * which takes bytes as they are) nothing here runs.  The server's own
 * conversion raises for a character that the database's encoding lacks; then
 * one odd run name would hide all runs, so here it becomes a question mark.
 *
 * The conversion function is looked up once per process, which needs a
 * transaction, and is kept in TopMemoryContext; later calls need none.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/string.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "json/encoding.h"

static FmgrInfo *conversion;

static FmgrInfo *
find_conversion(void)
{
	Oid		  proc;
	FmgrInfo *found;

	if (conversion != NULL)
		return conversion;

	if (!IsTransactionState())
		elog(ERROR,
			 "cannot look up an encoding conversion outside a transaction");
	proc = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (!OidIsValid(proc))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("there is no conversion from UTF8 to the database encoding %s",
					GetDatabaseEncodingName())));

	found = MemoryContextAlloc(TopMemoryContext, sizeof(FmgrInfo));
	fmgr_info_cxt(proc, found, TopMemoryContext);
	conversion = found;
	return conversion;
}

bool
dbx_json_needs_conversion(void)
{
	int encoding = GetDatabaseEncoding();

	return encoding != PG_UTF8 && encoding != PG_SQL_ASCII;
}

char *
dbx_json_to_server(char *utf8)
{
	FmgrInfo *proc;
	Size	  len;
	char	 *result;
	char	 *to;
	char	 *from = utf8;
	char	 *end;

	if (pg_is_ascii(utf8))
		return utf8;

	len = strlen(utf8);
	end = utf8 + len;
	if (len > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("string of %zu bytes is too long for encoding conversion",
						len)));
	proc = find_conversion();
	to = result = MemoryContextAllocHuge(CurrentMemoryContext,
										 len * MAX_CONVERSION_GROWTH + 1);

	while (from < end)
	{
		/* Converts up to the first character it cannot. */
		from += DatumGetInt32(FunctionCall6(
			proc, Int32GetDatum(PG_UTF8), Int32GetDatum(GetDatabaseEncoding()),
			CStringGetDatum(from), CStringGetDatum(to),
			Int32GetDatum((int) (end - from)), BoolGetDatum(true)));
		to += strlen(to);
		if (from < end)
		{
			from += pg_utf_mblen((const unsigned char *) from);
			*to++ = '?';
		}
	}
	*to = '\0';
	return result;
}
