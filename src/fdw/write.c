/*
 * write.c
 *	  INSERT, UPDATE and DELETE of foreign tables, row by row.
 *
 * Separate from writers.c, which knows the calls.  Rows are found by reading
 * first; what names them is handed up by the scan in columns of its own.  A write
 * is a call made at once: it is not undone when the transaction is, so a
 * statement makes only so many.
 *
 * Values of a row that is given back live in row_context until the next row.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type_d.h"
#include "commands/defrem.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "fdw/write.h"
#include "guc.h"

/* Indexes into fdw_private of a ModifyTable. */
enum WritePrivate
{
	WRITE_RETURNED /* IntList: attribute numbers in RETURNING; 0 is all */
};

typedef struct WriteState
{
	DbxTable		*table;
	DbxWorkspace	*workspace;
	const DbxWriter *writer;
	CmdType			 operation;
	Bitmapset		*updated; /* columns of the resource */
	AttrNumber		 keys[DBX_WRITE_KEYS];
	AttrNumber		 old_row; /* junk attribute, 0: none */
	bool			 reread;  /* the new row is given back */
	bool			*needed;
	int				 written;
	DbxCallStats	 stats;
	MemoryContext	 row_context;
} WriteState;

static bool				is_updatable(Oid relid);
static const DbxWriter *find_writer(const DbxTable *table, CmdType operation);
static void				begin(ModifyTableState *mtstate, ResultRelInfo *info,
							  CmdType operation, List *returned);
static AttrNumber		key_attribute(const DbxTable *table, const char *key);
static char			   *key_name(const DbxTable *table, const char *key);
static void				find_keys(WriteState *state, Plan *subplan);
static bool				is_listed(const char *columns, const char *name);
static void				check_workspace(const WriteState *state, Datum name);
static void				cannot_set(const WriteState *state, int column);
static DbxChange	   *begin_change(WriteState *state, TupleTableSlot *slot,
									 TupleTableSlot *plan_slot);
static void	 call_writer(WriteState *state, void (*writer)(DbxChange *change),
						 DbxChange	*change);
static void	 count_write(WriteState *state);
static void	 give_back_old(WriteState *state, TupleTableSlot *slot,
						   TupleTableSlot *plan_slot);
static void	 give_back_new(WriteState *state, const DbxChange *change,
						   TupleTableSlot *slot);
static char *datum_json(Datum value, Oid type);

static bool
is_updatable(Oid relid)
{
	ListCell *cell;

	foreach(cell, GetForeignTable(relid)->options)
	{
		DefElem *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "updatable") == 0)
			return defGetBoolean(def);
	}
	return true;
}

/*
 * The writer of a table, when it can do this.  The planner asks for its part before
 * anybody has asked whether the table can be written at all, so this is where that
 * is refused; the server's own words would not say what to do instead.
 */
static const DbxWriter *
find_writer(const DbxTable *table, CmdType operation)
{
	const DbxWriter *writer = dbx_writer_find(table->res);
	const char		*done = operation == CMD_INSERT ? "inserted"
			 : operation == CMD_UPDATE				? "updated"
													: "deleted";

	if (writer != NULL &&
		(operation == CMD_INSERT	   ? writer->insert != NULL
			 : operation == CMD_UPDATE ? writer->update != NULL
									   : writer->delete != NULL))
		return writer;
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg("rows of foreign table \"%s\" cannot be %s", table->name, done),
		 operation == CMD_DELETE && writer != NULL && writer->delete_hint != NULL
			 ? errhint("%s", writer->delete_hint)
			 : errhint(
				   "View databricks.api_functions lists the functions that change something in the workspace.")));
	return NULL; /* keep compilers quiet */
}

/* Nothing is raised: views of the catalogs ask for all tables. */
int
databricksIsForeignRelUpdatable(Relation rel)
{
	const char		  *name;
	const DbxResource *res = dbx_fdw_table_resource(rel, &name);
	const DbxWriter	  *writer = res != NULL ? dbx_writer_find(res) : NULL;

	if (writer == NULL || !is_updatable(RelationGetRelid(rel)))
		return 0;
	return (writer->insert ? 1 << CMD_INSERT : 0) |
		(writer->update ? 1 << CMD_UPDATE : 0) |
		(writer->delete ? 1 << CMD_DELETE : 0);
}

