/*
 * schedule.c
 *	  The table of schedules: defined, changed, paused, removed.
 *
 * The table belongs to the extension's owner and is written as such; entries in
 * pg_cron are made as the role whose schedule it is.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

#include "api/job.h"
#include "compat.h"
#include "cron/cron.h"
#include "cron/pgcron.h"
#include "cron/schedule.h"
#include "worker/migrate.h"
#include "worker/outbox.h"
#include "worker/shared.h"
#include "workspace/workspace.h"

#define LONGEST_NAME  1000 /* bytes: it is indexed */
#define MOST_ATTEMPTS 1000

/* Takes the place of a real token while options are checked. */
#define SAMPLE_TOKEN "00000000-0000-0000-0000-000000000000"

#define COLUMNS                                                              \
	"s.schedule_id, s.owner, s.name, s.workspace, s.cron, s.timezone,"       \
	" s.job_id, s.job_name, s.job_parameters, s.parameters_sql, s.options,"  \
	" s.overlap, s.misfire, s.expires_after, s.max_attempts, s.retry_delay," \
	" s.paused_at, s.cron_entry, s.done_to"

static void			check_definition(const DbxSchedule *schedule);
static void			check_word(const char *name, const char *value,
							   const char *const *words);
static bool			is_positive(const Interval *interval);
static SPIPlanPtr	prepare_parameters(const char *sql);
static int64		write_definition(const DbxSchedule *schedule, bool *paused);
static DbxSchedule *find(const char *condition, int nargs, Oid *types,
						 Datum *values);
static DbxSchedule *copy_row(HeapTuple tuple, TupleDesc desc);
static char		   *text_column(HeapTuple tuple, TupleDesc desc, int number);
static void			write_as_owner(const char *sql, int nargs, Oid *types,
								   Datum *values, int expected);
static void write_row(const char *sql, int nargs, Oid *types, Datum *values,
					  const char *nulls, int expected);

static const char *const overlap_words[] = {"skip", "queue", "cancel_previous",
											"allow", NULL};
static const char *const misfire_words[] = {"skip", "once", "all", NULL};

int64
dbx_schedule_define(DbxSchedule *schedule)
{
	DbxCron		*cron = dbx_cron_parse(schedule->cron);
	const pg_tz *zone = dbx_cron_zone(schedule->timezone);
	bool		 paused;
	int64		 id;

	check_definition(schedule);
	dbx_pgcron_require();
	if (schedule->workspace == NULL)
		schedule->workspace = dbx_workspace_default(GetUserId());
	(void) dbx_workspace_resolve(schedule->workspace, GetUserId());
	if (schedule->parameters_sql != NULL)
	{
		SPI_connect();
		(void) prepare_parameters(schedule->parameters_sql);
		SPI_finish();
	}

	schedule->owner = GetUserNameFromId(GetUserId(), false);
	schedule->timezone = pstrdup(pg_get_timezone_name(unconstify(pg_tz *, zone)));
	schedule->cron_entry = dbx_pgcron_expression(cron, zone);
	dbx_data_migrate();
	id = write_definition(schedule, &paused);
	if (!paused)
		dbx_pgcron_set(id, schedule->cron_entry);
	dbx_pgcron_tell_connection();
	if (!dbx_shared_available())
		ereport(
			WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no background worker runs that could start the runs of schedule \"%s\"",
					schedule->name),
			 errdetail(
				 "Its ticks become requests, which are sent when there is one."),
			 errhint(
				 "Add \"databricks\" to shared_preload_libraries and restart the server.")));
	return id;
}

