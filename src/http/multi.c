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
 * The callbacks only note things in static memory: no palloc, no error.  What
 * they noted reaches the wait event set before the next wait, so an error thrown
 * between two waits leaves nothing stale behind.
 *
 * A connection between two requests stays in the set: page after page libcurl
 * lets go of its socket and takes it up again, which then costs no system call.
 * That is safe for those that are opened and closed here.  Others are closed
 * behind our back, and their number may be another one's then: the sockets of the
 * resolver and, before version 8.3, those that were never connected.
 */
#include "postgres.h"

#include <fcntl.h>
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

/* How many more than it has a new set may take. */
#define SPARE_EVENTS 16

typedef struct WatchedSocket
{
	curl_socket_t fd;
	bool		  ours;		 /* opened here, ... */
	bool		  connected; /* ... and sure to be closed here, too */
	uint32		  wanted;	 /* WL_SOCKET_*; 0: nobody waits for it now */
	uint32		  watched;	 /* what the set has of it; 0: it is not in there */
	int			  position;	 /* in the set */
} WatchedSocket;

static CURLM	   *multi = NULL;
static DbxMultiDone on_done = NULL;
static int			active = 0;

static WatchedSocket *sockets = NULL;
static int			  nsockets = 0;
static int			  sockets_size = 0;

static WaitEventSet *event_set = NULL;
static int			 event_set_room = 0;	  /* for so many sockets more */
static bool			 event_set_stale = true;  /* to be made anew */
static bool			 sockets_changed = false; /* or else brought up to date */

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

/* The entry of a socket, NULL if it has none. */
static WatchedSocket *
find_socket(curl_socket_t fd)
{
	int i;

	for (i = 0; i < nsockets; i++)
	{
		if (sockets[i].fd == fd)
			return &sockets[i];
	}
	return NULL;
}

static WatchedSocket *
add_socket(curl_socket_t fd, bool ours)
{
	WatchedSocket *added;

	if (nsockets == sockets_size)
	{
		int			   size = sockets_size ? sockets_size * 2 : 16;
		WatchedSocket *grown = realloc(sockets, size * sizeof(WatchedSocket));

		if (grown == NULL)
			return NULL;
		sockets = grown;
		sockets_size = size;
	}
	added = &sockets[nsockets++];
	memset(added, 0, sizeof(WatchedSocket));
	added->fd = fd;
	added->ours = ours;
	return added;
}

/* The number may be that of another one from now on. */
static void
forget_socket(WatchedSocket *gone)
{
	if (gone == NULL)
		return;
	if (gone->watched != 0)
		event_set_stale = true;
	*gone = sockets[--nsockets];
}

/*
 * libcurl lets go of what it has not connected.  Where it has closed that without
 * telling us, the share of it is given back here.
 */
static void
forget_unconnected(WatchedSocket *gone)
{
	if (gone != NULL && gone->ours && fcntl(gone->fd, F_GETFD) < 0)
		ReleaseExternalFD();
	forget_socket(gone);
}

curl_socket_t
dbx_multi_open_socket(void *private_data, curlsocktype purpose,
					  struct curl_sockaddr *address)
{
	WatchedSocket *before;
	curl_socket_t  fd;

	(void) private_data;
	(void) purpose;
	/* libcurl's sockets count against our share */
	if (!AcquireExternalFD())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd == CURL_SOCKET_BAD)
	{
		ReleaseExternalFD();
		return CURL_SOCKET_BAD;
	}
	before = find_socket(fd);
	if (before != NULL && before->ours)
		ReleaseExternalFD(); /* that of one closed without a word */
	forget_socket(before);
	if (add_socket(fd, true) == NULL)
	{
		(void) dbx_multi_close_socket(NULL, fd);
		return CURL_SOCKET_BAD;
	}
	return fd;
}

int
dbx_multi_close_socket(void *private_data, curl_socket_t fd)
{
	int rc;

	(void) private_data;
	forget_socket(find_socket(fd));
	rc = close(fd);
	ReleaseExternalFD();
	return rc;
}

