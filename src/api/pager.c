/*
 * pager.c
 *	  Lists and arrays that come in pages.
 *
 * Separate because both ends are treacherous: a token that repeats would loop
 * for ever, and a list that is cut must not look whole.  The end is a missing
 * or empty token, never a short or empty page.
 *
 * Two kinds of lists know no tokens: SCIM counts its elements, and so do those
 * of the Jobs API 2.0, of which only a first page is to be had here.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "api/internal.h"
#include "guc.h"

struct DbxPager
{
	const DbxWorkspace *workspace;
	DbxPageSpec			spec;
	MemoryContext		context; /* the pager's own */
	MemoryContext		page;	 /* of the current page */
	char			   *token;	 /* of the next page, NULL: first page or end */
	const char		   *param;	 /* how it is sent, NULL: as the whole body */
	DbxCall			   *call;	 /* for the next page; NULL: not begun */
	DbxPages			pages;
	bool				at_end;
	bool				expired; /* the token was refused */
};

static pg_noreturn void
token_repeats(const char *path)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
		 errmsg("the pages of %s go round in circles", path),
		 errdetail("The service gave a page token that it had given before."),
		 errhint(
			 "This is a fault of the service; try again, and tell its support if it stays.")));
}

static pg_noreturn void
too_many_pages(const char *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("%s has more than %d pages", path, dbx_guc_max_pages),
			 errhint("Ask for less, or raise databricks.max_pages.")));
}

/* Absent, empty and false mean the same.  A number is unusual, but a token. */
const char *
dbx_page_token(const DbxJson *answer)
{
	const DbxJson *member = dbx_json_get(answer, "next_page_token");
	const char	  *token = dbx_json_text(member);
	bool		   flag;

	if (dbx_json_bool(member, &flag) && !flag)
		return NULL;
	return token != NULL && *token != '\0' ? token : NULL;
}

/*
 * Circles are found with constant memory.  One token is remembered and moved on
 * to the current page whenever the page number has doubled, so a circle of any
 * length is found before twice its length has been walked after that.
 */
void
dbx_pages_go_on(DbxPages *pages, const char *path, const char *token)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) token,
									  strlen(token), 0);

	if (pages->hash_page > 0 && hash == pages->hash)
		token_repeats(path);
	if (pages->hash_page == 0 || pages->count >= pages->hash_page * 2)
	{
		pages->hash = hash;
		pages->hash_page = pages->count;
	}
	if (pages->count >= dbx_guc_max_pages)
		too_many_pages(path);
}

DbxPager *
dbx_pager_open(const DbxWorkspace *workspace, const DbxPageSpec *spec)
{
	MemoryContext context;
	DbxPager	 *pager;

	context = AllocSetContextCreate(CurrentMemoryContext, "databricks pages",
									ALLOCSET_SMALL_SIZES);
	pager = MemoryContextAllocZero(context, sizeof(DbxPager));
	pager->context = context;
	pager->page = AllocSetContextCreate(context, "databricks page",
										ALLOCSET_DEFAULT_SIZES);
	pager->workspace = workspace;
	pager->spec = *spec;
	pager->spec.path = MemoryContextStrdup(context, spec->path);
	if (spec->query != NULL)
		pager->spec.query = MemoryContextStrdup(context, spec->query);
	if (spec->token_param == NULL)
		pager->spec.token_param = "page_token";
	return pager;
}

void
dbx_pager_begin(DbxPager *pager)
{
	MemoryContext before;
	DbxCallSpec	  spec = {0};
	char		 *query;

	if (pager->at_end || pager->call != NULL)
		return;
	before = MemoryContextSwitchTo(pager->context);
	query = pager->token != NULL && pager->param != NULL
		? dbx_query_with(pager->spec.query, pager->param, pager->token)
		: pstrdup(pager->spec.query != NULL ? pager->spec.query : "");
	spec.method = pager->spec.post ? "POST" : "GET";
	spec.path = pager->spec.path;
	if (pager->token != NULL && pager->param == NULL)
		spec.body = pager->token;
	else if (pager->spec.post)
		spec.body = dbx_query_json(query);
	else
		spec.query = query;
	spec.projection = pager->spec.projection;
	spec.caller = pager->spec.caller;
	spec.stats = pager->spec.stats;
	pager->call = dbx_call_start(pager->workspace, &spec);
	pfree(query);
	MemoryContextSwitchTo(before);
}

bool
dbx_pager_ready(const DbxPager *pager)
{
	return pager->at_end || (pager->call != NULL && dbx_call_done(pager->call));
}

bool
dbx_pager_expired(const DbxPager *pager)
{
	return pager->expired;
}

