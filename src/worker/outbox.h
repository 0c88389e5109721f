/*
 * outbox.h
 *	  Requests for runs, written down in a transaction and sent after it.
 *
 * Everything here runs in the caller's transaction, writes as the owner of the
 * extension, makes no call and leaves nothing that would keep the transaction
 * from being prepared.  The worker is woken when it commits.
 */
#ifndef DBX_WORKER_OUTBOX_H
#define DBX_WORKER_OUTBOX_H

#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/jsonb.h"

typedef enum DbxRequestKind
{
	DBX_REQUEST_RUN_NOW, /* job_id or job_name, job_parameters, options */
	DBX_REQUEST_SUBMIT	 /* settings */
} DbxRequestKind;

/* Zero the whole struct before filling it; zero and NULL mean "not given". */
typedef struct DbxEnqueue
{
	DbxRequestKind kind;
	const char	  *workspace; /* NULL: the default one of the requester */
	Oid			   requester; /* as whom it is sent; never InvalidOid */
	int64		   job_id;
	const char	  *job_name; /* looked up when sent; digits alone are an id */
	Jsonb		  *job_parameters;
	Jsonb		  *options;
	Jsonb		  *settings;
	const char	  *request_key; /* unique per workspace and requester */
	TimestampTz	   not_before;
	TimestampTz	   expires_at;
	int			   max_attempts; /* 0: 1 */
	Interval	  *retry_delay;	 /* NULL: 1 minute */
	bool		   repair;		 /* further attempts repair the run */
	ArrayType	  *depends_on;	 /* int8[]: these must have succeeded */
	ArrayType	  *after;		 /* int8[]: these must have ended, somehow */
	const char	  *on_success;
	const char	  *on_failure;
	const char	  *schedule_name;
	TimestampTz	   tick;
	Interval	  *debounce; /* send it so much later, and identical ones that
							  * were committed meanwhile with it */
	const char	  *rejected; /* it is not to be sent, for this reason */
	bool		   rights_later; /* workspace given; whether the requester may
									 * use it is looked at when it is sent */
} DbxEnqueue;

/*
 * Write a request down and return its id.  With a request_key that is known
 * already: the id of that request if kind, job and body are the same, else error
 * 42710.  Raises what is wrong with the arguments or the rights, as far as that
 * can be told without a call.
 */
extern int64 dbx_outbox_enqueue(const DbxEnqueue *request);

/*
 * Raise unless a time can be waited for: it is neither negative nor longer than a
 * thousand years, which times of today can be moved by.
 */
extern void dbx_outbox_check_delay(const char *what, const Interval *delay);

/*
 * Withdraw a request, or have its run cancelled.  Returns its state: "canceled"
 * if nothing will be sent, "sending" or "running" if the worker will see to it,
 * or the end it has come to already.  For the requester and for the owner of
 * the workspace.
 */
extern const char *dbx_outbox_cancel(int64 request_id);

/* Have one more attempt made at a request that ended without success. */
extern void dbx_outbox_retry(int64 request_id);

/* WARNING, once per session, where no worker sends requests. */
extern void dbx_outbox_warn_without_worker(void);

/* How far a request is; strings in the current memory context. */
typedef struct DbxRequestLook
{
	bool  finished;
	bool  uncommitted; /* made by this very transaction */
	char *workspace;
	char *state;
	char *result_state;
	char *last_error;
	int64 run_id; /* 0: none */
} DbxRequestLook;

/* For the requester and the owner of the workspace; else error 42704. */
extern void dbx_outbox_look(int64 request_id, DbxRequestLook *look);

#endif /* DBX_WORKER_OUTBOX_H */
