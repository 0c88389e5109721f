/*
 * databricks.c
 *	  Entry point of the library: settings, hooks, worker registration.
 *
 * Nothing else belongs here; each capability has its own module below.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/stat.h"
#include "compat.h"
#include "guc.h"
#include "http/limiter.h"
#include "worker/worker.h"

DBX_MODULE_MAGIC;

/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl*): the server's name */
extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	dbx_guc_define();
	if (process_shared_preload_libraries_in_progress)
	{
		dbx_limiter_init();
		dbx_stat_init();
	}
	dbx_worker_init();
}