static void
check_definition(const DbxSchedule *schedule)
{
	char *used_token;
	int64 id;

	if (*schedule->name == '\0' || strlen(schedule->name) > LONGEST_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a schedule must have 1 to %d bytes",
						LONGEST_NAME)));
	if (schedule->job_name != NULL)
	{
		if (*schedule->job_name == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("name of a job must not be empty")));
		(void) dbx_job_is_id(schedule->job_name, &id);
	}
	check_word("overlap", schedule->overlap, overlap_words);
	check_word("misfire", schedule->misfire, misfire_words);
	if (schedule->expires_after != NULL && !is_positive(schedule->expires_after))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_after must be positive")));
	if (schedule->expires_after != NULL)
		dbx_outbox_check_delay("expires_after", schedule->expires_after);
	if (schedule->max_attempts < 1 || schedule->max_attempts > MOST_ATTEMPTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_attempts must be between 1 and %d", MOST_ATTEMPTS)));
	dbx_outbox_check_delay("retry_delay", schedule->retry_delay);

	/* what a tick would be refused for is said now */
	(void) dbx_run_now_members(schedule->job_parameters, schedule->options,
							   SAMPLE_TOKEN, &used_token);
	if (schedule->options != NULL && JB_ROOT_IS_OBJECT(schedule->options) &&
		DatumGetBool(
			DirectFunctionCall2(jsonb_exists, JsonbPGetDatum(schedule->options),
								CStringGetTextDatum("idempotency_token"))))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "\"idempotency_token\" cannot be given in the options of a schedule"),
			 errdetail("Each tick gets a token of its own.")));
}

static void
check_word(const char *name, const char *value, const char *const *words)
{
	StringInfoData list;

	for (int i = 0; words[i] != NULL; i++)
	{
		if (strcmp(words[i], value) == 0)
			return;
	}
	initStringInfo(&list);
	for (int i = 0; words[i] != NULL; i++)
		appendStringInfo(&list, "%s\"%s\"",
						 i == 0						? ""
							 : words[i + 1] != NULL ? ", "
													: " and ",
						 words[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for %s: \"%s\"", name, value),
			 errhint("Valid values are %s.", list.data)));
}

static bool
is_positive(const Interval *interval)
{
	return interval->month >= 0 && interval->day >= 0 && interval->time >= 0 &&
		(interval->month > 0 || interval->day > 0 || interval->time > 0);
}

/*
 * A role's own expression, prepared as the current role with SPI connected.
 * What stands in the text besides it gives another number of statements or of
 * columns.
 */
static SPIPlanPtr
prepare_parameters(const char *sql)
{
	Oid		   type = TIMESTAMPTZOID;
	SPIPlanPtr plan = SPI_prepare(psprintf("SELECT (\n%s\n)", sql), 1, &type);
	List	  *sources;
	TupleDesc  desc;

	if (plan == NULL)
		elog(ERROR, "parameters_sql could not be prepared: %s",
			 SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	desc = list_length(sources) == 1
		? ((CachedPlanSource *) linitial(sources))->resultDesc
		: NULL;
	if (desc == NULL || desc->natts != 1)
		ereport(
			ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("parameters_sql must be one expression"),
			 errhint(
				 "An expression over $1, the tick, as it would stand behind SELECT: jsonb_build_object('day', $1::date).")));
	if (TupleDescAttr(desc, 0)->atttypid != JSONBOID)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("parameters_sql must give jsonb, not %s",
					format_type_be(TupleDescAttr(desc, 0)->atttypid)),
			 errhint(
				 "For example: jsonb_build_object('day', ($1 AT TIME ZONE 'UTC')::date).")));
	return plan;
}

Jsonb *
dbx_schedule_parameters(const DbxSchedule *schedule, TimestampTz tick)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		  value = TimestampTzGetDatum(tick);
	Jsonb		 *computed = NULL;

	if (schedule->parameters_sql == NULL)
		return schedule->job_parameters;

	SPI_connect();
	if (SPI_execute_plan(prepare_parameters(schedule->parameters_sql), &value,
						 NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "parameters_sql could not be executed");
	else
	{
		bool  isnull;
		Datum result = SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
		{
			MemoryContext before = MemoryContextSwitchTo(caller);

			computed = DatumGetJsonbPCopy(result);
			MemoryContextSwitchTo(before);
		}
	}
	SPI_finish();

	if (computed == NULL)
		return schedule->job_parameters;
	if (!JB_ROOT_IS_OBJECT(computed))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameters_sql of schedule \"%s\" gave no JSON object",
					schedule->name),
			 errhint(
				 "It must give the parameters of the job: jsonb_build_object('day', $1::date).")));
	if (schedule->job_parameters == NULL)
		return computed;
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_concat,
							JsonbPGetDatum(schedule->job_parameters),
							JsonbPGetDatum(computed)));
}

