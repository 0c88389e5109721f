/*
 * import.c
 *	  IMPORT FOREIGN SCHEMA, and the same for connect().
 *
 * Separate because it writes SQL: everything in it is quoted, and no network
 * is needed, since the tables are those of the descriptors.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "fdw/fdw.h"

#define REMOTE_SCHEMA "databricks"

static char *create_command(const DbxResource *res, const char *server,
							const char *schema, List *options);
static bool	 is_named(const char *name, List *names);
static void	 check_names(ImportForeignSchemaStmt *stmt);

List *
databricksImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	ForeignServer *server = GetForeignServer(serverOid);
	List		  *names = NIL;
	List		  *commands = NIL;
	ListCell	  *cell;
	int			   i;

	foreach(cell, stmt->options)
	{
		/* the rest is checked as an option of each table */
		if (strcmp(lfirst_node(DefElem, cell)->defname, "resource") == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"resource\" cannot be given for all tables"),
				 errhint("Each table has its own; name tables with LIMIT TO.")));
	}
	if (strcmp(stmt->remote_schema, REMOTE_SCHEMA) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
				 errmsg("a workspace has no schema \"%s\" to import",
						stmt->remote_schema),
				 errhint("Its tables are in one schema: IMPORT FOREIGN SCHEMA " REMOTE_SCHEMA
						 " FROM SERVER %s INTO %s.",
						 quote_identifier(server->servername),
						 quote_identifier(stmt->local_schema))));

	foreach(cell, stmt->table_list)
		names = lappend(names, lfirst_node(RangeVar, cell)->relname);
	if (stmt->list_type == FDW_IMPORT_SCHEMA_LIMIT_TO)
		check_names(stmt);
	for (i = 0; dbx_resources[i] != NULL; i++)
	{
		bool named = is_named(dbx_resources[i]->name, names);

		if (stmt->list_type == FDW_IMPORT_SCHEMA_ALL ||
			named == (stmt->list_type == FDW_IMPORT_SCHEMA_LIMIT_TO))
			commands = lappend(commands,
							   create_command(dbx_resources[i],
											  server->servername,
											  stmt->local_schema, stmt->options));
	}
	return commands;
}

List *
dbx_fdw_import_commands(const char *server, const char *schema, List *only)
{
	List *commands = NIL;
	int	  i;

	for (i = 0; dbx_resources[i] != NULL; i++)
	{
		if (only == NIL || is_named(dbx_resources[i]->name, only))
			commands = lappend(commands,
							   create_command(dbx_resources[i], server, schema,
											  NIL));
	}
	return commands;
}

void
dbx_fdw_comment_table(Oid relid)
{
	Relation  rel = table_open(relid, AccessShareLock);
	DbxTable *table = dbx_fdw_table(rel);
	int		  i;

	CreateComments(relid, RelationRelationId, 0, table->res->comment);
	for (i = 0; i < table->natts; i++)
	{
		if (table->columns[i] >= 0)
			CreateComments(relid, RelationRelationId, i + 1,
						   table->res->columns[table->columns[i]].comment);
	}
	table_close(rel, NoLock);
}

static char *
create_command(const DbxResource *res, const char *server, const char *schema,
			   List *options)
{
	StringInfoData command;
	ListCell	  *cell;
	int			   i;

	initStringInfo(&command);
	appendStringInfo(&command, "CREATE FOREIGN TABLE %s (",
					 quote_qualified_identifier(schema, res->name));
	for (i = 0; i < res->ncolumns; i++)
		appendStringInfo(&command, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(res->columns[i].name),
						 dbx_resource_type_name(&res->columns[i]));
	appendStringInfo(&command, ") SERVER %s OPTIONS (resource %s",
					 quote_identifier(server), quote_literal_cstr(res->name));
	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		appendStringInfo(&command, ", %s %s", quote_identifier(option->defname),
						 quote_literal_cstr(defGetString(option)));
	}
	appendStringInfoChar(&command, ')');
	return command.data;
}

static bool
is_named(const char *name, List *names)
{
	ListCell *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* A misspelt name must not quietly import nothing. */
static void
check_names(ImportForeignSchemaStmt *stmt)
{
	StringInfoData names;
	ListCell	  *cell;
	int			   i;

	foreach(cell, stmt->table_list)
	{
		const char *name = lfirst_node(RangeVar, cell)->relname;

		if (dbx_resource_find(name) != NULL)
			continue;
		initStringInfo(&names);
		for (i = 0; dbx_resources[i] != NULL; i++)
			appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
							 dbx_resources[i]->name);
		ereport(ERROR,
				(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
				 errmsg("a workspace has no table \"%s\" to import", name),
				 errhint("Its tables are: %s.", names.data)));
	}
}
