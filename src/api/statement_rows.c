/*
 * statement_rows.c
 *	  The rows that a SQL statement returned, chunk by chunk.
 *
 * Separate because chunks come in two ways: in an answer of the service, or from
 * a cloud store by a link that the service gives for some minutes.  Such a link
 * carries its own right: it is asked for just before it is used, goes there without
 * our credentials, and is in no message.  Some chunks are fetched ahead while the
 * first are read, so no more of them are ever in memory.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/internal.h"
#include "api/statement.h"
#include "http/http.h"

#define LINK_ATTEMPTS 4
#define LINK_PAUSE_MS 200 /* before the second attempt, then longer */
/* Chunks in a store are of many MB. */
#define LINKS_AHEAD 4

/* One chunk on its way, with the memory it will need. */
typedef struct Chunk
{
	MemoryContext context;
	int			  number;
	DbxCall		 *call;		/* for the rows, or for the link */
	DbxTransfer	 *transfer; /* of the store */
	int			  attempts;
	TimestampTz	  due; /* of the next attempt, 0: none is waited for */
	DbxJson		 *rows;
} Chunk;

static void
start_chunk(const DbxStatement *statement, Chunk *chunk)
{
	DbxCallSpec spec = {0};

	spec.method = "GET";
	spec.path = dbx_statement_path(statement,
								   psprintf("/result/chunks/%d", chunk->number));
	spec.caller = statement->caller;
	chunk->due = 0;
	chunk->call = dbx_call_start(statement->workspace, &spec);
}

/* Where nobody said how many chunks there are, one that has a next one does. */
static void
note_next(DbxStatement *statement, const DbxJson *part)
{
	int64 next;

	if (statement->chunks_uncounted &&
		dbx_json_int64(dbx_json_get(part, "next_chunk_index"), &next) &&
		next == statement->chunks)
		statement->chunks++;
}

/* Headers that the store wants; they must not become others. */
static List *
store_headers(const DbxJson *link)
{
	List		  *headers = NIL;
	const DbxJson *header;

	for (header = dbx_json_first(dbx_json_get(link, "http_headers"));
		 header != NULL; header = dbx_json_next(header))
	{
		const char *value = dbx_json_string(header);
		char	   *line;

		if (value == NULL)
			continue;
		line = psprintf("%s: %s", dbx_json_name(header), value);
		if (strpbrk(line, "\r\n") == NULL &&
			pg_strncasecmp(line, "authorization", 13) != 0)
			headers = lappend(headers, line);
	}
	return headers;
}

static void
follow_link(DbxStatement *statement, Chunk *chunk, const DbxJson *answer)
{
	const DbxWorkspace *workspace = statement->workspace;
	const DbxJson	   *link;
	const char		   *url;
	int64				index = -1;
	DbxHttpRequest		request = {0};

	for (link = dbx_json_first(dbx_json_get(answer, "external_links"));
		 link != NULL; link = dbx_json_next(link))
	{
		if (dbx_json_int64(dbx_json_get(link, "chunk_index"), &index) &&
			index == chunk->number)
			break;
	}
	url = dbx_json_string(dbx_json_get(link, "external_link"));
	if (url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("workspace \"%s\" gave no link to part %d of a result",
						workspace->name, chunk->number)));
	if (!dbx_workspace_may_fetch(workspace, url))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("link of workspace \"%s\" to a result is refused",
						workspace->name),
				 errdetail("It is no plain address beginning with https.")));
	note_next(statement, link);
	request.method = "GET";
	request.url = url;
	request.headers = store_headers(link);
	request.allow_http = strncmp(url, "http://", 7) == 0;
	request.connect_timeout = workspace->connect_timeout;
	request.timeout = workspace->request_timeout;
	request.ca_file = workspace->ca_file;
	request.proxy = workspace->proxy;
	request.max_response = workspace->max_response_size;
	chunk->transfer = dbx_http_start(&request);
}

static pg_noreturn void
raise_unfetched(const DbxStatement *statement, const Chunk *chunk,
				const DbxHttpResponse *response)
{
	bool too_large = response->failure == DBX_HTTP_TOO_LARGE;

	ereport(
		ERROR,
		(errcode(too_large ? ERRCODE_PROGRAM_LIMIT_EXCEEDED
						   : ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
		 errmsg("could not fetch part %d of a result from the store of workspace \"%s\"",
				chunk->number, statement->workspace->name),
		 response->failure == DBX_HTTP_OK
			 ? errdetail("The store answered %d, after %d attempts.",
						 response->status, chunk->attempts)
			 : errdetail("%s", dbx_redact(response->error)),
		 too_large
			 ? errhint("Raise max_response_size of the server.")
			 : errhint(
				   "This server must be able to reach the cloud store; SET databricks.external_links = off goes without it, for results of up to 25 MB.")));
}

/* The store has answered: rows, or another attempt with a new link. */
static void
take_from_store(const DbxStatement *statement, Chunk *chunk)
{
	const DbxHttpResponse *response = dbx_http_response(chunk->transfer);
	char				  *why;

	chunk->attempts++;
	if (response->failure == DBX_HTTP_OK && response->status == 200)
	{
		chunk->rows = dbx_json_try_parse(response->body, response->body_len,
										 &why);
		if (dbx_json_type(chunk->rows) != DBX_JSON_ARRAY)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("could not read part %d of a result of workspace \"%s\"",
						chunk->number, statement->workspace->name),
				 errdetail("%s", why ? why : "It is no array.")));
	}
	else if (chunk->attempts == LINK_ATTEMPTS ||
			 response->failure == DBX_HTTP_TOO_LARGE ||
			 response->failure == DBX_HTTP_NO_MEMORY)
		raise_unfetched(statement, chunk, response);
	else
		chunk->due = GetCurrentTimestamp() +
			(LINK_PAUSE_MS * INT64CONST(1000) << chunk->attempts);
	dbx_http_free(chunk->transfer);
	chunk->transfer = NULL;
}

