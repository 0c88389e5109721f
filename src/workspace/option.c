/*
 * option.c
 *	  The descriptor table of options, the validator and the reader.
 *
 * Separate from workspace.c because it knows values, not catalogs.  A new
 * option is one line in the table below.
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "compat.h"
#include "http/http.h"
#include "workspace/option.h"

typedef enum OptionType
{
	OPTION_PATH,
	OPTION_TEXT,
	OPTION_HOST, /* sets workspace_id too, from a pasted address */
	OPTION_URL,	 /* an address without query */
	OPTION_PROXY,
	OPTION_BOOL,
	OPTION_INT,
	OPTION_REAL,
	OPTION_TIME, /* stored in ms */
	OPTION_SIZE, /* stored in bytes */
	OPTION_ENUM
} OptionType;

#define READS_FILES 0x01 /* only for those who may read server files */
#define ONE_WORD	0x02 /* printable ASCII: it becomes part of a header */
#define SECRET		0x04 /* masked in all texts from the moment it is known */

typedef struct Option
{
	const char *name;
	Oid			catalog; /* where it may stand */
	OptionType	type;
	int			flags;
	int			offset; /* in DbxWorkspace; -1: read elsewhere */
	double		least;	/* bounds of numbers */
	double		most;
	const char *values;	 /* ENUM: "a|b" */
	const char *initial; /* default, as text; NULL: none */
} Option;

#define IN_WORKSPACE(field) offsetof(DbxWorkspace, field)
#define SERVER				ForeignServerRelationId
#define MAPPING				UserMappingRelationId
#define TABLE				ForeignTableRelationId
#define COLUMN				AttributeRelationId

/*
 * What auth_type can be: the providers of src/auth in the names the vendor gave
 * them, and two of our own: token-file, and env for "look into the environment
 * of the server process, then choose".
 */
#define AUTH_TYPES \
	"pat|oauth-m2m|env-oidc|file-oidc|azure-msi|azure-client-secret|token-file|env"

/* What of it takes the identity of the server's machine or process. */
static const char *const identity_auth_types[] = {"env", "env-oidc",
												  "azure-msi"};

#define TEXT_OPTION(name, catalog, flags)                                   \
	{                                                                       \
#name, catalog, OPTION_TEXT, flags, IN_WORKSPACE(name), 0, 0, NULL, \
			NULL                                                            \
	}

/*
 * The costs are for choosing among plans of calls.  They are far below what a
 * call takes beside a page read, so that the usual list does not look so dear
 * that the server compiles the query (jit_above_cost), which takes longer.
 */
