/*
 * resource.h
 *	  Resources: what the service lists, described once for tables and history.
 *
 * A resource is static data: where its rows come from, which columns they
 * have, how a column is read from a row's JSON and which conditions the
 * service can apply itself.  The foreign tables and the run history are both
 * filled through it, so that a column means the same in either.  Planning,
 * scanning and conversion are generic: another table is another descriptor.
 */
#ifndef DBX_RESOURCE_H
#define DBX_RESOURCE_H

#include "api/api.h"

/* How the JSON of a column becomes a value of its SQL type. */
typedef enum DbxConvert
{
	DBX_CONVERT_WORKSPACE,	 /* name of the workspace; name */
	DBX_CONVERT_BIGINT,		 /* number or string of digits; bigint, exact */
	DBX_CONVERT_INTEGER,	 /* integer */
	DBX_CONVERT_BOOLEAN,	 /* boolean */
	DBX_CONVERT_TEXT,		 /* text of any value; text */
	DBX_CONVERT_TIME_MS,	 /* epoch in ms, 0 is NULL; timestamptz */
	DBX_CONVERT_DURATION_MS, /* ms; interval */
	DBX_CONVERT_JSONB,		 /* the structure as it is; jsonb */
	DBX_CONVERT_PARAMETERS,	 /* array of {name, value | default} -> object
								 * name: value; jsonb */
	DBX_CONVERT_RUN_STATE,	 /* second path: old life-cycle state, mapped to
								 * what the first would have said; text */
	DBX_CONVERT_RUN_RESULT,	 /* second path: its old life-cycle state, which
								 * says that there is none yet; third: the code
								 * it ended with, mapped to what the first would
								 * have said; text */
	DBX_CONVERT_DOUBLE,		 /* number; double precision */
	DBX_CONVERT_BASENAME,	 /* what follows the last slash of a path; text */
	DBX_CONVERT_TASK_TYPE,	 /* of a task: "notebook_task"; text */
	DBX_CONVERT_ELEMENT		 /* the whole element; jsonb */
} DbxConvert;

/* What has to be asked for so that a column is there. */
#define DBX_COLUMN_EXPANDED 0x01 /* in lists only with expand_param */
#define DBX_COLUMN_PAGED \
	0x02						   /* lists may show only its beginning: the
									 * get call where the element says so */
#define DBX_COLUMN_DETAIL	  0x04 /* only the get call gives it */
#define DBX_COLUMN_WRITE_ONLY 0x08 /* never given back */

#define DBX_COLUMN_PATHS 3

typedef struct DbxColumn
{
	const char *name;
	Oid			type;
	DbxConvert	convert;
	int			flags;					 /* DBX_COLUMN_* */
	const char *paths[DBX_COLUMN_PATHS]; /* dotted; the first that is there
											 * and not null wins; "^..." is of
											 * the parent, "=..." a value that
											 * the list was asked for with */
	const char *comment;
	const char *label; /* what messages call it; NULL: its name */
} DbxColumn;

/* What a condition on a column lets us ask the service for. */
typedef enum DbxFilterKind
{
	DBX_FILTER_KEY,		/* column = value: the get call of that key */
	DBX_FILTER_EQUAL,	/* column = value: param=value in the list call, or
						* in place of "{param}" in its path */
	DBX_FILTER_ANY,		/* column is one of values: param=value for each of them
						* in one list call */
	DBX_FILTER_FROM,	/* column >= time: param=ms, inclusive */
	DBX_FILTER_TO,		/* column <= time: param=ms, inclusive */
	DBX_FILTER_IMPLIED, /* column is one of values: param=true */
	DBX_FILTER_TREE		/* column = true: the folders in what is listed, too */
} DbxFilterKind;

typedef struct DbxFilter
{
	const char		  *column;
	DbxFilterKind	   kind;
	const char		  *param;	 /* not for KEY: get_param */
	const char *const *values;	 /* NULL-terminated; IMPLIED: which imply it;
								 * EQUAL, ANY: the only ones the service knows, or
								 * NULL for any */
	bool			   required; /* EQUAL: there is no list without it */
} DbxFilter;

/* What a list was asked for with, for columns that its elements do not have. */
typedef struct DbxGiven
{
	const char *name;
	const char *value;
} DbxGiven;

/* What a row is made of. */
typedef struct DbxRow
{
	const DbxJson *element;
	const DbxJson *parent; /* of unnested elements, else NULL */
	List		  *given;  /* of DbxGiven */
} DbxRow;

