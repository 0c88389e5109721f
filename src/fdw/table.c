/*
 * table.c
 *	  A foreign table matched with the descriptor of its resource.
 *
 * Separate because planning, scanning and import all need it.  Columns are
 * matched by name, so that they may be dropped or stand in another order; the
 * resource is named by an option, so that the table may be renamed.  The
 * result lives in the current memory context and points into the descriptor,
 * which is constant; it holds nothing of the catalogs.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_foreign_server.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "fdw/fdw.h"
#include "workspace/option.h"

static const DbxResource *table_resource(Relation rel);
static int				  match_column(Relation rel, const DbxResource *res,
									   Form_pg_attribute attribute);

/*
 * Raises for an option, a column or a type that does not fit the resource.
 */
DbxTable *
dbx_fdw_table(Relation rel)
{
	DbxTable	 *table = (DbxTable *) palloc0(sizeof(DbxTable));
	ForeignTable *foreign = GetForeignTable(RelationGetRelid(rel));
	TupleDesc	  desc = RelationGetDescr(rel);
	ListCell	 *cell;
	int			  i;

	table->relid = RelationGetRelid(rel);
	table->name = pstrdup(RelationGetRelationName(rel));
	table->serverid = foreign->serverid;
	table->res = table_resource(rel);
	table->pushdown = true;
	foreach(cell, foreign->options)
	{
		DefElem *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "pushdown") == 0)
			table->pushdown = defGetBoolean(def);
		else if (strcmp(def->defname, "cache_ttl") == 0)
			(void) parse_int(defGetString(def), &table->cache_ttl, GUC_UNIT_MS,
							 NULL);
	}

	table->desc = CreateTupleDescCopy(desc);
	table->natts = desc->natts;
	table->columns = (int *) palloc(Max(desc->natts, 1) * sizeof(int));
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		table->columns[i] = attribute->attisdropped
			? -1
			: match_column(rel, table->res, attribute);
	}
	return table;
}

/* The resource of a table, NULL if there is none of that name. */
const DbxResource *
dbx_fdw_table_resource(Relation rel, const char **name)
{
	ForeignTable *foreign = GetForeignTable(RelationGetRelid(rel));
	ListCell	 *cell;

	*name = RelationGetRelationName(rel);
	foreach(cell, foreign->options)
	{
		DefElem *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "resource") == 0)
			*name = defGetString(def);
	}
	return dbx_resource_find(*name);
}

static const DbxResource *
table_resource(Relation rel)
{
	const char		  *name;
	const DbxResource *res = dbx_fdw_table_resource(rel, &name);
	StringInfoData	   names;
	int				   i;

	if (res != NULL)
		return res;

	initStringInfo(&names);
	for (i = 0; dbx_resources[i] != NULL; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 dbx_resources[i]->name);
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
		 errmsg("there is no resource \"%s\" for foreign table \"%s\"", name,
				RelationGetRelationName(rel)),
		 errdetail(
			 "The option \"resource\" names it; without the option it is the table's own name."),
		 errhint("Resources are: %s.", names.data)));
	return NULL; /* keep compilers quiet */
}

/* By the option "path" if there is one, as a name or as a path, else by name. */
static int
column_index(Relation rel, const DbxResource *res, Form_pg_attribute attribute)
{
	ListCell *cell;

	foreach(cell,
			GetForeignColumnOptions(RelationGetRelid(rel), attribute->attnum))
	{
		DefElem *def = lfirst_node(DefElem, cell);
		int		 index;
		int		 i;

		if (strcmp(def->defname, "path") != 0)
			continue;
		index = dbx_resource_column(res, defGetString(def));
		for (i = 0; index < 0 && i < res->ncolumns; i++)
		{
			if (res->columns[i].paths[0] != NULL &&
				strcmp(res->columns[i].paths[0], defGetString(def)) == 0)
				index = i;
		}
		return index;
	}
	return dbx_resource_column(res, NameStr(attribute->attname));
}

static int
match_column(Relation rel, const DbxResource *res, Form_pg_attribute attribute)
{
	int			   index = column_index(rel, res, attribute);
	StringInfoData names;
	int			   i;

	if (index < 0)
	{
		initStringInfo(&names);
		for (i = 0; i < res->ncolumns; i++)
			appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
							 res->columns[i].name);
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
			 errmsg("column \"%s\" of foreign table \"%s\" is no column of resource \"%s\"",
					NameStr(attribute->attname), RelationGetRelationName(rel),
					res->name),
			 errhint("Its columns are: %s. The option \"path\" of a column names the one it shows.",
					 names.data)));
	}
	if (attribute->atttypid != res->columns[index].type)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("column \"%s\" of foreign table \"%s\" has type %s, but resource \"%s\" gives %s",
					NameStr(attribute->attname), RelationGetRelationName(rel),
					format_type_be(attribute->atttypid), res->name,
					dbx_resource_type_name(&res->columns[index])),
			 errhint("ALTER FOREIGN TABLE %s ALTER COLUMN %s TYPE %s.",
					 quote_identifier(RelationGetRelationName(rel)),
					 quote_identifier(NameStr(attribute->attname)),
					 dbx_resource_type_name(&res->columns[index]))));
	return index;
}

/*
 * A workspace without identity: the options of the server and no more, without
 * a check of rights.  Enough for costs and for the path of a call in EXPLAIN,
 * which work for everybody; never for a call.
 */
DbxWorkspace *
dbx_fdw_server(Oid serverid)
{
	DbxWorkspace  *workspace = (DbxWorkspace *) palloc0(sizeof(DbxWorkspace));
	ForeignServer *server = GetForeignServer(serverid);

	workspace->name = server->servername;
	workspace->serverid = serverid;
	workspace->owner = server->owner;
	dbx_option_defaults(workspace);
	dbx_option_apply(workspace, server->options, ForeignServerRelationId);
	return workspace;
}

/*
 * Which columns of the resource are behind these attribute numbers (0: all of
 * them), as an array over res->columns.
 */
bool *
dbx_fdw_needed_columns(const DbxTable *table, List *attnos)
{
	bool	 *needed = (bool *) palloc0(table->res->ncolumns * sizeof(bool));
	ListCell *cell;
	int		  i;

	foreach(cell, attnos)
	{
		AttrNumber attno = lfirst_int(cell);

		for (i = 0; i < table->natts; i++)
		{
			if ((attno == 0 || attno == i + 1) && table->columns[i] >= 0)
				needed[table->columns[i]] = true;
		}
	}
	return needed;
}