static const Option options[] = {
	/* how to authenticate, of several ways that are possible */
	{"auth_type", SERVER, OPTION_ENUM, 0, IN_WORKSPACE(auth_type), 0, 0,
	 AUTH_TYPES, NULL},
	/* for whom an identity token must be made that is exchanged for ours */
	TEXT_OPTION(audience, SERVER, 0),
	/* Azure: application id of the service principal; for auth_type azure-msi
	 * of the managed identity, where the machine has several */
	TEXT_OPTION(azure_client_id, MAPPING, ONE_WORD),
	TEXT_OPTION(azure_client_secret, MAPPING, ONE_WORD | SECRET),
	/* Azure: which cloud, so which login host and management resource */
	{"azure_environment", SERVER, OPTION_ENUM, 0,
	 IN_WORKSPACE(azure_environment), 0, 0, "PUBLIC|USGOVERNMENT|CHINA", NULL},
	/* Azure: instead of the cloud's own login host, and for azure-msi instead
	 * of the metadata address of the machine */
	{"azure_login_host", SERVER, OPTION_URL, 0, IN_WORKSPACE(azure_login_host),
	 0, 0, NULL, NULL},
	/* Azure: directory of the service principal; else the workspace is asked */
	TEXT_OPTION(azure_tenant_id, SERVER, ONE_WORD),
	TEXT_OPTION(azure_tenant_id, MAPPING, ONE_WORD),
	/* Azure: /subscriptions/..., for principals that are no users of the
	 * workspace but have rights on it in Azure */
	TEXT_OPTION(azure_workspace_resource_id, SERVER, ONE_WORD),
	/* certificate authorities besides the system's */
	TEXT_OPTION(ca_file, SERVER, READS_FILES),
	/* service principal of Databricks */
	TEXT_OPTION(client_id, MAPPING, ONE_WORD),
	TEXT_OPTION(client_secret, MAPPING, ONE_WORD | SECRET),
	/* where profiles are; else .databrickscfg in the home directory of the
	 * user the server runs as */
	TEXT_OPTION(config_file, SERVER, READS_FILES),
	/* how long this session may answer from what it was told before */
	{"cache_ttl", TABLE, OPTION_TIME, 0, -1, 0, INT_MAX, NULL, NULL},
	/* until the connection stands, TLS included */
	{"connect_timeout", SERVER, OPTION_TIME, 0, IN_WORKSPACE(connect_timeout),
	 1, INT_MAX, NULL, "10s"},
	/* planner's costs of a first page and of a row */
	{"fdw_startup_cost", SERVER, OPTION_REAL, 0, IN_WORKSPACE(fdw_startup_cost),
	 0, 1e12, NULL, "40"},
	{"fdw_tuple_cost", SERVER, OPTION_REAL, 0, IN_WORKSPACE(fdw_tuple_cost), 0,
	 1e12, NULL, "0.01"},
	/* address of the workspace */
	{"host", SERVER, OPTION_HOST, 0, IN_WORKSPACE(host), 0, 0, NULL, NULL},
	/* is it the workspace that is meant where none is named? */
	{"is_default", SERVER, OPTION_BOOL, 0, IN_WORKSPACE(is_default), 0, 0, NULL,
	 "false"},
	/* version of the Jobs API to begin with */
	{"jobs_api_version", SERVER, OPTION_ENUM, 0, IN_WORKSPACE(jobs_api_version),
	 0, 0, "2.2|2.1", "2.2"},
	/* calls at once */
	{"max_parallel", SERVER, OPTION_INT, 0, IN_WORKSPACE(max_parallel), 1, 256,
	 NULL, "16"},
	/* largest body of one answer */
	{"max_response_size", SERVER, OPTION_SIZE, 0,
	 IN_WORKSPACE(max_response_size), 1024, 1e12, NULL, "256MB"},
	/* signed token (JWT) of an identity provider, exchanged for one of ours;
	 * read anew at each renewal */
	TEXT_OPTION(oidc_token_file, MAPPING, READS_FILES),
	/* section of config_file */
	TEXT_OPTION(profile, SERVER, READS_FILES),
	TEXT_OPTION(profile, MAPPING, READS_FILES),
	/* address of an HTTP proxy */
	{"proxy", SERVER, OPTION_PROXY, 0, IN_WORKSPACE(proxy), 0, 0, NULL, NULL},
	/* which column of the resource this one is, or where in its JSON it is */
	{"path", COLUMN, OPTION_PATH, 0, -1, 0, 0, NULL, NULL},
	/* are conditions sent to the service? */
	{"pushdown", TABLE, OPTION_BOOL, 0, -1, 0, 0, NULL, NULL},
	/* factor on the published limits of requests per second, 0: none */
	{"rate_limit", SERVER, OPTION_REAL, 0, IN_WORKSPACE(rate_limit), 0, 1e6,
	 NULL, "1"},
	/* one request, from connecting to the last byte */
	{"request_timeout", SERVER, OPTION_TIME, 0, IN_WORKSPACE(request_timeout),
	 1, INT_MAX, NULL, "60s"},
	/* what a foreign table shows */
	{"resource", TABLE, OPTION_TEXT, 0, -1, 0, 0, NULL, NULL},
	/* patience over all attempts of one call */
	{"retry_timeout", SERVER, OPTION_TIME, 0, IN_WORKSPACE(retry_timeout), 0,
	 INT_MAX, NULL, "5min"},
	/* personal access token */
	TEXT_OPTION(token, MAPPING, ONE_WORD | SECRET),
	/* file with an access token, read anew for each request */
	TEXT_OPTION(token_file, MAPPING, READS_FILES),
	/* where OAuth tokens are given out; else the workspace is asked */
	{"token_url", SERVER, OPTION_URL, 0, IN_WORKSPACE(token_url), 0, 0, NULL,
	 NULL},
	/* may the table be written to? */
	{"updatable", TABLE, OPTION_BOOL, 0, -1, 0, 0, NULL, NULL},
	/* for hosts that serve several workspaces */
	TEXT_OPTION(workspace_id, SERVER, ONE_WORD),
};

PG_FUNCTION_INFO_V1(databricks_fdw_validator);

bool
dbx_option_may_read_files(Oid roleid)
{
	return superuser_arg(roleid) ||
		has_privs_of_role(roleid, ROLE_PG_READ_SERVER_FILES);
}

