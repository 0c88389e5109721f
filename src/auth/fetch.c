/*
 * fetch.c
 *	  Getting a token: a few HTTP exchanges, one after the other.
 *
 * Separate because all ways to a token share it: sending, repeating, reading the
 * answer, and saying what went wrong without saying what was sent.  Providers
 * only know what to ask for.
 *
 *	  request --> attempt --answer--> take --> next request
 *	     ^           |                  +----> token
 *	     +- trouble -+----> error
 *
 * What is repeated here differs from calls of the API, as the vendor's clients
 * do it: 429, 502, 503, 504 and network errors, for a minute in all.  A body of
 * a token endpoint is never shown, but for the two members that explain an
 * error.
 */
#include "postgres.h"

#include "common/int.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "auth/providers.h"
#include "json/json.h"
#include "workspace/option.h"

#define TIMEOUT_MS				 30000
#define METADATA_TIMEOUT_MS		 10000
#define LARGEST_ANSWER			 (1024 * 1024)
#define LONGEST_EXPLANATION		 300
#define LONGEST_LIFE_S			 (365 * 24 * 3600)
#define UNTOLD_LIFE_S			 600 /* it may be refused before: then a new one */
#define FIRST_BACKOFF_MS		 1000
#define LARGEST_BACKOFF_MS		 60000
#define LEAST_WAIT_MS			 50
#define MALFORMED_RETRY_AFTER_MS 1000

DbxFetch *
dbx_fetch_start(const DbxAuthProvider *provider, const DbxWorkspace *workspace,
				bool second, const char *found, int patience_ms)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "databricks token fetch",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	DbxFetch	 *fetch = palloc0(sizeof(DbxFetch));

	fetch->context = context;
	fetch->workspace = dbx_option_copy(workspace);
	fetch->provider = provider;
	fetch->second = second;
	fetch->found = found ? pstrdup(found) : NULL;
	fetch->patience = GetCurrentTimestamp() + patience_ms * INT64CONST(1000);
	MemoryContextSwitchTo(before);
	return fetch;
}

void
dbx_fetch_free(DbxFetch *fetch)
{
	if (fetch->token != NULL)
		explicit_bzero(fetch->token, strlen(fetch->token));
	MemoryContextDelete(fetch->context);
}

void
dbx_fetch_fail(DbxFetch *fetch, int sqlstate, const char *message,
			   const char *hint)
{
	MemoryContext before = MemoryContextSwitchTo(fetch->context);

	fetch->over = true;
	fetch->error.sqlstate = sqlstate;
	fetch->error.message = pstrdup(dbx_redact(message));
	fetch->error.hint = hint ? pstrdup(hint) : NULL;
	fetch->error.passing = false;
	MemoryContextSwitchTo(before);
}

/* Words of a stranger on one line, not too many, and none of ours. */
static char *
explanation(const char *text)
{
	char *line = pstrdup(dbx_redact(text));
	char *at;
	int	  length = strlen(line);

	for (at = line; *at; at++)
	{
		if ((unsigned char) *at < ' ' || *at == 0x7f)
			*at = ' ';
	}
	if (length > LONGEST_EXPLANATION)
	{
		line[pg_mbcliplen(line, length, LONGEST_EXPLANATION)] = '\0';
		return psprintf("%s ...", line);
	}
	return line;
}

/* "the token endpoint https://..." */
static char *
place(const DbxFetch *fetch)
{
	return psprintf("%s %s", fetch->exchange.what, fetch->exchange.url);
}

static char *
tries(const DbxFetch *fetch)
{
	return fetch->attempts > 1
		? psprintf(" (last of %d attempts)", fetch->attempts)
		: pstrdup("");
}