/* Was it the page token that was refused?  There is no code for that. */
static bool
is_about_token(const DbxApiError *error)
{
	static const char *const words[] = {"token", "cursor", "expired"};
	char					*message = pstrdup(error->message);
	char					*at;
	int						 i;

	if (error->status != 400)
		return false;
	for (at = message; *at; at++)
		*at = (char) pg_tolower((unsigned char) *at);
	for (i = 0; i < (int) lengthof(words); i++)
	{
		if (strstr(message, words[i]) != NULL)
			return true;
	}
	return false;
}

/*
 * The answer of the call under way.  NULL: the list is empty, because what it
 * was to be about does not exist, or its page token has expired.  Later pages
 * are not excused for the former: rows came before.
 */
static DbxJson *
page_answer(DbxPager *pager)
{
	DbxCall			  *call = pager->call;
	const DbxApiError *error;
	DbxJson			  *answer = NULL;

	dbx_call_wait(call);
	error = dbx_call_error(call);
	if (error == NULL)
		answer = dbx_call_json(call);
	else if (pager->spec.tell_expired && pager->token != NULL &&
			 is_about_token(error))
		pager->expired = true;
	else if (!pager->spec.missing_is_empty || pager->pages.count > 0 ||
			 !error->not_found)
		dbx_call_raise(call);
	dbx_call_free(call);
	pager->call = NULL;
	return answer;
}

/*
 * No elements where they should be, but others beside: their name was mistaken,
 * and the list is not empty.
 */
static void
check_items(const DbxPager *pager, const DbxJson *answer)
{
	StringInfoData names;
	const DbxJson *member;

	initStringInfo(&names);
	for (member = dbx_json_first(answer); member; member = dbx_json_next(member))
	{
		if (dbx_json_type(member) == DBX_JSON_ARRAY &&
			dbx_json_length(member) > 0)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "",
							 dbx_redact(dbx_json_name(member)));
	}
	if (names.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the answer of %s has no member \"%s\"",
						pager->spec.path, pager->spec.items),
				 errhint("Its arrays are: %s.", names.data)));
}

const DbxJson *
dbx_page_rows(const DbxJson *answer, const char *items, const char *path)
{
	const DbxJson *rows = dbx_json_get(answer, items);

	if (rows != NULL && dbx_json_type(rows) != DBX_JSON_ARRAY &&
		dbx_json_type(rows) != DBX_JSON_NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
				 errmsg("member \"%s\" in the answer of %s is not an array",
						items, path)));
	return rows;
}

/*
 * How the next page is asked for: sets *param.  NULL: there is none.  A list that is
 * a POST may give the next request whole.
 */
static const char *
next_page(const DbxPager *pager, const DbxJson *answer, const DbxJson *rows,
		  const char **param)
{
	const char *token = dbx_page_token(answer);
	int64		total;
	int64		start;
	int64		count = dbx_json_length(rows);
	bool		more;

	*param = pager->spec.token_param;
	if (token != NULL)
		return token;
	if (pager->spec.post &&
		dbx_json_length(dbx_json_get(answer, "next_page")) > 0)
	{
		*param = NULL;
		return dbx_json_serialize(dbx_json_get(answer, "next_page"));
	}
	if (dbx_json_int64(dbx_json_get(answer, "totalResults"), &total) &&
		dbx_json_int64(dbx_json_get(answer, "startIndex"), &start))
	{
		*param = "startIndex";
		return count > 0 && start > 0 && start <= total - count
			? psprintf(INT64_FORMAT, start + count)
			: NULL;
	}
	if (strncmp(pager->spec.path, "/api/2.0/jobs/", 14) == 0 &&
		dbx_json_bool(dbx_json_get(answer, "has_more"), &more) && more)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("version 2.0 of %s gives no token for its next page",
						pager->spec.path),
				 errdetail("Only the first part of the list would be read."),
				 errhint("Use version 2.2 of the call.")));
	return NULL;
}

bool
dbx_pager_next(DbxPager *pager, const DbxJson **rows)
{
	MemoryContext before;
	DbxJson		 *answer;
	const char	 *token;

	if (pager->at_end)
		return false;
	if (!pager->spec.keep_pages)
		MemoryContextReset(pager->page);
	dbx_pager_begin(pager);
	before = MemoryContextSwitchTo(pager->page);
	answer = page_answer(pager);
	if (answer == NULL)
	{
		MemoryContextSwitchTo(before);
		pager->at_end = true;
		return false;
	}

	pager->pages.count++;
	if (pager->spec.stats != NULL)
		pager->spec.stats->pages++;
	*rows = dbx_page_rows(answer, pager->spec.items, pager->spec.path);
	if (*rows == NULL && pager->spec.items_given)
		check_items(pager, answer);
	token = next_page(pager, answer, *rows, &pager->param);
	MemoryContextSwitchTo(before);
	if (pager->token != NULL)
		pfree(pager->token);
	pager->token = NULL;
	if (token != NULL)
	{
		dbx_pages_go_on(&pager->pages, pager->spec.path, token);
		pager->token = MemoryContextStrdup(pager->context, token);
	}
	else
		pager->at_end = true;
	return true;
}

