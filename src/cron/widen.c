/*
 * widen.c
 *	  The pg_cron entry of a schedule in another time zone.
 *
 * pg_cron knows one clock for all entries (GMT, unless it is newer and was told
 * otherwise).  An entry is one expression, so minutes, hours and days that are
 * needed in summer or in winter are joined: it calls a little too often, and
 * whoever is called asks the evaluator whether it is time.
 *
 * The offsets are those of the next 28 years, after which dates fall on the
 * same days of the week again: what never meets in that time is not widened for.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "cron/cron.h"

#define HORIZON_SECONDS ((INT64CONST(28) * 365 + 7) * SECS_PER_DAY)
#define ALL_HOURS		((UINT32_C(1) << 24) - 1)
#define ALL_DAYS		(~UINT32_C(1))
#define ALL_MONTHS		0x1ffe
#define ALL_WEEKDAYS	0x7f

/* Clocks differ by up to 26 hours. */
#define SHIFT_MAX 2

typedef struct Wide
{
	uint64 minutes;
	uint32 hours;
	bool   shifts[2 * SHIFT_MAX + 1]; /* days between the two calendars */
} Wide;

static void collect(const DbxCron *cron, const pg_tz *zone, const pg_tz *target,
					pg_time_t from, Wide *wide);
static pg_time_t stretch(const pg_tz *zone, pg_time_t at, long *offset);
static bool		 month_in_stretch(const DbxCron *cron, int64 from, int64 to);
static void		 add_offset(const DbxCron *cron, int64 difference, Wide *wide);
static void		 add_moment(int64 local, int64 day, Wide *wide);
static void	  append_days(StringInfo buf, const DbxCron *cron, const Wide *wide,
						  bool and_only);
static uint32 shift_days(const DbxCron *cron, int shift);
static uint16 shift_months(const DbxCron *cron, int shift);
static uint8  shift_weekdays(uint8 weekdays, int shift);
static void append_set(StringInfo buf, uint64 set, int low, int high, bool star);

char *
dbx_cron_widen(const DbxCron *cron, const pg_tz *zone, const pg_tz *target,
			   TimestampTz from, bool and_only)
{
	Wide		   wide;
	StringInfoData buf;

	memset(&wide, 0, sizeof(wide));
	collect(cron, zone, target, timestamptz_to_time_t(from), &wide);

	initStringInfo(&buf);
	append_set(&buf, wide.minutes, 0, MINS_PER_HOUR - 1, true);
	appendStringInfoChar(&buf, ' ');
	append_set(&buf, wide.hours, 0, HOURS_PER_DAY - 1, true);
	appendStringInfoChar(&buf, ' ');
	append_days(&buf, cron, &wide, and_only);
	return buf.data;
}

/* Go through the stretches in which neither clock changes. */
static void
collect(const DbxCron *cron, const pg_tz *zone, const pg_tz *target,
		pg_time_t from, Wide *wide)
{
	pg_time_t limit = from + HORIZON_SECONDS;
	long	  before = 0;
	bool	  any = false;

	for (pg_time_t at = from; at < limit;)
	{
		long	  offset;
		long	  target_offset;
		pg_time_t end = stretch(zone, at, &offset);
		pg_time_t target_end = stretch(target, at, &target_offset);
		int64	  left_out;

		end = Min(Min(end, target_end), limit);
		if (month_in_stretch(cron, at + offset, end + offset))
		{
			add_offset(cron, target_offset - offset, wide);
			any = true;
		}

		/* what the clock leaves out ticks at its jump */
		if (cron->hours != ALL_HOURS && at > from && offset > before &&
			dbx_cron_find_local(cron, at + before, at + offset, &left_out))
			add_moment(at + target_offset, left_out / SECS_PER_DAY, wide);
		before = offset;
		at = end;
	}
	if (!any)
		elog(ERROR, "no month fits");
}

