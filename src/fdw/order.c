/*
 * order.c
 *	  Elements newest first, although the order of the list is not to be trusted.
 *
 * Separate from fetch.c, which takes elements as they come.  A range of time
 * read whole and sorted is right whatever the order was, so the list is read in
 * disjoint ranges, newest first.  Where the first one begins is seen on a first
 * page: the n-th newest among any elements is a lower bound for the n-th newest
 * of all.  A list of one page is whole already.
 *
 * Elements without a time come first or last as asked: first, they are asked
 * for by a range in which there is no time; last, the last range holds them.  A
 * service that takes no notice of bounds gives all of them in one range.
 *
 * What is handed out lasts until the next call.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "fdw/fdw.h"

/* Elements wanted of a range when it is not known how many will do, and at most. */
#define FEW	 10
#define MANY 400

/* An upper bound that only elements without a time keep. */
#define NO_TIME 1

typedef enum OrderStage
{
	STAGE_BEGIN,
	STAGE_RANGES,
	STAGE_END
} OrderStage;

struct DbxOrdered
{
	MemoryContext		context;
	MemoryContext		range_context; /* of what is handed out */
	const DbxWorkspace *workspace;
	const DbxResource  *res;
	const DbxRequest   *request;
	bool				nulls_first;
	int					enough;
	DbxCallStats	   *stats;

	OrderStage stage;
	DbxWindows windows;
	double	   handed_out;

	DbxSeen	  *seen;  /* in the range in hand */
	DbxListed *found; /* of the range in hand */
	int		   nfound;
	int		   space;
};

static bool	 begin(DbxOrdered *ordered);
static bool	 read_beginnings(DbxOrdered *ordered);
static void	 forget_range(DbxOrdered *ordered);
static bool	 read_range(DbxOrdered *ordered, int64 from, int64 to, bool nulls);
static List *open_lists(DbxOrdered *ordered, int64 from, int64 to);
static void	 take_elements(DbxOrdered *ordered, const DbxPage *page);
static void	 hand_out(DbxOrdered *ordered, DbxPage *page);
static int	 compare_nulls_first(const void *a, const void *b);
static int	 compare_nulls_last(const void *a, const void *b);

/* No call is made yet.  Everything given here must outlive the result. */
DbxOrdered *
dbx_ordered_open(const DbxWorkspace *workspace, const DbxResource *res,
				 const DbxRequest *request, const DbxManner *manner,
				 DbxCallStats *stats)
{
	DbxOrdered *ordered = (DbxOrdered *) palloc0(sizeof(DbxOrdered));

	ordered->context = CurrentMemoryContext;
	ordered->range_context = AllocSetContextCreate(CurrentMemoryContext,
												   "databricks range of time",
												   ALLOCSET_DEFAULT_SIZES);
	ordered->workspace = workspace;
	ordered->res = res;
	ordered->request = request;
	ordered->nulls_first = manner->order == DBX_ORDER_NULLS_FIRST;
	ordered->enough = manner->enough > 0 ? manner->enough : FEW;
	ordered->stats = stats;
	return ordered;
}

/* The next elements in order, as many as have been read.  False: the end. */
bool
dbx_ordered_next(DbxOrdered *ordered, DbxPage *page)
{
	int64 from;
	int64 to;

	CHECK_FOR_INTERRUPTS();
	if (ordered->stage == STAGE_END)
		return false;
	if (ordered->stage == STAGE_BEGIN)
	{
		ordered->stage = begin(ordered) ? STAGE_END : STAGE_RANGES;
		hand_out(ordered, page);
		return true;
	}

	ordered->windows.wanted = Min(Max(ordered->enough - ordered->handed_out,
									  ordered->windows.wanted * 2),
								  MANY);
	if (!dbx_windows_next(&ordered->windows, &from, &to))
	{
		ordered->stage = STAGE_END;
		return false;
	}
	(void) read_range(ordered, from, to, !ordered->nulls_first);
	dbx_windows_learn(&ordered->windows, from, to, ordered->nfound);
	hand_out(ordered, page);
	return true;
}

/*
 * The first range, with what comes before it.  True: that is all there is.
 */
static bool
begin(DbxOrdered *ordered)
{
	int64 *times;
	int64  bound = 0;
	int	   ntimes = 0;
	int	   i;

	if (read_beginnings(ordered))
		return true;

	/* what was seen tells where to begin */
	times = (int64 *) MemoryContextAlloc(ordered->context,
										 Max(ordered->nfound, 1) * sizeof(int64));
	qsort(ordered->found, ordered->nfound, sizeof(DbxListed),
		  compare_nulls_last);
	for (i = 0; i < ordered->nfound; i++)
	{
		if (ordered->found[i].time == 0)
			break;
		times[ntimes++] = ordered->found[i].time;
	}
	if (ntimes > 0)
		bound = times[Min(ordered->enough, ntimes) - 1];
	dbx_windows_start(&ordered->windows, ordered->res, ordered->request, times,
					  ntimes);
	ordered->windows.wanted = FEW;

	if (bound <= ordered->request->from)
	{
		(void) read_range(ordered, ordered->request->from, ordered->request->to,
						  true);
		return true;
	}
	ordered->windows.to = bound - 1;
	return !read_range(ordered, bound, ordered->request->to,
					   ordered->nulls_first);
}

