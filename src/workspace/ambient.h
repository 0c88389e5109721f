/*
 * ambient.h
 *	  What the server process brings along: its environment, and profiles.
 */
#ifndef DBX_AMBIENT_H
#define DBX_AMBIENT_H

#include "workspace/workspace.h"

/*
 * Fill in what the options leave open, first from the environment, then from
 * the profile, as far as the options ask for either; see ambient.c.  Raises
 * 42501 when the role or the owner of the server may not use what is asked for.
 */
extern void dbx_ambient_apply(DbxWorkspace *workspace);

#endif /* DBX_AMBIENT_H */
