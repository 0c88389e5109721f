/*
 * request.c
 *	  From the values of conditions to what the service is asked.
 *
 * Separate because it knows values, not expressions: it runs when a scan
 * starts, and in EXPLAIN for what is constant.  A request may ask for more
 * rows than the conditions allow, never for fewer.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "fdw/fdw.h"
#include "http/http.h"

/* A list of its own per value stops to pay somewhere. */
#define MAX_LISTS 100

/* Longest text sent as a filter: names are shorter. */
#define MAX_TEXT 4096

/* Milliseconds from 1970 to 2000, where PostgreSQL counts from. */
#define EPOCH_DIFFERENCE_MS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000)

/* A request for lists in the making. */
typedef struct ListBuilder
{
	const DbxTable *table;
	List		   *lists; /* of DbxList, their queries as far as they go */
	int64			from;  /* bounds on the time, in ms since 1970 */
	int64			to;
	bool			empty;
	bool			flagged; /* a state is asked for */
	bool			overlap; /* lists may have elements in common */
} ListBuilder;

static List *without_doubles(List *texts);
static char *datum_text(Datum value, Oid type);
static List *usable_keys(const DbxColumn *column, List *texts);
static void	 add_equality(ListBuilder *builder, const DbxColumn *column,
						  List *texts);
static void	 divide_lists(ListBuilder *builder, const DbxColumn *column,
						  const DbxFilter *filter, List *values);
static void	 set_param(DbxList *list, const DbxResource *res, const char *param,
					   const char *value);
static bool	 is_given(const DbxColumn *column);
static void	 give(DbxList *list, const DbxColumn *column, const char *value);
static void	 add_to_query(DbxList *list, const char *param, const char *value);
static void	 finish_lists(ListBuilder *builder, const bool *needed);
static bool	 has_text(const List *texts, const char *text);
static bool	 same_texts(const List *a, const List *b);
static bool	 same_lists(const List *a, const List *b);

/*
 * The values an equality allows, as text: without NULLs and doubles.  NIL means
 * that it allows none.
 */
List *
dbx_fdw_value_texts(const DbxCondition		*condition,
					const DbxConditionValue *value)
{
	List	  *texts = NIL;
	ArrayType *array;
	Datum	  *elements;
	bool	  *nulls;
	int16	   length;
	bool	   byval;
	char	   align;
	int		   count;
	int		   i;

	if (value->isnull)
		return NIL;
	if (!condition->is_array)
		return list_make1(datum_text(value->value, value->type));

	array = DatumGetArrayTypeP(value->value);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, byval, align,
					  &elements, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i])
			texts = lappend(texts, datum_text(elements[i], ARR_ELEMTYPE(array)));
	}
	return without_doubles(texts);
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp((const char *) lfirst(a), (const char *) lfirst(b));
}

/* Sorted on the way: long arrays are not compared pair by pair. */
static List *
without_doubles(List *texts)
{
	List	 *unique = NIL;
	ListCell *cell;

	list_sort(texts, compare_texts);
	foreach(cell, texts)
	{
		CHECK_FOR_INTERRUPTS();
		if (unique == NIL ||
			strcmp((const char *) llast(unique), (const char *) lfirst(cell)) !=
				0)
			unique = lappend(unique, lfirst(cell));
	}
	return unique;
}

static char *
datum_text(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return psprintf("%d", DatumGetInt16(value));
		case INT4OID:
			return psprintf("%d", DatumGetInt32(value));
		case INT8OID:
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		case BOOLOID:
			return pstrdup(DatumGetBool(value) ? "true" : "false");
		case NAMEOID:
			return pstrdup(NameStr(*DatumGetName(value)));
		default:
			return TextDatumGetCString(value);
	}
}

