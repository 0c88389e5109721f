/*
 * table.c
 *	  A foreign table matched with the descriptor of its resource.
 *
 * Separate because planning, scanning and import all need it.  Columns are
 * matched by name, so that they may be dropped or stand in another order; the
 * resource is named by an option, so that the table may be renamed.  A column may
 * also show what is at any path of the element.  The result lives in the current
 * memory context and points into the descriptor, which is constant; it holds nothing
 * of the catalogs.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type_d.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "fdw/fdw.h"
#include "workspace/option.h"

static const DbxResource *table_resource(Relation rel);
static void				  match_columns(DbxTable *table);
static void				  check_column(const DbxTable *table, int index,
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
	match_columns(table);
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

/* The option "path" of a column, NULL if there is none. */
static const char *
path_option(Oid relid, AttrNumber attno)
{
	ListCell *cell;

	foreach(cell, GetForeignColumnOptions(relid, attno))
	{
		DefElem *def = lfirst_node(DefElem, cell);

		if (strcmp(def->defname, "path") == 0)
			return defGetString(def);
	}
	return NULL;
}

static bool
begins_with(const char *path, const char *beginning)
{
	Size length = strlen(beginning);

	return strncmp(path, beginning, length) == 0 &&
		(path[length] == '\0' || path[length] == '.');
}

/*
 * The column of the resource that an attribute shows: that of its own name or, with
 * a path, the one called so or read from there.  -1: none; what a column is read from
 * or lies in may also be shown as another type than that.
 */
static int
named_column(const DbxResource *res, const char *path,
			 Form_pg_attribute attribute)
{
	int	 index = dbx_resource_column(res,
									 path != NULL ? path
												  : NameStr(attribute->attname));
	bool in_element = false;
	int	 i;
	int	 k;

	if (path == NULL ||
		(index >= 0 && res->columns[index].type == attribute->atttypid))
		return index;
	for (i = 0; i < res->ncolumns; i++)
	{
		const DbxColumn *column = &res->columns[i];

		if (column->paths[0] != NULL && strcmp(column->paths[0], path) == 0)
			return column->type == attribute->atttypid ? i : -1;
		for (k = 0; k < DBX_COLUMN_PATHS && column->paths[k] != NULL; k++)
			in_element |= begins_with(column->paths[k], path);
	}
	return in_element ? -1 : index;
}

/*
 * What has to be asked for so that something at this path is there: as for the
 * columns that are in it or that it is in.  A column that holds others of these
 * does not count for what else is in it.
 */
static int
path_flags(const DbxResource *res, const char *path)
{
	int flags = 0;
	int i;
	int k;

	for (i = 0; i < res->ncolumns; i++)
	{
		const char *other = res->columns[i].paths[0];
		bool		holds = false;

		if (other == NULL || res->columns[i].flags == 0)
			continue;
		for (k = 0; k < res->ncolumns; k++)
			holds |= k != i && res->columns[k].flags != 0 &&
				res->columns[k].paths[0] != NULL &&
				begins_with(res->columns[k].paths[0], other);
		/* NOLINTNEXTLINE(readability-suspicious-call-argument): both ways */
		if (begins_with(other, path) || (!holds && begins_with(path, other)))
			flags |= res->columns[i].flags;
	}
	return flags;
}

/* A column of our own: what is at a path of the element, as this type. */
static DbxColumn
path_column(const DbxTable *table, const char *path, Form_pg_attribute attribute)
{
	static const struct
	{
		Oid		   type;
		DbxConvert convert;
	} converts[] = {{INT8OID, DBX_CONVERT_BIGINT},
					{INT4OID, DBX_CONVERT_INTEGER},
					{BOOLOID, DBX_CONVERT_BOOLEAN},
					{TEXTOID, DBX_CONVERT_TEXT},
					{TIMESTAMPTZOID, DBX_CONVERT_TIME_MS},
					{INTERVALOID, DBX_CONVERT_DURATION_MS},
					{JSONBOID, DBX_CONVERT_JSONB},
					{FLOAT8OID, DBX_CONVERT_DOUBLE}};
	DbxColumn column = {0};
	int		  i;

	column.name = path;
	column.type = attribute->atttypid;
	column.flags = path_flags(table->res, path);
	column.paths[0] = path;
	if (path[0] == '^' && table->res->unnest == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
			 errmsg("path \"%s\" of column \"%s\" of foreign table \"%s\" leads nowhere",
					path, NameStr(attribute->attname), table->name),
			 errdetail("Rows of resource \"%s\" are not part of something.",
					   table->res->name)));
	for (i = 0; i < (int) lengthof(converts); i++)
	{
		if (converts[i].type == attribute->atttypid)
		{
			column.convert = converts[i].convert;
			return column;
		}
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
		 errmsg("column \"%s\" of foreign table \"%s\" has type %s, which nothing of the service is shown as",
				NameStr(attribute->attname), table->name,
				format_type_be(attribute->atttypid)),
		 errhint(
			 "Types for a path are bigint, integer, boolean, text, jsonb, double precision, timestamp with time zone (of milliseconds since 1970) and interval (of milliseconds).")));
	return column; /* keep compilers quiet */
}

/*
 * Match the attributes with the columns of the resource.  The table gets a resource
 * of its own, in which columns are called as in the table, and with those by path.
 */
static void
match_columns(DbxTable *table)
{
	DbxResource *res = (DbxResource *) palloc(sizeof(DbxResource));
	DbxColumn	*columns = (DbxColumn *) palloc(
		  (table->res->ncolumns + table->natts) * sizeof(DbxColumn));
	int i;

	*res = *table->res;
	memcpy(columns, res->columns, res->ncolumns * sizeof(DbxColumn));
	for (i = 0; i < table->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(table->desc, i);
		const char		 *path;

		table->columns[i] = -1;
		if (attribute->attisdropped)
			continue;
		path = path_option(table->relid, attribute->attnum);
		table->columns[i] = named_column(table->res, path, attribute);
		if (table->columns[i] >= 0 || path == NULL)
			check_column(table, table->columns[i], attribute);
		else
		{
			columns[res->ncolumns] = path_column(table, path, attribute);
			table->columns[i] = res->ncolumns++;
		}
		columns[table->columns[i]].label = NameStr(attribute->attname);
	}
	res->columns = columns;
	table->res = res;
}

/* Is it a column of the resource, and of its type? */
static void
check_column(const DbxTable *table, int index, Form_pg_attribute attribute)
{
	const DbxResource *res = table->res;
	StringInfoData	   names;
	int				   i;

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
					NameStr(attribute->attname), table->name, res->name),
			 errhint("Its columns are: %s. The option \"path\" of a column names the one it shows, or a path in what the service sends.",
					 names.data)));
	}
	if (attribute->atttypid != res->columns[index].type)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
			 errmsg("column \"%s\" of foreign table \"%s\" has type %s, but resource \"%s\" gives %s",
					NameStr(attribute->attname), table->name,
					format_type_be(attribute->atttypid), res->name,
					dbx_resource_type_name(&res->columns[index])),
			 errhint("ALTER FOREIGN TABLE %s ALTER COLUMN %s TYPE %s.",
					 quote_identifier(table->name),
					 quote_identifier(NameStr(attribute->attname)),
					 dbx_resource_type_name(&res->columns[index]))));
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
