/*
 * databricks.c
 *	  Entry point of the library: settings, hooks, worker registration.
 *
 * Nothing else belongs here; each capability has its own module below.
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "guc.h"
#include "worker/worker.h"

DBX_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	dbx_guc_define();
	dbx_worker_init();
}
