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
	bool			   pushdown;  /* option: may conditions be sent? */
	int				   cache_ttl; /* option: how long answers are kept, ms */
	TupleDesc		   desc;
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

/* A list call, without the bounds on its time. */
typedef struct DbxList
{
	const DbxResource *res; /* whose calls and paging it has */
	const char		  *table;
	const char		  *path;
	const char		  *query;
	List			  *given;	  /* of DbxGiven */
	bool			   recursive; /* the folders in it, too */

	const DbxJsonProjection *projection; /* what of it is read; NULL: all */
} DbxList;

/* What to ask the service for: objects by key, or lists. */
typedef struct DbxRequest
{
	const char *table; /* name of the foreign table, for messages */
	bool		empty; /* no row can satisfy the conditions: ask nothing */
	bool		by_key;
	List	   *keys;  /* of char *, without doubles */
	List	   *lists; /* of DbxList *, one list call each; disjoint */
	int64 from; /* of all lists: bounds on the time, in ms; 0, PG_INT64_MAX: */
	int64 to;	/* none */
	bool  flagged; /* all lists: only those in some states */
	bool  overlap; /* lists may have elements in common */
} DbxRequest;

/* How much of a list will be read, as far as the plan can tell. */
typedef enum DbxReading
{
	DBX_READ_WHOLE, /* all of it */
	DBX_READ_PART,	/* perhaps all, but the first rows are wanted soon */
	DBX_READ_FEW	/* until there are enough rows: nothing ahead of them */
} DbxReading;

/* In which order the rows come, by the resource's time. */
typedef enum DbxOrder
{
	DBX_ORDER_NONE,
	DBX_ORDER_NULLS_FIRST, /* newest first, after those without a time */
	DBX_ORDER_NULLS_LAST
} DbxOrder;

/* How a plan wants a list to be read. */
typedef struct DbxManner
{
	DbxReading reading;
	DbxOrder   order;
	int		   enough;	   /* rows that will do; 0: not known */
	bool	   in_windows; /* may it be asked for by ranges of time? */
} DbxManner;

/* Indexes into fdw_private of a ForeignScan. */
enum DbxPlanPrivate
{
	DBX_PLAN_CONDITIONS, /* List of IntList: column, strategy, is_array;
								 * values are in fdw_exprs, in this order */
	DBX_PLAN_COLUMNS,	 /* IntList: attribute numbers used; 0 means all */
	DBX_PLAN_LOCAL,		 /* IntList: places in plan.qual of conditions
								 * that are not sent */
	DBX_PLAN_CALLS,		 /* Float: calls expected */
	DBX_PLAN_MANNER,	 /* IntList: reading, order, enough */
	DBX_PLAN_TABLE		 /* OidList: the foreign table */
};

/* table.c */
extern DbxTable			 *dbx_fdw_table(Relation rel);
extern const DbxResource *dbx_fdw_table_resource(Relation	  rel,
												 const char **name);
extern DbxWorkspace		 *dbx_fdw_server(Oid serverid);
extern bool *dbx_fdw_needed_columns(const DbxTable *table, List *attnos);

/* condition.c */
extern List *dbx_fdw_choose_conditions(PlannerInfo *root, const DbxTable *table,
									   Index varno, List *clauses);
extern bool	 dbx_fdw_is_lookup(const DbxTable *table, AttrNumber attno);
extern const char *dbx_fdw_missing_key(const DbxTable *table, List *conditions);
extern const DbxFilter *dbx_fdw_key_filter(const DbxTable *table,
										   List			  *conditions);
extern bool				dbx_fdw_asks_each(const DbxTable	 *table,
										  const DbxCondition *condition);
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
extern DbxList	  *dbx_fdw_bounded_list(const DbxRequest *request,
										const DbxList *list, int64 from, int64 to);
extern DbxList *dbx_fdw_folder_list(const DbxResource *res, const DbxList *list,
									const char *path);
extern char	   *dbx_fdw_call_path(const char *template, const char *name,
								  const char *value);
extern bool		dbx_fdw_same_request(const DbxRequest *a, const DbxRequest *b);
extern bool		dbx_fdw_time_bound(const DbxConditionValue *value,
								   StrategyNumber strategy, int64 *from, int64 *to);

/* chain.c */

/* An element of a page, and what is asked of it again and again. */
typedef struct DbxListed
{
	const DbxJson *element;
	int64		   time;  /* at res->time_member; 0: none */
	uint64		   id;	  /* what stands for its id, ... */
	bool		   named; /* ... if it has one */
} DbxListed;

typedef struct seen_hash DbxSeen;

extern DbxSeen *dbx_seen_create(void);
extern bool		dbx_seen_add(DbxSeen *seen, const DbxListed *listed);

typedef struct DbxChain DbxChain;

#define DBX_CHAIN_KEEP	   0x01 /* all pages live until the chain is closed */
#define DBX_CHAIN_MOVING   0x02 /* elements may change places meanwhile */
#define DBX_CHAIN_REMEMBER 0x04 /* for dbx_chain_has(), whatever its length */

typedef struct DbxPage
{
	DbxListed *elements;
	int		   length;
	List	  *given;  /* of DbxGiven: what they were asked for with */
	int		   listed; /* elements of the page, also those left out */
} DbxPage;

