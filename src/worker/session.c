/*
 * session.c
 *	  Transactions and errors of a worker's process.
 *
 * Separate because every task of the worker lives by the same rules: short
 * transactions, none of them open while the network is waited for, and an error
 * that ends a task but never the process.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "api/api.h"
#include "http/http.h"
#include "worker/session.h"

static bool extension_usable(DbxExtension *extension);

bool
dbx_session_begin(void)
{
	MemoryContext before = CurrentMemoryContext;
	DbxExtension  extension;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!extension_usable(&extension) || !dbx_data_exists(&extension))
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(before);
		return false;
	}

	/* After an update of the extension the tables may be of an older layout. */
	dbx_data_migrate();
	dbx_api_forbidden = "the background worker's transaction";
	SPI_connect();
	return true;
}

void
dbx_session_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	dbx_api_forbidden = NULL;
	MemoryContextSwitchTo(TopMemoryContext);
	(void) pgstat_report_stat(true);
}

/*
 * Wait for a DROP or UPDATE under way, keep new ones out, and look.
 */
static bool
extension_usable(DbxExtension *extension)
{
	static bool mismatch_logged = false;

	if (!dbx_extension_find(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension->oid, 0, AccessShareLock);
	if (!dbx_extension_find(extension))
		return false;
	if (strcmp(extension->version, DBX_VERSION) != 0)
	{
		if (!mismatch_logged)
			ereport(
				LOG,
				(errmsg("databricks worker: extension has version %s in this database, the library is %s",
						extension->version, DBX_VERSION),
				 errhint(
					 "Do ALTER EXTENSION databricks UPDATE, or restart the server with the library that fits.")));
		mismatch_logged = true;
		return false;
	}
	return true;
}

ErrorData *
dbx_session_try(void (*work)(void *), void *arg)
{
	MemoryContext before = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		work(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		FlushErrorState();
		HOLD_INTERRUPTS();
		AbortOutOfAnyTransaction();
		LWLockReleaseAll();
		dbx_api_forbidden = NULL;
		(void) pgstat_report_stat(true);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	return error;
}

ErrorData *
dbx_session_apart(void (*work)(void *), void *arg)
{
	MemoryContext before = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(before);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	CurrentResourceOwner = owner;

	if (error != NULL && dbx_session_concerns_all(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

bool
dbx_session_concerns_all(int sqlstate)
{
	if (sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlstate == ERRCODE_READ_ONLY_SQL_TRANSACTION)
		return true;
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK):
		case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
		case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):
			return true;
		default:
			return false;
	}
}

char *
dbx_session_error_text(const ErrorData *error)
{
	const char *text = error->message ? error->message : "unknown error";

	if (error->detail != NULL)
		text = psprintf("%s (%s)", text, error->detail);
	return pstrdup(dbx_redact(text));
}

/* Behind a number or an id: letters and digits with a digit among them. */
static const char *
skip_number(const char *p)
{
	const char *end = p;
	bool		digit = false;

	while (isalnum((unsigned char) *end) || *end == '-')
		digit |= isdigit((unsigned char) *end++) != 0;
	return digit ? end : p;
}

bool
dbx_session_same_trouble(const char *a, const char *b)
{
	if (b == NULL)
		return false;
	for (;;)
	{
		const char *rest_a = skip_number(a);
		const char *rest_b = skip_number(b);

		if (rest_a != a && rest_b != b)
		{
			a = rest_a;
			b = rest_b;
		}
		if (*a != *b)
			return false;
		if (*a == '\0')
			return true;
		a++;
		b++;
	}
}