/* End of the time in which the clock does not change, and its offset then. */
static pg_time_t
stretch(const pg_tz *zone, pg_time_t at, long *offset)
{
	pg_time_t end;
	long	  next_offset;
	int		  isdst;
	int		  next_isdst;
	int		  changes;

	changes = pg_next_dst_boundary(&at, offset, &isdst, &end, &next_offset,
								   &next_isdst, zone);
	if (changes < 0)
		elog(ERROR, "time zone \"%s\" cannot be evaluated",
			 pg_get_timezone_name((pg_tz *) zone));
	return changes == 0 ? at + HORIZON_SECONDS : end;
}

/* Is there a month of the schedule between two local times? */
static bool
month_in_stretch(const DbxCron *cron, int64 from, int64 to)
{
	int first_year;
	int first_month;
	int last_year;
	int last_month;
	int day;

	j2date((int) (from / SECS_PER_DAY) + UNIX_EPOCH_JDATE, &first_year,
		   &first_month, &day);
	j2date((int) ((to - 1) / SECS_PER_DAY) + UNIX_EPOCH_JDATE, &last_year,
		   &last_month, &day);
	last_month += (last_year - first_year) * MONTHS_PER_YEAR;
	for (int month = first_month;
		 month <= last_month && month < first_month + MONTHS_PER_YEAR; month++)
	{
		if ((cron->months & (1 << ((month - 1) % MONTHS_PER_YEAR + 1))) != 0)
			return true;
	}
	return false;
}

/* All times of the day, the target's clock being ahead by "difference". */
static void
add_offset(const DbxCron *cron, int64 difference, Wide *wide)
{
	for (int hour = 0; hour < HOURS_PER_DAY; hour++)
	{
		if ((cron->hours & (UINT32_C(1) << hour)) == 0)
			continue;
		for (int minute = 0; minute < MINS_PER_HOUR; minute++)
		{
			if ((cron->minutes & (UINT64CONST(1) << minute)) != 0)
				add_moment(hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE +
							   difference,
						   0, wide);
		}
	}
}

/* A moment of the target's clock, for a day of the zone's calendar. */
static void
add_moment(int64 local, int64 day, Wide *wide)
{
	int64 target_day = local / SECS_PER_DAY;
	int	  second;

	if (local % SECS_PER_DAY < 0)
		target_day--;
	second = (int) (local - target_day * SECS_PER_DAY);
	if (target_day - day < -SHIFT_MAX || target_day - day > SHIFT_MAX)
		elog(ERROR, "clocks differ by " INT64_FORMAT " days", target_day - day);
	wide->shifts[target_day - day + SHIFT_MAX] = true;
	wide->hours |= UINT32_C(1) << (second / SECS_PER_HOUR);
	wide->minutes |= UINT64CONST(1)
		<< (second % SECS_PER_HOUR / SECS_PER_MINUTE);
}

/*
 * The fields of days and months.  pg_cron, too, looks at the first character of
 * the fields to know whether a day must fit both, so what is written must keep
 * that or let more days pass.
 */
