/*
 * known.c
 *	  What the tracker knows of a run, for those who wait for it.
 *
 * Separate from the tracker since it runs in other processes: shared memory
 * tells when the last good sweep began, the table what it saw.  Only that a run
 * goes on is taken from there.  Its end is not: a run that is repaired is over in
 * the table until a sweep sees it active again.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "worker/history.h"
#include "worker/known.h"
#include "worker/migrate.h"
#include "worker/shared.h"

static bool same_in_history(const char *workspace, int64 run_id,
							const char *state, int tasks_done);

TimestampTz
dbx_known_active(const char *workspace, int64 run_id, TimestampTz since,
				 const char *state, int tasks_done)
{
	TimestampTz	  swept_at = dbx_shared_swept_at(MyDatabaseId, workspace);
	MemoryContext before = CurrentMemoryContext;
	DbxExtension  extension;
	DbxDataRole	  role;
	bool		  same;

	/* It becomes visible before it is told, so the table is not older. */
	if (swept_at <= since || state == NULL)
		return 0;
	PushActiveSnapshot(GetLatestSnapshot());
	same = dbx_extension_find(&extension) && dbx_data_exists(&extension);
	if (same)
	{
		dbx_data_enter(&extension, &role);
		SPI_connect();
		same = same_in_history(workspace, run_id, state, tasks_done);
		SPI_finish();
		dbx_data_leave(&role);
	}
	PopActiveSnapshot();
	MemoryContextSwitchTo(before);
	return same ? swept_at : 0;
}

/* By the active snapshot: SPI takes a new one only for what is not read-only. */
static bool
same_in_history(const char *workspace, int64 run_id, const char *state,
				int tasks_done)
{
	static const char *sql =
		"SELECT 1 FROM databricks.run_history AS h"
		" WHERE h.workspace = $1 AND h.run_id = $2 AND h.state = $3"
		" AND " DBX_HISTORY_ACTIVE(
			"h") " AND (SELECT count(*) FROM databricks.task_history AS t"
				 "  WHERE t.workspace = $1 AND t.run_id = $2 AND (t.state = 'TERMINATED'"
				 "   OR t.life_cycle_state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')))"
				 "  <= $4";
	Oid	  types[] = {TEXTOID, INT8OID, TEXTOID, INT8OID};
	Datum values[4];

	values[0] = CStringGetTextDatum(workspace);
	values[1] = Int64GetDatum(run_id);
	values[2] = CStringGetTextDatum(state);
	values[3] = Int64GetDatum(tasks_done);
	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "the history of a run could not be read");
	return SPI_processed > 0;
}
