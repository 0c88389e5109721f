/*
 * statement.h
 *	  SQL statements on a warehouse.
 */
#ifndef DBX_STATEMENT_H
#define DBX_STATEMENT_H

#include "api/api.h"

typedef struct DbxStatement
{
	const DbxWorkspace *workspace;
	const char		   *caller;
	char			   *id;
	DbxJson *result;		   /* after the end: the answer with the manifest */
	int		 chunks;		   /* of the result */
	bool	 chunks_uncounted; /* so far: each tells whether there is a next */
	int64	 rows;			   /* handed out so far */
	bool	 by_links; /* they are in a cloud store, and links lead there */
} DbxStatement;

/*
 * Submit a statement.  "parameters" is an object (name: value, or name: {value,
 * type}) or an array of {name, value, type}, or NULL.  Not repeated: the outcome
 * of a lost answer is unknown (08007).
 */
extern void dbx_statement_start(DbxStatement	   *statement,
								const DbxWorkspace *workspace, const char *text,
								const char	  *warehouse_id,
								const DbxJson *parameters, const char *catalog,
								const char *schema, const char *caller);

/* One that was submitted before, by its id. */
extern void dbx_statement_attach(DbxStatement		*statement,
								 const DbxWorkspace *workspace, const char *id,
								 const char *caller);

/*
 * Wait for its end; raises for any end but success, and for a result that was
 * cut or is not described.  When the wait is cancelled or fails, the statement is
 * cancelled if "cancel".
 */
extern void dbx_statement_wait(DbxStatement *statement, bool cancel);

/* Path of a call about the statement; "more" comes after its id. */
extern char *dbx_statement_path(const DbxStatement *statement, const char *more);

/* Columns of the result: array of {name, type_name, type_text, ...}. */
extern const DbxJson *dbx_statement_columns(const DbxStatement *statement);

/*
 * The rows, chunk by chunk in order (later ones are fetched meanwhile):  "take"
 * gets an array of rows, which should be arrays of texts and nulls, in a memory
 * context that is reset afterwards.  Raises if they are not as many as the service said.
 */
extern void dbx_statement_rows(DbxStatement *statement,
							   void (*take)(void *arg, const DbxJson *rows),
							   void *arg);

#endif /* DBX_STATEMENT_H */
