/*
 * prescan.h
 *	  The check that a text passes before cJSON sees it.  Private to src/json.
 */
#ifndef DBX_JSON_PRESCAN_H
#define DBX_JSON_PRESCAN_H

/* No setting allows more; cJSON itself gives up at 1000. */
#define DBX_JSON_DEPTH_LIMIT 900

/*
 * First byte of a string that stands for a number.  It occurs in no valid
 * UTF-8 and so in no string that passed, whatever the service sent.
 */
#define DBX_JSON_NUMBER_MARK '\xFF'

typedef struct DbxJsonChecked
{
	const char *text; /* what cJSON may parse; not NUL-terminated */
	Size		len;
	char	   *copy;	/* "text", if it had to be changed; else NULL */
	bool		marked; /* some numbers were turned into strings */
	char	   *error;	/* a sentence, if the text was refused */
} DbxJsonChecked;

/*
 * Check a text and make it fit for cJSON.  Returns false and sets "error" if
 * it is no JSON or nested deeper than max_depth.  What is not in the projection
 * (NULL: all is) is left out.  Everything is allocated in the current context;
 * raises only for lack of memory.
 */
extern bool dbx_json_prescan(const char *text, Size len, int max_depth,
							 const DbxJsonProjection *projection,
							 DbxJsonChecked			 *checked);

#endif /* DBX_JSON_PRESCAN_H */
