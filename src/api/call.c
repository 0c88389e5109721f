/*
 * call.c
 *	  Calls under way: started, limited to max_parallel, retried, ended.
 *
 * Separate from the transfers below because a call may take several of them.
 * What it owns is the list of all calls of this process that have not ended.
 * While any one is waited for, all are moved on, so a call that waits to be
 * tried again never holds up the others.
 *
 *	  WAITING --due, and a place is free--> AUTHENTICATING --token--> GRANTED
 *	     ^                                       |                       |due
 *	     |                                       +--no token--> ENDED <-SENT
 *	     +------ trouble that passes, or a token that is refused --------+
 *
 * GRANTED is a call that has reserved its request at the rate limiter, which says
 * when it may be sent.  It takes a place already, so that a process never reserves
 * more than it could send.
 *
 * A call lives in its own memory context below the one it was started in.  When
 * that goes away, in an abort for instance, the reset callback takes the call
 * off the list; its transfer goes by its own callback.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/internal.h"
#include "api/stat.h"
#include "auth/auth.h"
#include "http/limiter.h"

/* Far more than services accept; a page token of theirs may be of any size. */
#define MAX_QUERY (256 * 1024)

/* So many attempts fail in silence: with the usual pauses, some seconds. */
#define ATTEMPTS_BEFORE_TELLING 3
#define TELLING_PAUSE_MS		15000

typedef enum CallState
{
	CALL_WAITING,
	CALL_AUTHENTICATING,
	CALL_GRANTED,
	CALL_SENT,
	CALL_ENDED
} CallState;

struct DbxCall
{
	dlist_node			  node; /* in "calls" unless ended */
	bool				  listed;
	MemoryContext		  context;
	MemoryContextCallback on_reset;
	const DbxWorkspace	 *workspace;
	DbxAuth				 *auth;
	DbxCallSpec			  spec; /* its texts are copies */
	DbxEffect			  effect;
	CallState			  state;
	bool		 older_version; /* sent to 2.1 since 2.2 is not there */
	bool		 in_doubt;		/* an attempt may have been carried out */
	bool		 gone;			/* deleted already, by such an attempt */
	bool		 unauthorized;	/* ended since there was no token */
	int			 attempts;
	TimestampTz	 begun;	   /* first attempt */
	TimestampTz	 due;	   /* earliest next attempt, or look at the token */
	TimestampTz	 latest;   /* of the next attempt, 0: no end of patience */
	char		*endpoint; /* as statistics name it */
	DbxLimit	 limit;
	TimestampTz	 held_since; /* for the rate limit, 0: it is not */
	double		 held_ms;	 /* before the last attempt */
	DbxTransfer *transfer;	 /* the last one */
	DbxApiError *error;
};

static dlist_head calls = DLIST_STATIC_INIT(calls);

const char *dbx_api_forbidden = NULL;

/*
 * Hosts whose Jobs API is known to be older than 2.2, in TopMemoryContext.  They
 * are asked again after a while: workers live long, and 2.1 lacks large jobs.
 */
#define OLDER_HOST_MS (3600 * 1000)

typedef struct OlderHost
{
	char	   *host;
	TimestampTz seen;
} OlderHost;

static List *older_hosts = NIL;

static OlderHost *
find_older_host(const DbxWorkspace *workspace)
{
	ListCell *cell;

	foreach(cell, older_hosts)
	{
		OlderHost *older = lfirst(cell);

		if (strcmp(older->host, workspace->host) == 0)
			return older;
	}
	return NULL;
}

static bool
known_as_older(const DbxWorkspace *workspace)
{
	OlderHost *older;

	if (strcmp(workspace->jobs_api_version, "2.1") == 0)
		return true;
	older = find_older_host(workspace);
	return older != NULL &&
		!TimestampDifferenceExceeds(older->seen, GetCurrentTimestamp(),
									OLDER_HOST_MS);
}

