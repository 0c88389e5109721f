/*
 * ddl.c
 *	  Commands on databases and on the extension that concern the workers.
 *
 * Some commands want a database without connections: DROP DATABASE, RENAME,
 * SET TABLESPACE, CREATE DATABASE ... TEMPLATE.  A worker that sits in it must
 * not hold them up, and must not be stopped by someone without the right to
 * the command either.  DROP DATABASE calls the object access hook after its
 * rights check and before it counts connections.  The others have no hook at a
 * useful moment, so their rights are checked here as the command will check
 * them again; when in doubt nothing is stopped and the command decides.
 *
 * A suspension lasts until the transaction ends, whichever way, so that no new
 * worker comes while the command runs; if it failed the worker comes back.
 *
 * Creation, update and removal of the extension wake the worker at commit, and
 * so does COMMIT PREPARED: the callbacks at the end of a transaction do not know
 * what a prepared one has done.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_tablespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "worker/ddl.h"
#include "worker/shared.h"
#include "worker/worker.h"

/* Suspensions of this transaction.  In TopMemoryContext: abort must find it. */
typedef struct Suspension
{
	Oid	 dboid;
	bool dropped; /* if the transaction commits */
} Suspension;

static List *suspensions = NIL;

/* What this transaction did that a worker has to look at when it commits. */
static bool wake_at_commit = false;
static bool extension_created = false;

static object_access_hook_type	previous_object_access_hook = NULL;
static ProcessUtility_hook_type previous_process_utility_hook = NULL;

static void watch_transaction(void);
static void transaction_ends(XactEvent event, void *arg);
static void object_accessed(ObjectAccessType access, Oid class_id,
							Oid object_id, int sub_id, void *arg);
static void process_utility(PlannedStmt *pstmt, const char *query_string,
							bool read_only_tree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *query_env,
							DestReceiver *dest, QueryCompletion *qc);
static Oid	database_to_empty(Node *statement);
static Oid	rename_target(RenameStmt *statement);
static Oid	move_target(AlterDatabaseStmt *statement);
static Oid	copy_source(CreatedbStmt *statement);
static bool may_create_databases(void);
static bool is_template(Oid dboid);
static void suspend(Oid dboid, bool dropped);

void
dbx_ddl_init(void)
{
	previous_object_access_hook = object_access_hook;
	object_access_hook = object_accessed;
	previous_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

void
dbx_worker_wake_at_commit(void)
{
	if (!dbx_shared_available())
		return;
	watch_transaction();
	wake_at_commit = true;
}

/* Once per process: callbacks are never removed. */
static void
watch_transaction(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(transaction_ends, NULL);
	registered = true;
}

/*
 * Raises nothing and reads no catalog once the transaction is over.
 */
static void
transaction_ends(XactEvent event, void *arg)
{
	ListCell *cell;
	bool	  committed = event == XACT_EVENT_COMMIT;

	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
	{
		/* The new extension could not be looked up when it was made. */
		if (extension_created &&
			OidIsValid(get_extension_oid("databricks", true)))
			wake_at_commit = true;
		extension_created = false;
		return;
	}
	if (!committed && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;

	foreach(cell, suspensions)
	{
		Suspension *suspension = lfirst(cell);

		dbx_shared_resume(suspension->dboid, committed && suspension->dropped);
	}
	list_free_deep(suspensions);
	suspensions = NIL;
	if (committed && wake_at_commit)
		dbx_shared_wake(MyDatabaseId);
	wake_at_commit = false;
	extension_created = false;
}

static void
object_accessed(ObjectAccessType access, Oid class_id, Oid object_id,
				int sub_id, void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, class_id, object_id, sub_id, arg);

	if (class_id == DatabaseRelationId && access == OAT_DROP)
		suspend(object_id, true);
	else if (class_id == ExtensionRelationId)
	{
		char *name;

		if (access == OAT_POST_CREATE)
		{
			watch_transaction();
			extension_created = true;
		}
		else if (access == OAT_DROP || access == OAT_POST_ALTER)
		{
			name = get_extension_name(object_id);
			if (name != NULL && strcmp(name, "databricks") == 0)
				dbx_worker_wake_at_commit();
		}
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *query_env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Oid	 dboid = database_to_empty(pstmt->utilityStmt);
	bool commits_prepared = IsA(pstmt->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) pstmt->utilityStmt)->kind ==
			TRANS_STMT_COMMIT_PREPARED;

	if (OidIsValid(dboid))
		suspend(dboid, false);

	/* the statement may be gone afterwards: a procedure can take its plan away */
	if (previous_process_utility_hook)
		previous_process_utility_hook(pstmt, query_string, read_only_tree,
									  context, params, query_env, dest, qc);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, context,
								params, query_env, dest, qc);

	/* What this commits was prepared earlier, in whatever session. */
	if (commits_prepared && OidIsValid(get_extension_oid("databricks", true)))
		dbx_shared_wake(MyDatabaseId);
}

