/*
 * job.h
 *	  Jobs by name, and the bodies that start runs.
 */
#ifndef DBX_JOB_H
#define DBX_JOB_H

#include "lib/stringinfo.h"

#include "api/api.h"

/* A token of the service's rules: at most this long. */
#define DBX_TOKEN_LENGTH 64

/*
 * The id of the job "name": digits alone are an id, else the one job of exactly
 * this name.  Raises 42704 for none, 42725 for several, naming their ids.
 */
extern int64 dbx_job_find(const DbxWorkspace *workspace, const char *name,
						  const char *caller);

/* Is this text an id?  Sets *id if so; raises 22003 beyond int64. */
extern bool dbx_job_is_id(const char *text, int64 *id);

/* Raise 22023: settings of a job cannot be meant, for this reason (a sentence). */
extern pg_noreturn void dbx_job_bad_settings(const char *why);

/* Raise 22023 for settings of a job that cannot be meant. */
extern void dbx_job_check_settings(const DbxJson *settings, bool for_submit);

/* The same for some of them, which are to replace those of a job. */
extern void dbx_job_check_changes(const DbxJson *settings);

/* Does a member of run-now of this name hold parameters? */
extern bool dbx_run_is_parameter(const char *name);

/*
 * Append ,"name":value for such a member of some options, checked as those of
 * run-now are: texts alone, and not too many.
 */
extern void dbx_run_append_parameter(StringInfo body, const DbxJson *member);

/*
 * Bodies of run-now and runs/submit, checked before anything is sent.  "token"
 * NULL: one in the options or settings, else a new one.  *used_token is what the
 * body holds.  All in the current memory context.
 *
 * The body of run-now is made in two steps, so that all is checked before a name
 * is looked up: what belongs behind the job's id, then the whole.
 */
extern char *dbx_run_now_members(Jsonb *job_parameters, Jsonb *options,
								 const char *token, char **used_token);
extern char *dbx_run_now_body(int64 job_id, const char *members);
extern char *dbx_submit_body(Jsonb *settings, const char *token,
							 char **used_token);

/*
 * Send such a body; returns the run id.  If the outcome stays unknown the error
 * (08007) says which token finds it out.
 */
extern int64 dbx_run_start(const DbxWorkspace *workspace, const char *call,
						   const char *body, const char *token,
						   const char *caller);

#endif /* DBX_JOB_H */
