/*
 * trigger.c
 *	  Trigger function that asks for a run when a table is changed.
 *
 * Whatever goes wrong is a subtransaction's affair: the writer of the table
 * wants to write.  The request is the table owner's, so the rights of the
 * writer to the workspace do not matter, and are not looked at here.
 *
 * Identical requests of one transaction are found by a table of what it has
 * asked for; an entry counts only while its row is still there, since a
 * savepoint may have been rolled back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "http/http.h"
#include "worker/migrate.h"
#include "worker/outbox.h"
#include "workspace/workspace.h"

/*
 * Stands in rejected requests of which not even the workspace is known: no server
 * can have this name, so nobody owns it.
 */
#define NO_WORKSPACE ""

typedef struct Asked
{
	uint64 hash; /* hash key */
	int64  request_id;
} Asked;

/* What this transaction has asked for; another transaction begins anew. */
static HTAB			*asked = NULL;
static TransactionId asked_xid = InvalidTransactionId;

static bool		   nothing_changed(const TriggerData *trigger);
static void		   ask(TriggerData *trigger, const char *fault);
static Jsonb	  *evaluate(TriggerData *trigger, const char *expression);
static const char *argument(const TriggerData *trigger, int number);
static bool		   asked_already(const DbxEnqueue *request, Asked **entry);
static bool		   still_there(int64 request_id);
static uint64	   add_text(uint64 hash, const char *text);

PG_FUNCTION_INFO_V1(databricks_run_job_on_change);

Datum
databricks_run_job_on_change(PG_FUNCTION_ARGS)
{
	TriggerData	 *trigger = (TriggerData *) fcinfo->context;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	HeapTuple volatile result = NULL;
	char *volatile fault = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(
			ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("run_job_on_change can only be called as a trigger"),
			 errhint(
				 "CREATE TRIGGER ... FOR EACH STATEMENT EXECUTE FUNCTION databricks.run_job_on_change('job').")));
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		result = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)
			? trigger->tg_newtuple
			: trigger->tg_trigtuple;
	if (nothing_changed(trigger))
		return PointerGetDatum(result);

	/* At most twice: the request, and else that it could not be made. */
	for (int i = 0; i < 2; i++)
	{
		volatile bool done = false;

		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			ask(trigger, fault);
			ReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			done = true;
		}
		PG_CATCH();
		{
			ErrorData *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			if (ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
					ERRCODE_OPERATOR_INTERVENTION ||
				ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
					ERRCODE_TRANSACTION_ROLLBACK)
				ReThrowError(error);
			fault = pstrdup(dbx_redact(error->message));
			ereport(
				WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("no run was asked for by trigger \"%s\" of table \"%s\": %s",
						trigger->tg_trigger->tgname,
						RelationGetRelationName(trigger->tg_relation), fault)));
		}
		PG_END_TRY();
		if (done)
			break;
	}
	return PointerGetDatum(result);
}

/* Known only where the trigger was declared with transition tables. */
static bool
nothing_changed(const TriggerData *trigger)
{
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		(trigger->tg_newtable == NULL && trigger->tg_oldtable == NULL))
		return false;
	return (trigger->tg_newtable == NULL ||
			tuplestore_tuple_count(trigger->tg_newtable) == 0) &&
		(trigger->tg_oldtable == NULL ||
		 tuplestore_tuple_count(trigger->tg_oldtable) == 0);
}

