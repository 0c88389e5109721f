/*
 * providers.h
 *	  The credential providers, known to auth.c alone.
 */
#ifndef DBX_AUTH_PROVIDERS_H
#define DBX_AUTH_PROVIDERS_H

#include "auth/auth.h"

extern const DbxAuthProvider dbx_auth_pat; /* personal access token */

#endif /* DBX_AUTH_PROVIDERS_H */
