/*
 * outbox.c
 *	  Requests for runs, written down in a transaction and sent after it.
 *
 * This is the side of whoever asks; dispatcher.c is the side of the worker.
 * The two never wait for each other: users lock only rows that are queued or
 * have ended, the worker passes over those that are locked, and what is asked
 * about a row that the worker has in hand goes into a table of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "api/job.h"
#include "compat.h"
#include "worker/hook.h"
#include "worker/migrate.h"
#include "worker/outbox.h"
#include "worker/shared.h"
#include "worker/worker.h"
#include "workspace/workspace.h"

#define LONGEST_KEY			1000 /* bytes: it is indexed */
#define MOST_ATTEMPTS		1000
#define DEFAULT_DELAY_US	(60 * USECS_PER_SEC)
#define LONGEST_DELAY_YEARS 1000

/* How often to look for the holder of a key that vanishes between two looks. */
#define KEY_TRIES 10

/* Takes the place of the real token while a body is checked. */
#define SAMPLE_TOKEN "00000000-0000-0000-0000-000000000000"

/* A request as the functions on existing ones need it. */
typedef struct Found
{
	char		 *workspace;
	char		 *requested_by;
	char		 *state;
	char		 *result_state;
	char		 *last_error;
	int64		  run_id; /* 0: none */
	bool		  finished;
	TransactionId xmin;
} Found;

/* The values of a new row, one after the other. */
#define ROW_VALUES 24

typedef struct NewRow
{
	Datum values[ROW_VALUES];
	char  nulls[ROW_VALUES];
	int	  count;
} NewRow;

static void	  check_arguments(const DbxEnqueue *request);
static void	  check_depends(ArrayType *ids, const char *requester,
							const DbxExtension *extension);
static Jsonb *checked_body(const DbxEnqueue *request);
static void	  refuse_token(Jsonb *value, const char *what);
static Jsonb *members_to_jsonb(const char *text);
static int64  insert_request(const DbxEnqueue *request, const char *workspace,
							 const char *job_name, int64 job_id, Jsonb *body);
static SPIPlanPtr insert_plan(void);
static void		  fill_row(NewRow *row, const DbxEnqueue *request,
						   const char *workspace, const char *job_name, int64 job_id,
						   Jsonb *body);
static void		  add_value(NewRow *row, Datum value, bool isnull);
static void		  add_text(NewRow *row, const char *text);
static void		  add_pointer(NewRow *row, const void *value);
static int64	  find_by_key(const DbxEnqueue *request, const char *workspace,
							  const char *job_name, int64 job_id, Jsonb *body);
static void		  find_request(int64 request_id, bool owner_too,
							   const DbxExtension *extension, Found *found);
static pg_noreturn void no_such_request(int64 request_id);
static bool				owns_workspace(const char *workspace);
static bool execute(const char *sql, int nargs, Oid *types, Datum *values,
					int expected);

int64
dbx_outbox_enqueue(const DbxEnqueue *request)
{
	DbxExtension extension;
	DbxDataRole	 role;
	const char	*workspace = request->workspace;
	const char	*job_name = request->job_name;
	int64		 job_id = request->job_id;
	Jsonb		*body;
	int64		 result;

	check_arguments(request);
	if (job_name != NULL && dbx_job_is_id(job_name, &job_id))
		job_name = NULL;
	if (workspace == NULL && !request->rights_later)
		workspace = dbx_workspace_default(request->requester);
	if (!request->rights_later)
		(void) dbx_workspace_resolve(workspace, request->requester);
	if (request->on_success != NULL || request->on_failure != NULL)
		dbx_hook_check_role(request->requester);
	if (request->on_success != NULL)
		dbx_hook_check_sql("on_success", request->on_success);
	if (request->on_failure != NULL)
		dbx_hook_check_sql("on_failure", request->on_failure);
	body = checked_body(request);

	dbx_data_migrate();
	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	if (request->depends_on != NULL)
		check_depends(request->depends_on,
					  GetUserNameFromId(request->requester, false), &extension);
	if (request->after != NULL)
		check_depends(request->after,
					  GetUserNameFromId(request->requester, false), &extension);

	dbx_data_enter(&extension, &role);
	SPI_connect();
	result = insert_request(request, workspace, job_name, job_id, body);
	SPI_finish();
	dbx_data_leave(&role);

	dbx_worker_wake_at_commit();
	dbx_outbox_warn_without_worker();
	return result;
}

