/*
 * sending.c
 *	  One request in hand: its calls, and what the answers mean.
 *
 * Separate from the queue in dispatcher.c.  The rule that all of this serves: a
 * request that was claimed has a token on disk, and whatever happens it is sent
 * with that token again until somebody has said what became of it.  A repair has
 * no token: there the run is looked at before each sending, and a repair newer
 * than that of the attempt before is the answer.
 *
 *	  run id				the run was started, now or by an earlier sending
 *	  refused				for good: the request is rejected
 *	  trouble, not begun	back into the queue, the token stays
 *	  trouble, in doubt		sent again, with the same token
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/repair.h"
#include "api/run.h"
#include "http/http.h"
#include "worker/dispatcher.h"
#include "worker/follow.h"
#include "worker/record.h"
#include "worker/sending.h"
#include "worker/session.h"
#include "worker/shared.h"

/* A call repeats itself for so long only: the next sending repeats it, too. */
#define CALL_PATIENCE_MS 10000

#define BACKOFF_FIRST_USECS USECS_PER_SEC
#define BACKOFF_LAST_USECS	(60 * USECS_PER_SEC)

/* A repair that was accepted may take a while to show: so many looks. */
#define REPAIR_LOOKS 6

#define CALLER "enqueue_run_now"

static void resolve(void *arg);
static void start_call(void *arg);
static void ask_for_job(DbxSending *sending);
static void send_run(DbxSending *sending);
static bool advance(DbxSending *sending);
static void pass_on_lookup(DbxSending *sending);
static bool take_look(DbxSending *sending);
static void go_on_after_look(void *arg);
static void look_again(DbxSending *sending, const char *text);
static void send_repair(DbxSending *sending);
static void send_cancel(DbxSending *sending);
static void take_lookup(DbxSending *sending);
static void take_run(DbxSending *sending);
static void take_error(DbxSending *sending, const DbxApiError *error,
					   const char *text);
static bool unauthorised(const DbxApiError *error);
static void take_raised(DbxSending *sending, const ErrorData *error);
static void set_answer(DbxSending *sending, DbxSendingAnswer answer,
					   const char *text);
static bool passing_state(int sqlstate);
static void record_answer(void *arg);

bool
dbx_sending_resolve(DbxSending *sending)
{
	MemoryContext before = MemoryContextSwitchTo(sending->context);
	ErrorData	 *error = dbx_session_apart(resolve, sending);

	if (error != NULL)
		take_raised(sending, error);
	MemoryContextSwitchTo(before);
	return error == NULL;
}

static void
resolve(void *arg)
{
	DbxSending *sending = arg;
	Oid			roleid = get_role_oid(sending->requested_by, true);

	if (!OidIsValid(roleid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\", which made the request, does not exist",
						sending->requested_by)));
	sending->workspace = dbx_workspace_resolve(sending->site, roleid);
	sending->workspace->retry_timeout = Min(sending->workspace->retry_timeout,
											CALL_PATIENCE_MS);
}

void
dbx_sending_share(DbxSending *sending, DbxSending *asker)
{
	MemoryContext before = MemoryContextSwitchTo(asker->context);

	asker->alike = lappend(asker->alike, sending);
	MemoryContextSwitchTo(before);
	sending->shares = true;
}

void
dbx_sending_start(DbxSending *sending)
{
	MemoryContext before;
	ErrorData	 *error;

	if (sending->shares)
		return;
	before = MemoryContextSwitchTo(sending->context);
	error = dbx_session_try(start_call, sending);
	if (error != NULL)
		take_raised(sending, error);
	MemoryContextSwitchTo(before);
}

static void
start_call(void *arg)
{
	DbxSending *sending = arg;

	if (sending->cancel)
		send_cancel(sending);
	else if (sending->phase == DBX_SENDING_LOOKUP)
		ask_for_job(sending);
	else if (sending->repair)
		sending->look = dbx_run_get_start(sending->workspace, sending->run_id);
	else
		send_run(sending);
}

/* The filter ignores case, and pages may be short, so all of them are read. */
static void
ask_for_job(DbxSending *sending)
{
	DbxCallSpec	   spec = {0};
	StringInfoData query;

	if (sending->page_token == NULL)
	{
		initStringInfo(&sending->ids);
		sending->found = 0;
		memset(&sending->pages, 0, sizeof(sending->pages));
	}
	spec.path = dbx_api_jobs_path(sending->workspace, "list");
	if (sending->page_token != NULL)
		dbx_pages_go_on(&sending->pages, spec.path, sending->page_token);
	initStringInfo(&query);
	dbx_query_add(&query, "name", sending->job_name);
	dbx_query_add(&query, "limit", "100");
	if (sending->page_token != NULL)
		dbx_query_add(&query, "page_token", sending->page_token);
	spec.method = "GET";
	spec.query = query.data;
	spec.caller = CALLER;
	sending->call = dbx_call_start(sending->workspace, &spec);
}