static const char *
catalog_noun(Oid catalog)
{
	switch (catalog)
	{
		case SERVER:
			return "a server";
		case MAPPING:
			return "a user mapping";
		case TABLE:
			return "a foreign table";
		case ForeignDataWrapperRelationId:
			return "the foreign-data wrapper";
		default:
			return "a column";
	}
}

/* User names and passwords: what the service took long ago. */
static pg_noreturn void
no_basic(const char *what)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
		 errmsg("%s is not supported", what),
		 errdetail(
			 "The service no longer accepts user names with passwords (basic authentication)."),
		 errhint(
			 "Use a personal access token (option \"token\") or a service principal (options \"client_id\" and \"client_secret\").")));
}

/* Raise for a name that is no option here, with the most helpful hint. */
static pg_noreturn void
unknown_option(const char *name, Oid catalog)
{
	const Option  *closest = NULL;
	int			   closest_distance = 4;
	StringInfoData valid;
	int			   i;

	if (catalog != TABLE &&
		(strcmp(name, "username") == 0 || strcmp(name, "user") == 0 ||
		 strcmp(name, "password") == 0))
		no_basic(psprintf("option \"%s\"", name));
	initStringInfo(&valid);
	for (i = 0; i < (int) lengthof(options); i++)
	{
		const Option *option = &options[i];
		int			  distance;

		if (strcmp(option->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("option \"%s\" does not belong to %s", name,
							catalog_noun(catalog)),
					 errhint("It is an option of %s.",
							 catalog_noun(option->catalog))));
		if (option->catalog != catalog)
			continue;
		appendStringInfo(&valid, "%s%s", valid.len ? ", " : "", option->name);
		if (strlen(name) > 255)
			continue;
		distance = varstr_levenshtein_less_equal(name, strlen(name),
												 option->name,
												 strlen(option->name), 1, 1, 1,
												 4, true);
		if (distance < closest_distance &&
			distance <= (int) strlen(option->name) / 2)
		{
			closest = option;
			closest_distance = distance;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 closest != NULL
				 ? errhint("Perhaps you meant the option \"%s\".", closest->name)
				 : valid.len > 0
				 ? errhint("Valid options here are: %s.", valid.data)
				 : errhint("There are no valid options here.")));
}

static pg_noreturn void
bad_value(const Option *option, const char *value, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", option->name,
					value),
			 errhint("%s", wanted)));
}

static bool
all_digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* A number, with its unit for times and sizes, in the unit it is stored in. */
static double
number_value(const Option *option, const char *value)
{
	const char *wanted = "Expected a number.";
	const char *hint = NULL;
	double		number = 0;
	bool		ok;

	switch (option->type)
	{
		case OPTION_TIME:
			wanted = "Expected a time such as \"30s\", \"500ms\" or \"5min\"; a plain number means seconds.";
			ok = parse_real(value, &number,
							all_digits(value) ? GUC_UNIT_S : GUC_UNIT_MS, &hint);
			if (all_digits(value))
				number *= 1000;
			break;
		case OPTION_SIZE:
			wanted = "Expected a size such as \"64MB\"; a plain number means bytes.";
			ok = parse_real(value, &number, GUC_UNIT_BYTE, &hint);
			break;
		default:
			ok = parse_real(value, &number, 0, &hint);
			if (ok && option->type == OPTION_INT && number != rint(number))
				ok = false;
			break;
	}
	if (!ok)
		bad_value(option, value, wanted);
	if (number < option->least || number > option->most)
		bad_value(option, value,
				  psprintf("Expected a value between %.0f and %.0f%s.",
						   option->least, option->most,
						   option->type == OPTION_TIME		 ? " milliseconds"
							   : option->type == OPTION_SIZE ? " bytes"
															 : ""));
	return number;
}

/* "a|b" as people write it */
static char *
list_values(const char *values)
{
	StringInfoData list;

	initStringInfo(&list);
	for (; *values; values++)
	{
		if (*values == '|')
			appendStringInfoString(&list, ", ");
		else
			appendStringInfoChar(&list, *values);
	}
	return list.data;
}

static void
check_enum(const Option *option, const char *value)
{
	const char *next = option->values;
	Size		length = strlen(value);

	if (strcmp(option->name, "auth_type") == 0 && strcmp(value, "basic") == 0)
		no_basic("auth_type \"basic\"");
	for (;;)
	{
		const char *at = next;

		if (strncmp(at, value, length) == 0 &&
			(at[length] == '|' || at[length] == '\0') && length > 0)
			return;
		next = strchr(at, '|');
		if (next == NULL)
			break;
		next++;
	}
	bad_value(option, value,
			  psprintf("Expected one of: %s.", list_values(option->values)));
}

