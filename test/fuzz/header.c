/*
 * header.c
 *	  Fuzz target: Retry-After and dates in headers, and pieces of URLs.
 *
 * An input that begins with a slash is also the path of a call, with a body behind
 * a NUL; any other is also one segment of a path.  What is not refused must be the
 * path that libcurl asks for, at the host of the workspace.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "mb/pg_wchar.h"

#include "api/internal.h"
#include "fuzz.h"
#include "http/http.h"

#define PATIENCE_MS INT64CONST(300000)

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect_part(CURLU *url, CURLUPart part, const char *expected, const char *what)
{
	char *text = NULL;

	fuzz_expect(curl_url_get(url, part, &text, 0) == CURLUE_OK &&
					strcmp(text, expected) == 0,
				what);
	curl_free(text);
}

static void
expect_kept(const char *path)
{
	CURLU *url = curl_url();

	fuzz_expect(curl_url_set(url, CURLUPART_URL,
							 psprintf("https://fuzz.example.com%s", path),
							 0) == CURLUE_OK,
				"a path makes a URL");
	expect_part(url, CURLUPART_HOST, "fuzz.example.com", "the host stays");
	expect_part(url, CURLUPART_PATH, pnstrdup(path, strcspn(path, "?")),
				"so does the path");
	curl_url_cleanup(url);
}

static void
read_path(const char *path, const char *body)
{
	DbxEndpoint endpoint;

	dbx_api_check_path("POST", path);
	expect_kept(path);
	dbx_endpoint_describe("POST", path, &endpoint);
	fuzz_expect(strlen(endpoint.name) < DBX_ENDPOINT_NAME,
				"the name of a call is bounded");
	fuzz_expect(endpoint.class != NULL, "every call has a limit");
	fuzz_expect(dbx_endpoint_effect("GET", path, NULL) != DBX_EFFECT_ONCE,
				"what is read can be read again");
	(void) dbx_endpoint_effect("POST", path, body);
	(void) dbx_endpoint_deletes("POST", path);
}

static void
run(char *data, Size size)
{
	DbxApiError error = {.status = 429, .passing = true, .refused = true};
	char	   *value = pstrdup(data);
	int64		asked = dbx_http_retry_after(value);
	int64		delay;
	char	   *escaped;
	char	   *query;

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

	/* paths come from SQL */
	if (!pg_verify_mbstr(PG_UTF8, value, strlen(value), true))
		return;
	if (*value == '/')
		read_path(value, strlen(value) < size ? data + strlen(value) + 1 : "{}");
	else
		expect_kept(psprintf("/api/2.0/%s", dbx_path_segment(value)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size, run);
}
