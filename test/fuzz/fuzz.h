/*
 * fuzz.h
 *	  What the fuzz targets share.
 */
#ifndef DBX_FUZZ_H
#define DBX_FUZZ_H

#include <stdint.h>

#include "workspace/workspace.h"

/*
 * One input in a memory context of its own.  An error that "body" raises is a
 * result like any other, unless it is an internal one or cannot be shown: those,
 * failed assertions and what the sanitizers see end the process, which is a
 * finding.  "data" is a copy with a NUL behind it.
 */
typedef void (*FuzzBody)(char *data, Size size);

extern int fuzz_one(const uint8_t *data, size_t size, FuzzBody body);

/* End the process because something does not hold. */
extern void fuzz_expect(bool holds, const char *what);

/* Is the text valid in the encoding of the database?  NULL is. */
extern void fuzz_expect_text(const char *text, const char *what);

/* A workspace with a token, as the catalogs would give it. */
extern DbxWorkspace *fuzz_workspace(void);

/*
 * From now on requests are answered from this text, one record after the other;
 * beyond its end with an empty object.  A record:
 *
 *		STATUS [NAME ": " VALUE LF]... US BODY RS
 *
 * where a digit or a letter from a to g stands for a status of HTTP and any other
 * for a failure of the network, US is byte 0x1f and RS 0x1e.  Time passes only
 * where somebody waits for it.
 */
extern void fuzz_answers(const char *data, Size size);

#endif
