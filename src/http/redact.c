/*
 * redact.c
 *	  Keeps secrets out of messages: the ones we know, and what looks like one.
 *
 * Separate because everything that carries foreign text to a log or an error
 * passes here, whatever module it comes from.  The list of known secrets is
 * per process, in TopMemoryContext, and bounded: the oldest are forgotten, by
 * then they are long out of use.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"

#include "http/http.h"

#define KNOWN_SECRETS	32
#define SHORTEST_SECRET 6 /* anything shorter would mask ordinary words */
#define MASK			"***"

static char *known[KNOWN_SECRETS];
static int	 next_known = 0;

void
dbx_redact_secret(const char *secret)
{
	int i;

	if (secret == NULL || strlen(secret) < SHORTEST_SECRET)
		return;
	for (i = 0; i < KNOWN_SECRETS; i++)
	{
		if (known[i] != NULL && strcmp(known[i], secret) == 0)
			return;
	}
	if (known[next_known] != NULL)
	{
		explicit_bzero(known[next_known], strlen(known[next_known]));
		pfree(known[next_known]);
		known[next_known] = NULL;
	}
	known[next_known] = MemoryContextStrdup(TopMemoryContext, secret);
	next_known = (next_known + 1) % KNOWN_SECRETS;
}

void
dbx_redact_statement(const char *shown)
{
	static const char *last_shown = NULL;

	/* the outermost one that hides it says best what the statement was */
	if (debug_query_string != NULL && debug_query_string == last_shown)
		return;
	debug_query_string = last_shown = shown;
	pgstat_report_activity(STATE_RUNNING, shown);
}

static bool
token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
		c == '~' || c == '+' || c == '/' || c == '=';
}

/* Does a word go on here?  (Azure's login host is at chinacloudapi.cn.) */
static bool
goes_on(const char *text, const char *at)
{
	return at > text && at[-1] >= 'a' && at[-1] <= 'z' &&
		!(at - text >= 3 && at[-3] == '%');
}

/* The character that "%2F" stands for, -1 if it is nothing of that kind. */
static int
escaped_char(const char *text)
{
	int value = 0;
	int i;

	for (i = 1; i <= 2; i++)
	{
		char c = pg_tolower((unsigned char) text[i]);

		if (c >= '0' && c <= '9')
			value = value * 16 + c - '0';
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + c - 'a' + 10;
		else
			return -1;
	}
	return value;
}

/*
 * How much of "text" is this secret: as it is, or escaped as URLs and JSON do it.
 * 0 if it does not begin with it.
 */
static Size
known_length(const char *text, const char *secret)
{
	const char *at = text;

	for (; *secret; secret++)
	{
		if (*at == *secret)
			at++;
		else if (*at == '\\' && at[1] == *secret)
			at += 2;
		else if (*at == '%' && escaped_char(at) == (unsigned char) *secret)
			at += 3;
		else
			return 0;
	}
	return at - text;
}

/*
 * Length of a secret that begins at "text": one we were told of, or one with
 * the look of the service's tokens (dapi, dose: personal and client secrets;
 * eyJ: signed tokens) or whatever follows "Bearer".
 */
static Size
secret_length(const char *text, bool in_word)
{
	static const struct
	{
		const char *prefix;
		Size		least; /* shortest run of token characters after it */
	} looks[] = {
		{"dapi", 16},
		{"dose", 24},
		{"eyJ", 24},
	};
	Size longest = 0;
	int	 i;

	for (i = 0; i < KNOWN_SECRETS; i++)
	{
		if (known[i] != NULL)
			longest = Max(longest, known_length(text, known[i]));
	}
	if (longest > 0)
		return longest;
	for (i = 0; i < (int) lengthof(looks) && !in_word; i++)
	{
		Size prefix = strlen(looks[i].prefix);
		Size length;

		if (strncmp(text, looks[i].prefix, prefix) != 0)
			continue;
		for (length = prefix; token_char(text[length]); length++)
			;
		if (length - prefix >= looks[i].least)
			return length;
	}
	return 0;
}

const char *
dbx_redact(const char *text)
{
	static const char bearer[] = "Bearer ";
	StringInfoData	  out;
	const char		 *at;
	const char		 *clean; /* start of what is not copied yet */
	bool			  masked = false;

	if (text == NULL)
		return NULL;
	for (at = clean = text; *at; at++)
	{
		Size keep = 0;
		Size length;

		if (pg_strncasecmp(at, bearer, sizeof(bearer) - 1) == 0)
		{
			keep = sizeof(bearer) - 1;
			for (length = keep; token_char(at[length]); length++)
				;
			/* "Bearer realm=..." is a challenge, not a credential */
			if (length - keep < 16)
				continue;
		}
		else
			length = secret_length(at, goes_on(text, at));
		if (length == 0)
			continue;
		if (!masked)
			initStringInfo(&out);
		masked = true;
		appendBinaryStringInfo(&out, clean, at + keep - clean);
		appendStringInfoString(&out, MASK);
		clean = at + length;
		at = clean - 1;
	}
	if (!masked)
		return text;
	appendStringInfoString(&out, clean);
	return out.data;
}
