/*
 * http.c
 *	  Requests that are answered from the input of the fuzzer.
 *
 * Separate because it stands in for transfers and the clock; linked with
 * --wrap, so that what has no name here is the extension's own.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fuzz.h"
#include "http/http.h"
#include "workspace/option.h"

#define UNIT_SEPARATOR	 0x1f
#define RECORD_SEPARATOR 0x1e

struct DbxTransfer
{
	DbxHttpResponse response;
	char		   *headers;
};

static const char *answers;
static const char *answers_end;
static TimestampTz now;

extern DbxTransfer *__wrap_dbx_http_start(const DbxHttpRequest *request);
extern const DbxHttpResponse *__wrap_dbx_http_response(DbxTransfer *transfer);
extern const char			 *__wrap_dbx_http_header(DbxTransfer *transfer,
													 const char	 *name);
extern void					  __wrap_dbx_http_free(DbxTransfer *transfer);
extern bool __wrap_dbx_http_wait_for(TimestampTz deadline, DbxWaitReason reason);
extern bool		   __wrap_dbx_http_wait(TimestampTz deadline);
extern TimestampTz __wrap_GetCurrentTimestamp(void);

void
fuzz_answers(const char *data, Size size)
{
	answers = data;
	answers_end = data + size;
	now = (TimestampTz) 800000000 * USECS_PER_SEC;
}

DbxWorkspace *
fuzz_workspace(void)
{
	DbxWorkspace *workspace = palloc0(sizeof(DbxWorkspace));

	dbx_option_defaults(workspace);
	workspace->name = pstrdup("fuzz");
	workspace->host = pstrdup("https://fuzz.example.com");
	workspace->token = pstrdup("dapi0123456789abcdef");
	return workspace;
}

static void
read_status(DbxHttpResponse *response, char letter)
{
	static const int statuses[] = {200, 201, 302, 400, 401,
								   403, 404, 429, 500, 503};

	static const int rarer[] = {408, 409, 499, 501, 502, 504, 418};

	if (letter >= '0' && letter <= '9')
		response->status = statuses[letter - '0'];
	else if (letter >= 'a' && letter < 'a' + (int) lengthof(rarer))
		response->status = rarer[letter - 'a'];
	else
	{
		response->failure = 1 + (unsigned char) letter % DBX_HTTP_OTHER;
		response->maybe_sent = (letter & 1) != 0;
		strlcpy(response->error, "certificate of \"fuzz\"",
				sizeof(response->error));
	}
}

DbxTransfer *
__wrap_dbx_http_start(const DbxHttpRequest *request)
{
	DbxTransfer *transfer = palloc0(sizeof(DbxTransfer));
	const char	*end;
	const char	*body;
	Size		 length;
	char		*copy;

	fuzz_expect_text(request->url, "the URL is valid text");
	fuzz_expect(strpbrk(request->url, " \r\n") == NULL, "the URL is one word");
	now += 1000;
	transfer->headers = pstrdup("");
	transfer->response.status = 200;
	transfer->response.body = pstrdup("{}");
	transfer->response.body_len = 2;
	if (answers >= answers_end)
		return transfer;

	end = memchr(answers, RECORD_SEPARATOR, answers_end - answers);
	if (end == NULL)
		end = answers_end;
	if (end > answers)
		read_status(&transfer->response, *answers++);
	body = memchr(answers, UNIT_SEPARATOR, end - answers);
	if (body != NULL)
	{
		/* no NUL reaches us in a header */
		transfer->headers = pnstrdup(answers, body - answers);
		answers = body + 1;
	}
	length = end - answers;
	copy = palloc(length + 1);
	memcpy(copy, answers, length);
	copy[length] = '\0';
	transfer->response.body = copy;
	transfer->response.body_len = length;
	answers = end < answers_end ? end + 1 : end;
	return transfer;
}

const DbxHttpResponse *
__wrap_dbx_http_response(DbxTransfer *transfer)
{
	return &transfer->response;
}

const char *
__wrap_dbx_http_header(DbxTransfer *transfer, const char *name)
{
	const char *line = transfer->headers;

	for (;;)
	{
		Size length = strlen(name);

		if (pg_strncasecmp(line, name, length) == 0 && line[length] == ':')
		{
			line += length + 1;
			line += strspn(line, " ");
			return pnstrdup(line, strcspn(line, "\n"));
		}
		line = strchr(line, '\n');
		if (line == NULL)
			return NULL;
		line++;
	}
}

void
__wrap_dbx_http_free(DbxTransfer *transfer)
{
	pfree(transfer);
}

bool
__wrap_dbx_http_wait_for(TimestampTz deadline, DbxWaitReason reason)
{
	fuzz_expect(deadline != 0, "nobody waits for what will not come");
	now = Max(now, deadline);
	return true;
}

bool
__wrap_dbx_http_wait(TimestampTz deadline)
{
	return __wrap_dbx_http_wait_for(deadline, DBX_WAIT_PAUSE);
}

TimestampTz
__wrap_GetCurrentTimestamp(void)
{
	return now;
}
