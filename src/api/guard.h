/*
 * guard.h
 *	  Work that leaves something elsewhere when it breaks.
 */
#ifndef DBX_GUARD_H
#define DBX_GUARD_H

typedef void (*DbxGuarded)(void *arg);

/*
 * Do work(arg).  When the statement is cancelled meanwhile (also by its timeout)
 * do cancel(arg) before the error goes on its way; what goes wrong in there is
 * dropped.  So when the process is terminated or loses its client, before it
 * exits.  cancel NULL: just the work.
 */
extern void dbx_guard_cancel(DbxGuarded work, DbxGuarded cancel, void *arg);

/* The same with undo(arg) for any error. */
extern void dbx_guard_error(DbxGuarded work, DbxGuarded undo, void *arg);

#endif /* DBX_GUARD_H */