static int64
write_definition(const DbxSchedule *schedule, bool *paused)
{
	static const char *sql =
		"INSERT INTO databricks.schedule_settings AS s"
		" (owner, name, workspace, cron, timezone, job_id, job_name,"
		"  job_parameters, parameters_sql, options, overlap, misfire,"
		"  expires_after, max_attempts, retry_delay, cron_entry)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
		"  $15, $16)"
		" ON CONFLICT (owner, name) DO UPDATE SET"
		"  workspace = excluded.workspace, cron = excluded.cron,"
		"  timezone = excluded.timezone, job_id = excluded.job_id,"
		"  job_name = excluded.job_name,"
		"  job_parameters = excluded.job_parameters,"
		"  parameters_sql = excluded.parameters_sql,"
		"  options = excluded.options, overlap = excluded.overlap,"
		"  misfire = excluded.misfire, expires_after = excluded.expires_after,"
		"  max_attempts = excluded.max_attempts,"
		"  retry_delay = excluded.retry_delay,"
		"  cron_entry = excluded.cron_entry,"
		/* the past of another clock is nobody's */
		"  done_to = CASE WHEN (s.cron, s.timezone)"
		"    = (excluded.cron, excluded.timezone)"
		"   THEN s.done_to ELSE clock_timestamp() END"
		" RETURNING s.schedule_id, s.paused_at IS NOT NULL";
	Oid			 types[] = {TEXTOID,	 TEXTOID,  TEXTOID,		TEXTOID,
							TEXTOID,	 INT8OID,  TEXTOID,		JSONBOID,
							TEXTOID,	 JSONBOID, TEXTOID,		TEXTOID,
							INTERVALOID, INT4OID,  INTERVALOID, TEXTOID};
	Datum		 values[lengthof(types)] = {0};
	char		 nulls[lengthof(types) + 1];
	DbxExtension extension;
	DbxDataRole	 role;
	bool		 isnull;
	int64		 id;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = CStringGetTextDatum(schedule->owner);
	values[1] = CStringGetTextDatum(schedule->name);
	values[2] = CStringGetTextDatum(schedule->workspace);
	values[3] = CStringGetTextDatum(schedule->cron);
	values[4] = CStringGetTextDatum(schedule->timezone);
	values[5] = Int64GetDatum(schedule->job_id);
	if (schedule->job_name != NULL)
	{
		nulls[5] = 'n';
		values[6] = CStringGetTextDatum(schedule->job_name);
	}
	else
		nulls[6] = 'n';
	values[7] = JsonbPGetDatum(schedule->job_parameters);
	if (schedule->job_parameters == NULL)
		nulls[7] = 'n';
	if (schedule->parameters_sql != NULL)
		values[8] = CStringGetTextDatum(schedule->parameters_sql);
	else
		nulls[8] = 'n';
	values[9] = JsonbPGetDatum(schedule->options);
	if (schedule->options == NULL)
		nulls[9] = 'n';
	values[10] = CStringGetTextDatum(schedule->overlap);
	values[11] = CStringGetTextDatum(schedule->misfire);
	values[12] = IntervalPGetDatum(schedule->expires_after);
	if (schedule->expires_after == NULL)
		nulls[12] = 'n';
	values[13] = Int32GetDatum(schedule->max_attempts);
	values[14] = IntervalPGetDatum(schedule->retry_delay);
	values[15] = CStringGetTextDatum(schedule->cron_entry);

	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, &role);
	SPI_connect();
	write_row(sql, lengthof(types), types, values, nulls,
			  SPI_OK_INSERT_RETURNING);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1, &isnull));
	*paused = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 2, &isnull));
	SPI_finish();
	dbx_data_leave(&role);
	return id;
}

