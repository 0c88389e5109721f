/*
 * rows.h
 *	  Many rows as one parameter of a statement.
 */
#ifndef DBX_WORKER_ROWS_H
#define DBX_WORKER_ROWS_H

#include "access/tupdesc.h"
#include "executor/spi.h"

/* What the rows are; lives as long as the process. */
typedef struct DbxRowType
{
	TupleDesc desc;
	char	 *source; /* of a FROM clause: $1, as rows n */
} DbxRowType;

extern void dbx_rows_describe(DbxRowType *type, int ncolumns,
							  const char *const *names, const Oid *types);

/* One row, in the current memory context. */
extern Datum dbx_rows_make(const DbxRowType *type, Datum *values, bool *nulls);

/*
 * Execute a plan with rows as $1 and another parameter, which it may leave
 * unused, as $2.  Anything but "expected" raises; the number of rows is in
 * SPI_processed.  The current memory context stays what it was.
 */
extern void dbx_rows_execute(SPIPlanPtr plan, int expected, const Datum *rows,
							 int nrows, Datum second);

/*
 * A plan for the life of the process, made once: each statement finds its rows
 * by a key, whatever the parameters are.
 */
extern SPIPlanPtr dbx_rows_prepare(const char *sql, int nargs, Oid *types);

#endif /* DBX_WORKER_ROWS_H */