static void
remember_as_older(const DbxWorkspace *workspace)
{
	OlderHost *older = find_older_host(workspace);

	if (older == NULL)
	{
		MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

		older = palloc(sizeof(OlderHost));
		older->host = pstrdup(workspace->host);
		older_hosts = lappend(older_hosts, older);
		MemoryContextSwitchTo(before);
	}
	older->seen = GetCurrentTimestamp();
}

static bool
is_newest_jobs_path(const char *path)
{
	return strncmp(path, "/api/2.2/jobs/", 14) == 0;
}

static void
use_older_version(DbxCall *call)
{
	memcpy(unconstify(char *, call->spec.path) + strlen("/api/"), "2.1", 3);
}

/*
 * Does the gateway say that there is no such route?  It may say so with an empty
 * body, or in words with status 400; a 404 of the API itself names an object.
 */
static bool
route_is_missing(const DbxApiError *error)
{
	if (error == NULL || (error->status != 400 && error->status != 404))
		return false;
	return strstr(error->message, "Bad Target") != NULL ||
		(error->status == 404 && error->sqlstate == ERRCODE_UNDEFINED_OBJECT &&
		 !error->not_found);
}

/* Reset callback: must not raise. */
static void
forget_call(void *arg)
{
	DbxCall *call = arg;

	if (call->listed)
		dlist_delete(&call->node);
	call->listed = false;
	if (call->state == CALL_GRANTED)
		dbx_limiter_give_back(&call->limit, call->due);
}

static const char *
user_agent(const DbxCall *call)
{
	return psprintf("%s%s%s", dbx_auth_user_agent(dbx_auth_name(call->auth)),
					call->spec.caller ? " function/" : "",
					call->spec.caller ? call->spec.caller : "");
}

/* The request is on its way: note what it had to wait for. */
static void
count_sending(DbxCall *call)
{
	call->held_ms = 0;
	if (call->held_since != 0)
		call->held_ms = (GetCurrentTimestamp() - call->held_since) / 1000.0;
	call->held_since = 0;
	if (call->spec.stats != NULL)
		call->spec.stats->quota_wait_ms += call->held_ms;
	dbx_stat_sent(call->workspace, call->endpoint, call->held_ms);
}

static bool
has_content(const DbxCall *call)
{
	return call->spec.content.bytes != NULL || call->spec.content.file != 0 ||
		call->spec.content.window != NULL;
}

static void
send_call(DbxCall *call)
{
	const DbxWorkspace *workspace = call->workspace;
	MemoryContext		before = MemoryContextSwitchTo(call->context);
	DbxHttpRequest		request = {0};

	if (call->transfer != NULL)
		dbx_http_free(call->transfer);
	call->transfer = NULL;
	call->error = NULL;

	/* credentials may have been renewed since the last attempt */
	request.headers = dbx_auth_headers(call->auth);
	request.headers = lappend(request.headers, (char *) user_agent(call));
	if (call->spec.into == NULL)
		request.headers = lappend(request.headers, "Accept: application/json");
	if (has_content(call))
		request.headers = lappend(request.headers,
								  psprintf("Content-Type: %s",
										   call->spec.content.type
											   ? call->spec.content.type
											   : "application/octet-stream"));
	else if (call->spec.body != NULL)
		request.headers = lappend(request.headers,
								  "Content-Type: application/json");
	if (workspace->workspace_id != NULL)
		request.headers = lappend(request.headers,
								  psprintf("X-Databricks-Workspace-Id: %s",
										   workspace->workspace_id));
	request.method = call->spec.method;
	request.url = psprintf("%s%s%s%s", workspace->host, call->spec.path,
						   call->spec.query == NULL			  ? ""
							   : strchr(call->spec.path, '?') ? "&"
															  : "?",
						   call->spec.query ? call->spec.query : "");
	request.body = call->spec.body;
	request.body_len = call->spec.body ? strlen(call->spec.body) : 0;
	if (has_content(call))
	{
		request.body = call->spec.content.bytes;
		request.body_len = call->spec.content.length;
		request.body_borrowed = true;
		request.window = call->spec.content.window;
		request.file = call->spec.content.file;
	}
	request.uncompressed = call->spec.uncompressed;
	request.into = call->spec.into;
	request.into_size = call->spec.into_size;
	/*
	 * libcurl repeats by itself what it sent over a connection that turns out
	 * dead.  Of a change we have to know how often it was sent.
	 */
	request.fresh_connection = call->effect != DBX_EFFECT_READ &&
		!call->spec.repeatable;
	request.allow_http = workspace->allow_http;
	request.connect_timeout = workspace->connect_timeout;
	request.timeout = workspace->request_timeout;
	request.ca_file = workspace->ca_file;
	request.proxy = workspace->proxy;
	request.max_response = workspace->max_response_size;

	if (call->attempts++ == 0)
		call->begun = GetCurrentTimestamp();
	call->transfer = dbx_http_start(&request);
	call->state = CALL_SENT;
	count_sending(call);
	MemoryContextSwitchTo(before);
}