/* Names of members with dots between them; "^" leads to what the row is part of. */
static void
check_path(const Option *option, const char *value)
{
	const char *at = value + (*value == '^');

	do
	{
		Size length = strcspn(at, ".^=");

		if (length == 0 || (at[length] != '.' && at[length] != '\0'))
			bad_value(
				option, value,
				"Expected names with a dot between them, such as \"settings.queue.enabled\".");
		at += length + 1;
	} while (at[-1] == '.');
}

/*
 * What becomes part of a header must not break its line; a blank or a quote
 * there was copied along by mistake anyway.
 */
static void
check_word(const Option *option, const char *value)
{
	const char *at;

	for (at = value; *at; at++)
	{
		if ((unsigned char) *at <= ' ' || (unsigned char) *at >= 0x7f)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value for option \"%s\"", option->name),
				 errdetail(
					 "It holds a blank or another character that a token cannot have."),
				 errhint(
					 "Look for a line break or a quote that was copied along with it.")));
	}
}

/*
 * Check a value and, with a workspace given, store it there.  Text is copied
 * into the current memory context.
 */
static void
take_value(const Option *option, const char *value, DbxWorkspace *workspace)
{
	char  *field = workspace && option->offset >= 0
		 ? (char *) workspace + option->offset
		 : NULL;
	char  *org = NULL;
	char  *host;
	bool   flag;
	double number;

	switch (option->type)
	{
		case OPTION_HOST:
			host = dbx_workspace_normalize_host(value, &org);
			if (field != NULL)
				*(char **) field = host;
			if (workspace != NULL && org != NULL &&
				workspace->workspace_id == NULL)
				workspace->workspace_id = org;
			break;
		case OPTION_BOOL:
			if (!parse_bool(value, &flag))
				bad_value(option, value, "Expected a boolean.");
			if (field != NULL)
				*(bool *) field = flag;
			break;
		case OPTION_INT:
		case OPTION_TIME:
			number = number_value(option, value);
			if (field != NULL)
				*(int *) field = (int) number;
			break;
		case OPTION_SIZE:
			number = number_value(option, value);
			if (field != NULL)
				*(int64 *) field = (int64) number;
			break;
		case OPTION_REAL:
			number = number_value(option, value);
			/* the table knows the types of fields */
			if (field != NULL)
				/* cppcheck-suppress invalidPointerCast */
				*(double *) field = number;
			break;
		case OPTION_ENUM:
			check_enum(option, value);
			if (field != NULL)
				*(char **) field = pstrdup(value);
			break;
		case OPTION_URL:
			host = dbx_workspace_normalize_url(option->name, value);
			if (field != NULL)
				*(char **) field = host;
			break;
		case OPTION_PROXY:
			dbx_workspace_check_proxy(option->name, value);
			if (field != NULL)
				*(char **) field = pstrdup(value);
			break;
		case OPTION_PATH:
			check_path(option, value);
			break;
		case OPTION_TEXT:
			if (*value == '\0')
				bad_value(option, value, "Expected a text that is not empty.");
			if (option->flags & ONE_WORD)
				check_word(option, value);
			if ((option->flags & READS_FILES) &&
				strcmp(option->name, "profile") != 0 && !is_absolute_path(value))
				bad_value(option, value, "Expected an absolute path.");
			if (field != NULL)
				*(char **) field = pstrdup(value);
			break;
	}
}

static const Option *
find_option(const char *name, Oid catalog)
{
	int i;

	for (i = 0; i < (int) lengthof(options); i++)
	{
		if (options[i].catalog == catalog && strcmp(options[i].name, name) == 0)
			return &options[i];
	}
	return NULL;
}

void
dbx_option_defaults(DbxWorkspace *workspace)
{
	int i;

	for (i = 0; i < (int) lengthof(options); i++)
	{
		if (options[i].initial != NULL)
			take_value(&options[i], options[i].initial, workspace);
	}
}

void
dbx_option_apply(DbxWorkspace *workspace, List *list, Oid catalog)
{
	ListCell *cell;

	foreach(cell, list)
	{
		DefElem		 *def = lfirst(cell);
		const Option *option = find_option(def->defname, catalog);

		/* an option of a newer version of the extension is no reason to stop */
		if (option != NULL)
			take_value(option, defGetString(def), workspace);
	}
}

