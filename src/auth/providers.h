/*
 * providers.h
 *	  Border between the credential providers and what drives them; of no
 *	  interest outside src/auth.
 *
 * To add a provider: one of these, one line in auth.c, its name in the list of
 * option auth_type.
 */
#ifndef DBX_AUTH_PROVIDERS_H
#define DBX_AUTH_PROVIDERS_H

#include "auth/fetch.h"

typedef struct DbxAuthProvider
{
	const char *name; /* as the vendor's tools call it */

	/*
	 * Which credentials it takes, as the error about two kinds of them says it;
	 * NULL if it contradicts none.
	 */
	const char *family;

	/* What to set when its token is refused: "option \"token\" ..." */
	const char *remedy;

	/* Is what it needs there?  If not, *why says what is missing. */
	bool (*configured)(const DbxWorkspace *workspace, const char **why);

	/*
	 * Either: the token, at hand.  Palloc'd; NULL if it cannot be had, with the
	 * reason in *why.
	 */
	char *(*token)(const DbxWorkspace *workspace, const char **why);

	/*
	 * Or: the way to it, step by step (see fetch.h).  "request" fills in the
	 * next request; "take" gets the answer of each one but the last, NULL for
	 * an optional one that failed.
	 */
	void (*request)(DbxFetch *fetch);
	void (*take)(DbxFetch *fetch, DbxTransfer *transfer);

	/* Is a second token sent along, and as which headers? */
	bool (*wants_second)(const DbxWorkspace *workspace);
	List *(*second_headers)(const DbxWorkspace *workspace, const char *token);
} DbxAuthProvider;

extern const DbxAuthProvider dbx_auth_pat;		  /* personal access token */
extern const DbxAuthProvider dbx_auth_oauth_m2m;  /* client id and secret */
extern const DbxAuthProvider dbx_auth_env_oidc;	  /* signed token exchanged */
extern const DbxAuthProvider dbx_auth_file_oidc;  /* likewise */
extern const DbxAuthProvider dbx_auth_azure_msi;  /* managed identity */
extern const DbxAuthProvider dbx_auth_azure_sp;	  /* Azure service principal */
extern const DbxAuthProvider dbx_auth_token_file; /* access token in a file */

#endif /* DBX_AUTH_PROVIDERS_H */
