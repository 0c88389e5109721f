/*
 * ambient.c
 *	  What the server process brings along: its environment, and profiles.
 *
 * Separate because these are no options of the catalogs and nobody who may
 * define a server or a mapping is entitled to them by that alone: they belong to
 * whoever runs the server.  So each use is checked, here and nowhere else.
 *
 * A setting comes from the first of these that has it:
 *	  1. the option of the user mapping, then of the server;
 *	  2. the environment of the server process, looked into if auth_type is env
 *	     or env-oidc, or if no option names any credential (and the role may);
 *	  3. the profile, read if option profile or config_file says so, or a variable
 *	     of an environment that is looked into.
 * A file is never read just because it is there.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port.h"
#include "utils/builtins.h"

#include "auth/file.h"
#include "auth/profile.h"
#include "workspace/ambient.h"
#include "workspace/option.h"

typedef struct Setting
{
	const char *key;	  /* in a profile; NULL: not there */
	const char *variable; /* of the environment */
	const char *option;
} Setting;

static const Setting settings[] = {
	{"auth_type", "DATABRICKS_AUTH_TYPE", "auth_type"},
	{"audience", "DATABRICKS_TOKEN_AUDIENCE", "audience"},
	{"azure_client_id", "ARM_CLIENT_ID", "azure_client_id"},
	{"azure_client_secret", "ARM_CLIENT_SECRET", "azure_client_secret"},
	{"azure_environment", "ARM_ENVIRONMENT", "azure_environment"},
	{"azure_tenant_id", "ARM_TENANT_ID", "azure_tenant_id"},
	{"azure_workspace_resource_id", "DATABRICKS_AZURE_RESOURCE_ID",
	 "azure_workspace_resource_id"},
	{"client_id", "DATABRICKS_CLIENT_ID", "client_id"},
	{"client_secret", "DATABRICKS_CLIENT_SECRET", "client_secret"},
	{"databricks_id_token_filepath", "DATABRICKS_OIDC_TOKEN_FILEPATH",
	 "oidc_token_file"},
	{"host", "DATABRICKS_HOST", "host"},
	{"token", "DATABRICKS_TOKEN", "token"},
	{"workspace_id", "DATABRICKS_WORKSPACE_ID", "workspace_id"},
	{NULL, "DATABRICKS_CONFIG_FILE", "config_file"},
	{NULL, "DATABRICKS_CONFIG_PROFILE", "profile"},
};

/* Raise unless what belongs to the server may be used for this workspace. */
static void
require_identity(const DbxWorkspace *workspace, const char *what)
{
	bool		by_owner;
	const char *role;

	if (workspace->server_identity)
		return;
	by_owner = dbx_option_may_read_files(workspace->userid);
	role = quote_identifier(
		GetUserNameFromId(by_owner ? workspace->owner : workspace->userid,
						  false));
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied to use %s for workspace \"%s\"", what,
				workspace->name),
		 by_owner
			 ? errdetail(
				   "The owner of the server, role %s, is neither a superuser nor a member of pg_read_server_files.",
				   role)
			 : errdetail(
				   "Role %s is neither a superuser nor a member of pg_read_server_files.",
				   role)));
}

/* A value of the environment; NULL when it is not set or empty. */
static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && *value ? value : NULL;
}

static void
fill(DbxWorkspace *workspace, const char *option, const char *value)
{
	/* tools are not particular about case here, the option is */
	if (strcmp(option, "azure_environment") == 0)
	{
		char *upper = pstrdup(value);
		char *at;

		for (at = upper; *at; at++)
			*at = pg_toupper((unsigned char) *at);
		value = upper;
	}
	(void) dbx_option_fill(workspace, option, value);
}

static bool
says_yes(const char *value)
{
	bool flag;

	return value != NULL && parse_bool(value, &flag) && flag;
}

static void
take_environment(DbxWorkspace *workspace)
{
	int i;

	for (i = 0; i < (int) lengthof(settings); i++)
	{
		const char *value = variable(settings[i].variable);

		if (value != NULL)
			fill(workspace, settings[i].option, value);
	}
	if (workspace->oidc_token_env == NULL &&
		variable("DATABRICKS_OIDC_TOKEN_ENV") != NULL)
		workspace->oidc_token_env = pstrdup(
			variable("DATABRICKS_OIDC_TOKEN_ENV"));
	if (says_yes(variable("ARM_USE_MSI")))
		workspace->azure_use_msi = true;
	if (variable("DATABRICKS_USERNAME") != NULL &&
		variable("DATABRICKS_PASSWORD") != NULL)
		workspace->has_password = true;
	workspace->has_environment = true;
}

