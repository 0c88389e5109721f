/*
 * error.c
 *	  Fuzz target: what the service says when it refuses.
 *
 * One record as in fuzz.h.  The error must be whole and fit to be shown, and must
 * not repeat the token.
 */
#include "postgres.h"

#include "api/internal.h"
#include "fuzz.h"
#include "http/http.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const paths[] = {"/api/2.2/jobs/runs/get",
									"/api/2.0/clusters/edit",
									"/api/2.0/preview/scim/v2/Me"};

static void
run(char *data, Size size)
{
	DbxWorkspace	  *workspace = fuzz_workspace();
	DbxHttpRequest	   request = {.url = workspace->host};
	const DbxApiError *error;
	DbxTransfer		  *transfer;
	int				   i;

	dbx_redact_secret(workspace->token);
	for (i = 0; i < (int) lengthof(paths); i++)
	{
		fuzz_answers(data, size);
		transfer = dbx_http_start(&request);
		error = dbx_api_error(workspace, paths[i], transfer);
		if (error == NULL)
			continue;
		fuzz_expect(error->message != NULL, "there is a message");
		fuzz_expect(error->sqlstate != 0, "there is an SQLSTATE");
		fuzz_expect_text(error->message, "the message is valid text");
		fuzz_expect_text(error->code, "the code is valid text");
		fuzz_expect_text(error->hint, "the hint is valid text");
		fuzz_expect_text(error->details, "the details are valid text");
		fuzz_expect(error->details == NULL ||
						strstr(error->details, workspace->token) == NULL,
					"the details have no secret");
		fuzz_expect(error->retry_ms >= 0, "the time to come again is one");
		fuzz_expect_text(error->request_id, "the request id is valid text");
		fuzz_expect(strpbrk(error->message, "\r\n") == NULL,
					"the message has one line");
		fuzz_expect(strlen(error->message) < 2100, "the message is bounded");
		fuzz_expect(strstr(error->message, workspace->token) == NULL,
					"the message has no secret");
		(void) dbx_retry_delay(error, dbx_http_response(transfer)->failure,
							   DBX_EFFECT_READ, false,
							   dbx_http_header(transfer, "Retry-After"), 3, 0,
							   300000);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
