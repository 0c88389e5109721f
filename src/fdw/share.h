/*
 * share.h
 *	  Rows that several scans, rescans or statements read of one answer.
 */
#ifndef DBX_FDW_SHARE_H
#define DBX_FDW_SHARE_H

#include "nodes/execnodes.h"
#include "utils/tuplestore.h"

#include "fdw/fdw.h"

/* The answers that one execution of a statement keeps. */
typedef struct DbxShares DbxShares;

/* One of them: what is asked, by whom, and the rows so far. */
typedef struct DbxShare
{
	DbxShares		   *shares;
	MemoryContext		context; /* of all that follows but what was given */
	const DbxTable	   *table;
	const DbxWorkspace *workspace;
	const DbxRequest   *request;
	const bool		   *needed;
	const DbxManner	   *manner;
	bool				for_later; /* for statements to come as well */
	uint64				changes;   /* of the cache, when this was asked */
	Tuplestorestate	   *store;
	DbxFetch		   *fetch; /* NULL: done */
	bool				done;
	bool				by_key_known;  /* all its rows are known by key */
	int					users;		   /* scans that read it now */
	List			   *free_pointers; /* IntList: read pointers not in use */
	Size				size;		   /* while nobody does */
} DbxShare;

/* What a scan asks. */
typedef struct DbxAsked
{
	const DbxTable	   *table;
	const DbxWorkspace *workspace;
	DbxRequest		   *request; /* and its context: taken over */
	MemoryContext		context;
	const bool		   *needed;
	const DbxManner	   *manner;
	bool				for_later;
	DbxCallStats	   *stats;
} DbxAsked;

/* share.c */
extern DbxShares *dbx_shares_enter(EState *estate);
extern void		  dbx_shares_leave(DbxShares *shares);
extern DbxShare	 *dbx_share_join(DbxShares *shares, const DbxAsked *asked,
								 int *pointer);
extern bool dbx_share_next(DbxShare *share, int pointer, TupleTableSlot *slot);
extern bool dbx_share_fetch(DbxShare *share, DbxRow *row, const char **key);
extern void dbx_share_add(DbxShare *share, const char *key,
						  TupleTableSlot *slot);
extern void dbx_share_rewind(DbxShare *share, int pointer);
extern void dbx_share_leave(DbxShare *share, int pointer);

/* cache.c */
extern bool dbx_cache_read(DbxShare *share);
extern void dbx_cache_keep(DbxShare *share);

#endif /* DBX_FDW_SHARE_H */
