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

#include "fdw/fdw.h"

#define DAY_MS INT64CONST(86400000)

/* The widest step, in windows of no elements at all: keeps sums from overflow. */
#define MAX_SPAN (3650 * DAY_MS)

static int64 lower_limit(const DbxWindows *windows);
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

/*
 * Windows over a request, of which elements with these times have been seen.
 * The newer half tells the density: older ones may be stragglers.
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
	windows->density = half > 0
		? half / (double) Max(sorted[0] - sorted[half], 1)
		: 1.0 / DAY_MS;
	windows->wanted = 4.0 * res->page_size;
	windows->to = request->to;
	windows->done = false;
	pfree(sorted);
}

/* How many elements the windows to come may hold. */
double
dbx_windows_expected(const DbxWindows *windows)
{
	int64 from = lower_limit(windows);

	return windows->density * Max(Min(windows->newest, windows->to) - from, 0);
}

/* The next window, both bounds inclusive; false: there is none. */
bool
dbx_windows_next(DbxWindows *windows, int64 *from, int64 *to)
{
	double span = windows->wanted / windows->density;
	int64  top = Min(windows->to, Max(windows->newest, 1));

	if (windows->done)
		return false;
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
	int64 gone = windows->newest - windows->res->horizon_days * DAY_MS;

	return Max(windows->request->from, Max(gone, 0));
}
