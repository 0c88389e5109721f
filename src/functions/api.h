/*
 * api.h
 *	  What the functions that make any call share.
 */
#ifndef DBX_FUNCTIONS_API_H
#define DBX_FUNCTIONS_API_H

#include "api/api.h"

/*
 * A call as SQL gives it: "method" in any case, "body" NULL for none.  Where the
 * method sends no body, an object becomes the query string.
 */
extern void dbx_api_fill_spec(DbxCallSpec *spec, const char *method,
							  const char *path, const DbxJson *body);

#endif /* DBX_FUNCTIONS_API_H */
