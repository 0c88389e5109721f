/*
 * dispatcher.c
 *	  What of the queue is sent next: the lock, claims, deadlines.
 *
 * One process per database sends: it holds an advisory lock of its session, of
 * a class that users cannot name.  So there are neither leases nor clocks: what
 * is "sending" and not in this process's hand was left behind by one that died,
 * and is taken back and sent again with the token it has.
 *
 *	  claim		token and attempt are written, on disk, before the first byte
 *	  calls		in parallel, outside of any transaction
 *	  record	each answer as it comes, in a transaction of its own
 *
 * Memory: everything in hand hangs off "context"; the table has all of it too,
 * so abandoning it loses nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "worker/dispatcher.h"
#include "worker/follow.h"
#include "worker/history.h"
#include "worker/hook.h"
#include "worker/pause.h"
#include "worker/queue.h"
#include "worker/record.h"
#include "worker/retention.h"
#include "worker/sending.h"
#include "worker/session.h"
#include "worker/shared.h"
#include "worker/site.h"

/* SQL functions for advisory locks use classes 1 and 2. */
#define LOCK_CLASS 0xDB
#define LOCK_KEY   0x64627831

/* While another process sends, it is asked so often whether it has ended. */
#define LOCK_RETRY_USECS USECS_PER_SEC

/*
 * A row that somebody has locked is looked at again after this: nobody tells when
 * a transaction is rolled back.
 */
#define LOCKED_RETRY_USECS USECS_PER_SEC

/*
 * Rows in hand per place for a call, so that there is always one to send; a role
 * can have half of them.
 */
#define WINDOW_FACTOR 8

/* With nothing left to send or to follow, the process stays for so long. */
#define LINGER_USECS (60 * USECS_PER_SEC)

static MemoryContext context = NULL;
static List			*in_hand = NIL; /* of DbxSending * */
static bool			 holder = false;
static bool			 anything = false; /* requests that have not ended */
static bool			 look_again = true;
static TimestampTz	 next_due = 0; /* of what waits in the queue */
static TimestampTz	 leave_at = 0; /* when to see whether to leave */
static bool			 stay = false; /* it was seen: no */

static bool		   take_lock(void);
static void		   take_answers(void);
static void		   drop(DbxSending *sending);
static void		   note_site(const DbxSending *sending);
static int		   count_in_hand(const char *site, const char *role);
static List		  *sated_roles(const DbxSite *site);
static void		   resend_due(void);
static void		   resolve_due(void *arg);
static bool		   refill_wanted(void);
static void		   refill(void *arg);
static void		   read_sites(void);
static void		   publish_depth(bool everything, int claims);
static int		   take_back(const char *site);
static void		   take_cancels(const char *site);
static int		   claim_site(DbxSite *site);
static void		   look_up(DbxSending *sending);
static bool		   due_and_locked(const DbxSite *site);
static bool		   claim(DbxSending *sending);
static void		   write_claim(void *arg);
static DbxSending *new_sending(HeapTuple tuple, TupleDesc desc);
static void		   start_claimed(void);
static Datum	   ids_in_hand(void);
static Datum	   text_array(List *texts);
static void		   find_next_due(void);
static TimestampTz linger(TimestampTz next);
static TimestampTz earlier(TimestampTz a, TimestampTz b);
static bool execute(const char *sql, int nargs, Oid *types, Datum *values);

int
dbx_dispatcher_load(void)
{
	anything = false;
	if (!dbx_session_begin())
		return 0;
	anything = execute(
		"SELECT 1 WHERE EXISTS (SELECT FROM databricks.run_requests AS r"
		"  WHERE r.state = 'queued')"
		" OR EXISTS (SELECT FROM databricks.run_requests AS r"
		"  WHERE r.state IN ('sending', 'running'))"
		" OR EXISTS (SELECT FROM databricks.run_requests AS r"
		"  WHERE r.hook IS NOT NULL OR r.announce)",
		0, NULL, NULL);
	if (!anything)
		dbx_shared_queue(0);
	else if (!dbx_guc_dispatch)
		publish_depth(true, 0);
	dbx_session_commit();
	look_again = true;
	return anything ? 1 : 0;
}

void
dbx_dispatcher_look_again(void)
{
	look_again = true;
}

bool
dbx_dispatcher_busy(void)
{
	return anything && dbx_guc_dispatch && holder &&
		(in_hand != NIL || dbx_hook_busy() || refill_wanted());
}