/* The value of a key in a profile; NULL when it is absent or empty. */
static const char *
entry_value(List *entries, const char *key)
{
	const char *value = NULL;
	ListCell   *cell;

	foreach(cell, entries)
	{
		DbxProfileEntry *entry = lfirst(cell);

		if (strcmp(entry->key, key) == 0)
			value = entry->value;
	}
	return value != NULL && *value ? value : NULL;
}

static void
take_profile(DbxWorkspace *workspace)
{
	const char *path = workspace->config_file;
	const char *why;
	const char *value;
	const char *used;
	char		home[MAXPGPATH];
	char	   *text;
	List	   *entries;
	int			i;

	if (path == NULL)
	{
		if (!get_home_path(home))
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("the user the server runs as has no home directory"),
				 errhint(
					 "Name the file with profiles: option \"config_file\" of the server.")));
		path = psprintf("%s/.databrickscfg", home);
	}
	text = dbx_file_read(path, &why);
	if (text == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_FILE),
			 errmsg("the file with profiles \"%s\" %s", path, why),
			 errhint(
				 "Its name is in option \"config_file\" of the server; else it is .databrickscfg in the home directory of the user the server runs as.")));
	entries = dbx_profile_parse(text, path, workspace->profile, &used);
	for (i = 0; i < (int) lengthof(settings); i++)
	{
		value = settings[i].key ? entry_value(entries, settings[i].key) : NULL;
		if (value != NULL)
			fill(workspace, settings[i].option, value);
	}
	value = entry_value(entries, "oidc_token_env");
	if (value != NULL && workspace->oidc_token_env == NULL)
		workspace->oidc_token_env = pstrdup(value);
	if (says_yes(entry_value(entries, "azure_use_msi")))
		workspace->azure_use_msi = true;
	if (entry_value(entries, "username") != NULL &&
		entry_value(entries, "password") != NULL)
		workspace->has_password = true;
}

static bool
auth_type_is(const DbxWorkspace *workspace, const char *name)
{
	return workspace->auth_type != NULL &&
		strcmp(workspace->auth_type, name) == 0;
}

/*
 * Do the options leave it to the environment how to authenticate, and may it be
 * used?  Its token is for the host that stands there beside it, not for others.
 */
static bool
falls_back(const DbxWorkspace *workspace)
{
	const char *host = variable("DATABRICKS_HOST");

	if (!workspace->server_identity || workspace->token != NULL ||
		workspace->token_file != NULL || workspace->client_id != NULL ||
		workspace->client_secret != NULL || workspace->azure_client_id != NULL ||
		workspace->azure_client_secret != NULL ||
		workspace->oidc_token_file != NULL || workspace->profile != NULL ||
		workspace->config_file != NULL || auth_type_is(workspace, "azure-msi"))
		return false;
	return host == NULL || workspace->host == NULL ||
		strcmp(dbx_workspace_normalize_host(host, NULL), workspace->host) == 0;
}

void
dbx_ambient_apply(DbxWorkspace *workspace)
{
	if (auth_type_is(workspace, "env"))
	{
		require_identity(workspace, "the environment of the server");
		workspace->auth_type = NULL;
		take_environment(workspace);
		/* "look there" does not say there where to look */
		if (auth_type_is(workspace, "env"))
			workspace->auth_type = NULL;
	}
	else if (auth_type_is(workspace, "env-oidc"))
	{
		require_identity(workspace, "the environment of the server");
		take_environment(workspace);
	}
	else if (falls_back(workspace))
		take_environment(workspace);
	if (workspace->profile != NULL || workspace->config_file != NULL)
	{
		require_identity(workspace, "a profile of the server");
		take_profile(workspace);
	}
	/* whether an option or a profile says it */
	if (auth_type_is(workspace, "azure-msi") || workspace->azure_use_msi)
		require_identity(workspace, "the managed identity of the server");
	if (workspace->token_file != NULL || workspace->oidc_token_file != NULL)
		require_identity(workspace, "a token file of the server");
}
