/*
 * session.h
 *	  Transactions and errors of a worker's process.
 */
#ifndef DBX_WORKER_SESSION_H
#define DBX_WORKER_SESSION_H

#include "utils/elog.h"

#include "worker/migrate.h"

/*
 * Begin a transaction on the data tables: the extension is locked against
 * DROP and UPDATE and looked at again, the owners of the tables are checked, SPI
 * is connected.  False, and no transaction, when there is nothing (any more)
 * for this process: not installed, of another version, no tables.
 *
 * Between begin and commit no call of the service is possible, not by a trigger
 * on a data table either.
 */
extern bool dbx_session_begin(void);
extern void dbx_session_commit(void);

/*
 * Run work(arg).  When it raises, everything it began is rolled back and the
 * error is returned, allocated in the current memory context; else NULL.
 */
extern ErrorData *dbx_session_try(void (*work)(void *), void *arg);

/*
 * The same within a transaction, of which only what work(arg) did is rolled back:
 * for rows that must not stop others.  Raises what concerns all of them.
 */
extern ErrorData *dbx_session_apart(void (*work)(void *), void *arg);

/*
 * Does this error have nothing to do with what was to be written?  Deadlocks,
 * lack of space, a server that stops: all of it is to be tried again.
 */
extern bool dbx_session_concerns_all(int sqlstate);

/*
 * One text of an error for the views and the log, without secrets, in the
 * current memory context.
 */
extern char *dbx_session_error_text(const ErrorData *error);

/*
 * Do two texts tell of the same trouble?  Numbers and ids in them may differ: the
 * service puts the id of the request into many of its messages.  "b" may be NULL.
 */
extern bool dbx_session_same_trouble(const char *a, const char *b);

#endif /* DBX_WORKER_SESSION_H */