static void
log_attempt(const DbxCall *call, const DbxHttpResponse *response, int64 delay)
{
	if (!message_level_is_interesting(DEBUG1))
		return;
	ereport(
		DEBUG1,
		(errmsg_internal(
			 "databricks: %s %s%s%s to workspace \"%s\": %s %d, %.0f ms, %zu bytes%s%s",
			 call->spec.method, call->spec.path, call->spec.query ? "?" : "",
			 call->spec.query ? dbx_redact(call->spec.query) : "",
			 call->workspace->name,
			 call->error ? call->error->message : "answered", response->status,
			 response->elapsed_ms, response->bytes_in,
			 call->held_ms == 0
				 ? ""
				 : psprintf(", held back %.0f ms for the rate limit",
							call->held_ms),
			 delay < 0
				 ? ""
				 : psprintf(", next attempt in " INT64_FORMAT " ms", delay)),
		 errhidestmt(true)));
}

/*
 * A person who waits for a statement should learn why, once it has gone on for
 * some time; those who log in bulk have the debug lines.
 */
static void
tell_patience(const DbxCall *call)
{
	static TimestampTz last_told = 0;
	TimestampTz		   now = GetCurrentTimestamp();

	/* calls in parallel have the same trouble */
	if (call->attempts < ATTEMPTS_BEFORE_TELLING || MyBackendType != B_BACKEND ||
		!TimestampDifferenceExceeds(last_told, now, TELLING_PAUSE_MS))
		return;
	last_told = now;
	ereport(NOTICE,
			(errmsg("%s", dbx_call_headline(call)),
			 errdetail("Trying again, for up to %d seconds.",
					   call->workspace->retry_timeout / 1000),
			 errhidecontext(true)));
}

static void
end_call(DbxCall *call)
{
	forget_call(call);
	call->state = CALL_ENDED;
	if (call->error != NULL && call->error->unknown_outcome &&
		call->effect == DBX_EFFECT_ONCE)
	{
		call->error->sqlstate = ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN;
		call->error->hint = MemoryContextStrdup(
			call->context,
			"The service may have carried it out; look there before you repeat it.");
	}
}

/*
 * What the attempts before say about this error.  A call that was perhaps
 * carried out once stays in doubt, whatever a later attempt is told; and if it
 * was to delete something, and that is not there any more, it is done.
 */
static void
weigh_doubt(DbxCall *call)
{
	if (call->effect == DBX_EFFECT_READ)
		return;
	if (call->in_doubt && call->error->not_found &&
		dbx_endpoint_deletes(call->spec.method, call->spec.path))
	{
		call->gone = true;
		call->error = NULL;
		return;
	}
	call->in_doubt |= call->error->unknown_outcome;
	call->error->unknown_outcome = call->in_doubt;
}

