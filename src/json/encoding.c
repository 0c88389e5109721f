/*
 * encoding.c
 *	  Between the UTF-8 of JSON and the encoding of the database.
 *
 * Separate because almost no database needs it: with UTF8 (and SQL_ASCII,
 * which takes bytes as they are) nothing here runs.  The server's own
 * conversion raises for a character that the database's encoding lacks; then
 * one odd run name would hide all runs, so here it becomes a question mark.
 *
 * The conversion functions are looked up once per process, which needs a
 * transaction, and are kept in TopMemoryContext; later calls need none.  The
 * server's own functions for this always need one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/string.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "compat.h"
#include "json/encoding.h"
#include "json/json.h"

static FmgrInfo *from_utf8;
static FmgrInfo *to_utf8;

/* The conversion between two encodings, looked up once; NULL if there is none. */
static FmgrInfo *
find_conversion(FmgrInfo **known, int from, int to)
{
	Oid		  proc;
	FmgrInfo *found;

	if (*known != NULL)
		return *known;

	if (!IsTransactionState())
		elog(ERROR,
			 "cannot look up an encoding conversion outside a transaction");
	proc = FindDefaultConversionProc(from, to);
	if (!OidIsValid(proc))
		return NULL;

	found = MemoryContextAlloc(TopMemoryContext, sizeof(FmgrInfo));
	fmgr_info_cxt(proc, found, TopMemoryContext);
	*known = found;
	return found;
}

static pg_noreturn void
no_conversion(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_FUNCTION),
		 errmsg("there is no conversion between UTF8 and the database encoding %s",
				GetDatabaseEncodingName())));
}

static void
check_length(Size len)
{
	if (len > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("string of %zu bytes is too long for encoding conversion",
						len)));
}

void
dbx_json_prepare_encoding(void)
{
	int encoding = GetDatabaseEncoding();

	if (!dbx_json_needs_conversion())
		return;
	(void) find_conversion(&from_utf8, PG_UTF8, encoding);
	(void) find_conversion(&to_utf8, encoding, PG_UTF8);
}

char *
dbx_json_to_utf8(const char *text)
{
	FmgrInfo *proc;
	Size	  len;
	char	 *result;

	if (!dbx_json_needs_conversion() || pg_is_ascii(text))
		return unconstify(char *, text);

	len = strlen(text);
	check_length(len);
	proc = find_conversion(&to_utf8, GetDatabaseEncoding(), PG_UTF8);
	if (proc == NULL)
		no_conversion();
	result = MemoryContextAllocHuge(CurrentMemoryContext,
									len * MAX_CONVERSION_GROWTH + 1);
	(void) FunctionCall6(proc, Int32GetDatum(GetDatabaseEncoding()),
						 Int32GetDatum(PG_UTF8), CStringGetDatum(text),
						 CStringGetDatum(result), Int32GetDatum((int) len),
						 BoolGetDatum(false));
	return result;
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
	check_length(len);
	proc = find_conversion(&from_utf8, PG_UTF8, GetDatabaseEncoding());
	if (proc == NULL)
		no_conversion();
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