void
databricksAddForeignUpdateTargets(PlannerInfo *root, Index rtindex,
								  RangeTblEntry *target_rte,
								  Relation		 target_relation)
{
	DbxTable		*table = dbx_fdw_table(target_relation);
	const DbxWriter *writer = find_writer(table, root->parse->commandType);
	int				 i;

	for (i = 0; i < DBX_WRITE_KEYS && writer->keys[i] != NULL; i++)
	{
		AttrNumber		  attno = key_attribute(table, writer->keys[i]);
		Form_pg_attribute attribute;

		if (!AttributeNumberIsValid(attno))
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("foreign table \"%s\" has no column for \"%s\", which names its rows",
						table->name, writer->keys[i]),
				 errhint("ALTER FOREIGN TABLE ... ADD COLUMN makes one.")));
		attribute = TupleDescAttr(table->desc, attno - 1);
		add_row_identity_var(root,
							 makeVar(rtindex, attno, attribute->atttypid,
									 attribute->atttypmod,
									 attribute->attcollation, 0),
							 rtindex, key_name(table, writer->keys[i]));
	}

	/*
	 * The old row is only wanted where it is given back.  The server asks for it
	 * in the same form when it updates or has triggers.
	 */
	if (root->parse->returningList != NIL)
		add_row_identity_var(root,
							 makeVar(rtindex, InvalidAttrNumber, RECORDOID, -1,
									 InvalidOid, 0),
							 rtindex, "wholerow");
}

/* The attribute that shows a key, InvalidAttrNumber if none does. */
static AttrNumber
key_attribute(const DbxTable *table, const char *key)
{
	int column = dbx_resource_column(table->res, key);
	int i;

	for (i = 0; i < table->natts; i++)
	{
		if (table->columns[i] == column)
			return i + 1;
	}
	return InvalidAttrNumber;
}

/*
 * What the scan hands a key up as.  Children of one table share it only where it is
 * the same column to all of them.
 */
static char *
key_name(const DbxTable *table, const char *key)
{
	AttrNumber attno = key_attribute(table, key);

	return psprintf("databricks_%s_%d_%u", key, attno,
					TupleDescAttr(table->desc, attno - 1)->attcollation);
}

List *
databricksPlanForeignModify(PlannerInfo *root, ModifyTable *plan,
							Index resultRelation, int subplan_index)
{
	RangeTblEntry *rte = planner_rt_fetch(resultRelation, root);
	Relation	   rel = table_open(rte->relid, NoLock);
	DbxTable	  *table = dbx_fdw_table(rel);
	Bitmapset	  *used = NULL;
	List		  *returned = NIL;
	int			   i = -1;

	table_close(rel, NoLock);
	(void) find_writer(table, plan->operation);
	if (plan->onConflictAction != ONCONFLICT_NONE)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("ON CONFLICT is not supported for foreign table \"%s\"",
					table->name),
			 errhint(
				 "Each row is one call of the service. upsert_job() creates or replaces a job by its name, INSERT INTO secrets overwrites.")));

	if (plan->returningLists != NIL)
	{
		pull_varattnos((Node *) list_nth(plan->returningLists, subplan_index),
					   resultRelation, &used);
		while ((i = bms_next_member(used, i)) >= 0)
			returned = lappend_int(returned,
								   i + FirstLowInvalidHeapAttributeNumber);
	}
	return list_make1(returned);
}

void
databricksBeginForeignModify(ModifyTableState *mtstate, ResultRelInfo *info,
							 List *fdw_private, int subplan_index, int eflags)
{
	WriteState *state;

	begin(mtstate, info, mtstate->operation,
		  list_nth(fdw_private, WRITE_RETURNED));
	state = (WriteState *) info->ri_FdwState;
	if (mtstate->operation != CMD_INSERT)
		find_keys(state, outerPlanState(mtstate)->plan);

	if (mtstate->operation == CMD_UPDATE)
	{
		Bitmapset *attnos = ExecGetUpdatedCols(info, mtstate->ps.state);
		int		   i = -1;

		while ((i = bms_next_member(attnos, i)) >= 0)
		{
			int column =
				state->table->columns[i + FirstLowInvalidHeapAttributeNumber - 1];

			if (!is_listed(state->writer->update_columns,
						   state->table->res->columns[column].name))
				cannot_set(state, column);
			state->updated = bms_add_member(state->updated, column);
		}
	}
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		state->workspace = dbx_workspace_by_server(
			state->table->serverid, dbx_result_check_as_user(info, mtstate));
}