static void
send_request(DbxFetch *fetch)
{
	const DbxWorkspace *workspace = fetch->workspace;
	DbxExchange		   *exchange = &fetch->exchange;
	DbxHttpRequest		request = {0};

	memset(exchange, 0, sizeof(DbxExchange));
	fetch->provider->request(fetch);
	if (fetch->over)
		return;
	if (!exchange->known && !dbx_workspace_may_visit(workspace, exchange->url))
	{
		dbx_fetch_fail(
			fetch, ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
			psprintf("%s is refused", explanation(place(fetch))),
			"Use https://; http:// is accepted for loopback hosts of servers owned by a superuser only.");
		return;
	}
	request.method = exchange->form ? "POST" : "GET";
	request.url = exchange->query
		? psprintf("%s?%s", exchange->url, exchange->query)
		: exchange->url;
	request.headers = lappend(exchange->headers,
							  dbx_auth_user_agent(fetch->provider->name));
	request.headers = lappend(request.headers, "Accept: application/json");
	if (exchange->form != NULL)
		request.headers = lappend(
			request.headers, "Content-Type: application/x-www-form-urlencoded");
	request.body = exchange->form;
	request.body_len = exchange->form ? strlen(exchange->form) : 0;
	request.allow_http = strncmp(exchange->url, "http://", 7) == 0;
	request.connect_timeout = workspace->connect_timeout;
	request.timeout = Min(workspace->request_timeout,
						  exchange->metadata ? METADATA_TIMEOUT_MS : TIMEOUT_MS);
	request.ca_file = workspace->ca_file;
	request.proxy = exchange->metadata ? NULL : workspace->proxy;
	request.max_response = LARGEST_ANSWER;
	fetch->attempts++;
	fetch->sent = GetCurrentTimestamp();
	fetch->transfer = dbx_http_start(&request);
}

/* Is this trouble that passes? */
static bool
is_passing(const DbxHttpResponse *response)
{
	switch (response->failure)
	{
		case DBX_HTTP_OK:
			return response->status == 429 ||
				(response->status >= 502 && response->status <= 504);
		case DBX_HTTP_TLS:
			return strstr(response->error, "certificate") == NULL;
		case DBX_HTTP_REFUSED:
		case DBX_HTTP_CONNECT_TIMEOUT:
		case DBX_HTTP_TIMEOUT:
		case DBX_HTTP_BROKEN:
			return true;
		default:
			return false;
	}
}

/* Milliseconds until the next attempt, -1 for none. */
static int64
next_attempt(const DbxFetch *fetch)
{
	const char *wanted = dbx_http_header(fetch->transfer, "Retry-After");
	int64		delay;

	if (fetch->exchange.impatient)
		return -1;
	if (wanted != NULL)
	{
		delay = dbx_http_retry_after(wanted);
		if (delay < 0)
			delay = MALFORMED_RETRY_AFTER_MS;
	}
	else
	{
		int64 most = FIRST_BACKOFF_MS;
		int	  i;

		for (i = 1; i < fetch->attempts && most < LARGEST_BACKOFF_MS; i++)
			most *= 2;
		delay = (int64) (pg_prng_double(&pg_global_prng_state) *
						 Min(most, LARGEST_BACKOFF_MS));
	}
	delay = Max(delay, LEAST_WAIT_MS);
	return GetCurrentTimestamp() + delay * 1000 > fetch->patience ? -1 : delay;
}

static void
log_attempt(const DbxFetch *fetch, const DbxHttpResponse *response, int64 delay)
{
	if (!message_level_is_interesting(DEBUG1))
		return;
	ereport(DEBUG1,
			(errmsg_internal(
				 "databricks: %s %s for workspace \"%s\": %s %d, %.0f ms%s",
				 fetch->exchange.form ? "POST" : "GET",
				 dbx_redact(fetch->exchange.url), fetch->workspace->name,
				 response->failure == DBX_HTTP_OK ? "answered"
												  : explanation(response->error),
				 response->status, response->elapsed_ms,
				 delay < 0
					 ? ""
					 : psprintf(", next attempt in " INT64_FORMAT " ms", delay)),
			 errhidestmt(true)));
}

/* No answer, or one that refuses. */
static void
take_refusal(DbxFetch *fetch, const DbxHttpResponse *response)
{
	const char *words = "";
	int			sqlstate = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
	const char *hint = NULL;
	bool		passing = is_passing(response) || response->status >= 500;

	if (response->failure != DBX_HTTP_OK)
	{
		dbx_fetch_fail(fetch, sqlstate,
					   psprintf("%s cannot be reached: %s%s", place(fetch),
								explanation(response->error), tries(fetch)),
					   NULL);
		fetch->error.passing = passing;
		return;
	}
	if (response->body_len > 0)
	{
		char	*why;
		DbxJson *answer = dbx_json_try_parse(response->body, response->body_len,
											 &why);
		const char *code = dbx_json_string(dbx_json_get(answer, "error"));
		const char *text = dbx_json_string(
			dbx_json_get(answer, "error_description"));

		/* as gateways do it */
		if (code == NULL && text == NULL)
			text = dbx_json_string(dbx_json_path(answer, "error.message"));
		if (code != NULL || text != NULL)
			words = psprintf(": %s%s%s", code ? explanation(code) : "",
							 code && text ? ": " : "",
							 text ? explanation(text) : "");
	}
	if (response->status == 400 || response->status == 401 ||
		response->status == 403)
	{
		sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		hint = psprintf("Check %s.", fetch->provider->remedy);
	}
	dbx_fetch_fail(fetch, sqlstate,
				   psprintf("%s answered %d%s%s", place(fetch),
							response->status, words, tries(fetch)),
				   hint);
	fetch->error.passing = passing;
}