/* Are these values ones that the filter is for? */
bool
dbx_fdw_filter_takes(const DbxFilter *filter, List *texts)
{
	ListCell *cell;

	foreach(cell, texts)
	{
		const char *text = lfirst(cell);
		int			i;

		if (text[0] == '\0' || strlen(text) > MAX_TEXT)
			return false;
		if (filter->values == NULL)
			continue;
		for (i = 0; filter->values[i] != NULL; i++)
		{
			if (strcmp(filter->values[i], text) == 0)
				break;
		}
		if (filter->values[i] == NULL)
			return false;
	}
	return texts != NIL;
}

/*
 * Narrow the bounds (milliseconds since 1970, both inclusive) by a condition
 * on a time.  The service counts milliseconds and we microseconds, so bounds
 * are rounded outward.  False: no time satisfies the condition.
 */
bool
dbx_fdw_time_bound(const DbxConditionValue *value, StrategyNumber strategy,
				   int64 *from, int64 *to)
{
	TimestampTz time;
	int64		floor_ms;
	int64		ceil_ms;
	int			overflow = 0;

	if (value->isnull)
		return false;
	switch (value->type)
	{
		case DATEOID:
			time = date2timestamptz_opt_overflow(DatumGetDateADT(value->value),
												 &overflow);
			break;
		case TIMESTAMPOID:
			time = timestamp2timestamptz_opt_overflow(DatumGetTimestamp(
														  value->value),
													  &overflow);
			break;
		default:
			time = DatumGetTimestampTz(value->value);
			break;
	}

	/* times of the service are finite */
	if (TIMESTAMP_IS_NOBEGIN(time) || overflow < 0)
		return strategy > BTEqualStrategyNumber;
	if (TIMESTAMP_IS_NOEND(time) || overflow > 0)
		return strategy < BTEqualStrategyNumber;

	floor_ms = time / 1000 - (time % 1000 < 0 ? 1 : 0) + EPOCH_DIFFERENCE_MS;
	ceil_ms = time / 1000 + (time % 1000 > 0 ? 1 : 0) + EPOCH_DIFFERENCE_MS;
	if (strategy >= BTEqualStrategyNumber)
		*from = Max(*from, floor_ms);
	if (strategy <= BTEqualStrategyNumber)
		*to = Min(*to, ceil_ms);

	/* and lie after 1970: what the service sends as 0 is NULL here */
	return *to > 0 && *from <= *to;
}

/* Parameters of every list call of a scan: page size, and what costs extra. */
static void
list_query(const DbxResource *res, const bool *needed, StringInfo query)
{
	bool expand = res->unnest != NULL;
	int	 i;

	if (res->limit_param != NULL)
		dbx_query_add_int64(query, res->limit_param, res->page_size);
	if (res->expand_param == NULL)
		return;
	for (i = 0; i < res->ncolumns; i++)
		expand |= needed[i] &&
			(res->columns[i].flags & DBX_COLUMN_EXPANDED) != 0;
	if (expand)
		dbx_query_add(query, res->expand_param, "true");
}

/*
 * What to ask for, with these values of the conditions.  "needed" says which
 * columns are used.
 */
DbxRequest *
dbx_fdw_request(const DbxTable *table, const char *workspace, List *conditions,
				const DbxConditionValue *values, const bool *needed)
{
	DbxRequest *request = (DbxRequest *) palloc0(sizeof(DbxRequest));
	ListBuilder builder = {0};
	ListCell   *cell;
	int			n = 0;

	request->table = table->name;
	builder.table = table;
	builder.to = PG_INT64_MAX;
	builder.lists = list_make1(palloc0(sizeof(DbxList)));
	((DbxList *) linitial(builder.lists))->res = table->res;
	((DbxList *) linitial(builder.lists))->table = table->name;
	((DbxList *) linitial(builder.lists))->path = table->res->list_call;
	((DbxList *) linitial(builder.lists))->query = "";

	foreach(cell, conditions)
	{
		DbxCondition	*condition = lfirst(cell);
		const DbxColumn *column = &table->res->columns[condition->column];
		const DbxConditionValue *value = &values[n++];
		List					*texts;

		if (column->convert == DBX_CONVERT_TIME_MS)
		{
			if (!dbx_fdw_time_bound(value, condition->strategy, &builder.from,
									&builder.to))
				request->empty = true;
			continue;
		}

		texts = dbx_fdw_value_texts(condition, value);
		if (texts == NIL ||
			(column->convert == DBX_CONVERT_WORKSPACE &&
			 !has_text(texts, workspace)))
			request->empty = true;
		else if (dbx_fdw_key_filter(table, list_make1(condition)) != NULL)
		{
			request->by_key = true;
			request->keys = usable_keys(column, texts);
			if (request->keys == NIL)
				request->empty = true;
		}
		else if (column->convert != DBX_CONVERT_WORKSPACE)
			add_equality(&builder, column, texts);
	}

	request->empty |= builder.empty;
	if (!request->empty && !request->by_key)
	{
		finish_lists(&builder, needed);
		request->lists = builder.lists;
		request->from = builder.from;
		request->to = builder.to;
		request->flagged = builder.flagged;
		request->overlap = builder.overlap;
	}
	return request;
}

