/*
 * unit.c
 *	  What the tested parts need from the rest of the engine.
 *
 * Separate so that the parts can be tested without the floors above and beside
 * them: this file defines what guc.c would.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "guc.h"

PG_MODULE_MAGIC;

int dbx_guc_json_max_depth = 100;

void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("databricks_unit.json_max_depth",
							"Stands for databricks.json_max_depth.", NULL,
							&dbx_guc_json_max_depth, 100, 1, 900, PGC_USERSET,
							0, NULL, NULL, NULL);
}