static void
send_run(DbxSending *sending)
{
	DbxCallSpec	   spec = {0};
	StringInfoData body;
	const char	  *members = sending->body + 1;

	if (*sending->body != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("body of the request is no JSON object")));
	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	if (!sending->submit)
		appendStringInfo(&body, "\"job_id\":" INT64_FORMAT ",", sending->job_id);
	appendStringInfoString(&body, "\"idempotency_token\":");
	escape_json(&body, sending->token);
	appendStringInfo(&body, "%s%s", *members == '}' ? "" : ",", members);

	spec.method = "POST";
	spec.path = dbx_api_jobs_path(sending->workspace,
								  sending->submit ? "runs/submit" : "run-now");
	spec.body = body.data;
	spec.caller = CALLER;
	sending->call = dbx_call_start(sending->workspace, &spec);
	sending->phase = DBX_SENDING_CALL;
}

/* Has the look at the run come back?  Then go on with what it tells. */
static bool
take_look(DbxSending *sending)
{
	ErrorData *error = dbx_session_try(go_on_after_look, sending);

	if (error != NULL)
	{
		look_again(sending, dbx_session_error_text(error));
		sending->look = NULL;
	}
	return sending->look == NULL;
}

/*
 * If the run is as the attempt before has left it, it is repaired.  If it has
 * another repair, somebody's was accepted, be it that of an earlier sending or of
 * a person: that is the attempt.  What was skipped has no tasks to be run again,
 * so it is started anew.
 */
static void
go_on_after_look(void *arg)
{
	DbxSending		  *sending = arg;
	const DbxApiError *error;
	DbxRunState		   state;
	int64			   latest;

	if (!dbx_run_get_done(sending->look))
		return;
	error = dbx_run_get_error(sending->look);
	if (error != NULL)
	{
		sending->call = sending->look->call;
		take_error(sending, error, dbx_call_headline(sending->call));
		sending->look = NULL;
		return;
	}
	dbx_run_read_state(sending->look->run, &state);
	latest = dbx_repair_latest(sending->look->run);
	if (latest != sending->last_repair || (state.over && state.success))
	{
		sending->repair_id = latest;
		set_answer(sending, DBX_ANSWER_STARTED, NULL);
	}
	else if (!state.over)
		look_again(sending, "the run is active, but by no repair that shows");
	else if (state.sqlstate == ERRCODE_RUN_SKIPPED)
	{
		sending->repair = false;
		send_run(sending);
	}
	else
		send_repair(sending);
	sending->look = NULL;
}

static void
look_again(DbxSending *sending, const char *text)
{
	set_answer(sending,
			   sending->in_doubt ? DBX_ANSWER_DOUBT : DBX_ANSWER_POSTPONED,
			   text);
}

static void
send_repair(DbxSending *sending)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = dbx_api_jobs_path(sending->workspace, "runs/repair");
	spec.body = dbx_repair_body(sending->run_id, sending->look->run);
	spec.caller = CALLER;
	sending->call = dbx_call_start(sending->workspace, &spec);
}

static void
send_cancel(DbxSending *sending)
{
	DbxCallSpec spec = {0};

	spec.method = "POST";
	spec.path = dbx_api_jobs_path(sending->workspace, "runs/cancel");
	spec.body = psprintf("{\"run_id\":" INT64_FORMAT "}", sending->run_id);
	spec.caller = "cancel_request";
	sending->call = dbx_call_start(sending->workspace, &spec);
	sending->phase = DBX_SENDING_CALL;
}

/* ---- answers ---- */

void
dbx_sending_postpone(DbxSending *sending, const ErrorData *error)
{
	set_answer(sending, DBX_ANSWER_POSTPONED, dbx_session_error_text(error));
}

bool
dbx_sending_advance(DbxSending *sending)
{
	bool result = advance(sending);

	if (sending->phase != DBX_SENDING_LOOKUP)
		pass_on_lookup(sending);
	return result;
}

/*
 * To those that share the lookup, whatever has come of it.  If it met trouble, one
 * call has met that, not one for each of them.
 */
static void
pass_on_lookup(DbxSending *sending)
{
	ListCell *cell;

	foreach(cell, sending->alike)
	{
		DbxSending *other = lfirst(cell);

		other->shares = false;
		other->job_id = sending->job_id;
		if (sending->phase == DBX_SENDING_FOUND)
			other->phase = DBX_SENDING_FOUND;
		else
			set_answer(other, sending->answer, sending->error);
	}
	sending->alike = NIL;
}

