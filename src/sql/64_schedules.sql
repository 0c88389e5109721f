
/*
 * 64_schedules.sql
 *	  Cron expressions in any time zone.
 */

CREATE FUNCTION databricks.next_tick(
	cron pg_catalog.text,
	after pg_catalog.timestamptz DEFAULT pg_catalog.now(),
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS pg_catalog.timestamptz
AS 'MODULE_PATHNAME', 'databricks_next_tick'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.next_tick(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text) IS
	'First moment later than "after" at which a schedule ticks; NULL if none comes within 60 years. cron: minute, hour, day of month, month, day of week (numbers, names of three letters, *, lists, ranges, steps; $ as day of month is the last one), or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. When neither day field begins with * one of them is enough. Where the clock of the zone jumps, a schedule of named hours ticks once for each local time (one that the clock leaves out: right after the jump), one of all hours in each minute that fits. Errors: 22023 with the place and what is wrong. No call of the service.';

CREATE FUNCTION databricks.ticks(
	cron pg_catalog.text,
	from_time pg_catalog.timestamptz,
	to_time pg_catalog.timestamptz,
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS SETOF pg_catalog.timestamptz
AS 'MODULE_PATHNAME', 'databricks_ticks'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.ticks(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text) IS
	'All ticks from from_time to before to_time, as next_tick() finds them, in order. No call of the service.';

CREATE FUNCTION databricks.cron_entry(
	cron pg_catalog.text,
	timezone pg_catalog.text DEFAULT 'UTC')
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'databricks_cron_entry'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION databricks.cron_entry(pg_catalog.text, pg_catalog.text) IS
	'The expression that makes pg_cron, whose clock is GMT, call whenever a schedule in the time zone ticks: widened by what summer time, jumps of the clock and the change of the date need, since one entry must do for the whole year. No call of the service.';
