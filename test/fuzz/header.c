/*
 * header.c
 *	  Fuzz target: Retry-After and dates in headers, and pieces of URLs.
 */
#include "postgres.h"

#include "api/internal.h"
#include "fuzz.h"
#include "http/http.h"

#define PATIENCE_MS INT64CONST(300000)

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
run(char *data, Size size)
{
	DbxApiError error = {.status = 429, .passing = true, .refused = true};
	char	   *value = pstrdup(data);
	int64		asked = dbx_http_retry_after(value);
	int64		delay;
	char	   *escaped;
	char	   *query;

	(void) size;
	fuzz_expect(asked >= -1, "a time or nothing");
	(void) dbx_http_date_ms(value);
	delay = dbx_retry_delay(&error, DBX_HTTP_OK, DBX_EFFECT_ONCE, false, value,
							1, 0, PATIENCE_MS);
	fuzz_expect(delay > 0 && delay <= 60250, "a wait that is capped");
	fuzz_expect(dbx_retry_delay(&error, DBX_HTTP_OK, DBX_EFFECT_ONCE, false,
								value, 50, PATIENCE_MS, PATIENCE_MS) == -1,
				"no wait beyond the patience");

	escaped = dbx_http_escape(value);
	fuzz_expect(strspn(escaped,
					   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789-._~%") == strlen(escaped),
				"an escaped piece has no other characters");
	query = dbx_query_with("limit=1", "page_token", value);
	fuzz_expect(strlen(query) == strlen("limit=1&page_token=") + strlen(escaped),
				"a query holds the escaped value");
	fuzz_expect(*dbx_query_json(query) == '{', "a query can be a body");
	(void) dbx_redact(value);
	(void) dbx_endpoint_effect("POST", value, "{}");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
