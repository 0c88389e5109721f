/*
 * limiter.c
 *	  Spaced grants per host and endpoint class, for the whole cluster.
 *
 * Separate from the transfers since it knows nothing of them: what it owns is a
 * table of moments, in shared memory when the library is preloaded, else in this
 * process.  Per class it holds "next": when the next request may be sent were
 * there no burst.  A grant moves it on by one interval; it may lie one interval
 * ahead of the clock before anybody has to wait, which is the burst of two.  A
 * class that is seen for the first time, or for the first time since a crash,
 * starts with that burst used up.
 *
 * A grant is good for a moment only.  Whoever comes too late for his (the
 * process was busy, or not scheduled) must not send together with those whose
 * turn it is by now, so he reserves again.
 *
 * The lock is held for the look at one small table, never while waiting; nothing
 * raises while it is held.  Shared memory holds no pointers.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "http/limiter.h"
#include "shmem.h"

/* Hosts times classes in use; with more, the one unused longest is forgotten. */
#define ENTRIES 256

#define BURST 2

/*
 * Grants lie this much further apart than the figure says: requests do not
 * travel equally fast, and the service counts them where they arrive.  So over
 * three seconds none is too many even if one takes 150 ms longer than another.
 */
#define MARGIN 1.05

/* A grant is good for one interval, and at least for this long. */
#define LEAST_VALIDITY (50 * INT64CONST(1000))

/* Clocks of two processes may be read in one order and used in the other. */
#define CLOCK_SLACK (1 * USECS_PER_SEC)

typedef struct Entry
{
	uint64 host;
	uint64 class;
	TimestampTz touched; /* 0: never used */
	TimestampTz next;
	TimestampTz paused_until;
} Entry;

typedef struct State
{
	Entry entries[ENTRIES];
} State;

static State   own;
static State  *state = &own;
static LWLock *lock = NULL;

void
dbx_limiter_init(void)
{
	static const DbxShmemArea area = {
		.name = "databricks_limiter",
		.size = sizeof(State),
		.area = (void **) &state,
		.lock = &lock,
	};

	dbx_shmem_register(&area);
}

static uint64
hash_text(const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, strlen(text), 0);
}

void
dbx_limiter_key(DbxLimit *limit, const char *host, const char *class)
{
	limit->host = hash_text(host);
	limit->class = hash_text(class);
}

static void
acquire(void)
{
	if (lock != NULL)
		LWLockAcquire(lock, LW_EXCLUSIVE);
}

static void
release(void)
{
	if (lock != NULL)
		LWLockRelease(lock);
}

/* Microseconds between two grants; 0: no limit. */
static int64
interval_of(const DbxLimit *limit)
{
	double interval;

	if (limit->per_second <= 0)
		return 0;
	interval = MARGIN * USECS_PER_SEC / limit->per_second;
	/* however small the factor is, the next one does come */
	return (int64) Min(interval, (double) USECS_PER_DAY);
}

/* The following expect the lock to be held. */

/* A clock that was set back must not keep everybody waiting for the difference. */
static void
touch(Entry *entry, TimestampTz now)
{
	if (entry->touched > now + CLOCK_SLACK)
	{
		entry->next -= entry->touched - now;
		entry->paused_until -= entry->touched - now;
	}
	entry->touched = now;
}

static Entry *
find(const DbxLimit *limit, TimestampTz now)
{
	int i;

	for (i = 0; i < ENTRIES; i++)
	{
		Entry *entry = &state->entries[i];

		if (entry->touched != 0 && entry->host == limit->host &&
			entry->class == limit->class)
		{
			touch(entry, now);
			return entry;
		}
	}
	return NULL;
}

static Entry *
find_or_make(const DbxLimit *limit, TimestampTz now)
{
	Entry *entry = find(limit, now);
	int	   i;

	if (entry != NULL)
		return entry;
	entry = &state->entries[0];
	for (i = 1; i < ENTRIES; i++)
	{
		if (state->entries[i].touched < entry->touched)
			entry = &state->entries[i];
	}
	entry->host = limit->host;
	entry->class = limit->class;
	entry->touched = now;
	entry->next = now + (BURST - 1) * interval_of(limit);
	entry->paused_until = 0;
	return entry;
}

TimestampTz
dbx_limiter_reserve(const DbxLimit *limit, TimestampTz latest)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz granted = now;
	int64		interval = interval_of(limit);
	Entry	   *entry;

	acquire();
	entry = interval > 0 ? find_or_make(limit, now) : find(limit, now);
	if (entry != NULL)
	{
		granted = Max(granted, entry->paused_until);
		if (interval > 0)
			granted = Max(granted, entry->next - (BURST - 1) * interval);
		if (latest != 0 && granted > latest)
			granted = 0;
		else if (interval > 0)
			entry->next = Max(entry->next, granted) + interval;
	}
	release();
	return granted;
}

bool
dbx_limiter_holds(const DbxLimit *limit, TimestampTz granted)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		interval = interval_of(limit);
	Entry	   *entry;
	bool		paused;

	if (interval > 0 && now > granted + Max(interval, LEAST_VALIDITY))
		return false;
	acquire();
	entry = find(limit, now);
	paused = entry != NULL && entry->paused_until > now;
	release();
	return !paused;
}

void
dbx_limiter_give_back(const DbxLimit *limit, TimestampTz granted)
{
	int64  interval = interval_of(limit);
	Entry *entry;

	/* too late in the life of the process to wait for a lock */
	if (lock != NULL && MyProc == NULL)
		return;
	acquire();
	entry = find(limit, GetCurrentTimestamp());
	if (entry != NULL && entry->next == granted + BURST * interval)
		entry->next -= interval;
	release();
}

void
dbx_limiter_pause(const DbxLimit *limit, TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;

	acquire();
	entry = find_or_make(limit, now);
	entry->paused_until = Max(entry->paused_until, until);
	/* nor does anybody burst in when it is over */
	entry->next = Max(entry->next,
					  entry->paused_until + (BURST - 1) * interval_of(limit));
	release();
}