/* No token can be had: the call ends without being sent, or sent again. */
static void
end_without_token(DbxCall *call)
{
	MemoryContext		before = MemoryContextSwitchTo(call->context);
	const DbxAuthError *why = dbx_auth_error(call->auth);
	DbxApiError		   *error = palloc0(sizeof(DbxApiError));

	error->sqlstate = why->sqlstate;
	error->message = pstrdup(why->message);
	error->hint = why->hint ? pstrdup(why->hint) : NULL;
	error->passing = why->passing;
	error->unknown_outcome = call->in_doubt;
	call->error = error;
	call->unauthorized = true;
	end_call(call);
	MemoryContextSwitchTo(before);
}

/*
 * Ask the rate limiter when the call may be sent.  A retry that could not be sent
 * before patience ends is not waited for: the call ends with what it was told.
 */
static void
reserve_call(DbxCall *call)
{
	TimestampTz granted = dbx_limiter_reserve(&call->limit, call->latest);
	TimestampTz now = GetCurrentTimestamp();

	call->state = CALL_WAITING;
	if (granted == 0)
	{
		end_call(call);
		return;
	}
	if (granted > now && call->held_since == 0)
		call->held_since = now;
	call->state = CALL_GRANTED;
	call->due = granted;
}

/* Can the call be authorised?  If not, it waits for that, or ends. */
static bool
has_token(DbxCall *call)
{
	MemoryContext before = MemoryContextSwitchTo(call->context);
	TimestampTz	  look = call->due;
	DbxAuthState  state = dbx_auth_prepare(call->auth, &look);

	MemoryContextSwitchTo(before);
	if (state == DBX_AUTH_READY)
		return true;
	if (call->state == CALL_GRANTED)
		dbx_limiter_give_back(&call->limit, call->due);
	call->state = CALL_AUTHENTICATING;
	call->due = look;
	if (state == DBX_AUTH_FAILED)
		end_without_token(call);
	return false;
}

/* Send a call that has reserved its request, if its moment has come. */
static void
send_granted(DbxCall *call)
{
	while (call->state == CALL_GRANTED && call->due <= GetCurrentTimestamp())
	{
		if (!dbx_limiter_holds(&call->limit, call->due))
			reserve_call(call);
		else if (has_token(call))
			send_call(call);
	}
}

/* Did the service refuse the token rather than what was asked with it? */
static bool
token_was_refused(const DbxApiError *error)
{
	return error != NULL &&
		error->sqlstate == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION &&
		(error->status == 401 || error->status == 403);
}

static void
plan_retry(DbxCall *call, TimestampTz due)
{
	if (call->spec.stats != NULL)
		call->spec.stats->retries++;
	call->latest = call->begun +
		(TimestampTz) call->workspace->retry_timeout * 1000;
	/* others with a call of this kind would only be told the same */
	if (call->error->status == 429)
		dbx_limiter_pause(&call->limit, due);
}