bool
dbx_dispatcher_shut_out(void)
{
	return anything && !holder;
}

void
dbx_dispatcher_abandon(void)
{
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	in_hand = NIL;
	dbx_site_forget();
	look_again = true;
}

TimestampTz
dbx_dispatcher_run(void)
{
	TimestampTz next = 0;
	ListCell   *cell;

	if (!anything)
		return 0;
	if (!dbx_guc_dispatch)
	{
		dbx_dispatcher_abandon();
		return 0;
	}
	if (!take_lock())
		return GetCurrentTimestamp() + LOCK_RETRY_USECS;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"databricks dispatcher",
										ALLOCSET_DEFAULT_SIZES);

	take_answers();
	resend_due();
	if (refill_wanted())
	{
		ErrorData *error = dbx_session_try(refill, NULL);

		if (error != NULL)
		{
			/* What was claimed was not, after all. */
			dbx_dispatcher_abandon();
			ReThrowError(error);
		}
		start_claimed();
	}

	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		if (sending->phase == DBX_SENDING_PAUSE ||
			sending->phase == DBX_SENDING_RECORD)
			next = earlier(next, sending->retry_at);
	}
	foreach(cell, dbx_site_all())
		next = earlier(next, dbx_site_next(lfirst(cell)));
	next = earlier(next, dbx_hook_run());
	if (look_again)
		return GetCurrentTimestamp();
	if (dbx_retention_run())
		return GetCurrentTimestamp();
	return linger(earlier(next, next_due));
}

/*
 * The process leaves when it has had nothing to do for a while; it is started
 * again when something is committed.
 */
static TimestampTz
linger(TimestampTz next)
{
	TimestampTz now = GetCurrentTimestamp();

	if (next != 0 || in_hand != NIL || !dbx_follow_idle() || dbx_hook_busy())
	{
		leave_at = 0;
		stay = false;
		return next;
	}
	if (stay)
		return 0;
	if (leave_at == 0)
		leave_at = now + LINGER_USECS;
	if (now < leave_at)
		return leave_at;
	leave_at = 0;
	stay = true;
	dbx_shared_wake(MyDatabaseId);
	return 0;
}

/*
 * Session locks of this kind survive the abort of a transaction and go with the
 * process.
 */
static bool
take_lock(void)
{
	LOCKTAG tag;

	if (holder)
		return true;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_KEY, 0, LOCK_CLASS);
	StartTransactionCommand();
	holder = LockAcquire(&tag, ExclusiveLock, true, true) !=
		LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	look_again = true;
	return holder;
}

/* ---- answers ---- */

static void
take_answers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		(void) dbx_sending_advance(sending);
		if (sending->phase != DBX_SENDING_RECORD || sending->retry_at > now)
			continue;
		note_site(sending);
		if (!dbx_sending_record(sending))
		{
			if (sending->answer != DBX_ANSWER_TOLD)
				look_again |= sending->answer != DBX_ANSWER_STARTED;
			in_hand = foreach_delete_current(in_hand, cell);
			drop(sending);
		}
	}
}

static void
drop(DbxSending *sending)
{
	MemoryContextDelete(sending->context);
}

static void
note_site(const DbxSending *sending)
{
	DbxSite *site = dbx_site_find(sending->site);

	if (sending->site_trouble)
		dbx_site_in_trouble(site, sending->requested_by);
	else if (sending->answer == DBX_ANSWER_STARTED ||
			 sending->answer == DBX_ANSWER_REFUSED)
		look_again |= dbx_site_got_through(site, sending->requested_by);
}

/*
 * Of a role, or of all for NULL.  What is in doubt must not take the place of
 * others.
 */
static int
count_in_hand(const char *site, const char *role)
{
	ListCell *cell;
	int		  count = 0;

	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		if (!sending->cancel && !sending->in_doubt &&
			strcmp(sending->site, site) == 0 &&
			(role == NULL || strcmp(sending->requested_by, role) == 0))
			count++;
	}
	return count;
}

/* Roles that have as much in hand as a role can have. */
static List *
sated_roles(const DbxSite *site)
{
	List	 *roles = NIL;
	ListCell *cell;

	foreach(cell, in_hand)
	{
		char	 *role = ((DbxSending *) lfirst(cell))->requested_by;
		ListCell *other;
		bool	  known = false;

		foreach(other, roles)
			known |= strcmp(lfirst(other), role) == 0;
		if (!known &&
			count_in_hand(site->name, role) >= site->parallel * WINDOW_FACTOR / 2)
			roles = lappend(roles, role);
	}
	return roles;
}

