/*
 * handler.c
 *	  What the wrapper can do, for the server to call.
 *
 * Separate so that one look tells what is supported: reading, and not from
 * parallel workers, since each would ask on its own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "foreign/fdwapi.h"

#include "fdw/fdw.h"

PG_FUNCTION_INFO_V1(databricks_fdw_handler);

static RowMarkType databricksGetForeignRowMarkType(RangeTblEntry	 *rte,
												   LockClauseStrength strength);

Datum
databricks_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = databricksGetForeignRelSize;
	routine->GetForeignPaths = databricksGetForeignPaths;
	routine->GetForeignPlan = databricksGetForeignPlan;
	routine->BeginForeignScan = databricksBeginForeignScan;
	routine->IterateForeignScan = databricksIterateForeignScan;
	routine->ReScanForeignScan = databricksReScanForeignScan;
	routine->EndForeignScan = databricksEndForeignScan;
	routine->ExplainForeignScan = databricksExplainForeignScan;
	routine->IsForeignRelUpdatable = databricksIsForeignRelUpdatable;
	routine->AddForeignUpdateTargets = databricksAddForeignUpdateTargets;
	routine->PlanForeignModify = databricksPlanForeignModify;
	routine->BeginForeignModify = databricksBeginForeignModify;
	routine->ExecForeignInsert = databricksExecForeignInsert;
	routine->ExecForeignUpdate = databricksExecForeignUpdate;
	routine->ExecForeignDelete = databricksExecForeignDelete;
	routine->EndForeignModify = databricksEndForeignModify;
	routine->BeginForeignInsert = databricksBeginForeignInsert;
	routine->EndForeignInsert = databricksEndForeignInsert;
	routine->ExplainForeignModify = databricksExplainForeignModify;
	routine->GetForeignRowMarkType = databricksGetForeignRowMarkType;
	routine->AnalyzeForeignTable = databricksAnalyzeForeignTable;
	routine->ImportForeignSchema = databricksImportForeignSchema;

	PG_RETURN_POINTER(routine);
}

/* There is nothing to lock with the service, and pretending would be worse. */
static RowMarkType
databricksGetForeignRowMarkType(RangeTblEntry *rte, LockClauseStrength strength)
{
	if (strength != LCS_NONE)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("rows of a workspace cannot be locked"),
			 errhint(
				 "Leave out FOR UPDATE or FOR SHARE, or name other tables in its OF.")));
	return ROW_MARK_COPY;
}
