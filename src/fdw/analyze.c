/*
 * analyze.c
 *	  ANALYZE: a bounded look at the rows of a foreign table.
 *
 * Separate because it reads without a plan.  The sample is what comes first in
 * the list, at most so many pages; of how many rows there are beside it, the
 * density over time tells, where the list has one.  Details that are in no list
 * are not asked for, since that would be a call for each row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"

/* Pages of a list that are read at most. */
#define MAX_PAGES 40

static int acquire_sample(Relation rel, int elevel, HeapTuple *rows,
						  int targrows, double *totalrows, double *deadrows);

bool
databricksAnalyzeForeignTable(Relation rel, AcquireSampleRowsFunc *func,
							  BlockNumber *totalpages)
{
	DbxTable *table = dbx_fdw_table(rel);

	/* a list of something that is not known here has no sample */
	if (dbx_fdw_missing_key(table, NIL) != NULL)
		return false;
	*func = acquire_sample;
	*totalpages = (BlockNumber) Max(1,
									table->res->rows /
										Max(table->res->page_size, 1));
	return true;
}

static HeapTuple
make_row(Relation rel, const DbxTable *table, const DbxRow *row,
		 const DbxWorkspace *workspace, const bool *needed)
{
	Datum *values = (Datum *) palloc0(Max(table->natts, 1) * sizeof(Datum));
	bool  *nulls = (bool *) palloc(Max(table->natts, 1) * sizeof(bool));
	int	   i;

	for (i = 0; i < table->natts; i++)
	{
		int column = table->columns[i];

		nulls[i] = true;
		if (column >= 0 && needed[column])
			values[i] = dbx_resource_row_value(&table->res->columns[column],
											   row, workspace->name,
											   table->name, &nulls[i]);
	}
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

static int
acquire_sample(Relation rel, int elevel, HeapTuple *rows, int targrows,
			   double *totalrows, double *deadrows)
{
	DbxTable	 *table = dbx_fdw_table(rel);
	DbxWorkspace *workspace = dbx_workspace_by_server(table->serverid,
													  GetUserId());
	bool		 *needed = dbx_fdw_needed_columns(table, list_make1_int(0));
	DbxManner	  manner = {DBX_READ_FEW, DBX_ORDER_NONE, 0, false};
	DbxCallStats  stats = {0};
	DbxRequest	 *request;
	DbxFetch	 *fetch;
	DbxRow		  row;
	const char	 *key;
	int64		 *times;
	double		  seen = 0;
	bool		  whole = true;
	int			  count = 0;
	int			  ntimes = 0;
	int			  i;

	for (i = 0; i < table->res->ncolumns; i++)
		needed[i] &= (table->res->columns[i].flags & DBX_COLUMN_DETAIL) == 0;
	request = dbx_fdw_request(table, workspace->name, NIL, NULL, needed);
	fetch = dbx_fetch_open(workspace, table->res, request, needed, &manner,
						   &stats);
	times = (int64 *) palloc(targrows * sizeof(int64));
	while (dbx_fetch_next(fetch, &row, &key))
	{
		vacuum_delay_point_compat();
		if (stats.pages > MAX_PAGES || count >= targrows)
		{
			whole = false;
			break;
		}
		seen++;
		if (table->res->time_member != NULL)
			times[ntimes++] = dbx_fdw_element_time(
				table->res, row.parent != NULL ? row.parent : row.element);
		rows[count++] = make_row(rel, table, &row, workspace, needed);
	}
	dbx_fetch_close(fetch);

	*totalrows = seen;
	*deadrows = 0;
	if (!whole && table->res->time_member != NULL)
	{
		DbxWindows windows;

		dbx_windows_start(&windows, table->res, request, times, ntimes);
		*totalrows = Max(seen, windows.density * dbx_windows_span(&windows));
	}
	else if (!whole)
		*totalrows = Max(seen, table->res->rows);
	ereport(elevel,
			(errmsg("\"%s\": %d rows in the sample, %.0f estimated in total",
					table->name, count, *totalrows)));
	return count;
}