/* CURLMOPT_SOCKETFUNCTION */
static int
note_socket(CURL *easy, curl_socket_t fd, int what, void *data,
			void *socket_data)
{
	WatchedSocket *noted = find_socket(fd);

	(void) easy;
	(void) data;
	(void) socket_data;

	if (what == CURL_POLL_REMOVE)
	{
		if (noted != NULL && noted->connected)
			noted->wanted = 0;
		else
			forget_unconnected(noted);
		return 0;
	}
	if (noted == NULL && (noted = add_socket(fd, false)) == NULL)
		return -1;
	noted->wanted = 0;
	if (what & CURL_POLL_IN)
	{
		/* until it is connected only writing is of interest */
		noted->wanted |= WL_SOCKET_READABLE;
		noted->connected = noted->ours;
	}
	if (what & CURL_POLL_OUT)
		noted->wanted |= WL_SOCKET_WRITEABLE;
	sockets_changed |= noted->wanted != noted->watched;
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

static void
remove_easy(CURL *easy)
{
	curl_multi_remove_handle(multi, easy);
	active--;
}

void
dbx_multi_remove(CURL *easy)
{
	sigset_t saved;

	block_signals(&saved);
	remove_easy(easy);
	restore_signals(&saved);
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

/* Hand finished transfers to http.c; true if there were any. */
static bool
collect_finished(void)
{
	bool	 found = false;
	CURLMsg *message;
	int		 left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL	*easy = message->easy_handle;
		CURLcode result = message->data.result;
		char	*private_data = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private_data);
		remove_easy(easy);
		on_done(private_data, result);
		found = true;
	}
	return found;
}

/* Let libcurl go on; true if that ended a transfer. */
static bool
drive(curl_socket_t fd, int mask)
{
	sigset_t saved;
	int		 running;
	bool	 finished;

	block_signals(&saved);
	curl_multi_socket_action(multi, fd, mask, &running);
	finished = collect_finished();
	restore_signals(&saved);
	return finished;
}

/* Let the set have this socket as it is wanted. */
static void
watch_socket(WatchedSocket *noted)
{
	if (noted->watched == 0)
	{
		noted->position = AddWaitEventToSet(event_set, noted->wanted, noted->fd,
											NULL, NULL);
		event_set_room--;
	}
	else
		ModifyWaitEvent(event_set, noted->position, noted->wanted, NULL);
	noted->watched = noted->wanted;
}

static void
rebuild_event_set(void)
{
	int i;

	event_set_stale = true;
	if (event_set != NULL)
	{
		WaitEventSet *old = event_set;

		event_set = NULL;
		FreeWaitEventSet(old);
	}
	event_set_room = nsockets + SPARE_EVENTS;
	event_set = dbx_create_wait_event_set(event_set_room + 2);
	AddWaitEventToSet(event_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(event_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
						  NULL, NULL);
	for (i = 0; i < nsockets; i++)
	{
		sockets[i].watched = 0;
		if (sockets[i].wanted != 0)
			watch_socket(&sockets[i]);
	}
	event_set_stale = sockets_changed = false;
}

/* Whatever raises in here leaves a set that is made anew. */
static void
update_event_set(void)
{
	int i;

	event_set_stale = true;
	for (i = 0; i < nsockets; i++)
	{
		WatchedSocket *noted = &sockets[i];

		if (noted->wanted == 0 || noted->wanted == noted->watched)
			continue;
		if (noted->watched == 0 && event_set_room == 0)
		{
			rebuild_event_set();
			return;
		}
		watch_socket(noted);
	}
	event_set_stale = sockets_changed = false;
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

/* One wait; true if a transfer ended. */
static bool
wait_once(TimestampTz deadline, DbxWaitReason reason, bool *latched)
{
	WaitEvent events[EVENTS_PER_WAIT];
	bool	  finished = false;
	int		  count;
	int		  i;

	if (event_set == NULL || event_set_stale)
		rebuild_event_set();
	else if (sockets_changed)
		update_event_set();
	count = WaitEventSetWait(event_set, wait_time(deadline), events,
							 EVENTS_PER_WAIT, wait_event(reason));
	for (i = 0; i < count; i++)
	{
		const WatchedSocket *noted;
		int					 mask = 0;

		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			*latched = true;
			continue;
		}
		noted = find_socket(events[i].fd);
		if (noted == NULL || noted->wanted == 0)
		{
			/* the other side has closed it, most likely, and would wake us for ever */
			event_set_stale = true;
			continue;
		}
		if (events[i].events & WL_SOCKET_READABLE)
			mask |= CURL_CSELECT_IN;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			mask |= CURL_CSELECT_OUT;
		if (mask != 0 && events[i].fd != PGINVALID_SOCKET)
			finished |= drive(events[i].fd, mask);
	}
	return finished;
}

bool
dbx_http_wait_for(TimestampTz deadline, DbxWaitReason reason)
{
	CHECK_FOR_INTERRUPTS();
	for (;;)
	{
		bool latched = false;
		bool finished;

		if (active > 0 && timer_armed && timer_due <= GetCurrentTimestamp())
		{
			timer_armed = false;
			if (drive(CURL_SOCKET_TIMEOUT, 0))
				return false;
		}
		finished = wait_once(deadline, reason, &latched);
		CHECK_FOR_INTERRUPTS();
		if (finished)
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
