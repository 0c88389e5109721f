/*
 * http.c
 *	  One HTTP transfer: from a request to a bounded body or a named failure.
 *
 * Separate from multi.c because what it owns is per transfer.  Body buffers
 * are malloc'd, since libcurl's callbacks must not raise; everything else of a
 * transfer lies in its own memory context, whose reset callback takes the
 * handle off libcurl and frees the buffer.  So an error thrown anywhere leaves
 * nothing behind.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "common/int.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
#include "utils/memutils.h"

#include "compat.h"
#include "guc.h"
#include "http/http.h"
#include "http/multi.h"

#if LIBCURL_VERSION_NUM < 0x075300
#error "databricks needs libcurl 7.83 or newer"
#endif

#define FIRST_BUFFER_SIZE 16384
#define IDLE_HANDLES	  16
#define LARGEST_HEAD	  (256 * 1024) /* bytes of all headers of an answer */
#define STREAM_BUFFER	  (512 * 1024) /* of libcurl, for large bodies */

struct DbxTransfer
{
	MemoryContext		  context;
	MemoryContextCallback on_reset;
	CURL				 *easy;
	bool				  running; /* on the multi handle */
	bool				  over;
	struct curl_slist	 *headers;
	char				 *buffer; /* malloc'd */
	Size				  size;
	Size				  used;
	Size				  limit;
	char				 *into; /* of the request */
	Size				  into_size;
	File				  file;	   /* 0: none */
	const DbxHttpWindow	 *window;  /* of the request */
	bool				  starved; /* what comes next is not in the window */
	off_t				  sent_at; /* next byte of file or body to send */
	off_t				  send_size;
	Size				  head;		 /* bytes of headers so far */
	bool				  head_over; /* the blank line behind them has come */
	DbxHttpFailure		  refused;	 /* why a callback stopped the transfer */
	char				  message[CURL_ERROR_SIZE];
	DbxHttpResponse		  response;
};

/* Handles without a transfer, kept since making one is not cheap. */
static CURL *idle_handles[IDLE_HANDLES];
static int	 nidle = 0;

/* Bytes in the buffers of all transfers of this process. */
static Size buffered = 0;

/* Does the body of this answer belong into the buffer of the request? */
static bool
goes_into(const DbxTransfer *transfer)
{
	long  status = 0;
	char *type = NULL;

	if (transfer->into == NULL)
		return false;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &type);
	return status >= 200 && status < 300 &&
		(type == NULL || pg_strncasecmp(type, "text/html", 9) != 0);
}

/* CURLOPT_WRITEFUNCTION */
static size_t
receive(char *data, size_t one, size_t length, void *private_data)
{
	DbxTransfer *transfer = private_data;
	Size		 needed = transfer->used + length + 1;

	(void) one;
	if (goes_into(transfer))
	{
		DbxHttpResponse *response = &transfer->response;

		if (length > transfer->into_size - response->into_len)
		{
			transfer->refused = DBX_HTTP_TOO_LARGE;
			return CURL_WRITEFUNC_ERROR;
		}
		memcpy(transfer->into + response->into_len, data, length);
		response->into_len += length;
		return length;
	}
	if (transfer->used + length > transfer->limit)
	{
		transfer->refused = DBX_HTTP_TOO_LARGE;
		return CURL_WRITEFUNC_ERROR;
	}
	if (needed > transfer->size)
	{
		Size  size = Max(transfer->size, FIRST_BUFFER_SIZE);
		char *grown;

		while (size < needed)
			size *= 2;
		if (buffered + (size - transfer->size) >
				(Size) dbx_guc_max_buffer_size * 1024 ||
			(grown = realloc(transfer->buffer, size)) == NULL)
		{
			transfer->refused = DBX_HTTP_NO_MEMORY;
			return CURL_WRITEFUNC_ERROR;
		}
		buffered += size - transfer->size;
		transfer->buffer = grown;
		transfer->size = size;
	}
	memcpy(transfer->buffer + transfer->used, data, length);
	transfer->used += length;
	transfer->buffer[transfer->used] = '\0';
	return length;
}

/*
 * CURLOPT_HEADERFUNCTION: libcurl keeps the headers itself, whatever their
 * number; here they are only counted.  Nor does it mind when the connection ends
 * in the middle of them.
 */
