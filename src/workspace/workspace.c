/*
 * workspace.c
 *	  From a name and a role to a workspace that may be called.
 *
 * Separate from option.c because it knows catalogs and rights, not values.
 * Everything is read anew each time: the system caches make that cheap, and
 * nothing here can be stale or outlive a change of rights.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guc.h"
#include "workspace/ambient.h"
#include "workspace/define.h"
#include "workspace/option.h"

#define WRAPPER_NAME "databricks"

Oid
dbx_workspace_wrapper(void)
{
	return get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
}

bool
dbx_workspace_is_ours(Oid serverid)
{
	Oid wrapper = dbx_workspace_wrapper();

	return OidIsValid(wrapper) && GetForeignServer(serverid)->fdwid == wrapper;
}

/* All servers of our wrapper, as a list of ForeignServer, sorted by name. */
static int
compare_servers(const ListCell *a, const ListCell *b)
{
	return strcmp(((ForeignServer *) lfirst(a))->servername,
				  ((ForeignServer *) lfirst(b))->servername);
}

static List *
all_servers(void)
{
	Oid			wrapper = dbx_workspace_wrapper();
	List	   *result = NIL;
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;

	catalog = table_open(ForeignServerRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server row = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (row->srvfdw == wrapper)
			result = lappend(result, GetForeignServer(row->oid));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	list_sort(result, compare_servers);
	return result;
}

static bool
may_use(Oid serverid, Oid userid)
{
	return object_aclcheck(ForeignServerRelationId, serverid, userid,
						   ACL_USAGE) == ACLCHECK_OK;
}

/* The workspaces a role may use, as text for a hint; "" if there are none. */
static char *
usable_names(Oid userid)
{
	StringInfoData names;
	ListCell	  *cell;

	initStringInfo(&names);
	foreach(cell, all_servers())
	{
		ForeignServer *server = lfirst(cell);

		if (may_use(server->serverid, userid))
			appendStringInfo(&names, "%s\"%s\"", names.len ? ", " : "",
							 server->servername);
	}
	return names.data;
}

static pg_noreturn void
no_such_workspace(const char *name, Oid userid)
{
	char *names = usable_names(userid);

	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("workspace \"%s\" does not exist", name),
		 *names
			 ? errhint("Workspaces you may use: %s.", names)
			 : errhint("Create one: SELECT * FROM databricks.connect(%s, host => 'https://...', token => '...').",
					   quote_literal_cstr(name))));
}

/* What else a server may have is not looked at: it is not the one that is meant. */
static bool
is_flagged(const ForeignServer *server)
{
	bool	  flag = false;
	ListCell *cell;

	foreach(cell, server->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "is_default") == 0)
			(void) parse_bool(defGetString(option), &flag);
	}
	return flag;
}

/*
 * The server that option is_default singles out, NULL if none.  Whoever may make
 * servers can flag one of his own: a superuser's flag goes before others.
 */
static ForeignServer *
flagged_default(List *servers)
{
	ForeignServer *found = NULL;
	ListCell	  *cell;

	foreach(cell, servers)
	{
		ForeignServer *server = lfirst(cell);

		if (!is_flagged(server) ||
			(found != NULL && superuser_arg(found->owner) &&
			 !superuser_arg(server->owner)))
			continue;
		if (found != NULL &&
			superuser_arg(found->owner) == superuser_arg(server->owner))
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("more than one workspace is marked as default"),
				 errdetail(
					 "Servers \"%s\" and \"%s\" both have the option is_default.",
					 found->servername, server->servername),
				 errhint("Drop the option from one of them: ALTER SERVER %s OPTIONS (DROP is_default).",
						 quote_identifier(server->servername))));
		found = server;
	}
	return found;
}

char *
dbx_workspace_flagged(void)
{
	ForeignServer *server = flagged_default(all_servers());

	return server ? server->servername : NULL;
}

/* Those of the servers that a role has USAGE on. */
static List *
usable_servers(List *servers, Oid userid)
{
	List	 *usable = NIL;
	ListCell *cell;

	foreach(cell, servers)
	{
		ForeignServer *server = lfirst(cell);

		if (may_use(server->serverid, userid))
			usable = lappend(usable, server);
	}
	return usable;
}

/*
 * What a role may not use does not count, unless that leaves nothing: then the
 * one that is meant is named in the refusal that follows.
 */
char *
dbx_workspace_default(Oid userid)
{
	List		  *servers;
	List		  *usable;
	ForeignServer *found;

	if (dbx_guc_workspace != NULL && *dbx_guc_workspace)
		return pstrdup(dbx_guc_workspace);

	servers = all_servers();
	usable = usable_servers(servers, userid);
	if (usable != NIL)
		servers = usable;
	found = flagged_default(servers);
	if (found == NULL && list_length(servers) == 1)
		found = linitial(servers);
	if (found != NULL)
		return found->servername;
	if (servers == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no workspace"),
			 errhint(
				 "Create one: SELECT * FROM databricks.connect('prod', host => 'https://...', token => '...').")));
	if (usable == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("there is no workspace you may use"),
				 errhint("Ask for it: GRANT USAGE ON FOREIGN SERVER ... TO %s.",
						 quote_identifier(GetUserNameFromId(userid, false)))));
	ereport(
		ERROR,
		(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
		 errmsg("there are several workspaces and none is the default"),
		 errdetail("Workspaces you may use: %s.", usable_names(userid)),
		 errhint(
			 "Name one as the last argument, or choose one for the session: SET databricks.workspace = '...'.")));
}

/*
 * Options of the user mapping of a role, or of PUBLIC.  GetUserMapping() would
 * do, but its error knows neither the credentials nor the statement to make one.
 */