/* An answer, or the lack of one, has come: end the call or plan another try. */
static void
take_answer(DbxCall *call)
{
	const DbxHttpResponse *response = dbx_http_response(call->transfer);
	MemoryContext		   before = MemoryContextSwitchTo(call->context);
	TimestampTz			   now = GetCurrentTimestamp();
	int64				   delay = -1;

	call->error = dbx_api_error(call->workspace, call->spec.path,
								call->transfer);
	if (call->spec.stats != NULL)
	{
		call->spec.stats->calls++;
		call->spec.stats->bytes_in += response->bytes_in;
		call->spec.stats->elapsed_ms += response->elapsed_ms;
	}
	if (route_is_missing(call->error) && is_newest_jobs_path(call->spec.path))
	{
		use_older_version(call);
		call->older_version = true;
		delay = 0;
	}
	/* whatever the method: refused before any work */
	else if (token_was_refused(call->error) && dbx_auth_refused(call->auth))
		delay = 0;
	else
	{
		if (call->older_version && !route_is_missing(call->error) &&
			response->status != 0)
			remember_as_older(call->workspace);
		if (call->error != NULL)
			weigh_doubt(call);
		if (call->error != NULL)
		{
			delay = dbx_retry_delay(call->error, response->failure,
									call->effect, response->maybe_sent,
									response->failure == DBX_HTTP_OK
										? dbx_http_header(call->transfer,
														  "Retry-After")
										: NULL,
									call->attempts, (now - call->begun) / 1000,
									call->workspace->retry_timeout);
			if (delay >= 0)
				plan_retry(call, now + delay * 1000);
		}
	}
	dbx_stat_answered(call->workspace, call->endpoint, response,
					  call->error != NULL, delay >= 0 && call->error != NULL);
	if (delay < 0 && token_was_refused(call->error))
		/* NOLINTNEXTLINE(clang-analyzer-core.*): without error none is refused */
		call->error->hint = dbx_auth_hint(call->auth);
	log_attempt(call, response, delay);
	if (delay < 0)
		end_call(call);
	else
	{
		call->state = CALL_WAITING;
		call->due = now + delay * 1000;
		if (delay > 0)
			tell_patience(call);
	}
	MemoryContextSwitchTo(before);
}

/* Calls of a workspace that have a request under way, or a moment to send it. */
static int
count_places(Oid serverid)
{
	dlist_iter iter;
	int		   count = 0;

	dlist_foreach(iter, &calls)
	{
		DbxCall *call = dlist_container(DbxCall, node, iter.cur);

		if ((call->state == CALL_GRANTED || call->state == CALL_SENT) &&
			call->workspace->serverid == serverid)
			count++;
	}
	return count;
}

/*
 * Move all calls on as far as they go without waiting.  Returns true if one
 * ended; else *next is when the earliest waiting call is due (0: none waits) and
 * *reason what it waits for.
 */
static bool
advance_calls(TimestampTz *next, DbxWaitReason *reason)
{
	TimestampTz		   now = GetCurrentTimestamp();
	bool			   ended = false;
	dlist_mutable_iter iter;

	*next = 0;
	*reason = DBX_WAIT_PAUSE;
	dlist_foreach_modify(iter, &calls)
	{
		DbxCall *call = dlist_container(DbxCall, node, iter.cur);

		if (call->state == CALL_SENT && dbx_http_response(call->transfer) != NULL)
		{
			take_answer(call);
			ended |= call->state == CALL_ENDED;
		}
	}
	dlist_foreach_modify(iter, &calls)
	{
		DbxCall *call = dlist_container(DbxCall, node, iter.cur);

		if (call->state != CALL_SENT && call->state != CALL_GRANTED &&
			call->due <= now &&
			count_places(call->workspace->serverid) <
				call->workspace->max_parallel &&
			has_token(call))
			reserve_call(call);
		send_granted(call);
		ended |= call->state == CALL_ENDED;
		if ((call->state == CALL_GRANTED ||
			 (call->state != CALL_SENT && call->due > now)) &&
			call->state != CALL_ENDED && (*next == 0 || call->due < *next))
		{
			*next = call->due;
			*reason = call->state == CALL_GRANTED ? DBX_WAIT_RATE_LIMIT
												  : DBX_WAIT_RETRY;
		}
	}
	return ended;
}

/* What the rate limiter and the statistics take the call for. */
static void
set_limit(DbxCall *call)
{
	DbxEndpoint endpoint;

	dbx_endpoint_describe(call->spec.method, call->spec.path, &endpoint);
	call->endpoint = endpoint.name;
	dbx_limiter_key(&call->limit, call->workspace->host, endpoint.class);
	call->limit.per_second = endpoint.per_second * call->workspace->rate_limit;
}