static void
check_arguments(const DbxEnqueue *request)
{
	Assert(OidIsValid(request->requester));
	if (request->request_key != NULL &&
		(*request->request_key == '\0' ||
		 strlen(request->request_key) > LONGEST_KEY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request_key must have 1 to %d bytes", LONGEST_KEY)));
	if (request->job_name != NULL && *request->job_name == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a job must not be empty")));
	if (request->max_attempts < 0 || request->max_attempts > MOST_ATTEMPTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_attempts must be between 1 and %d", MOST_ATTEMPTS)));
	if (TIMESTAMP_NOT_FINITE(request->not_before) ||
		TIMESTAMP_NOT_FINITE(request->expires_at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("not_before and expires_at must be finite")));
	if (request->expires_at != 0 && request->not_before != 0 &&
		request->expires_at <= request->not_before)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("expires_at must be later than not_before"),
			 errhint(
				 "expires_at is until when the request may be sent at the latest.")));
	if (request->retry_delay != NULL)
		dbx_outbox_check_delay("retry_delay", request->retry_delay);
	if (request->debounce != NULL)
		dbx_outbox_check_delay("the time to wait for others", request->debounce);
}

void
dbx_outbox_check_delay(const char *what, const Interval *delay)
{
	if (delay->month < 0 || delay->day < 0 || delay->time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", what)));
	if (delay->month > LONGEST_DELAY_YEARS * MONTHS_PER_YEAR ||
		delay->day > LONGEST_DELAY_YEARS * 366 ||
		delay->time > LONGEST_DELAY_YEARS * 366 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be longer than %d years", what,
						LONGEST_DELAY_YEARS)));
}

/* The requester must be able to see them: else ids would tell about others. */
static void
check_depends(ArrayType *ids, const char *requester,
			  const DbxExtension *extension)
{
	Datum *elements;
	bool  *nulls;
	int	   count;

	deconstruct_array(ids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		Found found;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("ids of requests to wait for must not be null")));
		find_request(DatumGetInt64(elements[i]), true, extension, &found);
	}
}

/*
 * Everything that can be told without a call is told now.  What is stored has
 * neither job nor token: both are settled when it is sent.
 */
static Jsonb *
checked_body(const DbxEnqueue *request)
{
	char *used_token;
	char *text;

	if (request->kind == DBX_REQUEST_SUBMIT)
	{
		refuse_token(request->settings, "settings");
		text = dbx_submit_body(request->settings, SAMPLE_TOKEN, &used_token);
	}
	else
	{
		if (request->options != NULL)
			refuse_token(request->options, "options");
		text = dbx_run_now_members(request->job_parameters, request->options,
								   SAMPLE_TOKEN, &used_token);
		text = psprintf("{%s}", text + 1);
	}
	return members_to_jsonb(text);
}

/* The token belongs to the attempt: one of the caller's would defeat retries. */
static void
refuse_token(Jsonb *value, const char *what)
{
	JsonbValue key;

	if (!JB_ROOT_IS_OBJECT(value))
		return;
	key.type = jbvString;
	key.val.string.val = pstrdup("idempotency_token");
	key.val.string.len = strlen(key.val.string.val);
	if (findJsonbValueFromContainer(&value->root, JB_FOBJECT, &key) != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"idempotency_token\" cannot be given in the %s of a request",
					what),
			 errdetail("Each attempt gets a token of its own."),
			 errhint("Use request_key to have the same request only once.")));
}

static Jsonb *
members_to_jsonb(const char *text)
{
	Datum value = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));

	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_delete, value,
							CStringGetTextDatum("idempotency_token")));
}

/*
 * Returns the id of the new request, or of the one that has the key.  As the
 * owner of the extension, SPI being connected.
 */
static int64
insert_request(const DbxEnqueue *request, const char *workspace,
			   const char *job_name, int64 job_id, Jsonb *body)
{
	SPIPlanPtr plan = insert_plan();
	NewRow	   row = {0};
	bool	   isnull;

	fill_row(&row, request, workspace, job_name, job_id, body);
	for (int i = 0; i < KEY_TRIES; i++)
	{
		int64 id;

		if (SPI_execute_plan(plan, row.values, row.nulls, false, 0) !=
			SPI_OK_INSERT_RETURNING)
			elog(ERROR, "a request could not be written");
		if (SPI_processed > 0)
			return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
											   SPI_tuptable->tupdesc, 1,
											   &isnull));
		id = find_by_key(request, workspace, job_name, job_id, body);
		if (id != 0)
			return id;
	}
	elog(ERROR, "a request could not be written");
	return 0; /* not reached */
}

