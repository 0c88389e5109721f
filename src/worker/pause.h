/*
 * pause.h
 *	  Whether requests of a workspace may be sent from this database.
 */
#ifndef DBX_WORKER_PAUSE_H
#define DBX_WORKER_PAUSE_H

/*
 * Why nothing may be sent to the workspace, in the current memory context; NULL
 * if it may.  "copied" (may be NULL) is set if the reason is that this database
 * is a copy: then nothing is followed either.  Within a transaction, by whoever
 * may read the tables (the worker, or after dbx_data_enter), SPI connected.
 */
extern char *dbx_pause_reason(const char *workspace, bool *copied);

#endif /* DBX_WORKER_PAUSE_H */
