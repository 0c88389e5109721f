/*
 * schedule.h
 *	  Schedules: jobs that are to run at the ticks of a cron expression.
 *
 * pg_cron calls tick() as the role that the schedule belongs to, now and then
 * too often, too late or twice; which ticks have come since the last one, and
 * what is to be done about them, is settled here.  Each becomes a request whose
 * key is the schedule and the tick, so that no tick starts two runs.
 */
#ifndef DBX_CRON_SCHEDULE_H
#define DBX_CRON_SCHEDULE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct DbxSchedule
{
	int64		id;
	char	   *owner; /* role name */
	char	   *name;
	char	   *workspace;
	char	   *cron;
	char	   *timezone;
	int64		job_id;
	char	   *job_name; /* else job_id */
	Jsonb	   *job_parameters;
	char	   *parameters_sql;
	Jsonb	   *options;
	char	   *overlap;
	char	   *misfire;
	Interval   *expires_after;
	int			max_attempts;
	Interval   *retry_delay;
	bool		paused;
	char	   *cron_entry; /* what pg_cron was given last */
	TimestampTz done_to;	/* ticks up to here have been dealt with */
} DbxSchedule;

/*
 * Make the current role's schedule of that name, or change it; the members from
 * name to retry_delay count, workspace NULL being the default one.  Returns its
 * id.
 */
extern int64 dbx_schedule_define(DbxSchedule *schedule);

/* The others raise 42704 when the current role has no such schedule. */
extern void dbx_schedule_remove(const char *name);
extern void dbx_schedule_pause(const char *name);
extern void dbx_schedule_resume(const char *name);

/*
 * The current role's schedule of that name, or by id, locked until the end of
 * the transaction.
 */
extern DbxSchedule *dbx_schedule_lock(const char *name);
extern DbxSchedule *dbx_schedule_lock_id(int64 id);

/*
 * Note the ticks up to "done_to" as dealt with, so many of them left out, and
 * what pg_cron has been given.
 */
extern void dbx_schedule_done(const DbxSchedule *schedule, TimestampTz done_to,
							  int64 missed, const char *cron_entry);

/*
 * Parameters of the run for a tick: the fixed ones and what parameters_sql makes
 * of the tick, evaluated as the current role.  NULL: none.
 */
extern Jsonb *dbx_schedule_parameters(const DbxSchedule *schedule,
									  TimestampTz		 tick);

/*
 * What is due at a moment, for pg_cron to call as the schedule's owner.  Returns
 * the request of the last tick, 0 if nothing was due.
 */
extern int64 dbx_schedule_tick(int64 id, TimestampTz at);

/* As if it ticked now.  Returns the request. */
extern int64 dbx_schedule_fire(const char *name);

typedef enum DbxRerun
{
	DBX_RERUN_MISSING, /* ticks for which nothing was sent and nothing waits */
	DBX_RERUN_FAILED,  /* those, and those that did not succeed */
	DBX_RERUN_ALL
} DbxRerun;

/*
 * Request the ticks of a range, at most "max_parallel" running at a time.  Sets
 * *ids (palloc'd); the result is their number.
 */
extern int dbx_schedule_backfill(const char *name, TimestampTz from,
								 TimestampTz to, DbxRerun rerun,
								 int max_parallel, int64 **ids);

/* A schedule whose ticks nobody has called for. */
typedef struct DbxOverdue
{
	int64 id;
	Oid	  owner;
} DbxOverdue;

/*
 * Schedules of this database with ticks that should have come by now, of all
 * roles: a List of DbxOverdue * in the current memory context.
 */
extern List *dbx_schedules_overdue(void);

/*
 * For the database's worker, outside of a transaction, when it begins and when
 * something was committed: has missed ticks made up for, by processes connected
 * as the roles they belong to.
 */
extern void dbx_schedules_catch_up(void);

#endif /* DBX_CRON_SCHEDULE_H */