/* Ids are positive: asking for others could only be an error. */
static List *
usable_keys(const DbxColumn *column, List *texts)
{
	List	 *keys = NIL;
	ListCell *cell;

	foreach(cell, texts)
	{
		const char *text = lfirst(cell);

		if (text[0] != '\0' &&
			(column->convert != DBX_CONVERT_BIGINT ||
			 (text[0] != '-' && text[0] != '0')))
			keys = lappend(keys, lfirst(cell));
	}
	return keys;
}

/* Let the filters that are for these values of a column say so to the service. */
static void
add_equality(ListBuilder *builder, const DbxColumn *column, List *texts)
{
	const DbxResource *res = builder->table->res;
	ListCell		  *cell;
	ListCell		  *text;
	int				   i;

	for (i = 0; i < res->nfilters; i++)
	{
		const DbxFilter *filter = &res->filters[i];

		if (strcmp(filter->column, column->name) != 0 ||
			(!filter->required && !dbx_fdw_filter_takes(filter, texts)))
			continue;

		switch (filter->kind)
		{
			case DBX_FILTER_IMPLIED:
				foreach(cell, builder->lists)
					add_to_query((DbxList *) lfirst(cell), filter->param,
								 "true");
				builder->flagged = true;
				return;

			case DBX_FILTER_ANY:
				foreach(cell, builder->lists)
				{
					foreach(text, texts)
						add_to_query((DbxList *) lfirst(cell), filter->param,
									 (char *) lfirst(text));
				}
				break;

			case DBX_FILTER_TREE:
				foreach(cell, builder->lists)
				{
					DbxList *list = (DbxList *) lfirst(cell);

					list->recursive = strcmp(linitial(texts), "true") == 0;
					give(list, column, linitial(texts));
				}
				break;

			case DBX_FILTER_EQUAL:
				divide_lists(builder, column, filter,
							 usable_keys(column, texts));
				break;

			default:
				break;
		}
	}
}

/* Each list becomes one for each of the values, unless these were too many. */
static void
divide_lists(ListBuilder *builder, const DbxColumn *column,
			 const DbxFilter *filter, List *values)
{
	List	 *lists = NIL;
	ListCell *cell;
	ListCell *value;

	if (values == NIL && filter->required)
		builder->empty = true;
	if (values == NIL)
		return;
	if (list_length(builder->lists) * list_length(values) > MAX_LISTS)
	{
		if (!filter->required)
			return;
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("foreign table \"%s\" would need more than %d lists",
						builder->table->name, MAX_LISTS),
				 errhint("Give fewer values for column \"%s\" at a time.",
						 column->name)));
	}

	/* a service that takes no notice of the filter lists the same in each */
	builder->overlap |= list_length(values) > 1 && !is_given(column);
	foreach(cell, builder->lists)
	{
		foreach(value, values)
		{
			DbxList *list = (DbxList *) palloc(sizeof(DbxList));

			*list = *(DbxList *) lfirst(cell);
			list->given = list_copy(list->given);
			set_param(list, builder->table->res, filter->param,
					  (char *) lfirst(value));
			give(list, column, (char *) lfirst(value));
			lists = lappend(lists, list);
		}
	}
	builder->lists = lists;
}

