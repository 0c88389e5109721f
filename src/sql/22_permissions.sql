
/*
 * 22_permissions.sql
 *	  Access lists of all kinds of objects.
 */

CREATE FUNCTION databricks.permissions_path(object_type pg_catalog.text, object_id pg_catalog.text)
RETURNS pg_catalog.text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_permissions_path';

COMMENT ON FUNCTION databricks.permissions_path(pg_catalog.text, pg_catalog.text) IS
'Path of the calls for the access list of an object. Errors: 22004; 22023 a type that has none, with those that have. Calls nothing.';

CREATE FUNCTION databricks.check_access_control_list(
	object_type pg_catalog.text,
	access_control_list pg_catalog.jsonb,
	replaces pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'databricks_check_access_control_list';

COMMENT ON FUNCTION databricks.check_access_control_list(pg_catalog.text, pg_catalog.jsonb, pg_catalog.bool) IS
'The access list, or an error if it cannot be meant for this type of object: 22004 null; 22023 no array, an entry without exactly one principal, a level the type does not have (with the list of those it has), a group as owner; with replaces also an owner missing or doubled where there must be one. Calls nothing.';

CREATE FUNCTION databricks.get_permissions(
	object_type pg_catalog.text,
	object_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api('GET', databricks.permissions_path(object_type, object_id), NULL, workspace);

COMMENT ON FUNCTION databricks.get_permissions(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'The access list of an object. object_type is the plural of the service: jobs, clusters, cluster-policies, instance-pools, pipelines, notebooks, directories, files, repos, warehouses and so on; an unknown one is refused with the list. object_id is its id as text; of authorization it is tokens or passwords, who may use which in the workspace. GET /api/2.0/permissions/{object_type}/{object_id}.
Errors: 22023 another type; 42704 no such object, 42501 denied; others as api().';

CREATE FUNCTION databricks.set_permissions(
	object_type pg_catalog.text,
	object_id pg_catalog.text,
	access_control_list pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api('PUT', databricks.permissions_path(object_type, object_id),
					  pg_catalog.jsonb_build_object(
						  'access_control_list',
						  databricks.check_access_control_list(object_type, access_control_list, true)),
					  workspace);

COMMENT ON FUNCTION databricks.set_permissions(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'Replaces all direct entries of the access list of an object. Jobs and pipelines need exactly one entry with IS_OWNER. access_control_list is an array of {user_name, group_name or service_principal_name; permission_level}. Returns the new list. PUT /api/2.0/permissions/{object_type}/{object_id}.
Acts at once and is not undone by ROLLBACK. Errors: 22023 a type, level or entry that cannot be meant (with the list of levels); 42704 no such object, 42501 denied; others as api().';

CREATE FUNCTION databricks.update_permissions(
	object_type pg_catalog.text,
	object_id pg_catalog.text,
	access_control_list pg_catalog.jsonb,
	workspace pg_catalog.name DEFAULT NULL)
RETURNS pg_catalog.jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN databricks.api('PATCH', databricks.permissions_path(object_type, object_id),
					  pg_catalog.jsonb_build_object(
						  'access_control_list',
						  databricks.check_access_control_list(object_type, access_control_list, false)),
					  workspace);

COMMENT ON FUNCTION databricks.update_permissions(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.name) IS
'Gives the principals listed the levels listed and leaves the others as they are. access_control_list is an array of {user_name, group_name or service_principal_name; permission_level}. Returns the new list. PATCH /api/2.0/permissions/{object_type}/{object_id}.
Acts at once and is not undone by ROLLBACK. Errors: 22023 a type, level or entry that cannot be meant (with the list of levels); 42704 no such object, 42501 denied; others as api().';

CREATE FUNCTION databricks.get_permission_levels(
	object_type pg_catalog.text,
	object_id pg_catalog.text,
	workspace pg_catalog.name DEFAULT NULL,
	OUT permission_level pg_catalog.text,
	OUT description pg_catalog.text)
RETURNS SETOF pg_catalog.record
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 5
BEGIN ATOMIC
SELECT l.level OPERATOR(pg_catalog.->>) 'permission_level',
	   l.level OPERATOR(pg_catalog.->>) 'description'
FROM pg_catalog.jsonb_array_elements(databricks.answered(
		 databricks.api('GET', databricks.permissions_path(object_type, object_id)
							   OPERATOR(pg_catalog.||) '/permissionLevels', NULL, workspace)
		 OPERATOR(pg_catalog.->) 'permission_levels', 'permission_levels')) AS l(level);
END;

COMMENT ON FUNCTION databricks.get_permission_levels(pg_catalog.text, pg_catalog.text, pg_catalog.name) IS
'The levels that can be given on an object, with the words of the service. GET /api/2.0/permissions/{object_type}/{object_id}/permissionLevels.
Errors: 22023 a type without access lists; 42704 no such object; others as api().';
