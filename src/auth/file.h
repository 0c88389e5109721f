/*
 * file.h
 *	  Small text files of the server: tokens and profiles.
 */
#ifndef DBX_AUTH_FILE_H
#define DBX_AUTH_FILE_H

/*
 * The content of a file, palloc'd; NULL if it cannot be had, with the reason,
 * fit to stand behind the name of the file, in *why.  Does not raise for
 * anything about the file.  The caller has checked the rights.
 */
extern char *dbx_file_read(const char *path, const char **why);

/* The one token that a file holds, blanks around it left out; likewise. */
extern char *dbx_file_read_token(const char *path, const char **why);

#endif /* DBX_AUTH_FILE_H */