/* A parameter of a list, in its path or in its query. */
static void
set_param(DbxList *list, const DbxResource *res, const char *param,
		  const char *value)
{
	int i;

	/* what is asked about can decide which call it is */
	for (i = 0; res->other_prefixes != NULL && res->other_prefixes[i] != NULL &&
		 strcmp(param, res->folder_param) == 0;
		 i++)
	{
		if (strncmp(value, res->other_prefixes[i],
					strlen(res->other_prefixes[i])) == 0)
		{
			list->res = res->other;
			list->path = res->other->list_call;
		}
	}

	if (strstr(list->path, psprintf("{%s}", param)) != NULL)
		list->path = dbx_fdw_call_path(list->path, param, value);
	else
		add_to_query(list, param, value);
}

/* Is the column what a list was asked for with, rather than in its elements? */
static bool
is_given(const DbxColumn *column)
{
	return column->paths[0] != NULL && column->paths[0][0] == '=';
}

/* Remember what the list is asked for with, for a column that only we know. */
static void
give(DbxList *list, const DbxColumn *column, const char *value)
{
	DbxGiven *given;

	if (!is_given(column))
		return;
	given = (DbxGiven *) palloc(sizeof(DbxGiven));
	given->name = column->paths[0] + 1;
	given->value = value;
	list->given = lappend(list->given, given);
}

static void
add_to_query(DbxList *list, const char *param, const char *value)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, list->query);
	dbx_query_add(&query, param, value);
	list->query = query.data;
}

static void
project_column(DbxJsonProjection *projection, const DbxColumn *column)
{
	int i;

	for (i = 0; i < DBX_COLUMN_PATHS && column->paths[i] != NULL; i++)
	{
		if (column->paths[i][0] != '=')
			dbx_json_project_path(projection, column->paths[i]);
	}
}

/*
 * What of the elements is read: what columns in use show, and what tells elements
 * apart, when they were, and whether the list shows them in full.  NULL: all of it.
 */
static const DbxJsonProjection *
project(const DbxResource *res, const bool *needed)
{
	DbxJsonProjection *projection = dbx_json_project(res->items);
	const char *const  others[] = {res->id_member, res->time_member,
								   res->end_member, res->key_column,
								   res->more_member};
	bool			   may_be_cut = false;
	int				   i;

	if (res->unnest != NULL || res->is_folder != NULL || res->other != NULL)
		return NULL;
	for (i = 0; i < res->ncolumns; i++)
	{
		const DbxColumn *column = &res->columns[i];

		if (!needed[i])
			continue;
		if (column->convert == DBX_CONVERT_ELEMENT ||
			column->convert == DBX_CONVERT_TASK_TYPE ||
			(column->paths[0] != NULL && column->paths[0][0] == '\0'))
			return NULL;
		may_be_cut |= (column->flags & DBX_COLUMN_PAGED) != 0;
		project_column(projection, column);
	}
	for (i = 0; i < res->ncolumns; i++)
	{
		if (may_be_cut && (res->columns[i].flags & DBX_COLUMN_PAGED) != 0)
			project_column(projection, &res->columns[i]);
	}
	for (i = 0; i < (int) lengthof(others); i++)
	{
		if (others[i] != NULL)
			dbx_json_project_path(projection, others[i]);
	}
	return projection;
}

static void
finish_lists(ListBuilder *builder, const bool *needed)
{
	const DbxJsonProjection *projection = project(builder->table->res, needed);
	ListCell				*cell;

	foreach(cell, builder->lists)
	{
		DbxList		  *list = (DbxList *) lfirst(cell);
		StringInfoData query;

		initStringInfo(&query);
		list_query(list->res, needed, &query);
		appendStringInfo(&query, "%s%s",
						 query.len > 0 && list->query[0] != '\0' ? "&" : "",
						 list->query);
		list->query = query.data;
		list->projection = projection;
	}
}

