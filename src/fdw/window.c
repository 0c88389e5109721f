/*
 * window.c
 *	  A list cut into disjoint ranges of time, newest first.
 *
 * Separate because both the parallel and the ordered scan use it, and it knows
 * no calls.  All windows together cover every time and also elements without
 * one: the first has no upper bound but that of the request, so that it holds
 * what begins meanwhile, the last no lower one.  How wide they are only decides
 * how many calls there are, so they follow the density seen so far.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "fdw/fdw.h"

#define UNIX_EPOCH \
	(-(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)
#define DAY_MS INT64CONST(86400000)

/* The widest step, in windows of no elements at all: keeps sums from overflow. */
#define MAX_SPAN (3650 * DAY_MS)

/* Pages a window may have by the density of all before it: a gap is no end. */
#define MOST_PAGES 20

static int64 lower_limit(const DbxWindows *windows);
static bool	 is_ascending(const int64 *times, int ntimes);
static int	 compare_times(const void *a, const void *b);

/* When the element was, in ms since 1970; 0: never. */
int64
dbx_fdw_element_time(const DbxResource *res, const DbxJson *element)
{
	int64 time = 0;

	(void) dbx_json_int64(dbx_json_path(element, res->time_member), &time);
	return Max(time, 0);
}

static int
compare_times(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x > y ? -1 : x < y ? 1 : 0;
}

/* Do most go up? */
static bool
is_ascending(const int64 *times, int ntimes)
{
	int ups = 0;
	int downs = 0;
	int i;

	for (i = 1; i < ntimes; i++)
	{
		ups += times[i] > times[i - 1];
		downs += times[i] < times[i - 1];
	}
	return ups > 2 * downs;
}

/*
 * Windows over a request, of which elements with these times have been seen, in
 * the order they came in.  The newer half tells the density: older ones may be
 * stragglers.  Where the oldest come first, they do not tell how far it goes.
 */
void
dbx_windows_start(DbxWindows *windows, const DbxResource *res,
				  const DbxRequest *request, const int64 *times, int ntimes)
{
	int64 *sorted = (int64 *) palloc(Max(ntimes, 1) * sizeof(int64));
	int	   half = ntimes / 2;

	memcpy(sorted, times, ntimes * sizeof(int64));
	qsort(sorted, ntimes, sizeof(int64), compare_times);

	windows->res = res;
	windows->request = request;
	windows->newest = ntimes > 0 ? sorted[0] : 0;
	if (is_ascending(times, ntimes))
		windows->newest = Max(windows->newest,
							  (GetCurrentTimestamp() - UNIX_EPOCH) / 1000);
	windows->density = half > 0
		? half / (double) Max(sorted[0] - sorted[half], 1)
		: 1.0 / DAY_MS;
	windows->least = ntimes > 1
		? Min(windows->density,
			  ntimes / (double) Max(sorted[0] - sorted[ntimes - 1], 1))
		: windows->density;
	windows->oldest = windows->newest - res->horizon_days * DAY_MS;
	windows->wanted = 4.0 * res->page_size;
	windows->elements = windows->span = 0;
	windows->to = request->to;
	windows->done = false;
	pfree(sorted);
}

/* Over how much time, in ms, the windows to come may have elements. */
double
dbx_windows_span(const DbxWindows *windows)
{
	return Max(Min(windows->newest, windows->to) - lower_limit(windows), 0);
}

/* The next window, both bounds inclusive; false: there is none. */
bool
dbx_windows_next(DbxWindows *windows, int64 *from, int64 *to)
{
	double span = windows->wanted / windows->density;
	int64  top = Min(windows->to, Max(windows->newest, 1));

	if (windows->done)
		return false;
	if (windows->elements > 0)
		span = Min(span,
				   MOST_PAGES * windows->res->page_size * windows->span /
					   windows->elements);
	*to = windows->to;
	*from = top - (int64) Min(Max(span, 1.0), (double) MAX_SPAN);
	if (*from <= lower_limit(windows))
	{
		*from = windows->request->from;
		windows->done = true;
	}
	windows->to = *from - 1;
	return true;
}

/* A window turned out to hold so many elements. */
void
dbx_windows_learn(DbxWindows *windows, int64 from, int64 to, int elements)
{
	double span = Max(Min(to, windows->newest) - from, 1);

	if (from <= windows->request->from)
		return;
	windows->elements += elements;
	windows->span += span;
	if (elements == 0)
		windows->density /= 4;
	else
		windows->density = (windows->density + elements / span) / 2;
	windows->density = Max(windows->density, 1.0 / MAX_SPAN);
}

/* Below this there should not be enough for a window of its own. */
static int64
lower_limit(const DbxWindows *windows)
{
	return Max(windows->request->from, Max(windows->oldest, 0));
}