static void
take_nonsense(DbxFetch *fetch, const char *what)
{
	dbx_fetch_fail(fetch, ERRCODE_FDW_UNABLE_TO_CREATE_REPLY,
				   psprintf("%s answered %s", place(fetch), what),
				   "Check that this is the address where tokens are given out.");
}

/*
 * When a token of this answer expires; false if it does not say so sensibly.
 * A time from now needs no agreement of clocks.  To say nothing is allowed.
 */
static bool
read_expiry(const DbxFetch *fetch, const DbxJson *answer, TimestampTz *expires)
{
	int64 life;

	if (dbx_json_get(answer, "expires_in") != NULL)
	{
		if (!dbx_json_int64(dbx_json_get(answer, "expires_in"), &life))
			return false;
	}
	else if (dbx_json_get(answer, "expires_on") == NULL)
		life = UNTOLD_LIFE_S;
	else if (dbx_json_int64(dbx_json_get(answer, "expires_on"), &life))
	{
		if (pg_sub_s64_overflow(life, timestamptz_to_time_t(fetch->sent), &life))
			return false;
	}
	else
		return false;
	if (life <= 0)
		return false;
	*expires = fetch->sent + Min(life, LONGEST_LIFE_S) * USECS_PER_SEC;
	return true;
}

static void
read_token(DbxFetch *fetch, const DbxHttpResponse *response)
{
	char	   *why;
	DbxJson	   *answer;
	const char *token;
	const char *type;
	const char *at;

	answer = dbx_json_try_parse(response->body, response->body_len, &why);
	if (dbx_json_type(answer) != DBX_JSON_OBJECT)
	{
		take_nonsense(fetch,
					  response->body[strspn(response->body, " \t\r\n")] == '<'
						  ? "with a web page instead of a token"
						  : "with something else than a token");
		return;
	}
	token = dbx_json_string(dbx_json_get(answer, "access_token"));
	dbx_redact_secret(token);
	type = dbx_json_string(dbx_json_get(answer, "token_type"));
	for (at = token; at != NULL && *at; at++)
	{
		if ((unsigned char) *at <= ' ' || (unsigned char) *at >= 0x7f)
			token = NULL;
		if (token == NULL)
			break;
	}
	if (token == NULL || *token == '\0')
		take_nonsense(fetch, "without an access token");
	else if (type != NULL && pg_strcasecmp(type, "Bearer") != 0)
		take_nonsense(fetch, "with a token that is no bearer token");
	else if (!read_expiry(fetch, answer, &fetch->expires))
		take_nonsense(fetch, "without a time for which the token is good");
	else
	{
		fetch->token = pstrdup(token);
		fetch->over = true;
	}
}

static void
take_answer(DbxFetch *fetch)
{
	const DbxHttpResponse *response = dbx_http_response(fetch->transfer);
	bool				   answered = response->failure == DBX_HTTP_OK &&
		((response->status >= 200 && response->status < 300) ||
		 (fetch->exchange.redirect && response->status >= 300 &&
		  response->status < 400));
	int64 delay = is_passing(response) ? next_attempt(fetch) : -1;

	log_attempt(fetch, response, delay);
	if (delay >= 0)
	{
		fetch->due = GetCurrentTimestamp() + delay * 1000;
		dbx_http_free(fetch->transfer);
		fetch->transfer = NULL;
		return;
	}
	if (!answered && !fetch->exchange.optional)
		take_refusal(fetch, response);
	else if (answered && fetch->exchange.last)
		read_token(fetch, response);
	else
		fetch->provider->take(fetch, answered ? fetch->transfer : NULL);
	dbx_http_free(fetch->transfer);
	fetch->transfer = NULL;
	fetch->attempts = 0;
}

bool
dbx_fetch_advance(DbxFetch *fetch, TimestampTz *due)
{
	MemoryContext before = MemoryContextSwitchTo(fetch->context);

	*due = 0;
	while (!fetch->over)
	{
		if (fetch->transfer == NULL)
		{
			if (fetch->due > GetCurrentTimestamp())
			{
				*due = fetch->due;
				break;
			}
			send_request(fetch);
		}
		else if (dbx_http_response(fetch->transfer) != NULL)
			take_answer(fetch);
		else
			break;
	}
	MemoryContextSwitchTo(before);
	return fetch->over;
}
