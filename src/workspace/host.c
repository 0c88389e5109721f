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
bad_host(const char *text, const char *detail)
{
	/* user information may be a password: then the text is not repeated */
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
		 strchr(text, '@') != NULL
			 ? errmsg("invalid value for option \"host\"")
			 : errmsg("invalid value for option \"host\": \"%s\"", text),
		 errdetail("%s", detail),
		 errhint(
			 "Give the address of the workspace, such as \"https://dbc-a1b2345c-d6e7.cloud.databricks.com\".")));
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

static void
check_authority(const char *text, const char *authority)
{
	const char *port = strrchr(authority, ':');
	Size		host_length;

	if (strchr(authority, '@') != NULL)
		bad_host(text, "It must not hold a user name or password.");
	if (authority[0] == '[')
	{
		const char *end = strchr(authority, ']');

		if (end == NULL ||
			strspn(authority + 1, "0123456789abcdefABCDEF:.") !=
				(Size) (end - authority - 1))
			bad_host(text, "The address in brackets is not complete.");
		port = end[1] == ':' ? end + 1 : NULL;
		host_length = end + 1 - authority;
		if (port == NULL && end[1] != '\0')
			bad_host(text,
					 "There is something behind the bracket that is not a port.");
	}
	else
	{
		host_length = port ? (Size) (port - authority) : strlen(authority);
		if (strspn(
				authority,
				"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") <
			host_length)
			bad_host(text, "It holds a character that no host name has.");
	}
	if (host_length == 0)
		bad_host(text, "It names no host.");
	if (port != NULL)
	{
		Size digits = strspn(port + 1, "0123456789");

		if (digits == 0 || digits > 5 || port[1 + digits] != '\0' ||
			atoi(port + 1) < 1 || atoi(port + 1) > 65535)
			bad_host(text, "The port is not a number between 1 and 65535.");
	}
}

char *
dbx_workspace_normalize_host(const char *text, char **workspace_id)
{
	const char *scheme = "https";
	const char *start = text + strspn(text, " \t\r\n");
	const char *authority_start = start;
	const char *separator = strstr(start, "://");
	char	   *authority;
	char	   *at;
	Size		length;

	if (separator != NULL && (Size) (separator - start) < strcspn(start, "/?#"))
	{
		Size scheme_length = separator - start;

		if (scheme_length == 4 && pg_strncasecmp(start, "http", 4) == 0)
			scheme = "http";
		else if (scheme_length != 5 || pg_strncasecmp(start, "https", 5) != 0)
			bad_host(text, "Only https is spoken (http for loopback hosts).");
		authority_start = separator + 3;
	}
	length = strcspn(authority_start, "/?# \t\r\n");
	authority = pnstrdup(authority_start, length);
	for (at = authority; *at; at++)
		*at = pg_tolower((unsigned char) *at);
	check_authority(text, authority);

	if (workspace_id != NULL)
	{
		const char *query = strchr(authority_start + length, '?');

		*workspace_id = query ? find_workspace_id(query + 1) : NULL;
	}
	return psprintf("%s://%s", scheme, authority);
}

bool
dbx_workspace_is_loopback(const char *host)
{
	const char *name = strstr(host, "://");
	Size		length;

	name = name ? name + 3 : host;
	if (strncmp(name, "[::1]", 5) == 0)
		return name[5] == '\0' || name[5] == ':';
	length = strcspn(name, ":/");
	if (length == 9 && strncmp(name, "localhost", 9) == 0)
		return true;
	/* an address, not a name that begins like one */
	return strncmp(name, "127.", 4) == 0 &&
		strspn(name, "0123456789.") == length;
}