static List *
mapping_options(Oid serverid, Oid userid, Oid *umid)
{
	HeapTuple tuple;
	Datum	  value;
	bool	  isnull;
	List	 *options = NIL;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
							ObjectIdGetDatum(serverid));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(serverid));
	*umid = InvalidOid;
	if (!HeapTupleIsValid(tuple))
		return NIL;
	*umid = ((Form_pg_user_mapping) GETSTRUCT(tuple))->oid;
	value = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(value);
	ReleaseSysCache(tuple);
	return options;
}

bool
dbx_workspace_has_mapping(Oid serverid, Oid userid)
{
	Oid umid;

	(void) mapping_options(serverid, userid, &umid);
	return OidIsValid(umid);
}

/*
 * Plain http sends the token in the clear: only to this machine, and only where
 * a superuser decided so.
 */
static void
check_scheme(DbxWorkspace *workspace)
{
	if (strncmp(workspace->host, "http://", 7) != 0)
		return;
	if (!dbx_workspace_is_loopback(workspace->host) ||
		!workspace->owned_by_superuser)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("plain http is refused for workspace \"%s\"",
					workspace->name),
			 errdetail("Without TLS the token could be read on its way."),
			 errhint(
				 "Use https://; http:// is accepted for loopback hosts of servers owned by a superuser only.")));
	workspace->allow_http = true;
}

DbxWorkspace *
dbx_workspace_by_server(Oid serverid, Oid userid)
{
	DbxWorkspace  *workspace = palloc0(sizeof(DbxWorkspace));
	ForeignServer *server = GetForeignServer(serverid);
	AclResult	   allowed;
	List		  *options;

	allowed = object_aclcheck(ForeignServerRelationId, serverid, userid,
							  ACL_USAGE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FOREIGN_SERVER, server->servername);

	workspace->name = pstrdup(server->servername);
	workspace->serverid = serverid;
	workspace->owner = server->owner;
	workspace->userid = userid;
	workspace->updatable = true;
	workspace->server_hash = GetSysCacheHashValue1(FOREIGNSERVEROID,
												   ObjectIdGetDatum(serverid));
	options = mapping_options(serverid, userid, &workspace->umid);
	if (!OidIsValid(workspace->umid))
	{
		const char *role = GetUserNameFromId(userid, false);

		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("role \"%s\" has no credentials for workspace \"%s\"", role,
					workspace->name),
			 errhint(
				 "Give it some: CREATE USER MAPPING FOR %s SERVER %s OPTIONS (token '...').",
				 quote_identifier(role), quote_identifier(workspace->name))));
	}
	workspace->mapping_hash = GetSysCacheHashValue1(USERMAPPINGOID,
													ObjectIdGetDatum(
														workspace->umid));
	dbx_option_defaults(workspace);
	dbx_option_apply(workspace, server->options, ForeignServerRelationId);
	dbx_option_apply(workspace, options, UserMappingRelationId);
	if (dbx_guc_max_retry_timeout >= 0)
		workspace->retry_timeout = Min(workspace->retry_timeout,
									   dbx_guc_max_retry_timeout);
	workspace->owned_by_superuser = superuser_arg(workspace->owner);
	workspace->server_identity = dbx_option_may_read_files(userid) &&
		dbx_option_may_read_files(workspace->owner);
	dbx_option_redact(workspace);
	dbx_ambient_apply(workspace);
	dbx_option_redact(workspace);
	if (workspace->host == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("workspace \"%s\" has no host", workspace->name),
				 errhint("ALTER SERVER %s OPTIONS (ADD host 'https://...').",
						 quote_identifier(workspace->name))));
	check_scheme(workspace);
	if (workspace->ca_file != NULL &&
		!dbx_option_may_read_files(workspace->owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("option \"ca_file\" of workspace \"%s\" is refused",
					workspace->name),
			 errdetail(
				 "Its owner is neither a superuser nor a member of pg_read_server_files."),
			 errhint(
				 "Let a superuser own the server, or grant pg_read_server_files to its owner.")));
	return workspace;
}

DbxWorkspace *
dbx_workspace_describe(Oid serverid)
{
	DbxWorkspace  *workspace = palloc0(sizeof(DbxWorkspace));
	ForeignServer *server = GetForeignServer(serverid);

	workspace->name = pstrdup(server->servername);
	workspace->serverid = serverid;
	workspace->owner = server->owner;
	dbx_option_defaults(workspace);
	dbx_option_apply(workspace, server->options, ForeignServerRelationId);
	return workspace;
}

/* The server of a name, NULL: the default; raises where that is no workspace. */
static ForeignServer *
find_server(const char *name, Oid userid)
{
	ForeignServer *server;

	if (name == NULL)
		name = dbx_workspace_default(userid);
	server = GetForeignServerByName(name, true);
	if (server == NULL)
		no_such_workspace(name, userid);
	if (server->fdwid != dbx_workspace_wrapper())
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("server \"%s\" is not a Databricks workspace", name),
			 errdetail("It belongs to another foreign-data wrapper."),
			 errhint(
				 "SELECT name FROM databricks.workspaces; lists those there are.")));
	return server;
}

DbxWorkspace *
dbx_workspace_resolve(const char *name, Oid userid)
{
	return dbx_workspace_by_server(find_server(name, userid)->serverid, userid);
}

ForeignServer *
dbx_workspace_owned(const char *name, Oid userid)
{
	ForeignServer *server = find_server(name, userid);

	if (!object_ownercheck(ForeignServerRelationId, server->serverid, userid))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FOREIGN_SERVER,
					   server->servername);
	return server;
}
