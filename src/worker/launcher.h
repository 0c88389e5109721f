/*
 * launcher.h
 *	  The one static worker, which starts a worker per database.
 */
#ifndef DBX_WORKER_LAUNCHER_H
#define DBX_WORKER_LAUNCHER_H

/* Register it with the postmaster; preload only. */
extern void dbx_launcher_register(void);

extern PGDLLEXPORT void dbx_launcher_main(Datum arg);

#endif /* DBX_WORKER_LAUNCHER_H */
