/*
 * host.c
 *	  What people paste as host, made into a base URL.
 *
 * Separate because the rules are about text alone.  People copy hosts from
 * the address bar: with path, with "?o=" and the workspace id, with a slash at
 * the end, or without a scheme.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "compat.h"
#include "workspace/workspace.h"

static pg_noreturn void
bad_address(const char *option, const char *text, const char *detail)
{
	/* user information may be a password: then the text is not repeated */
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
		 strchr(text, '@') != NULL
			 ? errmsg("invalid value for option \"%s\"", option)
			 : errmsg("invalid value for option \"%s\": \"%s\"", option, text),
		 errdetail("%s", detail),
		 strcmp(option, "host") == 0
			 ? errhint(
				   "Give the address of the workspace, such as \"https://dbc-a1b2345c-d6e7.cloud.databricks.com\".")
			 : strcmp(option, "proxy") == 0
			 ? errhint(
				   "Give the address of the proxy, such as \"http://proxy.example.com:3128\".")
			 : 0));
}

/* The value of "o=" in the query of a pasted address, NULL if there is none. */
static char *
find_workspace_id(const char *query)
{
	const char *at = query;

	while (*at && *at != '#')
	{
		if (strncmp(at, "o=", 2) == 0)
		{
			Size length = strspn(at + 2, "0123456789");

			return length > 0 ? pnstrdup(at + 2, length) : NULL;
		}
		at += strcspn(at, "&#");
		if (*at == '&')
			at++;
	}
	return NULL;
}

/* What is wrong with the host[:port] of an address, NULL if nothing is. */
static const char *
authority_problem(const char *authority)
{
	const char *port = strrchr(authority, ':');
	Size		host_length;

	if (strchr(authority, '@') != NULL)
		return "It must not hold a user name or password.";
	if (authority[0] == '[')
	{
		const char *end = strchr(authority, ']');

		if (end == NULL ||
			strspn(authority + 1, "0123456789abcdefABCDEF:.") !=
				(Size) (end - authority - 1))
			return "The address in brackets is not complete.";
		port = end[1] == ':' ? end + 1 : NULL;
		host_length = end + 1 - authority;
		if (port == NULL && end[1] != '\0')
			return "There is something behind the bracket that is not a port.";
	}
	else
	{
		host_length = port ? (Size) (port - authority) : strlen(authority);
		if (strspn(
				authority,
				"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") <
			host_length)
			return "It holds a character that no host name has.";
	}
	if (host_length == 0)
		return "It names no host.";
	if (port != NULL)
	{
		Size digits = strspn(port + 1, "0123456789");
		long number = strtol(port + 1, NULL, 10);

		if (digits == 0 || digits > 5 || port[1 + digits] != '\0' ||
			number < 1 || number > 65535)
			return "The port is not a number between 1 and 65535.";
	}
	return NULL;
}

/* The port that is meant anyway goes: one host, however it is written. */
static void
drop_usual_port(char *authority, const char *scheme)
{
	char *port = strrchr(authority, ':');

	if (port != NULL && strchr(port, ']') == NULL &&
		strtol(port + 1, NULL, 10) == (strcmp(scheme, "https") == 0 ? 443 : 80))
		*port = '\0';
}

/* scheme://host[:port] of an address; *rest gets what follows. */
static char *
base_address(const char *option, const char *text, const char **rest)
{
	const char *scheme = "https";
	const char *start = text + strspn(text, " \t\r\n");
	const char *authority_start = start;
	const char *separator = strstr(start, "://");
	const char *problem;
	char	   *authority;
	char	   *at;
	Size		length;

	if (separator != NULL && (Size) (separator - start) < strcspn(start, "/?#"))
	{
		Size scheme_length = separator - start;

		if (scheme_length == 4 && pg_strncasecmp(start, "http", 4) == 0)
			scheme = "http";
		else if (scheme_length != 5 || pg_strncasecmp(start, "https", 5) != 0)
			bad_address(option, text,
						"Only https is spoken (http for loopback hosts).");
		authority_start = separator + 3;
	}
	/* around an address blanks come along, inside one they are a mistake */
	length = strcspn(start, " \t\r\n");
	if (start[length + strspn(start + length, " \t\r\n")] != '\0')
		bad_address(option, text, "It holds a blank or a line break.");
	length = strcspn(authority_start, "/?# \t\r\n");
	authority = pnstrdup(authority_start, length);
	for (at = authority; *at; at++)
		*at = pg_tolower((unsigned char) *at);
	problem = authority_problem(authority);
	if (problem != NULL)
		bad_address(option, text, problem);
	drop_usual_port(authority, scheme);
	*rest = authority_start + length;
	return psprintf("%s://%s", scheme, authority);
}