static size_t
/* NOLINTNEXTLINE(readability-non-const-parameter): libcurl's type */
count_header(char *data, size_t one, size_t length, void *private_data)
{
	DbxTransfer *transfer = private_data;

	(void) one;
	if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
		transfer->head_over = false;
	else if (length > 0 && (data[0] == '\r' || data[0] == '\n'))
		transfer->head_over = true;
	transfer->head += length;
	if (transfer->head > LARGEST_HEAD)
	{
		transfer->refused = DBX_HTTP_LARGE_HEAD;
		return CURL_WRITEFUNC_ERROR;
	}
	return length;
}

/*
 * CURLOPT_READFUNCTION: the next bytes of the file.  FileRead() does not raise,
 * and what it cannot read ends the transfer.
 */
static size_t
send_file(char *buffer, size_t one, size_t size, void *private_data)
{
	DbxTransfer *transfer = private_data;
	off_t		 left = transfer->send_size - transfer->sent_at;
	int wanted = (int) Min(Min((off_t) (one * size), left), STREAM_BUFFER);
	int got;

	if (wanted <= 0)
		return 0;
	got = FileRead(transfer->file, buffer, wanted, transfer->sent_at,
				   WAIT_EVENT_BUFFILE_READ);
	if (got <= 0)
		return CURL_READFUNC_ABORT;
	transfer->sent_at += got;
	return got;
}

/* CURLOPT_READFUNCTION: the next bytes of the window. */
static size_t
send_window(char *buffer, size_t one, size_t size, void *private_data)
{
	DbxTransfer			*transfer = private_data;
	const DbxHttpWindow *window = transfer->window;
	int64				 from = transfer->sent_at - window->at;
	Size				 length;

	if (transfer->sent_at >= transfer->send_size)
		return 0;
	transfer->starved = from < 0 || from >= (int64) window->length;
	if (transfer->starved)
	{
		/* who waits can do something about it */
		SetLatch(MyLatch);
		return CURL_READFUNC_PAUSE;
	}
	length = Min(one * size, window->length - from);
	memcpy(buffer, window->bytes + from, length);
	transfer->sent_at += length;
	return length;
}

/* CURLOPT_SEEKFUNCTION: libcurl begins anew. */
static int
seek_body(void *private_data, curl_off_t offset, int origin)
{
	DbxTransfer *transfer = private_data;

	if (origin != SEEK_SET || offset < 0 || offset > transfer->send_size)
		return CURL_SEEKFUNC_CANTSEEK;
	transfer->sent_at = offset;
	return CURL_SEEKFUNC_OK;
}

/*
 * What became of a transfer of which so many bytes were sent, and what a proxy
 * said to the connection, if there is one.
 */
static DbxHttpFailure
classify(const DbxTransfer *transfer, CURLcode result, long sent, long proxy)
{
	if (transfer->refused != DBX_HTTP_OK)
		return transfer->refused;
	if (proxy >= 300)
		return proxy >= 500 || proxy == 429 ? DBX_HTTP_REFUSED : DBX_HTTP_PROXY;
	switch (result)
	{
		case CURLE_OK:
			return transfer->head_over ? DBX_HTTP_OK : DBX_HTTP_BROKEN;
		case CURLE_OUT_OF_MEMORY:
			/* what older versions say of a single header that is too long */
			return transfer->head > 0 && !transfer->head_over
				? DBX_HTTP_LARGE_HEAD
				: DBX_HTTP_NO_MEMORY;
#if LIBCURL_VERSION_NUM >= 0x080600
		case CURLE_TOO_LARGE:
			return DBX_HTTP_LARGE_HEAD;
#endif
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return DBX_HTTP_UNRESOLVED;
		case CURLE_COULDNT_CONNECT:
			return DBX_HTTP_REFUSED;
		case CURLE_OPERATION_TIMEDOUT:
			return sent == 0 ? DBX_HTTP_CONNECT_TIMEOUT : DBX_HTTP_TIMEOUT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_ENGINE_INITFAILED:
			return DBX_HTTP_TLS;
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
		case CURLE_BAD_CONTENT_ENCODING:
			return DBX_HTTP_BROKEN;
		default:
			return DBX_HTTP_OTHER;
	}
}