/* Rows routed here from a partitioned table; COPY has nobody to ask twice. */
void
databricksBeginForeignInsert(ModifyTableState *mtstate, ResultRelInfo *info)
{
	if (mtstate->ps.plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot copy to foreign table \"%s\"",
						RelationGetRelationName(info->ri_RelationDesc)),
				 errhint(
					 "Copy to a table of this database, and INSERT from there.")));
	/* the statement may come to the rows that it has moved here, and move on */
	if (info->ri_FdwState != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot move rows to foreign table \"%s\", which the same statement updates",
					RelationGetRelationName(info->ri_RelationDesc)),
			 errhint(
				 "Leave its rows out by a condition on the partition key, or INSERT and DELETE instead.")));
	begin(mtstate, info, CMD_INSERT,
		  info->ri_projectReturning != NULL ? list_make1_int(0) : NIL);
	((WriteState *) info->ri_FdwState)->workspace = dbx_workspace_by_server(
		((WriteState *) info->ri_FdwState)->table->serverid,
		dbx_result_check_as_user(info, mtstate));
}

TupleTableSlot *
databricksExecForeignInsert(EState *estate, ResultRelInfo *info,
							TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	WriteState *state = (WriteState *) info->ri_FdwState;
	DbxChange  *change;
	int			i;

	count_write(state);
	change = begin_change(state, slot, NULL);
	slot_getallattrs(slot);
	for (i = 0; i < state->table->natts; i++)
	{
		int column = state->table->columns[i];

		if (column < 0 || slot->tts_isnull[i])
			continue;
		if (state->table->res->columns[column].convert == DBX_CONVERT_WORKSPACE)
		{
			check_workspace(state, slot->tts_values[i]);
			continue;
		}
		if (!is_listed(state->writer->insert_columns,
					   state->table->res->columns[column].name))
			cannot_set(state, column);
		change->columns = bms_add_member(change->columns, column);
	}
	call_writer(state, state->writer->insert, change);
	give_back_new(state, change, slot);
	return slot;
}

TupleTableSlot *
databricksExecForeignUpdate(EState *estate, ResultRelInfo *info,
							TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	WriteState *state = (WriteState *) info->ri_FdwState;
	DbxChange  *change;

	count_write(state);
	change = begin_change(state, slot, planSlot);
	change->columns = state->updated;
	call_writer(state, state->writer->update, change);
	return slot;
}

TupleTableSlot *
databricksExecForeignDelete(EState *estate, ResultRelInfo *info,
							TupleTableSlot *slot, TupleTableSlot *planSlot)
{
	WriteState *state = (WriteState *) info->ri_FdwState;
	DbxChange  *change;

	count_write(state);
	change = begin_change(state, NULL, planSlot);
	call_writer(state, state->writer->delete, change);
	if (state->old_row != 0)
		give_back_old(state, slot, planSlot);
	else
	{
		ExecClearTuple(slot);
		ExecStoreAllNullTuple(slot);
	}
	return slot;
}

void
databricksEndForeignModify(EState *estate, ResultRelInfo *info)
{
	WriteState *state = (WriteState *) info->ri_FdwState;

	if (state != NULL && state->row_context != NULL)
		MemoryContextDelete(state->row_context);
}

void
databricksEndForeignInsert(EState *estate, ResultRelInfo *info)
{
	databricksEndForeignModify(estate, info);
}

void
databricksExplainForeignModify(ModifyTableState *mtstate, ResultRelInfo *info,
							   List *fdw_private, int subplan_index,
							   struct ExplainState *es)
{
	WriteState *state = (WriteState *) info->ri_FdwState;
	const char *call = mtstate->operation == CMD_INSERT
		? state->writer->insert_call
		: mtstate->operation == CMD_UPDATE ? state->writer->update_call
										   : state->writer->delete_call;

	ExplainPropertyText(
		"Write",
		psprintf("POST %s%s",
				 dbx_resource_path(dbx_fdw_server(state->table->serverid), call),
				 mtstate->operation == CMD_INSERT
					 ? ""
					 : ", for each row that is read first"),
		es);
	if (es->analyze)
		ExplainPropertyInteger("Write Calls", NULL, state->stats.calls, es);
}