DbxSchedule *
dbx_schedule_lock(const char *name)
{
	const char	*owner = GetUserNameFromId(GetUserId(), false);
	Oid			 types[] = {TEXTOID, TEXTOID};
	Datum		 values[2];
	DbxSchedule *schedule;

	values[0] = CStringGetTextDatum(owner);
	values[1] = CStringGetTextDatum(name);
	schedule = find("s.owner = $1 AND s.name = $2", 2, types, values);
	if (schedule == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" has no schedule \"%s\"", owner, name),
				 errhint("View databricks.schedules lists them.")));
	return schedule;
}

/*
 * Anybody else, a superuser too, would run the owner's SQL with rights that are
 * not the owner's.
 */
DbxSchedule *
dbx_schedule_lock_id(int64 id)
{
	Oid			 types[] = {INT8OID};
	Datum		 values[1];
	DbxSchedule *schedule;

	values[0] = Int64GetDatum(id);
	schedule = find("s.schedule_id = $1", 1, types, values);
	if (schedule == NULL ||
		strcmp(schedule->owner, GetUserNameFromId(GetUserId(), false)) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" has no schedule with id " INT64_FORMAT,
					GetUserNameFromId(GetUserId(), false), id),
			 errdetail(
				 "A schedule ticks in processes of the role it belongs to."),
			 errhint("If pg_cron calls for what is no longer scheduled, do: SELECT cron.unschedule('databricks:" INT64_FORMAT
					 "').",
					 id)));
	return schedule;
}

/* Lock the row; NULL: there is none. */
static DbxSchedule *
find(const char *condition, int nargs, Oid *types, Datum *values)
{
	MemoryContext caller = CurrentMemoryContext;
	DbxSchedule	 *schedule = NULL;
	DbxExtension  extension;
	DbxDataRole	  role;

	if (!dbx_extension_find(&extension) || !dbx_data_exists(&extension))
		return NULL;
	dbx_data_migrate();
	dbx_data_enter(&extension, &role);
	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT " COLUMNS
									   " FROM databricks.schedule_settings AS s"
									   " WHERE %s FOR UPDATE",
									   condition),
							  nargs, types, values, NULL, false,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "a schedule could not be read");
	if (SPI_processed > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(caller);

		schedule = copy_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(before);
	}
	SPI_finish();
	dbx_data_leave(&role);
	return schedule;
}

/* A row of COLUMNS, in the current context. */
static DbxSchedule *
copy_row(HeapTuple tuple, TupleDesc desc)
{
	DbxSchedule *schedule = palloc0(sizeof(DbxSchedule));
	bool		 isnull;
	Datum		 value;

#define VALUE(number) (value = SPI_getbinval(tuple, desc, number, &isnull))
	schedule->id = DatumGetInt64(VALUE(1));
	schedule->owner = text_column(tuple, desc, 2);
	schedule->name = text_column(tuple, desc, 3);
	schedule->workspace = text_column(tuple, desc, 4);
	schedule->cron = text_column(tuple, desc, 5);
	schedule->timezone = text_column(tuple, desc, 6);
	VALUE(7);
	if (!isnull)
		schedule->job_id = DatumGetInt64(value);
	schedule->job_name = text_column(tuple, desc, 8);
	VALUE(9);
	if (!isnull)
		schedule->job_parameters = DatumGetJsonbPCopy(value);
	schedule->parameters_sql = text_column(tuple, desc, 10);
	VALUE(11);
	if (!isnull)
		schedule->options = DatumGetJsonbPCopy(value);
	schedule->overlap = text_column(tuple, desc, 12);
	schedule->misfire = text_column(tuple, desc, 13);
	VALUE(14);
	if (!isnull)
		schedule->expires_after = DatumGetIntervalP(
			datumCopy(value, false, sizeof(Interval)));
	schedule->max_attempts = DatumGetInt32(VALUE(15));
	schedule->retry_delay = DatumGetIntervalP(
		datumCopy(VALUE(16), false, sizeof(Interval)));
	VALUE(17);
	schedule->paused = !isnull;
	schedule->cron_entry = text_column(tuple, desc, 18);
	/* of VALUE(17) only "isnull" was of interest */
	/* cppcheck-suppress redundantAssignment */
	schedule->done_to = DatumGetTimestampTz(VALUE(19));
#undef VALUE
	return schedule;
}

