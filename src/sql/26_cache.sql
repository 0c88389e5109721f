
/*
 * 26_cache.sql
 *	  Answers kept for later.
 */

CREATE FUNCTION databricks.discard_cache()
RETURNS pg_catalog.void
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'databricks_discard_cache';

COMMENT ON FUNCTION databricks.discard_cache() IS
'Forgets the answers that this session has kept for foreign tables with the option cache_ttl. Makes no call.';
