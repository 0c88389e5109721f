/*
 * share.h
 *	  Rows that several scans, or statements, read of one answer.
 */
#ifndef DBX_FDW_SHARE_H
#define DBX_FDW_SHARE_H

#include "nodes/execnodes.h"
#include "utils/tuplestore.h"

#include "fdw/fdw.h"

typedef struct DbxShare
{
	const DbxTable	   *table;
	const DbxWorkspace *workspace;
	DbxRequest		   *request;
	const bool		   *needed;
	const DbxManner	   *manner;
	Tuplestorestate	   *store;
	DbxFetch		   *fetch; /* NULL: done */
	bool				done;
	int					users;
} DbxShare;

extern DbxShare *dbx_share_open(EState *estate, const DbxTable *table,
								const DbxWorkspace *workspace,
								DbxRequest *request, const bool *needed,
								const DbxManner *manner, DbxCallStats *stats);
extern int		 dbx_share_join(DbxShare *share);
extern bool dbx_share_next(DbxShare *share, int pointer, TupleTableSlot *slot);
extern void dbx_share_add(DbxShare *share, TupleTableSlot *slot);
extern void dbx_share_finish(DbxShare *share);
extern void dbx_share_leave(DbxShare *share);

#endif /* DBX_FDW_SHARE_H */
