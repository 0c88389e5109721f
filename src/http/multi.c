/*
 * multi.c
 *	  The one way to wait: libcurl's sockets and timer beside the latch.
 *
 * Separate from http.c because what it owns is per process (multi handle with
 * its connection pool, set of watched sockets, wait event set) and outlives
 * every transfer.  libcurl tells through two callbacks which sockets to watch
 * and when to come back; we wait for those together with the latch and the
 * death of the postmaster, so that a cancel, a terminate or a barrier is served
 * whatever the other side does.
 *
 * The callbacks only note things in static memory: no palloc, no error.  The
 * wait event set is rebuilt before a wait when the sockets have changed, so an
 * error thrown between two waits leaves nothing stale behind.
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "http/http.h"
#include "http/multi.h"

/* More sockets than this at once are watched in turns. */
#define EVENTS_PER_WAIT 16

typedef struct WatchedSocket
{
	curl_socket_t fd;
	int			  what; /* CURL_POLL_IN, _OUT or _INOUT */
} WatchedSocket;

static CURLM	   *multi = NULL;
static DbxMultiDone on_done = NULL;
static int			active = 0;

static WatchedSocket *sockets = NULL;
static int			  nsockets = 0;
static int			  sockets_size = 0;

static WaitEventSet *event_set = NULL;
static bool			 event_set_stale = true;

static bool		   timer_armed = false;
static TimestampTz timer_due = 0;

/*
 * libcurl may start a resolver thread in any of its calls.  Signals have to
 * stay with the backend's own thread, so they are blocked while it could.
 */
static void
block_signals(sigset_t *saved)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_BLOCK, &all, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* CURLMOPT_SOCKETFUNCTION */
static int
note_socket(CURL *easy, curl_socket_t fd, int what, void *data,
			void *socket_data)
{
	int i;

	(void) easy;
	(void) data;
	(void) socket_data;

	event_set_stale = true;
	for (i = 0; i < nsockets; i++)
	{
		if (sockets[i].fd == fd)
			break;
	}
	if (what == CURL_POLL_REMOVE)
	{
		if (i < nsockets)
			sockets[i] = sockets[--nsockets];
		return 0;
	}
	if (i == nsockets)
	{
		if (nsockets == sockets_size)
		{
			int			   size = sockets_size ? sockets_size * 2 : 16;
			WatchedSocket *grown = realloc(sockets,
										   size * sizeof(WatchedSocket));

			if (grown == NULL)
				return -1;
			sockets = grown;
			sockets_size = size;
		}
		sockets[nsockets++].fd = fd;
	}
	sockets[i].what = what;
	return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static int
note_timer(CURLM *handle, long timeout_ms, void *data)
{
	(void) handle;
	(void) data;

	timer_armed = timeout_ms >= 0;
	if (timer_armed)
		timer_due = GetCurrentTimestamp() + (TimestampTz) timeout_ms * 1000;
	return 0;
}

void
dbx_multi_init(DbxMultiDone done)
{
	if (multi != NULL)
		return;
	Assert(IsUnderPostmaster || !IsPostmasterEnvironment);

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OUT_OF_MEMORY),
				 errmsg("could not initialise libcurl")));
	multi = curl_multi_init();
	if (multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OUT_OF_MEMORY),
				 errmsg("could not initialise libcurl")));
	on_done = done;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, note_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, note_timer);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 32L);
}

bool
dbx_multi_add(CURL *easy)
{
	sigset_t  saved;
	CURLMcode rc;

	block_signals(&saved);
	rc = curl_multi_add_handle(multi, easy);
	restore_signals(&saved);
	if (rc != CURLM_OK)
		return false;
	active++;
	return true;
}

void
dbx_multi_remove(CURL *easy)
{
	sigset_t saved;

	block_signals(&saved);
	curl_multi_remove_handle(multi, easy);
	restore_signals(&saved);
	active--;
}

void
dbx_multi_resume(CURL *easy)
{
	sigset_t saved;

	block_signals(&saved);
	curl_easy_pause(easy, CURLPAUSE_CONT);
	restore_signals(&saved);
}

int
dbx_http_active(void)
{
	return active;
}

static void
drive(curl_socket_t fd, int mask)
{
	sigset_t saved;
	int		 running;

	block_signals(&saved);
	curl_multi_socket_action(multi, fd, mask, &running);
	restore_signals(&saved);
}