/*
 * The database that this statement wants without connections, provided that
 * the user may do it; else InvalidOid.
 */
static Oid
database_to_empty(Node *statement)
{
	Oid dboid = InvalidOid;

	/* COMMIT and the like come here too, when no catalog can be read. */
	if (!IsTransactionState())
		return InvalidOid;

	if (IsA(statement, RenameStmt))
		dboid = rename_target((RenameStmt *) statement);
	else if (IsA(statement, AlterDatabaseStmt))
		dboid = move_target((AlterDatabaseStmt *) statement);
	else if (IsA(statement, CreatedbStmt))
		dboid = copy_source((CreatedbStmt *) statement);
	return dboid;
}

static Oid
rename_target(RenameStmt *statement)
{
	Oid dboid;

	if (statement->renameType != OBJECT_DATABASE)
		return InvalidOid;
	dboid = get_database_oid(statement->subname, true);
	if (!OidIsValid(dboid) || dboid == MyDatabaseId ||
		!object_ownercheck(DatabaseRelationId, dboid, GetUserId()) ||
		!may_create_databases())
		return InvalidOid;
	return dboid;
}

static Oid
move_target(AlterDatabaseStmt *statement)
{
	ListCell *cell;
	Oid		  dboid;
	Oid		  spcoid;

	foreach(cell, statement->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "tablespace") != 0 || option->arg == NULL)
			continue;
		dboid = get_database_oid(statement->dbname, true);
		spcoid = get_tablespace_oid(defGetString(option), true);
		if (!OidIsValid(dboid) || !OidIsValid(spcoid) || dboid == MyDatabaseId ||
			!object_ownercheck(DatabaseRelationId, dboid, GetUserId()) ||
			object_aclcheck(TableSpaceRelationId, spcoid, GetUserId(),
							ACL_CREATE) != ACLCHECK_OK)
			return InvalidOid;
		return dboid;
	}
	return InvalidOid;
}

static Oid
copy_source(CreatedbStmt *statement)
{
	const char *name = "template1";
	ListCell   *cell;
	Oid			dboid;

	foreach(cell, statement->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			name = defGetString(option);
	}
	dboid = get_database_oid(name, true);
	if (!OidIsValid(dboid) || !may_create_databases() ||
		(!is_template(dboid) &&
		 !object_ownercheck(DatabaseRelationId, dboid, GetUserId())))
		return InvalidOid;
	return dboid;
}

static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool	  result = false;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_template(Oid dboid)
{
	HeapTuple tuple;
	bool	  result = false;

	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

/*
 * Noted before anything can interrupt, so that the suspension ends with the
 * transaction in any case.
 */
static void
suspend(Oid dboid, bool dropped)
{
	MemoryContext previous;
	Suspension	 *suspension;

	watch_transaction();
	previous = MemoryContextSwitchTo(TopMemoryContext);
	suspension = palloc(sizeof(Suspension));
	suspension->dboid = dboid;
	suspension->dropped = dropped;
	suspensions = lappend(suspensions, suspension);
	MemoryContextSwitchTo(previous);

	if (dbx_shared_suspend(dboid))
		dbx_shared_await_gone(dboid);
	else
	{
		suspensions = list_delete_last(suspensions);
		pfree(suspension);
	}
}
