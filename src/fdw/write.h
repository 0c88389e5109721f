/*
 * write.h
 *	  Border between what the server asks to be written and the calls for it.
 */
#ifndef DBX_FDW_WRITE_H
#define DBX_FDW_WRITE_H

#include "executor/tuptable.h"

#include "fdw/fdw.h"

#define DBX_WRITE_KEYS 2

/* One row to be written. */
typedef struct DbxChange
{
	const DbxTable	   *table;
	const DbxWorkspace *workspace;
	DbxCallStats	   *stats;
	TupleTableSlot	   *slot;	 /* new values; NULL to delete */
	Bitmapset		   *columns; /* of the resource: UPDATE those set, INSERT
								  * those with a value */
	const char		   *keys[DBX_WRITE_KEYS]; /* of the old row, NULL: INSERT */
	char			   *new_key; /* out: what the service calls the new row */
} DbxChange;

/* What can be written of a resource, and how. */
typedef struct DbxWriter
{
	const char *resource;
	const char *keys[DBX_WRITE_KEYS]; /* columns that name a row */
	const char *insert_columns;		  /* separated by blanks */
	const char *update_columns;
	const char *insert_call; /* for EXPLAIN */
	const char *update_call;
	const char *delete_call;
	void (*insert)(DbxChange *change); /* NULL: cannot be done */
	void (*update)(DbxChange *change);
	void (*delete)(DbxChange *change);
	const char *delete_hint; /* what to do instead */
} DbxWriter;

/* writers.c: the writer of a resource, NULL if it is only read. */
extern const DbxWriter *dbx_writer_find(const DbxResource *res);

/* write.c: JSON text of a column's new value; NULL for none. */
extern char *dbx_change_json(const DbxChange *change, int column);

/* write.c: the new value of a column as text, NULL for none. */
extern char *dbx_change_text(const DbxChange *change, const char *column);

#endif /* DBX_FDW_WRITE_H */