/* ---- sending again ---- */

static void
resend_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;
	bool		due = false;

	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		due |= sending->phase == DBX_SENDING_PAUSE && sending->retry_at <= now;
	}
	if (!due)
		return;
	/* Rights and credentials may have changed, and the pause as well. */
	resolve_due(&now);
	start_claimed();
}

static void
resolve_due(void *arg)
{
	TimestampTz now = *(TimestampTz *) arg;
	ListCell   *cell;

	if (!dbx_session_begin())
	{
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		if (sending->phase != DBX_SENDING_PAUSE || sending->retry_at > now)
			continue;
		if (dbx_pause_reason(sending->site, NULL) != NULL)
		{
			sending->retry_at = now + dbx_sending_back_off(sending->failures++);
			continue;
		}
		if (dbx_sending_resolve(sending))
			sending->phase = DBX_SENDING_CALL;
	}
	dbx_session_commit();
}

/* ---- the queue ---- */

static bool
refill_wanted(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;

	if (look_again || (next_due != 0 && next_due <= now))
		return true;
	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		if (sending->phase == DBX_SENDING_FOUND)
			return true;
	}
	foreach(cell, dbx_site_all())
	{
		DbxSite	   *site = lfirst(cell);
		TimestampTz release = dbx_site_next(site);

		if ((release != 0 && release <= now) ||
			(site->backlog &&
			 count_in_hand(site->name, NULL) <= 2 * site->parallel))
			return true;
	}
	return false;
}

/*
 * One transaction: what has expired or has lost what it depends on, what was
 * left behind, and the next claims.
 */
static void
refill(void *arg)
{
	ListCell *cell;
	int		  claims = 0;
	int		  taken = 0;
	bool	  everything = look_again ||
		(next_due != 0 && next_due <= GetCurrentTimestamp());

	if (!dbx_session_begin())
	{
		anything = false;
		dbx_shared_wake(MyDatabaseId);
		return;
	}
	look_again = false;
	if (everything)
	{
		dbx_queue_tidy();
		read_sites();
	}
	foreach(cell, dbx_site_all())
	{
		DbxSite *site = lfirst(cell);
		bool	 copied;

		site->locked = false;
		dbx_site_release(site);
		if (dbx_pause_reason(site->name, &copied) != NULL)
		{
			site->backlog = false;
			if (!copied && everything)
				take_cancels(site->name);
			continue;
		}
		if (everything)
		{
			taken += take_back(site->name);
			take_cancels(site->name);
		}
		claims += claim_site(site);
	}
	if (everything)
	{
		find_next_due();
		dbx_hook_load();
	}
	publish_depth(everything, claims);
	if (claims + taken > 0)
		dbx_record_safe();
	else
		dbx_record_hasty();
	dbx_session_commit();
	CHECK_FOR_INTERRUPTS();
}

static void
read_sites(void)
{
	if (!execute("SELECT DISTINCT r.workspace FROM databricks.run_requests AS r"
				 " WHERE r.state = 'queued'"
				 " UNION SELECT r.workspace FROM databricks.run_requests AS r"
				 " WHERE r.state IN ('sending', 'running')",
				 0, NULL, NULL))
		return;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		DbxSite *site = dbx_site_find(
			SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		Oid serverid = get_foreign_server_oid(site->name, true);

		/* The number alone; what else is wrong with it shows when it is used. */
		if (OidIsValid(serverid) && dbx_workspace_is_ours(serverid))
			site->parallel = dbx_workspace_describe(serverid)->max_parallel;
	}
}

#define SENDING_COLUMNS                                                   \
	"r.request_id, r.workspace, r.requested_by, r.kind, r.body, r.token," \
	" r.job_name, r.job_id, r.run_id, r.send_failures, r.retry, r.repair_id"

/*
 * For view stat_worker: what is not sent yet, whatever it waits for.  Counted
 * when all of the queue is looked at anyway, else only what is taken from it.
 */
static void
publish_depth(bool everything, int claims)
{
	static int64 depth = 0;
	bool		 isnull;

	if (everything)
	{
		(void) execute("SELECT count(*) FROM databricks.run_requests AS r"
					   " WHERE r.state = 'queued'",
					   0, NULL, NULL);
		depth = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
											SPI_tuptable->tupdesc, 1, &isnull));
	}
	else
		depth -= claims;
	dbx_shared_queue(depth);
}

