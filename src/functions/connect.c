/*
 * connect.c
 *	  connect() and check_connection(): a workspace made usable in one call.
 *
 * Separate from the other entry points because this one brings the floors below
 * together: server and mapping (workspace), foreign tables (fdw), data tables
 * (worker), and a first call (api).
 *
 * Its arguments hold secrets.  Before anything can raise, the text of the
 * statement is taken out of what the server would log or show, and the context
 * lines of callers, which quote their statements, are cut off while it runs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_namespace.h"
#include "commands/defrem.h"
#include "commands/schemacmds.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "auth/auth.h"
#include "compat.h"
#include "fdw/fdw.h"
#include "functions/args.h"
#include "http/http.h"
#include "worker/migrate.h"
#include "workspace/define.h"
#include "workspace/option.h"

#define HOME_SCHEMA "databricks"
#define SHOWN_STATEMENT \
	"SELECT databricks.connect(...) /* arguments not shown */"
#define ME_PATH "/api/2.0/preview/scim/v2/Me"

PG_FUNCTION_INFO_V1(databricks_check_connection);
PG_FUNCTION_INFO_V1(databricks_connect);

typedef struct Connection
{
	bool		ok;
	const char *user_name;
	const char *auth_type;
	double		latency_ms; /* negative: no call was made */
	const char *message;
} Connection;

static Datum
make_row(FunctionCallInfo fcinfo, const Connection *connection)
{
	TupleDesc desc;
	Datum	  values[5];
	bool	  nulls[5] = {false};
	Interval *latency = palloc0(sizeof(Interval));

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type");
	latency->time = (int64) (connection->latency_ms * 1000);
	values[0] = BoolGetDatum(connection->ok);
	values[1] = CStringGetTextDatum(
		connection->user_name ? connection->user_name : "");
	nulls[1] = connection->user_name == NULL;
	values[2] = CStringGetTextDatum(
		connection->auth_type ? connection->auth_type : "");
	nulls[2] = connection->auth_type == NULL;
	values[3] = IntervalPGetDatum(latency);
	nulls[3] = connection->latency_ms < 0;
	values[4] = CStringGetTextDatum(connection->message);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* One call, no retries: it is asked for to know how things stand now. */
static Connection
check(DbxWorkspace *workspace)
{
	Connection	 result = {0};
	DbxCallStats stats = {0};
	DbxCallSpec	 spec = {0};
	DbxCall		*call;
	DbxJson		*answer;
	const char	*choice;
	char		*why = NULL;

	workspace->retry_timeout = 0;
	result.latency_ms = -1;
	result.auth_type = dbx_auth_choice(workspace, &choice);
	if (result.auth_type == NULL)
	{
		result.message = choice;
		return result;
	}
	spec.method = "GET";
	spec.path = ME_PATH;
	spec.caller = "check_connection";
	spec.stats = &stats;
	call = dbx_call_start(workspace, &spec);
	dbx_call_wait(call);
	result.latency_ms = stats.calls > 0 ? stats.elapsed_ms : -1;
	if (dbx_call_error(call) != NULL)
	{
		result.message = dbx_call_headline(call);
		return result;
	}
	answer = dbx_json_try_parse(dbx_call_body(call),
								strlen(dbx_call_body(call)), &why);
	result.user_name = dbx_json_string(dbx_json_get(answer, "userName"));
	/* only the id is sure to be there */
	if (result.user_name == NULL)
		result.user_name = dbx_json_text(dbx_json_get(answer, "id"));
	result.ok = result.user_name != NULL;
	result.message = result.ok
		? psprintf("connected to %s as %s %s", workspace->host,
				   result.user_name, choice)
		: psprintf("%s did not answer as a workspace does", workspace->host);
	return result;
}

Datum
databricks_check_connection(PG_FUNCTION_ARGS)
{
	Connection connection = check(dbx_arg_workspace(fcinfo, 0));

	return make_row(fcinfo, &connection);
}

/* A DefElem for a text argument, appended to a list unless the argument is null. */
static List *
add_text_option(List *options, FunctionCallInfo fcinfo, int number,
				const char *name)
{
	char *value = dbx_arg_text(fcinfo, number);

	if (value == NULL)
		return options;
	return lappend(options,
				   makeDefElem(pstrdup(name), (Node *) makeString(value), -1));
}

/* Options given one by one, then those in a JSON argument; the former win. */
static List *
add_json_options(List *options, FunctionCallInfo fcinfo, int number,
				 const char *name)
{
	Jsonb	 *given = DBX_ARG_JSONB(number);
	ListCell *cell;

	if (given == NULL)
		return options;
	foreach(cell,
			dbx_workspace_json_options(dbx_json_from_jsonb(given, name), name))
	{
		DefElem	 *option = lfirst(cell);
		ListCell *other;
		bool	  doubled = false;

		if (option->arg != NULL && dbx_option_is_secret(option->defname))
			dbx_redact_secret(strVal(option->arg));
		foreach(other, options)
			doubled |= strcmp(lfirst_node(DefElem, other)->defname,
							  option->defname) == 0;
		if (!doubled)
			options = lappend(options, option);
	}
	return options;
}

/* The host as it will be used; the workspace id of a pasted address apart. */
static List *
add_host(List *options, FunctionCallInfo fcinfo)
{
	char *text = dbx_arg_text(fcinfo, 1);
	char *workspace_id = NULL;
	char *host;

	if (text == NULL)
		return options;
	host = dbx_workspace_normalize_host(text, &workspace_id);
	options = lappend(options,
					  makeDefElem("host", (Node *) makeString(host), -1));
	if (workspace_id != NULL)
		options = lappend(options,
						  makeDefElem("workspace_id",
									  (Node *) makeString(workspace_id), -1));
	return options;
}

static bool
is_given(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return true;
	}
	return false;
}