/* Called by multi.c when libcurl is through with a transfer. */
static void
finish(void *private_data, CURLcode result)
{
	DbxTransfer		*transfer = private_data;
	DbxHttpResponse *response = &transfer->response;
	long			 status = 0;
	long			 sent = 0;
	long			 head = 0;
	long			 proxy = 0;
	curl_off_t		 begun = 0;
	curl_off_t		 down = 0;
	curl_off_t		 up = 0;
	curl_off_t		 total = 0;

	transfer->running = false;
	transfer->over = true;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	/*
	 * What went to a proxy was not the request.  (libcurl 8.22 gives this time
	 * for a connection that did not come about, too.)
	 */
	curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &begun);
	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &proxy);
	if (begun == 0 || proxy >= 300)
		sent = 0;
	curl_easy_getinfo(transfer->easy, CURLINFO_HEADER_SIZE, &head);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &total);

	response->failure = classify(transfer, result, sent, proxy);
	if (response->failure != DBX_HTTP_OK)
		strlcpy(response->error,
				transfer->message[0]	 ? transfer->message
					: result == CURLE_OK ? "the answer ended in its head"
										 : curl_easy_strerror(result),
				sizeof(response->error));
	response->maybe_sent = sent > 0;
	response->status = (int) status;
	response->body = transfer->buffer ? transfer->buffer : "";
	response->body_len = transfer->used;
	response->bytes_in = head + down;
	response->bytes_out = sent + up;
	response->elapsed_ms = total / 1000.0;
}

/* Give back all that does not lie in the memory context; never raises. */
static void
release(void *arg)
{
	DbxTransfer *transfer = arg;

	if (transfer->running)
		dbx_multi_remove(transfer->easy);
	transfer->running = false;
	if (transfer->easy != NULL)
	{
		curl_easy_reset(transfer->easy);
		if (nidle < IDLE_HANDLES)
			idle_handles[nidle++] = transfer->easy;
		else
			curl_easy_cleanup(transfer->easy);
		transfer->easy = NULL;
	}
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	free(transfer->buffer);
	transfer->buffer = NULL;
	buffered -= transfer->size;
	transfer->size = 0;
}

static void
add_header(DbxTransfer *transfer, const char *line)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, line);

	if (longer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	transfer->headers = longer;
}

static void
set_method(DbxTransfer *transfer, const DbxHttpRequest *request)
{
	CURL *easy = transfer->easy;

	if (request->file != 0 || request->window != NULL)
	{
		transfer->file = request->file;
		transfer->window = request->window;
		transfer->send_size = request->body_len;
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
						 (curl_off_t) request->body_len);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION,
						 request->file != 0 ? send_file : send_window);
		curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek_body);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
		add_header(transfer, "Expect:");
		return;
	}
	if (request->body != NULL)
	{
		const char *body = request->body;

		if (!request->body_borrowed)
		{
			char *copy = MemoryContextAllocHuge(transfer->context,
												request->body_len + 1);

			memcpy(copy, request->body, request->body_len);
			copy[request->body_len] = '\0';
			body = copy;
		}
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) request->body_len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
		add_header(transfer, "Expect:");
	}
	else if (strcmp(request->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (strcmp(request->method, request->body != NULL ? "POST" : "GET") != 0)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

/* Is the body, sent or received, perhaps a large one? */
static bool
is_stream(const DbxHttpRequest *request)
{
	return request->file != 0 || request->window != NULL ||
		request->into != NULL || request->body_borrowed;
}

static void
set_options(DbxTransfer *transfer, const DbxHttpRequest *request)
{
	CURL	 *easy = transfer->easy;
	ListCell *cell;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->message);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* else a cancel while a name is being resolved waits for the resolver */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
					 request->allow_http ? "http,https" : "https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
					 (long) (CURLPROTO_HTTPS |
							 (request->allow_http ? CURLPROTO_HTTP : 0)));
#endif
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	/*
	 * Calls at once share a connection if the other side can do that, which the
	 * handshake tells; without one they would all wait for the first answer.  A
	 * large body has one of its own, where it holds up nobody.
	 */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
					 is_stream(request) ? (long) CURL_HTTP_VERSION_1_1
										: (long) CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT,
					 !is_stream(request) &&
							 strncmp(request->url, "https:", 6) == 0
						 ? 1L
						 : 0L);
	/* a proxy that compresses unasked is understood, which takes the option set */
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING,
					 request->uncompressed ? "identity" : "");
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	/* an environment variable of the server must not reroute credentials */
	curl_easy_setopt(easy, CURLOPT_PROXY, request->proxy ? request->proxy : "");
	if (request->ca_file != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT,
					 request->fresh_connection ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
					 (long) request->connect_timeout);
	if (is_stream(request))
	{
		/* however large and slow: what counts is that it goes on */
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
						 (long) Max(request->timeout / 1000, 1));
		curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long) STREAM_BUFFER);
		curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long) STREAM_BUFFER);
	}
	else
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) request->timeout);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, count_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, dbx_multi_open_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, dbx_multi_close_socket);
	if (curl_easy_setopt(easy, CURLOPT_URL, request->url) != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
				 errmsg("unusable URL for a request")));
	foreach(cell, request->headers)
		add_header(transfer, lfirst(cell));
	set_method(transfer, request);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