/* "fault" given: note that it was not possible. */
static void
ask(TriggerData *trigger, const char *fault)
{
	DbxEnqueue	request = {0};
	const char *job = argument(trigger, 0);
	const char *expression = argument(trigger, 2);
	const char *debounce = argument(trigger, 3);
	Asked	   *entry;
	int64		request_id;

	request.kind = DBX_REQUEST_RUN_NOW;
	request.requester = trigger->tg_relation->rd_rel->relowner;
	request.rights_later = true;
	request.workspace = argument(trigger, 1);
	request.job_name = job;
	if (fault != NULL)
	{
		request.rejected = fault;
		if (request.job_name == NULL)
			request.job_name = "?";
		if (request.workspace == NULL)
			request.workspace = NO_WORKSPACE;
		(void) dbx_outbox_enqueue(&request);
		return;
	}
	if (job == NULL || trigger->tg_trigger->tgnargs > 4)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "run_job_on_change takes a job and at most a workspace, an expression and an interval")));
	if (request.workspace == NULL)
		request.workspace = dbx_workspace_default(request.requester);
	if (debounce != NULL)
		request.debounce = DatumGetIntervalP(
			DirectFunctionCall3(interval_in, CStringGetDatum(debounce),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (expression != NULL)
		request.job_parameters = evaluate(trigger, expression);
	if (asked_already(&request, &entry))
		return;
	request_id = dbx_outbox_enqueue(&request);
	entry->request_id = request_id;
}

static const char *
argument(const TriggerData *trigger, int number)
{
	if (number >= trigger->tg_trigger->tgnargs ||
		*trigger->tg_trigger->tgargs[number] == '\0')
		return NULL;
	return trigger->tg_trigger->tgargs[number];
}

/*
 * As the writer, whose statement it is part of, but with names looked up where
 * the owner of the table meant them: a writer's own functions of the same names
 * would decide what the owner's job is told.
 */
static Jsonb *
evaluate(TriggerData *trigger, const char *expression)
{
	int		  nest_level = NewGUCNestLevel();
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	Oid		  types[2];
	Datum	  values[2] = {0};
	char	  nulls[] = "nn";
	Jsonb	 *result = NULL;
	bool	  isnull;
	Datum	  value;

	types[0] = types[1] = trigger->tg_relation->rd_rel->reltype;
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		HeapTuple tuple_new = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)
			? trigger->tg_newtuple
			: TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? trigger->tg_trigtuple
														 : NULL;
		HeapTuple tuple_old = TRIGGER_FIRED_BY_INSERT(trigger->tg_event)
			? NULL
			: trigger->tg_trigtuple;

		if (tuple_new != NULL)
		{
			values[0] = heap_copy_tuple_as_datum(tuple_new, desc);
			nulls[0] = ' ';
		}
		if (tuple_old != NULL)
		{
			values[1] = heap_copy_tuple_as_datum(tuple_old, desc);
			nulls[1] = ' ';
		}
	}
	(void) set_config_option(
		"search_path",
		psprintf("pg_catalog, %s, pg_temp",
				 quote_identifier(get_namespace_name(
					 RelationGetNamespace(trigger->tg_relation)))),
		PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	SPI_register_trigger_data(trigger);
	if (SPI_execute_with_args(psprintf("SELECT (\n%s\n)::pg_catalog.jsonb",
									   expression),
							  2, types, values, nulls, false,
							  0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the expression did not give one value"),
			 errhint(
				 "It must give one row with one value, the job_parameters as jsonb.")));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						  &isnull);
	if (!isnull)
	{
		Jsonb *jsonb = DatumGetJsonbP(value);

		result = SPI_palloc(VARSIZE(jsonb));
		memcpy(result, jsonb, VARSIZE(jsonb));
	}
	SPI_finish();
	AtEOXact_GUC(false, nest_level);
	return result;
}

/* ---- identical requests of one transaction ---- */

static bool
asked_already(const DbxEnqueue *request, Asked **entry)
{
	TransactionId xid = GetTopTransactionId();
	uint64		  hash = request->requester;
	bool		  found;

	if (asked == NULL || asked_xid != xid)
	{
		HASHCTL control = {0};

		if (asked != NULL)
			hash_destroy(asked);
		asked = NULL;
		control.keysize = sizeof(uint64);
		control.entrysize = sizeof(Asked);
		control.hcxt = TopMemoryContext;
		asked = hash_create("databricks requests of a transaction", 64,
							&control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		asked_xid = xid;
	}
	hash = add_text(hash, request->workspace);
	hash = add_text(hash, request->job_name);
	if (request->job_parameters != NULL)
		hash = hash_combine64(
			hash,
			hash_bytes_extended((unsigned char *) request->job_parameters,
								VARSIZE(request->job_parameters), 0));
	*entry = hash_search(asked, &hash, HASH_ENTER, &found);
	if (!found)
		(*entry)->request_id = 0;
	return found && (*entry)->request_id != 0 &&
		still_there((*entry)->request_id);
}

static uint64
add_text(uint64 hash, const char *text)
{
	return hash_combine64(hash,
						  hash_bytes_extended((unsigned char *) text,
											  strlen(text), 0));
}

/* A row of this transaction, unless a savepoint has taken it away. */
static bool
still_there(int64 request_id)
{
	DbxExtension extension;
	DbxDataRole	 role;
	Oid			 types[] = {INT8OID};
	Datum		 values[1];
	bool		 result;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		return false;
	values[0] = Int64GetDatum(request_id);
	dbx_data_enter(&extension, &role);
	SPI_connect();
	if (SPI_execute_with_args("SELECT FROM databricks.run_requests AS r"
							  " WHERE r.request_id = $1 AND r.state = 'queued'",
							  1, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "a request could not be found");
	result = SPI_processed > 0;
	SPI_finish();
	dbx_data_leave(&role);
	return result;
}