/*
 * What another process, or this one before an error, has left behind.  Returns
 * how much: it is claimed anew, since nobody knows whether that process has waited
 * for its claim to be on the standbys.
 */
static int
take_back(const char *site)
{
	Oid			   types[] = {TEXTOID, INT8ARRAYOID};
	Datum		   values[2];
	SPITupleTable *rows;
	uint64		   count;

	values[0] = CStringGetTextDatum(site);
	values[1] = ids_in_hand();
	if (!execute("UPDATE databricks.run_requests AS r SET state = r.state"
				 " WHERE r.workspace = $1 AND r.state = 'sending'"
				 "  AND r.request_id <> ALL ($2)"
				 " RETURNING " SENDING_COLUMNS,
				 2, types, values))
		return 0;
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		DbxSending *sending = new_sending(rows->vals[i], rows->tupdesc);

		sending->in_doubt = true;
		if (dbx_sending_resolve(sending))
			sending->phase = DBX_SENDING_CALL;
	}
	return count;
}

/* Runs that are to be cancelled. */
static void
take_cancels(const char *site)
{
	Oid			   types[] = {TEXTOID, INT8ARRAYOID};
	Datum		   values[2];
	SPITupleTable *rows;
	uint64		   count;

	values[0] = CStringGetTextDatum(site);
	values[1] = ids_in_hand();
	if (!execute("SELECT " SENDING_COLUMNS
				 " FROM databricks.run_request_cancels AS c"
				 " JOIN databricks.run_requests AS r ON r.request_id = c.request_id"
				 " WHERE c.told_at IS NULL AND r.workspace = $1"
				 "  AND r.state = 'running' AND r.run_id IS NOT NULL"
				 "  AND r.request_id <> ALL ($2)",
				 2, types, values))
		return;
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		DbxSending *sending = new_sending(rows->vals[i], rows->tupdesc);

		sending->cancel = true;
		if (dbx_sending_resolve(sending))
			sending->phase = DBX_SENDING_CALL;
	}
}

/* Returns how many rows were claimed. */
static int
claim_site(DbxSite *site)
{
	Oid types[] = {TEXTOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4OID};
	Datum		   values[5];
	List		  *sated = sated_roles(site);
	List		  *probing = NIL;
	List		  *found;
	SPITupleTable *rows;
	uint64		   count;
	int			   claims = 0;
	int			   room;
	ListCell	  *cell;

	/* A copy, since claims may take out of hand; rights may have gone meanwhile. */
	found = list_copy(in_hand);
	foreach(cell, found)
	{
		DbxSending *sending = lfirst(cell);

		if (sending->phase == DBX_SENDING_FOUND &&
			strcmp(sending->site, site->name) == 0 &&
			dbx_sending_resolve(sending) && claim(sending))
			claims++;
	}
	list_free(found);

	room = Min(site->parallel * WINDOW_FACTOR - count_in_hand(site->name, NULL),
			   site->parallel * WINDOW_FACTOR / 2);
	if (room <= 0)
		return claims;
	values[0] = CStringGetTextDatum(site->name);
	values[1] = ids_in_hand();
	values[2] = text_array(list_concat_copy(sated, dbx_site_troubled(site)));
	foreach(cell, dbx_site_probing(site))
	{
		if (count_in_hand(site->name, lfirst(cell)) == 0)
			probing = lappend(probing, lfirst(cell));
	}
	values[3] = text_array(probing);
	values[4] = Int32GetDatum(room);
	(void) execute("SELECT " SENDING_COLUMNS " FROM databricks.run_requests AS r"
				   " WHERE r.workspace = $1 AND r.state = 'queued' AND r.ready"
				   "  AND r.next_attempt_at <= clock_timestamp()"
				   "  AND r.request_id <> ALL ($2)"
				   "  AND (r.requested_by <> ALL ($3) OR r.request_id IN"
				   "   (SELECT DISTINCT ON (p.requested_by) p.request_id"
				   "    FROM databricks.run_requests AS p"
				   "    WHERE p.workspace = $1 AND p.state = 'queued' AND p.ready"
				   "     AND p.next_attempt_at <= clock_timestamp()"
				   "     AND p.requested_by = ANY ($4)"
				   "    ORDER BY p.requested_by, p.next_attempt_at, p.request_id))"
				   " ORDER BY r.next_attempt_at, r.request_id"
				   " LIMIT $5 FOR UPDATE SKIP LOCKED",
				   5, types, values);
	rows = SPI_tuptable;
	count = SPI_processed;
	site->backlog = count >= room || sated != NIL;
	for (uint64 i = 0; i < count; i++)
	{
		DbxSending *sending = new_sending(rows->vals[i], rows->tupdesc);

		if (!dbx_sending_resolve(sending))
			continue;
		if (sending->job_name != NULL && sending->token == NULL &&
			!sending->repair)
			look_up(sending);
		else if (claim(sending))
			claims++;
	}
	site->locked = !site->backlog && due_and_locked(site);
	return claims;
}

