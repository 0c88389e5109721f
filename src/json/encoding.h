/*
 * encoding.h
 *	  Strings of a document in the encoding of the database.  Private to
 *	  src/json.
 */
#ifndef DBX_JSON_ENCODING_H
#define DBX_JSON_ENCODING_H

/* Do strings have to pass dbx_json_to_server()? */
extern bool dbx_json_needs_conversion(void);

/*
 * The UTF-8 string in the encoding of the database, with "?" for what that one
 * does not have.  Returns the string itself if there is nothing to convert,
 * else allocates in the current context.
 */
extern char *dbx_json_to_server(char *utf8);

#endif /* DBX_JSON_ENCODING_H */
