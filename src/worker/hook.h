/*
 * hook.h
 *	  SQL that requests want to be run when they have ended.
 */
#ifndef DBX_WORKER_HOOK_H
#define DBX_WORKER_HOOK_H

#include "datatype/timestamp.h"

/*
 * Note what is to be run; within a transaction of the session, SPI connected.
 */
extern void dbx_hook_load(void);

/* Start what can be started; returns when to try again (0: no need). */
extern TimestampTz dbx_hook_run(void);

/* Is something to be run, or running? */
extern bool dbx_hook_busy(void);

/* Raise if SQL cannot be run as this role. */
extern void dbx_hook_check_role(Oid roleid);

/*
 * Raise if this text is no SQL, or SQL that could never be run; "what" is the name
 * of the argument.  What it names may be made later, so that is not looked at.
 */
extern void dbx_hook_check_sql(const char *what, const char *sql);

extern PGDLLEXPORT void dbx_hook_main(Datum arg);

#endif /* DBX_WORKER_HOOK_H */