/* NULL if null. */
static char *
text_column(HeapTuple tuple, TupleDesc desc, int number)
{
	bool  isnull;
	Datum value = SPI_getbinval(tuple, desc, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

void
dbx_schedule_remove(const char *name)
{
	DbxSchedule *schedule = dbx_schedule_lock(name);
	Oid			 types[] = {INT8OID};
	Datum		 values[1];

	values[0] = Int64GetDatum(schedule->id);
	if (OidIsValid(get_extension_oid("pg_cron", true)))
	{
		dbx_pgcron_require();
		dbx_pgcron_remove(schedule->id);
	}
	write_as_owner("DELETE FROM databricks.schedule_settings AS s"
				   " WHERE s.schedule_id = $1",
				   1, types, values, SPI_OK_DELETE);
}

void
dbx_schedule_pause(const char *name)
{
	DbxSchedule *schedule = dbx_schedule_lock(name);
	Oid			 types[] = {INT8OID};
	Datum		 values[1];

	if (schedule->paused)
	{
		ereport(NOTICE,
				(errmsg("schedule \"%s\" is paused already", schedule->name)));
		return;
	}
	values[0] = Int64GetDatum(schedule->id);
	if (dbx_pgcron_usable())
		dbx_pgcron_remove(schedule->id);
	write_as_owner("UPDATE databricks.schedule_settings AS s"
				   " SET paused_at = clock_timestamp()"
				   " WHERE s.schedule_id = $1",
				   1, types, values, SPI_OK_UPDATE);
}

/* What would have ticked meanwhile was not wanted, so nothing was missed. */
void
dbx_schedule_resume(const char *name)
{
	DbxSchedule *schedule = dbx_schedule_lock(name);
	Oid			 types[] = {INT8OID, TEXTOID};
	Datum		 values[2];
	char		*entry;

	dbx_pgcron_require();
	entry = dbx_pgcron_expression(dbx_cron_parse(schedule->cron),
								  dbx_cron_zone(schedule->timezone));
	values[0] = Int64GetDatum(schedule->id);
	values[1] = CStringGetTextDatum(entry);
	write_as_owner("UPDATE databricks.schedule_settings AS s"
				   " SET done_to = CASE WHEN s.paused_at IS NULL THEN s.done_to"
				   "   ELSE clock_timestamp() END,"
				   "  paused_at = NULL, cron_entry = $2"
				   " WHERE s.schedule_id = $1",
				   2, types, values, SPI_OK_UPDATE);

	/* not changed but made anew: of what is there, anything may be wrong */
	dbx_pgcron_remove(schedule->id);
	dbx_pgcron_set(schedule->id, entry);
}

void
dbx_schedule_done(const DbxSchedule *schedule, TimestampTz done_to,
				  int64 missed, const char *cron_entry)
{
	Oid	  types[] = {INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID};
	Datum values[4];

	values[0] = Int64GetDatum(schedule->id);
	values[1] = TimestampTzGetDatum(done_to);
	values[2] = Int64GetDatum(missed);
	values[3] = CStringGetTextDatum(cron_entry);
	write_as_owner("UPDATE databricks.schedule_settings AS s"
				   " SET done_to = greatest(s.done_to, $2), last_tick = $2,"
				   "  missed_ticks = s.missed_ticks + $3, cron_entry = $4"
				   " WHERE s.schedule_id = $1",
				   4, types, values, SPI_OK_UPDATE);
}

static void
write_as_owner(const char *sql, int nargs, Oid *types, Datum *values,
			   int expected)
{
	DbxExtension extension;
	DbxDataRole	 role;

	if (!dbx_extension_find(&extension))
		elog(ERROR, "extension \"databricks\" disappeared");
	dbx_data_enter(&extension, &role);
	SPI_connect();
	write_row(sql, nargs, types, values, NULL, expected);
	SPI_finish();
	dbx_data_leave(&role);
}

/* As the owner of the extension, with SPI connected. */
static void
write_row(const char *sql, int nargs, Oid *types, Datum *values,
		  const char *nulls, int expected)
{
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) !=
		expected)
		elog(ERROR, "a schedule could not be written");
}
