/*
 * azure.c
 *	  Azure: service principals with a secret, and the managed identity of the
 *	  machine the server runs on.
 *
 * One file for both, since they only differ in where the token comes from.  With
 * azure_workspace_resource_id a second token goes along, for the management of
 * Azure: so principals get in that have rights on the workspace there but are no
 * users of it.
 */
#include "postgres.h"

#include "auth/oauth.h"
#include "auth/providers.h"

/* Databricks itself, as a resource of Azure, in all of its clouds. */
#define DATABRICKS_RESOURCE "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"

#define METADATA_HOST	 "http://169.254.169.254"
#define METADATA_PATH	 "/metadata/identity/oauth2/token"
#define METADATA_VERSION "2018-02-01"

typedef struct AzureCloud
{
	const char *name;
	const char *domain; /* of its workspaces */
	const char *login_host;
	const char *management; /* resource of the second token */
} AzureCloud;

/* The first one is meant where neither an option nor the host says another. */
static const AzureCloud clouds[] = {
	{"PUBLIC", ".azuredatabricks.net", "https://login.microsoftonline.com",
	 "https://management.core.windows.net/"},
	{"USGOVERNMENT", ".databricks.azure.us", "https://login.microsoftonline.us",
	 "https://management.core.usgovcloudapi.net/"},
	{"CHINA", ".databricks.azure.cn", "https://login.chinacloudapi.cn",
	 "https://management.core.chinacloudapi.cn/"},
};

enum
{
	STEP_TENANT,
	STEP_TOKEN
};

static bool
is_of_cloud(const DbxWorkspace *workspace, const AzureCloud *cloud)
{
	Size length = strlen(workspace->host);
	Size domain = strlen(cloud->domain);

	if (workspace->azure_environment != NULL)
		return strcmp(cloud->name, workspace->azure_environment) == 0;
	return length > domain &&
		strcmp(workspace->host + length - domain, cloud->domain) == 0;
}

static const AzureCloud *
cloud_of(const DbxWorkspace *workspace)
{
	int i;

	for (i = 0; i < (int) lengthof(clouds); i++)
	{
		if (is_of_cloud(workspace, &clouds[i]))
			return &clouds[i];
	}
	return &clouds[0];
}

static const char *
resource_of(const DbxFetch *fetch)
{
	return fetch->second ? cloud_of(fetch->workspace)->management
						 : DATABRICKS_RESOURCE;
}

static bool
azure_wants_second(const DbxWorkspace *workspace)
{
	return workspace->azure_workspace_resource_id != NULL;
}

static List *
azure_second_headers(const DbxWorkspace *workspace, const char *token)
{
	return list_make2(psprintf("X-Databricks-Azure-Workspace-Resource-Id: %s",
							   workspace->azure_workspace_resource_id),
					  psprintf("X-Databricks-Azure-SP-Management-Token: %s",
							   token));
}

static bool
sp_configured(const DbxWorkspace *workspace, const char **why)
{
	bool id = workspace->azure_client_id != NULL;
	bool secret = workspace->azure_client_secret != NULL;

	*why = id
		? "option \"azure_client_secret\" is missing beside \"azure_client_id\""
		: secret
		? "option \"azure_client_id\" is missing beside \"azure_client_secret\""
		: "the user mapping has no options \"azure_client_id\" and \"azure_client_secret\"";
	return id && secret;
}

