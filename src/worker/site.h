/*
 * site.h
 *	  The workspaces that the dispatcher sends to: room, backlog, trouble.
 */
#ifndef DBX_WORKER_SITE_H
#define DBX_WORKER_SITE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct DbxSite
{
	char  name[NAMEDATALEN];
	int	  parallel; /* calls at a time */
	bool  backlog;	/* more was due than there was room for */
	bool  locked;	/* something is due that somebody has locked */
	List *troubles; /* private */
} DbxSite;

/* All that were asked for since the last dbx_site_forget(), as a List. */
extern List *dbx_site_all(void);

/* The one of that name, made if need be. */
extern DbxSite *dbx_site_find(const char *name);

/*
 * A request of this role met trouble that its others would meet as well: they are
 * held back for a while, longer with each failure in a row, and after that one at
 * a time is let through to see.
 */
extern void dbx_site_in_trouble(DbxSite *site, const char *role);

/* One got through.  True: the role was in trouble. */
extern bool dbx_site_got_through(DbxSite *site, const char *role);

/* The roles in trouble, and those of them that are not held back now. */
extern List *dbx_site_troubled(const DbxSite *site);
extern List *dbx_site_probing(const DbxSite *site);

/* When the next one will be let through (0: none is held back). */
extern TimestampTz dbx_site_next(const DbxSite *site);

/* Hold those back no longer whose time has come. */
extern void dbx_site_release(DbxSite *site);

/* Forget them all: what List and pointers were given is gone. */
extern void dbx_site_forget(void);

#endif /* DBX_WORKER_SITE_H */
