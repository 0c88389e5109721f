/*
 * site.c
 *	  The workspaces that the dispatcher sends to: room, backlog, trouble.
 *
 * Separate because what one sending met is remembered here for those that come
 * after it.  Trouble belongs to a role in a workspace: when the credentials of
 * one fail, those of the others may well do.
 *
 * Memory: everything hangs off "context".
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "worker/sending.h"
#include "worker/site.h"

#define PARALLEL_DEFAULT 16

typedef struct Trouble
{
	char		role[NAMEDATALEN];
	int			failures; /* in a row */
	TimestampTz until;	  /* held back; 0: one at a time is let through */
} Trouble;

static MemoryContext context = NULL;
static List			*sites = NIL; /* of DbxSite * */

static Trouble *find_trouble(const DbxSite *site, const char *role);

List *
dbx_site_all(void)
{
	return sites;
}

DbxSite *
dbx_site_find(const char *name)
{
	ListCell	 *cell;
	DbxSite		 *site;
	MemoryContext before;

	foreach(cell, sites)
	{
		site = lfirst(cell);
		if (strcmp(site->name, name) == 0)
			return site;
	}
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "databricks sites",
										ALLOCSET_SMALL_SIZES);
	before = MemoryContextSwitchTo(context);
	site = palloc0(sizeof(DbxSite));
	strlcpy(site->name, name, NAMEDATALEN);
	site->parallel = PARALLEL_DEFAULT;
	sites = lappend(sites, site);
	MemoryContextSwitchTo(before);
	return site;
}

bool
dbx_site_got_through(DbxSite *site, const char *role)
{
	Trouble *trouble = find_trouble(site, role);

	if (trouble == NULL)
		return false;
	site->troubles = list_delete_ptr(site->troubles, trouble);
	pfree(trouble);
	return true;
}

void
dbx_site_in_trouble(DbxSite *site, const char *role)
{
	Trouble		 *trouble = find_trouble(site, role);
	MemoryContext before;

	if (trouble == NULL)
	{
		before = MemoryContextSwitchTo(context);
		trouble = palloc0(sizeof(Trouble));
		strlcpy(trouble->role, role, NAMEDATALEN);
		site->troubles = lappend(site->troubles, trouble);
		MemoryContextSwitchTo(before);
	}
	trouble->until = GetCurrentTimestamp() +
		dbx_sending_back_off(trouble->failures++);
}

static Trouble *
find_trouble(const DbxSite *site, const char *role)
{
	ListCell *cell;

	foreach(cell, site->troubles)
	{
		Trouble *trouble = lfirst(cell);

		if (strcmp(trouble->role, role) == 0)
			return trouble;
	}
	return NULL;
}

List *
dbx_site_troubled(const DbxSite *site)
{
	List	 *roles = NIL;
	ListCell *cell;

	foreach(cell, site->troubles)
		roles = lappend(roles, ((Trouble *) lfirst(cell))->role);
	return roles;
}

List *
dbx_site_probing(const DbxSite *site)
{
	List	 *roles = NIL;
	ListCell *cell;

	foreach(cell, site->troubles)
	{
		Trouble *trouble = lfirst(cell);

		if (trouble->until == 0)
			roles = lappend(roles, trouble->role);
	}
	return roles;
}

TimestampTz
dbx_site_next(const DbxSite *site)
{
	TimestampTz next = 0;
	ListCell   *cell;

	foreach(cell, site->troubles)
	{
		Trouble *trouble = lfirst(cell);

		if (trouble->until != 0 && (next == 0 || trouble->until < next))
			next = trouble->until;
	}
	return next;
}

void
dbx_site_release(DbxSite *site)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, site->troubles)
	{
		Trouble *trouble = lfirst(cell);

		if (trouble->until <= now)
			trouble->until = 0;
	}
}

void
dbx_site_forget(void)
{
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	sites = NIL;
}
