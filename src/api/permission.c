/*
 * permission.c
 *	  Kinds of objects that have access lists, and the levels of each.
 *
 * Separate because a level that does not fit its object is the commonest mistake
 * with access lists, and the service's words for it name neither.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "api/api.h"
#include "api/permission.h"
#include "compat.h"

#define MAX_LEVELS	  6
#define AUTHORIZATION "authorization"
#define EDITING                                         \
	{                                                   \
		"CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE" \
	}

typedef struct AclType
{
	const char *name;				/* as in the path of the call */
	bool		owned;				/* has exactly one owner */
	const char *levels[MAX_LEVELS]; /* from low to high */
	bool		single;				/* one list, no id in the path */
} AclType;

static const AclType object_types[] = {
	{"alerts", false, EDITING},
	{"alertsv2", false, EDITING},
	{AUTHORIZATION, false, {"CAN_USE", "CAN_MANAGE"}},
	{AUTHORIZATION "/passwords", false, {"CAN_USE"}, true},
	{AUTHORIZATION "/tokens", false, {"CAN_USE", "CAN_MANAGE"}, true},
	{"cluster-policies", false, {"CAN_USE"}},
	{"clusters", false, {"CAN_ATTACH_TO", "CAN_RESTART", "CAN_MANAGE"}},
	{"dashboards", false, EDITING},
	{"dbsql-dashboards", false, EDITING},
	{"directories", false, EDITING},
	{"experiments", false, {"CAN_READ", "CAN_EDIT", "CAN_MANAGE"}},
	{"files", false, EDITING},
	{"genie", false, EDITING},
	{"instance-pools", false, {"CAN_ATTACH_TO", "CAN_MANAGE"}},
	{"jobs", true, {"CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"}},
	{"notebooks", false, EDITING},
	{"pipelines", true, {"CAN_VIEW", "CAN_RUN", "CAN_MANAGE", "IS_OWNER"}},
	{"queries", false, EDITING},
	{"registered-models",
	 false,
	 {"CAN_READ", "CAN_EDIT", "CAN_MANAGE_STAGING_VERSIONS",
	  "CAN_MANAGE_PRODUCTION_VERSIONS", "CAN_MANAGE"}},
	{"repos", false, EDITING},
	{"serving-endpoints", false, {"CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"}},
	{"sql/alerts", false, EDITING},
	{"sql/queries", false, EDITING},
	{"sql/warehouses",
	 false,
	 {"CAN_USE", "CAN_MONITOR", "CAN_VIEW", "CAN_MANAGE", "IS_OWNER"}},
	{"warehouses",
	 false,
	 {"CAN_USE", "CAN_MONITOR", "CAN_VIEW", "CAN_MANAGE", "IS_OWNER"}},
};

static const char *const principals[] = {"user_name", "group_name",
										 "service_principal_name"};

static const AclType *
find_type(const char *name)
{
	StringInfoData names;
	int			   i;

	initStringInfo(&names);
	for (i = 0; i < (int) lengthof(object_types); i++)
	{
		if (strcmp(object_types[i].name, name) == 0)
			return &object_types[i];
		appendStringInfo(&names, "%s%s", i ? ", " : "", object_types[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("objects of type \"%s\" have no access list", name),
			 errhint("Types that have one: %s.", names.data)));
}

char *
dbx_permission_path(const char *object_type, const char *object_id)
{
	const AclType *type = find_type(object_type);

	if (type->single)
		return psprintf("/api/2.0/permissions/%s", type->name);
	/* its objects are the lists of the workspace that have no other id */
	if (strcmp(type->name, AUTHORIZATION) == 0)
		(void) find_type(psprintf(AUTHORIZATION "/%s", object_id));
	return psprintf("/api/2.0/permissions/%s/%s", type->name,
					dbx_path_segment(object_id));
}

static pg_noreturn void
bad_list(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid access_control_list"), errdetail("%s", why)));
}

static void
check_level(const AclType *type, const char *level)
{
	StringInfoData names;
	int			   i;

	initStringInfo(&names);
	for (i = 0; i < MAX_LEVELS && type->levels[i] != NULL; i++)
	{
		if (level != NULL && strcmp(type->levels[i], level) == 0)
			return;
		appendStringInfo(&names, "%s%s", i ? ", " : "", type->levels[i]);
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 level == NULL
			 ? errmsg("an entry of access_control_list has no permission_level")
			 : errmsg("\"%s\" is no permission level of %s", level, type->name),
		 errhint("Levels of %s: %s.", type->name, names.data)));
}

void
dbx_permission_check_list(const char *object_type, const DbxJson *list,
						  bool replaces)
{
	const AclType *type = find_type(object_type);
	const DbxJson *entry;
	int			   owners = 0;

	if (dbx_json_type(list) != DBX_JSON_ARRAY)
		bad_list(
			"It must be an array of objects with a principal and a permission_level.");
	for (entry = dbx_json_first(list); entry != NULL;
		 entry = dbx_json_next(entry))
	{
		const char *level = dbx_json_string(
			dbx_json_get(entry, "permission_level"));
		int found = 0;
		int i;

		for (i = 0; i < (int) lengthof(principals); i++)
		{
			if (dbx_json_string(dbx_json_get(entry, principals[i])) != NULL)
				found++;
		}
		if (found != 1)
			bad_list(
				"Each entry needs exactly one of user_name, group_name and service_principal_name.");
		check_level(type, level);
		if (strcmp(level, "IS_OWNER") != 0)
			continue;
		owners++;
		if (dbx_json_get(entry, "group_name") != NULL)
			bad_list("A group cannot be the owner.");
	}
	if (owners > 1)
		bad_list("There can be only one owner.");
	if (replaces && type->owned && owners == 0)
		bad_list(psprintf(
			"The whole list of one of the %s needs an entry with IS_OWNER.",
			type->name));
}
