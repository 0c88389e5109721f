/*
 * values.h
 *	  Values of a statement's result as those of PostgreSQL.
 */
#ifndef DBX_FUNCTIONS_VALUES_H
#define DBX_FUNCTIONS_VALUES_H

#include "access/tupdesc.h"
#include "fmgr.h"

#include "json/json.h"

/*
 * The text of a value of type "there" as a value of a column declared here, whose
 * input function and its parameter are given; in the current context.  Raises
 * what the input function does.
 */
extern Datum dbx_statement_value(const char *text, const char *there,
								 Form_pg_attribute column, FmgrInfo *input,
								 Oid parameter);

/* The text of an ARRAY, MAP, STRUCT or VARIANT, NULL if it is no JSON. */
extern DbxJson *dbx_statement_structure(const char *text);

#endif /* DBX_FUNCTIONS_VALUES_H */
