/*
 * stat.c
 *	  Counters per workspace, role and endpoint.
 *
 * Separate from the calls since what it owns outlives them: a table in shared
 * memory when the library is preloaded, else in this process.  Its size is
 * fixed.  The last places of it are kept for one line per workspace that takes
 * whatever finds no place of its own, so that sums stay right.
 *
 * The lock is held for one walk through the table; nothing raises while it is.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "api/stat.h"
#include "shmem.h"

#define SHARED_ENTRIES 1024
#define OWN_ENTRIES	   128

/* One in so many places is kept for the lines of all others. */
#define RESERVED_SHARE 8

typedef struct State
{
	int		size;
	int		used;
	DbxStat entries[FLEXIBLE_ARRAY_MEMBER];
} State;

#define STATE_SIZE(entries_) \
	(offsetof(State, entries) + (entries_) * sizeof(DbxStat))

static State  *state = NULL;
static LWLock *lock = NULL;

static void
init_shared(void *area)
{
	((State *) area)->size = SHARED_ENTRIES;
}

void
dbx_stat_init(void)
{
	static const DbxShmemArea area = {
		.name = "databricks_stat",
		.size = STATE_SIZE(SHARED_ENTRIES),
		.area = (void **) &state,
		.lock = &lock,
		.init = init_shared,
	};

	dbx_shmem_register(&area);
}

/* May raise for lack of memory, before the lock is held. */
static void
acquire(LWLockMode mode)
{
	if (state == NULL)
	{
		state = MemoryContextAllocZero(TopMemoryContext,
									   STATE_SIZE(OWN_ENTRIES));
		state->size = OWN_ENTRIES;
	}
	if (lock != NULL)
		LWLockAcquire(lock, mode);
}

static void
release(void)
{
	if (lock != NULL)
		LWLockRelease(lock);
}

/* With the lock held. */
static DbxStat *
find(Oid serverid, Oid userid, const char *endpoint)
{
	int i;

	for (i = 0; i < state->used; i++)
	{
		DbxStat *stat = &state->entries[i];

		if (stat->dboid == MyDatabaseId && stat->serverid == serverid &&
			stat->userid == userid && strcmp(stat->endpoint, endpoint) == 0)
			return stat;
	}
	return NULL;
}

/* With the lock held.  NULL: there is no place at all. */
static DbxStat *
find_or_make(const DbxWorkspace *workspace, const char *endpoint)
{
	Oid		 userid = workspace->userid;
	DbxStat *stat = find(workspace->serverid, userid, endpoint);

	if (stat == NULL && state->used >= state->size - state->size / RESERVED_SHARE)
	{
		userid = InvalidOid;
		endpoint = DBX_STAT_OTHER;
		stat = find(workspace->serverid, userid, endpoint);
	}
	if (stat != NULL || state->used == state->size)
		return stat;
	stat = &state->entries[state->used++];
	memset(stat, 0, sizeof(DbxStat));
	stat->dboid = MyDatabaseId;
	stat->serverid = workspace->serverid;
	stat->userid = userid;
	strlcpy(stat->endpoint, endpoint, sizeof(stat->endpoint));
	return stat;
}

void
dbx_stat_sent(const DbxWorkspace *workspace, const char *endpoint,
			  double quota_wait_ms)
{
	DbxStat *stat;

	acquire(LW_EXCLUSIVE);
	stat = find_or_make(workspace, endpoint);
	if (stat != NULL)
	{
		stat->calls++;
		stat->quota_wait_ms += quota_wait_ms;
	}
	release();
}

void
dbx_stat_answered(const DbxWorkspace *workspace, const char *endpoint,
				  const DbxHttpResponse *response, bool failed, bool retried)
{
	DbxStat *stat;

	acquire(LW_EXCLUSIVE);
	stat = find_or_make(workspace, endpoint);
	if (stat != NULL)
	{
		stat->answers++;
		stat->errors += failed;
		stat->retries += retried;
		stat->throttled += response->status == 429;
		stat->bytes_in += response->bytes_in;
		stat->total_ms += response->elapsed_ms;
		stat->max_ms = Max(stat->max_ms, response->elapsed_ms);
	}
	release();
}

int
dbx_stat_read(DbxStat **stats)
{
	DbxStat *copy = palloc(sizeof(DbxStat) * SHARED_ENTRIES);
	int		 count = 0;
	int		 i;

	acquire(LW_SHARED);
	for (i = 0; i < state->used; i++)
	{
		if (state->entries[i].dboid == MyDatabaseId)
			copy[count++] = state->entries[i];
	}
	release();
	*stats = copy;
	return count;
}

void
dbx_stat_reset(void)
{
	int left = 0;
	int i;

	acquire(LW_EXCLUSIVE);
	for (i = 0; i < state->used; i++)
	{
		if (state->entries[i].dboid != MyDatabaseId)
			state->entries[left++] = state->entries[i];
	}
	state->used = left;
	release();
}
