/*
 * sending.h
 *	  Border between the files of the dispatcher; of no interest outside.
 *
 *	  dispatcher.c	what is to be sent next: the queue, claims, deadlines
 *	  sending.c		one request: its calls, what the answers mean
 */
#ifndef DBX_WORKER_SENDING_H
#define DBX_WORKER_SENDING_H

#include "api/api.h"
#include "worker/tracked.h"

typedef enum DbxSendingPhase
{
	DBX_SENDING_LOOKUP, /* not claimed: the job is looked up by its name */
	DBX_SENDING_FOUND,	/* not claimed: the job is known */
	DBX_SENDING_CALL,	/* the call is under way */
	DBX_SENDING_PAUSE,	/* to be sent again at retry_at */
	DBX_SENDING_RECORD	/* the answer is to be written down, at retry_at */
} DbxSendingPhase;

typedef enum DbxSendingAnswer
{
	DBX_ANSWER_STARTED,	  /* run_id */
	DBX_ANSWER_REFUSED,	  /* for good */
	DBX_ANSWER_POSTPONED, /* nothing was done, worth another try */
	DBX_ANSWER_DOUBT,	  /* nobody knows */
	DBX_ANSWER_TOLD		  /* of a cancel: the service knows */
} DbxSendingAnswer;

/*
 * A request in hand.  It lives in its own memory context; freeing that gives up
 * its call.
 */
typedef struct DbxSending
{
	MemoryContext	context;
	int64			request_id;
	DbxSendingPhase phase;
	bool			cancel; /* tell the service to cancel run_id */
	char			site[NAMEDATALEN];
	char		   *requested_by;
	bool			submit;
	char		   *body;	  /* members of the call; NULL before the claim */
	char		   *token;	  /* likewise */
	char		   *job_name; /* NULL: job_id is what was asked for */
	int64			job_id;
	int64			run_id;
	bool			in_doubt; /* an earlier sending may have been carried out */
	bool			repair;	  /* the attempt is a repair of run_id */
	int64		last_repair;  /* the one that the attempt before was; 0: none */
	int			failures;
	TimestampTz retry_at; /* 0: now */
	DbxWorkspace  *workspace;
	DbxCall		  *call;
	DbxRunGet	  *look;  /* at the run to be repaired, under way */
	int			   found; /* by the lookup, so far */
	char		  *page_token;
	DbxPages	   pages;
	StringInfoData ids;	   /* likewise */
	List		  *alike;  /* of DbxSending *: they get what its lookup finds */
	bool		   shares; /* it is one of those of another one */

	/* once there is an answer */
	DbxSendingAnswer answer;
	int64			 repair_id; /* 0: it is a run of its own */
	char			*error;
	bool			 site_trouble; /* others would fare alike */
} DbxSending;

/*
 * Find the workspace as the requester uses it; within a transaction.  NULL, and
 * the reason as an answer to be recorded, if the rights are not there.
 */
extern bool dbx_sending_resolve(DbxSending *sending);

/*
 * The lookup of "asker", which must not have begun, shall be that of "sending",
 * too.  Both have to be of one requester in one workspace, and in hand until then.
 */
extern void dbx_sending_share(DbxSending *sending, DbxSending *asker);

/* It could not be claimed for this reason: back into the queue, for a while. */
extern void dbx_sending_postpone(DbxSending *sending, const ErrorData *error);

/* Begin its call, if it has to make one; outside of transactions. */
extern void dbx_sending_start(DbxSending *sending);

/* Has the call ended?  Then its phase has changed. */
extern bool dbx_sending_advance(DbxSending *sending);

/*
 * Write the answer down, in a transaction of its own.  False: there is nothing
 * more to be done for it now.
 */
extern bool dbx_sending_record(DbxSending *sending);

/* How long to wait after so many failures: microseconds, with jitter. */
extern int64 dbx_sending_back_off(int failures);

#endif /* DBX_WORKER_SENDING_H */
