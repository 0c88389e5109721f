/*
 * guc.c
 *	  Definition of the settings, sorted by name.
 *
 * Separate so that one look tells what can be set.  The variables are owned by
 * the GUC machinery; everybody else only reads them.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "guc.h"

char *dbx_guc_workspace;
bool  dbx_guc_dispatch;
bool  dbx_guc_external_links;
int	  dbx_guc_follow_interval;
int	  dbx_guc_history_overlap;
int	  dbx_guc_history_reconcile_interval;
int	  dbx_guc_hook_timeout;
int	  dbx_guc_json_max_depth;
int	  dbx_guc_max_buffer_size;
int	  dbx_guc_max_pages;
int	  dbx_guc_max_retry_timeout;
int	  dbx_guc_max_writes_per_statement;
int	  dbx_guc_poll_interval_max;
int	  dbx_guc_poll_interval_min;
int	  dbx_guc_request_retention;
bool  dbx_guc_success_with_failures;
int	  dbx_guc_wait_max_interval;
int	  dbx_guc_wait_min_interval;

void
dbx_guc_define(void)
{
	DefineCustomBoolVariable(
		"databricks.dispatch", "Lets the workers of this server send requests.",
		"Off: nothing is sent and nothing followed, as it should be on a physical copy of a server.",
		&dbx_guc_dispatch, true, PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomBoolVariable(
		"databricks.external_links",
		"Lets SQL statements leave their results in the cloud store of the workspace, to be fetched from there.",
		"Off: they come in the answers of the service, which gives at most 25 MB that way.",
		&dbx_guc_external_links, false, PGC_USERSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.follow_interval",
		"Time between two looks at the runs that requests have started.",
		"Where the workspace is tracked, what the tracking sees is used instead.",
		&dbx_guc_follow_interval, 10000, 100, 24 * 3600 * 1000, PGC_SIGHUP,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.history_overlap",
		"How far each sweep of the run history looks back beyond the start of the one before.",
		"More than the clocks of this server and of the service may differ, and than a new run may take to be listed.",
		&dbx_guc_history_overlap, 2 * 60 * 1000, 0, 24 * 60 * 60 * 1000,
		PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.history_reconcile_interval",
		"Time in which all runs of the last 60 days are compared with what the service says now.",
		"Finds repairs of old runs and deletions. 0: never.",
		&dbx_guc_history_reconcile_interval, 6 * 60 * 60 * 1000, 0, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.hook_timeout",
		"How long the on_success or on_failure SQL of a request may take.",
		"0: as long as it likes.", &dbx_guc_hook_timeout, 3600 * 1000, 0,
		INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.json_max_depth",
		"Deepest nesting of arrays and objects accepted in an answer of the service.",
		NULL, &dbx_guc_json_max_depth, 100, 1, 900, PGC_USERSET, 0, NULL, NULL,
		NULL);

	DefineCustomIntVariable(
		"databricks.max_buffer_size",
		"Memory that the answers of all calls under way may take in one process.",
		"A call whose answer does not fit any more fails; it is not cut.",
		&dbx_guc_max_buffer_size, 1024 * 1024, 1024, INT_MAX, PGC_SUSET,
		GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomIntVariable("databricks.max_pages",
							"Largest number of pages read for one list.",
							"A longer list is an error, never a shortened result.",
							&dbx_guc_max_pages, 100000, 1, INT_MAX, PGC_USERSET,
							0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.max_retry_timeout",
		"Longest patience with all attempts of a call, whatever the server option retry_timeout says.",
		"0: one attempt.  -1: as the option says.", &dbx_guc_max_retry_timeout,
		-1, -1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.max_writes_per_statement",
		"Largest number of rows of a foreign table that one statement writes.",
		"Each is a call that acts at once and that no rollback undoes.",
		&dbx_guc_max_writes_per_statement, 100, 0, INT_MAX, PGC_USERSET, 0,
		NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.poll_interval_max",
		"Longest time between two looks at a tracked workspace in which nothing runs.",
		"While nothing runs poll_interval of track() is stretched up to three times, but not beyond this.  0: it is not stretched.",
		&dbx_guc_poll_interval_max, 30 * 1000, 0, 24 * 3600 * 1000, PGC_SIGHUP,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.poll_interval_min",
		"Shortest time between two looks at a tracked workspace in which a run has just started or is about to end.",
		"poll_interval of track() is shortened down to this, as far as two calls a second allow.  At or above poll_interval it is not shortened.",
		&dbx_guc_poll_interval_min, 1000, 100, 24 * 3600 * 1000, PGC_SIGHUP,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.request_retention",
		"How long requests are kept after they have ended.",
		"Looked at once an hour and when a worker starts; -1: for ever.",
		&dbx_guc_request_retention, 30 * 24 * 3600, -1, INT_MAX, PGC_SIGHUP,
		GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomBoolVariable(
		"databricks.success_with_failures",
		"Counts a run that ended SUCCESS_WITH_FAILURES as a success, with a warning.",
		"Off: as a failure.", &dbx_guc_success_with_failures, true, PGC_USERSET,
		0, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.wait_max_interval",
		"Longest time between two looks at a run that is waited for.", NULL,
		&dbx_guc_wait_max_interval, 10000, 10, 3600 * 1000, PGC_USERSET,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"databricks.wait_min_interval",
		"Time before the second look at a run that is waited for; it grows with each look.",
		NULL, &dbx_guc_wait_min_interval, 1000, 10, 3600 * 1000, PGC_USERSET,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomStringVariable(
		"databricks.workspace",
		"Workspace that functions use when none is named.",
		"A foreign server of the wrapper databricks; empty: the server with option is_default, else the only one the role may use.",
		&dbx_guc_workspace, "", PGC_USERSET, 0, NULL, NULL, NULL);

	MarkGUCPrefixReserved("databricks");
}
