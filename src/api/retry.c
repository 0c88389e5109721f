/*
 * retry.c
 *	  Whether a failed exchange is tried again, and when: the one classifier.
 *
 * Separate so that the rule can be read at one place.  Three questions, in this
 * order: may the call be repeated at all, is the trouble one that passes, and is
 * there patience left.
 *
 * A call that must not be repeated blindly is repeated only when it certainly
 * was not carried out: the connection never stood, or the service turned it away
 * before any work, for its rate limit or for a lock it could not get.
 */
#include "postgres.h"

#include "common/pg_prng.h"

#include "api/internal.h"

#define FIRST_BACKOFF_MS		 1000
#define LARGEST_BACKOFF_MS		 10000
#define LEAST_WAIT_MS			 50
#define LARGEST_RETRY_AFTER_MS	 60000
#define MALFORMED_RETRY_AFTER_MS 1000

/* Exponential with full jitter: waiting crowds spread over the whole interval. */
static int64
backoff(int attempt)
{
	int64 most = FIRST_BACKOFF_MS;

	while (--attempt > 0 && most < LARGEST_BACKOFF_MS)
		most *= 2;
	most = Min(most, LARGEST_BACKOFF_MS);
	return LEAST_WAIT_MS +
		(int64) (pg_prng_double(&pg_global_prng_state) * (most - LEAST_WAIT_MS));
}

int64
dbx_retry_delay(const DbxApiError *error, DbxHttpFailure failure,
				DbxEffect effect, bool maybe_sent, const char *retry_after,
				int attempt, int64 spent_ms, int64 patience_ms)
{
	bool  not_begun = error->refused || (failure != DBX_HTTP_OK && !maybe_sent);
	int64 delay = error->retry_ms;

	if (effect == DBX_EFFECT_ONCE && !not_begun)
		return -1;
	if (!error->passing)
		return -1;
	if (retry_after != NULL)
	{
		delay = dbx_http_retry_after(retry_after);
		if (delay < 0)
			delay = MALFORMED_RETRY_AFTER_MS;
	}
	delay = Min(delay, LARGEST_RETRY_AFTER_MS);
	/* all who were told the same moment must not come back at once */
	/* a value that Min() may give is taken for the only one */
	/* cppcheck-suppress knownConditionTrueFalse */
	if (delay > 0)
		delay += (int64) (pg_prng_double(&pg_global_prng_state) * 250);
	/* "now", or a moment that has passed on our clock, is no reason to rush */
	if (delay == 0)
		delay = backoff(attempt);
	if (spent_ms + delay > patience_ms)
		return -1;
	return delay;
}
