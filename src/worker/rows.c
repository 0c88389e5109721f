/*
 * rows.c
 *	  Many rows as one parameter of a statement.
 *
 * Separate because runs and tasks are written the same way.  To start a
 * statement costs more than to insert a row, so those of a page are passed
 * together: as an array of records, which unnest() gives back with hardly any
 * work per column.
 *
 * Descriptions and plans are made once and kept; rows belong to the caller.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "worker/rows.h"

void
dbx_rows_describe(DbxRowType *type, int ncolumns, const char *const *names,
				  const Oid *types)
{
	MemoryContext  before = MemoryContextSwitchTo(TopMemoryContext);
	TupleDesc	   desc = CreateTemplateTupleDesc(ncolumns);
	StringInfoData source;

	initStringInfo(&source);
	appendStringInfoString(&source, "unnest($1) AS n (");
	for (int i = 0; i < ncolumns; i++)
	{
		TupleDescInitEntry(desc, i + 1, names[i], types[i], -1, 0);
		appendStringInfo(&source, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(names[i]), format_type_be(types[i]));
	}
	appendStringInfoChar(&source, ')');
	type->desc = BlessTupleDesc(desc);
	type->source = source.data;
	MemoryContextSwitchTo(before);
}

Datum
dbx_rows_make(const DbxRowType *type, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(type->desc, values, nulls));
}

void
dbx_rows_execute(SPIPlanPtr plan, int expected, const Datum *rows, int nrows,
				 Datum second)
{
	MemoryContext before = CurrentMemoryContext;
	Datum		  values[2];

	values[0] = PointerGetDatum(construct_array(unconstify(Datum *, rows),
												nrows, RECORDOID, -1, false,
												TYPALIGN_DOUBLE));
	values[1] = second;
	if (SPI_execute_plan(plan, values, NULL, false, 0) != expected)
		elog(ERROR, "rows could not be written");
	MemoryContextSwitchTo(before);
}

SPIPlanPtr
dbx_rows_prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, nargs, types,
										 CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "statement \"%s\" could not be prepared", sql);
	return plan;
}