/* There is one default: making this workspace it takes it from another. */
static void
take_default(const char *name, List *options)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);
		char	*other;
		bool	 wanted;
		bool	 created;

		if (strcmp(option->defname, "is_default") != 0 || option->arg == NULL ||
			!parse_bool(defGetString(option), &wanted) || !wanted)
			continue;
		other = dbx_workspace_flagged();
		if (other == NULL || strcmp(other, name) == 0)
			continue;
		(void) dbx_workspace_define(
			other, list_make1(makeDefElem("is_default", NULL, -1)), &created);
		ereport(NOTICE,
				(errmsg("workspace \"%s\" is no longer the default", other)));
	}
}

/* Define server and mapping out of the arguments; returns the server's OID. */
static Oid
define_workspace(FunctionCallInfo fcinfo, const char *name, const char *role)
{
	List *server_options = NIL;
	List *user_options = NIL;
	bool  ambient;
	bool  created;
	Oid	  serverid;

	server_options = add_host(server_options, fcinfo);
	server_options = add_json_options(server_options, fcinfo, 6,
									  "server_options");
	user_options = add_text_option(user_options, fcinfo, 2, "token");
	user_options = add_text_option(user_options, fcinfo, 3, "client_id");
	user_options = add_text_option(user_options, fcinfo, 4, "client_secret");
	user_options = add_json_options(user_options, fcinfo, 7, "user_options");

	/* the server process may know what is not told here */
	ambient = is_given(server_options, "auth_type") ||
		is_given(server_options, "profile") ||
		is_given(server_options, "config_file") ||
		is_given(user_options, "profile");
	if (GetForeignServerByName(name, true) == NULL)
	{
		if (!ambient && !is_given(server_options, "host"))
			ereport(
				ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a new workspace needs a host"),
				 errhint("SELECT * FROM databricks.connect(%s, host => 'https://...', token => '...').",
						 quote_literal_cstr(name))));
		if (!is_given(server_options, "is_default") &&
			dbx_workspace_flagged() == NULL)
			server_options = lappend(server_options,
									 makeDefElem("is_default",
												 (Node *) makeString("true"),
												 -1));
	}
	take_default(name, server_options);
	serverid = dbx_workspace_define(name, server_options, &created);
	if (user_options != NIL || (created && ambient))
		dbx_workspace_define_mapping(name, role, user_options);
	return serverid;
}

/*
 * The schema where tables of this server are, InvalidOid if there are none;
 * *present gets the resources that have a table there.
 */
static Oid
find_tables(Oid serverid, Oid wanted_schema, List **present)
{
	Relation	catalog = table_open(ForeignTableRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0,
										  NULL);
	Oid			schema = InvalidOid;
	HeapTuple	tuple;

	*present = NIL;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_table row = (Form_pg_foreign_table) GETSTRUCT(tuple);
		Oid					  here;
		const char			 *resource;
		ListCell			 *cell;

		if (row->ftserver != serverid)
			continue;
		here = get_rel_namespace(row->ftrelid);
		if (OidIsValid(wanted_schema) && here != wanted_schema)
			continue;
		if (!OidIsValid(schema))
			schema = here;
		if (here != schema)
			continue;
		resource = get_rel_name(row->ftrelid);
		foreach(cell, GetForeignTable(row->ftrelid)->options)
		{
			DefElem *option = lfirst(cell);

			if (strcmp(option->defname, "resource") == 0)
				resource = defGetString(option);
		}
		*present = lappend(*present, pstrdup(resource));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return schema;
}

/*
 * Are names in the home schema free for the tables of this workspace, and may
 * the caller make them there?
 */
static bool
home_is_free(void)
{
	Oid home = get_namespace_oid(HOME_SCHEMA, false);
	int i;

	if (object_aclcheck(NamespaceRelationId, home, GetUserId(), ACL_CREATE) !=
		ACLCHECK_OK)
		return false;

	for (i = 0; dbx_resources[i] != NULL; i++)
	{
		if (OidIsValid(get_relname_relid(dbx_resources[i]->name, home)))
			return false;
	}
	return true;
}

