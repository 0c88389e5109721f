/*
 * workspace.h
 *	  A workspace is a foreign server of the wrapper "databricks" together with
 *	  the user mapping of the role that uses it.
 *
 * A DbxWorkspace is a plain copy of what the catalogs said, in the current
 * memory context: it stays valid while the catalogs change and holds no lock.
 */
#ifndef DBX_WORKSPACE_H
#define DBX_WORKSPACE_H

#include "postgres_ext.h"
#include "nodes/pg_list.h"

typedef struct DbxWorkspace
{
	char *name; /* of the server */
	Oid	  serverid;
	Oid	  owner;  /* of the server */
	Oid	  userid; /* who uses it */
	Oid	  umid;	  /* user mapping; its user is userid or PUBLIC */

	/* server options; the descriptor table in option.c says what they mean */
	char  *host; /* normalised: scheme://host[:port] */
	bool   is_default;
	char  *auth_type;
	char  *audience;
	char  *azure_environment; /* NULL: by the host */
	char  *azure_login_host;  /* normalised URL, NULL: that of the cloud */
	char  *azure_workspace_resource_id;
	char  *config_file;
	char  *token_url; /* normalised */
	char  *workspace_id;
	char  *ca_file;
	char  *proxy;
	int	   connect_timeout;	  /* ms */
	int	   request_timeout;	  /* ms */
	int	   retry_timeout;	  /* ms */
	int	   max_parallel;	  /* calls at once */
	double rate_limit;		  /* factor on the published limits, 0: none */
	int64  max_response_size; /* bytes */
	char  *jobs_api_version;  /* "2.2" or "2.1" */
	double fdw_startup_cost;
	double fdw_tuple_cost;
	bool   updatable;

	/* user mapping options */
	char *token;
	char *token_file;
	char *client_id;
	char *client_secret;
	char *azure_client_id;
	char *azure_client_secret;
	char *azure_tenant_id; /* of the server too; the mapping's wins */
	char *oidc_token_file;
	char *profile; /* likewise */

	/* what only the environment or a profile can say (ambient.c) */
	char *oidc_token_env;  /* name of the variable, NULL: the usual one */
	bool  azure_use_msi;   /* take the managed identity of this machine */
	bool  has_password;	   /* there are a user name and a password */
	bool  has_environment; /* the environment was looked into */

	/*
	 * May files, environment and identity of the server be used?  Both the role
	 * that uses the workspace and the owner of the server must be entitled: the
	 * former gets the rights, the latter can redirect them to a host of his own.
	 */
	bool   server_identity;
	bool   owned_by_superuser;
	uint32 server_hash; /* of the catalog rows, as invalidations name them */
	uint32 mapping_hash;

	bool allow_http; /* loopback host, server owned by a superuser */
} DbxWorkspace;

/*
 * The workspace "name" as "userid" sees it; name NULL: the default workspace
 * (setting databricks.workspace, then option is_default, then the only one the
 * role may use).  Raises when there is none, when USAGE is missing (42501), when
 * there is no user mapping (28000, with the statement that makes one in the hint).
 */
extern DbxWorkspace *dbx_workspace_resolve(const char *name, Oid userid);

/* The server of workspace "name", NULL as above; 42501 unless the role owns it. */
extern struct ForeignServer *dbx_workspace_owned(const char *name, Oid userid);

/* The same as dbx_workspace_resolve() by server OID, as foreign tables need it. */
extern DbxWorkspace *dbx_workspace_by_server(Oid serverid, Oid userid);

/* Is there a user mapping for this role, or for PUBLIC? */
extern bool dbx_workspace_has_mapping(Oid serverid, Oid userid);

/*
 * Server options alone, for planning: no rights are checked, no credentials are
 * read (umid and userid are InvalidOid), nothing can be called with it.
 */
extern DbxWorkspace *dbx_workspace_describe(Oid serverid);

/* Name the default workspace of a role stands for (palloc'd), or an error as above. */
extern char *dbx_workspace_default(Oid userid);

/* OID of the foreign-data wrapper "databricks", InvalidOid when not installed. */
extern Oid dbx_workspace_wrapper(void);

/* Is this foreign server one of ours? */
extern bool dbx_workspace_is_ours(Oid serverid);

/*
 * Host as people paste it -> scheme://host[:port].  Sets *workspace_id from
 * "?o=".  Raises 22023/HV024 for what cannot be a host (user info, other scheme).
 */
extern char *dbx_workspace_normalize_host(const char *text, char **workspace_id);

/*
 * The same for the URL in another option: the path stays, a slash at its end
 * goes, query and fragment are refused.
 */
extern char *dbx_workspace_normalize_url(const char *option, const char *text);

/*
 * Raise HV024 for what cannot be a proxy: [scheme://][user:password@]host[:port].
 */
extern void dbx_workspace_check_proxy(const char *option, const char *text);

/*
 * May a request with credentials go to this URL?  https, or http to this machine
 * where the workspace's host may be http; nothing in it that would let it be read
 * in two ways.
 */
extern bool dbx_workspace_may_visit(const DbxWorkspace *workspace,
									const char		   *url);

/*
 * The same for a URL out of an answer of the service: http to this machine only
 * where the workspace is there itself, so that no service from outside leads to
 * what listens here.
 */
extern bool dbx_workspace_may_follow(const DbxWorkspace *workspace,
									 const char			*url);

/* That for a request without credentials, where the URL may have a query. */
extern bool dbx_workspace_may_fetch(const DbxWorkspace *workspace,
									const char		   *url);

/* Is the host part of this normalised URL a loopback address? */
extern bool dbx_workspace_is_loopback(const char *host);

#endif /* DBX_WORKSPACE_H */
