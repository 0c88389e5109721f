/*
 * fdw.h
 *	  Foreign tables over the service: borders between the files of src/fdw,
 *	  and what connect() needs of them.
 *
 * A scan passes through four stages, each in a file of its own: conditions of
 * the query are chosen by what the resource's descriptor lists (condition.c),
 * their values become requests (request.c), requests become JSON elements
 * (fetch.c), elements become rows (scan.c).  Nothing here knows a resource.
 */
#ifndef DBX_FDW_H
#define DBX_FDW_H

#include "access/stratnum.h"
#include "foreign/fdwapi.h"
#include "nodes/pathnodes.h"
#include "utils/rel.h"

#include "api/resource.h"

/* A foreign table as the descriptor sees it. */
typedef struct DbxTable
{
	Oid				   relid;
	char			  *name;
	Oid				   serverid;
	const DbxResource *res;
	bool			   pushdown; /* option: may conditions be sent? */
	int				   natts;
	int				  *columns; /* attribute number - 1 -> index in
								 * res->columns, -1 for a dropped column */
} DbxTable;

/*
 * A condition of the query that the service can take part of the work from:
 * column <strategy> value.  It is checked again on every row all the same.
 */
typedef struct DbxCondition
{
	int			   column;	 /* index in res->columns */
	StrategyNumber strategy; /* of btree, column on the left */
	bool		   is_array; /* column = ANY (value) */
	Expr		  *value;	 /* free of this table's columns, not volatile */
	int			   clause;	 /* its place in the list it was chosen from */
} DbxCondition;

/* The value of a condition when the scan starts. */
typedef struct DbxConditionValue
{
	Datum value;
	bool  isnull;
	Oid	  type;
} DbxConditionValue;

/* What to ask the service for: objects by key, or lists. */
typedef struct DbxRequest
{
	bool  empty; /* no row can satisfy the conditions: ask nothing */
	bool  by_key;
	List *keys;	   /* of char *, without doubles */
	List *queries; /* of char *, one list call each; disjoint */
} DbxRequest;

/* Indexes into fdw_private of a ForeignScan. */
enum DbxPlanPrivate
{
	DBX_PLAN_CONDITIONS, /* List of IntList: column, strategy, is_array;
								 * values are in fdw_exprs, in this order */
	DBX_PLAN_COLUMNS,	 /* IntList: attribute numbers used; 0 means all */
	DBX_PLAN_LOCAL,		 /* IntList: places in plan.qual of conditions
								 * that are not sent */
	DBX_PLAN_CALLS		 /* Float: calls expected */
};

/* table.c */
extern DbxTable		*dbx_fdw_table(Relation rel);
extern DbxWorkspace *dbx_fdw_server(Oid serverid);
extern bool *dbx_fdw_needed_columns(const DbxTable *table, List *attnos);

/* condition.c */
extern List *dbx_fdw_choose_conditions(PlannerInfo *root, const DbxTable *table,
									   Index varno, List *clauses);
extern bool	 dbx_fdw_is_lookup(const DbxTable *table, AttrNumber attno);
extern const DbxFilter *dbx_fdw_key_filter(const DbxTable *table,
										   List			  *conditions);
extern List			   *dbx_fdw_save_conditions(List *conditions);
extern List			   *dbx_fdw_load_conditions(List *saved, List *values);

/* request.c */
extern List		  *dbx_fdw_value_texts(const DbxCondition	   *condition,
									   const DbxConditionValue *value);
extern bool		   dbx_fdw_filter_takes(const DbxFilter *filter, List *texts);
extern DbxRequest *dbx_fdw_request(const DbxTable *table, const char *workspace,
								   List					   *conditions,
								   const DbxConditionValue *values,
								   const bool			   *needed);
extern void		   dbx_fdw_list_query(const DbxTable *table, const bool *needed,
									  StringInfo query);
extern bool dbx_fdw_same_request(const DbxRequest *a, const DbxRequest *b);
extern bool dbx_fdw_time_bound(const DbxConditionValue *value,
							   StrategyNumber strategy, int64 *from, int64 *to);

/* lookup.c, fetch.c */
typedef struct DbxLookup DbxLookup;

extern DbxLookup	 *dbx_lookup_start(const DbxWorkspace *workspace,
									   const DbxResource *res, const char *key,
									   DbxCallStats *stats);
extern const DbxJson *dbx_lookup_finish(DbxLookup *lookup);
extern void			  dbx_lookup_free(DbxLookup *lookup);

typedef struct DbxFetch DbxFetch;

extern DbxFetch *dbx_fetch_open(const DbxWorkspace *workspace,
								const DbxResource  *res,
								const DbxRequest *request, const bool *needed,
								DbxCallStats *stats);
extern bool		 dbx_fetch_next(DbxFetch *fetch, const DbxJson **element,
								const char **key);
extern void		 dbx_fetch_close(DbxFetch *fetch);

/* plan.c */
extern void databricksGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel,
										Oid foreigntableid);
extern void databricksGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel,
									  Oid foreigntableid);
extern ForeignScan *databricksGetForeignPlan(
	PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
	ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan);

/* scan.c */
extern void databricksBeginForeignScan(ForeignScanState *node, int eflags);
extern TupleTableSlot *databricksIterateForeignScan(ForeignScanState *node);
extern void			   databricksReScanForeignScan(ForeignScanState *node);
extern void			   databricksEndForeignScan(ForeignScanState *node);

/* What EXPLAIN shows of a scan. */
typedef struct DbxScanInfo
{
	DbxTable	*table;
	List		*conditions; /* sent; DbxCondition */
	bool		*needed;	 /* columns in use, over res->columns */
	DbxCallStats stats;		 /* calls made so far */
} DbxScanInfo;

extern const DbxScanInfo *dbx_fdw_scan_info(ForeignScanState *node);

/* explain.c */
extern void databricksExplainForeignScan(ForeignScanState	 *node,
										 struct ExplainState *es);

/* import.c */
extern List *databricksImportForeignSchema(ImportForeignSchemaStmt *stmt,
										   Oid						serverOid);

/*
 * CREATE FOREIGN TABLE commands (char *) for the resources named in "only"
 * (List of char *; NIL: all) of that server, in that schema.
 */
extern List *dbx_fdw_import_commands(const char *server, const char *schema,
									 List *only);

/*
 * Comment a foreign table and its columns as the descriptor says.  The caller
 * has checked that the role may.
 */
extern void dbx_fdw_comment_table(Oid relid);

#endif /* DBX_FDW_H */
