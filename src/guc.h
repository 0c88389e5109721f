/*
 * guc.h
 *	  The settings of the extension, all defined in one place.
 */
#ifndef DBX_GUC_H
#define DBX_GUC_H

extern char *dbx_guc_workspace;
extern int dbx_guc_json_max_depth;
extern int dbx_guc_max_buffer_size; /* kB */
extern int dbx_guc_max_pages;

/* Define all settings; called once, from _PG_init. */
extern void dbx_guc_define(void);

#endif							/* DBX_GUC_H */