static void
forget_range(DbxOrdered *ordered)
{
	MemoryContext previous;

	MemoryContextReset(ordered->range_context);
	previous = MemoryContextSwitchTo(ordered->range_context);
	ordered->found = NULL;
	ordered->nfound = ordered->space = 0;
	ordered->seen = dbx_seen_create();
	MemoryContextSwitchTo(previous);
}

/*
 * Read the lists until there are enough elements to begin with.  True: these are
 * all of them.
 */
static bool
read_beginnings(DbxOrdered *ordered)
{
	List	 *chains;
	bool	  all = true;
	ListCell *cell;

	forget_range(ordered);
	chains = open_lists(ordered, ordered->request->from, ordered->request->to);
	foreach(cell, chains)
		dbx_chain_begin((DbxChain *) lfirst(cell));
	foreach(cell, chains)
	{
		DbxChain *chain = lfirst(cell);
		DbxPage	  page;
		int		  taken = 0;

		while (taken < Min(ordered->enough, ordered->res->page_size) &&
			   dbx_chain_next(chain, &page))
		{
			take_elements(ordered, &page);
			taken += page.length;
		}
		all &= dbx_chain_at_end(chain);
	}
	return all;
}

/*
 * All elements between these bounds; where no lower bound excludes them, also
 * those without a time, if "nulls" says so.  False, of the first range only: the
 * service took no notice of the lower bound, so these are all there are.
 */
static bool
read_range(DbxOrdered *ordered, int64 from, int64 to, bool nulls)
{
	List *chains;
	bool  outside = false;
	int	  i;
	int	  kept = 0;

	forget_range(ordered);
	chains = open_lists(ordered, from, to);

	/* they come first, but no range that has a beginning holds them */
	if (nulls && from > 0 && ordered->nulls_first && ordered->request->from <= 0)
		chains = list_concat(chains, open_lists(ordered, 0, NO_TIME));

	while (chains != NIL)
	{
		DbxChain *chain = dbx_chains_wait(chains);
		DbxPage	  page;

		if (dbx_chain_next(chain, &page))
			take_elements(ordered, &page);
		else
			chains = list_delete_ptr(chains, chain);
	}

	for (i = 0; i < ordered->nfound && !outside; i++)
	{
		int64 time = ordered->found[i].time;

		outside = time > 0 && time < from - 1;
	}
	if (outside && ordered->stage == STAGE_BEGIN)
		return false;
	for (i = 0; i < ordered->nfound; i++)
	{
		int64 time = ordered->found[i].time;

		if (time == 0 ? nulls : time >= from && time <= to)
			ordered->found[kept++] = ordered->found[i];
	}
	ordered->nfound = kept;
	return true;
}

static List *
open_lists(DbxOrdered *ordered, int64 from, int64 to)
{
	MemoryContext previous = MemoryContextSwitchTo(ordered->range_context);
	List		 *chains = NIL;
	ListCell	 *cell;

	foreach(cell, ordered->request->lists)
		chains = lappend(
			chains,
			dbx_chain_open(ordered->workspace, ordered->res,
						   dbx_fdw_bounded_list(ordered->request, lfirst(cell),
												from, to),
						   DBX_CHAIN_KEEP |
							   (ordered->request->flagged ? 0 : DBX_CHAIN_MOVING),
						   NULL, ordered->stats));
	MemoryContextSwitchTo(previous);
	return chains;
}

static void
take_elements(DbxOrdered *ordered, const DbxPage *page)
{
	int i;

	if (ordered->nfound + page->length > ordered->space)
	{
		ordered->space = Max(ordered->space * 2,
							 ordered->nfound + page->length + 32);
		ordered->found = ordered->found == NULL
			? (DbxListed *) MemoryContextAllocHuge(ordered->range_context,
												   ordered->space *
													   sizeof(DbxListed))
			: (DbxListed *) repalloc_huge(ordered->found,
										  ordered->space * sizeof(DbxListed));
	}
	for (i = 0; i < page->length; i++)
	{
		if (dbx_seen_add(ordered->seen, &page->elements[i]))
			ordered->found[ordered->nfound++] = page->elements[i];
	}
}

static void
hand_out(DbxOrdered *ordered, DbxPage *page)
{
	if (ordered->nfound > 0)
		qsort(ordered->found, ordered->nfound, sizeof(DbxListed),
			  ordered->nulls_first ? compare_nulls_first : compare_nulls_last);
	page->elements = ordered->found;
	page->length = page->listed = ordered->nfound;
	page->given = NIL;
	ordered->handed_out += ordered->nfound;
}

static int
compare_nulls_last(const void *a, const void *b)
{
	int64 x = ((const DbxListed *) a)->time;
	int64 y = ((const DbxListed *) b)->time;

	return x > y ? -1 : x < y ? 1 : 0;
}

static int
compare_nulls_first(const void *a, const void *b)
{
	int64 x = ((const DbxListed *) a)->time;
	int64 y = ((const DbxListed *) b)->time;

	if (x == 0 || y == 0)
		return x == y ? 0 : x == 0 ? -1 : 1;
	return compare_nulls_last(a, b);
}
