/*
 * migrate.h
 *	  The tables that belong to the user: made, brought up to date, checked.
 */
#ifndef DBX_WORKER_MIGRATE_H
#define DBX_WORKER_MIGRATE_H

#include "postgres_ext.h"

/* The extension as this database has it installed. */
typedef struct DbxExtension
{
	Oid	  oid;
	Oid	  owner;
	Oid	  schema;
	char *version; /* palloc'd */
} DbxExtension;

/* False: it is not installed. */
extern bool dbx_extension_find(DbxExtension *extension);

/*
 * Create the data tables, or bring them to the newest layout, as the owner of
 * the extension, whoever calls.  Cheap when there is nothing to do.  Raises
 * when one of them belongs to somebody else.
 */
extern void dbx_data_migrate(void);

/*
 * For who is about to use them: false when they were never made; raises when
 * one of them belongs to somebody else.
 */
extern bool dbx_data_exists(const DbxExtension *extension);

/* Run as the owner of the extension until dbx_data_leave(), or the abort. */
typedef struct DbxDataRole
{
	Oid userid;
	int context;
	int nest_level;
} DbxDataRole;

extern void dbx_data_enter(const DbxExtension *extension, DbxDataRole *role);
extern void dbx_data_leave(const DbxDataRole *role);

#endif /* DBX_WORKER_MIGRATE_H */
