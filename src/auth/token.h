/*
 * token.h
 *	  Tokens that were asked for, kept and renewed.
 */
#ifndef DBX_AUTH_TOKEN_H
#define DBX_AUTH_TOKEN_H

#include "auth/providers.h"

typedef struct DbxToken DbxToken;

/*
 * The token of this workspace's user mapping, with or without a text yet.  It
 * stays until as many dbx_token_release() as dbx_token_hold() were called.
 */
extern DbxToken *dbx_token_hold(const DbxAuthProvider *provider,
								const DbxWorkspace *workspace, bool second);

/* Never raises. */
extern void dbx_token_release(DbxToken *token);

/*
 * See to it that there is a token to use.  *failures is the caller's knowledge
 * of how often getting it has failed (dbx_token_failures() when he began), so
 * that a failure is told to all who waited for it and to nobody who comes later.
 */
extern DbxAuthState		   dbx_token_prepare(DbxToken			*token,
											 const DbxWorkspace *workspace,
											 uint64 *failures, TimestampTz *due);
extern uint64			   dbx_token_failures(const DbxToken *token);
extern const DbxAuthError *dbx_token_error(const DbxToken *token);

/* The text, and its number: each renewal has another. */
extern const char *dbx_token_text(const DbxToken *token, uint64 *number);

/* The service refused the token of this number: do not use it any more. */
extern void dbx_token_refused(DbxToken *token, uint64 number);

#endif /* DBX_AUTH_TOKEN_H */