static bool
advance(DbxSending *sending)
{
	MemoryContext	   before;
	const DbxApiError *error;

	if (sending->look == NULL &&
		(sending->call == NULL || !dbx_call_done(sending->call)))
		return false;
	before = MemoryContextSwitchTo(sending->context);
	if (sending->look != NULL)
	{
		bool result = take_look(sending);

		MemoryContextSwitchTo(before);
		return result;
	}
	error = dbx_call_error(sending->call);
	if (error != NULL)
	{
		char *text = dbx_call_headline(sending->call);

		/* What ended meanwhile needs no cancel any more. */
		if (sending->cancel)
			set_answer(sending,
					   error->passing || unauthorised(error)
						   ? DBX_ANSWER_POSTPONED
						   : DBX_ANSWER_TOLD,
					   text);
		else
			take_error(sending, error, text);
	}
	else if (sending->cancel)
		set_answer(sending, DBX_ANSWER_TOLD, NULL);
	else if (sending->phase == DBX_SENDING_LOOKUP)
		take_lookup(sending);
	else
		take_run(sending);
	MemoryContextSwitchTo(before);
	return true;
}

static void
take_lookup(DbxSending *sending)
{
	DbxCall		  *call = sending->call;
	char		  *why = NULL;
	const char	  *body = dbx_call_body(call);
	DbxJson		  *answer = dbx_json_try_parse(body, strlen(body), &why);
	const DbxJson *row;
	const char	  *token;

	if (answer == NULL)
	{
		set_answer(sending, DBX_ANSWER_POSTPONED,
				   psprintf("the list of jobs could not be read: %s", why));
		return;
	}
	for (row = dbx_json_first(dbx_json_get(answer, "jobs")); row != NULL;
		 row = dbx_json_next(row))
	{
		const char *name = dbx_json_string(dbx_json_path(row, "settings.name"));
		int64		id;

		if (name == NULL || strcmp(name, sending->job_name) != 0 ||
			!dbx_json_int64(dbx_json_get(row, "job_id"), &id) ||
			(sending->found > 0 && id == sending->job_id))
			continue;
		appendStringInfo(&sending->ids, "%s" INT64_FORMAT,
						 sending->found ? ", " : "", id);
		sending->job_id = id;
		sending->found++;
	}
	token = dbx_page_token(answer);
	sending->pages.count++;
	sending->call = NULL;
	if (token != NULL)
	{
		sending->page_token = pstrdup(token);
		dbx_sending_start(sending);
	}
	else if (sending->found == 0)
		set_answer(sending, DBX_ANSWER_REFUSED,
				   psprintf("there is no job named \"%s\" in workspace \"%s\"",
							sending->job_name, sending->site));
	else if (sending->found > 1)
		set_answer(
			sending, DBX_ANSWER_REFUSED,
			psprintf("there are %d jobs named \"%s\" in workspace \"%s\": %s",
					 sending->found, sending->job_name, sending->site,
					 sending->ids.data));
	else
		sending->phase = DBX_SENDING_FOUND;
	dbx_call_free(call);
}

static void
take_run(DbxSending *sending)
{
	char	   *why = NULL;
	const char *body = dbx_call_body(sending->call);
	DbxJson	   *answer = dbx_json_try_parse(body, strlen(body), &why);
	const char *member = sending->repair ? "repair_id" : "run_id";
	int64	   *id = sending->repair ? &sending->repair_id : &sending->run_id;

	if (answer != NULL && dbx_json_int64(dbx_json_get(answer, member), id))
		set_answer(sending, DBX_ANSWER_STARTED, NULL);
	else
		set_answer(sending, DBX_ANSWER_DOUBT,
				   psprintf("the answer was a success, but gives no %s%s%s",
							member, why ? ": " : "", why ? why : ""));
}

/*
 * Once in doubt, only an answer about the request itself settles it.  Who may
 * not ask, or asks too much, has not been told anything.
 */
static void
take_error(DbxSending *sending, const DbxApiError *error, const char *text)
{
	sending->site_trouble = error->passing;
	if (error->unknown_outcome && sending->phase == DBX_SENDING_CALL &&
		sending->look == NULL)
		set_answer(sending, DBX_ANSWER_DOUBT, text);
	else if (sending->in_doubt && (error->passing || unauthorised(error)))
		set_answer(sending, DBX_ANSWER_DOUBT, text);
	else if (sending->in_doubt && sending->repair &&
			 sending->failures < REPAIR_LOOKS)
		set_answer(sending, DBX_ANSWER_DOUBT, text);
	else if (error->passing)
		set_answer(sending, DBX_ANSWER_POSTPONED, text);
	else if (sending->in_doubt)
		set_answer(sending, DBX_ANSWER_REFUSED,
				   psprintf("%s (an earlier sending of this attempt got no answer)",
							text));
	else
		set_answer(sending, DBX_ANSWER_REFUSED, text);
}