/* May this be called?  *body is what to send.  Returns what it does. */
static DbxEffect
check_call(const DbxCallSpec *spec, const char **body)
{
	DbxEffect effect;

	if (dbx_api_forbidden != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot call a workspace in %s", dbx_api_forbidden),
				 errhint("Enqueue a request: it is sent after the commit.")));
	dbx_api_check_path(spec->method, spec->path);
	if (spec->query != NULL && strlen(spec->query) > MAX_QUERY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the query string of %s %s has %zu bytes", spec->method,
						spec->path, strlen(spec->query)),
				 errdetail("No more than %d are sent.", MAX_QUERY),
				 errhint("Ask for fewer values at a time.")));
	/* the service speaks UTF-8 whatever the database does */
	*body = spec->body;
	if (*body != NULL)
		*body = dbx_json_to_utf8(*body);
	effect = dbx_endpoint_effect(spec->method, spec->path, *body);
	if (effect != DBX_EFFECT_READ && IsTransactionState() && XactReadOnly)
		ereport(
			ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot call %s %s in a read-only transaction",
					spec->method, spec->path),
			 errhint(
				 "It changes something in the workspace: use a read-write transaction, on the primary server.")));
	if (effect == DBX_EFFECT_ONCE && spec->repeatable)
		effect = DBX_EFFECT_IDEMPOTENT;
	return effect;
}

void
dbx_call_check(const DbxCallSpec *spec)
{
	const char *body;

	(void) check_call(spec, &body);
}

DbxCall *
dbx_call_start(const DbxWorkspace *workspace, const DbxCallSpec *spec)
{
	MemoryContext context;
	MemoryContext before;
	DbxCall		 *call;
	const char	 *body;
	DbxEffect	  effect = check_call(spec, &body);

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks call",
									ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	call = palloc0(sizeof(DbxCall));
	call->context = context;
	call->workspace = workspace;
	call->auth = dbx_auth_open(workspace);
	call->spec = *spec;
	call->spec.method = pstrdup(spec->method);
	call->spec.path = pstrdup(spec->path);
	call->spec.query = spec->query && *spec->query ? pstrdup(spec->query) : NULL;
	call->spec.body = body ? pstrdup(body) : NULL;
	call->spec.token = spec->token ? pstrdup(spec->token) : NULL;
	call->spec.caller = spec->caller ? pstrdup(spec->caller) : NULL;
	call->effect = effect;
	call->state = CALL_WAITING;
	if (is_newest_jobs_path(call->spec.path) && known_as_older(workspace))
		use_older_version(call);
	set_limit(call);
	call->on_reset.func = forget_call;
	call->on_reset.arg = call;
	MemoryContextRegisterResetCallback(context, &call->on_reset);
	dlist_push_tail(&calls, &call->node);
	call->listed = true;

	/* what else may come of it, comes when the call is waited for */
	if (count_places(workspace->serverid) < workspace->max_parallel &&
		dbx_auth_prepare(call->auth, &call->due) == DBX_AUTH_READY)
	{
		reserve_call(call);
		send_granted(call);
	}
	MemoryContextSwitchTo(before);
	return call;
}

bool
dbx_call_done(const DbxCall *call)
{
	return call->state == CALL_ENDED;
}

/*
 * Who interrupts a change has to know that it may have come about all the same.
 * Must not raise; libcurl is not asked, as it may be in the middle of something.
 */
static void
tell_interrupted(void *arg)
{
	dlist_iter iter;

	(void) arg;
	if (geterrcode() != ERRCODE_QUERY_CANCELED &&
		geterrcode() != ERRCODE_ADMIN_SHUTDOWN)
		return;
	dlist_foreach(iter, &calls)
	{
		DbxCall *call = dlist_container(DbxCall, node, iter.cur);

		if (call->effect == DBX_EFFECT_READ ||
			(call->state != CALL_SENT && !call->in_doubt))
			continue;
		errcontext("%s %s, which workspace \"%s\" may have carried out%s%s%s",
				   call->spec.method, dbx_redact(call->spec.path),
				   call->workspace->name,
				   call->spec.token ? " (idempotency_token => '" : "",
				   call->spec.token ? call->spec.token : "",
				   call->spec.token ? "')" : "");
	}
}

