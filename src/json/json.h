/*
 * json.h
 *	  JSON of the REST API: exact numbers, safe text, conversion to SQL.
 *
 * A DbxJson is one node of a parsed document.  Nodes live in the memory
 * context that was current when the document was parsed and die with it;
 * nothing has to be freed.  All readers accept NULL for a node and treat it as
 * an absent member, so that paths can be followed without a test per step.
 */
#ifndef DBX_JSON_H
#define DBX_JSON_H

#include "utils/jsonb.h"

typedef struct DbxJson DbxJson;

typedef enum DbxJsonType
{
	DBX_JSON_ABSENT, /* the node is NULL */
	DBX_JSON_NULL,
	DBX_JSON_BOOL,
	DBX_JSON_NUMBER,
	DBX_JSON_STRING,
	DBX_JSON_ARRAY,
	DBX_JSON_OBJECT
} DbxJsonType;

/*
 * Parse a whole text, which is UTF-8 whatever the encoding of the database is.
 * Errors (truncated text, trailing garbage, nesting beyond
 * databricks.json_max_depth, numbers of more than 1000 digits or with an
 * exponent beyond 1000, ...) are raised with
 * ERRCODE_FDW_UNABLE_TO_CREATE_REPLY; "what" names the text in the message,
 * the detail says what is wrong and at which byte, but nothing of a string.
 * What no text can hold becomes U+FFFD: \u0000, a surrogate without a partner,
 * bytes in a string that are no UTF-8.
 *
 * Strings and names of the document are in the encoding of the database, with
 * "?" for characters which that lacks.
 */
extern DbxJson *dbx_json_parse(const char *text, Size len, const char *what);

/*
 * As dbx_json_parse, but returns NULL and sets *error (palloc'd, a sentence for
 * a DETAIL) instead of raising.  Lack of memory or stack raises all the same.
 */
extern DbxJson *dbx_json_try_parse(const char *text, Size len, char **error);

/*
 * What of a document is read: of the objects in one array of it only some
 * members.  The others are checked like everything else, but are not there
 * afterwards.
 */
typedef struct DbxJsonProjection DbxJsonProjection;

/*
 * Of the array in this member, whose name must live as long; no members yet.  In the
 * current context.
 */
extern DbxJsonProjection *dbx_json_project(const char *array);

/* The member that this path begins with, too; likewise. */
extern void dbx_json_project_path(DbxJsonProjection *projection,
								  const char		*path);

/* As dbx_json_try_parse; NULL for "projection": all of it. */
extern DbxJson *dbx_json_try_parse_part(const char *text, Size len,
										const DbxJsonProjection *projection,
										char				   **error);

/*
 * A value from SQL, for reading: as jsonb, or as JSON text in the encoding of the
 * database.  Raises as dbx_json_parse() does, and 22021 for bytes that are no
 * character, which SQL_ASCII lets pass: what a user gives is not repaired.
 */
extern DbxJson *dbx_json_from_jsonb(Jsonb *value, const char *what);
extern DbxJson *dbx_json_from_text(const char *text, const char *what);

/*
 * Text in the encoding of the database as UTF-8, which is what the service
 * speaks: the text itself if there is nothing to convert, else in the current
 * context.
 */
extern char *dbx_json_to_utf8(const char *text);

/*
 * Look up the conversions of encodings, which needs a transaction: for processes
 * that will read and send outside of one.
 */
extern void dbx_json_prepare_encoding(void);

/* Reading.  Nothing up to dbx_json_bool raises; strings point into the document. */
extern DbxJsonType dbx_json_type(const DbxJson *node);

/* Member of an object, exact name; the last one of a doubled name; else NULL. */
extern const DbxJson *dbx_json_get(const DbxJson *node, const char *name);

/* Follow members by a dotted path, "status.termination_details.code". */
extern const DbxJson *dbx_json_path(const DbxJson *node, const char *path);

/* Elements of an array, members of an object (doubled ones too), else 0. */
extern int dbx_json_length(const DbxJson *node);

/* Walk the elements of an array or the members of an object, in order. */
extern const DbxJson *dbx_json_first(const DbxJson *node);
extern const DbxJson *dbx_json_next(const DbxJson *node);

/* The first element of an array, an object, with this text as member; else NULL. */
extern const DbxJson *dbx_json_find(const DbxJson *array, const char *member,
									const char *text);

/* Name of a member (of a node that came from an object), else NULL. */
extern const char *dbx_json_name(const DbxJson *node);

/* The string of a string node, else NULL (null, absent and other types too). */
extern const char *dbx_json_string(const DbxJson *node);

/*
 * Integer of a number node, however it is written (5, 5.0, 5e0, 0.5e1), or of a
 * string that is such a number (the service sends some ids that way).  False, and
 * *value untouched: absent, not an integer, beyond int64, a string with anything
 * else in it.
 */
extern bool dbx_json_int64(const DbxJson *node, int64 *value);
extern bool dbx_json_bool(const DbxJson *node, bool *value);

/*
 * Text of any node as SQL shows it (->>): the string itself, the digits of a
 * number as received, "true", JSON text of arrays and objects.  NULL for
 * absent and null.  Palloc'd in the current context where it is not part of
 * the document.
 */
extern const char *dbx_json_text(const DbxJson *node);

/*
 * Conversion to jsonb in the current context; digits of numbers are kept.  An
 * absent node becomes null.  Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED for what is
 * too large for jsonb.
 */
extern Jsonb *dbx_json_to_jsonb(const DbxJson *node);

/* JSON text of a node in the current context; "null" for an absent one. */
extern char *dbx_json_serialize(const DbxJson *node);

/*
 * Append the elements of array member "name" of "more" to that of "base",
 * creating it if absent (or no array): how paged objects (jobs/get, runs/get)
 * are merged.  The elements are moved, so "more" has none of them afterwards,
 * and both documents must live equally long.  Does nothing if "more" has no
 * such array.
 */
extern void dbx_json_append(DbxJson *base, const DbxJson *more,
							const char *name);

/* Remove a member of an object, if present. */
extern void dbx_json_remove(DbxJson *node, const char *name);

#endif /* DBX_JSON_H */
