/*
 * compat.h
 *	  The one place that knows which PostgreSQL version it is compiled for.
 *
 * Callers are written against the newest supported server (18); what older
 * ones name or shape differently is supplied here.  Supported: 15 to 18.
 */
#ifndef DBX_COMPAT_H
#define DBX_COMPAT_H

#include "access/stratnum.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_tablespace.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "parser/parsetree.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "databricks needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM < 160000
/* 16 folded pg_*_aclcheck and pg_*_ownercheck into one function each. */
static inline AclResult
dbx_object_aclcheck(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	if (classid == TableSpaceRelationId)
		return pg_tablespace_aclcheck(objectid, roleid, mode);
	if (classid == NamespaceRelationId)
		return pg_namespace_aclcheck(objectid, roleid, mode);
	Assert(classid == ForeignServerRelationId);
	return pg_foreign_server_aclcheck(objectid, roleid, mode);
}

static inline bool
dbx_object_ownercheck(Oid classid, Oid objectid, Oid roleid)
{
	if (classid == DatabaseRelationId)
		return pg_database_ownercheck(objectid, roleid);
	Assert(classid == ForeignServerRelationId);
	return pg_foreign_server_ownercheck(objectid, roleid);
}
#define object_aclcheck(classid, objectid, roleid, mode) \
	dbx_object_aclcheck(classid, objectid, roleid, mode)
#define object_ownercheck(classid, objectid, roleid) \
	dbx_object_ownercheck(classid, objectid, roleid)
#endif

/* 17 ties wait event sets to a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define dbx_create_wait_event_set(nevents) CreateWaitEventSet(NULL, nevents)
#else
#define dbx_create_wait_event_set(nevents) \
	CreateWaitEventSet(TopMemoryContext, nevents)
#endif

/* Named wait events exist from 17; before, all of ours are "Extension". */
#if PG_VERSION_NUM >= 170000
#define dbx_wait_event(name) WaitEventExtensionNew(name)
#else
#define dbx_wait_event(name) PG_WAIT_EXTENSION
#endif

/* Background workers can be connected as a role that cannot log in from 17 on. */
#if PG_VERSION_NUM >= 170000
#define DBX_WORKER_ANY_ROLE_FLAG   BGWORKER_BYPASS_ROLELOGINCHECK
#define DBX_WORKER_MAY_BE_ANY_ROLE true
#else
#define DBX_WORKER_ANY_ROLE_FLAG   0
#define DBX_WORKER_MAY_BE_ANY_ROLE false
#endif

/*
 * Paths of foreign scans, with the arguments of 18: 17 added restriction
 * clauses of pushed-down joins, 18 the number of disabled nodes.
 */
#if PG_VERSION_NUM >= 180000
#define dbx_create_foreignscan_path(root, rel, target, rows, disabled,         \
									startup, total, pathkeys, outer,           \
									outerpath, restrictinfo, private)          \
	create_foreignscan_path(root, rel, target, rows, disabled, startup, total, \
							pathkeys, outer, outerpath, restrictinfo, private)
#elif PG_VERSION_NUM >= 170000
#define dbx_create_foreignscan_path(root, rel, target, rows, disabled,         \
									startup, total, pathkeys, outer,           \
									outerpath, restrictinfo, private)          \
	create_foreignscan_path(root, rel, target, rows, startup, total, pathkeys, \
							outer, outerpath, restrictinfo, private)
#else
#define dbx_create_foreignscan_path(root, rel, target, rows, disabled,         \
									startup, total, pathkeys, outer,           \
									outerpath, restrictinfo, private)          \
	create_foreignscan_path(root, rel, target, rows, startup, total, pathkeys, \
							outer, outerpath, private)
#endif

/* 18 says of an order what comparison it is by, before it was a btree's strategy. */
#if PG_VERSION_NUM >= 180000
#define dbx_pathkey_is_ascending(pathkey) ((pathkey)->pk_cmptype != COMPARE_GT)
#else
#define dbx_pathkey_is_ascending(pathkey) \
	((pathkey)->pk_strategy != BTGreaterStrategyNumber)
#endif

/* 17 looks into statistics for the length of arrays. */
#if PG_VERSION_NUM >= 170000
#define dbx_estimate_array_length(root, node) estimate_array_length(root, node)
#else
#define dbx_estimate_array_length(root, node) estimate_array_length(node)
#endif

/* As whom a foreign scan reads: the owner of the view it stands in, or nobody special. */
#if PG_VERSION_NUM >= 160000
#define dbx_scan_check_as_user(scan, rte) ((scan)->checkAsUser)
#else
#define dbx_scan_check_as_user(scan, rte) ((rte)->checkAsUser)
#endif

/* As whom a row is written: the owner of the view it goes through, or the user. */
#if PG_VERSION_NUM >= 160000
#define dbx_result_check_as_user(info, mtstate) \
	ExecGetResultRelCheckAsUser(info, (mtstate)->ps.state)
#else
static inline Oid
dbx_rte_user(const RangeTblEntry *rte)
{
	return OidIsValid(rte->checkAsUser) ? rte->checkAsUser : GetUserId();
}
#define dbx_result_check_as_user(info, mtstate)                              \
	dbx_rte_user(                                                            \
		exec_rt_fetch((info)->ri_RootResultRelInfo                           \
						  ? (info)->ri_RootResultRelInfo->ri_RangeTableIndex \
						  : (info)->ri_RangeTableIndex,                      \
					  (mtstate)->ps.state))
#endif

/* 18 tells delays of ANALYZE apart. */
#if PG_VERSION_NUM >= 180000
#define vacuum_delay_point_compat() vacuum_delay_point(true)
#else
#define vacuum_delay_point_compat() vacuum_delay_point()
#endif

/* 18 tells bytes from characters. */
#if PG_VERSION_NUM >= 180000
#define dbx_b64_encode(from, fromlen, to, tolen) \
	pg_b64_encode((const uint8 *) (from), fromlen, to, tolen)
#define dbx_b64_decode(from, fromlen, to, tolen) \
	pg_b64_decode(from, fromlen, (uint8 *) (to), tolen)
#else
#define dbx_b64_encode(from, fromlen, to, tolen) \
	pg_b64_encode(from, fromlen, to, tolen)
#define dbx_b64_decode(from, fromlen, to, tolen) \
	pg_b64_decode(from, fromlen, to, tolen)
#endif

/* 18 wants more of a module than a magic number. */
#if PG_VERSION_NUM >= 180000
#define DBX_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "databricks", .version = DBX_VERSION)
#else
#define DBX_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

#endif /* DBX_COMPAT_H */