bool
dbx_calls_progress(TimestampTz deadline)
{
	ErrorContextCallback callback = {0};
	TimestampTz			 next;
	DbxWaitReason		 reason;
	bool				 passed;

	if (advance_calls(&next, &reason))
		return false;
	if (next == 0 || (deadline != 0 && deadline < next))
		next = deadline;
	callback.callback = tell_interrupted;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	passed = dbx_http_wait_for(next, reason);
	error_context_stack = callback.previous;
	if (advance_calls(&next, &reason))
		return false;
	return passed && deadline != 0 && GetCurrentTimestamp() >= deadline;
}

int64
dbx_call_starved(const DbxCall *call)
{
	return call->state == CALL_SENT ? dbx_http_starved(call->transfer) : -1;
}

void
dbx_call_more(DbxCall *call)
{
	dbx_http_more(call->transfer);
}

void
dbx_call_wait(DbxCall *call)
{
	while (!dbx_call_done(call))
		(void) dbx_calls_progress(0);
}

const DbxApiError *
dbx_call_error(const DbxCall *call)
{
	Assert(call->state == CALL_ENDED);
	return call->error;
}

int
dbx_call_status(const DbxCall *call)
{
	if (call->gone)
		return 200;
	return call->transfer && !call->unauthorized
		? dbx_http_response(call->transfer)->status
		: 0;
}

Size
dbx_call_into_len(const DbxCall *call)
{
	return dbx_http_response(call->transfer)->into_len;
}

const char *
dbx_call_header(const DbxCall *call, const char *name)
{
	return dbx_http_header(call->transfer, name);
}

DbxJson *
dbx_call_try_json(DbxCall *call, char **why)
{
	const DbxHttpResponse *response = dbx_http_response(call->transfer);
	const char			  *body = dbx_call_body(call);
	const char			  *code;
	const char			  *text;
	DbxJson				  *answer;

	/* writes may answer with nothing, a question must have an answer */
	if (body[strspn(body, " \t\r\n")] == '\0' &&
		(response->status == 204 || strcmp(call->spec.method, "GET") != 0))
		return dbx_json_try_parse("{}", 2, why);
	answer = dbx_json_try_parse_part(body,
									 call->gone ? strlen(body)
												: response->body_len,
									 call->spec.projection, why);
	if (answer == NULL)
		return NULL;
	if (dbx_json_type(answer) != DBX_JSON_OBJECT)
	{
		*why = pstrdup("It is valid JSON, but not an object.");
		return NULL;
	}
	code = dbx_json_text(dbx_json_get(answer, "error_code"));
	text = dbx_json_string(dbx_json_get(answer, "message"));
	if (code == NULL || text == NULL)
		return answer;
	*why = psprintf("It is an error with status %d, %s: %s", response->status,
					dbx_redact(code), dbx_redact(text));
	return NULL;
}

DbxJson *
dbx_call_json(DbxCall *call)
{
	char	*why = NULL;
	DbxJson *answer = dbx_call_try_json(call, &why);

	if (answer != NULL)
		return answer;
	if (call->effect == DBX_EFFECT_ONCE)
		ereport(
			ERROR,
			(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
			 errmsg("workspace \"%s\" accepted %s %s, but its answer cannot be read",
					call->workspace->name, call->spec.method, call->spec.path),
			 errdetail("%s", why),
			 errhint(
				 "The call was probably carried out; look there before you repeat it.")));
	ereport(ERROR,
			(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
			 errmsg("could not read the answer of workspace \"%s\" to %s %s",
					call->workspace->name, call->spec.method, call->spec.path),
			 errdetail("%s", why),
			 errhint("Check that %s is the address of a workspace.",
					 call->workspace->host)));
}

const char *
dbx_call_body(const DbxCall *call)
{
	return call->gone ? "{}" : dbx_http_response(call->transfer)->body;
}