/* Hand finished transfers to http.c; true if there were any. */
static bool
collect_finished(void)
{
	bool	 found = false;
	CURLMsg *message;
	int		 left;

	if (multi == NULL)
		return false;
	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL	*easy = message->easy_handle;
		CURLcode result = message->data.result;
		char	*private_data = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private_data);
		dbx_multi_remove(easy);
		on_done(private_data, result);
		found = true;
	}
	return found;
}

static void
rebuild_event_set(void)
{
	int i;

	if (event_set != NULL)
	{
		WaitEventSet *old = event_set;

		event_set = NULL;
		FreeWaitEventSet(old);
	}
	event_set = dbx_create_wait_event_set(nsockets + 2);
	AddWaitEventToSet(event_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(event_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
						  NULL, NULL);
	for (i = 0; i < nsockets; i++)
	{
		uint32 mask = 0;

		if (sockets[i].what & CURL_POLL_IN)
			mask |= WL_SOCKET_READABLE;
		if (sockets[i].what & CURL_POLL_OUT)
			mask |= WL_SOCKET_WRITEABLE;
		if (mask != 0)
			AddWaitEventToSet(event_set, mask, sockets[i].fd, NULL, NULL);
	}
	event_set_stale = false;
}

/* Milliseconds until the earlier of libcurl's timer and the deadline; -1: none. */
static long
wait_time(TimestampTz deadline)
{
	TimestampTz until = deadline;
	TimestampTz now;

	if (timer_armed && active > 0 && (until == 0 || timer_due < until))
		until = timer_due;
	if (until == 0)
		return -1;
	now = GetCurrentTimestamp();
	if (until <= now)
		return 0;
	/* a moment late rather than in a busy loop of rounded-down zeros */
	return (long) Min((until - now + 999) / 1000, 3600 * 1000);
}

/* The name under which a wait shows in pg_stat_activity, from PostgreSQL 17 on. */
static uint32
wait_event(DbxWaitReason reason)
{
	static uint32 http = 0;
	static uint32 pause = 0;
	static uint32 rate_limit = 0;
	static uint32 retry = 0;

	if (http == 0)
	{
		http = dbx_wait_event("DatabricksHttp");
		pause = dbx_wait_event("DatabricksPause");
		rate_limit = dbx_wait_event("DatabricksRateLimit");
		retry = dbx_wait_event("DatabricksRetry");
	}
	if (active > 0)
		return http;
	switch (reason)
	{
		case DBX_WAIT_PAUSE:
			break;
		case DBX_WAIT_RATE_LIMIT:
			return rate_limit;
		case DBX_WAIT_RETRY:
			return retry;
	}
	return pause;
}

/* One wait; true if the latch was set. */
static bool
wait_once(TimestampTz deadline, DbxWaitReason reason)
{
	WaitEvent events[EVENTS_PER_WAIT];
	bool	  latched = false;
	int		  count;
	int		  i;

	if (event_set == NULL || event_set_stale)
		rebuild_event_set();
	count = WaitEventSetWait(event_set, wait_time(deadline), events,
							 EVENTS_PER_WAIT, wait_event(reason));
	for (i = 0; i < count; i++)
	{
		int mask = 0;

		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			latched = true;
			continue;
		}
		if (events[i].events & WL_SOCKET_READABLE)
			mask |= CURL_CSELECT_IN;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			mask |= CURL_CSELECT_OUT;
		if (mask != 0 && events[i].fd != PGINVALID_SOCKET)
			drive(events[i].fd, mask);
	}
	return latched;
}

bool
dbx_http_wait_for(TimestampTz deadline, DbxWaitReason reason)
{
	CHECK_FOR_INTERRUPTS();
	for (;;)
	{
		bool latched;

		if (active > 0 && timer_armed && timer_due <= GetCurrentTimestamp())
		{
			timer_armed = false;
			drive(CURL_SOCKET_TIMEOUT, 0);
			if (collect_finished())
				return false;
		}
		latched = wait_once(deadline, reason);
		CHECK_FOR_INTERRUPTS();
		if (collect_finished())
			return false;
		if (deadline != 0 && GetCurrentTimestamp() >= deadline)
			return true;
		if (latched)
			return false;
	}
}

bool
dbx_http_wait(TimestampTz deadline)
{
	return dbx_http_wait_for(deadline, DBX_WAIT_PAUSE);
}

void
dbx_http_sleep_until(TimestampTz deadline)
{
	while (GetCurrentTimestamp() < deadline)
		(void) dbx_http_wait(deadline);
}