/* Who may not ask has not been told anything. */
static bool
unauthorised(const DbxApiError *error)
{
	return error->sqlstate == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
		error->sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/* What was raised before anything was sent. */
static void
take_raised(DbxSending *sending, const ErrorData *error)
{
	MemoryContext before = MemoryContextSwitchTo(sending->context);
	char		 *text = dbx_session_error_text(error);

	if (sending->cancel)
		set_answer(sending,
				   passing_state(error->sqlerrcode) ? DBX_ANSWER_POSTPONED
													: DBX_ANSWER_TOLD,
				   text);
	else if (sending->in_doubt)
		set_answer(sending, DBX_ANSWER_DOUBT, text);
	else
		set_answer(sending,
				   passing_state(error->sqlerrcode) ? DBX_ANSWER_POSTPONED
													: DBX_ANSWER_REFUSED,
				   text);
	MemoryContextSwitchTo(before);
}

static bool
passing_state(int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	return category == ERRCODE_CONNECTION_EXCEPTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INTERNAL_ERROR ||
		sqlstate == ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION ||
		sqlstate == ERRCODE_FDW_UNABLE_TO_CREATE_REPLY;
}

static void
set_answer(DbxSending *sending, DbxSendingAnswer answer, const char *text)
{
	sending->answer = answer;
	sending->error = text
		? MemoryContextStrdup(sending->context, dbx_redact(text))
		: NULL;
	sending->phase = DBX_SENDING_RECORD;
	sending->retry_at = 0;
}

/* ---- writing down ---- */

bool
dbx_sending_record(DbxSending *sending)
{
	ErrorData *error = dbx_session_try(record_answer, sending);

	if (sending->call != NULL)
		dbx_call_free(sending->call);
	sending->call = NULL;
	if (error != NULL)
	{
		/* This row cannot be written: the others shall not suffer. */
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("databricks worker: what became of request " INT64_FORMAT
						" could not be written: %s",
						sending->request_id, dbx_session_error_text(error)),
				 errdetail("It will be tried again.")));
		sending->retry_at = GetCurrentTimestamp() +
			dbx_sending_back_off(sending->failures++);
		return true;
	}
	if (sending->answer == DBX_ANSWER_DOUBT ||
		(sending->cancel && sending->answer == DBX_ANSWER_POSTPONED))
	{
		sending->in_doubt = !sending->cancel;
		sending->phase = DBX_SENDING_PAUSE;
		sending->retry_at = GetCurrentTimestamp() +
			dbx_sending_back_off(sending->failures++);
		return true;
	}
	if (sending->answer == DBX_ANSWER_STARTED)
		dbx_follow_started(sending->site, sending->requested_by);
	return false;
}

static void
record_answer(void *arg)
{
	DbxSending *sending = arg;

	if (sending->cancel && sending->answer == DBX_ANSWER_POSTPONED)
		return;
	if (!dbx_session_begin())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	dbx_record_hasty();
	switch (sending->answer)
	{
		case DBX_ANSWER_STARTED:
			if (dbx_record_started(sending->request_id, sending->run_id,
								   sending->repair_id))
				dbx_dispatcher_look_again();
			break;
		case DBX_ANSWER_REFUSED:
			(void) dbx_record_ended(sending->request_id, "rejected",
									sending->error);
			break;
		case DBX_ANSWER_POSTPONED:
			(void) dbx_record_postponed(sending->request_id, sending->error,
										GetCurrentTimestamp() +
											dbx_sending_back_off(
												sending->failures));
			break;
		case DBX_ANSWER_DOUBT:
			dbx_record_doubt(sending->request_id, sending->error);
			break;
		case DBX_ANSWER_TOLD:
			dbx_record_cancel_told(sending->request_id);
			break;
	}
	dbx_session_commit();
}

int64
dbx_sending_back_off(int failures)
{
	int64 delay = BACKOFF_FIRST_USECS;

	while (failures-- > 0 && delay < BACKOFF_LAST_USECS)
		delay *= 2;
	delay = Min(delay, BACKOFF_LAST_USECS);
	return delay / 2 +
		(int64) (pg_prng_double(&pg_global_prng_state) * delay / 2);
}