/*
 * A list of a request as it is asked for, with these bounds on its time, both
 * inclusive.  Where they are not those of the request they are sent a millisecond
 * wider: what is divided must not depend on whether the service takes them so.
 */
DbxList *
dbx_fdw_bounded_list(const DbxRequest *request, const DbxList *list, int64 from,
					 int64 to)
{
	DbxList		  *bounded = (DbxList *) palloc(sizeof(DbxList));
	StringInfoData query;
	int			   i;

	*bounded = *list;
	initStringInfo(&query);
	appendStringInfoString(&query, list->query);
	for (i = 0; i < list->res->nfilters; i++)
	{
		const DbxFilter *filter = &list->res->filters[i];

		if (filter->kind == DBX_FILTER_FROM && from > 0)
			dbx_query_add_int64(&query, filter->param,
								from - (from != request->from));
		if (filter->kind == DBX_FILTER_TO && to < PG_INT64_MAX)
			dbx_query_add_int64(&query, filter->param, to + (to != request->to));
	}
	bounded->query = query.data;
	return bounded;
}

/* The list of a folder found in another one, asked for with the same. */
DbxList *
dbx_fdw_folder_list(const DbxResource *res, const DbxList *list,
					const char *path)
{
	DbxList		  *folder = (DbxList *) palloc(sizeof(DbxList));
	StringInfoData query;

	*folder = *list;
	folder->res = res;
	folder->path = res->list_call;
	initStringInfo(&query);
	folder->query = "";
	set_param(folder, res, res->folder_param, pstrdup(path));
	if (folder->res->limit_param != NULL)
		dbx_query_add_int64(&query, folder->res->limit_param,
							folder->res->page_size);
	if (folder->query[0] != '\0')
		appendStringInfo(&query, "%s%s", query.len > 0 ? "&" : "",
						 folder->query);
	folder->query = query.data;
	return folder;
}

/*
 * The path of a call with a value in place of "{name}".  Ids are one segment,
 * whatever they hold; paths and kinds of things may have several.
 */
char *
dbx_fdw_call_path(const char *template, const char *name, const char *value)
{
	Size length = strlen(name);
	bool one_segment = strcmp(name, "key") == 0 ||
		(length >= 2 && strcmp(name + length - 2, "id") == 0);
	const char *part = strstr(template, psprintf("{%s}", name));

	Assert(part != NULL);
	return psprintf("%.*s%s%s", (int) (part - template), template,
					one_segment ? dbx_path_segment(value)
								: dbx_path_segments(value),
					part + length + 2);
}

static bool
has_text(const List *texts, const char *text)
{
	ListCell *cell;

	foreach(cell, texts)
	{
		if (strcmp(lfirst(cell), text) == 0)
			return true;
	}
	return false;
}

/* Would the service be asked the same? */
bool
dbx_fdw_same_request(const DbxRequest *a, const DbxRequest *b)
{
	return a->empty == b->empty && a->by_key == b->by_key &&
		a->from == b->from && a->to == b->to && same_texts(a->keys, b->keys) &&
		same_lists(a->lists, b->lists);
}

static bool
same_lists(const List *a, const List *b)
{
	ListCell *cell;
	ListCell *other;

	if (list_length(a) != list_length(b))
		return false;
	forboth(cell, a, other, b)
	{
		const DbxList *x = (const DbxList *) lfirst(cell);
		const DbxList *y = (const DbxList *) lfirst(other);

		if (strcmp(x->path, y->path) != 0 || strcmp(x->query, y->query) != 0 ||
			x->recursive != y->recursive)
			return false;
	}
	return true;
}

static bool
same_texts(const List *a, const List *b)
{
	ListCell *cell;
	ListCell *other;

	if (list_length(a) != list_length(b))
		return false;
	forboth(cell, a, other, b)
	{
		if (strcmp(lfirst(cell), lfirst(other)) != 0)
			return false;
	}
	return true;
}