/*
 * Its job is to be found by its name.  One call does for all that want the same
 * found: by the same role, which may see other jobs than others do, and in this
 * round, since a call that has begun may not tell of a job made meanwhile.
 */
static void
look_up(DbxSending *sending)
{
	ListCell *cell;

	foreach(cell, in_hand)
	{
		DbxSending *other = lfirst(cell);

		if (other->phase == DBX_SENDING_LOOKUP && other->call == NULL &&
			!other->shares && strcmp(other->site, sending->site) == 0 &&
			strcmp(other->requested_by, sending->requested_by) == 0 &&
			strcmp(other->job_name, sending->job_name) == 0)
		{
			dbx_sending_share(sending, other);
			break;
		}
	}
	sending->phase = DBX_SENDING_LOOKUP;
}

/* All that is due was claimed, is in hand, or is locked by somebody. */
static bool
due_and_locked(const DbxSite *site)
{
	Oid	  types[] = {TEXTOID, INT8ARRAYOID, TEXTARRAYOID};
	Datum values[3];

	values[0] = CStringGetTextDatum(site->name);
	values[1] = ids_in_hand();
	values[2] = text_array(
		list_concat(sated_roles(site), dbx_site_troubled(site)));
	return execute("SELECT FROM databricks.run_requests AS r"
				   " WHERE r.workspace = $1 AND r.state = 'queued' AND r.ready"
				   "  AND r.next_attempt_at <= clock_timestamp()"
				   "  AND r.request_id <> ALL ($2)"
				   "  AND r.requested_by <> ALL ($3) LIMIT 1",
				   3, types, values);
}

/*
 * Claim a row, whose errors concern it alone.  What is not to be sent any more, or
 * is about to be withdrawn, is not in hand then.  Returns whether it was claimed.
 */
static bool
claim(DbxSending *sending)
{
	ErrorData *error = dbx_session_apart(write_claim, sending);

	if (error != NULL)
		dbx_sending_postpone(sending, error);
	else if (sending->phase != DBX_SENDING_CALL)
	{
		look_again = true;
		in_hand = list_delete_ptr(in_hand, sending);
		drop(sending);
		return false;
	}
	return error == NULL;
}

/* Write down that this row is being sent, and under which token. */
static void
write_claim(void *arg)
{
	DbxSending	 *sending = arg;
	Oid			  types[] = {INT8OID, INT8OID};
	Datum		  values[2];
	MemoryContext before;
	HeapTuple	  tuple;
	TupleDesc	  desc;

	values[0] = Int64GetDatum(sending->request_id);
	values[1] = Int64GetDatum(sending->job_id);
	if (!execute("UPDATE databricks.run_requests AS r SET state = 'sending',"
				 " attempt = r.attempt + CASE WHEN r.token IS NULL THEN 1 ELSE 0 END,"
				 " token = coalesce(r.token, gen_random_uuid()::text),"
				 " job_id = CASE WHEN r.kind = 'run_now' THEN $2 END,"
				 " next_attempt_at = NULL"
				 " FROM (SELECT l.request_id FROM databricks.run_requests AS l"
				 "  WHERE l.request_id = $1 AND l.state = 'queued' AND l.ready"
				 "   AND (l.expires_at IS NULL OR l.triggered_at IS NOT NULL"
				 "    OR l.expires_at > clock_timestamp())"
				 "  FOR UPDATE SKIP LOCKED) AS s"
				 " WHERE r.request_id = s.request_id"
				 " RETURNING r.token, r.job_id::text",
				 2, types, values))
		return;
	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	before = MemoryContextSwitchTo(sending->context);
	sending->token = SPI_getvalue(tuple, desc, 1);
	MemoryContextSwitchTo(before);
	dbx_history_notify(sending->site, 0, SPI_getvalue(tuple, desc, 2),
					   sending->request_id, "sending", NULL,
					   GetCurrentTimestamp());
	sending->phase = DBX_SENDING_CALL;
}