/* Where the tables of a workspace go; makes the schema if need be. */
static char *
choose_schema(FunctionCallInfo fcinfo, const char *workspace, Oid serverid,
			  List **present)
{
	char *schema;
	Oid	  found;

	if (!PG_ARGISNULL(8))
		schema = pstrdup(NameStr(*PG_GETARG_NAME(8)));
	else
	{
		found = find_tables(serverid, InvalidOid, present);
		if (OidIsValid(found))
			return get_namespace_name(found);
		schema = pstrdup(home_is_free() ? HOME_SCHEMA : workspace);
	}
	found = get_namespace_oid(schema, true);
	if (!OidIsValid(found))
	{
		CreateSchemaStmt *create = makeNode(CreateSchemaStmt);

		create->schemaname = schema;
		CreateSchemaCommand(create,
							"CREATE SCHEMA (generated by databricks.connect)",
							-1, -1);
		CommandCounterIncrement();
		found = get_namespace_oid(schema, false);
	}
	(void) find_tables(serverid, found, present);
	return schema;
}

/* The resources that have no table yet, as names. */
static List *
missing_resources(List *present)
{
	List *missing = NIL;
	int	  i;

	for (i = 0; dbx_resources[i] != NULL; i++)
	{
		ListCell *cell;
		bool	  there = false;

		foreach(cell, present)
			there |= strcmp(lfirst(cell), dbx_resources[i]->name) == 0;
		if (!there)
			missing = lappend(missing, (char *) dbx_resources[i]->name);
	}
	return missing;
}

/*
 * Names in use by something else.  If that is so for all of them the schema was
 * the wrong choice; else the others are made.
 */
static List *
without_taken_names(List *names, Oid schema_oid, const char *schema)
{
	List	 *free_names = NIL;
	ListCell *cell;
	char	 *taken = NULL;

	foreach(cell, names)
	{
		if (!OidIsValid(get_relname_relid(lfirst(cell), schema_oid)))
			free_names = lappend(free_names, lfirst(cell));
		else
			taken = taken ? psprintf("%s, %s", taken, (char *) lfirst(cell))
						  : lfirst(cell);
	}
	if (taken != NULL)
		ereport(
			free_names == NIL ? ERROR : WARNING,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("foreign tables cannot be made in schema \"%s\": the names are taken",
					schema),
			 errdetail("Taken: %s.", taken),
			 errhint("Give another schema: connect(..., schema => '...').")));
	return free_names;
}

static void
import_tables(FunctionCallInfo fcinfo, const char *workspace, Oid serverid)
{
	List	 *present = NIL;
	char	 *schema = choose_schema(fcinfo, workspace, serverid, &present);
	Oid		  schema_oid = get_namespace_oid(schema, false);
	List	 *missing = missing_resources(present);
	ListCell *cell;

	missing = without_taken_names(missing, schema_oid, schema);
	if (missing == NIL)
		return;
	SPI_connect();
	foreach(cell, dbx_fdw_import_commands(workspace, schema, missing))
	{
		if (SPI_execute(lfirst(cell), false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not create a foreign table");
	}
	foreach(cell, missing)
	{
		Oid relid = get_relname_relid(lfirst(cell), schema_oid);

		dbx_fdw_comment_table(relid);
		SPI_execute(psprintf("GRANT SELECT ON %s TO PUBLIC",
							 quote_qualified_identifier(schema, lfirst(cell))),
					false, 0);
	}
	SPI_finish();
	ereport(NOTICE,
			(errmsg("foreign tables of workspace \"%s\" are in schema \"%s\"",
					workspace, schema)));
}

/* What connect() does, once its secrets are out of sight. */
static Connection
connect_workspace(FunctionCallInfo fcinfo)
{
	Connection	result = {0};
	const char *name;
	const char *role;
	Oid			serverid;

	dbx_redact_secret(dbx_arg_text(fcinfo, 2));
	dbx_redact_secret(dbx_arg_text(fcinfo, 4));
	dbx_arg_require(fcinfo, 0, "workspace");
	name = NameStr(*PG_GETARG_NAME(0));
	if (*name == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a workspace needs a name")));
	role = PG_ARGISNULL(5) ? GetUserNameFromId(GetUserId(), false)
						   : NameStr(*PG_GETARG_NAME(5));
	serverid = define_workspace(fcinfo, name, role);
	import_tables(fcinfo, name, serverid);
	dbx_data_migrate();
	CommandCounterIncrement();

	if (!dbx_workspace_has_mapping(serverid, GetUserId()))
	{
		result.latency_ms = -1;
		result.message = psprintf(
			"not tried: role \"%s\" has no credentials for it; call connect() again with token, or client_id and client_secret, or user_options",
			GetUserNameFromId(GetUserId(), false));
		return result;
	}
	result = check(dbx_workspace_by_server(serverid, GetUserId()));
	if (!PG_ARGISNULL(5) && strcmp(role, "public") != 0 &&
		strcmp(role, GetUserNameFromId(GetUserId(), false)) != 0)
		result.message = psprintf(
			"%s; the credentials of role \"%s\" were not tried", result.message,
			role);
	return result;
}

Datum
databricks_connect(PG_FUNCTION_ARGS)
{
	ErrorContextCallback *callers = error_context_stack;
	Connection			  connection;

	dbx_redact_statement(SHOWN_STATEMENT);
	error_context_stack = NULL;
	connection = connect_workspace(fcinfo);
	error_context_stack = callers;
	return make_row(fcinfo, &connection);
}