/* Move a chunk on as far as it goes; "next" comes down to when it is due. */
static void
advance_chunk(DbxStatement *statement, Chunk *chunk, TimestampTz *next)
{
	MemoryContext before = MemoryContextSwitchTo(chunk->context);

	if (chunk->due != 0 && chunk->due <= GetCurrentTimestamp())
		start_chunk(statement, chunk);
	if (chunk->call != NULL && dbx_call_done(chunk->call))
	{
		DbxJson *answer;

		if (dbx_call_error(chunk->call) != NULL)
			dbx_call_raise(chunk->call);
		answer = dbx_call_json(chunk->call);
		if (statement->by_links)
			follow_link(statement, chunk, answer);
		else
		{
			chunk->rows = (DbxJson *) dbx_json_get(answer, "data_array");
			note_next(statement, answer);
		}
		dbx_call_free(chunk->call);
		chunk->call = NULL;
	}
	if (chunk->transfer != NULL && dbx_http_response(chunk->transfer) != NULL)
		take_from_store(statement, chunk);
	if (chunk->due != 0 && (*next == 0 || chunk->due < *next))
		*next = chunk->due;
	MemoryContextSwitchTo(before);
}

static bool
has_come(const Chunk *chunk)
{
	return chunk->call == NULL && chunk->transfer == NULL && chunk->due == 0;
}

/* Hand the rows of a chunk out; only a result without rows has none at all. */
static void
hand_out(DbxStatement *statement, const DbxJson *rows, int number,
		 void (*take)(void *arg, const DbxJson *rows), void *arg)
{
	if (dbx_json_type(rows) != DBX_JSON_ARRAY && (rows != NULL || number > 0))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("part %d of a result of workspace \"%s\" holds no rows",
						number, statement->workspace->name)));
	statement->rows += dbx_json_length(rows);
	take(arg, rows);
}

/* Part of a result must not look like all of it. */
static void
check_whole(const DbxStatement *statement)
{
	int64 told;

	if (dbx_json_int64(dbx_json_path(statement->result,
									 "manifest.total_row_count"),
					   &told) &&
		told != statement->rows)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("workspace \"%s\" gave " INT64_FORMAT
						" rows of a result that has " INT64_FORMAT,
						statement->workspace->name, statement->rows, told),
				 errdetail("Statement %s.", statement->id)));
}

void
dbx_statement_rows(DbxStatement *statement,
				   void (*take)(void *arg, const DbxJson *rows), void *arg)
{
	int	   first = statement->by_links ? 0 : 1;
	int	   most = statement->workspace->max_parallel;
	int	   ahead;
	Chunk *chunks;
	int	   number;

	if (!statement->by_links)
		note_next(statement, dbx_json_get(statement->result, "result"));
	if (statement->chunks_uncounted)
		most = 1;
	else if (statement->by_links)
		most = Min(most, LINKS_AHEAD);
	ahead = Min(most, Max(statement->chunks - first, 0));
	chunks = palloc0(sizeof(Chunk) * (ahead + 1));

	/* chunk n is at place n modulo "ahead" */
	for (number = first; number < first + ahead; number++)
	{
		Chunk		 *chunk = &chunks[number % ahead];
		MemoryContext before;

		chunk->context = AllocSetContextCreate(CurrentMemoryContext,
											   "databricks chunk",
											   ALLOCSET_DEFAULT_SIZES);
		chunk->number = number;
		before = MemoryContextSwitchTo(chunk->context);
		start_chunk(statement, chunk);
		MemoryContextSwitchTo(before);
	}
	if (!statement->by_links)
		hand_out(statement,
				 dbx_json_path(statement->result, "result.data_array"), 0, take,
				 arg);
	for (number = first; number < statement->chunks; number++)
	{
		Chunk		 *chunk = &chunks[number % ahead];
		MemoryContext before;

		while (!has_come(chunk))
		{
			TimestampTz next = 0;
			int			i;

			for (i = 0; i < ahead; i++)
				advance_chunk(statement, &chunks[i], &next);
			if (!has_come(chunk))
				(void) dbx_calls_progress(next);
		}
		before = MemoryContextSwitchTo(chunk->context);
		hand_out(statement, chunk->rows, number, take, arg);
		MemoryContextSwitchTo(before);
		MemoryContextReset(chunk->context);
		chunk->rows = NULL;
		chunk->attempts = 0;
		chunk->number = number + ahead;
		if (chunk->number >= statement->chunks)
			continue;
		before = MemoryContextSwitchTo(chunk->context);
		start_chunk(statement, chunk);
		MemoryContextSwitchTo(before);
	}
	check_whole(statement);
}