/* The statement that writes requests; prepared once per session. */
static SPIPlanPtr
insert_plan(void)
{
	/* in the order of fill_row() */
	static const char *sql =
		"INSERT INTO databricks.run_requests"
		" (workspace, requested_by, session_user_name, application_name, kind,"
		"  job_id, job_name, schedule_name, tick, body, request_key,"
		"  depends_on, not_before, expires_at, next_attempt_at, max_attempts,"
		"  retry_delay, retry, after_requests, on_success, on_failure, ready,"
		"  debounce, state, last_error, finished_at, announce)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
		"  CASE WHEN $24 IS NULL THEN $15 + coalesce($23, '0') END,"
		"  $16, $17, $18, $19, $20, $21, $22, $23,"
		"  CASE WHEN $24 IS NULL THEN 'queued' ELSE 'rejected' END, $24,"
		"  CASE WHEN $24 IS NOT NULL THEN clock_timestamp() END,"
		"  $24 IS NOT NULL)"
		" ON CONFLICT ON CONSTRAINT run_requests_key DO NOTHING"
		" RETURNING request_id";
	static SPIPlanPtr plan = NULL;
	Oid types[ROW_VALUES] = {TEXTOID,		 TEXTOID,		 TEXTOID,
							 TEXTOID,		 TEXTOID,		 INT8OID,
							 TEXTOID,		 TEXTOID,		 TIMESTAMPTZOID,
							 JSONBOID,		 TEXTOID,		 INT8ARRAYOID,
							 TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
							 INT4OID,		 INTERVALOID,	 TEXTOID,
							 INT8ARRAYOID,	 TEXTOID,		 TEXTOID,
							 BOOLOID,		 INTERVALOID,	 TEXTOID};

	if (plan == NULL)
	{
		plan = SPI_prepare(sql, lengthof(types), types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
		{
			plan = NULL;
			elog(ERROR,
				 "the statement that writes requests could not be prepared");
		}
	}
	return plan;
}

static void
fill_row(NewRow *row, const DbxEnqueue *request, const char *workspace,
		 const char *job_name, int64 job_id, Jsonb *body)
{
	bool		submit = request->kind == DBX_REQUEST_SUBMIT;
	Interval   *delay = request->retry_delay;
	TimestampTz due = request->not_before;

	if (delay == NULL)
	{
		delay = palloc0(sizeof(Interval));
		delay->time = DEFAULT_DELAY_US;
	}
	if (due == 0)
		due = GetCurrentTimestamp();

	add_text(row, workspace);
	add_text(row, GetUserNameFromId(request->requester, false));
	add_text(row, GetUserNameFromId(GetSessionUserId(), false));
	add_text(row,
			 application_name && *application_name ? application_name : NULL);
	add_text(row, submit ? "submit" : "run_now");
	add_value(row, Int64GetDatum(job_id), job_name != NULL || submit);
	add_text(row, job_name);
	add_text(row, request->schedule_name);
	add_value(row, TimestampTzGetDatum(request->tick), request->tick == 0);
	add_value(row, JsonbPGetDatum(body), false);
	add_text(row, request->request_key);
	add_pointer(row, request->depends_on);
	add_value(row, TimestampTzGetDatum(request->not_before),
			  request->not_before == 0);
	add_value(row, TimestampTzGetDatum(request->expires_at),
			  request->expires_at == 0);
	add_value(row, TimestampTzGetDatum(due), false);
	add_value(row, Int32GetDatum(Max(request->max_attempts, 1)), false);
	add_pointer(row, delay);
	add_text(row, request->repair ? "repair" : "new_run");
	add_pointer(row, request->after);
	add_text(row, request->on_success);
	add_text(row, request->on_failure);
	add_value(row,
			  BoolGetDatum(request->depends_on == NULL && request->after == NULL),
			  false);
	add_pointer(row, request->debounce);
	add_text(row, request->rejected);
	Assert(row->count == ROW_VALUES);
}

static void
add_value(NewRow *row, Datum value, bool isnull)
{
	row->values[row->count] = value;
	row->nulls[row->count] = isnull ? 'n' : ' ';
	row->count++;
}

static void
add_text(NewRow *row, const char *text)
{
	add_value(row, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static void
add_pointer(NewRow *row, const void *value)
{
	add_value(row, PointerGetDatum(value), value == NULL);
}

/* The request that has the key; 0: it is gone meanwhile. */
static int64
find_by_key(const DbxEnqueue *request, const char *workspace,
			const char *job_name, int64 job_id, Jsonb *body)
{
	Oid	  types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID,
					 TEXTOID, INT8OID, JSONBOID};
	Datum values[7];
	char  nulls[] = "       ";
	bool  isnull;
	int64 id;

	values[0] = CStringGetTextDatum(workspace);
	values[1] = CStringGetTextDatum(GetUserNameFromId(request->requester, false));
	values[2] = CStringGetTextDatum(request->request_key);
	values[3] = CStringGetTextDatum(
		request->kind == DBX_REQUEST_SUBMIT ? "submit" : "run_now");
	values[4] = job_name ? CStringGetTextDatum(job_name) : (Datum) 0;
	values[5] = Int64GetDatum(job_id);
	values[6] = JsonbPGetDatum(body);
	if (job_name == NULL)
		nulls[4] = 'n';
	if (SPI_execute_with_args(
			"SELECT r.request_id, r.kind = $4 AND r.body = $7"
			"  AND r.job_name IS NOT DISTINCT FROM $5"
			"  AND (r.job_name IS NOT NULL OR r.kind = 'submit' OR r.job_id = $6)"
			" FROM databricks.run_requests AS r"
			" WHERE r.workspace = $1 AND r.requested_by = $2"
			"  AND r.request_key = $3",
			lengthof(types), types, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "a request could not be found by its key");
	if (SPI_processed == 0)
		return 0;
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 2, &isnull)))
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("request_key \"%s\" is in use for another request",
					request->request_key),
			 errdetail(
				 "Request " INT64_FORMAT
				 " of workspace \"%s\" has this key, but another job or other parameters.",
				 id, workspace),
			 errhint(
				 "Give another key, or none; a request once made does not change.")));
	return id;
}