/* A row of SENDING_COLUMNS, put in hand. */
static DbxSending *
new_sending(HeapTuple tuple, TupleDesc desc)
{
	MemoryContext own = AllocSetContextCreate(context, "databricks sending",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(own);
	DbxSending	 *sending = palloc0(sizeof(DbxSending));
	Datum		  body;
	bool		  isnull;

	sending->context = own;
	sending->phase = DBX_SENDING_FOUND;
	sending->request_id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
	strlcpy(sending->site, SPI_getvalue(tuple, desc, 2), NAMEDATALEN);
	sending->requested_by = SPI_getvalue(tuple, desc, 3);
	sending->submit = strcmp(SPI_getvalue(tuple, desc, 4), "submit") == 0;
	body = SPI_getbinval(tuple, desc, 5, &isnull);
	sending->body = JsonbToCString(NULL, &DatumGetJsonbP(body)->root, 0);
	sending->token = SPI_getvalue(tuple, desc, 6);
	sending->job_name = SPI_getvalue(tuple, desc, 7);
	sending->job_id = DatumGetInt64(SPI_getbinval(tuple, desc, 8, &isnull));
	sending->run_id = DatumGetInt64(SPI_getbinval(tuple, desc, 9, &isnull));
	sending->repair = !isnull &&
		strcmp(SPI_getvalue(tuple, desc, 11), "repair") == 0;
	sending->failures = DatumGetInt32(SPI_getbinval(tuple, desc, 10, &isnull));
	sending->last_repair = DatumGetInt64(SPI_getbinval(tuple, desc, 12, &isnull));
	if (isnull)
		sending->last_repair = 0;
	MemoryContextSwitchTo(context);
	in_hand = lappend(in_hand, sending);
	MemoryContextSwitchTo(before);
	return sending;
}

/* Begin the calls of what is on disk now, and look up what has to be found. */
static void
start_claimed(void)
{
	ListCell *cell;

	foreach(cell, in_hand)
	{
		DbxSending *sending = lfirst(cell);

		if (sending->call == NULL && sending->look == NULL &&
			(sending->phase == DBX_SENDING_CALL ||
			 sending->phase == DBX_SENDING_LOOKUP))
			dbx_sending_start(sending);
	}
	take_answers();
}

static Datum
ids_in_hand(void)
{
	Datum	 *ids = palloc(sizeof(Datum) * (list_length(in_hand) + 1));
	int		  count = 0;
	ListCell *cell;

	foreach(cell, in_hand)
		ids[count++] = Int64GetDatum(((DbxSending *) lfirst(cell))->request_id);
	return PointerGetDatum(construct_array(ids, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
text_array(List *texts)
{
	Datum	 *elements = palloc(sizeof(Datum) * (list_length(texts) + 1));
	int		  count = 0;
	ListCell *cell;

	foreach(cell, texts)
		elements[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(
		construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* When something in the queue becomes due, or is too late. */
static void
find_next_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *cell;
	bool		isnull;

	next_due = 0;
	if (execute("SELECT least("
				" (SELECT min(r.next_attempt_at) FROM databricks.run_requests AS r"
				"  WHERE r.state = 'queued' AND r.ready"
				"   AND r.next_attempt_at > clock_timestamp()),"
				" (SELECT min(r.expires_at) FROM databricks.run_requests AS r"
				"  WHERE r.state = 'queued' AND r.expires_at IS NOT NULL"
				"   AND r.triggered_at IS NULL))",
				0, NULL, NULL))
	{
		Datum due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
								  1, &isnull);

		/* What should have expired and is still there is locked. */
		if (!isnull)
			next_due = DatumGetTimestampTz(due) > now ? DatumGetTimestampTz(due)
													  : now + LOCKED_RETRY_USECS;
	}
	foreach(cell, dbx_site_all())
	{
		if (((DbxSite *) lfirst(cell))->locked)
			next_due = earlier(next_due, now + LOCKED_RETRY_USECS);
	}
}

static TimestampTz
earlier(TimestampTz a, TimestampTz b)
{
	if (a == 0 || b == 0)
		return a == 0 ? b : a;
	return Min(a, b);
}

static bool
execute(const char *sql, int nargs, Oid *types, Datum *values)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, NULL, false,
									   0);

	if (result < 0)
		elog(ERROR, "\"%s\" gave %s", sql, SPI_result_code_string(result));
	return SPI_processed > 0;
}
