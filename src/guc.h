/*
 * guc.h
 *	  The settings of the extension, all defined in one place.
 */
#ifndef DBX_GUC_H
#define DBX_GUC_H

extern char *dbx_guc_workspace;
extern bool	 dbx_guc_dispatch;
extern bool	 dbx_guc_external_links;
extern int	 dbx_guc_follow_interval;			 /* ms */
extern int	 dbx_guc_history_overlap;			 /* ms */
extern int	 dbx_guc_history_reconcile_interval; /* ms */
extern int	 dbx_guc_hook_timeout;				 /* ms, 0: none */
extern int	 dbx_guc_json_max_depth;
extern int	 dbx_guc_max_buffer_size; /* kB */
extern int	 dbx_guc_max_pages;
extern int	 dbx_guc_max_retry_timeout; /* ms, -1: as the option says */
extern int	 dbx_guc_max_writes_per_statement;
extern int	 dbx_guc_poll_interval_max; /* ms */
extern int	 dbx_guc_poll_interval_min; /* ms */
extern int	 dbx_guc_request_retention; /* s, -1: for ever */
extern bool	 dbx_guc_success_with_failures;
extern int	 dbx_guc_wait_max_interval; /* ms */
extern int	 dbx_guc_wait_min_interval; /* ms */

/* Define all settings; called once, from _PG_init. */
extern void dbx_guc_define(void);

#endif /* DBX_GUC_H */