static void
begin(ModifyTableState *mtstate, ResultRelInfo *info, CmdType operation,
	  List *returned)
{
	WriteState *state = (WriteState *) palloc0(sizeof(WriteState));
	ListCell   *cell;

	state->table = dbx_fdw_table(info->ri_RelationDesc);
	state->writer = dbx_writer_find(state->table->res);
	state->operation = operation;
	state->row_context = AllocSetContextCreate(CurrentMemoryContext,
											   "databricks row to write",
											   ALLOCSET_DEFAULT_SIZES);
	state->needed = dbx_fdw_needed_columns(state->table, returned);

	/* what was given, and the key, need not be asked for */
	foreach(cell, returned)
	{
		AttrNumber	attno = lfirst_int(cell);
		const char *name = attno > 0 && state->table->columns[attno - 1] >= 0
			? state->table->res->columns[state->table->columns[attno - 1]].name
			: "";

		if (strcmp(name, state->writer->keys[0]) != 0)
			state->reread = state->table->res->get_call != NULL;
	}
	info->ri_FdwState = state;
}

static void
find_keys(WriteState *state, Plan *subplan)
{
	int i;

	for (i = 0; i < DBX_WRITE_KEYS && state->writer->keys[i] != NULL; i++)
	{
		state->keys[i] = ExecFindJunkAttributeInTlist(
			subplan->targetlist, key_name(state->table, state->writer->keys[i]));
		if (!AttributeNumberIsValid(state->keys[i]))
			elog(ERROR, "could not find what names a row");
	}
	state->old_row = ExecFindJunkAttributeInTlist(subplan->targetlist,
												  "wholerow");
}

/* Is the name one of those, which blanks separate? */
static bool
is_listed(const char *columns, const char *name)
{
	Size length = strlen(name);

	while (columns != NULL && *columns)
	{
		Size span = strcspn(columns, " ");

		if (span == length && strncmp(columns, name, length) == 0)
			return true;
		columns += span;
		columns += strspn(columns, " ");
	}
	return false;
}

static void
cannot_set(const WriteState *state, int column)
{
	bool insert = state->operation == CMD_INSERT;

	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_COLUMN_NUMBER),
			 errmsg("column \"%s\" of foreign table \"%s\" cannot be set",
					state->table->res->columns[column].name, state->table->name),
			 errhint("Columns that can be set by %s: %s.",
					 insert ? "INSERT" : "UPDATE",
					 insert ? state->writer->insert_columns
							: state->writer->update_columns)));
}

/* Where tables of several workspaces are partitions of one, rows say which. */
static void
check_workspace(const WriteState *state, Datum name)
{
	if (strcmp(NameStr(*DatumGetName(name)), state->workspace->name) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("a row of workspace \"%s\" cannot be written to foreign table \"%s\" of workspace \"%s\"",
					NameStr(*DatumGetName(name)), state->table->name,
					state->workspace->name),
			 errhint("Write it to the foreign table of its own workspace.")));
}

static void
count_write(WriteState *state)
{
	if (++state->written > dbx_guc_max_writes_per_statement)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("statement would write more than %d rows of foreign table \"%s\"",
					dbx_guc_max_writes_per_statement, state->table->name),
			 errdetail(
				 "The rows before are written, and rolling back does not undo that."),
			 errhint(
				 "Write fewer rows at a time, or raise databricks.max_writes_per_statement.")));
}

/* In the memory of the row, which is made current for good measure by callers. */
static DbxChange *
begin_change(WriteState *state, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	MemoryContext previous;
	DbxChange	 *change;
	int			  i;

	MemoryContextReset(state->row_context);
	previous = MemoryContextSwitchTo(state->row_context);
	change = (DbxChange *) palloc0(sizeof(DbxChange));
	change->table = state->table;
	change->workspace = state->workspace;
	change->stats = &state->stats;
	change->slot = slot;
	for (i = 0; plan_slot != NULL && i < DBX_WRITE_KEYS &&
		 state->writer->keys[i] != NULL;
		 i++)
	{
		const DbxColumn *column = &state->table->res->columns[dbx_resource_column(
			state->table->res, state->writer->keys[i])];
		bool			 isnull;
		Datum value = ExecGetJunkAttribute(plan_slot, state->keys[i], &isnull);

		if (isnull)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("workspace \"%s\" lists a row of foreign table \"%s\" without \"%s\", which names it",
						state->workspace->name, state->table->name,
						state->writer->keys[i]),
				 errhint("Leave such rows out: add \"%s IS NOT NULL\".",
						 state->writer->keys[i])));
		change->keys[i] = column->type == INT8OID
			? psprintf(INT64_FORMAT, DatumGetInt64(value))
			: TextDatumGetCString(value);
	}
	MemoryContextSwitchTo(previous);
	return change;
}

/* What a call takes is forgotten with the row. */
static void
call_writer(WriteState *state, void (*writer)(DbxChange *change),
			DbxChange  *change)
{
	MemoryContext previous = MemoryContextSwitchTo(state->row_context);

	dbx_cache_forget_server(state->table->serverid);
	writer(change);
	MemoryContextSwitchTo(previous);
}