char *
dbx_call_headline(const DbxCall *call)
{
	const DbxApiError *error = call->error;
	const char		  *name = call->workspace->name;

	if (call->unauthorized &&
		error->sqlstate != ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN)
		return psprintf("no token for workspace \"%s\": %s", name,
						error->message);
	switch (error->sqlstate)
	{
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
			if (error->status == 401 || error->status == 403)
				return psprintf("the token was refused by workspace \"%s\": %s",
								name, error->message);
			return psprintf("no access to workspace \"%s\": %s", name,
							error->message);
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return psprintf("permission denied by workspace \"%s\": %s", name,
							error->message);
		case ERRCODE_UNDEFINED_OBJECT:
			return psprintf("not found in workspace \"%s\": %s", name,
							error->message);
		case ERRCODE_CONFIGURATION_LIMIT_EXCEEDED:
			return psprintf("limit of workspace \"%s\" reached: %s", name,
							error->message);
		case ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN:
			return psprintf("outcome of a call to workspace \"%s\" is unknown: %s",
							name, error->message);
		case ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION:
			return psprintf("could not reach workspace \"%s\" at %s: %s", name,
							call->workspace->host, error->message);
		default:
			if (error->status == 0)
				return psprintf("call of workspace \"%s\" failed: %s", name,
								error->message);
			return psprintf("workspace \"%s\" reports: %s", name,
							error->message);
	}
}

DbxJson *
dbx_call_outcome(DbxCall *call, char **error)
{
	char	*why = NULL;
	DbxJson *answer;

	*error = NULL;
	if (call->error != NULL)
	{
		*error = dbx_call_headline(call);
		return NULL;
	}
	answer = dbx_call_try_json(call, &why);
	if (answer == NULL)
		*error = psprintf("%s%s", dbx_api_unreadable(why)->message,
						  call->effect == DBX_EFFECT_ONCE
							  ? " The call was probably carried out."
							  : "");
	return answer;
}

char *
dbx_call_detail(const DbxCall *call)
{
	const DbxApiError *error = call->error;
	StringInfoData	   detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "%s %s", call->spec.method, call->spec.path);
	if (error->status != 0)
	{
		appendStringInfo(&detail, " answered %d", error->status);
		/* some repeat the status as their code */
		if (error->code != NULL &&
			strcmp(error->code, psprintf("%d", error->status)) != 0)
			appendStringInfo(&detail, " %s", error->code);
	}
	else
		appendStringInfoString(&detail,
							   call->unauthorized ? " was not sent"
												  : " got no answer");
	if (call->attempts > 1 && !call->unauthorized)
		appendStringInfo(&detail, " (last of %d attempts)", call->attempts);
	if (error->request_id != NULL)
		appendStringInfo(&detail, ", request id %s", error->request_id);
	appendStringInfoChar(&detail, '.');
	if (call->in_doubt &&
		error->sqlstate != ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN)
		appendStringInfo(&detail, " %s may have been carried out.",
						 call->attempts > 1 ? "One of the attempts" : "It");
	if (error->details != NULL)
		appendStringInfo(&detail, "\nThe service adds: %s", error->details);
	return detail.data;
}

void
dbx_call_raise(const DbxCall *call)
{
	const DbxApiError *error = call->error;

	ereport(ERROR,
			(errcode(error->sqlstate), errmsg("%s", dbx_call_headline(call)),
			 errdetail("%s", dbx_call_detail(call)),
			 error->hint ? errhint("%s", error->hint) : 0));
}

void
dbx_call_free(DbxCall *call)
{
	MemoryContextDelete(call->context);
}

DbxJson *
dbx_call(const DbxWorkspace *workspace, const DbxCallSpec *spec)
{
	DbxCall *call = dbx_call_start(workspace, spec);
	DbxJson *answer;

	dbx_call_wait(call);
	if (call->error != NULL)
		dbx_call_raise(call);
	answer = dbx_call_json(call);
	dbx_call_free(call);
	return answer;
}