/* Once per session: it is the same for all requests. */
void
dbx_outbox_warn_without_worker(void)
{
	static bool warned = false;

	if (warned || dbx_shared_available())
		return;
	warned = true;
	ereport(
		WARNING,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("no background worker runs that could send the request"),
		 errdetail("It is kept, and sent when there is one."),
		 errhint(
			 "Add \"databricks\" to shared_preload_libraries and restart the server.")));
}

/* ---- requests that exist ---- */

const char *
dbx_outbox_cancel(int64 request_id)
{
	Oid			 types[] = {INT8OID, TEXTOID};
	Datum		 values[2];
	DbxExtension extension;
	DbxDataRole	 role;
	Found		 found;
	char		*canceler = GetUserNameFromId(GetUserId(), false);
	const char	*result = "canceled";
	Size		 length;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		no_such_request(request_id);
	find_request(request_id, true, &extension, &found);

	values[0] = Int64GetDatum(request_id);
	values[1] = CStringGetTextDatum(canceler);
	dbx_data_enter(&extension, &role);
	SPI_connect();
	if (!execute("UPDATE databricks.run_requests AS r SET state = 'canceled',"
				 " finished_at = clock_timestamp(), next_attempt_at = NULL,"
				 " announce = true, last_error = format('canceled by role %s', $2)"
				 " WHERE r.request_id = $1 AND r.state = 'queued'",
				 2, types, values, SPI_OK_UPDATE))
	{
		/* The worker has it in hand, or its run or itself has ended. */
		execute("INSERT INTO databricks.run_request_cancels AS c"
				" (request_id, canceled_by)"
				" SELECT r.request_id, $2 FROM databricks.run_requests AS r"
				" WHERE r.request_id = $1 AND r.state IN ('sending', 'running')"
				"  AND r.hook IS NULL"
				" ON CONFLICT DO NOTHING",
				2, types, values, SPI_OK_INSERT);
		execute("SELECT r.state FROM databricks.run_requests AS r"
				" WHERE r.request_id = $1",
				1, types, values, SPI_OK_SELECT);
		if (SPI_processed > 0)
			result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								  1);
	}
	length = strlen(result) + 1;
	result = memcpy(SPI_palloc(length), result, length);
	SPI_finish();
	dbx_data_leave(&role);
	dbx_worker_wake_at_commit();
	return result;
}

