/*
 * cron.h
 *	  Cron expressions in any time zone: parsed, evaluated, handed to pg_cron.
 *
 * The syntax is pg_cron's: five fields or a word as @daily, names, ranges,
 * steps, lists, "$" for the last day of a month.  What pg_cron lets pass but can
 * only be a mistake is refused: text behind the fields, ranges that end before
 * they begin.
 *
 * A tick is a whole minute of the zone's clock.  Where the clock jumps, a
 * schedule whose hours are named ("0 2 * * *") ticks once for each local time:
 * a time that the clock leaves out ticks at the first minute after the jump, of
 * a time that comes twice only the first one counts.  A schedule of every hour
 * ("10 * * * *") ticks in each minute that fits, as if nothing had happened.
 */
#ifndef DBX_CRON_H
#define DBX_CRON_H

#include "datatype/timestamp.h"
#include "pgtime.h"

typedef struct DbxCron
{
	uint64 minutes;	 /* bits 0 to 59 */
	uint32 hours;	 /* bits 0 to 23 */
	uint32 days;	 /* bits 1 to 31 */
	uint16 months;	 /* bits 1 to 12 */
	uint8  weekdays; /* bits 0 to 6, Sunday is 0 */
	bool   last_day; /* "$": also the last day of the month */

	/*
	 * A day must fit both fields if one of them begins with "*", else one of
	 * them is enough.
	 */
	bool days_star;
	bool weekdays_star;

	/* fields as written, for handing them on */
	char *days_text;
	char *weekdays_text;
} DbxCron;

/* Parse, in the current memory context; raises 22023 with the place and why. */
extern DbxCron *dbx_cron_parse(const char *text);

/* A time zone by name; raises 22023. Lives as long as the process. */
extern const pg_tz *dbx_cron_zone(const char *name);

/*
 * First tick after a moment; false when there is none within 60 years, or the
 * moment is infinite.
 */
extern bool dbx_cron_next(const DbxCron *cron, const pg_tz *zone,
						  TimestampTz after, TimestampTz *tick);

/* Last tick not after a moment; false likewise. */
extern bool dbx_cron_previous(const DbxCron *cron, const pg_tz *zone,
							  TimestampTz at, TimestampTz *tick);

/* First minute in [from, to) that fits, both in seconds of a local clock. */
extern bool dbx_cron_find_local(const DbxCron *cron, int64 from, int64 to,
								int64 *found);

/*
 * The expression that makes pg_cron, which evaluates in "target", call in every
 * minute in which this one ticks in "zone" from "from" on, and in as few others
 * as one expression allows.  and_only: this pg_cron wants both day fields to
 * fit, always.  Palloc'd.
 */
extern char *dbx_cron_widen(const DbxCron *cron, const pg_tz *zone,
							const pg_tz *target, TimestampTz from,
							bool and_only);

#endif /* DBX_CRON_H */