DbxTransfer *
dbx_http_start(const DbxHttpRequest *request)
{
	MemoryContext context;
	DbxTransfer	 *transfer;

	dbx_multi_init(finish);

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks transfer",
									ALLOCSET_SMALL_SIZES);
	transfer = MemoryContextAllocZero(context, sizeof(DbxTransfer));
	transfer->context = context;
	transfer->limit = request->max_response;
	transfer->into = request->into;
	transfer->into_size = request->into_size;
	transfer->response.body = "";
	transfer->on_reset.func = release;
	transfer->on_reset.arg = transfer;
	MemoryContextRegisterResetCallback(context, &transfer->on_reset);

	transfer->easy = nidle > 0 ? idle_handles[--nidle] : curl_easy_init();
	if (transfer->easy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	set_options(transfer, request);
	if (!dbx_multi_add(transfer->easy))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not start a request")));
	transfer->running = true;
	return transfer;
}

int64
dbx_http_starved(const DbxTransfer *transfer)
{
	return transfer->running && transfer->starved ? transfer->sent_at : -1;
}

void
dbx_http_more(DbxTransfer *transfer)
{
	transfer->starved = false;
	dbx_multi_resume(transfer->easy);
}

const DbxHttpResponse *
dbx_http_response(DbxTransfer *transfer)
{
	return transfer->over ? &transfer->response : NULL;
}

const char *
dbx_http_header(DbxTransfer *transfer, const char *name)
{
	struct curl_header *header;

	if (!transfer->over ||
		curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &header) !=
			CURLHE_OK)
		return NULL;
	return header->value;
}

int64
dbx_http_retry_after(const char *value)
{
	Size   digits = strspn(value, "0123456789");
	time_t until;

	if (digits > 0 && value[digits] == '\0')
		return digits > 9 ? PG_INT32_MAX
						  : (int64) strtol(value, NULL, 10) * 1000;
	until = curl_getdate(value, NULL);
	if (until == (time_t) -1 || strspn(value, "0123456789.+-") == strlen(value))
		return -1;
	/* a date may name any year */
	return Max(0, Min((int64) (until - time(NULL)), PG_INT32_MAX)) * 1000;
}

int64
dbx_http_date_ms(const char *value)
{
	time_t date = curl_getdate(value, NULL);
	int64  ms;

	if (date == (time_t) -1 || pg_mul_s64_overflow(date, INT64CONST(1000), &ms))
		return 0;
	return ms;
}

void
dbx_http_free(DbxTransfer *transfer)
{
	MemoryContextDelete(transfer->context);
}

char *
dbx_http_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char			 *result = palloc(strlen(text) * 3 + 1);
	char			 *out = result;

	/* curl_easy_escape() would do, but leaves a malloc'd string to errors */
	for (; *text; text++)
	{
		unsigned char c = *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
			*out++ = c;
		else
		{
			*out++ = '%';
			*out++ = hex[c >> 4];
			*out++ = hex[c & 15];
		}
	}
	*out = '\0';
	return result;
}