static void
sp_request(DbxFetch *fetch)
{
	const DbxWorkspace *workspace = fetch->workspace;
	DbxExchange		   *exchange = &fetch->exchange;
	StringInfoData		form;

	if (workspace->azure_tenant_id != NULL)
		fetch->found = pstrdup(workspace->azure_tenant_id);
	if (fetch->found == NULL)
	{
		/* the workspace sends browsers to the login page of its directory */
		exchange->what = "the directory of the workspace";
		exchange->url = psprintf("%s/aad/auth", workspace->host);
		exchange->redirect = true;
		return;
	}
	fetch->step = STEP_TOKEN;
	dbx_redact_secret(workspace->azure_client_secret);
	dbx_redact_secret(dbx_http_escape(workspace->azure_client_secret));
	initStringInfo(&form);
	dbx_oauth_add(&form, "grant_type", "client_credentials");
	dbx_oauth_add(&form, "client_id", workspace->azure_client_id);
	dbx_oauth_add(&form, "client_secret", workspace->azure_client_secret);
	dbx_oauth_add(&form, "resource", resource_of(fetch));
	exchange->what = "the token endpoint";
	exchange->url = psprintf("%s/%s/oauth2/token",
							 workspace->azure_login_host
								 ? workspace->azure_login_host
								 : cloud_of(workspace)->login_host,
							 dbx_http_escape(fetch->found));
	exchange->form = form.data;
	exchange->last = true;
}

/*
 * The tenant out of "https://login.microsoftonline.com/<tenant>/oauth2/...".
 * Only the tenant is taken: where the secret goes is not for a redirect to say.
 */
static void
sp_take(DbxFetch *fetch, DbxTransfer *transfer)
{
	const char *location = dbx_http_header(transfer, "Location");
	const char *tenant = location ? strstr(location, "://") : NULL;
	Size		length = 0;

	if (tenant != NULL)
		tenant = strchr(tenant + 3, '/');
	if (tenant != NULL)
		length = strspn(++tenant,
						"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
						"UVWXYZ0123456789-.");
	if (length == 0 || tenant[length] != '/' || *tenant == '.')
		dbx_fetch_fail(
			fetch, ERRCODE_FDW_UNABLE_TO_CREATE_REPLY,
			psprintf(
				"%s/aad/auth does not tell the directory (tenant) of the workspace",
				fetch->workspace->host),
			"Name it: option \"azure_tenant_id\" of the server or the user mapping.");
	else
		fetch->found = pnstrdup(tenant, length);
}

static bool
msi_configured(const DbxWorkspace *workspace, const char **why)
{
	*why = "neither auth_type nor a profile says to use it";
	return workspace->azure_use_msi ||
		(workspace->auth_type != NULL &&
		 strcmp(workspace->auth_type, "azure-msi") == 0);
}

static void
msi_request(DbxFetch *fetch)
{
	const DbxWorkspace *workspace = fetch->workspace;
	DbxExchange		   *exchange = &fetch->exchange;
	StringInfoData		query;

	initStringInfo(&query);
	dbx_oauth_add(&query, "api-version", METADATA_VERSION);
	dbx_oauth_add(&query, "resource", resource_of(fetch));
	if (workspace->azure_client_id != NULL)
		dbx_oauth_add(&query, "client_id", workspace->azure_client_id);
	exchange->what = "the metadata service";
	exchange->url = psprintf("%s%s",
							 workspace->azure_login_host
								 ? workspace->azure_login_host
								 : METADATA_HOST,
							 METADATA_PATH);
	/* an address of this link alone, where plain http is all there is */
	exchange->known = workspace->azure_login_host == NULL;
	exchange->metadata = true;
	exchange->query = query.data;
	exchange->headers = list_make1("Metadata: true");
	exchange->last = true;
}

const DbxAuthProvider dbx_auth_azure_sp = {
	.name = "azure-client-secret",
	.family = "azure",
	.remedy = "options \"azure_client_id\", \"azure_client_secret\" and \"azure_tenant_id\" of the user mapping",
	.configured = sp_configured,
	.request = sp_request,
	.take = sp_take,
	.wants_second = azure_wants_second,
	.second_headers = azure_second_headers,
};

const DbxAuthProvider dbx_auth_azure_msi = {
	.name = "azure-msi",
	.family = "azure",
	.remedy = "that this machine has a managed identity, that it is a user of the workspace, and option \"azure_client_id\" where there are several",
	.configured = msi_configured,
	.request = msi_request,
	.wants_second = azure_wants_second,
	.second_headers = azure_second_headers,
};
