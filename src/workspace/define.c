/*
 * define.c
 *	  Making and altering workspaces through the server's own DDL routines.
 *
 * Separate from workspace.c since that one only reads.  The routines behind
 * CREATE SERVER and its like are called with parsed statements, so no SQL text
 * that holds a secret ever exists; they do all checks of rights and options.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "compat.h"
#include "workspace/define.h"
#include "workspace/option.h"

/*
 * What ALTER ... OPTIONS needs: ADD, SET or DROP according to what is there.
 * Dropping what is not there changes nothing.
 */
static List *
as_changes(List *wanted, List *present)
{
	List	 *changes = NIL;
	ListCell *cell;

	foreach(cell, wanted)
	{
		DefElem	 *option = copyObject(lfirst_node(DefElem, cell));
		bool	  there = false;
		ListCell *other;

		foreach(other, present)
		{
			if (strcmp(lfirst_node(DefElem, other)->defname, option->defname) ==
				0)
				there = true;
		}
		if (option->arg == NULL && !there)
			continue;
		option->defaction = option->arg == NULL ? DEFELEM_DROP
			: there								? DEFELEM_SET
												: DEFELEM_ADD;
		changes = lappend(changes, option);
	}
	return changes;
}

/* CREATE knows no DROP. */
static List *
without_drops(List *wanted)
{
	List	 *options = NIL;
	ListCell *cell;

	foreach(cell, wanted)
	{
		if (lfirst_node(DefElem, cell)->arg != NULL)
			options = lappend(options, lfirst(cell));
	}
	return options;
}

Oid
dbx_workspace_define(const char *name, List *options, bool *created)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	*created = server == NULL;
	if (server == NULL)
	{
		CreateForeignServerStmt *create = makeNode(CreateForeignServerStmt);

		create->servername = pstrdup(name);
		create->fdwname = "databricks";
		create->options = without_drops(options);
		CreateForeignServer(create);
		CommandCounterIncrement();
		return GetForeignServerByName(name, false)->serverid;
	}
	if (server->fdwid != dbx_workspace_wrapper())
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("server \"%s\" exists and is not a Databricks workspace",
						name),
				 errdetail("It belongs to another foreign-data wrapper."),
				 errhint("Choose another name for the workspace.")));
	options = as_changes(options, server->options);
	if (options != NIL)
	{
		AlterForeignServerStmt *alter = makeNode(AlterForeignServerStmt);

		alter->servername = pstrdup(name);
		alter->options = options;
		AlterForeignServer(alter);
		CommandCounterIncrement();
	}
	return server->serverid;
}

static RoleSpec *
role_spec(const char *role)
{
	RoleSpec *spec = makeNode(RoleSpec);

	spec->location = -1;
	if (strcmp(role, "public") == 0)
		spec->roletype = ROLESPEC_PUBLIC;
	else
	{
		spec->roletype = ROLESPEC_CSTRING;
		spec->rolename = pstrdup(role);
	}
	return spec;
}

void
dbx_workspace_define_mapping(const char *name, const char *role, List *options)
{
	Oid		  serverid = GetForeignServerByName(name, false)->serverid;
	RoleSpec *spec = role_spec(role);
	Oid		  roleid = spec->roletype == ROLESPEC_PUBLIC
			  ? ACL_ID_PUBLIC
			  : get_rolespec_oid(spec, false);
	HeapTuple tuple;
	Datum	  value;
	bool	  isnull;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(roleid),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
	{
		CreateUserMappingStmt *create = makeNode(CreateUserMappingStmt);

		create->user = spec;
		create->servername = pstrdup(name);
		create->options = without_drops(options);
		CreateUserMapping(create);
	}
	else
	{
		AlterUserMappingStmt *alter = makeNode(AlterUserMappingStmt);

		value = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
								Anum_pg_user_mapping_umoptions, &isnull);
		alter->user = spec;
		alter->servername = pstrdup(name);
		alter->options = as_changes(options,
									isnull ? NIL : untransformRelOptions(value));
		ReleaseSysCache(tuple);
		if (alter->options != NIL)
			AlterUserMapping(alter);
	}
	CommandCounterIncrement();
}

List *
dbx_workspace_json_options(const DbxJson *object, const char *what)
{
	List		  *options = NIL;
	const DbxJson *member;

	if (object == NULL)
		return NIL;
	if (dbx_json_type(object) != DBX_JSON_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object of options and values", what)));
	for (member = dbx_json_first(object); member; member = dbx_json_next(member))
	{
		Node *value = NULL;

		switch (dbx_json_type(member))
		{
			case DBX_JSON_NULL:
				break;
			case DBX_JSON_STRING:
			case DBX_JSON_NUMBER:
			case DBX_JSON_BOOL:
				value = (Node *) makeString(pstrdup(dbx_json_text(member)));
				break;
			default:
				ereport(
					ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" in %s is not a plain value",
							dbx_json_name(member), what),
					 errhint(
						 "Values of options are text, numbers, true or false; null drops the option.")));
		}
		options = lappend(options,
						  makeDefElem(pstrdup(dbx_json_name(member)), value, -1));
	}
	return options;
}
