/*
 * clusters.c
 *	  SQL entry point that waits until a cluster runs.
 *
 * Separate from waiting for runs: a cluster has no end to wait for, it has a
 * state to bring about, and some of the states on the way need a call.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/run.h"
#include "functions/args.h"
#include "guc.h"
#include "http/http.h"

PG_FUNCTION_INFO_V1(databricks_ensure_cluster_is_running);

/* A single call does not retry for longer: the next look is the retry. */
#define LOOK_PATIENCE_MS 20000

typedef struct ClusterWait
{
	DbxWorkspace *workspace;
	const char	 *cluster_id;
	TimestampTz	  deadline; /* 0: none */
	char		 *told;		/* progress last told, NULL: none */
	bool		  outage_told;
	bool		  started; /* by us, or found on its way */
	bool		  refused; /* once: its state was another one by then */
	MemoryContext look;	   /* reset before each look */
} ClusterWait;

/*
 * GET clusters/get or POST clusters/start; NULL if that has to be tried again: during
 * an outage, which is told, or when the cluster could not be started just now.
 */
static DbxJson *
ask(ClusterWait *wait, bool start)
{
	DbxCallSpec		   spec = {0};
	StringInfoData	   text;
	DbxCall			  *call;
	const DbxApiError *error;

	initStringInfo(&text);
	spec.caller = "ensure_cluster_is_running";
	if (start)
	{
		appendStringInfoString(&text, "{\"cluster_id\":");
		escape_json(&text, wait->cluster_id);
		appendStringInfoChar(&text, '}');
		spec.method = "POST";
		spec.path = "/api/2.1/clusters/start";
		spec.body = text.data;
	}
	else
	{
		dbx_query_add(&text, "cluster_id", wait->cluster_id);
		spec.method = "GET";
		spec.path = "/api/2.1/clusters/get";
		spec.query = text.data;
	}
	call = dbx_call_start(wait->workspace, &spec);
	while (!dbx_call_done(call))
	{
		if (dbx_calls_progress(wait->deadline))
			return NULL;
	}
	error = dbx_call_error(call);
	if (error == NULL)
	{
		wait->outage_told = false;
		return dbx_call_json(call);
	}
	/* somebody else may have started it since we looked */
	if (start && !wait->refused && error->code != NULL &&
		strcmp(error->code, "INVALID_STATE") == 0)
	{
		wait->refused = true;
		return NULL;
	}
	if (!error->passing && error->status < 500)
		dbx_call_raise(call);
	if (!wait->outage_told)
		ereport(
			NOTICE,
			(errmsg("workspace \"%s\" cannot tell about cluster %s just now, still waiting: %s",
					wait->workspace->name, wait->cluster_id, error->message)));
	wait->outage_told = true;
	return NULL;
}

static void
tell(ClusterWait *wait, const char *state, const char *message)
{
	char *progress = psprintf("%s%s%s", state, message && *message ? ": " : "",
							  message ? message : "");

	if (wait->told != NULL && strcmp(wait->told, progress) == 0)
		return;
	ereport(NOTICE,
			(errmsg("cluster %s: %s", wait->cluster_id, dbx_redact(progress))));
	if (wait->told != NULL)
		pfree(wait->told);
	wait->told = MemoryContextStrdup(GetMemoryChunkContext(wait), progress);
}

/* The cluster went down instead of up, or can never come up. */
static pg_noreturn void
raise_not_running(const ClusterWait *wait, const DbxJson *cluster,
				  const char *state)
{
	const DbxJson *reason = dbx_json_get(cluster, "termination_reason");
	const char *message = dbx_json_string(dbx_json_get(cluster, "state_message"));
	const char	  *code = dbx_json_string(dbx_json_get(reason, "code"));
	const char	  *type = dbx_json_string(dbx_json_get(reason, "type"));
	const DbxJson *parameters = dbx_json_get(reason, "parameters");

	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_ERROR),
		 errmsg("cluster %s did not start, it is %s%s%s", wait->cluster_id,
				state, message && *message ? ": " : "",
				message ? dbx_redact(message) : ""),
		 code ? errdetail("Reason: %s%s%s%s%s%s.", code, type ? " (" : "",
						  type ? type : "", type ? ")" : "",
						  dbx_json_length(parameters) > 0 ? ", " : "",
						  dbx_json_length(parameters) > 0
							  ? dbx_redact(dbx_json_serialize(parameters))
							  : "")
			  : 0,
		 errhint(
			 "The events of the cluster say more: POST /api/2.1/clusters/events.")));
}

/* Look once and do what the state asks for; true: it runs. */
static bool
look(ClusterWait *wait)
{
	DbxJson	   *cluster = ask(wait, false);
	const char *state = dbx_json_string(dbx_json_get(cluster, "state"));

	if (cluster == NULL)
		return false;
	if (state == NULL)
		state = "UNKNOWN";
	tell(wait, state, dbx_json_string(dbx_json_get(cluster, "state_message")));
	/* only this one: while it grows or shrinks it works, but takes no changes */
	if (strcmp(state, "RUNNING") == 0)
		return true;
	if (strcmp(state, "ERROR") == 0)
		raise_not_running(wait, cluster, state);
	if (strcmp(state, "TERMINATED") == 0)
	{
		if (wait->started)
			raise_not_running(wait, cluster, state);
		wait->started = ask(wait, true) != NULL;
	}
	else if (strcmp(state, "TERMINATING") != 0)
		wait->started = true;
	else if (wait->started)
		raise_not_running(wait, cluster, state);
	return false;
}

Datum
databricks_ensure_cluster_is_running(PG_FUNCTION_ARGS)
{
	ClusterWait *wait = palloc0(sizeof(ClusterWait));
	int			 looks = 0;

	dbx_arg_require(fcinfo, 0, "cluster_id");
	wait->cluster_id = dbx_arg_text(fcinfo, 0);
	wait->workspace = dbx_arg_workspace(fcinfo, 2);
	wait->workspace->retry_timeout = Min(wait->workspace->retry_timeout,
										 LOOK_PATIENCE_MS);
	if (!PG_ARGISNULL(1))
		wait->deadline = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval,
								TimestampTzGetDatum(GetCurrentTimestamp()),
								PG_GETARG_DATUM(1)));
	wait->look = AllocSetContextCreate(CurrentMemoryContext, "databricks look",
									   ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		MemoryContext before = MemoryContextSwitchTo(wait->look);
		bool		  running = look(wait);
		TimestampTz	  next;
		int64		  delay;

		MemoryContextSwitchTo(before);
		MemoryContextReset(wait->look);
		if (running)
			PG_RETURN_VOID();
		if (wait->deadline != 0 && GetCurrentTimestamp() >= wait->deadline)
			ereport(
				ERROR,
				(errcode(ERRCODE_RUN_WAIT_TIMED_OUT),
				 errmsg("cluster %s does not run yet, the wait for it timed out",
						wait->cluster_id),
				 wait->told ? errdetail("Last seen: %s.", dbx_redact(wait->told))
							: 0,
				 errhint("It may come up later; nothing was undone.")));
		looks++;
		delay = Min((int64) dbx_guc_wait_min_interval * looks,
					Max(dbx_guc_wait_max_interval, dbx_guc_wait_min_interval));
		next = GetCurrentTimestamp() + delay * 1000;
		if (wait->deadline != 0 && wait->deadline < next)
			next = wait->deadline;
		dbx_http_sleep_until(next);
	}
}