bool
dbx_pager_at_end(const DbxPager *pager)
{
	return pager->at_end;
}

void
dbx_pager_close(DbxPager *pager)
{
	MemoryContextDelete(pager->context);
}

/*
 * The arrays that come in pages.  All other members are repeated on every page,
 * arrays among them.
 */
static void
merge_arrays(DbxJson *base, const DbxJson *more)
{
	static const char *const paged[] = {"environments", "iterations",
										"job_clusters", "job_parameters",
										"parameters",	"repair_history",
										"tasks"};
	const DbxJson			*settings = dbx_json_get(more, "settings");
	int						 i;

	for (i = 0; i < (int) lengthof(paged); i++)
	{
		/* the run of a for-each task: its one task is on every page */
		if (strcmp(paged[i], "tasks") == 0 &&
			dbx_json_length(dbx_json_get(base, "iterations")) > 0)
			continue;
		dbx_json_append(base, more, paged[i]);
	}
	if (dbx_json_type(settings) == DBX_JSON_OBJECT &&
		dbx_json_type(dbx_json_get(base, "settings")) == DBX_JSON_OBJECT)
		merge_arrays((DbxJson *) dbx_json_get(base, "settings"), settings);
}

static void
ask_page(DbxGet *get, const char *token)
{
	DbxCallSpec spec = get->spec;

	if (token != NULL)
		spec.query = dbx_query_with(spec.query, "page_token", token);
	get->call = dbx_call_start(get->workspace, &spec);
}

/* "page" has come: ask for the next one if there is one. */
static void
add_page(DbxGet *get, DbxJson *page)
{
	const char *token = dbx_page_token(page);

	get->pages.count++;
	if (get->object == NULL)
		get->object = page;
	else
	{
		if (get->spec.stats != NULL)
			get->spec.stats->pages++;
		merge_arrays(get->object, page);
	}
	if (token != NULL)
	{
		dbx_pages_go_on(&get->pages, get->spec.path, token);
		ask_page(get, token);
		return;
	}
	/* they speak of pages, and the object is whole now */
	dbx_json_remove(get->object, "next_page_token");
	dbx_json_remove(get->object, "prev_page_token");
	dbx_json_remove(get->object, "has_more");
}

static DbxGet *
new_get(const DbxWorkspace *workspace, const DbxCallSpec *spec)
{
	DbxGet *get = palloc0(sizeof(DbxGet));

	get->context = CurrentMemoryContext;
	get->workspace = workspace;
	get->spec = *spec;
	return get;
}

DbxGet *
dbx_get_start(const DbxWorkspace *workspace, const DbxCallSpec *spec)
{
	DbxGet *get = new_get(workspace, spec);

	ask_page(get, NULL);
	return get;
}

bool
dbx_get_done(DbxGet *get)
{
	MemoryContext before = MemoryContextSwitchTo(get->context);

	while (get->call != NULL && get->error == NULL && dbx_call_done(get->call))
	{
		DbxJson *page = NULL;
		char	*why;

		get->error = dbx_call_error(get->call);
		if (get->error == NULL)
		{
			page = dbx_call_try_json(get->call, &why);
			if (page == NULL)
				get->error = dbx_api_unreadable(why);
		}
		if (page != NULL)
		{
			dbx_call_free(get->call);
			get->call = NULL;
			add_page(get, page);
		}
	}
	MemoryContextSwitchTo(before);
	return get->call == NULL || get->error != NULL;
}

void
dbx_get_raise(const DbxGet *get)
{
	if (dbx_call_error(get->call) != NULL)
		dbx_call_raise(get->call);
	(void) dbx_call_json(get->call);
	pg_unreachable();
}

static DbxJson *
finish_get(DbxGet *get)
{
	while (!dbx_get_done(get))
		(void) dbx_calls_progress(0);
	if (get->error != NULL)
		dbx_get_raise(get);
	return get->object;
}

void
dbx_api_merge_rest(const DbxWorkspace *workspace, const DbxCallSpec *spec,
				   DbxJson *first)
{
	DbxGet *get = new_get(workspace, spec);

	add_page(get, first);
	(void) finish_get(get);
}

DbxJson *
dbx_api_get_merged(const DbxWorkspace *workspace, const DbxCallSpec *spec)
{
	return finish_get(dbx_get_start(workspace, spec));
}