void
dbx_outbox_retry(int64 request_id)
{
	Oid			 types[] = {INT8OID};
	Datum		 values[1];
	DbxExtension extension;
	DbxDataRole	 role;
	Found		 found;
	bool		 done;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		no_such_request(request_id);
	find_request(request_id, false, &extension, &found);

	values[0] = Int64GetDatum(request_id);
	dbx_data_enter(&extension, &role);
	SPI_connect();
	done = execute("UPDATE databricks.run_requests AS r SET state = 'queued',"
				   " token = NULL, next_attempt_at = clock_timestamp(),"
				   " finished_at = NULL, expires_at = NULL, hook = NULL,"
				   " send_failures = 0,"
				   " ready = r.depends_on IS NULL AND r.after_requests IS NULL,"
				   " max_attempts = greatest(r.max_attempts, r.attempt + 1)"
				   " WHERE r.request_id = $1 AND r.finished_at IS NOT NULL"
				   "  AND r.state <> 'succeeded' AND r.hook IS NULL",
				   1, types, values, SPI_OK_UPDATE);
	execute("DELETE FROM databricks.run_request_cancels AS c"
			" WHERE c.request_id = $1",
			1, types, values, SPI_OK_DELETE);
	SPI_finish();
	dbx_data_leave(&role);
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("request " INT64_FORMAT " cannot be tried again",
						request_id),
				 errdetail("It is %s.", found.state),
				 errhint(
					 "Only what has ended without success can be tried again.")));
	dbx_worker_wake_at_commit();
	dbx_outbox_warn_without_worker();
}

void
dbx_outbox_look(int64 request_id, DbxRequestLook *look)
{
	DbxExtension extension;
	Found		 found;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		no_such_request(request_id);
	find_request(request_id, true, &extension, &found);
	look->finished = found.finished;
	look->uncommitted = strcmp(found.state, "queued") == 0 &&
		TransactionIdIsCurrentTransactionId(found.xmin);
	look->workspace = found.workspace;
	look->state = found.state;
	look->result_state = found.result_state;
	look->last_error = found.last_error;
	look->run_id = found.run_id;
}

/*
 * The request, if it is the current role's, or if the role owns its workspace
 * and "owner_too"; for everybody else it does not exist.
 */
static void
find_request(int64 request_id, bool owner_too, const DbxExtension *extension,
			 Found *found)
{
	Oid			  types[] = {INT8OID};
	Datum		  values[1];
	DbxDataRole	  role;
	MemoryContext context = CurrentMemoryContext;
	bool		  exists;
	bool		  isnull;

	values[0] = Int64GetDatum(request_id);
	dbx_data_enter(extension, &role);
	SPI_connect();
	exists = execute("SELECT r.workspace, r.requested_by, r.state,"
					 " r.result_state, r.last_error, r.run_id,"
					 " r.finished_at IS NOT NULL, r.xmin"
					 " FROM databricks.run_requests AS r"
					 " WHERE r.request_id = $1",
					 1, types, values, SPI_OK_SELECT);
	if (exists)
	{
		HeapTuple	  tuple = SPI_tuptable->vals[0];
		TupleDesc	  desc = SPI_tuptable->tupdesc;
		MemoryContext before = MemoryContextSwitchTo(context);

		found->workspace = SPI_getvalue(tuple, desc, 1);
		found->requested_by = SPI_getvalue(tuple, desc, 2);
		found->state = SPI_getvalue(tuple, desc, 3);
		found->result_state = SPI_getvalue(tuple, desc, 4);
		found->last_error = SPI_getvalue(tuple, desc, 5);
		found->run_id = DatumGetInt64(SPI_getbinval(tuple, desc, 6, &isnull));
		if (isnull)
			found->run_id = 0;
		found->finished = DatumGetBool(SPI_getbinval(tuple, desc, 7, &isnull));
		found->xmin = DatumGetTransactionId(
			SPI_getbinval(tuple, desc, 8, &isnull));
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	dbx_data_leave(&role);

	if (exists && superuser())
		return;
	if (exists &&
		strcmp(found->requested_by, GetUserNameFromId(GetUserId(), false)) == 0)
		return;
	if (exists && owner_too && owns_workspace(found->workspace))
		return;
	no_such_request(request_id);
}

static pg_noreturn void
no_such_request(int64 request_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no request " INT64_FORMAT, request_id),
			 errdetail("Requests of other roles do not count."),
			 errhint(
				 "SELECT request_id FROM databricks.run_requests; lists yours.")));
}

static bool
owns_workspace(const char *workspace)
{
	ForeignServer *server = GetForeignServerByName(workspace, true);

	return server != NULL && dbx_workspace_is_ours(server->serverid) &&
		object_ownercheck(ForeignServerRelationId, server->serverid,
						  GetUserId());
}

/* True if there were rows. */
static bool
execute(const char *sql, int nargs, Oid *types, Datum *values, int expected)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) !=
		expected)
		elog(ERROR, "\"%s\" failed", sql);
	return SPI_processed > 0;
}
