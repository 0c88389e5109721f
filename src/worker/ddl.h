/*
 * ddl.h
 *	  Commands on databases and on the extension that concern the workers.
 */
#ifndef DBX_WORKER_DDL_H
#define DBX_WORKER_DDL_H

/* Install the hooks; preload only. */
extern void dbx_ddl_init(void);

#endif /* DBX_WORKER_DDL_H */
