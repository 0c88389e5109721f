/*
 * resource_security.c
 *	  Descriptors of secrets, their scopes and rights, and of permissions.
 *
 * Separate because a resource is data.  Everything here is constant.  The value
 * of a secret is in no list, and never asked for.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "api/resource.h"

/* A table reads best with one column to an entry. */
/* clang-format off */
#define WORKSPACE_COLUMN \
	{"workspace", NAMEOID, DBX_CONVERT_WORKSPACE, 0, {NULL}, \
	"Workspace (foreign server)."}
#define RAW_COLUMN \
	{"raw", JSONBOID, DBX_CONVERT_ELEMENT, 0, {NULL}, \
	"The element as the service sent it."}

static const DbxColumn scope_columns[] = {
	WORKSPACE_COLUMN,
	{"scope", TEXTOID, DBX_CONVERT_TEXT, 0, {"name"},
	"Name of the scope."},
	{"backend_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"backend_type"},
	"DATABRICKS or AZURE_KEYVAULT."},
	{"keyvault_metadata", JSONBOID, DBX_CONVERT_JSONB, 0, {"keyvault_metadata"},
	"Key vault behind it, {resource_id, dns_name}."},
	RAW_COLUMN
};

static const DbxColumn secret_columns[] = {
	WORKSPACE_COLUMN,
	{"scope", TEXTOID, DBX_CONVERT_TEXT, 0, {"=scope"},
	"Scope of the secret; must be given."},
	{"key", TEXTOID, DBX_CONVERT_TEXT, 0, {"key"},
	"Name of the secret."},
	{"value", TEXTOID, DBX_CONVERT_TEXT, DBX_COLUMN_WRITE_ONLY, {"value"},
	"To be written only; reads NULL."},
	{"last_updated_time", TIMESTAMPTZOID, DBX_CONVERT_TIME_MS, 0, {"last_updated_timestamp"},
	"When it was last written."},
	RAW_COLUMN
};

static const DbxColumn acl_columns[] = {
	WORKSPACE_COLUMN,
	{"scope", TEXTOID, DBX_CONVERT_TEXT, 0, {"=scope"},
	"Scope the right is on; must be given."},
	{"principal", TEXTOID, DBX_CONVERT_TEXT, 0, {"principal"},
	"User, group or service principal."},
	{"permission", TEXTOID, DBX_CONVERT_TEXT, 0, {"permission"},
	"READ, WRITE or MANAGE."},
	RAW_COLUMN
};

static const DbxColumn permission_columns[] = {
	WORKSPACE_COLUMN,
	{"object_type", TEXTOID, DBX_CONVERT_TEXT, 0, {"=object_type"},
	"jobs, clusters, cluster-policies, instance-pools, pipelines, notebooks, directories, repos, warehouses, ...; must be given."},
	{"object_id", TEXTOID, DBX_CONVERT_TEXT, 0, {"=object_id"},
	"Id of the object; must be given."},
	{"user_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^user_name"},
	"User who has the permission."},
	{"group_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^group_name"},
	"Group that has the permission."},
	{"service_principal_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^service_principal_name"},
	"Service principal (application id) that has the permission."},
	{"display_name", TEXTOID, DBX_CONVERT_TEXT, 0, {"^display_name"},
	"Name for people of who has the permission."},
	{"permission_level", TEXTOID, DBX_CONVERT_TEXT, 0, {"permission_level"},
	"CAN_VIEW, CAN_MANAGE_RUN, CAN_MANAGE, IS_OWNER, ..."},
	{"inherited", BOOLOID, DBX_CONVERT_BOOLEAN, 0, {"inherited"},
	"Does it come from another object?"},
	{"inherited_from_object", JSONBOID, DBX_CONVERT_JSONB, 0, {"inherited_from_object"},
	"Objects it comes from."},
	{"raw", JSONBOID, DBX_CONVERT_JSONB, 0, {"^"},
	"All the service sent about who has the permission."}
};
/* clang-format on */

static const DbxFilter scoped_filters[] = {
	{"scope", DBX_FILTER_EQUAL, "scope", NULL, .required = true}};

static const DbxFilter permission_filters[] = {
	{"object_type", DBX_FILTER_EQUAL, "object_type", NULL, .required = true},
	{"object_id", DBX_FILTER_EQUAL, "object_id", NULL, .required = true}};

const DbxResource dbx_resource_secret_scopes = {
	.name = "secret_scopes",
	.comment = "Scopes of secrets (GET /api/2.0/secrets/scopes/list).",
	.rows = 50,
	.list_call = "/api/2.0/secrets/scopes/list",
	.items = "scopes",
	.ncolumns = lengthof(scope_columns),
	.columns = scope_columns};

const DbxResource dbx_resource_secrets = {
	.name = "secrets",
	.comment =
		"Names of the secrets of a scope, which must be given (GET /api/2.0/secrets/list).",
	.rows = 1000,
	.list_call = "/api/2.0/secrets/list",
	.items = "secrets",
	.ncolumns = lengthof(secret_columns),
	.columns = secret_columns,
	.nfilters = lengthof(scoped_filters),
	.filters = scoped_filters};

const DbxResource dbx_resource_secret_acls = {
	.name = "secret_acls",
	.comment =
		"Who may do what with the secrets of a scope, which must be given (GET /api/2.0/secrets/acls/list).",
	.rows = 500,
	.list_call = "/api/2.0/secrets/acls/list",
	.items = "items",
	.ncolumns = lengthof(acl_columns),
	.columns = acl_columns,
	.nfilters = lengthof(scoped_filters),
	.filters = scoped_filters};

const DbxResource dbx_resource_permissions = {
	.name = "permissions",
	.comment =
		"Permissions on an object; object_type and object_id must be given (GET /api/2.0/permissions/{object_type}/{object_id}).",
	.rows = 5000,
	.list_call = "/api/2.0/permissions/{object_type}/{object_id}",
	.items = "access_control_list",
	.unnest = "all_permissions",
	.ncolumns = lengthof(permission_columns),
	.columns = permission_columns,
	.nfilters = lengthof(permission_filters),
	.filters = permission_filters};
