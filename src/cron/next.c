/*
 * next.c
 *	  When a cron expression ticks in a time zone.
 *
 * The zone's clock is taken apart into the stretches between its changes, in
 * which local time is UTC plus a constant; inside one, the search goes over
 * local days and jumps over months that do not fit.  So the work grows with the
 * number of days looked at, never with minutes.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "cron/cron.h"

#define ALL_HOURS ((UINT32_C(1) << 24) - 1)

/* The 29th of February on a given day of the week can be 40 years away. */
#define HORIZON_SECONDS (INT64CONST(60) * 366 * SECS_PER_DAY)

/* No clock has ever been set by more than a day. */
#define LOOK_BACK_SECONDS (2 * SECS_PER_DAY)

static bool next_second(const DbxCron *cron, const pg_tz *zone, pg_time_t after,
						pg_time_t limit, pg_time_t *tick);
static bool day_fits(const DbxCron *cron, int julian, int year, int month,
					 int day);
static int	next_minute(const DbxCron *cron, int minute);
static int64 floor_div(int64 value, int64 divisor);

const pg_tz *
dbx_cron_zone(const char *name)
{
	pg_tz *zone = pg_tzset(name);

	if (zone == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("time zone \"%s\" not recognized", name),
			 errhint(
				 "Names are in pg_catalog.pg_timezone_names, for example Europe/Berlin.")));
	if (!pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" appears to use leap seconds", name),
				 errdetail("PostgreSQL does not support leap seconds.")));
	return zone;
}

/* Seconds since 1970, rounded down. */
static pg_time_t
to_seconds(TimestampTz time)
{
	return floor_div(time, USECS_PER_SEC) +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
}

bool
dbx_cron_next(const DbxCron *cron, const pg_tz *zone, TimestampTz after,
			  TimestampTz *tick)
{
	pg_time_t begin;
	pg_time_t found;

	if (TIMESTAMP_NOT_FINITE(after))
		return false;
	begin = to_seconds(after);
	if (!next_second(cron, zone, begin, begin + HORIZON_SECONDS, &found))
		return false;
	*tick = time_t_to_timestamptz(found);
	return IS_VALID_TIMESTAMP(*tick);
}

/*
 * Found by halving: x is early enough if there is a tick in (x, at].
 */
bool
dbx_cron_previous(const DbxCron *cron, const pg_tz *zone, TimestampTz at,
				  TimestampTz *tick)
{
	pg_time_t end;
	pg_time_t early;
	pg_time_t late;
	pg_time_t found;
	pg_time_t step = SECS_PER_HOUR;

	if (TIMESTAMP_NOT_FINITE(at))
		return false;
	end = to_seconds(at);
	late = end;
	for (;;)
	{
		early = end - step;
		if (next_second(cron, zone, early, end + 1, &found))
			break;
		if (step > HORIZON_SECONDS)
			return false;
		late = early;
		step *= 8;
	}

	/* (early, end] has a tick, (late, end] has none */
	while (late - early > 1)
	{
		pg_time_t middle = early + (late - early) / 2;
		pg_time_t other;

		if (next_second(cron, zone, middle, end + 1, &other))
		{
			early = other - 1;
			found = other;
		}
		else
			late = middle;
		if (early >= late)
			break;
	}
	*tick = time_t_to_timestamptz(found);
	return IS_VALID_TIMESTAMP(*tick);
}

/*
 * First tick in (after, limit).
 */
static bool
next_second(const DbxCron *cron, const pg_tz *zone, pg_time_t after,
			pg_time_t limit, pg_time_t *tick)
{
	bool	  named_hours = cron->hours != ALL_HOURS;
	pg_time_t begin = after - LOOK_BACK_SECONDS;
	int64	  reached = 0; /* local time the clock has shown already */
	bool	  first = true;

	while (begin < limit)
	{
		pg_time_t end;
		long	  offset;
		long	  next_offset;
		int		  isdst;
		int		  next_isdst;
		int		  changes;
		int64	  from;
		int64	  found;

		changes = pg_next_dst_boundary(&begin, &offset, &isdst, &end,
									   &next_offset, &next_isdst, zone);
		if (changes < 0)
			elog(ERROR, "time zone \"%s\" cannot be evaluated",
				 pg_get_timezone_name((pg_tz *) zone));
		if (changes == 0 || end > limit)
			end = limit;

		from = begin + offset;
		if (named_hours && !first)
		{
			if (from > reached && begin > after &&
				dbx_cron_find_local(cron, reached, from, &found))
			{
				*tick = begin;
				return true;
			}
			from = Max(from, reached);
		}
		from = Max(from, after + 1 + offset);
		if (dbx_cron_find_local(cron, from, end + offset, &found))
		{
			*tick = found - offset;
			return true;
		}
		reached = first ? end + offset : Max(reached, end + offset);
		first = false;
		begin = end;
	}
	return false;
}

bool
dbx_cron_find_local(const DbxCron *cron, int64 from, int64 to, int64 *found)
{
	int64 day = floor_div(from, SECS_PER_DAY);
	int	  minute = (int) ((from - day * SECS_PER_DAY + SECS_PER_MINUTE - 1) /
						  SECS_PER_MINUTE);

	while (day * SECS_PER_DAY < to)
	{
		int julian = (int) (day + UNIX_EPOCH_JDATE);
		int year;
		int month;
		int month_day;

		j2date(julian, &year, &month, &month_day);
		if ((cron->months & (1 << month)) == 0)
		{
			day = date2j(month == 12 ? year + 1 : year,
						 month == 12 ? 1 : month + 1, 1) -
				UNIX_EPOCH_JDATE;
			minute = 0;
			continue;
		}
		if (day_fits(cron, julian, year, month, month_day))
		{
			int next = next_minute(cron, minute);

			if (next >= 0)
			{
				*found = day * SECS_PER_DAY + (int64) next * SECS_PER_MINUTE;
				return *found < to;
			}
		}
		day++;
		minute = 0;
	}
	return false;
}

static bool
day_fits(const DbxCron *cron, int julian, int year, int month, int day)
{
	bool day_of_month = (cron->days & (UINT32_C(1) << day)) != 0 ||
		(cron->last_day && day == day_tab[isleap(year)][month - 1]);
	bool day_of_week = (cron->weekdays & (1 << j2day(julian))) != 0;

	if (cron->days_star || cron->weekdays_star)
		return day_of_month && day_of_week;
	return day_of_month || day_of_week;
}

/* First minute of the day that fits, from one on; -1 if there is none. */
static int
next_minute(const DbxCron *cron, int minute)
{
	int	   hour = minute / MINS_PER_HOUR;
	uint64 minutes;
	uint32 hours;

	if (hour >= HOURS_PER_DAY)
		return -1;
	if ((cron->hours & (UINT32_C(1) << hour)) != 0)
	{
		minutes = cron->minutes >> (minute % MINS_PER_HOUR);
		if (minutes != 0)
			return minute + pg_rightmost_one_pos64(minutes);
	}
	hours = cron->hours & ~((UINT32_C(2) << hour) - 1);
	if (hours == 0)
		return -1;
	return pg_rightmost_one_pos32(hours) * MINS_PER_HOUR +
		pg_rightmost_one_pos64(cron->minutes);
}

static int64
floor_div(int64 value, int64 divisor)
{
	int64 result = value / divisor;

	return value % divisor < 0 ? result - 1 : result;
}