static void
append_days(StringInfo buf, const DbxCron *cron, const Wide *wide, bool and_only)
{
	bool   either = !cron->days_star && !cron->weekdays_star;
	uint32 days = 0;
	uint16 months = 0;
	uint8  weekdays = 0;

	for (int i = 0; i < lengthof(wide->shifts); i++)
	{
		if (!wide->shifts[i])
			continue;
		days |= shift_days(cron, i - SHIFT_MAX);
		months |= shift_months(cron, i - SHIFT_MAX);
		weekdays |= shift_weekdays(cron->weekdays, i - SHIFT_MAX);
	}

	if (either && and_only)
	{
		appendStringInfoString(buf, "* ");
		append_set(buf, months, 1, MONTHS_PER_YEAR, true);
		appendStringInfoString(buf, " *");
		return;
	}
	if (either)
	{
		append_set(buf, days, 1, 31, false);
		appendStringInfoChar(buf, ' ');
		append_set(buf, months, 1, MONTHS_PER_YEAR, true);
		appendStringInfoChar(buf, ' ');
		append_set(buf, weekdays, 0, 6, false);
		return;
	}

	/* one field with "*" and a step, the other one restricted too */
	if (days != ALL_DAYS && weekdays != ALL_WEEKDAYS)
	{
		bool moved = false;

		for (int i = 0; i < lengthof(wide->shifts); i++)
			moved |= wide->shifts[i] && i != SHIFT_MAX;
		if (!moved && !cron->last_day)
		{
			appendStringInfo(buf, "%s ", cron->days_text);
			append_set(buf, months, 1, MONTHS_PER_YEAR, true);
			appendStringInfo(buf, " %s", cron->weekdays_text);
			return;
		}
		if (cron->days_star)
			days = ALL_DAYS;
		else
			weekdays = ALL_WEEKDAYS;
	}
	append_set(buf, days, 1, 31, true);
	appendStringInfoChar(buf, ' ');
	append_set(buf, months, 1, MONTHS_PER_YEAR, true);
	appendStringInfoChar(buf, ' ');
	append_set(buf, weekdays, 0, 6, true);
}

/* A month ends with the 28th to the 31st, so both sides of its end are open. */
static uint32
shift_days(const DbxCron *cron, int shift)
{
	uint32 result = 0;

	for (int length = 28; length <= 31; length++)
	{
		for (int day = 1; day <= length; day++)
		{
			int moved = day + shift;

			if ((cron->days & (UINT32_C(1) << day)) == 0 &&
				!(cron->last_day && day == length))
				continue;
			if (moved < 1)
			{
				/* how long the month before is has nothing to do with this one */
				for (int before = 28; before <= 31; before++)
					result |= UINT32_C(1) << (before + moved);
				continue;
			}
			result |= UINT32_C(1) << (moved > length ? moved - length : moved);
		}
	}
	return result;
}

static uint16
shift_months(const DbxCron *cron, int shift)
{
	bool   either = !cron->days_star && !cron->weekdays_star;
	uint32 days = either ? ALL_DAYS : cron->days;
	uint16 result = cron->months;

	/* days from which a shift leaves the month */
	if (cron->last_day)
		days |= UINT32_C(0xf) << 28;
	if (shift < 0 && (days & ((UINT32_C(2) << -shift) - 1)) != 0)
		result |= (cron->months >> 1) |
			((cron->months & 0x2) != 0 ? 1 << 12 : 0);
	if (shift > 0 && (days & ~((UINT32_C(1) << (29 - shift)) - 1)) != 0)
		result |= (cron->months << 1) |
			((cron->months & (1 << 12)) != 0 ? 0x2 : 0);
	return result & ALL_MONTHS;
}

static uint8
shift_weekdays(uint8 weekdays, int shift)
{
	int by = (shift + 7) % 7;

	return (uint8) ((weekdays << by | weekdays >> (7 - by)) & ALL_WEEKDAYS);
}

/* "*" for all, if that is allowed, else ranges and numbers. */
static void
append_set(StringInfo buf, uint64 set, int low, int high, bool star)
{
	const char *comma = "";
	bool		all = true;

	for (int i = low; i <= high; i++)
		all = all && (set & (UINT64CONST(1) << i)) != 0;
	if (all && star)
	{
		appendStringInfoChar(buf, '*');
		return;
	}
	for (int i = low; i <= high; i++)
	{
		int last = i;

		if ((set & (UINT64CONST(1) << i)) == 0)
			continue;
		while (last < high && (set & (UINT64CONST(1) << (last + 1))) != 0)
			last++;
		if (last > i + 1)
			appendStringInfo(buf, "%s%d-%d", comma, i, last);
		else
		{
			appendStringInfo(buf, "%s%d", comma, i);
			last = i;
		}
		comma = ",";
		i = last;
	}
}
