/*
 * multi.h
 *	  Border between the transfers (http.c) and what drives them (multi.c);
 *	  of no interest outside src/http.
 */
#ifndef DBX_HTTP_MULTI_H
#define DBX_HTTP_MULTI_H

#include <curl/curl.h>

/*
 * Put an easy handle on the process's multi handle, or take it off.  "done" is
 * called from dbx_http_wait() with CURLOPT_PRIVATE of the handle once its
 * transfer is over; the handle is off the multi handle by then.
 */
typedef void (*DbxMultiDone)(void *private_data, CURLcode result);

extern void dbx_multi_init(DbxMultiDone done);
extern bool dbx_multi_add(CURL *easy);
extern void dbx_multi_remove(CURL *easy);

/*
 * For CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION of every
 * handle.
 */
extern curl_socket_t dbx_multi_open_socket(void					*private_data,
										   curlsocktype			 purpose,
										   struct curl_sockaddr *address);
extern int dbx_multi_close_socket(void *private_data, curl_socket_t fd);

/* Go on with a transfer whose body was not there yet. */
extern void dbx_multi_resume(CURL *easy);

#endif /* DBX_HTTP_MULTI_H */