typedef struct DbxResource
{
	const char *name; /* of the resource and of its table */
	const char *comment;
	double		rows; /* guess for planning */

	/*
	 * Calls: a path that begins with "/" is complete, any other one is a call
	 * of the Jobs API ("runs/list").
	 */
	const char *list_call;
	const char *items;		 /* member that holds the rows */
	bool		list_post;	 /* parameters go into the body of a POST */
	const char *token_param; /* of the page token, NULL: "page_token" */
	const char *limit_param; /* page size, NULL: fixed by the service */
	int			page_size;
	const char *expand_param; /* NULL: none; sent as "true" when needed */

	const char *get_call;	 /* NULL: none */
	const char *get_param;	 /* NULL: the key is "{key}" in the path */
	const char *key_column;	 /* what get_param takes */
	double		get_cost;	 /* of a get call, relative to a list call:
								 * their rate limits differ */
	const char *key_check;	 /* where present in the answer of the get call,
								 * it must equal the key, or the answer is about
								 * another kind of thing; NULL: no check */
	const char *more_member; /* true in a list element: PAGED columns are cut */
	int			more_length; /* ... and an array that long may be cut where
								 * that member is absent */

	const char *id_member; /* tells elements of a list apart; NULL: nothing does */

	/* Rows are the elements of this array in those listed; NULL: these are. */
	const char *unnest;

	/* Lists of folders: is the element one, and where is its path? */
	bool (*is_folder)(const DbxJson *element);
	const char *folder_path;
	const char *folder_param; /* what takes it: name of a filter's param */

	/* Another list call where that filter's value begins so. */
	const char *const		 *other_prefixes; /* NULL-terminated; NULL: none */
	const struct DbxResource *other;		  /* its calls and paging count */

	/*
	 * Lists that can be asked for by ranges of time, in parts: elements have a
	 * time that never changes, in ms, and FROM and TO filters on its column.
	 * Their order is by that time or by another one that may change.
	 */
	const char *time_member;  /* NULL: no such time */
	const char *end_member;	  /* the other one; the first while it is not set */
	int			horizon_days; /* older ones are usually gone */
	const char *active_param; /* lists what may still move; sent as "true" */

	int				 ncolumns;
	const DbxColumn *columns;
	int				 nfilters;
	const DbxFilter *filters;
} DbxResource;

extern PGDLLIMPORT const DbxResource dbx_resource_jobs;
extern PGDLLIMPORT const DbxResource dbx_resource_runs;
extern PGDLLIMPORT const DbxResource dbx_resource_runs_table;
extern PGDLLIMPORT const DbxResource dbx_resource_job_tasks;
extern PGDLLIMPORT const DbxResource dbx_resource_run_tasks;
extern PGDLLIMPORT const DbxResource dbx_resource_clusters;
extern PGDLLIMPORT const DbxResource dbx_resource_cluster_events;
extern PGDLLIMPORT const DbxResource dbx_resource_node_types;
extern PGDLLIMPORT const DbxResource dbx_resource_spark_versions;
extern PGDLLIMPORT const DbxResource dbx_resource_cluster_policies;
extern PGDLLIMPORT const DbxResource dbx_resource_instance_pools;
extern PGDLLIMPORT const DbxResource dbx_resource_secret_scopes;
extern PGDLLIMPORT const DbxResource dbx_resource_secrets;
extern PGDLLIMPORT const DbxResource dbx_resource_secret_acls;
extern PGDLLIMPORT const DbxResource dbx_resource_permissions;
extern PGDLLIMPORT const DbxResource dbx_resource_files;
extern PGDLLIMPORT const DbxResource dbx_resource_workspace_objects;
extern PGDLLIMPORT const DbxResource dbx_resource_repos;
extern PGDLLIMPORT const DbxResource dbx_resource_warehouses;
extern PGDLLIMPORT const DbxResource dbx_resource_pipelines;

/* All resources, NULL-terminated, in the order tables are imported. */
extern PGDLLIMPORT const DbxResource *const dbx_resources[];

/* The resource of that name, or NULL. */
extern const DbxResource *dbx_resource_find(const char *name);

/* Index of a column in res->columns, -1 if there is none of that name. */
extern int dbx_resource_column(const DbxResource *res, const char *name);

/* SQL text of a column's type, "timestamp with time zone". */
extern const char *dbx_resource_type_name(const DbxColumn *column);

/* Path of a call of this resource ("runs/list" -> "/api/2.2/jobs/runs/list"). */
extern char *dbx_resource_path(const DbxWorkspace *workspace, const char *call);

/*
 * Value of one column of an element, in the current memory context.  What cannot
 * be shown as the type of the column is NULL: one odd value shall not keep the
 * others of an element out of the history.
 */
extern Datum dbx_resource_value(const DbxColumn *column, const DbxJson *element,
								const char *workspace, bool *isnull);

/*
 * The same of a row, which need not be an element alone.  Here such a value is an
 * error, whose context names the column and, as "table", the table.
 */
extern Datum dbx_resource_row_value(const DbxColumn *column, const DbxRow *row,
									const char *workspace, const char *table,
									bool *isnull);

/*
 * Raise HV00M, with workspace and foreign table, for an element that is no
 * object, or has nothing at "id_member" (NULL: it needs none).
 *
 * A row of NULLs would be a wrong row, and leaving it out a wrong count: without an
 * id it cannot be told whether it came before, and its cut columns cannot be
 * completed.  The worker leaves a run without an id out and tells in view tracking,
 * since it must go on with the others; the result of a query has no such place.
 */
extern void dbx_resource_check_element(const DbxJson *element,
									   const char	 *id_member,
									   const char *workspace, const char *table);

/* The values of an element for all columns, in the order of res->columns. */
extern void dbx_resource_values(const DbxResource *res, const DbxJson *element,
								const char *workspace, Datum *values,
								bool *nulls);

/*
 * Does this element of a list lack the column, or show it cut, so that the get
 * call has to be asked?
 */
extern bool dbx_resource_incomplete(const DbxResource *res,
									const DbxJson	  *element,
									const DbxColumn	  *column);

/* Does it show the array that rows are unnested from cut? */
extern bool dbx_resource_nest_incomplete(const DbxResource *res,
										 const DbxJson	   *element);

#endif /* DBX_RESOURCE_H */