char *
dbx_workspace_normalize_host(const char *text, char **workspace_id)
{
	const char *rest;
	char	   *base = base_address("host", text, &rest);

	if (workspace_id != NULL)
	{
		const char *query = strchr(rest, '?');

		*workspace_id = query ? find_workspace_id(query + 1) : NULL;
	}
	return base;
}

/* Nothing but what stands in the path of a URL as it is. */
static bool
is_plain_path(const char *path)
{
	return strspn(path,
				  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "0123456789-._~%!$&'()*+,;=:@/") == strlen(path);
}

char *
dbx_workspace_normalize_url(const char *option, const char *text)
{
	const char *rest;
	char	   *base = base_address(option, text, &rest);
	char	   *path = pstrdup(rest);
	Size		length = strlen(path);

	while (length > 0 && strchr(" \t\r\n/", path[length - 1]) != NULL)
		path[--length] = '\0';
	if (!is_plain_path(path))
		bad_address(
			option, text,
			"It holds a query, a fragment or a character that has to be escaped.");
	return psprintf("%s%s", base, path);
}

void
dbx_workspace_check_proxy(const char *option, const char *text)
{
	static const char *const schemes[] = {"http",	 "https",  "socks4",
										  "socks4a", "socks5", "socks5h"};
	const char				*separator = strstr(text, "://");
	const char				*start = separator ? separator + 3 : text;
	const char				*user_end = strrchr(start, '@');
	const char				*problem;
	char					*authority;
	Size					 length;
	int						 i;

	for (i = 0; separator != NULL && i < (int) lengthof(schemes); i++)
	{
		length = strlen(schemes[i]);
		if ((Size) (separator - text) == length &&
			pg_strncasecmp(text, schemes[i], length) == 0)
			break;
	}
	if (i == (int) lengthof(schemes))
		bad_address(
			option, text,
			"A proxy is spoken to by http, https, socks4, socks4a, socks5 or socks5h.");
	/* proxies may want a name and a password */
	if (user_end != NULL)
		start = user_end + 1;
	length = strcspn(start, "/");
	authority = pnstrdup(start, length);
	problem = start[length] != '\0' && start[length + 1] != '\0'
		? "A proxy has no path."
		: authority_problem(authority);
	if (problem != NULL)
		bad_address(option, text, problem);
}

bool
dbx_workspace_may_visit(const DbxWorkspace *workspace, const char *url)
{
	const char *authority;
	char	   *host;
	Size		length;

	if (strncmp(url, "https://", 8) == 0)
		authority = url + 8;
	else if (strncmp(url, "http://", 7) == 0 && workspace->owned_by_superuser)
		authority = url + 7;
	else
		return false;
	length = strcspn(authority, "/?#");
	host = pnstrdup(authority, length);
	return authority_problem(host) == NULL &&
		is_plain_path(authority + length) &&
		(url[4] == 's' || dbx_workspace_is_loopback(host));
}

bool
dbx_workspace_may_follow(const DbxWorkspace *workspace, const char *url)
{
	return (strncmp(url, "https:", 6) == 0 || workspace->allow_http) &&
		dbx_workspace_may_visit(workspace, url);
}

bool
dbx_workspace_may_fetch(const DbxWorkspace *workspace, const char *url)
{
	Size length = strcspn(url, "?");

	return dbx_workspace_may_follow(workspace, pnstrdup(url, length)) &&
		(url[length] == '\0' || is_plain_path(url + length + 1));
}

bool
dbx_workspace_is_loopback(const char *host)
{
	const char *name = strstr(host, "://");
	Size		length;

	name = name ? name + 3 : host;
	if (strncmp(name, "[::1]", 5) == 0)
		return name[5] == '\0' || name[5] == ':' || name[5] == '/';
	length = strcspn(name, ":/");
	if (length == 9 && strncmp(name, "localhost", 9) == 0)
		return true;
	/* an address, not a name that begins like one */
	return strncmp(name, "127.", 4) == 0 &&
		strspn(name, "0123456789.") == length;
}