bool
dbx_option_fill(DbxWorkspace *workspace, const char *name, const char *value)
{
	const Option *option = find_option(name, SERVER);
	const char	 *present;

	if (option == NULL)
		option = find_option(name, MAPPING);
	Assert(option != NULL && option->offset >= 0);
	present = *(char **) ((char *) workspace + option->offset);
	if (present != NULL)
		return false;
	take_value(option, value, workspace);
	return true;
}

/* Is the field of this option a text? */
static bool
is_text(const Option *option)
{
	return option->offset >= 0 &&
		(option->type == OPTION_TEXT || option->type == OPTION_HOST ||
		 option->type == OPTION_URL || option->type == OPTION_PROXY ||
		 option->type == OPTION_ENUM);
}

DbxWorkspace *
dbx_option_copy(const DbxWorkspace *workspace)
{
	DbxWorkspace *copy = palloc(sizeof(DbxWorkspace));
	int			  i;

	memcpy(copy, workspace, sizeof(DbxWorkspace));
	copy->name = pstrdup(workspace->name);
	if (workspace->oidc_token_env != NULL)
		copy->oidc_token_env = pstrdup(workspace->oidc_token_env);
	for (i = 0; i < (int) lengthof(options); i++)
	{
		const char *text;

		if (!is_text(&options[i]))
			continue;
		text = *(char **) ((char *) workspace + options[i].offset);
		if (text != NULL)
			*(char **) ((char *) copy + options[i].offset) = pstrdup(text);
	}
	return copy;
}

char *
dbx_option_digest(const DbxWorkspace *workspace)
{
	StringInfoData all;
	int			   i;

	initStringInfo(&all);
	for (i = 0; i < (int) lengthof(options); i++)
	{
		const char *text;

		if (!is_text(&options[i]))
			continue;
		text = *(char **) ((char *) workspace + options[i].offset);
		if (text != NULL)
			appendStringInfo(&all, "%d=%zu:%s;", i, strlen(text), text);
	}
	if (workspace->oidc_token_env != NULL)
		appendStringInfoString(&all, workspace->oidc_token_env);
	return all.data;
}

void
dbx_option_redact(const DbxWorkspace *workspace)
{
	int i;

	for (i = 0; i < (int) lengthof(options); i++)
	{
		if (options[i].flags & SECRET)
			dbx_redact_secret(
				*(char **) ((char *) workspace + options[i].offset));
	}
}

bool
dbx_option_is_secret(const char *name)
{
	const Option *option = find_option(name, MAPPING);

	return option != NULL && (option->flags & SECRET) != 0;
}

/* Raise unless the current role may set an option to this value. */
static void
check_rights(const Option *option, const char *value)
{
	bool takes_identity = false;
	int	 i;

	if (strcmp(option->name, "auth_type") == 0)
	{
		for (i = 0; i < (int) lengthof(identity_auth_types); i++)
			takes_identity |= strcmp(value, identity_auth_types[i]) == 0;
	}
	if ((!takes_identity && !(option->flags & READS_FILES)) ||
		dbx_option_may_read_files(GetUserId()))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 takes_identity
			 ? errmsg("permission denied to set option \"%s\" to \"%s\"",
					  option->name, value)
			 : errmsg("permission denied to set option \"%s\"", option->name),
		 errdetail(
			 takes_identity
				 ? "Only superusers and members of the role pg_read_server_files may use the identity of the server."
				 : "Only superusers and members of the role pg_read_server_files may name files of the server.")));
}

Datum
databricks_fdw_validator(PG_FUNCTION_ARGS)
{
	List				 *list = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid					  catalog = PG_GETARG_OID(1);
	ErrorContextCallback *callers = error_context_stack;
	ListCell			 *cell;

	/*
	 * An error below would be logged along with the statement, and with those
	 * of callers, that hold a secret.
	 */
	if (catalog == MAPPING)
	{
		dbx_redact_statement("CREATE or ALTER USER MAPPING ... /* not shown */");
		error_context_stack = NULL;
	}
	foreach(cell, list)
	{
		DefElem		 *def = lfirst(cell);
		const Option *option = find_option(def->defname, catalog);

		if (option == NULL)
			unknown_option(def->defname, catalog);
		check_rights(option, defGetString(def));
		take_value(option, defGetString(def), NULL);
	}
	error_context_stack = callers;
	PG_RETURN_VOID();
}
