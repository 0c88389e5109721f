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
 * The same on the tables of the history, which users may lock, or rows of them, or
 * what triggers of theirs write: an index is made, a session idles in a
 * transaction.  Such locks are waited for a moment only, since requests are sent by
 * this process, too; then 55P03 is raised, which concerns all of the batch.
 */
extern bool dbx_session_begin_history(void);

/* The same from here on to the end of this transaction, or subtransaction. */
extern void dbx_session_limit_waits(void);

/*
 * Handler of SIGINT: of all cancels only that of a wait for a lock is heard.  Others
 * would end the wait of a commit for the standbys.
 */
extern void dbx_session_interrupted(SIGNAL_ARGS);

/*
 * Run work(arg).  When it raises, everything it began is rolled back and the
 * error is returned, allocated in the current memory context; else NULL.  Where a
 * lock was waited for too long it says which one, and who has it.
 */
extern ErrorData *dbx_session_try(void (*work)(void *), void *arg);

/*
 * The same within a transaction, of which only what work(arg) did is rolled back:
 * for rows that must not stop others.  Raises what concerns all of them.
 */
extern ErrorData *dbx_session_apart(void (*work)(void *), void *arg);

/* The same, but nothing is raised. */
extern ErrorData *dbx_session_attempt(void (*work)(void *), void *arg);

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
