/*
 * guard.h
 *	  Work that leaves something to be cancelled elsewhere.
 */
#ifndef DBX_FUNCTIONS_GUARD_H
#define DBX_FUNCTIONS_GUARD_H

typedef void (*DbxGuarded)(void *arg);

/*
 * Do work(arg).  When the statement is cancelled meanwhile (also by its timeout)
 * do cancel(arg) before the error goes on its way; what goes wrong in there is
 * dropped.  cancel NULL: just the work.
 */
extern void dbx_guard(DbxGuarded work, DbxGuarded cancel, void *arg);

#endif /* DBX_FUNCTIONS_GUARD_H */