extern DbxChain *dbx_chain_open(const DbxWorkspace *workspace,
								const DbxResource *res, const DbxList *list,
								int flags, DbxSeen *others, DbxCallStats *stats);
extern DbxChain *dbx_chain_open_top(const DbxWorkspace *workspace,
									const DbxResource *res, const DbxList *list,
									int64 newest, DbxCallStats *stats);
extern void		 dbx_chain_begin(DbxChain *chain);
extern bool		 dbx_chain_ready(const DbxChain *chain);
extern bool		 dbx_chain_next(DbxChain *chain, DbxPage *page);
extern bool		 dbx_chain_at_end(const DbxChain *chain);
extern bool		 dbx_chain_on_last_page(const DbxChain *chain);
extern bool		 dbx_chain_is_unsure(const DbxChain *chain);
extern bool		 dbx_chain_has(const DbxChain *chain, const DbxListed *listed);
extern void		 dbx_chain_note(DbxChain *chain, const DbxListed *listed);
extern int64	 dbx_chain_newest(const DbxChain *chain);
extern void		 dbx_chain_close(DbxChain *chain);
extern DbxChain *dbx_chains_wait(List *chains);

/* window.c */
extern int64 dbx_fdw_element_time(const DbxResource *res,
								  const DbxJson		*element);

typedef struct DbxWindows
{
	const DbxResource *res;
	const DbxRequest  *request;
	int64			   newest;	 /* time seen */
	int64			   oldest;	 /* below there should be nothing */
	double			   density;	 /* elements per ms */
	double			   least;	 /* of them, by all that was seen at first */
	double			   wanted;	 /* elements in a window */
	double			   elements; /* in all windows read so far */
	double			   span;	 /* of these, in ms */
	int64			   to;		 /* of the next window */
	bool			   done;
} DbxWindows;

extern void	  dbx_windows_start(DbxWindows *windows, const DbxResource *res,
								const DbxRequest *request, const int64 *times,
								int ntimes);
extern double dbx_windows_span(const DbxWindows *windows);
extern bool	  dbx_windows_next(DbxWindows *windows, int64 *from, int64 *to);
extern void	  dbx_windows_learn(DbxWindows *windows, int64 from, int64 to,
								int elements);

/* order.c */
typedef struct DbxOrdered DbxOrdered;

extern DbxOrdered *dbx_ordered_open(const DbxWorkspace *workspace,
									const DbxResource  *res,
									const DbxRequest   *request,
									const DbxManner	   *manner,
									DbxCallStats	   *stats);
extern bool		   dbx_ordered_next(DbxOrdered *ordered, DbxPage *page);

/* lists.c */
typedef struct DbxLists DbxLists;

extern DbxLists *dbx_lists_open(const DbxWorkspace *workspace,
								const DbxResource  *res,
								const DbxRequest   *request,
								const DbxManner *manner, DbxCallStats *stats);
extern bool		 dbx_lists_next(DbxLists *lists, DbxPage *page);

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
								const DbxManner *manner, DbxCallStats *stats);
extern bool		 dbx_fetch_next(DbxFetch *fetch, DbxRow *row, const char **key);
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
	bool		 ordered;	 /* newest first */
	DbxCallStats stats;		 /* calls made so far */
} DbxScanInfo;

extern const DbxScanInfo *dbx_fdw_scan_info(ForeignScanState *node);

/* cache.c */
extern void dbx_cache_forget_server(Oid serverid);

/* write.c */
extern int	 databricksIsForeignRelUpdatable(Relation rel);
extern void	 databricksAddForeignUpdateTargets(PlannerInfo *root, Index rtindex,
											   RangeTblEntry *target_rte,
											   Relation		  target_relation);
extern List *databricksPlanForeignModify(PlannerInfo *root, ModifyTable *plan,
										 Index resultRelation,
										 int   subplan_index);
extern void	 databricksBeginForeignModify(ModifyTableState *mtstate,
										  ResultRelInfo *info, List *fdw_private,
										  int subplan_index, int eflags);
extern void	 databricksBeginForeignInsert(ModifyTableState *mtstate,
										  ResultRelInfo	   *info);
extern TupleTableSlot *databricksExecForeignInsert(EState		  *estate,
												   ResultRelInfo  *info,
												   TupleTableSlot *slot,
												   TupleTableSlot *planSlot);
extern TupleTableSlot *databricksExecForeignUpdate(EState		  *estate,
												   ResultRelInfo  *info,
												   TupleTableSlot *slot,
												   TupleTableSlot *planSlot);
extern TupleTableSlot *databricksExecForeignDelete(EState		  *estate,
												   ResultRelInfo  *info,
												   TupleTableSlot *slot,
												   TupleTableSlot *planSlot);
extern void databricksEndForeignModify(EState *estate, ResultRelInfo *info);
extern void databricksEndForeignInsert(EState *estate, ResultRelInfo *info);
extern void databricksExplainForeignModify(ModifyTableState *mtstate,
										   ResultRelInfo	*info,
										   List *fdw_private, int subplan_index,
										   struct ExplainState *es);

/* explain.c */
extern void databricksExplainForeignScan(ForeignScanState	 *node,
										 struct ExplainState *es);

/* analyze.c */
extern bool databricksAnalyzeForeignTable(Relation				 rel,
										  AcquireSampleRowsFunc *func,
										  BlockNumber			*totalpages);

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
