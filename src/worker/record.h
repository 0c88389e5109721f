/*
 * record.h
 *	  What became of a request, written into its row.
 *
 * All of it within dbx_session_begin() and dbx_session_commit(), SPI being
 * connected.  Each change is told to listeners.
 */
#ifndef DBX_WORKER_RECORD_H
#define DBX_WORKER_RECORD_H

#include "datatype/timestamp.h"

/* A commit need not wait for the disk: what gets lost is asked for again. */
extern void dbx_record_hasty(void);

/* A commit that must be on disk, and on the standbys that are waited for. */
extern void dbx_record_safe(void);

/*
 * The attempt that was being sent has started this run, or this repair of it
 * (repair_id 0: none).  True: it was asked meanwhile to be cancelled.  The run is
 * noted in the history, too, unless that is locked.
 */
extern bool dbx_record_started(int64 request_id, int64 run_id, int64 repair_id);

/* Note in the history which request has started the run that it has now. */
extern void dbx_record_run(int64 request_id);

/*
 * The end of a request that is queued or being sent: "rejected", "canceled",
 * "expired".  False: somebody else has just changed it.
 */
extern bool dbx_record_ended(int64 request_id, const char *state,
							 const char *error);

/* It is to be sent again later; certainly nothing was started. */
extern bool dbx_record_postponed(int64 request_id, const char *error,
								 TimestampTz next_attempt_at);

/* Nobody knows what became of the attempt that was being sent. */
extern void dbx_record_doubt(int64 request_id, const char *error);

/* The service knows that the run of this request is to be cancelled. */
extern void dbx_record_cancel_told(int64 request_id);

/* How a run that a request has started came to its end. */
typedef struct DbxRunEnd
{
	bool		success;
	bool		canceled;
	bool		skipped;
	bool		gone; /* nobody knows how */
	const char *result_state;
	const char *termination_code;
	const char *run_page_url;
	const char *error; /* NULL for a success */
} DbxRunEnd;

/* The next attempt is queued, or the request comes to its end. */
extern void dbx_record_run_ended(int64 request_id, int64 run_id,
								 const DbxRunEnd *end);

#endif /* DBX_WORKER_RECORD_H */
