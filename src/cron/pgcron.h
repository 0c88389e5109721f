/*
 * pgcron.h
 *	  Entries of ours in pg_cron's table.
 */
#ifndef DBX_CRON_PGCRON_H
#define DBX_CRON_PGCRON_H

#include "cron/cron.h"

/*
 * Raise, with the steps that help, unless the current role can have entries:
 * pg_cron is loaded, works in this database, is installed here, and the role
 * may use it and can log in.
 */
extern void dbx_pgcron_require(void);

/*
 * A NOTICE where pg_cron opens connections of its own, which can be refused
 * without anybody noticing.
 */
extern void dbx_pgcron_tell_connection(void);

/* Is pg_cron installed in this database, and may the current role use it? */
extern bool dbx_pgcron_usable(void);

/*
 * The expression pg_cron needs to call in each tick; palloc'd.
 */
extern char *dbx_pgcron_expression(const DbxCron *cron, const pg_tz *zone);

/*
 * Make or change, and remove, the current role's entry of a schedule.  Parts of
 * the transaction, as every row is.
 */
extern void dbx_pgcron_set(int64 schedule_id, const char *expression);
extern void dbx_pgcron_remove(int64 schedule_id);

#endif /* DBX_CRON_PGCRON_H */
