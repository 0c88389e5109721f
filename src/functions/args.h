/*
 * args.h
 *	  Arguments of SQL functions: required ones, and the workspace.
 */
#ifndef DBX_FUNCTIONS_ARGS_H
#define DBX_FUNCTIONS_ARGS_H

#include "fmgr.h"

#include "workspace/workspace.h"

/* Raise 22004 if argument number "number" is null. */
extern void dbx_arg_require(FunctionCallInfo fcinfo, int number,
							const char *name);

/* A text argument as C string, NULL if null. */
extern char *dbx_arg_text(FunctionCallInfo fcinfo, int number);

/* A jsonb argument, NULL if null. */
#define DBX_ARG_JSONB(number) \
	(PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number))

/* The workspace an argument names (null: the default one), for the current role. */
extern DbxWorkspace *dbx_arg_workspace(FunctionCallInfo fcinfo, int number);

#endif /* DBX_FUNCTIONS_ARGS_H */
