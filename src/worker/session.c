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
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "api/api.h"
#include "http/http.h"
#include "worker/session.h"

/*
 * How long a transaction on the history waits for a lock.  Once one was not to be
 * had, no longer than for locks that commits hold, until something could be written
 * again: each of many workspaces would wait anew.
 */
#define PATIENCE_MS		  500
#define LEAST_PATIENCE_MS 20

static volatile sig_atomic_t patience = PATIENCE_MS;
static volatile sig_atomic_t limited = false; /* and no lock was missed */
static volatile sig_atomic_t missed = false;
static LOCKTAG missed_lock; /* if so; written by the handler alone */

static bool	 extension_usable(DbxExtension *extension);
static void	 name_missed_lock(ErrorData *error);
static char *describe_lock(const LOCKTAG *tag);

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
	limited = false;
	return true;
}

void
dbx_session_commit(void)
{
	bool wrote = TransactionIdIsValid(GetTopTransactionIdIfAny());

	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (limited && wrote)
		patience = PATIENCE_MS;
	dbx_api_forbidden = NULL;
	MemoryContextSwitchTo(TopMemoryContext);
	(void) pgstat_report_stat(true);
}

bool
dbx_session_begin_history(void)
{
	if (!dbx_session_begin())
		return false;
	dbx_session_limit_waits();
	return true;
}

void
dbx_session_limit_waits(void)
{
	(void) set_config_option("lock_timeout", psprintf("%d", (int) patience),
							 PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_LOCAL, true,
							 0, false);
	limited = true;
}

void
dbx_session_interrupted(SIGNAL_ARGS)
{
	LOCK *volatile lock = MyProc != NULL ? MyProc->waitLock : NULL;

	if (!get_timeout_indicator(LOCK_TIMEOUT, false))
		return;
	/* Shared memory: should it be granted right now, another one is named. */
	if (lock != NULL)
		missed_lock = lock->tag;
	missed = lock != NULL;
	limited = false;
	patience = LEAST_PATIENCE_MS;
	StatementCancelHandler(postgres_signal_arg);
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
	if (missed && error != NULL &&
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		name_missed_lock(error);
	missed = false;
	return error;
}

/* In a transaction of its own, which waits for no lock on what is named. */
static void
name_missed_lock(ErrorData *error)
{
	MemoryContext before = CurrentMemoryContext;
	LOCKTAG		  tag = missed_lock;
	char		 *text;

	missed = false;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	text = describe_lock(&tag);
	if (text != NULL)
		error->message = MemoryContextStrdup(before, text);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(before);
}

/* NULL: of a kind that says nothing to anybody. */
static char *
describe_lock(const LOCKTAG *tag)
{
	static const char *of_relation =
		"SELECT $1::oid::regclass::text || ' is locked' || coalesce("
		" ' by process ' || string_agg(DISTINCT l.pid::text, ', '), '')"
		" FROM pg_locks AS l WHERE l.locktype = 'relation'"
		"  AND l.database = (SELECT d.oid FROM pg_database AS d"
		"   WHERE d.datname = current_database())"
		"  AND l.relation = $1::oid AND l.pid <> pg_backend_pid()"
		"  AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock',"
		"   'ExclusiveLock', 'AccessExclusiveLock')";
	static const char *of_transaction =
		"SELECT 'a row is locked' || coalesce("
		" ' by process ' || string_agg(DISTINCT l.pid::text, ', '), '')"
		" FROM pg_locks AS l WHERE l.locktype = 'transactionid'"
		"  AND l.transactionid = $1::xid AND l.granted";
	Oid	  types[] = {TEXTOID};
	Datum values[1];
	bool  relation = tag->locktag_type == LOCKTAG_RELATION;

	if (!relation && tag->locktag_type != LOCKTAG_TRANSACTION)
		return NULL;
	values[0] = CStringGetTextDatum(
		psprintf("%u", relation ? tag->locktag_field2 : tag->locktag_field1));
	if (SPI_execute_with_args(relation ? of_relation : of_transaction, 1, types,
							  values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "the locks could not be read");
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

ErrorData *
dbx_session_apart(void (*work)(void *), void *arg)
{
	ErrorData *error = dbx_session_attempt(work, arg);

	if (error != NULL && dbx_session_concerns_all(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

ErrorData *
dbx_session_attempt(void (*work)(void *), void *arg)
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