/* The slot becomes the row as it was before. */
static void
give_back_old(WriteState *state, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	bool  isnull;
	Datum row = ExecGetJunkAttribute(plan_slot, state->old_row, &isnull);
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData	tuple = {0};

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	ExecForceStoreHeapTuple(heap_copytuple(&tuple), slot, true);
}

/* The slot becomes the row as the service has it now, as far as it is wanted. */
static void
give_back_new(WriteState *state, const DbxChange *change, TupleTableSlot *slot)
{
	const DbxTable *table = state->table;
	MemoryContext	previous;
	DbxLookup	   *lookup;
	DbxRow			row = {0};
	Datum		   *values;
	bool		   *nulls;
	int				i;

	previous = MemoryContextSwitchTo(state->row_context);
	values = (Datum *) palloc0(Max(table->natts, 1) * sizeof(Datum));
	nulls = (bool *) palloc(Max(table->natts, 1) * sizeof(bool));
	if (state->reread && change->new_key != NULL)
	{
		lookup = dbx_lookup_start(state->workspace, table->res, change->new_key,
								  &state->stats);
		row.element = dbx_lookup_finish(lookup);
	}
	for (i = 0; i < table->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor,
													i);
		int				  index = table->columns[i];
		const DbxColumn	 *column = index >= 0 ? &table->res->columns[index]
											  : NULL;

		nulls[i] = true;
		if (column == NULL)
			continue;
		if (row.element != NULL)
		{
			if (state->needed[index])
				values[i] = dbx_resource_row_value(column, &row,
												   state->workspace->name,
												   table->name, &nulls[i]);
			continue;
		}
		if (change->new_key != NULL &&
			strcmp(column->name, state->writer->keys[0]) == 0)
		{
			nulls[i] = false;
			values[i] = column->type == INT8OID
				? Int64GetDatum(pg_strtoint64(change->new_key))
				: CStringGetTextDatum(change->new_key);
		}
		else if (column->convert == DBX_CONVERT_WORKSPACE)
		{
			nulls[i] = false;
			values[i] = DirectFunctionCall1(namein,
											CStringGetDatum(
												state->workspace->name));
		}
		else if (!slot->tts_isnull[i] && !(column->flags & DBX_COLUMN_WRITE_ONLY))
		{
			nulls[i] = false;
			values[i] = datumCopy(slot->tts_values[i], attribute->attbyval,
								  attribute->attlen);
		}
	}
	MemoryContextSwitchTo(previous);

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, table->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, table->natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}

/* The attribute of a column, its value; false: it has none. */
static bool
new_value(const DbxChange *change, int column, Datum *value, Oid *type)
{
	int i;

	for (i = 0; i < change->table->natts; i++)
	{
		bool isnull;

		if (change->table->columns[i] != column)
			continue;
		*value = slot_getattr(change->slot, i + 1, &isnull);
		*type = TupleDescAttr(change->slot->tts_tupleDescriptor, i)->atttypid;
		return !isnull;
	}
	return false;
}

char *
dbx_change_json(const DbxChange *change, int column)
{
	Datum value;
	Oid	  type;

	if (!new_value(change, column, &value, &type))
		return NULL;
	return datum_json(value, type);
}

char *
dbx_change_text(const DbxChange *change, const char *column)
{
	Datum value;
	Oid	  type;
	Oid	  output;
	bool  varlena;

	if (!new_value(change, dbx_resource_column(change->table->res, column),
				   &value, &type))
		return NULL;
	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

/* Columns that can be set are numbers, truth values, texts and structures. */
static char *
datum_json(Datum value, Oid type)
{
	StringInfoData text;
	Oid			   output;
	bool		   varlena;

	initStringInfo(&text);
	switch (type)
	{
		case JSONBOID:
		{
			Jsonb *json = DatumGetJsonbP(value);

			(void) JsonbToCString(&text, &json->root, VARSIZE(json));
			break;
		}
		case BOOLOID:
			appendStringInfoString(&text,
								   DatumGetBool(value) ? "true" : "false");
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			getTypeOutputInfo(type, &output, &varlena);
			appendStringInfoString(&text, OidOutputFunctionCall(output, value));
			break;
		default:
			getTypeOutputInfo(type, &output, &varlena);
			escape_json(&text, OidOutputFunctionCall(output, value));
			break;
	}
	return text.data;
}
